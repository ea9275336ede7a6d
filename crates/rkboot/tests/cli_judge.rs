//! What the program says about files of another kind, of another board, and about odd parts.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that cannot go on fails")]
#![allow(clippy::disallowed_methods, reason = "tests write into their own temporary folders")]

mod common;

use std::{
    path::Path,
    process::{Command, Output},
};

use rkboot::{Soc, idblock};
use serde_json::Value;

fn rkboot(folder: &Path, arguments: &str) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rkboot"));
    command.env_remove("SOURCE_DATE_EPOCH").current_dir(folder).args(arguments.split_whitespace()).output().unwrap()
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn codes(value: &Value) -> Vec<String> {
    value["findings"].as_array().unwrap().iter().map(|one| one["code"].as_str().unwrap().to_owned()).collect()
}

/// A device tree with these words in `compatible`.
fn tree(compatible: &[&str]) -> Vec<u8> {
    let mut tree = dtbtool::model::DeviceTree::new();
    tree.root_mut().set(dtbtool::model::Property::strings("compatible", compatible.iter().copied()));
    tree.to_bytes(&dtbtool::WriteOptions::default()).unwrap()
}

/// u-boot, bl31, tee, and a device tree and an idblock for each of two SoCs.
fn parts(folder: &Path) {
    let bl31 = common::elf::build(183, 0x4_0000, &[(0x4_0000, b"atf", 0x1000)]);
    for (name, bytes) in [
        ("u-boot", b"u-boot".to_vec()),
        ("bl31", bl31),
        ("other", common::elf::build(183, 0x4_0000, &[(0x4_0000, b"xyz", 0x1000), (0x8_0000, b"more", 16)])),
        ("rk3588.dtb", tree(&["acme,board", "rockchip,rk3588s"])),
        ("rk3399.dtb", tree(&["acme,old", "rockchip,rk3399"])),
    ] {
        std::fs::write(folder.join(name), bytes).unwrap();
    }
    for soc in [Soc::Rk3588, Soc::Rk3399] {
        let block = idblock::build(&idblock::Parts { soc, init: &[1; 3000], boot: Some(&[2; 3000]) }).unwrap();
        std::fs::write(folder.join(format!("{soc}.img")), block).unwrap();
        let made =
            rkboot(folder, &format!("build fit --soc {soc} --u-boot u-boot --dtb {soc}.dtb --bl31 bl31 -o {soc}.itb"));
        assert!(made.status.success() && made.stderr.is_empty(), "{made:?}");
    }
}

#[test]
fn verify_refuses_what_is_no_boot_file() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let spl = b"\0\0\0\x14U-Boot SPL 2025.01 (Jan 01 2026 - 00:00:00 +0000)\0".repeat(3);
    for (name, bytes, code) in [
        ("u-boot.itb", b"<!DOCTYPE html><html></html>".to_vec(), "BOT002"),
        ("empty", Vec::new(), "BOT001"),
        ("zeros", vec![0; 1 << 20], "BOT001"),
        ("noise", (0..4096_u32).flat_map(|n| n.wrapping_mul(0x9e37_79b9).to_be_bytes()).collect(), "BOT001"),
        ("spl.bin", spl, "BOT002"),
        ("elf", common::elf::build(183, 0x4_0000, &[(0x4_0000, b"atf", 0x1000)]), "BOT002"),
    ] {
        std::fs::write(folder.join(name), bytes).unwrap();
        let output = rkboot(folder, &format!("verify {name} --json"));
        let value = json(&output);
        assert_eq!((output.status.code(), &value["ok"]), (Some(1), &false.into()), "{name}: {output:?}");
        assert_eq!((&value["findings"][0]["code"], &value["findings"][0]["severity"]), (&code.into(), &"error".into()));
        assert_eq!(rkboot(folder, &format!("verify {name}")).status.code(), Some(1));
    }
    // Looking at something is no failure, and says what it is.
    let seen = rkboot(folder, "inspect spl.bin");
    assert_eq!(seen.status.code(), Some(0));
    let seen = text(&seen.stdout);
    assert!(seen.contains("contains:\n  SPL 2025.01, ") && seen.contains("--spl FILE"), "{seen}");
    let value = json(&rkboot(folder, "inspect spl.bin --json"));
    assert_eq!((&value["result"]["kind"], &value["result"]["contains"][0]["kind"]), (&"blob".into(), &"spl".into()));
}

