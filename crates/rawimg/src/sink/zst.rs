//! The `.zst` sink: one frame; zeros as RLE blocks, rows of data units by libzstd's multithreaded encoder, stitched.
//!
//! One frame and not many, because streaming decoders exist that stop after the first without an error. Specification
//! and measurements: `sinks.md` §6; format: RFC 8878.

use std::{
    io::{self, Write},
    ops::Range,
};

use imgcore::{Progress, ReadAt as _};
use zstd::zstd_safe::{
    CCtx, CParameter, InBuffer, OutBuffer, ResetDirective, SafeResult, get_error_name,
    zstd_sys::ZSTD_EndDirective::{self, ZSTD_e_continue, ZSTD_e_end, ZSTD_e_flush},
};

use super::{
    Options, Written,
    cells::Probe,
    hashes::Hashes,
    output::{Output, hashed},
    pass::{Consume, Encode, Pass, UNIT, Unit},
};
use crate::{Error, ErrorKind, Extents};

/// zstd's own default: levels up to 9 are within 2 % of each other on images.
const LEVEL: i32 = 3;
/// A window of 2 MiB: any decoder must take 8 MiB (RFC 8878 §3.1.1.1.2).
const WINDOW_LOG: u32 = 21;
/// Size of the pieces that libzstd's output is taken in: one job.
const OUTPUT: usize = 1 << 20;
const MAGIC: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];
const WINDOW_BYTE: u8 = ((WINDOW_LOG - 10) << 3) as u8;
/// Most bytes that one block stands for.
const BLOCK: u64 = 128 << 10;

/// How many zeros [`RESET`] makes.
const RESET_ZEROS: u64 = 33;
/// A block that makes 33 zeros and leaves the repeated offsets 1, 4, 8, which a fresh encoder assumes: raw and RLE
/// blocks leave what the data before them left, and data after them would decode to other bytes. 24 literals by RLE,
/// then three sequences of literal length 8, match length 3 and offsets 8, 4, 1.
const RESET: [u8; 12] = [0x4C, 0, 0, 0xC1, 0, 3, 0x44, 8, 0, 0xB8, 0xDD, 0x4A];

/// Units in a row that do not shrink and go to libzstd all the same; those after them are stored without it. To begin
/// with libzstd again in the same row costs about as much as this many units.
const PATIENCE: u32 = 2;

/// Workers read and say what is worth compressing; libzstd has threads of its own.
struct Judge(Probe);

impl Encode for Judge {
    /// Whether the unit should be stored.
    type Note = bool;

    fn encode(&mut self, unit: &Unit<'_>, _out: &mut Vec<u8>) -> bool {
        self.0.stores(unit.raw)
    }
}

/// Takes a frame of libzstd apart: lets blocks through, without the mark of the last.
#[derive(Default)]
struct Blocks {
    /// Bytes of the frame header or of a block header that have come and are held back.
    header: Vec<u8>,
    /// Whether the frame header is through.
    inside: bool,
    /// Bytes of the block that are still to come.
    left: usize,
}

impl Blocks {
    fn pass(&mut self, bytes: &[u8], out: &mut Output<'_>) -> Result<(), Error> {
        // What is let through as it is, is written in one piece: `bytes[from..at]`.
        let (mut from, mut at) = (0, 0);
        while at < bytes.len() {
            let block = self.left.min(bytes.len() - at);
            self.left -= block;
            at += block;
            let wanted = if self.inside { 3 } else { 6 };
            let Some(header) = bytes[at..].get(..wanted - self.header.len()) else {
                // The rest is a part of a header.
                out.write(&bytes[from..at])?;
                self.header.extend_from_slice(&bytes[at..]);
                return Ok(());
            };
            if !self.inside {
                self.header.extend_from_slice(header);
                if self.header != [&MAGIC[..], &[0, WINDOW_BYTE]].concat() {
                    let problem = format!("libzstd wrote a frame header that was not expected: {:02x?}", self.header);
                    return Err(ErrorKind::Unsupported { format: "zstd", problem }.into());
                }
                self.inside = true;
                self.header.clear();
                at += header.len();
                from = at;
                continue;
            }
            let whole = [&self.header[..], header].concat();
            let word = u32::from_le_bytes([whole[0], whole[1], whole[2], 0]);
            let is_rle = (word >> 1) & 3 == 1;
            self.left = if is_rle { 1 } else { (word >> 3) as usize };
            if word & 1 == 1 || !self.header.is_empty() {
                out.write(&bytes[from..at])?;
                // The empty block that only ends a frame is dropped.
                if self.left > 0 {
                    out.write(&(word & !1).to_le_bytes()[..3])?;
                }
                from = at + header.len();
            }
            self.header.clear();
            at += header.len();
        }
        out.write(&bytes[from..])
    }
}

struct Frame<'o, 'a> {
    out: &'o mut Output<'a>,
    image: &'o Extents,
    encoder: CCtx<'static>,
    buffer: Vec<u8>,
    /// The row of units that libzstd is compressing.
    row: Option<Blocks>,
    /// Units that do not shrink, at the end of what has been written.
    stored: u32,
    /// Whether blocks have been written that may have left other repeated offsets than a fresh encoder assumes.
    other_offsets: bool,
}

fn zstd(result: SafeResult) -> Result<usize, Error> {
    result.map_err(|code| Error::io("compressing with libzstd", io::Error::other(get_error_name(code))))
}

