//! OCI images.

pub mod archive;
mod document;
mod error;
mod gzip;
mod image;
pub mod layer;
pub mod media;
mod name;
mod platform;
mod portable;
pub mod read;
pub mod rules;
mod source;
mod tarball;

pub use archive::Archive;
pub use document::{Descriptor, Document};
pub use error::{Error, ErrorKind};
pub use image::{Config, Image};
pub use layer::{Layer, LayerInfo};
pub use platform::Platform;
pub use rules::RULES;
pub use source::BlobSource;
pub use tarball::{Entry, Kind};
