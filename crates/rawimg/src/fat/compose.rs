//! From a tree to extents.

use std::sync::Arc;

use imgcore::{Epoch, SectorSize};

use super::{
    directory::{self, ARCHIVE, DIRECTORY, ENTRY, Stamp, VOLUME, Writer},
    geometry::{CLUSTERS_MIN, Geometry},
    name::{self, ShortName},
    tree::{Directory, Node, Tree},
};
use crate::{Content, Error, ErrorKind, Extents};

/// Bytes of a directory that every reader accepts (Microsoft FAT specification 1.03, page 21).
const DIRECTORY_LIMIT: u64 = 65_536 * ENTRY;
/// Marks the last cluster of a chain.
const END_OF_CHAIN: u32 = 0x0fff_ffff;
/// The root directory begins at the first cluster.
const ROOT_CLUSTER: u32 = 2;

/// What a file system is made with, besides its files. Every combination is allowed that gives a valid FAT32.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Bytes of the partition.
    pub size: u64,
    /// Logical sector size.
    pub sector: SectorSize,
    /// At most 11 upper-case ASCII characters, or empty.
    pub label: String,
    /// Serial number.
    pub volume_id: u32,
    /// Who made it; `mkfs.fat` by default, because that is whose rules the geometry follows.
    pub oem: [u8; 8],
    /// Sectors in front of the partition, if it shall tell them.
    pub hidden_sectors: u32,
    /// Bytes of the device whose tracks and heads are written; 0 means this file system alone.
    pub geometry_of: u64,
    /// Time of every file and directory.
    pub time: Epoch,
}

impl Default for Options {
    /// No size yet; 512-byte sectors; volume id as of `mkfs.fat --invariant`.
    fn default() -> Self {
        Self {
            size: 0,
            sector: SectorSize::B512,
            label: String::new(),
            volume_id: 0x1234_abcd,
            oem: *b"mkfs.fat",
            hidden_sectors: 0,
            geometry_of: 0,
            time: Epoch(0),
        }
    }
}

/// Where a file lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// Its path, components separated by `/`.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Offset of its first byte in the file system, `None` for an empty file. It is never fragmented.
    pub offset: Option<u64>,
}

/// A file system, ready to be written.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The whole partition.
    pub extents: Extents,
    /// Its shape.
    pub geometry: Geometry,
    /// Clusters in use.
    pub used_clusters: u32,
    /// Clusters left.
    pub free_clusters: u32,
    /// The files, by place.
    pub files: Vec<Placed>,
}

/// Places the tree: directories first, so that all metadata lies together at the front, then the files in path order,
/// each in one run.
///
/// # Errors
/// [`ErrorKind::FatTooSmall`] and [`ErrorKind::FatTooFewClusters`] name a size that would do; [`ErrorKind::Fat`] an
/// option that cannot be.
pub fn plan(tree: &Tree, options: &Options) -> Result<Plan, Error> {
    let label = label(&options.label)?;
    if !options.size.is_multiple_of(options.sector.bytes()) {
        let problem = format!("the size {} is not a multiple of the sector size", options.size);
        return Err(ErrorKind::Fat(problem).into());
    }
    let directories = list(tree, label.is_some())?;
    let geometry = fit(&directories, options)?;
    Layouter { geometry, options, label, directories }.place()
}

/// The 11 bytes of a label, `None` for no label.
fn label(text: &str) -> Result<Option<[u8; 11]>, Error> {
    let bad = |problem: &str| Err(ErrorKind::Fat(format!("label {text:?}: {problem}")).into());
    if text.is_empty() {
        return Ok(None);
    }
    if text.len() > 11 {
        return bad("at most 11 characters fit");
    }
    if text
        .bytes()
        .any(|byte| !(0x20..0x7f).contains(&byte) || byte.is_ascii_lowercase() || b"*?.,;:/\\|+=<>[]\"".contains(&byte))
    {
        return bad("use upper-case ASCII letters, digits and -_#$%&'()@^`{}~!");
    }
    if text.starts_with(' ') || text.ends_with(' ') {
        return bad("it begins or ends with a space");
    }
    let mut label = [b' '; 11];
    for (to, from) in label.iter_mut().zip(text.bytes()) {
        *to = from;
    }
    Ok(Some(label))
}

/// A directory with its children in disk order.
struct Listed<'a> {
    path: String,
    parent: usize,
    children: Vec<Child<'a>>,
    /// Bytes of its entries.
    size: u64,
}

struct Child<'a> {
    name: &'a str,
    short: ShortName,
    node: ChildNode<'a>,
}

