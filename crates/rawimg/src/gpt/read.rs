//! Examining foreign tables within fixed limits.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::ops::Range;

use gpt_disk_types::Guid;
use imgcore::{Finding, Layout, Lba, ReadAt, Report, SectorSize};
use zerocopy::FromBytes as _;

use super::{
    partition_label,
    raw::{RawEntry, RawHeader, RawMbr},
};

/// UEFI wants 128 · 2ⁿ; nothing writes more than 128, so a whole sector is generous.
const ENTRY_SIZE_LIMIT: u32 = 4096;
/// 8192 entries of 128 bytes: 64 times what tools write.
const ARRAY_LIMIT: u64 = 1024 * 1024;
const MIB: u64 = 1024 * 1024;

/// Which of the two tables was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableCopy {
    /// At the start of the disk.
    Primary,
    /// At its end.
    Backup,
}

/// One of the two headers, as found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Where it was found.
    pub lba: Lba,
    /// Revision, 0x10000 for 1.0.
    pub revision: u32,
    /// Bytes of the header, 92 in revision 1.0.
    pub header_size: u32,
    /// Where it says that the other header is.
    pub alternate: Lba,
    /// First sector for partitions.
    pub first_usable: Lba,
    /// Last sector for partitions.
    pub last_usable: Lba,
    /// Which disk it is.
    pub disk_guid: Guid,
    /// First sector of its entry array.
    pub entries: Lba,
    /// Entries in the array.
    pub entry_count: u32,
    /// Bytes of an entry.
    pub entry_size: u32,
    /// CRC-32 of the array, as the header has it.
    pub entries_crc: u32,
}

impl Header {
    fn array_len(&self) -> u64 {
        u64::from(self.entry_count).saturating_mul(u64::from(self.entry_size))
    }

    /// The bytes of its entry array, rounded up to whole sectors.
    pub fn array_range(&self, sector: SectorSize) -> Range<u64> {
        let start = bytes(self.entries.0, sector);
        start..start.saturating_add(self.array_len().checked_next_multiple_of(sector.bytes()).unwrap_or(u64::MAX))
    }
}

/// A used entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Index in the array, from 1.
    pub number: u32,
    /// The name; what is no UTF-16 is replaced.
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
    /// Bytes, 0 when the entry ends before it begins.
    pub size: u64,
    /// Attribute bits.
    pub attributes: u64,
}

impl Partition {
    /// `partition 1 (EFI)`.
    pub fn label(&self) -> String {
        partition_label(self.number, &self.name)
    }

    /// The bytes on the disk.
    pub fn range(&self) -> Range<u64> {
        self.offset..self.offset.saturating_add(self.size)
    }
}

/// A disk with a partition table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disk {
    /// Bytes of the disk.
    pub size: u64,
    /// Sector size in which the table makes sense.
    pub sector: SectorSize,
    /// Which table the partitions come from.
    pub copy: TableCopy,
    /// The header at LBA 1, if it is sound.
    pub primary: Option<Header>,
    /// The header at the end, if it is sound.
    pub backup: Option<Header>,
    /// Used entries by number.
    pub partitions: Vec<Partition>,
}

impl Disk {
    /// The header that [`copy`](Self::copy) names.
    pub fn header(&self) -> Option<&Header> {
        match self.copy {
            TableCopy::Primary => self.primary.as_ref(),
            TableCopy::Backup => self.backup.as_ref(),
        }
    }

    /// The first partition of that name.
    pub fn partition(&self, name: &str) -> Option<&Partition> {
        self.partitions.iter().find(|partition| partition.name == name)
    }

    /// Who owns which bytes, as in [`Table::layout`](super::Table::layout).
    pub fn layout(&self) -> Layout {
        let sector = self.sector.bytes();
        let mut layout = Layout::new();
        layout.add("protective MBR", 0..sector);
        layout.add("GPT header", sector..sector.saturating_mul(2));
        if let Some(header) = &self.primary {
            layout.add("GPT entry array", header.array_range(self.sector));
        }
        for partition in &self.partitions {
            layout.add(partition.label(), partition.range());
        }
        if let Some(header) = &self.backup {
            layout.add("backup GPT entry array", header.array_range(self.sector));
            let start = bytes(header.lba.0, self.sector);
            layout.add("backup GPT header", start..start.saturating_add(sector));
        }
        layout
    }
}

