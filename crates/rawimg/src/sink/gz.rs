//! The `.gz` sink: one member; zeros as a block whose code makes them zero bits, data by zlib-rs in pieces.
//!
//! One member and not many, because readers exist that stop after the first without an error. Specification and
//! measurements: `sinks.md` §7; format: RFC 1951 and 1952.

use std::{io::Write, ops::Range};

use flate2::{Compress, Compression, FlushCompress, Status};
use imgcore::Progress;

use super::{
    Options, Written,
    cells::{Class, Probe},
    checksum::{crc32_join, crc32_zeros},
    output::{Output, hashed},
    pass::{Consume, Encode, Pass, UNIT, Unit},
};
use crate::{Error, Extents};

/// gzip's own default.
const LEVEL: u32 = 6;
/// No name, no time, no flags, unknown system: nothing of the machine.
const HEADER: [u8; 10] = [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 0xFF];
/// An empty stored block that says it is the last.
const LAST_BLOCK: [u8; 5] = [1, 0, 0, 0xFF, 0xFF];
/// Most bytes in a stored block.
const STORED_MAX: usize = 65_535;

/// Bits, low ones first.
#[derive(Default)]
struct Bits {
    bytes: Vec<u8>,
    used: u32,
}

impl Bits {
    fn put(&mut self, value: u32, count: u32) {
        for place in 0..count {
            if self.used == 0 {
                self.bytes.push(0);
            }
            if let Some(last) = self.bytes.last_mut() {
                *last |= (((value >> place) & 1) as u8) << self.used;
            }
            self.used = (self.used + 1) % 8;
        }
    }

    /// A Huffman code: its bits come highest first.
    fn code(&mut self, bits: &[u8]) {
        for bit in bits {
            self.put(u32::from(*bit), 1);
        }
    }
}

/// `count` zeros as a deflate block: what comes before and after so many zero bytes. Ends on a byte border.
///
/// The code gives a match of 258 and the distance 1 one zero bit each, so that 1032 zeros are one zero byte: the most
/// that deflate can do.
fn zero_block(count: u64) -> (Vec<u8>, u64, Vec<u8>) {
    let mut head = Bits::default();
    // Not the last block, dynamic codes; 286 literals and lengths, 2 distances, 18 code lengths.
    head.put(0b100, 3);
    head.put(286 - 257, 5);
    head.put(2 - 1, 5);
    head.put(18 - 4, 4);
    // In the order 16 17 18 0 8 7 9 6 10 5 11 4 12 3 13 2 14 1: the symbol 18 has one bit, 2 and 1 have two.
    for length in [0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 2] {
        head.put(length, 3);
    }
    let (one, two, zeros): (&[u8], &[u8], &[u8]) = (&[1, 0], &[1, 1], &[0]);
    // Code lengths: literal 0 has 2, then 255 nothings, end 2, 28 nothings, length 258 has 1; both distances 1.
    head.code(two);
    for (nothings, next) in [(&[138, 117][..], two), (&[28], one)] {
        for run in nothings {
            head.code(zeros);
            head.put(run - 11, 7);
        }
        head.code(next);
    }
    head.code(one);
    head.code(one);
    let (literal, end): (&[u8], &[u8]) = (&[1, 0], &[1, 1]);
    head.code(literal);

    let (matches, rest) = ((count - 1) / 258, (count - 1) % 258);
    let mut zero_bits = matches * 2;
    while zero_bits > 0 && head.used != 0 {
        head.put(0, 1);
        zero_bits -= 1;
    }
    let mut tail = if zero_bits == 0 { std::mem::take(&mut head) } else { Bits::default() };
    for _ in 0..zero_bits % 8 {
        tail.put(0, 1);
    }
    for _ in 0..rest {
        tail.code(literal);
    }
    tail.code(end);
    // An empty stored block: three bits, then to the byte border.
    tail.put(0, 3);
    tail.bytes.extend([0, 0, 0xFF, 0xFF]);
    (head.bytes, zero_bits / 8, tail.bytes)
}

fn stored(data: &[u8], out: &mut Vec<u8>) {
    for part in data.chunks(STORED_MAX) {
        let size = part.len() as u16;
        out.push(0);
        out.extend(size.to_le_bytes());
        out.extend((!size).to_le_bytes());
        out.extend_from_slice(part);
    }
}

