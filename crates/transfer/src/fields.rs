//! Header fields whose values a server chooses freely (RFC 9110).

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, header};

/// `Content-Range` (RFC 9110 section 14.4) in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ContentRange {
    /// `bytes FIRST-LAST/TOTAL`; both ends are inside.
    Part {
        /// Offset of the first byte.
        first: u64,
        /// Offset of the last byte, not before the first.
        last: u64,
        /// Size of the whole, if the server knows it; greater than `last`.
        total: Option<u64>,
    },
    /// `bytes */TOTAL`, of an answer 416.
    Unsatisfied {
        /// Size of the whole.
        total: u64,
    },
}

impl ContentRange {
    /// Reads a value; nothing when it is no range of bytes.
    ///
    /// ```
    /// use transfer::ContentRange;
    ///
    /// let part = ContentRange::parse("bytes 0-499/1234");
    /// assert_eq!(part, Some(ContentRange::Part { first: 0, last: 499, total: Some(1234) }));
    /// assert_eq!(ContentRange::parse("bytes 500-499/1234"), None);
    /// ```
    pub fn parse(value: &str) -> Option<Self> {
        let (unit, rest) = value.trim().split_once([' ', '\t'])?;
        let (range, total) = rest.trim().split_once('/')?;
        if !unit.eq_ignore_ascii_case("bytes") {
            return None;
        }
        if range.trim() == "*" {
            return Some(Self::Unsatisfied { total: number(total)? });
        }
        let (first, last) = range.split_once('-')?;
        let (first, last) = (number(first)?, number(last)?);
        let total = if total.trim() == "*" { None } else { Some(number(total)?) };
        (first <= last && total.is_none_or(|total| last < total)).then_some(Self::Part { first, last, total })
    }

    /// The value in the headers of an answer; nothing when it is missing or unreadable.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        Self::parse(headers.get(header::CONTENT_RANGE)?.to_str().ok()?)
    }
}

/// Decimal digits and nothing else: no sign, no fraction.
pub(crate) fn number(text: &str) -> Option<u64> {
    let text = text.trim();
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

/// `Content-Length`, if it is a number. Several equal ones are one (RFC 9110 section 8.6).
pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    let mut found = None;
    for value in headers.get_all(header::CONTENT_LENGTH) {
        for part in value.to_str().ok()?.split(',') {
            let length = number(part)?;
            if found.is_some_and(|other| other != length) {
                return None;
            }
            found = Some(length);
        }
    }
    found
}

/// A date in one of the three forms of RFC 9110 section 5.6.7, as seconds since 1970.
pub fn http_date(value: &str) -> Option<u64> {
    let time = httpdate::parse_http_date(value.trim()).ok()?;
    time.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs())
}

/// `Retry-After` (RFC 9110 section 10.2.3): seconds, or a date, which counts from `now` (seconds since 1970).
///
/// ```
/// use std::time::Duration;
/// assert_eq!(transfer::retry_after("120", 0), Some(Duration::from_secs(120)));
/// assert_eq!(transfer::retry_after("Fri, 31 Dec 1999 23:59:59 GMT", 946_684_796), Some(Duration::from_secs(3)));
/// assert_eq!(transfer::retry_after("soon", 0), None);
/// ```
pub fn retry_after(value: &str, now: u64) -> Option<Duration> {
    let digits = value.trim();
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a u64 holds mean a very long time, not none.
        return Some(Duration::from_secs(digits.parse().unwrap_or(u64::MAX)));
    }
    http_date(value).map(|date| Duration::from_secs(date.saturating_sub(now)))
}

/// What `Retry-After` of an answer says. A date counts from the answer's own `Date`, so that clocks may differ, else
/// from `now`.
pub(crate) fn retry_after_of(headers: &HeaderMap, now: Option<u64>) -> Option<Duration> {
    let value = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    let date = headers.get(header::DATE).and_then(|date| http_date(date.to_str().ok()?));
    match date.or(now) {
        Some(now) => retry_after(value, now),
        None => number(value).map(Duration::from_secs),
    }
}

