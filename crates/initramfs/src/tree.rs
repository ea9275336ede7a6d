//! A tree of files, from which every archive and file system here is written.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    ops::Bound,
};

use imgcore::{Blob, ReadAt as _};

use crate::error::{ErrorKind, Result};

/// `PATH_MAX` of Linux with its NUL.
const PATH_LIMIT: usize = 4095;
/// `NAME_MAX` of Linux.
const NAME_LIMIT: usize = 255;

/// Files, folders and links by path. Owners are root; times are given when the tree is written.
///
/// Paths are relative, with `/` between names, without `.` and `..`. The order is that of a walk: a folder comes in front
/// of what is in it, names are sorted by their bytes.
#[derive(Debug, Clone, Default)]
pub struct Tree {
    // Walk order is the order of paths when `/` sorts below every other byte.
    nodes: BTreeMap<Path, Node>,
}

/// One entry of a [`Tree`].
#[derive(Debug, Clone)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Permission bits, at most `0o7777`.
    pub mode: u32,
    /// Extended attributes by their full name, `security.selinux` say. Only SquashFS keeps them.
    pub xattrs: BTreeMap<String, Vec<u8>>,
}

/// What a [`Node`] is.
#[derive(Debug, Clone)]
pub enum Kind {
    /// A folder.
    Dir,
    /// A regular file with these bytes.
    File(Blob),
    /// A symbolic link with this target, as it stands there.
    Symlink(String),
}

impl Node {
    /// A folder.
    pub fn dir(mode: u32) -> Self {
        Self { kind: Kind::Dir, mode, xattrs: BTreeMap::new() }
    }

    /// A regular file.
    pub fn file(mode: u32, data: Blob) -> Self {
        Self { kind: Kind::File(data), mode, xattrs: BTreeMap::new() }
    }

    /// A symbolic link; its mode is 0777 as on Linux.
    pub fn symlink(target: impl Into<String>) -> Self {
        Self { kind: Kind::Symlink(target.into()), mode: 0o777, xattrs: BTreeMap::new() }
    }

    /// The bytes of a regular file.
    pub fn data(&self) -> Option<&Blob> {
        match &self.kind {
            Kind::File(data) => Some(data),
            Kind::Dir | Kind::Symlink(_) => None,
        }
    }

    /// Whether an archive can hold the node as it is.
    pub(crate) fn check(&self, path: &str) -> Result<()> {
        if self.mode > 0o7777 {
            let what = format!("the mode of {path}");
            return Err(ErrorKind::TooLarge { what, value: self.mode.into(), limit: 0o7777 }.into());
        }
        let problem = match &self.kind {
            Kind::Symlink(target) if target.is_empty() => "a symbolic link has a target",
            Kind::Symlink(target) if target.contains('\0') => "the target of a symbolic link holds no NUL",
            Kind::Symlink(target) if target.len() > PATH_LIMIT => {
                "the target of a symbolic link has at most 4095 bytes"
            }
            _ => return Ok(()),
        };
        Err(ErrorKind::Path { path: path.to_owned(), problem }.into())
    }

    /// `file`, `folder` or `symbolic link`.
    pub fn kind_name(&self) -> &'static str {
        match self.kind {
            Kind::File(_) => "file",
            Kind::Dir => "folder",
            Kind::Symlink(_) => "symbolic link",
        }
    }
}

impl Tree {
    /// A tree with nothing in it but its root.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an entry, and the folders above it with mode 0755. A folder that is there takes the new one's mode and
    /// attributes.
    ///
    /// # Errors
    /// A path that is empty, absolute, climbs or is too long; something there that is no folder; a file or link above.
    pub fn insert(&mut self, path: impl Into<String>, node: Node) -> Result<()> {
        let path = path.into();
        if let Some(problem) = path_problem(&path) {
            return Err(ErrorKind::Path { path, problem }.into());
        }
        // Whatever is there has all its folders, so the search ends at the first that is there.
        let mut missing = Vec::new();
        for (at, _) in path.rmatch_indices('/') {
            let (parent, _) = path.split_at(at);
            let parent = Path(parent.to_owned());
            match self.nodes.get(&parent) {
                Some(Node { kind: Kind::Dir, .. }) => break,
                Some(above) => {
                    let kind = above.kind_name();
                    return Err(ErrorKind::NotADirectory { path, parent: parent.0, kind }.into());
                }
                None => missing.push(parent),
            }
        }
        self.nodes.extend(missing.into_iter().map(|folder| (folder, Node::dir(0o755))));
        match self.nodes.entry(Path(path)) {
            Entry::Vacant(slot) => {
                slot.insert(node);
            }
            Entry::Occupied(mut slot) if matches!((&slot.get().kind, &node.kind), (Kind::Dir, Kind::Dir)) => {
                slot.insert(node);
            }
            Entry::Occupied(slot) => return Err(ErrorKind::Duplicate { path: slot.key().0.clone() }.into()),
        }
        Ok(())
    }

