//! One image for one platform: layers, configuration, manifest.

use std::collections::BTreeMap;

use imgcore::Epoch;

use crate::{
    Document, Error, Layer, Platform,
    document::{self, Descriptor, check_map, check_text},
    media,
};

/// An image to be written.
///
/// ```
/// use imgcore::{Blob, Epoch};
/// use ocipack::{Entry, Image, Platform, layer};
///
/// let layer = layer::build(&[Entry::file("hello", 0o644, Blob::from_bytes("text", *b"hello"))], Epoch(0))?;
/// let image = Image::new(Platform::new("linux", "arm64"), vec![layer], Epoch(0));
/// let manifest = image.manifest()?;
/// assert!(String::from_utf8_lossy(&manifest.bytes).contains(&image.config()?.digest.to_string()));
/// # Ok::<(), ocipack::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Image {
    /// For which machines.
    pub platform: Platform,
    /// Layers, the lowest first.
    pub layers: Vec<Layer>,
    /// What a container made of it runs.
    pub config: Config,
    /// When it was made.
    pub created: Epoch,
    /// Annotations of the manifest.
    pub annotations: BTreeMap<String, String>,
    /// How each layer came to be, as `docker history` shows it: one line a layer, or none at all.
    pub history: Vec<String>,
}

/// What a container made of an image runs. Nothing here is needed for an image that only carries files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Config {
    /// User and group; empty for root.
    pub user: String,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// Program and first arguments.
    pub entrypoint: Vec<String>,
    /// Further arguments, which the user may replace.
    pub cmd: Vec<String>,
    /// Working directory; empty for `/`.
    pub working_dir: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

impl Image {
    /// An image that runs nothing and says nothing about itself.
    pub fn new(platform: Platform, layers: Vec<Layer>, created: Epoch) -> Self {
        let (config, annotations, history) = (Config::default(), BTreeMap::new(), Vec::new());
        Self { platform, layers, config, created, annotations, history }
    }

    /// The image configuration.
    ///
    /// # Errors
    /// A text holds a control character.
    pub fn config(&self) -> Result<Document, Error> {
        let Config { user, env, entrypoint, cmd, working_dir, labels } = &self.config;
        check_text("the user", user)?;
        check_text("the working directory", working_dir)?;
        for text in env.iter().chain(entrypoint).chain(cmd) {
            check_text("an argument or environment variable", text)?;
        }
        for text in &self.history {
            check_text("the history", text)?;
        }
        check_map("label", labels)?;
        let created = self.created.to_string();
        let history = self.history.iter().zip(&self.layers);
        let config = document::Config {
            architecture: &self.platform.architecture,
            variant: self.platform.variant.as_deref(),
            os: &self.platform.os,
            created: created.clone(),
            run: document::RunConfig { user, env, entrypoint, cmd, working_dir, labels },
            rootfs: document::RootFs {
                kind: "layers",
                diff_ids: self.layers.iter().map(|layer| layer.diff_id).collect(),
            },
            history: history
                .map(|(created_by, _)| document::History { created: created.clone(), created_by })
                .collect(),
        };
        Document::canonical(media::CONFIG, &config)
    }

    /// The image manifest.
    ///
    /// # Errors
    /// A text holds a control character.
    pub fn manifest(&self) -> Result<Document, Error> {
        check_map("annotation", &self.annotations)?;
        let layers = self.layers.iter().map(|layer| Descriptor::new(&layer.media_type, layer.digest, layer.size));
        let manifest = document::Manifest {
            schema_version: 2,
            media_type: media::MANIFEST,
            config: self.config()?.descriptor(),
            layers: layers.collect(),
            annotations: &self.annotations,
        };
        Document::canonical(media::MANIFEST, &manifest)
    }
}
