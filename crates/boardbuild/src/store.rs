//! One folder that makes repeated work unnecessary, and that is safe to delete.
//!
//! ```text
//! CACHEDIR.TAG
//! v1/blobs/sha256/ab/abcd…            bytes by their SHA-256
//! v1/actions/NAME-VERSION/KEY.json    what an action gave, by the SHA-256 of what went into it
//! v1/locks/KEY.lock                   one per key or output folder
//! v1/partial/abcd…                    blobs that are arriving, see [`crate::Partial`]
//! v1/uploads/KEY.json                 uploads that were begun at a registry; private to the user
//! ```

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use fs_err as fs;
use imgcore::{Blob, Digest, Finding, HashingWriter};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    error::{Error, Exit, Result},
    files::{self, Stamp},
};

/// Version of the folder's shape; another shape is another folder.
const SHAPE: &str = "v1";

/// The signature that backup programs know a cache folder by (Cache Directory Tagging Specification).
const TAG: &str = "Signature: 8a477f597d28d172789f06886806bc55\n# This folder holds the cache of talos-rk. It is safe to \
                   delete.\n";

/// The store.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

/// How much a store holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Count of blobs.
    pub blobs: u64,
    /// Bytes in blobs.
    pub blob_bytes: u64,
    /// Count of action records.
    pub actions: u64,
    /// Bytes in action records.
    pub action_bytes: u64,
    /// Count of blobs that arrived in part.
    pub partial: u64,
    /// Bytes of them.
    pub partial_bytes: u64,
    /// Count of temporary files: of running processes, and what killed ones left.
    pub temporary: u64,
    /// Bytes of them.
    pub temporary_bytes: u64,
    /// Count of uploads that were begun.
    pub uploads: u64,
}

/// A held lock; it is free again when this is dropped.
#[derive(Debug)]
pub struct Lock {
    _file: fs::File,
}

#[derive(Serialize, serde::Deserialize)]
struct FileRecord {
    path: String,
    stamp: Stamp,
    sha256: Digest,
}

impl Store {
    /// Opens the store in `root`, making it if it is missing.
    ///
    /// # Errors
    /// [`Exit::Io`](crate::Exit::Io) with the path.
    pub fn open(root: &Path) -> Result<Self> {
        let store = Self { root: root.to_path_buf() };
        let tag = root.join("CACHEDIR.TAG");
        if !tag.exists() {
            for folder in ["blobs/sha256", "actions", "locks"] {
                fs::create_dir_all(root.join(SHAPE).join(folder))?;
            }
            publish(&tag, TAG.as_bytes())?;
        }
        Ok(store)
    }

    /// The folder that the platform keeps caches in: `XDG_CACHE_HOME` or `~/.cache`, `~/Library/Caches`,
    /// `%LOCALAPPDATA%`. `None` when the environment names no home.
    pub fn default_root(variable: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
        let home = || variable("HOME").map(PathBuf::from);
        let base = if cfg!(windows) {
            variable("LOCALAPPDATA").map(PathBuf::from)
        } else if cfg!(target_os = "macos") {
            home().map(|home| home.join("Library/Caches"))
        } else {
            variable("XDG_CACHE_HOME")
                .map(PathBuf::from)
                .filter(|path| path.is_absolute())
                .or_else(|| home().map(|home| home.join(".cache")))
        };
        base.map(|base| base.join("talos-rk"))
    }

