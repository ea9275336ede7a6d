//! Looks for a few files from the top layer down. What an upper layer decides needs no layer below it, so those need
//! not even be there.
//!
//! ```
//! use std::{io::Read as _, sync::Arc};
//! use imgcore::{Blob, Epoch, NoProgress};
//! use ocipack::{Entry, Image, Platform, archive, layer, read};
//!
//! let one = |path: &str| layer::build(&[Entry::file(path, 0o644, Blob::from_bytes("text", *b"hello"))], Epoch(0));
//! let image = Image::new(Platform::new("linux", "arm64"), vec![one("boot/below")?, one("boot/above")?], Epoch(0));
//! let mut file = Vec::new();
//! archive::plan(&[image], &archive::Options::default())?.write_to(&mut file)?;
//! let (view, _) = read::open(Arc::new(file));
//! let view = view.ok_or("no image")?;
//! let image = view.images().next().ok_or("no image")?;
//!
//! let mut search = read::Search::new(image, &["boot/above"]);
//! while let Some(index) = search.needs() {
//!     search.read(&image.layers[index], &NoProgress, &mut |_, _, data| data.read_to_end(&mut Vec::new()).map(drop))?;
//! }
//! assert_eq!(search.layers_read(), 1);
//! let (found, report) = search.finish();
//! assert!(report.is_empty());
//! assert!(matches!(&found[0], read::Found::File { size: 5, .. }));
//! # Ok::<(), Box<dyn std::error::Error>>(())
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
    io::{self, Read},
};

use imgcore::{Finding, Progress, Report, Severity};

use super::{
    ImageView, LayerView, Limits,
    findings::{Findings, quote},
    paths,
    tar::{EntryKind, Header},
    walk::{Budget, Failure, Marked, Next, walk},
};
use crate::{Error, ErrorKind, portable, rules};

/// As many links as Linux follows. Each may cost another pass over the layers.
const LINK_LIMIT: usize = 40;
/// Names beside a wanted one that are remembered to say which is nearest.
const NEIGHBOURS: usize = 1000;

/// What became of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A file. Its bytes went to the sink.
    File {
        /// Where it is, links followed.
        at: String,
        /// Count of its bytes.
        size: u64,
        /// The layer that holds its bytes, 0 for the lowest.
        layer: usize,
    },
    /// Something that has no bytes: `folder`, `device`.
    Other(&'static str),
    /// Nothing is there.
    Missing {
        /// A path that is there and nearly the same.
        nearest: Option<String>,
    },
}

/// Takes a file: the numbers of the paths (as given, from 0) whose file it is, its size, its bytes.
pub type FileSink<'a> = dyn FnMut(&[usize], u64, &mut dyn Read) -> io::Result<()> + 'a;

/// A search for files in one image. It asks for layers by number and reads what it is given.
///
/// A file is found in the uppermost layer that has it, unless a layer above has deleted it or put something else in its
/// place or above it. Links are followed inside the image. Entries that have nothing to do with the wanted paths matter
/// only where they show that the layer is hostile: paths that leave the image, that lie below a link of their own layer,
/// or are too long or too many, and hard links that lead out are errors; devices, paths that are no text and symbolic
/// links that climb are warnings; names that differ only by case are nothing, unless a wanted name is one of them.
#[derive(Debug)]
pub struct Search<'a> {
    image: &'a ImageView,
    targets: Vec<Target>,
    /// Layers below this one are not read yet in this pass.
    next: usize,
    read: BTreeSet<usize>,
    findings: Findings,
    budget: Budget,
    counts: Counts,
    failed: bool,
    /// By passes before this one.
    unpacked: u64,
}

#[derive(Debug)]
struct Target {
    /// Where it is looked for.
    at: String,
    /// The name whose folder a relative link starts from.
    stands_at: String,
    /// Layers from this one up do not count: a hard link means what its layer saw.
    below: usize,
    links: usize,
    state: State,
    /// Folders on the way that an upper layer has as folders.
    folders: BTreeSet<String>,
    neighbours: BTreeSet<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Open,
    /// To be looked for again from the top.
    Again,
    Done(Found),
}

/// What one layer says of one place.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    File { size: u64 },
    Dir,
    Symlink(String),
    HardLink(String),
    Other(&'static str),
}

