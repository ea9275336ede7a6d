//! Inputs from a server on loopback: fetched once, resumed, held to the lock, vendored.

#![allow(clippy::unwrap_used, reason = "a test stops where its helpers do")]
#![allow(clippy::disallowed_methods, reason = "tests write into their own temporary folders")]

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use boardbuild::{
    Context, Digest, Error, Exit, Home, Lock, Network, NetworkOptions, NoProgress, Request, Store, SupplyRequest,
};

/// Serves files, and cuts the first answer of a path after some bytes.
#[derive(Clone, Default)]
struct Files {
    bodies: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    cuts: Arc<Mutex<BTreeMap<String, usize>>>,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Files {
    fn start() -> (Self, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let files = Self::default();
        let server = files.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let server = server.clone();
                std::thread::spawn(move || server.answer(stream));
            }
        });
        (files, host)
    }

    fn put(&self, path: &str, bytes: &[u8]) {
        self.bodies.lock().unwrap().insert(path.to_owned(), bytes.to_vec());
    }

    fn requests(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }

    fn answer(&self, mut stream: TcpStream) -> Option<()> {
        let mut head = BufReader::new(stream.try_clone().ok()?);
        let (mut first, mut range) = (String::new(), None);
        head.read_line(&mut first).ok()?;
        loop {
            let mut line = String::new();
            head.read_line(&mut line).ok()?;
            let line = line.trim_end().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            if let Some(from) = line.strip_prefix("range: bytes=") {
                range = from.trim_end_matches('-').parse::<usize>().ok();
            }
        }
        let path = first.split(' ').nth(1)?.to_owned();
        self.requests.lock().unwrap().push(format!("{path} {}", range.unwrap_or(0)));
        let Some(body) = self.bodies.lock().unwrap().get(&path).cloned() else {
            write!(stream, "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").ok()?;
            return None;
        };
        let cut = self.cuts.lock().unwrap().remove(&path);
        let start = range.filter(|start| *start < body.len()).unwrap_or(0);
        let part = &body[start..];
        let (status, total) = (if start > 0 { "206 Partial Content" } else { "200 OK" }, body.len());
        write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {}\r\netag: \"v1\"\r\nconnection: close\r\n", part.len())
            .ok()?;
        if start > 0 {
            write!(stream, "content-range: bytes {start}-{}/{total}\r\n", total - 1).ok()?;
        }
        stream.write_all(b"\r\n").ok()?;
        stream.write_all(&part[..cut.unwrap_or(part.len()).min(part.len())]).ok()
    }
}

struct World {
    folder: tempfile::TempDir,
    home: Home,
    store: Store,
    host: String,
    files: Files,
}

impl World {
    /// A board `b` with the given sources for `idbloader` and `dtb`, and a base beside it.
    fn new(sources: impl FnOnce(&str) -> String) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (files, host) = Files::start();
        let boards = folder.path().join("boards");
        let base = folder.path().join("base/usr/install/arm64");
        fs::create_dir_all(&boards).unwrap();
        fs::create_dir_all(&base).unwrap();
        for name in ["vmlinuz", "initramfs.xz", "systemd-boot.efi", "systemd-stub.efi"] {
            fs::write(base.join(name), name).unwrap();
        }
        fs::write(boards.join("defaults.toml"), "talos = \"v1.10.6\"\nformat = [\"raw\"]\n").unwrap();
        fs::write(boards.join("sources.lock"), "version = 1\nepoch = 1\n").unwrap();
        let text = format!(
            "name = \"b\"\nsoc = \"rk3588s\"\nbase = \"dir:../base\"\n[dtb]\npath = \"rockchip/b.dtb\"\n[boot.mainline]\n\
             files = [{{ source = \"idbloader\", at-sector = 64 }}]\n{}",
            sources(&host)
        );
        fs::write(boards.join("b.toml"), text).unwrap();
        let store = Store::open(&folder.path().join("cache")).unwrap();
        let home = Home { root: folder.path().to_path_buf(), boards };
        Self { folder, home, store, host, files }
    }

    fn run<T>(&self, offline: bool, work: impl FnOnce(&Context<'_>) -> Result<T, Error>) -> Result<T, Error> {
        let options = NetworkOptions { offline, plain_http: vec![self.host.clone()], ..NetworkOptions::default() };
        let network = Network::new(options);
        work(&Context { home: &self.home, store: &self.store, network: &network, progress: &NoProgress })
    }

    fn fetch(&self, offline: bool, locked: bool) -> Result<Vec<boardbuild::Supplied>, Error> {
        self.run(offline, |context| boardbuild::fetch(&request(locked), context).map(|fetched| fetched.inputs))
    }

    fn lock(&self) -> Lock {
        Lock::read(&self.home.boards).unwrap()
    }
}

