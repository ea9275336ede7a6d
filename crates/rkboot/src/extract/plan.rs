//! Where the pieces are.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::ops::Range;

use imgcore::{Digest, Finding, ReadAt, Report};

use super::{Partition, Piece, Role};
use crate::{
    ErrorKind, FIT_OFFSET, HeaderVersion, IDBLOCK_OFFSET, examine, fit,
    flow::{self, FirstStageKind},
    idblock::{self, AnyBlock},
    loader, rules, trim,
    util::{SECTOR, is_fill, sector_end, slice, tail},
};

/// Boot files lie in the first 32 MiB: trust images at 12 MiB are the last.
const WINDOW: u64 = 32 * 1024 * 1024;

/// Where the vendor's SPLs look for a trust image, in bytes.
const TRUST_OFFSET: u64 = 24_576 * 512;

/// Where idblocks are: SD card, eMMC and the SPI flash of RK3328 and RK35xx; SPI flash of older SoCs and boot files as
/// such; SPI flash of the PX30.
const BASES: [u64; 3] = [IDBLOCK_OFFSET, 0, 0x1_0000];

/// Copies that a BootROM tries.
const MAX_COPIES: u64 = 16;

/// Largest file that is taken from one place: a vendor `uboot.img` has 4 MiB.
const MAX_PIECE: u64 = 16 * 1024 * 1024;

/// Finds the boot files of a disk. `partitions` are those of its table, none for SPI flash and boot files.
///
/// Nothing is taken from inside a partition but from those that hold boot files by their names (`uboot`, `trust`, …).
/// Memory is bounded: the first 32 MiB are held, and each piece.
pub fn plan<R: ReadAt + ?Sized>(disk: &R, partitions: &[Partition]) -> (Vec<Piece>, Report) {
    let mut report = Report::new();
    let window = read(disk, 0..WINDOW.min(disk.size()), &mut report);
    let mut pieces = Vec::new();
    if window.is_empty() {
        report.push(nothing());
        return (pieces, report);
    }
    if loader::is_loader(&window) {
        out_of_loader(&window, &mut pieces, &mut report);
        return (pieces, report);
    }
    let border = border(partitions, window.len() as u64);
    let mut front = Front::default();
    if let Some(found) = first_stage(&window, border, &mut pieces, &mut report) {
        front = found;
    }
    second_stage(disk, &window, partitions, border, &front, &mut pieces, &mut report);
    trust(disk, &window, partitions, &front, &mut pieces, &mut report);
    if pieces.is_empty() {
        report.push(nothing());
    }
    (pieces, report)
}

fn nothing() -> Finding {
    Finding::error(
        rules::BOT_NOTHING,
        "no boot file: no idblock at sector 64 or at byte 0, no FIT or LOADER image at sector 16384 or in a partition \
         named uboot",
    )
    .help("is it an image for a Rockchip board, and of the whole disk? some are made to be started from SPI flash only")
}

/// The idblock that a loader file writes to flash, put together and unscrambled.
fn out_of_loader(file: &[u8], pieces: &mut Vec<Piece>, report: &mut Report) {
    let (found, findings) = loader::parse(file);
    pass(&findings, 0, "the loader file", report);
    let built = found.as_ref().and_then(|found| {
        if let Some(block) = found.idblock(file) {
            return Some((block, "idblock v2, out of a loader file"));
        }
        // Older files carry the images without a header, which the flashing program makes.
        let (init, boot) = found.flash_parts(file)?;
        let soc = found.soc().filter(|soc| soc.header_version() == HeaderVersion::V1)?;
        let block = idblock::build(&idblock::Parts { soc, init: &init, boot: Some(&boot) }).ok()?;
        Some((block, "idblock v1, made of the images in a loader file"))
    });
    let Some((block, kind)) = built else {
        report.push(nothing());
        return;
    };
    let mut versions: Vec<String> = Vec::new();
    if let Some((parsed, _)) = flow::block_at(&block) {
        versions.extend(parsed.ddr(&block).map(|ddr| ddr.text));
    }
    versions.extend(flow::first_stage(&block).and_then(|stage| stage.version));
    let mut made = piece("idbloader.img", Role::Idbloader, 0, block, kind, versions, None);
    made.offset = None;
    made.home = IDBLOCK_OFFSET;
    pieces.push(made);
}