/// What one layer says of everything on the way to the targets.
#[derive(Default)]
struct Layer {
    seen: BTreeMap<String, Seen>,
    deleted: BTreeSet<String>,
    emptied: BTreeSet<String>,
    links: BTreeSet<String>,
    full: bool,
}

/// What one pass over the layers has seen.
#[derive(Debug, Default)]
struct Counts {
    entries: u64,
    path_bytes: u64,
}

impl<'a> Search<'a> {
    /// A search for paths in an image.
    pub fn new(image: &'a ImageView, paths: &[&str]) -> Self {
        let layers = image.layers.len();
        let target = |path: &&str| {
            let at = paths::clean(path.trim_start_matches('/').as_bytes()).unwrap_or_default();
            let missing = State::Done(Found::Missing { nearest: None });
            let state = if at.is_empty() { missing } else { State::Open };
            let (stands_at, folders, neighbours) = (at.clone(), BTreeSet::new(), BTreeSet::new());
            Target { at, stands_at, below: layers, links: 0, state, folders, neighbours }
        };
        Self {
            image,
            targets: paths.iter().map(target).collect(),
            next: layers,
            read: BTreeSet::new(),
            findings: Findings::default(),
            budget: Budget::default(),
            counts: Counts::default(),
            failed: false,
            unpacked: 0,
        }
    }

    /// The layer that must be read next, `None` when everything is known.
    pub fn needs(&mut self) -> Option<usize> {
        if self.failed {
            return None;
        }
        if self.next == 0 || !self.targets.iter().any(|target| target.state == State::Open) {
            for target in &mut self.targets {
                if target.state == State::Open {
                    let nearest = imgcore::nearest(&target.at, target.neighbours.iter().map(String::as_str));
                    target.state = State::Done(Found::Missing { nearest: nearest.map(str::to_owned) });
                }
            }
            let again = self.targets.iter_mut().filter(|target| target.state == State::Again);
            let from = again.map(|target| {
                target.state = State::Open;
                target.below
            });
            self.next = from.max().filter(|from| *from > 0)?;
            // Each pass is fair by itself, all together have the limit of one.
            self.unpacked = self.unpacked.saturating_add(self.budget.unpacked());
            self.budget = Budget::default();
            self.counts = Counts::default();
            let limit = self.image.options.limits.unpacked;
            if self.unpacked > limit {
                let message =
                    format!("links lead through the layers again and again: more than {limit} bytes unpacked");
                self.findings.say(rules::BOMB, message);
                self.failed = true;
                return None;
            }
        }
        self.next.checked_sub(1)
    }

    /// Count of different layers that were read.
    pub fn layers_read(&self) -> usize {
        self.read.len()
    }

    /// Bytes that came out of the layers, as often as they were read.
    pub fn unpacked(&self) -> u64 {
        self.unpacked.saturating_add(self.budget.unpacked())
    }

    /// Reads the layer that [`needs`](Self::needs) asked for, with its data. Bytes of wanted files go to `sink`, with the
    /// numbers of the paths (as given, from 0) whose file it is, and their size. They are good only if the report in the
    /// end has no error.
    ///
    /// # Errors
    /// What `sink` answers, or that the user stopped. What is wrong with the layer goes into the report.
    pub fn read(&mut self, layer: &LayerView, progress: &dyn Progress, sink: &mut FileSink<'_>) -> Result<(), Error> {
        let Some(index) = self.next.checked_sub(1) else { return Ok(()) };
        self.next = index;
        self.read.insert(index);
        let limits = self.image.options.limits.clone();
        let Self { targets, findings, budget, counts, .. } = self;
        let ways = ways(targets, index);
        let mut pass = Pass { ways, layer: Layer::default(), findings, counts, view: layer, limits: limits.clone() };
        let walked = walk(layer, &limits, budget, &mut |header, data| {
            if progress.cancelled() {
                return Err(io::Error::other("cancelled"));
            }
            if let Some((numbers, size)) = pass.entry(header) {
                sink(&numbers, size, &mut Marked(data))?;
            }
            Ok(if pass.layer.full { Next::Stop } else { Next::Go })
        });
        let found = pass.layer;
        let owner = layer.name();
        let mut broken = |code, message: String| {
            self.failed = true;
            self.findings.add(rules::finding(code, message).of(&owner));
        };
        match walked {
            Ok(end) => {
                if let Some(expected) = layer.diff_id.filter(|expected| *expected != end.diff_id) {
                    let message =
                        format!("the tar inside has digest {}, the configuration says {expected}", end.diff_id);
                    broken(rules::DIFF_ID, message);
                }
                if !end.clean {
                    let message = "the tar inside has no end mark, or data behind it";
                    self.findings.add(rules::finding(rules::LAYER_UNENDED, message).of(&owner));
                }
            }
            Err(Failure::Stopped) => self.failed = true,
            Err(Failure::Bomb(bomb)) => broken(rules::BOMB, bomb.to_string()),
            Err(Failure::Tar { offset, problem }) => {
                broken(rules::LAYER_TAR, format!("{problem} (byte {offset} of its tar)"));
            }
            Err(Failure::Compressed(error)) => {
                broken(rules::COMPRESSION, format!("{} data is damaged: {error}", layer.compression));
            }
            Err(Failure::Visitor(source)) => return Err(ErrorKind::Write { source }.into()),
        }
        for target in self.targets.iter_mut().filter(|target| target.state == State::Open && index < target.below) {
            target.decide(index, &found, self.image.layers.len());
        }
        Ok(())
    }

