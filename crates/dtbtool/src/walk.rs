//! The one walk over the structure block. The strict view stops at its first fault, the scan collects them all,
//! so both have the same idea of a sound tree.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use crate::{
    error::ErrorKind,
    header::Blocks,
    token::{BadToken, Token, own_name, property_name, token_at},
};

/// Deepest nesting that is followed, the root being level 1. Real trees have 5 to 8 levels.
pub const MAX_DEPTH: usize = 64;

/// Receives what the walk finds. Offsets are bytes from the start of the tree.
pub(crate) trait Visit<'a> {
    /// What `fault` answers to stop the walk.
    type Stop;
    /// Something is wrong; `Ok` goes on after it.
    fn fault(&mut self, kind: ErrorKind) -> Result<(), Self::Stop>;
    /// A node begins; its name lies at `name_offset`.
    fn begin(&mut self, _offset: usize, _name: &'a str, _name_offset: usize) {}
    /// The root, which has ended, goes on.
    fn reopen_root(&mut self) {}
    /// The innermost open node ends; `end` is behind its last token.
    fn end(&mut self, _end: usize) {}
    /// A property of the innermost open node.
    fn property(&mut self, _found: FoundProperty<'a>) {}
    /// Padding that is not zero.
    fn padding(&mut self, _offset: usize, _bytes: &'a [u8]) {}
    /// `rest` bytes of the block follow the end token.
    fn behind_end(&mut self, _offset: usize, _rest: usize) {}
}

/// A property as the walk sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct FoundProperty<'a> {
    pub(crate) offset: usize,
    pub(crate) name: &'a str,
    pub(crate) name_offset: usize,
    pub(crate) value: &'a [u8],
    pub(crate) value_offset: usize,
}

/// What an open node has so far.
#[derive(Debug, Clone, Copy)]
enum Level {
    /// Properties at most.
    Fresh,
    /// A subnode: a property that follows is a fault.
    HasSubnode,
    /// A property behind a subnode, reported; those right behind it are the same fault.
    Reported,
}

/// Walks all tokens. Linear in the size of the block; never deeper than [`MAX_DEPTH`].
pub(crate) fn walk<'a, V: Visit<'a>>(blocks: &Blocks<'a>, visit: &mut V) -> Result<(), V::Stop> {
    let Blocks { structure, structure_at, old, .. } = *blocks;
    let block_end = structure_at.saturating_add(structure.len());
    let mut at = 0_usize;
    let mut depth = 0_usize;
    let mut had_root = false;
    // Per open level: properties must not follow a subnode.
    let mut levels = [Level::Fresh; MAX_DEPTH];
    loop {
        let offset = structure_at.saturating_add(at);
        let step = match token_at(structure, at, old) {
            Ok(step) => step,
            Err(bad) => {
                let left = structure.len().saturating_sub(at);
                if let BadToken::OutOfData = bad
                    && left == 0
                {
                    visit.fault(ErrorKind::NoEnd { end: block_end })?;
                    break;
                }
                match bad {
                    BadToken::OutOfData | BadToken::Cut => {
                        visit.fault(ErrorKind::TokenCut { offset, end: block_end })?;
                        break;
                    }
                    BadToken::NameUnterminated => {
                        visit.fault(ErrorKind::NodeNameUnterminated { offset: offset.saturating_add(4) })?;
                        break;
                    }
                    BadToken::Unknown(found) => {
                        visit.fault(ErrorKind::Token { offset, found })?;
                        at = resume(structure, at.saturating_add(4), old);
                    }
                    BadToken::ValueCut { length, left } => {
                        visit.fault(ErrorKind::PropertyCut { offset, length, left })?;
                        at = resume(structure, at.saturating_add(12), old);
                    }
                }
                continue;
            }
        };
        if step.padding.iter().any(|byte| *byte != 0) {
            let start = structure_at.saturating_add(step.next).saturating_sub(step.padding.len());
            visit.padding(start, step.padding);
        }
        at = step.next;
        match step.token {
            Token::Nop => {}
            Token::BeginNode(stored) => {
                if depth == 0 {
                    if had_root {
                        visit.fault(ErrorKind::SecondRoot { offset })?;
                        // A root has no name: it is the end of the first one that is the damage.
                        if !stored.is_empty() {
                            visit.reopen_root();
                            depth = 1;
                        }
                    }
                    had_root = true;
                }
                if let Some(level) = depth.checked_sub(1).and_then(|above| levels.get_mut(above)) {
                    *level = Level::HasSubnode;
                }
                depth = depth.saturating_add(1);
                if depth == MAX_DEPTH.saturating_add(1) {
                    visit.fault(ErrorKind::Depth { offset, limit: MAX_DEPTH })?;
                }
                if let Some(level) = levels.get_mut(depth.saturating_sub(1)) {
                    *level = Level::Fresh;
                    let name_end = offset.saturating_add(4).saturating_add(stored.len());
                    let stored = own_name(stored, old);
                    let name_offset = name_end.saturating_sub(stored.len());
                    let name = match std::str::from_utf8(stored) {
                        Ok(name) => name,
                        Err(error) => {
                            visit.fault(ErrorKind::NameNotText { offset: name_offset })?;
                            stored.get(..error.valid_up_to()).and_then(|s| std::str::from_utf8(s).ok()).unwrap_or("")
                        }
                    };
                    if depth == 1 && !name.is_empty() {
                        visit.fault(ErrorKind::RootNamed { offset })?;
                    }
                    visit.begin(offset, name, name_offset);
                }
            }
            Token::EndNode => {
                if depth == 0 {
                    visit.fault(ErrorKind::EndWithoutNode { offset })?;
                } else {
                    if depth <= MAX_DEPTH {
                        visit.end(structure_at.saturating_add(at));
                    }
                    depth = depth.saturating_sub(1);
                }
            }
            Token::Prop { name_offset, value, value_at } => {
                if depth == 0 {
                    visit.fault(ErrorKind::PropertyOutside { offset })?;
                    continue;
                }
                match levels.get_mut(depth.saturating_sub(1)) {
                    None => continue, // too deep, reported where it began
                    Some(level @ Level::HasSubnode) => {
                        *level = Level::Reported;
                        visit.fault(ErrorKind::PropertyAfterNode { offset })?;
                    }
                    Some(Level::Fresh | Level::Reported) => {}
                }
                let size = blocks.strings.len();
                let name = match property_name(blocks.strings, name_offset) {
                    Ok(name) => name,
                    Err(problem) => {
                        visit.fault(ErrorKind::PropertyName { offset, name_offset, size, problem })?;
                        continue;
                    }
                };
                let name_offset = blocks.strings_at.saturating_add(usize::try_from(name_offset).unwrap_or(usize::MAX));
                let Ok(name) = std::str::from_utf8(name) else {
                    visit.fault(ErrorKind::NameNotText { offset: name_offset })?;
                    continue;
                };
                let value_offset = structure_at.saturating_add(value_at);
                visit.property(FoundProperty { offset, name, name_offset, value, value_offset });
            }
            Token::End => {
                let rest = structure.len().saturating_sub(at);
                if depth > 0 {
                    visit.fault(ErrorKind::EndInsideNode { offset, depth })?;
                    // More tokens behind it: the end token is the damage, not the open nodes.
                    if rest > 0 {
                        continue;
                    }
                } else if rest > 0 {
                    visit.behind_end(structure_at.saturating_add(at), rest);
                }
                break;
            }
        }
    }
    for _ in 0..depth.min(MAX_DEPTH) {
        visit.end(block_end);
    }
    if !had_root {
        visit.fault(ErrorKind::NoRoot)?;
    }
    Ok(())
}

/// After damage: the next word that could be a token, so that one fault is reported once.
fn resume(structure: &[u8], mut at: usize, old: bool) -> usize {
    while let Err(BadToken::Unknown(_)) = token_at(structure, at, old) {
        at = at.saturating_add(4);
    }
    at
}
