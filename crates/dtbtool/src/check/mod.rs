//! The checks of dtc 1.8.1 (its `checks.c`): the same names, the same paths, the same words, in the same order.
//!
//! dtc asks its checks while it translates a tree. Which of them run depends on each other: a check is not asked
//! when one that it needs has failed anywhere in the tree, and nothing more is asked after an error. [`run`] does
//! the same on a scanned tree, [`format_dtc`] writes what dtc writes, and [`to_report`] says it for somebody who
//! wants to know whether the board will work.
//!
//! ```
//! use dtbtool::{WriteOptions, check, model::{DeviceTree, Node, Property}, scan};
//!
//! let mut tree = DeviceTree::new();
//! tree.root_mut().children.push(Node::new("mmc@0").with(Property::string("status", "okay")));
//! let bytes = tree.to_bytes(&WriteOptions::default())?;
//! let tree = scan(&bytes).0.expect("a tree");
//! let checked = check::run(&tree, &check::Options::default());
//! assert_eq!(
//!     check::format_dtc(&checked),
//!     "Warning (unit_address_vs_reg): /mmc@0: node has a unit name, but no reg or ranges property\n"
//! );
//! assert!(!checked.failed);
//! # Ok::<(), dtbtool::Error>(())
//! ```
//!
//! # What cannot be the same
//!
//! dtc takes for granted that some properties are one cell, and ends itself when they are not, or reads memory that
//! is not the tree's. Such a property gives a finding of its own here ([`Remark::Abort`]), and the run ends as dtc's.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

mod bus;
mod cells;
mod chosen;
mod fatal;
mod graph;
mod interrupts;
mod names;
mod overlay;
mod provider;
mod run;
mod table;
mod types;
mod unit;
mod view;

use std::{collections::BTreeMap, fmt::Write as _, ops::Range};

use imgcore::{Finding, Report, Severity};

use crate::{rules, tree::Tree};

pub use fatal::{fatal, read_as_dtc};
pub use table::{CHECKS, Check, Level, Weight};
pub(crate) use table::{cures as cure_rows, rules as rule_rows};

/// What to check and how far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Checks that are switched on or off, in the order of the command line. Names that are not in [`CHECKS`] do
    /// nothing; [`change`] refuses them.
    pub changes: Vec<(String, Change)>,
    /// Ask the remaining checks after an error as well. dtc does not.
    pub keep_going: bool,
    /// Bytes of text that are listed at most; the rest is counted. No real tree comes near the default.
    pub limit: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { changes: Vec::new(), keep_going: false, limit: 8 << 20 }
    }
}

/// One switch of dtc's `-W` or `-E`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// Of errors (`-E`), else of warnings (`-W`).
    pub error: bool,
    /// On, else off (`no-NAME`).
    pub on: bool,
}

/// Reads the word after dtc's `-W` (or, with `error`, `-E`): `NAME` or `no-NAME`.
///
/// # Errors
///
/// The name, if dtc has no such check.
///
/// ```
/// use dtbtool::check::{Change, change};
///
/// assert_eq!(change("no-unique_unit_address", false), Ok(("unique_unit_address".to_owned(), Change { error: false, on: false })));
/// assert_eq!(change("unique_unit_adress", false), Err("unique_unit_adress".to_owned()));
/// ```
pub fn change(word: &str, error: bool) -> Result<(String, Change), String> {
    let off = word.strip_prefix("no-").or_else(|| word.strip_prefix("no_"));
    let name = off.unwrap_or(word).to_owned();
    if run::number(&name).is_none() {
        return Err(name);
    }
    Ok((name, Change { error, on: off.is_none() }))
}

/// What is said outside of the checks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Remark {
    /// A property stands behind a subnode.
    Order,
    /// `__symbols__`, `__fixups__` or `__local_fixups__` name something that is not there.
    References,
    /// A line that ends without a line break in dtc's output: a label of a node that is not there.
    Symbol,
    /// dtc ends itself at this property.
    Abort,
}

impl Remark {
    fn name(self) -> &'static str {
        match self {
            Self::Order => "property_order",
            Self::References | Self::Symbol => "reference_tables",
            Self::Abort => "one_cell",
        }
    }

    fn code(self) -> &'static str {
        match self {
            Self::Order => rules::PROPERTY_ORDER,
            Self::References | Self::Symbol => rules::REFERENCE_TABLES,
            Self::Abort => rules::ONE_CELL,
        }
    }

    fn level(self) -> Level {
        if self == Self::Abort { Level::Error } else { Level::Warning }
    }
}

