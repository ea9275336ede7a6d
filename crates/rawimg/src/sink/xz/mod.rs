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

use imgcore::Progress;

use self::{
    container::{Kind, Record},
    encoder::Encoder,
};
use super::{
    Options, Written,
    cells::{Class, Probe},
    checksum,
    output::{Output, hashed},
    pass::{Consume, Encode, Pass, Unit},
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
struct File<'o, 'a> {
    out: &'o mut Output<'a>,
    records: Vec<Record>,
    zero_blocks: BTreeMap<u64, (Vec<u8>, Record)>,
}

impl Consume<Record> for File<'_, '_> {
    fn zeros(&mut self, range: Range<u64>) -> Result<(), Error> {
        let mut left = range.end - range.start;
        while left > 0 {
            let part = left.min(ZERO_BLOCK);
            let (block, record) = self.zero_blocks.entry(part).or_insert_with(|| zero_block(part));
            self.out.write(block)?;
            self.records.push(*record);
            left -= part;
        }
        Ok(())
    }

    fn unit(&mut self, _unit: &Unit<'_>, encoded: &[u8], record: Record) -> Result<(), Error> {
        self.records.push(record);
        self.out.write(encoded)
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
    let (summary, size, digest) = hashed(out, |out| {
        out.write(&container::STREAM_HEADER)?;
        let mut file = File { out, records: Vec::new(), zero_blocks: BTreeMap::new() };
        let encoder = || Blocks { encoder: Encoder::new(), probe: Probe::new(), chunks: Vec::new() };
        let summary = Pass::new(image, options, "write xz", progress).run(encoder, &mut file)?;
        file.out.write(&container::end(&file.records))?;
        Ok(summary)
    })?;
    Ok(Written { size, digest, raw_size: image.len(), raw_digest: summary.hashes.digest(), units: summary.units })
}

#[cfg(test)]
mod tests {
    use imgcore::Digest;

    use super::*;

    fn chunks_of(make: impl FnOnce(&mut chunk::Writer<'_>)) -> Vec<u8> {
        let mut chunks = Vec::new();
        let mut writer = chunk::Writer::new(&mut chunks);
        make(&mut writer);
        writer.finish();
        chunks
    }

    #[test]
    fn chunks_of_zeros_are_those_of_the_specification() {
        // sinks.md §5.2
        let chunks = chunks_of(|writer| writer.zeros(2 << 20));
        let (header, code) = chunks[..chunks.len() - 1].split_at(6);
        assert_eq!(header, [0xFF, 0xFF, 0xFF, 1, 0x5A, 0]);
        assert_eq!(code.len(), 347);
        assert_eq!(Digest::of(code).hex(), "0c9a1d39fcc7bd356605ddb967578be6395d18a14ac2b814f6045c7226f8dd1e");
        for (count, size) in [(1 << 20, 199), (64 << 10, 60)] {
            assert_eq!(chunks_of(|writer| writer.zeros(count)).len(), 6 + size + 1, "{count}");
        }
        let later = chunks_of(|writer| {
            writer.zeros(2 << 20);
            writer.zeros(2 << 20);
        });
        assert_eq!(later[353..359], [0xDF, 0xFF, 0xFF, 1, 0x5A, 0]);
    }

    #[test]
    fn a_block_of_zeros_is_that_of_the_specification() {
        let (block, record) = zero_block(4 << 20);
        assert_eq!((block.len(), record), (732, Record { unpadded: 731, raw: 4 << 20 }));
        assert_eq!(block[..16], [3, 0xC0, 0xC3, 5, 0x80, 0x80, 0x80, 2, 0x21, 1, 0, 0, 0xFE, 0x42, 0xEC, 0xD2]);
        assert_eq!(Digest::of(&block).hex(), "31007156e7416557114d32fa8d56b877278dfce47136e6d0c3d865a39bb988f7");
    }

    #[test]
    fn data_that_does_not_shrink_is_stored_and_the_coder_starts_anew() {
        let mut noise = vec![0; 200_000];
        let mut state = 1_u64;
        noise.fill_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as u8
        });
        let block = [&vec![b'a'; 1000][..], &noise, &vec![b'b'; 1000]].concat();
        let mut encoder = Encoder::new();
        encoder.start_block();
        let chunks = chunks_of(|writer| encoder.encode(&block, 0..block.len(), writer));
        assert!(chunks.len() < block.len() + 100, "{}", chunks.len());
        let mut decoded = Vec::new();
        let mut file = container::STREAM_HEADER.to_vec();
        let mut whole = Vec::new();
        let record = container::block(Kind::Payload, &chunks, block.len() as u64, checksum::crc64(&block), &mut whole);
        file.extend(whole);
        file.extend(container::end(&[record]));
        std::io::Read::read_to_end(&mut liblzma::read::XzDecoder::new(&file[..]), &mut decoded).expect("sound");
        assert!(decoded == block);
    }
}
