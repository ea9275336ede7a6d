//! From a request to published files: inputs, proofs, plan, write, check, rename.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use imgcore::{Digest, Epoch, Finding, Progress, Report, Severity};
use rawimg::sink::{self, Format};
use serde::{Deserialize, Serialize};

use crate::{
    allow::Allowed,
    board::{self, Board, Scenario},
    body::{self, Materials, Plan, Target},
    draw::draw,
    error::{Error, Exit, Result},
    files::{FileSource, Outputs, Stamp},
    front::Front,
    home::Home,
    inputs::{Input, Resolver, join, keep_lock},
    installers,
    lock::{Defaults, Lock},
    net::Network,
    overlay_image::{self, Installer, OVERLAY_TAR},
    record::{self, BUILD_JSON, InputRecord, MetaRecord, OutputRecord, Record},
    request::Request,
    rules,
    spi::{SPI_BIN, SpiImage},
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
    /// What the user must know before using the image.
    pub notice: Option<String>,
    /// For each step whether it was reused, and which input changed if not.
    pub explain: Vec<String>,
    /// Whether nothing had to be done.
    pub up_to_date: bool,
}

/// Everything a build starts from.
struct Start {
    board: Board,
    allowed: Allowed,
    epoch: Epoch,
    defaults: Defaults,
    lock: Option<(PathBuf, Lock)>,
    board_inputs: BTreeMap<String, Input>,
    base: BTreeMap<&'static str, Input>,
    installers: Vec<Installer>,
    report: Report,
}

impl Start {
    fn scenario(&self, request: &Request) -> Result<Option<(&str, &Scenario)>> {
        self.board.scenario(request.boot.as_deref())
    }

    /// Reads and checks the board's files.
    fn front(&self, request: &Request) -> Result<Front> {
        let option = self.board.spi.as_ref().and_then(|spi| request.options.get(&spi.option));
        let spi_boot = option.is_some_and(|value| value == "true");
        Front::read(&self.board, self.scenario(request)?, &self.board_inputs, spi_boot)
    }

    fn gather(request: &Request, context: &Context<'_>, with_base: bool) -> Result<Self> {
        let board = board::find(&context.home.boards, &request.board)?;
        let defaults = Defaults::read(&context.home.boards)?;
        let allowed = Allowed::new(&request.allow)?;
        let epoch = match request.epoch {
            Some(epoch) => epoch,
            None => Lock::read(&context.home.boards)?.epoch(&context.home.boards)?,
        };
        let lock =
            if board.folder.join("sources.lock").is_file() { Lock::read(&board.folder)? } else { Lock::new(epoch) };
        check_options(request, &board)?;
        let target = Target::decide(request, &board, &defaults.talos)?.0;
        let scenario = board.scenario(request.boot.as_deref())?;
        let mut resolver = Resolver::new(&board, request, context, lock)?;
        let board_inputs = resolver.board_inputs(scenario.map(|(_, scenario)| scenario));
        let base = if with_base { resolver.base_inputs(ARCH, target.version.as_str()) } else { Ok(BTreeMap::new()) };
        let (board_inputs, base) = match (board_inputs, base) {
            (Ok(board_inputs), Ok(base)) => (board_inputs, base),
            // Everything that is missing is named at once.
            (Err(first), Err(second)) if first.exit() == second.exit() => return Err(join(Some(first), second)),
            (Err(error), _) | (_, Err(error)) => return Err(error),
        };
        let lock = resolver.into_lock().map(|lock| (board.folder.clone(), lock));
        let (installers, report) =
            if board.overlay.is_some() { installers::find(request, context)? } else { (Vec::new(), Report::new()) };
        Ok(Self { board, allowed, epoch, defaults, lock, board_inputs, base, installers, report })
    }

    /// Adds what was learned of this board's inputs to its lock file, as that is at this moment.
    fn keep_lock(&self, store: &Store) -> Result<()> {
        let Some((folder, learned)) = &self.lock else { return Ok(()) };
        keep_lock(folder, &self.board.name, learned, store)
    }

