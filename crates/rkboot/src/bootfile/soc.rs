//! For which SoC the parts of a boot file were made, and whether that is the wanted one.

use imgcore::{Finding, Report};

use super::{BootFile, BootFileKind};
use crate::{
    Fit, HeaderVersion, Loader, Soc,
    idblock::{self, AnyBlock, DdrInfo},
    identity::{self, Identified},
    rules,
    util::{quote, tail},
};

/// Trees of a FIT that are looked into; real ones have a few.
const MAX_TREES: usize = 16;

/// PX30 and RK3326 are one die, and U-Boot has one tree of drivers and one loader file for both.
const ONE_DIE: [Soc; 2] = [Soc::Px30, Soc::Rk3326];

/// Whether code for one runs on the other.
pub(crate) fn is_family(one: Soc, other: Soc) -> bool {
    one == other || (ONE_DIE.contains(&one) && ONE_DIE.contains(&other))
}

/// The SoCs that the root of a device tree names: `rockchip,rk3588s` is RK3588. Empty for a tree that names none.
pub(crate) fn tree_socs(tree: &[u8]) -> Vec<Soc> {
    let Ok(tree) = dtbtool::Fdt::parse(tree) else { return Vec::new() };
    let names = tree.root().compatible().take(64).filter_map(|text| text.strip_prefix("rockchip,"));
    // `rockchip,px30-evb`: only the part in front of the board's name is the SoC's.
    names.filter_map(|name| Soc::from_name(name.split('-').next().unwrap_or(name))).collect()
}

/// The SoCs that the device trees of a FIT name, with the place of the first such tree. `bytes` begin with the FIT.
pub(crate) fn fit_socs(fit: &Fit, bytes: &[u8]) -> (Vec<Soc>, Option<std::ops::Range<u64>>) {
    let mut socs = Vec::new();
    let mut place = None;
    for image in fit.images.iter().filter(|image| image.is_flat_dt()).take(MAX_TREES) {
        let found = image.uncompressed(bytes).map(|tree| tree_socs(&tree)).unwrap_or_default();
        if !found.is_empty() {
            place = place.or(image.data.as_ref().map(|(_, range)| range.clone()));
        }
        socs.extend(found);
    }
    (socs, place)
}

/// The SoCs whose BootROM may take an idblock: those that its DDR init code was published for, else all with its tag
/// (version 1) or all with its version.
fn block_socs(version: HeaderVersion, tag: &[u8], ddr: Option<&DdrInfo>) -> Vec<Soc> {
    let published: Vec<Soc> = ddr.iter().flat_map(|ddr| ddr.socs()).collect();
    if !published.is_empty() {
        return published;
    }
    let all: Vec<Soc> = Soc::all().filter(|soc| soc.header_version() == version).collect();
    let tagged: Vec<Soc> = all.iter().copied().filter(|soc| soc.tag().as_bytes() == tag).collect();
    if tagged.is_empty() { all } else { tagged }
}

/// [`block_socs`] of an idblock that begins `bytes`.
pub(crate) fn idblock_socs(block: &AnyBlock, bytes: &[u8]) -> Vec<Soc> {
    let ddr = block.ddr(bytes);
    match block {
        AnyBlock::V1(block) => block_socs(HeaderVersion::V1, &block.tag, ddr.as_ref()),
        AnyBlock::V2(_) => block_socs(HeaderVersion::V2, b"", ddr.as_ref()),
    }
}

/// `rk3588`, `rk3368 or rk3399`.
pub(crate) fn list(socs: &[Soc]) -> String {
    let mut names: Vec<_> = socs.iter().map(|soc| soc.name()).collect();
    names.sort_unstable();
    names.dedup();
    names.join(" or ")
}

/// Whether the two stages can be for one board; the message if not. Either side may be unknown (empty).
pub(crate) fn stages_differ(first: &[Soc], second: &[Soc]) -> Option<String> {
    let shared = first.iter().any(|one| second.iter().any(|other| is_family(*one, *other)));
    (!first.is_empty() && !second.is_empty() && !shared)
        .then(|| format!("the idblock is for {}, the device tree in the FIT for {}", list(first), list(second)))
}

/// The FIT of a file against the wanted SoC. Ranges count from the start of `bytes`, which is the FIT's.
pub(super) fn check_fit(fit: &Fit, bytes: &[u8], soc: Soc) -> Report {
    let mut report = Report::new();
    let (found, place) = fit_socs(fit, bytes);
    if !found.is_empty() && !found.iter().any(|found| is_family(*found, soc)) {
        report.push(
            Finding::error(
                rules::FIT_OTHER_SOC,
                format!("the device tree in the FIT is for {}, expected {soc}", list(&found)),
            )
            .at(place.unwrap_or(0..4))
            .help("take the u-boot.itb (or uboot.img) that was made for the board"),
        );
        return report;
    }
    for blob in identity::identify(bytes).iter().filter(|blob| foreign(blob, soc)) {
        report.push(
            Finding::error(rules::FIT_OTHER_SOC, format!("the FIT holds {blob}, expected one for {soc}"))
                .at(blob.range.clone())
                .help("take the u-boot.itb (or uboot.img) that was made for the board"),
        );
    }
    report
}

