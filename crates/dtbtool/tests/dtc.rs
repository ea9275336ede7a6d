//! dtc is the judge: what it reads from our bytes and our text is what it reads from the original.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use dtbtool::{
    Fdt, MemoryReservation, WriteOptions,
    model::{DeviceTree, Node, Property},
    to_dts,
};
use proptest::prelude::*;

struct Dtc {
    program: PathBuf,
    folder: tempfile::TempDir,
}

impl Dtc {
    fn new() -> Option<Self> {
        Some(Self { program: testkit::tool("dtc")?, folder: tempfile::tempdir().unwrap() })
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        use std::io::Write as _;
        let mut file = tempfile::Builder::new().suffix(name).tempfile_in(self.folder.path()).unwrap();
        file.write_all(bytes).unwrap();
        file.into_temp_path().keep().unwrap()
    }

    /// `-f`: its opinion on contents is not asked here.
    fn run(&self, from: &str, to: &str, arguments: &[&str], input: &Path) -> String {
        testkit::run(Command::new(&self.program).args(["-q", "-f", "-I", from, "-O", to]).args(arguments).arg(input))
    }

    /// dtc's sorted text of a binary tree.
    fn sorted(&self, bytes: &[u8]) -> String {
        self.run("dtb", "dts", &["-s"], &self.file(".dtb", bytes))
    }

    fn compile(&self, text: &str, arguments: &[&str]) -> Vec<u8> {
        let output = self.folder.path().join("out.dtb");
        let arguments = [arguments, &["-o", output.to_str().unwrap()]].concat();
        self.run("dts", "dtb", &arguments, &self.file(".dts", text.as_bytes()));
        testkit::read(output)
    }
}

#[test]
fn dtc_reads_the_same_tree_from_our_bytes_and_our_text() {
    let Some(dtc) = Dtc::new() else { return };
    for tree in common::trees().into_iter().chain(common::fits()) {
        let fdt = Fdt::parse(&tree.bytes).unwrap();
        let original = dtc.sorted(fdt.as_bytes());
        let written = DeviceTree::from(fdt).to_bytes(&WriteOptions::default()).unwrap();
        assert!(dtc.sorted(&written) == original, "{}: written anew", tree.file);

        let compiled = dtc.compile(&to_dts(&fdt), &[]);
        assert!(dtc.sorted(&compiled) == original, "{}: through text", tree.file);
        // dtc kept the order as well, so its bytes differ at most in what text cannot say.
        assert_eq!(DeviceTree::from(Fdt::parse(&compiled).unwrap()).root(), DeviceTree::from(fdt).root());
    }
}

