//! `boards/sources.lock`, which says what every input's bytes are, and `boards/defaults.toml`.

pub(crate) mod changes;
mod text;

use std::path::{Path, PathBuf};

use fs_err as fs;
use imgcore::{Digest, Epoch, Finding};
use serde::{Deserialize, Serialize};

use crate::{
    error::{Error, Exit, Result},
    toml_text::Source as Text,
};

/// The lock file.
///
/// ```
/// use boardbuild::{Digest, Epoch, Lock, Unresolved};
///
/// let mut lock = Lock::new(Epoch(0));
/// lock.set_unresolved(Unresolved::new("b", "u-boot", "https://h/u-boot.itb", "no network"));
/// let text = lock.to_text();
/// assert_eq!(Lock::parse("sources.lock", &text)?, lock);
/// # Ok::<(), boardbuild::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Lock {
    /// The instant that reaches bytes, in seconds since 1970; `lock` writes it when it is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<u64>,
    /// Inputs, sorted by board and name.
    #[serde(rename = "source")]
    pub sources: Vec<Locked>,
    /// Images that kernel, initramfs and boot programs come from, sorted by reference and platform.
    #[serde(rename = "image")]
    pub images: Vec<LockedImage>,
    /// Inputs that nobody resolved yet, sorted by board and name.
    pub unresolved: Vec<Unresolved>,
}

/// One locked input.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Locked {
    /// Board that names it, or `files` for those of `boards/files.toml`.
    pub board: String,
    /// Role in that board.
    pub name: String,
    /// Where it came from, in the words of [`crate::board::Origin::place`].
    pub origin: String,
    /// SHA-256 of its bytes.
    pub sha256: Digest,
    /// Size in bytes.
    pub size: u64,
    /// Licence, as an SPDX expression or a few words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
    /// What it was taken out of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Container>,
}

/// The archive, package, compressed disk image or image manifest that an input was taken out of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Container {
    /// Where it is, when the origin only says how to find it: the package's address, for `apt`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// SHA-256 of its bytes; of the platform's manifest, for an image.
    pub sha256: Digest,
    /// Size in bytes; of the manifest, for an image.
    pub size: u64,
    /// Bytes that come out of it at most, all decompressed: the limit of whoever reads it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unpacked: Option<u64>,
}

/// An image by digest: what `--base` and `--installer-base` name by a tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LockedImage {
    /// The reference as it was asked for, `ghcr.io/siderolabs/imager:v1.13.9`.
    pub reference: String,
    /// `linux/arm64`.
    pub platform: String,
    /// Digest of the manifest for that platform.
    pub digest: Digest,
    /// Bytes of its layers as they are transferred; layers with more are refused.
    pub size: u64,
    /// The most bytes that its layers may decompress to; written by hand, kept as long as the digest stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unpacked: Option<u64>,
}

/// An input whose bytes nobody has seen: the first build that needs it resolves it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Unresolved {
    /// Board that names it.
    pub board: String,
    /// Role in that board.
    pub name: String,
    /// Where it would come from, in the words of [`crate::board::Origin::place`].
    pub origin: String,
    /// Why it is not resolved.
    pub why: String,
    /// Licence, as an SPDX expression or a few words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
}

impl Unresolved {
    /// An input that was not resolved, and why.
    pub fn new(
        board: impl Into<String>,
        name: impl Into<String>,
        origin: impl Into<String>,
        why: impl Into<String>,
    ) -> Self {
        Self { board: board.into(), name: name.into(), origin: origin.into(), why: why.into(), licence: None }
    }
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

impl Lock {
    /// Its file in a folder of boards.
    pub const FILE: &'static str = "sources.lock";

    /// An empty lock with an epoch.
    pub fn new(epoch: Epoch) -> Self {
        Self { epoch: Some(epoch.0), ..Self::default() }
    }

    /// Reads `sources.lock` in `folder`.
    ///
    /// # Errors
    /// [`Exit::Usage`] with place and cure when the file is not valid, [`Exit::Io`] when it cannot be read.
    pub fn read(folder: &Path) -> Result<Self> {
        let path = path(folder);
        let text = fs::read_to_string(&path)?;
        Self::parse(&path.display().to_string(), &text)
    }

