//! The file below an image: blocks of metadata and data, unpacked, with the last ones kept.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::{
    collections::VecDeque,
    fmt, io,
    sync::{Arc, Mutex, PoisonError},
};

use flate2::{Decompress, FlushDecompress, Status};
use imgcore::{ByteSize, ReadAt};
use liblzma::stream::{Action, Stream};
use zerocopy::FromBytes;

use super::raw::{DATA_STORED, METADATA, METADATA_STORED};

/// Blocks of metadata that are kept: half a mebibyte.
const METADATA_KEPT: usize = 64;
/// Blocks of data that are kept: one for each of a few files that are read in turns.
const DATA_KEPT: usize = 8;
/// Memory for one xz or lzma block: the dictionary is at most a block.
const XZ_MEMORY: u64 = 64 * ByteSize::MIB;

/// How an image is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// zlib.
    Gzip,
    /// The format before xz.
    Lzma,
    /// xz.
    Xz,
    /// Zstandard.
    Zstd,
}

impl Compression {
    /// By the number in the superblock, or what it would be.
    pub(super) fn of(number: u16) -> Result<Self, &'static str> {
        Ok(match number {
            1 => Self::Gzip,
            2 => Self::Lzma,
            4 => Self::Xz,
            6 => Self::Zstd,
            3 => return Err("LZO"),
            5 => return Err("LZ4"),
            _ => return Err("something unknown"),
        })
    }

    /// Unpacks a block of at most `limit` bytes.
    fn unpack(self, packed: &[u8], limit: usize) -> io::Result<Vec<u8>> {
        let damaged = |problem: String| io::Error::new(io::ErrorKind::InvalidData, problem);
        let xz = |stream: Result<Stream, liblzma::stream::Error>| -> io::Result<Vec<u8>> {
            let mut stream = stream?;
            let mut plain = Vec::with_capacity(limit);
            let status = stream.process_vec(packed, &mut plain, Action::Finish)?;
            // The last byte may have come before the end was seen; nothing more fits.
            if status != liblzma::stream::Status::StreamEnd && plain.len() < limit {
                return Err(damaged("the block is cut off".to_owned()));
            }
            Ok(plain)
        };
        match self {
            Self::Gzip => {
                let mut plain = Vec::with_capacity(limit);
                let status = Decompress::new(true).decompress_vec(packed, &mut plain, FlushDecompress::Finish);
                match status.map_err(|error| damaged(error.to_string()))? {
                    Status::StreamEnd => Ok(plain),
                    _ => Err(damaged(format!("the block is cut off, or has more than {limit} bytes"))),
                }
            }
            Self::Lzma => xz(Stream::new_lzma_decoder(XZ_MEMORY)),
            Self::Xz => xz(Stream::new_stream_decoder(XZ_MEMORY, 0)),
            Self::Zstd => zstd::bulk::decompress(packed, limit),
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gzip => "gzip",
            Self::Lzma => "lzma",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
        })
    }
}

/// A block that was unpacked, and where the next one begins.
type MetadataBlock = (Vec<u8>, u64);

pub(super) struct Medium {
    data: Arc<dyn ReadAt>,
    pub compression: Compression,
    pub block_size: u32,
    /// Bytes of the file system; everything lies in front of that.
    pub size: u64,
    metadata: Mutex<Kept<u64, MetadataBlock>>,
    blocks: Mutex<Kept<(u64, u32), Vec<u8>>>,
}

pub(super) fn invalid(problem: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem.into())
}

impl Medium {
    pub(super) fn new(data: Arc<dyn ReadAt>, compression: Compression, block_size: u32, size: u64) -> Self {
        let (metadata, blocks) = (Mutex::new(Kept::new(METADATA_KEPT)), Mutex::new(Kept::new(DATA_KEPT)));
        Self { data, compression, block_size, size, metadata, blocks }
    }

    /// Bytes as they lie in the file.
    fn raw(&self, at: u64, count: usize, what: &str) -> io::Result<Vec<u8>> {
        if at.checked_add(count as u64).is_none_or(|end| end > self.size) {
            let size = self.size;
            return Err(invalid(format!("{what} at byte {at} with {count} bytes lies behind the end at {size}")));
        }
        let mut bytes = vec![0; count];
        self.data.read_exact_at(at, &mut bytes)?;
        Ok(bytes)
    }

    /// A structure that is not compressed.
    pub(super) fn plain<T: FromBytes>(&self, at: u64, what: &str) -> io::Result<T> {
        let bytes = self.raw(at, size_of::<T>(), what)?;
        T::read_from_bytes(&bytes).map_err(|_| invalid(format!("{what} at byte {at} is cut off")))
    }

