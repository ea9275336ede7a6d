//! Symbols that modules need of the kernel itself, looked up in the kernel's bytes.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read},
};

use imgcore::Report;

use crate::rules::{self, finding};

use super::{Module, Modules, graph::bare, unpack::fill};

/// Bytes that are read at a time.
const CHUNK: usize = 128 << 10;
/// Longest text that is looked at: `KSYM_NAME_LEN` is 512.
const NAME: usize = 512;
/// Names that a finding shows.
const SHOWN: usize = 5;
/// What kernel and loader make up themselves.
const MADE_UP: [&str; 2] = ["__this_module", "_GLOBAL_OFFSET_TABLE_"];

/// Symbols that modules need and no module exports, so that the kernel must.
///
/// A kernel's `Image` holds the name of each exported symbol as text with a NUL behind it (`__ksymtab_strings`); a
/// linker may let a name end in a longer one. What is not there is not exported. What is there may still be other text.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct External {
    /// The modules that need a symbol, by the symbol; weak needs are left out.
    pub needed: BTreeMap<String, Vec<String>>,
}

impl External {
    /// What the modules need of the kernel.
    pub fn of(modules: &Modules) -> Self {
        let exported: BTreeSet<&str> =
            modules.modules.iter().flat_map(|module| &module.exports).map(|export| export.name.as_str()).collect();
        let mut needed: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for module in &modules.modules {
            for symbol in of_module(module, &exported) {
                needed.entry(symbol.to_owned()).or_default().push(module.path.clone());
            }
        }
        Self { needed }
    }

    /// Takes out every symbol whose name is in the kernel, whose unpacked bytes are read once, forward. What is left is
    /// missing.
    ///
    /// # Errors
    /// Whatever the medium answers.
    pub fn remove_found(&mut self, kernel: &mut dyn Read) -> io::Result<()> {
        let mut missing: BTreeSet<&[u8]> = self.needed.keys().map(String::as_bytes).collect();
        let mut found: Vec<String> = Vec::new();
        let (mut chunk, mut name) = (vec![0; CHUNK], Vec::with_capacity(NAME));
        loop {
            let count = fill(kernel, &mut chunk)?;
            for byte in chunk.get(..count).unwrap_or_default() {
                if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'$') {
                    if name.len() < NAME {
                        name.push(*byte);
                    }
                    continue;
                }
                if *byte == 0 && !name.is_empty() {
                    // Every end of the text may be a name.
                    for start in 0..name.len() {
                        let Some(end) = name.get(start..) else { continue };
                        if missing.remove(end) {
                            found.push(String::from_utf8_lossy(end).into_owned());
                        }
                    }
                }
                name.clear();
            }
            if count < chunk.len() || missing.is_empty() {
                break;
            }
        }
        drop(missing);
        for symbol in found {
            self.needed.remove(&symbol);
        }
        Ok(())
    }

    /// An error for each module that needs what is left, which is to say: what neither a module nor the kernel has.
    pub fn missing(&self, release: &str) -> Report {
        let mut by_module: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (symbol, modules) in &self.needed {
            for module in modules {
                by_module.entry(module).or_default().push(symbol);
            }
        }
        let finding = |(module, symbols): (&str, Vec<&str>)| {
            let shown = symbols.get(..SHOWN).unwrap_or(&symbols).join(", ");
            let more = match symbols.len().saturating_sub(SHOWN) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let message = format!(
                "{module} needs {shown}{more}, which no module exports and the kernel {release} does not hold; the kernel \
                 refuses to load it"
            );
            let help = format!(
                "take a module built for {release} with the same configuration, or add the module that exports it"
            );
            finding(rules::MOD_MISSING, message).of(module).help(help)
        };
        by_module.into_iter().map(finding).collect()
    }
}

fn of_module<'a>(module: &'a Module, exported: &BTreeSet<&str>) -> BTreeSet<&'a str> {
    let strong = module.needs.iter().filter(|need| !need.weak).map(|need| bare(&need.name));
    strong.filter(|name| !exported.contains(name) && !MADE_UP.contains(name)).collect()
}
