//! A whole image from a registry, into a store that keeps blobs by digest.
//!
//! What the store has is not asked for: a reference by digest that is there whole costs no request, a tag costs one HEAD,
//! which no registry counts against a rate limit. All bytes are kept as they came.

use std::{
    io,
    sync::atomic::{AtomicU64, Ordering},
};

use imgcore::{Digest, Progress, ReadAt as _};
use transfer::{Have, Sink};

use super::{Client, Reference, parallel, push::short};
use crate::{
    BlobSource, Contents, Descriptor, Document, Error, ErrorKind, ImageParts, Platform,
    contents::{DOCUMENT_LIMIT, document_of, platform_of},
};

/// Keeps what arrives, by digest. A blob that it gives was checked when it was [committed](Incoming::commit).
pub trait BlobStore: BlobSource {
    /// The place where a blob arrives, with what an earlier run left of it; `None` if the whole blob is there. Waits while
    /// another process fetches the same one.
    ///
    /// # Errors
    /// Whatever the medium answers, `cancelled` if the user stopped the waiting.
    fn receive(&self, descriptor: &Descriptor, progress: &dyn Progress) -> io::Result<Option<Box<dyn Incoming>>>;
}

/// A blob that is arriving. Dropped, it keeps what came for the next run.
pub trait Incoming: Sink + Send {
    /// What is there.
    fn have(&self) -> Have;

    /// Gives the blob its name. Its bytes were checked; whoever keeps them may check again.
    ///
    /// # Errors
    /// Whatever the medium answers.
    fn commit(self: Box<Self>) -> io::Result<()>;
}

/// What a pull gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pulled {
    /// The image by digest: what never moves.
    pub reference: Reference,
    /// Its documents and what they name, all of it in the store.
    pub contents: Contents,
    /// Count of blobs that came.
    pub downloaded: u64,
    /// Count of blobs that were there.
    pub skipped: u64,
    /// Bytes of blobs that came.
    pub bytes: u64,
}

/// Pulls an image for some platforms, or for all if none is named.
///
/// # Errors
/// [`ErrorKind::NoPlatform`]; [`ErrorKind::Transfer`]; the store fails.
pub fn pull(
    client: &Client,
    reference: &Reference,
    platforms: &[Platform],
    store: &dyn BlobStore,
    progress: &dyn Progress,
) -> Result<Pulled, Error> {
    let digest = match reference.digest() {
        Some(digest) => digest,
        None => client.head(reference)?.digest,
    };
    let root = if let Some(root) = stored(digest, store)? {
        root
    } else {
        let document = client.manifest(&reference.with_digest(digest))?;
        put(&document, store, progress)?;
        document
    };
    let contents = Contents::follow(root, platforms, &mut |descriptor| {
        if let Ok(document) = document_of(descriptor, store) {
            return Ok(document);
        }
        let document = client.child(reference.repository(), descriptor)?;
        put(&document, store, progress)?;
        Ok(Document { media_type: descriptor.media_type.clone(), ..document })
    })?;

    let (downloaded, skipped, bytes) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let fetch = |descriptor: &Descriptor, progress: &dyn Progress| {
        let Some(mut incoming) =
            store.receive(descriptor, progress).map_err(|error| failed(&descriptor.digest, error))?
        else {
            skipped.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        };
        let have = incoming.have();
        let before = have.offset;
        let got = client.blob(reference.repository(), descriptor, have, &mut *incoming, progress)?;
        incoming.commit().map_err(|error| failed(&descriptor.digest, error))?;
        downloaded.fetch_add(1, Ordering::Relaxed);
        bytes.fetch_add(got.size.saturating_sub(before), Ordering::Relaxed);
        Ok(())
    };
    if let Some(image) = unnamed(&contents, platforms) {
        fetch(&image.config, progress)?;
        check_platform(image, platforms, store)?;
    }
    parallel::each(&contents.blobs, progress, &fetch)?;
    let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
    Ok(Pulled {
        reference: reference.with_digest(contents.root.digest),
        contents,
        downloaded: count(&downloaded),
        skipped: count(&skipped),
        bytes: count(&bytes),
    })
}

/// An image by digest that is whole in the store: nobody has to be asked.
pub fn kept(reference: &Reference, platforms: &[Platform], store: &dyn BlobStore) -> Option<Pulled> {
    let root = stored(reference.digest()?, store).ok()??;
    let contents = Contents::follow(root, platforms, &mut |descriptor| document_of(descriptor, store)).ok()?;
    for blob in &contents.blobs {
        let there = store.blob(&blob.digest).ok()??;
        if there.size() != blob.size {
            return None;
        }
    }
    if let Some(image) = unnamed(&contents, platforms)
        && check_platform(image, platforms, store).is_err()
    {
        return None;
    }
    let skipped = contents.blobs.len() as u64;
    let reference = reference.with_digest(contents.root.digest);
    Some(Pulled { reference, contents, downloaded: 0, skipped, bytes: 0 })
}

/// An image of which the configuration alone says for which machines it is, if that matters.
fn unnamed<'a>(contents: &'a Contents, platforms: &[Platform]) -> Option<&'a ImageParts> {
    let unnamed = |image: &&ImageParts| image.is_image() && image.platform.is_none();
    contents.images.iter().find(unnamed).filter(|_| !platforms.is_empty())
}

fn check_platform(image: &ImageParts, platforms: &[Platform], store: &dyn BlobStore) -> Result<(), Error> {
    match platform_of(&image.config, store)? {
        Some(found) if !platforms.iter().any(|wanted| found.serves(wanted)) => {
            let wanted: Vec<_> = platforms.iter().map(ToString::to_string).collect();
            Err(ErrorKind::NoPlatform { wanted: wanted.join(", "), there: vec![found.to_string()] }.into())
        }
        _ => Ok(()),
    }
}

/// A document that the store has; damaged ones count as absent.
fn stored(digest: Digest, store: &dyn BlobStore) -> Result<Option<Document>, Error> {
    let failed = |error| failed(&digest, error);
    let Some(blob) = store.blob(&digest).map_err(failed)? else { return Ok(None) };
    if blob.size() > DOCUMENT_LIMIT {
        return Ok(None);
    }
    let bytes = blob.read_all(DOCUMENT_LIMIT).map_err(failed)?;
    Ok((Digest::of(&bytes) == digest).then_some(Document { media_type: String::new(), digest, bytes }))
}

fn put(document: &Document, store: &dyn BlobStore, progress: &dyn Progress) -> Result<(), Error> {
    let descriptor = document.descriptor();
    let write = || {
        let Some(mut incoming) = store.receive(&descriptor, progress)? else { return Ok(()) };
        incoming.restart()?;
        incoming.write_all(&document.bytes)?;
        incoming.commit()
    };
    write().map_err(|error| failed(&descriptor.digest, error))
}

fn failed(digest: &Digest, error: io::Error) -> Error {
    let what = format!("the store: {}", short(digest));
    let source = if error.kind() == io::ErrorKind::Other && error.to_string() == "cancelled" {
        transfer::ErrorKind::Cancelled.into()
    } else {
        transfer::ErrorKind::Io { what, source: error }.into()
    };
    ErrorKind::Transfer { doing: "keeping", target: digest.to_string(), source }.into()
}
