//! `rkboot verify`.

use std::{fmt::Write as _, path::PathBuf};

use clap::Args;
use imgcore::Severity;
use rkboot::examine;

use crate::{
    Failure, Outcome, explain,
    files::{parse_soc, read},
    json::result,
};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rkboot verify idbloader.img --soc rk3588s
  rkboot verify u-boot.itb && dd if=u-boot.itb of=/dev/sdX seek=16384 conv=notrunc

One line for a sound file, else the findings at the level of warning or error.

Exit codes: 0 sound or warnings only, 1 an error, 2 usage, 3 file missing, 4 not readable")]
pub(crate) struct Verify {
    /// Any boot file that `inspect` knows
    file: PathBuf,
    /// Also check what the BootROM of this SoC takes
    #[arg(long)]
    soc: Option<String>,
}

pub(crate) fn run(arguments: &Verify) -> Result<Outcome, Failure> {
    let soc = arguments.soc.as_deref().map(parse_soc).transpose()?;
    let bytes = read(&arguments.file)?;
    let name = arguments.file.file_name().map_or_else(String::new, |name| name.display().to_string());
    let (file, report) = examine(&bytes, soc);
    let report = report.owned_by(&name, 0);
    let mut text = String::new();
    for finding in report.iter().filter(|finding| finding.severity >= Severity::Warning) {
        let _ = writeln!(text, "{finding}");
    }
    if text.is_empty() {
        let _ = writeln!(text, "{name}: {}, {}", file.kind.describe(), explain::state(&report));
    }
    Ok(Outcome { text, result: result(&file, &bytes), report })
}
