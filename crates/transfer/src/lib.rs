//! Bytes over HTTP that arrive whole or not at all.
//!
//! [`Transport`] is the one seam between protocols and the network: a request goes in, the head of an answer and a reader
//! for its body come out. It follows no redirect, repeats nothing and adds no credential; what is built on it does.
//!
//! [`Net`] is built on it: [`exchange`](Net::exchange) sends one request until its final answer, [`get`](Net::get)
//! downloads a file from its mirrors.
//!
#![cfg_attr(feature = "engine", doc = "```")]
#![cfg_attr(not(feature = "engine"), doc = "```ignore")]
//! use std::sync::Arc;
//! use imgcore::{Digest, NoProgress};
//! use transfer::{Anonymous, Engine, EngineOptions, Get, Have, Net, RealPace};
//!
//! # use std::{io::{Read as _, Write as _}, net::TcpListener};
//! # let listener = TcpListener::bind("127.0.0.1:0")?;
//! # let mirror = format!("http://{}/loader.bin", listener.local_addr()?).parse()?;
//! # std::thread::spawn(move || {
//! #     let (mut stream, _) = listener.accept().expect("a client");
//! #     let _ = stream.read(&mut [0; 4096]);
//! #     let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
//! # });
//! let options = EngineOptions { plain_http: vec!["127.0.0.1".into()], ..EngineOptions::default() };
//! let tell = |why: &str, time| eprintln!("{why}, in {time:.1?}");
//! let net = Net::new(Arc::new(Engine::new(options)?), Arc::new(RealPace::new(Arc::new(|| false), Arc::new(tell))));
//! let wanted = Get { url: vec![mirror], size: Some(5), digest: Some(Digest::of(b"hello")), limit: 1 << 30 };
//! let mut sink = Vec::new();
//! let got = net.get(&wanted, &Anonymous, Have::default(), &mut sink, &NoProgress, "hello")?;
//! assert_eq!((got.size, sink.as_slice()), (5, &b"hello"[..]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Guarantees
//!
//! - `Ok` from [`get`](Net::get) means: size and SHA-256 are as wanted.
//! - A credential goes to the scheme, host and port that the request was made for, whatever redirects say. A [`Secret`] is
//!   printed by nothing in this crate and reaches no URL; a server's text that repeats it is cleaned.
//! - No TLS only to hosts that were named; no redirect leads off TLS to another.
//! - A server that is silent, or gives less than 1 KiB/s, ends within a minute, all tries included. A pause that a server
//!   asks for (`Retry-After`) is at most ten minutes and is told before it begins. The user can stop at any time.
//! - Memory: less than 4 MiB a transfer, whatever its size.
//! - No panic on any answer; time and chance come from outside ([`Pace`]).
//! - `unsafe` is forbidden.
//!
//! # Features
//!
//! `engine`: [`Engine`], on `reqwest`. `rustls` (default): the engine with the cryptography that `reqwest` ships;
//! `rustls-no-provider`: with the one that the program installs. Without features there is the protocol logic over a
//! [`Transport`] of one's own.

mod access;
mod address;
#[cfg(feature = "engine")]
mod engine;
mod error;
mod exchange;
mod explain;
mod fields;
mod get;
mod pace;
mod rate;
mod redirect;
mod retry;
mod secret;
mod transport;

pub use access::{Access, Anonymous};
pub use address::{host, host_is_listed, same_origin, shown};
#[cfg(feature = "engine")]
pub use engine::{Engine, EngineOptions};
pub use error::{Error, ErrorKind};
pub use exchange::{Net, check};
pub use explain::clean;
pub use fields::{ContentRange, http_date, retry_after};
pub use get::{Get, Got, Have, Sink};
pub use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
pub use pace::{Cancel, Pace, RealPace};
pub use rate::RateLimit;
pub use redirect::location;
pub use retry::{Budget, Policy, is_transient};
pub use secret::Secret;
pub use transport::{Body, Request, Response, Trail, Transport};
pub use url::Url;
