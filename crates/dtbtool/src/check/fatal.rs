//! Trees that dtc does not read at all.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

/// The lines with which dtc refuses to read these bytes; `None` if it asks its checks about them.
///
/// dtc looks less closely than [`scan`](crate::scan): blocks may overlap, a version may be odd, and the structure
/// block is read to its end token, whatever its length in the header.
///
/// ```
/// assert_eq!(dtbtool::check::fatal(b"not a tree").as_deref(), Some("FATAL ERROR: Blob has incorrect magic number\n"));
/// ```
pub fn fatal(bytes: &[u8]) -> Option<String> {
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

    fn name(&mut self) -> Result<(), String> {
        let rest = self.structure.get(self.at..).unwrap_or_default();
        let end = rest.iter().position(|byte| *byte == 0).ok_or(CUT)?;
        self.skip(end.saturating_add(1))
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
        self.name()?;
        // Per open node: whether it has a subnode yet.
        let mut open = vec![false];
        while let Some(node) = open.last_mut() {
            match self.word()? {
                BEGIN => {
                    *node = true;
                    self.name()?;
                    open.push(false);
                }
                END_NODE => {
                    open.pop();
                }
                PROPERTY => {
                    if *node {
                        self.remark(super::overlay::MISPLACED);
                    }
                    self.property()?;
                }
                NOP if self.version < 16 => self.remark("Warning: NOP tag found in flat tree version <16"),
                NOP => {}
                END => return Err("Premature FDT_END in device tree blob".to_owned()),
                other => return Err(format!("Invalid opcode word {other:08x} in device tree blob")),
            }
        }
        if self.word()? == END { Ok(()) } else { Err("Device tree blob doesn't end with FDT_END".to_owned()) }
    }

    fn property(&mut self) -> Result<(), String> {
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
        self.skip(length)
    }
}

const BEGIN: u32 = 1;
const END_NODE: u32 = 2;
const PROPERTY: u32 = 3;
const NOP: u32 = 4;
const END: u32 = 9;
