//! A file out of a container: a member of a Debian package, a tar or a zip, a range of a disk image, compressed or not.
//!
//! Containers are recognised by their bytes, never by their names, and stream by: nothing of them reaches the disk but
//! the one file that is wanted. An archive with an entry that no honest archive holds is refused as a whole, and what
//! comes out is bounded by what the lock says, else by what went in.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

mod ar;
mod decode;
mod fault;
mod links;
mod names;
mod tarball;
mod zip;

#[cfg(test)]
mod tests;

use std::io::{self, BufReader, Read, Write};

use imgcore::{Blob, Progress, ReadAt as _};

use self::{
    decode::{Meter, Packing, Peeked, Watched},
    fault::Found,
};
pub(crate) use self::{fault::Fault, names::Pattern};

/// What is wanted of a container.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Want<'a> {
    /// A regular file inside, with at most one `*` in each part of its path.
    pub(crate) member: Option<&'a str>,
    /// Bytes of the decompressed container or member: offset and length, to the end without one.
    pub(crate) range: Option<(u64, Option<u64>)>,
    /// How many bytes may come out of decoders altogether, if that is known.
    pub(crate) unpacked: Option<u64>,
}

/// What was taken out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Path of the member inside the archive, links followed.
    pub(crate) path: Option<String>,
    /// Bytes written.
    pub(crate) size: u64,
    /// Bytes that came out of decoders.
    pub(crate) unpacked: u64,
}

/// Writes what is wanted to `sink`. After an error what was written is worth nothing.
///
/// # Errors
/// A [`Fault`], which says what is wrong with the container.
pub(crate) fn take(
    container: &Blob,
    want: &Want<'_>,
    sink: &mut dyn Write,
    progress: &dyn Progress,
) -> Result<Taken, Fault> {
    take_at_most(container, want, decode::CEILING, sink, progress)
}

/// As [`take`], where no more than `ceiling` bytes may come out of decoders if nobody knows better.
///
/// # Errors
/// As [`take`].
pub(crate) fn take_at_most(
    container: &Blob,
    want: &Want<'_>,
    ceiling: u64,
    sink: &mut dyn Write,
    progress: &dyn Progress,
) -> Result<Taken, Fault> {
    let meter = Meter::new(container.size(), want.unpacked, ceiling);
    let mut job = Job { container, want, meter, sink, progress };
    let (path, size) = match want.member {
        Some(member) => job.member(&Pattern::parse(member).map_err(Fault::pattern)?)?,
        None => job.whole()?,
    };
    Ok(Taken { path, size, unpacked: job.meter.used() })
}

/// What `member` and `range` of an origin mean of a container, written to `sink`; a range counts bytes of the decompressed
/// container or member. Returns the count of bytes written.
///
/// ```
/// use boardbuild::{NoProgress, take};
///
/// let disk = imgcore::Blob::from_bytes("disk.img", *b"boot sector");
/// let mut part = Vec::new();
/// take(&disk, None, Some((5, Some(3))), &mut part, &NoProgress)?;
/// assert_eq!(part, b"sec");
/// # Ok::<(), boardbuild::Error>(())
/// ```
///
/// # Errors
/// `SRC006` to `SRC011`; what was written is then worth nothing.
pub fn take_part(
    container: &Blob,
    member: Option<&str>,
    range: Option<(u64, Option<u64>)>,
    sink: &mut dyn Write,
    progress: &dyn Progress,
) -> crate::Result<u64> {
    let want = Want { member, range, unpacked: None };
    let taken = take(container, &want, sink, progress);
    taken.map(|taken| taken.size).map_err(|fault| fault.into_error(container.label(), container.label()))
}

struct Job<'a> {
    container: &'a Blob,
    want: &'a Want<'a>,
    meter: Meter,
    sink: &'a mut dyn Write,
    progress: &'a dyn Progress,
}

type Delivered = (Option<String>, u64);

