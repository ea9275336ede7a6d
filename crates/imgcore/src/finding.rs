//! What is said about foreign data.

use std::{fmt, ops::Range};

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Worth knowing; nothing is wrong.
    Info,
    /// Works, but something is odd or will hurt later.
    Warning,
    /// Does not work.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// One statement about data that we did not make: a rule by its stable code, where, whose, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// Three capitals and three digits, never reused: `LAY012`.
    pub code: &'static str,
    /// What was found and what was expected; lower case, no full stop.
    pub message: String,
    /// Bytes concerned, half-open, from the start of the thing that `owner` names.
    pub range: Option<Range<u64>>,
    /// File, partition or role that the finding is about.
    pub owner: Option<String>,
    /// What to do.
    pub help: Option<String>,
}

impl Finding {
    /// A finding without range, owner and help.
    pub fn new(severity: Severity, code: &'static str, message: impl Into<String>) -> Self {
        Self { severity, code, message: message.into(), range: None, owner: None, help: None }
    }

    /// A finding of [`Severity::Error`].
    pub fn error(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, code, message)
    }

    /// A finding of [`Severity::Warning`].
    pub fn warning(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, code, message)
    }

    /// A finding of [`Severity::Info`].
    pub fn info(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Severity::Info, code, message)
    }

    /// Says which bytes.
    #[must_use]
    pub fn at(mut self, range: Range<u64>) -> Self {
        self.range = Some(range);
        self
    }

    /// Says whose.
    #[must_use]
    pub fn of(mut self, owner: impl Into<String>) -> Self {
        self.owner = Some(owner.into());
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// `error[LAY012]: message`, then one indented line each for owner with range, and help.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}[{}]: {}", self.severity, self.code, self.message)?;
        match (&self.owner, &self.range) {
            (Some(owner), Some(range)) => write!(f, "\n  --> {owner}, bytes {}..{}", range.start, range.end)?,
            (Some(owner), None) => write!(f, "\n  --> {owner}")?,
            (None, Some(range)) => write!(f, "\n  --> bytes {}..{}", range.start, range.end)?,
            (None, None) => {}
        }
        if let Some(help) = &self.help {
            for (index, line) in help.lines().enumerate() {
                write!(f, "\n  {} {line}", if index == 0 { "help:" } else { "     " })?;
            }
        }
        Ok(())
    }
}

/// Findings in the order they were made.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
#[serde(transparent)]
pub struct Report {
    findings: Vec<Finding>,
}

impl Report {
    /// A report that says nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a finding.
    pub fn push(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    /// Adds the findings of another report.
    pub fn extend(&mut self, other: impl IntoIterator<Item = Finding>) {
        self.findings.extend(other);
    }

    /// The findings.
    pub fn iter(&self) -> std::slice::Iter<'_, Finding> {
        self.findings.iter()
    }

    /// The findings, to change severity or owner.
    pub fn iter_mut(&mut self) -> std::slice::IterMut<'_, Finding> {
        self.findings.iter_mut()
    }

    /// Whether nothing was found.
    pub fn is_empty(&self) -> bool {
        self.findings.is_empty()
    }

    /// Count of findings.
    pub fn len(&self) -> usize {
        self.findings.len()
    }

    /// The worst severity, `None` without findings.
    pub fn worst(&self) -> Option<Severity> {
        self.findings.iter().map(|finding| finding.severity).max()
    }

    /// Whether any finding is an error.
    pub fn has_errors(&self) -> bool {
        self.worst() == Some(Severity::Error)
    }

    /// Names `owner` in every finding that names nobody, and moves ranges by `offset` bytes.
    #[must_use]
    pub fn owned_by(mut self, owner: &str, offset: u64) -> Self {
        for finding in &mut self.findings {
            if finding.owner.is_none() {
                finding.owner = Some(owner.to_owned());
            }
            if let Some(range) = &mut finding.range {
                *range = range.start.saturating_add(offset)..range.end.saturating_add(offset);
            }
        }
        self
    }
}

impl IntoIterator for Report {
    type Item = Finding;
    type IntoIter = std::vec::IntoIter<Finding>;

    fn into_iter(self) -> Self::IntoIter {
        self.findings.into_iter()
    }
}

impl<'a> IntoIterator for &'a mut Report {
    type Item = &'a mut Finding;
    type IntoIter = std::slice::IterMut<'a, Finding>;

    fn into_iter(self) -> Self::IntoIter {
        self.findings.iter_mut()
    }
}

impl<'a> IntoIterator for &'a Report {
    type Item = &'a Finding;
    type IntoIter = std::slice::Iter<'a, Finding>;

    fn into_iter(self) -> Self::IntoIter {
        self.findings.iter()
    }
}

impl FromIterator<Finding> for Report {
    fn from_iter<I: IntoIterator<Item = Finding>>(findings: I) -> Self {
        Self { findings: findings.into_iter().collect() }
    }
}

/// One measured fact about a file, one line of `inspect --tsv`: kind, offset, field, value.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Fact {
    /// Format: `idb-v2`, `fit`, `fdt`, `gpt`, …
    pub kind: &'static str,
    /// Where the structure starts, in bytes from the start of the file.
    pub offset: u64,
    /// What is measured.
    pub field: String,
    /// The value as text.
    pub value: String,
}

impl Fact {
    /// A fact.
    pub fn new(kind: &'static str, offset: u64, field: impl Into<String>, value: impl Into<String>) -> Self {
        Self { kind, offset, field: field.into(), value: value.into() }
    }
}

/// Tab-separated; tabs, line breaks and other control characters of foreign text become `?`.
impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clean = |text: &str| text.chars().map(|c| if c.is_control() { '?' } else { c }).collect::<String>();
        write!(f, "{}\t{}\t{}\t{}", self.kind, self.offset, clean(&self.field), clean(&self.value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_reads_as_a_compiler_error() {
        let finding = Finding::error("LAY012", "uboot.img overlaps the GPT entry array")
            .at(10_486_784..10_503_168)
            .of("uboot.img")
            .help("use a larger offset\nor trim");
        assert_eq!(
            finding.to_string(),
            "error[LAY012]: uboot.img overlaps the GPT entry array\n  --> uboot.img, bytes 10486784..10503168\n  \
             help: use a larger offset\n        or trim"
        );
        assert_eq!(
            serde_json::to_value(&finding).ok().map(|value| value["range"].to_string()),
            Some(r#"{"end":10503168,"start":10486784}"#.to_owned())
        );
    }

    #[test]
    fn the_worst_finding_decides() {
        let mut report = Report::new();
        assert_eq!(report.worst(), None);
        report.push(Finding::info("AAA001", "x"));
        report.push(Finding::error("AAA002", "y").at(1..2));
        report.push(Finding::warning("AAA003", "z").of("me"));
        assert!(report.has_errors());
        let owned = report.owned_by("file", 10);
        assert_eq!(
            owned.iter().map(|f| f.owner.as_deref()).collect::<Vec<_>>(),
            [Some("file"), Some("file"), Some("me")]
        );
        assert_eq!(owned.iter().nth(1).and_then(|f| f.range.clone()), Some(11..12));
    }

    #[test]
    fn facts_cannot_break_their_line() {
        assert_eq!(Fact::new("fdt", 0, "model", "a\tb\n\u{1b}[31m").to_string(), "fdt\t0\tmodel\ta?b??[31m");
    }
}
