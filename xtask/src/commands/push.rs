//! `push`.

use std::io::Write as _;

use boardbuild::{Error, PushRequest, Transferred};

use crate::{
    args::{Global, PushArgs},
    commands::with_context,
    render::Outcome,
};

/// Publishes an image.
pub(crate) fn run(args: &PushArgs, global: &Global) -> Result<Outcome, Error> {
    let request = PushRequest {
        what: args.image.clone(),
        target: args.reference.clone(),
        force: args.force,
        allow: args.allow.clone(),
    };
    with_context(global, |context| boardbuild::push(&request, context)).map(|done| outcome(done, global))
}

/// The end of a push or a pull.
pub(crate) fn outcome(done: Transferred, global: &Global) -> Outcome {
    if !global.json {
        for note in &done.notes {
            let _ = writeln!(std::io::stderr(), "{note}");
        }
    }
    Outcome { report: done.report, result: done.result, text: done.text, exit: 0 }
}