    /// The parameters and input digests that decide every output.
    fn key(&self, request: &Request, action: &str) -> Result<serde_json::Value> {
        let digests = |inputs: &mut dyn Iterator<Item = &Input>| {
            inputs.map(|input| (input.name.clone(), input.sha256)).collect::<BTreeMap<_, _>>()
        };
        let origins: BTreeMap<_, _> = self
            .board_inputs
            .values()
            .chain(self.base.values())
            .map(|input| (input.name.clone(), (input.origin.clone(), input.licence.clone())))
            .collect();
        let mut installers = BTreeMap::new();
        for installer in &self.installers {
            installers.insert(installer.arch, installer.blob.compute_digest()?);
        }
        let formats: Vec<_> = self.formats(request)?.iter().map(|format| format.name()).collect();
        let meta: Vec<_> = request.meta.iter().map(|(key, value)| (key, Digest::of(value.as_bytes()))).collect();
        Ok(serde_json::json!({
            "action": action,
            "program": program(),
            "board": self.board.name,
            "boardFile": self.board.digest,
            "inputs": digests(&mut self.board_inputs.values()),
            "base": digests(&mut self.base.values()),
            "origins": origins,
            "installers": installers,
            "parameters": {
                "talos": request.talos.as_deref().unwrap_or(&self.defaults.talos),
                "bootloader": request.bootloader,
                "boot": request.boot,
                "formats": formats,
                "size": request.size,
                "kernelArgs": request.kernel_args.iter().map(|argument| record::redact(argument)).collect::<Vec<_>>(),
                "meta": meta,
                "options": request.options,
                "allow": request.allow,
                "epoch": self.epoch,
                "requireArch": request.require_arch,
            },
        }))
    }

    fn formats(&self, request: &Request) -> Result<Vec<Format>> {
        if !request.formats.is_empty() {
            return Ok(request.formats.clone());
        }
        let parse =
            |text: &String| text.parse().map_err(|error| Error::usage(format!("boards/defaults.toml: {error}")));
        self.defaults.format.iter().map(parse).collect()
    }
}

/// Identity of the running program: its version, and its file, so that a program that was built anew does its work anew.
pub(crate) fn program() -> serde_json::Value {
    let file = std::env::current_exe().and_then(|path| Stamp::of(&path)).ok();
    serde_json::json!({ "version": env!("CARGO_PKG_VERSION"), "file": file })
}

fn check_options(request: &Request, board: &Board) -> Result<()> {
    let Some(overlay) = &board.overlay else {
        return match request.options.keys().next() {
            Some(key) => Err(Error::usage(format!("--option {key}: {} has no overlay", board.name))),
            None => Ok(()),
        };
    };
    for (key, value) in &request.options {
        if board.spi.as_ref().is_some_and(|spi| spi.option == *key) {
            if ["true", "false"].contains(&value.as_str()) {
                continue;
            }
            return Err(Error::usage(format!("--option {key}={value}: expected true or false")).or_help(
                "true: the board starts from its SPI flash, and the image carries no boot loader of its own",
            ));
        }
        let own = overlay.options.get(key).map(String::as_str);
        let expected = own.or_else(|| (key == "board").then_some(board.name.as_str()));
        match expected {
            Some(expected) if expected == value => {}
            Some(expected) => {
                return Err(Error::usage(format!(
                    "--option {key}={value} does not fit {}: expected {expected}",
                    board.name
                ))
                .or_help("leave the option out, or choose the board that has this value"));
            }
            None => {
                let spi = board.spi.iter().map(|spi| spi.option.as_str());
                let known = overlay.options.keys().map(String::as_str).chain(["board"]).chain(spi);
                let help = imgcore::nearest(key, known.clone()).map_or_else(
                    || format!("{} knows: {}", board.name, known.collect::<Vec<_>>().join(", ")),
                    |near| format!("did you mean {near}?"),
                );
                return Err(Error::usage(format!("--option: unknown option: {key}")).or_help(&help));
            }
        }
    }
    Ok(())
}

#[derive(Serialize, Deserialize)]
struct Done {
    outputs: Vec<(OutputRecord, Stamp)>,
    record: Option<Record>,
    drawing: String,
    findings: Vec<SavedFinding>,
}

#[derive(Serialize, Deserialize)]
struct SavedFinding {
    severity: Severity,
    code: String,
    message: String,
    range: Option<(u64, u64)>,
    owner: Option<String>,
    help: Option<String>,
}

impl SavedFinding {
    fn of(finding: &Finding) -> Self {
        Self {
            severity: finding.severity,
            code: finding.code.to_owned(),
            message: finding.message.clone(),
            range: finding.range.clone().map(|range| (range.start, range.end)),
            owner: finding.owner.clone(),
            help: finding.help.clone(),
        }
    }

