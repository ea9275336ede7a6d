//! Damage, made for a purpose and at random.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use common::{Config, Packing, Recipe};
use imgcore::Report;
use rkboot::{RULES, Soc, examine, facts, fit, idblock, ranges, trim};

/// Finds codes, and that each is listed with its severity.
fn codes(report: &Report) -> Vec<&'static str> {
    for finding in report {
        let rule = RULES.iter().find(|(code, ..)| *code == finding.code);
        assert!(rule.is_some_and(|(_, severity, _)| *severity == finding.severity), "{finding}");
        assert!(finding.message.len() < 600, "{finding}");
        if let Some(range) = &finding.range {
            assert!(range.start <= range.end, "{finding}");
        }
    }
    report.iter().map(|finding| finding.code).collect()
}

fn block() -> Vec<u8> {
    let parts = idblock::Parts { soc: Soc::Rk3588, init: &[0x11; 5000], boot: Some(&[0x22; 9000]) };
    idblock::build(&parts).unwrap()
}

/// Sets the header hash to that of the header, so that a test reaches what lies behind it.
fn seal(bytes: &mut [u8]) {
    let digest = imgcore::Digest::of(&bytes[..0x600]);
    bytes[0x600..0x620].copy_from_slice(digest.raw());
}

fn put32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

#[test]
fn codes_are_unique_and_well_formed() {
    let mut seen = std::collections::BTreeSet::new();
    for (code, _, meaning) in RULES {
        let (letters, digits) = code.split_at(3);
        assert!(
            ["IDB", "FIT", "BOT", "LDR", "LEG", "FLW", "RKB"].contains(&letters)
                && digits.len() == 3
                && digits.parse::<u16>().is_ok(),
            "{code}"
        );
        assert!(seen.insert(code), "{code} twice");
        assert!(!meaning.is_empty() && !meaning.ends_with('.'), "{code}");
    }
}

