//! Partition tables against the specification and against tools that are not ours.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::items_after_statements,
    reason = "a test may fail by panic, use std::fs and name a type where it needs one"
)]

mod common;

use std::process::Command;

use common::{FileAt, Patched, bytes_at, check_rules, codes, write_sparse};
use imgcore::{Lba, SectorSize, Sectors};
use proptest::prelude::*;
use rawimg::{ErrorKind, Extents, Guid, gpt, guid};

const MIB: u64 = 1 << 20;
const DISK: Guid = guid!("d92d45b3-cde9-8760-be9f-a2a71fac8d11");

fn part(name: &str, type_guid: Guid, mib: u64, attributes: u64) -> gpt::PartitionSpec {
    let mut bytes = [0x55; 16];
    for (to, from) in bytes.iter_mut().zip(name.bytes()) {
        *to = from;
    }
    gpt::PartitionSpec { name: name.to_owned(), type_guid, guid: Guid::from_bytes(bytes), size: mib * MIB, attributes }
}

fn sd_boot(esp: u64) -> Vec<gpt::PartitionSpec> {
    vec![part("EFI", gpt::EFI_SYSTEM, esp, 0), part("META", gpt::LINUX_FILESYSTEM, 1, 0)]
}

fn grub(boot: u64) -> Vec<gpt::PartitionSpec> {
    vec![
        part("EFI", gpt::EFI_SYSTEM, 100, 0),
        part("BIOS", gpt::BIOS_BOOT, 1, 4),
        part("BOOT", gpt::LINUX_FILESYSTEM, boot, 0),
        part("META", gpt::LINUX_FILESYSTEM, 1, 0),
    ]
}

fn spec(disk_mib: u64, skip: u64, partitions: Vec<gpt::PartitionSpec>) -> gpt::Spec {
    gpt::Spec { skip: Sectors(skip), partitions, ..gpt::Spec::new(disk_mib * MIB, DISK) }
}

fn build(table: &gpt::Table) -> Extents {
    let mut disk = Extents::new(table.disk_size);
    table.insert_into(&mut disk).unwrap();
    disk
}

