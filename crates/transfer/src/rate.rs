//! How often one may still ask.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::{fmt, time::Duration};

use http::HeaderMap;

use crate::fields::number;

/// What a server says of its rate limit.
///
/// Docker Hub sends `ratelimit-limit: 100;w=21600` and `ratelimit-remaining: 76;w=21600`
/// (docs.docker.com, "Docker Hub usage and limits"), GitHub `x-ratelimit-limit`, `x-ratelimit-remaining` and
/// `x-ratelimit-reset` in seconds since 1970 (docs.github.com, "Rate limits for the REST API").
///
/// ```
/// use transfer::{HeaderMap, HeaderValue, RateLimit};
///
/// let mut headers = HeaderMap::new();
/// headers.insert("ratelimit-limit", HeaderValue::from_static("100;w=21600"));
/// headers.insert("ratelimit-remaining", HeaderValue::from_static("76;w=21600"));
/// let rate = RateLimit::of(&headers).expect("both are there");
/// assert_eq!(rate.to_string(), "76 of 100 requests left, in each 6 h");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests in a window.
    pub limit: Option<u64>,
    /// Requests that are left of them.
    pub remaining: u64,
    /// Length of the window, if the server tells it.
    pub window: Option<Duration>,
    /// When the window ends, in seconds since 1970, if the server tells it so.
    pub reset: Option<u64>,
}

impl RateLimit {
    /// Reads the headers of an answer; nothing when they do not say what remains.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        for prefix in ["", "x-"] {
            let Some((remaining, window)) = text(&format!("{prefix}ratelimit-remaining")).and_then(quota) else {
                continue;
            };
            let limit = text(&format!("{prefix}ratelimit-limit")).and_then(quota);
            let reset = text(&format!("{prefix}ratelimit-reset")).and_then(number);
            // A draft of the IETF counts the seconds that are left; GitHub gives the time. No window lasts a century.
            let is_time = |seconds: &u64| *seconds > 3_000_000_000 / 2;
            return Some(Self {
                limit: limit.map(|(limit, _)| limit),
                remaining,
                window: window
                    .or(limit.and_then(|(_, window)| window))
                    .or(reset.filter(|seconds| !is_time(seconds)).map(Duration::from_secs)),
                reset: reset.filter(is_time),
            });
        }
        None
    }
}

/// `100;w=21600`, `100, 100;window=60`, `100`.
fn quota(value: &str) -> Option<(u64, Option<Duration>)> {
    let mut parts = value.split([';', ',']).map(str::trim);
    let count = number(parts.next()?)?;
    let window = parts.find_map(|part| part.strip_prefix("w=").or_else(|| part.strip_prefix("window=")));
    Some((count, window.and_then(number).map(Duration::from_secs)))
}

impl fmt::Display for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.remaining)?;
        if let Some(limit) = self.limit {
            write!(f, " of {limit}")?;
        }
        f.write_str(" requests left")?;
        match self.window.map(|window| window.as_secs()) {
            Some(seconds) if seconds >= 3600 && seconds % 3600 == 0 => write!(f, ", in each {} h", seconds / 3600),
            Some(seconds) if seconds >= 60 && seconds % 60 == 0 => write!(f, ", in each {} min", seconds / 60),
            Some(seconds) => write!(f, ", in each {seconds} s"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn what_servers_say() {
        let hours = |count: u64| Some(Duration::from_secs(count * 3600));
        let rate = |limit, remaining, window, reset| Some(RateLimit { limit, remaining, window, reset });
        for (fields, expected) in [
            (
                vec![("ratelimit-limit", "100;w=21600"), ("ratelimit-remaining", "99;w=21600")],
                rate(Some(100), 99, hours(6), None),
            ),
            (vec![("ratelimit-remaining", "3")], rate(None, 3, None, None)),
            (
                vec![
                    ("ratelimit-limit", "10, 10;window=3600"),
                    ("ratelimit-remaining", "0"),
                    ("ratelimit-reset", "50"),
                ],
                rate(Some(10), 0, hours(1), None),
            ),
            (vec![("ratelimit-remaining", "1"), ("ratelimit-reset", "50")], {
                rate(None, 1, Some(Duration::from_secs(50)), None)
            }),
            (
                vec![("x-ratelimit-limit", "60"), ("x-ratelimit-remaining", "0"), ("x-ratelimit-reset", "1795388799")],
                rate(Some(60), 0, None, Some(1_795_388_799)),
            ),
            (vec![("ratelimit-limit", "100;w=21600")], None),
            (vec![("ratelimit-remaining", "-1")], None),
            (vec![("ratelimit-remaining", "")], None),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in &fields {
                headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
            }
            assert_eq!(RateLimit::of(&headers), expected, "{fields:?}");
        }
    }
}
