//! Data that is read at an offset instead of held.

use std::{fmt, io, ops::Range, sync::Arc};

use crate::Digest;

/// Bytes that can be read at any offset: a file, a device, a slice, the decoded form of a compressed file.
///
/// The reader has no position, so one value serves several threads.
pub trait ReadAt: Send + Sync {
    /// Size in bytes.
    fn size(&self) -> u64;

    /// Reads into `buffer` from `offset` and returns the count of bytes, 0 only at or behind the end or for an
    /// empty buffer.
    ///
    /// # Errors
    /// Whatever the medium answers.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Fills `buffer` from `offset`.
    ///
    /// # Errors
    /// `UnexpectedEof` when the data ends before the buffer is full.
    fn read_exact_at(&self, mut offset: u64, mut buffer: &mut [u8]) -> io::Result<()> {
        while !buffer.is_empty() {
            match self.read_at(offset, buffer) {
                Ok(0) => {
                    return Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        format!("data ends at byte {} but {} more were wanted at {offset}", self.size(), buffer.len()),
                    ));
                }
                Ok(count) => {
                    buffer = buffer.get_mut(count..).unwrap_or_default();
                    offset = offset.saturating_add(count as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl ReadAt for [u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..count), rest.get(..count)) {
            to.copy_from_slice(from);
        }
        Ok(count)
    }
}

impl ReadAt for Vec<u8> {
    fn size(&self) -> u64 {
        self.as_slice().size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.as_slice().read_at(offset, buffer)
    }
}

impl<T: ReadAt + ?Sized> ReadAt for Arc<T> {
    fn size(&self) -> u64 {
        (**self).size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        (**self).read_at(offset, buffer)
    }
}

impl<T: ReadAt + ?Sized> ReadAt for &T {
    fn size(&self) -> u64 {
        (**self).size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        (**self).read_at(offset, buffer)
    }
}

/// `Read` and `Seek` over a [`ReadAt`].
#[derive(Debug, Clone)]
pub struct ReadAtCursor<R> {
    inner: R,
    position: u64,
}

impl<R: ReadAt> ReadAtCursor<R> {
    /// A cursor at byte 0.
    pub fn new(inner: R) -> Self {
        Self { inner, position: 0 }
    }
}

impl<R: ReadAt> io::Read for ReadAtCursor<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read_at(self.position, buffer)?;
        self.position = self.position.saturating_add(count as u64);
        Ok(count)
    }
}

impl<R: ReadAt> io::Seek for ReadAtCursor<R> {
    fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
        let target = match to {
            io::SeekFrom::Start(offset) => Some(offset),
            io::SeekFrom::Current(delta) => self.position.checked_add_signed(delta),
            io::SeekFrom::End(delta) => self.inner.size().checked_add_signed(delta),
        };
        self.position = target.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "seek before byte 0"))?;
        Ok(self.position)
    }
}

/// A named, immutable piece of data of known size: a reference, cheap to clone, never the bytes of a large file.
#[derive(Clone)]
pub struct Blob {
    label: Arc<str>,
    digest: Option<Digest>,
    data: Arc<dyn ReadAt>,
    start: u64,
    size: u64,
}

impl Blob {
    /// Wraps a reader. `digest` is the SHA-256 of the whole data, if it is known.
    pub fn new(label: impl Into<Arc<str>>, data: Arc<dyn ReadAt>, digest: Option<Digest>) -> Self {
        let size = data.size();
        Self { label: label.into(), digest, data, start: 0, size }
    }

    /// Wraps bytes in memory and computes their digest.
    pub fn from_bytes(label: impl Into<Arc<str>>, bytes: impl Into<Vec<u8>>) -> Self {
        let bytes: Vec<u8> = bytes.into();
        let digest = Digest::of(&bytes);
        Self::new(label, Arc::new(bytes), Some(digest))
    }

    /// Several pieces as one, in their order. Its digest is not known.
    pub fn joined(label: impl Into<Arc<str>>, parts: impl IntoIterator<Item = Self>) -> Self {
        let mut end = 0_u64;
        let parts = parts.into_iter().map(|part| {
            end = end.saturating_add(part.size);
            (end, part)
        });
        let parts: Vec<_> = parts.collect();
        Self::new(label, Arc::new(Joined(parts)), None)
    }

    /// What the user calls this data: a role or a file name.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The same data under another name.
    #[must_use]
    pub fn with_label(mut self, label: impl Into<Arc<str>>) -> Self {
        self.label = label.into();
        self
    }

