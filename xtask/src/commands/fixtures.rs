//! `fixtures`: the files of `fixtures/` and the seeds of the fuzz targets, each made by code.

use boardbuild::Error;

use crate::{
    args::CheckArgs,
    commands::{docs::write_or_check, home},
    corpus, demo,
    render::Outcome,
};

/// Writes or checks the fixtures.
pub(crate) fn run(args: &CheckArgs) -> Result<Outcome, Error> {
    let root = home()?.root;
    let (fixtures, seeds) = (root.join("fixtures/demo"), root.join("fuzz/corpus"));
    let mut files: Vec<_> = demo::files()?.into_iter().map(|(path, bytes)| (fixtures.join(path), bytes)).collect();
    files.extend(corpus::files()?.into_iter().map(|(path, bytes)| (seeds.join(path), bytes)));
    write_or_check(&files, args.check, "cargo xtask fixtures")
}
