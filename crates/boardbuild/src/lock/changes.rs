//! What `lock` would change, as a value: the old lock and what the origins answer go in, the new lock and a reviewable
//! difference come out. Nothing here asks anybody.
//!
//! A locked digest is never moved by what an origin says, only by a person who names the input.

use std::fmt::Write as _;

use imgcore::{Digest, Finding, Report};
use serde::Serialize;

use super::{Container, Lock, Locked, LockedImage, Unresolved};

/// The bytes that an origin gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// SHA-256 of the input.
    pub sha256: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// What it was taken out of.
    pub from: Option<Container>,
}

/// What came of asking an origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// These bytes.
    Found(Fact),
    /// Nothing, and why.
    Silent(String),
}

/// An origin and its answer.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Board that names the input.
    pub board: String,
    /// Role in that board.
    pub name: String,
    /// Where it comes from, in words.
    pub place: String,
    /// Licence that the board file says; the lock's is kept if it says none.
    pub licence: Option<String>,
    /// What the board is asked for by, where its name alone does not find it.
    pub given: Option<String>,
    /// Whether a person asked for this input to move.
    pub update: bool,
    /// The answer.
    pub answer: Answer,
}

/// An image and what its registry answers.
#[derive(Debug, Clone)]
pub struct AskedImage {
    /// The reference that was asked for.
    pub reference: String,
    /// `linux/arm64`.
    pub platform: String,
    /// Whether a person asked for it to move.
    pub update: bool,
    /// The image by digest, or why the registry did not say.
    pub answer: Result<LockedImage, String>,
}

/// What happens to one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// It was not in the lock.
    Added,
    /// It was in the lock as unresolved.
    Resolved,
    /// Same bytes.
    Unchanged,
    /// Same bytes; origin, licence or container are said otherwise.
    Amended,
    /// Other bytes, because a person asked for it.
    Moved,
    /// Other bytes, which nobody asked for: refused.
    Refused,
    /// Nobody answered: it stays as it is.
    Unchecked,
    /// Nobody answered, and nobody has seen the bytes.
    Unresolved,
    /// No board names it.
    Gone,
}

impl Kind {
    /// The word for people and programs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Resolved => "resolved",
            Self::Unchanged => "unchanged",
            Self::Amended => "amended",
            Self::Moved => "moved",
            Self::Refused => "refused",
            Self::Unchecked => "unchecked",
            Self::Unresolved => "unresolved",
            Self::Gone => "gone",
        }
    }
}

/// One side of a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Side {
    /// Where the bytes come from.
    pub origin: String,
    /// Their SHA-256; for an image the digest of its manifest.
    pub sha256: Digest,
    /// Their count.
    pub size: u64,
    /// Their licence.
    pub licence: Option<String>,
    /// What they were taken out of.
    pub from: Option<Container>,
}

impl Side {
    /// What it says, a line each.
    fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("{}, {} bytes", self.sha256, self.size), format!("  {}", self.origin)];
        if let Some(licence) = &self.licence {
            lines.push(format!("  licence {licence}"));
        }
        if let Some(Container { url, sha256, size, unpacked }) = &self.from {
            let mut text = format!("  from {sha256}, {size} bytes");
            if let Some(unpacked) = unpacked {
                let _ = write!(text, ", {unpacked} unpacked");
            }
            if let Some(url) = url {
                let _ = write!(text, ", {url}");
            }
            lines.push(text);
        }
        lines
    }
}

/// One entry of the difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// `board/role`, or the reference of an image.
    pub name: String,
    /// What happens.
    pub kind: Kind,
    /// What the lock says.
    pub old: Option<Side>,
    /// What the lock will say, or would.
    pub new: Option<Side>,
    /// Why nothing is known.
    pub why: Option<String>,
}

/// The whole difference and the lock after it.
#[derive(Debug, Clone)]
pub struct Changes {
    /// Entries in the order of the lock file.
    pub entries: Vec<Change>,
    /// The lock as it becomes. With a refused entry it must not be written.
    pub lock: Lock,
    /// A finding for each refused entry.
    pub report: Report,
}

