//! Rules about the numbers by which nodes refer to each other.

use std::collections::BTreeMap;

use crate::{
    property::Property,
    rules,
    scan::Findings,
    tree::{Tree, TreeNode},
};

/// Properties whose value is phandles and nothing else, so that a reference can be told without knowing the device.
/// Properties that mix phandles with arguments need the target's `#…-cells` and are dtc's checks, not ours.
const REFERENCES: &[&str] = &[
    "cpu-idle-states",
    "ethernet-phy",
    "interrupt-parent",
    "memory-region",
    "mmc-pwrseq",
    "next-level-cache",
    "operating-points-v2",
    "phy-handle",
    "remote-endpoint",
];

fn is_reference(property: &Property<'_>) -> bool {
    let name = property.name();
    REFERENCES.contains(&name)
        || name
            .strip_prefix("pinctrl-")
            .is_some_and(|state| !state.is_empty() && state.bytes().all(|b| b.is_ascii_digit()))
        || (name.ends_with("-supply") && property.value().len() == 4)
}

pub(super) fn check(tree: &Tree, findings: &mut Findings) {
    let mut owners: BTreeMap<u32, TreeNode<'_>> = BTreeMap::new();
    for node in tree.nodes() {
        let modern = own(node, "phandle", findings);
        let legacy = own(node, "linux,phandle", findings);
        if let (Some((modern, _)), Some((legacy, at))) = (&modern, &legacy)
            && modern != legacy
        {
            let message = || format!("{} has phandle 0x{modern:x} but linux,phandle 0x{legacy:x}", node.path());
            findings.add(rules::PHANDLE_DIFFERS, at.clone(), message, "make both the same, or drop linux,phandle");
        }
        let Some((phandle, at)) = modern.or(legacy) else { continue };
        if let Some(first) = owners.get(&phandle) {
            let message = || format!("{} has phandle 0x{phandle:x}, which {} has already", node.path(), first.path());
            let help =
                "references to it reach whichever node the reader finds first; give each node a number of its own";
            findings.add(rules::PHANDLE_TWICE, at, message, help);
        } else {
            owners.insert(phandle, node);
        }
    }
    // References of an overlay are filled in when it is applied.
    let is_overlay = tree.root().is_some_and(|root| {
        root.children().any(|child| {
            child.name() == "__fixups__" || child.children().any(|grandchild| grandchild.name() == "__overlay__")
        })
    });
    if is_overlay {
        return;
    }
    for node in tree.nodes() {
        for property in node.properties().filter(is_reference) {
            let Some(cells) = property.as_u32_list() else { continue };
            for phandle in cells.filter(|phandle| !matches!(*phandle, 0 | u32::MAX)) {
                if !owners.contains_key(&phandle) {
                    let message = || {
                        format!("{}: {} names phandle 0x{phandle:x}, which no node has", node.path(), property.name())
                    };
                    let help = "the device does not start until the node that is meant exists";
                    findings.add(rules::PHANDLE_DANGLING, value_range(&property), message, help);
                }
            }
        }
    }
}

fn value_range(property: &Property<'_>) -> std::ops::Range<u64> {
    let range = property.value_range();
    range.start as u64..range.end as u64
}

/// The node's phandle in the property `name`, judged.
fn own(node: TreeNode<'_>, name: &str, findings: &mut Findings) -> Option<(u32, std::ops::Range<u64>)> {
    let property = node.property(name)?;
    let at = value_range(&property);
    let Some(phandle) = property.as_u32() else {
        let message =
            || format!("{}: {name} has {} bytes, a phandle is one cell of 4", node.path(), property.value().len());
        findings.add(rules::PHANDLE_SHAPE, at, message, "");
        return None;
    };
    if matches!(phandle, 0 | u32::MAX) {
        let message = || format!("{}: {name} is 0x{phandle:x}, which names no node", node.path());
        findings.add(rules::PHANDLE_VALUE, at, message, "use a number from 1 to 0xfffffffe that no other node has");
        return None;
    }
    Some((phandle, at))
}
