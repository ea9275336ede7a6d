//! What a file system turned out to hold.

use std::{io, ops::Range};

use imgcore::{CivilTime, ReadAt, SectorSize};

/// A FAT32 file system, as found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its parameters.
    pub parameters: Parameters,
    /// The label: the root directory's entry, else the boot sector's; empty without one.
    pub label: String,
    /// Free clusters by count, whatever the information sector says.
    pub free_clusters: u32,
    /// Files that lie in more than one piece.
    pub fragmented: usize,
    pub(super) entries: Vec<Entry>,
}

/// The parameter block of the boot sector, as found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameters {
    /// Who made it, bytes that are no ASCII replaced.
    pub oem: String,
    /// Logical sector size.
    pub sector: SectorSize,
    /// Sectors of a cluster.
    pub sectors_per_cluster: u8,
    /// Sectors in front of the first FAT.
    pub reserved_sectors: u16,
    /// Count of FATs.
    pub fats: u8,
    /// Media byte.
    pub media: u8,
    /// Sectors of a track.
    pub sectors_per_track: u16,
    /// Heads.
    pub heads: u16,
    /// Sectors in front of the partition, as the boot sector tells.
    pub hidden_sectors: u32,
    /// Sectors of the file system.
    pub total_sectors: u32,
    /// Sectors of one FAT.
    pub fat_sectors: u32,
    /// First cluster of the root directory.
    pub root_cluster: u32,
    /// Sector of the file system information.
    pub info_sector: u16,
    /// Sector of the backup boot sector.
    pub backup_sector: u16,
    /// Serial number.
    pub volume_id: u32,
    /// Label of the boot sector, trimmed.
    pub boot_label: String,
    /// Type as text, `FAT32`.
    pub kind: String,
    /// Data clusters that the sizes give.
    pub clusters: u32,
}

impl Parameters {
    /// Bytes of a cluster.
    pub fn cluster_bytes(&self) -> u64 {
        u64::from(self.sectors_per_cluster).saturating_mul(self.sector.bytes())
    }

    pub(super) fn fat_offset(&self) -> u64 {
        u64::from(self.reserved_sectors).saturating_mul(self.sector.bytes())
    }

    pub(super) fn fat_bytes(&self) -> u64 {
        u64::from(self.fat_sectors).saturating_mul(self.sector.bytes())
    }

    pub(super) fn data_offset(&self) -> u64 {
        self.fat_offset().saturating_add(self.fat_bytes().saturating_mul(u64::from(self.fats)))
    }

    /// Bytes of a run of clusters.
    pub(super) fn bytes_of(&self, clusters: &Range<u32>) -> Range<u64> {
        let at = |cluster: u32| {
            let index = u64::from(cluster.saturating_sub(2));
            self.data_offset().saturating_add(index.saturating_mul(self.cluster_bytes()))
        };
        at(clusters.start)..at(clusters.end)
    }
}

/// A file or directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Path, components separated by `/`, as spelled on the disk.
    pub path: String,
    /// The 8.3 name behind it.
    pub short_name: String,
    /// Bytes; 0 for a directory.
    pub size: u64,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// Attribute bits.
    pub attributes: u8,
    /// Time of the last change, as stored: the fields may be out of their ranges.
    pub modified: CivilTime,
    /// Bytes on the file system, in file order; for a file cut at its size.
    pub extents: Vec<Range<u64>>,
}

impl Volume {
    /// Directories and files, parents before children, otherwise in disk order.
    pub fn files(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry of a path, spelled exactly.
    pub fn entry(&self, path: &str) -> Option<&Entry> {
        let path = path.strip_prefix('/').unwrap_or(path);
        self.entries.iter().find(|entry| entry.path == path)
    }

    /// A file to be read from `part`, where this file system was read from. `None` for a directory or no such path.
    pub fn open<R: ReadAt>(&self, part: R, path: &str) -> Option<File<R>> {
        self.entry(path)?.open(part)
    }
}

impl Entry {
    /// The file, to be read from `part`, where its file system was read from. `None` for a directory.
    pub fn open<R: ReadAt>(&self, part: R) -> Option<File<R>> {
        (!self.is_dir).then(|| File::new(part, self))
    }
}

/// The contents of a file.
#[derive(Debug, Clone)]
pub struct File<R> {
    part: R,
    size: u64,
    /// Offset in the file, bytes on the file system.
    pieces: Vec<(u64, Range<u64>)>,
}

impl<R: ReadAt> File<R> {
    fn new(part: R, entry: &Entry) -> Self {
        let mut at = 0_u64;
        let mut pieces = Vec::with_capacity(entry.extents.len());
        for extent in &entry.extents {
            pieces.push((at, extent.clone()));
            at = at.saturating_add(extent.end.saturating_sub(extent.start));
        }
        Self { part, size: entry.size, pieces }
    }
}

impl<R: ReadAt> ReadAt for File<R> {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if offset >= self.size || buffer.is_empty() {
            return Ok(0);
        }
        let next = self.pieces.partition_point(|(start, _)| *start <= offset);
        let piece = next.checked_sub(1).and_then(|index| self.pieces.get(index));
        let Some((start, range)) = piece else { return Err(truncated(offset)) };
        let from = range.start.saturating_add(offset.saturating_sub(*start));
        let left = usize::try_from(range.end.saturating_sub(from)).unwrap_or(usize::MAX);
        if left == 0 {
            return Err(truncated(offset));
        }
        let count = left.min(buffer.len());
        self.part.read_at(from, buffer.get_mut(..count).unwrap_or_default())
    }
}

fn truncated(offset: u64) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, format!("the cluster chain ends before byte {offset} of the file"))
}
