//! The header and the entries as they lie in the file (`boot_merger.h`: `rk_boot_header`, `rk_boot_entry`).

use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U16, U32},
};

/// "new" loader files.
pub(super) const TAG_LDR: [u8; 4] = *b"LDR ";
/// Loader files of older SoCs.
pub(super) const TAG_BOOT: [u8; 4] = *b"BOOT";
/// What the header says its own size is.
pub(super) const HEADER_SIZE: u16 = 0x66;
/// Size of one record of the entry tables.
pub(super) const ENTRY_SIZE: u8 = 57;
/// `'S'`.
pub(super) const SIGNED: u8 = 0x53;

#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct Header {
    pub(super) tag: [u8; 4],
    pub(super) size: U16,
    pub(super) version: U32,
    pub(super) merger_version: U32,
    pub(super) year: U16,
    /// Month, day, hour, minute, second.
    pub(super) time: [u8; 5],
    /// The name's characters, last one first.
    pub(super) chip: [u8; 4],
    /// For maskrom requests 471 and 472, and for the flash.
    pub(super) tables: [Table; 3],
    pub(super) sign_flag: u8,
    pub(super) rc4_flag: u8,
    /// Byte 0 is 1 when the flash part is an idblock as it is, header included.
    pub(super) reserved: [u8; 57],
}

#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct Table {
    pub(super) count: u8,
    pub(super) offset: U32,
    pub(super) entry_size: u8,
}

#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct Record {
    pub(super) size: u8,
    pub(super) kind: U32,
    /// UTF-16, padded with zeros.
    pub(super) name: [U16; 20],
    pub(super) data_offset: U32,
    pub(super) data_size: U32,
    pub(super) delay_ms: U32,
}

const _: () = assert!(size_of::<Header>() == HEADER_SIZE as usize && size_of::<Record>() == ENTRY_SIZE as usize);
const _: () = assert!(std::mem::offset_of!(Header, tables) == 25 && std::mem::offset_of!(Header, sign_flag) == 43);
