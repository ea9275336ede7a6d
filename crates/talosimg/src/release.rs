//! Talos releases as data: one row per minor version. Code asks the table; a version is compared nowhere else.
//!
//! ```
//! use talosimg::{Version, release};
//!
//! let row = release::find(&"v1.10.6".parse()?)?;
//! assert_eq!(row.disk_size, 1_306_525_696);
//! let error = release::find(&"v1.14.0".parse()?).unwrap_err();
//! assert_eq!(error.to_string(), "Talos v1.14.0 is outside the tested range v1.10 … v1.13");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fmt;

use imgcore::ByteSize;

use crate::{Bootloader, Version};

const MIB: u64 = ByteSize::MIB;

/// What one minor version of Talos does. Sizes are in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Major and minor number.
    pub minor: (u64, u64),
    /// The release whose images were compared with ours, if one was.
    pub exact: Option<&'static str>,
    /// Size of a disk image for `metal` when nobody asks for another (`spec/talos-image.md` §1.3).
    pub disk_size: u64,
    /// Partition sizes.
    pub sizes: Sizes,
    /// Arguments of the platform `metal` on arm64, set before the overlay's.
    pub platform_args: &'static [&'static str],
    /// Default kernel arguments, in order, appended after the overlay's (§3.2).
    pub kernel_args: &'static [&'static str],
    /// Boot program of a `metal` image for arm64 when nobody asks for another (§4).
    pub bootloader: Bootloader,
    /// Which geometry the FAT of the ESP has.
    pub fat: FatRule,
    /// Volume id of the ESP. The imager takes it from the clock up to 1.12; ours is the one that 1.13 fixes, because a
    /// build asks no clock.
    pub fat_volume_id: u32,
    /// Where the boot assets lie in an image of the base.
    pub assets: &'static Assets,
    /// The UKI's second profile.
    pub reset: &'static Reset,
    /// What `loader/loader.conf` on the ESP says.
    pub loader_conf: &'static str,
    /// Whether the imager runs the overlay's `install` for an sd-boot image. Ours always writes boot files and device
    /// tree; this explains why an image of the imager's differs.
    pub imager_installs_overlay_for_sd_boot: bool,
    /// Path of GRUB's program on the ESP.
    pub grub_efi_path: &'static str,
    /// What the release does with system extensions.
    pub extensions: &'static Extensions,
}

/// What a release does with system extensions (§9, §11).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extensions {
    /// What paths of an extension's files begin with when Talos validates contents (`pkg/machinery/extensions`).
    pub allowed_paths: &'static [&'static str],
    /// Whether SELinux labels reach the SquashFS images: 1.12 sets them while it extracts, 1.13 passes them on.
    pub selinux_labels: bool,
    /// Whether a node takes a machine configuration out of its image.
    pub embedded_config: bool,
}

/// Sizes of partitions in bytes (§5.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    /// The ESP beside a BOOT partition.
    pub esp: u64,
    /// The BIOS boot partition, written for arm64 as well.
    pub bios: u64,
    /// The partition of kernel and initramfs.
    pub boot: u64,
    /// META: its readers insist on exactly 1 MiB (§8).
    pub meta: u64,
}

impl Sizes {
    /// The ESP that holds the UKIs itself: as large as the three partitions that it replaces.
    pub const fn esp_with_uki(&self) -> u64 {
        self.esp.saturating_add(self.bios).saturating_add(self.boot)
    }
}

/// What `mkfs.vfat` saw when the imager ran it (§5.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FatRule {
    /// A loop device's partition: the track geometry of the whole disk, the partition's start as hidden sectors.
    Device,
    /// A file of the partition's size: its own geometry, no hidden sectors.
    File,
}

/// Paths of boot assets in the root of an image, without a leading slash (§9).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assets {
    /// The kernel.
    pub kernel: &'static str,
    /// The initramfs.
    pub initramfs: &'static str,
    /// The systemd stub that becomes the UKI.
    pub sd_stub: &'static str,
    /// systemd-boot.
    pub sd_boot: &'static str,
    /// A boot picture, where a base has one. Talos' own images have none: the imager carries it in itself.
    pub splash: &'static str,
}

/// The menu entry that wipes a node (§3.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reset {
    /// Name of the UKI profile.
    pub id: &'static str,
    /// Title in the boot menu.
    pub title: &'static str,
    /// The argument that is put behind the command line.
    pub argument: &'static str,
}

const ASSETS: Assets = Assets {
    kernel: "usr/install/arm64/vmlinuz",
    initramfs: "usr/install/arm64/initramfs.xz",
    sd_stub: "usr/install/arm64/systemd-stub.efi",
    sd_boot: "usr/install/arm64/systemd-boot.efi",
    splash: "usr/install/arm64/splash.bmp",
};

const RESET: Reset = Reset {
    id: "reset-maintenance",
    title: "Reset to maintenance mode",
    argument: "talos.experimental.wipe=system:EPHEMERAL,STATE",
};

