//! Reading inputs and writing outputs.

use std::{
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use dtbtool::Fdt;
use imgcore::ByteSize;

/// Nothing that holds a device tree of use is larger, and a disk image given by mistake must not fill the memory.
const LIMIT: u64 = 256 * ByteSize::MIB;

pub(crate) fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    let mut opened = fs_err::File::open(file)?;
    let size = opened.metadata()?.len();
    anyhow::ensure!(size <= LIMIT, "{}: {} is too large for a device tree", file.display(), ByteSize(size));
    let mut bytes = Vec::new();
    opened.read_to_end(&mut bytes)?;
    Ok(bytes)
}

pub(crate) fn parse<'b>(file: &Path, bytes: &'b [u8]) -> anyhow::Result<Fdt<'b>> {
    Fdt::parse(bytes).with_context(|| {
        format!("{} cannot be read as a device tree; `dtbtool check` says all that is wrong", file.display())
    })
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
        anyhow::ensure!(entry.is_none(), "{}: no table of overlays, so it has no entries", path.display());
        return Ok(bytes);
    }
    let (size, count, first) = (word(12).unwrap_or(0), word(16).unwrap_or(0), word(20).unwrap_or(0));
    let entry = match entry {
        Some(entry) => entry,
        None if count == 1 => 0,
        None => {
            anyhow::bail!("{}: a table of {count} overlays; name one, such as {}#0", path.display(), path.display())
        }
    };
    anyhow::ensure!(entry < count, "{}: has {count} overlays, counted from 0", path.display());
    let place = || {
        let at = first.checked_add(size.checked_mul(entry)?)?;
        let (length, offset) = (usize::try_from(word(at)?).ok()?, usize::try_from(word(at.checked_add(4)?)?).ok()?);
        bytes.get(offset..offset.checked_add(length)?)
    };
    Ok(place().with_context(|| format!("{}: entry {entry} lies outside the file", path.display()))?.to_vec())
}

/// The file appears complete under its name or not at all.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let name = path.file_name().with_context(|| format!("{}: no file name", path.display()))?;
    let temporary = path.with_file_name(format!(".{}.{}", name.display(), std::process::id()));
    let written = (|| {
        let mut file = fs_err::File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs_err::rename(&temporary, path)
    })();
    if written.is_err() {
        let _ = fs_err::remove_file(&temporary);
    }
    Ok(written?)
}
