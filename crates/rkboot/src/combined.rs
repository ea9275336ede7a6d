//! Files that hold both stages: `u-boot-rockchip.bin` for cards, `u-boot-rockchip-spi.bin` for SPI flash, and the
//! vendor's `uboot.img` with its copies.
//!
//! ```
//! use rkboot::{Soc, combined, idblock};
//!
//! let idblock = idblock::build(&idblock::Parts { soc: Soc::Rk3588, init: b"ddr", boot: Some(b"spl") })?;
//! # let fit = rkboot_example_fit();
//! let card = combined::plan(&idblock, &fit, &combined::CardOptions::default())?;
//! assert_eq!(card.size(), 0x7f_8000 + fit.len() as u64);
//! let flash = combined::plan_spi(Soc::Rk3588, &idblock, &fit, &combined::SpiOptions::default())?;
//! let places: Vec<_> = flash.parts().map(|(name, range)| (name, range.start)).collect();
//! assert_eq!(places, [("idblock", 0x8000), ("FIT", 0x6_0000)]);
//! # fn rkboot_example_fit() -> Vec<u8> {
//! #     use dtbtool::model::{DeviceTree, Node, Property};
//! #     let image = Node::new("u-boot").with(Property::new("data", *b"code"));
//! #     let config = Node::new("c").with(Property::string("loadables", "u-boot"));
//! #     let mut tree = DeviceTree::new();
//! #     *tree.root_mut() = Node::new("").with_child(Node::new("images").with_child(image)).with_child(
//! #         Node::new("configurations").with(Property::string("default", "c")).with_child(config));
//! #     tree.to_bytes(&dtbtool::WriteOptions::default()).unwrap()
//! # }
//! # Ok::<(), rkboot::Error>(())
//! ```

use imgcore::{Report, Severity};

use crate::{
    Assembly, BootFileKind, Error, ErrorKind, FIT_OFFSET, IDBLOCK_OFFSET, Soc,
    bootfile::soc::{fit_socs, list, stages_differ},
    examine,
    fit::Fit,
    idblock,
    util::SECTOR,
};

/// `CONFIG_SPL_PAD_TO` of Rockchip boards: the FIT's sector on the card, counted from that of the idblock.
pub const PAD_TO: u64 = FIT_OFFSET - IDBLOCK_OFFSET;

/// No card or flash has its FIT as far behind the idblock as this.
const PLACE_MAX: u64 = 256 * 1024 * 1024;

/// `CONFIG_SPL_FIT_IMAGE_KB` and `CONFIG_SPL_FIT_IMAGE_MULTIPLE` of the vendor's U-Boot: size and count of its slots.
pub const SLOT: u64 = 2 * 1024 * 1024;
/// See [`SLOT`].
pub const COPIES: u32 = 2;

/// How a file for cards is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CardOptions {
    /// Where the FIT is in the file: [`PAD_TO`], puma-rk3399 has 0x38000.
    pub pad_to: u64,
    /// The most bytes that the file may have, such as the way from sector 64 to the first partition.
    pub limit: Option<u64>,
}

impl Default for CardOptions {
    fn default() -> Self {
        Self { pad_to: PAD_TO, limit: None }
    }
}

/// How a file for SPI flash is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SpiOptions {
    /// Where the SPL looks for the FIT (`CONFIG_SYS_SPI_U_BOOT_OFFS`, `u-boot,spl-payload-offset`); without it where
    /// the boards of the SoC have it. odroid-m1 has 0x100000, puma-rk3399 0x80000.
    pub fit_offset: Option<u64>,
    /// Bytes of the flash.
    pub flash_size: Option<u64>,
}

/// Plans `u-boot-rockchip.bin`: the idblock, ones, the FIT. It belongs at sector 64.
///
/// # Errors
/// A part that is not what it should be or is damaged, an idblock that reaches the FIT's place, a file longer than
/// the limit, parts for different SoCs.
pub fn plan<'a>(idblock: &'a [u8], fit: &'a [u8], options: &CardOptions) -> Result<Assembly<'a>, Error> {
    if check_idblock(idblock, None)? {
        return Err(bad("the idblock", "it is spread for SPI flash (rkspi); make it for cards (rksd)"));
    }
    check_pair(idblock, fit)?;
    let mut file = Assembly::new();
    file.push("idblock", idblock);
    finish(file, fit, options.pad_to, options.limit, None)
}