/// A blob that was published, and only for others.
fn foreign(blob: &Identified, soc: Soc) -> bool {
    blob.socs().next().is_some() && !blob.socs().any(|found| is_family(found, soc))
}

/// A loader file against the wanted SoC, with the idblock that it writes to flash.
pub(super) fn check_loader(loader: &Loader, bytes: &[u8], soc: Soc) -> Report {
    let mut report = Report::new();
    let error = |message: String| {
        Finding::error(rules::LDR_OTHER_SOC, message).help("take the loader file that was made for the board's SoC")
    };
    if let Some(chip) = loader.soc().filter(|chip| !is_family(*chip, soc)) {
        let message = format!("the loader file is for chip {} ({chip}), expected {soc}", quote(&loader.chip));
        report.push(error(message).at(21..25));
        return report;
    }
    for blob in identity::identify(bytes).iter().filter(|blob| foreign(blob, soc)) {
        report.push(error(format!("the loader file holds {blob}, expected one for {soc}")).at(blob.range.clone()));
    }
    // Places inside the idblock are none of the file: its parts are scrambled and lie apart.
    if let Some(block) = loader.idblock(bytes) {
        let known = idblock::parse_block(&block, None).1;
        let all = idblock::parse_block(&block, Some(soc)).1;
        let further = all.iter().filter(|finding| !known.iter().any(|known| known.code == finding.code));
        for finding in further {
            let mut finding = finding.clone();
            finding.message = format!("the idblock for flash: {}", finding.message);
            finding.range = None;
            report.push(finding);
        }
    }
    report
}

/// The finding about an idblock and a FIT for different SoCs. `at` is where the FIT starts.
pub(super) fn check_stages(
    block: &AnyBlock,
    block_bytes: &[u8],
    fit: &Fit,
    fit_bytes: &[u8],
    at: u64,
) -> Option<Finding> {
    let message = stages_differ(&idblock_socs(block, block_bytes), &fit_socs(fit, fit_bytes).0)?;
    Some(
        Finding::error(rules::BOT_TWO_SOCS, message)
            .at(at..at.saturating_add(4))
            .help("take idblock and FIT of one board: build the file again from its own parts"),
    )
}

impl BootFile {
    /// The SoCs that the file was made for, as far as its bytes tell: the chip of a loader file, published DDR init code
    /// or the tag of an idblock, the device trees of a FIT. Empty when nothing tells. `bytes` is the file.
    ///
    /// ```
    /// use rkboot::{Soc, examine, idblock};
    ///
    /// let block = idblock::build(&idblock::Parts { soc: Soc::Rk3328, init: b"tpl", boot: Some(b"spl") })?;
    /// let (file, _) = examine(&block, None);
    /// assert!(file.socs(&block).contains(&Soc::Rk3328)); // the tag RK32, which RK322x and RK3288 have too
    /// # Ok::<(), rkboot::Error>(())
    /// ```
    pub fn socs(&self, bytes: &[u8]) -> Vec<Soc> {
        let start = self.copies.first().map_or(0, |copy| copy.start);
        let rest = tail(bytes, start);
        match &self.kind {
            BootFileKind::IdBlock(block) => block_socs(HeaderVersion::V2, b"", block.ddr(rest).as_ref()),
            BootFileKind::IdBlockV1(block) => block_socs(HeaderVersion::V1, &block.tag, block.ddr(rest).as_ref()),
            BootFileKind::Fit(fit) => fit_socs(fit, bytes).0,
            BootFileKind::Combined { idblock, idblock_range, .. } => {
                idblock_socs(idblock, tail(bytes, idblock_range.start))
            }
            BootFileKind::Loader(loader) => loader.soc().into_iter().collect(),
            BootFileKind::Blob(blob) => blob.socs().collect(),
            _ => Vec::new(),
        }
    }

    /// The FIT in the file, with its bytes: the file itself, or the second part of a file of both stages.
    pub fn fit<'a>(&self, bytes: &'a [u8]) -> Option<(&Fit, &'a [u8])> {
        match &self.kind {
            BootFileKind::Fit(fit) => Some((fit, bytes)),
            BootFileKind::Combined { fit, fit_range, .. } => Some((fit, tail(bytes, fit_range.start))),
            _ => None,
        }
    }
}
