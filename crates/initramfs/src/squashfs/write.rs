//! From the plan to bytes: data first, then the tables, the superblock last.
#![allow(
    clippy::cast_possible_truncation,
    reason = "sizes of blocks, of at most 1 MiB; fragments are fewer than files"
)]

use std::{
    collections::BTreeMap,
    io::{self, Seek, SeekFrom, Write},
    mem,
};

use imgcore::{Blob, Digest, ReadAt as _};
use zerocopy::IntoBytes as _;

use super::{
    blocks::{Crew, Encoder},
    inodes::{self, Layout},
    metadata::table,
    plan::{Fragments, Plan, PlannedKind},
    raw::{Fragment, MAGIC, METADATA_STORED, NO_TABLE, SUPERBLOCK, Superblock, flag},
};
use crate::error::{ErrorKind, Result};

/// Number of Zstandard in the superblock.
const ZSTD: u16 = 6;
/// mksquashfs's own level, which needs no record.
const USUAL_LEVEL: i32 = 15;
/// The file is padded to this, because loop devices have whole sectors.
const PADDING: u64 = 4096;
/// Blocks that are read for each thread before they are compressed, and the most bytes of them all.
const BATCH_BLOCKS: usize = 16;
const BATCH_BYTES: usize = 8 << 20;

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Written {
    /// Bytes, with the padding to 4 KiB.
    pub size: u64,
    /// Files whose bytes are another file's.
    pub duplicates: usize,
    /// Shared blocks.
    pub fragments: usize,
}

impl Plan {
    /// Writes the file system from the output's position on. The same plan gives the same bytes.
    ///
    /// # Errors
    /// What the output or a file answers; a file that gives fewer bytes than it has.
    pub fn write_to(&self, out: &mut (impl Write + Seek)) -> Result<Written> {
        let base = out.stream_position().map_err(ErrorKind::Write)?;
        let mut data = Data {
            plan: self,
            out,
            at: 0,
            crew: Crew::new(self.options.workers, self.options.level)?,
            batch: Vec::new(),
            owners: Vec::new(),
            layouts: vec![None; self.nodes.len()],
            open: Vec::new(),
            fragments: Vec::new(),
        };
        data.write(&[0; SUPERBLOCK])?;
        if self.options.level != USUAL_LEVEL {
            data.write(&(4 | METADATA_STORED).to_le_bytes())?;
            data.write(&self.options.level.to_le_bytes())?;
        }
        let duplicates = data.files()?;
        let Data { mut at, layouts, fragments, out, .. } = data;
        let fragment_count = fragments.len();
        let mut encoder = Encoder::new(self.options.level)?;
        let superblock = tables(self, &layouts, &fragments, &mut at, out, &mut encoder)?;
        let size = at.next_multiple_of(PADDING);
        write(out, &vec![0; usize::try_from(size - at).unwrap_or(0)])?;
        out.seek(SeekFrom::Start(base)).map_err(ErrorKind::Write)?;
        write(out, superblock.as_bytes())?;
        out.seek(SeekFrom::Start(base + size)).map_err(ErrorKind::Write)?;
        Ok(Written { size, duplicates, fragments: fragment_count })
    }
}

fn write(out: &mut impl Write, bytes: &[u8]) -> Result<()> {
    out.write_all(bytes).map_err(|error| ErrorKind::Write(error).into())
}

