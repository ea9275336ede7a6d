//! Which pieces of data are worth an encoder's time.
//!
//! A piece is packed if its bytes are unevenly distributed, or if it repeats itself within deflate's reach: neither test
//! is enough alone. Integers only, so that no machine decides otherwise. The numbers shape the output: change them only
//! together with the golden digests.

/// What is decided at once.
const PIECE: usize = 128 << 10;
/// How far back deflate can refer.
const WINDOW: usize = 32 << 10;
/// Each of these stretches is looked at in part.
const STRETCH: usize = 1 << 10;
/// Bytes of a stretch that are counted.
const COUNTED: usize = 256;
/// Positions of a stretch that are looked for in what came before.
const LOOKED_FOR: usize = 64;
/// Positions that are remembered: each eighth one.
const STRIDE: usize = 8;
/// Bytes that must be equal to count as repeated.
const WORD: usize = 8;
const TABLE_BITS: u32 = 13;

/// The longest run of pieces from the start of `data` that are to be treated alike, and whether it is to be packed.
pub(super) fn run(data: &[u8]) -> (usize, bool) {
    let mut pieces = data.chunks(PIECE);
    let Some(first) = pieces.next() else { return (0, false) };
    let packs = shrinks(first);
    let more: usize = pieces.take_while(|piece| shrinks(piece) == packs).map(<[u8]>::len).sum();
    (first.len() + more, packs)
}

fn shrinks(piece: &[u8]) -> bool {
    uneven(piece) || repeats(piece)
}

/// Whether an entropy coder alone saves a hundredth: the sum of the squares of the counts is 3 % above that of evenly
/// distributed bytes, which is 7.957 bits a byte (collision entropy, never above Shannon's).
fn uneven(piece: &[u8]) -> bool {
    // Four counters a value, so that equal neighbours do not wait for each other.
    let mut counts = [[0_u32; 256]; 4];
    let mut length = 0_u64;
    for stretch in piece.chunks(STRETCH) {
        let counted = stretch.get(..COUNTED).unwrap_or(stretch);
        length += counted.len() as u64;
        for quad in counted.chunks(4) {
            for (counts, byte) in counts.iter_mut().zip(quad) {
                if let Some(count) = counts.get_mut(usize::from(*byte)) {
                    *count += 1;
                }
            }
        }
    }
    let squares: u64 = (0..256)
        .map(|value| counts.iter().filter_map(|counts| counts.get(value)).map(|count| u64::from(*count)).sum::<u64>())
        .map(|count| count * count)
        .sum();
    // What chance adds to evenly distributed bytes is their count.
    squares.saturating_sub(length) * 256 * 100 > length * length * 103
}

/// Whether one stretch in fifty stood shortly before.
fn repeats(piece: &[u8]) -> bool {
    let mut table = vec![usize::MAX; 1 << TABLE_BITS];
    let mut found = 0_usize;
    let mut start = 0;
    for stretch in piece.chunks(STRETCH) {
        let again = (start..start + LOOKED_FOR).any(|at| {
            let Some((word, slot)) = word(piece, at) else { return false };
            let before = table.get(slot).copied().unwrap_or(usize::MAX);
            let near = before < at && at - before <= WINDOW;
            near && piece.get(before..).is_some_and(|rest| rest.first_chunk::<WORD>() == Some(word))
        });
        found += usize::from(again);
        for at in (start..start + stretch.len()).step_by(STRIDE) {
            if let Some(entry) = word(piece, at).and_then(|(_, slot)| table.get_mut(slot)) {
                *entry = at;
            }
        }
        start += stretch.len();
    }
    found * 50 * STRETCH >= piece.len().max(50 * STRETCH)
}

/// The word at a position, and its place in the table.
fn word(piece: &[u8], at: usize) -> Option<(&[u8; WORD], usize)> {
    let word = piece.get(at..)?.first_chunk::<WORD>()?;
    let hash = u64::from_le_bytes(*word).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (u64::BITS - TABLE_BITS);
    Some((word, usize::try_from(hash).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(count: usize) -> Vec<u8> {
        let mut state = 7_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_be_bytes()[0]
        };
        (0..count).map(|_| next()).collect()
    }

    #[test]
    fn what_shrinks_is_told_from_what_does_not() {
        let random = noise(PIECE);
        let base64: Vec<u8> = random.iter().map(|byte| b'A' + byte % 64).collect();
        let twice = [&random[..PIECE / 2 - 1000], &random[..1000], &random[..PIECE / 2]].concat();
        let near = random[..20_001].repeat(6);
        for (name, data, expected) in [
            ("random", random.clone(), false),
            ("a short end of random", random[..5000].to_vec(), false),
            ("base64", base64, true),
            ("zeros", vec![0; PIECE], true),
            ("text", b"all work and no play ".repeat(5000), true),
            ("random that comes again out of reach", twice, false),
            ("random that comes again in reach", near, true),
            ("nothing", vec![], false),
        ] {
            assert_eq!(shrinks(&data), expected, "{name}");
        }
    }

    #[test]
    fn runs_are_as_long_as_possible() {
        let data = [noise(2 * PIECE), vec![0; 3 * PIECE], noise(100)].concat();
        assert_eq!(run(&data), (2 * PIECE, false));
        assert_eq!(run(&data[2 * PIECE..]), (3 * PIECE, true));
        assert_eq!(run(&data[5 * PIECE..]), (100, false));
        assert_eq!(run(&[]), (0, false));
    }
}
