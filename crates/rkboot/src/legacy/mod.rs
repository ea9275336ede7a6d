//! Formats of the vendor from the years before the FIT: [`loader_image`] (`LOADER  `, the `uboot.img` of RK33xx and
//! older) and [`trust`] (`BL3X`, `trust.img`).
//!
//! Vendor miniloaders and SPLs read them from fixed sectors or from partitions of the same names; mainline U-Boot's SPL
//! reads neither. Both are packed several times into one file, in slots of equal size.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

pub mod loader_image;
pub mod trust;

use std::ops::Range;

use crate::util::{is_similar, slice, tail};

/// Both packers refuse slots that are no multiple of this: the miniloader looks no finer.
const SLOT_UNIT: u64 = 64 * 1024;

/// More than any packer writes (4); what lies behind is reported as data.
const MAX_COPIES: usize = 16;

/// One copy of an image in its file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Slot {
    /// Bytes of the file, up to the next slot.
    pub range: Range<u64>,
    /// Whether it holds what the first holds.
    pub identical: bool,
}

/// Where the slots of a file start, the first included. Each begins with `magic`; a damaged one is still a copy if its
/// first bytes are much as those of the first.
fn slot_starts(bytes: &[u8], magic: &[u8], content_end: u64) -> Vec<u64> {
    /// The part of the header that holds something in both formats.
    const HEAD: u64 = 64;
    let length = bytes.len() as u64;
    let head = slice(bytes, &(0..HEAD));
    let begins = |at: u64| slice(bytes, &(at..at.saturating_add(magic.len() as u64))) == magic;
    let copies = |at: u64| begins(at) || is_similar(head, slice(bytes, &(at..at.saturating_add(HEAD))));
    let units = || (1..).map(|unit: u64| unit.saturating_mul(SLOT_UNIT)).take_while(|at| *at < length);
    let parts = || {
        (2..=MAX_COPIES as u64).filter_map(|parts| length.checked_div(parts)).filter(|at| at.is_multiple_of(SLOT_UNIT))
    };
    let stride = units()
        .find(|at| *at >= content_end && begins(*at))
        .or_else(|| parts().find(|at| *at > 0 && *at >= content_end && copies(*at)));
    let Some(stride) = stride else { return vec![0] };
    let further = (1..).map(|index: u64| stride.saturating_mul(index)).take_while(|at| *at < length && copies(*at));
    std::iter::once(0).chain(further).take(MAX_COPIES).collect()
}

/// The slots that start where `starts` says. `same` compares the bytes of a slot with those of the first.
fn slots(bytes: &[u8], starts: &[u64], same: impl Fn(&[u8]) -> bool) -> Vec<Slot> {
    let length = bytes.len() as u64;
    let stride = starts.get(1).copied().unwrap_or(length);
    starts
        .iter()
        .map(|start| {
            let range = *start..start.saturating_add(stride).min(length);
            Slot { identical: *start == 0 || same(slice(bytes, &range)), range }
        })
        .collect()
}

/// The bytes behind the last slot.
fn behind<'a>(bytes: &'a [u8], slots: &[Slot]) -> &'a [u8] {
    tail(bytes, slots.last().map_or(0, |slot| slot.range.end))
}
