//! Metadata: rows of structures in compressed blocks of 8 KiB.
#![allow(
    clippy::cast_possible_truncation,
    reason = "a block has 8 KiB; the trees of 4 GiB of metadata fit in no memory"
)]

use super::{
    blocks::Encoder,
    raw::{METADATA, METADATA_STORED},
};
use crate::error::Result;

/// Where something begins in a row: the block's offset in the table, and the offset in the unpacked block.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub block: u32,
    pub offset: u16,
}

impl Place {
    /// As inodes are referred to.
    pub(super) fn reference(self) -> u64 {
        u64::from(self.block) << 16 | u64::from(self.offset)
    }
}

/// A row that is being written.
#[derive(Default)]
pub(super) struct Metadata {
    /// Whole blocks as they lie in the file.
    packed: Vec<u8>,
    /// What is not a whole block yet.
    open: Vec<u8>,
    /// Offset of every block, the open one included.
    starts: Vec<u32>,
}

impl Metadata {
    /// Where the next byte will lie.
    pub(super) fn place(&self) -> Place {
        // An open block is never full: `push` packs it.
        Place { block: self.packed.len() as u32, offset: self.open.len() as u16 }
    }

    /// Count of bytes so far, unpacked.
    pub(super) fn len(&self) -> usize {
        self.starts.len() * METADATA + self.open.len()
    }

    /// Offset of the block that holds the unpacked byte `at`.
    pub(super) fn block_of(&self, at: usize) -> u32 {
        self.starts.get(at / METADATA).copied().unwrap_or(self.packed.len() as u32)
    }

    pub(super) fn push(&mut self, mut bytes: &[u8], encoder: &mut Encoder) -> Result<()> {
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(bytes.len().min(METADATA - self.open.len()));
            self.open.extend_from_slice(now);
            bytes = rest;
            if self.open.len() == METADATA {
                self.pack(encoder)?;
            }
        }
        Ok(())
    }

    fn pack(&mut self, encoder: &mut Encoder) -> Result<()> {
        self.starts.push(self.packed.len() as u32);
        let block = encoder.metadata(&self.open)?;
        self.packed.extend_from_slice(&block);
        self.open.clear();
        Ok(())
    }

    /// The whole row.
    pub(super) fn finish(mut self, encoder: &mut Encoder) -> Result<Vec<u8>> {
        if !self.open.is_empty() {
            self.pack(encoder)?;
        }
        Ok(self.packed)
    }
}

impl Encoder {
    /// One block with its length in front.
    pub(super) fn metadata(&mut self, bytes: &[u8]) -> Result<Vec<u8>> {
        let packed = self.smaller(bytes)?;
        let (body, flag) = packed.map_or((bytes, METADATA_STORED), |packed| (packed, 0));
        let mut block = (body.len() as u16 | flag).to_le_bytes().to_vec();
        block.extend_from_slice(body);
        Ok(block)
    }
}

/// A table that lies at `start`: its blocks, and the places of the blocks as they stand behind it.
pub(super) fn table(bytes: &[u8], start: u64, encoder: &mut Encoder) -> Result<(Vec<u8>, Vec<u8>)> {
    let (mut blocks, mut places) = (Vec::new(), Vec::new());
    for block in bytes.chunks(METADATA) {
        places.extend_from_slice(&(start + blocks.len() as u64).to_le_bytes());
        blocks.extend_from_slice(&encoder.metadata(block)?);
    }
    Ok((blocks, places))
}
