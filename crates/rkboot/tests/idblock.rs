//! Idblocks v1 and the spread form: every finding, copies, what vendors do with them, and damage at random.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use imgcore::{Report, Severity};
use rkboot::{
    AnyBlock, BootFileKind, IdBlockV1, RULES, Soc, coding, examine, facts,
    idblock::{self, Parts, v1},
    ranges, trim,
};

/// Finds codes, and that each is listed with its severity and a cure.
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

/// Without the note that v1 has no hashes, which every report ends with.
fn v1_codes(bytes: &[u8], soc: Option<Soc>) -> Vec<&'static str> {
    let (block, report) = v1::parse_for(bytes, soc);
    let mut found = codes(&report);
    assert_eq!(block.is_some(), found.contains(&"IDB021"), "{found:?}");
    found.retain(|code| *code != "IDB021");
    found
}

fn make(soc: Soc, init: &[u8], boot: Option<&[u8]>) -> Vec<u8> {
    idblock::build(&Parts { soc, init, boot }).unwrap()
}

/// 2048 header, 6144 init, 10240 boot.
fn block() -> Vec<u8> {
    make(Soc::Rk3399, &[0x11; 5000], Some(&[0x22; 9000]))
}

/// Changes the header behind its scrambling.
fn header(bytes: &mut [u8], change: impl FnOnce(&mut [u8])) {
    coding::rc4(&mut bytes[..512]);
    change(&mut bytes[..512]);
    coding::rc4(&mut bytes[..512]);
}

fn put16(bytes: &mut [u8], at: usize, value: u16) {
    bytes[at..at + 2].copy_from_slice(&value.to_le_bytes());
}

const INIT_OFFSET: usize = 0xc;
const INIT_SIZE: usize = 0x1fa;
const BOTH_SIZES: usize = 0x1fc;

#[test]
fn every_code_about_idblocks_has_a_cure() {
    for (code, ..) in RULES.iter().filter(|(code, ..)| code.starts_with("IDB") && *code < "IDB050") {
        let cure = rkboot::rules::CURES.iter().find(|(of, _)| of == code);
        assert!(cure.is_some_and(|(_, cure)| !cure.is_empty() && !cure.ends_with('.')), "{code}");
    }
}

