//! `fixtures`: the files of `fixtures/`, each made by code.

use boardbuild::Error;

use crate::{
    args::CheckArgs,
    commands::{docs::write_or_check, home},
    demo,
    render::Outcome,
};

/// Writes or checks the fixtures.
pub(crate) fn run(args: &CheckArgs) -> Result<Outcome, Error> {
    let folder = home()?.root.join("fixtures/demo");
    let files: Vec<_> = demo::files()?.into_iter().map(|(path, bytes)| (folder.join(path), bytes)).collect();
    write_or_check(&files, args.check, "cargo xtask fixtures")
}
