//! A request body that is read as the network takes it.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll, ready},
    time::{Duration, Instant},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use imgcore::{Blob, ReadAt as _};
use tokio::sync::mpsc;

use crate::Body;

/// So much is read of a blob at once; three such pieces are in memory.
const PIECE: usize = 256 * 1024;

/// So much is given to the network at once. hyper takes 16 frames before it writes, and time without a byte is measured
/// between frames: small ones keep a slow line from looking like a dead one.
const FRAME: usize = 8 * 1024;

/// After so many bytes the worker looks for an answer. Written at full speed, a refusal would not be read before the
/// server, which sent it and hung up, makes the next write fail.
const LOOK: usize = 128 * 1024;

/// What the two sides of an upload know of each other.
#[derive(Debug)]
pub(super) struct Watch(Mutex<State>);

#[derive(Debug)]
struct State {
    /// When the network last took a frame, or last had to wait for the blob.
    moved: Instant,
    /// When it took the last one.
    finished: Option<Instant>,
    /// The network waits for the blob.
    hungry: bool,
    /// Bytes taken since the present window of time began, and how much of it was spent waiting for the network.
    taken: u64,
    waited: Duration,
    /// Why the blob could not be read.
    failure: Option<(String, io::Error)>,
}

impl Watch {
    pub(super) fn new() -> Self {
        Self(Mutex::new(State {
            moved: Instant::now(),
            finished: None,
            hungry: false,
            taken: 0,
            waited: Duration::ZERO,
            failure: None,
        }))
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// How long ago the last frame was taken.
    pub(super) fn finished(&self) -> Option<Duration> {
        self.with(|state| state.finished.map(|finished| finished.elapsed()))
    }

    /// How long the network has taken nothing, or too little of what is there, if that is too long.
    pub(super) fn too_slow(&self, idle: Duration, slowest: u64) -> Option<Duration> {
        self.with(|state| {
            let stalled = if state.hungry { Duration::ZERO } else { state.moved.elapsed() };
            if stalled > idle {
                return Some(stalled);
            }
            if state.waited < idle {
                return None;
            }
            let (taken, waited) = (std::mem::take(&mut state.taken), std::mem::take(&mut state.waited));
            (u128::from(taken) < u128::from(slowest) * waited.as_millis() / 1000).then_some(waited)
        })
    }

    pub(super) fn failure(&self) -> Option<(String, io::Error)> {
        self.with(|state| state.failure.take())
    }

    pub(super) fn done(&self) {
        self.with(|state| state.finished = Some(Instant::now()));
    }
}

/// The body.
pub(super) struct Upload {
    size: u64,
    left: u64,
    piece: Bytes,
    more: Option<mpsc::Receiver<Bytes>>,
    /// Bytes since the last look.
    unlooked: usize,
    looking: Option<Look>,
    watch: Arc<Watch>,
}

type Look = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

impl Upload {
    /// Must be called on the runtime: a blob is read by one of its threads for blocking work.
    pub(super) fn new(body: Body, watch: &Arc<Watch>) -> Self {
        let watch = Arc::clone(watch);
        let (size, piece, more) = match body {
            Body::Empty => (0, Bytes::new(), None),
            Body::Bytes(bytes) => (bytes.len() as u64, Bytes::from(bytes), None),
            Body::Blob(blob) => {
                let (to, from) = mpsc::channel(1);
                let (size, reader) = (blob.size(), Arc::clone(&watch));
                tokio::task::spawn_blocking(move || read(&blob, &to, &reader));
                (size, Bytes::new(), Some(from))
            }
        };
        Self { size, left: size, piece, more, unlooked: 0, looking: None, watch }
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }
}

/// Reads a blob piece by piece, each when the one before was taken.
fn read(blob: &Blob, to: &mpsc::Sender<Bytes>, watch: &Watch) {
    let mut offset = 0;
    while offset < blob.size() {
        let length = usize::try_from(blob.size() - offset).unwrap_or(PIECE).min(PIECE);
        let mut piece = vec![0; length];
        if let Err(error) = blob.read_exact_at(offset, &mut piece) {
            // Dropping the sender ends the body too early, which ends the request.
            watch.with(|state| state.failure = Some((format!("reading {}", blob.label()), error)));
            return;
        }
        if to.blocking_send(Bytes::from(piece)).is_err() {
            return;
        }
        offset += length as u64;
    }
}

impl HttpBody for Upload {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let this = self.get_mut();
        if this.left == 0 {
            return Poll::Ready(None);
        }
        if this.unlooked >= LOOK {
            this.unlooked = 0;
            this.looking = Some(Box::pin(tokio::task::yield_now()));
        }
        if let Some(looking) = &mut this.looking {
            ready!(looking.as_mut().poll(context));
            this.looking = None;
        }
        if this.piece.is_empty() {
            let next = this.more.as_mut().map_or(Poll::Ready(None), |more| more.poll_recv(context));
            match next {
                Poll::Ready(Some(piece)) => this.piece = piece,
                Poll::Ready(None) => return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into()))),
                Poll::Pending => {
                    this.watch.with(|state| state.hungry = true);
                    return Poll::Pending;
                }
            }
        }
        let length = this.piece.len().min(FRAME);
        let frame = this.piece.split_to(length);
        this.left = this.left.saturating_sub(length as u64);
        this.unlooked += length;
        this.watch.with(|state| {
            let now = Instant::now();
            if !state.hungry {
                state.waited += now.duration_since(state.moved);
            }
            state.taken += length as u64;
            (state.moved, state.hungry) = (now, false);
            if this.left == 0 {
                state.finished = Some(state.moved);
            }
        });
        Poll::Ready(Some(Ok(Frame::data(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