#[test]
fn files_for_elsewhere_are_sound() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    parts(folder);
    let loader = rkboot::loader::sample(&std::fs::read(folder.join("rk3588.img")).unwrap());
    std::fs::write(folder.join("loader.bin"), loader).unwrap();
    let parameter = "TYPE: GPT\nCMDLINE: mtdparts=rk29xxnand:0x10000@0x8000(boot:bootable),-@0x18000(rootfs:grow)\n";
    std::fs::write(folder.join("parameter.txt"), parameter).unwrap();
    let made = rkboot(folder, "build dtbo rk3588.dtb rk3399.dtb -o dtbo.img");
    assert!(made.status.success(), "{made:?}");
    for name in ["loader.bin", "dtbo.img", "parameter.txt"] {
        let seen = rkboot(folder, &format!("verify {name}"));
        let said = text(&seen.stdout);
        assert!(seen.status.success() && said.ends_with(", sound\n"), "{said}");
    }
    let made = rkboot(folder, "build loader-image --data u-boot --load 0x200000 --copies 2 -o legacy.img");
    assert!(made.status.success(), "{made:?}");
    assert_eq!(std::fs::metadata(folder.join("legacy.img")).unwrap().len(), 2 << 20);
    let seen = rkboot(folder, "verify legacy.img");
    assert_eq!(
        (seen.status.code(), text(&seen.stdout).ends_with("LOADER image, sound\n")),
        (Some(0), true),
        "{seen:?}"
    );
    assert_eq!(rkboot(folder, "build loader-image --data u-boot --slot 1000 -o x").status.code(), Some(1));
    assert_eq!(rkboot(folder, "build dtbo -o x").status.code(), Some(2));
    for what in ["dtbo", "loader-image"] {
        let help = text(&rkboot(folder, &format!("build {what} --help")).stdout);
        assert!(help.contains("Examples:") && help.contains("Exit codes:"), "{help}");
    }
}

#[test]
fn the_wanted_soc_counts_for_every_kind() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    parts(folder);
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    std::fs::write(folder.join("loader.bin"), rkboot::loader::sample(&read("rk3588.img"))).unwrap();
    let made = rkboot(folder, "build combined --idbloader rk3588.img --fit rk3588.itb -o card.bin");
    assert!(made.status.success(), "{made:?}");
    // Both stages in one file, put together by something else.
    let mut mixed = read("rk3588.img");
    mixed.resize(0x7f_8000, 0xff);
    mixed.extend(read("rk3399.itb"));
    std::fs::write(folder.join("mixed.bin"), mixed).unwrap();
    for (arguments, exit, expected) in [
        ("rk3588.itb --soc rk3588s", 0, &[][..]),
        ("rk3588.itb --soc rk3399", 1, &["FIT050"]),
        ("loader.bin --soc rk3588", 0, &["BOT002"]),
        ("loader.bin --soc rk3568", 1, &["BOT002", "LDR020"]),
        ("card.bin --soc rk3588", 0, &[]),
        ("card.bin --soc rk3568", 1, &["FIT050"]),
        ("mixed.bin", 1, &["BOT030"]),
        ("mixed.bin --soc rk3588", 1, &["FIT050"]),
    ] {
        let output = rkboot(folder, &format!("verify {arguments} --json"));
        assert_eq!(output.status.code(), Some(exit), "{arguments}: {output:?}");
        assert_eq!(codes(&json(&output)), expected, "{arguments}");
    }
}

