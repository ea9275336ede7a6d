//! Reads images of anybody, without unpacking and with bounded memory.
//!
//! [`open`] takes an archive (`skopeo`'s `oci-archive`, `docker save` of any age, ours), [`open_layout`] an OCI layout
//! whose blobs are anywhere: a folder, a store. Both check every digest and size on the way from the index to the
//! layers. [`ImageView::tree`] unpacks the layers in passing, checks what is inside and lists it with whiteouts applied;
//! [`ImageView::extract`] hands out files. [`Search`] takes a few files out of an image whose layers are still elsewhere.
//!
//! ```
//! use std::sync::Arc;
//! use imgcore::{Blob, Epoch};
//! use ocipack::{Entry, Image, Platform, archive, layer, read};
//!
//! let layer = layer::build(&[Entry::file("etc/motd", 0o644, Blob::from_bytes("motd", *b"hello"))], Epoch(0))?;
//! let image = Image::new(Platform::new("linux", "arm64"), vec![layer], Epoch(0));
//! let mut file = Vec::new();
//! archive::plan(&[image], &archive::Options::default())?.write_to(&mut file)?;
//!
//! let (view, report) = read::open(Arc::new(file));
//! let view = view.ok_or("no image")?;
//! assert!(report.is_empty());
//! let image = view.image(&Platform::new("linux", "arm64")).ok_or("no image for arm64")?;
//! let (tree, report) = image.tree();
//! assert!(report.is_empty());
//! assert_eq!(image.read_file(&tree, "etc/motd", 1024)?, b"hello");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

mod docker;
mod extract;
pub(crate) mod findings;
mod graph;
pub(crate) mod json;
mod members;
mod options;
pub(crate) mod paths;
mod search;
pub mod tar;
mod tree;
mod view;
mod walk;

use std::{collections::BTreeMap, sync::Arc};

use imgcore::{Digest, ReadAt, Report};

pub use options::{Limits, Options};
pub use search::{FileSink, Found, Search};
pub(crate) use tree::check_layers;
pub use tree::{Change, Node, NodeKind, Tree};
pub use view::{ArchiveBlobs, ArchiveView, Compression, Format, ImageView, LayerView, Name, Role};

use self::{findings::Findings, graph::Graph, members::Members};
use crate::{BlobSource, Document, media, rules};

use findings::quote;

/// Opens an archive: a tar with an OCI layout, Docker's format, or both. Digests and sizes of all blobs are checked; what is
/// inside the layers is not: see [`verify`].
pub fn open(data: Arc<dyn ReadAt>) -> (Option<ArchiveView>, Report) {
    open_with(data, Options::default())
}

/// Opens an archive and unpacks every layer in passing: everything that can be known to be wrong with it.
pub fn verify(data: Arc<dyn ReadAt>) -> (Option<ArchiveView>, Report) {
    let (view, mut report) = open(data);
    if let Some(view) = &view {
        report.extend(view.verify());
    }
    (view, report)
}

/// Opens an archive, with options.
pub fn open_with(data: Arc<dyn ReadAt>, options: Options) -> (Option<ArchiveView>, Report) {
    let mut findings = Findings::default();
    if let Some(kind) = packed(&*data) {
        let message = format!("the file is compressed with {kind}, expected a plain tar");
        findings.add(
            rules::finding(rules::PACKED, message).at(0..data.size().min(6)).help(format!("unpack it: {kind} -d FILE")),
        );
        return (None, findings.finish());
    }
    let Some(members) = Members::list(data, &options.limits, &mut findings) else {
        return (None, findings.finish());
    };
    let options = Arc::new(options);
    let places: BTreeMap<_, _> = members.blobs().collect();
    let mut graph = Graph::new(&members, places.clone(), options, findings);
    let index = members.blob("index.json");
    let manifest = members.blob("manifest.json");
    let mut view = match (&index, &manifest) {
        (None, None) => {
            let message = "the archive holds neither index.json nor manifest.json: it is no image";
            graph.findings.say(rules::NO_IMAGE, message);
            return (None, graph.findings.finish());
        }
        (Some(_), None) => ArchiveView::empty(Format::Oci),
        (None, Some(_)) => ArchiveView::empty(Format::Docker),
        (Some(_), Some(_)) => ArchiveView::empty(Format::OciAndDocker),
    };
    if let Some(index) = index {
        layout_version(&members, &mut graph.findings);
        match index.read_all(graph.options.limits.document) {
            Ok(bytes) => root(&mut graph, &mut view, bytes),
            Err(error) if error.kind() == std::io::ErrorKind::FileTooLarge => {
                graph.findings.say(rules::DOCUMENT_SIZE, error.to_string());
            }
            Err(error) => graph.findings.say(rules::MEDIUM, format!("index.json: {error}")),
        }
    }
    if let Some(manifest) = manifest {
        docker::read(&mut graph, &members, &manifest, &mut view);
    }
    if graph.options.whole() && view.format != Format::Docker {
        for (digest, range) in &places {
            if !graph.refers_to(digest) {
                let message = format!("nothing refers to the blob {digest}");
                graph.findings.add(rules::finding(rules::UNREFERENCED, message).at(range.clone()));
            }
        }
    }
    view.places = places;
    view.images = graph.images;
    (Some(view), graph.findings.finish())
}

