//! The imager profile that an overlay image carries as `profiles/<name>.yaml`. Written, never read.
//!
//! The imager applies it only when it is named as the base profile, and Image Factory takes little more than the boot
//! program from it (`spec/talos-image.md` §1.2); so it says what every official overlay says and nothing else.
//!
//! ```
//! use talosimg::{Bootloader, profile::Profile};
//!
//! let yaml = Profile { bootloader: Some(Bootloader::Grub), ..Profile::default() }.to_yaml()?;
//! assert!(yaml.starts_with("arch: arm64\nplatform: metal\nsecureboot: false\noutput:\n"));
//! assert!(yaml.ends_with("    diskFormat: raw\n    bootloader: grub\n"));
//! # Ok::<(), talosimg::Error>(())
//! ```

use serde::Serialize;

use crate::{Bootloader, error::Result};

/// The disk size that overlay profiles ask for, in bytes: 1246 MiB. Releases from 1.11 on add 1000 MiB to whatever a
/// profile says (`spec/talos-image.md` §1.3).
pub const DISK_SIZE: u64 = 1_306_525_696;

/// What a profile of an overlay may say; every combination is valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// `None` leaves the choice to the imager, which takes sd-boot for arm64.
    pub bootloader: Option<Bootloader>,
    /// Size of the disk image in bytes, as the imager understands it: see [`DISK_SIZE`].
    pub disk_size: u64,
    /// What the imager does with the raw image: `raw`, `.xz`, `.zst`, `.gz` or `.tar.gz`.
    pub out_format: String,
}

impl Default for Profile {
    fn default() -> Self {
        Self { bootloader: None, disk_size: DISK_SIZE, out_format: ".xz".to_owned() }
    }
}

#[derive(Serialize)]
struct Yaml<'a> {
    arch: &'static str,
    platform: &'static str,
    secureboot: bool,
    output: Output<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Output<'a> {
    kind: &'static str,
    out_format: &'a str,
    image_options: ImageOptions,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ImageOptions {
    disk_size: u64,
    disk_format: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    bootloader: Option<Bootloader>,
}

impl Profile {
    /// The profile as YAML, in the shape and order of the official overlays' (`spec/rockchip-boot.md` §5.1).
    pub fn to_yaml(&self) -> Result<String> {
        let image_options = ImageOptions { disk_size: self.disk_size, disk_format: "raw", bootloader: self.bootloader };
        let output = Output { kind: "image", out_format: &self.out_format, image_options };
        crate::yaml::to_string("profile", &Yaml { arch: "arm64", platform: "metal", secureboot: false, output })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_reads_as_the_official_ones() {
        let head = "arch: arm64\nplatform: metal\nsecureboot: false\noutput:\n  kind: image\n  outFormat: .xz\n  \
                    imageOptions:\n    diskSize: 1306525696\n    diskFormat: raw\n";
        for (bootloader, tail) in [
            (None, ""),
            (Some(Bootloader::Grub), "    bootloader: grub\n"),
            (Some(Bootloader::SdBoot), "    bootloader: sd-boot\n"),
        ] {
            let profile = Profile { bootloader, ..Profile::default() };
            assert_eq!(profile.to_yaml().unwrap(), format!("{head}{tail}"));
        }
    }
}
