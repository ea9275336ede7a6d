//! What a run prints.

use std::io::{self, Write};

use imgcore::Report;
use serde_json::{Value, json};

/// The one JSON object of a run.
pub(crate) fn envelope(command: &str, ok: bool, report: &Report, result: &Value) -> Value {
    let result = if result.is_null() { &json!({}) } else { result };
    json!({ "schema": 1, "command": command, "ok": ok, "findings": report.iter().collect::<Vec<_>>(), "result": result })
}

pub(crate) fn findings(report: &Report, out: &mut Vec<u8>) -> io::Result<()> {
    report.iter().try_for_each(|finding| writeln!(out, "{finding}"))
}

/// Foreign text must not drive the terminal.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
