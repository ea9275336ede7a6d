//! The forward pass that all sinks share: workers read and encode 1 MiB units at absolute offsets, one consumer takes
//! them in order.
//!
//! A unit that no extent touches is never read. A unit that is read and turns out to be zero is zero all the same, so
//! that the output cannot depend on how the extents were cut.

use std::{
    collections::BTreeMap,
    ops::Range,
    sync::{Condvar, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
};

use imgcore::{Progress, ReadAt as _};

use super::{Options, UnitSum, cells::is_zero, checksum, hashes::Hashes};
use crate::{Error, ErrorKind, Extents};

/// Size of a unit.
pub(super) const UNIT: u64 = 1 << 20;

/// The work of one thread on one unit.
pub(super) trait Encode {
    /// What the consumer must know besides the encoded bytes.
    type Note: Send;

    /// Encodes a unit that is not all zero, by appending to `out`. The result goes to [`Consume::unit`].
    fn encode(&mut self, unit: &Unit<'_>, out: &mut Vec<u8>) -> Self::Note;
}

/// A unit that is not all zero.
#[derive(Debug, Clone)]
pub(super) struct Unit<'a> {
    /// Bytes of the image.
    pub(super) range: Range<u64>,
    /// Its bytes.
    pub(super) raw: &'a [u8],
    /// CRC-64/XZ of its bytes.
    pub(super) crc64: u64,
}

/// Takes the image in order, without gaps, on the thread that called.
pub(super) trait Consume<N> {
    /// A maximal run of zeros, on unit borders except at the end of the image.
    fn zeros(&mut self, range: Range<u64>) -> Result<(), Error>;

    /// A unit and what [`Encode`] made of it.
    fn unit(&mut self, unit: &Unit<'_>, encoded: &[u8], note: N) -> Result<(), Error>;
}

/// What a pass found out.
pub(super) struct Summary {
    pub(super) units: Vec<UnitSum>,
    pub(super) hashes: Hashes,
}

/// The units that extents touch, as maximal ranges of unit numbers.
fn touched(image: &Extents) -> Vec<Range<u64>> {
    let mut ranges: Vec<Range<u64>> = Vec::new();
    for leaf in image.leaves() {
        let bytes = leaf.range();
        let units = bytes.start / UNIT..bytes.end.div_ceil(UNIT);
        match ranges.last_mut() {
            Some(last) if units.start <= last.end => last.end = last.end.max(units.end),
            _ => ranges.push(units),
        }
    }
    ranges
}

/// What a pass is run with.
pub(super) struct Pass<'a> {
    pub(super) image: &'a Extents,
    /// How many threads encode.
    pub(super) threads: usize,
    /// What is wanted of the raw image.
    pub(super) hashes: Hashes,
    /// The name under which progress is told.
    pub(super) task: &'static str,
    pub(super) progress: &'a dyn Progress,
}

impl<'a> Pass<'a> {
    /// With the settings that callers give.
    pub(super) fn new(image: &'a Extents, options: &Options, task: &'static str, progress: &'a dyn Progress) -> Self {
        Self { image, threads: options.threads(), hashes: Hashes::sha256_if(options.hash_raw), task, progress }
    }

    /// Runs it. Each thread gets its own encoder from `encoder`.
    pub(super) fn run<E: Encode>(
        self,
        encoder: impl Fn() -> E + Sync,
        consumer: &mut dyn Consume<E::Note>,
    ) -> Result<Summary, Error> {
        let Self { image, threads, hashes, task, progress } = self;
        progress.start(task, Some(image.len()));
        let units = touched(image);
        let total: u64 = units.iter().map(|range| range.end - range.start).sum();
        let line = Line::new(units, total, 2 * threads as u64 + 1);
        let summary = thread::scope(|scope| {
            // Whatever ends this closure, an error or a panic, the workers must not wait for ever.
            let _stop = StopAtEnd(&line);
            for _ in 0..threads.min(usize::try_from(total).unwrap_or(threads)) {
                scope.spawn(|| {
                    let _stop = StopAtPanic(&line);
                    work(&line, image, encoder());
                });
            }
            if !hashes.wanted() {
                let units = consume(&line, image.len(), total, task, progress, None, consumer)?;
                return Ok(Summary { units, hashes });
            }
            let (feed, pieces) = mpsc::sync_channel(4);
            let hash = scope.spawn(|| hash_pieces(hashes, pieces, &line));
            let units = consume(&line, image.len(), total, task, progress, Some(&feed), consumer)?;
            // Without its feed the hash ends.
            drop(feed);
            let hashes = hash.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            Ok::<_, Error>(Summary { units, hashes })
        })?;
        progress.finish(task);
        Ok(summary)
    }
}

/// What the hashes of the raw image are made of.
enum Piece {
    Zeros(u64),
    Bytes(Vec<u8>),
}

fn hash_pieces<N>(mut hashes: Hashes, pieces: mpsc::Receiver<Piece>, line: &Line<N>) -> Hashes {
    for piece in pieces {
        match piece {
            Piece::Bytes(bytes) => {
                hashes.update(&bytes);
                line.lock().spare.push(bytes);
            }
            Piece::Zeros(count) => hashes.update_zeros(count, || line.lock().stop),
        }
    }
    hashes
}

/// A unit on its way from a worker to the consumer.
struct Done<N> {
    range: Range<u64>,
    raw: Vec<u8>,
    /// `None`: all zero.
    encoded: Option<(u64, Vec<u8>, N)>,
}

/// The units in work, in order, and buffers that are free again.
struct Line<N> {
    state: Mutex<State<N>>,
    /// More may be claimed.
    room: Condvar,
    /// A unit is ready.
    ready: Condvar,
    units: Vec<Range<u64>>,
    total: u64,
    window: u64,
}

struct State<N> {
    /// Units given to workers, and the place of the next one in `units`.
    claimed: u64,
    next: (usize, u64),
    /// Units that the consumer has taken.
    taken: u64,
    done: BTreeMap<u64, Result<Done<N>, Error>>,
    /// Buffers of units, which keep their length so that they need not be cleared, and of encoded units.
    spare: Vec<Vec<u8>>,
    spare_encoded: Vec<Vec<u8>>,
    stop: bool,
}

struct StopAtEnd<'a, N>(&'a Line<N>);

