//! Whether anything has changed since the last compile, from what the file system says without reading a file.

use std::path::{Path, PathBuf};

use fs_err as fs;
use imgcore::{Digest, Hasher};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::files::Stamp;

/// The crates of this workspace that the installer is made of; `overlay-installer`'s test of its graph holds them.
const CRATES: [&str; 4] = ["imgcore", "overlay-installer", "rawimg", "talosimg"];

/// A finished compile.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// All that went in.
    pub(super) inputs: Digest,
    /// The executable as it was left.
    pub(super) output: Stamp,
}

/// The stamps of every source of the installer, of `others`, and `words` (flags, versions), as one digest.
pub(super) fn inputs(workspace: &Path, others: &[PathBuf], words: &[String]) -> std::io::Result<Digest> {
    let mut paths = vec![workspace.join("Cargo.toml"), workspace.join("Cargo.lock")];
    for name in CRATES {
        let folder = workspace.join("crates").join(name);
        paths.push(folder.join("Cargo.toml"));
        collect(&folder.join("src"), &mut paths)?;
    }
    paths.extend_from_slice(others);
    paths.sort();
    let mut hasher = Hasher::new();
    let mut add = |text: &str| {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    };
    for path in paths {
        add(&path.to_string_lossy());
        add(&format!("{:?}", Stamp::of(&path).ok()));
    }
    for word in words {
        add(word);
    }
    Ok(hasher.finish())
}

fn collect(folder: &Path, paths: &mut Vec<PathBuf>) -> std::io::Result<()> {
    let mut open = vec![folder.to_path_buf()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                open.push(entry.path());
            } else {
                paths.push(entry.path());
            }
        }
    }
    Ok(())
}

/// A record that is absent or unreadable is only a reason to do the work.
pub(super) fn load<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_slice(&fs::read(path).ok()?).ok()
}

/// A record that cannot be kept costs time at the next run and nothing else.
pub(super) fn store<T: Serialize>(path: &Path, record: &T) {
    let _ = try_store(path, record);
}

fn try_store<T: Serialize>(path: &Path, record: &T) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let file = tempfile::NamedTempFile::new_in(folder)?;
    serde_json::to_writer(&file, record)?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// For file names.
pub(super) fn short_hash(text: &str) -> u64 {
    let digest = Digest::of(text.as_bytes());
    digest.raw().iter().take(8).fold(0, |value, byte| (value << 8) | u64::from(*byte))
}
