//! Local files: read at an offset, identified by size, times and inode, written so that they appear whole or not at
//! all.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use fs_err as fs;
use imgcore::{Blob, Digest, HashingWriter, ReadAt};
use serde::{Deserialize, Serialize};

/// A file that is read at offsets. Its size is taken once, when it is opened.
#[derive(Debug)]
pub struct FileSource {
    file: fs::File,
    size: u64,
}

impl FileSource {
    /// Opens a file or a block device for reading.
    ///
    /// # Errors
    /// The path is in the error.
    pub fn open(path: &Path) -> io::Result<Self> {
        use std::io::Seek as _;
        let mut file = fs::File::open(path)?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            let text = format!("{}: is a folder, expected a file", path.display());
            return Err(io::Error::new(io::ErrorKind::IsADirectory, text));
        }
        // A block device has no length, but its end can be sought.
        let size = if metadata.is_file() { metadata.len() } else { file.seek(io::SeekFrom::End(0))? };
        Ok(Self { file, size })
    }
}

impl ReadAt for FileSource {
    fn size(&self) -> u64 {
        self.size
    }

    #[cfg(unix)]
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(self.file.file(), buffer, offset)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", self.file.path().display())))
    }

    #[cfg(windows)]
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        std::os::windows::fs::FileExt::seek_read(self.file.file(), buffer, offset)
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", self.file.path().display())))
    }
}

/// Opens a file as a blob whose digest is known.
///
/// # Errors
/// The path is in the error.
pub fn open_blob(label: &str, path: &Path, digest: Option<Digest>) -> io::Result<Blob> {
    Ok(Blob::new(label, Arc::new(FileSource::open(path)?), digest))
}

/// What a file system says about a file without reading it. Equal stamps mean: not touched since.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Size in bytes.
    pub size: u64,
    /// Time of last change of the contents, in nanoseconds since 1970.
    pub modified: i64,
    /// Time of last change of the inode, in nanoseconds; 0 where the platform has none.
    pub changed: i64,
    /// Inode number; 0 where the platform has none.
    pub inode: u64,
}

impl Stamp {
    /// The stamp of a file.
    ///
    /// # Errors
    /// The path is in the error.
    pub fn of(path: &Path) -> io::Result<Self> {
        Ok(Self::from_metadata(&fs::metadata(path)?))
    }

    #[cfg(unix)]
    fn from_metadata(metadata: &std::fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        let nanoseconds = |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
        Self {
            size: metadata.len(),
            modified: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            changed: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
        }
    }

    #[cfg(not(unix))]
    fn from_metadata(metadata: &std::fs::Metadata) -> Self {
        let modified = metadata.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        let modified = modified.and_then(|time| i64::try_from(time.as_nanos()).ok()).unwrap_or(0);
        Self { size: metadata.len(), modified, changed: 0, inode: 0 }
    }
}

/// Prefix of every temporary file that this program makes; what a killed run left behind is known by it.
const TEMPORARY: &str = ".talos-rk-";

/// A folder in which files appear complete under their final names or not at all.
///
/// Files are written under temporary names in the same folder; [`publish`](Self::publish) renames them in the order in
/// which they were finished. Dropping the value without publishing removes them.
#[derive(Debug)]
pub struct Outputs {
    folder: PathBuf,
    created: Vec<PathBuf>,
    finished: Vec<(tempfile::TempPath, String)>,
}