    /// What became of each path, in the order in which they were given, and what was found wrong on the way.
    pub fn finish(self) -> (Vec<Found>, Report) {
        let state = |target: Target| match target.state {
            State::Done(found) => found,
            State::Open | State::Again => Found::Missing { nearest: None },
        };
        (self.targets.into_iter().map(state).collect(), self.findings.finish())
    }
}

/// Every place that matters for the targets that a layer may decide: the wanted paths and the folders above them, by
/// their folded form.
fn ways(targets: &[Target], index: usize) -> Ways {
    let mut ways = Ways::default();
    for (number, target) in targets.iter().enumerate() {
        if target.state != State::Open || index >= target.below {
            continue;
        }
        for place in above(&target.at).chain([target.at.as_str()]) {
            ways.places.insert(place.to_owned());
            ways.folded.entry(portable::fold(place)).or_default().insert(place.to_owned());
        }
        ways.wanted.entry(target.at.clone()).or_default().push(number);
    }
    ways
}

#[derive(Default)]
struct Ways {
    wanted: BTreeMap<String, Vec<usize>>,
    places: BTreeSet<String>,
    folded: BTreeMap<String, BTreeSet<String>>,
}

/// The folders above a path, the uppermost first.
fn above(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').filter_map(|(at, _)| path.get(..at))
}

/// One layer as it streams by.
struct Pass<'a> {
    ways: Ways,
    layer: Layer,
    findings: &'a mut Findings,
    counts: &'a mut Counts,
    view: &'a LayerView,
    limits: Limits,
}

