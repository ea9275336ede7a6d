//! Where everything goes.

use std::collections::BTreeSet;

use gpt_disk_types::Guid;
use imgcore::{Layout, Lba, SectorSize, Sectors};

use super::partition_label;
use crate::{Error, ErrorKind, Need};

/// Entries in the array: the 16 KiB that UEFI demands at least, and what every tool writes.
pub(super) const ENTRIES: u32 = 128;
/// Bytes of the array: 128 bytes an entry.
const ARRAY_BYTES: u64 = 16_384;

/// A partition to be placed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionSpec {
    /// At most 36 UTF-16 units.
    pub name: String,
    /// What it holds.
    pub type_guid: Guid,
    /// Which one it is; unique on the disk.
    pub guid: Guid,
    /// Bytes, a multiple of the sector size.
    pub size: u64,
    /// Attribute bits (UEFI 2.10, table 5-8); 0 for most.
    pub attributes: u64,
}

/// A disk to be partitioned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// Bytes, a multiple of the sector size.
    pub disk_size: u64,
    /// Logical sector size.
    pub sector: SectorSize,
    /// Which disk it is.
    pub disk_guid: Guid,
    /// Sectors left alone between the header and the entry array, which lies at LBA 2 + skip.
    pub skip: Sectors,
    /// Bytes that every partition start is a multiple of.
    pub align: u64,
    /// In disk order and in table order.
    pub partitions: Vec<PartitionSpec>,
}

impl Spec {
    /// 512-byte sectors, entry array at LBA 2, alignment 1 MiB, no partition.
    pub fn new(disk_size: u64, disk_guid: Guid) -> Self {
        Self {
            disk_size,
            sector: SectorSize::B512,
            disk_guid,
            skip: Sectors(0),
            align: 1024 * 1024,
            partitions: Vec::new(),
        }
    }
}

/// A partition with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// From 1.
    pub number: u32,
    /// As in the [`PartitionSpec`].
    pub name: String,
    /// What it holds.
    pub type_guid: Guid,
    /// Which one it is.
    pub guid: Guid,
    /// First sector.
    pub first: Lba,
    /// Last sector, inclusive.
    pub last: Lba,
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
    /// Attribute bits.
    pub attributes: u64,
}

impl Placed {
    /// `partition 1 (EFI)`.
    pub fn label(&self) -> String {
        partition_label(self.number, &self.name)
    }
}

/// A partition table as it will be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// Bytes of the disk.
    pub disk_size: u64,
    /// Logical sector size.
    pub sector: SectorSize,
    /// Which disk it is.
    pub disk_guid: Guid,
    /// First sector of the primary entry array.
    pub entries: Lba,
    /// Sectors of one entry array.
    pub entry_sectors: Sectors,
    /// First sector that a partition may use.
    pub first_usable: Lba,
    /// Last sector that a partition may use.
    pub last_usable: Lba,
    /// First sector of the backup entry array.
    pub backup_entries: Lba,
    /// Last sector of the disk, where the backup header is.
    pub last_lba: Lba,
    /// The partitions, by place.
    pub partitions: Vec<Placed>,
}

impl Table {
    /// The first partition of that name.
    pub fn partition(&self, name: &str) -> Option<&Placed> {
        self.partitions.iter().find(|partition| partition.name == name)
    }

    /// Who owns which bytes: protective MBR, headers, entry arrays, partitions.
    pub fn layout(&self) -> Layout {
        let sector = self.sector.bytes();
        let array = self.entry_sectors.0 * sector;
        let mut layout = Layout::new();
        layout.add("protective MBR", 0..sector);
        layout.add("GPT header", sector..2 * sector);
        layout.add("GPT entry array", self.entries.0 * sector..self.entries.0 * sector + array);
        for partition in &self.partitions {
            layout.add(partition.label(), partition.offset..partition.offset + partition.size);
        }
        let backup = self.backup_entries.0 * sector;
        layout.add("backup GPT entry array", backup..backup + array);
        layout.add("backup GPT header", self.last_lba.0 * sector..self.disk_size);
        layout
    }
}

