//! The tables of an image: inodes, folders, shared blocks, owners, attributes.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::{collections::BTreeMap, io};

use zerocopy::{
    FromBytes, IntoBytes, KnownLayout,
    little_endian::{U16, U32, U64},
};

use super::{
    medium::{Cursor, Medium, invalid},
    raw::{self, METADATA, NO_TABLE, NONE, kind},
    xattrs::PREFIXES,
};

/// Set in the kind of an attribute whose value lies elsewhere.
const VALUE_ELSEWHERE: u16 = 0x100;
/// Bytes of a name (`SQUASHFS_NAME_LEN`).
const NAME_LIMIT: usize = 256;
/// Entries behind one header of a folder.
const HEADER_ENTRIES: u32 = 256;
/// `.` and `..` count as 3 bytes of a folder.
const DOTS: u32 = 3;
/// `XATTR_SIZE_MAX` of Linux.
const VALUE_LIMIT: u32 = 65_536;
/// `PAGE_SIZE`: the kernel takes no longer link.
const TARGET_LIMIT: u32 = 4096;

/// Where the tables lie.
pub(super) struct Tables {
    pub medium: Medium,
    pub inode_table: u64,
    pub directory_table: u64,
    pub fragment_table: u64,
    pub fragments: u32,
    pub xattr_table: u64,
    /// Owners by their numbers.
    pub ids: Vec<u32>,
}

/// What every inode has, and what its kind has.
pub(super) struct Inode {
    pub mode: u16,
    pub uid: u16,
    pub gid: u16,
    pub time: u32,
    pub number: u32,
    /// Number of the set of attributes.
    pub xattr: Option<u32>,
    pub detail: Detail,
}

pub(super) enum Detail {
    Dir(Folder),
    File(File),
    Symlink(Vec<u8>),
    BlockDevice(u32),
    CharDevice(u32),
    Fifo,
    Socket,
}

impl Detail {
    /// The short number of the kind, as folders state it.
    pub(super) fn kind(&self) -> u16 {
        match self {
            Self::Dir(_) => kind::DIR,
            Self::File(_) => kind::FILE,
            Self::Symlink(_) => kind::SYMLINK,
            Self::BlockDevice(_) => kind::BLOCK,
            Self::CharDevice(_) => kind::CHAR,
            Self::Fifo => kind::FIFO,
            Self::Socket => kind::SOCKET,
        }
    }
}

#[derive(Clone, Copy)]
pub(super) struct Folder {
    pub block: u32,
    pub offset: u16,
    pub size: u32,
}

#[derive(Clone, Copy)]
pub(super) struct File {
    pub start: u64,
    pub size: u64,
    /// Number of the shared block and the offset in it.
    pub fragment: Option<(u32, u32)>,
}

impl File {
    /// Blocks of its own. The end is in the shared block, if there is one.
    pub(super) fn block_count(&self, block_size: u32) -> u64 {
        let size = u64::from(block_size).max(1);
        match self.fragment {
            Some(_) => self.size.checked_div(size).unwrap_or(0),
            None => self.size.div_ceil(size),
        }
    }
}

/// An entry of a folder.
pub(super) struct Named {
    pub name: Vec<u8>,
    pub kind: u16,
    pub reference: u64,
}

