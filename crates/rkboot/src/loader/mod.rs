//! Loader files for maskrom mode: `MiniLoaderAll.bin`, `rkXXXX_spl_loader_*.bin` (`LDR ` and `BOOT`).
//!
//! A board whose BootROM finds nothing to start waits on USB. The host sends the entries of request 0x471 (DRAM code),
//! then those of request 0x472 (a small program that writes to flash). The file also carries what that program writes:
//! `FlashData` and `FlashBoot`, and for newer SoCs `FlashHead` (and `FlashBoost`), which together are an idblock. The
//! payload is scrambled with RC4 under a public key; a CRC-32 with an unusual polynomial ends the file
//! (`boot_merger` in Rockchip's U-Boot).
//!
//! ```
//! use rkboot::{Soc, idblock, loader};
//!
//! let block = idblock::build(&idblock::Parts { soc: Soc::Rk3588, init: b"ddr", boot: Some(b"spl") })?;
//! # let file = loader::sample(&block);
//! // `file` is a loader file that carries `block`.
//! let (found, report) = loader::parse(&file);
//! let found = found.expect("a loader file");
//! assert!(!report.has_errors());
//! assert_eq!((found.chip.as_str(), found.idblock(&file)), ("3588", Some(block)));
//! # Ok::<(), rkboot::Error>(())
//! ```
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

mod parse;
mod raw;
mod sample;

use std::{fmt, ops::Range};

pub use parse::parse;
#[doc(hidden)]
pub use sample::sample;

use crate::{
    IdBlock, Soc,
    coding::{rc4, rc4_blocks},
    idblock::Check,
    util::slice,
};

/// Whether `bytes` begin as a loader file.
pub fn is_loader(bytes: &[u8]) -> bool {
    // Four letters alone also begin texts.
    let size = raw::HEADER_SIZE.to_le_bytes();
    bytes.get(4..6) == Some(&size[..]) && (bytes.starts_with(&raw::TAG_LDR) || bytes.starts_with(&raw::TAG_BOOT))
}

/// Which tool generation made the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `LDR `: USB parts plain, flash parts scrambled by 512 bytes.
    Ldr,
    /// `BOOT`: USB parts scrambled as a whole, flash parts by 512 bytes.
    Boot,
}

impl Form {
    /// The four characters at the start of the file.
    pub const fn tag(self) -> &'static str {
        match self {
            Self::Ldr => "LDR ",
            Self::Boot => "BOOT",
        }
    }
}

/// Which of the three tables an entry stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Sent to the BootROM with request 0x471 and run in SRAM: DRAM initialisation.
    Code471,
    /// Sent with request 0x472 and run in DRAM: the program that writes to flash.
    Code472,
    /// For flash, SD card and eMMC.
    Flash,
}

impl Use {
    /// The type number that entries of this table carry.
    pub const fn raw(self) -> u32 {
        match self {
            Self::Code471 => 1,
            Self::Code472 => 2,
            Self::Flash => 4,
        }
    }

    /// In a few words.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Code471 => "sent first (471)",
            Self::Code472 => "sent second (472)",
            Self::Flash => "for flash",
        }
    }
}

/// How the data of an entry is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scrambling {
    /// As it is.
    Plain,
    /// One RC4 stream over the whole entry.
    Stream,
    /// RC4 with a fresh key schedule every 512 bytes.
    Blocks,
}

impl Scrambling {
    /// `plain`, `rc4`, `rc4 by 512`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Stream => "rc4",
            Self::Blocks => "rc4 by 512",
        }
    }

    fn undo(self, mut data: Vec<u8>) -> Vec<u8> {
        match self {
            Self::Plain => {}
            Self::Stream => rc4(&mut data),
            Self::Blocks => rc4_blocks(&mut data),
        }
        data
    }
}

/// When the file was made, by the clock of the machine that made it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuildTime {
    /// Such as 2025.
    pub year: u16,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 60.
    pub second: u8,
}

impl BuildTime {
    /// Whether there is such a time.
    pub fn is_plausible(&self) -> bool {
        (1..=12).contains(&self.month)
            && (1..=31).contains(&self.day)
            && self.hour < 24
            && self.minute < 60
            && self.second <= 60
    }
}

/// `2025-01-02T16:53:46`.
impl fmt::Display for BuildTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { year, month, day, hour, minute, second } = self;
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
    }
}