/// One failure of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Diagnostic {
    /// dtc's name of the check.
    pub check: &'static str,
    /// This crate's code for it.
    pub code: &'static str,
    /// Warning or error.
    pub level: Level,
    /// The node; none if the check could not be asked.
    pub path: Option<String>,
    /// The property that it is about.
    pub property: Option<String>,
    /// The property that it is about, where dtc does not name it.
    pub subject: Option<String>,
    /// dtc's words.
    pub message: String,
    /// Bytes of the property's value or of the node, from the start of the tree; empty without a node.
    pub range: Range<u64>,
    /// Set if no check says it.
    pub remark: Option<Remark>,
}

/// What a run of the checks gave.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Checked {
    /// In dtc's order.
    pub diagnostics: Vec<Diagnostic>,
    /// How many more there are than the limit lets through.
    pub omitted: usize,
    /// A check failed that reports errors: dtc makes no output from the tree, and ends with 2.
    pub failed: bool,
}

/// Asks the checks. Time is linear in the size of the tree, but for a logarithm and what is listed.
pub fn run(tree: &Tree, options: &Options) -> Checked {
    let view = view::View::new(tree);
    let mut run = run::Run::new(view, options);
    overlay::properties_behind_nodes(&mut run);
    let failed = run.all(options.keep_going);
    if !failed && !run.aborted {
        overlay::tables(&mut run);
    }
    Checked { failed: failed || run.aborted, diagnostics: run.out.diagnostics, omitted: run.out.omitted }
}

/// What `dtc -I dtb -O dts` writes to its standard error output, without the name of the output (`<stdout>: `) in
/// front of each line. Control characters of foreign text become `?`.
pub fn format_dtc(checked: &Checked) -> String {
    dtc_lines(checked).chars().map(|c| if c.is_control() && c != '\n' { '?' } else { c }).collect()
}

/// [`format_dtc`] for a tree of [`read_as_dtc`], byte for byte as dtc writes it, control characters included.
pub fn format_dtc_bytes(checked: &Checked) -> Vec<u8> {
    to_bytes(&dtc_lines(checked))
}

/// Undoes [`view::latin`].
fn to_bytes(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(c).unwrap_or(b'?')).collect()
}

fn dtc_lines(checked: &Checked) -> String {
    let mut text = String::new();
    for diagnostic in &checked.diagnostics {
        let line = match diagnostic.remark {
            Some(Remark::Abort) => continue,
            Some(Remark::Symbol) => diagnostic.message.clone(),
            Some(_) => format!("{}\n", diagnostic.message),
            None => {
                let level = if diagnostic.level == Level::Error { "ERROR" } else { "Warning" };
                let place = match (&diagnostic.path, &diagnostic.property) {
                    (Some(path), Some(property)) => format!("{path}:{property}: "),
                    (Some(path), None) => format!("{path}: "),
                    (None, _) => String::new(),
                };
                format!("{level} ({}): {place}{}\n", diagnostic.check, diagnostic.message)
            }
        };
        text.push_str(&line);
    }
    if checked.omitted > 0 {
        let _ = writeln!(text, "{} more are not listed", checked.omitted);
    }
    let aborted = checked.diagnostics.iter().any(|diagnostic| diagnostic.remark == Some(Remark::Abort));
    if checked.failed && !aborted {
        text.push_str("ERROR: Input tree has errors, aborting (use -f to force output)\n");
    }
    text
}

/// The same as findings: what matters for a board first, each with why it matters and what to do.
pub fn to_report(checked: &Checked) -> Report {
    let mut ranked: Vec<(Severity, &Diagnostic)> =
        checked.diagnostics.iter().map(|diagnostic| (severity(diagnostic), diagnostic)).collect();
    ranked.sort_by_key(|(severity, _)| std::cmp::Reverse(*severity));
    let mut report: Report = ranked.into_iter().map(|(severity, diagnostic)| finding(severity, diagnostic)).collect();
    if checked.omitted > 0 {
        report.push(omitted(checked));
    }
    report
}

