//! The sections of a relocatable ELF file of any class and byte order (ELF specification, chapter 4), as libkmod finds
//! them: by name, the first that lies inside the file.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::ops::Range;

use imgcore::Finding;

use crate::rules::{self, finding};

use super::{
    Limits, Step,
    unpack::{Unpacked, too_large},
};

/// `e_machine` of the architectures whose modules are met.
pub mod machine {
    /// x86.
    pub const I386: u16 = 3;
    /// 32-bit Arm.
    pub const ARM: u16 = 40;
    /// x86-64.
    pub const X86_64: u16 = 62;
    /// 64-bit Arm.
    pub const AARCH64: u16 = 183;
    /// RISC-V.
    pub const RISCV: u16 = 243;

    /// Name of a machine, or its number.
    pub fn name(machine: u16) -> String {
        match machine {
            I386 => "i386".to_owned(),
            ARM => "arm".to_owned(),
            X86_64 => "x86-64".to_owned(),
            AARCH64 => "arm64".to_owned(),
            RISCV => "riscv".to_owned(),
            other => format!("ELF machine {other}"),
        }
    }
}

/// `e_type` of a relocatable file.
const ET_REL: u64 = 1;
/// Section header of 64-bit files, the larger one.
const SECTION_HEADER_64: u64 = 64;
const SECTION_HEADER_32: u64 = 40;
/// Section headers that are read. A kernel built with `-ffunction-sections` makes modules with some ten thousand; 16
/// bits hold no more than this.
const MAX_SECTIONS: u64 = 0xffff;
/// Bytes of `.shstrtab` that are read.
const MAX_NAMES: u64 = 8 << 20;

/// How the numbers of a file are stored.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    pub(super) is_64: bool,
    pub(super) big_endian: bool,
}

impl Layout {
    /// An unsigned number of up to eight bytes.
    pub(super) fn uint(self, bytes: &[u8], at: usize, size: usize) -> Option<u64> {
        let field = bytes.get(at..at.checked_add(size)?)?;
        let fold = |value: u64, byte: &u8| (value << 8) | u64::from(*byte);
        Some(if self.big_endian { field.iter().fold(0, fold) } else { field.iter().rev().fold(0, fold) })
    }

    /// A field whose place differs between 64-bit and 32-bit files, as (at, size) of each.
    fn pick(self, bytes: &[u8], wide: (usize, usize), narrow: (usize, usize)) -> Option<u64> {
        let (at, size) = if self.is_64 { wide } else { narrow };
        self.uint(bytes, at, size)
    }

    /// Bytes of a symbol.
    pub(super) const fn symbol(self) -> usize {
        if self.is_64 { 24 } else { 16 }
    }

    /// Bytes of a CRC in `__versions`, in front of the name.
    pub(super) const fn version_crc(self) -> usize {
        if self.is_64 { 8 } else { 4 }
    }
}

/// One section.
#[derive(Debug)]
struct Section {
    name: u64,
    range: Range<u64>,
}

/// The table of sections of a module.
#[derive(Debug)]
pub(super) struct Sections {
    pub(super) layout: Layout,
    pub(super) machine: u16,
    table: Vec<Section>,
    names: Vec<u8>,
    size: u64,
}