/// talos-image.md 5.3, with and without offset.
#[test]
fn the_tables_of_the_specification() {
    type Row = (u64, Vec<gpt::PartitionSpec>, &'static [(u64, u64)], u64);
    let rows: [Row; 4] = [
        (1246, sd_boot(1101), &[(22_528, 2_277_375), (2_277_376, 2_279_423)], 2_551_807),
        (
            1246,
            grub(1000),
            &[(22_528, 227_327), (227_328, 229_375), (229_376, 2_277_375), (2_277_376, 2_279_423)],
            2_551_807,
        ),
        (2246, sd_boot(2101), &[(22_528, 4_325_375), (4_325_376, 4_327_423)], 4_599_807),
        (
            2246,
            grub(2000),
            &[(22_528, 227_327), (227_328, 229_375), (229_376, 4_325_375), (4_325_376, 4_327_423)],
            4_599_807,
        ),
    ];
    for (disk, partitions, places, last) in rows {
        for (skip, moved) in [(20_480, 0), (0, 20_480)] {
            let table = gpt::plan(&spec(disk, skip, partitions.clone())).unwrap();
            let found: Vec<_> = table.partitions.iter().map(|p| (p.first.0 + moved, p.last.0 + moved)).collect();
            assert_eq!(found, places);
            assert_eq!((table.entries, table.first_usable.0 + moved), (Lba(2 + skip), 22_528));
            assert_eq!((table.last_lba.0, table.last_usable.0, table.backup_entries.0), (last, last - 33, last - 32));
            assert!(table.layout().overlaps().is_empty());
        }
    }
}

/// F2 to F6 of talos-image.md 14, on the bytes.
#[test]
fn the_bytes_of_the_specification() {
    let table = gpt::plan(&spec(1246, 20_480, grub(1000))).unwrap();
    let disk = build(&table);
    let mbr = bytes_at(&disk, 0, 512);
    assert!(mbr[..446].iter().chain(&mbr[462..510]).all(|byte| *byte == 0));
    assert_eq!(mbr[446..462], [0, 0, 2, 0, 0xee, 0xff, 0xff, 0xff, 1, 0, 0, 0, 0xff, 0xef, 0x26, 0]);
    assert_eq!(mbr[510..], [0x55, 0xaa]);
    let header = bytes_at(&disk, 512, 512);
    assert_eq!(&header[..16], b"EFI PART\0\0\x01\0\x5c\0\0\0");
    assert!(header[92..].iter().all(|byte| *byte == 0));
    assert_eq!(bytes_at(&disk, 20_482 * 512, 16_384), bytes_at(&disk, (2_551_807 - 32) * 512, 16_384));
    assert!(bytes_at(&disk, 1024, 20_480 * 512).iter().all(|byte| *byte == 0));
    let entries = bytes_at(&disk, 20_482 * 512, 512);
    assert_eq!(entries[..4], [0x28, 0x73, 0x2a, 0xc1]);
    assert_eq!(entries[128 + 48..128 + 56], [4, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(&entries[56..64], b"E\0F\0I\0\0\0");
}

#[test]
fn a_disk_beyond_32_bits_of_sectors_is_clamped_in_the_mbr() {
    let table = gpt::plan(&spec(3 * MIB, 0, sd_boot(100))).unwrap();
    assert_eq!(bytes_at(&build(&table), 458, 4), [0xff; 4]);
    let (disk, report) = gpt::read(&build(&table));
    assert!(report.is_empty(), "{report:?}");
    assert_eq!(disk.unwrap().size, 3 * MIB * MIB);
}

#[test]
fn a_disk_that_is_too_small_says_what_needs_how_much() {
    let error = gpt::plan(&spec(1000, 20_480, sd_boot(1101))).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the disk is too small: 1113 MiB (1167081984 bytes) are needed, 1000 MiB (1048576000 bytes) are given: \
         partition table and room before it 11 MiB, partition 1 (EFI) 1101 MiB, partition 2 (META) 1 MiB, backup \
         partition table 16.5 KiB"
    );
    let ErrorKind::DiskTooSmall { needed, partitions, .. } = error.kind() else { panic!("{error:?}") };
    assert_eq!(partitions.iter().map(|need| need.size).sum::<u64>(), *needed);
    let mut exact = spec(1, 20_480, sd_boot(1101));
    exact.disk_size = *needed;
    assert!(gpt::plan(&exact).is_ok());
    exact.disk_size -= 512;
    assert!(gpt::plan(&exact).is_err());
    for (disk_size, needed) in [(0, 1_065_984), (512, 1_065_984), (512 * 2081, 1_065_984)] {
        let error = gpt::plan(&gpt::Spec::new(disk_size, DISK)).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::DiskTooSmall { needed: n, .. } if *n == needed), "{error}");
    }
}

#[test]
fn plans_that_no_table_can_hold_are_refused() {
    let good = spec(100, 0, vec![part("A", gpt::EFI_SYSTEM, 1, 0), part("B", gpt::EFI_SYSTEM, 1, 0)]);
    type Change = fn(&mut gpt::Spec);
    let cases: [(Change, &str); 11] = [
        (|s| s.disk_size += 1, "partition table: the disk size 104857601 is not a multiple of its sector size 512"),
        (|s| s.align = 0, "partition table: the alignment 0 is not a multiple of the sector size 512"),
        (|s| s.align = 1000, "partition table: the alignment 1000 is not a multiple of the sector size 512"),
        (|s| s.disk_guid = Guid::ZERO, "partition table: the disk GUID is zero: derive or choose one"),
        (
            |s| s.skip = Sectors(u64::MAX),
            "partition table: an entry array behind 18446744073709551615 skipped sectors lies beyond any disk",
        ),
        (
            |s| s.partitions[0].name = "x".repeat(37),
            "partition \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\": the name has 37 UTF-16 units, at most 36 fit",
        ),
        (
            |s| s.partitions[0].name = "a\0".to_owned(),
            "partition \"a\\0\": the name contains a zero character, which ends a name",
        ),
        (
            |s| s.partitions[1].guid = s.partitions[0].guid,
            "partition \"B\": the GUID 55555541-5555-5555-5555-555555555555 is zero or used twice",
        ),
        (
            |s| s.partitions[1].type_guid = Guid::ZERO,
            "partition \"B\": the type GUID is zero, which means an unused entry",
        ),
        (|s| s.partitions[1].size = 700, "partition \"B\": the size 700 is not a positive multiple of 512"),
        (
            |s| s.partitions = vec![s.partitions[0].clone(); 129],
            "partition table: 129 partitions, but the table has 128 entries",
        ),
    ];
    for (change, message) in cases {
        let mut bad = good.clone();
        change(&mut bad);
        assert_eq!(gpt::plan(&bad).unwrap_err().to_string(), message);
    }
    let mut name = good;
    name.partitions[0].name = "😀".repeat(18);
    let table = gpt::plan(&name).unwrap();
    let (disk, report) = gpt::read(&build(&table));
    assert!(report.is_empty());
    assert_eq!(disk.unwrap().partitions[0].name, name.partitions[0].name);
}

