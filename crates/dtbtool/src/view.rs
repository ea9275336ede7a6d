//! The strict view: everything is checked once in [`Fdt::parse`], after that nothing can fail.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::{fmt, iter::FusedIterator};

use zerocopy::FromBytes as _;

use crate::{
    error::{Error, ErrorKind},
    header::{Blocks, Header, MemoryReservation, RawReservation, check_blocks},
    property::Property,
    token::{Token, own_name, property_name, token_at},
    walk::{Visit, walk},
};

/// A sound device tree in borrowed bytes.
///
/// Nothing is copied; [`Node`] and [`Property`] are small `Copy` values that live as long as the bytes.
#[derive(Clone, Copy)]
pub struct Fdt<'a> {
    bytes: &'a [u8],
    header: Header,
    blocks: Blocks<'a>,
    root: usize,
}

struct Strict {
    root: Option<usize>,
}

impl Visit<'_> for Strict {
    type Stop = ErrorKind;

    fn fault(&mut self, kind: ErrorKind) -> Result<(), ErrorKind> {
        Err(kind)
    }

    fn begin(&mut self, offset: usize, _name: &str, _name_offset: usize) {
        self.root.get_or_insert(offset);
    }
}

impl<'a> Fdt<'a> {
    /// Checks a tree and gives a view of it. Bytes behind its total size are ignored.
    ///
    /// Refused is what a reader cannot follow or what two readers could see differently: the faults of
    /// [`ErrorKind`]. Odd but readable trees pass; [`scan`](crate::scan) reports those as well.
    ///
    /// # Errors
    /// The first fault, with its offset.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        let header = Header::read(bytes)?;
        let blocks = check_blocks(bytes, &header, Err)?;
        let mut strict = Strict { root: None };
        walk(&blocks, &mut strict)?;
        let root = strict.root.ok_or(ErrorKind::NoRoot)?.saturating_sub(blocks.structure_at);
        let total = usize::try_from(header.totalsize).unwrap_or(usize::MAX);
        Ok(Self { bytes: bytes.get(..total).unwrap_or(bytes), header, blocks, root })
    }

    /// The strings block.
    pub(crate) fn strings(&self) -> &'a [u8] {
        self.blocks.strings
    }

    /// The header's fields.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Bytes of the whole tree.
    pub fn totalsize(&self) -> u32 {
        self.header.totalsize
    }

    /// The bytes of the tree, without what follows its total size.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The root node.
    pub fn root(&self) -> Node<'a> {
        Node { blocks: self.blocks, at: self.root }
    }

    /// Regions of memory that the kernel must not use, in stored order.
    pub fn memory_reservations(&self) -> impl Iterator<Item = MemoryReservation> + use<'a> {
        let pairs = <[RawReservation]>::ref_from_bytes(self.blocks.reservations).unwrap_or_default();
        pairs.iter().map(|raw| MemoryReservation { address: raw.address.get(), size: raw.size.get() })
    }

    /// The node at an absolute path such as `/soc/serial@feb50000`, or at a path that begins with an alias such as
    /// `serial2`. A name without unit address finds the first node with that base name.
    pub fn find(&self, path: &str) -> Option<Node<'a>> {
        let (mut node, rest) = if let Some(rest) = path.strip_prefix('/') {
            (self.root(), rest)
        } else {
            let (alias, rest) = path.split_once('/').unwrap_or((path, ""));
            // An alias of an alias is none, so this cannot go round.
            (self.find(self.alias(alias).filter(|target| target.starts_with('/'))?)?, rest)
        };
        for name in rest.split('/').filter(|name| !name.is_empty()) {
            node = node.child(name)?;
        }
        Some(node)
    }

    /// The path that `/aliases` gives for a name.
    pub fn alias(&self, name: &str) -> Option<&'a str> {
        self.root().child("aliases")?.property(name)?.as_str()
    }

    /// The node with this phandle.
    pub fn node_by_phandle(&self, phandle: u32) -> Option<Node<'a>> {
        self.walk().map(|(_, node)| node).find(|node| node.phandle() == Some(phandle))
    }

    /// Every node with its depth (the root has 0), parents before children, in stored order.
    pub fn walk(&self) -> Walk<'a> {
        Walk { blocks: self.blocks, at: self.root, depth: 0 }
    }

    /// The path of a node of this tree. Linear in the size of the tree.
    pub fn path(&self, node: Node<'a>) -> String {
        let mut names: Vec<&str> = Vec::new();
        for (depth, seen) in self.walk() {
            names.truncate(depth);
            names.push(seen.name());
            if seen.at == node.at {
                break;
            }
        }
        if names.len() <= 1 { "/".to_owned() } else { names.join("/") }
    }
}

