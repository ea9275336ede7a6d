//! What differs between two trees, by meaning: order and phandle numbers do not count, targets of references do.
//!
//! ```
//! use dtbtool::{Fdt, WriteOptions, diff, model::{DeviceTree, Node, Property}};
//!
//! let tree = |status| {
//!     let mut tree = DeviceTree::new();
//!     tree.root_mut().children.push(Node::new("serial@feb50000").with(Property::string("status", status)));
//!     tree.to_bytes(&WriteOptions::default())
//! };
//! let (off, on) = (tree("disabled")?, tree("okay")?);
//! let difference = diff::diff(&Fdt::parse(&off)?, &Fdt::parse(&on)?);
//! assert_eq!(difference.changes[0].to_string(), "/serial@feb50000: status: \"disabled\" -> \"okay\"");
//! # Ok::<(), dtbtool::Error>(())
//! ```

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

mod side;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use crate::{property::Property, tree::shorten, view::Fdt};
use side::Side;

/// Differences that are listed; more are counted.
const LISTED: usize = 20_000;

/// All differences of two trees.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Diff {
    /// In the order of the first tree, what only the second has behind its neighbours; at most 20,000.
    pub changes: Vec<Change>,
    /// Their counts, those not listed included.
    pub summary: Summary,
}

impl Diff {
    /// Whether the trees mean the same.
    pub fn is_empty(&self) -> bool {
        self.summary == Summary::default()
    }

    fn add(&mut self, change: impl FnOnce() -> Change, count: impl FnOnce(&mut Summary) -> &mut usize) {
        let count = count(&mut self.summary);
        *count = count.saturating_add(1);
        if self.changes.len() < LISTED {
            self.changes.push(change());
        }
    }
}

/// Counts of differences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Nodes, those inside them not counted, that only the second tree has.
    pub nodes_added: usize,
    /// Nodes, those inside them not counted, that only the first tree has.
    pub nodes_removed: usize,
    /// Properties of nodes of both trees that only the second has.
    pub properties_added: usize,
    /// Properties of nodes of both trees that only the first has.
    pub properties_removed: usize,
    /// Properties with another meaning.
    pub properties_changed: usize,
    /// Memory reservations and boot processor.
    pub header: usize,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [
            (self.nodes_added, "node", "nodes", "added"),
            (self.nodes_removed, "node", "nodes", "removed"),
            (self.properties_added, "property", "properties", "added"),
            (self.properties_removed, "property", "properties", "removed"),
            (self.properties_changed, "property", "properties", "changed"),
            (self.header, "header field", "header fields", "changed"),
        ];
        let parts: Vec<String> = parts
            .iter()
            .filter(|(count, ..)| *count > 0)
            .map(|(count, one, many, what)| format!("{count} {} {what}", if *count == 1 { one } else { many }))
            .collect();
        f.write_str(&if parts.is_empty() { "no differences".to_owned() } else { parts.join(", ") })
    }
}

/// One difference. Values are shown as source text, references as the path of their target, `<&/soc/clk 3>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The node's absolute path, shortened if it is too long to read; empty for the header.
    pub path: String,
    /// What it is about; none for the node itself.
    pub property: Option<String>,
    /// The value in the first tree; for a node, what is in it.
    pub before: Option<String>,
    /// The value in the second tree; for a node, what is in it.
    pub after: Option<String>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() { "header" } else { &self.path };
        match (&self.property, &self.before, &self.after) {
            (Some(name), Some(before), Some(after)) => write!(f, "{path}: {name}: {before} -> {after}"),
            (Some(name), None, Some(after)) => write!(f, "{path}: + {name}: {after}"),
            (Some(name), Some(before), None) => write!(f, "{path}: - {name}: {before}"),
            (None, _, Some(what)) => write!(f, "+ {path} ({what})"),
            (None, Some(what), None) => write!(f, "- {path} ({what})"),
            _ => f.write_str(path),
        }
    }
}

