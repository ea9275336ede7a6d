//! The images that the upstream imager wrote: what is read in them agrees with the independent description beside each,
//! and the same table planned here has the same bytes.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::items_after_statements,
    reason = "a test may fail by panic, use std::fs and name a type where it needs one"
)]

mod common;

use std::{collections::BTreeMap, fs, path::PathBuf};

use common::{FileAt, bytes_at, check_rules, index};
use imgcore::{Digest, ReadAt, SectorSize, Sectors};
use rawimg::{Extents, Image, Window, fat, gpt};
use serde_json::Value;

/// Name, image and description of every case that has an image.
fn cases() -> Vec<(String, FileAt, Value)> {
    let Some(reference) = testkit::reference() else { return Vec::new() };
    let mut folders: Vec<PathBuf> =
        fs::read_dir(reference.join("shared")).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    folders.retain(|folder| folder.join("metal-arm64.raw").exists());
    assert!(folders.len() >= 10, "{folders:?}");
    folders
        .into_iter()
        .map(|folder| {
            let description = serde_json::from_slice(&testkit::read(folder.join("description.json"))).unwrap();
            let name = folder.file_name().unwrap().to_string_lossy().into_owned();
            (name, FileAt::open(&folder.join("metal-arm64.raw")), description)
        })
        .collect()
}

/// A JSON scalar as `facts` shows it.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[test]
fn what_is_read_agrees_with_the_descriptions() {
    for (name, image, description) in cases() {
        let (found, report) = rawimg::examine(&image);
        assert!(report.is_empty(), "{name}: {report:?}");
        check_rules(&report);
        let found = found.unwrap();
        let facts: BTreeMap<(&str, String), String> =
            rawimg::facts(&image).into_iter().map(|fact| ((fact.kind, fact.field), fact.value)).collect();
        let fact = |kind: &'static str, field: &str| {
            facts.get(&(kind, field.to_owned())).unwrap_or_else(|| panic!("{name}: no {kind} {field}")).clone()
        };
        assert_eq!(fact("gpt", "size"), text(&description["size"]));
        for (prefix, part) in [("", "gpt"), ("backup.", "backup_gpt")] {
            for field in [
                "my_lba",
                "alternate_lba",
                "first_usable_lba",
                "last_usable_lba",
                "disk_guid",
                "entries_lba",
                "entries",
                "entry_size",
            ] {
                assert_eq!(
                    fact("gpt", &format!("{prefix}{field}")),
                    text(&description[part][field]),
                    "{name} {part} {field}"
                );
            }
        }
        for partition in description["partitions"].as_array().unwrap() {
            for field in ["name", "type", "guid", "start_lba", "end_lba", "attributes"] {
                let found = fact("gpt", &format!("partition.{}.{field}", partition["number"]));
                assert_eq!(found, text(&partition[field]), "{name} {field}");
            }
        }
        assert_eq!(found.disk.as_ref().unwrap().partitions.len(), description["partitions"].as_array().unwrap().len());
        let esp = &description["contents"]["EFI"];
        for field in [
            "oem",
            "bytes_per_sector",
            "sectors_per_cluster",
            "reserved",
            "fats",
            "media",
            "sectors_per_track",
            "heads",
            "hidden",
            "total_sectors",
            "fat_sectors",
            "root_cluster",
            "fsinfo_sector",
            "backup_boot",
            "volume_id",
            "label",
            "fs_type",
            "root_label",
            "fragmented_files",
        ] {
            assert_eq!(fact("fat", field), text(&esp[field]), "{name} {field}");
        }
        check_tree(&name, &image, &found, esp);
    }
}

fn check_tree(name: &str, image: &FileAt, found: &Image, esp: &Value) {
    let located = &found.volumes[0];
    let window = Window::new(image, located.offset..located.offset + located.size);
    let expected: BTreeMap<String, Option<(u64, String)>> = esp["tree"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(path, file)| {
            let content = file["size"].as_u64().map(|size| (size, text(&file["sha256"])));
            (path.trim_matches('/').to_owned(), content)
        })
        .collect();
    let files: BTreeMap<String, Option<(u64, String)>> = located
        .volume
        .files()
        .iter()
        .map(|entry| {
            let content = located.volume.open(&window, &entry.path).map(|file| {
                let bytes = bytes_at(&file, 0, index(file.size()));
                (entry.size, Digest::of(&bytes).hex())
            });
            (entry.path.clone(), content)
        })
        .collect();
    assert_eq!(files, expected, "{name}");
}

/// F2 to F6 and F13: planned from the partitions alone, the table is byte for byte what upstream wrote.
#[test]
fn the_same_table_has_the_same_bytes() {
    for (name, image, _) in cases() {
        let (Some(disk), _) = gpt::read(&image) else { panic!("{name}") };
        let header = disk.header().unwrap();
        let spec = gpt::Spec {
            skip: Sectors(header.entries.0 - 2),
            partitions: disk
                .partitions
                .iter()
                .map(|partition| gpt::PartitionSpec {
                    name: partition.name.clone(),
                    type_guid: partition.type_guid,
                    guid: partition.guid,
                    size: partition.size,
                    attributes: partition.attributes,
                })
                .collect(),
            ..gpt::Spec::new(disk.size, header.disk_guid)
        };
        let table = gpt::plan(&spec).unwrap();
        assert_eq!(table.layout(), disk.layout(), "{name}");
        let mut ours = Extents::new(table.disk_size);
        table.insert_into(&mut ours).unwrap();
        for leaf in ours.leaves() {
            let len = index(leaf.content.len());
            assert!(bytes_at(&image, leaf.offset, len) == bytes_at(&leaf.content, 0, len), "{name}: {}", leaf.label);
        }
    }
}

/// F14: v1.10 to v1.12 format the partition of a loop device, so tracks and heads are those of the disk and the hidden
/// sectors are told; from v1.13 on a file is formatted.
#[test]
fn the_same_file_system_has_the_same_parameters() {
    for (name, image, _) in cases() {
        let (Some(found), _) = rawimg::examine(&image) else { panic!("{name}") };
        let located = &found.volumes[0];
        let theirs = &located.volume.parameters;
        let device = name.starts_with("v1.10");
        let options = fat::Options {
            size: located.size,
            sector: SectorSize::B512,
            label: "EFI".to_owned(),
            volume_id: theirs.volume_id,
            hidden_sectors: if device { u32::try_from(located.offset / 512).unwrap() } else { 0 },
            geometry_of: if device { found.size } else { 0 },
            ..Default::default()
        };
        let mut tree = fat::Tree::new();
        for entry in located.volume.files() {
            if entry.is_dir {
                tree.add_dir(&entry.path).unwrap();
            } else {
                tree.add_file(&entry.path, rawimg::Content::Zero(entry.size)).unwrap();
            }
        }
        let plan = fat::plan(&tree, &options).unwrap();
        let (volume, report) = fat::read(&plan.extents);
        assert!(report.is_empty(), "{name}: {report:?}");
        let volume = volume.unwrap();
        assert_eq!(&volume.parameters, theirs, "{name}");
        assert_eq!(volume.label, located.volume.label, "{name}");
        assert_eq!(volume.free_clusters, located.volume.free_clusters, "{name}");
    }
}
