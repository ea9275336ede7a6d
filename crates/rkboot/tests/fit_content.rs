//! What the images of a FIT hold: digests of what is compressed, signatures, addresses; and ELF programs.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test that cannot go on fails, and writes into its own temporary folder"
)]

mod common;

use std::process::Command;

use common::elf::{build, build_32};
use dtbtool::{
    WriteOptions,
    model::{DeviceTree, Node, Property},
};
use imgcore::Report;
use rkboot::{
    elf,
    fit::{self, HashStatus},
};

fn codes(report: &Report) -> Vec<&'static str> {
    report.iter().map(|finding| finding.code).collect()
}

/// A FIT of these images, all in configuration `conf`.
fn fit_of(images: Vec<Node>, configuration: Node) -> Vec<u8> {
    let mut node = Node::new("images");
    node.children = images;
    let configurations =
        Node::new("configurations").with(Property::string("default", "conf")).with_child(configuration);
    let mut tree = DeviceTree::new();
    *tree.root_mut() = Node::new("").with_child(node).with_child(configurations);
    tree.to_bytes(&WriteOptions::default()).unwrap()
}

fn conf() -> Node {
    Node::new("conf").with(Property::string("firmware", "uboot"))
}

fn digest_node(name: &str, algorithm: &str, value: &[u8]) -> Node {
    Node::new(name).with(Property::new("value", value)).with(Property::string("algo", algorithm))
}

fn compressed(compression: &str, data: &[u8], digests: Vec<Node>) -> Vec<u8> {
    let mut image = Node::new("uboot")
        .with(Property::new("data", data))
        .with(Property::string("compression", compression))
        .with_child(digest_node("hash", "sha256", imgcore::Digest::of(data).raw()));
    image.children.extend(digests);
    fit_of(vec![image], conf())
}

/// What a program makes of bytes.
fn filter(program: &str, arguments: &[&str], bytes: &[u8]) -> Option<Vec<u8>> {
    let program = testkit::tool(program)?;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("in"), bytes).unwrap();
    let input = std::fs::File::open(folder.path().join("in")).unwrap();
    let output = Command::new(program).args(arguments).stdin(input).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    Some(output.stdout)
}

#[cfg(feature = "codecs")]
#[test]
fn digests_are_of_what_was_packed() {
    let raw: Vec<u8> = testkit::Rng::new(1).bytes(300).repeat(200);
    let right = imgcore::Digest::of(&raw);
    for (compression, program, arguments) in [
        ("gzip", "gzip", &["-9", "-n", "-c"][..]),
        ("lzma", "xz", &["--format=lzma", "-9", "-c"]),
        ("zstd", "zstd", &["-q", "-c"]),
    ] {
        let Some(data) = filter(program, arguments, &raw) else { return };
        let sha256 = |value: &[u8]| digest_node("digest", "sha256", value);
        let bytes = compressed(compression, &data, vec![sha256(right.raw())]);
        let (fit, report) = fit::parse(&bytes);
        let image = &fit.unwrap().images[0];
        assert_eq!(codes(&report), Vec::<&str>::new(), "{compression}: {report:?}");
        assert_eq!((image.unpacked_size, image.digests[0].status), (Some(raw.len() as u64), HashStatus::Valid));

        let wrong = compressed(compression, &data, vec![sha256(&[0; 32])]);
        assert_eq!(codes(&fit::parse(&wrong).1), ["FIT034"], "{compression}");
        let unknown = compressed(compression, &data, vec![digest_node("digest", "blake2", &[0; 32])]);
        assert_eq!(codes(&fit::parse(&unknown).1), ["FIT010"], "{compression}");
        // Without a digest it is unpacked all the same: the SPL has to.
        assert_eq!(codes(&fit::parse(&compressed(compression, &data, vec![])).1), Vec::<&str>::new());
        for damaged in [&data[..data.len() / 2], &raw[..1000], b""] {
            let report = fit::parse(&compressed(compression, damaged, vec![sha256(right.raw())])).1;
            assert_eq!(codes(&report), ["FIT035"], "{compression}: {report:?}");
        }
        // A wrong hash is said once.
        let mut bytes = bytes;
        let at = usize::try_from(image.data.as_ref().unwrap().1.start).unwrap();
        bytes[at + 100] ^= 1;
        assert_eq!(codes(&fit::parse(&bytes).1), ["FIT008"], "{compression}");

        // Sixty MiB of zeros are a lot for a boot loader, more is not looked at.
        let Some(bomb) = filter(program, arguments, &vec![0; 65 << 20]) else { return };
        assert_eq!(codes(&fit::parse(&compressed(compression, &bomb, vec![sha256(right.raw())])).1), ["FIT036"]);
    }
    // U-Boot has more for kernels.
    for compression in ["bzip2", "lzo", "lz4", "none of these"] {
        let digest = digest_node("digest", "sha256", right.raw());
        assert_eq!(codes(&fit::parse(&compressed(compression, b"x", vec![digest])).1), ["FIT011"]);
        assert_eq!(codes(&fit::parse(&compressed(compression, b"x", vec![])).1), Vec::<&str>::new());
    }
}

