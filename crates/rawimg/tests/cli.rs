//! The program: what it prints and how it ends.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may fail by panic and use std::fs")]

mod common;

use std::{path::Path, process::Command};

use rawimg::{Extents, fat, gpt, guid};
use serde_json::Value;

fn run(arguments: &[&str], file: &Path) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_rawimg")).args(arguments).arg(file).output().unwrap();
    (output.status.code(), String::from_utf8(output.stdout).unwrap())
}

#[test]
fn an_image_is_drawn_judged_and_told_as_facts() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.raw");
    let mut spec = gpt::Spec::new(64 << 20, guid!("d92d45b3-cde9-8760-be9f-a2a71fac8d11"));
    spec.skip = imgcore::Sectors(20_480);
    spec.partitions.push(gpt::PartitionSpec {
        name: "EFI".to_owned(),
        type_guid: gpt::EFI_SYSTEM,
        guid: guid!("bca5174b-0118-8a6a-af0b-2c6e1585acae"),
        size: 40 << 20,
        attributes: 0,
    });
    let table = gpt::plan(&spec).unwrap();
    let mut disk = Extents::new(table.disk_size);
    table.insert_into(&mut disk).unwrap();
    let mut tree = fat::Tree::new();
    tree.add_file("EFI/boot/BOOTAA64.efi", vec![1; 5000].into()).unwrap();
    let options = fat::Options { size: 40 << 20, label: "EFI".to_owned(), ..Default::default() };
    let content = fat::plan(&tree, &options).unwrap().extents.into();
    table.insert_partition(&mut disk, &table.partitions[0], content).unwrap();
    common::write_sparse(&path, &disk);

    let (code, said) = run(&["inspect"], &path);
    assert_eq!(code, Some(0), "{said}");
    for line in [
        "disk of 64 MiB, 512-byte sectors, GPT d92d45b3-cde9-8760-be9f-a2a71fac8d11\n",
        "       20482..20513      GPT entry array          16 KiB\n",
        "       22528..104447     partition 1 (EFI)        40 MiB\n",
        "partition 1: FAT32 \"EFI\", 40 MiB in clusters of 512 B, 39.4 MiB free\n",
        "     4.9 KiB  EFI/boot/BOOTAA64.efi\n",
    ] {
        assert!(said.contains(line), "{line:?} is not in\n{said}");
    }
    let (code, said) = run(&["inspect", "--tsv"], &path);
    assert_eq!(code, Some(0));
    assert!(said.contains("gpt\t0\tpartition.1.name\tEFI\n"), "{said}");
    assert!(said.contains("fat\t11534336\tfile.EFI/boot/BOOTAA64.efi\t5000\n"), "{said}");
    let (code, said) = run(&["inspect", "--json"], &path);
    assert_eq!(code, Some(0));
    let object: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&object["schema"], &object["ok"], &object["command"]), (&1.into(), &true.into(), &"inspect".into()));
    assert_eq!(object["result"]["volumes"][0]["files"].as_array().unwrap().len(), 3);
    assert_eq!(run(&["verify"], &path), (Some(0), format!("{}: nothing to complain about\n", path.display())));

    // A boot file written over the table, as the first overlay of this kind did.
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[20_482 * 512..20_483 * 512].fill(0x5a);
    std::fs::write(&path, bytes).unwrap();
    let (code, said) = run(&["verify", "--json"], &path);
    assert_eq!(code, Some(1));
    let object: Value = serde_json::from_str(&said).unwrap();
    let codes: Vec<_> = object["findings"].as_array().unwrap().iter().map(|finding| &finding["code"]).collect();
    assert_eq!(codes, ["GPT006", "GPT010"]);
    assert_eq!(object["findings"][0]["range"]["start"], 10_486_784);
}

#[test]
fn what_cannot_be_read_has_its_own_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("no-image");
    assert_eq!(run(&["inspect"], &path).0, Some(3));
    let (code, said) = run(&["verify", "--json"], &path);
    assert_eq!(code, Some(3));
    assert_eq!(serde_json::from_str::<Value>(&said).unwrap()["ok"], false);
    assert_eq!(run(&["verify"], dir.path()).0, Some(4));
    assert_eq!(run(&["verfy"], &path).0, Some(2));
    std::fs::write(&path, [0x42; 5000]).unwrap();
    let (code, said) = run(&["verify"], &path);
    assert_eq!(code, Some(1));
    assert!(said.starts_with("error[IMG001]: neither a GUID partition table nor a FAT file system\n"), "{said}");
}