const PLATFORM_ARGS: &[&str] = &["console=ttyAMA0", "console=tty0"];

const LOADER_CONF: &str = "# systemd-boot configuration\n\ntimeout 10\n";

const SMALL: Sizes = Sizes { esp: 100 * MIB, bios: MIB, boot: 1000 * MIB, meta: MIB };
const LARGE: Sizes = Sizes { boot: 2000 * MIB, ..SMALL };

const ALLOWED_PATHS_1_10: &[&str] = &[
    "etc/cri/conf.d",
    "usr/lib/firmware",
    "usr/lib/modules",
    "usr/lib/ld-linux-x86-64.so.2",
    "usr/bin/ldconfig",
    "usr/lib/udev/rules.d",
    "usr/local",
    "usr/share/glvnd",
    "usr/share/egl",
    "etc/vulkan",
];

const ALLOWED_PATHS_1_12: &[&str] = &[
    "etc/cri/conf.d",
    "usr/lib/firmware",
    "usr/lib/modules",
    "usr/lib/ld-linux-x86-64.so.2",
    "usr/lib/ld-linux-aarch64.so.1",
    "usr/bin/ldconfig",
    "usr/lib/udev/rules.d",
    "usr/local",
    "usr/share/glvnd",
    "usr/share/egl",
    "etc/vulkan",
];

const ALLOWED_PATHS_1_13: &[&str] = &[
    "etc/cri/conf.d",
    "usr/lib/firmware",
    "usr/lib/modules",
    "usr/lib/ld-linux-x86-64.so.2",
    "usr/lib/ld-linux-aarch64.so.1",
    "usr/bin/ldconfig",
    "etc/ld.so.conf",
    "etc/ld.so.cache",
    "usr/bin/nvidia-modprobe",
    "usr/bin/nvidia-pcc",
    "usr/bin/nvidia-smi",
    "usr/bin/nvidia-ctk",
    "usr/bin/nvidia-cdi-hook",
    "usr/bin/nvme",
    "usr/lib/udev/rules.d",
    "usr/local",
    "usr/share/glvnd",
    "usr/share/egl",
    "etc/vulkan",
];

const EXTENSIONS_1_10: Extensions =
    Extensions { allowed_paths: ALLOWED_PATHS_1_10, selinux_labels: false, embedded_config: false };
const EXTENSIONS_1_12: Extensions =
    Extensions { allowed_paths: ALLOWED_PATHS_1_12, selinux_labels: true, embedded_config: true };
const EXTENSIONS_1_13: Extensions = Extensions { allowed_paths: ALLOWED_PATHS_1_13, ..EXTENSIONS_1_12 };

/// The rows, oldest first.
static RELEASES: [Release; 4] = [
    Release {
        minor: (1, 10),
        exact: Some("v1.10.6"),
        disk_size: crate::profile::DISK_SIZE,
        sizes: SMALL,
        platform_args: PLATFORM_ARGS,
        kernel_args: &[
            "init_on_alloc=1",
            "slab_nomerge=",
            "pti=on",
            "consoleblank=0",
            "nvme_core.io_timeout=4294967295",
            "printk.devkmsg=on",
            "ima_template=ima-ng",
            "ima_appraise=fix",
            "ima_hash=sha512",
            "selinux=1",
        ],
        bootloader: Bootloader::SdBoot,
        fat: FatRule::Device,
        fat_volume_id: 0x1234_abcd,
        assets: &ASSETS,
        reset: &RESET,
        loader_conf: LOADER_CONF,
        imager_installs_overlay_for_sd_boot: true,
        grub_efi_path: "EFI/BOOT/BOOTAA64.EFI",
        extensions: &EXTENSIONS_1_10,
    },
    Release {
        minor: (1, 11),
        exact: None,
        disk_size: crate::profile::DISK_SIZE + 1000 * MIB,
        sizes: LARGE,
        platform_args: PLATFORM_ARGS,
        kernel_args: &[
            "init_on_alloc=1",
            "slab_nomerge=",
            "pti=on",
            "consoleblank=0",
            "nvme_core.io_timeout=4294967295",
            "printk.devkmsg=on",
            "selinux=1",
        ],
        bootloader: Bootloader::SdBoot,
        fat: FatRule::Device,
        fat_volume_id: 0x1234_abcd,
        assets: &ASSETS,
        reset: &RESET,
        loader_conf: LOADER_CONF,
        imager_installs_overlay_for_sd_boot: true,
        grub_efi_path: "EFI/BOOT/BOOTAA64.EFI",
        extensions: &EXTENSIONS_1_10,
    },
    Release {
        minor: (1, 12),
        exact: None,
        disk_size: crate::profile::DISK_SIZE + 1000 * MIB,
        sizes: LARGE,
        platform_args: PLATFORM_ARGS,
        kernel_args: &[
            "init_on_alloc=1",
            "slab_nomerge=",
            "pti=on",
            "consoleblank=0",
            "nvme_core.io_timeout=4294967295",
            "printk.devkmsg=on",
            "selinux=1",
            "module.sig_enforce=1",
        ],
        bootloader: Bootloader::SdBoot,
        fat: FatRule::Device,
        fat_volume_id: 0x1234_abcd,
        assets: &ASSETS,
        reset: &RESET,
        loader_conf: LOADER_CONF,
        imager_installs_overlay_for_sd_boot: true,
        grub_efi_path: "EFI/BOOT/BOOTAA64.EFI",
        extensions: &EXTENSIONS_1_12,
    },
    Release {
        minor: (1, 13),
        exact: Some("v1.13.9"),
        disk_size: crate::profile::DISK_SIZE + 1000 * MIB,
        sizes: LARGE,
        platform_args: PLATFORM_ARGS,
        kernel_args: &[
            "init_on_alloc=1",
            "slab_nomerge=",
            "pti=on",
            "consoleblank=0",
            "nvme_core.io_timeout=4294967295",
            "printk.devkmsg=on",
            "selinux=1",
            "module.sig_enforce=1",
            "proc_mem.force_override=never",
        ],
        bootloader: Bootloader::SdBoot,
        fat: FatRule::File,
        fat_volume_id: 0x1234_abcd,
        assets: &ASSETS,
        reset: &RESET,
        loader_conf: LOADER_CONF,
        imager_installs_overlay_for_sd_boot: false,
        grub_efi_path: "EFI/boot/BOOTAA64.efi",
        extensions: &EXTENSIONS_1_13,
    },
];