impl Outputs {
    /// Makes the folder if it is missing and clears what a killed run left in it. The caller holds the folder's lock.
    ///
    /// # Errors
    /// The path is in the error.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let outputs = Self::beside(folder)?;
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if is_temporary(&entry.file_name()) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(outputs)
    }

    /// Makes the folder if it is missing, and leaves alone what others are writing into it.
    ///
    /// # Errors
    /// The path is in the error.
    pub fn beside(folder: &Path) -> io::Result<Self> {
        let mut missing: Vec<PathBuf> = Vec::new();
        for ancestor in folder.ancestors() {
            if ancestor.as_os_str().is_empty() || ancestor.exists() {
                break;
            }
            missing.push(ancestor.to_path_buf());
        }
        fs::create_dir_all(folder)?;
        Ok(Self { folder: folder.to_path_buf(), created: missing, finished: Vec::new() })
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// A new temporary file in the folder.
    ///
    /// # Errors
    /// The folder is in the error.
    pub fn temporary(&self) -> io::Result<tempfile::NamedTempFile> {
        temporary_in(&self.folder)
    }

    /// Takes over a written temporary file: it reaches the disk here and its final name at [`publish`](Self::publish).
    ///
    /// # Errors
    /// The file's final path is in the error.
    pub fn finish(&mut self, file: tempfile::NamedTempFile, name: &str) -> io::Result<()> {
        let path = self.folder.join(name);
        set_default_mode(file.as_file()).map_err(|error| named(&path, &error))?;
        file.as_file().sync_all().map_err(|error| named(&path, &error))?;
        self.finished.push((file.into_temp_path(), name.to_owned()));
        Ok(())
    }

    /// Writes a small file.
    ///
    /// # Errors
    /// The file's final path is in the error.
    pub fn write(&mut self, name: &str, bytes: &[u8]) -> io::Result<Digest> {
        let path = self.folder.join(name);
        let mut writer = HashingWriter::new(self.temporary()?);
        writer.write_all(bytes).and_then(|()| writer.flush()).map_err(|error| named(&path, &error))?;
        let (file, digest, _) = writer.finish();
        self.finish(file, name)?;
        Ok(digest)
    }

    /// Gives all finished files their names, in the order in which they were finished.
    ///
    /// # Errors
    /// The path is in the error; files renamed before it stay.
    pub fn publish(mut self) -> io::Result<()> {
        for (temporary, name) in std::mem::take(&mut self.finished) {
            let path = self.folder.join(&name);
            temporary.persist(&path).map_err(|error| named(&path, &error.error))?;
        }
        self.created.clear();
        sync_folder(&self.folder)
    }
}

impl Drop for Outputs {
    fn drop(&mut self) {
        self.finished.clear();
        // Folders that this run made are removed again if they stayed empty; the deepest comes first.
        for folder in &self.created {
            if fs::remove_dir(folder).is_err() {
                break;
            }
        }
    }
}

/// Whether a file is a temporary one of this program, perhaps of another process that is writing it.
pub(crate) fn is_temporary(name: &std::ffi::OsStr) -> bool {
    let name = name.to_string_lossy();
    name.starts_with(TEMPORARY) && name.ends_with(".tmp")
}

pub(crate) fn temporary_in(folder: &Path) -> io::Result<tempfile::NamedTempFile> {
    tempfile::Builder::new().prefix(TEMPORARY).suffix(".tmp").tempfile_in(folder).map_err(|error| named(folder, &error))
}

/// Puts a path in front of an error that does not name it.
pub(crate) fn named(path: &Path, error: &io::Error) -> io::Error {
    if crate::error::is_cancelled(error) {
        return io::Error::other("cancelled");
    }
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Temporary files are private; finished ones get the mode that any other new file would get here: 0644 whatever the
/// umask, so that the file and not the shell decides.
#[cfg(unix)]
fn set_default_mode(file: &std::fs::File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn set_default_mode(_file: &std::fs::File) -> io::Result<()> {
    Ok(())
}

/// Makes renames in a folder durable.
#[cfg(unix)]
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    fs::File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
pub(crate) fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn files_appear_together_and_only_when_published() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("a/b");
        let mut outputs = Outputs::open(&folder).unwrap();
        outputs.write("one", b"1").unwrap();
        assert!(!folder.join("one").exists());
        drop(outputs);
        assert_eq!(names(home.path()), Vec::<String>::new());

        let mut outputs = Outputs::open(&folder).unwrap();
        fs::write(folder.join("mine"), "kept").unwrap();
        outputs.write("one", b"1").unwrap();
        outputs.publish().unwrap();
        assert_eq!(names(&folder), ["mine", "one"]);
    }

    #[test]
    fn what_a_killed_run_left_is_cleared() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join(".talos-rk-abc.tmp"), "half").unwrap();
        fs::write(home.path().join("other.tmp"), "not ours").unwrap();
        drop(Outputs::open(home.path()).unwrap());
        assert_eq!(names(home.path()), ["other.tmp"]);
    }
}