#[test]
fn damaged_v1_blocks_are_explained() {
    type Damage = fn(&mut Vec<u8>);
    let table: &[(&str, Option<Soc>, Damage, &[&str])] = &[
        ("sound", None, |_| {}, &[]),
        ("sound for its SoC", Some(Soc::Rk3399), |_| {}, &[]),
        ("another SoC with that tag", Some(Soc::Rk3308), |_| {}, &[]),
        ("v2 SoC", Some(Soc::Rk3588), |_| {}, &["IDB019"]),
        ("another tag", Some(Soc::Rk3328), |_| {}, &["IDB030"]),
        ("too large and another tag", Some(Soc::Rk3036), |_| {}, &["IDB012", "IDB030"]),
        ("plain where scrambled is usual", Some(Soc::Rk3188), |_| {}, &["IDB030", "IDB032"]),
        ("tag damaged", None, |b| b[0x800] ^= 1, &["IDB031"]),
        ("tag damaged for its SoC", Some(Soc::Rk3399), |b| b[0x800] ^= 0xff, &["IDB030"]),
        ("signed", Some(Soc::Rk3399), |b| b[0x800..0x804].copy_from_slice(b"RSAK"), &[]),
        ("signed, SoC unknown", None, |b| b[0x800..0x804].copy_from_slice(b"RSAK"), &[]),
        ("scrambling flag", None, |b| header(b, |h| h[8] = 7), &["IDB032"]),
        ("said to be scrambled", None, |b| header(b, |h| h[8] = 0), &["IDB031"]),
        ("init inside the header", None, |b| header(b, |h| put16(h, INIT_OFFSET, 3)), &["IDB006", "IDB031"]),
        ("init at 0", None, |b| header(b, |h| put16(h, INIT_OFFSET, 0)), &["IDB006", "IDB031", "IDB016"]),
        ("init behind its place", None, |b| header(b, |h| put16(h, INIT_OFFSET, 8)), &["IDB033", "IDB007", "IDB031"]),
        ("init behind the end", None, |b| header(b, |h| put16(h, INIT_OFFSET, 999)), &["IDB033", "IDB007"]),
        ("no init", None, |b| header(b, |h| put16(h, INIT_SIZE, 0)), &["IDB034"]),
        ("both smaller than init", None, |b| header(b, |h| put16(h, BOTH_SIZES, 3)), &["IDB034", "IDB022", "IDB016"]),
        ("init alone", None, |b| header(b, |h| put16(h, BOTH_SIZES, 12)), &["IDB022", "IDB016"]),
        ("init too large for the file", None, |b| header(b, |h| put16(h, INIT_SIZE, 40)), &["IDB034", "IDB007"]),
        ("all of 65535", None, |b| header(b, |h| h[12..].fill(0xff)), &["IDB033", "IDB007"]),
        ("2 MiB of boot code", None, |b| header(b, |h| put16(h, BOTH_SIZES, 4108)), &["IDB007", "IDB013"]),
        ("2 KiB cut off", None, |b| b.truncate(16_384), &["IDB007"]),
        ("padding cut off", None, |b| b.truncate(18_432 - 1240), &["IDB038"]),
        ("init cut", None, |b| b.truncate(5000), &["IDB007"]),
        ("only the header", None, |b| b.truncate(2048), &["IDB007"]),
        ("header cut", None, |b| b.truncate(2047), &["IDB001"]),
        ("only the magic", None, |b| b.truncate(4), &["IDB001"]),
        ("empty", None, Vec::clear, &["IDB001"]),
        ("magic", None, |b| b[1] ^= 1, &["IDB001"]),
        ("no v1", None, |b| b[..4].copy_from_slice(b"RKNS"), &["IDB001"]),
        ("data behind", None, |b| b.extend([7; 600]), &["IDB016"]),
        ("fill behind", None, |b| b.resize(99_999, 0xff), &[]),
        ("a flashing tool's sectors", None, |b| b[0x20a..0x20e].copy_from_slice(b"RK28"), &["IDB036"]),
        ("other sectors", None, |b| b[0x600] = 9, &["IDB036"]),
        (
            "second offset and CRC of a flashing tool",
            None,
            |b| {
                header(b, |h| {
                    h[14] = 4;
                    h[510] = 9;
                });
            },
            &[],
        ),
    ];
    let mut wrong = Vec::new();
    for (name, soc, damage, expected) in table {
        let mut bytes = block();
        damage(&mut bytes);
        let found = v1_codes(&bytes, *soc);
        if found != *expected {
            wrong.push(format!("{name}: {found:?}"));
        }
        touch(&bytes);
    }
    assert_eq!(wrong, Vec::<String>::new());
    // The reader of v2 names what it was given.
    let (none, report) = idblock::parse(&block());
    assert_eq!((none, codes(&report)), (None, vec!["IDB021"]));
}

#[test]
fn a_v1_block_says_what_it_is_made_of() {
    for soc in [Soc::Rk3399, Soc::Rk3188] {
        let (parsed, report) = v1::parse_for(&make(soc, &[0x11; 5000], Some(&[0x22; 9000])), Some(soc));
        assert_eq!(codes(&report), ["IDB021"]);
        let parsed = parsed.unwrap();
        assert_eq!((parsed.init.clone(), parsed.boot.clone()), (2048..8192, 8192..18_432));
        assert_eq!((&parsed.tag[..], parsed.length, parsed.bytes_missing), (soc.tag().as_bytes(), 18_432, 0));
        assert_eq!((parsed.disable_rc4, parsed.open_ended), (u32::from(soc == Soc::Rk3399), false));
        let bytes = make(soc, &[0x11; 5000], Some(&[0x22; 9000]));
        let plain = parsed.decoded(&bytes);
        assert_eq!((plain.len(), &plain[2052..2056], &plain[8192..8196]), (18_432, &[0x11; 4][..], &[0x22; 4][..]));
    }
    let facts: Vec<String> = facts(&make(Soc::Rk3188, b"x", Some(b"y"))).iter().map(ToString::to_string).collect();
    assert_eq!(facts[1], "idb-v1\t0\tdisable_rc4\t0");
    assert_eq!(facts[5], "idb-v1\t0\ttag_bytes\t524b3331 RK31", "as behind the scrambling");
}

