//! Damaged and hostile trees: every rule is found where it is broken, and nothing panics.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use dtbtool::{
    ErrorKind, Fdt, MAX_DEPTH, RULES, WriteOptions, check, facts,
    model::{DeviceTree, Node, Property},
    scan, to_dts,
};
use imgcore::Severity;
use proptest::prelude::*;

const BEGIN: u32 = 1;
const END_NODE: u32 = 2;
const PROP: u32 = 3;
const NOP: u32 = 4;
const END: u32 = 9;

/// A tree of given structure words, strings `name\0` and no reservations.
fn of_words(words: &[u32]) -> Vec<u8> {
    of_structure(&words.iter().flat_map(|word| word.to_be_bytes()).collect::<Vec<u8>>())
}

fn of_structure(structure: &[u8]) -> Vec<u8> {
    let strings = b"name\0";
    let at = |value: usize| u32::try_from(value).unwrap();
    let (off_struct, off_strings) = (56, 56 + structure.len());
    let header = [
        0xd00d_feed,
        at(off_strings + strings.len()),
        off_struct,
        at(off_strings),
        40,
        17,
        16,
        0,
        at(strings.len()),
        at(structure.len()),
    ];
    let mut bytes: Vec<u8> = header.iter().flat_map(|word| word.to_be_bytes()).collect();
    bytes.extend([0; 16]);
    bytes.extend(structure);
    bytes.extend(strings);
    bytes
}

fn set(bytes: &[u8], offset: usize, word: u32) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[offset..offset + 4].copy_from_slice(&word.to_be_bytes());
    bytes
}

fn get(bytes: &[u8], offset: usize) -> u32 {
    u32::from_be_bytes(bytes[offset..offset + 4].try_into().unwrap())
}

fn codes(bytes: &[u8]) -> Vec<&'static str> {
    scan(bytes).1.iter().map(|finding| finding.code).collect()
}

/// The strict view refuses exactly what the scan has an error about below DTB050.
fn strict_agrees(bytes: &[u8]) {
    let (_, report) = scan(bytes);
    let unreadable = report.iter().find(|finding| finding.severity == Severity::Error && finding.code < "DTB050");
    match (Fdt::parse(bytes), unreadable) {
        (Ok(_), None) => {}
        (Err(error), Some(finding)) => assert_eq!(error.kind().code(), Some(finding.code), "{error} / {finding}"),
        (strict, scanned) => panic!("strict view: {strict:?}, scan: {scanned:?}"),
    }
    for finding in &report {
        let rule = RULES.iter().find(|(code, ..)| *code == finding.code);
        assert_eq!(rule.map(|(_, severity, _)| *severity), Some(finding.severity), "{finding}");
    }
}

#[test]
fn rules_are_well_formed_and_unique() {
    for (index, (code, _, meaning)) in RULES.iter().enumerate() {
        let number = code.strip_prefix("DTB").unwrap_or_else(|| panic!("{code}"));
        assert!(number.len() == 3 && number.bytes().all(|byte| byte.is_ascii_digit()), "{code}");
        assert!(!meaning.ends_with('.') && !meaning.is_empty(), "{code}: {meaning}");
        assert!(RULES.iter().skip(index + 1).all(|(other, ..)| other > code), "{code} is out of order or twice");
    }
}

