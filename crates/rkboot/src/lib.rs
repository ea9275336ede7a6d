//! The Rockchip boot chain in front of the partitions: ID blocks, FIT images, and where they lie on SD card and eMMC.
//!
//! A Rockchip BootROM reads an *idblock* at sector 64: code that trains the DRAM, and an SPL. The SPL reads a *FIT* at
//! sector 16384: TF-A, U-Boot and its device tree. This crate builds idblocks byte for byte as mkimage does, reads
//! both formats and says what a board would stumble over, which no other tool does for idblocks: `mkimage -l` never
//! looks at their hashes. It finds copies and padding, tells how much of a file has to be written, and who owns which
//! bytes of the medium then.
//!
//! ```
//! use rkboot::{BootFileKind, Soc, examine, idblock, ranges, trim};
//!
//! // An idblock twice, as vendors pack it for eMMC.
//! let parts = idblock::Parts { soc: Soc::Rk3588, init: b"ddr init", boot: Some(b"spl") };
//! let block = idblock::build(&parts)?;
//! let mut file = vec![0; 1024 * 1024];
//! file[..block.len()].copy_from_slice(&block);
//! file[512 * 1024..][..block.len()].copy_from_slice(&block);
//!
//! let (found, report) = examine(&file, Some(Soc::Rk3588));
//! assert!(matches!(found.kind, BootFileKind::IdBlock(_)) && found.copies_equal && !report.has_errors());
//! assert_eq!(trim(&found)?, block.len() as u64);
//!
//! let layout = ranges("idbloader.img", &found, rkboot::IDBLOCK_OFFSET, found.length);
//! let owners: Vec<_> = layout.sorted().iter().map(|part| part.owner.clone()).collect();
//! assert_eq!(owners[..2], ["idbloader.img copy 1", "idbloader.img (padding)"]);
//! # Ok::<(), rkboot::Error>(())
//! ```
//!
//! # Guarantees
//!
//! - No file system, network, clock, environment, randomness, process, printing, async.
//! - No panic on any input; sizes in files are never trusted, and every byte is hashed a bounded number of times.
//! - Foreign data gives findings with stable codes ([`RULES`]), our own parts give an [`Error`].
//! - The same calls give the same values. `unsafe` is forbidden.
//!
//! # Not here
//!
//! Signatures are reported, not checked. Loader files and `BL3X` images are read, not built.
//!
//! # What else it tells
//!
//! [`flow`]: what a second stage starts and whether an image carries that. [`extract`]: the boot files out of a whole
//! disk. [`identity`] and [`pairing`]: which published blobs a file holds, and whether they go together. [`ddr_params`]:
//! the UART that DDR init code prints to.
//!
//! # Features
//!
//! `codecs` (on by default) unpacks gzip, LZMA and zstd images of FITs to check their digests; without it a finding says
//! that they are not checked. `cli` builds the program `rkboot` (`rkboot inspect`, `rkboot flow`, `rkboot extract`, `rkboot
//! ddr`, `rkboot build`).

mod assembly;
mod bootfile;
pub mod coding;
pub mod combined;
pub mod ddr_params;
mod draw;
pub mod dtbo_table;
pub mod elf;
mod error;
pub mod extract;
mod facts;
pub mod fit;
pub mod flow;
pub mod idblock;
pub mod identity;
pub mod legacy;
pub mod loader;
pub mod pairing;
pub mod parameter;
mod parts_check;
pub mod rules;
mod soc;
mod util;

pub use assembly::Assembly;
pub use bootfile::{BootFile, BootFileKind, FIT_OFFSET, IDBLOCK_OFFSET, examine, parts, ranges, trim};
pub use draw::draw;
pub use error::{Error, ErrorKind};
pub use facts::facts;
pub use fit::Fit;
pub use idblock::{AnyBlock, IdBlock, IdBlockV1};
pub use loader::Loader;
pub use parts_check::{check_fit_parts, check_idblock_parts};
pub use rules::RULES;
pub use soc::{HeaderVersion, Soc};
