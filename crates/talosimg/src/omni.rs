//! Joining Omni: the kernel arguments that its own images have, and what Omni does with such a node later
//! (`spec/talos-image.md` §11).
//!
//! ```
//! use talosimg::omni::{Token, arguments};
//!
//! let token = Token::parse("v2:ab/c=\n")?;
//! assert_eq!(format!("{token:?}"), "Token(…)");
//! assert_eq!(arguments("https://omni.example:8090?grpc_tunnel=true", &token)?, [
//!     "siderolink.api=https://omni.example:8090?grpc_tunnel=true&jointoken=v2%3Aab%2Fc%3D",
//!     "talos.events.sink=[fdae:41e4:649b:9303::1]:8091",
//!     "talos.logging.kernel=tcp://[fdae:41e4:649b:9303::1]:8092",
//! ]);
//! # Ok::<(), talosimg::Error>(())
//! ```
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::fmt;

use crate::error::{Error, ErrorKind, Result};

#[cfg(test)]
mod tests;
mod upgrade;

pub use upgrade::{Image, Report, Upgrade, upgrade};

/// Where a node sends its events: Omni's address inside the tunnel (`client/pkg/siderolink`, `GetListenHost`).
const EVENTS_SINK: &str = "talos.events.sink=[fdae:41e4:649b:9303::1]:8091";
/// Where it sends its kernel's log.
const LOGGING_KERNEL: &str = "talos.logging.kernel=tcp://[fdae:41e4:649b:9303::1]:8092";

/// Omni's join token. It prints as nothing, so that no log holds it.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

/// Longer ones do not fit a kernel's command line.
const TOKEN_LIMIT: usize = 1536;

impl Token {
    /// Reads the content of a token file: one word, with or without a line break behind it. A token may be a plain word
    /// or one of Omni's signed ones (`v1:…`, `v2:…`), which is passed on as it is.
    ///
    /// # Errors
    /// Nothing in it, white space or other characters in it that no token has, too long. The message holds no part of
    /// it.
    pub fn parse(text: &str) -> Result<Self> {
        let token = text.strip_prefix('\u{feff}').unwrap_or(text).trim_end_matches(['\r', '\n']);
        let problem = if token.is_empty() {
            "it is empty".to_owned()
        } else if token.contains(['\r', '\n']) {
            "it has several lines; a token file holds the token alone".to_owned()
        } else if token.contains(char::is_whitespace) {
            "there is white space in it; a token file holds the token alone, on one line".to_owned()
        } else if token.contains("jointoken=") || token.contains("://") {
            "it is a whole kernel argument or address; give the word behind `jointoken=` alone".to_owned()
        } else if !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            "there is a character in it that no token has".to_owned()
        } else if token.len() > TOKEN_LIMIT {
            format!("it has {} bytes, more than a kernel's command line takes ({TOKEN_LIMIT})", token.len())
        } else {
            return Ok(Self(token.to_owned()));
        };
        Err(refuse(format!("the join token cannot be used: {problem}; `omnictl jointoken list` shows yours")))
    }

    /// As it stands in a query: `url.QueryEscape` of Go.
    fn escaped(&self) -> String {
        use fmt::Write as _;
        let mut out = String::new();
        for byte in self.0.bytes() {
            if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
                out.push(char::from(byte));
            } else {
                let _ = write!(out, "%{byte:02X}");
            }
        }
        out
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

fn refuse(message: impl Into<String>) -> Error {
    ErrorKind::Omni(message.into()).into()
}

