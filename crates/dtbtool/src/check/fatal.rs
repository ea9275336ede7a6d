//! Trees that dtc does not read at all.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use crate::{Fdt, error::ErrorKind};

/// The line with which dtc refuses to read these bytes; `None` if it asks its checks about them.
///
/// dtc looks less closely than [`scan`](crate::scan): blocks may overlap, and a version may be odd.
///
/// ```
/// assert_eq!(dtbtool::check::fatal(b"not a tree").as_deref(), Some("FATAL ERROR: Blob has incorrect magic number"));
/// ```
pub fn fatal(bytes: &[u8]) -> Option<String> {
    let reason = header(bytes).or_else(|| structure(bytes))?;
    Some(format!("FATAL ERROR: {reason}"))
}

fn header(bytes: &[u8]) -> Option<String> {
    let word = |index: usize| bytes.as_chunks::<4>().0.get(index).map(|word| u32::from_be_bytes(*word));
    let Some(magic) = word(0) else { return Some("EOF reading DT blob magic number".to_owned()) };
    if magic != crate::MAGIC {
        return Some("Blob has incorrect magic number".to_owned());
    }
    let Some(total) = word(1) else { return Some("EOF reading DT blob size".to_owned()) };
    // A header of version 1.
    if total < 28 {
        return Some(format!("DT blob size ({total}) is too small"));
    }
    if u64::try_from(bytes.len()).is_ok_and(|length| length < u64::from(total)) {
        return Some(format!("EOF before reading {} bytes of DT blob", total.cast_signed()));
    }
    let field = |index: usize| word(index).unwrap_or(0);
    let (structure, strings, reservations, version) = (field(2), field(3), field(4), field(5));
    let past = |start: u32, size: u32| start.checked_add(size).is_none_or(|end| end > total);
    let fault = if reservations >= total {
        "Mem Reserve structure offset exceeds total size"
    } else if structure >= total {
        "DT structure offset exceeds total size"
    } else if strings > total {
        "String table offset exceeds total size"
    } else if version >= 3 && past(strings, field(8)) {
        "String table extends past total size"
    } else if version >= 17 && past(structure, field(9)) {
        "Structure block extends past total size"
    } else {
        return None;
    };
    Some(fault.to_owned())
}

fn structure(bytes: &[u8]) -> Option<String> {
    const CUT: &str = "Premature end of data parsing flat device tree";
    let error = Fdt::parse(bytes).err()?;
    Some(match error.kind() {
        ErrorKind::Token { found, .. } => format!("Invalid opcode word {found:08x} in device tree blob"),
        ErrorKind::EndInsideNode { .. } => "Premature FDT_END in device tree blob".to_owned(),
        ErrorKind::PropertyName { name_offset, size, .. } if u64::from(*name_offset) >= u64_of(*size) => {
            format!("String offset {} overruns string table", name_offset.cast_signed())
        }
        ErrorKind::TokenCut { .. }
        | ErrorKind::NodeNameUnterminated { .. }
        | ErrorKind::PropertyCut { .. }
        | ErrorKind::NoEnd { .. }
        | ErrorKind::ReservationsUnterminated { .. } => CUT.to_owned(),
        _ => return None,
    })
}

fn u64_of(size: usize) -> u64 {
    u64::try_from(size).unwrap_or(u64::MAX)
}
