//! Owned tree to bytes, as dtc lays them out: header, reservations, structure, strings, without gaps.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::collections::BTreeMap;

use zerocopy::IntoBytes as _;

use crate::{
    error::{Error, ErrorKind},
    header::{LAST_COMP, MAGIC, RawHeader, RawReservation, VERSION},
    model::{DeviceTree, Node},
    token::{BEGIN_NODE, END, END_NODE, MAX_PROPERTY_NAME, PROP},
    walk::MAX_DEPTH,
};

/// What the writer keeps besides the nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteOptions {
    /// Whether memory reservations are written; a boot program that makes its own wants none.
    pub memory_reservations: bool,
    /// Whether the boot processor's id is written; else it is 0.
    pub boot_cpu: bool,
}

impl Default for WriteOptions {
    fn default() -> Self {
        Self { memory_reservations: true, boot_cpu: true }
    }
}

impl DeviceTree {
    /// The tree as bytes of format version 17, readable by readers of version 16. Reading them back gives an equal
    /// tree, and a tree that dtc wrote comes out with the bytes that dtc wrote.
    ///
    /// # Errors
    /// [`ErrorKind::Unwritable`] when a name holds a NUL or is too long, when the root has a name, when nodes are
    /// nested deeper than [`MAX_DEPTH`] or when the whole is larger than 4 GiB.
    pub fn to_bytes(&self, options: &WriteOptions) -> Result<Vec<u8>, Error> {
        let mut writer = Writer::default();
        writer.tree(self.root())?;
        let Writer { structure, strings, .. } = writer;

        let pairs = if options.memory_reservations { self.memory_reservations.as_slice() } else { &[] };
        let mut reservations = Vec::new();
        for (index, pair) in pairs.iter().enumerate() {
            if pair.address == 0 && pair.size == 0 {
                return refuse(format!("memory reservation {index}"), "is a pair of zeros, which ends the list");
            }
            let raw = RawReservation { address: pair.address.into(), size: pair.size.into() };
            reservations.extend_from_slice(raw.as_bytes());
        }
        reservations.extend_from_slice(&[0; 16]);

        let header_size = size_of::<RawHeader>();
        let off_dt_struct = header_size.saturating_add(reservations.len());
        let off_dt_strings = off_dt_struct.saturating_add(structure.len());
        let totalsize = off_dt_strings.saturating_add(strings.len());
        let field = |value: usize| match u32::try_from(value) {
            Ok(value) => Ok(value.into()),
            Err(_) => refuse("the tree".to_owned(), "is larger than 4 GiB"),
        };
        let header = RawHeader {
            magic: MAGIC.into(),
            totalsize: field(totalsize)?,
            off_dt_struct: field(off_dt_struct)?,
            off_dt_strings: field(off_dt_strings)?,
            off_mem_rsvmap: field(header_size)?,
            version: VERSION.into(),
            last_comp_version: LAST_COMP.into(),
            boot_cpuid_phys: if options.boot_cpu { self.boot_cpuid_phys } else { 0 }.into(),
            size_dt_strings: field(strings.len())?,
            size_dt_struct: field(structure.len())?,
        };
        let mut bytes = Vec::with_capacity(totalsize);
        bytes.extend_from_slice(header.as_bytes());
        bytes.extend_from_slice(&reservations);
        bytes.extend_from_slice(&structure);
        bytes.extend_from_slice(&strings);
        Ok(bytes)
    }
}

fn refuse<T>(what: String, problem: &'static str) -> Result<T, Error> {
    Err(ErrorKind::Unwritable { what, problem }.into())
}

#[derive(Default)]
struct Writer<'t> {
    structure: Vec<u8>,
    strings: Vec<u8>,
    /// Every text that the strings block holds, suffixes included, at its first place: dtc shares these too.
    known: BTreeMap<&'t [u8], usize>,
}

impl<'t> Writer<'t> {
    fn tree(&mut self, root: &'t Node) -> Result<(), Error> {
        if !root.name.is_empty() {
            return refuse(format!("the root node, named {:?},", root.name), "must have no name");
        }
        let mut open = vec![root.children.iter()];
        self.begin(root)?;
        while let Some(level) = open.last_mut() {
            if let Some(child) = level.next() {
                if open.len() >= MAX_DEPTH {
                    return refuse(format!("node {:?}", child.name), "is nested deeper than 64 levels");
                }
                self.begin(child)?;
                open.push(child.children.iter());
            } else {
                open.pop();
                self.word(END_NODE);
            }
        }
        self.word(END);
        Ok(())
    }

    fn begin(&mut self, node: &'t Node) -> Result<(), Error> {
        self.word(BEGIN_NODE);
        if node.name.contains('\0') {
            return refuse(format!("node name {:?}", node.name), "holds a NUL");
        }
        self.structure.extend_from_slice(node.name.as_bytes());
        self.structure.push(0);
        self.pad();
        for property in &node.properties {
            let name_offset = self.name(&property.name)?;
            let Ok(length) = u32::try_from(property.value.len()) else {
                return refuse(format!("property {:?}", property.name), "is larger than 4 GiB");
            };
            self.word(PROP);
            self.word(length);
            self.word(name_offset);
            self.structure.extend_from_slice(&property.value);
            self.pad();
        }
        Ok(())
    }

    fn name(&mut self, name: &'t str) -> Result<u32, Error> {
        let bytes = name.as_bytes();
        if bytes.len() > MAX_PROPERTY_NAME {
            return refuse(format!("property name {:?}…", name.chars().take(32).collect::<String>()), "is too long");
        }
        if bytes.contains(&0) {
            return refuse(format!("property name {name:?}"), "holds a NUL");
        }
        let offset = if let Some(offset) = self.known.get(bytes) {
            *offset
        } else {
            let offset = self.strings.len();
            self.strings.extend_from_slice(bytes);
            self.strings.push(0);
            for skip in 0..=bytes.len() {
                let suffix = bytes.get(skip..).unwrap_or_default();
                self.known.entry(suffix).or_insert(offset.saturating_add(skip));
            }
            offset
        };
        match u32::try_from(offset) {
            Ok(offset) => Ok(offset),
            Err(_) => refuse("the strings block".to_owned(), "is larger than 4 GiB"),
        }
    }

    fn word(&mut self, word: u32) {
        self.structure.extend_from_slice(&word.to_be_bytes());
    }

    fn pad(&mut self) {
        while !self.structure.len().is_multiple_of(4) {
            self.structure.push(0);
        }
    }
}
