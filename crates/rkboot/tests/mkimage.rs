//! Idblocks against mkimage: its measured outputs, and the program itself.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::disallowed_methods, reason = "tests write into their own temporary folders")]

use std::{path::Path, process::Command};

use proptest::prelude::*;
use rkboot::{ErrorKind, HeaderVersion, Soc, idblock};

fn build(soc: &str, init: &[u8], boot: Option<&[u8]>) -> Result<Vec<u8>, rkboot::Error> {
    idblock::build(&idblock::Parts { soc: soc.parse()?, init, boot })
}

/// As `mkimage -T`.
fn build_type(soc: &str, kind: &str, init: &[u8], boot: Option<&[u8]>) -> Result<Vec<u8>, rkboot::Error> {
    let flat = build(soc, init, boot)?;
    Ok(if kind == "rkspi" { idblock::spread(&flat) } else { flat })
}

/// What mkimage 2025.01 knows.
const KNOWN: &[&str] = &[
    "px30", "rk3036", "rk3066", "rk3128", "rk3188", "rk322x", "rk3288", "rk3308", "rk3328", "rk3368", "rk3399",
    "rv1108", "rv1126", "rk3568", "rk3588",
];

#[test]
fn the_measured_vectors_are_reproduced() {
    let Some(root) = testkit::shared("testdata") else { return };
    let table = String::from_utf8(testkit::read(root.join("expected/build-vectors.tsv"))).unwrap();
    let mut outcomes = Vec::new();
    for line in table.lines().skip(1) {
        let columns: Vec<&str> = line.split('\t').collect();
        let [soc, kind, input, result, size, sha256, ..] = columns[..] else { panic!("{line}") };
        let (init, boot) = input.split_once(':').map_or((input, None), |(init, boot)| (init, Some(boot)));
        let init = testkit::read(root.join(init));
        let boot = boot.map(|boot| testkit::read(root.join(boot)));
        let made = build_type(soc, kind, &init, boot.as_deref());
        let outcome = match (made.as_ref().map_err(rkboot::Error::kind), result) {
            (Ok(bytes), "ok") => {
                assert_eq!(bytes.len().to_string(), size, "{line}");
                assert_eq!(imgcore::Digest::of(bytes).hex(), sha256, "{line}");
                "equal".to_owned()
            }
            (Err(ErrorKind::InitTooLarge { size, limit, .. }), "rejected") => format!("{size:#x} > {limit:#x}"),
            (Err(ErrorKind::UnknownSoc { .. }), "rejected") => "unknown".to_owned(),
            (made, _) => panic!("{line}: {made:?}"),
        };
        outcomes.push(format!("{soc} {kind} {outcome}"));
    }
    assert_eq!(
        outcomes,
        [
            "rk3588 rksd equal",
            "rk3588 rkspi equal",
            "rk3588 rksd equal",
            "rk3576 rksd equal",
            // That mkimage does not know the name; its successor and we refuse the size.
            "rk3506 rksd 0x12800 > 0xb000",
            "rk3528 rksd 0x12800 > 0xf000",
            "rk3568 rksd 0x12800 > 0xf000",
            "rk3568 rksd equal",
            "rk3399 rksd equal",
            "rk3399 rksd equal",
            "rk3399 rksd equal",
            "rk3399 rkspi equal",
            "rk3328 rksd equal",
            "rk3328 rksd 0x12800 > 0x7800",
            "rk3288 rksd equal",
            "rk3588s rksd equal",
            "rk9999 rksd unknown",
        ]
    );
}