    /// The block of metadata at `at`.
    fn metadata(&self, at: u64, budget: &mut u64) -> io::Result<Arc<MetadataBlock>> {
        let lock = || self.metadata.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(block) = lock().get(&at) {
            return Ok(block);
        }
        spend(budget, METADATA)?;
        let length: zerocopy::little_endian::U16 = self.plain(at, "metadata")?;
        let count = usize::from(length.get() & !METADATA_STORED);
        if count == 0 || count > METADATA {
            return Err(invalid(format!("metadata at byte {at} has {count} bytes, expected 1 to {METADATA}")));
        }
        let start = at.saturating_add(2);
        let bytes = self.raw(start, count, "metadata")?;
        let bytes = if length.get() & METADATA_STORED == 0 {
            let unpacked = self.compression.unpack(&bytes, METADATA);
            unpacked.map_err(|error| invalid(format!("metadata at byte {at} cannot be unpacked: {error}")))?
        } else {
            bytes
        };
        if bytes.is_empty() {
            return Err(invalid(format!("metadata at byte {at} unpacks to nothing")));
        }
        let block = Arc::new((bytes, start.saturating_add(count as u64)));
        lock().put(at, Arc::clone(&block));
        Ok(block)
    }

    /// The block of data at `at` whose length is stated by `word`, of at most a block's size.
    pub(super) fn block(&self, at: u64, word: u32) -> io::Result<Arc<Vec<u8>>> {
        let lock = || self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(block) = lock().get(&(at, word)) {
            return Ok(block);
        }
        let size = usize::try_from(self.block_size).unwrap_or(usize::MAX);
        let count = usize::try_from(block_length(word)).unwrap_or(usize::MAX);
        if count > size {
            return Err(invalid(format!("the block at byte {at} has {count} bytes, at most {size} fit")));
        }
        let bytes = self.raw(at, count, "a block")?;
        let bytes = if word & DATA_STORED == 0 {
            let unpacked = self.compression.unpack(&bytes, size);
            unpacked.map_err(|error| invalid(format!("the block at byte {at} cannot be unpacked: {error}")))?
        } else {
            bytes
        };
        let block = Arc::new(bytes);
        lock().put((at, word), Arc::clone(&block));
        Ok(block)
    }
}

/// Bytes that a block takes in the file.
pub(super) fn block_length(word: u32) -> u32 {
    word & DATA_STORED.saturating_sub(1)
}

/// Takes from what may be read of metadata.
pub(super) fn spend(budget: &mut u64, count: usize) -> io::Result<()> {
    *budget = budget.checked_sub(count as u64).ok_or_else(|| io::Error::from(io::ErrorKind::QuotaExceeded))?;
    Ok(())
}

/// A place in a row of metadata, from which structures are read.
#[derive(Clone, Copy)]
pub(super) struct Cursor {
    pub block: u64,
    pub offset: usize,
}

impl Cursor {
    /// From a reference relative to a table.
    pub(super) fn new(table: u64, reference: u64) -> Self {
        let offset = usize::try_from(reference & 0xffff).unwrap_or(usize::MAX);
        Self { block: table.saturating_add(reference >> 16), offset }
    }

    /// Fills the buffer and moves on, over block borders.
    pub(super) fn fill(&mut self, medium: &Medium, mut buffer: &mut [u8], budget: &mut u64) -> io::Result<()> {
        spend(budget, buffer.len())?;
        while !buffer.is_empty() {
            let block = medium.metadata(self.block, budget)?;
            let (bytes, next) = &*block;
            let rest = bytes.get(self.offset..).ok_or_else(|| {
                let (at, offset, length) = (self.block, self.offset, bytes.len());
                invalid(format!("metadata at byte {at} has {length} bytes, but byte {offset} is referred to"))
            })?;
            if rest.is_empty() {
                (self.block, self.offset) = (*next, 0);
                continue;
            }
            let count = rest.len().min(buffer.len());
            if let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) {
                to.copy_from_slice(from);
            }
            buffer = buffer.get_mut(count..).unwrap_or_default();
            self.offset = self.offset.saturating_add(count);
        }
        Ok(())
    }

    /// Reads a structure.
    pub(super) fn take<T>(&mut self, medium: &Medium, budget: &mut u64) -> io::Result<T>
    where
        T: FromBytes + zerocopy::IntoBytes + zerocopy::KnownLayout,
    {
        let mut value = T::new_zeroed();
        self.fill(medium, value.as_mut_bytes(), budget)?;
        Ok(value)
    }

    /// Reads bytes; the caller has bounded their count.
    pub(super) fn bytes(&mut self, medium: &Medium, count: usize, budget: &mut u64) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; count];
        self.fill(medium, &mut bytes, budget)?;
        Ok(bytes)
    }
}

/// The values that were used last.
struct Kept<K, V> {
    values: VecDeque<(K, Arc<V>)>,
    limit: usize,
}

impl<K: PartialEq, V> Kept<K, V> {
    fn new(limit: usize) -> Self {
        Self { values: VecDeque::with_capacity(limit), limit }
    }

    fn get(&mut self, key: &K) -> Option<Arc<V>> {
        let at = self.values.iter().position(|(known, _)| known == key)?;
        let kept = self.values.remove(at)?;
        let value = Arc::clone(&kept.1);
        self.values.push_front(kept);
        Some(value)
    }

    fn put(&mut self, key: K, value: Arc<V>) {
        self.values.truncate(self.limit.saturating_sub(1));
        self.values.push_front((key, value));
    }
}
