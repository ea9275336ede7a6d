//! FITs that are made here, against mkimage, dumpimage, and files that others made.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails, and writes into its own temporary folder"
)]

mod common;

use std::{fmt::Write as _, path::Path, process::Command};

use common::elf;
use imgcore::{Epoch, Severity};
use proptest::prelude::*;
use rkboot::{
    ErrorKind, Soc,
    fit::{
        self,
        build::{DeviceTree, Form, HashAlgorithm, Options, Parts, Tee, plan, text_base},
    },
};

/// A device tree with a compatible string.
fn tree(board: &str) -> Vec<u8> {
    use dtbtool::model::{DeviceTree, Property};
    let mut tree = DeviceTree::new();
    tree.root_mut().set(Property::strings("compatible", [board, "rockchip,rk3588"]));
    tree.to_bytes(&dtbtool::WriteOptions::default()).unwrap()
}

/// The source from which mkimage makes what `plan` makes.
fn source(parts: &Parts<'_>, options: &Options, segments: &[(&str, u32, Option<u32>)]) -> String {
    let hash = options.hash.map_or(String::new(), |hash| format!("hash {{ algo = \"{}\"; }};", hash.name()));
    let load = options.load.unwrap();
    let mut text = format!(
        r#"/dts-v1/;
        / {{ description = "FIT image for U-Boot with bl31 (TF-A)"; #address-cells = <1>;
          images {{
            u-boot {{ description = "U-Boot"; type = "standalone"; os = "u-boot"; arch = "arm64"; compression = "none";
              load = <{load}>; entry = <{load}>; data = /incbin/("u-boot"); {hash} }};"#
    );
    for (name, load, entry) in segments {
        let (description, kind, os) = if name.starts_with("atf") {
            ("ARM Trusted Firmware", "firmware", "arm-trusted-firmware")
        } else {
            ("TEE", "tee", "tee")
        };
        let entry = entry.map_or(String::new(), |entry| format!("entry = <{entry}>;"));
        let _ = write!(
            text,
            r#"{name} {{ description = "{description}"; type = "{kind}"; arch = "arm64"; os = "{os}"; compression = "none";
              load = <{load}>; {entry} data = /incbin/("{name}"); {hash} }};"#
        );
    }
    for (tree, number) in parts.device_trees.iter().zip(1..) {
        let _ = write!(
            text,
            r#"fdt-{number} {{ description = "fdt-{}"; compression = "none"; type = "flat_dt";
              data = /incbin/("fdt-{number}"); {hash} }};"#,
            tree.name
        );
    }
    let _ = write!(text, r#"}}; configurations {{ default = "config-1";"#);
    let loadables: Vec<_> = ["u-boot"]
        .into_iter()
        .chain(segments.iter().skip(1).map(|(name, ..)| *name))
        .map(|name| format!("\"{name}\""))
        .collect();
    for (tree, number) in parts.device_trees.iter().zip(1..) {
        let compatible: Vec<_> =
            dtbtool::Fdt::parse(tree.bytes).unwrap().root().compatible().map(|name| format!("\"{name}\"")).collect();
        let _ = write!(
            text,
            r#"config-{number} {{ description = "{}.dtb"; fdt = "fdt-{number}"; firmware = "atf-1"; loadables = {};
              compatible = {}; }};"#,
            tree.name,
            loadables.join(", "),
            compatible.join(", ")
        );
    }
    text + "}; };"
}

/// Runs a tool with those beside it on the path: mkimage starts dtc.
fn run(tool: &Path, folder: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(tool);
    let beside = tool.parent().map(|folder| folder.display().to_string()).unwrap_or_default();
    command.env("PATH", format!("{beside}:{}", std::env::var("PATH").unwrap_or_default()));
    command.env("SOURCE_DATE_EPOCH", "1234567890").env("TZ", "UTC");
    testkit::run(command.current_dir(folder).args(arguments))
}

