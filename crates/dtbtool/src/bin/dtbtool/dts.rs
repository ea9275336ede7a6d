//! `dts`: a tree as source text.

use std::{io, path::PathBuf};

use clap::Args;
use dtbtool::{scan, to_dts};
use imgcore::Report;
use serde_json::Value;

use crate::{Outcome, files, output};

/// Findings about names with characters that the grammar of source text lacks.
const UNSAYABLE: [&str; 2] = ["DTB051", "DTB053"];

#[derive(Args)]
pub(crate) struct Dts {
    /// The tree
    file: PathBuf,
}

pub(crate) fn run(arguments: &Dts) -> anyhow::Result<Outcome> {
    let bytes = files::read(&arguments.file)?;
    let fdt = files::parse(&arguments.file, &bytes)?;
    // What source text cannot say: dtc would refuse it, or read another tree.
    let found = scan(&bytes).1;
    let report: Report = found.iter().filter(|finding| UNSAYABLE.contains(&finding.code)).cloned().collect();
    let report = report.owned_by(&arguments.file.display().to_string(), 0);
    output::findings(&report, &mut io::stderr().lock())?;
    Ok(Outcome { ok: report.is_empty(), text: to_dts(&fdt).into_bytes(), report, result: Value::Null })
}
