//! Which blob is this? DDR init code, BL31, SPL, usbplug and the like by their digests and by what they say themselves.
//!
//! Names of blobs are no identities: rkbin has carried different content under one name, and one content under several.
//! So [`lookup`] compares digests with the whole history of rkbin, and [`identify`] also reads version texts, which tell
//! of blobs that were never published there.
//!
//! ```
//! use rkboot::identity::{self, BlobKind};
//!
//! let found = identity::identify(b"\0DDR 9fa84341ce typ 24/09/06-09:51:11,fwver: v1.18\0");
//! assert_eq!((found[0].kind, found[0].version.as_deref()), (BlobKind::Ddr, Some("v1.18")));
//! assert!(found[0].known.is_empty()); // a text, not the blob
//! ```
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

mod inventory;

use std::{fmt, ops::Range};

pub(crate) use inventory::soc_of;
pub use inventory::{Known, lookup};

use crate::{
    Soc,
    bootfile::{find_fit, first_stage_base},
    ddr_params,
    fit::{self, Image},
    flow::{block_at, texts},
    idblock::{AnyBlock, Uart},
    loader,
    util::{SECTOR, slice, tail},
};

/// What a blob is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum BlobKind {
    /// DDR init code, the first image of an idblock.
    Ddr,
    /// U-Boot's SPL.
    Spl,
    /// Rockchip's miniloader, an SPL of older SoCs.
    Miniloader,
    /// What runs in front of DDR init code on the RK3576.
    Boost,
    /// TF-A: runs in EL3 as long as the system does.
    Bl31,
    /// OP-TEE.
    Bl32,
    /// What maskrom mode loads to write flash over USB.
    UsbPlug,
    /// U-Boot proper.
    UBoot,
    /// Something else.
    Other,
}

impl BlobKind {
    fn of_name(name: &str) -> Self {
        [
            ("_ddr_", Self::Ddr),
            ("_bl31_", Self::Bl31),
            ("_bl32_", Self::Bl32),
            ("_spl_", Self::Spl),
            ("_usbplug_", Self::UsbPlug),
            ("_boost_", Self::Boost),
            ("_miniloader_", Self::Miniloader),
        ]
        .iter()
        .find(|(part, _)| name.contains(part))
        .map_or(Self::Other, |(_, kind)| *kind)
    }

    /// `DDR init`, `SPL`, `BL31`, …
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ddr => "DDR init",
            Self::Spl => "SPL",
            Self::Miniloader => "miniloader",
            Self::Boost => "boost",
            Self::Bl31 => "BL31",
            Self::Bl32 => "BL32",
            Self::UsbPlug => "usbplug",
            Self::UBoot => "U-Boot",
            Self::Other => "other",
        }
    }
}

/// A blob that was recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Identified {
    /// What it is.
    pub kind: BlobKind,
    /// Its bytes in the file, with padding; counted in the flat form for an idblock that is spread for SPI flash.
    pub range: Range<u64>,
    /// `v1.18`, from the inventory or from its own text; a TF-A of other makers has `v2.12.1`.
    pub version: Option<String>,
    /// What it says about itself.
    pub text: Option<String>,
    /// Every name under which exactly these bytes were published, but for the UART if that was changed; empty for others.
    pub known: Vec<Known>,
    /// For DDR init code that was published with another UART: the one that it was set to.
    pub uart: Option<Uart>,
}

impl Identified {
    /// The SoCs that these bytes were published for.
    pub fn socs(&self) -> impl Iterator<Item = Soc> {
        self.known.iter().filter_map(Known::soc)
    }

    /// Whether it is TF-A as Rockchip builds it, whose versions its notes about pairs count.
    pub fn is_rockchip_bl31(&self) -> bool {
        self.kind == BlobKind::Bl31
            && (!self.known.is_empty() || self.text.as_ref().is_some_and(|text| text.contains("fwver:")))
    }
}

impl fmt::Display for Identified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.name())?;
        if let Some(version) = &self.version {
            write!(f, " {version}")?;
        }
        if let Some(known) = self.known.first() {
            write!(f, ", {}", known.path)?;
        }
        if let Some(uart) = &self.uart {
            write!(f, " with the UART changed to {uart}")?;
        }
        if let Some(text) = &self.text {
            write!(f, " ({text})")?;
        }
        Ok(())
    }
}

/// Entries of a loader file that are looked into; real ones have up to seven.
const MAX_ENTRIES: usize = 16;

