//! What a kernel's own bytes say about modules: flags, exported symbols, certificates.

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

use super::{
    Module, Modules, Signatures, Signer,
    check::{are, owned},
    graph::bare,
    unpack::fill,
};
use crate::rules::{self, finding};

/// Bytes that are read at a time.
const CHUNK: usize = 128 << 10;
/// Longest text that is looked at: `KSYM_NAME_LEN` is 512.
const TEXT: usize = 512;
/// Longest text of a certificate that is looked for.
const CERTIFICATE: usize = 256;
/// Names that a finding shows.
const SHOWN: usize = 5;
/// What kernel and loader make up themselves.
const MADE_UP: [&str; 2] = ["__this_module", "_GLOBAL_OFFSET_TABLE_"];

/// What was found in the unpacked `Image` of a kernel for the modules that it is to load.
///
/// An `Image` holds its `vermagic`, the name of each exported symbol and the certificates of modules as they are. What
/// is not found is not there; what is found may in rare cases be other text of the same bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Kernel {
    /// Its release, as it was asked for.
    pub release: String,
    /// Release and flags that it compares with those of modules; `None` for a kernel without modules.
    pub vermagic: Option<String>,
    /// Symbols that modules need and neither a module nor the kernel has, with the modules. Weak needs are left out.
    pub missing: BTreeMap<String, Vec<String>>,
    /// Signers of modules whose certificate it does not hold.
    pub unknown_signers: Vec<Signer>,
}

impl Kernel {
    /// Reads a kernel once, forward, looking for what `modules` need of it. `image` is unpacked.
    ///
    /// # Errors
    /// Whatever the medium answers.
    pub fn look(image: &mut dyn Read, release: &str, modules: &Modules) -> io::Result<Self> {
        let missing = needed(modules);
        let mut search = Search {
            start: format!("{release} ").into_bytes(),
            vermagic: None,
            symbols: missing.keys().cloned().map(String::into_bytes).collect(),
            text: Vec::with_capacity(TEXT),
        };
        let signers = modules.signers().into_iter().map(|(signer, _)| signer);
        let signers = signers.filter_map(|signer| Some((signer, signer.certificate_text()?)));
        let mut unknown: Vec<(&Signer, Vec<u8>)> = signers.collect();
        // The end of each window is kept, so that a certificate across two is seen whole.
        let mut window = vec![0; CHUNK.saturating_add(CERTIFICATE)];
        let mut kept = 0_usize;
        loop {
            let count = fill(image, window.get_mut(kept..).unwrap_or_default())?;
            let filled = kept.saturating_add(count);
            let bytes = window.get(..filled).unwrap_or_default();
            bytes.get(kept..).unwrap_or_default().iter().for_each(|byte| search.take(*byte));
            unknown.retain(|(_, text)| !contains(bytes, text));
            if filled < window.len() {
                break;
            }
            kept = CERTIFICATE;
            window.copy_within(filled.saturating_sub(kept).., 0);
        }
        Ok(Self {
            release: release.to_owned(),
            vermagic: search.vermagic,
            missing: missing.into_iter().filter(|(symbol, _)| search.symbols.contains(symbol.as_bytes())).collect(),
            unknown_signers: unknown.into_iter().map(|(signer, _)| signer.clone()).collect(),
        })
    }

    /// What of the modules this kernel refuses: other flags, symbols that are nowhere, and with
    /// [`Signatures::Enforced`] signatures of keys that it does not hold.
    pub(super) fn check(&self, modules: &Modules, signatures: Signatures, report: &mut Report) {
        self.flags(modules, report);
        self.symbols(report);
        if signatures == Signatures::Enforced {
            self.signers(modules, report);
        }
    }

    fn flags(&self, modules: &Modules, report: &mut Report) {
        let Some((release, own)) = self.vermagic.as_deref().and_then(|magic| magic.split_once(' ')) else { return };
        let mut others: BTreeMap<&str, Vec<&Module>> = BTreeMap::new();
        for module in &modules.modules {
            // Another release is said by `check`.
            if let Some(magic) = module.vermagic().filter(|magic| magic.release == release && magic.flags != own) {
                others.entry(magic.flags).or_default().push(module);
            }
        }
        for (flags, modules) in others {
            let flags = flags.escape_debug().to_string();
            let message = format!("{} built with the flags {flags:?}, the kernel with {own:?}", are(&modules));
            let help = "build the modules with the configuration of the kernel (preemption, SMP, modversions)";
            report.push(owned(finding(rules::MOD_FLAGS, message).help(help), &modules));
        }
    }

