//! Value types that disk-image tools share: digests, blobs that are read at an offset, findings, labelled byte
//! ranges, units, progress.
//!
//! ```
//! use imgcore::{Blob, Digest, Layout, ReadAt as _};
//!
//! let loader = Blob::from_bytes("idbloader.img", vec![0x52; 1024]);
//! assert_eq!(loader.size(), 1024);
//! assert_eq!(Digest::of(b"").to_string(),
//!     "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
//!
//! let mut layout = Layout::new();
//! layout.add("idbloader.img", 32_768..33_792);
//! layout.add("GPT entry array", 33_280..49_664);
//! let overlap = &layout.overlaps()[0];
//! assert_eq!(overlap.to_string(),
//!     "idbloader.img [32768..33792) overlaps GPT entry array [33280..49664) in bytes [33280..33792)");
//! ```
//!
//! # Guarantees
//!
//! - No file system, network, clock, environment, randomness, process, printing, async.
//! - No panic on any input.
//! - The same calls give the same values: nothing is iterated in hash order.
//! - `unsafe` is forbidden.

mod blob;
mod digest;
mod epoch;
mod finding;
mod layout;
mod progress;
mod text;
mod units;

pub use blob::{Blob, ReadAt, ReadAtCursor};
pub use digest::{Digest, Hasher, HashingWriter, ParseDigestError};
pub use epoch::{CivilTime, Epoch};
pub use finding::{Fact, Finding, Report, Severity};
pub use layout::{Labelled, Layout, Overlap};
pub use progress::{NoProgress, Progress};
pub use text::nearest;
pub use units::{ByteSize, Lba, SectorSize, Sectors};
