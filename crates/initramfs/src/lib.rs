//! What a Linux initramfs is made of: cpio archives, SquashFS file systems, kernel modules and their dependency index.
//!
//! ```
//! use imgcore::Blob;
//! use initramfs::{Node, Tree};
//!
//! let mut tree = Tree::new();
//! tree.insert("usr/lib/firmware/rtl_nic/rtl8125b-2.fw", Node::file(0o644, Blob::from_bytes("firmware", *b"\x01\x02")))?;
//! assert_eq!(tree.iter().map(|(path, _)| path).collect::<Vec<_>>(), [
//!     "usr",
//!     "usr/lib",
//!     "usr/lib/firmware",
//!     "usr/lib/firmware/rtl_nic",
//!     "usr/lib/firmware/rtl_nic/rtl8125b-2.fw",
//! ]);
//! # Ok::<(), initramfs::Error>(())
//! ```
//!
//! # Guarantees
//!
//! - No file system, network, clock, environment, randomness, process, printing, async.
//! - No panic on any input, and bounded memory whatever a file claims.
//! - The same tree gives the same bytes: entries are sorted, owners are 0, times are the given epoch.
//! - `unsafe` is forbidden.

mod error;
mod tree;

pub use error::{Error, ErrorKind, Result};
pub use tree::{Kind, Node, Tree};
