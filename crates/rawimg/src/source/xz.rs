//! Read-at over the blocks of an `.xz` file.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::{
    collections::VecDeque,
    io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use imgcore::ReadAt;

use super::{
    Limits, forward, xz_block,
    xz_index::{Block, Index, read_index},
};
use crate::{Error, sink::is_zero};

/// Blocks up to this size are decoded on demand: `xz -6 -T0` makes 24 MiB.
const BLOCK_MAX: u64 = 64 << 20;
/// Decoded blocks that are kept, in bytes; at least two of them.
const CACHE: u64 = 32 << 20;
/// Compressed blocks of zeros up to this size are remembered, so that the next equal one need not be decoded.
const PATTERN_MAX: u64 = 64 << 10;
/// So many different ones.
const PATTERNS: usize = 8;

pub(super) fn open(file: Arc<dyn ReadAt>, limits: Limits) -> Result<Arc<dyn ReadAt>, Error> {
    let index = read_index(&*file, limits.image)?;
    if index.blocks.iter().any(|block| block.raw_size > BLOCK_MAX || block.padded() > BLOCK_MAX.saturating_mul(2)) {
        return Ok(Arc::new(forward::xz(&*file, limits)?));
    }
    let zero = index.blocks.iter().map(|_| AtomicBool::new(false)).collect();
    Ok(Arc::new(Blocks { file, index, zero, state: Mutex::default() }))
}

/// An `.xz` file of moderate blocks.
struct Blocks {
    file: Arc<dyn ReadAt>,
    index: Index,
    /// Blocks that are known to hold nothing but zeros.
    zero: Vec<AtomicBool>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The blocks used last, the last first.
    recent: VecDeque<(usize, Slot)>,
    /// Compressed blocks that decode to zeros only, with the size they decode to.
    patterns: Vec<(Vec<u8>, u64)>,
}

/// A block that is decoded or being decoded: who comes second waits for the first.
type Slot = Arc<Mutex<Option<Arc<Vec<u8>>>>>;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Blocks {
    /// The block's slot, which becomes the one used last.
    fn slot(&self, number: usize, block: &Block) -> Slot {
        let mut state = lock(&self.state);
        let place = state.recent.iter().position(|(other, _)| *other == number);
        let slot = place.and_then(|place| state.recent.remove(place)).map_or_else(Slot::default, |(_, slot)| slot);
        state.recent.push_front((number, Arc::clone(&slot)));
        let keep = CACHE.checked_div(block.raw_size).and_then(|count| usize::try_from(count).ok());
        state.recent.truncate(keep.unwrap_or(usize::MAX).clamp(2, 64));
        slot
    }

    /// The bytes of a block; `None` if they are all zero.
    fn bytes(&self, number: usize, block: &Block) -> Result<Option<Arc<Vec<u8>>>, Error> {
        let slot = self.slot(number, block);
        let mut decoded = lock(&slot);
        if let Some(bytes) = &*decoded {
            return Ok(Some(Arc::clone(bytes)));
        }
        let mut compressed = Vec::new();
        xz_block::read(&*self.file, block, &mut compressed)?;
        let small = block.padded() <= PATTERN_MAX;
        let known = small
            && lock(&self.state).patterns.iter().any(|(bytes, size)| *size == block.raw_size && *bytes == compressed);
        let mut raw = Vec::new();
        if !known {
            xz_block::decode(block, &compressed, &mut raw)?;
        }
        if known || is_zero(&raw) {
            if let Some(zero) = self.zero.get(number) {
                zero.store(true, Ordering::Relaxed);
            }
            if small && !known {
                let mut state = lock(&self.state);
                state.patterns.truncate(PATTERNS.saturating_sub(1));
                state.patterns.insert(0, (compressed, block.raw_size));
            }
            return Ok(None);
        }
        let bytes = Arc::new(raw);
        *decoded = Some(Arc::clone(&bytes));
        Ok(Some(bytes))
    }
}

impl ReadAt for Blocks {
    fn size(&self) -> u64 {
        self.index.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if offset >= self.index.size || buffer.is_empty() {
            return Ok(0);
        }
        // The last block that begins at or before the offset is not empty, because the offset is inside the image.
        let after = self.index.blocks.partition_point(|block| block.raw_offset <= offset);
        let number = after.saturating_sub(1);
        let Some(block) = self.index.blocks.get(number) else { return Ok(0) };
        let inside = offset.saturating_sub(block.raw_offset);
        let left = usize::try_from(block.raw_size.saturating_sub(inside)).unwrap_or(usize::MAX);
        let count = left.min(buffer.len());
        let Some(buffer) = buffer.get_mut(..count) else { return Ok(0) };
        if self.zero.get(number).is_some_and(|zero| zero.load(Ordering::Relaxed)) {
            buffer.fill(0);
            return Ok(count);
        }
        let bytes = self.bytes(number, block).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let part = bytes.as_ref().and_then(|bytes| {
            let start = usize::try_from(inside).ok()?;
            bytes.get(start..start.checked_add(count)?)
        });
        match part {
            Some(part) => buffer.copy_from_slice(part),
            None => buffer.fill(0),
        }
        Ok(count)
    }
}
