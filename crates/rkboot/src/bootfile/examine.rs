use std::{fmt::Write as _, ops::Range};

use imgcore::{Finding, Report};

use super::{
    BootFile, BootFileKind, FIT_OFFSET, IDBLOCK_OFFSET,
    foreign::{blob, unknown},
    other::other,
};
use crate::{
    Fit, Soc, fit,
    idblock::{self, AnyBlock},
    legacy::{loader_image, trust},
    rules,
    util::{SECTOR, data_ranges, first_difference, is_similar, list_ranges, sector_end, slice, tail},
};

/// How many device trees inside a file are tried before the search for a FIT ends.
const MAX_ATTEMPTS: usize = 64;

/// More than any packer writes (2).
const MAX_FIT_COPIES: usize = 16;

/// `CONFIG_SPL_FIT_IMAGE_KB` of the vendor's U-Boot: its SPL looks for the second copy here.
const FIT_STRIDE: u64 = 2 * 1024 * 1024;

/// Where SPI images keep the idblock, behind erased flash: RK3328 and RK35xx, PX30.
const SPI_BASES: [u64; 2] = [0x8000, 0x1_0000];

/// Recognises a boot file, finds its copies, and reports all that is wrong with it. `soc` adds the checks of what its
/// BootROM takes.
pub fn examine(bytes: &[u8], soc: Option<Soc>) -> (BootFile, Report) {
    if let Some(base) = first_stage_base(bytes) {
        return first_stage(bytes, base, soc);
    }
    if fit::is_tree(bytes) {
        return second_stage(bytes, soc);
    }
    if let Some((file, mut report)) = other(bytes) {
        if let (BootFileKind::Loader(loader), Some(soc)) = (&file.kind, soc) {
            report.extend(super::soc::check_loader(loader, bytes, soc));
        }
        return (file, report);
    }
    if let Some((blob, finding)) = blob(bytes) {
        return (whole(bytes, BootFileKind::Blob(Box::new(blob))), Report::from_iter([finding]));
    }
    (whole(bytes, BootFileKind::Unknown), Report::from_iter([unknown(bytes)]))
}

/// A file of one part that is not understood any further.
fn whole(bytes: &[u8], kind: BootFileKind) -> BootFile {
    let length = bytes.len() as u64;
    BootFile {
        kind,
        copies: std::iter::once(0..length).collect(),
        copies_equal: true,
        content_end: length,
        length,
        differing: None,
        claimed_end: length,
    }
}

/// Where the idblock is: at the start, or behind erased flash in an SPI image.
pub(crate) fn first_stage_base(bytes: &[u8]) -> Option<u64> {
    let is_block = |base: u64| {
        let rest = tail(bytes, base);
        idblock::is_v2(rest) || idblock::is_v1(rest)
    };
    let behind_fill = |base: &u64| is_block(*base) && data_ranges(bytes, 0..*base).is_empty();
    if is_block(0) { Some(0) } else { SPI_BASES.into_iter().find(behind_fill) }
}

