//! The META partition: small values that a node finds before it has a configuration (`spec/talos-image.md` §8).
//!
//! ```
//! use talosimg::meta;
//!
//! let value = meta::parse_key("0xa=addresses: []")?;
//! let partition = meta::encode(&[value])?;
//! assert_eq!(partition.len(), 1 << 20);
//! let (meta, report) = meta::parse(&partition);
//! assert!(report.is_empty());
//! assert_eq!(meta.and_then(|meta| meta.text(10)).as_deref(), Some("addresses: []"));
//! # Ok::<(), talosimg::Error>(())
//! ```
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::{collections::BTreeMap, ops::Range};

use imgcore::{Digest, Finding, Report};

use crate::error::{Error, ErrorKind, Result};

/// Size of the partition in bytes. Nodes look for exactly this size.
pub const SIZE: usize = 1 << 20;

/// Bytes for tags and values in one copy: eight per tag and the value itself.
pub const CAPACITY: usize = COPY - TAGS_START - TAIL;

/// Size of one of the two equal copies at the start.
const COPY: usize = 256 << 10;
/// Both copies.
const COPIES: usize = 2 * COPY;
/// First magic of a copy, big-endian.
const MAGIC_HEAD: u32 = 0x5a4b_3c2d;
/// Last four bytes of a copy, big-endian.
const MAGIC_TAIL: u32 = 0xa5b4_c3d2;
const TAGS_START: usize = 4;
/// SHA-256 of the copy (with these bytes zero) and the last magic.
const TAIL: usize = 36;
/// Size of tag and length in front of a value.
const TAG_HEADER: usize = 8;
/// The last 1024 bytes belong to a format of syslinux, unused since Talos 1.4.
const SYSLINUX: usize = 1024;

/// What a META partition says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Meta {
    /// Values by tag.
    pub values: BTreeMap<u8, Vec<u8>>,
}

impl Meta {
    /// A value as text; bytes that are no UTF-8 become U+FFFD.
    pub fn text(&self, tag: u8) -> Option<String> {
        self.values.get(&tag).map(|value| String::from_utf8_lossy(value).into_owned())
    }
}

/// What a tag is for, as far as Talos has given it a meaning.
pub const fn purpose(tag: u8) -> Option<&'static str> {
    Some(match tag {
        0x06 => "upgrade fallback label",
        0x07 => "staged upgrade image",
        0x08 => "staged upgrade options (JSON)",
        0x09 => "STATE encryption (JSON)",
        0x0a => "network configuration of the platform metal (YAML)",
        0x0b => "download URL code",
        0x0c => "user value 1 (Omni labels)",
        0x0d => "user value 2",
        0x0e => "user value 3",
        0x0f => "UUID override",
        0x10 => "unique machine token",
        0x11 => "boot program of the disk image",
        _ => return None,
    })
}

/// Reads `KEY=VALUE`. The key is an unsigned integer as Go's literals write it (`10`, `0xa`, `0o12`, `0b1010`, `012`,
/// `1_0`), from 1 to 255; the value is everything behind the first `=`.
pub fn parse_key(text: &str) -> Result<(u8, String)> {
    let refuse =
        |problem: &str| Error::from(ErrorKind::MetaRequest { text: text.to_owned(), problem: problem.to_owned() });
    let (key, value) = text.split_once('=').ok_or_else(|| refuse("expected KEY=VALUE, such as 0xa=VALUE"))?;
    match go_uint(key) {
        None => Err(refuse("the key is no unsigned integer; write it as 10 or 0xa")),
        Some(0) => Err(refuse("key 0 ends the list of values; keys are 1 to 255")),
        Some(number) => {
            let key = u8::try_from(number).map_err(|_| refuse("keys are 1 to 255"))?;
            Ok((key, value.to_owned()))
        }
    }
}

