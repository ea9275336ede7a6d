//! From a request to published files: inputs, proofs, plan, write, check, rename.

pub(crate) mod finished;
mod start;
mod write;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
};

use imgcore::{Digest, Finding, Progress, ReadAt as _, Report};
use serde::Serialize;
use talosimg::{cmdline, omni};

use self::{
    finished::Finished,
    start::{Needs, Skipped, Start},
};
pub(crate) use self::{finished::program, write::io_source};
use crate::{
    board::Board,
    body::{self, Materials, Plan, Target},
    draw::draw,
    error::{Error, Exit, Result},
    files::Outputs,
    front::Front,
    home::Home,
    initrd, installer_image,
    net::Network,
    overlay_image,
    record::{self, BUILD_JSON, InputRecord, MetaRecord, OutputRecord, Record, SchematicRecord},
    request::Request,
    store::{Store, canonical_json},
    verify,
};

/// Name of the checksum file, which is written last and lists every other output.
pub const SHA256SUMS: &str = "SHA256SUMS";

/// Architecture of the images.
pub const ARCH: &str = "arm64";

/// What a command works with.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Where the boards are.
    pub home: &'a Home,
    /// The store.
    pub store: &'a Store,
    /// The network, as far as it may be used.
    pub network: &'a Network,
    /// Who hears how far it is.
    pub progress: &'a dyn Progress,
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").field("home", self.home).field("store", self.store).finish_non_exhaustive()
    }
}

/// What a build gave.
#[derive(Debug)]
pub struct Built {
    /// What was found.
    pub report: Report,
    /// Folder of the outputs.
    pub folder: PathBuf,
    /// The outputs, in the order of their names.
    pub outputs: Vec<OutputRecord>,
    /// The build record; `None` for an overlay alone.
    pub record: Option<Record>,
    /// The layout as a picture.
    pub drawing: String,
    /// Why there is no installer image, in one line.
    pub skipped: Option<String>,
    /// What the user must know before using the image.
    pub notice: Option<String>,
    /// For each step whether it was reused, and which input changed if not.
    pub explain: Vec<String>,
    /// Whether nothing had to be done.
    pub up_to_date: bool,
}

impl Built {
    /// What is known of a build before anything is written.
    fn of(plan: &Plan, start: &Start, folder: &Path) -> Self {
        Self {
            report: plan.report.clone(),
            folder: folder.to_owned(),
            outputs: Vec::new(),
            record: None,
            skipped: start.skipped.as_ref().map(|skipped| format!("{}; {}", skipped.why(), skipped.cure())),
            drawing: draw(&plan.layout, plan.disk.len()),
            notice: start.board.notice.clone(),
            explain: Vec::new(),
            up_to_date: false,
        }
    }
}

impl Start {
    /// Proves and plans the image.
    fn plan(&self, request: &Request, front: &Front, context: &Context<'_>) -> Result<Plan> {
        let (target, found) = Target::decide(request, &self.board, &self.defaults.talos)?;
        let mut report = self.report.clone();
        report.extend(found);
        let (kernel, found) = body::look_at_kernel(&self.base);
        report.extend(found);
        let overlay_args = self.board.overlay.as_ref().map(|overlay| overlay.kernel_args.clone()).unwrap_or_default();
        let command_line = cmdline::build(target.release, &overlay_args, &request.all_kernel_args());
        if let Some(config) = &self.config {
            let text = config.read_all(initrd::CONFIG_LIMIT)?;
            report.extend(talosimg::machine_config::check(&text, target.release).owned_by("embedded configuration", 0));
        }
        if request.omni.is_some() {
            report.push(self.upgrade(request)?.finding());
        }
        let schematic = if Self::records_schematic(request) { Some(self.schematic(request)?) } else { None };
        let mut initramfs = match (self.base.get("kernel"), self.base.get("initramfs")) {
            (Some(image), Some(base)) => {
                let setting = initrd::Setting {
                    version: &target.version,
                    release: target.release,
                    kernel: &image.blob,
                    kernel_release: kernel.as_ref().map(|info| info.release.as_str()),
                    other_kernel: request.sources.contains_key("kernel"),
                    enforced: enforces_signatures(&command_line),
                    epoch: self.epoch,
                    allowed: &self.allowed,
                    workers: workers(request),
                    // Nothing is packed, and no configuration kept, for an image that is refused.
                    refused: self.allowed.apply(report.clone()).has_errors(),
                    secret: self.holds_secrets(request),
                };
                Some(initrd::assemble(base, &self.additions(schematic.as_ref()), &setting, context)?)
            }
            _ => None,
        };
        if let Some(initramfs) = &mut initramfs {
            report.extend(std::mem::take(&mut initramfs.report));
        }
        let materials = Materials {
            board: &self.board,
            front,
            base: self.base.clone(),
            epoch: self.epoch,
            kernel,
            command_line,
            initramfs,
        };
        Plan::make(target, request, &materials, &self.allowed, report)
    }

