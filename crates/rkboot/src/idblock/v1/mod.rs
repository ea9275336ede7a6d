//! ID blocks v1: what the BootROMs of RK3036 to RK3399, PX30, RK3308, RV1108 and RV1126 read.
//!
//! The header area has 2048 bytes, of which the first 512 are always scrambled ([`crate::coding`]); it counts two images
//! in 512-byte blocks: the init code, whose first four bytes are the tag of the SoC, and behind it the boot code. There
//! are no hashes. Blocks whose boot code was appended by hand behind mkimage's output say that 512 KiB follow, whatever
//! follows.
//!
//! ```
//! use rkboot::{Soc, idblock::{self, v1}};
//!
//! let bytes = idblock::build(&idblock::Parts { soc: Soc::Rk3399, init: &[1; 3000], boot: Some(&[2; 9000]) })?;
//! let (block, report) = v1::parse_for(&bytes, Some(Soc::Rk3399));
//! let block = block.unwrap();
//! assert!(!report.has_errors());
//! assert_eq!((block.init.clone(), block.boot.clone(), &block.tag), (2048..6144, 6144..16_384, b"RK33"));
//! # Ok::<(), rkboot::Error>(())
//! ```

mod build;
mod parse;
mod raw;

use std::ops::Range;

pub use build::build;
pub(crate) use parse::{find_copies, parse_block};
pub use parse::{parse, parse_for};

use super::{BlockCopy, DdrInfo, ddr, spread};
use crate::{coding, util::slice};

/// Whether `bytes` begin with the scrambled magic of an idblock v1.
pub(super) fn is_v1(bytes: &[u8]) -> bool {
    bytes.starts_with(&raw::SCRAMBLED_MAGIC)
}

/// An idblock v1. Ranges count bytes from the header in the flat form; [`IdBlockV1::spread`] says whether the file holds
/// the other one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct IdBlockV1 {
    /// Whether only 2048 of each 4096 bytes are used, the form for SPI flash (`rkspi`).
    pub spread: bool,
    /// The field `disable_rc4`: 1 for a plain payload, 0 for a scrambled one (RK3066, RK3188).
    pub disable_rc4: u32,
    /// The init code with its padding.
    pub init: Range<u64>,
    /// The boot code with its padding, as the header says; empty when there is none.
    pub boot: Range<u64>,
    /// The first four bytes of the init code, descrambled. Zeros when the file ends in front of them.
    pub tag: [u8; 4],
    /// Bytes from the header to the end of the boot code, as the header says.
    pub length: u64,
    /// How many of these are behind the end of the file.
    pub bytes_missing: u64,
    /// Whether the header leaves 512 KiB for the boot code: what mkimage writes without a boot image, and what stays when
    /// one is appended by hand.
    pub open_ended: bool,
    /// Bytes from the header to the end of what is there: at most `length`; for an open-ended block up to the last data.
    pub content_length: u64,
    /// Whether sectors 1 to 3 hold what Rockchip's flashing tools write there.
    pub flashed: bool,
    /// The copies in the file, the block itself first. Byte ranges of the file from the header of the first.
    pub copies: Vec<BlockCopy>,
}

impl IdBlockV1 {
    /// The flat, descrambled bytes from the header to [`IdBlockV1::content_length`], out of the bytes that the block was
    /// read from. The header itself stays as it is.
    pub fn decoded(&self, bytes: &[u8]) -> Vec<u8> {
        let mut flat = if self.spread {
            spread::unspread_prefix(bytes, self.content_length)
        } else {
            slice(bytes, &(0..self.content_length)).to_vec()
        };
        // A page may hold more than the last byte.
        flat.truncate(usize::try_from(self.content_length).unwrap_or(usize::MAX));
        let start = usize::try_from(self.init.start).unwrap_or(usize::MAX);
        if self.disable_rc4 == 0
            && let Some(payload) = flat.get_mut(start..)
        {
            coding::rc4_blocks(payload);
        }
        flat
    }

    /// What the DDR init code says about itself. `None` for code that is not Rockchip's, such as U-Boot's TPL.
    pub fn ddr(&self, bytes: &[u8]) -> Option<DdrInfo> {
        ddr::identify(slice(&self.decoded(bytes), &self.init))
    }

    /// Whether the init code begins with the tag of some SoC; signed code begins with another.
    pub(crate) fn has_known_tag(&self) -> bool {
        crate::Soc::all()
            .any(|soc| soc.header_version() == crate::HeaderVersion::V1 && soc.tag().as_bytes() == self.tag)
    }

    /// Whether the file holds boot code behind the init code.
    pub fn has_boot(&self) -> bool {
        self.content_length > self.init.end
    }

    /// Where what is there ends in the file, in bytes from the header.
    pub(crate) fn content_end(&self) -> u64 {
        if self.spread { spread::on_medium(self.content_length) } else { self.content_length }
    }

    /// Where the header says that the block ends, in bytes of the file from the header. A block that only says where it
    /// ends at the latest says nothing.
    pub(crate) fn claimed_end(&self) -> u64 {
        let length = if self.open_ended { self.content_length } else { self.length };
        if self.spread { spread::on_medium(length) } else { length }
    }

    /// From where on something else can lie in the file.
    pub(crate) fn search_from(&self) -> u64 {
        let length = if self.open_ended { self.init.end } else { self.content_length };
        if self.spread { spread::on_medium(length) } else { length }
    }
}
