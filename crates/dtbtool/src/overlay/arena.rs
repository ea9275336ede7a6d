//! A tree in lists of links, in which a new node or property goes to the front of its parent, as libfdt puts it
//! there. Names and values are borrowed until they change.

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
};

use super::Fault;
use crate::view::Fdt;

/// Index of a node or property; `NONE` ends a list.
type Id = usize;
const NONE: Id = usize::MAX;
pub(super) const ROOT: Id = 0;

/// Lists longer than this get an index when they are searched.
const SHORT: usize = 48;
/// Bytes of the strings block that are searched for shared endings before only whole names are shared.
const SEARCH_BUDGET: usize = 1 << 26;

struct NodeSlot<'a> {
    name: &'a str,
    parent: Id,
    first_child: Id,
    next: Id,
    first_property: Id,
}

struct PropertySlot<'a> {
    name: &'a str,
    /// In the strings block.
    name_offset: u32,
    value: Cow<'a, [u8]>,
    next: Id,
}

pub(super) struct Arena<'a> {
    nodes: Vec<NodeSlot<'a>>,
    properties: Vec<PropertySlot<'a>>,
    /// Nodes below this index were loaded, in stored order; those from it on were added, newest first among siblings.
    loaded: Id,
    strings: Vec<u8>,
    names: BTreeMap<&'a str, u32>,
    searched: usize,
    /// First node with a phandle; may be out of date, so it is asked again.
    by_phandle: BTreeMap<u32, Id>,
    indexed_nodes: BTreeSet<Id>,
    exact: BTreeMap<(Id, &'a str), Id>,
    base: BTreeMap<(Id, &'a str), Id>,
    indexed_properties: BTreeSet<Id>,
    property_names: BTreeMap<(Id, &'a str), Id>,
}

/// libfdt's idea of equal names: one without unit address finds a node that has one.
fn names_node(stored: &str, wanted: &str) -> bool {
    stored == wanted || (!wanted.contains('@') && stored.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('@')))
}

/// The text in front of the first NUL.
pub(super) fn c_str(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes.split(|byte| *byte == 0).next().unwrap_or_default()).ok()
}

impl<'a> Arena<'a> {
    pub(super) fn load(fdt: &Fdt<'a>) -> Self {
        let mut arena = Self {
            nodes: Vec::new(),
            properties: Vec::new(),
            loaded: 0,
            strings: fdt.strings().to_vec(),
            names: BTreeMap::new(),
            searched: 0,
            by_phandle: BTreeMap::new(),
            indexed_nodes: BTreeSet::new(),
            exact: BTreeMap::new(),
            base: BTreeMap::new(),
            indexed_properties: BTreeSet::new(),
            property_names: BTreeMap::new(),
        };
        // Open nodes with the last child that each has so far.
        let mut open: Vec<(Id, Id)> = Vec::new();
        for (depth, node) in fdt.walk() {
            open.truncate(depth);
            let id = arena.nodes.len();
            let parent = match open.last_mut() {
                Some((parent, last)) => {
                    let previous = std::mem::replace(last, id);
                    let parent = *parent;
                    if let Some(previous) = arena.nodes.get_mut(previous) {
                        previous.next = id;
                    } else if let Some(parent) = arena.nodes.get_mut(parent) {
                        parent.first_child = id;
                    }
                    parent
                }
                None => NONE,
            };
            open.push((id, NONE));
            let mut last = NONE;
            let mut first = NONE;
            for property in node.properties() {
                let index = arena.properties.len();
                let name_offset = fdt
                    .as_bytes()
                    .get(property.offset().saturating_add(8)..)
                    .and_then(<[u8]>::first_chunk::<4>)
                    .map_or(0, |raw| u32::from_be_bytes(*raw));
                arena.properties.push(PropertySlot {
                    name: property.name(),
                    name_offset,
                    value: Cow::Borrowed(property.value()),
                    next: NONE,
                });
                match arena.properties.get_mut(last) {
                    Some(previous) => previous.next = index,
                    None => first = index,
                }
                last = index;
            }
            let name = if parent == NONE { "" } else { node.name() };
            arena.nodes.push(NodeSlot { name, parent, first_child: NONE, next: NONE, first_property: first });
        }
        arena.loaded = arena.nodes.len();
        for id in 0..arena.loaded {
            let phandle = arena.phandle(id);
            if phandle != 0 {
                arena.by_phandle.entry(phandle).or_insert(id);
            }
        }
        arena
    }

