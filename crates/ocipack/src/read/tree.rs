//! The files of an image: its layers on top of each other, whiteouts applied. Nothing is unpacked to a disk.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read},
};

use imgcore::{Digest, Finding, Hasher, Report, Severity};

use super::{
    ImageView, LayerView, Limits,
    findings::{Findings, quote},
    paths,
    tar::{EntryKind, Header},
    walk::{Budget, End, Failure, Marked, Next, walk},
};
use crate::{Error, ErrorKind, portable, rules};

/// As many links as Linux follows.
const LINK_LIMIT: usize = 40;

/// The entries of an image by path, whiteouts applied.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree {
    nodes: BTreeMap<String, Node>,
}

/// One file, folder or symbolic link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub kind: NodeKind,
    /// Permission bits.
    pub mode: u32,
    /// Seconds since 1970.
    pub mtime: u64,
    /// Extended attributes by their full name.
    pub xattrs: BTreeMap<String, Vec<u8>>,
    /// The layer that it comes from, 0 for the lowest.
    pub layer: usize,
}

/// What a [`Node`] is. Hard links are files like all others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NodeKind {
    /// A regular file.
    File {
        /// Count of its bytes.
        size: u64,
        /// Where its bytes start in the tar of the layer named by `source`.
        offset: u64,
        /// The layer that holds its bytes; another one than the node's for a hard link into a lower layer.
        source: usize,
        /// SHA-256 of its bytes, if it was asked for.
        digest: Option<Digest>,
    },
    /// A folder.
    Dir,
    /// A symbolic link.
    Symlink {
        /// Its target, as it stands there.
        target: String,
    },
}

/// What a layer does to the files below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The layer, 0 for the lowest.
    pub layer: usize,
    /// The path in the image.
    pub path: String,
    /// What the layer puts there; `None` if it deletes what was there.
    pub now: Option<Node>,
    /// What a lower layer had put there.
    pub before: Option<Node>,
}

impl NodeKind {
    /// `file`, `folder` or `symbolic link`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::File { .. } => "file",
            Self::Dir => "folder",
            Self::Symlink { .. } => "symbolic link",
        }
    }
}

impl Tree {
    /// Entries by path, sorted by its bytes.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.nodes.iter().map(|(path, node)| (path.as_str(), node))
    }

    /// Count of entries.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// What stands at a path itself, links not followed.
    pub fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// What a path leads to, links followed inside the image, and where that is.
    ///
    /// # Errors
    /// Nothing there, or links in a circle.
    pub fn resolve(&self, path: &str) -> Result<(String, &Node), Error> {
        let missing = |at: &str| {
            // Among its neighbours only: an image may have a quarter of a million names.
            let (folder, _) = paths::split(at);
            let neighbours = below(&self.nodes, folder).map(|(path, _)| path.as_str());
            let neighbours = neighbours.filter(|path| paths::split(path).0 == folder).take(10_000);
            let nearest = imgcore::nearest(at, neighbours).map(str::to_owned);
            Error::from(ErrorKind::Missing { path: path.to_owned(), nearest })
        };
        let mut at = path.trim_matches('/').to_owned();
        for _ in 0..=LINK_LIMIT {
            at = match self.step(&at) {
                Step::There(node) => return Ok((at, node)),
                Step::Link(next) => next,
                Step::Missing => return Err(missing(&at)),
            };
        }
        Err(ErrorKind::LinkLoop { path: path.to_owned(), limit: LINK_LIMIT }.into())
    }

    /// Follows the first link on the way, from the root on: it decides where the rest lies.
    fn step(&self, at: &str) -> Step<'_> {
        for (end, _) in at.match_indices('/').chain([(at.len(), "")]) {
            let (here, rest) = at.split_at_checked(end).unwrap_or((at, ""));
            match self.nodes.get(here) {
                Some(Node { kind: NodeKind::Symlink { target }, .. }) => {
                    let Some(base) = paths::follow(here, target) else { return Step::Missing };
                    return Step::Link(format!("{base}{rest}").trim_matches('/').to_owned());
                }
                Some(node) if end == at.len() => return Step::There(node),
                Some(Node { kind: NodeKind::Dir, .. }) => {}
                Some(_) | None => return Step::Missing,
            }
        }
        Step::Missing
    }

    /// Reads all layers of an image.
    pub(super) fn read(image: &ImageView, digests: bool, budget: &mut Budget) -> (Self, Report) {
        let (tree, _, report) = Self::read_with(image, digests, budget, None);
        (tree, report)
    }

    /// As [`read`](Self::read); what each layer does is added to `changes`, if it is given.
    pub(super) fn read_with(
        image: &ImageView,
        digests: bool,
        budget: &mut Budget,
        changes: Option<Vec<Change>>,
    ) -> (Self, Vec<Change>, Report) {
        let mut builder = Builder {
            changes,
            image,
            tree: Self::default(),
            findings: Findings::default(),
            entries: 0,
            path_bytes: 0,
            full: false,
            cleared: BTreeSet::new(),
            digests,
        };
        for (index, layer) in image.layers.iter().enumerate() {
            // A layer that is missing was reported when the archive was opened.
            if layer.data.is_some() && !builder.full {
                builder.layer(index, layer, budget);
            }
        }
        builder.portability();
        (builder.tree, builder.changes.unwrap_or_default(), builder.findings.finish())
    }
}

