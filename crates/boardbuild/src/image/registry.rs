//! Images in registries. A tag means the digest that the lock holds; documents and layers come from the store if they are
//! there.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    sync::{Mutex, PoisonError},
};

use imgcore::{Blob, Digest, Finding, Severity};
use ocipack::{
    BlobSource, Descriptor, Document, Platform, media,
    read::{self, ImageView, Limits, Options},
    registry::{Reference, Repository},
};
use serde_json::Value;
use transfer::{Have, Sink};

use super::{Bytes, Opened, UNPACKED, one, refused};
use crate::{
    build::Context,
    error::{Error, Exit, Result},
    lock::{Lock, LockedImage},
    net::failed,
    partial::Partial,
};

/// Documents above this are no manifests and no configurations.
const DOCUMENT: u64 = 4 << 20;
/// Layers that are fetched at a time.
const PARALLEL: usize = 3;

/// Reads a reference.
///
/// # Errors
/// [`Exit::Usage`] with what is wrong.
pub(crate) fn parse(what: &str, text: &str) -> Result<Reference> {
    text.parse().map_err(|error: ocipack::Error| {
        Error::usage(format!("{what}: {error}")).or_help("write HOST/NAME:TAG or HOST/NAME@sha256:DIGEST")
    })
}

/// Which manifest a reference means.
#[derive(Debug, Clone)]
pub(crate) struct Resolved {
    /// The manifest, or the index that a digest names.
    pub(crate) digest: Digest,
    /// What the lock does not know yet.
    pub(crate) learned: Option<LockedImage>,
    /// Whether the digest was written down before: by the lock, or in the reference itself.
    pinned: bool,
    /// The most bytes that its layers may have as they are transferred, where the lock says it.
    size: Option<u64>,
}

impl Resolved {
    /// The manifest whose digest was written down.
    pub(crate) fn pinned(digest: Digest) -> Self {
        Self { digest, learned: None, pinned: true, size: None }
    }
}

/// Which manifest a reference means: the one whose digest it names, or that of the lock; else what the registry says,
/// which is what the lock shall hold.
///
/// # Errors
/// `SRC004` when nothing is locked and `locked` forbids to learn, `SRC020` without an image for the platform, `NET007`
/// offline, and those of the network.
pub(crate) fn resolve(
    context: &Context<'_>,
    text: &str,
    platform: &Platform,
    lock: &Lock,
    locked: bool,
) -> Result<Resolved> {
    let reference = parse("image", text)?;
    if let Some(digest) = reference.digest() {
        return Ok(Resolved::pinned(digest));
    }
    if let Some(known) = lock.find_image(text, &platform.to_string()) {
        return Ok(Resolved { size: Some(known.size), ..Resolved::pinned(known.digest) });
    }
    if locked {
        let finding = Finding::error("SRC004", format!("{text} is not in boards/sources.lock, and --locked is given"))
            .help("build once without --locked, look at the change of boards/sources.lock, and commit it");
        return Err(Error::new(Exit::Input, finding));
    }
    let learned = ask(context, text, platform)?;
    Ok(Resolved { digest: learned.digest, learned: Some(learned), pinned: false, size: None })
}

/// What the registry says of a reference. It is asked once in a run: all that is taken out of one tag is of one manifest.
///
/// # Errors
/// `SRC020` without an image for the platform, `NET007` offline, and those of the network.
pub(crate) fn ask(context: &Context<'_>, text: &str, platform: &Platform) -> Result<LockedImage> {
    let reference = parse("image", text)?;
    context.network.allowed(text)?;
    if let Some(said) = context.network.said(text, &platform.to_string()) {
        return Ok(said);
    }
    let client = context.network.client()?;
    let root = client.manifest(&reference).map_err(|error| not_read(&error, text))?;
    context.store.put(&root.bytes)?;
    let image = view(context, text, &reference, &root, platform, &super::limits(None))?;
    let digest = image.manifest.as_ref().map_or(root.digest, |manifest| manifest.digest);
    let size = size(&image);
    let said = LockedImage { reference: text.to_owned(), platform: platform.to_string(), digest, size, unpacked: None };
    context.network.remember(said.clone());
    Ok(said)
}

