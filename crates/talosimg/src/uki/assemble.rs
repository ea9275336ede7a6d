//! Puts sections behind those of a stub (`spec/talos-image.md` §7: the layout of the imager's own PE writer).

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use imgcore::Epoch;
use rawimg::{Content, Extents};
use zerocopy::{FromBytes as _, IntoBytes as _, little_endian::U32};

use super::header::{
    ARM64, CERTIFICATES, DIRECTORIES, DOS_HEADER, DOS_MAGIC, E_LFANEW, FileHeader, FullOptionalHeader,
    INITIALIZED_DATA, PE_SIGNATURE, PE32_PLUS, READ_ONLY_DATA, SectionHeader, section_name,
};
use crate::error::{Error, ErrorKind, Result};

/// Where the PE signature is put: behind the DOS header and as many zero bytes.
const PE_OFFSET: u32 = 0x80;

/// A section to put behind those of the stub.
#[derive(Debug, Clone)]
pub struct Section {
    /// At most eight bytes of ASCII, with the leading dot.
    pub name: String,
    /// The bytes of the section; a reference to large ones.
    pub content: Content,
}

impl Section {
    /// A section.
    pub fn new(name: impl Into<String>, content: impl Into<Content>) -> Self {
        Self { name: name.into(), content: content.into() }
    }
}

/// A stub, taken apart.
struct Stub<'a> {
    dos: [u8; DOS_HEADER],
    file: FileHeader,
    optional: FullOptionalHeader,
    sections: Vec<(SectionHeader, &'a [u8])>,
}

