//! An ordered map from offsets to labelled content: the one type for a disk, a partition, a file system, a boot program.
//!
//! ```
//! use imgcore::ReadAt as _;
//! use rawimg::Extents;
//!
//! let mut disk = Extents::new(4096);
//! disk.insert(512, "loader", vec![1_u8; 100].into())?;
//! let error = disk.insert(600, "table", vec![2_u8; 64].into()).unwrap_err();
//! assert!(error.to_string().starts_with("loader (LBA 1..1, bytes 512..612) overlaps table (LBA 1..1, bytes 600..664)"));
//!
//! let mut bytes = [9; 3];
//! disk.read_exact_at(510, &mut bytes)?;
//! assert_eq!(bytes, [0, 0, 1]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::{collections::BTreeMap, fmt, io, ops::Range, sync::Arc};

use imgcore::{Blob, Labelled, Layout, Overlap, ReadAt, ReadAtCursor, SectorSize};

use crate::{Error, ErrorKind};

/// Disk, partition, file system, program, section: nothing real nests deeper than five; reading recurses per level.
const DEPTH_LIMIT: u8 = 16;

/// What a range holds.
#[derive(Clone)]
#[non_exhaustive]
pub enum Content {
    /// So many zero bytes that belong to somebody: an empty partition, the rest of a table.
    Zero(u64),
    /// Bytes in memory.
    Bytes(Arc<[u8]>),
    /// A reference to data elsewhere.
    Blob(Blob),
    /// Extents of its own.
    Nested(Arc<Extents>),
}

impl Content {
    /// Size in bytes.
    pub fn len(&self) -> u64 {
        match self {
            Self::Zero(len) => *len,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Blob(blob) => blob.size(),
            Self::Nested(extents) => extents.len(),
        }
    }

    /// Whether there is not a single byte.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl ReadAt for Content {
    fn size(&self) -> u64 {
        self.len()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Zero(len) => {
                let buffer = clamp(buffer, len.saturating_sub(offset));
                buffer.fill(0);
                Ok(buffer.len())
            }
            Self::Bytes(bytes) => bytes.read_at(offset, buffer),
            Self::Blob(blob) => blob.read_at(offset, buffer),
            Self::Nested(extents) => extents.read_at(offset, buffer),
        }
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zero(len) => write!(f, "Zero({len})"),
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Self::Blob(blob) => fmt::Debug::fmt(blob, f),
            Self::Nested(extents) => fmt::Debug::fmt(extents, f),
        }
    }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl From<&[u8]> for Content {
    fn from(bytes: &[u8]) -> Self {
        Self::Bytes(bytes.into())
    }
}

impl From<Arc<[u8]>> for Content {
    fn from(bytes: Arc<[u8]>) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<Blob> for Content {
    fn from(blob: Blob) -> Self {
        Self::Blob(blob)
    }
}

impl From<Extents> for Content {
    fn from(extents: Extents) -> Self {
        Self::Nested(Arc::new(extents))
    }
}

impl From<Arc<Extents>> for Content {
    fn from(extents: Arc<Extents>) -> Self {
        Self::Nested(extents)
    }
}

/// An ordered map offset → labelled content without overlaps. What nobody claims reads as zero.
///
/// Cloning is cheap: clones share the map until one of them is changed.
#[derive(Clone)]
pub struct Extents {
    len: u64,
    sector: SectorSize,
    depth: u8,
    map: Arc<BTreeMap<u64, Extent>>,
}

#[derive(Clone)]
struct Extent {
    end: u64,
    label: Arc<str>,
    content: Content,
}

/// A piece of data with its absolute place: what is left when nesting is resolved and zeros are skipped.
#[derive(Debug, Clone)]
pub struct Leaf {
    /// Offset from the start of the outermost extents.
    pub offset: u64,
    /// The labels from the outermost extents inwards, joined by ` > `.
    pub label: String,
    /// [`Content::Bytes`] or [`Content::Blob`], never empty.
    pub content: Content,
}

impl Leaf {
    /// The bytes that this piece covers.
    pub fn range(&self) -> Range<u64> {
        self.offset..self.offset.saturating_add(self.content.len())
    }
}

impl Extents {
    /// Extents of `len` bytes, all zero and nobody's.
    pub fn new(len: u64) -> Self {
        Self { len, sector: SectorSize::B512, depth: 0, map: Arc::default() }
    }

