//! The first stage: whose SPL is in front, and what that means together with the second stage.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use imgcore::{Finding, Report};

use super::{
    Abilities, FirmwareKind,
    abilities::{last_tree, locate_fit, root_soc},
    strings::texts,
};
use crate::{
    HeaderVersion, Soc,
    bootfile::first_stage_base,
    fit::DataForm,
    idblock::{self, AnyBlock},
    rules,
    util::{quote, slice, tail},
};

/// Whose SPL it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum FirstStageKind {
    /// U-Boot's SPL, mainline.
    Mainline,
    /// U-Boot's SPL 2017.09 of Rockchip and board makers.
    Vendor,
    /// Rockchip's miniloader, which reads `LOADER` images only.
    Miniloader,
    /// Nothing tells.
    Unknown,
}

impl FirstStageKind {
    /// In a few words.
    pub const fn describe(self) -> &'static str {
        match self {
            Self::Mainline => "U-Boot SPL (mainline)",
            Self::Vendor => "U-Boot SPL 2017.09 (vendor)",
            Self::Miniloader => "Rockchip miniloader",
            Self::Unknown => "unknown",
        }
    }

    /// `mainline`, `vendor`, `miniloader`, `unknown`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mainline => "mainline",
            Self::Vendor => "vendor",
            Self::Miniloader => "miniloader",
            Self::Unknown => "unknown",
        }
    }
}

/// The stage that the BootROM loads.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FirstStage {
    /// Whose SPL it is.
    pub kind: FirstStageKind,
    /// Its version text.
    pub version: Option<String>,
    /// Where the idblock is in the file.
    pub offset: u64,
    /// The SoC that it is for, from the DDR init code if that was published, else from the SPL's device tree.
    pub soc: Option<Soc>,
    /// Every SoC whose BootROM may take it: all of those with its header version and tag where nothing tells more.
    pub socs: Vec<Soc>,
}

/// Finds the first stage in an idblock, in a file that begins with one, or in an SPI image. `None` when there is no
/// idblock.
pub fn first_stage(bytes: &[u8]) -> Option<FirstStage> {
    let base = first_stage_base(bytes)?;
    let rest = tail(bytes, base);
    let (block, flat) = block_at(rest).map_or((None, Vec::new()), |(block, flat)| (Some(block), flat));
    let socs = block.map(|block| possible_socs(&block, rest, &flat)).unwrap_or_default();
    let soc = if let [only] = socs.as_slice() { Some(*only) } else { None };
    let mut found = FirstStage { kind: FirstStageKind::Unknown, version: None, offset: base, soc, socs };
    for (_, text) in texts(&flat) {
        if let Some(start) = text.find("U-Boot SPL 20") {
            let version = text.get(start..).unwrap_or_default().lines().next().unwrap_or_default();
            if found.version.as_ref().is_none_or(|known| version.len() > known.len()) {
                found.kind =
                    if version.contains("SPL 2017.09") { FirstStageKind::Vendor } else { FirstStageKind::Mainline };
                found.version = Some(version.chars().take(160).collect());
            }
        } else if found.kind == FirstStageKind::Unknown
            && (text.contains("miniloader") || text.contains("Boot1 Release Time"))
        {
            found.kind = FirstStageKind::Miniloader;
            found.version = Some(quote(text.trim()));
        }
    }
    Some(found)
}

/// Which SoCs an idblock can be for: one if its DDR init code or its SPL's tree tells, else all with its header.
fn possible_socs(block: &AnyBlock, bytes: &[u8], flat: &[u8]) -> Vec<Soc> {
    let fits = |soc: &Soc| match block {
        AnyBlock::V1(block) => {
            soc.header_version() == HeaderVersion::V1 && (!block.has_known_tag() || soc.tag().as_bytes() == block.tag)
        }
        AnyBlock::V2(_) => soc.header_version() == HeaderVersion::V2,
    };
    let mut published: Vec<Soc> = block.ddr(bytes).map(|ddr| ddr.socs().collect()).unwrap_or_default();
    published.sort();
    published.dedup();
    published.retain(fits);
    if !published.is_empty() {
        return published;
    }
    match last_tree(flat).and_then(|(_, fdt)| root_soc(&fdt)).filter(fits) {
        Some(soc) => vec![soc],
        None => Soc::all().filter(fits).collect(),
    }
}

/// Whether a second stage for `second` can be behind a first stage that is for one of these.
fn same_chip(first: &[Soc], second: Soc) -> bool {
    // One die each: their blobs and trees go by either name.
    let die = |soc: Soc| match soc {
        Soc::Rk3326 => Soc::Px30,
        Soc::Px3se => Soc::Rk3128,
        other => other,
    };
    first.is_empty() || first.iter().any(|soc| die(*soc) == die(second))
}

/// The idblock at the start of `bytes`, and what it holds in the flat form.
pub(crate) fn block_at(bytes: &[u8]) -> Option<(AnyBlock, Vec<u8>)> {
    if idblock::is_v2(bytes) {
        let block = idblock::parse_block(bytes, None).0?;
        let flat = slice(&block.decoded(bytes), &(0..block.length)).to_vec();
        return Some((AnyBlock::V2(Box::new(block)), flat));
    }
    let block = idblock::v1::parse_block(bytes, None).0?;
    let flat = block.decoded(bytes);
    Some((AnyBlock::V1(Box::new(block)), flat))
}

