//! `dts`: a tree as source text.

use std::path::PathBuf;

use clap::Args;
use dtbtool::to_dts;
use imgcore::Report;
use serde_json::Value;

use crate::{Outcome, files};

#[derive(Args)]
pub(crate) struct Dts {
    /// The tree
    file: PathBuf,
}

pub(crate) fn run(arguments: &Dts) -> anyhow::Result<Outcome> {
    let bytes = files::read(&arguments.file)?;
    let fdt = files::parse(&arguments.file, &bytes)?;
    Ok(Outcome { ok: true, text: to_dts(&fdt).into_bytes(), report: Report::new(), result: Value::Null })
}
