//! Where the boards are.

use std::path::{Path, PathBuf};

use imgcore::Finding;

use crate::error::{Error, Exit, Result};

/// The workspace as far as a build needs it.
#[derive(Debug, Clone)]
pub struct Home {
    /// Its root.
    pub root: PathBuf,
    /// `boards/`: board files, `defaults.toml`, `sources.lock`.
    pub boards: PathBuf,
}

impl Home {
    /// The workspace at `built_in`, where the program was compiled, else the one that `here` lies in.
    ///
    /// # Errors
    /// [`Exit::Input`] when neither has `boards/`.
    pub fn find(built_in: &Path, here: &Path) -> Result<Self> {
        for root in std::iter::once(built_in).chain(here.ancestors()) {
            let boards = root.join("boards");
            if boards.join("defaults.toml").is_file() {
                return Ok(Self { root: root.to_path_buf(), boards });
            }
        }
        let finding = Finding::error("SRC001", "no folder boards/ with defaults.toml here or above")
            .help("run the command inside a checkout of talos-rk");
        Err(Error::new(Exit::Input, finding))
    }
}
