//! What stops a command: findings and an exit code.

use std::{fmt, path::Path};

use imgcore::{Finding, Report, Severity};

/// Exit codes of every binary of this workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[repr(u8)]
pub enum Exit {
    /// A finding at error level, a refused layout, a failed verification, differences.
    Refused = 1,
    /// Usage, unknown board, option, field or code, invalid board file.
    Usage = 2,
    /// An input is missing or has another digest; a tool or compile target is missing.
    Input = 3,
    /// Input/output, full disk, network, authentication.
    Io = 4,
    /// The user pressed Ctrl-C.
    Cancelled = 130,
}

/// A command that stopped: why, as findings, and with which exit code.
///
/// Every way to fail is a finding with a code, so that text, JSON and exit code come from one value.
#[derive(Debug, Clone)]
pub struct Error {
    exit: Exit,
    report: Report,
}

/// The result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// Stops with one finding.
    pub fn new(exit: Exit, finding: Finding) -> Self {
        Self { exit, report: std::iter::once(finding).collect() }
    }

    /// Stops because of what was found.
    pub fn refused(report: Report) -> Self {
        Self { exit: Exit::Refused, report }
    }

    /// Stops with several findings.
    pub fn with_report(exit: Exit, report: Report) -> Self {
        Self { exit, report }
    }

    /// A usage error.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, Finding::error("USE001", message))
    }

    /// An input/output error on `path`.
    pub fn io(path: impl AsRef<Path>, error: &std::io::Error) -> Self {
        Self::from_io(error, Some(path.as_ref()))
    }

    /// The user stopped the command.
    pub fn cancelled() -> Self {
        Self::new(Exit::Cancelled, Finding::error("USE002", "stopped by Ctrl-C; no output was changed"))
    }

    fn from_io(error: &std::io::Error, path: Option<&Path>) -> Self {
        if is_cancelled(error) {
            return Self::cancelled();
        }
        let mut text = error.to_string();
        if let Some(path) = path {
            let name = path.display().to_string();
            if !text.contains(&name) {
                text = format!("{name}: {text}");
            }
        }
        let help = match error.kind() {
            std::io::ErrorKind::StorageFull => Some("free some space or give another folder with -o or --cache-dir"),
            std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
                Some("give a folder that you may write to with -o or --cache-dir")
            }
            _ => None,
        };
        let mut finding = Finding::error("IOE001", text);
        finding.help = help.map(str::to_owned);
        Self::new(Exit::Io, finding)
    }

    /// The process exit code.
    pub fn exit_code(&self) -> u8 {
        self.exit as u8
    }

    /// Which exit.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// The same with another exit code.
    #[must_use]
    pub(crate) fn with_exit(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// What was found, the reason to stop among it.
    pub fn report(&self) -> &Report {
        &self.report
    }

    /// Puts the finding that says what follows from the others behind them.
    #[must_use]
    pub(crate) fn with_finding(mut self, finding: Finding) -> Self {
        self.report.push(finding);
        self
    }

    /// Puts findings made before the error in front of it.
    #[must_use]
    pub fn after(mut self, earlier: Report) -> Self {
        let mut report = earlier;
        report.extend(self.report);
        self.report = report;
        self
    }

    /// Says more of what to do, after what the error says.
    #[must_use]
    pub(crate) fn more_help(mut self, help: &str) -> Self {
        if let Some(finding) = self.report.iter_mut().last() {
            let first = finding.help.take().map_or_else(String::new, |first| first + "\n");
            finding.help = Some(first + help);
        }
        self
    }

    /// Says what to do, where the error does not say it yet.
    #[must_use]
    pub fn or_help(mut self, help: &str) -> Self {
        for finding in self.report.iter_mut().filter(|finding| finding.help.is_none()) {
            finding.help = Some(help.to_owned());
        }
        self
    }
}

/// Whether an I/O error only says that the user stopped the command.
pub(crate) fn is_cancelled(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::Other && error.to_string() == "cancelled"
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut first = true;
        for finding in self.report.iter().filter(|finding| finding.severity == Severity::Error) {
            if !first {
                f.write_str("\n")?;
            }
            first = false;
            write!(f, "{finding}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}

/// For errors that already name their path, as those of `fs_err`.
impl From<std::io::Error> for Error {
    fn from(error: std::io::Error) -> Self {
        Self::from_io(&error, None)
    }
}