fn first_stage(bytes: &[u8], base: u64, soc: Option<Soc>) -> (BootFile, Report) {
    let length = bytes.len() as u64;
    let Some((block, report, found)) = read_block(bytes, base, soc) else {
        let rest = tail(bytes, base);
        let report = if idblock::is_v1(rest) { idblock::v1::parse(rest).1 } else { idblock::parse(rest).1 };
        return (whole(bytes, BootFileKind::Unknown), moved(report, base));
    };
    let mut report = moved(report, base);
    let shift = |range: &Range<u64>| range.start.saturating_add(base)..range.end.saturating_add(base).min(length);
    let copies: Vec<Range<u64>> = block.copies().iter().map(|copy| shift(&copy.range)).collect();
    let first = copies.first().cloned().unwrap_or(base..length);

    let Some((at, fit, fit_report)) = found else {
        let differing = block.copies().iter().position(|copy| !copy.identical);
        report_foreign(bytes, &copies, &mut report);
        report_copies(bytes, &copies, &mut report);
        let file = BootFile {
            copies_equal: differing.is_none(),
            content_end: first.end,
            claimed_end: base.saturating_add(block.claimed_end()),
            kind: match block {
                AnyBlock::V1(block) => BootFileKind::IdBlockV1(block),
                AnyBlock::V2(block) => BootFileKind::IdBlock(block),
            },
            copies,
            length,
            differing,
        };
        return (file, report);
    };

    report.extend(moved(fit_report, at));
    let rest = tail(bytes, at);
    let other_soc = soc.map(|soc| super::soc::check_fit(&fit, rest, soc)).unwrap_or_default();
    if other_soc.is_empty() {
        report.extend(super::soc::check_stages(&block, tail(bytes, base), &fit, rest, at));
    }
    report.extend(moved(other_soc, at));
    report_place(base, at, block.is_spread(), &mut report);
    let fit_range = at..at.saturating_add(fit.end()).min(length);
    let mut parts = copies;
    parts.push(fit_range.clone());
    report_foreign(bytes, &parts, &mut report);
    let file = BootFile {
        copies: std::iter::once(0..sector_end(fit_range.end).min(length)).collect(),
        copies_equal: true,
        content_end: fit_range.end,
        length,
        differing: None,
        claimed_end: at.saturating_add(fit.end()),
        kind: BootFileKind::Combined { idblock: block, idblock_range: first, fit: Box::new(fit), fit_range },
    };
    (file, report)
}

/// A FIT behind an idblock: where it is, and what was found in it.
type FoundFit = Option<(u64, Fit, Report)>;

/// The idblock at `base` with its copies, findings counted from there, and the FIT behind it.
fn read_block(bytes: &[u8], base: u64, soc: Option<Soc>) -> Option<(AnyBlock, Report, FoundFit)> {
    let rest = tail(bytes, base);
    if idblock::is_v1(rest) {
        let (block, mut report) = idblock::v1::parse_block(rest, soc);
        let mut block = block?;
        report.extend(idblock::v1::find_copies(rest, &mut block));
        let copies_end = if block.open_ended { 0 } else { block.copies.last().map_or(0, |last| last.range.end) };
        let found = find_fit(bytes, base.saturating_add(block.search_from().max(copies_end)));
        // A block that does not say where its boot code ends has it in front of the FIT.
        if let Some((at, ..)) = found.as_ref().filter(|_| block.open_ended) {
            let own = slice(bytes, &(base..*at));
            let (again, its_report) = idblock::v1::parse_block(own, soc);
            block = again?;
            report = its_report;
            report.extend(idblock::v1::find_copies(own, &mut block));
        }
        Some((AnyBlock::V1(Box::new(block)), report, found))
    } else {
        let (block, mut report) = idblock::parse_block(rest, soc);
        let mut block = block?;
        report.extend(idblock::find_copies(rest, &mut block));
        idblock::name_sound_copy(rest, &block, &mut report);
        let end = block.copies.last().map_or(0, |last| last.range.end);
        let found = find_fit(bytes, base.saturating_add(end));
        Some((AnyBlock::V2(Box::new(block)), report, found))
    }
}

/// The first FIT at a sector boundary at or behind `from`, with its findings.
pub(crate) fn find_fit(bytes: &[u8], from: u64) -> Option<(u64, Fit, Report)> {
    let mut at = sector_end(from);
    let mut attempts = 0_usize;
    while at < bytes.len() as u64 && attempts < MAX_ATTEMPTS {
        let rest = tail(bytes, at);
        if fit::is_tree(rest) {
            attempts = attempts.saturating_add(1);
            // A board's device tree or a damaged one is no FIT; the search goes on behind it.
            if fit::is_fit(rest)
                && let (Some(fit), report) = fit::parse(rest)
            {
                return Some((at, fit, report));
            }
        }
        at = at.saturating_add(SECTOR);
    }
    None
}

