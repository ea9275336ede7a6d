//! The installer image: what `talosctl upgrade` runs on the node. A base that holds Talos' installer, above it the unified
//! kernel image, above that the overlay (`spec/talos-image.md` §2.5).

use std::{collections::BTreeMap, num::NonZeroUsize, sync::Arc};

use imgcore::{Blob, Digest, Epoch, Finding, ReadAt};
use ocipack::{Entry, Image, LayerInfo, Platform, archive, layer};
use serde::{Deserialize, Serialize};
use talosimg::installer as contents;

use crate::{
    board::{Board, Overlay},
    build::{ARCH, Context, program, workers},
    error::{Error, Exit, Result},
    front::Front,
    initrd::Temporary,
    overlay_image::{self, Installer},
    request::Request,
    store::canonical_json,
};

/// File name of the installer image, as the imager's.
pub(crate) const INSTALLER_TAR: &str = "installer-arm64.tar";

/// Annotation of the manifest that lists what an image holds that nobody else may have: `join-token`, `embedded-config`.
/// In the manifest it is seen without a look into the initramfs.
pub(crate) const SECRETS_ANNOTATION: &str = "io.talos-rk.secrets";

/// What is put on the base.
#[derive(Debug)]
pub(crate) struct Contents<'a> {
    /// The board.
    pub board: &'a Board,
    /// Its files.
    pub front: &'a Front,
    /// The executable for the node, if the board has an overlay.
    pub overlay: Option<(&'a Overlay, &'a Installer)>,
    /// What the user says to the overlay.
    pub request: &'a Request,
    /// The Talos release.
    pub talos: &'a str,
    /// The unified kernel image.
    pub uki: Blob,
    /// systemd-boot.
    pub sd_boot: Blob,
    /// The instant that reaches bytes.
    pub epoch: Epoch,
    /// Whether secrets may be in the unified kernel image: then its layer does not enter the store.
    pub secret: bool,
    /// What it holds that nobody else may have, in the words of [`SECRETS_ANNOTATION`].
    pub secrets: Vec<&'static str>,
}

impl Contents<'_> {
    /// The layer of the boot programs.
    fn artifacts(&self) -> Vec<Entry> {
        vec![
            Entry::file(contents::SD_BOOT, contents::FILE_MODE, self.sd_boot.clone()),
            Entry::file(contents::UKI, contents::FILE_MODE, self.uki.clone()),
        ]
    }

    /// The layer of the overlay, by which the node knows that it has one.
    fn overlay(&self) -> Result<Option<Vec<Entry>>> {
        let Some((overlay, installer)) = self.overlay else { return Ok(None) };
        let mut options = overlay.options.clone();
        options.entry("board".to_owned()).or_insert_with(|| self.board.name.clone());
        options.extend(self.request.options.clone());
        let options = contents::extra_options(options.into_iter().map(|(key, value)| (key, value.into())));
        let mut entries: Vec<Entry> = overlay_image::artifacts(self.board, overlay, self.front)?
            .into_iter()
            .map(|entry| Entry { path: format!("overlay/{}", entry.path), ..entry })
            .collect();
        entries.extend([
            Entry::file(contents::OVERLAY_INSTALLER, contents::INSTALLER_MODE, installer.blob.clone()),
            Entry::file(
                contents::EXTRA_OPTIONS,
                contents::FILE_MODE,
                Blob::from_bytes("extra-options", options.into_bytes()),
            ),
        ]);
        Ok(Some(entries))
    }

    /// Packs the layers, or takes them from the store, and plans the archive.
    ///
    /// # Errors
    /// [`Exit::Io`] for the store, [`Exit::Refused`] for a base that cannot be built on.
    pub(crate) fn plan(&self, mut base: ocipack::Base, context: &Context<'_>) -> Result<Plan> {
        base.truncate(contents::kept_layers(base.layers().len()));
        let workers = workers(self.request);
        let mut layers = vec![packed(&self.artifacts(), self.epoch, workers, self.secret, context)?];
        if let Some(entries) = self.overlay()? {
            layers.push(packed(&entries, self.epoch, workers, false, context)?);
        }
        let hits = layers.iter().filter(|(_, hit)| *hit).count();
        let how = if hits == layers.len() { "hit: its layers are from the store" } else { "miss: packed" };
        let layers: Vec<_> = layers.into_iter().map(|(layer, _)| layer).collect();
        let platform = Platform::new("linux", ARCH);
        let count = layers.len();
        let mut image = Image::on(&base, &platform, layers, self.epoch).map_err(|error| failed(&error))?;
        image.history = ["systemd-boot and unified kernel image", "overlay"][..count]
            .iter()
            .map(|what| format!("talos-rk: {what} for {}", self.board.name))
            .collect();
        image.annotations = self.annotations();
        let options = archive::Options {
            repository: Some(format!("talos-rk/installer-{}", self.board.name)),
            tag: self.talos.to_owned(),
            shape: archive::Shape::Manifests,
            ..archive::Options::default()
        };
        let archive = archive::plan(&[image], &options).map_err(|error| failed(&error))?;
        Ok(Plan { archive, new_layers: count, how })
    }

    /// What a registry says of the image to who has not pulled it.
    fn annotations(&self) -> BTreeMap<String, String> {
        let title =
            format!("Talos {} installer for {}", self.talos, self.board.title.as_deref().unwrap_or(&self.board.name));
        let mut annotations: BTreeMap<String, String> = [
            ("org.opencontainers.image.title", title),
            ("org.opencontainers.image.version", self.talos.to_owned()),
            ("io.talos-rk.kind", "installer".to_owned()),
            ("io.talos-rk.board", self.board.name.clone()),
        ]
        .map(|(key, value)| (key.to_owned(), value))
        .into();
        if let Some((overlay, _)) = self.overlay {
            annotations.insert("io.talos-rk.overlay".to_owned(), overlay.name.clone());
        }
        if !self.secrets.is_empty() {
            annotations.insert(SECRETS_ANNOTATION.to_owned(), self.secrets.join(","));
        }
        annotations
    }
}

