//! Follows digests from an index to the layers. Every blob on the way is held to its digest and size.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use imgcore::{Blob, Digest, ReadAt as _};

use super::{
    Compression, ImageView, LayerView, Name, Options, Role,
    findings::{Findings, quote},
    json::{self, Texts},
};
use crate::{
    BlobSource, Config, Descriptor, Document, Platform,
    media::{self, Meaning},
    rules,
};

const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// Indexes inside indexes. The specification knows one level; tools make two.
const DEPTH_LIMIT: usize = 4;
/// All documents together may be as large as this many of the largest.
const DOCUMENTS: u64 = 16;

pub(super) struct Graph<'a> {
    source: &'a dyn BlobSource,
    pub(super) options: Arc<Options>,
    pub(super) findings: Findings,
    pub(super) images: Vec<ImageView>,
    /// Where blobs lie in the archive, for findings.
    places: BTreeMap<Digest, Range<u64>>,
    /// Every blob that was looked at, once.
    seen: BTreeMap<Digest, Option<Blob>>,
    manifests: usize,
    /// Bytes of documents that may still be held.
    documents: u64,
}

/// A document as it was parsed, beside its received bytes.
pub(super) struct Read {
    pub(super) received: Document,
    pub(super) parsed: json::Document,
}

impl<'a> Graph<'a> {
    pub(super) fn new(
        source: &'a dyn BlobSource,
        places: BTreeMap<Digest, Range<u64>>,
        options: Arc<Options>,
        findings: Findings,
    ) -> Self {
        let documents = options.limits.document.saturating_mul(DOCUMENTS);
        Self { source, options, findings, images: Vec::new(), places, seen: BTreeMap::new(), manifests: 0, documents }
    }

    /// Says something about a blob, with its place in the archive.
    fn say(&mut self, code: &'static str, digest: Digest, message: String) {
        let finding = rules::finding(code, message);
        self.findings.add(match self.places.get(&digest) {
            Some(range) => finding.at(range.clone()),
            None => finding,
        });
    }

    /// Whether anything referred to this blob.
    pub(super) fn refers_to(&self, digest: &Digest) -> bool {
        self.seen.contains_key(digest)
    }

    /// Counts a blob as referred to, whoever checked it.
    pub(super) fn mark_seen(&mut self, digest: Digest, blob: &Blob) {
        self.seen.entry(digest).or_insert_with(|| Some(blob.clone()));
    }

    /// A manifest that nothing refers to: it is the top itself.
    pub(super) fn top_manifest(&mut self, read: Read) {
        let (media_type, size) = (read.received.media_type.clone(), read.received.bytes.len() as u64);
        let digest = read.received.digest.to_string();
        self.manifest(read, &json::Descriptor { media_type, digest, size, platform: None, annotations: None });
    }

    /// The annotations of a document that was read before.
    pub(super) fn annotations(document: &Document) -> Option<Texts> {
        serde_json::from_slice::<json::Document>(&document.bytes).ok()?.annotations
    }

    /// The blob with its digest checked, once however many refer to it.
    fn blob(&mut self, digest: Digest, referrer: &str) -> Option<Blob> {
        if let Some(known) = self.seen.get(&digest) {
            return known.clone();
        }
        let blob = match self.source.blob(&digest) {
            Ok(Some(blob)) => Some(blob),
            Ok(None) => {
                self.findings.say(rules::DANGLING, format!("{referrer} refers to {digest}, which is not there"));
                None
            }
            Err(error) => {
                self.say(rules::MEDIUM, digest, format!("{digest}: {error}"));
                None
            }
        };
        // Whatever the source says of the digest is not asked: the bytes are.
        if let Some(blob) = &blob {
            match Blob::new(blob.label(), Arc::new(blob.clone()), None).compute_digest() {
                Ok(found) if found == digest => {}
                Ok(found) => {
                    let message = format!("the blob stored as {digest} has digest {found}: its bytes were changed");
                    self.say(rules::DIGEST, digest, message);
                }
                Err(error) => self.say(rules::MEDIUM, digest, format!("{digest}: {error}")),
            }
        }
        self.seen.insert(digest, blob.clone());
        blob
    }

