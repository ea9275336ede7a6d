//! Where the data of the images is, whether it is whole, and whether it is what was hashed.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::ops::Range;

use imgcore::{Finding, Report};

use super::{DataForm, Hash, HashStatus, Image, hash, is_tree};
use crate::{rules, util::quote};

/// A stored place, before it is known where external data begins.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) form: DataForm,
    pub(super) start: u64,
    pub(super) size: u64,
}

impl Place {
    fn range(&self, base: u64) -> Range<u64> {
        let start = if self.form == DataForm::Offset { base.saturating_add(self.start) } else { self.start };
        start..start.saturating_add(self.size)
    }
}

/// Tells where `data-offset` counts from (see the module's documentation), sets the ranges of the images, checks
/// hashes, and says what is wrong.
pub(super) fn resolve(
    bytes: &[u8],
    totalsize: u32,
    vendor: bool,
    images: &mut [Image],
    places: &[Option<Place>],
    report: &mut Report,
) -> u64 {
    let aligned = |to: u64| u64::from(totalsize).next_multiple_of(to);
    let (rule, other) = if vendor { (aligned(512), aligned(4)) } else { (aligned(4), aligned(512)) };
    let mut base = rule;
    place(images, places, rule);
    let faults = judge(bytes, images);
    if faults > 0 && other != rule && places.iter().flatten().any(|place| place.form == DataForm::Offset) {
        let before: Vec<Image> = images.to_vec();
        place(images, places, other);
        if judge(bytes, images) == 0 {
            base = other;
            report.push(
                Finding::warning(
                    rules::FIT_BASE,
                    format!(
                        "the external data starts at byte {other}, but {} SPLs look for it at {rule}",
                        if vendor { "vendor" } else { "mainline" }
                    ),
                )
                .at(rule.min(other)..rule.max(other))
                .help(if vendor {
                    "the root has a `totalsize` property as vendor FITs do, but the data was packed as mainline does"
                } else {
                    "the root has no `totalsize` property as mainline FITs, but the data was packed as the vendor does"
                }),
            );
        } else {
            images.clone_from_slice(&before);
        }
    }
    report_places(bytes, totalsize, images, report);
    report_hashes(bytes, images, report);
    base
}

fn place(images: &mut [Image], places: &[Option<Place>], base: u64) {
    for (image, place) in images.iter_mut().zip(places) {
        image.data = place.as_ref().map(|place| (place.form, place.range(base)));
    }
}

/// Sets the state of every hash. Returns how many images contradict the place where their data was looked for.
fn judge(bytes: &[u8], images: &mut [Image]) -> usize {
    // A sound FIT reads its data once per hash node; images that share data could ask for any amount of work.
    let mut budget = (bytes.len() as u64).saturating_mul(4);
    let mut faults = 0_usize;
    for image in images {
        let data = image.bytes(bytes);
        for Hash { algorithm, value, status } in &mut image.hashes {
            *status = match data {
                _ if !hash::is_known(algorithm) => HashStatus::Unsupported,
                None => HashStatus::Wrong,
                Some(data) => match budget.checked_sub(data.len() as u64) {
                    None => HashStatus::Skipped,
                    Some(left) => {
                        budget = left;
                        match hash::matches(algorithm, value, data) {
                            Some(true) => HashStatus::Valid,
                            _ => HashStatus::Wrong,
                        }
                    }
                },
            };
        }
        let proven = image.hashes.iter().any(|hash| hash.status == HashStatus::Valid);
        let wrong = image.hashes.iter().any(|hash| hash.status == HashStatus::Wrong);
        // Without hashes a device tree still shows whether it was found where it is.
        let no_tree = !proven && image.is_flat_dt() && image.is_uncompressed() && !data.is_some_and(is_tree);
        faults = faults.saturating_add(usize::from(wrong || no_tree));
    }
    faults
}

