//! What was read: images, their documents as received, their layers.

use std::{collections::BTreeMap, fmt, ops::Range, sync::Arc};

use imgcore::{Blob, Digest, Finding, ReadAt, Report};

use super::{
    Options,
    findings::Findings,
    tree::{Change, Tree},
    walk::Budget,
};
use crate::{BlobSource, Config, Descriptor, Document, Platform, rules};

/// What kind of container the images came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// An OCI layout: `index.json` and `blobs`, in an archive or a folder.
    Oci,
    /// Docker's format: `manifest.json` alone.
    Docker,
    /// An OCI layout with a `manifest.json` beside it.
    OciAndDocker,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Oci => "OCI layout",
            Self::Docker => "Docker archive",
            Self::OciAndDocker => "OCI layout with Docker's manifest.json",
        })
    }
}

/// The images of an archive or a layout.
#[derive(Debug, Clone)]
pub struct ArchiveView {
    /// What they came in.
    pub format: Format,
    /// What `index.json` points to when that is one document, an index as a rule; as received.
    pub root: Option<Document>,
    /// Tags (`org.opencontainers.image.ref.name` and Docker's `RepoTags`), sorted.
    pub tags: Vec<String>,
    /// What `index.json` names, in its order.
    pub names: Vec<Name>,
    /// Annotations of the index.
    pub annotations: BTreeMap<String, String>,
    /// Images, attestations and artifacts in the order of the indexes.
    pub images: Vec<ImageView>,
    /// Where blobs lie in the archive.
    pub(super) places: BTreeMap<Digest, Range<u64>>,
}

/// An entry of `index.json`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// Its tag.
    pub tag: Option<String>,
    /// What it points to.
    pub descriptor: Descriptor,
}

/// The blobs of an archive by digest.
pub struct ArchiveBlobs {
    data: Arc<dyn ReadAt>,
    places: BTreeMap<Digest, Range<u64>>,
}

impl BlobSource for ArchiveBlobs {
    fn blob(&self, digest: &Digest) -> std::io::Result<Option<Blob>> {
        let blob =
            |range: &Range<u64>| Blob::new(digest.to_string(), Arc::clone(&self.data), None).slice(range.clone());
        Ok(self.places.get(digest).map(blob))
    }
}

impl fmt::Debug for ArchiveBlobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArchiveBlobs").field("blobs", &self.places.len()).finish_non_exhaustive()
    }
}

impl ArchiveView {
    /// The blobs of the OCI layout in `data`, which is what this view was opened from.
    pub fn blobs(&self, data: Arc<dyn ReadAt>) -> ArchiveBlobs {
        ArchiveBlobs { data, places: self.places.clone() }
    }

    /// As [`verify`](Self::verify), and hands out the tree of each image that is a root file system, so that nothing has to
    /// be unpacked twice.
    pub fn verify_with(&self, visit: &mut dyn FnMut(&ImageView, &Tree)) -> Report {
        let mut findings = Findings::default();
        self.each_tree(false, &mut |image, tree, report| {
            findings.extend(report);
            if image.role == Role::Image {
                visit(image, &tree);
            }
        });
        findings.finish()
    }

    /// Where a blob lies in the archive, in bytes. `None` in a layout, and for names that are no digests.
    pub fn place(&self, digest: &Digest) -> Option<Range<u64>> {
        self.places.get(digest).cloned()
    }

    /// The first image for a platform.
    pub fn image(&self, platform: &Platform) -> Option<&ImageView> {
        self.images().find(|image| image.platform.as_ref().is_some_and(|found| found.serves(platform)))
    }

    /// The images, without attestations and artifacts.
    pub fn images(&self) -> impl Iterator<Item = &ImageView> {
        self.images.iter().filter(|image| image.role == Role::Image)
    }

    /// Unpacks every layer in passing: tar contents, `diff_ids`, paths. [`open`](super::open) has checked the rest.
    pub fn verify(&self) -> Report {
        let mut findings = Findings::default();
        self.each_tree(false, &mut |_, _, report| findings.extend(report));
        findings.finish()
    }

    /// The changes of all images within one budget; what is no image has none.
    pub(crate) fn each_change(&self, visit: &mut dyn FnMut(&ImageView, Vec<Change>, Report)) {
        let mut budget = Budget::default();
        for image in &self.images {
            let (changes, report) = match image.role {
                Role::Image => image.changes_within(&mut budget),
                Role::Attestation | Role::Artifact => (Vec::new(), Report::new()),
            };
            visit(image, changes, report);
        }
    }

    /// Reads the trees of all images within one budget; what is no image has an empty one.
    pub(crate) fn each_tree(&self, digests: bool, visit: &mut dyn FnMut(&ImageView, Tree, Report)) {
        let mut budget = Budget::default();
        for image in &self.images {
            let (tree, report) = match image.role {
                Role::Image => Tree::read(image, digests, &mut budget),
                Role::Attestation | Role::Artifact => (Tree::default(), Report::new()),
            };
            visit(image, tree, report);
        }
    }
}

/// What a manifest describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A root file system.
    Image,
    /// Statements about an image, as `docker buildx` adds them.
    Attestation,
    /// Something else in the shape of an image.
    Artifact,
}

