//! Trees that dtc does not read at all.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::{collections::BTreeMap, ops::Range};

use super::view::latin;
use crate::{
    header::Header,
    tree::{NodeIndex, PropertyIndex, Tree},
    walk::MAX_DEPTH,
};

/// The lines with which dtc refuses to read these bytes; `None` if it asks its checks about them.
///
/// dtc looks less closely than [`scan`](crate::scan): blocks may overlap, a version may be odd, and the structure
/// block is read to its end token, whatever its length in the header.
///
/// ```
/// assert_eq!(dtbtool::check::fatal(b"not a tree").as_deref(), Some("FATAL ERROR: Blob has incorrect magic number\n"));
/// ```
pub fn fatal(bytes: &[u8]) -> Option<String> {
    refusal(bytes).map(|text| text.chars().map(|c| if c.is_control() && c != '\n' { '?' } else { c }).collect())
}

/// The tree as dtc sees it, for [`run`](super::run) and [`format_dtc_bytes`](super::format_dtc_bytes); or the bytes
/// of [`fatal`].
///
/// Names may have any bytes and any length, a root may have a name, and the sizes in the header count where dtc looks
/// at them. Nodes below [`MAX_DEPTH`] levels are left out.
///
/// # Errors
/// What dtc says when it reads no tree.
///
/// ```
/// use dtbtool::{WriteOptions, check, model::DeviceTree};
///
/// let bytes = DeviceTree::new().to_bytes(&WriteOptions::default())?;
/// let tree = check::read_as_dtc(&bytes).expect("a tree");
/// assert!(check::format_dtc_bytes(&check::run(&tree, &check::Options::default())).is_empty());
/// # Ok::<(), dtbtool::Error>(())
/// ```
pub fn read_as_dtc(bytes: &[u8]) -> Result<Tree, Vec<u8>> {
    if let Some(text) = refusal(bytes) {
        return Err(super::to_bytes(&text));
    }
    let mut reader = Reader::new(bytes);
    let header = Header::read(bytes).map_err(|kind| format!("FATAL ERROR: {kind}\n").into_bytes())?;
    reader.tree().map_err(String::into_bytes)?;
    let Reader { tree, mut nodes, mut properties, extra, .. } = reader;
    properties.sort_by_key(|property| property.node);
    for (index, property) in properties.iter().enumerate() {
        if let Some(node) = nodes.get_mut(property.node) {
            if node.properties.is_empty() {
                node.properties = index..index;
            }
            node.properties.end = index.saturating_add(1);
        }
    }
    let mut bytes = tree.to_vec();
    bytes.extend_from_slice(&extra);
    Ok(Tree { bytes, header, reservations: Vec::new(), nodes, properties, bytewise: true })
}

fn refusal(bytes: &[u8]) -> Option<String> {
    let (remarks, reason) = if let Some(reason) = header(bytes) {
        (Vec::new(), reason)
    } else {
        let mut reader = Reader::new(bytes);
        let reason = reader.tree().err()?;
        (reader.remarks, reason)
    };
    let mut text: String = remarks.iter().flat_map(|line| [line, "\n"]).collect();
    text.push_str("FATAL ERROR: ");
    text.push_str(&reason);
    text.push('\n');
    Some(text)
}

fn header(bytes: &[u8]) -> Option<String> {
    let word = |index: usize| bytes.as_chunks::<4>().0.get(index).map(|word| u32::from_be_bytes(*word));
    let Some(magic) = word(0) else { return Some("EOF reading DT blob magic number".to_owned()) };
    if magic != crate::MAGIC {
        return Some("Blob has incorrect magic number".to_owned());
    }
    let Some(total) = word(1) else { return Some("EOF reading DT blob size".to_owned()) };
    // A header of version 1.
    if total < 28 {
        return Some(format!("DT blob size ({total}) is too small"));
    }
    if u64::try_from(bytes.len()).is_ok_and(|length| length < u64::from(total)) {
        return Some(format!("EOF before reading {} bytes of DT blob", total.cast_signed()));
    }
    let field = |index: usize| word(index).unwrap_or(0);
    let (structure, strings, reservations, version) = (field(2), field(3), field(4), field(5));
    let past = |start: u32, size: u32| start.checked_add(size).is_none_or(|end| end > total);
    let fault = if reservations >= total {
        "Mem Reserve structure offset exceeds total size"
    } else if structure >= total {
        "DT structure offset exceeds total size"
    } else if strings > total {
        "String table offset exceeds total size"
    } else if version >= 3 && past(strings, field(8)) {
        "String table extends past total size"
    } else if version >= 17 && past(structure, field(9)) {
        "Structure block extends past total size"
    } else {
        return None;
    };
    Some(fault.to_owned())
}

