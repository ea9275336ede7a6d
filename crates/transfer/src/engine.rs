//! The engine behind the seam: `reqwest` on one worker thread, seen from outside as calls that block.

mod classify;
mod receive;
mod upload;

use std::{
    fmt,
    sync::{Arc, mpsc},
    time::{Duration, Instant},
};

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use tokio::runtime::{Builder, Runtime};
use url::Url;

use crate::{Body, Cancel, Error, ErrorKind, Request, Response, Transport, address, host, host_is_listed, pace::SLICE};

use self::{
    receive::Speed,
    upload::{Upload, Watch},
};

/// How the engine speaks with servers.
///
/// Every time has an end, so that no server holds a program for a minute; tests use milliseconds.
#[derive(Clone)]
pub struct EngineOptions {
    /// Hosts that are spoken to without TLS when an address begins with `http://`: `HOST` (any port) or `HOST:PORT`.
    pub plain_http: Vec<String>,
    /// Certificates in PEM that are trusted beside those of the platform.
    pub ca_file: Option<Vec<u8>>,
    /// `User-Agent`.
    pub user_agent: String,
    /// The longest time for name, connection and TLS.
    pub connect: Duration,
    /// The longest time for the head of an answer to a request without a body, connection included.
    pub answer: Duration,
    /// The longest time for the head of an answer after a body was sent: servers hash or move what they got.
    pub answer_to_body: Duration,
    /// The longest time without a byte, while a body is received or sent.
    pub idle: Duration,
    /// The least bytes a second in both directions, over each stretch of [`idle`](Self::idle) that is spent waiting for
    /// the network.
    pub slowest: u64,
    /// Whether the user asked to stop.
    pub cancel: Cancel,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            plain_http: Vec::new(),
            ca_file: None,
            user_agent: concat!("transfer/", env!("CARGO_PKG_VERSION")).to_owned(),
            connect: Duration::from_secs(20),
            answer: Duration::from_secs(24),
            answer_to_body: Duration::from_secs(40),
            idle: Duration::from_secs(30),
            slowest: 1024,
            cancel: Arc::new(|| false),
        }
    }
}

impl fmt::Debug for EngineOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineOptions")
            .field("plain_http", &self.plain_http)
            .field("user_agent", &self.user_agent)
            .finish_non_exhaustive()
    }
}

/// HTTP/1.1 and HTTP/2 over TCP and TLS, through the proxies that the environment names; to this machine itself without.
///
/// Redirects, retries, cookies and decompression of the library below are off. A body is streamed in both directions;
/// a transfer holds less than 4 MiB. It may be dropped anywhere, in an asynchronous program too.
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    client: reqwest::Client,
    /// For this machine itself, which no proxy is asked for: a proxy would see what is meant for nobody else.
    direct: reqwest::Client,
    options: EngineOptions,
    roots: Roots,
    // Behind the client in the order of dropping.
    runtime: Worker,
}

/// A runtime that may be dropped where blocking is not allowed.
struct Worker(Option<Runtime>);

impl Drop for Worker {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Whose word is taken for a server's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Roots {
    Platform,
    Given,
    Nobody,
}

impl Engine {
    /// Starts the worker. No connection is made.
    ///
    /// # Errors
    /// [`ErrorKind::Setup`]: a CA file without a certificate, no provider of cryptography.
    pub fn new(options: EngineOptions) -> Result<Self, Error> {
        let setup = |what: &str, problem: String| Error::from(ErrorKind::Setup { what: what.to_owned(), problem });
        if !cfg!(feature = "rustls") && rustls::crypto::CryptoProvider::get_default().is_none() {
            return Err(setup("TLS", "no provider of cryptography is installed in this program".to_owned()));
        }
        let certificates = match &options.ca_file {
            Some(pem) => reqwest::Certificate::from_pem_bundle(pem)
                .map_err(|error| setup("the CA file", classify::deepest(&error)))?,
            None => Vec::new(),
        };
        if options.ca_file.is_some() && certificates.is_empty() {
            return Err(setup(
                "the CA file",
                "no certificate in it, expected `-----BEGIN CERTIFICATE-----`".to_owned(),
            ));
        }
        let builder = |direct: bool| {
            let builder = reqwest::Client::builder();
            let builder = if direct { builder.no_proxy() } else { builder };
            builder
                .user_agent(&options.user_agent)
                .redirect(reqwest::redirect::Policy::none())
                .retry(reqwest::retry::never())
                .referer(false)
                .no_gzip()
                .no_brotli()
                .no_zstd()
                .no_deflate()
                .connect_timeout(options.connect)
                .pool_idle_timeout(Duration::from_secs(30))
        };
        let client = |direct: bool| {
            if let Ok(client) = builder(direct).tls_certs_merge(certificates.clone()).build() {
                return Ok((client, Roots::Platform));
            }
            // A machine without certificates of its own, such as a bare container.
            let roots = if certificates.is_empty() { Roots::Nobody } else { Roots::Given };
            let only = builder(direct).tls_certs_only(certificates.clone()).build();
            let what = if roots == Roots::Given { "the CA file" } else { "TLS" };
            only.map(|client| (client, roots)).map_err(|error| setup(what, classify::deepest(&error)))
        };
        let ((client, roots), (direct, _)) = (client(false)?, client(true)?);
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name("transfer").enable_all().build();
        let runtime = runtime.map_err(|error| setup("a worker thread", error.to_string()))?;
        Ok(Self { inner: Arc::new(Inner { client, direct, options, roots, runtime: Worker(Some(runtime)) }) })
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("options", &self.inner.options).finish_non_exhaustive()
    }
}