/// A loader file. All ranges are bytes of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Loader {
    /// `LDR ` or `BOOT`.
    pub form: Form,
    /// What the header says its size is.
    pub header_size: u16,
    /// Version of the content, binary coded decimal: 0x10b.
    pub version: u32,
    /// Version of the program that made the file.
    pub merger_version: u32,
    /// When it was made.
    pub time: BuildTime,
    /// The SoC as the file names it: `3588`, `330C` for the RK3399. Hex digits for numbers that are no text.
    pub chip: String,
    /// 0x53 for files that are signed.
    pub sign_flag: u8,
    /// 1 when what is written to flash is not scrambled.
    pub rc4_flag: u8,
    /// All entries in the order of the three tables.
    pub entries: Vec<Entry>,
    /// The stored checksum; 0 if it is missing.
    pub crc: u32,
    /// Whether it is that of the bytes in front of it.
    pub crc_check: Check,
    /// Where the checksum ends; behind it there should be nothing.
    pub end: u64,
    /// The idblock for the flash, when the file carries one with its header. Ranges count from that header.
    pub flash: Option<Box<IdBlock>>,
    /// The block that the BootROM gets over USB, for files that have one. Ranges count from its header.
    pub usb: Option<Box<IdBlock>>,
}

/// One entry of a loader file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// Which table it stands in.
    pub used: Use,
    /// The type that the entry itself claims: 1, 2 or 4.
    pub kind: u32,
    /// Up to 20 characters; file names are cut there.
    pub name: String,
    /// Where its data is.
    pub range: Range<u64>,
    /// How long the host waits after sending it.
    pub delay_ms: u32,
    /// How the data is stored.
    pub scrambling: Scrambling,
}

/// How the chip is written where that is not its number: `CHIP_NAME` of rkbin's `RKBOOT/*.ini` without `RK`.
const CHIPS: &[(&str, Soc)] = &[
    ("301A", Soc::Rk3036),
    ("312A", Soc::Rk3128),
    ("320A", Soc::Rk3288),
    ("322A", Soc::Rk322x),
    ("322H", Soc::Rk3328),
    ("330A", Soc::Rk3368),
    ("330C", Soc::Rk3399),
    ("110B", Soc::Rv1126),
    ("PX30", Soc::Px30),
];

impl Loader {
    /// The SoC that the file is for, if its name is known.
    pub fn soc(&self) -> Option<Soc> {
        let coded = CHIPS.iter().find(|(chip, _)| *chip == self.chip).map(|(_, soc)| *soc);
        coded.or_else(|| Soc::from_name(&format!("rk{}", self.chip.to_ascii_lowercase())))
    }

    /// The entry of this name in a table.
    pub fn entry(&self, used: Use, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.used == used && entry.name == name)
    }

    /// The data of an entry, unscrambled. `bytes` is the file; `None` if the data is not all there.
    pub fn entry_data(&self, bytes: &[u8], entry: &Entry) -> Option<Vec<u8>> {
        let data = slice(bytes, &entry.range);
        let size = entry.range.end.saturating_sub(entry.range.start);
        (data.len() as u64 == size).then(|| entry.scrambling.undo(data.to_vec()))
    }

    /// The idblock that the file carries for flash, SD card and eMMC, as bytes: `FlashHead`, `FlashBoost`, `FlashData`
    /// and `FlashBoot` one after the other. `bytes` is the file.
    ///
    /// Files for SoCs with idblocks v1 carry no header; see [`Loader::flash_parts`] for what goes into one.
    pub fn idblock(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let flash = |name: &str| self.entry(Use::Flash, name);
        let parts = [Some(flash("FlashHead")?), flash("FlashBoost"), Some(flash("FlashData")?), flash("FlashBoot")];
        self.join(bytes, parts.into_iter().flatten())
    }

    /// DRAM code and boot loader for the flash, unscrambled: `FlashData` and `FlashBoot`. With them
    /// [`idblock::v1`](crate::idblock) builds what a v1 file stands for. `bytes` is the file.
    pub fn flash_parts(&self, bytes: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
        let data = |name: &str| self.entry(Use::Flash, name).and_then(|entry| self.entry_data(bytes, entry));
        Some((data("FlashData")?, data("FlashBoot")?))
    }

    /// What the BootROM gets over USB: `UsbHead` and all that follows it. `None` for files without `UsbHead`.
    pub fn usb_block(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        self.entry(Use::Code471, "UsbHead")?;
        self.join(bytes, self.entries.iter().filter(|entry| entry.used != Use::Flash))
    }

    /// The data of several entries, one after the other. A file whose entries together claim more than the file
    /// holds is damaged, and copying it would cost more memory than it has bytes.
    fn join<'a>(&self, bytes: &[u8], entries: impl Iterator<Item = &'a Entry>) -> Option<Vec<u8>> {
        let mut joined = Vec::new();
        for entry in entries {
            let data = self.entry_data(bytes, entry)?;
            if joined.len().saturating_add(data.len()) > bytes.len() {
                return None;
            }
            joined.extend_from_slice(&data);
        }
        Some(joined)
    }
}
