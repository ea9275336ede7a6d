//! Names of entries: what is refused, what is wanted, what is near.

use super::fault::{CANDIDATES, Fault};

/// PATH_MAX of Linux with its NUL is one more.
const PATH_LIMIT: usize = 4095;
/// Deeper than any real tree; keeps work per entry small.
const DEPTH_LIMIT: usize = 128;
/// Entries that are read of one archive.
const ENTRY_LIMIT: u64 = 1_000_000;
/// Bytes of a name that a message shows.
const SHOWN: usize = 120;

/// A foreign name for a message: quoted, control characters visible, cut.
pub(super) fn shown(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name.get(..SHOWN).unwrap_or(name)).into_owned();
    if name.len() > SHOWN {
        return format!("{text:?}… ({} bytes)", name.len());
    }
    if text.chars().all(|c| c.is_ascii_graphic() && c != '"') { text } else { format!("{text:?}") }
}

/// The name of an entry with `.` and empty parts taken out; empty for the root itself.
pub(super) fn clean(raw: &[u8]) -> Result<Vec<u8>, Fault> {
    let refuse = |problem| Err(Fault::hostile(raw, problem));
    if raw.len() > PATH_LIMIT {
        return refuse("has a name of more than 4095 bytes");
    }
    if raw.contains(&0) {
        return refuse("holds a NUL in its name");
    }
    let drive = matches!(raw, [b'a'..=b'z' | b'A'..=b'Z', b':', b'/' | b'\\', ..]);
    if drive || raw.starts_with(b"/") || raw.starts_with(b"\\") {
        return refuse("has an absolute name");
    }
    // A backslash is a letter on Linux and separates folders on Windows; `..` is refused in both meanings.
    if raw.split(|byte| matches!(byte, b'/' | b'\\')).any(|part| part == b"..") {
        return refuse("leaves the folder it is in with `..`");
    }
    let parts = raw.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".");
    let mut name = Vec::with_capacity(raw.len());
    for (depth, part) in parts.enumerate() {
        if depth >= DEPTH_LIMIT {
            return refuse("is more than 128 levels deep");
        }
        if depth > 0 {
            name.push(b'/');
        }
        name.extend_from_slice(part);
    }
    Ok(name)
}

/// The folders above an entry, the nearest first.
pub(super) fn parents(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    let slashes = name.iter().enumerate().rev().filter(|(_, byte)| **byte == b'/');
    slashes.filter_map(|(at, _)| name.get(..at))
}

/// Counts entries and refuses too many.
#[derive(Debug, Default)]
pub(super) struct Count(u64);

impl Count {
    pub(super) fn next(&mut self, name: &[u8]) -> Result<(), Fault> {
        self.0 = self.0.saturating_add(1);
        if self.0 > ENTRY_LIMIT {
            return Err(Fault::hostile(name, "comes after a million others, more are not read"));
        }
        Ok(())
    }
}

/// The name of a wanted member, with at most one `*` in each part.
#[derive(Debug, Clone)]
pub(crate) struct Pattern {
    text: String,
    parts: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Pattern {
    /// Reads a pattern as a board file has it.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let wrong = |problem: &str| Err(format!("member {text:?} {problem}"));
        if text.starts_with('/') || text.ends_with('/') || text.len() > PATH_LIMIT {
            return wrong("is not the relative path of a file");
        }
        for part in text.split('/').filter(|part| *part != "." && !part.is_empty()) {
            if part == ".." {
                return wrong("leaves the archive with `..`");
            }
            match part.split_once('*') {
                Some((_, after)) if after.contains('*') => return wrong("has more than one `*` in one part"),
                Some((before, after)) => parts.push((before.into(), Some(after.into()))),
                None => parts.push((part.into(), None)),
            }
        }
        if parts.is_empty() {
            return wrong("is empty");
        }
        Ok(Self { text: text.to_owned(), parts })
    }

    /// One name and no other.
    pub(super) fn exact(name: &[u8]) -> Self {
        let parts = name.split(|byte| *byte == b'/').map(|part| (part.to_vec(), None)).collect();
        Self { text: shown(name), parts }
    }

    /// The name, if it stands for no other.
    pub(super) fn as_exact(&self) -> Option<Vec<u8>> {
        let parts: Option<Vec<_>> =
            self.parts.iter().map(|(part, star)| star.is_none().then_some(part.as_slice())).collect();
        Some(parts?.join(&b'/'))
    }

