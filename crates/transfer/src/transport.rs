//! The seam: one request, one answer.

use std::{fmt, io::Read};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use imgcore::Blob;
use url::Url;

use crate::Error;

/// Sends requests.
pub trait Transport: Send + Sync {
    /// Sends one request and returns as soon as the head of the answer is there. Any status is an answer. Follows no
    /// redirect, repeats nothing, adds no credential.
    ///
    /// # Errors
    /// When no answer came: no connection, TLS, time, a host that may not be spoken to.
    fn send(&self, request: Request) -> Result<Response, Error>;
}

impl<T: Transport + ?Sized> Transport for std::sync::Arc<T> {
    fn send(&self, request: Request) -> Result<Response, Error> {
        (**self).send(request)
    }
}

/// A request.
#[derive(Debug, Clone)]
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
    /// The body; an error while reading it is an [`io::Error`](std::io::Error).
    pub body: Box<dyn Read + Send>,
}

impl Response {
    /// The text of a header, if it is there and is text.
    pub fn text(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response").field("status", &self.status).field("headers", &self.headers).finish_non_exhaustive()
    }
}