/// Opens the image that a reference was resolved to.
///
/// # Errors
/// As [`ask`]; `NET003` when a pinned digest is gone, `SRC002` for layers above the locked size, `SRC009` for far too large ones.
pub(crate) fn open(
    context: &Context<'_>,
    text: &str,
    resolved: &Resolved,
    platform: &Platform,
    limits: &Limits,
) -> Result<Opened> {
    let reference = parse("image", text)?;
    let bytes = if let Some(blob) = context.store.blob("manifest", resolved.digest)? {
        blob.read_all(DOCUMENT)?
    } else {
        context.network.allowed(text)?;
        let client = context.network.client()?;
        let document = client.manifest(&reference.with_digest(resolved.digest)).map_err(|error| {
            let error = not_read(&error, text);
            if resolved.pinned { gone(error, resolved.digest) } else { error }
        })?;
        context.store.put(&document.bytes)?;
        document.bytes
    };
    let root = Document { media_type: String::new(), digest: resolved.digest, bytes };
    let view = view(context, text, &reference, &root, platform, limits)?;
    if let Some(locked) = resolved.size.filter(|locked| size(&view) > *locked) {
        let message = format!("{text}: its layers have {} bytes, boards/sources.lock says {locked}", size(&view));
        let finding = Finding::error("SRC002", message)
            .of(text)
            .help("run `cargo xtask lock`, which writes what the manifest says, and look at the change");
        return Err(Error::new(Exit::Input, finding));
    }
    if size(&view) > UNPACKED {
        let message = format!("{text}: its layers have {} bytes, at most {UNPACKED} are fetched", size(&view));
        return Err(Error::new(Exit::Refused, Finding::error("SRC009", message).of(text)));
    }
    let layers = Layers { repository: reference.repository().clone(), text: text.to_owned() };
    Ok(Opened { name: text.to_owned(), view, bytes: Bytes::Registry(layers) })
}

fn size(image: &ImageView) -> u64 {
    image.layers.iter().fold(0, |sum: u64, layer| sum.saturating_add(layer.size))
}

/// The error of a client, as a command says it.
fn not_read(error: &ocipack::Error, what: &str) -> Error {
    match error.transfer() {
        Some(cause) => failed(cause, what),
        None => Error::new(Exit::Io, Finding::error("NET005", error.to_string()).of(what)),
    }
}

/// A locked digest that the registry does not have is never replaced by what the tag names today.
fn gone(error: Error, digest: Digest) -> Error {
    let is_gone = error.report().iter().any(|finding| finding.code == "NET003");
    if !is_gone {
        return error;
    }
    error.more_help(&format!(
        "the registry no longer has {digest}, which is locked: `cargo xtask lock --update NAME` looks what the tag names \
         today, and shows the change"
    ))
}

/// The image for the platform below a document. Layers are not touched.
fn view(
    context: &Context<'_>,
    text: &str,
    reference: &Reference,
    root: &Document,
    platform: &Platform,
    limits: &Limits,
) -> Result<ImageView> {
    let documents = Documents::new(context, text, reference.repository(), &root.bytes);
    let options = Options {
        platforms: vec![platform.clone()],
        portability: Severity::Info,
        defer_layers: true,
        limits: limits.clone(),
        ..Options::default()
    };
    let (view, report) = read::open_layout(root.bytes.clone(), &documents, options);
    if let Some(error) = documents.failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error);
    }
    let Some(view) = view.filter(|_| !report.has_errors()) else {
        return Err(refused(text, report.into_iter().map(|finding| finding.of(text)).collect()));
    };
    let images: Vec<ImageView> = view.images().take(1).cloned().collect();
    let all = platforms(&root.bytes, &documents.last.into_inner().unwrap_or_else(PoisonError::into_inner));
    one(text, &images, &all, &[], platform)
}

/// Which platforms there are, in the words of an index, or of the configuration of a single image.
fn platforms(root: &[u8], config: &[u8]) -> Vec<String> {
    let parse = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap_or_default();
    let word = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or("unknown").to_owned();
    let name = |value: &Value| Platform::new(word(value, "os"), word(value, "architecture")).to_string();
    let root = parse(root);
    let mut names: Vec<String> = match root.get("manifests").and_then(Value::as_array) {
        Some(all) => all.iter().filter_map(|entry| entry.get("platform")).map(name).collect(),
        None => vec![name(&parse(config))],
    };
    names.retain(|name| name != "unknown/unknown");
    names.sort();
    names.dedup();
    names
}

/// What a document is called in a registry.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Manifest,
    Config { size: u64 },
}

/// Manifests and configurations: from the store, else from the registry. Nothing else is asked for.
struct Documents<'a> {
    context: &'a Context<'a>,
    text: &'a str,
    repository: &'a Repository,
    known: Mutex<BTreeMap<Digest, Kind>>,
    failure: Mutex<Option<Error>>,
    last: Mutex<Vec<u8>>,
}

impl<'a> Documents<'a> {
    fn new(context: &'a Context<'a>, text: &'a str, repository: &'a Repository, root: &[u8]) -> Self {
        let (known, failure, last) = (Mutex::default(), Mutex::default(), Mutex::default());
        let documents = Self { context, text, repository, known, failure, last };
        documents.learn(root);
        documents
    }

