//! Collects findings without letting hostile input fill the memory with them.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::collections::BTreeMap;

use imgcore::{Finding, Report};

use crate::rules;

/// Findings of one rule that are kept. Nobody reads more, and an archive of a million bad names has a million.
const PER_RULE: u64 = 32;

#[derive(Debug, Default)]
pub(crate) struct Findings {
    report: Report,
    counts: BTreeMap<&'static str, u64>,
}

impl Findings {
    pub(crate) fn add(&mut self, finding: Finding) {
        let count = self.counts.entry(finding.code).or_default();
        *count = count.saturating_add(1);
        if *count <= PER_RULE {
            self.report.push(finding);
        }
    }

    pub(crate) fn say(&mut self, code: &'static str, message: impl Into<String>) {
        self.add(rules::finding(code, message));
    }

    pub(crate) fn extend(&mut self, report: Report) {
        for finding in report {
            self.add(finding);
        }
    }

    pub(crate) fn finish(mut self) -> Report {
        for (code, count) in self.counts {
            if let Some(more) = count.checked_sub(PER_RULE).filter(|more| *more > 0) {
                self.report.push(rules::finding(rules::MORE, format!("{more} more findings of {code}")));
            }
        }
        self.report
    }
}

/// A foreign name for a message: quoted, control characters visible, cut.
pub(crate) fn quote(name: &[u8]) -> String {
    const SHOWN: usize = 120;
    let text = String::from_utf8_lossy(name.get(..SHOWN).unwrap_or(name)).into_owned();
    if name.len() > SHOWN { format!("{text:?}… ({} bytes)", name.len()) } else { format!("{text:?}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_million_findings_become_a_few() {
        let mut findings = Findings::default();
        for _ in 0..1_000_000 {
            findings.say(rules::ENTRY_PATH, "x");
        }
        let report = findings.finish();
        assert_eq!(report.len(), 33);
        assert_eq!(report.iter().last().map(|f| f.message.as_str()), Some("999968 more findings of OCI030"));
    }

    #[test]
    fn foreign_names_cannot_break_a_message() {
        assert_eq!(quote(b"a\n\x1b[31m\xff"), "\"a\\n\\u{1b}[31m\u{fffd}\"");
        assert!(quote(&[b'a'; 5000]).ends_with("… (5000 bytes)"));
    }
}
