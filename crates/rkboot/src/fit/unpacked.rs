//! What images hold once they are unpacked, and where they come to lie in memory.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::collections::BTreeMap;

use imgcore::{Finding, Report};

use super::{
    Configuration, HashStatus, Image,
    build::text_base,
    hash,
    unpack::{Unpacked, unpack},
};
use crate::{rules, util::quote};

/// All images together may unpack to this much: ten times what a boot loader has.
const UNPACKED_MAX: u64 = 64 * 1024 * 1024;

/// Unpacks what is compressed, checks the digests of that, and reports.
pub(super) fn check_digests(bytes: &[u8], images: &mut [Image], report: &mut Report) {
    let mut room = UNPACKED_MAX;
    // Images that share data could ask for any amount of work.
    let mut budget = (bytes.len() as u64).saturating_mul(4);
    for image in images.iter_mut().filter(|image| !image.is_uncompressed()) {
        let Some(data) = image.bytes(bytes) else { continue };
        // What is damaged is said so already.
        if image.hashes.iter().any(|hash| hash.status == HashStatus::Wrong) {
            continue;
        }
        let (name, compression) = (quote(&image.name), image.compression.clone().unwrap_or_default());
        let range = image.data.as_ref().map_or(0..0, |(_, range)| range.clone());
        let unpacked = match budget.checked_sub(data.len() as u64) {
            Some(left) => {
                budget = left;
                unpack(&compression, data, room)
            }
            None => Unpacked::TooLong,
        };
        match unpacked {
            Unpacked::Data(data) => {
                room = room.saturating_sub(data.len() as u64);
                image.unpacked_size = Some(data.len() as u64);
                for digest in &mut image.digests {
                    digest.status = match hash::matches(&digest.algorithm, &digest.value, &data) {
                        Some(true) => HashStatus::Valid,
                        Some(false) => HashStatus::Wrong,
                        None => HashStatus::Unsupported,
                    };
                    let algorithm = quote(&digest.algorithm);
                    match digest.status {
                        HashStatus::Wrong => report.push(
                            Finding::error(
                                rules::FIT_DIGEST_WRONG,
                                format!("the {algorithm} digest of the unpacked data of image {name} is wrong"),
                            )
                            .at(range.clone())
                            .help("the SPL refuses the image; fetch the file again or pack it anew"),
                        ),
                        HashStatus::Unsupported => report.push(
                            Finding::info(
                                rules::FIT_ALGORITHM,
                                format!(
                                    "the digest of image {name} is not checked: algorithm {algorithm} is not known here"
                                ),
                            )
                            .at(range.clone()),
                        ),
                        _ => {}
                    }
                }
            }
            Unpacked::Damaged(problem) => report.push(
                Finding::error(
                    rules::FIT_UNPACK,
                    format!("the data of image {name} is no sound {} data: {}", quote(&compression), quote(&problem)),
                )
                .at(range)
                .help("the SPL stops when it unpacks the image; fetch the file again or pack it anew"),
            ),
            Unpacked::TooLong => report.push(
                Finding::warning(
                    rules::FIT_UNPACK_LIMIT,
                    format!("the data of image {name} unpacks to more than {room} bytes: it is not checked"),
                )
                .at(range),
            ),
            Unpacked::NotRead => {
                for digest in &mut image.digests {
                    digest.status = HashStatus::Unsupported;
                }
                if !image.digests.is_empty() {
                    report.push(
                        Finding::info(
                            rules::FIT_DIGEST,
                            format!(
                                "the digest of the unpacked data of image {name} is not checked: {} data is not read here",
                                quote(&compression)
                            ),
                        )
                        .at(range),
                    );
                }
            }
        }
    }
}

/// Compares the address of U-Boot with the one that it was linked for.
pub(super) fn check_linked(bytes: &[u8], images: &[Image], report: &mut Report) {
    let is_u_boot = |image: &&Image| {
        image.os.as_deref().is_some_and(|os| os.eq_ignore_ascii_case("u-boot"))
            && image.kind.as_deref() == Some("standalone")
            && image.is_uncompressed()
    };
    for image in images.iter().filter(is_u_boot) {
        let linked = image.bytes(bytes).and_then(text_base);
        let (Some(linked), Some(load)) = (linked, image.load) else { continue };
        if linked != load {
            let range = image.data.as_ref().map_or(0..0, |(_, range)| range.clone());
            report.push(
                Finding::warning(
                    rules::FIT_LINKED,
                    format!("image {} is loaded at {load:#x}, but was linked for {linked:#x}", quote(&image.name)),
                )
                .at(range.start..range.start.saturating_add(16).min(range.end))
                .help("U-Boot does not run at another address; the FIT was packed with a wrong load address"),
            );
        }
    }
}

/// Says which images of a configuration would overwrite each other.
pub(super) fn check_loads(images: &[Image], configurations: &[Configuration], report: &mut Report) {
    let by_name: BTreeMap<&str, &Image> = images.iter().rev().map(|image| (image.name.as_str(), image)).collect();
    for configuration in configurations {
        let names = configuration.firmware.iter().chain(&configuration.loadables).chain(&configuration.kernel);
        let mut loaded: Vec<(u64, u64, &str)> = Vec::new();
        for image in names.filter_map(|name| by_name.get(name.as_str())) {
            let stored = image.data.as_ref().map_or(0, |(_, range)| range.end.saturating_sub(range.start));
            let (Some(start), size) = (image.load, image.unpacked_size.unwrap_or(stored)) else { continue };
            let part = (start, start.saturating_add(size), image.name.as_str());
            if size > 0 && !loaded.contains(&part) {
                loaded.push(part);
            }
        }
        loaded.sort_unstable();
        let clash = loaded.windows(2).find_map(|pair| match pair {
            [first, second] if second.0 < first.1 => Some((first, second)),
            _ => None,
        });
        if let Some((first, second)) = clash {
            report.push(
                Finding::warning(
                    rules::FIT_LOADS,
                    format!(
                        "configuration {}: image {} for {:#x}..{:#x} and image {} for {:#x}..{:#x} overwrite each other",
                        quote(&configuration.name),
                        quote(first.2),
                        first.0,
                        first.1,
                        quote(second.2),
                        second.0,
                        second.1
                    ),
                )
                .at(configuration.node..configuration.node.saturating_add(4))
                .help("the one that is loaded later wins, and the other is broken; the FIT was packed wrongly"),
            );
        }
    }
}
