//! A zip archive (PKWARE APPNOTE 6.3): its central directory, and the data of one entry. Stored and deflated files are
//! read, with zip64; encrypted archives and archives of several disks are not.

use std::io::{self, BufRead, BufReader, Read};

use imgcore::{Blob, ReadAt as _, ReadAtCursor};

use super::{
    decode::Meter,
    fault::Fault,
    links::Links,
    names::{self, Count, Matches, Pattern},
};

const LOCAL: u32 = 0x0403_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const END: u32 = 0x0605_4b50;
const END_64: u32 = 0x0606_4b50;
const LOCATOR_64: u32 = 0x0706_4b50;
/// The end record without its comment (APPNOTE 4.3.16).
const END_SIZE: u64 = 22;
const COMMENT_MAX: u64 = 0xffff;
const LOCATOR_SIZE: usize = 20;
const END_64_SIZE: usize = 56;
const CENTRAL_SIZE: usize = 46;
const LOCAL_SIZE: usize = 30;
/// Extra field with what does not fit into 32 bits (APPNOTE 4.5.3).
const EXTRA_64: u16 = 1;
/// Longest target of a link.
const TARGET_MAX: u64 = 4096;

/// Little-endian numbers out of a record, 0 behind its end.
struct Record<'a>(&'a [u8]);

impl Record<'_> {
    fn number(&self, at: usize, size: usize) -> u64 {
        let bytes = self.0.get(at..at.saturating_add(size)).unwrap_or_default();
        bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte))
    }

    fn u16(&self, at: usize) -> u16 {
        u16::try_from(self.number(at, 2)).unwrap_or_default()
    }

    fn u32(&self, at: usize) -> u32 {
        u32::try_from(self.number(at, 4)).unwrap_or_default()
    }
}

/// What a file is compressed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Stored,
    Deflated,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Symlink,
    Folder,
    Other,
}

/// A file of the archive, as its central directory has it.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) name: Vec<u8>,
    raw_name: Vec<u8>,
    kind: Kind,
    flags: u16,
    method: u16,
    crc: u32,
    packed: u64,
    size: u64,
    local: u64,
}

impl Entry {
    /// Count of its bytes, as the directory says.
    pub(super) fn size(&self) -> u64 {
        self.size
    }
}

/// An archive whose end record was read.
#[derive(Debug)]
pub(super) struct Archive<'a> {
    data: &'a Blob,
    entries: u64,
    start: u64,
    end: u64,
    /// Bytes in front of the archive that its offsets do not count.
    shift: u64,
}

impl<'a> Archive<'a> {
    pub(super) fn open(data: &'a Blob) -> Result<Self, Fault> {
        let tail_size = data.size().min(END_SIZE.saturating_add(COMMENT_MAX));
        let tail_start = data.size().saturating_sub(tail_size);
        let tail = data.slice(tail_start..data.size()).read_all(tail_size).map_err(Fault::from_io)?;
        // From the end: the record whose comment ends with the file.
        let last = usize::try_from(tail_size.saturating_sub(END_SIZE)).unwrap_or_default();
        let fits = |at: &usize| {
            let record = Record(tail.get(*at..).unwrap_or_default());
            let whole = END_SIZE.saturating_add(u64::from(record.u16(20)));
            record.0.len() as u64 >= END_SIZE && record.u32(0) == END && whole == record.0.len() as u64
        };
        let at =
            (0..=last).rev().find(fits).ok_or_else(|| Fault::damaged("truncated: a zip without its end record"))?;
        let record = Record(tail.get(at..).unwrap_or_default());
        let mut end = tail_start.saturating_add(at as u64);
        let mut place = Place {
            disks: u64::from(record.u16(4)) | u64::from(record.u16(6)),
            here: u64::from(record.u16(8)),
            entries: u64::from(record.u16(10)),
            size: u64::from(record.u32(12)),
            offset: u64::from(record.u32(16)),
        };
        if (place.entries == 0xffff || place.size == 0xffff_ffff || place.offset == 0xffff_ffff)
            && let Some((found, at)) = end_64(data, end)?
        {
            (place, end) = (found, at);
        }
        if place.disks != 0 || place.here != place.entries {
            return Err(Fault::damaged("a zip of several disks: join it first"));
        }
        let behind = place.offset.checked_add(place.size);
        let shift = behind.and_then(|behind| end.checked_sub(behind));
        let shift = shift.ok_or_else(|| Fault::damaged("the zip's end record names a directory that is not there"))?;
        let start = place.offset.saturating_add(shift);
        Ok(Self { data, entries: place.entries, start, end, shift })
    }

