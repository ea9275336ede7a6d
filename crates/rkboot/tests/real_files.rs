//! Public files with independently measured results (`testdata/expected/parse.tsv`).
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{collections::BTreeMap, path::PathBuf};

use imgcore::Severity;
use rkboot::{BootFileKind, Soc, examine, facts, fit, idblock, ranges, trim};

fn testdata() -> Option<PathBuf> {
    testkit::shared("testdata")
}

#[test]
fn every_measured_fact_is_reproduced() {
    let Some(root) = testdata() else { return };
    let table = String::from_utf8(testkit::read(root.join("expected/parse.tsv"))).unwrap();
    let mut expected: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in table.lines().skip(1) {
        let (file, fact) = line.split_once('\t').unwrap();
        let rows = expected.entry(file).or_default();
        // Device trees are dtbtool's; those of a table are measured here as well.
        if !fact.starts_with("fdt\t") {
            rows.push(fact);
        }
    }
    assert_eq!(expected.values().map(Vec::len).sum::<usize>(), 135, "parse.tsv has other rows than this test knows");
    for (file, rows) in expected {
        let found: Vec<String> = facts(&testkit::read(root.join(file)))
            .iter()
            .filter(|fact| fact.kind != "fdt")
            .map(ToString::to_string)
            .collect();
        assert_eq!(found, rows, "{file}");
    }
}

fn codes(report: &imgcore::Report, least: Severity) -> Vec<&'static str> {
    report.iter().filter(|finding| finding.severity >= least).map(|finding| finding.code).collect()
}

#[test]
fn sound_files_have_no_warnings() {
    let Some(root) = testdata() else { return };
    for (path, kind, soc, end, infos) in [
        ("seed-nanopi-m6/idbloader.img", "idblock v2", Soc::Rk3588, 331_776, &["BOT006"][..]),
        ("friendlyelec-sd-fuse/rk3588-idbloader-4e1888d5fa6c.img", "idblock v2", Soc::Rk3588, 331_776, &[]),
        ("ophub/easepi-r2-rk3588-idbloader.img", "idblock v2", Soc::Rk3588, 217_088, &[]),
        ("ophub/easepi-r2-rk3588-u-boot.itb", "FIT", Soc::Rk3588, 1_444_088, &[]),
        ("ophub/nanopc-t6-rk3588-vendor-u-boot.itb", "FIT", Soc::Rk3588, 1_422_251, &["FIT012"]),
        ("debian-u-boot-rockchip-2025.01-3.2/rock64-rk3328/u-boot.itb", "FIT", Soc::Rk3328, 920_928, &[]),
        (
            "debian-u-boot-rockchip-2025.01-3.2/rock64-rk3328/idbloader.img",
            "idblock v1",
            Soc::Rk3328,
            133_120,
            &["IDB021"],
        ),
        (
            "debian-u-boot-rockchip-2025.01-3.2/rockpro64-rk3399/u-boot-rockchip-spi.bin",
            "idblock v1 and FIT",
            Soc::Rk3399,
            917_504 + 1_190_088,
            &["IDB021", "IDB037", "BOT007"],
        ),
    ] {
        let (file, report) = examine(&testkit::read(root.join(path)), Some(soc));
        assert_eq!((file.kind.describe(), file.content_end), (kind, end), "{path}");
        assert_eq!(codes(&report, Severity::Warning), Vec::<&str>::new(), "{path}: {report:?}");
        assert_eq!(codes(&report, Severity::Info), infos, "{path}");
    }
}