    /// Shows LBAs in errors in this sector size.
    #[must_use]
    pub fn with_sector_size(mut self, sector: SectorSize) -> Self {
        self.sector = sector;
        self
    }

    /// Size in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether the size is 0.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Puts `content` at `offset`. Empty content claims nothing.
    ///
    /// # Errors
    /// [`ErrorKind::Overlap`] names both owners, [`ErrorKind::BeyondEnd`] the size there is, [`ErrorKind::TooDeep`]
    /// refuses absurd nesting. The extents are unchanged then.
    pub fn insert(&mut self, offset: u64, label: &str, content: Content) -> Result<(), Error> {
        let len = content.len();
        let end = offset.checked_add(len).filter(|end| *end <= self.len).ok_or_else(|| ErrorKind::BeyondEnd {
            label: label.to_owned(),
            range: offset..offset.saturating_add(len),
            size: self.len,
        })?;
        let depth = match &content {
            Content::Nested(inner) => inner.depth.saturating_add(1),
            _ => 0,
        };
        if depth > DEPTH_LIMIT {
            return Err(ErrorKind::TooDeep { label: label.to_owned(), limit: DEPTH_LIMIT }.into());
        }
        if len == 0 {
            return Ok(());
        }
        // Extents do not overlap, so only the last one that starts before `end` can reach into the range.
        if let Some((start, other)) = self.map.range(..end).next_back()
            && other.end > offset
        {
            let new = Labelled { owner: label.to_owned(), range: offset..end };
            let old = Labelled { owner: other.label.to_string(), range: *start..other.end };
            let (first, second) = if *start <= offset { (old, new) } else { (new, old) };
            return Err(ErrorKind::Overlap { overlap: Overlap { first, second }, sector: self.sector }.into());
        }
        self.depth = self.depth.max(depth);
        Arc::make_mut(&mut self.map).insert(offset, Extent { end, label: label.into(), content });
        Ok(())
    }

    /// The data, nesting resolved, zeros skipped, by offset.
    pub fn leaves(&self) -> Leaves<'_> {
        Leaves { stack: vec![Level { base: 0, label: String::new(), rest: self.map.iter() }] }
    }

    /// The maximal ranges without data, by offset: they read as zero.
    pub fn holes(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        let mut at = 0;
        let end = self.len;
        self.leaves().map(|leaf| leaf.range()).chain(std::iter::once(end..end)).filter_map(move |data| {
            let hole = at..data.start;
            at = data.end;
            (!hole.is_empty()).then_some(hole)
        })
    }

    /// Who owns which bytes at the outermost level.
    pub fn layout(&self) -> Layout {
        let mut layout = Layout::new();
        for (start, extent) in self.map.iter() {
            layout.add(&*extent.label, *start..extent.end);
        }
        layout
    }

    /// `Read` and `Seek` over a clone.
    pub fn cursor(&self) -> ReadAtCursor<Self> {
        ReadAtCursor::new(self.clone())
    }
}

impl ReadAt for Extents {
    fn size(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut buffer = clamp(buffer, self.len.saturating_sub(offset));
        let count = buffer.len();
        let end = offset.saturating_add(count as u64);
        // The extent that begins before `offset` may reach into the buffer.
        let first = self.map.range(..=offset).next_back().map_or(offset, |(start, _)| *start);
        let mut at = offset;
        for (start, extent) in self.map.range(first..end).filter(|(_, extent)| extent.end > offset) {
            let (gap, rest) = split(buffer, start.saturating_sub(at));
            gap.fill(0);
            at = at.max(*start);
            let (data, rest) = split(rest, extent.end.saturating_sub(at));
            extent.content.read_exact_at(at.saturating_sub(*start), data)?;
            at = extent.end;
            buffer = rest;
        }
        buffer.fill(0);
        Ok(count)
    }
}

