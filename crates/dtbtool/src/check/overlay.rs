//! What dtc says before and after its checks: while it reads, and while it turns `__symbols__`, `__fixups__` and
//! `__local_fixups__` back into references.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use super::{
    Remark,
    run::Run,
    view::{Property, View},
};

pub(super) const MISPLACED: &str = "Warning: Flat tree input has subnodes preceding a property.";

/// Once for each property behind a subnode.
pub(super) fn properties_behind_nodes(run: &mut Run<'_>) {
    for node in 0..run.view.len() {
        let Some(first) = run.view.children(node).first().map(|child| run.view.node(*child).range.start) else {
            continue;
        };
        for property in run.view.properties(node).collect::<Vec<_>>() {
            let property = run.view.property(property);
            if property.offset > first {
                let range = property.range.clone();
                run.out.remark(Remark::Order, MISPLACED, range);
            }
        }
    }
}

/// The tables of labels and references, as dtc goes through them after checks without errors.
pub(super) fn tables(run: &mut Run<'_>) {
    symbols(run);
    let references = fixups(run);
    let local = run.view.child(0, "__local_fixups__");
    if let Some(table) = local {
        local_fixups(run, table);
    }
    rewrite(run, &references, local);
}

/// A sound entry of `__fixups__`.
struct Reference {
    label: usize,
    node: usize,
    property: usize,
}

/// dtc then writes both tables anew on top of the old ones, where these are not in its way.
fn rewrite(run: &mut Run<'_>, references: &[Reference], local: Option<usize>) {
    if !run.view.overlay {
        return;
    }
    let view = &run.view;
    let (mut global_bad, mut local_bad) = (None, None);
    // References of one label stand together.
    let mut known = None;
    for Reference { label, node, property } in references {
        let own = match known {
            Some((at, own)) if at == *label => own,
            _ => resolved(view, view.property(*label).name),
        };
        known = Some((*label, own));
        let label = view.property(*label);
        if own {
            let fixed = local.and_then(|table| same_place(view, *node, table));
            let old = fixed.and_then(|fixed| view.value(fixed, view.property(*property).name));
            if let Some(old) = old.filter(|old| !old.value.len().is_multiple_of(4)) {
                local_bad = Some(old.range.clone());
            }
        } else if label.value.last().is_some_and(|last| *last != 0) {
            global_bad = Some(label.range.clone());
        }
    }
    for (name, bad) in [("__fixups__", global_bad), ("__local_fixups__", local_bad)] {
        if let Some(range) = bad {
            let message = format!("Warning: Preexisting data in {name} malformed, some content could not be added.");
            run.out.remark(Remark::References, &message, range);
        }
    }
}

/// Whether a label is one of this tree's own.
fn resolved(view: &View<'_>, label: &str) -> bool {
    let symbol = view.child(0, "__symbols__").and_then(|table| view.value(table, label));
    symbol.is_some_and(|symbol| view.at_path(symbol.c_string()).is_some())
}

/// The node of a table that has the shape of the tree.
fn same_place(view: &View<'_>, node: usize, table: usize) -> Option<usize> {
    let mut names = Vec::new();
    let mut at = node;
    while let Some(parent) = view.node(at).parent {
        names.push(view.node(at).name);
        at = parent;
    }
    names.into_iter().rev().try_fold(table, |at, name| view.child(at, name))
}

fn symbols(run: &mut Run<'_>) {
    const TABLE: &str = "__symbols__";
    let Some(table) = run.view.child(0, TABLE) else { return };
    for symbol in run.view.properties(table) {
        let Property { name, value, range, .. } = run.view.property(symbol);
        let path = run.view.property(symbol).c_string();
        if !value.is_empty() && run.view.at_path(path).is_none() {
            let message =
                format!("Warning: Path {} referenced in property {TABLE}/{name} missing", run.view.text(path));
            run.out.remark(Remark::Symbol, &message, range.clone());
        }
    }
}

fn fixups(run: &mut Run<'_>) -> Vec<Reference> {
    let mut sound = Vec::new();
    let Some(table) = run.view.child(0, "__fixups__") else { return sound };
    for fixup in run.view.properties(table) {
        let (label, value) = (run.view.property(fixup).name, run.view.property(fixup).value);
        let range = run.view.property(fixup).range.clone();
        let mut rest = value;
        while !rest.is_empty() {
            let Some(end) = rest.iter().position(|byte| *byte == 0) else {
                let message = format!("Warning: Malformed fixup entry for label {label}");
                run.out.remark(Remark::References, &message, range.clone());
                break;
            };
            let (entry, behind) = rest.split_at(end);
            rest = behind.get(1..).unwrap_or_default();
            match place(run, label, entry) {
                Ok((node, property)) => sound.push(Reference { label: fixup, node, property }),
                Err(message) => run.out.remark(Remark::References, &message, range.clone()),
            }
        }
    }
    sound
}