enum Step<'a> {
    There(&'a Node),
    Link(String),
    Missing,
}

struct Builder<'a> {
    changes: Option<Vec<Change>>,
    image: &'a ImageView,
    tree: Tree,
    findings: Findings,
    entries: u64,
    path_bytes: u64,
    full: bool,
    /// Folders that hold nothing of lower layers any more: looking again costs time and finds nothing.
    cleared: BTreeSet<String>,
    digests: bool,
}

impl Builder<'_> {
    fn layer(&mut self, index: usize, layer: &LayerView, budget: &mut Budget) {
        self.cleared.clear();
        let limits = self.image.options.limits.clone();
        let walked = walk(layer, &limits, budget, &mut |header, data| {
            let digest = if self.digests && header.kind == EntryKind::File { Some(hash(data)?) } else { None };
            self.entry(index, layer, header, digest);
            Ok(if self.full { Next::Stop } else { Next::Go })
        });
        layer_findings(layer, walked, &mut self.findings);
    }

    fn say(&mut self, code: &'static str, layer: &LayerView, header: &Header, message: String) {
        let range = header.offset..header.data.saturating_add(header.size);
        self.findings.add(rules::finding(code, message).of(layer.name()).at(range));
    }

    fn entry(&mut self, index: usize, layer: &LayerView, header: &Header, digest: Option<Digest>) {
        let shown = || quote(&header.name);
        let path = match paths::clean(&header.name) {
            // The root itself: every image has one.
            Ok(path) if path.is_empty() => return,
            Ok(path) => path,
            Err((code, problem)) => return self.say(code, layer, header, format!("path {} {problem}", shown())),
        };
        let limits = &self.image.options.limits;
        self.entries = self.entries.saturating_add(1);
        let attributes = header.xattrs.iter().map(|(name, value)| name.len().saturating_add(value.len()));
        let named = attributes.fold(path.len(), usize::saturating_add);
        self.path_bytes = self.path_bytes.saturating_add(named as u64);
        if self.entries > limits.entries || self.path_bytes > limits.path_bytes {
            let (entries, bytes) = (limits.entries, limits.path_bytes);
            let message =
                format!("{} is behind the {entries} entries or {bytes} bytes of paths that are read", shown());
            self.full = true;
            return self.say(rules::ENTRY_COUNT, layer, header, message);
        }
        let (parent, name) = paths::split(&path);
        if let Some(above) = self.obstacle(parent) {
            let message = format!("{} lies below {}, which is no folder", shown(), quote(above.as_bytes()));
            return self.say(rules::ENTRY_BELOW, layer, header, message);
        }
        if parent.split('/').any(|name| name.starts_with(".wh.")) {
            return self.say(rules::WHITEOUT, layer, header, format!("{} lies below a whiteout", shown()));
        }
        if let Some(hidden) = name.strip_prefix(".wh.") {
            return self.whiteout(index, layer, header, parent, hidden);
        }
        let Some(kind) = self.kind(index, layer, header, &path, digest) else { return };
        match self.tree.nodes.get(&path) {
            // Folders are repeated by honest tools, with the same meaning.
            Some(old) if old.layer == index && !(kind == NodeKind::Dir && old.kind == NodeKind::Dir) => {
                self.say(rules::ENTRY_TWICE, layer, header, format!("{} is in the layer twice", shown()));
                return;
            }
            Some(old) if old.kind == NodeKind::Dir && kind != NodeKind::Dir => {
                self.remove_below(&path, index);
                if self.has_below(&path) {
                    let message =
                        format!("{} takes the place of a folder into which its layer has put something", shown());
                    return self.say(rules::ENTRY_BELOW, layer, header, message);
                }
            }
            _ => {}
        }
        self.add_parents(&path, index);
        let xattrs = header.xattrs.clone();
        let node = Node { kind, mode: header.mode, mtime: header.mtime, xattrs, layer: index };
        if self.changes.is_none() {
            self.tree.nodes.insert(path, node);
            return;
        }
        let before = self.tree.nodes.insert(path.clone(), node.clone());
        // A folder that is repeated as it was is no change.
        let same =
            |before: &Node| before.kind == NodeKind::Dir && node.kind == NodeKind::Dir && before.mode == node.mode;
        if !before.as_ref().is_some_and(same) {
            self.change(index, path, Some(node), before.filter(|before| before.layer < index));
        }
    }

    fn change(&mut self, layer: usize, path: String, now: Option<Node>, before: Option<Node>) {
        if let Some(changes) = &mut self.changes {
            changes.push(Change { layer, path, now, before });
        }
    }

    fn remove(&mut self, path: &str, index: usize) {
        if let Some(before) = self.tree.nodes.remove(path) {
            self.change(index, path.to_owned(), None, Some(before));
        }
    }

    /// What the entry becomes, unless it is nothing an image should hold.
    fn kind(
        &mut self,
        index: usize,
        layer: &LayerView,
        header: &Header,
        path: &str,
        digest: Option<Digest>,
    ) -> Option<NodeKind> {
        let shown = || quote(&header.name);
        match header.kind {
            EntryKind::Dir => Some(NodeKind::Dir),
            EntryKind::File => Some(NodeKind::File { size: header.size, offset: header.data, source: index, digest }),
            EntryKind::Symlink => {
                let Ok(target) = std::str::from_utf8(&header.target) else {
                    self.say(rules::ENTRY_PATH, layer, header, format!("the target of link {} is not UTF-8", shown()));
                    return None;
                };
                if paths::follow(path, target).is_none() {
                    let target = quote(target.as_bytes());
                    self.say(
                        rules::LINK_OUT,
                        layer,
                        header,
                        format!("link {} to {target} leads out of the image", shown()),
                    );
                    return None;
                }
                Some(NodeKind::Symlink { target: target.to_owned() })
            }
            EntryKind::HardLink => {
                let target = paths::clean(&header.target);
                let linked = target.as_ref().ok().and_then(|target| self.tree.nodes.get(target));
                match linked.map(|node| &node.kind) {
                    Some(kind @ (NodeKind::File { .. } | NodeKind::Symlink { .. })) => Some(kind.clone()),
                    found => {
                        let problem = match (target, found) {
                            (Err((_, problem)), _) => problem,
                            (Ok(_), Some(_)) => "is a folder",
                            (Ok(_), None) => "is not there",
                        };
                        let message = format!("hard link {}: its target {} {problem}", shown(), quote(&header.target));
                        self.say(rules::HARD_LINK, layer, header, message);
                        None
                    }
                }
            }
            EntryKind::Other(kind) => {
                let what = match kind {
                    b'3' => "a character device",
                    b'4' => "a block device",
                    b'6' => "a pipe",
                    _ => "of an unknown kind",
                };
                self.say(rules::ENTRY_KIND, layer, header, format!("{} is {what}", shown()));
                None
            }
        }
    }

    /// The nearest thing above a path that is no folder.
    fn obstacle(&self, parent: &str) -> Option<String> {
        let mut parent = parent;
        while !parent.is_empty() {
            match self.tree.nodes.get(parent).map(|node| &node.kind) {
                // A folder stands below folders only.
                Some(NodeKind::Dir) => return None,
                Some(_) => return Some(parent.to_owned()),
                None => parent = paths::split(parent).0,
            }
        }
        None
    }

    /// Adds folders that no layer names, as everybody who unpacks does.
    fn add_parents(&mut self, path: &str, index: usize) {
        let mut parent = paths::split(path).0;
        while !parent.is_empty() && !self.tree.nodes.contains_key(parent) {
            let node = Node { kind: NodeKind::Dir, mode: 0o755, mtime: 0, xattrs: BTreeMap::new(), layer: index };
            self.tree.nodes.insert(parent.to_owned(), node);
            parent = paths::split(parent).0;
        }
    }

    fn whiteout(&mut self, index: usize, layer: &LayerView, header: &Header, parent: &str, hidden: &str) {
        let shown = || quote(&header.name);
        match hidden {
            ".wh..opq" => self.remove_below(parent, index),
            "" | "." | ".." => {
                self.say(
                    rules::WHITEOUT,
                    layer,
                    header,
                    format!("whiteout {} names nothing that can be deleted", shown()),
                );
            }
            // Names of the old aufs driver; they mean nothing to an image.
            _ if hidden.starts_with(".wh.") => {}
            _ => {
                let path = if parent.is_empty() { hidden.to_owned() } else { format!("{parent}/{hidden}") };
                self.remove_below(&path, index);
                // What this layer itself has put there stays, with its folder.
                if self.tree.nodes.get(&path).is_some_and(|node| node.layer < index) && !self.has_below(&path) {
                    self.remove(&path, index);
                }
            }
        }
    }

    /// Removes what lower layers put below a folder.
    fn remove_below(&mut self, path: &str, index: usize) {
        if !self.cleared.insert(path.to_owned()) {
            return;
        }
        let gone: Vec<String> =
            self.below(path).filter(|(_, node)| node.layer < index).map(|(path, _)| path.clone()).collect();
        for path in gone.iter().rev() {
            // A folder of a lower layer in which this layer has put something stays.
            if !self.has_below(path) {
                self.remove(path, index);
            }
        }
    }

    fn has_below(&self, path: &str) -> bool {
        self.below(path).next().is_some()
    }

    fn below(&self, path: &str) -> impl Iterator<Item = (&String, &Node)> {
        below(&self.tree.nodes, path)
    }

    /// Paths that only Linux can tell apart or keep.
    fn portability(&mut self) {
        let severity = self.image.options.portability;
        let owner = self.image.name();
        let mut say = |severity, code, message: String| {
            self.findings.add(Finding { severity, ..rules::finding(code, message).of(&owner) });
        };
        let mut folded: BTreeMap<String, &str> = BTreeMap::new();
        for path in self.tree.nodes.keys() {
            let (parent, name) = paths::split(path);
            // Only the last name: those above have their own entries.
            if let Some(problem) = portable::problem(name) {
                // Systemd's units have backslashes in every Linux image: worth a word, not a refusal.
                let severity = if portable::is_device(name) { severity } else { severity.min(Severity::Warning) };
                say(severity, rules::NOT_PORTABLE, format!("path {} {problem}", quote(path.as_bytes())));
            }
            // Names below a folder that collides collide with it; folding the last one only says each thing once.
            if let Some(first) = folded.insert(format!("{parent}/{}", portable::fold(name)), path) {
                let (first, second) = (quote(first.as_bytes()), quote(path.as_bytes()));
                say(
                    severity,
                    rules::COLLISION,
                    format!("{first} and {second} are one file where case or Unicode form does not count"),
                );
            }
        }
    }
}

