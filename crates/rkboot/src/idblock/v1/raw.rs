//! The v1 header as it lies on the medium behind RC4 (`rkcommon.c` `struct header0_info`; the second offset and the CRC
//! are fields of Rockchip's flashing tools, which mkimage leaves 0).

use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U16, U32},
};

/// Bytes of the header that are scrambled.
pub(super) const SCRAMBLED: u64 = 512;
/// Size of the header area; the init code starts behind it.
pub(super) const HEADER_SIZE: u64 = 0x800;
pub(super) const MAGIC: u32 = 0x0ff0_aa55;
/// [`MAGIC`] behind RC4, as on the medium.
pub(super) const SCRAMBLED_MAGIC: [u8; 4] = [0x3b, 0x8c, 0xdc, 0xfc];
/// Blocks that mkimage leaves for a boot image which it is not given.
pub(super) const OPEN_BOOT: u16 = 1024;
/// A tag of its own: init code that begins with a signature keeps it.
pub(super) const SIGNED_TAG: [u8; 4] = *b"RSAK";
/// What Rockchip's flashing tools write into sector 1: "RK28".
pub(super) const CHIP_TAG: [u8; 4] = 0x3832_4b52_u32.to_le_bytes();

#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct Header {
    pub(super) magic: U32,
    pub(super) reserved0: U32,
    /// 1: the payload is plain.
    pub(super) disable_rc4: U32,
    /// In blocks from the header.
    pub(super) init_offset: U16,
    pub(super) reserved1: [u8; 492],
    /// Blocks of the init code with padding.
    pub(super) init_size: U16,
    /// Blocks of init and boot code with padding.
    pub(super) init_boot_size: U16,
    pub(super) crc: U16,
}

const _: () = assert!(size_of::<Header>() as u64 == SCRAMBLED && std::mem::offset_of!(Header, init_size) == 0x1fa);
