//! Android tables of device-tree overlays (`dtbo.img`), and of whole trees (`dtb.img`), which share the format.
//!
//! A big-endian header, a table of entries, then device trees one after the other. Vendor U-Boot takes entries by their
//! number or by `id` and `rev`; mainline U-Boot does so for Android only. Source: Android's "DTB/DTBO image format",
//! versions 0 and 1, and its `mkdtboimg`.
//!
//! ```
//! use rkboot::dtbo_table::{Overlay, Parts, build, parse};
//!
//! # let tree = dtbtool::model::DeviceTree::new().to_bytes(&dtbtool::WriteOptions::default())?;
//! let overlays = [Overlay { tree: &tree, id: 7, ..Overlay::default() }];
//! let file = build(&Parts { overlays: &overlays, ..Parts::default() })?;
//! let (table, report) = parse(&file);
//! let table = table.expect("a table");
//! assert!(report.is_empty());
//! assert_eq!((table.entries[0].id, table.entries[0].data(&file)), (7, tree.as_slice()));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::ops::Range;

use imgcore::{Finding, Report};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned, big_endian::U32};

use crate::{
    Error, ErrorKind, rules,
    util::{data_ranges, hex, list_ranges, slice, tail},
};

const MAGIC: u32 = 0xd7b7_ab1e;

/// Size of the header in both versions.
const HEADER_SIZE: u32 = 32;

/// Size of an entry in both versions.
const ENTRY_SIZE: u32 = 32;

/// Vendor tables have a handful, Android's a few dozen.
const MAX_ENTRIES: u32 = 1024;

/// Each byte is scanned as a tree at most this many times, however often entries claim it.
const MAX_PASSES: u64 = 4;

#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
#[allow(clippy::struct_field_names, reason = "the names of Android's documentation")]
struct Header {
    magic: U32,
    total_size: U32,
    header_size: U32,
    entry_size: U32,
    entry_count: U32,
    entries_offset: U32,
    page_size: U32,
    version: U32,
}

#[derive(Debug, Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawEntry {
    size: U32,
    offset: U32,
    id: U32,
    rev: U32,
    custom: [U32; 4],
}

const _: () = assert!(size_of::<Header>() == HEADER_SIZE as usize && size_of::<RawEntry>() == ENTRY_SIZE as usize);

/// Whether `bytes` begin as such a table.
pub fn is_dtbo_table(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC.to_be_bytes())
}

/// A table of device trees. All ranges are bytes of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DtboTable {
    /// Size of the whole.
    pub total_size: u32,
    /// 32.
    pub header_size: u32,
    /// Distance of the entries, 32.
    pub entry_size: u32,
    /// Count of entries that the header claims.
    pub entry_count: u32,
    /// Where the entries start.
    pub entries_offset: u32,
    /// Page size of the flash that it was made for, 2048.
    pub page_size: u32,
    /// 0, or 1 where entries may be compressed.
    pub version: u32,
    /// The entries.
    pub entries: Vec<Entry>,
}

/// An entry of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Entry {
    /// Where the tree is.
    pub range: Range<u64>,
    /// Which board it is for, as the boot loader understands it.
    pub id: u32,
    /// Which revision of it.
    pub rev: u32,
    /// What the boot loader wants to put there. In version 1 the first word's low 4 bits are the compression.
    pub custom: [u32; 4],
    /// How the tree is stored.
    pub compression: Compression,
}

impl Entry {
    /// The tree as it is stored, as far as the file holds it.
    pub fn data<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        slice(bytes, &self.range)
    }
}

/// How a tree is stored in a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compression {
    /// As it is; the only way in version 0.
    None,
    /// A zlib stream.
    Zlib,
    /// A gzip file.
    Gzip,
    /// No known value.
    Unknown(u8),
}

impl Compression {
    /// In a word.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Zlib => "zlib",
            Self::Gzip => "gzip",
            Self::Unknown(_) => "unknown",
        }
    }

    fn of(version: u32, custom: &[u32; 4]) -> Self {
        let [first, ..] = custom;
        match (version, first.to_le_bytes()[0] & 0xf) {
            (0, _) | (_, 0) => Self::None,
            (_, 1) => Self::Zlib,
            (_, 2) => Self::Gzip,
            (_, other) => Self::Unknown(other),
        }
    }
}

/// Reads a table and scans every tree that is stored as it is. `None` when it is no such table.
pub fn parse(bytes: &[u8]) -> (Option<DtboTable>, Report) {
    let mut report = Report::new();
    let (true, Ok((header, _))) = (is_dtbo_table(bytes), Header::ref_from_prefix(bytes)) else {
        report.push(
            Finding::error(
                rules::LEG_NO_TABLE,
                format!(
                    "no table of device trees: it starts with {} and has {} bytes, expected d7b7ab1e and at least \
                     {HEADER_SIZE}",
                    hex(slice(bytes, &(0..4))),
                    bytes.len()
                ),
            )
            .at(0..(bytes.len() as u64).min(u64::from(HEADER_SIZE)))
            .help("the download broke off or this is another file; fetch it again"),
        );
        return (None, report);
    };
    let mut table = DtboTable {
        total_size: header.total_size.get(),
        header_size: header.header_size.get(),
        entry_size: header.entry_size.get(),
        entry_count: header.entry_count.get(),
        entries_offset: header.entries_offset.get(),
        page_size: header.page_size.get(),
        version: header.version.get(),
        entries: Vec::new(),
    };
    check_header(bytes, &table, &mut report);
    read_entries(bytes, &mut table, &mut report);
    check_places(bytes, &table, &mut report);
    check_trees(bytes, &table, &mut report);
    (Some(table), report)
}

