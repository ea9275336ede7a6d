//! Pull and push, one request after the other.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use imgcore::{Blob, Digest, Progress, ReadAt as _};
use transfer::{
    Access, Body, Budget, ErrorKind as Problem, Get, Got, Have, HeaderValue, Method, Net, RateLimit, Request, Response,
    Sink, Url, check, header, host, host_is_listed, shown,
};

use super::{
    Credentials, Reference, Repository,
    auth::Auth,
    challenge::Scopes,
    place::{Options, Place},
    send::{CONTENT_DIGEST, Sender},
    upload::{Session, Upload, Uploaded},
};
use crate::{
    Descriptor, Document, Error, ErrorKind,
    media::{self, Meaning},
};

/// A manifest above this is unusual: no registry has to take it (distribution specification, "Pushing Manifests").
pub const USUAL_MANIFEST: u64 = 4 * 1024 * 1024;
/// The largest manifest that is read.
pub const LARGEST_MANIFEST: u64 = 100 * 1024 * 1024;

/// All that an image can be, the richest first.
const ACCEPT: HeaderValue = HeaderValue::from_static(
    "application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, \
     application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json",
);
const PULL: &[&str] = &["pull"];
const PUSH: &[&str] = &["pull", "push"];

type Outcome<T> = Result<T, transfer::Error>;

/// Speaks to registries. One serves many threads; tokens are shared.
///
/// ```
/// use std::{io, sync::{Arc, Mutex}};
/// use imgcore::Digest;
/// use ocipack::registry::{Client, NoCredentials, Options, Reference};
/// use transfer::*;
///
/// /// A registry of one manifest.
/// struct Registry;
/// impl Transport for Registry {
///     fn send(&self, request: Request) -> Result<Response, Error> {
///         assert!(request.url.as_str().starts_with("https://h.io/v2/a/b/manifests/"));
///         let mut headers = HeaderMap::new();
///         headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(ocipack::media::INDEX));
///         let bytes = br#"{"schemaVersion":2,"manifests":[]}"#;
///         headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes.len()));
///         headers.insert("docker-content-digest", Digest::of(bytes).to_string().parse().expect("text"));
///         let body: &[u8] = if request.method == Method::HEAD { b"" } else { bytes };
///         Ok(Response::new(StatusCode::OK, headers, body))
///     }
/// }
///
/// let net = Net::new(Arc::new(Registry), Arc::new(RealPace::quiet()));
/// let client = Client::new(net, Arc::new(NoCredentials), Options::default());
/// let reference: Reference = "h.io/a/b:v1".parse()?;
/// let document = client.manifest(&reference)?;
/// assert_eq!(client.head(&reference)?.digest, document.digest);
/// # Ok::<(), ocipack::Error>(())
/// ```
pub struct Client {
    net: Net,
    auth: Auth,
    options: Options,
    rate: Mutex<Option<RateLimit>>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("net", &self.net).field("options", &self.options).finish_non_exhaustive()
    }
}

/// What the head of an answer says of a manifest, as far as it does.
struct Said {
    media_type: String,
    digest: Option<Digest>,
    size: Option<u64>,
}

impl Client {
    /// A client.
    pub fn new(net: Net, credentials: Arc<dyn Credentials>, options: Options) -> Self {
        let auth = Auth::new(net.clone(), credentials, options.plain_http.clone());
        Self { net, auth, options, rate: Mutex::default() }
    }

