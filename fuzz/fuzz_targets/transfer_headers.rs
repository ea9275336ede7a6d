//! Header fields and texts of servers: `Content-Range`, `Retry-After`, rate limits, refusals.
#![no_main]

use transfer::{ContentRange, HeaderMap, HeaderName, HeaderValue, RateLimit, Response, StatusCode, check};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let text = String::from_utf8_lossy(bytes);
    if let Some(ContentRange::Part { first, last, total }) = ContentRange::parse(&text) {
        assert!(first <= last && total.is_none_or(|total| last < total));
    }
    let _ = (transfer::retry_after(&text, 1_700_000_000), transfer::http_date(&text));
    let clean = transfer::clean(&text);
    assert!(clean.chars().count() <= 300 && !clean.contains(char::is_control));

    let mut headers = HeaderMap::new();
    for line in bytes.split(|byte| *byte == b'\n') {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let name = parts.next().and_then(|name| HeaderName::from_bytes(name).ok());
        let value = parts.next().and_then(|value| HeaderValue::from_bytes(value).ok());
        if let (Some(name), Some(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    let _ = RateLimit::of(&headers).map(|rate| rate.to_string());
    let Ok(url) = "https://registry.example/v2/".parse() else { return };
    for status in [StatusCode::FORBIDDEN, StatusCode::FOUND, StatusCode::SERVICE_UNAVAILABLE] {
        let answer = Response::new(status, headers.clone(), std::io::Cursor::new(bytes.to_vec()));
        let _ = transfer::location(&answer, &url);
        let _ = check(answer, &url).map_err(|error| error.to_string());
    }
});
