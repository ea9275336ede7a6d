//! Loader files, the vendor's older formats, tables of device trees and lists of partitions.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::cast_possible_truncation,
    clippy::format_collect,
    reason = "a test that cannot go on fails; tests write into their own temporary folders; small numbers and texts"
)]

use imgcore::{Digest, Report, Severity};
use rkboot::{
    BootFileKind, Soc, coding, dtbo_table, examine, facts, idblock,
    legacy::{
        loader_image::{self, Kind},
        trust,
    },
    loader::{self, Scrambling, Use},
    parameter, trim,
};

/// Codes of findings, each listed with its severity.
fn codes(report: &Report) -> Vec<&'static str> {
    for finding in report {
        let rules = || rkboot::RULES.iter().chain(dtbtool::RULES);
        let rule = rules().find(|(code, ..)| *code == finding.code);
        assert!(rule.is_some_and(|(_, severity, _)| *severity == finding.severity), "{finding}");
        assert!(finding.message.len() < 600, "{finding}");
        assert!(
            finding.severity == Severity::Info || finding.help.is_some() || finding.code.starts_with("DTB"),
            "{finding}"
        );
        if let Some(range) = &finding.range {
            assert!(range.start <= range.end, "{finding}");
        }
    }
    report.iter().map(|finding| finding.code).collect()
}

