//! Who we are at a registry: Docker's `config.json`, podman's `auth.json`, credential helpers, a token of GitHub.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    time::Duration,
};

use docker_credential::{CredentialRetrievalError as Failure, DockerCredential};
use serde::Deserialize;
use transfer::{Error, ErrorKind, Secret};

/// A helper may ask a person, but not for ever; `docker_credential` itself waits without end.
const HELPER_TIME: Duration = Duration::from_secs(30);

/// What `docker login` writes for Docker Hub, and what helpers know it by.
const HUB_KEY: &str = "https://index.docker.io/v1/";

/// Finds credentials. It is asked for the registry that is really spoken to, not for the one that a mirror stands for.
pub trait Credentials: Send + Sync {
    /// What is known for a repository of a registry (`host[:port]`, `docker.io` for Docker Hub), `None` for nothing.
    ///
    /// # Errors
    /// When a configuration or a helper is broken. The error holds no credential.
    fn find(&self, registry: &str, repository: &str) -> Result<Option<Credential>, Error>;
}

/// How to prove who we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// A user and a password, or a token that stands for one.
    Basic {
        /// User.
        user: String,
        /// Password.
        password: Secret,
    },
    /// An OAuth2 refresh token, as `docker login` keeps it for Azure.
    IdentityToken(Secret),
}

/// Nobody in particular.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoCredentials;

impl Credentials for NoCredentials {
    fn find(&self, _registry: &str, _repository: &str) -> Result<Option<Credential>, Error> {
        Ok(None)
    }
}

/// `GITHUB_TOKEN`, for `ghcr.io` and no other host.
#[derive(Debug, Clone)]
pub struct GithubToken(pub Secret);

impl Credentials for GithubToken {
    fn find(&self, registry: &str, _repository: &str) -> Result<Option<Credential>, Error> {
        // GitHub looks at the token alone; the user is the one that its own documentation uses.
        let credential = Credential::Basic { user: "x-access-token".to_owned(), password: self.0.clone() };
        Ok((registry == "ghcr.io").then_some(credential))
    }
}

/// The first that knows anything.
#[derive(Clone, Default)]
pub struct Chain(pub Vec<Arc<dyn Credentials>>);

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chain({})", self.0.len())
    }
}

impl Credentials for Chain {
    fn find(&self, registry: &str, repository: &str) -> Result<Option<Credential>, Error> {
        for credentials in &self.0 {
            if let Some(credential) = credentials.find(registry, repository)? {
                return Ok(Some(credential));
            }
        }
        Ok(None)
    }
}

/// Where the environment says that credentials may lie; each value is that of the variable.
#[derive(Debug, Clone, Copy, Default)]
pub struct Places<'a> {
    /// `REGISTRY_AUTH_FILE`, of podman and skopeo.
    pub registry_auth_file: Option<&'a Path>,
    /// `DOCKER_CONFIG`, a folder.
    pub docker_config: Option<&'a Path>,
    /// `XDG_RUNTIME_DIR`.
    pub runtime_dir: Option<&'a Path>,
    /// `XDG_CONFIG_HOME`.
    pub config_home: Option<&'a Path>,
    /// `HOME`.
    pub home: Option<&'a Path>,
}

impl Places<'_> {
    /// The files to read into [`Docker`], first asked first; most of them are not there. What a variable names
    /// explicitly comes first, then Docker's, then podman's (containers-auth.json(5)).
    ///
    /// ```
    /// use std::path::Path;
    /// let places = ocipack::registry::Places { home: Some(Path::new("/home/me")), ..Default::default() };
    /// assert_eq!(places.files()[0], Path::new("/home/me/.docker/config.json"));
    /// ```
    pub fn files(&self) -> Vec<PathBuf> {
        let docker = self.docker_config.map(Path::to_path_buf).or_else(|| self.home.map(|home| home.join(".docker")));
        let config = self.config_home.map(Path::to_path_buf).or_else(|| self.home.map(|home| home.join(".config")));
        let auth = |folder: &Path| folder.join("containers/auth.json");
        let explicit = self.registry_auth_file.map(Path::to_path_buf);
        explicit
            .into_iter()
            .chain(docker.map(|folder| folder.join("config.json")))
            .chain(self.runtime_dir.map(auth))
            .chain(config.as_deref().map(auth))
            .collect()
    }
}