/// As [`to_report`], for a person: what is said of many places is said once, failures that no kernel minds are
/// counted by check, and checks that could not be asked are named in one line.
pub fn to_summary(checked: &Checked) -> Report {
    let mut groups: Vec<(Severity, Vec<&Diagnostic>)> = Vec::new();
    let mut known: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    let mut unasked: Vec<&Diagnostic> = Vec::new();
    for diagnostic in &checked.diagnostics {
        let severity = severity(diagnostic);
        if diagnostic.path.is_none() && severity == Severity::Info {
            unasked.push(diagnostic);
            continue;
        }
        let words = if severity == Severity::Info { "" } else { diagnostic.message.as_str() };
        let place = *known.entry((diagnostic.check, words)).or_insert(groups.len());
        match groups.get_mut(place) {
            Some((_, group)) => group.push(diagnostic),
            None => groups.push((severity, vec![diagnostic])),
        }
    }
    groups.sort_by_key(|(severity, _)| std::cmp::Reverse(*severity));
    let mut report: Report = groups.iter().flat_map(|(severity, group)| grouped(*severity, group)).collect();
    if let Some(first) = unasked.first() {
        let mut names: Vec<&str> = unasked.iter().map(|diagnostic| diagnostic.check).collect();
        names.dedup();
        let message = format!("not checked, because a check failed on which these rely: {}", names.join(", "));
        report.push(Finding::info(first.code, message));
    }
    if checked.omitted > 0 {
        report.push(omitted(checked));
    }
    report
}

/// One finding for three and more of a kind.
fn grouped(severity: Severity, group: &[&Diagnostic]) -> Vec<Finding> {
    const NAMED: usize = 4;
    let (Some(first), Some(check)) = (group.first(), group.first().and_then(|first| check_of(first))) else {
        return group.iter().map(|diagnostic| finding(severity, diagnostic)).collect();
    };
    if group.len() < 3 {
        return group.iter().map(|diagnostic| finding(severity, diagnostic)).collect();
    }
    let what = if severity == Severity::Info { check.meaning } else { first.message.as_str() };
    let mut places: Vec<String> = group.iter().take(NAMED).map(|diagnostic| place(diagnostic)).collect();
    if group.len() > NAMED {
        places.push("…".to_owned());
    }
    let (count, why, places) = (group.len(), check.why(), places.join(", "));
    let message = format!("{count} times: {} ({why}): {places}", crate::tree::shorten(what));
    vec![Finding::new(severity, check.code, message).at(first.range.clone()).help(check.cure)]
}

fn omitted(checked: &Checked) -> Finding {
    Finding::warning(rules::OMITTED, format!("{} more failures of checks are not listed", checked.omitted))
}

/// Leaves out what [`scan`](crate::scan) has said of the same tree already, in its own words.
pub fn without_scanned(checked: &mut Checked, scanned: &Report) {
    checked.diagnostics.retain(|diagnostic| {
        let codes: &[&str] = match diagnostic.check {
            "node_name_chars" => &[rules::NODE_CHARS],
            "node_name_format" => &[rules::NODE_FORMAT],
            "node_name_not_empty" => &[rules::NODE_EMPTY],
            "property_name_chars" => &[rules::PROPERTY_CHARS],
            "property_order" => &[rules::PROPERTY_ORDER],
            "explicit_phandles" => {
                &[rules::PHANDLE_SHAPE, rules::PHANDLE_VALUE, rules::PHANDLE_TWICE, rules::PHANDLE_DIFFERS]
            }
            _ => &[],
        };
        !scanned.iter().any(|finding| codes.contains(&finding.code))
    });
}

fn check_of(diagnostic: &Diagnostic) -> Option<&'static Check> {
    CHECKS.iter().find(|check| check.name == diagnostic.check)
}

fn severity(diagnostic: &Diagnostic) -> Severity {
    match check_of(diagnostic) {
        // That a check was not asked is a matter of the one that failed.
        Some(_) if diagnostic.path.is_none() && diagnostic.level != Level::Error => Severity::Info,
        Some(check) => check.severity(diagnostic.level),
        None if diagnostic.level == Level::Error => Severity::Error,
        None => Severity::Warning,
    }
}

fn place(diagnostic: &Diagnostic) -> String {
    let path = diagnostic.path.as_deref().unwrap_or("the tree");
    crate::tree::shorten(&match diagnostic.property.as_ref().or(diagnostic.subject.as_ref()) {
        Some(property) => format!("{path} {property}"),
        None => path.to_owned(),
    })
}

fn finding(severity: Severity, diagnostic: &Diagnostic) -> Finding {
    let check = check_of(diagnostic);
    let words = crate::tree::shorten(&diagnostic.message);
    let message = match (check, &diagnostic.path) {
        (Some(check), Some(_)) => format!("{}: {words} ({})", place(diagnostic), check.why()),
        (Some(_), None) => format!("not checked: {}: {words}", diagnostic.check),
        (None, _) => words,
    };
    let made = Finding::new(severity, diagnostic.code, message);
    let made = if diagnostic.range.is_empty() { made } else { made.at(diagnostic.range.clone()) };
    match check {
        Some(check) if diagnostic.path.is_some() => made.help(check.cure),
        _ => made,
    }
}
