//! `rkboot inspect`.

use std::path::PathBuf;

use clap::Args;
use rkboot::{examine, facts};

use crate::{
    Failure, Outcome,
    compare::{Compare, compare},
    explain,
    files::{parse_soc, read},
    json::result,
    text::render,
};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rkboot inspect idbloader.img
  rkboot inspect uboot.img --tsv
  rkboot inspect u-boot.itb --compatible radxa,rock-5b --bl31 rk3588_bl31_v1.48.elf

Exit code 1 says that there is a finding at error level: a board would not start from the file.")]
pub(crate) struct Inspect {
    /// idbloader.img, u-boot.itb, uboot.img, u-boot-rockchip.bin, MiniLoaderAll.bin, trust.img, dtbo.img, parameter.txt
    file: PathBuf,
    /// Also check that the file is for this SoC, and what its BootROM takes
    #[arg(long)]
    soc: Option<String>,
    #[command(flatten)]
    asked: Compare,
    /// One measured fact a line: kind, offset, field, value
    #[arg(long, conflicts_with = "json")]
    tsv: bool,
}

pub(crate) fn run(arguments: &Inspect) -> Result<Outcome, Failure> {
    let soc = arguments.soc.as_deref().map(parse_soc).transpose()?;
    let bytes = read(&arguments.file)?;
    let name = arguments.file.file_name().map_or_else(String::new, |name| name.display().to_string());
    let (file, mut report) = examine(&bytes, soc);
    report.extend(compare(&arguments.asked, &file, &bytes)?);
    explain::settle(&file, &mut report);
    let report = report.owned_by(&name, 0);
    let text = if arguments.tsv {
        facts(&bytes).iter().fold(String::new(), |text, fact| text + &format!("{fact}\n"))
    } else {
        render(&name, &file, &bytes, &report)
    };
    Ok(Outcome { text, result: result(&file, &bytes), report })
}
