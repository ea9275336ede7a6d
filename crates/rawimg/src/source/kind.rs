//! What a file is, by its first bytes.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use imgcore::ReadAt;

use crate::{Error, ErrorKind};

/// The forms that are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Raw,
    Xz,
    Zstd,
    Gzip,
}

/// Compressed forms that are known well enough to say that they are not read.
const FOREIGN: [(&[u8], &str); 5] = [
    (b"BZh", "bzip2"),
    (b"PK\x03\x04", "zip"),
    (b"7z\xBC\xAF\x27\x1C", "7z"),
    (b"\x04\x22\x4D\x18", "lz4"),
    (b"LZIP", "lzip"),
];

impl Kind {
    pub(super) fn of(file: &dyn ReadAt) -> Result<Self, Error> {
        let mut first = [0; 6];
        let count = usize::try_from(file.size()).unwrap_or(usize::MAX).min(first.len());
        let first = first.get_mut(..count).unwrap_or_default();
        file.read_exact_at(0, first).map_err(|error| Error::io("reading the start of the image file", error))?;
        let first = &*first;
        if let Some((_, format)) = FOREIGN.into_iter().find(|(magic, _)| first.starts_with(magic)) {
            let problem = "decompress it first; xz, zstd and gzip are read as they are".to_owned();
            return Err(ErrorKind::Unsupported { format, problem }.into());
        }
        Ok(match first {
            [0xFD, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            // A zstd file may begin with a skippable frame.
            [0x28, 0xB5, 0x2F, 0xFD, ..] | [0x50..=0x5F, 0x2A, 0x4D, 0x18, ..] => Self::Zstd,
            [0x1F, 0x8B, 8, ..] => Self::Gzip,
            _ => Self::Raw,
        })
    }

    #[cfg(not(all(feature = "xz", feature = "zst", feature = "gz")))]
    pub(super) fn not_built(self) -> Error {
        use crate::sink::Format;
        match self {
            Self::Raw => Format::Raw,
            Self::Xz => Format::Xz,
            Self::Zstd => Format::Zst,
            Self::Gzip => Format::Gz,
        }
        .not_built()
    }
}
