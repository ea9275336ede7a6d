//! A scripted registry and file server that is right in everything but what its rules say.
//!
//! It listens on two ports of loopback, which are two hosts to a client: the registry, and another one that redirects and
//! locations can lead to and that must never see a credential. Every request is recorded.
//!
//! ```
//! use std::{io::{Read, Write}, net::TcpStream};
//! use testkit::faulty::{Answer, At, Faulty, Setup, on};
//!
//! let server = Faulty::start(Setup { rules: vec![on("GET", "/files/a").first(1).gives(Answer::new(503))], ..Setup::default() });
//! server.add_file("a", b"bytes");
//! for expected in ["HTTP/1.1 503", "HTTP/1.1 200"] {
//!     let mut stream = TcpStream::connect(server.host(At::Registry)).unwrap();
//!     stream.write_all(b"GET /files/a HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
//!     let mut status = [0; 12];
//!     stream.read_exact(&mut status).unwrap();
//!     assert_eq!(status, expected.as_bytes());
//! }
//! assert_eq!(server.seen().len(), 2);
//! ```

use std::{
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    process::Command,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::registry::{Certificate, Keeper, free_port};

mod content;
mod http;

pub use content::{Auth, Content, IDENTITY, TOKEN, digest};
pub use http::{Answer, Request, Wire};

/// One of the two hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// The registry that a reference names.
    Registry,
    /// Another host, for redirects and locations.
    Elsewhere,
}

/// How a server begins.
#[derive(Default)]
pub struct Setup {
    /// What it asks of those who come.
    pub auth: Auth,
    /// Deviations, in order. The first that answers wins; every one that edits does.
    pub rules: Vec<Rule>,
    /// Pieces of an upload with more bytes than this are refused with this status.
    pub ceiling: Option<(usize, u16)>,
    /// Bytes a second of all bodies together.
    pub bytes_per_second: Option<u64>,
}

/// Which requests a rule is for.
pub struct On {
    method: &'static str,
    path: String,
    at: Option<At>,
    larger: Option<u64>,
    times: std::ops::Range<usize>,
}

/// A rule for requests of a method (empty: any) whose path and query hold a text.
pub fn on(method: &'static str, path: impl Into<String>) -> On {
    On { method, path: path.into(), at: None, larger: None, times: 0..usize::MAX }
}

impl On {
    /// The first so many of them alone.
    #[must_use]
    pub fn first(self, count: usize) -> Self {
        Self { times: 0..count, ..self }
    }

    /// One of them alone, counted from zero.
    #[must_use]
    pub fn nth(self, at: usize) -> Self {
        Self { times: at..at + 1, ..self }
    }

    /// All but the first so many.
    #[must_use]
    pub fn after(self, count: usize) -> Self {
        Self { times: count..usize::MAX, ..self }
    }

    /// At one host alone.
    #[must_use]
    pub fn at(self, at: At) -> Self {
        Self { at: Some(at), ..self }
    }

    /// Those alone that announce more bytes than this, or do not say how many.
    #[must_use]
    pub fn larger_than(self, bytes: u64) -> Self {
        Self { larger: Some(bytes), ..self }
    }

    /// They get this answer, and nothing else happens.
    pub fn gives(self, answer: Answer) -> Rule {
        self.rule(Act::Give(answer))
    }

    /// They get the right answer, changed.
    pub fn edits(self, edit: impl Fn(&Request, Answer) -> Answer + Send + Sync + 'static) -> Rule {
        self.rule(Act::Edit(Box::new(edit)))
    }

    /// The connection is reset after so many bytes of the request's body, which an upload keeps.
    pub fn breaks_after(self, bytes: usize) -> Rule {
        self.rule(Act::Break(bytes))
    }

    /// The server does not read the body, and says nothing.
    pub fn never_reads(self) -> Rule {
        self.rule(Act::Deaf)
    }

    /// What the registry holds changes before it answers.
    pub fn changes(self, change: impl Fn(&mut Content) + Send + Sync + 'static) -> Rule {
        self.rule(Act::Change(Box::new(change)))
    }

