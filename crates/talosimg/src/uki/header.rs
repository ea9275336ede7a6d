//! The headers of a PE32+ program (Microsoft PE and COFF specification, "PE Format").

use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U16, U32, U64},
};

/// `MZ`.
pub(super) const DOS_MAGIC: [u8; 2] = *b"MZ";
/// Size of the DOS header.
pub(super) const DOS_HEADER: usize = 64;
/// Where the DOS header says where the PE header is.
pub(super) const E_LFANEW: usize = 0x3c;
/// In front of the COFF header.
pub(super) const PE_SIGNATURE: [u8; 4] = *b"PE\0\0";
/// Optional header magic of a 64-bit program.
pub(super) const PE32_PLUS: u16 = 0x20b;
/// Machine: AArch64, little-endian.
pub(super) const ARM64: u16 = 0xaa64;
/// Section flag: holds initialised data.
pub(super) const INITIALIZED_DATA: u32 = 0x40;
/// Section flags of everything put behind a stub: initialised data, readable.
pub(super) const READ_ONLY_DATA: u32 = 0x4000_0040;
/// Number of data directories that a program has which any linker made.
pub(super) const DIRECTORIES: u32 = 16;
/// Data directory of the signatures. Its address is a file offset.
pub(super) const CERTIFICATES: usize = 4;

/// COFF file header.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct FileHeader {
    pub(super) machine: U16,
    pub(super) number_of_sections: U16,
    pub(super) time_date_stamp: U32,
    pub(super) pointer_to_symbol_table: U32,
    pub(super) number_of_symbols: U32,
    pub(super) size_of_optional_header: U16,
    pub(super) characteristics: U16,
}

/// Optional header of PE32+, without data directories.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct OptionalHeader {
    pub(super) magic: U16,
    pub(super) major_linker_version: u8,
    pub(super) minor_linker_version: u8,
    pub(super) size_of_code: U32,
    pub(super) size_of_initialized_data: U32,
    pub(super) size_of_uninitialized_data: U32,
    pub(super) address_of_entry_point: U32,
    pub(super) base_of_code: U32,
    pub(super) image_base: U64,
    pub(super) section_alignment: U32,
    pub(super) file_alignment: U32,
    pub(super) os_version: [U16; 2],
    pub(super) image_version: [U16; 2],
    pub(super) subsystem_version: [U16; 2],
    pub(super) win32_version_value: U32,
    pub(super) size_of_image: U32,
    pub(super) size_of_headers: U32,
    pub(super) check_sum: U32,
    pub(super) subsystem: U16,
    pub(super) dll_characteristics: U16,
    pub(super) stack_and_heap: [U64; 4],
    pub(super) loader_flags: U32,
    pub(super) number_of_rva_and_sizes: U32,
}

/// An entry of the data directory.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct DataDirectory {
    pub(super) address: U32,
    pub(super) size: U32,
}

/// Optional header with the sixteen directories: 240 bytes.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct FullOptionalHeader {
    pub(super) fields: OptionalHeader,
    pub(super) directories: [DataDirectory; DIRECTORIES as usize],
}

/// An entry of the section table.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct SectionHeader {
    pub(super) name: [u8; 8],
    pub(super) virtual_size: U32,
    pub(super) virtual_address: U32,
    pub(super) size_of_raw_data: U32,
    pub(super) pointer_to_raw_data: U32,
    pub(super) pointer_to_relocations: U32,
    pub(super) pointer_to_linenumbers: U32,
    pub(super) number_of_relocations: U16,
    pub(super) number_of_linenumbers: U16,
    pub(super) characteristics: U32,
}

const _: () = assert!(size_of::<FileHeader>() == 20 && size_of::<SectionHeader>() == 40);
const _: () = assert!(size_of::<OptionalHeader>() == 112 && size_of::<FullOptionalHeader>() == 240);

/// The name without its padding; bytes that are no UTF-8 become U+FFFD.
pub(super) fn section_name(raw: [u8; 8]) -> String {
    let end = raw.iter().position(|byte| *byte == 0).unwrap_or(raw.len());
    String::from_utf8_lossy(raw.get(..end).unwrap_or_default()).into_owned()
}
