//! The seam: one request, one answer.

use std::{fmt, io::Read};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use imgcore::Blob;
use url::Url;

use crate::{Error, Secret, shown};

/// Sends requests.
///
/// What speaks HTTP is [`Engine`](crate::Engine); tests answer out of memory.
///
/// ```
/// use transfer::{Error, HeaderMap, Method, Request, Response, StatusCode, Transport};
///
/// struct Echo;
///
/// impl Transport for Echo {
///     fn send(&self, request: Request) -> Result<Response, Error> {
///         let path = request.url.path().as_bytes().to_vec();
///         Ok(Response::new(StatusCode::OK, HeaderMap::new(), std::io::Cursor::new(path)))
///     }
/// }
///
/// let url: transfer::Url = "https://registry.example/v2/".parse()?;
/// let answer = Echo.send(Request::new(Method::GET, url.clone()))?;
/// assert_eq!(answer.read(&url, 100)?, b"/v2/");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Transport: Send + Sync {
    /// Sends one request and returns as soon as the head of the answer is there. Any status is an answer. Follows no
    /// redirect, repeats nothing, adds no credential.
    ///
    /// # Errors
    /// When no answer came: no connection, TLS, time, a host that may not be spoken to.
    fn send(&self, request: Request) -> Result<Response, Error>;

    /// Whether the user allows to speak with the host of `url` without TLS. [`send`](Self::send) refuses the others.
    fn may_be_plain(&self, url: &Url) -> bool {
        let _ = url;
        false
    }
}

impl<T: Transport + ?Sized> Transport for std::sync::Arc<T> {
    fn send(&self, request: Request) -> Result<Response, Error> {
        (**self).send(request)
    }

    fn may_be_plain(&self, url: &Url) -> bool {
        (**self).may_be_plain(url)
    }
}

/// A request.
#[derive(Clone)]
pub struct Request {
    /// Method.
    pub method: Method,
    /// Absolute address, `http` or `https`.
    pub url: Url,
    /// Headers. Values that hold a secret are marked sensitive.
    pub headers: HeaderMap,
    /// What is sent.
    pub body: Body,
}

impl Request {
    /// A request without headers and body.
    pub fn new(method: Method, url: Url) -> Self {
        Self { method, url, headers: HeaderMap::new(), body: Body::Empty }
    }

    /// Sets a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.insert(name, value);
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {:?}", self.method, shown(&self.url), self.headers)
    }
}

/// What a request carries. It can be sent again as often as needed.
#[derive(Debug, Clone)]
pub enum Body {
    /// Nothing.
    Empty,
    /// Few bytes.
    Bytes(Vec<u8>),
    /// Many bytes, streamed; a part of a file is a [slice](Blob::slice).
    Blob(Blob),
}

/// The head of an answer, and its body as it comes.
pub struct Response {
    /// Status.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// The body; an error while reading it is an [`io::Error`](std::io::Error), which [`Error::from_body`] understands.
    pub body: Box<dyn Read + Send>,
    /// Where the answer came from. [`Net`](crate::Net) fills it in, a [`Transport`] leaves it empty.
    pub trail: Trail,
}

impl Response {
    /// An answer as a transport gives it.
    pub fn new(status: StatusCode, headers: HeaderMap, body: impl Read + Send + 'static) -> Self {
        Self { status, headers, body: Box::new(body), trail: Trail::default() }
    }

    /// The whole body, refused above `limit` bytes.
    ///
    /// # Errors
    /// [`ErrorKind::TooLarge`](crate::ErrorKind::TooLarge), or what broke.
    pub fn read(mut self, url: &Url, limit: u64) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        let url = self.trail.url.as_ref().unwrap_or(url);
        let within = (&mut self.body).take(limit.saturating_add(1)).read_to_end(&mut bytes);
        within.map_err(|error| Error::from_body(error, url))?;
        if bytes.len() as u64 > limit {
            return Err(crate::ErrorKind::TooLarge { url: shown(url), limit }.into());
        }
        Ok(bytes)
    }

    /// The text of a header, if it is there and is text.
    pub fn text(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// Where an answer came from.
#[derive(Clone, Default)]
pub struct Trail {
    /// The address that gave the answer, behind all redirects. A relative `Location` counts from here.
    pub url: Option<Url>,
    /// The value of `Authorization` that was sent, so that no message repeats it.
    pub(crate) credential: Option<Secret>,
}

impl Trail {
    /// Whether a credential was sent with the request.
    pub fn with_credentials(&self) -> bool {
        self.credential.is_some()
    }
}

impl fmt::Debug for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.url.as_ref().map(shown);
        f.debug_struct("Trail").field("url", &url).field("credential", &self.credential).finish()
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response").field("status", &self.status).field("headers", &self.headers).finish_non_exhaustive()
    }
}
