//! What a second stage can start: EFI programs, extlinux, boot scripts, Android, from which media, with which tree.
//!
//! U-Boot does not say so in any header. What it says is in its default environment and in the texts of its code:
//! names of boot methods, `BOOTAA64.EFI`, `ubootefi.var`. [`abilities`] reads them out of a FIT, a `LOADER` image, a
//! combined file or a plain `u-boot.bin`, and [`check`] compares them with what a boot partition carries.
//!
//! ```
//! use rkboot::flow::{self, Answer, Carried};
//!
//! let mut uboot = b"\0U-Boot 2026.01 (Jan 01 2026)\0bootmeth_extlinux\0".to_vec();
//! uboot.extend_from_slice(b"bootcmd=bootflow scan -lb\0boot_targets=mmc1 mmc0\0fdtfile=rockchip/rk3588-a.dtb\0\0");
//! let (found, _) = flow::abilities(&uboot);
//! let found = found.unwrap();
//! assert_eq!((found.extlinux, found.efi), (Answer::Yes, Answer::No));
//! assert_eq!(found.fdtfile.as_deref(), Some("rockchip/rk3588-a.dtb"));
//!
//! let carried = Carried { efi_fallback_loader: true, ..Carried::default() };
//! let codes: Vec<_> = flow::check(&found, &carried).iter().map(|finding| finding.code).collect();
//! assert_eq!(codes[0], "FLW001"); // no common way to start
//! ```

mod abilities;
mod check;
mod environment;
mod first;
mod strings;

use std::fmt;

use crate::Soc;
pub use abilities::abilities;
pub use check::{Carried, CarriedTree, DTB_LIMIT, check, check_media, check_missing, check_trees};
pub(crate) use first::block_at;
pub use first::{FirstStage, FirstStageKind, Scenario, first_stage, scenario};
pub(crate) use strings::texts;

/// Whose second stage it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum FirmwareKind {
    /// U-Boot of the U-Boot project, or close to it.
    UBootMainline,
    /// Rockchip's U-Boot 2017.09 and what board makers derive from it.
    UBootVendor,
    /// A UEFI firmware volume: EDK2, for RK3588 that of edk2-porting.
    Edk2,
    /// Something else, or something that cannot be read.
    Unknown,
}

impl FirmwareKind {
    /// In a few words.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::UBootMainline => "U-Boot (mainline)",
            Self::UBootVendor => "U-Boot 2017.09 (vendor)",
            Self::Edk2 => "EDK2 (UEFI)",
            Self::Unknown => "unknown",
        }
    }

    /// A word for programs: `u-boot-mainline`, `u-boot-vendor`, `edk2`, `unknown`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::UBootMainline => "u-boot-mainline",
            Self::UBootVendor => "u-boot-vendor",
            Self::Edk2 => "edk2",
            Self::Unknown => "unknown",
        }
    }
}

/// What is known about an ability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Answer {
    /// It is there, and the default boot command uses it.
    Yes,
    /// It is not.
    No,
    /// The bytes do not tell.
    Unknown,
}

impl Answer {
    /// `yes`, `no`, `unknown`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Yes => "yes",
            Self::No => "no",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where EFI variables live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum EfiVariables {
    /// In the firmware's own store, which a running system can write: EDK2 with a variable store in flash.
    Store,
    /// In `ubootefi.var` on the EFI system partition. U-Boot writes the file before the kernel starts; what a running
    /// system sets is lost.
    File,
    /// In memory only, or there is no EFI.
    None,
    /// The bytes do not tell.
    Unknown,
}

impl EfiVariables {
    /// `store`, `file`, `none`, `unknown`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::File => "file",
            Self::None => "none",
            Self::Unknown => "unknown",
        }
    }
}

/// A medium that a boot target stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Medium {
    /// SD card.
    Sd,
    /// eMMC.
    Emmc,
    /// NVMe disk.
    Nvme,
    /// SATA or SCSI disk.
    Scsi,
    /// USB disk.
    Usb,
    /// SPI flash.
    Spi,
    /// Network.
    Network,
}

impl Medium {
    /// `sd`, `emmc`, `nvme`, `scsi`, `usb`, `spi`, `network`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sd => "sd",
            Self::Emmc => "emmc",
            Self::Nvme => "nvme",
            Self::Scsi => "scsi",
            Self::Usb => "usb",
            Self::Spi => "spi",
            Self::Network => "network",
        }
    }
}

/// A word of `boot_targets`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Target {
    /// The word: `mmc1`, `nvme`, `usb`.
    pub name: String,
    /// For `mmcN` the node that U-Boot's own tree names by that alias.
    pub device: Option<String>,
    /// What it is. `mmc0` is the SD card on one board and the eMMC on another: only the tree tells.
    pub medium: Option<Medium>,
}