/// Plans `u-boot-rockchip-spi.bin`: the idblock as the BootROM of the SoC reads it from flash, ones, the FIT. It
/// belongs at the start of the flash.
///
/// RK3288, RK3368 and RK3399 read the first half of every 4 KiB from the start (`rkspi`); RK3328 and RK35xx read a
/// plain block at 0x8000, PX30 and RK3326 at 0x10000. An idblock that is spread already is taken as it is where that
/// is right.
///
/// # Errors
/// Those of [`plan`]; a SoC whose place in flash is not known.
pub fn plan_spi<'a>(soc: Soc, idblock: &'a [u8], fit: &'a [u8], options: &SpiOptions) -> Result<Assembly<'a>, Error> {
    let (place, payload) = spi_layout(soc).ok_or(ErrorKind::NoSpiLayout {
        soc,
        what: "the idblock",
        known: "it is for RK3288, RK3328, RK3368, RK3399, RK3506, RK3528, RK356x, RK3576, RK3588, PX30, RK3326",
    })?;
    let fit_offset = options.fit_offset.or(payload).ok_or(ErrorKind::NoSpiLayout {
        soc,
        what: "the FIT",
        known: "give its offset (--fit-offset), CONFIG_SYS_SPI_U_BOOT_OFFS of the board's U-Boot",
    })?;
    let spread = check_idblock(idblock, Some(soc))?;
    check_pair(idblock, fit)?;
    let (socs, _) = fit_socs(&check_fit(fit)?, fit);
    if stages_differ(&[soc], &socs).is_some() {
        let message = format!("the device tree in the FIT is for {}, expected {soc}", list(&socs));
        return Err(ErrorKind::OtherSoc { message }.into());
    }
    let mut file = Assembly::new();
    match (place, spread) {
        (Place::Spread, false) => file.push("idblock", idblock::spread(idblock)),
        (Place::Spread, true) => file.push("idblock", idblock),
        (Place::Plain(offset), false) => {
            file.fill_to(offset, 0xff);
            file.push("idblock", idblock);
        }
        (Place::Plain(_), true) => {
            let problem =
                format!("it is spread (rkspi), but the BootROM of {soc} reads a plain block; give the rksd form");
            return Err(bad("the idblock", problem));
        }
    }
    finish(file, fit, fit_offset, options.flash_size, Some(soc))
}

/// Plans the vendor's `uboot.img`: `copies` slots of `slot` bytes, the FIT with zeros behind it in each.
///
/// # Errors
/// No sound FIT, one that is larger than a slot, no copy at all.
pub fn plan_slots(fit: &[u8], slot: u64, copies: u32) -> Result<Assembly<'_>, Error> {
    check_fit(fit)?;
    if copies == 0 || copies > 16 {
        return Err(bad("the count of copies", format!("{copies}, expected 1 to 16")));
    }
    if fit.len() as u64 > slot {
        return Err(too_large("the FIT", fit.len() as u64, slot));
    }
    let mut file = Assembly::new();
    for copy in 1..=u64::from(copies) {
        file.push(format!("FIT copy {copy}"), fit);
        file.fill_to(slot.saturating_mul(copy), 0);
    }
    Ok(file)
}

fn finish<'a>(
    mut file: Assembly<'a>,
    fit: &'a [u8],
    at: u64,
    limit: Option<u64>,
    soc: Option<Soc>,
) -> Result<Assembly<'a>, Error> {
    check_fit(fit)?;
    if file.size() > at {
        return Err(ErrorKind::NoRoom { what: "the idblock", end: file.size(), next: "the FIT", start: at }.into());
    }
    if !at.is_multiple_of(SECTOR) {
        return Err(bad(
            "the place of the FIT",
            format!("{at:#x} is no multiple of {SECTOR}: SPLs read whole sectors"),
        ));
    }
    let size = at.saturating_add(fit.len() as u64);
    if let Some(limit) = limit.filter(|limit| size > *limit) {
        return Err(too_large("the file", size, limit));
    }
    if at > PLACE_MAX {
        return Err(too_large("what lies in front of the FIT", at, PLACE_MAX));
    }
    file.fill_to(at, 0xff);
    file.push("FIT", fit);
    self_check(&file, at, soc)?;
    Ok(file)
}

