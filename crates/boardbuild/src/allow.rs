//! `--allow CODE`: the user's word turns an error into a warning, where that is safe.

use std::collections::BTreeSet;

use imgcore::{Finding, Report, Severity, nearest};

use crate::{
    error::{Error, Result},
    rules,
};

/// The codes that a user allowed, checked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Allowed {
    codes: BTreeSet<&'static str>,
}

impl Allowed {
    /// Checks the codes.
    ///
    /// # Errors
    /// [`Exit::Usage`](crate::Exit::Usage) for an unknown code and for one that cannot be allowed.
    pub(crate) fn new(codes: &[String]) -> Result<Self> {
        let mut allowed = BTreeSet::new();
        for code in codes {
            let Some(rule) = rules::find(code) else {
                let known = rules::all().filter(|rule| rule.allowable).map(|rule| rule.code);
                let help = nearest(code, known).map_or_else(
                    || "docs/findings.md lists all codes".to_owned(),
                    |near| format!("did you mean {near}? docs/findings.md lists all codes"),
                );
                return Err(Error::usage(format!("--allow: unknown code: {code}")).or_help(&help));
            };
            if !rule.allowable {
                return Err(Error::usage(format!("--allow: {code} cannot be allowed: {}", rule.meaning)).or_help(
                    "damage of an input and overlaps on the medium have to be mended; docs/findings.md says how",
                ));
            }
            allowed.insert(rule.code);
        }
        Ok(Self { codes: allowed })
    }

    /// The codes, sorted.
    pub(crate) fn codes(&self) -> impl Iterator<Item = &'static str> {
        self.codes.iter().copied()
    }

    /// Turns errors with allowed codes into warnings, and adds a warning for each code that no finding has.
    #[must_use]
    pub(crate) fn apply(&self, mut report: Report) -> Report {
        let mut used = BTreeSet::new();
        for finding in &mut report {
            if self.codes.contains(finding.code) {
                used.insert(finding.code);
                if finding.severity == Severity::Error {
                    finding.severity = Severity::Warning;
                }
            }
        }
        for unused in self.codes.difference(&used) {
            report.push(
                Finding::warning(
                    "USE003",
                    format!("--allow {unused} was not needed: nothing was found under this code"),
                )
                .help("leave it out, so that it cannot hide a later finding"),
            );
        }
        report
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_and_safe_codes_are_taken() {
        for (code, expected) in
            [("VER00", "did you mean VER001?"), ("LAY001", "cannot be allowed"), ("x", "docs/findings.md")]
        {
            let error = Allowed::new(&[code.to_owned()]).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(expected), "{error}");
        }
    }

    #[test]
    fn an_allowed_error_is_a_warning_and_an_unused_code_is_reported() {
        let allowed = Allowed::new(&["VER001".to_owned()]).unwrap();
        let report = allowed.apply(std::iter::once(Finding::error("VER001", "x")).collect());
        assert_eq!(report.worst(), Some(Severity::Warning));
        assert_eq!(report.len(), 1);
        let report = allowed.apply(Report::new());
        assert_eq!(report.iter().map(|finding| finding.code).collect::<Vec<_>>(), ["USE003"]);
    }
}