#[test]
fn public_files_are_for_their_soc_only() {
    let Some(root) = testkit::shared("testdata") else { return };
    for (name, soc, other, code) in [
        ("ophub/nanopc-t6-rk3588-vendor-u-boot.itb", "rk3588", "rk3399", "FIT050"),
        ("ophub/easepi-r2-rk3588-u-boot.itb", "rk3588s", "rk3568", "FIT050"),
        ("friendlyelec-sd-fuse/rk3588-MiniLoaderAll.bin", "rk3588", "rk3568", "LDR020"),
        ("friendlyelec-sd-fuse/rk3576-MiniLoaderAll.bin", "rk3576", "rk3588", "LDR020"),
    ] {
        let right = rkboot(&root, &format!("verify {name} --soc {soc} --json"));
        assert_eq!(right.status.code(), Some(0), "{name}: {right:?}");
        let wrong = rkboot(&root, &format!("verify {name} --soc {other} --json"));
        assert_eq!(wrong.status.code(), Some(1), "{name}");
        assert!(codes(&json(&wrong)).iter().any(|found| found == code), "{name}");
    }
}

#[test]
fn a_fit_is_compared_with_a_board_and_a_firmware() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    parts(folder);
    for (arguments, exit, expected) in [
        ("verify rk3588.itb --compatible acme,board --bl31 bl31", 0, &[][..]),
        ("verify rk3588.itb --compatible x,y --compatible acme,board", 0, &[]),
        ("verify rk3588.itb --compatible acme,other", 1, &["FIT024"]),
        ("inspect rk3588.itb --compatible acme,other", 0, &["FIT024"]),
        ("verify rk3588.itb --bl31 other", 0, &["FIT023", "FIT023", "FIT023"]),
        ("verify rk3588.itb --bl31 u-boot", 0, &["FIT023"]),
        ("verify rk3588.itb --bl31 missing", 3, &["SRC001"]),
        ("verify rk3588.img --compatible acme,board", 1, &["RKB001"]),
    ] {
        let output = rkboot(folder, &format!("{arguments} --json"));
        assert_eq!(output.status.code(), Some(exit), "{arguments}: {output:?}");
        assert_eq!(codes(&json(&output)), expected, "{arguments}");
    }
}

#[test]
fn odd_parts_are_named_and_the_file_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    parts(folder);
    for (name, bytes) in [
        ("ddr", &b"ddr init"[..]),
        ("spl", b"spl"),
        ("tpl", b"U-Boot TPL 2025.01 (Jan 01 2026 - 00:00:00 +0000)\0"),
        ("real-spl", b"U-Boot SPL 2025.01 (Jan 01 2026 - 00:00:00 +0000)\0"),
    ] {
        std::fs::write(folder.join(name), bytes).unwrap();
    }
    for (arguments, expected) in [
        ("idbloader --soc rk3588 --ddr ddr --spl spl", &[][..]),
        ("idbloader --soc rk3588 --ddr tpl --spl real-spl", &[]),
        ("idbloader --soc rk3588 --ddr rk3588.dtb --spl spl", &["IDB041"]),
        ("idbloader --soc rk3588 --ddr ddr --spl bl31", &["IDB041"]),
        ("idbloader --soc rk3588 --ddr real-spl --spl tpl", &["IDB041"]),
        ("fit --soc rk3588 --u-boot u-boot --dtb rk3399.dtb --bl31 bl31", &["FIT040"]),
        ("fit --soc rk3588 --u-boot real-spl --dtb rk3588.dtb --bl31 bl31", &["FIT041"]),
    ] {
        let output = rkboot(folder, &format!("build {arguments} -o out --json"));
        assert_eq!(output.status.code(), Some(0), "{arguments}: {output:?}");
        assert_eq!(codes(&json(&output)), expected, "{arguments}");
        std::fs::remove_file(folder.join("out")).unwrap();
        let output = rkboot(folder, &format!("build {arguments} -o out"));
        assert_eq!(output.stderr.is_empty(), expected.is_empty(), "{arguments}: {output:?}");
    }
    let Some(root) = testkit::shared("testdata/rkbin/bin/rk35") else { return };
    let ddr = std::fs::read_dir(&root).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let Some(ddr) = ddr.filter(|name| name.starts_with("rk3568_ddr")).min() else { return };
    let made = rkboot(
        folder,
        &format!("build idbloader --soc rk3588 --ddr {} --spl spl -o out --json", root.join(ddr).display()),
    );
    assert_eq!((made.status.code(), codes(&json(&made))), (Some(0), vec!["IDB024".to_owned()]), "{made:?}");
}