#[test]
fn every_structural_rule_is_found_where_it_is_broken() {
    let good = common::small_bytes();
    let off_struct = get(&good, 8);
    let (size_strings, size_struct) = (get(&good, 32), get(&good, 36));
    let total = get(&good, 4);
    let length = u32::try_from(good.len()).unwrap();
    assert_eq!(codes(&good), [] as [&str; 0]);
    let cases: &[(&str, Vec<u8>, &[&str])] = &[
        ("nothing", vec![], &["DTB001"]),
        ("39 bytes", good[..39].to_vec(), &["DTB001"]),
        ("other magic", set(&good, 0, 0xedfe_0dd0), &["DTB002"]),
        ("unfinished", set(&good, 0, !0xd00d_feed), &["DTB003"]),
        ("total size 0", set(&good, 4, 0), &["DTB004", "DTB007"]),
        ("total size of 4 GiB", set(&good, 4, u32::MAX), &["DTB004", "DTB012", "DTB013"]),
        ("cut by a byte", good[..good.len() - 1].to_vec(), &["DTB004"]),
        ("longer file", [good.as_slice(), &[0; 8]].concat(), &["DTB011"]),
        ("version 1", set(&set(&good, 20, 1), 24, 1), &["DTB005"]),
        ("version before last_comp", set(&good, 20, 15), &["DTB005"]),
        ("last_comp 18", set(&set(&good, 24, 18), 20, 18), &["DTB005"]),
        ("last_comp 2 as some FITs have", set(&good, 24, 2), &[]),
        ("version 18 that is readable as 17", set(&good, 20, 18), &["DTB009"]),
        ("structure not aligned", set(&good, 8, off_struct + 1), &["DTB006"]),
        ("reservations not aligned", set(&good, 16, 44), &["DTB006"]),
        ("structure beyond the end", set(&good, 36, u32::MAX - 3), &["DTB007"]),
        ("structure in the header", set(&good, 8, 4), &["DTB007", "DTB008"]),
        ("strings beyond the end", set(&good, 32, size_strings + 1), &["DTB007"]),
        ("strings offset of 4 GiB", set(&good, 12, u32::MAX), &["DTB007"]),
        ("reservations beyond the end", set(&good, 16, (length + 7) & !7), &["DTB007"]),
        ("strings over the structure", set(&good, 12, off_struct), &["DTB008"]),
        ("structure over the strings", set(&good, 36, size_struct + 4), &["DTB008"]),
        ("structure over the reservations", set(&set(&good, 8, 40), 36, size_struct + 32), &["DTB008"]),
        ("boot processor that is none", set(&good, 28, 7), &["DTB014"]),
        ("more than 2 MiB", set(&[good.as_slice(), &vec![0; 2 << 20]].concat(), 4, total + (2 << 20)), &["DTB012"]),
        (
            "more than 4 MiB",
            set(&[good.as_slice(), &vec![0; 4 << 20]].concat(), 4, total + (4 << 20)),
            &["DTB012", "DTB013"],
        ),
        // A pair of zeros is missing: the words of the structure follow, which end in no pair of zeros either.
        (
            "reservations without an end",
            {
                let mut bytes = good.clone();
                bytes[40..].iter_mut().for_each(|byte| *byte |= 1);
                bytes
            },
            &["DTB020"],
        ),
        ("leaked pointer", set(&set(&good, 40, 0x7f7f), 44, 0xf335_5000), &["DTB022"]),
        ("reservation that wraps", set(&set(&good, 48, u32::MAX), 52, u32::MAX), &["DTB022"]),
        ("unknown token", of_words(&[BEGIN, 0, 5, 6, END_NODE, END]), &["DTB030"]),
        ("half a token", of_structure(&[0, 0, 0, 1, 0, 0, 0, 0, 0, 0]), &["DTB031"]),
        ("property without its words", of_words(&[BEGIN, 0, PROP, 4]), &["DTB031"]),
        ("node name without an end", of_words(&[BEGIN, 0, BEGIN, 0x6162_6364]), &["DTB032"]),
        ("node name that is no text", of_words(&[BEGIN, 0, BEGIN, 0xff00_0000, END_NODE, END_NODE, END]), &["DTB033"]),
        ("property of 4 GiB", of_words(&[BEGIN, 0, PROP, u32::MAX, 0, END_NODE, END]), &["DTB034"]),
        ("property into the next block", of_words(&[BEGIN, 0, PROP, 13, 0, END_NODE, END]), &["DTB034"]),
        ("name offset out of range", of_words(&[BEGIN, 0, PROP, 0, 5, END_NODE, END]), &["DTB035"]),
        ("name offset of 4 GiB", of_words(&[BEGIN, 0, PROP, 0, u32::MAX, END_NODE, END]), &["DTB035"]),
        ("name without an end", set(&good, 32, size_strings - 1), &["DTB035"]),
        (
            "properties after children",
            of_words(&[BEGIN, 0, BEGIN, 0x6100_0000, END_NODE, PROP, 0, 0, END_NODE, END]),
            &["DTB036"],
        ),
        ("property outside", of_words(&[PROP, 0, 0, BEGIN, 0, END_NODE, END]), &["DTB037"]),
        ("property behind the root", of_words(&[BEGIN, 0, END_NODE, PROP, 0, 0, END]), &["DTB037"]),
        ("no root", of_words(&[NOP, END]), &["DTB038"]),
        ("empty structure", of_words(&[]), &["DTB043"]),
        ("two roots", of_words(&[BEGIN, 0, END_NODE, BEGIN, 0, END_NODE, END]), &["DTB039"]),
        ("root with a name", of_words(&[BEGIN, 0x6100_0000, END_NODE, END]), &["DTB040"]),
        ("end of no node", of_words(&[BEGIN, 0, END_NODE, END_NODE, END]), &["DTB041"]),
        ("end inside a node", of_words(&[BEGIN, 0, BEGIN, 0x6100_0000, END_NODE, END]), &["DTB042"]),
        ("end in the middle", of_words(&[BEGIN, 0, END, END_NODE, END]), &["DTB042"]),
        ("no end", of_words(&[BEGIN, 0, END_NODE]), &["DTB043"]),
        ("more behind the end", of_words(&[BEGIN, 0, END_NODE, END, END]), &["DTB046"]),
        ("dirty padding of a name", of_words(&[BEGIN, 0x0000_0001, END_NODE, END]), &["DTB045"]),
        ("dirty padding of a value", of_words(&[BEGIN, 0, PROP, 1, 0, 0x6100_0001, END_NODE, END]), &["DTB045"]),
        ("node without a name", of_words(&[BEGIN, 0, BEGIN, 0, END_NODE, END_NODE, END]), &["DTB050"]),
        (
            "node with a unit address alone",
            of_words(&[BEGIN, 0, BEGIN, 0x4061_0000, END_NODE, END_NODE, END]),
            &["DTB050"],
        ),
        ("NOPs everywhere", of_words(&[NOP, BEGIN, 0, NOP, PROP, 0, 0, NOP, END_NODE, NOP, END]), &[]),
    ];
    for (name, bytes, wanted) in cases {
        let found = codes(bytes);
        for code in *wanted {
            assert!(found.contains(code), "{name}: {code} is not among {found:?}");
        }
        assert_eq!(found.is_empty(), wanted.is_empty(), "{name}: {found:?}");
        assert_eq!(found.first(), wanted.first(), "{name}: {found:?}");
        strict_agrees(bytes);
    }
}