    /// Entries in walk order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.nodes.iter().map(|(path, node)| (path.0.as_str(), node))
    }

    /// What stands at a path.
    pub fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(&Path(path.to_owned()))
    }

    /// Takes a folder with everything below it out of the tree, with the paths that it had. Folders above it stay.
    #[must_use]
    pub fn take(&mut self, folder: &str) -> Self {
        let mut rest = self.nodes.split_off(&Path(folder.to_owned()));
        let inside =
            |path: &Path| path.0 == folder || path.0.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
        let end = rest.keys().find(|path| !inside(path)).cloned();
        if let Some(end) = end {
            self.nodes.append(&mut rest.split_off(&end));
        }
        Self { nodes: rest }
    }

    /// Entries of a folder and of the folders in it, in walk order.
    pub fn below<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = (&'a str, &'a Node)> {
        let from = Path(folder.to_owned());
        let inside = move |path: &str| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
        self.nodes
            .range((Bound::Excluded(from), Bound::Unbounded))
            .map(|(path, node)| (path.0.as_str(), node))
            .take_while(move |(path, _)| inside(path))
    }

    /// Count of entries, without the root.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is nothing but the root.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.nodes.values().filter_map(Node::data).fold(0, |sum, data| sum.saturating_add(data.size()))
    }
}

/// A path that sorts in walk order.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Path(String);

impl Ord for Path {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.split('/').cmp(other.0.split('/'))
    }
}

impl PartialOrd for Path {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

fn path_problem(path: &str) -> Option<&'static str> {
    if path.is_empty() || path.len() > PATH_LIMIT {
        return Some("expected a relative path of 1 to 4095 bytes");
    }
    if path.contains('\0') {
        return Some("a path holds no NUL");
    }
    path.split('/').find_map(|name| match name {
        "" => Some("expected a relative path with one / between names"),
        "." | ".." => Some("expected a path without . and .."),
        name if name.len() > NAME_LIMIT => Some("a name has at most 255 bytes"),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(tree: &Tree) -> Vec<&str> {
        tree.iter().map(|(path, _)| path).collect()
    }

    fn sample() -> Tree {
        let mut tree = Tree::new();
        for path in ["a-b", "a/z", "a/b/c", "a.d", "b"] {
            tree.insert(path, Node::file(0o644, Blob::from_bytes("x", *b"x"))).unwrap();
        }
        tree
    }

    #[test]
    fn the_order_is_that_of_a_walk() {
        assert_eq!(paths(&sample()), ["a", "a/b", "a/b/c", "a/z", "a-b", "a.d", "b"]);
        assert_eq!(sample().below("a").map(|(path, _)| path).collect::<Vec<_>>(), ["a/b", "a/b/c", "a/z"]);
        assert_eq!(sample().bytes(), 5);
    }

    #[test]
    fn folders_are_taken_whole() {
        let mut tree = sample();
        assert_eq!(paths(&tree.take("a")), ["a", "a/b", "a/b/c", "a/z"]);
        assert_eq!(paths(&tree), ["a-b", "a.d", "b"]);
        assert!(tree.take("none").is_empty());
        assert_eq!(paths(&tree), ["a-b", "a.d", "b"]);
    }

    #[test]
    fn what_no_file_system_holds_is_refused() {
        let long = "n".repeat(256);
        for (path, word) in [
            ("", "1 to 4095"),
            ("/a", "one / between"),
            ("a//b", "one / between"),
            ("a/", "one / between"),
            ("../a", "without . and .."),
            ("a/./b", "without . and .."),
            ("a\0", "NUL"),
            (&long, "255"),
            ("b/c", "below b, which is a file"),
            ("b", "given twice"),
            ("a", "given twice"),
        ] {
            let error = sample().insert(path, Node::symlink("t")).unwrap_err().to_string();
            assert!(error.contains(word), "{path:?}: {error}");
        }
        let mut tree = sample();
        tree.insert("a", Node::dir(0o700)).unwrap();
        assert_eq!(tree.get("a").unwrap().mode, 0o700);
    }
}