#[test]
fn other_files_are_named_for_what_they_are() {
    let Some(root) = testdata() else { return };
    for (path, kind, code, words) in [
        ("friendlyelec-sd-fuse/rk3588-MiniLoaderAll.bin", "loader file", "BOT002", "maskrom"),
        ("friendlyelec-sd-fuse/rk3576-MiniLoaderAll.bin", "loader file", "BOT002", "maskrom"),
        ("friendlyelec-sd-fuse/rk3588-dtbo.img", "table of device-tree overlays", "BOT002", "device-tree overlays"),
        ("friendlyelec-sd-fuse/rk3588-parameter.template", "parameter file", "BOT002", "partitions"),
        ("seed-nanopi-m6/rk3588s-nanopi-m6.dtb", "unknown", "FIT002", "no FIT"),
        ("rkbin/bin/rk35/rk3588_bl31_v1.48.elf", "part of a boot chain", "BOT002", "BL31 v1.48"),
        ("rkbin/bin/rk35/rk3588_spl_v1.13.bin", "part of a boot chain", "BOT002", "SPL v1.13"),
    ] {
        let (file, report) = examine(&testkit::read(root.join(path)), None);
        assert_eq!(file.kind.describe(), kind, "{path}");
        let finding = report.iter().next().unwrap();
        assert_eq!(finding.code, code, "{path}: {finding}");
        assert!(finding.message.contains(words), "{finding}");
        assert!(trim(&file).is_err());
    }
}

#[test]
fn the_wrong_board_is_noticed() {
    let Some(root) = testdata() else { return };
    for (path, soc, expected) in [
        ("seed-nanopi-m6/idbloader.img", Soc::Rk3568, &["IDB012", "IDB024"][..]),
        ("seed-nanopi-m6/idbloader.img", Soc::Rk3576, &["IDB024"]),
        ("seed-nanopi-m6/idbloader.img", Soc::Rk3399, &["IDB019"]),
        ("debian-u-boot-rockchip-2025.01-3.2/rock64-rk3328/idbloader.img", Soc::Rk3588, &["IDB019"]),
    ] {
        let (_, report) = examine(&testkit::read(root.join(path)), Some(soc));
        assert_eq!(codes(&report, Severity::Error), expected, "{path} for {soc}");
    }
}

#[test]
fn the_seed_says_what_it_is_made_of() {
    let Some(root) = testdata() else { return };
    let bytes = testkit::read(root.join("seed-nanopi-m6/idbloader.img"));
    let (block, report) = idblock::parse(&bytes);
    assert!(report.is_empty(), "{report:?}");
    let block = block.unwrap();
    let copies: Vec<_> = block.copies.iter().map(|copy| (copy.range.clone(), copy.identical)).collect();
    assert_eq!(copies, [(0..331_776, true), (524_288..856_064, true)]);
    let ddr = block.ddr(&bytes).unwrap();
    assert_eq!(ddr.files, ["rk3588_ddr_lp4_2112MHz_lp5_2400MHz_v1.18.bin"]);
    assert_eq!((ddr.version.as_str(), ddr.uart.unwrap().to_string().as_str()), ("v1.18", "uart2 m0 1500000 baud"));
    // Copy 1 alone is the file that FriendlyELEC publishes.
    let (file, _) = examine(&bytes, None);
    let cut = usize::try_from(trim(&file).unwrap()).unwrap();
    let published = testkit::read(root.join("friendlyelec-sd-fuse/rk3588-idbloader-4e1888d5fa6c.img"));
    assert_eq!(bytes[..cut], published);
}

/// The seed's `uboot.img` is not public; its form is: the vendor's FIT padded to 2 MiB, twice.
fn vendor_uboot() -> Option<Vec<u8>> {
    let mut slot = testkit::read(testdata()?.join("ophub/nanopc-t6-rk3588-vendor-u-boot.itb"));
    slot.resize(2 * 1024 * 1024, 0);
    Some([slot.clone(), slot].concat())
}

