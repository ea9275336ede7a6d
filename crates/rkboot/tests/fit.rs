//! FITs of our own and of mkimage.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::process::Command;

use common::{Packing, Recipe};
use proptest::prelude::*;
use rkboot::fit::{self, DataForm, HashStatus::Valid};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn every_packing_is_understood(
        packing in prop::sample::select(vec![Packing::Inline, Packing::Mainline, Packing::Vendor, Packing::Position]),
        images in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..600), 3..6),
        gap in 0_usize..600,
        trailing in 0_usize..600,
        hashed in any::<bool>(),
    ) {
        let recipe = Recipe { packing, images: images.clone(), hashed, gap, ..Recipe::default() };
        let mut bytes = recipe.build();
        bytes.resize(bytes.len() + trailing, 0x55);
        let (fit, report) = fit::parse(&bytes);
        let fit = fit.unwrap();
        let expected = if hashed { vec![] } else { vec!["FIT009"] };
        prop_assert_eq!(report.iter().map(|finding| finding.code).collect::<Vec<_>>(), expected);
        for (image, data) in fit.images.iter().zip(&images) {
            prop_assert_eq!(image.bytes(&bytes), Some(data.as_slice()));
        }
        prop_assert_eq!(fit.hashes(), if hashed { (images.len(), images.len()) } else { (0, 0) });
        prop_assert_eq!(fit.default.as_deref(), Some("c"));
        prop_assert!(fit.end() <= bytes.len() as u64);

        let (file, _) = rkboot::examine(&bytes, None);
        prop_assert_eq!(file.copies.len(), 1);
        prop_assert!(rkboot::trim(&file).unwrap() >= fit.data_end);
    }

    /// Layouts cover what is written without gaps and without overlaps.
    #[test]
    fn ranges_cover_what_is_written(written in 0_u64..4096, start in 0_u64..1_000_000, copies in 1_usize..4) {
        let mut slot = Recipe { images: vec![vec![9; 10]; 3], packing: Packing::Inline, ..Recipe::default() }.build();
        slot.resize(1024, 0);
        let bytes = slot.repeat(copies);
        let (file, _) = rkboot::examine(&bytes, None);
        prop_assert_eq!(file.copies.len(), copies);
        let layout = rkboot::ranges("x", &file, start, written);
        prop_assert!(layout.overlaps().is_empty());
        let mut at = start;
        for part in layout.sorted() {
            prop_assert_eq!(part.range.start, at);
            at = part.range.end;
        }
        prop_assert_eq!(at, start + written);
        let named = layout.sorted().iter().filter(|part| part.owner.contains(" copy ")).count() as u64;
        let inside = written.div_ceil(1024).min(copies as u64);
        prop_assert_eq!(named, if inside > 1 { inside } else { 0 });
    }
}

#[test]
fn a_base_that_is_not_the_rule_is_found_and_told() {
    // Vendor data in a tree without `totalsize`, and the reverse.
    for (packing, code_base) in [(Packing::Mainline, 512), (Packing::Vendor, 4)] {
        let recipe = Recipe { packing, ..Recipe::default() };
        let bytes = recipe.build();
        let totalsize = u32::from_be_bytes(bytes[4..8].try_into().unwrap()) as usize;
        assert_ne!(totalsize % 512, 0);
        let rule = if packing == Packing::Vendor { 512 } else { 4 };
        let mut moved = bytes[..totalsize].to_vec();
        moved.resize(totalsize.next_multiple_of(code_base), 0);
        moved.extend_from_slice(&bytes[totalsize.next_multiple_of(rule)..]);
        moved.resize(moved.len() + 512, 0);
        let (fit, report) = fit::parse(&moved);
        let fit = fit.unwrap();
        assert_eq!(fit.hashes(), (3, 3));
        assert_eq!(fit.external_base, totalsize.next_multiple_of(code_base) as u64);
        assert_eq!(report.iter().map(|finding| finding.code).collect::<Vec<_>>(), ["FIT015"]);
    }
}