fn put32(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

type Damage = fn(&mut Vec<u8>);

/// Compares the codes of damaged forms of `original` with those expected, all at once.
fn check_table(original: &[u8], parse: fn(&[u8]) -> Report, table: &[(&str, Damage, &[&str])]) {
    let mut wrong = Vec::new();
    for (name, damage, expected) in table {
        let mut bytes = original.to_vec();
        damage(&mut bytes);
        let found = codes(&parse(&bytes));
        if found != *expected {
            wrong.push(format!("{name}: {found:?}, expected {expected:?}"));
        }
        touch(&bytes);
    }
    assert_eq!(wrong, Vec::<String>::new());
}

/// All that is offered for foreign bytes.
fn touch(bytes: &[u8]) {
    let (file, report) = examine(bytes, Some(Soc::Rk3588));
    codes(&report);
    assert!(trim(&file).unwrap_or(0) <= file.length && file.content_end <= file.length && !file.copies.is_empty());
    let _ = rkboot::ranges("x", &file, 0, file.length).sorted();
    let _ = facts(bytes);
    if let BootFileKind::Loader(found) = &file.kind {
        let _ = (found.idblock(bytes), found.usb_block(bytes), found.flash_parts(bytes), found.soc());
    }
    let _ = loader::parse(bytes);
    let _ = loader_image::parse(bytes);
    let _ = trust::parse(bytes);
    let _ = dtbo_table::parse(bytes);
    if let (Some(found), _) = parameter::parse(bytes) {
        let _ = found.layout(u64::MAX).overlaps();
    }
}

// --- loader files

fn block() -> Vec<u8> {
    idblock::build(&idblock::Parts { soc: Soc::Rk3588, init: &[0x11; 3000], boot: Some(&[0x22; 5000]) }).unwrap()
}

fn sample() -> Vec<u8> {
    loader::sample(&block())
}

/// Where record `number` of the sample is.
fn record(number: usize) -> usize {
    102 + number * 57
}

/// Makes the checksum right again.
fn seal(bytes: &mut [u8]) {
    let at = bytes.len() - 4;
    let crc = coding::crc32_rk(&bytes[..at]);
    put32(bytes, at, crc);
}

#[test]
fn damaged_loader_files_are_explained() {
    check_table(
        &sample(),
        |bytes| loader::parse(bytes).1,
        &[
            ("sound", |_| {}, &[]),
            (
                "checksum",
                |b| {
                    let last = b.len() - 1;
                    b[last] ^= 1;
                },
                &["LDR003"],
            ),
            (
                "no checksum",
                |b| {
                    b.truncate(b.len() - 4);
                },
                &["LDR003"],
            ),
            ("cut", |b| b.truncate(b.len() - 600), &["LDR004", "LDR003"]),
            ("header cut", |b| b.truncate(101), &["LDR001"]),
            ("magic", |b| b[0] = b'X', &["LDR001"]),
            ("header size", |b| b[4] = 0, &["LDR001"]),
            ("empty", Vec::clear, &["LDR001"]),
            (
                "an entry ends behind the end",
                |b| {
                    put32(b, record(5) + 49, 0x7fff_ffff);
                    seal(b);
                },
                &["LDR004"],
            ),
            (
                "an entry starts behind the end",
                |b| {
                    put32(b, record(2) + 45, u32::MAX);
                    seal(b);
                },
                &["LDR004", "LDR014"],
            ),
            (
                "255 entries",
                |b| {
                    b[37] = 255;
                    let at = u32::try_from(b.len() - 57).unwrap();
                    put32(b, 38, at);
                    seal(b);
                },
                &["LDR005", "LDR004", "LDR007", "LDR014", "LDR010"],
            ),
            (
                "table behind the end",
                |b| {
                    put32(b, 32, u32::MAX);
                    seal(b);
                },
                &["LDR005", "LDR014", "LDR009", "LDR012"],
            ),
            (
                "records too short",
                |b| {
                    b[42] = 56;
                    seal(b);
                },
                &["LDR002", "LDR014", "LDR010"],
            ),
            (
                "entries overlap",
                |b| {
                    let at = u32::from_le_bytes(b[record(3) + 45..][..4].try_into().unwrap());
                    put32(b, record(4) + 45, at + 512);
                    seal(b);
                },
                &["LDR006", "LDR014", "LDR011"],
            ),
            (
                "an entry overlaps the tables",
                |b| {
                    put32(b, record(2) + 45, 200);
                    seal(b);
                },
                // And the two entries behind, which are as long.
                &["LDR006", "LDR006", "LDR006", "LDR014", "LDR012"],
            ),
            (
                "unknown type",
                |b| {
                    b[record(1) + 1] = 3;
                    seal(b);
                },
                &["LDR007"],
            ),
            ("data behind", |b| b.extend_from_slice(b"more"), &["LDR008"]),
            ("fill behind", |b| b.resize(b.len() + 512, 0), &["LDR008"]),
            (
                "nothing for USB",
                |b| {
                    (b[25], b[31]) = (0, 0);
                    seal(b);
                },
                &["LDR014", "LDR009", "LDR009"],
            ),
            (
                "no FlashBoot",
                |b| {
                    b[record(5) + 5] = b'X';
                    seal(b);
                },
                &["LDR010", "LDR011"],
            ),
            (
                "flash part",
                |b| {
                    let at = b.len() - 100;
                    b[at] ^= 1;
                    seal(b);
                },
                &["LDR011"],
            ),
            (
                "USB part",
                |b| {
                    b[record(6) + 0x10] ^= 1;
                    seal(b);
                },
                &["LDR012"],
            ),
            (
                "flash part stored plain",
                |b| {
                    let at = u32::from_le_bytes(b[record(3) + 45..][..4].try_into().unwrap()) as usize;
                    coding::rc4_blocks(&mut b[at..at + 2048]);
                    seal(b);
                },
                &["LDR013"],
            ),
            (
                "month 13",
                |b| {
                    b[16] = 13;
                    seal(b);
                },
                &["LDR015"],
            ),
            (
                "signed",
                |b| {
                    b[43] = b'S';
                    seal(b);
                },
                &["LDR016"],
            ),
            (
                "unknown chip",
                |b| {
                    b[21..25].copy_from_slice(&[0x60, 0, 0, 0]);
                    seal(b);
                },
                &["LDR017"],
            ),
        ],
    );
}

#[test]
fn the_idblock_inside_is_handed_out() {
    let file = sample();
    let (found, report) = loader::parse(&file);
    let found = found.unwrap();
    assert!(report.is_empty(), "{report:?}");
    assert_eq!((found.soc(), found.chip.as_str()), (Some(Soc::Rk3588), "3588"));
    assert_eq!(found.idblock(&file).unwrap(), block());
    assert_eq!(found.usb_block(&file).unwrap(), block());
    assert_eq!(found.flash.as_ref().unwrap().images.len(), 2);
    assert_eq!(found.entry(Use::Flash, "FlashBoot").unwrap().scrambling, Scrambling::Blocks);
    assert_eq!(found.flash_parts(&file).unwrap().1, block()[2048 + 4096..]);
}

#[test]
fn old_files_are_scrambled_as_a_whole() {
    // As boot_merger made them for the RK3399: no idblock header, all parts scrambled.
    let mut file = sample();
    file[..4].copy_from_slice(b"BOOT");
    file[21..25].copy_from_slice(b"C033");
    for number in 0..3 {
        let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap()) as usize;
        let (at, size) = (word(record(number) + 45), word(record(number) + 49));
        coding::rc4(&mut file[at..at + size]);
    }
    // The entry is there, and is no idblock header any more.
    file[record(3) + 5] = b'X';
    file[record(0) + 5] = b'X';
    seal(&mut file);
    let (found, report) = loader::parse(&file);
    let found = found.unwrap();
    assert_eq!(codes(&report), Vec::<&str>::new());
    assert_eq!((found.soc(), found.form.tag()), (Some(Soc::Rk3399), "BOOT"));
    assert!(found.entries[..3].iter().all(|entry| entry.scrambling == Scrambling::Stream));
    assert_eq!((found.idblock(&file), found.usb_block(&file)), (None, None));
    let (data, boot) = found.flash_parts(&file).unwrap();
    assert_eq!((&data[..3000], &boot[..5000]), (&[0x11; 3000][..], &[0x22; 5000][..]));
    assert_eq!(found.entry_data(&file, &found.entries[1]).unwrap(), data);
}

