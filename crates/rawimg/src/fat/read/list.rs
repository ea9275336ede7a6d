//! Walking the directories.

use std::{collections::BTreeSet, io, ops::Range};

use imgcore::{CivilTime, Finding, ReadAt};
use zerocopy::FromBytes as _;

use super::{
    names::{self, LongName},
    raw::{RawEntry, RawLong},
    table::{End, Table},
    volume::{Entry, Parameters},
};

const ENTRY: usize = 32;
/// 65536 entries are the most a directory may have (Microsoft FAT specification 1.03, page 21).
const DIRECTORY_LIMIT: u64 = 65_536 * 32;
/// Files and directories of one file system.
const ENTRY_LIMIT: usize = 200_000;
/// Bytes of all paths together: deep trees of long names would fill the memory otherwise.
const PATH_LIMIT: usize = 32 * 1024 * 1024;
const DEPTH_LIMIT: usize = 64;
/// What the root directory is called in messages; no path looks like this, they are quoted.
const ROOT: &str = "the root directory";

const READ_ONLY_TO_ARCHIVE: u8 = 0x3f;
const LONG: u8 = 0x0f;
const VOLUME: u8 = 0x08;
const DIRECTORY: u8 = 0x10;

pub(super) struct Lister<'a, 'b> {
    parameters: &'a Parameters,
    part: &'a dyn ReadAt,
    table: &'a mut Table<'b>,
    entries: Vec<Entry>,
    label: Option<String>,
    findings: Vec<Finding>,
    path_bytes: usize,
    /// Whether everything was looked at.
    complete: bool,
}

/// A directory to be looked into.
struct Pending {
    path: String,
    depth: usize,
    /// The cluster that its `.` must name; `None` for the root.
    own: Option<u32>,
    /// The cluster that its `..` must name, 0 for the root.
    parent: u32,
    runs: Vec<Range<u32>>,
}

/// One record of a directory that is no long name, with the long name before it.
struct Record<'a> {
    raw: &'a RawEntry,
    long: LongName,
    place: Range<u64>,
}

impl<'a, 'b> Lister<'a, 'b> {
    pub(super) fn new(parameters: &'a Parameters, part: &'a dyn ReadAt, table: &'a mut Table<'b>) -> Self {
        Self {
            parameters,
            part,
            table,
            entries: Vec::new(),
            label: None,
            findings: Vec::new(),
            path_bytes: 0,
            complete: true,
        }
    }

    /// Entries, the root's label, findings, and whether everything was looked at.
    pub(super) fn finish(self) -> (Vec<Entry>, Option<String>, Vec<Finding>, bool) {
        (self.entries, self.label, self.findings, self.complete)
    }

    pub(super) fn walk(&mut self) -> io::Result<()> {
        let root = self.parameters.root_cluster;
        let runs = self.chain(root, ROOT, 44..48)?;
        let mut stack = vec![Pending { path: String::new(), depth: 0, own: None, parent: 0, runs }];
        while let Some(directory) = stack.pop() {
            let found = self.directory(&directory)?;
            // The first one is looked into first.
            stack.extend(found.into_iter().rev());
            if self.entries.len() >= ENTRY_LIMIT || self.path_bytes >= PATH_LIMIT {
                self.give_up(&format!("more than {ENTRY_LIMIT} files or {PATH_LIMIT} bytes of paths"));
                break;
            }
        }
        Ok(())
    }

    fn give_up(&mut self, what: &str) {
        self.complete = false;
        self.findings.push(Finding::error("FAT019", format!("{what}: this reader stops here")));
    }

    /// The runs of a chain; whatever is wrong with it becomes a finding.
    fn chain(&mut self, first: u32, name: &str, place: Range<u64>) -> io::Result<Vec<Range<u32>>> {
        // The entry whose chain this is comes next in the list; the root is none of them.
        let owner =
            if name == ROOT { 0 } else { u32::try_from(self.entries.len()).unwrap_or(u32::MAX).saturating_add(1) };
        let (runs, end) = self.table.chain(first, owner)?;
        let finding = match end {
            End::Proper => None,
            End::Loop(at) => {
                Some(Finding::error("FAT010", format!("the chain of {name} comes back to its cluster {at}")))
            }
            End::Crossed(at, other) => {
                let other = other.checked_sub(1).and_then(|other| self.entries.get(usize::try_from(other).ok()?));
                let other = other.map_or(ROOT.to_owned(), |entry| shown(&entry.path));
                Some(Finding::error("FAT011", format!("cluster {at} belongs to {name} and to {other}")))
            }
            End::Broken { cluster, value } => {
                let meaning = match value {
                    0 => "free".to_owned(),
                    0x0fff_fff7 => "bad".to_owned(),
                    value => format!("cluster {value}, which does not exist"),
                };
                Some(match cluster {
                    Some(from) => {
                        let message =
                            format!("the chain of {name} breaks off at cluster {from}: the next is {meaning}");
                        Finding::error("FAT012", message).at(self.table.place(from))
                    }
                    None => Finding::error("FAT012", format!("{name} begins at {meaning}")),
                })
            }
            End::TooMany => {
                self.give_up("too many fragments");
                None
            }
        };
        if let Some(mut finding) = finding {
            finding.range.get_or_insert(place);
            self.findings.push(finding);
        }
        Ok(runs)
    }

