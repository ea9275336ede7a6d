//! Names of images: `ghcr.io/owner/name:tag@sha256:…`.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::{fmt, str::FromStr};

use imgcore::Digest;
use oci_spec::distribution as grammar;

use crate::{Error, ErrorKind};

/// No registry takes a longer one: 255 for the name, 128 for the tag, 71 for the digest, and a host.
const LONGEST: usize = 1024;

/// A repository at a registry.
///
/// ```
/// use ocipack::registry::Repository;
/// let repository: Repository = "ghcr.io/owner/name".parse()?;
/// assert_eq!((repository.registry(), repository.name()), ("ghcr.io", "owner/name"));
/// # Ok::<(), ocipack::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository {
    registry: String,
    name: String,
}

impl Repository {
    /// Host, and port if one is named; `docker.io` for Docker Hub.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The name at the registry, `library/…` for Docker Hub's short names.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// An image in it by its tag.
    ///
    /// # Errors
    /// When the tag is no tag.
    pub fn with_tag(&self, tag: &str) -> Result<Reference, Error> {
        crate::name::check_tag(tag)?;
        Ok(Reference { repository: self.clone(), tag: Some(tag.to_owned()), digest: None })
    }

    /// An image in it by its digest.
    pub fn with_digest(&self, digest: Digest) -> Reference {
        Reference { repository: self.clone(), tag: None, digest: Some(digest) }
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.name)
    }
}

impl FromStr for Repository {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let parsed = parse(text)?;
        if parsed.named || parsed.reference.digest.is_some() {
            return Err(refused(text, "a tag or a digest, expected a repository alone"));
        }
        Ok(parsed.reference.repository)
    }
}

/// An image at a registry: by tag, by digest, or by both, and then the digest decides.
///
/// The grammar is that of the OCI distribution specification with Docker's short names, by `oci-spec`; a registry may
/// be an IPv6 address in brackets, which `oci-spec` does not know.
///
/// ```
/// use ocipack::registry::Reference;
/// let reference: Reference = "alpine".parse()?;
/// assert_eq!(reference.to_string(), "docker.io/library/alpine:latest");
/// let reference: Reference = "localhost:5000/tools/x:v1".parse()?;
/// assert_eq!((reference.registry(), reference.name(), reference.tag()), ("localhost:5000", "tools/x", Some("v1")));
/// assert!("https://ghcr.io/owner/name".parse::<Reference>().is_err());
/// # Ok::<(), ocipack::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    repository: Repository,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// The repository.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Host, and port if one is named; `docker.io` for Docker Hub.
    pub fn registry(&self) -> &str {
        &self.repository.registry
    }

    /// The repository's name at the registry.
    pub fn name(&self) -> &str {
        &self.repository.name
    }

    /// The tag, `latest` when neither a tag nor a digest was named.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// The same repository, by this digest alone: what never moves.
    #[must_use]
    pub fn with_digest(&self, digest: Digest) -> Self {
        self.repository.with_digest(digest)
    }

    /// What stands behind `/manifests/` in an address: the digest, else the tag.
    pub(crate) fn target(&self) -> String {
        match (self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => "latest".to_owned(),
        }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.repository, f)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl FromStr for Reference {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        parse(text).map(|parsed| parsed.reference)
    }
}

struct Parsed {
    reference: Reference,
    /// Whether the text itself names a tag.
    named: bool,
}

fn parse(text: &str) -> Result<Parsed, Error> {
    if let Some((scheme, _)) = text.split_once("://") {
        let problem = if scheme == "http" {
            "a reference has no scheme, remove http:// and name the host for plain HTTP"
        } else {
            "a reference has no scheme, expected registry/name:tag"
        };
        return Err(refused(text, problem));
    }
    if text.len() > LONGEST {
        return Err(refused(text, "longer than a reference can be"));
    }
    if text.is_empty() {
        return Err(refused(text, "nothing, expected registry/name:tag"));
    }
    let (ipv6, rest) = if text.starts_with('[') {
        let (host, path) = text.split_once('/').ok_or_else(|| refused(text, "no name behind the registry"))?;
        if !is_ipv6(host) {
            return Err(refused(text, "what stands in brackets is no IPv6 address with an optional port"));
        }
        // Any host will do: it is replaced below.
        (Some(host), format!("localhost/{path}"))
    } else {
        (None, text.to_owned())
    };
    let parsed = grammar::Reference::try_from(rest.as_str()).map_err(|error| {
        use grammar::ParseError as Problem;
        refused(
            text,
            match error {
                Problem::DigestInvalidFormat | Problem::DigestInvalidLength => "expected 64 hex digits behind @sha256:",
                Problem::DigestUnsupported => "its digest is of another kind, expected sha256",
                Problem::NameTooLong => "its name is longer than 255 letters",
                _ if text.bytes().any(|byte| byte.is_ascii_uppercase()) => {
                    "no image reference, expected registry/name:tag with a name in lower case"
                }
                _ => "no image reference, expected registry/name:tag or registry/name@sha256:…",
            },
        )
    })?;
    let digest = parsed
        .digest()
        .map(|digest| {
            let hex = digest.strip_prefix("sha256:").ok_or_else(|| refused(text, "expected a digest by sha256"))?;
            // Registries compare as text, and the specification has lower case only.
            if hex.bytes().any(|byte| byte.is_ascii_uppercase()) {
                return Err(refused(text, "its digest has upper-case letters, expected lower case"));
            }
            hex.parse().map_err(|_| refused(text, "expected 64 hex digits behind @sha256:"))
        })
        .transpose()?;
    let registry = ipv6.unwrap_or_else(|| parsed.registry()).to_ascii_lowercase();
    if let Some((_, port)) = registry.rsplit_once(':').filter(|(_, port)| !port.ends_with(']'))
        && port.parse::<u16>().is_err()
    {
        return Err(refused(text, "the port of its registry is no port"));
    }
    let repository = Repository { registry, name: parsed.repository().to_owned() };
    let tag = parsed.tag().map(ToOwned::to_owned);
    let whole = rest.split('@').next().unwrap_or_default();
    let named = tag.as_ref().is_some_and(|tag| whole.ends_with(&format!(":{tag}")));
    Ok(Parsed { reference: Reference { repository, tag, digest }, named })
}

