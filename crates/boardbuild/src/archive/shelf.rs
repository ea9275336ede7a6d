//! Files of an image, fetched together: a layer streams by once for all of them, and what is named often is looked into once.

use std::collections::{BTreeMap, BTreeSet};

use imgcore::{Digest, Report};
use ocipack::read::{ImageView, NodeKind, Tree};

use crate::{error::Result, installer_image::failed};

/// What the artefacts of an archive may have together: U-Boots, device trees, a few DSP firmwares.
const ARTEFACTS: u64 = 512 << 20;
/// The largest artefact that is looked into.
pub(super) const ARTEFACT: u64 = 64 << 20;
/// Artefacts that are looked into: the overlays that exist have some dozens.
const COUNT: usize = 256;
/// Texts: options, profiles, descriptions.
const TEXT: u64 = 1 << 20;

/// SHA-256 and size of the file that a path leads to.
pub(super) fn file(tree: &Tree, path: &str) -> Option<(Digest, u64)> {
    match tree.resolve(path).ok()?.1.kind {
        NodeKind::File { digest: Some(digest), size, .. } => Some((digest, size)),
        _ => None,
    }
}

/// The bytes of small texts by path. What is missing or too large for a text is left out.
pub(super) fn texts(image: &ImageView, tree: &Tree, paths: &[&str]) -> Result<BTreeMap<String, String>> {
    let mut names: BTreeMap<Digest, Vec<&str>> = BTreeMap::new();
    for path in paths {
        if let Some((digest, _)) = file(tree, path).filter(|(_, size)| *size <= TEXT) {
            names.entry(digest).or_default().push(path);
        }
    }
    // One name for each content: bytes that two names share would stream by twice.
    let wanted: Vec<&str> = names.values().filter_map(|names| names.first().copied()).collect();
    let mut found = BTreeMap::new();
    let taken = image.extract(tree, &wanted, &mut |path, _, data| {
        let mut bytes = Vec::new();
        data.read_to_end(&mut bytes)?;
        found.insert(path.to_owned(), String::from_utf8_lossy(&bytes).into_owned());
        Ok(())
    });
    taken.map_err(|error| failed(&error))?;
    for names in names.values() {
        let Some(text) = names.first().and_then(|first| found.get(*first)).cloned() else { continue };
        for name in names {
            found.insert((*name).to_owned(), text.clone());
        }
    }
    Ok(found)
}

/// What a file is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Role {
    /// A boot file.
    Boot,
    /// A device tree.
    Tree,
}

/// A file that was looked into.
#[derive(Debug)]
pub(super) struct Seen {
    /// What it is, for a boot file.
    pub boot: Option<rkboot::BootFile>,
    /// Whether it begins as a boot file does.
    pub known: bool,
    /// What was found, until it is told.
    pub report: Report,
}

impl Seen {
    fn of(path: &str, role: Role, bytes: &[u8]) -> Self {
        match role {
            Role::Boot => {
                let (boot, report) = rkboot::examine(bytes, None);
                let known =
                    rkboot::idblock::is_v2(bytes) || rkboot::idblock::is_v1(bytes) || rkboot::fit::is_tree(bytes);
                Self { boot: Some(boot), known, report }
            }
            Role::Tree => {
                let (_, mut report) = dtbtool::scan(bytes);
                if let Ok(fdt) = dtbtool::Fdt::parse(bytes) {
                    let expectations =
                        dtbtool::Expectations { file_name: Some(path.to_owned()), ..dtbtool::Expectations::default() };
                    report.extend(dtbtool::check_board(&fdt, &expectations));
                }
                Self { boot: None, known: true, report }
            }
        }
    }
}

/// The artefacts of an archive by their digest.
#[derive(Debug)]
pub(super) struct Shelf {
    seen: BTreeMap<(Digest, Role), Seen>,
    left: u64,
    /// Contents that were not looked into.
    pub skipped: BTreeSet<Digest>,
}

impl Default for Shelf {
    fn default() -> Self {
        Self { seen: BTreeMap::new(), left: ARTEFACTS, skipped: BTreeSet::new() }
    }
}

impl Shelf {
    /// Looks into files, in one pass and each content once.
    pub(super) fn look(&mut self, image: &ImageView, tree: &Tree, paths: &[(String, Role)]) -> Result<()> {
        let mut wanted: BTreeMap<&str, (Digest, Role)> = BTreeMap::new();
        let mut chosen: BTreeSet<(Digest, Role)> = BTreeSet::new();
        for (path, role) in paths {
            let Some((digest, size)) = file(tree, path) else { continue };
            let known = self.seen.contains_key(&(digest, *role)) || chosen.contains(&(digest, *role));
            if known || wanted.contains_key(path.as_str()) {
                continue;
            }
            if size > ARTEFACT || size > self.left || self.seen.len().saturating_add(chosen.len()) >= COUNT {
                self.skipped.insert(digest);
                continue;
            }
            self.left = self.left.saturating_sub(size);
            wanted.insert(path, (digest, *role));
            chosen.insert((digest, *role));
        }
        let names: Vec<&str> = wanted.keys().copied().collect();
        let taken = image.extract(tree, &names, &mut |path, _, data| {
            let mut bytes = Vec::new();
            data.read_to_end(&mut bytes)?;
            if let Some((digest, role)) = wanted.get(path) {
                self.seen.insert((*digest, *role), Seen::of(path, *role, &bytes));
            }
            Ok(())
        });
        taken.map_err(|error| failed(&error))
    }

    /// What is known of a file.
    pub(super) fn get(&self, digest: Digest, role: Role) -> Option<&Seen> {
        self.seen.get(&(digest, role))
    }

    /// What was found in a file, the first time that it is asked for.
    pub(super) fn told(&mut self, digest: Digest, role: Role) -> Report {
        self.seen.get_mut(&(digest, role)).map(|seen| std::mem::take(&mut seen.report)).unwrap_or_default()
    }
}
