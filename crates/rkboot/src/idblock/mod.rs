//! ID blocks: the first thing on a card that a Rockchip BootROM reads. This module is about v2 (`RKNS`, RK35xx), and what
//! both versions share: the writer, copies, and the spread form for SPI flash. [`v1`] reads what older SoCs start from.
//!
//! A block v2 is a 2 KiB header with up to four entries, then the images, all counted in 512-byte blocks from the
//! header. The BootROM looks for it at sector 64 of SD card and eMMC and at every further multiple of 512 KiB from
//! there, so a file may hold several copies. The header does not say for which SoC it is made.
//!
//! ```
//! use rkboot::{Soc, idblock};
//!
//! let parts = idblock::Parts { soc: Soc::Rk3588, init: &[1; 3000], boot: Some(&[2; 9000]) };
//! let mut bytes = idblock::build(&parts)?;
//! let (block, report) = idblock::parse(&bytes);
//! assert!(report.is_empty());
//! assert_eq!(block.map(|block| (block.images.len(), block.length)), Some((2, 2048 + 4096 + 10240)));
//!
//! bytes[5000] ^= 1;
//! let (_, report) = idblock::parse(&bytes);
//! assert_eq!(report.iter().map(|finding| finding.code).collect::<Vec<_>>(), ["IDB009"]);
//! # Ok::<(), rkboot::Error>(())
//! ```

mod build;
mod copies;
mod ddr;
mod parse;
mod raw;
mod spread;
pub mod v1;

use std::{borrow::Cow, ops::Range};

pub use build::{Parts, Rk3576Parts, build, build_rk3576};
pub use copies::{COPY_STRIDE, copies};
pub use ddr::{DdrInfo, Uart};
pub(crate) use parse::{find_copies, name_sound_copy, parse_block};
pub use parse::{parse, parse_for};
pub use spread::{spread, unspread};
pub use v1::IdBlockV1;

use crate::{HeaderVersion, util::slice};

/// The largest SPL that mkimage has room for.
const MAX_SPL: u64 = 512 * 1024;

/// Whether `bytes` begin with the magic of an idblock v2, plain or signed.
pub fn is_v2(bytes: &[u8]) -> bool {
    bytes.starts_with(&raw::MAGIC) || bytes.starts_with(&raw::MAGIC_SIGNED)
}

/// Whether `bytes` begin with the scrambled magic of an idblock v1 (`3b 8c dc fc`).
pub fn is_v1(bytes: &[u8]) -> bool {
    v1::is_v1(bytes)
}

/// An idblock of either version.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AnyBlock {
    /// RK3399 and older.
    V1(Box<IdBlockV1>),
    /// RK35xx.
    V2(Box<IdBlock>),
}

impl AnyBlock {
    /// Which version it is.
    pub const fn version(&self) -> HeaderVersion {
        match self {
            Self::V1(_) => HeaderVersion::V1,
            Self::V2(_) => HeaderVersion::V2,
        }
    }

    /// The copies in the file, the block itself first. Byte ranges of the file from the header of the first.
    pub fn copies(&self) -> &[BlockCopy] {
        match self {
            Self::V1(block) => &block.copies,
            Self::V2(block) => &block.copies,
        }
    }

    /// Whether only 2048 of each 4096 bytes are used, the form for SPI flash (`rkspi`).
    pub fn is_spread(&self) -> bool {
        match self {
            Self::V1(block) => block.spread,
            Self::V2(block) => block.spread,
        }
    }

    /// What the DDR init code says about itself, found in the bytes that the block was read from.
    pub fn ddr(&self, bytes: &[u8]) -> Option<DdrInfo> {
        match self {
            Self::V1(block) => block.ddr(bytes),
            Self::V2(block) => block.ddr(bytes),
        }
    }

    /// Where the block says that it ends, in bytes of the file from the header; behind the file for a cut one.
    pub(crate) fn claimed_end(&self) -> u64 {
        match self {
            Self::V1(block) => block.claimed_end(),
            Self::V2(block) if block.spread => spread::on_medium(block.length),
            Self::V2(block) => block.length,
        }
    }
}

