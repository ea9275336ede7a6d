//! Names out of directory entries.

use super::raw::{RawEntry, RawLong};

/// Long entries seen so far, waiting for their short one.
#[derive(Default)]
pub(super) struct LongName {
    /// By descending number, as they lie on the disk.
    parts: Vec<[u16; 13]>,
    /// The number that the next entry must have; 0 when complete.
    next: u8,
    sum: u8,
    broken: bool,
}

impl LongName {
    /// Whether any long entry waits.
    pub(super) fn waits(&self) -> bool {
        !self.parts.is_empty() || self.broken
    }

    pub(super) fn push(&mut self, entry: &RawLong) {
        let number = entry.order & 0x3f;
        if entry.order & 0x40 != 0 {
            let broken = self.waits();
            *self = Self { next: number, sum: entry.sum, broken, ..Self::default() };
            // 20 entries hold the 255 units of the longest name.
            self.broken |= !(1..=20).contains(&number);
        } else {
            self.broken |= self.parts.is_empty() || self.sum != entry.sum;
        }
        if self.broken || number != self.next || entry.first.get() != 0 || entry.kind != 0 {
            self.broken = true;
            return;
        }
        let mut units = [0; 13];
        for (to, from) in units.iter_mut().zip(entry.units()) {
            *to = from;
        }
        self.parts.push(units);
        self.next = self.next.saturating_sub(1);
    }

    /// The name for its short entry, `Err` when the long entries are not all there or belong to another.
    pub(super) fn finish(self, short: &RawEntry) -> Result<Option<Vec<u16>>, ()> {
        if !self.waits() {
            return Ok(None);
        }
        if self.broken || self.next != 0 || self.sum != sum(short) {
            return Err(());
        }
        let units: Vec<u16> = self.parts.iter().rev().flatten().copied().collect();
        let len = units.iter().position(|unit| *unit == 0).unwrap_or(units.len());
        let (name, padding) = units.split_at_checked(len).unwrap_or((&units, &[]));
        let clean = padding.iter().skip(1).all(|unit| *unit == 0xffff);
        if clean && !name.is_empty() && name.len() <= 255 { Ok(Some(name.to_vec())) } else { Err(()) }
    }
}

/// The checksum of the 11 bytes of the short name that long entries carry.
fn sum(short: &RawEntry) -> u8 {
    let mut sum = 0_u8;
    for byte in short.base.iter().chain(&short.extension) {
        let carry = if sum & 1 == 1 { 0x80_u8 } else { 0 };
        sum = carry.wrapping_add(sum >> 1).wrapping_add(*byte);
    }
    sum
}

/// The short name as text, its stored case applied, and whether its bytes are allowed.
pub(super) fn short(entry: &RawEntry) -> (String, bool) {
    let mut good = true;
    let mut part = |bytes: &[u8], lower: bool| {
        let len = bytes.iter().rposition(|byte| *byte != b' ').map_or(0, |last| last.saturating_add(1));
        let mut text = String::new();
        for byte in bytes.iter().take(len) {
            let c = char::from(*byte);
            match byte {
                b' '..=b'~' if !b"\"*+,./:;<=>?[\\]|".contains(byte) && !byte.is_ascii_lowercase() => {
                    text.push(if lower { c.to_ascii_lowercase() } else { c });
                }
                // A code page that nothing here names; 5 stands for the byte that marks a deleted entry.
                5 | 0x80..=0xff => text.push(char::REPLACEMENT_CHARACTER),
                _ => {
                    good = false;
                    text.push(char::REPLACEMENT_CHARACTER);
                }
            }
        }
        text
    };
    let base = part(&entry.base, entry.case & 0x08 != 0);
    let extension = part(&entry.extension, entry.case & 0x10 != 0);
    good &= !base.is_empty() && !base.starts_with(' ');
    (if extension.is_empty() { base } else { format!("{base}.{extension}") }, good)
}

/// A long name as text, and whether its characters are allowed.
pub(super) fn long(units: &[u16]) -> (String, bool) {
    let mut good = true;
    let mut name: String = char::decode_utf16(units.iter().copied())
        .map(|unit| match unit {
            Ok(c) if u32::from(c) >= 0x20 && !"\"*/:<>?\\|".contains(c) => c,
            _ => {
                good = false;
                char::REPLACEMENT_CHARACTER
            }
        })
        .collect();
    if name == "." || name == ".." {
        good = false;
        name = char::REPLACEMENT_CHARACTER.to_string();
    }
    (name, good)
}

/// A name as FAT compares it.
pub(super) fn folded(name: &str) -> String {
    let upper = |c: char| if c.to_uppercase().len() == 1 { c.to_uppercase().next().unwrap_or(c) } else { c };
    name.chars().map(upper).collect()
}
