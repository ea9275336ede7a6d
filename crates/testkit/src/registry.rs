//! A real registry on loopback: Debian's `docker-registry`, with and without passwords, with and without TLS.

use std::{
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use crate::{run, tool};

/// What a registry asks of those who come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Everybody, without TLS.
    Plain,
    /// [`USER`] and [`PASSWORD`] by `htpasswd`, without TLS.
    Password,
    /// Everybody, over TLS with a certificate of its own authority.
    Tls,
    /// [`USER`] and [`PASSWORD`], over TLS.
    TlsPassword,
}

impl Door {
    /// Whether it speaks TLS.
    pub fn has_tls(self) -> bool {
        matches!(self, Self::Tls | Self::TlsPassword)
    }

    /// Whether it asks for a password.
    pub fn has_password(self) -> bool {
        matches!(self, Self::Password | Self::TlsPassword)
    }
}

/// Who may enter a registry with a password.
pub const USER: &str = "keeper";
/// The password. Nothing prints it, so that a test can search for it everywhere.
pub const PASSWORD: &str = "canary-4f1f0a-hunter2";

/// A running `docker-registry`; dropped, it ends and its files go.
pub struct Registry {
    _keeper: Keeper,
    folder: TempDir,
    door: Door,
    port: u16,
}

impl Registry {
    /// Starts one and waits until it answers. `None` when the programs are missing, as [`tool`].
    ///
    /// # Panics
    /// When it does not start, or as [`tool`].
    #[track_caller]
    pub fn start(door: Door) -> Option<Self> {
        let program = tool("docker-registry")?;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = |name: &str| folder.path().join(name);
        let mut doors = String::new();
        if door.has_tls() {
            let pair = Certificate::make(&path("tls"))?;
            doors += &format!("  tls:\n    certificate: {}\n    key: {}\n", pair.file.display(), pair.key.display());
        }
        if door.has_password() {
            let line = run(Command::new(tool("htpasswd")?).args(["-Bbn", USER, PASSWORD]));
            std::fs::write(path("htpasswd"), line.trim_end()).expect("a file of passwords");
            doors += &format!("auth:\n  htpasswd:\n    realm: testkit\n    path: {}\n", path("htpasswd").display());
        }
        // A port that was free a moment ago can be taken by another test; then the registry ends at once.
        for _ in 0..8 {
            let port = free_port();
            let config = format!(
                "version: 0.1\nlog:\n  level: info\nstorage:\n  filesystem:\n    rootdirectory: {}\n  delete:\n    \
                 enabled: true\nhttp:\n  addr: 127.0.0.1:{port}\n  secret: testkit\n{doors}",
                path("storage").display()
            );
            std::fs::write(path("config.yml"), config).expect("a configuration");
            let mut command = Command::new(&program);
            command.arg("serve").arg(path("config.yml"));
            let keeper = Keeper::start(&command, &path("log"));
            if keeper.says(&path("log"), &format!("listening on 127.0.0.1:{port}"), "address already in use") {
                return Some(Self { _keeper: keeper, folder, door, port });
            }
        }
        panic!("docker-registry finds no port")
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What it asks of those who come.
    pub fn door(&self) -> Door {
        self.door
    }

    /// The certificate of the authority that signed the registry's, PEM.
    pub fn ca_file(&self) -> PathBuf {
        self.certificates().join("ca.crt")
    }

    /// A folder with that certificate alone, for `skopeo --cert-dir`.
    pub fn certificates(&self) -> PathBuf {
        self.folder.path().join("tls/trust")
    }

    /// The folder that holds what was pushed, in the registry's own form (`docker/registry/v2/…`).
    pub fn storage(&self) -> PathBuf {
        self.folder.path().join("storage")
    }

    /// The folder of a `config.json` (`DOCKER_CONFIG`) that holds user and password for this registry, made on the first call.
    pub fn docker_config(&self) -> PathBuf {
        let folder = self.folder.path().join("docker");
        write_docker_config(&folder, &self.host(), USER, PASSWORD);
        folder
    }

    /// What it logged: a line a request.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&crate::read(self.folder.path().join("log"))).into_owned()
    }
}