/// Deflates `data` and ends on a byte border.
fn deflate(data: &[u8], out: &mut Vec<u8>) {
    // A new state each time: zlib-rs promises no equal bytes after a reset. The room is what deflate can need at
    // most, so that all is one call: zlib-rs gives other bytes for other cuts (`libraries.md` §1.4).
    let mut state = Compress::new(Compression::new(LEVEL), false);
    let start = out.len();
    out.reserve(data.len() + data.len() / 8 + 1024);
    let status = state.compress_vec(data, out, FlushCompress::Sync);
    let complete = matches!(status, Ok(Status::Ok)) && state.total_in() == data.len() as u64;
    if !complete || out.len() == out.capacity() || out.len() - start >= data.len() {
        out.truncate(start);
        stored(data, out);
    }
}

/// Makes deflate blocks from units.
struct Blocks {
    probe: Probe,
}

impl Encode for Blocks {
    /// CRC-32 of the unit.
    type Note = u32;

    fn encode(&mut self, unit: &Unit<'_>, out: &mut Vec<u8>) -> u32 {
        for (class, run) in self.probe.runs(unit.raw) {
            match class {
                Class::Zero => {
                    let (head, zeros, tail) = zero_block(run.len() as u64);
                    out.extend(head);
                    out.resize(out.len() + zeros as usize, 0);
                    out.extend(tail);
                }
                Class::Store => stored(&unit.raw[run], out),
                Class::Compress => deflate(&unit.raw[run], out),
            }
        }
        crc32fast::hash(unit.raw)
    }
}

struct File<'o, 'a> {
    out: &'o mut Output<'a>,
    crc32: u32,
    zeros: Vec<u8>,
}

impl Consume<u32> for File<'_, '_> {
    fn zeros(&mut self, range: Range<u64>) -> Result<(), Error> {
        let count = range.end - range.start;
        self.crc32 = crc32_join(self.crc32, crc32_zeros(count), count);
        let (head, mut zeros, tail) = zero_block(count);
        self.out.write(&head)?;
        self.zeros.resize(zeros.min(UNIT) as usize, 0);
        while zeros > 0 {
            let part = zeros.min(self.zeros.len() as u64);
            self.out.write(&self.zeros[..part as usize])?;
            zeros -= part;
        }
        self.out.write(&tail)
    }

    fn unit(&mut self, unit: &Unit<'_>, encoded: &[u8], crc32: u32) -> Result<(), Error> {
        self.crc32 = crc32_join(self.crc32, crc32, unit.raw.len() as u64);
        self.out.write(encoded)
    }
}

pub(super) fn write(
    image: &Extents,
    options: &Options,
    out: &mut dyn Write,
    progress: &dyn Progress,
) -> Result<Written, Error> {
    let (summary, size, digest) = hashed(out, |out| {
        out.write(&HEADER)?;
        let mut file = File { out, crc32: 0, zeros: Vec::new() };
        let encoder = || Blocks { probe: Probe::new() };
        let summary = Pass::new(image, options, "write gz", progress).run(encoder, &mut file)?;
        file.out.write(&LAST_BLOCK)?;
        file.out.write(&file.crc32.to_le_bytes())?;
        // The size is modulo 2^32 by the format.
        file.out.write(&(image.len() as u32).to_le_bytes())?;
        Ok(summary)
    })?;
    Ok(Written { size, digest, raw_size: image.len(), raw_digest: summary.hashes.digest(), units: summary.units })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_are_a_few_bits_and_then_zero_bytes() {
        // sinks.md §7: 1 GiB begins so, and costs one byte per 1032 zeros.
        let (head, zeros, tail) = zero_block(1 << 30);
        assert_eq!(head[..14], [0xEC, 0xC1, 0x81, 0, 0, 0, 0, 0x80, 0xA0, 0xFD, 0xA9, 0x17, 0xA9, 2]);
        assert_eq!(zeros, (1 << 30) / 1032 - 1);
        assert!(tail.len() < 100, "{}", tail.len());
    }

    #[test]
    fn every_short_run_of_zeros_inflates_to_itself() {
        for count in (1..1100).chain([1032 * 7, 1032 * 7 + 1, 65_536]) {
            let (head, zeros, tail) = zero_block(count);
            let stream = [&head[..], &vec![0; usize::try_from(zeros).unwrap()], &tail, &LAST_BLOCK].concat();
            let mut raw = Vec::new();
            std::io::Read::read_to_end(&mut flate2::read::DeflateDecoder::new(&stream[..]), &mut raw).expect("deflate");
            assert!(raw == vec![0; usize::try_from(count).unwrap()], "{count}");
        }
    }
}
