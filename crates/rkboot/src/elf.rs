//! ELF programs as TF-A and OP-TEE are built: which bytes go to which addresses.
//!
//! Only what a boot loader needs is read: entry point and PT_LOAD segments of 32-bit and 64-bit little-endian files
//! (ELF specification, chapters 4 and 7). Sections, symbols and relocations are not looked at, so a stripped file is
//! as good as any.
//!
//! ```
//! // The smallest program: a header, one segment of four bytes for 0x40000.
//! let mut file = vec![0; 64 + 56];
//! file[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
//! file[18] = 183; // AArch64
//! file[24..28].copy_from_slice(&0x4_0000_u32.to_le_bytes());
//! file[32] = 64; // the table of segments
//! (file[54], file[56]) = (56, 1);
//! file[64] = 1; // PT_LOAD
//! file[64 + 8] = 120;
//! file[64 + 24..64 + 28].copy_from_slice(&0x4_0000_u32.to_le_bytes());
//! (file[64 + 32], file[64 + 40]) = (4, 4);
//! file.extend_from_slice(b"code");
//!
//! let (elf, report) = rkboot::elf::parse(&file);
//! let elf = elf.unwrap();
//! assert!(report.is_empty() && elf.machine == rkboot::elf::AARCH64 && elf.entry == 0x4_0000);
//! assert_eq!(elf.segments[0].bytes(&file), Some(&b"code"[..]));
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

use crate::{rules, util::slice};

/// `e_machine` of 64-bit Arm.
pub const AARCH64: u16 = 183;
/// `e_machine` of 32-bit Arm.
pub const ARM: u16 = 40;

/// Program headers that are read; TF-A has up to six, so that more is damage.
const MAX_HEADERS: u16 = 64;

/// Program header type of what is loaded.
const PT_LOAD: u32 = 1;

/// What an ELF program puts where.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Elf {
    /// Whether addresses have 64 bits.
    pub is_64: bool,
    /// `e_machine`: [`AARCH64`], [`ARM`].
    pub machine: u16,
    /// Where the program starts.
    pub entry: u64,
    /// The PT_LOAD segments that occupy memory, in the order of the file. One without file bytes is legal: memory
    /// that the program clears itself.
    pub segments: Vec<Segment>,
}

/// A PT_LOAD segment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Segment {
    /// Physical address.
    pub address: u64,
    /// Its bytes in the file.
    pub range: Range<u64>,
    /// Bytes in memory, at least as many as in the file.
    pub memory: u64,
}

impl Segment {
    /// The bytes of the segment in those of its file, if all are there; no bytes are always there.
    pub fn bytes<'a>(&self, elf: &'a [u8]) -> Option<&'a [u8]> {
        if self.range.is_empty() {
            return Some(&[]);
        }
        elf.get(usize::try_from(self.range.start).ok()?..usize::try_from(self.range.end).ok()?)
    }

    /// The addresses that it occupies.
    pub fn memory_range(&self) -> Range<u64> {
        self.address..self.address.saturating_add(self.memory)
    }
}

/// Whether `bytes` begin as an ELF file does.
pub fn is_elf(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\x7fELF")
}

