//! One request until its final answer.

use std::{fmt, sync::Arc, time::Duration};

use http::{Method, StatusCode, header};
use url::Url;

use crate::{
    Access, Body, Budget, Error, ErrorKind, Pace, Policy, RateLimit, Request, Response, Secret, Trail, Transport,
    address,
    explain::explain,
    fields::retry_after_of,
    host, is_transient,
    redirect::{Way, strip},
    same_origin, shown,
};

/// How often [`Access`] is asked again after 401 for one request. It refuses to repeat itself; this is the fence behind.
const MOST_REFUSALS: u32 = 3;

/// The network: what sends, what waits, and how often it is tried.
#[derive(Clone)]
pub struct Net {
    /// What sends.
    pub transport: Arc<dyn Transport>,
    /// What waits.
    pub pace: Arc<dyn Pace>,
    /// How often.
    pub policy: Policy,
}

impl Net {
    /// With the usual policy.
    pub fn new(transport: Arc<dyn Transport>, pace: Arc<dyn Pace>) -> Self {
        Self { transport, pace, policy: Policy::default() }
    }

    /// Sends a request and gives back the final answer, whatever its status: [`check`] makes errors of those that are
    /// no success.
    ///
    /// Credentials go to the request's own scheme, host and port only. GET and HEAD follow at most ten redirects; every
    /// other method gives the redirect back. After 401, `access` is asked for a better credential.
    ///
    /// A broken connection and a [transient](is_transient) status are tried again, as often as the policy says, if the
    /// request may be repeated: not PATCH and not a streamed body, because the server may have kept a part of it, which
    /// only the protocol can find out. Those are repeated after 429 alone, which says that nothing was done.
    ///
    /// # Errors
    /// When there is no answer.
    #[allow(clippy::needless_pass_by_value, reason = "a request is used up by its exchange")]
    pub fn exchange(&self, request: Request, access: &dyn Access) -> Result<Response, Error> {
        self.exchange_within(&request, access, &mut Budget::new(&self.policy))
    }

    /// As [`exchange`](Self::exchange), as one step of a transfer that has one budget for all its requests.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn exchange_within(
        &self,
        request: &Request,
        access: &dyn Access,
        budget: &mut Budget,
    ) -> Result<Response, Error> {
        let repeatable = request.method != Method::PATCH && !matches!(request.body, Body::Blob(_));
        loop {
            let mut took = Duration::ZERO;
            let outcome = self.attempt(request, access, &mut took);
            let (why, asked) = match &outcome {
                Ok(answer) if answer.status == StatusCode::TOO_MANY_REQUESTS => {
                    (status_of(answer, &request.url), self.asked(answer))
                }
                Ok(answer) if repeatable && is_transient(answer.status) => {
                    (status_of(answer, &request.url), self.asked(answer))
                }
                Err(error) if repeatable && error.is_transient() => (error.to_string(), None),
                _ => return outcome,
            };
            if !budget.again(&*self.pace, took, asked, &why)? {
                return outcome.map_err(|error| given_up(error, budget));
            }
        }
    }

    /// What the answer says about coming again.
    pub fn asked(&self, answer: &Response) -> Option<Duration> {
        retry_after_of(&answer.headers, Some(self.pace.unix_time()))
    }

    /// Sends a request without repeating it after failures: credentials and redirects as in
    /// [`exchange`](Self::exchange).
    ///
    /// # Errors
    /// When there is no answer.
    pub fn once(&self, request: &Request, access: &dyn Access) -> Result<Response, Error> {
        let mut waited = Duration::ZERO;
        self.attempt(request, access, &mut waited)
    }

    /// As [`once`](Self::once); adds to `waited` how long servers kept it waiting.
    pub(crate) fn attempt(
        &self,
        request: &Request,
        access: &dyn Access,
        waited: &mut Duration,
    ) -> Result<Response, Error> {
        address::accept(&request.url)?;
        let follows = matches!(request.method, Method::GET | Method::HEAD);
        let (mut url, mut way, mut refusals) = (request.url.clone(), Way::from(&request.url), 0);
        loop {
            let mut hop = request.clone();
            hop.url = url.clone();
            let home = same_origin(&url, &request.url);
            if home {
                access.authorise(&mut hop)?;
            } else {
                strip(&mut hop.headers);
            }
            let credential = hop.headers.get(header::AUTHORIZATION);
            let credential = credential.map(|value| Secret::new(String::from_utf8_lossy(value.as_bytes())));
            let start = self.pace.now();
            let sent = self.transport.send(hop.clone());
            let took = match (&request.body, &sent) {
                // A long time of sending is no silence.
                (Body::Blob(_), Err(error)) => error.waited(),
                (Body::Blob(_), Ok(_)) => Duration::ZERO,
                _ => self.pace.now().saturating_sub(start),
            };
            *waited = waited.saturating_add(took);
            let mut response = sent?;
            response.trail = Trail { url: Some(url.clone()), credential };
            if response.status == StatusCode::UNAUTHORIZED
                && home
                && refusals < MOST_REFUSALS
                && access.refused(&hop, &response)?
            {
                refusals += 1;
            } else if follows && let Some(next) = way.next(&response, &*self.transport)? {
                url = next;
            } else {
                return Ok(response);
            }
            if *waited > self.policy.patience {
                return Err(ErrorKind::Timeout { host: host(&url), waited: *waited }.into());
            }
        }
    }
}

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Net").field("policy", &self.policy).finish_non_exhaustive()
    }
}