/// `strconv.ParseUint(text, 0, 64)` of Go, saturating.
fn go_uint(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    let (radix, digits, prefix) = match lower.as_bytes() {
        [b'0', b'x', _, ..] => (16, lower.get(2..)?, true),
        [b'0', b'o', _, ..] => (8, lower.get(2..)?, true),
        [b'0', b'b', _, ..] => (2, lower.get(2..)?, true),
        [b'0', _, ..] => (8, lower.get(1..)?, true),
        _ => (10, lower.as_str(), false),
    };
    // An underscore stands between digits; a prefix counts as one.
    let mut digit_before = prefix;
    let mut value = 0_u64;
    for c in digits.chars() {
        if c == '_' {
            if !digit_before {
                return None;
            }
            digit_before = false;
        } else {
            value = value.saturating_mul(u64::from(radix)).saturating_add(u64::from(c.to_digit(radix)?));
            digit_before = true;
        }
    }
    digit_before.then_some(value)
}

/// The partition with these values, sorted by tag so that the same request gives the same bytes; of a repeated tag the
/// last value counts, as with the imager. Without values it is all zeros, as the imager leaves it.
///
/// # Errors
/// Tag 0, or more values than fit.
pub fn encode(values: &[(u8, String)]) -> Result<Vec<u8>> {
    let sorted: BTreeMap<u8, &str> = values.iter().map(|(tag, value)| (*tag, value.as_str())).collect();
    let mut partition = Vec::with_capacity(SIZE);
    if sorted.is_empty() {
        partition.resize(SIZE, 0);
        return Ok(partition);
    }
    if let Some(value) = sorted.get(&0) {
        let problem = "key 0 ends the list of values; keys are 1 to 255".to_owned();
        return Err(ErrorKind::MetaRequest { text: format!("0={value}"), problem }.into());
    }
    let needed = sorted.values().fold(0_usize, |sum, value| sum.saturating_add(TAG_HEADER).saturating_add(value.len()));
    if needed > CAPACITY {
        let largest = sorted.iter().max_by_key(|(_, value)| value.len());
        let (largest, size) = largest.map_or((0, 0), |(tag, value)| (*tag, value.len()));
        return Err(ErrorKind::MetaTooLarge { needed, largest, size }.into());
    }
    partition.extend(MAGIC_HEAD.to_be_bytes());
    for (tag, value) in sorted {
        // A value is shorter than the capacity, which fits 32 bits.
        partition.extend(u32::from(tag).to_be_bytes());
        partition.extend(u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes());
        partition.extend(value.as_bytes());
    }
    partition.resize(COPY.saturating_sub(4), 0);
    partition.extend(MAGIC_TAIL.to_be_bytes());
    let digest = Digest::of(&partition);
    if let Some(slot) = partition.get_mut(SHA_RANGE) {
        slot.copy_from_slice(digest.raw());
    }
    partition.extend_from_within(..);
    partition.resize(SIZE, 0);
    Ok(partition)
}

/// Where the checksum of a copy lies in it.
const SHA_RANGE: Range<usize> = COPY - TAIL..COPY - 4;