/// Writes the tables behind the data and gives the superblock that names them.
fn tables(
    plan: &Plan,
    layouts: &[Option<Layout>],
    fragments: &[Fragment],
    at: &mut u64,
    out: &mut impl Write,
    encoder: &mut Encoder,
) -> Result<Superblock> {
    let mut put = |bytes: &[u8]| -> Result<u64> {
        let start = *at;
        write(out, bytes)?;
        *at += bytes.len() as u64;
        Ok(start)
    };
    let (tables, sets) = inodes::tables(plan, layouts, encoder)?;
    let inode_table = put(&tables.inodes)?;
    let directory_table = put(&tables.directories)?;
    // Each table's blocks, then the places of the blocks; the superblock names the latter.
    let mut indexed = |bytes: &[u8], encoder: &mut Encoder| -> Result<u64> {
        let start = put(&[])?;
        let (blocks, places) = table(bytes, start, encoder)?;
        put(&blocks)?;
        put(&places)
    };
    let fragment_table = indexed(fragments.as_bytes(), encoder)?;
    let references: Vec<u8> = tables.references.iter().flat_map(|reference| reference.to_le_bytes()).collect();
    let export_table = indexed(&references, encoder)?;
    let id_table = indexed(&0_u32.to_le_bytes(), encoder)?;
    let xattr_table = if sets.is_empty() {
        NO_TABLE
    } else {
        let (bytes, place) = sets.encode(put(&[])?, encoder)?;
        put(&bytes)?;
        place
    };
    let bytes_used = put(&[])?;
    let mut flags = flag::DUPLICATES | flag::EXPORTABLE;
    flags |= match plan.options.fragments {
        Fragments::None => flag::NO_FRAGMENTS,
        Fragments::Small => 0,
        Fragments::All => flag::ALWAYS_FRAGMENTS,
    };
    flags |= if sets.is_empty() { flag::NO_XATTRS } else { 0 };
    flags |= if plan.options.level == USUAL_LEVEL { 0 } else { flag::COMPRESSOR_OPTIONS };
    let count = |what: &str, value: usize| -> Result<u32> {
        u32::try_from(value).map_err(|_| {
            ErrorKind::TooLarge { what: what.to_owned(), value: value as u64, limit: u32::MAX.into() }.into()
        })
    };
    Ok(Superblock {
        magic: MAGIC.into(),
        inodes: count("the number of entries", plan.nodes.len())?.into(),
        time: u32::try_from(plan.options.epoch.0).unwrap_or(u32::MAX).into(),
        block_size: plan.options.block_size.into(),
        fragments: count("the number of fragments", fragments.len())?.into(),
        compression: ZSTD.into(),
        block_log: (plan.options.block_size.ilog2() as u16).into(),
        flags: flags.into(),
        ids: 1.into(),
        major: 4.into(),
        minor: 0.into(),
        root: tables.root.into(),
        bytes_used: bytes_used.into(),
        id_table: id_table.into(),
        xattr_table: xattr_table.into(),
        inode_table: inode_table.into(),
        directory_table: directory_table.into(),
        fragment_table: fragment_table.into(),
        export_table: export_table.into(),
    })
}

/// What a block of the batch belongs to.
#[derive(Clone, Copy)]
enum Owner {
    File(usize),
    Fragment(usize),
}

/// The files' bytes on their way out.
struct Data<'a, W> {
    plan: &'a Plan,
    out: &'a mut W,
    at: u64,
    crew: Crew,
    /// Blocks that are read and not compressed yet, and whose they are. An empty one stands for zeros.
    batch: Vec<Vec<u8>>,
    owners: Vec<Owner>,
    layouts: Vec<Option<Layout>>,
    /// The shared block that is being filled.
    open: Vec<u8>,
    fragments: Vec<Fragment>,
}

