//! A module's bytes, whatever it is compressed with, without holding a large one in memory.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::{
    fmt,
    io::{self, BufReader, Read},
    ops::Range,
};

use imgcore::{ByteSize, Finding, ReadAt, ReadAtCursor};

use crate::rules::{self, finding};

use super::{Limits, Step};

/// Bytes that are read at a time.
const CHUNK: usize = 64 << 10;
/// An unpacked module up to this size is held; a larger one is unpacked once more for each step of reading.
const HELD: u64 = 16 * ByteSize::MIB;
/// Windows of up to 64 MiB: `zstd -19` takes 8 MiB, and the window of a single frame is no larger than its content.
const WINDOW_LOG: u32 = 26;
/// `xz -9` has a dictionary of 64 MiB; the kernel's own `make modules_install` takes 1 MiB.
const XZ_MEMORY: u64 = 80 * ByteSize::MIB;

/// How a module file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Compression {
    /// Not at all: `.ko`.
    None,
    /// `.ko.gz`.
    Gzip,
    /// `.ko.xz`.
    Xz,
    /// `.ko.zst`.
    Zstd,
}

impl Compression {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::None, Self::Gzip, Self::Xz, Self::Zstd];

    /// The usual name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
        }
    }

    /// What the names of such files end with.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::None => ".ko",
            Self::Gzip => ".ko.gz",
            Self::Xz => ".ko.xz",
            Self::Zstd => ".ko.zst",
        }
    }

    /// By the name of a file; `None` if that is not the name of a module.
    pub fn of_name(path: &str) -> Option<Self> {
        let name = path.rsplit('/').next().unwrap_or(path);
        Self::ALL.into_iter().find(|kind| name.len() > kind.suffix().len() && name.ends_with(kind.suffix()))
    }

    /// By the first bytes, as libkmod decides.
    fn of_content(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            _ => Self::None,
        }
    }

    fn decoder<'a>(self, data: &'a dyn ReadAt) -> io::Result<Box<dyn Read + 'a>> {
        let input = BufReader::with_capacity(CHUNK, ReadAtCursor::new(data));
        Ok(match self {
            Self::None => Box::new(input),
            Self::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
            Self::Xz => {
                let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, liblzma::stream::CONCATENATED)?;
                Box::new(liblzma::bufread::XzDecoder::new_stream(input, stream))
            }
            Self::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(input)?;
                decoder.window_log_max(WINDOW_LOG)?;
                Box::new(decoder)
            }
        })
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The unpacked bytes of a module.
pub(super) struct Unpacked<'a> {
    data: &'a dyn ReadAt,
    /// All of them, if they were compressed and are few.
    held: Option<Vec<u8>>,
    pub(super) compression: Compression,
    pub(super) size: u64,
}

impl<'a> Unpacked<'a> {
    /// Finds out how `data` is compressed and how large it is unpacked.
    pub(super) fn open(data: &'a dyn ReadAt, limits: &Limits) -> Step<Self> {
        let mut head = [0; 6];
        let count = fill(&mut ReadAtCursor::new(data), &mut head).map_err(|error| unreadable(&error))?;
        let compression = Compression::of_content(head.get(..count).unwrap_or_default());
        if compression == Compression::None {
            if data.size() > limits.unpacked {
                return Err(too_large("the module", data.size(), limits.unpacked));
            }
            return Ok(Self { data, held: None, compression, size: data.size() });
        }
        let mut plain = compression.decoder(data).map_err(|error| damaged(compression, &error))?;
        let (mut held, mut size) = (Some(Vec::new()), 0_u64);
        let mut chunk = vec![0; CHUNK];
        loop {
            let count = fill(&mut plain, &mut chunk).map_err(|error| damaged(compression, &error))?;
            size = size.saturating_add(count as u64);
            if size > limits.unpacked {
                return Err(too_large("the unpacked module", size, limits.unpacked));
            }
            if size > HELD {
                held = None;
            }
            if let Some(held) = &mut held {
                held.extend_from_slice(chunk.get(..count).unwrap_or_default());
            }
            if count < chunk.len() {
                return Ok(Self { data, held, compression, size });
            }
        }
    }

    /// The bytes of one range, as [`gather`](Self::gather).
    pub(super) fn part(&self, range: &Range<u64>) -> Step<Vec<u8>> {
        Ok(self.gather(std::slice::from_ref(range))?.pop().unwrap_or_default())
    }

    /// The bytes of each range, which the caller has checked to lie inside and to be few.
    pub(super) fn gather(&self, ranges: &[Range<u64>]) -> Step<Vec<Vec<u8>>> {
        let mut parts = Vec::with_capacity(ranges.len());
        for range in ranges {
            parts.push(vec![0; length(range)]);
        }
        let source: &dyn ReadAt = match (&self.held, self.compression) {
            (Some(held), _) => held,
            (None, Compression::None) => &self.data,
            (None, compression) => {
                self.gather_streaming(ranges, &mut parts).map_err(|error| damaged(compression, &error))?;
                return Ok(parts);
            }
        };
        for (range, part) in ranges.iter().zip(&mut parts) {
            source.read_exact_at(range.start, part).map_err(|error| unreadable(&error))?;
        }
        Ok(parts)
    }

    fn gather_streaming(&self, ranges: &[Range<u64>], parts: &mut [Vec<u8>]) -> io::Result<()> {
        let mut plain = self.compression.decoder(self.data)?;
        let (mut at, mut chunk) = (0_u64, vec![0; CHUNK]);
        let end = ranges.iter().map(|range| range.end).max().unwrap_or(0);
        while at < end {
            let count = fill(&mut plain, &mut chunk)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let chunk_end = at.saturating_add(count as u64);
            for (range, part) in ranges.iter().zip(parts.iter_mut()) {
                let (from, to) = (range.start.max(at), range.end.min(chunk_end));
                if from >= to {
                    continue;
                }
                let source = chunk.get(length(&(at..from))..length(&(at..to)));
                let target = part.get_mut(length(&(range.start..from))..length(&(range.start..to)));
                if let (Some(source), Some(target)) = (source, target) {
                    target.copy_from_slice(source);
                }
            }
            at = chunk_end;
        }
        Ok(())
    }
}

/// Length of a range that lies within the memory's size.
fn length(range: &Range<u64>) -> usize {
    usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(usize::MAX)
}

/// Reads until the buffer is full or the data ends.
pub(super) fn fill(from: &mut (impl Read + ?Sized), buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0_usize;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match from.read(rest) {
            Ok(0) => break,
            Ok(count) => filled = filled.saturating_add(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

// Boxed like every refusal here.
#[allow(clippy::unnecessary_box_returns)]
fn damaged(compression: Compression, error: &io::Error) -> Box<Finding> {
    let message = format!("the module is compressed with {compression} and cannot be unpacked: {error}");
    Box::new(finding(rules::MOD_PACKED, message).help("the file is cut off or damaged: fetch it again"))
}

#[allow(clippy::unnecessary_box_returns)]
fn unreadable(error: &io::Error) -> Box<Finding> {
    Box::new(finding(rules::MOD_MEDIUM, format!("the module cannot be read: {error}")))
}

#[allow(clippy::unnecessary_box_returns)]
pub(super) fn too_large(what: &str, size: u64, limit: u64) -> Box<Finding> {
    let message = format!("{what} has {size} bytes or more, at most {limit} are read");
    Box::new(finding(rules::MOD_BOMB, message).help("strip the module of debug information (`strip --strip-debug`)"))
}
