//! What public second stages start, and what an image has to carry for them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::indexing_slicing, reason = "data of our own making")]
#![allow(clippy::disallowed_methods, reason = "tests write into their own temporary folders")]

use imgcore::Severity;
use rkboot::flow::{
    self, Abilities, Answer, Carried, CarriedTree, EfiVariables, FirmwareKind, FirstStageKind, Medium, Scenario,
};

const MAINLINE: &str = "testdata/ophub/easepi-r2-rk3588-u-boot.itb";
const VENDOR: &str = "testdata/ophub/nanopc-t6-rk3588-vendor-u-boot.itb";
const ROCK64: &str = "testdata/debian-u-boot-rockchip-2025.01-3.2/rock64-rk3328/u-boot.itb";
const ROCKPRO64: &str = "testdata/debian-u-boot-rockchip-2025.01-3.2/rockpro64-rk3399/u-boot-rockchip-spi.bin";

fn read(path: &str) -> Option<Vec<u8>> {
    testkit::shared(path).map(testkit::read)
}

fn abilities(path: &str) -> Option<Abilities> {
    let bytes = read(path)?;
    let (found, report) = flow::abilities(&bytes);
    assert!(report.is_empty(), "{path}: {report:?}");
    found
}

fn codes(report: &imgcore::Report) -> Vec<&'static str> {
    report.iter().map(|finding| finding.code).collect()
}

/// An image that starts by EFI, with trees at these paths.
fn efi_image(trees: Vec<CarriedTree>) -> Carried {
    Carried { efi_fallback_loader: true, trees, ..Carried::default() }
}

#[test]
fn mainline_starts_efi_programs() {
    for (path, version, fdtfile, load, mmc, tree) in [
        (
            MAINLINE,
            "U-Boot 2026.04_armbian",
            "rockchip/rk3588-easepi-r2.dtb",
            0x80_0000,
            [("mmc1", "/mmc@fe2c0000", Medium::Sd), ("mmc0", "/mmc@fe2e0000", Medium::Emmc)],
            "linkease,easepi-r2",
        ),
        (
            ROCK64,
            "U-Boot 2025.01-3.2",
            "rockchip/rk3328-rock64.dtb",
            0x20_0000,
            [("mmc1", "/mmc@ff500000", Medium::Sd), ("mmc0", "/mmc@ff520000", Medium::Emmc)],
            "pine64,rock64",
        ),
        (
            ROCKPRO64,
            "U-Boot 2025.01-3.2",
            "rockchip/rk3399-rockpro64.dtb",
            0x20_0000,
            [("mmc1", "/mmc@fe320000", Medium::Sd), ("mmc0", "/mmc@fe330000", Medium::Emmc)],
            "pine64,rockpro64-v2.1",
        ),
    ] {
        let Some(found) = abilities(path) else { return };
        assert_eq!(found.kind, FirmwareKind::UBootMainline);
        assert!(found.version.as_ref().unwrap().starts_with(version), "{:?}", found.version);
        assert_eq!([found.efi, found.efi_boot_manager, found.extlinux, found.boot_scripts], [Answer::Yes; 4]);
        assert_eq!((found.android, found.efi_variables), (Answer::No, EfiVariables::File));
        assert_eq!(found.fdtfile.as_deref(), Some(fdtfile));
        assert_eq!(found.dtb_prefixes, ["/dtb/", "/", "/dtb/current/", "/dtbs/"]);
        assert_eq!((found.load_address, found.baud), (Some(load), Some(1_500_000)));
        assert_eq!(found.stdout_path.as_deref(), Some("serial2:1500000n8"));
        for (target, (name, device, medium)) in found.targets.iter().zip(mmc) {
            assert_eq!(
                (target.name.as_str(), target.device.as_deref(), target.medium),
                (name, Some(device), Some(medium))
            );
        }
        let names: Vec<_> = found.targets.iter().skip(2).map(|target| target.name.as_str()).collect();
        assert_eq!(names, ["nvme", "scsi", "usb", "pxe", "dhcp", "spi"]);
        assert_eq!(found.tree.unwrap().compatible.first().map(String::as_str), Some(tree));
        assert_eq!(found.stable_mac, Answer::Yes);
        assert!(found.addresses.fdt.is_some() && found.addresses.kernel.is_some() && found.addresses.ramdisk.is_some());

        let bytes = read(path).unwrap();
        for evidence in &found.evidence {
            assert!(evidence.offset < bytes.len() as u64, "{evidence:?}");
        }
    }
    assert_eq!(abilities(MAINLINE).unwrap().addresses.fdt, Some(0x1200_0000));
}