/// The stub with `sections` behind its own, in order, as extents that refer to the sections' data.
///
/// The stub's sections keep their addresses and move in the file; headers are written anew, so that they hold all
/// sections; the time stamp is `time`, the checksum 0.
///
/// # Errors
/// A stub that is no PE32+ program for arm64, or has symbols, a signature, or sections outside it; a section without
/// bytes or with a name that does not fit; a program of more than 4 GiB.
pub fn plan(stub: &[u8], sections: &[Section], time: Epoch) -> Result<Extents> {
    let stub = parse(stub)?;
    let section_alignment = alignment("section", stub.optional.fields.section_alignment.get())?;
    let file_alignment = alignment("file", stub.optional.fields.file_alignment.get())?;
    let misaligned =
        |(header, _): &&(SectionHeader, _)| !u64::from(header.size_of_raw_data.get()).is_multiple_of(file_alignment);
    if let Some((header, _)) = stub.sections.iter().find(misaligned) {
        let name = section_name(header.name);
        return Err(refuse(&format!("has a section {name} whose size in the file does not keep the file alignment")));
    }
    let mut headers: Vec<SectionHeader> = stub.sections.iter().map(|(header, _)| *header).collect();
    let mut address = 0_u64;
    for (header, _) in &stub.sections {
        let end = u64::from(header.virtual_address.get()).saturating_add(header.virtual_size.get().into());
        address = address.max(round(end, section_alignment));
    }
    for section in sections {
        headers.push(header_of(section, address, file_alignment)?);
        address = round(address.saturating_add(section.content.len()), section_alignment);
        if address > u64::from(u32::MAX) {
            return Err(refuse_section(section, "ends above 4 GiB in memory, more than a PE program can address"));
        }
    }

    let count = u16::try_from(headers.len()).map_err(|_| refuse("has more sections than a PE program can have"))?;
    let table = (headers.len() as u64).saturating_mul(size_of::<SectionHeader>() as u64);
    // The imager does not count the four bytes of the signature; rounding makes up for it with any usual alignment.
    let counted = u64::from(PE_OFFSET).saturating_add(size_of::<FileHeader>() as u64);
    let counted = counted.saturating_add(size_of::<FullOptionalHeader>() as u64).saturating_add(table);
    let headers_size = round(counted, file_alignment);
    let lowest = headers.iter().map(|header| header.virtual_address.get()).min().unwrap_or(0);
    if counted.saturating_add(PE_SIGNATURE.len() as u64) > headers_size || headers_size > lowest.into() {
        return Err(refuse(&format!(
            "leaves {lowest} bytes in front of its first section, but the headers of {count} sections need {headers_size}"
        )));
    }

    let mut offset = headers_size;
    let (mut code, mut data) = (0_u64, 0_u64);
    for header in &mut headers {
        let raw = u64::from(header.size_of_raw_data.get());
        header.pointer_to_raw_data = small(offset)?;
        offset = offset.saturating_add(raw);
        let is_data = header.characteristics.get() & INITIALIZED_DATA != 0;
        let sum = if is_data { &mut data } else { &mut code };
        *sum = sum.saturating_add(raw);
        // Relocations and line numbers are object files' business; the imager drops them as well.
        header.pointer_to_relocations = U32::ZERO;
        header.pointer_to_linenumbers = U32::ZERO;
        header.number_of_relocations = 0.into();
        header.number_of_linenumbers = 0.into();
    }
    small(offset)?;

    let mut file = stub.file;
    file.number_of_sections = count.into();
    // The field has 32 bits; a later epoch wraps, as it does for every linker.
    file.time_date_stamp = U32::new(u32::try_from(time.0 & u64::from(u32::MAX)).unwrap_or(0));
    let mut optional = stub.optional;
    optional.fields.major_linker_version = 0;
    optional.fields.minor_linker_version = 0;
    optional.fields.size_of_code = small(code)?;
    optional.fields.size_of_initialized_data = small(data)?;
    optional.fields.size_of_image = small(address)?;
    optional.fields.size_of_headers = small(headers_size)?;
    optional.fields.check_sum = U32::ZERO;

    let mut head = stub.dos.to_vec();
    head.resize(PE_OFFSET as usize, 0);
    if let Some(slot) = head.get_mut(E_LFANEW..DOS_HEADER) {
        slot.copy_from_slice(&PE_OFFSET.to_le_bytes());
    }
    head.extend_from_slice(&PE_SIGNATURE);
    head.extend_from_slice(file.as_bytes());
    head.extend_from_slice(optional.as_bytes());
    head.extend_from_slice(headers.as_bytes());

    let mut uki = Extents::new(offset);
    uki.insert(0, "headers", head.into())?;
    let old = stub.sections.iter().map(|(header, raw)| (section_name(header.name), Content::from(*raw)));
    let new = sections.iter().map(|section| (section.name.clone(), section.content.clone()));
    for (header, (name, content)) in headers.iter().zip(old.chain(new)) {
        uki.insert(header.pointer_to_raw_data.get().into(), &name, content)?;
    }
    Ok(uki)
}