    /// Reads one directory and returns those in it.
    fn directory(&mut self, directory: &Pending) -> io::Result<Vec<Pending>> {
        let mut bytes = Vec::new();
        // (offset in the directory, offset in the file system)
        let mut places: Vec<(usize, u64)> = Vec::new();
        for run in &directory.runs {
            let range = self.parameters.bytes_of(run);
            let room = DIRECTORY_LIMIT.saturating_sub(bytes.len() as u64);
            let len = range.end.saturating_sub(range.start).min(room);
            places.push((bytes.len(), range.start));
            let from = bytes.len();
            bytes.resize(from.saturating_add(usize::try_from(len).unwrap_or_default()), 0);
            self.part.read_exact_at(range.start, bytes.get_mut(from..).unwrap_or_default())?;
            if range.end.saturating_sub(range.start) > room {
                let message = format!("{} has more than 65536 entries", shown(&directory.path));
                self.findings.push(Finding::error("FAT019", message).at(range));
                self.complete = false;
                break;
            }
        }
        let mut found = Vec::new();
        let mut names = BTreeSet::new();
        let mut long = LongName::default();
        let mut dots = 0;
        let mut at = 0_usize;
        for record in bytes.as_chunks::<ENTRY>().0 {
            let run = places.partition_point(|(start, _)| *start <= at).saturating_sub(1);
            let (start, offset) = places.get(run).copied().unwrap_or_default();
            let from = offset.saturating_add(at.saturating_sub(start) as u64);
            let place = from..from.saturating_add(ENTRY as u64);
            let index = at / ENTRY;
            at = at.saturating_add(ENTRY);
            let Ok(raw) = RawEntry::ref_from_bytes(record) else { continue };
            match (raw.base, raw.attributes & READ_ONLY_TO_ARCHIVE) {
                ([0, ..], _) => break,
                // Deleted. What long entries stood before it went with it.
                ([0xe5, ..], _) => long = LongName::default(),
                (_, LONG) => {
                    if let Ok(part) = RawLong::ref_from_bytes(record) {
                        long.push(part);
                    }
                }
                _ => {
                    let record = Record { raw, long: std::mem::take(&mut long), place };
                    if raw.attributes & VOLUME != 0 {
                        self.volume_label(directory, &record);
                    } else if raw.base.first() == Some(&b'.') {
                        dots = self.dot(directory, &record, index, dots);
                    } else if let Some(pending) = self.entry(directory, record, &mut names)? {
                        found.push(pending);
                    }
                }
            }
            if self.entries.len() >= ENTRY_LIMIT || self.path_bytes >= PATH_LIMIT {
                break;
            }
        }
        if long.waits() {
            let message = format!("{} ends with a long name without its file", shown(&directory.path));
            self.findings.push(Finding::warning("FAT015", message));
        }
        if directory.own.is_some() && dots != 2 && !directory.runs.is_empty() {
            let message = format!("{} does not begin with the entries \".\" and \"..\"", shown(&directory.path));
            self.findings.push(Finding::error("FAT016", message).at(self.start_of(directory)));
        }
        Ok(found)
    }

    fn start_of(&self, directory: &Pending) -> Range<u64> {
        let start = directory.runs.first().map_or(0, |run| self.parameters.bytes_of(run).start);
        start..start.saturating_add(64)
    }

    fn volume_label(&mut self, directory: &Pending, record: &Record<'_>) {
        let bytes = [record.raw.base.as_slice(), record.raw.extension.as_slice()].concat();
        if directory.own.is_none() && self.label.is_none() {
            self.label = Some(super::text(&bytes));
        } else {
            let message = format!("a volume label in {}, expected one in the root at most", shown(&directory.path));
            self.findings.push(Finding::warning("FAT016", message).at(record.place.clone()));
        }
    }

    /// Checks `.` and `..`; returns how many of the two were right so far.
    fn dot(&mut self, directory: &Pending, record: &Record<'_>, index: usize, dots: usize) -> usize {
        let cluster = first_cluster(record.raw);
        let expected = match (index, directory.own) {
            (0, Some(own)) => Some((*b".       ", own)),
            (1, Some(_)) => Some((*b"..      ", directory.parent)),
            _ => None,
        };
        let right = expected.is_some_and(|(name, own)| {
            record.raw.base == name
                && record.raw.extension == *b"   "
                && cluster == own
                && record.raw.attributes & DIRECTORY != 0
        });
        if right {
            return dots.saturating_add(1);
        }
        let name = names::short(record.raw).0;
        let message = match expected {
            Some((_, own)) => format!(
                "entry {index} of {} is {name:?} with cluster {cluster}, expected {:?} with cluster {own}",
                shown(&directory.path),
                if index == 0 { "." } else { ".." }
            ),
            None => format!("entry {index} of {} has the name {name:?}", shown(&directory.path)),
        };
        self.findings.push(Finding::error("FAT016", message).at(record.place.clone()));
        dots
    }

