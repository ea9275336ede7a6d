//! Reading a finished file again and comparing it with what was planned.
//!
//! The decoders are liblzma, libzstd and zlib-rs, none of which wrote the file's zeros or its container; the checksums
//! compared are those of the plan, never the file's own. The file's digest is computed again as well.

use std::{
    io::{self, Read},
    ops::Range,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use imgcore::{Digest, Hasher, Progress, ReadAt, ReadAtCursor};

use super::{Format, Options, UnitSum, Written, cells::is_zero, checksum};
use crate::{Error, ErrorKind};

/// Bytes decoded or read at once: they stay in the processor's cache from the decoder to the comparison.
const PIECE: usize = 256 << 10;

/// Reads `file` with decoders that share no code with the encoders and compares every unit with `written`.
///
/// An `.xz` file is decoded by all workers at once, and equal compressed blocks (the zeros) once.
///
/// # Errors
/// [`Mismatch`](ErrorKind::Mismatch) with the bytes of the image that differ, [`Damaged`](ErrorKind::Damaged) if the
/// file does not decode or is not the file that was written, [`Cancelled`](ErrorKind::Cancelled),
/// [`Io`](ErrorKind::Io).
#[expect(clippy::needless_pass_by_value, reason = "a file is shared by name everywhere, as in `source::open`")]
pub fn check(
    file: Arc<dyn ReadAt>,
    format: Format,
    written: &Written,
    options: &Options,
    progress: &dyn Progress,
) -> Result<(), Error> {
    run(&*file, format, None, written, options, progress)
}

/// [`check`] of a raw file with holes: zeros outside `data`, the sorted ranges that the file system says hold data
/// (`SEEK_DATA`), are not read. Reading the holes of a large image costs more than everything else.
///
/// ```
/// use std::{io::Cursor, sync::Arc};
/// use imgcore::NoProgress;
/// use rawimg::{Extents, sink};
///
/// let mut disk = Extents::new(64 << 20);
/// disk.insert(32_768, "loader", vec![0x52; 9000].into())?;
/// let (options, mut file) = (sink::Options::default(), Cursor::new(Vec::new()));
/// let written = sink::write_raw_sparse(&disk, &options, &mut file, &NoProgress)?;
/// let data = [32_768..45_056, (64 << 20) - 4096..64 << 20];
/// sink::check_raw_sparse(Arc::new(file.into_inner()), &data, &written, &options, &NoProgress)?;
/// # Ok::<(), rawimg::Error>(())
/// ```
///
/// # Errors
/// As [`check`].
#[expect(clippy::needless_pass_by_value, reason = "as `check`")]
pub fn check_raw_sparse(
    file: Arc<dyn ReadAt>,
    data: &[Range<u64>],
    written: &Written,
    options: &Options,
    progress: &dyn Progress,
) -> Result<(), Error> {
    run(&*file, Format::Raw, Some(data), written, options, progress)
}

fn run(
    file: &dyn ReadAt,
    format: Format,
    data: Option<&[Range<u64>]>,
    written: &Written,
    options: &Options,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let task = match format {
        Format::Raw => "check raw",
        Format::Xz => "check xz",
        Format::Zst => "check zst",
        Format::Gz => "check gz",
    };
    let damaged =
        |offset: u64, problem: String| -> Error { ErrorKind::Damaged { format: name(format), offset, problem }.into() };
    if file.size() != written.size {
        let problem = format!("the file has {} bytes, but {} were written", file.size(), written.size);
        return Err(damaged(file.size().min(written.size), problem));
    }
    progress.start(task, Some(written.raw_size));
    let job = Job { file, written, threads: options.threads(), task, progress };
    thread::scope(|scope| {
        // The units of a raw file cover every byte of it: its digest would only read it twice.
        let digest = (format != Format::Raw).then(|| scope.spawn(|| job.digest()));
        let content = match format {
            Format::Raw => job.raw(data),
            #[cfg(feature = "xz")]
            Format::Xz => job.xz(),
            #[cfg(feature = "zst")]
            Format::Zst => job.zst(),
            #[cfg(feature = "gz")]
            Format::Gz => job.gz(),
            #[cfg(not(all(feature = "xz", feature = "zst", feature = "gz")))]
            other => Err(other.not_built()),
        };
        // Damage in the content says more than a wrong digest.
        content?;
        let Some(digest) = digest else { return Ok(()) };
        if digest.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))? == written.digest {
            Ok(())
        } else {
            Err(damaged(0, "the file's SHA-256 is not that of what was written".to_owned()))
        }
    })?;
    progress.finish(task);
    Ok(())
}

fn name(format: Format) -> &'static str {
    match format {
        Format::Raw => "raw",
        Format::Xz => "xz",
        Format::Zst => "zstd",
        Format::Gz => "gzip",
    }
}

