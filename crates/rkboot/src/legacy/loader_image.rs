//! `LOADER  ` images: U-Boot for the miniloader of RK33xx and older SoCs (`uboot.img`), and `TOS     ` images, OP-TEE in
//! the same envelope.
//!
//! A header of 2 KiB, the code behind it, and the whole several times in slots of 1 MiB. The default file has four slots
//! and is written at sector 16384. Three checks protect it: a CRC-32 with Rockchip's polynomial, a SHA-256 (SHA-1 in
//! older files) over data and some of the header, and a 32-bit hash of the oldest loaders. Source: `loaderimage` of
//! Rockchip's U-Boot v2017.09 (`struct tag_second_loader_hdr`).
//!
//! ```
//! use rkboot::legacy::loader_image::{Parts, build, parse};
//!
//! let mut file = build(&Parts { data: b"u-boot", load: 0x20_0000, ..Parts::default() })?;
//! assert_eq!(file.len(), 4 * 1024 * 1024);
//! let (image, report) = parse(&file);
//! let image = image.expect("a LOADER image");
//! assert!(report.is_empty());
//! assert_eq!((image.load, image.size, image.slots.len()), (0x20_0000, 8, 4));
//!
//! file[2048] ^= 1;
//! let (_, report) = parse(&file);
//! let codes: Vec<_> = report.iter().map(|finding| finding.code).collect();
//! assert_eq!(codes, ["LEG003", "LEG004", "LEG007", "LEG009", "LEG009", "LEG009"]);
//! # Ok::<(), rkboot::Error>(())
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
use sha2::{Digest, Sha256};
use zerocopy::{FromBytes, FromZeros as _, Immutable, IntoBytes, KnownLayout, Unaligned, little_endian::U32};

use super::{Slot, behind, slot_starts, slots};
use crate::{
    Error, ErrorKind,
    coding::crc32_rk,
    idblock::Check,
    rules,
    util::{data_ranges, first_difference, hex, is_fill, list_ranges, slice},
};

/// Size of the header; the data starts behind it.
pub const HEADER_SIZE: u64 = 2048;

/// The slot that the packer uses unless told otherwise.
pub const SLOT: u64 = 1024 * 1024;

/// Announces an RSA signature.
const SIGN_TAG: u32 = 0x4e47_4953;

/// What the 32-bit hash of the oldest loaders starts with.
const JS_START: u32 = 0x47c6_a7e6;

#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Header {
    magic: [u8; 8],
    version: U32,
    reserved0: U32,
    load: U32,
    size: U32,
    crc: U32,
    hash_length: U32,
    hash: [u8; 32],
    js_hash: U32,
    reserved1: [u8; 956],
    sign_tag: U32,
    sign_length: U32,
    signature: [u8; 256],
    reserved2: [u8; 760],
}

const _: () = assert!(size_of::<Header>() as u64 == HEADER_SIZE && std::mem::offset_of!(Header, sign_tag) == 1024);

/// What an image is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kind {
    /// `LOADER  `: U-Boot.
    #[default]
    UBoot,
    /// `TOS     `: OP-TEE.
    Trust,
}

impl Kind {
    /// The eight characters at the start of the file.
    pub const fn magic(self) -> &'static str {
        match self {
            Self::UBoot => "LOADER  ",
            Self::Trust => "TOS     ",
        }
    }

    fn of(bytes: &[u8]) -> Option<Self> {
        [Self::UBoot, Self::Trust].into_iter().find(|kind| bytes.starts_with(kind.magic().as_bytes()))
    }
}

/// Whether `bytes` begin as such an image.
pub fn is_loader_image(bytes: &[u8]) -> bool {
    Kind::of(bytes).is_some()
}