fn check_header(bytes: &[u8], table: &DtboTable, report: &mut Report) {
    let length = bytes.len() as u64;
    let total = u64::from(table.total_size);
    if total > length {
        report.push(
            Finding::error(rules::LEG_TABLE_SIZE, format!("the table claims {total} bytes, the file has {length}"))
                .at(4..8)
                .help("the download broke off; fetch the file again"),
        );
    }
    let foreign = data_ranges(bytes, total..length);
    if let (Some(first), Some(last)) = (foreign.first(), foreign.last()) {
        report.push(
            Finding::warning(
                rules::LEG_TABLE_TRAILING,
                format!("data behind the end of the table at byte {total}: bytes {}", list_ranges(&foreign)),
            )
            .at(first.start..last.end)
            .help("boot loaders do not read it, unless it is a signature of Android (AVB)"),
        );
    }
    if table.entry_size < ENTRY_SIZE || table.header_size < HEADER_SIZE || table.version > 1 {
        report.push(
            Finding::error(
                rules::LEG_TABLE_FORM,
                format!(
                    "header of {} bytes, entries of {} bytes, version {}; expected 32, 32 and 0 or 1",
                    table.header_size, table.entry_size, table.version
                ),
            )
            .at(0..u64::from(HEADER_SIZE))
            .help("boot loaders cannot read the table; make it again"),
        );
    }
    if table.entry_count == 0 {
        report.push(
            Finding::warning(rules::LEG_TABLE_EMPTY, "the table holds no device tree")
                .at(16..20)
                .help("nothing is applied; leave the file out or put overlays in it"),
        );
    }
    if table.entry_count > MAX_ENTRIES {
        report.push(
            Finding::warning(
                rules::LEG_TABLE_LIMIT,
                format!("{} entries, of which the first {MAX_ENTRIES} are read", table.entry_count),
            )
            .at(16..20)
            .help("the header is damaged, or this is another use of the format than any known here"),
        );
    }
}

fn read_entries(bytes: &[u8], table: &mut DtboTable, report: &mut Report) {
    let size = table.entry_size.max(ENTRY_SIZE);
    for index in 0..u64::from(table.entry_count.min(MAX_ENTRIES)) {
        let at = u64::from(table.entries_offset).saturating_add(index.saturating_mul(u64::from(size)));
        let Ok((raw, _)) = RawEntry::ref_from_prefix(tail(bytes, at)) else {
            report.push(
                Finding::error(
                    rules::LEG_TABLE_ENTRIES,
                    format!("entry {index} of {} is at byte {at}, behind the end of the file", table.entry_count),
                )
                .at(at..at.saturating_add(u64::from(ENTRY_SIZE)))
                .help("the file is cut or its header damaged; fetch it again"),
            );
            break;
        };
        let start = u64::from(raw.offset.get());
        let custom = raw.custom.map(U32::get);
        table.entries.push(Entry {
            range: start..start.saturating_add(u64::from(raw.size.get())),
            id: raw.id.get(),
            rev: raw.rev.get(),
            compression: Compression::of(table.version, &custom),
            custom,
        });
    }
}

fn check_places(bytes: &[u8], table: &DtboTable, report: &mut Report) {
    let end = u64::from(table.total_size).min(bytes.len() as u64);
    for (entry, index) in table.entries.iter().zip(0_usize..) {
        if entry.range.end > end {
            report.push(
                Finding::error(
                    rules::LEG_TABLE_BEYOND_END,
                    format!("tree {index} ends at byte {}, behind the end of the table at {end}", entry.range.end),
                )
                .at(entry.range.clone())
                .help("the file is cut or damaged, fetch it again"),
            );
        }
    }
    let entries = u64::from(table.entry_size).saturating_mul(table.entries.len() as u64);
    let first = u64::from(table.entries_offset);
    let mut placed: Vec<(Range<u64>, String)> = vec![
        (0..u64::from(HEADER_SIZE), "the header".to_owned()),
        (first..first.saturating_add(entries), "the entries".to_owned()),
    ];
    placed.extend(table.entries.iter().zip(0..).map(|(entry, index)| (entry.range.clone(), format!("tree {index}"))));
    placed.retain(|(range, _)| !range.is_empty());
    placed.sort_by_key(|(range, _)| (range.start, range.end));
    let mut last: Option<(Range<u64>, String)> = None;
    for (range, name) in placed {
        if let Some((before, other)) = &last {
            // Packers store a tree that is given twice once.
            let shared = range.start..before.end.min(range.end);
            if !shared.is_empty() && *before != range {
                report.push(
                    Finding::error(rules::LEG_TABLE_OVERLAP, format!("{name} overlaps {other}"))
                        .at(shared)
                        .help("one of them is not what was packed; the file is damaged, make it again"),
                );
            }
        }
        if last.as_ref().is_none_or(|(before, _)| range.end >= before.end) {
            last = Some((range, name));
        }
    }
}

