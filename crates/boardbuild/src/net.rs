//! The network as a build may use it.

use std::path::PathBuf;

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
    /// Token that GitHub gives to workflows, for `ghcr.io`.
    pub github_token: Option<transfer::Secret>,
}

/// The network, opened when it is first needed.
#[derive(Debug)]
pub struct Network {
    options: NetworkOptions,
}

impl Network {
    /// The network with these options; nothing is opened yet.
    pub fn new(options: NetworkOptions) -> Self {
        Self { options }
    }

    /// What it was opened with.
    pub fn options(&self) -> &NetworkOptions {
        &self.options
    }
}
