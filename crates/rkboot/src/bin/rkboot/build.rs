//! `rkboot build`.

use std::{fmt::Write as _, path::PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use imgcore::{Report, Severity};
use rkboot::{Soc, check_idblock_parts, combined, examine, idblock};
use serde_json::json;

use crate::{
    Failure, Outcome, build_fit, build_other,
    files::{parse_soc, read, replace},
};

#[derive(Debug, Subcommand)]
pub(crate) enum Build {
    /// An idblock, byte for byte as `mkimage -T rksd` or `-T rkspi`
    Idbloader(Idbloader),
    /// A FIT (u-boot.itb, the vendor's uboot.img) of U-Boot, device trees, TF-A and OP-TEE
    Fit(build_fit::Fit),
    /// u-boot-rockchip.bin: idblock and FIT in one file for cards
    Combined(build_fit::Combined),
    /// u-boot-rockchip-spi.bin: idblock and FIT in one file for SPI flash
    Spi(build_fit::Spi),
    /// uboot.img or OP-TEE image for the vendor's miniloader (LOADER, TOS), as `loaderimage --pack`
    LoaderImage(build_other::LoaderImage),
    /// dtbo.img: Android's table of device-tree overlays, as `mkdtboimg create`
    Dtbo(build_other::Dtbo),
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rkboot build idbloader --soc rk3588 --ddr rk3588_ddr_v1.18.bin --spl u-boot-spl.bin -o idbloader.img
  rkboot build idbloader --soc rk3399 --media spi --ddr u-boot-tpl.bin --spl u-boot-spl.bin -o idbloader-spi.img
  rkboot build idbloader --soc rk3576 --boost rk3576_boost_v1.03.bin --ddr rk3576_ddr_v1.09.bin \\
    --spl rk3576_spl_v1.07.bin --copies 5 -o idblock.img

Write the result for a card or eMMC at sector 64:
  dd if=idbloader.img of=/dev/sdX seek=64 conv=notrunc

--media spi gives mkimage's rkspi form, which uses 2048 of each 4096 bytes: RK3288, RK3368 and
RK3399 read it at the start of SPI flash. Others read the form of --media sd from SPI flash: RK3328
and RK35xx at 0x8000, PX30 and RK3326 at 0x10000.

Exit codes: 0 done, 1 refused (an image is empty or too large for the SoC), 2 usage, 3 input missing,
4 input or output failed")]
pub(crate) struct Idbloader {
    /// SoC as mkimage names it; rk3588s is taken as rk3588
    #[arg(long)]
    soc: String,
    /// What the idblock is written to
    #[arg(long, value_enum, default_value_t = Media::Sd)]
    media: Media,
    /// DDR blob of rkbin, or U-Boot's TPL
    #[arg(long, value_name = "FILE")]
    ddr: PathBuf,
    /// U-Boot's SPL; without it the block holds init code only
    #[arg(long, value_name = "FILE")]
    spl: Option<PathBuf>,
    /// RK3576: the boost image of rkbin, for the vendor's form with three images
    #[arg(long, value_name = "FILE", requires = "spl")]
    boost: Option<PathBuf>,
    /// Copies at 512 KiB distance; Rockchip packs 5 for eMMC
    #[arg(long, value_name = "N", default_value_t = 1)]
    copies: u32,
    /// Where the idblock goes
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Media {
    /// SD card and eMMC
    Sd,
    /// SPI flash of RK3288, RK3368 and RK3399
    Spi,
}

pub(crate) fn run(what: &Build) -> Result<Outcome, Failure> {
    match what {
        Build::Idbloader(arguments) => idbloader(arguments),
        Build::Fit(arguments) => build_fit::fit(arguments),
        Build::Combined(arguments) => build_fit::card(arguments),
        Build::Spi(arguments) => build_fit::spi(arguments),
        Build::LoaderImage(arguments) => build_other::loader_image(arguments),
        Build::Dtbo(arguments) => build_other::dtbo(arguments),
    }
}

/// What is odd about a block that was made as asked: warnings, because its parts are the user's to choose.
fn odd(bytes: &[u8], parts: &idblock::Parts<'_>) -> Report {
    let given = check_idblock_parts(parts);
    let (_, found) = examine(bytes, Some(parts.soc));
    let mut report = given.clone();
    for mut finding in found {
        // What the parts themselves told already needs no second line.
        let is_told = given.iter().any(|told| told.code == finding.code);
        if finding.severity >= Severity::Warning && !is_told {
            finding.severity = Severity::Warning;
            report.push(finding);
        }
    }
    report
}

fn idbloader(arguments: &Idbloader) -> Result<Outcome, Failure> {
    let Idbloader { soc, media, ddr, spl, boost, copies, output } = arguments;
    let soc = parse_soc(soc)?;
    let is_spi = *media == Media::Spi;
    let usage = |message: &str| Err(Failure { code: 2, error: anyhow::anyhow!("{message}") });
    if boost.is_some() && soc != Soc::Rk3576 {
        return usage(&format!("--boost: {soc} has no boost image, only rk3576 does; leave it out"));
    }
    if boost.is_some() && is_spi {
        return usage(
            "--boost: the vendor's form is not spread; take --media sd, which RK3576 reads from SPI flash at 0x8000",
        );
    }
    if *copies != 1 && is_spi {
        return usage("--copies: copies are for SD card and eMMC; leave it out or take --media sd");
    }
    let refused = |error: rkboot::Error| Failure { code: 1, error: error.into() };
    let init = read(ddr)?;
    let boot = spl.as_deref().map(read).transpose()?;
    let boost = boost.as_deref().map(read).transpose()?;
    let parts = idblock::Parts { soc, init: &init, boot: boot.as_deref() };
    let block = match (&boost, &boot) {
        (Some(boost), Some(spl)) => idblock::build_rk3576(&idblock::Rk3576Parts { boost, ddr: &init, spl }),
        _ => idblock::build(&parts),
    };
    let block = block.map_err(refused)?;
    let bytes = if is_spi { idblock::spread(&block) } else { idblock::copies(&block, *copies).map_err(refused)? };
    replace(output, &bytes).map_err(|error| Failure { code: 4, error })?;

    let digest = imgcore::Digest::of(&bytes);
    let version = soc.header_version();
    let form = match (is_spi, *copies) {
        (true, _) => ", spread for SPI flash".to_owned(),
        (false, 1) => String::new(),
        (false, copies) => format!(", {copies} copies"),
    };
    let mut text =
        format!("{}: idblock {version} for {soc}{form}, {} bytes, {digest}\n", output.display(), bytes.len());
    if let Some(place) = combined::spi_idblock_offset(soc).filter(|place| is_spi && *place > 0) {
        let _ = writeln!(text, "note: {soc} reads the form of --media sd from SPI flash, at {place:#x}");
    }
    let result = json!({
        "soc": soc.name(),
        "version": version.to_string(),
        "media": if is_spi { "spi" } else { "sd" },
        "images": if boost.is_some() { 3 } else { 1 + u32::from(boot.is_some()) },
        "block_size": block.len(),
        "copies": copies,
        "size": bytes.len(),
        "digest": digest,
    });
    Ok(Outcome { text, report: odd(&bytes, &parts), result })
}