fn status_of(answer: &Response, url: &Url) -> String {
    format!("{}: status {}", host(answer.trail.url.as_ref().unwrap_or(url)), answer.status.as_u16())
}

/// The last failure, and that there were more of them.
pub(crate) fn given_up(last: Error, budget: &Budget) -> Error {
    match budget.tries() {
        0 | 1 => last,
        tries => ErrorKind::GivenUp { tries, last: Box::new(last) }.into(),
    }
}

/// Gives back an answer that is a success (2xx), else makes an error of it, with a line of what the server says.
///
/// ```
/// use transfer::{ErrorKind, HeaderMap, Response, StatusCode, check};
///
/// let body = br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;
/// let answer = Response::new(StatusCode::NOT_FOUND, HeaderMap::new(), &body[..]);
/// let error = check(answer, &"https://registry.example/v2/a/manifests/b".parse()?).unwrap_err();
/// assert!(matches!(error.kind(), ErrorKind::NotFound { .. }));
/// assert_eq!(error.to_string(), "https://registry.example/v2/a/manifests/b: not found: manifest unknown");
/// # Ok::<(), url::ParseError>(())
/// ```
///
/// # Errors
/// [`Refused`](ErrorKind::Refused), [`NotFound`](ErrorKind::NotFound), [`RateLimited`](ErrorKind::RateLimited), else
/// [`Status`](ErrorKind::Status).
pub fn check(mut response: Response, url: &Url) -> Result<Response, Error> {
    if response.status.is_success() {
        return Ok(response);
    }
    let mut message = explain(&mut response);
    let at = response.trail.url.as_ref().unwrap_or(url);
    let status = response.status.as_u16();
    let retry_after = retry_after_of(&response.headers, None);
    let rate = RateLimit::of(&response.headers).filter(|rate| rate.remaining == 0);
    if let Some(rate) = rate.filter(|_| status == 429 && message.is_empty()) {
        message = rate.to_string();
    }
    Err(match status {
        // GitHub says 403 when the limit is reached ("Rate limits for the REST API").
        403 if rate.is_some() => ErrorKind::RateLimited { host: host(at), message, retry_after },
        401 | 403 => {
            let with_credentials = response.trail.with_credentials();
            ErrorKind::Refused { host: host(at), status, message, with_credentials }
        }
        404 | 410 => ErrorKind::NotFound { url: shown(at), message },
        429 => ErrorKind::RateLimited { host: host(at), message, retry_after },
        _ => {
            let more = match (retry_after, crate::location(&response, at)) {
                (Some(time), _) => format!("asks to come again in {} s", time.as_secs()),
                (None, Ok(Some(next))) if response.status.is_redirection() => format!("leads to {}", shown(&next)),
                _ => String::new(),
            };
            let separator = if message.is_empty() || more.is_empty() { "" } else { "; " };
            message = format!("{message}{separator}{more}");
            ErrorKind::Status { url: shown(at), status, message }
        }
    }
    .into())
}
