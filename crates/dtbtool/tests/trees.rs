//! Real trees: what they are measured to be, that writing gives the bytes that dtc gave, and what boards expect.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use dtbtool::{
    BindingGeneration, Expectations, Fdt, RULES, WriteOptions, binding_generation, check_board, devices, facts,
    model::{DeviceTree, Property},
    scan,
};
use imgcore::Severity;

#[test]
fn facts_equal_the_measured_rows() {
    let Some(folder) = testkit::shared("testdata") else { return };
    let expected = String::from_utf8(testkit::read(folder.join("expected/parse.tsv"))).unwrap();
    for tree in common::trees() {
        let wanted: Vec<&str> = expected
            .lines()
            .filter_map(|line| line.strip_prefix(&format!("{}\t", tree.file)))
            .filter(|row| row.starts_with(&format!("fdt\t{}\t", tree.offset)))
            .collect();
        let found: Vec<String> = facts(&tree.bytes, tree.offset).iter().map(ToString::to_string).collect();
        assert_eq!(found, wanted, "{}", tree.file);
    }
}

#[test]
fn writing_a_tree_gives_the_bytes_that_dtc_wrote() {
    for tree in common::trees() {
        let fdt = Fdt::parse(&tree.bytes).unwrap();
        let model = DeviceTree::from(fdt);
        let written = model.to_bytes(&WriteOptions::default()).unwrap();
        assert_eq!(DeviceTree::from(Fdt::parse(&written).unwrap()), model, "{}", tree.file);
        let original = fdt.as_bytes();
        if tree.is_board() {
            assert!(written == original, "{} differs in bytes", tree.file);
        } else {
            // Trees in overlay tables end with fill bytes, which their total size counts.
            assert!(written[8..] == original[8..written.len()], "{} differs in bytes", tree.file);
        }
    }
}

#[test]
fn trees_that_mkimage_wrote_survive_a_round_trip() {
    for tree in common::fits() {
        let model = DeviceTree::from(Fdt::parse(&tree.bytes).unwrap());
        let written = model.to_bytes(&WriteOptions::default()).unwrap();
        assert_eq!(DeviceTree::from(Fdt::parse(&written).unwrap()), model, "{}", tree.file);
        assert!(!scan(&tree.bytes).1.has_errors(), "{}", tree.file);
    }
}

#[test]
fn the_scan_of_a_real_tree_sees_what_the_strict_view_sees() {
    for tree in common::trees() {
        let fdt = Fdt::parse(&tree.bytes).unwrap();
        let (scanned, report) = scan(&tree.bytes);
        let scanned = scanned.unwrap();
        assert!(report.worst().is_none_or(|worst| worst == Severity::Info), "{}: {report:?}", tree.file);
        assert_eq!(scanned.nodes().len(), fdt.walk().count());
        for (node, (depth, strict)) in scanned.nodes().zip(fdt.walk()) {
            assert_eq!((node.name(), node.depth(), node.range().start), (strict.name(), depth, strict.offset()));
            assert!(node.properties().eq(strict.properties()), "{}", node.path());
        }
        for (_, node) in fdt.walk().step_by(17) {
            let path = fdt.path(node);
            assert_eq!(fdt.find(&path), Some(node), "{path}");
            assert_eq!(scanned.find(&path).map(|found| found.range().start), Some(node.offset()), "{path}");
        }
    }
}

