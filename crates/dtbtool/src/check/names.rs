//! Names of nodes and properties.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use super::run::Run;

/// Each subnode is compared with those behind it, so that of three alike the last is named twice.
pub(super) fn duplicate_nodes(run: &mut Run<'_>, node: usize) {
    let by_name: Vec<usize> = run.view.children_by_name(node).to_vec();
    let alike = groups(&by_name, |a, b| run.view.node(a).name == run.view.node(b).name);
    for (_, behind) in pairs(&alike) {
        for later in behind {
            if run.full() {
                return run.fail(*later, format_args!("Duplicate node name"));
            }
            run.fail(*later, format_args!("Duplicate node name"));
        }
    }
}

pub(super) fn duplicate_properties(run: &mut Run<'_>, node: usize) {
    let by_name: Vec<usize> = run.view.properties_by_name(node).to_vec();
    let alike = groups(&by_name, |a, b| run.view.property(a).name == run.view.property(b).name);
    for (first, behind) in pairs(&alike) {
        for _ in behind {
            if run.full() {
                return run.fail_at(node, Some(first), format_args!("Duplicate property name"));
            }
            run.fail_at(node, Some(first), format_args!("Duplicate property name"));
        }
    }
}

/// Runs of two and more that are alike.
pub(super) fn groups(sorted: &[usize], alike: impl Fn(usize, usize) -> bool) -> Vec<&[usize]> {
    sorted.chunk_by(|a, b| alike(*a, *b)).filter(|group| group.len() > 1).collect()
}

/// Each member of a group with those behind it, members in the order of the tree.
fn pairs<'g>(groups: &[&'g [usize]]) -> Vec<(usize, &'g [usize])> {
    let mut all: Vec<(usize, &[usize])> = Vec::new();
    for group in groups {
        let mut rest = *group;
        while let Some((first, behind)) = rest.split_first() {
            all.push((*first, behind));
            rest = behind;
        }
    }
    all.sort_by_key(|(first, _)| *first);
    all
}

fn in_node_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || ",._+-@".contains(c)
}

fn in_property_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || ",._+*#?-".contains(c)
}

fn plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || ",-".contains(c)
}

pub(super) fn node_chars(run: &mut Run<'_>, node: usize) {
    if let Some(bad) = run.view.node(node).name.chars().find(|c| !in_node_name(*c)) {
        run.fail(node, format_args!("Bad character '{bad}' in node name"));
    }
}

pub(super) fn node_strict(run: &mut Run<'_>, node: usize) {
    if let Some(bad) = run.view.node(node).base.chars().find(|c| !plain(*c)) {
        run.fail(node, format_args!("Character '{bad}' not recommended in node name"));
    }
}

pub(super) fn node_format(run: &mut Run<'_>, node: usize) {
    if run.view.node(node).unit.contains('@') {
        run.fail(node, format_args!("multiple '@' characters in node name"));
    }
}

pub(super) fn node_empty(run: &mut Run<'_>, node: usize) {
    let named = run.view.node(node);
    if named.parent.is_some() && named.base.is_empty() {
        run.fail(node, format_args!("Empty node name"));
    }
}

pub(super) fn node_or_property(run: &mut Run<'_>, node: usize) {
    let named = run.view.node(node);
    if named.parent.is_some_and(|parent| run.view.has(parent, named.name)) {
        run.fail(node, format_args!("node name and property name conflict"));
    }
}

pub(super) fn property_chars(run: &mut Run<'_>, node: usize) {
    for property in run.view.properties(node) {
        if let Some(bad) = run.view.property(property).name.chars().find(|c| !in_property_name(*c)) {
            run.fail_at(node, Some(property), format_args!("Bad character '{bad}' in property name"));
        }
    }
}

/// `#` is fine at the beginning and behind the vendor's comma.
pub(super) fn property_strict(run: &mut Run<'_>, node: usize) {
    for property in run.view.properties(node) {
        let name = run.view.property(property).name;
        let Some((at, first)) = name.char_indices().find(|(_, c)| !plain(*c)) else { continue };
        if name == "device_type" {
            continue;
        }
        let (before, from) = name.split_at(at);
        let bad = match from.strip_prefix('#') {
            Some(rest) if before.is_empty() || before.ends_with(',') => rest.chars().find(|c| !plain(*c)),
            _ => Some(first),
        };
        if let Some(bad) = bad {
            run.fail_at(node, Some(property), format_args!("Character '{bad}' not recommended in property name"));
        }
    }
}

/// The property `name` of old trees: taken out if it says what is known anyway.
pub(super) fn name_property(run: &mut Run<'_>, node: usize) {
    let Some(property) = run.view.find(node, "name") else { return };
    let (base, found) = (run.view.node(node).base, run.view.property(property).c_string());
    // That it is one string is what this check needs.
    let found = run.view.text(found);
    if found == base {
        run.view.remove(property);
        return;
    }
    run.fail(node, format_args!("\"name\" property is incorrect (\"{found}\" instead of base node name)"));
}
