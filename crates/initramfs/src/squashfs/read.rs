//! From a file to an image: the superblock, then every folder.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::Arc,
};

use imgcore::{ByteSize, Finding, ReadAt, Report};
use zerocopy::{FromBytes as _, little_endian::U32};

use super::{
    image::{Entry, EntryKind, Image, Superblock},
    medium::{Compression, Medium, block_length, spend},
    raw::{self, MAGIC, NO_TABLE, SUPERBLOCK},
    tables::{Detail, File, Folder, Inode, Named, Tables},
};
use crate::rules;

/// `PATH_MAX` of Linux without its NUL.
const PATH_LIMIT: usize = 4095;
/// Findings that are worth reading; more are not made.
const FINDINGS: usize = 64;

/// How much is taken from a file before it is taken for hostile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Files, folders and whatever else, counted by their paths.
    pub entries: usize,
    /// Bytes of all files together, each path's counted.
    pub bytes: u64,
    /// Bytes of unpacked metadata, counted as often as it is read, and of paths.
    pub metadata: u64,
}

impl Default for Limits {
    /// A million entries, 16 GiB of files, 256 MiB of metadata.
    fn default() -> Self {
        Self { entries: 1 << 20, bytes: 16_384 * ByteSize::MIB, metadata: 256 * ByteSize::MIB }
    }
}

type Step<T> = Result<T, Box<Finding>>;
type Xattrs = Arc<BTreeMap<String, Vec<u8>>>;

/// Reads a file system: its superblock and every folder, inode and set of attributes; the bytes of files when they are
/// asked for. What is damaged is left out and told, and so is what goes beyond the limits; what is no SquashFS gives
/// nothing.
pub fn read(data: Arc<dyn ReadAt>, limits: &Limits) -> (Option<Image>, Report) {
    let mut report = Report::new();
    let image = open(data, limits, &mut report).unwrap_or_else(|finding| {
        report.push(*finding);
        None
    });
    (image, report)
}

fn refuse<T>(code: &'static str, message: impl Into<String>) -> Step<T> {
    Err(Box::new(rules::finding(code, message)))
}

/// What a failed read means: the medium's fault, or damage.
fn failed(code: &'static str, what: &str, error: &io::Error) -> Finding {
    match error.kind() {
        io::ErrorKind::InvalidData => rules::finding(code, format!("{what}: {error}")),
        io::ErrorKind::QuotaExceeded => {
            rules::finding(rules::SQF_BOMB, format!("{what}: there is more than the limits allow"))
        }
        _ => rules::finding(rules::SQF_MEDIUM, format!("{what}: {error}")),
    }
}

fn open(data: Arc<dyn ReadAt>, limits: &Limits, report: &mut Report) -> Step<Option<Image>> {
    let mut bytes = [0; SUPERBLOCK];
    let size = data.size();
    if size < SUPERBLOCK as u64 {
        return refuse(rules::SQF_NONE, format!("the file has {size} bytes, a SquashFS begins with {SUPERBLOCK}"));
    }
    if let Err(error) = data.read_exact_at(0, &mut bytes) {
        return refuse(rules::SQF_MEDIUM, format!("the superblock cannot be read: {error}"));
    }
    let Ok(head) = raw::Superblock::read_from_bytes(&bytes) else { return Ok(None) };
    let block_size = head.block_size.get();
    let compression = check(&head, size)?;
    let superblock = Superblock {
        inodes: head.inodes.get(),
        time: head.time.get(),
        block_size,
        fragments: head.fragments.get(),
        compression,
        flags: head.flags.get(),
        bytes_used: head.bytes_used.get(),
    };
    let mut tables = Tables {
        medium: Medium::new(data, compression, block_size, head.bytes_used.get()),
        inode_table: head.inode_table.get(),
        directory_table: head.directory_table.get(),
        fragment_table: head.fragment_table.get(),
        fragments: head.fragments.get(),
        xattr_table: head.xattr_table.get(),
        ids: Vec::new(),
    };
    let mut budget = limits.metadata;
    if let Err(error) = tables.read_ids(head.id_table.get(), head.ids.get(), &mut budget) {
        report.push(failed(rules::SQF_METADATA, "the table of owners", &error));
    }
    let mut walk = Walk {
        tables: &tables,
        limits,
        report,
        budget,
        bytes: limits.bytes,
        found: 1,
        folders: BTreeSet::new(),
        sets: BTreeMap::new(),
        entries: Vec::new(),
    };
    let Some(root) = walk.all(head.root.get()) else { return Ok(None) };
    let entries = std::mem::take(&mut walk.entries);
    Ok(Some(Image { tables: Arc::new(tables), superblock, root, entries }))
}

