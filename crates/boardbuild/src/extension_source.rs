//! System extensions as inputs: `--extension`, an image or a tar with `manifest.yaml` and `rootfs/`.

use std::{path::Path, sync::Arc};

use imgcore::{Blob, Digest, Finding, Severity};
use initramfs::{Node, Tree};
use ocipack::{
    Platform,
    read::{self, Compression, ImageView, LayerView, Limits, NodeKind, Options},
};
use tempfile::TempPath;

use crate::{
    build::Context,
    error::{Error, Result},
    files::{self, FileSource},
    image::{self, Opened, Place},
    inputs::Resolver,
    member::{self, Want},
    store::canonical_json,
};

/// What an extension may unpack to. Everything in it ends up in the memory of a board that has four gigabytes.
const UNPACKED: u64 = 4 << 30;

/// An extension that is here; what is in it is looked at when it is needed.
pub(crate) struct ExtensionSource {
    /// What the user calls it.
    pub label: String,
    /// Origin without host paths.
    pub origin: String,
    /// SHA-256 of its manifest, of its file where it is one.
    pub digest: Digest,
    /// Size of its layers as they are stored, or of its file, in bytes.
    pub size: u64,
    contents: Contents,
}

enum Contents {
    Image(Box<Opened>),
    Tar(std::path::PathBuf),
}

impl std::fmt::Debug for ExtensionSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExtensionSource")
            .field("label", &self.label)
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

/// The files of an extension, and the plain tars that they are read from.
pub(crate) struct Files {
    /// Files, folders and links with their attributes.
    pub tree: Tree,
    /// What was found on the way.
    pub report: imgcore::Report,
    _unpacked: Vec<TempPath>,
}

impl Resolver<'_> {
    /// The extensions of the command line, in its order.
    ///
    /// # Errors
    /// As for a base of the Talos files.
    pub(crate) fn extensions(&mut self, arch: &str) -> Result<Vec<ExtensionSource>> {
        let request = self.request;
        request.extensions.iter().map(|text| self.extension(text, arch)).collect()
    }

    fn extension(&mut self, text: &str, arch: &str) -> Result<ExtensionSource> {
        let (context, platform) = (self.context, Platform::new("linux", arch));
        let local = |place: &Path, tag: Option<&str>| -> Result<ExtensionSource> {
            let opened = image::open_local(place, tag, &platform, &limits(), context)?;
            let digest = Digest::of(image::identity(place, tag, context)?.as_bytes());
            let label = tag.map_or_else(|| shown(place), |tag| format!("{}:{tag}", shown(place)));
            Ok(source(&label, "local image".to_owned(), digest, opened))
        };
        let path = Path::new(text);
        if path.is_file() {
            let data = files::open_blob(&shown(path), path, None)?;
            if read::recognise(Arc::new(data.clone())) {
                return local(path, None);
            }
            let digest = context.store.file_digest(path)?;
            return Ok(ExtensionSource {
                label: shown(path),
                origin: "local file".to_owned(),
                digest,
                size: imgcore::ReadAt::size(&data),
                contents: Contents::Tar(path.to_owned()),
            });
        }
        if [".tar", ".tar.gz", ".tgz", ".tar.xz", ".tar.zst"].iter().any(|ending| text.ends_with(ending))
            && !text.contains("archive:")
        {
            let finding = Finding::error("SRC001", format!("--extension: no file at this path: {text}"));
            return Err(Error::new(crate::error::Exit::Input, finding.help(FORMS)));
        }
        match Place::parse("--extension", text, None).map_err(|error| error.or_help(FORMS))? {
            Place::Folder(_) => {
                Err(Error::usage(format!("--extension: {text}: modes and owners of a folder are this machine's"))
                    .or_help("pack it: tar --owner=0 --group=0 -cf extension.tar manifest.yaml rootfs"))
            }
            Place::Layout { folder: path, tag } | Place::Archive { file: path, tag } => local(&path, tag.as_deref()),
            Place::Reference(reference) => {
                let (origin, opened) = self.open_image(&reference, &platform)?;
                let digest = opened.view.manifest.as_ref().map_or_else(
                    || {
                        Digest::of(&canonical_json(
                            &opened.view.layers.iter().map(|layer| layer.digest).collect::<Vec<_>>(),
                        ))
                    },
                    |manifest| manifest.digest,
                );
                Ok(source(text, origin, digest, opened))
            }
        }
    }
}

/// The forms in words, for messages.
const FORMS: &str = "write a reference like ghcr.io/siderolabs/realtek-firmware:20250708, the path of a tar with manifest.yaml and \
     rootfs/, oci:DIR[:TAG], oci-archive:FILE[:TAG] or docker-archive:FILE[:TAG]";

fn limits() -> Limits {
    Limits { unpacked: UNPACKED, ..Limits::default() }
}

fn options() -> Options {
    Options { portability: Severity::Info, limits: limits(), ..Options::default() }
}

fn source(label: &str, origin: String, digest: Digest, opened: Opened) -> ExtensionSource {
    let size = opened.view.layers.iter().fold(0, |sum: u64, layer| sum.saturating_add(layer.size));
    ExtensionSource { label: label.to_owned(), origin, digest, size, contents: Contents::Image(Box::new(opened)) }
}