#[test]
fn the_vendor_u_boot_starts_no_efi_program() {
    let Some(found) = abilities(VENDOR) else { return };
    assert_eq!(found.kind, FirmwareKind::UBootVendor);
    assert_eq!([found.efi, found.efi_boot_manager], [Answer::No; 2]);
    assert_eq!([found.extlinux, found.boot_scripts, found.android], [Answer::Yes; 3]);
    assert_eq!(found.efi_variables, EfiVariables::None);
    assert_eq!(found.starts(), "extlinux, boot scripts, Android");

    let report = flow::check(&found, &efi_image(Vec::new()));
    assert_eq!(codes(&report), ["FLW001"]);
    let finding = report.iter().next().unwrap();
    assert!(finding.message.contains("U-Boot 2017.09-armbian") && finding.message.contains("CONFIG_EFI_LOADER"));
    assert!(finding.help.as_ref().unwrap().contains("`mainline`"));

    let extlinux = Carried { extlinux: true, ..Carried::default() };
    assert!(flow::check(&found, &extlinux).is_empty());
}

#[test]
fn the_tree_has_to_have_the_name_that_is_asked_for() {
    let Some(found) = abilities(ROCKPRO64) else { return };
    let right = "/dtb/rockchip/rk3399-rockpro64.dtb";
    assert!(codes(&flow::check(&found, &efi_image(vec![CarriedTree::named(right)]))).is_empty());
    // sbc-rockchip v0.2.0 ships this one.
    let report = flow::check(&found, &efi_image(vec![CarriedTree::named("/dtb/rockchip/rk3399-rockpro64-v2.dtb")]));
    assert_eq!(codes(&report), ["FLW003"]);
    let finding = report.iter().next().unwrap();
    assert!(finding.message.contains(right) && finding.message.contains("rockpro64-v2.dtb"), "{finding}");
    assert_eq!(finding.severity, Severity::Warning);
}

#[test]
fn trees_of_other_boards_and_chips_are_told_apart() {
    let Some(found) = abilities(MAINLINE) else { return };
    let tree = |path: &str, file: &str| CarriedTree::new(path, &read(&format!("testdata/{file}")).unwrap());
    let name = "/dtb/rockchip/rk3588-easepi-r2.dtb";
    let other = tree(name, "dtb-debian-6.12.107/rk3588-rock-5b.dtb");
    assert_eq!(codes(&flow::check(&found, &efi_image(vec![other]))), ["FLW007"]);
    let chip = tree(name, "dtb-debian-6.12.107/rk3399-rockpro64.dtb");
    assert_eq!(codes(&flow::check(&found, &efi_image(vec![chip]))), ["FLW008"]);
    let mut large = CarriedTree::named(name);
    large.size = Some(flow::DTB_LIMIT + 1);
    assert_eq!(codes(&flow::check(&found, &efi_image(vec![large]))), ["FLW004"]);

    let Some(own) = abilities(ROCK64) else { return };
    let same = tree("/dtb/rockchip/rk3328-rock64.dtb", "dtb-debian-6.12.107/rk3328-rock64.dtb");
    assert!(flow::check(&own, &efi_image(vec![same])).is_empty());
}

