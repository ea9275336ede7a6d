//! FIT images: the second stage that U-Boot's SPL loads (`u-boot.itb`, the vendor's `uboot.img`).
//!
//! A FIT is a device tree whose nodes describe images (U-Boot, TF-A segments, device trees) and configurations that
//! combine them. Rockchip FITs keep the data behind the tree, and where it starts depends on who packed it:
//! `data-position` counts from the start of the FIT; `data-offset` counts from the tree's end, rounded up to 512 bytes
//! when the root has a `totalsize` property (vendor), else to 4 (U-Boot). Measured on 85 public files.
//!
//! ```
//! let (fit, report) = rkboot::fit::parse(b"no FIT");
//! assert!(fit.is_none());
//! assert_eq!(report.iter().map(|finding| finding.code).collect::<Vec<_>>(), ["FIT001"]);
//! ```

pub mod build;
mod check;
mod data;
mod flat;
mod hash;
mod parse;
mod unpack;
mod unpacked;

use std::ops::Range;

pub use check::{check_compatible, check_firmware};
pub use hash::{Hash, HashStatus};
pub use parse::parse;

/// Whether `bytes` begin as a device tree does; a FIT is one.
pub fn is_tree(bytes: &[u8]) -> bool {
    bytes.starts_with(&dtbtool::MAGIC.to_be_bytes())
}

/// Whether `bytes` begin with a sound device tree that has a node `/images`. Nothing is hashed.
pub(crate) fn is_fit(bytes: &[u8]) -> bool {
    is_tree(bytes)
        && dtbtool::Fdt::parse(bytes).is_ok_and(|fdt| fdt.root().children().any(|node| node.name() == "images"))
}

/// A FIT. All offsets and ranges are bytes from its start.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fit {
    /// Size of the tree.
    pub totalsize: u32,
    /// The root's `description`.
    pub description: Option<String>,
    /// The root's `timestamp`: seconds since 1970.
    pub timestamp: Option<u32>,
    /// The root's `totalsize`, which only vendor FITs have: tree and data.
    pub declared_size: Option<u32>,
    /// The root's `version`, the vendor's rollback number.
    pub version: Option<u32>,
    /// Where `data-offset` counts from.
    pub external_base: u64,
    /// The images in stored order.
    pub images: Vec<Image>,
    /// The configurations in stored order.
    pub configurations: Vec<Configuration>,
    /// Name of the default configuration.
    pub default: Option<String>,
    /// End of the last byte of tree and data that is described.
    pub data_end: u64,
}

impl Fit {
    /// Where the FIT ends: [`data_end`](Self::data_end), or what a vendor FIT declares if that is more.
    pub fn end(&self) -> u64 {
        self.data_end.max(self.declared_size.map_or(0, u64::from))
    }

    /// The image with this name.
    pub fn image(&self, name: &str) -> Option<&Image> {
        self.images.iter().find(|image| image.name == name)
    }

    /// Count of hashes that are valid, and of all.
    pub fn hashes(&self) -> (usize, usize) {
        let all = || self.images.iter().flat_map(|image| &image.hashes);
        (all().filter(|hash| hash.status == HashStatus::Valid).count(), all().count())
    }
}

/// How an image says where its data is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DataForm {
    /// Property `data` in the tree.
    Inline,
    /// `data-offset`, from the external base.
    Offset,
    /// `data-position`, from the start of the FIT.
    Position,
}

/// An image of a FIT.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Image {
    /// Name of the node, such as `atf-1`.
    pub name: String,
    /// `description`.
    pub description: Option<String>,
    /// `type`: `standalone`, `firmware`, `flat_dt`, …
    pub kind: Option<String>,
    /// `os`.
    pub os: Option<String>,
    /// `arch`.
    pub arch: Option<String>,
    /// `compression`.
    pub compression: Option<String>,
    /// `load` address.
    pub load: Option<u64>,
    /// `entry` address.
    pub entry: Option<u64>,
    /// Where the data is, `None` if nothing says so.
    pub data: Option<(DataForm, Range<u64>)>,
    /// The hashes of the stored data, each checked.
    pub hashes: Vec<Hash>,
    /// The digests of compressed data once it is unpacked, each checked where the compression is read here.
    pub digests: Vec<Hash>,
    /// How many bytes compressed data unpacks to, if it was unpacked.
    pub unpacked_size: Option<u64>,
    /// Its signatures, which are not checked.
    pub signatures: Vec<Signature>,
    /// Where the node starts in the tree.
    pub node: u64,
}

impl Image {
    /// The image's data in the bytes of its FIT, if all of it is there.
    pub fn bytes<'a>(&self, fit: &'a [u8]) -> Option<&'a [u8]> {
        let (_, range) = self.data.as_ref()?;
        fit.get(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?)
    }

    /// The image's data as it is loaded: itself, or unpacked up to 64 MiB. `None` when it is not all there, damaged, or
    /// compressed in a way that is not read here (the feature `codecs` reads gzip, lzma and zstd).
    pub fn uncompressed<'a>(&self, fit: &'a [u8]) -> Option<std::borrow::Cow<'a, [u8]>> {
        const LARGEST: u64 = 64 * 1024 * 1024;
        let data = self.bytes(fit)?;
        match self.compression.as_deref() {
            None | Some("none") => Some(data.into()),
            Some(name) => match unpack::unpack(name, data, LARGEST) {
                unpack::Unpacked::Data(data) => Some(data.into()),
                _ => None,
            },
        }
    }

    /// Whether the data is stored as it is loaded.
    pub fn is_uncompressed(&self) -> bool {
        matches!(self.compression.as_deref(), None | Some("none"))
    }

    pub(crate) fn is_flat_dt(&self) -> bool {
        self.kind.as_deref() == Some("flat_dt")
    }
}

/// A configuration: which images start together.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Configuration {
    /// Name of the node, such as `config-1`.
    pub name: String,
    /// `description`.
    pub description: Option<String>,
    /// `compatible`, copied from the device tree.
    pub compatible: Vec<String>,
    /// `firmware`: the image that is started first.
    pub firmware: Option<String>,
    /// `loadables`: the images that are loaded as well.
    pub loadables: Vec<String>,
    /// `kernel`.
    pub kernel: Option<String>,
    /// `fdt`: the device tree, then overlays.
    pub fdt: Vec<String>,
    /// Names in these properties that no image has.
    pub dangling: Vec<String>,
    /// Its signatures, which are not checked.
    pub signatures: Vec<Signature>,
    /// Where the node starts in the tree.
    pub node: u64,
}

/// A signature node of an image or a configuration. Unsigned FITs have the node without a value.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Signature {
    /// `algo`, such as `sha256,rsa2048`.
    pub algorithm: Option<String>,
    /// `key-name-hint`: the name of the key.
    pub key: Option<String>,
    /// `sign-images`: which images of a configuration are signed.
    pub images: Vec<String>,
    /// Whether there is a signature in it.
    pub is_signed: bool,
}