/// What dumpimage takes out of the file, by number.
fn dumped(dumpimage: &Path, folder: &Path, file: &str, number: usize) -> Vec<u8> {
    let out = format!("image-{number}");
    run(dumpimage, folder, &["-T", "flat_dt", "-p", &number.to_string(), "-o", &out, file]);
    testkit::read(folder.join(out))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn mkimage_makes_the_same_bytes(
        u_boot in 1_usize..5000,
        atf in prop::collection::vec(0_usize..3000, 1..6),
        tee in prop::option::of(1_usize..2000),
        trees in 1_usize..4,
        hash in prop::sample::select(vec![None, Some(HashAlgorithm::Sha256), Some(HashAlgorithm::Crc32)]),
        seed in any::<u64>(),
    ) {
        let (Some(mkimage), Some(dumpimage), Some(_)) =
            (testkit::tool("mkimage"), testkit::tool("dumpimage"), testkit::tool("dtc")) else { return Ok(()) };
        let mut rng = testkit::Rng::new(seed);
        let folder = tempfile::tempdir().unwrap();
        let save = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();

        let u_boot = rng.bytes(u_boot);
        save("u-boot", &u_boot);
        let atf: Vec<(u32, Vec<u8>)> = (0_u32..).zip(&atf).map(|(n, size)| (0x4_0000 + n * 0x1_0000, rng.bytes(*size))).collect();
        let bl31 = elf::build(183, 0x4_0004, &atf.iter().map(|(at, data)| (*at, data.as_slice(), 4096)).collect::<Vec<_>>());
        let mut segments = Vec::new();
        let names: Vec<String> = (1..=atf.len()).map(|n| format!("atf-{n}")).collect();
        for (index, ((at, data), name)) in atf.iter().zip(&names).enumerate() {
            save(name, data);
            segments.push((name.as_str(), *at, (index == 0).then_some(0x4_0004)));
        }
        let tee = tee.map(|size| rng.bytes(size));
        if let Some(tee) = &tee {
            save("tee-1", tee);
            segments.push(("tee-1", 0x840_0000, Some(0x840_0000)));
        }
        let trees: Vec<(String, Vec<u8>)> =
            (0..trees).map(|n| (format!("rockchip/rk3588-board{n}"), tree(&format!("acme,board{n}")))).collect();
        for ((_, bytes), number) in trees.iter().zip(1..) {
            save(&format!("fdt-{number}"), bytes);
        }
        let parts = Parts {
            soc: Soc::Rk3588,
            u_boot: &u_boot,
            device_trees: trees.iter().map(|(name, bytes)| DeviceTree { name, bytes }).collect(),
            bl31: Some(&bl31),
            tee: tee.as_ref().map(|bytes| Tee { bytes, load: None }),
        };
        let options =
            Options { hash, load: Some(0xa0_0000), timestamp: Some(Epoch(1_234_567_890)), ..Options::default() };
        let made = plan(&parts, &options).unwrap();
        let bytes = made.file.to_bytes();
        prop_assert_eq!(made.file.size(), bytes.len() as u64);

        save("x.its", source(&parts, &options, &segments).as_bytes());
        run(&mkimage, folder.path(), &["-f", "x.its", "-E", "-B", "0x200", "theirs"]);
        let theirs = testkit::read(folder.path().join("theirs"));
        prop_assert!(bytes == theirs, "{} bytes, mkimage {}", bytes.len(), theirs.len());

        // Another program finds the inputs in it.
        save("ours", &bytes);
        let listing = run(&dumpimage, folder.path(), &["-l", "ours"]);
        prop_assert!(listing.contains("Default Configuration: 'config-1'"), "{}", listing);
        prop_assert_eq!(dumped(&dumpimage, folder.path(), "ours", 0), u_boot);
        for (index, (_, data)) in atf.iter().enumerate().filter(|(_, (_, data))| !data.is_empty()) {
            prop_assert_eq!(&dumped(&dumpimage, folder.path(), "ours", index + 1), data);
        }
    }
}

/// The bytes of an image.
fn data<'a>(fit: &fit::Fit, bytes: &'a [u8], name: &str) -> &'a [u8] {
    fit.image(name).unwrap().bytes(bytes).unwrap()
}