#[test]
fn the_seed_is_rebuilt_from_its_parts() {
    let Some(root) = testkit::shared("testdata") else { return };
    let seed = testkit::read(root.join("seed-nanopi-m6/idbloader.img"));
    let ddr = testkit::read(root.join("rkbin/bin/rk35/rk3588_ddr_lp4_2112MHz_lp5_2400MHz_v1.18.bin"));
    let made = build("rk3588", &ddr, Some(&seed[77_824..331_776])).unwrap();
    assert_eq!(imgcore::Digest::of(&made).hex(), "f1e19cb7376a2e0e14a626a4a359b8b8c46769735609b1c1b90646cef83e848f");
    assert_eq!(made, seed[..331_776]);
    // Two copies, as FriendlyELEC packs them in front of its zeros.
    let copies = idblock::copies(&made, 2).unwrap();
    assert_eq!(copies, seed[..copies.len()]);
    assert!(seed[copies.len()..].iter().all(|byte| *byte == 0));
}

#[test]
fn debians_files_are_rebuilt_from_their_parts() {
    let Some(root) = testkit::shared("testdata/debian-u-boot-rockchip-2025.01-3.2") else { return };
    for (soc, folder) in [("rk3328", "rock64-rk3328"), ("rk3399", "rockpro64-rk3399")] {
        let read = |name: &str| testkit::read(root.join(folder).join(name));
        let made = build(soc, &read("u-boot-tpl.bin"), Some(&read("u-boot-spl.bin"))).unwrap();
        assert_eq!(made, read("idbloader.img"), "{soc}");
        if soc == "rk3399" {
            let spread = idblock::spread(&made);
            let image = read("u-boot-rockchip-spi.bin");
            assert_eq!(spread, image[..spread.len()]);
            assert_eq!(idblock::unspread(&image)[..made.len()], made);
        }
    }
}

#[test]
fn what_does_not_fit_is_refused_with_both_sizes() {
    let too_large = build("rk3568", &vec![1; 0xf001], None).unwrap_err().to_string();
    assert!(too_large.contains("too large for rk3568: 0xf800 bytes after padding, at most 0xf000"), "{too_large}");
    assert!(build("rk3568", &vec![1; 0xf000], None).is_ok());
    let boot = vec![1; 65_535 * 512];
    for soc in ["rk3588", "rk3399", "rk3188"] {
        let refused = build(soc, b"x", Some(&boot)).unwrap_err();
        assert!(matches!(refused.kind(), ErrorKind::BootTooLarge { .. }), "{soc}");
        for (init, boot) in [(&b""[..], None), (b"x", Some(&b""[..]))] {
            assert!(matches!(build(soc, init, boot).unwrap_err().kind(), ErrorKind::EmptyImage { .. }));
        }
    }
    assert!(build("rk3588", b"x", Some(&boot[..65_532 * 512])).is_ok());
    // The sum of both must fit a field of the v1 header, and mkimage's would wrap around.
    assert!(build("rk3399", b"x", Some(&boot[..65_528 * 512])).is_ok());
    assert!(build("rk3399", b"x", Some(&boot[..65_529 * 512])).is_err());
    // SoCs of our table that mkimage does not know are built.
    for soc in Soc::all() {
        let made = build(soc.name(), b"....init", Some(b"boot")).unwrap();
        assert_eq!(made.len(), 6144, "{soc}");
        let limit = soc.max_init() as usize;
        assert!(build(soc.name(), &vec![1; limit], None).is_ok(), "{soc}");
        assert!(build(soc.name(), &vec![1; limit + 1], None).is_err(), "{soc}");
    }
    let v2 = idblock::Parts { soc: Soc::Rk3588, init: b"x", boot: None };
    assert!(matches!(idblock::v1::build(&v2).unwrap_err().kind(), ErrorKind::UnsupportedHeader { .. }));
}

