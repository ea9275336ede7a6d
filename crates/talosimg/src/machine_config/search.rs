//! Where secrets stand in a configuration, as the types of Talos have them (`RedactSecrets` and what it leaves out).

use super::{Document, Secret, texts};
use crate::yaml::{Node, NodeKind};

/// A place and what is there. `*` stands for any key or item.
type Rule = (&'static [&'static str], &'static str);

/// Places in the document of `machine` and `cluster`.
const WHOLE: &[Rule] = &[
    (&["machine", "token"], "the token with which machines join the cluster"),
    (&["machine", "ca", "key"], "the private key of the machines' authority"),
    (&["machine", "acceptedCAs", "*", "key"], "the private key of an authority"),
    (&["machine", "registries", "config", "*", "auth", "password"], "the password of a registry"),
    (&["machine", "registries", "config", "*", "auth", "auth"], "the credentials of a registry"),
    (&["machine", "registries", "config", "*", "auth", "identityToken"], "the identity token of a registry"),
    (&["machine", "registries", "config", "*", "tls", "clientIdentity", "key"], "the private key for a registry"),
    (&["machine", "network", "interfaces", "*", "wireguard", "privateKey"], "the private key of a WireGuard link"),
    (
        &["machine", "network", "interfaces", "*", "wireguard", "peers", "*", "presharedKey"],
        "the key shared with a WireGuard peer",
    ),
    (&["machine", "network", "interfaces", "*", "vip", "*", "apiToken"], "the API token of a provider"),
    (&["machine", "network", "interfaces", "*", "vlans", "*", "vip", "*", "apiToken"], "the API token of a provider"),
    (&["machine", "systemDiskEncryption", "*", "keys", "*", "static", "passphrase"], "the passphrase of a disk"),
    (&["cluster", "secret"], "the secret of the cluster"),
    (&["cluster", "token"], "the token with which nodes join Kubernetes"),
    (&["cluster", "aescbcEncryptionSecret"], "the key that encrypts Kubernetes' secrets"),
    (&["cluster", "secretboxEncryptionSecret"], "the key that encrypts Kubernetes' secrets"),
    (&["cluster", "ca", "key"], "the private key of Kubernetes' authority"),
    (&["cluster", "acceptedCAs", "*", "key"], "the private key of an authority"),
    (&["cluster", "aggregatorCA", "key"], "the private key of the aggregator's authority"),
    (&["cluster", "serviceAccount", "key"], "the private key that signs service accounts"),
    (&["cluster", "etcd", "ca", "key"], "the private key of etcd's authority"),
    (&["cluster", "extraManifestHeaders", "*"], "a header with which manifests are fetched"),
];

/// Places in documents with a kind.
const KINDS: &[(&str, &[Rule])] = &[
    ("SideroLinkConfig", &[(&["uniqueToken"], "the token of this one machine")]),
    (
        "WireguardConfig",
        &[
            (&["privateKey"], "the private key of a WireGuard link"),
            (&["peers", "*", "presharedKey"], "the key shared with a WireGuard peer"),
        ],
    ),
    ("HCloudVIPConfig", &[(&["apiToken"], "the API token of a provider")]),
    (
        "RegistryAuthConfig",
        &[
            (&["password"], "the password of a registry"),
            (&["auth"], "the credentials of a registry"),
            (&["identityToken"], "the identity token of a registry"),
        ],
    ),
    ("RegistryTLSConfig", &[(&["clientIdentity", "key"], "the private key for a registry")]),
    ("VolumeConfig", ENCRYPTION),
    ("UserVolumeConfig", ENCRYPTION),
    ("RawVolumeConfig", ENCRYPTION),
    ("SwapVolumeConfig", ENCRYPTION),
];

const ENCRYPTION: &[Rule] = &[(&["encryption", "keys", "*", "static", "passphrase"], "the passphrase of a disk")];

/// Variables of an environment: maps of name and value.
const VARIABLES: &[&[&str]] = &[
    &["machine", "env"],
    &["cluster", "apiServer", "env"],
    &["cluster", "controllerManager", "env"],
    &["cluster", "scheduler", "env"],
    &["variables"],
];

