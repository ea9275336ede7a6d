//! The Image Factory's schematics: what an image is made of, as a text whose digest names it
//! (`spec/talos-image.md` §11).
//!
//! ```
//! use talosimg::schematic::Schematic;
//!
//! let empty = Schematic::default();
//! assert_eq!(empty.to_yaml(), "customization: {}\n");
//! assert_eq!(empty.id(), "376567988ad370138ad8b2698212367b8edcb69b5fd68c80be1f2ec7d603b4ba");
//!
//! let text = "overlay: {name: rk3588, image: ghcr.io/example/overlay, options: {board: nanopi-m6}}";
//! let schematic = Schematic::parse(text)?;
//! assert_eq!(
//!     schematic.to_yaml(),
//!     "overlay:\n    image: ghcr.io/example/overlay\n    name: rk3588\n    options:\n        board: nanopi-m6\n\
//!      customization: {}\n",
//! );
//! # Ok::<(), talosimg::Error>(())
//! ```
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use imgcore::{Blob, Digest};
use initramfs::{Node, Tree};

use crate::{
    error::{Error, ErrorKind, Result},
    extension::{API_VERSION, Extension, Manifest, Metadata},
    goyaml::{self, Value},
};

mod parse;

#[cfg(test)]
mod tests;

/// What an image is made of (`pkg/schematic/schematic.go` of the Image Factory). The order of fields is that of the
/// canonical text; what is empty is left out there, except `customization` itself.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Schematic {
    /// The owner, in the Enterprise edition only.
    pub owner: String,
    /// The overlay, for boards.
    pub overlay: Overlay,
    /// Everything else.
    pub customization: Customization,
}

/// The overlay of a [`Schematic`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Overlay {
    /// Its image without a tag: `siderolabs/sbc-rockchip`. The Image Factory knows its own ones only.
    pub image: String,
    /// Its name: the installer that is run.
    pub name: String,
    /// Its options, in the order of a Go map: see [`Value::sorted`].
    pub options: Vec<(String, Value)>,
}

/// Customizations of a [`Schematic`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Customization {
    /// A machine configuration that the image carries.
    pub embedded_machine_configuration: String,
    /// Kernel arguments behind all others, in order.
    pub extra_kernel_args: Vec<String>,
    /// Values of META: key and text.
    pub meta: Vec<(u8, String)>,
    /// Official system extensions by name (`siderolabs/realtek-firmware`), in the order that was given: another order
    /// is another schematic.
    pub official_extensions: Vec<String>,
    /// The boot program: `grub`, `sd-boot`, `dual-boot`, or empty.
    pub bootloader: String,
    /// Secure Boot.
    pub secure_boot: SecureBoot,
    /// Sector size of disk images in bytes where it is not 512; 0 says nothing.
    pub sector_size: u64,
}

/// Secure Boot of a [`Customization`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SecureBoot {
    /// When keys are enrolled: `if-safe`, `manual`, `force`, `off`, or empty.
    pub enroll_keys: String,
    /// Whether well-known UEFI certificates are enrolled as well.
    pub include_well_known_certificates: bool,
}

/// Name of the extension that carries a schematic.
pub const EXTENSION: &str = "schematic";

impl Schematic {
    /// The canonical text.
    pub fn to_yaml(&self) -> String {
        goyaml::to_string(&self.to_value())
    }

    /// The identifier: hex SHA-256 of the canonical text.
    pub fn id(&self) -> String {
        Digest::of(self.to_yaml().as_bytes()).hex()
    }

    fn to_value(&self) -> Value {
        let text = |text: &String| Value::Str(text.clone());
        let mut entries = Vec::new();
        if !self.owner.is_empty() {
            entries.push(("owner", text(&self.owner)));
        }
        let overlay = &self.overlay;
        if *overlay != Overlay::default() {
            let mut fields = vec![("image", text(&overlay.image)), ("name", text(&overlay.name))];
            if !overlay.options.is_empty() {
                fields.push(("options", Value::sorted(overlay.options.iter().cloned())));
            }
            entries.push(("overlay", Value::map(fields)));
        }
        entries.push(("customization", self.customization.to_value()));
        Value::map(entries)
    }

