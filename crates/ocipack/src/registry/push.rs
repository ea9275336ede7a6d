//! A whole image to a registry: blobs, then manifests, then the index, then the tag.
//!
//! What is there already is not sent: every blob and document is asked for first (distribution specification, "Checking if
//! content exists"), and a blob that the registry has in another repository is mounted. A tag that names other bytes is not
//! moved without being told so: people and locks rely on it.

use std::sync::atomic::{AtomicU64, Ordering};

use imgcore::{Blob, Digest, Progress, ReadAt as _};

use super::{Client, Reference, Repository, Session, Uploaded, parallel};
use crate::{BlobSource, Contents, Descriptor, Document, Error, ErrorKind};

/// How to push.
#[derive(Clone, Copy)]
pub struct PushOptions<'a> {
    /// Whether a tag that names another image may be moved.
    pub force: bool,
    /// What is remembered from one push to the next.
    pub journal: &'a dyn Journal,
}

impl std::fmt::Debug for PushOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PushOptions").field("force", &self.force).finish_non_exhaustive()
    }
}

impl Default for PushOptions<'_> {
    fn default() -> Self {
        Self { force: false, journal: &Forgetful }
    }
}

/// What a push leaves for the next one: uploads that were begun, and where blobs are.
pub trait Journal: Send + Sync {
    /// Waits until no other process on this machine sends this blob to this repository, and keeps others out until the answer
    /// is dropped: two that go on with one session would destroy each other's upload.
    ///
    /// # Errors
    /// Whatever the medium answers, `cancelled` if the user stopped the waiting.
    fn hold(
        &self,
        repository: &Repository,
        digest: &Digest,
        progress: &dyn Progress,
    ) -> std::io::Result<Box<dyn Send>> {
        let _ = (repository, digest, progress);
        Ok(Box::new(()))
    }

    /// An upload that was begun and not ended.
    fn session(&self, repository: &Repository, digest: &Digest) -> Option<Session> {
        let _ = (repository, digest);
        None
    }

    /// Keeps how far an upload is, or forgets it. A failure costs a repetition and nothing else, so it is not reported.
    fn keep(&self, repository: &Repository, digest: &Digest, session: Option<&Session>) {
        let _ = (repository, digest, session);
    }

    /// Another repository of the same registry that has the blob.
    fn elsewhere(&self, repository: &Repository, digest: &Digest) -> Option<Repository> {
        let _ = (repository, digest);
        None
    }

    /// The repository has the blob.
    fn seen(&self, repository: &Repository, digest: &Digest) {
        let _ = (repository, digest);
    }
}

/// Remembers nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Forgetful;

impl Journal for Forgetful {}

/// What a push did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pushed {
    /// The image by digest: what never moves.
    pub reference: Reference,
    /// What the tag named before: the same digest, or another one that `force` replaced.
    pub before: Option<Digest>,
    /// Count of blobs that were sent.
    pub uploaded: u64,
    /// Count of blobs that were there.
    pub skipped: u64,
    /// Count of blobs that the registry took from another repository.
    pub mounted: u64,
    /// Bytes that were sent.
    pub bytes: u64,
    /// Count of manifests and indexes that were sent, without the tag.
    pub documents: u64,
    /// Count of manifests and indexes that were there.
    pub documents_skipped: u64,
}

impl Pushed {
    /// Whether the registry had everything, the tag included.
    pub fn nothing_to_do(&self) -> bool {
        self.before == self.reference.digest() && self.uploaded == 0 && self.mounted == 0 && self.documents == 0
    }
}

#[derive(Default)]
struct Counts {
    uploaded: AtomicU64,
    skipped: AtomicU64,
    mounted: AtomicU64,
    bytes: AtomicU64,
}

