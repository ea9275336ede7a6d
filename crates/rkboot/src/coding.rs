//! Rockchip's two codings: RC4 with one fixed key, and a CRC-32 with its own polynomial.
//!
//! The RC4 key is public and the same for every SoC: it hides nothing, it is a format. The BootROM decodes an idblock
//! v1 in units of 512 bytes, each with a fresh key schedule ([`rc4_blocks`]); the loader of maskrom mode decodes a whole
//! entry as one stream ([`rc4()`]). Encoding and decoding are the same. Sources: `tools/rkcommon.c` and `tools/rc4.c` of
//! U-Boot for the key, loader files of Rockchip for the CRC (polynomial 0x04C10DB7, not the usual 0x04C11DB7).
//!
//! ```
//! use rkboot::coding;
//!
//! // How every idblock v1 with a plain payload begins on the medium.
//! let mut header = [0x55, 0xaa, 0xf0, 0x0f, 0, 0, 0, 0, 1, 0, 0, 0, 4, 0, 0, 0];
//! coding::rc4(&mut header);
//! assert_eq!(header[..4], [0x3b, 0x8c, 0xdc, 0xfc]);
//! coding::rc4(&mut header);
//! assert_eq!(header[..4], [0x55, 0xaa, 0xf0, 0x0f]);
//! ```
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

/// The key in every BootROM, and in `tools/rkcommon.c` of U-Boot.
const KEY: [u8; 16] = [0x7c, 0x4e, 0x03, 0x04, 0x55, 0x05, 0x09, 0x07, 0x2d, 0x2c, 0x7b, 0x38, 0x17, 0x0d, 0x17, 0x11];

/// The unit after which the key schedule starts again.
const BLOCK: usize = 512;

/// The polynomial of Rockchip's tools, most significant bit first.
const POLYNOMIAL: u32 = 0x04c1_0db7;

/// The bytes that [`rc4_blocks`] combines every block with: the key never changes, so one stream serves all.
const STREAM: [u8; BLOCK] = stream();

/// For each value of the leading byte of the register, what its eight steps add.
const TABLE: [u32; 256] = table();

/// The state of RC4 behind the key schedule.
struct Rc4 {
    state: [u8; 256],
    i: u8,
    j: u8,
}

// Constant indices of arrays of 256 by u8 cannot be out of bounds, and const evaluation would be a compile error.
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]
impl Rc4 {
    const fn new() -> Self {
        let mut state = [0_u8; 256];
        let mut i = 0;
        while i < 256 {
            state[i] = i as u8;
            i += 1;
        }
        let (mut i, mut j) = (0, 0_u8);
        while i < 256 {
            j = j.wrapping_add(state[i]).wrapping_add(KEY[i % KEY.len()]);
            let kept = state[i];
            state[i] = state[j as usize];
            state[j as usize] = kept;
            i += 1;
        }
        Self { state, i: 0, j: 0 }
    }

    const fn next(&mut self) -> u8 {
        self.i = self.i.wrapping_add(1);
        let kept = self.state[self.i as usize];
        self.j = self.j.wrapping_add(kept);
        let other = self.state[self.j as usize];
        self.state[self.i as usize] = other;
        self.state[self.j as usize] = kept;
        self.state[kept.wrapping_add(other) as usize]
    }
}

#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
const fn stream() -> [u8; BLOCK] {
    let mut rc4 = Rc4::new();
    let mut stream = [0; BLOCK];
    let mut at = 0;
    while at < BLOCK {
        stream[at] = rc4.next();
        at += 1;
    }
    stream
}

#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]
const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut register = (byte as u32) << 24;
        let mut bit = 0;
        while bit < 8 {
            register = if register & 0x8000_0000 == 0 { register << 1 } else { (register << 1) ^ POLYNOMIAL };
            bit += 1;
        }
        table[byte] = register;
        byte += 1;
    }
    table
}

/// Encodes or decodes all of `bytes` as one RC4 stream: entries 471 and 472 of `BOOT` loader files.
pub fn rc4(bytes: &mut [u8]) {
    let mut rc4 = Rc4::new();
    for byte in bytes {
        *byte ^= rc4.next();
    }
}

/// Encodes or decodes `bytes` in blocks of 512 bytes, each with a fresh key schedule: idblocks v1, and the flash entries
/// of loader files. The last block may be short.
pub fn rc4_blocks(bytes: &mut [u8]) {
    for block in bytes.chunks_mut(BLOCK) {
        for (byte, key) in block.iter_mut().zip(&STREAM) {
            *byte ^= key;
        }
    }
}

/// The CRC-32 of Rockchip's loader files and `LOADER` images: polynomial 0x04C10DB7, most significant bit first, starts
/// at 0, no final exclusive-or.
///
/// ```
/// assert_eq!(rkboot::coding::crc32_rk(&[0, 0, 1]), 0x04c1_0db7);
/// ```
#[must_use]
pub fn crc32_rk(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |register, byte| {
        let [leading, ..] = register.to_be_bytes();
        // 256 entries for every u8.
        let step = TABLE.get(usize::from(leading ^ byte)).copied().unwrap_or_default();
        (register << 8) ^ step
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_plain_v1_header_starts_as_on_every_card() {
        let mut header = [0; 1024];
        for half in header.chunks_mut(512) {
            half[..14].copy_from_slice(&[0x55, 0xaa, 0xf0, 0x0f, 0, 0, 0, 0, 1, 0, 0, 0, 4, 0]);
        }
        let plain = header;
        rc4_blocks(&mut header);
        let known = [0x3b, 0x8c, 0xdc, 0xfc, 0xbe, 0x9f, 0x9d, 0x51, 0xeb, 0x30, 0x34, 0xce, 0x24, 0x51, 0x1f, 0x98];
        assert_eq!(header[..16], known);
        assert_eq!(header[..512], header[512..], "the key schedule starts again");
        rc4_blocks(&mut header);
        assert_eq!(header, plain);

        // As one stream, the second half has other bytes.
        let (mut stream, mut blocks) = (plain, plain);
        rc4(&mut stream);
        rc4_blocks(&mut blocks);
        assert_eq!(stream[..512], blocks[..512]);
        assert_ne!(stream[512..], blocks[512..]);
        let mut short = [7; 3];
        rc4_blocks(&mut short);
        rc4(&mut short);
        assert_eq!(short, [7; 3]);
    }

    #[test]
    fn loader_files_end_with_the_crc_of_what_precedes() {
        let Some(root) = testkit::shared("testdata/friendlyelec-sd-fuse") else { return };
        for (name, crc) in [("rk3588-MiniLoaderAll.bin", 0xe3b6_990c), ("rk3576-MiniLoaderAll.bin", 0xa1bd_d2a0)] {
            let bytes = testkit::read(root.join(name));
            let (data, stored) = bytes.split_at(bytes.len() - 4);
            assert_eq!(crc32_rk(data), crc, "{name}");
            assert_eq!(stored, crc.to_le_bytes(), "{name}");
        }
        assert_eq!(crc32_rk(b""), 0);
    }
}
