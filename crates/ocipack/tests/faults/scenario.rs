//! What a row of the tables says, and the image that all rows move.

use std::sync::LazyLock;

use testkit::faulty::{Auth, Content, Rule, Setup, digest};

/// What the client does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Does {
    /// Pulls `demo/image:latest`, both platforms.
    Pull,
    /// Pushes the same.
    Push,
    /// Pushes it in pieces of 64 KiB.
    PushInPieces,
    /// Pushes it where `demo/base` has its blobs.
    Mount,
    /// Downloads `/files/a` of the registry's host, else of the other.
    Fetch,
}

/// How it ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Ends {
    /// All bytes are where they belong.
    Right,
    /// With an error of one of these kinds, however often it was tried.
    Wrong(&'static [&'static str]),
    /// Right, or with any error: both are an answer to this fault.
    Safely,
}

/// Whose credentials the client has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// User and password of the registry.
    Keeper,
    /// An identity token.
    Identity,
    /// A user with a wrong password.
    Stranger,
    /// None.
    Nobody,
}

/// A row.
pub(crate) struct Scenario {
    pub(crate) name: String,
    pub(crate) does: Does,
    pub(crate) who: Who,
    pub(crate) setup: Setup,
    /// Whether the other host may be spoken to without TLS.
    pub(crate) trusts_elsewhere: bool,
    pub(crate) ends: Ends,
    /// The most requests that may come.
    pub(crate) most: usize,
    /// The least pause, in seconds, that the client must have made once.
    pub(crate) pause: u64,
    /// What must stand in the address of some request.
    pub(crate) sends: &'static str,
    /// Whether the client must have asked for a part.
    pub(crate) resumes: bool,
}

impl Scenario {
    fn new(does: Does, name: &str) -> Self {
        Self {
            name: format!("{does:?}: {name}"),
            does,
            who: Who::Keeper,
            setup: Setup::default(),
            trusts_elsewhere: true,
            ends: Ends::Right,
            most: 200,
            pause: 0,
            sends: "",
            resumes: false,
        }
    }

    pub(crate) fn number(mut self, number: usize) -> Self {
        self.name.push(' ');
        self.name.push_str(&number.to_string());
        self
    }

    pub(crate) fn asks(mut self, auth: Auth) -> Self {
        self.setup.auth = auth;
        self
    }

    pub(crate) fn comes(self, who: Who) -> Self {
        Self { who, ..self }
    }

    pub(crate) fn with(mut self, rule: Rule) -> Self {
        self.setup.rules.push(rule);
        self
    }

    pub(crate) fn ceiling(mut self, bytes: usize, status: u16) -> Self {
        self.setup.ceiling = Some((bytes, status));
        self
    }

    pub(crate) fn trusts_here_alone(self) -> Self {
        Self { trusts_elsewhere: false, ..self }
    }

    pub(crate) fn ends(self, ends: Ends) -> Self {
        Self { ends, ..self }
    }

    pub(crate) fn at_most(self, most: usize) -> Self {
        Self { most, ..self }
    }

    pub(crate) fn waits(self, pause: u64) -> Self {
        Self { pause, ..self }
    }

    pub(crate) fn sends(self, sends: &'static str) -> Self {
        Self { sends, ..self }
    }

    pub(crate) fn resumes(self) -> Self {
        Self { resumes: true, ..self }
    }
}

pub(crate) fn pull(name: &str) -> Scenario {
    Scenario::new(Does::Pull, name)
}

pub(crate) fn push(name: &str) -> Scenario {
    Scenario::new(Does::Push, name)
}

pub(crate) fn push_in_pieces(name: &str) -> Scenario {
    Scenario::new(Does::PushInPieces, name)
}

pub(crate) fn mount(name: &str) -> Scenario {
    Scenario::new(Does::Mount, name)
}

pub(crate) fn fetch(name: &str) -> Scenario {
    Scenario::new(Does::Fetch, name)
}

pub(crate) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// The image of every scenario, written down by hand: an index of two platforms.
pub(crate) struct Image {
    pub(crate) blobs: Vec<Vec<u8>>,
    pub(crate) manifests: Vec<Vec<u8>>,
    pub(crate) index: Vec<u8>,
}

pub(crate) static IMAGE: LazyLock<Image> = LazyLock::new(|| {
    let (mut blobs, mut manifests, mut children) = (Vec::new(), Vec::new(), Vec::new());
    for (architecture, size) in [("arm64", 262_144), ("amd64", 100_000)] {
        // A layer of media type `tar`: what is in it is nobody's business while it moves.
        let layer = testkit::Rng::new(size as u64).bytes(size);
        let config = format!(
            r#"{{"architecture":"{architecture}","os":"linux","rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
            digest(&layer)
        );
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{},"layers":[{}]}}"#,
            descriptor(CONFIG, config.as_bytes(), ""),
            descriptor(LAYER, &layer, "")
        );
        let platform = format!(r#","platform":{{"architecture":"{architecture}","os":"linux"}}"#);
        children.push(descriptor(MANIFEST, manifest.as_bytes(), &platform));
        blobs.extend([config.into_bytes(), layer]);
        manifests.push(manifest.into_bytes());
    }
    let index = format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{}]}}"#, children.join(","));
    Image { blobs, manifests, index: index.into_bytes() }
});

fn descriptor(media: &str, bytes: &[u8], more: &str) -> String {
    format!(r#"{{"mediaType":"{media}","digest":"{}","size":{}{more}}}"#, digest(bytes), bytes.len())
}

impl Image {
    /// Puts it into a registry, under a repository.
    pub(crate) fn fill(&self, content: &mut Content, repository: &str) {
        for blob in &self.blobs {
            content.add_blob(repository, blob);
        }
        for manifest in &self.manifests {
            content.add_manifest(repository, MANIFEST, manifest);
        }
        let root = content.add_manifest(repository, INDEX, &self.index);
        content.set_tag(repository, "latest", &root);
    }

    /// What of it is missing or another in a registry.
    pub(crate) fn missing(&self, content: &Content, repository: &str) -> Vec<String> {
        let mut missing = Vec::new();
        for blob in &self.blobs {
            let digest = digest(blob);
            if content.blob(repository, &digest).is_none_or(|found| *found != *blob) {
                missing.push(format!("blob {digest}"));
            }
        }
        for manifest in self.manifests.iter().chain([&self.index]) {
            let digest = digest(manifest);
            if content.manifest(repository, &digest).is_none_or(|found| found != *manifest) {
                missing.push(format!("manifest {digest}"));
            }
        }
        if content.tag(repository, "latest") != Some(digest(&self.index)) {
            missing.push("tag".to_owned());
        }
        missing
    }
}

/// The layer of linux/arm64, 262 144 bytes.
pub(crate) fn layer() -> &'static [u8] {
    &IMAGE.blobs[1]
}

/// Where that layer lies.
pub(crate) static LAYER_PATH: LazyLock<String> = LazyLock::new(|| format!("/blobs/{}", digest(layer())));