#[test]
fn ddr_code_of_rkbin_is_known_in_v1_blocks() {
    let Some(path) = testkit::shared("testdata/rkbin/bin/rk33/rk3399_ddr_800MHz_v1.30.bin") else { return };
    let bytes = make(Soc::Rk3399, &testkit::read(path), Some(b"spl"));
    for bytes in [bytes.clone(), idblock::spread(&bytes)] {
        let parsed = v1::parse(&bytes).0.unwrap();
        let ddr = parsed.ddr(&bytes).unwrap();
        assert_eq!((ddr.version.as_str(), &ddr.files[..]), ("v1.30", &["rk3399_ddr_800MHz_v1.30.bin".to_owned()][..]));
        let without_form = |soc| {
            let mut found = v1_codes(&bytes, Some(soc));
            found.retain(|code| *code != "IDB037");
            found
        };
        assert_eq!(without_form(Soc::Rk3399), Vec::<&str>::new());
        assert_eq!(without_form(Soc::Rk3308), ["IDB024"]);
    }
}

#[test]
fn the_limit_of_the_px30_is_that_of_the_vendor_when_reading() {
    let bytes = make(Soc::Rk3326, &vec![1; 0x3000], Some(b"spl"));
    assert_eq!(v1_codes(&bytes, Some(Soc::Px30)), Vec::<&str>::new());
    let bytes = make(Soc::Rk3368, &vec![1; 0x3001], Some(b"spl"));
    assert_eq!(v1_codes(&bytes, Some(Soc::Px30)), ["IDB012"]);
}

/// Vendors append their miniloader to what mkimage made of the DDR code alone, without padding.
fn by_hand(boot: usize) -> Vec<u8> {
    let mut bytes = make(Soc::Rk3328, &vec![0x11; 28_000], None);
    bytes.extend(vec![0x33; boot]);
    bytes
}

#[test]
fn boot_code_appended_by_hand_is_no_damage() {
    let bytes = by_hand(72_196);
    assert_eq!(v1_codes(&bytes, Some(Soc::Rk3328)), ["IDB035"]);
    let parsed = v1::parse(&bytes).0.unwrap();
    assert!(parsed.open_ended && parsed.has_boot());
    // As measured on beikeyun's idbloader.bin: 102916 bytes, init 28672, 452092 bytes "missing".
    assert_eq!((bytes.len(), parsed.init.end, parsed.bytes_missing), (102_916, 30_720, 452_092));
    let (file, report) = examine(&bytes, Some(Soc::Rk3328));
    assert_eq!((codes(&report), trim(&file).unwrap()), (vec!["IDB035", "IDB021"], 102_916));

    // Padded to 512 KiB, as for nanopc-t4: the boot code ends with its last data.
    let mut padded = bytes.clone();
    padded.resize(512 * 1024, 0);
    let (file, report) = examine(&padded, Some(Soc::Rk3328));
    assert_eq!((codes(&report), file.content_end), (vec!["IDB035", "IDB021"], 104_448));

    // A copy, or a FIT, ends it too.
    let mut two = padded.clone();
    two.extend(&bytes);
    let (file, report) = examine(&two, None);
    assert_eq!(codes(&report), ["IDB035", "IDB021", "BOT006"]);
    assert_eq!((file.copies.len(), file.copies_equal), (2, true));
    let Some(root) = testkit::shared("testdata/debian-u-boot-rockchip-2025.01-3.2/rock64-rk3328") else { return };
    for pad_to in [0x3_8000, 0x7f_8000] {
        let mut combined = bytes.clone();
        combined.resize(pad_to, 0xff);
        combined.extend(testkit::read(root.join("u-boot.itb")));
        let (file, report) = examine(&combined, Some(Soc::Rk3328));
        assert!(!report.has_errors() && report.worst() != Some(Severity::Warning), "{report:?}");
        let BootFileKind::Combined { idblock: AnyBlock::V1(block), idblock_range, fit_range, .. } = &file.kind else {
            panic!("{:?}", file.kind)
        };
        assert!(block.open_ended);
        assert_eq!((idblock_range.clone(), fit_range.start), (0..104_448, pad_to as u64));
    }
}