/// Recognises the blobs in a file: a blob as such, an idblock, a FIT, both in one file, a loader file. In stored order.
pub fn identify(bytes: &[u8]) -> Vec<Identified> {
    let mut found = Vec::new();
    if let Some(base) = first_stage_base(bytes) {
        let at = find_fit(bytes, base.saturating_add(SECTOR)).map(|(at, ..)| at);
        let rest = slice(bytes, &(base..at.unwrap_or(u64::MAX)));
        if let Some((block, flat)) = block_at(rest) {
            for range in block_images(&block) {
                found.extend(blob(slice(&flat, &range), base.saturating_add(range.start)));
            }
        }
        if let Some(at) = at {
            found.extend(in_fit(bytes, at));
        }
    } else if let (true, (Some(file), _)) = (loader::is_loader(bytes), loader::parse(bytes)) {
        for entry in file.entries.iter().take(MAX_ENTRIES) {
            if let Some(mut one) = file.entry_data(bytes, entry).and_then(|data| blob(&data, 0)) {
                one.range = entry.range.clone();
                found.push(one);
            }
        }
    } else if fit::is_tree(bytes) {
        found.extend(in_fit(bytes, 0));
    } else {
        found.extend(blob(bytes, 0));
    }
    found
}

/// Where the images of an idblock are in its flat form.
fn block_images(block: &AnyBlock) -> Vec<Range<u64>> {
    let ranges = match block {
        AnyBlock::V2(block) => block.images.iter().map(|image| image.range.clone()).collect(),
        AnyBlock::V1(block) => vec![block.init.clone(), block.init.end..block.content_length],
    };
    ranges.into_iter().filter(|range| !range.is_empty()).collect()
}

fn in_fit(bytes: &[u8], at: u64) -> Vec<Identified> {
    const MAX_IMAGES: usize = 16;
    let rest = tail(bytes, at);
    let Some(fit) = fit::parse(rest).0 else { return Vec::new() };
    let programs = fit.images.iter().filter(|image| !image.is_flat_dt()).take(MAX_IMAGES);
    let mut found = Vec::new();
    for image in programs {
        let Some((_, range)) = &image.data else { continue };
        let Some(data) = image.uncompressed(rest) else { continue };
        let mut one = blob(&data, 0);
        if one.is_none() && says_bl32(image) {
            one = Some(Identified {
                kind: BlobKind::Bl32,
                range: 0..0,
                version: None,
                text: None,
                known: Vec::new(),
                uart: None,
            });
        }
        if let Some(mut one) = one {
            one.range = at.saturating_add(range.start)..at.saturating_add(range.end);
            found.push(one);
        }
    }
    found
}

fn says_bl32(image: &Image) -> bool {
    matches!(image.os.as_deref(), Some("tee" | "op-tee"))
}

/// One blob: by its digest, else by its texts.
fn blob(bytes: &[u8], at: u64) -> Option<Identified> {
    let mut known = lookup(bytes);
    let said = said(bytes);
    let mut uart = None;
    if known.is_empty()
        && said.as_ref().is_none_or(|said| said.kind == BlobKind::Ddr)
        && let Some((published, set)) = with_published_uart(bytes)
    {
        known = published;
        uart = Some(set);
    }
    let range = at..at.saturating_add(bytes.len() as u64);
    if let Some(first) = known.first() {
        let text = said.filter(|said| said.kind == first.kind).map(|said| said.text);
        return Some(Identified {
            kind: first.kind,
            range,
            version: Some(first.version.to_owned()),
            text,
            known,
            uart,
        });
    }
    let said = said?;
    Some(Identified { kind: said.kind, range, version: said.version, text: Some(said.text), known, uart })
}

/// DDR init code whose UART was set ([`ddr_params::set_uart`]): what it was published as, and the UART that it has now.
fn with_published_uart(bytes: &[u8]) -> Option<(Vec<Known>, Uart)> {
    /// What rkbin's blobs come with: UART 2 or 0, m0, at 1 500 000 or 115 200 baud.
    const PUBLISHED: [u32; 4] = [0x2016_e360, 0x0016_e360, 0x2001_c200, 0x0001_c200];
    /// The largest DDR init code that is known has 146 KiB.
    const LARGEST: usize = 512 * 1024;
    if bytes.len() > LARGEST {
        return None;
    }
    let found = ddr_params::parse(bytes).0?;
    let start = usize::try_from(found.uart_offset?).ok()?;
    let mut changed = bytes.to_vec();
    for word in PUBLISHED {
        changed.get_mut(start..start.checked_add(4)?)?.copy_from_slice(&word.to_le_bytes());
        let known = lookup(&changed);
        if known.first().is_some_and(|known| known.kind == BlobKind::Ddr) {
            return Some((known, found.uart?));
        }
    }
    None
}