/// TF-A as the ELF file from which the images of a FIT were cut.
fn bl31_of(fit: &fit::Fit, bytes: &[u8]) -> Vec<u8> {
    let images: Vec<_> = fit.images.iter().filter(|image| image.name.starts_with("atf-")).collect();
    let segments: Vec<_> = images
        .iter()
        .map(|image| {
            let data = image.bytes(bytes).unwrap();
            let size = u32::try_from(data.len()).unwrap().max(16);
            (u32::try_from(image.load.unwrap()).unwrap(), data, size)
        })
        .collect();
    elf::build(183, images[0].entry.map_or(segments[0].0, |entry| u32::try_from(entry).unwrap()), &segments)
}

/// What an SPL gets to know of an image.
type Seen<'a> = (&'a str, Option<&'a str>, Option<String>, Option<u64>, Option<u64>, &'a [u8]);

fn seen<'a>(fit: &'a fit::Fit, bytes: &'a [u8]) -> Vec<Seen<'a>> {
    let image = |image: &'a fit::Image| {
        let os = image.os.as_deref().map(str::to_lowercase);
        (image.name.as_str(), image.kind.as_deref(), os, image.load, image.entry, image.bytes(bytes).unwrap())
    };
    fit.images.iter().map(image).collect()
}

#[test]
fn public_mainline_fits_are_rebuilt_from_their_parts() {
    let Some(root) = testkit::shared("testdata") else { return };
    for (path, at, soc, tree) in [
        ("ophub/easepi-r2-rk3588-u-boot.itb", 0, Soc::Rk3588, "rockchip/rk3588-easepi-r2"),
        ("debian-u-boot-rockchip-2025.01-3.2/rock64-rk3328/u-boot.itb", 0, Soc::Rk3328, "rockchip/rk3328-rock64"),
        (
            "debian-u-boot-rockchip-2025.01-3.2/rockpro64-rk3399/u-boot-rockchip-spi.bin",
            0xe_0000,
            Soc::Rk3399,
            "rockchip/rk3399-rockpro64",
        ),
    ] {
        let theirs = &testkit::read(root.join(path))[at..];
        let fit = fit::parse(theirs).0.unwrap();
        let bl31 = bl31_of(&fit, theirs);
        let parts = Parts {
            soc,
            u_boot: data(&fit, theirs, "u-boot"),
            device_trees: vec![DeviceTree { name: tree, bytes: data(&fit, theirs, "fdt-1") }],
            bl31: Some(&bl31),
            tee: None,
        };
        // Where U-Boot goes is read out of it.
        let options = Options { timestamp: fit.timestamp.map(|seconds| Epoch(seconds.into())), ..Options::default() };
        let made = plan(&parts, &options).unwrap();
        assert!(made.report.is_empty(), "{path}: {:?}", made.report);
        let ours = made.file.to_bytes();
        let rebuilt = fit::parse(&ours).0.unwrap();
        assert_eq!(seen(&rebuilt, &ours), seen(&fit, theirs), "{path}");
        assert_eq!((rebuilt.hashes(), rebuilt.timestamp), (fit.hashes(), fit.timestamp), "{path}");
        assert_eq!((&rebuilt.description, &rebuilt.default), (&fit.description, &fit.default), "{path}");
        for (ours, theirs) in rebuilt.configurations.iter().zip(&fit.configurations) {
            assert_eq!((&ours.name, &ours.description), (&theirs.name, &theirs.description));
            assert_eq!(
                (&ours.firmware, &ours.loadables, &ours.fdt),
                (&theirs.firmware, &theirs.loadables, &theirs.fdt)
            );
            // U-Boot 2025.01 did not copy it yet.
            assert!(ours.compatible == theirs.compatible || theirs.compatible.is_empty());
        }
        // The data lies as binman laid it, behind a tree that lacks binman's leftovers.
        let offsets = |fit: &fit::Fit| {
            let start = |image: &fit::Image| image.data.as_ref().unwrap().1.start - fit.external_base;
            fit.images.iter().map(start).collect::<Vec<_>>()
        };
        assert_eq!(offsets(&rebuilt), offsets(&fit), "{path}");
        assert!(ours.len() <= theirs.len(), "{path}");
    }
}