/// Pushes `root` and everything below it, which `source` gives.
///
/// Before anything is sent, every document is followed and checked and every blob is looked for, so that nothing incomplete
/// gets to the registry. The bytes of blobs are read only when they are sent, and the registry refuses those of another
/// digest; who has the image from somebody else reads it with [`read::verify`](crate::read::verify) first.
///
/// # Errors
/// [`ErrorKind::TagTaken`] before anything is sent, when the tag names another image; [`ErrorKind::TagMoved`] when another
/// push took the tag in between; [`ErrorKind::Incomplete`] and others of [`Contents::read`]; [`ErrorKind::Transfer`].
pub fn push(
    client: &Client,
    source: &dyn BlobSource,
    root: &Document,
    target: &Reference,
    options: PushOptions<'_>,
    progress: &dyn Progress,
) -> Result<Pushed, Error> {
    let contents = Contents::read(root.clone(), source)?;
    let (root, ours) = (&contents.root, contents.root.digest);
    if let Some(wanted) = target.digest().filter(|wanted| *wanted != ours) {
        let reference = target.to_string();
        return Err(ErrorKind::OtherImage { reference, expected: wanted, found: ours }.into());
    }
    let tag = target.tag().map(|tag| target.repository().with_tag(tag)).transpose()?;
    let before = check_tag(client, tag.as_ref(), ours, options)?;

    let repository = target.repository();
    let counts = Counts::default();
    let send = |descriptor: &Descriptor, progress: &dyn Progress| {
        blob(client, source, repository, descriptor, options.journal, &counts, progress)
    };
    parallel::each(&contents.blobs, progress, &send)?;

    let (mut documents, mut documents_skipped) = (0, 0);
    for document in contents.documents.iter().chain([root]) {
        if progress.cancelled() {
            return Err(cancelled(target));
        }
        let reference = target.with_digest(document.digest);
        if client.tag_digest(&reference)? == Some(document.digest) {
            documents_skipped += 1;
        } else {
            client.put_manifest(&reference, document)?;
            documents += 1;
        }
    }
    if let Some(tag) = tag.as_ref().filter(|_| before != Some(ours)) {
        // A long upload lies between the first look and this one.
        check_tag(client, Some(tag), ours, options)?;
        client.put_manifest(tag, root)?;
        let there = client.tag_digest(tag)?;
        if there != Some(ours) {
            return Err(ErrorKind::TagMoved { reference: tag.to_string(), ours, there }.into());
        }
    }
    let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
    Ok(Pushed {
        reference: target.with_digest(ours),
        before,
        uploaded: count(&counts.uploaded),
        skipped: count(&counts.skipped),
        mounted: count(&counts.mounted),
        bytes: count(&counts.bytes),
        documents,
        documents_skipped,
    })
}

/// What the tag names, unless that forbids the push.
fn check_tag(
    client: &Client,
    tag: Option<&Reference>,
    ours: Digest,
    options: PushOptions<'_>,
) -> Result<Option<Digest>, Error> {
    let Some(tag) = tag else { return Ok(None) };
    match client.tag_digest(tag)? {
        Some(there) if there != ours && !options.force => {
            Err(ErrorKind::TagTaken { reference: tag.to_string(), ours, there }.into())
        }
        there => Ok(there),
    }
}

fn blob(
    client: &Client,
    source: &dyn BlobSource,
    repository: &Repository,
    descriptor: &Descriptor,
    journal: &dyn Journal,
    counts: &Counts,
    progress: &dyn Progress,
) -> Result<(), Error> {
    let digest = descriptor.digest;
    let failed = |source| {
        let label = digest.to_string();
        Error::from(ErrorKind::Read { path: label.clone(), label, source })
    };
    let _held = journal.hold(repository, &digest, progress).map_err(failed)?;
    if client.has_blob(repository, &digest)? {
        counts.skipped.fetch_add(1, Ordering::Relaxed);
        journal.keep(repository, &digest, None);
        journal.seen(repository, &digest);
        return Ok(());
    }
    let data = source.blob(&digest).map_err(failed)?.ok_or(ErrorKind::Incomplete { digest })?;
    let blob = Blob::new(short(&digest), std::sync::Arc::new(data), Some(digest));
    let from = journal.elsewhere(repository, &digest);
    let resume = journal.session(repository, &digest);
    let mut keep = |session: Option<&Session>| journal.keep(repository, &digest, session);
    let uploaded = client.upload(repository, &blob, from.as_ref(), resume.as_ref(), &mut keep, progress)?;
    let counter = match uploaded {
        Uploaded::Mounted => &counts.mounted,
        Uploaded::Sent { resumed } => {
            counts.bytes.fetch_add(blob.size().saturating_sub(resumed), Ordering::Relaxed);
            &counts.uploaded
        }
    };
    counter.fetch_add(1, Ordering::Relaxed);
    journal.keep(repository, &digest, None);
    journal.seen(repository, &digest);
    Ok(())
}

/// What progress calls a blob.
pub(super) fn short(digest: &Digest) -> String {
    digest.to_string().chars().take(19).collect()
}