#[test]
fn content_goes_into_its_partition_and_claims_all_of_it() {
    let table = gpt::plan(&spec(100, 0, sd_boot(50))).unwrap();
    let mut disk = build(&table);
    let meta = table.partition("META").unwrap();
    let error = table.insert_partition(&mut disk, meta, vec![1; 2 << 20].into()).unwrap_err();
    assert_eq!(error.to_string(), "partition \"META\": its content does not fit its 1048576 bytes");
    table.insert_partition(&mut disk, meta, vec![1; 3].into()).unwrap();
    let error = disk.insert(meta.offset + 100, "boot.img", vec![2].into()).unwrap_err();
    assert!(error.to_string().starts_with("partition 2 (META) (LBA 104448..106495,"), "{error}");
    assert!(table.insert_into(&mut Extents::new(5)).is_err());
    assert!(table.insert_into(&mut disk).is_err());
}

/// sgdisk, sfdisk and the `gpt` crate read what is written, in both sector sizes.
#[test]
fn tools_that_are_not_ours_accept_the_table() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.raw");
    let mut tiny = spec(4, 0, vec![]);
    tiny.align = 512;
    tiny.partitions = vec![gpt::PartitionSpec { size: 512, ..part("x", gpt::BIOS_BOOT, 1, 1 << 63) }];
    let mut large_sectors = spec(2246, 20_480, grub(2000));
    large_sectors.sector = SectorSize::B4096;
    let mut plain_large_sectors = spec(100, 0, sd_boot(50));
    plain_large_sectors.sector = SectorSize::B4096;
    let many: Vec<_> = (0..128).map(|i| part(&format!("p{i}"), gpt::LINUX_FILESYSTEM, 1, 0)).collect();
    for spec in [
        spec(1246, 20_480, sd_boot(1101)),
        spec(2246, 20_480, grub(2000)),
        spec(1246, 0, grub(1000)),
        spec(1300, 24_576, sd_boot(1101)),
        spec(200, 0, many),
        tiny,
        large_sectors,
        plain_large_sectors,
    ] {
        let table = gpt::plan(&spec).unwrap();
        write_sparse(&path, &build(&table));
        let (disk, report) = gpt::read(&FileAt::open(&path));
        assert!(!report.has_errors(), "{report:?}");
        assert_eq!(disk.unwrap().layout(), table.layout());

        let size = match spec.sector {
            SectorSize::B512 => ::gpt::disk::LogicalBlockSize::Lb512,
            SectorSize::B4096 => ::gpt::disk::LogicalBlockSize::Lb4096,
        };
        let config = ::gpt::GptConfig::new().writable(false).only_valid_headers(true).logical_block_size(size);
        let other = config.open(&path).unwrap();
        assert_eq!(other.partitions().len(), table.partitions.len());
        for partition in &table.partitions {
            let found = &other.partitions()[&partition.number];
            assert_eq!(
                (found.first_lba, found.last_lba, &found.name),
                (partition.first.0, partition.last.0, &partition.name)
            );
            assert_eq!(found.part_guid.to_string(), partition.guid.to_string());
        }
        // These two take every file for a disk of 512-byte sectors.
        if spec.sector == SectorSize::B4096 {
            continue;
        }
        for (tool, option, verdict) in
            [("sgdisk", "-v", "No problems found."), ("sfdisk", "--verify", "No errors detected.")]
        {
            if let Some(tool) = testkit::tool(tool) {
                let said = testkit::run(Command::new(tool).arg(option).arg(&path));
                assert!(said.contains(verdict), "{said}");
            }
        }
    }
}

