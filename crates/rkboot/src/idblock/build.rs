//! The writer: byte for byte what `mkimage -T rksd` of U-Boot v2026.01 writes.

use imgcore::Digest;
use zerocopy::{FromZeros as _, IntoBytes as _, little_endian::U32};

use super::{
    HashKind,
    raw::{
        BLOCK, DEFAULT_LOAD, HASH_OFFSET, HEADER_SIZE, Header, IMAGE_ALIGN, MAGIC, RK3576_ALIGN, RK3576_BOOST_LOAD,
        RK3576_DDR_LOAD, RK3576_PARAM, RK3576_SRAM_END,
    },
    v1,
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

/// Parts of which none is empty, the init image fits, and the sizes with padding are known.
pub(super) struct Checked<'a> {
    pub(super) init: &'a [u8],
    /// Empty when there is none.
    pub(super) boot: &'a [u8],
    pub(super) init_size: u64,
    pub(super) boot_size: u64,
}

impl<'a> Parts<'a> {
    pub(super) fn checked(&self) -> Result<Checked<'a>, Error> {
        let Self { soc, init, boot } = *self;
        not_empty(init, "init image")?;
        if let Some(boot) = boot {
            not_empty(boot, "boot image")?;
        }
        let boot = boot.unwrap_or_default();
        let init_size = padded(init, IMAGE_ALIGN);
        fits_sram(soc, init_size, soc.max_init())?;
        Ok(Checked { init, boot, init_size, boot_size: padded(boot, IMAGE_ALIGN) })
    }
}

/// Makes an idblock for SD card and eMMC (mkimage's `rksd`), of the version that the SoC reads. [`super::spread`] makes the
/// `rkspi` form of it.
///
/// Both images are padded to 2048 bytes. A v2 block hashes them with the padding; without a boot image the second entry
/// still exists, as mkimage writes it: size 0 at the offset where it would be, with the hash of nothing. In a v1 block the
/// SoC's tag overwrites the first four bytes of the init image, see [`v1::build`].
///
/// ```
/// use rkboot::{Soc, idblock};
///
/// let bytes = idblock::build(&idblock::Parts { soc: Soc::Rk3588, init: b"ddr", boot: Some(b"spl") })?;
/// assert_eq!((bytes.len(), &bytes[..4]), (2048 + 2048 + 2048, &b"RKNS"[..]));
/// let bytes = idblock::build(&idblock::Parts { soc: Soc::Rk3328, init: b"....tpl", boot: Some(b"spl") })?;
/// assert_eq!((bytes.len(), &bytes[2048..2055]), (2048 + 2048 + 2048, &b"RK32tpl"[..]));
/// # Ok::<(), rkboot::Error>(())
/// ```
///
/// # Errors
/// An empty image, an init image above [`Soc::max_init`], a boot image above what the header's block counts can say.
pub fn build(parts: &Parts<'_>) -> Result<Vec<u8>, Error> {
    if parts.soc.header_version() == HeaderVersion::V1 {
        return v1::build(parts);
    }
    let Checked { init, boot, boot_size, .. } = parts.checked()?;
    fits_entry(boot_size)?;
    let image = |bytes| Image { bytes, load: DEFAULT_LOAD };
    Ok(assemble(&[image(init), image(boot)], IMAGE_ALIGN, 0))
}

/// What the vendor's idblock for the RK3576 is made of.
#[derive(Debug, Clone, Copy)]
pub struct Rk3576Parts<'a> {
    /// Image 1, "FlashBoost": `rk3576_boost_v1.03.bin` of rkbin.
    pub boost: &'a [u8],
    /// Image 2, "FlashData": the DDR blob.
    pub ddr: &'a [u8],
    /// Image 3, "FlashBoot": the SPL.
    pub spl: &'a [u8],
}