fn second_stage(bytes: &[u8], soc: Option<Soc>) -> (BootFile, Report) {
    let (fit, mut report) = fit::parse(bytes);
    let Some(fit) = fit else { return (whole(bytes, BootFileKind::Unknown), report) };
    let length = bytes.len() as u64;
    if let Some(soc) = soc {
        report.extend(super::soc::check_fit(&fit, bytes, soc));
    }
    let end = fit.end();
    let content_end = end.min(length);
    let starts = fit_copies(bytes, &fit);
    let mut differing = None;
    let mut copies: Vec<Range<u64>> = Vec::new();
    if let [_, second, ..] = starts.as_slice() {
        let stride = *second;
        if end > stride {
            report.push(
                Finding::error(
                    rules::BOT_COPY_INSIDE,
                    format!("a second copy starts at byte {stride}, but the first goes on to byte {end}"),
                )
                .at(stride..end)
                .help("the copy has destroyed the end of the first; take a file that was packed with larger slots"),
            );
        }
        for (start, index) in starts.iter().zip(0_usize..) {
            copies.push(*start..start.saturating_add(stride).min(length));
            let own = slice(bytes, &(0..content_end));
            let other = slice(bytes, &(*start..start.saturating_add(content_end)));
            if let Some(at) = first_difference(own, other) {
                differing = differing.or(Some(index));
                report.push(copy_differs(bytes, *start..start.saturating_add(stride), at, index));
            }
        }
    } else {
        copies.push(0..sector_end(content_end).min(length));
    }
    // Inside a slot, only what lies in front of the FIT's end belongs to it.
    let used: Vec<Range<u64>> =
        copies.iter().map(|copy| copy.start..copy.start.saturating_add(content_end).min(copy.end)).collect();
    report_foreign(bytes, &used, &mut report);
    report_copies(bytes, &used, &mut report);
    let file = BootFile {
        kind: BootFileKind::Fit(Box::new(fit)),
        copies,
        copies_equal: differing.is_none(),
        content_end,
        length,
        differing,
        claimed_end: end,
    };
    (file, report)
}

fn copy_differs(bytes: &[u8], slot: Range<u64>, at: u64, index: usize) -> Finding {
    // Only the slot is read, so that the work per byte stays bounded.
    let (copy, report) = fit::parse(slice(bytes, &slot));
    let state = if copy.is_none() || report.has_errors() { "damaged itself" } else { "sound itself" };
    Finding::warning(
        rules::BOT_COPY_DIFFERS,
        format!(
            "copy {} of the FIT at byte {} differs from copy 1 from byte {} on; it is {state}",
            index.saturating_add(1),
            slot.start,
            slot.start.saturating_add(at)
        ),
    )
    .at(slot.start..slot.end.min(bytes.len() as u64))
    .help("the SPL takes copy 1 and turns to the next only if it is damaged; write one file made in one go")
}

/// Where the copies of the FIT at byte 0 start, itself first: at multiples of 2 MiB, else at equal parts of the file.
pub(crate) fn fit_copies(bytes: &[u8], fit: &Fit) -> Vec<u64> {
    let length = bytes.len() as u64;
    let head = slice(bytes, &(0..u64::from(fit.totalsize).min(4096)));
    let is_copy = |at: u64| {
        let rest = tail(bytes, at);
        // The same tree, even damaged, or another sound FIT; a device tree inside the data is neither.
        is_similar(head, rest) || (at >= fit.end() && fit::is_fit(rest))
    };
    let at_stride = |stride: u64| {
        let further =
            (1..).map(|index: u64| stride.saturating_mul(index)).take_while(|at| *at < length && is_copy(*at));
        std::iter::once(0).chain(further).take(MAX_FIT_COPIES).collect::<Vec<u64>>()
    };
    let usual = at_stride(FIT_STRIDE);
    if usual.len() > 1 {
        return usual;
    }
    for parts in 2..=8_u64 {
        let stride = length.div_euclid(parts);
        if length.is_multiple_of(parts) && stride.is_multiple_of(SECTOR) && stride > u64::from(fit.totalsize) {
            let starts = at_stride(stride);
            if starts.len() as u64 == parts {
                return starts;
            }
        }
    }
    vec![0]
}