#[test]
fn typed_values_of_the_seed_are_as_measured() {
    let Some(bytes) = common::board("rk3588s-nanopi-m6.dtb") else { return };
    let fdt = Fdt::parse(&bytes).unwrap();
    assert_eq!(fdt.alias("mmc2"), Some("/mmc@fe2e0000"));
    assert_eq!(fdt.find("mmc2").map(|node| node.name()), Some("mmc@fe2e0000"));
    assert!(!fdt.find("/serial@feb50000").unwrap().is_enabled());
    assert!(fdt.find("/fiq-debugger").unwrap().is_enabled());
    assert!(fdt.find("/i2c@fec80000/hym8563").unwrap().is_enabled(), "found without unit address, no status is on");
    let ethernet = fdt.find("/ethernet@fe1c0000").unwrap();
    assert_eq!(ethernet.property("tx_delay").unwrap().as_u32(), Some(0x42));
    assert_eq!(ethernet.property("clocks").unwrap().as_u32_list().unwrap().nth(1), Some(324));
    let phy = fdt.node_by_phandle(ethernet.property("phy-handle").unwrap().as_phandle().unwrap()).unwrap();
    assert_eq!(fdt.path(phy), "/ethernet@fe1c0000/mdio/phy@1");
    assert_eq!(fdt.root().compatible().collect::<Vec<_>>(), ["friendlyelec,nanopi-m6", "rockchip,rk3588"]);
    assert_eq!(fdt.memory_reservations().count(), 0);
}

#[test]
fn the_templates_of_u_boots_own_tree_are_warned_of_and_nothing_else() {
    let Some(fit) = testkit::shared("testdata/ophub/easepi-r2-rk3588-u-boot.itb") else { return };
    let bytes = testkit::read(fit);
    let (_, report) = scan(&bytes[1_288_704..]);
    let warnings: Vec<_> = report.iter().filter(|finding| finding.severity > Severity::Info).collect();
    // dtc 1.8.1 has four errors node_name_not_empty about it.
    assert_eq!(warnings.iter().map(|finding| finding.code).collect::<Vec<_>>(), ["DTB050"; 4], "{warnings:#?}");
    assert!(warnings[0].message.contains("/binman/"), "{}", warnings[0]);
}

#[test]
fn devices_are_listed_with_their_state() {
    let Some(bytes) = common::board("rk3588-rock-5b.dtb") else { return };
    let fdt = Fdt::parse(&bytes).unwrap();
    let list = |word: &str| -> Vec<(String, bool)> {
        devices(&fdt, word).into_iter().map(|device| (device.path, device.enabled)).collect()
    };
    let named = |path: &str, enabled| (path.to_owned(), enabled);
    assert_eq!(list("emmc"), [named("/mmc@fe2e0000", true)]);
    assert_eq!(list("ethernet"), [named("/ethernet@fe1c0000", false), named("/ethernet@fe1b0000", false)]);
    assert_eq!(list("nonsense"), []);
}

#[test]
fn a_tree_that_linux_does_not_take_is_an_error_for_a_board() {
    let mut tree = common::small();
    tree.root_mut().set(Property::new("large", vec![0; 2 << 20]));
    let bytes = tree.to_bytes(&WriteOptions::default()).unwrap();
    let report = check_board(&Fdt::parse(&bytes).unwrap(), &Expectations::default());
    assert_eq!(report.iter().map(|finding| finding.code).collect::<Vec<_>>(), ["DTB088"]);
    is_listed(&report);
}

/// Every finding has the level that the list of rules gives its code.
fn is_listed(report: &imgcore::Report) {
    for finding in report {
        let rule = RULES.iter().find(|(code, ..)| *code == finding.code);
        assert_eq!(rule.map(|(_, severity, _)| *severity), Some(finding.severity), "{finding}");
    }
}

fn expectations(compatible: &[&str], require: &[&str], file_name: &str) -> Expectations {
    let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    Expectations {
        compatible: owned(compatible),
        require: owned(require),
        file_name: Some(format!("rockchip/{file_name}")),
    }
}

const M6: (&[&str], &[&str]) =
    (&["friendlyarm,nanopi-m6", "friendlyelec,nanopi-m6"], &["ethernet", "sd", "nvme", "usb"]);

