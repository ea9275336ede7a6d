//! `BL3X` images (`trust.img`): TF-A and OP-TEE for the vendor's miniloader on arm64 SoCs before the FIT.
//!
//! A header of 2 KiB names components, each a segment of an ELF file: where it lies, where it is loaded, its hash. The
//! file holds two copies, the second at half its size, and is written at sector 24576. Source: `trust_merger` of
//! Rockchip's U-Boot v2017.09 (`TRUST_HEADER`, `COMPONENT_DATA`, `TRUST_COMPONENT`).
//!
//! ```
//! use rkboot::legacy::trust;
//!
//! let mut file = trust::sample();
//! let (image, report) = trust::parse(&file);
//! let image = image.expect("a BL3X image");
//! assert!(!report.has_errors());
//! let component = &image.components[0];
//! assert_eq!((component.id.as_str(), component.load), ("BL31", 0x4_0000));
//! assert_eq!(component.data(&file).len(), 2048);
//!
//! file[2048] ^= 1;
//! let (_, report) = trust::parse(&file);
//! assert_eq!(report.iter().map(|finding| finding.code).collect::<Vec<_>>(), ["LEG025", "LEG028"]);
//! ```
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::ops::Range;

use imgcore::{Finding, Report};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use zerocopy::{FromBytes, FromZeros as _, Immutable, IntoBytes, KnownLayout, Unaligned, little_endian::U32};

use super::{Slot, behind, slot_starts, slots};
use crate::{
    idblock::Check,
    rules,
    util::{data_ranges, first_difference, hex, is_fill, list_ranges, quote, slice, tail},
};

const MAGIC: [u8; 4] = *b"BL3X";

/// Component data, signature and component records lie in it; the first component starts behind it.
pub const HEADER_SIZE: u64 = 2048;

/// Size of the signature.
pub const SIGNATURE_SIZE: u64 = 256;

/// The unit of places and sizes.
const BLOCK: u64 = 512;

/// A header of 2 KiB has room for 15: 800 + 15 × 48 + 256 + 15 × 16 bytes.
const MAX_COMPONENTS: u32 = 15;

/// Each byte is hashed at most this many times, however often components claim it.
const MAX_PASSES: u64 = 4;

#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Header {
    magic: [u8; 4],
    version: U32,
    flags: U32,
    /// Bits 31:16 count of components, bits 15:0 offset of the signature in 4-byte words.
    size: U32,
    reserved: [u8; 16],
    /// RSA modulus, exponent and a constant.
    key: [u8; 768],
}

#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct ComponentData {
    hash: [u8; 32],
    load: U32,
    load_size: U32,
    reserved: [u8; 8],
}

#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct ComponentRecord {
    id: [u8; 4],
    block: U32,
    blocks: U32,
    reserved: U32,
}

const _: () =
    assert!(size_of::<Header>() == 800 && size_of::<ComponentData>() == 48 && size_of::<ComponentRecord>() == 16);

/// Which hash the components have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum HashKind {
    /// Nothing is compared.
    None,
    /// SHA-1; Rockchip's public packer stores SHA-256 all the same.
    Sha160,
    /// SHA-256 over words of reversed byte order, as the RK3368's hash engine reads them.
    Sha256Swapped,
    /// SHA-256.
    Sha256,
    /// No known value.
    Unknown(u8),
}

impl HashKind {
    fn from_raw(raw: u8) -> Self {
        match raw {
            0 => Self::None,
            1 => Self::Sha160,
            2 => Self::Sha256Swapped,
            3 => Self::Sha256,
            other => Self::Unknown(other),
        }
    }

    /// In a few words.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Sha160 => "sha1",
            Self::Sha256Swapped => "sha256 of big-endian words",
            Self::Sha256 => "sha256",
            Self::Unknown(_) => "unknown",
        }
    }
}

/// Whether `bytes` begin as a trust image.
pub fn is_trust(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// A trust image. All ranges are bytes of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Trust {
    /// Binary coded decimal: 0x100.
    pub version: u32,
    /// As stored: bits 3:0 hash, bits 7:4 kind of RSA.
    pub flags: u32,
    /// Count of components that the header claims.
    pub count: u32,
    /// Where the signature is.
    pub sign_offset: u64,
    /// Which hash the components have.
    pub hash_kind: HashKind,
    /// Whether there is an RSA key; without one the signature is filler.
    pub signed: bool,
    /// The components.
    pub components: Vec<Component>,
    /// End of the last component of copy 1.
    pub content_end: u64,
    /// The copies, this one first.
    pub slots: Vec<Slot>,
}

