//! What an index or a manifest needs, all the way down: what a registry has to be given, or asked for.
//!
//! ```
//! use imgcore::{Blob, Epoch};
//! use ocipack::{Contents, Entry, Image, Platform, archive, layer};
//!
//! let layer = layer::build(&[Entry::file("hello", 0o644, Blob::from_bytes("text", *b"hello"))], Epoch(0))?;
//! let images = ["arm64", "amd64"].map(|arch| Image::new(Platform::new("linux", arch), vec![layer.clone()], Epoch(0)));
//! let archive = archive::plan(&images, &archive::Options::default())?;
//!
//! let root = archive.root_document().ok_or("no root")?;
//! let contents = Contents::read(root, &archive)?;
//! assert_eq!(contents.images.len(), 2);
//! // The layer of both, and two configurations.
//! assert_eq!((contents.documents.len(), contents.blobs.len()), (2, 3));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::collections::BTreeSet;

use imgcore::{Digest, ReadAt as _};

use crate::{
    BlobSource, Descriptor, Document, Error, ErrorKind, Platform,
    media::{self, Meaning},
    read::json,
};

/// Indexes inside indexes, as the reader of archives has it.
const DEPTH_LIMIT: usize = 4;
/// Documents of one image and all its platforms.
const COUNT_LIMIT: usize = 4096;
/// Bytes of one document. The distribution specification asks registries to take 4 MiB; nobody takes this.
pub(crate) const DOCUMENT_LIMIT: u64 = 100 << 20;
/// Bytes of one document of an image, which is kept and parsed: twice what registries are asked to take.
const KEPT_LIMIT: u64 = 8 << 20;
/// Bytes of all documents of one image.
const SUM_LIMIT: u64 = 32 << 20;
/// Blobs of all documents.
const BLOB_LIMIT: usize = 65_536;

/// Everything that a root document refers to, in the order in which a registry takes it: blobs, then documents, children
/// before those that name them, then the root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// The document itself.
    pub root: Document,
    /// Manifests and indexes below the root, children first, each once.
    pub documents: Vec<Document>,
    /// Configurations and layers, each once, in the order in which the documents name them.
    pub blobs: Vec<Descriptor>,
    /// The manifests among all documents, in the order of the indexes.
    pub images: Vec<ImageParts>,
    /// What an archive's `index.json` names: the root, or the chosen manifests if platforms were chosen.
    pub tops: Vec<Descriptor>,
}

/// A manifest and what it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageParts {
    /// For which machines, if the index says so.
    pub platform: Option<Platform>,
    /// The manifest.
    pub manifest: Descriptor,
    /// Its configuration.
    pub config: Descriptor,
    /// Its layers, the lowest first.
    pub layers: Vec<Descriptor>,
}

impl ImageParts {
    /// Whether the manifest is of a root file system: no attestation, no artifact.
    pub fn is_image(&self) -> bool {
        media::meaning(&self.config.media_type) == Some(Meaning::Config)
            && self.platform.as_ref().is_none_or(|platform| platform.os != "unknown")
    }
}

/// Gives the bytes of a document.
type Fetch<'a> = dyn FnMut(&Descriptor) -> Result<Document, Error> + 'a;

impl Contents {
    /// Follows `root` through a source that holds all its documents. Digests and sizes of documents are checked, and that
    /// every blob is there with the size that its descriptor says; the bytes of blobs are not read.
    ///
    /// # Errors
    /// A document is missing, is not what its descriptor says, or cannot be read; the source fails.
    pub fn read(root: Document, source: &dyn BlobSource) -> Result<Self, Error> {
        let contents = Self::follow(root, &[], &mut |descriptor| document_of(descriptor, source))?;
        for blob in &contents.blobs {
            let there = lookup(blob, source)?.ok_or_else(|| missing(blob.digest))?;
            check_size(blob, there.size())?;
        }
        Ok(contents)
    }

    /// Follows `root`, asking for each document once, children before later siblings. With `platforms`, only manifests for
    /// them are followed, and they become the [`tops`](Self::tops); a root that is a manifest is followed in any case.
    ///
    /// # Errors
    /// Whatever `fetch` answers; a document that cannot be read; a platform that is not there; limits of depth and count.
    pub fn follow(root: Document, platforms: &[Platform], fetch: &mut Fetch<'_>) -> Result<Self, Error> {
        let size = root.bytes.len() as u64;
        check_kept(root.digest, size, size)?;
        let parsed = parse(&root)?;
        let root = Document { media_type: media_type(&parsed, &root.media_type), ..root };
        let top = root.descriptor();
        let mut contents =
            Self { root, documents: Vec::new(), blobs: Vec::new(), images: Vec::new(), tops: vec![top.clone()] };
        let mut walk = Walk {
            fetch,
            platforms,
            contents: &mut contents,
            documents: BTreeSet::new(),
            blobs: BTreeSet::new(),
            size,
        };
        walk.documents.insert(top.digest);
        let chosen = !platforms.is_empty() && parsed.manifests.is_some();
        walk.document(&top, &parsed, 0)?;
        if chosen {
            contents.tops = contents.images.iter().map(ImageParts::top).collect();
            for wanted in platforms {
                let serves = |image: &ImageParts| image.platform.as_ref().is_some_and(|found| found.serves(wanted));
                if !contents.images.iter().any(serves) {
                    return Err(no_platform(wanted, &parsed));
                }
            }
        }
        Ok(contents)
    }

