//! Does this tree fit that board?

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

pub(crate) mod index;
mod name;
mod words;

use imgcore::{ByteSize, Finding, Report, nearest};

use crate::{
    rules,
    scan::LINUX_LIMIT,
    tree::shorten,
    view::{Fdt, Node},
};
use index::{Entry, Index};
use words::Finder;
pub use words::{REQUIRE_WORDS, RequireWord};

/// What a board's author says about its tree.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expectations {
    /// The root's `compatible` must have one of these; empty expects nothing.
    pub compatible: Vec<String>,
    /// Devices that must be there and on: words of [`REQUIRE_WORDS`], or absolute paths of nodes.
    pub require: Vec<String>,
    /// The tree's file name, with or without folder, as the boot program will ask for it:
    /// `rockchip/rk3588s-nanopi-m6.dtb`.
    pub file_name: Option<String>,
}

/// Compares a tree with what its board needs. Ranges are bytes from the start of the tree.
///
/// A device is on when its node and all nodes around it have no `status`, or `okay`, or `ok`. One device of a kind is
/// enough, but another one that the board has wired up and that is off gives a warning. A board that needs one device
/// in particular names its path.
///
/// The file name is expected to be `<chip>-<board>.dtb`, where the chip agrees with the tree's `rockchip,…`
/// string (another number is an error; a letter behind it is not compared, since makers use `rk3588` and `rk3588s`
/// for the same tree) and the board is, in one of the other strings, the part behind the comma or the whole with `-`
/// for the comma (`radxa,zero-3e` is `zero-3e` or `radxa-zero-3e`; else a warning). A folder, if given, must be
/// `rockchip`.
///
/// ```
/// use dtbtool::{Expectations, Fdt, WriteOptions, check_board, model::{DeviceTree, Node, Property}};
///
/// let mut tree = DeviceTree::new();
/// tree.root_mut().properties.push(Property::strings("compatible", ["acme,board", "rockchip,rk3588"]));
/// tree.root_mut().children.push(
///     Node::new("ethernet@fe1c0000")
///         .with(Property::string("compatible", "rockchip,rk3588-gmac"))
///         .with(Property::string("status", "disabled")),
/// );
/// let bytes = tree.to_bytes(&WriteOptions::default())?;
/// let expected = Expectations { require: vec!["ethernet".to_owned()], ..Expectations::default() };
/// let report = check_board(&Fdt::parse(&bytes)?, &expected);
/// assert!(report.iter().next().unwrap().message.contains("/ethernet@fe1c0000"));
/// # Ok::<(), dtbtool::Error>(())
/// ```
pub fn check_board(fdt: &Fdt<'_>, expected: &Expectations) -> Report {
    check_indexed(fdt, &Index::new(fdt), expected)
}

/// [`check_board`] with the nodes at hand.
pub(crate) fn check_indexed(fdt: &Fdt<'_>, index: &Index<'_>, expected: &Expectations) -> Report {
    let mut report = Report::new();
    let total = u64::from(fdt.totalsize());
    if total > LINUX_LIMIT {
        let message = format!("the tree has {}, Linux on arm64 takes at most 2 MiB", ByteSize(total));
        report.push(Finding::error(rules::BOARD_SIZE, message).at(4..8).help("leave out what the board does not need"));
    }
    check_compatible(fdt, &expected.compatible, &mut report);
    if let Some(file_name) = &expected.file_name {
        name::check(fdt, file_name, &mut report);
    }
    for wanted in &expected.require {
        if wanted.starts_with('/') {
            check_path(index, wanted, &mut report);
        } else if let Some(word) = REQUIRE_WORDS.iter().find(|known| known.word == wanted) {
            check_word(index, word, &mut report);
        } else {
            unknown_word(wanted, &mut report);
        }
    }
    report
}

/// The rule for file names alone.
pub(crate) fn name_check(fdt: &Fdt<'_>, file_name: &str, report: &mut Report) {
    name::check(fdt, file_name, report);
}

/// A device of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Absolute path of its node.
    pub path: String,
    /// Whether it is on, with all nodes around it.
    pub enabled: bool,
}