impl Pass<'_> {
    fn say(&mut self, severity: Severity, code: &'static str, header: &Header, message: String) {
        let range = header.offset..header.data.saturating_add(header.size);
        let finding = rules::finding(code, message).of(self.view.name()).at(range);
        self.findings.add(Finding { severity, ..finding });
    }

    /// Takes notice of an entry. `Some` if its bytes are wanted.
    fn entry(&mut self, header: &Header) -> Option<(Vec<usize>, u64)> {
        let shown = quote(&header.name);
        self.counts.entries = self.counts.entries.saturating_add(1);
        self.counts.path_bytes = self.counts.path_bytes.saturating_add(header.name.len() as u64);
        let (entries, bytes) = (self.limits.entries, self.limits.path_bytes);
        if self.counts.entries > entries || self.counts.path_bytes > bytes {
            self.layer.full = true;
            let message = format!("{shown} is behind the {entries} entries or {bytes} bytes of paths that are read");
            self.say(Severity::Error, rules::ENTRY_COUNT, header, message);
            return None;
        }
        let path = match paths::clean(&header.name) {
            Ok(path) if path.is_empty() => return None,
            Ok(path) => path,
            Err((code, problem)) => {
                let harmless = std::str::from_utf8(&header.name).is_err() && !header.name.starts_with(b"/");
                let severity = if harmless { Severity::Warning } else { Severity::Error };
                self.say(severity, code, header, format!("path {shown} {problem}"));
                return None;
            }
        };
        if let Some(link) = above(&path).find(|above| self.layer.links.contains(*above)) {
            let message = format!("{shown} lies below {}, which is a link", quote(link.as_bytes()));
            self.say(Severity::Error, rules::ENTRY_BELOW, header, message);
            return None;
        }
        if above(&path).any(|above| above.starts_with(".wh.") || above.contains("/.wh.")) {
            self.say(Severity::Warning, rules::WHITEOUT, header, format!("{shown} lies below a whiteout"));
            return None;
        }
        let (parent, name) = paths::split(&path);
        if let Some(hidden) = name.strip_prefix(".wh.") {
            self.whiteout(parent, hidden);
            return None;
        }
        let seen = self.kind(header, &path);
        if matches!(seen, Seen::Symlink(_)) {
            self.layer.links.insert(path.clone());
        }
        self.collision(header, &path);
        self.remember(header, path, seen)
    }

    fn kind(&mut self, header: &Header, path: &str) -> Seen {
        let shown = quote(&header.name);
        match header.kind {
            EntryKind::File => Seen::File { size: header.size },
            EntryKind::Dir => Seen::Dir,
            EntryKind::Symlink => {
                let target = String::from_utf8_lossy(&header.target).into_owned();
                if paths::follow(path, &target).is_none() {
                    let message = format!("link {shown} to {} leads out of the image", quote(&header.target));
                    self.say(Severity::Warning, rules::LINK_OUT, header, message);
                }
                Seen::Symlink(target)
            }
            EntryKind::HardLink => match paths::clean(&header.target) {
                Ok(target) if !target.is_empty() => Seen::HardLink(target),
                problem => {
                    let problem = problem.err().map_or("is the root", |(_, problem)| problem);
                    let message = format!("hard link {shown}: its target {} {problem}", quote(&header.target));
                    self.say(Severity::Error, rules::HARD_LINK, header, message);
                    Seen::Other("hard link that leads out")
                }
            },
            EntryKind::Other(kind) => {
                let what = match kind {
                    b'3' => "character device",
                    b'4' => "block device",
                    b'6' => "pipe",
                    _ => "thing of unknown kind",
                };
                self.say(Severity::Warning, rules::ENTRY_KIND, header, format!("{shown} is a {what}"));
                Seen::Other(what)
            }
        }
    }

    /// A name that is a wanted one where case does not count: whoever unpacks elsewhere gets one of the two.
    fn collision(&mut self, header: &Header, path: &str) {
        let Some(exact) = self.ways.folded.get(&portable::fold(path)).filter(|exact| !exact.contains(path)) else {
            return;
        };
        let exact = exact.first().map_or_else(String::new, |exact| quote(exact.as_bytes()));
        let message =
            format!("{} and {exact} are one file where case or Unicode form does not count", quote(&header.name));
        self.say(Severity::Error, rules::COLLISION, header, message);
    }

    fn whiteout(&mut self, parent: &str, hidden: &str) {
        let path = if parent.is_empty() { hidden.to_owned() } else { format!("{parent}/{hidden}") };
        match hidden {
            ".wh..opq" if parent.is_empty() || self.ways.places.contains(parent) => {
                self.layer.emptied.insert(parent.to_owned());
            }
            _ if self.ways.places.contains(&path) => {
                self.layer.deleted.insert(path);
            }
            _ => {}
        }
    }

    /// Keeps what lies on a way, and refuses what a layer says twice of it.
    fn remember(&mut self, header: &Header, path: String, seen: Seen) -> Option<(Vec<usize>, u64)> {
        let parent = paths::split(&path).0;
        if !self.ways.places.contains(&path) {
            // A neighbour of a wanted file, for the message that it is missing.
            if self.ways.places.contains(parent) || parent.is_empty() {
                self.layer.seen.entry(path).or_insert(seen).neighbour();
                if self.layer.seen.len() > NEIGHBOURS.saturating_mul(2) {
                    let ways = &self.ways.places;
                    self.layer.seen.retain(|path, _| ways.contains(path));
                }
            }
            return None;
        }
        if let Some(before) = self.layer.seen.get(&path)
            && !(*before == Seen::Dir && seen == Seen::Dir)
        {
            let message = format!("{} is in the layer twice", quote(&header.name));
            self.say(Severity::Error, rules::ENTRY_TWICE, header, message);
            return None;
        }
        // Whatever is no folder cannot have something of its own layer below it.
        if seen != Seen::Dir && self.layer.seen.keys().any(|other| above(other).any(|above| above == path)) {
            let message =
                format!("{} takes the place of a folder into which its layer has put something", quote(&header.name));
            self.say(Severity::Error, rules::ENTRY_BELOW, header, message);
            return None;
        }
        let wanted = match &seen {
            Seen::File { size } => self.ways.wanted.get(&path).map(|numbers| (numbers.clone(), *size)),
            _ => None,
        };
        self.layer.seen.insert(path, seen);
        wanted
    }
}