/// A `LOADER  ` or `TOS     ` image. All ranges are bytes of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoaderImage {
    /// What it is for.
    pub kind: Kind,
    /// Rollback index; 0 for none.
    pub version: u32,
    /// Where the data is loaded and started.
    pub load: u32,
    /// Size of the data in bytes, a multiple of 4.
    pub size: u32,
    /// Where the data is.
    pub data: Range<u64>,
    /// The stored CRC-32.
    pub crc: u32,
    /// Whether it is that of the data.
    pub crc_check: Check,
    /// The stored hash: 32 bytes of SHA-256, 20 of SHA-1, or nothing.
    pub hash: Vec<u8>,
    /// Whether it is that of data and header.
    pub hash_check: Check,
    /// The 32-bit hash of the oldest loaders; 0 in files that do without.
    pub js_hash: u32,
    /// Whether it is that of the data.
    pub js_check: Check,
    /// Length of the RSA signature, if one is announced.
    pub signature_length: Option<u32>,
    /// The copies, this one first.
    pub slots: Vec<Slot>,
}

impl LoaderImage {
    /// The code that is loaded, as far as the file holds it.
    pub fn data<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        slice(bytes, &self.data)
    }
}

/// Reads an image with its copies and checks everything but a signature. `None` when it is no such image.
pub fn parse(bytes: &[u8]) -> (Option<LoaderImage>, Report) {
    let mut report = Report::new();
    let header = Header::ref_from_prefix(bytes).ok();
    let (Some(kind), Some((header, _))) = (Kind::of(bytes), header) else {
        report.push(
            Finding::error(
                rules::LEG_NO_IMAGE,
                format!(
                    "no LOADER image: it starts with {} and has {} bytes, expected 4c4f414445522020 and at least \
                     {HEADER_SIZE}",
                    hex(slice(bytes, &(0..8))),
                    bytes.len()
                ),
            )
            .at(0..(bytes.len() as u64).min(HEADER_SIZE))
            .help("the download broke off or this is another file; fetch it again"),
        );
        return (None, report);
    };
    let size = header.size.get();
    let data = HEADER_SIZE..HEADER_SIZE.saturating_add(u64::from(size));
    let (crc_check, hash_check, js_check) = check_data(bytes, header, &data, &mut report);
    let starts = slot_starts(bytes, kind.magic().as_bytes(), data.end);
    let content = slice(bytes, &(0..data.end));
    let slots = slots(bytes, &starts, |slot| slot.get(..content.len()) == Some(content));
    let hash_length = usize::try_from(header.hash_length.get()).unwrap_or(usize::MAX).min(header.hash.len());
    let image = LoaderImage {
        kind,
        version: header.version.get(),
        load: header.load.get(),
        size,
        data,
        crc: header.crc.get(),
        crc_check,
        hash: header.hash.get(..hash_length).unwrap_or_default().to_vec(),
        hash_check,
        js_hash: header.js_hash.get(),
        js_check,
        signature_length: (header.sign_tag.get() == SIGN_TAG).then(|| header.sign_length.get()),
        slots,
    };
    check_slots(bytes, &image, &mut report);
    if let Some(length) = image.signature_length {
        report.push(
            Finding::info(rules::LEG_SIGNED, format!("a signature of {length} bytes, which is not checked"))
                .at(1024..1032),
        );
    }
    (Some(image), report)
}

