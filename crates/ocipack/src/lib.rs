//! OCI images: deterministic layers, images and archives, and a bounded reader for anybody's.
//!
//! ```
//! use std::sync::Arc;
//! use imgcore::{Blob, Epoch};
//! use ocipack::{Entry, Image, Platform, archive, layer, read};
//!
//! let files = [Entry::file("hello.txt", 0o644, Blob::from_bytes("greeting", *b"hello"))];
//! let layer = layer::build(&files, Epoch(0))?;
//! let images = ["arm64", "amd64"].map(|arch| Image::new(Platform::new("linux", arch), vec![layer.clone()], Epoch(0)));
//!
//! let archive = archive::plan(&images, &archive::Options::default())?;
//! let mut file = Vec::new();
//! archive.write_to(&mut file)?;
//!
//! let (view, report) = read::open(Arc::new(file));
//! assert!(report.is_empty());
//! assert!(view.is_some_and(|view| view.images.len() == 2 && view.verify().is_empty()));
//! # Ok::<(), ocipack::Error>(())
//! ```
//!
//! # Guarantees
//!
//! - No file system, network, clock, environment, randomness, process, printing, async. Bytes come as [`Blob`] or
//!   [`ReadAt`], and go to [`Write`]. The feature `registry` is the exception, and no great one: the network, time and
//!   chance are values of the crate `transfer` that the caller gives, files and environment are the caller's as well, and
//!   only a credential helper that a configuration names is a process.
//! - The same input gives the same bytes, whatever its order: entries, keys and blobs are sorted, times are the given
//!   [`Epoch`], owners are 0, no name of the machine enters. Digests of uncompressed tars (`diff_id`) hold across
//!   versions of the compressor; digests of compressed layers hold for one `Cargo.lock`.
//! - What is written is refused when it could hurt whoever unpacks it: paths that climb, lie below links, or are one on
//!   file systems that ignore case.
//! - Reading never panics, never unpacks to a disk, holds paths and documents but no file in memory, and stops at
//!   [`Limits`](read::Limits). Foreign faults are findings with a code of [`RULES`]; received bytes are kept, and every
//!   digest is of them.
//! - `unsafe` is forbidden. The writer and the reader share no code but names of media types.
//!
//! # Features
//!
//! - `registry`: the module `registry`, pull and push by the OCI distribution specification, over any
//!   `transfer::Transport`. `rustls` and `rustls-no-provider` bring the engine of `transfer` with them; which provider of
//!   cryptography it uses is the program's choice.
//! - `cli`: the program `ocipack`. None is on by default.
//!
//! [`Blob`]: imgcore::Blob
//! [`ReadAt`]: imgcore::ReadAt
//! [`Epoch`]: imgcore::Epoch
//! [`Write`]: std::io::Write

pub mod archive;
mod base;
mod contents;
mod document;
mod error;
mod gzip;
mod image;
pub mod layer;
pub mod layers;
pub mod lint;
pub mod media;
mod name;
mod picked;
mod platform;
mod portable;
pub mod read;
#[cfg(feature = "registry")]
pub mod registry;
pub mod rules;
mod source;
mod summary;
mod tarball;

pub use archive::Archive;
pub use base::Base;
pub use contents::{Contents, ImageParts};
pub use document::{Descriptor, Document};
pub use error::{Error, ErrorKind};
pub use image::{Config, Image};
pub use layer::{Layer, LayerInfo};
pub use picked::Picked;
pub use platform::Platform;
pub use rules::RULES;
pub use source::BlobSource;
pub use summary::{Difference, EntrySummary, ImageSummary, LayerSummary, Summary, facts, inspect};
pub use tarball::{Entry, Kind};
