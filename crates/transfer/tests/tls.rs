//! TLS, with certificates that openssl makes, and HTTP/2 from a server that is not ours.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test stops where its helpers do")]

mod common;

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use bytes::Bytes;
use common::{get, options, script::kind};
use imgcore::{Blob, Digest, NoProgress};
use tempfile::TempDir;
use tokio_rustls::{
    TlsAcceptor,
    rustls::{
        ServerConfig,
        crypto::aws_lc_rs,
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    },
};
use transfer::{
    Anonymous, Body, Engine, EngineOptions, ErrorKind, Get, Have, HeaderValue, Method, Net, RealPace, Request,
    Transport as _, Url, header,
};

/// An authority, and three certificates of it.
struct Authority {
    folder: TempDir,
    openssl: PathBuf,
}

impl Authority {
    fn new() -> Option<Self> {
        let openssl = testkit::tool("openssl")?;
        let this = Self { folder: tempfile::tempdir().unwrap(), openssl };
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        this.run(
            &[
                &["req", "-x509", "-subj", "/CN=test authority", "-days", "2", "-keyout", "ca.key", "-out", "ca.pem"],
                &key[..],
            ]
            .concat(),
        );
        this.run(&[&["req", "-subj", "/CN=server", "-keyout", "server.key", "-out", "server.csr"], &key[..]].concat());
        for (name, days, host) in
            [("good", "2", "IP:127.0.0.1"), ("old", "-1", "IP:127.0.0.1"), ("other", "2", "DNS:other.example")]
        {
            std::fs::write(this.path("extensions"), format!("subjectAltName={host}\n")).unwrap();
            let out = format!("{name}.pem");
            this.run(&[
                "x509",
                "-req",
                "-in",
                "server.csr",
                "-CA",
                "ca.pem",
                "-CAkey",
                "ca.key",
                "-CAcreateserial",
                "-days",
                days,
                "-extfile",
                "extensions",
                "-out",
                &out,
            ]);
        }
        Some(this)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, arguments: &[&str]) {
        let output = Command::new(&self.openssl).args(arguments).current_dir(self.folder.path()).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn engine(&self) -> Engine {
        Engine::new(EngineOptions { ca_file: Some(std::fs::read(self.path("ca.pem")).unwrap()), ..options() }).unwrap()
    }

    /// openssl's own server, which gives the files of its folder.
    fn serve(&self, certificate: &str, folder: &Path) -> Oracle {
        let mut child = Command::new(&self.openssl)
            .args(["s_server", "-accept", "127.0.0.1:0", "-WWW", "-cert"])
            .arg(self.path(certificate))
            .arg("-key")
            .arg(self.path("server.key"))
            .current_dir(folder)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.find_map(|line| line.unwrap().strip_prefix("ACCEPT ").map(str::to_owned)).unwrap();
        let port = line.rsplit(':').next().unwrap().to_owned();
        thread::spawn(move || lines.for_each(drop));
        Oracle { child, port }
    }
}

struct Oracle {
    child: Child,
    port: String,
}

impl Oracle {
    fn url(&self, path: &str) -> Url {
        format!("https://127.0.0.1:{}{path}", self.port).parse().unwrap()
    }
}

impl Drop for Oracle {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn certificates_are_judged_and_the_reason_is_said() {
    let Some(authority) = Authority::new() else { return };
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("f"), b"over TLS\n").unwrap();
    let strangers = Engine::new(options()).unwrap();
    for (certificate, engine, expected) in [
        ("good.pem", authority.engine(), None),
        ("good.pem", strangers, Some("CA file")),
        ("old.pem", authority.engine(), Some("expired")),
        ("other.pem", authority.engine(), Some("for another host")),
    ] {
        let server = authority.serve(certificate, folder.path());
        match (engine.send(get(server.url("/f?token=canary"))), expected) {
            (Ok(_), None) => {
                let answer = engine.send(get(server.url("/f"))).unwrap();
                assert_eq!(answer.read(&server.url("/f"), 100).unwrap(), b"over TLS\n");
            }
            (Err(error), Some(expected)) => {
                assert!(matches!(error.kind(), ErrorKind::Tls { .. }), "{certificate}: {error:?}");
                assert!(error.to_string().contains(expected), "{certificate}: {error}");
                assert!(!format!("{error:?}").contains("canary"));
            }
            (other, _) => panic!("{certificate}: {other:?}, expected {expected:?}"),
        }
    }
}

#[test]
fn the_two_ports_are_not_mixed_up_in_silence() {
    let Some(authority) = Authority::new() else { return };
    // As servers do that get a first byte of TLS where they expect a method.
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/", plain.local_addr().unwrap()).parse().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = plain.accept().unwrap();
        stream.read_exact(&mut [0; 8]).unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n").unwrap();
        thread::sleep(Duration::from_millis(300));
    });
    let error = authority.engine().send(get(url)).unwrap_err();
    assert!(error.to_string().contains("does not speak TLS"), "{error}");

    let server = authority.serve("good.pem", authority.folder.path());
    let url = format!("http://127.0.0.1:{}/", server.port).parse().unwrap();
    let error = authority.engine().send(get(url)).unwrap_err();
    assert!(["Protocol", "Connect", "Timeout"].contains(&kind(&error).as_str()), "{error}");
}