/// One image.
#[derive(Debug, Clone)]
pub struct ImageView {
    /// What the manifest describes.
    pub role: Role,
    /// For which machines: from the configuration, else from the index.
    pub platform: Option<Platform>,
    /// Its manifest as received; Docker's own archives have none.
    pub manifest: Option<Document>,
    /// Its configuration as received.
    pub config: Option<Document>,
    /// What a container made of it runs.
    pub run: Config,
    /// When it was made, in the words of the configuration.
    pub created: Option<String>,
    /// Annotations of the manifest.
    pub annotations: BTreeMap<String, String>,
    /// Its layers, the lowest first.
    pub layers: Vec<LayerView>,
    /// Whether `docker load` would take it: `manifest.json` names it.
    pub docker: bool,
    pub(crate) options: Arc<Options>,
}

impl ImageView {
    /// A root file system that lies in a tar, as an image of one layer: what `docker export` writes, compressed or not.
    ///
    /// # Errors
    /// A medium that cannot be read, as a finding.
    pub fn of_tar(data: Blob, options: Options) -> Result<Self, Finding> {
        let medium = |error: std::io::Error| rules::finding(rules::MEDIUM, format!("{}: {error}", data.label()));
        let digest = data.compute_digest().map_err(medium)?;
        let compression = Compression::sniff(&data).map_err(medium)?;
        let layer = LayerView {
            digest,
            size: data.size(),
            media_type: String::new(),
            diff_id: None,
            compression,
            data: Some(data),
        };
        Ok(Self {
            role: Role::Image,
            platform: None,
            manifest: None,
            config: None,
            run: Config::default(),
            created: None,
            annotations: BTreeMap::new(),
            layers: vec![layer],
            docker: false,
            options: Arc::new(options),
        })
    }

    /// All entries of all layers, whiteouts applied. Reads every layer once, in passing.
    pub fn tree(&self) -> (Tree, Report) {
        Tree::read(self, false, &mut Budget::default())
    }

    /// As [`tree`](Self::tree), with the SHA-256 of every file.
    pub fn tree_with_digests(&self) -> (Tree, Report) {
        Tree::read(self, true, &mut Budget::default())
    }

    /// What each layer does to those below it, in the order of the layers: files that it adds, replaces and deletes.
    pub fn changes(&self) -> (Vec<Change>, Report) {
        self.changes_within(&mut Budget::default())
    }

    fn changes_within(&self, budget: &mut Budget) -> (Vec<Change>, Report) {
        let (_, changes, report) = Tree::read_with(self, false, budget, Some(Vec::new()));
        (changes, report)
    }

    /// What to call the image in a message.
    pub(crate) fn name(&self) -> String {
        self.platform.as_ref().map_or_else(|| "an image without platform".to_owned(), ToString::to_string)
    }
}

/// One layer.
#[derive(Debug, Clone)]
pub struct LayerView {
    /// Digest of the stored bytes.
    pub digest: Digest,
    /// Count of the stored bytes.
    pub size: u64,
    /// Media type, empty in Docker's own archives.
    pub media_type: String,
    /// SHA-256 of the tar inside, as the configuration says.
    pub diff_id: Option<Digest>,
    /// How the stored bytes are compressed, by their first bytes.
    pub compression: Compression,
    /// The stored bytes; `None` if they are missing.
    pub data: Option<Blob>,
}

impl LayerView {
    /// The layer with its bytes, which [`Options::defer_layers`](super::Options::defer_layers) left away. They are held
    /// to digest and size; a blob that [knows](Blob::digest) its digest is believed.
    ///
    /// # Errors
    /// Other bytes, or a medium that cannot be read, as a finding.
    pub fn with_data(&self, data: Blob) -> Result<Self, Finding> {
        let medium = |error: std::io::Error| rules::finding(rules::MEDIUM, format!("{}: {error}", self.digest));
        if data.size() != self.size {
            let message = format!("{} has {} bytes, its manifest says {}", self.digest, data.size(), self.size);
            return Err(rules::finding(rules::SIZE, message));
        }
        let found = data.compute_digest().map_err(medium)?;
        if found != self.digest {
            let message = format!("the blob stored as {} has digest {found}: its bytes were changed", self.digest);
            return Err(rules::finding(rules::DIGEST, message));
        }
        let compression = Compression::sniff(&data).map_err(medium)?;
        Ok(Self { compression, data: Some(data), ..self.clone() })
    }

    pub(crate) fn name(&self) -> String {
        format!("layer {}", self.digest)
    }
}

/// How a layer is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// zstd.
    Zstd,
}

impl Compression {
    /// By the first bytes; what nobody knows is taken for a tar.
    pub(crate) fn sniff(data: &Blob) -> std::io::Result<Self> {
        let mut magic = [0; 4];
        let count = data.read_at(0, &mut magic)?;
        Ok(match (count, magic) {
            (2.., [0x1f, 0x8b, ..]) => Self::Gzip,
            // A zstd stream may start with a skippable frame.
            (4, [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18]) => Self::Zstd,
            _ => Self::None,
        })
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "tar",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        })
    }
}
