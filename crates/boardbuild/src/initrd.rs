//! The initramfs of an image: the base's, and behind it what extensions, kernel modules and a configuration add
//! (`spec/talos-image.md` §9).

use std::{io::Write as _, sync::Arc};

use imgcore::{Blob, Digest, Epoch, Finding, ReadAt as _, Report};
use initramfs::{cpio, packed, squashfs};
use serde::{Deserialize, Serialize};
use talosimg::{
    Version,
    extension::{self, Extension, Merged},
    release::Release,
};

use crate::{
    allow::Allowed,
    build::{Context, finished::SavedFinding, program},
    error::{Error, Exit, Result},
    extension_source::{ExtensionSource, Files},
    files::{self, FileSource},
    inputs::Input,
    modules,
    modules_source::ModulesSource,
    store::canonical_json,
};

/// What is put behind the base's initramfs.
#[derive(Debug, Default)]
pub(crate) struct Additions<'a> {
    /// System extensions, in the order of the command line.
    pub extensions: &'a [ExtensionSource],
    /// Modules of a kernel that is not the base's.
    pub modules: Option<&'a ModulesSource>,
    /// A machine configuration that the image carries.
    pub config: Option<&'a Blob>,
    /// The record that the Image Factory puts into its images.
    pub schematic: Option<&'a talosimg::schematic::Schematic>,
}

/// What an initramfs is made for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setting<'a> {
    /// The Talos release.
    pub version: &'a Version,
    /// Its row.
    pub release: &'static Release,
    /// The kernel.
    pub kernel: &'a Blob,
    /// Release of the kernel, if it says one.
    pub kernel_release: Option<&'a str>,
    /// Whether it is another one than the base's.
    pub other_kernel: bool,
    /// Whether the kernel loads signed modules only.
    pub enforced: bool,
    /// The instant that reaches bytes.
    pub epoch: Epoch,
    /// What the user turned into warnings.
    pub allowed: &'a Allowed,
    /// Count of worker threads.
    pub workers: usize,
    /// Whether the image is refused already.
    pub refused: bool,
    /// Whether secrets may be in what is added: then nothing of it enters the store, which others may get to see.
    pub secret: bool,
}

/// The initramfs as it goes into an image.
#[derive(Debug)]
pub(crate) struct Initramfs {
    /// All of it.
    pub blob: Blob,
    /// Bytes in front of the base's: microcode, which no board here reads.
    pub before: u64,
    /// What was added, in the order of the nodes' list; empty for the base's alone.
    pub layers: Vec<LayerRecord>,
    /// What was found.
    pub report: Report,
}

/// A system extension of an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LayerRecord {
    /// Its file in the initramfs.
    pub image: String,
    /// Its name, as nodes show it.
    pub name: String,
    /// Its version.
    pub version: String,
}

/// What was made of the additions, in the store.
#[derive(Serialize, Deserialize)]
struct Made {
    appended: Digest,
    before: Option<Digest>,
    layers: Vec<LayerRecord>,
    findings: Vec<SavedFinding>,
}

const ACTION: &str = "initramfs";

impl Additions<'_> {
    fn is_empty(&self) -> bool {
        self.extensions.is_empty() && self.modules.is_none() && self.config.is_none() && self.schematic.is_none()
    }

    /// What decides what is added, for keys of the store.
    pub(crate) fn key(&self) -> serde_json::Value {
        serde_json::json!({
            "extensions": self.extensions.iter().map(|source| (&source.label, source.digest)).collect::<Vec<_>>(),
            "modules": self.modules.map(|modules| modules.digest),
            "embeddedConfig": self.config.and_then(Blob::digest),
            "schematic": self.schematic.map(talosimg::schematic::Schematic::id),
        })
    }
}