    /// Whether the image may hold what nobody else should see.
    fn holds_secrets(&self, request: &Request) -> bool {
        self.config.is_some() || request.all_kernel_args().iter().any(|argument| record::redact(argument) != *argument)
    }

    /// Whether the image says what it is made of.
    fn records_schematic(request: &Request) -> bool {
        request.schematic || request.omni.is_some()
    }

    /// What an upgrade through Omni does with the node.
    fn upgrade(&self, request: &Request) -> Result<omni::Report> {
        let schematic = self.schematic(request)?;
        let mut other = self.other_extensions();
        let recorded = Self::records_schematic(request);
        if !recorded {
            other.extend(schematic.customization.official_extensions.iter().cloned());
        }
        Ok(omni::upgrade(&omni::Image {
            schematic: recorded.then_some(&schematic),
            overlay: self.board.overlay.is_some(),
            other_extensions: &other,
            other_kernel: request.sources.contains_key("kernel"),
        }))
    }

    /// What the installer image holds above its base.
    fn contents<'a>(
        &'a self,
        request: &'a Request,
        front: &'a Front,
        plan: &'a Plan,
    ) -> Result<installer_image::Contents<'a>> {
        let own = self.installers.iter().find(|installer| installer.arch == ARCH);
        Ok(installer_image::Contents {
            board: &self.board,
            front,
            overlay: self.board.overlay.as_ref().zip(own),
            request,
            talos: plan.target.version.as_str(),
            uki: plan.uki.clone(),
            sd_boot: plan.sd_boot.clone(),
            epoch: self.epoch,
            secret: self.holds_secrets(request),
            secrets: self.secrets(request, plan)?,
        })
    }

    /// What the image holds that nobody else may have.
    fn secrets(&self, request: &Request, plan: &Plan) -> Result<Vec<&'static str>> {
        let mut secrets = Vec::new();
        if request.omni.is_some() || record::has_secrets(&plan.command_line) {
            secrets.push("join-token");
        }
        if let Some(config) = &self.config {
            let text = config.read_all(initrd::CONFIG_LIMIT)?;
            let text = String::from_utf8_lossy(&text);
            // What cannot be read is none the less in the image.
            if !talosimg::machine_config::secrets(&text).is_ok_and(|found| found.is_empty()) {
                secrets.push("embedded-config");
            }
        }
        Ok(secrets)
    }
}

/// Whether the kernel loads signed modules only; the parameter is a switch that nothing turns off again.
fn enforces_signatures(line: &cmdline::Cmdline) -> bool {
    line.values("module.sig_enforce")
        .any(|value| ["", "1", "y", "Y", "on", "On", "ON", "oN", "t", "T"].contains(&value))
}

/// Count of worker threads.
pub(crate) fn workers(request: &Request) -> usize {
    request.workers.or_else(|| std::thread::available_parallelism().ok().map(usize::from)).unwrap_or(1)
}

fn out_folder(request: &Request, board: &Board) -> PathBuf {
    request.out.clone().unwrap_or_else(|| Path::new("_out").join(&board.name))
}

