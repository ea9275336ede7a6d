//! Where a repository really lies: its registry, or a mirror of it.

use transfer::{ErrorKind, Url, host_is_listed};

use super::Repository;

/// How to reach registries.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Hosts (`HOST` or `HOST:PORT`) that are spoken to without TLS. All others are never.
    pub plain_http: Vec<String>,
    /// What is read from another place: a registry or the beginning of a repository (`ghcr.io`, `docker.io/library`), and
    /// a registry or the beginning of a repository there (`127.0.0.1:5000`, `mirror.example/ghcr-proxy`). The longest
    /// beginning that fits counts; several mirrors with the same beginning are asked in order, and what is named itself
    /// last. Nothing is ever written to a mirror: what a push asks and sends goes to the registry that is named.
    pub mirrors: Vec<(String, String)>,
    /// Size in bytes of the pieces that a blob is sent in; a blob of this size or less goes at once. 64 MiB unless told.
    pub piece: Option<u64>,
}

/// A repository at the host that is spoken to.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The host as credentials know it.
    pub(crate) registry: String,
    /// The repository's name there.
    pub(crate) name: String,
    /// `https://host/v2/NAME/`.
    pub(crate) base: Url,
}

impl Place {
    /// An address below the repository; `rest` is of our own making or checked: a digest, a tag, fixed words.
    pub(crate) fn url(&self, rest: &str) -> Result<Url, transfer::Error> {
        self.base.join(rest).map_err(|error| address(&format!("{}{rest}", self.base), error.to_string()))
    }
}

impl Options {
    /// The registry itself.
    pub(crate) fn place(&self, repository: &Repository) -> Result<Place, transfer::Error> {
        self.at(repository.registry(), repository.name())
    }

    /// Mirrors, then the registry itself.
    pub(crate) fn places(&self, repository: &Repository) -> Result<Vec<Place>, transfer::Error> {
        let whole = repository.to_string();
        let fitting = |(from, to): &'_ (String, String)| Some((from.len(), to.clone(), rest(&whole, from)?.to_owned()));
        let fitting: Vec<_> = self.mirrors.iter().filter_map(fitting).collect();
        let longest = fitting.iter().map(|(length, ..)| *length).max();
        let mut places = Vec::new();
        for (_, to, rest) in fitting.iter().filter(|(length, ..)| Some(*length) == longest) {
            let target = format!("{}/{rest}", bare(to));
            let (registry, name) = target.split_once('/').unwrap_or((&target, ""));
            let name = name.trim_matches('/');
            // A host in front, so that the first part of the name is not taken for one.
            crate::name::check_repository(&format!("h.io/{name}"))
                .map_err(|error| address(&target, format!("no repository to mirror {whole}: {error}")))?;
            places.push(self.at(registry, name)?);
        }
        places.push(self.place(repository)?);
        Ok(places)
    }

    fn at(&self, registry: &str, name: &str) -> Result<Place, transfer::Error> {
        let host = |c: char| c.is_ascii_alphanumeric() || ".-:[]".contains(c);
        if registry.is_empty() || !registry.chars().all(host) {
            return Err(address(registry, "no host of a registry, expected HOST or HOST:PORT".to_owned()));
        }
        // The registry of Docker Hub has another name than the Hub.
        let host = if matches!(registry, "docker.io" | "index.docker.io") { "registry-1.docker.io" } else { registry };
        let parse = |scheme: &str| {
            let text = format!("{scheme}://{host}/v2/{name}/");
            Url::parse(&text).map_err(|error| address(&text, error.to_string()))
        };
        let plain = parse("http")?;
        let base = if host_is_listed(&plain, &self.plain_http) { plain } else { parse("https")? };
        Ok(Place { registry: registry.to_owned(), name: name.to_owned(), base })
    }
}

/// What follows `from` in a repository, if a part of it ends there.
fn rest<'a>(whole: &'a str, from: &str) -> Option<&'a str> {
    // Addresses are mirrored elsewhere.
    if from.contains("://") {
        return None;
    }
    let from = from.trim_end_matches('/').replacen("index.docker.io", "docker.io", 1);
    whole.strip_prefix(&from).filter(|rest| rest.starts_with('/')).map(|rest| rest.trim_start_matches('/')).or_else(
        // A mirror of one repository.
        || (whole == from).then_some(""),
    )
}

fn bare(to: &str) -> &str {
    to.strip_prefix("https://").or_else(|| to.strip_prefix("http://")).unwrap_or(to).trim_end_matches('/')
}

fn address(url: &str, problem: String) -> transfer::Error {
    ErrorKind::Address { url: url.to_owned(), problem }.into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used, clippy::arithmetic_side_effects)]

    use super::*;

    fn bases(options: &Options, repository: &str) -> Vec<String> {
        let repository: Repository = repository.parse().expect("a repository");
        let places = options.places(&repository).expect("places");
        places.iter().map(|place| format!("{} {}", place.registry, place.base)).collect()
    }

    #[test]
    fn a_mirror_is_asked_before_what_it_mirrors() {
        let mirror = |from: &str, to: &str| (from.to_owned(), to.to_owned());
        let options = Options {
            plain_http: vec!["127.0.0.1".to_owned(), "localhost:5000".to_owned()],
            mirrors: vec![
                mirror("ghcr.io", "127.0.0.1:5000"),
                mirror("ghcr.io/team", "m.io/proxy/team"),
                mirror("ghcr.io/team", "http://localhost:5000/"),
                mirror("docker.io", "hub.m.io"),
                mirror("https://a.org", "https://b.org"),
                mirror("one.io/a/b", "m.io/c"),
            ],
            piece: None,
        };
        for (repository, expected) in [
            ("ghcr.io/x/y", vec!["127.0.0.1:5000 http://127.0.0.1:5000/v2/x/y/", "ghcr.io https://ghcr.io/v2/x/y/"]),
            (
                "ghcr.io/team/y",
                vec![
                    "m.io https://m.io/v2/proxy/team/y/",
                    "localhost:5000 http://localhost:5000/v2/y/",
                    "ghcr.io https://ghcr.io/v2/team/y/",
                ],
            ),
            (
                "ghcr.io/teams/y",
                vec!["127.0.0.1:5000 http://127.0.0.1:5000/v2/teams/y/", "ghcr.io https://ghcr.io/v2/teams/y/"],
            ),
            (
                "alpine",
                vec![
                    "hub.m.io https://hub.m.io/v2/library/alpine/",
                    "docker.io https://registry-1.docker.io/v2/library/alpine/",
                ],
            ),
            ("one.io/a/b", vec!["m.io https://m.io/v2/c/", "one.io https://one.io/v2/a/b/"]),
            ("a.org/b", vec!["a.org https://a.org/v2/b/"]),
            ("localhost:5000/b", vec!["localhost:5000 http://localhost:5000/v2/b/"]),
            ("localhost:5001/b", vec!["localhost:5001 https://localhost:5001/v2/b/"]),
        ] {
            assert_eq!(bases(&options, repository), expected, "{repository}");
        }
    }

    #[test]
    fn a_mirror_that_is_no_repository_is_refused() {
        for to in ["m.io/UPPER", "user@m.io", "m.io/a?b", "m .io"] {
            let options = Options { mirrors: vec![("g.io".to_owned(), to.to_owned())], ..Options::default() };
            let repository: Repository = "g.io/x".parse().expect("a repository");
            let places = options.places(&repository);
            assert!(places.is_err(), "{to}: {places:?}");
        }
    }
}
