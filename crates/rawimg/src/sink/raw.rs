//! The image as it is: every byte, or with holes.

use std::{
    io::{Seek, SeekFrom, Write},
    ops::Range,
};

use imgcore::{Digest, Progress};

use super::{
    Options, Written,
    cells::is_zero,
    hashes::Hashes,
    output::{flush, write_all},
    pass::{Consume, Encode, Pass, UNIT, Unit},
};
use crate::{Error, Extents};

/// Nothing to encode: workers only read.
struct AsIs;

impl Encode for AsIs {
    type Note = ();

    fn encode(&mut self, _unit: &Unit<'_>, _out: &mut Vec<u8>) {}
}

/// Zeros shorter than this are written: a file system's block.
const HOLE: usize = 4096;

struct Plain<'a> {
    out: &'a mut dyn Write,
    zeros: Vec<u8>,
}

impl Consume<()> for Plain<'_> {
    fn zeros(&mut self, range: Range<u64>) -> Result<(), Error> {
        self.zeros.resize(UNIT as usize, 0);
        let mut left = range.end - range.start;
        while left > 0 {
            let part = left.min(UNIT);
            write_all(self.out, &self.zeros[..part as usize])?;
            left -= part;
        }
        Ok(())
    }

    fn unit(&mut self, unit: &Unit<'_>, _encoded: &[u8], _note: ()) -> Result<(), Error> {
        write_all(self.out, unit.raw)
    }
}

struct Sparse<'a, W> {
    out: &'a mut W,
    /// Where the output stands.
    position: u64,
}

impl<W: Write + Seek> Sparse<'_, W> {
    fn put(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Error> {
        if offset != self.position {
            self.out.seek(SeekFrom::Start(offset)).map_err(|error| Error::io("seeking in the image file", error))?;
        }
        write_all(self.out, bytes)?;
        self.position = offset + bytes.len() as u64;
        Ok(())
    }
}

impl<W: Write + Seek> Consume<()> for Sparse<'_, W> {
    fn zeros(&mut self, _range: Range<u64>) -> Result<(), Error> {
        Ok(())
    }

    fn unit(&mut self, unit: &Unit<'_>, _encoded: &[u8], _note: ()) -> Result<(), Error> {
        // Units begin on block borders, so these blocks are the file system's.
        let mut from = None;
        for (index, block) in unit.raw.chunks(HOLE).enumerate() {
            let at = index * HOLE;
            match (is_zero(block), from) {
                (false, None) => from = Some(at),
                (true, Some(start)) => {
                    self.put(unit.range.start + start as u64, &unit.raw[start..at])?;
                    from = None;
                }
                _ => {}
            }
        }
        match from {
            Some(start) => self.put(unit.range.start + start as u64, &unit.raw[start..]),
            None => Ok(()),
        }
    }
}

fn run(
    image: &Extents,
    options: &Options,
    progress: &dyn Progress,
    consumer: &mut dyn Consume<()>,
) -> Result<Written, Error> {
    // Reading and hashing are two threads already; more readers would only wait.
    let threads = options.threads().min(2);
    let hashes = Hashes::sha256_if(true);
    let summary = Pass { image, threads, hashes, task: "write raw", progress }.run(|| AsIs, consumer)?;
    let digest = summary.hashes.digest().unwrap_or_else(|| Digest::of(&[]));
    Ok(Written { size: image.len(), digest, raw_size: image.len(), raw_digest: Some(digest), units: summary.units })
}

pub(super) fn write(
    image: &Extents,
    options: &Options,
    out: &mut dyn Write,
    progress: &dyn Progress,
) -> Result<Written, Error> {
    let written = run(image, options, progress, &mut Plain { out, zeros: Vec::new() })?;
    flush(out)?;
    Ok(written)
}

pub(super) fn write_sparse<W: Write + Seek>(
    image: &Extents,
    options: &Options,
    out: &mut W,
    progress: &dyn Progress,
) -> Result<Written, Error> {
    let mut consumer = Sparse { out, position: 0 };
    let written = run(image, options, progress, &mut consumer)?;
    if consumer.position < image.len() {
        consumer.put(image.len() - 1, &[0])?;
    }
    flush(out)?;
    Ok(written)
}
