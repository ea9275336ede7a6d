//! Drives an [`Upload`] over a connection.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{RecvTimeoutError, channel},
    },
    time::Duration,
};

use imgcore::{Blob, Digest, Progress, ReadAt};
use transfer::{
    Access, Body, Budget, Error, ErrorKind, HeaderName, HeaderValue, Method, Net, Request, Response, Url, check,
    header, host, is_transient,
};

use super::upload::{Fault, Head, Session, Step, Upload, Uploaded};

/// How often progress is told while a body is on its way.
const TOLD_EVERY: Duration = Duration::from_millis(100);
const BYTES: HeaderValue = HeaderValue::from_static("application/octet-stream");
/// Registries name the digest of what they give and take.
pub(crate) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
const LEAST: HeaderName = HeaderName::from_static("oci-chunk-min-length");

/// What one upload needs besides its state.
pub(crate) struct Sender<'a> {
    pub(crate) net: &'a Net,
    /// Of the registry, to name it in errors.
    pub(crate) base: &'a Url,
    pub(crate) blob: &'a Blob,
    pub(crate) progress: &'a dyn Progress,
    /// What may be sent without TLS.
    pub(crate) may_send: &'a dyn Fn(&Url) -> Result<(), Error>,
    /// A fresh one for each request; `true` for a mount, which needs to read the other repository.
    pub(crate) access: &'a dyn Fn(bool) -> Box<dyn Access + 'a>,
}

impl Sender<'_> {
    /// Sends until the blob is there.
    pub(crate) fn run(
        &self,
        digest: Digest,
        upload: &mut Upload,
        on_session: &mut dyn FnMut(Option<&Session>),
    ) -> Result<Uploaded, Error> {
        let task = format!("pushing {}", digest.hex().get(..12).unwrap_or_default());
        let seen = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let counted = Counted { inner: self.blob.clone(), seen: Arc::clone(&seen), stop: Arc::clone(&stop) };
        let body = Blob::new(self.blob.label(), Arc::new(counted), Some(digest));
        self.progress.start(&task, Some(self.blob.size()));
        let mut told = 0;
        let mut tell = |most: u64| {
            let next = most.max(told);
            if next > told {
                self.progress.advance(&task, next - told);
                told = next;
            }
        };
        let outcome = std::thread::scope(|scope| {
            let (running, ended) = channel::<()>();
            let (seen, stop, progress) = (&*seen, &*stop, self.progress);
            let tell = &mut tell;
            scope.spawn(move || {
                while matches!(ended.recv_timeout(TOLD_EVERY), Err(RecvTimeoutError::Timeout)) {
                    tell(seen.load(Ordering::Relaxed));
                    stop.fetch_or(progress.cancelled(), Ordering::Relaxed);
                }
                tell(seen.load(Ordering::Relaxed));
            });
            let outcome = self.steps(upload, &body, seen, on_session);
            drop(running);
            outcome
        });
        self.progress.finish(&task);
        outcome
    }

    fn steps(
        &self,
        upload: &mut Upload,
        body: &Blob,
        seen: &AtomicU64,
        on_session: &mut dyn FnMut(Option<&Session>),
    ) -> Result<Uploaded, Error> {
        let mut budget = Budget::new(&self.net.policy);
        let mut last = upload.session();
        loop {
            let outcome = match upload.step() {
                Step::Done(how) => {
                    on_session(None);
                    seen.fetch_max(body.size(), Ordering::Relaxed);
                    return Ok(how);
                }
                _ if self.progress.cancelled() => return Err(ErrorKind::Cancelled.into()),
                step => self.step(&step, upload, body, &mut budget),
            };
            seen.fetch_max(upload.committed(), Ordering::Relaxed);
            self.cancel(upload);
            if let Err(error) = outcome {
                // What broke it was the body that stopped.
                if self.progress.cancelled() {
                    return Err(ErrorKind::Cancelled.into());
                }
                if !may_go_on(&error) {
                    upload.abandon();
                    self.cancel(upload);
                    on_session(None);
                }
                return Err(error);
            }
            let session = upload.session();
            // Without a session the last one stays noted until there is another: if the registry is away, it may live.
            if session.is_some() && session != last && !matches!(upload.step(), Step::Done(_)) {
                on_session(session.as_ref());
                last = session;
            }
        }
    }

    fn step(&self, step: &Step, upload: &mut Upload, body: &Blob, budget: &mut Budget) -> Result<(), Error> {
        let request = request(step, body);
        let url = request.url.clone();
        (self.may_send)(&url)?;
        let access = (self.access)(matches!(step, Step::Mount { .. }));
        let outcome = if matches!(step, Step::Ask { .. }) && upload.is_resuming() {
            match self.net.once(&request, &*access) {
                Ok(answer) if answer.status.as_u16() == 429 => self.net.exchange_within(&request, &*access, budget),
                // A session that may be dead is not worth a pause; the POST that follows has all tries.
                Err(error) if !error.is_cancelled() => {
                    let protocol = |fault: Fault| ErrorKind::Protocol { host: host(&url), problem: fault.to_string() };
                    return upload.forget().map_err(|fault| protocol(fault).into());
                }
                outcome => outcome,
            }
        } else {
            self.net.exchange_within(&request, &*access, budget)
        };
        // A long time of sending is no silence.
        let took = outcome.as_ref().err().map(Error::waited).unwrap_or_default();
        let has_body = matches!(request.body, Body::Blob(_));
        let response = match outcome {
            Ok(response) => response,
            // A mount is a wish: who may not read the other repository sends the blob.
            Err(error) if matches!(step, Step::Mount { .. }) && is_refusal(&error) => {
                return self.heard(upload, &Head { status: 403, ..Head::default() }, None);
            }
            Err(error) if has_body && error.is_transient() => {
                if budget.again(&*self.net.pace, took, None, &error.to_string())? {
                    upload.broken();
                    return Ok(());
                }
                return Err(given_up(error, budget));
            }
            Err(error) => return Err(error),
        };
        // The registry kept an unknown part of the body; the machine asks for it.
        if has_body && is_transient(response.status) && response.status.as_u16() != 429 {
            let asked = self.net.asked(&response);
            let why = format!("{}: status {}", host(&url), response.status.as_u16());
            if budget.again(&*self.net.pace, took, asked, &why)? {
                upload.broken();
                return Ok(());
            }
            return Err(given_up(refusal(response, &url), budget));
        }
        if response.status.is_success() {
            budget.useful();
        }
        self.heard(upload, &head(&response), Some((response, &url)))
    }

    fn heard(&self, upload: &mut Upload, head: &Head, response: Option<(Response, &Url)>) -> Result<(), Error> {
        match (upload.answer(head), response) {
            (Ok(()), _) => Ok(()),
            (Err(Fault::Refused), Some((response, url))) => Err(refusal(response, url)),
            (Err(fault), _) => Err(ErrorKind::Protocol { host: host(self.base), problem: fault.to_string() }.into()),
        }
    }

    /// Tells the registry of sessions that nobody goes on with. It forgets them in time if this fails.
    fn cancel(&self, upload: &mut Upload) {
        for url in upload.take_abandoned() {
            if (self.may_send)(&url).is_ok() {
                let access = (self.access)(false);
                let _ = self.net.once(&Request::new(Method::DELETE, url), &*access);
            }
        }
    }
}