fn check_data(bytes: &[u8], header: &Header, range: &Range<u64>, report: &mut Report) -> (Check, Check, Check) {
    let size = header.size.get();
    if size == 0 {
        report.push(
            Finding::error(rules::LEG_EMPTY, "the image holds no data: there is nothing to start")
                .at(20..24)
                .help("pack it again, with the file that belongs in it"),
        );
    }
    if !size.is_multiple_of(4) {
        report.push(
            Finding::warning(rules::LEG_UNALIGNED, format!("the data has {size} bytes, expected a multiple of 4"))
                .at(20..24)
                .help("the SoC's hash engine reads words: a miniloader may refuse it; pack it again"),
        );
    }
    if range.end > bytes.len() as u64 {
        report.push(
            Finding::error(
                rules::LEG_BEYOND_END,
                format!("the data ends at byte {}, behind the end of the file at {}", range.end, bytes.len()),
            )
            .at(range.clone())
            .help("the download broke off; fetch the file again"),
        );
        return (Check::Unchecked, Check::Unchecked, Check::Unchecked);
    }
    let data = slice(bytes, range);
    let crc_check = if crc32_rk(data) == header.crc.get() { Check::Valid } else { Check::Wrong };
    if crc_check == Check::Wrong {
        report.push(
            Finding::error(rules::LEG_CRC, format!("the checksum {:#010x} is not that of the data", header.crc.get()))
                .at(24..28)
                .help("the miniloader refuses this copy; fetch the file again"),
        );
    }
    let hash_check = check_hash(header, data, report);
    let js_check = match header.js_hash.get() {
        0 => Check::Unchecked,
        stored if stored == js_hash(data) => Check::Valid,
        _ => Check::Wrong,
    };
    if js_check == Check::Wrong {
        report.push(
            Finding::warning(
                rules::LEG_JS_HASH,
                format!("the old 32-bit hash {:#010x} is not that of the data", header.js_hash.get()),
            )
            .at(64..68)
            .help("only the oldest loaders look at it; if the other checks are right, the field alone is damaged"),
        );
    }
    (crc_check, hash_check, js_check)
}

fn check_hash(header: &Header, data: &[u8], report: &mut Report) -> Check {
    let length = header.hash_length.get();
    let version = if header.version.get() > 0 {
        // The packer hashes eight bytes from the version on, and so the reserved word too.
        [header.version.as_bytes(), header.reserved0.as_bytes()].concat()
    } else {
        Vec::new()
    };
    let pieces = [data, &version, header.load.as_bytes(), header.size.as_bytes(), header.hash_length.as_bytes()];
    let (computed, stored) = match length {
        0 => {
            report.push(
                Finding::info(rules::LEG_NO_HASH, "the image has no hash: a checksum alone protects it").at(28..32),
            );
            return Check::Unchecked;
        }
        20 => (digest::<Sha1>(&pieces), header.hash.get(..20)),
        32 => (digest::<Sha256>(&pieces), header.hash.get(..32)),
        other => {
            report.push(
                Finding::error(
                    rules::LEG_HASH_LENGTH,
                    format!("the hash is said to have {other} bytes, expected 32, 20 or 0"),
                )
                .at(28..32)
                .help("the miniloader refuses this header; the file is damaged, fetch it again"),
            );
            return Check::Unchecked;
        }
    };
    if stored == Some(computed.as_slice()) {
        return Check::Valid;
    }
    report.push(
        Finding::error(rules::LEG_HASH, "the hash is not that of data, version, load address and size")
            .at(32..64)
            .help("the miniloader refuses this copy; fetch the file again"),
    );
    Check::Wrong
}

fn digest<H: Digest>(pieces: &[&[u8]]) -> Vec<u8> {
    let mut hasher = H::new();
    for piece in pieces {
        hasher.update(piece);
    }
    hasher.finalize().to_vec()
}

fn check_slots(bytes: &[u8], image: &LoaderImage, report: &mut Report) {
    let content = slice(bytes, &(0..image.data.end));
    let mut foreign = Vec::new();
    for (slot, number) in image.slots.iter().zip(1_usize..) {
        if !slot.identical {
            let at = first_difference(content, slice(bytes, &slot.range)).unwrap_or(0);
            report.push(
                Finding::warning(
                    rules::LEG_COPY_DIFFERS,
                    format!("copy {number} differs from copy 1 from byte {} on", slot.range.start.saturating_add(at)),
                )
                .at(slot.range.clone())
                .help("the miniloader turns to it if copy 1 is damaged; write one file made in one go"),
            );
        }
        let used = slot.range.start.saturating_add(image.data.end).min(slot.range.end);
        foreign.extend(data_ranges(bytes, used..slot.range.end));
    }
    if !is_fill(behind(bytes, &image.slots)) {
        foreign.push(image.slots.last().map_or(0, |slot| slot.range.end)..bytes.len() as u64);
    }
    if let (Some(first), Some(last)) = (foreign.first(), foreign.last()) {
        report.push(
            Finding::warning(
                rules::LEG_FOREIGN_DATA,
                format!("data that belongs to no copy: bytes {}", list_ranges(&foreign)),
            )
            .at(first.start..last.end)
            .help("it would be written too; make sure that it belongs there"),
        );
    }
}