/// What the kernel checks of a superblock (`fs/squashfs/super.c`).
fn check(head: &raw::Superblock, size: u64) -> Step<Compression> {
    match head.magic.get() {
        MAGIC => {}
        0x6873_7173 => {
            return refuse(
                rules::SQF_NONE,
                "this is a big-endian SquashFS of before version 4, which is not read here",
            );
        }
        other => {
            return refuse(
                rules::SQF_NONE,
                format!("the first bytes are {:02x?}, expected \"hsqs\"", other.to_le_bytes()),
            );
        }
    }
    let version = (head.major.get(), head.minor.get());
    if version != (4, 0) {
        return refuse(rules::SQF_NONE, format!("this is a SquashFS {}.{}, expected 4.0", version.0, version.1));
    }
    let (block_size, log) = (head.block_size.get(), head.block_log.get());
    if !(4096..=1 << 20).contains(&block_size) || 1_u32.checked_shl(log.into()) != Some(block_size) {
        return refuse(
            rules::SQF_SUPER,
            format!(
                "blocks have {block_size} bytes with logarithm {log}, expected a power of two from 4096 to 1048576"
            ),
        );
    }
    let used = head.bytes_used.get();
    if used > size {
        return refuse(
            rules::SQF_SUPER,
            format!("the file has {size} bytes, but the superblock says {used}: it was not copied completely"),
        );
    }
    let (inodes, directories) = (head.inode_table.get(), head.directory_table.get());
    if inodes < SUPERBLOCK as u64 || directories <= inodes || directories > used {
        return refuse(
            rules::SQF_SUPER,
            format!("inodes at byte {inodes} and folders at byte {directories} of {used} cannot be"),
        );
    }
    let tables = [head.id_table.get(), head.fragment_table.get(), head.xattr_table.get()];
    if let Some(table) = tables.into_iter().find(|table| *table != NO_TABLE && *table > used) {
        return refuse(rules::SQF_SUPER, format!("a table at byte {table} lies behind the end at {used}"));
    }
    Compression::of(head.compression.get()).or_else(|name| {
        let number = head.compression.get();
        refuse(rules::SQF_COMPRESSION, format!("the SquashFS is compressed with {name} (number {number})"))
    })
}

struct Walk<'a> {
    tables: &'a Tables,
    limits: &'a Limits,
    report: &'a mut Report,
    budget: u64,
    /// What is left of the bytes of files.
    bytes: u64,
    /// Entries that were found in folders, whether they are read yet or not.
    found: usize,
    /// References of folders that were entered: none has two places.
    folders: BTreeSet<u64>,
    /// Sets of attributes by their numbers; many inodes share one.
    sets: BTreeMap<u32, Xattrs>,
    entries: Vec<Entry>,
}

