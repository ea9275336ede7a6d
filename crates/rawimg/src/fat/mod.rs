//! FAT32: composing a file system in one forward pass, and examining any.
//!
//! The composer knows the whole [`Tree`] before the first byte, so it places every file in one run of clusters and
//! refers to its content instead of copying it. The geometry is that of `mkfs.fat` 4.2, computed by its rules, so that
//! a file system of ours cannot be told from one made by the usual tools. The reader shares no code with it.
//!
//! ```
//! use imgcore::Blob;
//! use rawimg::fat;
//!
//! let mut tree = fat::Tree::new();
//! tree.add_file("EFI/boot/BOOTAA64.efi", Blob::from_bytes("loader", vec![7; 100_000]).into())?;
//! let plan = fat::plan(&tree, &fat::Options { size: 100 << 20, label: "EFI".to_owned(), ..Default::default() })?;
//! assert_eq!((plan.geometry.fat_sectors, plan.geometry.sectors_per_cluster), (1576, 1));
//!
//! let (volume, report) = fat::read(&plan.extents);
//! let volume = volume.unwrap();
//! assert!(report.is_empty());
//! assert_eq!(volume.label, "EFI");
//! assert_eq!(volume.entry("EFI/boot/BOOTAA64.efi").unwrap().size, 100_000);
//! # Ok::<(), rawimg::Error>(())
//! ```

mod compose;
mod directory;
mod geometry;
mod name;
mod read;
mod tree;

pub use compose::{Options, Placed, Plan, plan};
pub use geometry::Geometry;
pub(crate) use read::is_fat;
pub use read::{Entry, File, Parameters, Volume, read};
pub use tree::Tree;
