//! Reading a finished image again: what holds, what does not.

use std::{
    fmt::Write as _,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use fs_err as fs;
use imgcore::{ByteSize, Digest, Finding, Layout, ReadAt, Report};
use rawimg::{Window, fat, gpt};
use serde_json::json;
use talosimg::{boot, meta, uki};

use crate::{
    allow::Allowed,
    archive,
    board::{self, Board, SECTOR},
    body::Place,
    build::Context,
    draw::draw,
    error::{Error, Exit, Result},
    files::FileSource,
    front::check_dtb,
    proof::{flow::Chain, layout::finding_on_disk},
    record::{BUILD_JSON, InputRecord, Record},
};

/// What is to be verified.
#[derive(Debug, Clone)]
pub struct VerifyRequest {
    /// The image.
    pub file: PathBuf,
    /// Board whose statements are checked too.
    pub board: Option<String>,
    /// Scenario of that board.
    pub boot: Option<String>,
    /// Build record; `build.json` beside the file if missing.
    pub build: Option<PathBuf>,
    /// Codes whose errors are warnings.
    pub allow: Vec<String>,
}

/// What verifying found.
#[derive(Debug)]
pub struct Verified {
    /// Findings.
    pub report: Report,
    /// For programs.
    pub result: serde_json::Value,
    /// For people.
    pub text: String,
}

/// What a disk image holds.
pub(crate) struct Examined {
    /// Findings.
    pub report: Report,
    /// The partition table, if there is one.
    pub table: Option<gpt::Disk>,
    /// Who owns which bytes.
    pub layout: Layout,
    /// Boot files in front of the partitions: first byte and what it is.
    pub boot_files: Vec<(u64, rkboot::BootFile)>,
    /// The stages that start the image.
    pub chain: Chain,
    /// Device trees of the ESP.
    pub trees: Vec<rkboot::flow::CarriedTree>,
    /// Files of the ESP: path and size.
    pub esp: Vec<(String, u64)>,
    /// Kernel command line of the first unified kernel image.
    pub command_line: Option<String>,
    /// Talos release that the unified kernel image names.
    pub version: Option<String>,
    /// META values: tag and text.
    pub meta: Vec<(u8, String)>,
}

/// Where boot files are looked for, in bytes: sector 64 for the BootROM, sector 16384 for the SPL
/// (`rockchip-boot.md` §§1.1, 2.1).
const BOOT_PLACES: [u64; 2] = [64 * SECTOR, 16_384 * SECTOR];

/// A boot file is looked at up to here: the largest that a board file can place at the last of those sectors.
const BOOT_AREA: u64 = 16_384 * SECTOR + crate::front::BOOT_FILE_LIMIT;

/// Device trees of an ESP that are looked into: more than any image carries for one board.
const TREES: usize = 64;

/// Small files that are read whole.
const SMALL: u64 = 16 << 20;

/// Reads a disk image with readers that share no code with the writers. With a record every input is looked up by its
/// SHA-256.
///
/// # Errors
/// [`Exit::Io`] when the image cannot be read; what is wrong with it is in the report.
pub(crate) fn examine(disk: &dyn ReadAt, record: Option<&Record>) -> Result<Examined> {
    let (table, mut report) = gpt::read(disk);
    let mut examined = Examined {
        report: Report::new(),
        layout: table.as_ref().map(gpt::Disk::layout).unwrap_or_default(),
        table,
        boot_files: Vec::new(),
        chain: Chain::default(),
        trees: Vec::new(),
        esp: Vec::new(),
        command_line: None,
        version: None,
        meta: Vec::new(),
    };
    examined.boot_area(disk, &mut report)?;
    let partition = |name: &str| {
        let table = examined.table.as_ref()?;
        let partition = table.partition(name)?;
        Some(Window::new(disk, partition.range()))
    };
    let (esp, meta_partition) = (partition("EFI"), partition("META"));
    if let Some(part) = meta_partition {
        let mut bytes = vec![0; usize::try_from(part.size().min(SMALL)).unwrap_or(0)];
        part.read_exact_at(0, &mut bytes)?;
        let (values, found) = meta::parse(&bytes);
        report.extend(found.owned_by("partition META", 0));
        for tag in values.iter().flat_map(|meta| meta.values.keys()) {
            let text = values.as_ref().and_then(|meta| meta.text(*tag)).unwrap_or_default();
            examined.meta.push((*tag, text));
        }
    }
    match &esp {
        Some(part) => {
            let start =
                examined.table.as_ref().and_then(|table| table.partition("EFI")).map_or(0, |found| found.offset);
            examined.esp(part, start, record, &mut report)?;
        }
        None if examined.table.is_some() => report.push(
            Finding::error("VFY005", "there is no partition called EFI, so the firmware has nothing to start")
                .help("the image was not made for Talos, or its table is damaged"),
        ),
        None => {}
    }
    if let Some(record) = record {
        check_boot_inputs(disk, record, &mut report)?;
    }
    report.extend(examined.chain.check(&examined.carried(), None));
    examined.report = report;
    Ok(examined)
}

impl Examined {
    fn boot_area(&mut self, disk: &dyn ReadAt, report: &mut Report) -> Result<()> {
        // The vendor's SPL takes a partition of this name before the sector; the mainline SPL knows the sector alone.
        let uboot = self.table.as_ref().and_then(|table| table.partition("uboot")).map(gpt::Partition::range);
        let mut places: Vec<Range<u64>> = vec![BOOT_PLACES[0]..BOOT_PLACES[1], BOOT_PLACES[1]..BOOT_AREA];
        if let Some(range) = uboot
            && range.start != BOOT_PLACES[1]
        {
            let mut head = vec![0; usize::try_from((BOOT_PLACES[1] - BOOT_PLACES[0]).min(disk.size())).unwrap_or(0)];
            if disk.size() >= BOOT_PLACES[1] {
                disk.read_exact_at(BOOT_PLACES[0], &mut head)?;
            }
            let vendor = rkboot::flow::first_stage(&head)
                .is_some_and(|first| first.kind == rkboot::flow::FirstStageKind::Vendor);
            let range = range.start..range.end.min(range.start.saturating_add(crate::front::BOOT_FILE_LIMIT));
            places.insert(if vendor { 1 } else { 2 }, range);
        }
        for Range { start, end } in places {
            let end = end.min(disk.size());
            let Some(length) = end.checked_sub(start).filter(|length| *length > 0) else { continue };
            let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
            disk.read_exact_at(start, &mut bytes)?;
            // Behind the table other owners begin; what they have there is no boot file.
            let known =
                rkboot::idblock::is_v2(&bytes) || rkboot::idblock::is_v1(&bytes) || rkboot::fit::is_tree(&bytes);
            if !known {
                let inside = self.layout.sorted().iter().any(|labelled| labelled.range.contains(&start));
                let head = bytes.get(..512).unwrap_or_default();
                if !inside && head.iter().any(|byte| *byte != 0) {
                    report.push(
                        Finding::warning(
                            "VFY004",
                            format!("at sector {} lies something that is no known boot file", start / SECTOR),
                        )
                        .at(start..start + 512)
                        .help("`inspect` says what it looks like; the board's BootROM or SPL will try to start it"),
                    );
                }
                continue;
            }
            let name = format!("boot file at sector {}", start / SECTOR);
            // Trailing bytes of the area belong to nobody or to others; they are cut off before the file is judged.
            let (probe, _) = rkboot::examine(&bytes, None);
            let whole = probe.copies.iter().map(|copy| copy.end).max().unwrap_or(0).max(probe.content_end);
            let whole =
                usize::try_from(whole.div_ceil(SECTOR).saturating_mul(SECTOR)).unwrap_or(usize::MAX).min(bytes.len());
            let bytes = bytes.get(..whole).unwrap_or_default();
            let (file, found) = rkboot::examine(bytes, None);
            report.extend(found.owned_by(&name, start));
            self.chain.add(&name, start, &file, bytes);
            let mut layout = Layout::new();
            for (number, copy) in file.copies.iter().enumerate() {
                let owner = if file.copies.len() > 1 { format!("{name} copy {}", number + 1) } else { name.clone() };
                layout.add(owner, start.saturating_add(copy.start)..start.saturating_add(copy.end));
            }
            self.layout.join(layout);
            self.boot_files.push((start, file));
        }
        report.extend(self.layout.overlaps().iter().map(finding_on_disk));
        Ok(())
    }

    /// What a boot loader finds to start.
    fn carried(&self) -> rkboot::flow::Carried {
        let has = |wanted: &str| self.esp.iter().any(|(path, _)| path.eq_ignore_ascii_case(wanted));
        let partition = |name: &str| self.table.as_ref().is_some_and(|table| table.partition(name).is_some());
        rkboot::flow::Carried {
            efi_fallback_loader: has(boot::SD_BOOT_PATH),
            extlinux: has("extlinux/extlinux.conf"),
            boot_script: has("boot.scr") || has("boot.scr.uimg"),
            android: partition("boot") || partition("boot_a"),
            // GRUB keeps its choice in a file; systemd-boot, which starts what lies in EFI/Linux, in a variable.
            needs_efi_variables: self.esp.iter().any(|(path, _)| is_uki(path)),
            trees: self.trees.clone(),
        }
    }

    fn esp(
        &mut self,
        part: &Window<&dyn ReadAt>,
        start: u64,
        record: Option<&Record>,
        report: &mut Report,
    ) -> Result<()> {
        let (volume, found) = fat::read(part);
        report.extend(found.owned_by("partition EFI", start));
        let Some(volume) = volume else { return Ok(()) };
        for entry in volume.files().iter().filter(|entry| !entry.is_dir) {
            self.esp.push((entry.path.clone(), entry.size));
        }
        let has = |wanted: &str| self.esp.iter().any(|(path, _)| path.eq_ignore_ascii_case(wanted));
        if !has(boot::SD_BOOT_PATH) {
            report.push(
                Finding::error("VFY005", format!("the ESP has no {}, which UEFI firmware starts", boot::SD_BOOT_PATH))
                    .of("partition EFI")
                    .help("build the image again; a board with this one stays dark after its boot loader"),
            );
        }
        let images: Vec<String> = self.esp.iter().map(|(path, _)| path).filter(|path| is_uki(path)).cloned().collect();
        if images.is_empty()
            && !has("EFI/BOOT/grub.cfg")
            && self.table.as_ref().is_some_and(|table| table.partition("BOOT").is_none())
        {
            report.push(
                Finding::error(
                    "VFY005",
                    "neither a unified kernel image on the ESP nor a BOOT partition: nothing to start",
                )
                .of("partition EFI"),
            );
        }
        let is_tree = |path: &str| path.to_ascii_lowercase().ends_with(".dtb");
        for (path, size) in self.esp.iter().filter(|(path, _)| is_tree(path)).take(TREES) {
            let named = rkboot::flow::CarriedTree::named(format!("/{path}"));
            self.trees.push(match volume.open(part, path) {
                Some(file) if *size <= SMALL => {
                    let mut bytes = vec![0; usize::try_from(*size).unwrap_or(0)];
                    file.read_exact_at(0, &mut bytes)?;
                    rkboot::flow::CarriedTree::new(named.path, &bytes)
                }
                _ => rkboot::flow::CarriedTree { size: Some(*size), ..named },
            });
        }
        for path in &images {
            let Some(file) = volume.open(part, path) else { continue };
            let (image, found) = uki::read(&file);
            report.extend(found.owned_by(path, 0));
            let Some(image) = image else { continue };
            if self.command_line.is_none() {
                self.command_line = image.text(".cmdline").map(crate::record::redact);
                self.version = image.text(".osrel").and_then(version_of);
            }
            for input in record.iter().flat_map(|record| &record.inputs) {
                if let Place::Uki { path: at, section, range } = &input.place
                    && at == path
                {
                    let content = image.section(section).map(uki::SectionInfo::content);
                    let part = content.and_then(|content| part_of(content, *range));
                    let digest = part.map(|part| digest_of(&file, part)).transpose()?;
                    compare(input, digest, &format!("section {section} of {path}"), report);
                }
            }
        }
        for input in record.iter().flat_map(|record| &record.inputs) {
            match &input.place {
                Place::Esp { path } => {
                    let digest = match volume.open(part, path) {
                        Some(file) => Some(digest_of(&file, 0..file.size())?),
                        None => None,
                    };
                    compare(input, digest, &format!("{path} on the ESP"), report);
                }
                Place::Uki { path, section, .. } if !images.contains(path) => {
                    compare(input, None, &format!("section {section} of {path}"), report);
                }
                _ => {}
            }
        }
        Ok(())
    }
}

fn is_uki(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    path.strip_prefix("efi/linux/").is_some_and(|name| name.strip_suffix(".efi").is_some())
}

fn version_of(os_release: &str) -> Option<String> {
    let line = os_release.lines().find_map(|line| line.strip_prefix("VERSION_ID="))?;
    Some(line.trim_matches('"').to_owned())
}

/// A part of a range, if it lies inside.
fn part_of(whole: Range<u64>, part: Option<(u64, u64)>) -> Option<Range<u64>> {
    let Some((start, end)) = part else { return Some(whole) };
    let part = whole.start.checked_add(start)?..whole.start.checked_add(end)?;
    (part.start <= part.end && part.end <= whole.end).then_some(part)
}

pub(crate) fn digest_of(file: &dyn ReadAt, range: Range<u64>) -> Result<Digest> {
    let mut hasher = imgcore::Hasher::new();
    let mut buffer = vec![0; 1 << 20];
    let mut at = range.start;
    while at < range.end {
        let count = usize::try_from(range.end - at).unwrap_or(usize::MAX).min(buffer.len());
        let part = buffer.get_mut(..count).unwrap_or_default();
        file.read_exact_at(at, part)?;
        hasher.update(part);
        at += count as u64;
    }
    Ok(hasher.finish())
}

fn check_boot_inputs(disk: &dyn ReadAt, record: &Record, report: &mut Report) -> Result<()> {
    for input in &record.inputs {
        if let Place::Disk { start, length } = input.place {
            let end = start.saturating_add(length);
            let digest = if end <= disk.size() { Some(digest_of(disk, start..end)?) } else { None };
            compare(input, digest, &format!("bytes {start}..{end} (LBA {})", start / SECTOR), report);
        }
    }
    Ok(())
}

fn compare(input: &InputRecord, found: Option<Digest>, place: &str, report: &mut Report) {
    if found == Some(input.written) {
        return;
    }
    let text = match found {
        Some(found) => format!("{}: {place} has {found}, expected {}", input.name, input.written),
        None => format!("{}: {place} is not there, expected {}", input.name, input.written),
    };
    report.push(
        Finding::error("VFY003", text)
            .of(input.name.clone())
            .help("the image was changed after it was built, or build.json belongs to another image"),
    );
}

/// Verifies a file.
///
/// # Errors
/// [`Exit::Input`] when the file or the record is missing, [`Exit::Io`] when it cannot be read.
pub fn verify(request: &VerifyRequest, context: &Context<'_>) -> Result<Verified> {
    let allowed = Allowed::new(&request.allow)?;
    let board = request.board.as_deref().map(|name| board::find(&context.home.boards, name)).transpose()?;
    let file = open(&request.file)?;
    if is_tar(file.as_ref())? {
        if request.build.is_some() {
            return Err(Error::usage("--build cannot be asked of an image archive")
                .or_help("verify the disk image with it, and the archive alone"));
        }
        let asked = board.as_ref().map(|board| archive::Asked { board, boot: request.boot.as_deref() });
        return archive::verify(&request.file, file, asked, &allowed);
    }
    let stored = file.size();
    let disk = open_image(&request.file, file)?;
    let mut earlier = Report::new();
    let record = read_record(request, &mut earlier)?;
    let task = format!("verifying {}", request.file.display());
    context.progress.start(&task, None);
    // A compressed file is decoded to its end: damage between the structures is found only so.
    if disk.size() != stored {
        decode(disk.as_ref(), &request.file, context)?;
    }
    let mut examined = examine(disk.as_ref(), record.as_ref())?;
    if context.progress.cancelled() {
        return Err(Error::cancelled());
    }
    examined.report.extend(earlier);
    if let Some(record) = &record
        && record.size.is_some_and(|size| size != disk.size())
    {
        let text = format!("the image has {} bytes, build.json says {}", disk.size(), record.size.unwrap_or(0));
        examined.report.push(Finding::error("VFY003", text));
    }
    if let Some(board) = &board {
        check_board(disk.as_ref(), &mut examined, board, request.boot.as_deref())?;
    }
    context.progress.finish(&task);
    let report = allowed.apply(std::mem::take(&mut examined.report));
    Ok(Verified {
        text: text(&examined, &report, disk.size(), record.is_some()),
        result: result(&examined, disk.size(), record.as_ref()),
        report,
    })
}

/// Opens a raw or compressed image. What cannot be decoded is refused, what cannot be read is an I/O error.
pub(crate) fn open_image(path: &Path, file: Arc<dyn ReadAt>) -> Result<Arc<dyn ReadAt>> {
    rawimg::source::open(file).map_err(|error| match crate::build::io_source(&error) {
        Some(io) if !is_damage(io) => Error::io(path, io),
        _ => Error::new(Exit::Refused, Finding::error("VFY001", format!("{}: {error}", path.display()))),
    })
}

fn is_damage(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof)
}

