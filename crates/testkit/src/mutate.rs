//! Damage that is the same in every run.

/// A small deterministic generator of numbers (xorshift64*, Vigna 2016). Not for secrets.
#[derive(Debug, Clone)]
pub struct Rng(u64);

impl Rng {
    /// A generator whose sequence depends on `seed` alone.
    pub fn new(seed: u64) -> Self {
        Self(seed ^ 0x9e37_79b9_7f4a_7c15 | 1)
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`, 0 if `bound` is 0.
    pub fn below(&mut self, bound: usize) -> usize {
        let bound = bound as u64;
        usize::try_from(self.next_u64().checked_rem(bound).unwrap_or(0)).unwrap_or(0)
    }

    /// Random bytes.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(count + 8);
        while bytes.len() < count {
            bytes.extend_from_slice(&self.next_u64().to_le_bytes());
        }
        bytes.truncate(count);
        bytes
    }
}

/// Calls `check` with `count` damaged forms of `original`: flipped bits, overwritten words (0, all ones, lengths near
/// the limits), cut and repeated parts, cut ends, appended bytes. Half of the damage falls into the first 4 KiB, where
/// headers are. The same seed gives the same damage.
pub fn mutants(seed: u64, count: usize, original: &[u8], mut check: impl FnMut(&[u8])) {
    let mut rng = Rng::new(seed);
    let mut mutant = Vec::with_capacity(original.len() + 4096);
    for _ in 0..count {
        mutant.clear();
        mutant.extend_from_slice(original);
        for _ in 0..=rng.below(4) {
            damage(&mut rng, &mut mutant);
        }
        check(&mutant);
    }
}

fn damage(rng: &mut Rng, bytes: &mut Vec<u8>) {
    if bytes.is_empty() {
        *bytes = rng.bytes(64);
        return;
    }
    let span = if rng.below(2) == 0 { bytes.len().min(4096) } else { bytes.len() };
    let at = rng.below(span);
    match rng.below(8) {
        0..=2 => bytes[at] ^= 1 << rng.below(8),
        3 | 4 => {
            let at = at & !3;
            let words = [0, u32::MAX, 1, 0x7fff_ffff, 0x8000_0000, 0xffff_fff0, rng.below(1 << 20) as u32];
            let word = words[rng.below(words.len())];
            let word = if rng.below(2) == 0 { word.to_be_bytes() } else { word.to_le_bytes() };
            for (to, from) in bytes.iter_mut().skip(at).zip(word) {
                *to = from;
            }
        }
        5 => {
            let length = rng.below(256).min(bytes.len() - at);
            let to = rng.below(bytes.len() - length + 1);
            bytes.copy_within(at..at + length, to);
        }
        6 => {
            let length = rng.below(64).min(bytes.len() - at);
            bytes.drain(at..at + length);
        }
        _ if rng.below(2) == 0 => bytes.truncate(at),
        _ => {
            let more = rng.below(64);
            let more = rng.bytes(more);
            bytes.extend_from_slice(&more);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_damage() {
        let collect = |seed| {
            let mut all = Vec::new();
            mutants(seed, 50, &[7; 300], |mutant| all.push(mutant.to_vec()));
            all
        };
        assert_eq!(collect(1), collect(1));
        assert_ne!(collect(1), collect(2));
        assert!(collect(1).iter().filter(|mutant| mutant.as_slice() != [7; 300]).count() > 40);
    }
}
