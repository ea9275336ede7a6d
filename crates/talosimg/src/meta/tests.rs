use imgcore::Severity;
use proptest::prelude::*;

use super::*;

fn codes(report: &Report) -> Vec<&str> {
    report.iter().map(|finding| finding.code).collect()
}

fn values(list: &[(u8, &str)]) -> Vec<(u8, String)> {
    list.iter().map(|(tag, value)| (*tag, (*value).to_owned())).collect()
}

#[test]
fn keys_are_gos_unsigned_literals() {
    for (text, expected) in [
        ("0xa=x", Some((10, "x"))),
        ("0XA=x", Some((10, "x"))),
        ("10=a=b", Some((10, "a=b"))),
        ("0o12=", Some((10, ""))),
        ("012= v ", Some((10, " v "))),
        ("0b1010=v", Some((10, "v"))),
        ("0b1111_1111=v", Some((255, "v"))),
        ("0x_a=v", Some((10, "v"))),
        ("1_0=v", Some((10, "v"))),
        ("0_12=v", Some((10, "v"))),
        ("255=v", Some((255, "v"))),
        ("0=v", None),
        ("0x0=v", None),
        ("256=v", None),
        ("99999999999999999999999=v", None),
        ("08=v", None),
        ("0x=v", None),
        ("0b2=v", None),
        ("0o8=v", None),
        ("a=v", None),
        ("_1=v", None),
        ("1_=v", None),
        ("1__0=v", None),
        ("0x__a=v", None),
        ("+1=v", None),
        ("-1=v", None),
        (" 1=v", None),
        ("=v", None),
        ("10", None),
        ("", None),
        ("ü=v", None),
        ("0ü=v", None),
    ] {
        let got = parse_key(text).ok();
        assert_eq!(got.as_ref().map(|(key, value)| (*key, value.as_str())), expected, "{text}");
    }
    let error = parse_key("256=v").unwrap_err().to_string();
    assert_eq!(error, "META value \"256=v\": keys are 1 to 255");
}

#[test]
fn a_partition_has_two_equal_copies_and_zeros() {
    let bytes = encode(&values(&[(12, "two"), (10, "old"), (10, "addresses: []")])).unwrap();
    assert_eq!(bytes.len(), SIZE);
    assert_eq!(&bytes[..8], [0x5a, 0x4b, 0x3c, 0x2d, 0, 0, 0, 10]);
    assert_eq!(&bytes[12..25], b"addresses: []");
    assert_eq!(&bytes[COPY - 4..COPY], [0xa5, 0xb4, 0xc3, 0xd2]);
    assert_eq!(bytes[..COPY], bytes[COPY..COPIES]);
    assert!(bytes[COPIES..].iter().all(|byte| *byte == 0));
    assert_eq!(Digest::of(&bytes), Digest::of(&encode(&values(&[(10, "addresses: []"), (12, "two")])).unwrap()));
    assert_eq!(encode(&[]).unwrap(), vec![0; SIZE]);
}

#[test]
fn the_bytes_equal_the_imagers() {
    let Some(reference) = testkit::reference() else { return };
    for (case, lba) in [("v1.10.6-grub-meta", 2_277_376_u64), ("v1.13.9-grub-meta", 4_325_376)] {
        let path = reference.join("shared").join(case).join("metal-arm64.raw");
        let mut theirs = vec![0; SIZE];
        let mut file = std::fs::File::options().read(true).open(path).unwrap();
        std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(lba * 512)).unwrap();
        std::io::Read::read_exact(&mut file, &mut theirs).unwrap();
        assert!(theirs == encode(&values(&[(0xa, "addresses: []"), (0xc, "two")])).unwrap(), "{case}");
    }
}

#[test]
fn too_much_is_refused_with_the_largest_value() {
    let full = "x".repeat(CAPACITY - TAG_HEADER);
    let (meta, report) = parse(&encode(&[(1, full.clone())]).unwrap());
    assert!(report.is_empty());
    assert_eq!(meta.unwrap().text(1).map(|text| text.len()), Some(full.len()));
    let error = encode(&[(1, full + "x"), (10, "y".to_owned())]).unwrap_err().to_string();
    assert_eq!(
        error,
        "the META values need 262114 bytes, but a copy has room for 262104: shorten them; the largest is 0x1 with 262097 bytes"
    );
    assert!(encode(&values(&[(0, "v")])).is_err());
}

