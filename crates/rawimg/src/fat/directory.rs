//! Directories and boot sectors as bytes (Microsoft FAT specification 1.03, pages 9 to 12 and 22 to 33).

use imgcore::Epoch;
use zerocopy::{Immutable, IntoBytes, Unaligned, little_endian as le};

use super::{
    geometry::{FATS, Geometry},
    name::{self, ShortName},
};

/// Bytes of a directory entry.
pub(super) const ENTRY: u64 = 32;

pub(super) const VOLUME: u8 = 0x08;
pub(super) const DIRECTORY: u8 = 0x10;
/// What Linux and Windows set on a fresh file.
pub(super) const ARCHIVE: u8 = 0x20;
const LONG_NAME: u8 = 0x0f;

#[derive(IntoBytes, Immutable, Unaligned)]
#[repr(C)]
struct ShortEntry {
    name: ShortName,
    attributes: u8,
    nt_case: u8,
    created_tenths: u8,
    created: Stamp,
    accessed_date: le::U16,
    cluster_high: le::U16,
    modified: Stamp,
    cluster_low: le::U16,
    size: le::U32,
}

#[derive(IntoBytes, Immutable, Unaligned)]
#[repr(C)]
struct LongEntry {
    order: u8,
    first: [le::U16; 5],
    attributes: u8,
    kind: u8,
    checksum: u8,
    second: [le::U16; 6],
    cluster: le::U16,
    third: [le::U16; 2],
}

/// Time, then date: steps of two seconds from 1980 to 2107.
#[derive(IntoBytes, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
pub(super) struct Stamp {
    time: le::U16,
    date: le::U16,
}

impl Stamp {
    pub(super) fn of(epoch: Epoch) -> Self {
        let civil = epoch.civil();
        let bits = |value: u8, shift: u32| u16::from(value) << shift;
        let (years, date, time) = match civil.year {
            ..1980 => (0, bits(1, 5) | bits(1, 0), 0),
            1980..=2107 => (
                u16::try_from(civil.year - 1980).unwrap_or(127),
                bits(civil.month, 5) | bits(civil.day, 0),
                bits(civil.hour, 11) | bits(civil.minute, 5) | bits(civil.second / 2, 0),
            ),
            _ => (127, bits(12, 5) | bits(31, 0), bits(23, 11) | bits(59, 5) | bits(29, 0)),
        };
        Self { time: le::U16::new(time), date: le::U16::new(years << 9 | date) }
    }
}

/// Writes the entries of one directory.
pub(super) struct Writer {
    bytes: Vec<u8>,
    stamp: Stamp,
}

impl Writer {
    pub(super) fn new(stamp: Stamp) -> Self {
        Self { bytes: Vec::new(), stamp }
    }

    /// A short entry.
    pub(super) fn short(&mut self, name: ShortName, attributes: u8, cluster: u32, size: u32) {
        let [low0, low1, high0, high1] = cluster.to_le_bytes();
        let entry = ShortEntry {
            name,
            attributes,
            nt_case: 0,
            created_tenths: 0,
            created: self.stamp,
            accessed_date: self.stamp.date,
            cluster_high: le::U16::from_bytes([high0, high1]),
            modified: self.stamp,
            cluster_low: le::U16::from_bytes([low0, low1]),
            size: le::U32::new(size),
        };
        self.bytes.extend_from_slice(entry.as_bytes());
    }

