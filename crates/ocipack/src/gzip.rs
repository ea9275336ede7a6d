//! gzip whose bytes depend on the data alone.

use std::io::{self, Write};

use flate2::{Compression, write::GzEncoder};

/// zlib-rs gives different bytes for different write sizes at some levels (`spec/libraries.md` §4.4), so the encoder
/// sees exactly this many bytes at a time, whatever the source wrote.
const BLOCK: usize = 64 * 1024;

/// Level 9 was stable over write sizes in every backend that was measured.
const LEVEL: u32 = 9;

/// Collects bytes and passes them on in blocks of exactly [`BLOCK`] bytes; only the last may be shorter.
///
/// `BufWriter` will not do: it passes large writes through as they come.
#[derive(Debug)]
pub(crate) struct Rechunk<W> {
    inner: W,
    block: Vec<u8>,
}

impl<W: Write> Rechunk<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self { inner, block: Vec::with_capacity(BLOCK) }
    }

    /// Writes the last block and gives the inner writer back.
    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.inner.write_all(&self.block)?;
        Ok(self.inner)
    }
}

impl<W: Write> Write for Rechunk<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(BLOCK.saturating_sub(self.block.len()));
        let (head, _) = bytes.split_at(taken);
        self.block.extend_from_slice(head);
        if self.block.len() == BLOCK {
            self.inner.write_all(&self.block)?;
            self.block.clear();
        }
        Ok(taken)
    }

    /// Does nothing: a flush in the middle would make a short block.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A gzip encoder: no name, no time, operating system 255, fed in fixed blocks.
#[derive(Debug)]
pub(crate) struct Gzip<W: Write>(Rechunk<GzEncoder<W>>);

impl<W: Write> Gzip<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self(Rechunk::new(GzEncoder::new(inner, Compression::new(LEVEL))))
    }

    pub(crate) fn finish(self) -> io::Result<W> {
        self.0.finish()?.finish()
    }
}

impl<W: Write> Write for Gzip<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use imgcore::Digest;

    use super::*;

    /// Data that shrinks in parts: text, runs, noise.
    fn sample() -> Vec<u8> {
        let mut state = 1_u32;
        (0..300_000_u32)
            .map(|at| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let noise = (state >> 24) as u8;
                match at / 10_000 % 3 {
                    0 => b"deterministic "[(at % 14) as usize],
                    1 => 0,
                    _ => noise,
                }
            })
            .collect()
    }

    #[test]
    fn the_bytes_do_not_depend_on_the_size_of_writes() {
        let data = sample();
        let digests: Vec<_> = [1, 7, 512, 997, 4096, 65_535, 65_536, 65_537, 1 << 20]
            .iter()
            .map(|size| {
                let mut gzip = Gzip::new(Vec::new());
                for part in data.chunks(*size) {
                    gzip.write_all(part).expect("memory");
                    gzip.flush().expect("memory");
                }
                Digest::of(&gzip.finish().expect("memory"))
            })
            .collect();
        assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
        // The backend and its version are part of this digest: it changes with `Cargo.lock`, never between machines.
        assert_eq!(digests[0].to_string(), "sha256:17c51c83ea3f0320acec2ffdf1612463681c65435fc2999fcfa24b4893e6a6e3");
    }

    #[test]
    fn the_header_says_nothing_about_time_and_place() {
        let gz = Gzip::new(Vec::new()).finish().expect("memory");
        assert_eq!(gz[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255]);
    }
}
