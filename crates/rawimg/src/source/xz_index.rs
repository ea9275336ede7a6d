//! The index of an `.xz` file: where its blocks lie. Read from the end, stream by stream.
//!
//! Source: `.xz` file format 1.2. liblzma has this too, but no safe interface to it exists.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use imgcore::ReadAt;

use crate::{Error, ErrorKind};

/// Most blocks in a file: 64 GiB in blocks of 64 KiB.
const BLOCKS_MAX: usize = 1 << 20;
/// Most streams in a file.
const STREAMS_MAX: u32 = 1 << 16;
/// Most bytes of padding behind a stream.
const PADDING_MAX: u64 = 1 << 24;
/// Stream header and footer.
const HEADER: u64 = 12;

/// One block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block {
    /// Offset in the file.
    pub(crate) offset: u64,
    /// Header, data and check, without padding.
    pub(crate) unpadded: u64,
    /// Offset of its bytes in the image.
    pub(crate) raw_offset: u64,
    /// Size of its bytes.
    pub(crate) raw_size: u64,
    /// The kind of check, from the stream's flags.
    pub(crate) check: u8,
}

impl Block {
    /// Size in the file, with padding.
    pub(crate) fn padded(&self) -> u64 {
        self.unpadded.next_multiple_of(4)
    }
}

/// All blocks of a file.
#[derive(Debug)]
pub(crate) struct Index {
    /// In the order of the image.
    pub(crate) blocks: Vec<Block>,
    /// Size of the image.
    pub(crate) size: u64,
}

fn damaged(offset: u64, problem: impl Into<String>) -> Error {
    ErrorKind::Damaged { format: "xz", offset, problem: problem.into() }.into()
}

fn unsupported(problem: impl Into<String>) -> Error {
    ErrorKind::Unsupported { format: "xz", problem: problem.into() }.into()
}

fn read<const N: usize>(file: &dyn ReadAt, offset: u64) -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    file.read_exact_at(offset, &mut bytes).map_err(|error| Error::io("reading the xz file", error))?;
    Ok(bytes)
}

/// Reads every index of the file. `limit` is the largest image that is accepted.
pub(crate) fn read_index(file: &dyn ReadAt, limit: u64) -> Result<Index, Error> {
    let mut end = file.size();
    // Blocks from the last to the first; their places in the image are filled in at the end.
    let mut blocks = Vec::new();
    let mut streams = 0_u32;
    loop {
        end = skip_padding(file, end)?;
        end = read_stream(file, end, &mut blocks)?;
        streams = streams.saturating_add(1);
        if end == 0 {
            break;
        }
        if streams == STREAMS_MAX {
            return Err(unsupported(format!("it has more than {STREAMS_MAX} streams")));
        }
    }
    blocks.reverse();
    let mut size = 0_u64;
    for block in &mut blocks {
        block.raw_offset = size;
        size = size.checked_add(block.raw_size).filter(|size| *size <= limit).ok_or_else(|| {
            unsupported(format!("it holds more than {limit} bytes, which is the limit here: decompress it first"))
        })?;
    }
    Ok(Index { blocks, size })
}

/// Where the stream padding that ends at `end` begins: zeros, a multiple of four of them.
fn skip_padding(file: &dyn ReadAt, end: u64) -> Result<u64, Error> {
    let mut piece = [0; 4096];
    let mut at = end;
    loop {
        if end.saturating_sub(at) > PADDING_MAX {
            return Err(unsupported(format!("there are more than {PADDING_MAX} bytes of padding before byte {end}")));
        }
        let from = at.saturating_sub(piece.len() as u64);
        let count = usize::try_from(at.saturating_sub(from)).unwrap_or_default();
        let bytes = piece.get_mut(..count).unwrap_or_default();
        if bytes.is_empty() {
            return Err(damaged(0, "there is only padding, where a stream was expected"));
        }
        file.read_exact_at(from, bytes).map_err(|error| Error::io("reading the xz file", error))?;
        if let Some(last) = bytes.iter().rposition(|byte| *byte != 0) {
            let zeros = count.saturating_sub(last).saturating_sub(1) & !3;
            return Ok(at.saturating_sub(zeros as u64));
        }
        at = from;
    }
}

