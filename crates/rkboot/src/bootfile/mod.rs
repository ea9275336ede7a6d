//! What a file holds that is written raw in front of the partitions.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

mod examine;
mod foreign;
mod other;
mod parts;
mod place;
pub(crate) mod soc;

use std::ops::Range;

pub use examine::examine;
pub(crate) use examine::{find_fit, first_stage_base, fit_copies};
pub use parts::parts;
pub use place::{ranges, trim};

use crate::{
    Fit, IdBlock,
    dtbo_table::DtboTable,
    idblock::{AnyBlock, IdBlockV1},
    identity::Identified,
    legacy::{loader_image::LoaderImage, trust::Trust},
    loader::Loader,
    parameter::Parameter,
};

/// Where the mainline SPL and, without a partition named `uboot`, the vendor SPL look for the FIT on SD card and eMMC
/// (`CONFIG_SYS_MMCSD_RAW_MODE_U_BOOT_SECTOR`), in bytes.
pub const FIT_OFFSET: u64 = 16_384 * 512;

/// Where a BootROM looks for the first idblock on SD card and eMMC, in bytes.
pub const IDBLOCK_OFFSET: u64 = 64 * 512;

/// A boot file, as [`examine`] found it. All ranges are bytes of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BootFile {
    /// What it is.
    pub kind: BootFileKind,
    /// The copies of its content; the first is the one that boots. A copy of an idblock is the block itself, without
    /// the gap to the next one; several copies of a FIT are whole slots, as the vendor's packer pads each (2 MiB);
    /// otherwise there is one range up to `content_end`, in whole sectors. Never empty.
    pub copies: Vec<Range<u64>>,
    /// Whether all copies hold the same.
    pub copies_equal: bool,
    /// End of the last byte that means something in copy 1.
    pub content_end: u64,
    /// Size of the file.
    pub length: u64,
    /// 0-based index of the first copy that differs.
    differing: Option<usize>,
    /// Where copy 1 says that it ends, which is behind the file for a damaged one.
    pub claimed_end: u64,
}

/// What a boot file is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BootFileKind {
    /// An idblock v2, `idbloader.img`.
    IdBlock(Box<IdBlock>),
    /// An idblock v1, `idbloader.img` of RK3399 and older.
    IdBlockV1(Box<IdBlockV1>),
    /// A FIT, `u-boot.itb` or `uboot.img`.
    Fit(Box<Fit>),
    /// Both in one file, `u-boot-rockchip.bin`.
    Combined {
        /// The idblock.
        idblock: AnyBlock,
        /// Where the first copy of the idblock is.
        idblock_range: Range<u64>,
        /// The FIT.
        fit: Box<Fit>,
        /// Where the FIT is.
        fit_range: Range<u64>,
    },
    /// A loader file for maskrom mode, `MiniLoaderAll.bin`.
    Loader(Box<Loader>),
    /// A `LOADER  ` or `TOS     ` image, `uboot.img` of RK33xx and older.
    LoaderImage(Box<LoaderImage>),
    /// A `BL3X` image, `trust.img`.
    Trust(Box<Trust>),
    /// An Android table of device-tree overlays, `dtbo.img`.
    DtboTable(Box<DtboTable>),
    /// A list of partitions, `parameter.txt`.
    Parameter(Box<Parameter>),
    /// A part of a boot chain that goes into one of the others: DDR init code, an SPL, TF-A.
    Blob(Box<Identified>),
    /// Nothing that is known here.
    Unknown,
}

impl BootFileKind {
    /// One word for programs; those of `--tsv` where there are such.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::IdBlock(_) => "idb-v2",
            Self::IdBlockV1(_) => "idb-v1",
            Self::Fit(_) => "fit",
            Self::Combined { .. } => "combined",
            Self::Loader(_) => "loader",
            Self::LoaderImage(_) => "loader-image",
            Self::Trust(_) => "trust",
            Self::DtboTable(_) => "dtbo-table",
            Self::Parameter(_) => "parameter",
            Self::Blob(_) => "blob",
            Self::Unknown => "unknown",
        }
    }

    /// Whether it is a file that a board does not start from where it is written raw, and yet one of ours: for the USB,
    /// for a partition, for a flashing tool.
    pub const fn is_for_elsewhere(&self) -> bool {
        matches!(self, Self::Loader(_) | Self::DtboTable(_) | Self::Parameter(_))
    }

    /// In a few words.
    pub const fn describe(&self) -> &'static str {
        match self {
            Self::IdBlock(_) => "idblock v2",
            Self::IdBlockV1(_) => "idblock v1",
            Self::Fit(_) => "FIT",
            Self::Combined { idblock: AnyBlock::V2(_), .. } => "idblock v2 and FIT",
            Self::Combined { idblock: AnyBlock::V1(_), .. } => "idblock v1 and FIT",
            Self::Loader(_) => "loader file",
            Self::LoaderImage(_) => "LOADER image",
            Self::Trust(_) => "BL3X trust image",
            Self::DtboTable(_) => "table of device-tree overlays",
            Self::Parameter(_) => "parameter file",
            Self::Blob(_) => "part of a boot chain",
            Self::Unknown => "unknown",
        }
    }
}
