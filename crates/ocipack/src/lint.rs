//! Everything that is certainly wrong with an image of anybody: what [`verify`](crate::read::verify) finds, and what hurts
//! whoever runs it.
//!
//! A rule is here if its statement is certain, whatever the image is for: a program that is not there, a folder that
//! cannot be entered. Taste is not.
//!
//! ```
//! use std::sync::Arc;
//! use imgcore::{Blob, Epoch};
//! use ocipack::{Entry, Image, Platform, archive, layer, lint};
//!
//! let layer = layer::build(&[Entry::file("bin/hello", 0o644, Blob::from_bytes("hello", *b"hello"))], Epoch(0))?;
//! let mut image = Image::new(Platform::new("linux", "arm64"), vec![layer], Epoch(0));
//! image.config.entrypoint = vec!["/bin/hello".to_owned()];
//! let mut file = Vec::new();
//! archive::plan(&[image], &archive::Options::default())?.write_to(&mut file)?;
//!
//! let options = lint::Options { require: vec![Platform::new("linux", "amd64")], ..lint::Options::default() };
//! let (_, report) = lint::lint(Arc::new(file), &options);
//! let codes: Vec<_> = report.iter().map(|finding| finding.code).collect();
//! assert_eq!(codes, ["OCI051", "OCI047"]);
//! # Ok::<(), ocipack::Error>(())
//! ```
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use imgcore::{Finding, ReadAt, Report, Severity};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    Platform,
    read::{
        self, ArchiveView, ImageView, Limits, NodeKind, Role, Tree,
        findings::{Findings, quote},
        paths,
    },
    rules,
};

mod machine;
mod program;

use machine::Machines;

/// What to ask of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Platforms for which there must be an image.
    pub require: Vec<Platform>,
    /// How bad it is when paths collide or cannot exist on other systems than Linux. A warning by default: many images
    /// are meant for Linux alone.
    pub portability: Severity,
    /// Where reading stops.
    pub limits: Limits,
}

impl Default for Options {
    fn default() -> Self {
        Self { require: Vec::new(), portability: Severity::Warning, limits: Limits::default() }
    }
}

impl Options {
    /// How to open what is to be checked.
    pub fn reader(&self) -> read::Options {
        read::Options { portability: self.portability, limits: self.limits.clone(), ..read::Options::default() }
    }
}

/// Opens an archive and says everything that is wrong with it.
pub fn lint(data: Arc<dyn ReadAt>, options: &Options) -> (Option<ArchiveView>, Report) {
    let (view, mut report) = read::open_with(data, options.reader());
    if let Some(view) = &view {
        report.extend(check(view, &options.require));
    }
    (view, report)
}

/// Says everything that is wrong with what was opened; [`read::open`] has said what is wrong with its documents and digests.
pub fn check(view: &ArchiveView, require: &[Platform]) -> Report {
    let mut findings = Findings::default();
    let several = view.images().nth(1).is_some();
    let mut machines: Vec<(Option<Platform>, Machines)> = Vec::new();
    view.each_tree(false, &mut |image, tree, report| {
        // What follows from damage is not worth a word of its own.
        let whole = !report.has_errors() && image.layers.iter().all(|layer| layer.data.is_some());
        findings.extend(report);
        if image.role != Role::Image {
            return;
        }
        let mut checked = Checked { image, tree: &tree, owner: image.name(), findings: &mut findings };
        let volumes = checked.configuration();
        // Modes, users and programs mean something else elsewhere.
        if image.platform.as_ref().is_some_and(|platform| platform.os != "linux") {
            return;
        }
        checked.modes();
        if whole {
            checked.users();
            let found = checked.programs(&volumes, several);
            machines.push((image.platform.clone(), found));
        }
    });
    machine::compare(&machines, &mut findings);
    for wanted in require {
        if !view.images().any(|image| image.platform.as_ref().is_some_and(|found| found.serves(wanted))) {
            let there: Vec<_> = view.images().map(ImageView::name).collect();
            let message = format!("there is no image for {wanted}; there are: {}", there.join(", "));
            findings.say(rules::MISSING_PLATFORM, message);
        }
    }
    findings.finish()
}

