//! Boot files out of whole disks are the files that were put in.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::disallowed_methods, reason = "tests write into their own temporary folders")]
#![allow(clippy::indexing_slicing, reason = "disks of our own making")]

#[cfg(feature = "cli")]
use std::process::Command;

use rkboot::extract::{self, Partition, Piece, Role};

const IDBLOADER: &str = "testdata/ophub/easepi-r2-rk3588-idbloader.img";
const FIT: &str = "testdata/ophub/easepi-r2-rk3588-u-boot.itb";
const VENDOR_IDBLOADER: &str = "testdata/friendlyelec-sd-fuse/rk3588-idbloader-4e1888d5fa6c.img";
const VENDOR_FIT: &str = "testdata/ophub/nanopc-t6-rk3588-vendor-u-boot.itb";
const V1: &str = "testdata/debian-u-boot-rockchip-2025.01-3.2/rock64-rk3328/idbloader.img";
const V1_FIT: &str = "testdata/debian-u-boot-rockchip-2025.01-3.2/rock64-rk3328/u-boot.itb";
const SPI: &str = "testdata/debian-u-boot-rockchip-2025.01-3.2/rockpro64-rk3399/u-boot-rockchip-spi.bin";
const SPI_PLAIN: &str = "testdata/debian-u-boot-rockchip-2025.01-3.2/rockpro64-rk3399/idbloader.img";
const TRUST: &str = "testdata/ophub/easepi-a2-rk3568-trust.img";
const SEED: &str = "testdata/seed-nanopi-m6/idbloader.img";

fn read(path: &str) -> Option<Vec<u8>> {
    testkit::shared(path).map(testkit::read)
}

fn put(disk: &mut [u8], sector: usize, bytes: &[u8]) {
    disk[sector * 512..][..bytes.len()].copy_from_slice(bytes);
}

fn codes(report: &imgcore::Report) -> Vec<&'static str> {
    report.iter().map(|finding| finding.code).collect()
}

fn named<'a>(pieces: &'a [Piece], name: &str) -> &'a Piece {
    pieces.iter().find(|piece| piece.name == name).unwrap()
}

#[test]
fn files_come_out_as_they_went_in() {
    for (first, second, name) in
        [(IDBLOADER, FIT, "u-boot.itb"), (V1, V1_FIT, "u-boot.itb"), (VENDOR_IDBLOADER, VENDOR_FIT, "uboot.img")]
    {
        let (Some(first), Some(second)) = (read(first), read(second)) else { return };
        let mut disk = vec![0; 16 << 20];
        put(&mut disk, 64, &first);
        put(&mut disk, 16384, &second);
        let (pieces, report) = extract::plan(disk.as_slice(), &[]);
        assert_eq!(codes(&report), [""; 0], "{report:?}");
        assert_eq!(pieces.len(), 2);
        let (idbloader, uboot) = (named(&pieces, "idbloader.img"), named(&pieces, name));
        assert!(idbloader.bytes == first && uboot.bytes == second);
        assert_eq!((idbloader.sector(), uboot.sector()), (Some(64), Some(16384)));
        assert_eq!((idbloader.role, uboot.role), (Role::Idbloader, Role::SecondStage));
        assert!(!idbloader.versions.is_empty() && !uboot.versions.is_empty());
        assert_eq!(uboot.digest, imgcore::Digest::of(&second));
    }
}

#[test]
fn copies_and_padding_are_left_out() {
    let (Some(seed), Some(one), Some(fit), Some(trust)) =
        (read(SEED), read(VENDOR_IDBLOADER), read(VENDOR_FIT), read(TRUST))
    else {
        return;
    };
    let mut disk = vec![0; 20 << 20];
    put(&mut disk, 64, &seed);
    put(&mut disk, 16384, &fit);
    put(&mut disk, 20480, &fit);
    put(&mut disk, 24576, &trust);
    let (pieces, report) = extract::plan(disk.as_slice(), &[]);
    assert!(!report.has_errors(), "{report:?}");
    let idbloader = named(&pieces, "idbloader.img");
    assert!(idbloader.bytes == one);
    assert_eq!(idbloader.trimmed.as_deref(), Some("copy 1 of 2 equal copies"));
    let uboot = named(&pieces, "uboot.img");
    assert_eq!(uboot.bytes.len(), 2 << 20);
    assert!(uboot.bytes.starts_with(&fit) && uboot.trimmed.as_deref() == Some("copy 1 of 2 equal copies"));
    let found = named(&pieces, "trust.img");
    assert!(found.bytes == trust[..1 << 20] && found.sector() == Some(24576));

    // A copy that is not equal is said, and copy 1 is taken.
    disk[20480 * 512 + 4096] ^= 1;
    let (pieces, report) = extract::plan(disk.as_slice(), &[]);
    assert!(codes(&report).contains(&"BOT023"), "{report:?}");
    assert!(named(&pieces, "uboot.img").bytes.starts_with(&fit));
}

