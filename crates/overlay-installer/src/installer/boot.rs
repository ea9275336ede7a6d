//! Writing boot files to the bare disk.
//!
//! Device trees are on the ESP before this begins, each replaced whole: a board that still has its former boot files
//! starts with the new tree as it did with the old. The bare disk has no such switch, so an interruption may leave a
//! boot file half old and half new. Three rules keep that rare and curable: blocks that are equal already are not
//! written, so an upgrade with the same boot files writes nothing; what the boot ROM reads first (the idblock, at the
//! lowest address) is written last; and the next `install` completes what is missing.

use anyhow::{Context as _, Result, bail};
use imgcore::ReadAt as _;
use talosimg::overlay::BootFile;

use super::disk::Disk;

/// Compared and written at once.
const BLOCK: usize = 256 * 1024;

/// Writes each file, waits for the medium and compares what can be read back.
pub(crate) fn write(disk: &Disk, files: &[BootFile], contents: &[Vec<u8>]) -> Result<()> {
    let mut files: Vec<_> = files.iter().zip(contents).collect();
    files.sort_by_key(|(file, _)| std::cmp::Reverse(file.offset));
    let mut written = false;
    for (file, bytes) in &files {
        for (offset, block) in blocks(file.offset, bytes).rev() {
            if read(disk, offset, block.len()).with_context(|| file.path.clone())? != block {
                disk.write_all_at(block, offset).with_context(|| file.path.clone())?;
                written = true;
            }
        }
    }
    if !written {
        return Ok(());
    }
    disk.sync()?;
    for (file, bytes) in &files {
        for (offset, block) in blocks(file.offset, bytes) {
            let found = read(disk, offset, block.len()).with_context(|| file.path.clone())?;
            if let Some(at) = found.iter().zip(block).position(|(found, wanted)| found != wanted) {
                bail!(
                    "{}: {} does not hold what was written at byte {}: the medium is failing or something else writes \
                     to it",
                    file.path,
                    disk.name(),
                    offset + at as u64
                );
            }
        }
    }
    Ok(())
}

fn blocks(start: u64, bytes: &[u8]) -> impl DoubleEndedIterator<Item = (u64, &[u8])> {
    bytes.chunks(BLOCK).enumerate().map(move |(index, block)| (start + (index * BLOCK) as u64, block))
}

fn read(disk: &Disk, offset: u64, length: usize) -> Result<Vec<u8>> {
    let mut found = vec![0; length];
    disk.read_exact_at(offset, &mut found)
        .with_context(|| format!("cannot read {} bytes of {} at byte {offset}", length, disk.name()))?;
    Ok(found)
}
