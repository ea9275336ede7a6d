//! Reads anybody's unified kernel image, however damaged.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::{collections::BTreeSet, ops::Range};

use imgcore::{Epoch, Finding, Layout, ReadAt, Report};
use zerocopy::FromBytes as _;

use super::header::{
    ARM64, CERTIFICATES, DOS_HEADER, DOS_MAGIC, DataDirectory, FileHeader, OptionalHeader, PE_SIGNATURE, PE32_PLUS,
    SectionHeader, section_name,
};

/// More sections than any image has; the rest is not read.
const SECTION_LIMIT: usize = 1024;
/// The longest text section that is read, in bytes; a command line has at most 2 KiB.
const TEXT_LIMIT: u64 = 64 << 10;
/// All text sections together, in bytes.
const TEXT_BUDGET: u64 = 1 << 20;

/// Sections that hold text.
const TEXTS: [&str; 5] = [".osrel", ".cmdline", ".uname", ".sbat", ".profile"];
/// Text sections of one line.
const LINES: [&str; 2] = [".cmdline", ".uname"];
/// Sections that a profile has once (UAPI group specification, "Unified Kernel Image").
const ONCE: [&str; 9] = [".osrel", ".cmdline", ".uname", ".splash", ".linux", ".initrd", ".dtb", ".pcrpkey", ".pcrsig"];

/// A PE program for EFI, as its headers describe it. Sizes and offsets are in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uki {
    /// COFF machine; 0xaa64 is arm64.
    pub machine: u16,
    /// Windows subsystem; 10 is an EFI application.
    pub subsystem: u16,
    /// Time stamp of the COFF header.
    pub time: Epoch,
    /// Linker version, major and minor.
    pub linker: (u8, u8),
    /// Address that the program was linked for.
    pub image_base: u64,
    /// Alignment of sections in memory.
    pub section_alignment: u32,
    /// Alignment of sections in the file.
    pub file_alignment: u32,
    /// Size in memory.
    pub size_of_image: u32,
    /// Size of the headers in the file.
    pub size_of_headers: u32,
    /// Sum of the sections with code, as the header has it.
    pub size_of_code: u32,
    /// Sum of the sections with data, as the header has it.
    pub size_of_initialized_data: u32,
    /// Checksum; 0 is none.
    pub checksum: u32,
    /// Where the PE header is.
    pub pe_offset: u32,
    /// Where signatures are in the file, if there are any.
    pub certificates: Option<Range<u64>>,
    /// The sections, in order.
    pub sections: Vec<SectionInfo>,
}

/// A section of a PE program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SectionInfo {
    /// Name without padding.
    pub name: String,
    /// Size in memory: for added sections the size of what was added.
    pub virtual_size: u32,
    /// Address in memory, from the image base.
    pub virtual_address: u32,
    /// Size in the file.
    pub raw_size: u32,
    /// Offset in the file.
    pub raw_offset: u32,
    /// Flags.
    pub characteristics: u32,
    /// What `.osrel`, `.cmdline`, `.uname`, `.sbat` and `.profile` say, without NULs at the end.
    pub text: Option<String>,
}

impl SectionInfo {
    /// The bytes of the file that hold what the section says: padding is left out.
    pub fn content(&self) -> Range<u64> {
        let start = u64::from(self.raw_offset);
        start..start.saturating_add(self.virtual_size.min(self.raw_size).into())
    }
}

/// What an image starts under one menu entry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UkiProfile<'a> {
    /// `ID=` of the profile section; `None` for an image without profiles.
    pub id: Option<&'a str>,
    /// `TITLE=` of the profile section.
    pub title: Option<&'a str>,
    /// The profile's command line, else that of the image.
    pub cmdline: Option<&'a str>,
}

