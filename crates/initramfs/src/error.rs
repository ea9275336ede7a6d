//! What can be wrong with what is to be written.

use std::io;

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error(Box<ErrorKind>);

/// [`Error`] for short.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A path that no tree takes.
    #[error("{path:?}: {problem}")]
    Path {
        /// The path.
        path: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Two entries at one path.
    #[error("{path} is given twice")]
    Duplicate {
        /// The path.
        path: String,
    },
    /// An entry below something that is no folder.
    #[error("{path} lies below {parent}, which is a {kind}")]
    NotADirectory {
        /// The path.
        path: String,
        /// What is above it.
        parent: String,
        /// What that is.
        kind: &'static str,
    },
    /// An extended attribute that the format does not know.
    #[error("{path}: the attribute {name:?}: {problem}")]
    Xattr {
        /// The path.
        path: String,
        /// The attribute's whole name.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// An option outside its range.
    #[error("{0}")]
    Option(String),
    /// A number that the format has no room for.
    #[error("{what}: {value} is more than the format holds: {limit}")]
    TooLarge {
        /// What it is.
        what: String,
        /// How much it is.
        value: u64,
        /// How much it may be.
        limit: u64,
    },
    /// A source failed.
    #[error("{path} cannot be read: {source}")]
    Read {
        /// Path of the entry.
        path: String,
        /// The medium's answer.
        source: io::Error,
    },
    /// The output failed.
    #[error("writing failed: {0}")]
    Write(#[source] io::Error),
}

impl Error {
    /// What went wrong.
    pub fn kind(&self) -> &ErrorKind {
        &self.0
    }

    /// The answer of a medium, if that is what failed.
    pub fn io(&self) -> Option<&io::Error> {
        match self.kind() {
            ErrorKind::Read { source, .. } | ErrorKind::Write(source) => Some(source),
            _ => None,
        }
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self(Box::new(kind))
    }
}
