//! What Talos Linux images for arm64 boards are made of: release table, kernel command line, META, unified kernel
//! image, EFI system partition, partition scheme, imager profile, overlay protocol.
//!
//! Everything is a value computed from values; large files are referred to and never held. With
//! [`rawimg`] the pieces become a disk image, byte for byte the same on every machine.
//!
#![cfg_attr(feature = "image", doc = "```")]
#![cfg_attr(not(feature = "image"), doc = "```ignore")]
//! use imgcore::{Blob, Epoch, Sectors};
//! use rawimg::{Extents, fat, gpt};
//! use talosimg::{Bootloader, Version, boot, cmdline, disk, kernel, release, uki};
//!
//! let version: Version = "v1.10.6".parse()?;
//! let row = release::find(&version)?;
//! let line = cmdline::build(row, &["console=ttyS2,1500000n8".to_owned()], &["panic=10".to_owned()]);
//! let image = Blob::from_bytes("kernel", kernel::sample_image("6.12.40-talos"));
//! let assets = boot::Assets {
//!     uname: kernel::release(&image).0.map(|info| info.release),
//!     kernel: image,
//!     initramfs: Blob::from_bytes("initramfs", vec![1; 512]),
//!     stub: Blob::from_bytes("stub", uki::sample_stub()),
//!     sd_boot: Blob::from_bytes("sd-boot", uki::sample_stub()),
//!     splash: None,
//! };
//! let uki = boot::uki(row, &version, &assets, &line, Epoch(0))?;
//! let tree = boot::esp(row, &version, uki, assets.sd_boot.clone(), &[])?;
//!
//! let table = gpt::plan(&disk::table(row, Bootloader::SdBoot, row.disk_size, Sectors(20_480)))?;
//! let esp = table.partition("EFI").expect("every image has one");
//! let file_system = fat::plan(&tree, &disk::fat_options(row, row.disk_size, esp, Epoch(0)))?;
//! let mut image = Extents::new(row.disk_size);
//! table.insert_into(&mut image)?;
//! image.insert(esp.offset, "ESP", file_system.extents.into())?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Guarantees
//!
//! - The rules are those of the imager of Talos 1.10 to 1.13, and the images of v1.10.6 and v1.13.9 are what they are
//!   tested against. What ours does otherwise is said where it is done.
//! - No file system, network, clock, environment, randomness, process, printing, async.
//! - No panic on any input: META, unified kernel images and kernels are read from anybody and give findings, whose
//!   codes are listed in `RULES`.
//! - Reading needs bounded memory whatever a file claims.
//! - `unsafe` is forbidden.
//!
//! # Features
//!
//! - `image` (default): everything. Without it there are [`overlay`], [`profile`], [`yaml`], [`Version`] and
//!   [`Bootloader`], which is what an overlay's installer needs; no codec, no C code.

pub mod overlay;
pub mod profile;
pub mod yaml;

mod bootloader;
mod error;
mod version;

#[cfg(feature = "image")]
pub mod boot;
#[cfg(feature = "image")]
pub mod cmdline;
#[cfg(feature = "image")]
pub mod disk;
#[cfg(feature = "image")]
pub mod extension;
#[cfg(feature = "image")]
pub mod goyaml;
#[cfg(feature = "image")]
pub mod installer;
#[cfg(feature = "image")]
pub mod kernel;
#[cfg(feature = "image")]
pub mod machine_config;
#[cfg(feature = "image")]
pub mod meta;
#[cfg(feature = "image")]
pub mod omni;
#[cfg(feature = "image")]
pub mod release;
#[cfg(feature = "image")]
pub mod rules;
#[cfg(feature = "image")]
pub mod schematic;
#[cfg(feature = "image")]
pub mod splash;
#[cfg(feature = "image")]
pub mod uki;

pub use bootloader::Bootloader;
pub use error::{Error, ErrorKind, Result};
#[cfg(feature = "image")]
pub use rules::RULES;
pub use version::Version;