/// Reads the stream that ends at `end` and returns where it begins. Its blocks are appended, the last one first.
fn read_stream(file: &dyn ReadAt, end: u64, blocks: &mut Vec<Block>) -> Result<u64, Error> {
    let footer_at = end.checked_sub(HEADER).ok_or_else(|| truncated(end))?;
    let [c0, c1, c2, c3, b0, b1, b2, b3, f0, f1, y, z] = read::<12>(file, footer_at)?;
    if [y, z] != *b"YZ" {
        return Err(truncated(footer_at));
    }
    if crc32fast::hash(&[b0, b1, b2, b3, f0, f1]) != u32::from_le_bytes([c0, c1, c2, c3]) {
        return Err(damaged(footer_at, "the checksum of the stream footer is wrong"));
    }
    let check = flags(footer_at, [f0, f1])?;
    let index_size = u64::from(u32::from_le_bytes([b0, b1, b2, b3])).saturating_add(1).saturating_mul(4);
    let index_at = footer_at.checked_sub(index_size).filter(|at| *at >= HEADER).ok_or_else(|| {
        damaged(footer_at, format!("its footer says that the index has {index_size} bytes, more than there are"))
    })?;
    // An index larger than this holds more blocks than are accepted: at most 18 bytes each.
    if index_size > (BLOCKS_MAX as u64).saturating_mul(18) {
        return Err(unsupported(format!("its index has {index_size} bytes: decompress it first")));
    }
    let mut index = vec![0; usize::try_from(index_size).unwrap_or_default()];
    file.read_exact_at(index_at, &mut index).map_err(|error| Error::io("reading the xz file", error))?;
    let first = blocks.len();
    let content = parse_index(&index, index_at, check, blocks)?;
    let start = index_at
        .checked_sub(content)
        .and_then(|at| at.checked_sub(HEADER))
        .ok_or_else(|| damaged(index_at, format!("the index counts {content} bytes of blocks, more than there are")))?;
    let header = read::<12>(file, start)?;
    if header != stream_header(check) {
        return Err(damaged(start, format!("no stream header where the index puts it: {header:02x?}")));
    }
    let mut offset = start.saturating_add(HEADER);
    for block in blocks.iter_mut().skip(first) {
        block.offset = offset;
        offset = offset.saturating_add(block.padded());
    }
    if let Some(new) = blocks.get_mut(first..) {
        new.reverse();
    }
    Ok(start)
}

fn truncated(offset: u64) -> Error {
    damaged(
        offset,
        "the file is truncated or has foreign bytes behind its end: no stream footer where it must be; copy or download it again",
    )
}

/// The kind of check from a stream's flags.
fn flags(offset: u64, flags: [u8; 2]) -> Result<u8, Error> {
    match flags {
        [0, check @ 0..=15] => Ok(check),
        [a, b] => Err(damaged(offset, format!("stream flags {a:02x} {b:02x}, of which no decoder knows the meaning"))),
    }
}

/// The 12 bytes that begin a stream.
pub(crate) fn stream_header(check: u8) -> [u8; 12] {
    let [a, b, c, d] = crc32fast::hash(&[0, check]).to_le_bytes();
    [0xFD, b'7', b'z', b'X', b'Z', 0, 0, check, a, b, c, d]
}

/// Appends the blocks of an index and returns how many bytes they take together.
fn parse_index(index: &[u8], at: u64, check: u8, blocks: &mut Vec<Block>) -> Result<u64, Error> {
    let (body, crc) = index.split_last_chunk::<4>().ok_or_else(|| damaged(at, "the index is empty"))?;
    if crc32fast::hash(body) != u32::from_le_bytes(*crc) {
        return Err(damaged(at, "the checksum of the index is wrong"));
    }
    let bad = |what: &str| damaged(at, format!("the index is not well-formed: {what}"));
    let mut rest = body.strip_prefix(&[0]).ok_or_else(|| bad("it does not begin with 0"))?;
    let count = number(&mut rest).ok_or_else(|| bad("no number of records"))?;
    if usize::try_from(count).ok().and_then(|count| count.checked_add(blocks.len())).is_none_or(|all| all > BLOCKS_MAX)
    {
        return Err(unsupported(format!("it has more than {BLOCKS_MAX} blocks: decompress it first")));
    }
    let mut content = 0_u64;
    for _ in 0..count {
        let (Some(unpadded), Some(raw_size)) = (number(&mut rest), number(&mut rest)) else {
            return Err(bad("fewer records than it says"));
        };
        let block = Block { offset: 0, unpadded, raw_offset: 0, raw_size, check };
        // Numbers have at most 63 bits, so the padded size does not overflow.
        content = content.checked_add(block.padded()).ok_or_else(|| bad("sizes beyond 64 bits"))?;
        blocks.push(block);
    }
    if rest.len() > 3 || rest.iter().any(|byte| *byte != 0) {
        return Err(bad("more bytes than its records have"));
    }
    Ok(content)
}

/// Takes a number of up to 63 bits: 7 bits a byte, low ones first.
fn number(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for place in 0..9_u32 {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7F) << place.saturating_mul(7);
        if byte & 0x80 == 0 {
            // A last byte of 0 would be a longer way to write a shorter number.
            return (*byte != 0 || place == 0).then_some(value);
        }
    }
    None
}

/// The end of a stream that consists of this block only.
pub(crate) fn stream_end(block: &Block) -> Vec<u8> {
    let mut out = vec![0, 1];
    for mut value in [block.unpadded, block.raw_size] {
        while value >= 0x80 {
            out.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        out.push(value.to_le_bytes()[0]);
    }
    out.resize(out.len().next_multiple_of(4), 0);
    let crc = crc32fast::hash(&out);
    out.extend(crc.to_le_bytes());
    let backward = u32::try_from(out.len() / 4).unwrap_or_default().saturating_sub(1).to_le_bytes();
    let [a, b, c, d] = backward;
    out.extend(crc32fast::hash(&[a, b, c, d, 0, block.check]).to_le_bytes());
    out.extend([a, b, c, d, 0, block.check, b'Y', b'Z']);
    out
}
