//! Checksums that know zeros: CRC-64 and CRC-32 of a run of any length in microseconds, XXH64 of zeros without
//! touching memory.

/// CRC-64/XZ of `bytes`.
pub(super) fn crc64(bytes: &[u8]) -> u64 {
    let mut digest = crc64fast::Digest::new();
    digest.write(bytes);
    digest.sum64()
}

/// A reflected CRC with initial and final complement, as xz and gzip use it.
struct Polynomial {
    /// Without the highest term; x^0 is the top bit of `width`.
    terms: u64,
    width: u32,
}

const CRC64: Polynomial = Polynomial { terms: 0xC96C_5795_D787_0F42, width: 64 };
#[cfg(feature = "gz")]
const CRC32: Polynomial = Polynomial { terms: 0xEDB8_8320, width: 32 };

impl Polynomial {
    /// The product of two remainders.
    const fn multiply(&self, a: u64, mut b: u64) -> u64 {
        let mut product = 0;
        let mut place = self.width;
        while place > 0 {
            place -= 1;
            if (a >> place) & 1 == 1 {
                product ^= b;
            }
            b = if b & 1 == 1 { (b >> 1) ^ self.terms } else { b >> 1 };
        }
        product
    }

    /// x^(8 * count): what `count` more bytes multiply the register by.
    const fn shift(&self, mut count: u64) -> u64 {
        // x^8, then squares of it.
        let mut power = 1 << (self.width - 9);
        let mut result = 1 << (self.width - 1);
        while count > 0 {
            if count & 1 == 1 {
                result = self.multiply(result, power);
            }
            power = self.multiply(power, power);
            count >>= 1;
        }
        result
    }

    const fn ones(&self) -> u64 {
        u64::MAX >> (64 - self.width)
    }

    /// The checksum of `count` zeros: the complemented register runs through them unfed.
    const fn zeros(&self, count: u64) -> u64 {
        self.multiply(self.shift(count), self.ones()) ^ self.ones()
    }
}

/// CRC-64/XZ of `count` zeros.
pub(super) const fn crc64_zeros(count: u64) -> u64 {
    CRC64.zeros(count)
}

/// CRC-32 of `count` zeros.
#[cfg(feature = "gz")]
pub(super) const fn crc32_zeros(count: u64) -> u32 {
    CRC32.zeros(count) as u32
}

/// CRC-32 of two pieces in a row, from that of each and the size of the second.
#[cfg(feature = "gz")]
pub(super) const fn crc32_join(first: u32, second: u32, second_size: u64) -> u32 {
    CRC32.multiply(CRC32.shift(second_size), first as u64) as u32 ^ second
}

/// XXH64 with seed 0 (`xxhash_spec.md`). It is written here because no crate lets zeros be added without memory:
/// for a zero lane the round is a rotation and a product.
#[cfg(feature = "zst")]
#[derive(Debug, Clone)]
pub(super) struct Xxh64 {
    lanes: [u64; 4],
    rest: [u8; 32],
    rest_len: usize,
    total: u64,
}

#[cfg(feature = "zst")]
impl Xxh64 {
    const P1: u64 = 0x9E37_79B1_85EB_CA87;
    const P2: u64 = 0xC2B2_AE3D_27D4_EB4F;
    const P3: u64 = 0x1656_67B1_9E37_79F9;
    const P4: u64 = 0x85EB_CA77_C2B2_AE63;
    const P5: u64 = 0x27D4_EB2F_1656_67C5;

    pub(super) fn new() -> Self {
        let lanes = [Self::P1.wrapping_add(Self::P2), Self::P2, 0, Self::P1.wrapping_neg()];
        Self { lanes, rest: [0; 32], rest_len: 0, total: 0 }
    }

    const fn round(lane: u64, input: u64) -> u64 {
        lane.wrapping_add(input.wrapping_mul(Self::P2)).rotate_left(31).wrapping_mul(Self::P1)
    }

    fn stripe(lanes: &mut [u64; 4], stripe: &[u8; 32]) {
        for (lane, word) in lanes.iter_mut().zip(stripe.as_chunks::<8>().0) {
            *lane = Self::round(*lane, u64::from_le_bytes(*word));
        }
    }

    /// Adds bytes.
    pub(super) fn update(&mut self, mut bytes: &[u8]) {
        self.total = self.total.wrapping_add(bytes.len() as u64);
        if self.rest_len > 0 {
            let take = bytes.len().min(32 - self.rest_len);
            self.rest[self.rest_len..self.rest_len + take].copy_from_slice(&bytes[..take]);
            self.rest_len += take;
            bytes = &bytes[take..];
            if self.rest_len < 32 {
                return;
            }
            Self::stripe(&mut self.lanes, &self.rest);
        }
        let (stripes, rest) = bytes.as_chunks::<32>();
        let mut lanes = self.lanes;
        for stripe in stripes {
            Self::stripe(&mut lanes, stripe);
        }
        self.lanes = lanes;
        self.rest[..rest.len()].copy_from_slice(rest);
        self.rest_len = rest.len();
    }

