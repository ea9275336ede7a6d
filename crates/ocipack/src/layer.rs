//! Layers: a tar of sorted entries, compressed with gzip, the same bytes for the same entries.
//!
//! ```
//! use imgcore::{Blob, Epoch};
//! use ocipack::{Entry, layer};
//!
//! let entries = [
//!     Entry::file("installers/rk3588", 0o755, Blob::from_bytes("installer", *b"\x7fELF")),
//!     Entry::symlink("installers/default", "rk3588"),
//! ];
//! let plan = layer::plan(&entries, Epoch(0))?;
//! assert_eq!(plan.to_string(), "\
//! layer of 3 KiB in 3 entries
//!   0755              installers/
//!   0777              installers/default -> rk3588
//!   0755         4 B  installers/rk3588
//! ");
//! let layer = plan.spool()?;
//! assert_eq!(layer.digest.to_string(), imgcore::Digest::of(&layer.data.read_all(4096)?).to_string());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::{fmt, io::Write, num::NonZeroUsize, sync::Arc};

use imgcore::{Blob, ByteSize, Digest, Epoch, HashingWriter};

use crate::{
    Error,
    gzip::Gzip,
    media,
    tarball::{Entry, Tarball, write_failed},
};

/// What a layer is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerInfo {
    /// SHA-256 of the compressed bytes.
    pub digest: Digest,
    /// Count of the compressed bytes.
    pub size: u64,
    /// SHA-256 of the tar inside. Stable across versions of the compressor; `digest` is not.
    pub diff_id: Digest,
    /// Size of the tar inside.
    pub tar_size: u64,
}

/// A finished layer: made here, or taken from another image as it is.
#[derive(Debug, Clone)]
pub struct Layer {
    /// Media type of the stored bytes, see [`media`].
    pub media_type: String,
    /// SHA-256 of the stored bytes.
    pub digest: Digest,
    /// Count of the stored bytes.
    pub size: u64,
    /// SHA-256 of the tar inside.
    pub diff_id: Digest,
    /// The stored bytes.
    pub data: Blob,
}

/// Checked and sorted entries of a layer to be.
#[derive(Debug, Clone)]
pub struct Plan(Tarball);

/// Checks and sorts entries. Folders above them are added with mode 0755; the order given does not matter.
///
/// # Errors
/// A path that is absolute, climbs, is given twice, lies below something that is no folder, or cannot exist on macOS or
/// Windows; a link that leads out of the image; a mode beyond 7777.
pub fn plan(entries: &[Entry], epoch: Epoch) -> Result<Plan, Error> {
    Tarball::plan(entries, epoch).map(Plan)
}

/// Plans a layer and streams it.
///
/// # Errors
/// As [`plan`] and [`Plan::write_to`].
pub fn write(entries: &[Entry], epoch: Epoch, out: &mut dyn Write) -> Result<LayerInfo, Error> {
    plan(entries, epoch)?.write_to(out)
}

/// Plans a layer and holds it in memory: for layers of a few megabytes.
///
/// # Errors
/// As [`plan`] and [`Plan::write_to`].
pub fn build(entries: &[Entry], epoch: Epoch) -> Result<Layer, Error> {
    plan(entries, epoch)?.spool()
}

impl Plan {
    /// Entries in the order of the layer, with the folders that were added.
    pub fn entries(&self) -> &[Entry] {
        self.0.entries()
    }

    /// Size of the tar inside, exactly.
    pub fn tar_size(&self) -> u64 {
        self.0.size()
    }

    /// Streams the tar without compression.
    ///
    /// # Errors
    /// A source or the output fails, or a source is not what its digest says.
    pub fn write_tar(&self, out: &mut dyn Write) -> Result<(), Error> {
        self.0.write_to(out)
    }

    /// Streams the compressed layer and says what it is known by.
    ///
    /// # Errors
    /// A source or the output fails, or a source is not what its digest says.
    pub fn write_to(&self, out: &mut dyn Write) -> Result<LayerInfo, Error> {
        self.write_with(NonZeroUsize::MIN, out)
    }

    /// As [`write_to`](Self::write_to), on several threads if the layer is large: the same bytes for any count. Each
    /// thread takes about 3 MiB of memory.
    ///
    /// # Errors
    /// As [`write_to`](Self::write_to).
    pub fn write_with(&self, workers: NonZeroUsize, out: &mut dyn Write) -> Result<LayerInfo, Error> {
        let mut tar = HashingWriter::new(Gzip::new(HashingWriter::new(out), self.tar_size(), workers));
        self.0.write_to(&mut tar)?;
        let (gzip, diff_id, tar_size) = tar.finish();
        let (_, digest, size) = gzip.finish().map_err(write_failed)?.finish();
        Ok(LayerInfo { digest, size, diff_id, tar_size })
    }

    /// Writes the compressed layer into memory.
    ///
    /// # Errors
    /// As [`write_to`](Self::write_to).
    pub fn spool(&self) -> Result<Layer, Error> {
        let mut bytes = Vec::new();
        let info = self.write_to(&mut bytes)?;
        let data = Blob::new(format!("layer {}", info.digest), Arc::new(bytes), Some(info.digest));
        Ok(Layer::new(media::LAYER_GZIP, info, data))
    }
}

impl Layer {
    /// A layer whose bytes are elsewhere, for example in a file that [`Plan::write_to`] filled.
    pub fn new(media_type: impl Into<String>, info: LayerInfo, data: Blob) -> Self {
        Self { media_type: media_type.into(), digest: info.digest, size: info.size, diff_id: info.diff_id, data }
    }
}

/// One line a thing.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entries = self.entries();
        writeln!(f, "layer of {} in {} entries", ByteSize(self.tar_size()), entries.len())?;
        entries.iter().try_for_each(|entry| writeln!(f, "  {entry}"))
    }
}