#[test]
fn the_vendor_uboot_is_two_slots_and_can_be_cut_to_one() {
    let Some(bytes) = vendor_uboot() else { return };
    let (file, report) = examine(&bytes, Some(Soc::Rk3588));
    assert!(!report.has_errors() && report.worst() == Some(Severity::Info), "{report:?}");
    assert_eq!(file.copies, [0..2_097_152, 2_097_152..4_194_304]);
    assert!(file.copies_equal);
    assert_eq!(trim(&file).unwrap(), 2_097_152);

    let at = 16_384 * 512;
    let labels = |written: u64| {
        let layout = ranges("uboot.img", &file, at, written);
        layout.sorted().iter().map(|part| (part.owner.clone(), part.range.clone())).collect::<Vec<_>>()
    };
    assert_eq!(
        labels(file.length),
        [("uboot.img copy 1".to_owned(), at..10_485_760), ("uboot.img copy 2".to_owned(), 10_485_760..12_582_912)]
    );
    assert_eq!(labels(2_097_152), [("uboot.img".to_owned(), at..10_485_760)]);

    // The overlay of the seed puts its entry array at LBA 20482 and its first partition at 22528.
    let mut layout = ranges("uboot.img", &file, at, file.length);
    layout.add("GPT entry array", 20_482 * 512..20_514 * 512);
    layout.add("ESP", 22_528 * 512..300_000_000);
    let overlaps: Vec<_> =
        layout.overlaps().iter().map(|pair| (pair.first.owner.clone(), pair.second.owner.clone())).collect();
    let copy = || "uboot.img copy 2".to_owned();
    assert_eq!(overlaps, [(copy(), "GPT entry array".to_owned()), (copy(), "ESP".to_owned())]);
    let mut layout = ranges("uboot.img", &file, at, trim(&file).unwrap());
    layout.add("GPT entry array", 20_482 * 512..20_514 * 512);
    assert!(layout.overlaps().is_empty());

    let facts = facts(&bytes);
    let (first, second): (Vec<_>, Vec<_>) = facts.iter().partition(|fact| fact.offset == 0);
    assert_eq!(first.len(), second.len());
    assert!(second.iter().all(|fact| fact.offset == 2_097_152));
}

#[test]
fn copies_that_differ_are_not_cut_off() {
    let Some(sound) = vendor_uboot() else { return };
    for (at, errors) in [
        (2_097_152 + 5_000, &[][..]), // data of copy 2
        (2_097_152 + 8, &[]),         // header of copy 2
        (5_000, &["FIT008"]),         // data of copy 1
    ] {
        let mut bytes = sound.clone();
        bytes[at] ^= 1;
        let (file, report) = examine(&bytes, None);
        assert!(!file.copies_equal, "byte {at}");
        assert_eq!(codes(&report, Severity::Error), errors, "byte {at}");
        assert!(codes(&report, Severity::Warning).contains(&"BOT003"), "byte {at}: {report:?}");
        let refused = trim(&file).unwrap_err().to_string();
        assert!(refused.starts_with("copies differ: copy 2 at byte 2097152"), "{refused}");
    }
    // Different padding is data that belongs to nothing, but the copies hold the same.
    let mut bytes = sound;
    bytes[4_194_000] = 1;
    let (file, report) = examine(&bytes, None);
    assert!(file.copies_equal);
    assert_eq!(codes(&report, Severity::Warning), ["BOT004"]);
}

#[test]
fn a_fit_longer_than_its_slot_is_not_cut() {
    let Some(sound) = vendor_uboot() else { return };
    // Two FITs of 1.4 MiB in slots of 1 MiB: what a packer does that does not look.
    let mut bytes = sound[..2 * 1024 * 1024].to_vec();
    bytes.copy_within(..1024 * 1024, 1024 * 1024);
    let (file, report) = examine(&bytes, None);
    assert_eq!(file.copies, [0..1_048_576, 1_048_576..2_097_152]);
    assert!(codes(&report, Severity::Error).contains(&"BOT005"), "{report:?}");
    assert!(trim(&file).is_err());
}

/// `u-boot-rockchip.bin`: idblock, ones up to `CONFIG_SPL_PAD_TO`, FIT.
fn combined(pad_to: usize) -> Option<Vec<u8>> {
    let root = testdata()?;
    let mut bytes = testkit::read(root.join("ophub/easepi-r2-rk3588-idbloader.img"));
    bytes.resize(pad_to, 0xff);
    bytes.extend(testkit::read(root.join("ophub/easepi-r2-rk3588-u-boot.itb")));
    Some(bytes)
}

