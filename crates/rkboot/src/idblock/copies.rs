//! Copies of an idblock, which a BootROM tries one after the other.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::ops::Range;

use imgcore::{Finding, Report};

use super::{BlockCopy, is_v1, is_v2};
use crate::{
    Error, ErrorKind, FIT_OFFSET, IDBLOCK_OFFSET, rules,
    util::{data_ranges, first_difference, is_fill, is_similar, list_ranges, slice, tail},
};

/// The distance at which a BootROM looks for the next copy, from the first: 1024 sectors.
pub const COPY_STRIDE: u64 = 512 * 1024;

/// The distances in files for SPI flash: Rockchip's packer puts two copies 256 KiB or, in NAND, 128 KiB apart.
const FLASH_STRIDES: [u64; 2] = [256 * 1024, SMALLEST_STRIDE];

/// No packer puts copies closer together.
pub(super) const SMALLEST_STRIDE: u64 = 128 * 1024;

/// More than Rockchip's packer writes (5); what lies behind is reported as data.
const MAX_COPIES: u64 = 16;

/// Packs `count` copies of an idblock at the distance of [`COPY_STRIDE`], with zeros between them and nothing behind the
/// last. Rockchip's packer writes 5 for eMMC, FriendlyELEC 2.
///
/// ```
/// use rkboot::{Soc, idblock};
///
/// let block = idblock::build(&idblock::Parts { soc: Soc::Rk3588, init: b"ddr", boot: Some(b"spl") })?;
/// let file = idblock::copies(&block, 5)?;
/// assert_eq!(file.len() as u64, 4 * idblock::COPY_STRIDE + block.len() as u64);
/// assert_eq!(idblock::parse(&file).0.unwrap().copies.len(), 5);
/// # Ok::<(), rkboot::Error>(())
/// ```
///
/// # Errors
/// [`ErrorKind::NotAnIdBlock`]; [`ErrorKind::TooManyCopies`] when a copy would start inside the one before it, or the last
/// would reach the FIT at sector 16384, or `count` is 0.
pub fn copies(block: &[u8], count: u32) -> Result<Vec<u8>, Error> {
    if !is_v1(block) && !is_v2(block) {
        return Err(ErrorKind::NotAnIdBlock.into());
    }
    let size = block.len() as u64;
    let most = if size > COPY_STRIDE {
        1
    } else {
        // The last one ends in front of the FIT.
        let room = FIT_OFFSET.saturating_sub(IDBLOCK_OFFSET).saturating_sub(size);
        room.div_euclid(COPY_STRIDE).saturating_add(1).min(MAX_COPIES)
    };
    if count == 0 || u64::from(count) > most {
        return Err(ErrorKind::TooManyCopies { count, size, most }.into());
    }
    let stride = usize::try_from(COPY_STRIDE).unwrap_or(usize::MAX);
    let mut out = Vec::with_capacity(stride.saturating_mul(usize::try_from(count).unwrap_or(1)));
    for _ in 0..count {
        out.resize(out.len().next_multiple_of(stride), 0);
        out.extend_from_slice(block);
    }
    Ok(out)
}

/// What the search for copies has to know about a version of the header.
pub(super) struct Form {
    /// Bytes of the header.
    pub(super) header: u64,
    /// Whether these bytes begin as a block does.
    pub(super) is_block: fn(&[u8]) -> bool,
    /// Reads one block.
    pub(super) probe: fn(&[u8]) -> Option<Probe>,
}

/// What a block at the place of a copy is.
pub(super) struct Probe {
    /// Its length in bytes.
    pub(super) length: u64,
    /// Whether nobody would take it for anything else.
    pub(super) is_certain: bool,
    /// Whether a board would stumble over it.
    pub(super) is_damaged: bool,
}

