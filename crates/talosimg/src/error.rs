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
    /// A boot program that is none.
    #[error("unknown boot program {word:?}: use grub or sd-boot{}", nearest.map_or(String::new(), |n| format!("; did you mean {n:?}?")))]
    Bootloader {
        /// What was given.
        word: String,
        /// What was meant, perhaps.
        nearest: Option<&'static str>,
    },
    /// A META request that is not `KEY=VALUE` with a key that the node can read.
    #[error("META value {text:?}: {problem}")]
    MetaRequest {
        /// What was given.
        text: String,
        /// What is wrong and what to write.
        problem: String,
    },
    /// META values that do not fit.
    #[error(
        "the META values need {needed} bytes, but a copy has room for {}: shorten them; the largest is {largest:#x} with {} bytes",
        crate::meta::CAPACITY,
        size
    )]
    #[cfg(feature = "image")]
    MetaTooLarge {
        /// Bytes that the values need, with eight for each key.
        needed: usize,
        /// The key with the largest value.
        largest: u8,
        /// The size of that value in bytes.
        size: usize,
    },
    /// A boot program that cannot become a unified kernel image.
    #[error("the stub {problem}")]
    Stub {
        /// What was found, what was expected, what to do.
        problem: String,
    },
    /// A section that cannot be put into a unified kernel image.
    #[error("section {name:?} {problem}")]
    Section {
        /// Its name.
        name: String,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A disk size that no disk has.
    #[error("disk size {size}: {problem}")]
    DiskSize {
        /// What was given, in bytes.
        size: u64,
        /// What is wrong and what to do.
        problem: String,
    },
    /// Parts of an image that do not fit each other.
    #[error(transparent)]
    Image(#[from] rawimg::Error),
    /// YAML that does not parse, is too large, or does not have the expected shape.
    #[error("{what}: {message}")]
    Yaml {
        /// Whose YAML it is.
        what: String,
        /// The parser's words, with line, column and a caret.
        message: String,
    },
    /// Extensions that cannot be put into one initramfs.
    #[error("{0}")]
    #[cfg(feature = "image")]
    Extension(String),
    /// A schematic that the Image Factory would refuse.
    #[error("schematic: {0}")]
    #[cfg(feature = "image")]
    Schematic(String),
    /// A text that is no machine configuration.
    #[error("{0}")]
    #[cfg(feature = "image")]
    MachineConfig(String),
    /// An address or a token that no node joins Omni with. The token is never part of it.
    #[error("{0}")]
    #[cfg(feature = "image")]
    Omni(String),
    /// A path of a tree.
    #[error(transparent)]
    #[cfg(feature = "image")]
    Tree(#[from] initramfs::Error),
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

impl From<rawimg::Error> for Error {
    fn from(error: rawimg::Error) -> Self {
        ErrorKind::Image(error).into()
    }
}

#[cfg(feature = "image")]
impl From<initramfs::Error> for Error {
    fn from(error: initramfs::Error) -> Self {
        ErrorKind::Tree(error).into()
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
