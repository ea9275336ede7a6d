//! The `.zst` sink: one frame; zeros as RLE blocks, rows of data units by libzstd's multithreaded encoder, stitched.
//!
//! One frame and not many, because streaming decoders exist that stop after the first without an error. Specification
//! and measurements: `sinks.md` §6; format: RFC 8878.

use std::{
    io::{self, Write},
    ops::Range,
};

use imgcore::{HashingWriter, Progress};
use zstd::zstd_safe::{
    CCtx, CParameter, InBuffer, OutBuffer, ResetDirective, SafeResult, get_error_name,
    zstd_sys::ZSTD_EndDirective::{self, ZSTD_e_continue, ZSTD_e_end},
};

use super::{
    Options, Written,
    hashes::Hashes,
    pass::{Consume, Encode, Pass, UNIT, Unit},
    raw::{flush, write_all},
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

/// Workers only read; libzstd has threads of its own.
struct AsIs;

impl Encode for AsIs {
    type Note = ();

    fn encode(&mut self, _unit: &Unit<'_>, _out: &mut Vec<u8>) {}
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
    fn pass(&mut self, bytes: &[u8], out: &mut dyn Write) -> Result<(), Error> {
        // What is let through as it is, is written in one piece: `bytes[from..at]`.
        let (mut from, mut at) = (0, 0);
        while at < bytes.len() {
            let block = self.left.min(bytes.len() - at);
            self.left -= block;
            at += block;
            let wanted = if self.inside { 3 } else { 6 };
            let Some(header) = bytes[at..].get(..wanted - self.header.len()) else {
                // The rest is a part of a header.
                write_all(out, &bytes[from..at])?;
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
                write_all(out, &bytes[from..at])?;
                // The empty block that only ends a frame is dropped.
                if self.left > 0 {
                    write_all(out, &(word & !1).to_le_bytes()[..3])?;
                }
                from = at + header.len();
            }
            self.header.clear();
            at += header.len();
        }
        write_all(out, &bytes[from..])
    }
}

struct Frame<W: Write> {
    out: HashingWriter<W>,
    image_size: u64,
    encoder: CCtx<'static>,
    buffer: Vec<u8>,
    /// The row of data units that is being written.
    row: Option<Blocks>,
    /// Whether data has been written that may have left other repeated offsets.
    had_data: bool,
}

fn zstd(result: SafeResult) -> Result<usize, Error> {
    result.map_err(|code| Error::io("compressing with libzstd", io::Error::other(get_error_name(code))))
}

impl<W: Write> Frame<W> {
    fn new(out: W, image_size: u64, threads: usize) -> Result<Self, Error> {
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
        let mut frame = Self {
            out: HashingWriter::new(out),
            image_size,
            encoder,
            buffer: vec![0; OUTPUT],
            row: None,
            had_data: false,
        };
        // Content size in eight bytes, checksum.
        write_all(&mut frame.out, &[&MAGIC[..], &[0xC4, WINDOW_BYTE], &image_size.to_le_bytes()].concat())?;
        Ok(frame)
    }

    /// One call of libzstd; how much it still holds back.
    fn step(&mut self, input: &mut InBuffer<'_>, directive: ZSTD_EndDirective) -> Result<usize, Error> {
        let mut output = OutBuffer::around(&mut self.buffer[..]);
        let left = zstd(self.encoder.compress_stream2(&mut output, input, directive))?;
        let count = output.pos();
        if let Some(row) = &mut self.row {
            row.pass(&self.buffer[..count], &mut self.out)?;
        }
        Ok(left)
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
        write_all(&mut self.out, &[&[1, 0, 0], &xxh64.to_le_bytes()[..4]].concat())?;
        flush(&mut self.out)
    }
}

impl<W: Write> Consume<()> for Frame<W> {
    fn zeros(&mut self, range: Range<u64>) -> Result<(), Error> {
        self.end_row()?;
        let mut left = range.end - range.start;
        // Zeros in front of data are whole units, so there is room for the block.
        let reset = self.had_data && range.end < self.image_size;
        left -= if reset { RESET_ZEROS } else { 0 };
        let whole = [2, 0, 16, 0].repeat((UNIT / BLOCK) as usize);
        while left >= UNIT {
            write_all(&mut self.out, &whole)?;
            left -= UNIT;
        }
        while left > 0 {
            let part = left.min(BLOCK);
            write_all(&mut self.out, &((part as u32) << 3 | 2).to_le_bytes())?;
            left -= part;
        }
        if reset { write_all(&mut self.out, &RESET) } else { Ok(()) }
    }

    fn unit(&mut self, unit: &Unit<'_>, _encoded: &[u8], _note: ()) -> Result<(), Error> {
        if self.row.is_none() {
            zstd(self.encoder.reset(ResetDirective::SessionOnly))?;
            self.row = Some(Blocks::default());
            self.had_data = true;
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
    let mut frame = Frame::new(out, image.len(), options.threads())?;
    let threads = options.threads().min(2);
    let hashes = Hashes::sha256_if(options.hash_raw).and_xxh64();
    let summary = Pass { image, threads, hashes, task: "write zst", progress }.run(|| AsIs, &mut frame)?;
    frame.finish(summary.hashes.xxh64().unwrap_or_default())?;
    let (_, digest, size) = frame.out.finish();
    Ok(Written { size, digest, raw_size: image.len(), raw_digest: summary.hashes.digest(), units: summary.units })
}