fn decode(disk: &dyn ReadAt, path: &Path, context: &Context<'_>) -> Result<()> {
    let mut buffer = vec![0; 1 << 20];
    let mut at = 0;
    while at < disk.size() {
        if context.progress.cancelled() {
            return Err(Error::cancelled());
        }
        let count = usize::try_from(disk.size() - at).unwrap_or(usize::MAX).min(buffer.len());
        disk.read_exact_at(at, buffer.get_mut(..count).unwrap_or_default()).map_err(|error| {
            if is_damage(&error) {
                Error::new(Exit::Refused, Finding::error("VFY001", format!("{}: {error}", path.display())))
            } else {
                Error::io(path, &error)
            }
        })?;
        at += count as u64;
    }
    Ok(())
}

pub(crate) fn open(path: &Path) -> Result<Arc<dyn ReadAt>> {
    if !path.exists() {
        let finding = Finding::error("SRC001", format!("no file at this path: {}", path.display()))
            .help("give the path of an existing file");
        return Err(Error::new(Exit::Input, finding));
    }
    Ok(Arc::new(FileSource::open(path)?))
}

pub(crate) fn is_tar(file: &dyn ReadAt) -> Result<bool> {
    let mut magic = [0; 5];
    if file.size() < 512 {
        return Ok(false);
    }
    file.read_exact_at(257, &mut magic)?;
    Ok(magic == *b"ustar")
}

