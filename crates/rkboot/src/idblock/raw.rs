//! The v2 header as it lies on the medium (`rkcommon.c` `struct header0_info_v2`).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned, little_endian::U32};

/// The unit of all sizes and offsets in the header.
pub(super) const BLOCK: u64 = 512;
/// Size of the header; image 1 starts behind it.
pub(super) const HEADER_SIZE: u64 = 0x800;
/// Where the header hash starts, and how many header bytes it covers.
pub(super) const HASH_OFFSET: u64 = 0x600;
/// Images are padded to this many bytes, because the BootROM reads four blocks at a time.
pub(super) const IMAGE_ALIGN: u64 = 2048;
/// A load address that leaves the choice to the BootROM.
pub(super) const DEFAULT_LOAD: u32 = u32::MAX;
/// Where the BootROM of the RK3576 wants its first image, "FlashBoost" (RKBOOT/RK3576MINIALL.ini, LOADER1_PARAM).
pub(super) const RK3576_BOOST_LOAD: u32 = 0x3ffc_0000;
/// Where the SRAM ends: the DDR load address and the largest DDR image of mkimage's table, added.
pub(super) const RK3576_SRAM_END: u32 = 0x4000_0000;
/// Where it wants the DDR init code, "FlashData" (LOADER2_PARAM).
pub(super) const RK3576_DDR_LOAD: u32 = 0x3ff8_1000;
/// What vendor files for the RK3576 have at 0x60 (BOOT1_PARAM WORD_2).
pub(super) const RK3576_PARAM: u32 = 0x100;
/// Alignment of the images in vendor files for the RK3576 (SYSTEM ALIGN=8, in blocks).
pub(super) const RK3576_ALIGN: u64 = 4096;
pub(super) const MAGIC: [u8; 4] = *b"RKNS";
/// Rockchip's documentation names it for signed headers; none was seen in public files.
pub(super) const MAGIC_SIGNED: [u8; 4] = *b"RKSS";

#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct Header {
    pub(super) magic: [u8; 4],
    pub(super) reserved0: [u8; 4],
    /// Bits 31:16 count of images, bits 15:0 offset of the header hash in 4-byte words.
    pub(super) size_and_nimage: U32,
    /// Bits 3:0 hash kind.
    pub(super) boot_flag: U32,
    pub(super) reserved1: [u8; 72],
    /// `BOOT1_PARAM` words of Rockchip's packer; mkimage leaves them 0.
    pub(super) params: [U32; 8],
    pub(super) images: [Entry; 4],
    pub(super) reserved2: [u8; 1064],
    pub(super) hash: [u8; 512],
}

#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct Entry {
    /// Bits 31:16 size, bits 15:0 offset from the header, both in blocks.
    pub(super) size_and_off: U32,
    pub(super) address: U32,
    pub(super) flag: U32,
    pub(super) counter: U32,
    pub(super) reserved: [u8; 8],
    pub(super) hash: [u8; 64],
}

const _: () = assert!(size_of::<Header>() as u64 == HEADER_SIZE && size_of::<Entry>() == 88);
const _: () = assert!(std::mem::offset_of!(Header, params) == 0x58 && std::mem::offset_of!(Header, images) == 0x78);
const _: () = assert!(std::mem::offset_of!(Header, hash) == 0x600);

impl Header {
    pub(super) fn image_count(&self) -> u32 {
        self.size_and_nimage.get() >> 16
    }

    /// In bytes.
    pub(super) fn hash_offset(&self) -> u64 {
        u64::from(self.size_and_nimage.get() & 0xffff).saturating_mul(4)
    }
}

impl Entry {
    /// In bytes from the header.
    pub(super) fn offset(&self) -> u64 {
        u64::from(self.size_and_off.get() & 0xffff).saturating_mul(BLOCK)
    }

    /// In bytes.
    pub(super) fn size(&self) -> u64 {
        u64::from(self.size_and_off.get() >> 16).saturating_mul(BLOCK)
    }
}
