//! A whole initramfs: cpio archives one behind the other, plain or compressed, with zeros between them.
//!
//! The grammar is the kernel's (`init/initramfs.c`): a `0` at a multiple of four begins a plain archive, a zero is skipped,
//! anything else must be the magic of a compression. That is why something can be added to an initramfs by writing it
//! behind, whatever the file's own compression.
//!
//! ```
//! use std::{io::Read as _, sync::Arc};
//!
//! use imgcore::{Blob, Epoch};
//! use initramfs::{Node, Tree, cpio, packed};
//!
//! let mut tree = Tree::new();
//! tree.insert("etc/motd", Node::file(0o644, Blob::from_bytes("motd", *b"hello\n")))?;
//! let mut initramfs = Vec::new();
//! packed::zstd(&cpio::plan(&tree, Epoch(0))?, &mut initramfs)?;
//!
//! let mut seen = Vec::new();
//! let (summary, report) = packed::read(Arc::new(initramfs), &packed::Limits::default(), &mut |header, data| {
//!     let mut bytes = Vec::new();
//!     data.read_to_end(&mut bytes)?;
//!     seen.push((header.path().into_owned(), bytes));
//!     Ok(())
//! });
//! assert!(report.is_empty());
//! assert_eq!(summary.segments[0].compression, packed::Compression::Zstd);
//! assert_eq!(seen, [("etc".to_owned(), vec![]), ("etc/motd".to_owned(), b"hello\n".to_vec())]);
//! # Ok::<(), initramfs::Error>(())
//! ```

mod append;
mod compression;
mod entries;
mod read;
mod source;

pub use append::zstd;
pub use compression::Compression;
pub use read::{Limits, Segment, Summary, read};