fn read_record(request: &VerifyRequest, report: &mut Report) -> Result<Option<Record>> {
    let (path, asked) = match &request.build {
        Some(path) => (path.clone(), true),
        None => (request.file.with_file_name(BUILD_JSON), false),
    };
    if !path.is_file() {
        if asked {
            let finding = Finding::error("SRC001", format!("no build record at this path: {}", path.display()));
            return Err(Error::new(Exit::Input, finding));
        }
        return Ok(None);
    }
    let bytes = fs::read(&path)?;
    let record: Record = match serde_json::from_slice(&bytes) {
        Ok(record) => record,
        // Beside the image may lie a build.json of somebody else.
        Err(_) if !asked => return Ok(None),
        Err(error) => {
            return Err(Error::usage(format!("{}: no build record: {error}", path.display())));
        }
    };
    let name = request.file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if asked || record.images.iter().any(|image| image.name == name) {
        return Ok(Some(record));
    }
    report.push(
        Finding::warning("VFY006", format!("{} does not list {name}: inputs are not looked up", path.display()))
            .help("the file is of another build than the record beside it; --build FILE names the right one"),
    );
    Ok(None)
}

/// Every statement of a board file that an image can be asked about.
fn check_board(disk: &dyn ReadAt, examined: &mut Examined, board: &Board, boot: Option<&str>) -> Result<()> {
    let mut report = Report::new();
    let mut fail = |text: String| report.push(Finding::error("VFY002", text).of(board.name.clone()));
    let offset = board.partition_offset();
    if let Some(header) = examined.table.as_ref().and_then(gpt::Disk::header)
        && header.entries.0 != offset.saturating_add(2)
    {
        fail(format!(
            "the partition entry array begins at LBA {}, the board file says {} (2 + partition-offset {offset})",
            header.entries,
            offset.saturating_add(2)
        ));
    }
    for file in board.scenario(boot)?.iter().flat_map(|(_, scenario)| &scenario.files) {
        let start = file.at_sector.saturating_mul(SECTOR);
        let mut head = [0; 512];
        let there = disk.size() >= start.saturating_add(512);
        if there {
            disk.read_exact_at(start, &mut head)?;
        }
        if head.iter().all(|byte| *byte == 0) {
            fail(format!("at sector {} there is nothing, the board file puts {} there", file.at_sector, file.source));
        } else if BOOT_PLACES.contains(&start) && !examined.boot_files.iter().any(|(at, _)| *at == start) {
            fail(format!("at sector {} lies no boot file, the board file puts {} there", file.at_sector, file.source));
        }
    }
    if let Some(overlay) = &board.overlay {
        let line = examined.command_line.as_deref().map(talosimg::cmdline::Cmdline::parse).unwrap_or_default();
        for argument in &overlay.kernel_args {
            let (key, value) = argument.split_once('=').unwrap_or((argument, ""));
            if !line.values(key).any(|found| found == value) {
                fail(format!("the kernel command line lacks the board's argument {argument}"));
            }
        }
    }
    if let Some(dtb) = &board.dtb {
        let path = format!("dtb/{}", dtb.path);
        let part = examined.table.as_ref().and_then(|table| table.partition("EFI"));
        let part = part.map(|partition| Window::new(disk, partition.range()));
        let volume = part.as_ref().and_then(|part| fat::read(part).0);
        let bytes = match volume.as_ref().zip(part.as_ref()).and_then(|(volume, part)| volume.open(part, &path)) {
            Some(file) if file.size() <= SMALL => {
                let mut bytes = vec![0; usize::try_from(file.size()).unwrap_or(0)];
                file.read_exact_at(0, &mut bytes)?;
                Some(bytes)
            }
            _ => None,
        };
        match bytes {
            Some(bytes) => report.extend(check_dtb(&bytes, dtb).owned_by(&path, 0)),
            None => fail(format!("the ESP has no {path}, the device tree that the board's U-Boot asks for")),
        }
    }
    examined.report.extend(report);
    Ok(())
}