#[derive(Clone, Copy)]
enum ChildNode<'a> {
    File(&'a Content),
    /// Index in the list of directories.
    Directory(usize),
}

/// All directories, parents before children, by path.
fn list(tree: &Tree, has_label: bool) -> Result<Vec<Listed<'_>>, Error> {
    let mut listed: Vec<Listed<'_>> = Vec::new();
    // (path, parent, place in the parent's children)
    let mut stack: Vec<(String, usize, Option<usize>, &Directory)> = vec![(String::new(), 0, None, &tree.root)];
    while let Some((path, parent, place, directory)) = stack.pop() {
        let index = listed.len();
        if let Some(child) = place.and_then(|place| listed.get_mut(parent)?.children.get_mut(place)) {
            child.node = ChildNode::Directory(index);
        }
        let shorts = name::short_names(directory.children.keys().map(String::as_str));
        let mut children = Vec::with_capacity(shorts.len());
        // The label in the root, `.` and `..` elsewhere.
        let mut slots = if index == 0 { u64::from(has_label) } else { 2 };
        for ((name, node), short) in directory.children.iter().zip(shorts) {
            slots += directory::slots(name, &short);
            let node = match node {
                Node::File(content) => ChildNode::File(content),
                Node::Directory(_) => ChildNode::Directory(usize::MAX),
            };
            children.push(Child { name, short, node });
        }
        if slots * ENTRY > DIRECTORY_LIMIT {
            let problem = format!("the directory needs {slots} entries, at most 65536 fit");
            return Err(ErrorKind::FatPath { path, problem }.into());
        }
        for (place, (name, node)) in directory.children.iter().enumerate().rev() {
            if let Node::Directory(inner) = node {
                stack.push((join(&path, name), index, Some(place), inner));
            }
        }
        listed.push(Listed { path, parent, children, size: slots * ENTRY });
    }
    Ok(listed)
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") }
}

