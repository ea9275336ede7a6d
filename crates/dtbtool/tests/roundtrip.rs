//! Reading what was written gives what was meant.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use dtbtool::{
    Fdt, MemoryReservation, WriteOptions,
    model::{DeviceTree, Node, Property},
    scan,
};
use proptest::prelude::*;

fn property() -> impl Strategy<Value = Property> {
    ("[a-z#,][a-z0-9,._+*#?-]{0,40}", prop::collection::vec(any::<u8>(), 0..40))
        .prop_map(|(name, value)| Property::new(name, value))
}

fn node() -> impl Strategy<Value = Node> {
    let name = "[a-z][a-z0-9,._+-]{0,20}(@[0-9a-f]{1,8})?";
    let leaf = (name, prop::collection::vec(property(), 0..5)).prop_map(|(name, properties)| Node {
        name,
        properties,
        children: Vec::new(),
    });
    leaf.prop_recursive(8, 64, 6, move |inner| {
        (name, prop::collection::vec(property(), 0..5), prop::collection::vec(inner, 0..6))
            .prop_map(|(name, properties, children)| Node { name, properties, children })
    })
}

fn tree() -> impl Strategy<Value = DeviceTree> {
    let reservations = prop::collection::vec((any::<u64>(), 1_u64..), 0..4);
    (reservations, any::<u32>(), node()).prop_map(|(reservations, boot_cpuid_phys, root)| {
        let mut tree = DeviceTree::new();
        tree.memory_reservations =
            reservations.into_iter().map(|(address, size)| MemoryReservation { address, size }).collect();
        tree.boot_cpuid_phys = boot_cpuid_phys;
        *tree.root_mut() = Node { name: String::new(), ..root };
        tree
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn a_written_tree_reads_back_equal(tree in tree()) {
        let bytes = tree.to_bytes(&WriteOptions::default()).unwrap();
        let fdt = Fdt::parse(&bytes).unwrap();
        prop_assert_eq!(&DeviceTree::from(fdt), &tree);
        let (scanned, report) = scan(&bytes);
        let errors: Vec<_> = report.iter().filter(|finding| finding.code < "DTB050").map(|finding| finding.code).collect();
        // Random reservations overlap and lie anywhere, random processors are none.
        prop_assert!(errors.iter().all(|code| ["DTB014", "DTB021", "DTB022"].contains(code)), "{:?}", errors);
        prop_assert_eq!(scanned.map(|tree| tree.nodes().len()), Some(fdt.walk().count()));
    }
}

#[test]
fn what_the_format_cannot_hold_is_refused() {
    let deep = |levels: usize| {
        (1..levels).fold(Node::new(""), |inner, _| Node::new("").with_child(Node { name: "a".to_owned(), ..inner }))
    };
    let with = |edit: fn(&mut DeviceTree)| {
        let mut tree = DeviceTree::new();
        edit(&mut tree);
        tree
    };
    let mut deepest = DeviceTree::new();
    *deepest.root_mut() = deep(dtbtool::MAX_DEPTH);
    assert!(Fdt::parse(&deepest.to_bytes(&WriteOptions::default()).unwrap()).is_ok());
    let mut too_deep = DeviceTree::new();
    *too_deep.root_mut() = deep(dtbtool::MAX_DEPTH + 1);
    for (tree, words) in [
        (too_deep, "nested deeper than 64"),
        (with(|tree| tree.root_mut().name = "root".to_owned()), "must have no name"),
        (with(|tree| tree.root_mut().children.push(Node::new("a\0b"))), "holds a NUL"),
        (with(|tree| tree.root_mut().properties.push(Property::empty("a\0b"))), "holds a NUL"),
        (with(|tree| tree.root_mut().properties.push(Property::empty("a".repeat(1025)))), "too long"),
        (with(|tree| tree.memory_reservations.push(MemoryReservation { address: 0, size: 0 })), "pair of zeros"),
    ] {
        let error = tree.to_bytes(&WriteOptions::default()).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
    }
}