/// Puts the additions behind the base's initramfs. What was made once is taken from the store.
///
/// # Errors
/// An input that is damaged or hostile, the store. What does not fit together is in the report.
pub(crate) fn assemble(
    base: &Input,
    additions: &Additions<'_>,
    setting: &Setting<'_>,
    context: &Context<'_>,
) -> Result<Initramfs> {
    let mut plain = Initramfs { blob: base.blob.clone(), before: 0, layers: Vec::new(), report: Report::new() };
    if additions.is_empty() {
        plain.report = modules::check_base(base, setting, context)?;
        return Ok(plain);
    }
    let action = format!("{ACTION}-{}", env!("CARGO_PKG_VERSION"));
    let key = Digest::of(&canonical_json(&serde_json::json!({
        "action": ACTION,
        "program": program(),
        "base": base.sha256,
        "additions": additions.key(),
        "talos": setting.version.as_str(),
        "kernel": (setting.kernel.compute_digest()?, setting.kernel_release, setting.other_kernel),
        "enforced": setting.enforced,
        "epoch": setting.epoch,
        "allowed": setting.allowed.codes().collect::<Vec<_>>(),
    })));
    if let Some(made) = context.store.action::<Made>(&action, key)
        && let Some(initramfs) = made.join(base, context)?
    {
        return Ok(initramfs);
    }
    let task = "merging system extensions";
    context.progress.start(task, None);
    let (merged, files, report) = merge(base, additions, setting, context)?;
    let merged = match merged {
        Some(merged) if !setting.refused && !setting.allowed.apply(report.clone()).has_errors() => merged,
        // What was found refuses the build; nothing is ground through a compressor for that.
        _ => {
            context.progress.finish(task);
            return Ok(Initramfs { report, ..plain });
        }
    };
    let layers = merged.layers.iter().map(|layer| LayerRecord {
        image: layer.image.clone(),
        name: layer.metadata.name.clone(),
        version: layer.metadata.version.clone(),
    });
    let layers: Vec<_> = layers.collect();
    let images = images(&merged, setting, context)?;
    let appended =
        merged.archive(images.iter().map(|(blob, _)| blob.clone()).collect()).map_err(|error| fault(&error))?;
    let archive = cpio::plan(&appended, setting.epoch).map_err(|error| wrong(&error))?;
    let mut incoming = context.store.incoming()?;
    packed::zstd(&archive, &mut incoming).map_err(|error| wrong(&error))?;
    let appended = if setting.secret { Kept::aside(incoming)? } else { Kept::Store(incoming.commit()?.0) };
    let before = match &merged.microcode {
        Some(tree) => {
            let mut incoming = context.store.incoming()?;
            let archive = cpio::plan(tree, setting.epoch).map_err(|error| wrong(&error))?;
            archive.write_to(&mut incoming).map_err(|error| wrong(&error))?;
            Some(incoming.commit()?.0)
        }
        None => None,
    };
    let appended = match appended {
        Kept::Store(digest) => digest,
        Kept::Aside(blob) => {
            context.progress.finish(task);
            return whole(base, before, blob, layers, report, context)?.ok_or_else(|| context.store.emptied());
        }
    };
    drop(files);
    let made = Made { appended, before, layers, findings: report.iter().map(SavedFinding::of).collect() };
    context.store.record(&action, key, &made)?;
    context.progress.finish(task);
    made.join(base, context)?.ok_or_else(|| context.store.emptied())
}

/// Where something that was made is.
enum Kept {
    Store(Digest),
    /// In a file that is gone with it.
    Aside(Blob),
}

impl Kept {
    fn aside(incoming: crate::Incoming<'_>) -> Result<Self> {
        Ok(Self::Aside(Blob::new("extensions", Arc::new(Temporary::open(incoming.into_temporary()?)?), None)))
    }
}

/// A file that is removed when nobody reads it any more.
pub(crate) struct Temporary {
    file: FileSource,
    _path: tempfile::TempPath,
}

impl Temporary {
    /// # Errors
    /// The path is in the error.
    pub(crate) fn open(path: tempfile::TempPath) -> std::io::Result<Self> {
        Ok(Self { file: FileSource::open(&path)?, _path: path })
    }
}

impl imgcore::ReadAt for Temporary {
    fn size(&self) -> u64 {
        self.file.size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.file.read_at(offset, buffer)
    }
}

impl Made {
    /// The whole initramfs; `None` if a part has left the store.
    fn join(self, base: &Input, context: &Context<'_>) -> Result<Option<Initramfs>> {
        let Some(appended) = context.store.blob("extensions", self.appended)? else { return Ok(None) };
        let report = self.findings.into_iter().filter_map(SavedFinding::restore).collect();
        whole(base, self.before, appended, self.layers, report, context)
    }
}