    /// What registries were said to be reached by.
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// What a registry last said of its rate limit.
    pub fn rate_limit(&self) -> Option<RateLimit> {
        *self.rate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether nothing is known that would prove who we are to the registry of a repository.
    ///
    /// # Errors
    /// [`ErrorKind::Transfer`] when a mirror is no place.
    pub fn is_anonymous(&self, repository: &Repository) -> Result<bool, Error> {
        let place = self.options.place(repository);
        let place = place.map_err(|error| self.fail("asking for", &repository.to_string(), repository, error))?;
        Ok(!self.auth.has_credential(&place))
    }

    /// Media type, digest and size of what a reference names, without its bytes where the registry allows it.
    ///
    /// # Errors
    /// [`ErrorKind::Transfer`].
    pub fn head(&self, reference: &Reference) -> Result<Descriptor, Error> {
        self.read("asking for", reference.repository(), &reference.to_string(), |place| {
            let access = self.access(place, PULL);
            match self.said(place, reference, &*access)? {
                Some(Said { media_type, digest: Some(digest), size: Some(size) }) => {
                    Ok(Descriptor::new(&media_type, digest, size))
                }
                _ => Ok(self.document(place, &reference.target(), reference.digest(), &*access)?.descriptor()),
            }
        })
    }

    /// The manifest or index that a reference names: the bytes as received, their digest checked.
    ///
    /// A tag is asked for by HEAD first, which costs nothing of a rate limit, and then read by that digest.
    ///
    /// # Errors
    /// [`ErrorKind::Transfer`], also for a manifest above [`LARGEST_MANIFEST`].
    pub fn manifest(&self, reference: &Reference) -> Result<Document, Error> {
        self.read("reading", reference.repository(), &reference.to_string(), |place| {
            let access = self.access(place, PULL);
            if reference.digest().is_none()
                && let Some(Said { digest: Some(digest), .. }) = self.said(place, reference, &*access)?
            {
                match self.document(place, &digest.to_string(), Some(digest), &*access) {
                    // A registry that names another form of the manifest, or whose tag has moved meanwhile.
                    Err(error) if matches!(error.kind(), Problem::NotFound { .. }) => {}
                    outcome => return outcome,
                }
            }
            self.document(place, &reference.target(), reference.digest(), &*access)
        })
    }

    /// A document that an index names: no byte more is read than its descriptor says.
    pub(super) fn child(&self, repository: &Repository, child: &Descriptor) -> Result<Document, Error> {
        self.read("reading", repository, &format!("{repository}@{}", child.digest), |place| {
            let (access, digest) = (self.access(place, PULL), child.digest);
            let limit = child.size.min(LARGEST_MANIFEST);
            let document = self.document_within(place, &digest.to_string(), Some(digest), &*access, limit)?;
            let found = document.bytes.len() as u64;
            if found == child.size {
                return Ok(document);
            }
            let url = shown(&place.url(&format!("manifests/{digest}"))?);
            Err(Problem::Size { url, expected: child.size, found }.into())
        })
    }

    /// Reads a blob into `sink`: resumed where it was cut, size and digest checked before this says `Ok`.
    ///
    /// # Errors
    /// [`ErrorKind::Transfer`].
    pub fn blob(
        &self,
        repository: &Repository,
        blob: &Descriptor,
        have: Have,
        sink: &mut dyn Sink,
        progress: &dyn Progress,
    ) -> Result<Got, Error> {
        let target = format!("{repository}@{}", blob.digest);
        let fail = |error| self.fail("reading", &target, repository, error);
        let places = self.options.places(repository).map_err(fail)?;
        let path = format!("blobs/{}", blob.digest);
        let url = places.iter().map(|place| place.url(&path)).collect::<Outcome<Vec<_>>>().map_err(fail)?;
        let scoped = places.into_iter().map(|place| (place.clone(), Scopes::repository(&place.name, PULL)));
        let access = self.auth.access(scoped.collect());
        let get = Get { url, size: Some(blob.size), digest: Some(blob.digest), limit: blob.size };
        let task = format!("pulling {}", blob.digest.hex().get(..12).unwrap_or_default());
        self.net.get(&get, &access, have, sink, progress, &task).map_err(fail)
    }

    /// Whether a registry has a blob in a repository. Mirrors are not asked: this is for a push.
    ///
    /// # Errors
    /// [`ErrorKind::Transfer`].
    pub fn has_blob(&self, repository: &Repository, digest: &Digest) -> Result<bool, Error> {
        self.write("asking for", repository, &format!("{repository}@{digest}"), |place| {
            let request = Request::new(Method::HEAD, place.url(&format!("blobs/{digest}"))?);
            let url = request.url.clone();
            let answer = self.net.exchange(request, &*self.access(place, PUSH))?;
            self.note(&answer);
            // A registry leads away only to what it has; where it leads to may take no HEAD.
            let away = answer.trail.url.as_ref().is_some_and(|at| !transfer::same_origin(at, &url));
            match answer.status.as_u16() {
                404 | 410 => Ok(false),
                // No such way to ask: sending is never wrong.
                405 | 501 if !away => Ok(false),
                400..=499 if away && answer.status.as_u16() != 429 => Ok(true),
                _ => check(answer, &url).map(|_| true),
            }
        })
    }

    /// Sends a blob, or has it taken over from `from`, a repository of the same registry (another one is ignored).
    /// Whether it is there already is [`has_blob`](Self::has_blob)'s to say.
    ///
    /// `on_session` hears of the session as it moves, so that a later run can [go on](Session) after this one was killed;
    /// `None` when there is nothing to go on with any more. A session that fails for good is cancelled at the registry.
    ///
    /// # Errors
    /// [`ErrorKind::Transfer`], [`ErrorKind::Read`] when the blob cannot be read.
    pub fn upload(
        &self,
        repository: &Repository,
        blob: &Blob,
        from: Option<&Repository>,
        resume: Option<&Session>,
        on_session: &mut dyn FnMut(Option<&Session>),
        progress: &dyn Progress,
    ) -> Result<Uploaded, Error> {
        let digest = blob.compute_digest().map_err(|source| ErrorKind::Read {
            path: repository.to_string(),
            label: blob.label().to_owned(),
            source,
        })?;
        let from = from.filter(|from| from.registry() == repository.registry() && from.name() != repository.name());
        self.write("sending", repository, &format!("{repository}@{digest}"), |place| {
            let mount = from.map(|from| from.name().to_owned());
            let mut upload = Upload::new(place.base.clone(), digest, blob.size(), mount);
            if let Some(piece) = self.options.piece {
                upload = upload.with_piece(piece);
            }
            if let Some(session) = resume {
                upload = upload.resume(session);
            }
            let access = |mounts: bool| -> Box<dyn Access + '_> {
                let own = Scopes::repository(&place.name, PUSH);
                let other = from.filter(|_| mounts).map(|from| Scopes::repository(from.name(), PULL));
                let scopes = other.map_or_else(|| own.clone(), |other| own.join(&other));
                Box::new(self.auth.access(vec![(place.clone(), scopes)]))
            };
            let may_send = |url: &Url| self.may_send(url);
            let (net, base) = (&self.net, &place.base);
            Sender { net, base, blob, progress, may_send: &may_send, access: &access }.run(
                digest,
                &mut upload,
                on_session,
            )
        })
    }

