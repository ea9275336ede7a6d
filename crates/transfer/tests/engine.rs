//! The engine against servers that a few lines of `std::net` make.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test stops where its helpers do")]

mod common;

use std::{
    io::{self, Read as _, Write as _},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use common::{Server, engine, get, options};
use imgcore::{Blob, ReadAt};
use transfer::{Body, Engine, EngineOptions, ErrorKind, HeaderValue, Method, Request, Transport as _, header};

#[test]
fn a_request_arrives_as_it_was_meant() {
    let server = Server::start(|heard, stream| {
        let body = heard.body(stream);
        stream.write_all(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes()).unwrap();
        stream.write_all(&body).is_ok()
    });
    let engine = engine();
    let bytes: Vec<u8> = (0..1_000_000_u32).map(|i| (i / 251).to_le_bytes()[0]).collect();
    for (method, body, length) in [
        (Method::GET, Body::Empty, None),
        (Method::DELETE, Body::Empty, None),
        (Method::POST, Body::Empty, Some("0")),
        (Method::PUT, Body::Bytes(b"manifest".to_vec()), Some("8")),
        (Method::PUT, Body::Bytes(Vec::new()), Some("0")),
        (Method::PATCH, Body::Blob(Blob::from_bytes("layer", bytes.clone())), Some("1000000")),
        (Method::PATCH, Body::Blob(Blob::from_bytes("layer", bytes.clone()).slice(7..300_007)), Some("300000")),
        (Method::PUT, Body::Blob(Blob::from_bytes("nothing", Vec::new())), Some("0")),
    ] {
        let expected = match &body {
            Body::Empty => Vec::new(),
            Body::Bytes(bytes) => bytes.clone(),
            Body::Blob(blob) => blob.read_all(u64::MAX).unwrap(),
        };
        let request = Request::new(method.clone(), server.url("/v2/a?b=c"))
            .header(header::ACCEPT, HeaderValue::from_static("x/y"))
            .body(body);
        let mut answer = engine.send(request).unwrap();
        let mut received = Vec::new();
        answer.body.read_to_end(&mut received).unwrap();
        assert!(received == expected, "{method}");
        let heard = server.heard().pop().unwrap();
        assert_eq!(heard.line, format!("{method} /v2/a?b=c HTTP/1.1"));
        assert_eq!((heard.header("content-length"), heard.header("transfer-encoding")), (length, None), "{method}");
        assert_eq!((heard.header("accept"), heard.header("accept-encoding")), (Some("x/y"), None));
        assert!(heard.header("user-agent").unwrap().starts_with("transfer/"));
    }
}

#[test]
fn an_early_refusal_is_seen_while_a_large_body_is_still_sent() {
    for drain in [false, true] {
        let server = Server::start(move |_, stream| {
            stream.write_all(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig").unwrap();
            // As nginx: the answer is sent, then some of the rest is thrown away, then the connection is closed.
            let mut sink = vec![0; 1 << 16];
            let mut left = if drain { usize::MAX } else { 1 << 20 };
            while let Ok(count @ 1..) = stream.read(&mut sink) {
                left = left.saturating_sub(count);
                if left == 0 {
                    break;
                }
            }
            false
        });
        let engine = engine();
        let blob = Blob::from_bytes("layer", vec![7; 64 << 20]);
        for _ in 0..5 {
            let request = Request::new(Method::PATCH, server.url("/")).body(Body::Blob(blob.clone()));
            let answer = engine.send(request).unwrap();
            assert_eq!(answer.status, 413, "drain {drain}");
        }
    }
}

#[test]
fn silence_ends_in_time() {
    let wait = |_: &common::Heard, _: &mut std::net::TcpStream| {
        thread::sleep(Duration::from_secs(20));
        false
    };
    let server = Server::start(wait);
    let start = Instant::now();
    let error = engine().send(get(server.url("/"))).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Timeout { .. }), "{error}");
    // The server reads nothing of a body that no buffer of the kernel holds.
    let blob = Blob::from_bytes("layer", vec![7; 64 << 20]);
    let error = engine().send(Request::new(Method::PUT, server.url("/")).body(Body::Blob(blob))).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Timeout { .. }), "{error}");
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
}

#[test]
fn a_server_that_sips_is_too_slow() {
    let server = Server::start(|_, stream| {
        let mut drop = [0; 64];
        while stream.read(&mut drop).is_ok_and(|count| count > 0) {
            thread::sleep(Duration::from_millis(20));
        }
        false
    });
    let start = Instant::now();
    let blob = Blob::from_bytes("layer", vec![7; 64 << 20]);
    let error = engine().send(Request::new(Method::PUT, server.url("/")).body(Body::Blob(blob))).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Timeout { .. }), "{error}");
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
}

/// Says nothing for longer than the idle time, then gives its bytes.
struct Lazy;

impl ReadAt for Lazy {
    fn size(&self) -> u64 {
        1_000_000
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if offset == 0 {
            thread::sleep(Duration::from_millis(1200));
        }
        buffer.fill(1);
        Ok(buffer.len())
    }
}

/// Breaks in the middle.
struct Broken;

impl ReadAt for Broken {
    fn size(&self) -> u64 {
        10_000_000
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if offset > 5_000_000 { Err(io::Error::other("bad sector")) } else { Ok(buffer.len()) }
    }
}

#[test]
fn what_is_sent_may_be_slow_and_may_break() {
    let server = Server::start(|heard, stream| {
        let mut left: u64 = heard.header("content-length").unwrap().parse().unwrap();
        let mut sink = vec![0; 1 << 16];
        while left > 0 {
            match stream.read(&mut sink) {
                Ok(count @ 1..) => left -= count as u64,
                _ => return false,
            }
        }
        stream.write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n").is_ok()
    });
    let put = |blob| engine().send(Request::new(Method::PUT, server.url("/")).body(Body::Blob(blob)));
    assert_eq!(put(Blob::new("lazy", Arc::new(Lazy), None)).unwrap().status, 201);
    let error = put(Blob::new("a broken disk", Arc::new(Broken), None)).unwrap_err();
    assert_eq!(error.to_string(), "reading a broken disk: bad sector");
}

#[test]
fn the_user_can_stop_while_nothing_comes() {
    let server = Server::start(|heard, stream| {
        if heard.line.contains("/body") {
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc").unwrap();
        }
        thread::sleep(Duration::from_secs(20));
        false
    });
    for path in ["/head", "/body"] {
        let stop = Arc::new(AtomicBool::new(false));
        let (cancel, later) = (Arc::clone(&stop), Arc::clone(&stop));
        let options = EngineOptions {
            cancel: Arc::new(move || cancel.load(Ordering::Relaxed)),
            plain_http: vec!["127.0.0.1".to_owned()],
            ..EngineOptions::default()
        };
        let engine = Engine::new(options).unwrap();
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(150));
            later.store(true, Ordering::Relaxed);
        });
        let start = Instant::now();
        let error = match engine.send(get(server.url(path))) {
            Ok(answer) => answer.read(&server.url(path), 100).unwrap_err(),
            Err(error) => error,
        };
        assert!(error.is_cancelled(), "{path}: {error}");
        assert!(start.elapsed() < Duration::from_secs(2));
    }
}

#[test]
fn a_host_that_was_not_named_is_not_spoken_to_without_tls() {
    let server = Server::fixed("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let engine = Engine::new(EngineOptions { plain_http: vec!["localhost".to_owned()], ..options() }).unwrap();
    let error = engine.send(get(server.url("/"))).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Insecure { .. }), "{error}");
    assert!(server.heard().is_empty());
}