/// Microcode, the base's initramfs, and what is put behind it.
fn whole(
    base: &Input,
    microcode: Option<Digest>,
    appended: Blob,
    layers: Vec<LayerRecord>,
    report: Report,
    context: &Context<'_>,
) -> Result<Option<Initramfs>> {
    let mut parts = vec![base.blob.clone(), appended];
    let mut before = 0;
    if let Some(digest) = microcode {
        let Some(microcode) = context.store.blob("microcode", digest)? else { return Ok(None) };
        before = microcode.size();
        parts.insert(0, microcode);
    }
    Ok(Some(Initramfs { blob: Blob::joined("initramfs", parts), before, layers, report }))
}

/// Opens and checks every addition and puts them in order; `None` when something is no extension at all.
fn merge(
    base: &Input,
    additions: &Additions<'_>,
    setting: &Setting<'_>,
    context: &Context<'_>,
) -> Result<(Option<Merged>, Vec<Files>, Report)> {
    let (mut report, mut opened, mut files) = (Report::new(), Vec::new(), Vec::new());
    for source in additions.extensions {
        let mut content = source.files(context)?;
        let tree = std::mem::take(&mut content.tree);
        let (extension, found) = extension::open(&source.label, tree);
        report.extend(found);
        if let Some(extension) = &extension {
            report.extend(extension::check(extension, setting.release, setting.version));
        }
        opened.push(extension);
        files.push(content);
    }
    let Some(mut extensions) = opened.into_iter().collect::<Option<Vec<Extension>>>() else {
        return Ok((None, files, report));
    };
    if let Some(schematic) = additions.schematic {
        extensions.push(schematic.extension(None).map_err(|error| fault(&error))?);
    }
    if let Some(config) = additions.config {
        let text = config.read_all(CONFIG_LIMIT)?;
        extensions.push(extension::embedded_config(text).map_err(|error| fault(&error))?);
    }
    let (mut merged, found) = extension::merge(setting.release, extensions).map_err(|error| fault(&error))?;
    report.extend(found);
    modules::add(&mut merged, base, additions.modules, setting, context, &mut report)?;
    Ok((Some(merged), files, report))
}

/// The largest machine configuration: what a node takes over its API is 4 MiB.
pub(crate) const CONFIG_LIMIT: u64 = 4 << 20;

/// One SquashFS for each layer, in files beside the store's blobs.
fn images(merged: &Merged, setting: &Setting<'_>, context: &Context<'_>) -> Result<Vec<(Blob, tempfile::TempPath)>> {
    let mut images = Vec::new();
    for layer in &merged.layers {
        if context.progress.cancelled() {
            return Err(Error::cancelled());
        }
        let options =
            squashfs::Options { epoch: setting.epoch, workers: setting.workers, ..squashfs::Options::default() };
        let plan = squashfs::plan(&layer.tree, &options).map_err(|error| wrong(&error))?;
        let folder = context.store.partial_path("");
        fs_err::create_dir_all(&folder)?;
        let mut file = std::io::BufWriter::with_capacity(1 << 17, files::temporary_in(&folder)?);
        plan.write_to(&mut file).map_err(|error| wrong(&error))?;
        file.flush()?;
        let file = file.into_inner().map_err(std::io::IntoInnerError::into_error)?.into_temp_path();
        images.push((Blob::new(layer.image.clone(), Arc::new(FileSource::open(&file)?), None), file));
    }
    Ok(images)
}

/// What stops a writer: the medium, or something that the format does not hold.
pub(crate) fn wrong(error: &initramfs::Error) -> Error {
    match error.io() {
        Some(io) => Error::from(std::io::Error::new(io.kind(), io.to_string())),
        None => Error::new(Exit::Refused, Finding::error("VER003", format!("the initramfs: {error}"))),
    }
}

pub(crate) fn fault(error: &talosimg::Error) -> Error {
    Error::new(Exit::Refused, Finding::error("VER003", format!("the initramfs: {error}")))
}