#[test]
fn a_combined_file_is_idblock_padding_and_fit() {
    let Some(bytes) = combined(0x7f_8000) else { return };
    let (file, report) = examine(&bytes, Some(Soc::Rk3588));
    assert!(report.is_empty(), "{report:?}");
    let BootFileKind::Combined { idblock, idblock_range, fit, fit_range } = &file.kind else {
        panic!("{:?}", file.kind)
    };
    assert_eq!(idblock.version(), rkboot::HeaderVersion::V2);
    assert_eq!((idblock_range.clone(), fit_range.clone()), (0..217_088, 0x7f_8000..0x7f_8000 + 1_444_088));
    assert_eq!(fit.hashes(), (5, 5));
    assert_eq!((trim(&file).unwrap(), file.length), (9_800_192, 9_800_192));
    let layout = ranges("u-boot-rockchip.bin", &file, rkboot::IDBLOCK_OFFSET, file.length);
    let owners: Vec<_> = layout.sorted().iter().map(|part| (part.owner.clone(), part.range.start)).collect();
    assert_eq!(
        owners,
        [
            ("u-boot-rockchip.bin (idblock)".to_owned(), 32_768),
            ("u-boot-rockchip.bin (padding)".to_owned(), 32_768 + 217_088),
            ("u-boot-rockchip.bin (FIT)".to_owned(), rkboot::FIT_OFFSET),
            ("u-boot-rockchip.bin (padding)".to_owned(), rkboot::FIT_OFFSET + 1_444_088),
        ]
    );
    let kinds: Vec<_> = facts(&bytes).iter().map(|fact| (fact.kind, fact.offset)).collect();
    assert!(kinds.contains(&("idb-v2", 0)) && kinds.contains(&("fit", 0x7f_8000)));

    // puma-rk3399 has its FIT right behind the idblock.
    let (file, report) = examine(&combined(0x38_000).unwrap(), None);
    assert_eq!(file.kind.describe(), "idblock v2 and FIT");
    assert_eq!(codes(&report, Severity::Info), ["BOT007"]);

    // Foreign data in the padding is seen.
    let mut bytes = bytes;
    bytes[0x40_0000] = 0;
    let (_, report) = examine(&bytes, None);
    assert_eq!(codes(&report, Severity::Info), ["BOT004"]);
}

#[test]
fn an_spi_image_has_its_idblock_behind_erased_flash() {
    let Some(bytes) = combined(0x5_8000) else { return };
    let mut spi = vec![0xff; 0x8000];
    spi.extend(bytes);
    let (file, report) = examine(&spi, Some(Soc::Rk3588));
    assert_eq!(file.kind.describe(), "idblock v2 and FIT");
    let BootFileKind::Combined { idblock_range, fit_range, .. } = &file.kind else { panic!() };
    assert_eq!((idblock_range.start, fit_range.start), (0x8000, 0x6_0000));
    assert_eq!(codes(&report, Severity::Info), ["BOT007"]);
    assert!(facts(&spi).iter().any(|fact| fact.kind == "idb-v2" && fact.offset == 0x8000));
}

#[test]
fn bl31_segments_are_found_in_the_fit() {
    let Some(root) = testdata() else { return };
    let bytes = testkit::read(root.join("ophub/easepi-r2-rk3588-u-boot.itb"));
    let bl31 = testkit::read(root.join("rkbin/bin/rk35/rk3588_bl31_v1.48.elf"));
    let (fit, _) = fit::parse(&bytes);
    let report = fit::check_firmware(&fit.unwrap(), &bytes, &bl31);
    assert!(report.is_empty(), "{report:?}");
    let (vendor, _) = fit::parse(&testkit::read(root.join("ophub/nanopc-t6-rk3588-vendor-u-boot.itb")));
    let report = fit::check_firmware(&vendor.unwrap(), &bytes, &bl31);
    assert!(!report.is_empty() && report.worst() == Some(Severity::Info));
    let (fit, _) = fit::parse(&bytes);
    assert_eq!(fit::check_firmware(&fit.unwrap(), &bytes, b"text").len(), 1);
}

#[test]
fn the_device_tree_in_the_fit_is_compared_with_the_board() {
    let Some(root) = testdata() else { return };
    let bytes = testkit::read(root.join("debian-u-boot-rockchip-2025.01-3.2/rock64-rk3328/u-boot.itb"));
    let fit = fit::parse(&bytes).0.unwrap();
    assert!(fit::check_compatible(&fit, &bytes, &["x", "pine64,rock64"]).is_empty());
    let report = fit::check_compatible(&fit, &bytes, &["friendlyelec,nanopi-m6"]);
    assert_eq!(codes(&report, Severity::Warning), ["FIT024"]);
    assert!(report.iter().next().unwrap().message.contains("pine64,rock64, expected friendlyelec,nanopi-m6"));
}
