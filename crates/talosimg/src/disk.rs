//! Partitions of a disk image (`spec/talos-image.md` §5) and what is inside the ESP's file system header.
//!
//! ```
//! use talosimg::{Bootloader, disk, release};
//!
//! let row = release::find(&"v1.10.6".parse()?)?;
//! let partitions = disk::partitions(row, Bootloader::SdBoot);
//! let names: Vec<_> = partitions.iter().map(|partition| partition.name.as_str()).collect();
//! assert_eq!(names, ["EFI", "META"]);
//! assert_eq!(disk::guid_from_label("EFI").to_string(), "bca5174b-0118-8a6a-af0b-2c6e1585acae");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use imgcore::{Digest, Epoch, Sectors};
use rawimg::{
    Guid, fat,
    gpt::{PartitionSpec, Placed, Spec},
    guid,
};

use crate::{
    Bootloader,
    error::{ErrorKind, Result},
    release::{FatRule, Release},
};

/// The label that the disk's GUID is derived from.
pub const DISK_LABEL: &str = "talos-image-disk";

/// Type of an EFI system partition.
const TYPE_EFI: Guid = guid!("c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
/// Type of a BIOS boot partition.
const TYPE_BIOS: Guid = guid!("21686148-6449-6e6f-744e-656564454649");
/// Type of a Linux file system.
const TYPE_LINUX: Guid = guid!("0fc63daf-8483-4772-8e79-3d69d8477de4");
/// Attribute "legacy BIOS bootable".
const LEGACY_BIOS_BOOTABLE: u64 = 1 << 2;

/// The GUID of a disk or partition as the imager derives it from 1.13 on (§5.4): SHA-256 over sixteen zero bytes and the
/// label, cut to a version 8 UUID. Ours has it for every release, because earlier imagers draw random ones.
pub fn guid_from_label(label: &str) -> Guid {
    let digest = Digest::of(&[&[0; 16], label.as_bytes()].concat());
    let mut uuid = [0; 16];
    uuid.copy_from_slice(&digest.raw()[..16]);
    uuid[6] = uuid[6] & 0x0f | 0x80;
    uuid[8] = uuid[8] & 0x3f | 0x80;
    // The text form is big-endian throughout, a GUID on disk is not: its first three fields are little-endian.
    uuid[..4].reverse();
    uuid[4..6].reverse();
    uuid[6..8].reverse();
    Guid::from_bytes(uuid)
}

/// The partitions of an image, in disk order. STATE and EPHEMERAL are made by the node at its first start.
pub fn partitions(release: &Release, bootloader: Bootloader) -> Vec<PartitionSpec> {
    let sizes = &release.sizes;
    let partition = |name: &str, type_guid, size, attributes| PartitionSpec {
        name: name.to_owned(),
        type_guid,
        guid: guid_from_label(name),
        size,
        attributes,
    };
    let meta = partition("META", TYPE_LINUX, sizes.meta, 0);
    match bootloader {
        Bootloader::SdBoot => vec![partition("EFI", TYPE_EFI, sizes.esp_with_uki(), 0), meta],
        Bootloader::Grub => vec![
            partition("EFI", TYPE_EFI, sizes.esp, 0),
            partition("BIOS", TYPE_BIOS, sizes.bios, LEGACY_BIOS_BOOTABLE),
            partition("BOOT", TYPE_LINUX, sizes.boot, 0),
            meta,
        ],
    }
}

/// The whole table of an image: `offset` is the overlay's partition offset in LBAs, which moves the entry array (§0.1).
pub fn table(release: &Release, bootloader: Bootloader, disk_size: u64, offset: Sectors) -> Spec {
    let mut spec = Spec::new(disk_size, guid_from_label(DISK_LABEL));
    spec.skip = offset;
    spec.partitions = partitions(release, bootloader);
    spec
}

/// The size of an image in bytes: what was asked for, or the release's default.
///
/// # Errors
/// A size that is no multiple of a sector. Whether the partitions fit is for [`rawimg::gpt::plan`] to say.
pub fn size(release: &Release, given: Option<u64>) -> Result<u64> {
    const SECTOR: u64 = 512;
    let Some(size) = given else { return Ok(release.disk_size) };
    if size == 0 || !size.is_multiple_of(SECTOR) {
        let below = size / SECTOR * SECTOR;
        let problem = format!("expected a multiple of 512, such as {}", below.checked_add(SECTOR).unwrap_or(below));
        return Err(ErrorKind::DiskSize { size, problem }.into());
    }
    Ok(size)
}

/// The smallest disk in bytes that holds the partitions, both tables and the room in front of them; `None` for an
/// offset beyond any disk.
pub fn needed_size(release: &Release, bootloader: Bootloader, offset: Sectors) -> Option<u64> {
    match rawimg::gpt::plan(&table(release, bootloader, 0, offset)) {
        Err(error) => match error.kind() {
            rawimg::ErrorKind::DiskTooSmall { needed, .. } => Some(*needed),
            _ => None,
        },
        Ok(table) => Some(table.disk_size),
    }
}

/// The header of the ESP's file system, for a partition of an image of `disk_size` bytes (§5.5).
pub fn fat_options(release: &Release, disk_size: u64, partition: &Placed, time: Epoch) -> fat::Options {
    let (hidden_sectors, geometry_of) = match release.fat {
        // The field has 32 bits. An offset that does not fit it cannot be booted from by anything that reads it.
        FatRule::Device => (u32::try_from(partition.first.0).unwrap_or(u32::MAX), disk_size),
        FatRule::File => (0, partition.size),
    };
    fat::Options {
        size: partition.size,
        label: "EFI".to_owned(),
        volume_id: release.fat_volume_id,
        hidden_sectors,
        geometry_of,
        time,
        ..fat::Options::default()
    }
}

#[cfg(test)]
mod tests {
    use imgcore::Lba;

    use super::*;
    use crate::release;

    fn row(text: &str) -> &'static Release {
        release::find(&text.parse().unwrap()).unwrap()
    }

    #[test]
    fn guids_come_from_labels() {
        for (label, guid) in [
            (DISK_LABEL, "d92d45b3-cde9-8760-be9f-a2a71fac8d11"),
            ("EFI", "bca5174b-0118-8a6a-af0b-2c6e1585acae"),
            ("BIOS", "a2a02ff5-d88d-8e6e-9c95-26b9b6c80bc3"),
            ("BOOT", "24c73076-4092-85dd-9d98-686a2dbf6d81"),
            ("META", "cf04f137-101e-8ec6-9627-fa3f51cdabb8"),
            ("IMAGECACHE", "3b5449bc-c21f-8009-8b51-18945967f8df"),
        ] {
            assert_eq!(guid_from_label(label).to_string(), guid, "{label}");
        }
    }

    /// Name, first LBA, last LBA, attributes of each partition; last LBA, last usable, backup entries of the disk.
    type Row<'a> = (&'a str, Bootloader, &'a [(&'a str, u64, u64, u64)], [u64; 3]);

    #[test]
    fn tables_equal_the_imagers() {
        use Bootloader::{Grub, SdBoot};
        let small = [2_551_807, 2_551_774, 2_551_775];
        let large = [4_599_807, 4_599_774, 4_599_775];
        let rows: [Row<'_>; 6] = [
            ("v1.10.6", SdBoot, &[("EFI", 22528, 2_277_375, 0), ("META", 2_277_376, 2_279_423, 0)], small),
            (
                "v1.10.6",
                Grub,
                &[
                    ("EFI", 22528, 227_327, 0),
                    ("BIOS", 227_328, 229_375, 4),
                    ("BOOT", 229_376, 2_277_375, 0),
                    ("META", 2_277_376, 2_279_423, 0),
                ],
                small,
            ),
            ("v1.13.9", SdBoot, &[("EFI", 22528, 4_325_375, 0), ("META", 4_325_376, 4_327_423, 0)], large),
            (
                "v1.13.9",
                Grub,
                &[
                    ("EFI", 22528, 227_327, 0),
                    ("BIOS", 227_328, 229_375, 4),
                    ("BOOT", 229_376, 4_325_375, 0),
                    ("META", 4_325_376, 4_327_423, 0),
                ],
                large,
            ),
            ("v1.11.3", SdBoot, &[("EFI", 22528, 4_325_375, 0), ("META", 4_325_376, 4_327_423, 0)], large),
            ("v1.12.0", SdBoot, &[("EFI", 22528, 4_325_375, 0), ("META", 4_325_376, 4_327_423, 0)], large),
        ];
        for (version, bootloader, expected, ends) in rows {
            // With offset 0 every start is 20480 lower.
            for (offset, entries, lower) in [(20480, 20482, 0), (0, 2, 20480)] {
                let release = row(version);
                let table = rawimg::gpt::plan(&table(release, bootloader, release.disk_size, Sectors(offset))).unwrap();
                assert_eq!(table.entries, Lba(entries));
                assert_eq!(table.first_usable, Lba(22528 - lower));
                assert_eq!([table.last_lba, table.last_usable, table.backup_entries].map(|lba| lba.0), ends);
                let found: Vec<_> = table
                    .partitions
                    .iter()
                    .map(|p| (p.name.as_str(), p.first.0 + lower, p.last.0 + lower, p.attributes))
                    .collect();
                assert_eq!(found, expected, "{version} {bootloader} {offset}");
                assert!(table.partitions.iter().all(|p| p.guid == guid_from_label(&p.name)));
            }
        }
    }

    #[test]
    fn the_esp_has_the_geometry_of_its_release() {
        // version, size of the image, boot program → total sectors, sectors per track, heads, hidden, FAT sectors
        for (version, disk, bootloader, expected) in [
            ("v1.10.6", None, Bootloader::SdBoot, (2_254_833, 63, 64, 22528, 2200)),
            ("v1.13.9", None, Bootloader::SdBoot, (4_302_837, 63, 128, 0, 4200)),
            ("v1.10.6", None, Bootloader::Grub, (204_750, 63, 64, 22528, 1575)),
            ("v1.13.9", None, Bootloader::Grub, (204_800, 32, 8, 0, 1576)),
            ("v1.12.4", None, Bootloader::SdBoot, (4_302_837, 63, 128, 22528, 4200)),
        ] {
            let release = row(version);
            let disk = size(release, disk).unwrap();
            let table = rawimg::gpt::plan(&table(release, bootloader, disk, Sectors(20480))).unwrap();
            let options = fat_options(release, disk, table.partition("EFI").unwrap(), Epoch(0));
            let geometry = fat::Geometry::of(options.size, options.sector, options.geometry_of).unwrap();
            assert_eq!(
                (
                    geometry.total_sectors,
                    geometry.sectors_per_track,
                    geometry.heads,
                    options.hidden_sectors,
                    geometry.fat_sectors
                ),
                expected,
                "{version} {bootloader}"
            );
            assert_eq!((options.volume_id, options.label.as_str()), (0x1234_abcd, "EFI"));
        }
    }

    #[test]
    fn sizes_are_whole_sectors_and_nothing_is_added() {
        let release = row("v1.13.9");
        assert_eq!(size(release, None).unwrap(), 2_355_101_696);
        assert_eq!(size(release, Some(4_000_000_000)).unwrap(), 4_000_000_000);
        for (given, message) in [(0, "such as 512"), (1000, "such as 1024"), (u64::MAX, "such as 18446744073709551104")]
        {
            let error = size(release, Some(given)).unwrap_err().to_string();
            assert!(error.starts_with(&format!("disk size {given}: ")) && error.ends_with(message), "{error}");
        }
    }

    #[test]
    fn the_needed_size_is_enough_and_one_sector_less_is_not() {
        for release in release::all() {
            for bootloader in Bootloader::ALL {
                for offset in [0, 1, 20480, 24576] {
                    let needed = needed_size(release, bootloader, Sectors(offset)).unwrap();
                    assert!(needed <= release.disk_size);
                    let plan = |size| rawimg::gpt::plan(&table(release, bootloader, size, Sectors(offset)));
                    assert!(plan(needed).is_ok() && plan(needed - 512).is_err());
                }
            }
        }
        assert_eq!(needed_size(row("v1.10.6"), Bootloader::SdBoot, Sectors(20480)), Some((2_279_424 + 33) * 512));
        assert_eq!(needed_size(row("v1.10.6"), Bootloader::SdBoot, Sectors(u64::MAX)), None);
    }
}