impl Seen {
    /// A neighbour's kind does not matter.
    fn neighbour(&mut self) {
        *self = Self::Other("neighbour");
    }
}

impl Target {
    /// Decides what a layer says of the target, the uppermost folder first.
    fn decide(&mut self, index: usize, layer: &Layer, layers: usize) {
        let folder = paths::split(&self.at).0.to_owned();
        let beside = layer.seen.keys().filter(|path| paths::split(path).0 == folder);
        let room = NEIGHBOURS.saturating_sub(self.neighbours.len());
        self.neighbours.extend(beside.take(room).cloned());
        let mut gone = layer.emptied.contains("");
        let mut folders = Vec::new();
        let on_the_way: Vec<String> = above(&self.at).map(str::to_owned).collect();
        for above in on_the_way {
            gone |= layer.deleted.contains(&above) || layer.emptied.contains(&above);
            match layer.seen.get(&above) {
                Some(Seen::Dir) => folders.push(above),
                None => {}
                // A folder of an upper layer stands in its place, and what was below it is gone.
                Some(_) if self.folders.contains(&above) => gone = true,
                Some(Seen::Symlink(target)) => {
                    let rest = self.at.get(above.len()..).unwrap_or_default();
                    let next = paths::follow(&above, target).map(|base| format!("{base}{rest}"));
                    return self.go_on(next, layers, None);
                }
                Some(_) => return self.done(Found::Missing { nearest: None }),
            }
        }
        self.folders.extend(folders);
        if gone && !self.in_layer(layer) {
            return self.done(Found::Missing { nearest: None });
        }
        match layer.seen.get(&self.at) {
            Some(Seen::File { size }) => self.done(Found::File { at: self.at.clone(), size: *size, layer: index }),
            Some(Seen::Dir) => self.done(Found::Other("folder")),
            Some(Seen::Other(what)) => self.done(Found::Other(what)),
            Some(Seen::Symlink(target)) => {
                let next = paths::follow(&self.stands_at, target);
                self.go_on(next, layers, None);
            }
            Some(Seen::HardLink(target)) => {
                let stands_at = self.stands_at.clone();
                self.go_on(Some(target.clone()), index.saturating_add(1), Some(stands_at));
            }
            None if layer.deleted.contains(&self.at) => self.done(Found::Missing { nearest: None }),
            None => {}
        }
    }

    /// Whether the layer itself has put the target there.
    fn in_layer(&self, layer: &Layer) -> bool {
        layer.seen.contains_key(&self.at)
    }

    fn done(&mut self, found: Found) {
        let found = match found {
            Found::Missing { .. } => {
                let nearest = imgcore::nearest(&self.at, self.neighbours.iter().map(String::as_str));
                Found::Missing { nearest: nearest.map(str::to_owned) }
            }
            found => found,
        };
        self.state = State::Done(found);
    }

    /// Looks for another place, from layer `below - 1` down.
    fn go_on(&mut self, next: Option<String>, below: usize, stands_at: Option<String>) {
        self.links = self.links.saturating_add(1);
        let next = next.map(|next| next.trim_matches('/').to_owned());
        match next.filter(|next| !next.is_empty() && self.links <= LINK_LIMIT) {
            Some(next) => {
                self.stands_at = stands_at.unwrap_or_else(|| next.clone());
                self.at = next;
                self.below = below;
                self.folders.clear();
                self.neighbours.clear();
                self.state = State::Again;
            }
            None => self.done(Found::Missing { nearest: None }),
        }
    }
}