impl Lock {
    /// Compares with what the origins answered. `all` says for which boards every role was asked: what these boards no
    /// longer name is gone.
    pub fn compare(&self, asked: Vec<Asked>, images: Vec<AskedImage>, all: &dyn Fn(&str) -> bool) -> Changes {
        let mut result = Changes { entries: Vec::new(), lock: self.clone(), report: Report::new() };
        let names: Vec<_> = asked.iter().map(|asked| (asked.board.clone(), asked.name.clone())).collect();
        let is_named = |board: &str, name: &str| names.iter().any(|(b, n)| b == board && n == name);
        for locked in self.sources.iter().filter(|locked| all(&locked.board)) {
            if !is_named(&locked.board, &locked.name) {
                result.lock.remove(&locked.board, &locked.name);
                result.push(format!("{}/{}", locked.board, locked.name), Kind::Gone, Some(locked.side()), None, None);
            }
        }
        for open in self.unresolved.iter().filter(|open| all(&open.board)) {
            if !is_named(&open.board, &open.name) {
                result.lock.remove(&open.board, &open.name);
                let why = Some(open.why.clone());
                result.push(format!("{}/{}", open.board, open.name), Kind::Gone, None, None, why);
            }
        }
        for asked in asked {
            result.input(self, asked);
        }
        for asked in images {
            result.image(self, asked);
        }
        result.entries.sort_by(|a, b| a.name.cmp(&b.name));
        result
    }
}

impl Locked {
    /// Whether taking `new` for this would let in bytes that nobody looked at: the input's, or those of what it is taken out
    /// of, which are read before the input's are known. A larger limit for the decoder counts as well.
    fn moves(&self, new: &Self) -> bool {
        if self.sha256 != new.sha256 || self.size != new.size {
            return true;
        }
        let (Some(old), Some(new)) = (&self.from, &new.from) else { return false };
        let raised = matches!((old.unpacked, new.unpacked), (Some(old), Some(new)) if new > old);
        old.sha256 != new.sha256 || old.size != new.size || raised
    }

    /// Keeps what the answer of the same origin does not say of the container.
    fn keep_container(&self, new: &mut Self) {
        if new.from.is_none() && self.origin == new.origin {
            new.from.clone_from(&self.from);
        }
        if let (Some(old), Some(new)) = (&self.from, &mut new.from)
            && old.sha256 == new.sha256
        {
            new.unpacked = new.unpacked.or(old.unpacked);
        }
    }

    fn side(&self) -> Side {
        Side {
            origin: self.origin.clone(),
            sha256: self.sha256,
            size: self.size,
            licence: self.licence.clone(),
            from: self.from.clone(),
        }
    }
}

impl LockedImage {
    fn side(&self) -> Side {
        let origin = format!("{} for {}", self.reference, self.platform);
        Side { origin, sha256: self.digest, size: self.size, licence: None, from: None }
    }
}

impl Changes {
    fn push(&mut self, name: String, kind: Kind, old: Option<Side>, new: Option<Side>, why: Option<String>) {
        self.entries.push(Change { name, kind, old, new, why });
    }

