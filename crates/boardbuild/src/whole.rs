//! What pushing and pulling whole images share: the store as a place for blobs, what it remembers of registries, what an
//! error means for a command.

use std::{io, path::PathBuf};

use fs_err as fs;
use imgcore::{Blob, Digest, Finding, Progress, Report};
use ocipack::{
    BlobSource, Descriptor, ErrorKind,
    registry::{BlobStore, Incoming, Journal, Reference, Repository, Session},
};
use serde::{Deserialize, Serialize};
use transfer::{Have, RateLimit, Sink};

use crate::{
    error::{Error, Exit, Result},
    files, net,
    partial::Partial,
    store::{self, Store},
};

/// Version of what is remembered of where blobs are.
const SEEN: &str = "oci-seen-1";
/// As many repositories as are remembered for one blob.
const SEEN_LIMIT: usize = 8;
/// With fewer requests left the next build may not end.
const FEW: u64 = 20;

/// The blobs of the store.
#[derive(Debug, Clone)]
pub(crate) struct StoreBlobs {
    store: Store,
    check: bool,
}

impl StoreBlobs {
    /// Reads each blob before it gives it, so that a damaged one counts as absent.
    pub(crate) fn checked(store: &Store) -> Self {
        Self { store: store.clone(), check: true }
    }

    /// For whoever checks what comes.
    pub(crate) fn unchecked(store: &Store) -> Self {
        Self { store: store.clone(), check: false }
    }
}