#[test]
fn the_real_bl31_gives_the_images_of_the_public_fit() {
    let Some(root) = testkit::shared("testdata") else { return };
    let theirs = testkit::read(root.join("ophub/easepi-r2-rk3588-u-boot.itb"));
    let bl31 = testkit::read(root.join("rkbin/bin/rk35/rk3588_bl31_v1.48.elf"));
    let fit = fit::parse(&theirs).0.unwrap();
    let parts = Parts {
        soc: Soc::Rk3588,
        u_boot: data(&fit, &theirs, "u-boot"),
        device_trees: vec![DeviceTree { name: "x", bytes: data(&fit, &theirs, "fdt-1") }],
        bl31: Some(&bl31),
        tee: None,
    };
    let made = plan(&parts, &Options::default()).unwrap();
    assert_eq!(made.load, 0x80_0000);
    let ours = made.file.to_bytes();
    let rebuilt = fit::parse(&ours).0.unwrap();
    assert_eq!(seen(&rebuilt, &ours), seen(&fit, &theirs));
    assert!(fit::check_firmware(&rebuilt, &ours, &bl31).is_empty());
}

#[test]
fn the_public_vendor_fit_is_rebuilt_byte_for_byte_but_for_what_its_packer_counted() {
    let Some(root) = testkit::shared("testdata") else { return };
    let theirs = testkit::read(root.join("ophub/nanopc-t6-rk3588-vendor-u-boot.itb"));
    let fit = fit::parse(&theirs).0.unwrap();
    let bl31 = bl31_of(&fit, &theirs);
    let parts = Parts {
        soc: Soc::Rk3588,
        u_boot: data(&fit, &theirs, "uboot"),
        device_trees: vec![DeviceTree { name: "rk3588-nanopc-t6", bytes: data(&fit, &theirs, "fdt") }],
        bl31: Some(&bl31),
        tee: None,
    };
    let timestamp = fit.timestamp.map(|seconds| Epoch(seconds.into()));
    let made = plan(&parts, &Options { form: Form::Vendor, timestamp, ..Options::default() }).unwrap();
    let mut ours = made.file.to_bytes();
    assert_eq!(made.load, 0x20_0000);
    let facts = |bytes: &[u8]| rkboot::facts(bytes).iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(facts(&ours), facts(&theirs));
    // The vendor's mkimage counts a file of before it moved the data out; ours says where the file ends.
    let rebuilt = fit::parse(&ours).0.unwrap();
    assert_eq!(rebuilt.declared_size, u32::try_from(ours.len()).ok());
    assert_eq!((ours.len(), rebuilt.version), (theirs.len(), Some(0)));
    let size = dtbtool::Fdt::parse(&ours).unwrap().root().property("totalsize").unwrap().value_range();
    ours[size.clone()].copy_from_slice(&theirs[size]);
    let totalsize = fit.totalsize as usize;
    assert_eq!(ours[..totalsize], theirs[..totalsize]);
    // Between tree and data theirs has what was there before the tree shrank.
    assert_eq!(ours[2048..], theirs[2048..]);

    // Two slots, as the vendor's uboot.img.
    let bytes = made.file.to_bytes();
    let slots = rkboot::combined::plan_slots(&bytes, rkboot::combined::SLOT, rkboot::combined::COPIES).unwrap();
    assert_eq!(slots.size(), 4_194_304);
    let (file, report) = rkboot::examine(&slots.to_bytes(), Some(Soc::Rk3588));
    assert_eq!((file.copies.len(), file.copies_equal), (2, true));
    assert!(!report.has_errors(), "{report:?}");
}

/// Small parts that fit together.
fn parts<'a>(u_boot: &'a [u8], tree: &'a [u8], bl31: &'a [u8]) -> Parts<'a> {
    Parts {
        soc: Soc::Rk3588,
        u_boot,
        device_trees: vec![DeviceTree { name: "rk3588-board", bytes: tree }],
        bl31: Some(bl31),
        tee: None,
    }
}

fn bl31() -> Vec<u8> {
    elf::build(183, 0x4_0000, &[(0x4_0000, b"atf", 0x1_0000), (0xff10_0000, b"", 16)])
}

