//! Bytes whose digest is not known before they are all there: a file out of an image or an archive on its way into the
//! store.

use std::io::{self, Write};

use fs_err as fs;
use imgcore::{Digest, HashingWriter};

use crate::{files, store::Store};

/// A blob that is being written. Dropping it forgets it.
#[derive(Debug)]
pub struct Incoming<'a> {
    store: &'a Store,
    writer: HashingWriter<io::BufWriter<tempfile::NamedTempFile>>,
}

impl Store {
    /// A new blob, whose bytes are written and whose digest comes of them.
    ///
    /// # Errors
    /// The folder is in the error.
    pub fn incoming(&self) -> io::Result<Incoming<'_>> {
        let folder = self.partial_path("");
        fs::create_dir_all(&folder)?;
        let file = io::BufWriter::with_capacity(1 << 17, files::temporary_in(&folder)?);
        Ok(Incoming { store: self, writer: HashingWriter::new(file) })
    }
}

impl Write for Incoming<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

impl Incoming<'_> {
    /// Gives the blob its name. Returns its digest and its size.
    ///
    /// # Errors
    /// The path is in the error.
    pub fn commit(self) -> io::Result<(Digest, u64)> {
        let (file, digest, size) = self.writer.finish();
        let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        let path = self.store.blob_path(digest);
        let folder = path.parent().unwrap_or(&path);
        fs::create_dir_all(folder)?;
        file.as_file().sync_all().map_err(|error| files::named(&path, &error))?;
        let _held = self.store.hold_blob(digest)?;
        file.persist(&path).map_err(|error| files::named(&path, &error.error))?;
        files::sync_folder(folder)?;
        Ok((digest, size))
    }

    /// The bytes as a file of their own, which is removed when it is dropped; they do not enter the store.
    ///
    /// # Errors
    /// The path is in the error.
    pub(crate) fn into_temporary(self) -> io::Result<tempfile::TempPath> {
        let (file, ..) = self.writer.finish();
        Ok(file.into_inner().map_err(io::IntoInnerError::into_error)?.into_temp_path())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_get_the_name_of_their_digest() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path()).unwrap();
        let mut incoming = store.incoming().unwrap();
        incoming.write_all(b"ker").unwrap();
        incoming.write_all(b"nel").unwrap();
        assert_eq!(incoming.commit().unwrap(), (Digest::of(b"kernel"), 6));
        assert!(store.blob("kernel", Digest::of(b"kernel")).unwrap().is_some());
        drop(store.incoming().unwrap());
        assert_eq!(store.stats().unwrap().blobs, 1);
    }
}