    /// Reads `sources.lock` in `folder` if it is there.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn read_if_there(folder: &Path) -> Result<Option<Self>> {
        if path(folder).is_file() { Self::read(folder).map(Some) } else { Ok(None) }
    }

    /// The instant that reaches bytes.
    ///
    /// # Errors
    /// [`Exit::Usage`] when the lock in `folder` has none.
    pub fn epoch(&self, folder: &Path) -> Result<Epoch> {
        self.epoch.map(Epoch).ok_or_else(|| {
            let finding = Finding::error("BRD005", format!("{}: it has no epoch", path(folder).display()))
                .help("run `cargo xtask lock`, which writes one, or set SOURCE_DATE_EPOCH");
            Error::new(Exit::Usage, finding)
        })
    }

    /// The locked input of a board's role.
    pub fn find(&self, board: &str, name: &str) -> Option<&Locked> {
        self.sources.iter().find(|locked| locked.board == board && locked.name == name)
    }

    /// The note that a board's role is not resolved.
    pub fn find_unresolved(&self, board: &str, name: &str) -> Option<&Unresolved> {
        self.unresolved.iter().find(|open| open.board == board && open.name == name)
    }

    /// The locked image of a reference.
    pub fn find_image(&self, reference: &str, platform: &str) -> Option<&LockedImage> {
        self.images.iter().find(|image| image.reference == reference && image.platform == platform)
    }

    /// Adds or replaces an input and keeps the order; it is unresolved no longer.
    pub fn set(&mut self, locked: Locked) {
        self.remove(&locked.board, &locked.name);
        self.sources.push(locked);
        self.sort();
    }

    /// Adds or replaces the note that an input is not resolved, and keeps the order; it is locked no longer.
    pub fn set_unresolved(&mut self, open: Unresolved) {
        self.remove(&open.board, &open.name);
        self.unresolved.push(open);
        self.sort();
    }

    /// Adds or replaces an image and keeps the order.
    pub fn set_image(&mut self, image: LockedImage) {
        self.images.retain(|old| (&old.reference, &old.platform) != (&image.reference, &image.platform));
        self.images.push(image);
        self.sort();
    }

    /// Takes an input away.
    pub fn remove(&mut self, board: &str, name: &str) {
        self.sources.retain(|old| (old.board.as_str(), old.name.as_str()) != (board, name));
        self.unresolved.retain(|old| (old.board.as_str(), old.name.as_str()) != (board, name));
    }

    fn sort(&mut self) {
        self.sources.sort_by(|a, b| (&a.board, &a.name).cmp(&(&b.board, &b.name)));
        self.images.sort_by(|a, b| (&a.reference, &a.platform).cmp(&(&b.reference, &b.platform)));
        self.unresolved.sort_by(|a, b| (&a.board, &a.name).cmp(&(&b.board, &b.name)));
    }

    /// Writes `sources.lock` in `folder`, whole or not at all.
    ///
    /// # Errors
    /// [`Exit::Io`] with the path, also for a lock that [`Self::parse`] would not read back: then nothing is written, since
    /// a file that nobody reads stops every board.
    pub fn write(&self, folder: &Path) -> Result<()> {
        let text = self.to_text();
        let mut sorted = self.clone();
        sorted.sort();
        let back = Self::parse(Self::FILE, &text);
        if back.as_ref().ok() != Some(&sorted) {
            let why = back.map_or_else(|error| error.to_string(), |_| "it reads back otherwise".to_owned());
            let message = format!("internal error: the lock file would not be readable, so it is not written: {why}");
            return Err(Error::io(path(folder), &std::io::Error::other(message)).or_help("report this as a bug"));
        }
        let mut outputs = crate::files::Outputs::beside(folder)?;
        outputs.write(Self::FILE, text.as_bytes())?;
        outputs.publish()?;
        Ok(())
    }
}

fn path(folder: &Path) -> PathBuf {
    folder.join(Lock::FILE)
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
mod tests;