    fn symbols(&self, report: &mut Report) {
        let mut by_module: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (symbol, modules) in &self.missing {
            for module in modules {
                by_module.entry(module).or_default().push(symbol);
            }
        }
        for (module, symbols) in by_module {
            let shown = symbols.get(..SHOWN).unwrap_or(&symbols).join(", ");
            let more = match symbols.len().saturating_sub(SHOWN) {
                0 => String::new(),
                more => format!(" and {more} more"),
            };
            let message = format!(
                "{module} needs {shown}{more}, which no module exports and the kernel {} does not hold; the kernel refuses to \
                 load it",
                self.release
            );
            let help = format!(
                "take the module built for {} with its configuration, or add the module that exports what is missing",
                self.release
            );
            report.push(finding(rules::MOD_MISSING, message).of(module).help(help));
        }
    }

    fn signers(&self, modules: &Modules, report: &mut Report) {
        for signer in &self.unknown_signers {
            let whose = |module: &&Module| module.signature.as_ref().is_some_and(|own| own.signer == *signer);
            let signed: Vec<&Module> = modules.modules.iter().filter(whose).collect();
            let message = format!(
                "{} signed by {signer}, whose certificate the kernel {} does not hold, and it loads no others \
                 (module.sig_enforce=1)",
                are(&signed),
                self.release
            );
            let help = "take modules that were built with this very kernel, or the kernel that they were built with";
            report.push(owned(finding(rules::MOD_UNKNOWN_SIGNER, message).help(help), &signed));
        }
    }
}

/// Symbols that modules need and no module exports, each with those that need it.
fn needed(modules: &Modules) -> BTreeMap<String, Vec<String>> {
    let exports = modules.modules.iter().flat_map(|module| &module.exports);
    let exported: BTreeSet<&str> = exports.map(|export| export.name.as_str()).collect();
    let mut needed: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for module in &modules.modules {
        let strong = module.needs.iter().filter(|need| !need.weak).map(|need| bare(&need.name));
        let external: BTreeSet<&str> =
            strong.filter(|name| !exported.contains(name) && !MADE_UP.contains(name)).collect();
        for symbol in external {
            needed.entry(symbol.to_owned()).or_default().push(module.path.clone());
        }
    }
    needed
}

/// Looks at each text, up to its NUL.
struct Search {
    /// How `vermagic` begins.
    start: Vec<u8>,
    vermagic: Option<String>,
    /// What has not been found.
    symbols: BTreeSet<Vec<u8>>,
    text: Vec<u8>,
}

impl Search {
    fn take(&mut self, byte: u8) {
        match byte {
            0 if !self.text.is_empty() => {
                self.look();
                self.text.clear();
            }
            b' '..=b'~' => {
                // What matters stands at the end of a text.
                if self.text.len() >= TEXT.saturating_mul(2) {
                    self.text.drain(..TEXT);
                }
                self.text.push(byte);
            }
            _ => self.text.clear(),
        }
    }

    fn look(&mut self) {
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'$');
        let name = self.text.iter().rposition(|byte| !is_name(byte)).map_or(0, |at| at.saturating_add(1));
        // A linker lets a name end in a longer one: every end of the text may be a name.
        for start in name..self.text.len() {
            if let Some(end) = self.text.get(start..) {
                self.symbols.remove(end);
            }
        }
        if self.vermagic.is_none() && name > 0 {
            self.vermagic = find(&self.text, &self.start).and_then(|at| flags(self.text.get(at..)?));
        }
    }
}

/// `6.18.2 SMP preempt mod_unload aarch64`: words without what the banner has behind the release, `(root@…) #1`.
fn flags(text: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(text).ok()?.trim_end();
    let words = text.split(' ').skip(1);
    let plain =
        |word: &str| word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b':'));
    (words.clone().count() > 0 && words.clone().all(plain)).then(|| text.to_owned())
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    find(bytes, text).is_some()
}

fn find(bytes: &[u8], text: &[u8]) -> Option<usize> {
    let first = *text.first()?;
    let mut from = 0_usize;
    loop {
        let at = bytes.get(from..)?.iter().position(|byte| *byte == first)?.checked_add(from)?;
        if bytes.get(at..)?.starts_with(text) {
            return Some(at);
        }
        from = at.checked_add(1)?;
    }
}