#[test]
fn blocks_in_another_order_are_read_with_a_warning() {
    let mut good = of_words(&[BEGIN, 0, PROP, 0, 0, END_NODE, END]);
    // The strings a second time in front, where the reservations were, and those behind.
    let length = good.len().next_multiple_of(8);
    good.resize(length + 16, 0);
    good[40..45].copy_from_slice(b"name\0");
    let at = u32::try_from(length).unwrap();
    let good = set(&set(&set(&good, 12, 40), 16, at), 4, at + 16);
    assert_eq!(codes(&good), ["DTB010"]);
    assert_eq!(Fdt::parse(&good).unwrap().root().properties().next().unwrap().name(), "name");
}

#[test]
fn names_and_phandles_are_judged() {
    use dtbtool::{MemoryReservation, WriteOptions, model::Node};
    type Edit = fn(&mut DeviceTree);
    let cases: &[(&str, Edit, &[&str])] = &[
        ("node name characters", |tree| tree.root_mut().children.push(Node::new("a b")), &["DTB051"]),
        ("two @", |tree| tree.root_mut().children.push(Node::new("a@1@2")), &["DTB052"]),
        ("@ in a property name", |tree| tree.root_mut().set(Property::empty("a@b")), &["DTB053"]),
        ("property without a name", |tree| tree.root_mut().set(Property::empty("")), &["DTB053"]),
        ("characters that only properties have", |tree| tree.root_mut().set(Property::empty("#a*?+-_.,")), &[]),
        ("long names", |tree| tree.root_mut().children.push(Node::new("a".repeat(32))), &["DTB054"]),
        (
            "long only with the unit address",
            |tree| tree.root_mut().children.push(Node::new(format!("{}@1234", "a".repeat(31)))),
            &[],
        ),
        ("phandle of two cells", |tree| tree.root_mut().set(Property::u64("phandle", 1)), &["DTB060"]),
        ("phandle 0", |tree| tree.root_mut().set(Property::u32("phandle", 0)), &["DTB061"]),
        ("phandle -1", |tree| tree.root_mut().set(Property::u32("phandle", u32::MAX)), &["DTB061"]),
        ("phandle twice", |tree| tree.root_mut().set(Property::u32("phandle", 2)), &["DTB062"]),
        ("phandle twice by its old name", |tree| tree.root_mut().set(Property::u32("linux,phandle", 2)), &["DTB062"]),
        (
            "phandles that differ",
            |tree| {
                tree.root_mut().set(Property::u32("phandle", 3));
                tree.root_mut().set(Property::u32("linux,phandle", 4));
            },
            &["DTB063"],
        ),
        (
            "phandles that agree",
            |tree| {
                tree.root_mut().set(Property::u32("phandle", 3));
                tree.root_mut().set(Property::u32("linux,phandle", 3));
            },
            &[],
        ),
        ("dangling parent", |tree| tree.root_mut().set(Property::u32("interrupt-parent", 9)), &["DTB064"]),
        ("dangling supply", |tree| tree.root_mut().set(Property::u32("vcc-supply", 9)), &["DTB064"]),
        ("dangling second pin set", |tree| tree.root_mut().set(Property::cells("pinctrl-0", [2, 9])), &["DTB064"]),
        ("good references", |tree| tree.root_mut().set(Property::cells("pinctrl-0", [2, 1])), &[]),
        (
            "an overlay refers to another tree",
            |tree| {
                tree.root_mut().set(Property::u32("interrupt-parent", 9));
                tree.root_mut().children.push(Node::new("__fixups__"));
            },
            &[],
        ),
        (
            "reservations that overlap",
            |tree| {
                tree.memory_reservations.push(MemoryReservation { address: 0x9000, size: 0x1000 });
                tree.memory_reservations.push(MemoryReservation { address: 0x10ff, size: 1 });
            },
            &["DTB021"],
        ),
        (
            "reservations side by side",
            |tree| tree.memory_reservations.push(MemoryReservation { address: 0x1100, size: 1 }),
            &[],
        ),
    ];
    for (name, edit, wanted) in cases {
        let mut tree = common::small();
        edit(&mut tree);
        let bytes = tree.to_bytes(&WriteOptions::default()).unwrap();
        assert_eq!(codes(&bytes), *wanted, "{name}");
        strict_agrees(&bytes);
        for finding in &scan(&bytes).1 {
            assert!(finding.range.clone().is_some_and(|range| !range.is_empty()), "{finding}");
        }
    }
}

