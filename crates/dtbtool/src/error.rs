//! The one error of this crate. What makes a tree unreadable is an [`ErrorKind`]; the lenient scan reports the
//! same kinds as findings, so that both agree on what a device tree is.

use std::ops::Range;

/// Why a device tree was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct Error(Box<ErrorKind>);

impl Error {
    /// What is wrong.
    pub fn kind(&self) -> &ErrorKind {
        &self.0
    }
}

impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self(Box::new(kind))
    }
}

/// One of the three blocks behind the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Block {
    /// The header itself.
    Header,
    /// Pairs of address and size that the kernel must not touch.
    Reservations,
    /// The tokens that make the tree.
    Structure,
    /// Property names.
    Strings,
}

impl std::fmt::Display for Block {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Header => "header",
            Self::Reservations => "memory reservation block",
            Self::Structure => "structure block",
            Self::Strings => "strings block",
        })
    }
}

/// What is wrong with a tree. Offsets and ranges are bytes from the start of the tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The data ends inside the header.
    #[error("not a device tree: {length} bytes, a header needs 40")]
    Short {
        /// Length of the data.
        length: usize,
    },
    /// The first word is something else.
    #[error("not a device tree: starts with 0x{found:08x}, expected 0xd00dfeed")]
    Magic {
        /// The first word.
        found: u32,
    },
    /// The first word is the complement of the magic number, as libfdt writes while a tree is being made.
    #[error("unfinished device tree: starts with 0x2ff20112, the program that made it never finished it")]
    Unfinished,
    /// `totalsize` is less than the header.
    #[error("total size {totalsize} is less than the header's {minimum} bytes")]
    TotalSizeSmall {
        /// The field.
        totalsize: u32,
        /// Bytes of this version's header.
        minimum: u32,
    },
    /// The data ends before `totalsize`.
    #[error("total size is {totalsize} bytes but only {length} are there: the tree is cut off")]
    TotalSizeLarge {
        /// The field.
        totalsize: u32,
        /// Length of the data.
        length: usize,
    },
    /// A version that nobody can read, or fields that contradict each other.
    #[error("version {version}, compatible back to {last_comp}: readable are versions 2 to 17")]
    Version {
        /// Field `version`.
        version: u32,
        /// Field `last_comp_version`.
        last_comp: u32,
    },
    /// A block starts at an offset that is not a multiple of its alignment.
    #[error("{block} at offset {offset} is not aligned to {alignment} bytes")]
    Misaligned {
        /// Which block.
        block: Block,
        /// Its offset.
        offset: u32,
        /// What its offset must be a multiple of.
        alignment: u32,
    },
    /// A block lies, in part, outside the tree.
    #[error("{block} [{}..{}) is not inside [{}..{})", range.start, range.end, inside.start, inside.end)]
    Outside {
        /// Which block.
        block: Block,
        /// What the header says.
        range: Range<u64>,
        /// Where it may lie: behind the header, in front of the total size.
        inside: Range<u64>,
    },
    /// Two blocks share bytes.
    #[error("{first} [{}..{}) overlaps {second} [{}..{})", first_range.start, first_range.end, second_range.start, second_range.end)]
    Overlap {
        /// One block.
        first: Block,
        /// Its bytes.
        first_range: Range<u64>,
        /// The other block.
        second: Block,
        /// Its bytes.
        second_range: Range<u64>,
    },
    /// The reservation block has no closing pair of zeros.
    #[error("memory reservation block at offset {offset} does not end with a pair of zeros inside the tree")]
    ReservationsUnterminated {
        /// Start of the block.
        offset: u32,
    },
    /// A word that is no token stands where a token must be.
    #[error("0x{found:08x} at offset {offset} is no token, expected 1, 2, 3, 4 or 9")]
    Token {
        /// Where.
        offset: usize,
        /// The word.
        found: u32,
    },
    /// The structure block ends inside a token.
    #[error("structure block ends at offset {end} inside a token that starts at {offset}")]
    TokenCut {
        /// Start of the token.
        offset: usize,
        /// End of the block.
        end: usize,
    },
    /// A node name has no NUL before the structure block ends.
    #[error("node name at offset {offset} has no end inside the structure block")]
    NodeNameUnterminated {
        /// Start of the name.
        offset: usize,
    },
    /// A name is not UTF-8.
    #[error("name at offset {offset} is not text")]
    NameNotText {
        /// Start of the name.
        offset: usize,
    },
    /// A property's value reaches beyond the structure block.
    #[error("property at offset {offset} claims {length} bytes, {left} are left in the structure block")]
    PropertyCut {
        /// Start of the token.
        offset: usize,
        /// Claimed length of the value.
        length: u32,
        /// Bytes from the value's start to the block's end.
        left: usize,
    },
    /// A property's name is outside the strings block, has no NUL in it, or is longer than 1024 bytes.
    #[error("property at offset {offset} has its name at {name_offset} of a strings block of {size} bytes: {problem}")]
    PropertyName {
        /// Start of the token.
        offset: usize,
        /// Offset in the strings block.
        name_offset: u32,
        /// Size of the strings block.
        size: usize,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A property stands behind a subnode; readers do not see it.
    #[error("property at offset {offset} stands behind a subnode of its node, where readers do not look")]
    PropertyAfterNode {
        /// Start of the token.
        offset: usize,
    },
    /// A property stands outside every node.
    #[error("property at offset {offset} stands outside the root node")]
    PropertyOutside {
        /// Start of the token.
        offset: usize,
    },
    /// There is no root node.
    #[error("the structure block has no root node")]
    NoRoot,
    /// A second node at the top.
    #[error("second root node at offset {offset}, a tree has one")]
    SecondRoot {
        /// Start of the token.
        offset: usize,
    },
    /// The root node has a name.
    #[error("the root node at offset {offset} has a name, expected none")]
    RootNamed {
        /// Start of the token.
        offset: usize,
    },
    /// A node ends that never began.
    #[error("end of a node at offset {offset} but no node is open")]
    EndWithoutNode {
        /// Start of the token.
        offset: usize,
    },
    /// The end of the tree comes while nodes are open.
    #[error("end of the tree at offset {offset} while {depth} nodes are open")]
    EndInsideNode {
        /// Start of the token.
        offset: usize,
        /// Count of open nodes.
        depth: usize,
    },
    /// The structure block has no end token.
    #[error("structure block ends at offset {end} without an end token")]
    NoEnd {
        /// End of the block.
        end: usize,
    },
    /// Nodes are nested deeper than any reader should follow.
    #[error("node at offset {offset} is nested deeper than {limit} levels")]
    Depth {
        /// Start of the token.
        offset: usize,
        /// The limit.
        limit: usize,
    },
    /// An overlay that cannot be applied.
    #[error("{what} {problem} ({fault})")]
    Overlay {
        /// What of the overlay.
        what: String,
        /// What is wrong with it.
        problem: String,
        /// libfdt's name for it.
        fault: crate::overlay::Fault,
    },
    /// An edit that cannot be made.
    #[error("{what}: {problem}")]
    Edit {
        /// The edit, or the part of it.
        what: String,
        /// What is wrong with it and what to do.
        problem: String,
    },
    /// An owned tree that the format cannot hold.
    #[error("{what} {problem}")]
    Unwritable {
        /// What of the tree.
        what: String,
        /// Why it cannot be written.
        problem: &'static str,
    },
}

