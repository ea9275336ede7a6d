//! Blobs on their way into the store: what arrived stays when a run is killed, and nothing has its final name before its
//! digest was seen.
//!
//! ```text
//! v1/partial/abcd…          the beginning of a blob, by its SHA-256
//! v1/partial/from-abcd…     the beginning of a download whose digest nobody knows yet, by the SHA-256 of its address
//! v1/partial/from-abcd….tag what names the version that it is the beginning of, as its server said,
//!                           behind the SHA-256 of the address that was asked
//! v1/locks/KEY.lock         held by the run that is fetching it
//! ```

use std::{
    io::{self, Read as _, Seek as _, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use fs_err as fs;
use imgcore::{Digest, Hasher, Progress};

use crate::{
    error::{Error, Result},
    files,
    store::{Lock, Store},
};

/// How long a run that waits for another one sleeps between looks.
const LOOK: Duration = Duration::from_millis(50);

/// A blob that is arriving. The lock of its digest is held until this is dropped; a dropped one leaves its bytes for the
/// next run.
#[derive(Debug)]
pub struct Partial {
    file: fs::File,
    path: PathBuf,
    digest: Option<Digest>,
    store: Store,
    size: u64,
    hasher: Hasher,
    /// Of the address that the next bytes come from.
    address: Option<Digest>,
    _lock: Lock,
}

impl Store {
    /// Opens the place where a blob arrives, with what an earlier run left there; `None` if the blob is there already, whole
    /// and checked. Waits while another process fetches the same blob.
    ///
    /// # Errors
    /// [`Exit::Io`](crate::Exit::Io) with the path, [`Exit::Cancelled`](crate::Exit::Cancelled) while waiting.
    pub fn receive(&self, digest: Digest, progress: &dyn Progress) -> Result<Option<Partial>> {
        if self.blob("blob", digest)?.is_some() {
            return Ok(None);
        }
        let lock = self.lock_patiently(&format!("partial {}", digest.hex()), progress)?;
        // Whoever held the lock may have fetched it.
        if self.blob("blob", digest)?.is_some() {
            return Ok(None);
        }
        self.open_partial(self.partial_path(&digest.hex()), Some(digest), lock, progress).map(Some)
    }

    /// Opens the place where a download from `address` arrives that nobody knows the digest of, with what an earlier run
    /// left there. Waits while another process fetches from there.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub fn receive_unknown(&self, address: &str, progress: &dyn Progress) -> Result<Partial> {
        let name = format!("from-{}", Digest::of(address.as_bytes()).hex());
        let lock = self.lock_patiently(&format!("partial {name}"), progress)?;
        let path = self.partial_path(&name);
        self.open_partial(path, None, lock, progress)
    }

    fn open_partial(
        &self,
        path: PathBuf,
        digest: Option<Digest>,
        lock: Lock,
        progress: &dyn Progress,
    ) -> Result<Partial> {
        fs::create_dir_all(path.parent().unwrap_or(&path))?;
        let mut file = fs::OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path)?;
        let (mut hasher, mut size, mut buffer) = (Hasher::new(), 0_u64, vec![0; 1 << 17]);
        loop {
            let count = file.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            if progress.cancelled() {
                return Err(Error::cancelled());
            }
            hasher.update(buffer.get(..count).unwrap_or_default());
            size = size.saturating_add(count as u64);
        }
        Ok(Partial { file, path, digest, store: self.clone(), size, hasher, address: None, _lock: lock })
    }

    /// As [`lock`](Self::lock), but hears Ctrl-C while it waits.
    ///
    /// # Errors
    /// [`Exit::Io`](crate::Exit::Io) with the path, [`Exit::Cancelled`](crate::Exit::Cancelled).
    pub fn lock_patiently(&self, name: &str, progress: &dyn Progress) -> Result<Lock> {
        loop {
            if let Some(lock) = self.try_lock(name)? {
                return Ok(lock);
            }
            if progress.cancelled() {
                return Err(Error::cancelled());
            }
            std::thread::sleep(LOOK);
        }
    }
}

impl Partial {
    /// Count of bytes that are there.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The hash of the bytes that are there.
    pub fn hasher(&self) -> &Hasher {
        &self.hasher
    }

    /// What names the version that the bytes are the beginning of, if `address` gave them and its server said that. Two
    /// servers may give one name to different bytes.
    pub fn tag(&self, address: &str) -> Option<String> {
        let text = fs::read_to_string(self.tag_path()).ok().filter(|_| self.size > 0)?;
        let (from, tag) = text.split_once('\n')?;
        (from == Digest::of(address.as_bytes()).to_string()).then(|| tag.to_owned())
    }

