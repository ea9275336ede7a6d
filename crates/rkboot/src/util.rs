//! Small things that several parsers need.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::{fmt::Write as _, ops::Range};

/// The unit in which data between known parts is looked at.
pub(crate) const SECTOR: u64 = 512;

/// The bytes of `range` that exist.
pub(crate) fn slice<'a>(bytes: &'a [u8], range: &Range<u64>) -> &'a [u8] {
    let clamp = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
    bytes.get(clamp(range.start)..clamp(range.end)).unwrap_or_default()
}

/// The bytes from `start` on.
pub(crate) fn tail(bytes: &[u8], start: u64) -> &[u8] {
    slice(bytes, &(start..u64::MAX))
}

/// Lower-case hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len().saturating_mul(2)), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Rounded up to whole sectors.
pub(crate) fn sector_end(at: u64) -> u64 {
    at.checked_next_multiple_of(SECTOR).unwrap_or(at)
}

/// Whether these bytes are what packers put between parts: zeros, or the ones of erased flash.
pub(crate) fn is_fill(bytes: &[u8]) -> bool {
    // Slices are compared at the speed of memory even in debug builds.
    const ZEROS: [u8; 512] = [0; 512];
    const ONES: [u8; 512] = [0xff; 512];
    let uniform = |fill: &[u8]| bytes.chunks(512).all(|chunk| fill.starts_with(chunk));
    match bytes.first() {
        None => true,
        Some(0) => uniform(&ZEROS),
        Some(0xff) => uniform(&ONES),
        Some(_) => false,
    }
}

/// Sector-rounded parts of `range` that hold neither zeros nor ones, joined where they touch.
pub(crate) fn data_ranges(bytes: &[u8], range: Range<u64>) -> Vec<Range<u64>> {
    let mut found: Vec<Range<u64>> = Vec::new();
    let mut at = range.start;
    // Sectors count from the start of the file, so the first step may be short.
    let mut next = sector_end(at.saturating_add(1));
    while at < range.end.min(bytes.len() as u64) {
        let piece = at..next.min(range.end);
        if !is_fill(slice(bytes, &piece)) {
            match found.last_mut() {
                Some(last) if last.end == piece.start => last.end = piece.end,
                _ => found.push(piece),
            }
        }
        at = next;
        next = next.saturating_add(SECTOR);
    }
    found
}

/// `1024..2048, 4096..4608 and 3 more`.
pub(crate) fn list_ranges(ranges: &[Range<u64>]) -> String {
    const SHOWN: usize = 6;
    let mut text = String::new();
    for (index, range) in ranges.iter().take(SHOWN).enumerate() {
        let _ = write!(text, "{}{}..{}", if index == 0 { "" } else { ", " }, range.start, range.end);
    }
    let more = ranges.len().saturating_sub(SHOWN);
    if more > 0 {
        let _ = write!(text, " and {more} more");
    }
    text
}

/// The index of the first byte in which two slices differ; the shorter one's length if one begins the other.
pub(crate) fn first_difference(a: &[u8], b: &[u8]) -> Option<u64> {
    if a == b {
        return None;
    }
    Some(a.iter().zip(b).take_while(|(a, b)| a == b).count() as u64)
}

/// Whether `b` holds three quarters of what is not zero in `a`: a damaged copy is still a copy.
pub(crate) fn is_similar(a: &[u8], b: &[u8]) -> bool {
    let (mut told, mut same) = (0_usize, 0_usize);
    for (index, byte) in a.iter().enumerate().filter(|(_, byte)| **byte != 0) {
        told = told.saturating_add(1);
        same = same.saturating_add(usize::from(b.get(index) == Some(byte)));
    }
    told > 0 && same.saturating_mul(4) >= told.saturating_mul(3)
}

/// Foreign text for a message: control characters replaced, cut to a readable length.
pub(crate) fn quote(text: &str) -> String {
    const SHOWN: usize = 80;
    let mut clean: String = text.chars().take(SHOWN).map(|c| if c.is_control() { '?' } else { c }).collect();
    if text.chars().nth(SHOWN).is_some() {
        clean.push('…');
    }
    clean
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::single_range_in_vec_init)]
    use super::*;

    #[test]
    fn data_is_found_between_fill() {
        let mut bytes = vec![0; 4096];
        bytes[600] = 7;
        bytes[1100] = 7;
        bytes[3000..].fill(0xff);
        bytes[2048..2560].fill(0xff);
        assert_eq!(data_ranges(&bytes, 0..4096), [512..1536, 2560..3072]);
        assert_eq!(data_ranges(&bytes, 601..1101), [1024..1101]);
        assert_eq!(data_ranges(&bytes, 4000..9000), Vec::<Range<u64>>::new());
        assert_eq!(list_ranges(&vec![1..2; 8]), "1..2, 1..2, 1..2, 1..2, 1..2, 1..2 and 2 more");
    }

    #[test]
    fn a_damaged_copy_is_similar_and_fill_is_not() {
        assert!(is_similar(b"RKNS\0\0\0\0abcd", b"RKNX\0\0\0\x01abcd"));
        assert!(!is_similar(b"RKNS\0\0\0\0abcd", &[0; 12]));
        assert!(!is_similar(&[0; 12], &[0; 12]) && !is_similar(b"RKNS", b""));
    }

    #[test]
    fn differences_are_located() {
        assert_eq!(first_difference(b"abc", b"abc"), None);
        assert_eq!(first_difference(b"abc", b"abd"), Some(2));
        assert_eq!(first_difference(b"abc", b"ab"), Some(2));
    }
}
