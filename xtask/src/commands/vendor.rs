//! `vendor`.

use std::{collections::BTreeMap, fmt::Write as _};

use boardbuild::{ByteSize, Error};
use serde_json::json;

use crate::{
    args::{Global, VendorArgs},
    commands::with_context,
    render::Outcome,
};

/// Puts what boards need into one folder.
pub(crate) fn run(args: &VendorArgs, global: &Global) -> Result<Outcome, Error> {
    let request = args.supply.request(&args.boards)?;
    let vendored = with_context(global, |context| boardbuild::vendor(&request, &args.folder, context))?;
    let mut text = String::new();
    for input in &vendored.inputs {
        let (size, file) = (ByteSize(input.size).to_string(), input.file.as_deref().unwrap_or_default());
        let _ = writeln!(text, "{}  {size:>9}  {file}", input.sha256.hex());
    }
    if vendored.written.is_empty() {
        let _ = writeln!(text, "nothing to do: {} holds all of it", args.folder.display());
    }
    for (board, options) in &vendored.options {
        let _ = writeln!(text, "\ncargo xtask image {board} {}", options.join(" "));
    }
    let options: BTreeMap<_, _> = vendored.options.iter().cloned().collect();
    let result = json!({
        "folder": args.folder.to_string_lossy(),
        "inputs": vendored.inputs,
        "written": vendored.written,
        "options": options,
    });
    Ok(Outcome { result, text, ..Outcome::default() })
}