/// `[…]` or `[…]:port`, the inside an address.
fn is_ipv6(host: &str) -> bool {
    let Some((inside, port)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) else { return false };
    let port = port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    port && inside.parse::<core::net::Ipv6Addr>().is_ok()
}

fn refused(text: &str, problem: &'static str) -> Error {
    ErrorKind::Reference { text: text.chars().take(200).collect(), problem }.into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used, clippy::arithmetic_side_effects)]

    use super::*;

    const HEX: &str = "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff";

    #[test]
    fn references_are_spelled_out() {
        for (text, expected) in [
            ("alpine", "docker.io/library/alpine:latest".to_owned()),
            ("alpine:3", "docker.io/library/alpine:3".to_owned()),
            ("owner/name", "docker.io/owner/name:latest".to_owned()),
            ("index.docker.io/alpine", "docker.io/library/alpine:latest".to_owned()),
            ("ghcr.io/siderolabs/imager:v1.13.9", "ghcr.io/siderolabs/imager:v1.13.9".to_owned()),
            ("GHCR.io/o/n:V1", "ghcr.io/o/n:V1".to_owned()),
            ("localhost/n", "localhost/n:latest".to_owned()),
            ("localhost:5000/x", "localhost:5000/x:latest".to_owned()),
            ("127.0.0.1:5000/a/b/c", "127.0.0.1:5000/a/b/c:latest".to_owned()),
            ("[::1]:5000/x:y", "[::1]:5000/x:y".to_owned()),
            ("[fe80::1]/x", "[fe80::1]/x:latest".to_owned()),
            (&format!("h.io/n@sha256:{HEX}"), format!("h.io/n@sha256:{HEX}")),
            (&format!("h.io/n:t@sha256:{HEX}"), format!("h.io/n:t@sha256:{HEX}")),
        ] {
            let reference: Reference = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!(reference.to_string(), expected, "{text}");
            assert_eq!(reference.to_string().parse::<Reference>().ok(), Some(reference), "{text}");
        }
    }

    #[test]
    fn what_is_no_reference_is_refused_with_the_reason() {
        for (text, reason) in [
            ("", "nothing"),
            ("https://ghcr.io/o/n", "no scheme"),
            ("http://localhost:5000/n", "plain HTTP"),
            ("docker://ghcr.io/o/n", "no scheme"),
            ("ghcr.io/O/n", "lower case"),
            ("ghcr.io/o/n:", "no image reference"),
            ("h.io:99999/n", "port"),
            ("user:pass@h.io/n", "no image reference"),
            ("h.io/n?x", "no image reference"),
            ("h.io/../n", "no image reference"),
            ("[::g]/n", "IPv6"),
            ("[::1]", "no name"),
            ("h.io/n@sha256:ffffffffffffffffffffffffffffffffffff", "64 hex digits"),
            (&format!("h.io/n@sha256:{}", HEX.to_uppercase()), "lower case"),
            (&format!("h.io/n@sha512:{HEX}{HEX}"), "sha256"),
            (&"a".repeat(2000), "longer"),
        ] {
            let error = text.parse::<Reference>().expect_err(text).to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn a_repository_has_no_tag() {
        assert_eq!("h.io/a/b".parse::<Repository>().map(|name| name.to_string()).ok().as_deref(), Some("h.io/a/b"));
        assert!("h.io/a:latest".parse::<Repository>().is_err());
        assert!(format!("h.io/a@sha256:{HEX}").parse::<Repository>().is_err());
    }

    #[test]
    fn damaged_references_never_panic() {
        let original = format!("ghcr.io:443/owner/na-me__x.y:tag-1@sha256:{HEX}");
        testkit::mutants(11, 10_000, original.as_bytes(), |bytes| {
            if let Ok(reference) = String::from_utf8_lossy(bytes).parse::<Reference>() {
                assert_eq!(reference.to_string().parse::<Reference>().ok(), Some(reference));
            }
        });
    }
}
