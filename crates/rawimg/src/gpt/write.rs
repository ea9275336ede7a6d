//! The table as bytes, by the types of `gpt_disk_types`.

use gpt_disk_types::{
    Chs, Crc32, GptHeader, GptPartitionAttributes, GptPartitionEntry, GptPartitionName, GptPartitionType, LbaLe,
    MasterBootRecord, MbrPartitionRecord, U32Le, U64Le,
};
use imgcore::{Lba, SectorSize};

use super::plan::{ENTRIES, Placed, Table};
use crate::{Content, Error, ErrorKind, Extents};

impl Table {
    /// Puts protective MBR, headers and entry arrays into `disk`. Partitions are put in by [`insert_partition`].
    ///
    /// # Errors
    /// When `disk` has another size, or something is there already.
    ///
    /// [`insert_partition`]: Self::insert_partition
    pub fn insert_into(&self, disk: &mut Extents) -> Result<(), Error> {
        if disk.len() != self.disk_size {
            let problem = format!("planned for a disk of {} bytes, not of {}", self.disk_size, disk.len());
            return Err(ErrorKind::Gpt(problem).into());
        }
        let sector = self.sector.bytes();
        let (array, crc) = self.entry_array();
        let array: Content = array.into();
        disk.insert(0, "protective MBR", self.sector_of(bytemuck::bytes_of(&self.protective_mbr())))?;
        let primary = self.header(Lba(1), self.last_lba, self.entries, crc);
        disk.insert(sector, "GPT header", self.sector_of(bytemuck::bytes_of(&primary)))?;
        disk.insert(self.entries.0 * sector, "GPT entry array", array.clone())?;
        disk.insert(self.backup_entries.0 * sector, "backup GPT entry array", array)?;
        let backup = self.header(self.last_lba, Lba(1), self.backup_entries, crc);
        disk.insert(self.last_lba.0 * sector, "backup GPT header", self.sector_of(bytemuck::bytes_of(&backup)))
    }

    /// Puts `content` at the start of a partition, under the partition's label, and claims all of the partition.
    ///
    /// # Errors
    /// When the content is larger than the partition, or something is there already.
    pub fn insert_partition(&self, disk: &mut Extents, partition: &Placed, content: Content) -> Result<(), Error> {
        let content = if content.len() == partition.size {
            content
        } else {
            let mut whole = Extents::new(partition.size);
            whole.insert(0, "content", content).map_err(|_| ErrorKind::Partition {
                name: partition.name.clone(),
                problem: format!("its content does not fit its {} bytes", partition.size),
            })?;
            whole.into()
        };
        disk.insert(partition.offset, &partition.label(), content)
    }

    /// One sector that begins with `bytes`.
    fn sector_of(&self, bytes: &[u8]) -> Content {
        let mut sector = bytes.to_vec();
        let size = match self.sector {
            SectorSize::B512 => 512,
            SectorSize::B4096 => 4096,
        };
        sector.resize(size, 0);
        sector.into()
    }

    /// Start CHS 0/0/2 and end CHS FF FF FF whatever the size: what the upstream writer does (talos-image.md 5.1), and
    /// what UEFI allows for a disk whose size CHS cannot express.
    fn protective_mbr(&self) -> MasterBootRecord {
        let whole_disk = MbrPartitionRecord {
            boot_indicator: 0,
            start_chs: Chs([0x00, 0x02, 0x00]),
            os_indicator: 0xee,
            end_chs: Chs([0xff, 0xff, 0xff]),
            starting_lba: U32Le::from_u32(1),
            size_in_lba: U32Le::from_u32(u32::try_from(self.last_lba.0).unwrap_or(u32::MAX)),
        };
        let unused = MbrPartitionRecord {
            boot_indicator: 0,
            start_chs: Chs([0; 3]),
            os_indicator: 0,
            end_chs: Chs([0; 3]),
            starting_lba: U32Le::from_u32(0),
            size_in_lba: U32Le::from_u32(0),
        };
        MasterBootRecord {
            boot_strap_code: [0; 440],
            unique_mbr_disk_signature: [0; 4],
            unknown: [0; 2],
            partitions: [whole_disk, unused, unused, unused],
            signature: [0x55, 0xaa],
        }
    }

    fn header(&self, my: Lba, alternate: Lba, entries: Lba, array_crc: Crc32) -> GptHeader {
        let mut header = GptHeader {
            my_lba: LbaLe::from_u64(my.0),
            alternate_lba: LbaLe::from_u64(alternate.0),
            first_usable_lba: LbaLe::from_u64(self.first_usable.0),
            last_usable_lba: LbaLe::from_u64(self.last_usable.0),
            disk_guid: self.disk_guid,
            partition_entry_lba: LbaLe::from_u64(entries.0),
            number_of_partition_entries: U32Le::from_u32(ENTRIES),
            partition_entry_array_crc32: array_crc,
            ..GptHeader::default()
        };
        header.update_header_crc32();
        header
    }

    fn entry_array(&self) -> (Vec<u8>, Crc32) {
        let mut entries = [GptPartitionEntry::default(); ENTRIES as usize];
        for (entry, partition) in entries.iter_mut().zip(&self.partitions) {
            *entry = entry_of(partition);
        }
        let bytes = bytemuck::cast_slice::<_, u8>(&entries).to_vec();
        let crc = Crc32(U32Le::from_u32(crc32fast::hash(&bytes)));
        (bytes, crc)
    }
}

fn entry_of(partition: &Placed) -> GptPartitionEntry {
    // `GptPartitionName::from_str` keeps the last of the 36 units for a zero that the format does not ask for.
    let mut name = GptPartitionName([0; 72]);
    for (to, unit) in name.0.chunks_exact_mut(2).zip(partition.name.encode_utf16()) {
        to.copy_from_slice(&unit.to_le_bytes());
    }
    GptPartitionEntry {
        partition_type_guid: GptPartitionType(partition.type_guid),
        unique_partition_guid: partition.guid,
        starting_lba: LbaLe::from_u64(partition.first.0),
        ending_lba: LbaLe::from_u64(partition.last.0),
        attributes: GptPartitionAttributes(U64Le::from_u64(partition.attributes)),
        name,
    }
}
