//! Reading of disk images and programs by offsets out of their specifications. Nothing here calls code of the product.

use std::{fmt::Write as _, os::unix::fs::FileExt as _};

use fs_err as fs;

pub const SECTOR: u64 = 512;

pub fn read_at(file: &fs::File, offset: u64, into: &mut [u8]) {
    file.file().read_exact_at(into, offset).unwrap_or_else(|error| {
        panic!("{}: {} bytes at {offset}: {error}", file.path().display(), into.len());
    });
}

pub fn bytes(file: &fs::File, offset: u64, length: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(length).unwrap()];
    read_at(file, offset, &mut bytes);
    bytes
}

pub fn u16_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap()))
}

pub fn u32_at(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()))
}

pub fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// First byte of `range` that is not zero.
pub fn first_nonzero(file: &fs::File, start: u64, end: u64) -> Option<u64> {
    let zeros = vec![0; 1 << 20];
    let mut chunk = vec![0; 1 << 20];
    let mut at = start;
    while at < end {
        let count = usize::try_from((end - at).min(1 << 20)).unwrap();
        read_at(file, at, &mut chunk[..count]);
        if chunk[..count] != zeros[..count] {
            return chunk.iter().position(|byte| *byte != 0).map(|found| at + found as u64);
        }
        at += count as u64;
    }
    None
}

/// CRC-32 of IEEE 802.3, bit by bit, as UEFI asks for it.
pub fn crc32(bytes: &[u8]) -> u64 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
        }
    }
    u64::from(!crc)
}

/// Bytes as two digits each.
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(2 * bytes.len());
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// A GUID as text: three little-endian fields, then eight bytes in order.
pub fn guid(bytes: &[u8]) -> String {
    let turned = |range: std::ops::Range<usize>| hex(&bytes[range].iter().rev().copied().collect::<Vec<_>>());
    format!("{}-{}-{}-{}-{}", turned(0..4), turned(4..6), turned(6..8), hex(&bytes[8..10]), hex(&bytes[10..16]))
}

/// The fields of a GPT header (UEFI 2.10, table 5.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    pub sector: Vec<u8>,
    pub my_lba: u64,
    pub alternate_lba: u64,
    pub first_usable: u64,
    pub last_usable: u64,
    pub disk_guid: String,
    pub entries_lba: u64,
    pub entries_crc: u64,
}

impl Header {
    pub fn read(file: &fs::File, lba: u64) -> Self {
        let sector = bytes(file, lba * SECTOR, SECTOR);
        Self {
            my_lba: u64_at(&sector, 24),
            alternate_lba: u64_at(&sector, 32),
            first_usable: u64_at(&sector, 40),
            last_usable: u64_at(&sector, 48),
            disk_guid: guid(&sector[56..72]),
            entries_lba: u64_at(&sector, 72),
            entries_crc: u32_at(&sector, 88),
            sector,
        }
    }

    /// Whether the header's own checksum, taken with its field as zero, is right.
    pub fn crc_is_right(&self) -> bool {
        let mut body = self.sector[..92].to_vec();
        body[16..20].fill(0);
        crc32(&body) == u32_at(&self.sector, 16)
    }
}

/// A partition entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub name: String,
    pub kind: String,
    pub guid: String,
    pub first: u64,
    pub last: u64,
    pub attributes: u64,
}

/// The used entries of an array of 128 entries of 128 bytes.
pub fn entries(array: &[u8]) -> Vec<Entry> {
    let used = array.chunks(128).filter(|entry| entry[..16].iter().any(|byte| *byte != 0));
    used.map(|entry| {
        let units: Vec<_> = entry[56..128]
            .chunks(2)
            .map(|unit| u16::from_le_bytes([unit[0], unit[1]]))
            .take_while(|u| *u != 0)
            .collect();
        Entry {
            name: String::from_utf16(&units).unwrap(),
            kind: guid(&entry[..16]),
            guid: guid(&entry[16..32]),
            first: u64_at(entry, 32),
            last: u64_at(entry, 40),
            attributes: u64_at(entry, 48),
        }
    })
    .collect()
}

/// A PE32+ program.
#[derive(Debug)]
pub struct Pe {
    /// File offset of `PE\0\0`.
    pub header: usize,
    /// File offset of the optional header.
    pub optional: usize,
    pub machine: u64,
    pub magic: u64,
    pub size_of_headers: u64,
    pub file_alignment: u64,
    pub section_alignment: u64,
    pub size_of_image: u64,
    pub sections: Vec<Section>,
}

/// A section of a PE program.
#[derive(Debug)]
pub struct Section {
    pub name: String,
    pub virtual_size: u64,
    pub virtual_address: u64,
    pub raw_size: u64,
    pub raw_offset: u64,
    pub flags: u64,
}

impl Section {
    pub fn content<'a>(&self, file: &'a [u8]) -> &'a [u8] {
        let start = usize::try_from(self.raw_offset).unwrap();
        &file[start..start + usize::try_from(self.virtual_size.min(self.raw_size)).unwrap()]
    }

    pub fn text<'a>(&self, file: &'a [u8]) -> &'a str {
        std::str::from_utf8(self.content(file)).unwrap()
    }
}

impl Pe {
    pub fn parse(file: &[u8]) -> Self {
        assert_eq!(&file[..2], b"MZ");
        let header = usize::try_from(u32_at(file, 0x3c)).unwrap();
        assert_eq!(&file[header..header + 4], b"PE\0\0");
        let optional = header + 24;
        let table = optional + usize::try_from(u16_at(file, header + 20)).unwrap();
        let count = usize::try_from(u16_at(file, header + 6)).unwrap();
        let section = |index: usize| {
            let row = &file[table + 40 * index..][..40];
            Section {
                name: String::from_utf8(row[..8].iter().copied().take_while(|byte| *byte != 0).collect()).unwrap(),
                virtual_size: u32_at(row, 8),
                virtual_address: u32_at(row, 12),
                raw_size: u32_at(row, 16),
                raw_offset: u32_at(row, 20),
                flags: u32_at(row, 36),
            }
        };
        Self {
            header,
            optional,
            machine: u16_at(file, header + 4),
            magic: u16_at(file, optional),
            section_alignment: u32_at(file, optional + 32),
            file_alignment: u32_at(file, optional + 36),
            size_of_image: u32_at(file, optional + 56),
            size_of_headers: u32_at(file, optional + 60),
            sections: (0..count).map(section).collect(),
        }
    }
}