impl Uki {
    /// The first section of this name.
    pub fn section(&self, name: &str) -> Option<&SectionInfo> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// The text of the first section of this name.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.section(name).and_then(|section| section.text.as_deref())
    }

    /// What the image offers to start: its profiles, or itself when it has none.
    pub fn profiles(&self) -> Vec<UkiProfile<'_>> {
        let mut regions = self.regions();
        let base = regions.next().unwrap_or_default();
        let find = |sections: &'_ [SectionInfo], name: &str| sections.iter().position(|section| section.name == name);
        let base_line = find(base, ".cmdline").and_then(|at| base.get(at)).and_then(|section| section.text.as_deref());
        let mut profiles: Vec<_> = regions
            .map(|region| {
                let text = region.first().and_then(|section| section.text.as_deref()).unwrap_or_default();
                let field = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
                let own = find(region, ".cmdline").and_then(|at| region.get(at)).and_then(|s| s.text.as_deref());
                UkiProfile { id: field("ID"), title: field("TITLE"), cmdline: own.or(base_line) }
            })
            .collect();
        if profiles.is_empty() {
            profiles.push(UkiProfile { cmdline: base_line, ..UkiProfile::default() });
        }
        profiles
    }

    /// The sections in front of the first `.profile`, then those of each profile, which begin with it.
    fn regions(&self) -> impl Iterator<Item = &[SectionInfo]> {
        let mut starts = vec![0];
        starts.extend(self.sections.iter().enumerate().filter(|(_, s)| s.name == ".profile").map(|(at, _)| at));
        starts.push(self.sections.len());
        (1..starts.len()).filter_map(move |next| {
            let (from, to) = (*starts.get(next.checked_sub(1)?)?, *starts.get(next)?);
            self.sections.get(from..to)
        })
    }
}

/// Reads the headers and the text sections of a PE program, and says what a firmware or boot program would trip over.
pub fn read(program: &dyn ReadAt) -> (Option<Uki>, Report) {
    let mut report = Report::new();
    let uki = match headers(program, &mut report) {
        Ok(uki) => uki,
        Err(finding) => {
            report.push(*finding);
            return (None, report);
        }
    };
    check_sections(&uki, program.size(), &mut report);
    check_profiles(&uki, &mut report);
    (Some(uki), report)
}

fn headers(program: &dyn ReadAt, report: &mut Report) -> Result<Uki, Box<Finding>> {
    let mut dos = [0; DOS_HEADER];
    let no_pe = |what: &str| Box::new(Finding::error("UKI001", format!("this is no PE program: {what}")));
    if program.size() < DOS_HEADER as u64 {
        return Err(no_pe("it has less than 64 bytes"));
    }
    fetch(program, 0, &mut dos)?;
    if !dos.starts_with(&DOS_MAGIC) {
        return Err(no_pe("it does not begin with MZ"));
    }
    let pe_offset = dos.last_chunk::<4>().map_or(0, |bytes| u32::from_le_bytes(*bytes));
    let mut head = [0; PE_SIGNATURE.len() + size_of::<FileHeader>() + size_of::<OptionalHeader>()];
    let mut at = u64::from(pe_offset);
    if at.saturating_add(head.len() as u64) > program.size() {
        return Err(no_pe(&format!("its PE header should be at byte {pe_offset}, where the file ends")));
    }
    fetch(program, at, &mut head)?;
    let Some(head) = head.strip_prefix(&PE_SIGNATURE) else {
        return Err(no_pe(&format!("there is no PE signature at byte {pe_offset}")));
    };
    let cut = || no_pe("its headers are cut off");
    let (file, rest) = FileHeader::read_from_prefix(head).map_err(|_| cut())?;
    let (optional, _) = OptionalHeader::read_from_prefix(rest).map_err(|_| cut())?;
    if optional.magic.get() != PE32_PLUS {
        let message = format!("the optional header has magic {:#06x}, expected {PE32_PLUS:#06x}", optional.magic.get());
        return Err(Box::new(Finding::error("UKI002", message).at(at..at.saturating_add(24))));
    }
    if file.machine.get() != ARM64 {
        let message = format!("the program is for machine {:#06x}, expected {ARM64:#06x} (arm64)", file.machine.get());
        report.push(Finding::warning("UKI003", message).at(at..at.saturating_add(24)));
    }
    if file.pointer_to_symbol_table.get() != 0 || file.number_of_symbols.get() != 0 {
        report.push(Finding::warning("UKI010", "the program has COFF symbols").help("strip it"));
    }
    let after_file = at.saturating_add((PE_SIGNATURE.len() as u64).saturating_add(size_of::<FileHeader>() as u64));
    let directories = after_file.saturating_add(size_of::<OptionalHeader>() as u64);
    let certificates = certificates(program, directories, &file, &optional, report);
    at = after_file.saturating_add(file.size_of_optional_header.get().into());
    let sections = sections(program, at, file.number_of_sections.get().into(), report)?;
    Ok(Uki {
        machine: file.machine.get(),
        subsystem: optional.subsystem.get(),
        time: Epoch(file.time_date_stamp.get().into()),
        linker: (optional.major_linker_version, optional.minor_linker_version),
        image_base: optional.image_base.get(),
        section_alignment: optional.section_alignment.get(),
        file_alignment: optional.file_alignment.get(),
        size_of_image: optional.size_of_image.get(),
        size_of_headers: optional.size_of_headers.get(),
        size_of_code: optional.size_of_code.get(),
        size_of_initialized_data: optional.size_of_initialized_data.get(),
        checksum: optional.check_sum.get(),
        pe_offset,
        certificates,
        sections,
    })
}