#[cfg(feature = "codecs")]
#[test]
fn images_that_share_compressed_data_cost_a_bounded_amount_of_work() {
    // A hundred images that all claim the same 60 MiB of zeros in 60 KiB.
    let Some(bomb) = filter("gzip", &["-9", "-n", "-c"], &vec![0; 60 << 20]) else { return };
    let image = |number: u32| {
        Node::new(format!("image-{number}"))
            .with(Property::string("compression", "gzip"))
            .with(Property::u32("data-position", 0x1_0000))
            .with(Property::u32("data-size", u32::try_from(bomb.len()).unwrap()))
    };
    let mut bytes =
        fit_of((0..100).map(image).collect(), Node::new("conf").with(Property::string("firmware", "image-0")));
    assert!(bytes.len() < 0x1_0000);
    bytes.resize(0x1_0000, 0);
    bytes.extend_from_slice(&bomb);
    let (fit, report) = fit::parse(&bytes);
    assert_eq!(fit.unwrap().images.iter().filter(|image| image.unpacked_size.is_some()).count(), 1);
    assert!(codes(&report).contains(&"FIT036"));
}

#[cfg(not(feature = "codecs"))]
#[test]
fn without_decoders_digests_are_said_to_be_unchecked() {
    for compression in ["gzip", "lzma", "zstd"] {
        let bytes = compressed(compression, b"x", vec![digest_node("digest", "sha256", &[0; 32])]);
        let (fit, report) = fit::parse(&bytes);
        assert_eq!(codes(&report), ["FIT011"]);
        assert_eq!(fit.unwrap().images[0].digests[0].status, HashStatus::Unsupported);
    }
}

#[test]
fn signatures_are_told_but_not_checked() {
    let signature = |name: &str, value: &[u8]| {
        let mut node = Node::new(name)
            .with(Property::string("algo", "sha256,rsa2048"))
            .with(Property::string("key-name-hint", "dev"))
            .with(Property::strings("sign-images", ["fdt", "firmware"]));
        if !value.is_empty() {
            node = node.with(Property::new("value", value));
        }
        node
    };
    let image = Node::new("uboot").with(Property::new("data", *b"x")).with_child(signature("signature-1", &[7; 256]));
    let bytes =
        fit_of(vec![image], conf().with_child(signature("signature", &[])).with_child(Node::new("signature@2")));
    let (fit, report) = fit::parse(&bytes);
    let fit = fit.unwrap();
    let messages: Vec<_> =
        report.iter().filter(|finding| finding.code == "FIT012").map(|finding| finding.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "image uboot has a signature (sha256,rsa2048, key dev, over fdt firmware); it is not checked",
            "configuration conf has a place for a signature, which is empty (sha256,rsa2048, key dev, over fdt firmware); \
             it is not checked",
            "configuration conf has a place for a signature, which is empty (no algorithm); it is not checked",
        ]
    );
    assert!(fit.images[0].signatures[0].is_signed && !fit.configurations[0].signatures[0].is_signed);
    assert_eq!(fit.configurations[0].signatures[0].key.as_deref(), Some("dev"));
    assert_eq!(fit.configurations[0].signatures.len(), 2);
}

#[test]
fn images_that_overwrite_each_other_in_memory_are_told() {
    let image = |name: &str, load: u32, size: usize| {
        Node::new(name).with(Property::new("data", vec![1; size])).with(Property::u32("load", load))
    };
    let check = |second: u32, size: usize, loadables: &[&str]| {
        let images = vec![image("uboot", 0x1000, 0x100), image("atf", second, size)];
        let configuration = conf().with(Property::strings("loadables", loadables.iter().copied()));
        codes(&fit::parse(&fit_of(images, configuration)).1)
    };
    assert_eq!(check(0x1100, 16, &["atf"]), ["FIT009"]);
    assert_eq!(check(0x10ff, 16, &["atf"]), ["FIT009", "FIT038"]);
    assert_eq!(check(0xff8, 16, &["atf"]), ["FIT009", "FIT038"]);
    // Not together, nothing to load, the same one twice.
    assert_eq!(check(0x10ff, 16, &[]), ["FIT009"]);
    assert_eq!(check(0x10ff, 0, &["atf"]), ["FIT009"]);
    assert_eq!(check(0x2000, 16, &["uboot", "atf", "atf"]), ["FIT009"]);
}