    /// The extension that tells a node, and Omni, what the image is made of. It goes behind the user's extensions.
    /// `factory` is the address of whoever built the image, `https://factory.talos.dev` for the public Image Factory;
    /// without one the author is the Image Factory alone, as its releases up to 0.8 write it.
    ///
    /// # Errors
    /// None that a valid path has.
    pub fn extension(&self, factory: Option<&str>) -> Result<Extension> {
        let id = self.id();
        let mut rootfs = Tree::new();
        rootfs.insert(
            format!("usr/local/share/schematic/{id}"),
            Node::file(0o644, Blob::from_bytes("schematic", Vec::new())),
        )?;
        let metadata = Metadata {
            name: EXTENSION.to_owned(),
            version: id,
            author: factory.map_or_else(|| "Image Factory".to_owned(), |url| format!("Image Factory ({url})")),
            description: "Virtual extension which specifies the schematic of the image built with Image Factory."
                .to_owned(),
            talos: ">= 1.0.0".to_owned(),
            extra_info: self.to_yaml(),
        };
        let manifest = Manifest { version: API_VERSION.to_owned(), metadata };
        Ok(Extension { label: EXTENSION.to_owned(), manifest, rootfs })
    }
}

impl Customization {
    fn to_value(&self) -> Value {
        let mut entries = Vec::new();
        if !self.embedded_machine_configuration.is_empty() {
            entries.push(("embeddedMachineConfiguration", Value::Str(self.embedded_machine_configuration.clone())));
        }
        if !self.extra_kernel_args.is_empty() {
            entries.push(("extraKernelArgs", Value::texts(&self.extra_kernel_args)));
        }
        if !self.meta.is_empty() {
            let meta = self.meta.iter().map(|(key, value)| {
                Value::map([("key", Value::Int(i64::from(*key))), ("value", Value::Str(value.clone()))])
            });
            entries.push(("meta", Value::List(meta.collect())));
        }
        if !self.official_extensions.is_empty() {
            let extensions = Value::texts(&self.official_extensions);
            entries.push(("systemExtensions", Value::map([("officialExtensions", extensions)])));
        }
        if !self.bootloader.is_empty() {
            entries.push(("bootloader", Value::Str(self.bootloader.clone())));
        }
        let secure_boot = &self.secure_boot;
        if *secure_boot != SecureBoot::default() {
            let mut fields = Vec::new();
            if !secure_boot.enroll_keys.is_empty() {
                fields.push(("enrollKeys", Value::Str(secure_boot.enroll_keys.clone())));
            }
            if secure_boot.include_well_known_certificates {
                fields.push(("includeWellKnownCertificates", Value::Bool(true)));
            }
            entries.push(("secureboot", Value::map(fields)));
        }
        if self.sector_size != 0 {
            let size = i64::try_from(self.sector_size).map_or(Value::Uint(self.sector_size), Value::Int);
            entries.push(("diskImage", Value::map([("sectorSize", size)])));
        }
        Value::map(entries)
    }
}

/// The name under which the Image Factory knows what Sidero Labs publish under a reference:
/// `ghcr.io/siderolabs/realtek-firmware:20250708@sha256:…` is `siderolabs/realtek-firmware`. `None` for other publishers.
pub fn official_name(reference: &str) -> Option<String> {
    let name = reference.split_once('@').map_or(reference, |(name, _)| name);
    let path = name.strip_prefix("ghcr.io/").unwrap_or(name).strip_prefix("siderolabs/")?;
    let path = path.split_once(':').map_or(path, |(path, _)| path);
    let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    (!path.is_empty() && path.bytes().all(good)).then(|| format!("siderolabs/{path}"))
}

fn refuse(message: impl Into<String>) -> Error {
    ErrorKind::Schematic(message.into()).into()
}