    /// Bytes of all blobs.
    pub fn blob_bytes(&self) -> u64 {
        self.blobs.iter().fold(0, |sum, blob| sum.saturating_add(blob.size))
    }
}

impl ImageParts {
    fn top(&self) -> Descriptor {
        Descriptor { platform: self.platform.clone(), ..self.manifest.clone() }
    }
}

struct Walk<'a, 'f> {
    fetch: &'a mut Fetch<'f>,
    platforms: &'a [Platform],
    contents: &'a mut Contents,
    documents: BTreeSet<Digest>,
    blobs: BTreeSet<Digest>,
    /// Bytes of all documents.
    size: u64,
}

impl Walk<'_, '_> {
    fn document(&mut self, own: &Descriptor, parsed: &json::Document, depth: usize) -> Result<(), Error> {
        if let Some(manifests) = &parsed.manifests {
            return self.index(own.digest, manifests, depth);
        }
        // What is neither is something that a registry keeps for somebody else; nothing below it is known.
        let Some(config) = &parsed.config else { return Ok(()) };
        let config = self.blob(own.digest, config)?;
        let mut layers = Vec::new();
        for layer in parsed.layers.iter().flatten() {
            layers.push(self.blob(own.digest, layer)?);
        }
        let manifest = Descriptor { platform: None, ..own.clone() };
        self.contents.images.push(ImageParts { platform: own.platform.clone(), manifest, config, layers });
        Ok(())
    }

    fn index(&mut self, own: Digest, manifests: &[json::Descriptor], depth: usize) -> Result<(), Error> {
        if depth >= DEPTH_LIMIT {
            return Err(bad(own, format!("lies {depth} indexes deep, at most {DEPTH_LIMIT} are followed")));
        }
        for entry in manifests {
            let entry = descriptor(own, entry)?;
            if !self.wanted(&entry) || !self.documents.insert(entry.digest) {
                continue;
            }
            if self.documents.len() > COUNT_LIMIT {
                return Err(bad(own, format!("names more than {COUNT_LIMIT} documents")));
            }
            self.size = self.size.saturating_add(entry.size);
            check_kept(entry.digest, entry.size, self.size)?;
            let received = (self.fetch)(&entry)?;
            check_size(&entry, received.bytes.len() as u64)?;
            let parsed = parse(&received)?;
            let received = Document { media_type: media_type(&parsed, &entry.media_type), ..received };
            let entry = Descriptor { media_type: received.media_type.clone(), ..entry };
            self.document(&entry, &parsed, depth.saturating_add(1))?;
            self.contents.documents.push(received);
        }
        Ok(())
    }

    fn wanted(&self, entry: &Descriptor) -> bool {
        let nested = media::meaning(&entry.media_type) == Some(Meaning::Index) && entry.platform.is_none();
        let serves = |found: &Platform| self.platforms.iter().any(|wanted| found.serves(wanted));
        self.platforms.is_empty() || nested || entry.platform.as_ref().is_some_and(serves)
    }

    fn blob(&mut self, own: Digest, raw: &json::Descriptor) -> Result<Descriptor, Error> {
        let blob = descriptor(own, raw)?;
        if self.blobs.insert(blob.digest) {
            if self.blobs.len() > BLOB_LIMIT {
                return Err(bad(own, format!("names more than {BLOB_LIMIT} blobs")));
            }
            self.contents.blobs.push(blob.clone());
        }
        Ok(blob)
    }
}

/// A document out of a source, held to its descriptor.
pub(crate) fn document_of(descriptor: &Descriptor, source: &dyn BlobSource) -> Result<Document, Error> {
    let digest = descriptor.digest;
    let blob = lookup(descriptor, source)?.ok_or_else(|| missing(digest))?;
    check_size(descriptor, blob.size())?;
    let bytes = blob.read_all(DOCUMENT_LIMIT).map_err(|source| failed(descriptor, source))?;
    let found = Digest::of(&bytes);
    if found != digest {
        return Err(ErrorKind::OtherBytes { expected: digest, found }.into());
    }
    Ok(Document { media_type: descriptor.media_type.clone(), digest, bytes })
}

