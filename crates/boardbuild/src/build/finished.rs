//! What was built before, and whether it is still good.

use std::path::{Path, PathBuf};

use imgcore::{Digest, Finding, Severity};
use serde::{Deserialize, Serialize};

use super::{Built, start::Start};
use crate::{
    error::{Error, Result},
    files::Stamp,
    record::{OutputRecord, Record},
    rules,
    store::{Store, canonical_json},
};

/// Identity of the running program: its version, and its file, so that a program that was built anew does its work anew.
pub(crate) fn program() -> serde_json::Value {
    let file = std::env::current_exe().and_then(|path| Stamp::of(&path)).ok();
    serde_json::json!({ "version": env!("CARGO_PKG_VERSION"), "file": file })
}

/// What a build left.
#[derive(Serialize, Deserialize)]
pub(super) struct Done {
    outputs: Vec<(OutputRecord, Stamp)>,
    record: Option<Record>,
    #[serde(default)]
    skipped: Option<String>,
    drawing: String,
    findings: Vec<SavedFinding>,
}

/// A finding as the store keeps it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct SavedFinding {
    severity: Severity,
    code: String,
    message: String,
    range: Option<(u64, u64)>,
    owner: Option<String>,
    help: Option<String>,
}

impl SavedFinding {
    pub(crate) fn of(finding: &Finding) -> Self {
        Self {
            severity: finding.severity,
            code: finding.code.to_owned(),
            message: finding.message.clone(),
            range: finding.range.clone().map(|range| (range.start, range.end)),
            owner: finding.owner.clone(),
            help: finding.help.clone(),
        }
    }

    pub(crate) fn restore(self) -> Option<Finding> {
        let rule = rules::find(&self.code)?;
        let mut finding = Finding::new(self.severity, rule.code, self.message);
        finding.range = self.range.map(|(start, end)| start..end);
        finding.owner = self.owner;
        finding.help = self.help;
        Some(finding)
    }
}

/// Records of finished work: one for each key and folder, and for each folder the key of what it holds.
pub(super) struct Finished<'a> {
    store: &'a Store,
    action: String,
    key: serde_json::Value,
    pub(super) folder: PathBuf,
}

impl<'a> Finished<'a> {
    pub(super) fn new(store: &'a Store, action: &str, key: serde_json::Value, folder: &Path) -> Result<Self> {
        let folder = std::path::absolute(folder).map_err(|error| Error::io(folder, &error))?;
        Ok(Self { store, action: format!("{action}-{}", env!("CARGO_PKG_VERSION")), key, folder })
    }

    /// Name of the pointer from a folder to the key of what it holds.
    fn place(&self) -> Digest {
        Digest::of(self.folder.to_string_lossy().as_bytes())
    }

    fn digest(&self) -> Digest {
        Digest::of(&canonical_json(&(&self.key, &self.folder.to_string_lossy())))
    }

    fn last(&self) -> String {
        format!("{}-last", self.action)
    }

    /// The earlier work, if it is still good, and what changed if not.
    pub(super) fn look(&self) -> (Option<Done>, Vec<String>) {
        let name = self.action.split('-').next().unwrap_or_default();
        if let Some(done) = self.store.action::<Done>(&self.action, self.digest()) {
            for (output, stamp) in &done.outputs {
                let path = self.folder.join(&output.name);
                if Stamp::of(&path).ok().as_ref() != Some(stamp) {
                    return (None, vec![format!("{name}: miss: {} is not as it was written", output.name)]);
                }
            }
            return (Some(done), vec![format!("{name}: hit: no input changed")]);
        }
        let Some(last) = self.store.action::<serde_json::Value>(&self.last(), self.place()) else {
            return (None, vec![format!("{name}: miss: nothing was built in {} yet", self.folder.display())]);
        };
        let mut changed = Vec::new();
        differences("", &last, &self.key, &mut changed);
        (None, changed.into_iter().map(|what| format!("{name}: miss: {what} changed")).collect())
    }

    pub(super) fn remember(&self, built: &Built) -> Result<()> {
        let mut outputs = Vec::new();
        for output in &built.outputs {
            let path = self.folder.join(&output.name);
            let stamp = Stamp::of(&path)?;
            // So that `push` finds an archive by its digest.
            self.store.know_file(&path, &stamp, output.sha256)?;
            outputs.push((output.clone(), stamp));
        }
        let done = Done {
            outputs,
            record: built.record.clone(),
            skipped: built.skipped.clone(),
            drawing: built.drawing.clone(),
            findings: built.report.iter().map(SavedFinding::of).collect(),
        };
        self.store.record(&self.action, self.digest(), &done)?;
        self.store.record(&self.last(), self.place(), &self.key)
    }
}

/// Paths of values that differ between two JSON values.
fn differences(path: &str, old: &serde_json::Value, new: &serde_json::Value, found: &mut Vec<String>) {
    match (old, new) {
        (serde_json::Value::Object(a), serde_json::Value::Object(b)) => {
            let keys: std::collections::BTreeSet<_> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                let null = serde_json::Value::Null;
                differences(&path, a.get(key).unwrap_or(&null), b.get(key).unwrap_or(&null), found);
            }
        }
        (a, b) if a == b => {}
        _ => found.push(path.to_owned()),
    }
}

impl Done {
    pub(super) fn into_built(self, start: &Start, folder: PathBuf, explain: Vec<String>) -> Built {
        Built {
            report: self.findings.into_iter().filter_map(SavedFinding::restore).collect(),
            folder,
            outputs: self.outputs.into_iter().map(|(output, _)| output).collect(),
            record: self.record,
            skipped: self.skipped,
            drawing: self.drawing,
            notice: start.board.notice.clone(),
            explain,
            up_to_date: true,
        }
    }
}
