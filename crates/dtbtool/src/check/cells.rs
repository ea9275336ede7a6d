//! Counts of address and size cells, and what is measured with them.
//!
//! Counts are 32-bit numbers with a sign, and lengths of entries wrap around, as in dtc.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use super::{
    run::Run,
    view::{Property, View},
};

/// The count for the subnodes of a node: 2 if the tree does not say.
pub(super) fn address_cells(view: &View<'_>, node: usize) -> i32 {
    match view.node(node).address_cells {
        -1 => 2,
        count => count,
    }
}

/// The count for the subnodes of a node: 1 if the tree does not say.
pub(super) fn size_cells(view: &View<'_>, node: usize) -> i32 {
    match view.node(node).size_cells {
        -1 => 1,
        count => count,
    }
}

/// Whether a length is a whole number of entries; of empty entries only none are.
pub(super) fn whole(length: usize, entry: i32) -> bool {
    match usize::try_from(entry.unsigned_abs()) {
        Ok(0) | Err(_) => length == 0,
        Ok(entry) => length.checked_rem(entry) == Some(0),
    }
}

/// Keeps the counts with each node.
pub(super) fn read(run: &mut Run<'_>, node: usize) {
    let count = |name: &str| run.view.value(node, name).and_then(Property::one_cell).map_or(-1, u32::cast_signed);
    let (address, size) = (count("#address-cells"), count("#size-cells"));
    if let Some(node) = run.view.node_mut(node) {
        node.address_cells = address;
        node.size_cells = size;
    }
}

pub(super) fn reg(run: &mut Run<'_>, node: usize) {
    let Some(property) = run.view.find(node, "reg") else { return };
    let Some(parent) = run.view.node(node).parent else {
        return run.fail(node, format_args!("Root node has a \"reg\" property"));
    };
    let length = run.view.property(property).value.len();
    if length == 0 {
        run.fail_at(node, Some(property), format_args!("property is empty"));
    }
    let (address, size) = (address_cells(&run.view, parent), size_cells(&run.view, parent));
    if !whole(length, address.wrapping_add(size).wrapping_mul(4)) {
        run.fail_at(
            node,
            Some(property),
            format_args!(
                "property has invalid length ({length} bytes) (#address-cells == {address}, #size-cells == {size})"
            ),
        );
    }
}

pub(super) fn ranges(run: &mut Run<'_>, node: usize, name: &str) {
    let Some(found) = run.view.find(node, name) else { return };
    let property = Some(found);
    let Some(parent) = run.view.node(node).parent else {
        return run.fail_at(node, property, format_args!("Root node has a \"{name}\" property"));
    };
    let length = run.view.property(found).value.len();
    let (above, above_size) = (address_cells(&run.view, parent), size_cells(&run.view, parent));
    let (own, size) = (address_cells(&run.view, node), size_cells(&run.view, node));
    if length == 0 {
        let path = if above != own || above_size != size { run.path(parent) } else { String::new() };
        if above != own {
            run.fail_at(
                node,
                property,
                format_args!("empty \"{name}\" property but its #address-cells ({own}) differs from {path} ({above})"),
            );
        }
        if above_size != size {
            run.fail_at(
                node,
                property,
                format_args!(
                    "empty \"{name}\" property but its #size-cells ({size}) differs from {path} ({above_size})"
                ),
            );
        }
    } else if !whole(length, above.wrapping_add(own).wrapping_add(size).wrapping_mul(4)) {
        run.fail_at(
            node,
            property,
            format_args!(
                "\"{name}\" property has invalid length ({length} bytes) (parent #address-cells == {above}, child \
                 #address-cells == {own}, #size-cells == {size})"
            ),
        );
    }
}

pub(super) fn defaults(run: &mut Run<'_>, node: usize) {
    let Some(parent) = run.view.node(node).parent else { return };
    if !run.view.has(node, "reg") && !run.view.has(node, "ranges") {
        return;
    }
    let parent = run.view.node(parent);
    let (address, size) = (parent.address_cells, parent.size_cells);
    if address == -1 {
        run.fail(node, format_args!("Relying on default #address-cells value"));
    }
    if size == -1 {
        run.fail(node, format_args!("Relying on default #size-cells value"));
    }
}

pub(super) fn unnecessary(run: &mut Run<'_>, node: usize) {
    let own = run.view.node(node);
    let (view, children) = (&run.view, run.view.children(node));
    if own.parent.is_none() || own.address_cells < 0 || own.size_cells < 0 || children.is_empty() {
        return;
    }
    let addressed = |child: &usize| view.has(*child, "reg") || view.has(*child, "ranges");
    if view.has(node, "ranges") || view.has(node, "dma-ranges") || children.iter().any(addressed) {
        return;
    }
    run.fail(
        node,
        format_args!(
            "unnecessary #address-cells/#size-cells without \"ranges\", \"dma-ranges\" or child \"reg\" or \"ranges\" \
             property"
        ),
    );
}