#[test]
fn nesting_without_end_is_refused_and_survived() {
    for depth in [MAX_DEPTH, MAX_DEPTH + 1, 10_000, 200_000] {
        let mut words = vec![BEGIN, 0];
        words.extend(std::iter::repeat_n([BEGIN, 0x6100_0000], depth - 1).flatten());
        words.extend(std::iter::repeat_n(END_NODE, depth));
        words.push(END);
        let bytes = of_words(&words);
        let (tree, report) = scan(&bytes);
        assert_eq!(tree.unwrap().nodes().len(), depth.min(MAX_DEPTH));
        assert_eq!(report.has_errors(), depth > MAX_DEPTH, "{report:?}");
        strict_agrees(&bytes);
        match Fdt::parse(&bytes) {
            Ok(fdt) => assert_eq!(to_dts(&fdt).matches('{').count(), depth),
            Err(error) => assert!(matches!(error.kind(), ErrorKind::Depth { limit: MAX_DEPTH, .. }), "{error}"),
        }
    }
}

#[test]
fn a_report_does_not_grow_with_the_damage() {
    // A million words, every second one no token; then a million properties with a bad name.
    let bad_tokens: Vec<u32> =
        [BEGIN, 0].into_iter().chain((0..1_000_000).map(|n| if n % 2 == 0 { NOP } else { 77 })).collect();
    let bad_names: Vec<u32> = [BEGIN, 0].into_iter().chain((0..300_000).flat_map(|_| [PROP, 0, 99])).collect();
    for words in [bad_tokens, bad_names] {
        let (_, report) = scan(&of_words(&words));
        assert!(report.len() < 100, "{}", report.len());
        assert!(report.iter().any(|finding| finding.message.contains("more findings of this kind")));
    }
}

#[test]
fn the_worst_case_for_shared_names_is_quick() {
    // 20,000 properties, each named by another suffix of one string of a million letters.
    let mut structure: Vec<u8> = [BEGIN, 0].iter().flat_map(|word| word.to_be_bytes()).collect();
    for index in 0..20_000_u32 {
        structure.extend([PROP, 0, 980_000 + index].iter().flat_map(|word| word.to_be_bytes()));
    }
    structure.extend([END_NODE, END].iter().flat_map(|word| word.to_be_bytes()));
    let mut bytes = of_structure(&structure);
    bytes.truncate(bytes.len() - 5);
    bytes.extend(vec![b'a'; 1_000_000]);
    bytes.push(0);
    let total = u32::try_from(bytes.len()).unwrap();
    let bytes = set(&set(&bytes, 4, total), 32, 1_000_001);
    let (tree, report) = scan(&bytes);
    assert_eq!(tree.unwrap().property_count(), 1024, "names of up to 1024 letters are read");
    assert_eq!(report.iter().next().map(|finding| finding.code), Some("DTB035"));
}