fn read<R: ReadAt + ?Sized>(disk: &R, range: Range<u64>, report: &mut Report) -> Vec<u8> {
    let length = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(0);
    let mut bytes = vec![0; length];
    let mut done = 0_usize;
    while let Some(rest) = bytes.get_mut(done..).filter(|rest| !rest.is_empty()) {
        match disk.read_at(range.start.saturating_add(done as u64), rest) {
            Ok(0) => break,
            Ok(count) => done = done.saturating_add(count),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => {
                let at = range.start.saturating_add(done as u64);
                report.push(
                    Finding::error(rules::BOT_UNREADABLE, format!("cannot read at byte {at}: {error}"))
                        .at(at..range.end)
                        .help("a damaged download or a failing medium; what was read before is looked at"),
                );
                break;
            }
        }
    }
    bytes.truncate(done);
    bytes
}

/// Partitions that hold boot files raw.
fn is_boot_partition(name: &str) -> bool {
    const NAMES: [&str; 13] = [
        "uboot",
        "uboot_a",
        "uboot_b",
        "u-boot",
        "loader1",
        "loader2",
        "idbloader",
        "idblock",
        "trust",
        "atf",
        "reserved1",
        "reserved2",
        "spl",
    ];
    NAMES.contains(&name)
}

/// Where the first partition with other content begins.
fn border(partitions: &[Partition], size: u64) -> u64 {
    let others =
        partitions.iter().filter(|partition| !is_boot_partition(&partition.name) && !partition.range.is_empty());
    others.map(|partition| partition.range.start).min().unwrap_or(u64::MAX).min(size)
}

/// What the idblock tells about the rest.
#[derive(Default)]
struct Front {
    /// Where it ends, if there is one.
    end: Option<u64>,
    /// Whose SPL it holds.
    kind: Option<FirstStageKind>,
    /// How far the bytes are from where they are on the medium: a file that begins with an idblock goes to sector 64.
    shift: u64,
}

/// The first sound copy behind a damaged block: its number, where it starts and how long it is.
fn sound_copy(area: &[u8]) -> Option<(u64, u64, u64)> {
    (1..MAX_COPIES).find_map(|index| {
        let start = index.saturating_mul(idblock::COPY_STRIDE);
        let rest = slice(area, &(start..start.saturating_add(idblock::COPY_STRIDE)));
        if !idblock::is_v2(rest) && !idblock::is_v1(rest) {
            return None;
        }
        let (block, findings) = if idblock::is_v2(rest) {
            let (block, findings) = idblock::parse_block(rest, None);
            (AnyBlock::V2(Box::new(block?)), findings)
        } else {
            let (block, findings) = idblock::v1::parse_block(rest, None);
            (AnyBlock::V1(Box::new(block?)), findings)
        };
        let length = length_of(&block).min(rest.len() as u64);
        (!findings.has_errors()).then_some((index.saturating_add(1), start, length))
    })
}

/// Bytes of the file that the block takes.
fn length_of(block: &AnyBlock) -> u64 {
    match block {
        AnyBlock::V1(block) => block.content_end(),
        AnyBlock::V2(_) => block.claimed_end(),
    }
}

