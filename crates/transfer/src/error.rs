//! Why bytes did not arrive.

use std::{error::Error as StdError, io, time::Duration};

use imgcore::Digest;
use url::Url;

use crate::host;

/// Why bytes did not arrive.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error(Box<ErrorKind>);

impl Error {
    /// What is wrong.
    pub fn kind(&self) -> &ErrorKind {
        &self.0
    }

    /// What is wrong, to keep.
    pub fn into_kind(self) -> ErrorKind {
        *self.0
    }

    /// Why the body of an answer from `url` could not be read: the error of this crate inside it, else a connection
    /// that broke.
    pub fn from_body(error: io::Error, url: &Url) -> Self {
        match error.downcast::<Self>() {
            Ok(inner) => inner,
            Err(other) => ErrorKind::Connect { host: host(url), source: other.into() }.into(),
        }
    }

    /// Whether the same may work a moment later: connections and time, no answer that was understood.
    pub fn is_transient(&self) -> bool {
        matches!(self.kind(), ErrorKind::Connect { .. } | ErrorKind::Timeout { .. })
    }

    /// How long nothing came before it was given up; nothing for every other failure.
    pub fn waited(&self) -> Duration {
        match self.kind() {
            ErrorKind::Timeout { waited, .. } => *waited,
            _ => Duration::ZERO,
        }
    }

    /// Whether the user stopped it.
    pub fn is_cancelled(&self) -> bool {
        matches!(self.kind(), ErrorKind::Cancelled)
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self(Box::new(kind))
    }
}

/// What is wrong. Texts of servers are cut to a line and freed of control characters before they get here.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No connection, or one that broke.
    #[error("{host}: no connection: {source}")]
    Connect {
        /// Host and port.
        host: String,
        /// Why.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The certificate, or the lack of trust in it.
    #[error("{host}: TLS: {source}")]
    Tls {
        /// Host and port.
        host: String,
        /// Why.
        source: Box<dyn StdError + Send + Sync>,
    },
    /// Nothing came for too long.
    #[error("{host}: no byte for {waited:?}")]
    Timeout {
        /// Host and port.
        host: String,
        /// How long.
        waited: Duration,
    },
    /// An address without TLS at a host that was not named for it.
    #[error("{host}: refused to speak without TLS")]
    Insecure {
        /// Host and port.
        host: String,
    },
    /// Something that is no address of the web, or a redirect to one.
    #[error("{url}: {problem}")]
    Address {
        /// The address, without user and query.
        url: String,
        /// What is wrong with it.
        problem: String,
    },
    /// 401 or 403 after all credentials were tried.
    #[error("{host}: {status}: access refused{}", note(.message))]
    Refused {
        /// Host and port.
        host: String,
        /// 401 or 403.
        status: u16,
        /// What the server says.
        message: String,
        /// Whether a credential was sent.
        with_credentials: bool,
    },
    /// 404 or 410.
    #[error("{url}: not found{}", note(.message))]
    NotFound {
        /// The address, without user and query.
        url: String,
        /// What the server says.
        message: String,
    },
    /// 429, and waiting did not help or is too long.
    #[error("{host}: too many requests{}", note(.message))]
    RateLimited {
        /// Host and port.
        host: String,
        /// What the server says.
        message: String,
        /// When it says to come again.
        retry_after: Option<Duration>,
    },
    /// Any other status that is no success.
    #[error("{url}: status {status}{}", note(.message))]
    Status {
        /// The address, without user and query.
        url: String,
        /// Status.
        status: u16,
        /// What the server says.
        message: String,
    },
    /// The server does not keep to its protocol.
    #[error("{host}: {problem}")]
    Protocol {
        /// Host and port.
        host: String,
        /// What was found and what was expected.
        problem: String,
    },
    /// Other bytes than asked for.
    #[error("{url}: expected {expected}, found {found}")]
    Digest {
        /// The address, without user and query.
        url: String,
        /// What was asked for.
        expected: Digest,
        /// What came.
        found: Digest,
    },
    /// More or fewer bytes than asked for.
    #[error("{url}: expected {expected} bytes, found {found}")]
    Size {
        /// The address, without user and query.
        url: String,
        /// What was asked for.
        expected: u64,
        /// What came, or was announced.
        found: u64,
    },
    /// More bytes than anybody asked for.
    #[error("{url}: more than {limit} bytes")]
    TooLarge {
        /// The address, without user and query.
        url: String,
        /// The most that is taken.
        limit: u64,
    },
    /// The transfer broke too often.
    #[error("given up after {tries} tries: {last}")]
    GivenUp {
        /// Count of tries.
        tries: u32,
        /// The last failure.
        last: Box<Error>,
    },
    /// Writing what came, or reading what goes, failed.
    #[error("{what}: {source}")]
    Io {
        /// What was read or written.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// The program of a credential helper, a configuration file, a certificate file.
    #[error("{what}: {problem}")]
    Setup {
        /// What was used.
        what: String,
        /// What is wrong with it.
        problem: String,
    },
    /// The user stopped it.
    #[error("cancelled")]
    Cancelled,
}

fn note(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}
