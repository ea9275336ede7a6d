//! What an installer image holds for `talosctl install` and `talosctl upgrade` (`spec/talos-image.md` §2.5).
//!
//! ```
//! use talosimg::installer;
//!
//! assert_eq!(installer::UKI, "usr/install/arm64/vmlinuz.efi");
//! let options = [("board".to_owned(), "nanopi-m6".into())];
//! assert_eq!(installer::extra_options(options), "board: nanopi-m6\n");
//! assert_eq!(installer::extra_options([]), "{}\n");
//! ```

use crate::goyaml::{self, Value};

/// systemd-boot, signed where Secure Boot is used.
pub const SD_BOOT: &str = "usr/install/arm64/systemd-boot.efi";
/// The unified kernel image. `talosctl upgrade` writes it for either boot program: GRUB's kernel and initramfs are taken
/// out of it.
pub const UKI: &str = "usr/install/arm64/vmlinuz.efi";
/// The overlay's `artifacts`.
pub const ARTIFACTS: &str = "overlay/artifacts";
/// The overlay's installer. That it is there makes the node run it.
pub const OVERLAY_INSTALLER: &str = "overlay/installers/default";
/// The overlay's options as YAML.
pub const EXTRA_OPTIONS: &str = "overlay/extra-options";

/// Paths of an overlay image from which the ones above are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverlaySource {
    /// The folder that becomes [`ARTIFACTS`].
    pub artifacts: &'static str,
    /// The executable that becomes [`OVERLAY_INSTALLER`].
    pub installer: String,
}

impl OverlaySource {
    /// Of the overlay of this name: `rk3588` has `installers/rk3588`.
    pub fn new(overlay: &str) -> Self {
        Self { artifacts: "artifacts", installer: format!("installers/{overlay}") }
    }
}

/// Mode of everything that is data.
pub const FILE_MODE: u32 = 0o644;
/// Mode of [`OVERLAY_INSTALLER`], which the node executes.
pub const INSTALLER_MODE: u32 = 0o755;

/// The layers of a base of which the imager keeps the first only: its second one holds boot assets, which are replaced.
pub const REPLACEABLE_BASE_LAYERS: usize = 2;

/// Count of the base's layers that are kept.
pub const fn kept_layers(base: usize) -> usize {
    if base == REPLACEABLE_BASE_LAYERS { 1 } else { base }
}

/// The text of [`EXTRA_OPTIONS`]: keys sorted as Go sorts them.
pub fn extra_options(options: impl IntoIterator<Item = (String, Value)>) -> String {
    goyaml::to_string(&Value::sorted(options))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_of_two_layers_loses_its_assets() {
        assert_eq!([0, 1, 2, 3, 12].map(kept_layers), [0, 1, 1, 3, 12]);
        assert_eq!(OverlaySource::new("rk3588").installer, "installers/rk3588");
    }

    #[test]
    fn options_are_written_as_the_imager_writes_them() {
        let options = [("chipset", "rk3588s"), ("board", "1.10")].map(|(key, value)| (key.to_owned(), value.into()));
        assert_eq!(extra_options(options), "board: \"1.10\"\nchipset: rk3588s\n");
    }
}