/// The idblock.
fn first_stage(window: &[u8], border: u64, pieces: &mut Vec<Piece>, report: &mut Report) -> Option<Front> {
    let is_block = |at: u64| {
        let rest = tail(window, at);
        idblock::is_v2(rest) || idblock::is_v1(rest)
    };
    let at_base = BASES.into_iter().find(|base| is_block(*base));
    // The first copy may have been wiped: the BootROM goes on to the next.
    let copy = || {
        (1..MAX_COPIES)
            .map(|index| IDBLOCK_OFFSET.saturating_add(index.saturating_mul(idblock::COPY_STRIDE)))
            .find(|at| *at < border && is_block(*at))
    };
    let at = at_base.or_else(copy)?;
    if at_base.is_none() {
        report.push(
            Finding::warning(
                rules::BOT_LATER_COPY,
                format!("no idblock at sector 64, but a copy at byte {at}: the first has been overwritten"),
            )
            .at(at..at.saturating_add(2048))
            .help("the BootROM starts from this copy; written at sector 64 it does so at once"),
        );
    }
    let end = next_known(window, at, border);
    let area = slice(window, &(at..end));
    let (block, _) = flow::block_at(area)?;
    let spread = block.is_spread();
    let length = length_of(&block).min(area.len() as u64);
    let kind = match (block.version(), spread) {
        (HeaderVersion::V1, false) => "idblock v1",
        (HeaderVersion::V1, true) => "idblock v1, spread for SPI flash",
        (_, false) => "idblock v2",
        (_, true) => "idblock v2, spread for SPI flash",
    };
    let (_, findings) = examine(slice(area, &(0..length)), None);
    // The BootROM goes on to the next copy when the first is damaged, and so do we.
    let better = if findings.has_errors() { sound_copy(area) } else { None };
    if better.is_none() {
        pass(&findings, at, "idbloader.img", report);
    }
    let (number, inside, own) = better.unwrap_or((1, 0, length));
    // Copies lie behind the block in the area that belongs to no one else.
    let whole = examine(area, None).0;
    let copies = (whole.copies.len() > 1).then_some((whole.copies.len(), whole.copies_equal));
    if copies.is_some_and(|(_, equal)| !equal) {
        report.push(
            Finding::warning(
                rules::BOT_COPIES_DIFFER,
                match findings.iter().find(|finding| finding.severity == imgcore::Severity::Error) {
                    Some(why) if number > 1 => format!(
                        "the copies of the idblock from byte {at} on are not equal; copy {number} is taken, since copy 1 is \
                         damaged ({}: {})",
                        why.code, why.message
                    ),
                    _ => format!("the copies of the idblock from byte {at} on are not equal; copy 1 is taken"),
                },
            )
            .at(at..at.saturating_add(length))
            .help("the BootROM takes the first sound copy; write the extracted one at sector 64"),
        );
    }
    let end = inside.saturating_add(own);
    let bytes = slice(area, &(inside..end)).to_vec();
    let trimmed = explain(number, copies, tail(area, end));
    let mut versions: Vec<String> =
        flow::block_at(&bytes).and_then(|(block, _)| block.ddr(&bytes)).map(|ddr| ddr.text).into_iter().collect();
    let stage = flow::first_stage(&bytes);
    let kind_of_spl = stage.as_ref().map(|stage| stage.kind);
    versions.extend(stage.and_then(|stage| stage.version));
    let offset = at.saturating_add(inside);
    let mut made = piece("idbloader.img", Role::Idbloader, offset, bytes, kind, versions, trimmed);
    // In the form for SPI flash of RK3399 and older it belongs at the start, and in that of PX30 where it is.
    let shift = if at == 0 && !spread { IDBLOCK_OFFSET } else { 0 };
    made.home = if spread || at == 0x1_0000 { offset } else { IDBLOCK_OFFSET };
    pieces.push(made);
    Some(Front { end: Some(at.saturating_add(end)), kind: kind_of_spl, shift })
}

/// The next place where another boot file begins, or the border.
fn next_known(window: &[u8], at: u64, border: u64) -> u64 {
    let size = window.len() as u64;
    let known = [FIT_OFFSET, FIT_OFFSET.saturating_sub(IDBLOCK_OFFSET), TRUST_OFFSET].into_iter();
    let places = known.filter(|place| {
        let rest = tail(window, *place);
        *place > at && (fit::is_tree(rest) || rest.starts_with(b"LOADER  ") || rest.starts_with(b"BL3X"))
    });
    places.min().unwrap_or(u64::MAX).min(if at < border { border } else { size }).min(size)
}

