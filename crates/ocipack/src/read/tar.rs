//! A tar reader with bounded memory that refuses what readers disagree on. Shares nothing with the writer.
//!
//! Understands ustar, GNU long names and large numbers, PAX `path`, `linkpath`, `size` and `SCHILY.xattr.*`. Sparse files and data behind
//! entries that have none are refused, and so are two sizes for one entry: programs differ in where they see the next one.
//!
//! ```
//! use std::io::Read as _;
//! use ocipack::read::tar::{Stream, TarReader};
//!
//! let mut archive = tar::Builder::new(Vec::new());
//! let mut header = tar::Header::new_ustar();
//! header.set_size(5);
//! header.set_mode(0o644);
//! archive.append_data(&mut header, "etc/motd", &b"hello"[..])?;
//! let bytes = archive.into_inner()?;
//!
//! let mut reader = TarReader::new(Stream(bytes.as_slice()));
//! let entry = reader.next_entry().ok().flatten().ok_or("no entry")?;
//! let mut text = String::new();
//! reader.data(&entry).read_to_string(&mut text)?;
//! assert_eq!((entry.name.as_slice(), text.as_str()), (&b"etc/motd"[..], "hello"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::{
    collections::BTreeMap,
    io::{self, Read},
};

const BLOCK: u64 = 512;
/// Largest header extension that is held in memory. Paths have 4095 bytes; the rest is for attributes.
const EXTENSION_LIMIT: u64 = 1024 * 1024;
/// What stands in front of the name of an extended attribute.
const XATTR: &[u8] = b"SCHILY.xattr.";
/// Sizes from 8 GiB on do not fit into the eleven octal digits of a header.
const OCTAL_LIMIT: u64 = 1 << 33;

/// Bytes in one direction, with a way to pass over some.
pub trait Forward: Read {
    /// Passes over `count` bytes and returns how many there were.
    ///
    /// # Errors
    /// Whatever the stream answers.
    fn skip(&mut self, count: u64) -> io::Result<u64>;
}

/// Passes over bytes by reading them.
#[derive(Debug)]
pub struct Stream<R>(pub R);

impl<R: Read> Read for Stream<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl<R: Read> Forward for Stream<R> {
    fn skip(&mut self, count: u64) -> io::Result<u64> {
        io::copy(&mut self.0.by_ref().take(count), &mut io::sink())
    }
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// Another name of a file that came before.
    HardLink,
    /// A symbolic link.
    Symlink,
    /// A folder.
    Dir,
    /// Anything else, by its type byte.
    Other(u8),
}

/// An entry: what stands in front of its data.
#[derive(Debug, Clone)]
pub struct Header {
    /// Path as it is written there: nothing is cleaned or refused.
    pub name: Vec<u8>,
    /// What a link leads to, as it is written there.
    pub target: Vec<u8>,
    /// What the entry is.
    pub kind: EntryKind,
    /// Permission bits.
    pub mode: u32,
    /// Seconds since 1970.
    pub mtime: u64,
    /// Bytes of data.
    pub size: u64,
    /// Extended attributes by their full name, as GNU tar, BuildKit and Go write them (`SCHILY.xattr.`).
    pub xattrs: BTreeMap<String, Vec<u8>>,
    /// Where the header block starts; extensions stand in front of it.
    pub offset: u64,
    /// Where the data starts.
    pub data: u64,
}

/// Why reading stopped.
#[derive(Debug)]
pub enum TarError {
    /// The stream ends inside something.
    Cut {
        /// Of the thing that is cut.
        offset: u64,
    },
    /// Not readable, from `offset` on.
    Damaged {
        /// Of the header.
        offset: u64,
        /// What is wrong.
        problem: &'static str,
    },
    /// The stream failed.
    Io(io::Error),
}

impl From<io::Error> for TarError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Reads entry after entry.
#[derive(Debug)]
pub struct TarReader<R> {
    inner: R,
    position: u64,
    next: u64,
    /// Where the data of the last entry ends; padding up to `next` follows.
    end: u64,
    ended: bool,
    marked: bool,
}

/// What extension headers say about the entry behind them.
#[derive(Default)]
struct Extension {
    path: Option<Vec<u8>>,
    target: Option<Vec<u8>>,
    size: Option<u64>,
    xattrs: BTreeMap<String, Vec<u8>>,
}

