//! The tree as the checks see it: nodes and properties in stored order, found by name in logarithmic time.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::{borrow::Cow, collections::BTreeMap, ops::Range};

use crate::tree::{Tree, TreeNode};

/// The kinds of buses that the checks tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bus {
    Pci,
    Simple,
    I2c,
    Spi,
    Port,
    Ports,
}

/// A node, with what checks have found out about it.
#[derive(Debug)]
pub(super) struct Node<'t> {
    pub(super) name: &'t str,
    /// The name in front of the unit address.
    pub(super) base: &'t str,
    /// The unit address, empty if there is none.
    pub(super) unit: &'t str,
    pub(super) parent: Option<usize>,
    /// Below the first root: dtc knows no other.
    pub(super) known: bool,
    pub(super) range: Range<usize>,
    /// -1 if the tree does not say; 0 before the check that reads it.
    pub(super) address_cells: i32,
    pub(super) size_cells: i32,
    pub(super) bus: Option<Bus>,
    properties: Range<usize>,
    children: Range<usize>,
    /// The bits of its properties' names: most questions are about names that are not there.
    names: u64,
}

const EMPTY: Node<'static> = Node {
    name: "",
    base: "",
    unit: "",
    parent: None,
    known: false,
    range: 0..0,
    address_cells: 0,
    size_cells: 0,
    bus: None,
    properties: 0..0,
    children: 0..0,
    names: 0,
};

/// A bit that names share which agree in length and outer bytes.
fn name_bit(name: &str) -> u64 {
    let bytes = name.as_bytes();
    let byte = |at: usize| bytes.get(at).copied().map_or(0, usize::from);
    let last = byte(bytes.len().wrapping_sub(1));
    let mixed = bytes.len().wrapping_mul(5) ^ byte(0).wrapping_mul(11) ^ last.wrapping_mul(7) ^ byte(bytes.len() / 2);
    1 << (mixed % 64)
}

static NO_NODE: Node<'static> = EMPTY;

/// A property.
#[derive(Debug)]
pub(super) struct Property<'t> {
    pub(super) name: &'t str,
    pub(super) value: &'t [u8],
    /// Bytes of the value.
    pub(super) range: Range<usize>,
    /// Where the property begins.
    pub(super) offset: usize,
    /// Taken out by a check.
    gone: bool,
}

static NO_PROPERTY: Property<'static> = Property { name: "", value: &[], range: 0..0, offset: 0, gone: true };

impl<'t> Property<'t> {
    /// The cell at `index`, counted in cells.
    pub(super) fn cell(&self, index: usize) -> Option<u32> {
        self.value.as_chunks::<4>().0.get(index).map(|cell| u32::from_be_bytes(*cell))
    }

    /// The value, if it is one cell.
    pub(super) fn one_cell(&self) -> Option<u32> {
        (self.value.len() == 4).then(|| self.cell(0)).flatten()
    }

    /// The value up to its first NUL, as programs in C see it.
    pub(super) fn c_string(&self) -> &'t [u8] {
        self.value.split(|byte| *byte == 0).next().unwrap_or_default()
    }
}

/// The indexed tree.
pub(super) struct View<'t> {
    nodes: Vec<Node<'t>>,
    properties: Vec<Property<'t>>,
    /// Per node as in `properties`, but by name, then by place.
    properties_by_name: Vec<usize>,
    /// Grouped by parent, in stored order.
    children: Vec<usize>,
    /// Per parent as in `children`, but by name, then by place.
    children_by_name: Vec<usize>,
    /// Filled by the check of phandles.
    pub(super) phandles: BTreeMap<u32, usize>,
    /// An overlay: references to nodes elsewhere are no fault.
    pub(super) overlay: bool,
    bytewise: bool,
}

impl<'t> View<'t> {
    pub(super) fn new(tree: &'t Tree) -> Self {
        let mut nodes: Vec<Node<'t>> = Vec::with_capacity(tree.nodes.len());
        let mut properties: Vec<Property<'t>> = Vec::with_capacity(tree.properties.len());
        for (index, node) in tree.nodes().enumerate() {
            let name: &'t str = TreeNode::name(&node);
            let (base, unit) = name.split_once('@').unwrap_or((name, ""));
            let parent = tree.nodes.get(index).and_then(|entry| entry.parent);
            let known = match parent {
                None => index == 0,
                Some(parent) => nodes.get(parent).is_some_and(|parent| parent.known),
            };
            let start = properties.len();
            properties.extend(node.properties().map(|property| Property {
                name: property.name(),
                value: property.value(),
                range: property.value_range(),
                offset: property.offset(),
                gone: false,
            }));
            let own = start..properties.len();
            let names = properties.get(own.clone()).unwrap_or_default().iter();
            let names = names.fold(0, |bits, property| bits | name_bit(property.name));
            nodes.push(Node { name, base, unit, parent, known, range: node.range(), properties: own, names, ..EMPTY });
        }
        let mut children: Vec<usize> = (0..nodes.len()).filter(|at| parent_of(&nodes, *at).is_some()).collect();
        children.sort_by_key(|at| parent_of(&nodes, *at));
        for (place, child) in children.iter().enumerate() {
            let Some(parent) = parent_of(&nodes, *child).and_then(|parent| nodes.get_mut(parent)) else { continue };
            if parent.children.is_empty() {
                parent.children.start = place;
            }
            parent.children.end = place.saturating_add(1);
        }
        let mut properties_by_name: Vec<usize> = (0..properties.len()).collect();
        let mut children_by_name = children.clone();
        let name_of = |at: &usize| nodes.get(*at).map(|node| node.name);
        for node in &nodes {
            if let Some(own) = properties_by_name.get_mut(node.properties.clone()) {
                own.sort_by_key(|at| properties.get(*at).map(|property| property.name));
            }
            if let Some(own) = children_by_name.get_mut(node.children.clone()) {
                own.sort_by_key(name_of);
            }
        }
        let mut view = Self {
            nodes,
            properties,
            properties_by_name,
            children,
            children_by_name,
            phandles: BTreeMap::new(),
            overlay: false,
            bytewise: tree.bytewise,
        };
        view.overlay = view.child(0, "__fixups__").is_some() || view.child(0, "__local_fixups__").is_some();
        view
    }

