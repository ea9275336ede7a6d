//! `inspect`.

use std::fmt::Write as _;

use boardbuild::Error;
use serde_json::json;

use crate::{args::InspectArgs, render::Outcome};

/// Recognises and explains a file.
pub(crate) fn run(args: &InspectArgs) -> Result<Outcome, Error> {
    let inspected = boardbuild::inspect(&args.file)?;
    let mut text = String::new();
    if args.tsv {
        for fact in &inspected.facts {
            let _ = writeln!(text, "{fact}");
        }
    } else {
        text.clone_from(&inspected.text);
    }
    let result = json!({ "kind": inspected.kind, "size": inspected.size, "facts": inspected.facts });
    Ok(Outcome { report: inspected.report, result, text, exit: 0 })
}
