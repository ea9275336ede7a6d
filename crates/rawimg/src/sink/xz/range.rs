//! The range coder of LZMA: bits with adaptive probabilities in, bytes out.
//!
//! The coder keeps up to three finished bytes inside its 64-bit `low` and stores them together, so that a coded bit
//! costs no branch but the one that is taken every third byte. The buffer has a fixed power-of-two size and a masked
//! index: no capacity is checked.

/// Size of the coder's buffer. An LZMA2 chunk holds at most 64 KiB; the rest is never written.
pub(super) const BUFFER: usize = 1 << 17;
const MASK: usize = BUFFER - 1;

/// An empty buffer.
pub(super) fn buffer() -> Box<[u8; BUFFER]> {
    vec![0; BUFFER].try_into().unwrap_or_else(|_| unreachable!("the vector has this length"))
}

/// A probability: of the bit being 0, in 1/2048.
pub(super) type Prob = u16;
/// One half.
pub(super) const HALF: Prob = 1024;

const PROB_BITS: u32 = 11;
const MOVE_BITS: u32 = 5;
const TOP: u32 = 1 << 24;

/// One chunk being coded.
pub(super) struct RangeCoder<'a> {
    /// The lower end of the interval: 32 bits in work, above them `pending` finished bits, above those a carry.
    low: u64,
    range: u32,
    pending: u32,
    position: usize,
    buffer: &'a mut [u8; BUFFER],
}

impl<'a> RangeCoder<'a> {
    /// Starts a chunk.
    pub(super) fn new(buffer: &'a mut [u8; BUFFER]) -> Self {
        // The first byte of every LZMA stream is 0: the place where a carry could go.
        buffer[0] = 0;
        Self { low: 0, range: u32::MAX, pending: 0, position: 1, buffer }
    }

    /// How many bytes [`finish`](Self::finish) would give, at most.
    #[inline]
    pub(super) fn len(&self) -> usize {
        self.position + 6
    }

    /// Codes one bit and adapts its probability.
    #[inline]
    pub(super) fn bit(&mut self, prob: &mut Prob, bit: u32) {
        let old = u32::from(*prob);
        let bound = (self.range >> PROB_BITS) * old;
        let ones = 0_u32.wrapping_sub(bit);
        self.low += u64::from(bound & ones);
        self.range = if bit == 0 { bound } else { self.range - bound };
        // For a 0 the probability rises by (2048 - p) >> 5, for a 1 it falls by p >> 5; the arithmetic shift rounds
        // both as the decoder does.
        let step =
            (old.wrapping_add(31_u32.wrapping_sub(1 << PROB_BITS) & !ones).cast_signed() >> MOVE_BITS).cast_unsigned();
        #[expect(clippy::cast_possible_truncation, reason = "a probability stays below 2048")]
        {
            *prob = old.wrapping_sub(step) as Prob;
        }
        self.normalize();
    }

    /// Codes the lowest `count` bits of `value`, highest first, each with probability one half.
    #[inline]
    pub(super) fn direct(&mut self, value: u32, count: u32) {
        for place in (0..count).rev() {
            self.range >>= 1;
            let ones = 0_u32.wrapping_sub((value >> place) & 1);
            self.low += u64::from(self.range & ones);
            self.normalize();
        }
    }

    #[inline]
    fn normalize(&mut self) {
        let small = self.range < TOP;
        self.range = if small { self.range << 8 } else { self.range };
        self.low = if small { self.low << 8 } else { self.low };
        self.pending += u32::from(small) * 8;
        if self.pending == 24 {
            self.store();
        }
    }

    #[inline]
    fn store(&mut self) {
        let finished = self.low >> 32;
        if finished >> 24 != 0 {
            self.carry();
        }
        let [_, _, _, _, _, a, b, c] = finished.to_be_bytes();
        self.buffer[self.position & MASK] = a;
        self.buffer[(self.position + 1) & MASK] = b;
        self.buffer[(self.position + 2) & MASK] = c;
        self.position += 3;
        self.low &= 0xFFFF_FFFF;
        self.pending = 0;
    }

    #[cold]
    fn carry(&mut self) {
        let mut at = self.position;
        loop {
            at = at.wrapping_sub(1) & MASK;
            self.buffer[at] = self.buffer[at].wrapping_add(1);
            if self.buffer[at] != 0 {
                return;
            }
        }
    }

    /// Ends the chunk and returns its bytes.
    pub(super) fn finish(mut self) -> &'a [u8] {
        for _ in 0..4 {
            self.low <<= 8;
            self.pending += 8;
            if self.pending == 24 {
                self.store();
            }
        }
        let rest = (self.pending / 8) as usize;
        // Fill up to three bytes, then forget those that are not there.
        self.low <<= 24 - self.pending;
        self.store();
        let end = self.position - 3 + rest;
        &self.buffer[..end]
    }
}
