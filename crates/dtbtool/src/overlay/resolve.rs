//! Whether an overlay can be applied, said by label and before it is.

use std::collections::BTreeSet;

use imgcore::{Finding, Report, nearest};

use super::{Fault, apply, arena::Arena, fixup};
use crate::{
    error::ErrorKind,
    rules,
    tree::shorten,
    view::{Fdt, Node},
};

/// What an overlay asks of its base, and what the base has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Resolution {
    /// Labels of `/__fixups__`, in stored order.
    pub labels: Vec<Label>,
    /// Nodes with an `__overlay__`, in stored order.
    pub fragments: Vec<Fragment>,
    /// Whether the overlay can be applied.
    pub applies: bool,
}

/// A label that the overlay takes from the base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Label {
    /// The label.
    pub name: String,
    /// The path that the base's `/__symbols__` gives for it.
    pub path: Option<String>,
    /// Places of the overlay that need it: `path:property:offset`.
    pub uses: Vec<String>,
}

/// A part of an overlay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fragment {
    /// Its node's name.
    pub name: String,
    /// What it changes: `&label`, a path, `phandle 0x…` of the base, or nothing.
    pub target: String,
}

/// Findings of one code, above which they are counted only.
const LIMIT: usize = 64;

/// Every label and path that the overlay needs, against the base. Without an error finding,
/// [`apply`](crate::overlay::apply) succeeds. Ranges are bytes of the overlay.
pub fn resolve(base: &Fdt<'_>, overlay: &Fdt<'_>) -> (Resolution, Report) {
    let mut resolution = Resolution::default();
    let mut report = Report::new();
    let refusal = apply(base, std::slice::from_ref(overlay)).err();
    resolution.applies = refusal.is_none();
    let mut errors = Report::new();
    read_labels(base, overlay, &mut resolution, &mut errors);
    read_fragments(base, overlay, &mut resolution, &mut errors);
    if let Some(refusal) = refusal {
        if !errors.has_errors() {
            let code = match refusal.kind() {
                ErrorKind::Overlay { fault: Fault::NoPhandles, .. } => rules::OVERLAY_PHANDLES,
                ErrorKind::Overlay { what, .. } if what.starts_with("/__local_fixups__") => rules::OVERLAY_LOCAL,
                _ => rules::OVERLAY_REFUSED,
            };
            errors.push(Finding::error(code, refusal.to_string()).at(node_range(overlay.root())));
        }
        report.extend(errors);
    }
    if resolution.fragments.is_empty() {
        let message = "the tree has no node with an __overlay__: applying it changes nothing";
        let help = "is this an overlay? one is compiled from source that begins with /plugin/";
        report.push(Finding::warning(rules::OVERLAY_NONE, message).at(node_range(overlay.root())).help(help));
    }
    check_board(base, overlay, &mut report);
    (resolution, report)
}

fn read_labels(base: &Fdt<'_>, overlay: &Fdt<'_>, resolution: &mut Resolution, errors: &mut Report) {
    let Some(fixups) = overlay.root().child("__fixups__") else { return };
    let symbols = base.root().child("__symbols__");
    let mut tree = Arena::load(base);
    let mut seen = BTreeSet::new();
    let known: std::collections::BTreeMap<&str, Option<&str>> =
        symbols.iter().flat_map(Node::properties).map(|symbol| (symbol.name(), symbol.as_str())).collect();
    let mut missing = Vec::new();
    for property in fixups.properties() {
        let name = property.name();
        let range = property.value_range();
        let at = range.start as u64..range.end as u64;
        if !seen.insert(name) {
            continue;
        }
        let mut uses = Vec::new();
        for place in fixup::places(property.value()) {
            match place {
                Some(_) if uses.len() >= LIMIT => {}
                Some(place) => {
                    uses.push(format!("{}:{}:{}", shorten(place.path), shorten(place.property), place.offset));
                }
                None if errors.len() < LIMIT => {
                    let message =
                        format!("label {}: an entry of /__fixups__ is not path:property:offset", shorten(name));
                    let help = "compile the overlay anew";
                    errors.push(Finding::error(rules::OVERLAY_FIXUP, message).at(at.clone()).help(help));
                }
                None => {}
            }
        }
        let path = known.get(name).copied().flatten();
        if symbols.is_none() || !known.contains_key(name) {
            missing.push((shorten(name), uses.first().cloned().unwrap_or_default(), at));
        } else if let Some(node) = path.and_then(|path| tree.find(path).ok()) {
            if tree.phandle(node) == 0 && errors.len() < LIMIT {
                let message =
                    format!("label {}: the base's node {} has no phandle", shorten(name), shorten(path.unwrap_or("")));
                let help = "rebuild the base with dtc -@, which gives every labelled node one";
                errors.push(Finding::error(rules::OVERLAY_LABEL_NODE, message).at(at).help(help));
            }
        } else if errors.len() < LIMIT {
            let message = format!(
                "label {}: the base's /__symbols__ says {}, which the base does not have",
                shorten(name),
                path.map_or_else(|| "nothing readable".to_owned(), shorten)
            );
            errors.push(Finding::error(rules::OVERLAY_LABEL_NODE, message).at(at).help("rebuild the base with dtc -@"));
        }
        resolution.labels.push(Label { name: shorten(name), path: path.map(shorten), uses });
    }
    if symbols.is_none() && !missing.is_empty() {
        let names: Vec<&str> = missing.iter().take(12).map(|(name, ..)| name.as_str()).collect();
        let more = missing.len().saturating_sub(names.len());
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let message = format!(
            "the base has no /__symbols__, so no label can be resolved; the overlay needs {}{more}",
            names.join(", ")
        );
        let help =
            "rebuild the base with dtc -@ (in a kernel tree: make DTC_FLAGS=-@), or write the overlay with target-path";
        let at = missing.first().map_or(0..0, |(.., at)| at.clone());
        errors.push(Finding::error(rules::OVERLAY_NO_SYMBOLS, message).at(at).help(help));
        return;
    }
    for (name, used, at) in missing.into_iter().take(LIMIT) {
        let message =
            format!("the overlay needs label {name} (at {used}), which the base's /__symbols__ does not have");
        let help = match nearest(&name, known.keys().copied().take(5000)) {
            Some(near) => format!("did you mean {}? else use a base that has the label", shorten(near)),
            None => "use a base that has the label, or write the overlay with target-path".to_owned(),
        };
        errors.push(Finding::error(rules::OVERLAY_LABEL, message).at(at).help(help));
    }
}

