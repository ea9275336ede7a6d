//! GUID partition tables whose primary entry array may lie away from LBA 2.
//!
//! A boot ROM wants its loader at a fixed sector in front of the first partition. Moving the entry array by `skip`
//! sectors leaves that room: the header still names where the array is (UEFI 2.10, 5.3.2), so every reader finds it.
//!
//! [`plan`] computes a [`Table`] from a [`Spec`], [`Table::insert_into`] puts it into [`Extents`](crate::Extents), and
//! [`read`] examines any disk; reader and writer share no code.
//!
//! ```
//! use rawimg::{Extents, Guid, gpt};
//!
//! let guid = |text: &str| text.parse::<Guid>().unwrap();
//! let mut spec = gpt::Spec::new(64 << 20, guid("d92d45b3-cde9-8760-be9f-a2a71fac8d11"));
//! spec.skip = imgcore::Sectors(20_480);
//! spec.partitions.push(gpt::PartitionSpec {
//!     name: "EFI".to_owned(),
//!     type_guid: gpt::EFI_SYSTEM,
//!     guid: guid("bca5174b-0118-8a6a-af0b-2c6e1585acae"),
//!     size: 40 << 20,
//!     attributes: 0,
//! });
//! let table = gpt::plan(&spec)?;
//! assert_eq!((table.entries.0, table.partitions[0].first.0), (20_482, 22_528));
//!
//! let mut disk = Extents::new(table.disk_size);
//! table.insert_into(&mut disk)?;
//! let (found, report) = gpt::read(&disk);
//! assert!(!report.has_errors());
//! assert_eq!(found.unwrap().partitions[0].name, "EFI");
//! # Ok::<(), rawimg::Error>(())
//! ```

mod plan;
mod raw;
mod read;
mod write;

pub use plan::{PartitionSpec, Placed, Spec, Table, plan};
pub use read::{Disk, Header, Partition, TableCopy, read};

use gpt_disk_types::{Guid, guid};

/// Type of an EFI system partition (UEFI 2.10, table 5-7).
pub const EFI_SYSTEM: Guid = guid!("c12a7328-f81f-11d2-ba4b-00a0c93ec93b");
/// Type of a BIOS boot partition, where GRUB puts its core image on disks for BIOS machines.
pub const BIOS_BOOT: Guid = guid!("21686148-6449-6e6f-744e-656564454649");
/// Type of a Linux file system.
pub const LINUX_FILESYSTEM: Guid = guid!("0fc63daf-8483-4772-8e79-3d69d8477de4");

/// `partition 1 (EFI)`: what a partition is called in layouts and findings. Control characters become `?`.
pub fn partition_label(number: u32, name: &str) -> String {
    let name: String = name.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    format!("partition {number} ({name})")
}
