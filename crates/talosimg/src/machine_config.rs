//! Machine configurations that an image carries: whether a text is one, and which secrets are in it.
//!
//! An image with an embedded configuration is a file that many can read: it is built by a job of continuous
//! integration, pushed to a registry, passed on. A complete configuration, as `talosctl gen config` writes it, holds
//! the keys of its cluster.
//!
//! ```
//! use talosimg::machine_config;
//!
//! let text = "version: v1alpha1\nmachine:\n  token: 328hom.uqjzh6jnn2eie9oi\n  network: {hostname: m6}\n";
//! let secrets = machine_config::secrets(text)?;
//! assert_eq!(secrets[0].to_string(), "machine.token: the token with which machines join the cluster");
//! assert!(machine_config::secrets("apiVersion: v1\nkind: Pod\n").is_err());
//! # Ok::<(), talosimg::Error>(())
//! ```
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::fmt;

use imgcore::{Finding, Report, nearest};

use crate::{
    error::{Error, ErrorKind, Result},
    release::{self, Release},
    yaml::{self, Node, NodeKind},
};

mod search;
mod texts;

#[cfg(test)]
mod tests;

/// A secret in a machine configuration: where it stands and what it is, never its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    /// Index of the document, counted from 0.
    pub document: usize,
    /// The document's kind; `None` for the one of `machine` and `cluster`.
    pub kind: Option<String>,
    /// Path in the document: `machine.registries.config["ghcr.io"].auth.password`.
    pub path: String,
    /// What it is, in a few words.
    pub what: &'static str,
}

/// `machine.token: …`, and for documents with a kind `WireguardConfig (document 3), privateKey: …`.
impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(kind) = &self.kind {
            write!(f, "{kind} (document {}), ", self.document.saturating_add(1))?;
        }
        write!(f, "{}: {}", self.path, self.what)
    }
}

/// Keys of the document without a kind.
const ROOT_KEYS: &[&str] = &["version", "debug", "persist", "machine", "cluster"];

/// Kinds of documents up to Talos 1.13 (`pkg/machinery/config/types`).
const KINDS: &[&str] = &[
    "BlackholeRouteConfig",
    "BondConfig",
    "BridgeConfig",
    "DHCPv4Config",
    "DHCPv6Config",
    "DummyLinkConfig",
    "EnvironmentConfig",
    "EthernetConfig",
    "EventSinkConfig",
    "ExistingVolumeConfig",
    "ExtensionServiceConfig",
    "ExternalVolumeConfig",
    "HCloudVIPConfig",
    "HostnameConfig",
    "ImageVerificationConfig",
    "KmsgLogConfig",
    "KubeSpanConfig",
    "KubeSpanEndpointsConfig",
    "Layer2VIPConfig",
    "LinkAliasConfig",
    "LinkConfig",
    "NetworkDefaultActionConfig",
    "NetworkRuleConfig",
    "OOMConfig",
    "PCIDriverRebindConfig",
    "RawVolumeConfig",
    "RegistryAuthConfig",
    "RegistryMirrorConfig",
    "RegistryTLSConfig",
    "ResolverConfig",
    "RoutingRuleConfig",
    "SideroLinkConfig",
    "StaticHostConfig",
    "SwapVolumeConfig",
    "TCPProbeConfig",
    "TimeSyncConfig",
    "TrustedRootsConfig",
    "UserVolumeConfig",
    "VLANConfig",
    "VRFConfig",
    "VolumeConfig",
    "WatchdogTimerConfig",
    "WireguardConfig",
    "ZswapConfig",
];

/// The version of every document's form.
const API_VERSION: &str = "v1alpha1";

/// Checks a configuration that an image of this release is to carry.
///
/// `CFG001` names each secret, `CFG002` says that it is no machine configuration, `CFG003` that a kind is not known
/// here, `CFG004` that the release looks for no configuration in its image.
pub fn check(text: &[u8], row: &Release) -> Report {
    let mut report = Report::new();
    if !row.extensions.embedded_config {
        let (major, minor) = row.minor;
        let first = release::all().iter().find(|row| row.extensions.embedded_config).map(|row| row.minor);
        let later =
            first.map_or_else(String::new, |(major, minor)| format!("build for Talos {major}.{minor} or later, or "));
        report.push(
            Finding::error("CFG004", format!("Talos {major}.{minor} looks for no machine configuration in its image"))
                .help(format!("{later}give the configuration with talosctl apply-config")),
        );
    }
    let found = std::str::from_utf8(text).map_err(|_| refuse("it is not UTF-8")).and_then(documents);
    let documents = match found {
        Ok(documents) => documents,
        Err(error) => {
            report.push(Finding::error("CFG002", error.to_string()).help(
                "give a machine configuration, complete or a part of one, as `talosctl apply-config --file` takes it",
            ));
            return report;
        }
    };
    for kind in documents.iter().filter_map(|document| document.kind.as_deref()).filter(|kind| !KINDS.contains(kind)) {
        let near = nearest(kind, KINDS.iter().copied()).map_or(String::new(), |near| format!("; did you mean {near}?"));
        report.push(Finding::warning("CFG003", format!("a document of kind {kind:?} is not known here{near}")).help(
            "make sure that the release has it: a node refuses a configuration with a kind that it does not know",
        ));
    }
    for secret in documents.iter().flat_map(search::secrets) {
        report.push(Finding::error("CFG001", format!("there is a secret in the configuration: {secret}")).help(
            "take it out and give it later with talosctl apply-config, or allow the code where nobody else gets the image",
        ));
    }
    report
}

