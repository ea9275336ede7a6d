//! The binary index of libkmod: a trie of 7-bit keys, each with values (`libkmod/libkmod-index.c` describes it).
//!
//! A node is stored behind its children. Offsets have 28 bits; the upper four say what the node has.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::collections::BTreeMap;

/// `BOOTFAST`, nearly.
const MAGIC: u32 = 0xb007_f457;
/// 2.1.
const VERSION: u32 = 0x0002_0001;
const HAS_PREFIX: u32 = 0x8000_0000;
const HAS_VALUES: u32 = 0x4000_0000;
const HAS_CHILDREN: u32 = 0x2000_0000;
/// What offsets hold.
const LIMIT: usize = 0x0fff_ffff;

#[derive(Default)]
struct Node {
    prefix: Vec<u8>,
    children: BTreeMap<u8, usize>,
    /// Priority and text, in the order in which they came.
    values: Vec<(u32, String)>,
}

/// An index while it is made.
pub(super) struct Trie {
    // The first is the root.
    nodes: Vec<Node>,
}

impl Trie {
    pub(super) fn new() -> Self {
        Self { nodes: vec![Node::default()] }
    }

    /// Adds a value under a key. Keys and values are 7-bit without NUL; others are refused.
    pub(super) fn insert(&mut self, key: &str, value: &str, priority: u32) -> bool {
        let fits = |text: &str| text.bytes().all(|byte| (1..0x80).contains(&byte));
        if !fits(key) || !fits(value) {
            return false;
        }
        let at = self.node_of(key.as_bytes());
        if let Some(node) = self.nodes.get_mut(at) {
            node.values.push((priority, value.to_owned()));
        }
        true
    }

    /// The node of a key, made if it is not there.
    fn node_of(&mut self, mut key: &[u8]) -> usize {
        let mut at = 0;
        loop {
            let fresh = self.nodes.len();
            let Some(node) = self.nodes.get_mut(at) else { return at };
            let shared = node.prefix.iter().zip(key).take_while(|(a, b)| a == b).count();
            // A prefix that the key does not have whole is split: the node keeps what is shared, a child the rest.
            if shared < node.prefix.len() {
                let mut rest = node.prefix.split_off(shared);
                let first = rest.remove(0);
                let child = Node {
                    prefix: rest,
                    children: std::mem::replace(&mut node.children, BTreeMap::from([(first, fresh)])),
                    values: std::mem::take(&mut node.values),
                };
                self.nodes.push(child);
                continue;
            }
            let Some((first, rest)) = key.get(shared..).and_then(<[u8]>::split_first) else { return at };
            if let Some(child) = node.children.get(first) {
                (at, key) = (*child, rest);
                continue;
            }
            node.children.insert(*first, fresh);
            self.nodes.push(Node { prefix: rest.to_vec(), ..Node::default() });
            return fresh;
        }
    }

    /// The file; `None` if it is larger than `limit` or than offsets reach.
    pub(super) fn write(&self, limit: u64) -> Option<Vec<u8>> {
        let limit = usize::try_from(limit).unwrap_or(LIMIT).min(LIMIT);
        let mut out = Vec::new();
        for word in [MAGIC, VERSION, 0] {
            out.extend_from_slice(&word.to_be_bytes());
        }
        let mut offsets = vec![0_u32; self.nodes.len()];
        let mut open = vec![(0, false)];
        while let Some((at, children_are_written)) = open.pop() {
            let node = self.nodes.get(at)?;
            if !children_are_written {
                open.push((at, true));
                open.extend(node.children.values().rev().map(|child| (*child, false)));
                continue;
            }
            if out.len() > limit {
                return None;
            }
            let offset = node.write(&offsets, &mut out)?;
            *offsets.get_mut(at)? = offset;
        }
        out.get_mut(8..12)?.copy_from_slice(&offsets.first()?.to_be_bytes());
        (out.len() <= limit).then_some(out)
    }
}

impl Node {
    /// Writes the node and returns its offset with what it has.
    fn write(&self, offsets: &[u32], out: &mut Vec<u8>) -> Option<u32> {
        let mut offset = u32::try_from(out.len()).ok()?;
        if !self.prefix.is_empty() {
            offset |= HAS_PREFIX;
            out.extend_from_slice(&self.prefix);
            out.push(0);
        }
        if let (Some((&first, _)), Some((&last, _))) = (self.children.first_key_value(), self.children.last_key_value())
        {
            offset |= HAS_CHILDREN;
            out.extend_from_slice(&[first, last]);
            for byte in first..=last {
                let child = self.children.get(&byte).and_then(|child| offsets.get(*child)).copied().unwrap_or(0);
                out.extend_from_slice(&child.to_be_bytes());
            }
        }
        if !self.values.is_empty() {
            offset |= HAS_VALUES;
            out.extend_from_slice(&u32::try_from(self.values.len()).ok()?.to_be_bytes());
            // By priority; of equal ones the last comes first.
            let mut values: Vec<_> = self.values.iter().rev().collect();
            values.sort_by_key(|(priority, _)| *priority);
            for (priority, value) in values {
                out.extend_from_slice(&priority.to_be_bytes());
                out.extend_from_slice(value.as_bytes());
                out.push(0);
            }
        }
        Some(offset)
    }
}
