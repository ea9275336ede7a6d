//! The body of an answer, between the worker that receives it and the thread that reads it.

use std::{
    io::{self, Read},
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use bytes::{Buf as _, Bytes};
use tokio::{sync::Semaphore, task::AbortHandle};
use url::Url;

use super::{Inner, classify};
use crate::{Cancel, Error, ErrorKind, host, pace::SLICE};

/// Pieces that wait to be read. hyper gives at most about 400 KiB in one.
const WAITING: usize = 4;

type Piece = Result<Option<Bytes>, Error>;

/// How slow a server may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Speed {
    pub(super) idle: Duration,
    pub(super) slowest: u64,
}

/// The two ends of a body.
pub(super) fn pipe() -> (Incoming, Ends) {
    let (to, from) = mpsc::channel();
    let room = Arc::new(Semaphore::new(WAITING));
    (Incoming { to, room: Arc::clone(&room) }, Ends { from, room })
}

/// The worker's end.
pub(super) struct Incoming {
    to: mpsc::Sender<Piece>,
    room: Arc<Semaphore>,
}

impl Incoming {
    /// Receives to the end, no faster than the other end reads.
    pub(super) async fn pump(self, mut answer: reqwest::Response, url: &Url, speed: Speed) {
        let mut guard = Guard::default();
        loop {
            let Ok(permit) = self.room.acquire().await else { return };
            permit.forget();
            let start = Instant::now();
            let piece = match tokio::time::timeout(guard.left(speed), answer.chunk()).await {
                Err(_) => Err(ErrorKind::Timeout { host: host(url), waited: speed.idle }.into()),
                Ok(Err(error)) => Err(classify::broken(&error, &host(url))),
                Ok(Ok(None)) => Ok(None),
                Ok(Ok(Some(bytes))) => match guard.slow(start.elapsed(), bytes.len(), speed) {
                    Some(waited) => Err(ErrorKind::Timeout { host: host(url), waited }.into()),
                    None => Ok(Some(bytes)),
                },
            };
            let last = !matches!(piece, Ok(Some(_)));
            if self.to.send(piece).is_err() || last {
                return;
            }
        }
    }
}

/// Counts bytes over the time that was spent waiting for them.
#[derive(Debug, Default)]
struct Guard {
    waited: Duration,
    bytes: u64,
}

impl Guard {
    /// How long the next piece may take: a window that is not yet filled ends on time.
    fn left(&self, speed: Speed) -> Duration {
        let least = u128::from(speed.slowest) * speed.idle.as_millis() / 1000;
        if u128::from(self.bytes) < least { speed.idle.saturating_sub(self.waited) } else { speed.idle }
    }

    /// How long it was too slow, if it was.
    fn slow(&mut self, waited: Duration, bytes: usize, speed: Speed) -> Option<Duration> {
        self.waited += waited;
        self.bytes = self.bytes.saturating_add(bytes as u64);
        if self.waited < speed.idle {
            return None;
        }
        let window = std::mem::take(self);
        let least = u128::from(speed.slowest) * window.waited.as_millis() / 1000;
        (u128::from(window.bytes) < least).then_some(window.waited)
    }
}

/// The reader's end before it knows its task.
pub(super) struct Ends {
    from: mpsc::Receiver<Piece>,
    room: Arc<Semaphore>,
}

impl Ends {
    pub(super) fn until_dropped(self, task: AbortHandle, cancel: Cancel) -> Outlet {
        Outlet { ends: self, task, cancel, piece: Bytes::new(), ended: false, engine: None }
    }
}

/// The reader's end. Dropping it ends the transfer.
pub(super) struct Outlet {
    ends: Ends,
    task: AbortHandle,
    cancel: Cancel,
    piece: Bytes,
    ended: bool,
    engine: Option<Arc<Inner>>,
}

impl Outlet {
    /// The body outlives the engine's last handle.
    pub(super) fn keep(&mut self, engine: Arc<Inner>) {
        self.engine = Some(engine);
    }
}

impl Read for Outlet {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while self.piece.is_empty() && !self.ended {
            if (self.cancel)() {
                return Err(io::Error::other(Error::from(ErrorKind::Cancelled)));
            }
            match self.ends.from.recv_timeout(SLICE) {
                Ok(Ok(Some(piece))) => {
                    self.ends.room.add_permits(1);
                    self.piece = piece;
                }
                Ok(Ok(None)) => self.ended = true,
                Ok(Err(error)) => {
                    self.ended = true;
                    return Err(io::Error::other(error));
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    self.ended = true;
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the worker ended"));
                }
            }
        }
        let count = self.piece.len().min(buffer.len());
        self.piece.split_to(count).copy_to_slice(buffer.get_mut(..count).unwrap_or_default());
        Ok(count)
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_of_water_are_too_slow_and_a_late_flood_is_not() {
        let speed = Speed { idle: Duration::from_secs(30), slowest: 1024 };
        let second = Duration::from_secs(1);
        let mut guard = Guard::default();
        let slow = (0..60).find_map(|_| guard.slow(second, 1000, speed));
        assert_eq!(slow, Some(Duration::from_secs(30)));
        let mut guard = Guard::default();
        assert!((0..600).all(|_| guard.slow(second, 1025, speed).is_none()));
        let mut guard = Guard::default();
        assert!(guard.slow(second * 29, 0, speed).is_none());
        assert_eq!(guard.left(speed), second);
        assert!(guard.slow(second, 100_000, speed).is_none());
    }
}
