//! The tables of inodes and folders.
#![allow(
    clippy::cast_possible_truncation,
    reason = "names and targets are bounded by the tree, runs of entries by 256"
)]

use imgcore::ReadAt as _;
use zerocopy::IntoBytes as _;

use super::{
    blocks::Encoder,
    metadata::{Metadata, Place},
    plan::{Plan, Planned, PlannedKind},
    raw::{Dir, DirEntry, DirHeader, DirIndex, File, Inode, LongDir, LongFile, METADATA, NONE, Symlink, kind},
    xattrs::Sets,
};
use crate::error::{ErrorKind, Result};

/// Entries behind one header of a folder (`SQUASHFS_DIR_COUNT`).
const HEADER_ENTRIES: usize = 256;
/// A folder's size counts `.` and `..`, which are not stored, as 3 (`fs/squashfs/dir.c`).
const DOTS: usize = 3;

/// Where a file's bytes lie.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// Offset of the first block.
    pub start: u64,
    /// The length of each block; 0 for one of zeros.
    pub blocks: Vec<u32>,
    /// Bytes in blocks of zeros.
    pub sparse: u64,
    /// Number of the shared block and the offset in it.
    pub fragment: Option<(u32, u32)>,
}

/// Both tables.
pub(super) struct Tables {
    pub inodes: Vec<u8>,
    pub directories: Vec<u8>,
    /// Reference of each inode, by its number less one.
    pub references: Vec<u64>,
    pub root: u64,
}

/// Where a folder's listing lies.
#[derive(Default, Clone)]
struct Listing {
    place: Place,
    size: usize,
    folders: u32,
    /// Offset in the listing, block, first name.
    indexes: Vec<(u32, u32, usize)>,
}

struct Writer<'a, 'e> {
    plan: &'a Plan,
    layouts: &'a [Option<Layout>],
    encoder: &'e mut Encoder,
    sets: Sets<'a>,
    inodes: Metadata,
    directories: Metadata,
    numbers: Vec<u32>,
    places: Vec<Place>,
    listings: Vec<Listing>,
}

/// Writes inodes and folders, and collects the sets of attributes; `layouts` belongs to the plan's nodes.
///
/// A folder's listing needs the places of its inodes, and an inode of a folder that of its listing: so folders come from
/// the bottom up, each with the inodes of what is in it one behind the other.
pub(super) fn tables<'a>(
    plan: &'a Plan,
    layouts: &'a [Option<Layout>],
    encoder: &mut Encoder,
) -> Result<(Tables, Sets<'a>)> {
    let order = bottom_up(plan);
    let count = plan.nodes.len();
    let mut numbers = vec![0; count];
    let mut next = 1;
    for folder in &order {
        for child in children(plan, *folder) {
            numbers[*child] = next;
            next += 1;
        }
    }
    numbers[0] = next;
    let mut writer = Writer {
        plan,
        layouts,
        encoder,
        sets: Sets::default(),
        inodes: Metadata::default(),
        directories: Metadata::default(),
        numbers,
        places: vec![Place::default(); count],
        listings: vec![Listing::default(); count],
    };
    for folder in order {
        for child in children(plan, folder) {
            writer.inode(*child, folder)?;
        }
        writer.listing(folder)?;
    }
    writer.inode(0, 0)?;
    let mut references = vec![0; count];
    for (number, place) in writer.numbers.iter().zip(&writer.places) {
        references[*number as usize - 1] = place.reference();
    }
    let tables = Tables {
        inodes: writer.inodes.finish(writer.encoder)?,
        directories: writer.directories.finish(writer.encoder)?,
        references,
        root: writer.places[0].reference(),
    };
    Ok((tables, writer.sets))
}

fn children(plan: &Plan, node: usize) -> &[usize] {
    match plan.nodes.get(node).map(|node| &node.kind) {
        Some(PlannedKind::Dir(children)) => children,
        _ => &[],
    }
}