fn parse(bytes: &[u8]) -> Result<Stub<'_>> {
    let cut = || refuse("is cut off inside its headers");
    let dos: [u8; DOS_HEADER] = *bytes.first_chunk().ok_or_else(cut)?;
    let pe_offset = dos.last_chunk::<4>().map_or(0, |bytes| u32::from_le_bytes(*bytes));
    let at_pe = usize::try_from(pe_offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
    if !bytes.starts_with(&DOS_MAGIC) || !at_pe.starts_with(&PE_SIGNATURE) {
        return Err(refuse("is no PE program; expected systemd's linuxaa64.efi.stub"));
    }
    let after = at_pe.get(PE_SIGNATURE.len()..).unwrap_or_default();
    let (file, after) = FileHeader::read_from_prefix(after).map_err(|_| cut())?;
    let (optional, after) = FullOptionalHeader::read_from_prefix(after).map_err(|_| cut())?;
    if file.machine.get() != ARM64 {
        return Err(refuse(&format!("is for machine {:#06x}, expected {ARM64:#06x} (arm64)", file.machine.get())));
    }
    let fields = &optional.fields;
    if fields.magic.get() != PE32_PLUS {
        return Err(refuse("has no 64-bit optional header (PE32+)"));
    }
    if usize::from(file.size_of_optional_header.get()) != size_of::<FullOptionalHeader>()
        || fields.number_of_rva_and_sizes.get() != DIRECTORIES
    {
        return Err(refuse(&format!(
            "has an optional header of {} bytes with {} data directories, expected {} and {DIRECTORIES}",
            file.size_of_optional_header.get(),
            fields.number_of_rva_and_sizes.get(),
            size_of::<FullOptionalHeader>()
        )));
    }
    if file.pointer_to_symbol_table.get() != 0 || file.number_of_symbols.get() != 0 {
        return Err(refuse("has COFF symbols, which would not move along; strip it"));
    }
    if optional.directories.get(CERTIFICATES).is_some_and(|directory| directory.size.get() != 0) {
        return Err(refuse("is signed, and the signature would not hold; use the unsigned one"));
    }
    if file.number_of_sections.get() == 0 {
        return Err(refuse("has no sections"));
    }
    let count = usize::from(file.number_of_sections.get());
    let (headers, _) = <[SectionHeader]>::ref_from_prefix_with_elems(after, count).map_err(|_| cut())?;
    let mut sections = Vec::with_capacity(count);
    let mut memory_end = 0_u64;
    for header in headers {
        let (offset, size) = (header.pointer_to_raw_data.get(), header.size_of_raw_data.get());
        let raw = usize::try_from(offset).ok().and_then(|offset| bytes.get(offset..)).unwrap_or_default();
        let raw = usize::try_from(size).ok().and_then(|size| raw.get(..size)).ok_or_else(|| {
            let name = section_name(header.name);
            refuse(&format!("has {} bytes, but its section {name} is at {offset} with {size} bytes", bytes.len()))
        })?;
        if u64::from(header.virtual_address.get()) < memory_end {
            return Err(refuse("has sections that overlap in memory or are not sorted by address"));
        }
        memory_end = u64::from(header.virtual_address.get()).saturating_add(header.virtual_size.get().into());
        sections.push((*header, raw));
    }
    Ok(Stub { dos, file, optional, sections })
}

fn header_of(section: &Section, address: u64, file_alignment: u64) -> Result<SectionHeader> {
    let mut name = [0; 8];
    let bytes = section.name.as_bytes();
    match name.get_mut(..bytes.len()) {
        Some(slot) if !bytes.is_empty() && bytes.iter().all(u8::is_ascii_graphic) => slot.copy_from_slice(bytes),
        _ => return Err(refuse_section(section, "has a name that is not one to eight visible ASCII characters")),
    }
    let size = section.content.len();
    if size == 0 {
        return Err(refuse_section(section, "is empty"));
    }
    let too_large = |_| refuse_section(section, "is larger than 4 GiB");
    Ok(SectionHeader {
        name,
        virtual_size: u32::try_from(size).map_err(too_large)?.into(),
        virtual_address: u32::try_from(address).map_err(too_large)?.into(),
        size_of_raw_data: u32::try_from(round(size, file_alignment)).map_err(too_large)?.into(),
        pointer_to_raw_data: U32::ZERO,
        pointer_to_relocations: U32::ZERO,
        pointer_to_linenumbers: U32::ZERO,
        number_of_relocations: 0.into(),
        number_of_linenumbers: 0.into(),
        characteristics: READ_ONLY_DATA.into(),
    })
}

fn alignment(which: &str, value: u32) -> Result<u64> {
    if value.is_power_of_two() {
        return Ok(value.into());
    }
    Err(refuse(&format!("has a {which} alignment of {value}, which is no power of two")))
}

/// `value` rounded up to a power of two.
fn round(value: u64, alignment: u64) -> u64 {
    value.checked_next_multiple_of(alignment).unwrap_or(u64::MAX)
}

fn small(value: u64) -> Result<U32> {
    u32::try_from(value).map(U32::new).map_err(|_| refuse("and its sections make a program of more than 4 GiB"))
}

fn refuse(problem: &str) -> Error {
    ErrorKind::Stub { problem: problem.to_owned() }.into()
}

fn refuse_section(section: &Section, problem: &str) -> Error {
    ErrorKind::Section { name: section.name.clone(), problem: problem.to_owned() }.into()
}
