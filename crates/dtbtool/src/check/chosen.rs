//! `/chosen` and `/aliases`.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use super::{run::Run, types};

fn is_chosen(run: &Run<'_>, node: usize) -> bool {
    run.view.node(node).name == "chosen"
}

pub(super) fn place(run: &mut Run<'_>, node: usize) {
    if is_chosen(run, node) && run.view.node(node).parent != Some(0) {
        run.fail(node, format_args!("chosen node must be at root node"));
    }
}

pub(super) fn bootargs(run: &mut Run<'_>, node: usize) {
    if is_chosen(run, node) {
        types::text(run, node, "bootargs");
    }
}

pub(super) fn stdout(run: &mut Run<'_>, node: usize) {
    if !is_chosen(run, node) {
        return;
    }
    if run.view.has(node, "stdout-path") {
        types::text(run, node, "stdout-path");
    } else if let Some(old) = run.view.find(node, "linux,stdout-path") {
        run.fail_at(node, Some(old), format_args!("Use 'stdout-path' instead"));
        types::text(run, node, "linux,stdout-path");
    }
}

pub(super) fn aliases(run: &mut Run<'_>, node: usize) {
    if run.view.node(node).name != "aliases" {
        return;
    }
    for property in run.view.properties(node) {
        let alias = run.view.property(property);
        if matches!(alias.name, "phandle" | "linux,phandle") {
            continue;
        }
        let path = alias.c_string();
        // An overlay may name nodes of its base.
        if !run.view.overlay && (alias.value.is_empty() || run.view.at_path(path).is_none()) {
            // What C writes for no text at all.
            let shown = if alias.value.is_empty() { "(null)".into() } else { run.view.text(path) };
            run.fail_at(node, Some(property), format_args!("aliases property is not a valid node ({shown})"));
        } else if !alias.name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-') {
            let message = format_args!("aliases property name must include only lowercase and '-'");
            run.fail_about(node, property, message);
        }
    }
}