/// Node and property of `path:property:offset`, or what is wrong with it.
fn place(run: &Run<'_>, label: &str, entry: &[u8]) -> Result<(usize, usize), String> {
    let mut parts = entry.splitn(3, |byte| *byte == b':');
    let (Some(path), Some(name), Some(offset)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(format!("Warning: Malformed fixup entry for label {label}"));
    };
    let Some(node) = run.view.at_path(path) else {
        return Err(format!("Warning: Label {label} references non-existing node {}", run.view.text(path)));
    };
    let Some(property) = run.view.find(node, &run.view.text(name)) else {
        // Node and property stand in this order in dtc's message.
        let (path, name) = (run.path(node), run.view.text(name));
        return Err(format!("Warning: Label {label} references non-existing property {path} in node {name}"));
    };
    let Property { name, value, .. } = run.view.property(property);
    let length = i64::try_from(value.len()).unwrap_or(i64::MAX);
    let offset = c_number(offset);
    if offset < 0 || offset.saturating_add(4) > length {
        let path = run.path(node);
        return Err(format!("Warning: Label {label} contains invalid offset for property {name} in node {path}"));
    }
    Ok((node, property))
}

/// A number as C reads one: blanks, a sign, 0x or 0 in front for another base, and whatever behind it.
fn c_number(text: &[u8]) -> i64 {
    let text = text.trim_ascii_start();
    let (negative, text) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let (base, text) = match text {
        [b'0', b'x' | b'X', digit, ..] if digit.is_ascii_hexdigit() => (16, text.get(2..).unwrap_or_default()),
        [b'0', ..] => (8, text),
        _ => (10, text),
    };
    let digits = text.iter().map_while(|byte| char::from(*byte).to_digit(base));
    let value =
        digits.fold(0_i64, |value, digit| value.saturating_mul(i64::from(base)).saturating_add(i64::from(digit)));
    if negative { value.saturating_neg() } else { value }
}

/// The table has the shape of the tree; its properties hold offsets of phandles in the properties of that name.
fn local_fixups(run: &mut Run<'_>, table: usize) {
    // Node of the table, node of the tree; the nesting of both is limited. Children of the last go first.
    let mut open: Vec<(usize, Option<usize>, usize)> = vec![(table, Some(0), 0)];
    while let Some((fixed, node, above)) = open.pop() {
        let Some(node) = node else {
            let (name, path) = (run.view.node(fixed).name, run.path(above));
            let message = format!("Warning: node {name}/{path} referenced in __local_fixups__ missing");
            run.out.remark(Remark::References, &message, run.view.node(fixed).range.clone());
            continue;
        };
        for fixup in run.view.properties(fixed) {
            offsets(run, node, fixup);
        }
        let view = &run.view;
        let below = |child: &usize| (*child, view.child(node, view.node(*child).name), node);
        let next: Vec<_> = view.children(fixed).iter().rev().map(below).collect();
        open.extend(next);
    }
}

fn offsets(run: &mut Run<'_>, node: usize, fixup: usize) {
    let Property { name, value, range, .. } = run.view.property(fixup);
    let (name, value, range) = (*name, *value, range.clone());
    let Some(property) = run.view.find(node, name) else {
        let path = run.path(node);
        let message = format!("Warning: Property {name} in {path} referenced in __local_fixups__ missing");
        return run.out.remark(Remark::References, &message, range);
    };
    let (cells, []) = value.as_chunks::<4>() else {
        let path = run.path(node);
        let message = format!("Warning: property {name} in /__local_fixups__{path} malformed");
        return run.out.remark(Remark::References, &message, range);
    };
    let target = run.view.property(property).value;
    for offset in cells.iter().map(|cell| u32::from_be_bytes(*cell)) {
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        let found = target.get(at..).and_then(|from| from.first_chunk::<4>());
        let message = match found.map(|cell| u32::from_be_bytes(*cell)) {
            None => format!("Warning: property {name} too short to contain a phandle at offset {offset}"),
            Some(phandle) if run.view.phandles.contains_key(&phandle) => continue,
            Some(phandle) => format!("Warning: node referenced by phandle 0x{phandle:x} in property {name} not found"),
        };
        run.out.remark(Remark::References, &message, range.clone());
    }
}
