//! Decodes one block of an `.xz` file with liblzma.
//!
//! liblzma's safe interface decodes streams, not blocks; so it is given a stream that consists of this block only:
//! a header and an index made here, the block from the file. It must come to the end of that stream, and thereby has
//! verified the block's sizes and its check.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use imgcore::ReadAt;
use liblzma::stream::{Action, Error as Lzma, Status, Stream};

use super::xz_index::{Block, stream_end, stream_header};
use crate::{Error, ErrorKind};

/// Memory that liblzma may take: `xz -9` needs 65 MiB.
pub(super) const MEMORY_MAX: u64 = 256 << 20;
/// Most bytes that are allocated ahead of what has been decoded.
const STEP: usize = 1 << 20;

/// What liblzma's word means for a file.
pub(super) fn explain(error: Lzma, offset: u64) -> Error {
    let problem = match error {
        Lzma::MemLimit | Lzma::Mem => {
            let problem = format!("it needs more than {MEMORY_MAX} bytes of memory: decompress it first");
            return ErrorKind::Unsupported { format: "xz", problem }.into();
        }
        Lzma::Options | Lzma::UnsupportedCheck => {
            let problem = "it uses a filter or an option that this liblzma does not know".to_owned();
            return ErrorKind::Unsupported { format: "xz", problem }.into();
        }
        Lzma::Data => "the data is corrupt",
        _ => "the data is no xz stream",
    };
    ErrorKind::Damaged { format: "xz", offset, problem: problem.to_owned() }.into()
}

/// Reads the bytes of a block as they are in the file.
pub(crate) fn read(file: &dyn ReadAt, block: &Block, bytes: &mut Vec<u8>) -> Result<(), Error> {
    let damaged = |problem: String| ErrorKind::Damaged { format: "xz", offset: block.offset, problem };
    // The index reader has made sure that the blocks lie inside the file.
    let size = usize::try_from(block.padded()).map_err(|_| damaged("a block is larger than memory".to_owned()))?;
    bytes.resize(size, 0);
    file.read_exact_at(block.offset, bytes).map_err(|error| Error::io("reading the xz file", error))
}

/// Decodes `compressed`, the whole of `block`, into `raw`, replacing what is there. The caller has limited the
/// block's size.
pub(crate) fn decode(block: &Block, compressed: &[u8], raw: &mut Vec<u8>) -> Result<(), Error> {
    let damaged = |problem: &str| -> Error {
        ErrorKind::Damaged { format: "xz", offset: block.offset, problem: problem.to_owned() }.into()
    };
    let mut stream = Stream::new_stream_decoder(MEMORY_MAX, 0).map_err(|error| explain(error, block.offset))?;
    raw.clear();
    let wanted = usize::try_from(block.raw_size).map_err(|_| damaged("a block is larger than memory"))?;
    for input in [&stream_header(block.check)[..], compressed, &stream_end(block)] {
        let mut rest = input;
        while !rest.is_empty() {
            // One byte more than wanted, so that a block that gives too much is noticed.
            let room = wanted.saturating_add(1).saturating_sub(raw.len()).min(STEP);
            raw.reserve(room);
            let (before_in, before_out) = (stream.total_in(), raw.len());
            let status = stream.process_vec(rest, raw, Action::Run).map_err(|error| explain(error, block.offset))?;
            if raw.len() > wanted {
                return Err(damaged("a block holds more bytes than the index says"));
            }
            let taken = usize::try_from(stream.total_in().saturating_sub(before_in)).unwrap_or(usize::MAX);
            rest = rest.get(taken..).unwrap_or_default();
            match status {
                Status::StreamEnd if rest.is_empty() && raw.len() == wanted => return Ok(()),
                Status::StreamEnd => return Err(damaged("a block ends before its end")),
                _ if taken == 0 && raw.len() == before_out => return Err(damaged("a block stops in the middle")),
                _ => {}
            }
        }
    }
    Err(damaged("a block does not end where the index says"))
}
