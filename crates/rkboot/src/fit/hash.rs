//! Hashes of images.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};

/// A hash node of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hash {
    /// `algo`, such as `sha256`.
    pub algorithm: String,
    /// `value`.
    pub value: Vec<u8>,
    /// What it says about the data.
    pub status: HashStatus,
}

/// What a hash says about the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum HashStatus {
    /// The data is what was hashed.
    Valid,
    /// It is not, or is missing.
    Wrong,
    /// The algorithm is not known here, or the digest is of data that was not unpacked.
    Unsupported,
    /// Not looked at, because images of the FIT share more data than any sound one does.
    Skipped,
}

impl HashStatus {
    /// `ok`, `bad`, `unsupported`, `skipped`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Valid => "ok",
            Self::Wrong => "bad",
            Self::Unsupported => "unsupported",
            Self::Skipped => "skipped",
        }
    }
}

/// `None` for an algorithm that is not known here.
pub(super) fn matches(algorithm: &str, value: &[u8], data: &[u8]) -> Option<bool> {
    fn sha<H: Digest>(data: &[u8], value: &[u8]) -> bool {
        H::digest(data).as_slice() == value
    }
    Some(match algorithm {
        "sha1" => sha::<Sha1>(data, value),
        "md5" => sha::<Md5>(data, value),
        "crc16-ccitt" => crc16(data).to_be_bytes() == value,
        "sha256" => sha::<Sha256>(data, value),
        "sha384" => sha::<Sha384>(data, value),
        "sha512" => sha::<Sha512>(data, value),
        "crc32" => crc32fast::hash(data).to_be_bytes() == value,
        _ => return None,
    })
}

/// CRC-16 with polynomial 0x1021, the highest bit first, from 0: U-Boot's `crc16-ccitt`.
fn crc16(data: &[u8]) -> u16 {
    const TABLE: [u16; 16] = [
        0x0000, 0x1021, 0x2042, 0x3063, 0x4084, 0x50a5, 0x60c6, 0x70e7, 0x8108, 0x9129, 0xa14a, 0xb16b, 0xc18c, 0xd1ad,
        0xe1ce, 0xf1ef,
    ];
    let nibble =
        |crc: u16, bits: u16| TABLE.get(usize::from((crc >> 12) ^ (bits & 0xf))).copied().unwrap_or(0) ^ (crc << 4);
    data.iter().fold(0, |crc, byte| nibble(nibble(crc, u16::from(byte >> 4)), u16::from(*byte)))
}

/// The value of an algorithm that FITs of our own get.
pub(super) fn value(algorithm: super::build::HashAlgorithm, data: &[u8]) -> Vec<u8> {
    use super::build::HashAlgorithm;
    match algorithm {
        HashAlgorithm::Crc32 => crc32fast::hash(data).to_be_bytes().to_vec(),
        HashAlgorithm::Sha256 => Sha256::digest(data).to_vec(),
    }
}

/// Whether [`matches`] knows the algorithm.
pub(super) fn is_known(algorithm: &str) -> bool {
    matches(algorithm, &[], &[]).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers() {
        assert_eq!(matches("crc32", &[0xcb, 0xf4, 0x39, 0x26], b"123456789"), Some(true));
        assert_eq!(matches("crc32", &[0xcb], b"123456789"), Some(false));
        assert_eq!(matches("sha256", imgcore::Digest::of(b"x").raw(), b"x"), Some(true));
        assert_eq!(matches("sha256", imgcore::Digest::of(b"x").raw(), b"y"), Some(false));
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(matches("sha1", &[0; 20], b""), Some(false));
        assert_eq!(matches("blake2", &[0; 20], b""), None);
        assert!(["crc16-ccitt", "md5", "sha1", "sha384", "sha512"].into_iter().all(is_known));
    }
}
