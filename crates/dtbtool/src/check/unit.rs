//! Unit addresses.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use super::{names::groups, run::Run, view::View};

pub(super) fn against_reg(run: &mut Run<'_>, node: usize) {
    // The fragments of an overlay are numbered, not addressed.
    if run.view.child(node, "__overlay__").is_some() {
        return;
    }
    let addressed =
        run.view.has(node, "reg") || run.view.value(node, "ranges").is_some_and(|ranges| !ranges.value.is_empty());
    match (addressed, run.view.node(node).unit.is_empty()) {
        (true, true) => run.fail(node, format_args!("node has a reg or ranges property, but no unit name")),
        (false, false) => run.fail(node, format_args!("node has a unit name, but no reg or ranges property")),
        _ => {}
    }
}

pub(super) fn format(run: &mut Run<'_>, node: usize) {
    if run.view.parent_bus(node).is_some() {
        return;
    }
    let mut unit = run.view.node(node).unit;
    if let Some(rest) = unit.strip_prefix("0x") {
        run.fail(node, format_args!("unit name should not have leading \"0x\""));
        unit = rest;
    }
    if let [b'0', next, ..] = unit.as_bytes()
        && next.is_ascii_hexdigit()
    {
        run.fail(node, format_args!("unit name should not have leading 0s"));
    }
}

pub(super) fn unique(run: &mut Run<'_>, node: usize) {
    shared(run, node, |_, _| true);
}

pub(super) fn unique_enabled(run: &mut Run<'_>, node: usize) {
    let enabled = |view: &View<'_>, child: usize| {
        view.value(child, "status").is_none_or(|status| status.c_string() != b"disabled")
    };
    shared(run, node, enabled);
}

/// Each subnode is compared with those in front of it.
fn shared(run: &mut Run<'_>, node: usize, counts: impl Fn(&View<'_>, usize) -> bool) {
    let own = run.view.node(node);
    if own.address_cells < 0 || own.size_cells < 0 {
        return;
    }
    let view = &run.view;
    let mut addressed: Vec<usize> = view.children(node).to_vec();
    addressed.retain(|child| !view.node(*child).unit.is_empty() && counts(view, *child));
    // A stable order: those that share an address stay in the order of the tree.
    addressed.sort_by_key(|child| view.node(*child).unit);
    let alike = groups(&addressed, |a, b| view.node(a).unit == view.node(b).unit);
    let mut later: Vec<(usize, &[usize])> = Vec::new();
    for group in alike {
        later.extend(group.iter().enumerate().skip(1).filter_map(|(at, child)| Some((*child, group.get(..at)?))));
    }
    later.sort_by_key(|(child, _)| *child);
    for (child, before) in later {
        let path = run.path(child);
        for other in before {
            run.fail(*other, format_args!("duplicate unit-address (also used in node {path})"));
            if run.full() {
                return;
            }
        }
    }
}