/// Each row damages a sound disk in one place.
#[test]
fn damage_is_found_and_named() {
    let table = gpt::plan(&spec(40, 20_480, sd_boot(20))).unwrap();
    let disk = build(&table);
    let last = table.last_lba.0 * 512;
    let entries = table.entries.0 * 512;
    type Row = (&'static str, Vec<(u64, Vec<u8>)>, &'static [&'static str], bool);
    let rows: [Row; 11] = [
        ("nothing", vec![], &[], true),
        ("MBR signature", vec![(510, vec![0, 0])], &["GPT011"], true),
        ("MBR type", vec![(450, vec![0x83])], &["GPT011"], true),
        ("MBR size", vec![(458, vec![9])], &["GPT012"], true),
        ("hybrid MBR", vec![(466, vec![0x0c, 0, 0, 0, 0, 0, 0, 0, 1])], &["GPT013"], true),
        ("primary header", vec![(512 + 40, vec![1])], &["GPT002", "GPT010"], true),
        ("primary signature", vec![(512, vec![0; 92])], &["GPT002", "GPT010"], true),
        ("backup header", vec![(last + 56, vec![1])], &["GPT003"], true),
        ("primary array", vec![(entries, vec![0; 512])], &["GPT006", "GPT010"], true),
        ("backup array", vec![(last - 16_384, vec![1])], &["GPT007"], true),
        ("both headers", vec![(512, vec![0; 8]), (last, vec![0; 8])], &["GPT001"], false),
    ];
    for (what, patches, expected, found) in rows {
        let image = Patched { image: &disk, patches };
        let (disk, report) = gpt::read(&image);
        assert_eq!(codes(&report), expected, "{what}: {report:?}");
        assert_eq!(disk.is_some(), found, "{what}");
        check_rules(&report);
        if let Some(disk) = disk {
            assert_eq!(disk.partitions.len(), 2, "{what}");
            assert_eq!(disk.partitions[0].first, Lba(22_528), "{what}");
        }
    }
}

/// A header that lies, with a checksum that is right.
#[test]
fn statements_that_contradict_each_other_are_found() {
    let table = gpt::plan(&spec(40, 20_480, sd_boot(20))).unwrap();
    let disk = build(&table);
    let last = table.last_lba.0 * 512;
    let signed = |at: u64, field: usize, value: &[u8]| {
        let mut header = bytes_at(&disk, at, 92);
        header[field..field + value.len()].copy_from_slice(value);
        header[16..20].fill(0);
        let crc = crc32fast::hash(&header);
        header[16..20].copy_from_slice(&crc.to_le_bytes());
        (at, header)
    };
    type Row<'a> = (&'a str, Vec<(u64, Vec<u8>)>, &'a [&'a str]);
    let rows: [Row<'_>; 9] = [
        ("alternate inside", vec![signed(512, 32, &70_000_u64.to_le_bytes())], &["GPT003", "GPT004"]),
        ("disk GUID", vec![signed(512, 56, &[1])], &["GPT005"]),
        ("first usable in the table", vec![signed(512, 40, &20_500_u64.to_le_bytes())], &["GPT005", "GPT008"]),
        ("last usable behind the end", vec![signed(512, 48, &u64::MAX.to_le_bytes())], &["GPT005", "GPT008"]),
        ("entry size", vec![signed(512, 84, &100_u32.to_le_bytes())], &["GPT005", "GPT009", "GPT010"]),
        ("entry count", vec![signed(512, 80, &u32::MAX.to_le_bytes())], &["GPT005", "GPT008", "GPT009", "GPT010"]),
        ("entries behind the end", vec![signed(512, 72, &u64::MAX.to_le_bytes())], &["GPT009", "GPT010"]),
        ("revision", vec![signed(512, 8, &[1])], &["GPT014"]),
        (
            "both with a first usable behind the partitions",
            vec![signed(512, 40, &30_000_u64.to_le_bytes()), signed(last, 40, &30_000_u64.to_le_bytes())],
            &["GPT016"],
        ),
    ];
    for (what, patches, expected) in rows {
        let (found, report) = gpt::read(&Patched { image: &disk, patches });
        assert_eq!(codes(&report), expected, "{what}: {report:?}");
        assert!(found.is_some(), "{what}");
        check_rules(&report);
    }
}