#[test]
fn copies_of_v1_blocks_are_compared() {
    let one = block();
    let stride = 512 * 1024;
    let two = |copy: &[u8], at: usize| {
        let mut bytes = one.clone();
        bytes.resize(at, 0);
        bytes.extend_from_slice(copy);
        bytes
    };
    assert_eq!(two(&one, stride), idblock::copies(&one, 2).unwrap());
    assert_eq!(v1_codes(&two(&one, stride), None), Vec::<&str>::new());
    let (file, report) = examine(&two(&one, stride), None);
    assert_eq!((codes(&report), trim(&file).unwrap()), (vec!["IDB021", "BOT006"], one.len() as u64));
    assert_eq!(facts(&two(&one, stride)).iter().filter(|fact| fact.field == "bytes_missing").count(), 2);

    // A byte of the code, and one of the header.
    for at in [3000, 100] {
        let mut other = one.clone();
        other[at] ^= 1;
        let bytes = two(&other, stride);
        assert_eq!(v1_codes(&bytes, None), ["IDB015"]);
        let (file, _) = examine(&bytes, None);
        assert!(!file.copies_equal && trim(&file).is_err());
    }
    // Nobody looks for a copy there.
    assert_eq!(v1_codes(&two(&one, stride + 512), None), ["IDB016"]);

    // A block that is longer than the way to its copy.
    let mut long = make(Soc::Rk3399, b"....x", Some(&vec![5; 600_000]));
    long[stride..stride + one.len()].copy_from_slice(&one);
    assert_eq!(v1_codes(&long, None), ["IDB013", "IDB014"]);
}

#[test]
fn copies_in_files_for_spi_flash_are_found() {
    for soc in [Soc::Rk3399, Soc::Rk3588] {
        let one = make(soc, &[0x11; 5000], Some(&[0x22; 9000]));
        for stride in [128, 256].map(|size| size * 1024) {
            let mut bytes = one.clone();
            bytes.resize(stride, 0xff);
            bytes.extend_from_slice(&one);
            let (file, report) = examine(&bytes, Some(soc));
            assert_eq!(file.copies, [0..one.len() as u64, stride as u64..bytes.len() as u64], "{soc} {stride}");
            assert!(codes(&report).contains(&"IDB040"), "{report:?}");
            assert!(report.worst() == Some(Severity::Info));
            let parsed = facts(&bytes).iter().filter(|fact| fact.field == "bytes_missing").count();
            assert_eq!(parsed, 2);
        }
    }
}

#[test]
fn spread_blocks_are_recognised() {
    for soc in [Soc::Rk3399, Soc::Rk3188, Soc::Rk3588] {
        for boot in [None, Some(&[0x22; 9000][..])] {
            let flat = make(soc, &[0x11; 5000], boot);
            let bytes = idblock::spread(&flat);
            let (file, report) = examine(&bytes, Some(soc));
            assert!(codes(&report).contains(&"IDB037") && !report.has_errors(), "{soc}: {report:?}");
            assert_eq!((file.content_end, trim(&file).unwrap()), (bytes.len() as u64, bytes.len() as u64));
            // In erased flash, with something of another owner behind it.
            let mut flash = bytes.clone();
            flash.resize(4 * 1024 * 1024, 0xff);
            flash[2 * 1024 * 1024..][..8].copy_from_slice(b"LOADER  ");
            let (file, report) = examine(&flash, Some(soc));
            assert_eq!(file.content_end, bytes.len() as u64, "{soc}");
            let foreign = report.iter().find(|finding| finding.code == "BOT004").unwrap();
            assert!(foreign.message.ends_with("2097664; a legacy image (LOADER) at 2097152"), "{foreign}");
        }
    }
    // Damage stays damage, and is found where it lies.
    let mut bytes = idblock::spread(&make(Soc::Rk3588, &[0x11; 5000], Some(&[0x22; 9000])));
    bytes[4096] ^= 1;
    let (_, report) = idblock::parse(&bytes);
    assert_eq!(codes(&report), ["IDB009", "IDB037"]);
    assert_eq!(report.iter().next().unwrap().range, Some(4096..2048 * 7));
    bytes[8192] ^= 1;
    bytes[16_384] ^= 1;
    assert_eq!(codes(&idblock::parse(&bytes).1), ["IDB009", "IDB009", "IDB037"], "no hash is valid any more");

    // Something in an unused half.
    for soc in [Soc::Rk3399, Soc::Rk3588] {
        let mut bytes = idblock::spread(&make(soc, &[0x11; 5000], Some(&[0x22; 9000])));
        bytes[7000] = 1;
        let (_, report) = examine(&bytes, Some(soc));
        assert!(codes(&report).contains(&"IDB039"), "{soc}: {report:?}");
    }

    // A cut one.
    let bytes = idblock::spread(&block());
    let (parsed, report) = v1::parse(&bytes[..bytes.len() - 8192]);
    assert_eq!(parsed.unwrap().bytes_missing, 4096);
    assert_eq!(codes(&report), ["IDB007", "IDB021", "IDB037"]);
}