impl Walk<'_> {
    fn say(&mut self, finding: Finding) {
        if self.report.len() < FINDINGS {
            self.report.push(finding);
        }
    }

    /// Reads everything below the root, which is given back.
    fn all(&mut self, reference: u64) -> Option<Entry> {
        let (root, folder) = self.entry(String::new(), reference, None)?;
        let Some(folder) = folder else {
            self.say(rules::finding(rules::SQF_INODE, "the root is no folder"));
            return None;
        };
        self.folders.insert(reference);
        // What is still to be read, the last first.
        let mut open: Vec<(String, Named)> = Vec::new();
        self.list(&root.path, folder, &mut open);
        while let Some((path, named)) = open.pop() {
            let Some((entry, folder)) = self.entry(path, named.reference, Some(named.kind)) else {
                if self.budget == 0 {
                    break;
                }
                continue;
            };
            if let Some(folder) = folder {
                if !self.folders.insert(entry.reference) {
                    let message = format!("/{} is a folder that has another path as well", entry.path);
                    self.say(rules::finding(rules::SQF_LOOP, message));
                    continue;
                }
                self.list(&entry.path, folder, &mut open);
            }
            self.entries.push(entry);
        }
        Some(root)
    }

    /// Puts the entries of a folder where they are read next, in their order.
    fn list(&mut self, path: &str, folder: Folder, open: &mut Vec<(String, Named)>) {
        let limit = self.limits.entries.saturating_sub(self.found);
        let listing = match self.tables.listing(folder, limit, &mut self.budget) {
            Ok(listing) => listing,
            Err(error) => {
                // Nothing more is read when the limits are reached.
                self.budget = if error.kind() == io::ErrorKind::QuotaExceeded { 0 } else { self.budget };
                return self.say(failed(rules::SQF_DIRECTORY, &format!("the folder /{path}"), &error));
            }
        };
        self.found = self.found.saturating_add(listing.len());
        let mut sorted: BTreeMap<String, Named> = BTreeMap::new();
        let mut last: Vec<u8> = Vec::new();
        for mut named in listing {
            let name = std::mem::take(&mut named.name);
            if name <= last && !last.is_empty() {
                let message = format!("the folder /{path} is not sorted: the kernel does not find all that is in it");
                self.say(rules::finding(rules::SQF_DIRECTORY, message));
            }
            last.clone_from(&name);
            if matches!(&name[..], b"." | b"..") || name.iter().any(|byte| matches!(byte, 0 | b'/')) {
                let message = format!("the folder /{path} holds the name {:?}", String::from_utf8_lossy(&name));
                self.say(rules::finding(rules::SQF_NAME, message));
                continue;
            }
            let name = match String::from_utf8(name) {
                Ok(name) => name,
                Err(error) => {
                    let name = error.into_bytes().escape_ascii().to_string();
                    let message = format!("the folder /{path} holds the name \"{name}\"");
                    self.say(rules::finding(rules::SQF_TEXT, message));
                    continue;
                }
            };
            let whole = if path.is_empty() { name } else { format!("{path}/{name}") };
            if whole.len() > PATH_LIMIT {
                let message = format!("a path has {} bytes, at most {PATH_LIMIT} can be: /{path}", whole.len());
                self.say(rules::finding(rules::SQF_NAME, message));
                continue;
            }
            // A small file can hold many long paths: each folder is written once, its path with everything in it.
            if spend(&mut self.budget, whole.len()).is_err() {
                self.budget = 0;
                let message = format!("the folder /{path}: all paths together are longer than the limits allow");
                return self.say(rules::finding(rules::SQF_BOMB, message));
            }
            if sorted.contains_key(&whole) {
                self.say(rules::finding(rules::SQF_DIRECTORY, format!("/{whole} is there twice")));
                continue;
            }
            sorted.insert(whole, named);
        }
        open.extend(sorted.into_iter().rev());
    }

    /// Reads one inode.
    fn entry(&mut self, path: String, reference: u64, stated: Option<u16>) -> Option<(Entry, Option<Folder>)> {
        let (inode, cursor) = match self.tables.inode(reference, &mut self.budget) {
            Ok(found) => found,
            Err(error) => {
                self.budget = if error.kind() == io::ErrorKind::QuotaExceeded { 0 } else { self.budget };
                self.say(failed(rules::SQF_INODE, &format!("the inode of /{path}"), &error));
                return None;
            }
        };
        if stated.is_some_and(|stated| stated != inode.detail.kind()) {
            let message = format!("the inode of /{path} has another kind than its folder says");
            self.say(rules::finding(rules::SQF_INODE, message));
        }
        let xattrs = self.xattrs(&path, inode.xattr);
        let (uid, gid) = (self.owner(&path, inode.uid), self.owner(&path, inode.gid));
        let Inode { mode, time, number, detail, .. } = inode;
        let mut folder = None;
        let kind = match detail {
            Detail::Dir(found) => {
                folder = Some(found);
                EntryKind::Dir
            }
            Detail::File(file) => {
                self.file(&path, file, cursor)?;
                EntryKind::File { size: file.size }
            }
            Detail::Symlink(target) => match String::from_utf8(target) {
                Ok(target) if !target.contains('\0') => EntryKind::Symlink { target },
                _ => {
                    let message = format!("the link /{path} has a target that is no text");
                    self.say(rules::finding(rules::SQF_TEXT, message));
                    return None;
                }
            },
            Detail::BlockDevice(device) => EntryKind::BlockDevice(device),
            Detail::CharDevice(device) => EntryKind::CharDevice(device),
            Detail::Fifo => EntryKind::Fifo,
            Detail::Socket => EntryKind::Socket,
        };
        let mode = u32::from(mode) & 0o7777;
        Some((Entry { path, kind, mode, uid, gid, mtime: time, inode: number, xattrs, reference }, folder))
    }

    fn owner(&mut self, path: &str, number: u16) -> u32 {
        if let Some(id) = self.tables.ids.get(usize::from(number)) {
            return *id;
        }
        let message = format!("the owner {number} of /{path} is not in the table of {}", self.tables.ids.len());
        self.say(rules::finding(rules::SQF_INODE, message));
        0
    }

    fn xattrs(&mut self, path: &str, number: Option<u32>) -> Xattrs {
        let Some(number) = number else { return Xattrs::default() };
        if let Some(set) = self.sets.get(&number) {
            return Arc::clone(set);
        }
        let (set, unknown) = self.tables.xattrs(number, &mut self.budget).unwrap_or_else(|error| {
            self.say(failed(rules::SQF_XATTR, &format!("the attributes of /{path}"), &error));
            (BTreeMap::new(), false)
        });
        if unknown {
            let message = format!("/{path} has an attribute of an unknown kind, which is left out");
            self.say(rules::finding(rules::SQF_XATTR, message));
        }
        let set = Arc::new(set);
        self.sets.insert(number, Arc::clone(&set));
        set
    }

    /// Checks where a file's blocks lie; `None` leaves it out.
    fn file(&mut self, path: &str, file: File, mut cursor: super::medium::Cursor) -> Option<()> {
        let Some(left) = self.bytes.checked_sub(file.size) else {
            let limit = self.limits.bytes;
            let message = format!("/{path} has {} bytes; all files together have more than {limit}", file.size);
            self.say(rules::finding(rules::SQF_BOMB, message));
            return None;
        };
        self.bytes = left;
        let (medium, mut end) = (&self.tables.medium, file.start);
        for _ in 0..file.block_count(medium.block_size) {
            match cursor.take::<U32>(medium, &mut self.budget) {
                Ok(word) if block_length(word.get()) > medium.block_size => {
                    let message = format!("a block of /{path} has more than {} bytes", medium.block_size);
                    self.say(rules::finding(rules::SQF_DATA, message));
                    return None;
                }
                Ok(word) => end = end.saturating_add(block_length(word.get()).into()),
                Err(error) => {
                    self.budget = if error.kind() == io::ErrorKind::QuotaExceeded { 0 } else { self.budget };
                    self.say(failed(rules::SQF_INODE, &format!("the blocks of /{path}"), &error));
                    return None;
                }
            }
        }
        if end > file.start && end > medium.size {
            let message = format!("/{path} lies in bytes {}..{end} of {}", file.start, medium.size);
            self.say(rules::finding(rules::SQF_DATA, message).at(file.start..end));
            return None;
        }
        if let Some((number, _)) = file.fragment
            && let Err(error) = self.tables.fragment(number, &mut self.budget)
        {
            self.say(failed(rules::SQF_DATA, &format!("the end of /{path}"), &error));
            return None;
        }
        Some(())
    }
}
