//! The root file system of a node in the initramfs of a release: a SquashFS with the kernel's modules.

use std::{
    io::{self, Write},
    sync::Arc,
};

use imgcore::{ReadAt, Report};
use initramfs::{packed, squashfs};

use crate::{
    build::Context,
    error::{Error, Exit, Result},
    files::{self, FileSource},
    inputs::Input,
};

/// Its file in the initramfs of every release.
const ROOTFS: &str = "rootfs.sqsh";
/// Where it has the modules, a folder for each kernel.
pub(crate) const FOLDER: &str = "usr/lib/modules";
/// What it may unpack to.
const UNPACKED: u64 = 4 << 30;
/// What says that the medium failed: nothing about the bytes, which the next attempt may read.
const MEDIUM: [&str; 2] = ["INI001", "SQF001"];

/// The root file system of an initramfs, in a file beside the store's blobs.
pub(crate) struct RootFs {
    image: squashfs::Image,
    _file: tempfile::TempPath,
}

impl RootFs {
    /// Takes it out of an initramfs; `None` where there is none, or none that can be read.
    ///
    /// # Errors
    /// The store, the medium. What is wrong with the bytes is in the report.
    pub(crate) fn open(base: &Input, context: &Context<'_>) -> Result<(Option<Self>, Report)> {
        let folder = context.store.partial_path("");
        fs_err::create_dir_all(&folder)?;
        let (file, report) = take(Arc::new(base.blob.clone()), &mut || {
            if context.progress.cancelled() {
                return Err(io::Error::other("cancelled"));
            }
            files::temporary_in(&folder)
        })?;
        if context.progress.cancelled() {
            return Err(Error::cancelled());
        }
        let mut report = sound(report.owned_by("initramfs", 0))?;
        let Some(file) = file else { return Ok((None, report)) };
        let file = file.into_temp_path();
        let (image, found) = squashfs::read(Arc::new(FileSource::open(&file)?), &squashfs::Limits::default());
        report.extend(sound(found.owned_by(ROOTFS, 0))?);
        Ok((image.map(|image| Self { image, _file: file }), report))
    }

    /// The kernels that it has modules for.
    pub(crate) fn releases(&self) -> Vec<String> {
        self.image
            .list(FOLDER)
            .filter(|entry| matches!(entry.kind, squashfs::EntryKind::Dir))
            .filter_map(|entry| entry.path.rsplit('/').next().map(str::to_owned))
            .collect()
    }

    /// A folder of it.
    ///
    /// # Errors
    /// The medium.
    pub(crate) fn subtree(&self, folder: &str) -> Result<(initramfs::Tree, Report)> {
        let (tree, report) = self.image.subtree(folder);
        Ok((tree, sound(report.owned_by(ROOTFS, 0))?))
    }
}

/// Writes the root file system of an initramfs into what `make` gives.
///
/// A writer that fails is told apart from what is wrong with the initramfs: a full disk says nothing about it, and must
/// not be remembered as if it did.
fn take<W: Write>(data: Arc<dyn ReadAt>, make: &mut dyn FnMut() -> io::Result<W>) -> Result<(Option<W>, Report)> {
    let (mut taken, mut failed) = (None, None);
    let limits = packed::Limits { unpacked: UNPACKED, ..packed::Limits::default() };
    let (_, report) = packed::read(data, &limits, &mut |header, data| {
        if header.path() != ROOTFS || taken.is_some() {
            return Ok(());
        }
        let mut write = || {
            let mut out = io::BufWriter::with_capacity(1 << 17, make()?);
            io::copy(data, &mut out)?;
            out.into_inner().map_err(io::IntoInnerError::into_error)
        };
        match write() {
            Ok(file) => taken = Some(file),
            Err(error) => {
                failed = Some(error);
                return Err(io::Error::other("not taken"));
            }
        }
        Ok(())
    });
    match failed {
        // The reader's errors come out of a copy too, and then as a finding of their own.
        Some(error) if report.iter().any(|finding| finding.code == "INI010") => Err(Error::from(error)),
        _ => Ok((taken, report)),
    }
}

/// A report that no fault of the medium is in.
fn sound(report: Report) -> Result<Report> {
    if report.iter().any(|finding| MEDIUM.contains(&finding.code)) {
        return Err(Error::with_report(Exit::Io, report));
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use imgcore::{Blob, Epoch};
    use initramfs::{Node, Tree, cpio};

    use super::*;

    fn initramfs() -> Vec<u8> {
        let mut tree = Tree::new();
        let data = Blob::from_bytes(ROOTFS, vec![7; 300_000]);
        tree.insert(ROOTFS, Node::file(0o644, data)).unwrap();
        let mut bytes = Vec::new();
        cpio::plan(&tree, Epoch(0)).unwrap().write_to(&mut bytes).unwrap();
        bytes
    }

    #[derive(Debug)]
    struct Full;

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A medium that fails behind its first kilobyte.
    struct Torn(Vec<u8>);

    impl ReadAt for Torn {
        fn size(&self) -> u64 {
            self.0.size()
        }

        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
            if offset >= 1024 {
                return Err(io::ErrorKind::TimedOut.into());
            }
            let end = buffer.len().min(1024 - usize::try_from(offset).unwrap());
            self.0.read_at(offset, &mut buffer[..end])
        }
    }

    #[test]
    fn what_fails_is_no_fault_of_the_initramfs() {
        let full = take(Arc::new(initramfs()), &mut || Ok(Full)).unwrap_err();
        assert_eq!((full.exit(), full.report().iter().next().unwrap().code), (Exit::Io, "IOE001"));
        let none = take::<Vec<u8>>(Arc::new(initramfs()), &mut || Err(io::ErrorKind::PermissionDenied.into()));
        assert_eq!(none.unwrap_err().exit(), Exit::Io);
        let stopped = take::<Vec<u8>>(Arc::new(initramfs()), &mut || Err(io::Error::other("cancelled")));
        assert_eq!(stopped.unwrap_err().exit(), Exit::Cancelled);

        let (_, report) = take(Arc::new(Torn(initramfs())), &mut || Ok(Vec::new())).unwrap();
        let torn = sound(report).unwrap_err();
        assert_eq!((torn.exit(), torn.report().iter().next().unwrap().code), (Exit::Io, "INI001"));

        // A file that is cut off is damaged, whoever reads it.
        let (_, report) = take(Arc::new(initramfs()[..5000].to_vec()), &mut || Ok(Vec::new())).unwrap();
        assert!(sound(report).unwrap().has_errors());
        let (file, report) = take(Arc::new(initramfs()), &mut || Ok(Vec::new())).unwrap();
        assert!(report.is_empty() && file.unwrap() == vec![7; 300_000]);
    }
}