    /// SHA-256 of the data, if known. A [`slice`](Self::slice) does not know its digest.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// SHA-256 of the data, read if it is not known.
    ///
    /// # Errors
    /// Whatever the medium answers.
    pub fn compute_digest(&self) -> io::Result<Digest> {
        if let Some(digest) = self.digest {
            return Ok(digest);
        }
        let mut hasher = Hasher::default();
        io::copy(&mut ReadAtCursor::new(self), &mut hasher)?;
        Ok(hasher.0.finish())
    }

    /// The part `range` of this data, clamped to its end.
    #[must_use]
    pub fn slice(&self, range: Range<u64>) -> Self {
        let from = range.start.min(self.size);
        let to = range.end.clamp(from, self.size);
        if from == 0 && to == self.size {
            return self.clone();
        }
        Self { digest: None, start: self.start.saturating_add(from), size: to.saturating_sub(from), ..self.clone() }
    }

    /// The bytes, refused above `limit` bytes so that hostile input cannot fill the memory.
    ///
    /// # Errors
    /// `FileTooLarge` above the limit, else whatever the medium answers.
    pub fn read_all(&self, limit: u64) -> io::Result<Vec<u8>> {
        let size = usize::try_from(self.size).ok().filter(|_| self.size <= limit).ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("{}: {} bytes, at most {limit} are read into memory", self.label, self.size),
            )
        })?;
        let mut bytes = vec![0; size];
        self.read_exact_at(0, &mut bytes)?;
        Ok(bytes)
    }
}

#[derive(Default)]
struct Hasher(crate::Hasher);

impl io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl ReadAt for Blob {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.size.saturating_sub(offset);
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        self.data.read_at(self.start.saturating_add(offset), buffer.get_mut(..count).unwrap_or_default())
    }
}

/// Pieces one behind the other, each with the byte after its last.
struct Joined(Vec<(u64, Blob)>);

impl ReadAt for Joined {
    fn size(&self) -> u64 {
        self.0.last().map_or(0, |(end, _)| *end)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let first = self.0.partition_point(|(end, _)| *end <= offset);
        let Some((end, part)) = self.0.get(first) else { return Ok(0) };
        part.read_at(offset.saturating_sub(end.saturating_sub(part.size)), buffer)
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blob({}, {} bytes", self.label, self.size)?;
        if let Some(digest) = self.digest {
            write!(f, ", {digest}")?;
        }
        f.write_str(")")
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Seek as _};

    use super::*;

    #[test]
    fn joined_pieces_read_as_one() {
        let part = |text: &str| Blob::from_bytes("part", text);
        let whole = Blob::joined("whole", [part("ab"), part(""), part("cde").slice(1..3), part("f")]);
        assert_eq!(whole.read_all(9).unwrap(), b"abdef");
        assert_eq!(whole.slice(1..4).read_all(9).unwrap(), b"bde");
        assert_eq!(whole.compute_digest().unwrap(), Digest::of(b"abdef"));
        assert_eq!(whole.read_at(5, &mut [0; 4]).unwrap(), 0);
        assert_eq!(Blob::joined("none", []).size(), 0);
    }

    #[test]
    fn slices_stay_inside_and_nest() {
        let blob = Blob::from_bytes("b", (0..100).collect::<Vec<u8>>());
        let inner = blob.slice(10..200).slice(5..8);
        assert_eq!((inner.size(), inner.digest()), (3, None));
        assert_eq!(inner.read_all(3).ok(), Some(vec![15, 16, 17]));
        assert_eq!(inner.read_all(2).map_err(|error| error.kind()).err(), Some(io::ErrorKind::FileTooLarge));
        assert_eq!(inner.compute_digest().ok(), Some(Digest::of(&[15, 16, 17])));
        assert_eq!(blob.slice(0..100).digest(), blob.digest());
    }

    #[test]
    fn a_cursor_reads_and_seeks() {
        let mut cursor = ReadAtCursor::new(vec![1_u8, 2, 3, 4]);
        let mut two = [0; 2];
        cursor.seek(io::SeekFrom::End(-3)).expect("inside");
        cursor.read_exact(&mut two).expect("inside");
        assert_eq!(two, [2, 3]);
        assert!(cursor.seek(io::SeekFrom::Current(-9)).is_err());
        assert!([0_u8; 4][..].read_exact_at(3, &mut two).is_err());
    }
}