#[test]
fn what_entries_claim_costs_a_bounded_amount_of_work() {
    // All 765 entries claim the whole file.
    let mut file = sample();
    let tables = file.len();
    file.resize(4_000_000, 0x55);
    for (table, offset) in [(25, 0), (31, 255), (37, 510)] {
        file[table] = 255;
        put32(&mut file, table + 1, u32::try_from(tables + offset * 57).unwrap());
        for number in offset..offset + 255 {
            let at = tables + number * 57;
            put32(&mut file, at + 1, [1, 2, 4][offset / 255]);
            put32(&mut file, at + 45, 0);
            put32(&mut file, at + 49, 4_000_000);
        }
    }
    let start = std::time::Instant::now();
    touch(&file);
    assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
    let unhashed = facts(&file).iter().filter(|fact| fact.value.ends_with("sha256_raw=None")).count();
    assert_eq!(unhashed, 765 - 4);
}

#[test]
fn a_loader_file_for_one_chip_with_the_code_of_another_is_refused() {
    // RK3399 in the header, and an idblock v2 inside.
    let mut file = sample();
    file[21..25].copy_from_slice(b"C033");
    seal(&mut file);
    assert_eq!(codes(&loader::parse(&file).1), ["LDR018"]);
    let Some(path) = testkit::shared("testdata/friendlyelec-sd-fuse/rk3588-MiniLoaderAll.bin") else { return };
    let mut file = testkit::read(path);
    file[21..25].copy_from_slice(b"6753");
    seal(&mut file);
    let (found, report) = loader::parse(&file);
    assert_eq!(found.unwrap().soc(), Some(Soc::Rk3576));
    assert!(report.iter().count() >= 2 && report.iter().all(|finding| finding.code == "LDR018"), "{report:?}");
    assert!(report.iter().next().unwrap().message.contains("published for rk3588"), "{report:?}");
}

#[test]
fn public_loader_files_are_read() {
    let Some(root) = testkit::shared("testdata") else { return };
    for (path, soc, images, usb, size, digest) in [
        (
            "rk3588-MiniLoaderAll.bin",
            Soc::Rk3588,
            2,
            2,
            317_440,
            "c50ed48f2cb3278ea17776f90620310962f6ab9794b032ba9098a84ba792702d",
        ),
        ("rk3576-MiniLoaderAll.bin", Soc::Rk3576, 3, 2, 348_160, ""),
    ] {
        let file = testkit::read(root.join("friendlyelec-sd-fuse").join(path));
        let (found, report) = loader::parse(&file);
        let found = found.unwrap();
        assert!(report.is_empty(), "{path}: {report:?}");
        assert_eq!(found.soc(), Some(soc));
        assert_eq!(found.flash.as_ref().unwrap().images.len(), images);
        assert_eq!(found.usb.as_ref().unwrap().images.len(), usb);
        let block = found.idblock(&file).unwrap();
        assert_eq!(block.len(), size, "{path}");
        assert!(digest.is_empty() || Digest::of(&block).hex() == digest);
        assert!(idblock::parse_for(&block, Some(soc)).1.is_empty());
        let (examined, report) = examine(&file, None);
        assert_eq!((examined.kind.describe(), codes(&report)), ("loader file", vec!["BOT002"]));
    }
}

// --- LOADER images

fn image() -> Vec<u8> {
    let parts = loader_image::Parts { data: b"U-Boot 2017.09 of our own", slot: 64 * 1024, ..Default::default() };
    loader_image::build(&loader_image::Parts { copies: 2, ..parts }).unwrap()
}

