//! Where an answer leads.

use http::{HeaderMap, header};
use url::Url;

use crate::{Error, ErrorKind, Response, Transport, address, host, shown};

/// The most redirects that are followed in a row.
const MOST: usize = 10;

/// The way that one request has gone.
#[derive(Debug)]
pub(crate) struct Way {
    seen: Vec<Url>,
}

impl Way {
    pub(crate) fn from(start: &Url) -> Self {
        Self { seen: vec![start.clone()] }
    }

    /// The next address, if `response` is a redirect with one.
    ///
    /// # Errors
    /// When it leads in a circle, too far, from TLS to none, or off the web.
    pub(crate) fn next(&mut self, response: &Response, transport: &dyn Transport) -> Result<Option<Url>, Error> {
        let Some(here) = self.seen.last() else { return Ok(None) };
        if !matches!(response.status.as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Ok(None);
        }
        let Some(next) = location(response, here)? else { return Ok(None) };
        if here.scheme() == "https" && next.scheme() == "http" && !transport.may_be_plain(&next) {
            return Err(ErrorKind::Insecure { host: host(&next) }.into());
        }
        let protocol = |problem: String| Error::from(ErrorKind::Protocol { host: host(here), problem });
        if self.seen.contains(&next) {
            return Err(protocol(format!("redirects in a circle, back to {}", shown(&next))));
        }
        if self.seen.len() > MOST {
            return Err(protocol(format!("more than {MOST} redirects in a row")));
        }
        self.seen.push(next.clone());
        Ok(Some(next))
    }
}

/// The address in `Location`, which may be relative to `here`, without its fragment.
///
/// ```
/// use transfer::{HeaderMap, HeaderValue, Response, StatusCode, header, location};
///
/// let mut headers = HeaderMap::new();
/// headers.insert(header::LOCATION, HeaderValue::from_static("../b?c"));
/// let answer = Response::new(StatusCode::ACCEPTED, headers, std::io::empty());
/// let next = location(&answer, &"https://registry.example/v2/uploads/a".parse()?)?;
/// assert_eq!(next.map(|url| url.to_string()).as_deref(), Some("https://registry.example/v2/b?c"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`ErrorKind::Address`] when it is none of the web or names a user.
pub fn location(response: &Response, here: &Url) -> Result<Option<Url>, Error> {
    let Some(value) = response.headers.get(header::LOCATION) else { return Ok(None) };
    let refused = |problem: String| Error::from(ErrorKind::Address { url: shown(here), problem });
    let text = std::str::from_utf8(value.as_bytes()).map_err(|_| refused("a Location that is no text".to_owned()))?;
    let mut next =
        here.join(text.trim()).map_err(|error| refused(format!("a Location that is no address: {error}")))?;
    next.set_fragment(None);
    address::accept(&next)?;
    Ok(Some(next))
}

/// Removes what only the first host may see.
pub(crate) fn strip(headers: &mut HeaderMap) {
    let secret: Vec<_> =
        headers.iter().filter(|(_, value)| value.is_sensitive()).map(|(name, _)| name.clone()).collect();
    for name in secret.into_iter().chain([header::AUTHORIZATION, header::PROXY_AUTHORIZATION, header::COOKIE]) {
        headers.remove(name);
    }
}
