//! What a container is by its bytes, and decoders that stop when too much comes out.

use std::{
    cell::Cell,
    io::{self, BufRead, Read, Write},
    rc::Rc,
};

use imgcore::{Blob, Progress, ReadAt as _, ReadAtCursor};
use liblzma::{
    bufread::XzDecoder,
    stream::{CONCATENATED, Stream},
};

use super::{
    ar,
    fault::{Bomb, Fault},
};

/// Bytes read of a container at once.
pub(super) const READ: usize = 64 << 10;
/// `xz -9` needs 65 MiB.
const XZ_MEMORY: u64 = 96 << 20;
/// 128 MiB: what the zstd program takes without being asked.
const ZSTD_WINDOW_LOG: u32 = 27;
/// What may come out of anything, however small.
const FLOOR: u64 = 64 << 20;
/// What may come out of each byte. Disk images, mostly zeros, reach a hundred.
const RATIO: u64 = 200;
/// What may come out of anything, however large.
pub(super) const CEILING: u64 = 16 << 30;
/// What may come out of each byte read so far, once the floor is passed: a bomb in a large file stops without the rest of
/// the file. gzip reaches 1030 on zeros alone.
const RUNNING_RATIO: u64 = 1000;
/// Bytes that tell what something is: a tar header.
const START: usize = 512;

/// What a container is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    Ar,
    Zip,
    Tar,
    Gzip,
    Xz,
    Zstd,
    Bzip2,
    /// Anything else, a disk image for one.
    Raw,
}

impl Packing {
    pub(super) fn of(data: &Blob) -> Result<Self, Fault> {
        let mut start = [0; START];
        let count = usize::try_from(data.size()).unwrap_or(START).min(START);
        let start = start.get_mut(..count).unwrap_or_default();
        data.read_exact_at(0, start).map_err(Fault::from_io)?;
        Ok(Self::of_start(start))
    }

    pub(super) fn of_start(start: &[u8]) -> Self {
        match start {
            [0xFD, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            // A zstd file may begin with a skippable frame.
            [0x28, 0xB5, 0x2F, 0xFD, ..] | [0x50..=0x5F, 0x2A, 0x4D, 0x18, ..] => Self::Zstd,
            [0x1F, 0x8B, 8, ..] => Self::Gzip,
            // The first block; in an empty file the end mark.
            [
                b'B',
                b'Z',
                b'h',
                b'1'..=b'9',
                0x31 | 0x17,
                0x41 | 0x72,
                0x59 | 0x45,
                0x26 | 0x38,
                0x53 | 0x50,
                0x59 | 0x90,
                ..,
            ] => Self::Bzip2,
            [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Self::Zip,
            _ if start.starts_with(ar::MAGIC) => Self::Ar,
            _ if is_tar(start) => Self::Tar,
            _ => Self::Raw,
        }
    }

    /// Whether a decoder makes one stream of it.
    pub(super) fn is_stream(self) -> bool {
        matches!(self, Self::Gzip | Self::Xz | Self::Zstd | Self::Bzip2)
    }
}

/// Whether a block is a tar header: its checksum is right. The magic alone is in old headers absent.
fn is_tar(block: &[u8]) -> bool {
    let Some(field) = block.get(148..156).filter(|_| block.len() >= START) else { return false };
    let digits = std::str::from_utf8(field).map(|text| text.trim_matches([' ', '\0'])).unwrap_or_default();
    let Ok(stated) = u64::from_str_radix(digits, 8) else { return false };
    let bytes = block.iter().take(START).enumerate();
    let sum: u64 = bytes.map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u64::from(*byte) }).sum();
    stated == sum
}

/// A decoder of one stream, or of several in a row.
pub(super) fn decoder<'a, R: BufRead + 'a>(packing: Packing, packed: R) -> Result<Box<dyn Read + 'a>, Fault> {
    Ok(match packing {
        Packing::Gzip => Box::new(rawimg::source::GzipMembers::new(packed)),
        Packing::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(packed)),
        Packing::Xz => {
            let stream = Stream::new_stream_decoder(XZ_MEMORY, CONCATENATED)
                .map_err(|error| Fault::Damaged(error.to_string()))?;
            Box::new(XzDecoder::new_stream(packed, stream))
        }
        Packing::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(packed).map_err(Fault::from_io)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(Fault::from_io)?;
            Box::new(decoder)
        }
        Packing::Ar | Packing::Zip | Packing::Tar | Packing::Raw => Box::new(packed),
    })
}

