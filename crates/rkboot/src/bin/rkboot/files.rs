//! Reading inputs and writing outputs.

use std::{io, path::Path};

use anyhow::Context as _;
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
    let size = fs_err::metadata(path).map_err(failure)?.len();
    if size > MAX_FILE {
        let error = anyhow::anyhow!("{}: {size} bytes, boot files have at most {MAX_FILE}", path.display());
        return Err(Failure { code: 1, error });
    }
    fs_err::read(path).map_err(failure)
}

/// The file appears complete under its name or not at all.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    replace_with(path, |writer| writer.write_all(bytes))
}

/// [`replace`] with what `write` writes.
pub(crate) fn replace_with<T>(
    path: &Path,
    write: impl FnOnce(&mut dyn io::Write) -> io::Result<T>,
) -> anyhow::Result<T> {
    let name = path.file_name().with_context(|| format!("{}: no file name", path.display()))?;
    let temporary = path.with_file_name(format!(".{}.{}", name.display(), std::process::id()));
    let written = (|| {
        let mut file = fs_err::File::create(&temporary)?;
        let value = write(&mut file)?;
        file.sync_all()?;
        fs_err::rename(&temporary, path)?;
        Ok::<_, io::Error>(value)
    })();
    if written.is_err() {
        let _ = fs_err::remove_file(&temporary);
    }
    Ok(written?)
}