/// Compares two trees. `phandle` properties are names of nodes for references, so they are not compared themselves.
/// A reference in a property whose name is not known counts as equal when the numbers at one place are phandles of
/// the same path.
pub fn diff(first: &Fdt<'_>, second: &Fdt<'_>) -> Diff {
    let (mut one, mut two) = (Side::new(first), Side::new(second));
    side::pair(&mut one, &mut two);
    let mut diff = Diff::default();
    header(first, second, &mut diff);
    // Pairs, and nodes of one side, in the order of the first tree.
    let mut open = vec![(Some(0_usize), Some(0_usize))];
    while let Some(pair) = open.pop() {
        match pair {
            (Some(a), Some(b)) => {
                properties(&one, a, &two, b, &mut diff);
                let mut next: Vec<(Option<usize>, Option<usize>)> =
                    one.children(a).map(|child| (Some(child), one.twin(child))).collect();
                next.extend(
                    two.children(b).filter(|child| two.twin(*child).is_none()).map(|child| (None, Some(child))),
                );
                open.extend(next.into_iter().rev());
            }
            (Some(a), None) => {
                let change =
                    || Change { path: one.path(a), property: None, before: Some(one.contents(a)), after: None };
                diff.add(change, |summary| &mut summary.nodes_removed);
            }
            (None, Some(b)) => {
                let change =
                    || Change { path: two.path(b), property: None, before: None, after: Some(two.contents(b)) };
                diff.add(change, |summary| &mut summary.nodes_added);
            }
            (None, None) => {}
        }
    }
    diff
}

fn header(first: &Fdt<'_>, second: &Fdt<'_>, diff: &mut Diff) {
    let reservations = |fdt: &Fdt<'_>| {
        let pairs = fdt.memory_reservations().take(64).map(|pair| format!("0x{:x} 0x{:x}", pair.address, pair.size));
        format!("<{}>", pairs.collect::<Vec<_>>().join(" "))
    };
    let mut field = |name: &str, before: String, after: String| {
        let change = || Change {
            path: String::new(),
            property: Some(name.to_owned()),
            before: Some(shorten(&before)),
            after: Some(shorten(&after)),
        };
        diff.add(change, |summary| &mut summary.header);
    };
    if !first.memory_reservations().eq(second.memory_reservations()) {
        field("memory reservations", reservations(first), reservations(second));
    }
    let (before, after) = (first.header().boot_cpuid_phys, second.header().boot_cpuid_phys);
    if before != after {
        field("boot processor", before.to_string(), after.to_string());
    }
}

fn compared(property: &Property<'_>) -> bool {
    !matches!(property.name(), "phandle" | "linux,phandle")
}

fn properties(one: &Side<'_>, a: usize, two: &Side<'_>, b: usize, diff: &mut Diff) {
    let mut others: BTreeMap<&str, Property<'_>> = BTreeMap::new();
    for property in two.properties(b).filter(compared) {
        others.entry(property.name()).or_insert(property);
    }
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    for property in one.properties(a).filter(compared) {
        if !seen.insert(property.name()) {
            continue;
        }
        let name = || Some(shorten(property.name()));
        match others.remove(property.name()) {
            Some(other) if side::equal(one, &property, two, &other) => {}
            Some(other) => {
                let change = || Change {
                    path: one.path(a),
                    property: name(),
                    before: Some(one.show(&property)),
                    after: Some(two.show(&other)),
                };
                diff.add(change, |summary| &mut summary.properties_changed);
            }
            None => {
                let change =
                    || Change { path: one.path(a), property: name(), before: Some(one.show(&property)), after: None };
                diff.add(change, |summary| &mut summary.properties_removed);
            }
        }
    }
    for property in two.properties(b).filter(compared) {
        if others.remove(property.name()).is_some() {
            let change = || Change {
                path: one.path(a),
                property: Some(shorten(property.name())),
                before: None,
                after: Some(two.show(&property)),
            };
            diff.add(change, |summary| &mut summary.properties_added);
        }
    }
}
