//! One layer as a stream: decompressed, counted, hashed, read as a tar.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::{
    cell::Cell,
    collections::BTreeSet,
    fmt,
    io::{self, BufReader, Read},
    rc::Rc,
};

use imgcore::{Blob, Digest, Hasher, ReadAtCursor};

use super::{
    Compression, LayerView, Limits,
    tar::{Data, Header, Stream, TarError, TarReader},
};

/// 128 MiB: what the zstd program takes without being asked.
const ZSTD_WINDOW_LOG: u32 = 27;

/// What is read of a layer besides its entries.
#[derive(Debug)]
pub(super) struct End {
    pub(super) diff_id: Digest,
    /// The two zero blocks are there and only zeros come behind them.
    pub(super) clean: bool,
}

/// Why a layer was not read to its end.
#[derive(Debug)]
pub(super) enum Failure {
    /// A limit was reached.
    Bomb(Bomb),
    /// The compressed data is damaged.
    Compressed(io::Error),
    /// The tar is damaged.
    Tar { offset: u64, problem: &'static str },
    /// The visitor has seen enough.
    Stopped,
    /// The visitor failed.
    Visitor(io::Error),
}

/// Too much came out of too little.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bomb {
    packed: u64,
    unpacked: u64,
}

impl fmt::Display for Bomb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes unpack to more than {}", self.packed, self.unpacked)
    }
}

impl std::error::Error for Bomb {}

/// What the visitor wants after an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Go,
    Stop,
}

pub(super) type Entry<'a, 'b> = Data<'b, Stream<&'a mut Bounded>>;

/// What came out of layers, and out of how much. One budget over all layers of an image, or of an archive: many small
/// layers, or one layer many times, are as good a bomb as a large one.
#[derive(Debug, Default)]
pub(super) struct Budget {
    unpacked: u64,
    packed: u64,
    seen: BTreeSet<Digest>,
}

impl Budget {
    /// Bytes that came out so far.
    pub(super) fn unpacked(&self) -> u64 {
        self.unpacked
    }
}

/// Calls `visit` with every entry.
pub(super) fn walk(
    layer: &LayerView,
    limits: &Limits,
    budget: &mut Budget,
    visit: &mut dyn FnMut(&Header, &mut dyn Read) -> io::Result<Next>,
) -> Result<End, Failure> {
    let Some(data) = &layer.data else {
        return Err(Failure::Compressed(io::Error::new(io::ErrorKind::NotFound, "the layer is missing")));
    };
    let first_time = budget.seen.insert(layer.digest);
    let mut bounded = Bounded::open(data, layer.compression, limits, budget).map_err(Failure::Compressed)?;
    bounded.counts = first_time;
    let walked = entries(&mut bounded, visit);
    budget.unpacked = bounded.unpacked;
    if first_time {
        budget.packed = budget.packed.saturating_add(bounded.taken.get());
    }
    let clean = walked?;
    Ok(End { diff_id: bounded.hasher.finish(), clean })
}

fn entries(
    bounded: &mut Bounded,
    visit: &mut dyn FnMut(&Header, &mut dyn Read) -> io::Result<Next>,
) -> Result<bool, Failure> {
    let mut reader = TarReader::new(Stream(&mut *bounded));
    while let Some(header) = reader.next_entry().map_err(tar_failed)? {
        let mut data: Entry<'_, '_> = reader.data(&header);
        match visit(&header, &mut data) {
            Ok(Next::Go) => {}
            Ok(Next::Stop) => return Err(Failure::Stopped),
            Err(error) => return Err(visitor_failed(error, &header)),
        }
    }
    let marked = reader.end_marked();
    let mut rest = reader.into_inner();
    let mut buffer = [0; 8192];
    let mut clean = marked;
    // To the end: the digest is of everything.
    loop {
        match rest.read(&mut buffer) {
            Ok(0) => return Ok(clean),
            Ok(count) => clean &= buffer.iter().take(count).all(|byte| *byte == 0),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(stream_failed(error)),
        }
    }
}

fn tar_failed(error: TarError) -> Failure {
    match error {
        TarError::Cut { offset } => Failure::Tar { offset, problem: "the stream ends inside an entry" },
        TarError::Damaged { offset, problem } => Failure::Tar { offset, problem },
        TarError::Io(error) => stream_failed(error),
    }
}