    /// The one file that fits, links followed; without a pattern the only file there is.
    pub(super) fn find(&self, pattern: Option<&Pattern>, meter: &Meter) -> Result<Entry, Fault> {
        let any = Pattern::exact(b"");
        let mut matches = Matches::new(pattern.unwrap_or(&any));
        let (mut links, mut count, mut found, mut files) = (Links::default(), Count::default(), None, 0_u64);
        self.each(&mut |entry| {
            count.next(&entry.raw_name)?;
            links.check_above(&entry.name)?;
            let wanted = match entry.kind {
                Kind::Folder => {
                    matches.other(&entry.name, "a folder")?;
                    false
                }
                Kind::Other => {
                    matches.other(&entry.name, "a device or something else that is no file")?;
                    false
                }
                Kind::File if pattern.is_none() => {
                    files = files.saturating_add(1);
                    true
                }
                Kind::File | Kind::Symlink => matches.offer(&entry.name)?,
            };
            if entry.kind == Kind::Symlink {
                let target = self.target(entry, meter)?;
                links.symbolic(&entry.name, &target)?;
            }
            if wanted && found.is_none() {
                found = Some(entry.clone());
            }
            Ok(())
        })?;
        let name = match (pattern, found) {
            (None, Some(entry)) if files == 1 => return Ok(entry),
            (None, _) => {
                let problem = format!("the zip holds {files} files, expected one: say which member is meant");
                return Err(Fault::Member { problem, candidates: Vec::new() });
            }
            (Some(pattern), None) => {
                let exact = pattern.as_exact().unwrap_or_default();
                let target = links.resolve(&exact)?;
                if exact.is_empty() || target == exact {
                    matches.one()?;
                }
                target
            }
            (Some(_), Some(entry)) => {
                let name = matches.one()?;
                links.check_above(&name)?;
                if entry.kind == Kind::File {
                    return Ok(entry);
                }
                links.resolve(&name)?
            }
        };
        // Where the link leads.
        let exact = Pattern::exact(&name);
        let (mut matches, mut found) = (Matches::new(&exact), None);
        self.each(&mut |entry| {
            match entry.kind {
                Kind::File | Kind::Symlink if matches.offer(&entry.name)? => found = Some(entry.clone()),
                Kind::Folder => matches.other(&entry.name, "a folder")?,
                _ => {}
            }
            Ok(())
        })?;
        matches.one()?;
        found.filter(|entry| entry.kind == Kind::File).ok_or_else(|| Fault::not_a_file(&name, "a link"))
    }

    /// Calls `visit` with every entry of the central directory.
    fn each(&self, visit: &mut dyn FnMut(&Entry) -> Result<(), Fault>) -> Result<(), Fault> {
        let directory = ReadAtCursor::new(self.data.slice(self.start..self.end));
        let mut directory = BufReader::with_capacity(super::decode::READ, directory);
        let cut = |_: io::Error| Fault::damaged("truncated: the zip's directory ends inside an entry");
        for _ in 0..self.entries {
            let mut fixed = [0; CENTRAL_SIZE];
            directory.read_exact(&mut fixed).map_err(cut)?;
            let record = Record(&fixed);
            if record.u32(0) != CENTRAL {
                return Err(Fault::damaged("the zip's directory is damaged: no entry where one should be"));
            }
            let mut raw_name = vec![0; usize::from(record.u16(28))];
            let mut extra = vec![0; usize::from(record.u16(30))];
            directory.read_exact(&mut raw_name).map_err(cut)?;
            directory.read_exact(&mut extra).map_err(cut)?;
            let comment = u64::from(record.u16(32));
            let skipped = io::copy(&mut (&mut directory).take(comment), &mut io::sink()).map_err(Fault::from_io)?;
            if skipped < comment {
                return Err(cut(io::ErrorKind::UnexpectedEof.into()));
            }
            let entry = entry(&record, raw_name, &extra)?;
            visit(&entry)?;
        }
        if directory.fill_buf().map_err(Fault::from_io)?.is_empty() {
            return Ok(());
        }
        Err(Fault::damaged("the zip's directory holds more than its end record says"))
    }

