//! One pass over a whole initramfs.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::{
    io::{self, BufRead, BufReader, Read},
    ops::Range,
    sync::Arc,
};

use imgcore::{ByteSize, ReadAt, Report};

use super::{
    compression::Compression,
    entries::{Budget, Ended, Failure, Sink, Stream},
    source::Source,
};
use crate::{cpio::Header, rules};

/// The kernel's decoder takes windows up to this (`lib/decompress_unzstd.c`).
const WINDOW_LOG: u32 = 27;
/// Memory for the dictionary of an xz or lzma stream: `xz -9` needs 65 MiB.
const XZ_MEMORY: u64 = 256 * ByteSize::MIB;

/// How much is unpacked of a file before it is taken for hostile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of all parts together, plain or unpacked.
    pub unpacked: u64,
    /// Entries of all parts together.
    pub entries: u64,
    /// Bytes of a name with its NUL; the kernel takes 4096.
    pub name: usize,
    /// Parts of the file.
    pub segments: usize,
}

impl Default for Limits {
    /// 4 GiB, a million entries, the kernel's names, 256 parts.
    fn default() -> Self {
        Self { unpacked: 4096 * ByteSize::MIB, entries: 1 << 20, name: 4096, segments: 256 }
    }
}

/// One part of an initramfs: a plain archive, or one compressed stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Where it lies in the file, without the zeros behind it.
    pub range: Range<u64>,
    /// How it is compressed.
    pub compression: Compression,
    /// Entries in it, without end marks.
    pub entries: u64,
    /// Bytes that it unpacks to; of a plain archive its own.
    pub unpacked: u64,
}

/// What a file was made of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Summary {
    /// The parts up to the end of the file or the first fault.
    pub segments: Vec<Segment>,
}

impl Summary {
    /// Entries of all parts.
    pub fn entries(&self) -> u64 {
        self.segments.iter().fold(0, |sum, segment| sum.saturating_add(segment.entries))
    }
}

/// Reads a whole initramfs once, from front to back, and hands every entry with its data to `sink`, which may leave data
/// unread. What `sink` answers ends the pass with the finding INI010; so does every fault with its own, because the kernel
/// stops there as well.
pub fn read(
    data: Arc<dyn ReadAt>,
    limits: &Limits,
    sink: &mut dyn FnMut(&Header, &mut dyn Read) -> io::Result<()>,
) -> (Summary, Report) {
    let mut summary = Summary::default();
    let mut report = Report::new();
    let mut source = Source::new(data);
    let mut budget = Budget { limits, unpacked: limits.unpacked, entries: limits.entries };
    loop {
        // The part's own failure; a fault of the medium is told apart from damage.
        match part(&mut source, &mut budget, &mut summary, &mut report, sink) {
            Ok(true) => {}
            Ok(false) => break,
            Err(failure) => {
                let start = summary.segments.last().map_or(0, |segment| segment.range.start);
                let range = start..source.position().max(start);
                let finding = match failure {
                    Failure::Input(error) if source.failed => {
                        rules::finding(rules::INI_MEDIUM, format!("reading failed at byte {}: {error}", range.end))
                    }
                    Failure::Input(error) => {
                        let kind = summary.segments.last().map_or(Compression::None, |segment| segment.compression);
                        let message = format!("the part at byte {start} ({kind}) cannot be unpacked: {error}");
                        rules::finding(rules::INI_DAMAGED, message)
                    }
                    Failure::Sink(error) => rules::finding(rules::INI_STOPPED, error.to_string()),
                    Failure::Found(finding) => *finding,
                };
                report.push(if finding.range.is_some() { finding } else { finding.at(range) });
                return (summary, report);
            }
        }
    }
    if summary.entries() == 0 && report.is_empty() {
        let message = "the file holds no entry: the kernel finds nothing to start in it";
        report.push(rules::finding(rules::INI_EMPTY, message).at(0..source.position()));
    }
    (summary, report)
}

