//! One token of the structure block (Devicetree Specification 5.4.1).

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::ffi::CStr;

pub(crate) const BEGIN_NODE: u32 = 1;
pub(crate) const END_NODE: u32 = 2;
pub(crate) const PROP: u32 = 3;
pub(crate) const NOP: u32 = 4;
pub(crate) const END: u32 = 9;

/// Property names are looked up in a block that all properties share; without a limit a hostile tree could make
/// every property name a suffix of one name as long as the file.
pub(crate) const MAX_PROPERTY_NAME: usize = 1024;

/// A token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Token<'a> {
    /// A node begins; its name without the NUL.
    BeginNode(&'a [u8]),
    EndNode,
    Prop {
        name_offset: u32,
        value: &'a [u8],
        /// Offset of the value in the structure block.
        value_at: usize,
    },
    Nop,
    End,
}

/// Why there is no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadToken {
    /// No whole word is left.
    OutOfData,
    /// A word that is no token.
    Unknown(u32),
    /// The node name has no NUL.
    NameUnterminated,
    /// The value is longer than the block.
    ValueCut { length: u32, left: usize },
    /// The token's own words or its padding are cut off.
    Cut,
}

/// A token with the offset behind it, padding included, and the bytes of that padding.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Step<'a> {
    pub(crate) token: Token<'a>,
    pub(crate) next: usize,
    pub(crate) padding: &'a [u8],
}

fn word(block: &[u8], at: usize) -> Option<u32> {
    block.get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

/// The token at `at`. `old` selects the value alignment of versions below 16.
pub(crate) fn token_at(block: &[u8], at: usize, old: bool) -> Result<Step<'_>, BadToken> {
    let kind = word(block, at).ok_or(BadToken::OutOfData)?;
    let behind = at.saturating_add(4);
    let plain = |token| Ok(Step { token, next: behind, padding: &[] });
    match kind {
        END_NODE => plain(Token::EndNode),
        NOP => plain(Token::Nop),
        END => plain(Token::End),
        BEGIN_NODE => {
            let rest = block.get(behind..).unwrap_or_default();
            let name = CStr::from_bytes_until_nul(rest).map_err(|_| BadToken::NameUnterminated)?.to_bytes();
            let end = behind.saturating_add(name.len()).saturating_add(1);
            padded(block, Token::BeginNode(name), end)
        }
        PROP => {
            let length = word(block, behind).ok_or(BadToken::Cut)?;
            let name_offset = word(block, behind.saturating_add(4)).ok_or(BadToken::Cut)?;
            let mut value_at = behind.saturating_add(8);
            if old && length >= 8 && !value_at.is_multiple_of(8) {
                value_at = value_at.saturating_add(4);
            }
            let left = block.len().saturating_sub(value_at);
            let end = usize::try_from(length).ok().and_then(|length| value_at.checked_add(length));
            let value = end.and_then(|end| block.get(value_at..end));
            let (Some(end), Some(value)) = (end, value) else {
                return Err(BadToken::ValueCut { length, left });
            };
            padded(block, Token::Prop { name_offset, value, value_at }, end)
        }
        unknown => Err(BadToken::Unknown(unknown)),
    }
}

fn padded<'a>(block: &'a [u8], token: Token<'a>, end: usize) -> Result<Step<'a>, BadToken> {
    let next = end.checked_next_multiple_of(4).ok_or(BadToken::Cut)?;
    let padding = block.get(end..next).ok_or(BadToken::Cut)?;
    Ok(Step { token, next, padding })
}

/// The node's own name: below version 16 the stored name is the full path.
pub(crate) fn own_name(stored: &[u8], old: bool) -> &[u8] {
    if old { stored.rsplit(|byte| *byte == b'/').next().unwrap_or(stored) } else { stored }
}

/// The property name at `offset` of the strings block.
pub(crate) fn property_name(strings: &[u8], offset: u32) -> Result<&[u8], &'static str> {
    let rest = usize::try_from(offset).ok().and_then(|at| strings.get(at..)).unwrap_or_default();
    if rest.is_empty() {
        return Err("outside of it");
    }
    let window = rest.get(..MAX_PROPERTY_NAME.saturating_add(1)).unwrap_or(rest);
    match CStr::from_bytes_until_nul(window) {
        Ok(name) => Ok(name.to_bytes()),
        Err(_) if window.len() == rest.len() => Err("no end inside of it"),
        Err(_) => Err("longer than 1024 bytes"),
    }
}