#[test]
fn variables_that_a_running_system_sets_need_a_store() {
    let Some(found) = abilities(MAINLINE) else { return };
    let carried = Carried { needs_efi_variables: true, ..efi_image(Vec::new()) };
    let report = flow::check(&found, &carried);
    assert_eq!(codes(&report), ["FLW002"]);
    assert!(report.iter().next().unwrap().help.as_ref().unwrap().contains("GRUB"));
    let several = Carried { extlinux: true, ..efi_image(Vec::new()) };
    assert_eq!(codes(&flow::check(&found, &several)), ["FLW012"]);
}

#[test]
fn stages_make_a_scenario() {
    let first = |path: &str| read(path).and_then(|bytes| flow::first_stage(&bytes));
    let (Some(mainline), Some(vendor)) =
        (first("testdata/ophub/easepi-r2-rk3588-idbloader.img"), first("testdata/seed-nanopi-m6/idbloader.img"))
    else {
        return;
    };
    assert_eq!((mainline.kind, vendor.kind), (FirstStageKind::Mainline, FirstStageKind::Vendor));
    assert!(vendor.version.as_ref().unwrap().starts_with("U-Boot SPL 2017.09-g50821b3c8bd-241113"));
    let spi = first(ROCKPRO64).unwrap();
    assert_eq!(spi.kind, FirstStageKind::Mainline);

    let (uboot, old) = (abilities(MAINLINE).unwrap(), abilities(VENDOR).unwrap());
    let (bytes, old_bytes) = (read(MAINLINE).unwrap(), read(VENDOR).unwrap());
    for (first, second, file, scenario, found) in [
        (&mainline, &uboot, &bytes, Some(Scenario::Mainline), &[][..]),
        (&vendor, &uboot, &bytes, Some(Scenario::VendorSplHybrid), &["FLW013"]),
        (&vendor, &old, &old_bytes, Some(Scenario::Vendor), &[]),
        (&mainline, &old, &old_bytes, None, &["FLW016"]),
    ] {
        let (made, report) = flow::scenario(Some(first), second, file);
        assert_eq!((made, codes(&report).as_slice()), (scenario, found));
    }
    let mut legacy = b"LOADER  ".to_vec();
    legacy.resize(4096, 0);
    assert_eq!(codes(&flow::scenario(Some(&mainline), &uboot, &legacy).1), ["FLW015"]);
}

#[test]
fn media_before_this_one_are_named() {
    let Some(found) = abilities(MAINLINE) else { return };
    let report = flow::check_media(Some(&found), Medium::Sd);
    let message = &report.iter().next().unwrap().message;
    assert!(message.contains("SPI flash or on the eMMC") && message.contains("mmc1 (sd), mmc0 (emmc)"), "{message}");
    assert!(flow::check_media(None, Medium::Spi).is_empty());
    assert_eq!(codes(&flow::check_media(None, Medium::Nvme)), ["FLW006"]);
}

/// A U-Boot with these texts, each ending with a zero.
fn uboot(texts: &[&str]) -> Abilities {
    let mut bytes = b"\0".to_vec();
    for text in texts {
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(0);
    }
    bytes.push(0);
    flow::abilities(&bytes).0.unwrap()
}

const BANNER: &str = "U-Boot 2026.01 (Jan 01 2026 - 00:00:00 +0000)";