#[test]
fn damage_is_found_and_the_other_copy_is_taken() {
    let good = encode(&values(&[(10, "v")])).unwrap();
    let other = encode(&values(&[(10, "w")])).unwrap();
    let damage = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        let (meta, report) = parse(&bytes);
        let worst = report.worst();
        (meta.and_then(|meta| meta.text(10)), codes(&report).join(" "), worst)
    };
    let v = || Some("v".to_owned());
    for (name, got, expected) in [
        ("first", damage(&|b| b[100] = 1), (v(), "TAL002", Some(Severity::Warning))),
        ("second", damage(&|b| b[COPY] = 1), (v(), "TAL002", Some(Severity::Warning))),
        ("tail magic", damage(&|b| b[COPY - 1] = 1), (v(), "TAL002", Some(Severity::Warning))),
        ("both", damage(&|b| (b[9], b[COPY + 9]) = (1, 1)), (None, "TAL003", Some(Severity::Error))),
        (
            "differ",
            damage(&|b| b[COPY..COPIES].copy_from_slice(&other[..COPY])),
            (v(), "TAL004", Some(Severity::Warning)),
        ),
        ("syslinux", damage(&|b| b[SIZE - 1] = 1), (v(), "TAL005", Some(Severity::Info))),
        ("middle", damage(&|b| b[COPIES] = 1), (v(), "TAL005", Some(Severity::Info))),
        ("cut", damage(&|b| b.truncate(COPY)), (v(), "TAL001 TAL002", Some(Severity::Error))),
        ("short", damage(&|b| b.truncate(10)), (None, "TAL001 TAL003", Some(Severity::Error))),
        ("long", damage(&|b| b.push(0)), (v(), "TAL001", Some(Severity::Error))),
    ] {
        assert_eq!((got.0, got.1.as_str(), got.2), expected, "{name}");
    }
    assert_eq!(parse(&vec![0; SIZE]), (Some(Meta::default()), Report::new()));
}

/// A copy with these tag bytes and a right checksum, twice.
fn framed(tags: &[u8]) -> Vec<u8> {
    let mut copy = MAGIC_HEAD.to_be_bytes().to_vec();
    copy.extend_from_slice(tags);
    copy.resize(COPY - 4, 0);
    copy.extend(MAGIC_TAIL.to_be_bytes());
    let digest = Digest::of(&copy);
    copy[SHA_RANGE].copy_from_slice(digest.raw());
    copy.extend_from_within(..);
    copy.resize(SIZE, 0);
    copy
}

#[test]
fn odd_tags_in_a_sound_frame_are_found() {
    let tag = |tag: u32, length: u32, value: &[u8]| [&tag.to_be_bytes(), &length.to_be_bytes(), value].concat();
    for (tags, expected, count) in [
        ([tag(10, 1, b"a"), tag(10, 1, b"b")].concat(), "TAL007", 1),
        ([tag(0x10a, 1, b"a"), tag(11, 1, b"b")].concat(), "TAL008", 1),
        ([tag(10, 1, b"a"), tag(11, u32::MAX, b"b")].concat(), "TAL006", 1),
        ([tag(10, 0, b""), tag(0, 5, b"hello"), tag(11, 1, b"b")].concat(), "", 1),
    ] {
        let (meta, report) = parse(&framed(&tags));
        assert_eq!((codes(&report).join(" ").as_str(), meta.unwrap().values.len()), (expected, count));
    }
}

#[test]
fn no_mutant_panics() {
    // Damage in a frame whose checksum is made right again reaches the tags.
    let good = encode(&values(&[(6, "B"), (10, "addresses: []"), (12, "two"), (255, "")])).unwrap();
    let mut listed = std::collections::BTreeSet::new();
    testkit::mutants(3, 300, &good, |bytes| {
        listed.extend(parse(bytes).1.iter().map(|finding| finding.code));
    });
    testkit::mutants(4, 700, &good[4..200], |tags| {
        listed.extend(parse(&framed(tags)).1.iter().map(|finding| finding.code));
    });
    // Tags alone are cheap: no checksum of 256 KiB.
    testkit::mutants(5, 20_000, &good[4..200], |tags| {
        parse_tags(tags, 4, &mut Report::new());
    });
    assert!(listed.iter().all(|code| crate::rules::RULES.iter().any(|(rule, ..)| rule == code)), "{listed:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn what_is_written_reads_back(values in prop::collection::btree_map(1_u8.., "\\PC{0,40}", 1..20)) {
        let list: Vec<_> = values.clone().into_iter().rev().collect();
        let (meta, report) = parse(&encode(&list).unwrap());
        prop_assert!(report.is_empty());
        let meta = meta.unwrap();
        prop_assert_eq!(meta.values.keys().collect::<Vec<_>>(), values.keys().collect::<Vec<_>>());
        for (tag, value) in &values {
            prop_assert_eq!(meta.text(*tag), Some(value.clone()));
        }
    }
}
