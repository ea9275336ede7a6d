//! The boot area out of a whole disk: which bytes of an image, a card or an SPI flash are boot files.
//!
//! [`plan`] looks where BootROMs and SPLs look: an idblock at sector 64 and its copies, at 0x8000 and 0 of SPI flash;
//! the second stage in a partition named `uboot`, at sector 16384, and at sector boundaries in front of the first
//! partition; the vendor's trust image at sector 24576. Where there are two second stages the SPL decides: mainline's
//! looks at sector 16384, the vendor's into the partition first. Each piece is cut to what is meant (the first sound copy,
//! without the padding behind it), and says what was left out. [`Piece::origin`] writes the record that belongs beside the file.
//!
//! ```
//! use rkboot::{Soc, extract, idblock};
//!
//! let block = idblock::build(&idblock::Parts { soc: Soc::Rk3588, init: b"ddr init", boot: Some(b"spl") })?;
//! let mut disk = vec![0; 2 * 1024 * 1024];
//! disk[64 * 512..][..block.len()].copy_from_slice(&block);
//!
//! let (pieces, report) = extract::plan(disk.as_slice(), &[]);
//! assert!(!report.has_errors());
//! assert_eq!(pieces[0].name, "idbloader.img");
//! assert_eq!(pieces[0].bytes, block);
//! assert_eq!(pieces[0].sector(), Some(64));
//! # Ok::<(), rkboot::Error>(())
//! ```

mod origin;
mod plan;

use std::ops::Range;

use imgcore::Digest;
pub use origin::{Source, Whole};
pub use plan::plan;

/// A partition of the disk, as whoever reads the table gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its name in the table.
    pub name: String,
    /// Its bytes on the disk.
    pub range: Range<u64>,
}

/// What a piece is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Role {
    /// What the BootROM loads.
    Idbloader,
    /// What the SPL loads.
    SecondStage,
    /// TF-A and OP-TEE in a file of their own, for older SPLs.
    Trust,
}

impl Role {
    /// `idbloader`, `second-stage`, `trust`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Idbloader => "idbloader",
            Self::SecondStage => "second-stage",
            Self::Trust => "trust",
        }
    }
}

/// A boot file found in a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Piece {
    /// What to call the file: `idbloader.img`, `u-boot.itb`, `uboot.img`, `trust.img`; `u-boot-2.itb`, `uboot-2.img` for a
    /// second stage besides one of that name.
    pub name: &'static str,
    /// What it is for.
    pub role: Role,
    /// Where it was found, in bytes of the disk. `None` when it was put together from the parts of a loader file.
    pub offset: Option<u64>,
    /// Name of the partition that it fills, if it was found by that.
    pub partition: Option<String>,
    /// The bytes, cut to what is meant.
    pub bytes: Vec<u8>,
    /// Their SHA-256.
    pub digest: Digest,
    /// What it is, in a few words: `idblock v2`, `FIT`.
    pub kind: &'static str,
    /// Versions that its content names.
    pub versions: Vec<String>,
    /// What was left out, if anything.
    pub trimmed: Option<String>,
    /// Where it belongs on the medium, in bytes.
    home: u64,
}

impl Piece {
    /// The 512-byte sector of the medium where it is to be written, if it begins at one: where it was found, 64 for an
    /// idblock of a file of its own or of a copy, 16384 and 24576 for files of a second stage and a trust image alone.
    pub fn sector(&self) -> Option<u64> {
        if self.home.is_multiple_of(512) { self.home.checked_div(512) } else { None }
    }
}