impl fmt::Debug for Extents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Extents({} bytes) ", self.len)?;
        f.debug_map()
            .entries(self.map.iter().map(|(start, extent)| (format!("{start} {}", extent.label), &extent.content)))
            .finish()
    }
}

/// See [`Extents::leaves`].
#[derive(Debug)]
pub struct Leaves<'a> {
    stack: Vec<Level<'a>>,
}

struct Level<'a> {
    base: u64,
    label: String,
    rest: std::collections::btree_map::Iter<'a, u64, Extent>,
}

impl fmt::Debug for Level<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Level({} at {})", self.label, self.base)
    }
}

impl Iterator for Leaves<'_> {
    type Item = Leaf;

    fn next(&mut self) -> Option<Leaf> {
        loop {
            let level = self.stack.last_mut()?;
            let Some((start, extent)) = level.rest.next() else {
                self.stack.pop();
                continue;
            };
            let offset = level.base.saturating_add(*start);
            let label = if level.label.is_empty() {
                extent.label.to_string()
            } else {
                format!("{} > {}", level.label, extent.label)
            };
            match &extent.content {
                Content::Zero(_) => {}
                Content::Nested(inner) => self.stack.push(Level { base: offset, label, rest: inner.map.iter() }),
                content @ (Content::Bytes(_) | Content::Blob(_)) => {
                    return Some(Leaf { offset, label, content: content.clone() });
                }
            }
        }
    }
}

fn clamp(buffer: &mut [u8], limit: u64) -> &mut [u8] {
    split(buffer, limit).0
}