fn request(locked: bool) -> SupplyRequest {
    let mut build = Request::new("");
    build.locked = locked;
    SupplyRequest { boards: vec!["b".to_owned()], all: false, build }
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Error>, exit: Exit, code: &str, texts: &[&str]) {
    let error = result.unwrap_err();
    let text = error.to_string();
    assert_eq!(error.exit(), exit, "{text}");
    for part in texts.iter().copied().chain([code]) {
        assert!(text.contains(part), "expected {part}: {text}");
    }
}

/// A zip with one stored file.
fn zip(name: &str, data: &[u8]) -> Vec<u8> {
    let crc = {
        let mut crc = !0_u32;
        for byte in data {
            crc ^= u32::from(*byte);
            for _ in 0..8 {
                crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
            }
        }
        (!crc).to_le_bytes()
    };
    let size = u32::try_from(data.len()).unwrap().to_le_bytes();
    let length = u16::try_from(name.len()).unwrap().to_le_bytes();
    let common = [&[0_u8; 8][..], &crc, &size, &size, &length, &[0, 0]].concat();
    let mut out = [b"PK\x03\x04\x14\0", &common[..], name.as_bytes(), data].concat();
    let central = [b"PK\x01\x02\x14\x03\x14\0", &common[..], &[0; 14], name.as_bytes()].concat();
    let (at, size) = (u32::try_from(out.len()).unwrap(), u32::try_from(central.len()).unwrap());
    out.extend(
        [&central[..], b"PK\x05\x06\0\0\0\0\x01\0\x01\0", &size.to_le_bytes(), &at.to_le_bytes(), &[0, 0]].concat(),
    );
    out
}

fn two(host: &str) -> String {
    format!(
        "[sources.idbloader]\nurl = \"http://{host}/u-boot.zip\"\nmember = \"*/idbloader.img\"\nlicence = \"GPL-2.0+\"\n\
         [sources.dtb]\nurl = \"http://{host}/missing.dtb\"\nmirrors = [\"http://{host}/b.dtb\"]\n"
    )
}

fn filled() -> World {
    let world = World::new(two);
    world.files.put("/u-boot.zip", &zip("pkg/idbloader.img", &[7; 5000]));
    world.files.put("/b.dtb", &vec![9; 700_000]);
    world
}