#[test]
fn boards_have_what_they_have() {
    let all = &["serial", "watchdog", "thermal", "sd", "usb", "leds"];
    for (file, compatible, require, infos) in [
        ("rk3588s-nanopi-m6.dtb", M6.0, M6.1, 0),
        (
            "rk3588s-nanopi-m6.dtb",
            M6.0,
            &["emmc", "sata", "hdmi", "rtc", "pmic", "spi-flash", "usb3", "gpu", "pcie", "/spi@fe2b0000"],
            0,
        ),
        ("rk3588s-nanopi-r6s.dtb", &["friendlyarm,nanopi-r6s"], &["ethernet", "emmc", "nvme", "rtc", "pmic"], 0),
        ("rk3588s-nanopi-r6c.dtb", &["friendlyarm,nanopi-r6c"], &["ethernet", "emmc", "nvme", "rtc", "pmic"], 0),
        ("rk3588s-rock-5a.dtb", &["radxa,rock-5a"], &["ethernet", "emmc", "nvme", "usb3", "pmic"], 0),
        // Its network chip is on PCIe and has no node.
        ("rk3588-rock-5b.dtb", &["radxa,rock-5b"], &["ethernet", "emmc", "nvme", "usb3", "spi-flash", "sdio"], 1),
        ("rk3588s-orangepi-5.dtb", &["xunlong,orangepi-5"], &["ethernet", "nvme", "rtc", "spi-flash"], 0),
        ("rk3399-rockpro64.dtb", &["pine64,rockpro64"], &["ethernet", "emmc", "nvme", "hdmi", "sdio", "rtc"], 0),
        ("rk3328-rock64.dtb", &["pine64,rock64"], &["ethernet", "emmc", "hdmi", "usb3"], 0),
    ] {
        let Some(bytes) = common::board(file) else { return };
        let fdt = Fdt::parse(&bytes).unwrap();
        let report = check_board(&fdt, &expectations(compatible, &[require, all].concat(), file));
        assert!(report.worst().is_none_or(|worst| worst == Severity::Info), "{file}: {report:#?}");
        assert_eq!(report.len(), infos, "{file}: {report:#?}");
        is_listed(&report);
    }
}

#[test]
fn what_a_board_lacks_is_said() {
    for (file, word, code, contains) in [
        ("rk3588s-orangepi-5.dtb", "emmc", "DTB082", "/mmc@fe2e0000 is off"),
        ("rk3588s-rock-5a.dtb", "spi-flash", "DTB082", "/spi@fe2b0000/flash@0 is off with /spi@fe2b0000"),
        ("rk3588s-rock-5a.dtb", "sata", "DTB082", "/sata@fe210000"),
        ("rk3588s-rock-5a.dtb", "rtc", "DTB081", "no such device"),
        ("rk3588-rock-5b.dtb", "hdmi", "DTB081", "no such device"),
        ("rk3328-rock64.dtb", "nvme", "DTB081", "no such device"),
        ("rk3588s-nanopi-m6.dtb", "/usbhost3_0/usb@fcd00000", "DTB082", "off with /usbhost3_0"),
        ("rk3588s-nanopi-m6.dtb", "/mmc@fe2c0001", "DTB081", "does not have"),
        ("rk3588s-nanopi-m6.dtb", "ethernt", "DTB083", "ethernt"),
    ] {
        let Some(bytes) = common::board(file) else { return };
        let report = check_board(
            &Fdt::parse(&bytes).unwrap(),
            &Expectations { require: vec![word.to_owned()], ..Expectations::default() },
        );
        is_listed(&report);
        let finding = report.iter().next().unwrap_or_else(|| panic!("{file}: {word} passes"));
        assert_eq!((finding.code, finding.severity), (code, Severity::Error), "{file}: {finding}");
        assert!(finding.message.contains(contains), "{file}: {finding}");
        assert!(finding.help.is_some(), "{finding}");
    }
}

