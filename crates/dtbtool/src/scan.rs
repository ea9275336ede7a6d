//! The lenient reading: every fault of a tree, with its place, and whatever can still be read.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

mod content;
mod phandle;

use std::{collections::BTreeMap, convert::Infallible, ops::Range};

use imgcore::{ByteSize, Finding, Report};
use zerocopy::FromBytes as _;

use crate::{
    error::ErrorKind,
    header::{Blocks, Header, MemoryReservation, RawReservation, VERSION, check_blocks},
    rules,
    tree::{NodeIndex, PropertyIndex, Tree},
    walk::{FoundProperty, Visit, walk},
};

/// The largest tree that Linux on arm64 takes at boot (`MAX_FDT_SIZE`, arch/arm64/include/asm/boot.h).
pub(crate) const LINUX_LIMIT: u64 = 2 * ByteSize::MIB;
/// The largest tree that U-Boot passes on to an EFI program.
pub(crate) const UBOOT_LIMIT: u64 = 4 * ByteSize::MIB;
/// Findings with one code, above which they are counted only: damage repeats itself, and a report is for people.
const FINDINGS_PER_CODE: usize = 64;

/// Reads a tree of any origin and says all that is wrong with it.
///
/// `None` when the data is no device tree at all; else as much of the tree as could be read. Time is linear in the
/// size of the data, memory a small multiple of it. Ranges are bytes from the start of `bytes`.
///
/// ```
/// let (tree, report) = dtbtool::scan(b"not a tree");
/// assert!(tree.is_none());
/// assert_eq!(report.iter().next().map(|finding| finding.code), Some("DTB001"));
/// ```
pub fn scan(bytes: &[u8]) -> (Option<Tree>, Report) {
    let mut findings = Findings::default();
    let header = match Header::read(bytes) {
        Ok(header) => header,
        Err(kind) => {
            findings.fault(&kind);
            return (None, findings.finish());
        }
    };
    let Ok(blocks) = check_blocks(bytes, &header, |kind| {
        findings.fault(&kind);
        Ok::<(), Infallible>(())
    });
    check_header(bytes, &header, &mut findings);
    let reservations = check_reservations(&header, &blocks, &mut findings);
    let mut indexer = Indexer::new(findings);
    let Ok(()) = walk(&blocks, &mut indexer);
    let total = usize::try_from(header.totalsize).unwrap_or(usize::MAX).min(bytes.len());
    let bytes = bytes.get(..total).unwrap_or_default().to_vec();
    let (mut findings, tree) = indexer.finish(bytes, header, reservations);
    content::check(&tree, &mut findings);
    phandle::check(&tree, &mut findings);
    (Some(tree), findings.finish())
}

/// A report in the making, which does not grow with the damage.
#[derive(Default)]
pub(crate) struct Findings {
    report: Report,
    counts: BTreeMap<&'static str, usize>,
}

impl Findings {
    /// Adds a finding unless there are enough of its code.
    pub(crate) fn add(&mut self, code: &'static str, range: Range<u64>, message: impl FnOnce() -> String, help: &str) {
        let count = self.counts.entry(code).or_default();
        *count = count.saturating_add(1);
        if *count <= FINDINGS_PER_CODE {
            let finding = Finding::new(rules::severity(code), code, message()).at(range);
            self.report.push(if help.is_empty() { finding } else { finding.help(help) });
        }
    }

    fn fault(&mut self, kind: &ErrorKind) {
        if let Some(code) = kind.code() {
            self.add(code, kind.range(), || kind.to_string(), kind.help());
        }
    }

    fn finish(mut self) -> Report {
        for (code, count) in self.counts {
            if let Some(more) = count.checked_sub(FINDINGS_PER_CODE).filter(|more| *more > 0) {
                let message = format!("{more} more findings of this kind are not listed");
                self.report.push(Finding::new(rules::severity(code), code, message));
            }
        }
        self.report
    }
}

fn check_header(bytes: &[u8], header: &Header, findings: &mut Findings) {
    let total = u64::from(header.totalsize);
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if header.version > VERSION && header.last_comp_version <= VERSION {
        let message = || format!("version {}, read as version {VERSION}", header.version);
        findings.add(rules::NEWER, 20..24, message, "");
    }
    let order = [header.off_mem_rsvmap, header.off_dt_struct, header.off_dt_strings];
    if !order.is_sorted() {
        let message = || {
            format!(
                "blocks are not in the usual order: reservations at {}, structure at {}, strings at {}",
                header.off_mem_rsvmap, header.off_dt_struct, header.off_dt_strings
            )
        };
        findings.add(rules::ORDER, 8..20, message, "write the tree anew, with dtc or this crate's writer");
    }
    if length > total {
        let behind = bytes.get(usize::try_from(header.totalsize).unwrap_or(usize::MAX)..).unwrap_or_default();
        let kind = if behind.iter().all(|byte| *byte == 0) { "zero bytes" } else { "bytes" };
        let message = || format!("{} {kind} follow the total size of {total}", behind.len());
        findings.add(rules::TRAILING, total..length, message, "");
    }
    let measured = ByteSize(total);
    if total > LINUX_LIMIT {
        let message = || format!("total size is {measured}, Linux on arm64 takes at most 2 MiB at boot");
        findings.add(rules::SIZE_LINUX, 4..8, message, "no matter for a FIT; a tree for a kernel must be smaller");
    }
    if total > UBOOT_LIMIT {
        let message = || format!("total size is {measured}, U-Boot passes at most 4 MiB on to an EFI program");
        findings.add(rules::SIZE_UBOOT, 4..8, message, "no matter for a FIT; a tree for a kernel must be smaller");
    }
}

