//! What a module exports and what it needs, as libkmod reads it: `__crc_` symbols, else `__ksymtab_strings`; undefined
//! symbols, with the versions of `__versions`.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::{collections::BTreeMap, ops::Range};

use crate::rules::{self, finding};

use super::{
    Export, Limits, Need, Step,
    elf::{self, Sections},
    unpack::Unpacked,
};

/// `struct modversion_info` (`include/linux/module.h`): a CRC and a name, of 64 bytes together.
const VERSION: usize = 64;
/// Longest name that is taken: the kernel's `KSYM_NAME_LEN` is 512.
const NAME: usize = 1024;
/// What names of one module may take, each with this for its bookkeeping.
const NAMES: usize = 16 << 20;
const NAME_COST: usize = 48;
/// Sections in which the CRCs of exported symbols lie: `___kcrctab+name`, one for each symbol at most.
const CRC_SECTIONS: usize = 1 << 16;
/// A CRC.
const CRC: u64 = 4;
/// Section indexes without a section: undefined and absolute.
const SHN_UNDEF: u64 = 0;
const SHN_ABS: u64 = 0xfff1;
/// Binding of a symbol that may stay undefined.
const STB_WEAK: u64 = 2;
/// On SPARC an undefined symbol of this type is a register.
const STT_REGISTER: u64 = 13;
const SPARC: [u16; 2] = [2, 43];
const CRC_PREFIX: &[u8] = b"__crc_";

/// Symbols of a module.
#[derive(Debug, Default)]
pub(super) struct Symbols {
    pub(super) exports: Vec<Export>,
    pub(super) needs: Vec<Need>,
}

/// The sections that describe a module's symbols.
pub(super) struct Tables {
    pub(super) symbols: Option<Vec<u8>>,
    pub(super) strings: Option<Vec<u8>>,
    pub(super) versions: Vec<u8>,
    pub(super) exported: Vec<u8>,
}

/// One entry of `.symtab`.
struct Symbol<'a> {
    /// `None` where it lies outside the strings.
    name: Option<&'a [u8]>,
    info: u64,
    section: u64,
    value: u64,
}

/// Counts what names cost.
struct Budget {
    left: usize,
}

impl Budget {
    fn name(&mut self, bytes: &[u8]) -> Step<String> {
        let cost = bytes.len().saturating_add(NAME_COST);
        self.left = self.left.checked_sub(cost).ok_or_else(|| {
            let message = format!("the names of the module's symbols have more than {NAMES} bytes");
            Box::new(finding(rules::MOD_BOMB, message).help("no real module has so many; look where it comes from"))
        })?;
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }
}

/// Reads exports and needs; damage is reported once, and what can be read stays.
pub(super) fn read(
    sections: &Sections,
    data: &Unpacked<'_>,
    tables: &Tables,
    limits: &Limits,
    report: &mut imgcore::Report,
) -> Step<Symbols> {
    let mut budget = Budget { left: NAMES };
    let symbols = parse(sections, tables);
    if symbols.is_none() {
        let message = "the module has no table of symbols that can be read, so what it needs is unknown";
        report.push(
            finding(rules::MOD_SYMBOLS, message)
                .help("a stripped module cannot be loaded either: strip with --strip-debug, not --strip-all"),
        );
    }
    let exports = match &symbols {
        Some(symbols) if symbols.iter().all(|symbol| symbol.name.is_some()) => {
            versioned_exports(sections, data, symbols, limits, &mut budget)?
        }
        _ => Vec::new(),
    };
    let exports = if exports.is_empty() { plain_exports(&tables.exported, &mut budget)? } else { exports };
    let needs = match &symbols {
        Some(symbols) => needs(sections, symbols, &tables.versions, &mut budget, report)?,
        None => Vec::new(),
    };
    Ok(Symbols { exports, needs })
}

/// The entries of `.symtab` behind the first, which is none.
fn parse<'a>(sections: &Sections, tables: &'a Tables) -> Option<Vec<Symbol<'a>>> {
    let (symbols, strings) = (tables.symbols.as_ref()?, tables.strings.as_ref()?);
    let layout = sections.layout;
    let width = layout.symbol();
    if !symbols.len().is_multiple_of(width) {
        return None;
    }
    let entry = |bytes: &'a [u8]| {
        let at = usize::try_from(layout.uint(bytes, 0, 4)?).ok()?;
        let (info, section, value) = if layout.is_64 { (4, 6, (8, 8)) } else { (12, 14, (4, 4)) };
        Some(Symbol {
            name: strings.get(at..).filter(|rest| !rest.is_empty()).map(text),
            info: layout.uint(bytes, info, 1)?,
            section: layout.uint(bytes, section, 2)?,
            value: layout.uint(bytes, value.0, value.1)?,
        })
    };
    symbols.chunks_exact(width).skip(1).map(entry).collect()
}