#[test]
fn a_device_that_was_switched_off_is_named_with_the_cure() {
    let Some(bytes) = common::board("rk3588s-nanopi-m6.dtb") else { return };
    for (paths, word, severity) in [
        (&["/ethernet@fe1c0000"][..], "ethernet", Severity::Error),
        (&["/mmc@fe2c0000"], "sd", Severity::Error),
        (&["/pcie@fe190000", "/pcie@fe180000"], "nvme", Severity::Error),
        // One of two M.2 slots: the tree cannot say which one holds the drive.
        (&["/pcie@fe190000"], "nvme", Severity::Warning),
        (&["/usbdrd3_0", "/usb@fc800000", "/usb@fc840000", "/usb@fc880000", "/usb@fc8c0000"], "usb", Severity::Error),
        (&["/mmc@fe2e0000"], "emmc", Severity::Error),
        (&["/ethernet@fe1c0000"], "/ethernet@fe1c0000", Severity::Error),
        (&["/i2c@fec80000"], "rtc", Severity::Error),
    ] {
        let edited = paths
            .iter()
            .fold(bytes.clone(), |bytes, path| common::edited(&bytes, path, Property::string("status", "disabled")));
        let fdt = Fdt::parse(&edited).unwrap();
        let expected = Expectations { require: vec![word.to_owned()], ..Expectations::default() };
        let report = check_board(&fdt, &expected);
        assert_eq!(report.worst(), Some(severity), "{word}: {report:#?}");
        is_listed(&report);
        let finding = report.iter().next().unwrap();
        assert!(finding.message.contains(paths[0]), "{finding}");
        let help = finding.help.as_deref().unwrap();
        assert!(help.contains("status = \"okay\"") && help.contains(paths[0]), "{finding}");
        let range = finding.range.clone().unwrap();
        let at = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
        assert_eq!(&edited[at], b"disabled\0", "{finding}");
        // The cure cures.
        let cured =
            paths.iter().fold(edited, |bytes, path| common::edited(&bytes, path, Property::string("status", "okay")));
        assert!(check_board(&Fdt::parse(&cured).unwrap(), &expected).is_empty(), "{word}");
    }
}

#[test]
fn another_boards_tree_and_another_name_are_found() {
    let Some(bytes) = common::board("rk3588s-nanopi-r6s.dtb") else { return };
    let fdt = Fdt::parse(&bytes).unwrap();
    let codes = |compatible: &[&str], file_name: &str| -> Vec<&'static str> {
        let expected = Expectations { file_name: Some(file_name.to_owned()), ..expectations(compatible, &[], "") };
        let report = check_board(&fdt, &expected);
        is_listed(&report);
        report.iter().map(|finding| finding.code).collect()
    };
    assert_eq!(codes(M6.0, "rk3588s-nanopi-r6s.dtb"), ["DTB080"]);
    for (file_name, wanted) in [
        ("rockchip/rk3588s-nanopi-r6s.dtb", &[][..]),
        ("rk3588-nanopi-r6s.dtb", &[]),
        ("dtb/rockchip/rk3588s-friendlyarm-nanopi-r6s.dtb", &[]),
        ("rockchip/rk3588s-nanopi-m6.dtb", &["DTB086"]),
        ("rockchip/rk3399-nanopi-r6s.dtb", &["DTB087"]),
        ("rockchip/nanopi-r6s.dtb", &["DTB086"]),
        ("rockchip/rk3588s-nanopi-r6s.dts", &["DTB086"]),
        ("amlogic/rk3588s-nanopi-r6s.dtb", &["DTB086"]),
    ] {
        assert_eq!(codes(&[], file_name), wanted, "{file_name}");
    }
}

#[test]
fn the_binding_generation_is_told_by_numbers_and_by_signs() {
    for tree in common::trees() {
        let fdt = Fdt::parse(&tree.bytes).unwrap();
        let wanted = match tree.file.as_str() {
            file if file.contains("nanopi-m6") => Some(BindingGeneration::Vendor),
            _ if tree.is_board() => Some(BindingGeneration::Mainline),
            _ => None,
        };
        assert_eq!(binding_generation(&fdt), wanted, "{}", tree.file);
        if wanted.is_some() && tree.file.contains("rk3588") {
            // Without the devices whose numbers are known, the signs must say the same.
            let mut model = DeviceTree::from(fdt);
            model.root_mut().children.retain(|child| {
                !["/ethernet", "/serial@feb5", "/mmc@fe2e", "/tsadc"]
                    .iter()
                    .any(|name| child.name.starts_with(&name[1..]))
            });
            let bytes = model.to_bytes(&WriteOptions::default()).unwrap();
            assert_eq!(binding_generation(&Fdt::parse(&bytes).unwrap()), wanted, "{} by signs", tree.file);
        }
    }
}
