//! What an installer image stands on: `--installer-base`, the board's own, or the release's `installer-base` image.

use imgcore::{Digest, Finding, Report};
use ocipack::{Platform, read};
use serde::{Deserialize, Serialize};
use talosimg::installer::kept_layers;

use crate::{
    build::Context,
    error::{Error, Exit, Result},
    image::{self, Opened, Place},
    inputs::Resolver,
    store::canonical_json,
};

/// An opened base; its layers come when they are asked for.
pub(crate) struct InstallerBase {
    /// Origin without host paths.
    pub origin: String,
    /// SHA-256 of its manifest; of its configuration where there is no manifest.
    pub digest: Digest,
    /// Size of its layers as they are stored, in bytes.
    pub size: u64,
    opened: Opened,
}

impl std::fmt::Debug for InstallerBase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InstallerBase")
            .field("origin", &self.origin)
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

/// Whether there is a base, or why an image is built without its installer image.
#[derive(Debug)]
pub(crate) enum Found {
    /// There is.
    Base(Box<InstallerBase>),
    /// There is none, and nobody named one. What is in the way, in one line.
    None(String),
}

impl Resolver<'_> {
    /// The base of the installer image. Nobody has to have one: what the release's own image cannot be had for is said and
    /// not an error, unless it was named.
    ///
    /// # Errors
    /// As for a base of the Talos files.
    pub(crate) fn installer_base(&mut self, arch: &str, talos: &str) -> Result<Found> {
        let named = match (&self.request.installer_base, &self.board.installer_base) {
            (Some(base), _) => Some(Place::parse("--installer-base", base, None)?),
            (None, Some(base)) => Some(Place::parse("installer-base", base, Some(&self.board.folder))?),
            (None, None) => None,
        };
        let Some(place) = named else {
            let reference = format!("ghcr.io/siderolabs/installer-base:{talos}");
            let opened = self
                .ask_once(&reference, arch)
                .and_then(|()| self.open_base(&Place::Reference(reference.clone()), arch));
            return match opened {
                Ok(base) => Ok(Found::Base(Box::new(base))),
                Err(error) if absent(&error) => Ok(Found::None(format!("{reference} {}", reason(&error)))),
                Err(error) => Err(error),
            };
        };
        self.open_base(&place, arch).map(|base| Found::Base(Box::new(base)))
    }

    /// Asks for what nobody has locked, without patience: a machine without a network builds the rest at once.
    fn ask_once(&self, reference: &str, arch: &str) -> Result<()> {
        let platform = Platform::new("linux", arch);
        if self.request.locked || self.lock.find_image(reference, &platform.to_string()).is_some() {
            return Ok(());
        }
        let network = self.context.network.hasty();
        let said = image::ask_reference(&Context { network: &network, ..*self.context }, reference, &platform)?;
        self.context.network.remember(said);
        Ok(())
    }

    fn open_base(&mut self, place: &Place, arch: &str) -> Result<InstallerBase> {
        let platform = Platform::new("linux", arch);
        let context = self.context;
        let (origin, opened) = match place {
            Place::Folder(folder) => {
                let message =
                    format!("--installer-base: {place}: an installer image stands on an image, not on a folder");
                let help = format!("name an image, an archive or a layout: oci:{}, if that is one", folder.display());
                return Err(Error::usage(message).or_help(&help));
            }
            Place::Layout { folder: path, tag } | Place::Archive { file: path, tag } => {
                let opened = image::open_local(path, tag.as_deref(), &platform, &image::limits(None), context)?;
                ("installer base".to_owned(), opened)
            }
            Place::Reference(reference) => self.open_image(reference, &platform)?,
        };
        let document = opened.view.manifest.as_ref().or(opened.view.config.as_ref());
        let Some(digest) = document.map(|document| document.digest) else {
            let finding = Finding::error("INS002", format!("{place} has neither a manifest nor a configuration"));
            return Err(Error::new(Exit::Refused, finding.help("name a whole image")));
        };
        let size = opened.view.layers.iter().fold(0, |sum: u64, layer| sum.saturating_add(layer.size));
        Ok(InstallerBase { origin, digest, size, opened })
    }
}

/// Whether an error only says that there is no way to the image now.
fn absent(error: &Error) -> bool {
    let gone = |finding: &Finding| finding.code.starts_with("NET") || finding.code == "SRC004";
    matches!(error.exit(), Exit::Input | Exit::Io) && error.report().iter().all(gone)
}

fn reason(error: &Error) -> String {
    let first = error.report().iter().next();
    match first.map(|finding| (finding.code, &finding.message)) {
        Some(("NET007", _)) => "is not in the store, and --offline is given".to_owned(),
        Some(("SRC004", _)) => "is not in boards/sources.lock, and --locked is given".to_owned(),
        Some((code, message)) => format!("cannot be had: {message} ({code})"),
        None => "cannot be had".to_owned(),
    }
}

