//! A part of something readable, as readable.

use std::{io, ops::Range};

use imgcore::ReadAt;

/// A byte range of a reader that is only borrowed, or of one that is shared: a partition of a disk.
#[derive(Debug, Clone)]
pub struct Window<R> {
    inner: R,
    start: u64,
    len: u64,
}

impl<R: ReadAt> Window<R> {
    /// The bytes `range` of `inner`, clamped to its end.
    pub fn new(inner: R, range: Range<u64>) -> Self {
        let start = range.start.min(inner.size());
        let end = range.end.clamp(start, inner.size());
        Self { inner, start, len: end.saturating_sub(start) }
    }
}

impl<R: ReadAt> ReadAt for Window<R> {
    fn size(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let count = left.min(buffer.len());
        self.inner.read_at(self.start.saturating_add(offset), buffer.get_mut(..count).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_ends_where_it_should() {
        let bytes: Vec<u8> = (0..10).collect();
        let window = Window::new(&bytes, 4..7);
        let mut buffer = [9; 5];
        assert_eq!(window.read_at(1, &mut buffer).ok(), Some(2));
        assert_eq!(buffer, [5, 6, 9, 9, 9]);
        assert_eq!(window.read_at(3, &mut buffer).ok(), Some(0));
        assert_eq!(Window::new(&bytes, 8..99).size(), 2);
        #[expect(clippy::reversed_empty_ranges, reason = "foreign ranges come like this")]
        let reversed = Window::new(&bytes, 7..3);
        assert_eq!(reversed.size(), 0);
    }
}