/// Everything below a folder.
fn below<'a>(nodes: &'a BTreeMap<String, Node>, path: &str) -> impl Iterator<Item = (&'a String, &'a Node)> {
    // `0` follows `/`: everything that starts with the path and a slash lies between them.
    let (from, to) = match path {
        "" => (String::new(), None),
        _ => (format!("{path}/"), Some(format!("{path}0"))),
    };
    nodes.range(from..).take_while(move |(path, _)| to.as_ref().is_none_or(|to| *path < to))
}

/// Holds each layer to its digests, in passing, within one budget. What is inside is not looked at.
pub(crate) fn check_layers(layers: impl Iterator<Item = io::Result<LayerView>>, limits: &Limits) -> Report {
    let (mut findings, mut budget) = (Findings::default(), Budget::default());
    for layer in layers {
        match layer {
            Ok(layer) => {
                let walked = walk(&layer, limits, &mut budget, &mut |_, _| Ok(Next::Go));
                layer_findings(&layer, walked, &mut findings);
            }
            Err(error) => findings.say(rules::MEDIUM, error.to_string()),
        }
    }
    findings.finish()
}

/// What reading a layer to its end has shown.
fn layer_findings(layer: &LayerView, walked: Result<End, Failure>, findings: &mut Findings) {
    let owner = layer.name();
    match walked {
        Ok(end) => {
            if let Some(expected) = layer.diff_id.filter(|expected| *expected != end.diff_id) {
                let message = format!("the tar inside has digest {}, the configuration says {expected}", end.diff_id);
                findings.add(rules::finding(rules::DIFF_ID, message).of(&owner));
            }
            if !end.clean {
                let message = "the tar inside has no end mark, or data behind it";
                findings.add(rules::finding(rules::LAYER_UNENDED, message).of(&owner));
            }
        }
        Err(Failure::Stopped) => {}
        Err(Failure::Bomb(bomb)) => {
            let help = "nobody's root file system shrinks like this; if yours does, raise the limits";
            findings.add(rules::finding(rules::BOMB, bomb.to_string()).of(&owner).help(help));
        }
        Err(Failure::Tar { offset, problem }) => {
            let range = offset..offset.saturating_add(512);
            findings.add(rules::finding(rules::LAYER_TAR, problem).of(&owner).at(range));
        }
        Err(Failure::Compressed(error) | Failure::Visitor(error)) => {
            let message = format!("{} data is damaged: {error}", layer.compression);
            findings.add(rules::finding(rules::COMPRESSION, message).of(&owner));
        }
    }
}

fn hash(data: &mut dyn Read) -> io::Result<Digest> {
    let (mut data, mut hasher, mut buffer) = (Marked(data), Hasher::new(), [0; 16 * 1024]);
    loop {
        match data.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(count) => hasher.update(buffer.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
