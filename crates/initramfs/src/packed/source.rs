//! Buffered input that knows where it is.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::{
    io::{self, BufRead, Read},
    sync::Arc,
};

use imgcore::ReadAt;

/// Bytes that are read at a time.
const CHUNK: usize = 128 << 10;

/// The file, with a position that moves only by what was consumed: decoders take exactly their stream.
pub(super) struct Source {
    data: Arc<dyn ReadAt>,
    buffer: Vec<u8>,
    /// What of the buffer is consumed, and how much of it is filled.
    taken: usize,
    filled: usize,
    /// Offset in the file of the buffer's first byte.
    start: u64,
    /// Whether the medium failed, which is no damage.
    pub failed: bool,
}

impl Source {
    pub(super) fn new(data: Arc<dyn ReadAt>) -> Self {
        Self { data, buffer: vec![0; CHUNK], taken: 0, filled: 0, start: 0, failed: false }
    }

    /// Offset of the next byte.
    pub(super) fn position(&self) -> u64 {
        self.start.saturating_add(self.taken as u64)
    }

    /// Up to eight bytes from the position, without moving.
    pub(super) fn peek(&mut self) -> io::Result<[u8; 8]> {
        let mut head = [0; 8];
        let left = self.data.size().saturating_sub(self.position()).min(8);
        let part = head.get_mut(..usize::try_from(left).unwrap_or(0)).unwrap_or_default();
        let read = self.data.read_exact_at(self.start.saturating_add(self.taken as u64), part);
        read.inspect_err(|_| self.failed = true)?;
        Ok(head)
    }
}

impl BufRead for Source {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.taken >= self.filled {
            self.start = self.position();
            (self.taken, self.filled) = (0, 0);
            let read = self.data.read_at(self.start, &mut self.buffer);
            self.filled = read.inspect_err(|error| self.failed = error.kind() != io::ErrorKind::Interrupted)?;
        }
        Ok(self.buffer.get(self.taken..self.filled).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.taken = self.taken.saturating_add(count).min(self.filled);
    }
}

impl Read for Source {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut available = self.fill_buf()?;
        let count = available.read(buffer)?;
        self.consume(count);
        Ok(count)
    }
}