/// Reads an ELF program.
///
/// `None` with a finding for what is no little-endian ELF file. Segments that are not whole, or that share addresses,
/// are reported and kept.
pub fn parse(bytes: &[u8]) -> (Option<Elf>, Report) {
    let mut report = Report::new();
    let Some((elf, headers)) = read(bytes, &mut report) else {
        let problem = match bytes.get(..6) {
            Some(head) if is_elf(head) && head.get(5) == Some(&2) => "a big-endian ELF file",
            Some(head) if is_elf(head) => "an ELF file whose header is cut or damaged",
            _ => "no ELF file",
        };
        report.push(
            Finding::error(rules::ELF_NONE, format!("{problem}, expected a little-endian ELF program"))
                .at(0..bytes.len().min(64) as u64)
                .help("give the .elf file of the firmware, such as rkbin's rk3588_bl31_v1.48.elf or TF-A's bl31.elf"),
        );
        return (None, report);
    };
    for (segment, header) in elf.segments.iter().zip(&headers) {
        if !segment.range.is_empty() && segment.range.end > bytes.len() as u64 {
            report.push(
                Finding::error(
                    rules::ELF_BEYOND_END,
                    format!(
                        "the segment for {:#x} ends at byte {}, behind the end of the file at {}",
                        segment.address,
                        segment.range.end,
                        bytes.len()
                    ),
                )
                .at(header.clone())
                .help("the file is cut; fetch it again"),
            );
        }
    }
    // What a program clears itself may be shared; what is loaded must not.
    let loaded = elf.segments.iter().zip(&headers).filter(|(segment, _)| !segment.range.is_empty());
    let mut sorted: Vec<_> = loaded.collect();
    sorted.sort_by_key(|(segment, _)| (segment.address, segment.range.end));
    for pair in sorted.windows(2) {
        let [(first, _), (second, header)] = pair else { continue };
        let size = first.range.end.saturating_sub(first.range.start);
        if second.address < first.address.saturating_add(size) {
            report.push(
                Finding::error(
                    rules::ELF_OVERLAP,
                    format!(
                        "the segments for {:#x} and {:#x} are loaded over each other",
                        first.address, second.address
                    ),
                )
                .at((*header).clone())
                .help("one of them overwrites the other; the file is damaged or was linked wrongly"),
            );
        }
    }
    (Some(elf), report)
}

/// The program, and where the header of each of its segments is.
fn read(bytes: &[u8], report: &mut Report) -> Option<(Elf, Vec<Range<u64>>)> {
    let is_64 = match bytes.get(..6)? {
        b"\x7fELF\x01\x01" => false,
        b"\x7fELF\x02\x01" => true,
        _ => return None,
    };
    let reader = Reader { bytes, is_64 };
    let machine = reader.half(18)?;
    let (entry, table) = (reader.word(24)?, if is_64 { reader.word(32)? } else { reader.word(28)? });
    let (size, count) = if is_64 { (reader.half(54)?, reader.half(56)?) } else { (reader.half(42)?, reader.half(44)?) };
    if count > MAX_HEADERS {
        report.push(
            Finding::warning(
                rules::ELF_LIMIT,
                format!("{count} program headers, only {MAX_HEADERS} are read: firmware has a handful"),
            )
            .at(if is_64 { 56..58 } else { 44..46 })
            .help("look at the file with `readelf -l`; it is damaged or no firmware"),
        );
    }
    let mut segments = Vec::new();
    let mut headers = Vec::new();
    for index in 0..count.min(MAX_HEADERS) {
        let at = table.checked_add(u64::from(index).checked_mul(u64::from(size))?)?;
        let field = |offset: u64| reader.word(at.checked_add(offset)?);
        if reader.quarter(at)? != PT_LOAD {
            continue;
        }
        let (start, address, length, memory, size) = if is_64 {
            (field(8)?, field(24)?, field(32)?, field(40)?, 56)
        } else {
            (field(4)?, field(12)?, field(16)?, field(20)?, 32)
        };
        // binman and linkers agree: what needs no memory is no segment.
        if memory > 0 || length > 0 {
            // A place near the end of numbers stays as long as it says, so that it is seen to be none.
            let end = start.saturating_add(length);
            let range = end.saturating_sub(length)..end;
            segments.push(Segment { address, range, memory: memory.max(length) });
            headers.push(at..at.saturating_add(size));
        }
    }
    Some((Elf { is_64, machine, entry, segments }, headers))
}

struct Reader<'a> {
    bytes: &'a [u8],
    is_64: bool,
}

impl Reader<'_> {
    fn half(&self, at: u64) -> Option<u16> {
        Some(u16::from_le_bytes(slice(self.bytes, &(at..at.checked_add(2)?)).try_into().ok()?))
    }

    fn quarter(&self, at: u64) -> Option<u32> {
        Some(u32::from_le_bytes(slice(self.bytes, &(at..at.checked_add(4)?)).try_into().ok()?))
    }

    /// An address or a size: four or eight bytes.
    fn word(&self, at: u64) -> Option<u64> {
        if self.is_64 {
            Some(u64::from_le_bytes(slice(self.bytes, &(at..at.checked_add(8)?)).try_into().ok()?))
        } else {
            self.quarter(at).map(u64::from)
        }
    }
}