#[test]
fn copies_must_have_room() {
    let block = build("rk3588", b"x", Some(&vec![1; 300_000])).unwrap();
    for (count, most) in [(0, 16), (17, 16), (u32::MAX, 16)] {
        let refused = idblock::copies(&block, count).unwrap_err();
        assert!(matches!(refused.kind(), ErrorKind::TooManyCopies { most: found, .. } if *found == most), "{refused}");
    }
    let packed = idblock::copies(&block, 16).unwrap();
    assert!(idblock::parse(&packed).0.unwrap().copies.iter().all(|copy| copy.identical));
    let most = |boot: usize| {
        let block = build("rk3588", b"x", Some(&vec![1; boot])).unwrap();
        (1..20).take_while(|count| idblock::copies(&block, *count).is_ok()).count()
    };
    // 4096 bytes of header and init image; the last of 16 copies has 480 KiB up to the FIT.
    assert_eq!([480 * 1024 - 4096, 480 * 1024 - 4095, 508 * 1024, 508 * 1024 + 1].map(most), [16, 15, 15, 1]);
    assert!(matches!(idblock::copies(b"text", 1).unwrap_err().kind(), ErrorKind::NotAnIdBlock));
    let v1 = idblock::copies(&build("rk3399", b"x", Some(b"y")).unwrap(), 5).unwrap();
    assert_eq!(idblock::v1::parse(&v1).0.unwrap().copies.len(), 5);
}

#[test]
fn rk3576_blocks_of_the_vendor_are_rebuilt() {
    let Some(root) = testkit::shared("testdata") else { return };
    // The flash entries of a loader file, each scrambled in blocks of 512 bytes, are an idblock in parts.
    let file = testkit::read(root.join("friendlyelec-sd-fuse/rk3576-MiniLoaderAll.bin"));
    let entry = |start: usize, size: usize| {
        let mut bytes = file[start..start + size].to_vec();
        rkboot::coding::rc4_blocks(&mut bytes);
        bytes
    };
    let (head, boost, ddr, spl) =
        (entry(422_389, 0x1000), entry(426_485, 0x1000), entry(430_581, 0x1_3000), entry(508_405, 0x4_0000));
    let block = [&head[..], &boost, &ddr, &spl].concat();
    let (parsed, report) = idblock::parse_for(&block, Some(Soc::Rk3576));
    assert!(report.is_empty(), "{report:?}");
    let images: Vec<_> = parsed.unwrap().images.iter().map(|image| (image.range.clone(), image.load)).collect();
    let expected = [(0x1000..0x2000, 0x3ffc_0000), (0x2000..0x1_5000, 0x3ff8_1000), (0x1_5000..0x5_5000, u32::MAX)];
    assert_eq!(images, expected);

    let rkbin = root.join("rkbin/bin/rk35");
    let boost_blob = testkit::read(rkbin.join("rk3576_boost_v1.03.bin"));
    for boost in [&boost[..], &boost_blob] {
        let parts = idblock::Rk3576Parts { boost, ddr: &ddr, spl: &spl };
        assert_eq!(idblock::build_rk3576(&parts).unwrap(), block);
    }
    // The blob of rkbin is another version; the block is as sound.
    let ddr = testkit::read(rkbin.join("rk3576_ddr_lp4_2112MHz_lp5_2736MHz_v1.09.bin"));
    let made = idblock::build_rk3576(&idblock::Rk3576Parts { boost: &boost_blob, ddr: &ddr, spl: &spl }).unwrap();
    let (parsed, report) = idblock::parse_for(&made, Some(Soc::Rk3576));
    assert!(report.is_empty(), "{report:?}");
    assert_eq!(parsed.unwrap().ddr(&made).unwrap().version, "v1.09");
    assert_eq!(made.len(), block.len());

    let parts = |boost, ddr, spl| idblock::Rk3576Parts { boost, ddr, spl };
    let large = vec![1; 0x7_f001];
    for (wrong, what) in [
        (parts(b"", b"x", b"x"), "boost image is empty"),
        (parts(b"x", b"", b"x"), "DDR image is empty"),
        (parts(b"x", b"x", b""), "SPL is empty"),
        (parts(b"x", &large, b"x"), "at most 0x7f000"),
        (parts(&large[..0x4_0001], b"x", b"x"), "at most 0x40000"),
        (parts(b"x", b"x", &vec![1; 65_535 * 512]), "boot image is too large"),
    ] {
        let refused = idblock::build_rk3576(&wrong).unwrap_err().to_string();
        assert!(refused.contains(what), "{refused}");
    }
}