/// Writes the range of a stream, or all of it. What comes behind the range is not decoded.
pub(super) fn cut(
    stream: &mut dyn Read,
    range: Option<(u64, Option<u64>)>,
    sink: &mut dyn Write,
) -> Result<u64, Fault> {
    let Some((offset, length)) = range else { return io::copy(stream, sink).map_err(Fault::from_io) };
    let skipped = io::copy(&mut stream.take(offset), &mut io::sink()).map_err(Fault::from_io)?;
    let written = io::copy(&mut stream.take(length.unwrap_or(u64::MAX)), sink).map_err(Fault::from_io)?;
    if skipped < offset || written < length.unwrap_or(1) {
        return Err(Fault::Range { offset, length, size: skipped.saturating_add(written) });
    }
    Ok(written)
}

/// Counts what comes out of all decoders of one container together: one inside the other is one bomb.
#[derive(Debug, Clone)]
pub(super) struct Meter {
    used: Rc<Cell<u64>>,
    /// Bytes of the container that were read.
    read: Rc<Cell<u64>>,
    bomb: Bomb,
}

impl Meter {
    /// For a container of `packed` bytes: at most what is known to come out of it, and never more than `ceiling`.
    pub(super) fn new(packed: u64, unpacked: Option<u64>, ceiling: u64) -> Self {
        let limit = unpacked.unwrap_or_else(|| packed.saturating_mul(RATIO).clamp(FLOOR, CEILING).min(ceiling));
        Self { used: Rc::default(), read: Rc::default(), bomb: Bomb { packed, limit, locked: unpacked.is_some() } }
    }

    /// Before the same is decoded once more.
    pub(super) fn restart(&self) {
        self.used.set(0);
        self.read.set(0);
    }

    pub(super) fn used(&self) -> u64 {
        self.used.get()
    }

    pub(super) fn count(&self, bytes: usize) -> io::Result<()> {
        let used = self.used.get().saturating_add(bytes as u64);
        self.used.set(used);
        if used > self.bomb.limit {
            return Err(io::Error::other(self.bomb));
        }
        // What the lock says is known to be honest.
        let read = self.read.get();
        let running = read.saturating_mul(RUNNING_RATIO).max(FLOOR);
        if !self.bomb.locked && used > running {
            return Err(io::Error::other(Bomb { packed: read, limit: running, ..self.bomb }));
        }
        Ok(())
    }

    /// Refuses what a header says to be larger than what may still come, before any of it is decoded.
    pub(super) fn expect(&self, size: u64) -> Result<(), Fault> {
        if self.used.get().saturating_add(size) > self.bomb.limit { Err(Fault::Bomb(self.bomb)) } else { Ok(()) }
    }

    pub(super) fn wrap<R: Read>(&self, inner: R) -> Metered<R> {
        Metered { inner, meter: self.clone() }
    }
}

/// A decoder whose output is counted.
pub(super) struct Metered<R> {
    inner: R,
    meter: Meter,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.meter.count(count)?;
        Ok(count)
    }
}

/// The container's bytes as they are read: the user sees how far, and may stop.
pub(super) struct Watched<'a> {
    inner: ReadAtCursor<Blob>,
    progress: &'a dyn Progress,
    task: String,
    meter: Meter,
}

impl<'a> Watched<'a> {
    pub(super) fn new(data: Blob, meter: &Meter, progress: &'a dyn Progress) -> Self {
        let task = format!("unpacking {}", data.label());
        progress.start(&task, Some(data.size()));
        Self { inner: ReadAtCursor::new(data), progress, task, meter: meter.clone() }
    }
}

impl Read for Watched<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.progress.cancelled() {
            return Err(io::Error::other("cancelled"));
        }
        let count = self.inner.read(buffer)?;
        self.progress.advance(&self.task, count as u64);
        self.meter.read.set(self.meter.read.get().saturating_add(count as u64));
        Ok(count)
    }
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.progress.finish(&self.task);
    }
}

/// A stream whose first bytes are known.
pub(super) struct Peeked<'a> {
    start: Vec<u8>,
    given: usize,
    rest: &'a mut dyn Read,
}

impl<'a> Peeked<'a> {
    pub(super) fn new(rest: &'a mut dyn Read) -> io::Result<Self> {
        let mut start = Vec::with_capacity(START);
        rest.take(START as u64).read_to_end(&mut start)?;
        Ok(Self { start, given: 0, rest })
    }

    pub(super) fn start(&self) -> &[u8] {
        &self.start
    }
}

impl Read for Peeked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let held = self.start.get(self.given..).unwrap_or_default();
        if held.is_empty() {
            return self.rest.read(buffer);
        }
        let count = held.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), held.get(..count)) {
            to.copy_from_slice(from);
        }
        self.given = self.given.saturating_add(count);
        Ok(count)
    }
}