/// What to call a path in a finding: its last name, which holds on any machine.
fn shown(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

impl ExtensionSource {
    /// Brings its layers into the store.
    ///
    /// # Errors
    /// The network, the store; a layer that is not what its digest says.
    pub(crate) fn fetch(&self, context: &Context<'_>) -> Result<()> {
        if let Contents::Image(opened) = &self.contents {
            for index in 0..opened.view.layers.len() {
                opened.layer(index, context)?;
            }
        }
        Ok(())
    }

    /// Everything that is in it. Compressed layers are unpacked once into files that are gone when the result is dropped.
    ///
    /// # Errors
    /// An extension that is damaged or hostile, with the entry; the network, the store.
    pub(crate) fn files(&self, context: &Context<'_>) -> Result<Files> {
        let opened = match &self.contents {
            Contents::Tar(path) => return files_of_tar(path, &self.label, context),
            Contents::Image(opened) => opened,
        };
        let (mut layers, mut unpacked) = (Vec::new(), Unpacked::new(UNPACKED));
        for index in 0..opened.view.layers.len() {
            let layer = opened.layer(index, context)?;
            let Some(data) = layer.data.clone() else { continue };
            let data = unpacked.plain(data, &self.label, context)?;
            layers.push(LayerView { compression: Compression::None, data: Some(data), ..layer });
        }
        let mut view = opened.view.clone();
        view.layers = layers;
        files_of(&view, &self.label, unpacked.files, context)
    }
}

/// Everything that is in a tar, compressed or not.
///
/// # Errors
/// A tar that is damaged or hostile, with the entry; the store.
pub(crate) fn files_of_tar(path: &Path, label: &str, context: &Context<'_>) -> Result<Files> {
    let mut unpacked = Unpacked::new(UNPACKED);
    let data = unpacked.plain(files::open_blob(label, path, None)?, label, context)?;
    let view =
        ImageView::of_tar(data, options()).map_err(|finding| refused(label, std::iter::once(finding).collect()))?;
    files_of(&view, label, unpacked.files, context)
}

fn files_of(view: &ImageView, label: &str, unpacked: Vec<TempPath>, context: &Context<'_>) -> Result<Files> {
    let (found, report) = view.tree();
    if report.has_errors() {
        return Err(refused(label, report));
    }
    let mut tree = Tree::new();
    for (path, node) in found.iter() {
        let kind = match &node.kind {
            NodeKind::Dir => initramfs::Kind::Dir,
            NodeKind::Symlink { target } => initramfs::Kind::Symlink(target.clone()),
            NodeKind::File { .. } => {
                let data = view.file_blob(&found, path).ok_or_else(|| context.store.emptied())?;
                initramfs::Kind::File(data)
            }
        };
        let node = Node { kind, mode: node.mode, xattrs: node.xattrs.clone() };
        tree.insert(path, node)
            .map_err(|error| refused(label, std::iter::once(Finding::error("SRC023", error.to_string())).collect()))?;
    }
    Ok(Files { tree, report, _unpacked: unpacked })
}

/// Plain tars of the layers of one extension, in files beside the store's blobs.
struct Unpacked {
    files: Vec<TempPath>,
    /// Bytes that may still come, of all layers together: each of them alone could fill the disk.
    left: u64,
}

impl Unpacked {
    fn new(limit: u64) -> Self {
        Self { files: Vec::new(), left: limit }
    }

    /// A stream without its compression.
    fn plain(&mut self, data: Blob, label: &str, context: &Context<'_>) -> Result<Blob> {
        if !image::compressed(&data)? {
            return Ok(data);
        }
        let mut incoming = context.store.incoming()?;
        let want = Want { member: None, range: None, unpacked: None };
        let taken = member::take_at_most(&data, &want, self.left, &mut incoming, context.progress)
            .map_err(|fault| fault.into_error(label, label))?;
        self.left = self.left.saturating_sub(taken.unpacked);
        let file = incoming.into_temporary()?;
        let data = Blob::new(label, Arc::new(FileSource::open(&file)?), None);
        self.files.push(file);
        Ok(data)
    }
}

fn refused(label: &str, report: imgcore::Report) -> Error {
    let errors = report.into_iter().filter(|finding| finding.severity == Severity::Error);
    let mut errors: Vec<Finding> = errors.map(|finding| finding.of(label)).collect();
    for finding in &mut errors {
        finding.range = None;
    }
    Error::refused(errors.into_iter().collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "tests make folders of their own")]

    use imgcore::NoProgress;

    use super::*;
    use crate::{Home, Network, NetworkOptions, Store};

    #[test]
    fn all_layers_share_what_may_be_unpacked() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(&home.path().join("store")).unwrap();
        let place = Home { root: home.path().to_path_buf(), boards: home.path().join("boards") };
        let network = Network::new(NetworkOptions { offline: true, ..NetworkOptions::default() });
        let context = Context { home: &place, store: &store, network: &network, progress: &NoProgress };
        let layer = Blob::from_bytes("layer", zstd::encode_all(&[7_u8; 4000][..], 0).unwrap());
        let mut unpacked = Unpacked::new(10_000);
        for _ in 0..2 {
            let plain = unpacked.plain(layer.clone(), "a", &context).unwrap();
            assert_eq!(imgcore::ReadAt::size(&plain), 4000);
        }
        let error = unpacked.plain(layer, "a", &context).unwrap_err();
        assert_eq!(error.report().iter().next().unwrap().code, "SRC008");
    }
}