#[test]
fn damaged_idblocks_are_explained() {
    type Damage = fn(&mut Vec<u8>);
    let table: &[(&str, Damage, &[&str])] = &[
        ("sound", |_| {}, &[]),
        ("byte in the header", |b| b[0x70] ^= 1, &["IDB005"]),
        ("byte in the header hash", |b| b[0x600] ^= 1, &["IDB005"]),
        (
            "byte of an entry's hash",
            |b| {
                b[0x78 + 24] ^= 1;
                seal(b);
            },
            &["IDB009"],
        ),
        ("byte of the payload", |b| b[2048 + 4999] ^= 1, &["IDB009"]),
        ("byte of the padding", |b| b[2048 + 5001] ^= 1, &["IDB009"]),
        (
            "no images",
            |b| {
                put32(b, 8, 0x0180);
                seal(b);
            },
            &["IDB002", "IDB011", "IDB011", "IDB016"],
        ),
        (
            "five images",
            |b| {
                put32(b, 8, 0x0005_0180);
                seal(b);
            },
            &["IDB002", "IDB006", "IDB006", "IDB023", "IDB023", "IDB022"],
        ),
        (
            "65535 images",
            |b| {
                put32(b, 8, 0xffff_0180);
                seal(b);
            },
            &["IDB002", "IDB006", "IDB006", "IDB023", "IDB023", "IDB022"],
        ),
        (
            "hash elsewhere",
            |b| {
                put32(b, 8, 0x0002_0181);
                seal(b);
            },
            &["IDB003"],
        ),
        (
            "hash kind 3",
            |b| {
                put32(b, 12, 3);
                seal(b);
            },
            &["IDB004"],
        ),
        (
            "no hash",
            |b| {
                put32(b, 12, 0);
                seal(b);
            },
            &["IDB017"],
        ),
        (
            "image inside the header",
            |b| {
                put32(b, 0x78, 0x000c_0002);
                seal(b);
            },
            &["IDB006", "IDB009"],
        ),
        (
            "images overlap",
            |b| {
                put32(b, 0x78 + 88, 0x0014_0008);
                seal(b);
            },
            &["IDB008", "IDB009", "IDB016"],
        ),
        (
            "image behind the end",
            |b| {
                put32(b, 0x78 + 88, 0x0014_ffff);
                seal(b);
            },
            &["IDB007"],
        ),
        (
            "largest image",
            |b| {
                put32(b, 0x78 + 88, 0xffff_ffff);
                seal(b);
            },
            &["IDB007", "IDB013"],
        ),
        (
            "first image behind the end",
            |b| {
                put32(b, 0x78, 0x0014_8000);
                seal(b);
            },
            &["IDB007"],
        ),
        (
            "unused entry",
            |b| {
                b[0x78 + 2 * 88] = 1;
                seal(b);
            },
            &["IDB011"],
        ),
        (
            "counter",
            |b| {
                b[0x78 + 12] = 7;
                seal(b);
            },
            &["IDB023"],
        ),
        ("truncated, clean", |b| b.truncate(2048 + 6144 + 9000), &["IDB010"]),
        ("truncated", |b| b.truncate(2048 + 6144 + 8999), &["IDB007"]),
        ("first image cut", |b| b.truncate(2048 + 5000), &["IDB007", "IDB007"]),
        ("header cut", |b| b.truncate(2047), &["IDB001"]),
        ("magic", |b| b[0] = b'X', &["IDB001"]),
        ("empty", Vec::clear, &["IDB001"]),
        ("signed", |b| b[..4].copy_from_slice(b"RKSS"), &["IDB018"]),
        ("data behind", |b| b.push(7), &["IDB016"]),
        ("fill behind", |b| b.resize(99_999, 0xff), &[]),
    ];
    let mut wrong = Vec::new();
    for (name, damage, expected) in table {
        let mut bytes = block();
        damage(&mut bytes);
        let found = codes(&idblock::parse(&bytes).1);
        if found != *expected {
            wrong.push(format!("{name}: {found:?}"));
        }
        let _ = examine(&bytes, Some(Soc::Rk3576));
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn sha512_blocks_are_verified() {
    use sha2::Digest as _;
    let mut bytes = block();
    bytes[12] = 2;
    for (entry, range) in [(0x78, 2048..2048 + 6144), (0x78 + 88, 2048 + 6144..2048 + 6144 + 10_240)] {
        let hash = sha2::Sha512::digest(&bytes[range]);
        bytes[entry + 24..entry + 88].copy_from_slice(&hash);
    }
    let hash = sha2::Sha512::digest(&bytes[..0x600]);
    bytes[0x600..0x640].copy_from_slice(&hash);
    assert!(idblock::parse(&bytes).1.is_empty());
    assert!(facts(&bytes)[5].value.contains(" sha512="));
    bytes[3000] ^= 1;
    assert_eq!(codes(&idblock::parse(&bytes).1), ["IDB009"]);
}

#[test]
fn copies_of_idblocks_are_compared() {
    let one = block();
    let two = |copy: &[u8], at: usize| {
        let mut bytes = one.clone();
        bytes.resize(at, 0);
        bytes.extend_from_slice(copy);
        bytes
    };
    let stride = 512 * 1024;
    assert_eq!(codes(&idblock::parse(&two(&one, stride)).1), Vec::<&str>::new());
    let (file, report) = examine(&two(&one, stride), None);
    assert_eq!((codes(&report), file.copies_equal, trim(&file).unwrap()), (vec!["BOT006"], true, one.len() as u64));

    let mut other = one.clone();
    other[3000] ^= 1;
    for damaged in [&other, &{
        let mut other = one.clone();
        other[1] = b'x';
        other
    }] {
        let bytes = two(damaged, stride);
        assert_eq!(codes(&idblock::parse(&bytes).1), ["IDB015"]);
        let (file, report) = examine(&bytes, None);
        assert_eq!(codes(&report), ["IDB015", "BOT006"]);
        assert!(report.iter().next().unwrap().message.contains("damaged itself"));
        assert!(!file.copies_equal && trim(&file).is_err());
    }
    // A sound block of other code.
    let parts = idblock::Parts { soc: Soc::Rk3588, init: b"other", boot: Some(b"other") };
    let (_, report) = examine(&two(&idblock::build(&parts).unwrap(), 2 * stride), None);
    assert!(report.iter().next().unwrap().message.contains("sound itself"), "{report:?}");
    // Not at a multiple of 512 KiB: no BootROM looks there.
    assert_eq!(codes(&idblock::parse(&two(&one, stride + 512)).1), ["IDB016"]);

    // A block that is longer than the way to its copy.
    let parts = idblock::Parts { soc: Soc::Rk3588, init: b"x", boot: Some(&vec![5; 600_000]) };
    let mut long = idblock::build(&parts).unwrap();
    long[stride..stride + one.len()].copy_from_slice(&one);
    assert_eq!(codes(&idblock::parse(&long).1), ["IDB009", "IDB013", "IDB014"]);
}

#[test]
fn rk3576_blocks_of_three_images_are_read() {
    // Boost, DDR and SPL at 4 KiB alignment, as the vendor packs them.
    let images: [(u32, u32, u32); 3] =
        [(0x1000, 0x1000, 0x3ffc_0000), (0x2000, 0x1_3000, 0x3ff8_1000), (0x1_5000, 0x2000, u32::MAX)];
    let mut bytes = vec![0; 0x1_7000];
    bytes[..4].copy_from_slice(b"RKNS");
    put32(&mut bytes, 8, 0x0003_0180);
    put32(&mut bytes, 12, 1);
    put32(&mut bytes, 0x60, 0x100);
    for ((offset, size, load), number) in images.into_iter().zip(1_u8..) {
        let range = offset as usize..(offset + size) as usize;
        bytes[range.clone()].fill(number);
        let digest = imgcore::Digest::of(&bytes[range]);
        let entry = 0x78 + usize::from(number - 1) * 88;
        put32(&mut bytes, entry, ((size / 512) << 16) | (offset / 512));
        put32(&mut bytes, entry + 4, load);
        put32(&mut bytes, entry + 12, u32::from(number));
        bytes[entry + 24..entry + 56].copy_from_slice(digest.raw());
    }
    seal(&mut bytes);
    let (block, report) = idblock::parse_for(&bytes, Some(Soc::Rk3576));
    assert!(report.is_empty(), "{report:?}");
    assert_eq!(block.unwrap().images.len(), 3);
    put32(&mut bytes, 0x78 + 4, 0);
    seal(&mut bytes);
    assert_eq!(codes(&idblock::parse_for(&bytes, Some(Soc::Rk3576)).1), ["IDB043", "IDB020"]);
    assert_eq!(codes(&idblock::parse(&bytes).1), ["IDB043"]);
    assert_eq!(codes(&idblock::parse_for(&block_of_two(), Some(Soc::Rk3576)).1), ["IDB020"]);
}

fn block_of_two() -> Vec<u8> {
    block()
}

/// Overwrites a property's value where it lies.
fn patch(bytes: &mut [u8], path: &str, property: &str, value: &[u8]) {
    let range = dtbtool::Fdt::parse(bytes).unwrap().find(path).unwrap().property(property).unwrap().value_range();
    assert_eq!(range.len(), value.len(), "{path}/{property}");
    bytes[range].copy_from_slice(value);
}

#[test]
fn damaged_fits_are_explained() {
    type Damage = fn(&mut Vec<u8>);
    let table: &[(&str, Damage, &[&str])] = &[
        ("sound", |_| {}, &[]),
        ("hash", |b| patch(b, "/images/image-1/hash", "value", &[0; 32]), &["FIT008"]),
        (
            "data",
            |b| {
                let at = b.len() - 1;
                b[at] ^= 1;
            },
            &["FIT008"],
        ),
        (
            "cut",
            |b| {
                b.pop();
            },
            &["FIT006", "FIT016"],
        ),
        ("tree cut", |b| b.truncate(300), &["FIT001"]),
        ("totalsize of the tree", |b| b[4] = 0xff, &["FIT001"]),
        ("no magic", |b| b[0] = 0, &["FIT001"]),
        ("empty", Vec::clear, &["FIT001"]),
        ("data-offset near 4 GiB", |b| patch(b, "/images/image-1", "data-offset", &[0xff; 4]), &["FIT006", "FIT016"]),
        (
            "data-size near 4 GiB",
            |b| patch(b, "/images/image-1", "data-size", &[0xff; 4]),
            &["FIT006", "FIT007", "FIT016"],
        ),
        ("overlap", |b| patch(b, "/images/image-1", "data-offset", &1_u32.to_be_bytes()), &["FIT007", "FIT008"]),
        ("totalsize too small", |b| patch(b, "/", "totalsize", &[0; 4]), &["FIT016"]),
        ("totalsize too large", |b| patch(b, "/", "totalsize", &[0xff; 4]), &["FIT016"]),
        ("default", |b| patch(b, "/configurations", "default", b"x\0"), &["FIT004"]),
        ("default not text", |b| patch(b, "/configurations", "default", b"xx"), &["FIT019"]),
        ("firmware", |b| patch(b, "/configurations/c", "firmware", b"image-9\0"), &["FIT005"]),
        ("loadables", |b| patch(b, "/configurations/c", "loadables", b"image-9\0"), &["FIT005"]),
        ("fdt", |b| patch(b, "/configurations/c", "fdt", b"image-9\0"), &["FIT005"]),
        ("algorithm", |b| patch(b, "/images/image-1/hash", "algo", b"sha999\0"), &["FIT010"]),
        ("algorithm not text", |b| patch(b, "/images/image-1/hash", "algo", b"sha\09\09"), &["FIT018", "FIT009"]),
    ];
    for (name, damage, expected) in table {
        let mut bytes = Recipe::default().build();
        damage(&mut bytes);
        assert_eq!(codes(&fit::parse(&bytes).1), *expected, "{name}");
        let _ = (examine(&bytes, None), facts(&bytes));
    }
    // Where positions are absolute, the data can also lie inside the tree.
    let mut bytes = Recipe { packing: Packing::Position, ..Recipe::default() }.build();
    patch(&mut bytes, "/images/image-0", "data-position", &[0; 4]);
    assert_eq!(codes(&fit::parse(&bytes).1), ["FIT007", "FIT008"]);
}

#[test]
fn wrong_names_in_a_fit_are_explained() {
    let config = Config::new("c");
    for (recipe, expected) in [
        (Recipe { configs: vec![config.clone(), config.clone()], ..Recipe::default() }, vec!["FIT013"]),
        (Recipe { configs: vec![], ..Recipe::default() }, vec!["FIT003"]),
        (Recipe { images: vec![], configs: vec![], ..Recipe::default() }, vec!["FIT002"]),
        (
            Recipe {
                configs: vec![Config { firmware: "a".into(), loadables: vec!["b".into(); 400], ..config.clone() }],
                ..Recipe::default()
            },
            vec!["FIT005", "FIT005"],
        ),
        (
            Recipe {
                configs: (0..400).map(|n| Config::new(&format!("c{n}"))).collect(),
                default: "c399".into(),
                ..Recipe::default()
            },
            vec!["FIT017"],
        ),
        (Recipe { images: vec![vec![0; 8]; 300], ..Recipe::default() }, vec!["FIT017", "FIT016"]),
    ] {
        let found = codes(&fit::parse(&recipe.build()).1);
        assert!(found == expected || expected.contains(&"FIT016") && found == expected[..1], "{found:?} {expected:?}");
    }
}

#[test]
fn shared_data_costs_a_bounded_amount_of_work() {
    // A hundred images that all claim the whole file.
    let mut bytes = Recipe { images: vec![vec![0; 0]; 100], packing: Packing::Position, ..Recipe::default() }.build();
    bytes.resize(4_000_000, 1);
    for image in 0..100 {
        patch(&mut bytes, &format!("/images/image-{image}"), "data-position", &0_u32.to_be_bytes());
        patch(&mut bytes, &format!("/images/image-{image}"), "data-size", &4_000_000_u32.to_be_bytes());
    }
    let (fit, report) = fit::parse(&bytes);
    let skipped = fit.unwrap().images.iter().filter(|image| image.hashes[0].status == fit::HashStatus::Skipped).count();
    assert_eq!(skipped, 96);
    assert!(codes(&report).contains(&"FIT022"));
}

/// All that is offered for foreign bytes.
fn touch(bytes: &[u8]) {
    let (file, report) = examine(bytes, Some(Soc::Rk3588));
    codes(&report);
    let written = trim(&file).unwrap_or(file.length);
    assert!(written <= file.length && file.content_end <= file.length && !file.copies.is_empty());
    let layout = ranges("x", &file, u64::MAX - 10, written);
    let _ = layout.sorted();
    codes(&idblock::parse_for(bytes, Some(Soc::Rk3576)).1);
    codes(&fit::parse(bytes).1);
    let _ = facts(bytes);
}

#[test]
fn mutants_of_real_files_are_survived() {
    let Some(root) = testkit::shared("testdata") else { return };
    let read = |path: &str| testkit::read(root.join(path));
    let vendor = read("ophub/nanopc-t6-rk3588-vendor-u-boot.itb");
    let mainline = read("ophub/easepi-r2-rk3588-u-boot.itb");
    let idblock = read("friendlyelec-sd-fuse/rk3588-idbloader-4e1888d5fa6c.img");
    let mut combined = idblock[..8192].to_vec();
    combined.extend_from_slice(&mainline[..8192]);
    let mut copies = vendor[..8192].to_vec();
    copies.extend_from_within(..);
    // Most mutants are of the parts that hold structure, so that tens of thousands take seconds.
    for (seed, count, original) in [
        (1, 4000, &vendor[..8192]),
        (2, 4000, &mainline[..8192]),
        (3, 3000, &idblock[..8192]),
        (4, 2000, &combined),
        (5, 2000, &copies),
        (6, 40, &vendor),
        (7, 60, &idblock),
    ] {
        testkit::mutants(seed, count, original, touch);
    }
    let small = Recipe::default().build();
    testkit::mutants(8, 2500, &small, touch);
    testkit::mutants(9, 2500, &block(), touch);
}

#[test]
fn digests_of_the_uncompressed_data_are_checked_where_nothing_is_compressed() {
    use dtbtool::model::{DeviceTree, Node, Property};
    let build = |compression: &str, digest: &[u8]| {
        let node = |name: &str, data: &[u8]| {
            Node::new(name)
                .with(Property::new("value", imgcore::Digest::of(data).raw().to_vec()))
                .with(Property::string("algo", "sha256"))
        };
        let image = Node::new("uboot")
            .with(Property::new("data", b"stored".to_vec()))
            .with(Property::string("compression", compression))
            .with_child(node("hash", b"stored"))
            .with_child(node("digest", digest));
        let config = Node::new("conf").with(Property::string("firmware", "uboot"));
        let mut tree = DeviceTree::new();
        *tree.root_mut() = Node::new("")
            .with_child(Node::new("images").with_child(image))
            .with_child(Node::new("configurations").with(Property::string("default", "conf")).with_child(config));
        codes(&fit::parse(&tree.to_bytes(&dtbtool::WriteOptions::default()).unwrap()).1)
    };
    assert_eq!(build("lzo", b"unpacked"), ["FIT011"]);
    assert_eq!(build("lzma", b"unpacked"), [if cfg!(feature = "codecs") { "FIT035" } else { "FIT011" }]);
    assert_eq!(build("none", b"stored"), Vec::<&str>::new());
    assert_eq!(build("none", b"other"), ["FIT008"]);
}
