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
//! assert!(image.into_inner().starts_with(b"hsqs"));
//! # Ok::<(), initramfs::Error>(())
//! ```

mod blocks;
mod inodes;
mod metadata;
mod plan;
mod raw;
mod write;
mod xattrs;

pub use plan::{Fragments, Options, Plan, plan};
pub use write::Written;
