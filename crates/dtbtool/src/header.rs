//! The ten words at the start of a tree and the blocks that they place.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::ops::Range;

use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    byteorder::big_endian::{U32, U64},
};

use crate::error::{Block, ErrorKind};

/// First word of a tree.
pub const MAGIC: u32 = 0xd00d_feed;
/// Version that this crate writes and the newest that it knows.
pub(crate) const VERSION: u32 = 17;
/// Oldest version whose readers understand what this crate writes.
pub(crate) const LAST_COMP: u32 = 16;

/// The header as stored (Devicetree Specification 5.2).
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
pub(crate) struct RawHeader {
    pub(crate) magic: U32,
    pub(crate) totalsize: U32,
    pub(crate) off_dt_struct: U32,
    pub(crate) off_dt_strings: U32,
    pub(crate) off_mem_rsvmap: U32,
    pub(crate) version: U32,
    pub(crate) last_comp_version: U32,
    pub(crate) boot_cpuid_phys: U32,
    pub(crate) size_dt_strings: U32,
    pub(crate) size_dt_struct: U32,
}

/// A memory reservation as stored.
#[derive(FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned, Clone, Copy)]
#[repr(C)]
pub(crate) struct RawReservation {
    pub(crate) address: U64,
    pub(crate) size: U64,
}

/// A region of memory that the kernel must not use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MemoryReservation {
    /// Physical address.
    pub address: u64,
    /// Size in bytes.
    pub size: u64,
}

/// The header's fields. Offsets are bytes from the start of the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Bytes of the whole tree, header to strings.
    pub totalsize: u32,
    /// Start of the structure block.
    pub off_dt_struct: u32,
    /// Start of the strings block.
    pub off_dt_strings: u32,
    /// Start of the memory reservation block.
    pub off_mem_rsvmap: u32,
    /// Format version, 17 in trees of this century.
    pub version: u32,
    /// Oldest version that a reader must know, usually 16.
    pub last_comp_version: u32,
    /// Physical id of the boot processor.
    pub boot_cpuid_phys: u32,
    /// Bytes of the strings block; 0 below version 3, which has no such field.
    pub size_dt_strings: u32,
    /// Bytes of the structure block; 0 below version 17, which has no such field.
    pub size_dt_struct: u32,
}

impl Header {
    /// Reads the fields without judging them.
    pub(crate) fn read(bytes: &[u8]) -> Result<Self, ErrorKind> {
        let (raw, _) = RawHeader::read_from_prefix(bytes).map_err(|_| ErrorKind::Short { length: bytes.len() })?;
        match raw.magic.get() {
            MAGIC => {}
            found if found == !MAGIC => return Err(ErrorKind::Unfinished),
            found => return Err(ErrorKind::Magic { found }),
        }
        let version = raw.version.get();
        Ok(Self {
            totalsize: raw.totalsize.get(),
            off_dt_struct: raw.off_dt_struct.get(),
            off_dt_strings: raw.off_dt_strings.get(),
            off_mem_rsvmap: raw.off_mem_rsvmap.get(),
            version,
            last_comp_version: raw.last_comp_version.get(),
            boot_cpuid_phys: raw.boot_cpuid_phys.get(),
            size_dt_strings: if version >= 3 { raw.size_dt_strings.get() } else { 0 },
            size_dt_struct: if version >= 17 { raw.size_dt_struct.get() } else { 0 },
        })
    }

    /// Bytes of the header itself, which grew with the versions.
    pub fn size(&self) -> u32 {
        match self.version {
            0 | 1 => 28,
            2 => 32,
            3..=16 => 36,
            _ => 40,
        }
    }

    /// Whether names are full paths and values of 8 bytes and more are aligned to 8, as below version 16.
    pub(crate) fn is_old(&self) -> bool {
        self.version < 16
    }

    /// The structure block. Versions that do not store its size get all bytes up to the next block.
    pub fn structure(&self) -> Range<u64> {
        let start = u64::from(self.off_dt_struct);
        if self.version >= 17 {
            start..start.saturating_add(u64::from(self.size_dt_struct))
        } else {
            start..self.next_block(start, [self.off_dt_strings, self.off_mem_rsvmap])
        }
    }

    /// The strings block. Versions that do not store its size get all bytes up to the next block.
    pub fn strings(&self) -> Range<u64> {
        let start = u64::from(self.off_dt_strings);
        if self.version >= 3 {
            start..start.saturating_add(u64::from(self.size_dt_strings))
        } else {
            start..self.next_block(start, [self.off_dt_struct, self.off_mem_rsvmap])
        }
    }

    fn next_block(&self, start: u64, others: [u32; 2]) -> u64 {
        let behind = others.into_iter().map(u64::from).filter(|other| *other > start).min();
        behind.unwrap_or_else(|| u64::from(self.totalsize)).max(start)
    }
}

