//! The order of libkmod's hash tables, which is the order of some lines in depmod's files.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

/// Buckets of the table of modules, and of the table of symbols.
pub(super) const MODULES: u32 = 512;
pub(super) const SYMBOLS: u32 = 2048;

/// Where a key comes in a table: by bucket, in it by the bytes.
pub(super) fn place(key: &str, buckets: u32) -> (u32, &[u8]) {
    (superfast(key.as_bytes()) & buckets.wrapping_sub(1), key.as_bytes())
}

/// Paul Hsieh's SuperFastHash, seeded with the length, on a little-endian machine where `char` has a sign.
fn superfast(key: &[u8]) -> u32 {
    let word = |low: u8, high: u8| u32::from(u16::from_le_bytes([low, high]));
    let mut hash = u32::try_from(key.len()).unwrap_or(u32::MAX);
    let (groups, rest) = key.as_chunks::<4>();
    for &[a, b, c, d] in groups {
        hash = hash.wrapping_add(word(a, b));
        hash = (hash << 16) ^ (word(c, d) << 11) ^ hash;
        hash = hash.wrapping_add(hash >> 11);
    }
    match *rest {
        [a, b, c] => {
            hash = hash.wrapping_add(word(a, b));
            hash ^= hash << 16;
            hash ^= (i32::from(c.cast_signed()) << 18).cast_unsigned();
            hash = hash.wrapping_add(hash >> 11);
        }
        [a, b] => {
            hash = hash.wrapping_add(word(a, b));
            hash ^= hash << 11;
            hash = hash.wrapping_add(hash >> 17);
        }
        [a] => {
            hash = hash.wrapping_add_signed(i32::from(a.cast_signed()));
            hash ^= hash << 10;
            hash = hash.wrapping_add(hash >> 1);
        }
        _ => {}
    }
    for (left, right) in [(3, 5), (4, 17), (25, 6)] {
        hash ^= hash << left;
        hash = hash.wrapping_add(hash >> right);
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values that the function had when compiled from its description in C.
    #[test]
    fn every_length_of_the_rest_is_hashed() {
        let hashes: Vec<u32> =
            ["", "a", "ab", "abc", "abcd", "snd_soc_core"].iter().map(|key| superfast(key.as_bytes())).collect();
        assert_eq!(hashes, EXPECTED);
    }

    const EXPECTED: [u32; 6] = [0, 291_415_938, 1_366_002_500, 3_535_673_738, 3_671_636_187, 3_475_429_221];
}