impl Sections {
    /// Reads header and table.
    pub(super) fn read(data: &Unpacked<'_>) -> Step<Self> {
        let head = data.part(&(0..data.size.min(64)))?;
        if !head.starts_with(b"\x7fELF") {
            return Err(bad(0..64, "it is no ELF file", "a kernel module"));
        }
        let layout = match (head.get(4), head.get(5)) {
            (Some(class @ (1 | 2)), Some(order @ (1 | 2))) => Layout { is_64: *class == 2, big_endian: *order == 2 },
            _ => return Err(bad(4..6, "its ELF class or byte order is unknown", "1 or 2 in bytes 4 and 5")),
        };
        let cut = || bad(0..64, "its ELF header is cut", "64 bytes");
        let kind = layout.uint(&head, 16, 2).ok_or_else(cut)?;
        if kind != ET_REL {
            let message = format!("it is an ELF file of type {kind}");
            return Err(bad(16..18, &message, "type 1, a relocatable file, as every kernel module is"));
        }
        let machine = layout.uint(&head, 18, 2).and_then(|value| u16::try_from(value).ok()).ok_or_else(cut)?;
        let start = layout.pick(&head, (40, 8), (32, 4)).ok_or_else(cut)?;
        let entry = layout.pick(&head, (58, 2), (46, 2)).ok_or_else(cut)?;
        let count = layout.pick(&head, (60, 2), (48, 2)).ok_or_else(cut)?.min(MAX_SECTIONS);
        let names = layout.pick(&head, (62, 2), (50, 2)).ok_or_else(cut)?;
        let expected = if layout.is_64 { SECTION_HEADER_64 } else { SECTION_HEADER_32 };
        if entry != expected {
            let message = format!("its section headers have {entry} bytes each");
            return Err(bad(0..64, &message, &format!("{expected}")));
        }
        let end = count.checked_mul(entry).and_then(|size| size.checked_add(start));
        let Some(end) = end.filter(|end| *end <= data.size) else {
            let message = format!("its {count} section headers at byte {start} lie behind its end at {}", data.size);
            return Err(bad(start..start.saturating_add(1), &message, "a whole file"));
        };
        let table = data.part(&(start..end))?;
        let read = |header: &[u8]| {
            let name = layout.uint(header, 0, 4)?;
            let from = layout.pick(header, (24, 8), (16, 4))?;
            let to = from.checked_add(layout.pick(header, (32, 8), (20, 4))?)?;
            Some(Section { name, range: from..to })
        };
        let width = usize::try_from(entry).unwrap_or(usize::MAX).max(1);
        let sections: Vec<Section> = table
            .chunks_exact(width)
            // What overflows lies nowhere, but the numbers of the sections behind it stay.
            .map(|header| read(header).unwrap_or(Section { name: u64::MAX, range: u64::MAX..u64::MAX }))
            .collect();
        let strings = usize::try_from(names).ok().and_then(|index| sections.get(index)).map(|section| &section.range);
        let Some(strings) = strings.filter(|range| range.end <= data.size && range.start < range.end) else {
            let message = format!("section {names}, which should hold the names of the {count} sections, is not there");
            return Err(bad(0..64, &message, "a whole file"));
        };
        let length = strings.end.saturating_sub(strings.start);
        if length > MAX_NAMES {
            return Err(too_large("the table of section names", length, MAX_NAMES));
        }
        let bytes = data.part(strings)?;
        if bytes.last() != Some(&0) {
            return Err(bad(strings.clone(), "the table of section names does not end with NUL", "a whole file"));
        }
        Ok(Self { layout, machine, table: sections, names: bytes, size: data.size })
    }

    /// Where the first section of this name lies, if it lies inside the file.
    pub(super) fn find(&self, name: &str) -> Option<Range<u64>> {
        // Section 0 is none.
        let inside = self.table.iter().skip(1).filter(|section| section.range.end <= self.size);
        inside.into_iter().find(|section| self.is_named(section, name)).map(|section| section.range.clone())
    }

    fn is_named(&self, section: &Section, name: &str) -> bool {
        let rest = usize::try_from(section.name).ok().and_then(|at| self.names.get(at..)).unwrap_or_default();
        rest.strip_prefix(name.as_bytes()).is_some_and(|rest| rest.first() == Some(&0))
    }

    /// Where the section of this number lies, if it lies inside the file.
    pub(super) fn range(&self, index: u64) -> Option<Range<u64>> {
        let section = self.table.get(usize::try_from(index).ok()?)?;
        (index != 0 && section.range.end <= self.size).then(|| section.range.clone())
    }
}

/// The bytes of sections; empty for what is not there.
pub(super) fn gather(data: &Unpacked<'_>, ranges: &[Option<Range<u64>>], limits: &Limits) -> Step<Vec<Vec<u8>>> {
    let ranges: Vec<_> = ranges.iter().map(|range| range.clone().unwrap_or(0..0)).collect();
    let total = ranges.iter().fold(0_u64, |sum, range| sum.saturating_add(range.end.saturating_sub(range.start)));
    if total > limits.sections {
        return Err(too_large("what describes the module (symbols, names, .modinfo)", total, limits.sections));
    }
    data.gather(&ranges)
}

#[allow(clippy::unnecessary_box_returns)]
fn bad(range: Range<u64>, problem: &str, expected: &str) -> Box<Finding> {
    let message = format!("this is no kernel module: {problem}; expected {expected}");
    Box::new(finding(rules::MOD_NONE, message).at(range).help("the file is cut off or damaged, or something else"))
}
