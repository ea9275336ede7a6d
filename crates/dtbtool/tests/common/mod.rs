//! Real trees for the tests of this crate.
#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses some of it, and a test may panic")]

use dtbtool::{
    Fdt, WriteOptions,
    model::{DeviceTree, Node, Property},
};

/// A tree out of a real file.
pub(crate) struct Real {
    pub(crate) file: String,
    pub(crate) offset: u64,
    pub(crate) bytes: Vec<u8>,
}

impl Real {
    pub(crate) fn is_board(&self) -> bool {
        self.file.rsplit('.').next() == Some("dtb")
    }
}

/// Every tree that `expected/parse.tsv` knows: plain files and those inside overlay tables.
pub(crate) fn trees() -> Vec<Real> {
    let Some(folder) = testkit::shared("testdata") else { return Vec::new() };
    let expected = String::from_utf8(testkit::read(folder.join("expected/parse.tsv"))).unwrap();
    let mut trees: Vec<Real> = Vec::new();
    for line in expected.lines() {
        let columns: Vec<&str> = line.split('\t').collect();
        let [file, "fdt", offset, "header", ..] = columns.as_slice() else { continue };
        let offset: u64 = offset.parse().unwrap();
        let bytes = testkit::read(folder.join(file));
        trees.push(Real {
            file: (*file).to_owned(),
            offset,
            bytes: bytes[usize::try_from(offset).unwrap()..].to_vec(),
        });
    }
    assert!(!trees.is_empty(), "parse.tsv names no device tree");
    trees
}

/// FIT images: device trees that mkimage and binman wrote, with other data behind them.
pub(crate) fn fits() -> Vec<Real> {
    let files = [
        "ophub/easepi-r2-rk3588-u-boot.itb",
        "ophub/nanopc-t6-rk3588-vendor-u-boot.itb",
        "debian-u-boot-rockchip-2025.01-3.2/rock64-rk3328/u-boot.itb",
    ];
    files
        .iter()
        .filter_map(|file| {
            let bytes = testkit::read(testkit::shared(&format!("testdata/{file}"))?);
            Some(Real { file: (*file).to_owned(), offset: 0, bytes })
        })
        .collect()
}

/// A board's tree by the end of its file name.
pub(crate) fn board(name: &str) -> Option<Vec<u8>> {
    let trees = trees();
    if trees.is_empty() {
        return None;
    }
    Some(trees.into_iter().find(|tree| tree.file.ends_with(name)).unwrap_or_else(|| panic!("no {name}")).bytes)
}

/// The tree with one property of one node replaced.
pub(crate) fn edited(bytes: &[u8], path: &str, property: Property) -> Vec<u8> {
    let mut tree = DeviceTree::from(Fdt::parse(bytes).unwrap());
    tree.find_mut(path).unwrap_or_else(|| panic!("no {path}")).set(property);
    tree.to_bytes(&WriteOptions::default()).unwrap()
}

/// A small sound tree with a bit of everything.
pub(crate) fn small() -> DeviceTree {
    let mut tree = DeviceTree::new();
    tree.memory_reservations.push(dtbtool::MemoryReservation { address: 0x1000, size: 0x100 });
    let root = tree.root_mut();
    root.properties.push(Property::strings("compatible", ["acme,board", "rockchip,rk3588"]));
    root.properties.push(Property::string("model", "ACME Board"));
    root.children.push(
        Node::new("cpus")
            .with_child(Node::new("cpu@0").with(Property::u32("reg", 0)).with(Property::u32("phandle", 1))),
    );
    root.children.push(
        Node::new("serial@feb50000")
            .with(Property::new("odd", *b"abcde"))
            .with(Property::u32("phandle", 2))
            .with(Property::empty("flag")),
    );
    tree
}

pub(crate) fn small_bytes() -> Vec<u8> {
    small().to_bytes(&WriteOptions::default()).unwrap()
}
