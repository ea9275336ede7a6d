//! What a run prints.

use std::{
    collections::BTreeSet,
    io::{self, Write},
};

use dtbtool::scan;
use imgcore::{Finding, Report, Severity};
use serde_json::{Value, json};

/// The one JSON object of a run.
pub(crate) fn envelope(command: &str, ok: bool, report: &Report, result: &Value) -> Value {
    let result = if result.is_null() { &json!({}) } else { result };
    json!({ "schema": 1, "command": command, "ok": ok, "findings": report.iter().collect::<Vec<_>>(), "result": result })
}

pub(crate) fn findings(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    report.iter().try_for_each(|finding| writeln!(out, "{finding}"))
}

/// Foreign text must not drive the terminal.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// [`clean`] for lines of any bytes.
pub(crate) fn clean_lines(text: &[u8]) -> Vec<u8> {
    text.iter()
        .map(|byte| if byte.is_ascii_control() && *byte != b'\n' || !byte.is_ascii() { b'?' } else { *byte })
        .collect()
}

/// What is wrong with a changed tree: all findings, and the errors among them that the tree did not have before.
pub(crate) fn brought(before: &[u8], after: &[u8]) -> (Report, Vec<Finding>) {
    let old = scan(before).1;
    let known: BTreeSet<(&str, &str)> = old.iter().map(|finding| (finding.code, finding.message.as_str())).collect();
    let codes: BTreeSet<&str> = old.iter().map(|finding| finding.code).collect();
    let report = scan(after).1;
    let errors = report.iter().filter(|finding| finding.severity == Severity::Error);
    // Without a place it is the count of those that are not listed.
    let new = errors.filter(|finding| match finding.range {
        Some(_) => !known.contains(&(finding.code, finding.message.as_str())),
        None => !codes.contains(finding.code),
    });
    let new = new.cloned().collect();
    (report, new)
}
