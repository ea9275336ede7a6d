//! The probability model of LZMA and the symbols that it codes: literals, matches, repeated matches.
//!
//! Source: the `.xz` file format and the LZMA SDK's `lzma-specification.txt`.

use super::range::{HALF, Prob, RangeCoder};

/// Shortest match.
pub(super) const MATCH_MIN: usize = 2;
/// Longest match.
pub(super) const MATCH_MAX: usize = 273;

const STATES: usize = 12;
/// With this encoder's pb ≤ 2.
const POS_STATES: usize = 4;
/// With this encoder's lc + lp ≤ 4.
const LITERAL_CODERS: usize = 16;

/// Codes match lengths.
struct Lengths {
    choice: Prob,
    choice2: Prob,
    low: [[Prob; 8]; POS_STATES],
    mid: [[Prob; 8]; POS_STATES],
    high: [Prob; 256],
}

impl Lengths {
    const NEW: Self = Self {
        choice: HALF,
        choice2: HALF,
        low: [[HALF; 8]; POS_STATES],
        mid: [[HALF; 8]; POS_STATES],
        high: [HALF; 256],
    };

    #[inline]
    fn code(&mut self, rc: &mut RangeCoder<'_>, length: usize, pos_state: usize) {
        let symbol = (length - MATCH_MIN) as u32;
        if symbol < 8 {
            rc.bit(&mut self.choice, 0);
            tree::<3, 8>(rc, &mut self.low[pos_state & 3], symbol);
        } else if symbol < 16 {
            rc.bit(&mut self.choice, 1);
            rc.bit(&mut self.choice2, 0);
            tree::<3, 8>(rc, &mut self.mid[pos_state & 3], symbol - 8);
        } else {
            rc.bit(&mut self.choice, 1);
            rc.bit(&mut self.choice2, 1);
            tree::<8, 256>(rc, &mut self.high, symbol - 16);
        }
    }
}

/// A bit tree: the bits above decide the probability of the next.
#[inline]
fn tree<const BITS: u32, const SIZE: usize>(rc: &mut RangeCoder<'_>, probs: &mut [Prob; SIZE], symbol: u32) {
    let marked = symbol | (1 << BITS);
    for place in (0..BITS).rev() {
        let node = (marked >> (place + 1)) as usize & (SIZE - 1);
        rc.bit(&mut probs[node], (marked >> place) & 1);
    }
}

/// All that an LZMA coder remembers, for one setting of the three parameters. A new one is what a state reset gives.
pub(super) struct Model<const LC: u32, const LP: u32, const PB: u32> {
    is_match: [[Prob; POS_STATES]; STATES],
    is_rep: [Prob; STATES],
    is_rep0: [Prob; STATES],
    is_rep1: [Prob; STATES],
    is_rep2: [Prob; STATES],
    is_rep0_long: [[Prob; POS_STATES]; STATES],
    slots: [[Prob; 64]; 4],
    special: [Prob; 128],
    align: [Prob; 16],
    match_lengths: Lengths,
    rep_lengths: Lengths,
    literals: [[Prob; 0x300]; LITERAL_CODERS],
    /// Which kinds of symbol came last (0 to 11).
    pub(super) state: usize,
    /// The last four distances, less one; the last first.
    pub(super) reps: [u32; 4],
}

impl<const LC: u32, const LP: u32, const PB: u32> Model<LC, LP, PB> {
    /// All probabilities one half.
    #[expect(clippy::large_stack_arrays, reason = "24 KiB, copied from static memory")]
    pub(super) const NEW: Self = Self {
        is_match: [[HALF; POS_STATES]; STATES],
        is_rep: [HALF; STATES],
        is_rep0: [HALF; STATES],
        is_rep1: [HALF; STATES],
        is_rep2: [HALF; STATES],
        is_rep0_long: [[HALF; POS_STATES]; STATES],
        slots: [[HALF; 64]; 4],
        special: [HALF; 128],
        align: [HALF; 16],
        match_lengths: Lengths::NEW,
        rep_lengths: Lengths::NEW,
        literals: [[HALF; 0x300]; LITERAL_CODERS],
        state: 0,
        reps: [0; 4],
    };

    /// The property byte of an LZMA2 chunk.
    pub(super) const PROPERTIES: u8 = ((PB * 5 + LP) * 9 + LC) as u8;

    #[inline]
    fn pos_state(position: usize) -> usize {
        position & ((1 << PB) - 1) & (POS_STATES - 1)
    }

    /// Whether the last symbol was a literal.
    #[inline]
    pub(super) fn after_literal(&self) -> bool {
        self.state < 7
    }

