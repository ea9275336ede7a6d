//! What kind of value a property has.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use super::run::Run;

pub(super) fn cell(run: &mut Run<'_>, node: usize, name: &str) {
    if let Some(property) = run.view.find(node, name)
        && run.view.property(property).value.len() != 4
    {
        run.fail_at(node, Some(property), format_args!("property is not a single cell"));
    }
}

pub(super) fn text(run: &mut Run<'_>, node: usize, name: &str) {
    if let Some(property) = run.view.find(node, name)
        && !is_text(run.view.property(property).value)
    {
        run.fail_at(node, Some(property), format_args!("property is not a string"));
    }
}

/// One NUL, at the end.
fn is_text(value: &[u8]) -> bool {
    value.split_last().is_some_and(|(last, text)| *last == 0 && !text.contains(&0))
}

pub(super) fn texts(run: &mut Run<'_>, node: usize, name: &str) {
    if let Some(property) = run.view.find(node, name)
        && run.view.property(property).value.last().is_some_and(|last| *last != 0)
    {
        run.fail_at(node, Some(property), format_args!("property is not a string list"));
    }
}

pub(super) fn names(run: &mut Run<'_>, node: usize) {
    for property in run.view.properties(node) {
        let name = run.view.property(property).name;
        if name.ends_with("-names") {
            texts(run, node, name);
        }
    }
}
