//! Images made elsewhere that others are built on: their layers and what they say of themselves, as received.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::{collections::BTreeMap, sync::Arc};

use imgcore::{Blob, Digest, Report};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use crate::{
    Config, Error, ErrorKind, Layer, Platform,
    media::{self, Meaning},
    read::{Compression, ImageView, LayerView, Limits, Role, check_layers, json},
};

/// A JSON object whose values are as they were written.
type Object = BTreeMap<String, Box<RawValue>>;

/// An image that others are built on with [`Image::on`](crate::Image::on).
///
/// Of its configuration every key is kept, known or not, with its value as it was written; only white space goes. What an
/// image says about itself alone is replaced: `created`, `os`, `architecture`, `variant`, `rootfs` and the end of
/// `history`. Its layers keep their bytes; Docker's media types become the specification's, which mean the same.
#[derive(Debug, Clone)]
pub struct Base {
    os: String,
    architecture: String,
    variant: Option<String>,
    layers: Vec<Layer>,
    /// What the base runs, to see what was changed.
    run: Config,
    /// The configuration without the object `config`.
    keys: Object,
    /// The object `config`.
    run_keys: Object,
    rootfs: Object,
    history: Vec<History>,
    /// Whether the history has a line for each layer; what it tells else is of other layers.
    told: bool,
    limits: Limits,
}

/// A line of the base's history.
#[derive(Debug, Clone)]
struct History {
    /// Whether the step made no layer.
    empty: bool,
    text: Box<RawValue>,
}

impl Base {
    /// Takes an image that [`read`](crate::read) opened, with all its layers.
    ///
    /// Nothing is unpacked: whether the layers are what the configuration says, [`verify`](Self::verify) tells.
    ///
    /// # Errors
    /// A layer that is missing, must not be distributed or is of an unknown media type; a configuration that is missing,
    /// damaged, or counts other layers than there are.
    pub fn of(image: &ImageView) -> Result<Self, Error> {
        if image.role != Role::Image {
            return Err(refused("is an attestation or an artifact, expected a root file system"));
        }
        let Some(document) = &image.config else { return Err(refused("has no configuration that can be read")) };
        let damaged = |error| refused(format!("has a configuration that is damaged: {error}"));
        let known: json::Config = serde_json::from_slice(&document.bytes).map_err(damaged)?;
        let mut keys: Object = serde_json::from_slice(&document.bytes).map_err(damaged)?;
        let run_keys = object(take(&mut keys, "config")).map_err(damaged)?;
        let mut rootfs = object(take(&mut keys, "rootfs")).map_err(damaged)?;
        let history: Option<Vec<Box<RawValue>>> = match take(&mut keys, "history") {
            Some(raw) => serde_json::from_str(raw.get()).map_err(damaged)?,
            None => None,
        };
        let history = history.unwrap_or_default().into_iter().map(|raw| History::read(&raw));
        let history: Vec<History> = history.collect::<Result<_, _>>().map_err(damaged)?;
        let diff_ids = known.rootfs.as_ref().and_then(|rootfs| rootfs.diff_ids.as_ref()).map_or(0, Vec::len);
        if diff_ids != image.layers.len() {
            let layers = image.layers.len();
            return Err(refused(format!("has {layers} layers, its configuration names {diff_ids}")));
        }
        let layers: Vec<Layer> = image.layers.iter().map(layer).collect::<Result<_, _>>()?;
        for key in ["type", "diff_ids"] {
            take(&mut rootfs, key);
        }
        for key in ["created", "architecture", "os", "variant"] {
            take(&mut keys, key);
        }
        Ok(Self {
            told: history.iter().filter(|line| !line.empty).count() == layers.len(),
            os: known.os,
            architecture: known.architecture,
            variant: known.variant.filter(|variant| !variant.is_empty()),
            layers,
            run: known.run.map(Config::from).unwrap_or_default(),
            keys: compacted(keys).map_err(damaged)?,
            run_keys: compacted(run_keys).map_err(damaged)?,
            rootfs: compacted(rootfs).map_err(damaged)?,
            history,
            limits: image.options.limits.clone(),
        })
    }

    /// Keeps the lowest layers, at most `count`. The lines of history of those above go with them; lines without a layer,
    /// as those of an entry point, stay, because what they tell of stays.
    pub fn truncate(&mut self, count: usize) {
        self.layers.truncate(count);
        let mut seen = 0_usize;
        self.history.retain(|line| {
            seen = seen.saturating_add(usize::from(!line.empty));
            line.empty || seen <= count
        });
    }

    /// Its layers, the lowest first.
    pub fn layers(&self) -> &[Layer] {
        &self.layers
    }

