//! The file allocation table: following chains, counting, and who owns which cluster.

use std::{collections::BTreeMap, io, ops::Range};

use imgcore::ReadAt;

use super::volume::Parameters;

/// Bytes of the table that are held at a time.
const PAGE: u64 = 4096;
/// Bytes that are compared and counted at a time.
const CHUNK: usize = 64 * 1024;
/// Runs of clusters that are remembered over all files: more fragments than that and the reader gives up.
const RUN_LIMIT: usize = 1 << 20;

/// How a chain ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// With the mark for it.
    Proper,
    /// At a cluster that this same chain had before.
    Loop(u32),
    /// At a cluster of another file, by owner.
    Crossed(u32, u32),
    /// With a value that is no cluster: free, bad, reserved or beyond the end.
    Broken {
        /// The cluster whose entry it is, `None` for the start in the directory entry.
        cluster: Option<u32>,
        /// The value.
        value: u32,
    },
    /// The limit of fragments is reached.
    TooMany,
}

/// The active table with the clusters claimed so far.
pub(super) struct Table<'a> {
    part: &'a dyn ReadAt,
    offset: u64,
    /// One behind the highest cluster number.
    end: u32,
    page: Vec<u8>,
    page_number: Option<u64>,
    /// First cluster of a run → (one behind the last, owner).
    claimed: BTreeMap<u32, (u32, u32)>,
    claimed_clusters: u64,
}

impl<'a> Table<'a> {
    pub(super) fn new(part: &'a dyn ReadAt, parameters: &Parameters, active: u8, end: u32) -> Self {
        let skipped = parameters.fat_bytes().saturating_mul(u64::from(active));
        Self {
            part,
            offset: parameters.fat_offset().saturating_add(skipped),
            end,
            page: Vec::new(),
            page_number: None,
            claimed: BTreeMap::new(),
            claimed_clusters: 0,
        }
    }

    /// Clusters that belong to some chain.
    pub(super) fn claimed_clusters(&self) -> u64 {
        self.claimed_clusters
    }

    /// The byte range of the entry of a cluster.
    pub(super) fn place(&self, cluster: u32) -> Range<u64> {
        let at = self.offset.saturating_add(u64::from(cluster).saturating_mul(4));
        at..at.saturating_add(4)
    }

    /// The entry of a cluster, all 32 bits.
    pub(super) fn raw(&mut self, cluster: u32) -> io::Result<u32> {
        let at = u64::from(cluster).saturating_mul(4);
        let number = at / PAGE;
        if self.page_number != Some(number) {
            self.page_number = None;
            let start = number.saturating_mul(PAGE);
            let len = u64::from(self.end).saturating_mul(4).saturating_sub(start).min(PAGE);
            self.page.resize(usize::try_from(len).unwrap_or_default(), 0);
            self.part.read_exact_at(self.offset.saturating_add(start), &mut self.page)?;
            self.page_number = Some(number);
        }
        let at = usize::try_from(at % PAGE).unwrap_or_default();
        let bytes = self.page.get(at..).and_then(|rest| rest.first_chunk::<4>());
        Ok(bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes)))
    }

    /// Follows the chain from `first`, claims its clusters for `owner` and returns them as runs.
    pub(super) fn chain(&mut self, first: u32, owner: u32) -> io::Result<(Vec<Range<u32>>, End)> {
        let mut runs: Vec<Range<u32>> = Vec::new();
        let mut from = None;
        let mut next = first;
        loop {
            if !(2..self.end).contains(&next) {
                let end = if next >= 0x0fff_fff8 && from.is_some() {
                    End::Proper
                } else {
                    End::Broken { cluster: from, value: next }
                };
                return Ok((runs, end));
            }
            // A run: up to the next claimed cluster, as long as entries count up.
            if let Some((_, (end, other))) = self.claimed.range(..=next).next_back()
                && *end > next
            {
                let end = if *other == owner { End::Loop(next) } else { End::Crossed(next, *other) };
                return Ok((runs, end));
            }
            if self.claimed.len() >= RUN_LIMIT {
                return Ok((runs, End::TooMany));
            }
            let limit = self.claimed.range(next..).next().map_or(self.end, |(start, _)| *start);
            let start = next;
            let mut last = start;
            loop {
                let value = self.raw(last)? & 0x0fff_ffff;
                from = Some(last);
                next = value;
                if Some(value) != last.checked_add(1) || value >= limit {
                    break;
                }
                last = value;
            }
            let end = last.saturating_add(1);
            self.claimed.insert(start, (end, owner));
            self.claimed_clusters = self.claimed_clusters.saturating_add(u64::from(end.saturating_sub(start)));
            runs.push(start..end);
        }
    }

    /// Counts free, bad and other entries of all clusters.
    pub(super) fn count(&self) -> io::Result<Counts> {
        let mut counts = Counts::default();
        let mut buffer = vec![0; CHUNK];
        let zeros = vec![0; CHUNK];
        let mut at = 8;
        let end = u64::from(self.end).saturating_mul(4);
        while at < end {
            let len = usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX).min(CHUNK);
            let chunk = buffer.get_mut(..len).unwrap_or_default();
            self.part.read_exact_at(self.offset.saturating_add(at), chunk)?;
            if Some(&*chunk) == zeros.get(..len) {
                counts.free = counts.free.saturating_add(len as u64 / 4);
            } else {
                for entry in chunk.as_chunks::<4>().0 {
                    match u32::from_le_bytes(*entry) & 0x0fff_ffff {
                        0 => counts.free = counts.free.saturating_add(1),
                        0x0fff_fff7 => counts.bad = counts.bad.saturating_add(1),
                        _ => counts.used = counts.used.saturating_add(1),
                    }
                }
            }
            at = at.saturating_add(len as u64);
        }
        Ok(counts)
    }
}

#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Counts {
    pub(super) free: u64,
    pub(super) bad: u64,
    pub(super) used: u64,
}

/// The first byte in which two equally long areas differ.
pub(super) fn first_difference(part: &dyn ReadAt, a: u64, b: u64, len: u64) -> io::Result<Option<u64>> {
    let (mut left, mut right) = (vec![0; CHUNK], vec![0; CHUNK]);
    let mut at = 0;
    while at < len {
        let count = usize::try_from(len.saturating_sub(at)).unwrap_or(usize::MAX).min(CHUNK);
        let (left, right) = (left.get_mut(..count).unwrap_or_default(), right.get_mut(..count).unwrap_or_default());
        part.read_exact_at(a.saturating_add(at), left)?;
        part.read_exact_at(b.saturating_add(at), right)?;
        if left != right {
            let index = left.iter().zip(&*right).position(|(left, right)| left != right).unwrap_or_default();
            return Ok(Some(at.saturating_add(index as u64)));
        }
        at = at.saturating_add(count as u64);
    }
    Ok(None)
}