#[test]
fn partitions_that_overlap_or_run_backwards_are_found() {
    let partitions = ["A", "B", "C", "D"].map(|name| part(name, gpt::LINUX_FILESYSTEM, 2, 0));
    let table = gpt::plan(&spec(40, 0, partitions.to_vec())).unwrap();
    let disk = build(&table);
    let mut array = bytes_at(&disk, 1024, 16_384);
    let mut set = |entry: usize, first: u64, last: u64| {
        array[entry * 128 + 32..entry * 128 + 40].copy_from_slice(&first.to_le_bytes());
        array[entry * 128 + 40..entry * 128 + 48].copy_from_slice(&last.to_le_bytes());
    };
    set(1, 2050, 3000);
    set(2, 9000, 8000);
    array[3 * 128 + 16..3 * 128 + 32].copy_from_slice(&[0x41; 16]);
    array[16..32].copy_from_slice(&[0x41; 16]);
    array[56..58].copy_from_slice(&[0, 0xd8]);
    let crc = crc32fast::hash(&array).to_le_bytes();
    let mut header = bytes_at(&disk, 512, 92);
    header[88..92].copy_from_slice(&crc);
    header[16..20].fill(0);
    let crc = crc32fast::hash(&header).to_le_bytes();
    header[16..20].copy_from_slice(&crc);
    let (found, report) = gpt::read(&Patched { image: &disk, patches: vec![(512, header), (1024, array)] });
    assert_eq!(codes(&report), ["GPT005", "GPT015", "GPT016", "GPT017", "GPT018", "GPT019"], "{report:?}");
    let overlap = report.iter().find(|finding| finding.code == "GPT017").unwrap();
    assert_eq!(overlap.message, "partition 2 (B) (LBA 2050..3000) overlaps partition 1 (\u{fffd}) (LBA 2048..6143)");
    assert_eq!(overlap.range, Some(2050 * 512..3001 * 512));
    assert_eq!(found.unwrap().partitions.len(), 4);
}

#[test]
fn a_disk_that_has_grown_still_has_its_backup() {
    let table = gpt::plan(&spec(40, 0, sd_boot(20))).unwrap();
    let mut disk = Extents::new(60 << 20);
    disk.insert(0, "old", build(&table).into()).unwrap();
    let (found, report) = gpt::read(&disk);
    assert_eq!(codes(&report), ["GPT004", "GPT012"]);
    assert!(found.unwrap().backup.is_some());
}

fn any_partition() -> impl Strategy<Value = gpt::PartitionSpec> {
    ("\\PC{0,18}", any::<[u8; 16]>(), any::<[u8; 16]>(), 1_u64..5000, any::<u64>()).prop_map(
        |(name, type_guid, guid, sectors, attributes)| {
            let name: String = name.chars().take(18).collect();
            let one = |mut bytes: [u8; 16]| {
                bytes[0] |= 1;
                Guid::from_bytes(bytes)
            };
            gpt::PartitionSpec { name, type_guid: one(type_guid), guid: one(guid), size: sectors * 4096, attributes }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn what_is_written_is_read(
        partitions in prop::collection::vec(any_partition(), 0..12),
        skip in 0_u64..50_000,
        large in any::<bool>(),
        align in 0_u32..9,
        slack in 0_u64..10_000,
    ) {
        let sector = if large { SectorSize::B4096 } else { SectorSize::B512 };
        let mut spec = gpt::Spec { disk_size: 0, sector, disk_guid: DISK, skip: Sectors(skip), align: 4096 << align, partitions };
        let mut guids = std::collections::BTreeSet::new();
        spec.partitions.retain(|partition| guids.insert(partition.guid));
        let error = gpt::plan(&spec).unwrap_err();
        let ErrorKind::DiskTooSmall { needed, .. } = error.kind() else { panic!("{error}") };
        spec.disk_size = needed + slack * sector.bytes();
        let table = gpt::plan(&spec).unwrap();
        prop_assert!(table.layout().overlaps().is_empty());
        let image = build(&table);
        let (disk, report) = gpt::read(&image);
        prop_assert!(!report.has_errors(), "{:?}", report);
        let disk = disk.unwrap();
        prop_assert_eq!(disk.sector, sector);
        prop_assert_eq!(disk.layout(), table.layout());
        prop_assert_eq!(disk.partitions.len(), spec.partitions.len());
        for (found, wanted) in disk.partitions.iter().zip(&spec.partitions) {
            prop_assert_eq!(&found.name, &wanted.name);
            prop_assert_eq!((found.type_guid, found.guid), (wanted.type_guid, wanted.guid));
            prop_assert_eq!((found.size, found.attributes), (wanted.size, wanted.attributes));
            prop_assert!(found.offset.is_multiple_of(spec.align));
        }
        let header = disk.header().unwrap();
        prop_assert_eq!((header.entries.0, header.disk_guid), (2 + skip, DISK));
        prop_assert_eq!(header.last_usable.0, table.last_lba.0 - 1 - table.entry_sectors.0);
    }
}