impl BlobSource for StoreBlobs {
    fn blob(&self, digest: &Digest) -> io::Result<Option<Blob>> {
        if self.check {
            return self.store.blob(&digest.to_string(), *digest).map_err(|error| as_io(&error));
        }
        let path = self.store.blob_path(*digest);
        match files::open_blob(&digest.to_string(), &path, None) {
            Ok(blob) => Ok(Some(blob)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl BlobStore for StoreBlobs {
    fn receive(&self, descriptor: &Descriptor, progress: &dyn Progress) -> io::Result<Option<Box<dyn Incoming>>> {
        let partial = self.store.receive(descriptor.digest, progress).map_err(|error| as_io(&error))?;
        Ok(partial.map(|partial| Box::new(Arriving(partial)) as Box<dyn Incoming>))
    }
}

struct Arriving(Partial);

impl io::Write for Arriving {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl Sink for Arriving {
    fn restart(&mut self) -> io::Result<()> {
        self.0.restart()
    }
}

impl Incoming for Arriving {
    fn have(&self) -> Have {
        Have { offset: self.0.size(), hasher: self.0.hasher().clone(), validator: None }
    }

    fn commit(self: Box<Self>) -> io::Result<()> {
        self.0.commit().map(drop)
    }
}

/// Where a blob was seen at a registry.
#[derive(Serialize, Deserialize, Default)]
struct Seen {
    /// Repositories, the latest first.
    repositories: Vec<String>,
}

/// What the store remembers of uploads and of where blobs are.
///
/// Sessions lie in `v1/uploads/`, readable by the user alone: who knows the address of one may write to it.
pub(crate) struct StoreJournal<'a>(pub(crate) &'a Store);

impl StoreJournal<'_> {
    fn session_path(&self, repository: &Repository, digest: &Digest) -> PathBuf {
        self.0.upload_path(Digest::of(format!("{repository}\n{digest}").as_bytes()))
    }

    fn seen_key(repository: &Repository, digest: &Digest) -> Digest {
        Digest::of(format!("{}\n{digest}", repository.registry()).as_bytes())
    }
}

impl Journal for StoreJournal<'_> {
    fn hold(&self, repository: &Repository, digest: &Digest, progress: &dyn Progress) -> io::Result<Box<dyn Send>> {
        // The lock has the name of the session's file, so that clearing the store sees that it is held.
        let path = self.session_path(repository, digest);
        let name = format!("uploads {}", path.file_stem().unwrap_or_default().to_string_lossy());
        let lock = self.0.lock_patiently(&name, progress).map_err(|error| as_io(&error))?;
        Ok(Box::new(lock))
    }

    fn session(&self, repository: &Repository, digest: &Digest) -> Option<Session> {
        let bytes = fs::read(self.session_path(repository, digest)).ok()?;
        let session: Session = serde_json::from_slice(&bytes).ok()?;
        (session.digest == *digest).then_some(session)
    }

    fn keep(&self, repository: &Repository, digest: &Digest, session: Option<&Session>) {
        let path = self.session_path(repository, digest);
        // Without it the next run begins anew: nothing else is lost.
        let _ = match session {
            // Published files keep the mode of temporary ones: 0600.
            Some(session) => store::publish(&path, &store::canonical_json(session)),
            None => match fs::remove_file(&path) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                other => other,
            },
        };
    }

    fn elsewhere(&self, repository: &Repository, digest: &Digest) -> Option<Repository> {
        let seen: Seen = self.0.action(SEEN, Self::seen_key(repository, digest))?;
        let other = seen.repositories.into_iter().find(|name| name != repository.name())?;
        format!("{}/{other}", repository.registry()).parse().ok()
    }

    fn seen(&self, repository: &Repository, digest: &Digest) {
        let key = Self::seen_key(repository, digest);
        let mut seen: Seen = self.0.action(SEEN, key).unwrap_or_default();
        if seen.repositories.first().is_some_and(|first| first == repository.name()) {
            return;
        }
        seen.repositories.retain(|name| name != repository.name());
        seen.repositories.insert(0, repository.name().to_owned());
        seen.repositories.truncate(SEEN_LIMIT);
        let _ = self.0.record(SEEN, key, &seen);
    }
}

/// An error of this crate on its way through an interface that knows only I/O.
fn as_io(error: &Error) -> io::Error {
    if error.exit() == Exit::Cancelled {
        return io::Error::other("cancelled");
    }
    let text: Vec<_> = error.report().iter().map(|finding| finding.message.clone()).collect();
    io::Error::other(text.join("; "))
}

/// Reads a reference of the command line.
///
/// # Errors
/// [`Exit::Usage`].
pub(crate) fn reference(text: &str) -> Result<Reference> {
    text.parse().map_err(|error: ocipack::Error| {
        Error::usage(format!("no reference: {error}")).or_help("write HOST/REPOSITORY:TAG, without a scheme in front")
    })
}

/// What an error of the library means for a command about `what`.
pub(crate) fn failed(error: &ocipack::Error, what: &str) -> Error {
    if let Some(io) = error.io() {
        return Error::io(what, io);
    }
    let (exit, code) = match error.kind() {
        ErrorKind::Transfer { source, doing, target } => return net::failed(source, &format!("{doing} {target}")),
        ErrorKind::TagTaken { .. } => (Exit::Refused, "REG001"),
        ErrorKind::TagMoved { .. } => (Exit::Refused, "REG002"),
        ErrorKind::OtherImage { .. } => (Exit::Input, "REG006"),
        ErrorKind::NoPlatform { .. } => (Exit::Input, "REG007"),
        ErrorKind::Reference { .. } | ErrorKind::Name { .. } | ErrorKind::Platform { .. } => (Exit::Usage, "USE001"),
        _ => (Exit::Input, "REG003"),
    };
    let cure = crate::rules::find(code).map_or("", |rule| rule.cure);
    Error::new(exit, Finding::error(code, error.to_string()).of(what).help(cure))
}

/// What a registry says about how often one may still ask, and what to do when that is not often.
pub(crate) fn rate(limit: Option<RateLimit>, host: &str, report: &mut Report) -> Option<String> {
    let limit = limit?;
    let text = format!("{host}: {limit}");
    let few = limit.remaining <= limit.limit.map_or(FEW, |all| FEW.min(all / 5));
    if few {
        let login = format!(
            "log in for a larger share (`docker login {host}`), or name a mirror: --mirror {host}=MIRROR; what is in the \
             store is not asked for again"
        );
        report.push(Finding::warning("REG005", text.clone()).help(login));
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn journal() -> (tempfile::TempDir, Store) {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path()).unwrap();
        (home, store)
    }

    #[test]
    fn sessions_are_private_and_forgotten_when_done() {
        let (_home, store) = journal();
        let journal = StoreJournal(&store);
        let (repository, digest): (Repository, _) = ("127.0.0.1:5000/a".parse().unwrap(), Digest::of(b"blob"));
        assert!(journal.session(&repository, &digest).is_none());
        let session = Session {
            location: "http://127.0.0.1:5000/v2/a/blobs/uploads/1?_state=secret".to_owned(),
            digest,
            size: 4,
            committed: 2,
        };
        journal.keep(&repository, &digest, Some(&session));
        assert_eq!(journal.session(&repository, &digest), Some(session));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::metadata(journal.session_path(&repository, &digest)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        journal.keep(&repository, &digest, None);
        journal.keep(&repository, &digest, None);
        assert!(journal.session(&repository, &digest).is_none());
    }

    #[test]
    fn a_blob_is_mounted_from_another_repository_of_the_same_registry() {
        let (_home, store) = journal();
        let journal = StoreJournal(&store);
        let repository = |text: &str| text.parse::<Repository>().unwrap();
        let digest = Digest::of(b"blob");
        journal.seen(&repository("ghcr.io/o/a"), &digest);
        assert_eq!(journal.elsewhere(&repository("ghcr.io/o/a"), &digest), None);
        assert_eq!(journal.elsewhere(&repository("quay.io/o/b"), &digest), None);
        assert_eq!(journal.elsewhere(&repository("ghcr.io/o/b"), &digest), Some(repository("ghcr.io/o/a")));
        for name in 'b'..'z' {
            journal.seen(&repository(&format!("ghcr.io/o/{name}")), &digest);
        }
        assert_eq!(journal.elsewhere(&repository("ghcr.io/o/z"), &digest), Some(repository("ghcr.io/o/y")));
    }

    #[test]
    fn few_requests_left_are_a_warning_that_says_what_to_do() {
        let limit = |remaining| RateLimit { limit: Some(100), remaining, window: None, reset: None };
        let mut report = Report::new();
        assert!(rate(Some(limit(76)), "docker.io", &mut report).is_some_and(|text| text.contains("76 of 100")));
        assert!(report.is_empty() && rate(None, "docker.io", &mut report).is_none());
        rate(Some(limit(3)), "docker.io", &mut report);
        let finding = report.iter().next().unwrap();
        assert!(
            finding.code == "REG005" && finding.help.as_ref().is_some_and(|help| help.contains("--mirror docker.io="))
        );
    }

    #[test]
    fn what_a_push_or_pull_ends_with_has_its_code() {
        let (ours, there) = (Digest::of(b"ours"), Digest::of(b"there"));
        let reference = || "127.0.0.1:5000/a:v1".to_owned();
        for (kind, code, exit) in [
            (ErrorKind::TagTaken { reference: reference(), ours, there }, "REG001", Exit::Refused),
            (ErrorKind::TagMoved { reference: reference(), ours, there: Some(there) }, "REG002", Exit::Refused),
            (ErrorKind::TagMoved { reference: reference(), ours, there: None }, "REG002", Exit::Refused),
            (ErrorKind::Incomplete { digest: ours }, "REG003", Exit::Input),
            (ErrorKind::OtherImage { reference: reference(), expected: there, found: ours }, "REG006", Exit::Input),
            (ErrorKind::NoPlatform { wanted: "linux/arm".to_owned(), there: Vec::new() }, "REG007", Exit::Input),
            (ErrorKind::Platform { text: "arm".to_owned() }, "USE001", Exit::Usage),
        ] {
            let error = failed(&kind.into(), "overlay.tar");
            let finding = error.report().iter().next().unwrap();
            assert_eq!((finding.code, error.exit()), (code, exit), "{finding}");
            assert!(finding.help.as_ref().is_some_and(|help| !help.is_empty()), "{finding}");
        }
    }
}
