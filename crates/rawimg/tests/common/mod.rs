//! What the tests of this crate share.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::disallowed_methods, reason = "tests may use std::fs")]

use std::{
    fs::File,
    io::{self, Seek as _, Write as _},
    os::unix::fs::FileExt as _,
    path::Path,
};

use imgcore::{ReadAt, ReadAtCursor, Report};
use rawimg::Extents;

/// Writes extents as a sparse file.
pub(crate) fn write_sparse(path: &Path, image: &Extents) {
    let mut file = File::create(path).unwrap();
    file.set_len(image.len()).unwrap();
    for leaf in image.leaves() {
        file.seek(io::SeekFrom::Start(leaf.offset)).unwrap();
        io::copy(&mut ReadAtCursor::new(&leaf.content), &mut file).unwrap();
    }
    file.flush().unwrap();
}

/// A file, read at offsets.
pub(crate) struct FileAt(File, u64);

impl FileAt {
    pub(crate) fn open(path: &Path) -> Self {
        let file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let size = file.metadata().unwrap().len();
        Self(file, size)
    }
}

impl ReadAt for FileAt {
    fn size(&self) -> u64 {
        self.1
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }
}

/// An image with some of its bytes replaced.
pub(crate) struct Patched<'a> {
    pub(crate) image: &'a dyn ReadAt,
    /// Offset and bytes.
    pub(crate) patches: Vec<(u64, Vec<u8>)>,
}

impl ReadAt for Patched<'_> {
    fn size(&self) -> u64 {
        self.image.size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.image.read_at(offset, buffer)?;
        let end = offset + count as u64;
        for (start, bytes) in &self.patches {
            let from = offset.max(*start);
            let to = end.min(start + bytes.len() as u64);
            if from < to {
                let (at, in_patch) = (index(from - offset), index(from - start));
                let len = index(to - from);
                buffer[at..at + len].copy_from_slice(&bytes[in_patch..in_patch + len]);
            }
        }
        Ok(count)
    }
}

pub(crate) fn index(value: u64) -> usize {
    usize::try_from(value).unwrap()
}

pub(crate) fn bytes_at(image: &dyn ReadAt, offset: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    image.read_exact_at(offset, &mut bytes).unwrap();
    bytes
}

pub(crate) fn codes(report: &Report) -> Vec<&'static str> {
    let mut codes: Vec<_> = report.iter().map(|finding| finding.code).collect();
    codes.sort_unstable();
    codes.dedup();
    codes
}

/// Every finding uses a listed code at the listed severity or a milder one.
pub(crate) fn check_rules(report: &Report) {
    for finding in report {
        let rule = rawimg::rules::RULES.iter().find(|(code, ..)| *code == finding.code);
        let (_, severity, _) = rule.unwrap_or_else(|| panic!("{} is not listed", finding.code));
        assert!(finding.severity <= *severity, "{finding}");
        assert!(finding.range.as_ref().is_none_or(|range| range.start <= range.end), "{finding}");
    }
}
