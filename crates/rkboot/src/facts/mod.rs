//! Measured facts, one a line, in the vocabulary of `inspect --tsv`.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

mod other;

use std::fmt::Write as _;

use imgcore::Fact;

use crate::{
    Fit, IdBlock,
    bootfile::{find_fit, first_stage_base, fit_copies},
    fit::{self, DataForm},
    idblock::{self, Check, HashKind, IdBlockV1},
    util::{SECTOR, hex, sector_end, slice, tail},
};

/// FITs of one file that are described.
const MAX_FITS: usize = 4;

/// Everything measured about the idblocks (kinds `idb-v1`, `idb-v2`) and FITs (kind `fit`) in a boot file: at its start, the
/// copies, and FITs at sector boundaries behind an idblock. Offsets of images count from the start of their idblock or
/// FIT. Loader files (`loader`), `LOADER` images (`loader-image`), `BL3X` images (`trust`), tables of device trees
/// (`dtbo-table`, followed by their trees as `fdt`) and parameter files (`parameter`) are measured as a whole.
///
/// ```
/// # use rkboot::{Soc, facts, idblock};
/// let block = idblock::build(&idblock::Parts { soc: Soc::Rk3588, init: b"ddr", boot: None })?;
/// assert_eq!(facts(&block)[0].to_string(), "idb-v2\t0\tn_images\t2");
/// # Ok::<(), rkboot::Error>(())
/// ```
pub fn facts(bytes: &[u8]) -> Vec<Fact> {
    let mut facts = Vec::new();
    if let Some(base) = first_stage_base(bytes) {
        let rest = tail(bytes, base);
        let mut search = base;
        if let (Some(mut block), _) = idblock::v1::parse_block(rest, None) {
            let _ = idblock::v1::find_copies(rest, &mut block);
            for copy in &block.copies {
                let at = base.saturating_add(copy.range.start);
                let end = block.copies.get(1).map_or(u64::MAX, |second| at.saturating_add(second.range.start));
                if let (Some(block), _) = idblock::v1::parse_block(slice(bytes, &(at..end)), None) {
                    v1_facts(&block, at, &mut facts);
                }
                search = search.max(base.saturating_add(copy.range.start).saturating_add(block.search_from()));
            }
        } else if let (Some(mut block), _) = idblock::parse_block(rest, None) {
            let _ = idblock::find_copies(rest, &mut block);
            for copy in &block.copies {
                let at = base.saturating_add(copy.range.start);
                // A copy is at most as long as the way to the next one.
                let end = block.copies.get(1).map_or(u64::MAX, |second| at.saturating_add(second.range.start));
                if let (Some(block), _) = idblock::parse_block(slice(bytes, &(at..end)), None) {
                    idblock_facts(&block, at, &mut facts);
                }
                search = search.max(base.saturating_add(copy.range.end));
            }
        }
        for _ in 0..MAX_FITS {
            let Some((at, fit, _)) = find_fit(bytes, search) else { break };
            fit_facts(&fit, at, &mut facts);
            search = sector_end(at.saturating_add(fit.end()));
        }
    } else if let Some(other) = other::facts(bytes) {
        return other;
    } else if let (Some(first), _) = fit::parse(bytes) {
        fit_facts(&first, 0, &mut facts);
        let starts = fit_copies(bytes, &first);
        let stride = starts.get(1).copied().unwrap_or(u64::MAX);
        for at in starts.into_iter().skip(1) {
            if let (Some(fit), _) = fit::parse(slice(bytes, &(at..at.saturating_add(stride)))) {
                fit_facts(&fit, at, &mut facts);
            }
        }
    }
    facts
}