    fn rule(self, act: Act) -> Rule {
        Rule { on: self, act, met: AtomicUsize::new(0) }
    }
}

type Edit = Box<dyn Fn(&Request, Answer) -> Answer + Send + Sync>;
type Change = Box<dyn Fn(&mut Content) + Send + Sync>;

enum Act {
    Give(Answer),
    Edit(Edit),
    Break(usize),
    Deaf,
    Change(Change),
}

/// One deviation.
pub struct Rule {
    on: On,
    act: Act,
    met: AtomicUsize,
}

impl Rule {
    /// Whether the rule is for this request; counts those that it could be for.
    fn meets(&self, request: &Request) -> bool {
        let fits = (self.on.method.is_empty() || self.on.method == request.method)
            && request.target.contains(&self.on.path)
            && self.on.at.is_none_or(|at| at == request.at)
            && self.on.larger.is_none_or(|least| request.announced().is_none_or(|length| length > least));
        fits && self.on.times.contains(&self.met.fetch_add(1, Ordering::SeqCst))
    }
}

/// A request that came.
#[derive(Debug, Clone)]
pub struct Seen {
    /// When, since the server's start.
    pub time: Duration,
    /// The request; bodies over a mebibyte are left out.
    pub request: Request,
    /// Bytes of the body.
    pub length: usize,
    /// `sha256:…` of the body.
    pub digest: String,
    /// Status of the answer; zero if there was none.
    pub status: u16,
}

/// What went over the wire.
#[derive(Debug)]
struct Meter {
    stop: AtomicBool,
    sent: AtomicU64,
    received: AtomicU64,
    bytes_per_second: Option<u64>,
    /// When the next byte is due.
    due: Mutex<Instant>,
}

impl Meter {
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    fn sent(&self, count: usize) {
        self.sent.fetch_add(count as u64, Ordering::SeqCst);
        self.wait(count);
    }

    fn received(&self, count: usize) {
        self.received.fetch_add(count as u64, Ordering::SeqCst);
        self.wait(count);
    }