/// Runs mkimage; the file that it writes, also when it complains about it afterwards.
fn mkimage(tool: &Path, soc: &str, kind: &str, init: &[u8], boot: Option<&[u8]>) -> (bool, Option<Vec<u8>>) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let mut data = path("init");
    std::fs::write(&data, init).unwrap();
    if let Some(boot) = boot {
        std::fs::write(path("boot"), boot).unwrap();
        data = format!("{data}:{}", path("boot"));
    }
    let done = Command::new(tool).args(["-n", soc, "-T", kind, "-d", &data, &path("out")]).output().unwrap();
    (done.status.success(), std::fs::read(path("out")).ok())
}

#[test]
fn every_limit_is_that_of_mkimage() {
    let Some(tool) = testkit::tool("mkimage") else { return };
    for soc in KNOWN {
        let limit = soc.parse::<Soc>().unwrap().max_init() as usize;
        for size in [limit - 2047, limit, limit + 1] {
            let init = vec![0xa5; size];
            for (kind, boot) in [("rksd", None), ("rkspi", Some(&[0x5a; 3000][..]))] {
                let (done, theirs) = mkimage(&tool, soc, kind, &init, boot);
                let ours = build_type(soc, kind, &init, boot);
                assert_eq!(ours.is_ok(), done, "{soc} {kind} {size:#x}");
                if let Ok(ours) = ours {
                    assert!(Some(ours) == theirs, "{soc} {kind} {size:#x}");
                }
            }
        }
    }
}

#[test]
fn signed_init_code_keeps_its_first_bytes_as_with_mkimage() {
    let Some(tool) = testkit::tool("mkimage") else { return };
    for soc in ["rk3399", "rk3328", "rk3188", "rv1126", "rk3588"] {
        for init in [&b"RSAK"[..], b"RSAKcode", b"RSAk", b"RSA", b"x", b"\0\0\0\0RSAK"] {
            // mkimage writes the file and then does not know the tag in it.
            let (_, theirs) = mkimage(&tool, soc, "rksd", init, Some(b"boot"));
            let ours = build(soc, init, Some(b"boot")).unwrap();
            assert!(Some(&ours) == theirs.as_ref(), "{soc} {init:?}");
            if soc != "rk3588" {
                let (block, report) = idblock::v1::parse_for(&ours, Some(soc.parse().unwrap()));
                assert_eq!(block.unwrap().tag.starts_with(b"RSAK"), init.starts_with(b"RSAK"), "{soc} {init:?}");
                assert!(!report.has_errors(), "{report:?}");
            }
        }
    }
}

