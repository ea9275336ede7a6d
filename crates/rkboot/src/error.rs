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
    /// The BootROM of this SoC reads an idblock that this crate does not write.
    #[error(
        "{soc} starts from an idblock {version}, and only v2 is built here; use `mkimage -n {soc} -T rksd` or a \
         published idbloader.img"
    )]
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