const CUT: &str = "Premature end of data parsing flat device tree";

/// Reads as dtc does.
struct Reader<'a> {
    tree: &'a [u8],
    structure_at: usize,
    strings_at: usize,
    strings: &'a [u8],
    nodes: Vec<NodeIndex>,
    properties: Vec<PropertyIndex>,
    /// Names that are no ASCII, spelled anew; they stand behind the tree.
    extra: Vec<u8>,
    /// Where names of properties stand, by offset.
    names: BTreeMap<usize, Range<usize>>,
    /// Bytes of names that may still be looked at: all properties may end in one name as long as the file.
    room: usize,
    /// From the structure block to the end of the tree.
    structure: &'a [u8],
    reservations: &'a [u8],
    /// Where the last name of the strings block ends.
    last_end: Option<usize>,
    version: u32,
    at: usize,
    /// What dtc says on the way.
    remarks: Vec<&'static str>,
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let field = |index: usize| {
            let word = bytes.as_chunks::<4>().0.get(index).map_or(0, |word| u32::from_be_bytes(*word));
            usize::try_from(word).unwrap_or(usize::MAX)
        };
        let tree = bytes.get(..field(1)).unwrap_or(bytes);
        let from = |start: usize| tree.get(start..).unwrap_or_default();
        let version = u32::try_from(field(5)).unwrap_or(u32::MAX);
        let strings = from(field(3));
        let strings = if version >= 3 { strings.get(..field(8)).unwrap_or(strings) } else { strings };
        Self {
            tree,
            structure_at: field(2),
            strings_at: field(3),
            strings,
            nodes: Vec::new(),
            properties: Vec::new(),
            extra: Vec::new(),
            names: BTreeMap::new(),
            room: tree.len().saturating_mul(4).saturating_add(1 << 20),
            structure: from(field(2)),
            reservations: from(field(4)),
            last_end: strings.iter().rposition(|byte| *byte == 0),
            version,
            at: 0,
            remarks: Vec::new(),
        }
    }

    fn remark(&mut self, line: &'static str) {
        // More would be of no use to anybody.
        if self.remarks.len() < 1000 {
            self.remarks.push(line);
        }
    }

    fn word(&mut self) -> Result<u32, String> {
        let word = self.structure.get(self.at..).and_then(|rest| rest.first_chunk::<4>()).ok_or(CUT)?;
        self.at = self.at.saturating_add(4);
        Ok(u32::from_be_bytes(*word))
    }

    /// Goes on behind `length` bytes and their padding.
    fn skip(&mut self, length: usize) -> Result<(), String> {
        let end = self.at.checked_add(length).ok_or(CUT)?;
        let padded = end.checked_next_multiple_of(4).ok_or(CUT)?;
        if padded > self.structure.len() {
            return Err(CUT.to_owned());
        }
        self.at = padded;
        Ok(())
    }

    /// A name of a node, as it is stored.
    fn name(&mut self) -> Result<Range<usize>, String> {
        let rest = self.structure.get(self.at..).unwrap_or_default();
        let end = rest.iter().position(|byte| *byte == 0).ok_or(CUT)?;
        let start = self.structure_at.saturating_add(self.at);
        self.skip(end.saturating_add(1))?;
        Ok(start..start.saturating_add(end))
    }

    /// Names before version 16 are paths: what is behind the path of the node around it.
    fn own_name(&self, above: &Range<usize>, stored: Range<usize>) -> Result<Range<usize>, String> {
        if self.version >= 16 {
            return Ok(stored);
        }
        let text = |range: &Range<usize>| self.tree.get(range.clone()).unwrap_or_default();
        let (around, path) = (text(above), text(&stored));
        if !path.starts_with(around) {
            let (path, around) = (latin(path), latin(around));
            return Err(format!("Path \"{path}\" is not valid as a child of \"{around}\""));
        }
        let skipped = above.len().saturating_add(usize::from(around != b"/"));
        Ok(stored.start.saturating_add(skipped).min(stored.end)..stored.end)
    }

    fn begin(&mut self, open: &mut Vec<Open>, from: usize) -> Result<(), String> {
        let stored = self.name()?;
        let above = open.last().map_or(0..0, |node| node.stored.clone());
        let name = self.own_name(&above, stored.clone())?;
        let parent = open.last().and_then(|node| node.index);
        let known = (open.is_empty() || parent.is_some()) && open.len() < MAX_DEPTH;
        let index = known.then_some(self.nodes.len());
        if known {
            let name = self.spelled(name);
            let start = self.structure_at.saturating_add(from);
            let depth = open.len();
            self.nodes.push(NodeIndex { range: start..start, name, parent, depth, properties: 0..0 });
        }
        open.push(Open { stored, index, has_subnode: false });
        Ok(())
    }

    /// The place of a name in which every byte is a character.
    fn spelled(&mut self, name: Range<usize>) -> Range<usize> {
        let bytes = self.tree.get(name.clone()).unwrap_or_default();
        if bytes.is_ascii() {
            return name;
        }
        let start = self.tree.len().saturating_add(self.extra.len());
        self.extra.extend_from_slice(latin(bytes).as_bytes());
        start..self.tree.len().saturating_add(self.extra.len())
    }

    fn tree(&mut self) -> Result<(), String> {
        let (pairs, _) = self.reservations.as_chunks::<16>();
        if !pairs.iter().any(|pair| pair.ends_with(&[0; 8])) {
            return Err(CUT.to_owned());
        }
        let first = self.word()?;
        if first != BEGIN {
            return Err(format!("Device tree blob doesn't begin with FDT_BEGIN_NODE (begins with 0x{first:08x})"));
        }
        let mut open = Vec::new();
        self.begin(&mut open, 0)?;
        while let Some(node) = open.last_mut() {
            let from = self.at;
            match self.word()? {
                BEGIN => {
                    node.has_subnode = true;
                    self.begin(&mut open, from)?;
                }
                END_NODE => {
                    let index = node.index;
                    open.pop();
                    let end = self.structure_at.saturating_add(self.at);
                    if let Some(node) = index.and_then(|index| self.nodes.get_mut(index)) {
                        node.range.end = end;
                    }
                }
                PROPERTY => {
                    let index = node.index;
                    if node.has_subnode {
                        self.remark(super::overlay::MISPLACED);
                    }
                    self.property(index, from)?;
                }
                NOP if self.version < 16 => self.remark("Warning: NOP tag found in flat tree version <16"),
                NOP => {}
                END => return Err("Premature FDT_END in device tree blob".to_owned()),
                other => return Err(format!("Invalid opcode word {other:08x} in device tree blob")),
            }
        }
        if self.word()? == END { Ok(()) } else { Err("Device tree blob doesn't end with FDT_END".to_owned()) }
    }

    fn property(&mut self, node: Option<usize>, from: usize) -> Result<(), String> {
        let length = usize::try_from(self.word()?).unwrap_or(usize::MAX);
        let name = self.word()?;
        let start = usize::try_from(name).unwrap_or(usize::MAX);
        // A name ends in the block if any does from here on.
        if self.last_end.is_none_or(|end| start > end) {
            return Err(format!("String offset {} overruns string table", name.cast_signed()));
        }
        if self.version < 16 && length >= 8 {
            // Values of old trees stand at multiples of 8.
            self.at = self.at.checked_next_multiple_of(8).ok_or(CUT)?;
        }
        let value = self.structure_at.saturating_add(self.at);
        self.skip(length)?;
        if let Some(node) = node {
            let name = self.property_name(start);
            let offset = self.structure_at.saturating_add(from);
            let value = value..value.saturating_add(length);
            self.properties.push(PropertyIndex { node, offset, name, value });
        }
        Ok(())
    }

    fn property_name(&mut self, start: usize) -> Range<usize> {
        let known = self.names.get(&start).cloned();
        let name = known.unwrap_or_else(|| {
            let rest = self.strings.get(start..).unwrap_or_default();
            let rest = rest.get(..self.room.max(1024)).unwrap_or(rest);
            let length = rest.iter().position(|byte| *byte == 0).unwrap_or(rest.len());
            let at = self.strings_at.saturating_add(start);
            let name = self.spelled(at..at.saturating_add(length));
            self.names.insert(start, name.clone());
            name
        });
        // Most names are short; what is looked at again and again is what is long.
        self.room = self.room.saturating_sub(name.len().saturating_sub(1024));
        if name.len() > self.room.max(4096) { name.start..name.start } else { name }
    }
}

/// A node that has not ended.
struct Open {
    /// Its name as it is stored, a path in old versions.
    stored: Range<usize>,
    /// Its place in the tree, unless it is nested too deep.
    index: Option<usize>,
    has_subnode: bool,
}

const BEGIN: u32 = 1;
const END_NODE: u32 = 2;
const PROPERTY: u32 = 3;
const NOP: u32 = 4;
const END: u32 = 9;
