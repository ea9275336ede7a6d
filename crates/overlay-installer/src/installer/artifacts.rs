//! The files that are to be written, proved before anything is.

use std::{fs::File, io::Read as _, path::Path};

use anyhow::{Context as _, Result, bail};
use imgcore::Digest;
use talosimg::overlay::Board;

/// Above any boot file or device tree: what stands in front of the partitions ends at 10 MiB.
const SIZE_LIMIT: u64 = 256 << 20;

/// The bytes of a board's files, each in the order of the board's lists.
pub(crate) struct Artifacts {
    /// What is written to the disk, cut to the length that is written.
    pub(crate) boot: Vec<Vec<u8>>,
    /// What goes to the ESP.
    pub(crate) esp: Vec<Vec<u8>>,
}

/// Reads and verifies all files of `board` below `folder`. They are held in memory so that what was verified is what
/// is written.
pub(crate) fn load(folder: &Path, board: &Board) -> Result<Artifacts> {
    let mut boot = Vec::new();
    for file in &board.files {
        let mut bytes = read(&folder.join(&file.path), file.size, file.digest)?;
        bytes.truncate(usize::try_from(file.length)?);
        boot.push(bytes);
    }
    let mut esp = Vec::new();
    for file in &board.esp {
        esp.push(read(&folder.join(&file.path), file.size, file.digest)?);
    }
    Ok(Artifacts { boot, esp })
}

fn read(path: &Path, size: u64, digest: Digest) -> Result<Vec<u8>> {
    let name = path.display();
    if size > SIZE_LIMIT {
        bail!("{name}: overlay.json says {size} bytes, at most {SIZE_LIMIT} are taken");
    }
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(size + 1).read_to_end(&mut bytes))
        .with_context(|| format!("cannot read the artifact {name}; nothing was written"))?;
    let found = bytes.len() as u64;
    if found != size {
        let found = if found > size { format!("more than {size}") } else { found.to_string() };
        bail!("the artifact {name} has {found} bytes, expected {size}: {DAMAGED}");
    }
    let found = Digest::of(&bytes);
    if found != digest {
        bail!("the artifact {name} has {found}, expected {digest}: {DAMAGED}");
    }
    Ok(bytes)
}

const DAMAGED: &str = "it is damaged or from another build; pull the overlay image again; nothing was written";