/// What `If-Range` may carry (RFC 9110 sections 8.8 and 13.1.5): a strong entity tag, else a `Last-Modified` that lies
/// at least a second before the answer's `Date`.
pub(crate) fn strong_validator(headers: &HeaderMap) -> Option<String> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(tag) = text(header::ETAG) {
        let strong = tag.len() >= 2 && tag.starts_with('"') && tag.ends_with('"');
        return strong.then(|| tag.to_owned());
    }
    let modified = text(header::LAST_MODIFIED)?;
    let (then, date) = (http_date(modified)?, http_date(text(header::DATE)?)?);
    (date > then).then(|| modified.to_owned())
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(fields: &[(HeaderName, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    #[test]
    fn content_ranges() {
        let part = |first, last, total| Some(ContentRange::Part { first, last, total });
        for (value, expected) in [
            ("bytes 0-0/1", part(0, 0, Some(1))),
            ("bytes 5-9/*", part(5, 9, None)),
            ("BYTES 5-9/10", part(5, 9, Some(10))),
            ("bytes  5-9/10 ", part(5, 9, Some(10))),
            ("bytes */10", Some(ContentRange::Unsatisfied { total: 10 })),
            ("bytes */*", None),
            ("bytes 5-9/9", None),
            ("bytes 9-5/10", None),
            ("bytes -5/10", None),
            ("bytes 5-/10", None),
            ("bytes +5-9/10", None),
            ("bytes 5-9", None),
            ("items 5-9/10", None),
            ("bytes=5-9/10", None),
            ("bytes 0-18446744073709551615/*", part(0, u64::MAX, None)),
            ("bytes 0-18446744073709551616/*", None),
            ("", None),
        ] {
            assert_eq!(ContentRange::parse(value), expected, "{value}");
        }
    }

    #[test]
    fn lengths_that_disagree_are_none() {
        let length = |values: &[&str]| {
            content_length(&headers(&values.iter().map(|value| (header::CONTENT_LENGTH, *value)).collect::<Vec<_>>()))
        };
        assert_eq!(length(&["5"]), Some(5));
        assert_eq!(length(&["5, 5", "5"]), Some(5));
        assert_eq!(length(&["5", "6"]), None);
        assert_eq!(length(&["-5"]), None);
        assert_eq!(length(&[]), None);
    }

    #[test]
    fn waiting_times() {
        let date = "Thu, 01 Jan 1970 00:01:40 GMT";
        for (value, now, expected) in [
            ("0", 0, Some(0)),
            (" 7 ", 0, Some(7)),
            ("99999999999999999999999", 0, Some(u64::MAX)),
            ("-1", 0, None),
            ("1.5", 0, None),
            ("", 0, None),
            (date, 90, Some(10)),
            (date, 200, Some(0)),
            ("Thursday, 01-Jan-70 00:01:40 GMT", 90, Some(10)),
        ] {
            assert_eq!(retry_after(value, now), expected.map(Duration::from_secs), "{value}");
        }
        let of = |fields: &[(HeaderName, &str)], now| retry_after_of(&headers(fields), now);
        let ahead = [(header::RETRY_AFTER, date), (header::DATE, "Thu, 01 Jan 1970 00:01:00 GMT")];
        assert_eq!(of(&ahead, Some(5_000_000)), Some(Duration::from_secs(40)), "the server's clock counts");
        assert_eq!(of(&ahead[..1], None), None);
        assert_eq!(of(&[(header::RETRY_AFTER, "3")], None), Some(Duration::from_secs(3)));
    }

    #[test]
    fn only_strong_validators_bind_two_pieces() {
        let (early, late) = ("Thu, 01 Jan 1970 00:01:00 GMT", "Thu, 01 Jan 1970 00:01:01 GMT");
        for (fields, expected) in [
            (vec![(header::ETAG, "\"a\"")], Some("\"a\"")),
            (vec![(header::ETAG, "W/\"a\"")], None),
            (vec![(header::ETAG, "a")], None),
            (vec![(header::LAST_MODIFIED, early)], None),
            (vec![(header::LAST_MODIFIED, early), (header::DATE, early)], None),
            (vec![(header::LAST_MODIFIED, early), (header::DATE, late)], Some(early)),
            (vec![(header::ETAG, "W/\"a\""), (header::LAST_MODIFIED, early), (header::DATE, late)], None),
        ] {
            assert_eq!(strong_validator(&headers(&fields)).as_deref(), expected, "{fields:?}");
        }
    }
}
