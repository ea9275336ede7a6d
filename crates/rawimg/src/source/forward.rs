//! Images that can only be decoded from their start: decoded once, and kept in memory without their zeros.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::io::{self, BufRead, BufReader, Read};

use imgcore::{ByteSize, ReadAt, ReadAtCursor};

use super::Limits;
use crate::{Error, ErrorKind};

/// Size of the pieces that are kept or dropped.
const CELL: usize = 1 << CELL_BITS;
const CELL_BITS: u32 = 16;
/// Bytes read from the file at once.
const READ: usize = 256 << 10;

/// A piece of the image.
enum Cell {
    /// One value, as far as the piece goes.
    Fill(u8),
    Bytes(Box<[u8]>),
}

/// A decoded image in memory.
pub(super) struct Cells {
    cells: Vec<Cell>,
    size: u64,
}

impl ReadAt for Cells {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let number = usize::try_from(offset >> CELL_BITS).unwrap_or(usize::MAX);
        let inside = usize::try_from(offset & (CELL as u64).wrapping_sub(1)).unwrap_or_default();
        let count = buffer.len().min(left).min(CELL.saturating_sub(inside));
        let (Some(cell), Some(buffer)) = (self.cells.get(number), buffer.get_mut(..count)) else { return Ok(0) };
        match cell {
            Cell::Fill(byte) => buffer.fill(*byte),
            Cell::Bytes(bytes) => {
                let bytes = bytes.get(inside..inside.saturating_add(count)).unwrap_or_default();
                buffer.get_mut(..bytes.len()).unwrap_or_default().copy_from_slice(bytes);
            }
        }
        Ok(count)
    }
}

/// A reader over a file that knows how far it has got.
type Input<'a> = BufReader<ReadAtCursor<&'a dyn ReadAt>>;

fn input(file: &dyn ReadAt) -> Input<'_> {
    BufReader::with_capacity(READ, ReadAtCursor::new(file))
}

/// Names the format in what a decoder says, and tells a missing end from other damage.
fn explain(format: &'static str, file: &dyn ReadAt, raw: u64, error: io::Error) -> Error {
    let problem = match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            format!("the file is truncated: it ends after {raw} bytes of the image; copy or download it again")
        }
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::Other => {
            format!("{error}; {raw} bytes of the image before it are sound")
        }
        _ => return Error::io(format!("reading the {format} file"), error),
    };
    // Decoders do not tell where they stand; the end is as near as can be said.
    ErrorKind::Damaged { format, offset: file.size(), problem }.into()
}

/// Decodes to the end and keeps what is not of one value.
fn keep(format: &'static str, file: &dyn ReadAt, limits: Limits, decoder: &mut dyn Read) -> Result<Cells, Error> {
    let too_large = |what: &str, limit: u64| {
        let problem = format!("{what} more than {} ({limit} bytes): decompress it first", ByteSize(limit));
        Error::from(ErrorKind::Unsupported { format, problem })
    };
    let mut cells = Cells { cells: Vec::new(), size: 0 };
    let mut kept = 0_u64;
    let mut cell = vec![0; CELL];
    loop {
        let mut filled = 0;
        while let Some(room) = cell.get_mut(filled..).filter(|room| !room.is_empty()) {
            match decoder.read(room) {
                Ok(0) => break,
                Ok(count) => filled = filled.saturating_add(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(explain(format, file, cells.size.saturating_add(filled as u64), error)),
            }
        }
        let bytes = cell.get(..filled).unwrap_or_default();
        cells.size = cells.size.saturating_add(filled as u64);
        if cells.size > limits.image {
            return Err(too_large("the image has", limits.image));
        }
        let Some(first) = bytes.first() else { return Ok(cells) };
        // Comparing with itself shifted by one is a memory comparison, which is fast.
        let constant = bytes.get(1..) == bytes.get(..filled.saturating_sub(1));
        cells.cells.push(if constant {
            Cell::Fill(*first)
        } else {
            kept = kept.saturating_add(filled as u64);
            if kept > limits.kept {
                return Err(too_large("it can only be decoded from its start, and its data is", limits.kept));
            }
            Cell::Bytes(bytes.into())
        });
        if filled < CELL {
            return Ok(cells);
        }
    }
}

/// All frames of a `.zst` file.
#[cfg(feature = "zst")]
pub(super) fn zstd(file: &dyn ReadAt, limits: Limits) -> Result<Cells, Error> {
    let mut decoder =
        zstd::stream::read::Decoder::with_buffer(input(file)).map_err(|error| explain("zstd", file, 0, error))?;
    keep("zstd", file, limits, &mut decoder)
}

/// All members of a `.gz` file.
#[cfg(feature = "gz")]
pub(super) fn gzip(file: &dyn ReadAt, limits: Limits) -> Result<Cells, Error> {
    keep("gzip", file, limits, &mut Members::new(input(file)))
}

/// One gzip member after the other; zeros behind the last are padding, as `gzip` itself has it.
#[cfg(feature = "gz")]
#[derive(Debug)]
pub struct Members<R: BufRead> {
    member: Option<flate2::bufread::GzDecoder<R>>,
}

#[cfg(feature = "gz")]
impl<R: BufRead> Members<R> {
    /// Reads the members of `input`.
    pub fn new(input: R) -> Self {
        Self { member: Some(flate2::bufread::GzDecoder::new(input)) }
    }
}

#[cfg(feature = "gz")]
impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(member) = &mut self.member {
            let count = member.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            let Some(mut rest) = self.member.take().map(flate2::bufread::GzDecoder::into_inner) else { return Ok(0) };
            loop {
                let bytes = rest.fill_buf()?;
                match bytes.iter().position(|byte| *byte != 0) {
                    Some(0) if bytes.first() == Some(&0x1F) => {
                        self.member = Some(flate2::bufread::GzDecoder::new(rest));
                        break;
                    }
                    Some(_) => {
                        return Err(io::Error::new(
                            io::ErrorKind::InvalidData,
                            "bytes that are no gzip member follow the last one",
                        ));
                    }
                    None if bytes.is_empty() => return Ok(0),
                    None => {
                        let count = bytes.len();
                        rest.consume(count);
                    }
                }
            }
        }
        Ok(0)
    }
}

/// All streams of an `.xz` file.
#[cfg(feature = "xz")]
pub(super) fn xz(file: &dyn ReadAt, limits: Limits) -> Result<Cells, Error> {
    use liblzma::{
        bufread::XzDecoder,
        stream::{CONCATENATED, Stream},
    };

    use super::xz_block::{MEMORY_MAX, explain};

    let stream = Stream::new_stream_decoder(MEMORY_MAX, CONCATENATED).map_err(|error| explain(error, 0))?;
    keep("xz", file, limits, &mut XzDecoder::new_stream(input(file), stream))
}