#[test]
fn u_boot_at_a_foreign_address_is_told() {
    let check = |load: u32, kind: &str, base: u8| {
        let program = [0x0a, 0, 0, 0x14, 0x1f, 0x20, 0x03, 0xd5, 0, 0, base, 0, 0, 0, 0, 0];
        let image = Node::new("uboot")
            .with(Property::new("data", program))
            .with(Property::string("type", kind))
            .with(Property::string("os", "U-Boot"))
            .with(Property::u32("load", load));
        codes(&fit::parse(&fit_of(vec![image], conf())).1)
    };
    assert_eq!(check(0xa0_0000, "standalone", 0xa0), ["FIT009"]);
    assert_eq!(check(0x20_0000, "standalone", 0xa0), ["FIT009", "FIT037"]);
    assert_eq!(check(0x20_0000, "firmware", 0xa0), ["FIT009"]);
    assert_eq!(check(0x20_0000, "standalone", 0), ["FIT009"]);
}

#[test]
fn the_same_elf_is_read_by_readelf() {
    let (Some(readelf), Some(root)) = (testkit::tool("readelf"), testkit::shared("testdata/rkbin/bin/rk35")) else {
        return;
    };
    let path = root.join("rk3588_bl31_v1.48.elf");
    let listing = testkit::run(Command::new(readelf).args(["-hlW"]).arg(&path));
    let hex = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap();
    let rows: Vec<(u64, u64, u64, u64)> = listing
        .lines()
        .filter_map(|line| line.trim().strip_prefix("LOAD"))
        .map(|line| {
            let fields: Vec<_> = line.split_whitespace().collect();
            (hex(fields[0]), hex(fields[2]), hex(fields[3]), hex(fields[4]))
        })
        .collect();
    let bytes = testkit::read(path);
    let (elf, report) = elf::parse(&bytes);
    let elf = elf.unwrap();
    assert!(report.is_empty(), "{report:?}");
    let ours: Vec<_> = elf
        .segments
        .iter()
        .map(|segment| (segment.range.start, segment.address, segment.range.end - segment.range.start, segment.memory))
        .collect();
    assert_eq!((ours, elf.entry, elf.machine), (rows, 0x4_0000, elf::AARCH64));
}

