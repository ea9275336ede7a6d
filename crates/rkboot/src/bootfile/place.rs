//! Where the parts of a boot file come to lie on the medium.

use std::ops::Range;

use imgcore::Layout;

use super::{BootFile, BootFileKind};
use crate::{Error, ErrorKind, util::sector_end};

/// How many bytes of the file to write so that copy 1 is complete and nothing behind it is written.
///
/// For copies of an idblock that is the block in whole sectors (331776 of the 4161536 bytes of FriendlyELEC's
/// `idbloader.img`: the BootROM needs no more, and the packer's own file is as long). For copies of a FIT it is the slot
/// of copy 1 (2097152 of the 4194304 bytes of a vendor `uboot.img`), so that the padding which the packer made around
/// it still overwrites what an older and longer FIT left there. A file with one copy loses the padding behind it. The
/// answer is never more than the file's length.
///
/// # Errors
/// [`ErrorKind::CopiesDiffer`], [`ErrorKind::BeyondCut`] when copy 1 reaches into the part that is cut off,
/// [`ErrorKind::NotTrimmable`] for files that were not understood.
pub fn trim(file: &BootFile) -> Result<u64, Error> {
    let not_for_cards = matches!(
        file.kind,
        BootFileKind::Unknown
            | BootFileKind::Blob(_)
            | BootFileKind::Loader(_)
            | BootFileKind::DtboTable(_)
            | BootFileKind::Parameter(_)
    );
    if not_for_cards {
        return Err(ErrorKind::NotTrimmable.into());
    }
    if let Some(index) = file.differing {
        let offset = file.copies.get(index).map_or(0, |copy| copy.start);
        return Err(ErrorKind::CopiesDiffer { copy: index.saturating_add(1), offset }.into());
    }
    if let Some(second) = file.copies.get(1).filter(|second| second.start < file.claimed_end) {
        return Err(ErrorKind::BeyondCut { end: file.claimed_end, cut: second.start }.into());
    }
    let end = file.copies.first().map_or(file.length, |first| first.end);
    Ok(sector_end(end).min(file.length))
}

/// Who owns which bytes of the medium when the first `written` bytes of a file are written at `start_byte`.
///
/// The ranges cover all of it without gaps: copies as `NAME copy 1`, `NAME copy 2` (or `NAME`, when one copy is
/// written), the parts of a combined file as `NAME (idblock)` and `NAME (FIT)`, all else as `NAME (padding)`.
pub fn ranges(name: &str, file: &BootFile, start_byte: u64, written: u64) -> Layout {
    let clip = |range: &Range<u64>| range.start.min(written)..range.end.min(written);
    let mut parts: Vec<(String, Range<u64>)> = Vec::new();
    let numbered = |label: &str, copies: &[Range<u64>], parts: &mut Vec<(String, Range<u64>)>| {
        let copies: Vec<_> = copies.iter().map(clip).filter(|range| !range.is_empty()).collect();
        let several = copies.len() > 1;
        for (range, number) in copies.into_iter().zip(1_usize..) {
            let label = if several { format!("{label} copy {number}") } else { label.to_owned() };
            parts.push((label, range));
        }
    };
    if let BootFileKind::Combined { idblock, idblock_range, fit_range, .. } = &file.kind {
        let base = idblock_range.start;
        let shift = |range: &Range<u64>| range.start.saturating_add(base)..range.end.saturating_add(base);
        let copies: Vec<_> = idblock.copies().iter().map(|copy| shift(&copy.range)).collect();
        numbered(&format!("{name} (idblock)"), &copies, &mut parts);
        numbered(&format!("{name} (FIT)"), std::slice::from_ref(fit_range), &mut parts);
    } else {
        numbered(name, &file.copies, &mut parts);
    }

    let mut layout = Layout::new();
    let mut add = |label: String, range: Range<u64>| {
        if !range.is_empty() {
            layout.add(label, range.start.saturating_add(start_byte)..range.end.saturating_add(start_byte));
        }
    };
    let mut at = 0;
    for (label, range) in parts {
        add(format!("{name} (padding)"), at..range.start.max(at));
        add(label, range.start.max(at)..range.end.max(at));
        at = at.max(range.end);
    }
    add(format!("{name} (padding)"), at..written.max(at));
    layout
}