/// A version without a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutsideRange {
    version: Version,
}

impl OutsideRange {
    /// The version asked for.
    pub fn version(&self) -> &Version {
        &self.version
    }
}

impl fmt::Display for OutsideRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Talos {} is outside the tested range {}", self.version, range())
    }
}

impl std::error::Error for OutsideRange {}

/// Every row, oldest first.
pub fn all() -> &'static [Release] {
    &RELEASES
}

/// The tested range in words: `v1.10 … v1.13`.
pub fn range() -> String {
    let [(major, minor), (last_major, last_minor)] = [&RELEASES[0], &RELEASES[RELEASES.len() - 1]].map(|row| row.minor);
    format!("v{major}.{minor} … v{last_major}.{last_minor}")
}

/// The row of a version; pre-release and build parts do not matter.
///
/// # Errors
/// The version has no row.
pub fn find(version: &Version) -> Result<&'static Release, OutsideRange> {
    RELEASES
        .iter()
        .find(|release| release.minor == version.minor())
        .ok_or_else(|| OutsideRange { version: version.clone() })
}

/// The row of a version, else the nearest: the oldest for an older version, the newest for a newer one. For those who
/// insist on a version outside the range.
pub fn nearest(version: &Version) -> &'static Release {
    RELEASES.iter().rev().find(|release| release.minor <= version.minor()).unwrap_or(&RELEASES[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn the_table_holds_what_the_specification_says() {
        for (text, disk_mib, esp_mib, boot_mib, uki_esp_mib, fat, args) in [
            ("v1.10.0", 1246, 100, 1000, 1101, FatRule::Device, 10),
            ("v1.10.6-nanopi-m6", 1246, 100, 1000, 1101, FatRule::Device, 10),
            ("v1.11.5", 2246, 100, 2000, 2101, FatRule::Device, 7),
            ("v1.12.0-beta.1", 2246, 100, 2000, 2101, FatRule::Device, 8),
            ("v1.13.9", 2246, 100, 2000, 2101, FatRule::File, 9),
        ] {
            let row = find(&version(text)).unwrap();
            let sizes = row.sizes;
            assert_eq!(
                [row.disk_size, sizes.esp, sizes.boot, sizes.esp_with_uki(), sizes.bios, sizes.meta],
                [disk_mib, esp_mib, boot_mib, uki_esp_mib, 1, 1].map(|mib| mib * MIB),
                "{text}"
            );
            assert_eq!((row.fat, row.kernel_args.len(), row.bootloader), (fat, args, Bootloader::SdBoot), "{text}");
            assert_eq!(row.loader_conf.len(), 41);
        }
        assert_eq!(find(&version("v1.13.9")).unwrap().disk_size, 2_355_101_696);
    }

    #[test]
    fn versions_outside_have_a_nearest_row_and_an_error_with_the_range() {
        for (text, nearest_minor) in
            [("v1.9.5", 10), ("v0.14.0", 10), ("v1.14.0-rc.1", 13), ("v2.0.0", 13), ("v1.11.1", 11)]
        {
            assert_eq!(nearest(&version(text)).minor, (1, nearest_minor), "{text}");
        }
        let error = find(&version("v1.9.5")).unwrap_err();
        assert_eq!(error.to_string(), "Talos v1.9.5 is outside the tested range v1.10 … v1.13");
        assert_eq!(error.version().as_str(), "v1.9.5");
    }

    #[test]
    fn rows_are_sorted_and_distinct() {
        assert!(all().windows(2).all(|pair| pair[0].minor < pair[1].minor));
    }
}