#[test]
fn only_the_first_copy_goes_into_a_file_of_both_stages() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    parts(folder);
    let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
    let (block, fit) = (read("rk3588.img"), read("rk3588.itb"));
    let mut slots = fit.clone();
    slots.resize(2 << 20, 0);
    slots.extend_from_slice(&slots.clone());
    std::fs::write(folder.join("uboot.img"), &slots).unwrap();
    let mut copies = block.clone();
    copies.resize(512 << 10, 0);
    copies.extend_from_slice(&block);
    std::fs::write(folder.join("copies.img"), &copies).unwrap();

    let plain = rkboot(folder, "build combined --idbloader rk3588.img --fit rk3588.itb -o plain.bin --json");
    assert_eq!(codes(&json(&plain)), [""; 0]);
    let made = rkboot(folder, "build combined --idbloader copies.img --fit uboot.img -o card.bin --json");
    assert_eq!(codes(&json(&made)), ["RKB002", "RKB002"]);
    // All but what the packer rounds up behind the FIT.
    assert!(read("plain.bin").starts_with(&read("card.bin")));
    let made = rkboot(folder, "build spi --soc rk3588 --idbloader copies.img --fit uboot.img -o spi.bin");
    assert!(text(&made.stderr).contains("the first of 2 copies, without padding"), "{made:?}");
    assert!((0x6_0000 + fit.len() - 512..=0x6_0000 + fit.len()).contains(&read("spi.bin").len()));

    for (arguments, words) in [
        ("combined --idbloader rk3588.img --fit rk3399.itb", "the idblock is for"),
        ("combined --idbloader rk3399.img --fit rk3588.itb", "the device tree in the FIT is for rk3588"),
        ("spi --soc rk3588 --idbloader rk3588.img --fit rk3399.itb", "the device tree in the FIT for rk3399"),
    ] {
        let refused = rkboot(folder, &format!("build {arguments} -o x --json"));
        assert_eq!(refused.status.code(), Some(1), "{arguments}");
        assert_eq!(codes(&json(&refused)), ["RKB001"]);
        let message = text(&refused.stderr);
        assert!(message.contains(words) || message.contains("FIT for rk3588"), "{message}");
        assert!(!folder.join("x").exists());
    }
}

#[test]
fn usage_errors_are_one_object_too() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in ["inspect --json", "--json build idbloader", "nothing --json", "verify x --soc rk9999 --json"] {
        let output = rkboot(folder.path(), arguments);
        let value = json(&output);
        assert_eq!((output.status.code(), codes(&value)), (Some(2), vec!["USE001".to_owned()]), "{arguments}");
        let keys: Vec<_> = value.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["command", "findings", "ok", "result", "schema"]);
    }
    let help = rkboot(folder.path(), "inspect --help --json");
    assert!(help.status.success() && text(&help.stdout).contains("Usage"));
}

#[test]
fn what_a_file_contains_is_said() {
    let Some(root) = testkit::shared("testdata") else { return };
    for (name, words) in [
        ("ophub/nanopc-t6-rk3588-vendor-u-boot.itb", &["BL31", "U-Boot 2017.09"][..]),
        ("ophub/easepi-r2-rk3588-u-boot.itb", &["BL31", "U-Boot 20"]),
        ("ophub/easepi-r2-rk3588-idbloader.img", &["DDR init v", "SPL"]),
        (
            "debian-u-boot-rockchip-2025.01-3.2/rockpro64-rk3399/u-boot-rockchip-spi.bin",
            &["U-Boot 2025.01", "SPL 2025.01"],
        ),
        ("rkbin/bin/rk35/rk3588_spl_v1.13.bin", &["SPL v1.13", "rk35/rk3588_spl_v1.13.bin"]),
        ("rkbin/bin/rk35/rk3588_bl31_v1.48.elf", &["BL31 (TF-A) v1.48"]),
        ("friendlyelec-sd-fuse/rk3588-MiniLoaderAll.bin", &["DDR init v", "usbplug", "SPL"]),
    ] {
        let seen = text(&rkboot(&root, &format!("inspect {name}")).stdout);
        let (_, contains) = seen.split_once("contains:\n").unwrap_or_else(|| panic!("{name}: {seen}"));
        for word in words {
            assert!(contains.contains(word), "{name}: {word}: {contains}");
        }
    }
}
