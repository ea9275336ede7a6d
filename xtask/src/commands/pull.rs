//! `pull`.

use boardbuild::{Error, PullRequest};

use crate::{
    args::{Global, PullArgs},
    commands::{push::outcome, with_context},
    render::Outcome,
};

/// Fetches an image.
pub(crate) fn run(args: &PullArgs, global: &Global) -> Result<Outcome, Error> {
    let request = PullRequest {
        reference: args.reference.clone(),
        platforms: args.platforms.clone(),
        out: args.out.clone(),
        store_only: args.store_only,
        ci: std::env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false"),
    };
    with_context(global, |context| boardbuild::pull(&request, context)).map(|done| outcome(done, global))
}
