//! `fetch`.

use std::fmt::Write as _;

use boardbuild::{ByteSize, Error};
use serde_json::json;

use crate::{
    args::{FetchArgs, Global},
    commands::with_context,
    render::Outcome,
};

/// Brings what boards need into the store.
pub(crate) fn run(args: &FetchArgs, global: &Global) -> Result<Outcome, Error> {
    let request = args.supply.request(&args.boards)?;
    let boardbuild::Fetched { inputs, skipped } = with_context(global, |context| boardbuild::fetch(&request, context))?;
    let mut text = String::new();
    for input in &inputs {
        let size = ByteSize(input.size).to_string();
        let _ = writeln!(text, "{}  {size:>9}  {} {}", input.sha256.hex(), input.board, input.name);
    }
    let _ = writeln!(text, "{} inputs are here; builds of them work with --offline", inputs.len());
    for why in &skipped {
        let _ = writeln!(text, "no base for an installer image: {why}");
    }
    Ok(Outcome { result: json!({ "inputs": inputs, "skipped": skipped }), text, ..Outcome::default() })
}