/// An installer image, ready to be written.
pub(crate) struct Plan {
    /// The archive.
    pub archive: archive::Archive,
    /// How many of its layers are not the base's.
    pub new_layers: usize,
    /// How its layers came to be, for `--explain`.
    pub how: &'static str,
}

#[derive(Debug, Serialize, Deserialize)]
struct Packed {
    digest: Digest,
    size: u64,
    diff_id: Digest,
    tar_size: u64,
}

/// A layer out of the store, made if it is not there, and whether it was there.
fn packed(
    entries: &[Entry],
    epoch: Epoch,
    workers: usize,
    secret: bool,
    context: &Context<'_>,
) -> Result<(ocipack::Layer, bool)> {
    let mut files = Vec::new();
    for entry in entries {
        let ocipack::Kind::File(data) = &entry.kind else { continue };
        files.push((&entry.path, entry.mode, data.compute_digest()?));
    }
    let action = format!("layer-{}", env!("CARGO_PKG_VERSION"));
    let key = Digest::of(&canonical_json(&serde_json::json!({
        "action": "layer", "program": program(), "contents": files, "epoch": epoch,
    })));
    let layer = |packed: &Packed, data: Blob| {
        let Packed { digest, size, diff_id, tar_size } = *packed;
        ocipack::Layer::new(ocipack::media::LAYER_GZIP, LayerInfo { digest, size, diff_id, tar_size }, data)
    };
    if let Some(known) = context.store.action::<Packed>(&action, key)
        && let Some(data) = context.store.blob("layer", known.digest)?
    {
        return Ok((layer(&known, data), true));
    }
    let task = "packing the installer image";
    context.progress.start(task, None);
    let mut incoming = context.store.incoming()?;
    let plan = layer::plan(entries, epoch).map_err(|error| failed(&error))?;
    let workers = NonZeroUsize::new(workers).unwrap_or(NonZeroUsize::MIN);
    let info = plan.write_with(workers, &mut incoming).map_err(|error| failed(&error))?;
    if secret {
        context.progress.finish(task);
        let file = Temporary::open(incoming.into_temporary()?)?;
        let data = Blob::new("layer", Arc::new(file), Some(info.digest));
        return Ok((ocipack::Layer::new(ocipack::media::LAYER_GZIP, info, data), false));
    }
    let (digest, size) = incoming.commit()?;
    let made = Packed { digest, size, diff_id: info.diff_id, tar_size: info.tar_size };
    context.store.record(&action, key, &made)?;
    context.progress.finish(task);
    let data = context.store.blob("layer", digest)?.ok_or_else(|| context.store.emptied())?;
    Ok((layer(&made, data), false))
}

/// Reads the new layers of a written archive again: every file must be what it was made of.
///
/// # Errors
/// `VFY001` with what differs.
pub(crate) fn check(written: Arc<dyn ReadAt>, above: &Contents<'_>, plan: &Plan) -> Result<()> {
    let wrong = |what: String| {
        let finding = Finding::error("VFY001", format!("{INSTALLER_TAR} does not read back as packed: {what}"))
            .help("the medium or the memory of this machine is at fault, or this program; nothing was published");
        Error::refused(std::iter::once(finding).collect())
    };
    let (view, report) = ocipack::read::open(written);
    if report.has_errors() {
        return Err(wrong("its blobs are not what its manifest says".to_owned()).after(report));
    }
    let image = view.as_ref().and_then(|view| view.image(&Platform::new("linux", ARCH)));
    let Some(image) = image else { return Err(wrong(format!("there is no image for {ARCH}"))) };
    let first = image.layers.len().saturating_sub(plan.new_layers);
    let mut new_layers = image.clone();
    new_layers.layers = image.layers.get(first..).unwrap_or_default().to_vec();
    let (tree, report) = new_layers.tree_with_digests();
    if report.has_errors() {
        return Err(wrong("its layers are damaged".to_owned()).after(report));
    }
    for entry in above.artifacts().into_iter().chain(above.overlay()?.into_iter().flatten()) {
        let ocipack::Kind::File(data) = &entry.kind else { continue };
        let expected = data.compute_digest()?;
        let found = tree.get(&entry.path).map(|node| (&node.kind, node.mode));
        let same = matches!(found, Some((ocipack::read::NodeKind::File { digest: Some(digest), .. }, mode))
            if *digest == expected && mode == entry.mode);
        if !same {
            return Err(wrong(format!("{} is {found:?}, expected {expected}", entry.path)));
        }
    }
    Ok(())
}

/// What stops an archive: the medium, or something in it that cannot be packed.
pub(crate) fn failed(error: &ocipack::Error) -> Error {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(current) = source {
        if let Some(io) = current.downcast_ref::<std::io::Error>() {
            return Error::io(INSTALLER_TAR, io);
        }
        source = current.source();
    }
    Error::new(Exit::Refused, Finding::error("INS002", format!("{INSTALLER_TAR}: {error}")))
}