/// The kernel arguments with which a node joins Omni, in Omni's order. They go behind all others, as extra arguments.
///
/// `url` is the machine API's address as Omni shows it: `https://HOST[:PORT]`, `grpc://HOST:PORT`, either with
/// `?grpc_tunnel=true` where WireGuard's UDP does not get through.
///
/// # Errors
/// Another scheme, no host, user names, a path, a fragment, another query, `grpc` without a port.
pub fn arguments(url: &str, token: &Token) -> Result<Vec<String>> {
    let address = Address::parse(url)?;
    let tunnel = if address.tunnel { "grpc_tunnel=true&" } else { "" };
    Ok(vec![
        format!(
            "siderolink.api={}://{}{}?{tunnel}jointoken={}",
            address.scheme,
            address.authority,
            address.path,
            token.escaped()
        ),
        EVENTS_SINK.to_owned(),
        LOGGING_KERNEL.to_owned(),
    ])
}

struct Address<'a> {
    scheme: &'static str,
    authority: &'a str,
    path: &'a str,
    tunnel: bool,
}

impl<'a> Address<'a> {
    fn parse(url: &'a str) -> Result<Self> {
        // The address may hold a token by mistake, so no message shows more of it than scheme and host.
        let refuse = |problem: String| {
            refuse(format!(
                "the address of Omni cannot be used: {problem}; expected https://HOST[:PORT] or grpc://HOST:PORT, as `siderolink.api=` in \
                 Omni's own kernel arguments has it"
            ))
        };
        let (scheme, rest) = url.split_once("://").ok_or_else(|| refuse("it has no scheme".to_owned()))?;
        let scheme = match scheme.to_ascii_lowercase().as_str() {
            "https" => "https",
            "grpc" => "grpc",
            other if other.bytes().all(|byte| byte.is_ascii_alphanumeric()) && other.len() < 16 => {
                return Err(refuse(format!("its scheme is {other}")));
            }
            _ => return Err(refuse("it has another scheme".to_owned())),
        };
        if rest.contains('#') {
            return Err(refuse("it has a fragment (#)".to_owned()));
        }
        let (place, query) = rest.split_once('?').map_or((rest, None), |(place, query)| (place, Some(query)));
        let (authority, path) = match place.find('/').and_then(|at| place.split_at_checked(at)) {
            Some((authority, "/")) => (authority, "/"),
            Some((_, path)) if path.contains('@') => return Err(refuse("there is a @ in it".to_owned())),
            Some(_) => return Err(refuse("it has a path".to_owned())),
            None => (place, ""),
        };
        if authority.contains('@') {
            return Err(refuse("it holds a user name".to_owned()));
        }
        let port = host_and_port(authority).map_err(refuse)?;
        if scheme == "grpc" && !port {
            return Err(refuse("grpc:// needs a port".to_owned()));
        }
        let mut tunnel = false;
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=').unwrap_or((pair, "")) {
                // Talos takes these two for yes and everything else for no.
                ("grpc_tunnel", value) => tunnel = value == "true" || value == "y",
                ("jointoken", _) => {
                    return Err(refuse("it holds the join token, which is given as a file".to_owned()));
                }
                _ => return Err(refuse("its query holds something else than grpc_tunnel".to_owned())),
            }
        }
        Ok(Self { scheme, authority, path, tunnel })
    }
}

/// Whether there is a port.
fn host_and_port(authority: &str) -> std::result::Result<bool, String> {
    let (host, port) = match authority.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(Some((host, rest))) => {
            if host.parse::<core::net::Ipv6Addr>().is_err() {
                return Err("what stands in brackets is no IPv6 address".to_owned());
            }
            (
                host,
                if rest.is_empty() {
                    None
                } else {
                    Some(rest.strip_prefix(':').ok_or("there is something behind the ]")?)
                },
            )
        }
        Some(None) => return Err("its [ has no ]".to_owned()),
        None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    if host.is_empty() {
        return Err("it has no host".to_owned());
    }
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
    if !host.bytes().all(good) {
        return Err("its host has a character that no name has".to_owned());
    }
    match port {
        None => Ok(false),
        Some(port)
            if port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|port| port > 0) =>
        {
            Ok(true)
        }
        Some(_) => Err("its port is no number of 1 to 65535 (an IPv6 address stands in brackets)".to_owned()),
    }
}
