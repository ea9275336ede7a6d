//! HTTP/1.1 by hand (RFC 9112), because a fault below the message cannot be had from a library that keeps the protocol.

use std::{
    io::{self, Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use super::{At, Meter};

/// The largest head of a request.
const HEAD: usize = 256 << 10;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    /// At which of the two hosts.
    pub at: At,
    /// Method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Headers in their order.
    pub headers: Vec<(String, String)>,
    /// The body, once it is read.
    pub body: Vec<u8>,
}

impl Request {
    /// The first header of a name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The path without the query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The values of a parameter of the query, percent-decoded.
    pub fn query(&self, name: &str) -> Vec<String> {
        parameters(self.target.split_once('?').map_or("", |(_, query)| query), name)
    }

    /// How many bytes of body it announces; `None` for chunked encoding.
    pub(super) fn announced(&self) -> Option<u64> {
        if self.header("transfer-encoding").is_some() {
            return None;
        }
        Some(self.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0))
    }
}

/// The values of a name in `a=b&c=d`, percent-decoded.
pub(super) fn parameters(text: &str, name: &str) -> Vec<String> {
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(key, _)| *key == name).map(|(_, value)| decoded(value)).collect()
}

fn decoded(text: &str) -> String {
    let (mut out, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((first, tail)) = rest.split_first() {
        let code = tail.get(..2).and_then(|two| std::str::from_utf8(two).ok());
        match code.filter(|_| *first == b'%').and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                rest = &tail[2..];
            }
            None => {
                out.push(if *first == b'+' { b' ' } else { *first });
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// How an answer goes over the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wire {
    /// Head and body.
    Whole,
    /// The connection ends after so many bytes of the body.
    Cut(usize),
    /// The connection is reset (RST) after so many bytes of the body; `None` before the head.
    Reset(Option<usize>),
    /// So many bytes of the body, then silence; `None` is silence from the start.
    Stall(Option<usize>),
    /// So many bytes a time.
    Drip(usize, Duration),
    /// These bytes instead of head and body, then the end.
    Raw(Vec<u8>),
    /// The body without end.
    Endless,
}

/// An answer. In header values `{here}` stands for the host that answers, `{other}` for the other one, `{elsewhere}` for the
/// one that is not the registry (`{elsewhere by name}`: as `localhost`), `{target}` for path and query.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status.
    pub status: u16,
    /// Headers; `Content-Length` is that of the body if none stands here.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// How it goes over the wire.
    pub wire: Wire,
}

impl Answer {
    /// An answer without headers and body.
    pub fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new(), wire: Wire::Whole }
    }

    /// Sets a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<String>) -> Self {
        self = self.without(name);
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    /// Removes a header; `Content-Length` too, and then the end of the connection is the end of the body.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(found, _)| !found.eq_ignore_ascii_case(name));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Says how it goes over the wire.
    #[must_use]
    pub fn wire(mut self, wire: Wire) -> Self {
        self.wire = wire;
        self
    }

    /// An error in the form of the distribution specification.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        let body = format!(r#"{{"errors": [{{"code": "{code}", "message": "{message}"}}]}}"#);
        Self::new(status).header("Content-Type", "application/json").body(body)
    }
}

/// One connection of a client.
pub(super) struct Connection<'a> {
    pub stream: &'a TcpStream,
    pub at: At,
    pub hosts: &'a [String; 2],
    pub meter: &'a Meter,
    /// Whether the last byte of a head still waits in the socket: closing a socket with unread bytes sends a RST.
    pub held: bool,
}

