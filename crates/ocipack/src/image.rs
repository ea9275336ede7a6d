//! One image for one platform: layers, configuration, manifest.

use std::collections::BTreeMap;

use imgcore::Epoch;

use crate::{
    Base, Document, Error, ErrorKind, Layer, Platform,
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
    /// How each layer came to be, as `docker history` shows it: one line a layer, or none at all. On a base, the lines of the
    /// layers above it: the base has its own.
    pub history: Vec<String>,
    /// What it is built on, see [`on`](Self::on): its layers are the first of [`layers`](Self::layers).
    pub base: Option<Base>,
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
        Self { platform, layers, config, created, annotations, history, base: None }
    }

    /// An image that is `base` with `layers` on top: it runs what the base runs and says of itself what the base says, in
    /// keys that nobody here knows too. What of [`config`](Self::config) is changed afterwards is changed in the image,
    /// the rest stays as it was received. Annotations of the base's manifest are about the base and are not taken over.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use imgcore::{Blob, Epoch};
    /// use ocipack::{Base, Entry, Image, Platform, archive, layer, read};
    ///
    /// # let platform = Platform::new("linux", "arm64");
    /// # let made = |path: &str| layer::build(&[Entry::file(path, 0o644, Blob::from_bytes(path, path))], Epoch(0));
    /// # let mut bytes = Vec::new();
    /// # archive::plan(&[Image::new(platform.clone(), vec![made("bin/run")?], Epoch(0))], &archive::Options::default())?
    /// #     .write_to(&mut bytes)?;
    /// let (view, report) = read::open(Arc::new(bytes));
    /// let found = view.as_ref().and_then(|view| view.image(&platform)).ok_or("no image for arm64")?;
    /// let base = Base::of(found)?;
    ///
    /// let mut image = Image::on(&base, &platform, vec![made("etc/motd")?], Epoch(1_700_000_000))?;
    /// image.history = vec!["a greeting".to_owned()];
    /// let options = archive::Options { shape: archive::Shape::Manifests, ..Default::default() };
    /// let archive = archive::plan(&[image], &options)?;
    /// assert_eq!(archive.images()[0].layers.len(), 2);
    /// # assert!(report.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The base is for another platform.
    pub fn on(base: &Base, platform: &Platform, layers: Vec<Layer>, created: Epoch) -> Result<Self, Error> {
        let platform = base.serve(platform)?;
        let layers = base.layers().iter().cloned().chain(layers).collect();
        let config = base.config().clone();
        Ok(Self { config, base: Some(base.clone()), ..Self::new(platform, layers, created) })
    }

    /// The image configuration.
    ///
    /// # Errors
    /// A text holds a control character; one that a base brought is escaped as JSON has it.
    pub fn config(&self) -> Result<Document, Error> {
        if let Some(base) = &self.base {
            let diff_ids: Vec<_> = self.layers.iter().map(|layer| layer.diff_id).collect();
            let bytes = base
                .derived(&self.platform, &self.config, &diff_ids, &self.created.to_string(), &self.history)
                .map_err(|source| ErrorKind::Json { what: media::CONFIG.to_owned(), source })?;
            let digest = imgcore::Digest::of(&bytes);
            return Ok(Document { media_type: media::CONFIG.to_owned(), digest, bytes });
        }
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
