//! System extensions in the initramfs, read by strangers and held against what the upstream imager wrote
//! (`reference/*-extension`).

#![allow(clippy::unwrap_used, reason = "a test stops where its helpers do")]

mod common;

use std::{
    path::Path,
    process::{Command, Stdio},
};

use common::{Inputs, World, pe_section, prefixed, result};
use fs_err as fs;
use serde_json::Value;

/// The `.initrd` of the unified kernel image on the ESP of a raw image, by `mcopy`.
fn initrd(world: &World, image: &Path, talos: &str, name: &str) -> Option<Vec<u8>> {
    let mcopy = testkit::tool("mcopy")?;
    let uki = world.path(name);
    let mut command = Command::new(mcopy);
    command.arg("-n").arg("-i").arg(format!("{}@@11534336", image.display()));
    command.arg(format!("::/EFI/Linux/Talos-{talos}.efi")).arg(&uki);
    testkit::run(&mut command);
    pe_section(&fs::read(uki).unwrap(), ".initrd")
}

/// What a program prints for some input.
fn filter(program: &Path, args: &[&str], input: &Path) -> Vec<u8> {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::from(fs::File::open(input).unwrap().into_file()));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn an_extension_is_merged_as_the_imager_merges_it() {
    let Some(inputs) = Inputs::reference() else { return };
    let tools = ["zstd", "cpio", "unsquashfs"].map(testkit::tool);
    let [Some(zstd), Some(cpio), Some(unsquashfs)] = tools else { return };
    let world = World::new(inputs);
    let base = world.base("base", None);
    let board = world.overlay_board("nanopi-m6", 20_480);
    let reference = testkit::reference().unwrap();
    let original = fs::read(reference.join("in/initramfs.xz")).unwrap();
    for talos in ["v1.10.6", "v1.13.9"] {
        let mut command = world.image(&board, talos, talos);
        command.args(["--format", "raw", "--kernel-arg", "console=ttyAMA0", "--offline"]);
        command.arg("--base").arg(prefixed("dir:", &base));
        command.arg("--extension").arg(reference.join("in/realtek-firmware.tar"));
        world.add_sources(&mut command);
        let built = result(&mut command);
        assert_eq!(built["build"]["extensions"][0]["name"], "realtek-firmware");
        let theirs = reference.join("shared").join(format!("{talos}-extension")).join("metal-arm64.raw");
        let mut unpacked = Vec::new();
        for (whose, image) in [("ours", world.path(talos).join("metal-arm64.raw")), ("theirs", theirs)] {
            let Some(initrd) = initrd(&world, &image, talos, &format!("{talos}-{whose}.efi")) else { return };
            // F25: the original bytes, then one zstd frame.
            assert!(initrd.starts_with(&original), "{talos} {whose}");
            let frame = world.path(&format!("{talos}-{whose}.zst"));
            fs::write(&frame, &initrd[original.len()..]).unwrap();
            let archive = world.path(&format!("{talos}-{whose}.cpio"));
            fs::write(&archive, filter(&zstd, &["-dc"], &frame)).unwrap();
            let names = String::from_utf8(filter(&cpio, &["-t", "--quiet"], &archive)).unwrap();
            let folder = world.path(&format!("{talos}-{whose}"));
            fs::create_dir(&folder).unwrap();
            let mut extract = Command::new(&cpio);
            extract.args(["-idm", "--quiet"]).current_dir(&folder);
            extract.stdin(Stdio::from(fs::File::open(&archive).unwrap().into_file()));
            testkit::run(&mut extract);
            let mut list = Command::new(&unsquashfs);
            list.args(["-lln"]).arg(folder.join("0.sqsh"));
            // Permissions, owner, size and path of every entry; times are ours.
            let listed: Vec<String> = testkit::run(&mut list)
                .lines()
                .map(|line| {
                    let words: Vec<&str> = line.split_whitespace().collect();
                    [words[0], words[1], words[words.len() - 1]].join(" ")
                })
                .collect();
            let firmware = folder.join("usr/lib/firmware/rtl_nic");
            let bytes = ["rtl8125b-2.fw", "rtl8168h-2.fw"].map(|name| fs::read(firmware.join(name)).unwrap());
            let list = fs::read_to_string(folder.join("extensions.yaml")).unwrap();
            unpacked.push((names, listed, bytes, list));
        }
        assert_eq!(unpacked[0], unpacked[1], "{talos}");
        // The record says which bytes of the section are the base's.
        let record: Value = serde_json::from_slice(&fs::read(world.path(talos).join("build.json")).unwrap()).unwrap();
        let inputs = record["inputs"].as_array().unwrap();
        let initramfs = inputs.iter().find(|input| input["name"] == "initramfs").unwrap();
        assert_eq!(initramfs["place"]["range"], serde_json::json!([0, original.len()]));
        result(common::xtask().args(["verify", "--json"]).arg(world.path(talos).join("metal-arm64.raw")));
    }
}