impl fmt::Debug for Fdt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fdt").field("header", &self.header).finish_non_exhaustive()
    }
}

/// A node of a sound tree.
#[derive(Clone, Copy)]
pub struct Node<'a> {
    blocks: Blocks<'a>,
    /// Offset of the begin token in the structure block.
    at: usize,
}

impl<'a> Node<'a> {
    /// Name with unit address, `""` for the root.
    pub fn name(&self) -> &'a str {
        match token_at(self.blocks.structure, self.at, self.blocks.old) {
            Ok(step) => match step.token {
                Token::BeginNode(stored) => text(own_name(stored, self.blocks.old)),
                _ => "",
            },
            Err(_) => "",
        }
    }

    /// Name in front of the `@`.
    pub fn base_name(&self) -> &'a str {
        self.name().split('@').next().unwrap_or("")
    }

    /// Name behind the `@`.
    pub fn unit_address(&self) -> Option<&'a str> {
        self.name().split_once('@').map(|(_, unit)| unit)
    }

    /// Offset of the node's first token from the start of the tree.
    pub fn offset(&self) -> usize {
        self.blocks.structure_at.saturating_add(self.at)
    }

    /// Properties in stored order.
    pub fn properties(&self) -> Properties<'a> {
        Properties { blocks: self.blocks, at: self.inside() }
    }

    /// Direct subnodes in stored order.
    pub fn children(&self) -> Children<'a> {
        Children { blocks: self.blocks, at: self.inside() }
    }

    /// The property with this name.
    pub fn property(&self, name: &str) -> Option<Property<'a>> {
        let [found] = self.pick([name]);
        found
    }

    /// The first property of each of these names, in one pass; the names of others are compared and not read.
    pub(crate) fn pick<const N: usize>(&self, names: [&str; N]) -> [Option<Property<'a>>; N] {
        let mut found = [None; N];
        let mut rest = self.properties();
        let mut missing = N;
        while missing > 0 {
            let at = rest.at;
            let Ok(step) = token_at(rest.blocks.structure, at, rest.blocks.old) else { break };
            match step.token {
                Token::Nop => {}
                Token::Prop { name_offset, .. } => {
                    let text = usize::try_from(name_offset).ok().and_then(|at| rest.blocks.strings.get(at..));
                    let text = text.unwrap_or_default();
                    let is =
                        |name: &str| text.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&0));
                    for (slot, name) in found.iter_mut().zip(names) {
                        if slot.is_none() && is(name) {
                            *slot = Properties { blocks: rest.blocks, at }.next();
                            missing = missing.saturating_sub(1);
                        }
                    }
                }
                _ => break,
            }
            rest.at = step.next;
        }
        found
    }

    /// The subnode with this name; without a unit address in `name`, else the first with that base name.
    pub fn child(&self, name: &str) -> Option<Node<'a>> {
        self.children()
            .find(|child| child.name() == name)
            .or_else(|| if name.contains('@') { None } else { self.children().find(|child| child.base_name() == name) })
    }

    /// The value of `status`, if there is one.
    pub fn status(&self) -> Option<&'a str> {
        self.property("status").and_then(|property| property.as_str())
    }

    /// Whether the operating system may use the device: no `status`, or `okay`, or `ok`. Parents are not asked.
    pub fn is_enabled(&self) -> bool {
        self.property("status").is_none_or(|property| matches!(property.as_str(), Some("okay" | "ok")))
    }

    /// The node's own phandle, from `phandle` or `linux,phandle`.
    pub fn phandle(&self) -> Option<u32> {
        ["phandle", "linux,phandle"].iter().find_map(|name| self.property(name)?.as_phandle())
    }

    /// The strings of `compatible`, most specific first; none if the property is absent or malformed.
    pub fn compatible(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.property("compatible").and_then(|property| property.as_str_list()).into_iter().flatten()
    }

    /// Whether `compatible` lists this string.
    pub fn is_compatible(&self, wanted: &str) -> bool {
        self.compatible().any(|compatible| compatible == wanted)
    }

    /// Offset of the first token inside the node.
    fn inside(&self) -> usize {
        token_at(self.blocks.structure, self.at, self.blocks.old).map_or(self.blocks.structure.len(), |step| step.next)
    }
}