    fn wait(&self, count: usize) {
        let Some(rate) = self.bytes_per_second else { return };
        let due = {
            let mut due = lock(&self.due);
            *due = (*due).max(Instant::now()) + Duration::from_nanos(count as u64 * 1_000_000_000 / rate.max(1));
            *due
        };
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
}

struct Shared {
    content: Mutex<Content>,
    rules: Vec<Rule>,
    hosts: [String; 2],
    meter: Meter,
    seen: Mutex<Vec<Seen>>,
    open: Mutex<Vec<TcpStream>>,
    /// Count of requests that are being answered.
    busy: AtomicUsize,
    start: Instant,
}

/// A running server; dropped, it ends and closes every connection.
pub struct Faulty {
    shared: Arc<Shared>,
    listeners: Vec<JoinHandle<()>>,
}

impl Faulty {
    /// Starts one.
    ///
    /// # Panics
    /// When loopback cannot be listened on.
    pub fn start(setup: Setup) -> Self {
        let sockets = [At::Registry, At::Elsewhere].map(|at| {
            let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
            (at, socket)
        });
        let hosts = [0, 1].map(|index: usize| sockets[index].1.local_addr().expect("an address").to_string());
        let meter = Meter {
            stop: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            bytes_per_second: setup.bytes_per_second,
            due: Mutex::new(Instant::now()),
        };
        let content = Content::new(setup.auth, setup.ceiling);
        let shared = Arc::new(Shared {
            content: Mutex::new(content),
            rules: setup.rules,
            hosts,
            meter,
            seen: Mutex::default(),
            open: Mutex::default(),
            busy: AtomicUsize::new(0),
            start: Instant::now(),
        });
        let listeners = sockets.into_iter().map(|(at, socket)| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || listen(&shared, at, &socket))
        });
        Self { listeners: listeners.collect(), shared }
    }

    /// `127.0.0.1:PORT` of one of the hosts.
    pub fn host(&self, at: At) -> String {
        self.shared.hosts[usize::from(at == At::Elsewhere)].clone()
    }

    /// Changes what the registry holds.
    pub fn content(&self) -> MutexGuard<'_, Content> {
        lock(&self.shared.content)
    }

    /// Adds a file at `/files/NAME` of both hosts.
    pub fn add_file(&self, name: &str, bytes: &[u8]) {
        self.content().add_file(name, bytes);
    }

    /// Every request so far.
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.shared.seen).clone()
    }

    /// Waits until no request is being answered: what a killed client sent has then come, and uploads keep still.
    ///
    /// # Panics
    /// When that takes longer than 20 seconds.
    #[track_caller]
    pub fn settle(&self) {
        let start = Instant::now();
        // Twice, because a connection may have been accepted and not yet read.
        for _ in 0..2 {
            std::thread::sleep(Duration::from_millis(20));
            while self.shared.busy.load(Ordering::SeqCst) > 0 {
                assert!(start.elapsed() < Duration::from_secs(20), "a request is never answered");
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }

    /// Forgets the requests and the counts of bytes.
    pub fn forget(&self) {
        lock(&self.shared.seen).clear();
        self.shared.meter.sent.store(0, Ordering::SeqCst);
        self.shared.meter.received.store(0, Ordering::SeqCst);
    }

    /// Bytes of bodies sent.
    pub fn sent(&self) -> u64 {
        self.shared.meter.sent.load(Ordering::SeqCst)
    }

    /// Bytes of bodies received.
    pub fn received(&self) -> u64 {
        self.shared.meter.received.load(Ordering::SeqCst)
    }

    /// Where one of these texts came that must not: any of them at the other host; at the registry in an address, and in
    /// any header but `Authorization`.
    pub fn leaks(&self, secrets: &[&str]) -> Vec<String> {
        let mut leaks = Vec::new();
        for Seen { request, .. } in self.seen() {
            let mut open = format!("{} {}\n", request.method, request.target);
            for (name, value) in &request.headers {
                if request.at == At::Elsewhere || !name.eq_ignore_ascii_case("authorization") {
                    open += &format!("{name}: {value}\n");
                }
            }
            // A form of OAuth 2 carries credentials to the token server by design.
            if request.at == At::Elsewhere || request.path() != "/token" {
                open += &String::from_utf8_lossy(&request.body);
            }
            for secret in secrets.iter().filter(|secret| open.contains(**secret)) {
                leaks.push(format!("{secret} at {:?}: {} {}", request.at, request.method, request.target));
            }
        }
        leaks
    }
}

impl Drop for Faulty {
    fn drop(&mut self) {
        self.shared.meter.stop.store(true, Ordering::SeqCst);
        for host in &self.shared.hosts {
            let _ = TcpStream::connect(host);
        }
        for listener in self.listeners.drain(..) {
            let _ = listener.join();
        }
        for stream in lock(&self.shared.open).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn listen(shared: &Arc<Shared>, at: At, socket: &TcpListener) {
    for stream in socket.incoming() {
        if shared.meter.stopped() {
            return;
        }
        let Ok(stream) = stream else { continue };
        let _ = stream.set_nodelay(true);
        if let Ok(second) = stream.try_clone() {
            lock(&shared.open).push(second);
        }
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            let mut connection =
                http::Connection { stream: &stream, at, hosts: &shared.hosts, meter: &shared.meter, held: false };
            while let Ok(Some(request)) = connection.head() {
                shared.busy.fetch_add(1, Ordering::SeqCst);
                let served = serve(&shared, &mut connection, request);
                shared.busy.fetch_sub(1, Ordering::SeqCst);
                if !matches!(served, Ok(true)) {
                    break;
                }
            }
            // With unread bytes in it, closing the socket resets the connection.
            let held = connection.held;
            let peer = stream.peer_addr().ok();
            if !held {
                let _ = stream.shutdown(Shutdown::Both);
            }
            lock(&shared.open).retain(|other| other.peer_addr().is_ok_and(|other| Some(other) != peer));
        });
    }
}

/// Answers one request. `true`: the connection goes on.
fn serve(shared: &Shared, connection: &mut http::Connection<'_>, mut request: Request) -> std::io::Result<bool> {
    let rules: Vec<&Rule> = shared.rules.iter().filter(|rule| rule.meets(&request)).collect();
    let at = {
        let mut seen = lock(&shared.seen);
        let time = shared.start.elapsed();
        seen.push(Seen { time, request: request.clone(), length: 0, digest: String::new(), status: 0 });
        seen.len() - 1
    };
    let note = |request: &Request, status: u16| {
        if let Some(seen) = lock(&shared.seen).get_mut(at) {
            (seen.length, seen.digest, seen.status) = (request.body.len(), digest(&request.body), status);
            if request.body.len() <= 1 << 20 {
                seen.request.body.clone_from(&request.body);
            }
        }
    };
    for rule in &rules {
        match rule.act {
            Act::Break(bytes) => {
                connection.body(&mut request, bytes)?;
                lock(&shared.content).keep(&request);
                note(&request, 0);
                // Bytes that nobody read make a RST of the end.
                connection.held = true;
                return Ok(false);
            }
            Act::Deaf => {
                connection.send(&request, &Answer::new(200).wire(Wire::Stall(None)))?;
                return Ok(false);
            }
            _ => {}
        }
    }
    let read = connection.body(&mut request, usize::MAX);
    if let Err(error) = read {
        lock(&shared.content).keep(&request);
        note(&request, 0);
        return Err(error);
    }
    let given =
        rules.iter().find_map(|rule| if let Act::Give(answer) = &rule.act { Some(answer.clone()) } else { None });
    let mut answer = given.unwrap_or_else(|| {
        let mut content = lock(&shared.content);
        for rule in &rules {
            if let Act::Change(change) = &rule.act {
                change(&mut content);
            }
        }
        content.answer(&request)
    });
    for rule in &rules {
        if let Act::Edit(edit) = &rule.act {
            answer = edit(&request, answer);
        }
    }
    note(&request, answer.status);
    connection.send(&request, &answer)
}

/// TLS in front of a server that has none: `https://127.0.0.1:PORT` with a certificate of its own authority. Ends when
/// dropped.
pub struct TlsFront {
    _keeper: Keeper,
    port: u16,
    certificate: Certificate,
    _folder: TempDir,
}

impl TlsFront {
    /// Starts one. `None` when a program is missing, as [`crate::tool`].
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    pub fn start(behind: &str) -> Option<Self> {
        const PROGRAM: &str = r#"
import socket, ssl, sys, threading
port, behind, certificate, key = int(sys.argv[1]), sys.argv[2].split(":"), sys.argv[3], sys.argv[4]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
def copy(a, b):
    try:
        while data := a.recv(65536):
            b.sendall(data)
    except OSError:
        pass
    for end in (a, b):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
def serve(plain):
    try:
        client = context.wrap_socket(plain, server_side=True)
        server = socket.create_connection((behind[0], int(behind[1])))
    except OSError:
        return
    threading.Thread(target=copy, args=(client, server), daemon=True).start()
    copy(server, client)
listener = socket.create_server(("127.0.0.1", port))
print("listening", flush=True)
while True:
    plain, _ = listener.accept()
    threading.Thread(target=serve, args=(plain,), daemon=True).start()
"#;
        let python = crate::tool("python3")?;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let certificate = Certificate::make(folder.path())?;
        for _ in 0..8 {
            let port = free_port();
            let mut command = Command::new(&python);
            command.args(["-c", PROGRAM, &port.to_string(), behind]).arg(&certificate.file).arg(&certificate.key);
            let log = folder.path().join("log");
            let keeper = Keeper::start(&command, &log);
            if keeper.says(&log, "listening", "Error") {
                return Some(Self { _keeper: keeper, port, certificate, _folder: folder });
            }
        }
        panic!("the TLS front finds no port")
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The certificate of the authority, PEM.
    pub fn ca_file(&self) -> std::path::PathBuf {
        self.certificate.ca.clone()
    }
}