    /// What it runs.
    pub fn config(&self) -> &Config {
        &self.run
    }

    /// For which machines it is; `None` if its configuration does not say.
    pub fn platform(&self) -> Option<Platform> {
        let known = !self.os.is_empty() && !self.architecture.is_empty();
        known.then(|| Platform { variant: self.variant.clone(), ..Platform::new(&self.os, &self.architecture) })
    }

    /// Unpacks every layer in passing and holds it to the configuration: an image on a base whose configuration lies
    /// is one that nobody can run.
    pub fn verify(&self) -> Report {
        let views = self.layers.iter().map(|layer| {
            let data = layer.data.clone();
            Ok(LayerView {
                digest: layer.digest,
                size: layer.size,
                media_type: layer.media_type.clone(),
                diff_id: Some(layer.diff_id),
                compression: Compression::sniff(&data)?,
                data: Some(data),
            })
        });
        check_layers(views, &self.limits)
    }

    /// The platform of an image on this base: the more exact of the two.
    pub(crate) fn serve(&self, wanted: &Platform) -> Result<Platform, Error> {
        // What a configuration does not say, it does not contradict.
        let or = |own: &String, wanted: &String| if own.is_empty() { wanted.clone() } else { own.clone() };
        let (os, architecture) = (or(&self.os, &wanted.os), or(&self.architecture, &wanted.architecture));
        let variant = self.variant.clone().or_else(|| wanted.variant.clone());
        let own = Platform { os, architecture, variant };
        if own.serves(wanted) {
            return Ok(own);
        }
        Err(ErrorKind::BasePlatform { base: own.to_string(), wanted: wanted.to_string() }.into())
    }

    /// The configuration of an image on this base. Keys of every object that is made here are sorted; texts are escaped as
    /// JSON has it, so that no character is lost.
    pub(crate) fn derived(
        &self,
        platform: &Platform,
        run: &Config,
        diff_ids: &[Digest],
        created: &str,
        lines: &[String],
    ) -> Result<Vec<u8>, serde_json::Error> {
        let mut keys = self.keys.clone();
        let history = self.history(diff_ids.len(), created, lines)?;
        put(&mut keys, "created", &created)?;
        put(&mut keys, "architecture", &platform.architecture)?;
        put(&mut keys, "os", &platform.os)?;
        if let Some(variant) = &platform.variant {
            put(&mut keys, "variant", variant)?;
        }
        let mut rootfs = self.rootfs.clone();
        put(&mut rootfs, "type", &"layers")?;
        put(&mut rootfs, "diff_ids", diff_ids)?;
        put(&mut keys, "rootfs", &rootfs)?;
        if !history.is_empty() {
            put(&mut keys, "history", &history)?;
        }
        put(&mut keys, "config", &self.run_keys(run)?)?;
        serde_json::to_vec(&keys)
    }

    fn run_keys(&self, run: &Config) -> Result<Object, serde_json::Error> {
        let Config { user, env, entrypoint, cmd, working_dir, labels } = run;
        let (mut keys, was) = (self.run_keys.clone(), &self.run);
        change(&mut keys, "User", user, &was.user, user.is_empty())?;
        change(&mut keys, "Env", env, &was.env, env.is_empty())?;
        change(&mut keys, "Entrypoint", entrypoint, &was.entrypoint, entrypoint.is_empty())?;
        change(&mut keys, "Cmd", cmd, &was.cmd, cmd.is_empty())?;
        change(&mut keys, "WorkingDir", working_dir, &was.working_dir, working_dir.is_empty())?;
        change(&mut keys, "Labels", labels, &was.labels, labels.is_empty())?;
        Ok(keys)
    }

    /// One line for each layer, or none at all: programs refuse a history of more layers than there are, and some take
    /// the lines for the layers in their order.
    fn history(&self, count: usize, created: &str, lines: &[String]) -> Result<Vec<Box<RawValue>>, serde_json::Error> {
        #[derive(Serialize)]
        struct Line<'a> {
            created: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            created_by: Option<&'a str>,
        }

        let of_base = self.layers.len().min(count);
        let told = self.told && of_base == self.layers.len();
        if self.history.is_empty() && lines.is_empty() {
            return Ok(Vec::new());
        }
        let mut history: Vec<_> = if told {
            self.history.iter().map(|line| line.text.clone()).collect()
        } else {
            let line = Line { created, created_by: Some("a layer of the base image") };
            (0..of_base).map(|_| to_raw_value(&line)).collect::<Result<_, _>>()?
        };
        for index in 0..count.saturating_sub(of_base) {
            let created_by = lines.get(index).map(String::as_str);
            history.push(to_raw_value(&Line { created, created_by })?);
        }
        Ok(history)
    }
}

