//! Disk images: extents, GPT, FAT32, sparse and compressed sinks, readers for verification.

mod error;
pub mod extents;
pub mod fat;
pub mod gpt;
pub mod rules;
pub mod sink;
pub mod source;
mod window;

pub use error::{Error, ErrorKind, Need};
pub use extents::{Content, Extents, Leaf};
pub use gpt_disk_types::{Guid, guid};
pub use window::Window;
