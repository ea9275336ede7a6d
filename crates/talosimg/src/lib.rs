//! What Talos Linux images are made of: release table, command line, META, UKI, ESP, overlay protocol.

pub mod overlay;
pub mod yaml;

mod error;
mod version;

pub use error::{Error, ErrorKind, Result};
pub use version::Version;