/// Reads the partition table of a disk, whatever its sector size, and says all that is wrong with it.
///
/// The partitions come from the primary table if its header and array are sound, else from the backup, else from
/// whatever is left. Memory is bounded by two arrays of 1 MiB.
pub fn read(disk: &dyn ReadAt) -> (Option<Disk>, Report) {
    let mut report = Report::new();
    let Some(sector) = detect(disk, &mut report) else {
        report.push(
            Finding::error(
                "GPT001",
                "no GUID partition table: neither LBA 1 nor the last LBA begins with \"EFI PART\"",
            )
            .at(0..disk.size().min(8192)),
        );
        return (None, report);
    };
    let mut reader = Reader { disk, sector, report };
    reader.check_mbr();
    let last = reader.last_lba();
    let primary = reader.header(Lba(1), "GPT002", "primary GPT header");
    let backup = reader.backup_header(primary.as_ref(), last);
    reader.cross_check(primary.as_ref(), backup.as_ref(), last);
    let primary_array = primary.as_ref().and_then(|header| reader.array(header, "GPT006", "primary GPT entry array"));
    let backup_array = backup.as_ref().and_then(|header| reader.array(header, "GPT007", "backup GPT entry array"));

    let sound = |array: &Option<Array>| array.as_ref().is_some_and(|array| array.sound);
    let copy = if sound(&primary_array) || (primary_array.is_some() && !sound(&backup_array)) {
        TableCopy::Primary
    } else {
        TableCopy::Backup
    };
    let (header, array) = match copy {
        TableCopy::Primary => (&primary, primary_array),
        TableCopy::Backup => (&backup, backup_array),
    };
    let (Some(header), Some(array)) = (header, array) else {
        return (None, reader.report);
    };
    if copy == TableCopy::Backup {
        reader.report.push(
            Finding::warning("GPT010", "the primary table is unusable: the partitions are those of the backup table")
                .at(header.array_range(sector))
                .help("flash the image again, or rewrite the table from its backup (gdisk: r, b, w)"),
        );
    }
    let partitions = reader.partitions(header, &array.bytes);
    let disk = Disk { size: disk.size(), sector, copy, primary, backup, partitions };
    (Some(disk), reader.report)
}

/// The sector size for which one of the two header places holds the signature; a place with the right own address wins.
fn detect(disk: &dyn ReadAt, report: &mut Report) -> Option<SectorSize> {
    let mut best = None;
    for sector in [SectorSize::B512, SectorSize::B4096] {
        let last = last_lba(disk, sector);
        for lba in [1, last] {
            let mut head = [0; size_of::<RawHeader>()];
            let offset = bytes(lba, sector);
            if offset.saturating_add(head.len() as u64) > disk.size() {
                continue;
            }
            if let Err(error) = disk.read_exact_at(offset, &mut head) {
                report.push(unreadable("GPT header", offset..offset.saturating_add(sector.bytes()), &error));
                continue;
            }
            let Ok(header) = RawHeader::ref_from_bytes(&head) else { continue };
            if header.signature == *b"EFI PART" {
                if header.my_lba.get() == lba {
                    return Some(sector);
                }
                best = best.or(Some(sector));
            }
        }
    }
    best
}

struct Array {
    bytes: Vec<u8>,
    sound: bool,
}

struct Reader<'a> {
    disk: &'a dyn ReadAt,
    sector: SectorSize,
    report: Report,
}