fn cancelled(target: &Reference) -> Error {
    let source = transfer::ErrorKind::Cancelled.into();
    ErrorKind::Transfer { doing: "pushing", target: target.to_string(), source }.into()
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeMap,
        io::Read as _,
        sync::{Arc, Mutex},
    };

    use imgcore::{Epoch, NoProgress, ReadAtCursor};
    use transfer::{Body, HeaderMap, HeaderValue, Method, Net, RealPace, Request, Response, StatusCode, Transport};

    use super::*;
    use crate::{
        Entry, Image, Platform, archive, layer, media,
        registry::{NoCredentials, Options},
    };

    /// A registry in memory. `rival` takes the tag as soon as it was written.
    #[derive(Default)]
    struct Memory {
        held: Mutex<BTreeMap<String, Vec<u8>>>,
        order: Mutex<Vec<String>>,
        rival: Option<Vec<u8>>,
    }

    impl Transport for Memory {
        fn send(&self, request: Request) -> Result<Response, transfer::Error> {
            let path = request.url.path().to_owned();
            let mut held = self.held.lock().expect("one thread at a time");
            let mut sent = Vec::new();
            match &request.body {
                Body::Empty => {}
                Body::Bytes(bytes) => sent.clone_from(bytes),
                Body::Blob(blob) => {
                    ReadAtCursor::new(blob).read_to_end(&mut sent).expect("memory");
                }
            }
            let answer = |status: StatusCode, headers: &[(&'static str, String)]| {
                let mut map = HeaderMap::new();
                for (name, value) in headers {
                    map.insert(*name, HeaderValue::from_str(value).expect("text"));
                }
                Ok(Response::new(status, map, std::io::empty()))
            };
            let digest = |bytes: &[u8]| ("docker-content-digest", Digest::of(bytes).to_string());
            match request.method {
                Method::HEAD | Method::GET => match held.get(&path) {
                    Some(bytes) => {
                        let kind = ("content-type", media::INDEX.to_owned());
                        answer(StatusCode::OK, &[digest(bytes), kind, ("content-length", bytes.len().to_string())])
                    }
                    None => answer(StatusCode::NOT_FOUND, &[]),
                },
                Method::POST => answer(StatusCode::ACCEPTED, &[("location", format!("{path}1"))]),
                _ => {
                    let query: BTreeMap<_, _> = request.url.query_pairs().collect();
                    let end = path.find("/blobs/uploads/").and_then(|at| path.get(..at));
                    let key = match (end, query.get("digest")) {
                        (Some(start), Some(digest)) => format!("{start}/blobs/{digest}"),
                        _ => path,
                    };
                    self.order.lock().expect("one thread at a time").push(key.clone());
                    let stored = self.rival.clone().filter(|_| key.ends_with("/v1")).unwrap_or_else(|| sent.clone());
                    held.insert(key, stored);
                    answer(StatusCode::CREATED, &[digest(&sent)])
                }
            }
        }
    }

    fn image(text: &str) -> archive::Archive {
        let entry = Entry::file("hello", 0o644, Blob::from_bytes("text", text));
        let layer = layer::build(&[entry], Epoch(0)).expect("valid");
        let images =
            ["arm64", "amd64"].map(|arch| Image::new(Platform::new("linux", arch), vec![layer.clone()], Epoch(0)));
        archive::plan(&images, &archive::Options::default()).expect("valid")
    }

    fn pushed(registry: &Arc<Memory>, image: &archive::Archive, force: bool) -> Result<Pushed, Error> {
        let net = Net::new(registry.clone(), Arc::new(RealPace::quiet()));
        let client = Client::new(net, Arc::new(NoCredentials), Options::default());
        let target = "h.io/a/b:v1".parse().expect("a reference");
        let root = image.root_document().expect("a root");
        let options = PushOptions { force, ..PushOptions::default() };
        push(&client, image, &root, &target, options, &NoProgress)
    }

    #[test]
    fn blobs_go_first_and_the_tag_last() {
        let registry = Arc::new(Memory::default());
        let image = image("one");
        let first = pushed(&registry, &image, false).expect("pushed");
        assert_eq!((first.uploaded, first.documents, first.before), (3, 3, None));
        let order = registry.order.lock().expect("done").clone();
        let kinds: Vec<_> = order.iter().map(|path| path.contains("/blobs/")).collect();
        assert_eq!(kinds, [true, true, true, false, false, false, false]);
        assert!(order.last().is_some_and(|path| path.ends_with("/manifests/v1")));
        let root = image.root().digest.to_string();
        assert!(order.iter().rev().nth(1).is_some_and(|path| path.ends_with(&root)));
        assert!(pushed(&registry, &image, false).expect("there").nothing_to_do());
        assert_eq!(registry.order.lock().expect("done").len(), order.len());
    }

    #[test]
    fn another_image_under_the_tag_stops_the_push_before_anything_is_sent() {
        let registry = Arc::new(Memory::default());
        pushed(&registry, &image("one"), false).expect("pushed");
        let count = registry.order.lock().expect("done").len();
        let refused = pushed(&registry, &image("two"), false).expect_err("taken");
        assert!(matches!(refused.kind(), ErrorKind::TagTaken { .. }), "{refused}");
        assert_eq!(registry.order.lock().expect("done").len(), count);
        let moved = pushed(&registry, &image("two"), true).expect("forced");
        assert_eq!(moved.before, Some(image("one").root().digest));
    }

    #[test]
    fn a_rival_that_takes_the_tag_is_noticed() {
        let rival = image("rival").root_document().expect("a root").bytes;
        let registry = Arc::new(Memory { rival: Some(rival.clone()), ..Memory::default() });
        let refused = pushed(&registry, &image("one"), false).expect_err("overtaken");
        let ErrorKind::TagMoved { there, .. } = refused.kind() else { panic!("{refused}") };
        assert_eq!(*there, Some(Digest::of(&rival)));
    }
}