/// A `config.json` of Docker or an `auth.json` of podman.
///
/// A key that names a path (`host/owner/name`, podman's) goes before the host's own; an exact key before one with a
/// scheme or a path of Docker's; a helper for the host before all of them, the general store after them. Programs get
/// the host on their standard input and nothing in their arguments.
///
/// ```
/// use ocipack::registry::{Credential, Credentials, Docker};
/// let text = br#"{"auths": {"ghcr.io": {"auth": "bWU6c2VjcmV0"}}}"#;
/// let docker = Docker::parse("config.json", text)?;
/// assert!(matches!(docker.find("ghcr.io", "o/n")?, Some(Credential::Basic { user, .. }) if user == "me"));
/// assert_eq!(docker.find("example.com", "o/n")?, None);
/// # Ok::<(), transfer::Error>(())
/// ```
#[derive(Clone)]
pub struct Docker {
    label: String,
    config: Config,
    helper_time: Duration,
}

impl fmt::Debug for Docker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Docker({})", self.label)
    }
}

/// The parts that matter; a file of Docker holds much else.
#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Config {
    auths: Option<BTreeMap<String, Option<Auth>>>,
    cred_helpers: Option<BTreeMap<String, String>>,
    creds_store: Option<String>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
#[allow(clippy::struct_field_names, reason = "the names of the file")]
struct Auth {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

impl Auth {
    /// The entry alone, as `docker_credential` reads it. It takes empty texts for credentials and refuses an entry whose
    /// `auth` and `username` differ, where Docker believes `auth`; `None` if nothing is in it.
    fn alone(&self, key: &str) -> Option<serde_json::Value> {
        let full = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let entry = match (full(&self.identitytoken), full(&self.auth), full(&self.username), &self.password) {
            (Some(token), ..) => serde_json::json!({ "identitytoken": token }),
            (None, Some(auth), ..) => serde_json::json!({ "auth": auth }),
            (None, None, Some(user), Some(password)) => serde_json::json!({ "username": user, "password": password }),
            _ => return None,
        };
        Some(serde_json::json!({ "auths": { key: entry } }))
    }
}

impl Docker {
    /// Reads a configuration; `label` is what errors call it, its path.
    ///
    /// # Errors
    /// [`ErrorKind::Setup`] when it is no JSON of that form.
    pub fn parse(label: impl Into<String>, bytes: &[u8]) -> Result<Self, Error> {
        let label = label.into();
        // The file of a login that was never made is empty.
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self { label, config: Config::default(), helper_time: HELPER_TIME });
        }
        match serde_json::from_slice(bytes) {
            Ok(config) => Ok(Self { label, config, helper_time: HELPER_TIME }),
            // The text of serde's error may quote a value.
            Err(error) => Err(setup(
                &label,
                format!("line {}, column {}: no JSON as docker login writes it", error.line(), error.column()),
            )),
        }
    }

    fn helper(&self, name: &str, server: &str) -> Result<Option<Credential>, Error> {
        let program = format!("docker-credential-{name}");
        if name.contains(['/', '\\']) {
            return Err(setup(&self.label, "the name of a credential helper holds a slash".to_owned()));
        }
        let config = serde_json::json!({ "credHelpers": { server: name } }).to_string();
        let (sender, receiver) = mpsc::channel();
        let asked = server.to_owned();
        // A helper that hangs keeps its thread; nothing waits for it.
        std::thread::spawn(move || {
            let _ = sender.send(docker_credential::get_credential_from_reader(config.as_bytes(), &asked));
        });
        let answer = receiver.recv_timeout(self.helper_time).map_err(|_| {
            setup(&program, format!("no answer for {server} in {:?}: see what it waits for", self.helper_time))
        })?;
        match answer {
            Ok(credential) => Ok(Some(secret(credential))),
            // What all helpers of Docker print for a host that they do not know (docker-credential-helpers, `credentials/error.go`).
            Err(Failure::HelperFailure { stdout, stderr, .. })
                if [&stdout, &stderr].iter().any(|text| text.contains("credentials not found")) =>
            {
                Ok(None)
            }
            Err(Failure::HelperCommunicationError) => Err(setup(
                &program,
                format!(
                    "it cannot be started, and {} names it for {server}: install it or remove that line",
                    self.label
                ),
            )),
            Err(Failure::MalformedHelperResponse) => {
                Err(setup(&program, format!("its answer for {server} is no JSON")))
            }
            // What it printed is not shown: it may be the secret.
            Err(_) => {
                Err(setup(&program, format!("it fails for {server}: run `{program} get` with that on its input")))
            }
        }
    }

    fn entry(&self, registry: &str, repository: &str) -> Option<(&str, serde_json::Value)> {
        let auths = self.config.auths.as_ref()?;
        let entry = |key: &str| {
            let (key, auth) = auths.get_key_value(key)?;
            Some((key.as_str(), auth.as_ref()?.alone(key)?))
        };
        let hosts = aliases(registry);
        // `host/a/b`, `host/a`: most specific first.
        let mut path = repository;
        while !path.is_empty() {
            if let Some(found) = hosts.iter().find_map(|host| entry(&format!("{host}/{path}"))) {
                return Some(found);
            }
            path = path.rsplit_once('/').map_or("", |(front, _)| front);
        }
        hosts.iter().find_map(|host| entry(host)).or_else(|| {
            let same = |key: &str| hosts.contains(&host_of(key));
            auths.keys().filter(|key| same(key)).find_map(|key| entry(key))
        })
    }
}