    fn restore(self) -> Option<Finding> {
        let rule = rules::find(&self.code)?;
        let mut finding = Finding::new(self.severity, rule.code, self.message);
        finding.range = self.range.map(|(start, end)| start..end);
        finding.owner = self.owner;
        finding.help = self.help;
        Some(finding)
    }
}

/// Records of finished work: one for each key and folder, and for each folder the key of what it holds.
struct Finished<'a> {
    store: &'a Store,
    action: String,
    key: serde_json::Value,
    folder: PathBuf,
}

impl<'a> Finished<'a> {
    fn new(store: &'a Store, action: &str, key: serde_json::Value, folder: &Path) -> Result<Self> {
        let folder = std::path::absolute(folder).map_err(|error| Error::io(folder, &error))?;
        Ok(Self { store, action: format!("{action}-{}", env!("CARGO_PKG_VERSION")), key, folder })
    }

    /// Name of the pointer from a folder to the key of what it holds.
    fn place(&self) -> Digest {
        Digest::of(self.folder.to_string_lossy().as_bytes())
    }

    fn digest(&self) -> Digest {
        Digest::of(&canonical_json(&(&self.key, &self.folder.to_string_lossy())))
    }

    fn last(&self) -> String {
        format!("{}-last", self.action)
    }

    /// The earlier work, if it is still good, and what changed if not.
    fn look(&self) -> (Option<Done>, Vec<String>) {
        let name = self.action.split('-').next().unwrap_or_default();
        if let Some(done) = self.store.action::<Done>(&self.action, self.digest()) {
            for (output, stamp) in &done.outputs {
                let path = self.folder.join(&output.name);
                if Stamp::of(&path).ok().as_ref() != Some(stamp) {
                    return (None, vec![format!("{name}: miss: {} is not as it was written", output.name)]);
                }
            }
            return (Some(done), vec![format!("{name}: hit: no input changed")]);
        }
        let Some(last) = self.store.action::<serde_json::Value>(&self.last(), self.place()) else {
            return (None, vec![format!("{name}: miss: nothing was built in {} yet", self.folder.display())]);
        };
        let mut changed = Vec::new();
        differences("", &last, &self.key, &mut changed);
        (None, changed.into_iter().map(|what| format!("{name}: miss: {what} changed")).collect())
    }

    fn remember(&self, built: &Built) -> Result<()> {
        let mut outputs = Vec::new();
        for output in &built.outputs {
            let path = self.folder.join(&output.name);
            let stamp = Stamp::of(&path)?;
            // So that `push` finds an archive by its digest.
            self.store.know_file(&path, &stamp, output.sha256)?;
            outputs.push((output.clone(), stamp));
        }
        let done = Done {
            outputs,
            record: built.record.clone(),
            drawing: built.drawing.clone(),
            findings: built.report.iter().map(SavedFinding::of).collect(),
        };
        self.store.record(&self.action, self.digest(), &done)?;
        self.store.record(&self.last(), self.place(), &self.key)
    }
}

/// Paths of values that differ between two JSON values.
fn differences(path: &str, old: &serde_json::Value, new: &serde_json::Value, found: &mut Vec<String>) {
    match (old, new) {
        (serde_json::Value::Object(a), serde_json::Value::Object(b)) => {
            let keys: std::collections::BTreeSet<_> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                let null = serde_json::Value::Null;
                differences(&path, a.get(key).unwrap_or(&null), b.get(key).unwrap_or(&null), found);
            }
        }
        (a, b) if a == b => {}
        _ => found.push(path.to_owned()),
    }
}

impl Done {
    fn into_built(self, start: &Start, folder: PathBuf, explain: Vec<String>) -> Built {
        Built {
            report: self.findings.into_iter().filter_map(SavedFinding::restore).collect(),
            folder,
            outputs: self.outputs.into_iter().map(|(output, _)| output).collect(),
            record: self.record,
            drawing: self.drawing,
            notice: start.board.notice.clone(),
            explain,
            up_to_date: true,
        }
    }
}

fn out_folder(request: &Request, board: &Board) -> PathBuf {
    request.out.clone().unwrap_or_else(|| Path::new("_out").join(&board.name))
}

