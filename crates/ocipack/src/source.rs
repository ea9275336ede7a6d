//! Where blobs come from.

use std::io;

use imgcore::{Blob, Digest};

/// Gives blobs by their digest: an archive, the `blobs/sha256` folder of an OCI layout, a store, a registry's cache.
///
/// Who asks checks what comes; a source need not.
pub trait BlobSource: Send + Sync {
    /// The blob, `None` if there is none.
    ///
    /// # Errors
    /// Whatever the medium answers.
    fn blob(&self, digest: &Digest) -> io::Result<Option<Blob>>;
}

impl<T: BlobSource + ?Sized> BlobSource for std::sync::Arc<T> {
    fn blob(&self, digest: &Digest) -> io::Result<Option<Blob>> {
        (**self).blob(digest)
    }
}
