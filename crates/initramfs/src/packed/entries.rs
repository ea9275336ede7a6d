//! The entries of one stream: plain bytes of the file, or what a decoder gives.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::io::{self, BufRead, Read};

use imgcore::Finding;

use super::read::{Limits, Segment};
use crate::{
    cpio::{HEADER, Header, Magic, padding},
    rules,
};

/// The receiver of entries.
pub(super) type Sink<'a> = dyn FnMut(&Header, &mut dyn Read) -> io::Result<()> + 'a;

/// Why a stream was left.
pub(super) enum Failure {
    /// The bytes did not come.
    Input(io::Error),
    /// The bytes are wrong.
    Found(Box<Finding>),
    /// The receiver wants no more.
    Sink(io::Error),
}

impl Failure {
    fn found(code: &'static str, message: String) -> Self {
        Self::Found(Box::new(rules::finding(code, message)))
    }
}

/// What is left of the limits, over all parts of the file.
pub(super) struct Budget<'a> {
    pub limits: &'a Limits,
    pub unpacked: u64,
    pub entries: u64,
}

/// A stream with its offset, which stops at the limit.
pub(super) struct Stream<'a, 'b> {
    input: &'a mut dyn BufRead,
    /// Offset of the next byte: in the file, or in what is unpacked.
    at: u64,
    budget: &'a mut Budget<'b>,
}

/// Where a stream of entries ended without fault.
#[derive(PartialEq, Eq)]
pub(super) enum Ended {
    /// At its end.
    Input,
    /// Behind an end mark, or in front of something that is no header: in a file that is where another part begins.
    Part,
}

impl<'a, 'b> Stream<'a, 'b> {
    pub(super) fn new(input: &'a mut dyn BufRead, at: u64, budget: &'a mut Budget<'b>) -> Self {
        Self { input, at, budget }
    }