    /// A file or directory.
    fn entry(
        &mut self,
        directory: &Pending,
        record: Record<'_>,
        names: &mut BTreeSet<String>,
    ) -> io::Result<Option<Pending>> {
        let Record { raw, long, place } = record;
        let (short, mut good) = names::short(raw);
        let name = match long.finish(raw) {
            Ok(Some(units)) => {
                let (name, fine) = names::long(&units);
                good &= fine;
                name
            }
            Ok(None) => short.clone(),
            Err(()) => {
                let message =
                    format!("the long name in front of {} is not its own", shown(&join(&directory.path, &short)));
                self.findings.push(Finding::warning("FAT015", message).at(place.clone()));
                short.clone()
            }
        };
        let path = join(&directory.path, &name);
        if !good {
            let message = format!("{} has characters that FAT forbids", shown(&path));
            self.findings.push(Finding::error("FAT016", message).at(place.clone()));
        }
        let folded = names::folded(&name);
        let same = folded == short;
        if !names.insert(folded) || (!same && !names.insert(short.clone())) {
            let message = format!("the name {} is there twice", shown(&path));
            self.findings.push(Finding::error("FAT017", message).at(place.clone()));
        }
        self.path_bytes = self.path_bytes.saturating_add(path.len());
        let is_dir = raw.attributes & DIRECTORY != 0;
        let first = first_cluster(raw);
        let size = if is_dir { 0 } else { u64::from(raw.size.get()) };
        let runs = if first == 0 && !is_dir { Vec::new() } else { self.chain(first, &shown(&path), place.clone())? };
        if !is_dir {
            self.check_size(&path, first, size, &runs, place);
        }
        let extents = self.extents(&runs, (!is_dir).then_some(size));
        self.entries.push(Entry {
            path: path.clone(),
            short_name: short,
            size,
            is_dir,
            attributes: raw.attributes,
            modified: modified(raw),
            extents,
        });
        let depth = directory.depth.saturating_add(1);
        if is_dir && depth > DEPTH_LIMIT {
            self.give_up(&format!("directories more than {DEPTH_LIMIT} levels deep"));
            return Ok(None);
        }
        let parent = directory.own.unwrap_or(0);
        Ok((is_dir && !runs.is_empty()).then_some(Pending { path, depth, own: Some(first), parent, runs }))
    }

    fn check_size(&mut self, path: &str, first: u32, size: u64, runs: &[Range<u32>], place: Range<u64>) {
        let clusters = runs.iter().map(|run| u64::from(run.end.saturating_sub(run.start))).sum::<u64>();
        let cluster = self.parameters.cluster_bytes().max(1);
        let wanted = size.div_ceil(cluster);
        if clusters != wanted || (size == 0 && first != 0) {
            let message = format!("{} has {size} bytes, which need {wanted} clusters, but {clusters}", shown(path));
            self.findings.push(Finding::error("FAT013", message).at(place));
        }
    }

    /// Runs as bytes, cut at `size`.
    fn extents(&self, runs: &[Range<u32>], size: Option<u64>) -> Vec<Range<u64>> {
        let mut left = size.unwrap_or(u64::MAX);
        let mut extents = Vec::with_capacity(runs.len());
        for run in runs {
            let range = self.parameters.bytes_of(run);
            let len = range.end.saturating_sub(range.start).min(left);
            if len == 0 {
                break;
            }
            left = left.saturating_sub(len);
            extents.push(range.start..range.start.saturating_add(len));
        }
        extents
    }
}

fn first_cluster(raw: &RawEntry) -> u32 {
    (u32::from(raw.first_high.get()) << 16 | u32::from(raw.first_low.get())) & 0x0fff_ffff
}

fn modified(raw: &RawEntry) -> CivilTime {
    let (date, time) = (raw.date.get(), raw.time.get());
    let bits = |word: u16, shift: u32, count: u32| {
        let mask = 1_u16.checked_shl(count).unwrap_or(0).wrapping_sub(1);
        u8::try_from(word.checked_shr(shift).unwrap_or(0) & mask).unwrap_or(0)
    };
    CivilTime {
        year: u64::from(bits(date, 9, 7)).saturating_add(1980),
        month: bits(date, 5, 4),
        day: bits(date, 0, 5),
        hour: bits(time, 11, 5),
        minute: bits(time, 5, 6),
        second: bits(time, 0, 5).saturating_mul(2),
    }
}

fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

/// A path in a message.
fn shown(path: &str) -> String {
    if path.is_empty() { ROOT.to_owned() } else { format!("{path:?}") }
}
