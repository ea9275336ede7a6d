//! Phandles, and properties that name nodes by them.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use super::{run::Run, table::Provider};

/// 0 and all ones name no node.
pub(super) fn names_a_node(phandle: u32) -> bool {
    !matches!(phandle, 0 | u32::MAX)
}

/// Numbers nodes; the first node with a number has it.
pub(super) fn phandles(run: &mut Run<'_>, node: usize) {
    let new = phandle(run, node, "phandle");
    let old = phandle(run, node, "linux,phandle");
    let Some(number) = new.or(old) else { return };
    if old.is_some_and(|old| old != number) {
        run.fail(node, format_args!("mismatching 'phandle' and 'linux,phandle' properties"));
    }
    if let Some(other) = run.view.phandles.get(&number).copied() {
        let path = run.path(other);
        return run.fail(node, format_args!("duplicated phandle 0x{number:x} (seen before at {path})"));
    }
    run.view.phandles.insert(number, node);
}

fn phandle(run: &mut Run<'_>, node: usize, name: &str) -> Option<u32> {
    let property = run.view.find(node, name)?;
    let Some(number) = run.view.property(property).one_cell() else {
        let length = run.view.property(property).value.len();
        run.fail_at(node, Some(property), format_args!("bad length ({length}) {name} property"));
        return None;
    };
    if !names_a_node(number) {
        run.fail_at(node, Some(property), format_args!("bad value (0x{number:x}) in {name} property"));
        return None;
    }
    Some(number)
}

pub(super) fn named(run: &mut Run<'_>, node: usize, provider: Provider) {
    if let Some(property) = run.view.find(node, provider.property) {
        entries(run, node, property, provider.cells, provider.optional);
    }
}

/// Lines for GPIOs that the controller sets up itself have no controller in front.
pub(super) fn gpios(run: &mut Run<'_>, node: usize) {
    if run.view.has(node, "gpio-hog") {
        return;
    }
    for property in run.view.properties(node) {
        if is_gpio(run.view.property(property).name) {
            entries(run, node, property, "#gpio-cells", false);
        }
    }
}

pub(super) fn gpio_spelling(run: &mut Run<'_>, node: usize) {
    for property in run.view.properties(node) {
        let name = run.view.property(property).name;
        if is_gpio(name) && name.ends_with("gpio") {
            run.fail_at(node, Some(property), format_args!("'[*-]gpio' is deprecated, use '[*-]gpios' instead"));
        }
    }
}

fn is_gpio(name: &str) -> bool {
    if name.ends_with(",nr-gpios") {
        return false; // a number
    }
    name.ends_with("-gpios") || name == "gpios" || name.ends_with("-gpio") || name == "gpio"
}

/// Entries of a phandle and as many cells as the node that it names asks for.
fn entries(run: &mut Run<'_>, node: usize, property: usize, cells: &str, optional: bool) {
    let length = run.view.property(property).value.len();
    if !length.is_multiple_of(4) {
        let message = format_args!("property size ({length}) is invalid, expected multiple of 4");
        return run.fail_at(node, Some(property), message);
    }
    let mut at = 0_usize;
    while let Some(phandle) = run.view.property(property).cell(at) {
        // 0 and all ones leave an entry out; in an overlay they can be anything that is filled in later.
        if !names_a_node(phandle) {
            if run.view.overlay {
                return;
            }
            at = at.saturating_add(1);
            continue;
        }
        let Some(provider) = run.view.phandles.get(&phandle).copied() else {
            return run.fail_at(node, Some(property), format_args!("Could not get phandle node for (cell {at})"));
        };
        let count = match run.view.find(provider, cells) {
            Some(found) => match run.view.property(found).one_cell() {
                Some(count) => count,
                None => return run.abort(provider, found, format_args!("not one cell, which dtc takes for granted")),
            },
            None if optional => 0,
            None => {
                let (path, name) = (run.path(provider), run.view.property(property).name);
                return run.fail(
                    node,
                    format_args!(
                        "Missing property '{cells}' in node {path} or bad phandle (referred from {name}[{at}])"
                    ),
                );
            }
        };
        if !fits(at, count, length) {
            let message = format_args!("property size ({length}) too small for cell size {count}");
            return run.fail_at(node, Some(property), message);
        }
        at = at.saturating_add(1).saturating_add(usize::try_from(count).unwrap_or(usize::MAX));
    }
}

/// Whether an entry that begins at a cell ends inside the property, in dtc's 32-bit numbers, which wrap around.
fn fits(at: usize, count: u32, length: usize) -> bool {
    let at = u32::try_from(at).unwrap_or(u32::MAX);
    let end = at.wrapping_add(count).wrapping_add(1).wrapping_mul(4);
    end > at && usize::try_from(end).is_ok_and(|end| end <= length)
}
