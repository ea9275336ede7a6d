//! What the tests over real sockets share: a small server that does what a closure says, byte for byte.

#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

pub mod script;

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use transfer::{Engine, EngineOptions, Method, Net, Policy, RealPace, Request, Url};

/// A request as the server saw it.
#[derive(Debug, Clone)]
pub struct Heard {
    /// Method and target.
    pub line: String,
    /// Header lines as sent, names in lower case.
    pub headers: Vec<(String, String)>,
    /// How many requests came before it.
    pub number: usize,
}

impl Heard {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// First byte of `Range: bytes=N-`.
    pub fn range_start(&self) -> Option<usize> {
        self.header("range")?.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()
    }

    /// Reads the whole body.
    pub fn body(&self, stream: &mut TcpStream) -> Vec<u8> {
        let length = self.header("content-length").map_or(0, |text| text.parse().unwrap());
        let mut body = vec![0; length];
        stream.read_exact(&mut body).unwrap();
        body
    }
}

/// A server on loopback. Its threads end with the test process.
pub struct Server {
    pub port: u16,
    heard: Arc<Mutex<Vec<Heard>>>,
}

impl Server {
    /// Each request of each connection goes to `answer`, which writes what it likes; `false` closes the connection.
    pub fn start(answer: impl Fn(&Heard, &mut TcpStream) -> bool + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (heard, answer) = (Arc::new(Mutex::new(Vec::new())), Arc::new(answer));
        let log = Arc::clone(&heard);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (log, answer, mut stream) = (Arc::clone(&log), Arc::clone(&answer), stream.unwrap());
                thread::spawn(move || {
                    while let Some(mut request) = read_head(&mut stream) {
                        {
                            let mut log = log.lock().unwrap();
                            request.number = log.len();
                            log.push(request.clone());
                        }
                        if !answer(&request, &mut stream) {
                            let _ = stream.shutdown(Shutdown::Both);
                            return;
                        }
                    }
                });
            }
        });
        Self { port, heard }
    }

    /// Answers with fixed bytes and closes.
    pub fn fixed(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::start(move |_, stream| {
            let _ = stream.write_all(&answer);
            false
        })
    }

    pub fn url(&self, path: &str) -> Url {
        format!("http://127.0.0.1:{}{path}", self.port).parse().unwrap()
    }

    pub fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }
}

fn read_head(stream: &mut TcpStream) -> Option<Heard> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return None,
        }
    }
    let text = String::from_utf8(head).unwrap();
    let mut lines = text.lines();
    let line = lines.next().unwrap().to_owned();
    let headers = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    Some(Heard { line, headers, number: 0 })
}

/// Short times: what takes a minute in earnest takes half a second here.
pub fn options() -> EngineOptions {
    EngineOptions {
        plain_http: vec!["127.0.0.1".to_owned()],
        connect: Duration::from_secs(2),
        answer: Duration::from_millis(500),
        answer_to_body: Duration::from_millis(800),
        idle: Duration::from_millis(500),
        ..EngineOptions::default()
    }
}

pub fn engine() -> Engine {
    Engine::new(options()).unwrap()
}

/// The engine with hardly a pause between tries.
pub fn net() -> Net {
    let mut net = Net::new(Arc::new(engine()), Arc::new(RealPace::quiet()));
    net.policy = Policy { base: Duration::from_millis(5), ..net.policy };
    net
}

pub fn get(url: Url) -> Request {
    Request::new(Method::GET, url)
}