/// Which hash protects header and images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum HashKind {
    /// Nothing is protected.
    None,
    /// SHA-256, what mkimage and all known public files use.
    Sha256,
    /// SHA-512.
    Sha512,
    /// No known value.
    Unknown(u8),
}

impl HashKind {
    fn from_raw(raw: u8) -> Self {
        match raw {
            0 => Self::None,
            1 => Self::Sha256,
            2 => Self::Sha512,
            other => Self::Unknown(other),
        }
    }

    /// The value in the header.
    pub const fn raw(self) -> u8 {
        match self {
            Self::None => 0,
            Self::Sha256 => 1,
            Self::Sha512 => 2,
            Self::Unknown(raw) => raw,
        }
    }

    /// `none`, `sha256`, `sha512`, `unknown`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
            Self::Unknown(_) => "unknown",
        }
    }

    /// Length of the hash in bytes.
    pub const fn size(self) -> usize {
        match self {
            Self::None | Self::Unknown(_) => 0,
            Self::Sha256 => 32,
            Self::Sha512 => 64,
        }
    }
}

/// What a stored hash says about the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Check {
    /// The bytes are those that were hashed.
    Valid,
    /// The file ends too early, and the bytes are those that were hashed if zeros follow.
    ValidIfPadded,
    /// They are not, or are missing.
    Wrong,
    /// There is no hash, or none that can be checked.
    Unchecked,
}

/// An idblock v2. Ranges of images count from the header in the flat form; [`IdBlock::spread`] says whether the file holds
/// the other one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct IdBlock {
    /// Whether only 2048 of each 4096 bytes are used, as `mkimage -T rkspi` writes it.
    pub spread: bool,
    /// Whether the magic is `RKSS`, which announces a signature in the place of the header hash.
    pub signed: bool,
    /// Count of images that the header claims; more than four are not there.
    pub n_images: u32,
    /// Where the header hash is, in bytes from the header.
    pub hash_offset: u64,
    /// Which hash is used.
    pub hash_kind: HashKind,
    /// The stored header hash, [`HashKind::size`] bytes.
    pub header_hash: Vec<u8>,
    /// Whether it is that of the header.
    pub header_check: Check,
    /// The images in the order of the entries.
    pub images: Vec<Image>,
    /// Bytes from the header to the end of the last image.
    pub length: u64,
    /// How many of these are behind the end of the file.
    pub bytes_missing: u64,
    /// The copies in the file, the block itself first. Byte ranges of the file from the header of the first.
    pub copies: Vec<BlockCopy>,
}

impl IdBlock {
    /// The flat bytes from the header on, out of the bytes that the block was read from. A file with the flat form is
    /// given back as it is.
    pub fn decoded<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        if self.spread { Cow::Owned(spread::unspread_prefix(bytes, self.length)) } else { Cow::Borrowed(bytes) }
    }

    /// What the DDR init code says about itself, found in the bytes that the block was read from. `None` for code
    /// that is not Rockchip's.
    pub fn ddr(&self, bytes: &[u8]) -> Option<DdrInfo> {
        let bytes = self.decoded(bytes);
        self.images.iter().find_map(|image| ddr::identify(slice(&bytes, &image.range)))
    }
}

/// An image of an idblock.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Image {
    /// Bytes from the header, padding included.
    pub range: Range<u64>,
    /// Load address, 0xFFFFFFFF leaves it to the BootROM.
    pub load: u32,
    /// Always 0 in known files.
    pub flag: u32,
    /// 1-based number.
    pub counter: u32,
    /// The stored hash, [`HashKind::size`] bytes.
    pub hash: Vec<u8>,
    /// Whether it is that of the image.
    pub check: Check,
}

/// One copy of an idblock in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BlockCopy {
    /// Bytes from the header of the first copy.
    pub range: Range<u64>,
    /// Whether it is equal to the first, byte for byte.
    pub identical: bool,
}
