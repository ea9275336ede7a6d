//! SHA-1, for headers of the years when it was in use (FIPS 180-4, §6.1). Not for anything that is meant to be safe.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

/// The digest of several pieces, one after the other.
pub(super) fn sha1(pieces: &[&[u8]]) -> [u8; 20] {
    let mut state = [0x6745_2301_u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    let mut block = [0_u8; 64];
    let mut filled = 0_usize;
    let mut bits = 0_u64;
    let mut push = |byte: u8| {
        if let Some(slot) = block.get_mut(filled) {
            *slot = byte;
        }
        filled = filled.wrapping_add(1);
        if filled == block.len() {
            compress(&mut state, &block);
            filled = 0;
        }
        filled
    };
    for piece in pieces {
        bits = bits.wrapping_add((piece.len() as u64).wrapping_mul(8));
        for byte in *piece {
            push(*byte);
        }
    }
    // A one bit, zeros up to 8 bytes before the end of a block, the length in bits.
    let mut used = push(0x80);
    while used != 56 {
        used = push(0);
    }
    for byte in bits.to_be_bytes() {
        push(byte);
    }
    let mut digest = [0; 20];
    for (to, word) in digest.chunks_exact_mut(4).zip(state) {
        to.copy_from_slice(&word.to_be_bytes());
    }
    digest
}

fn compress(state: &mut [u32; 5], block: &[u8; 64]) {
    let mut window = [0_u32; 16];
    for (word, bytes) in window.iter_mut().zip(block.chunks_exact(4)) {
        *word = bytes.iter().fold(0, |word, byte| word << 8 | u32::from(*byte));
    }
    let [mut a, mut b, mut c, mut d, mut e] = *state;
    for round in 0..80_u32 {
        let [w0, _, w2, .., w8, _, _, _, _, w13, _, _] = window;
        let (f, k) = match round {
            0..=19 => ((b & c) | (!b & d), 0x5a82_7999),
            20..=39 => (b ^ c ^ d, 0x6ed9_eba1),
            40..=59 => ((b & c) | (b & d) | (c & d), 0x8f1b_bcdc),
            _ => (b ^ c ^ d, 0xca62_c1d6_u32),
        };
        let next = a.rotate_left(5).wrapping_add(f).wrapping_add(e).wrapping_add(k).wrapping_add(w0);
        (e, d, c, b, a) = (d, c, b.rotate_left(30), a, next);
        // Word t + 16 is made of words t, t + 2, t + 8 and t + 13.
        let word = (w0 ^ w2 ^ w8 ^ w13).rotate_left(1);
        window.rotate_left(1);
        if let Some(last) = window.last_mut() {
            *last = word;
        }
    }
    for (sum, word) in state.iter_mut().zip([a, b, c, d, e]) {
        *sum = sum.wrapping_add(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::hex;

    #[test]
    fn the_vectors_of_the_standard() {
        for (text, expected) in [
            (String::new(), "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
            ("abc".to_owned(), "a9993e364706816aba3e25717850c26c9cd0d89d"),
            (
                "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq".to_owned(),
                "84983e441c3bd26ebaae4aa1f95129e5e54670f1",
            ),
            ("a".repeat(1_000_000), "34aa973cd4c4daa4f61eeb2bdbad27316534016f"),
        ] {
            assert_eq!(hex(&sha1(&[text.as_bytes()])), expected, "{} bytes", text.len());
            let (a, b) = text.split_at(text.len() / 3);
            assert_eq!(hex(&sha1(&[a.as_bytes(), b.as_bytes()])), expected);
        }
    }
}
