//! Twenty thousand damaged forms of each format: a report, never a panic.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::items_after_statements,
    reason = "a test may fail by panic, use std::fs and name a type where it needs one"
)]

mod common;

use common::{Patched, bytes_at, check_rules, index};
use imgcore::{ReadAt, Sectors};
use rawimg::{Extents, Guid, fat, gpt};

const COUNT: usize = 20_000;

#[test]
fn damaged_partition_tables_are_reported() {
    let guid = |byte: u8| Guid::from_bytes([byte; 16]);
    let part = |number: u8| gpt::PartitionSpec {
        name: format!("P{number}"),
        type_guid: guid(9),
        guid: guid(number),
        size: 2048,
        attributes: 0,
    };
    let mut spec = gpt::Spec { skip: Sectors(3), align: 512, ..gpt::Spec::new(0, guid(7)) };
    spec.partitions = (1..6).map(part).collect();
    spec.disk_size = 100 * 512;
    let table = gpt::plan(&spec).unwrap();
    let mut disk = Extents::new(spec.disk_size);
    table.insert_into(&mut disk).unwrap();
    let bytes = bytes_at(&disk, 0, index(spec.disk_size));
    let mut with_partitions = 0;
    testkit::mutants(3, COUNT, &bytes, |mutant| {
        let (disk, report) = gpt::read(&mutant);
        check_rules(&report);
        with_partitions += usize::from(disk.is_some_and(|disk| !disk.partitions.is_empty()));
        assert!(rawimg::examine(&mutant).1.iter().all(|finding| !finding.message.is_empty()));
    });
    assert!(with_partitions > COUNT / 2, "{with_partitions}: the damage should not hide all of the reader");

    // The same behind headers whose checksums are right, so that more than checksums is tested.
    testkit::mutants(4, COUNT, &bytes, |mutant| {
        let mut mutant = mutant.to_vec();
        repair(&mut mutant);
        let (disk, report) = gpt::read(&mutant);
        check_rules(&report);
        if let Some(disk) = disk {
            disk.layout().sorted();
        }
    });
}

/// Rewrites the checksums of the primary header and its array.
fn repair(disk: &mut [u8]) {
    let Some(header) = disk.get(512..604) else { return };
    let word = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().unwrap());
    let start = u64::from_le_bytes(header[72..80].try_into().unwrap()).saturating_mul(512);
    let len = u64::from(word(80)).saturating_mul(u64::from(word(84)));
    let (Ok(start), Ok(end)) = (usize::try_from(start), usize::try_from(start.saturating_add(len))) else { return };
    if let Some(crc) = disk.get(start..end).map(crc32fast::hash) {
        disk[512 + 88..512 + 92].copy_from_slice(&crc.to_le_bytes());
    }
    disk[512 + 12..512 + 16].copy_from_slice(&92_u32.to_le_bytes());
    disk[512 + 16..512 + 20].fill(0);
    let crc = crc32fast::hash(&disk[512..604]);
    disk[512 + 16..512 + 20].copy_from_slice(&crc.to_le_bytes());
}

#[test]
fn damaged_file_systems_are_reported() {
    let mut tree = fat::Tree::new();
    tree.add_file("EFI/boot/BOOTAA64.efi", vec![1; 3000].into()).unwrap();
    tree.add_file("a somewhat long name.txt", vec![2; 600].into()).unwrap();
    tree.add_file("loader/loader.conf", vec![3; 41].into()).unwrap();
    let options = fat::Options { size: 34 << 20, label: "EFI".to_owned(), ..Default::default() };
    let plan = fat::plan(&tree, &options).unwrap();
    let g = plan.geometry;
    // All that has structure, without the zeros between: boot sectors, the fronts of the FATs, directories.
    let parts =
        [(0, 8 * 512), (g.fat_offset(), 128), (g.fat_offset() + g.fat_bytes(), 128), (g.data_offset(), 4 * 512)];
    let structure = parts.map(|(offset, len)| bytes_at(&plan.extents, offset, len)).concat();
    let mut with_files = 0;
    let mut number = 0;
    testkit::mutants(5, COUNT, &structure, |mutant| {
        number += 1;
        let mut patches = Vec::new();
        let mut rest = mutant;
        for (offset, len) in parts {
            let (part, behind) = rest.split_at(len.min(rest.len()));
            patches.push((offset, part.to_vec()));
            rest = behind;
        }
        // Every second time the damage of one FAT is in the other too.
        if number % 2 == 0 {
            let fat = patches[1].1.clone();
            patches[2].1 = fat;
        }
        let image = Patched { image: &plan.extents, patches };
        let (volume, report) = fat::read(&image);
        check_rules(&report);
        let Some(volume) = volume else {
            assert!(report.has_errors());
            return;
        };
        with_files += usize::from(!volume.files().is_empty());
        for entry in volume.files() {
            let Some(file) = entry.open(&image) else { continue };
            let mut buffer = [0; 64];
            for offset in [0, 600, entry.size.saturating_sub(1), entry.size, u64::MAX] {
                let _ = file.read_at(offset, &mut buffer);
            }
        }
    });
    assert!(with_files > COUNT / 4, "{with_files}: the damage should not hide all of the reader");
}