    /// What a descriptor points to.
    fn target(&mut self, descriptor: &json::Descriptor, referrer: &str) -> Option<(Digest, Blob)> {
        let Some(digest) = json::digest(&descriptor.digest) else {
            let text = quote(descriptor.digest.as_bytes());
            let message = format!("{referrer} refers to {text}, expected sha256: and 64 lower-case hex digits");
            self.findings.say(rules::DIGEST_TEXT, message);
            return None;
        };
        let blob = self.blob(digest, referrer)?;
        if blob.size() != descriptor.size {
            let (found, stated) = (blob.size(), descriptor.size);
            self.say(rules::SIZE, digest, format!("{digest} has {found} bytes, {referrer} says {stated}"));
        }
        Some((digest, blob))
    }

    /// Reads a document of at most 4 MiB.
    fn received(&mut self, descriptor: &json::Descriptor, referrer: &str) -> Option<Document> {
        let (digest, blob) = self.target(descriptor, referrer)?;
        let limit = self.options.limits.document;
        if blob.size() > limit {
            let message = format!("{digest} has {} bytes, a document at most {limit}", blob.size());
            self.say(rules::DOCUMENT_SIZE, digest, message);
            return None;
        }
        let Some(left) = self.documents.checked_sub(blob.size()) else {
            let message =
                format!("{digest} is behind the {} bytes of documents that are read", limit.saturating_mul(DOCUMENTS));
            self.say(rules::DOCUMENT_SIZE, digest, message);
            return None;
        };
        self.documents = left;
        match blob.read_all(limit) {
            Ok(bytes) => Some(Document { media_type: descriptor.media_type.clone(), digest, bytes }),
            Err(error) => {
                self.say(rules::MEDIUM, digest, format!("{digest}: {error}"));
                None
            }
        }
    }

    pub(super) fn parse(&mut self, received: Document) -> Option<Read> {
        let digest = received.digest;
        let parsed: json::Document = match serde_json::from_slice(&received.bytes) {
            Ok(parsed) => parsed,
            Err(error) => {
                self.say(rules::JSON, digest, format!("{digest} is no index or manifest: {error}"));
                return None;
            }
        };
        if parsed.fs_layers.is_some() || parsed.schema_version == Some(1) {
            self.say(rules::JSON, digest, format!("{digest} is in Docker's schema 1, which nobody should write"));
            return None;
        }
        if parsed.manifests.is_some() && (parsed.layers.is_some() || parsed.config.is_some()) {
            let message =
                format!("{digest} has both manifests and layers: it is an index to some and an image to others");
            self.say(rules::AMBIGUOUS, digest, message);
            return None;
        }
        if let Some(own) = parsed.media_type.as_deref().filter(|own| *own != received.media_type)
            && !received.media_type.is_empty()
        {
            let (own, stated) = (quote(own.as_bytes()), quote(received.media_type.as_bytes()));
            self.say(
                rules::MEDIA_TYPE,
                digest,
                format!("{digest} calls itself {own}, its reference calls it {stated}"),
            );
        }
        Some(Read { received, parsed })
    }

    /// Follows the entries of an index.
    pub(super) fn index(&mut self, manifests: &[json::Descriptor], referrer: &str, depth: usize) {
        if depth > DEPTH_LIMIT {
            self.findings
                .say(rules::NESTING, format!("{referrer} lies {depth} indexes deep, at most {DEPTH_LIMIT} are read"));
            return;
        }
        let mut platforms: Vec<Platform> = Vec::new();
        for descriptor in manifests {
            self.manifests = self.manifests.saturating_add(1);
            if self.manifests > self.options.limits.images {
                let limit = self.options.limits.images;
                self.findings.say(rules::NESTING, format!("{referrer} names more than {limit} images"));
                return;
            }
            let platform = descriptor.platform.as_ref().map(platform_of);
            if !self.wanted(platform.as_ref()) {
                continue;
            }
            if let Some(platform) = platform.filter(|platform| platform.os != "unknown") {
                if platforms.contains(&platform) {
                    self.findings.say(rules::SAME_PLATFORM, format!("{referrer} names two images for {platform}"));
                }
                platforms.push(platform);
            }
            self.entry(descriptor, referrer, depth);
        }
    }

