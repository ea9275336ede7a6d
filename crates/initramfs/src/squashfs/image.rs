//! An image that was read.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::{collections::BTreeMap, fmt, sync::Arc};

use imgcore::{Blob, Report};

use super::{content::Content, medium::Compression, tables::Tables};
use crate::{
    rules,
    tree::{Kind, Node, Tree},
};

/// A file system that somebody made.
#[derive(Clone)]
pub struct Image {
    pub(super) tables: Arc<Tables>,
    pub(super) superblock: Superblock,
    pub(super) root: Entry,
    /// In walk order.
    pub(super) entries: Vec<Entry>,
}

/// What an image says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Superblock {
    /// Count of inodes.
    pub inodes: u32,
    /// Seconds since 1970 when it was made.
    pub time: u32,
    /// Bytes of a data block.
    pub block_size: u32,
    /// Count of shared blocks.
    pub fragments: u32,
    /// How blocks are compressed.
    pub compression: Compression,
    /// The flags as they stand there.
    pub flags: u16,
    /// Bytes of the file system, without padding.
    pub bytes_used: u64,
}

/// One entry of an [`Image`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Path without a `/` in front; empty for the root.
    pub path: String,
    /// What it is.
    pub kind: EntryKind,
    /// Permission bits, at most `0o7777`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Seconds since 1970.
    pub mtime: u32,
    /// Number of the inode; entries of one file share it.
    pub inode: u32,
    /// Extended attributes by their full names.
    pub xattrs: Arc<BTreeMap<String, Vec<u8>>>,
    /// Where the inode lies.
    pub(super) reference: u64,
}

/// What an [`Entry`] is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A folder.
    Dir,
    /// A regular file.
    File {
        /// Bytes.
        size: u64,
    },
    /// A symbolic link.
    Symlink {
        /// Where it points, as it stands there.
        target: String,
    },
    /// A block device with its number as the kernel packs it.
    BlockDevice(u32),
    /// A character device with its number as the kernel packs it.
    CharDevice(u32),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

impl EntryKind {
    fn name(&self) -> &'static str {
        match self {
            Self::Dir => "folder",
            Self::File { .. } => "file",
            Self::Symlink { .. } => "symbolic link",
            Self::BlockDevice(_) => "block device",
            Self::CharDevice(_) => "character device",
            Self::Fifo => "named pipe",
            Self::Socket => "socket",
        }
    }
}

impl Image {
    /// What the image says about itself.
    pub fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// The root folder.
    pub fn root(&self) -> &Entry {
        &self.root
    }

    /// All entries but the root, a folder in front of what is in it, names sorted by their bytes.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entry at a path.
    pub fn get(&self, path: &str) -> Option<&Entry> {
        let at = self.entries.binary_search_by(|entry| entry.path.split('/').cmp(path.split('/'))).ok()?;
        self.entries.get(at)
    }

    /// What is in a folder, without what is in folders of it; the root is `""`.
    pub fn list<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = &'a Entry> {
        let start = if folder.is_empty() { 0 } else { folder.len().saturating_add(1) };
        self.below(folder).iter().filter(move |entry| !entry.path.get(start..).unwrap_or_default().contains('/'))
    }

    /// Everything in a folder, at any depth; the root is `""`.
    pub fn below(&self, folder: &str) -> &[Entry] {
        if folder.is_empty() {
            return &self.entries;
        }
        let inside = |path: &str| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'));
        let before = |entry: &Entry| entry.path.split('/').cmp(folder.split('/')).is_le();
        let start = self.entries.partition_point(before);
        let rest = self.entries.get(start..).unwrap_or_default();
        let count = rest.partition_point(|entry| inside(&entry.path));
        rest.get(..count).unwrap_or_default()
    }

    /// The bytes of a regular file, which are read and unpacked as they are asked for.
    pub fn file(&self, path: &str) -> Option<Blob> {
        self.blob(self.get(path)?)
    }

    fn blob(&self, entry: &Entry) -> Option<Blob> {
        let EntryKind::File { size } = entry.kind else { return None };
        let content = Content::new(Arc::clone(&self.tables), entry.reference, size, entry.path.clone());
        Some(Blob::new(entry.path.as_str(), Arc::new(content), None))
    }

    /// A folder with everything in it as a tree, at the paths that it has here; the root is `""`. The files read through
    /// the image. Owners are given up, and of what a [`Tree`] cannot hold a finding is made.
    pub fn subtree(&self, folder: &str) -> (Tree, Report) {
        let (mut tree, mut report) = (Tree::new(), Report::new());
        let mut left_out: BTreeMap<&'static str, (usize, &str)> = BTreeMap::new();
        for entry in self.get(folder).into_iter().chain(self.below(folder)) {
            let kind = match &entry.kind {
                EntryKind::Dir => Kind::Dir,
                EntryKind::Symlink { target } => Kind::Symlink(target.clone()),
                EntryKind::File { .. } => match self.blob(entry) {
                    Some(blob) => Kind::File(blob),
                    None => continue,
                },
                other => {
                    let (count, _) = left_out.entry(other.name()).or_insert((0, &entry.path));
                    *count = count.saturating_add(1);
                    continue;
                }
            };
            let node = Node { kind, mode: entry.mode, xattrs: (*entry.xattrs).clone() };
            if let Err(error) = tree.insert(entry.path.as_str(), node) {
                report.push(rules::finding(rules::SQF_NAME, error.to_string()));
            }
        }
        for (kind, (count, path)) in left_out {
            let message = format!("{path:?} is a {kind}; of this kind {count} entries are left out");
            report.push(rules::finding(rules::SQF_SPECIAL, message));
        }
        (tree, report)
    }
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Image")
            .field("superblock", &self.superblock)
            .field("entries", &self.entries.len())
            .finish_non_exhaustive()
    }
}