    /// The long entries of `name`, the last part of it first, if it needs any; the short entry has to follow.
    pub(super) fn long(&mut self, name: &str, short: &ShortName) {
        if !name::needs_long(name, short) {
            return;
        }
        let units: Vec<u16> = name.encode_utf16().collect();
        let parts = units.chunks(13).enumerate();
        let checksum = name::checksum(short);
        let last = units.len().div_ceil(13);
        for (index, part) in parts.rev() {
            // Behind the name one zero, then all ones.
            let unit = |at: usize| {
                le::U16::new(match part.get(at) {
                    Some(unit) => *unit,
                    None if at == part.len() => 0,
                    None => 0xffff,
                })
            };
            let number = u8::try_from(index + 1).unwrap_or(u8::MAX);
            let entry = LongEntry {
                order: if index + 1 == last { number | 0x40 } else { number },
                first: std::array::from_fn(unit),
                attributes: LONG_NAME,
                kind: 0,
                checksum,
                second: std::array::from_fn(|at| unit(at + 5)),
                cluster: le::U16::ZERO,
                third: std::array::from_fn(|at| unit(at + 11)),
            };
            self.bytes.extend_from_slice(entry.as_bytes());
        }
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// Entries that a name takes.
pub(super) fn slots(name: &str, short: &ShortName) -> u64 {
    if name::needs_long(name, short) { 1 + name.encode_utf16().count().div_ceil(13) as u64 } else { 1 }
}

#[derive(IntoBytes, Immutable, Unaligned)]
#[repr(C)]
struct BootSector {
    jump: [u8; 3],
    oem: [u8; 8],
    sector_size: le::U16,
    sectors_per_cluster: u8,
    reserved_sectors: le::U16,
    fats: u8,
    root_entries: le::U16,
    total_sectors_16: le::U16,
    media: u8,
    fat_sectors_16: le::U16,
    sectors_per_track: le::U16,
    heads: le::U16,
    hidden_sectors: le::U32,
    total_sectors: le::U32,
    fat_sectors: le::U32,
    flags: le::U16,
    version: le::U16,
    root_cluster: le::U32,
    info_sector: le::U16,
    backup_sector: le::U16,
    reserved: [u8; 12],
    drive: u8,
    reserved1: u8,
    extended_signature: u8,
    volume_id: le::U32,
    label: [u8; 11],
    kind: [u8; 8],
    code: [u8; 420],
    signature: [u8; 2],
}

/// Media byte of a hard disk.
pub(super) const MEDIA: u8 = 0xf8;

pub(super) fn boot_sector(g: &Geometry, oem: [u8; 8], hidden: u32, volume_id: u32, label: [u8; 11]) -> Vec<u8> {
    // A BIOS that starts this sector halts: cli; hlt; jmp to the hlt. No machine that reads this image has one.
    let mut code = [0; 420];
    code[..4].copy_from_slice(&[0xfa, 0xf4, 0xeb, 0xfd]);
    BootSector {
        jump: [0xeb, 0x58, 0x90],
        oem,
        sector_size: le::U16::new(u16::try_from(g.sector.bytes()).unwrap_or(512)),
        sectors_per_cluster: g.sectors_per_cluster,
        reserved_sectors: le::U16::new(g.reserved_sectors),
        fats: u8::try_from(FATS).unwrap_or(2),
        root_entries: le::U16::ZERO,
        total_sectors_16: le::U16::ZERO,
        media: MEDIA,
        fat_sectors_16: le::U16::ZERO,
        sectors_per_track: le::U16::new(g.sectors_per_track),
        heads: le::U16::new(g.heads),
        hidden_sectors: le::U32::new(hidden),
        total_sectors: le::U32::new(g.total_sectors),
        fat_sectors: le::U32::new(g.fat_sectors),
        flags: le::U16::ZERO,
        version: le::U16::ZERO,
        root_cluster: le::U32::new(2),
        info_sector: le::U16::new(1),
        backup_sector: le::U16::new(6),
        reserved: [0; 12],
        drive: 0x80,
        reserved1: 0,
        extended_signature: 0x29,
        volume_id: le::U32::new(volume_id),
        label,
        kind: *b"FAT32   ",
        code,
        signature: [0x55, 0xaa],
    }
    .as_bytes()
    .to_vec()
}

#[derive(IntoBytes, Immutable, Unaligned)]
#[repr(C)]
struct InfoSector {
    lead: [u8; 4],
    reserved: [u8; 480],
    signature: [u8; 4],
    free: le::U32,
    last_used: le::U32,
    reserved2: [u8; 12],
    trail: [u8; 4],
}

pub(super) fn info_sector(free: u32, last_used: u32) -> Vec<u8> {
    InfoSector {
        lead: *b"RRaA",
        reserved: [0; 480],
        signature: *b"rrAa",
        free: le::U32::new(free),
        last_used: le::U32::new(last_used),
        reserved2: [0; 12],
        trail: [0, 0, 0x55, 0xaa],
    }
    .as_bytes()
    .to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_even_and_clamped() {
        for (epoch, date, time) in [
            (0, 0x0021, 0),
            (315_532_799, 0x0021, 0),
            (315_532_800, 0x0021, 0),
            (1_426_325_213, 0x466e, 0x4b5a),
            (u64::MAX, 0xff9f, 0xbf7d),
        ] {
            let stamp = Stamp::of(Epoch(epoch));
            assert_eq!((stamp.date.get(), stamp.time.get()), (date, time), "{epoch}");
        }
    }
}