    /// The store's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn shape(&self) -> PathBuf {
        self.root.join(SHAPE)
    }

    pub(crate) fn partial_path(&self, name: &str) -> PathBuf {
        self.shape().join("partial").join(name)
    }

    /// Gives a finished file of this store its final name: that of its bytes' digest, which the caller has seen.
    pub(crate) fn adopt(&self, file: &Path, digest: Digest) -> io::Result<()> {
        let target = self.blob_path(digest);
        let folder = target.parent().unwrap_or(&target);
        fs::create_dir_all(folder)?;
        let _held = self.hold_blob(digest)?;
        fs::rename(file, &target)?;
        files::sync_folder(folder)
    }

    pub(crate) fn upload_path(&self, key: Digest) -> PathBuf {
        self.shape().join("uploads").join(format!("{}.json", key.hex()))
    }

    pub(crate) fn blob_path(&self, digest: Digest) -> PathBuf {
        let hex = digest.hex();
        let shard = hex.get(..2).unwrap_or_default();
        self.shape().join("blobs/sha256").join(shard).join(&hex)
    }

    fn action_path(&self, action: &str, key: Digest) -> PathBuf {
        self.shape().join("actions").join(action).join(format!("{}.json", key.hex()))
    }

    /// Waits for and takes the lock of `name`.
    ///
    /// # Errors
    /// [`Exit::Io`](crate::Exit::Io) with the path.
    pub fn lock(&self, name: &str) -> Result<Lock> {
        let (path, file) = self.lock_file(name)?;
        file.file().lock().map_err(|error| Error::io(&path, &error))?;
        Ok(Lock { _file: file })
    }

    /// Takes the lock of `name` if nobody holds it.
    ///
    /// # Errors
    /// [`Exit::Io`](crate::Exit::Io) with the path.
    pub fn try_lock(&self, name: &str) -> Result<Option<Lock>> {
        let (path, file) = self.lock_file(name)?;
        match file.file().try_lock() {
            Ok(()) => Ok(Some(Lock { _file: file })),
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(error)) => Err(Error::io(&path, &error)),
        }
    }

    /// The lock under which the file of a blob is put in place or taken away, so that a good file that another process
    /// puts there is never taken for the damaged one. One lock serves a shard: there are 256 of them, not one per blob.
    pub(crate) fn hold_blob(&self, digest: Digest) -> io::Result<Lock> {
        let hex = digest.hex();
        let (path, file) = self.open_lock(&format!("blobs {}", hex.get(..2).unwrap_or_default()))?;
        file.file().lock().map_err(|error| files::named(&path, &error))?;
        Ok(Lock { _file: file })
    }

    fn lock_file(&self, name: &str) -> Result<(PathBuf, fs::File)> {
        Ok(self.open_lock(name)?)
    }

    fn open_lock(&self, name: &str) -> io::Result<(PathBuf, fs::File)> {
        let folder = self.shape().join("locks");
        fs::create_dir_all(&folder)?;
        let path = folder.join(format!("{}.lock", Digest::of(name.as_bytes()).hex()));
        let file = fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
        Ok((path, file))
    }

    /// Puts bytes into the store.
    ///
    /// # Errors
    /// [`Exit::Io`](crate::Exit::Io) with the path.
    pub fn put(&self, bytes: &[u8]) -> Result<Digest> {
        let digest = Digest::of(bytes);
        let path = self.blob_path(digest);
        if !path.exists() {
            let _held = self.hold_blob(digest)?;
            publish(&path, bytes)?;
        }
        Ok(digest)
    }

    /// A blob of the store whose digest has been checked just now, `None` if it is absent. A damaged blob is removed and
    /// counts as absent.
    ///
    /// # Errors
    /// [`Exit::Io`](crate::Exit::Io) with the path.
    pub fn blob(&self, label: &str, digest: Digest) -> Result<Option<Blob>> {
        let path = self.blob_path(digest);
        let Some(unchecked) = if_there(files::open_blob(label, &path, None))? else { return Ok(None) };
        if unchecked.compute_digest()? != digest && self.remove_damaged(&path, digest)? {
            return Ok(None);
        }
        Ok(if_there(files::open_blob(label, &path, Some(digest)))?)
    }

    /// A blob that was seen to arrive. When it is not there any more (another process found it damaged or cleared the
    /// store), `again` brings it once more, and only then its absence is an error.
    ///
    /// # Errors
    /// Those of `again`; [`Exit::Io`](crate::Exit::Io) with the path.
    pub(crate) fn blob_or(&self, label: &str, digest: Digest, again: impl FnOnce() -> Result<()>) -> Result<Blob> {
        if let Some(blob) = self.blob(label, digest)? {
            return Ok(blob);
        }
        again()?;
        self.blob(label, digest)?.ok_or_else(|| self.emptied())
    }

    /// The error for a blob that left the store twice while it was in use.
    pub(crate) fn emptied(&self) -> Error {
        let message = format!("{}: a file left the store twice", self.root.display());
        let finding = Finding::error("IOE001", message).help("let no other program clear the store while a build runs");
        Error::new(Exit::Io, finding)
    }

    /// Removes the file of a blob if its bytes are damaged still, and says whether no good one is there.
    pub(crate) fn remove_damaged(&self, path: &Path, digest: Digest) -> Result<bool> {
        let _held = self.hold_blob(digest)?;
        let Some(blob) = if_there(files::open_blob("blob", path, None))? else { return Ok(true) };
        if blob.compute_digest()? == digest {
            return Ok(false);
        }
        if_there(fs::remove_file(path))?;
        Ok(true)
    }

    /// What an action gave for a key, `None` if it has not been done (or its record cannot be read any more).
    pub fn action<T: DeserializeOwned>(&self, action: &str, key: Digest) -> Option<T> {
        let bytes = fs::read(self.action_path(action, key)).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Records what an action gave.
    ///
    /// # Errors
    /// [`Exit::Io`](crate::Exit::Io) with the path.
    pub fn record(&self, action: &str, key: Digest, value: &impl Serialize) -> Result<()> {
        let bytes = canonical_json(value);
        publish(&self.action_path(action, key), &bytes)?;
        Ok(())
    }

    /// The SHA-256 of a local file, read only if its size, times and inode are not those of last time.
    ///
    /// # Errors
    /// [`Exit::Io`](crate::Exit::Io) with the path.
    pub fn file_digest(&self, path: &Path) -> Result<Digest> {
        let path = std::path::absolute(path).map_err(|error| Error::io(path, &error))?;
        let stamp = Stamp::of(&path)?;
        let name = path.to_string_lossy().into_owned();
        let key = Digest::of(name.as_bytes());
        if let Some(record) = self.action::<FileRecord>("file-1", key)
            && record.path == name
            && record.stamp == stamp
        {
            return Ok(record.sha256);
        }
        let mut writer = HashingWriter::new(io::sink());
        io::copy(&mut fs::File::open(&path)?, &mut writer)?;
        let (_, sha256, _) = writer.finish();
        // A file that changed while it was read has no digest worth remembering.
        if Stamp::of(&path)? == stamp {
            self.record("file-1", key, &FileRecord { path: name, stamp, sha256 })?;
        }
        Ok(sha256)
    }

    /// Remembers the SHA-256 of a file that was written just now.
    ///
    /// # Errors
    /// [`Exit::Io`](crate::Exit::Io) with the path.
    pub(crate) fn know_file(&self, path: &Path, stamp: &Stamp, sha256: Digest) -> Result<()> {
        let path = std::path::absolute(path).map_err(|error| Error::io(path, &error))?;
        let path = path.to_string_lossy().into_owned();
        self.record("file-1", Digest::of(path.as_bytes()), &FileRecord { path, stamp: stamp.clone(), sha256 })
    }

    /// A local file that had these bytes when it was read last, and was not touched since.
    pub(crate) fn file_of(&self, digest: Digest) -> Option<PathBuf> {
        let records = walk(&self.shape().join("actions/file-1")).ok()?;
        let record = |path: PathBuf| serde_json::from_slice::<FileRecord>(&fs::read(path).ok()?).ok();
        records.into_iter().filter_map(record).find_map(|record| {
            let path = PathBuf::from(&record.path);
            let same = record.sha256 == digest && Stamp::of(&path).is_ok_and(|stamp| stamp == record.stamp);
            same.then_some(path)
        })
    }

    /// Counts what is there.
    ///
    /// # Errors
    /// [`Exit::Io`](crate::Exit::Io) with the path.
    pub fn stats(&self) -> Result<Stats> {
        let mut stats = Stats::default();
        let size = |path: &Path| Ok::<_, io::Error>(if_there(fs::metadata(path))?.map_or(0, |metadata| metadata.len()));
        for path in walk(&self.shape().join("blobs"))? {
            stats.blobs += 1;
            stats.blob_bytes += size(&path)?;
        }
        for path in walk(&self.shape().join("actions"))? {
            stats.actions += 1;
            stats.action_bytes += size(&path)?;
        }
        for path in walk(&self.shape().join("partial"))? {
            stats.partial += u64::from(path.extension().is_none());
            stats.partial_bytes += size(&path)?;
        }
        for path in temporaries(&self.shape())? {
            stats.temporary += 1;
            stats.temporary_bytes += size(&path)?;
        }
        stats.uploads = walk(&self.shape().join("uploads"))?.len() as u64;
        Ok(stats)
    }

    /// Reads every blob and removes those whose bytes do not have their name's digest. Returns counts of blobs read and
    /// the paths removed.
    ///
    /// # Errors
    /// [`Exit::Io`](crate::Exit::Io) with the path.
    pub fn verify(&self) -> Result<(u64, Vec<PathBuf>)> {
        let (mut read, mut removed) = (0, Vec::new());
        for path in walk(&self.shape().join("blobs"))? {
            let Some(blob) = if_there(files::open_blob("blob", &path, None))? else { continue };
            read += 1;
            let damaged = match path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok()) {
                Some(named) => blob.compute_digest()? != named && self.remove_damaged(&path, named)?,
                None => if_there(fs::remove_file(&path))?.is_some(),
            };
            if damaged {
                removed.push(path);
            }
        }
        Ok((read, removed))
    }

    /// Removes all blobs, action records and unfinished transfers that no process works on, and temporary files that a
    /// killed run left over an hour ago. Returns the count of files and bytes removed.
    ///
    /// # Errors
    /// [`Exit::Io`](crate::Exit::Io) with the path.
    pub fn collect(&self) -> Result<(u64, u64)> {
        let (mut files, mut bytes) = (0, 0);
        for folder in ["blobs", "actions", "partial", "uploads"] {
            let folder_path = self.shape().join(folder);
            let abandoned = temporaries(&folder_path)?.into_iter().filter(|path| is_abandoned(path));
            for path in walk(&folder_path)?.into_iter().chain(abandoned) {
                // A process that is fetching or pushing this holds its lock, and goes on with the file.
                let name = path.file_stem().unwrap_or_default().to_string_lossy();
                let _held = match folder {
                    "partial" | "uploads" if !files::is_temporary(path.file_name().unwrap_or_default()) => {
                        let Some(lock) = self.try_lock(&format!("{folder} {name}"))? else { continue };
                        Some(lock)
                    }
                    _ => None,
                };
                let Some(metadata) = if_there(fs::metadata(&path))? else { continue };
                if if_there(fs::remove_file(&path))?.is_some() {
                    bytes += metadata.len();
                    files += 1;
                }
            }
        }
        Ok((files, bytes))
    }
}

