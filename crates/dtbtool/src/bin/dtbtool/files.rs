//! Reading inputs and writing outputs.

use std::{
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use dtbtool::Fdt;
use imgcore::ByteSize;

use crate::Usage;

/// Nothing that holds a device tree of use is larger, and a disk image given by mistake must not fill the memory.
const LIMIT: u64 = 256 * ByteSize::MIB;

pub(crate) fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    let opened = fs_err::File::open(file)?;
    let size = opened.metadata()?.len();
    anyhow::ensure!(size <= LIMIT, "{}: {} is too large for a device tree", file.display(), ByteSize(size));
    // Devices and pipes do not say their size.
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0).saturating_add(1));
    let read = opened.take(LIMIT.saturating_add(1)).read_to_end(&mut bytes)?;
    anyhow::ensure!(
        read as u64 <= LIMIT,
        "{}: more than {} is too large for a device tree",
        file.display(),
        ByteSize(LIMIT)
    );
    Ok(bytes)
}

pub(crate) fn parse<'b>(file: &Path, bytes: &'b [u8]) -> anyhow::Result<Fdt<'b>> {
    Fdt::parse(bytes).with_context(|| {
        format!("{} cannot be read as a device tree; `dtbtool check` says all that is wrong", file.display())
    })
}

fn usage(message: String) -> anyhow::Error {
    anyhow::Error::msg(message).context(Usage)
}

/// A file, or with `#N` behind its name entry N of an Android table of overlays (`dtbo.img`, AOSP `dtboimg.cfg`).
pub(crate) fn read_overlay(file: &Path) -> anyhow::Result<Vec<u8>> {
    let text = file.display().to_string();
    let numbered = text.rsplit_once('#').and_then(|(name, number)| Some((PathBuf::from(name), number.parse().ok()?)));
    let (path, entry): (PathBuf, Option<u32>) = match numbered {
        Some((name, number)) if !file.exists() => (name, Some(number)),
        _ => (file.to_owned(), None),
    };
    let bytes = read(&path)?;
    let word = |at: u32| -> Option<u32> {
        let raw = bytes.get(usize::try_from(at).ok()?..)?.first_chunk::<4>()?;
        Some(u32::from_be_bytes(*raw))
    };
    if word(0) != Some(0xd7b7_ab1e) {
        if entry.is_some() {
            return Err(usage(format!("{}: no table of overlays, so it has no entries", path.display())));
        }
        return Ok(bytes);
    }
    let (size, count, first) = (word(12).unwrap_or(0), word(16).unwrap_or(0), word(20).unwrap_or(0));
    let entry = match entry {
        Some(entry) => entry,
        None if count == 1 => 0,
        None => {
            let name = path.display();
            return Err(usage(format!("{name}: a table of {count} overlays; name one, such as {name}#0")));
        }
    };
    if entry >= count {
        return Err(usage(format!("{}: has {count} overlays, counted from 0", path.display())));
    }
    let place = || {
        let at = first.checked_add(size.checked_mul(entry)?)?;
        let (length, offset) = (usize::try_from(word(at)?).ok()?, usize::try_from(word(at.checked_add(4)?)?).ok()?);
        bytes.get(offset..offset.checked_add(length)?)
    };
    Ok(place().with_context(|| format!("{}: entry {entry} lies outside the file", path.display()))?.to_vec())
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