fn report_places(bytes: &[u8], totalsize: u32, images: &[Image], report: &mut Report) {
    let size = bytes.len() as u64;
    let mut sorted: Vec<(&Image, Range<u64>)> = Vec::new();
    for image in images {
        let Some((form, range)) = &image.data else {
            report.push(
                Finding::error(
                    rules::FIT_NO_DATA,
                    format!("image {} has no data: none of data, data-offset, data-position", quote(&image.name)),
                )
                .at(image.node..image.node.saturating_add(4))
                .help("the SPL fails here; the FIT was not packed to its end"),
            );
            continue;
        };
        if range.end > size {
            report.push(
                Finding::error(
                    rules::FIT_BEYOND_END,
                    format!(
                        "image {} ends at byte {}, {} bytes behind the end of the file",
                        quote(&image.name),
                        range.end,
                        range.end.saturating_sub(size)
                    ),
                )
                .at(range.clone())
                .help("the file is cut or damaged and the board does not start from it; fetch it again"),
            );
        }
        if *form != DataForm::Inline && !range.is_empty() {
            sorted.push((image, range.clone()));
        }
    }
    sorted.sort_by_key(|(_, range)| (range.start, range.end));
    let mut reached: (&str, u64) = ("the device tree of the FIT", u64::from(totalsize));
    for (image, range) in &sorted {
        if range.start < reached.1 {
            report.push(
                Finding::error(
                    rules::FIT_OVERLAP,
                    format!("the data of image {} overlaps {}", quote(&image.name), quote(reached.0)),
                )
                .at(range.start..range.end.min(reached.1))
                .help("one of them is not what was packed; fetch the file again"),
            );
        }
        if range.end > reached.1 {
            reached = (&image.name, range.end);
        }
    }
}

fn report_hashes(bytes: &[u8], images: &[Image], report: &mut Report) {
    let mut bare: Vec<String> = Vec::new();
    for image in images {
        let Some((_, range)) = &image.data else { continue };
        if image.hashes.is_empty() {
            bare.push(quote(&image.name));
        }
        let whole = image.bytes(bytes).is_some();
        for hash in &image.hashes {
            let (name, algorithm) = (quote(&image.name), quote(&hash.algorithm));
            let finding = match hash.status {
                HashStatus::Valid => continue,
                // The missing data has its own finding.
                HashStatus::Wrong if !whole => continue,
                HashStatus::Wrong => Finding::error(
                    rules::FIT_HASH,
                    format!("the {algorithm} hash of image {name} is wrong: its bytes are damaged"),
                )
                .help("the SPL refuses the image and the board stops there; fetch the file again"),
                HashStatus::Unsupported => Finding::info(
                    rules::FIT_ALGORITHM,
                    format!("the hash of image {name} is not checked: algorithm {algorithm} is not known here"),
                ),
                HashStatus::Skipped => Finding::warning(
                    rules::FIT_UNCHECKED,
                    format!("the hash of image {name} is not checked: the images share too much data"),
                ),
            };
            report.push(finding.at(range.clone()));
        }
        let wrong = image.hashes.iter().any(|hash| hash.status == HashStatus::Wrong);
        if image.is_flat_dt() && image.is_uncompressed() && !wrong && !image.bytes(bytes).is_none_or(is_tree) {
            report.push(
                Finding::error(
                    rules::FIT_NOT_A_DTB,
                    format!("image {} of type flat_dt is no device tree", quote(&image.name)),
                )
                .at(range.start..range.start.saturating_add(4))
                .help("U-Boot stops without its device tree; fetch the file again"),
            );
        }
    }
    if !bare.is_empty() {
        let shown = bare.len().min(8);
        let more = if bare.len() > shown { ", …" } else { "" };
        let names = bare.get(..shown).unwrap_or_default().join(", ");
        report.push(Finding::info(rules::FIT_NO_HASH, format!("no hash protects: {names}{more}")));
    }
}
