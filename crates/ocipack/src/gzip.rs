//! gzip whose bytes depend on the data alone: not on the sizes of writes, not on the count of threads.
//!
//! Up to [`SMALL`] bytes are one run of level 9. More are cut into cells of that size, each packed for itself at level 2
//! and closed at a byte border, so that cells can be packed side by side; what does not shrink is stored. Measured on
//! 33 MB of a kernel with its initramfs, on one core: level 9 takes 1.4 s for 13.3 MB, level 6 0.48 s for 13.8 MB, level 2
//! 0.29 s for 14.4 MB; data that is packed already runs through at the speed of its hashes instead of 50 MB/s.

use std::{
    io::{self, Write},
    num::NonZeroUsize,
};

use flate2::{Compression, write::GzEncoder};

mod cells;
mod probe;

use cells::Cells;

/// zlib-rs gives different bytes for different write sizes at some levels (`spec/libraries.md` §4.4), so the encoder
/// sees exactly this many bytes at a time, whatever the source wrote.
const BLOCK: usize = 64 * 1024;

/// Level 9 was stable over write sizes in every backend that was measured.
const LEVEL: u32 = 9;

/// Bytes that are packed in one run, and the size of a cell when there are more.
const SMALL: usize = 1 << 20;

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

/// A gzip encoder: no name, no time, operating system 255.
pub(crate) enum Gzip<W: Write> {
    /// One run, fed in fixed blocks.
    Small(Box<Rechunk<GzEncoder<W>>>),
    /// Cell by cell.
    Large(Box<Cells<W>>),
}

impl<W: Write> Gzip<W> {
    /// An encoder for exactly `size` bytes. With more than one worker, threads pack and the caller writes.
    pub(crate) fn new(inner: W, size: u64, workers: NonZeroUsize) -> Self {
        if size <= SMALL as u64 {
            Self::Small(Box::new(Rechunk::new(GzEncoder::new(inner, Compression::new(LEVEL)))))
        } else {
            Self::Large(Box::new(Cells::new(inner, workers)))
        }
    }

    pub(crate) fn finish(self) -> io::Result<W> {
        match self {
            Self::Small(rechunk) => rechunk.finish()?.finish(),
            Self::Large(cells) => cells.finish(),
        }
    }
}

impl<W: Write> Write for Gzip<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Small(rechunk) => rechunk.write(bytes),
            Self::Large(cells) => cells.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use imgcore::Digest;

    use super::*;

    const ONE: NonZeroUsize = NonZeroUsize::MIN;

    fn noise(count: usize) -> Vec<u8> {
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..count).map(|_| next()).collect()
    }

    /// Data that shrinks in parts: text, runs, noise.
    fn sample(count: u32) -> Vec<u8> {
        let mut state = 1_u32;
        (0..count)
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

    fn packed(data: &[u8], size: usize, workers: usize) -> Vec<u8> {
        let workers = NonZeroUsize::new(workers).expect("not zero");
        let mut gzip = Gzip::new(Vec::new(), data.len() as u64, workers);
        for part in data.chunks(size) {
            gzip.write_all(part).expect("memory");
            gzip.flush().expect("memory");
        }
        gzip.finish().expect("memory")
    }

    fn unpacked(gz: &[u8]) -> Vec<u8> {
        let mut data = Vec::new();
        // One member: readers that know no more see everything.
        let mut decoder = flate2::bufread::GzDecoder::new(gz);
        decoder.read_to_end(&mut data).expect("gzip");
        assert!(decoder.into_inner().is_empty());
        data
    }

    #[test]
    fn the_bytes_do_not_depend_on_the_size_of_writes() {
        let data = sample(300_000);
        let digests: Vec<_> = [1, 7, 512, 997, 4096, 65_535, 65_536, 65_537, 1 << 20]
            .iter()
            .map(|size| Digest::of(&packed(&data, *size, 1)))
            .collect();
        assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
        // The backend and its version are part of this digest: it changes with `Cargo.lock`, never between machines.
        assert_eq!(digests[0].to_string(), "sha256:17c51c83ea3f0320acec2ffdf1612463681c65435fc2999fcfa24b4893e6a6e3");
    }

    #[test]
    fn large_data_is_the_same_for_every_size_of_writes_and_count_of_threads() {
        let data = [sample(2_500_000), noise(3 << 20), sample(700_001)].concat();
        let first = packed(&data, 65_536, 1);
        assert_eq!(unpacked(&first), data);
        for (size, workers) in [(1, 1), (997, 1), (1 << 20, 1), (5 << 20, 1), (65_536, 2), (997, 3), (1 << 22, 100)] {
            assert!(packed(&data, size, workers) == first, "{size} {workers}");
        }
        assert_eq!(
            Digest::of(&first).to_string(),
            "sha256:f7b8d44765453d3405c43a89367250a4b49f9be8904c6892f623c8843840ec9f"
        );
    }

    #[test]
    fn every_length_around_the_borders_comes_back() {
        let data = [sample(1 << 20), noise(1 << 20), sample(300_000)].concat();
        let small = 1 << 20;
        for length in [0, 1, small - 1, small, small + 1, small + 131_072, 2 * small - 1, 2 * small, 2 * small + 1] {
            for workers in [1, 2] {
                assert!(unpacked(&packed(&data[..length], 4096, workers)) == data[..length], "{length} {workers}");
            }
        }
    }

    #[test]
    fn what_does_not_shrink_hardly_grows_and_what_repeats_itself_shrinks() {
        let random = noise(4 << 20);
        let stored = packed(&random, 65_536, 1).len();
        assert!(stored < random.len() + random.len() / 5000, "{stored}");
        let repeated = random[..20_000].repeat(200);
        assert!(packed(&repeated, 65_536, 1).len() < repeated.len() / 20);
        let zeros = vec![0; 8 << 20];
        assert!(packed(&zeros, 65_536, 1).len() < zeros.len() / 200);
    }

    #[test]
    fn an_output_that_fails_says_so() {
        struct Full(usize);
        impl Write for Full {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0 = self.0.checked_sub(bytes.len()).ok_or(io::ErrorKind::StorageFull)?;
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        for workers in [ONE, NonZeroUsize::new(3).expect("not zero")] {
            let data = noise(6 << 20);
            let mut gzip = Gzip::new(Full(3 << 20), data.len() as u64, workers);
            let wrote = gzip.write_all(&data).and_then(|()| gzip.finish().map(drop));
            assert_eq!(wrote.expect_err("full").kind(), io::ErrorKind::StorageFull);
        }
    }

    #[test]
    fn the_header_says_nothing_about_time_and_place() {
        assert_eq!(packed(&[], 1, 1)[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255]);
        assert_eq!(packed(&vec![0; 2 << 20], 4096, 1)[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
    }
}