fn check_trees(bytes: &[u8], table: &DtboTable, report: &mut Report) {
    let mut budget = (bytes.len() as u64).saturating_mul(MAX_PASSES);
    let mut seen = std::collections::BTreeSet::new();
    for (entry, index) in table.entries.iter().zip(0_usize..) {
        let range = &entry.range;
        let size = range.end.saturating_sub(range.start);
        if range.end > bytes.len() as u64 || !seen.insert((range.start, range.end)) {
            continue;
        }
        if entry.compression != Compression::None || size > budget {
            report.push(
                Finding::info(
                    rules::LEG_TABLE_UNCHECKED,
                    format!("tree {index} is not checked: compression {}", entry.compression.name()),
                )
                .at(range.clone()),
            );
            continue;
        }
        budget = budget.saturating_sub(size);
        let (_, findings) = dtbtool::scan(slice(bytes, range));
        report.extend(findings.owned_by(&format!("tree {index} of the table"), range.start));
    }
}

/// What a table is made of. [`Default`] is an empty table of version 0 for pages of 2048 bytes.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// The trees in their order.
    pub overlays: &'a [Overlay<'a>],
    /// Page size of the flash; boot loaders for SD card and eMMC do not look at it.
    pub page_size: u32,
    /// 0 or 1.
    pub version: u32,
}

impl Default for Parts<'_> {
    fn default() -> Self {
        Self { overlays: &[], page_size: 2048, version: 0 }
    }
}

/// One tree of [`Parts`].
#[derive(Debug, Clone, Copy, Default)]
pub struct Overlay<'a> {
    /// The tree as it is to be stored.
    pub tree: &'a [u8],
    /// Which board it is for.
    pub id: u32,
    /// Which revision of it.
    pub rev: u32,
    /// For the boot loader.
    pub custom: [u32; 4],
}

/// Makes a table as `mkdtboimg create` does: trees without gaps behind the entries, equal ones stored once.
///
/// # Errors
/// An empty tree, more trees than are read back, more than 4 GiB.
pub fn build(parts: &Parts<'_>) -> Result<Vec<u8>, Error> {
    let size: u64 = parts.overlays.iter().map(|overlay| overlay.tree.len() as u64).sum();
    let too_large =
        |_| Error::from(ErrorKind::TooLarge { what: "the table".to_owned(), size, limit: u64::from(u32::MAX) });
    let count = u32::try_from(parts.overlays.len()).unwrap_or(u32::MAX);
    if count > MAX_ENTRIES {
        let problem = format!("{count} trees, a table is read up to {MAX_ENTRIES}; leave some out");
        return Err(ErrorKind::BadPart { what: "the list of device trees".to_owned(), problem }.into());
    }
    let entries_size = count.saturating_mul(ENTRY_SIZE);
    let mut entries: Vec<RawEntry> = Vec::new();
    let mut placed: std::collections::BTreeMap<&[u8], u32> = std::collections::BTreeMap::new();
    let mut data = Vec::new();
    for overlay in parts.overlays {
        if overlay.tree.is_empty() {
            return Err(ErrorKind::EmptyImage { what: "device tree" }.into());
        }
        let size = u32::try_from(overlay.tree.len()).map_err(too_large)?;
        let start = if let Some(start) = placed.get(overlay.tree) {
            *start
        } else {
            let behind = (data.len() as u64).saturating_add(u64::from(entries_size.saturating_add(HEADER_SIZE)));
            let start = u32::try_from(behind).map_err(too_large)?;
            placed.insert(overlay.tree, start);
            data.extend_from_slice(overlay.tree);
            start
        };
        entries.push(RawEntry {
            size: U32::new(size),
            offset: U32::new(start),
            id: U32::new(overlay.id),
            rev: U32::new(overlay.rev),
            custom: overlay.custom.map(U32::new),
        });
    }
    let front = u64::from(entries_size.saturating_add(HEADER_SIZE));
    let total = u32::try_from(front.saturating_add(data.len() as u64)).map_err(too_large)?;
    let header = Header {
        magic: U32::new(MAGIC),
        total_size: U32::new(total),
        header_size: U32::new(HEADER_SIZE),
        entry_size: U32::new(ENTRY_SIZE),
        entry_count: U32::new(count),
        entries_offset: U32::new(HEADER_SIZE),
        page_size: U32::new(parts.page_size),
        version: U32::new(parts.version),
    };
    Ok([header.as_bytes(), entries.as_slice().as_bytes(), &data].concat())
}
