//! `image`, `overlay` and `installer`.

use std::fmt::Write as _;

use boardbuild::{Built, ByteSize, Error};
use serde_json::json;

use crate::{
    args::{Global, ImageArgs},
    commands::with_context,
    render::Outcome,
};

/// Builds everything.
pub(crate) fn image(args: &ImageArgs, global: &Global) -> Result<Outcome, Error> {
    let request = args.request()?;
    let built = with_context(global, |context| boardbuild::image(&request, context))?;
    if let Some(why) = built.skipped.as_ref().filter(|_| !global.json) {
        use std::io::Write as _;
        let _ = writeln!(std::io::stderr(), "no installer image: {why}");
    }
    Ok(outcome(&built, args, global))
}

/// Builds the overlay image alone.
pub(crate) fn overlay(args: &ImageArgs, global: &Global) -> Result<Outcome, Error> {
    let request = args.request()?;
    let built = with_context(global, |context| boardbuild::overlay(&request, context))?;
    Ok(outcome(&built, args, global))
}

/// Builds the installer image alone.
pub(crate) fn installer(args: &ImageArgs, global: &Global) -> Result<Outcome, Error> {
    let request = args.request()?;
    let built = with_context(global, |context| boardbuild::installer(&request, context))?;
    Ok(outcome(&built, args, global))
}

fn outcome(built: &Built, args: &ImageArgs, global: &Global) -> Outcome {
    let mut text = String::new();
    if args.explain {
        for line in &built.explain {
            let _ = writeln!(text, "{line}");
        }
    }
    if !built.drawing.is_empty() && (!built.up_to_date || global.verbose || args.dry_run) {
        let _ = writeln!(text, "{}", built.drawing);
    }
    if args.dry_run {
        let _ = writeln!(text, "dry run: nothing was written");
    }
    for output in &built.outputs {
        let path = built.folder.join(&output.name);
        let _ = writeln!(text, "{}  {:>9}  {}", output.sha256.hex(), ByteSize(output.size).to_string(), path.display());
    }
    if !built.up_to_date && !args.dry_run && !built.outputs.is_empty() {
        let _ = writeln!(text, "verified: every file reads back as planned");
    }
    if built.up_to_date {
        let _ = writeln!(text, "nothing to do: {} is up to date", built.folder.display());
    }
    if let Some(notice) = &built.notice {
        let _ = writeln!(text, "{notice}");
    }
    let result = json!({
        "folder": built.folder.to_string_lossy(),
        "upToDate": built.up_to_date,
        "dryRun": args.dry_run,
        "outputs": built.outputs,
        "notice": built.notice,
        "installerSkipped": built.skipped,
        "explain": if args.explain { json!(built.explain) } else { json!(null) },
        "build": built.record,
    });
    Outcome { report: built.report.clone(), result, text, exit: 0 }
}
