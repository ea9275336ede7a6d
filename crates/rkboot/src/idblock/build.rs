//! The writer: byte for byte what `mkimage -T rksd` of U-Boot v2026.01 writes.

use imgcore::Digest;
use zerocopy::{FromZeros as _, IntoBytes as _, little_endian::U32};

use super::{
    HashKind,
    raw::{BLOCK, DEFAULT_LOAD, HASH_OFFSET, HEADER_SIZE, Header, IMAGE_ALIGN, MAGIC},
};
use crate::{Error, ErrorKind, HeaderVersion, Soc};

/// What an idblock is made of.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// Sets the largest init image and the form of the header.
    pub soc: Soc,
    /// Image 1: the code that trains the DRAM, a DDR blob of rkbin or U-Boot's TPL.
    pub init: &'a [u8],
    /// Image 2: what runs next, U-Boot's SPL or a vendor SPL.
    pub boot: Option<&'a [u8]>,
}

/// Makes an idblock v2 for SD card and eMMC (mkimage's `rksd`).
///
/// Both images are padded to 2048 bytes and hashed with the padding. Without a boot image the second entry still
/// exists, as mkimage writes it: size 0 at the offset where it would be, with the hash of nothing.
///
/// ```
/// use rkboot::{Soc, idblock};
///
/// let bytes = idblock::build(&idblock::Parts { soc: Soc::Rk3588, init: b"ddr", boot: Some(b"spl") })?;
/// assert_eq!((bytes.len(), &bytes[..4]), (2048 + 2048 + 2048, &b"RKNS"[..]));
/// # Ok::<(), rkboot::Error>(())
/// ```
///
/// # Errors
/// An empty image, an init image above [`Soc::max_init`], a boot image above the 65535 blocks of an entry, a SoC
/// whose BootROM reads idblocks v1.
pub fn build(parts: &Parts<'_>) -> Result<Vec<u8>, Error> {
    let Parts { soc, init, boot } = *parts;
    if soc.header_version() != HeaderVersion::V2 {
        return Err(ErrorKind::UnsupportedHeader { soc, version: soc.header_version() }.into());
    }
    if init.is_empty() {
        return Err(ErrorKind::EmptyImage { what: "init image" }.into());
    }
    if boot.is_some_and(<[u8]>::is_empty) {
        return Err(ErrorKind::EmptyImage { what: "boot image" }.into());
    }
    let boot = boot.unwrap_or_default();
    let init_size = padded(init);
    if init_size > u64::from(soc.max_init()) {
        return Err(ErrorKind::InitTooLarge { soc, size: init_size, limit: soc.max_init() }.into());
    }
    let boot_size = padded(boot);
    let limit = u64::from(u16::MAX).saturating_mul(BLOCK);
    if boot_size > limit {
        return Err(ErrorKind::BootTooLarge { size: boot_size, limit }.into());
    }

    let mut header = Header::new_zeroed();
    header.magic = MAGIC;
    header.size_and_nimage = pack(2, HASH_OFFSET / 4);
    header.boot_flag = U32::new(u32::from(HashKind::Sha256.raw()));
    let mut out = vec![0; to_usize(HEADER_SIZE)];
    for ((entry, image), counter) in header.images.iter_mut().zip([init, boot]).zip(1_u32..) {
        let start = out.len();
        let size = padded(image);
        out.extend_from_slice(image);
        out.resize(start.saturating_add(to_usize(size)), 0);
        entry.size_and_off = pack(size / BLOCK, start as u64 / BLOCK);
        entry.address = U32::new(DEFAULT_LOAD);
        entry.counter = U32::new(counter);
        let digest = Digest::of(out.get(start..).unwrap_or_default());
        put(&mut entry.hash, digest.raw());
    }
    let digest = Digest::of(header.as_bytes().get(..to_usize(HASH_OFFSET)).unwrap_or_default());
    put(&mut header.hash, digest.raw());
    put(&mut out, header.as_bytes());
    Ok(out)
}

fn padded(image: &[u8]) -> u64 {
    (image.len() as u64).next_multiple_of(IMAGE_ALIGN)
}

/// Two 16-bit fields in one word; the callers have checked that both fit.
fn pack(high: u64, low: u64) -> U32 {
    let half = |value: u64| u32::from(u16::try_from(value).unwrap_or(u16::MAX));
    U32::new(half(high) << 16 | half(low))
}

fn put(to: &mut [u8], from: &[u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

fn to_usize(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}
