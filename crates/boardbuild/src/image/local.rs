//! Images on this machine: OCI layouts and archives.

use std::{io, path::Path, sync::Arc};

use fs_err as fs;
use imgcore::{Blob, Digest, Finding, ReadAt, Report, Severity};
use ocipack::{
    BlobSource, Platform,
    read::{self, ArchiveView, ImageView, Limits, Options},
};

use super::{Bytes, Opened, UNPACKED, one, refused};
use crate::{
    build::Context,
    error::{Error, Exit, Result},
    files::{self, FileSource},
    member::{self, Want},
};

/// Bytes of an `index.json`; registries take documents of 4 MiB.
const INDEX: u64 = 4 << 20;

/// The image for a platform in a folder with an OCI layout, or in an archive.
///
/// # Errors
/// No image there; several, or none for the platform, with what there is; a damaged archive.
pub(crate) fn open(
    path: &Path,
    tag: Option<&str>,
    platform: &Platform,
    limits: &Limits,
    context: &Context<'_>,
) -> Result<Opened> {
    let name = shown(path);
    let options = |platforms| Options {
        platforms,
        tag: tag.map(str::to_owned),
        portability: Severity::Info,
        defer_layers: true,
        limits: limits.clone(),
    };
    let (wanted, everything) = (options(vec![platform.clone()]), options(Vec::new()));
    if path.is_dir() {
        let index = index(path, &name)?;
        let source = Folder(path.to_path_buf());
        let view = checked(&name, read::open_layout(index.clone(), &source, wanted))?;
        let image = choose(&name, &view, tag, platform, || read::open_layout(index, &source, everything).0)?;
        return Ok(Opened { name, view: image, bytes: Bytes::Layout(path.to_path_buf()) });
    }
    let (data, unpacked) = plain(path, &name, context)?;
    let view = checked(&name, read::open_with(Arc::clone(&data), wanted))?;
    let again = Arc::clone(&data);
    let image = choose(&name, &view, tag, platform, || read::open_with(again, everything).0)?;
    Ok(Opened { name, view: image, bytes: Bytes::Archive { data, view, _unpacked: unpacked } })
}

/// What makes a local image this one: its archive, or the index of its layout.
///
/// # Errors
/// [`Exit::Io`] with the path, [`Exit::Input`] for a folder without layout.
pub(crate) fn identity(path: &Path, tag: Option<&str>, context: &Context<'_>) -> Result<String> {
    let digest =
        if path.is_dir() { Digest::of(&index(path, &shown(path))?) } else { context.store.file_digest(path)? };
    let kind = if path.is_dir() { "layout" } else { "archive" };
    Ok(format!("{kind} {digest} {}", tag.unwrap_or_default()))
}

/// A blob of a layout.
///
/// # Errors
/// The path is in the error.
pub(super) fn blob(folder: &Path, label: &str, digest: Digest) -> io::Result<Option<Blob>> {
    let path = folder.join("blobs/sha256").join(digest.hex());
    if path.is_file() { files::open_blob(label, &path, None).map(Some) } else { Ok(None) }
}

struct Folder(std::path::PathBuf);

impl BlobSource for Folder {
    fn blob(&self, digest: &Digest) -> io::Result<Option<Blob>> {
        blob(&self.0, &digest.to_string(), *digest)
    }
}

/// What to call a path in a finding: its last name, which holds on any machine.
fn shown(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}

fn index(folder: &Path, name: &str) -> Result<Vec<u8>> {
    let path = folder.join("index.json");
    if !path.is_file() {
        let finding = Finding::error("SRC027", format!("{}: no OCI layout: index.json is missing", folder.display()))
            .of(name)
            .help("`skopeo copy docker://REFERENCE oci:DIR` makes one; an unpacked image is named with dir:DIR");
        return Err(Error::new(Exit::Input, finding));
    }
    let size = fs::metadata(&path)?.len();
    if size > INDEX {
        let finding = Finding::error("OCI013", format!("index.json has {size} bytes, at most {INDEX} are read"));
        return Err(refused(name, std::iter::once(finding).collect()));
    }
    Ok(fs::read(path)?)
}

/// The archive as a plain tar. What is compressed is decompressed once into a file beside the store's blobs, which is
/// removed again, and which is no larger than an image may be; its members stay what they are.
fn plain(path: &Path, name: &str, context: &Context<'_>) -> Result<(Arc<dyn ReadAt>, Option<tempfile::TempPath>)> {
    let blob = files::open_blob(name, path, None)?;
    if !compressed(&blob)? {
        return Ok((Arc::new(blob), None));
    }
    let mut incoming = context.store.incoming()?;
    let want = Want { member: None, range: None, unpacked: None };
    member::take_at_most(&blob, &want, UNPACKED, &mut incoming, context.progress)
        .map_err(|fault| fault.into_error(name, name))?;
    let file = incoming.into_temporary()?;
    Ok((Arc::new(FileSource::open(&file)?), Some(file)))
}

pub(crate) fn compressed(blob: &Blob) -> io::Result<bool> {
    let mut magic = [0; 6];
    let count = blob.read_at(0, &mut magic)?;
    Ok(matches!(
        magic.get(..count).unwrap_or_default(),
        [0x1f, 0x8b, ..] | [0x28, 0xb5, 0x2f, 0xfd, ..] | [0xfd, b'7', b'z', b'X', b'Z', 0] | [b'B', b'Z', b'h', ..]
    ))
}

/// The view, if it holds and nothing in it is wrong.
fn checked(name: &str, opened: (Option<ArchiveView>, Report)) -> Result<ArchiveView> {
    match opened {
        (Some(view), report) if !report.has_errors() => Ok(view),
        (_, report) => Err(refused(name, report.into_iter().map(|finding| finding.of(name)).collect())),
    }
}

/// The image for the platform. `everything` opens the same without choosing, to say what there is.
fn choose(
    name: &str,
    view: &ArchiveView,
    tag: Option<&str>,
    platform: &Platform,
    everything: impl FnOnce() -> Option<ArchiveView>,
) -> Result<ImageView> {
    let images: Vec<_> = view.images().cloned().collect();
    if !images.is_empty() {
        return one(name, &images, &[], &view.tags, platform);
    }
    if let Some(tag) = tag.filter(|tag| !view.tags.is_empty() && !view.tags.iter().any(|known| named(known, tag))) {
        let message = format!("{name} holds no image {tag}; it has: {}", view.tags.join(", "));
        let finding = Finding::error("SRC022", message).help("put the right tag behind the path");
        return Err(Error::new(Exit::Input, finding));
    }
    let all = everything();
    let platforms = all.iter().flat_map(ArchiveView::images).map(|image| {
        image.platform.as_ref().map_or_else(|| "an image without platform".to_owned(), ToString::to_string)
    });
    let mut platforms: Vec<String> = platforms.collect();
    platforms.sort();
    platforms.dedup();
    one(name, &[], &platforms, &view.tags, platform)
}

fn named(known: &str, tag: &str) -> bool {
    known.strip_suffix(tag).is_some_and(|rest| rest.is_empty() || rest.ends_with([':', '/']))
}