#[test]
fn the_boot_command_decides_which_ways_are_walked() {
    let efi = ["bootmeth_efi", "/EFI/BOOT/BOOTAA64.EFI", "bootefi", "bootmeth_extlinux"];
    for (command, answers) in [
        ("bootcmd=bootflow scan -lb", [Answer::Yes, Answer::Yes]),
        ("bootcmd=run bootit", [Answer::No, Answer::No]),
        ("bootcmd=load mmc 0 ${kernel_addr_r} a.efi; bootefi ${kernel_addr_r}", [Answer::Yes, Answer::No]),
        ("bootcmd=sysboot mmc 0 any ${scriptaddr} /extlinux/extlinux.conf", [Answer::No, Answer::Yes]),
    ] {
        let mut texts = vec![BANNER, command, "baudrate=115200", "", "gap"];
        texts.extend(efi);
        let found = uboot(&texts);
        assert_eq!([found.efi, found.extlinux], answers, "{command}");
    }
    // Only what the list names; an old distro command; a compiled-in method without its file name.
    let listed = uboot(&[
        BANNER,
        "bootcmd=bootflow scan",
        "bootmeths=extlinux",
        "",
        "x",
        "bootmeth_efi",
        "BOOTAA64.EFI",
        "bootmeth_extlinux",
    ]);
    assert_eq!([listed.efi, listed.extlinux], [Answer::No, Answer::Yes]);
    let distro = uboot(&[
        "U-Boot 2022.07 (Jul 01 2022)",
        "bootcmd=run distro_bootcmd",
        "distro_bootcmd=for target in ${boot_targets}; do run bootcmd_${target}; done",
        "scan_dev_for_efi=run boot_efi_binary",
        "efi_dtb_prefixes=/ /dtb/ /dtb/current/",
        "fdtfile=rockchip/rk3399-kobol-helios64.dtb",
        "boot_targets=mmc1 mmc0",
    ]);
    assert_eq!([distro.efi, distro.extlinux], [Answer::Yes, Answer::No]);
    assert_eq!(distro.dtb_paths().last().unwrap(), "/dtb/current/rockchip/rk3399-kobol-helios64.dtb");
    assert_eq!(distro.efi_variables, EfiVariables::None);
}

#[test]
fn what_cannot_be_told_is_said() {
    let (found, report) = flow::abilities(&[7; 4096]);
    assert_eq!((found.as_ref().unwrap().kind, codes(&report).as_slice()), (FirmwareKind::Unknown, &["FLW005"][..]));
    assert_eq!(codes(&flow::check(&found.unwrap(), &efi_image(Vec::new()))), ["FLW005"]);
    assert!(flow::abilities(&[]).0.is_none());
    assert!(flow::abilities(b"BL3X").0.is_none());

    let bare = uboot(&[
        BANNER,
        "bootcmd=bootflow scan",
        "",
        "x",
        "bootmeth_efi",
        "BOOTAA64.EFI",
        "/dtb",
        "rockchip/rk3588-rock-5b.dtb",
        "rockchip/rk3588-rock-5t.dtb",
    ]);
    assert_eq!((bare.fdtfile.as_deref(), bare.other_fdtfiles.len()), (None, 2));
    let report = flow::check(&bare, &efi_image(vec![CarriedTree::named("/dtb/rockchip/rk3588-rock-5b.dtb")]));
    assert_eq!(codes(&report), ["FLW011", "FLW009"]);
    assert!(report.iter().next().unwrap().message.contains("rk3588-rock-5t.dtb"));

    // A variant that the board tells apart at run time.
    let variants = uboot(&[
        BANNER,
        "bootcmd=bootflow scan",
        "fdtfile=rockchip/rk3588-rock-5b.dtb",
        "",
        "x",
        "bootmeth_efi",
        "BOOTAA64.EFI",
        "/dtb",
        "cpuid#",
        "rockchip/rk3588-rock-5b-plus.dtb",
    ]);
    let plus = vec![CarriedTree::named("/dtb/rockchip/rk3588-rock-5b-plus.dtb")];
    assert_eq!(codes(&flow::check(&variants, &efi_image(plus))), ["FLW011"]);
}

