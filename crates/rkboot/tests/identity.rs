//! Public files hold the blobs that they are known to hold.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[cfg(feature = "cli")]
use std::path::Path;

use rkboot::{
    Soc,
    identity::{BlobKind, identify, lookup},
    pairing,
};

fn read(path: &str) -> Option<Vec<u8>> {
    testkit::shared(&format!("testdata/{path}")).map(testkit::read)
}

const SEED: &str = "seed-nanopi-m6/idbloader.img";
const EASEPI: &str = "ophub/easepi-r2-rk3588-idbloader.img";
const EASEPI_FIT: &str = "ophub/easepi-r2-rk3588-u-boot.itb";
const VENDOR_FIT: &str = "ophub/nanopc-t6-rk3588-vendor-u-boot.itb";
const ROCK64_FIT: &str = "debian-u-boot-rockchip-2025.01-3.2/rock64-rk3328/u-boot.itb";
const SPI: &str = "debian-u-boot-rockchip-2025.01-3.2/rockpro64-rk3399/u-boot-rockchip-spi.bin";

#[test]
fn every_stored_blob_is_known_by_its_digest() {
    let Some(root) = testkit::shared("testdata/rkbin/bin") else { return };
    let mut count = 0;
    for folder in ["rk33", "rk35"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let bytes = testkit::read(&path);
            let name = path.file_name().unwrap().to_str().unwrap();
            let known = lookup(&bytes);
            assert!(known.iter().any(|known| known.path == format!("{folder}/{name}")), "{name}: {known:?}");
            let found = identify(&bytes);
            assert_eq!(found.len(), 1);
            assert!(name.contains(found.first().unwrap().version.as_deref().unwrap()), "{name}");
            let soc: String = name.chars().take(6).collect();
            assert!(found.first().unwrap().socs().any(|found| found == soc.parse::<Soc>().unwrap()), "{name}");

            // Padding is no part of the blob, other bytes are.
            let mut padded = bytes.clone();
            padded.resize(bytes.len().next_multiple_of(2048), 0);
            assert_eq!(lookup(&padded), known, "{name}");
            padded.push(1);
            assert!(lookup(&padded).is_empty(), "{name}");
            count += 1;
        }
    }
    assert!(count >= 9, "{count}");
}

#[test]
fn containers_are_looked_into() {
    for (path, expected) in [
        (
            SEED,
            &[
                (BlobKind::Ddr, Some("v1.18"), "rk35/rk3588_ddr_lp4_2112MHz_lp5_2400MHz_v1.18.bin"),
                (BlobKind::Spl, None, ""),
            ][..],
        ),
        (
            EASEPI,
            &[
                (BlobKind::Ddr, Some("v1.20"), "armbian/rk35/rk3588_ddr_lp4_2112MHz_lp5_2400MHz_v1.20.bin"),
                (BlobKind::Spl, None, ""),
            ],
        ),
        (EASEPI_FIT, &[(BlobKind::UBoot, None, ""), (BlobKind::Bl31, Some("v1.48"), "rk35/rk3588_bl31_v1.48.elf")]),
        (VENDOR_FIT, &[(BlobKind::UBoot, None, ""), (BlobKind::Bl31, Some("v1.45"), "")]),
        (ROCK64_FIT, &[(BlobKind::UBoot, None, ""), (BlobKind::Bl31, Some("v2.12.1"), "")]),
        (SPI, &[(BlobKind::Spl, None, ""), (BlobKind::UBoot, None, ""), (BlobKind::Bl31, None, "")]),
    ] {
        let Some(bytes) = read(path) else { return };
        let found = identify(&bytes);
        for (kind, version, name) in expected {
            let blob = found.iter().find(|blob| blob.kind == *kind);
            let Some(blob) = blob else { panic!("{path}: no {kind:?} in {found:#?}") };
            assert!(version.is_none() || blob.version.as_deref() == *version, "{path}: {blob:?}");
            assert_eq!(blob.known.first().map_or("", |known| known.path.as_str()), *name, "{path}");
            assert!(blob.range.end <= bytes.len() as u64);
        }
    }
}