fn idblock_facts(block: &IdBlock, at: u64, facts: &mut Vec<Fact>) {
    let mut add = |field: &str, value: String| facts.push(Fact::new("idb-v2", at, field, value));
    // The field is named after the algorithm, so a block without hashes has none.
    let algorithm = if block.hash_kind == HashKind::Sha512 { "sha512" } else { "sha256" };
    add("n_images", block.n_images.to_string());
    add("hash_offset", block.hash_offset.to_string());
    add("hash_kind", block.hash_kind.name().to_owned());
    add(&format!("header_{algorithm}"), hex(&block.header_hash));
    add("header_ok", check(block.header_check).to_owned());
    for (image, number) in block.images.iter().zip(1_u32..) {
        add(
            &format!("image{number}"),
            format!(
                "offset={} size={} load={:#x} flag={} counter={} {algorithm}={} ok={}",
                image.range.start,
                image.range.end.saturating_sub(image.range.start),
                image.load,
                image.flag,
                image.counter,
                hex(&image.hash),
                check(image.check)
            ),
        );
    }
    add("length", block.length.to_string());
    add("bytes_missing", block.bytes_missing.to_string());
}

fn v1_facts(block: &IdBlockV1, at: u64, facts: &mut Vec<Fact>) {
    let mut add = |field: &str, value: String| facts.push(Fact::new("idb-v1", at, field, value));
    let blocks = |bytes: u64| bytes.div_euclid(SECTOR).to_string();
    add("spread_2k_of_4k", if block.spread { "True" } else { "False" }.to_owned());
    add("disable_rc4", block.disable_rc4.to_string());
    add("init_offset_blocks", blocks(block.init.start));
    add("init_size_blocks", blocks(block.init.end.saturating_sub(block.init.start)));
    add("init_boot_size_blocks", blocks(block.length.saturating_sub(block.init.start)));
    let text = block.tag.map(|byte| if byte.is_ascii_graphic() { char::from(byte) } else { '.' });
    add("tag_bytes", format!("{} {}", hex(&block.tag), String::from_iter(text)));
    add("length_without_spread", block.length.to_string());
    add("bytes_missing", block.bytes_missing.to_string());
}

fn check(check: Check) -> &'static str {
    match check {
        Check::Valid => "True",
        Check::ValidIfPadded => "padded",
        Check::Wrong => "False",
        Check::Unchecked => "None",
    }
}

fn fit_facts(fit: &Fit, at: u64, facts: &mut Vec<Fact>) {
    let mut add = |field: String, value: String| facts.push(Fact::new("fit", at, field, value));
    let none = || "None".to_owned();
    add("totalsize".to_owned(), fit.totalsize.to_string());
    add("external_base".to_owned(), fit.external_base.to_string());
    let (valid, all) = fit.hashes();
    add("hashes_ok".to_owned(), format!("{valid}/{all}"));
    add("data_end".to_owned(), fit.data_end.to_string());
    add("default".to_owned(), fit.default.clone().unwrap_or_else(none));
    for image in &fit.images {
        let (form, size, offset) = match &image.data {
            Some((form, range)) => {
                (form.name(), range.end.saturating_sub(range.start).to_string(), range.start.to_string())
            }
            None => ("none", none(), none()),
        };
        let mut value = format!(
            "data={form} type={} os={} compression={} load={} size={size} offset={offset}",
            image.kind.as_deref().unwrap_or_default(),
            image.os.as_deref().unwrap_or_default(),
            image.compression.as_deref().unwrap_or_default(),
            image.load.map_or_else(none, |load| format!("{load:#x}")),
        );
        for hash in &image.hashes {
            let _ = write!(value, " {}:{}", hash.algorithm, hash.status.name());
        }
        add(format!("image {}", image.name), value);
    }
    for configuration in &fit.configurations {
        let or_dash = |list: &[String]| if list.is_empty() { "-".to_owned() } else { list.join(",") };
        add(
            format!("config {}", configuration.name),
            format!(
                "firmware={} loadables={} fdt={} dangling={}",
                configuration.firmware.as_deref().unwrap_or("None"),
                configuration.loadables.join(","),
                configuration.fdt.join(","),
                or_dash(&configuration.dangling)
            ),
        );
    }
}

impl DataForm {
    /// `off`, `pos`, `inline`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inline => "inline",
            Self::Offset => "off",
            Self::Position => "pos",
        }
    }
}