    /// Puts a manifest or an index under the reference's tag, or under its digest if it has no tag. Everything that it
    /// names must be there before.
    ///
    /// # Errors
    /// [`ErrorKind::Transfer`], also when the registry says that it has stored other bytes.
    pub fn put_manifest(&self, reference: &Reference, document: &Document) -> Result<Digest, Error> {
        self.write("writing", reference.repository(), &reference.to_string(), |place| {
            let target = reference.tag().map_or_else(|| document.digest.to_string(), ToOwned::to_owned);
            let url = place.url(&format!("manifests/{target}"))?;
            if let Some(expected) = reference.digest().filter(|digest| *digest != document.digest) {
                return Err(Problem::Digest { url: shown(&url), expected, found: document.digest }.into());
            }
            let kind = HeaderValue::from_str(&document.media_type).map_err(|_| {
                let problem = "a manifest whose media type no header can hold".to_owned();
                transfer::Error::from(Problem::Setup { what: shown(&url), problem })
            })?;
            let request = Request::new(Method::PUT, url.clone())
                .header(header::CONTENT_TYPE, kind)
                .body(Body::Bytes(document.bytes.clone()));
            let answer = check(self.net.exchange(request, &*self.access(place, PUSH))?, &url)?;
            match content_digest(&answer) {
                Some(found) if found != document.digest => {
                    Err(Problem::Digest { url: shown(&url), expected: document.digest, found }.into())
                }
                _ => Ok(document.digest),
            }
        })
    }

    /// What a tag points at, `None` if there is no such tag or repository. Mirrors are not asked: this is for a push.
    ///
    /// # Errors
    /// [`ErrorKind::Transfer`].
    pub fn tag_digest(&self, reference: &Reference) -> Result<Option<Digest>, Error> {
        self.write("asking for", reference.repository(), &reference.to_string(), |place| {
            let access = self.access(place, PUSH);
            if let Some(Said { digest: Some(digest), .. }) = self.said(place, reference, &*access)? {
                return Ok(Some(digest));
            }
            match self.document(place, &reference.target(), None, &*access) {
                Ok(document) => Ok(Some(document.digest)),
                Err(error) if matches!(error.kind(), Problem::NotFound { .. }) => Ok(None),
                Err(error) => Err(error),
            }
        })
    }

