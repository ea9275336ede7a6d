//! `docs`: pages that are generated from the code.

use std::{fmt::Write as _, path::PathBuf};

use boardbuild::{Error, Exit, Finding};

use crate::{args::CheckArgs, commands::home, render::Outcome};

/// Writes or checks the generated pages.
pub(crate) fn run(args: &CheckArgs) -> Result<Outcome, Error> {
    let home = home()?;
    let mut pages = vec![(home.root.join("docs/findings.md"), boardbuild::rules::reference().into_bytes())];
    for (name, schema) in boardbuild::schemas() {
        pages.push((home.root.join("docs/json").join(name), schema.into_bytes()));
    }
    for (path, page) in boardbuild::pages(&home)? {
        pages.push((home.root.join(path), page.into_bytes()));
    }
    let about = home.root.join("docs/boards.md");
    let text = between(&fs_err::read_to_string(&about)?, &boardbuild::index(&home)?)?;
    pages.push((about, text.into_bytes()));
    write_or_check(&pages, args.check, "cargo xtask docs")
}

/// A page with the part between its two marks replaced.
fn between(page: &str, part: &str) -> Result<String, Error> {
    const MARKS: [&str; 2] = ["<!-- boards: `cargo xtask docs` -->\n", "<!-- /boards -->"];
    let parts = page.split_once(MARKS[0]).and_then(|(head, rest)| Some((head, rest.split_once(MARKS[1])?.1)));
    let Some((head, tail)) = parts else {
        let finding = Finding::error("USE001", "docs/boards.md: the marks around the table of boards are gone")
            .help(format!("write {} and {} where the table belongs", MARKS[0].trim_end(), MARKS[1]));
        return Err(Error::new(Exit::Refused, finding));
    };
    Ok(format!("{head}{}\n{part}\n{}{tail}", MARKS[0], MARKS[1]))
}

/// Writes files whose contents are generated, or finds those that differ.
pub(crate) fn write_or_check(files: &[(PathBuf, Vec<u8>)], check: bool, command: &str) -> Result<Outcome, Error> {
    let mut text = String::new();
    for (path, bytes) in files {
        if fs_err::read(path).is_ok_and(|found| found == *bytes) {
            continue;
        }
        if check {
            let finding = Finding::error("USE001", format!("{}: not what its generator makes", path.display()))
                .help(format!("run `{command}` and commit the change"));
            return Err(Error::new(Exit::Refused, finding));
        }
        if let Some(folder) = path.parent() {
            fs_err::create_dir_all(folder)?;
        }
        fs_err::write(path, bytes)?;
        let _ = writeln!(text, "wrote {}", path.display());
    }
    Ok(Outcome { text, ..Outcome::default() })
}