#[test]
fn an_open_spread_block_ends_where_the_flash_goes_on() {
    let Some(root) = testkit::shared("testdata/debian-u-boot-rockchip-2025.01-3.2") else { return };
    // Init code alone leaves 512 KiB, which spread reach over the FIT at 0xe0000.
    let mut bytes = idblock::spread(&make(Soc::Rk3399, &[0x11; 5000], None));
    let end = bytes.len() as u64;
    bytes.resize(0xe_0000, 0xff);
    bytes.extend(testkit::read(root.join("rock64-rk3328/u-boot.itb")));
    let (file, report) = examine(&bytes, Some(Soc::Rk3399));
    let BootFileKind::Combined { idblock_range, fit_range, .. } = &file.kind else { panic!("{:?}", file.kind) };
    assert_eq!((idblock_range.clone(), fit_range.start), (0..end, 0xe_0000));
    // The FIT is another board's, which is the one thing wrong here.
    let errors = report.iter().filter(|finding| finding.severity == Severity::Error).map(|finding| finding.code);
    assert_eq!(errors.collect::<Vec<_>>(), ["FIT050"], "{report:?}");
}

/// All that is offered for foreign bytes.
fn touch(bytes: &[u8]) {
    for soc in [Soc::Rk3399, Soc::Rk3188] {
        let (file, report) = examine(bytes, Some(soc));
        codes(&report);
        let written = trim(&file).unwrap_or(file.length);
        assert!(written <= file.length && file.content_end <= file.length && !file.copies.is_empty());
        let _ = ranges("x", &file, u64::MAX - 10, written).sorted();
    }
    let (block, report) = v1::parse(bytes);
    codes(&report);
    if let Some(block) = block {
        look(&block, bytes);
    }
    if let (Some(block), _) = idblock::parse(bytes) {
        assert!(block.decoded(bytes).len() <= bytes.len());
    }
    let _ = facts(bytes);
}

fn look(block: &IdBlockV1, bytes: &[u8]) {
    assert!(block.content_length <= bytes.len() as u64 && block.content_length <= block.length);
    assert_eq!(block.decoded(bytes).len() as u64, block.content_length);
    let _ = block.ddr(bytes);
}

#[test]
fn mutants_are_survived() {
    let spread = idblock::spread(&block());
    let scrambled = make(Soc::Rk3188, &[0x11; 1000], Some(&[0x22; 3000]));
    let v2 = idblock::spread(&make(Soc::Rk3588, &[0x11; 1000], Some(&[0x22; 3000])));
    let open = by_hand(3000);
    for (seed, count, original) in [
        (11, 3500, &block()[..]),
        (12, 2500, &spread),
        (13, 2000, &scrambled),
        (14, 1500, &v2),
        (15, 500, &open),
        (16, 40, &idblock::copies(&block(), 2).unwrap()),
    ] {
        testkit::mutants(seed, count, original, touch);
    }
    // Fields of the header with all their values, where damage of the scrambled bytes rarely gets to.
    for at in [8, INIT_OFFSET, INIT_SIZE, BOTH_SIZES] {
        for value in (0..=255).chain((255..=65_535).step_by(1021)) {
            for original in [&block(), &spread] {
                let mut bytes = original.clone();
                header(&mut bytes, |header| put16(header, at, value));
                touch(&bytes);
            }
        }
    }
}

