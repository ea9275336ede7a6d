//! The network as a build may use it: opened when it is first needed, and never with `--offline`.
//!
//! ```
//! use boardbuild::{Exit, Network, NetworkOptions};
//!
//! let network = Network::new(NetworkOptions { offline: true, ..NetworkOptions::default() });
//! assert_eq!(network.allowed("https://example.org/u-boot.itb").unwrap_err().exit(), Exit::Input);
//! ```

mod failure;
mod open;

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use imgcore::Finding;
use ocipack::registry::Client;
use transfer::{Cancel, Net, Url};

pub use self::{failure::failed, open::auth_files};
use crate::{
    error::{Error, Exit, Result},
    lock::LockedImage,
};

/// What the command line and the environment decide about the network.
#[derive(Debug, Clone, Default)]
pub struct NetworkOptions {
    /// Whether the network is forbidden.
    pub offline: bool,
    /// Hosts, perhaps with a port, that may be spoken to without TLS.
    pub plain_http: Vec<String>,
    /// Certificates to trust besides the platform's, as PEM.
    pub ca_file: Option<PathBuf>,
    /// What is asked instead: a registry or the beginning of an address, and its replacement.
    pub mirrors: Vec<(String, String)>,
    /// Where logins to registries are kept, see [`auth_files`]; those that are not there do not matter.
    pub auth_files: Vec<PathBuf>,
    /// Token that GitHub gives to workflows, for `ghcr.io`.
    pub github_token: Option<transfer::Secret>,
}

/// The network, opened when it is first needed.
pub struct Network {
    options: NetworkOptions,
    cancel: Option<Cancel>,
    tell: Option<Tell>,
    net: OnceLock<Net>,
    client: OnceLock<Client>,
    /// How often something is tried that may fail without harm.
    tries: Option<u32>,
    /// What registries said of tags.
    said: Mutex<Vec<LockedImage>>,
}

/// Hears why it is waited, and how long.
type Tell = Arc<dyn Fn(&str, Duration) + Send + Sync>;

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Network {
    /// The network with these options; nothing is opened yet.
    pub fn new(options: NetworkOptions) -> Self {
        Self {
            options,
            cancel: None,
            tell: None,
            net: OnceLock::new(),
            client: OnceLock::new(),
            tries: None,
            said: Mutex::default(),
        }
    }

    /// Whether the user asked to stop: asked while something is waited for, from any thread.
    #[must_use]
    pub fn cancelled_by(mut self, cancel: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.cancel = Some(Arc::new(cancel));
        self
    }

    /// Who hears why the next try has to wait, and how long.
    #[must_use]
    pub fn telling(mut self, tell: impl Fn(&str, Duration) + Send + Sync + 'static) -> Self {
        self.tell = Some(Arc::new(tell));
        self
    }

    /// The same network for what is only worth one try: it does not wait for a server, and tells nobody.
    pub(crate) fn hasty(&self) -> Self {
        Self { cancel: self.cancel.clone(), tries: Some(1), ..Self::new(self.options.clone()) }
    }

    /// What it was opened with.
    pub fn options(&self) -> &NetworkOptions {
        &self.options
    }

    /// What a registry said of a reference earlier in this run.
    pub(crate) fn said(&self, reference: &str, platform: &str) -> Option<LockedImage> {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        said.iter().find(|image| image.reference == reference && image.platform == platform).cloned()
    }

    /// Keeps what a registry said for the rest of the run.
    pub(crate) fn remember(&self, image: LockedImage) {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).push(image);
    }

    /// Whether `what`, an address or a reference, may be asked for at all.
    ///
    /// # Errors
    /// [`Exit::Input`] with `NET007` when the network is forbidden.
    pub fn allowed(&self, what: &str) -> Result<()> {
        if !self.options.offline {
            return Ok(());
        }
        let finding = Finding::error("NET007", format!("{what}: not in the store, and --offline forbids to fetch it"))
            .help("leave --offline out, or run `cargo xtask fetch` where there is a network and bring the store along");
        Err(Error::new(Exit::Input, finding))
    }

    /// The address that is asked in place of `url`: the mirror with the longest matching beginning, else `url` itself.
    ///
    /// # Errors
    /// [`Exit::Usage`] when the text is no address, or becomes none.
    pub fn apply_mirrors(&self, url: &str) -> Result<Url> {
        let mirrors = self.options.mirrors.iter().filter(|(from, _)| from.contains("://"));
        let fitting = mirrors.filter_map(|(from, to)| Some((from.len(), to, rest(url, from)?)));
        let text = fitting
            .max_by_key(|(length, ..)| *length)
            .map_or_else(|| url.to_owned(), |(_, to, rest)| format!("{to}{rest}"));
        Url::parse(&text)
            .map_err(|error| Error::usage(format!("no address: {text}: {error}")).or_help("write https://HOST/PATH"))
    }
}

/// What follows `from` in `url`, if a part of the address ends there: `https://a.org` is no beginning of
/// `https://a.org.example/`.
fn rest<'a>(url: &'a str, from: &str) -> Option<&'a str> {
    let rest = url.strip_prefix(from)?;
    (from.ends_with('/') || rest.is_empty() || rest.starts_with(['/', '?'])).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(mirrors: &[(&str, &str)]) -> Network {
        let mirrors = mirrors.iter().map(|(from, to)| ((*from).to_owned(), (*to).to_owned())).collect();
        Network::new(NetworkOptions { mirrors, ..NetworkOptions::default() })
    }

    #[test]
    fn a_mirror_replaces_whole_parts_and_the_longest_wins() {
        let network = network(&[
            ("https://a.org", "https://m.org/a"),
            ("https://a.org/pool/", "http://m.org:81/pool/"),
            ("a.org", "registry.m.org"),
        ]);
        for (url, expected) in [
            ("https://a.org/x", "https://m.org/a/x"),
            ("https://a.org/pool/x", "http://m.org:81/pool/x"),
            ("https://a.org.example/x", "https://a.org.example/x"),
            ("https://b.org/https://a.org/x", "https://b.org/https://a.org/x"),
        ] {
            assert_eq!(network.apply_mirrors(url).unwrap().as_str(), expected);
        }
        assert_eq!(network.apply_mirrors("no address").unwrap_err().exit(), Exit::Usage);
    }

    #[test]
    fn offline_says_what_was_wanted_and_what_to_do() {
        let network = Network::new(NetworkOptions { offline: true, ..NetworkOptions::default() });
        let error = network.allowed("ghcr.io/x/y:1").unwrap_err();
        assert_eq!((error.exit(), error.report().iter().next().unwrap().code), (Exit::Input, "NET007"));
        assert!(error.to_string().contains("ghcr.io/x/y:1"), "{error}");
    }
}
