//! `boards/sources.lock`, which says what every input's bytes are, and `boards/defaults.toml`.

use std::path::{Path, PathBuf};

use fs_err as fs;
use imgcore::{Digest, Epoch};
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Exit, Result},
    toml_text::Source as Text,
};

/// The lock file.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Lock {
    /// Shape of the file: 1.
    pub version: u32,
    /// The instant that reaches bytes, in seconds since 1970.
    pub epoch: u64,
    /// Inputs, sorted by board and name.
    #[serde(default, rename = "source")]
    pub sources: Vec<Locked>,
}

/// One locked input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Locked {
    /// Board that names it.
    pub board: String,
    /// Role in that board.
    pub name: String,
    /// Where it came from: a path relative to the board's folder, or a URL.
    pub origin: String,
    /// SHA-256 of its bytes.
    pub sha256: Digest,
    /// Size in bytes.
    pub size: u64,
    /// Licence, as an SPDX expression or a few words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
}

/// What is taken where neither the command line nor the board says anything.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Defaults {
    /// Talos release, `v1.13.9`.
    pub talos: String,
    /// Formats of the raw image.
    pub format: Vec<String>,
}

const HEADER: &str = "# What every input's bytes are. `cargo xtask` writes this file; reviewers read it.\n\n";

impl Lock {
    /// An empty lock with an epoch.
    pub fn new(epoch: Epoch) -> Self {
        Self { version: 1, epoch: epoch.0, sources: Vec::new() }
    }

    /// Reads `sources.lock` in `folder`.
    ///
    /// # Errors
    /// [`Exit::Usage`] with place and cure when the file is not valid, [`Exit::Io`] when it cannot be read.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = path(folder);
        let text = fs::read_to_string(&path)?;
        let name = path.display().to_string();
        let source = Text { name: &name, text: &text, code: "BRD005" };
        let lock: Self = source.parse()?;
        if lock.version != 1 {
            let message = format!("lock file of version {}, this program reads version 1", lock.version);
            return Err(Error::new(Exit::Usage, source.error(None, &message)));
        }
        Ok(lock)
    }

    /// The locked input of a board's role.
    pub fn find(&self, board: &str, name: &str) -> Option<&Locked> {
        self.sources.iter().find(|locked| locked.board == board && locked.name == name)
    }

    /// Adds or replaces an input and keeps the order.
    pub fn set(&mut self, locked: Locked) {
        self.sources.retain(|old| (&old.board, &old.name) != (&locked.board, &locked.name));
        self.sources.push(locked);
        self.sources.sort_by(|a, b| (&a.board, &a.name).cmp(&(&b.board, &b.name)));
    }

    /// Writes `sources.lock` in `folder`, whole or not at all.
    ///
    /// # Errors
    /// [`Exit::Io`] with the path.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let text = toml::to_string(self)
            .map_err(|error| Error::new(Exit::Io, imgcore::Finding::error("IOE001", error.to_string())))?;
        let path = path(folder);
        let mut outputs = crate::files::Outputs::open(folder)?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        outputs.write(&name, format!("{HEADER}{text}").as_bytes())?;
        outputs.publish()?;
        Ok(())
    }
}

fn path(folder: &Path) -> PathBuf {
    folder.join("sources.lock")
}

impl Defaults {
    /// Reads `defaults.toml` in `folder`.
    ///
    /// # Errors
    /// [`Exit::Usage`] with place and cure when the file is not valid, [`Exit::Io`] when it cannot be read.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = folder.join("defaults.toml");
        let text = fs::read_to_string(&path)?;
        Text { name: &path.display().to_string(), text: &text, code: "BRD005" }.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_reads_back_what_it_wrote_sorted() {
        let home = tempfile::tempdir().unwrap();
        let mut lock = Lock::new(Epoch(5));
        for name in ["u-boot", "dtb", "u-boot"] {
            lock.set(Locked {
                board: "b".to_owned(),
                name: name.to_owned(),
                origin: format!("files/{name}"),
                sha256: Digest::of(name.as_bytes()),
                size: 3,
                licence: None,
            });
        }
        lock.write(home.path()).unwrap();
        let back = Lock::read(home.path()).unwrap();
        assert_eq!(back.sources.iter().map(|locked| locked.name.as_str()).collect::<Vec<_>>(), ["dtb", "u-boot"]);
        assert_eq!(back.find("b", "dtb").map(|locked| locked.size), Some(3));
        assert_eq!(back.epoch, 5);
    }
}
