//! What a server says about its refusal, made fit to be shown.

use std::io::Read as _;

use http::header;
use serde_json::Value;

use crate::{Response, Secret};

/// The most that is read of the body of a refusal.
const MOST: u64 = 64 * 1024;

/// The most characters that are shown of a server's text.
const SHOWN: usize = 300;

/// One line of foreign text: the first that is not empty, without control characters and characters that turn the
/// direction of writing, of at most 300 characters.
///
/// ```
/// assert_eq!(transfer::clean("\n  access\u{1b}[2J denied\t!\nsecond line"), "access[2J denied !");
/// ```
pub fn clean(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    let mut cleaned: String =
        line.chars().map(|c| if c == '\t' { ' ' } else { c }).filter(|c| !hidden(*c)).take(SHOWN + 1).collect();
    if cleaned.chars().count() > SHOWN {
        cleaned = cleaned.chars().take(SHOWN - 1).chain(['…']).collect();
    }
    cleaned.trim().to_owned()
}

/// Reads the body of a refusal and says what it means in a line.
pub(crate) fn explain(response: &mut Response) -> String {
    let mut bytes = Vec::new();
    // What came before the body broke still helps.
    let _ = (&mut response.body).take(MOST).read_to_end(&mut bytes);
    let text = String::from_utf8_lossy(&bytes);
    let html = response.text(&header::CONTENT_TYPE).is_some_and(|kind| kind.contains("html"))
        || text.trim_start().starts_with('<');
    let message = match serde_json::from_slice(&bytes) {
        Ok(value) => of_json(&value),
        Err(_) if html => title(&text).to_owned(),
        Err(_) => text.into_owned(),
    };
    // Removed before the text is cut, so that no half of it stays.
    clean(&hide(&message, response.trail.credential.as_ref()))
}

/// The distribution specification's `errors[]` ("Error Codes"), else what GitHub, token servers and S3 gateways use.
fn of_json(value: &Value) -> String {
    let text = |value: &Value, names: &[&str]| {
        names.iter().find_map(|name| value.get(name)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned))
    };
    let errors = value.get("errors").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let listed: Vec<_> =
        errors.iter().filter_map(|error| text(error, &["message", "code"])).map(|text| clean(&text)).take(3).collect();
    if !listed.is_empty() {
        return listed.join("; ");
    }
    text(value, &["message", "error_description", "details", "detail", "error"]).unwrap_or_default()
}

fn title(page: &str) -> &str {
    let lower = page.to_ascii_lowercase();
    let inside = |name: &str| {
        let from = lower.find(&format!("<{name}"))?;
        let from = from + lower.get(from..)?.find('>')? + 1;
        let to = from + lower.get(from..)?.find('<')?;
        page.get(from..to)
    };
    inside("title").or_else(|| inside("h1")).unwrap_or_default()
}

/// A server may repeat the credential that it refuses; nobody else does.
fn hide(text: &str, credential: Option<&Secret>) -> String {
    let mut text = text.to_owned();
    for part in credential.into_iter().flat_map(parts) {
        text = text.replace(&part, "…");
    }
    text
}

/// What of a value of `Authorization` is secret: the part behind the scheme, and of `Basic` the password too.
fn parts(credential: &Secret) -> Vec<String> {
    let Some((scheme, value)) = credential.reveal().split_once(' ') else {
        return vec![credential.reveal().to_owned()];
    };
    let mut parts = vec![value.trim().to_owned()];
    if scheme.eq_ignore_ascii_case("basic")
        && let Some(pair) = base64(value.trim()).and_then(|bytes| String::from_utf8(bytes).ok())
    {
        parts.extend(pair.split_once(':').map(|(_, password)| password.to_owned()));
    }
    parts.retain(|part| part.len() >= 4);
    parts
}

/// RFC 4648 section 4, of our own making.
fn base64(text: &str) -> Option<Vec<u8>> {
    let (mut bits, mut count, mut bytes) = (0_u32, 0, Vec::new());
    for byte in text.trim_end_matches('=').bytes() {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(six)) & 0xff_ffff;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff) as u8);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue, StatusCode};

    use super::*;

    fn said(kind: &'static str, body: &[u8], credential: Option<&str>) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        let mut response = Response::new(StatusCode::FORBIDDEN, headers, std::io::Cursor::new(body.to_vec()));
        response.trail.credential = credential.map(Secret::new);
        explain(&mut response)
    }

    #[test]
    fn bodies_of_refusals_become_a_line() {
        let json = "application/json";
        for (kind, body, expected) in [
            (
                json,
                r#"{"errors":[{"code":"DENIED","message":"requested access is denied"}]}"#,
                "requested access is denied",
            ),
            (json, r#"{"errors":[{"code":"DENIED","message":""},{"message":"b\nc"}]}"#, "DENIED; b"),
            (json, r#"{"errors":[],"message":"Not Found"}"#, "Not Found"),
            (
                json,
                r#"{"errors":{"a":1},"details":"incorrect username or password"}"#,
                "incorrect username or password",
            ),
            (json, r#"{"error":"invalid_grant","error_description":"expired"}"#, "expired"),
            (json, "[1,2]", ""),
            (json, "", ""),
            ("text/plain", "\r\n\u{7}no\u{202e}pe\r\nmore", "nope"),
            ("text/html", "<html><head><TITLE lang=x>502 Bad Gateway</title>", "502 Bad Gateway"),
            ("text/html", "<h1>Oh</h1><p>…", "Oh"),
            ("text/plain", "<!doctype html><p>x", ""),
            ("text/html", "<title", ""),
        ] {
            assert_eq!(said(kind, body.as_bytes(), None), expected, "{body}");
        }
        assert_eq!(said("text/plain", &[0xff, b'a', 0], None), "\u{fffd}a");
        let long = said("text/plain", "ä".repeat(1000).as_bytes(), None);
        assert_eq!((long.chars().count(), long.chars().last()), (300, Some('…')));
    }

    #[test]
    fn a_credential_that_comes_back_is_hidden() {
        // "me:sesame!" in base64.
        let (bearer, basic) = ("Bearer abc.def.ghi", "Basic bWU6c2VzYW1lIQ==");
        for (credential, body, expected) in [
            (bearer, "bad token abc.def.ghi!", "bad token …!"),
            (bearer, r#"{"message":"Bearer abc.def.ghi"}"#, "Bearer …"),
            (basic, "no: bWU6c2VzYW1lIQ== means me:sesame!", "no: … means me:…"),
            ("opaque-value", "opaque-value", "…"),
            ("Basic ????", "x ???? y", "x … y"),
        ] {
            assert_eq!(said("text/plain", body.as_bytes(), Some(credential)), expected);
        }
        let cut = format!("{}abc.def.ghi", "x".repeat(295));
        assert!(!said("text/plain", cut.as_bytes(), Some(bearer)).contains("abc"));
    }
}