impl Transport for Engine {
    fn send(&self, request: Request) -> Result<Response, Error> {
        address::accept(&request.url)?;
        let options = &self.inner.options;
        if request.url.scheme() == "http" && !self.may_be_plain(&request.url) {
            return Err(ErrorKind::Insecure { host: host(&request.url) }.into());
        }
        if (options.cancel)() {
            return Err(ErrorKind::Cancelled.into());
        }
        let Some(runtime) = &self.inner.runtime.0 else { return Err(ended()) };

        let (head_to, head_from) = mpsc::sync_channel(1);
        let (incoming, outlet) = receive::pipe();
        let inner = Arc::clone(&self.inner);
        let url = request.url.clone();
        let task = runtime.spawn(async move {
            let idle = inner.options.idle;
            let speed = Speed { idle, slowest: inner.options.slowest };
            // The task must not own the runtime that it runs on.
            let client = if is_loopback(&url) { &inner.direct } else { &inner.client };
            let (client, options, roots) = (client.clone(), inner.options.clone(), inner.roots);
            drop(inner);
            match exchange(&client, &options, roots, request).await {
                Ok(answer) => {
                    let head = (answer.status(), answer.headers().clone());
                    if head_to.send(Ok(head)).is_ok() {
                        incoming.pump(answer, &url, speed).await;
                    }
                }
                Err(error) => drop(head_to.send(Err(error))),
            }
        });
        let abort = task.abort_handle();
        let mut outlet = outlet.until_dropped(abort.clone(), Arc::clone(&options.cancel));
        let (status, headers): (StatusCode, HeaderMap) = loop {
            match head_from.recv_timeout(SLICE) {
                Ok(head) => break head?,
                Err(mpsc::RecvTimeoutError::Timeout) if (options.cancel)() => {
                    abort.abort();
                    return Err(ErrorKind::Cancelled.into());
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return Err(ended()),
            }
        };
        outlet.keep(Arc::clone(&self.inner));
        Ok(Response::new(status, headers, outlet))
    }

    fn may_be_plain(&self, url: &Url) -> bool {
        host_is_listed(url, &self.inner.options.plain_http)
    }
}

/// `localhost` and its names (RFC 6761 section 6.3), 127.0.0.0/8, ::1.
fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn ended() -> Error {
    ErrorKind::Setup { what: "the worker of the network".to_owned(), problem: "ended without an answer".to_owned() }
        .into()
}

/// Sends and waits for the head, watching that both go on.
async fn exchange(
    client: &reqwest::Client,
    options: &EngineOptions,
    roots: Roots,
    request: Request,
) -> Result<reqwest::Response, Error> {
    let Request { method, url, mut headers, body } = request;
    let at = host(&url);
    let watch = Arc::new(Watch::new());
    let has_body = !matches!(&body, Body::Empty);
    let upload = Upload::new(body, &watch);
    headers.remove(header::TRANSFER_ENCODING);
    headers.remove(header::CONTENT_LENGTH);
    if has_body || [Method::POST, Method::PUT, Method::PATCH].contains(&method) {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(upload.size()));
    }
    let mut sent = reqwest::Request::new(method, url);
    *sent.headers_mut() = headers;
    if has_body {
        *sent.body_mut() = Some(reqwest::Body::wrap(upload));
    } else {
        watch.done();
    }
    let start = Instant::now();
    let mut answer = std::pin::pin!(client.execute(sent));
    let tick = SLICE.min(options.idle / 4).max(Duration::from_millis(1));
    loop {
        if let Ok(outcome) = tokio::time::timeout(tick, &mut answer).await {
            return outcome.map_err(|error| match watch.failure() {
                Some((what, source)) => ErrorKind::Io { what, source }.into(),
                None => classify::classify(error, &at, options.connect, roots),
            });
        }
        let waited = if !has_body {
            Some(start.elapsed()).filter(|waited| *waited > options.answer)
        } else if let Some(finished) = watch.finished() {
            Some(finished).filter(|waited| *waited > options.answer_to_body)
        } else {
            watch.too_slow(options.idle, options.slowest)
        };
        if let Some(waited) = waited {
            return Err(ErrorKind::Timeout { host: at, waited }.into());
        }
    }
}