    /// HEAD of a manifest. `None`: the registry does not say it this way, and GET decides.
    fn said(&self, place: &Place, reference: &Reference, access: &dyn Access) -> Outcome<Option<Said>> {
        let url = place.url(&format!("manifests/{}", reference.target()))?;
        let request = Request::new(Method::HEAD, url.clone()).header(header::ACCEPT, ACCEPT);
        let answer = self.net.exchange(request, access)?;
        self.note(&answer);
        match answer.status.as_u16() {
            200 => {}
            // GET has a body, and so says more.
            401 | 403 | 429 | 500 | 502..=504 | 506.. => return check(answer, &url).map(|_| None),
            _ => return Ok(None),
        }
        let said = Said {
            media_type: essence(&answer),
            digest: content_digest(&answer),
            size: answer.text(&header::CONTENT_LENGTH).and_then(|text| text.trim().parse().ok()),
        };
        if let (Some(expected), Some(found)) = (reference.digest(), said.digest)
            && expected != found
        {
            return Err(Problem::Digest { url: shown(&url), expected, found }.into());
        }
        Ok(media::meaning(&said.media_type).is_some().then_some(said))
    }

    fn document(
        &self,
        place: &Place,
        target: &str,
        expected: Option<Digest>,
        access: &dyn Access,
    ) -> Outcome<Document> {
        self.document_within(place, target, expected, access, LARGEST_MANIFEST)
    }

    fn document_within(
        &self,
        place: &Place,
        target: &str,
        expected: Option<Digest>,
        access: &dyn Access,
        limit: u64,
    ) -> Outcome<Document> {
        let url = place.url(&format!("manifests/{target}"))?;
        let request = Request::new(Method::GET, url.clone())
            .header(header::ACCEPT, ACCEPT)
            .header(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let mut budget = Budget::new(&self.net.policy);
        loop {
            let outcome = self.net.exchange_within(&request, access, &mut budget).and_then(|answer| {
                self.note(&answer);
                receive(check(answer, &url)?, &url, expected, limit)
            });
            match outcome {
                // A body that broke; what `exchange_within` gave up is spent in the budget.
                Err(error)
                    if error.is_transient()
                        && budget.again(&*self.net.pace, Duration::ZERO, None, &error.to_string())? => {}
                outcome => return outcome,
            }
        }
    }

    fn note(&self, answer: &Response) {
        if let Some(rate) = RateLimit::of(&answer.headers) {
            *self.rate.lock().unwrap_or_else(PoisonError::into_inner) = Some(rate);
        }
    }

    fn access(&self, place: &Place, actions: &[&str]) -> Box<dyn Access + '_> {
        Box::new(self.auth.access(vec![(place.clone(), Scopes::repository(&place.name, actions))]))
    }

    /// No address without TLS but at a host that was named for it, wherever a registry leads.
    fn may_send(&self, url: &Url) -> Outcome<()> {
        if url.scheme() == "https" || host_is_listed(url, &self.options.plain_http) {
            return Ok(());
        }
        Err(Problem::Insecure { host: host(url) }.into())
    }

    /// Asks the mirrors, then the registry itself, until one gives what is wanted.
    fn read<T>(
        &self,
        doing: &'static str,
        repository: &Repository,
        target: &str,
        work: impl Fn(&Place) -> Outcome<T>,
    ) -> Result<T, Error> {
        let fail = |error| self.fail(doing, target, repository, error);
        let mut first = None;
        for place in self.options.places(repository).map_err(fail)? {
            match work(&place) {
                Ok(value) => return Ok(value),
                Err(error) if error.is_cancelled() => return Err(fail(error)),
                // Without a way to the registry itself, what its mirror says is the better reason.
                Err(error) => match &first {
                    Some(_) if error.is_transient() || matches!(error.kind(), Problem::GivenUp { .. }) => {}
                    _ => first = Some(error),
                },
            }
        }
        let nowhere = || Problem::Protocol { host: repository.registry().to_owned(), problem: "no place".to_owned() };
        Err(fail(first.unwrap_or_else(|| nowhere().into())))
    }

    fn write<T>(
        &self,
        doing: &'static str,
        repository: &Repository,
        target: &str,
        work: impl FnOnce(&Place) -> Outcome<T>,
    ) -> Result<T, Error> {
        let outcome = self.options.place(repository).and_then(|place| work(&place));
        outcome.map_err(|error| self.fail(doing, target, repository, error))
    }