fn certificates(
    program: &dyn ReadAt,
    directories: u64,
    file: &FileHeader,
    optional: &OptionalHeader,
    report: &mut Report,
) -> Option<Range<u64>> {
    let index = CERTIFICATES as u64;
    let entry = size_of::<DataDirectory>() as u64;
    let inside = (size_of::<OptionalHeader>() as u64).saturating_add(index.saturating_add(1).saturating_mul(entry));
    if u64::from(optional.number_of_rva_and_sizes.get()) <= index
        || u64::from(file.size_of_optional_header.get()) < inside
    {
        return None;
    }
    let mut bytes = [0; size_of::<DataDirectory>()];
    program.read_exact_at(directories.saturating_add(index.saturating_mul(entry)), &mut bytes).ok()?;
    let directory = DataDirectory::read_from_bytes(&bytes).ok()?;
    if directory.size.get() == 0 {
        return None;
    }
    let start = u64::from(directory.address.get());
    let range = start..start.saturating_add(directory.size.get().into());
    if range.end > program.size() {
        let message = "the signature lies outside the file; it was cut, or sections were added to a signed program";
        report.push(Finding::error("UKI004", message).at(range.clone()));
    } else {
        report.push(Finding::info("UKI009", "the program is signed").at(range.clone()));
    }
    Some(range)
}

fn sections(
    program: &dyn ReadAt,
    at: u64,
    count: usize,
    report: &mut Report,
) -> Result<Vec<SectionInfo>, Box<Finding>> {
    const ENTRY: u64 = size_of::<SectionHeader>() as u64;
    let fit = usize::try_from(program.size().saturating_sub(at) / ENTRY).unwrap_or(usize::MAX);
    let kept = count.min(fit).min(SECTION_LIMIT);
    if kept < count {
        let message = format!("the program claims {count} sections, of which {kept} can be read");
        report.push(Finding::error("UKI004", message).at(at..at.saturating_add(ENTRY.saturating_mul(count as u64))));
    }
    let mut table = vec![0; kept.saturating_mul(size_of::<SectionHeader>())];
    fetch(program, at, &mut table)?;
    let mut budget = TEXT_BUDGET;
    let mut sections = Vec::with_capacity(kept);
    for header in <[SectionHeader]>::ref_from_bytes(&table).unwrap_or_default() {
        let mut section = SectionInfo {
            name: section_name(header.name),
            virtual_size: header.virtual_size.get(),
            virtual_address: header.virtual_address.get(),
            raw_size: header.size_of_raw_data.get(),
            raw_offset: header.pointer_to_raw_data.get(),
            characteristics: header.characteristics.get(),
            text: None,
        };
        if TEXTS.contains(&section.name.as_str()) {
            section.text = text(program, &section, &mut budget, report)?;
        }
        sections.push(section);
    }
    Ok(sections)
}

fn text(
    program: &dyn ReadAt,
    section: &SectionInfo,
    budget: &mut u64,
    report: &mut Report,
) -> Result<Option<String>, Box<Finding>> {
    let range = section.content();
    let length = range.end.saturating_sub(range.start);
    if range.end > program.size() {
        return Ok(None); // said once, with all other sections that lie outside
    }
    let Some(left) = budget.checked_sub(length).filter(|_| length <= TEXT_LIMIT) else {
        let message = format!("section {} has {length} bytes, more than are read of a text", section.name);
        report.push(Finding::warning("UKI007", message).at(range));
        return Ok(None);
    };
    *budget = left;
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    fetch(program, range.start, &mut bytes)?;
    let Ok(text) = String::from_utf8(bytes) else {
        let message = format!("section {} is not UTF-8", section.name);
        report.push(Finding::warning("UKI007", message).at(range));
        return Ok(None);
    };
    if LINES.contains(&section.name.as_str()) && text.contains(['\0', '\n', '\r']) {
        let message = format!("section {} holds a NUL or a line break; expected one line without an end", section.name);
        report.push(Finding::warning("UKI007", message).at(range));
    }
    Ok(Some(text.trim_end_matches('\0').to_owned()))
}

