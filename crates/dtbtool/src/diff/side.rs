//! One of two trees: its nodes, who has which phandle, and which node of the other tree is at the same path.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Write as _,
};

use crate::{
    dts,
    property::Property,
    reference::{Arguments, arguments},
    tree::shorten,
    view::{Fdt, Node},
};

struct Entry<'a> {
    node: Node<'a>,
    name: &'a str,
    parent: usize,
    first_child: Option<usize>,
    next: Option<usize>,
    twin: Option<usize>,
}

pub(super) struct Side<'a> {
    entries: Vec<Entry<'a>>,
    by_phandle: BTreeMap<u32, usize>,
}

/// Bytes of a value that are shown.
const SHOWN: usize = 256;

impl<'a> Side<'a> {
    pub(super) fn new(fdt: &Fdt<'a>) -> Self {
        let mut entries: Vec<Entry<'a>> = Vec::new();
        let mut by_phandle = BTreeMap::new();
        let mut open: Vec<(usize, Option<usize>)> = Vec::new();
        for (depth, node) in fdt.walk() {
            open.truncate(depth);
            let id = entries.len();
            let mut parent = 0;
            if let Some((above, last)) = open.last_mut() {
                parent = *above;
                match last.replace(id) {
                    Some(previous) => {
                        if let Some(previous) = entries.get_mut(previous) {
                            previous.next = Some(id);
                        }
                    }
                    None => {
                        if let Some(above) = entries.get_mut(parent) {
                            above.first_child = Some(id);
                        }
                    }
                }
            }
            open.push((id, None));
            if let Some(phandle) = node.phandle() {
                by_phandle.entry(phandle).or_insert(id);
            }
            entries.push(Entry { node, name: node.name(), parent, first_child: None, next: None, twin: None });
        }
        Self { entries, by_phandle }
    }

    pub(super) fn children(&self, id: usize) -> impl Iterator<Item = usize> + use<'_, 'a> {
        let first = self.entries.get(id).and_then(|entry| entry.first_child);
        std::iter::successors(first, |id| self.entries.get(*id).and_then(|entry| entry.next))
    }

    pub(super) fn twin(&self, id: usize) -> Option<usize> {
        self.entries.get(id).and_then(|entry| entry.twin)
    }

    pub(super) fn properties(&self, id: usize) -> impl Iterator<Item = Property<'a>> + use<'a> {
        self.entries.get(id).map(|entry| entry.node.properties()).into_iter().flatten()
    }

    pub(super) fn path(&self, id: usize) -> String {
        let mut names = Vec::new();
        let mut at = id;
        while let Some(entry) = self.entries.get(at) {
            if at == 0 {
                break;
            }
            names.push(shorten(entry.name));
            at = entry.parent;
        }
        names.reverse();
        shorten(&format!("/{}", names.join("/")))
    }

    /// What is in a node, in words.
    pub(super) fn contents(&self, id: usize) -> String {
        let Some(entry) = self.entries.get(id) else { return String::new() };
        let properties = entry.node.properties().count();
        let mut nodes = 0_usize;
        let mut open: Vec<usize> = self.children(id).collect();
        while let Some(inner) = open.pop() {
            nodes = nodes.saturating_add(1);
            open.extend(self.children(inner));
        }
        let count = |count: usize, one: &str, many: &str| format!("{count} {}", if count == 1 { one } else { many });
        let mut text = count(properties, "property", "properties");
        if nodes > 0 {
            text.push_str(", ");
            text.push_str(&count(nodes, "node", "nodes"));
        }
        text
    }

    fn target(&self, phandle: u32) -> Option<usize> {
        self.by_phandle.get(&phandle).copied()
    }