/// Builds overlay, raw images, checksums and record, and verifies them before they get their names.
///
/// # Errors
/// Nothing under a final name has changed when this fails, except in the moment of renaming itself.
pub fn image(request: &Request, context: &Context<'_>) -> Result<Built> {
    let start = Start::gather(request, context, Needs::Image)?;
    let folder = out_folder(request, &start.board);
    let finished = Finished::new(context.store, "image", start.key(request, "image")?, &folder)?;
    let (done, mut explain) = finished.look();
    if let Some(done) = done
        && !request.dry_run
    {
        start.keep_lock(context.store)?;
        return Ok(done.into_built(&start, folder, explain));
    }

    let front = start.front(request)?;
    let plan = start.plan(request, &front, context)?;
    let mut built = Built::of(&plan, &start, &folder);
    if request.dry_run {
        built.record = Some(new_record(request, &start, &front, &plan)?);
        built.explain = explain;
        return Ok(built);
    }

    let _lock = context.store.lock(&finished.folder.to_string_lossy())?;
    let mut outputs = Outputs::open(&folder)?;
    let mut record = new_record(request, &start, &front, &plan)?;
    if let Some(overlay) = &start.board.overlay
        && !start.installers.is_empty()
    {
        let (output, how) = write::overlay(overlay, &start, &front, context, &mut outputs)?;
        explain.push(how);
        record.overlay = Some(output);
    }
    for format in start.formats(request)? {
        record.images.push(write::image(&plan, format, request, context, &mut outputs)?);
    }
    if let Some(base) = &start.installer_base {
        let contents = start.contents(request, &front, &plan)?;
        let (output, how) = write::installer(base, &contents, context, &mut outputs, &mut built.report)?;
        explain.push(how);
        record.installer = Some(output);
        record.warnings = record::warnings(&built.report);
    }
    if let Some(spi) = &front.spi {
        record.spi = Some(write::spi(spi, &mut outputs)?);
    }
    // The files' bytes are the plan's, block by block; whether the plan is a sound image is asked of readers that know
    // nothing of the plan.
    let examined = verify::examine(&plan.disk, Some(&record))?;
    if examined.report.has_errors() {
        let mut failed = examined.report;
        failed.push(
            Finding::error("VFY001", "the image that was written does not verify; this is a fault of this program")
                .help("nothing was published; please report the findings above"),
        );
        return Err(Error::refused(failed).after(built.report));
    }
    outputs_of(&mut built, &record);
    let record_bytes = pretty_json(&record);
    let sha256 = outputs.write(BUILD_JSON, &record_bytes)?;
    built.outputs.push(OutputRecord { name: BUILD_JSON.to_owned(), sha256, size: record_bytes.len() as u64 });
    built.outputs.sort_by(|a, b| a.name.cmp(&b.name));
    let mut sums = String::new();
    for output in &built.outputs {
        let _ = writeln!(sums, "{}  {}", output.sha256.hex(), output.name);
    }
    let sha256 = outputs.write(SHA256SUMS, sums.as_bytes())?;
    built.outputs.push(OutputRecord { name: SHA256SUMS.to_owned(), sha256, size: sums.len() as u64 });
    if context.progress.cancelled() {
        return Err(Error::cancelled());
    }
    start.keep_lock(context.store)?;
    let stale = stale(&folder, &built.outputs);
    outputs.publish()?;
    for name in stale {
        // An installer image of another build beside this one's disk image would be pushed for it.
        fs_err::remove_file(folder.join(&name))?;
        explain.push(format!("{name}: removed: it was of the build before, and this one does not make it"));
    }
    built.record = Some(record);
    finished.remember(&built)?;
    built.explain = explain;
    Ok(built)
}