impl Tables {
    /// The inode at a reference, and the place behind it: a file's list of blocks.
    pub(super) fn inode(&self, reference: u64, budget: &mut u64) -> io::Result<(Inode, Cursor)> {
        let medium = &self.medium;
        let mut cursor = Cursor::new(self.inode_table, reference);
        let head: raw::Inode = cursor.take(medium, budget)?;
        let number = head.kind.get();
        let long = number > kind::LONG;
        let mut xattr = NONE;
        let detail = match (if long { number.saturating_sub(kind::LONG) } else { number }, long) {
            (kind::DIR, false) => {
                let dir: raw::Dir = cursor.take(medium, budget)?;
                Detail::Dir(Folder { block: dir.block.get(), offset: dir.offset.get(), size: dir.size.get().into() })
            }
            (kind::DIR, true) => {
                let dir: raw::LongDir = cursor.take(medium, budget)?;
                xattr = dir.xattr.get();
                Detail::Dir(Folder { block: dir.block.get(), offset: dir.offset.get(), size: dir.size.get() })
            }
            (kind::FILE, false) => {
                let file: raw::File = cursor.take(medium, budget)?;
                let fragment = Some((file.fragment.get(), file.offset.get())).filter(|(number, _)| *number != NONE);
                Detail::File(File { start: file.start.get().into(), size: file.size.get().into(), fragment })
            }
            (kind::FILE, true) => {
                let file: raw::LongFile = cursor.take(medium, budget)?;
                xattr = file.xattr.get();
                let fragment = Some((file.fragment.get(), file.offset.get())).filter(|(number, _)| *number != NONE);
                Detail::File(File { start: file.start.get(), size: file.size.get(), fragment })
            }
            (kind::SYMLINK, _) => {
                let link: raw::Symlink = cursor.take(medium, budget)?;
                let size = link.size.get();
                if size == 0 || size > TARGET_LIMIT {
                    return Err(invalid(format!("a link has a target of {size} bytes, expected 1 to {TARGET_LIMIT}")));
                }
                let target = cursor.bytes(medium, usize::try_from(size).unwrap_or(0), budget)?;
                if long {
                    xattr = cursor.take::<U32>(medium, budget)?.get();
                }
                Detail::Symlink(target)
            }
            (number @ (kind::BLOCK | kind::CHAR), _) => {
                let _links: U32 = cursor.take(medium, budget)?;
                let device = cursor.take::<U32>(medium, budget)?.get();
                if long {
                    xattr = cursor.take::<U32>(medium, budget)?.get();
                }
                if number == kind::BLOCK { Detail::BlockDevice(device) } else { Detail::CharDevice(device) }
            }
            (number @ (kind::FIFO | kind::SOCKET), _) => {
                let _links: U32 = cursor.take(medium, budget)?;
                if long {
                    xattr = cursor.take::<U32>(medium, budget)?.get();
                }
                if number == kind::FIFO { Detail::Fifo } else { Detail::Socket }
            }
            _ => return Err(invalid(format!("its kind is {number}, expected 1 to 14"))),
        };
        let inode = Inode {
            mode: head.mode.get(),
            uid: head.uid.get(),
            gid: head.gid.get(),
            time: head.time.get(),
            number: head.number.get(),
            xattr: Some(xattr).filter(|xattr| *xattr != NONE),
            detail,
        };
        Ok((inode, cursor))
    }

    /// The entries of a folder as they stand there, at most `limit`.
    pub(super) fn listing(&self, folder: Folder, limit: usize, budget: &mut u64) -> io::Result<Vec<Named>> {
        let medium = &self.medium;
        let mut cursor =
            Cursor { block: self.directory_table.saturating_add(folder.block.into()), offset: folder.offset.into() };
        let mut left = folder.size.saturating_sub(DOTS);
        let mut entries = Vec::new();
        while left > 0 {
            shrink(&mut left, size_of::<raw::DirHeader>())?;
            let header: raw::DirHeader = cursor.take(medium, budget)?;
            let count = header.count.get().saturating_add(1);
            if count > HEADER_ENTRIES {
                return Err(invalid(format!("a header says {count} entries, at most {HEADER_ENTRIES} fit")));
            }
            for _ in 0..count {
                shrink(&mut left, size_of::<raw::DirEntry>())?;
                let entry: raw::DirEntry = cursor.take(medium, budget)?;
                let length = usize::from(entry.name.get()).saturating_add(1);
                if length > NAME_LIMIT {
                    return Err(invalid(format!("a name has {length} bytes, at most {NAME_LIMIT} fit")));
                }
                shrink(&mut left, length)?;
                let name = cursor.bytes(medium, length, budget)?;
                if entries.len() >= limit {
                    return Err(io::Error::from(io::ErrorKind::QuotaExceeded));
                }
                let reference = u64::from(header.block.get()) << 16 | u64::from(entry.offset.get());
                entries.push(Named { name, kind: entry.kind.get(), reference });
            }
        }
        Ok(entries)
    }

