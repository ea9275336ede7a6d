//! The bytes of a file in an image.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::{
    io,
    sync::{Arc, OnceLock},
};

use imgcore::ReadAt;

use super::{
    medium::{block_length, invalid},
    tables::{Detail, Tables},
};

/// What may be read of metadata to find one file's blocks: 4 bytes stand for 4 KiB at least.
const BUDGET: u64 = 1 << 30;

pub(super) struct Content {
    tables: Arc<Tables>,
    reference: u64,
    size: u64,
    path: String,
    blocks: OnceLock<Blocks>,
}

/// Where the blocks lie.
struct Blocks {
    /// Offset and length of each.
    list: Vec<(u64, u32)>,
    /// The shared block's offset and length, and the offset in it.
    tail: Option<(u64, u32, u32)>,
}

impl Content {
    pub(super) fn new(tables: Arc<Tables>, reference: u64, size: u64, path: String) -> Self {
        Self { tables, reference, size, path, blocks: OnceLock::new() }
    }

    fn blocks(&self) -> io::Result<&Blocks> {
        if let Some(blocks) = self.blocks.get() {
            return Ok(blocks);
        }
        let mut budget = BUDGET;
        let (inode, mut cursor) = self.tables.inode(self.reference, &mut budget)?;
        let Detail::File(file) = inode.detail else { return Err(invalid("the inode is no file's any more")) };
        let mut list = Vec::new();
        let mut at = file.start;
        for _ in 0..file.block_count(self.tables.medium.block_size) {
            let word: zerocopy::little_endian::U32 = cursor.take(&self.tables.medium, &mut budget)?;
            list.push((at, word.get()));
            at = at.saturating_add(u64::from(block_length(word.get())));
        }
        let tail = match file.fragment {
            Some((number, offset)) => {
                let (at, word) = self.tables.fragment(number, &mut budget)?;
                Some((at, word, offset))
            }
            None => None,
        };
        Ok(self.blocks.get_or_init(|| Blocks { list, tail }))
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.size.saturating_sub(offset);
        if left == 0 || buffer.is_empty() {
            return Ok(0);
        }
        let size = u64::from(self.tables.medium.block_size);
        let (index, inside) = (offset.checked_div(size).unwrap_or(0), offset.checked_rem(size).unwrap_or(0));
        // Bytes of this block, the last of which may be short.
        let length = self.size.saturating_sub(offset.saturating_sub(inside)).min(size);
        let count = length.saturating_sub(inside).min(buffer.len() as u64);
        let count = usize::try_from(count).unwrap_or(0);
        let buffer = buffer.get_mut(..count).unwrap_or_default();
        let blocks = self.blocks()?;
        let block = usize::try_from(index).ok().and_then(|index| blocks.list.get(index));
        let (block, skip) = match (block, blocks.tail) {
            (Some((_, 0)), _) => {
                buffer.fill(0);
                return Ok(count);
            }
            (Some((at, word)), _) => {
                let block = self.tables.medium.block(*at, *word)?;
                if block.len() as u64 != length {
                    return Err(invalid(format!(
                        "the block at byte {at} unpacks to {} bytes, expected {length}",
                        block.len()
                    )));
                }
                (block, 0)
            }
            (None, Some((at, word, skip))) => (self.tables.medium.block(at, word)?, u64::from(skip)),
            (None, None) => return Err(invalid("the file has no block for its end")),
        };
        let from = usize::try_from(skip.saturating_add(inside)).unwrap_or(usize::MAX);
        let bytes = from.checked_add(count).and_then(|to| block.get(from..to));
        let bytes = bytes.ok_or_else(|| {
            invalid(format!("the shared block has {} bytes, but {count} are wanted at {from}", block.len()))
        })?;
        buffer.copy_from_slice(bytes);
        Ok(count)
    }
}

impl ReadAt for Content {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.read(offset, buffer).map_err(|error| {
            // The inner kind stays, so that a broken medium is told from damage.
            io::Error::new(error.kind(), format!("/{} of the SquashFS: {error}", self.path))
        })
    }
}
