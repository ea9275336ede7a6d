//! Media types of the OCI image specification and of Docker's, which mean the same things.

/// An OCI image index.
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// An OCI image manifest.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// An OCI image configuration.
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
/// A layer without compression.
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
/// A layer in gzip.
pub const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// A layer in zstd.
pub const LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
/// Docker's index.
pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker's manifest, version 2 schema 2.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// Docker's configuration.
pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
/// Docker's layer without compression.
pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
/// Docker's layer in gzip.
pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
/// Docker's layer in zstd.
pub const DOCKER_LAYER_ZSTD: &str = "application/vnd.docker.image.rootfs.diff.tar.zstd";

/// What a document or blob is, whoever named it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Meaning {
    /// A list of manifests.
    Index,
    /// A configuration and its layers.
    Manifest,
    /// An image configuration.
    Config,
    /// A layer without compression.
    Tar,
    /// A layer in gzip.
    TarGzip,
    /// A layer in zstd.
    TarZstd,
}

/// Whether a layer of this media type may not be handed on: registries and archives leave its bytes out, and whoever runs
/// the image fetches them from the addresses that its manifest names.
///
/// ```
/// use ocipack::media::{self, is_foreign};
/// assert!(is_foreign("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"));
/// assert!(!is_foreign(media::LAYER_ZSTD));
/// ```
pub fn is_foreign(media_type: &str) -> bool {
    media_type.contains(".nondistributable.") || media_type.contains(".rootfs.foreign.diff.")
}

/// What a media type means, `None` for types that are not of images.
///
/// ```
/// use ocipack::media::{self, Meaning};
/// assert_eq!(media::meaning(media::DOCKER_INDEX), Some(Meaning::Index));
/// assert_eq!(media::meaning("application/vnd.in-toto+json"), None);
/// ```
pub fn meaning(media_type: &str) -> Option<Meaning> {
    // Layers that once must not be distributed are layers all the same.
    let plain = media_type.replace(".nondistributable", "").replace("rootfs.foreign.diff", "rootfs.diff");
    Some(match plain.as_str() {
        INDEX | DOCKER_INDEX => Meaning::Index,
        MANIFEST | DOCKER_MANIFEST => Meaning::Manifest,
        CONFIG | DOCKER_CONFIG => Meaning::Config,
        LAYER | DOCKER_LAYER => Meaning::Tar,
        LAYER_GZIP | DOCKER_LAYER_GZIP => Meaning::TarGzip,
        LAYER_ZSTD | DOCKER_LAYER_ZSTD => Meaning::TarZstd,
        _ => return None,
    })
}
