//! A loader file of our own bytes, for tests, examples and fuzzing seeds. Rockchip's `boot_merger` makes the real ones.

use zerocopy::{
    FromZeros as _, IntoBytes as _,
    little_endian::{U16, U32},
};

use super::{Use, raw};
use crate::coding::{crc32_rk, rc4_blocks};

/// A file of form `LDR ` for the RK3588 that carries an idblock with a 2 KiB header and two images, for USB and for
/// flash. Not part of the interface.
pub fn sample(block: &[u8]) -> Vec<u8> {
    let word = |at: usize| {
        let bytes = block.get(at..at.saturating_add(4)).and_then(|bytes| bytes.try_into().ok());
        u32::from_le_bytes(bytes.unwrap_or_default())
    };
    // Where the second image starts.
    let split = usize::try_from(word(0x78 + 88) & 0xffff).unwrap_or(0).saturating_mul(512);
    let part = |range: std::ops::Range<usize>| block.get(range).unwrap_or_default().to_vec();
    let parts = [part(0..2048), part(2048..split), part(split..block.len())];
    let entries = [
        (Use::Code471, "UsbHead", 1),
        (Use::Code471, "ddr", 1),
        (Use::Code472, "usbplug", 0),
        (Use::Flash, "FlashHead", 0),
        (Use::Flash, "FlashData", 0),
        (Use::Flash, "FlashBoot", 0),
    ];
    let mut header = raw::Header::new_zeroed();
    header.tag = raw::TAG_LDR;
    header.size = U16::new(raw::HEADER_SIZE);
    header.version = U32::new(0x100);
    header.merger_version = U32::new(0x0100_0000);
    header.year = U16::new(2025);
    header.time = [1, 2, 3, 4, 5];
    header.chip = *b"8853";
    header.rc4_flag = 1;
    let mut at = u32::from(raw::HEADER_SIZE);
    for (table, used) in header.tables.iter_mut().zip([Use::Code471, Use::Code472, Use::Flash]) {
        table.count = u8::try_from(entries.iter().filter(|entry| entry.0 == used).count()).unwrap_or(0);
        table.offset = U32::new(at);
        table.entry_size = raw::ENTRY_SIZE;
        at = at.saturating_add(u32::from(table.count).saturating_mul(u32::from(raw::ENTRY_SIZE)));
    }
    let mut file = header.as_bytes().to_vec();
    let mut data = Vec::new();
    for ((used, name, delay), part) in entries.into_iter().zip(parts.iter().chain(&parts)) {
        let mut record = raw::Record::new_zeroed();
        record.size = raw::ENTRY_SIZE;
        record.kind = U32::new(used.raw());
        for (to, from) in record.name.iter_mut().zip(name.encode_utf16()) {
            *to = U16::new(from);
        }
        record.data_offset = U32::new(at.saturating_add(u32::try_from(data.len()).unwrap_or(0)));
        record.data_size = U32::new(u32::try_from(part.len()).unwrap_or(0));
        record.delay_ms = U32::new(delay);
        file.extend_from_slice(record.as_bytes());
        let mut part = part.clone();
        if used == Use::Flash {
            rc4_blocks(&mut part);
        }
        data.extend_from_slice(&part);
    }
    file.extend_from_slice(&data);
    let crc = crc32_rk(&file);
    file.extend_from_slice(&crc.to_le_bytes());
    file
}