/// What was put together is found again where it was put.
fn self_check(file: &Assembly<'_>, at: u64, soc: Option<Soc>) -> Result<(), Error> {
    let (found, report) = examine(&file.to_bytes(), soc);
    let finding = match found.kind {
        BootFileKind::Combined { fit_range, .. } if fit_range.start == at => {
            report.iter().find(|finding| finding.severity == Severity::Error).map(ToString::to_string)
        }
        other => Some(format!("the FIT is not found again at {at:#x}: {}", other.describe())),
    };
    finding.map_or(Ok(()), |finding| Err(ErrorKind::SelfCheck { finding }.into()))
}

fn bad(what: &str, problem: impl Into<String>) -> Error {
    ErrorKind::BadPart { what: what.to_owned(), problem: problem.into() }.into()
}

fn too_large(what: &str, size: u64, limit: u64) -> Error {
    ErrorKind::TooLarge { what: what.to_owned(), size, limit }.into()
}

fn refuse_errors(what: &str, report: &Report) -> Result<(), Error> {
    match report.iter().find(|finding| finding.severity == Severity::Error) {
        Some(finding) => Err(bad(what, finding.message.clone())),
        None => Ok(()),
    }
}

/// Whether it is spread.
fn check_idblock(bytes: &[u8], soc: Option<Soc>) -> Result<bool, Error> {
    let (file, report) = examine(bytes, soc);
    let spread = match &file.kind {
        BootFileKind::IdBlock(block) => block.spread,
        BootFileKind::IdBlockV1(block) => block.spread,
        other => return Err(bad("the idblock", format!("it is no idblock: {}", other.describe()))),
    };
    refuse_errors("the idblock", &report)?;
    Ok(spread)
}

/// An idblock and a FIT for different SoCs never start a board, whatever else is right about them.
fn check_pair(idblock: &[u8], fit: &[u8]) -> Result<(), Error> {
    let (file, _) = examine(idblock, None);
    let (socs, _) = fit_socs(&check_fit(fit)?, fit);
    stages_differ(&file.socs(idblock), &socs).map_or(Ok(()), |message| Err(ErrorKind::OtherSoc { message }.into()))
}

fn check_fit(bytes: &[u8]) -> Result<Fit, Error> {
    let (fit, report) = crate::fit::parse(bytes);
    refuse_errors("the FIT", &report)?;
    fit.ok_or_else(|| bad("the FIT", "it is no FIT"))
}

enum Place {
    /// From the start, the first half of every 4 KiB.
    Spread,
    /// As on a card, at this offset.
    Plain(u64),
}

/// Where the BootROM of a SoC looks for the idblock in SPI flash, in bytes; `None` where that is not known.
///
/// ```
/// use rkboot::{Soc, combined::spi_idblock_offset};
///
/// assert_eq!((spi_idblock_offset(Soc::Rk3399), spi_idblock_offset(Soc::Rk3588)), (Some(0), Some(0x8000)));
/// ```
pub fn spi_idblock_offset(soc: Soc) -> Option<u64> {
    match spi_layout(soc)?.0 {
        Place::Spread => Some(0),
        Place::Plain(offset) => Some(offset),
    }
}

/// Where the BootROM reads the idblock, and where the boards of the SoC have the FIT.
///
/// `simple-bin-spi` in U-Boot's `*-u-boot.dtsi`, `CONFIG_SYS_SPI_U_BOOT_OFFS` of the defconfigs (v2026.01).
fn spi_layout(soc: Soc) -> Option<(Place, Option<u64>)> {
    Some(match soc {
        Soc::Rk3399 => (Place::Spread, Some(0xe_0000)),
        Soc::Rk3288 | Soc::Rk3368 => (Place::Spread, None),
        Soc::Rk3328 | Soc::Rk3528 | Soc::Rk3562 | Soc::Rk3568 | Soc::Rk3576 | Soc::Rk3588 | Soc::Rk3506 => {
            (Place::Plain(0x8000), Some(0x6_0000))
        }
        Soc::Px30 | Soc::Rk3326 => (Place::Plain(0x1_0000), None),
        _ => return None,
    })
}
