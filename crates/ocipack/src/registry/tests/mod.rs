//! A connection and a clock of the tests' own.

use std::{
    io::Read as _,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use imgcore::ReadAt as _;
use transfer::{
    Body, Error, ErrorKind, HeaderMap, HeaderName, HeaderValue, Method, Net, Pace, Request, Response, StatusCode,
    Transport, Url,
};

use super::{Client, Credential, Credentials, Options};

mod auth;
mod client;
mod upload;

/// Time that passes only when somebody waits.
#[derive(Default)]
pub(super) struct Clock(AtomicU64);

impl Clock {
    pub(super) fn pass(&self, time: Duration) {
        self.0.fetch_add(u64::try_from(time.as_millis()).unwrap(), Ordering::SeqCst);
    }
}

impl Pace for Clock {
    fn now(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst))
    }

    fn unix_time(&self) -> u64 {
        1_800_000_000 + self.now().as_secs()
    }

    fn sleep(&self, time: Duration, _why: &str) -> Result<(), Error> {
        self.pass(time);
        Ok(())
    }

    fn jitter(&self, most: Duration) -> Duration {
        most
    }
}

/// A request that came.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

impl Seen {
    pub(super) fn authorization(&self) -> Option<&str> {
        self.header("authorization")
    }

    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(super) fn line(&self) -> String {
        format!("{} {}", self.method, self.url)
    }
}

/// An answer: status, headers, body. Status 0: the connection breaks.
pub(super) type Answer = (u16, Vec<(&'static str, String)>, Vec<u8>);

pub(super) fn status(status: u16) -> Answer {
    (status, Vec::new(), Vec::new())
}

pub(super) fn with(status: u16, headers: &[(&'static str, &str)], body: impl AsRef<[u8]>) -> Answer {
    let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    (status, headers, body.as_ref().to_vec())
}

type Serve = Box<dyn FnMut(&Seen) -> Answer + Send>;

/// Answers by a function and remembers what it was asked.
pub(super) struct Server {
    serve: Mutex<Serve>,
    pub(super) seen: Mutex<Vec<Seen>>,
}

impl Server {
    pub(super) fn lines(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(Seen::line).collect()
    }
}

impl Transport for Server {
    fn send(&self, request: Request) -> Result<Response, Error> {
        let body = match &request.body {
            Body::Empty => Vec::new(),
            Body::Bytes(bytes) => bytes.clone(),
            Body::Blob(blob) => {
                let mut bytes = Vec::new();
                imgcore::ReadAtCursor::new(blob).read_to_end(&mut bytes).unwrap();
                assert_eq!(bytes.len() as u64, blob.size());
                bytes
            }
        };
        let seen = Seen { method: request.method, url: request.url, headers: request.headers, body };
        self.seen.lock().unwrap().push(seen.clone());
        let (status, headers, body) = (self.serve.lock().unwrap())(&seen);
        if status == 0 {
            let source = std::io::Error::from(std::io::ErrorKind::ConnectionReset).into();
            return Err(ErrorKind::Connect { host: transfer::host(&seen.url), source }.into());
        }
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(HeaderName::from_static(name), HeaderValue::from_str(&value).unwrap());
        }
        Ok(Response::new(StatusCode::from_u16(status).unwrap(), map, std::io::Cursor::new(body)))
    }
}

pub(super) struct Rig {
    pub(super) server: Arc<Server>,
    pub(super) clock: Arc<Clock>,
    pub(super) client: Client,
}

pub(super) fn rig(
    credentials: impl Credentials + 'static,
    options: Options,
    serve: impl FnMut(&Seen) -> Answer + Send + 'static,
) -> Rig {
    let server = Arc::new(Server { serve: Mutex::new(Box::new(serve)), seen: Mutex::default() });
    let clock = Arc::new(Clock::default());
    let net = Net::new(Arc::clone(&server) as _, Arc::clone(&clock) as _);
    Rig { server, clock, client: Client::new(net, Arc::new(credentials), options) }
}

/// One credential for one registry.
#[derive(Clone)]
pub(super) struct Only(pub(super) &'static str, pub(super) Credential);

impl Credentials for Only {
    fn find(&self, registry: &str, _repository: &str) -> Result<Option<Credential>, Error> {
        Ok((registry == self.0).then(|| self.1.clone()))
    }
}