#[test]
fn what_mkimage_packs_is_verified() {
    let (Some(mkimage), Some(_), Some(root)) =
        (testkit::tool("mkimage"), testkit::tool("dtc"), testkit::shared("testdata/dtb-debian-6.12.107"))
    else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let mut rng = testkit::Rng::new(7);
    let (u_boot, atf) = (rng.bytes(3000), rng.bytes(777));
    let dtb = testkit::read(root.join("rk3328-rock64.dtb"));
    let its = r#"/dts-v1/;
        / { description = "t"; #address-cells = <1>;
          images {
            u-boot { data = /incbin/("u-boot"); type = "standalone"; os = "u-boot"; arch = "arm64"; compression = "none";
              load = <0x800000>; entry = <0x800000>;
              hash-1 { algo = "sha256"; }; hash-2 { algo = "crc32"; }; hash-3 { algo = "sha1"; }; hash-4 { algo = "sha512"; };
              hash-5 { algo = "md5"; }; hash-6 { algo = "crc16-ccitt"; }; };
            atf { data = /incbin/("atf"); type = "firmware"; os = "arm-trusted-firmware"; arch = "arm64";
              compression = "none"; load = <0x40000>; entry = <0x40000>; hash { algo = "sha384"; }; };
            fdt-1 { data = /incbin/("dtb"); type = "flat_dt"; arch = "arm64"; compression = "none"; };
          };
          configurations { default = "c"; c { description = "c"; firmware = "atf"; loadables = "u-boot"; fdt = "fdt-1"; }; };
        };"#;
    for (name, bytes) in [("u-boot", u_boot.as_slice()), ("atf", &atf), ("dtb", &dtb), ("its", its.as_bytes())] {
        write(folder.path().join(name), bytes);
    }
    for (arguments, form, base) in [
        (&[][..], DataForm::Inline, None),
        (&["-E"], DataForm::Offset, Some(4)),
        (&["-E", "-B", "0x200"], DataForm::Offset, Some(512)),
        (&["-E", "-p", "0x1000"], DataForm::Position, None),
    ] {
        let mut command = Command::new(&mkimage);
        if let Some(tools) = mkimage.parent() {
            // mkimage starts dtc through the shell.
            command.env("PATH", format!("{}:{}", tools.display(), std::env::var("PATH").unwrap_or_default()));
        }
        testkit::run(command.current_dir(folder.path()).args(["-f", "its"]).args(arguments).arg("out"));
        let bytes = testkit::read(folder.path().join("out"));
        let (fit, report) = fit::parse(&bytes);
        let fit = fit.unwrap();
        let codes: Vec<_> = report.iter().map(|finding| finding.code).collect();
        assert_eq!(codes, ["FIT009"], "{arguments:?}: {report:?}");
        assert_eq!(fit.hashes(), (7, 7));
        let statuses: Vec<_> = fit.images[0].hashes.iter().map(|hash| (hash.algorithm.as_str(), hash.status)).collect();
        assert_eq!(
            statuses,
            [
                ("sha256", Valid),
                ("crc32", Valid),
                ("sha1", Valid),
                ("sha512", Valid),
                ("md5", Valid),
                ("crc16-ccitt", Valid)
            ]
        );
        let data: Vec<_> = fit.images.iter().map(|image| image.bytes(&bytes).unwrap()).collect();
        assert_eq!(data, [&u_boot, &atf, &dtb]);
        assert_eq!(fit.images[0].data.as_ref().unwrap().0, form);
        if let Some(base) = base {
            assert_eq!(fit.external_base, u64::from(fit.totalsize).next_multiple_of(base));
        }
        // One bit of each image; the device tree has no hash, but its magic is looked at.
        for (image, code) in fit.images.iter().zip(["FIT008", "FIT008", "FIT021"]) {
            let mut damaged = bytes.clone();
            damaged[usize::try_from(image.data.as_ref().unwrap().1.start).unwrap()] ^= 1;
            let (_, report) = fit::parse(&damaged);
            assert!(report.iter().any(|finding| finding.code == code), "{}: {report:?}", image.name);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a test writes into its own temporary folder")]
fn write(path: std::path::PathBuf, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn what_is_left_out_is_missed() {
    use dtbtool::model::{DeviceTree, Node, Property};
    let fit = |image: Node, configuration: Node| {
        let mut tree = DeviceTree::new();
        let configurations = Node::new("configurations").with(Property::string("default", "c"));
        *tree.root_mut() = Node::new("")
            .with_child(Node::new("images").with_child(image))
            .with_child(configurations.with_child(configuration));
        tree.to_bytes(&dtbtool::WriteOptions::default()).unwrap()
    };
    let full = || Node::new("u-boot").with(Property::new("data", *b"code"));
    let runs = || Node::new("c").with(Property::string("loadables", "u-boot"));
    for (image, configuration, expected) in [
        (full(), runs(), None),
        (Node::new("u-boot"), runs(), Some("FIT014")),
        (full(), Node::new("c").with(Property::string("description", "x")), Some("FIT020")),
    ] {
        let (_, report) = fit::parse(&fit(image, configuration));
        let codes: Vec<_> = report.iter().map(|finding| finding.code).filter(|code| *code != "FIT009").collect();
        assert_eq!(codes, Vec::from_iter(expected), "{report:?}");
    }
}