impl Credentials for Docker {
    fn find(&self, registry: &str, repository: &str) -> Result<Option<Credential>, Error> {
        let hosts = aliases(registry);
        let helpers = self.config.cred_helpers.as_ref();
        let named = |host: &&str| helpers.and_then(|helpers| helpers.get(*host)).filter(|name| !name.is_empty());
        if let Some((host, name)) = hosts.iter().find_map(|host| Some((host, named(host)?))) {
            return self.helper(name, host);
        }
        if let Some((key, config)) = self.entry(registry, repository) {
            let found = docker_credential::get_credential_from_reader(config.to_string().as_bytes(), key);
            return found.map(|credential| Some(secret(credential))).map_err(|_| {
                setup(&self.label, format!("the entry {key} is no base64 of user:password: log in again"))
            });
        }
        match self.config.creds_store.as_deref().filter(|name| !name.is_empty()) {
            Some(store) => self.helper(store, hosts.first().copied().unwrap_or(registry)),
            None => Ok(None),
        }
    }
}

/// The names that one registry goes by in these files; the first is the one that helpers know.
fn aliases(registry: &str) -> Vec<&str> {
    match registry {
        "docker.io" | "index.docker.io" | "registry-1.docker.io" => {
            vec![HUB_KEY, "docker.io", "index.docker.io", "registry-1.docker.io"]
        }
        other => vec![other],
    }
}

/// The host of a key with a scheme: `https://host/v2/`. A key without one is a host, perhaps with a path that counts.
fn host_of(key: &str) -> &str {
    let rest = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://"));
    rest.map_or("", |rest| rest.split('/').next().unwrap_or_default())
}

fn secret(credential: DockerCredential) -> Credential {
    match credential {
        DockerCredential::IdentityToken(token) => Credential::IdentityToken(Secret::new(token)),
        // Old versions of Docker ended the password with a zero byte, and Docker itself cuts it off.
        DockerCredential::UsernamePassword(user, password) => {
            Credential::Basic { user, password: Secret::new(password.trim_matches('\0')) }
        }
    }
}

