//! What public second stages start, and what an image has to carry for them.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

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
