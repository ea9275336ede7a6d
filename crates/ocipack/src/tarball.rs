//! A sorted tar stream, written by hand: nothing in it comes from the machine.

use std::{
    collections::{BTreeMap, btree_map::Entry as Slot},
    fmt,
    io::{self, Write},
};

use imgcore::{Blob, ByteSize, Epoch, Hasher, ReadAt as _};

use crate::{Error, ErrorKind, portable};

const BLOCK: u64 = 512;
const BLOCK_LEN: usize = 512;
/// The largest number in eleven octal digits: sizes and times in a ustar header.
const OCTAL_11: u64 = 0o777_7777_7777;
/// PATH_MAX of Linux with its NUL.
const PATH_LIMIT: usize = 4095;
/// NAME_MAX of Linux.
const NAME_LIMIT: usize = 255;
/// Levels of folders; our own reader and others stop somewhere behind it.
pub(crate) const DEPTH_LIMIT: usize = 128;

/// One file, folder or symbolic link.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Relative path with `/` between names: `usr/install/arm64/vmlinuz`.
    pub path: String,
    /// Permission bits, at most `0o7777`.
    pub mode: u32,
    /// What it is.
    pub kind: Kind,
}

/// What an [`Entry`] is.
#[derive(Debug, Clone)]
pub enum Kind {
    /// A regular file with these bytes.
    File(Blob),
    /// A folder.
    Dir,
    /// A symbolic link with this target.
    Symlink(String),
}

impl Entry {
    /// A regular file.
    pub fn file(path: impl Into<String>, mode: u32, data: Blob) -> Self {
        Self { path: path.into(), mode, kind: Kind::File(data) }
    }

    /// A folder. Folders above an entry are added with mode 0755 when nobody names them.
    pub fn dir(path: impl Into<String>, mode: u32) -> Self {
        Self { path: path.into(), mode, kind: Kind::Dir }
    }

    /// A symbolic link; its mode is 0777 as on Linux.
    pub fn symlink(path: impl Into<String>, target: impl Into<String>) -> Self {
        Self { path: path.into(), mode: 0o777, kind: Kind::Symlink(target.into()) }
    }

    /// Bytes of data behind the header.
    pub(crate) fn size(&self) -> u64 {
        match &self.kind {
            Kind::File(data) => data.size(),
            Kind::Dir | Kind::Symlink(_) => 0,
        }
    }
}

/// As `tar tvf` shows it, without owner and time.
impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = self.mode;
        match &self.kind {
            Kind::File(data) => write!(f, "{mode:04o} {:>11}  {}", ByteSize(data.size()).to_string(), self.path),
            Kind::Dir => write!(f, "{mode:04o} {:>11}  {}/", "", self.path),
            Kind::Symlink(target) => write!(f, "{mode:04o} {:>11}  {} -> {target}", "", self.path),
        }
    }
}

/// Checked entries in order.
#[derive(Debug, Clone)]
pub(crate) struct Tarball {
    entries: Vec<Entry>,
    epoch: Epoch,
}