#[test]
fn the_partition_named_uboot_comes_first() {
    let (Some(idbloader), Some(vendor), Some(mainline)) = (read(VENDOR_IDBLOADER), read(VENDOR_FIT), read(FIT)) else {
        return;
    };
    let mut disk = vec![0; 40 << 20];
    put(&mut disk, 64, &idbloader);
    put(&mut disk, 16384, &mainline);
    let at = 34 << 20;
    put(&mut disk, at / 512, &vendor);
    let start = u64::try_from(at).unwrap();
    let partitions = [
        Partition { name: "uboot".to_owned(), range: start..start + (4 << 20) },
        Partition { name: "boot".to_owned(), range: start + (4 << 20)..start + (5 << 20) },
    ];
    let (pieces, report) = extract::plan(disk.as_slice(), &partitions);
    assert_eq!(codes(&report), ["BOT024"]);
    let uboot = named(&pieces, "uboot.img");
    assert!(uboot.bytes == vendor);
    assert_eq!((uboot.offset, uboot.partition.as_deref()), (Some(start), Some("uboot")));
    assert_eq!((uboot.sector(), pieces.len()), (Some(start / 512), 2));

    // Mainline's SPL does not look into partitions.
    disk[32768..32768 + (4 << 20)].fill(0);
    put(&mut disk, 64, &read(IDBLOADER).unwrap());
    let (pieces, report) = extract::plan(disk.as_slice(), &partitions);
    assert_eq!(codes(&report), ["BOT024"]);
    assert!(report.iter().next().unwrap().message.contains("mainline's"));
    let uboot = named(&pieces, "u-boot.itb");
    assert!(uboot.bytes == mainline && pieces.len() == 2);
    assert_eq!((uboot.sector(), uboot.partition.as_deref()), (Some(16384), None));

    // Without an SPL that is known, both.
    disk[32768..32768 + (4 << 20)].fill(0);
    let parts = rkboot::idblock::Parts { soc: rkboot::Soc::Rk3588, init: b"ddr", boot: Some(b"spl") };
    put(&mut disk, 64, &rkboot::idblock::build(&parts).unwrap());
    let (pieces, report) = extract::plan(disk.as_slice(), &partitions);
    assert_eq!((codes(&report).as_slice(), pieces.len()), (&["BOT024"][..], 3));
    assert!(named(&pieces, "uboot.img").bytes == vendor && named(&pieces, "u-boot.itb").bytes == mainline);
    put(&mut disk, 16384, &vendor);
    let (pieces, _) = extract::plan(disk.as_slice(), &partitions);
    assert_eq!(named(&pieces, "uboot.img").offset, Some(start));
    assert_eq!(named(&pieces, "uboot-2.img").offset, Some(16384 * 512));
}

