//! Labelled half-open byte ranges and the one question about them: do any overlap?

use std::{fmt, ops::Range};

/// A byte range and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labelled {
    /// Whose range it is, in the user's words.
    pub owner: String,
    /// Half-open byte range on the medium.
    pub range: Range<u64>,
}

/// Two ranges that share bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Overlap {
    /// The range that starts first (or was added first, if both start together).
    pub first: Labelled,
    /// The other one.
    pub second: Labelled,
}

impl Overlap {
    /// The bytes that both claim.
    pub fn shared(&self) -> Range<u64> {
        self.first.range.start.max(self.second.range.start)..self.first.range.end.min(self.second.range.end)
    }
}

impl fmt::Display for Overlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shared = self.shared();
        write!(
            f,
            "{} [{}..{}) overlaps {} [{}..{}) in bytes [{}..{})",
            self.first.owner,
            self.first.range.start,
            self.first.range.end,
            self.second.owner,
            self.second.range.start,
            self.second.range.end,
            shared.start,
            shared.end
        )
    }
}

/// A map of who owns which bytes of a medium. Empty ranges own nothing and overlap nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Layout {
    ranges: Vec<Labelled>,
}

impl Layout {
    /// A map without ranges.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a range.
    pub fn add(&mut self, owner: impl Into<String>, range: Range<u64>) {
        self.ranges.push(Labelled { owner: owner.into(), range });
    }

    /// Adds all ranges of another map.
    pub fn join(&mut self, other: Self) {
        self.ranges.extend(other.ranges);
    }

    /// The ranges by start, then end; ranges that are equal in both stay in the order they were added.
    pub fn sorted(&self) -> Vec<&Labelled> {
        let mut ranges: Vec<_> = self.ranges.iter().collect();
        ranges.sort_by_key(|labelled| (labelled.range.start, labelled.range.end));
        ranges
    }

    /// Every pair of ranges that share bytes, by the start of the first, then of the second.
    ///
    /// O(n log n) plus the number of pairs found.
    pub fn overlaps(&self) -> Vec<Overlap> {
        let mut open: Vec<&Labelled> = Vec::new();
        let mut overlaps = Vec::new();
        for labelled in self.sorted().into_iter().filter(|labelled| !labelled.range.is_empty()) {
            open.retain(|earlier| earlier.range.end > labelled.range.start);
            for earlier in &open {
                overlaps.push(Overlap { first: (*earlier).clone(), second: labelled.clone() });
            }
            open.push(labelled);
        }
        overlaps.sort_by_key(|overlap| (overlap.first.range.start, overlap.second.range.start));
        overlaps
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn overlaps_equal_a_brute_force_map(ranges in prop::collection::vec((0_u64..60, 0_u64..12), 0..12)) {
            let mut layout = Layout::new();
            let mut owners = vec![Vec::new(); 80];
            for (index, (start, length)) in ranges.iter().enumerate() {
                layout.add(index.to_string(), *start..start + length);
                for byte in *start..start + length {
                    owners[usize::try_from(byte).unwrap()].push(index);
                }
            }
            let mut expected = std::collections::BTreeSet::new();
            for byte in &owners {
                for (at, a) in byte.iter().enumerate() {
                    expected.extend(byte.iter().skip(at + 1).map(|b| (*a, *b)));
                }
            }
            let found = layout.overlaps();
            prop_assert_eq!(found.len(), expected.len());
            for overlap in found {
                let pair = (overlap.first.owner.parse::<usize>().unwrap(), overlap.second.owner.parse::<usize>().unwrap());
                prop_assert!(expected.contains(&(pair.0.min(pair.1), pair.0.max(pair.1))));
                prop_assert!(!overlap.shared().is_empty());
            }
        }
    }

    /// 64 bytes of medium, one bit each: the brute-force map of a million layouts.
    #[test]
    fn a_million_layouts_overlap_exactly_where_a_map_of_bits_does() {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let mut seen = [0_u32; 2];
        for case in 0..1_000_000 {
            let mut layout = Layout::new();
            let mut maps: [u64; 5] = [0; 5];
            let bits = random();
            let count = usize::try_from(bits % 6).unwrap();
            for (index, map) in maps.iter_mut().take(count).enumerate() {
                let word = random();
                // Short ranges as often as long ones, ends beyond the start, empty ones and neighbours.
                let start = (word % 56) >> ((word >> 24) % 4);
                let length = (word >> 8) % (1 << ((word >> 16) % 4));
                layout.add(["a", "b", "c", "d", "e"][index], start..start + length);
                *map = ((1 << length) - 1) << start;
            }
            let pairs = (0..count).flat_map(|a| (a + 1..count).map(move |b| (a, b)));
            let expected = pairs.filter(|(a, b)| maps[*a] & maps[*b] != 0).count();
            let found = layout.overlaps();
            assert_eq!(found.len(), expected, "case {case}: {layout:?}");
            let index = |owner: &str| usize::from(owner.as_bytes()[0] - b'a');
            for overlap in &found {
                let shared = overlap.shared();
                let both = maps[index(&overlap.first.owner)] & maps[index(&overlap.second.owner)];
                assert_eq!(((1 << (shared.end - shared.start)) - 1) << shared.start, both, "case {case}: {overlap}");
            }
            seen[usize::from(expected > 0)] += 1;
        }
        assert!(seen.iter().all(|count| *count > 100_000), "both outcomes are common: {seen:?}");
    }

    #[test]
    fn neighbours_and_empty_ranges_do_not_overlap() {
        let mut layout = Layout::new();
        layout.add("a", 0..10);
        layout.add("b", 10..20);
        layout.add("empty", 5..5);
        assert!(layout.overlaps().is_empty());
    }
}
