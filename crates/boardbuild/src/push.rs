//! A whole image to a registry.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use fs_err as fs;
use imgcore::{Blob, ByteSize, Digest, Finding, ReadAt, Report, Severity};
use ocipack::{
    BlobSource, Document, Picked,
    read::{self, ArchiveView},
    registry::{self, PushOptions, Pushed, Reference},
};
use serde_json::{Value, json};

use crate::{
    allow::Allowed,
    archive::secrets,
    build::Context,
    error::{Error, Exit, Result},
    files,
    store::Store,
    verify,
    whole::{self, StoreBlobs, StoreJournal},
};

/// A document of the store is read into memory up to this size.
const DOCUMENT_LIMIT: u64 = 4 << 20;

/// What to push and where to.
#[derive(Debug, Clone)]
pub struct PushRequest {
    /// An archive, `oci:DIR[:TAG]`, or the digest of an archive, an index or a manifest in the store.
    pub what: String,
    /// The reference that it gets.
    pub target: String,
    /// Whether a tag that names another image may be moved.
    pub force: bool,
    /// Codes whose errors are warnings: `REG009`.
    pub allow: Vec<String>,
}

/// What a push or a pull did.
#[derive(Debug)]
pub struct Transferred {
    /// What was found.
    pub report: Report,
    /// The result for programs.
    pub result: Value,
    /// The result for people.
    pub text: String,
    /// What is told on the side: how often one may still ask.
    pub notes: Vec<String>,
}

/// An image that was opened and checked.
struct Opened {
    picked: Picked,
    report: Report,
    installer: bool,
}

/// Pushes an image: blobs, manifests, index, tag. Nothing is sent before everything was checked.
///
/// # Errors
/// [`Exit::Refused`] for a tag that names another image (`REG001`) or was taken meanwhile (`REG002`), and for an image
/// with secrets (`REG009`); [`Exit::Usage`];
/// [`Exit::Input`] for an archive or digest that is missing, damaged or incomplete; [`Exit::Io`] for network and access.
pub fn push(request: &PushRequest, context: &Context<'_>) -> Result<Transferred> {
    let allowed = Allowed::new(&request.allow)?;
    let target = target(&request.target)?;
    let mut opened = open(&request.what, target.tag().unwrap_or_default(), context)?;
    opened.report = allowed.apply(opened.report);
    if opened.report.has_errors() {
        return Err(Error::refused(opened.report));
    }
    let client = context.network.client()?;
    // Pushes of one tag come one after the other, so that each sees what the one before it did.
    let _turn = match target.tag() {
        Some(tag) => {
            let name = format!("push {}:{tag}", target.repository());
            Some(context.store.lock_patiently(&name, context.progress)?)
        }
        None => None,
    };
    let journal = StoreJournal(context.store);
    let options = PushOptions { force: request.force, journal: &journal };
    let Opened { picked, mut report, installer } = opened;
    let pushed = registry::push(client, &picked.source, &picked.root, &target, options, context.progress);
    let pushed = match pushed {
        Ok(pushed) => pushed,
        Err(error) => return Err(whole::failed(&error, &request.target).after(report)),
    };
    let notes: Vec<_> = whole::rate(client.rate_limit(), target.registry(), &mut report).into_iter().collect();
    Ok(Transferred {
        result: result(&pushed, &target, &picked.root, installer, notes.first()),
        text: text(&pushed, &target, installer),
        report,
        notes,
    })
}

/// A reference that can be pushed to: its text names a tag or a digest, because nobody means `latest` by saying nothing.
fn target(text: &str) -> Result<Reference> {
    let reference = whole::reference(text)?;
    let last = text.rsplit('/').next().unwrap_or_default();
    if !last.contains([':', '@']) {
        return Err(Error::usage(format!("no tag and no digest: {text}"))
            .or_help(&format!("say under which name: {text}:TAG; or push by digest alone: {text}@sha256:…")));
    }
    Ok(reference)
}

fn text(pushed: &Pushed, target: &Reference, installer: bool) -> String {
    let mut text = format!("{}\n", pushed.reference);
    if pushed.nothing_to_do() {
        let _ = writeln!(text, "nothing to do: {target} is this image");
    } else {
        let Pushed { uploaded, skipped, mounted, documents, documents_skipped, .. } = pushed;
        let _ = writeln!(
            text,
            "{uploaded} blobs uploaded ({}), {mounted} mounted, {skipped} already there; {documents} manifests uploaded, \
             {documents_skipped} already there",
            ByteSize(pushed.bytes)
        );
        if let Some(before) = pushed.before.filter(|before| Some(*before) != pushed.reference.digest()) {
            let _ = writeln!(text, "moved {target}, it was {before}");
        }
    }
    if installer {
        let _ = writeln!(text, "machine.install.image: {}", pushed.reference);
    }
    text
}

fn result(pushed: &Pushed, target: &Reference, root: &Document, installer: bool, rate: Option<&String>) -> Value {
    let reference = pushed.reference.to_string();
    json!({
        "reference": reference,
        "target": target.to_string(),
        "digest": root.digest,
        "mediaType": root.media_type,
        "nothingToDo": pushed.nothing_to_do(),
        "before": pushed.before,
        "blobs": { "uploaded": pushed.uploaded, "mounted": pushed.mounted, "skipped": pushed.skipped },
        "manifests": { "uploaded": pushed.documents, "skipped": pushed.documents_skipped },
        "bytes": pushed.bytes,
        "machineInstallImage": installer.then_some(reference),
        "rateLimit": rate,
    })
}