    /// Adds `count` zeros.
    pub(super) fn update_zeros(&mut self, count: u64) {
        let zeros = [0; 32];
        // To a stripe border, whole stripes, the rest.
        let head = count.min((32 - self.rest_len as u64) % 32);
        self.update(&zeros[..head as usize]);
        let stripes = (count - head) / 32;
        let [mut a, mut b, mut c, mut d] = self.lanes;
        for _ in 0..stripes {
            a = Self::round(a, 0);
            b = Self::round(b, 0);
            c = Self::round(c, 0);
            d = Self::round(d, 0);
        }
        self.lanes = [a, b, c, d];
        self.total = self.total.wrapping_add(stripes * 32);
        self.update(&zeros[..((count - head) % 32) as usize]);
    }

    /// The checksum.
    pub(super) fn finish(&self) -> u64 {
        let [a, b, c, d] = self.lanes;
        let mut hash = if self.total >= 32 {
            let mut hash = a
                .rotate_left(1)
                .wrapping_add(b.rotate_left(7))
                .wrapping_add(c.rotate_left(12))
                .wrapping_add(d.rotate_left(18));
            for lane in self.lanes {
                hash = (hash ^ Self::round(0, lane)).wrapping_mul(Self::P1).wrapping_add(Self::P4);
            }
            hash
        } else {
            Self::P5
        };
        hash = hash.wrapping_add(self.total);
        let (words, rest) = self.rest[..self.rest_len].as_chunks::<8>();
        for word in words {
            hash ^= Self::round(0, u64::from_le_bytes(*word));
            hash = hash.rotate_left(27).wrapping_mul(Self::P1).wrapping_add(Self::P4);
        }
        let (halves, bytes) = rest.as_chunks::<4>();
        for half in halves {
            hash ^= u64::from(u32::from_le_bytes(*half)).wrapping_mul(Self::P1);
            hash = hash.rotate_left(23).wrapping_mul(Self::P2).wrapping_add(Self::P3);
        }
        for byte in bytes {
            hash ^= u64::from(*byte).wrapping_mul(Self::P5);
            hash = hash.rotate_left(11).wrapping_mul(Self::P1);
        }
        hash = (hash ^ (hash >> 33)).wrapping_mul(Self::P2);
        hash = (hash ^ (hash >> 29)).wrapping_mul(Self::P3);
        hash ^ (hash >> 32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc_of_zeros_equals_the_long_way() {
        assert_eq!(crc64_zeros(16 << 20), 0x20fe_cdff_f603_e3be, "sinks.md §5.2");
        for count in [0_u64, 1, 7, 8, 4096, 65_537, 1 << 20] {
            let zeros = vec![0; usize::try_from(count).unwrap()];
            assert_eq!(crc64_zeros(count), crc64(&zeros), "{count}");
            #[cfg(feature = "gz")]
            assert_eq!(crc32_zeros(count), crc32fast::hash(&zeros), "{count}");
        }
    }

    #[cfg(feature = "gz")]
    #[test]
    fn joined_crc32_equals_the_crc_of_the_whole() {
        let bytes: Vec<u8> = (0..70_000_u32).map(|i| ((i * 7) >> 3) as u8).collect();
        for cut in [0, 1, 5, 65_536, bytes.len()] {
            let (a, b) = bytes.split_at(cut);
            let joined = crc32_join(crc32fast::hash(a), crc32fast::hash(b), b.len() as u64);
            assert_eq!(joined, crc32fast::hash(&bytes), "{cut}");
        }
    }

    #[cfg(feature = "zst")]
    #[test]
    fn xxh64_equals_its_reference_in_any_pieces() {
        let bytes: Vec<u8> = (0..1000_u32).map(|i| ((i * i) >> 4) as u8).collect();
        for cut in 0..100 {
            let mut ours = Xxh64::new();
            let (a, b) = bytes.split_at(cut * 3);
            ours.update(a);
            ours.update_zeros(cut as u64 * 5);
            ours.update(b);
            let whole = [a, &vec![0; cut * 5], b].concat();
            assert_eq!(ours.finish(), xxhash_rust::xxh64::xxh64(&whole, 0), "{cut}");
        }
        for (text, hash) in [("", 0xEF46_DB37_51D8_E999_u64), ("a", 0xD24E_C4F1_A98C_6E5B)] {
            let mut ours = Xxh64::new();
            ours.update(text.as_bytes());
            assert_eq!(ours.finish(), hash, "{text}");
        }
    }
}