struct Said {
    kind: BlobKind,
    version: Option<String>,
    text: String,
}

/// What a blob says about itself.
fn said(bytes: &[u8]) -> Option<Said> {
    let mut uboot: Option<Said> = None;
    let mut tfa: Option<Said> = None;
    let mut ddr: Option<Said> = None;
    for (_, text) in texts(bytes) {
        if let Some(start) = text.find("U-Boot ") {
            let text = text.get(start..).unwrap_or_default().lines().next().unwrap_or_default();
            let year = |head: &str| text.strip_prefix(head).is_some_and(|rest| rest.starts_with("20"));
            let kind = if year("U-Boot SPL ") || year("U-Boot TPL ") {
                Some(BlobKind::Spl)
            } else if year("U-Boot ") {
                Some(BlobKind::UBoot)
            } else {
                None
            };
            // The banner is the longest text with the version in it.
            if let Some(kind) = kind.filter(|_| uboot.as_ref().is_none_or(|known| text.len() > known.text.len())) {
                uboot = Some(Said { kind, version: fwver(text), text: short(text) });
            }
        } else if text.starts_with("DDR ") && (text.contains("fwver:") || text.starts_with("DDR Version ")) {
            let version = fwver(text).or_else(|| text.strip_prefix("DDR Version ").and_then(version_word));
            ddr = ddr.or(Some(Said { kind: BlobKind::Ddr, version, text: short(text) }));
        } else if let Some(version) = tfa_version(text) {
            let version = fwver(text).unwrap_or(version);
            let better = tfa.as_ref().is_none_or(|known| !known.text.contains("fwver:"));
            if better {
                tfa = Some(Said { kind: BlobKind::Bl31, version: Some(version), text: short(text) });
            }
        }
    }
    ddr.or(uboot).or(tfa)
}

fn short(text: &str) -> String {
    text.trim().chars().take(160).map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// `v1.18` behind `fwver: `.
fn fwver(text: &str) -> Option<String> {
    version_word(text.split_once("fwver: ")?.1)
}

fn version_word(text: &str) -> Option<String> {
    let word = text.split(|c: char| c != '.' && !c.is_ascii_alphanumeric()).next()?.to_ascii_lowercase();
    (word.starts_with('v') && word.len() > 1).then_some(word)
}

/// `v2.12.1(debug):` of TF-A, `v2.3():v2.3-868-g040d2de11:derrick.huang, fwver: v1.48` of Rockchip's.
fn tfa_version(text: &str) -> Option<String> {
    let (version, rest) = text.split_once('(')?;
    let (build, rest) = rest.split_once(')')?;
    let digits = version.strip_prefix("lts-").unwrap_or(version).strip_prefix('v')?;
    let is_version = digits.contains('.') && digits.chars().all(|c| c == '.' || c.is_ascii_digit());
    let is_build = matches!(build, "" | "debug" | "release");
    (is_version && is_build && rest.starts_with(':')).then(|| version.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, clippy::unwrap_used)]
    use super::*;

    #[test]
    fn texts_tell_versions() {
        for (text, kind, version) in [
            ("v2.3():v2.3-868-g040d2de11:derrick.huang, fwver: v1.48", BlobKind::Bl31, Some("v1.48")),
            ("v2.12.1(debug):", BlobKind::Bl31, Some("v2.12.1")),
            ("lts-v2.12.8(release):lts-v2.12.8", BlobKind::Bl31, Some("lts-v2.12.8")),
            ("U-Boot SPL 2017.09-ge4e (Sep 25 2023 - 10:58:38), fwver: v1.13", BlobKind::Spl, Some("v1.13")),
            ("U-Boot 2026.01 (Jan 01 2026 - 00:00:00 +0000)", BlobKind::UBoot, None),
            ("DDR Version V1.08 20220617", BlobKind::Ddr, Some("v1.08")),
        ] {
            let bytes = format!("\0\x01{text}\0");
            let found = identify(bytes.as_bytes());
            assert_eq!((found[0].kind, found[0].version.as_deref()), (kind, version), "{text}");
        }
        for text in ["U-Boot SPL board init", "v1.2", "printf(v2)", ""] {
            assert!(identify(text.as_bytes()).is_empty(), "{text}");
        }
    }
}
