//! The on-disk structures as the reader sees them. The composer has its own, so that a wrong field here and a wrong
//! field there do not cancel out.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned, little_endian as le};

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct RawBoot {
    pub(super) jump: [u8; 3],
    pub(super) oem: [u8; 8],
    pub(super) common: RawCommon,
    pub(super) fat32: RawFat32,
    pub(super) code: [u8; 420],
    pub(super) signature: [u8; 2],
}

/// The parameter block that all FAT types share.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct RawCommon {
    pub(super) bytes_per_sector: le::U16,
    pub(super) sectors_per_cluster: u8,
    pub(super) reserved: le::U16,
    pub(super) fats: u8,
    pub(super) root_entries: le::U16,
    pub(super) sectors_16: le::U16,
    pub(super) media: u8,
    pub(super) fat_sectors_16: le::U16,
    pub(super) track: le::U16,
    pub(super) heads: le::U16,
    pub(super) hidden: le::U32,
    pub(super) sectors_32: le::U32,
}

#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct RawFat32 {
    pub(super) fat_sectors: le::U32,
    pub(super) flags: le::U16,
    pub(super) version: le::U16,
    pub(super) root: le::U32,
    pub(super) info: le::U16,
    pub(super) backup: le::U16,
    pub(super) unused: [u8; 12],
    pub(super) drive: u8,
    pub(super) state: u8,
    pub(super) extended: u8,
    pub(super) volume_id: le::U32,
    pub(super) label: [u8; 11],
    pub(super) kind: [u8; 8],
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct RawInfo {
    pub(super) lead: [u8; 4],
    pub(super) unused: [u8; 480],
    pub(super) signature: [u8; 4],
    pub(super) free: le::U32,
    pub(super) next: le::U32,
    pub(super) unused2: [u8; 12],
    pub(super) trail: [u8; 4],
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct RawEntry {
    pub(super) base: [u8; 8],
    pub(super) extension: [u8; 3],
    pub(super) attributes: u8,
    pub(super) case: u8,
    pub(super) created: [u8; 5],
    pub(super) accessed: [u8; 2],
    pub(super) first_high: le::U16,
    pub(super) time: le::U16,
    pub(super) date: le::U16,
    pub(super) first_low: le::U16,
    pub(super) size: le::U32,
}

/// A directory entry that holds 13 units of a long name.
#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct RawLong {
    pub(super) order: u8,
    pub(super) units_1: [le::U16; 5],
    pub(super) attributes: u8,
    pub(super) kind: u8,
    pub(super) sum: u8,
    pub(super) units_2: [le::U16; 6],
    pub(super) first: le::U16,
    pub(super) units_3: [le::U16; 2],
}

impl RawLong {
    pub(super) fn units(&self) -> impl Iterator<Item = u16> + '_ {
        self.units_1.iter().chain(&self.units_2).chain(&self.units_3).map(|unit| unit.get())
    }
}
