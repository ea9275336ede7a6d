//! Putting a file on the ESP: whole under its final name, or not at all.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

/// Folders can be entered by everybody: with 0600, as other overlays have it, an imager that is not root fails
/// (`users-and-peers.md` T29).
const DIRECTORY_MODE: u32 = 0o755;
const FILE_MODE: u32 = 0o644;

/// Makes `root/destination` hold `bytes`. A file that does already is left alone.
pub(crate) fn place(root: &Path, destination: &str, bytes: &[u8]) -> Result<()> {
    let target = root.join(destination);
    let folder = target.parent().unwrap_or(root);
    create_folders(folder)?;
    if let Some(found) = existing(&target, bytes.len())?
        && found == bytes
    {
        return Ok(());
    }
    let temporary = temporary(&target)?;
    // One that an interrupted run left.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot remove {}", temporary.display()));
        }
        _ => {}
    }
    let placed = write(&temporary, bytes)
        .with_context(|| format!("{} was not changed", target.display()))
        .and_then(|()| fs::rename(&temporary, &target).with_context(|| format!("cannot create {}", target.display())));
    if placed.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&temporary);
    }
    placed?;
    sync_folder(folder)
}

/// What the target holds, if it is a file of that length.
fn existing(target: &Path, length: usize) -> Result<Option<Vec<u8>>> {
    let failed = || format!("cannot read {}", target.display());
    let metadata = match fs::symlink_metadata(target) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(failed),
    };
    if metadata.is_dir() {
        bail!("{} is a folder, expected a file or nothing", target.display());
    }
    if !metadata.is_file() || metadata.len() != length as u64 {
        return Ok(None);
    }
    fs::read(target).map(Some).with_context(failed)
}

/// A name of its own beside the target, the same in each run.
fn temporary(target: &Path) -> Result<PathBuf> {
    let name = target.file_name().with_context(|| format!("{} has no file name", target.display()))?;
    Ok(target.with_file_name(format!(".{}.new", name.to_string_lossy())))
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(path)
        .with_context(|| format!("cannot create {}", path.display()))?;
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        let failed = || format!("cannot write {} behind byte {written} of {}", path.display(), bytes.len());
        match file.write(rest) {
            Ok(0) => bail!("{}: the file system takes no more", failed()),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error).with_context(failed),
        }
    }
    set_mode(path, FILE_MODE)?;
    file.sync_all().with_context(|| format!("{} did not reach the medium (fsync)", path.display()))?;
    if fs::read(path).with_context(|| format!("cannot read {} back", path.display()))? != bytes {
        bail!("{} does not hold what was written: the medium is failing", path.display());
    }
    Ok(())
}

fn create_folders(folder: &Path) -> Result<()> {
    let missing: Vec<_> =
        folder.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists()).collect();
    for path in missing.into_iter().rev() {
        match DirBuilder::new().mode(DIRECTORY_MODE).create(path) {
            // The umask has taken its part of the mode.
            Ok(()) => set_mode(path, DIRECTORY_MODE)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
            Err(error) => return Err(error).with_context(|| format!("cannot create the folder {}", path.display())),
        }
        if let Some(parent) = path.parent() {
            sync_folder(parent)?;
        }
    }
    if !folder.is_dir() {
        bail!("{} is no folder", folder.display());
    }
    Ok(())
}

/// On FAT the mount decides about modes and may refuse others.
fn set_mode(path: &Path, mode: u32) -> Result<()> {
    match fs::set_permissions(path, Permissions::from_mode(mode)) {
        Err(error) if !matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported) => {
            Err(error).with_context(|| format!("cannot set the mode of {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// A name is on the medium when its folder is.
fn sync_folder(folder: &Path) -> Result<()> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    match File::open(folder).and_then(|file| file.sync_all()) {
        // Some file systems cannot do it for folders.
        Err(error) if !matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => {
            Err(error).with_context(|| format!("{} did not reach the medium (fsync)", folder.display()))
        }
        _ => Ok(()),
    }
}