/// Opens an OCI layout: the bytes of its `index.json`, and whatever gives blobs by digest. A document that is an index
/// or a manifest itself will do as well.
pub fn open_layout(index: Vec<u8>, source: &dyn BlobSource, options: Options) -> (Option<ArchiveView>, Report) {
    let mut graph = Graph::new(source, BTreeMap::new(), Arc::new(options), Findings::default());
    let mut view = ArchiveView::empty(Format::Oci);
    root(&mut graph, &mut view, index);
    view.images = graph.images;
    (Some(view), graph.findings.finish())
}

/// Whether a file looks like an image archive, for programs that recognise files: a tar whose members say so.
pub fn recognise(data: Arc<dyn ReadAt>) -> bool {
    Members::list(data, &Limits::default(), &mut Findings::default())
        .is_some_and(|members| members.range("index.json").is_some() || members.range("manifest.json").is_some())
}

impl ArchiveView {
    fn empty(format: Format) -> Self {
        Self {
            format,
            root: None,
            tags: Vec::new(),
            names: Vec::new(),
            annotations: BTreeMap::new(),
            images: Vec::new(),
            places: BTreeMap::new(),
        }
    }
}

/// Follows the top document.
fn root(graph: &mut Graph<'_>, view: &mut ArchiveView, bytes: Vec<u8>) {
    let received = Document { media_type: String::new(), digest: Digest::of(&bytes), bytes };
    let Some(read) = graph.parse(received) else { return };
    let Some(manifests) = &read.parsed.manifests else {
        graph.top_manifest(read);
        return;
    };
    view.names = graph::names(manifests);
    view.tags = graph::tags(manifests);
    view.tags.sort();
    view.tags.dedup();
    view.annotations = read.parsed.annotations.clone().unwrap_or_default();
    let manifests: Vec<_> =
        manifests.iter().filter(|manifest| graph.tagged(graph::tags_of(manifest))).cloned().collect();
    if let [one] = manifests.as_slice() {
        view.root = graph.entry(one, "index.json", 0);
        let index = view.root.as_ref().filter(|root| media::meaning(&root.media_type) == Some(media::Meaning::Index));
        if let Some(annotations) = index.and_then(Graph::annotations) {
            view.annotations.extend(annotations);
        }
    } else {
        graph.index(&manifests, "index.json", 0);
    }
}

fn layout_version(members: &Members, findings: &mut Findings) {
    let problem = match members.blob("oci-layout").map(|blob| blob.read_all(4096)) {
        None => "is missing".to_owned(),
        Some(Err(error)) => error.to_string(),
        Some(Ok(bytes)) => match serde_json::from_slice::<json::Layout>(&bytes) {
            Ok(layout) if layout.image_layout_version == "1.0.0" => return,
            Ok(layout) => format!("names version {}", quote(layout.image_layout_version.as_bytes())),
            Err(error) => format!("is no JSON: {error}"),
        },
    };
    findings.say(rules::LAYOUT, format!("oci-layout {problem}, expected version 1.0.0"));
}

fn packed(data: &dyn ReadAt) -> Option<&'static str> {
    let mut magic = [0; 6];
    let count = data.read_at(0, &mut magic).unwrap_or(0);
    match magic.get(..count).unwrap_or_default() {
        [0x1f, 0x8b, ..] => Some("gzip"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("zstd"),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => Some("xz"),
        [b'B', b'Z', b'h', ..] => Some("bzip2"),
        _ => None,
    }
}