#[test]
fn what_is_left_of_a_damaged_tree_is_still_shown() {
    let Some(bytes) = common::board("rk3588s-nanopi-m6.dtb") else { return };
    let (tree, report) = scan(&bytes[..bytes.len() / 2]);
    assert!(report.has_errors());
    let tree = tree.unwrap();
    assert!(tree.nodes().len() > 500, "{}", tree.nodes().len());
    // The strings were cut off with the rest, the names of nodes were not.
    assert!(tree.find("/ethernet@fe1c0000").is_some());
    // One bad word costs one finding and nothing else.
    let node = tree.find("/ethernet@fe1c0000").unwrap().range().start;
    let (tree, report) = scan(&set(&bytes, node, 0x1234_5678));
    assert_eq!(report.iter().filter(|finding| finding.severity == Severity::Error).count(), 3, "{report:#?}");
    assert!(tree.unwrap().nodes().len() > 1400);
}

#[test]
fn mutants_of_real_trees_never_panic() {
    let trees = common::trees();
    if trees.is_empty() {
        return;
    }
    let small: Vec<_> = trees.iter().filter(|tree| tree.bytes.len() < 4096).collect();
    let boards: Vec<_> = trees.iter().filter(|tree| tree.is_board()).collect();
    for (index, tree) in small.iter().enumerate() {
        mutate(index as u64, 15_000 / small.len(), &tree.bytes);
    }
    for (index, tree) in boards.iter().enumerate() {
        mutate(100 + index as u64, 1000 / boards.len(), &tree.bytes);
    }
    for seed in 0..4 {
        mutate(1000 + seed, 1000, &common::small_bytes());
    }
}

/// All that the checks can say, of any bytes.
fn checks_are_survived(bytes: &[u8]) {
    let _ = check::fatal(bytes);
    if let Ok(tree) = check::read_as_dtc(bytes) {
        let _ = check::format_dtc_bytes(&check::run(&tree, &check::Options::default()));
    }
    let Some(tree) = scan(bytes).0 else { return };
    for keep_going in [false, true] {
        let checked = check::run(&tree, &check::Options { keep_going, ..check::Options::default() });
        let _ = check::format_dtc(&checked);
        for finding in check::to_report(&checked).iter().chain(check::to_summary(&checked).iter()) {
            assert!(RULES.iter().any(|(code, ..)| *code == finding.code), "{finding}");
            let range = finding.range.clone().unwrap_or(0..0);
            assert!(range.start <= range.end && range.end <= bytes.len() as u64, "{finding}");
        }
    }
}

#[test]
fn checks_of_many_alike_are_quick_and_their_text_is_bounded() {
    let mut tree = DeviceTree::new();
    let root = tree.root_mut();
    root.properties.push(Property::u32("#address-cells", 1));
    root.properties.push(Property::u32("#size-cells", 0));
    let name = format!("{}@0", "a".repeat(200));
    root.children = vec![Node::new(name).with(Property::u32("reg", 0)); 20_000];
    root.properties.extend(vec![Property::empty("x"); 20_000]);
    root.children.push(Node::new("aliases").with(Property::new("a", vec![b'/'; 1_000_000])));
    let bytes = tree.to_bytes(&WriteOptions::default()).unwrap();
    let started = std::time::Instant::now();
    let checked =
        check::run(&scan(&bytes).0.unwrap(), &check::Options { keep_going: true, ..check::Options::default() });
    assert!(checked.failed && checked.omitted > 0);
    assert!(check::format_dtc(&checked).len() < 10 << 20);
    assert!(check::to_summary(&checked).len() < 200_000);
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}

fn mutate(seed: u64, count: usize, original: &[u8]) {
    testkit::mutants(seed, count, original, |mutant| {
        strict_agrees(mutant);
        checks_are_survived(mutant);
        let _ = facts(mutant, u64::MAX);
        if let Ok(fdt) = Fdt::parse(mutant) {
            let _ = to_dts(&fdt);
            let _ = dtbtool::binding_generation(&fdt);
            let require = dtbtool::REQUIRE_WORDS.iter().map(|word| word.word.to_owned()).collect();
            let expected = dtbtool::Expectations { require, ..dtbtool::Expectations::default() };
            let _ = dtbtool::check_board(&fdt, &expected);
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn any_bytes_and_any_words_are_survived(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        words in prop::collection::vec(prop_oneof![0_u32..10, any::<u32>(), Just(0x6100_0000_u32)], 0..64),
    ) {
        strict_agrees(&bytes);
        strict_agrees(&of_words(&words));
        let mut headed = common::small_bytes();
        let end = headed.len().min(40 + bytes.len());
        let start = 40.min(end);
        headed[start..end].copy_from_slice(&bytes[..end - start]);
        strict_agrees(&headed);
    }
}