/// What to do about a finding: its own words, else those of its rule.
pub fn cure(finding: &Finding) -> Option<&str> {
    let of_rule = || rules::CURES.iter().find(|(code, _)| *code == finding.code).map(|(_, cure)| *cure);
    finding.help.as_deref().or_else(of_rule)
}

/// An image and what is said about it.
struct Checked<'a> {
    image: &'a ImageView,
    tree: &'a Tree,
    owner: String,
    findings: &'a mut Findings,
}

/// The parts of a configuration that the reader does not hold.
#[derive(Deserialize)]
struct Configuration {
    history: Option<Vec<Line>>,
    config: Option<Run>,
}

#[derive(Deserialize)]
struct Line {
    empty_layer: Option<bool>,
}

#[derive(Deserialize)]
struct Run {
    #[serde(rename = "Volumes")]
    volumes: Option<BTreeMap<String, Box<RawValue>>>,
}

impl Checked<'_> {
    fn say(&mut self, code: &'static str, message: String) {
        self.findings.add(rules::finding(code, message).of(&self.owner));
    }

    /// Checks the configuration and returns the folders that are mounted over.
    fn configuration(&mut self) -> Vec<String> {
        let image = self.image;
        if let Some(created) = image.created.as_ref().filter(|created| !is_rfc_3339(created)) {
            let created = quote(created.as_bytes());
            self.say(rules::CREATED, format!("created is {created}, expected a time as 2023-11-14T22:13:20Z"));
        }
        let architecture = image.platform.as_ref().map_or("", |platform| platform.architecture.as_str());
        if let Some(known) = go_name(architecture) {
            self.say(rules::ARCHITECTURE, format!("the architecture is {architecture}, clients look for {known}"));
        }
        for text in &image.run.env {
            if text.find('=').is_none_or(|at| at == 0) {
                let text = quote(text.as_bytes());
                self.say(rules::ENVIRONMENT, format!("the environment holds {text}, expected NAME=value"));
            }
        }
        let bytes = image.config.as_ref().map_or(&[][..], |document| &document.bytes);
        // Damage was reported by the reader.
        let Ok(config) = serde_json::from_slice::<Configuration>(bytes) else { return Vec::new() };
        let lines = config.history.iter().flatten().filter(|line| !line.empty_layer.unwrap_or_default()).count();
        if lines > image.layers.len() {
            let layers = image.layers.len();
            self.say(rules::HISTORY, format!("the history tells of {lines} layers, there are {layers}"));
        }
        let volumes = config.config.and_then(|run| run.volumes).unwrap_or_default();
        volumes.into_keys().map(|path| path.trim_matches('/').to_owned()).collect()
    }

    fn modes(&mut self) {
        let tree = self.tree;
        let mut used: BTreeSet<&str> = BTreeSet::new();
        for (path, _) in tree.iter() {
            used.insert(paths::split(path).0);
        }
        for (path, node) in tree.iter() {
            let (shown, mode) = (|| quote(path.as_bytes()), node.mode);
            match &node.kind {
                NodeKind::Dir => {
                    if mode & 0o100 == 0 && used.contains(path) {
                        let message = format!("folder {} has mode {mode:04o}, expected x for its owner", shown());
                        self.say(rules::CLOSED_FOLDER, message);
                    }
                    if mode & 0o002 != 0 && mode & 0o1000 == 0 {
                        let message =
                            format!("folder {} has mode {mode:04o}: everybody may replace what is in it", shown());
                        self.say(rules::OPEN_FOLDER, message);
                    }
                }
                NodeKind::File { .. } if mode & 0o111 != 0 && mode & 0o002 != 0 => {
                    let code = if mode & 0o6000 == 0 { rules::OPEN_PROGRAM } else { rules::OPEN_SETUID };
                    self.say(code, format!("program {} has mode {mode:04o}: everybody may write to it", shown()));
                }
                NodeKind::File { .. } | NodeKind::Symlink { .. } => {}
            }
        }
    }

    fn users(&mut self) {
        let user = self.image.run.user.as_str();
        let (user, group) = user.split_once(':').map_or((user, None), |(user, group)| (user, Some(group)));
        for (what, name, file) in
            [("user", Some(user), "etc/passwd"), ("group", group, "etc/group")].map(|(a, b, c)| (a, b.unwrap_or(""), c))
        {
            if name.is_empty() || name.bytes().all(|byte| byte.is_ascii_digit()) || self.knows(file, name) {
                continue;
            }
            self.say(rules::USER, format!("{what} {} is not in {file}", quote(name.as_bytes())));
        }
    }

    /// Whether a file of accounts names somebody; what cannot be read may.
    fn knows(&self, file: &str, name: &str) -> bool {
        if self.tree.resolve(file).is_err() {
            return false;
        }
        let Ok(bytes) = self.image.read_file(self.tree, file, 16 << 20) else { return true };
        bytes.split(|byte| *byte == b'\n').any(|line| line.split(|byte| *byte == b':').next() == Some(name.as_bytes()))
    }
}