impl Trust {
    /// How a signature would be made: `none`, `RSA-1024`, `RSA-2048`, `RSA-2048 PSS`, `unknown`.
    pub const fn rsa(&self) -> &'static str {
        match (self.flags >> 4) & 0xf {
            0 => "none",
            1 => "RSA-1024",
            2 => "RSA-2048",
            3 => "RSA-2048 PSS",
            _ => "unknown",
        }
    }
}

/// A component of a trust image: a segment of BL31 or BL32.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Component {
    /// `BL30` to `BL33`.
    pub id: String,
    /// Where it is loaded.
    pub load: u32,
    /// Blocks to load; 0 in files of older packers.
    pub load_size: u32,
    /// Where it starts, in blocks of 512 bytes.
    pub block: u32,
    /// How long it is, in blocks.
    pub blocks: u32,
    /// Where it is.
    pub range: Range<u64>,
    /// The stored hash.
    pub hash: [u8; 32],
    /// Whether it is that of the component.
    pub check: Check,
}

impl Component {
    /// Its bytes, padding included, as far as the file holds them.
    pub fn data<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        slice(bytes, &self.range)
    }
}

/// Reads a trust image with its copies and checks everything but a signature. `None` when it is no trust image.
pub fn parse(bytes: &[u8]) -> (Option<Trust>, Report) {
    let mut report = Report::new();
    let (true, Ok((header, _))) = (is_trust(bytes), Header::ref_from_prefix(bytes)) else {
        report.push(
            Finding::error(
                rules::LEG_NO_TRUST,
                format!(
                    "no trust image: it starts with {} and has {} bytes, expected 424c3358 (BL3X) and at least {HEADER_SIZE}",
                    hex(slice(bytes, &(0..4))),
                    bytes.len()
                ),
            )
            .at(0..(bytes.len() as u64).min(HEADER_SIZE))
            .help("the download broke off or this is another file; fetch it again"),
        );
        return (None, report);
    };
    let count = header.size.get() >> 16;
    let sign_offset = u64::from(header.size.get() & 0xffff).saturating_mul(4);
    let [flags, ..] = header.flags.get().to_le_bytes();
    let hash_kind = HashKind::from_raw(flags & 0xf);
    // Where the records are not found, none can be read.
    let readable = check_header(count, sign_offset, hash_kind, &mut report);
    let count_read = if readable { count } else { 0 };
    let components = read_components(bytes, count_read, sign_offset, hash_kind, &mut report);
    let content_end = components.iter().map(|component| component.range.end).fold(HEADER_SIZE, u64::max);
    let starts = slot_starts(bytes, &MAGIC, content_end);
    let slots = slots(bytes, &starts, |slot| differs_at(bytes, slot, sign_offset, content_end).is_none());
    let signed = header.key.iter().any(|byte| *byte != 0);
    let trust = Trust {
        version: header.version.get(),
        flags: header.flags.get(),
        count,
        sign_offset,
        hash_kind,
        signed,
        components,
        content_end,
        slots,
    };
    if !trust.components.is_empty() {
        check_slots(bytes, &trust, &mut report);
    }
    if signed {
        report.push(
            Finding::info(rules::LEG_TRUST_SIGNED, format!("a signature ({}), which is not checked", trust.rsa()))
                .at(sign_offset..sign_offset.saturating_add(SIGNATURE_SIZE)),
        );
    }
    (Some(trust), report)
}

/// Whether the records of the components are where they should be.
fn check_header(count: u32, sign_offset: u64, hash_kind: HashKind, report: &mut Report) -> bool {
    if !(1..=MAX_COMPONENTS).contains(&count) {
        report.push(
            Finding::error(
                rules::LEG_COMPONENTS,
                format!("the header claims {count} components, expected 1 to {MAX_COMPONENTS}"),
            )
            .at(12..16)
            .help("the miniloader refuses this header; the file is damaged, fetch it again"),
        );
    }
    let expected = u64::from(count).saturating_mul(48).saturating_add(800);
    if sign_offset != expected && count <= MAX_COMPONENTS {
        report.push(
            Finding::error(
                rules::LEG_SIGN_OFFSET,
                format!(
                    "the signature is said to be at byte {sign_offset}, expected {expected} for {count} components"
                ),
            )
            .at(12..16)
            .help("the component records lie behind it, so none is found; the file is damaged, fetch it again"),
        );
    }
    match hash_kind {
        HashKind::None => report.push(
            Finding::info(rules::LEG_TRUST_NO_HASH, "the components have no hash: neither the board nor we see damage")
                .at(8..12),
        ),
        HashKind::Unknown(raw) => report.push(
            Finding::info(rules::LEG_TRUST_NO_HASH, format!("hash kind {raw} is not known here: no hash is checked"))
                .at(8..12),
        ),
        _ => {}
    }
    (1..=MAX_COMPONENTS).contains(&count) && sign_offset == expected
}

