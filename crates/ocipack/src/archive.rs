//! Archives: a tar of an OCI layout with an index over all platforms, and Docker's `manifest.json` beside it.
//!
//! `skopeo`, `umoci`, `crane` and containerd read the OCI layout; `docker load` and `podman load` of any age read
//! `manifest.json`, which can name one platform only.
//!
//! ```
//! use imgcore::{Blob, Epoch};
//! use ocipack::{Entry, Image, Platform, archive, layer};
//!
//! let layer = layer::build(&[Entry::file("hello", 0o644, Blob::from_bytes("text", *b"hello"))], Epoch(0))?;
//! let images = ["arm64", "amd64"].map(|arch| Image::new(Platform::new("linux", arch), vec![layer.clone()], Epoch(0)));
//! let archive = archive::plan(&images, &archive::Options { tag: "v1".to_owned(), ..Default::default() })?;
//!
//! let mut file = Vec::new();
//! let written = archive.write_to(&mut file)?;
//! assert_eq!(written.size, archive.size());
//! assert_eq!(written.digest, imgcore::Digest::of(&file));
//! # Ok::<(), ocipack::Error>(())
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    io::{self, Write},
};

use imgcore::{Blob, ByteSize, Digest, Epoch, HashingWriter};

use crate::{
    BlobSource, Descriptor, Document, Entry, Error, ErrorKind, Image, Platform,
    document::{self, check_map},
    media, name,
    tarball::Tarball,
};

mod received;

pub use received::{Names, from_documents};

const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// What containerd, and Docker on top of it, call an image that they load from an OCI layout.
const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// How an archive names its images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Repository, perhaps with a host: what `docker load` calls the image. Without one it is loaded by digest only.
    pub repository: Option<String>,
    /// Tag, also `org.opencontainers.image.ref.name` of the layout.
    pub tag: String,
    /// Annotations of the index over all platforms.
    pub annotations: BTreeMap<String, String>,
    /// The platform that `manifest.json` names; if no image is for it, the first one is named.
    pub docker_platform: Platform,
    /// What `index.json` points to.
    pub shape: Shape,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            repository: None,
            tag: "latest".to_owned(),
            annotations: BTreeMap::new(),
            docker_platform: Platform::new("linux", "arm64"),
            shape: Shape::default(),
        }
    }
}

/// What `index.json` points to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shape {
    /// To one index over all platforms, also when there is one platform: pushed as a whole it stays an index, so that
    /// a client of another platform hears that there is nothing for it.
    #[default]
    Index,
    /// To the manifests themselves: for an image of one platform that is to be pushed as a plain image.
    Manifests,
}

/// A sized archive, ready to be streamed.
#[derive(Debug, Clone)]
pub struct Archive {
    root: Descriptor,
    images: Vec<PlannedImage>,
    docker: Option<Platform>,
    name: String,
    blobs: BTreeMap<Digest, Blob>,
    tarball: Tarball,
}

/// One image of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedImage {
    /// For which machines.
    pub platform: Platform,
    /// Its manifest.
    pub manifest: Descriptor,
    /// Its configuration.
    pub config: Descriptor,
    /// Its layers, the lowest first.
    pub layers: Vec<Descriptor>,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Count of bytes.
    pub size: u64,
    /// SHA-256 of the bytes.
    pub digest: Digest,
}

