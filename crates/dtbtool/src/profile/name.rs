//! The file's name, the name that the boot program asks for, and what the tree calls itself.

use imgcore::{Finding, Report};

use super::{Profile, node_range};
use crate::{board, rules, tree::shorten, view::Fdt};

pub(super) fn check(fdt: &Fdt<'_>, profile: &Profile, report: &mut Report) {
    let file = profile.expectations.file_name.as_deref();
    let requested = profile.requested.as_deref();
    if let (Some(file), Some(requested)) = (file, requested) {
        let wanted = requested.trim_start_matches('/');
        let base = |name: &str| name.rsplit('/').next().unwrap_or(name).to_owned();
        // A file name without folder says nothing about the folder.
        let same =
            if file.contains('/') { file.trim_start_matches('/').ends_with(wanted) } else { file == base(wanted) };
        if !same {
            let message = format!("U-Boot asks for {}, the file is {}", shorten(requested), shorten(file));
            let help =
                format!("name the file {}; else U-Boot silently takes the tree inside itself", shorten(requested));
            report.push(Finding::error(rules::REQUESTED, message).at(node_range(fdt.root())).help(help));
        }
    }
    if let (None, Some(requested)) = (file, requested) {
        board::name_check(fdt, requested, report);
    }
    let Some(name) = requested.or(file) else { return };
    let stem = name.rsplit('/').next().unwrap_or(name);
    let stem = stem.strip_suffix(".dtb").unwrap_or(stem);
    let of_name = stem.rsplit('-').find_map(version);
    let model = fdt.root().property("model").and_then(|model| model.as_str()).unwrap_or("");
    let first = fdt.root().compatible().next().unwrap_or("");
    let of_tree = first.rsplit('-').find_map(version).or_else(|| model.split_whitespace().rev().find_map(version));
    let at = node_range(fdt.root());
    match (of_name, of_tree) {
        (Some(of_name), Some(of_tree)) if of_name != of_tree => {
            let message =
                format!("{} is for revision {of_name}, the tree is of {of_tree} ({})", shorten(name), shorten(model));
            let help = "use the tree of the board's own revision; the revision is printed on the board";
            report.push(Finding::warning(rules::REVISION, message).at(at).help(help));
        }
        (None, Some(of_tree)) => {
            let message =
                format!("{} does not name a revision, the tree is of {of_tree} ({})", shorten(name), shorten(model));
            let help = "check the board: another revision needs another tree";
            report.push(Finding::info(rules::REVISION_SILENT, message).at(at).help(help));
        }
        (Some(of_name), None) => {
            let message = format!(
                "{} is for revision {of_name}, the tree does not say of which it is ({})",
                shorten(name),
                shorten(model)
            );
            report.push(Finding::info(rules::REVISION_SILENT, message).at(at).help("check the board's revision"));
        }
        _ => {}
    }
}

/// `v2`, `V2.1`: a board's revision, in lower case.
fn version(word: &str) -> Option<String> {
    let rest = word.strip_prefix(['v', 'V'])?;
    let sound = rest.starts_with(|c: char| c.is_ascii_digit())
        && rest.len() <= 6
        && rest.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    sound.then(|| format!("v{rest}"))
}
