//! The form for SPI flash that `mkimage -T rkspi` writes: of every 4096 bytes only the first 2048 are used.
//!
//! The BootROMs of RK3288, RK3368 and RK3399 read SPI flash this way, from its start. The sizes in the header stay those
//! of the flat form. The flat form is what RK3328 and RK35xx read at 0x8000, PX30 and RK3326 at 0x10000.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::ops::Range;

use imgcore::{Finding, Report};

use crate::{
    rules,
    util::{is_fill, list_ranges, slice},
};

/// How much of a page is used.
const USED: usize = 2048;

/// The distance between used parts.
const PAGE: usize = 4096;

/// Spreads a flat idblock over twice as many bytes, as `mkimage -T rkspi` does: 2048 bytes, 2048 zeros, and so on.
///
/// ```
/// use rkboot::{Soc, idblock};
///
/// let flat = idblock::build(&idblock::Parts { soc: Soc::Rk3399, init: b"tpl", boot: Some(b"spl") })?;
/// let spread = idblock::spread(&flat);
/// assert_eq!((spread.len(), &spread[4096..4100]), (2 * flat.len(), &b"RK33"[..]));
/// assert_eq!(idblock::unspread(&spread), flat);
/// # Ok::<(), rkboot::Error>(())
/// ```
#[must_use]
pub fn spread(flat: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(flat.len().saturating_mul(2));
    for part in flat.chunks(USED) {
        out.extend_from_slice(part);
        out.resize(out.len().next_multiple_of(PAGE), 0);
    }
    out
}

/// Takes the used halves out of a spread idblock. The last page may be cut.
#[must_use]
pub fn unspread(spread: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(spread.len().div_ceil(2));
    for page in spread.chunks(PAGE) {
        out.extend_from_slice(page.get(..USED).unwrap_or(page));
    }
    out
}

/// The used halves of what `length` flat bytes are spread over.
pub(super) fn unspread_prefix(bytes: &[u8], length: u64) -> Vec<u8> {
    unspread(slice(bytes, &(0..on_medium(length))))
}

/// How many bytes of the medium `length` flat bytes are spread over.
pub(super) fn on_medium(length: u64) -> u64 {
    length.checked_next_multiple_of(USED as u64).unwrap_or(length).saturating_mul(2)
}

/// Where a byte of the flat form is on the medium.
fn place(at: u64) -> u64 {
    at.saturating_add(at.div_euclid(USED as u64).saturating_mul(USED as u64))
}

/// Findings about the flat form, with the ranges of the medium.
pub(super) fn placed(mut report: Report) -> Report {
    for finding in &mut report {
        if let Some(range) = &mut finding.range {
            // The end is that of the last byte, which may be in an earlier page than the byte behind it.
            let end = range.end.checked_sub(1).map_or(0, |last| place(last).saturating_add(1));
            let start = place(range.start);
            *range = start..end.max(start);
        }
    }
    report
}

/// The unused halves of the first `length` bytes of the medium.
fn gaps(length: u64) -> impl Iterator<Item = Range<u64>> {
    (0..length.div_ceil(PAGE as u64)).map(move |page| {
        let start = page.saturating_mul(PAGE as u64).saturating_add(USED as u64);
        start..start.saturating_add(USED as u64).min(length.max(start))
    })
}

/// Whether a block of `length` flat bytes lies spread here, as far as one can tell without hashes: behind the header,
/// where the flat form has the tag and the first code, there is nothing, and so it goes on.
pub(super) fn looks_spread(bytes: &[u8], length: u64) -> bool {
    let end = on_medium(length).min(bytes.len() as u64);
    let is_empty = |range: Range<u64>| is_fill(slice(bytes, &range));
    if bytes.len() <= PAGE || !is_empty(0x800..0x1000) || is_empty(0x1000..0x1800) {
        return false;
    }
    let all = gaps(end).count();
    let empty = gaps(end).filter(|gap| is_empty(gap.clone())).count();
    // Damage in some gap does not make it another format.
    empty.saturating_mul(4) >= all.saturating_mul(3)
}

/// How many flat bytes lie in front of the first unused half that is used.
pub(super) fn extent(bytes: &[u8]) -> u64 {
    let empty = gaps(bytes.len() as u64).take_while(|gap| is_fill(slice(bytes, gap)));
    (empty.count() as u64).saturating_mul(USED as u64)
}

/// What is in the gaps of a spread block of `length` flat bytes.
pub(super) fn check_gaps(bytes: &[u8], length: u64, report: &mut Report) {
    let end = on_medium(length).min(bytes.len() as u64);
    let filled: Vec<Range<u64>> = gaps(end).filter(|gap| !is_fill(slice(bytes, gap))).collect();
    if let (Some(first), Some(last)) = (filled.first(), filled.last()) {
        report.push(
            Finding::warning(
                rules::IDB_SPREAD_GAP,
                format!("data in the unused halves of a spread idblock: bytes {}", list_ranges(&filled)),
            )
            .at(first.start..last.end)
            .help("the BootROM does not read it; the file is damaged or was put together wrongly"),
        );
    }
    report.push(
        Finding::info(
            rules::IDB_SPREAD,
            "a spread idblock (rkspi), 2048 of each 4096 bytes used: SPI flash only, no card starts from it",
        )
        .at(0..end),
    );
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
    use super::*;

    #[test]
    fn places_are_those_of_the_bytes() {
        let flat: Vec<u8> = (0..5000_u32).map(|at| (at / 16).to_le_bytes()[0] | 1).collect();
        let spread = spread(&flat);
        assert_eq!(spread.len(), 3 * 4096);
        for at in [0, 1, 2047, 2048, 4095, 4096, 4999] {
            assert_eq!(spread[usize::try_from(place(at)).unwrap()], flat[usize::try_from(at).unwrap()], "{at}");
        }
        assert_eq!(unspread(&spread)[..5000], flat);
        assert_eq!(unspread(&spread[..4096 + 100]), flat[..2048 + 100]);
        assert_eq!(on_medium(5000), 3 * 4096);
        assert_eq!(gaps(9000).collect::<Vec<_>>(), [2048..4096, 6144..8192, 10_240..10_240]);
        let report = Report::from_iter([Finding::info("X", "").at(2048..4096), Finding::info("X", "").at(0..0)]);
        let ranges: Vec<_> = placed(report).iter().map(|finding| finding.range.clone()).collect();
        assert_eq!(ranges, [Some(4096..6144), Some(0..0)]);
    }
}
