//! Downloads over real sockets, from servers that cut, lie, dawdle and shout.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test stops where its helpers do")]

mod common;

use std::{
    fmt::Write as _,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpStream,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use common::{Heard, Server, engine, get, net, script::kind};
use imgcore::{Digest, NoProgress};
use transfer::{Anonymous, Error, Get, Got, Have, Transport as _, Url};

const FILE: &[u8] = b"The bytes of a small file, forty-four of them";

fn wanted(url: Url, bytes: &[u8]) -> Get {
    Get { url: vec![url], size: Some(bytes.len() as u64), digest: Some(Digest::of(bytes)), limit: 1 << 30 }
}

fn fetch(get: &Get) -> (Result<Got, Error>, Vec<u8>) {
    let mut sink = Vec::new();
    let result = net().get(get, &Anonymous, Have::default(), &mut sink, &NoProgress, "a file");
    (result, sink)
}

/// A server that keeps to RFC 9110, but for what `cut` does to the first answer.
fn honest(file: &'static [u8], cut: impl Fn(&mut TcpStream, &str, &[u8]) + Send + Sync + 'static) -> Server {
    let first = AtomicUsize::new(0);
    Server::start(move |heard, stream| {
        let from = heard.range_start().unwrap_or(0);
        let mut head = format!("ETag: \"v\"\r\nContent-Length: {}\r\n", file.len() - from);
        let status = if heard.range_start().is_some() {
            assert_eq!(heard.header("if-range"), Some("\"v\""));
            write!(head, "Content-Range: bytes {from}-{}/{}\r\n", file.len() - 1, file.len()).unwrap();
            "206 Partial Content"
        } else {
            "200 OK"
        };
        let head = format!("HTTP/1.1 {status}\r\n{head}\r\n");
        if first.fetch_add(1, Ordering::Relaxed) == 0 {
            cut(stream, &head, file);
            return false;
        }
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&file[from..]).is_ok()
    })
}

#[test]
fn a_file_that_is_cut_at_any_byte_arrives_whole() {
    let length = "HTTP/1.1 200 OK\r\nETag: \"v\"\r\nContent-Length: 44\r\n\r\n".len();
    for came in 0..length + FILE.len() {
        let server = honest(FILE, move |stream, head, file| {
            let all = [head.as_bytes(), file].concat();
            stream.write_all(&all[..came]).unwrap();
        });
        let (result, sink) = fetch(&wanted(server.url("/f"), FILE));
        assert_eq!(
            result.map(|got| got.digest).map_err(|error| error.to_string()),
            Ok(Digest::of(FILE)),
            "byte {came}"
        );
        assert_eq!(sink, FILE);
        let heard = server.heard();
        assert_eq!(heard.len(), 2, "byte {came}");
        let expected = came.checked_sub(length).filter(|bytes| *bytes > 0);
        assert_eq!(heard[1].range_start(), expected, "byte {came}");
    }
}

#[test]
fn a_chunked_file_that_is_cut_anywhere_arrives_whole() {
    let mut chunked = Vec::new();
    for chunk in FILE.chunks(10) {
        chunked.extend(format!("{:x}\r\n", chunk.len()).as_bytes());
        chunked.extend(chunk);
        chunked.extend(b"\r\n");
    }
    chunked.extend(b"0\r\n\r\n");
    for came in (0..chunked.len()).step_by(3) {
        let chunked = chunked.clone();
        let server = honest(FILE, move |stream, _, _| {
            stream.write_all(b"HTTP/1.1 200 OK\r\nETag: \"v\"\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
            stream.write_all(&chunked[..came]).unwrap();
        });
        let (result, sink) = fetch(&wanted(server.url("/f"), FILE));
        assert!(result.is_ok() && sink == FILE, "byte {came}: {result:?}");
    }
}

/// One megabyte, so that more than one piece is under way.
fn large() -> &'static [u8] {
    let bytes: Vec<u8> = (0..1_000_003_u32).map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    bytes.leak()
}