impl Reader<'_> {
    fn last_lba(&self) -> Lba {
        Lba(last_lba(self.disk, self.sector))
    }

    fn sector_range(&self, lba: Lba) -> Range<u64> {
        let start = bytes(lba.0, self.sector);
        start..start.saturating_add(self.sector.bytes())
    }

    fn bytes_at(&mut self, what: &str, range: Range<u64>, limit: u64) -> Option<Vec<u8>> {
        let len = range.end.saturating_sub(range.start).min(limit);
        let mut buffer = vec![0; usize::try_from(len).ok()?];
        match self.disk.read_exact_at(range.start, &mut buffer) {
            Ok(()) => Some(buffer),
            Err(error) => {
                self.report.push(unreadable(what, range, &error));
                None
            }
        }
    }

    fn check_mbr(&mut self) {
        let Some(buffer) = self.bytes_at("protective MBR", 0..512, 512) else { return };
        let Ok(mbr) = RawMbr::ref_from_bytes(&buffer) else { return };
        let rewrite = "flash the image again, or rewrite it (gdisk: x, n, w)";
        if mbr.signature != [0x55, 0xaa] {
            let [a, b] = mbr.signature;
            let message = format!("the protective MBR has no signature: found {a:02x} {b:02x}, expected 55 aa");
            self.report.push(Finding::error("GPT011", message).at(510..512).help(rewrite));
            return;
        }
        let Some(record) = mbr.records.iter().find(|record| record.kind == 0xee) else {
            let message = "the MBR has no protective entry of type ee: old tools see an empty disk";
            self.report.push(Finding::error("GPT011", message).at(446..510).help(rewrite));
            return;
        };
        let want = u32::try_from(self.last_lba().0).unwrap_or(u32::MAX);
        // 0xFFFFFFFF is written by some tools whatever the size, and allowed.
        if record.start.get() != 1 || (record.sectors.get() != want && record.sectors.get() != u32::MAX) {
            let message = format!(
                "the protective MBR covers {} sectors from LBA {}, expected {want} from LBA 1",
                record.sectors, record.start
            );
            self.report.push(Finding::warning("GPT012", message).at(446..510));
        }
        if mbr.records.iter().filter(|record| !record.is_empty()).count() > 1 {
            let message =
                "the MBR has more entries than the protective one: a hybrid MBR is read differently by each firmware";
            self.report.push(Finding::warning("GPT013", message).at(446..510));
        }
    }

    /// A header whose signature, size, CRC and own address are right.
    fn header(&mut self, lba: Lba, code: &'static str, name: &str) -> Option<Header> {
        let range = self.sector_range(lba);
        if range.end > self.disk.size() {
            let message = format!("the {name} at LBA {lba} lies behind the end of the disk at {}", self.disk.size());
            self.report.push(Finding::error(code, message).at(range));
            return None;
        }
        let buffer = self.bytes_at(name, range.clone(), 4096)?;
        let (raw, rest) = RawHeader::ref_from_prefix(&buffer).ok()?;
        let mut bad = |what: String| {
            self.report.push(Finding::error(code, format!("the {name} at LBA {lba} {what}")).at(range.clone()));
        };
        if raw.signature != *b"EFI PART" {
            bad("does not begin with \"EFI PART\"".to_owned());
            return None;
        }
        let size = usize::try_from(raw.header_size.get()).unwrap_or(usize::MAX);
        let Some(covered) = buffer.get(..size).filter(|_| size >= size_of::<RawHeader>()) else {
            bad(format!("says that it has {size} bytes, expected 92 to {}", buffer.len()));
            return None;
        };
        // The checksum covers the header with its own field as zero.
        let mut crc = crc32fast::Hasher::new();
        crc.update(covered.get(..16)?);
        crc.update(&[0; 4]);
        crc.update(covered.get(20..)?);
        let crc = crc.finalize();
        if crc != raw.header_crc.get() {
            bad(format!("has checksum {:#010x}, but its bytes give {crc:#010x}", raw.header_crc));
            return None;
        }
        if raw.my_lba.get() != lba.0 {
            bad(format!("says that it is at LBA {}", raw.my_lba));
            return None;
        }
        let reserved = raw.reserved.get() != 0 || rest.iter().any(|byte| *byte != 0);
        if raw.revision.get() != 0x0001_0000 || size != size_of::<RawHeader>() || reserved {
            let message = format!(
                "the {name} has revision {:#x}, {size} bytes{}; expected revision 0x10000, 92 bytes, zeros behind",
                raw.revision,
                if reserved { " and data in its reserved bytes" } else { "" }
            );
            self.report.push(Finding::warning("GPT014", message).at(range));
        }
        Some(Header {
            lba,
            revision: raw.revision.get(),
            header_size: raw.header_size.get(),
            alternate: Lba(raw.alternate_lba.get()),
            first_usable: Lba(raw.first_usable.get()),
            last_usable: Lba(raw.last_usable.get()),
            disk_guid: Guid::from_bytes(raw.disk_guid),
            entries: Lba(raw.entries_lba.get()),
            entry_count: raw.entry_count.get(),
            entry_size: raw.entry_size.get(),
            entries_crc: raw.entries_crc.get(),
        })
    }

    /// The backup is looked for where the primary header says, then in the last sector.
    fn backup_header(&mut self, primary: Option<&Header>, last: Lba) -> Option<Header> {
        let Some(primary) = primary.filter(|primary| primary.alternate != last && primary.alternate.0 > 1) else {
            return self.header(last, "GPT003", "backup GPT header");
        };
        let at = primary.alternate;
        if at.0 < last.0 {
            let message = format!("the backup table ends at LBA {at}, but the disk at LBA {last}: the disk has grown");
            self.report.push(
                Finding::warning("GPT004", message)
                    .at(self.sector_range(at))
                    .help("move it to the end with `sgdisk --move-second-header`; many systems do so on first boot"),
            );
        }
        self.header(at, "GPT003", "backup GPT header")
    }

    fn cross_check(&mut self, primary: Option<&Header>, backup: Option<&Header>, last: Lba) {
        for header in [primary, backup].into_iter().flatten() {
            let array = header.array_range(self.sector);
            let usable = bytes(header.first_usable.0, self.sector)
                ..bytes(header.last_usable.0.saturating_add(1), self.sector).min(self.disk.size());
            if header.first_usable > header.last_usable || header.last_usable > last {
                let message = format!(
                    "the header at LBA {} says that LBA {}..{} are usable, but the disk ends at LBA {last}",
                    header.lba, header.first_usable, header.last_usable
                );
                self.report.push(Finding::error("GPT008", message).at(self.sector_range(header.lba)));
            } else if header.first_usable.0 < 2 || (array.start < usable.end && usable.start < array.end) {
                let message = format!(
                    "the usable range LBA {}..{} covers the table itself: entries at LBA {}",
                    header.first_usable, header.last_usable, header.entries
                );
                self.report.push(Finding::error("GPT008", message).at(self.sector_range(header.lba)));
            }
        }
        let (Some(primary), Some(backup)) = (primary, backup) else { return };
        let mut differences = Vec::new();
        if primary.disk_guid != backup.disk_guid {
            differences.push(format!("disk GUID {} and {}", primary.disk_guid, backup.disk_guid));
        }
        let usable = |header: &Header| format!("{}..{}", header.first_usable, header.last_usable);
        if usable(primary) != usable(backup) {
            differences.push(format!("usable range {} and {}", usable(primary), usable(backup)));
        }
        let entries = |header: &Header| format!("{} of {} bytes", header.entry_count, header.entry_size);
        if entries(primary) != entries(backup) {
            differences.push(format!("entries {} and {}", entries(primary), entries(backup)));
        }
        if primary.entries_crc != backup.entries_crc {
            differences.push(format!("array checksum {:#010x} and {:#010x}", primary.entries_crc, backup.entries_crc));
        }
        if backup.alternate != primary.lba || primary.alternate != backup.lba {
            differences.push(format!("the other header at LBA {} and {}", primary.alternate, backup.alternate));
        }
        if !differences.is_empty() {
            let message = format!("primary and backup header disagree: {}", differences.join("; "));
            self.report.push(Finding::error("GPT005", message).at(self.sector_range(backup.lba)));
        }
    }

    /// The entry array, if it is within the limits.
    fn array(&mut self, header: &Header, code: &'static str, name: &str) -> Option<Array> {
        let size = header.entry_size;
        let range = header.array_range(self.sector);
        let len = header.array_len();
        if !(128..=ENTRY_SIZE_LIMIT).contains(&size) || !size.is_power_of_two() || len == 0 || len > ARRAY_LIMIT {
            let message = format!(
                "the {name} has {} entries of {size} bytes; this reader takes 128 to 4096 bytes, a power of two, and at \
                 most 1 MiB of entries",
                header.entry_count
            );
            self.report.push(Finding::error("GPT009", message).at(self.sector_range(header.lba)));
            return None;
        }
        if range.end > self.disk.size() || header.entries.0 < 2 {
            let message = format!("the {name} at LBA {} does not lie on the disk behind its headers", header.entries);
            self.report.push(Finding::error("GPT009", message).at(self.sector_range(header.lba)));
            return None;
        }
        let data = range.start..range.start.saturating_add(len);
        let bytes = self.bytes_at(name, data.clone(), ARRAY_LIMIT)?;
        let crc = crc32fast::hash(&bytes);
        let sound = crc == header.entries_crc;
        if !sound {
            let message = format!(
                "the {name} at LBA {} has checksum {crc:#010x}, its header says {:#010x}: something was written over it",
                header.entries, header.entries_crc
            );
            self.report.push(Finding::error(code, message).at(data));
        }
        Some(Array { bytes, sound })
    }

    fn partitions(&mut self, header: &Header, array: &[u8]) -> Vec<Partition> {
        let entry_size = usize::try_from(header.entry_size).unwrap_or(usize::MAX).max(128);
        let mut partitions = Vec::new();
        let mut at = header.array_range(self.sector).start;
        for (number, chunk) in (1_u32..).zip(array.chunks_exact(entry_size)) {
            let place = at..at.saturating_add(u64::from(header.entry_size));
            at = place.end;
            let Ok((raw, _)) = RawEntry::ref_from_prefix(chunk) else { continue };
            if raw.type_guid == [0; 16] {
                continue;
            }
            let units = raw.name.iter().map(|unit| unit.get()).take_while(|unit| *unit != 0);
            let mut broken = false;
            let name = char::decode_utf16(units)
                .map(|unit| {
                    unit.unwrap_or_else(|_| {
                        broken = true;
                        char::REPLACEMENT_CHARACTER
                    })
                })
                .collect::<String>();
            let (first, last) = (raw.first.get(), raw.last.get());
            let offset = bytes(first, self.sector);
            let end = if first <= last { bytes(last.saturating_add(1), self.sector) } else { offset };
            let partition = Partition {
                number,
                name,
                type_guid: Guid::from_bytes(raw.type_guid),
                guid: Guid::from_bytes(raw.guid),
                first: Lba(first),
                last: Lba(last),
                offset,
                size: end.saturating_sub(offset),
                attributes: raw.attributes.get(),
            };
            if broken {
                let message = format!("the name of {} is not valid UTF-16", partition.label());
                self.report.push(Finding::warning("GPT018", message).at(place.clone()));
            }
            self.check_place(header, &partition, place);
            partitions.push(partition);
        }
        self.check_pairs(&partitions);
        partitions
    }

    fn check_place(&mut self, header: &Header, partition: &Partition, place: Range<u64>) {
        let Partition { first, last, .. } = partition;
        if first > last {
            let message = format!("{} ends at LBA {last}, before it begins at LBA {first}", partition.label());
            self.report.push(Finding::error("GPT016", message).at(place));
        } else if *first < header.first_usable || *last > header.last_usable {
            let message = format!(
                "{} covers LBA {first}..{last}, outside the usable LBA {}..{}",
                partition.label(),
                header.first_usable,
                header.last_usable
            );
            self.report.push(Finding::error("GPT016", message).at(place));
        } else if !partition.offset.is_multiple_of(MIB) {
            let message = format!("{} begins at LBA {first}, which is no multiple of 1 MiB", partition.label());
            self.report.push(Finding::info("GPT019", message).at(place));
        }
    }

    fn check_pairs(&mut self, partitions: &[Partition]) {
        let mut by_place: Vec<_> = partitions.iter().filter(|partition| partition.first <= partition.last).collect();
        by_place.sort_by_key(|partition| (partition.first, partition.number));
        // Each partition is held against the one that reaches farthest so far: every overlap has a finding, and a
        // hostile table of thousands of equal entries has thousands of them, not millions.
        let mut farthest: Option<&Partition> = None;
        for partition in by_place {
            if let Some(other) = farthest.filter(|other| other.last >= partition.first) {
                let shared_last = other.last.min(partition.last);
                let message = format!(
                    "{} (LBA {}..{}) overlaps {} (LBA {}..{})",
                    partition.label(),
                    partition.first,
                    partition.last,
                    other.label(),
                    other.first,
                    other.last
                );
                let shared = partition.offset..bytes(shared_last.0.saturating_add(1), self.sector);
                self.report.push(Finding::error("GPT017", message).at(shared));
            }
            if farthest.is_none_or(|other| partition.last > other.last) {
                farthest = Some(partition);
            }
        }
        let mut by_guid: Vec<_> = partitions.iter().collect();
        by_guid.sort_by_key(|partition| (partition.guid, partition.number));
        for pair in by_guid.windows(2) {
            if let [a, b] = pair
                && a.guid == b.guid
            {
                let message = format!("{} and {} have the same GUID {}", a.label(), b.label(), a.guid);
                self.report.push(Finding::error("GPT015", message));
            }
        }
    }
}

fn bytes(lba: u64, sector: SectorSize) -> u64 {
    lba.saturating_mul(sector.bytes())
}

fn last_lba(disk: &dyn ReadAt, sector: SectorSize) -> u64 {
    disk.size().checked_div(sector.bytes()).unwrap_or(0).saturating_sub(1)
}

fn unreadable(what: &str, range: Range<u64>, error: &std::io::Error) -> Finding {
    Finding::error("GPT020", format!("cannot read the {what}: {error}")).at(range)
}
