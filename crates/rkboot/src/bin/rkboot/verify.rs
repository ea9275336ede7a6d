//! `rkboot verify`.

use std::{fmt::Write as _, path::PathBuf};

use clap::Args;
use imgcore::{Report, Severity};
use rkboot::{BootFile, BootFileKind, examine};

use crate::{
    Failure, Outcome,
    compare::{Compare, compare},
    explain,
    files::{parse_soc, read},
    json::result,
};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rkboot verify idbloader.img --soc rk3588s
  rkboot verify u-boot.itb && dd if=u-boot.itb of=/dev/sdX seek=16384 conv=notrunc

  rkboot verify u-boot.itb --soc rk3588 --compatible friendlyelec,nanopc-t6 --bl31 rk3588_bl31_v1.48.elf

One line for a sound file, else the findings at the level of warning or error. A file that is no boot file is an error here.

Exit codes: 0 sound or warnings only, 1 an error, 2 usage, 3 file missing, 4 not readable")]
pub(crate) struct Verify {
    /// Any boot file that `inspect` knows
    file: PathBuf,
    /// Also check that the file is for this SoC, and what its BootROM takes
    #[arg(long)]
    soc: Option<String>,
    #[command(flatten)]
    asked: Compare,
}

pub(crate) fn run(arguments: &Verify) -> Result<Outcome, Failure> {
    let soc = arguments.soc.as_deref().map(parse_soc).transpose()?;
    let bytes = read(&arguments.file)?;
    let name = arguments.file.file_name().map_or_else(String::new, |name| name.display().to_string());
    let (file, mut report) = examine(&bytes, soc);
    report.extend(compare(&arguments.asked, &file, &bytes)?);
    judge(&file, &mut report);
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

/// Who asks whether a file is sound has a boot file in mind: anything else is an error, and what does not fit a question
/// weighs more than it does unasked.
fn judge(file: &BootFile, report: &mut Report) {
    let is_ours = !matches!(file.kind, BootFileKind::Unknown | BootFileKind::Blob(_));
    explain::settle(file, report);
    for finding in report {
        match finding.code {
            "BOT001" | "BOT002" if !is_ours => finding.severity = Severity::Error,
            "FIT023" => finding.severity = Severity::Warning,
            "FIT024" => finding.severity = Severity::Error,
            _ => {}
        }
    }
}