fn read_fragments(base: &Fdt<'_>, overlay: &Fdt<'_>, resolution: &mut Resolution, errors: &mut Report) {
    let mut tree = Arena::load(base);
    // What /__fixups__ puts into each fragment's `target`.
    let mut by_label = std::collections::BTreeMap::new();
    if let Some(fixups) = overlay.root().child("__fixups__") {
        for property in fixups.properties() {
            for place in fixup::places(property.value()).into_iter().flatten() {
                if place.property == "target" {
                    by_label.insert(place.path.trim_start_matches('/'), property.name());
                }
            }
        }
    }
    for node in overlay.root().children().filter(|node| node.child("__overlay__").is_some()) {
        let name = shorten(node.name());
        let target = if let Some(label) = by_label.get(node.name()) {
            format!("&{}", shorten(label))
        } else if let Some(phandle) = node.property("target").and_then(|target| target.as_phandle()) {
            format!("phandle 0x{phandle:x}")
        } else if let Some(path) = node.property("target-path").and_then(|path| path.as_str()) {
            if errors.len() < LIMIT && tree.find(path).is_err() {
                let message = format!("{name} changes {}, which the base does not have", shorten(path));
                let help = match nearest_node(base, path) {
                    Some(near) => format!("did you mean {near}?"),
                    None => {
                        "is this the right base? the path must be there, or an earlier fragment must add it".to_owned()
                    }
                };
                errors.push(Finding::error(rules::OVERLAY_PATH, message).at(node_range(node)).help(help));
            }
            shorten(path)
        } else {
            if errors.len() < LIMIT {
                let message = format!("{name} has an __overlay__ but neither target nor target-path");
                let help = "say what it changes: target = <&label> or target-path = \"/path\"";
                errors.push(Finding::error(rules::OVERLAY_TARGET, message).at(node_range(node)).help(help));
            }
            String::new()
        };
        resolution.fragments.push(Fragment { name, target });
    }
}

/// The node that a path with one mistyped name could mean.
pub(crate) fn nearest_node(base: &Fdt<'_>, path: &str) -> Option<String> {
    let mut node = base.root();
    let mut found = String::new();
    for name in path.split('/').filter(|name| !name.is_empty()) {
        if let Some(child) = node.child(name) {
            found = format!("{found}/{}", child.name());
            node = child;
        } else {
            let near = nearest(name, node.children().take(2000).map(|child| child.name()))?;
            return Some(shorten(&format!("{found}/{near}")));
        }
    }
    None
}

/// An overlay may name the boards that it is for, as the base names its own.
fn check_board(base: &Fdt<'_>, overlay: &Fdt<'_>, report: &mut Report) {
    let Some(property) = overlay.root().property("compatible") else { return };
    let wanted: Vec<&str> = overlay.root().compatible().collect();
    if wanted.is_empty() || wanted.iter().any(|text| base.root().is_compatible(text)) {
        return;
    }
    let has: Vec<&str> = base.root().compatible().collect();
    let message = format!(
        "the overlay is for {}, the base is {}",
        shorten(&wanted.join(", ")),
        if has.is_empty() { "nothing".to_owned() } else { shorten(&has.join(", ")) }
    );
    let range = property.value_range();
    let help = "is this the right base? applying does not look at it";
    report.push(Finding::warning(rules::OVERLAY_BOARD, message).at(range.start as u64..range.end as u64).help(help));
}

fn node_range(node: Node<'_>) -> std::ops::Range<u64> {
    let start = node.offset() as u64;
    start..start.saturating_add(4)
}
