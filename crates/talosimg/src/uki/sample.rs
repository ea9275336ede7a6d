//! A stub of our own that starts nothing, for demonstrations and tests.

use zerocopy::{FromZeros as _, IntoBytes as _};

use super::header::{
    ARM64, DIRECTORIES, DOS_HEADER, FileHeader, FullOptionalHeader, INITIALIZED_DATA, PE_SIGNATURE, PE32_PLUS,
    SectionHeader,
};

const FILE_ALIGNMENT: u32 = 512;
const SECTION_ALIGNMENT: u32 = 4096;

/// A PE32+ program for arm64 with the sections of a boot stub (`.text`, `.sbat`, `.sdmagic`) and no function: its only
/// instruction returns an error to the firmware. It stands in for systemd's stub where no real one is at hand.
pub fn sample_stub() -> Vec<u8> {
    // mov x0, #3 (EFI_UNSUPPORTED without its error bit); ret
    let code = [0x60, 0x00, 0x80, 0xd2, 0xc0, 0x03, 0x5f, 0xd6];
    let sections: [(&[u8; 8], &[u8], u32); 3] = [
        (b".text\0\0\0", &code, 0x6000_0020),
        (b".sbat\0\0\0", b"sbat,1,SBAT Version,sbat,1,https://github.com/rhboot/shim/blob/main/SBAT.md\n", 0x4000_0040),
        (b".sdmagic", b"#### LoaderInfo: sample stub ####", 0x4000_0040),
    ];
    let mut file = FileHeader::new_zeroed();
    file.machine = ARM64.into();
    file.number_of_sections = 3.into();
    file.size_of_optional_header = 240.into();
    file.characteristics = 0x0206.into();
    let mut optional = FullOptionalHeader::new_zeroed();
    let fields = &mut optional.fields;
    fields.magic = PE32_PLUS.into();
    fields.address_of_entry_point = SECTION_ALIGNMENT.into();
    fields.base_of_code = SECTION_ALIGNMENT.into();
    fields.section_alignment = SECTION_ALIGNMENT.into();
    fields.file_alignment = FILE_ALIGNMENT.into();
    fields.size_of_code = FILE_ALIGNMENT.into();
    fields.size_of_headers = FILE_ALIGNMENT.into();
    fields.subsystem = 10.into(); // EFI application
    fields.dll_characteristics = 0x0160.into();
    fields.number_of_rva_and_sizes = DIRECTORIES.into();
    let mut table = Vec::new();
    let mut raw = Vec::new();
    let (mut address, mut data) = (SECTION_ALIGNMENT, 0);
    for (name, content, characteristics) in sections {
        let mut header = SectionHeader::new_zeroed();
        header.name = *name;
        header.virtual_size = u32::try_from(content.len()).unwrap_or(0).into();
        header.virtual_address = address.into();
        header.size_of_raw_data = FILE_ALIGNMENT.into();
        header.pointer_to_raw_data = (FILE_ALIGNMENT + u32::try_from(raw.len()).unwrap_or(0)).into();
        header.characteristics = characteristics.into();
        table.push(header);
        raw.extend_from_slice(content);
        raw.resize(raw.len().next_multiple_of(FILE_ALIGNMENT as usize), 0);
        address += SECTION_ALIGNMENT;
        data += if characteristics & INITIALIZED_DATA == 0 { 0 } else { FILE_ALIGNMENT };
    }
    optional.fields.size_of_image = address.into();
    optional.fields.size_of_initialized_data = data.into();
    let mut stub = vec![0; DOS_HEADER];
    stub[..2].copy_from_slice(b"MZ");
    stub[0x3c] = 0x40;
    stub.extend_from_slice(&PE_SIGNATURE);
    stub.extend_from_slice(file.as_bytes());
    stub.extend_from_slice(optional.as_bytes());
    stub.extend_from_slice(table.as_bytes());
    stub.resize(FILE_ALIGNMENT as usize, 0);
    stub.extend_from_slice(&raw);
    stub
}