/// All devices of a tree that satisfy a word of [`REQUIRE_WORDS`], in stored order; none for another word.
pub fn devices(fdt: &Fdt<'_>, word: &str) -> Vec<Device> {
    let Some(word) = REQUIRE_WORDS.iter().find(|known| known.word == word) else { return Vec::new() };
    devices_of(&Index::new(fdt), word)
}

/// Whether a device of a kind is there and on.
pub(crate) fn has_device(index: &Index<'_>, word: &str) -> bool {
    let word = REQUIRE_WORDS.iter().find(|known| known.word == word);
    let fits =
        |entry: &&Entry<'_>| word.is_some_and(|word| word.finders.iter().any(|finder| finder.matches(entry).is_some()));
    index.entries().filter(|entry| index.off(entry).is_none()).any(|entry| fits(&entry))
}

/// The devices of every word of [`REQUIRE_WORDS`], in that order.
pub fn all_devices(fdt: &Fdt<'_>) -> Vec<(&'static str, Vec<Device>)> {
    let index = Index::new(fdt);
    REQUIRE_WORDS.iter().map(|word| (word.word, devices_of(&index, word))).collect()
}

fn devices_of(index: &Index<'_>, word: &RequireWord) -> Vec<Device> {
    let found = index.entries().filter(|entry| word.finders.iter().any(|finder| finder.matches(entry).is_some()));
    found.map(|entry| Device { path: index.path(entry), enabled: index.off(entry).is_none() }).collect()
}

fn check_compatible(fdt: &Fdt<'_>, expected: &[String], report: &mut Report) {
    let root = fdt.root();
    if expected.is_empty() || expected.iter().any(|wanted| root.is_compatible(wanted)) {
        return;
    }
    let found: Vec<_> = root.compatible().map(|text| format!("{:?}", shorten(text))).collect();
    let found = if found.is_empty() { "nothing".to_owned() } else { found.join(", ") };
    let message = format!("the tree is compatible with {found}, expected one of: {}", expected.join(", "));
    let help = "is this the right board's tree? if it is, add its first string to the board's `compatible`";
    let finding = Finding::error(rules::COMPATIBLE, message).help(help);
    report.push(match root.property("compatible") {
        Some(property) => finding.at(range(property.value_range())),
        None => finding.at(node_range(root)),
    });
}

fn unknown_word(wanted: &str, report: &mut Report) {
    let words = || REQUIRE_WORDS.iter().map(|known| known.word);
    let help = match nearest(wanted, words()) {
        Some(near) => format!("did you mean {near:?}? else an absolute path of a node"),
        None => format!("known are: {}; or an absolute path of a node", words().collect::<Vec<_>>().join(", ")),
    };
    let message = format!("{:?} is no kind of device that can be required", shorten(wanted));
    report.push(Finding::error(rules::UNKNOWN_WORD, message).help(help));
}

/// Subnodes that are compared with a mistyped name: more than any real node has.
const CANDIDATES: usize = 2000;

fn check_path(index: &Index<'_>, path: &str, report: &mut Report) {
    match index.find(path) {
        (Some(entry), None) => {
            if let Some(off) = index.off(entry) {
                report.push(disabled(index, path, &[(entry, off)]));
            }
        }
        (Some(parent), Some(name)) => {
            let message = format!("the board needs {}, which the tree does not have", shorten(path));
            let parent_path = index.path(parent);
            let help = match nearest(name, parent.node.children().take(CANDIDATES).map(|child| child.name())) {
                Some(near) => format!("did you mean {}/{}?", parent_path.trim_end_matches('/'), shorten(near)),
                None => format!("{parent_path} is there, a node {:?} in it is not", shorten(name)),
            };
            report.push(Finding::error(rules::MISSING, message).at(node_range(parent.node)).help(help));
        }
        (None, _) => {}
    }
}