/// What clients call an architecture that somebody else calls so.
fn go_name(name: &str) -> Option<&'static str> {
    Some(match name {
        "aarch64" | "arm64v8" | "armv8" => "arm64",
        "x86_64" | "x86-64" | "x64" => "amd64",
        "x86" | "i386" | "i486" | "i586" | "i686" => "386",
        "armhf" | "armel" | "arm32v7" | "armv6l" | "armv7" | "armv7l" => "arm",
        "powerpc64le" | "ppc64el" => "ppc64le",
        _ => return None,
    })
}

/// As Go's `time.RFC3339` is read, which is what most programs that read images do.
fn is_rfc_3339(text: &str) -> bool {
    let number = |range: std::ops::Range<usize>, least: u32, most: u32| {
        text.get(range).is_some_and(|digits| {
            digits.bytes().all(|byte| byte.is_ascii_digit())
                && digits.parse().is_ok_and(|number: u32| (least..=most).contains(&number))
        })
    };
    let marks = [(4, "-"), (7, "-"), (10, "T"), (13, ":"), (16, ":")];
    let date = number(0..4, 0, 9999) && number(5..7, 1, 12) && number(8..10, 1, 31);
    let time = number(11..13, 0, 23) && number(14..16, 0, 59) && number(17..19, 0, 59);
    let Some(rest) = text.get(19..).filter(|_| date && time) else { return false };
    if !marks.iter().all(|(at, mark)| text.get(*at..).is_some_and(|text| text.starts_with(mark))) {
        return false;
    }
    let zone = match rest.strip_prefix(['.', ',']) {
        Some(fraction) => {
            let zone = fraction.trim_start_matches(|c: char| c.is_ascii_digit());
            if zone.len() == fraction.len() {
                return false;
            }
            zone
        }
        None => rest,
    };
    match zone.strip_prefix(['+', '-']).map(|zone| zone.split_once(':')) {
        None => zone == "Z",
        Some(Some((hours, minutes))) => [hours, minutes]
            .iter()
            .zip([24, 60])
            .all(|(text, most)| text.len() == 2 && text.parse::<u32>().is_ok_and(|number| number <= most)),
        Some(None) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_go_reads_them() {
        for good in [
            "2023-11-14T22:13:20Z",
            "0001-01-01T00:00:00Z",
            "2026-11-22T15:05:43.348046137Z",
            "2023-11-14T22:13:20+01:00",
            "2023-11-14T22:13:20.5-07:30",
        ] {
            assert!(is_rfc_3339(good), "{good}");
        }
        for bad in [
            "",
            "1700000000",
            "2023-11-14",
            "2023-11-14 22:13:20Z",
            "2023-11-14T22:13:20",
            "2023-13-14T22:13:20Z",
            "2023-11-14T24:13:20Z",
            "2023-11-14T22:13:20.Z",
            "2023-11-14T22:13:20+0100",
            "2023-11-14T22:13:20Zé",
            "é023-11-14T22:13:20Z",
        ] {
            assert!(!is_rfc_3339(bad), "{bad}");
        }
    }
}
