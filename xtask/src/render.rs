//! What a command says: text for people, one JSON object for programs, an exit code for scripts.

use std::{
    io::{IsTerminal as _, Write as _},
    process::ExitCode,
};

use boardbuild::{Error, Finding, Report, Severity};
use serde_json::{Value, json};

use crate::args::Global;

/// The end of a command.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// What was found.
    pub(crate) report: Report,
    /// `result` of the JSON object.
    pub(crate) result: Value,
    /// What people read on standard output.
    pub(crate) text: String,
    /// Exit code; 0 and findings at error level give 1.
    pub(crate) exit: u8,
}

impl Outcome {
    /// A command that stopped.
    pub(crate) fn failed(error: &Error) -> Self {
        Self { exit: error.exit_code(), result: json!({}), report: error.report().clone(), text: String::new() }
    }
}

/// Renders and gives the exit code.
pub(crate) fn finish(command: &str, global: &Global, outcome: Outcome) -> ExitCode {
    let exit = if outcome.exit == 0 && outcome.report.has_errors() { 1 } else { outcome.exit };
    let written = if global.json {
        let object = json!({
            "schema": 1,
            "command": command,
            "ok": exit == 0,
            "findings": outcome.report,
            "result": if outcome.result.is_null() { json!({}) } else { outcome.result },
        });
        print(&format!("{object:#}\n"))
    } else {
        for finding in &outcome.report {
            if finding.severity > Severity::Info || global.verbose {
                say(finding);
            }
        }
        print(&clean(&outcome.text))
    };
    // A reader that went away (`| head`) is no error of ours; a full disk behind `>` is.
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            let _ = writeln!(std::io::stderr(), "error[IOE001]: standard output: {error}");
            ExitCode::from(4)
        }
        _ => ExitCode::from(exit),
    }
}

fn print(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Prints a finding on standard error, in colour on a terminal.
fn say(finding: &Finding) {
    let text = clean(&finding.to_string());
    let mut err = std::io::stderr().lock();
    let colour = err.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let head = format!("{}[{}]", finding.severity, finding.code);
    let number = match finding.severity {
        Severity::Error => 31,
        Severity::Warning => 33,
        Severity::Info => 36,
    };
    let _ = match text.strip_prefix(&head) {
        Some(rest) if colour => writeln!(err, "\x1b[1;{number}m{head}\x1b[0m{rest}"),
        _ => writeln!(err, "{text}"),
    };
}

/// Foreign text must not steer the terminal. Tabs separate the columns of `--tsv`.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' && c != '\t' { '?' } else { c }).collect()
}

/// Renders an error of the command line itself.
pub(crate) fn clap_error(error: &clap::Error, json: bool) -> ExitCode {
    if json && error.use_stderr() {
        let text = error.to_string();
        let message = text.trim_start_matches("error: ").trim_end().to_owned();
        let finding = Finding::error("USE001", message);
        let object = json!({ "schema": 1, "command": "", "ok": false, "findings": [finding], "result": {} });
        let _ = print(&format!("{object:#}\n"));
    } else {
        let _ = error.print();
    }
    ExitCode::from(if error.use_stderr() { 2 } else { 0 })
}