#[test]
fn damaged_programs_are_explained() {
    type Damage<'a> = &'a dyn Fn(&mut Vec<u8>);
    let segments: &[(u32, &[u8], u32)] = &[(0x4_0000, b"code", 0x1000), (0xff10_0000, b"sram", 4), (0x5_0000, b"", 16)];
    for (is_64, sound, table, size) in
        [(true, build(183, 0x4_0000, segments), 64, 56), (false, build_32(40, 0x4_0000, segments), 52, 32)]
    {
        let (elf, report) = elf::parse(&sound);
        let elf = elf.unwrap();
        assert!(report.is_empty() && elf.is_64 == is_64 && elf.entry == 0x4_0000);
        let read: Vec<_> = elf
            .segments
            .iter()
            .map(|segment| (segment.address, segment.bytes(&sound).unwrap(), segment.memory))
            .collect();
        let expected: Vec<_> =
            segments.iter().map(|(address, data, memory)| (u64::from(*address), *data, u64::from(*memory))).collect();
        assert_eq!(read, expected);

        let address = table + if is_64 { 24 } else { 12 };
        let count = if is_64 { 56 } else { 44 };
        let damages: &[(&str, Damage<'_>, &[&str])] = &[
            ("no magic", &|b| b[0] = 0, &["FIT030"]),
            ("big-endian", &|b| b[5] = 2, &["FIT030"]),
            ("header cut", &|b| b.truncate(table - 10), &["FIT030"]),
            ("table cut", &|b| b.truncate(table + size), &["FIT030"]),
            ("empty", &Vec::clear, &["FIT030"]),
            ("data cut", &|b| b.truncate(b.len() - 1), &["FIT031"]),
            (
                "one over the other",
                &|b| b[address + size..address + size + 4].copy_from_slice(&0x4_0003_u32.to_le_bytes()),
                &["FIT032"],
            ),
            // Memory that the program clears may lie over another segment.
            (
                "cleared over the other",
                &|b| b[address + size..address + size + 4].copy_from_slice(&0x4_0004_u32.to_le_bytes()),
                &[],
            ),
            // What follows the table is no segment.
            ("too many", &|b| b[count] = 65, &["FIT033", "FIT030"]),
            ("no segments", &|b| b[count] = 0, &[]),
            ("note instead of load", &|b| b[table] = 4, &[]),
        ];
        for (name, damage, expected) in damages {
            let mut bytes = sound.clone();
            damage(&mut bytes);
            assert_eq!(codes(&elf::parse(&bytes).1), *expected, "{name}, 64-bit {is_64}");
        }
        let mut bytes = sound.clone();
        bytes.resize(8192, 0);
        bytes[count] = 65;
        assert_eq!(codes(&elf::parse(&bytes).1), ["FIT033"]);
    }
    // Sizes near the end of numbers.
    let mut bytes = build(183, 0, &[(0, b"x", 1), (0, b"y", 1)]);
    for at in [64 + 8, 64 + 32, 64 + 40, 64 + 24, 32] {
        let mut bytes = bytes.clone();
        bytes[at..at + 8].fill(0xff);
        let _ = elf::parse(&bytes);
    }
    bytes[64 + 8..64 + 16].fill(0xff);
    assert!(codes(&elf::parse(&bytes).1).contains(&"FIT031"));
}

#[test]
fn mutants_of_programs_and_compressed_images_are_survived() {
    let touch = |bytes: &[u8]| {
        let (elf, report) = elf::parse(bytes);
        for finding in &report {
            assert!(finding.range.as_ref().is_none_or(|range| range.start <= range.end) && finding.message.len() < 600);
        }
        for segment in elf.iter().flat_map(|elf| &elf.segments) {
            let _ = (segment.bytes(bytes), segment.memory_range());
        }
    };
    let segments: &[(u32, &[u8], u32)] = &[(0x4_0000, b"code", 0x1000), (0xff10_0000, b"sram", 4)];
    testkit::mutants(1, 10_000, &build(183, 0x4_0000, segments), touch);
    testkit::mutants(2, 10_000, &build_32(40, 0x4_0000, segments), touch);

    let raw = testkit::Rng::new(3).bytes(100).repeat(10);
    for (compression, program, arguments) in [
        ("gzip", "gzip", &["-n", "-c"][..]),
        ("lzma", "xz", &["--format=lzma", "-0", "-c"]),
        ("zstd", "zstd", &["-q", "-c"]),
    ] {
        let Some(data) = filter(program, arguments, &raw) else { return };
        let digest = digest_node("digest", "sha256", imgcore::Digest::of(&raw).raw());
        // Without the hash, so that what is damaged is unpacked.
        let image = Node::new("uboot")
            .with(Property::string("compression", compression))
            .with_child(digest)
            .with(Property::new("data", data));
        let bytes = fit_of(vec![image], conf());
        testkit::mutants(4, 3_000, &bytes, |bytes| {
            let _ = fit::parse(bytes);
        });
    }
}

#[test]
fn mutants_of_parts_are_refused_or_built() {
    use rkboot::{
        Soc,
        fit::build::{DeviceTree, Options, Parts, Tee, plan},
    };
    let bl31 = build(183, 0x4_0000, &[(0x4_0000, b"atf", 0x1000), (0xff10_0000, b"", 16)]);
    let tree = dtbtool::model::DeviceTree::new().to_bytes(&WriteOptions::default()).unwrap();
    let tee = [&b"OPTE\x02\x01\0\0"[..], &[1, 0, 0, 0], &[0xff; 8], &[0; 4], &[4, 0, 0, 0], b"code"].concat();
    let check = |bl31: &[u8], tree: &[u8], tee: &[u8]| {
        let parts = Parts {
            soc: Soc::Rk3588,
            u_boot: b"u-boot",
            device_trees: vec![DeviceTree { name: "x", bytes: tree }],
            bl31: Some(bl31),
            tee: Some(Tee { bytes: tee, load: None }),
        };
        match plan(&parts, &Options::default()) {
            Ok(plan) => assert_eq!(plan.file.to_bytes().len() as u64, plan.file.size()),
            Err(error) => assert!(!error.to_string().contains("fault of the program"), "{error}"),
        }
    };
    check(&bl31, &tree, &tee);
    testkit::mutants(5, 3_000, &bl31, |bytes| check(bytes, &tree, &tee));
    testkit::mutants(6, 3_000, &tree, |bytes| check(&bl31, bytes, &tee));
    testkit::mutants(7, 3_000, &tee, |bytes| check(&bl31, &tree, bytes));
}
