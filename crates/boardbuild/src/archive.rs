//! Overlay and installer images of anybody, held against what only Talos' imager and nodes know: the tree that they look
//! for, the options, the artefacts and where they are written. Who made an archive also decides how much is in it, so every
//! loop has an end and every layer streams by a few times at most.

mod artefacts;
mod installer;
mod overlay;
mod sayings;
pub(crate) mod secrets;
mod shelf;
mod verify;

use std::{collections::BTreeSet, path::Path};

use imgcore::{Digest, Finding, Report};
use ocipack::read::{ArchiveView, ImageView, Tree};

pub(crate) use self::verify::verify;
use self::{sayings::Sayings, shelf::Shelf};
use crate::{board::Board, build::ARCH, error::Result};

/// Images of an archive that are looked into: an index has one for each platform.
pub(crate) const IMAGES: usize = 16;

/// What an image is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An overlay image.
    Overlay,
    /// An installer image.
    Installer,
    /// Something else.
    Other,
}

impl Kind {
    /// In a word.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Overlay => "overlay image",
            Self::Installer => "installer image",
            Self::Other => "image",
        }
    }

    fn of(tree: &Tree) -> Self {
        let below = |folder: &str| {
            tree.iter().any(|(path, _)| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/')))
        };
        if below("usr/install") || below("overlay") {
            Self::Installer
        } else if below("installers") || below("artifacts") || below("profiles") {
            Self::Overlay
        } else {
            Self::Other
        }
    }
}

/// What was found out about an archive.
#[derive(Debug)]
pub(crate) struct Judged {
    /// What it is for.
    pub kind: Kind,
    /// What was found.
    pub report: Report,
    /// What is in it, in a line each.
    pub lines: Vec<String>,
}

/// The board that an archive is asked about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// The board.
    pub board: &'a Board,
    /// Its scenario; its default if missing.
    pub boot: Option<&'a str>,
}

/// One image while it is looked at.
#[derive(Clone, Copy)]
struct Subject<'a> {
    image: &'a ImageView,
    tree: &'a Tree,
    name: &'a str,
    /// Folder of the artefacts.
    root: &'a str,
}

/// Whether a file is of this kind by its name, as who looks for it writes it.
fn ends(path: &str, ending: &str) -> bool {
    Path::new(path).extension().is_some_and(|found| found == ending)
}

/// What is known so far.
#[derive(Debug, Default)]
struct Judge {
    sayings: Sayings,
    lines: Vec<String>,
    shelf: Shelf,
    /// Boot files that have their line.
    named: BTreeSet<Digest>,
    /// Unified kernel images that were looked into.
    kernels: BTreeSet<Digest>,
}

/// Judges the images of an archive whose structure was checked.
///
/// # Errors
/// The medium; a scenario that the board does not have.
pub(crate) fn judge(view: &ArchiveView, asked: Option<Asked<'_>>) -> Result<Judged> {
    if let Some(asked) = asked {
        asked.board.scenario(asked.boot)?;
    }
    let mut judge = Judge::default();
    let mut found = Kind::Other;
    let platforms: BTreeSet<_> = view
        .images()
        .filter_map(|image| image.platform.as_ref())
        .map(|platform| platform.architecture.as_str())
        .collect();
    for image in view.images().take(IMAGES) {
        let (tree, _) = image.tree_with_digests();
        let kind = Kind::of(&tree);
        if found == Kind::Other {
            found = kind;
        }
        let name = image.platform.as_ref().map_or_else(|| "an image without platform".to_owned(), ToString::to_string);
        let root = if kind == Kind::Installer { talosimg::installer::ARTIFACTS } else { "artifacts" };
        let subject = Subject { image, tree: &tree, name: &name, root };
        match kind {
            Kind::Overlay => judge.overlay(subject)?,
            Kind::Installer => judge.installer(subject)?,
            Kind::Other => {}
        }
        let overlay = kind == Kind::Overlay || tree.iter().any(|(path, _)| path.starts_with("overlay/"));
        match asked {
            Some(asked) if kind != Kind::Other && overlay => judge.for_board(subject, asked)?,
            Some(Asked { board, .. }) if kind == Kind::Installer && board.overlay.is_some() => {
                let message = format!("the installer image has no overlay, and {} needs its own", board.name);
                let finding = Finding::error("VFY002", message).help("build the installer image of this board");
                judge.sayings.say(&name, finding);
            }
            _ => {}
        }
    }
    let more = view.images().count();
    if more > IMAGES {
        judge.lines.push(format!("{more} images: the first {IMAGES} were looked into"));
    }
    if !judge.shelf.skipped.is_empty() {
        judge.lines.push(format!("artefacts that were not looked into: {}", judge.shelf.skipped.len()));
    }
    if found == Kind::Overlay {
        for arch in ["amd64", ARCH].into_iter().filter(|arch| !platforms.contains(*arch)) {
            let finding = Finding::warning("OVL114", format!("the overlay has no image for linux/{arch}"));
            judge.sayings.say(
                "index",
                finding.help(
                    "the imager runs the overlay's installer on its own host: add the executable for that architecture",
                ),
            );
        }
    }
    if let (Some(asked), Kind::Other) = (asked, found) {
        let message =
            format!("--board {} asks about an overlay or installer image, this is neither of them", asked.board.name);
        judge.sayings.say("index", Finding::error("VFY002", message));
    }
    Ok(Judged { kind: found, report: judge.sayings.finish(), lines: judge.lines })
}
