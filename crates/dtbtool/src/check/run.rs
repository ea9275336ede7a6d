//! Asks the checks in dtc's order and collects what they say.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::{fmt, ops::Range};

use super::{
    CHECKS, Change, Diagnostic, Level, Options, Remark,
    table::{COUNT, Check},
    view::View,
};

/// What is known of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Status {
    #[default]
    Unasked,
    /// A check that it needs has not passed.
    Blocked,
    Passed,
    Failed,
}

/// Whether a check reports warnings, errors, or both; dtc keeps these apart.
#[derive(Debug, Clone, Copy, Default)]
struct Loudness {
    warning: bool,
    error: bool,
}

impl Loudness {
    fn level(self) -> Level {
        match self {
            Self { error: true, .. } => Level::Error,
            Self { warning: true, .. } => Level::Warning,
            Self { .. } => Level::Off,
        }
    }
}

/// A run of the checks over one tree.
pub(super) struct Run<'t> {
    pub(super) view: View<'t>,
    loudness: [Loudness; COUNT],
    status: [Status; COUNT],
    /// The check that is being asked.
    now: usize,
    /// dtc would have ended itself here.
    pub(super) aborted: bool,
    pub(super) out: Collector,
}

impl<'t> Run<'t> {
    pub(super) fn new(view: View<'t>, options: &Options) -> Self {
        let mut loudness =
            CHECKS.map(|check| Loudness { warning: check.level == Level::Warning, error: check.level == Level::Error });
        for (name, change) in &options.changes {
            if let Some(check) = number(name) {
                adjust(&mut loudness, check, *change);
            }
        }
        let out = Collector { left: options.limit, ..Collector::default() };
        Self { view, loudness, status: [Status::Unasked; COUNT], now: 0, aborted: false, out }
    }

    /// Asks all checks; whether one with the level of an error failed.
    pub(super) fn all(&mut self, keep_going: bool) -> bool {
        let mut failed = false;
        for check in 0..COUNT {
            if self.loud(check) != Level::Off && (keep_going || !failed) && !self.aborted {
                failed |= self.ask(check, keep_going);
            }
        }
        failed
    }

    fn loud(&self, check: usize) -> Level {
        self.loudness.get(check).map_or(Level::Off, |loudness| loudness.level())
    }

    fn status(&self, check: usize) -> Status {
        self.status.get(check).copied().unwrap_or_default()
    }

    /// Asks a check and, before it, what it needs: a few levels of a table without circles.
    fn ask(&mut self, check: usize, keep_going: bool) -> bool {
        let mut failed = false;
        if self.status(check) == Status::Unasked {
            let Some(row) = CHECKS.get(check) else { return false };
            for need in row.needs {
                let Some(needed) = number(need) else { continue };
                // As dtc: after an error, what else is needed is not asked, and counts as not passed.
                if keep_going || !failed {
                    failed |= self.ask(needed, keep_going);
                }
                if self.status(needed) != Status::Passed {
                    self.set(check, Status::Blocked);
                    self.now = check;
                    self.say(None, None, 0..0, format_args!("Failed prerequisite '{need}'"));
                }
            }
            if self.status(check) == Status::Unasked {
                self.now = check;
                for node in 0..self.view.len() {
                    if self.view.node(node).known && !self.aborted {
                        row.test.run(self, node);
                    }
                }
                if self.status(check) == Status::Unasked {
                    self.set(check, Status::Passed);
                }
            }
        }
        failed || (self.status(check) != Status::Passed && self.loud(check) == Level::Error)
    }

    fn set(&mut self, check: usize, status: Status) {
        if let Some(known) = self.status.get_mut(check) {
            *known = status;
        }
    }

    /// The check fails at a node.
    pub(super) fn fail(&mut self, node: usize, message: fmt::Arguments<'_>) {
        self.set(self.now, Status::Failed);
        let range = self.view.node(node).range.clone();
        self.say(Some(node), None, range, message);
    }

    /// The check fails at a node for a property, which may be another node's.
    pub(super) fn fail_at(&mut self, node: usize, property: Option<usize>, message: fmt::Arguments<'_>) {
        let Some(property) = property else { return self.fail(node, message) };
        self.set(self.now, Status::Failed);
        let found = self.view.property(property);
        let (name, range) = (found.name, found.range.clone());
        let range = if range.is_empty() { found.offset..found.offset.saturating_add(12) } else { range };
        self.say(Some(node), Some(name), range, message);
    }

