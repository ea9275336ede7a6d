//! Interrupts, their controllers and maps.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use super::{
    provider::names_a_node,
    run::Run,
    view::{Property, View},
};

fn provides(view: &View<'_>, node: usize) -> bool {
    view.has(node, "interrupt-controller") || view.has(node, "interrupt-map")
}

pub(super) fn chosen(run: &mut Run<'_>, node: usize) {
    if node != 0 {
        return;
    }
    let Some(chosen) = run.view.at_path(b"/chosen") else { return };
    if let Some(property) = run.view.find(chosen, "interrupt-controller") {
        run.fail_at(node, Some(property), format_args!("/chosen has obsolete \"interrupt-controller\" property"));
    }
}

pub(super) fn provider(run: &mut Run<'_>, node: usize) {
    match (provides(&run.view, node), run.view.has(node, "#interrupt-cells")) {
        (true, false) => run.fail(node, format_args!("Missing '#interrupt-cells' in interrupt provider")),
        (false, true) => {
            run.fail(node, format_args!("'#interrupt-cells' found, but node is not an interrupt provider"));
        }
        _ => {}
    }
}

pub(super) fn property(run: &mut Run<'_>, node: usize) {
    let Some(interrupts) = run.view.find(node, "interrupts") else { return };
    let length = run.view.property(interrupts).value.len();
    if !length.is_multiple_of(4) {
        let message = format_args!("size ({length}) is invalid, expected multiple of 4");
        run.fail_at(node, Some(interrupts), message);
    }
    let mut controller = None;
    let mut next = Some(node);
    // Upwards, to the first controller or the first that names one.
    while let Some(at) = next {
        if at != node && provides(&run.view, at) {
            controller = Some(at);
            break;
        }
        if let Some(parent) = run.view.find(at, "interrupt-parent") {
            let Some(phandle) = run.view.property(parent).one_cell() else {
                return run.abort(at, parent, format_args!("not one cell, which dtc takes for granted"));
            };
            if !names_a_node(phandle) {
                if run.view.overlay {
                    return;
                }
                run.fail_at(at, Some(parent), format_args!("Invalid phandle"));
                break;
            }
            let Some(named) = run.view.phandles.get(&phandle).copied() else {
                return run.fail_at(at, Some(parent), format_args!("Bad phandle"));
            };
            if !provides(&run.view, named) {
                run.fail(named, format_args!("Missing interrupt-controller or interrupt-map property"));
            }
            controller = Some(named);
            break;
        }
        next = run.view.node(at).parent;
    }
    let Some(controller) = controller else {
        return run.fail(node, format_args!("Missing interrupt-parent"));
    };
    let Some(cells) = run.view.find(controller, "#interrupt-cells") else { return };
    let Some(count) = run.view.property(cells).one_cell() else {
        return run.abort(controller, cells, format_args!("not one cell, which dtc takes for granted"));
    };
    let entry = count.cast_signed().wrapping_mul(4);
    if !super::cells::whole(length, entry) {
        run.fail_at(node, Some(cells), format_args!("size is ({length}), expected multiple of {entry}"));
    }
}

pub(super) fn map(run: &mut Run<'_>, node: usize) {
    let Some(map) = run.view.find(node, "interrupt-map") else { return };
    let Ok(address) = u64::try_from(run.view.node(node).address_cells) else {
        return run.fail(node, format_args!("Missing '#address-cells' in interrupt-map provider"));
    };
    let count =
        |view: &View<'_>, node: usize, name: &str| view.value(node, name).and_then(Property::one_cell).map(u64::from);
    let own = address.saturating_add(count(&run.view, node, "#interrupt-cells").unwrap_or(0));
    if let Some(mask) = run.view.find(node, "interrupt-map-mask") {
        let (length, expected) = (run.view.property(mask).value.len(), own.saturating_mul(4));
        if u64::try_from(length) != Ok(expected) {
            let message = format_args!("property size ({length}) is invalid, expected {expected}");
            run.fail_at(node, Some(mask), message);
        }
    }
    let length = run.view.property(map).value.len();
    if !length.is_multiple_of(4) {
        let message = format_args!("property size ({length}) is invalid, expected multiple of 4");
        return run.fail_at(node, Some(map), message);
    }
    let total = u64::try_from(length / 4).unwrap_or(u64::MAX);
    let mut at = 0_u64;
    while at < total {
        at = at.saturating_add(own);
        if at >= total {
            let least = at.saturating_mul(4);
            let message = format_args!("property size ({length}) too small, expected > {least}");
            return run.fail_at(node, Some(map), message);
        }
        let phandle = usize::try_from(at).ok().and_then(|at| run.view.property(map).cell(at)).unwrap_or(0);
        let shown = phandle.cast_signed();
        if !names_a_node(phandle) {
            if !run.view.overlay {
                run.fail_at(node, Some(map), format_args!("Cell {at} is not a phandle({shown})"));
            }
            return;
        }
        let Some(controller) = run.view.phandles.get(&phandle).copied() else {
            let message = format_args!("Could not get phandle({shown}) node for (cell {at})");
            return run.fail_at(node, Some(map), message);
        };
        let Some(cells) = count(&run.view, controller, "#interrupt-cells") else {
            let path = run.path(controller);
            return run.fail(
                node,
                format_args!(
                    "Missing property '#interrupt-cells' in node {path} or bad phandle (referred from \
                     interrupt-map[{at}])"
                ),
            );
        };
        let addresses = count(&run.view, controller, "#address-cells");
        if addresses.is_none() {
            let path = run.path(controller);
            let message = format_args!("Missing property '#address-cells' in node {path}, using 0 as fallback");
            run.fail_at(node, Some(map), message);
        }
        at = at.saturating_add(1).saturating_add(cells).saturating_add(addresses.unwrap_or(0));
        if at > total {
            let expected = at.saturating_mul(4);
            let message = format_args!("property size ({length}) mismatch, expected {expected}");
            run.fail_at(node, Some(map), message);
        }
    }
}