/// Builds overlay, raw images, checksums and record, and verifies them before they get their names.
///
/// # Errors
/// Nothing under a final name has changed when this fails, except in the moment of renaming itself.
pub fn image(request: &Request, context: &Context<'_>) -> Result<Built> {
    let start = Start::gather(request, context, true)?;
    let folder = out_folder(request, &start.board);
    let finished = Finished::new(context.store, "image", start.key(request, "image")?, &folder)?;
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
    let materials = Materials { board: &start.board, front: &front, base: start.base.clone(), epoch: start.epoch };
    let plan = Plan::make(target, request, &materials, &start.allowed, report)?;
    let mut built = Built {
        report: plan.report.clone(),
        folder: folder.clone(),
        outputs: Vec::new(),
        record: None,
        drawing: draw(&plan.layout, plan.disk.len()),
        notice: start.board.notice.clone(),
        explain: Vec::new(),
        up_to_date: false,
    };
    if request.dry_run {
        built.record = Some(new_record(request, &start, &front, &plan));
        built.explain = explain;
        return Ok(built);
    }

    let _lock = context.store.lock(&finished.folder.to_string_lossy())?;
    let mut outputs = Outputs::open(&folder)?;
    let mut record = new_record(request, &start, &front, &plan);
    if let Some(overlay) = &start.board.overlay
        && !start.installers.is_empty()
    {
        let (output, how) = write_overlay(overlay, &start, &front, context, &mut outputs)?;
        explain.push(how);
        record.overlay = Some(output);
    }
    for format in start.formats(request)? {
        record.images.push(write_image(&plan, format, request, context, &mut outputs)?);
    }
    if let Some(spi) = &front.spi {
        record.spi = Some(write_spi(spi, &mut outputs)?);
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
    outputs.publish()?;
    built.record = Some(record);
    finished.remember(&built)?;
    built.explain = explain;
    Ok(built)
}

/// Builds the overlay image alone.
///
/// # Errors
/// As [`image`]; [`Exit::Input`] when no installer executable is at hand.
pub fn overlay(request: &Request, context: &Context<'_>) -> Result<Built> {
    let start = Start::gather(request, context, false)?;
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
        drawing: draw(&layout, target.size),
        notice: start.board.notice.clone(),
        explain: Vec::new(),
        up_to_date: false,
    };
    if !request.dry_run {
        let _lock = context.store.lock(&finished.folder.to_string_lossy())?;
        let mut outputs = Outputs::open(&folder)?;
        let (output, how) = write_overlay(&overlay, &start, &front, context, &mut outputs)?;
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

fn outputs_of(built: &mut Built, record: &Record) {
    built.outputs.extend(record.overlay.clone());
    built.outputs.extend(record.images.iter().cloned());
    built.outputs.extend(record.installer.clone());
    built.outputs.extend(record.spi.clone());
}

fn write_spi(image: &SpiImage, outputs: &mut Outputs) -> Result<OutputRecord> {
    let sha256 = outputs.write(SPI_BIN, &image.bytes)?;
    Ok(OutputRecord { name: SPI_BIN.to_owned(), sha256, size: image.bytes.len() as u64 })
}

#[derive(Serialize, Deserialize)]
struct Packed {
    sha256: Digest,
    size: u64,
}

fn write_overlay(
    overlay: &board::Overlay,
    start: &Start,
    front: &Front,
    context: &Context<'_>,
    outputs: &mut Outputs,
) -> Result<(OutputRecord, String)> {
    let action = format!("overlay-archive-{}", env!("CARGO_PKG_VERSION"));
    let key = overlay_image::key(&start.board, overlay, front, &start.installers, start.epoch)?;
    let name = OVERLAY_TAR;
    let path = outputs.folder().join(name);
    let mut file = outputs.temporary()?;
    if let Some(packed) = context.store.action::<Packed>(&action, key)
        && let Some(blob) = context.store.blob(name, packed.sha256)?
    {
        std::io::copy(&mut imgcore::ReadAtCursor::new(&blob), &mut file).map_err(|error| Error::io(&path, &error))?;
        check_overlay(&file, packed.sha256)?;
        outputs.finish(file, name)?;
        let output = OutputRecord { name: name.to_owned(), sha256: packed.sha256, size: packed.size };
        return Ok((output, format!("{name}: hit: taken from the store")));
    }
    let task = format!("packing {name}");
    context.progress.start(&task, None);
    let archive = overlay_image::plan(&start.board, overlay, front, &start.installers, start.epoch)?;
    let mut bytes = Vec::new();
    archive.write_to(&mut bytes).map_err(|error| Error::new(Exit::Io, Finding::error("IOE001", error.to_string())))?;
    file.write_all(&bytes).map_err(|error| Error::io(&path, &error))?;
    let sha256 = Digest::of(&bytes);
    check_overlay(&file, sha256)?;
    outputs.finish(file, name)?;
    context.store.put(&bytes)?;
    let size = bytes.len() as u64;
    context.store.record(&action, key, &Packed { sha256, size })?;
    context.progress.finish(&task);
    Ok((OutputRecord { name: name.to_owned(), sha256, size }, format!("{name}: miss: packed")))
}

/// Reads a written overlay archive again, to the last file of its last layer.
fn check_overlay(file: &tempfile::NamedTempFile, sha256: Digest) -> Result<()> {
    let source: Arc<dyn imgcore::ReadAt> = Arc::new(FileSource::open(file.path())?);
    let found = imgcore::Blob::new(OVERLAY_TAR, Arc::clone(&source), None).compute_digest()?;
    let (_, report) = ocipack::inspect(source);
    if found == sha256 && !report.has_errors() {
        return Ok(());
    }
    let finding =
        Finding::error("VFY001", format!("{OVERLAY_TAR} does not read back as packed: {found}, expected {sha256}"))
            .help("the medium or the memory of this machine is at fault, or this program; nothing was published");
    Err(Error::refused(std::iter::once(finding).collect()).after(report))
}

/// File name of the raw image in a format, as the imager's.
fn image_name(format: Format) -> String {
    format!("metal-{ARCH}.{}", format.name())
}

fn write_image(
    plan: &Plan,
    format: Format,
    request: &Request,
    context: &Context<'_>,
    outputs: &mut Outputs,
) -> Result<OutputRecord> {
    let name = image_name(format);
    let path = outputs.folder().join(&name);
    let workers = request.workers.or_else(|| std::thread::available_parallelism().ok().map(usize::from)).unwrap_or(1);
    let options = sink::Options { workers, hash_raw: false };
    let mut file = outputs.temporary()?;
    let failed = |error: rawimg::Error| sink_error(&path, &error);
    let written = if format == Format::Raw {
        sink::write_raw_sparse(&plan.disk, &options, file.as_file_mut(), context.progress).map_err(failed)?
    } else {
        sink::write(&plan.disk, format, &options, file.as_file_mut(), context.progress).map_err(failed)?
    };
    let source: Arc<dyn imgcore::ReadAt> = Arc::new(FileSource::open(file.path())?);
    let stopped = |error: &rawimg::Error| matches!(error.kind(), rawimg::ErrorKind::Cancelled);
    sink::check(source, format, &written, &options, context.progress).map_err(|error| match io_source(&error) {
        Some(_) => sink_error(&path, &error),
        None if stopped(&error) => Error::cancelled(),
        None => Error::refused(
            std::iter::once(
                Finding::error("VFY001", format!("{name} does not read back as planned: {error}")).help(
                    "the medium or the memory of this machine is at fault, or this program; nothing was published",
                ),
            )
            .collect(),
        ),
    })?;
    outputs.finish(file, &name)?;
    Ok(OutputRecord { name, sha256: written.digest, size: written.size })
}

pub(crate) fn io_source(error: &rawimg::Error) -> Option<&std::io::Error> {
    let mut source = std::error::Error::source(error);
    while let Some(current) = source {
        if let Some(io) = current.downcast_ref::<std::io::Error>() {
            return Some(io);
        }
        source = current.source();
    }
    None
}

fn sink_error(path: &Path, error: &rawimg::Error) -> Error {
    if let rawimg::ErrorKind::Cancelled = error.kind() {
        return Error::cancelled();
    }
    match io_source(error) {
        Some(io) => Error::io(path, io),
        None => Error::new(Exit::Io, Finding::error("IOE001", format!("{}: {error}", path.display()))),
    }
}

fn new_record(request: &Request, start: &Start, front: &Front, plan: &Plan) -> Record {
    let target = &plan.target;
    let mut inputs: Vec<InputRecord> = record::inputs(plan);
    inputs.sort_by(|a, b| a.name.cmp(&b.name));
    Record {
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
        overlay: None,
        images: Vec::new(),
        installer: None,
        spi: None,
        boot_flow: front.chain.json(),
        allowed: start.allowed.codes().map(str::to_owned).collect(),
        warnings: record::warnings(&plan.report),
    }
}

/// JSON for people: sorted keys, two spaces, a line break at the end.
pub(crate) fn pretty_json(value: &impl Serialize) -> Vec<u8> {
    // Through `Value`, whose maps are sorted.
    let value: serde_json::Value = serde_json::from_slice(&canonical_json(value)).unwrap_or_default();
    let mut bytes = serde_json::to_vec_pretty(&value).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}
