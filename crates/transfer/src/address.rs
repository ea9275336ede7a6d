//! Addresses: what may be shown of one, who stands behind it, where a `Location` leads.

use url::{Position, Url};

use crate::{Error, ErrorKind};

/// An address as it may be printed: without user, password, query and fragment, which carry secrets and signatures.
///
/// ```
/// let url = "https://me:pw@blobs.example:8443/v2/x?X-Amz-Signature=00#top".parse()?;
/// assert_eq!(transfer::shown(&url), "https://blobs.example:8443/v2/x");
/// # Ok::<(), url::ParseError>(())
/// ```
pub fn shown(url: &Url) -> String {
    if url.cannot_be_a_base() {
        return format!("{}:…", url.scheme());
    }
    let authority = &url[Position::BeforeHost..Position::AfterPort];
    let path = &url[Position::BeforePath..Position::AfterPath];
    format!("{}://{authority}{path}", url.scheme())
}

/// Host of an address, with the port where it is not the scheme's own: `registry.example`, `[::1]:5000`.
pub fn host(url: &Url) -> String {
    url[Position::BeforeHost..Position::AfterPort].to_owned()
}

/// Whether two addresses have the same scheme, host and port: only then a credential for one may go to the other.
pub fn same_origin(one: &Url, other: &Url) -> bool {
    one.scheme() == other.scheme()
        && one.host() == other.host()
        && one.port_or_known_default() == other.port_or_known_default()
}

/// Whether `url` goes to one of `hosts`, each `HOST` (any port) or `HOST:PORT`, in any case of letters.
///
/// ```
/// let hosts = ["localhost".to_owned(), "[::1]:5000".to_owned()];
/// let listed = |url: &str| transfer::host_is_listed(&url.parse().expect("an address"), &hosts);
/// assert!(listed("http://LOCALHOST:8080/v2/") && listed("http://[::1]:5000/"));
/// assert!(!listed("http://[::1]/") && !listed("http://localhost.evil.example/"));
/// ```
pub fn host_is_listed(url: &Url, hosts: &[String]) -> bool {
    let Some(name) = url.host_str() else { return false };
    let port = url.port_or_known_default().unwrap_or_default();
    hosts.iter().any(|listed| {
        let with_port = listed
            .rsplit_once(':')
            .filter(|(front, _)| !front.contains(':') || front.ends_with(']'))
            .and_then(|(front, digits)| digits.parse::<u16>().ok().map(|port| (front, port)));
        match with_port {
            Some((listed, its_port)) => same_name(listed, name) && its_port == port,
            None => same_name(listed, name),
        }
    })
}

/// Compares two hosts; an IPv6 address may stand without its brackets.
fn same_name(listed: &str, name: &str) -> bool {
    let bare = |text: &str| text.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase();
    bare(listed) == bare(name)
}

/// Refuses what is no address of the web, and one with a user in it, who would end up in a log.
///
/// # Errors
/// [`ErrorKind::Address`].
pub(crate) fn accept(url: &Url) -> Result<(), Error> {
    let problem = match url.scheme() {
        "http" | "https" if !url.has_host() => "no host",
        "http" | "https" if !url.username().is_empty() || url.password().is_some() => {
            "a user or password in an address; credentials are given apart from it"
        }
        "http" | "https" => return Ok(()),
        _ => "expected https:// or http://",
    };
    Err(ErrorKind::Address { url: shown(url), problem: problem.to_owned() }.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown_addresses_hold_no_secret() {
        for (url, expected) in [
            ("https://h/", "https://h/"),
            ("https://u@h:444/a/b?c#d", "https://h:444/a/b"),
            ("https://u:p@h:443/a", "https://h/a"),
            ("http://[::1]:5000/v2/?token=x", "http://[::1]:5000/v2/"),
            ("mailto:me@example", "mailto:…"),
        ] {
            assert_eq!(shown(&url.parse().unwrap()), expected);
        }
        assert_eq!(host(&"https://u:p@h:444/a".parse().unwrap()), "h:444");
    }

    #[test]
    fn an_address_is_of_the_web_and_names_no_user() {
        for (url, good) in [
            ("https://h/a", true),
            ("http://h", true),
            ("https://u@h/", false),
            ("https://:p@h/", false),
            ("ftp://h/", false),
            ("file:///etc/passwd", false),
            ("data:,x", false),
        ] {
            assert_eq!(accept(&url.parse().unwrap()).is_ok(), good, "{url}");
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        let same = |one: &str, other: &str| same_origin(&one.parse().unwrap(), &other.parse().unwrap());
        assert!(same("https://h/a", "https://H:443/b"));
        assert!(!same("https://h/", "http://h/"));
        assert!(!same("https://h/", "https://h:444/"));
        assert!(!same("https://h/", "https://h.example/"));
    }
}