#[test]
fn spi_flash_and_combined_files_are_taken_apart() {
    let (Some(spi), Some(plain)) = (read(SPI), read(SPI_PLAIN)) else { return };
    let (pieces, report) = extract::plan(spi.as_slice(), &[]);
    assert!(!report.has_errors(), "{report:?}");
    let idbloader = named(&pieces, "idbloader.img");
    assert_eq!((idbloader.offset, idbloader.kind), (Some(0), "idblock v1, spread for SPI flash"));
    let thin: Vec<u8> = idbloader.bytes.chunks(4096).flat_map(|chunk| &chunk[..2048]).copied().collect();
    // The header knows of spreading; the images do not.
    assert!(thin[2048..] == plain[2048..], "{} {}", thin.len(), plain.len());
    assert_eq!(named(&pieces, "u-boot.itb").offset, Some(0xe_0000));

    let (Some(idbloader), Some(fit)) = (read(IDBLOADER), read(FIT)) else { return };
    let mut flat = vec![0xff; 0x6_0000];
    flat[0x8000..][..idbloader.len()].copy_from_slice(&idbloader);
    flat.extend_from_slice(&fit);
    let mut combined = idbloader.clone();
    combined.resize(0x7f_8000, 0xff);
    combined.extend_from_slice(&fit);
    for (file, first, second) in [(flat, 0x8000, 0x6_0000), (combined, 0, 0x7f_8000)] {
        let (pieces, report) = extract::plan(file.as_slice(), &[]);
        assert!(!report.has_errors(), "{report:?}");
        let (one, two) = (named(&pieces, "idbloader.img"), named(&pieces, "u-boot.itb"));
        assert!(one.bytes == idbloader && two.bytes == fit);
        assert_eq!((one.offset, two.offset), (Some(first), Some(second)));
        assert_eq!(one.sector(), Some(64));
        assert_eq!(two.sector(), Some(if first == 0 { 16384 } else { second / 512 }));
    }
}

#[test]
fn bare_files_go_to_the_sector_of_their_role() {
    for (path, name, sector) in [
        (IDBLOADER, "idbloader.img", 64),
        (V1, "idbloader.img", 64),
        (FIT, "u-boot.itb", 16384),
        (TRUST, "trust.img", 24576),
    ] {
        let Some(bytes) = read(path) else { return };
        let (pieces, report) = extract::plan(bytes.as_slice(), &[]);
        assert!(!report.has_errors(), "{path}: {report:?}");
        let found = named(&pieces, name);
        assert_eq!((found.offset, found.sector()), (Some(0), Some(sector)), "{path}");
    }
}

/// A card that cannot be read.
struct Broken;
impl imgcore::ReadAt for Broken {
    fn size(&self) -> u64 {
        1 << 20
    }
    fn read_at(&self, _: u64, _: &mut [u8]) -> std::io::Result<usize> {
        Err(std::io::Error::other("worn out"))
    }
}

#[test]
fn what_is_missing_or_damaged_is_said() {
    assert_eq!(codes(&extract::plan(&[0_u8; 4096][..], &[]).1), ["BOT020"]);
    assert_eq!(codes(&extract::plan(&[][..], &[]).1), ["BOT020"]);
    let Some(seed) = read(SEED) else { return };
    let mut disk = vec![0; 8 << 20];
    put(&mut disk, 64, &seed);
    disk[32768..32768 + 4096].fill(0);
    let (pieces, report) = extract::plan(disk.as_slice(), &[]);
    assert_eq!(codes(&report), ["BOT022"]);
    assert_eq!((pieces[0].offset, pieces[0].sector()), (Some((64 + 1024) * 512), Some(64)));

    // A damaged first copy: the BootROM takes the next, and so does the tool.
    let mut disk = vec![0; 8 << 20];
    put(&mut disk, 64, &seed);
    disk[32768 + 8192] ^= 1;
    let (pieces, report) = extract::plan(disk.as_slice(), &[]);
    assert_eq!(codes(&report), ["BOT023"], "{report:?}");
    let message = &report.iter().next().unwrap().message;
    assert!(message.contains("copy 2 is taken") && message.contains("IDB009"), "{message}");
    assert_eq!((pieces[0].offset, pieces[0].sector()), (Some((64 + 1024) * 512), Some(64)));
    assert!(seed.starts_with(&pieces[0].bytes));
    assert_eq!(pieces[0].trimmed.as_deref(), Some("copy 2 of 2 copies that are not equal"));
    // Both damaged: copy 1, with its findings.
    disk[32768 + 512 * 1024 + 8192] ^= 2;
    let (pieces, report) = extract::plan(disk.as_slice(), &[]);
    assert!(codes(&report).contains(&"IDB009") && codes(&report).contains(&"BOT023"), "{report:?}");
    assert_eq!(pieces[0].offset, Some(32768));

    // A FIT that a partition cuts off.
    let Some(fit) = read(FIT) else { return };
    let mut disk = vec![0; 16 << 20];
    put(&mut disk, 16384, &fit);
    let partition = Partition { name: "EFI".to_owned(), range: (9 << 20)..(16 << 20) };
    let codes = codes(&extract::plan(disk.as_slice(), &[partition]).1);
    assert!(codes.contains(&"BOT025") && codes.contains(&"FIT006"), "{codes:?}");

    let codes: Vec<_> = extract::plan(&Broken, &[]).1.iter().map(|finding| finding.code).collect();
    assert_eq!(codes, ["BOT021", "BOT020"]);
}