#[test]
fn a_large_file_that_is_cut_at_a_few_hundred_places_arrives_whole() {
    let file = large();
    for came in (0..file.len()).step_by(9_973) {
        let server = honest(file, move |stream, head, file| {
            stream.write_all(head.as_bytes()).unwrap();
            stream.write_all(&file[..came]).unwrap();
        });
        let (result, sink) = fetch(&wanted(server.url("/f"), file));
        assert!(result.is_ok() && sink == file, "byte {came}: {result:?}");
    }
}

#[test]
fn servers_that_lie_or_dawdle_are_found_out_in_time() {
    fn text(status: &str, head: &str, body: &[u8]) -> Vec<u8> {
        [format!("HTTP/1.1 {status}\r\n{head}\r\n").as_bytes(), body].concat()
    }
    fn forever(head: &'static str, line: &'static [u8], pause: u64) -> Server {
        Server::start(move |_, stream| {
            let mut going = stream.write_all(head.as_bytes()).is_ok();
            while going {
                going = stream.write_all(line).is_ok();
                thread::sleep(Duration::from_millis(pause));
            }
            false
        })
    }
    let other = |status: &str, head: &str| Server::fixed(text(status, head, FILE));
    let length = format!("Content-Length: {}\r\n", FILE.len());
    for (name, server, expected) in [
        ("honest", other("200 OK", &length), "ok"),
        (
            "HTTP/1.0 to the end of the connection",
            Server::fixed([&b"HTTP/1.0 200 OK\r\n\r\n"[..], FILE].concat()),
            "ok",
        ),
        ("wrong length", other("200 OK", "Content-Length: 43\r\n"), "Size"),
        ("more than its length", other("200 OK", "Content-Length: 46\r\n"), "Size"),
        ("two lengths", other("200 OK", &format!("{length}Content-Length: 7\r\n")), "Protocol"),
        ("negative length", other("200 OK", "Content-Length: -1\r\n"), "Protocol"),
        ("packed", other("200 OK", &format!("{length}Content-Encoding: gzip\r\n")), "Protocol"),
        (
            "a part of nothing asked",
            other("206 Partial Content", &format!("{length}Content-Range: bytes 5-48/60\r\n")),
            "Protocol",
        ),
        ("an unknown success", other("299 Whatever", &length), "Protocol"),
        ("garbage", Server::fixed("SSH-2.0-OpenSSH_9.2p1\r\n\r\n"), "Protocol"),
        ("nothing at all", Server::fixed(""), "GivenUp"),
        ("half a head", Server::fixed("HTTP/1.1 200 OK\r\nContent-Le"), "GivenUp"),
        ("a head of many fields", Server::fixed(text("200 OK", &"x: y\r\n".repeat(10_000), FILE)), "Protocol"),
        ("a head without end", forever("HTTP/1.1 200 OK\r\n", &[b'a'; 1000], 0), "Protocol"),
        ("a body without end", forever("HTTP/1.1 200 OK\r\n\r\n", &[0; 1000], 0), "Size"),
        ("broken chunks", Server::fixed(text("200 OK", "Transfer-Encoding: chunked\r\n", b"zz\r\nabc")), "GivenUp"),
        (
            "a chunk of all memory",
            Server::fixed(text("200 OK", "Transfer-Encoding: chunked\r\n", b"fffffffffffffff0\r\nThe")),
            "GivenUp",
        ),
        ("a circle", Server::fixed("HTTP/1.1 302 Found\r\nLocation: /f\r\nContent-Length: 0\r\n\r\n"), "Protocol"),
        ("a head by drops", forever("HTTP/1.1 200 OK\r\n", b"x", 20), "GivenUp"),
        ("a body by drops", forever("HTTP/1.1 200 OK\r\nContent-Length: 45\r\n\r\n", b"", 50), "GivenUp"),
    ] {
        let start = Instant::now();
        let (result, sink) = fetch(&wanted(server.url("/f"), FILE));
        assert_eq!(result.as_ref().map_or_else(kind, |_| "ok".to_owned()), expected, "{name}: {result:?}");
        assert!(FILE.starts_with(&sink), "{name}: {sink:?}");
        assert!(start.elapsed() < Duration::from_secs(6), "{name}: {:?}", start.elapsed());
    }
}

