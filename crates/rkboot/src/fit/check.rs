//! Questions about a FIT that need something to compare with.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use dtbtool::Fdt;
use imgcore::{Finding, Report};

use super::{Fit, Image};
use crate::{
    rules,
    util::{quote, slice},
};

/// Compares the device trees of a FIT with the `compatible` strings of a board, any of which will do.
///
/// Compressed trees are not looked at. Without a match there is a warning that names what was found: U-Boot then
/// drives the hardware of another board.
pub fn check_compatible(fit: &Fit, bytes: &[u8], expected: &[&str]) -> Report {
    let mut found: Vec<String> = Vec::new();
    let mut first = None;
    for image in fit.images.iter().filter(|image| image.is_flat_dt() && image.is_uncompressed()) {
        let Some(Ok(tree)) = image.bytes(bytes).map(Fdt::parse) else { continue };
        if expected.iter().any(|expected| tree.root().is_compatible(expected)) {
            return Report::new();
        }
        first = first.or(image.data.as_ref().map(|(_, range)| range.clone()));
        let name = tree.root().compatible().next().map_or_else(|| "nothing".to_owned(), quote);
        if found.len() < 8 {
            found.push(name);
        }
    }
    let mut report = Report::new();
    if let Some(range) = first {
        report.push(
            Finding::warning(
                rules::FIT_COMPATIBLE,
                format!(
                    "the device tree in the FIT is compatible with {}, expected {}",
                    found.join(", "),
                    expected.join(" or ")
                ),
            )
            .at(range)
            .help("this U-Boot was made for another board; use the one for yours"),
        );
    }
    report
}

/// Compares the TF-A images of a FIT with the segments of the BL31 ELF file that they should be.
///
/// Information only: a rebuilt TF-A is as good. An ELF file that is none gives one finding as well.
pub fn check_firmware(fit: &Fit, bytes: &[u8], bl31: &[u8]) -> Report {
    let mut report = Report::new();
    let Some(segments) = load_segments(bl31) else {
        report.push(Finding::info(rules::FIT_SEGMENTS, "the file given as BL31 is no 64-bit little-endian ELF file"));
        return report;
    };
    let is_firmware = |image: &&Image| image.os.as_deref() == Some("arm-trusted-firmware");
    let mut images: Vec<_> = fit.images.iter().filter(is_firmware).collect();
    for (address, data) in &segments {
        let found = images.iter().position(|image| image.load == Some(*address) && image.bytes(bytes) == Some(*data));
        if let Some(index) = found {
            images.remove(index);
        } else {
            report.push(Finding::info(
                rules::FIT_SEGMENTS,
                format!("no image of the FIT is the segment of {} bytes at {address:#x} of the given BL31", data.len()),
            ));
        }
    }
    for image in images {
        let finding =
            Finding::info(rules::FIT_SEGMENTS, format!("image {} is no segment of the given BL31", quote(&image.name)));
        report.push(match &image.data {
            Some((_, range)) => finding.at(range.clone()),
            None => finding,
        });
    }
    report
}

/// Physical address and file bytes of the PT_LOAD segments of an ELF64 file that hold bytes.
fn load_segments(elf: &[u8]) -> Option<Vec<(u64, &[u8])>> {
    const MAX_SEGMENTS: usize = 32;
    if elf.get(..6)? != b"\x7fELF\x02\x01" {
        return None;
    }
    let u16_at = |at: u64| Some(u16::from_le_bytes(slice(elf, &(at..at.checked_add(2)?)).try_into().ok()?));
    let u64_at = |at: u64| Some(u64::from_le_bytes(slice(elf, &(at..at.checked_add(8)?)).try_into().ok()?));
    let (table, size, count) = (u64_at(32)?, u64::from(u16_at(54)?), usize::from(u16_at(56)?));
    let mut segments = Vec::new();
    for index in (0_u64..).take(count.min(MAX_SEGMENTS)) {
        let at = table.checked_add(index.checked_mul(size)?)?;
        let kind = slice(elf, &(at..at.checked_add(4)?));
        let (start, address, length) =
            (u64_at(at.checked_add(8)?)?, u64_at(at.checked_add(24)?)?, u64_at(at.checked_add(32)?)?);
        let data = slice(elf, &(start..start.checked_add(length)?));
        if kind == [1, 0, 0, 0] && length > 0 {
            segments.push((address, data));
        }
    }
    Some(segments)
}
