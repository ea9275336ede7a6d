//! Which 64 KiB cells of a unit are worth an encoder's time.
//!
//! A cell is zero, or stored, or compressed. It is compressed if its bytes are unevenly distributed, or if it repeats
//! itself; neither test is enough alone: entropy stores random data that occurs twice, a match probe stores base64
//! and sound (`sinks.md` §3.1, with measurements). The probe measured there counts matches of five bytes; this one
//! counts what matches of four and more save, because words of 32 bits that recur in any order shrink by 40 %. The
//! numbers here shape the output: change them only together with the golden digests.

use std::ops::Range;

/// Size of a cell.
pub(super) const CELL: usize = 64 << 10;

/// What to do with a run of cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Only zeros.
    Zero,
    /// Does not shrink.
    Store,
    /// May shrink.
    Compress,
}

/// Whether all bytes are zero.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    // Without an exit inside, a block becomes a handful of vector instructions.
    let (blocks, rest) = bytes.as_chunks::<256>();
    blocks.iter().all(|block| block.iter().fold(0, |any, byte| any | byte) == 0) && rest.iter().all(|byte| *byte == 0)
}

/// Fixed point: 16 bits behind the point.
const ONE: u64 = 1 << 16;

/// log2 of `number` (not 0) in fixed point, by repeated squaring: integers only, so that no mathematical library of
/// any machine can move a cell over the threshold.
const fn log2(number: u32) -> u64 {
    let whole = number.ilog2();
    // The mantissa in 1 ≤ m < 2 with 31 bits behind the point.
    let mut mantissa = (number as u64) << (31 - whole);
    let mut result = whole as u64;
    let mut bits = 0;
    while bits < 16 {
        mantissa = (mantissa * mantissa) >> 31;
        result <<= 1;
        if mantissa >= 1 << 32 {
            result |= 1;
            mantissa >>= 1;
        }
        bits += 1;
    }
    result
}

/// log2 of the counts that occur when the bytes are nearly evenly distributed.
static LOG2: [u64; 256] = {
    let mut table = [0; 256];
    let mut number = 1;
    while number < 256 {
        table[number] = log2(number as u32);
        number += 1;
    }
    table
};

/// The threshold of the order-0 entropy, 7.9 bits a byte.
const ENTROPY_LIMIT: u64 = ONE * 79 / 10;
/// 255 / (2 ln 2): divided by the size of the sample, how much too low the entropy of a sample reads.
const ENTROPY_BIAS: u64 = 12_054_926;

/// Whether the bytes are so unevenly distributed that an entropy coder alone saves something.
fn uneven(cell: &[u8]) -> bool {
    // A quarter of the cell, in 256-byte pieces; four counters a value, so that equal neighbours do not wait for
    // each other.
    let mut counts = [[0_u32; 256]; 4];
    let mut sampled = 0_u64;
    for piece in cell.chunks(1024) {
        let piece = &piece[..piece.len().min(256)];
        sampled += piece.len() as u64;
        for (at, byte) in piece.iter().enumerate() {
            counts[at % 4][usize::from(*byte)] += 1;
        }
    }
    if sampled == 0 {
        return false;
    }
    let sum: u64 = (0..256)
        .map(|value| {
            let count = counts[0][value] + counts[1][value] + counts[2][value] + counts[3][value];
            u64::from(count) * LOG2.get(count as usize).copied().unwrap_or_else(|| log2(count))
        })
        .sum();
    let entropy = log2(sampled as u32) - sum / sampled + ENTROPY_BIAS / sampled;
    entropy <= ENTROPY_LIMIT
}

/// Looks for repetitions inside one cell, faster the longer there are none. Reusable.
pub(super) struct Probe {
    last: Vec<u16>,
}

/// log2 of the number of entries.
const PROBE_BITS: u32 = 13;
/// A cell is compressed when it saves one byte of so many, 2 %.
const WANTED: usize = 50;

impl Probe {
    pub(super) fn new() -> Self {
        Self { last: vec![0; 1 << PROBE_BITS] }
    }

    /// Whether the cell repeats itself so much that it shrinks by about 2 %.
    fn repeats(&mut self, cell: &[u8]) -> bool {
        let wanted = cell.len() / WANTED;
        self.last.fill(0);
        let (mut at, mut misses, mut saved) = (1, 0, 0);
        while let Some(word) = cell.get(at..).and_then(<[u8]>::first_chunk::<4>) {
            let hash = u32::from_le_bytes(*word).wrapping_mul(0x9E37_79B1) >> (32 - PROBE_BITS);
            let before = usize::from(std::mem::replace(&mut self.last[hash as usize], at as u16));
            if cell[before..before + 4] == *word {
                let length = cell[before..].iter().zip(&cell[at..]).take_while(|(a, b)| a == b).count();
                // A match is written in about three bytes.
                saved += length - 3;
                if saved > wanted {
                    return true;
                }
                at += length;
                misses = 0;
            } else {
                misses += 1;
                at += 1 + misses / 64;
            }
        }
        false
    }