impl Tarball {
    /// Checks and sorts entries, and adds the folders that nobody named.
    pub(crate) fn plan(entries: &[Entry], epoch: Epoch) -> Result<Self, Error> {
        if epoch.0 > OCTAL_11 {
            return Err(ErrorKind::Time { seconds: epoch.0 }.into());
        }
        let mut sorted: BTreeMap<String, Entry> = BTreeMap::new();
        for entry in entries {
            check(entry)?;
            match sorted.entry(entry.path.clone()) {
                Slot::Occupied(_) => return Err(ErrorKind::Duplicate { path: entry.path.clone() }.into()),
                Slot::Vacant(slot) => slot.insert(entry.clone()),
            };
        }
        for entry in entries {
            for (at, _) in entry.path.match_indices('/') {
                let (parent, _) = entry.path.split_at(at);
                let above = sorted.entry(parent.to_owned()).or_insert_with(|| Entry::dir(parent, 0o755));
                if !matches!(above.kind, Kind::Dir) {
                    let (path, parent) = (entry.path.clone(), parent.to_owned());
                    return Err(ErrorKind::NotADirectory { path, parent }.into());
                }
            }
        }
        let mut folded: BTreeMap<String, &str> = BTreeMap::new();
        for path in sorted.keys() {
            if let Some(first) = folded.insert(portable::fold(path), path) {
                return Err(ErrorKind::Collision { first: first.to_owned(), second: path.clone() }.into());
            }
        }
        Ok(Self { entries: sorted.into_values().collect(), epoch })
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Size of the stream, with the two zero blocks at its end.
    pub(crate) fn size(&self) -> u64 {
        let entries = self.entries.iter().map(|entry| headers(entry, self.epoch).len() as u64 + padded(entry.size()));
        entries.sum::<u64>() + 2 * BLOCK
    }

    pub(crate) fn write_to(&self, out: &mut dyn Write) -> Result<(), Error> {
        let mut buffer = vec![0; 64 * 1024];
        for entry in &self.entries {
            out.write_all(&headers(entry, self.epoch)).map_err(write_failed)?;
            if let Kind::File(data) = &entry.kind {
                copy(&entry.path, data, out, &mut buffer)?;
                let padding = padded(data.size()) - data.size();
                io::copy(&mut io::Read::take(io::repeat(0), padding), out).map_err(write_failed)?;
            }
        }
        out.write_all(&[0; 2 * BLOCK_LEN]).map_err(write_failed)
    }
}

pub(crate) fn write_failed(source: io::Error) -> Error {
    ErrorKind::Write { source }.into()
}

fn padded(size: u64) -> u64 {
    size.next_multiple_of(BLOCK)
}

/// Streams exactly the blob's size and holds it to its digest.
fn copy(path: &str, data: &Blob, out: &mut dyn Write, buffer: &mut [u8]) -> Result<(), Error> {
    let mut hasher = data.digest().map(|expected| (expected, Hasher::new()));
    let mut offset = 0;
    while offset < data.size() {
        let count = usize::try_from(data.size() - offset).unwrap_or(usize::MAX).min(buffer.len());
        let (part, _) = buffer.split_at_mut(count);
        data.read_exact_at(offset, part).map_err(|source| ErrorKind::Read {
            path: path.to_owned(),
            label: data.label().to_owned(),
            source,
        })?;
        if let Some((_, hasher)) = &mut hasher {
            hasher.update(part);
        }
        out.write_all(part).map_err(write_failed)?;
        offset += count as u64;
    }
    match hasher.map(|(expected, hasher)| (expected, hasher.finish())) {
        Some((expected, found)) if expected != found => {
            Err(ErrorKind::Changed { path: path.to_owned(), label: data.label().to_owned(), expected, found }.into())
        }
        _ => Ok(()),
    }
}

fn check(entry: &Entry) -> Result<(), Error> {
    let path = &entry.path;
    if let Some(problem) = path_problem(path) {
        return Err(ErrorKind::Path { path: path.clone(), problem }.into());
    }
    if entry.mode > 0o7777 {
        return Err(ErrorKind::Mode { path: path.clone(), mode: entry.mode }.into());
    }
    if let Kind::Symlink(target) = &entry.kind
        && let Some(problem) = target_problem(path, target)
    {
        return Err(ErrorKind::LinkTarget { path: path.clone(), target: target.clone(), problem }.into());
    }
    Ok(())
}

fn path_problem(path: &str) -> Option<&'static str> {
    if path.is_empty() {
        return Some("empty, expected a relative path");
    }
    if path.starts_with('/') {
        return Some("absolute, expected a path relative to the root of the image");
    }
    if path.len() > PATH_LIMIT {
        return Some("longer than 4095 bytes");
    }
    if path.chars().any(char::is_control) {
        return Some("holds a control character");
    }
    if path.split('/').count() > DEPTH_LIMIT {
        return Some("more than 128 levels deep");
    }
    let component = path.split('/').find_map(|name| match name {
        "" => Some("holds an empty name: two slashes in a row or one at the end"),
        "." => Some("holds `.`, expected plain names"),
        ".." => Some("holds `..`, which leaves the folder it is in"),
        _ if name.len() > NAME_LIMIT => Some("holds a name longer than 255 bytes"),
        _ if name.starts_with(".wh.") => Some("holds a name that starts with `.wh.`, which would delete a file below"),
        _ => None,
    });
    component.or_else(|| portable::problem(path))
}

fn target_problem(path: &str, target: &str) -> Option<&'static str> {
    if target.is_empty() || target.chars().any(char::is_control) {
        return Some("expected a target without control characters");
    }
    if target.len() > PATH_LIMIT {
        return Some("longer than 4095 bytes");
    }
    if target.starts_with('/') {
        return None;
    }
    let mut depth = path.split('/').count() - 1;
    for name in target.split('/') {
        match name {
            "" | "." => {}
            ".." if depth == 0 => return Some("leads out of the image"),
            ".." => depth -= 1,
            _ => depth += 1,
        }
    }
    None
}