fn lookup(descriptor: &Descriptor, source: &dyn BlobSource) -> Result<Option<imgcore::Blob>, Error> {
    source.blob(&descriptor.digest).map_err(|source| failed(descriptor, source))
}

fn failed(descriptor: &Descriptor, source: std::io::Error) -> Error {
    let label = descriptor.digest.to_string();
    ErrorKind::Read { path: label.clone(), label, source }.into()
}

fn check_size(descriptor: &Descriptor, found: u64) -> Result<(), Error> {
    if descriptor.size == found {
        return Ok(());
    }
    Err(bad(descriptor.digest, format!("has {found} bytes, its descriptor says {}", descriptor.size)))
}

/// Whoever serves an image must not decide how much memory it takes.
fn check_kept(digest: Digest, size: u64, sum: u64) -> Result<(), Error> {
    if size > KEPT_LIMIT {
        return Err(bad(digest, format!("has {size} bytes, at most {KEPT_LIMIT} are read of one document")));
    }
    if sum > SUM_LIMIT {
        return Err(bad(
            digest,
            format!("brings the documents of the image to {sum} bytes, at most {SUM_LIMIT} are read"),
        ));
    }
    Ok(())
}

fn missing(digest: Digest) -> Error {
    ErrorKind::Incomplete { digest }.into()
}

fn bad(digest: Digest, problem: String) -> Error {
    ErrorKind::Document { digest, problem }.into()
}

fn no_platform(wanted: &Platform, parsed: &json::Document) -> Error {
    let platforms = parsed.manifests.iter().flatten().filter_map(|entry| entry.platform.as_ref());
    let there = platforms.map(|found| platform(found).to_string()).filter(|found| found != "unknown/unknown");
    ErrorKind::NoPlatform { wanted: wanted.to_string(), there: there.collect() }.into()
}

/// An index or a manifest; what would be both, or is of Docker's schema 1, is refused.
pub(crate) fn parse(document: &Document) -> Result<json::Document, Error> {
    let parsed: json::Document = serde_json::from_slice(&document.bytes)
        .map_err(|error| bad(document.digest, format!("is no index or manifest: {error}")))?;
    if parsed.fs_layers.is_some() || parsed.schema_version == Some(1) {
        return Err(bad(document.digest, "is in Docker's schema 1, expected schema 2 or an OCI document".to_owned()));
    }
    if parsed.manifests.is_some() && (parsed.layers.is_some() || parsed.config.is_some()) {
        return Err(bad(document.digest, "has both manifests and layers, expected one of the two".to_owned()));
    }
    Ok(parsed)
}

/// What a document calls itself, else what it was called, else what it looks like.
fn media_type(parsed: &json::Document, stated: &str) -> String {
    let docker = parsed.config.as_ref().is_some_and(|config| config.media_type == media::DOCKER_CONFIG);
    match parsed.media_type.as_deref().filter(|own| !own.is_empty()) {
        Some(own) => own.to_owned(),
        None if !stated.is_empty() => stated.to_owned(),
        None if parsed.manifests.is_some() => media::INDEX.to_owned(),
        None if docker => media::DOCKER_MANIFEST.to_owned(),
        None => media::MANIFEST.to_owned(),
    }
}

fn platform(raw: &json::Platform) -> Platform {
    Platform { variant: raw.variant.clone(), ..Platform::new(&raw.os, &raw.architecture) }
}

pub(crate) fn descriptor(referrer: Digest, raw: &json::Descriptor) -> Result<Descriptor, Error> {
    let digest = json::digest(&raw.digest).ok_or_else(|| {
        let text: String = raw.digest.chars().take(80).collect();
        bad(referrer, format!("refers to {text:?}, expected sha256: and 64 lower-case hex digits"))
    })?;
    Ok(Descriptor {
        platform: raw.platform.as_ref().map(platform),
        annotations: raw.annotations.clone().unwrap_or_default(),
        ..Descriptor::new(&raw.media_type, digest, raw.size)
    })
}

/// For which machines an image is, by its configuration.
pub(crate) fn platform_of(config: &Descriptor, source: &dyn BlobSource) -> Result<Option<Platform>, Error> {
    let document = document_of(config, source)?;
    let parsed: json::Config = serde_json::from_slice(&document.bytes)
        .map_err(|error| bad(config.digest, format!("is no image configuration: {error}")))?;
    let known = !parsed.os.is_empty() && !parsed.architecture.is_empty();
    Ok(known.then(|| Platform { variant: parsed.variant, ..Platform::new(parsed.os, parsed.architecture) }))
}