impl<R: Forward> TarReader<R> {
    /// A reader that stands before the first entry.
    pub fn new(inner: R) -> Self {
        Self { inner, position: 0, next: 0, end: 0, ended: false, marked: false }
    }

    /// Whether the two zero blocks at the end were there.
    pub fn end_marked(&self) -> bool {
        self.marked
    }

    /// The stream, as far as it was read.
    pub fn into_inner(self) -> R {
        self.inner
    }

    /// The next entry, `None` at the end. Data of the one before that was not read is passed over.
    ///
    /// # Errors
    /// Where the stream ends too early, is damaged or fails.
    pub fn next_entry(&mut self) -> Result<Option<Header>, TarError> {
        let mut extension = Extension::default();
        let mut extended = false;
        loop {
            let offset = self.next;
            let Some(block) = self.next_block()? else {
                if extended {
                    return Err(TarError::Damaged { offset, problem: "a header extension belongs to no entry" });
                }
                return Ok(None);
            };
            let mut header = parse(&block, offset)?;
            match block.type_byte() {
                b'x' => {
                    let bytes = self.extension(&header)?;
                    pax(&bytes, &mut extension).map_err(|problem| TarError::Damaged { offset, problem })?;
                    extended = true;
                }
                b'g' => {
                    let mut global = Extension::default();
                    let bytes = self.extension(&header)?;
                    pax(&bytes, &mut global).map_err(|problem| TarError::Damaged { offset, problem })?;
                    if global.path.is_some() || global.target.is_some() || global.size.is_some() {
                        let problem = "a global header gives every entry the same name or size";
                        return Err(TarError::Damaged { offset, problem });
                    }
                }
                kind @ (b'L' | b'K') => {
                    let mut name = self.extension(&header)?;
                    name.truncate(name.iter().position(|byte| *byte == 0).unwrap_or(name.len()));
                    *(if kind == b'L' { &mut extension.path } else { &mut extension.target }) = Some(name);
                    extended = true;
                }
                b'S' => return Err(TarError::Damaged { offset, problem: "a sparse file in GNU's format" }),
                _ => {
                    if let Some(size) = extension.size {
                        // Writers leave the field empty, or put in it what fits, when the size does not fit.
                        if header.size != size && size < OCTAL_LIMIT {
                            return Err(TarError::Damaged { offset, problem: "an entry with two different sizes" });
                        }
                        header.size = size;
                    }
                    header.name = extension.path.unwrap_or(header.name);
                    header.target = extension.target.unwrap_or(header.target);
                    header.xattrs = extension.xattrs;
                    if header.kind == EntryKind::File && header.name.ends_with(b"/") {
                        header.kind = EntryKind::Dir;
                    }
                    if header.size != 0 && !matches!(header.kind, EntryKind::File | EntryKind::Other(_)) {
                        return Err(TarError::Damaged { offset, problem: "a link or folder with data behind it" });
                    }
                    self.advance(header.size, offset)?;
                    return Ok(Some(header));
                }
            }
        }
    }

