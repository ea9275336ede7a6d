//! The `.xz` sink: own container, own LZMA2 encoder, ready-made blocks for zeros.
//!
//! A block per unit of data and per 4 MiB of zeros, each with both sizes in its header, so that decoders can go
//! parallel with little memory. Specification and measurements: `sinks.md` §5.

mod chunk;
mod container;
mod encoder;
mod finder;
mod model;
mod range;

use std::{collections::BTreeMap, io::Write, ops::Range};

use imgcore::{HashingWriter, Progress};

use self::{
    container::{Kind, Record},
    encoder::Encoder,
};
use super::{
    Options, Written,
    cells::{Class, Probe},
    checksum,
    pass::{self, Consume, Encode, Unit},
    raw::{flush, write_all},
};
use crate::{Error, Extents};

/// Zeros in one block: larger ones save little and cost a threaded decoder memory (`sinks.md` §5.2).
const ZERO_BLOCK: u64 = 4 << 20;

/// Makes blocks from units.
struct Blocks {
    encoder: Encoder,
    probe: Probe,
    chunks: Vec<u8>,
}

impl Encode for Blocks {
    type Note = Record;

    fn encode(&mut self, unit: &Unit<'_>, out: &mut Vec<u8>) -> Record {
        self.chunks.clear();
        self.encoder.start_block();
        let mut chunks = chunk::Writer::new(&mut self.chunks);
        for (class, run) in self.probe.runs(unit.raw) {
            match class {
                Class::Zero => chunks.zeros(run.len()),
                Class::Store => chunks.stored(&unit.raw[run]),
                Class::Compress => self.encoder.encode(unit.raw, run, &mut chunks),
            }
        }
        chunks.finish();
        container::block(Kind::Payload, &self.chunks, unit.raw.len() as u64, unit.crc64, out)
    }
}

/// Puts blocks in order and keeps the index.
struct File<W: Write> {
    out: HashingWriter<W>,
    records: Vec<Record>,
    zero_blocks: BTreeMap<u64, (Vec<u8>, Record)>,
}

impl<W: Write> Consume<Record> for File<W> {
    fn zeros(&mut self, range: Range<u64>) -> Result<(), Error> {
        let mut left = range.end - range.start;
        while left > 0 {
            let part = left.min(ZERO_BLOCK);
            let (block, record) = self.zero_blocks.entry(part).or_insert_with(|| zero_block(part));
            write_all(&mut self.out, block)?;
            self.records.push(*record);
            left -= part;
        }
        Ok(())
    }

    fn unit(&mut self, _unit: &Unit<'_>, encoded: &[u8], record: Record) -> Result<(), Error> {
        self.records.push(record);
        write_all(&mut self.out, encoded)
    }
}

fn zero_block(count: u64) -> (Vec<u8>, Record) {
    let (mut chunks, mut block) = (Vec::new(), Vec::new());
    let mut writer = chunk::Writer::new(&mut chunks);
    writer.zeros(count as usize);
    writer.finish();
    let record = container::block(Kind::Zeros, &chunks, count, checksum::crc64_zeros(count), &mut block);
    (block, record)
}

pub(super) fn write(
    image: &Extents,
    options: &Options,
    out: &mut dyn Write,
    progress: &dyn Progress,
) -> Result<Written, Error> {
    let mut file = File { out: HashingWriter::new(out), records: Vec::new(), zero_blocks: BTreeMap::new() };
    write_all(&mut file.out, &container::STREAM_HEADER)?;
    let encoder = || Blocks { encoder: Encoder::new(), probe: Probe::new(), chunks: Vec::new() };
    let summary = pass::run_with(image, options, "write xz", progress, encoder, &mut file)?;
    write_all(&mut file.out, &container::end(&file.records))?;
    flush(&mut file.out)?;
    let (_, digest, size) = file.out.finish();
    Ok(Written { size, digest, raw_size: image.len(), raw_digest: summary.raw_digest, units: summary.units })
}
