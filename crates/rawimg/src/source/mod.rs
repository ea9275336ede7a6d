//! Reading a compressed image at any offset, without unpacking it to disk.
//!
//! An `.xz` file made of blocks is decoded block by block, on demand. Everything else (`.zst`, `.gz`, an `.xz` of one
//! giant block) can only be decoded from its start; then the whole image is decoded once and what is not zero is kept
//! in memory, up to a limit.
//!
//! ```
//! use std::sync::Arc;
//! use imgcore::{NoProgress, ReadAt as _};
//! use rawimg::{Extents, sink, source};
//!
//! let mut disk = Extents::new(20 << 20);
//! disk.insert(5 << 20, "data", b"hello".to_vec().into())?;
//! let mut file = Vec::new();
//! sink::write(&disk, sink::Format::Xz, &Default::default(), &mut file, &NoProgress)?;
//!
//! let read = source::open(Arc::new(file))?;
//! let mut bytes = [0; 7];
//! read.read_exact_at((5 << 20) - 1, &mut bytes)?;
//! assert_eq!(&bytes, b"\0hello\0");
//! assert_eq!(read.size(), 20 << 20);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Guarantees
//!
//! Any file gives a reader or an error: no panic, no endless work, and memory is bounded by [`Limits`], whatever the
//! file claims. A file whose end is missing gives an error that says so.

#![cfg_attr(
    not(all(feature = "xz", feature = "zst", feature = "gz")),
    allow(dead_code, unused_imports, unused_variables, reason = "what the formats share is used by some of them")
)]

mod forward;
mod kind;
#[cfg(feature = "xz")]
mod xz;
#[cfg(feature = "xz")]
pub(crate) mod xz_block;
#[cfg(feature = "xz")]
pub(crate) mod xz_index;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use imgcore::ReadAt;

#[cfg(feature = "gz")]
pub use self::forward::Members as GzipMembers;
use self::kind::Kind;
use crate::Error;

/// How large a thing may be that a compressed file claims to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of a decoded image.
    pub image: u64,
    /// Most bytes kept in memory of an image that can only be decoded from its start.
    pub kept: u64,
}

impl Default for Limits {
    /// 64 GiB and 1 GiB.
    fn default() -> Self {
        Self { image: 64 << 30, kept: 1 << 30 }
    }
}

/// Opens an image file, compressed or not, by its first bytes. What is neither xz nor zstd nor gzip is taken as it is.
///
/// # Errors
/// [`Damaged`](crate::ErrorKind::Damaged) for a damaged or truncated file,
/// [`Unsupported`](crate::ErrorKind::Unsupported) for one beyond the default [`Limits`] or in a format that is not
/// built in, [`Io`](crate::ErrorKind::Io) from reading. Damage inside a block of an `.xz` file shows when it is read.
pub fn open(file: Arc<dyn ReadAt>) -> Result<Arc<dyn ReadAt>, Error> {
    open_with(file, Limits::default())
}

/// [`open`] with other limits.
///
/// # Errors
/// As [`open`].
pub fn open_with(file: Arc<dyn ReadAt>, limits: Limits) -> Result<Arc<dyn ReadAt>, Error> {
    match Kind::of(&*file)? {
        Kind::Raw => Ok(file),
        #[cfg(feature = "xz")]
        Kind::Xz => xz::open(file, limits),
        #[cfg(feature = "zst")]
        Kind::Zstd => Ok(Arc::new(forward::zstd(&*file, limits)?)),
        #[cfg(feature = "gz")]
        Kind::Gzip => Ok(Arc::new(forward::gzip(&*file, limits)?)),
        #[cfg(not(all(feature = "xz", feature = "zst", feature = "gz")))]
        other => Err(other.not_built()),
    }
}