/// Clusters that the directories and files take at this cluster size. A directory has one at least.
fn clusters(directories: &[Listed<'_>], cluster: u64) -> u64 {
    directories
        .iter()
        .map(|directory| {
            let files = directory.children.iter().map(|child| match child.node {
                ChildNode::File(content) => content.len().div_ceil(cluster),
                ChildNode::Directory(_) => 0,
            });
            directory.size.div_ceil(cluster).max(1) + files.sum::<u64>()
        })
        .sum()
}

/// The geometry for the size, if everything fits.
fn fit(directories: &[Listed<'_>], options: &Options) -> Result<Geometry, Error> {
    let geometry_at = |size: u64| {
        let whole = options.geometry_of == 0 || options.geometry_of == options.size;
        Geometry::of(size, options.sector, if whole { 0 } else { options.geometry_of })
    };
    let fits = |geometry: &Geometry| clusters(directories, geometry.cluster_bytes()) <= u64::from(geometry.clusters);
    let enough = |geometry: &Geometry| geometry.clusters >= CLUSTERS_MIN;
    let given = options.size;
    let found = geometry_at(given);
    if let Some(geometry) = found.filter(|geometry| enough(geometry) && fits(geometry)) {
        return Ok(geometry);
    }
    // A size that is large enough, then the half between it and one that is not, down to one MiB.
    let good = |size: u64| geometry_at(size).is_some_and(|geometry| enough(&geometry) && fits(&geometry));
    let unit = 1024 * 1024;
    let mut low = 0;
    let mut high = 64;
    while !good(high * unit) {
        low = high;
        high *= 2;
        if high > 1 << 24 {
            let problem = format!("no FAT32 of {given} bytes and more holds these files");
            return Err(ErrorKind::Fat(problem).into());
        }
    }
    while high - low > 1 {
        let middle = low.midpoint(high);
        if good(middle * unit) { high = middle } else { low = middle }
    }
    let needed = high * unit;
    match found {
        Some(geometry) if enough(&geometry) => Err(ErrorKind::FatTooSmall { needed, given }.into()),
        found => {
            let clusters = found.map_or(0, |geometry| geometry.clusters);
            Err(ErrorKind::FatTooFewClusters { clusters, needed, given }.into())
        }
    }
}

struct Layouter<'a> {
    geometry: Geometry,
    options: &'a Options,
    label: Option<[u8; 11]>,
    directories: Vec<Listed<'a>>,
}

impl Layouter<'_> {
    fn place(self) -> Result<Plan, Error> {
        let cluster = self.geometry.cluster_bytes();
        let mut fat = Fat::new();
        let directories: Vec<u32> =
            self.directories.iter().map(|directory| fat.chain(directory.size.div_ceil(cluster).max(1))).collect();
        let mut extents = Extents::new(self.options.size).with_sector_size(self.options.sector);
        let mut files = Vec::new();
        let mut contents = Vec::new();
        let mut bytes = Vec::new();
        for (index, directory) in self.directories.iter().enumerate() {
            let mut writer = Writer::new(Stamp::of(self.options.time));
            match (index, self.label) {
                (0, Some(label)) => writer.short(label, VOLUME, 0, 0),
                (0, None) => {}
                _ => {
                    writer.short(*b".          ", DIRECTORY, directories[index], 0);
                    // The root is written as 0 here, whatever its cluster.
                    let parent = if directory.parent == 0 { 0 } else { directories[directory.parent] };
                    writer.short(*b"..         ", DIRECTORY, parent, 0);
                }
            }
            for child in &directory.children {
                writer.long(child.name, &child.short);
                match child.node {
                    ChildNode::Directory(inner) => writer.short(child.short, DIRECTORY, directories[inner], 0),
                    ChildNode::File(content) => {
                        let size = content.len();
                        let first = if size == 0 { 0 } else { fat.chain(size.div_ceil(cluster)) };
                        writer.short(child.short, ARCHIVE, first, u32::try_from(size).unwrap_or(u32::MAX));
                        let path = join(&directory.path, child.name);
                        let offset = (first != 0).then(|| self.offset(first));
                        if let Some(offset) = offset {
                            contents.push((offset, path.clone(), content.clone()));
                        }
                        files.push(Placed { path, size, offset });
                    }
                }
            }
            bytes.push(writer.finish());
        }
        let used_clusters = fat.used();
        let free_clusters = self.geometry.clusters - used_clusters;
        self.insert_system(&mut extents, fat, free_clusters)?;
        for ((directory, first), bytes) in self.directories.iter().zip(directories).zip(bytes) {
            extents.insert(self.offset(first), &format!("{}/", directory.path), bytes.into())?;
        }
        for (offset, path, content) in contents {
            extents.insert(offset, &path, content)?;
        }
        Ok(Plan { extents, geometry: self.geometry, used_clusters, free_clusters, files })
    }

    /// Boot sector, information sector, both again as backup, and both FATs.
    fn insert_system(&self, extents: &mut Extents, fat: Fat, free: u32) -> Result<(), Error> {
        let (g, o) = (&self.geometry, self.options);
        let sector = g.sector.bytes();
        let label = self.label.unwrap_or(*b"NO NAME    ");
        let boot: Arc<[u8]> = directory::boot_sector(g, o.oem, o.hidden_sectors, o.volume_id, label).into();
        let info: Arc<[u8]> = directory::info_sector(free, fat.last()).into();
        extents.insert(0, "boot sector", boot.clone().into())?;
        extents.insert(sector, "file system information", info.clone().into())?;
        // As mkfs.fat: the third boot sector, 2 and its backup 8, stays zero.
        extents.insert(6 * sector, "backup boot sector", boot.into())?;
        extents.insert(7 * sector, "backup file system information", info.into())?;
        let table: Arc<[u8]> = fat.finish().into();
        extents.insert(g.fat_offset(), "FAT 1", table.clone().into())?;
        extents.insert(g.fat_offset() + g.fat_bytes(), "FAT 2", table.into())
    }

    fn offset(&self, cluster: u32) -> u64 {
        self.geometry.data_offset() + u64::from(cluster - ROOT_CLUSTER) * self.geometry.cluster_bytes()
    }
}

/// The used front of a file allocation table: the rest of it is zero and nobody's.
struct Fat {
    bytes: Vec<u8>,
    next: u32,
}

impl Fat {
    fn new() -> Self {
        let mut bytes = (0x0fff_ff00 | u32::from(directory::MEDIA)).to_le_bytes().to_vec();
        bytes.extend(END_OF_CHAIN.to_le_bytes());
        Self { bytes, next: ROOT_CLUSTER }
    }

    /// A run of `count` clusters, at least one; returns the first.
    fn chain(&mut self, count: u64) -> u32 {
        let first = self.next;
        for _ in 1..count {
            self.next += 1;
            self.bytes.extend(self.next.to_le_bytes());
        }
        self.bytes.extend(END_OF_CHAIN.to_le_bytes());
        self.next += 1;
        first
    }

    fn used(&self) -> u32 {
        self.next - ROOT_CLUSTER
    }

    /// The last cluster given out: where the next writer begins to search.
    fn last(&self) -> u32 {
        self.next - 1
    }

    fn finish(self) -> Vec<u8> {
        self.bytes
    }
}