/// Every secret of a configuration, in the order of the text.
///
/// # Errors
/// No machine configuration: the message says what was expected.
pub fn secrets(text: &str) -> Result<Vec<Secret>> {
    Ok(documents(text)?.iter().flat_map(search::secrets).collect())
}

/// One document of a configuration.
struct Document {
    index: usize,
    kind: Option<String>,
    root: Node,
}

fn refuse(problem: impl fmt::Display) -> Error {
    ErrorKind::MachineConfig(format!("this is no machine configuration: {problem}")).into()
}

fn documents(text: &str) -> Result<Vec<Document>> {
    let mut documents = Vec::new();
    for (index, root) in yaml::nodes("machine configuration", text)?.into_iter().enumerate() {
        if root.is_null() {
            continue;
        }
        let place =
            |problem: String| refuse(format!("document {} (line {}) {problem}", index.saturating_add(1), root.line));
        if !matches!(root.kind, NodeKind::Map(_)) {
            return Err(place(
                "is no map; expected `version: v1alpha1` with `machine`, or documents with apiVersion and kind"
                    .to_owned(),
            ));
        }
        let kind = match (root.get("apiVersion"), root.get("kind")) {
            (None, None) => {
                whole(&root).map_err(place)?;
                None
            }
            (version, kind) => {
                let version = version.and_then(Node::text).unwrap_or_default();
                let Some(kind) = kind.and_then(Node::text) else {
                    return Err(place("has no kind".to_owned()));
                };
                if version != API_VERSION {
                    let words = format!(
                        "is of another apiVersion and kind ({} and {}); documents of Talos are of apiVersion {API_VERSION}. Manifests of \
                         Kubernetes go into cluster.inlineManifests",
                        shown(version),
                        shown(kind)
                    );
                    return Err(place(words));
                }
                Some(kind.to_owned())
            }
        };
        documents.push(Document { index, kind, root });
    }
    if documents.is_empty() {
        return Err(refuse(
            "there is nothing in it; expected `version: v1alpha1` with `machine`, or documents with apiVersion and kind",
        ));
    }
    if documents.iter().filter(|document| document.kind.is_none()).count() > 1 {
        return Err(refuse("there are two documents with `machine` or `cluster`; a node takes one"));
    }
    Ok(documents)
}

/// A word of a file that may be any file: what looks like a name is shown, what may be a secret is not.
fn shown(word: &str) -> String {
    let name = |byte: u8| byte.is_ascii_alphabetic() || b"-_./".contains(&byte);
    let versioned = word.strip_suffix(|last: char| last.is_ascii_digit()).unwrap_or(word);
    if word.len() <= 40 && versioned.bytes().all(name) { format!("{word:?}") } else { "not shown".to_owned() }
}

/// The document of `machine` and `cluster`.
fn whole(root: &Node) -> std::result::Result<(), String> {
    if let Some((key, _)) = root.entries().iter().find(|(key, _)| !ROOT_KEYS.contains(&key.as_str())) {
        let near =
            nearest(key, ROOT_KEYS.iter().copied()).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        return Err(format!(
            "has a key {}; expected {}, or apiVersion and kind{near}",
            shown(key),
            ROOT_KEYS.join(", ")
        ));
    }
    match root.get("version").map(Node::text) {
        Some(Some(API_VERSION)) => Ok(()),
        // A short word of this form is a version; anything else may be somebody's secret.
        Some(Some(version)) if version.starts_with('v') && version.len() <= 12 => {
            Err(format!("is of version {version:?}, expected {API_VERSION}"))
        }
        Some(_) => Err(format!("is of another version, expected {API_VERSION}")),
        None => Err(format!("has no version; expected `version: {API_VERSION}`")),
    }
}
