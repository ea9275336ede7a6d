//! How a part of an initramfs is compressed.

use std::fmt;

/// A compression that the kernel knows for an initramfs (`lib/decompress.c`), or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// A plain cpio archive.
    None,
    /// gzip.
    Gzip,
    /// bzip2, not unpacked here.
    Bzip2,
    /// The format before xz, `.lzma`.
    Lzma,
    /// xz.
    Xz,
    /// LZO, not unpacked here.
    Lzo,
    /// LZ4, not unpacked here.
    Lz4,
    /// Zstandard.
    Zstd,
}

impl Compression {
    /// By two bytes, which is all that the kernel looks at.
    pub(super) fn sniff(head: &[u8]) -> Option<Self> {
        Some(match head.first_chunk()? {
            [0x1f, 0x8b | 0x9e] => Self::Gzip,
            [0x42, 0x5a] => Self::Bzip2,
            [0x5d, 0x00] => Self::Lzma,
            [0xfd, 0x37] => Self::Xz,
            [0x89, 0x4c] => Self::Lzo,
            [0x02, 0x21] => Self::Lz4,
            [0x28, 0xb5] => Self::Zstd,
            _ => return None,
        })
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "not compressed",
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Lzma => "lzma",
            Self::Xz => "xz",
            Self::Lzo => "lzo",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        })
    }
}