/// Builds the installer image alone; the raw image that it belongs to is planned and proved as for [`image`].
///
/// # Errors
/// As [`image`]; [`Exit::Input`] when there is nothing to build it on.
pub fn installer(request: &Request, context: &Context<'_>) -> Result<Built> {
    if !request.meta.is_empty() {
        return Err(Error::usage("--meta: an installer image takes no META values")
            .or_help("META is of the disk: give the values to `image`, or to the node with `talosctl meta write`"));
    }
    let start = Start::gather(request, context, Needs::Installer)?;
    let folder = out_folder(request, &start.board);
    let Some(base) = &start.installer_base else {
        let skipped = start.skipped.clone().unwrap_or(Skipped::Base("it has no base".to_owned()));
        let finding = Finding::error("INS003", format!("no installer image: {}", skipped.why())).help(skipped.cure());
        return Err(Error::new(Exit::Input, finding).after(start.report));
    };
    let finished = Finished::new(context.store, "installer", start.key(request, "installer")?, &folder)?;
    let (done, mut explain) = finished.look();
    if let Some(done) = done
        && !request.dry_run
    {
        start.keep_lock(context.store)?;
        return Ok(done.into_built(&start, folder, explain));
    }
    let front = start.front(request)?;
    let plan = start.plan(request, &front, context)?;
    let mut built = Built::of(&plan, &start, &folder);
    if !request.dry_run {
        let _lock = context.store.lock(&finished.folder.to_string_lossy())?;
        let mut outputs = Outputs::open(&folder)?;
        let contents = start.contents(request, &front, &plan)?;
        let (output, how) = write::installer(base, &contents, context, &mut outputs, &mut built.report)?;
        explain.push(how);
        built.outputs.push(output);
        if context.progress.cancelled() {
            return Err(Error::cancelled());
        }
        start.keep_lock(context.store)?;
        outputs.publish()?;
        finished.remember(&built)?;
    }
    built.explain = explain;
    Ok(built)
}

/// Builds the overlay image alone.
///
/// # Errors
/// As [`image`]; [`Exit::Input`] when no installer executable is at hand.
pub fn overlay(request: &Request, context: &Context<'_>) -> Result<Built> {
    let start = Start::gather(request, context, Needs::Overlay)?;
    let Some(overlay) = start.board.overlay.clone() else {
        return Err(Error::usage(format!("{} has no [overlay] in its board file", start.board.name)));
    };
    if start.installers.is_empty() {
        let finding = Finding::error("OVL102", "no installer executable could be built for any architecture")
            .help("see the warnings for the command that adds a compile target, or give --installer-bin ARCH=FILE");
        return Err(Error::new(Exit::Input, finding).after(start.report));
    }
    let folder = out_folder(request, &start.board);
    let finished = Finished::new(context.store, "overlay", start.key(request, "overlay")?, &folder)?;
    let (done, mut explain) = finished.look();
    if let Some(done) = done
        && !request.dry_run
    {
        start.keep_lock(context.store)?;
        return Ok(done.into_built(&start, folder, explain));
    }
    let (target, found) = Target::decide(request, &start.board, &start.defaults.talos)?;
    let mut report = start.report.clone();
    report.extend(found);
    let front = start.front(request)?;
    report.extend(front.report.clone());
    let (_, layout) = body::prove_layout(&target, &start.board, &front, &mut report)?;
    report.extend(body::prove_flow(&target, &start.board, &front));
    let report = start.allowed.apply(report);
    if report.has_errors() {
        return Err(Error::refused(report));
    }
    let mut built = Built {
        report,
        folder: folder.clone(),
        outputs: Vec::new(),
        record: None,
        skipped: None,
        drawing: draw(&layout, target.size),
        notice: start.board.notice.clone(),
        explain: Vec::new(),
        up_to_date: false,
    };
    if !request.dry_run {
        let _lock = context.store.lock(&finished.folder.to_string_lossy())?;
        let mut outputs = Outputs::open(&folder)?;
        let (output, how) = write::overlay(&overlay, &start, &front, context, &mut outputs)?;
        explain.push(how);
        built.outputs.push(output);
        if context.progress.cancelled() {
            return Err(Error::cancelled());
        }
        start.keep_lock(context.store)?;
        outputs.publish()?;
        finished.remember(&built)?;
    }
    built.explain = explain;
    Ok(built)
}

