//! What is to be written.

use std::{collections::BTreeMap, fmt};

use imgcore::{Blob, Epoch, ReadAt as _};

use super::xattrs;
use crate::{
    cpio::{MODE_DIR, MODE_FILE, MODE_LINK},
    error::{ErrorKind, Result},
    mode_text,
    tree::{Kind, Node, Tree},
};

/// How a file system is made.
#[derive(Debug, Clone)]
pub struct Options {
    /// Time of the file system and of everything in it.
    pub epoch: Epoch,
    /// Level of Zstandard, 1 to 22.
    pub level: i32,
    /// Bytes of a data block, a power of two from 4 KiB to 1 MiB.
    pub block_size: u32,
    /// Which ends of files share blocks.
    pub fragments: Fragments,
    /// Mode and attributes of the root folder.
    pub root: Node,
    /// Threads that compress; 0 is 1. The bytes are the same for any number.
    pub workers: usize,
}

impl Default for Options {
    /// Time 0, level 18, blocks of 128 KiB, small files packed together, a root of mode 0755, one thread.
    fn default() -> Self {
        Self {
            epoch: Epoch(0),
            level: 18,
            block_size: 128 << 10,
            fragments: Fragments::Small,
            root: Node::dir(0o755),
            workers: 1,
        }
    }
}

/// Which ends of files are packed together into shared blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Fragments {
    /// None: every file begins a block (`mksquashfs -no-fragments`).
    None,
    /// Files smaller than a block, as mksquashfs does.
    #[default]
    Small,
    /// The last part of every file (`mksquashfs -tailends`).
    All,
}

/// A file system, ready to be written.
#[derive(Debug, Clone)]
pub struct Plan {
    pub(super) options: Options,
    /// The root first, then in walk order.
    pub(super) nodes: Vec<Planned>,
}

#[derive(Debug, Clone)]
pub(super) struct Planned {
    /// The whole path, empty for the root.
    pub path: String,
    pub mode: u16,
    pub xattrs: BTreeMap<String, Vec<u8>>,
    pub kind: PlannedKind,
}

#[derive(Debug, Clone)]
pub(super) enum PlannedKind {
    /// A folder with the indexes of what is in it, sorted by name.
    Dir(Vec<usize>),
    File(Blob),
    Symlink(String),
}

impl Planned {
    pub(super) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }
}

/// Checks the tree and lays its folders out; nothing is read yet.
///
/// # Errors
/// An option outside its range, an epoch after 2106, an attribute of an unknown kind, a mode beyond the permission bits.
pub fn plan(tree: &Tree, options: &Options) -> Result<Plan> {
    options.check()?;
    let mut nodes = vec![Planned::new("", &options.root)?];
    // The folders above, each with its index.
    let mut above = vec![0_usize];
    for (path, node) in tree.iter() {
        let index = nodes.len();
        above.truncate(path.matches('/').count() + 1);
        let parent = above.last().and_then(|parent| nodes.get_mut(*parent));
        if let Some(Planned { kind: PlannedKind::Dir(children), .. }) = parent {
            children.push(index);
        }
        if matches!(node.kind, Kind::Dir) {
            above.push(index);
        }
        nodes.push(Planned::new(path, node)?);
    }
    Ok(Plan { options: options.clone(), nodes })
}

impl Options {
    fn check(&self) -> Result<()> {
        let limit = |what: &str, value: u64, limit: u64| -> Result<()> {
            if value <= limit {
                return Ok(());
            }
            Err(ErrorKind::TooLarge { what: what.to_owned(), value, limit }.into())
        };
        limit("the time of the file system", self.epoch.0, u32::MAX.into())?;
        if !(1..=22).contains(&self.level) {
            return Err(ErrorKind::Option(format!("the level of zstd is {}, expected 1 to 22", self.level)).into());
        }
        if !self.block_size.is_power_of_two() || !(4096..=1 << 20).contains(&self.block_size) {
            let problem =
                format!("the block size is {}, expected a power of two from 4096 to 1048576", self.block_size);
            return Err(ErrorKind::Option(problem).into());
        }
        if !matches!(self.root.kind, Kind::Dir) {
            return Err(ErrorKind::Option(format!("the root is a {}, expected a folder", self.root.kind_name())).into());
        }
        Ok(())
    }
}

impl Planned {
    fn new(path: &str, node: &Node) -> Result<Self> {
        node.check(path)?;
        xattrs::check(path, &node.xattrs)?;
        let kind = match &node.kind {
            Kind::Dir => PlannedKind::Dir(Vec::new()),
            Kind::File(data) => PlannedKind::File(data.clone()),
            Kind::Symlink(target) => PlannedKind::Symlink(target.clone()),
        };
        // Checked above: permission bits only.
        let mode = u16::try_from(node.mode).unwrap_or(0);
        Ok(Self { path: path.to_owned(), mode, xattrs: node.xattrs.clone(), kind })
    }
}

/// The options, then one line for each entry: mode, size, path, link, attributes.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Options { epoch, level, block_size, fragments, .. } = &self.options;
        let fragments = match fragments {
            Fragments::None => "no fragments",
            Fragments::Small => "small files in fragments",
            Fragments::All => "ends of files in fragments",
        };
        writeln!(f, "SquashFS 4.0, zstd {level}, blocks of {} KiB, {fragments}, {epoch}", block_size >> 10)?;
        for node in &self.nodes {
            let (kind, size, link) = match &node.kind {
                PlannedKind::Dir(_) => (MODE_DIR, 0, None),
                PlannedKind::File(data) => (MODE_FILE, data.size(), None),
                PlannedKind::Symlink(target) => (MODE_LINK, target.len() as u64, Some(target)),
            };
            write!(f, "{} {size} /{}", mode_text(kind | u32::from(node.mode)), node.path)?;
            if let Some(target) = link {
                write!(f, " -> {target}")?;
            }
            for (name, value) in &node.xattrs {
                write!(f, " {name}={:?}", String::from_utf8_lossy(value))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}