/// JSON with sorted keys and without white space. What is hashed and what is stored is the same text.
pub fn canonical_json(value: &impl Serialize) -> Vec<u8> {
    // A `Value` keeps its maps sorted. The types serialised here have string keys and finite numbers, so neither step
    // can fail.
    let value = serde_json::to_value(value);
    debug_assert!(value.is_ok(), "{value:?}");
    serde_json::to_vec(&value.unwrap_or_default()).unwrap_or_default()
}

/// `None` for what is not there: another process may have removed it a moment ago.
pub(crate) fn if_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

/// Writes a file so that it appears whole or not at all.
pub(crate) fn publish(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder)?;
    let mut file = files::temporary_in(folder)?;
    file.write_all(bytes).map_err(|error| files::named(path, &error))?;
    file.as_file().sync_all().map_err(|error| files::named(path, &error))?;
    file.persist(path).map_err(|error| files::named(path, &error.error))?;
    files::sync_folder(folder)
}

/// Temporary files live for minutes; a running process may be writing a younger one.
const ABANDONED: std::time::Duration = std::time::Duration::from_hours(1);

fn is_abandoned(path: &Path) -> bool {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified()).ok();
    modified.and_then(|time| time.elapsed().ok()).is_some_and(|age| age > ABANDONED)
}