    /// The data of the entry that [`next_entry`](Self::next_entry) gave last. Ends early when the stream does.
    pub fn data(&mut self, header: &Header) -> Data<'_, R> {
        let left = header.data.saturating_add(header.size).saturating_sub(self.position);
        Data { reader: self, left }
    }

    /// Moves the place of the next header behind `size` bytes of data.
    fn advance(&mut self, size: u64, offset: u64) -> Result<(), TarError> {
        let behind = size.checked_next_multiple_of(BLOCK).and_then(|padded| self.position.checked_add(padded));
        self.next = behind.ok_or(TarError::Damaged { offset, problem: "a size beyond 64 bits" })?;
        self.end = self.position.saturating_add(size);
        Ok(())
    }

    /// The block at `self.next`, `None` at the end of the archive.
    fn next_block(&mut self) -> Result<Option<Block>, TarError> {
        if self.ended {
            return Ok(None);
        }
        let skip = self.next.saturating_sub(self.position);
        let skipped = self.inner.skip(skip)?;
        if skipped < skip {
            // `umoci insert` (0.4.7) ends its tars with the last byte of data: no padding, no end mark. Nothing is
            // missing, and what Go's reader takes runs everywhere.
            if self.position.saturating_add(skipped) == self.end {
                self.ended = true;
                return Ok(None);
            }
            return Err(TarError::Cut { offset: self.position });
        }
        self.position = self.next;
        let offset = self.position;
        let Some(block) = self.block()? else {
            self.ended = true;
            return Ok(None);
        };
        if block.0.iter().any(|byte| *byte != 0) {
            return Ok(Some(block));
        }
        self.ended = true;
        match self.block()? {
            Some(block) if block.0.iter().any(|byte| *byte != 0) => {
                Err(TarError::Damaged { offset, problem: "a zero block in the middle" })
            }
            second => {
                self.marked = second.is_some();
                Ok(None)
            }
        }
    }

    fn block(&mut self) -> Result<Option<Block>, TarError> {
        let offset = self.position;
        let mut block = Block([0; 512]);
        let mut filled = 0;
        while let Some(rest) = block.0.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.inner.read(rest) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(TarError::Cut { offset }),
                Ok(count) => filled = filled.saturating_add(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.position = self.position.saturating_add(BLOCK);
        self.next = self.position;
        Ok(Some(block))
    }

    fn extension(&mut self, header: &Header) -> Result<Vec<u8>, TarError> {
        let offset = header.offset;
        if header.size > EXTENSION_LIMIT {
            return Err(TarError::Damaged { offset, problem: "a header extension of more than 1 MiB" });
        }
        self.advance(header.size, offset)?;
        let mut bytes = Vec::new();
        self.data(header).read_to_end(&mut bytes)?;
        if bytes.len() as u64 != header.size {
            return Err(TarError::Cut { offset });
        }
        Ok(bytes)
    }
}

/// The data of one entry.
#[derive(Debug)]
pub struct Data<'a, R> {
    reader: &'a mut TarReader<R>,
    left: u64,
}

impl<R: Forward> Read for Data<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        if wanted == 0 {
            return Ok(0);
        }
        let count = self.reader.inner.read(buffer.get_mut(..wanted).unwrap_or_default())?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.left = self.left.saturating_sub(count as u64);
        self.reader.position = self.reader.position.saturating_add(count as u64);
        Ok(count)
    }
}

struct Block([u8; 512]);

impl Block {
    fn field(&self, start: usize, end: usize) -> &[u8] {
        self.0.get(start..end).unwrap_or_default()
    }

