//! `--compatible` and `--bl31`: what a FIT should hold.

use std::path::PathBuf;

use clap::Args;
use imgcore::Report;
use rkboot::{BootFile, fit};

use crate::{Failure, files::read};

#[derive(Debug, Args)]
pub(crate) struct Compare {
    /// Check that a device tree in the FIT is compatible with this board, such as radxa,rock-5b (repeatable; any will do)
    #[arg(long, value_name = "STRING")]
    compatible: Vec<String>,
    /// Check that the TF-A in the FIT is this ELF file
    #[arg(long, value_name = "FILE")]
    bl31: Option<PathBuf>,
}

/// What was asked for and is not so. Ranges are bytes of the file.
pub(crate) fn compare(asked: &Compare, file: &BootFile, bytes: &[u8]) -> Result<Report, Failure> {
    let mut report = Report::new();
    if asked.compatible.is_empty() && asked.bl31.is_none() {
        return Ok(report);
    }
    let Some((fit, data)) = file.fit(bytes) else {
        let error = anyhow::anyhow!(
            "--compatible and --bl31 look into a FIT, and this is none: {}; give a u-boot.itb or u-boot-rockchip.bin",
            file.kind.describe()
        );
        return Err(Failure { code: 1, error });
    };
    if !asked.compatible.is_empty() {
        let expected: Vec<_> = asked.compatible.iter().map(String::as_str).collect();
        report.extend(fit::check_compatible(fit, data, &expected));
    }
    if let Some(path) = &asked.bl31 {
        report.extend(fit::check_firmware(fit, data, &read(path)?));
    }
    let offset = (bytes.len() - data.len()) as u64;
    for finding in &mut report {
        if let Some(range) = &mut finding.range {
            *range = range.start + offset..range.end + offset;
        }
    }
    Ok(report)
}
