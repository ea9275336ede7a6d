//! A whole image from a registry: into the store, and into an archive.

use std::{
    fmt::Write as _,
    io::{self, Write},
    path::{Path, PathBuf},
};

use imgcore::{ByteSize, Digest, Epoch, Finding, Progress, Report};
use ocipack::{
    Platform, archive,
    registry::{self, Client, Journal as _, Pulled, Reference},
};
use serde_json::json;

use crate::{
    build::Context,
    error::{Error, Result},
    files::{self, Outputs},
    push::Transferred,
    whole::{self, StoreBlobs, StoreJournal},
};

/// What to pull.
#[derive(Debug, Clone, Default)]
pub struct PullRequest {
    /// The reference.
    pub reference: String,
    /// Platforms, as `linux/arm64`; all if empty.
    pub platforms: Vec<String>,
    /// The archive that is written; the name is made of the reference if there is none.
    pub out: Option<PathBuf>,
    /// Whether the store is enough, and no archive is written.
    pub store_only: bool,
    /// Whether this is a job of continuous integration, whose address many share.
    pub ci: bool,
}

/// An archive that was written.
struct Written {
    path: PathBuf,
    sha256: Digest,
    size: u64,
}

/// Pulls an image into the store, and writes an archive of it with every byte as it came.
///
/// # Errors
/// [`Exit::Usage`](crate::Exit::Usage) for a reference or platform that is none;
/// [`Exit::Input`](crate::Exit::Input) when the image or the platform is not there;
/// [`Exit::Io`](crate::Exit::Io) for network and access.
pub fn pull(request: &PullRequest, context: &Context<'_>) -> Result<Transferred> {
    let reference = whole::reference(&request.reference)?;
    let mut platforms: Vec<Platform> = Vec::new();
    for text in &request.platforms {
        platforms.push(text.parse().map_err(|error| whole::failed(&error, "--platform"))?);
    }
    let mut report = Report::new();
    let store = StoreBlobs::checked(context.store);
    let failed = |error: ocipack::Error| whole::failed(&error, &request.reference);
    let (pulled, limit) = if let Some(pulled) = registry::kept(&reference, &platforms, &store) {
        (pulled, None)
    } else {
        let client = context.network.client()?;
        report.extend(shared_address(request.ci, &reference, client).map_err(failed)?);
        let pulled = registry::pull(client, &reference, &platforms, &store, context.progress).map_err(failed)?;
        let journal = StoreJournal(context.store);
        for blob in &pulled.contents.blobs {
            journal.seen(reference.repository(), &blob.digest);
        }
        (pulled, client.rate_limit())
    };
    let notes: Vec<_> = whole::rate(limit, reference.registry(), &mut report).into_iter().collect();
    let written = if request.store_only { None } else { Some(write(request, &reference, &pulled, context)?) };

    let found: Vec<_> =
        pulled.contents.images.iter().filter_map(|image| image.platform.as_ref()).map(ToString::to_string).collect();
    let mut text = format!("{}\n", pulled.reference);
    if !found.is_empty() {
        let _ = writeln!(text, "for {}", found.join(", "));
    }
    let Pulled { downloaded, skipped, bytes, .. } = pulled;
    let _ = writeln!(text, "{downloaded} blobs downloaded ({}), {skipped} already in the store", ByteSize(bytes));
    if let Some(Written { path, sha256, size }) = &written {
        let _ = writeln!(text, "{}  {:>9}  {}", sha256.hex(), ByteSize(*size).to_string(), path.display());
    }
    let file = written.as_ref().map(
        |Written { path, sha256, size }| json!({ "path": path.to_string_lossy(), "sha256": sha256, "size": size }),
    );
    let result = json!({
        "reference": pulled.reference.to_string(),
        "digest": pulled.contents.root.digest,
        "mediaType": pulled.contents.root.media_type,
        "platforms": found,
        "blobs": { "downloaded": downloaded, "skipped": skipped },
        "bytes": bytes,
        "file": file,
        "rateLimit": notes.first(),
    });
    Ok(Transferred { report, result, text, notes })
}

/// Docker Hub counts pulls without an account by address, and all jobs of a provider share a few.
fn shared_address(ci: bool, reference: &Reference, client: &Client) -> std::result::Result<Report, ocipack::Error> {
    let hub = |name: &str| name == "docker.io" || name.starts_with("docker.io/");
    let mirrored = client.options().mirrors.iter().any(|(from, _)| hub(from));
    if !ci || mirrored || !hub(reference.registry()) || !client.is_anonymous(reference.repository())? {
        return Ok(Report::new());
    }
    let text = "docker.io: pulling without an account: all jobs behind one address share its limit";
    let help =
        "log in before (`docker login`), name a mirror with --mirror docker.io=MIRROR, or keep the store between jobs";
    Ok(std::iter::once(Finding::warning("REG004", text).help(help)).collect())
}