    fn fail(&self, doing: &'static str, target: &str, repository: &Repository, source: transfer::Error) -> Error {
        let source = match source.into_kind() {
            // A token for nobody in particular is a header as well, but not a credential.
            Problem::Refused { host, status, message, with_credentials: true } => {
                let place = self.options.places(repository).unwrap_or_default();
                let with_credentials = place.iter().any(|place| self.auth.has_credential(place));
                Problem::Refused { host, status, message, with_credentials }.into()
            }
            other => other.into(),
        };
        ErrorKind::Transfer { doing, target: target.to_owned(), source }.into()
    }
}

/// Reads a manifest and proves it.
fn receive(answer: Response, url: &Url, expected: Option<Digest>, limit: u64) -> Outcome<Document> {
    let announced: Option<u64> = answer.text(&header::CONTENT_LENGTH).and_then(|text| text.trim().parse().ok());
    if announced.is_some_and(|size| size > limit) {
        return Err(Problem::TooLarge { url: shown(url), limit }.into());
    }
    let (said, kind) = (content_digest(&answer), essence(&answer));
    let protocol = |problem: String| transfer::Error::from(Problem::Protocol { host: host(url), problem });
    if let Some(encoding) = answer.text(&header::CONTENT_ENCODING).filter(|text| !text.eq_ignore_ascii_case("identity"))
    {
        let encoding = transfer::clean(encoding);
        return Err(protocol(format!("gives a manifest in the encoding {encoding}, expected none")));
    }
    let bytes = answer.read(url, limit)?;
    if let Some(size) = announced.filter(|size| *size != bytes.len() as u64) {
        return Err(Problem::Size { url: shown(url), expected: size, found: bytes.len() as u64 }.into());
    }
    let digest = Digest::of(&bytes);
    for wanted in [expected, said].into_iter().flatten() {
        if wanted != digest {
            return Err(Problem::Digest { url: shown(url), expected: wanted, found: digest }.into());
        }
    }
    let media_type = media_type(&kind, &bytes).map_err(protocol)?;
    Ok(Document { media_type, digest, bytes })
}

/// What a manifest is: as the answer says, as it says itself, by its form. The first two must not contradict each other:
/// one digest would mean two images (CVE-2021-41190).
fn media_type(kind: &str, bytes: &[u8]) -> Result<String, String> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Form {
        media_type: Option<String>,
        manifests: Option<serde::de::IgnoredAny>,
        layers: Option<serde::de::IgnoredAny>,
    }
    let form: Form = serde_json::from_slice(bytes)
        .map_err(|_| format!("gives something that is no JSON object for a manifest ({} bytes)", bytes.len()))?;
    let own = form.media_type.unwrap_or_default();
    let shape = match (form.manifests.is_some(), form.layers.is_some()) {
        (true, true) => return Err("gives a manifest with both `manifests` and `layers`".to_owned()),
        (true, false) => Some(Meaning::Index),
        (false, true) => Some(Meaning::Manifest),
        (false, false) => None,
    };
    for (said, meaning) in [(kind, media::meaning(kind)), (&own, media::meaning(&own))] {
        if let (Some(meaning), Some(shape)) = (meaning, shape)
            && meaning != shape
        {
            return Err(format!("gives as {} what has the form of another kind", transfer::clean(said)));
        }
    }
    Ok(match (media::meaning(kind), media::meaning(&own), shape) {
        (Some(_), Some(_), _) if kind != own => {
            return Err(format!("gives as {} what calls itself {}", transfer::clean(kind), transfer::clean(&own)));
        }
        (Some(_), ..) => kind.to_owned(),
        (None, Some(_), _) => own,
        (None, None, Some(Meaning::Index)) if own.is_empty() => media::INDEX.to_owned(),
        (None, None, Some(_)) if own.is_empty() => media::MANIFEST.to_owned(),
        _ if own.is_empty() => transfer::clean(kind),
        _ => transfer::clean(&own),
    })
}

/// `Content-Type` without parameters.
fn essence(answer: &Response) -> String {
    let text = answer.text(&header::CONTENT_TYPE).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// What the registry says, if it says it by SHA-256.
fn content_digest(answer: &Response) -> Option<Digest> {
    answer.text(&CONTENT_DIGEST).map(str::trim).filter(|text| text.starts_with("sha256:"))?.parse().ok()
}
