//! Images as inputs: from a registry, an OCI layout, an archive. Single files leave them; only an archive that is compressed
//! as a whole has a plain copy on the disk while it is read.
//!
//! An image is opened without its layers. Which are needed shows as the search goes from the top layer down, and those
//! are fetched. What a file of an image was found to be is recorded by the digest of the manifest (of the archive, where
//! there is none), so that a second build reads no layer at all.

mod local;
mod place;
mod registry;

use std::{
    io::{self, Read, Write as _},
    path::PathBuf,
    sync::Arc,
};

use imgcore::{Blob, Digest, Finding, Progress, ReadAt, Report, Severity};
use ocipack::{
    Platform,
    read::{ArchiveView, Found, ImageView, LayerView, Limits, Search},
};
use serde::{Deserialize, Serialize};

pub(crate) use self::{
    local::{compressed, identity, open as open_local},
    place::Place,
    registry::{Resolved, ask as ask_reference, open as open_reference, resolve},
};
use crate::{
    build::Context,
    error::{Error, Exit, Result, is_cancelled},
    store::canonical_json,
};

/// What layers may unpack to when the lock does not say it.
const UNPACKED: u64 = 8 << 30;

/// Where reading stops: at what the lock lets its layers unpack to, if somebody wrote that.
pub(crate) fn limits(unpacked: Option<u64>) -> Limits {
    Limits { unpacked: unpacked.map_or(UNPACKED, |locked| locked.min(UNPACKED)), ..Limits::default() }
}

/// What makes the image of a reference this one and no other.
pub(crate) fn reference_identity(resolved: &Resolved) -> String {
    format!("image {}", resolved.digest)
}

/// An opened image: its documents are here, its layers come when they are asked for.
pub(crate) struct Opened {
    /// What the user calls it.
    pub(crate) name: String,
    /// Its documents.
    pub(crate) view: ImageView,
    bytes: Bytes,
}

/// Where the layers are.
enum Bytes {
    Archive { data: Arc<dyn ReadAt>, view: ArchiveView, _unpacked: Option<tempfile::TempPath> },
    Layout(PathBuf),
    Registry(registry::Layers),
}

/// A file of an image, or why there is none.
#[derive(Debug, Clone)]
pub(crate) enum Taken {
    /// In the store, its digest known.
    File(Blob),
    /// Something without bytes: what it is.
    Other(String),
    /// Nothing; the path that is nearly the same.
    Missing(Option<String>),
}

/// [`Taken`] as it is recorded.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Record {
    File { sha256: Digest, size: u64 },
    Other(String),
    Missing(Option<String>),
}

const ACTION: &str = "image-file-1";

fn key(identity: &str, platform: &Platform, path: &str) -> Digest {
    Digest::of(&canonical_json(&(identity, platform, path)))
}

/// Files of an image by path, in the order of `paths`. `identity` is what makes the image this one and no other;
/// `open` is called only if something is not recorded or has left the store.
///
/// # Errors
/// Those of `open`; a layer that is damaged or hostile, with the entry.
pub(crate) fn files(
    context: &Context<'_>,
    identity: &str,
    platform: &Platform,
    paths: &[&str],
    open: impl FnOnce() -> Result<Opened>,
) -> Result<Vec<Taken>> {
    let known: Option<Vec<Taken>> = paths
        .iter()
        .map(|path| recall(context, key(identity, platform, path), path).transpose())
        .map(Option::transpose)
        .collect::<Result<_>>()?;
    if let Some(known) = known {
        return Ok(known);
    }
    let opened = open()?;
    // Another process may clear the store between taking and opening: then the files are taken once more.
    for _ in 0..2 {
        let records = opened.take(context, paths)?;
        for (path, record) in paths.iter().zip(&records) {
            context.store.record(ACTION, key(identity, platform, path), record)?;
        }
        let taken = paths.iter().zip(records).map(|(path, record)| restore(context, record, path));
        if let Some(taken) = taken.collect::<Result<Option<Vec<_>>>>()? {
            return Ok(taken);
        }
    }
    Err(context.store.emptied())
}

fn recall(context: &Context<'_>, key: Digest, path: &str) -> Result<Option<Taken>> {
    context.store.action::<Record>(ACTION, key).map_or(Ok(None), |record| restore(context, record, path))
}

/// `None` if the blob has left the store or was damaged there.
fn restore(context: &Context<'_>, record: Record, path: &str) -> Result<Option<Taken>> {
    Ok(Some(match record {
        Record::File { sha256, .. } => match context.store.blob(path, sha256)? {
            Some(blob) => Taken::File(blob),
            None => return Ok(None),
        },
        Record::Other(what) => Taken::Other(what),
        Record::Missing(nearest) => Taken::Missing(nearest),
    }))
}

impl Opened {
    /// The layer with its bytes, held to digest and size.
    ///
    /// # Errors
    /// A layer that is missing or has other bytes; what the network answers.
    pub(crate) fn layer(&self, index: usize, context: &Context<'_>) -> Result<LayerView> {
        let layer = self.view.layers.get(index).ok_or_else(|| refused(&self.name, Report::new()))?;
        if layer.data.is_some() {
            return Ok(layer.clone());
        }
        let label = format!("layer {}", layer.digest);
        let data = match &self.bytes {
            Bytes::Archive { data, view, .. } => {
                view.place(&layer.digest).map(|place| Blob::new(label, Arc::clone(data), None).slice(place))
            }
            Bytes::Layout(folder) => local::blob(folder, &label, layer.digest)?,
            Bytes::Registry(layers) => layers.fetch(&self.view, index, context)?,
        };
        let data = data.ok_or_else(|| {
            let finding = Finding::error("OCI015", format!("the layer {} is not there", layer.digest)).of(&self.name);
            refused(&self.name, std::iter::once(finding).collect())
        })?;
        layer.with_data(data).map_err(|finding| refused(&self.name, std::iter::once(finding.of(&self.name)).collect()))
    }