#[test]
fn inputs_are_fetched_once_and_locked() {
    let world = filled();
    // Without the network all that is missing is named, with what to do.
    let texts = ["idbloader", "--source idbloader=idbloader.img", "dtb", "--source dtb="];
    refused(world.fetch(true, false), Exit::Input, "SRC003", &texts);
    refused(world.fetch(false, true), Exit::Input, "SRC004", &["idbloader"]);
    assert!(world.files.requests().is_empty());

    // The second address has what the first has not; a cut answer is gone on with.
    world.files.cuts.lock().unwrap().insert("/b.dtb".to_owned(), 300_000);
    let inputs = world.fetch(false, false).unwrap();
    let sizes: Vec<_> = inputs.iter().map(|input| (input.name.as_str(), input.size)).collect();
    assert_eq!(sizes[..2], [("dtb", 700_000), ("idbloader", 5000)]);
    let requests = world.files.requests();
    assert!(requests.iter().any(|request| request.starts_with("/b.dtb ") && request != "/b.dtb 0"), "{requests:?}");
    let lock = world.lock();
    let locked = lock.find("b", "idbloader").unwrap();
    assert_eq!((locked.sha256, locked.licence.as_deref()), (Digest::of(&[7; 5000]), Some("GPL-2.0+")));
    assert_eq!(locked.from.as_ref().map(|from| from.sha256), Some(Digest::of(&zip("pkg/idbloader.img", &[7; 5000]))));

    // Nothing is asked for or unpacked a second time, and neither network nor a fresh lock is needed.
    assert_eq!(world.fetch(true, true).unwrap(), inputs);
    assert!(world.files.requests().is_empty());
    assert_eq!(world.store.stats().unwrap().partial, 0);
}

#[test]
fn other_bytes_than_the_locked_ones_are_refused() {
    let world = filled();
    world.fetch(false, false).unwrap();
    world.store.collect().unwrap();
    world.files.put("/u-boot.zip", &zip("pkg/idbloader.img", &[8; 5000]));
    world.files.put("/b.dtb", &vec![8; 700_000]);
    let expected = Digest::of(&vec![9; 700_000]).to_string();
    refused(
        world.fetch(false, false),
        Exit::Input,
        "SRC002",
        &["dtb", &expected, &Digest::of(&vec![8; 700_000]).to_string()],
    );
    let stats = world.store.stats().unwrap();
    assert_eq!((stats.blobs, stats.partial_bytes), (0, 0), "what is proved wrong does not stay");
    // More bytes than locked, and fewer.
    for size in [700_001, 10] {
        world.files.put("/b.dtb", &vec![9; size]);
        refused(world.fetch(false, false), Exit::Input, "SRC002", &["dtb"]);
    }
    world.files.put("/u-boot.zip", &zip("pkg/idbloader.img", &[7; 5000]));
    world.files.put("/b.dtb", &vec![9; 700_000]);
    world.fetch(false, true).unwrap();
}

#[test]
fn another_archive_than_the_locked_one_is_not_parsed() {
    let text =
        "[sources.idbloader]\npath = \"../u-boot.zip\"\nmember = \"idbloader.img\"\n[sources.dtb]\npath = \"b.toml\"\n";
    let world = World::new(|_| text.to_owned());
    let (path, sound) = (world.folder.path().join("u-boot.zip"), zip("idbloader.img", b"sound"));
    fs::write(&path, &sound).unwrap();
    world.fetch(false, false).unwrap();
    // The same member in another archive, a hostile archive, and none at all: nothing of them is looked at.
    let mut other = zip("idbloader.img", b"sound");
    other.insert(0, b' ');
    for bytes in [other, zip("../x", b"y"), b"no archive".to_vec()] {
        fs::write(&path, &bytes).unwrap();
        world.store.collect().unwrap();
        let texts =
            ["idbloader", "the archive is not that", &Digest::of(&sound).to_string(), &Digest::of(&bytes).to_string()];
        refused(world.fetch(false, false), Exit::Input, "SRC002", &texts);
    }
    fs::write(&path, &sound).unwrap();
    world.fetch(true, true).unwrap();
}

#[test]
fn a_killed_run_is_gone_on_with() {
    let world = filled();
    world.fetch(false, false).unwrap();
    world.store.collect().unwrap();
    world.files.requests();
    let digest = Digest::of(&vec![9; 700_000]);
    let mut partial = world.store.receive(digest, &NoProgress).unwrap().unwrap();
    partial.write_all(&vec![9; 123_456]).unwrap();
    drop(partial);
    world.fetch(false, false).unwrap();
    let requests = world.files.requests();
    assert!(requests.contains(&"/b.dtb 123456".to_owned()), "{requests:?}");
    // A beginning that is wrong is found out, and the file comes whole.
    world.store.collect().unwrap();
    let mut partial = world.store.receive(digest, &NoProgress).unwrap().unwrap();
    partial.write_all(&[1; 1000]).unwrap();
    drop(partial);
    world.fetch(false, false).unwrap();
}