impl ErrorKind {
    /// Bytes of the tree that the fault is about; empty for a tree that was never bytes.
    pub fn range(&self) -> Range<u64> {
        let word = |offset: &usize| *offset as u64..(*offset as u64).saturating_add(4);
        match self {
            Self::Short { length } => 0..*length as u64,
            Self::Magic { .. } | Self::Unfinished => 0..4,
            Self::TotalSizeSmall { .. } | Self::TotalSizeLarge { .. } => 4..8,
            Self::Version { .. } => 20..28,
            Self::Misaligned { block, .. } => match block {
                Block::Reservations => 16..20,
                _ => 8..12,
            },
            Self::Outside { block, .. } => match block {
                Block::Header => 0..40,
                Block::Reservations => 16..20,
                Block::Structure => 8..12,
                Block::Strings => 12..16,
            },
            Self::Overlap { first_range, second_range, .. } => {
                first_range.start.max(second_range.start)..first_range.end.min(second_range.end)
            }
            Self::ReservationsUnterminated { offset } => u64::from(*offset)..u64::from(*offset).saturating_add(16),
            Self::Token { offset, .. }
            | Self::NodeNameUnterminated { offset }
            | Self::NameNotText { offset }
            | Self::PropertyAfterNode { offset }
            | Self::PropertyOutside { offset }
            | Self::SecondRoot { offset }
            | Self::RootNamed { offset }
            | Self::EndWithoutNode { offset }
            | Self::EndInsideNode { offset, .. }
            | Self::Depth { offset, .. } => word(offset),
            Self::TokenCut { offset, end } => *offset as u64..*end as u64,
            Self::PropertyCut { offset, .. } | Self::PropertyName { offset, .. } => {
                *offset as u64..(*offset as u64).saturating_add(12)
            }
            Self::NoRoot => 8..12,
            Self::NoEnd { end } => *end as u64..*end as u64,
            Self::Overlay { .. } | Self::Edit { .. } | Self::Unwritable { .. } => 0..0,
        }
    }
}