#[test]
fn mkimage_reads_what_is_built() {
    let Some(tool) = testkit::tool("mkimage") else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("block").display().to_string();
    // It does not look behind the scrambling of payloads.
    for soc in KNOWN.iter().filter(|soc| !soc.parse::<Soc>().unwrap().payload_rc4()) {
        for kind in ["rksd", "rkspi"] {
            std::fs::write(&path, build_type(soc, kind, &[0xa5; 3000], Some(&[0x5a; 5000])).unwrap()).unwrap();
            let said = testkit::run(Command::new(&tool).args(["-T", kind, "-l", &path]));
            assert!(said.contains("Init Data Size: 4096 bytes"), "{soc} {kind}: {said}");
            assert!(said.contains("Boot Data Size: 6144 bytes"), "{soc} {kind}: {said}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Around the padding and anywhere, the limits of the SoC included.
    #[test]
    fn mkimage_writes_the_same(
        soc in prop::sample::select([KNOWN, &["rk3588s", "rk3399pro", "rk3288w"]].concat()),
        kind in prop::sample::select(vec!["rksd", "rkspi"]),
        init in prop_oneof![1_usize..0xf000, (1_usize..20).prop_map(|n| n * 2048), (1_usize..20).prop_map(|n| n * 2048 + 1)],
        boot in prop::option::of(prop_oneof![1_usize..300_000, (1_usize..20).prop_map(|n| n * 2048)]),
        seed in any::<u64>(),
    ) {
        let Some(tool) = testkit::tool("mkimage") else { return Ok(()) };
        let mut rng = testkit::Rng::new(seed);
        let init = rng.bytes(init);
        let boot = boot.map(|size| rng.bytes(size));
        let (done, theirs) = mkimage(&tool, soc, kind, &init, boot.as_deref());
        match build_type(soc, kind, &init, boot.as_deref()) {
            Ok(ours) => prop_assert!(done && Some(ours) == theirs, "{} {}", soc, kind),
            Err(_) => prop_assert!(!done, "{} {} init {}", soc, kind, init.len()),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_built_is_parsed(
        init in prop::collection::vec(any::<u8>(), 1..9000),
        boot in prop::option::of(prop::collection::vec(any::<u8>(), 1..9000)),
    ) {
        let bytes = build("rk3588", &init, boot.as_deref()).unwrap();
        let (block, report) = idblock::parse_for(&bytes, Some(Soc::Rk3588));
        let block = block.unwrap();
        let expected = if boot.is_some() { vec![] } else { vec!["IDB022"] };
        prop_assert_eq!(report.iter().map(|finding| finding.code).collect::<Vec<_>>(), expected);
        prop_assert_eq!((block.length, block.bytes_missing), (bytes.len() as u64, 0));
        prop_assert_eq!(block.header_check, idblock::Check::Valid);
        for (image, data) in block.images.iter().zip([Some(&init), boot.as_ref()]) {
            let range = usize::try_from(image.range.start).unwrap()..usize::try_from(image.range.end).unwrap();
            let data = data.map(Vec::as_slice).unwrap_or_default();
            prop_assert!(bytes[range].starts_with(data));
            prop_assert_eq!(image.check, idblock::Check::Valid);
        }
        // Any flipped bit is seen.
        for bit in [0, 13, 8 * 700, 8 * 1600, 8 * 2048, bytes.len() * 8 - 1] {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            if !(8 * 0x620..8 * 2048).contains(&bit) {
                prop_assert!(idblock::parse(&damaged).1.has_errors(), "bit {}", bit);
            }
        }
    }

    /// Every SoC, flat and spread: the parts come out again.
    #[test]
    fn every_form_is_parsed_back(
        soc in prop::sample::select(Soc::all().collect::<Vec<_>>()),
        init in prop::collection::vec(1_u8.., 5..4000),
        boot in prop::option::of(prop::collection::vec(any::<u8>(), 1..9000)),
        is_spread in any::<bool>(),
    ) {
        let parts = idblock::Parts { soc, init: &init, boot: boot.as_deref() };
        let flat = idblock::build(&parts).unwrap();
        let bytes = if is_spread { idblock::spread(&flat) } else { flat.clone() };
        let (file, report) = rkboot::examine(&bytes, Some(soc));
        prop_assert!(!report.has_errors(), "{:?}", report);
        prop_assert_eq!(file.content_end, bytes.len() as u64);
        prop_assert_eq!(rkboot::trim(&file).unwrap(), bytes.len() as u64);
        match file.kind {
            rkboot::BootFileKind::IdBlock(block) => {
                prop_assert_eq!((block.spread, soc.header_version()), (is_spread, HeaderVersion::V2));
                prop_assert_eq!(block.decoded(&bytes), flat);
                prop_assert!(block.images.iter().all(|image| image.check == idblock::Check::Valid));
            }
            rkboot::BootFileKind::IdBlockV1(block) => {
                prop_assert_eq!((block.spread, soc.header_version()), (is_spread, HeaderVersion::V1));
                prop_assert_eq!((&block.tag[..], block.open_ended), (soc.tag().as_bytes(), boot.is_none()));
                let decoded = block.decoded(&bytes);
                prop_assert!(decoded[2052..].starts_with(&init[4..]));
                let at = usize::try_from(block.init.end).unwrap();
                prop_assert!(decoded[at..].starts_with(boot.as_deref().unwrap_or_default()));
                prop_assert_eq!(block.has_boot(), boot.is_some());
            }
            kind => panic!("{kind:?}"),
        }
    }
}