#[test]
fn damaged_loader_images_are_explained() {
    check_table(
        &image(),
        |bytes| loader_image::parse(bytes).1,
        &[
            ("sound", |_| {}, &[]),
            ("magic", |b| b[7] = 0, &["LEG001"]),
            ("header cut", |b| b.truncate(2047), &["LEG001"]),
            ("empty", Vec::clear, &["LEG001"]),
            ("cut", |b| b.truncate(2060), &["LEG002"]),
            ("checksum", |b| b[24] ^= 1, &["LEG003", "LEG009"]),
            ("load address", |b| b[17] ^= 1, &["LEG004", "LEG009"]),
            ("data", |b| b[2048] ^= 1, &["LEG003", "LEG004", "LEG007", "LEG009"]),
            ("data of copy 2", |b| b[65536 + 2048] ^= 1, &["LEG009"]),
            ("magic of copy 2", |b| b[65536] ^= 1, &["LEG009"]),
            ("hash of 33 bytes", |b| b[28] = 33, &["LEG005", "LEG009"]),
            ("no hash", |b| b[28] = 0, &["LEG006", "LEG009"]),
            ("js hash", |b| b[64] ^= 1, &["LEG007", "LEG009"]),
            (
                "no js hash",
                |b| {
                    put32(b, 64, 0);
                    put32(b, 65536 + 64, 0);
                },
                &[],
            ),
            (
                "signed",
                |b| {
                    b[1024..1028].copy_from_slice(&0x4e47_4953_u32.to_le_bytes());
                    b.copy_within(..65536, 65536);
                },
                &["LEG008"],
            ),
            ("odd size", |b| b[20] = 27, &["LEG010", "LEG003", "LEG004", "LEG007", "LEG009"]),
            ("no data", |b| b[20] = 0, &["LEG011", "LEG003", "LEG004", "LEG007", "LEG009", "LEG012"]),
            ("all of it", |b| put32(b, 20, u32::MAX), &["LEG010", "LEG002"]),
            ("data behind", |b| b[4096] = 1, &["LEG012"]),
            ("data behind the copies", |b| b.extend_from_slice(&[1; 99]), &["LEG012"]),
        ],
    );
}

#[test]
fn loader_images_are_built_as_asked() {
    let file = image();
    let (found, _) = loader_image::parse(&file);
    let found = found.unwrap();
    assert_eq!((found.size, found.load, found.slots.len()), (28, 0x20_0000, 2));
    assert_eq!(found.data(&file), b"U-Boot 2017.09 of our own\0\0\0");
    let (examined, report) = examine(&file, None);
    assert_eq!((examined.kind.describe(), codes(&report)), ("LOADER image", vec!["BOT008", "BOT006"]));
    assert_eq!(trim(&examined).unwrap(), 65536);

    let parts = loader_image::Parts { kind: Kind::Trust, data: &[7; 100], version: 3, ..Default::default() };
    let file = loader_image::build(&parts).unwrap();
    assert_eq!((file.len(), loader_image::parse(&file).1.len()), (4 << 20, 0));

    for (parts, words) in [
        (loader_image::Parts { data: &[], ..parts }, "empty"),
        (loader_image::Parts { slot: 65536, data: &vec![1; 65536 - 2047], ..parts }, "at most 65536 fit"),
        (loader_image::Parts { slot: 1000, ..parts }, "multiple of 64 KiB"),
        (loader_image::Parts { copies: 0, ..parts }, "1 to 16 slots"),
        (loader_image::Parts { slot: 1 << 40, ..parts }, "at most 64 MiB"),
    ] {
        let error = loader_image::build(&parts).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }
}

/// The header by the description of the format alone, in another language.
const PACKER: &str = r#"
import hashlib, struct, sys
data = open(sys.argv[1], "rb").read()
version, load, algorithm = int(sys.argv[3]), int(sys.argv[4]), sys.argv[5]
data += bytes(-len(data) % 4)
crc = 0
for byte in data:
    crc ^= byte << 24
    for _ in range(8):
        crc = ((crc << 1) ^ (0x04C10DB7 if crc & 0x80000000 else 0)) & 0xFFFFFFFF
js = 0x47C6A7E6
for byte in data:
    js ^= ((js << 5) + byte + (js >> 2)) & 0xFFFFFFFF
    js &= 0xFFFFFFFF
length = hashlib.new(algorithm).digest_size
covered = data + (struct.pack("<Q", version) if version > 0 else b"") + struct.pack("<3I", load, len(data), length)
digest = hashlib.new(algorithm, covered).digest().ljust(32, b"\0")
slot = struct.pack("<8s6I32sI", b"LOADER  ", version, 0, load, len(data), crc, length, digest, js)
slot = (slot.ljust(2048, b"\0") + data).ljust(128 << 10, b"\0")
open(sys.argv[2], "wb").write(slot * 3)
"#;