pub(super) fn secrets(document: &Document) -> Vec<Secret> {
    let rules = match &document.kind {
        None => WHOLE,
        Some(kind) => KINDS.iter().find(|(name, _)| name == kind).map_or(&[][..], |(_, rules)| rules),
    };
    // A kind of a later release: its keys are taken by their names.
    let by_name = document.kind.as_ref().is_some_and(|kind| !super::KINDS.contains(&kind.as_str()));
    let mut search = Search { document, rules, by_name, steps: Vec::new(), found: Vec::new() };
    search.walk(&document.root);
    search.found
}

/// One step of a path: a key or an index.
enum Step<'a> {
    Key(&'a str),
    Index(usize),
}

struct Search<'a> {
    document: &'a Document,
    rules: &'static [Rule],
    by_name: bool,
    steps: Vec<Step<'a>>,
    found: Vec<Secret>,
}

impl<'a> Search<'a> {
    fn walk(&mut self, node: &'a Node) {
        match &node.kind {
            NodeKind::Map(entries) => {
                for (key, node) in entries {
                    self.steps.push(Step::Key(key));
                    self.walk(node);
                    self.steps.pop();
                }
            }
            NodeKind::List(items) => {
                for (index, node) in items.iter().enumerate() {
                    self.steps.push(Step::Index(index));
                    self.walk(node);
                    self.steps.pop();
                }
            }
            NodeKind::Scalar(..) => {
                if let Some(what) = node.text().and_then(|text| self.what(text, node)) {
                    let (document, kind) = (self.document.index, self.document.kind.clone());
                    self.found.push(Secret { document, kind, path: self.path(), what });
                }
            }
        }
    }

    fn what(&self, text: &str, node: &Node) -> Option<&'static str> {
        if texts::placeholder(text) {
            return None;
        }
        let rule = self.rules.iter().find(|(path, _)| self.at(path, 0)).map(|(_, what)| *what);
        rule.or_else(|| texts::anywhere(text)).or_else(|| {
            let key = self.key().unwrap_or_default();
            let environment = VARIABLES.iter().any(|path| self.at(path, 1));
            let quoted = !matches!(node.kind, NodeKind::Scalar(_, true)) || text.parse::<f64>().is_err();
            if environment && texts::secret_name(key) {
                return Some("a variable of the environment that is named as a secret");
            }
            if self.at(&["environment", "*"], 0)
                && text.split_once('=').is_some_and(|(name, value)| {
                    texts::secret_name(name) && !value.is_empty() && !texts::placeholder(value)
                })
            {
                return Some("a variable of the environment that is named as a secret");
            }
            if self.by_name && quoted && texts::secret_name(key) && !matches!(text, "true" | "false") {
                return Some("a value that is named as a secret");
            }
            if self.at(&["cluster", "inlineManifests", "*", "contents"], 0) && texts::manifest_secret(text) {
                return Some("a Secret of Kubernetes");
            }
            let file =
                self.at(&["machine", "files", "*", "content"], 0) || self.at(&["configFiles", "*", "content"], 0);
            (file && texts::file_secret(text)).then_some("a file with a line that is named as a secret")
        })
    }

    /// Whether this is a place of the path, `below` steps further down.
    fn at(&self, path: &[&str], below: usize) -> bool {
        self.steps.len() == path.len().saturating_add(below)
            && self.steps.iter().zip(path).all(|(step, name)| match step {
                Step::Key(key) => *name == "*" || key == name,
                Step::Index(_) => *name == "*",
            })
    }

    fn key(&self) -> Option<&'a str> {
        self.steps.iter().rev().find_map(|step| match step {
            Step::Key(key) => Some(*key),
            Step::Index(_) => None,
        })
    }

    fn path(&self) -> String {
        use std::fmt::Write as _;
        let mut path = String::new();
        for step in &self.steps {
            match step {
                Step::Index(index) => {
                    let _ = write!(path, "[{index}]");
                }
                Step::Key(key) if key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte)) => {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(key);
                }
                // A key with an address in it may hold a password.
                Step::Key(key) if texts::anywhere(key).is_some() => path.push_str("[…]"),
                Step::Key(key) => {
                    let _ = write!(path, "[{key:?}]");
                }
            }
        }
        path
    }
}
