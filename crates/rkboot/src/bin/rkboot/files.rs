//! Reading inputs and writing outputs.

use std::{
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use rkboot::Soc;

use crate::Failure;

/// The largest known boot file has 10 MB; more is a disk image.
const MAX_FILE: u64 = 256 * 1024 * 1024;

pub(crate) fn parse_soc(name: &str) -> Result<Soc, Failure> {
    name.parse().map_err(|error: rkboot::Error| Failure { code: 2, error: error.into() })
}

pub(crate) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let failure = |error: io::Error| {
        let code = if error.kind() == io::ErrorKind::NotFound { 3 } else { 4 };
        Failure { code, error: error.into() }
    };
    let too_large = |size: &str| {
        let error = anyhow::anyhow!("{}: {size} bytes, boot files have at most {MAX_FILE}", path.display());
        Failure { code: 1, error }
    };
    let file = fs_err::File::open(path).map_err(failure)?;
    let size = file.metadata().map_err(failure)?.len();
    if size > MAX_FILE {
        return Err(too_large(&size.to_string()));
    }
    // Devices and pipes do not say their size.
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0).saturating_add(1));
    let read = file.take(MAX_FILE.saturating_add(1)).read_to_end(&mut bytes).map_err(failure)?;
    if read as u64 > MAX_FILE {
        return Err(too_large("too many"));
    }
    Ok(bytes)
}

/// The file appears complete under its name or not at all. Under a link its target is replaced, the mode of an old file
/// stays, and what is no file (a device, a pipe) is written to.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    replace_with(path, |writer| writer.write_all(bytes))
}

/// [`replace`] with what `write` writes.
pub(crate) fn replace_with<T>(
    path: &Path,
    write: impl FnOnce(&mut dyn io::Write) -> io::Result<T>,
) -> anyhow::Result<T> {
    // A folder that is not there is a failure to write, no missing input.
    write_whole(path, write)
        .map_err(|error| io::Error::other(format!("{}: cannot be written: {error}", path.display())).into())
}

fn write_whole<T>(path: &Path, write: impl FnOnce(&mut dyn io::Write) -> io::Result<T>) -> io::Result<T> {
    let old = fs_err::metadata(path).ok();
    if old.as_ref().is_some_and(|old| !old.is_file()) {
        let mut file = fs_err::OpenOptions::new().write(true).open(path)?;
        let value = write(&mut file)?;
        file.flush()?;
        return Ok(value);
    }
    let target = link_target(path)?;
    let (temporary, mut file) = temporary_beside(&target)?;
    let written = (|| {
        let value = write(&mut file)?;
        if let Some(old) = &old {
            fs_err::set_permissions(&temporary, old.permissions())?;
        }
        file.sync_all()?;
        fs_err::rename(&temporary, &target)?;
        Ok(value)
    })();
    if written.is_err() {
        let _ = fs_err::remove_file(&temporary);
    }
    written
}

/// Where a chain of links ends, whether there is a file or not.
fn link_target(path: &Path) -> io::Result<PathBuf> {
    let mut target = path.to_owned();
    // As many as Linux follows.
    for _ in 0..40 {
        if !fs_err::symlink_metadata(&target).is_ok_and(|found| found.is_symlink()) {
            return Ok(target);
        }
        let next = fs_err::read_link(&target)?;
        target = target.parent().map_or_else(|| next.clone(), |folder| folder.join(&next));
    }
    Err(io::Error::other("too many links"))
}

/// A new file beside `target`: one that is there already is somebody else's.
fn temporary_beside(target: &Path) -> io::Result<(PathBuf, fs_err::File)> {
    let name = target.file_name().ok_or_else(|| io::Error::other("no file name"))?;
    for attempt in 0..100 {
        let temporary = target.with_file_name(format!(".{}.{}-{attempt}", name.display(), std::process::id()));
        match fs_err::OpenOptions::new().write(true).create_new(true).open(&temporary) {
            Ok(file) => return Ok((temporary, file)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::other("no free name for a temporary file beside it"))
}