    /// Codes the byte `data[position]`.
    #[inline]
    pub(super) fn literal(&mut self, rc: &mut RangeCoder<'_>, data: &[u8], position: usize) {
        let state = self.state % STATES;
        rc.bit(&mut self.is_match[state][Self::pos_state(position)], 0);
        let before = if position == 0 { 0 } else { data[position - 1] };
        let context = ((position & ((1 << LP) - 1)) << LC) | (usize::from(before) >> (8 - LC));
        let probs = &mut self.literals[context % LITERAL_CODERS];
        let marked = u32::from(data[position]) | 0x100;
        if state < 7 {
            for place in (0..8).rev() {
                let node = (marked >> (place + 1)) as usize & 0xFF;
                rc.bit(&mut probs[node], (marked >> place) & 1);
            }
        } else {
            // After a match the byte that the match would have gone on with is the best guess: it picks the
            // probability as long as it has been right.
            let mut guess = u32::from(data[position - self.reps[0] as usize - 1]);
            let mut agree = 0x100;
            for place in (0..8).rev() {
                guess <<= 1;
                let node = agree + (guess & agree) + (marked >> (place + 1));
                let bit = (marked >> place) & 1;
                rc.bit(&mut probs[node as usize % 0x300], bit);
                agree &= !(guess ^ (bit << 8));
            }
        }
        self.state = match state {
            0..4 => 0,
            4..10 => state - 3,
            _ => state - 6,
        };
    }

    /// Codes a match at a fresh distance (less one).
    #[inline]
    pub(super) fn fresh(&mut self, rc: &mut RangeCoder<'_>, position: usize, distance: u32, length: usize) {
        let pos_state = Self::pos_state(position);
        let state = self.state % STATES;
        rc.bit(&mut self.is_match[state][pos_state], 1);
        rc.bit(&mut self.is_rep[state], 0);
        self.match_lengths.code(rc, length, pos_state);
        self.distance(rc, distance, length);
        self.reps = [distance, self.reps[0], self.reps[1], self.reps[2]];
        self.state = if state < 7 { 7 } else { 10 };
    }

    #[inline]
    fn distance(&mut self, rc: &mut RangeCoder<'_>, distance: u32, length: usize) {
        let probs = &mut self.slots[(length - MATCH_MIN).min(3)];
        if distance < 4 {
            tree::<6, 64>(rc, probs, distance);
            return;
        }
        let top = distance.ilog2();
        let slot = top * 2 + ((distance >> (top - 1)) & 1);
        tree::<6, 64>(rc, probs, slot);
        let footer = top - 1;
        let base = (2 | (slot & 1)) << footer;
        let reduced = distance - base;
        if slot < 14 {
            let at = (base - slot) as usize;
            let mut node = 1;
            for place in 0..footer {
                let bit = (reduced >> place) & 1;
                rc.bit(&mut self.special[(at + node - 1) & 127], bit);
                node = node * 2 + bit as usize;
            }
        } else {
            rc.direct(reduced >> 4, footer - 4);
            let mut node = 1;
            for place in 0..4 {
                let bit = (reduced >> place) & 1;
                rc.bit(&mut self.align[node & 15], bit);
                node = node * 2 + bit as usize;
            }
        }
    }

    /// Codes a match at the distance `reps[index]`; length 1 (index 0 only) is the short repeat.
    #[inline]
    pub(super) fn repeat(&mut self, rc: &mut RangeCoder<'_>, position: usize, index: usize, length: usize) {
        let pos_state = Self::pos_state(position);
        let state = self.state % STATES;
        rc.bit(&mut self.is_match[state][pos_state], 1);
        rc.bit(&mut self.is_rep[state], 1);
        let [a, b, c, d] = self.reps;
        if index == 0 {
            rc.bit(&mut self.is_rep0[state], 0);
            rc.bit(&mut self.is_rep0_long[state][pos_state], u32::from(length > 1));
            if length == 1 {
                self.state = if state < 7 { 9 } else { 11 };
                return;
            }
        } else {
            rc.bit(&mut self.is_rep0[state], 1);
            if index == 1 {
                rc.bit(&mut self.is_rep1[state], 0);
                self.reps = [b, a, c, d];
            } else {
                rc.bit(&mut self.is_rep1[state], 1);
                rc.bit(&mut self.is_rep2[state], u32::from(index == 3));
                self.reps = if index == 2 { [c, a, b, d] } else { [d, a, b, c] };
            }
        }
        self.rep_lengths.code(rc, length, pos_state);
        self.state = if state < 7 { 8 } else { 11 };
    }
}