/// Physical addresses of these chips have at most 40 bits; pointers of a 64-bit build machine have 47.
const ADDRESS_END: u64 = 1 << 40;

fn check_reservations(header: &Header, blocks: &Blocks<'_>, findings: &mut Findings) -> Vec<MemoryReservation> {
    let pairs = <[RawReservation]>::ref_from_bytes(blocks.reservations).unwrap_or_default();
    let reservations: Vec<MemoryReservation> =
        pairs.iter().map(|raw| MemoryReservation { address: raw.address.get(), size: raw.size.get() }).collect();
    let place = |index: usize| {
        let start = u64::from(header.off_mem_rsvmap).saturating_add((index as u64).saturating_mul(16));
        start..start.saturating_add(16)
    };
    for (index, MemoryReservation { address, size }) in reservations.iter().enumerate() {
        if address.checked_add(*size).is_none_or(|end| end > ADDRESS_END) {
            let message =
                || format!("memory reservation at 0x{address:x} of 0x{size:x} bytes is beyond a 40-bit address space");
            let help = "probably a pointer of the machine that built the file; harmless to boot, ask its author to mend the build";
            findings.add(rules::RSV_ADDRESS, place(index), message, help);
        }
    }
    let mut by_address: Vec<(u64, u64, usize)> = reservations
        .iter()
        .enumerate()
        .filter(|(_, reservation)| reservation.size > 0)
        .map(|(index, reservation)| (reservation.address, reservation.address.saturating_add(reservation.size), index))
        .collect();
    by_address.sort_unstable();
    let mut furthest: Option<(u64, u64, usize)> = None;
    for (start, end, index) in by_address {
        if let Some((other, other_end, _)) = furthest.filter(|(_, other_end, _)| start < *other_end) {
            let message = || {
                format!(
                    "memory reservation 0x{start:x}..0x{end:x} overlaps memory reservation 0x{other:x}..0x{other_end:x}"
                )
            };
            findings.add(rules::RSV_OVERLAP, place(index), message, "join the two /memreserve/ entries into one");
        }
        if furthest.is_none_or(|(_, other_end, _)| end > other_end) {
            furthest = Some((start, end, index));
        }
    }
    reservations
}

/// Collects the index of a [`Tree`] from the walk.
struct Indexer {
    findings: Findings,
    nodes: Vec<NodeIndex>,
    properties: Vec<PropertyIndex>,
    open: Vec<usize>,
}

impl Indexer {
    fn new(findings: Findings) -> Self {
        Self { findings, nodes: Vec::new(), properties: Vec::new(), open: Vec::new() }
    }

    fn finish(mut self, bytes: Vec<u8>, header: Header, reservations: Vec<MemoryReservation>) -> (Findings, Tree) {
        // A property behind a subnode, in a damaged tree, still belongs to its node.
        self.properties.sort_by_key(|property| property.node);
        for (index, property) in self.properties.iter().enumerate() {
            if let Some(node) = self.nodes.get_mut(property.node) {
                if node.properties.is_empty() {
                    node.properties = index..index;
                }
                node.properties.end = index.saturating_add(1);
            }
        }
        let Self { findings, nodes, properties, .. } = self;
        (findings, Tree { bytes, header, reservations, nodes, properties, bytewise: false })
    }
}

impl<'a> Visit<'a> for Indexer {
    type Stop = Infallible;

    fn fault(&mut self, kind: ErrorKind) -> Result<(), Infallible> {
        self.findings.fault(&kind);
        Ok(())
    }

    fn begin(&mut self, offset: usize, name: &'a str, name_offset: usize) {
        let parent = self.open.last().copied();
        let depth = self.open.len();
        self.open.push(self.nodes.len());
        let name = name_offset..name_offset.saturating_add(name.len());
        self.nodes.push(NodeIndex { range: offset..offset, name, parent, depth, properties: 0..0 });
    }

    fn reopen_root(&mut self) {
        if !self.nodes.is_empty() {
            self.open.push(0);
        }
    }

    fn end(&mut self, end: usize) {
        if let Some(node) = self.open.pop().and_then(|index| self.nodes.get_mut(index)) {
            node.range.end = end;
        }
    }

    fn property(&mut self, found: FoundProperty<'a>) {
        let Some(node) = self.open.last().copied() else { return };
        let name = found.name_offset..found.name_offset.saturating_add(found.name.len());
        let value = found.value_offset..found.value_offset.saturating_add(found.value.len());
        self.properties.push(PropertyIndex { node, offset: found.offset, name, value });
    }

    fn padding(&mut self, offset: usize, bytes: &'a [u8]) {
        let range = offset as u64..(offset as u64).saturating_add(bytes.len() as u64);
        let message = || format!("padding at offset {offset} is not zero: {bytes:02x?}");
        self.findings.add(rules::PADDING, range, message, "harmless; write the tree anew to clean it");
    }

    fn behind_end(&mut self, offset: usize, rest: usize) {
        let range = offset as u64..(offset as u64).saturating_add(rest as u64);
        let message = || format!("the structure block has {rest} bytes behind its end token");
        self.findings.add(rules::BEHIND_END, range, message, "harmless; write the tree anew to clean it");
    }
}