impl<W: Write> Data<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        write(self.out, bytes)?;
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// Writes every file and says how many were there already.
    fn files(&mut self) -> Result<usize> {
        let plan = self.plan;
        let originals = originals(plan)?;
        let mut duplicates = Vec::new();
        for (index, node) in plan.nodes.iter().enumerate() {
            let PlannedKind::File(data) = &node.kind else { continue };
            match originals.get(&index) {
                Some(original) => duplicates.push((index, *original)),
                None => self.file(index, data, &node.path)?,
            }
        }
        self.close_fragment()?;
        self.drain()?;
        for (index, original) in &duplicates {
            let layout = self.layouts[*original].clone();
            self.layouts[*index] = layout;
        }
        Ok(duplicates.len())
    }

    fn file(&mut self, index: usize, data: &Blob, path: &str) -> Result<()> {
        let block = self.plan.options.block_size as usize;
        let size = data.size();
        self.layouts[index] = Some(Layout { start: 0, blocks: Vec::new(), sparse: 0, fragment: None });
        let mut offset = 0;
        while offset < size {
            let count = usize::try_from(size - offset).unwrap_or(block).min(block);
            let mut bytes = vec![0; count];
            data.read_exact_at(offset, &mut bytes)
                .map_err(|source| ErrorKind::Read { path: path.to_owned(), source })?;
            offset += count as u64;
            let packed = match self.plan.options.fragments {
                Fragments::None => false,
                Fragments::Small => size < block as u64,
                Fragments::All => count < block,
            };
            if packed {
                self.fragment(index, &bytes)?;
            } else {
                if bytes.iter().all(|byte| *byte == 0) {
                    if let Some(layout) = &mut self.layouts[index] {
                        layout.sparse += count as u64;
                    }
                    bytes = Vec::new();
                }
                self.block(Owner::File(index), bytes)?;
            }
        }
        Ok(())
    }

    /// Puts the end of a file into the shared block.
    fn fragment(&mut self, index: usize, bytes: &[u8]) -> Result<()> {
        if self.open.len() + bytes.len() > self.plan.options.block_size as usize {
            self.close_fragment()?;
        }
        if let Some(layout) = &mut self.layouts[index] {
            layout.fragment = Some((self.fragments.len() as u32, self.open.len() as u32));
        }
        self.open.extend_from_slice(bytes);
        Ok(())
    }

    fn close_fragment(&mut self) -> Result<()> {
        if self.open.is_empty() {
            return Ok(());
        }
        let bytes = mem::take(&mut self.open);
        self.fragments.push(Fragment { start: 0.into(), size: 0.into(), unused: 0.into() });
        self.block(Owner::Fragment(self.fragments.len() - 1), bytes)
    }

    fn block(&mut self, owner: Owner, bytes: Vec<u8>) -> Result<()> {
        self.owners.push(owner);
        self.batch.push(bytes);
        let most = BATCH_BYTES / self.plan.options.block_size as usize;
        if self.batch.len() >= (BATCH_BLOCKS * self.crew.len()).min(most) { self.drain() } else { Ok(()) }
    }

    /// Compresses and writes what was read.
    fn drain(&mut self) -> Result<()> {
        let blocks = self.crew.compress(&mem::take(&mut self.batch))?;
        for (owner, block) in mem::take(&mut self.owners).into_iter().zip(blocks) {
            match owner {
                Owner::File(index) => {
                    if let Some(layout) = &mut self.layouts[index] {
                        if layout.blocks.is_empty() {
                            layout.start = self.at;
                        }
                        layout.blocks.push(if block.bytes.is_empty() { 0 } else { block.word });
                    }
                }
                Owner::Fragment(index) => {
                    let (start, size) = (self.at.into(), block.word.into());
                    self.fragments[index] = Fragment { start, size, unused: 0.into() };
                }
            }
            self.write(&block.bytes)?;
        }
        Ok(())
    }
}

/// For each file whose bytes an earlier file has, that file. Only files of one size are read for that.
fn originals(plan: &Plan) -> Result<BTreeMap<usize, usize>> {
    let mut sizes: BTreeMap<u64, Vec<(usize, &Blob)>> = BTreeMap::new();
    for (index, node) in plan.nodes.iter().enumerate() {
        if let PlannedKind::File(data) = &node.kind
            && data.size() > 0
        {
            sizes.entry(data.size()).or_default().push((index, data));
        }
    }
    let mut originals = BTreeMap::new();
    for (_, files) in sizes.into_iter().filter(|(_, files)| files.len() > 1) {
        let mut first: BTreeMap<Digest, usize> = BTreeMap::new();
        for (index, data) in files {
            let digest = data
                .compute_digest()
                .map_err(|source: io::Error| ErrorKind::Read { path: plan.nodes[index].path.clone(), source })?;
            let original = *first.entry(digest).or_insert(index);
            if original != index {
                originals.insert(index, original);
            }
        }
    }
    Ok(originals)
}
