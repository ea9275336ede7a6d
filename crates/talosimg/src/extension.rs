//! System extensions: what an extension image must be, whether it fits a release, and what a node finds of it in its
//! initramfs (`spec/talos-image.md` §9).
//!
//! ```
//! use imgcore::Blob;
//! use initramfs::{Node, Tree};
//! use talosimg::{extension, release};
//!
//! let manifest = "version: v1alpha1\nmetadata:\n  name: realtek-firmware\n  version: \"20250708\"\n  \
//!                 compatibility:\n    talos:\n      version: \">= v1.10.0\"\n";
//! let mut root = Tree::new();
//! root.insert("manifest.yaml", Node::file(0o644, Blob::from_bytes("manifest", manifest)))?;
//! root.insert("rootfs/usr/lib/firmware/rtl.fw", Node::file(0o644, Blob::from_bytes("firmware", *b"\x01")))?;
//!
//! let version = "v1.13.9".parse()?;
//! let row = release::find(&version)?;
//! let (found, report) = extension::open("realtek.tar", root);
//! let extension = found.ok_or("no extension")?;
//! assert!(report.is_empty() && extension::check(&extension, row, &version).is_empty());
//!
//! let (merged, _) = extension::merge(row, vec![extension])?;
//! assert!(merged.outside.get("usr/lib/firmware/rtl.fw").is_some());
//! assert!(merged.extensions_yaml().starts_with("layers:\n    - image: 0.sqsh\n"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

mod check;
mod manifest;
mod merge;
mod open;
mod range;
mod synthetic;

#[cfg(test)]
mod tests;

pub use check::check;
pub use manifest::{API_VERSION, MANIFEST, Manifest, Metadata, ROOTFS};
pub use merge::{CONFIG, Layer, Merged, Modules, merge};
pub use open::open;
pub use range::Range;
pub use synthetic::{EMBEDDED_CONFIG, EMBEDDED_LABEL, MODULES_DEP, SELINUX, embedded_config, modules_dep};

/// A system extension: what its manifest says and what it adds to a node's root file system.
#[derive(Debug, Clone)]
pub struct Extension {
    /// What the user calls it: a reference or a file name. Findings name it.
    pub label: String,
    /// Its manifest.
    pub manifest: Manifest,
    /// What lies in its folder `rootfs`, with paths from there.
    pub rootfs: initramfs::Tree,
}

/// Where the firmware lies since Talos 1.10.
const FIRMWARE: &str = "usr/lib/firmware";
/// Where the kernel modules lie since Talos 1.10, one folder for each kernel release.
const KERNEL_MODULES: &str = "usr/lib/modules";