/// The header block of an entry, with a PAX header in front when ustar cannot hold it.
fn headers(entry: &Entry, epoch: Epoch) -> Vec<u8> {
    let (kind, size) = (&entry.kind, entry.size());
    let name = match kind {
        Kind::Dir => format!("{}/", entry.path),
        _ => entry.path.clone(),
    };
    let target = match kind {
        Kind::Symlink(target) => target.as_str(),
        _ => "",
    };
    let mut records = Vec::new();
    let split = split_ustar(&name);
    if split.is_none() {
        records.push(("path", name.clone()));
    }
    if !target.is_ascii() || target.len() > 100 {
        records.push(("linkpath", target.to_owned()));
    }
    if size > OCTAL_11 {
        records.push(("size", size.to_string()));
    }
    // Records stand in the order of their keys.
    records.sort_unstable();

    let mut bytes = Vec::new();
    if !records.is_empty() {
        let records: String = records.iter().map(|(key, value)| record(key, value)).collect();
        let size = records.len() as u64;
        let header = Header { name: ("", "PaxHeaders.0/header"), mode: 0o644, size, kind: b'x', target: "" };
        bytes.extend_from_slice(&header.render(epoch));
        bytes.extend_from_slice(records.as_bytes());
        bytes.resize(bytes.len().next_multiple_of(BLOCK_LEN), 0);
    }
    // Readers that know no PAX see a cut name; those that do ignore it.
    let fallback: String = name.chars().filter(char::is_ascii).take(100).collect();
    let target: String = target.chars().filter(char::is_ascii).take(100).collect();
    let header = Header {
        name: split.unwrap_or(("", &fallback)),
        mode: entry.mode,
        size: if size > OCTAL_11 { 0 } else { size },
        kind: match kind {
            Kind::File(_) => b'0',
            Kind::Dir => b'5',
            Kind::Symlink(_) => b'2',
        },
        target: &target,
    };
    bytes.extend_from_slice(&header.render(epoch));
    bytes
}

/// One PAX record: its length in decimal, with the digits of the length, then `key=value` and a line feed.
fn record(key: &str, value: &str) -> String {
    let rest = format!(" {key}={value}\n");
    let mut length = rest.len();
    while length != rest.len() + length.to_string().len() {
        length = rest.len() + length.to_string().len();
    }
    format!("{length}{rest}")
}

/// Prefix and name as POSIX 1003.1-1988 splits them: at a slash, at most 155 and 100 bytes; `None` when that fails or
/// the name is not ASCII.
fn split_ustar(name: &str) -> Option<(&str, &str)> {
    if !name.is_ascii() {
        return None;
    }
    if name.len() <= 100 {
        return Some(("", name));
    }
    // The first slash that leaves at most 100 bytes behind it gives the shortest prefix. A slash at the very end
    // belongs to the name.
    let (at, _) = name.match_indices('/').find(|(at, _)| name.len() - at - 1 <= 100)?;
    (at <= 155 && at + 1 < name.len()).then(|| (&name[..at], &name[at + 1..]))
}

struct Header<'a> {
    name: (&'a str, &'a str),
    mode: u32,
    size: u64,
    kind: u8,
    target: &'a str,
}

impl Header<'_> {
    fn render(&self, epoch: Epoch) -> [u8; BLOCK_LEN] {
        let mut header = tar::Header::new_ustar();
        header.set_mode(self.mode);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(self.size);
        header.set_mtime(epoch.0);
        header.set_entry_type(tar::EntryType::new(self.kind));
        if let Some(ustar) = header.as_ustar_mut() {
            put(&mut ustar.prefix, self.name.0);
            put(&mut ustar.name, self.name.1);
            put(&mut ustar.linkname, self.target);
            // Go's writer and POSIX fill these for every entry; zero bytes make some readers warn.
            ustar.set_device_major(0);
            ustar.set_device_minor(0);
        }
        header.set_cksum();
        *header.as_bytes()
    }
}