    pub(super) fn wanted(&self, platform: Option<&Platform>) -> bool {
        let wanted = &self.options.platforms;
        wanted.is_empty() || platform.is_none_or(|found| wanted.iter().any(|wanted| found.serves(wanted)))
    }

    /// Whether one of these names is the tag that is asked for, alone or at the end of a reference.
    pub(super) fn tagged<'n>(&self, mut names: impl Iterator<Item = &'n str>) -> bool {
        self.options.tag.as_deref().is_none_or(|tag| {
            names.any(|name| name.strip_suffix(tag).is_some_and(|rest| rest.is_empty() || rest.ends_with([':', '/'])))
        })
    }

    /// Follows one entry of an index.
    pub(super) fn entry(&mut self, descriptor: &json::Descriptor, referrer: &str, depth: usize) -> Option<Document> {
        if !matches!(media::meaning(&descriptor.media_type), Some(Meaning::Index | Meaning::Manifest)) {
            let text = quote(descriptor.media_type.as_bytes());
            let message = format!("{referrer} refers to media type {text}, expected an index or a manifest");
            self.findings.say(rules::MEDIA_TYPE, message);
        }
        let received = self.received(descriptor, referrer)?;
        let read = self.parse(received)?;
        let copy = read.received.clone();
        match &read.parsed.manifests {
            Some(manifests) => {
                let name = format!("index {}", read.received.digest);
                self.index(manifests, &name, depth.saturating_add(1));
            }
            None => self.manifest(read, descriptor),
        }
        Some(copy)
    }

    fn manifest(&mut self, read: Read, descriptor: &json::Descriptor) {
        let Read { received, parsed } = read;
        let digest = received.digest;
        let Some(config) = &parsed.config else {
            self.say(
                rules::JSON,
                digest,
                format!("{digest} is neither an index nor a manifest: it has no configuration"),
            );
            return;
        };
        let name = format!("manifest {digest}");
        let attestation = descriptor.annotations.as_ref().is_some_and(|texts| {
            texts.get("vnd.docker.reference.type").is_some_and(|kind| kind == "attestation-manifest")
        });
        let image = parsed.artifact_type.is_none() && media::meaning(&config.media_type) == Some(Meaning::Config);
        let mut view = ImageView {
            role: match (attestation, image) {
                (true, _) => Role::Attestation,
                (false, true) => Role::Image,
                (false, false) => Role::Artifact,
            },
            platform: descriptor.platform.as_ref().map(platform_of),
            config: self.received(config, &name),
            manifest: Some(received),
            run: Config::default(),
            created: None,
            annotations: parsed.annotations.unwrap_or_default(),
            layers: Vec::new(),
            docker: false,
            options: Arc::clone(&self.options),
        };
        let mut layers = parsed.layers.unwrap_or_default();
        self.cut_layers(&mut layers, digest);
        for layer in &layers {
            if let Some(layer) = self.layer(layer, &name, view.role) {
                view.layers.push(layer);
            }
        }
        if view.role == Role::Image {
            let whole = view.layers.len() == layers.len();
            self.configure(&mut view, whole);
        }
        // An index that names no platform still may hold an image for another one.
        if view.role != Role::Image || self.wanted(view.platform.as_ref()) {
            self.images.push(view);
        }
    }

    pub(super) fn cut_layers<T>(&mut self, layers: &mut Vec<T>, digest: Digest) {
        let limit = self.options.limits.layers;
        if layers.len() > limit {
            self.say(rules::NESTING, digest, format!("{digest} has {} layers, at most {limit} are read", layers.len()));
            layers.truncate(limit);
        }
    }

    fn layer(&mut self, descriptor: &json::Descriptor, referrer: &str, role: Role) -> Option<LayerView> {
        let (media_type, size) = (descriptor.media_type.clone(), descriptor.size);
        let digest = json::digest(&descriptor.digest);
        if let Some(digest) = digest.filter(|_| self.options.defer_layers) {
            let compression = Compression::None;
            return Some(LayerView { digest, size, media_type, diff_id: None, compression, data: None });
        }
        let data = self.target(descriptor, referrer).map(|(_, blob)| blob);
        let digest = digest?;
        let compression = data.as_ref().map_or(Ok(Compression::None), Compression::sniff).unwrap_or(Compression::None);
        if role == Role::Image {
            let expected = match media::meaning(&media_type) {
                Some(Meaning::Tar) => Some(Compression::None),
                Some(Meaning::TarGzip) => Some(Compression::Gzip),
                Some(Meaning::TarZstd) => Some(Compression::Zstd),
                _ => None,
            };
            let text = quote(media_type.as_bytes());
            match expected {
                None => self.say(
                    rules::MEDIA_TYPE,
                    digest,
                    format!("{digest} has media type {text}, expected one of a layer"),
                ),
                Some(expected) if expected != compression && data.is_some() => {
                    self.say(
                        rules::COMPRESSION_KIND,
                        digest,
                        format!("{digest} is {compression}, its media type is {text}"),
                    );
                }
                Some(_) => {}
            }
        }
        Some(LayerView { digest, size, media_type, diff_id: None, compression, data })
    }

    /// Reads the configuration into the image: platform, settings, `diff_ids`. `whole` says that every layer is there
    /// to be counted.
    pub(super) fn configure(&mut self, view: &mut ImageView, whole: bool) {
        let Some(document) = &view.config else { return };
        let digest = document.digest;
        let config: json::Config = match serde_json::from_slice(&document.bytes) {
            Ok(config) => config,
            Err(error) => {
                self.say(rules::JSON, digest, format!("{digest} is no image configuration: {error}"));
                return;
            }
        };
        let platform = Platform { variant: config.variant, ..Platform::new(config.os, config.architecture) };
        if let Some(stated) = &view.platform
            && !(platform.serves(stated) || stated.serves(&platform))
        {
            let message = format!("the index says that {digest} is for {stated}, its configuration says {platform}");
            self.say(rules::PLATFORM, digest, message);
        }
        // The more exact of the two.
        if !view.platform.as_ref().is_some_and(|stated| stated.serves(&platform)) {
            view.platform = Some(platform);
        }
        view.created = config.created;
        view.run = config.run.map(Config::from).unwrap_or_default();
        let diff_ids = config.rootfs.and_then(|rootfs| rootfs.diff_ids).unwrap_or_default();
        if whole && diff_ids.len() != view.layers.len() {
            let (stated, found) = (diff_ids.len(), view.layers.len());
            self.say(rules::DIFF_IDS, digest, format!("{digest} has {stated} diff_ids, its manifest {found} layers"));
        }
        // With a layer left out nobody knows which diff_id is whose.
        for (layer, text) in view.layers.iter_mut().zip(&diff_ids).filter(|_| whole) {
            layer.diff_id = json::digest(text);
            if layer.diff_id.is_none() {
                let message =
                    format!("{digest} has diff_id {}, expected sha256: and 64 hex digits", quote(text.as_bytes()));
                self.say(rules::DIGEST_TEXT, digest, message);
            }
        }
    }
}