/// Looks for copies of the block that fills the first `length` bytes, at the multiples of 512 KiB, else at those of files
/// for SPI flash, itself first, and says which differ.
pub(super) fn find(bytes: &[u8], length: u64, form: &Form) -> (Vec<BlockCopy>, Report) {
    let (usual, report) = find_at(bytes, length, COPY_STRIDE, form);
    if usual.len() > 1 || !report.is_empty() {
        return (usual, report);
    }
    for stride in FLASH_STRIDES {
        // Nothing vague here: a BootROM that reads cards does not look at these places.
        if length > stride || !(form.is_block)(tail(bytes, stride)) {
            continue;
        }
        let (found, mut report) = find_at(bytes, length, stride, form);
        if let Some(second) = found.get(1) {
            report.push(
                Finding::info(
                    rules::IDB_FLASH_COPIES,
                    format!("copies lie {} KiB apart, as in files for SPI flash", stride / 1024),
                )
                .at(second.range.clone())
                .help("on SD card and eMMC a BootROM looks for copies at multiples of 512 KiB only"),
            );
            return (found, report);
        }
    }
    (usual, report)
}

fn find_at(bytes: &[u8], length: u64, stride: u64, form: &Form) -> (Vec<BlockCopy>, Report) {
    let mut found = vec![BlockCopy { range: 0..length, identical: true }];
    let mut report = Report::new();
    let own = slice(bytes, &(0..length));
    for index in 1..MAX_COPIES {
        let start = index.saturating_mul(stride);
        let rest = tail(bytes, start);
        if rest.is_empty() {
            break;
        }
        if !(form.is_block)(rest) && !is_similar(slice(own, &(0..form.header)), rest) {
            continue;
        }
        let number = found.len().saturating_add(1);
        if start < length {
            // Only a sound header is a copy; four bytes inside an image may be anything.
            if (form.probe)(slice(rest, &(0..form.header))).is_some_and(|inner| inner.is_certain) {
                report.push(
                    Finding::error(
                        rules::IDB_OVERWRITTEN,
                        format!(
                            "the idblock has {length} bytes, but a copy starts at byte {start}: blocks with copies are \
                             at most {stride} bytes long"
                        ),
                    )
                    .at(start..length)
                    .help("the copy has destroyed the end of the first block; pack it again with a larger stride"),
                );
            }
            continue;
        }
        let other = slice(rest, &(0..length));
        let mut difference = first_difference(own, other);
        let mut end = length;
        // The last copy may lack the padding that the others have, where nothing says how much there is.
        if let Some(at) = difference.filter(|at| *at == other.len() as u64)
            && is_fill(tail(own, at))
            && (form.probe)(other).is_some_and(|copy| !copy.is_damaged)
        {
            difference = None;
            end = at;
        }
        if let Some(at) = difference {
            // A copy that reads on into the next one is a damaged copy, and this keeps the work per byte bounded.
            let copy = (form.probe)(slice(rest, &(0..stride)));
            let state =
                if copy.as_ref().is_none_or(|copy| copy.is_damaged) { "damaged itself" } else { "sound itself" };
            end = copy.map_or(length, |copy| copy.length.min(stride)).min(rest.len() as u64);
            report.push(
                Finding::warning(
                    rules::IDB_COPY_DIFFERS,
                    format!(
                        "copy {number} of the idblock at byte {start} differs from copy 1 from byte {} on; it is {state}",
                        start.saturating_add(at)
                    ),
                )
                .at(start..start.saturating_add(end))
                .help("the BootROM takes the first sound copy; write one file made in one go"),
            );
        }
        found.push(BlockCopy { range: start..start.saturating_add(end), identical: difference.is_none() });
    }
    (found, report)
}

/// Whatever lies between and behind the copies.
pub(super) fn check_foreign(bytes: &[u8], copies: &[BlockCopy], report: &mut Report) {
    let mut foreign: Vec<Range<u64>> = Vec::new();
    let mut at = 0;
    for copy in copies {
        foreign.extend(data_ranges(bytes, at..copy.range.start));
        at = copy.range.end.max(at);
    }
    foreign.extend(data_ranges(bytes, at..bytes.len() as u64));
    if let (Some(first), Some(last)) = (foreign.first(), foreign.last()) {
        let message = format!("data that belongs to no copy of the idblock: bytes {}", list_ranges(&foreign));
        report.push(
            Finding::warning(rules::IDB_FOREIGN_DATA, message)
                .at(first.start..last.end)
                .help("the BootROM does not read it; if it is another boot file, write that at its own sector"),
        );
    }
}