#[test]
fn uefi_firmware_starts_efi_programs() {
    let mut volume = vec![0_u8; 4096];
    volume[16..32].copy_from_slice(&[
        0x8d, 0x2b, 0xf1, 0xff, 0x96, 0x76, 0x8b, 0x4c, 0xa9, 0x85, 0x27, 0x47, 0x07, 0x5b, 0x4f, 0x50,
    ]);
    volume[40..44].copy_from_slice(b"_FVH");
    volume[48] = 72;
    let sum = volume[..72].chunks(2).fold(0_u16, |sum, word| sum.wrapping_add(u16::from_le_bytes([word[0], word[1]])));
    volume[50..52].copy_from_slice(&sum.wrapping_neg().to_le_bytes());
    let (found, report) = flow::abilities(&volume);
    let found = found.unwrap();
    assert!(report.is_empty());
    assert_eq!((found.kind, found.efi, found.efi_variables), (FirmwareKind::Edk2, Answer::Yes, EfiVariables::Store));
    let carried = Carried { needs_efi_variables: true, ..efi_image(Vec::new()) };
    assert!(flow::check(&found, &carried).is_empty());
    assert_eq!(flow::scenario(None, &found, &volume).0, Some(Scenario::Edk2));
    volume[60] ^= 1;
    assert_eq!(flow::abilities(&volume).0.unwrap().kind, FirmwareKind::Unknown);
}

/// A FIT with one program, whose data lies behind the tree at a multiple of 4.
fn small_fit(compression: &str, data: &[u8]) -> Vec<u8> {
    use dtbtool::{
        WriteOptions,
        model::{DeviceTree, Node, Property},
    };
    let mut tree = DeviceTree::new();
    let image = Node::new("u-boot")
        .with(Property::string("os", "u-boot"))
        .with(Property::string("type", "standalone"))
        .with(Property::string("compression", compression))
        .with(Property::u32("load", 0x80_0000))
        .with(Property::u32("data-size", u32::try_from(data.len()).unwrap()))
        .with(Property::u32("data-offset", 0));
    let configurations = Node::new("configurations")
        .with(Property::string("default", "config-1"))
        .with_child(Node::new("config-1").with(Property::strings("loadables", ["u-boot"])));
    *tree.root_mut() = Node::new("").with_child(Node::new("images").with_child(image)).with_child(configurations);
    let mut bytes = tree.to_bytes(&WriteOptions::default()).unwrap();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend_from_slice(data);
    bytes
}

#[test]
fn compressed_programs_and_misplaced_data_are_said() {
    let program = format!("\0{BANNER}\0bootcmd=bootflow scan\0\0");
    let (found, report) = flow::abilities(&small_fit("lz4", program.as_bytes()));
    assert_eq!((found.unwrap().kind, codes(&report).as_slice()), (FirmwareKind::Unknown, &["FLW010"][..]));

    let fit = small_fit("none", program.as_bytes());
    let found = flow::abilities(&fit).0.unwrap();
    assert_eq!((found.kind, found.load_address), (FirmwareKind::UBootMainline, Some(0x80_0000)));
    let Some(vendor) = read("testdata/seed-nanopi-m6/idbloader.img").and_then(|bytes| flow::first_stage(&bytes)) else {
        return;
    };
    let (made, report) = flow::scenario(Some(&vendor), &found, &fit);
    assert_eq!((made, codes(&report).as_slice()), (Some(Scenario::VendorSplHybrid), &["FLW014"][..]));

    #[cfg(feature = "cli")]
    if let (Some(gzip), Some(bytes)) = (testkit::tool("gzip"), read(MAINLINE)) {
        // The whole FIT is more than a program; it has the same texts.
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("u-boot");
        std::fs::write(&path, &bytes[2560..][..1_019_376]).unwrap();
        testkit::run(std::process::Command::new(gzip).arg(&path));
        let packed = small_fit("gzip", &testkit::read(folder.path().join("u-boot.gz")));
        let (unpacked, report) = flow::abilities(&packed);
        assert!(report.is_empty(), "{report:?}");
        let unpacked = unpacked.unwrap();
        assert_eq!(unpacked.fdtfile.as_deref(), Some("rockchip/rk3588-easepi-r2.dtb"));
        assert_eq!(unpacked.efi, Answer::Yes);
    }
}