#[test]
fn loader_images_are_those_of_an_independent_packer() {
    let Some(python) = testkit::tool("python3") else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let data: Vec<u8> =
        (0..30_003_u32).flat_map(|n| (n.wrapping_mul(2_654_435_761) >> 16).to_le_bytes()).take(99_001).collect();
    std::fs::write(path("data"), &data).unwrap();
    for (version, algorithm) in [(0, "sha256"), (5, "sha256"), (0, "sha1"), (7, "sha1")] {
        let mut command = std::process::Command::new(&python);
        command.arg("-c").arg(PACKER).args([path("data"), path("out")]);
        command.arg(version.to_string()).arg(0x60_0000.to_string()).arg(algorithm);
        testkit::run(&mut command);
        let expected = testkit::read(path("out"));
        let (found, report) = loader_image::parse(&expected);
        let found = found.unwrap();
        assert!(report.is_empty(), "{version} {algorithm}: {report:?}");
        assert_eq!((found.version, found.slots.len(), found.size), (version, 3, 99_004));
        if algorithm == "sha256" {
            let parts = loader_image::Parts {
                data: &data,
                version,
                load: 0x60_0000,
                slot: 128 << 10,
                copies: 3,
                kind: Kind::UBoot,
            };
            assert!(loader_image::build(&parts).unwrap() == expected, "version {version}");
        } else {
            assert_eq!(found.hash.len(), 20);
        }
    }
}

// --- BL3X images

#[test]
fn damaged_trust_images_are_explained() {
    check_table(
        &trust::sample(),
        |bytes| trust::parse(bytes).1,
        &[
            ("sound", |_| {}, &[]),
            ("magic", |b| b[0] = 0, &["LEG020"]),
            ("header cut", |b| b.truncate(799), &["LEG020"]),
            ("records cut", |b| b.truncate(900), &["LEG023"]),
            ("empty", Vec::clear, &["LEG020"]),
            ("no components", |b| b[14] = 0, &["LEG021", "LEG022"]),
            ("16 components", |b| b[14] = 16, &["LEG021"]),
            ("signature elsewhere", |b| b[12] -= 1, &["LEG022"]),
            ("component cut", |b| b.truncate(4200), &["LEG023"]),
            ("component behind the end", |b| put32(b, 896 + 256 + 16 + 4, 0x00ff_ffff), &["LEG023"]),
            ("largest component", |b| put32(b, 896 + 256 + 16 + 8, u32::MAX), &["LEG023"]),
            ("component in the header", |b| put32(b, 896 + 256 + 4, 3), &["LEG024", "LEG025", "LEG028"]),
            ("components overlap", |b| put32(b, 896 + 256 + 16 + 4, 7), &["LEG024", "LEG025", "LEG028", "LEG031"]),
            ("hash", |b| b[800] ^= 1, &["LEG025", "LEG028"]),
            ("data", |b| b[2048] ^= 1, &["LEG025", "LEG028"]),
            ("data of copy 2", |b| b[65536 + 2048] ^= 1, &["LEG028"]),
            ("filler of the signature", |b| b[900] ^= 1, &[]),
            ("no hash", |b| b[8] = 0x20, &["LEG026", "LEG028"]),
            ("unknown hash", |b| b[8] = 0x29, &["LEG026", "LEG028"]),
            ("signed", |b| b[40] = 1, &["LEG028", "LEG027"]),
            ("unknown name", |b| b[896 + 256] = b'X', &["LEG029", "LEG028"]),
            ("load size", |b| b[800 + 36] = 5, &["LEG030", "LEG028"]),
            ("data behind", |b| b[9000] = 1, &["LEG031"]),
        ],
    );
}