#[test]
fn a_ca_file_that_is_none_is_said_at_once() {
    for bytes in [
        &b""[..],
        b"hello",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\n",
    ] {
        let error = Engine::new(EngineOptions { ca_file: Some(bytes.to_vec()), ..options() }).unwrap_err();
        assert_eq!(kind(&error), "Setup", "{error}");
        assert!(error.to_string().starts_with("the CA file: "), "{error}");
    }
}

/// HTTP/2 over TLS. `/file` gives a megabyte, `/cut` half of it, `/echo` says how many bytes of which length came,
/// `/early` refuses before it reads.
fn h2_server(authority: &Authority) -> u16 {
    let certificate = CertificateDer::from_pem_file(authority.path("good.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(authority.path("server.key")).unwrap();
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (to, from) = mpsc::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            to.send(listener.local_addr().unwrap().port()).unwrap();
            while let Ok((stream, _)) = listener.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let mut connection = h2::server::handshake(stream).await.unwrap();
                    while let Some(Ok((request, respond))) = connection.accept().await {
                        tokio::spawn(answer(request, respond));
                    }
                });
            }
        });
    });
    from.recv().unwrap()
}

async fn answer(request: http::Request<h2::RecvStream>, mut respond: h2::server::SendResponse<Bytes>) {
    let path = request.uri().path().to_owned();
    let head = |status: u16| http::Response::builder().status(status);
    match path.as_str() {
        "/early" => {
            respond.send_response(head(413).body(()).unwrap(), true).unwrap();
            // The server of this crate would forget the answer with the reset.
            tokio::time::sleep(Duration::from_millis(50)).await;
            respond.send_reset(h2::Reason::NO_ERROR);
        }
        "/echo" => {
            let length = request.headers().get("content-length").map(|value| value.to_str().unwrap().to_owned());
            let (mut body, mut count) = (request.into_body(), 0);
            while let Some(Ok(bytes)) = body.data().await {
                count += bytes.len();
                body.flow_control().release_capacity(bytes.len()).unwrap();
            }
            let mut stream = respond.send_response(head(200).body(()).unwrap(), false).unwrap();
            stream.send_data(format!("{count} of {length:?}").into(), true).unwrap();
        }
        "/silent" => std::future::pending().await,
        _ => {
            let ranged = request.headers().get("range").map(|range| range.to_str().unwrap().to_owned());
            let from: usize = ranged.as_deref().map_or(0, |range| range[6..range.len() - 1].parse().unwrap());
            let file = file();
            let mut answer = head(if ranged.is_some() { 206 } else { 200 }).header("etag", "\"v\"");
            if ranged.is_some() {
                answer = answer.header("content-range", format!("bytes {from}-{}/{}", file.len() - 1, file.len()));
            }
            let mut stream = respond.send_response(answer.body(()).unwrap(), false).unwrap();
            let until = if path == "/cut" && ranged.is_none() { file.len() / 2 } else { file.len() };
            for piece in file[from..until].chunks(10_000) {
                stream.reserve_capacity(piece.len());
                while stream.capacity() < piece.len() {
                    if std::future::poll_fn(|context| stream.poll_capacity(context)).await.is_none() {
                        return;
                    }
                }
                stream.send_data(Bytes::copy_from_slice(piece), false).unwrap();
            }
            if until < file.len() {
                tokio::time::sleep(Duration::from_millis(50)).await;
                stream.send_reset(h2::Reason::INTERNAL_ERROR);
            } else {
                stream.send_data(Bytes::new(), true).unwrap();
            }
        }
    }
}

fn file() -> Vec<u8> {
    (0..1_000_003_u32).map(|i| i.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect()
}

#[test]
fn http_2_carries_both_ways() {
    let Some(authority) = Authority::new() else { return };
    let port = h2_server(&authority);
    let url = |path: &str| format!("https://127.0.0.1:{port}{path}").parse::<Url>().unwrap();
    let net = Net::new(Arc::new(authority.engine()), Arc::new(RealPace::quiet()));
    let file = file();
    for (path, requests) in [("/file", 1), ("/cut", 2)] {
        let get = Get {
            url: vec![url(path)],
            size: Some(file.len() as u64),
            digest: Some(Digest::of(&file)),
            limit: 1 << 30,
        };
        let mut sink = Vec::new();
        let got = net.get(&get, &Anonymous, Have::default(), &mut sink, &NoProgress, "f").unwrap();
        assert!(sink == file);
        assert_eq!(got.requests, requests, "{path}");
    }
    let big = Blob::from_bytes("layer", vec![3; 5 << 20]);
    for (body, expected) in [
        (Body::Blob(big.clone()), "5242880 of Some(\"5242880\")"),
        (Body::Bytes(b"abc".to_vec()), "3 of Some(\"3\")"),
        (Body::Empty, "0 of Some(\"0\")"),
    ] {
        let request = Request::new(Method::PATCH, url("/echo"))
            .header(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"))
            .body(body);
        let answer = net.exchange(request, &Anonymous).unwrap();
        assert_eq!(String::from_utf8(answer.read(&url("/echo"), 100).unwrap()).unwrap(), expected);
    }
    let answer = net.exchange(Request::new(Method::PUT, url("/early")).body(Body::Blob(big)), &Anonymous).unwrap();
    assert_eq!(answer.status, 413);
    let error = net.once(&get(url("/silent")), &Anonymous).unwrap_err();
    assert_eq!(kind(&error), "Timeout");
}
