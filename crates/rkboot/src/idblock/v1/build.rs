//! The writer: byte for byte what `mkimage -T rksd` writes for SoCs with idblocks v1.

use zerocopy::{
    FromZeros as _, IntoBytes as _,
    little_endian::{U16, U32},
};

use super::raw::{HEADER_SIZE, Header, MAGIC, OPEN_BOOT, SIGNED_TAG};
use crate::{
    Error, ErrorKind, HeaderVersion, coding,
    idblock::{
        Parts,
        build::{Checked, put, to_usize},
        raw::BLOCK,
    },
};

/// Makes an idblock v1. [`super::super::build`] does it for every SoC.
///
/// The tag of the SoC overwrites the first four bytes of the init code, which DDR blobs and TPLs leave free, unless they
/// say `RSAK`: signed code would not survive that. Without a boot image the header leaves 512 KiB for one.
///
/// # Errors
/// As [`super::super::build`]; [`ErrorKind::UnsupportedHeader`] for a SoC that reads v2.
pub fn build(parts: &Parts<'_>) -> Result<Vec<u8>, Error> {
    let soc = parts.soc;
    if soc.header_version() != HeaderVersion::V1 {
        return Err(ErrorKind::UnsupportedHeader { soc, version: soc.header_version() }.into());
    }
    let Checked { init, boot, init_size, boot_size } = parts.checked()?;
    let init_blocks = blocks(init_size).unwrap_or(u16::MAX);
    let limit = u64::from(u16::MAX.saturating_sub(init_blocks)).saturating_mul(BLOCK);
    let boot_blocks = if boot.is_empty() { Some(OPEN_BOOT) } else { blocks(boot_size) };
    let all_blocks = boot_blocks
        .and_then(|boot| boot.checked_add(init_blocks))
        .ok_or(ErrorKind::BootTooLarge { size: boot_size, limit })?;

    let mut header = Header::new_zeroed();
    header.magic = U32::new(MAGIC);
    header.disable_rc4 = U32::new(u32::from(!soc.payload_rc4()));
    header.init_offset = U16::new(blocks(HEADER_SIZE).unwrap_or(u16::MAX));
    header.init_size = U16::new(init_blocks);
    header.init_boot_size = U16::new(all_blocks);
    coding::rc4_blocks(header.as_mut_bytes());

    let start = to_usize(HEADER_SIZE);
    let mut out = vec![0; start];
    put(&mut out, header.as_bytes());
    for (image, size) in [(init, init_size), (boot, boot_size)] {
        let end = out.len().saturating_add(to_usize(size));
        out.extend_from_slice(image);
        out.resize(end, 0);
    }
    let payload = out.get_mut(start..).unwrap_or_default();
    if !payload.starts_with(&SIGNED_TAG) {
        put(payload, soc.tag().as_bytes());
    }
    if soc.payload_rc4() {
        coding::rc4_blocks(payload);
    }
    Ok(out)
}

fn blocks(size: u64) -> Option<u16> {
    u16::try_from(size / BLOCK).ok()
}
