//! What Talos Linux images are made of: release table, command line, META, UKI, ESP, overlay protocol.

pub mod overlay;
pub mod profile;
pub mod yaml;

mod bootloader;
mod error;
mod version;

#[cfg(feature = "image")]
pub mod cmdline;
#[cfg(feature = "image")]
pub mod meta;
#[cfg(feature = "image")]
pub mod release;
#[cfg(feature = "image")]
pub mod rules;
#[cfg(feature = "image")]
pub mod uki;

pub use bootloader::Bootloader;
pub use error::{Error, ErrorKind, Result};
pub use version::Version;