    /// The packed bytes of a file.
    pub(super) fn data(&self, entry: &Entry) -> Result<Blob, Fault> {
        if entry.flags & 1 != 0 {
            return Err(Fault::damaged(format!("{} is encrypted", names::shown(&entry.name))));
        }
        method(entry)?;
        let wrong = |problem: &str| Fault::damaged(format!("{}: {problem}", names::shown(&entry.name)));
        let at = entry.local.saturating_add(self.shift);
        let mut fixed = [0; LOCAL_SIZE];
        if at.saturating_add(LOCAL_SIZE as u64) > self.start {
            return Err(wrong("the zip's directory leads behind the files"));
        }
        self.data.read_exact_at(at, &mut fixed).map_err(Fault::from_io)?;
        let record = Record(&fixed);
        if record.u32(0) != LOCAL {
            return Err(wrong("there is no file where the zip's directory says"));
        }
        let name_at = at.saturating_add(LOCAL_SIZE as u64);
        let name_end = name_at.saturating_add(u64::from(record.u16(26)));
        let name = self.data.slice(name_at..name_end).read_all(COMMENT_MAX).map_err(Fault::from_io)?;
        if name != entry.raw_name {
            return Err(Fault::hostile(&entry.raw_name, "has another name in front of its data than in the directory"));
        }
        if record.u16(8) != entry.method {
            return Err(wrong("compressed in one way by the directory, in another by the file"));
        }
        let start = name_end.saturating_add(u64::from(record.u16(28)));
        let end = start.checked_add(entry.packed).filter(|end| *end <= self.start);
        let end = end.ok_or_else(|| wrong("the data reaches behind the files"))?;
        Ok(self.data.slice(start..end).with_label(names::shown(&entry.name)))
    }

    fn target(&self, entry: &Entry, meter: &Meter) -> Result<Vec<u8>, Fault> {
        if entry.size > TARGET_MAX {
            return Err(Fault::hostile(&entry.name, "is a link with a target of more than 4096 bytes"));
        }
        let packed = BufReader::new(ReadAtCursor::new(self.data(entry)?));
        let mut checked = Checked::new(packed, entry, meter);
        let mut target = Vec::new();
        checked.read_to_end(&mut target).map_err(Fault::from_io)?;
        checked.finish()?;
        Ok(target)
    }
}

/// What an end record says.
struct Place {
    disks: u64,
    here: u64,
    entries: u64,
    size: u64,
    offset: u64,
}

/// The zip64 end record in front of the end record at `end`, and where it is.
fn end_64(data: &Blob, end: u64) -> Result<Option<(Place, u64)>, Fault> {
    let mut locator = [0; LOCATOR_SIZE];
    let Some(at) = end.checked_sub(LOCATOR_SIZE as u64) else { return Ok(None) };
    data.read_exact_at(at, &mut locator).map_err(Fault::from_io)?;
    let locator = Record(&locator);
    if locator.u32(0) != LOCATOR_64 {
        return Ok(None);
    }
    let damaged = || Fault::damaged("the zip64 end record is not where its locator says");
    // Right in front of the locator, or where the locator says if something was put between.
    let mut fixed = [0; END_64_SIZE];
    for at in [at.checked_sub(END_64_SIZE as u64), Some(locator.number(8, 8))].into_iter().flatten() {
        if at.saturating_add(END_64_SIZE as u64) > data.size() {
            continue;
        }
        data.read_exact_at(at, &mut fixed).map_err(Fault::from_io)?;
        let record = Record(&fixed);
        if record.u32(0) == END_64 {
            let place = Place {
                disks: u64::from(record.u32(16)) | u64::from(record.u32(20)),
                here: record.number(24, 8),
                entries: record.number(32, 8),
                size: record.number(40, 8),
                offset: record.number(48, 8),
            };
            return Ok(Some((place, at)));
        }
    }
    Err(damaged())
}