    pub(super) fn ids(&self) -> std::ops::Range<Id> {
        0..self.nodes.len()
    }

    pub(super) fn name(&self, id: Id) -> &'a str {
        self.nodes.get(id).map_or("", |slot| slot.name)
    }

    /// Direct subnodes in order.
    pub(super) fn children(&self, id: Id) -> impl Iterator<Item = Id> + use<'_, 'a> {
        let first = self.nodes.get(id).map_or(NONE, |slot| slot.first_child);
        std::iter::successors((first != NONE).then_some(first), |id| {
            self.nodes.get(*id).map(|slot| slot.next).filter(|next| *next != NONE)
        })
    }

    /// Properties in order.
    pub(super) fn properties(&self, id: Id) -> impl Iterator<Item = Id> + use<'_, 'a> {
        let first = self.nodes.get(id).map_or(NONE, |slot| slot.first_property);
        std::iter::successors((first != NONE).then_some(first), |id| {
            self.properties.get(*id).map(|slot| slot.next).filter(|next| *next != NONE)
        })
    }

    pub(super) fn property_name(&self, property: Id) -> &'a str {
        self.properties.get(property).map_or("", |slot| slot.name)
    }

    pub(super) fn value(&self, property: Id) -> &[u8] {
        self.properties.get(property).map_or(&[], |slot| &slot.value)
    }

    /// The value, to put into another tree.
    pub(super) fn owned_value(&self, property: Id) -> Cow<'a, [u8]> {
        self.properties.get(property).map_or(Cow::Borrowed(&[]), |slot| slot.value.clone())
    }

    /// Whether any node is nested deeper than `levels`, the root being level 1.
    pub(super) fn too_deep(&self, levels: usize) -> bool {
        // Parents are older than their children.
        let mut depths: Vec<usize> = Vec::with_capacity(self.nodes.len());
        self.nodes.iter().any(|slot| {
            let depth = depths.get(slot.parent).copied().unwrap_or(0).saturating_add(1);
            depths.push(depth);
            depth > levels
        })
    }

    /// The first of the subnodes that `wanted` names.
    pub(super) fn child(&mut self, parent: Id, wanted: &str) -> Option<Id> {
        if !self.indexed_nodes.contains(&parent) {
            if let Some(found) = self.children(parent).take(SHORT).find(|id| names_node(self.name(*id), wanted)) {
                return Some(found);
            }
            self.children(parent).nth(SHORT)?;
            let children: Vec<Id> = self.children(parent).collect();
            for id in children {
                let name = self.name(id);
                self.exact.entry((parent, name)).or_insert(id);
                if let Some((base, _)) = name.split_once('@') {
                    self.base.entry((parent, base)).or_insert(id);
                }
            }
            self.indexed_nodes.insert(parent);
        }
        let exact = self.exact.get(&(parent, wanted)).copied();
        let base = if wanted.contains('@') { None } else { self.base.get(&(parent, wanted)).copied() };
        match (exact, base) {
            (Some(exact), Some(base)) => Some(if self.in_front(base, exact) { base } else { exact }),
            (exact, base) => exact.or(base),
        }
    }

    /// Whether one of two siblings stands in front of the other: the newest first, then the loaded ones.
    fn in_front(&self, one: Id, other: Id) -> bool {
        match (one < self.loaded, other < self.loaded) {
            (true, true) => one < other,
            (false, false) => one > other,
            (one, _) => !one,
        }
    }

    /// The first property of that name.
    pub(super) fn property(&mut self, node: Id, name: &str) -> Option<Id> {
        if !self.indexed_properties.contains(&node) {
            if let Some(found) = self.properties(node).take(SHORT).find(|id| self.property_name(*id) == name) {
                return Some(found);
            }
            self.properties(node).nth(SHORT)?;
            let properties: Vec<Id> = self.properties(node).collect();
            for id in properties {
                let name = self.property_name(id);
                self.property_names.entry((node, name)).or_insert(id);
            }
            self.indexed_properties.insert(node);
        }
        self.property_names.get(&(node, name)).copied()
    }

    fn cell(&mut self, node: Id, name: &str) -> Option<u32> {
        let property = self.property(node, name)?;
        self.value(property).try_into().ok().map(u32::from_be_bytes)
    }

    /// The node's phandle, 0 without one.
    pub(super) fn phandle(&mut self, node: Id) -> u32 {
        self.cell(node, "phandle").or_else(|| self.cell(node, "linux,phandle")).unwrap_or(0)
    }

    /// The largest phandle of all nodes; 0xffffffff is none.
    pub(super) fn max_phandle(&mut self) -> u32 {
        self.ids().map(|id| self.phandle(id)).filter(|phandle| *phandle != u32::MAX).max().unwrap_or(0)
    }

    pub(super) fn by_phandle(&mut self, phandle: u32) -> Result<Id, Fault> {
        if matches!(phandle, 0 | u32::MAX) {
            return Err(Fault::BadPhandle);
        }
        let known = self.by_phandle.get(&phandle).copied().ok_or(Fault::NotFound)?;
        if self.phandle(known) == phandle {
            return Ok(known);
        }
        let found = self.ids().find(|id| self.phandle(*id) == phandle);
        match found {
            Some(found) => self.by_phandle.insert(phandle, found),
            None => self.by_phandle.remove(&phandle),
        };
        found.ok_or(Fault::NotFound)
    }

    /// The node at an absolute path, or at one that begins with an alias.
    pub(super) fn find(&mut self, path: &str) -> Result<Id, Fault> {
        let (mut node, rest) = if path.starts_with('/') {
            (ROOT, path)
        } else {
            let (alias, rest) = path.split_once('/').unwrap_or((path, ""));
            let aliases = self.child(ROOT, "aliases").ok_or(Fault::BadPath)?;
            let property = self.property(aliases, alias).ok_or(Fault::BadPath)?;
            let value = self.value(property);
            let target = c_str(value).filter(|_| value.last() == Some(&0)).filter(|target| target.starts_with('/'));
            let target = target.ok_or(Fault::BadPath)?.to_owned();
            (self.find_absolute(ROOT, &target)?, rest)
        };
        node = self.find_absolute(node, rest)?;
        Ok(node)
    }

    fn find_absolute(&mut self, from: Id, path: &str) -> Result<Id, Fault> {
        let mut node = from;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            node = self.child(node, name).ok_or(Fault::NotFound)?;
        }
        Ok(node)
    }

    /// The absolute path of a node.
    pub(super) fn path(&self, node: Id) -> String {
        let mut names = Vec::new();
        let mut at = node;
        while let Some(slot) = self.nodes.get(at) {
            names.push(slot.name);
            at = slot.parent;
        }
        names.reverse();
        if names.len() <= 1 { "/".to_owned() } else { names.join("/") }
    }

    /// Writes a cell into a value that is there.
    pub(super) fn patch(&mut self, property: Id, offset: usize, cell: u32) -> Result<(), Fault> {
        let slot = self.properties.get_mut(property).ok_or(Fault::NotFound)?;
        let end = offset.checked_add(4).ok_or(Fault::NoSpace)?;
        slot.value.to_mut().get_mut(offset..end).ok_or(Fault::NoSpace)?.copy_from_slice(&cell.to_be_bytes());
        Ok(())
    }

    /// Replaces a value, or adds the property in front of the others.
    pub(super) fn set(&mut self, node: Id, name: &'a str, value: Cow<'a, [u8]>) {
        if let Some(property) = self.property(node, name) {
            if let Some(slot) = self.properties.get_mut(property) {
                slot.value = value;
            }
        } else {
            let name_offset = self.name_offset(name);
            let id = self.properties.len();
            let Some(slot) = self.nodes.get_mut(node) else { return };
            let next = std::mem::replace(&mut slot.first_property, id);
            self.properties.push(PropertySlot { name, name_offset, value, next });
            if self.indexed_properties.contains(&node) {
                self.property_names.insert((node, name), id);
            }
        }
        if matches!(name, "phandle" | "linux,phandle") {
            let phandle = self.phandle(node);
            let holder = self.by_phandle.get(&phandle).copied();
            if holder.is_none_or(|holder| self.phandle(holder) != phandle) {
                self.by_phandle.insert(phandle, node);
            }
        }
    }

    /// The subnode of that name; a new one goes in front of the others.
    pub(super) fn child_or_new(&mut self, parent: Id, name: &'a str) -> Id {
        if let Some(found) = self.child(parent, name) {
            return found;
        }
        let id = self.nodes.len();
        let Some(slot) = self.nodes.get_mut(parent) else { return parent };
        let next = std::mem::replace(&mut slot.first_child, id);
        self.nodes.push(NodeSlot { name, parent, first_child: NONE, next, first_property: NONE });
        if self.indexed_nodes.contains(&parent) {
            self.exact.insert((parent, name), id);
            if let Some((base, _)) = name.split_once('@') {
                self.base.insert((parent, base), id);
            }
        }
        id
    }

    /// Where the strings block has a name: its first place, endings of other names included, else its end.
    fn name_offset(&mut self, name: &'a str) -> u32 {
        if let Some(offset) = self.names.get(name) {
            return *offset;
        }
        let mut wanted = name.as_bytes().to_vec();
        wanted.push(0);
        let found = if self.searched < SEARCH_BUDGET {
            self.searched = self.searched.saturating_add(self.strings.len());
            self.strings.windows(wanted.len()).position(|window| window == wanted)
        } else {
            None
        };
        let offset = found.unwrap_or(self.strings.len());
        if found.is_none() {
            self.strings.extend_from_slice(&wanted);
        }
        let offset = u32::try_from(offset).unwrap_or(u32::MAX);
        self.names.insert(name, offset);
        offset
    }

    /// The structure block, and the strings block that it needs.
    pub(super) fn structure(&self) -> (Vec<u8>, &[u8]) {
        use crate::token::{BEGIN_NODE, END, END_NODE, PROP};
        fn pad(out: &mut Vec<u8>) {
            while !out.len().is_multiple_of(4) {
                out.push(0);
            }
        }
        let mut out = Vec::new();
        let word = |out: &mut Vec<u8>, word: u32| out.extend_from_slice(&word.to_be_bytes());
        let mut at = ROOT;
        while let Some(slot) = self.nodes.get(at) {
            word(&mut out, BEGIN_NODE);
            out.extend_from_slice(slot.name.as_bytes());
            out.push(0);
            pad(&mut out);
            for property in self.properties(at) {
                let Some(property) = self.properties.get(property) else { continue };
                word(&mut out, PROP);
                word(&mut out, u32::try_from(property.value.len()).unwrap_or(u32::MAX));
                word(&mut out, property.name_offset);
                out.extend_from_slice(&property.value);
                pad(&mut out);
            }
            if slot.first_child != NONE {
                at = slot.first_child;
                continue;
            }
            // Up to the next node that has a sibling.
            let mut done = at;
            at = loop {
                word(&mut out, END_NODE);
                let Some(slot) = self.nodes.get(done) else { break NONE };
                if slot.next != NONE {
                    break slot.next;
                }
                if slot.parent == NONE {
                    break NONE;
                }
                done = slot.parent;
            };
        }
        word(&mut out, END);
        (out, &self.strings)
    }
}