/// Writes `folder/config.json` with a user and a password for one registry, in Docker's form.
///
/// # Panics
/// When it cannot be written.
pub fn write_docker_config(folder: &Path, host: &str, user: &str, password: &str) {
    std::fs::create_dir_all(folder).expect("a folder");
    let text = format!(r#"{{"auths": {{"{host}": {{"auth": "{}"}}}}}}"#, base64(&format!("{user}:{password}")));
    std::fs::write(folder.join("config.json"), text).expect("a configuration");
}

/// Base64 with padding (RFC 4648 section 4), as `Authorization: Basic` and `config.json` hold it.
pub fn base64(text: &str) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in text.as_bytes().chunks(3) {
        let word = three.iter().fold(0_usize, |word, byte| word << 8 | usize::from(*byte)) << (8 * (3 - three.len()));
        for at in 0..4 {
            let letter = LETTERS[word >> (18 - 6 * at) & 63] as char;
            out.push(if at <= three.len() { letter } else { '=' });
        }
    }
    out
}

/// A certificate for `127.0.0.1` and `localhost`, signed by an authority of its own.
pub struct Certificate {
    /// The server's certificate, PEM.
    pub file: PathBuf,
    /// Its key, PEM.
    pub key: PathBuf,
    /// The authority's certificate, PEM.
    pub ca: PathBuf,
}

impl Certificate {
    /// Makes one in a folder, with the authority's certificate as `trust/ca.crt`.
    ///
    /// # Panics
    /// As [`run`] and [`tool`].
    pub fn make(folder: &Path) -> Option<Self> {
        let openssl = tool("openssl")?;
        let path = |name: &str| folder.join(name);
        std::fs::create_dir_all(path("trust")).expect("a folder");
        let made = Self { file: path("server.crt"), key: path("server.key"), ca: path("trust/ca.crt") };
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
        let mut authority = Command::new(&openssl);
        authority.args(["req", "-x509", "-days", "30", "-subj", "/CN=testkit"]).args(key);
        authority.args(["-addext", "keyUsage=critical,keyCertSign,cRLSign"]);
        run(authority.arg("-keyout").arg(path("ca.key")).arg("-out").arg(&made.ca));
        let mut asked = Command::new(&openssl);
        asked.args(["req", "-subj", "/CN=localhost"]).args(key);
        run(asked.arg("-keyout").arg(&made.key).arg("-out").arg(path("server.csr")));
        let extensions =
            "basicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\nsubjectAltName=IP:127.0.0.1,DNS:localhost\n";
        std::fs::write(path("server.ext"), extensions).expect("extensions");
        let mut signed = Command::new(&openssl);
        signed.args(["x509", "-req", "-days", "30", "-CAcreateserial", "-in"]).arg(path("server.csr"));
        signed.arg("-CA").arg(&made.ca).arg("-CAkey").arg(path("ca.key")).arg("-extfile").arg(path("server.ext"));
        run(signed.arg("-out").arg(&made.file));
        Some(made)
    }
}

/// A server program that ends when this is dropped, and when the test itself is killed: a shell holds it until its
/// standard input closes.
pub(crate) struct Keeper(Child);

impl Keeper {
    /// Starts a command with both outputs in a file.
    pub(crate) fn start(command: &Command, log: &Path) -> Self {
        let log = std::fs::File::create(log).expect("a log");
        let mut shell = Command::new("sh");
        shell.args([
            "-c",
            r#""$@" & pid=$!; while read -r _; do :; done; kill -9 $pid; wait $pid 2>/dev/null"#,
            "keeper",
        ]);
        shell.arg(command.get_program()).args(command.get_args());
        shell.stdin(Stdio::piped()).stdout(log.try_clone().expect("a log")).stderr(log);
        Self(shell.spawn().expect("a shell"))
    }

    /// Waits until the log holds `ready`; `false` if it holds `failed` first.
    ///
    /// # Panics
    /// When neither comes within 30 seconds.
    #[track_caller]
    pub(crate) fn says(&self, log: &Path, ready: &str, failed: &str) -> bool {
        let start = Instant::now();
        loop {
            let text = String::from_utf8_lossy(&crate::read(log)).into_owned();
            if text.contains(ready) || text.contains(failed) {
                return text.contains(ready);
            }
            assert!(start.elapsed() < Duration::from_secs(30), "the server does not start\n{text}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

/// A port that nobody listens on at this moment.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
    listener.local_addr().expect("an address").port()
}