    fn take(&mut self, buffer: &mut [u8]) -> Result<usize, Failure> {
        loop {
            match self.input.read(buffer) {
                Ok(count) => {
                    self.at = self.at.saturating_add(count as u64);
                    return self.spend(count as u64).map(|()| count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Failure::Input(error)),
            }
        }
    }

    fn spend(&mut self, count: u64) -> Result<(), Failure> {
        let Some(left) = self.budget.unpacked.checked_sub(count) else {
            let limit = self.budget.limits.unpacked;
            return Err(Failure::found(rules::INI_BOMB, format!("more than {limit} bytes are unpacked")));
        };
        self.budget.unpacked = left;
        Ok(())
    }

    fn exact(&mut self, mut buffer: &mut [u8], what: &str) -> Result<(), Failure> {
        while !buffer.is_empty() {
            let count = self.take(buffer)?;
            if count == 0 {
                return Err(self.cut(what));
            }
            buffer = buffer.get_mut(count..).unwrap_or_default();
        }
        Ok(())
    }

    fn skip(&mut self, mut count: u64, what: &str) -> Result<(), Failure> {
        let mut buffer = [0; 4096];
        while count > 0 {
            let part = usize::try_from(count).unwrap_or(usize::MAX).min(buffer.len());
            self.exact(buffer.get_mut(..part).unwrap_or_default(), what)?;
            count = count.saturating_sub(part as u64);
        }
        Ok(())
    }

    fn cut(&self, what: &str) -> Failure {
        Failure::found(rules::INI_CUT, format!("the archive ends at byte {}, inside {what}", self.at))
    }

    /// Skips zeros and says which byte comes then.
    pub(super) fn next_byte(&mut self) -> Result<Option<u8>, Failure> {
        loop {
            let (zeros, next) = match self.input.fill_buf() {
                Ok([]) => return Ok(None),
                Ok(bytes) => {
                    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
                    (zeros, bytes.get(zeros).copied())
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Failure::Input(error)),
            };
            self.input.consume(zeros);
            self.at = self.at.saturating_add(zeros as u64);
            self.spend(zeros as u64)?;
            if next.is_some() {
                return Ok(next);
            }
        }
    }

    /// Whether a header may begin here.
    pub(super) fn aligned(&self) -> bool {
        self.at.is_multiple_of(4)
    }

    /// Offset of the next byte.
    pub(super) fn position(&self) -> u64 {
        self.at
    }

    /// Hands every entry up to an end mark to the receiver.
    pub(super) fn entries(&mut self, segment: &mut Segment, sink: &mut Sink<'_>) -> Result<Ended, Failure> {
        loop {
            match self.next_byte()? {
                None => return Ok(Ended::Input),
                Some(b'0') if self.aligned() => {}
                Some(_) => return Ok(Ended::Part),
            }
            let header = self.header()?;
            if header.is_trailer() {
                self.skip(u64::from(header.size), "the end mark")?;
                return Ok(Ended::Part);
            }
            let Some(left) = self.budget.entries.checked_sub(1) else {
                let limit = self.budget.limits.entries;
                return Err(Failure::found(rules::INI_BOMB, format!("there are more than {limit} entries")));
            };
            self.budget.entries = left;
            segment.entries = segment.entries.saturating_add(1);
            self.data(&header, sink)?;
        }
    }

    fn header(&mut self) -> Result<Header, Failure> {
        let start = self.at;
        let mut bytes = [0; HEADER];
        self.exact(&mut bytes, "a header")?;
        let (mut header, name_size) = Header::decode(&bytes).map_err(|problem| {
            Failure::found(rules::INI_HEADER, format!("the header at byte {start} is none: {problem}"))
        })?;
        let limit = self.budget.limits.name;
        let bad_name = |problem: String| {
            Failure::found(rules::INI_NAME, format!("the name of the entry at byte {start} {problem}"))
        };
        let size = usize::try_from(name_size).unwrap_or(usize::MAX);
        if size == 0 || size > limit {
            return Err(bad_name(format!("has {size} bytes with its NUL, expected 1 to {limit}")));
        }
        let mut name = vec![0; size];
        self.exact(&mut name, "a name")?;
        self.skip(padding((HEADER as u64).saturating_add(u64::from(name_size)), 4), "the padding of a name")?;
        if name.pop() != Some(0) {
            return Err(bad_name("has no NUL at its end".to_owned()));
        }
        if name.contains(&0) {
            return Err(bad_name("holds a NUL".to_owned()));
        }
        header.name = name;
        Ok(header)
    }

    fn data(&mut self, header: &Header, sink: &mut Sink<'_>) -> Result<(), Failure> {
        let size = u64::from(header.size);
        let mut data = Data { stream: self, left: size, sum: 0, failure: None };
        let taken = sink(header, &mut data);
        if let Some(failure) = data.failure.take() {
            return Err(failure);
        }
        taken.map_err(Failure::Sink)?;
        let mut rest = vec![0; 16 << 10];
        while data.left > 0 {
            data.next(&mut rest)?;
        }
        let sum = data.sum;
        if header.magic == Magic::Crc && header.is_file() && sum != header.check {
            let (path, check) = (header.path(), header.check);
            let message = format!("the bytes of {path:?} have the sum {sum:#x}, the header says {check:#x}");
            return Err(Failure::found(rules::INI_SUM, message));
        }
        // An archive may be cut behind its last byte of data, as the kernel's reader lets it.
        let padding = padding(size, 4);
        if padding > 0 && self.next_is_there()? {
            self.skip(padding, "the padding of a file")?;
        }
        Ok(())
    }

    fn next_is_there(&mut self) -> Result<bool, Failure> {
        self.input.fill_buf().map(|bytes| !bytes.is_empty()).map_err(Failure::Input)
    }
}

/// The data of one entry.
struct Data<'s, 'a, 'b> {
    stream: &'s mut Stream<'a, 'b>,
    left: u64,
    /// Sum of the bytes that came.
    sum: u32,
    /// Why nothing comes any more; the receiver's error is only its echo.
    failure: Option<Failure>,
}

impl Data<'_, '_, '_> {
    fn next(&mut self, buffer: &mut [u8]) -> Result<usize, Failure> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let part = buffer.get_mut(..most).unwrap_or_default();
        if part.is_empty() {
            return Ok(0);
        }
        let count = self.stream.take(part)?;
        if count == 0 {
            return Err(self.stream.cut("the data of a file"));
        }
        self.left = self.left.saturating_sub(count as u64);
        let bytes = part.get(..count).unwrap_or_default();
        self.sum = bytes.iter().fold(self.sum, |sum, byte| sum.wrapping_add(u32::from(*byte)));
        Ok(count)
    }
}

impl Read for Data<'_, '_, '_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.failure.is_some() {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        self.next(buffer).map_err(|failure| {
            let error = match &failure {
                Failure::Input(error) => io::Error::new(error.kind(), error.to_string()),
                Failure::Found(finding) => io::Error::new(io::ErrorKind::InvalidData, finding.message.clone()),
                Failure::Sink(_) => io::Error::from(io::ErrorKind::Other),
            };
            self.failure = Some(failure);
            error
        })
    }
}
