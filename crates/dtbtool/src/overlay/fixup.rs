//! The overlay's tables of places that hold phandles.

use std::collections::BTreeMap;

use super::{
    Fault, about,
    arena::{Arena, ROOT, c_str},
    refuse,
};
use crate::{error::Error, tree::shorten};

/// The cell at an offset of a value, which need not be aligned.
pub(super) fn cell(tree: &Arena<'_>, property: usize, offset: usize) -> Option<u32> {
    tree.value(property).get(offset..)?.first_chunk::<4>().map(|raw| u32::from_be_bytes(*raw))
}

/// Moves the overlay's phandles behind the base's.
pub(super) fn move_phandles(source: &mut Arena<'_>, delta: u32) -> Result<(), Error> {
    for node in source.ids() {
        for name in ["phandle", "linux,phandle"] {
            let Some(property) = source.property(node, name) else { continue };
            let what = |source: &Arena<'_>| format!("{} {name}", shorten(&source.path(node)));
            let value: Result<[u8; 4], _> = source.value(property).try_into();
            let Ok(value) = value else {
                return refuse(what(source), Fault::BadPhandle, "is not one cell");
            };
            let moved = u32::from_be_bytes(value).checked_add(delta).filter(|moved| *moved != u32::MAX);
            let Some(moved) = moved else {
                let problem = format!("cannot be moved behind the base's largest phandle, 0x{delta:x}");
                return refuse(what(source), Fault::NoPhandles, problem);
            };
            let _ = source.patch(property, 0, moved);
        }
    }
    Ok(())
}

/// The places that `/__local_fixups__` lists: property and offset.
pub(super) fn local(source: &mut Arena<'_>) -> Result<Vec<(usize, usize)>, Error> {
    let mut places = Vec::new();
    let Some(fixups) = source.child(ROOT, "__local_fixups__") else { return Ok(places) };
    let mut pairs = vec![(fixups, ROOT)];
    while let Some((fixup, node)) = pairs.pop() {
        let list: Vec<usize> = source.properties(fixup).collect();
        for entry in list {
            let name = source.property_name(entry);
            let what = |source: &Arena<'_>| format!("{} {}", shorten(&source.path(fixup)), shorten(name));
            let (offsets, rest) = source.value(entry).as_chunks::<4>();
            if !rest.is_empty() {
                return refuse(what(source), Fault::BadOverlay, "is no list of cells");
            }
            let offsets: Vec<u32> = offsets.iter().map(|raw| u32::from_be_bytes(*raw)).collect();
            let Some(property) = source.property(node, name) else {
                return refuse(what(source), Fault::BadOverlay, "is about a property that the overlay does not have");
            };
            for offset in offsets {
                let offset = usize::try_from(offset).unwrap_or(usize::MAX);
                if cell(source, property, offset).is_none() {
                    let problem = format!("names offset {offset}, behind the end of the property");
                    return refuse(what(source), Fault::BadOverlay, problem);
                }
                places.push((property, offset));
            }
        }
        let children: Vec<usize> = source.children(fixup).collect();
        for child in children {
            let Some(same) = source.child(node, source.name(child)) else {
                let what = shorten(&source.path(child));
                return refuse(what, Fault::BadOverlay, "is about a node that the overlay does not have");
            };
            pairs.push((child, same));
        }
    }
    Ok(places)
}

/// One entry of a property of `/__fixups__`: `path:property:offset`.
pub(super) struct Place<'t> {
    pub(super) path: &'t str,
    pub(super) property: &'t str,
    pub(super) offset: usize,
}

impl<'t> Place<'t> {
    /// As libfdt reads it: the number as C's `strtoul` does.
    pub(super) fn parse(text: &'t str) -> Option<Self> {
        let (path, rest) = text.split_once(':')?;
        let (property, number) = rest.split_once(':')?;
        let blank = |c: char| matches!(c, ' ' | '\t' | '\n' | '\x0b' | '\x0c' | '\r');
        let digits = number.trim_start_matches(blank);
        let digits = digits.strip_prefix('+').unwrap_or(digits);
        let sound = !property.is_empty() && !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
        sound.then(|| Self { path, property, offset: digits.parse().unwrap_or(usize::MAX) })
    }
}

/// The entries of a property of `/__fixups__`; `None` stands for what is none.
pub(super) fn places(value: &[u8]) -> Vec<Option<Place<'_>>> {
    match value.split_last() {
        Some((0, entries)) => entries
            .split(|byte| *byte == 0)
            .map(|entry| std::str::from_utf8(entry).ok().and_then(Place::parse))
            .collect(),
        _ => vec![None],
    }
}

/// Fills in the phandles of the base's labels.
pub(super) fn labels(tree: &mut Arena<'_>, source: &mut Arena<'_>) -> Result<(), Error> {
    let Some(fixups) = source.child(ROOT, "__fixups__") else { return Ok(()) };
    let symbols = tree.child(ROOT, "__symbols__");
    let mut known = BTreeMap::new();
    let list: Vec<usize> = source.properties(fixups).collect();
    for entry in list {
        let label = source.property_name(entry);
        let what = || format!("label {}", shorten(label));
        let value = source.value(entry).to_vec();
        let phandle = *known.entry(label).or_insert_with(|| label_phandle(tree, symbols, label));
        for place in places(&value) {
            let Some(place) = place else {
                let problem = "has an entry in /__fixups__ that is not path:property:offset";
                return refuse(what(), Fault::BadOverlay, problem);
            };
            let phandle = about(phandle, || {
                let problem = if symbols.is_none() {
                    "is needed, but the base has no /__symbols__; rebuild the base with dtc -@"
                } else {
                    "is not in the base's /__symbols__, or its node has no phandle"
                };
                (what(), problem.to_owned())
            })?;
            let missing = || (what(), format!("is needed at {}, which the overlay does not have", shorten(place.path)));
            let node = source.find(place.path).map_err(|fault| match fault {
                Fault::NotFound => Fault::BadOverlay,
                other => other,
            });
            let node = about(node, missing)?;
            let property = about(source.property(node, place.property).ok_or(Fault::NotFound), missing)?;
            about(source.patch(property, place.offset, phandle), || {
                (what(), format!("is needed at offset {} of a shorter property", place.offset))
            })?;
        }
    }
    Ok(())
}

/// The phandle of the node that a label of the base stands for.
pub(super) fn label_phandle(tree: &mut Arena<'_>, symbols: Option<usize>, label: &str) -> Result<u32, Fault> {
    let property = tree.property(symbols.ok_or(Fault::NotFound)?, label).ok_or(Fault::NotFound)?;
    let path = c_str(tree.value(property)).ok_or(Fault::NotFound)?.to_owned();
    let node = tree.find(&path)?;
    Some(tree.phandle(node)).filter(|phandle| *phandle != 0).ok_or(Fault::NotFound)
}
