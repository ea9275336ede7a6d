//! What public second stages start, and what an image has to carry for them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::indexing_slicing, reason = "data of our own making")]
#![allow(clippy::disallowed_methods, reason = "tests write into their own temporary folders")]

use imgcore::Severity;
use rkboot::{
    Soc,
    flow::{
        self, Abilities, Answer, Carried, CarriedTree, EfiVariables, FirmwareKind, FirstStageKind, Medium, Scenario,
    },
    idblock,
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
    let found = abilities(MAINLINE).unwrap();
    assert_eq!(found.addresses.fdt, Some(0x1200_0000));
    // U-Boot asks `nowhere` last, so it stands for nothing beside others.
    assert_eq!((found.environment, found.soc), (vec!["MMC", "EXT4"], Some(Soc::Rk3588)));
    assert_eq!(abilities(ROCKPRO64).unwrap().environment, ["SPIFlash"]);
}

#[test]
fn the_vendor_u_boot_starts_no_efi_program() {
    let Some(found) = abilities(VENDOR) else { return };
    assert_eq!(found.kind, FirmwareKind::UBootVendor);
    assert_eq!([found.efi, found.efi_boot_manager], [Answer::No; 2]);
    assert_eq!([found.extlinux, found.boot_scripts, found.android], [Answer::Yes; 3]);
    assert_eq!(found.efi_variables, EfiVariables::None);
    assert_eq!(found.starts(), "extlinux, boot scripts, Android");

    assert_eq!(found.environment, ["nowhere"]);

    let report = flow::check(&found, &efi_image(Vec::new()));
    assert_eq!(codes(&report), ["FLW001"]);
    // Every reason at once: what starts the image would not find its variables either.
    let both = flow::check(&found, &Carried { needs_efi_variables: true, ..efi_image(Vec::new()) });
    assert_eq!(codes(&both), ["FLW001", "FLW002"]);
    let variables = both.iter().last().unwrap();
    assert!(variables.message.contains("no EFI variables") && variables.help.as_ref().unwrap().contains("GRUB"));
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

/// A U-Boot with its own tree, for this SoC.
fn uboot_for(compatible: &str) -> Vec<u8> {
    use dtbtool::{
        WriteOptions,
        model::{DeviceTree, Node, Property},
    };
    let mut tree = DeviceTree::new();
    *tree.root_mut() = Node::new("").with(Property::strings("compatible", ["maker,board", compatible]));
    let mut bytes = format!("\0{BANNER}\0bootcmd=bootflow scan\0\0").into_bytes();
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes.extend_from_slice(&tree.to_bytes(&WriteOptions::default()).unwrap());
    bytes
}

#[test]
fn stages_are_for_one_chip() {
    for (soc, compatible, found) in [
        (Soc::Rk3328, "rockchip,rk3588", &["FLW018"][..]),
        (Soc::Rk3328, "rockchip,rk3328", &[]),
        // One tag for both, and nothing else tells.
        (Soc::Rk3328, "rockchip,rk3288", &[]),
        (Soc::Rk3328, "rockchip,rk3399", &["FLW018"]),
        (Soc::Rk3588, "rockchip,rk3399", &["FLW018"]),
        (Soc::Rk3588, "rockchip,rk3568", &[]),
        (Soc::Rk3568, "rockchip,rk3566", &[]),
        (Soc::Rk3588, "rockchip,rk9999", &[]),
    ] {
        let block = idblock::build(&idblock::Parts { soc, init: b"ddr", boot: Some(b"spl") }).unwrap();
        let first = flow::first_stage(&block).unwrap();
        assert!(first.socs.contains(&soc) && first.soc.is_none(), "{first:?}");
        let second = uboot_for(compatible);
        let abilities = flow::abilities(&second).0.unwrap();
        let (_, report) = flow::scenario(Some(&first), &abilities, &second);
        assert_eq!(codes(&report), found, "{soc} {compatible}");
        assert_eq!(report.has_errors(), !found.is_empty());
    }
    // Published DDR code and the trees of SPLs tell more.
    let first = |path: &str| read(path).and_then(|bytes| flow::first_stage(&bytes)).map(|stage| stage.soc);
    for (path, soc) in [
        ("testdata/seed-nanopi-m6/idbloader.img", Soc::Rk3588),
        ("testdata/ophub/easepi-r2-rk3588-idbloader.img", Soc::Rk3588),
        ("testdata/debian-u-boot-rockchip-2025.01-3.2/rock64-rk3328/idbloader.img", Soc::Rk3328),
        (ROCKPRO64, Soc::Rk3399),
    ] {
        let Some(found) = first(path) else { return };
        assert_eq!(found, Some(soc), "{path}");
    }
    let rock64 =
        flow::first_stage(&read("testdata/debian-u-boot-rockchip-2025.01-3.2/rock64-rk3328/idbloader.img").unwrap());
    let bytes = read(MAINLINE).unwrap();
    let (_, report) = flow::scenario(rock64.as_ref(), &abilities(MAINLINE).unwrap(), &bytes);
    assert_eq!(codes(&report), ["FLW018"]);
    assert!(report.iter().next().unwrap().message.contains("for rk3328, and the second for rk3588"));
}

#[test]
fn a_chain_without_a_second_stage_starts_nothing() {
    let block = idblock::build(&idblock::Parts { soc: Soc::Rk3588, init: b"ddr", boot: Some(b"spl") }).unwrap();
    assert!(flow::abilities(&block).0.is_none());
    let report = flow::check_missing(flow::first_stage(&block).as_ref(), &efi_image(Vec::new()));
    assert_eq!((codes(&report).as_slice(), report.has_errors()), (&["FLW017"][..], true));
    assert!(flow::check_missing(None, &Carried { needs_efi_variables: true, ..Carried::default() }).is_empty());
    #[cfg(feature = "cli")]
    {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            path
        };
        let (first, trust) = (write("idbloader.img", &block), write("trust.img", b"BL3X"));
        let second = write("u-boot.bin", &uboot_for("rockchip,rk3588"));
        let other = write("other.bin", &uboot_for("rockchip,rk3328"));
        let run = |files: &[&std::path::Path], arguments: &[&str]| {
            let program = env!("CARGO_BIN_EXE_rkboot");
            let made = std::process::Command::new(program).arg("flow").args(files).args(arguments).output().unwrap();
            (made.status.code(), String::from_utf8(made.stdout).unwrap())
        };
        for (files, arguments, code, part) in [
            (&[first.as_path()][..], &["--carries", "efi"][..], 1, "FLW017"),
            (&[&trust], &["--carries", "extlinux"], 1, "FLW017"),
            (&[&first], &["--needs-efi-variables"], 1, "FLW017"),
            (&[&first], &[], 0, "none in these files"),
            (&[&first, &second], &[], 0, "mainline"),
            (&[&first, &other], &[], 1, "FLW018"),
            // Names and trees alone, without a word about ways to start.
            (&[&second], &["--dtb", "dtb/rockchip/a.dtb"], 0, "stable MAC"),
            (&[&second], &["--carries", "efi"], 1, "FLW001"),
        ] {
            let (found, text) = run(files, arguments);
            assert_eq!(found, Some(code), "{arguments:?}\n{text}");
            assert!(text.contains(part), "{arguments:?}\n{text}");
            assert!(part == "FLW001" || !text.contains("FLW001"), "{text}");
        }
    }
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
    // In a FIT the store is found at one place of the medium only.
    let fit = fit_of("data-offset", "none", &[("edk2", &volume), ("nvdata", &[0xff; 512])]);
    let block = idblock::build(&idblock::Parts { soc: Soc::Rk3588, init: b"ddr", boot: Some(b"spl") }).unwrap();
    for (block_at, fit_at, variables, found) in [
        (None, 0, EfiVariables::Unknown, &["FLW002"][..]),
        (Some(0x8000), 0x10_0000, EfiVariables::Store, &[]),
        (Some(0x8000), 0x20_0000, EfiVariables::None, &["FLW002"]),
        (Some(0), 0xf_8000, EfiVariables::Store, &[]),
        (Some(0), 0x7f_8000, EfiVariables::None, &["FLW002"]),
    ] {
        let mut file = Vec::new();
        if let Some(at) = block_at {
            file.resize(at, 0);
            file.extend_from_slice(&block);
        }
        file.resize(fit_at, 0);
        file.extend_from_slice(&fit);
        let edk2 = flow::abilities(&file).0.unwrap();
        assert_eq!((edk2.kind, edk2.efi_variables), (FirmwareKind::Edk2, variables), "{fit_at:#x}");
        assert!(edk2.evidence.iter().any(|evidence| evidence.what == "variable store"));
        let report = flow::check(&edk2, &carried);
        assert_eq!(codes(&report), found);
        assert!(report.iter().all(|finding| finding.message.contains("0x100000")), "{report:?}");
    }
    volume[60] ^= 1;
    assert_eq!(flow::abilities(&volume).0.unwrap().kind, FirmwareKind::Unknown);
}