    /// The references of a value whose property is known to hold some: per cell, whether it is a phandle. `None`
    /// when the value does not fit.
    fn roles(&self, property: &Property<'_>) -> Option<Vec<bool>> {
        let kind = arguments(property.name())?;
        let cells: Vec<u32> = property.as_u32_list()?.collect();
        let mut roles = Vec::with_capacity(cells.len());
        let mut rest = cells.iter();
        while let Some(cell) = rest.next() {
            roles.push(true);
            // A hole in a list of references.
            if matches!(*cell, 0 | u32::MAX) {
                continue;
            }
            let target = self.entries.get(self.target(*cell)?)?.node;
            let count = |name: &str| target.property(name).and_then(|property| property.as_u32());
            let count = match kind {
                Arguments::None => 0,
                Arguments::Cells(name) => count(name)?,
                Arguments::Optional(name) => count(name).unwrap_or(0),
            };
            for _ in 0..count {
                rest.next()?;
                roles.push(false);
            }
        }
        Some(roles)
    }

    /// The value as text.
    pub(super) fn show(&self, property: &Property<'_>) -> String {
        let Some(roles) = self.roles(property).filter(|_| property.value().len() <= SHOWN) else {
            let value = property.value();
            let head = value.get(..SHOWN).unwrap_or(value);
            let mut text = dts::value_text(head);
            if head.len() < value.len() {
                let _ = write!(text, "… {} bytes", value.len());
            }
            return if text.is_empty() { "(empty)".to_owned() } else { shorten(&text) };
        };
        let cells = property.as_u32_list().into_iter().flatten();
        let words: Vec<String> = cells
            .zip(roles)
            .map(|(cell, is_phandle)| match self.target(cell).filter(|_| is_phandle) {
                Some(target) => format!("&{}", self.path(target)),
                None if cell < 10 => cell.to_string(),
                None => format!("0x{cell:x}"),
            })
            .collect();
        format!("<{}>", words.join(" "))
    }
}

/// Finds for every node the one at the same path of the other tree.
pub(super) fn pair(one: &mut Side<'_>, two: &mut Side<'_>) {
    let mut open = vec![(0_usize, 0_usize)];
    while let Some((a, b)) = open.pop() {
        if let (Some(first), Some(second)) = (one.entries.get_mut(a), two.entries.get_mut(b)) {
            first.twin = Some(b);
            second.twin = Some(a);
        }
        // No sound tree has two nodes of one name; in others the first belongs to the first, the second to the second.
        let mut names: BTreeMap<&str, VecDeque<usize>> = BTreeMap::new();
        for child in two.children(b) {
            if let Some(entry) = two.entries.get(child) {
                names.entry(entry.name).or_default().push_back(child);
            }
        }
        for child in one.children(a) {
            let name = one.entries.get(child).map_or("", |entry| entry.name);
            if let Some(same) = names.get_mut(name).and_then(VecDeque::pop_front) {
                open.push((child, same));
            }
        }
    }
}

/// Whether two values mean the same.
pub(super) fn equal(one: &Side<'_>, first: &Property<'_>, two: &Side<'_>, second: &Property<'_>) -> bool {
    let same_target = |a: u32, b: u32| match (one.target(a), two.target(b)) {
        (Some(a), Some(b)) => one.twin(a) == Some(b),
        (None, None) => a == b,
        _ => false,
    };
    let (left, right) = (one.roles(first), two.roles(second));
    if left.is_some() != right.is_some() {
        return false;
    }
    if let (Some(left), Some(right)) = (left, right) {
        let cells = |property: &Property<'_>| property.as_u32_list().into_iter().flatten().collect::<Vec<u32>>();
        return left == right
            && cells(first)
                .into_iter()
                .zip(cells(second))
                .zip(left)
                .all(|((a, b), is_phandle)| if is_phandle { same_target(a, b) } else { a == b });
    }
    if first.value() == second.value() {
        return true;
    }
    if first.value().len() != second.value().len() {
        return false;
    }
    match (first.as_u32_list(), second.as_u32_list()) {
        (Some(left), Some(right)) => {
            left.zip(right).all(|(a, b)| a == b || (one.target(a).is_some() && same_target(a, b)))
        }
        _ => false,
    }
}
