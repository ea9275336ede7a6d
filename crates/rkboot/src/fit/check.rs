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
use crate::{elf, rules, util::quote};

/// Trees that are looked into; real FITs have a few.
const MAX_TREES: usize = 64;

/// Compares the device trees of a FIT with the `compatible` strings of a board, any of which will do.
///
/// Without a match there is a warning that names what was found: U-Boot then drives the hardware of another board.
pub fn check_compatible(fit: &Fit, bytes: &[u8], expected: &[&str]) -> Report {
    let mut found: Vec<String> = Vec::new();
    let mut first = None;
    for image in fit.images.iter().filter(|image| image.is_flat_dt()).take(MAX_TREES) {
        let Some(data) = image.uncompressed(bytes) else { continue };
        let Ok(tree) = Fdt::parse(&data) else { continue };
        if expected.iter().any(|expected| tree.root().is_compatible(expected)) {
            return Report::new();
        }
        first = first.or(image.data.as_ref().map(|(_, range)| range.clone()));
        let name = tree.root().compatible().next().map_or_else(|| "nothing".to_owned(), quote);
        if found.len() < 8 {
            found.push(name);
        }
    }
    let expected = expected.join(" or ");
    let message = if found.is_empty() {
        format!("the FIT holds no device tree that can be read, expected one for {expected}")
    } else {
        format!("the device tree in the FIT is compatible with {}, expected {expected}", found.join(", "))
    };
    Report::from_iter([Finding::warning(rules::FIT_COMPATIBLE, message)
        .at(first.unwrap_or(0..4))
        .help("this U-Boot was made for another board; use the one for yours")])
}

/// Compares the TF-A images of a FIT with the segments of the BL31 ELF file that they should be.
///
/// Information only: a rebuilt TF-A is as good. An ELF file that is none gives one finding as well. Segments without
/// file bytes are looked for too: packers write an image of no bytes for them, or none.
pub fn check_firmware(fit: &Fit, bytes: &[u8], bl31: &[u8]) -> Report {
    let mut report = Report::new();
    let (Some(elf), _) = elf::parse(bl31) else {
        report.push(Finding::info(rules::FIT_SEGMENTS, "the file given as BL31 is no little-endian ELF file"));
        return report;
    };
    let is_firmware = |image: &&Image| image.os.as_deref() == Some("arm-trusted-firmware");
    let mut images: Vec<_> = fit.images.iter().filter(is_firmware).collect();
    for segment in &elf.segments {
        let data = segment.bytes(bl31);
        let found = images.iter().position(|image| image.load == Some(segment.address) && image.bytes(bytes) == data);
        if let Some(index) = found {
            images.remove(index);
        } else if !segment.range.is_empty() {
            report.push(Finding::info(
                rules::FIT_SEGMENTS,
                format!(
                    "no image of the FIT is the segment of {} bytes at {:#x} of the given BL31",
                    segment.range.end.saturating_sub(segment.range.start),
                    segment.address
                ),
            ));
        }
    }
    if let (Some(first), Some(entry)) = (fit.image("atf-1"), fit.image("atf-1").and_then(|image| image.entry))
        && entry != elf.entry
    {
        report.push(
            Finding::info(
                rules::FIT_SEGMENTS,
                format!("the firmware is entered at {entry:#x}, the given BL31 at {:#x}", elf.entry),
            )
            .at(first.node..first.node.saturating_add(4)),
        );
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