/// The folders, each behind those inside of it. In walk order a folder is in front of them.
fn bottom_up(plan: &Plan) -> Vec<usize> {
    let folders = plan.nodes.iter().enumerate().filter(|(_, node)| matches!(node.kind, PlannedKind::Dir(_)));
    let mut order: Vec<usize> = folders.map(|(index, _)| index).collect();
    order.reverse();
    order
}

fn short(value: usize, what: &str, path: &str) -> Result<u32> {
    u32::try_from(value).map_err(|_| {
        let what = format!("{what} of /{path}");
        ErrorKind::TooLarge { what, value: value as u64, limit: u32::MAX.into() }.into()
    })
}

impl Writer<'_, '_> {
    fn inode(&mut self, index: usize, parent: usize) -> Result<()> {
        let plan = self.plan;
        let node = &plan.nodes[index];
        let xattr = self.sets.number(&node.xattrs);
        self.places[index] = self.inodes.place();
        // The root's parent has a number that no inode has.
        let parent = if index == 0 { self.numbers[0] + 1 } else { self.numbers[parent] };
        let bytes = match &node.kind {
            PlannedKind::Dir(children) => self.folder(index, node, children, parent, xattr)?,
            PlannedKind::File(data) => self.file(index, node, data.size(), xattr),
            PlannedKind::Symlink(target) => {
                let long = if xattr == NONE { 0 } else { kind::LONG };
                let mut bytes = self.head(index, node, kind::SYMLINK + long);
                let symlink = Symlink { links: 1.into(), size: (target.len() as u32).into() };
                bytes.extend_from_slice(symlink.as_bytes());
                bytes.extend_from_slice(target.as_bytes());
                if xattr != NONE {
                    bytes.extend_from_slice(&xattr.to_le_bytes());
                }
                bytes
            }
        };
        self.inodes.push(&bytes, self.encoder)
    }

    fn head(&self, index: usize, node: &Planned, kind: u16) -> Vec<u8> {
        let head = Inode {
            kind: kind.into(),
            mode: node.mode.into(),
            uid: 0.into(),
            gid: 0.into(),
            // Checked by the plan.
            time: u32::try_from(self.plan.options.epoch.0).unwrap_or(u32::MAX).into(),
            number: self.numbers[index].into(),
        };
        head.as_bytes().to_vec()
    }

    fn folder(&self, index: usize, node: &Planned, children: &[usize], parent: u32, xattr: u32) -> Result<Vec<u8>> {
        let Listing { place, size, folders, indexes } = &self.listings[index];
        let (size, links) = (size + DOTS, folders + 2);
        if let (Ok(size), NONE, []) = (u16::try_from(size), xattr, &indexes[..]) {
            let mut bytes = self.head(index, node, kind::DIR);
            let folder = Dir {
                block: place.block.into(),
                links: links.into(),
                size: size.into(),
                offset: place.offset.into(),
                parent: parent.into(),
            };
            bytes.extend_from_slice(folder.as_bytes());
            return Ok(bytes);
        }
        let mut bytes = self.head(index, node, kind::DIR + kind::LONG);
        // A reader only searches shorter with fewer of them.
        let indexes = &indexes[..indexes.len().min(usize::from(u16::MAX))];
        let folder = LongDir {
            links: links.into(),
            size: short(size, "the folder", &node.path)?.into(),
            block: place.block.into(),
            parent: parent.into(),
            indexes: (indexes.len() as u16).into(),
            offset: place.offset.into(),
            xattr: xattr.into(),
        };
        bytes.extend_from_slice(folder.as_bytes());
        for (at, block, child) in indexes {
            let name = self.plan.nodes[children[*child]].name();
            let index = DirIndex { at: (*at).into(), block: (*block).into(), name: (name.len() as u32 - 1).into() };
            bytes.extend_from_slice(index.as_bytes());
            bytes.extend_from_slice(name.as_bytes());
        }
        Ok(bytes)
    }

