//! cpio archives in the format `newc`, as the kernel unpacks them (`Documentation/driver-api/early-userspace/buffer-format.rst`).
//!
//! ```
//! use imgcore::{Blob, Epoch};
//! use initramfs::{Node, Tree, cpio};
//!
//! let mut tree = Tree::new();
//! tree.insert("init", Node::file(0o755, Blob::from_bytes("init", *b"#!/bin/sh\n")))?;
//! let archive = cpio::plan(&tree, Epoch(0))?;
//! let mut bytes = Vec::new();
//! archive.write_to(&mut bytes)?;
//! assert_eq!((bytes.len() as u64, archive.size()), (512, 512));
//! assert!(bytes.starts_with(b"070701"));
//! assert_eq!(archive.to_string(), "-rwxr-xr-x 10 init\n");
//! # Ok::<(), initramfs::Error>(())
//! ```

use std::{
    fmt,
    io::{self, Write},
};

use imgcore::{Blob, Epoch, ReadAtCursor};

mod header;

pub(crate) use header::{HEADER, MODE_DIR, MODE_FILE, MODE_LINK, MODE_MASK};
pub use header::{Header, Magic};

use crate::{
    error::{ErrorKind, Result},
    mode_text,
    tree::{Kind, Tree},
};

/// GNU cpio writes whole blocks of this size.
const BLOCK: usize = 512;
/// The most that a field of eight hex digits holds.
const FIELD_LIMIT: u64 = u32::MAX as u64;

/// An archive, ready to be written.
#[derive(Debug, Clone)]
pub struct Archive {
    entries: Vec<Entry>,
    size: u64,
}

#[derive(Debug, Clone)]
struct Entry {
    header: Header,
    body: Body,
}

#[derive(Debug, Clone)]
enum Body {
    None,
    File(Blob),
    Link(String),
}

/// Lays the tree out: entries in walk order, inodes counted from 1, owners and devices 0, every time the epoch, padded
/// to 512 bytes. Extended attributes have no place in this format.
///
/// # Errors
/// A file of 4 GiB or more, an epoch after 2106, a mode beyond the permission bits, a link without a target.
pub fn plan(tree: &Tree, epoch: Epoch) -> Result<Archive> {
    let mtime = field("the time of the archive", epoch.0)?;
    let mut entries = Vec::with_capacity(tree.len());
    let mut size = 0_u64;
    for (index, (path, node)) in tree.iter().enumerate() {
        node.check(path)?;
        let (kind, nlink, body, length) = match &node.kind {
            Kind::Dir => (MODE_DIR, folder_links(tree, path), Body::None, 0),
            Kind::File(data) => (MODE_FILE, 1, Body::File(data.clone()), imgcore::ReadAt::size(data)),
            Kind::Symlink(target) => (MODE_LINK, 1, Body::Link(target.clone()), target.len() as u64),
        };
        let header = Header {
            magic: Magic::Newc,
            name: path.as_bytes().to_vec(),
            ino: field("the number of entries", index as u64 + 1)?,
            mode: kind | node.mode,
            nlink,
            mtime,
            size: field(path, length)?,
            ..Header::default()
        };
        size += header.padded_size();
        entries.push(Entry { header, body });
    }
    size += Header::trailer().padded_size();
    Ok(Archive { entries, size: size.next_multiple_of(BLOCK as u64) })
}

/// 2 and one for each folder inside, as file systems show it.
fn folder_links(tree: &Tree, path: &str) -> u32 {
    let inside = |below: &str| !below.get(path.len() + 1..).unwrap_or_default().contains('/');
    let folders = tree.below(path).filter(|(below, node)| matches!(node.kind, Kind::Dir) && inside(below)).count();
    u32::try_from(folders).unwrap_or(u32::MAX).saturating_add(2)
}

fn field(what: &str, value: u64) -> Result<u32> {
    u32::try_from(value).map_err(|_| ErrorKind::TooLarge { what: what.to_owned(), value, limit: FIELD_LIMIT }.into())
}

impl Archive {
    /// Bytes of the archive.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Count of entries, without the end mark.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it holds nothing but the end mark.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Writes the archive in one forward pass.
    ///
    /// # Errors
    /// What the output or a file answers; a file that gives fewer bytes than it has.
    pub fn write_to(&self, out: &mut dyn Write) -> Result<()> {
        let mut written = 0_u64;
        for Entry { header, body } in &self.entries {
            write(out, &header.encode())?;
            match body {
                Body::None => {}
                Body::File(data) => copy(&header.path(), data, out)?,
                Body::Link(target) => write(out, target.as_bytes())?,
            }
            write(out, zeros(padding(u64::from(header.size), 4)))?;
            written += header.padded_size();
        }
        let trailer = Header::trailer();
        write(out, &trailer.encode())?;
        write(out, zeros(padding(written + trailer.padded_size(), BLOCK as u64)))
    }
}

/// One line for each entry: mode, size, path.
impl fmt::Display for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Entry { header, body } in &self.entries {
            write!(f, "{} {} {}", mode_text(header.mode), header.size, header.path())?;
            if let Body::Link(target) = body {
                write!(f, " -> {target}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

fn write(out: &mut dyn Write, bytes: &[u8]) -> Result<()> {
    out.write_all(bytes).map_err(|error| ErrorKind::Write(error).into())
}

/// Copies a file whole; what it lacks is an error, because its size stands in front of it.
fn copy(path: &str, data: &Blob, out: &mut dyn Write) -> Result<()> {
    let read = |source| ErrorKind::Read { path: path.to_owned(), source };
    let mut cursor = ReadAtCursor::new(data);
    let mut buffer = vec![0; 64 << 10];
    let mut left = imgcore::ReadAt::size(data);
    while left > 0 {
        let count = match io::Read::read(&mut cursor, &mut buffer) {
            Ok(0) => return Err(read(io::Error::from(io::ErrorKind::UnexpectedEof)).into()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(read(error).into()),
        };
        write(out, &buffer[..count])?;
        left = left.saturating_sub(count as u64);
    }
    Ok(())
}

/// Bytes from `at` to the next multiple.
pub(crate) fn padding(at: u64, multiple: u64) -> u64 {
    at.next_multiple_of(multiple) - at
}

fn zeros(count: u64) -> &'static [u8] {
    const ZEROS: &[u8] = &[0; BLOCK];
    ZEROS.get(..usize::try_from(count).unwrap_or(0)).unwrap_or_default()
}
