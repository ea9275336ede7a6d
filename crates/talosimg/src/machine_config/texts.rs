//! Texts that hold a secret, wherever they stand.

use crate::yaml::{self, Node};

/// What a text without a value looks like: nothing, asterisks, a place that another tool fills in.
pub(super) fn placeholder(text: &str) -> bool {
    let text = text.trim();
    text.chars().all(|c| "*.xX".contains(c)) || !text.contains('\n') && filled_in_later(text)
}

fn filled_in_later(text: &str) -> bool {
    (text.starts_with("${") && text.ends_with('}'))
        || (text.starts_with("{{") && text.ends_with("}}"))
        || (text.starts_with('<') && text.ends_with('>'))
}

/// What is a secret in any place.
pub(super) fn anywhere(text: &str) -> Option<&'static str> {
    if private_key(text) {
        return Some("a private key");
    }
    if text.contains("jointoken=") && !text.split("jointoken=").skip(1).all(|rest| placeholder(until_end(rest))) {
        return Some("the join token of Omni");
    }
    if text.split("://").skip(1).any(password_in_address) {
        return Some("an address with a password in it");
    }
    None
}

fn until_end(text: &str) -> &str {
    text.split(['&', ' ', '\n', '"', '\'']).next().unwrap_or_default()
}

/// `user:password@` at the start of what stands behind `://`.
fn password_in_address(rest: &str) -> bool {
    let authority = rest.split(|c: char| "/?#\"' ".contains(c) || c.is_whitespace()).next().unwrap_or_default();
    let Some((user, _)) = authority.rsplit_once('@') else { return false };
    user.split_once(':').is_some_and(|(_, password)| !password.is_empty() && !placeholder(password))
}

/// A private key in the form of OpenSSL or OpenSSH, as it is or in base64.
fn private_key(text: &str) -> bool {
    let pem = |text: &str| {
        text.split("-----BEGIN ").skip(1).any(|rest| {
            rest.split("-----")
                .next()
                .is_some_and(|name| name.ends_with("PRIVATE KEY") || name.ends_with("PRIVATE KEY BLOCK"))
        })
    };
    // Base64 of "-----BEGIN ".
    pem(text)
        || text.trim_start().starts_with("LS0tLS1CRUdJTi")
            && pem(&String::from_utf8_lossy(&base64(text.trim_start(), 64)))
        || text.contains("AGE-SECRET-KEY-1")
}

/// The first bytes of a base64 text.
fn base64(text: &str, limit: usize) -> Vec<u8> {
    let (mut out, mut bits, mut count) = (Vec::new(), 0_u32, 0_u32);
    for byte in text.bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte.wrapping_sub(b'A'),
            b'a'..=b'z' => byte.wrapping_sub(b'a').wrapping_add(26),
            b'0'..=b'9' => byte.wrapping_sub(b'0').wrapping_add(52),
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            b'\n' | b'\r' => continue,
            _ => break,
        };
        bits = (bits << 6 | u32::from(value)) & 0xffff;
        count = count.saturating_add(6);
        if count >= 8 {
            count = count.saturating_sub(8);
            let [.., byte] = (bits >> count).to_be_bytes();
            out.push(byte);
            if out.len() == limit {
                break;
            }
        }
    }
    out
}

/// Names under which secrets go.
pub(super) fn secret_name(name: &str) -> bool {
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    // Public halves and places of secrets are none.
    let harmless = ["public", "file", "path", "dir", "ttl", "url", "endpoint", "name"];
    let secret = [
        "password",
        "passwd",
        "passphrase",
        "secret",
        "token",
        "authkey",
        "apikey",
        "accesskey",
        "privatekey",
        "presharedkey",
        "credential",
    ];
    secret.iter().any(|word| plain.contains(word))
        && !harmless.iter().any(|word| plain.ends_with(word) || plain.starts_with(word))
}

/// A file with a line such as `password = …` or `token: …`.
pub(super) fn file_secret(text: &str) -> bool {
    text.lines().any(|line| {
        let line = line.trim_start();
        let Some((name, value)) = line.split_once(['=', ':']) else { return false };
        let value = value.trim().trim_matches(['"', '\'', ',']);
        !line.starts_with(['#', ';'])
            && name.len() < 80
            && !value.is_empty()
            && !placeholder(value)
            && !matches!(value, "true" | "false")
            && secret_name(name.trim().trim_matches(['"', '\'']))
    })
}

/// Whether one of the manifests in a text is a Secret with something in it.
pub(super) fn manifest_secret(text: &str) -> bool {
    let secret = |node: &Node| {
        node.get("kind").and_then(Node::text) == Some("Secret")
            && ["data", "stringData"].iter().any(|key| node.get(key).is_some_and(|data| !data.entries().is_empty()))
    };
    match yaml::nodes("manifest", text) {
        Ok(nodes) => nodes
            .iter()
            .any(|node| secret(node) || node.get("items").is_some_and(|items| items.items().iter().any(secret))),
        // A template, perhaps: its words decide.
        Err(_) => text.lines().any(|line| line.trim() == "kind: Secret"),
    }
}