fn mismatch(range: Range<u64>, problem: impl Into<String>) -> Error {
    ErrorKind::Mismatch { range, problem: problem.into() }.into()
}

struct Job<'a> {
    file: &'a dyn ReadAt,
    written: &'a Written,
    threads: usize,
    task: &'a str,
    progress: &'a dyn Progress,
}

impl Job<'_> {
    fn cancelled(&self) -> Result<(), Error> {
        if self.progress.cancelled() { Err(ErrorKind::Cancelled.into()) } else { Ok(()) }
    }

    fn digest(&self) -> Result<Digest, Error> {
        let mut hasher = Hasher::new();
        let mut piece = vec![0; PIECE];
        let mut at = 0;
        while at < self.file.size() {
            self.cancelled()?;
            let count = piece.len().min(usize::try_from(self.file.size() - at).unwrap_or(usize::MAX));
            self.file.read_exact_at(at, &mut piece[..count]).map_err(reading)?;
            hasher.update(&piece[..count]);
            at += count as u64;
        }
        Ok(hasher.finish())
    }

    /// Runs `check` for every number below `count` on all threads; the error of the lowest number wins.
    fn parallel<T>(
        &self,
        count: usize,
        state: impl Fn() -> T + Sync,
        check: impl Fn(usize, &mut T) -> Result<(), Error> + Sync,
    ) -> Result<(), Error> {
        let next = AtomicUsize::new(0);
        let failed: Mutex<Option<(usize, Error)>> = Mutex::new(None);
        let lock = || failed.lock().unwrap_or_else(PoisonError::into_inner);
        thread::scope(|scope| {
            for _ in 0..self.threads.min(count) {
                scope.spawn(|| {
                    let mut state = state();
                    // Numbers are given out in order, so that every one below a failed one is looked at.
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= count || lock().is_some() {
                            return;
                        }
                        if let Err(error) = self.cancelled().and_then(|()| check(number, &mut state)) {
                            let mut failed = lock();
                            if failed.as_ref().is_none_or(|(first, _)| number < *first) {
                                *failed = Some((number, error));
                            }
                            return;
                        }
                    }
                });
            }
        });
        match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some((_, error)) => Err(error),
            None => Ok(()),
        }
    }

    /// The units are read and compared on all threads; long runs of zeros in pieces, and only where there is data.
    fn raw(&self, data: Option<&[Range<u64>]>) -> Result<(), Error> {
        const STEP: u64 = 4 << 20;
        let mut pieces: Vec<(Range<u64>, &UnitSum)> = Vec::new();
        for unit in &self.written.units {
            let everywhere = std::slice::from_ref(&unit.range);
            for part in data.filter(|_| unit.zero).unwrap_or(everywhere) {
                let mut at = unit.range.start.max(part.start);
                let end = unit.range.end.min(part.end);
                while at < end {
                    let next = end.min(at + STEP);
                    pieces.push((at..next, unit));
                    at = next;
                }
            }
        }
        let buffer = || vec![0; PIECE];
        self.parallel(pieces.len(), buffer, |number, buffer| {
            let (range, unit) = &pieces[number];
            let mut sums = Sums::new(std::slice::from_ref(unit), range.start);
            let mut at = range.start;
            while at < range.end {
                let count = buffer.len().min((range.end - at) as usize);
                self.file.read_exact_at(at, &mut buffer[..count]).map_err(reading)?;
                sums.add(&buffer[..count])?;
                at += count as u64;
            }
            self.progress.advance(self.task, range.end - range.start);
            Ok(())
        })
    }

    /// One decoder from the first byte to the last.
    #[cfg(any(feature = "zst", feature = "gz"))]
    fn forward(&self, format: Format, decoder: &mut dyn Read) -> Result<(), Error> {
        let mut piece = vec![0; PIECE];
        let units: Vec<&UnitSum> = self.written.units.iter().collect();
        let mut sums = Sums::new(&units, 0);
        loop {
            self.cancelled()?;
            match decoder.read(&mut piece) {
                Ok(0) => break,
                Ok(count) => {
                    sums.add(&piece[..count])?;
                    self.progress.advance(self.task, count as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    let problem = format!("after {} bytes of the image: {error}", sums.position);
                    return Err(ErrorKind::Damaged { format: name(format), offset: self.file.size(), problem }.into());
                }
            }
        }
        sums.finish(self.written.raw_size)
    }

    #[cfg(any(feature = "zst", feature = "gz"))]
    fn input(&self) -> io::BufReader<ReadAtCursor<&dyn ReadAt>> {
        io::BufReader::with_capacity(PIECE, ReadAtCursor::new(self.file))
    }

    #[cfg(feature = "zst")]
    fn zst(&self) -> Result<(), Error> {
        // The checksum at the end of the frame is verified by libzstd.
        let mut decoder = zstd::stream::read::Decoder::with_buffer(self.input()).map_err(reading)?;
        self.forward(Format::Zst, &mut decoder)
    }

    #[cfg(feature = "gz")]
    fn gz(&self) -> Result<(), Error> {
        self.forward(Format::Gz, &mut crate::source::GzipMembers::new(self.input()))
    }

    #[cfg(feature = "xz")]
    fn xz(&self) -> Result<(), Error> {
        use std::collections::BTreeMap;

        use crate::source::{xz_block, xz_index::read_index};

        let index = read_index(self.file, self.written.raw_size)?;
        if index.size != self.written.raw_size {
            let range = index.size.min(self.written.raw_size)..index.size.max(self.written.raw_size);
            return Err(mismatch(range, "the index counts another size than was planned"));
        }
        // Blocks of equal sizes may be equal; only of those a digest is worth its time.
        let mut same_size: BTreeMap<(u64, u64), u32> = BTreeMap::new();
        for block in &index.blocks {
            *same_size.entry((block.unpadded, block.raw_size)).or_default() += 1;
        }
        // Digest of the compressed block → what it decodes to.
        let seen: Mutex<BTreeMap<[u8; 32], Content>> = Mutex::default();
        let lock = || seen.lock().unwrap_or_else(PoisonError::into_inner);
        self.parallel(index.blocks.len(), Default::default, |number, (compressed, raw): &mut (Vec<u8>, Vec<u8>)| {
            let block = &index.blocks[number];
            let range = block.raw_offset..block.raw_offset + block.raw_size;
            let units = self.units(&range);
            xz_block::read(self.file, block, compressed)?;
            let repeated = same_size.get(&(block.unpadded, block.raw_size)).is_some_and(|count| *count > 1);
            let key = repeated.then(|| *Digest::of(compressed).raw());
            let known = key.and_then(|key| lock().get(&key).copied());
            let content = if let Some(content) = known {
                content
            } else {
                xz_block::decode(block, compressed, raw)?;
                let content = if is_zero(raw) { Content::Zero } else { Content::Data(checksum::crc64(raw)) };
                if let Some(key) = key {
                    lock().insert(key, content);
                }
                content
            };
            let planned = match units {
                [unit] if unit.zero => Some(Content::Zero),
                [unit] if unit.range == range => Some(Content::Data(unit.crc64)),
                _ => None,
            };
            if planned != Some(content) {
                return Err(mismatch(range, "the block decodes to other bytes than were planned"));
            }
            self.progress.advance(self.task, block.raw_size);
            Ok(())
        })
    }

    /// The units that share bytes with `range`.
    #[cfg(feature = "xz")]
    fn units(&self, range: &Range<u64>) -> &[UnitSum] {
        let units = &self.written.units;
        let first = units.partition_point(|unit| unit.range.end <= range.start);
        let after = units.partition_point(|unit| unit.range.start < range.end);
        units.get(first..after).unwrap_or_default()
    }
}