#[test]
fn failures_of_the_network_have_their_codes() {
    let world = World::new(|host| {
        format!(
            "[sources.idbloader]\nurl = \"http://{host}/none\"\n[sources.dtb]\nurl = \"http://{host}/none-either\"\n"
        )
    });
    refused(world.fetch(false, false), Exit::Input, "NET003", &["idbloader", "dtb"]);
    let world = World::new(|_| {
        "[sources.idbloader]\nurl = \"http://localhost:9/x\"\n[sources.dtb]\npath = \"b.toml\"\n".to_owned()
    });
    refused(world.fetch(false, false), Exit::Io, "NET006", &["--plain-http"]);
    let world = World::new(|host| {
        format!("[sources.idbloader]\nurl = \"http://{host}/f\"\nmember = \"x\"\n[sources.dtb]\npath = \"b.toml\"\n")
    });
    for (bytes, code) in [
        (zip("y", b"y"), "SRC006"),
        (zip("../x", b"y"), "SRC007"),
        (b"no archive".to_vec(), "SRC010"),
        (zip("x", b"y")[..50].to_vec(), "SRC010"),
    ] {
        world.files.put("/f", &bytes);
        world.store.collect().unwrap();
        refused(world.fetch(false, false), Exit::Input, code, &["idbloader"]);
    }
}

fn listing(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let (mut open, mut found) = (vec![folder.to_path_buf()], BTreeMap::new());
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                found.insert(path.clone(), fs::read(path).unwrap());
            }
        }
    }
    found
}

#[test]
fn a_vendored_folder_is_complete_and_stays_the_same() {
    let world = filled();
    let folder = world.folder.path().join("vendored");
    let vendor = |offline| world.run(offline, |context| boardbuild::vendor(&request(false), &folder, context));
    let first = vendor(false).unwrap();
    let there = listing(&folder);
    let names: Vec<_> = there.keys().map(|path| path.strip_prefix(&folder).unwrap().display().to_string()).collect();
    let expected = [
        "LICENCES.txt",
        "SHA256SUMS",
        "b/dtb.dtb",
        "b/idbloader.img",
        "sources.toml",
        "usr/install/arm64/initramfs.xz",
        "usr/install/arm64/systemd-boot.efi",
        "usr/install/arm64/systemd-stub.efi",
        "usr/install/arm64/vmlinuz",
    ];
    assert_eq!(names, expected);
    assert_eq!(first.written.len(), expected.len());
    let options = &first.options[0].1;
    assert!(options[0].starts_with("--base dir:") && options.iter().any(|option| option.contains("idbloader=")));
    if let Some(program) = testkit::tool("sha256sum") {
        testkit::run(std::process::Command::new(program).args(["-c", "--quiet", "SHA256SUMS"]).current_dir(&folder));
    }
    // Again: nothing is written; after damage: that file alone.
    assert!(vendor(true).unwrap().written.is_empty());
    fs::write(folder.join("b/dtb.dtb"), "damaged").unwrap();
    assert_eq!(vendor(true).unwrap().written, ["b/dtb.dtb"]);
    assert_eq!(listing(&folder), there);
    // The folder is a base and a set of sources: a build of them needs no network and no store.
    let mut build = Request::new("");
    build.base = Some(format!("dir:{}", folder.display()));
    for role in ["idbloader.img", "dtb.dtb"] {
        let name = role.split('.').next().unwrap();
        build.sources.insert(name.to_owned(), folder.join("b").join(role));
    }
    world.store.collect().unwrap();
    let again = SupplyRequest { boards: vec!["b".to_owned()], all: true, build };
    let inputs = world.run(true, |context| boardbuild::fetch(&again, context)).unwrap();
    assert_eq!(inputs.inputs.len(), 6);
}
