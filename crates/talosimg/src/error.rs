//! The one error of this crate.

use std::fmt;

/// What went wrong with a request of ours. Foreign data gives findings instead.
pub struct Error(Box<ErrorKind>);

/// The kinds of [`Error`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A release name that is not `vMAJOR.MINOR.PATCH[-PRE][+BUILD]`.
    #[error(
        "{text:?} is no Talos version: {reason}; expected vMAJOR.MINOR.PATCH, such as v1.10.6 or v1.10.6-nanopi-m6"
    )]
    Version {
        /// What was given.
        text: String,
        /// Why it is refused.
        reason: &'static str,
    },
    /// YAML that does not parse, is too large, or does not have the expected shape.
    #[error("{what}: {message}")]
    Yaml {
        /// Whose YAML it is.
        what: String,
        /// The parser's words, with line, column and a caret.
        message: String,
    },
    /// An overlay option, request or description that cannot be used.
    #[error("{0}")]
    Overlay(String),
}

impl Error {
    /// The kind, to match on.
    pub fn kind(&self) -> &ErrorKind {
        &self.0
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self(Box::new(kind))
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

/// The result of everything here that can be refused.
pub type Result<T> = std::result::Result<T, Error>;
