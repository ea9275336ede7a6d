//! `rkboot build`.

use std::path::PathBuf;

use clap::Subcommand;
use imgcore::Report;
use rkboot::idblock;
use serde_json::json;

use crate::{
    Failure, Outcome, build_fit,
    files::{parse_soc, read, replace},
};

#[derive(Debug, Subcommand)]
pub(crate) enum Build {
    /// An idblock v2 for SD card and eMMC, byte for byte as `mkimage -T rksd`
    #[command(after_help = "Example:
  rkboot build idbloader --soc rk3588 --ddr rk3588_ddr_v1.18.bin --spl u-boot-spl.bin -o idbloader.img

Write the result at sector 64:
  dd if=idbloader.img of=/dev/sdX seek=64 conv=notrunc")]
    Idbloader {
        /// SoC as mkimage names it; rk3588s is taken as rk3588
        #[arg(long)]
        soc: String,
        /// DDR blob of rkbin, or U-Boot's TPL
        #[arg(long)]
        ddr: PathBuf,
        /// U-Boot's SPL; without it the block holds init code only
        #[arg(long)]
        spl: Option<PathBuf>,
        /// Where the idblock goes
        #[arg(short, long)]
        output: PathBuf,
    },
    /// A FIT (u-boot.itb, the vendor's uboot.img) of U-Boot, device trees, TF-A and OP-TEE
    Fit(build_fit::Fit),
    /// u-boot-rockchip.bin: idblock and FIT in one file for cards
    Combined(build_fit::Combined),
    /// u-boot-rockchip-spi.bin: idblock and FIT in one file for SPI flash
    Spi(build_fit::Spi),
}

pub(crate) fn run(what: &Build) -> Result<Outcome, Failure> {
    match what {
        Build::Fit(arguments) => build_fit::fit(arguments),
        Build::Combined(arguments) => build_fit::card(arguments),
        Build::Spi(arguments) => build_fit::spi(arguments),
        Build::Idbloader { soc, ddr, spl, output } => {
            let soc = parse_soc(soc)?;
            let init = read(ddr)?;
            let boot = spl.as_deref().map(read).transpose()?;
            let parts = idblock::Parts { soc, init: &init, boot: boot.as_deref() };
            let bytes = idblock::build(&parts).map_err(|error| Failure { code: 1, error: error.into() })?;
            replace(output, &bytes).map_err(|error| Failure { code: 4, error })?;
            let digest = imgcore::Digest::of(&bytes);
            let text = format!("{}: idblock v2 for {soc}, {} bytes, {digest}\n", output.display(), bytes.len());
            let result = json!({ "soc": soc.name(), "size": bytes.len(), "digest": digest });
            Ok(Outcome { text, report: Report::new(), result })
        }
    }
}