/// That a base was read to its last byte and holds.
#[derive(Debug, Serialize, Deserialize)]
struct Sound {
    /// Count of the entries of the layers that are kept.
    entries: usize,
    /// What the layers that are not kept hold beside boot assets.
    left_out: Option<LeftOut>,
}

/// Files of a base that no installer image on it has.
#[derive(Debug, Serialize, Deserialize)]
struct LeftOut {
    /// SHA-256 of the layer as it is stored.
    layer: Digest,
    /// Count of the files.
    files: usize,
    /// The first of them.
    first: String,
}

impl LeftOut {
    fn finding(&self, origin: &str) -> Finding {
        let Self { layer, files, first } = self;
        let more = if *files == 1 { first.clone() } else { format!("{files} files, {first} the first of them") };
        let message = format!(
            "of the base's two layers the first is kept, as the imager does; layer {layer} is left out with {more}"
        );
        Finding::warning("INS004", message).of(origin).help(
            "its place is for boot assets, usr/install/…, which are replaced: put everything else into one layer, or into three",
        )
    }
}

/// Where the imager has boot assets, which are replaced.
const ASSETS: &str = "usr/install/";

impl InstallerBase {
    /// The image with all its layers, and what of it is lost on the way into an installer image. Each base is read to its
    /// end once: digests, tar, `diff_id`, paths.
    ///
    /// # Errors
    /// A layer that is missing, damaged or hostile; no program behind the entry point.
    pub(crate) fn image(&self, context: &Context<'_>) -> Result<(ocipack::Base, Report)> {
        let mut layers = Vec::new();
        for index in 0..self.opened.view.layers.len() {
            layers.push(self.opened.layer(index, context)?);
        }
        let mut view = self.opened.view.clone();
        view.layers = layers;
        let base = ocipack::Base::of(&view)
            .map_err(|error| self.refused(Finding::error("INS002", format!("{}: {error}", self.origin))))?;
        let key = Digest::of(&canonical_json(&("installer-base", self.digest, kept_layers(view.layers.len()), ASSETS)));
        let sound = if let Some(sound) = context.store.action::<Sound>(ACTION, key) {
            sound
        } else {
            let sound = self.check(&view)?;
            context.store.record(ACTION, key, &sound)?;
            sound
        };
        Ok((base, sound.left_out.iter().map(|left_out| left_out.finding(&self.origin)).collect()))
    }

    fn check(&self, view: &read::ImageView) -> Result<Sound> {
        let (tree, report) = view.tree();
        if report.has_errors() {
            let finding = Finding::error("INS002", format!("{}: no installer image stands on this one", self.origin))
                .help("fetch it again, or name another one with --installer-base");
            let report = report.into_iter().map(|found| found.of(&self.origin)).collect();
            return Err(Error::refused(report).with_finding(finding));
        }
        // What is built on it does not have all of its layers.
        let mut kept = view.clone();
        kept.layers.truncate(kept_layers(kept.layers.len()));
        let whole = kept.layers.len() == view.layers.len();
        let tree = if whole { tree } else { kept.tree().0 };
        let program = view.run.entrypoint.first().or(view.run.cmd.first());
        let there = program.is_some_and(|path| tree.resolve(path).is_ok_and(|(_, node)| node.kind.name() == "file"));
        if !there {
            let what = program
                .map_or_else(|| "it runs nothing".to_owned(), |path| format!("it runs {path}, which it does not have"));
            return Err(self.refused(Finding::error("INS001", format!("{} is no installer: {what}", self.origin))));
        }
        let left_out = if whole { None } else { left_out(view, kept.layers.len()) };
        Ok(Sound { entries: tree.len(), left_out })
    }

    fn refused(&self, finding: Finding) -> Error {
        let help = "name an image that runs Talos' installer: ghcr.io/siderolabs/installer-base of the release";
        Error::refused(std::iter::once(finding.of(&self.origin).help(help)).collect())
    }
}

/// What the layers above the kept ones do beside placing boot assets: folders alone are nothing that is missed.
fn left_out(view: &read::ImageView, kept: usize) -> Option<LeftOut> {
    let (changes, _) = view.changes();
    let folder = |change: &read::Change| change.now.as_ref().is_some_and(|node| node.kind.name() == "folder");
    let missed: Vec<_> = changes
        .iter()
        .filter(|change| change.layer >= kept && !change.path.starts_with(ASSETS) && !folder(change))
        .collect();
    let first = missed.first()?;
    let layer = view.layers.get(first.layer)?.digest;
    Some(LeftOut { layer, files: missed.len(), first: first.path.clone() })
}

const ACTION: &str = "installer-base-3";