impl<N> Drop for StopAtEnd<'_, N> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

struct StopAtPanic<'a, N>(&'a Line<N>);

impl<N> Drop for StopAtPanic<'_, N> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.stop();
        }
    }
}

impl<N> Line<N> {
    fn new(units: Vec<Range<u64>>, total: u64, window: u64) -> Self {
        let state = State {
            claimed: 0,
            next: (0, 0),
            taken: 0,
            done: BTreeMap::new(),
            spare: Vec::new(),
            spare_encoded: Vec::new(),
            stop: false,
        };
        Self { state: Mutex::new(state), room: Condvar::new(), ready: Condvar::new(), units, total, window }
    }

    fn lock(&self) -> MutexGuard<'_, State<N>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stop(&self) {
        self.lock().stop = true;
        self.room.notify_all();
        self.ready.notify_all();
    }

    /// The next unit to work on, with two buffers; `None` when there is no more.
    fn claim(&self) -> Option<(u64, u64, Vec<u8>, Vec<u8>)> {
        let mut state = self.lock();
        loop {
            if state.stop || state.claimed == self.total {
                return None;
            }
            if state.claimed < state.taken + self.window {
                break;
            }
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let (index, inside) = state.next;
        let range = self.units.get(index)?;
        let unit = range.start + inside;
        state.next = if unit + 1 == range.end { (index + 1, 0) } else { (index, inside + 1) };
        let number = state.claimed;
        state.claimed += 1;
        let raw = state.spare.pop().unwrap_or_default();
        let encoded = state.spare_encoded.pop().unwrap_or_default();
        Some((number, unit, raw, encoded))
    }

    fn put(&self, number: u64, done: Result<Done<N>, Error>) {
        self.lock().done.insert(number, done);
        self.ready.notify_all();
    }

    /// Waits for one unit. An error if its worker gave up.
    fn take(&self, number: u64) -> Result<Done<N>, Error> {
        let mut state = self.lock();
        loop {
            if let Some(done) = state.done.remove(&number) {
                state.taken = number + 1;
                self.room.notify_all();
                return done;
            }
            if state.stop {
                return Err(ErrorKind::Cancelled.into());
            }
            state = self.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

fn work<E: Encode>(line: &Line<E::Note>, image: &Extents, mut encoder: E) {
    while let Some((number, unit, mut raw, mut encoded)) = line.claim() {
        let range = unit * UNIT..image.len().min((unit + 1) * UNIT);
        raw.resize((range.end - range.start) as usize, 0);
        encoded.clear();
        let done = match image.read_exact_at(range.start, &mut raw) {
            Err(error) => Err(Error::io(format!("reading bytes {}..{} of the image", range.start, range.end), error)),
            Ok(()) if is_zero(&raw) => {
                line.lock().spare_encoded.push(encoded);
                Ok(Done { range, raw, encoded: None })
            }
            Ok(()) => {
                let crc64 = checksum::crc64(&raw);
                let note = encoder.encode(&Unit { range: range.clone(), raw: &raw, crc64 }, &mut encoded);
                Ok(Done { range, raw, encoded: Some((crc64, encoded, note)) })
            }
        };
        line.put(number, done);
    }
}

fn consume<N>(
    line: &Line<N>,
    size: u64,
    total: u64,
    task: &str,
    progress: &dyn Progress,
    feed: Option<&mpsc::SyncSender<Piece>>,
    consumer: &mut dyn Consume<N>,
) -> Result<Vec<UnitSum>, Error> {
    let mut sums = Vec::new();
    let mut position = 0;
    let send = |piece| {
        if let Some(feed) = feed {
            // It fails only if the hash thread panicked, which its join reports.
            let _ = feed.send(piece);
        }
    };
    let zeros = |range: Range<u64>, consumer: &mut dyn Consume<N>, sums: &mut Vec<UnitSum>| {
        if !range.is_empty() {
            let count = range.end - range.start;
            send(Piece::Zeros(count));
            consumer.zeros(range.clone())?;
            progress.advance(task, count);
            sums.push(UnitSum { range, crc64: checksum::crc64_zeros(count), zero: true });
        }
        Ok::<(), Error>(())
    };
    for number in 0..total {
        if progress.cancelled() {
            return Err(ErrorKind::Cancelled.into());
        }
        let Done { range, raw, encoded } = line.take(number)?;
        let Some((crc64, encoded, note)) = encoded else {
            line.lock().spare.push(raw);
            continue;
        };
        zeros(position..range.start, consumer, &mut sums)?;
        position = range.end;
        consumer.unit(&Unit { range: range.clone(), raw: &raw, crc64 }, &encoded, note)?;
        progress.advance(task, range.end - range.start);
        sums.push(UnitSum { range, crc64, zero: false });
        line.lock().spare_encoded.push(encoded);
        if feed.is_some() {
            send(Piece::Bytes(raw));
        } else {
            line.lock().spare.push(raw);
        }
    }
    if progress.cancelled() {
        return Err(ErrorKind::Cancelled.into());
    }
    zeros(position..size, consumer, &mut sums)?;
    Ok(sums)
}
