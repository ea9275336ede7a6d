//! What is said about an archive: once, and not without end.

use std::collections::{BTreeMap, BTreeSet};

use imgcore::{Finding, Report, Severity};

/// Findings of one code and severity that are listed. Who made the archive decides how many there are.
const SAME: usize = 64;

/// Findings.
#[derive(Debug, Default)]
pub(super) struct Sayings {
    report: Report,
    known: BTreeSet<(&'static str, String)>,
    counts: BTreeMap<(&'static str, Severity), usize>,
}

impl Sayings {
    /// Says something about an image. What several images have in common is said once.
    pub(super) fn say(&mut self, image: &str, finding: Finding) {
        let said = (finding.code, finding.message.clone());
        if self.known.contains(&said) || self.full(&finding) {
            return;
        }
        self.known.insert(said);
        self.tell(if finding.owner.is_some() { finding } else { finding.of(image) });
    }

    /// Says what was found in a file.
    pub(super) fn extend(&mut self, report: Report, owner: &str) {
        for finding in report.owned_by(owner, 0) {
            if !self.full(&finding) {
                self.tell(finding);
            }
        }
    }

    /// Whether no more of this kind are listed; the first that is not says so.
    fn full(&mut self, finding: &Finding) -> bool {
        let count = self.counts.entry((finding.code, finding.severity)).or_default();
        if *count == SAME {
            *count += 1;
            let message = format!("more than {SAME} findings of this kind: the others are not listed");
            self.report.push(Finding::new(finding.severity, finding.code, message).help("begin with those that are"));
        }
        *count > SAME
    }

    fn tell(&mut self, finding: Finding) {
        *self.counts.entry((finding.code, finding.severity)).or_default() += 1;
        self.report.push(finding);
    }

    /// All of it.
    pub(super) fn finish(self) -> Report {
        self.report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_said_once_and_many_are_cut() {
        let mut sayings = Sayings::default();
        for number in 0..10_000 {
            sayings.say("x", Finding::warning("OVL113", format!("{}", number / 2)));
        }
        sayings.say("x", Finding::error("OVL113", "another severity"));
        let report = sayings.finish();
        assert_eq!(report.len(), SAME + 2);
        assert!(report.has_errors());
        assert!(report.iter().any(|finding| finding.message.contains("not listed")));
    }
}