    /// The check fails at a node for a property that dtc does not name.
    pub(super) fn fail_about(&mut self, node: usize, property: usize, message: fmt::Arguments<'_>) {
        let before = self.out.diagnostics.len();
        self.fail(node, message);
        let found = self.view.property(property);
        if let Some(last) = self.out.diagnostics.get_mut(before) {
            last.subject = Some(found.name.to_owned());
            if !found.range.is_empty() {
                last.range = widen(&found.range);
            }
        }
    }

    /// dtc ends itself here, because it takes for granted what the tree does not have.
    pub(super) fn abort(&mut self, node: usize, property: usize, message: fmt::Arguments<'_>) {
        self.fail_quietly();
        self.aborted = true;
        let text = format!("{}:{}: {message}", self.view.path(node), self.view.property(property).name);
        self.out.remark(Remark::Abort, &text, self.view.property(property).range.clone());
    }

    fn fail_quietly(&mut self) {
        self.set(self.now, Status::Failed);
    }

    /// Whether more would not be listed: no need to look for it then.
    pub(super) fn full(&self) -> bool {
        self.out.left == 0
    }

    /// The path of a node for a message; nothing if no more is listed.
    pub(super) fn path(&self, node: usize) -> String {
        if self.full() { String::new() } else { self.view.path(node) }
    }

    fn say(&mut self, node: Option<usize>, property: Option<&str>, range: Range<usize>, message: fmt::Arguments<'_>) {
        let level = self.loud(self.now);
        let Some(check) = CHECKS.get(self.now).filter(|_| level != Level::Off) else { return };
        let path = if self.out.left == 0 { None } else { node.map(|node| self.view.path(node)) };
        self.out.add(check, level, path, property, range, message);
    }
}

/// Diagnostics in the order they were made, not more than a limit.
#[derive(Default)]
pub(super) struct Collector {
    pub(super) diagnostics: Vec<Diagnostic>,
    /// Bytes of text that may still be listed.
    left: usize,
    /// How many were not listed.
    pub(super) omitted: usize,
}

impl Collector {
    fn add(
        &mut self,
        check: &'static Check,
        level: Level,
        path: Option<String>,
        property: Option<&str>,
        range: Range<usize>,
        message: fmt::Arguments<'_>,
    ) {
        if self.left == 0 {
            self.omitted = self.omitted.saturating_add(1);
            return;
        }
        let diagnostic = Diagnostic {
            check: check.name,
            code: check.code,
            level,
            path,
            property: property.map(str::to_owned),
            subject: None,
            message: message.to_string(),
            range: widen(&range),
            remark: None,
        };
        self.push(diagnostic);
    }

    /// Something that dtc says outside of its checks.
    pub(super) fn remark(&mut self, remark: Remark, message: &str, range: Range<usize>) {
        if self.left == 0 {
            self.omitted = self.omitted.saturating_add(1);
            return;
        }
        self.push(Diagnostic {
            check: remark.name(),
            code: remark.code(),
            level: remark.level(),
            path: None,
            property: None,
            subject: None,
            message: message.to_owned(),
            range: widen(&range),
            remark: Some(remark),
        });
    }

    fn push(&mut self, diagnostic: Diagnostic) {
        let text = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let size =
            diagnostic.message.len().saturating_add(text(&diagnostic.path)).saturating_add(text(&diagnostic.property));
        self.left = self.left.saturating_sub(size.saturating_add(100));
        self.diagnostics.push(diagnostic);
    }
}

fn widen(range: &Range<usize>) -> Range<u64> {
    let wide = |at: usize| u64::try_from(at).unwrap_or(u64::MAX);
    wide(range.start)..wide(range.end)
}

/// The place of a check in the table.
pub(super) fn number(name: &str) -> Option<usize> {
    CHECKS.iter().position(|check| check.name == name)
}

/// Switches a check as dtc does: what it needs is switched on with it, what needs it is switched off with it.
fn adjust(loudness: &mut [Loudness; COUNT], check: usize, change: Change) {
    let mut open = vec![check];
    while let Some(check) = open.pop() {
        let (Some(now), Some(row)) = (loudness.get_mut(check), CHECKS.get(check)) else { continue };
        let which = if change.error { &mut now.error } else { &mut now.warning };
        // Where it is so already, dtc goes no further.
        if *which == change.on {
            continue;
        }
        *which = change.on;
        if change.on {
            open.extend(row.needs.iter().filter_map(|need| number(need)));
        } else {
            let needy = CHECKS.iter().enumerate().filter(|(_, other)| other.needs.contains(&row.name));
            open.extend(needy.map(|(at, _)| at));
        }
    }
}
