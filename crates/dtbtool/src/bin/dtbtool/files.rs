//! Reading inputs and writing outputs.

use std::{io::Read as _, path::Path};

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
