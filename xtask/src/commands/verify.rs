//! `verify`.

use boardbuild::Error;

use crate::{
    args::{Global, VerifyArgs},
    commands::with_context,
    render::Outcome,
};

/// Re-reads a finished image.
pub(crate) fn run(args: &VerifyArgs, global: &Global) -> Result<Outcome, Error> {
    let question = boardbuild::VerifyRequest {
        file: args.file.clone(),
        board: args.board.clone(),
        boot: args.boot.clone(),
        build: args.build.clone(),
        allow: args.allow.clone(),
    };
    let verified = with_context(global, |context| boardbuild::verify(&question, context))?;
    Ok(Outcome { report: verified.report, result: verified.result, text: verified.text, exit: 0 })
}
