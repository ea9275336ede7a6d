//! Writing an image once, forward: raw, `.xz`, `.zst`, `.gz`, and checking what was written.
//!
//! The compressors know the holes of [`Extents`]. A run of zeros costs a constant piece of output, repeated; data
//! that does not shrink is stored instead of being ground through an encoder. What comes out is a plain file that
//! every tool reads.
//!
//! ```
//! use std::sync::Arc;
//! use imgcore::NoProgress;
//! use rawimg::{Extents, sink};
//!
//! let mut disk = Extents::new(64 << 20);
//! disk.insert(32_768, "loader", vec![0x52; 9000].into())?;
//!
//! let options = sink::Options { workers: 2, ..Default::default() };
//! let mut file = Vec::new();
//! let written = sink::write(&disk, sink::Format::Xz, &options, &mut file, &NoProgress)?;
//! assert_eq!(written.size, file.len() as u64);
//! assert_eq!(written.raw_size, 64 << 20);
//! assert!(file.len() < 13_000);
//!
//! // Read it again with other code, before anybody trusts it.
//! sink::check(Arc::new(file), sink::Format::Xz, &written, &options, &NoProgress)?;
//! # Ok::<(), rawimg::Error>(())
//! ```
//!
//! # Guarantees
//!
//! - The bytes are a function of the image's bytes and the format: not of the number of workers, not of how the
//!   extents are cut. `.xz` comes from this source alone; `.zst` depends on the version of libzstd, `.gz` on that of
//!   zlib-rs.
//! - One forward pass; memory is bounded by the number of workers, about 10 MiB each.
//! - A write that fails or is cancelled leaves a part of a file: the caller writes to a temporary name.

#![cfg_attr(
    not(all(feature = "xz", feature = "zst", feature = "gz")),
    allow(dead_code, unused_imports, reason = "what the formats share is used by some of them")
)]
#![allow(
    clippy::cast_possible_truncation,
    reason = "sizes of units (at most 1 MiB), of chunks (at most 2 MiB) and of runs inside them; bytes cut from codes on purpose"
)]

mod cells;
mod check;
mod checksum;
mod format;
mod hashes;
mod output;
mod pass;
mod raw;

#[cfg(feature = "gz")]
mod gz;
#[cfg(feature = "xz")]
mod xz;
#[cfg(feature = "zst")]
mod zst;

use std::{
    io::{Seek, Write},
    ops::Range,
};

use imgcore::{Digest, Progress};

use crate::{Error, Extents};

#[cfg(feature = "xz")]
pub(crate) use cells::is_zero;
pub use check::{check, check_raw_sparse};
pub use format::Format;

/// Workers beyond this bring nothing but memory.
const MAX_WORKERS: usize = 8;

/// How to write and check. Nothing here changes the bytes that are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Threads that compress, 1 to 8; each takes about 10 MiB. Callers usually give
    /// `std::thread::available_parallelism`.
    pub workers: usize,
    /// Whether to compute the SHA-256 of the raw image as well. It is the slowest part where it is on: about 0.7 s
    /// per GiB, on a thread of its own. [`Format::Raw`] always has it.
    pub hash_raw: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { workers: 1, hash_raw: false }
    }
}

impl Options {
    fn threads(&self) -> usize {
        self.workers.clamp(1, MAX_WORKERS)
    }
}

/// What was written, and what a reader must find.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Size of the output in bytes.
    pub size: u64,
    /// SHA-256 of the output.
    pub digest: Digest,
    /// Size of the raw image in bytes.
    pub raw_size: u64,
    /// SHA-256 of the raw image, if it was asked for.
    pub raw_digest: Option<Digest>,
    /// Checksums of the raw image, in order and without gaps.
    pub units: Vec<UnitSum>,
}

/// The checksum of one piece of the raw image: a run of zeros, or up to 1 MiB of data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitSum {
    /// Bytes of the raw image.
    pub range: Range<u64>,
    /// CRC-64/XZ of these bytes.
    pub crc64: u64,
    /// Whether they are all zero.
    pub zero: bool,
}

/// Writes `image` as `format` to `out`, front to back. A raw image is written with all its zeros; see
/// [`write_raw_sparse`].
///
/// # Errors
/// [`Io`](crate::ErrorKind::Io) from reading the image or writing `out`, [`Cancelled`](crate::ErrorKind::Cancelled),
/// [`Unsupported`](crate::ErrorKind::Unsupported) if the crate was built without the format's feature.
pub fn write(
    image: &Extents,
    format: Format,
    options: &Options,
    out: &mut dyn Write,
    progress: &dyn Progress,
) -> Result<Written, Error> {
    match format {
        Format::Raw => raw::write(image, options, out, progress),
        #[cfg(feature = "xz")]
        Format::Xz => xz::write(image, options, out, progress),
        #[cfg(feature = "zst")]
        Format::Zst => zst::write(image, options, out, progress),
        #[cfg(feature = "gz")]
        Format::Gz => gz::write(image, options, out, progress),
        #[cfg(not(all(feature = "xz", feature = "zst", feature = "gz")))]
        other => Err(other.not_built()),
    }
}

/// Writes the raw image with holes: zeros are skipped by seeking. `out` must be empty (a new file) and is written
/// from its byte 0; the last byte is always written, so that the size is right.
///
/// ```
/// # use std::io::Cursor;
/// let mut disk = rawimg::Extents::new(1 << 20);
/// disk.insert(512, "loader", vec![1; 4].into())?;
/// let mut file = Cursor::new(Vec::new());
/// let written = rawimg::sink::write_raw_sparse(&disk, &Default::default(), &mut file, &imgcore::NoProgress)?;
/// assert_eq!(file.get_ref().len(), 1 << 20);
/// assert_eq!(written.digest, imgcore::Digest::of(file.get_ref()));
/// # Ok::<(), rawimg::Error>(())
/// ```
///
/// # Errors
/// As [`write()`].
pub fn write_raw_sparse<W: Write + Seek>(
    image: &Extents,
    options: &Options,
    out: &mut W,
    progress: &dyn Progress,
) -> Result<Written, Error> {
    raw::write_sparse(image, options, out, progress)
}

#[cfg(test)]
mod tests;
