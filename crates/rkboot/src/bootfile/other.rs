//! Boot files that are neither idblock nor FIT: loader files, the vendor's older formats, tables and partition lists.

use imgcore::{Finding, Report};

use super::{BootFile, BootFileKind, examine::report_copies, foreign::not_raw};
use crate::{
    dtbo_table,
    legacy::{Slot, loader_image, trust},
    loader, parameter, rules,
};

/// The file, if it is one of these.
pub(super) fn other(bytes: &[u8]) -> Option<(BootFile, Report)> {
    if loader::is_loader(bytes) {
        let (loader, report) = loader::parse(bytes);
        let end = loader.as_ref().map_or(0, |loader| loader.end);
        let kind = loader.map_or(BootFileKind::Unknown, |loader| BootFileKind::Loader(Box::new(loader)));
        return Some(not_for_cards(bytes, kind, end, report));
    }
    if dtbo_table::is_dtbo_table(bytes) {
        let (table, report) = dtbo_table::parse(bytes);
        let end = table.as_ref().map_or(0, |table| u64::from(table.total_size));
        let kind = table.map_or(BootFileKind::Unknown, |table| BootFileKind::DtboTable(Box::new(table)));
        return Some(not_for_cards(bytes, kind, end, report));
    }
    if loader_image::is_loader_image(bytes) {
        let (image, report) = loader_image::parse(bytes);
        let Some(image) = image else { return Some(not_for_cards(bytes, BootFileKind::Unknown, 0, report)) };
        let (end, slots) = (image.data.end, image.slots.clone());
        let what = match image.kind {
            loader_image::Kind::UBoot => "U-Boot in the vendor's legacy format (LOADER)",
            loader_image::Kind::Trust => "OP-TEE in the vendor's legacy format (TOS)",
        };
        let place = "miniloaders of RK33xx and older look for U-Boot at sector 16384, for OP-TEE at 24576";
        return Some(in_slots(bytes, BootFileKind::LoaderImage(Box::new(image)), end, &slots, (what, place), report));
    }
    if trust::is_trust(bytes) {
        let (image, report) = trust::parse(bytes);
        let Some(image) = image else { return Some(not_for_cards(bytes, BootFileKind::Unknown, 0, report)) };
        let (end, slots) = (image.content_end, image.slots.clone());
        let what = "TF-A in the vendor's legacy format (BL3X)";
        let place = "miniloaders of arm64 SoCs look for it at sector 24576 or in a partition called trust";
        return Some(in_slots(bytes, BootFileKind::Trust(Box::new(image)), end, &slots, (what, place), report));
    }
    if parameter::is_parameter(bytes) {
        let (found, report) = parameter::parse(bytes);
        let kind = found.map_or(BootFileKind::Unknown, |found| BootFileKind::Parameter(Box::new(found)));
        return Some(not_for_cards(bytes, kind, bytes.len() as u64, report));
    }
    None
}

/// A file that does not start a board from where it is written raw.
fn not_for_cards(bytes: &[u8], kind: BootFileKind, end: u64, report: Report) -> (BootFile, Report) {
    let length = bytes.len() as u64;
    let file = BootFile {
        kind,
        copies: std::iter::once(0..length).collect(),
        copies_equal: true,
        content_end: end.min(length),
        length,
        differing: None,
        claimed_end: end,
    };
    (file, not_raw(bytes).into_iter().chain(report).collect())
}

/// A file of equal slots that miniloaders read from a sector.
fn in_slots(
    bytes: &[u8],
    kind: BootFileKind,
    end: u64,
    slots: &[Slot],
    (what, place): (&str, &str),
    mut report: Report,
) -> (BootFile, Report) {
    let length = bytes.len() as u64;
    let copies: Vec<_> = slots.iter().map(|slot| slot.range.clone()).collect();
    report.push(
        Finding::info(rules::BOT_LEGACY, format!("{what}: mainline U-Boot's SPL does not read it"))
            .at(0..end.min(length))
            .help(place),
    );
    // Behind the content of a slot there is padding up to the next one.
    let used: Vec<_> = copies.iter().map(|copy| copy.start..copy.start.saturating_add(end).min(copy.end)).collect();
    report_copies(bytes, &used, &mut report);
    let differing = slots.iter().position(|slot| !slot.identical);
    let file = BootFile {
        kind,
        copies,
        copies_equal: differing.is_none(),
        content_end: end.min(length),
        length,
        differing,
        claimed_end: end,
    };
    (file, report)
}