pub(crate) fn verdict(report: &Report) -> String {
    use imgcore::Severity;
    let count = |severity| report.iter().filter(|finding| finding.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    if errors == 0 {
        format!("verified: no error, {warnings} warning{}", if warnings == 1 { "" } else { "s" })
    } else {
        format!(
            "refused: {errors} error{}, {warnings} warning{}",
            if errors == 1 { "" } else { "s" },
            if warnings == 1 { "" } else { "s" }
        )
    }
}

pub(crate) fn text(examined: &Examined, report: &Report, size: u64, recorded: bool) -> String {
    let mut text = describe(examined, size);
    if recorded {
        let _ = writeln!(text, "inputs of build.json were looked up by their SHA-256 (the stub is part of the UKI)");
    }
    let _ = writeln!(text, "{}", verdict(report));
    text
}

/// What is in an image, for people.
pub(crate) fn describe(examined: &Examined, size: u64) -> String {
    let mut text = draw(&examined.layout, size);
    let _ = writeln!(text);
    for (start, file) in &examined.boot_files {
        let copies = if file.copies.len() > 1 { format!(", {} copies", file.copies.len()) } else { String::new() };
        let _ = writeln!(
            text,
            "sector {}: {}, {}{copies}",
            start / SECTOR,
            file.kind.describe(),
            ByteSize(file.content_end)
        );
    }
    if let Some(flow) = examined.chain.describe() {
        let _ = writeln!(text, "boot flow: {flow}");
    }
    for (path, size) in &examined.esp {
        let _ = writeln!(text, "ESP: {path}, {}", ByteSize(*size));
    }
    if let Some(version) = &examined.version {
        let _ = writeln!(text, "Talos: {version}");
    }
    if let Some(line) = &examined.command_line {
        let _ = writeln!(text, "kernel command line: {line}");
    }
    for (tag, value) in &examined.meta {
        let _ = writeln!(text, "META {tag:#04x}: {} bytes", value.len());
    }
    text
}

fn result(examined: &Examined, size: u64, record: Option<&Record>) -> serde_json::Value {
    let ranges = crate::record::ranges(&examined.layout);
    json!({
        "kind": "disk",
        "size": size,
        "layout": ranges,
        "bootFlow": examined.chain.json(),
        "esp": examined.esp.iter().map(|(path, size)| json!({ "path": path, "size": size })).collect::<Vec<_>>(),
        "talos": examined.version,
        "commandLine": examined.command_line,
        "meta": examined.meta.iter().map(|(tag, value)| json!({ "key": tag, "size": value.len() })).collect::<Vec<_>>(),
        "build": record.is_some(),
    })
}