    /// What to do with one cell.
    fn class(&mut self, cell: &[u8]) -> Class {
        if is_zero(cell) {
            Class::Zero
        } else if uneven(cell) || self.repeats(cell) {
            Class::Compress
        } else {
            Class::Store
        }
    }

    /// Whether no cell of the unit is worth an encoder.
    #[cfg(feature = "zst")]
    pub(super) fn stores(&mut self, unit: &[u8]) -> bool {
        unit.chunks(CELL).all(|cell| self.class(cell) == Class::Store)
    }

    /// The unit as maximal runs of one class. Zero cells next to compressed ones are compressed with them, because an
    /// encoder that goes on keeps what it has learned.
    pub(super) fn runs(&mut self, unit: &[u8]) -> Vec<(Class, Range<usize>)> {
        let mut classes: Vec<Class> = unit.chunks(CELL).map(|cell| self.class(cell)).collect();
        for at in 1..classes.len() {
            let between = classes[at..].iter().find(|class| **class != Class::Zero) == Some(&Class::Compress);
            if classes[at] == Class::Zero && classes[at - 1] == Class::Compress && between {
                classes[at] = Class::Compress;
            }
        }
        let mut runs: Vec<(Class, Range<usize>)> = Vec::new();
        for (index, class) in classes.into_iter().enumerate() {
            let range = index * CELL..unit.len().min((index + 1) * CELL);
            match runs.last_mut() {
                Some((last, run)) if *last == class => run.end = range.end,
                _ => runs.push((class, range)),
            }
        }
        runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(len: usize, mut seed: u64) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            bytes.extend_from_slice(&(seed >> 29).to_le_bytes()[..4]);
        }
        bytes.truncate(len);
        bytes
    }

    #[test]
    fn logarithms_are_within_a_65536th() {
        for number in [1_u32, 2, 3, 5, 63, 64, 65, 255, 256, 16_383, 16_384, u32::MAX] {
            let exact = f64::from(number).log2() * 65_536.0;
            let ours = f64::from(u32::try_from(log2(number)).unwrap());
            assert!((0.0..=1.0).contains(&(exact - ours)), "{number}: {exact} {ours}");
        }
    }

    #[test]
    fn cells_are_classed_by_what_they_hold() {
        let random = noise(CELL, 1);
        let twice: Vec<u8> = noise(CELL / 2, 2).repeat(2);
        let small_twice: Vec<u8> = noise(4096, 3).repeat(16);
        let text: Vec<u8> = b"the quick brown fox ".iter().copied().cycle().take(CELL).collect();
        let base64: Vec<u8> = noise(CELL, 4).iter().map(|byte| b'0' + byte % 64).collect();
        let vocabulary = noise(4 * 4096, 6);
        let words: Vec<u8> = noise(CELL / 2, 7)
            .as_chunks::<2>()
            .0
            .iter()
            .flat_map(|pick| vocabulary[usize::from(u16::from_le_bytes(*pick) % 4096) * 4..][..4].to_vec())
            .take(CELL)
            .collect();
        let mut one_bit = vec![0; CELL];
        one_bit[CELL - 1] = 1;
        let mut probe = Probe::new();
        for (what, cell, class) in [
            ("zeros", &vec![0; CELL], Class::Zero),
            ("a short zero cell", &vec![0; 3], Class::Zero),
            ("one byte", &vec![7; 1], Class::Store),
            ("a short cell of one value", &vec![7; 300], Class::Compress),
            ("all but one byte zero", &one_bit, Class::Compress),
            ("random", &random, Class::Store),
            ("random, twice", &twice, Class::Compress),
            ("random, sixteen times", &small_twice, Class::Compress),
            ("text", &text, Class::Compress),
            ("six bits a byte", &base64, Class::Compress),
            ("random words of four bytes, in no order", &words, Class::Compress),
        ] {
            assert_eq!(probe.class(cell), class, "{what}");
        }
    }

    #[test]
    fn zeros_between_compressed_cells_go_with_them() {
        let (zero, text, random) = (vec![0; CELL], vec![b'a'; CELL], noise(CELL, 5));
        let unit = [&zero[..], &text, &zero, &zero, &text, &random, &zero, &text, &zero, &[1; 400]].concat();
        let runs: Vec<_> =
            Probe::new().runs(&unit).into_iter().map(|(class, run)| (class, run.len().div_ceil(CELL))).collect();
        let (z, c, s) = (Class::Zero, Class::Compress, Class::Store);
        assert_eq!(runs, [(z, 1), (c, 4), (s, 1), (z, 1), (c, 3)]);
    }
}