    fn file(&self, index: usize, node: &Planned, size: u64, xattr: u32) -> Vec<u8> {
        let empty = Layout { start: 0, blocks: Vec::new(), sparse: 0, fragment: None };
        let Layout { start, blocks, sparse, fragment } = self.layouts[index].as_ref().unwrap_or(&empty);
        let (fragment, offset) = fragment.unwrap_or((NONE, 0));
        let mut bytes =
            if let (Ok(start), Ok(size), NONE, 0) = (u32::try_from(*start), u32::try_from(size), xattr, sparse) {
                let mut bytes = self.head(index, node, kind::FILE);
                let file =
                    File { start: start.into(), fragment: fragment.into(), offset: offset.into(), size: size.into() };
                bytes.extend_from_slice(file.as_bytes());
                bytes
            } else {
                let mut bytes = self.head(index, node, kind::FILE + kind::LONG);
                let file = LongFile {
                    start: (*start).into(),
                    size: size.into(),
                    sparse: (*sparse).into(),
                    links: 1.into(),
                    fragment: fragment.into(),
                    offset: offset.into(),
                    xattr: xattr.into(),
                };
                bytes.extend_from_slice(file.as_bytes());
                bytes
            };
        for block in blocks {
            bytes.extend_from_slice(&block.to_le_bytes());
        }
        bytes
    }

    /// Writes what is in a folder. A header is good for entries whose inodes lie in one block, with numbers that differ by
    /// less than 32 Ki, up to 256; and one begins in every 8 KiB of a long listing, so that an index can name it.
    fn listing(&mut self, folder: usize) -> Result<()> {
        let children = children(self.plan, folder);
        let (place, before) = (self.directories.place(), self.directories.len());
        let mut listing = Listing { place, ..Listing::default() };
        let mut indexes = Vec::new();
        let mut bytes: Vec<u8> = Vec::new();
        let mut indexed = 0;
        let mut from = 0;
        while from < children.len() {
            let (block, base) = (self.places[children[from]].block, self.numbers[children[from]]);
            let at = bytes.len();
            let mut run: Vec<u8> = Vec::new();
            let mut to = from;
            while let Some(child) = children.get(to) {
                let node = &self.plan.nodes[*child];
                let delta = i64::from(self.numbers[*child]) - i64::from(base);
                let name = node.name();
                let grown = at + size_of::<DirHeader>() + run.len() + size_of::<DirEntry>() + name.len();
                let full = to - from == HEADER_ENTRIES || (to > from && grown - indexed > METADATA);
                let (Ok(delta), false) = (i16::try_from(delta), full || self.places[*child].block != block) else {
                    break;
                };
                let kind = match &node.kind {
                    PlannedKind::Dir(_) => kind::DIR,
                    PlannedKind::File(_) => kind::FILE,
                    PlannedKind::Symlink(_) => kind::SYMLINK,
                };
                listing.folders += u32::from(kind == kind::DIR);
                let entry = DirEntry {
                    offset: self.places[*child].offset.into(),
                    number: delta.into(),
                    kind: kind.into(),
                    name: (name.len() as u16 - 1).into(),
                };
                run.extend_from_slice(entry.as_bytes());
                run.extend_from_slice(name.as_bytes());
                to += 1;
            }
            if at > 0 && at + size_of::<DirHeader>() + run.len() - indexed > METADATA {
                indexes.push((at, from));
                indexed = at;
            }
            let count = (to - from) as u32 - 1;
            let header = DirHeader { count: count.into(), block: block.into(), number: base.into() };
            bytes.extend_from_slice(header.as_bytes());
            bytes.extend_from_slice(&run);
            from = to;
        }
        listing.size = bytes.len();
        self.directories.push(&bytes, self.encoder)?;
        for (at, child) in indexes {
            let block = self.directories.block_of(before + at);
            listing.indexes.push((short(at, "the folder", &self.plan.nodes[folder].path)?, block, child));
        }
        self.listings[folder] = listing;
        Ok(())
    }
}
