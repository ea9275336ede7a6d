//! The network as it is opened: an engine, a clock, credentials.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use fs_err as fs;
use imgcore::Finding;
use ocipack::registry::{Chain, Client, Credentials, Docker, GithubToken, Options, Places};
use transfer::{Net, RealPace};

use super::{Network, failed};
use crate::error::{Error, Exit, Result};

/// Where `docker login` and `podman login` keep credentials, by what the environment says: first asked first.
pub fn auth_files(variable: impl Fn(&str) -> Option<PathBuf>) -> Vec<PathBuf> {
    let names = ["REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "HOME"];
    let [registry_auth_file, docker_config, runtime_dir, config_home, home] = names.map(variable);
    let places = Places {
        registry_auth_file: registry_auth_file.as_deref(),
        docker_config: docker_config.as_deref(),
        runtime_dir: runtime_dir.as_deref(),
        config_home: config_home.as_deref(),
        home: home.as_deref(),
    };
    places.files()
}

impl Network {
    /// What sends, opened at the first call.
    ///
    /// # Errors
    /// `NET007` when the network is forbidden, `NET008` when certificates cannot be read.
    pub fn net(&self) -> Result<&Net> {
        self.allowed("something is needed from the network")?;
        if let Some(net) = self.net.get() {
            return Ok(net);
        }
        let net = self.open()?;
        Ok(self.net.get_or_init(|| net))
    }

    /// What speaks to registries, opened at the first call.
    ///
    /// # Errors
    /// As [`net`](Self::net), and `NET008` for credentials that cannot be read.
    pub fn client(&self) -> Result<&Client> {
        let net = self.net()?;
        if let Some(client) = self.client.get() {
            return Ok(client);
        }
        let options = Options {
            plain_http: self.options.plain_http.clone(),
            mirrors: self.options.mirrors.iter().filter(|(from, _)| !from.contains("://")).cloned().collect(),
            ..Options::default()
        };
        let client = Client::new(net.clone(), Arc::new(self.credentials()?), options);
        Ok(self.client.get_or_init(|| client))
    }

    /// What was logged in to; the token of a workflow where nothing else is known.
    fn credentials(&self) -> Result<Chain> {
        let mut chain: Vec<Arc<dyn Credentials>> = Vec::new();
        for path in self.options.auth_files.iter().filter(|path| path.is_file()) {
            let docker = Docker::parse(path.display().to_string(), &readable(path)?);
            chain.push(Arc::new(docker.map_err(|error| failed(&error, "credentials"))?));
        }
        if let Some(token) = &self.options.github_token {
            chain.push(Arc::new(GithubToken(token.clone())));
        }
        Ok(Chain(chain))
    }

    fn open(&self) -> Result<Net> {
        let cancel = self.cancel.clone().unwrap_or_else(|| Arc::new(|| false));
        let tell = self.tell.clone().unwrap_or_else(|| Arc::new(|_: &str, _: Duration| {}));
        let engine = transfer::Engine::new(transfer::EngineOptions {
            plain_http: self.options.plain_http.clone(),
            ca_file: self.options.ca_file.as_deref().map(readable).transpose()?,
            user_agent: concat!("talos-rk/", env!("CARGO_PKG_VERSION")).to_owned(),
            cancel: Arc::clone(&cancel),
            ..transfer::EngineOptions::default()
        });
        let engine = engine.map_err(|error| failed(&error, "the network"))?;
        let mut net = Net::new(Arc::new(engine), Arc::new(RealPace::new(cancel, tell)));
        net.policy.tries = self.tries.unwrap_or(net.policy.tries);
        Ok(net)
    }
}

/// A small file of the user's.
fn readable(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| {
        let help = "give the path of a file that may be read, or take it out of the configuration";
        Error::new(Exit::Io, Finding::error("NET008", error.to_string()).help(help))
    })
}