fn split(buffer: &mut [u8], at: u64) -> (&mut [u8], &mut [u8]) {
    let at = usize::try_from(at).unwrap_or(usize::MAX).min(buffer.len());
    buffer.split_at_mut_checked(at).unwrap_or_default()
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::single_range_in_vec_init, reason = "numbers of the tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn overlap_names_both_owners_in_disk_order() {
        let mut disk = Extents::new(16 << 20);
        disk.insert(10_486_784, "GPT entry array", Content::Zero(16_384)).unwrap();
        let error = disk.insert(8_388_608, "uboot.img", Content::Zero(4 << 20)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "uboot.img (LBA 16384..24575, bytes 8388608..12582912) overlaps GPT entry array (LBA 20482..20513, bytes \
             10486784..10503168) in LBA 20482..20513, bytes 10486784..10503168: move or shorten one of them"
        );
        assert!(matches!(error.kind(), ErrorKind::Overlap { .. }));
        let error = disk.insert((16 << 20) - 1, "tail", Content::Zero(2)).unwrap_err();
        assert_eq!(
            error.to_string(),
            "tail needs bytes 16777215..16777217, but there are only 16777216 bytes: enlarge the whole or shrink the part"
        );
        assert!(disk.insert(u64::MAX, "far", Content::Zero(2)).is_err());
        disk.insert(10_486_784, "empty", Content::Zero(0)).unwrap();
        assert_eq!(disk.layout().sorted().len(), 1);
    }

    #[test]
    fn nesting_is_flattened_and_capped() {
        let mut inner = Extents::new(10);
        inner.insert(2, "b", vec![1, 2, 3].into()).unwrap();
        inner.insert(7, "z", Content::Zero(2)).unwrap();
        let mut outer = Extents::new(30);
        outer.insert(5, "a", inner.into()).unwrap();
        outer.insert(20, "c", Blob::from_bytes("x", vec![9; 4]).slice(1..3).into()).unwrap();
        let leaves: Vec<_> = outer.leaves().map(|leaf| (leaf.label.clone(), leaf.range())).collect();
        assert_eq!(leaves, [("a > b".to_owned(), 7..10), ("c".to_owned(), 20..22)]);
        assert_eq!(outer.holes().collect::<Vec<_>>(), [0..7, 10..20, 22..30]);
        assert_eq!(Extents::new(3).holes().collect::<Vec<_>>(), [0..3]);
        assert_eq!(Extents::new(0).holes().count(), 0);

        let mut deep = Extents::new(1);
        let error = loop {
            let mut next = Extents::new(1);
            match next.insert(0, "x", deep.into()) {
                Ok(()) => deep = next,
                Err(error) => break error,
            }
        };
        assert!(matches!(error.kind(), ErrorKind::TooDeep { .. }));
    }

    #[test]
    fn clones_do_not_see_later_changes() {
        let mut a = Extents::new(4);
        let b = a.clone();
        a.insert(0, "x", vec![1].into()).unwrap();
        assert_eq!((a.leaves().count(), b.leaves().count()), (1, 0));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]
        #[test]
        fn inserts_equal_a_brute_force_map(
            inserts in prop::collection::vec((0_u64..70, 0_u64..12, 0_u8..4), 0..16),
            reads in prop::collection::vec((0_u64..70, 0_usize..70), 8),
        ) {
            let mut extents = Extents::new(64);
            let mut bytes = vec![0_u8; 64];
            let mut owner = [None; 64];
            for (index, (offset, len, kind)) in inserts.iter().enumerate() {
                let data: Vec<u8> = (0..*len).map(|i| u8::try_from(i).unwrap() * 16 + u8::try_from(index).unwrap() + 1).collect();
                let content = match kind {
                    0 => Content::Zero(*len),
                    1 => data.clone().into(),
                    2 => Blob::from_bytes("b", data.clone()).into(),
                    _ => {
                        let mut inner = Extents::new(*len);
                        inner.insert(0, "inner", data.clone().into()).unwrap();
                        inner.into()
                    }
                };
                let range = usize::try_from(*offset).unwrap()..usize::try_from(offset + len).unwrap();
                let expected = if range.end > 64 {
                    None
                } else if owner[range.clone()].iter().any(Option::is_some) {
                    Some(owner[range.clone()].iter().flatten().copied().collect::<Vec<usize>>())
                } else {
                    owner[range.clone()].fill(Some(index));
                    if *kind != 0 {
                        bytes[range].copy_from_slice(&data);
                    }
                    Some(vec![])
                };
                match (extents.insert(*offset, &index.to_string(), content).map_err(Error::into_kind), expected) {
                    (Ok(()), Some(others)) => prop_assert!(others.is_empty()),
                    (Err(ErrorKind::BeyondEnd { .. }), None) => {}
                    (Err(ErrorKind::Overlap { overlap, .. }), Some(others)) => {
                        let names = [overlap.first.owner.clone(), overlap.second.owner.clone()];
                        prop_assert!(names.contains(&index.to_string()));
                        prop_assert!(others.iter().any(|other| names.contains(&other.to_string())));
                        prop_assert!(!overlap.shared().is_empty());
                    }
                    (got, expected) => prop_assert!(false, "{got:?} {expected:?}"),
                }
            }
            for (offset, len) in reads {
                let mut buffer = vec![0xee; len];
                let count = extents.read_at(offset, &mut buffer).unwrap();
                let from = usize::try_from(offset).unwrap().min(64);
                let want = &bytes[from..(from + len).min(64)];
                prop_assert_eq!(&buffer[..count], want);
            }
            let mut from_leaves = vec![0_u8; 64];
            for leaf in extents.leaves() {
                let range = usize::try_from(leaf.offset).unwrap()..usize::try_from(leaf.range().end).unwrap();
                leaf.content.read_exact_at(0, &mut from_leaves[range]).unwrap();
            }
            prop_assert_eq!(&from_leaves, &bytes);
            let data: u64 = extents.leaves().map(|leaf| leaf.content.len()).sum();
            let holes: u64 = extents.holes().map(|hole| hole.end - hole.start).sum();
            prop_assert_eq!(data + holes, 64);
        }
    }
}