fn entry(record: &Record<'_>, raw_name: Vec<u8>, extra: &[u8]) -> Result<Entry, Fault> {
    let name = names::clean(&raw_name)?;
    let (mut packed, mut size, mut local) =
        (u64::from(record.u32(20)), u64::from(record.u32(24)), u64::from(record.u32(42)));
    // The zip64 field holds those of the three that do not fit, in this order.
    let mut rest = extra;
    while let Some((head, behind)) = rest.split_at_checked(4) {
        let (id, length) = (Record(head).u16(0), usize::from(Record(head).u16(2)));
        let (field, behind) = behind.split_at_checked(length).unwrap_or((behind, &[]));
        if id == EXTRA_64 {
            let mut at = 0_usize;
            for value in [&mut size, &mut packed, &mut local] {
                if *value == 0xffff_ffff {
                    if field.len() < at.saturating_add(8) {
                        return Err(Fault::damaged(format!("{}: its zip64 field is cut", names::shown(&name))));
                    }
                    *value = Record(field).number(at, 8);
                    at = at.saturating_add(8);
                }
            }
        }
        rest = behind;
    }
    // The upper half of the attributes are Unix's, if a Unix made the entry (APPNOTE 4.4.2 and 4.4.15).
    let unix = record.u16(4) >> 8 == 3;
    let mode = (record.u32(38) >> 16) & 0o170_000;
    let kind = match mode {
        _ if raw_name.ends_with(b"/") => Kind::Folder,
        0o120_000 if unix => Kind::Symlink,
        0o040_000 if unix => Kind::Folder,
        0 | 0o100_000 => Kind::File,
        _ if unix => Kind::Other,
        _ => Kind::File,
    };
    let (flags, method, crc) = (record.u16(8), record.u16(10), record.u32(16));
    Ok(Entry { name, raw_name, kind, flags, method, crc, packed, size, local })
}

fn method(entry: &Entry) -> Result<Method, Fault> {
    match entry.method {
        0 if entry.packed != entry.size => {
            Err(Fault::damaged(format!("{}: stored with two different sizes", names::shown(&entry.name))))
        }
        0 => Ok(Method::Stored),
        8 => Ok(Method::Deflated),
        other => Err(Fault::damaged(format!(
            "{} is compressed with method {other}; stored and deflated files are read",
            names::shown(&entry.name)
        ))),
    }
}

enum Decoder<R> {
    Stored(R),
    Deflated(flate2::bufread::DeflateDecoder<R>),
}

/// The bytes of a file, held to its size and checksum.
pub(super) struct Checked<R> {
    decoder: Decoder<R>,
    hasher: crc32fast::Hasher,
    name: Vec<u8>,
    crc: u32,
    left: u64,
    meter: Meter,
}

impl<R: BufRead> Checked<R> {
    pub(super) fn new(packed: R, entry: &Entry, meter: &Meter) -> Self {
        let decoder = match entry.method {
            8 => Decoder::Deflated(flate2::bufread::DeflateDecoder::new(packed)),
            _ => Decoder::Stored(packed),
        };
        let (name, crc, left) = (entry.name.clone(), entry.crc, entry.size);
        Self { decoder, hasher: crc32fast::Hasher::new(), name, crc, left, meter: meter.clone() }
    }

    /// At the end: whether all of it came, and the right bytes.
    pub(super) fn finish(self) -> Result<(), Fault> {
        let wrong = |problem: &str| Err(Fault::damaged(format!("{}: {problem}", names::shown(&self.name))));
        if self.left > 0 {
            return wrong("truncated: the data ends before its size");
        }
        if self.hasher.finalize() != self.crc {
            return wrong("the checksum of its bytes is wrong");
        }
        Ok(())
    }
}

impl<R: BufRead> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = match &mut self.decoder {
            Decoder::Stored(packed) => packed.read(buffer)?,
            Decoder::Deflated(packed) => packed.read(buffer)?,
        };
        self.meter.count(count)?;
        self.hasher.update(buffer.get(..count).unwrap_or_default());
        self.left = self.left.checked_sub(count as u64).ok_or_else(|| {
            let text = format!("{}: more bytes come out than its size says", names::shown(&self.name));
            io::Error::new(io::ErrorKind::InvalidData, text)
        })?;
        Ok(count)
    }
}
