//! Hashes of the raw image, computed beside the pass on a thread of their own: they cannot be parallel, and no
//! shortcut through zeros exists for SHA-256 (`sinks.md` §8).

use imgcore::{Digest, Hasher};

#[cfg(feature = "zst")]
use super::checksum::Xxh64;

/// Zeros that are hashed before it is asked again whether anybody still wants the hash.
const STEP: u64 = 1 << 20;

/// The hashes that are wanted of the raw image.
#[derive(Default)]
pub(super) struct Hashes {
    sha256: Option<Hasher>,
    #[cfg(feature = "zst")]
    xxh64: Option<Xxh64>,
    zeros: Vec<u8>,
}

impl Hashes {
    /// SHA-256, if it is wanted.
    pub(super) fn sha256_if(wanted: bool) -> Self {
        Self { sha256: wanted.then(Hasher::new), ..Self::default() }
    }

    /// And XXH64.
    #[cfg(feature = "zst")]
    pub(super) fn and_xxh64(mut self) -> Self {
        self.xxh64 = Some(Xxh64::new());
        self
    }

    /// Whether there is anything to do.
    pub(super) fn wanted(&self) -> bool {
        #[cfg(feature = "zst")]
        let other = self.xxh64.is_some();
        #[cfg(not(feature = "zst"))]
        let other = false;
        self.sha256.is_some() || other
    }

    /// Adds bytes.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        if let Some(hasher) = &mut self.sha256 {
            hasher.update(bytes);
        }
        #[cfg(feature = "zst")]
        if let Some(hasher) = &mut self.xxh64 {
            hasher.update(bytes);
        }
    }

    /// Adds zeros, unless `stopped`.
    pub(super) fn update_zeros(&mut self, mut count: u64, stopped: impl Fn() -> bool) {
        if self.sha256.is_some() {
            self.zeros.resize(STEP as usize, 0);
        }
        while count > 0 && !stopped() {
            let part = count.min(STEP);
            if let Some(hasher) = &mut self.sha256 {
                hasher.update(&self.zeros[..part as usize]);
            }
            #[cfg(feature = "zst")]
            if let Some(hasher) = &mut self.xxh64 {
                hasher.update_zeros(part);
            }
            count -= part;
        }
    }

    /// The SHA-256, if it was wanted.
    pub(super) fn digest(&self) -> Option<Digest> {
        self.sha256.clone().map(Hasher::finish)
    }

    /// The XXH64, if it was wanted.
    #[cfg(feature = "zst")]
    pub(super) fn xxh64(&self) -> Option<u64> {
        self.xxh64.as_ref().map(Xxh64::finish)
    }
}