#[test]
fn public_pairs_are_judged() {
    let (Some(seed), Some(easepi)) = (read(SEED), read(EASEPI)) else { return };
    let (Some(new), Some(old), Some(open)) = (read(EASEPI_FIT), read(VENDOR_FIT), read(ROCK64_FIT)) else { return };
    for (first, second, expected) in
        [(&seed, &new, &[][..]), (&easepi, &new, &[]), (&seed, &old, &["IDB050"]), (&seed, &open, &[])]
    {
        let codes: Vec<_> = pairing::check(first, second).iter().map(|finding| finding.code).collect();
        assert_eq!(codes, expected);
    }
    // One file that is both.
    let mut both = seed.get(..331_776).unwrap().to_vec();
    both.resize(0x7f_8000, 0xff);
    both.extend_from_slice(&old);
    let report = pairing::check(&both, &both);
    assert_eq!(report.iter().next().unwrap().code, "IDB050");
    assert!(report.iter().next().unwrap().message.contains("v1.47"));
}

#[test]
#[cfg(feature = "cli")]
fn the_program_shows_and_sets_the_uart() {
    let name = "rkbin/bin/rk35/rk3588_ddr_lp4_2112MHz_lp5_2400MHz_v1.16.bin";
    let Some(path) = testkit::shared(&format!("testdata/{name}")) else { return };
    let folder = tempfile::tempdir().unwrap();
    let run = |arguments: &[&Path]| {
        std::process::Command::new(env!("CARGO_BIN_EXE_rkboot")).arg("ddr").args(arguments).output().unwrap()
    };
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let seen = text(&run(&[&path]).stdout);
    assert!(
        seen.contains("rk3588_ddr_lp4_2112MHz_lp5_2400MHz_v1.16.bin") && seen.contains("uart2 m0 1500000 baud"),
        "{seen}"
    );
    let inside = text(&run(&[&testkit::shared(&format!("testdata/{SEED}")).unwrap()]).stdout);
    assert!(inside.contains("DDR init code at byte 2048") && inside.contains("uart2 m0 1500000 baud"), "{inside}");

    let out = folder.path().join("uart9.bin");
    let made = run(&[&path, "--uart=9".as_ref(), "--baud=115200".as_ref(), "-o".as_ref(), &out]);
    assert!(made.status.success(), "{made:?}");
    // What armbian/rkbin publishes as rk3588_ddr_…_uart9_115200_v1.16.bin.
    assert!(text(&made.stdout).contains("sha256:b2be6f4060281a3a"));
    let seen = text(&run(&[&out]).stdout);
    assert!(seen.contains("armbian/rk35/rk3588_ddr_lp4_2112MHz_lp5_2400MHz_uart9_115200_v1.16.bin"), "{seen}");
    // Set to what nobody has published it with, it is still that file.
    let own = folder.path().join("uart7.bin");
    assert!(run(&[&path, "--uart=7".as_ref(), "--baud=921600".as_ref(), "-o".as_ref(), &own]).status.success());
    let seen = text(&run(&[&own]).stdout);
    assert!(
        seen.contains(
            "rk35/rk3588_ddr_lp4_2112MHz_lp5_2400MHz_v1.16.bin with the UART changed to uart7 m0 921600 baud"
        ),
        "{seen}"
    );
    let found = identify(&testkit::read(&own));
    assert_eq!(found.first().unwrap().uart.map(|uart| uart.id), Some(7));
    assert!(lookup(&testkit::read(&own)).is_empty());

    let back = folder.path().join("back.bin");
    assert!(run(&[&out, "--uart=2".as_ref(), "--baud=1500000".as_ref(), "-o".as_ref(), &back]).status.success());
    assert!(testkit::read(&back) == testkit::read(&path));

    let idblock = testkit::shared(&format!("testdata/{SEED}")).unwrap();
    let refused = run(&[&idblock, "--uart=9".as_ref(), "-o".as_ref(), &folder.path().join("no.bin")]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("make the idblock anew"), "{refused:?}");
    assert_eq!(run(&[&path, "-o".as_ref(), &out]).status.code(), Some(2));
}

#[test]
fn loader_files_are_looked_into() {
    let Some(file) = read("friendlyelec-sd-fuse/rk3588-MiniLoaderAll.bin") else { return };
    let found = identify(&file);
    for (kind, name) in [
        (BlobKind::Ddr, "rk3588_ddr_lp4_2112MHz_lp5_2400MHz_v1.18.bin"),
        (BlobKind::UsbPlug, "rk3588_usbplug_v1.11.bin"),
        (BlobKind::Spl, "rk3588_spl_v1.13.bin"),
    ] {
        let blob = found.iter().find(|blob| blob.kind == kind);
        assert_eq!(
            blob.and_then(|blob| blob.known.first()).map(rkboot::identity::Known::name),
            Some(name),
            "{found:#?}"
        );
    }
}