fn stream_failed(error: io::Error) -> Failure {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Bomb>()) {
        Some(bomb) => Failure::Bomb(*bomb),
        None => Failure::Compressed(error),
    }
}

/// The visitor hands on what the stream answered; only its own errors are its own.
fn visitor_failed(error: io::Error, header: &Header) -> Failure {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<FromStream>()) {
        Some(FromStream::Bomb(bomb)) => Failure::Bomb(*bomb),
        Some(FromStream::Cut) => Failure::Tar { offset: header.offset, problem: "the stream ends inside an entry" },
        Some(FromStream::Damaged(text)) => Failure::Compressed(io::Error::other(text.clone())),
        None => Failure::Visitor(error),
    }
}

/// Marks an error as the layer's, not the visitor's.
#[derive(Debug)]
enum FromStream {
    Bomb(Bomb),
    Cut,
    Damaged(String),
}

impl fmt::Display for FromStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bomb(bomb) => bomb.fmt(f),
            Self::Cut => f.write_str("the layer ends inside an entry"),
            Self::Damaged(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for FromStream {}

/// Passes an entry's data on and marks the errors of the stream.
pub(super) struct Marked<'a>(pub(super) &'a mut dyn Read);

impl Read for Marked<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| {
            if error.kind() == io::ErrorKind::Interrupted {
                return error;
            }
            let kind = error.kind();
            let marked = match error.get_ref().and_then(|inner| inner.downcast_ref::<Bomb>()) {
                Some(bomb) => FromStream::Bomb(*bomb),
                None if kind == io::ErrorKind::UnexpectedEof => FromStream::Cut,
                None => FromStream::Damaged(error.to_string()),
            };
            io::Error::new(kind, marked)
        })
    }
}

/// Counts the packed bytes that a decoder took.
struct Counted {
    inner: ReadAtCursor<Blob>,
    taken: Rc<Cell<u64>>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.taken.set(self.taken.get().saturating_add(count as u64));
        Ok(count)
    }
}

enum Decoder {
    None(BufReader<Counted>),
    Gzip(Box<flate2::bufread::MultiGzDecoder<BufReader<Counted>>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, BufReader<Counted>>>),
}

/// The tar of a layer: decompressed, hashed, and stopped when too much comes.
pub(super) struct Bounded {
    decoder: Decoder,
    taken: Rc<Cell<u64>>,
    hasher: Hasher,
    /// Of all layers so far.
    unpacked: u64,
    /// Of the layers before this one.
    packed: u64,
    /// Whether what is taken counts: the bytes of a layer do, once.
    counts: bool,
    limits: Limits,
}

impl Bounded {
    fn open(data: &Blob, compression: Compression, limits: &Limits, budget: &Budget) -> io::Result<Self> {
        let taken = Rc::new(Cell::new(0));
        let counted = Counted { inner: ReadAtCursor::new(data.clone()), taken: Rc::clone(&taken) };
        let packed = BufReader::with_capacity(64 * 1024, counted);
        let decoder = match compression {
            Compression::None => Decoder::None(packed),
            Compression::Gzip => Decoder::Gzip(Box::new(flate2::bufread::MultiGzDecoder::new(packed))),
            Compression::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(packed)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Decoder::Zstd(Box::new(decoder))
            }
        };
        let (unpacked, packed, limits) = (budget.unpacked, budget.packed, limits.clone());
        Ok(Self { decoder, taken, hasher: Hasher::new(), unpacked, packed, counts: true, limits })
    }
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = match &mut self.decoder {
            Decoder::None(reader) => reader.read(buffer),
            Decoder::Gzip(reader) => reader.read(buffer),
            Decoder::Zstd(reader) => reader.read(buffer),
        }?;
        self.hasher.update(buffer.get(..count).unwrap_or_default());
        self.unpacked = self.unpacked.saturating_add(count as u64);
        let packed = self.packed.saturating_add(if self.counts { self.taken.get() } else { 0 });
        let fair = packed.saturating_mul(self.limits.ratio).max(self.limits.ratio_floor);
        if self.unpacked > fair.min(self.limits.unpacked) {
            return Err(io::Error::other(Bomb { packed, unpacked: self.unpacked.saturating_sub(count as u64) }));
        }
        Ok(count)
    }
}
