//! Disk images: extents, GPT, FAT32, sparse and compressed sinks, readers for verification.
//!
//! A writer works in two steps. **Plan** takes values and gives a value: [`gpt::plan`] a table, [`fat::plan`] a file
//! system, both as [`Extents`] that refer to data instead of holding it. **Write** streams a plan once, forward, into a
//! [`sink`]: raw and sparse, or `.xz`, `.zst`, `.gz` that cost next to nothing for zeros. Readers go the other way:
//! [`examine`], [`gpt::read`] and [`fat::read`] take any finished image, through [`source::open`] also a compressed one,
//! and say what is wrong with it.
//!
//! ```
//! use imgcore::{Blob, Sectors};
//! use rawimg::{Extents, examine, fat, gpt, guid};
//!
//! let mut spec = gpt::Spec::new(128 << 20, guid!("d92d45b3-cde9-8760-be9f-a2a71fac8d11"));
//! spec.skip = Sectors(20_480); // room for a boot loader between the header and the entry array
//! spec.partitions.push(gpt::PartitionSpec {
//!     name: "EFI".to_owned(),
//!     type_guid: gpt::EFI_SYSTEM,
//!     guid: guid!("bca5174b-0118-8a6a-af0b-2c6e1585acae"),
//!     size: 100 << 20,
//!     attributes: 0,
//! });
//! let table = gpt::plan(&spec)?;
//! let mut disk = Extents::new(table.disk_size);
//! table.insert_into(&mut disk)?;
//! disk.insert(64 * 512, "idbloader.img", Blob::from_bytes("idbloader.img", vec![0x52; 4096]).into())?;
//!
//! let mut tree = fat::Tree::new();
//! tree.add_file("EFI/boot/BOOTAA64.efi", Blob::from_bytes("systemd-boot", vec![0x4d; 114_688]).into())?;
//! let options = fat::Options { size: 100 << 20, label: "EFI".to_owned(), ..Default::default() };
//! table.insert_partition(&mut disk, &table.partitions[0], fat::plan(&tree, &options)?.extents.into())?;
//!
//! let (image, report) = examine(&disk);
//! assert!(report.is_empty());
//! assert!(image.unwrap().volumes[0].volume.entry("EFI/boot/BOOTAA64.efi").is_some());
//! # Ok::<(), rawimg::Error>(())
//! ```
//!
//! # Guarantees
//!
//! - No file system, network, clock, environment, randomness, process, printing, async.
//! - No panic on any input; readers use bounded memory and never recurse into foreign data.
//! - Nothing overlaps silently: [`Extents::insert`] refuses and names both owners.
//! - Output is a function of the plan and the crate version: nothing is iterated in hash order, identifiers and times
//!   are parameters.
//! - Readers and writers share no code, so that an error in one is not repeated in the other.
//! - `unsafe` is forbidden.
//!
//! # Features
//!
//! - `xz`, `zst`, `gz` (all on): that format in [`sink`] and [`source`]. Without them nothing here needs C code.
//! - `cli`: the program `rawimg`.

mod error;
pub mod extents;
pub mod fat;
pub mod gpt;
mod image;
pub mod rules;
pub mod sink;
pub mod source;
mod window;

pub use error::{Error, ErrorKind, Need};
pub use extents::{Content, Extents, Leaf};
pub use gpt_disk_types::{Guid, guid};
pub use image::{Image, Located, examine, facts};
pub use window::Window;