#[test]
fn optee_comes_in_three_forms() {
    let (tree, bl31) = (tree("acme,x"), bl31());
    let tee = elf::build(183, 0x840_0100, &[(0x840_0000, b"tee code", 0x1_0000), (0x860_0000, b"more", 4)]);
    let header = |version: u8, words: &[u32]| {
        let mut bytes = vec![b'O', b'P', b'T', b'E', version, 1, 0, 0];
        bytes.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        [bytes, b"tee code".to_vec()].concat()
    };
    let (v1, v2) = (header(1, &[8, 0, 0x0850_0000, 99, 0]), header(2, &[1, u32::MAX, u32::MAX, 0, 8]));
    let made = |soc: Soc, bytes: &[u8], load: Option<u32>, form: Form| {
        let mut parts = parts(b"u-boot", &tree, &bl31);
        parts.soc = soc;
        parts.tee = Some(Tee { bytes, load });
        let load = Some(if soc == Soc::Rk3576 { 0x40a0_0000 } else { 0xa0_0000 });
        let plan = plan(&parts, &Options { form, load, ..Options::default() }).unwrap();
        let bytes = plan.file.to_bytes();
        let fit = fit::parse(&bytes).0.unwrap();
        let tees: Vec<_> = fit
            .images
            .iter()
            .filter(|image| image.name.contains("tee"))
            .map(|image| (image.name.clone(), image.load.unwrap(), image.entry, image.bytes(&bytes).unwrap().to_vec()))
            .collect();
        (tees, fit.configurations[0].loadables.clone())
    };
    let one = |name: &str, load: u64, entry: Option<u64>, data: &[u8]| (name.to_owned(), load, entry, data.to_vec());
    let code = b"tee code";
    let (tees, loadables) = made(Soc::Rk3588, &tee, None, Form::Mainline);
    assert_eq!(tees, [one("tee-1", 0x840_0000, Some(0x840_0100), code), one("tee-2", 0x860_0000, None, b"more")]);
    assert_eq!(loadables, ["u-boot", "atf-2", "tee-1", "tee-2"]);
    for (soc, bytes, load, at) in [
        (Soc::Rk3588, &v1[..], None, 0x0850_0000),
        (Soc::Rk3588, &v2, None, 0x0840_0000),
        (Soc::Rk3588, &v1, Some(0x0900_0000), 0x0900_0000),
        (Soc::Rk3588, code, None, 0x0840_0000),
        (Soc::Rk3576, code, None, 0x4840_0000),
    ] {
        assert_eq!(made(soc, bytes, load, Form::Mainline).0, [one("tee-1", at, Some(at), code)]);
    }
    let (tees, loadables) = made(Soc::Rk3588, code, None, Form::Vendor);
    assert_eq!(tees, [one("optee", 0x0840_0000, None, code)]);
    assert_eq!(loadables, ["uboot", "atf-2", "optee"]);

    // A 32-bit SoC starts OP-TEE first, if there is one, and needs to be told where U-Boot goes.
    let mut parts = Parts { soc: Soc::Rk3288, bl31: None, ..parts(b"u-boot", &tree, &bl31) };
    let options = Options { load: Some(0x100_0000), ..Options::default() };
    for (tee, firmware, loadables) in [(None, "u-boot", vec![]), (Some(&code[..]), "op-tee", vec!["u-boot"])] {
        parts.tee = tee.map(|bytes| Tee { bytes, load: None });
        let bytes = plan(&parts, &options).unwrap().file.to_bytes();
        let fit = fit::parse(&bytes).0.unwrap();
        assert_eq!(fit.configurations[0].firmware.as_deref(), Some(firmware));
        assert_eq!(fit.configurations[0].loadables, loadables);
        assert!(fit.images.iter().all(|image| image.arch.as_deref().is_none_or(|arch| arch == "arm")));
    }
    let refused = plan(&parts, &Options::default()).unwrap_err();
    assert!(matches!(refused.kind(), ErrorKind::NoLoadAddress { soc: Soc::Rk3288 }));
}