    fn input(&mut self, before: &Lock, asked: Asked) {
        let Asked { board, name, place, licence, given, update, answer } = asked;
        let cure = update_command(&board, &name, given.as_deref());
        let label = format!("{board}/{name}");
        let (old, open) = (before.find(&board, &name), before.find_unresolved(&board, &name));
        let kept = licence.or_else(|| {
            let old = old.and_then(|old| old.licence.clone());
            old.or_else(|| open.and_then(|open| open.licence.clone()))
        });
        match (answer, old) {
            (Answer::Silent(why), Some(old)) => {
                self.push(label, Kind::Unchecked, Some(old.side()), Some(old.side()), Some(why));
            }
            (Answer::Silent(why), None) => {
                // The reason of the first time stays, so that the file does not change with the weather.
                let why = open.filter(|open| open.origin == place).map_or(why, |open| open.why.clone());
                self.push(label, Kind::Unresolved, None, None, Some(why.clone()));
                self.lock.set_unresolved(Unresolved { board, name, origin: place, why, licence: kept });
            }
            (Answer::Found(Fact { sha256, size, from }), old) => {
                let mut new = Locked { board, name, origin: place, sha256, size, licence: kept, from };
                if let Some(old) = old {
                    old.keep_container(&mut new);
                }
                let kind = match old {
                    None if open.is_some() => Kind::Resolved,
                    None => Kind::Added,
                    Some(old) if old.moves(&new) => {
                        if update {
                            Kind::Moved
                        } else {
                            Kind::Refused
                        }
                    }
                    Some(old) if *old == new => Kind::Unchanged,
                    Some(_) => Kind::Amended,
                };
                self.push(label.clone(), kind, old.map(Locked::side), Some(new.side()), None);
                if let (Kind::Refused, Some(old)) = (kind, old) {
                    self.report.push(refused(&label, &old.side(), &new.side(), &cure));
                } else {
                    self.lock.set(new);
                }
            }
        }
    }

    fn image(&mut self, before: &Lock, asked: AskedImage) {
        let AskedImage { reference, platform, update, answer } = asked;
        let old = before.find_image(&reference, &platform);
        match (answer, old) {
            (Err(why), Some(old)) => {
                self.push(reference, Kind::Unchecked, Some(old.side()), Some(old.side()), Some(why));
            }
            (Err(why), None) => self.push(reference, Kind::Unresolved, None, None, Some(why)),
            (Ok(mut new), old) => {
                // What somebody wrote by hand, the registry does not say.
                if let Some(old) = old.filter(|old| old.digest == new.digest) {
                    new.unpacked = new.unpacked.or(old.unpacked);
                }
                let kind = match old {
                    None => Kind::Added,
                    Some(old) if old.digest == new.digest && *old == new => Kind::Unchanged,
                    Some(old) if old.digest == new.digest => Kind::Amended,
                    Some(_) if update => Kind::Moved,
                    Some(_) => Kind::Refused,
                };
                self.push(reference.clone(), kind, old.map(LockedImage::side), Some(new.side()), None);
                if let (Kind::Refused, Some(old)) = (kind, old) {
                    self.report.push(refused(
                        &reference,
                        &old.side(),
                        &new.side(),
                        &format!("cargo xtask lock --update {reference}"),
                    ));
                } else {
                    self.lock.set_image(new);
                }
            }
        }
    }

    /// Count of entries of a kind.
    pub fn count(&self, kind: Kind) -> usize {
        self.entries.iter().filter(|change| change.kind == kind).count()
    }

    /// The difference for people: what is unchanged is counted, everything else shown. Lines begin with `+` for what the
    /// lock will say, `-` for what it said, `?` for what nobody knows; what both sides say alike is left out.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let side = |text: &mut String, sign: char, side: &Side, other: Option<&Side>| {
            let other = other.map(Side::lines).unwrap_or_default();
            for line in side.lines().iter().filter(|line| !other.contains(line)) {
                let _ = writeln!(text, "{sign}   {line}");
            }
        };
        for Change { name, kind, old, new, why } in &self.entries {
            match kind {
                Kind::Unchanged => continue,
                Kind::Unchecked | Kind::Unresolved => {
                    let _ = writeln!(text, "? {name}: {}: {}", kind.name(), why.as_deref().unwrap_or_default());
                    continue;
                }
                _ => {
                    let _ = writeln!(text, "  {name}: {}", kind.name());
                }
            }
            if let Some(old) = old {
                side(&mut text, '-', old, new.as_ref());
            }
            if let Some(new) = new {
                side(&mut text, '+', new, old.as_ref());
            }
        }
        let mut counts: Vec<(Kind, usize)> = Vec::new();
        for change in &self.entries {
            match counts.iter_mut().find(|(kind, _)| *kind == change.kind) {
                Some((_, count)) => *count = count.saturating_add(1),
                None => counts.push((change.kind, 1)),
            }
        }
        counts.sort_by_key(|(kind, _)| *kind);
        let counts: Vec<_> = counts.iter().map(|(kind, count)| format!("{count} {}", kind.name())).collect();
        let _ = writeln!(text, "{}", if counts.is_empty() { "nothing to lock".to_owned() } else { counts.join(", ") });
        text
    }
}