/// Outputs that the build before wrote into the folder and this one does not: what `SHA256SUMS` lists and is not made again.
/// Disk images of other formats stay: their names say what they are, and they start by themselves.
fn stale(folder: &Path, outputs: &[OutputRecord]) -> Vec<String> {
    let sums = fs_err::read_to_string(folder.join(SHA256SUMS)).unwrap_or_default();
    let listed = |name: &str| sums.lines().any(|line| line.split_once("  ").is_some_and(|(_, listed)| listed == name));
    let made = |name: &str| outputs.iter().any(|output| output.name == name);
    let names = [overlay_image::OVERLAY_TAR, installer_image::INSTALLER_TAR, crate::spi::SPI_BIN];
    let stale = names.into_iter().filter(|name| listed(name) && !made(name) && folder.join(name).is_file());
    stale.map(str::to_owned).collect()
}

fn outputs_of(built: &mut Built, record: &Record) {
    built.outputs.extend(record.overlay.clone());
    built.outputs.extend(record.images.iter().cloned());
    built.outputs.extend(record.installer.clone());
    built.outputs.extend(record.spi.clone());
}

fn new_record(request: &Request, start: &Start, front: &Front, plan: &Plan) -> Result<Record> {
    let target = &plan.target;
    let mut inputs: Vec<InputRecord> = record::inputs(plan);
    inputs.extend(start.installer_base.iter().map(|base| InputRecord {
        name: "installer-base".to_owned(),
        sha256: base.digest,
        size: base.size,
        origin: base.origin.clone(),
        licence: None,
        written: base.digest,
        place: body::Place::Installer,
    }));
    let local = |name: &str, sha256: Digest, size: u64, image: &str| InputRecord {
        name: name.to_owned(),
        sha256,
        size,
        origin: "local file".to_owned(),
        licence: None,
        written: sha256,
        place: body::Place::Extension { image: image.to_owned() },
    };
    inputs.extend(start.extensions.iter().enumerate().map(|(number, source)| InputRecord {
        origin: source.origin.clone(),
        ..local(&format!("extension-{number}"), source.digest, source.size, &format!("{number}.sqsh"))
    }));
    inputs.extend(start.modules.iter().map(|own| local("modules", own.digest, own.size, "kernel-modules.sqsh")));
    if let Some(config) = &start.config {
        let image = plan.extensions.iter().find(|layer| layer.name == "embedded-config");
        let image = image.map_or_else(String::new, |layer| layer.image.clone());
        inputs.push(local("embedded-config", config.compute_digest()?, config.size(), &image));
    }
    inputs.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Record {
        schema: 1,
        generator: format!("talos-rk {}", env!("CARGO_PKG_VERSION")),
        board: start.board.name.clone(),
        board_file: start.board.digest,
        boot: front.scenario.clone(),
        talos: target.version.as_str().to_owned(),
        bootloader: target.bootloader.name().to_owned(),
        arch: ARCH.to_owned(),
        epoch: start.epoch.0,
        command_line: Some(record::redact(&plan.command_line)),
        kernel_release: plan.kernel_release.clone(),
        // A key that is given twice has its last value, as in the image.
        meta: request
            .meta
            .iter()
            .map(|(key, value)| (*key, Digest::of(value.as_bytes())))
            .collect::<BTreeMap<_, _>>()
            .into_iter()
            .map(|(key, sha256)| MetaRecord { key, sha256 })
            .collect(),
        size: Some(plan.disk.len()),
        plan: Some(plan.digest),
        layout: record::ranges(&plan.layout),
        inputs,
        extensions: plan.extensions.clone(),
        schematic: SchematicRecord::of(&start.schematic(request)?, Start::records_schematic(request)),
        omni_upgrade: start.upgrade(request)?,
        overlay: None,
        images: Vec::new(),
        installer: None,
        spi: None,
        boot_flow: front.chain.json(),
        allowed: start.allowed.codes().map(str::to_owned).collect(),
        warnings: record::warnings(&plan.report),
    })
}

/// JSON for people: sorted keys, two spaces, a line break at the end.
pub(crate) fn pretty_json(value: &impl Serialize) -> Vec<u8> {
    // Through `Value`, whose maps are sorted.
    let value: serde_json::Value = serde_json::from_slice(&canonical_json(value)).unwrap_or_default();
    let mut bytes = serde_json::to_vec_pretty(&value).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}