fn second_stage<R: ReadAt + ?Sized>(
    disk: &R,
    window: &[u8],
    partitions: &[Partition],
    border: u64,
    front: &Front,
    pieces: &mut Vec<Piece>,
    report: &mut Report,
) {
    let is_second = |bytes: &[u8]| fit::is_fit(bytes) || bytes.starts_with(b"LOADER  ");
    let named = partitions.iter().find(|partition| matches!(partition.name.as_str(), "uboot" | "uboot_a" | "u-boot"));
    let mut in_partition: Option<(u64, Vec<u8>, Option<String>)> = None;
    if let Some(partition) = named {
        let end = partition.range.end.min(partition.range.start.saturating_add(MAX_PIECE)).min(disk.size());
        let start = partition.range.start.min(end);
        let head = read(disk, start..end.min(start.saturating_add(SECTOR)), report);
        // Nothing else is read whole: a partition of that name may hold anything.
        if fit::is_tree(&head) || head.starts_with(b"LOADER  ") {
            let bytes = read(disk, start..end, report);
            if is_second(&bytes) {
                in_partition = Some((partition.range.start, bytes, Some(partition.name.clone())));
            }
        }
    }
    let area = |at: u64| {
        let end = next_known(window, at, border).min(at.saturating_add(MAX_PIECE));
        slice(window, &(at..end)).to_vec()
    };
    let raw = is_second(tail(window, FIT_OFFSET)).then_some(FIT_OFFSET);
    let mut found = Vec::new();
    match (in_partition, raw) {
        (Some(partition), Some(raw)) if partition.0 != raw => {
            let (what, first) = match front.kind {
                Some(FirstStageKind::Mainline) => {
                    ("the one at sector 16384 is taken, since the SPL is mainline's", false)
                }
                Some(FirstStageKind::Vendor | FirstStageKind::Miniloader) => {
                    ("the one in the partition is taken, since the SPL is the vendor's", true)
                }
                _ => ("both are taken, since the SPL is not known", true),
            };
            report.push(
                Finding::warning(
                    rules::BOT_TWO_STAGES,
                    format!(
                        "two second stages: in the partition {} at byte {}, and at sector 16384; {what}",
                        partition.2.as_deref().unwrap_or_default(),
                        partition.0
                    ),
                )
                .at(raw..raw.saturating_add(SECTOR))
                .help("the vendor's SPL starts the one in the partition, mainline's the one at sector 16384"),
            );
            let is_known = !matches!(front.kind, None | Some(FirstStageKind::Unknown));
            if first {
                found.push(partition);
            }
            if !first || !is_known {
                found.push((raw, area(raw), None));
            }
        }
        (Some(partition), _) => found.push(partition),
        (None, raw) => {
            let at = raw.or_else(|| {
                let from = front.end.or_else(|| is_second(window).then_some(0))?;
                search(slice(window, &(0..border.max(from))), from, is_second)
            });
            found.extend(at.map(|at| (at, area(at), None)));
        }
    }
    for (at, bytes, partition) in found {
        take_second(&bytes, at, partition, Some(border).filter(|border| *border < disk.size()), front, pieces, report);
    }
}

fn take_second(
    bytes: &[u8],
    at: u64,
    partition: Option<String>,
    border: Option<u64>,
    front: &Front,
    pieces: &mut Vec<Piece>,
    report: &mut Report,
) {
    let (length, trimmed, kind) = measure(bytes, at, "the second stage", report);
    let is_loader = bytes.starts_with(b"LOADER  ");
    let parsed = fit::parse(bytes).0;
    let vendor = is_loader || parsed.as_ref().is_some_and(|fit| fit.declared_size.is_some());
    let claimed = at.saturating_add(parsed.map_or(length, |fit| fit.end()));
    let there = |name: &str| pieces.iter().any(|piece| piece.name == name);
    let name = match (vendor, there("uboot.img"), there("u-boot.itb")) {
        (true, false, _) => "uboot.img",
        (true, true, _) => "uboot-2.img",
        (false, _, false) => "u-boot.itb",
        (false, _, true) => "u-boot-2.itb",
    };
    let cut = slice(bytes, &(0..length)).to_vec();
    let versions = flow::abilities(&cut).0.and_then(|found| found.version).into_iter().collect();
    let mut made = piece(name, Role::SecondStage, at, cut, kind, versions, trimmed);
    made.home = if at == 0 { FIT_OFFSET } else { at.saturating_add(front.shift) };
    made.partition = partition;
    if border.is_some_and(|border| at < border && claimed > border) && made.partition.is_none() {
        let border = border.unwrap_or_default();
        report.push(
            Finding::warning(
                rules::BOT_REACHES,
                format!("the second stage from byte {at} on reaches into the partition at byte {border}"),
            )
            .at(border..claimed)
            .help("one of them is damaged; take the boot loader from another image"),
        );
    }
    pieces.push(made);
}

/// The first second stage at a sector boundary from `from` on.
fn search(area: &[u8], from: u64, is_second: impl Fn(&[u8]) -> bool) -> Option<u64> {
    const MAX_ATTEMPTS: usize = 64;
    let mut attempts = 0_usize;
    let mut at = sector_end(from);
    while at < area.len() as u64 && attempts < MAX_ATTEMPTS {
        let rest = tail(area, at);
        if fit::is_tree(rest) || rest.starts_with(b"LOADER  ") {
            attempts = attempts.saturating_add(1);
            if is_second(rest) {
                return Some(at);
            }
        }
        at = at.saturating_add(SECTOR);
    }
    None
}