    /// Takes files out of the layers, from the top one down, into the store.
    fn take(&self, context: &Context<'_>, paths: &[&str]) -> Result<Vec<Record>> {
        let mut search = Search::new(&self.view, paths);
        let mut files: Vec<Option<(Digest, u64)>> = vec![None; paths.len()];
        let task = format!("reading {}", self.name);
        let mut watch = Watch::new(context.progress, &task);
        while let Some(index) = search.needs() {
            watch.pause();
            if let Bytes::Registry(layers) = &self.bytes {
                layers.prefetch(&self.view, index, search.layers_read(), context)?;
            }
            let layer = self.layer(index, context)?;
            watch.go_on();
            let read = search.read(&layer, context.progress, &mut |numbers, _, data| {
                let kept = keep(context, data, &watch)?;
                for number in numbers {
                    if let Some(file) = files.get_mut(*number) {
                        *file = Some(kept);
                    }
                }
                Ok(())
            });
            read.map_err(|error| match error.io() {
                Some(source) if is_cancelled(source) => Error::cancelled(),
                Some(source) => Error::from(io::Error::new(source.kind(), source.to_string())),
                None => Error::new(Exit::Io, Finding::error("IOE001", error.to_string())),
            })?;
        }
        drop(watch);
        let (found, report) = search.finish();
        if report.has_errors() {
            return Err(refused(&self.name, report));
        }
        let record = |(found, file)| match (found, file) {
            (Found::File { .. }, Some((sha256, size))) => Record::File { sha256, size },
            (Found::Other(what), _) => Record::Other(what.to_owned()),
            (Found::Missing { nearest }, _) => Record::Missing(nearest),
            (Found::File { .. }, None) => Record::Missing(None),
        };
        Ok(found.into_iter().zip(files).map(record).collect())
    }
}

/// Puts the bytes of one file into the store. Errors of the layer pass as they are: the search knows them.
fn keep(context: &Context<'_>, data: &mut dyn Read, watch: &Watch<'_>) -> io::Result<(Digest, u64)> {
    let mut incoming = context.store.incoming()?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = match data.read(&mut buffer) {
            Ok(0) => return incoming.commit(),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if context.progress.cancelled() {
            return Err(io::Error::other("cancelled"));
        }
        incoming.write_all(buffer.get(..count).unwrap_or_default())?;
        watch.advance(count as u64);
    }
}

/// A task that is on its way; it ends when this is dropped.
struct Watch<'a> {
    progress: &'a dyn Progress,
    task: &'a str,
    running: bool,
}

impl<'a> Watch<'a> {
    fn new(progress: &'a dyn Progress, task: &'a str) -> Self {
        Self { progress, task, running: false }
    }

    fn go_on(&mut self) {
        self.progress.start(self.task, None);
        self.running = true;
    }

    /// While a layer is fetched, which tells of itself.
    fn pause(&mut self) {
        if std::mem::take(&mut self.running) {
            self.progress.finish(self.task);
        }
    }

    fn advance(&self, bytes: u64) {
        self.progress.advance(self.task, bytes);
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.pause();
    }
}

/// The refusal of an image for what was found in it: only the errors, which have the entry in their text.
fn refused(name: &str, report: Report) -> Error {
    let mut errors: Vec<Finding> = report.into_iter().filter(|finding| finding.severity == Severity::Error).collect();
    // Other bytes than those that were asked for are a wrong input; everything else is a refusal.
    let other_bytes =
        !errors.is_empty() && errors.iter().all(|finding| ["OCI015", "OCI016", "OCI017"].contains(&finding.code));
    for finding in &mut errors {
        // No finding is about a range of a file that the user has.
        finding.range = None;
    }
    errors.push(Finding::error("SRC023", format!("{name}: nothing is taken out of this image")));
    let report: Report = errors.into_iter().collect();
    if other_bytes { Error::refused(report).with_exit(Exit::Input) } else { Error::refused(report) }
}

/// Exactly one image for a platform, or what there is instead.
fn one(name: &str, images: &[ImageView], all: &[String], tags: &[String], platform: &Platform) -> Result<ImageView> {
    let mut distinct: Vec<&ImageView> = Vec::new();
    for image in images {
        let same = |known: &&ImageView| match (&known.manifest, &image.manifest) {
            (Some(a), Some(b)) => a.digest == b.digest,
            (None, None) => known.config.as_ref().map(|c| c.digest) == image.config.as_ref().map(|c| c.digest),
            _ => false,
        };
        if !distinct.iter().any(same) {
            distinct.push(image);
        }
    }
    match distinct.as_slice() {
        [one] => Ok((*one).clone()),
        [] => {
            let there = if all.is_empty() { "no image".to_owned() } else { all.join(", ") };
            let finding = Finding::error("SRC020", format!("{name} has no image for {platform}; it has: {there}"))
                .help(format!("name an image for {platform}: other machines' files do not start the board"));
            Err(Error::new(Exit::Input, finding))
        }
        several => {
            let tags = if tags.is_empty() { "no tags".to_owned() } else { format!("the tags {}", tags.join(", ")) };
            let message = format!("{name} holds {} images for {platform}, and {tags}", several.len());
            let finding = Finding::error("SRC022", message).help("say which one is meant: put :TAG behind the path");
            Err(Error::new(Exit::Input, finding))
        }
    }
}

#[cfg(test)]
mod tests;