impl<'o, 'a> Frame<'o, 'a> {
    fn new(out: &'o mut Output<'a>, image: &'o Extents, threads: usize) -> Result<Self, Error> {
        let mut encoder = CCtx::create();
        for parameter in [
            CParameter::CompressionLevel(LEVEL),
            CParameter::WindowLog(WINDOW_LOG),
            // Never 0: the bytes of "no workers" are others than those of one worker.
            CParameter::NbWorkers(threads as u32),
            CParameter::JobSize(1 << 20),
            CParameter::ContentSizeFlag(false),
            CParameter::ChecksumFlag(false),
            CParameter::DictIdFlag(false),
        ] {
            zstd(encoder.set_parameter(parameter))?;
        }
        let frame = Self { out, image, encoder, buffer: vec![0; OUTPUT], row: None, stored: 0, other_offsets: false };
        // Content size in eight bytes, checksum.
        frame.out.write(&[&MAGIC[..], &[0xC4, WINDOW_BYTE], &image.len().to_le_bytes()].concat())?;
        Ok(frame)
    }

    /// One call of libzstd; how much it still holds back.
    fn step(&mut self, input: &mut InBuffer<'_>, directive: ZSTD_EndDirective) -> Result<usize, Error> {
        let mut output = OutBuffer::around(&mut self.buffer[..]);
        let left = zstd(self.encoder.compress_stream2(&mut output, input, directive))?;
        let count = output.pos();
        if let Some(row) = &mut self.row {
            row.pass(&self.buffer[..count], self.out)?;
        }
        Ok(left)
    }

    /// Begins to compress at `unit`. Blocks of a first job assume the repeated offsets 1, 4, 8; blocks of later jobs
    /// assume none (`ZSTD_invalidateRepCodes` in `zstdmt_compress.c`). So if other offsets may be there, the unit
    /// before, which was stored and can be read again, becomes the first job, and what libzstd makes of it is dropped.
    fn begin_row(&mut self, unit: &Unit<'_>) -> Result<(), Error> {
        zstd(self.encoder.reset(ResetDirective::SessionOnly))?;
        let before = unit.range.start.saturating_sub(UNIT);
        if self.other_offsets {
            let mut first = vec![0; UNIT as usize];
            self.image.read_exact_at(before, &mut first).map_err(|error| {
                Error::io(format!("reading bytes {before}..{} of the image", unit.range.start), error)
            })?;
            let mut input = InBuffer::around(&first);
            while input.pos() < first.len() {
                self.step(&mut input, ZSTD_e_continue)?;
            }
            while self.step(&mut input, ZSTD_e_flush)? > 0 {}
        }
        // The frame's header came with the first job.
        self.row = Some(Blocks { inside: self.other_offsets, ..Blocks::default() });
        self.other_offsets = true;
        Ok(())
    }

    /// Writes bytes as they are.
    fn store(&mut self, bytes: &[u8]) -> Result<(), Error> {
        for block in bytes.chunks(BLOCK as usize) {
            self.out.write(&((block.len() as u32) << 3).to_le_bytes()[..3])?;
            self.out.write(block)?;
        }
        Ok(())
    }

    fn end_row(&mut self) -> Result<(), Error> {
        if self.row.is_some() {
            while self.step(&mut InBuffer::around(&[]), ZSTD_e_end)? > 0 {}
            self.row = None;
        }
        Ok(())
    }

    fn finish(&mut self, xxh64: u64) -> Result<(), Error> {
        self.end_row()?;
        // An empty raw block that says it is the last; the low half of the checksum.
        self.out.write(&[&[1, 0, 0], &xxh64.to_le_bytes()[..4]].concat())
    }
}

impl Consume<bool> for Frame<'_, '_> {
    fn zeros(&mut self, range: Range<u64>) -> Result<(), Error> {
        self.end_row()?;
        let mut left = range.end - range.start;
        // Zeros in front of data are whole units, so there is room for the block.
        let reset = self.other_offsets && range.end < self.image.len();
        left -= if reset { RESET_ZEROS } else { 0 };
        let whole = [2, 0, 16, 0].repeat((UNIT / BLOCK) as usize);
        while left >= UNIT {
            self.out.write(&whole)?;
            left -= UNIT;
        }
        while left > 0 {
            let part = left.min(BLOCK);
            // Three bytes of header; the fourth byte is the zero.
            self.out.write(&((part as u32) << 3 | 2).to_le_bytes())?;
            left -= part;
        }
        if reset {
            self.out.write(&RESET)?;
            self.other_offsets = false;
        }
        self.stored = 0;
        Ok(())
    }

    fn unit(&mut self, unit: &Unit<'_>, _encoded: &[u8], stored: bool) -> Result<(), Error> {
        self.stored = if stored { self.stored + 1 } else { 0 };
        if stored && (self.row.is_none() || self.stored > PATIENCE) {
            self.end_row()?;
            return self.store(unit.raw);
        }
        if self.row.is_none() {
            self.begin_row(unit)?;
        }
        let mut input = InBuffer::around(unit.raw);
        while input.pos() < unit.raw.len() {
            self.step(&mut input, ZSTD_e_continue)?;
        }
        Ok(())
    }
}

pub(super) fn write(
    image: &Extents,
    options: &Options,
    out: &mut dyn Write,
    progress: &dyn Progress,
) -> Result<Written, Error> {
    let (summary, size, digest) = hashed(out, |out| {
        let mut frame = Frame::new(out, image, options.threads())?;
        let threads = options.threads().min(2);
        let hashes = Hashes::sha256_if(options.hash_raw).and_xxh64();
        let summary =
            Pass { image, threads, hashes, task: "write zst", progress }.run(|| Judge(Probe::new()), &mut frame)?;
        frame.finish(summary.hashes.xxh64().unwrap_or_default())?;
        Ok(summary)
    })?;
    Ok(Written { size, digest, raw_size: image.len(), raw_digest: summary.hashes.digest(), units: summary.units })
}
