//! `lock`.

use std::fmt::Write as _;

use boardbuild::{Error, LockRequest, LockWrite};
use serde_json::json;

use crate::{
    args::{Global, LockArgs, epoch},
    commands::with_context,
    render::Outcome,
};

/// Asks the origins what their bytes are and brings `boards/sources.lock` up to date.
pub(crate) fn run(args: &LockArgs, global: &Global) -> Result<Outcome, Error> {
    let request = LockRequest {
        boards: args.boards.clone(),
        update: args.update.clone(),
        write: match (args.locked, args.dry_run) {
            (true, _) => LockWrite::Refuse,
            (false, true) => LockWrite::Show,
            (false, false) => LockWrite::Yes,
        },
        epoch: epoch()?,
    };
    let done = with_context(global, |context| boardbuild::lock(&request, context))?;
    let mut text = done.text;
    let written: Vec<_> = done.written.iter().map(|path| path.display().to_string()).collect();
    for path in &written {
        let _ = writeln!(text, "wrote {path}");
    }
    let result = json!({ "changes": done.changes, "written": written, "dryRun": args.dry_run });
    Ok(Outcome { report: done.report, result, text, exit: done.exit.map_or(0, |exit| exit as u8) })
}