fn put(field: &mut [u8], text: &str) {
    for (to, from) in field.iter_mut().zip(text.bytes()) {
        *to = from;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(path: &str) -> Entry {
        Entry::file(path, 0o644, Blob::from_bytes("t", *b"x"))
    }

    fn refusal(entries: &[Entry]) -> String {
        Tarball::plan(entries, Epoch(0)).expect_err("refused").to_string()
    }

    #[test]
    fn paths_that_leave_or_confuse_are_refused_by_name() {
        let long_name = "n".repeat(256);
        let long_path = "d/".repeat(2100) + "x";
        let deep = "d/".repeat(128) + "x";
        for (path, word) in [
            ("", "empty"),
            ("/etc/passwd", "absolute"),
            ("../x", "`..`"),
            ("a/../b", "`..`"),
            ("a/..", "`..`"),
            ("./a", "`.`"),
            ("a//b", "empty name"),
            ("a/", "empty name"),
            ("a\0b", "control"),
            ("a\nb", "control"),
            ("a\\b", "backslash"),
            ("a/aux.dtb", "Windows device"),
            ("a/.wh.b", ".wh."),
            (&long_name, "255"),
            (&long_path, "4095"),
            (&deep, "128 levels"),
        ] {
            let refused = refusal(&[text(path)]);
            assert!(refused.contains(word) && refused.starts_with("path \""), "{path:?}: {refused}");
        }
    }

    #[test]
    fn entries_that_contradict_each_other_are_refused() {
        assert_eq!(refusal(&[text("a"), text("a")]), "path \"a\" is given twice, expected once");
        assert_eq!(
            refusal(&[Entry::dir("a", 0o755), Entry::dir("a", 0o755)]),
            "path \"a\" is given twice, expected once"
        );
        assert_eq!(refusal(&[text("a/b"), text("a")]), "path \"a/b\" lies below \"a\", which is no directory");
        assert_eq!(
            refusal(&[Entry::symlink("a", "b"), text("a/c/d")]),
            "path \"a/c/d\" lies below \"a\", which is no directory"
        );
        assert!(refusal(&[text("x/A"), text("x/a")]).contains("\"x/A\" and \"x/a\" are one file"));
        assert!(refusal(&[text("é/1"), text("e\u{301}/2")]).contains("are one file"));
        assert!(refusal(&[Entry::dir("a", 0o40755)]).contains("mode 40755"));
        assert!(refusal(&[Entry::symlink("a/b", "../../etc")]).contains("leads out of the image"));
        assert!(refusal(&[Entry::symlink("a/b", "")]).contains("expected a target"));
        assert!(Tarball::plan(&[Entry::symlink("a/b", "../etc"), Entry::symlink("c", "/etc")], Epoch(0)).is_ok());
        assert!(Tarball::plan(&[], Epoch(1 << 33)).expect_err("refused").to_string().contains("2242"));
    }

    #[test]
    fn folders_are_added_once_and_named_ones_keep_their_mode() {
        let plan = Tarball::plan(&[text("a/b/c"), text("a-b"), Entry::dir("a", 0o700)], Epoch(0)).expect("valid");
        let lines: Vec<_> = plan.entries().iter().map(ToString::to_string).collect();
        assert_eq!(
            lines,
            ["0700              a/", "0644         1 B  a-b", "0755              a/b/", "0644         1 B  a/b/c"]
        );
    }

    #[test]
    fn names_are_split_as_posix_says() {
        let (n100, n101, p155, p156) = ("n".repeat(100), "n".repeat(101), "p".repeat(155), "p".repeat(156));
        for (name, expected) in [
            ("a/b".to_owned(), Some((String::new(), "a/b".to_owned()))),
            (n100.clone(), Some((String::new(), n100.clone()))),
            (n101.clone(), None),
            (format!("{p155}/{n100}"), Some((p155.clone(), n100.clone()))),
            (format!("{p156}/{n100}"), None),
            (format!("{p155}/{n101}"), None),
            (format!("a/{n100}"), Some(("a".to_owned(), n100.clone()))),
            // The slash of a folder counts and is never the split.
            (format!("a/{}/", "n".repeat(99)), Some(("a".to_owned(), format!("{}/", "n".repeat(99))))),
            (format!("{n100}/"), None),
            ("é".to_owned(), None),
        ] {
            let found = split_ustar(&name).map(|(a, b)| (a.to_owned(), b.to_owned()));
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn a_record_counts_its_own_length() {
        assert_eq!(record("path", "ab"), "11 path=ab\n");
        for length in 0..2000 {
            let record = record("path", &"x".repeat(length));
            let (digits, _) = record.split_once(' ').expect("a space");
            assert_eq!(digits.parse(), Ok(record.len()));
        }
    }

    #[test]
    fn a_file_beyond_8_gib_says_its_size_in_pax() {
        struct Zeros;
        impl imgcore::ReadAt for Zeros {
            fn size(&self) -> u64 {
                OCTAL_11 + 1
            }
            fn read_at(&self, _: u64, buffer: &mut [u8]) -> io::Result<usize> {
                Ok(buffer.len())
            }
        }
        let entry = Entry::file("big", 0o644, Blob::new("zeros", std::sync::Arc::new(Zeros), None));
        let bytes = headers(&entry, Epoch(0));
        assert_eq!(bytes.len(), 3 * 512);
        assert_eq!(bytes[512..532], *b"19 size=8589934592\n\0");
    }

    #[test]
    fn data_that_changed_is_noticed() {
        let blob = Blob::new("loader", std::sync::Arc::new(vec![1_u8]), Some(imgcore::Digest::of(&[2])));
        let plan = Tarball::plan(&[Entry::file("a", 0o644, blob)], Epoch(0)).expect("valid");
        let error = plan.write_to(&mut Vec::new()).expect_err("changed");
        assert!(matches!(error.kind(), ErrorKind::Changed { .. }), "{error}");
    }
}