/// Reads pairs until the pair of zeros. The range covers the block with its terminator; without one it ends
/// where the tree ends and the flag is false.
pub(crate) fn read_reservations(tree: &[u8], offset: u32) -> (Range<u64>, usize, bool) {
    let start = u64::from(offset);
    let mut rest = usize::try_from(offset).ok().and_then(|at| tree.get(at..)).unwrap_or_default();
    let mut count = 0_usize;
    while let Ok((raw, behind)) = RawReservation::ref_from_prefix(rest) {
        if raw.address.get() == 0 && raw.size.get() == 0 {
            let pairs = u64::try_from(count).unwrap_or(u64::MAX).saturating_add(1);
            return (start..start.saturating_add(pairs.saturating_mul(16)), count, true);
        }
        count = count.saturating_add(1);
        rest = behind;
    }
    (start..u64::try_from(tree.len()).unwrap_or(u64::MAX).max(start), count, false)
}

/// Where the blocks are in the data, clamped to it, so that a damaged tree can be walked as far as it goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Blocks<'a> {
    pub(crate) structure: &'a [u8],
    /// Offset of `structure` in the tree.
    pub(crate) structure_at: usize,
    pub(crate) strings: &'a [u8],
    pub(crate) strings_at: usize,
    /// Pairs without the terminator.
    pub(crate) reservations: &'a [u8],
    pub(crate) old: bool,
}

/// Judges header and block bounds, and finds the blocks. Every fault goes to `fault`.
pub(crate) fn check_blocks<'a, B>(
    bytes: &'a [u8],
    header: &Header,
    mut fault: impl FnMut(ErrorKind) -> Result<(), B>,
) -> Result<Blocks<'a>, B> {
    let Header { totalsize, version, last_comp_version: last_comp, .. } = *header;
    if version < 2 || last_comp > VERSION || version < last_comp {
        fault(ErrorKind::Version { version, last_comp })?;
    }
    if totalsize < header.size() {
        fault(ErrorKind::TotalSizeSmall { totalsize, minimum: header.size() })?;
    }
    let total = usize::try_from(totalsize).unwrap_or(usize::MAX);
    if total > bytes.len() {
        fault(ErrorKind::TotalSizeLarge { totalsize, length: bytes.len() })?;
    }
    let tree = bytes.get(..total).unwrap_or(bytes);
    let inside = u64::from(header.size())..u64::from(totalsize);
    let within = |range: &Range<u64>| inside.start <= range.start && range.end <= inside.end;

    if !header.off_mem_rsvmap.is_multiple_of(8) {
        let offset = header.off_mem_rsvmap;
        fault(ErrorKind::Misaligned { block: Block::Reservations, offset, alignment: 8 })?;
    }
    let (reserved, pairs, terminated) = read_reservations(tree, header.off_mem_rsvmap);
    if !within(&(u64::from(header.off_mem_rsvmap)..u64::from(header.off_mem_rsvmap).saturating_add(16))) {
        let range = u64::from(header.off_mem_rsvmap)..u64::from(header.off_mem_rsvmap).saturating_add(16);
        fault(ErrorKind::Outside { block: Block::Reservations, range, inside: inside.clone() })?;
    } else if !terminated {
        fault(ErrorKind::ReservationsUnterminated { offset: header.off_mem_rsvmap })?;
    }
    if !header.off_dt_struct.is_multiple_of(4) {
        let offset = header.off_dt_struct;
        fault(ErrorKind::Misaligned { block: Block::Structure, offset, alignment: 4 })?;
    }
    let blocks = [(Block::Structure, header.structure()), (Block::Strings, header.strings())];
    for (block, range) in &blocks {
        if !within(range) {
            fault(ErrorKind::Outside { block: *block, range: range.clone(), inside: inside.clone() })?;
        }
    }
    let [(_, structure), (_, strings)] = blocks;
    let placed = [
        (Block::Header, 0..u64::from(header.size())),
        // A block that never ends is reported as that, not as overlapping everything behind it.
        (Block::Reservations, if terminated { reserved } else { 0..0 }),
        (Block::Structure, structure.clone()),
        (Block::Strings, strings.clone()),
    ];
    for (index, (first, a)) in placed.iter().enumerate() {
        for (second, b) in placed.iter().skip(index.saturating_add(1)) {
            if a.start.max(b.start) < a.end.min(b.end) {
                let (first, second) = (*first, *second);
                fault(ErrorKind::Overlap { first, first_range: a.clone(), second, second_range: b.clone() })?;
            }
        }
    }
    let (structure, structure_at) = clamp(tree, &structure);
    let (strings, strings_at) = clamp(tree, &strings);
    let rsv_start = u64::from(header.off_mem_rsvmap);
    // Without an end, nobody knows which pairs are reservations and which are something else.
    let pairs = if terminated { u64::try_from(pairs).unwrap_or(u64::MAX) } else { 0 };
    let rsv_length = pairs.saturating_mul(16);
    let (reservations, _) = clamp(tree, &(rsv_start..rsv_start.saturating_add(rsv_length)));
    Ok(Blocks { structure, structure_at, strings, strings_at, reservations, old: header.is_old() })
}

fn clamp<'a>(tree: &'a [u8], range: &Range<u64>) -> (&'a [u8], usize) {
    let end = usize::try_from(range.end).unwrap_or(usize::MAX).min(tree.len());
    let start = usize::try_from(range.start).unwrap_or(usize::MAX).min(end);
    (tree.get(start..end).unwrap_or_default(), start)
}