/// Makes an idblock for the RK3576 as Rockchip's packer does, which mkimage cannot: three images at multiples of 4 KiB, the
/// first two with load addresses of their own, and a parameter word at 0x60 (rkbin `RKBOOT/RK3576MINIALL.ini`).
///
/// ```
/// use rkboot::{Soc, idblock};
///
/// let bytes = idblock::build_rk3576(&idblock::Rk3576Parts { boost: b"boost", ddr: b"ddr", spl: b"spl" })?;
/// let (block, report) = idblock::parse_for(&bytes, Some(Soc::Rk3576));
/// let images: Vec<_> = block.unwrap().images.iter().map(|image| (image.range.start, image.load)).collect();
/// assert_eq!(images, [(0x1000, 0x3ffc_0000), (0x2000, 0x3ff8_1000), (0x3000, 0xffff_ffff)]);
/// assert!(report.is_empty());
/// # Ok::<(), rkboot::Error>(())
/// ```
///
/// # Errors
/// An empty image, DDR code above [`Soc::max_init`], a boost image that would reach behind the SRAM, an SPL above what an entry can say.
pub fn build_rk3576(parts: &Rk3576Parts<'_>) -> Result<Vec<u8>, Error> {
    let Rk3576Parts { boost, ddr, spl } = *parts;
    for (bytes, what) in [(boost, "boost image"), (ddr, "DDR image"), (spl, "SPL")] {
        not_empty(bytes, what)?;
    }
    fits_sram(Soc::Rk3576, padded(ddr, RK3576_ALIGN), Soc::Rk3576.max_init())?;
    fits_sram(Soc::Rk3576, padded(boost, RK3576_ALIGN), RK3576_SRAM_END - RK3576_BOOST_LOAD)?;
    fits_entry(padded(spl, RK3576_ALIGN))?;
    let image = |bytes, load| Image { bytes, load };
    let images = [image(boost, RK3576_BOOST_LOAD), image(ddr, RK3576_DDR_LOAD), image(spl, DEFAULT_LOAD)];
    Ok(assemble(&images, RK3576_ALIGN, RK3576_PARAM))
}

struct Image<'a> {
    bytes: &'a [u8],
    load: u32,
}

/// Header and images, each at a multiple of `align` from the header and padded to one. `param` is word 2 of the packer's
/// parameters. The callers have checked that all sizes fit their fields.
fn assemble(images: &[Image<'_>], align: u64, param: u32) -> Vec<u8> {
    let mut header = Header::new_zeroed();
    header.magic = MAGIC;
    header.size_and_nimage = pack(images.len() as u64, HASH_OFFSET / 4);
    header.boot_flag = U32::new(u32::from(HashKind::Sha256.raw()));
    header.params[2] = U32::new(param);
    let mut out = vec![0; to_usize(HEADER_SIZE.next_multiple_of(align))];
    for ((entry, image), counter) in header.images.iter_mut().zip(images).zip(1_u32..) {
        let start = out.len();
        let size = padded(image.bytes, align);
        out.extend_from_slice(image.bytes);
        out.resize(start.saturating_add(to_usize(size)), 0);
        entry.size_and_off = pack(size / BLOCK, start as u64 / BLOCK);
        entry.address = U32::new(image.load);
        entry.counter = U32::new(counter);
        let digest = Digest::of(out.get(start..).unwrap_or_default());
        put(&mut entry.hash, digest.raw());
    }
    let digest = Digest::of(header.as_bytes().get(..to_usize(HASH_OFFSET)).unwrap_or_default());
    put(&mut header.hash, digest.raw());
    put(&mut out, header.as_bytes());
    out
}

fn not_empty(image: &[u8], what: &'static str) -> Result<(), Error> {
    if image.is_empty() { Err(ErrorKind::EmptyImage { what }.into()) } else { Ok(()) }
}

fn fits_sram(soc: Soc, size: u64, limit: u32) -> Result<(), Error> {
    if size > u64::from(limit) { Err(ErrorKind::InitTooLarge { soc, size, limit }.into()) } else { Ok(()) }
}

fn fits_entry(size: u64) -> Result<(), Error> {
    let limit = u64::from(u16::MAX).saturating_mul(BLOCK);
    if size > limit { Err(ErrorKind::BootTooLarge { size, limit }.into()) } else { Ok(()) }
}

fn padded(image: &[u8], align: u64) -> u64 {
    (image.len() as u64).next_multiple_of(align)
}

/// Two 16-bit fields in one word; the callers have checked that both fit.
fn pack(high: u64, low: u64) -> U32 {
    let half = |value: u64| u32::from(u16::try_from(value).unwrap_or(u16::MAX));
    U32::new(half(high) << 16 | half(low))
}

pub(super) fn put(to: &mut [u8], from: &[u8]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to = *from;
    }
}

pub(super) fn to_usize(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}