/// Whether a later run has a use for the session: the way to the registry failed, not the upload.
fn may_go_on(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::Connect { .. }
        | ErrorKind::Timeout { .. }
        | ErrorKind::Tls { .. }
        | ErrorKind::RateLimited { .. }
        | ErrorKind::Refused { .. }
        | ErrorKind::GivenUp { .. }
        | ErrorKind::Io { .. }
        | ErrorKind::Cancelled => true,
        ErrorKind::Status { status, .. } => *status >= 500,
        _ => error.is_transient(),
    }
}

fn is_refusal(error: &Error) -> bool {
    !error.is_transient() && !error.is_cancelled()
}

fn given_up(last: Error, budget: &Budget) -> Error {
    ErrorKind::GivenUp { tries: budget.tries(), last: Box::new(last) }.into()
}

/// The error of an answer that is taken for a refusal.
fn refusal(response: Response, url: &Url) -> Error {
    let status = response.status.as_u16();
    check(response, url).err().unwrap_or_else(|| {
        let problem = format!("answers {status} again and again, and the blob is not there");
        ErrorKind::Protocol { host: host(url), problem }.into()
    })
}

fn head(response: &Response) -> Head {
    let text = |name: &HeaderName| response.text(name).map(ToOwned::to_owned);
    let number = |name: &HeaderName| response.text(name).and_then(|text| text.trim().parse().ok());
    Head {
        status: response.status.as_u16(),
        location: text(&header::LOCATION),
        range: text(&header::RANGE),
        least: number(&LEAST),
        digest: text(&CONTENT_DIGEST),
        length: number(&header::CONTENT_LENGTH),
    }
}

fn request(step: &Step, body: &Blob) -> Request {
    let empty = |method: Method, url: &Url| {
        // Some servers answer 411 to a POST or PUT that does not say how long its body is.
        Request::new(method, url.clone()).header(header::CONTENT_LENGTH, HeaderValue::from_static("0"))
    };
    match step {
        Step::Mount { url } | Step::Begin { url } => empty(Method::POST, url),
        Step::Ask { url } => Request::new(Method::GET, url.clone()),
        Step::Confirm { url } => Request::new(Method::HEAD, url.clone()),
        Step::Close { url, range } if range.is_empty() => empty(Method::PUT, url).header(header::CONTENT_TYPE, BYTES),
        Step::Close { url, range } => Request::new(Method::PUT, url.clone())
            .header(header::CONTENT_TYPE, BYTES)
            .body(Body::Blob(body.slice(range.clone()))),
        Step::Piece { url, range } => {
            let text = format!("{}-{}", range.start, range.end.saturating_sub(1));
            let mut request = Request::new(Method::PATCH, url.clone())
                .header(header::CONTENT_TYPE, BYTES)
                .body(Body::Blob(body.slice(range.clone())));
            if let Ok(value) = HeaderValue::from_str(&text) {
                // Without a unit, as the distribution specification has it and RFC 9110 has not.
                request = request.header(header::CONTENT_RANGE, value);
            }
            request
        }
        Step::Done(_) => Request::new(Method::HEAD, match_none()),
    }
}

fn match_none() -> Url {
    // Never sent: `steps` returns before.
    "https://localhost/".parse().unwrap_or_else(|_| unreachable!("a constant address"))
}

/// Data that knows how far it was read, so that a bar moves while a body is on its way.
struct Counted {
    inner: Blob,
    seen: Arc<AtomicU64>,
    /// Whether the body is to end here.
    stop: Arc<AtomicBool>,
}

impl ReadAt for Counted {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(io::Error::other("cancelled"));
        }
        let count = self.inner.read_at(offset, buffer)?;
        self.seen.fetch_max(offset.saturating_add(count as u64), Ordering::Relaxed);
        Ok(count)
    }
}