#[test]
fn mutants_of_real_files_are_survived() {
    let Some(root) = testkit::shared("testdata/debian-u-boot-rockchip-2025.01-3.2") else { return };
    let card = testkit::read(root.join("rock64-rk3328/idbloader.img"));
    let flash = testkit::read(root.join("rockpro64-rk3399/u-boot-rockchip-spi.bin"));
    testkit::mutants(21, 150, &card, touch);
    testkit::mutants(22, 10, &flash, touch);
}

#[test]
fn a_claim_of_many_missing_bytes_is_not_believed() {
    let parts = Parts { soc: Soc::Rk3588, init: &[1; 3000], boot: Some(&vec![0; 1024 * 1024]) };
    let mut bytes = idblock::build(&parts).unwrap();
    let whole = bytes.len();
    bytes.truncate(whole - 512 * 1024);
    let (block, _) = idblock::parse(&bytes);
    assert_eq!(block.unwrap().images[1].check, idblock::Check::ValidIfPadded);
    bytes.truncate(whole - 512 * 1024 - 512);
    let (block, report) = idblock::parse(&bytes);
    assert_eq!(block.unwrap().images[1].check, idblock::Check::Wrong);
    assert!(report.has_errors());
}

/// A v2 block of this many images with a changed header, whose hash is right again.
fn v2(parts: usize, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut bytes = if parts == 3 {
        idblock::build_rk3576(&idblock::Rk3576Parts { boost: b"boost", ddr: b"ddr", spl: b"spl" }).unwrap()
    } else {
        make(Soc::Rk3588, b"ddr", Some(b"spl"))
    };
    change(&mut bytes);
    let digest = imgcore::Digest::of(&bytes[..0x600]);
    bytes[0x600..0x620].copy_from_slice(digest.raw());
    bytes
}

#[test]
fn what_no_known_v2_header_has_is_said() {
    let codes_of = |bytes: &[u8], soc| codes(&idblock::parse_for(bytes, soc).1);
    assert_eq!(codes_of(&v2(2, |_| {}), None), [""; 0]);
    assert_eq!(codes_of(&v2(2, |b| b[0x7c..0x80].copy_from_slice(&[0, 0, 0, 0x10])), None), ["IDB043"]);
    for at in [0x4, 0xd, 0x10, 0x5b, 0x80, 0x88, 0x1d8, 0x5fc, 0x620, 0x7ff] {
        assert_eq!(codes_of(&v2(2, |b| b[at] = 1), None), ["IDB042"], "{at:#x}");
    }
    let several = v2(2, |b| {
        b[4] = 1;
        b[0x620] = 1;
    });
    let report = idblock::parse(&several).1;
    let finding = report.iter().next().unwrap();
    assert_eq!(finding.severity, Severity::Info);
    assert!(finding.message.contains("4..8, 1568..2048"), "{finding}");

    let soc = Some(Soc::Rk3576);
    assert_eq!(codes_of(&v2(3, |_| {}), soc), [""; 0]);
    for (at, part) in [(0x7c, "0x3ffc0000"), (0x7c + 88, "0x3ff81000"), (0x60, "0x60")] {
        let bytes = v2(3, |b| b[at..at + 4].fill(if at == 0x60 { 0 } else { 0xff }));
        let report = idblock::parse_for(&bytes, soc).1;
        assert_eq!(codes(&report), ["IDB020"], "{at:#x}");
        assert!(report.iter().next().unwrap().message.contains(part));
    }
}

#[test]
fn a_sound_copy_is_named_beside_a_damaged_one() {
    let block = make(Soc::Rk3588, b"ddr", Some(b"spl"));
    let mut file = idblock::copies(&block, 2).unwrap();
    file[2048] ^= 1;
    for report in [idblock::parse(&file).1, examine(&file, None).1] {
        let damage = report.iter().find(|finding| finding.code == "IDB009").unwrap();
        assert!(damage.help.as_ref().unwrap().contains("copy 2 at byte 524288 is sound"), "{damage}");
    }
    file[512 * 1024 + 2048] ^= 2;
    let report = idblock::parse(&file).1;
    let damage = report.iter().find(|finding| finding.code == "IDB009").unwrap();
    assert!(!damage.help.as_ref().unwrap().contains("sound"), "{damage}");
}