/// All temporary files below a folder, sorted.
fn temporaries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    walk_for(folder, true)
}

/// All other files below a folder, sorted.
fn walk(folder: &Path) -> io::Result<Vec<PathBuf>> {
    walk_for(folder, false)
}

fn walk_for(folder: &Path, temporary: bool) -> io::Result<Vec<PathBuf>> {
    let (mut open, mut found) = (vec![folder.to_path_buf()], Vec::new());
    while let Some(folder) = open.pop() {
        let Some(entries) = if_there(fs::read_dir(folder))? else { continue };
        for entry in entries {
            let entry = entry?;
            let Some(kind) = if_there(entry.file_type())? else { continue };
            if kind.is_dir() {
                open.push(entry.path());
            } else if files::is_temporary(&entry.file_name()) == temporary {
                found.push(entry.path());
            }
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_blob_is_never_given_out() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path()).unwrap();
        let digest = store.put(b"loader").unwrap();
        assert!(store.blob("b", digest).unwrap().is_some());
        fs::write(store.blob_path(digest), "l0ader").unwrap();
        assert!(store.blob("b", digest).unwrap().is_none());
        assert_eq!(store.stats().unwrap().blobs, 0);
    }

    #[test]
    fn a_good_blob_that_another_process_put_there_stays() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path()).unwrap();
        let digest = store.put(b"loader").unwrap();
        let path = store.blob_path(digest);
        // Another process has hashed damaged bytes, and finds these when it holds the lock.
        assert!(!store.remove_damaged(&path, digest).unwrap());
        assert!(store.blob("b", digest).unwrap().is_some());
        // Many find the same damage at once: none of them fails.
        for _ in 0..20 {
            fs::write(&path, "l0ader").unwrap();
            std::thread::scope(|scope| {
                let threads: Vec<_> = (0..4)
                    .map(|_| {
                        scope.spawn(|| {
                            let given = store.blob("b", digest).unwrap();
                            store.put(b"loader").unwrap();
                            given.is_none_or(|blob| blob.read_all(9).unwrap() == b"loader")
                        })
                    })
                    .collect();
                assert!(threads.into_iter().all(|thread| thread.join().unwrap()));
            });
            assert!(store.blob("b", digest).unwrap().is_some());
        }
    }

    #[test]
    fn what_left_the_store_is_brought_once_more() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path()).unwrap();
        let bring = || store.put(b"loader").map(drop);
        assert!(store.blob_or("b", Digest::of(b"loader"), bring).is_ok());
        assert_eq!(store.blob_or("b", Digest::of(b"other"), bring).unwrap_err().exit(), Exit::Io);
    }

    #[test]
    fn gc_leaves_what_a_process_works_on() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path()).unwrap();
        let mut partial = store.receive(Digest::of(b"loader"), &imgcore::NoProgress).unwrap().unwrap();
        partial.write_all(b"loa").unwrap();
        let fresh = store.shape().join("actions/.talos-rk-a.tmp");
        let old = store.shape().join("blobs/sha256/.talos-rk-b.tmp");
        for path in [&fresh, &old] {
            fs::write(path, "half").unwrap();
        }
        let past = std::time::SystemTime::UNIX_EPOCH;
        fs::OpenOptions::new().write(true).open(&old).unwrap().file().set_modified(past).unwrap();
        assert_eq!(store.stats().unwrap().temporary, 2);
        assert_eq!(store.collect().unwrap(), (1, 4));
        assert!(fresh.exists() && !old.exists());
        partial.write_all(b"der").unwrap();
        partial.commit().unwrap();
        assert!(store.blob("b", Digest::of(b"loader")).unwrap().is_some());
    }

    #[test]
    fn a_changed_file_gets_a_new_digest() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(&home.path().join("cache")).unwrap();
        let file = home.path().join("f");
        fs::write(&file, "a").unwrap();
        assert_eq!(store.file_digest(&file).unwrap(), Digest::of(b"a"));
        assert_eq!(store.file_digest(&file).unwrap(), Digest::of(b"a"));
        fs::write(&file, "bb").unwrap();
        assert_eq!(store.file_digest(&file).unwrap(), Digest::of(b"bb"));
    }

    #[test]
    fn the_default_place_follows_the_platform() {
        let linux = |name: &str| match name {
            "HOME" => Some("/home/u".to_owned()),
            _ => None,
        };
        if cfg!(target_os = "linux") {
            assert_eq!(Store::default_root(linux), Some(PathBuf::from("/home/u/.cache/talos-rk")));
            assert_eq!(Store::default_root(|_| None), None);
        }
    }
}
