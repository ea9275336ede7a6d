//! A member of a tar, as it streams by.

use std::io::Read;

use ocipack::read::tar::{EntryKind, Stream, TarError, TarReader};

use super::{
    fault::{Fault, Found},
    links::Links,
    names::{self, Count, Matches, Pattern},
};

/// Reads the archive to its end, hands the one file that fits to `deliver` on the way, and refuses whatever no honest
/// archive holds, wherever it is. `expect` hears how many bytes each entry says to have, before they are read.
pub(super) fn scan<R: Read>(
    stream: R,
    pattern: &Pattern,
    expect: &dyn Fn(u64) -> Result<(), Fault>,
    deliver: &mut dyn FnMut(&mut dyn Read) -> Result<(), Fault>,
) -> Result<Found, Fault> {
    let mut reader = TarReader::new(Stream(stream));
    let (mut links, mut count, mut matches) = (Links::default(), Count::default(), Matches::new(pattern));
    let mut file = false;
    while let Some(header) = reader.next_entry().map_err(tar_fault)? {
        count.next(&header.name)?;
        expect(header.size)?;
        let name = names::clean(&header.name)?;
        if name.is_empty() {
            continue;
        }
        links.check_above(&name)?;
        match header.kind {
            EntryKind::File => {
                if matches.none() && pattern.matches(&name) {
                    file = true;
                    deliver(&mut reader.data(&header))?;
                }
                matches.offer(&name)?;
            }
            EntryKind::Symlink => {
                matches.offer(&name)?;
                links.symbolic(&name, &header.target)?;
            }
            EntryKind::HardLink => {
                matches.offer(&name)?;
                links.hard(&name, &header.target)?;
            }
            EntryKind::Dir => matches.other(&name, "a folder")?,
            EntryKind::Other(_) => matches.other(&name, "a device or something else that is no file")?,
        }
    }
    // A tar that was cut between two entries looks whole but for this.
    if !reader.end_marked() {
        return Err(Fault::damaged("truncated: the tar ends without its end mark"));
    }
    let mut rest = reader.into_inner();
    // To the end: the stream's own checksum stands there.
    std::io::copy(&mut rest, &mut std::io::sink()).map_err(Fault::from_io)?;
    // The path may lead through a linked folder, where no entry can lie.
    if matches.none()
        && let Some(exact) = pattern.as_exact()
        && let target = links.resolve(&exact)?
        && target != exact
    {
        return Ok(Found::Link(target));
    }
    let name = matches.one()?;
    if file {
        // A link that came later may stand above it.
        links.check_above(&name)?;
        return Ok(Found::File(name));
    }
    Ok(Found::Link(links.resolve(&name)?))
}

fn tar_fault(error: TarError) -> Fault {
    match error {
        TarError::Cut { offset } => {
            Fault::damaged(format!("truncated: the tar ends inside the entry at byte {offset}"))
        }
        TarError::Damaged { offset, problem } => {
            Fault::damaged(format!("the tar is damaged: {problem} (byte {offset})"))
        }
        TarError::Io(error) => Fault::from_io(error),
    }
}
