//! Extended attributes: each different set is stored once, inodes name it by number.
#![allow(
    clippy::cast_possible_truncation,
    reason = "names and values are checked before; nobody holds 2^32 sets in memory"
)]

use std::collections::BTreeMap;

use zerocopy::IntoBytes as _;

use super::{
    blocks::Encoder,
    metadata::{Metadata, table},
    raw::{NONE, XattrId, XattrTable},
};
use crate::error::{ErrorKind, Result};

/// The kinds that the format knows, by their numbers.
pub(super) const PREFIXES: [&str; 3] = ["user.", "trusted.", "security."];
/// `XATTR_NAME_MAX` of Linux.
const NAME_LIMIT: usize = 255;
/// `XATTR_SIZE_MAX` of Linux.
const VALUE_LIMIT: usize = 65_536;

/// The number of a name's kind and the rest of the name.
fn split(name: &str) -> Option<(u16, &str)> {
    let kinds = (0_u16..).zip(PREFIXES);
    kinds
        .into_iter()
        .find_map(|(kind, prefix)| Some((kind, name.strip_prefix(prefix)?)))
        .filter(|(_, rest)| !rest.is_empty())
}

pub(super) fn check(path: &str, xattrs: &BTreeMap<String, Vec<u8>>) -> Result<()> {
    for (name, value) in xattrs {
        let problem = if split(name).is_none() {
            "expected user., trusted. or security. with a name behind"
        } else if name.len() > NAME_LIMIT || name.contains('\0') {
            "a name has at most 255 bytes and no NUL"
        } else if value.len() > VALUE_LIMIT {
            "a value has at most 65536 bytes"
        } else {
            continue;
        };
        return Err(ErrorKind::Xattr { path: path.to_owned(), name: name.clone(), problem }.into());
    }
    Ok(())
}

/// The sets, each with its number.
#[derive(Default)]
pub(super) struct Sets<'a> {
    numbers: BTreeMap<&'a BTreeMap<String, Vec<u8>>, u32>,
    order: Vec<&'a BTreeMap<String, Vec<u8>>>,
}

impl<'a> Sets<'a> {
    /// The number of a set.
    pub(super) fn number(&mut self, set: &'a BTreeMap<String, Vec<u8>>) -> u32 {
        if set.is_empty() {
            return NONE;
        }
        let next = u32::try_from(self.order.len()).unwrap_or(NONE);
        *self.numbers.entry(set).or_insert_with(|| {
            self.order.push(set);
            next
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// The attributes, the sets, and the table with the places of both, as they stand behind each other from `start`;
    /// and the place of the table.
    pub(super) fn encode(&self, start: u64, encoder: &mut Encoder) -> Result<(Vec<u8>, u64)> {
        let mut values = Metadata::default();
        let mut ids = Vec::new();
        for set in &self.order {
            let place = values.place();
            let mut size = 0;
            for (name, value) in *set {
                let (kind, name) = split(name).unwrap_or_default();
                let mut entry = Vec::with_capacity(8 + name.len() + value.len());
                entry.extend_from_slice(&kind.to_le_bytes());
                entry.extend_from_slice(&(name.len() as u16).to_le_bytes());
                entry.extend_from_slice(name.as_bytes());
                entry.extend_from_slice(&(value.len() as u32).to_le_bytes());
                entry.extend_from_slice(value);
                size += entry.len() as u64;
                values.push(&entry, encoder)?;
            }
            let size = u32::try_from(size).unwrap_or(u32::MAX);
            let id = XattrId { place: place.reference().into(), count: (set.len() as u32).into(), size: size.into() };
            ids.extend_from_slice(id.as_bytes());
        }
        let mut bytes = values.finish(encoder)?;
        let (blocks, places) = table(&ids, start + bytes.len() as u64, encoder)?;
        bytes.extend_from_slice(&blocks);
        let at = start + bytes.len() as u64;
        let head = XattrTable { values: start.into(), ids: (self.order.len() as u32).into(), unused: 0.into() };
        bytes.extend_from_slice(head.as_bytes());
        bytes.extend_from_slice(&places);
        Ok((bytes, at))
    }
}