    /// What a document refers to is asked for as what it is.
    fn learn(&self, bytes: &[u8]) {
        let parsed: Value = serde_json::from_slice(bytes).unwrap_or_default();
        let digest = |value: &Value| value.get("digest")?.as_str()?.parse::<Digest>().ok();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for entry in parsed.get("manifests").and_then(Value::as_array).into_iter().flatten() {
            known.extend(digest(entry).map(|digest| (digest, Kind::Manifest)));
        }
        if let Some(config) = parsed.get("config")
            && let (Some(digest), Some(size)) = (digest(config), config.get("size").and_then(Value::as_u64))
        {
            known.insert(digest, Kind::Config { size: size.min(DOCUMENT) });
        }
    }

    fn read(&self, digest: Digest) -> Result<Option<Blob>> {
        let kind = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&digest).copied();
        let Some(kind) = kind else { return Ok(None) };
        let blob = if let Some(blob) = self.context.store.blob("document", digest)? {
            blob
        } else {
            self.context.network.allowed(self.text)?;
            let bytes = self.fetch(digest, kind)?;
            self.context.store.put(&bytes)?;
            Blob::from_bytes("document", bytes)
        };
        if let Ok(bytes) = blob.read_all(DOCUMENT) {
            match kind {
                Kind::Manifest => self.learn(&bytes),
                Kind::Config { .. } => *self.last.lock().unwrap_or_else(PoisonError::into_inner) = bytes,
            }
        }
        Ok(Some(blob))
    }

    fn fetch(&self, digest: Digest, kind: Kind) -> Result<Vec<u8>> {
        let client = self.context.network.client()?;
        let failed = |error: ocipack::Error| not_read(&error, self.text);
        match kind {
            Kind::Manifest => Ok(client.manifest(&self.repository.with_digest(digest)).map_err(failed)?.bytes),
            Kind::Config { size } => {
                let descriptor = Descriptor::new(media::CONFIG, digest, size);
                let mut bytes = Vec::new();
                client
                    .blob(self.repository, &descriptor, Have::default(), &mut bytes, self.context.progress)
                    .map_err(failed)?;
                Ok(bytes)
            }
        }
    }
}

impl BlobSource for Documents<'_> {
    fn blob(&self, digest: &Digest) -> io::Result<Option<Blob>> {
        self.read(*digest).or_else(|error| {
            *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            Ok(None)
        })
    }
}

/// The layers of an image in a registry.
#[derive(Debug)]
pub(super) struct Layers {
    repository: Repository,
    text: String,
}

impl Layers {
    /// A layer, from the store or the registry.
    pub(super) fn fetch(&self, view: &ImageView, index: usize, context: &Context<'_>) -> Result<Option<Blob>> {
        let Some(layer) = view.layers.get(index) else { return Ok(None) };
        let label = format!("layer {}", layer.digest);
        if let Some(blob) = context.store.blob(&label, layer.digest)? {
            return Ok(Some(blob));
        }
        context.network.allowed(&self.text)?;
        let client = context.network.client()?;
        if let Some(partial) = context.store.receive(layer.digest, context.progress)? {
            let mut into = Into(partial);
            let have = Have { offset: into.0.size(), hasher: into.0.hasher().clone(), validator: None };
            let descriptor = Descriptor::new(&layer.media_type, layer.digest, layer.size);
            client
                .blob(&self.repository, &descriptor, have, &mut into, context.progress)
                .map_err(|error| not_read(&error, &self.text))?;
            into.0.commit()?;
        }
        context.store.blob(&label, layer.digest)
    }

    /// Fetches the layer and those below it side by side, once it is clear that the upper ones did not decide.
    pub(super) fn prefetch(&self, view: &ImageView, index: usize, read: usize, context: &Context<'_>) -> Result<()> {
        if read < 2 {
            return Ok(());
        }
        let batch: Vec<usize> = (0..PARALLEL).filter_map(|below| index.checked_sub(below)).collect();
        let outcome = std::thread::scope(|scope| {
            let running: Vec<_> =
                batch.iter().map(|index| scope.spawn(|| self.fetch(view, *index, context).map(drop))).collect();
            running.into_iter().map(std::thread::ScopedJoinHandle::join).collect::<Vec<_>>()
        });
        for one in outcome {
            one.map_err(|_| Error::from(io::Error::other("a thread that fetches a layer stopped")))??;
        }
        Ok(())
    }
}

/// A blob on its way into the store, as a transfer sees it.
struct Into(Partial);

impl Write for Into {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Sink for Into {
    fn restart(&mut self) -> io::Result<()> {
        self.0.restart()
    }
}