#[test]
fn what_does_not_fit_together_is_refused_in_words() {
    let (good_tree, good_bl31) = (tree("acme,x"), bl31());
    let base = || parts(b"u-boot", &good_tree, &good_bl31);
    let for_arm = elf::build(40, 0x4_0000, &[(0x4_0000, b"x", 1)]);
    let no_segment = elf::build(183, 0, &[]);
    let high = elf::build(183, 0, &[(0x4_0000, b"x", 1)]);
    let mut above = high.clone();
    above[64 + 24 + 4] = 1; // the segment's address, bits 32 and up
    let mut cut = good_bl31.clone();
    cut.pop();
    let over = elf::build(183, 0x4_0000, &[(0x4_0000, b"x", 0x100_0000)]);
    let paged = [&b"OPTE\x01\x01\0\0"[..], &[4, 0, 0, 0], &[0; 12], &[9, 0, 0, 0], b"code"].concat();
    let short = [&b"OPTE\x01\x01\0\0"[..], &[5, 0, 0, 0], &[0; 16], b"code"].concat();
    let tee = |bytes| Parts { tee: Some(Tee { bytes, load: None }), ..base() };
    let trees = |names: &[&'static str]| Parts {
        device_trees: names.iter().map(|name| DeviceTree { name, bytes: &good_tree }).collect(),
        ..base()
    };
    let mainline = Options::default();
    let vendor = Options { form: Form::Vendor, ..mainline };
    for (parts, options, words) in [
        (Parts { u_boot: b"", ..base() }, mainline, "U-Boot is empty"),
        (Parts { bl31: None, ..base() }, mainline, "BL31 is missing: rk3588 starts U-Boot through TF-A"),
        (
            Parts { soc: Soc::Rk3288, ..base() },
            Options { load: Some(1), ..mainline },
            "32-bit cores and starts without TF-A",
        ),
        (Parts { bl31: Some(b"text"), ..base() }, mainline, "BL31: no ELF file, expected a little-endian ELF program"),
        (Parts { bl31: Some(&for_arm), ..base() }, mainline, "BL31: it is for ELF machine 40, expected 183"),
        (Parts { bl31: Some(&no_segment), ..base() }, mainline, "BL31: it has no segment to load"),
        (Parts { bl31: Some(&above), ..base() }, mainline, "its address 0x100040000 is above 4 GiB"),
        (Parts { bl31: Some(&cut), ..base() }, mainline, "behind the end of the file"),
        (
            Parts { bl31: Some(&over), ..base() },
            mainline,
            "u-boot for 0x800000..0x800006 and atf-1 for 0x40000..0x1040000 would overwrite each other",
        ),
        (tee(b""), mainline, "OP-TEE is empty"),
        (tee(&paged), mainline, "pageable part"),
        (tee(&short), mainline, "its header promises 5 bytes, the file has 4"),
        (tee(b"OPTE\x03"), mainline, "version Some(3), known are 1 and 2"),
        (trees(&[]), mainline, "the list of device trees is empty"),
        (trees(&["a", "a"]), mainline, "device tree a: it is given twice"),
        (trees(&["a", "b"]), vendor, "2 are given, the vendor's form has one"),
        (trees(&[""]), mainline, "its name is empty"),
        (Parts { device_trees: vec![DeviceTree { name: "a", bytes: b"text" }], ..base() }, mainline, "device tree a: "),
        (base(), Options { timestamp: Some(Epoch(1 << 32)), ..mainline }, "do not fit the 32-bit field"),
        (Parts { soc: Soc::Rk3576, ..base() }, mainline, "no load address for U-Boot on rk3576"),
    ] {
        let refused = plan(&parts, &options).unwrap_err().to_string();
        assert!(refused.contains(words), "{words}: {refused}");
    }
}