fn trust<R: ReadAt + ?Sized>(
    disk: &R,
    window: &[u8],
    partitions: &[Partition],
    front: &Front,
    pieces: &mut Vec<Piece>,
    report: &mut Report,
) {
    let named = partitions.iter().find(|partition| partition.name == "trust");
    let mut place = None;
    if let Some(partition) = named {
        let end = partition.range.end.min(partition.range.start.saturating_add(MAX_PIECE)).min(disk.size());
        let bytes = read(disk, partition.range.start.min(end)..end, report);
        place = bytes.starts_with(b"BL3X").then(|| (partition.range.start, bytes, Some(partition.name.clone())));
    }
    let raw = tail(window, TRUST_OFFSET);
    if place.is_none() && raw.starts_with(b"BL3X") {
        place = Some((TRUST_OFFSET, slice(raw, &(0..MAX_PIECE)).to_vec(), None));
    }
    if place.is_none() && window.starts_with(b"BL3X") {
        place = Some((0, slice(window, &(0..MAX_PIECE)).to_vec(), None));
    }
    let Some((at, bytes, partition)) = place else { return };
    let (length, trimmed, kind) = measure(&bytes, at, "the trust image", report);
    let mut made = piece("trust.img", Role::Trust, at, slice(&bytes, &(0..length)).to_vec(), kind, Vec::new(), trimmed);
    made.home = if at == 0 { TRUST_OFFSET } else { at.saturating_add(front.shift) };
    made.partition = partition;
    pieces.push(made);
}

/// How much of the bytes is meant, what was left out, and what it is.
fn measure(bytes: &[u8], at: u64, what: &str, report: &mut Report) -> (u64, Option<String>, &'static str) {
    let whole = bytes.len() as u64;
    let (file, findings) = examine(bytes, None);
    let name = if what.ends_with("stage") { "u-boot.itb" } else { "trust.img" };
    pass(&findings, at, name, report);
    let copies = (file.copies.len() > 1).then_some((file.copies.len(), file.copies_equal));
    let length = match trim(&file) {
        Ok(length) => length,
        Err(error) => {
            if matches!(error.kind(), ErrorKind::CopiesDiffer { .. }) {
                report.push(
                    Finding::warning(
                        rules::BOT_COPIES_DIFFER,
                        format!("the copies of {what} from byte {at} on are not equal; copy 1 is taken"),
                    )
                    .at(at..at.saturating_add(whole))
                    .help("the SPL takes copy 1 if it is sound; look at the findings about it"),
                );
            }
            // What cannot be told apart is taken whole.
            let slot = file.copies.first().map_or(whole, |copy| copy.end);
            sector_end(slot.max(file.content_end)).min(whole)
        }
    };
    (length, explain(1, copies, tail(bytes, length)), file.kind.describe())
}

fn explain(number: u64, copies: Option<(usize, bool)>, behind: &[u8]) -> Option<String> {
    match copies {
        Some((count, true)) => Some(format!("copy {number} of {count} equal copies")),
        Some((count, false)) => Some(format!("copy {number} of {count} copies that are not equal")),
        None if behind.is_empty() => None,
        None if is_fill(behind) => Some("the fill behind it".to_owned()),
        None => Some("what lies behind it".to_owned()),
    }
}

/// What is wrong with a piece concerns whoever uses it.
fn pass(findings: &Report, at: u64, name: &str, report: &mut Report) {
    let kept = findings.iter().filter(|finding| {
        finding.severity > imgcore::Severity::Info
            && finding.code != rules::BOT_FOREIGN_DATA
            && finding.code != rules::IDB_FOREIGN_DATA
    });
    report.extend(kept.cloned().collect::<Report>().owned_by(name, at));
}

fn piece(
    name: &'static str,
    role: Role,
    at: u64,
    bytes: Vec<u8>,
    kind: &'static str,
    versions: Vec<String>,
    trimmed: Option<String>,
) -> Piece {
    let digest = Digest::of(&bytes);
    Piece { name, role, offset: Some(at), partition: None, bytes, digest, kind, versions, trimmed, home: at }
}
