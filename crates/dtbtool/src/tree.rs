//! What the scan could read of a tree, owned, with the place of everything.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::{fmt, ops::Range};

use crate::{
    header::{Header, MemoryReservation},
    property::Property,
};

/// The readable part of a scanned tree. Holds a copy of the tree's bytes and an index of its nodes and properties;
/// its size is a small multiple of the input's, whatever the input.
#[derive(Clone)]
pub struct Tree {
    pub(crate) bytes: Vec<u8>,
    pub(crate) header: Header,
    pub(crate) reservations: Vec<MemoryReservation>,
    /// In stored order, parents before children.
    pub(crate) nodes: Vec<NodeIndex>,
    /// Grouped by node, in stored order within each.
    pub(crate) properties: Vec<PropertyIndex>,
    /// Read as dtc reads: each byte of a name that is no ASCII is a character of its own.
    pub(crate) bytewise: bool,
}

#[derive(Debug, Clone)]
pub(crate) struct NodeIndex {
    pub(crate) range: Range<usize>,
    pub(crate) name: Range<usize>,
    pub(crate) parent: Option<usize>,
    pub(crate) depth: usize,
    pub(crate) properties: Range<usize>,
}

#[derive(Debug, Clone)]
pub(crate) struct PropertyIndex {
    pub(crate) node: usize,
    pub(crate) offset: usize,
    pub(crate) name: Range<usize>,
    pub(crate) value: Range<usize>,
}

impl Tree {
    /// The header's fields.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Memory reservations in stored order.
    pub fn memory_reservations(&self) -> &[MemoryReservation] {
        &self.reservations
    }

    /// All nodes in stored order, parents before children.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = TreeNode<'_>> {
        (0..self.nodes.len()).map(|index| TreeNode { tree: self, index })
    }

    /// Count of properties in all nodes.
    pub fn property_count(&self) -> usize {
        self.properties.len()
    }

    /// The first node at the top.
    pub fn root(&self) -> Option<TreeNode<'_>> {
        self.nodes().next()
    }

    /// The node at an absolute path of exact names.
    pub fn find(&self, path: &str) -> Option<TreeNode<'_>> {
        let mut node = self.root()?;
        for name in path.strip_prefix('/')?.split('/').filter(|name| !name.is_empty()) {
            node = node.children().find(|child| child.name() == name)?;
        }
        Some(node)
    }

    fn text(&self, range: &Range<usize>) -> &str {
        self.bytes.get(range.clone()).and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or("")
    }
}

impl fmt::Debug for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tree")
            .field("header", &self.header)
            .field("nodes", &self.nodes.len())
            .field("properties", &self.properties.len())
            .finish_non_exhaustive()
    }
}

/// A node of a scanned tree.
#[derive(Clone, Copy)]
pub struct TreeNode<'t> {
    tree: &'t Tree,
    index: usize,
}

impl<'t> TreeNode<'t> {
    fn entry(&self) -> Option<&'t NodeIndex> {
        self.tree.nodes.get(self.index)
    }

    /// Name with unit address, `""` for the root.
    pub fn name(&self) -> &'t str {
        self.entry().map_or("", |entry| self.tree.text(&entry.name))
    }

    /// Bytes from the node's first token to behind its last one, from the start of the tree.
    pub fn range(&self) -> Range<usize> {
        self.entry().map_or(0..0, |entry| entry.range.clone())
    }

    /// Levels above this node, 0 for the root.
    pub fn depth(&self) -> usize {
        self.entry().map_or(0, |entry| entry.depth)
    }

    /// The node around this one.
    pub fn parent(&self) -> Option<TreeNode<'t>> {
        let index = self.entry()?.parent?;
        Some(TreeNode { tree: self.tree, index })
    }

    /// Direct subnodes in stored order. Linear in the size of the node.
    pub fn children(&self) -> impl Iterator<Item = TreeNode<'t>> + use<'t> {
        let (tree, parent) = (self.tree, self.index);
        let depth = self.depth();
        (self.index.saturating_add(1)..tree.nodes.len())
            .map(move |index| TreeNode { tree, index })
            .take_while(move |node| node.depth() > depth)
            .filter(move |node| node.entry().is_some_and(|entry| entry.parent == Some(parent)))
    }

    /// Properties in stored order.
    pub fn properties(&self) -> impl Iterator<Item = Property<'t>> + use<'t> {
        let tree = self.tree;
        let range = self.entry().map_or(0..0, |entry| entry.properties.clone());
        tree.properties.get(range).unwrap_or_default().iter().map(move |property| {
            let value = tree.bytes.get(property.value.clone()).unwrap_or_default();
            Property::new(tree.text(&property.name), value, property.offset, property.value.start)
        })
    }

    /// The first property with this name.
    pub fn property(&self, name: &str) -> Option<Property<'t>> {
        let tree = self.tree;
        let properties = tree.properties.get(self.entry()?.properties.clone())?;
        let found =
            properties.iter().find(|property| tree.bytes.get(property.name.clone()) == Some(name.as_bytes()))?;
        let value = tree.bytes.get(found.value.clone()).unwrap_or_default();
        Some(Property::new(tree.text(&found.name), value, found.offset, found.value.start))
    }

    /// The absolute path; `…` stands for the middle of one that is too long for a message.
    pub fn path(&self) -> String {
        let mut names = Vec::new();
        let mut node = Some(*self);
        while let Some(at) = node {
            names.push(at.name());
            node = at.parent();
        }
        names.reverse();
        let path = if names.len() <= 1 { "/".to_owned() } else { names.join("/") };
        shorten(&path)
    }
}

impl fmt::Debug for TreeNode<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TreeNode({:?} at {:?})", self.name(), self.range())
    }
}

/// Foreign names in messages: no longer than a person reads, no control characters.
pub(crate) fn shorten(text: &str) -> String {
    const LIMIT: usize = 200;
    let clean = |c: char| if c.is_control() { '?' } else { c };
    let count = text.chars().take(LIMIT.saturating_add(1)).count();
    if count <= LIMIT {
        return text.chars().map(clean).collect();
    }
    let half = LIMIT / 2;
    // From both ends: names can be as long as the file.
    let tail = text.char_indices().rev().nth(half.saturating_sub(1)).map_or(0, |(at, _)| at);
    text.chars().take(half).chain(['…']).chain(text.get(tail..).unwrap_or("").chars()).map(clean).collect()
}