/// Which boot chain two stages make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Scenario {
    /// Mainline SPL and mainline U-Boot.
    Mainline,
    /// The vendor's SPL and the vendor's U-Boot 2017.09.
    Vendor,
    /// The vendor's DDR code and SPL with a mainline U-Boot.
    VendorSplHybrid,
    /// Either SPL with EDK2.
    Edk2,
}

impl Scenario {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Mainline, Self::Vendor, Self::VendorSplHybrid, Self::Edk2];

    /// `mainline`, `vendor`, `vendor-spl-hybrid`, `edk2`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mainline => "mainline",
            Self::Vendor => "vendor",
            Self::VendorSplHybrid => "vendor-spl-hybrid",
            Self::Edk2 => "edk2",
        }
    }
}

/// Which boot chain a first and a second stage make, and whether the first finds the second. `second_file` are the
/// bytes that `second` was read from, whose format decides.
///
/// `None` when a stage is not known; an absent first stage is taken as the one that belongs to the second.
pub fn scenario(first: Option<&FirstStage>, second: &Abilities, second_file: &[u8]) -> (Option<Scenario>, Report) {
    let mut report = Report::new();
    let kind = first.map(|first| first.kind);
    let is_loader = second_file.starts_with(b"LOADER  ");
    let is_fit = crate::fit::is_tree(second_file) || first_stage_base(second_file).is_some();
    let scenario = match (second.kind, kind) {
        (FirmwareKind::Edk2, _) => Some(Scenario::Edk2),
        (FirmwareKind::UBootMainline, Some(FirstStageKind::Vendor)) => Some(Scenario::VendorSplHybrid),
        (FirmwareKind::UBootMainline, Some(FirstStageKind::Mainline) | None) => Some(Scenario::Mainline),
        (FirmwareKind::UBootVendor, Some(FirstStageKind::Vendor | FirstStageKind::Miniloader) | None) => {
            Some(Scenario::Vendor)
        }
        _ => None,
    };
    let mut refuse = |message: String, help: &str| {
        report.push(Finding::error(rules::FLW_STAGES, message).at(0..8).help(help));
    };
    match kind {
        Some(FirstStageKind::Miniloader) if is_fit => refuse(
            "the miniloader in the idblock reads LOADER images only, and the second stage is a FIT".to_owned(),
            "take an idblock with U-Boot's SPL, or pack the second stage with the vendor's loaderimage",
        ),
        Some(FirstStageKind::Mainline) if is_loader => refuse(
            "the mainline SPL in the idblock reads FITs only, and the second stage is a LOADER image".to_owned(),
            "take the u-boot.itb that was built together with this SPL",
        ),
        Some(FirstStageKind::Mainline) if second.kind == FirmwareKind::UBootVendor && is_fit => report.push(
            Finding::warning(
                rules::FLW_MIXED,
                "a mainline SPL in front of the vendor's U-Boot 2017.09: nobody ships this pair".to_owned(),
            )
            .help("take both stages from one build"),
        ),
        _ => {}
    }
    if let (Some(first), Some(soc)) = (first, second.soc)
        && !same_chip(&first.socs, soc)
    {
        report.push(other_socs(first, second, soc));
    }
    if scenario == Some(Scenario::VendorSplHybrid) {
        report.push(hybrid(second_file));
    }
    (scenario, report)
}

fn other_socs(first: &FirstStage, second: &Abilities, soc: Soc) -> Finding {
    const SHOWN: usize = 6;
    let names: Vec<_> = first.socs.iter().take(SHOWN).map(|soc| soc.name()).collect();
    let more = if first.socs.len() > SHOWN { ", …" } else { "" };
    let at = second.tree.as_ref().map_or(0, |tree| tree.offset);
    Finding::error(
        rules::FLW_STAGE_SOCS,
        format!(
            "the first stage is for {}{more}, and the second for {soc}, as its device tree says",
            names.join(" or ")
        ),
    )
    .at(at..at.saturating_add(8))
    .help("one of them is another board's file: the board stays dark; take both stages for the same board")
}

fn hybrid(second_file: &[u8]) -> Finding {
    if let Some((at, fit)) = locate_fit(second_file) {
        let tree = u64::from(fit.totalsize);
        let is_external = |image: &crate::fit::Image| matches!(image.data, Some((DataForm::Offset, _)));
        // The vendor's own packer rounds to 512 as its SPL does and declares the whole size.
        let moved = fit.declared_size.is_none() && tree.next_multiple_of(4) != tree.next_multiple_of(512);
        if moved && fit.images.iter().any(is_external) {
            let (theirs, ours) = (tree.next_multiple_of(512), tree.next_multiple_of(4));
            return Finding::error(
                rules::FLW_HYBRID_BASE,
                format!(
                    "the vendor's SPL looks for the data of the images from byte {theirs} of the FIT on, a multiple of 512, \
                     and this mainline FIT has it from byte {ours} on: every image is read from the wrong place"
                ),
            )
            .at(at.saturating_add(4)..at.saturating_add(8))
            .help("pack the FIT with binman, which pads the tree to 512 bytes");
        }
    }
    Finding::info(
        rules::FLW_HYBRID,
        "the vendor's SPL in front of a mainline FIT: it looks for the GPT partition `uboot` first, then at sector 16384 \
         and 2 MiB behind that",
    )
    .help("give no partition the name `uboot`, or the SPL starts what is in it")
}