fn check_sections(uki: &Uki, size: u64, report: &mut Report) {
    let mut alignments = true;
    for (which, value) in [("section", uki.section_alignment), ("file", uki.file_alignment)] {
        if !value.is_power_of_two() {
            let message = format!("the {which} alignment is {value}, which is no power of two");
            report.push(Finding::error("UKI008", message));
            alignments = false;
        }
    }
    let (mut in_file, mut in_memory) = (Layout::new(), Layout::new());
    in_file.add("the headers", 0..uki.size_of_headers.into());
    in_memory.add("the headers", 0..uki.size_of_headers.into());
    let mut memory_end = 0;
    for section in &uki.sections {
        let raw = u64::from(section.raw_offset)..u64::from(section.raw_offset).saturating_add(section.raw_size.into());
        let memory = u64::from(section.virtual_address)
            ..u64::from(section.virtual_address).saturating_add(section.virtual_size.into());
        if section.raw_size != 0 && raw.end > size {
            let message = format!("section {} ends at byte {}, but the file has {size} bytes", section.name, raw.end);
            report.push(Finding::error("UKI004", message).at(raw.clone()));
        }
        let misaligned = alignments
            && (!section.virtual_address.is_multiple_of(uki.section_alignment)
                || (section.raw_size != 0 && !section.raw_offset.is_multiple_of(uki.file_alignment)));
        if misaligned {
            let message = format!(
                "section {} is at {:#x} in memory and {:#x} in the file, which does not keep the alignments {:#x} and {:#x}",
                section.name, section.virtual_address, section.raw_offset, uki.section_alignment, uki.file_alignment
            );
            report.push(Finding::error("UKI008", message).at(raw.clone()));
        }
        memory_end = memory_end.max(memory.end);
        if section.raw_size != 0 {
            in_file.add(section.name.as_str(), raw);
        }
        in_memory.add(section.name.as_str(), memory);
    }
    for (layout, place) in [(in_file, "the file"), (in_memory, "memory")] {
        // One finding says it; a table of garbage would give thousands.
        if let Some(overlap) = first_overlap(&layout) {
            report.push(Finding::error("UKI005", format!("in {place}, {overlap}")));
        }
    }
    if memory_end > uki.size_of_image.into() {
        let message = format!(
            "the sections end at {memory_end:#x} in memory, but the image is said to end at {:#x}",
            uki.size_of_image
        );
        report.push(Finding::error("UKI011", message));
    }
}

/// The first pair of neighbours that share bytes. [`Layout::overlaps`] would list all pairs.
fn first_overlap(layout: &Layout) -> Option<String> {
    let mut last: Option<&imgcore::Labelled> = None;
    for next in layout.sorted().into_iter().filter(|labelled| !labelled.range.is_empty()) {
        if let Some(first) = last.filter(|last| last.range.end > next.range.start) {
            return Some(imgcore::Overlap { first: first.clone(), second: next.clone() }.to_string());
        }
        last = Some(next);
    }
    None
}

fn check_profiles(uki: &Uki, report: &mut Report) {
    let mut ids = BTreeSet::new();
    for (index, region) in uki.regions().enumerate() {
        if index == 0 && !region.iter().any(|section| section.name == ".linux") {
            let message =
                "there is no .linux section: this is a boot stub or another PE program, no unified kernel image";
            report.push(Finding::warning("UKI006", message));
        }
        let mut names = BTreeSet::new();
        for section in region.iter().filter(|section| ONCE.contains(&section.name.as_str())) {
            if !names.insert(section.name.as_str()) {
                let message =
                    format!("section {} is there twice in one profile; boot programs take one of them", section.name);
                report.push(Finding::warning("UKI012", message).at(section.content()));
            }
        }
        if let Some(profile) = region.first().filter(|_| index > 0) {
            let id = profile.text.as_deref().unwrap_or_default().lines().find_map(|line| line.strip_prefix("ID="));
            let problem = match id {
                None | Some("") => "has no ID",
                Some(id) if !ids.insert(id) => "has the ID of another profile",
                Some(_) => continue,
            };
            let message = format!("profile {index} {problem}; boot programs tell profiles apart by it");
            report.push(Finding::warning("UKI013", message).at(profile.content()));
        }
    }
}

fn fetch(program: &dyn ReadAt, at: u64, buffer: &mut [u8]) -> Result<(), Box<Finding>> {
    program.read_exact_at(at, buffer).map_err(|error| {
        let range = at..at.saturating_add(buffer.len() as u64);
        Box::new(Finding::error("UKI014", format!("the program cannot be read: {error}")).at(range))
    })
}
