//! Large gzip streams: cells that are packed each for itself, written in their order.

use std::{
    collections::VecDeque,
    io::{self, Write},
    num::NonZeroUsize,
    sync::{
        Arc, Mutex,
        mpsc::{self, Receiver, SyncSender},
    },
    thread::JoinHandle,
};

use flate2::{Compress, Compression, Crc, FlushCompress};

use super::{SMALL, probe};

/// Of cells. Level 1 is twice as fast and 20 % larger; what higher levels save, their time is not worth: see the numbers of
/// the module above.
const LEVEL: u32 = 2;
const CELL: usize = SMALL;
/// No name, no time, no hint of a level, operating system unknown.
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// An empty stored block that says it is the last.
const LAST: [u8; 5] = [1, 0, 0, 0xff, 0xff];
/// Most bytes in a stored block.
const STORED: usize = 65_535;
/// Each worker holds a cell twice: more would cost memory and find no data to pack.
const WORKERS: usize = 8;

/// A cell on its way: data in, packed bytes out. Both buffers are used again.
#[derive(Default)]
struct Job {
    data: Vec<u8>,
    packed: Vec<u8>,
}

pub(crate) struct Cells<W: Write> {
    out: W,
    begun: bool,
    cell: Vec<u8>,
    crc: Crc,
    engine: Engine,
}

enum Engine {
    Here { packer: Box<Packer>, packed: Vec<u8> },
    Beside(Pool),
}

impl<W: Write> Cells<W> {
    pub(super) fn new(out: W, workers: NonZeroUsize) -> Self {
        let engine = match workers.get() {
            1 => Engine::Here { packer: Box::default(), packed: Vec::new() },
            workers => Engine::Beside(Pool::new(workers.min(WORKERS))),
        };
        Self { out, begun: false, cell: Vec::with_capacity(CELL), crc: Crc::new(), engine }
    }

    pub(super) fn finish(mut self) -> io::Result<W> {
        if !self.cell.is_empty() {
            self.pack()?;
        }
        self.begin()?;
        if let Engine::Beside(pool) = self.engine {
            pool.finish(&mut self.out)?;
        }
        self.out.write_all(&LAST)?;
        self.out.write_all(&self.crc.sum().to_le_bytes())?;
        self.out.write_all(&self.crc.amount().to_le_bytes())?;
        Ok(self.out)
    }

    fn begin(&mut self) -> io::Result<()> {
        if !std::mem::replace(&mut self.begun, true) {
            self.out.write_all(&HEADER)?;
        }
        Ok(())
    }

    fn pack(&mut self) -> io::Result<()> {
        self.begin()?;
        self.crc.update(&self.cell);
        match &mut self.engine {
            Engine::Here { packer, packed } => {
                packed.clear();
                packer.pack(&self.cell, packed)?;
                self.cell.clear();
                self.out.write_all(packed)
            }
            Engine::Beside(pool) => pool.take(&mut self.cell, &mut self.out),
        }
    }
}

impl<W: Write> Write for Cells<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(CELL.saturating_sub(self.cell.len()));
        let (head, _) = bytes.split_at(taken);
        self.cell.extend_from_slice(head);
        if self.cell.len() == CELL {
            self.pack()?;
        }
        Ok(taken)
    }

    /// Does nothing: a flush in the middle would make a short cell.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Packs one cell after the other; nothing of one is left for the next.
struct Packer(Compress);

impl Default for Packer {
    fn default() -> Self {
        Self(Compress::new(Compression::new(LEVEL), false))
    }
}

impl Packer {
    /// Appends the deflate blocks of a cell, which end at a byte border.
    fn pack(&mut self, cell: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        let mut rest = cell;
        while !rest.is_empty() {
            let (run, shrinks) = probe::run(rest);
            let (run, behind) = rest.split_at(run);
            let start = out.len();
            if shrinks {
                self.deflate(run, out)?;
            }
            if !shrinks || out.len() - start >= run.len() {
                out.truncate(start);
                for part in run.chunks(STORED) {
                    let length = u16::try_from(part.len()).map_err(io::Error::other)?;
                    out.push(0);
                    out.extend_from_slice(&length.to_le_bytes());
                    out.extend_from_slice(&(!length).to_le_bytes());
                    out.extend_from_slice(part);
                }
            }
            rest = behind;
        }
        Ok(())
    }

    fn deflate(&mut self, run: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        self.0.reset();
        let mut rest = run;
        loop {
            // Far above what deflate needs at worst: one call is all that the bytes depend on.
            out.reserve(rest.len() + rest.len() / 8 + 1024);
            let before = self.0.total_in();
            self.0.compress_vec(rest, out, FlushCompress::Sync).map_err(io::Error::other)?;
            let taken = usize::try_from(self.0.total_in() - before).map_err(io::Error::other)?;
            rest = rest.get(taken..).unwrap_or_default();
            if rest.is_empty() && out.len() < out.capacity() {
                return Ok(());
            }
        }
    }
}

/// Threads that pack. Cells are given out and come back in one order.
struct Pool {
    jobs: Option<SyncSender<(Job, SyncSender<io::Result<Job>>)>>,
    /// Of cells that are under way, the oldest first.
    answers: VecDeque<Receiver<io::Result<Job>>>,
    threads: Vec<JoinHandle<()>>,
    spare: Vec<Job>,
    workers: usize,
}

impl Pool {
    fn new(workers: usize) -> Self {
        let (jobs, taken) = mpsc::sync_channel::<(Job, SyncSender<io::Result<Job>>)>(workers);
        let taken = Arc::new(Mutex::new(taken));
        let threads = (0..workers).map(|_| {
            let taken = Arc::clone(&taken);
            std::thread::spawn(move || {
                let mut packer = Packer::default();
                loop {
                    let next = taken.lock().ok().and_then(|jobs| jobs.recv().ok());
                    let Some((mut job, answer)) = next else { return };
                    job.packed.clear();
                    let packed = packer.pack(&job.data, &mut job.packed).map(|()| job);
                    // Nobody waits any more when writing has failed.
                    let _ = answer.send(packed);
                }
            })
        });
        Self { threads: threads.collect(), jobs: Some(jobs), answers: VecDeque::new(), spare: Vec::new(), workers }
    }

    /// Takes the bytes of a cell and leaves an empty one; writes what is ready when enough are under way.
    fn take(&mut self, cell: &mut Vec<u8>, out: &mut dyn Write) -> io::Result<()> {
        if self.answers.len() > self.workers {
            self.write_one(out)?;
        }
        let mut job = self.spare.pop().unwrap_or_default();
        std::mem::swap(&mut job.data, cell);
        cell.clear();
        cell.reserve_exact(CELL);
        let (answer, answered) = mpsc::sync_channel(1);
        self.answers.push_back(answered);
        self.jobs.as_ref().and_then(|jobs| jobs.send((job, answer)).ok()).ok_or_else(gone)
    }

    fn write_one(&mut self, out: &mut dyn Write) -> io::Result<()> {
        if let Some(answer) = self.answers.pop_front() {
            let job = answer.recv().map_err(|_| gone())??;
            out.write_all(&job.packed)?;
            self.spare.push(job);
        }
        Ok(())
    }

    fn finish(mut self, out: &mut dyn Write) -> io::Result<()> {
        while !self.answers.is_empty() {
            self.write_one(out)?;
        }
        Ok(())
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        // Without a sender the threads end.
        self.jobs = None;
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn gone() -> io::Error {
    io::Error::other("a thread that packs has ended")
}