fn check_word(index: &Index<'_>, word: &RequireWord, report: &mut Report) {
    let find = |finders: &'static [Finder]| -> Vec<(&Entry<'_>, bool)> {
        index.entries().filter_map(|entry| finders.iter().find_map(|f| f.matches(entry)).map(|w| (entry, w))).collect()
    };
    let found = find(word.finders);
    let (off, on): (Vec<_>, Vec<_>) =
        found.into_iter().map(|(entry, wired)| (entry, wired, index.off(entry))).partition(|(.., off)| off.is_some());
    let wired_off: Vec<_> =
        off.iter().filter(|(_, wired, _)| *wired).filter_map(|(entry, _, off)| Some((*entry, (*off)?))).collect();
    if !on.is_empty() {
        for candidate in wired_off {
            report.push(sibling(index, word, candidate));
        }
        return;
    }
    if wired_off.is_empty() {
        let bridges = find(word.bridges);
        if let Some((bridge, _)) = bridges.iter().find(|(entry, wired)| *wired && index.off(entry).is_none()) {
            let message = format!(
                "the tree has no {} of its own that is on; it can only be behind {}, which is",
                word.word,
                index.path(bridge)
            );
            report.push(Finding::info(rules::BEHIND_PCIE, message).at(node_range(bridge.node)));
            return;
        }
    }
    // Nodes that the board's author touched say more than those that every tree of the chip has.
    let blamed = if wired_off.is_empty() {
        off.iter().filter_map(|(entry, _, off)| Some((*entry, (*off)?))).collect()
    } else {
        wired_off
    };
    if blamed.is_empty() {
        let message = format!("the board needs {} ({}), the tree has no such device", word.word, word.meaning);
        let help = "use a tree that describes it: a newer kernel's, or the board maker's";
        report.push(Finding::error(rules::MISSING, message).help(help));
    } else {
        report.push(disabled(index, word.word, &blamed));
    }
}

/// `blamed`: each candidate with the node that is off, itself or one around it.
fn disabled(index: &Index<'_>, wanted: &str, blamed: &[(&Entry<'_>, &Entry<'_>)]) -> Finding {
    const LISTED: usize = 4;
    let mut nodes: Vec<String> = blamed.iter().take(LISTED).map(|(entry, off)| describe(index, entry, off)).collect();
    if let Some(more) = blamed.len().checked_sub(LISTED).filter(|more| *more > 0) {
        nodes.push(format!("{more} more"));
    }
    let message = match blamed {
        [(entry, off)] if wanted.starts_with('/') => {
            format!("the board needs {}, which {}", shorten(wanted), state(index, entry, off))
        }
        _ => format!("the board needs {wanted} but {}", nodes.join(", ")),
    };
    let mut paths: Vec<String> = blamed.iter().take(LISTED).map(|(_, off)| index.path(off)).collect();
    paths.dedup();
    let target = match paths.as_slice() {
        [one] => one.clone(),
        many => format!("one of {}", many.join(", ")),
    };
    let finding = Finding::error(rules::DISABLED, message).help(format!("set status = \"okay\" in {target}"));
    match blamed.first() {
        Some((_, off)) => finding.at(status_range(off.node)),
        None => finding,
    }
}

fn sibling(index: &Index<'_>, word: &RequireWord, (entry, off): (&Entry<'_>, &Entry<'_>)) -> Finding {
    let message = format!("the board has {} that is on, but {}", word.word, describe(index, entry, off));
    let help = format!("if the board has it, set status = \"okay\" in {}", index.path(off));
    Finding::warning(rules::SIBLING_DISABLED, message).at(status_range(off.node)).help(help)
}

fn describe(index: &Index<'_>, entry: &Entry<'_>, off: &Entry<'_>) -> String {
    format!("{} {}", index.path(entry), state(index, entry, off))
}

fn state(index: &Index<'_>, entry: &Entry<'_>, off: &Entry<'_>) -> String {
    let status = off.node.status().map_or_else(|| "malformed".to_owned(), |status| format!("{:?}", shorten(status)));
    if entry.node == off.node {
        format!("is off (status {status})")
    } else {
        format!("is off with {} (status {status})", index.path(off))
    }
}

fn range(range: std::ops::Range<usize>) -> std::ops::Range<u64> {
    range.start as u64..range.end as u64
}

fn node_range(node: Node<'_>) -> std::ops::Range<u64> {
    let start = node.offset() as u64;
    start..start.saturating_add(4)
}

fn status_range(node: Node<'_>) -> std::ops::Range<u64> {
    node.property("status").map_or_else(|| node_range(node), |status| range(status.value_range()))
}