/// Two nodes are equal when they are the same place of the same bytes.
impl PartialEq for Node<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at && std::ptr::eq(self.blocks.structure, other.blocks.structure)
    }
}

impl Eq for Node<'_> {}

impl fmt::Debug for Node<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node({:?} at {})", self.name(), self.offset())
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or("")
}

/// Iterator over the properties of a node.
#[derive(Debug, Clone)]
pub struct Properties<'a> {
    blocks: Blocks<'a>,
    at: usize,
}

impl<'a> Iterator for Properties<'a> {
    type Item = Property<'a>;

    fn next(&mut self) -> Option<Property<'a>> {
        loop {
            let step = token_at(self.blocks.structure, self.at, self.blocks.old).ok()?;
            match step.token {
                Token::Nop => self.at = step.next,
                Token::Prop { name_offset, value, value_at } => {
                    let offset = self.blocks.structure_at.saturating_add(self.at);
                    self.at = step.next;
                    let name = text(property_name(self.blocks.strings, name_offset).unwrap_or_default());
                    let value_offset = self.blocks.structure_at.saturating_add(value_at);
                    return Some(Property::new(name, value, offset, value_offset));
                }
                _ => return None,
            }
        }
    }
}

impl FusedIterator for Properties<'_> {}

/// Iterator over the direct subnodes of a node.
#[derive(Debug, Clone)]
pub struct Children<'a> {
    blocks: Blocks<'a>,
    at: usize,
}

impl<'a> Iterator for Children<'a> {
    type Item = Node<'a>;

    fn next(&mut self) -> Option<Node<'a>> {
        loop {
            let at = self.at;
            let step = token_at(self.blocks.structure, at, self.blocks.old).ok()?;
            match step.token {
                Token::Nop | Token::Prop { .. } => self.at = step.next,
                Token::BeginNode(_) => {
                    self.at = behind_node(&self.blocks, at);
                    return Some(Node { blocks: self.blocks, at });
                }
                Token::EndNode | Token::End => return None,
            }
        }
    }
}

impl FusedIterator for Children<'_> {}

/// Offset behind the end token of the node that begins at `at`.
fn behind_node(blocks: &Blocks<'_>, mut at: usize) -> usize {
    let mut depth = 0_usize;
    while let Ok(step) = token_at(blocks.structure, at, blocks.old) {
        at = step.next;
        match step.token {
            Token::BeginNode(_) => depth = depth.saturating_add(1),
            Token::EndNode => depth = depth.saturating_sub(1),
            Token::Nop | Token::Prop { .. } => {}
            Token::End => break,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// Iterator over all nodes, parents before children.
#[derive(Debug, Clone)]
pub struct Walk<'a> {
    blocks: Blocks<'a>,
    at: usize,
    depth: usize,
}

impl<'a> Iterator for Walk<'a> {
    type Item = (usize, Node<'a>);

    fn next(&mut self) -> Option<(usize, Node<'a>)> {
        loop {
            let at = self.at;
            let step = token_at(self.blocks.structure, at, self.blocks.old).ok()?;
            match step.token {
                Token::BeginNode(_) => {
                    self.at = step.next;
                    let depth = self.depth;
                    self.depth = depth.saturating_add(1);
                    return Some((depth, Node { blocks: self.blocks, at }));
                }
                Token::EndNode => {
                    self.at = step.next;
                    self.depth = self.depth.saturating_sub(1);
                }
                Token::Nop | Token::Prop { .. } => self.at = step.next,
                Token::End => return None,
            }
        }
    }
}

impl FusedIterator for Walk<'_> {}