#[test]
fn every_kind_of_hash_is_checked() {
    let Some(python) = testkit::tool("python3") else { return };
    let data = |number: u8| if number == 0 { vec![0x31; 2048] } else { vec![0x32; 1024] };
    for (flags, script) in [
        (0x21, "hashlib.sha1(data).digest().ljust(32, b'\\0')"),
        (0x21, "hashlib.sha256(data).digest()"),
        (0x22, "hashlib.sha256(b''.join(data[n:n+4][::-1] for n in range(0, len(data), 4))).digest()"),
        (0x23, "hashlib.sha256(data).digest()"),
    ] {
        let mut file = trust::sample();
        // Words that are not the same in both orders.
        for start in [0, 65536] {
            file[start + 8] = flags;
            for (at, byte) in (start + 2048..start + 2048 + 3072).zip((0..=250).cycle()) {
                file[at] = byte;
            }
            for number in 0..2_usize {
                let range = if number == 0 { 2048..4096 } else { 4096..5120 };
                assert_eq!(range.len(), data(u8::from(number == 1)).len());
                let text: String = file[range].iter().map(|byte| format!("{byte:02x}")).collect();
                let program = format!("import hashlib\ndata = bytes.fromhex('{text}')\nprint(({script}).hex())");
                let printed = testkit::run(std::process::Command::new(&python).arg("-c").arg(program));
                for (byte, pair) in
                    file[start + 800 + number * 48..][..32].iter_mut().zip(printed.trim().as_bytes().chunks(2))
                {
                    *byte = u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
                }
            }
        }
        let (found, report) = trust::parse(&file);
        assert!(report.is_empty(), "{flags:#x} {script}: {report:?}");
        assert!(found.unwrap().components.iter().all(|component| component.check == idblock::Check::Valid));
        file[2049] ^= 1;
        assert_eq!(codes(&trust::parse(&file).1), ["LEG025", "LEG028"]);
    }
}

#[test]
fn a_public_trust_image_is_sound() {
    let Some(path) = testkit::shared("testdata/ophub/easepi-a2-rk3568-trust.img") else { return };
    let bytes = testkit::read(path);
    let (file, report) = examine(&bytes, None);
    assert_eq!((file.kind.describe(), codes(&report)), ("BL3X trust image", vec!["BOT008", "BOT006"]));
    assert_eq!((trim(&file).unwrap(), file.content_end, file.copies.len()), (1 << 20, 364 * 512, 2));
    let BootFileKind::Trust(found) = &file.kind else { panic!("{:?}", file.kind) };
    assert_eq!((found.rsa(), found.signed, found.components[0].data(&bytes).len()), ("RSA-2048 PSS", false, 348 * 512));
}

// --- tables of device trees

fn overlay(value: &str) -> Vec<u8> {
    use dtbtool::model::{DeviceTree, Node, Property};
    let mut tree = DeviceTree::new();
    let fragment = Node::new("fragment@0")
        .with(Property::string("target-path", "/chosen"))
        .with_child(Node::new("__overlay__").with(Property::string("bootargs", value)));
    *tree.root_mut() = Node::new("").with_child(fragment);
    tree.to_bytes(&dtbtool::WriteOptions::default()).unwrap()
}

fn table() -> Vec<u8> {
    let (a, b) = (overlay("a"), overlay("root=/dev/mmcblk0p8"));
    let overlays = [
        dtbo_table::Overlay { tree: &a, id: 1, rev: 2, custom: [3, 4, 5, 6] },
        dtbo_table::Overlay { tree: &b, id: 7, ..Default::default() },
        dtbo_table::Overlay { tree: &a, id: 8, ..Default::default() },
    ];
    dtbo_table::build(&dtbo_table::Parts { overlays: &overlays, ..Default::default() }).unwrap()
}

#[test]
fn damaged_tables_are_explained() {
    fn put(bytes: &mut [u8], at: usize, value: u32) {
        bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
    }
    check_table(
        &table(),
        |bytes| dtbo_table::parse(bytes).1,
        &[
            ("sound", |_| {}, &[]),
            ("magic", |b| b[0] = 0, &["LEG040"]),
            ("header cut", |b| b.truncate(31), &["LEG040"]),
            ("empty", Vec::clear, &["LEG040"]),
            (
                "cut",
                |b| {
                    b.pop();
                },
                &["LEG041", "LEG047"],
            ),
            ("data behind", |b| b.push(7), &["LEG042"]),
            ("fill behind", |b| b.resize(4096, 0), &[]),
            ("version 2", |b| b[31] = 2, &["LEG043", "LEG049"]),
            ("short entries", |b| b[15] = 16, &["LEG043"]),
            ("no entries", |b| b[19] = 0, &["LEG044"]),
            ("entries behind the end", |b| put(b, 20, u32::MAX), &["LEG046"]),
            ("tree behind the end", |b| put(b, 32, 0x7fff_ffff), &["LEG047", "LEG048", "LEG048"]),
            ("tree in the table", |b| put(b, 36, 40), &["LEG048", "LEG048", "DTB002"]),
            (
                "trees overlap",
                |b| {
                    let at = u32::from_be_bytes(b[36..40].try_into().unwrap());
                    put(b, 64 + 4, at + 4);
                },
                &["LEG048", "DTB002"],
            ),
            (
                "compressed",
                |b| {
                    b[31] = 1;
                    b[64 + 16 + 3] = 2;
                },
                &["LEG049", "LEG049"],
            ),
            ("a tree is damaged", |b| b[128] = 0, &["DTB002"]),
        ],
    );
}