/// Opens what is to be pushed and reads all of it.
fn open(what: &str, tag: &str, context: &Context<'_>) -> Result<Opened> {
    if let Some(folder) = what.strip_prefix("oci:") {
        let (folder, tag) = split_tag(folder, tag);
        return layout(what, &folder, &tag);
    }
    let path = what.strip_prefix("oci-archive:").or_else(|| what.strip_prefix("docker-archive:")).unwrap_or(what);
    if Path::new(path).is_dir() {
        return layout(what, Path::new(path), tag);
    }
    if path.starts_with("sha256:") && !Path::new(path).exists() {
        let digest: Digest = path.parse().map_err(|error| Error::usage(format!("{error}")))?;
        return stored(what, digest, tag, context.store);
    }
    let file = verify::open(Path::new(path))?;
    // So that it is found by its digest too.
    context.store.file_digest(Path::new(path))?;
    archive(what, file, tag)
}

/// `DIR` or `DIR:TAG`, as skopeo writes it.
fn split_tag(text: &str, tag: &str) -> (PathBuf, String) {
    match text.rsplit_once(':') {
        Some((folder, own)) if !Path::new(text).is_dir() && !own.contains('/') => (folder.into(), own.to_owned()),
        _ => (text.into(), tag.to_owned()),
    }
}

fn options() -> read::Options {
    // What cannot be unpacked on other systems is none of a registry's business.
    read::Options { portability: Severity::Info, ..read::Options::default() }
}

fn archive(what: &str, file: Arc<dyn ReadAt>, tag: &str) -> Result<Opened> {
    let (view, report) = read::open_with(Arc::clone(&file), options());
    opened(what, view, report, |view| Picked::from_archive(view, file, tag))
}

fn layout(what: &str, folder: &Path, tag: &str) -> Result<Opened> {
    let index = folder.join("index.json");
    if !index.is_file() {
        let finding = Finding::error("SRC001", format!("no OCI layout in this folder: {}", folder.display()))
            .help("give a folder with oci-layout, index.json and blobs/, or the path of an archive");
        return Err(Error::new(Exit::Input, finding));
    }
    let blobs: Arc<dyn BlobSource> = Arc::new(Folder(folder.to_owned()));
    let bytes = files::open_blob("index.json", &index, None)?.read_all(DOCUMENT_LIMIT)?;
    let (view, report) = read::open_layout(bytes, &blobs, options());
    opened(what, view, report, |view| Picked::from_layout(view, blobs, tag))
}

fn stored(what: &str, digest: Digest, tag: &str, store: &Store) -> Result<Opened> {
    let Some(blob) = store.blob(what, digest)? else {
        if let Some(path) = store.file_of(digest) {
            return archive(what, verify::open(&path)?, tag);
        }
        let finding = Finding::error("REG008", format!("neither in the store nor a file that was seen: {digest}"))
            .help("pull it first, or give the path of the archive");
        return Err(Error::new(Exit::Input, finding));
    };
    if verify::is_tar(&blob)? {
        return archive(what, Arc::new(blob), tag);
    }
    let bytes = match blob.read_all(DOCUMENT_LIMIT) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    let blobs: Arc<dyn BlobSource> = Arc::new(StoreBlobs::unchecked(store));
    let (view, report) = read::open_layout(bytes.clone(), &blobs, options());
    let root = Document { media_type: String::new(), digest, bytes };
    opened(what, view, report, |_| Ok(Picked { root, source: blobs }))
}

/// Reads every layer, and refuses what is damaged or incomplete.
fn opened(
    what: &str,
    view: Option<ArchiveView>,
    mut report: Report,
    pick: impl FnOnce(&ArchiveView) -> std::result::Result<Picked, ocipack::Error>,
) -> Result<Opened> {
    let mut installer = false;
    let (mut secrets, mut kernels, mut failure) = (BTreeSet::new(), BTreeSet::new(), None);
    if let Some(view) = view.as_ref().filter(|_| !report.has_errors()) {
        report.extend(view.verify_with(&mut |image, tree| {
            match secrets::look(image, tree, &mut kernels) {
                Ok(found) => secrets.extend(found),
                // A layer that is damaged is in the report too.
                Err(error) => failure = Some(error),
            }
            let runs = image.run.entrypoint.first().map(String::as_str);
            installer |= runs == Some("/bin/installer") || (runs.is_none() && tree.get("usr/install").is_some());
        }));
    }
    let mut report = report.owned_by(what, 0);
    let Some(view) = view.filter(|_| !report.has_errors()) else {
        let finding = Finding::error("REG003", format!("{what}: nothing was sent: the findings before this say why"))
            .help("build or copy the archive again; `cargo xtask inspect FILE` shows what is in it");
        return Err(Error::new(Exit::Input, finding).after(report));
    };
    if let Some(error) = failure {
        return Err(error.after(report));
    }
    report.extend(secrets::finding(&secrets, Severity::Error).map(|finding| finding.of(what)));
    match pick(&view) {
        Ok(picked) => Ok(Opened { picked, report, installer }),
        Err(error) => Err(whole::failed(&error, what).after(report)),
    }
}

/// The folder of an OCI layout.
struct Folder(PathBuf);

impl BlobSource for Folder {
    fn blob(&self, digest: &Digest) -> io::Result<Option<Blob>> {
        let path = self.0.join("blobs/sha256").join(digest.hex());
        match fs::symlink_metadata(&path) {
            Ok(_) => files::open_blob(&digest.to_string(), &path, None).map(Some),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}
