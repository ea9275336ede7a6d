//! Idblocks against mkimage: its measured outputs, and the program itself.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::process::Command;

use proptest::prelude::*;
use rkboot::{ErrorKind, Soc, idblock};

fn build(soc: &str, init: &[u8], boot: Option<&[u8]>) -> Result<Vec<u8>, rkboot::Error> {
    idblock::build(&idblock::Parts { soc: soc.parse()?, init, boot })
}

#[test]
fn the_measured_vectors_are_reproduced() {
    let Some(root) = testkit::shared("testdata") else { return };
    let table = String::from_utf8(testkit::read(root.join("expected/build-vectors.tsv"))).unwrap();
    let mut outcomes = Vec::new();
    for line in table.lines().skip(1) {
        let columns: Vec<&str> = line.split('\t').collect();
        let [soc, kind, input, result, size, sha256, ..] = columns[..] else { panic!("{line}") };
        if kind != "rksd" {
            continue;
        }
        let (init, boot) = input.split_once(':').map_or((input, None), |(init, boot)| (init, Some(boot)));
        let init = testkit::read(root.join(init));
        let boot = boot.map(|boot| testkit::read(root.join(boot)));
        let made = build(soc, &init, boot.as_deref());
        let outcome = match (made.as_ref().map_err(rkboot::Error::kind), result) {
            (Ok(bytes), "ok") => {
                assert_eq!(bytes.len().to_string(), size, "{line}");
                assert_eq!(imgcore::Digest::of(bytes).hex(), sha256, "{line}");
                "equal".to_owned()
            }
            // v1 is not built here; that is the reason, whatever mkimage says.
            (Err(ErrorKind::UnsupportedHeader { .. }), _) => "v1".to_owned(),
            (Err(ErrorKind::InitTooLarge { size, limit, .. }), "rejected") => format!("{size:#x} > {limit:#x}"),
            (Err(ErrorKind::UnknownSoc { .. }), "rejected") => "unknown".to_owned(),
            (made, _) => panic!("{line}: {made:?}"),
        };
        outcomes.push(format!("{soc} {outcome}"));
    }
    assert_eq!(
        outcomes,
        [
            "rk3588 equal",
            "rk3588 equal",
            "rk3576 equal",
            // That mkimage does not know the name; its successor and we refuse the size.
            "rk3506 0x12800 > 0xb000",
            "rk3528 0x12800 > 0xf000",
            "rk3568 0x12800 > 0xf000",
            "rk3568 equal",
            "rk3399 v1",
            "rk3399 v1",
            "rk3399 v1",
            "rk3328 v1",
            "rk3328 v1",
            "rk3288 v1",
            "rk3588s equal",
            "rk9999 unknown",
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
}

#[test]
fn what_does_not_fit_is_refused_with_both_sizes() {
    let too_large = build("rk3568", &vec![1; 0xf001], None).unwrap_err().to_string();
    assert!(too_large.contains("too large for rk3568: 0xf800 bytes after padding, at most 0xf000"), "{too_large}");
    assert!(build("rk3568", &vec![1; 0xf000], None).is_ok());
    let boot = vec![1; 65_535 * 512];
    let refused = build("rk3588", b"x", Some(&boot)).unwrap_err();
    assert!(matches!(refused.kind(), ErrorKind::BootTooLarge { .. }));
    assert!(build("rk3588", b"x", Some(&boot[..65_532 * 512])).is_ok());
    for (init, boot) in [(&b""[..], None), (b"x", Some(&b""[..]))] {
        assert!(matches!(build("rk3588", init, boot).unwrap_err().kind(), ErrorKind::EmptyImage { .. }));
    }
    // Vendor SoCs that mkimage does not know are built.
    assert!(build("rk3562", b"x", None).is_ok() && build("rk3506", b"x", None).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Around the padding and anywhere.
    #[test]
    fn mkimage_writes_the_same(
        soc in prop::sample::select(vec!["rk3588", "rk3568", "rk3588s"]),
        init in prop_oneof![1_usize..0xf000, (1_usize..20).prop_map(|n| n * 2048), (1_usize..20).prop_map(|n| n * 2048 + 1)],
        boot in prop::option::of(1_usize..300_000),
        seed in any::<u64>(),
    ) {
        let Some(mkimage) = testkit::tool("mkimage") else { return Ok(()) };
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let mut rng = testkit::Rng::new(seed);
        let init = rng.bytes(init);
        let boot = boot.map(|size| rng.bytes(size));
        let mut data = path("init");
        write(&data, &init);
        if let Some(boot) = &boot {
            write(&path("boot"), boot);
            data = format!("{data}:{}", path("boot"));
        }
        testkit::run(Command::new(mkimage).args(["-n", soc, "-T", "rksd", "-d", &data, &path("out")]));
        let made = build(soc, &init, boot.as_deref()).unwrap();
        prop_assert!(made == testkit::read(path("out")), "init {} boot {:?}", init.len(), boot.map(|boot| boot.len()));
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
}

#[expect(clippy::disallowed_methods, reason = "a test writes into its own temporary folder")]
fn write(path: &str, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap();
}
