//! The `.xz` container: stream header, blocks with their sizes in the header, index, footer.
//!
//! Source: `.xz` file format 1.2 and `sinks.md` §5.1. All checksums are stored low byte first.

/// `FD 37 7A 58 5A 00`, the check CRC64, and the CRC32 of the two flag bytes.
pub(super) const STREAM_HEADER: [u8; 12] = [0xFD, b'7', b'z', b'X', b'Z', 0, 0, 4, 0xE6, 0xD6, 0xB4, 0x46];

/// The dictionary size of payload blocks, 1 MiB: a whole block.
const DICTIONARY_1_MIB: u8 = 0x10;
/// The smallest dictionary, 4 KiB, which is plenty for zeros.
const DICTIONARY_4_KIB: u8 = 0;

/// What a block holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Anything.
    Payload,
    /// Zeros only.
    Zeros,
}

/// One line of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    /// Header, data and check, without the padding between the last two.
    pub(super) unpadded: u64,
    /// Size of the raw bytes.
    pub(super) raw: u64,
}

/// Appends a number of 7 bits a byte, low ones first, the top bit saying that more follow.
fn push_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push((number & 0x7F) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Pads with zeros to a multiple of four and appends the CRC32 of all that is there.
fn seal(out: &mut Vec<u8>) {
    out.resize(out.len().next_multiple_of(4), 0);
    let crc = crc32fast::hash(out);
    out.extend(crc.to_le_bytes());
}

/// Appends a whole block around `chunks` to `out`, which is empty.
pub(super) fn block(kind: Kind, chunks: &[u8], raw: u64, crc64: u64, out: &mut Vec<u8>) -> Record {
    // The size byte follows at the end; flags: one filter, both sizes present.
    out.extend([0, 0xC0]);
    push_number(out, chunks.len() as u64);
    push_number(out, raw);
    // Filter LZMA2 with one property byte.
    out.extend([0x21, 1, if kind == Kind::Zeros { DICTIONARY_4_KIB } else { DICTIONARY_1_MIB }]);
    out[0] = out.len().div_ceil(4) as u8;
    seal(out);
    let unpadded = (out.len() + chunks.len() + 8) as u64;
    out.extend_from_slice(chunks);
    out.resize(out.len().next_multiple_of(4), 0);
    out.extend(crc64.to_le_bytes());
    Record { unpadded, raw }
}

/// Index and footer.
pub(super) fn end(records: &[Record]) -> Vec<u8> {
    let mut out = vec![0];
    push_number(&mut out, records.len() as u64);
    for record in records {
        push_number(&mut out, record.unpadded);
        push_number(&mut out, record.raw);
    }
    seal(&mut out);
    let mut fields = [0; 6];
    fields[..4].copy_from_slice(&((out.len() / 4 - 1) as u32).to_le_bytes());
    fields[4..].copy_from_slice(&STREAM_HEADER[6..8]);
    out.extend(crc32fast::hash(&fields).to_le_bytes());
    out.extend(fields);
    out.extend(*b"YZ");
    out
}