fn read_components(bytes: &[u8], count: u32, sign_offset: u64, kind: HashKind, report: &mut Report) -> Vec<Component> {
    let length = bytes.len() as u64;
    let mut budget = length.saturating_mul(MAX_PASSES);
    let mut components: Vec<Component> = Vec::new();
    for index in 0..u64::from(count) {
        let data_at = index.saturating_mul(48).saturating_add(800);
        let record_at = sign_offset.saturating_add(SIGNATURE_SIZE).saturating_add(index.saturating_mul(16));
        let (Ok((data, _)), Ok((record, _))) = (
            ComponentData::ref_from_prefix(tail(bytes, data_at)),
            ComponentRecord::ref_from_prefix(tail(bytes, record_at)),
        ) else {
            report.push(
                Finding::error(rules::LEG_COMPONENT_END, format!("the record of component {index} is behind the end"))
                    .at(length..length)
                    .help("the download broke off; fetch the file again"),
            );
            break;
        };
        let start = u64::from(record.block.get()).saturating_mul(BLOCK);
        let size = u64::from(record.blocks.get()).saturating_mul(BLOCK);
        let range = start..start.saturating_add(size);
        let id: String = record.id.iter().map(|byte| char::from(*byte)).collect();
        let name = format!("component {index} ({})", quote(&id));
        check_place(&name, &range, length, &components, report);
        if !(id.starts_with("BL3") && matches!(record.id.last(), Some(b'0'..=b'3'))) {
            report.push(
                Finding::warning(rules::LEG_COMPONENT_ID, format!("{name} has an unknown name, expected BL30 to BL33"))
                    .at(record_at..record_at.saturating_add(4))
                    .help("the miniloader does not know what to do with it; fetch the file again"),
            );
        }
        let (load_size, blocks) = (data.load_size.get(), record.blocks.get());
        if load_size != 0 && load_size != blocks {
            report.push(
                Finding::warning(
                    rules::LEG_LOAD_SIZE,
                    format!("{name} has {blocks} blocks, but {load_size} are to be loaded"),
                )
                .at(data_at.saturating_add(36)..data_at.saturating_add(40))
                .help("the component would be cut or followed by other data; fetch the file again"),
            );
        }
        let check = if range.end > length || size > budget {
            Check::Unchecked
        } else {
            budget = budget.saturating_sub(size);
            check_hash(kind, slice(bytes, &range), &data.hash)
        };
        if check == Check::Wrong {
            report.push(
                Finding::error(rules::LEG_COMPONENT_HASH, format!("the hash of {name} is wrong"))
                    .at(range.clone())
                    .help("the miniloader refuses this copy; fetch the file again"),
            );
        }
        components.push(Component {
            id,
            load: data.load.get(),
            load_size,
            block: record.block.get(),
            blocks,
            range,
            hash: data.hash,
            check,
        });
    }
    components
}

fn check_place(name: &str, range: &Range<u64>, length: u64, earlier: &[Component], report: &mut Report) {
    if range.end > length {
        report.push(
            Finding::error(
                rules::LEG_COMPONENT_END,
                format!("{name} ends at byte {}, behind the end of the file at {length}", range.end),
            )
            .at(range.clone())
            .help("the download broke off; fetch the file again"),
        );
    }
    if range.start < HEADER_SIZE && !range.is_empty() {
        report.push(
            Finding::error(
                rules::LEG_COMPONENT_OVERLAP,
                format!("{name} starts at byte {}, inside the header; expected {HEADER_SIZE} or more", range.start),
            )
            .at(range.start..range.end.min(HEADER_SIZE))
            .help("the file is damaged, fetch it again"),
        );
    }
    for (other, number) in earlier.iter().zip(0_usize..) {
        let shared = range.start.max(other.range.start)..range.end.min(other.range.end);
        if !shared.is_empty() {
            report.push(
                Finding::error(rules::LEG_COMPONENT_OVERLAP, format!("{name} overlaps component {number}"))
                    .at(shared)
                    .help("one of them is not what was packed; the file is damaged, fetch it again"),
            );
        }
    }
}