/// The command that takes what the origin of an input gives. `given` is what the board was asked for by, if that is not a
/// name that is found among the boards.
pub(crate) fn update_command(board: &str, role: &str, given: Option<&str>) -> String {
    match given {
        Some(path) => format!("cargo xtask lock {path} --update {board}/{role}"),
        None => format!("cargo xtask lock --update {board}/{role}"),
    }
}

/// The finding of an input whose bytes moved though nobody asked.
fn refused(label: &str, old: &Side, new: &Side, cure: &str) -> Finding {
    let mut help = format!("look at what changed there; if the other bytes are meant: {cure}");
    if old.origin != new.origin {
        let _ = write!(help, "\nlocked from: {}", old.origin);
    }
    let words = |side: &Side| format!("{} ({} bytes)", side.sha256, side.size);
    let container = |side: &Side| match &side.from {
        Some(Container { sha256, size, unpacked: Some(unpacked), .. }) => {
            format!("{sha256} ({size} bytes, {unpacked} unpacked)")
        }
        Some(Container { sha256, size, .. }) => format!("{sha256} ({size} bytes)"),
        None => "none".to_owned(),
    };
    let (what, expected, found) = if (old.sha256, old.size) == (new.sha256, new.size) {
        ("its input is in another container than the locked one", container(old), container(new))
    } else {
        ("the origin gives other bytes than the locked ones", words(old), words(new))
    };
    Finding::error("SRC030", format!("{label}: {what}: expected {expected}, found {found}"))
        .of(new.origin.clone())
        .help(help)
}

#[cfg(test)]
mod tests {
    use imgcore::Epoch;

    use super::*;

    fn asked(name: &str, bytes: &str, update: bool) -> Asked {
        let fact = Fact { sha256: Digest::of(bytes.as_bytes()), size: bytes.len() as u64, from: None };
        Asked {
            board: "b".to_owned(),
            name: name.to_owned(),
            place: format!("https://h/{name}"),
            licence: None,
            given: None,
            update,
            answer: Answer::Found(fact),
        }
    }

    fn silent(name: &str) -> Asked {
        Asked { answer: Answer::Silent("no network".to_owned()), ..asked(name, "", false) }
    }

    fn compare(lock: &Lock, asked: Vec<Asked>) -> Changes {
        lock.compare(asked, Vec::new(), &|board| board == "b")
    }

    fn kinds(changes: &Changes) -> Vec<(&str, Kind)> {
        changes.entries.iter().map(|change| (change.name.as_str(), change.kind)).collect()
    }

    #[test]
    fn what_is_new_is_added_and_what_nobody_answers_is_unresolved() {
        let first = compare(&Lock::new(Epoch(0)), vec![asked("x", "1", false), silent("y")]);
        assert_eq!(kinds(&first), [("b/x", Kind::Added), ("b/y", Kind::Unresolved)]);
        assert_eq!(first.lock.find_unresolved("b", "y").unwrap().why, "no network");
        let again = compare(&first.lock, vec![asked("x", "1", false), silent("y")]);
        assert_eq!(kinds(&again), [("b/x", Kind::Unchanged), ("b/y", Kind::Unresolved)]);
        assert_eq!(again.lock, first.lock);
        let found = compare(&first.lock, vec![silent("x"), asked("y", "2", false)]);
        assert_eq!(kinds(&found), [("b/x", Kind::Unchecked), ("b/y", Kind::Resolved)]);
        assert!(found.lock.find("b", "x").is_some() && found.lock.unresolved.is_empty());
    }

