//! FITs that are made here, against mkimage, dumpimage, and files that others made.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails, and writes into its own temporary folder"
)]

mod common;

use std::{collections::BTreeMap, fmt::Write as _, path::Path, process::Command};

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