/// What a block of an `.xz` file holds.
#[cfg(feature = "xz")]
#[derive(Clone, Copy, PartialEq, Eq)]
enum Content {
    Zero,
    Data(u64),
}

fn reading(error: io::Error) -> Error {
    Error::io("reading the written file", error)
}

/// Compares bytes that come in order with units.
struct Sums<'a> {
    units: &'a [&'a UnitSum],
    position: u64,
    crc: crc64fast::Digest,
}

impl<'a> Sums<'a> {
    /// Begins at `position`, inside the first unit only if that is zero.
    fn new(units: &'a [&'a UnitSum], position: u64) -> Self {
        Self { units, position, crc: crc64fast::Digest::new() }
    }

    fn add(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            let Some((unit, later)) = self.units.split_first() else {
                let end = self.position + bytes.len() as u64;
                return Err(mismatch(self.position..end, "there are more bytes than were planned"));
            };
            let left = usize::try_from(unit.range.end - self.position).unwrap_or(usize::MAX);
            let (now, rest) = bytes.split_at(bytes.len().min(left));
            if unit.zero {
                if !is_zero(now) {
                    let end = self.position + now.len() as u64;
                    return Err(mismatch(self.position..end, "there are other bytes than the zeros that were planned"));
                }
            } else {
                self.crc.write(now);
            }
            self.position += now.len() as u64;
            bytes = rest;
            if self.position == unit.range.end {
                let crc = std::mem::take(&mut self.crc).sum64();
                if !unit.zero && crc != unit.crc64 {
                    return Err(mismatch(unit.range.clone(), "there are other bytes than were planned"));
                }
                self.units = later;
            }
        }
        Ok(())
    }

    #[cfg(any(feature = "zst", feature = "gz"))]
    fn finish(&self, size: u64) -> Result<(), Error> {
        if self.position == size {
            Ok(())
        } else {
            Err(mismatch(self.position..size, "there are fewer bytes than were planned"))
        }
    }
}