/// Places the table and the partitions, one behind the other, each start aligned.
///
/// The primary array lies at LBA 2 + skip, the first usable sector behind it is rounded up to the alignment, and the
/// backup mirrors an unmoved table at the end of the disk (talos-image.md 5.1).
///
/// # Errors
/// [`ErrorKind::DiskTooSmall`] lists what needs how much; [`ErrorKind::Gpt`] and [`ErrorKind::Partition`] say what
/// cannot be written.
pub fn plan(spec: &Spec) -> Result<Table, Error> {
    let sector = spec.sector.bytes();
    if !spec.disk_size.is_multiple_of(sector) {
        return Err(gpt(format!("the disk size {} is not a multiple of its sector size {sector}", spec.disk_size)));
    }
    if spec.align == 0 || !spec.align.is_multiple_of(sector) {
        return Err(gpt(format!("the alignment {} is not a multiple of the sector size {sector}", spec.align)));
    }
    check(spec)?;

    let too_far = || gpt(format!("an entry array behind {} skipped sectors lies beyond any disk", spec.skip));
    let align = spec.align / sector;
    let entry_sectors = ARRAY_BYTES / sector;
    let entries = spec.skip.0.checked_add(2).ok_or_else(too_far)?;
    let first_usable = entries
        .checked_add(entry_sectors)
        .and_then(|end| end.checked_next_multiple_of(align))
        .filter(|lba| lba.checked_mul(sector).is_some())
        .ok_or_else(too_far)?;

    let mut partitions = Vec::with_capacity(spec.partitions.len());
    let mut needs = vec![Need { name: "partition table and room before it".to_owned(), size: first_usable * sector }];
    let mut next = first_usable;
    for (number, partition) in (1..).zip(&spec.partitions) {
        let first = next.checked_next_multiple_of(align);
        let end = first.and_then(|first| first.checked_add(partition.size / sector));
        let (Some(first), Some(end), Some(_)) = (first, end, end.and_then(|end| end.checked_mul(sector))) else {
            return Err(bad(partition, "it ends beyond 2^64 bytes"));
        };
        if first > next {
            needs.push(Need { name: "alignment".to_owned(), size: (first - next) * sector });
        }
        needs.push(Need { name: partition_label(number, &partition.name), size: partition.size });
        partitions.push(Placed {
            number,
            name: partition.name.clone(),
            type_guid: partition.type_guid,
            guid: partition.guid,
            first: Lba(first),
            last: Lba(end - 1),
            offset: first * sector,
            size: partition.size,
            attributes: partition.attributes,
        });
        next = end;
    }
    // A table without partitions still needs one usable sector, or first usable would lie behind last usable.
    let used = next.max(first_usable.saturating_add(1));
    needs.push(Need { name: "backup partition table".to_owned(), size: (entry_sectors + 1) * sector });
    let needed = used.checked_add(entry_sectors + 1).and_then(|sectors| sectors.checked_mul(sector));
    let total = spec.disk_size / sector;
    if needed.is_none_or(|needed| needed > spec.disk_size) {
        let needed = needed.unwrap_or(u64::MAX);
        return Err(ErrorKind::DiskTooSmall { needed, given: spec.disk_size, partitions: needs }.into());
    }
    let backup_entries = total - 1 - entry_sectors;
    Ok(Table {
        disk_size: spec.disk_size,
        sector: spec.sector,
        disk_guid: spec.disk_guid,
        entries: Lba(entries),
        entry_sectors: Sectors(entry_sectors),
        first_usable: Lba(first_usable),
        last_usable: Lba(backup_entries - 1),
        backup_entries: Lba(backup_entries),
        last_lba: Lba(total - 1),
        partitions,
    })
}

fn check(spec: &Spec) -> Result<(), Error> {
    if spec.partitions.len() > ENTRIES as usize {
        return Err(gpt(format!("{} partitions, but the table has {ENTRIES} entries", spec.partitions.len())));
    }
    if spec.disk_guid.is_zero() {
        return Err(gpt("the disk GUID is zero: derive or choose one".to_owned()));
    }
    let mut guids = BTreeSet::new();
    for partition in &spec.partitions {
        let units = partition.name.encode_utf16().count();
        if units > 36 {
            return Err(bad(partition, &format!("the name has {units} UTF-16 units, at most 36 fit")));
        }
        if partition.name.contains('\0') {
            return Err(bad(partition, "the name contains a zero character, which ends a name"));
        }
        if partition.type_guid.is_zero() {
            return Err(bad(partition, "the type GUID is zero, which means an unused entry"));
        }
        if partition.guid.is_zero() || !guids.insert(partition.guid) {
            return Err(bad(partition, &format!("the GUID {} is zero or used twice", partition.guid)));
        }
        if partition.size == 0 || !partition.size.is_multiple_of(spec.sector.bytes()) {
            let sector = spec.sector.bytes();
            return Err(bad(partition, &format!("the size {} is not a positive multiple of {sector}", partition.size)));
        }
    }
    Ok(())
}

fn gpt(problem: String) -> Error {
    ErrorKind::Gpt(problem).into()
}

fn bad(partition: &PartitionSpec, problem: &str) -> Error {
    ErrorKind::Partition { name: partition.name.clone(), problem: problem.to_owned() }.into()
}