    /// A field up to its first NUL.
    fn text(&self, start: usize, end: usize) -> &[u8] {
        let field = self.field(start, end);
        field.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    fn type_byte(&self) -> u8 {
        self.0.get(156).copied().unwrap_or_default()
    }
}

fn parse(block: &Block, offset: u64) -> Result<Header, TarError> {
    let damaged = |problem| TarError::Damaged { offset, problem };
    let stated = number(block.field(148, 156)).ok_or(damaged("no tar header"))?;
    let (mut unsigned, mut signed) = (0_u64, 0_i64);
    for (at, byte) in block.0.iter().enumerate() {
        let byte = if (148..156).contains(&at) { b' ' } else { *byte };
        unsigned = unsigned.saturating_add(u64::from(byte));
        signed = signed.saturating_add(i64::from(byte.cast_signed()));
    }
    // Some old programs summed signed bytes.
    if stated != unsigned && i64::try_from(stated) != Ok(signed) {
        return Err(damaged("the checksum of a header is wrong"));
    }
    let mut name = block.text(0, 100).to_vec();
    // GNU's own format has times where POSIX has the prefix.
    if block.field(257, 263) == b"ustar\0" {
        let prefix = block.text(345, 500);
        if !prefix.is_empty() {
            name = [prefix, b"/", &name].concat();
        }
    }
    let kind = match block.type_byte() {
        b'0' | 0 | b'7' => EntryKind::File,
        b'1' => EntryKind::HardLink,
        b'2' => EntryKind::Symlink,
        b'5' => EntryKind::Dir,
        other => EntryKind::Other(other),
    };
    let mode = number(block.field(100, 108)).ok_or(damaged("the mode of an entry is no number"))?;
    Ok(Header {
        name,
        target: block.text(157, 257).to_vec(),
        kind,
        mode: u32::try_from(mode & 0o7777).unwrap_or_default(),
        // A time nobody can read hurts nobody: ours come from elsewhere.
        mtime: number(block.field(136, 148)).unwrap_or_default(),
        size: number(block.field(124, 136)).ok_or(damaged("the size of an entry is no number"))?,
        xattrs: BTreeMap::new(),
        offset,
        data: offset.checked_add(BLOCK).ok_or(damaged("an offset beyond 64 bits"))?,
    })
}

/// Octal digits between spaces and NULs, or GNU's base 256 behind a set top bit. Negative numbers are `None`.
fn number(field: &[u8]) -> Option<u64> {
    if let Some((0x80, rest)) = field.split_first().map(|(first, rest)| (*first, rest)) {
        return rest.iter().try_fold(0_u64, |value, byte| value.checked_mul(256)?.checked_add(u64::from(*byte)));
    }
    let text = std::str::from_utf8(field).ok()?.trim_matches([' ', '\0']);
    if text.is_empty() { Some(0) } else { u64::from_str_radix(text, 8).ok().filter(|_| !text.starts_with('+')) }
}

fn pax(mut bytes: &[u8], extension: &mut Extension) -> Result<(), &'static str> {
    const PROBLEM: &str = "a header extension is no list of `length key=value`";
    while !bytes.is_empty() {
        let space = bytes.iter().position(|byte| *byte == b' ').ok_or(PROBLEM)?;
        let digits = bytes.get(..space).and_then(|digits| std::str::from_utf8(digits).ok()).ok_or(PROBLEM)?;
        let length: usize =
            digits.parse().ok().filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit())).ok_or(PROBLEM)?;
        let (record, rest) = bytes.split_at_checked(length).ok_or(PROBLEM)?;
        let record =
            record.get(space.saturating_add(1)..).and_then(|record| record.strip_suffix(b"\n")).ok_or(PROBLEM)?;
        let equals = record.iter().position(|byte| *byte == b'=').ok_or(PROBLEM)?;
        let (key, value) = record.split_at_checked(equals).ok_or(PROBLEM)?;
        let value = value.get(1..).unwrap_or_default();
        // An empty value takes an earlier one back.
        let text = || Some(value.to_vec()).filter(|value| !value.is_empty());
        match key {
            b"path" => extension.path = text(),
            b"linkpath" => extension.target = text(),
            b"size" => {
                let size = std::str::from_utf8(value).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
                extension.size = Some(size.and_then(|size| size.parse().ok()).ok_or("a size that is no number")?);
            }
            _ if key.starts_with(XATTR) => {
                let name = key.get(XATTR.len()..).unwrap_or_default();
                let name = std::str::from_utf8(name).map_err(|_| "an extended attribute whose name is not UTF-8")?;
                extension.xattrs.insert(name.to_owned(), value.to_vec());
            }
            _ if key.starts_with(b"GNU.sparse.") => return Err("a sparse file in PAX format"),
            _ => {}
        }
        bytes = rest;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing, clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn names(bytes: &[u8]) -> Result<Vec<(String, EntryKind, u64)>, TarError> {
        let mut reader = TarReader::new(Stream(bytes));
        let mut names = Vec::new();
        while let Some(header) = reader.next_entry()? {
            names.push((String::from_utf8_lossy(&header.name).into_owned(), header.kind, header.size));
        }
        Ok(names)
    }

    fn gnu(path: &str, link: Option<&str>, data: &[u8]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        match link {
            Some(link) => {
                header.set_entry_type(tar::EntryType::Symlink);
                builder.append_link(&mut header, path, link).unwrap();
            }
            None => builder.append_data(&mut header, path, data).unwrap(),
        }
        builder.into_inner().unwrap()
    }

    #[test]
    fn numbers_are_octal_or_base_256() {
        for (field, expected) in [
            (&b"0000644\0"[..], Some(0o644)),
            (b"   644 \0", Some(0o644)),
            (b"\0\0\0\0\0\0\0\0", Some(0)),
            (b"00000008", None),
            (b"+0000001", None),
            (b"-0000001", None),
            (b"\x80\0\0\0\0\0\0\0\0\0\x01\x02", Some(258)),
            (b"\x80\xff\0\0\0\0\0\0\0\0\0\0", None),
            (b"\xff\xff\xff\xff\xff\xff\xff\xff", None),
        ] {
            assert_eq!(number(field), expected, "{field:?}");
        }
    }

    #[test]
    fn long_names_of_gnu_are_read() {
        let long = "l".repeat(300);
        assert_eq!(names(&gnu(&long, None, b"abc")).unwrap(), [(long.clone(), EntryKind::File, 3)]);
        let bytes = gnu("a", Some(&long), b"");
        let mut reader = TarReader::new(Stream(bytes.as_slice()));
        let header = reader.next_entry().unwrap().unwrap();
        assert_eq!((header.kind, header.target.len()), (EntryKind::Symlink, 300));
    }

    #[test]
    fn damage_is_named_with_its_offset() {
        let good = [gnu("a", None, &[7; 600])[..2048 - 512].to_vec(), gnu("b", None, b"")].concat();
        assert_eq!(names(&good).unwrap().len(), 2);
        let change = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            bytes
        };
        for (bytes, expected) in [
            (change(3, 1), "Damaged { offset: 0, problem: \"the checksum of a header is wrong\" }"),
            (change(150, b'z'), "Damaged { offset: 0, problem: \"no tar header\" }"),
            (change(1536, 1), "Damaged { offset: 1536, problem: \"the checksum of a header is wrong\" }"),
            (good[..700].to_vec(), "Cut { offset: 512 }"),
            (good[..1600].to_vec(), "Cut { offset: 1536 }"),
            ([vec![0; 512], good.clone()].concat(), "Damaged { offset: 0, problem: \"a zero block in the middle\" }"),
        ] {
            assert_eq!(format!("{:?}", names(&bytes).unwrap_err()), expected);
        }
    }

    #[test]
    fn a_tar_that_ends_with_its_data_is_whole_and_has_no_end_mark() {
        let whole = gnu("a", None, &[7; 600]);
        for (length, expected) in
            [(512 + 600, Some(false)), (512 + 599, None), (512 + 601, None), (512 + 1024, Some(false))]
        {
            let bytes = &whole[..length];
            // Whether the data was read makes no difference.
            for read in [false, true] {
                let mut reader = TarReader::new(Stream(bytes));
                let header = reader.next_entry().unwrap().unwrap();
                if read {
                    let _ = io::copy(&mut reader.data(&header), &mut io::sink());
                }
                let ended = matches!(reader.next_entry(), Ok(None));
                assert_eq!(ended.then(|| reader.end_marked()), expected, "{length} {read}");
            }
        }
    }

    #[test]
    fn what_readers_disagree_on_is_refused() {
        let entry = |kind: u8, name: &str, data: &[u8]| {
            let mut header = tar::Header::new_ustar();
            header.set_path(name).unwrap();
            header.set_mode(0o644);
            header.set_size(data.len() as u64);
            header.set_entry_type(tar::EntryType::new(kind));
            header.set_cksum();
            let mut bytes = header.as_bytes().to_vec();
            bytes.extend_from_slice(data);
            bytes.resize(bytes.len().next_multiple_of(512), 0);
            bytes
        };
        let file = entry(b'0', "a", b"x");
        for (bytes, problem) in [
            (entry(b'S', "a", b"x"), "sparse"),
            (entry(b'5', "a", b"x"), "data behind it"),
            (entry(b'1', "a", b"x"), "data behind it"),
            ([entry(b'g', "g", b"12 path=abc\n"), file.clone()].concat(), "global header"),
            ([entry(b'x', "x", b"22 GNU.sparse.major=1\n"), file.clone()].concat(), "sparse"),
            ([entry(b'x', "x", b"99 path=abc\n"), file.clone()].concat(), "no list"),
            ([entry(b'x', "x", b"path=abc\n"), file.clone()].concat(), "no list"),
            ([entry(b'x', "x", b"11 size=-1\n"), file.clone()].concat(), "no number"),
            (entry(b'x', "x", b"12 path=abc\n"), "belongs to no entry"),
        ] {
            let error = format!("{:?}", names(&bytes).unwrap_err());
            assert!(error.contains(problem), "{error}");
        }
        let labelled = entry(b'x', "x", b"38 SCHILY.xattr.security.selinux=a:b\0\n");
        let bytes = [labelled, file.clone(), file.clone()].concat();
        let mut reader = TarReader::new(Stream(bytes.as_slice()));
        let xattrs = reader.next_entry().unwrap().unwrap().xattrs;
        assert_eq!(xattrs, BTreeMap::from([("security.selinux".to_owned(), b"a:b\0".to_vec())]));
        assert!(reader.next_entry().unwrap().unwrap().xattrs.is_empty(), "an extension is for one entry");
        let taken_back = [entry(b'x', "x", b"12 path=abc\n8 path=\n"), file].concat();
        assert_eq!(names(&taken_back).unwrap()[0].0, "a");
    }
}
