use crate::{HeaderVersion, Soc};

/// Why something of our own could not be made. Foreign data gets findings instead, see [`crate::rules`].
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error(Box<ErrorKind>);

impl Error {
    /// What went wrong.
    pub fn kind(&self) -> &ErrorKind {
        &self.0
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self(Box::new(kind))
    }
}

/// The kinds of [`Error`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No SoC of that name.
    #[error("unknown SoC: {name}{}", suggestion(*.nearest))]
    UnknownSoc {
        /// What was asked for.
        name: String,
        /// The nearest known name.
        nearest: Option<&'static str>,
    },
    /// The BootROM of this SoC reads the other version of idblock.
    #[error("{soc} starts from an idblock {version}, and another version was asked for")]
    UnsupportedHeader {
        /// The SoC.
        soc: Soc,
        /// What its BootROM reads.
        version: HeaderVersion,
    },
    /// The init image does not fit the SRAM of the SoC.
    #[error(
        "init image is too large for {soc}: {size:#x} bytes after padding, at most {limit:#x}; is it the DDR blob of \
         another SoC?"
    )]
    InitTooLarge {
        /// The SoC.
        soc: Soc,
        /// Size with padding to 2 KiB.
        size: u64,
        /// The SoC's limit.
        limit: u32,
    },
    /// The boot image does not fit the fields of the header.
    #[error("boot image is too large: {size} bytes after padding, an entry of the header holds at most {limit}")]
    BootTooLarge {
        /// Size with padding to 2 KiB.
        size: u64,
        /// What the 16-bit block count can say.
        limit: u64,
    },
    /// An input holds no bytes.
    #[error("{what} is empty: the board would have nothing to run; give the file that belongs there")]
    EmptyImage {
        /// Which input.
        what: &'static str,
    },
    /// A part is not what it should be.
    #[error("{what}: {problem}")]
    BadPart {
        /// Which part.
        what: String,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// A 64-bit SoC starts U-Boot through TF-A.
    #[error("BL31 is missing: {soc} starts U-Boot through TF-A; give its bl31.elf (rkbin has one for each SoC)")]
    MissingFirmware {
        /// The SoC.
        soc: Soc,
    },
    /// Nobody says where U-Boot goes.
    #[error(
        "no load address for U-Boot on {soc}: the program does not hold it and the SoC has no usual one; give \
         CONFIG_TEXT_BASE of its configuration"
    )]
    NoLoadAddress {
        /// The SoC.
        soc: Soc,
    },
    /// Two parts would be loaded over each other.
    #[error(
        "{first} for {:#x}..{:#x} and {second} for {:#x}..{:#x} would overwrite each other in memory; give another load \
         address",
        .first_range.start, .first_range.end, .second_range.start, .second_range.end
    )]
    LoadsOverlap {
        /// Image of the one.
        first: String,
        /// Its addresses.
        first_range: std::ops::Range<u64>,
        /// Image of the other.
        second: String,
        /// Its addresses.
        second_range: std::ops::Range<u64>,
    },
    /// Something is longer than it may be.
    #[error("{what} has {size} bytes, at most {limit} fit; make it smaller or the room larger")]
    TooLarge {
        /// What.
        what: String,
        /// Its size in bytes.
        size: u64,
        /// The most that it may have.
        limit: u64,
    },
    /// A part reaches into the place of the next one.
    #[error("{what} ends at byte {end:#x}, but {next} starts at {start:#x}; move {next} or make {what} smaller")]
    NoRoom {
        /// The part.
        what: &'static str,
        /// Where it ends.
        end: u64,
        /// The next part.
        next: &'static str,
        /// Where that starts.
        start: u64,
    },
    /// It is not known where this SoC has something in SPI flash.
    #[error("it is not known where {soc} has {what} in SPI flash; {known}")]
    NoSpiLayout {
        /// The SoC.
        soc: Soc,
        /// Which part.
        what: &'static str,
        /// For which SoCs it is known, or what to give.
        known: &'static str,
    },
    /// Parts for different SoCs.
    #[error("{message}; take both of one board")]
    OtherSoc {
        /// Which part is for which SoC.
        message: String,
    },
    /// What was made is not what the reader of this crate calls sound.
    #[error("what was made is not sound: {finding}; this is a fault of the program, please report it")]
    SelfCheck {
        /// The finding.
        finding: String,
    },
    /// What should be packed several times is no idblock.
    #[error("no idblock: the data starts with neither RKNS nor 3b 8c dc fc; give the block that `build` made")]
    NotAnIdBlock,
    /// Copies of an idblock that would destroy each other or the FIT.
    #[error(
        "{count} copies of {size} bytes were asked for, but there is room for 1 to {most}: copies lie 512 KiB apart, and \
         the FIT at sector 16384 ends their room"
    )]
    TooManyCopies {
        /// How many were asked for.
        count: u32,
        /// Bytes of one copy.
        size: u64,
        /// How many there can be.
        most: u64,
    },
    /// DDR parameters can be changed in plain DDR init code only.
    #[error("the DDR parameters cannot be changed: this is {what}")]
    NotDdrInit {
        /// What it is, and what to do.
        what: String,
    },
    /// The layout of the DDR parameters is not one that is changed here.
    #[error(
        "the DDR parameters have version {version}, and only versions 4 and 5 are changed here; use rkbin's ddrbin_tool"
    )]
    DdrLayout {
        /// Version of the layout.
        version: u32,
    },
    /// The UART does not fit its word.
    #[error("{uart} does not fit: UART and pin group go from 0 to 15, the speed from 1 to 16777215")]
    UartRange {
        /// What was asked for.
        uart: crate::idblock::Uart,
    },
    /// A slot of a legacy image has a size that no packer writes.
    #[error(
        "{copies} slots of {slot} bytes: expected 1 to 16 slots, each a multiple of 64 KiB and at most 64 MiB; the \
         miniloader looks no finer"
    )]
    SlotForm {
        /// Size of a slot in bytes.
        slot: u64,
        /// How many.
        copies: u64,
    },
    /// A file has no part that could be cut out: it was not recognised.
    #[error("nothing to trim: the file is no boot file that this program knows; write it whole or leave it out")]
    NotTrimmable,
    /// Copies of a boot file are not the same, so that dropping one loses something.
    #[error(
        "copies differ: copy {copy} at byte {offset} is not equal to copy 1, so cutting it off would lose data; \
         find out which one is right and write only that"
    )]
    CopiesDiffer {
        /// 1-based number of the first copy that differs.
        copy: usize,
        /// Where it starts in the file.
        offset: u64,
    },
    /// What the first copy holds reaches into the part that would be cut off.
    #[error(
        "copy 1 ends at byte {end}, behind the cut at {cut} where copy 2 starts: the file is damaged or packed with \
         too small a stride; take a whole file"
    )]
    BeyondCut {
        /// Last byte used by copy 1, exclusive.
        end: u64,
        /// Where the cut would be.
        cut: u64,
    },
}

fn suggestion(nearest: Option<&str>) -> String {
    use std::fmt::Write as _;
    let mut text = nearest.map_or_else(String::new, |nearest| format!(" (did you mean {nearest}?)"));
    text.push_str("; known are");
    for (index, soc) in Soc::all().enumerate() {
        let _ = write!(text, "{} {soc}", if index == 0 { "" } else { "," });
    }
    text
}