/// A FIT with one program, whose data lies behind the tree at a multiple of 4.
fn small_fit(compression: &str, data: &[u8]) -> Vec<u8> {
    fit_of("data-offset", compression, &[("u-boot", data)])
}

/// The same with several images, whose data is found by this property.
fn fit_of(place: &str, compression: &str, programs: &[(&str, &[u8])]) -> Vec<u8> {
    use dtbtool::{
        WriteOptions,
        model::{DeviceTree, Node, Property},
    };
    let mut tree = DeviceTree::new();
    let mut images = Node::new("images");
    let mut at = if place == "data-offset" { 0 } else { 4096 };
    let mut all = Vec::new();
    for (name, data) in programs {
        let size = u32::try_from(data.len()).unwrap();
        let image = Node::new(*name)
            .with(Property::string("os", "u-boot"))
            .with(Property::string("type", "standalone"))
            .with(Property::string("compression", compression))
            .with(Property::u32("load", 0x80_0000))
            .with(Property::u32("data-size", size))
            .with(Property::u32(place, at));
        images = images.with_child(image);
        at += size;
        all.extend_from_slice(data);
    }
    let configurations = Node::new("configurations")
        .with(Property::string("default", "config-1"))
        .with_child(Node::new("config-1").with(Property::strings("loadables", ["u-boot"])));
    *tree.root_mut() = Node::new("").with_child(images).with_child(configurations);
    let mut bytes = tree.to_bytes(&WriteOptions::default()).unwrap();
    let start = if place == "data-offset" { bytes.len().next_multiple_of(4) } else { 4096 };
    bytes.resize(start, 0);
    bytes.extend_from_slice(&all);
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
    assert!(report.has_errors(), "{report:?}");
    // In one file with the first stage it is the same FIT; one that says where its data is has no base.
    let mut both = read("testdata/friendlyelec-sd-fuse/rk3588-idbloader-4e1888d5fa6c.img").unwrap();
    both.resize(0x7f_8000, 0xff);
    both.extend_from_slice(&fit);
    let found = flow::abilities(&both).0.unwrap();
    let report = flow::scenario(flow::first_stage(&both).as_ref(), &found, &both).1;
    assert_eq!(codes(&report), ["FLW014"]);
    assert_eq!(report.iter().next().unwrap().range, Some(0x7f_8004..0x7f_8008));
    let placed = fit_of("data-position", "none", &[("u-boot", program.as_bytes())]);
    let found = flow::abilities(&placed).0.unwrap();
    assert_eq!(codes(&flow::scenario(Some(&vendor), &found, &placed).1), ["FLW013"]);

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