fn platform_of(raw: &json::Platform) -> Platform {
    Platform { variant: raw.variant.clone(), ..Platform::new(&raw.os, &raw.architecture) }
}

/// The entries of `index.json` whose digests can be read.
pub(super) fn names(manifests: &[json::Descriptor]) -> Vec<Name> {
    let name = |raw: &json::Descriptor| {
        Some(Name {
            tag: tags(std::slice::from_ref(raw)).pop(),
            descriptor: Descriptor {
                platform: raw.platform.as_ref().map(platform_of),
                annotations: raw.annotations.clone().unwrap_or_default(),
                ..Descriptor::new(&raw.media_type, json::digest(&raw.digest)?, raw.size)
            },
        })
    };
    manifests.iter().filter_map(name).collect()
}

/// Tags of the entries of `index.json`.
pub(super) fn tags(manifests: &[json::Descriptor]) -> Vec<String> {
    let tag = |texts: &Texts| texts.get(REF_NAME).cloned();
    manifests.iter().filter_map(|descriptor| descriptor.annotations.as_ref().and_then(tag)).collect()
}

/// What an entry of `index.json` is called: its tag, and its full name in the words of containerd.
pub(super) fn tags_of(descriptor: &json::Descriptor) -> impl Iterator<Item = &str> {
    let texts = descriptor.annotations.iter();
    texts
        .flat_map(|texts| [REF_NAME, "io.containerd.image.name"].map(|key| texts.get(key)))
        .flatten()
        .map(String::as_str)
}