/// Makes the documents and places everything. Images are ordered by platform; times are the latest `created`.
///
/// # Errors
/// No image, two for one platform, a name that no registry takes, a text that canonical JSON cannot hold.
pub fn plan(images: &[Image], options: &Options) -> Result<Archive, Error> {
    if images.is_empty() {
        return Err(ErrorKind::NoImages.into());
    }
    let reference = options.check()?;
    let mut sorted: Vec<&Image> = images.iter().collect();
    sorted.sort_by(|a, b| a.platform.cmp(&b.platform));
    let mut blobs = BTreeMap::new();
    let mut planned: Vec<PlannedImage> = Vec::new();
    for image in sorted {
        if planned.last().is_some_and(|last| last.platform == image.platform) {
            return Err(ErrorKind::DuplicatePlatform { platform: image.platform.to_string() }.into());
        }
        planned.push(place(image, &mut blobs)?);
    }

    let mut manifests: Vec<Descriptor> = planned.iter().map(|image| image.manifest.clone()).collect();
    let root = match options.shape {
        Shape::Index => {
            let index = document::Index::of(&manifests, options.annotations.clone());
            let index = Document::canonical(media::INDEX, &index)?;
            blobs.insert(index.digest, index.blob());
            manifests = vec![index.descriptor()];
            index.descriptor()
        }
        Shape::Manifests => manifests.first().cloned().ok_or(ErrorKind::NoImages)?,
    };
    for manifest in &mut manifests {
        annotate(manifest, options.repository.as_deref(), Some(&options.tag));
    }
    let docker = planned.iter().find(|image| image.platform.serves(&options.docker_platform)).or(planned.first());
    let docker_documents: Vec<_> = docker.map(|image| docker_image(image, reference.as_ref())).into_iter().collect();
    let mut entries = vec![
        text("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec()),
        text("index.json", index_json(&manifests)?),
        text("manifest.json", document::canonical("manifest.json", &docker_documents)?),
    ];
    entries.extend(blobs.iter().map(|(digest, blob)| Entry::file(blob_path(*digest), 0o644, blob.clone())));
    let epoch = images.iter().map(|image| image.created).max().unwrap_or(Epoch(0));
    Ok(Archive {
        root,
        docker: docker.map(|image| image.platform.clone()),
        name: reference.unwrap_or_else(|| options.tag.clone()),
        images: planned,
        blobs,
        tarball: Tarball::plan(&entries, epoch)?,
    })
}

fn place(image: &Image, blobs: &mut BTreeMap<Digest, Blob>) -> Result<PlannedImage, Error> {
    let (config, manifest) = (image.config()?, image.manifest()?);
    let platform = image.platform.clone();
    let planned = PlannedImage {
        manifest: Descriptor { platform: Some(platform.clone()), ..manifest.descriptor() },
        config: config.descriptor(),
        layers: image.layers.iter().map(|layer| Descriptor::new(&layer.media_type, layer.digest, layer.size)).collect(),
        platform,
    };
    blobs.extend([&config, &manifest].map(|document| (document.digest, document.blob())));
    for layer in &image.layers {
        blobs.entry(layer.digest).or_insert_with(|| layer.data.clone());
    }
    Ok(planned)
}

/// Gives an entry of `index.json` the names that readers look for.
fn annotate(top: &mut Descriptor, repository: Option<&str>, tag: Option<&str>) {
    let Some(tag) = tag else { return };
    top.annotations.insert(REF_NAME.to_owned(), tag.to_owned());
    if let Some(repository) = repository {
        top.annotations.insert(CONTAINERD_NAME.to_owned(), name::canonical(repository, tag));
    }
}

/// Takes the names of an archive off an entry of its `index.json`.
pub(crate) fn without_names(top: &Descriptor) -> Descriptor {
    let mut bare = top.clone();
    bare.annotations.retain(|key, _| key != REF_NAME && key != CONTAINERD_NAME);
    bare
}

fn index_json(tops: &[Descriptor]) -> Result<Vec<u8>, Error> {
    document::canonical("index.json", &document::Index::of(tops, BTreeMap::new()))
}

fn docker_image(image: &PlannedImage, reference: Option<&String>) -> document::DockerImage {
    document::DockerImage {
        config: blob_path(image.config.digest),
        repo_tags: reference.into_iter().cloned().collect(),
        layers: image.layers.iter().map(|layer| blob_path(layer.digest)).collect(),
    }
}

fn text(path: &str, bytes: Vec<u8>) -> Entry {
    Entry::file(path, 0o644, Blob::from_bytes(path, bytes))
}

fn blob_path(digest: Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

impl Options {
    /// Checks the names and gives `repository:tag`, if there is a repository.
    fn check(&self) -> Result<Option<String>, Error> {
        name::check_tag(&self.tag)?;
        check_map("annotation", &self.annotations)?;
        self.repository
            .as_ref()
            .map(|repository| name::check_repository(repository).map(|()| format!("{repository}:{}", self.tag)))
            .transpose()
    }
}

impl Archive {
    /// Size of the archive, exactly.
    pub fn size(&self) -> u64 {
        self.tarball.size()
    }

    /// The index over all platforms, or the first manifest with [`Shape::Manifests`]: what a push publishes under the
    /// tag.
    pub fn root(&self) -> &Descriptor {
        &self.root
    }

    /// The images by platform.
    pub fn images(&self) -> &[PlannedImage] {
        &self.images
    }

    /// Everything that a registry needs, by digest.
    pub fn blobs(&self) -> &BTreeMap<Digest, Blob> {
        &self.blobs
    }

    /// Streams the archive.
    ///
    /// # Errors
    /// A source or the output fails, or a source is not what its digest says.
    pub fn write_to(&self, out: &mut dyn Write) -> Result<Written, Error> {
        let mut out = HashingWriter::new(out);
        self.tarball.write_to(&mut out)?;
        let (_, digest, size) = out.finish();
        Ok(Written { size, digest })
    }
}

impl BlobSource for Archive {
    fn blob(&self, digest: &Digest) -> io::Result<Option<Blob>> {
        Ok(self.blobs.get(digest).cloned())
    }
}

/// Index, images, layers with their sizes; a layer of several images is written once and says so.
impl fmt::Display for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {} in {} blobs", self.name, ByteSize(self.size()), self.blobs.len())?;
        writeln!(f, "  {}", self.root.digest)?;
        let mut seen = BTreeSet::new();
        for image in &self.images {
            let docker = if self.docker.as_ref() == Some(&image.platform) { ", for docker load" } else { "" };
            writeln!(f, "  {}{docker}", image.platform)?;
            writeln!(f, "    manifest {}", image.manifest.digest)?;
            writeln!(f, "    config   {}", image.config.digest)?;
            for layer in &image.layers {
                let shared = if seen.insert(layer.digest) { "" } else { ", shared" };
                writeln!(f, "    layer    {} {}{shared}", layer.digest, ByteSize(layer.size))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::layer;

    use super::*;

    fn images() -> Vec<Image> {
        let layer = |path: &str, text: &str| {
            layer::build(&[Entry::file(path, 0o644, Blob::from_bytes(path, text))], Epoch(1)).expect("valid")
        };
        let shared = layer("artifacts/board.dtb", "one tree for both");
        ["arm64", "amd64"]
            .map(|arch| {
                let layers = vec![shared.clone(), layer("installers/rk3588", arch)];
                Image::new(Platform::new("linux", arch), layers, Epoch(1_700_000_000))
            })
            .to_vec()
    }

    fn bytes(images: &[Image], options: &Options) -> Vec<u8> {
        let archive = plan(images, options).expect("valid");
        let mut bytes = Vec::new();
        let written = archive.write_to(&mut bytes).expect("memory");
        assert_eq!((written.size, written.digest), (bytes.len() as u64, Digest::of(&bytes)));
        assert_eq!(archive.size(), written.size);
        bytes
    }

    #[test]
    fn the_archive_is_the_same_in_any_order_and_twice() {
        let (mut images, options) = (images(), Options::default());
        let first = bytes(&images, &options);
        assert_eq!(first, bytes(&images, &options));
        images.reverse();
        assert_eq!(first, bytes(&images, &options));
    }

    #[test]
    fn the_plan_reads_well() {
        let options =
            Options { repository: Some("talos-rk/overlay".to_owned()), tag: "v1".to_owned(), ..Default::default() };
        let archive = plan(&images(), &options).expect("valid");
        assert_eq!(archive.blobs().len(), 8);
        // The digests are golden: they change with the compressor in `Cargo.lock`, never between machines.
        let expected = "\
talos-rk/overlay:v1: 14 KiB in 8 blobs
  sha256:9e04e5ea880c39552b59304b5ca8cf79b245f5beb46eff12ed0ae99d31bc0ca0
  linux/amd64
    manifest sha256:45f4a45192701c2683905bf14b2006ad5799a7f48789399090b635198b6b8489
    config   sha256:d241c5ea48884ef20e705dda6ac45016e82db55d5a83b95fb7136aa4a37adc64
    layer    sha256:78a21d14a03ed484c289999d4f3edc472b6cb977617f58c3d84b94e0f1102944 132 B
    layer    sha256:213a21f21ce8c576eeb17c0e1911f26c4836bb83d612ebb958c255719cf278e6 120 B
  linux/arm64, for docker load
    manifest sha256:cf6342a8d0949a62b77a08e07bacf93769a06db6dfbc8b32605e0c4a3d13559c
    config   sha256:cc464a1b5aacf6fc525991641c9653d04315ef7ddc0b6fb8956bed81f66b3c3d
    layer    sha256:78a21d14a03ed484c289999d4f3edc472b6cb977617f58c3d84b94e0f1102944 132 B, shared
    layer    sha256:96a2bcb991840cea4fa4705a4adc0211da7e9b29dc30974f77ed9a5668d28b25 119 B
";
        assert_eq!(archive.to_string(), expected);
    }

    #[test]
    fn what_cannot_be_published_is_refused() {
        let mut twice = images();
        twice[1].platform = twice[0].platform.clone();
        let name = |repository: &str, tag: &str| Options {
            repository: Some(repository.to_owned()),
            tag: tag.to_owned(),
            ..Default::default()
        };
        let note = Options { annotations: BTreeMap::from([("a".to_owned(), "\t".to_owned())]), ..Default::default() };
        for (images, options, word) in [
            (vec![], Options::default(), "at least one image"),
            (twice, Options::default(), "two images for platform linux/arm64"),
            (images(), name("Overlay", "v1"), "repository \"Overlay\": expected lower-case"),
            (images(), name("overlay", "v 1"), "tag \"v 1\": expected"),
            (images(), note, "annotation a holds a control character"),
        ] {
            let refused = plan(&images, &options).expect_err(word).to_string();
            assert!(refused.contains(word), "{refused}");
        }
    }
}
