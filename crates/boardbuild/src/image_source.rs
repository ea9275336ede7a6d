//! Sources that are one file of an image: `image`, `file` and `platform` in a board file.

use imgcore::{Blob, Finding, ReadAt as _};
use ocipack::Platform;

use crate::{
    build::Context,
    error::{Error, Exit, Result},
    image::{self, Resolved, Taken},
    lock::{Container, Lock},
};

/// The platform of an image that names none.
const PLATFORM: &str = "linux/arm64";

/// A file of an image.
#[derive(Debug, Clone)]
pub(crate) struct FromImage {
    /// Its bytes, their digest known.
    pub(crate) blob: Blob,
    /// The manifest that it was found by, if the store still has it.
    pub(crate) from: Option<Container>,
}

/// Which file of which image is wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask<'a> {
    /// Role.
    pub(crate) role: &'a str,
    /// The image.
    pub(crate) reference: &'a str,
    /// Path in it.
    pub(crate) file: &'a str,
    /// Its platform, if the board file names one.
    pub(crate) platform: Option<&'a str>,
    /// Whether the registry may not be asked what a tag means.
    pub(crate) frozen: bool,
}

/// Takes one file out of an image. What `locked` says is what is read, whatever the tag names today.
///
/// # Errors
/// `SRC020` and `SRC021` for an image without the platform or the file, those of [`image::files`] and of the network.
pub(crate) fn take(context: &Context<'_>, ask: &Ask<'_>, locked: Option<&Container>) -> Result<FromImage> {
    let Ask { role, reference, file, platform, frozen } = *ask;
    let platform: Platform = platform.unwrap_or(PLATFORM).parse().map_err(|error: ocipack::Error| {
        Error::usage(format!("{role}: {error}")).or_help("write platform = \"linux/arm64\"")
    })?;
    // The lock of one input knows its image; the lock of bases is not asked.
    let resolved = match locked {
        Some(from) => Resolved::pinned(from.sha256),
        None => image::resolve(context, reference, &platform, &Lock::default(), frozen)?,
    };
    let limits = image::limits(locked.and_then(|from| from.unpacked));
    let identity = image::reference_identity(&resolved);
    let open = || image::open_reference(context, reference, &resolved, &platform, &limits);
    let taken = image::files(context, &identity, &platform, &[file], open)?;
    // The file may be here although the manifest is not: without it nobody knows the manifest's size.
    let manifest = context.store.blob("manifest", resolved.digest)?;
    let from = match locked {
        Some(from) => Some(from.clone()),
        None => {
            manifest.map(|blob| Container { url: None, sha256: resolved.digest, size: blob.size(), unpacked: None })
        }
    };
    match taken.into_iter().next() {
        Some(Taken::File(blob)) => Ok(FromImage { blob: blob.with_label(role), from }),
        other => {
            let what = match other {
                Some(Taken::Other(what)) => format!("is a {what}, expected a file"),
                Some(Taken::Missing(Some(near))) => format!("is not there; the nearest name is {near}"),
                _ => "is not there".to_owned(),
            };
            let finding = Finding::error("SRC021", format!("{role}: {file} {what}"))
                .of(reference)
                .help(format!("correct `file` in the board file, or give --source {role}=FILE"));
            Err(Error::new(Exit::Input, finding))
        }
    }
}