fn report_place(base: u64, at: u64, is_spread: bool, report: &mut Report) {
    let usual = FIT_OFFSET.saturating_sub(IDBLOCK_OFFSET);
    let message = if base > 0 || is_spread {
        format!("an SPI flash image: the idblock is at byte {base:#x}, the FIT at {at:#x}")
    } else if at == usual {
        return;
    } else {
        format!(
            "the FIT is at byte {at:#x}; in a file for sector 64 of SD card or eMMC it is at {usual:#x}, unless the SPL \
             was built for another place"
        )
    };
    report.push(
        Finding::info(rules::BOT_PLACE, message)
            .at(at..at.saturating_add(SECTOR))
            .help("files for SPI flash have the FIT at 0x60000, 0xe0000 or 0x100000, puma-rk3399 at 0x38000"),
    );
}

/// `parts` is sorted; what lies between and behind them should be fill.
fn report_foreign(bytes: &[u8], parts: &[Range<u64>], report: &mut Report) {
    let mut foreign = Vec::new();
    let mut at = 0;
    for part in parts {
        foreign.extend(data_ranges(bytes, at..part.start));
        at = at.max(part.end);
    }
    // The rest of the last sector is the packer's padding even if it is not zero.
    foreign.extend(data_ranges(bytes, sector_end(at)..bytes.len() as u64));
    if let (Some(first), Some(last)) = (foreign.first(), foreign.last()) {
        let mut message = format!("data that belongs to no known part: bytes {}", list_ranges(&foreign));
        // Vendor files for SPI flash go on with these.
        for (at, what) in
            foreign.iter().take(16).filter_map(|range| Some((range.start, named(tail(bytes, range.start))?)))
        {
            let _ = write!(message, "; {what} at {at}");
        }
        report.push(
            Finding::warning(rules::BOT_FOREIGN_DATA, message)
                .at(first.start..last.end)
                .help("it would be written too; make sure that it belongs there"),
        );
    }
}

/// What a board's own tools would recognise.
fn named(bytes: &[u8]) -> Option<&'static str> {
    if loader_image::is_loader_image(bytes) {
        Some("a legacy image (LOADER)")
    } else if trust::is_trust(bytes) {
        Some("a legacy trust image (BL3X)")
    } else if idblock::is_v1(bytes) || idblock::is_v2(bytes) {
        Some("another idblock")
    } else if fit::is_tree(bytes) {
        Some("a device tree")
    } else {
        None
    }
}

pub(super) fn report_copies(bytes: &[u8], copies: &[Range<u64>], report: &mut Report) {
    let [first, _, ..] = copies else { return };
    let used: u64 = copies.iter().map(|copy| copy.end.saturating_sub(copy.start)).fold(0, u64::saturating_add);
    let length = bytes.len() as u64;
    let percent = length.saturating_sub(used).saturating_mul(100).checked_div(length).unwrap_or(0);
    report.push(
        Finding::info(
            rules::BOT_COPIES,
            format!(
                "the file holds {} copies of {} bytes each; {percent} % of it is padding",
                copies.len(),
                first.end.saturating_sub(first.start)
            ),
        )
        .at(0..length)
        .help("the board starts from copy 1, so the rest can be cut off where space is short"),
    );
}

/// Moves findings from a part to its file, without naming an owner: the caller knows the file's name.
fn moved(mut report: Report, offset: u64) -> Report {
    for finding in &mut report {
        if let Some(range) = &mut finding.range {
            *range = range.start.saturating_add(offset)..range.end.saturating_add(offset);
        }
    }
    report
}
