//! Finding and reading `overlay.json`.

use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use talosimg::overlay::OverlayJson;

/// A board has about a kilobyte.
const SIZE_LIMIT: u64 = 16 << 20;

/// Reads `../artifacts/overlay.json` relative to the executable.
pub(crate) fn read() -> Result<OverlayJson> {
    let path = path(&own_path()?)?;
    let file = File::open(&path).with_context(|| {
        format!("cannot open {}: this executable works inside an unpacked overlay image only", path.display())
    })?;
    let mut text = String::new();
    file.take(SIZE_LIMIT + 1).read_to_string(&mut text).with_context(|| format!("cannot read {}", path.display()))?;
    if text.len() as u64 > SIZE_LIMIT {
        bail!("{} has more than {SIZE_LIMIT} bytes, expected a few thousand", path.display());
    }
    OverlayJson::parse(&text).with_context(|| path.display().to_string())
}

fn own_path() -> Result<PathBuf> {
    // Without /proc the system does not tell; a path in argv[0] then does.
    std::env::current_exe().or_else(|error| {
        std::env::args_os()
            .next()
            .map(PathBuf::from)
            .filter(|path| path.components().count() > 1)
            .ok_or(error)
            .context("cannot find the path of this executable: is /proc mounted?")
    })
}

fn path(executable: &Path) -> Result<PathBuf> {
    let installers = executable.parent().with_context(|| format!("{} has no folder", executable.display()))?;
    Ok(installers.join("../artifacts/overlay.json"))
}