    /// Offset and length of a shared block.
    pub(super) fn fragment(&self, number: u32, budget: &mut u64) -> io::Result<(u64, u32)> {
        if number >= self.fragments {
            return Err(invalid(format!("the shared block {number} is referred to, but there are {}", self.fragments)));
        }
        let fragment: raw::Fragment =
            self.indexed(self.fragment_table, number, "the table of shared blocks", budget)?;
        Ok((fragment.start.get(), fragment.size.get()))
    }

    /// An element of a table whose blocks' places stand at `table`.
    fn indexed<T>(&self, table: u64, number: u32, what: &str, budget: &mut u64) -> io::Result<T>
    where
        T: FromBytes + IntoBytes + KnownLayout,
    {
        let (number, each) = (u64::from(number), (METADATA as u64).checked_div(size_of::<T>() as u64).unwrap_or(1));
        let block = number.checked_div(each).unwrap_or(0).saturating_mul(8).saturating_add(table);
        let block: U64 = self.medium.plain(block, what)?;
        let offset = number.checked_rem(each).unwrap_or(0).saturating_mul(size_of::<T>() as u64);
        let mut cursor = Cursor { block: block.get(), offset: usize::try_from(offset).unwrap_or(usize::MAX) };
        cursor.take(&self.medium, budget)
    }

    /// Reads all owners.
    pub(super) fn read_ids(&mut self, table: u64, count: u16, budget: &mut u64) -> io::Result<()> {
        for number in 0..count {
            let id: U32 = self.indexed(table, number.into(), "the table of owners", budget)?;
            self.ids.push(id.get());
        }
        Ok(())
    }

    /// A set of attributes, and whether some of it was left out because nobody knows its kind.
    pub(super) fn xattrs(&self, number: u32, budget: &mut u64) -> io::Result<(BTreeMap<String, Vec<u8>>, bool)> {
        let (medium, what) = (&self.medium, "the table of attributes");
        if self.xattr_table == NO_TABLE {
            return Err(invalid("attributes are referred to, but there is no table of them"));
        }
        let table: raw::XattrTable = medium.plain(self.xattr_table, what)?;
        if number >= table.ids.get() {
            let count = table.ids.get();
            return Err(invalid(format!("the set {number} of attributes is referred to, but there are {count}")));
        }
        let places = self.xattr_table.saturating_add(size_of::<raw::XattrTable>() as u64);
        let id: raw::XattrId = self.indexed(places, number, what, budget)?;
        let mut cursor = Cursor::new(table.values.get(), id.place.get());
        let (mut set, mut unknown) = (BTreeMap::new(), false);
        for _ in 0..id.count.get() {
            let kind: U16 = cursor.take(medium, budget)?;
            let length: U16 = cursor.take(medium, budget)?;
            let name = cursor.bytes(medium, length.get().into(), budget)?;
            let mut size: U32 = cursor.take(medium, budget)?;
            let value = if kind.get() & VALUE_ELSEWHERE == 0 {
                value(&mut cursor, medium, size, budget)?
            } else {
                let place: U64 = cursor.take(medium, budget)?;
                let mut elsewhere = Cursor::new(table.values.get(), place.get());
                size = elsewhere.take(medium, budget)?;
                value(&mut elsewhere, medium, size, budget)?
            };
            let prefix = PREFIXES.get(usize::from(kind.get() & !VALUE_ELSEWHERE));
            match (prefix, String::from_utf8(name)) {
                (Some(prefix), Ok(name)) => drop(set.insert(format!("{prefix}{name}"), value)),
                _ => unknown = true,
            }
        }
        Ok((set, unknown))
    }
}

fn value(cursor: &mut Cursor, medium: &Medium, size: U32, budget: &mut u64) -> io::Result<Vec<u8>> {
    if size.get() > VALUE_LIMIT {
        return Err(invalid(format!("an attribute has {size} bytes, at most {VALUE_LIMIT} fit")));
    }
    cursor.bytes(medium, usize::try_from(size.get()).unwrap_or(0), budget)
}

/// Takes a part from what is left of a folder's list.
fn shrink(left: &mut u32, size: usize) -> io::Result<()> {
    let size = u32::try_from(size).unwrap_or(u32::MAX);
    *left = left.checked_sub(size).ok_or_else(|| invalid("its list ends inside an entry"))?;
    Ok(())
}