    pub(super) fn matches(&self, name: &[u8]) -> bool {
        let mut parts = self.parts.iter();
        for part in name.split(|byte| *byte == b'/') {
            let Some((before, after)) = parts.next() else { return false };
            let fits = match after {
                None => part == before.as_slice(),
                Some(after) => part.strip_prefix(before.as_slice()).is_some_and(|rest| rest.ends_with(after)),
            };
            if !fits {
                return false;
            }
        }
        parts.next().is_none()
    }

    /// How alike a name is: equal parts at the end count most, then equal letters of the last part.
    fn likeness(&self, name: &[u8]) -> usize {
        let parts = name.rsplit(|byte| *byte == b'/').zip(self.parts.iter().rev());
        let same = parts.take_while(|(part, (wanted, star))| star.is_none() && part == wanted).count();
        let last = name.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let (before, after) = self.parts.last().map_or((&[][..], &[][..]), |(before, after)| {
            (before.as_slice(), after.as_deref().unwrap_or(before.as_slice()))
        });
        let front = last.iter().zip(before).take_while(|(a, b)| a.eq_ignore_ascii_case(b)).count();
        let back = last.iter().rev().zip(after.iter().rev()).take_while(|(a, b)| a.eq_ignore_ascii_case(b)).count();
        same.saturating_mul(1 << 16).saturating_add(front).saturating_add(back)
    }
}

impl std::fmt::Display for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// What matched so far, and what came nearest.
#[derive(Debug)]
pub(super) struct Matches<'a> {
    pattern: &'a Pattern,
    found: Vec<Vec<u8>>,
    near: Vec<(usize, Vec<u8>)>,
    other: Option<(Vec<u8>, &'static str)>,
}

impl<'a> Matches<'a> {
    pub(super) fn new(pattern: &'a Pattern) -> Self {
        Self { pattern, found: Vec::new(), near: Vec::new(), other: None }
    }

    /// Hears of a file or a link; `true` for one that matches.
    pub(super) fn offer(&mut self, name: &[u8]) -> Result<bool, Fault> {
        if self.pattern.matches(name) {
            if self.found.iter().any(|known| known == name) {
                return Err(Fault::hostile(name, "is there twice"));
            }
            if self.found.len() <= CANDIDATES {
                self.found.push(name.to_vec());
            }
            return Ok(true);
        }
        let likeness = self.pattern.likeness(name);
        if self.near.len() < CANDIDATES || self.near.last().is_some_and(|(least, _)| likeness > *least) {
            let at = self.near.partition_point(|(known, _)| *known >= likeness);
            self.near.insert(at, (likeness, name.to_vec()));
            self.near.truncate(CANDIDATES);
        }
        Ok(false)
    }

    /// Hears of something that is neither file nor link.
    pub(super) fn other(&mut self, name: &[u8], kind: &'static str) -> Result<(), Fault> {
        if self.found.iter().any(|known| known == name) {
            return Err(Fault::hostile(name, "is there twice, as two things"));
        }
        if self.other.is_none() && self.pattern.matches(name) {
            self.other = Some((name.to_vec(), kind));
        }
        Ok(())
    }

    /// Whether nothing matched yet.
    pub(super) fn none(&self) -> bool {
        self.found.is_empty()
    }

    /// The one that matched.
    pub(super) fn one(self) -> Result<Vec<u8>, Fault> {
        let mut found = self.found;
        match (found.len(), self.other) {
            (0, Some((name, kind))) => Err(Fault::not_a_file(&name, kind)),
            (0, None) => Err(Fault::Member {
                problem: format!("no member {}", self.pattern),
                candidates: self.near.iter().map(|(_, name)| shown(name)).collect(),
            }),
            (1, Some((name, kind))) if found.first() == Some(&name) => Err(Fault::not_a_file(&name, kind)),
            // A pattern is for files; a folder that fits as well is no second file.
            (1, _) => Ok(found.pop().unwrap_or_default()),
            _ => {
                let shown: Vec<_> = found.iter().take(CANDIDATES).map(|name| shown(name)).collect();
                let problem = format!("{} fits more than one member, expected exactly one", self.pattern);
                Err(Fault::Member { problem, candidates: shown })
            }
        }
    }
}
