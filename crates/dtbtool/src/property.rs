//! A property and the ways to read its value.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::{fmt, ops::Range};

/// A property of a sound tree. The value has no type of its own; each accessor answers `None` when the bytes cannot
/// be what is asked for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Property<'a> {
    name: &'a str,
    value: &'a [u8],
    offset: usize,
    value_offset: usize,
}

impl<'a> Property<'a> {
    pub(crate) fn new(name: &'a str, value: &'a [u8], offset: usize, value_offset: usize) -> Self {
        Self { name, value, offset, value_offset }
    }

    /// The name.
    pub fn name(&self) -> &'a str {
        self.name
    }

    /// The value as stored.
    pub fn value(&self) -> &'a [u8] {
        self.value
    }

    /// Offset of the property's token from the start of the tree.
    pub fn offset(&self) -> usize {
        self.offset
    }

    /// Bytes of the value, from the start of the tree.
    pub fn value_range(&self) -> Range<usize> {
        self.value_offset..self.value_offset.saturating_add(self.value.len())
    }

    /// One string: UTF-8 with one NUL, at its end.
    pub fn as_str(&self) -> Option<&'a str> {
        let (last, text) = self.value.split_last()?;
        if *last != 0 || text.contains(&0) {
            return None;
        }
        std::str::from_utf8(text).ok()
    }

    /// A list of strings: UTF-8, each with a NUL at its end.
    pub fn as_str_list(&self) -> Option<StrList<'a>> {
        let (last, text) = self.value.split_last()?;
        if *last != 0 {
            return None;
        }
        Some(StrList(Some(std::str::from_utf8(text).ok()?)))
    }

    /// One cell.
    pub fn as_u32(&self) -> Option<u32> {
        self.value.try_into().ok().map(u32::from_be_bytes)
    }

    /// Two cells, high word first.
    pub fn as_u64(&self) -> Option<u64> {
        self.value.try_into().ok().map(u64::from_be_bytes)
    }

    /// Cells, at least one.
    pub fn as_u32_list(&self) -> Option<impl ExactSizeIterator<Item = u32> + use<'a>> {
        let (cells, rest) = self.value.as_chunks::<4>();
        (!cells.is_empty() && rest.is_empty()).then(|| cells.iter().map(|cell| u32::from_be_bytes(*cell)))
    }

    /// A cell that can name a node: neither 0 nor 0xffffffff.
    pub fn as_phandle(&self) -> Option<u32> {
        self.as_u32().filter(|phandle| !matches!(*phandle, 0 | u32::MAX))
    }
}

impl fmt::Debug for Property<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Property({:?}, {} bytes at {})", self.name, self.value.len(), self.value_offset)
    }
}

/// Iterator over a list of strings.
#[derive(Debug, Clone)]
pub struct StrList<'a>(Option<&'a str>);

impl<'a> Iterator for StrList<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let rest = self.0?;
        if let Some((text, rest)) = rest.split_once('\0') {
            self.0 = Some(rest);
            Some(text)
        } else {
            self.0 = None;
            Some(rest)
        }
    }
}

impl std::iter::FusedIterator for StrList<'_> {}
