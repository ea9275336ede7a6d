//! A network without sockets and a clock without time: what is asked, what is answered and how long is waited is exact.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use std::{
    collections::VecDeque,
    io::{self, Cursor, Read},
    sync::{Arc, Mutex},
    time::Duration,
};

use transfer::{
    Error, ErrorKind, HeaderMap, HeaderName, HeaderValue, Net, Pace, Request, Response, StatusCode, Transport, Url,
};

/// Jitter is half of what it may be; pauses take no time and are written down.
#[derive(Default)]
pub struct Clock {
    now: Mutex<Duration>,
    pub pauses: Mutex<Vec<(u64, String)>>,
}

/// 2026-11-22 00:00:00 UTC, a Sunday.
pub const TODAY: u64 = 1_795_305_600;

impl Clock {
    pub fn pass(&self, time: Duration) {
        *self.now.lock().unwrap() += time;
    }

    /// Pauses in milliseconds.
    pub fn paused(&self) -> Vec<u64> {
        self.pauses.lock().unwrap().iter().map(|(time, _)| *time).collect()
    }
}

impl Pace for Clock {
    fn now(&self) -> Duration {
        *self.now.lock().unwrap()
    }

    fn unix_time(&self) -> u64 {
        TODAY + self.now().as_secs()
    }

    fn sleep(&self, time: Duration, why: &str) -> Result<(), Error> {
        self.pauses.lock().unwrap().push((u64::try_from(time.as_millis()).unwrap(), why.to_owned()));
        self.pass(time);
        Ok(())
    }

    fn jitter(&self, most: Duration) -> Duration {
        most / 2
    }
}

/// What comes back.
#[derive(Clone, Default)]
pub struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    /// The body breaks instead of ending.
    broken: bool,
    /// No answer at all.
    error: Option<fn() -> ErrorKind>,
    /// Seconds until the head is there.
    after: u64,
}

pub fn reply(status: u16) -> Reply {
    Reply { status, ..Reply::default() }
}

pub fn no_connection() -> Reply {
    Reply { error: Some(|| ErrorKind::Connect { host: "a.example".into(), source: "refused".into() }), ..reply(0) }
}

pub fn silence(seconds: u64) -> Reply {
    let error = || ErrorKind::Timeout { host: "a.example".into(), waited: Duration::from_secs(25) };
    Reply { error: Some(error), after: seconds, ..reply(0) }
}

impl Reply {
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub fn broken(mut self) -> Self {
        self.broken = true;
        self
    }

    pub fn after(mut self, seconds: u64) -> Self {
        self.after = seconds;
        self
    }

    pub fn error(mut self, error: fn() -> ErrorKind) -> Self {
        self.error = Some(error);
        self
    }
}

struct Breaking;

impl Read for Breaking {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::ConnectionReset.into())
    }
}

/// Answers in order, whoever asks.
pub struct Script {
    replies: Mutex<VecDeque<Reply>>,
    heard: Mutex<Vec<Request>>,
    pub clock: Arc<Clock>,
    plain: Vec<String>,
}

impl Transport for Script {
    fn send(&self, request: Request) -> Result<Response, Error> {
        self.heard.lock().unwrap().push(request);
        let reply = self.replies.lock().unwrap().pop_front().expect("one more request than the script has answers");
        self.clock.pass(Duration::from_secs(reply.after));
        if let Some(error) = reply.error {
            return Err(error().into());
        }
        let mut headers = HeaderMap::new();
        for (name, value) in &reply.headers {
            headers.append(HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let body = Cursor::new(reply.body);
        let status = StatusCode::from_u16(reply.status).unwrap();
        Ok(if reply.broken {
            Response::new(status, headers, body.chain(Breaking))
        } else {
            Response::new(status, headers, body)
        })
    }

    fn may_be_plain(&self, url: &Url) -> bool {
        transfer::host_is_listed(url, &self.plain)
    }
}

impl Script {
    pub fn new(replies: impl IntoIterator<Item = Reply>) -> Arc<Self> {
        Arc::new(Self {
            replies: Mutex::new(replies.into_iter().collect()),
            heard: Mutex::default(),
            clock: Arc::default(),
            plain: vec!["plain.example".to_owned()],
        })
    }

    pub fn net(self: &Arc<Self>) -> Net {
        Net::new(self.clone(), self.clock.clone())
    }

    pub fn heard(&self) -> Vec<Request> {
        self.heard.lock().unwrap().clone()
    }

    pub fn left(&self) -> usize {
        self.replies.lock().unwrap().len()
    }
}

/// One header of a request.
pub fn sent<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    request.headers.get(name).map(|value| value.to_str().unwrap())
}

pub fn url(text: &str) -> Url {
    text.parse().unwrap()
}

/// The name of an error's kind, for tables.
pub fn kind(error: &Error) -> String {
    let text = format!("{:?}", error.kind());
    text.split([' ', '{', '(']).next().unwrap_or_default().to_owned()
}
