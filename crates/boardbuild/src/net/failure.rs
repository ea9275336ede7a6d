//! What a failed transfer means for a command: a code, an exit code, what to do.

use imgcore::Finding;
use transfer::ErrorKind;

use crate::error::{Error, Exit};

/// The error of a command that needed `what`, a role, an address or a reference.
pub fn failed(error: &transfer::Error, what: &str) -> Error {
    if let ErrorKind::Cancelled = cause(error).kind() {
        return Error::cancelled();
    }
    let (exit, code, help) = meaning(error);
    let mut finding = Finding::error(code, error.to_string()).of(what);
    finding.help = help;
    Error::new(exit, finding)
}

/// The failure that the last try ended with.
fn cause(error: &transfer::Error) -> &transfer::Error {
    match error.kind() {
        ErrorKind::GivenUp { last, .. } => cause(last),
        _ => error,
    }
}

fn meaning(error: &transfer::Error) -> (Exit, &'static str, Option<String>) {
    let text = |text: &str| Some(text.to_owned());
    match cause(error).kind() {
        ErrorKind::Connect { .. } | ErrorKind::Timeout { .. } => (
            Exit::Io,
            "NET001",
            text(
                "run the command again: what arrived is kept; behind a proxy set HTTPS_PROXY, or name a mirror with --mirror FROM=TO",
            ),
        ),
        ErrorKind::Refused { host, with_credentials, .. } => {
            let login = host.strip_suffix(":443").unwrap_or(host);
            let help = if *with_credentials {
                format!(
                    "the account may not do this: use one that may (`docker login {login}`), or mend its rights there"
                )
            } else {
                format!(
                    "log in with `docker login {login}` or `podman login {login}`; for ghcr.io GITHUB_TOKEN works as well"
                )
            };
            (Exit::Io, "NET002", Some(help))
        }
        ErrorKind::NotFound { .. } => (
            Exit::Input,
            "NET003",
            text(
                "look at the address: it has a typing error, was moved, or needs a login that hides what it may not show",
            ),
        ),
        ErrorKind::RateLimited { retry_after, .. } => {
            let wait =
                retry_after.map_or_else(|| "wait".to_owned(), |time| format!("wait {} s", time.as_secs().max(1)));
            (
                Exit::Io,
                "NET004",
                Some(format!("{wait}, log in for a larger share, or name a mirror with --mirror FROM=TO")),
            )
        }
        ErrorKind::Tls { .. } => (
            Exit::Io,
            "NET006",
            text(
                "give the certificate of the authority with --ca-file FILE; if the clock of this machine is wrong, set it",
            ),
        ),
        ErrorKind::Insecure { host } => {
            (Exit::Io, "NET006", Some(format!("say --plain-http {host} if that is meant, or use https")))
        }
        ErrorKind::Digest { .. } | ErrorKind::Size { .. } => (
            Exit::Input,
            "SRC002",
            text(
                "the publisher replaced the file or the transfer was tampered with: find out which before `cargo xtask lock --update NAME`",
            ),
        ),
        ErrorKind::TooLarge { .. } => (
            Exit::Input,
            "SRC009",
            text("lock the input with its size (`cargo xtask lock`), or give a file with --source ROLE=FILE"),
        ),
        ErrorKind::Io { .. } => {
            (Exit::Io, "IOE001", text("make room or mend the permission, and run the command again"))
        }
        ErrorKind::Setup { .. } => (
            Exit::Io,
            "NET008",
            text("mend the file or the credential helper that is named, or take it out of the configuration"),
        ),
        _ => (
            Exit::Io,
            "NET005",
            text(
                "run the command again later; if it stays, tell the operator of the server or name a mirror with --mirror FROM=TO",
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::{io, time::Duration};

    use imgcore::Digest;
    use transfer::Error as Failure;

    use super::*;

    #[test]
    fn every_failure_has_its_code_and_says_what_to_do() {
        let host = || "registry.example:5000".to_owned();
        let url = || "https://example.org/f".to_owned();
        let message = || "no".to_owned();
        let connect = || ErrorKind::Connect { host: host(), source: Box::new(io::Error::other("refused")) };
        let cases = [
            (connect(), "NET001", Exit::Io, "HTTPS_PROXY"),
            (ErrorKind::Timeout { host: host(), waited: Duration::from_secs(30) }, "NET001", Exit::Io, "kept"),
            (
                ErrorKind::Refused { host: host(), status: 401, message: message(), with_credentials: false },
                "NET002",
                Exit::Io,
                "docker login registry.example:5000",
            ),
            (
                ErrorKind::Refused { host: host(), status: 403, message: message(), with_credentials: true },
                "NET002",
                Exit::Io,
                "the account may not",
            ),
            (ErrorKind::NotFound { url: url(), message: message() }, "NET003", Exit::Input, "address"),
            (
                ErrorKind::RateLimited { host: host(), message: message(), retry_after: Some(Duration::from_mins(15)) },
                "NET004",
                Exit::Io,
                "wait 900 s",
            ),
            (ErrorKind::Status { url: url(), status: 500, message: message() }, "NET005", Exit::Io, "later"),
            (ErrorKind::Protocol { host: host(), problem: message() }, "NET005", Exit::Io, "operator"),
            (
                ErrorKind::Tls { host: host(), source: Box::new(io::Error::other("unknown issuer")) },
                "NET006",
                Exit::Io,
                "--ca-file",
            ),
            (ErrorKind::Insecure { host: host() }, "NET006", Exit::Io, "--plain-http registry.example:5000"),
            (
                ErrorKind::Digest { url: url(), expected: Digest::of(b"a"), found: Digest::of(b"b") },
                "SRC002",
                Exit::Input,
                "replaced",
            ),
            (ErrorKind::Size { url: url(), expected: 1, found: 2 }, "SRC002", Exit::Input, "replaced"),
            (ErrorKind::TooLarge { url: url(), limit: 1 }, "SRC009", Exit::Input, "lock"),
            (ErrorKind::Io { what: "f".to_owned(), source: io::Error::other("full") }, "IOE001", Exit::Io, "room"),
            (ErrorKind::Setup { what: "helper".to_owned(), problem: message() }, "NET008", Exit::Io, "helper"),
            (
                ErrorKind::GivenUp { tries: 5, last: Box::new(Failure::from(connect())) },
                "NET001",
                Exit::Io,
                "HTTPS_PROXY",
            ),
            (ErrorKind::Cancelled, "USE002", Exit::Cancelled, ""),
        ];
        for (kind, code, exit, help) in cases {
            let error = failed(&kind.into(), "u-boot");
            let finding = error.report().iter().next().unwrap();
            assert_eq!((finding.code, error.exit()), (code, exit));
            assert!(finding.help.as_deref().unwrap_or_default().contains(help), "{finding}");
        }
    }
}