    fn tag_path(&self) -> PathBuf {
        self.path.with_extension("tag")
    }

    /// Forgets all bytes.
    ///
    /// # Errors
    /// The path is in the error.
    pub fn restart(&mut self) -> io::Result<()> {
        remove_if_there(&self.tag_path())?;
        self.file.file().set_len(0).map_err(|error| files::named(&self.path, &error))?;
        self.file.rewind()?;
        (self.hasher, self.size) = (Hasher::new(), 0);
        Ok(())
    }

    /// Gives the blob its final name, if its bytes are those of its digest, and says the digest. Other bytes are removed.
    ///
    /// # Errors
    /// `InvalidData` for other bytes; the path is in every error.
    pub fn commit(mut self) -> io::Result<Digest> {
        let found = self.hasher.clone().finish();
        if let Some(expected) = self.digest.filter(|expected| *expected != found) {
            self.restart()?;
            let text = format!("{expected} arrived with digest {found}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        self.file.sync_all()?;
        self.store.adopt(&self.path, found)?;
        remove_if_there(&self.tag_path())?;
        Ok(found)
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

impl transfer::Sink for Partial {
    fn restart(&mut self) -> io::Result<()> {
        Self::restart(self)
    }

    fn address(&mut self, address: &transfer::Url) -> io::Result<()> {
        self.address = Some(Digest::of(address.as_str().as_bytes()));
        Ok(())
    }

    fn validator(&mut self, validator: Option<&str>) -> io::Result<()> {
        match (validator, self.address) {
            // A digest proves more than a server's word.
            (Some(tag), Some(address)) if self.digest.is_none() => {
                fs::write(self.tag_path(), format!("{address}\n{tag}"))
            }
            _ => remove_if_there(&self.tag_path()),
        }
    }
}

impl Write for Partial {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.hasher.update(bytes.get(..count).unwrap_or_default());
        self.size = self.size.saturating_add(count as u64);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use imgcore::NoProgress;

    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path()).unwrap();
        (home, store)
    }

    #[test]
    fn a_killed_run_leaves_its_bytes_and_no_blob() {
        let (_home, store) = store();
        let digest = Digest::of(b"u-boot");
        let mut partial = store.receive(digest, &NoProgress).unwrap().unwrap();
        partial.write_all(b"u-b").unwrap();
        drop(partial);
        assert!(store.blob("b", digest).unwrap().is_none());
        let mut partial = store.receive(digest, &NoProgress).unwrap().unwrap();
        assert_eq!((partial.size(), partial.hasher().clone().finish()), (3, Digest::of(b"u-b")));
        partial.write_all(b"oot").unwrap();
        partial.commit().unwrap();
        assert!(store.blob("b", digest).unwrap().is_some());
        assert!(store.receive(digest, &NoProgress).unwrap().is_none());
    }

    #[test]
    fn other_bytes_never_get_the_name() {
        let (_home, store) = store();
        let digest = Digest::of(b"u-boot");
        let mut partial = store.receive(digest, &NoProgress).unwrap().unwrap();
        partial.write_all(b"u-b00t").unwrap();
        assert_eq!(partial.commit().unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert!(store.blob("b", digest).unwrap().is_none());
        assert_eq!(store.receive(digest, &NoProgress).unwrap().unwrap().size(), 0);
    }

    #[test]
    fn the_name_of_a_version_holds_for_the_address_that_gave_it() {
        let (_home, store) = store();
        let mut partial = store.receive_unknown("https://a.org/x", &NoProgress).unwrap();
        let mirror = transfer::Url::parse("https://m.org/x").unwrap();
        transfer::Sink::address(&mut partial, &mirror).unwrap();
        transfer::Sink::validator(&mut partial, Some("\"v1\"")).unwrap();
        partial.write_all(b"u-b").unwrap();
        drop(partial);
        let partial = store.receive_unknown("https://a.org/x", &NoProgress).unwrap();
        assert_eq!(partial.tag(mirror.as_str()).as_deref(), Some("\"v1\""));
        assert_eq!(partial.tag("https://a.org/x"), None);
    }

    #[test]
    fn two_that_want_the_same_wait_for_each_other() {
        let (_home, store) = store();
        let digest = Digest::of(b"u-boot");
        let mut first = store.receive(digest, &NoProgress).unwrap().unwrap();
        let other = store.clone();
        let second = std::thread::spawn(move || other.receive(digest, &NoProgress).unwrap().is_none());
        std::thread::sleep(Duration::from_millis(120));
        first.write_all(b"u-boot").unwrap();
        first.commit().unwrap();
        assert!(second.join().unwrap());
    }
}