impl History {
    fn read(raw: &RawValue) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Line {
            empty_layer: Option<bool>,
        }
        let line: Line = serde_json::from_str(raw.get())?;
        Ok(Self { empty: line.empty_layer.unwrap_or_default(), text: compact(raw)? })
    }
}

impl From<json::Run> for Config {
    fn from(run: json::Run) -> Self {
        Self {
            user: run.user.unwrap_or_default(),
            env: run.env.unwrap_or_default(),
            entrypoint: run.entrypoint.unwrap_or_default(),
            cmd: run.cmd.unwrap_or_default(),
            working_dir: run.working_dir.unwrap_or_default(),
            labels: run.labels.unwrap_or_default(),
        }
    }
}

/// A layer as it is, under the name that the specification has for it.
fn layer(view: &LayerView) -> Result<Layer, Error> {
    let LayerView { digest, size, media_type, .. } = view;
    if media::is_foreign(media_type) {
        return Err(refused(format!(
            "has the layer {digest} of media type {media_type:?}, which must not be distributed: build on an image without \
             such layers"
        )));
    }
    // Docker's own archives name none.
    let known = matches!(media::meaning(media_type), Some(Meaning::Tar | Meaning::TarGzip | Meaning::TarZstd));
    if !known && !media_type.is_empty() {
        return Err(refused(format!(
            "has the layer {digest} of media type {media_type:?}, expected a tar, in gzip or zstd or not compressed: convert \
             the image with the program that made it, or with `skopeo copy`"
        )));
    }
    let data = view.data.clone().ok_or(ErrorKind::Incomplete { digest: *digest })?;
    let Some(diff_id) = view.diff_id else {
        return Err(refused(format!("has the layer {digest}, of which its configuration names no digest")));
    };
    let failed = |source| {
        let label = digest.to_string();
        Error::from(ErrorKind::Read { path: label.clone(), label, source })
    };
    // By the bytes: where the name says something else, they are what everybody unpacks.
    let media_type = match Compression::sniff(&data).map_err(failed)? {
        Compression::None => media::LAYER,
        Compression::Gzip => media::LAYER_GZIP,
        Compression::Zstd => media::LAYER_ZSTD,
    };
    // The digest is checked once more when the archive is written.
    let data = Blob::new(format!("layer {digest} of the base"), Arc::new(data), Some(*digest));
    Ok(Layer { media_type: media_type.to_owned(), digest: *digest, size: *size, diff_id, data })
}

fn refused(problem: impl Into<String>) -> Error {
    ErrorKind::Base { problem: problem.into() }.into()
}

/// An object, or none.
fn object(raw: Option<Box<RawValue>>) -> Result<Object, serde_json::Error> {
    let object: Option<Object> = raw.map_or(Ok(None), |raw| serde_json::from_str(raw.get()))?;
    Ok(object.unwrap_or_default())
}

/// Takes a key in every spelling that Go's reader takes for it; the value is that of the exact one.
fn take(object: &mut Object, key: &str) -> Option<Box<RawValue>> {
    let value = object.remove(key);
    object.retain(|other, _| !other.eq_ignore_ascii_case(key));
    value
}

fn put<T: Serialize + ?Sized>(object: &mut Object, key: &str, value: &T) -> Result<(), serde_json::Error> {
    object.insert(key.to_owned(), to_raw_value(value)?);
    Ok(())
}

/// Replaces what differs from what the base says.
fn change<T: Serialize + PartialEq>(
    object: &mut Object,
    key: &str,
    value: &T,
    was: &T,
    empty: bool,
) -> Result<(), serde_json::Error> {
    if value == was {
        return Ok(());
    }
    take(object, key);
    if empty { Ok(()) } else { put(object, key, value) }
}

fn compacted(object: Object) -> Result<Object, serde_json::Error> {
    object.into_iter().map(|(key, value)| Ok((key, compact(&value)?))).collect()
}

/// A value without white space between its parts; texts and numbers stay as they were written.
fn compact(raw: &RawValue) -> Result<Box<RawValue>, serde_json::Error> {
    let (mut inside, mut escaped) = (false, false);
    let keep = |c: &char| {
        match (inside, escaped, c) {
            (true, true, _) => escaped = false,
            (true, false, '\\') => escaped = true,
            (_, _, '"') => inside = !inside,
            _ => {}
        }
        inside || !matches!(c, ' ' | '\t' | '\n' | '\r')
    };
    RawValue::from_string(raw.get().chars().filter(keep).collect())
}