impl Connection<'_> {
    /// The head of the next request; `None` at the end.
    pub(super) fn head(&mut self) -> io::Result<Option<Request>> {
        let mut seen = vec![0; HEAD];
        let end = loop {
            let count = self.stream.peek(&mut seen)?;
            // Clients that hope for TLS begin with other bytes.
            if count == 0 || count == HEAD || !seen[0].is_ascii_uppercase() {
                return Ok(None);
            }
            if let Some(at) = seen[..count].windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 3;
            }
            if self.meter.stopped() {
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        let mut head = vec![0; end];
        let mut stream = self.stream;
        stream.read_exact(&mut head)?;
        self.held = true;
        let text = String::from_utf8_lossy(&head).into_owned();
        let mut lines = text.split("\r\n");
        let mut words = lines.next().unwrap_or_default().split(' ');
        let method = words.next().unwrap_or_default().to_owned();
        let target = words.next().unwrap_or_default().to_owned();
        let pairs = lines.filter_map(|line| line.split_once(':'));
        let headers = pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect();
        Ok(Some(Request { at: self.at, method, target, headers, body: Vec::new() }))
    }

    /// Takes the last byte of the head out of the socket, so that closing it ends the connection in order.
    fn release(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.held) {
            let mut stream = self.stream;
            stream.read_exact(&mut [0])?;
        }
        Ok(())
    }

    /// Reads the body, at most `most` bytes of it.
    pub(super) fn body(&mut self, request: &mut Request, most: usize) -> io::Result<()> {
        match request.announced() {
            Some(0) => Ok(()),
            Some(length) => {
                self.release()?;
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                self.take(length.min(most), &mut request.body)
            }
            None => {
                self.release()?;
                loop {
                    let line = self.line()?;
                    let length = usize::from_str_radix(line.split(';').next().unwrap_or_default().trim(), 16);
                    let length = length.map_err(|_| io::ErrorKind::InvalidData)?;
                    let rest = most.saturating_sub(request.body.len());
                    self.take(length.min(rest), &mut request.body)?;
                    if length == 0 || length > rest {
                        return if length == 0 { self.line().map(drop) } else { Ok(()) };
                    }
                    self.line()?;
                }
            }
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        let mut stream = self.stream;
        while !line.ends_with(b"\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            line.push(byte[0]);
        }
        Ok(String::from_utf8_lossy(&line).trim().to_owned())
    }

    fn take(&mut self, length: usize, body: &mut Vec<u8>) -> io::Result<()> {
        let end = body.len() + length;
        let mut chunk = vec![0; 64 << 10];
        let mut stream = self.stream;
        while body.len() < end {
            let want = (end - body.len()).min(chunk.len());
            let count = stream.read(&mut chunk[..want])?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            body.extend_from_slice(&chunk[..count]);
            self.meter.received(count);
        }
        Ok(())
    }

    /// Sends an answer. `true`: the connection goes on.
    pub(super) fn send(&mut self, request: &Request, answer: &Answer) -> io::Result<bool> {
        let mut head = format!("HTTP/1.1 {} {}\r\n", answer.status, reason(answer.status));
        for (name, value) in &answer.headers {
            head += &format!("{name}: {}\r\n", self.filled(value, request));
        }
        let has = |name: &str| answer.headers.iter().any(|(found, _)| found.eq_ignore_ascii_case(name));
        let open = answer.wire == Wire::Endless;
        if !has("content-length") && !has("transfer-encoding") && !open && !matches!(answer.status, 204 | 304) {
            head += &format!("Content-Length: {}\r\n", answer.body.len());
        }
        // An empty value says that the header shall be missing.
        head = head.replace("Content-Length: \r\n", "");
        head += "\r\n";
        let sized = head.contains("Content-Length: ") || matches!(answer.status, 204 | 304);
        let body: &[u8] = if request.method == "HEAD" { &[] } else { &answer.body };
        let whole = match &answer.wire {
            Wire::Whole => {
                self.write(head.as_bytes(), body)?;
                sized
            }
            Wire::Cut(at) => {
                self.write(head.as_bytes(), &body[..body.len().min(*at)])?;
                false
            }
            Wire::Reset(None) => return Ok(false),
            Wire::Reset(Some(at)) => {
                self.write(head.as_bytes(), &body[..body.len().min(*at)])?;
                // Else the RST overtakes what was sent.
                std::thread::sleep(Duration::from_millis(30));
                return Ok(false);
            }
            Wire::Stall(at) => {
                if let Some(at) = at {
                    self.write(head.as_bytes(), &body[..body.len().min(*at)])?;
                }
                while !self.meter.stopped() {
                    std::thread::sleep(Duration::from_millis(20));
                }
                false
            }
            Wire::Drip(bytes, pause) => {
                self.write(head.as_bytes(), &[])?;
                for piece in body.chunks((*bytes).max(1)) {
                    if self.meter.stopped() {
                        return Ok(false);
                    }
                    self.write(&[], piece)?;
                    std::thread::sleep(*pause);
                }
                sized
            }
            Wire::Raw(bytes) => {
                self.write(bytes, &[])?;
                false
            }
            Wire::Endless => {
                self.write(head.as_bytes(), &[])?;
                while !self.meter.stopped() {
                    self.write(&[], &answer.body)?;
                }
                false
            }
        };
        self.release()?;
        Ok(whole)
    }

    fn filled(&self, value: &str, request: &Request) -> String {
        let here = usize::from(self.at == At::Elsewhere);
        let value = value.replace("{here}", &self.hosts[here]).replace("{other}", &self.hosts[1 - here]);
        let port = self.hosts[1].rsplit(':').next().unwrap_or_default();
        let value =
            value.replace("{elsewhere}", &self.hosts[1]).replace("{elsewhere by name}", &format!("localhost:{port}"));
        value.replace("{target}", &request.target)
    }

    fn write(&self, head: &[u8], body: &[u8]) -> io::Result<()> {
        let mut stream = self.stream;
        stream.write_all(head)?;
        for piece in body.chunks(64 << 10) {
            stream.write_all(piece)?;
            self.meter.sent(piece.len());
        }
        stream.flush()
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200..=299 => "Fine",
        300..=399 => "Elsewhere",
        400..=499 => "Refused",
        _ => "Broken",
    }
}