    #[test]
    fn the_reason_of_the_first_time_stays_while_the_origin_does() {
        let mut lock = Lock::new(Epoch(0));
        lock.set_unresolved(Unresolved::new("b", "y", "https://h/y", "at first"));
        assert_eq!(compare(&lock, vec![silent("y")]).lock.unresolved[0].why, "at first");
        lock.set_unresolved(Unresolved::new("b", "y", "https://elsewhere/y", "at first"));
        assert_eq!(compare(&lock, vec![silent("y")]).lock.unresolved[0].why, "no network");
    }

    #[test]
    fn a_digest_moves_only_when_a_person_names_it() {
        let lock = compare(&Lock::new(Epoch(0)), vec![asked("x", "1", false), asked("y", "1", false)]).lock;
        let refused = compare(&lock, vec![asked("x", "22", false), asked("y", "1", false)]);
        assert_eq!(kinds(&refused), [("b/x", Kind::Refused), ("b/y", Kind::Unchanged)]);
        assert_eq!(refused.lock, lock);
        let said = refused.report.iter().next().unwrap().to_string();
        for part in [&Digest::of(b"1").to_string(), &Digest::of(b"22").to_string(), "SRC030", "--update b/x"] {
            assert!(said.contains(part), "{part}\n{said}");
        }
        let moved = compare(&lock, vec![asked("x", "22", true), asked("y", "1", false)]);
        assert_eq!(kinds(&moved), [("b/x", Kind::Moved), ("b/y", Kind::Unchanged)]);
        assert_eq!(moved.lock.find("b", "x").unwrap().size, 2);
        assert!(moved.report.is_empty());
        let text = moved.text();
        assert!(text.contains(&format!("-   {}, 1 bytes", Digest::of(b"1"))), "{text}");
        assert!(text.contains(&format!("+   {}, 2 bytes", Digest::of(b"22"))), "{text}");
        assert!(text.ends_with("1 unchanged, 1 moved\n"), "{text}");
    }

    #[test]
    fn a_container_moves_only_when_a_person_names_it() {
        let base = Container { url: None, sha256: Digest::of(b"deb"), size: 9, unpacked: Some(90) };
        let ask = |from: Option<Container>, update| {
            let mut asked = asked("x", "1", update);
            if let Answer::Found(fact) = &mut asked.answer {
                fact.from = from;
            }
            vec![asked]
        };
        let lock_of = |from| compare(&Lock::new(Epoch(0)), ask(from, false)).lock;
        let other = Container { sha256: Digest::of(b"other"), ..base.clone() };
        let moved = Container { url: Some("https://h/p.deb".to_owned()), ..base.clone() };
        for (old, new, kind) in [
            (Some(base.clone()), Some(base.clone()), Kind::Unchanged),
            (Some(base.clone()), Some(Container { unpacked: None, ..base.clone() }), Kind::Unchanged),
            (Some(base.clone()), Some(other.clone()), Kind::Refused),
            (Some(base.clone()), Some(Container { size: 10, ..base.clone() }), Kind::Refused),
            (Some(base.clone()), Some(Container { unpacked: Some(91), ..base.clone() }), Kind::Refused),
            (Some(base.clone()), Some(Container { unpacked: Some(89), ..base.clone() }), Kind::Amended),
            (Some(Container { unpacked: None, ..base.clone() }), Some(base.clone()), Kind::Amended),
            (Some(base.clone()), Some(moved), Kind::Amended),
            (None, Some(base.clone()), Kind::Amended),
            (Some(base.clone()), None, Kind::Unchanged),
        ] {
            let lock = lock_of(old.clone());
            let changes = compare(&lock, ask(new.clone(), false));
            assert_eq!(kinds(&changes), [("b/x", kind)], "{old:?} {new:?}");
            assert_eq!(changes.report.has_errors(), kind == Kind::Refused);
            assert_eq!(changes.lock == lock, matches!(kind, Kind::Refused | Kind::Unchanged));
            if kind == Kind::Refused {
                let named = compare(&lock, ask(new.clone(), true));
                assert_eq!(kinds(&named), [("b/x", Kind::Moved)]);
                assert_eq!(named.lock.sources[0].from, new);
            }
        }
        let refused = compare(&lock_of(Some(base)), ask(Some(other), false));
        let said = refused.report.iter().next().unwrap().to_string();
        for digest in [Digest::of(b"deb"), Digest::of(b"other")] {
            assert!(said.contains(&digest.to_string()), "{said}");
        }
        let text = refused.text();
        let line = |sign, digest| format!("{sign}     from {digest}, 9 bytes, 90 unpacked");
        let expected = [line('-', Digest::of(b"deb")), line('+', Digest::of(b"other"))].join("\n");
        assert_eq!(text, format!("  b/x: refused\n{expected}\n1 refused\n"));
    }

