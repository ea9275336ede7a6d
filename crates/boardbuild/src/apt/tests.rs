//! An archive on loopback, whole and broken.
#![allow(clippy::disallowed_methods, reason = "tests make folders of their own")]

use std::{
    fmt::Write as _,
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use imgcore::{Digest, NoProgress};

use super::{Found, find};
use crate::{Context, Exit, Home, Network, NetworkOptions, Store, board::Apt, error::Result};

/// Serves a folder and remembers what was asked for.
struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn new(folder: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let (folder, seen) = (folder.to_path_buf(), Arc::clone(&asked));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let first = lines.next().unwrap().unwrap();
                while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
                let path = first.split(' ').nth(1).unwrap().trim_start_matches('/').to_owned();
                seen.lock().unwrap().push(path.clone());
                let (status, body) = match std::fs::read(folder.join(&path)) {
                    Ok(body) => ("200 OK", body),
                    Err(_) => ("404 Not Found", Vec::new()),
                };
                let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
                let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body));
            }
        });
        Self { address, asked }
    }
}

struct Archive {
    home: tempfile::TempDir,
    server: Server,
}

const INDEX: &str = "Package: linux-u-boot-nanopi-m6\nVersion: 25.8.1\nArchitecture: arm64\n\
    Filename: pool/main/u/old.deb\nSize: 3\nSHA256: 1111111111111111111111111111111111111111111111111111111111111111\n\n\
    Package: linux-u-boot-nanopi-m6\nVersion: 25.11.0\nArchitecture: arm64\nFilename: pool/main/u/new.deb\nSize: 4\n\
    SHA256: 2222222222222222222222222222222222222222222222222222222222222222\n";

impl Archive {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let server = Server::new(home.path());
        Self { home, server }
    }

    fn path(&self, name: &str) -> PathBuf {
        let path = self.home.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    /// Writes indexes, and a release that names them.
    fn publish(&self, release: &str, by_hash: bool, indexes: &[(&str, Vec<u8>)]) {
        let mut text = format!("Origin: test\nAcquire-By-Hash: {}\nSHA256:\n", if by_hash { "yes" } else { "no" });
        for (name, bytes) in indexes {
            let path = format!("main/binary-arm64/{name}");
            let digest = Digest::of(bytes).hex();
            writeln!(text, " {digest} {} {path}", bytes.len()).unwrap();
            let place = if by_hash { format!("main/binary-arm64/by-hash/SHA256/{digest}") } else { path };
            std::fs::write(self.path(&format!("dists/trixie/{place}")), bytes).unwrap();
        }
        std::fs::write(self.path(&format!("dists/trixie/{release}")), text).unwrap();
    }

    fn find(&self, package: &str) -> Result<Found> {
        let store = tempfile::tempdir().unwrap();
        let opened = Store::open(store.path()).unwrap();
        let plain_http = vec![self.server.address.to_string()];
        let network = Network::new(NetworkOptions { plain_http, ..NetworkOptions::default() });
        let home = Home { root: store.path().to_path_buf(), boards: store.path().to_path_buf() };
        let context = Context { home: &home, store: &opened, network: &network, progress: &NoProgress };
        let apt = Apt {
            url: format!("http://{}/", self.server.address),
            suite: "trixie".to_owned(),
            component: "main".to_owned(),
            arch: "arm64".to_owned(),
            package: package.to_owned(),
        };
        find(&context, "u-boot", &apt)
    }
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn the_newest_package_is_found_in_every_form_of_an_archive() {
    let plain = ("Packages", INDEX.as_bytes().to_vec());
    let (xz, gz) = (("Packages.xz", xz(INDEX.as_bytes())), ("Packages.gz", gzip(INDEX.as_bytes())));
    for (release, by_hash, indexes) in [
        ("InRelease", true, vec![plain.clone(), gz.clone(), xz.clone()]),
        ("InRelease", false, vec![plain.clone(), gz.clone()]),
        ("Release", false, vec![plain]),
        ("Release", false, vec![xz]),
    ] {
        let archive = Archive::new();
        archive.publish(release, by_hash, &indexes);
        let found = archive.find("linux-u-boot-nanopi-m6").unwrap();
        assert_eq!((found.version.as_str(), found.size), ("25.11.0", 4));
        assert_eq!(found.sha256, Digest::from_raw([0x22; 32]));
        assert_eq!(found.url, format!("http://{}/pool/main/u/new.deb", archive.server.address));
        let asked = archive.server.asked.lock().unwrap();
        assert!(asked.iter().all(|path| !path.contains("//")), "{asked:?}");
    }
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let archive = Archive::new();
    archive.publish("InRelease", false, &[("Packages", INDEX.as_bytes().to_vec())]);
    let error = archive.find("linux-u-boot-nanopi-m5").unwrap_err();
    assert_eq!(error.exit(), Exit::Input);
    let text = error.to_string();
    assert!(text.contains("SRC024") && text.contains("the nearest name is linux-u-boot-nanopi-m6"), "{text}");

    // The index was replaced after the release was written.
    let index = "dists/trixie/main/binary-arm64/Packages";
    std::fs::write(archive.path(index), INDEX.replace("25.11.0", "26.11.0")).unwrap();
    let text = archive.find("linux-u-boot-nanopi-m6").unwrap_err().to_string();
    assert!(text.contains("SRC002"), "{text}");

    // Only the release decides which indexes there are.
    archive.publish("InRelease", false, &[]);
    let text = archive.find("linux-u-boot-nanopi-m6").unwrap_err().to_string();
    assert!(text.contains("SRC025") && text.contains("Packages.xz"), "{text}");

    for filename in ["../../etc/passwd", "/etc/passwd", "pool/a b", "pool/x?y", ""] {
        let archive = Archive::new();
        let index = INDEX.replace("pool/main/u/new.deb", filename);
        archive.publish("InRelease", false, &[("Packages", index.into_bytes())]);
        let text = archive.find("linux-u-boot-nanopi-m6").unwrap_err().to_string();
        assert!(text.contains("SRC025") && text.contains("no usable file name"), "{filename}: {text}");
    }

    let empty = Archive::new();
    let text = empty.find("linux-u-boot-nanopi-m6").unwrap_err().to_string();
    assert!(text.contains("NET003"), "{text}");
}
