//! The on-disk structures as the reader sees them (UEFI 2.10, 5.2 and 5.3). The writer uses `gpt_disk_types` instead,
//! so that a wrong field here and a wrong field there do not cancel out.

use zerocopy::{FromBytes, Immutable, KnownLayout, Unaligned, little_endian as le};

#[derive(FromBytes, KnownLayout, Immutable, Unaligned, Clone)]
#[repr(C)]
pub(super) struct RawHeader {
    pub(super) signature: [u8; 8],
    pub(super) revision: le::U32,
    pub(super) header_size: le::U32,
    pub(super) header_crc: le::U32,
    pub(super) reserved: le::U32,
    pub(super) my_lba: le::U64,
    pub(super) alternate_lba: le::U64,
    pub(super) first_usable: le::U64,
    pub(super) last_usable: le::U64,
    pub(super) disk_guid: [u8; 16],
    pub(super) entries_lba: le::U64,
    pub(super) entry_count: le::U32,
    pub(super) entry_size: le::U32,
    pub(super) entries_crc: le::U32,
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct RawEntry {
    pub(super) type_guid: [u8; 16],
    pub(super) guid: [u8; 16],
    pub(super) first: le::U64,
    pub(super) last: le::U64,
    pub(super) attributes: le::U64,
    pub(super) name: [le::U16; 36],
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct RawMbr {
    pub(super) boot_code: [u8; 446],
    pub(super) records: [RawMbrRecord; 4],
    pub(super) signature: [u8; 2],
}

#[derive(FromBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub(super) struct RawMbrRecord {
    pub(super) status: u8,
    pub(super) start_chs: [u8; 3],
    pub(super) kind: u8,
    pub(super) end_chs: [u8; 3],
    pub(super) start: le::U32,
    pub(super) sectors: le::U32,
}

impl RawMbrRecord {
    pub(super) fn is_empty(&self) -> bool {
        self.kind == 0 && self.sectors.get() == 0
    }
}