#[test]
#[cfg(feature = "cli")]
fn the_program_reads_packed_disks_and_writes_records() {
    let (Some(idbloader), Some(fit)) = (read(IDBLOADER), read(FIT)) else { return };
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("card.img");
    let mut bytes = vec![0; 32 << 20];
    put(&mut bytes, 64, &idbloader);
    put(&mut bytes, 16384, &fit);
    std::fs::write(&disk, &bytes).unwrap();
    // A table that a program of others made, in its usual place.
    if let Some(sgdisk) = testkit::tool("sgdisk") {
        testkit::run(Command::new(sgdisk).args(["-n", "1:24576:0", "-c", "1:EFI"]).arg(&disk));
    }
    let mut inputs = vec![disk.clone()];
    for (tool, arguments, ending) in
        [("xz", &["-k", "-0"][..], "xz"), ("gzip", &["-k", "-1"], "gz"), ("zstd", &["-q", "-1"], "zst")]
    {
        if let Some(tool) = testkit::tool(tool) {
            testkit::run(Command::new(tool).args(arguments).arg(&disk));
            inputs.push(folder.path().join(format!("card.img.{ending}")));
        }
    }
    for input in inputs {
        let out = folder.path().join("out");
        let run = |what: &str| {
            Command::new(env!("CARGO_BIN_EXE_rkboot"))
                .args(["extract", "--what", what, "-o"])
                .args([&out, &input])
                .output()
                .unwrap()
        };
        let made = run("all");
        assert!(made.status.success(), "{}: {made:?}", input.display());
        assert!(testkit::read(out.join("idbloader.img")) == idbloader, "{}", input.display());
        assert!(testkit::read(out.join("u-boot.itb")) == fit, "{}", input.display());
        let record = String::from_utf8(testkit::read(out.join("u-boot.itb.source.toml"))).unwrap();
        let name = input.file_name().unwrap().display().to_string();
        assert!(record.contains(&format!("name = \"{name}\"\n")), "{record}");
        assert!(record.contains(&imgcore::Digest::of(&testkit::read(&input)).hex()), "{record}");
        assert!(record.contains("offset = 8388608\nlength = 1444352\n"), "{record}");
        assert!(record.contains("versions = [\"U-Boot 2026.04"), "{record}");
        assert!(!record.contains(&folder.path().display().to_string()), "{record}");
        assert_eq!(std::fs::read_dir(&out).unwrap().count(), 4);
        std::fs::remove_dir_all(&out).unwrap();

        assert!(run("idbloader").status.success());
        assert_eq!(std::fs::read_dir(&out).unwrap().count(), 2);
        std::fs::remove_dir_all(&out).unwrap();
    }
    let missing =
        Command::new(env!("CARGO_BIN_EXE_rkboot")).args(["extract", "/nowhere.img", "-o", "x"]).output().unwrap();
    assert_eq!(missing.status.code(), Some(3));
}

#[test]
fn loader_files_hold_an_idblock() {
    let path = "testdata/friendlyelec-sd-fuse/rk3588-MiniLoaderAll.bin";
    let Some(file) = read(path) else { return };
    let (pieces, report) = extract::plan(file.as_slice(), &[]);
    assert!(!report.has_errors(), "{report:?}");
    let block = named(&pieces, "idbloader.img");
    // What mkimage makes of the same blobs (rockchip-boot.md §4.4).
    assert!(block.digest.hex().starts_with("c50ed48f2cb3278e"), "{}", block.digest.hex());
    assert_eq!((block.offset, block.kind), (None, "idblock v2, out of a loader file"));
    assert_eq!(block.sector(), Some(64));
    assert_eq!(block.versions.len(), 2, "{:?}", block.versions);
}