    #[test]
    fn licences_stay_unless_the_board_file_says_another() {
        let mut first = asked("x", "1", false);
        first.licence = Some("MIT".to_owned());
        let lock = compare(&Lock::new(Epoch(0)), vec![first]).lock;
        let kept = compare(&lock, vec![asked("x", "1", false)]);
        assert_eq!((kinds(&kept)[0].1, kept.lock.sources[0].licence.as_deref()), (Kind::Unchanged, Some("MIT")));
        let mut other = asked("x", "1", false);
        other.licence = Some("ISC".to_owned());
        let other = compare(&lock, vec![other]);
        assert_eq!((kinds(&other)[0].1, other.lock.sources[0].licence.as_deref()), (Kind::Amended, Some("ISC")));
    }

    #[test]
    fn what_no_board_names_is_gone_where_every_role_was_asked() {
        let mut lock = compare(&Lock::new(Epoch(0)), vec![asked("x", "1", false), asked("y", "1", false)]).lock;
        lock.set_unresolved(Unresolved::new("b", "z", "https://h/z", "w"));
        let changes = compare(&lock, vec![asked("x", "1", false)]);
        assert_eq!(kinds(&changes), [("b/x", Kind::Unchanged), ("b/y", Kind::Gone), ("b/z", Kind::Gone)]);
        assert_eq!((changes.lock.sources.len(), changes.lock.unresolved.len()), (1, 0));
        let other = lock.compare(vec![asked("x", "1", false)], Vec::new(), &|_| false);
        assert_eq!(other.lock, lock);
    }

    #[test]
    fn a_tag_that_moved_is_refused_unless_it_is_named() {
        let image = |digest: &[u8]| LockedImage {
            reference: "h/i:v1".to_owned(),
            platform: "linux/arm64".to_owned(),
            digest: Digest::of(digest),
            size: 5,
            unpacked: None,
        };
        let ask = |update, answer| {
            vec![AskedImage { reference: "h/i:v1".to_owned(), platform: "linux/arm64".to_owned(), update, answer }]
        };
        let first = Lock::new(Epoch(0)).compare(Vec::new(), ask(false, Ok(image(b"1"))), &|_| false);
        assert_eq!(kinds(&first), [("h/i:v1", Kind::Added)]);
        let lock = first.lock;
        for (update, answer, kind, digest) in [
            (false, Ok(image(b"1")), Kind::Unchanged, Digest::of(b"1")),
            (false, Ok(image(b"2")), Kind::Refused, Digest::of(b"1")),
            (true, Ok(image(b"2")), Kind::Moved, Digest::of(b"2")),
            (false, Err("down".to_owned()), Kind::Unchecked, Digest::of(b"1")),
        ] {
            let changes = lock.compare(Vec::new(), ask(update, answer), &|_| false);
            assert_eq!((kinds(&changes)[0].1, changes.lock.images[0].digest), (kind, digest));
            assert_eq!(changes.report.has_errors(), kind == Kind::Refused);
        }
    }
}
