//! Repository names and tags, by the grammar of the OCI distribution specification.

use crate::{Error, ErrorKind};

const REPOSITORY: &str = "expected lower-case names with single `.`, `_`, `-` inside, separated by `/`, \
                          perhaps behind a host: ghcr.io/owner/name";
const TAG: &str = "expected at most 128 letters, digits, `_`, `.` and `-`, the first no `.` or `-`";

/// Refuses what no registry takes as a repository, with or without a host in front.
pub(crate) fn check_repository(text: &str) -> Result<(), Error> {
    let mut parts = text.split('/').peekable();
    let first = text.split('/').next().unwrap_or_default();
    if is_host(first) && text.contains('/') {
        parts.next();
    }
    if text.len() <= 255 && parts.all(is_component) {
        return Ok(());
    }
    Err(ErrorKind::Name { what: "repository", text: text.to_owned(), expected: REPOSITORY }.into())
}

/// Refuses what no registry takes as a tag.
pub(crate) fn check_tag(text: &str) -> Result<(), Error> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let rest = |byte: u8| word(byte) || matches!(byte, b'.' | b'-');
    if text.len() <= 128 && text.bytes().next().is_some_and(word) && text.bytes().all(rest) {
        return Ok(());
    }
    Err(ErrorKind::Name { what: "tag", text: text.to_owned(), expected: TAG }.into())
}

/// The name with host and namespace spelled out, as containerd keeps it.
pub(crate) fn canonical(repository: &str, tag: &str) -> String {
    match repository.split_once('/') {
        Some((host, _)) if is_host(host) => format!("{repository}:{tag}"),
        Some(_) => format!("docker.io/{repository}:{tag}"),
        None => format!("docker.io/library/{repository}:{tag}"),
    }
}

/// Docker's rule: a first part with a dot or a colon, or `localhost`, is a host.
fn is_host(text: &str) -> bool {
    let host =
        text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':' | b'[' | b']'));
    host && (text == "localhost" || text.contains(['.', ':']))
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let separator = |run: &str| matches!(run, "." | "_" | "__") || (!run.is_empty() && run.bytes().all(|b| b == b'-'));
    let mut rest = text;
    loop {
        let word = rest.bytes().take_while(|byte| plain(*byte)).count();
        if word == 0 {
            return false;
        }
        rest = rest.get(word..).unwrap_or_default();
        if rest.is_empty() {
            return true;
        }
        let run = rest.bytes().take_while(|byte| !plain(*byte)).count();
        if !rest.get(..run).is_some_and(separator) {
            return false;
        }
        rest = rest.get(run..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_grammar() {
        for good in ["a", "talos-rk/overlay", "ghcr.io/o/n", "localhost:5000/x", "a__b/c-d.e", "a--b", "Host.io/x"] {
            assert!(check_repository(good).is_ok(), "{good}");
        }
        for bad in
            ["", "A", "a/", "/a", "a//b", "a_-b", "a..b", "a_", "-a", "ghcr.io/O/n", "a:b", "a b", &"a".repeat(256)]
        {
            assert!(check_repository(bad).is_err(), "{bad}");
        }
        for good in ["latest", "v1.10.6", "_x", "V1-a_b.c"] {
            assert!(check_tag(good).is_ok(), "{good}");
        }
        for bad in ["", ".a", "-a", "a:b", "a/b", "a b", &"a".repeat(129)] {
            assert!(check_tag(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn short_names_are_docker_hub_names() {
        for (repository, expected) in [
            ("overlay", "docker.io/library/overlay:v1"),
            ("talos-rk/overlay", "docker.io/talos-rk/overlay:v1"),
            ("ghcr.io/o/n", "ghcr.io/o/n:v1"),
            ("localhost/n", "localhost/n:v1"),
        ] {
            assert_eq!(canonical(repository, "v1"), expected);
        }
    }
}