/// Reads the next part; whether there was one that lets the next be found.
fn part(
    source: &mut Source,
    budget: &mut Budget<'_>,
    summary: &mut Summary,
    report: &mut Report,
    sink: &mut Sink<'_>,
) -> Result<bool, Failure> {
    let start = source.position();
    let (first, start) = {
        let mut stream = Stream::new(source, start, budget);
        (stream.next_byte()?, stream.position())
    };
    let Some(first) = first else { return Ok(false) };
    let head = source.peek().map_err(Failure::Input)?;
    let plain = first == b'0' && start.is_multiple_of(4);
    let compression = if plain { Some(Compression::None) } else { Compression::sniff(&head) };
    let Some(compression) = compression else {
        let problem = if first == b'0' {
            "an archive begins there, but not at a multiple of 4 as the kernel wants".to_owned()
        } else {
            format!("{head:02x?} begin nothing that the kernel reads")
        };
        let finding = rules::finding(rules::INI_JUNK, format!("byte {start}: {problem}")).at(start..start);
        return Err(Failure::Found(Box::new(finding)));
    };
    if summary.segments.len() >= budget.limits.segments {
        let message = format!("the file has more than {} parts", budget.limits.segments);
        return Err(Failure::Found(Box::new(rules::finding(rules::INI_BOMB, message))));
    }
    summary.segments.push(Segment { range: start..start, compression, entries: 0, unpacked: 0 });
    let Some(segment) = summary.segments.last_mut() else { return Ok(false) };
    if compression == Compression::Xz && head.get(7).is_some_and(|check| *check > 1) {
        let message = format!("the part at byte {start} is an .xz with another check than CRC32");
        report.push(rules::finding(rules::INI_XZ_CHECK, message).at(start..start.saturating_add(8)));
    }
    let before = budget.unpacked;
    let more = if compression == Compression::None {
        let ended = Stream::new(source, start, budget).entries(segment, sink);
        segment.range.end = source.position();
        ended.map(|_| true)
    } else {
        unpack(source, compression, segment, budget, report, sink)
    };
    segment.range.end = source.position();
    segment.unpacked = before.saturating_sub(budget.unpacked);
    more
}

/// Reads a compressed part to its end.
fn unpack(
    source: &mut Source,
    compression: Compression,
    segment: &mut Segment,
    budget: &mut Budget<'_>,
    report: &mut Report,
    sink: &mut Sink<'_>,
) -> Result<bool, Failure> {
    let input = |error: liblzma::stream::Error| Failure::Input(error.into());
    let mut plain: Box<dyn BufRead + '_> = match compression {
        Compression::Gzip => Box::new(BufReader::new(flate2::bufread::GzDecoder::new(source))),
        Compression::Zstd => {
            let decoder = zstd::stream::read::Decoder::with_buffer(source).map_err(Failure::Input)?;
            let mut decoder = decoder.single_frame();
            decoder.window_log_max(WINDOW_LOG).map_err(Failure::Input)?;
            Box::new(BufReader::with_capacity(128 << 10, decoder))
        }
        Compression::Xz => {
            let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, 0).map_err(input)?;
            Box::new(BufReader::new(liblzma::bufread::XzDecoder::new_stream(source, stream)))
        }
        Compression::Lzma => {
            let stream = liblzma::stream::Stream::new_lzma_decoder(XZ_MEMORY).map_err(input)?;
            Box::new(BufReader::new(liblzma::bufread::XzDecoder::new_stream(source, stream)))
        }
        Compression::None | Compression::Bzip2 | Compression::Lzo | Compression::Lz4 => {
            let start = segment.range.start;
            let message =
                format!("the part at byte {start} is compressed with {compression}, which is not unpacked here");
            report.push(rules::finding(rules::INI_UNREAD, message).at(start..start));
            return Ok(false);
        }
    };
    // Inside a stream archives may follow each other, with zeros between them and behind the last.
    let mut stream = Stream::new(&mut *plain, 0, budget);
    loop {
        if stream.entries(segment, sink)? == Ended::Input {
            return Ok(true);
        }
        if stream.next_byte()?.is_some_and(|byte| byte != b'0' || !stream.aligned()) {
            let message = format!(
                "byte {} of what the part at byte {} unpacks to is neither zero nor a header at a multiple of 4",
                stream.position(),
                segment.range.start
            );
            return Err(Failure::Found(Box::new(rules::finding(rules::INI_JUNK, message))));
        }
    }
}