#[test]
fn bytes_that_come_by_drops_are_too_slow() {
    let server = Server::start(|_, stream| {
        let mut going = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n").is_ok();
        while going {
            going = stream.write_all(b"x").is_ok();
            thread::sleep(Duration::from_millis(20));
        }
        false
    });
    let start = Instant::now();
    let answer = engine().send(get(server.url("/"))).unwrap();
    let error = answer.read(&server.url("/"), 2_000_000).unwrap_err();
    assert_eq!(kind(&error), "Timeout", "{error}");
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[test]
fn a_reader_that_dawdles_is_not_the_servers_fault() {
    let file = large();
    let server = honest(file, |stream, head, file| {
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(file).unwrap();
    });
    let mut answer = engine().send(get(server.url("/"))).unwrap();
    let mut first = [0; 10];
    std::io::Read::read_exact(&mut answer.body, &mut first).unwrap();
    // Longer than the idle time of the tests.
    thread::sleep(Duration::from_millis(1200));
    let rest = answer.read(&server.url("/"), 2_000_000).unwrap();
    assert_eq!(rest, &file[10..]);
}

#[test]
fn nobody_listens_and_nobody_has_that_name() {
    let free = Server::fixed("").port;
    // The port was free a moment ago, and nobody here takes port 1.
    for url in
        ["http://127.0.0.1:1/x?token=canary", "https://127.0.0.1:1/", "https://no-such-host.invalid/?token=canary"]
    {
        let error = engine().send(get(url.parse().unwrap())).unwrap_err();
        assert_eq!(kind(&error), "Connect", "{error:?}");
        assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    }
    assert_ne!(free, 1);
}

#[test]
fn a_connection_is_used_again_and_a_stale_one_does_no_harm() {
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    let server = Server::start(move |heard: &Heard, stream| {
        if heard.number == 0 {
            count.fetch_add(1, Ordering::Relaxed);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
        heard.number != 1
    });
    let engine = engine();
    for _ in 0..4 {
        assert_eq!(engine.send(get(server.url("/"))).unwrap().read(&server.url("/"), 10).unwrap(), b"ok");
        thread::sleep(Duration::from_millis(30));
    }
    assert_eq!(server.heard().len(), 4);
}

#[test]
fn the_body_outlives_the_engine() {
    let file = large();
    let server = honest(file, |stream, head, file| {
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(file).unwrap();
    });
    let engine = engine();
    let answer = engine.send(get(server.url("/"))).unwrap();
    drop(engine);
    assert_eq!(answer.read(&server.url("/"), 2_000_000).unwrap(), file);
}

struct Python(Child);

impl Drop for Python {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn pythons_server_gives_its_files() {
    let Some(python) = testkit::tool("python3") else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = large();
    std::fs::write(folder.path().join("large file.bin"), file).unwrap();
    std::fs::create_dir(folder.path().join("folder")).unwrap();
    std::fs::write(folder.path().join("folder/index.html"), FILE).unwrap();
    let mut child = Command::new(python)
        .args(["-u", "-m", "http.server", "--bind", "127.0.0.1", "0"])
        .current_dir(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let _child = Python(child);
    let port = line.split_whitespace().skip_while(|word| *word != "port").nth(1).unwrap().to_owned();
    let url = |path: &str| format!("http://127.0.0.1:{port}/{path}").parse::<Url>().unwrap();

    let (result, sink) = fetch(&wanted(url("large%20file.bin"), file));
    assert!(sink == file, "{result:?}");
    assert_eq!(result.unwrap().content_type.as_deref(), Some("application/octet-stream"));
    // A folder without its slash is redirected.
    assert!(fetch(&wanted(url("folder"), FILE)).0.is_ok());
    let error = fetch(&wanted(url("nothing"), FILE)).0.unwrap_err();
    assert!(error.to_string().contains("/nothing: not found"), "{error}");
    // It knows no ranges: a beginning is thrown away and all comes anew.
    let mut hasher = imgcore::Hasher::new();
    hasher.update(&file[..5]);
    let have = Have { offset: 5, hasher, validator: None };
    let mut sink = file[..5].to_vec();
    let get = wanted(url("large%20file.bin"), file);
    net().get(&get, &Anonymous, have, &mut sink, &NoProgress, "f").unwrap();
    assert!(sink == file);
}