/// Reads a META partition. All zeros is an empty one; of two copies the first valid one counts, as on a node.
pub fn parse(bytes: &[u8]) -> (Option<Meta>, Report) {
    let mut report = Report::new();
    if bytes.len() != SIZE {
        let message = format!("META has {} bytes, but nodes look for a partition of exactly {SIZE}", bytes.len());
        report.push(Finding::error("TAL001", message));
    }
    if is_zero(bytes) {
        return (Some(Meta::default()), report);
    }
    let copies = [0..COPY, COPY..COPIES].map(|range| bytes.get(range).ok_or("cut off").and_then(check_copy));
    let [first, second] = &copies;
    let chosen = match (first, second) {
        (Ok(()), Ok(())) => {
            if bytes.get(..COPY) != bytes.get(COPY..COPIES) {
                let message = "the two copies of META are both valid but differ; nodes take the first";
                report.push(Finding::warning("TAL004", message).at(0..COPIES as u64));
            }
            0
        }
        (Ok(()), Err(problem)) => {
            let message = format!("the second copy of META is damaged ({problem}); nodes take the first");
            report.push(Finding::warning("TAL002", message).at(COPY as u64..COPIES as u64));
            0
        }
        (Err(problem), Ok(())) => {
            let message = format!("the first copy of META is damaged ({problem}); nodes take the second");
            report.push(Finding::warning("TAL002", message).at(0..COPY as u64));
            COPY
        }
        (Err(first), Err(second)) => {
            let message =
                format!("no copy of META is valid: first {first}, second {second}; expected zeros or two copies");
            let finding = Finding::error("TAL003", message).at(0..COPIES as u64);
            report.push(finding.help("nodes ignore the partition; write it anew"));
            return (None, report);
        }
    };
    if bytes.get(COPIES..).is_some_and(|rest| !is_zero(rest)) {
        let in_syslinux = SIZE.saturating_sub(SYSLINUX);
        let middle = bytes.get(COPIES..in_syslinux).is_some_and(|rest| !is_zero(rest));
        let (message, start) = if middle {
            ("bytes behind the two copies of META are not zero; nobody reads them", COPIES)
        } else {
            ("the last 1024 bytes of META hold values of the old syslinux format", in_syslinux)
        };
        report.push(Finding::info("TAL005", message).at(start as u64..SIZE as u64));
    }
    let meta = bytes
        .get(chosen..)
        .and_then(|copy| copy.get(TAGS_START..COPY.saturating_sub(TAIL)))
        .map(|tags| parse_tags(tags, chosen.saturating_add(TAGS_START) as u64, &mut report));
    (meta, report)
}

/// Compares blocks, which is fast in unoptimised builds as well.
fn is_zero(bytes: &[u8]) -> bool {
    const ZEROS: [u8; 4096] = [0; 4096];
    bytes.chunks(ZEROS.len()).all(|chunk| ZEROS.starts_with(chunk))
}

/// Whether a copy's frame is sound: magics and checksum.
fn check_copy(copy: &[u8]) -> std::result::Result<(), &'static str> {
    if copy.get(..4) != Some(MAGIC_HEAD.to_be_bytes().as_slice()) {
        return Err("wrong magic at the start");
    }
    if copy.get(COPY.saturating_sub(4)..) != Some(MAGIC_TAIL.to_be_bytes().as_slice()) {
        return Err("wrong magic at the end");
    }
    let mut hasher = imgcore::Hasher::new();
    hasher.update(copy.get(..SHA_RANGE.start).unwrap_or_default());
    hasher.update(&[0; 32]);
    hasher.update(copy.get(SHA_RANGE.end..).unwrap_or_default());
    if copy.get(SHA_RANGE) != Some(hasher.finish().raw().as_slice()) {
        return Err("wrong checksum");
    }
    Ok(())
}

fn parse_tags(tags: &[u8], base: u64, report: &mut Report) -> Meta {
    let mut meta = Meta::default();
    let mut at = 0_usize;
    while let Some((header, rest)) = tags.get(at..).and_then(<[u8]>::split_first_chunk::<TAG_HEADER>) {
        // Big-endian: the tag is the high half.
        let header = u64::from_be_bytes(*header);
        let (tag, length) = (header >> 32, header & u64::from(u32::MAX));
        if tag == 0 {
            break;
        }
        let start = base.saturating_add(at as u64);
        let Some(value) = usize::try_from(length).ok().and_then(|length| rest.get(..length)) else {
            let message = format!("META value {tag:#x} claims {length} bytes, but only {} are left", rest.len());
            report.push(Finding::error("TAL006", message).at(start..base.saturating_add(tags.len() as u64)));
            break;
        };
        let end = start.saturating_add(TAG_HEADER as u64).saturating_add(length);
        if let Ok(tag) = u8::try_from(tag) {
            if meta.values.insert(tag, value.to_vec()).is_some() {
                let message = format!("META value {tag:#x} is there twice; nodes take the last");
                report.push(Finding::warning("TAL007", message).at(start..end));
            }
        } else {
            let message = format!("META key {tag:#x} is above 255; nodes would take it for {:#x}", tag & 0xff);
            report.push(Finding::error("TAL008", message).at(start..end));
        }
        at = at.saturating_add(TAG_HEADER).saturating_add(value.len());
    }
    meta
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)]
mod tests;