#[test]
fn a_table_that_claims_too_many_entries_is_read_in_part() {
    let mut file = table();
    file[16..20].copy_from_slice(&u32::MAX.to_be_bytes());
    let found = codes(&dtbo_table::parse(&file).1);
    assert_eq!(found[..2], ["LEG045", "LEG046"]);
}

#[test]
fn tables_are_read_back_as_they_were_built() {
    let file = table();
    let (found, report) = dtbo_table::parse(&file);
    let found = found.unwrap();
    assert!(report.is_empty());
    assert_eq!(found.entries[0].range, found.entries[2].range, "equal trees are stored once");
    assert_eq!(
        (found.entries[0].rev, found.entries[0].custom, found.total_size as usize),
        (2, [3, 4, 5, 6], file.len())
    );
    assert_eq!(found.entries[1].data(&file), overlay("root=/dev/mmcblk0p8"));
    assert_eq!(rebuild(&found, &file), file);
    let error =
        dtbo_table::build(&dtbo_table::Parts { overlays: &[dtbo_table::Overlay::default()], ..Default::default() });
    assert!(error.unwrap_err().to_string().contains("device tree is empty"));
    let many = vec![dtbo_table::Overlay { tree: b"x", ..Default::default() }; 1025];
    let error = dtbo_table::build(&dtbo_table::Parts { overlays: &many, ..Default::default() });
    assert!(error.unwrap_err().to_string().contains("up to 1024"));
}

fn rebuild(table: &dtbo_table::DtboTable, file: &[u8]) -> Vec<u8> {
    let overlays: Vec<_> = table
        .entries
        .iter()
        .map(|entry| dtbo_table::Overlay { tree: entry.data(file), id: entry.id, rev: entry.rev, custom: entry.custom })
        .collect();
    let parts = dtbo_table::Parts { overlays: &overlays, page_size: table.page_size, version: table.version };
    dtbo_table::build(&parts).unwrap()
}

#[test]
fn public_tables_are_sound_and_built_again_byte_for_byte() {
    let Some(root) = testkit::shared("testdata/friendlyelec-sd-fuse") else { return };
    for name in ["rk3588-dtbo.img", "rk3588-dtbo-plain.img", "rk3576-dtbo-plain.img"] {
        let file = testkit::read(root.join(name));
        let (found, report) = dtbo_table::parse(&file);
        let found = found.unwrap();
        assert!(!report.has_errors() && found.entries.len() == 2, "{name}: {report:?}");
        assert_eq!(rebuild(&found, &file), file, "{name}");
    }
}

// --- parameter files

const PARAMETER: &str = "FIRMWARE_VER: 12.0\nMACHINE_MODEL: RK3588\n# a remark\nTYPE: GPT\r\n\
    CMDLINE: console=ttyFIQ0 mtdparts=rk29xxnand:0x2000@0x4000(uboot),0x2000(misc),8192@32768(boot),-@0x46000(rootfs:grow)\n\
    uuid:rootfs=614e0000-0000-4b53-8000-1d28000054a9\n";

#[test]
fn parameter_files_become_partitions() {
    let (found, report) = parameter::parse(PARAMETER.as_bytes());
    let found = found.unwrap();
    assert!(report.is_empty(), "{report:?}");
    let seen: Vec<_> = found.partitions.iter().map(|p| (p.name.as_str(), p.start, p.size)).collect();
    assert_eq!(
        seen,
        [
            ("uboot", 0x4000, Some(0x2000)),
            ("misc", 0x6000, Some(0x2000)),
            ("boot", 0x8000, Some(0x2000)),
            ("rootfs", 0x4_6000, None)
        ]
    );
    assert_eq!((found.device.as_str(), found.get("TYPE")), ("rk29xxnand", Some("GPT")));
    let rootfs = &found.partitions[3];
    assert_eq!(
        (rootfs.flags.as_slice(), rootfs.uuid.as_deref()),
        (&["grow".to_owned()][..], Some("614e0000-0000-4b53-8000-1d28000054a9"))
    );
    assert_eq!(&PARAMETER[rootfs.text.start as usize..rootfs.text.end as usize], "-@0x46000(rootfs:grow)");
    let layout = found.layout(1 << 30);
    assert!(layout.overlaps().is_empty());
    assert_eq!(layout.sorted()[3].range, 0x4_6000 * 512..1 << 30);
    let (file, report) = examine(PARAMETER.as_bytes(), None);
    assert_eq!((file.kind.describe(), codes(&report)), ("parameter file", vec!["BOT002"]));
}

