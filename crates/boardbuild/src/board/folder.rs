//! The folder of boards: one file for each, and `files.toml` for public files that belong to none.

use std::path::Path;

use fs_err as fs;
use imgcore::nearest;

use super::Board;
use crate::error::{Error, Exit, Result};

/// What stands for a board's name where files of no board are meant: those of `files.toml`.
pub const FILES: &str = "files";

/// Files of the folder that are no boards.
const OTHERS: [&str; 2] = ["defaults", FILES];

/// Finds a board: a name in `boards`, or the path of a board file anywhere.
///
/// # Errors
/// [`Exit::Usage`] with the nearest known name, or as [`Board::read`].
pub fn find(boards: &Path, name: &str) -> Result<Board> {
    let as_path = Path::new(name);
    if as_path.extension().is_some_and(|extension| extension == "toml") || name.contains(['/', '\\']) {
        if !as_path.is_file() {
            return Err(Error::usage(format!("no board file at this path: {name}"))
                .or_help("give the path of a board file, or a name that `cargo xtask boards` lists"));
        }
        return Board::read(as_path);
    }
    let path = boards.join(format!("{name}.toml"));
    if path.is_file() && !OTHERS.contains(&name) {
        return Board::read(&path);
    }
    if name == FILES {
        let help = "it is what the tests read; only `lock`, `fetch` and `vendor` know it";
        let finding = imgcore::Finding::error("BRD004", format!("no board: {FILES}.toml has files of no board"));
        return Err(Error::new(Exit::Usage, finding.help(help)));
    }
    let known = names(boards)?;
    let help = nearest(name, known.iter().map(String::as_str)).map_or_else(
        || format!("known boards: {}", known.join(", ")),
        |near| format!("did you mean {near}? `cargo xtask boards` lists all"),
    );
    Err(Error::new(Exit::Usage, imgcore::Finding::error("BRD004", format!("unknown board: {name}")).help(help)))
}

/// The names of all boards in a folder, sorted.
///
/// # Errors
/// [`Exit::Io`] with the path.
pub fn names(boards: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(boards)? {
        let name = entry?.file_name();
        if let Some(name) = name.to_str().and_then(|name| name.strip_suffix(".toml"))
            && !OTHERS.contains(&name)
        {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// The public files that belong to no board, as a board without boot files; `None` if the folder has no `files.toml`.
///
/// # Errors
/// As [`Board::read`].
pub fn files(boards: &Path) -> Result<Option<Board>> {
    let path = boards.join(format!("{FILES}.toml"));
    if path.is_file() { Board::read(&path).map(Some) } else { Ok(None) }
}