#[test]
fn u_boot_says_where_it_belongs() {
    let mut u_boot = vec![0x0a, 0, 0, 0x14, 0x1f, 0x20, 0x03, 0xd5, 0, 0, 0xa0, 0, 0, 0, 0, 0];
    assert_eq!(text_base(&u_boot), Some(0xa0_0000));
    assert_eq!((text_base(b"u-boot-nodtb.bin"), text_base(b"")), (None, None));
    let (tree, bl31) = (tree("acme,x"), bl31());
    let made = |u_boot: &[u8], load| {
        let plan = plan(&parts(u_boot, &tree, &bl31), &Options { load, ..Options::default() }).unwrap();
        (plan.load, plan.report.iter().map(|finding| (finding.code, finding.severity)).collect::<Vec<_>>())
    };
    assert_eq!(made(&u_boot, None), (0xa0_0000, vec![]));
    assert_eq!(made(b"other", None), (0x80_0000, vec![]));
    // What the caller says counts, and is told to be wrong.
    assert_eq!(made(&u_boot, Some(0x20_0000)), (0x20_0000, vec![("FIT037", Severity::Warning)]));
    u_boot[8..12].fill(0);
    assert_eq!(made(&u_boot, None), (0x80_0000, vec![]));
}

#[test]
fn mkimage_makes_the_same_bytes_for_32_bit_cores() {
    let (Some(mkimage), Some(dumpimage), Some(dtc)) =
        (testkit::tool("mkimage"), testkit::tool("dumpimage"), testkit::tool("dtc"))
    else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let tree = tree("acme,rk3288-board");
    for (name, bytes) in [("u-boot", b"thirty-two".as_slice()), ("tee", b"tee code"), ("fdt", &tree)] {
        std::fs::write(folder.path().join(name), bytes).unwrap();
    }
    let hash = r#"hash { algo = "sha256"; };"#;
    let its = format!(
        r#"/dts-v1/; / {{ description = "FIT image with OP-TEE"; #address-cells = <1>; images {{
            u-boot {{ description = "U-Boot"; type = "standalone"; os = "u-boot"; arch = "arm"; compression = "none";
              load = <0x1000000>; entry = <0x1000000>; data = /incbin/("u-boot"); {hash} }};
            op-tee {{ description = "OP-TEE"; type = "tee"; arch = "arm"; os = "tee"; compression = "none";
              load = <0x8400000>; entry = <0x8400000>; data = /incbin/("tee"); {hash} }};
            fdt-1 {{ description = "fdt-b"; compression = "none"; type = "flat_dt"; data = /incbin/("fdt"); {hash} }};
          }}; configurations {{ default = "config-1"; config-1 {{ description = "b.dtb"; fdt = "fdt-1";
              firmware = "op-tee"; loadables = "u-boot"; compatible = "acme,rk3288-board", "rockchip,rk3588"; }}; }}; }};"#
    );
    std::fs::write(folder.path().join("x.its"), its).unwrap();
    run(&mkimage, folder.path(), &["-f", "x.its", "-E", "-B", "0x200", "theirs"]);
    let parts = Parts {
        soc: Soc::Rk3288,
        u_boot: b"thirty-two",
        device_trees: vec![DeviceTree { name: "b", bytes: &tree }],
        bl31: None,
        tee: Some(Tee { bytes: b"tee code", load: None }),
    };
    let mut options = Options { load: Some(0x100_0000), timestamp: Some(Epoch(1_234_567_890)), ..Options::default() };
    let theirs = testkit::read(folder.path().join("theirs"));
    assert!(plan(&parts, &options).unwrap().file.to_bytes() == theirs);

    // At the first second the tree is the same but for that line, and dumpimage takes it.
    options.timestamp = Some(Epoch(0));
    let save = |name: &str, options: &Options| {
        std::fs::write(folder.path().join(name), plan(&parts, options).unwrap().file.to_bytes()).unwrap();
    };
    save("ours", &options);
    let source = |file: &str| {
        let text = run(&dtc, folder.path(), &["-q", "-I", "dtb", "-O", "dts", file]);
        text.lines().filter(|line| !line.contains("timestamp")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(source("ours"), source("theirs"));
    assert_eq!(dumped(&dumpimage, folder.path(), "ours", 1), b"tee code");
    // Without a timestamp it does not, but SPLs do.
    options.timestamp = None;
    save("bare", &options);
    assert_eq!(source("bare"), source("theirs"));
}