/// `NAME-TAG.tar` in the current folder; by digest `NAME-` and its first twelve digits.
fn default_name(reference: &Reference, digest: Digest) -> PathBuf {
    let name = reference.name().rsplit('/').next().unwrap_or_default();
    let end = match (reference.tag(), reference.digest()) {
        (Some(tag), _) => tag.to_owned(),
        _ => digest.hex().chars().take(12).collect(),
    };
    format!("{name}-{end}.tar").into()
}

fn write(request: &PullRequest, reference: &Reference, pulled: &Pulled, context: &Context<'_>) -> Result<Written> {
    let names = archive::Names {
        repository: Some(reference.repository().to_string()),
        tag: reference.tag().map(str::to_owned),
        docker_platform: Platform::new("linux", crate::ARCH),
    };
    let failed = |error: ocipack::Error| whole::failed(&error, &request.reference);
    let source = StoreBlobs::unchecked(context.store);
    let plan = archive::from_documents(&pulled.contents, &source, &names, Epoch(0)).map_err(failed)?;

    let path = request.out.clone().unwrap_or_else(|| default_name(reference, pulled.contents.root.digest));
    let name = path.file_name().ok_or_else(|| Error::usage(format!("no file name: {}", path.display())))?;
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let absolute = std::path::absolute(folder).map_err(|error| Error::io(folder, &error))?;
    let _lock = context.store.lock_patiently(&absolute.to_string_lossy(), context.progress)?;
    let mut outputs = Outputs::open(&absolute)?;
    let file = outputs.temporary()?;
    let task = format!("writing {}", path.display());
    context.progress.start(&task, Some(plan.size()));
    let buffered = io::BufWriter::with_capacity(1 << 18, file);
    let mut counting = Counting { inner: buffered, progress: context.progress, task: &task };
    let outcome = plan.write_to(&mut counting);
    context.progress.finish(&task);
    let written = outcome.map_err(failed)?;
    let file = counting.inner.into_inner().map_err(|error| files::named(&path, error.error()))?;
    outputs.finish(file, &name.to_string_lossy())?;
    outputs.publish()?;
    Ok(Written { path, sha256: written.digest, size: written.size })
}

/// Tells how far a file is, and stops when the user does.
struct Counting<'a, W> {
    inner: W,
    progress: &'a dyn Progress,
    task: &'a str,
}

impl<W: Write> Write for Counting<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.progress.cancelled() {
            return Err(io::Error::other("cancelled"));
        }
        let count = self.inner.write(bytes)?;
        self.progress.advance(self.task, count as u64);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use ocipack::registry::{NoCredentials, Options};
    use transfer::{Net, RealPace, Request, Response, Transport};

    use super::*;

    /// No network.
    struct Nowhere;
    impl Transport for Nowhere {
        fn send(&self, _: Request) -> std::result::Result<Response, transfer::Error> {
            Err(transfer::ErrorKind::Cancelled.into())
        }
    }

    #[test]
    fn a_job_that_shares_its_address_is_warned() {
        let client = |mirrors: &[(String, String)]| {
            let options = Options { mirrors: mirrors.to_vec(), ..Options::default() };
            Client::new(Net::new(Arc::new(Nowhere), Arc::new(RealPace::quiet())), Arc::new(NoCredentials), options)
        };
        let mirror = [("docker.io".to_owned(), "mirror.example".to_owned())];
        for (ci, text, mirrors, expected) in [
            (true, "alpine", &[][..], true),
            (false, "alpine", &[], false),
            (true, "ghcr.io/o/n:v1", &[], false),
            (true, "alpine", &mirror, false),
        ] {
            let report = shared_address(ci, &text.parse().unwrap(), &client(mirrors)).unwrap();
            assert_eq!(report.iter().any(|finding| finding.code == "REG004"), expected, "{text}");
        }
    }

    #[test]
    fn an_archive_is_called_after_its_reference() {
        let digest = Digest::of(b"index");
        for (text, expected) in [
            ("ghcr.io/o/imager:v1.10.6", "imager-v1.10.6.tar".to_owned()),
            ("alpine", "alpine-latest.tar".to_owned()),
            (&format!("ghcr.io/o/n@{digest}"), format!("n-{}.tar", &digest.hex()[..12])),
        ] {
            assert_eq!(default_name(&text.parse().unwrap(), digest), PathBuf::from(expected), "{text}");
        }
    }
}