/// Up to the NUL.
fn text(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.get(..NAME).unwrap_or(bytes);
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    bytes.get(..end).unwrap_or_default()
}

/// Names of `__ksymtab_strings`.
fn plain_exports(bytes: &[u8], budget: &mut Budget) -> Step<Vec<Export>> {
    let names = bytes.split(|byte| *byte == 0).filter(|name| !name.is_empty());
    names.map(|name| Ok(Export { name: budget.name(name)?, crc: None })).collect()
}

/// Symbols `__crc_NAME`, whose value is the CRC or where it lies.
fn versioned_exports(
    sections: &Sections,
    data: &Unpacked<'_>,
    symbols: &[Symbol<'_>],
    limits: &Limits,
    budget: &mut Budget,
) -> Step<Vec<Export>> {
    let (mut exports, mut places) = (Vec::new(), Vec::new());
    for symbol in symbols {
        let Some(name) = symbol.name.and_then(|name| name.strip_prefix(CRC_PREFIX)) else { continue };
        exports.push(Export { name: budget.name(name)?, crc: u32::try_from(symbol.value).ok() });
        places.push((symbol.section, symbol.value));
    }
    // Where the CRCs lie in sections, each is read from its place.
    let mut wanted: BTreeMap<u64, Option<Range<u64>>> = BTreeMap::new();
    for (section, _) in &places {
        if !matches!(*section, SHN_UNDEF | SHN_ABS) && wanted.len() < CRC_SECTIONS {
            wanted.entry(*section).or_insert_with(|| sections.range(*section));
        }
    }
    let ranges: Vec<_> = wanted.values().cloned().collect();
    let contents: BTreeMap<u64, Vec<u8>> = wanted.into_keys().zip(elf::gather(data, &ranges, limits)?).collect();
    for (export, (section, at)) in exports.iter_mut().zip(places) {
        if matches!(section, SHN_UNDEF | SHN_ABS) {
            continue;
        }
        let field = usize::try_from(at).ok().filter(|_| at.checked_add(CRC).is_some());
        let crc = contents.get(&section).zip(field).and_then(|(bytes, at)| sections.layout.uint(bytes, at, 4));
        export.crc = crc.and_then(|crc| u32::try_from(crc).ok());
    }
    Ok(exports)
}

/// Undefined symbols in their order, then what only `__versions` names.
fn needs(
    sections: &Sections,
    symbols: &[Symbol<'_>],
    versions: &[u8],
    budget: &mut Budget,
    report: &mut imgcore::Report,
) -> Step<Vec<Need>> {
    let layout = sections.layout;
    let versions = if versions.len().is_multiple_of(VERSION) { versions } else { &[] };
    let version = |bytes: &[u8]| layout.uint(bytes, 0, layout.version_crc()).and_then(|crc| u32::try_from(crc).ok());
    let mut known: BTreeMap<&[u8], (usize, Option<u32>)> = BTreeMap::new();
    for (index, entry) in versions.chunks_exact(VERSION).enumerate() {
        let name = text(entry.get(layout.version_crc()..).unwrap_or_default());
        known.entry(name).or_insert((index, version(entry)));
    }
    let (mut needs, mut used) = (Vec::new(), vec![false; versions.len().div_ceil(VERSION)]);
    for symbol in symbols.iter().filter(|symbol| symbol.section == SHN_UNDEF) {
        if SPARC.contains(&sections.machine) && symbol.info & 0xf == STT_REGISTER {
            continue;
        }
        let Some(name) = symbol.name else {
            let message =
                "the name of an undefined symbol lies outside the strings, so what the module needs is unknown";
            report.push(finding(rules::MOD_SYMBOLS, message).help("the file is cut off or damaged: fetch it again"));
            return Ok(Vec::new());
        };
        if name.is_empty() {
            continue;
        }
        let found = known.get(name);
        if let Some(used) = found.and_then(|(index, _)| used.get_mut(*index)) {
            *used = true;
        }
        let crc = found.and_then(|(_, crc)| *crc);
        needs.push(Need { name: budget.name(name)?, crc, weak: symbol.info >> 4 == STB_WEAK });
    }
    for (entry, _) in versions.chunks_exact(VERSION).zip(&used).filter(|(_, used)| !**used) {
        let name = text(entry.get(layout.version_crc()..).unwrap_or_default());
        needs.push(Need { name: budget.name(name)?, crc: version(entry), weak: false });
    }
    Ok(needs)
}
