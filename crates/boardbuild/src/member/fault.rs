//! What is wrong with a container, and what a command says about it.

use std::{fmt, io};

use imgcore::{ByteSize, Finding};

use super::names;
use crate::error::{Error, Exit, is_cancelled};

/// Entries that are named when the wanted one is not there.
pub(super) const CANDIDATES: usize = 5;

/// A member that was found.
#[derive(Debug)]
pub(super) enum Found {
    /// A regular file, already handed on.
    File(Vec<u8>),
    /// The file that a link leads to; it has to be looked for.
    Link(Vec<u8>),
}

/// Why nothing was taken out of a container.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Not exactly one regular file of the wanted name.
    Member { problem: String, candidates: Vec<String> },
    /// An entry that no honest archive holds.
    Hostile { entry: String, problem: &'static str },
    /// More came out than may.
    Bomb(Bomb),
    /// Damaged, or of a form that is not read.
    Damaged(String),
    /// Behind the end.
    Range { offset: u64, length: Option<u64>, size: u64 },
    /// Reading the container or writing the result failed.
    Io(io::Error),
}

/// More came out than may.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bomb {
    pub(super) packed: u64,
    pub(super) limit: u64,
    pub(super) locked: bool,
}

impl fmt::Display for Bomb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (packed, limit) = (ByteSize(self.packed), ByteSize(self.limit));
        let whose = if self.locked { "as the lock says" } else { "which is the most that is taken" };
        write!(f, "{packed} unpack to more than {limit} ({} bytes), {whose}", self.limit)
    }
}

impl std::error::Error for Bomb {}

impl Fault {
    pub(super) fn damaged(problem: impl Into<String>) -> Self {
        Self::Damaged(problem.into())
    }

    pub(super) fn hostile(entry: &[u8], problem: &'static str) -> Self {
        Self::Hostile { entry: names::shown(entry), problem }
    }

    pub(super) fn not_a_file(name: &[u8], kind: &str) -> Self {
        let problem = format!("{} is {kind}, expected a regular file", names::shown(name));
        Self::Member { problem, candidates: Vec::new() }
    }

    pub(super) fn pattern(problem: String) -> Self {
        Self::Member { problem, candidates: Vec::new() }
    }

    /// What a decoder, the container's medium or the sink answered.
    pub(super) fn from_io(error: io::Error) -> Self {
        let inner = error.get_ref();
        if let Some(bomb) = inner.and_then(|inner| inner.downcast_ref::<Bomb>()) {
            return Self::Bomb(*bomb);
        }
        if is_cancelled(&error) {
            return Self::Io(error);
        }
        match error.kind() {
            io::ErrorKind::UnexpectedEof => Self::damaged("truncated: the data ends in the middle"),
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput | io::ErrorKind::Other => {
                Self::Damaged(error.to_string())
            }
            _ => Self::Io(error),
        }
    }

    /// The error of a command that needed `role` out of `place`.
    pub(crate) fn into_error(self, role: &str, place: &str) -> Error {
        let (code, message, help) = match self {
            Self::Io(error) => return Error::from(error),
            Self::Member { problem, candidates } if candidates.is_empty() => ("SRC006", problem, String::new()),
            Self::Member { problem, candidates } => {
                ("SRC006", problem, format!("it holds, among others: {}", candidates.join(", ")))
            }
            Self::Hostile { entry, problem } => {
                ("SRC007", format!("refused: the entry {entry} {problem}"), String::new())
            }
            Self::Bomb(bomb) => ("SRC008", bomb.to_string(), String::new()),
            Self::Damaged(problem) => ("SRC010", problem, String::new()),
            Self::Range { offset, length, size } => {
                let wanted = length.map_or_else(|| "nothing".to_owned(), |length| format!("no {length} bytes"));
                ("SRC011", format!("{wanted} at byte {offset}: there are {size} bytes in all"), String::new())
            }
        };
        let cure = crate::rules::find(code).map_or("", |rule| rule.cure);
        let help = if help.is_empty() { cure.to_owned() } else { format!("{help}\n{cure}") };
        Error::new(Exit::Input, Finding::error(code, format!("{role}: {message}")).of(place).help(help))
    }
}