const SOURCE: &str = r#"/dts-v1/;
/memreserve/ 0x10000000 0x4000;
/memreserve/ 0x123456789a 0x1;
/ {
    #address-cells = <2>;
    string = "one";
    list = "one", "", "three";
    only-nul = "";
    quoted = "say \"no\" \\ \t\n\x07\x7f";
    bytes = [00 01 02];
    wide = /bits/ 64 <0x0123456789abcdef>;
    almost-text = "abc", [ff];
    empty;
    suffix = <1>;
    long-suffix = <2>;
    a-very-long-property-name-of-more-than-31-characters = <3>;
    node@1,0 { reg = <1 0>; #cells = <1>; child { x?y = "*"; }; };
    node@2 { phandle = <7>; };
    user { points-at = <&{/node@2}>; };
};
"#;

#[test]
fn every_kind_of_value_survives() {
    let Some(dtc) = Dtc::new() else { return };
    let bytes = dtc.compile(SOURCE, &["-b", "3"]);
    let fdt = Fdt::parse(&bytes).unwrap();
    assert_eq!(fdt.header().boot_cpuid_phys, 3);
    assert_eq!(fdt.memory_reservations().map(|r| r.address).collect::<Vec<_>>(), [0x1000_0000, 0x12_3456_789a]);
    let root = fdt.root();
    let list = root.property("list").unwrap();
    assert_eq!(list.as_str_list().unwrap().collect::<Vec<_>>(), ["one", "", "three"]);
    assert_eq!(list.as_str(), None);
    assert_eq!(root.property("wide").unwrap().as_u64(), Some(0x0123_4567_89ab_cdef));
    assert_eq!(root.property("only-nul").unwrap().as_str(), Some(""));
    assert_eq!(root.property("empty").unwrap().value(), b"");
    // dtc shares `suffix` with the end of `long-suffix` only if that comes first, and so do we.
    let model = DeviceTree::from(fdt);
    assert!(model.to_bytes(&WriteOptions::default()).unwrap() == bytes);
    assert!(dtc.compile(&to_dts(&fdt), &["-b", "3"]) == bytes);
}

#[test]
fn reservations_and_boot_processor_can_be_left_out() {
    let Some(dtc) = Dtc::new() else { return };
    let bytes = dtc.compile(SOURCE, &["-b", "3"]);
    let model = DeviceTree::from(Fdt::parse(&bytes).unwrap());
    let options = WriteOptions { memory_reservations: false, boot_cpu: false };
    let written = model.to_bytes(&options).unwrap();
    let fdt = Fdt::parse(&written).unwrap();
    assert_eq!((fdt.memory_reservations().count(), fdt.header().boot_cpuid_phys), (0, 0));
    assert_eq!(DeviceTree::from(fdt).root(), model.root());
}

#[test]
fn old_versions_are_read_as_dtc_writes_them() {
    let Some(dtc) = Dtc::new() else { return };
    let newest = dtc.compile(SOURCE, &[]);
    let newest = DeviceTree::from(Fdt::parse(&newest).unwrap());
    for version in ["2", "3", "16"] {
        let bytes = dtc.compile(SOURCE, &["-V", version]);
        let (_, report) = dtbtool::scan(&bytes);
        assert!(!report.has_errors(), "version {version}: {report:#?}");
        let fdt = Fdt::parse(&bytes).unwrap_or_else(|error| panic!("version {version}: {error}"));
        let mut model = DeviceTree::from(fdt);
        // Below version 16 every node repeats its name in a property.
        strip_names(model.root_mut());
        assert_eq!(model, newest, "version {version}");
        assert!(dtc.sorted(&newest.to_bytes(&WriteOptions::default()).unwrap()) == dtc.sorted(&bytes));
    }
    assert!(Fdt::parse(&dtc.compile(SOURCE, &["-V", "1"])).is_err());
}

fn strip_names(node: &mut Node) {
    node.properties.retain(|property| property.name != "name");
    node.children.iter_mut().for_each(strip_names);
}

/// Values of every shape that the guess about text can get wrong.
fn value() -> impl Strategy<Value = Vec<u8>> {
    let letters = prop::sample::select(b"ab \"\\\n\t\x07\x08\x0b\x0c\r\x1b\x7f\xc3\xbc\0\0\0/*<>;".to_vec());
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..24),
        prop::collection::vec(letters, 0..24).prop_map(|mut text| {
            text.push(0);
            text
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn dtc_compiles_our_text_of_any_tree_back(
        values in prop::collection::vec(value(), 0..64),
        depth in 1_usize..dtbtool::MAX_DEPTH,
    ) {
        let Some(dtc) = Dtc::new() else { return Ok(()) };
        let mut inner = Node::new(format!("deep@{depth}"));
        for (index, value) in values.iter().enumerate() {
            inner.properties.push(Property::new(format!("p{index},#?*+._-"), value.as_slice()));
        }
        for level in 1..depth {
            inner = Node::new(format!("n{level},+._-")).with(Property::new("same", values.concat())).with_child(inner);
        }
        let mut tree = DeviceTree::new();
        tree.memory_reservations.push(MemoryReservation { address: u64::MAX - 15, size: 15 });
        *tree.root_mut() = Node { name: String::new(), ..inner };
        let bytes = tree.to_bytes(&WriteOptions::default()).unwrap();
        let compiled = dtc.compile(&to_dts(&Fdt::parse(&bytes).unwrap()), &[]);
        prop_assert_eq!(DeviceTree::from(Fdt::parse(&compiled).unwrap()), tree);
        prop_assert!(compiled == bytes);
    }
}