/// The 32-bit hash that the oldest loaders compare.
pub fn js_hash(data: &[u8]) -> u32 {
    data.iter().fold(JS_START, |hash, byte| hash ^ (hash << 5).wrapping_add(u32::from(*byte)).wrapping_add(hash >> 2))
}

/// What an image is made of. [`Default`] is an empty `LOADER  ` image in four slots of 1 MiB.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// What it is for.
    pub kind: Kind,
    /// The code, `u-boot.bin` or `tee.bin`.
    pub data: &'a [u8],
    /// Rollback index; 0 for none.
    pub version: u32,
    /// Where it is loaded: `CONFIG_SYS_TEXT_BASE`, 0x200000 on RK33xx.
    pub load: u32,
    /// Size of a slot in bytes, a multiple of 64 KiB.
    pub slot: u64,
    /// How many slots.
    pub copies: u64,
}

impl Default for Parts<'_> {
    fn default() -> Self {
        Self { kind: Kind::UBoot, data: &[], version: 0, load: 0x20_0000, slot: SLOT, copies: 4 }
    }
}

/// Makes a file of several copies, as `loaderimage --pack` does.
///
/// # Errors
/// No data, a slot that is no multiple of 64 KiB, no or more than 16 copies, data that does not fit a slot.
pub fn build(parts: &Parts<'_>) -> Result<Vec<u8>, Error> {
    /// No medium has room for more in front of its partitions, and files with more are read by nobody.
    const MAX_SLOT: u64 = 64 * 1024 * 1024;
    if parts.data.is_empty() {
        return Err(ErrorKind::EmptyImage { what: "image" }.into());
    }
    let in_range = (1..=super::MAX_COPIES as u64).contains(&parts.copies) && (1..=MAX_SLOT).contains(&parts.slot);
    if !in_range || !parts.slot.is_multiple_of(super::SLOT_UNIT) {
        return Err(ErrorKind::SlotForm { slot: parts.slot, copies: parts.copies }.into());
    }
    let mut data = parts.data.to_vec();
    data.resize(data.len().next_multiple_of(4), 0);
    let size = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let end = HEADER_SIZE.saturating_add(data.len() as u64);
    if end > parts.slot {
        let what = "the image with its header".to_owned();
        return Err(ErrorKind::TooLarge { what, size: end, limit: parts.slot }.into());
    }
    let mut header = Header::new_zeroed();
    header.magic.copy_from_slice(parts.kind.magic().as_bytes());
    header.version = U32::new(parts.version);
    header.load = U32::new(parts.load);
    header.size = U32::new(size);
    header.crc = U32::new(crc32_rk(&data));
    header.hash_length = U32::new(32);
    header.js_hash = U32::new(js_hash(&data));
    let mut hasher = Sha256::new();
    hasher.update(&data);
    if parts.version > 0 {
        hasher.update(parts.version.to_le_bytes());
        hasher.update([0; 4]);
    }
    for word in [parts.load, size, 32] {
        hasher.update(word.to_le_bytes());
    }
    header.hash = hasher.finalize().into();
    let mut slot = [header.as_bytes(), &data].concat();
    slot.resize(usize::try_from(parts.slot).unwrap_or(usize::MAX), 0);
    Ok(slot.repeat(usize::try_from(parts.copies).unwrap_or(0)))
}
