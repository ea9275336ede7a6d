//! Edits as text, one a line, on a small tree: what is made can be written and read back.
#![no_main]

use dtbtool::{
    Edit, Fdt, WriteOptions, edit,
    model::{DeviceTree, Node, Property},
};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut tree = DeviceTree::new();
    let root = tree.root_mut();
    root.children.push(Node::new("aliases").with(Property::string("serial2", "/bus/serial@1")));
    root.children.push(Node::new("__symbols__").with(Property::string("uart2", "/bus/serial@1")));
    root.children.push(Node::new("bus").with_child(Node::new("serial@1").with(Property::u32("phandle", 1))));
    let edits: Vec<Edit> = text.lines().filter_map(|line| Edit::parse(line).ok()).collect();
    if edit::apply(&mut tree, &edits).is_ok()
        && let Ok(bytes) = tree.to_bytes(&WriteOptions::default())
    {
        assert_eq!(Fdt::parse(&bytes).map(DeviceTree::from).as_ref(), Ok(&tree));
    }
});
