//! SquashFS 4.0 file systems: a writer for trees, and a reader for anybody's files.
//!
//! The format is described by the kernel (`fs/squashfs/squashfs_fs.h`, `Documentation/filesystems/squashfs.rst`) and by
//! what mksquashfs writes.
//!
//! ```
//! use imgcore::Blob;
//! use initramfs::{Node, Tree, squashfs};
//!
//! let mut tree = Tree::new();
//! tree.insert("usr/lib/firmware/rtl8125b-2.fw", Node::file(0o644, Blob::from_bytes("firmware", vec![7; 300_000])))?;
//! let plan = squashfs::plan(&tree, &squashfs::Options::default())?;
//! let mut image = std::io::Cursor::new(Vec::new());
//! let written = plan.write_to(&mut image)?;
//! assert_eq!(written.size, 4096);
//!
//! let (image, report) = squashfs::read(std::sync::Arc::new(image.into_inner()), &squashfs::Limits::default());
//! let image = image.expect("it is a SquashFS");
//! assert!(report.is_empty());
//! assert_eq!(image.list("usr/lib").map(|entry| entry.path.as_str()).collect::<Vec<_>>(), ["usr/lib/firmware"]);
//! let firmware = image.file("usr/lib/firmware/rtl8125b-2.fw").expect("it is a file");
//! assert_eq!(firmware.read_all(1 << 20).ok(), Some(vec![7; 300_000]));
//! # Ok::<(), initramfs::Error>(())
//! ```

mod blocks;
mod content;
mod image;
mod inodes;
mod medium;
mod metadata;
mod plan;
mod raw;
mod read;
mod tables;
mod write;
mod xattrs;

pub use image::{Entry, EntryKind, Image, Superblock};
pub use medium::Compression;
pub use plan::{Fragments, Options, Plan, plan};
pub use read::{Limits, read};
pub use write::Written;