fn setup(what: &str, problem: String) -> Error {
    ErrorKind::Setup { what: what.to_owned(), problem }.into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used, clippy::unnecessary_wraps, clippy::arithmetic_side_effects)]

    use super::*;

    fn basic(user: &str, password: &str) -> Option<Credential> {
        Some(Credential::Basic { user: user.to_owned(), password: Secret::new(password) })
    }

    fn find(config: &serde_json::Value, registry: &str, repository: &str) -> Option<Credential> {
        let docker = Docker::parse("config.json", config.to_string().as_bytes()).expect("a configuration");
        docker.find(registry, repository).unwrap_or_else(|error| panic!("{registry}: {error}"))
    }

    #[test]
    fn the_most_specific_entry_wins() {
        // user:host, user:team, user:name, user:hub, user:scheme
        let config = serde_json::json!({ "auths": {
            "h.io": { "auth": "dXNlcjpob3N0" },
            "h.io/team": { "auth": "dXNlcjp0ZWFt" },
            "h.io/team/name": { "auth": "dXNlcjpuYW1l" },
            "h.io/empty": {},
            "https://index.docker.io/v1/": { "auth": "dXNlcjpodWI" },
            "https://s.io/v2/": { "auth": "dXNlcjpzY2hlbWU=" },
            "p.io:5000": { "username": "user", "password": "port" },
            "both.io": { "auth": "dXNlcjpob3N0", "username": "other", "password": "x", "identitytoken": "" },
            "token.io": { "auth": "dXNlcjpob3N0", "identitytoken": "refresh" },
            "null.io": null,
        }});
        for (registry, repository, expected) in [
            ("h.io", "other/name", basic("user", "host")),
            ("h.io", "team/other", basic("user", "team")),
            ("h.io", "teams/other", basic("user", "host")),
            ("h.io", "team/name", basic("user", "name")),
            ("h.io", "team/name/below", basic("user", "name")),
            ("h.io", "empty/x", basic("user", "host")),
            ("docker.io", "library/alpine", basic("user", "hub")),
            ("registry-1.docker.io", "library/alpine", basic("user", "hub")),
            ("s.io", "a", basic("user", "scheme")),
            ("p.io:5000", "a", basic("user", "port")),
            ("p.io", "a", None),
            ("p.io:5001", "a", None),
            ("both.io", "a", basic("user", "host")),
            ("token.io", "a", Some(Credential::IdentityToken(Secret::new("refresh")))),
            ("null.io", "a", None),
            ("evil-h.io", "a", None),
        ] {
            assert_eq!(find(&config, registry, repository), expected, "{registry}/{repository}");
        }
    }

    #[test]
    fn podman_keeps_docker_hub_under_its_short_name() {
        let config = serde_json::json!({ "auths": { "docker.io/mine": { "auth": "dXNlcjpodWI" } } });
        assert_eq!(find(&config, "docker.io", "mine/x"), basic("user", "hub"));
        assert_eq!(find(&config, "docker.io", "other/x"), None);
    }

    #[test]
    fn what_is_broken_is_told_without_its_content() {
        for text in ["{", "7", r#"{"auths": {"h.io": {"auth": 1, "canary": "canary"}}}"#, r#"{"auths": "canary"}"#] {
            let error = Docker::parse("/home/me/config.json", text.as_bytes()).expect_err(text).to_string();
            assert!(error.starts_with("/home/me/config.json: line") && !error.contains("canary"), "{error}");
        }
        let docker = Docker::parse("c", br#"{"auths": {"h.io": {"auth": "canary!"}}}"#).expect("JSON");
        let error = docker.find("h.io", "a").expect_err("no base64").to_string();
        assert_eq!(error, "c: the entry h.io is no base64 of user:password: log in again");
        assert!(Docker::parse("c", b" \n").expect("empty").find("h.io", "a").expect("empty").is_none());
        assert!(!format!("{docker:?}{:?}", basic("user", "canary")).contains("canary"));
    }

    #[test]
    fn an_absent_helper_is_named() {
        let config = br#"{"credHelpers": {"h.io": "talos-rk-absent"}, "credsStore": "talos-rk-absent"}"#;
        let docker = Docker::parse("c", config).expect("JSON");
        for registry in ["h.io", "docker.io"] {
            let error = docker.find(registry, "a").expect_err("absent").to_string();
            assert!(error.starts_with("docker-credential-talos-rk-absent: it cannot be started"), "{error}");
        }
        let climbing = Docker::parse("c", br#"{"credsStore": "../x"}"#).expect("JSON");
        assert!(climbing.find("h.io", "a").is_err());
    }

    #[test]
    fn a_token_of_github_goes_to_its_registry_only() {
        let token = GithubToken(Secret::new("t"));
        let first = Docker::parse("c", br#"{"auths": {"ghcr.io": {"auth": "dXNlcjpob3N0"}}}"#).expect("JSON");
        assert_eq!(token.find("ghcr.io", "a").ok().flatten(), basic("x-access-token", "t"));
        for other in ["docker.io", "ghcr.io.evil.com", "ghcr.io:444"] {
            assert_eq!(token.find(other, "a").ok().flatten(), None);
        }
        let chain = Chain(vec![Arc::new(first), Arc::new(token)]);
        assert_eq!(chain.find("ghcr.io", "a").ok().flatten(), basic("user", "host"));
    }

    /// Runs in a process of its own, whose `PATH` has the helper of the test below.
    #[test]
    fn helpers_in_a_process_of_their_own() {
        if std::env::var_os("OCIPACK_HELPERS").is_none() {
            return;
        }
        let config = br#"{"credHelpers": {"h.io": "own", "token.io": "own", "absent.io": "own", "broken.io": "own",
            "fails.io": "own", "slow.io": "own"}, "credsStore": "own"}"#;
        let mut docker = Docker::parse("c", config).expect("JSON");
        let found = |registry: &str| docker.find(registry, "a").unwrap_or_else(|error| panic!("{registry}: {error}"));
        assert_eq!(found("h.io"), basic("me", "canary"));
        assert_eq!(found("token.io"), Some(Credential::IdentityToken(Secret::new("canary"))));
        assert_eq!((found("absent.io"), found("other.io")), (None, None));
        assert_eq!(found("docker.io"), basic("hub", "canary"));
        docker.helper_time = Duration::from_millis(200);
        for (registry, problem) in [("broken.io", "no JSON"), ("fails.io", "it fails"), ("slow.io", "no answer")] {
            let error = docker.find(registry, "a").expect_err(registry).to_string();
            assert!(error.starts_with("docker-credential-own: ") && error.contains(problem), "{error}");
            assert!(!error.contains("canary"), "{error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn helpers_are_asked_on_their_input() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a folder");
        let helper = folder.path().join("docker-credential-own");
        // The whole command line is looked at: a host in it would be no secret, but a credential never gets there.
        let script = r#"#!/bin/sh
[ "$*" = get ] || exit 9
case "$(cat)" in
h.io) echo '{"ServerURL":"h.io","Username":"me","Secret":"canary"}' ;;
token.io) echo '{"Username":"<token>","Secret":"canary"}' ;;
https://index.docker.io/v1/) echo '{"Username":"hub","Secret":"canary"}' ;;
broken.io) echo 'canary' ;;
fails.io) echo 'canary'; echo 'canary' >&2; exit 1 ;;
slow.io) exec sleep 2 ;;
*) echo 'credentials not found in native keychain'; exit 1 ;;
esac
"#;
        #[allow(clippy::disallowed_methods, reason = "a test stops where its helpers do")]
        std::fs::write(&helper, script).expect("a script");
        std::fs::set_permissions(&helper, std::fs::Permissions::from_mode(0o755)).expect("a program");
        let path = std::env::var("PATH").unwrap_or_default();
        let mut child = std::process::Command::new(std::env::current_exe().expect("this program"));
        child.args(["--exact", "registry::credentials::tests::helpers_in_a_process_of_their_own", "--nocapture"]);
        child.env("OCIPACK_HELPERS", "1").env("PATH", format!("{}:{path}", folder.path().display()));
        assert!(testkit::run(&mut child).contains("1 passed"));
    }
}