fn check_hash(kind: HashKind, data: &[u8], stored: &[u8; 32]) -> Check {
    let sha256 = || <[u8; 32]>::from(Sha256::digest(data));
    let is_right = match kind {
        HashKind::None | HashKind::Unknown(_) => return Check::Unchecked,
        HashKind::Sha256 => sha256() == *stored,
        // The packer knows the kind and computes SHA-256 for it nevertheless.
        HashKind::Sha160 => {
            let (hash, rest) = stored.split_at(20);
            (hash == <[u8; 20]>::from(Sha1::digest(data)) && is_fill(rest)) || sha256() == *stored
        }
        HashKind::Sha256Swapped => {
            let mut hasher = Sha256::new();
            let mut swapped = [0_u8; 4096];
            for piece in data.chunks(swapped.len()) {
                let Some(part) = swapped.get_mut(..piece.len()) else { continue };
                part.copy_from_slice(piece);
                part.chunks_exact_mut(4).for_each(<[u8]>::reverse);
                hasher.update(part);
            }
            <[u8; 32]>::from(hasher.finalize()) == *stored
        }
    };
    if is_right { Check::Valid } else { Check::Wrong }
}

/// Where a slot differs from the first. Unsigned files have random filler in the place of the signature, other in each
/// copy, so that is not looked at.
fn differs_at(bytes: &[u8], slot: &[u8], sign_offset: u64, content_end: u64) -> Option<u64> {
    let signature_end = sign_offset.saturating_add(SIGNATURE_SIZE);
    let compare = |range: Range<u64>| {
        let start = range.start;
        let at = first_difference(slice(bytes, &range), slice(slot, &range))?;
        Some(start.saturating_add(at))
    };
    compare(0..sign_offset.min(content_end)).or_else(|| compare(signature_end.min(content_end)..content_end))
}

fn check_slots(bytes: &[u8], trust: &Trust, report: &mut Report) {
    let mut foreign = Vec::new();
    for (slot, number) in trust.slots.iter().zip(1_usize..) {
        if !slot.identical {
            let at = differs_at(bytes, slice(bytes, &slot.range), trust.sign_offset, trust.content_end).unwrap_or(0);
            report.push(
                Finding::warning(
                    rules::LEG_TRUST_COPY,
                    format!("copy {number} differs from copy 1 from byte {} on", slot.range.start.saturating_add(at)),
                )
                .at(slot.range.clone())
                .help("the miniloader turns to it if copy 1 is damaged; write one file made in one go"),
            );
        }
        let used = slot.range.start.saturating_add(trust.content_end).min(slot.range.end);
        foreign.extend(data_ranges(bytes, used..slot.range.end));
    }
    if !is_fill(behind(bytes, &trust.slots)) {
        foreign.push(trust.slots.last().map_or(0, |slot| slot.range.end)..bytes.len() as u64);
    }
    if let (Some(first), Some(last)) = (foreign.first(), foreign.last()) {
        report.push(
            Finding::warning(
                rules::LEG_TRUST_FOREIGN,
                format!("data that belongs to no component: bytes {}", list_ranges(&foreign)),
            )
            .at(first.start..last.end)
            .help("it would be written too; make sure that it belongs there"),
        );
    }
}

/// A trust image of our own bytes in two slots of 64 KiB, for tests, examples and fuzzing seeds. Not part of the
/// interface.
#[doc(hidden)]
pub fn sample() -> Vec<u8> {
    const SLOT: usize = 64 * 1024;
    let mut header = Header::new_zeroed();
    header.magic = MAGIC;
    header.version = U32::new(0x100);
    header.flags = U32::new(0x23);
    header.size = U32::new((2 << 16) | ((800 + 2 * 48) / 4));
    let data: [&[u8]; 2] = [&[0x31; 2048], &[0x32; 1024]];
    let mut slot = header.as_bytes().to_vec();
    for (data, load) in data.into_iter().zip([0x4_0000, 0xff10_0000]) {
        let hash = Sha256::digest(data).into();
        let component = ComponentData { hash, load: U32::new(load), load_size: U32::ZERO, reserved: [0; 8] };
        slot.extend_from_slice(component.as_bytes());
    }
    slot.extend_from_slice(&[0; 256]);
    for (block, blocks) in [(4, 4), (8, 2)] {
        let record =
            ComponentRecord { id: *b"BL31", block: U32::new(block), blocks: U32::new(blocks), reserved: U32::ZERO };
        slot.extend_from_slice(record.as_bytes());
    }
    slot.resize(2048, 0);
    for data in data {
        slot.extend_from_slice(data);
    }
    slot.resize(SLOT, 0);
    slot.repeat(2)
}
