//! The LZMA2 encoder: bytes of a block in, LZMA2 chunks out.
//!
//! It parses greedily with one step of look-ahead, by the rules that liblzma's fast mode uses, over the candidates of
//! [`Finder`]. Integers only and no library: the bytes depend on this source and nothing else.

use std::ops::Range;

use super::{
    chunk,
    finder::{Finder, Match, common},
    model::{MATCH_MAX, Model},
    range::{self, BUFFER, RangeCoder},
};

/// lc 2, lp 2, pb 2: 3 % smaller than the usual 3, 0, 2 on arm64 code, which is most of an image, and 1 % larger on
/// text (`sinks.md` §5.3).
type Code = Model<2, 2, 2>;

/// A chunk is cut when its code gets this long: one more symbol and the coder's tail still fit in 64 KiB.
const CUT: usize = (64 << 10) - 64;

/// Encodes the compressible parts of blocks. One per worker; it holds about 1 MiB.
pub(super) struct Encoder {
    model: Box<Code>,
    finder: Finder,
    coded: Box<[u8; BUFFER]>,
}

impl Encoder {
    pub(super) fn new() -> Self {
        Self { model: Box::new(Code::NEW), finder: Finder::new(), coded: range::buffer() }
    }

    /// Begins a block: matches do not reach behind it.
    pub(super) fn start_block(&mut self) {
        self.finder.clear();
    }

    /// Appends the chunks for `block[range]`. Matches may begin in earlier ranges of the same block.
    pub(super) fn encode(&mut self, block: &[u8], range: Range<usize>, chunks: &mut chunk::Writer<'_>) {
        let data = &block[..range.end];
        let mut position = range.start;
        let mut ahead = None;
        let mut fresh = true;
        while position < data.len() {
            if fresh {
                *self.model = Code::NEW;
            }
            let mut rc = RangeCoder::new(&mut self.coded);
            let from = position;
            (position, ahead) = parse(&mut self.model, &mut self.finder, &mut rc, data, position, ahead);
            let reset = if fresh { chunk::Reset::State } else { chunk::Reset::Nothing };
            fresh = !chunks.coded(reset, Code::PROPERTIES, &data[from..position], rc.finish());
        }
    }
}

/// Whether the distance `far` costs so much more than `near` that a byte of length does not pay for it.
#[inline]
fn much_farther(near: u32, far: u32) -> bool {
    far >> 7 > near
}

/// Codes symbols from `position` until the data ends or the chunk is full. `ahead` is the match at `position` if it
/// was looked up already; so is the result.
fn parse(
    model: &mut Code,
    finder: &mut Finder,
    rc: &mut RangeCoder<'_>,
    data: &[u8],
    mut position: usize,
    mut ahead: Option<Match>,
) -> (usize, Option<Match>) {
    while position < data.len() && rc.len() < CUT {
        let limit = (data.len() - position).min(MATCH_MAX);
        let found = ahead.take().unwrap_or_else(|| finder.find(data, position, limit));
        let (rep_index, rep_length) = best_repeat(model, data, position, limit);
        let Match { length, distance } = found;

        if rep_length >= 2
            && (rep_length + 1 >= length
                || (rep_length + 2 >= length && distance > 1 << 9)
                || (rep_length + 3 >= length && distance > 1 << 15))
        {
            model.repeat(rc, position, rep_index, rep_length);
            pass(finder, data, position + 1..position + rep_length);
            position += rep_length;
            continue;
        }
        // Four bytes at a far distance cost more than four literals.
        if length < 3 || (length == 4 && distance >= 1 << 16) {
            one_byte(model, rc, data, position);
            position += 1;
            continue;
        }
        if length < 128 && limit > length {
            let next = finder.find(data, position + 1, limit - 1);
            let better = (next.length >= length && next.distance < distance)
                || (next.length == length + 1 && !much_farther(distance, next.distance))
                || next.length > length + 1
                || (next.length + 1 >= length && next.length >= 3 && much_farther(next.distance, distance));
            if better || repeats_reach(model, data, position + 1, length - 1) {
                one_byte(model, rc, data, position);
                position += 1;
                ahead = Some(next);
                continue;
            }
            model.fresh(rc, position, distance, length);
            pass(finder, data, position + 2..position + length);
        } else {
            model.fresh(rc, position, distance, length);
            pass(finder, data, position + 1..position + length);
        }
        position += length;
    }
    (position, ahead)
}

/// The longest match at one of the last four distances.
#[inline]
fn best_repeat(model: &Code, data: &[u8], position: usize, limit: usize) -> (usize, usize) {
    let mut best = (0, 0);
    if limit < 2 {
        return best;
    }
    let here = [data[position], data[position + 1]];
    for (index, distance) in model.reps.into_iter().enumerate() {
        let Some(earlier) = position.checked_sub(distance as usize + 1) else { continue };
        if [data[earlier], data[earlier + 1]] == here {
            let length = common(data, earlier, position, limit);
            if length > best.1 {
                best = (index, length);
            }
        }
    }
    best
}

/// Whether one of the last distances gives `length` bytes at `position`.
#[inline]
fn repeats_reach(model: &Code, data: &[u8], position: usize, length: usize) -> bool {
    let Some(here) = data.get(position..position + length) else { return false };
    model.reps.into_iter().any(|distance| {
        position.checked_sub(distance as usize + 1).is_some_and(|earlier| data[earlier..earlier + length] == *here)
    })
}

/// A literal, or the short repeat if the byte at the last distance is the same: two bits instead of a literal.
#[inline]
fn one_byte(model: &mut Code, rc: &mut RangeCoder<'_>, data: &[u8], position: usize) {
    let earlier = position.checked_sub(model.reps[0] as usize + 1);
    if !model.after_literal() && earlier.is_some_and(|earlier| data[earlier] == data[position]) {
        model.repeat(rc, position, 0, 1);
    } else {
        model.literal(rc, data, position);
    }
}

/// Remembers the places inside a match. Of a long one only its ends: the middle of a long repetition finds nothing
/// that its start does not.
#[inline]
fn pass(finder: &mut Finder, data: &[u8], places: Range<usize>) {
    if places.len() <= 64 {
        places.for_each(|place| finder.skip(data, place));
    } else {
        (places.start..places.start + 32).for_each(|place| finder.skip(data, place));
        (places.end - 32..places.end).for_each(|place| finder.skip(data, place));
    }
}
