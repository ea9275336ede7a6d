//! The one error of this crate.

use std::{fmt, io, ops::Range};

use imgcore::{ByteSize, Overlap, SectorSize};

/// Why a plan or a write was refused. The kind is boxed, so that `Result` stays small.
#[derive(Debug)]
pub struct Error(Box<ErrorKind>);

impl Error {
    /// What went wrong.
    pub fn kind(&self) -> &ErrorKind {
        &self.0
    }

    /// The kind, by value.
    pub fn into_kind(self) -> ErrorKind {
        *self.0
    }

    /// An I/O error with what was being done.
    pub fn io(doing: impl Into<String>, source: io::Error) -> Self {
        ErrorKind::Io { doing: doing.into(), source }.into()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self(Box::new(kind))
    }
}

/// A name and the bytes that it asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// Partition, file or table.
    pub name: String,
    /// Size in bytes.
    pub size: u64,
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Two contents claim the same bytes.
    #[error("{}", show_overlap(overlap, *sector))]
    Overlap {
        /// Both ranges with their owners.
        overlap: Overlap,
        /// The sector size in which LBAs are shown.
        sector: SectorSize,
    },
    /// A content ends behind the end of what it is put in.
    #[error(
        "{label} needs bytes {}..{}, but there are only {size} bytes: enlarge the whole or shrink the part",
        range.start, range.end
    )]
    BeyondEnd {
        /// Whose content it is.
        label: String,
        /// The bytes asked for.
        range: Range<u64>,
        /// The size there is.
        size: u64,
    },
    /// Extents inside extents, more levels than anything real has.
    #[error("{label} nests extents more than {limit} levels deep")]
    TooDeep {
        /// Whose content it is.
        label: String,
        /// The number of levels allowed.
        limit: u8,
    },
    /// The partitions do not fit the disk.
    #[error("{}", show_disk_too_small(*needed, *given, partitions))]
    DiskTooSmall {
        /// Smallest size in bytes that would do.
        needed: u64,
        /// The size that was given.
        given: u64,
        /// What the size is made of: table areas and every partition, in disk order.
        partitions: Vec<Need>,
    },
    /// A GPT plan that cannot be written.
    #[error("partition table: {0}")]
    Gpt(String),
    /// A GPT partition that cannot be written.
    #[error("partition {name:?}: {problem}")]
    Partition {
        /// Its name.
        name: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A file system option that no FAT32 can have.
    #[error("FAT32: {0}")]
    Fat(String),
    /// The files do not fit the file system.
    #[error(
        "FAT32: the files need a file system of {} ({needed} bytes), but it has {} ({given} bytes): enlarge the \
         partition or remove files",
        ByteSize(*needed), ByteSize(*given)
    )]
    FatTooSmall {
        /// Smallest size in whole MiB that would do.
        needed: u64,
        /// The size that was given.
        given: u64,
    },
    /// A FAT32 that readers would take for FAT16.
    #[error(
        "FAT32: {} ({given} bytes) give {clusters} clusters, fewer than the 65525 below which readers see FAT16: at least \
         {} ({needed} bytes) are needed",
        ByteSize(*given), ByteSize(*needed)
    )]
    FatTooFewClusters {
        /// The clusters there would be.
        clusters: u32,
        /// Smallest size in whole MiB that would do.
        needed: u64,
        /// The size that was given.
        given: u64,
    },
    /// A path that FAT cannot hold.
    #[error("FAT32: {path:?}: {problem}")]
    FatPath {
        /// The path as given.
        path: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// No such output format.
    #[error("unknown image format {word:?}: use one of {known}{}", nearest.as_ref().map_or(String::new(), |n| format!("; did you mean {n:?}?")))]
    UnknownFormat {
        /// The word given.
        word: String,
        /// The formats there are.
        known: &'static str,
        /// The likely meaning.
        nearest: Option<&'static str>,
    },
    /// A compressed stream that does not decode.
    #[error("{format} data is damaged at byte {offset}: {problem}")]
    Damaged {
        /// `xz`, `zstd`, `gzip`.
        format: &'static str,
        /// Offset in the compressed file.
        offset: u64,
        /// What was found and what was expected.
        problem: String,
    },
    /// A compressed stream that is sound but outside the limits of this reader.
    #[error("{format} data cannot be read here: {problem}")]
    Unsupported {
        /// `xz`, `zstd`, `gzip`.
        format: &'static str,
        /// What was found, what is supported.
        problem: String,
    },
    /// A finished file does not hold what was planned.
    #[error("the written image differs from the plan in bytes {}..{}: {problem}", range.start, range.end)]
    Mismatch {
        /// Bytes of the raw image.
        range: Range<u64>,
        /// What was expected and what was found.
        problem: String,
    },
    /// The user asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// The medium failed.
    #[error("{doing}: {source}")]
    Io {
        /// What was being done.
        doing: String,
        /// What the medium said.
        source: io::Error,
    },
}

/// `16384..24575`, inclusive as partition tools show sectors.
fn lbas(range: &Range<u64>, sector: SectorSize) -> String {
    let size = sector.bytes();
    let last = range.end.saturating_sub(1) / size;
    format!("{}..{}", range.start / size, last)
}

fn show_overlap(overlap: &Overlap, sector: SectorSize) -> String {
    let side = |owner: &str, range: &Range<u64>| {
        format!("{owner} (LBA {}, bytes {}..{})", lbas(range, sector), range.start, range.end)
    };
    let shared = overlap.shared();
    format!(
        "{} overlaps {} in LBA {}, bytes {}..{}: move or shorten one of them",
        side(&overlap.first.owner, &overlap.first.range),
        side(&overlap.second.owner, &overlap.second.range),
        lbas(&shared, sector),
        shared.start,
        shared.end
    )
}

fn show_disk_too_small(needed: u64, given: u64, partitions: &[Need]) -> String {
    let parts: Vec<String> = partitions.iter().map(|need| format!("{} {}", need.name, ByteSize(need.size))).collect();
    format!(
        "the disk is too small: {} ({needed} bytes) are needed, {} ({given} bytes) are given: {}",
        ByteSize(needed),
        ByteSize(given),
        parts.join(", ")
    )
}
