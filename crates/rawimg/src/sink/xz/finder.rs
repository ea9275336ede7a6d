//! Finds where bytes were seen before: a hash table whose rows hold the last few places of one hash.
//!
//! A row is one small array, so that all candidates of a position come with one memory access. The upper bits of an
//! entry repeat more bits of the hash: nearly every candidate that is compared is a match.

/// log2 of the number of rows.
const ROW_BITS: u32 = 15;
/// Candidates per row.
const WAYS: usize = 4;
/// Bits of a position; blocks are at most 1 MiB.
const POSITION_BITS: u32 = 20;
const POSITION_MASK: u32 = (1 << POSITION_BITS) - 1;
/// Bytes that the rows are hashed by.
const HASHED: usize = 4;
/// log2 of the number of places remembered by three bytes.
const THREE_BITS: u32 = 13;
/// Farthest match of three bytes: beyond it three literals are as short.
const THREE_NEAR: usize = 1 << 11;

/// A match: `length` bytes, `distance` less one; length 0 is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Match {
    pub(super) length: usize,
    pub(super) distance: u32,
}

/// The table of one block.
pub(super) struct Finder {
    rows: Vec<[u32; WAYS]>,
    /// The last place of three bytes: gains 1 to 2 % for no time that can be measured.
    threes: Vec<u32>,
}

impl Finder {
    pub(super) fn new() -> Self {
        Self { rows: vec![[u32::MAX; WAYS]; 1 << ROW_BITS], threes: vec![u32::MAX; 1 << THREE_BITS] }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.rows.fill([u32::MAX; WAYS]);
        self.threes.fill(u32::MAX);
    }

    /// Remembers `position`, whose four bytes are `word`, and returns who was in its row, the upper bits that entries
    /// with the same bytes have, and the last place of the first three bytes.
    #[inline]
    fn enter(&mut self, word: u32, position: usize) -> ([u32; WAYS], u32, u32) {
        let hash = word.wrapping_mul(0x9E37_79B1);
        let tag = (hash << ROW_BITS) & !POSITION_MASK;
        let row = &mut self.rows[(hash >> (32 - ROW_BITS)) as usize];
        let before = *row;
        *row = [tag | (position as u32 & POSITION_MASK), before[0], before[1], before[2]];
        let three = (word << 8).wrapping_mul(0x9E37_79B1) >> (32 - THREE_BITS);
        let near = std::mem::replace(&mut self.threes[three as usize], position as u32);
        (before, tag, near)
    }

    /// Remembers a position that nothing is sought for.
    #[inline]
    pub(super) fn skip(&mut self, data: &[u8], position: usize) {
        if let Some(word) = word(data, position) {
            self.enter(word, position);
        }
    }

    /// The best earlier place for `position`, and remembers it. `data` ends where matches must end.
    #[inline]
    pub(super) fn find(&mut self, data: &[u8], position: usize, limit: usize) -> Match {
        let Some(word) = word(data, position) else { return Match::default() };
        let (candidates, tag, near) = self.enter(word, position);
        let mut best = Match::default();
        // A bit per candidate whose upper bits agree: no branch for each of those that do not.
        let mut alike =
            (0..WAYS).fold(0, |bits, way| bits | u32::from((candidates[way] ^ tag) <= POSITION_MASK) << way);
        while alike != 0 {
            let entry = candidates[alike.trailing_zeros() as usize % WAYS];
            alike &= alike - 1;
            let earlier = (entry & POSITION_MASK) as usize;
            if earlier >= position {
                continue;
            }
            let length = common(data, earlier, position, limit);
            let distance = (position - earlier - 1) as u32;
            // One more byte is not worth a distance that is 128 times as far.
            if length > best.length && !(length == best.length + 1 && distance >> 7 > best.distance) {
                best = Match { length, distance };
                if length == limit {
                    break;
                }
            }
        }
        if best.length >= HASHED {
            return best;
        }
        let earlier = near as usize;
        if earlier < position && position - earlier <= THREE_NEAR {
            let length = common(data, earlier, position, limit);
            if length >= 3 {
                return Match { length, distance: (position - earlier - 1) as u32 };
            }
        }
        Match::default()
    }
}

#[inline]
fn word(data: &[u8], position: usize) -> Option<u32> {
    data.get(position..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

/// How many bytes from `a` and `b` (later) agree, at most `limit`, which must not reach over the end.
#[inline]
pub(super) fn common(data: &[u8], a: usize, b: usize, limit: usize) -> usize {
    let (left, right) = (&data[a..a + limit], &data[b..b + limit]);
    let mut count = 0;
    while let (Some(x), Some(y)) = (left[count..].first_chunk::<8>(), right[count..].first_chunk::<8>()) {
        let differ = u64::from_le_bytes(*x) ^ u64::from_le_bytes(*y);
        if differ != 0 {
            return count + (differ.trailing_zeros() / 8) as usize;
        }
        count += 8;
    }
    while count < limit && left[count] == right[count] {
        count += 1;
    }
    count
}