impl Job<'_> {
    fn member(&mut self, pattern: &Pattern) -> Result<Delivered, Fault> {
        match Packing::of(self.container)? {
            Packing::Ar => {
                let data = ar::data(self.container)?;
                match Packing::of(&data)? {
                    Packing::Tar => self.tar(&data, None, pattern),
                    packing if packing.is_stream() => self.tar(&data, Some(packing), pattern),
                    _ => {
                        Err(Fault::damaged("the data of the package is no tar, plain or with gzip, xz, zstd or bzip2"))
                    }
                }
            }
            Packing::Zip => self.zip(Some(pattern)),
            Packing::Tar => {
                let container = self.container.clone();
                self.tar(&container, None, pattern)
            }
            Packing::Raw => {
                Err(Fault::damaged("no archive: neither a Debian package nor a tar nor a zip, compressed or not"))
            }
            packing => {
                let container = self.container.clone();
                self.tar(&container, Some(packing), pattern)
            }
        }
    }

    /// A range of the container itself.
    fn whole(&mut self) -> Result<Delivered, Fault> {
        match Packing::of(self.container)? {
            Packing::Zip => self.zip(None),
            Packing::Ar => Err(Fault::damaged("a Debian package: say which member of it is meant")),
            Packing::Raw | Packing::Tar => {
                let size = self.container.size();
                let (offset, length) = self.want.range.unwrap_or((0, Some(size)));
                let end = length.map_or(Some(size), |length| offset.checked_add(length));
                let end = end.filter(|end| *end <= size && (offset < *end || length == Some(0) || size == 0));
                let end = end.ok_or(Fault::Range { offset, length, size })?;
                let mut part = watched(&self.container.slice(offset..end), &self.meter, self.progress);
                let size = io::copy(&mut part, self.sink).map_err(Fault::from_io)?;
                Ok((None, size))
            }
            packing => {
                let packed =
                    BufReader::with_capacity(decode::READ, watched(self.container, &self.meter, self.progress));
                let mut stream = self.meter.wrap(decode::decoder(packing, packed)?);
                let size = decode::cut(&mut stream, self.want.range, self.sink)?;
                Ok((None, size))
            }
        }
    }

    /// Once through the archive in nearly all cases; twice where the name is that of a link.
    fn tar(&mut self, data: &Blob, packing: Option<Packing>, pattern: &Pattern) -> Result<Delivered, Fault> {
        let mut path = None;
        loop {
            let mut size = 0;
            let Self { meter, sink, want, progress, .. } = self;
            meter.restart();
            let packed = BufReader::with_capacity(decode::READ, watched(data, meter, *progress));
            let stream: Box<dyn Read + '_> = match packing {
                Some(packing) => Box::new(meter.wrap(decode::decoder(packing, packed)?)),
                None => Box::new(packed),
            };
            let exact = path.as_deref().map(Pattern::exact);
            let expect = |size| if packing.is_some() { meter.expect(size) } else { Ok(()) };
            let found = tarball::scan(stream, exact.as_ref().unwrap_or(pattern), &expect, &mut |reader| {
                size = deliver(reader, want.range, meter, *sink)?;
                Ok(())
            })?;
            match found {
                Found::File(name) => return Ok((Some(names::shown(&name)), size)),
                Found::Link(name) if path.is_none() => path = Some(name),
                Found::Link(name) => return Err(Fault::not_a_file(&name, "a link")),
            }
        }
    }

    fn zip(&mut self, pattern: Option<&Pattern>) -> Result<Delivered, Fault> {
        let archive = zip::Archive::open(self.container)?;
        let entry = archive.find(pattern, &self.meter)?;
        self.meter.expect(entry.size())?;
        let data = archive.data(&entry)?;
        let packed = BufReader::with_capacity(decode::READ, watched(&data, &self.meter, self.progress));
        let mut stream = zip::Checked::new(packed, &entry, &self.meter);
        let size = deliver(&mut stream, self.want.range, &self.meter, self.sink)?;
        // A range may end in the middle; whatever was read to its end is held to its checksum.
        if self.want.range.is_none() {
            stream.finish()?;
        }
        Ok((Some(names::shown(&entry.name)), size))
    }
}

/// Hands a member on: as it is, or the range of what it decodes to.
fn deliver(
    member: &mut dyn Read,
    range: Option<(u64, Option<u64>)>,
    meter: &Meter,
    sink: &mut dyn Write,
) -> Result<u64, Fault> {
    if range.is_none() {
        return io::copy(member, sink).map_err(Fault::from_io);
    }
    let peeked = Peeked::new(member).map_err(Fault::from_io)?;
    let packing = Packing::of_start(peeked.start());
    if packing.is_stream() {
        let mut stream = meter.wrap(decode::decoder(packing, BufReader::with_capacity(decode::READ, peeked))?);
        decode::cut(&mut stream, range, sink)
    } else {
        decode::cut(&mut { peeked }, range, sink)
    }
}

fn watched<'a>(data: &Blob, meter: &Meter, progress: &'a dyn Progress) -> Watched<'a> {
    Watched::new(data.clone(), meter, progress)
}
