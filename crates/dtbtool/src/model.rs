//! The owned tree, to build and change.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use crate::{
    header::MemoryReservation,
    view::{self, Fdt},
};

/// A device tree in memory.
///
/// ```
/// use dtbtool::{Fdt, WriteOptions, model::{DeviceTree, Node, Property}};
///
/// let mut tree = DeviceTree::new();
/// tree.root_mut().properties.push(Property::strings("compatible", ["acme,board", "rockchip,rk3588"]));
/// tree.root_mut().children.push(Node::new("chosen").with(Property::string("stdout-path", "serial2:1500000n8")));
/// let bytes = tree.to_bytes(&WriteOptions::default())?;
/// let fdt = Fdt::parse(&bytes)?;
/// assert!(fdt.root().is_compatible("rockchip,rk3588"));
/// assert_eq!(DeviceTree::from(fdt), tree);
/// # Ok::<(), dtbtool::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeviceTree {
    /// Regions of memory that the kernel must not use.
    pub memory_reservations: Vec<MemoryReservation>,
    /// Physical id of the boot processor.
    pub boot_cpuid_phys: u32,
    root: Node,
}

impl DeviceTree {
    /// A tree of one empty root node.
    pub fn new() -> Self {
        Self::default()
    }

    /// The root node.
    pub fn root(&self) -> &Node {
        &self.root
    }

    /// The root node, to change.
    pub fn root_mut(&mut self) -> &mut Node {
        &mut self.root
    }

    /// The node at an absolute path of exact names.
    pub fn find(&self, path: &str) -> Option<&Node> {
        names(path)?.try_fold(&self.root, |node, name| node.child(name))
    }

    /// The node at an absolute path of exact names, to change.
    pub fn find_mut(&mut self, path: &str) -> Option<&mut Node> {
        names(path)?.try_fold(&mut self.root, |node, name| node.child_mut(name))
    }
}

fn names(path: &str) -> Option<impl Iterator<Item = &str>> {
    Some(path.strip_prefix('/')?.split('/').filter(|name| !name.is_empty()))
}

/// A node: a name, properties, subnodes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Node {
    /// Name with unit address, empty for the root.
    pub name: String,
    /// Properties in the order in which they are written.
    pub properties: Vec<Property>,
    /// Subnodes in the order in which they are written.
    pub children: Vec<Node>,
}

impl Node {
    /// An empty node.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// The node with one more property.
    #[must_use]
    pub fn with(mut self, property: Property) -> Self {
        self.properties.push(property);
        self
    }

    /// The node with one more subnode.
    #[must_use]
    pub fn with_child(mut self, child: Node) -> Self {
        self.children.push(child);
        self
    }

    /// The value of the first property with this name.
    pub fn property(&self, name: &str) -> Option<&[u8]> {
        self.properties.iter().find(|property| property.name == name).map(|property| property.value.as_slice())
    }

    /// Replaces the property of the same name, or adds it as the last one.
    pub fn set(&mut self, property: Property) {
        match self.properties.iter_mut().find(|old| old.name == property.name) {
            Some(old) => *old = property,
            None => self.properties.push(property),
        }
    }

    /// The subnode with this name.
    pub fn child(&self, name: &str) -> Option<&Node> {
        self.children.iter().find(|child| child.name == name)
    }

    /// The subnode with this name, to change.
    pub fn child_mut(&mut self, name: &str) -> Option<&mut Node> {
        self.children.iter_mut().find(|child| child.name == name)
    }
}

/// A property: a name and bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Property {
    /// The name.
    pub name: String,
    /// The value as stored: numbers big-endian, strings with their NUL.
    pub value: Vec<u8>,
}

impl Property {
    /// A property of any bytes.
    pub fn new(name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), value: value.into() }
    }

    /// A property without a value, which says yes by being there.
    pub fn empty(name: impl Into<String>) -> Self {
        Self::new(name, [])
    }

    /// A string.
    pub fn string(name: impl Into<String>, value: &str) -> Self {
        Self::strings(name, [value])
    }

    /// A list of strings.
    pub fn strings<'s>(name: impl Into<String>, values: impl IntoIterator<Item = &'s str>) -> Self {
        let value = values.into_iter().flat_map(|value| value.bytes().chain([0])).collect::<Vec<u8>>();
        Self::new(name, value)
    }

    /// One cell.
    pub fn u32(name: impl Into<String>, value: u32) -> Self {
        Self::new(name, value.to_be_bytes())
    }

    /// Two cells, high word first.
    pub fn u64(name: impl Into<String>, value: u64) -> Self {
        Self::new(name, value.to_be_bytes())
    }

    /// Cells.
    pub fn cells(name: impl Into<String>, values: impl IntoIterator<Item = u32>) -> Self {
        Self::new(name, values.into_iter().flat_map(u32::to_be_bytes).collect::<Vec<u8>>())
    }
}

impl From<Fdt<'_>> for DeviceTree {
    fn from(fdt: Fdt<'_>) -> Self {
        // Open nodes from the root down; the last one's depth is its place.
        let mut open: Vec<Node> = Vec::new();
        for (depth, node) in fdt.walk() {
            close(&mut open, depth);
            open.push(shallow(node));
        }
        close(&mut open, 1);
        Self {
            memory_reservations: fdt.memory_reservations().collect(),
            boot_cpuid_phys: fdt.header().boot_cpuid_phys,
            root: open.pop().unwrap_or_default(),
        }
    }
}

/// Moves finished nodes into their parents until `depth` nodes are open.
fn close(open: &mut Vec<Node>, depth: usize) {
    while open.len() > depth {
        let Some(done) = open.pop() else { return };
        if let Some(parent) = open.last_mut() {
            parent.children.push(done);
        } else {
            open.push(done);
            return;
        }
    }
}

fn shallow(node: view::Node<'_>) -> Node {
    Node {
        name: node.name().to_owned(),
        properties: node.properties().map(|property| Property::new(property.name(), property.value())).collect(),
        children: Vec::new(),
    }
}
