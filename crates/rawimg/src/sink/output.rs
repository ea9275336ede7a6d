//! The output and its SHA-256, computed on a thread of its own: beside an encoder that stores most of what it gets,
//! the hash would be half of the writing thread's work.

use std::{io::Write, sync::mpsc, thread};

use imgcore::{Digest, Hasher};

use crate::Error;

/// Size of the pieces that are written and hashed.
const PIECE: usize = 256 << 10;
/// Pieces on their way to the hash.
const PIECES: usize = 6;

/// Takes the bytes of the file, in order.
pub(super) struct Output<'a> {
    out: &'a mut dyn Write,
    piece: Vec<u8>,
    size: u64,
    feed: mpsc::SyncSender<Vec<u8>>,
    spare: mpsc::Receiver<Vec<u8>>,
}

impl Output<'_> {
    /// Appends bytes.
    pub(super) fn write(&mut self, mut bytes: &[u8]) -> Result<(), Error> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(PIECE - self.piece.len()));
            self.piece.extend_from_slice(now);
            bytes = later;
            if self.piece.len() == PIECE {
                self.pass_on()?;
            }
        }
        Ok(())
    }

    fn pass_on(&mut self) -> Result<(), Error> {
        write_all(self.out, &self.piece)?;
        self.size += self.piece.len() as u64;
        let next = self.spare.try_recv().unwrap_or_else(|_| Vec::with_capacity(PIECE));
        // It fails only if the hash thread panicked, which its join reports.
        let _ = self.feed.send(std::mem::replace(&mut self.piece, next));
        self.piece.clear();
        Ok(())
    }
}

/// Runs `write` with an output over `out`, and gives back the size and the digest of what it wrote, with its result.
pub(super) fn hashed<T>(
    out: &mut dyn Write,
    write: impl FnOnce(&mut Output<'_>) -> Result<T, Error>,
) -> Result<(T, u64, Digest), Error> {
    thread::scope(|scope| {
        let (feed, pieces) = mpsc::sync_channel::<Vec<u8>>(PIECES);
        let (back, spare) = mpsc::channel();
        let hash = scope.spawn(move || {
            let mut hasher = Hasher::new();
            for piece in pieces {
                hasher.update(&piece);
                let _ = back.send(piece);
            }
            hasher.finish()
        });
        let mut output = Output { out, piece: Vec::with_capacity(PIECE), size: 0, feed, spare };
        let result = write(&mut output)?;
        output.pass_on()?;
        flush(output.out)?;
        let size = output.size;
        // Without its feed the hash ends.
        drop(output);
        Ok((result, size, hash.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))))
    })
}

/// Writes to the caller's output.
pub(super) fn write_all(out: &mut (impl Write + ?Sized), bytes: &[u8]) -> Result<(), Error> {
    out.write_all(bytes).map_err(|error| Error::io("writing the image file", error))
}

/// Flushes the caller's output.
pub(super) fn flush(out: &mut (impl Write + ?Sized)) -> Result<(), Error> {
    out.flush().map_err(|error| Error::io("writing the image file", error))
}