/// Addresses in memory from the default environment, as numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Addresses {
    /// `fdt_addr_r`.
    pub fdt: Option<u64>,
    /// `kernel_addr_r`.
    pub kernel: Option<u64>,
    /// `ramdisk_addr_r`.
    pub ramdisk: Option<u64>,
}

/// The root of the device tree that U-Boot itself runs with and hands over when it finds no other.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BuiltInTree {
    /// `model`.
    pub model: Option<String>,
    /// `compatible`.
    pub compatible: Vec<String>,
    /// Where the tree is, in bytes of the file.
    pub offset: u64,
}

/// A text or structure from which something was concluded.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Evidence {
    /// What it shows.
    pub what: &'static str,
    /// Where it is, in bytes of the file; in the unpacked data for a compressed image.
    pub offset: u64,
}

/// What a second stage can start.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Abilities {
    /// Whose it is.
    pub kind: FirmwareKind,
    /// Its version text, such as `U-Boot 2026.04 (Jul 05 2026 - 03:44:44 +0000)`.
    pub version: Option<String>,
    /// Whether it starts `/EFI/BOOT/BOOTAA64.EFI` by itself.
    pub efi: Answer,
    /// Whether it follows the EFI variables `BootOrder` and `BootNext`.
    pub efi_boot_manager: Answer,
    /// Where EFI variables live.
    pub efi_variables: EfiVariables,
    /// Whether it reads `extlinux/extlinux.conf`.
    pub extlinux: Answer,
    /// Whether it runs `boot.scr`.
    pub boot_scripts: Answer,
    /// Whether it starts Android boot images by itself.
    pub android: Answer,
    /// `bootcmd` of the default environment.
    pub boot_command: Option<String>,
    /// `boot_targets` of the default environment, in order.
    pub targets: Vec<Target>,
    /// The device tree that it asks for, from the default environment. `None` when the name is chosen at run time.
    pub fdtfile: Option<String>,
    /// Other names of device trees in its code: boards that tell their variants apart at run time.
    pub other_fdtfiles: Vec<String>,
    /// Folders in which EFI looks for the tree, in order, each ending with `/`.
    pub dtb_prefixes: Vec<String>,
    /// Where it is loaded.
    pub load_address: Option<u64>,
    /// Where it loads kernel, ramdisk and tree.
    pub addresses: Addresses,
    /// `stdout-path` of its own tree: `serial2:1500000n8`.
    pub stdout_path: Option<String>,
    /// `baudrate` of the default environment.
    pub baud: Option<u32>,
    /// Drivers for a stored environment: `MMC`, `SPIFlash`, `FAT`, `EXT4`; `nowhere`, always alone, means that there is
    /// none.
    pub environment: Vec<&'static str>,
    /// Its own tree.
    pub tree: Option<BuiltInTree>,
    /// The SoC that its own tree is for.
    pub soc: Option<Soc>,
    /// Whether it derives a stable Ethernet address from the chip's serial number.
    pub stable_mac: Answer,
    /// From what all this was concluded.
    pub evidence: Vec<Evidence>,
}

impl Abilities {
    fn unknown() -> Self {
        Self {
            kind: FirmwareKind::Unknown,
            version: None,
            efi: Answer::Unknown,
            efi_boot_manager: Answer::Unknown,
            efi_variables: EfiVariables::Unknown,
            extlinux: Answer::Unknown,
            boot_scripts: Answer::Unknown,
            android: Answer::Unknown,
            boot_command: None,
            targets: Vec::new(),
            fdtfile: None,
            other_fdtfiles: Vec::new(),
            dtb_prefixes: Vec::new(),
            load_address: None,
            addresses: Addresses::default(),
            stdout_path: None,
            baud: None,
            environment: Vec::new(),
            tree: None,
            soc: None,
            stable_mac: Answer::Unknown,
            evidence: Vec::new(),
        }
    }

    /// What it starts by itself, in words: `EFI, extlinux, boot scripts`; `nothing that is known here`.
    pub fn starts(&self) -> String {
        let ways = [
            (self.efi, "EFI"),
            (self.extlinux, "extlinux"),
            (self.boot_scripts, "boot scripts"),
            (self.android, "Android"),
        ];
        let names: Vec<_> = ways.iter().filter(|(answer, _)| *answer == Answer::Yes).map(|(_, name)| *name).collect();
        if names.is_empty() { "nothing that is known here".to_owned() } else { names.join(", ") }
    }

    /// Where EFI looks for the tree that it asks for, in order, from the root of the partition. Empty without a name.
    pub fn dtb_paths(&self) -> Vec<String> {
        let Some(name) = &self.fdtfile else { return Vec::new() };
        self.dtb_prefixes.iter().map(|prefix| format!("{prefix}{name}")).collect()
    }
}