    /// Foreign text as the tree's names are.
    pub(super) fn text<'v>(&self, value: &'v [u8]) -> Cow<'v, str> {
        if self.bytewise && !value.is_ascii() { latin(value).into() } else { String::from_utf8_lossy(value) }
    }

    /// Count of nodes, which are numbered from 0, the root, in stored order.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn node(&self, node: usize) -> &Node<'t> {
        self.nodes.get(node).unwrap_or(&NO_NODE)
    }

    pub(super) fn node_mut(&mut self, node: usize) -> Option<&mut Node<'t>> {
        self.nodes.get_mut(node)
    }

    pub(super) fn set_bus(&mut self, node: usize, bus: Bus) {
        if let Some(node) = self.nodes.get_mut(node) {
            node.bus = Some(bus);
        }
    }

    /// The bus that the node is on.
    pub(super) fn parent_bus(&self, node: usize) -> Option<Bus> {
        self.node(self.node(node).parent?).bus
    }

    pub(super) fn property(&self, property: usize) -> &Property<'t> {
        self.properties.get(property).unwrap_or(&NO_PROPERTY)
    }

    /// The node's properties in stored order.
    pub(super) fn properties(&self, node: usize) -> impl Iterator<Item = usize> + use<'t> {
        let range = self.node(node).properties.clone();
        // A check takes out one property of a node at most.
        let gone = range.clone().find(|at| self.property(*at).gone);
        range.filter(move |at| Some(*at) != gone)
    }

    /// The node's subnodes in stored order.
    pub(super) fn children(&self, node: usize) -> &[usize] {
        self.children.get(self.node(node).children.clone()).unwrap_or_default()
    }

    /// The node's subnodes by name, those of one name in stored order.
    pub(super) fn children_by_name(&self, node: usize) -> &[usize] {
        self.children_by_name.get(self.node(node).children.clone()).unwrap_or_default()
    }

    /// The node's properties by name, those of one name in stored order.
    pub(super) fn properties_by_name(&self, node: usize) -> &[usize] {
        self.properties_by_name.get(self.node(node).properties.clone()).unwrap_or_default()
    }

    /// The first property with this name.
    pub(super) fn find(&self, node: usize, name: &str) -> Option<usize> {
        if self.node(node).names & name_bit(name) == 0 {
            return None;
        }
        let own = self.properties_by_name(node);
        let start = own.partition_point(|at| self.property(*at).name < name);
        own.get(start..)?
            .iter()
            .copied()
            .take_while(|at| self.property(*at).name == name)
            .find(|at| !self.property(*at).gone)
    }

    /// The first property with this name, itself.
    pub(super) fn value(&self, node: usize, name: &str) -> Option<&Property<'t>> {
        self.find(node, name).map(|at| self.property(at))
    }

    pub(super) fn has(&self, node: usize, name: &str) -> bool {
        self.find(node, name).is_some()
    }

    /// Takes a property out of the tree for the checks that follow.
    pub(super) fn remove(&mut self, property: usize) {
        if let Some(property) = self.properties.get_mut(property) {
            property.gone = true;
        }
    }

    /// The first subnode with this name.
    pub(super) fn child(&self, node: usize, name: &str) -> Option<usize> {
        let own = self.children_by_name(node);
        let at = own.partition_point(|at| self.node(*at).name < name);
        own.get(at).copied().filter(|at| self.node(*at).name == name)
    }

    /// The node at a path, as dtc follows one: slashes in front do not matter, one at the end neither, and a path
    /// of slashes only is none.
    pub(super) fn at_path(&self, path: &[u8]) -> Option<usize> {
        let mut node = 0;
        let mut rest = path;
        while !rest.is_empty() {
            let start = rest.iter().position(|byte| *byte != b'/').unwrap_or(rest.len());
            let from = rest.get(start..).unwrap_or_default();
            let end = from.iter().position(|byte| *byte == b'/').unwrap_or(from.len());
            let name = self.text(from.get(..end)?);
            node = self.child(node, &name)?;
            rest = from.get(end.saturating_add(1)..).unwrap_or_default();
        }
        Some(node)
    }

    /// The full path, as dtc writes it.
    pub(super) fn path(&self, node: usize) -> String {
        let mut names = Vec::new();
        let mut at = node;
        while let Some(parent) = self.node(at).parent {
            names.push(self.node(at).name);
            at = parent;
        }
        let mut path = String::from("/");
        // A root has no name, but dtc takes one for a folder.
        path.push_str(self.node(at).name);
        for name in names.iter().rev() {
            if !path.ends_with('/') {
                path.push('/');
            }
            path.push_str(name);
        }
        path
    }
}

/// Each byte as the character of its number, which [`format_dtc_bytes`](super::format_dtc_bytes) turns back.
pub(super) fn latin(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

fn parent_of(nodes: &[Node<'_>], node: usize) -> Option<usize> {
    nodes.get(node).and_then(|node| node.parent)
}
