//! Graphs of devices: ports, endpoints and who is at the other end.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use super::{provider::names_a_node, run::Run, view::Bus};

/// A node with an endpoint is a port; the node around it has ports.
pub(super) fn nodes(run: &mut Run<'_>, node: usize) {
    let children: Vec<usize> = run.view.children(node).to_vec();
    for child in children {
        if run.view.node(child).base != "endpoint" && !run.view.has(child, "remote-endpoint") {
            continue;
        }
        let Some(parent) = run.view.node(node).parent else {
            let name = run.view.node(child).name;
            let message = format_args!(
                "root node contains endpoint node '{name}', potentially misplaced remote-endpoint property"
            );
            run.fail(node, message);
            continue;
        };
        run.view.set_bus(node, Bus::Port);
        let around = run.view.node(parent);
        if around.bus.is_none() && (around.name == "ports" || run.view.has(node, "reg")) {
            run.view.set_bus(parent, Bus::Ports);
        }
        return;
    }
}

pub(super) fn port(run: &mut Run<'_>, node: usize) {
    if run.view.node(node).bus != Some(Bus::Port) {
        return;
    }
    address(run, node);
    // The fragment of an overlay stands for a port that is elsewhere.
    if !run.view.overlay && run.view.node(node).base != "port" {
        run.fail(node, format_args!("graph port node name should be 'port'"));
    }
}

pub(super) fn endpoint(run: &mut Run<'_>, node: usize) {
    if run.view.parent_bus(node) != Some(Bus::Port) {
        return;
    }
    address(run, node);
    if run.view.overlay {
        return;
    }
    if run.view.node(node).base != "endpoint" {
        run.fail(node, format_args!("graph endpoint node name should be 'endpoint'"));
    }
    let Some(other) = remote(run, node) else { return };
    if remote(run, other) != Some(node) && !run.aborted {
        let path = run.path(other);
        run.fail(node, format_args!("graph connection to node '{path}' is not bidirectional"));
    }
}

fn address(run: &mut Run<'_>, node: usize) {
    let Some(reg) = run.view.value(node, "reg") else { return };
    let Some(number) = reg.one_cell() else {
        return run.fail(node, format_args!("graph node malformed 'reg' property"));
    };
    let expected = format!("{number:x}");
    if run.view.node(node).unit != expected {
        run.fail(node, format_args!("graph node unit address error, expected \"{expected}\""));
    }
    let Some(parent) = run.view.node(node).parent else { return };
    let parent = run.view.node(parent);
    let (addresses, sizes) = (parent.address_cells, parent.size_cells);
    if addresses != 1 {
        let own = run.view.find(node, "#address-cells");
        run.fail_at(node, own, format_args!("graph node '#address-cells' is {addresses}, must be 1"));
    }
    if sizes != 0 {
        let own = run.view.find(node, "#size-cells");
        run.fail_at(node, own, format_args!("graph node '#size-cells' is {sizes}, must be 0"));
    }
}

fn remote(run: &mut Run<'_>, endpoint: usize) -> Option<usize> {
    let property = run.view.find(endpoint, "remote-endpoint")?;
    let Some(phandle) = run.view.property(property).one_cell() else {
        run.abort(endpoint, property, format_args!("not one cell, which dtc takes for granted"));
        return None;
    };
    if !names_a_node(phandle) {
        return None;
    }
    let other = run.view.phandles.get(&phandle).copied();
    if other.is_none() {
        run.fail_at(endpoint, Some(property), format_args!("graph phandle is not valid"));
    }
    other
}
