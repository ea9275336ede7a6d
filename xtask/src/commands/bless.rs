//! `bless`: golden texts written anew by the tests that compare with them.

use std::{fmt::Write as _, process::Command};

use boardbuild::{Error, Exit, Finding};

use crate::{commands::home, render::Outcome};

/// The tests that keep golden texts: package, features, test program.
const TESTS: &[[&str; 3]] = &[["rkboot", "cli", "golden"]];

/// Runs the tests with `BLESS=1`.
pub(crate) fn run() -> Result<Outcome, Error> {
    let root = home()?.root;
    let mut text = String::new();
    for [package, features, test] in TESTS {
        let arguments = ["test", "--quiet", "--package", package, "--features", features, "--test", test];
        // What the tests print is no part of what this command says.
        let output = Command::new("cargo").args(arguments).current_dir(&root).env("BLESS", "1").output()?;
        if !output.status.success() {
            let finding = Finding::error("USE001", format!("{package}: the test {test} failed: {}", output.status))
                .help(String::from_utf8_lossy(&output.stderr).into_owned());
            return Err(Error::new(Exit::Refused, finding));
        }
        let _ = writeln!(text, "wrote crates/{package}/tests/golden");
    }
    Ok(Outcome { text, ..Outcome::default() })
}