#[test]
fn wrong_parameter_files_are_explained() {
    let mut wrong = Vec::new();
    for (list, extra, expected) in [
        ("0x2000@0x4000(uboot)", "", &[][..]),
        ("-", "", &["LEG062", "LEG061"]),
        ("", "", &["LEG062", "LEG061"]),
        ("0x2000@0x4000", "", &["LEG062", "LEG061"]),
        ("0x2000@0x4000()", "", &["LEG062", "LEG061"]),
        ("0@0x4000(x)", "", &["LEG062", "LEG061"]),
        ("4M@0x8000(x),1@0x8000(y)", "", &["LEG062"]),
        ("0xffffffffffffffff@1(x),1@0x8000(y)", "", &["LEG062"]),
        ("<SIZE>@0x8000(x),-@<START>(y),1@0x8000(z)", "", &["LEG062", "LEG062"]),
        ("1@0x8000(x),1@0x8000(y)", "", &["LEG063"]),
        ("-@0x8000(x),1@0x9000(y)", "", &["LEG063"]),
        ("9@0x8000(x),1@0x8001(y),1@0x8008(z)", "", &["LEG063", "LEG063"]),
        ("64@0(x)", "", &["LEG064"]),
        ("0x2000@64(loader1),0x2000@0x4000(loader2)", "", &[]),
        ("0x8000@0x2000(boot)", "", &["LEG064"]),
        ("-@1(boot)", "", &["LEG064", "LEG064", "LEG064"]),
        ("1@0x8000(x)", "NEW_KEY: 1\n", &["LEG065"]),
        ("1@0x8000(x)", "no key\n", &["LEG066"]),
        ("1@0x8000(x),1@0x9000(x)", "", &["LEG067"]),
        ("1@0x8000(x)", "uuid:y=1\n", &["LEG068"]),
    ] {
        let text = format!("FIRMWARE_VER: 1.0\nCMDLINE: mtdparts=rk29xxnand:{list}\n{extra}");
        let found = codes(&parameter::parse(text.as_bytes()).1);
        if found != expected {
            wrong.push(format!("{list} {extra}: {found:?}, expected {expected:?}"));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    let many: String = (0..300).map(|n| format!("1@{}(p{n}),", 0x8000 + n)).collect();
    let text = format!("CMDLINE: mtdparts=rk29xxnand:{many}1@9(x)");
    assert_eq!(codes(&parameter::parse(text.as_bytes()).1), ["LEG069"]);
    assert_eq!(codes(&parameter::parse(b"text").1), ["LEG060"]);
    assert_eq!(codes(&parameter::parse(b"FIRMWARE_VER: 1\nCMDLINE: quiet\n").1), ["LEG061"]);
}

#[test]
fn a_template_is_recognised_as_one() {
    let Some(path) = testkit::shared("testdata/friendlyelec-sd-fuse/rk3588-parameter.template") else { return };
    let (found, report) = parameter::parse(&testkit::read(path));
    let found = found.unwrap();
    assert_eq!(codes(&report), ["LEG062", "LEG062"]);
    assert!(report.iter().all(|finding| finding.help.as_deref().unwrap().contains("template")));
    assert_eq!((found.partitions.len(), found.partitions[0].start, found.get("MACHINE")), (7, 0x4000, Some("NanoPi6")));
}

// --- random damage

#[test]
fn mutants_are_survived() {
    let small = |file: &[u8]| file[..file.len().min(12_000)].to_vec();
    let trust = trust::sample();
    let mut two_slots = image();
    two_slots.truncate(65536 + 2100);
    for (seed, count, original) in [
        (31, 3000, small(&sample())),
        (32, 100, sample()),
        (33, 2000, small(&trust)),
        (34, 40, trust),
        (35, 2000, small(&image())),
        (36, 40, two_slots),
        (37, 3000, table()),
        (38, 3000, PARAMETER.as_bytes().to_vec()),
    ] {
        testkit::mutants(seed, count, &original, touch);
    }
}
