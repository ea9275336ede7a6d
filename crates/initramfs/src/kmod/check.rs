//! Whether modules fit the kernel that is to load them.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::collections::BTreeMap;

use imgcore::{Finding, Report};

use crate::rules::{self, finding};

use super::{Compression, IdType, Kernel, Module, Modules, Signer, builtin, machine};

/// Paths that a finding names.
const SHOWN: usize = 3;

/// What a kernel takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expect {
    /// `uname -r` of the kernel.
    pub release: String,
    /// Its `e_machine`.
    pub machine: u16,
    /// Whether it loads unsigned modules.
    pub signatures: Signatures,
    /// What its loader unpacks.
    pub compressions: Vec<Compression>,
    /// What was found in its bytes. Without it modules are compared with each other, where that tells something.
    pub kernel: Option<Kernel>,
}

/// What a kernel does with modules whose signature is missing or unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signatures {
    /// It refuses them: `module.sig_enforce=1`, CONFIG_MODULE_SIG_FORCE or lockdown.
    Enforced,
    /// It loads them.
    Optional,
}

impl Default for Expect {
    /// No release, arm64, signatures optional, every compression, nothing known of its bytes.
    fn default() -> Self {
        Self {
            release: String::new(),
            machine: machine::AARCH64,
            signatures: Signatures::Optional,
            compressions: Compression::ALL.to_vec(),
            kernel: None,
        }
    }
}

/// Compares every module of a release with what the kernel takes. One finding for each problem and its kind, however
/// many modules have it.
pub fn check(modules: &Modules, expect: &Expect) -> Report {
    let mut report = Report::new();
    let (release, all) = (expect.release.as_str(), modules.modules.as_slice());
    let known: Vec<&Module> = all.iter().filter(|module| module.elf.is_some()).collect();
    if modules.release != expect.release {
        let message =
            format!("the modules lie in {}, the kernel looks in {}", modules.folder, sibling(&modules.folder, release));
        let help =
            format!("take the modules that were built with the kernel {release}, or the kernel {}", modules.release);
        report.push(finding(rules::MOD_FOLDER, message).of(modules.folder.clone()).help(help));
    }
    releases(&known, release, &mut report);
    machines(&known, expect.machine, &mut report);
    compressions(&known, &expect.compressions, &mut report);
    unsigned(&known, expect.signatures, &mut report);
    if let Some(kernel) = &expect.kernel {
        kernel.check(modules, expect.signatures, &mut report);
    } else {
        flags(&known, release, &mut report);
        signers(&known, expect.signatures, &mut report);
    }
    built_in(modules, &known, &mut report);
    report
}

/// Modules by a key, in the order of keys.
fn group<'a, K: Ord>(modules: &[&'a Module], key: impl Fn(&'a Module) -> Option<K>) -> BTreeMap<K, Vec<&'a Module>> {
    let mut groups: BTreeMap<K, Vec<&Module>> = BTreeMap::new();
    for module in modules {
        if let Some(key) = key(module) {
            groups.entry(key).or_default().push(module);
        }
    }
    groups
}

/// `a.ko, b.ko, c.ko and 7 more are`.
pub(super) fn are(modules: &[&Module]) -> String {
    match modules {
        [one] => format!("{} is", one.path),
        many => format!("{} are", some(many)),
    }
}

/// `a.ko, b.ko, c.ko and 7 more`.
fn some(modules: &[&Module]) -> String {
    let shown: Vec<_> = modules.iter().take(SHOWN).map(|module| module.path.as_str()).collect();
    match modules.len().saturating_sub(SHOWN) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

pub(super) fn owned(finding: Finding, modules: &[&Module]) -> Finding {
    match modules.first() {
        Some(module) => finding.of(module.path.clone()),
        None => finding,
    }
}

fn releases(modules: &[&Module], release: &str, report: &mut Report) {
    let other = |module: &Module| module.vermagic().is_some_and(|magic| magic.release != release);
    let other: Vec<&Module> = modules.iter().copied().filter(|module| other(module)).collect();
    let groups = group(&other, |module| module.vermagic().map(|magic| (magic.release, magic.has_modversions())));
    for ((built_for, versioned), modules) in groups {
        let built_for = built_for.escape_debug();
        let who = are(&modules);
        let finding = if versioned {
            let message = format!(
                "{who} built for the kernel {built_for}, not for {release}; the kernel loads what has symbol versions \
                 only if every version agrees"
            );
            finding(rules::MOD_RELEASE_VERSIONED, message)
        } else {
            let message =
                format!("{who} built for the kernel {built_for}, not for {release}, which refuses to load it");
            finding(rules::MOD_RELEASE, message)
        };
        let help = format!("take the extension or modules built for {release}, or the kernel {built_for}");
        report.push(owned(finding.help(help), &modules));
    }
}

/// Behind the release the whole text must be the kernel's. That is not known; but what most modules say is.
fn flags(modules: &[&Module], release: &str, report: &mut Report) {
    let same = |module: &Module| module.vermagic().is_some_and(|magic| magic.release == release);
    let same: Vec<&Module> = modules.iter().copied().filter(|module| same(module)).collect();
    let groups = group(&same, |module| module.vermagic().map(|magic| magic.flags));
    let Some((usual, most)) = groups.iter().max_by_key(|(_, modules)| modules.len()) else { return };
    for (flags, modules) in groups.iter().filter(|(flags, _)| *flags != usual) {
        let message = format!(
            "{} built with the flags {:?}, {} other modules with {usual:?}; a kernel loads only those with its own",
            are(modules),
            flags.escape_debug().to_string(),
            most.len()
        );
        let help = "build all modules with the configuration of the kernel (preemption, SMP, modversions)";
        report.push(owned(finding(rules::MOD_FLAGS, message).help(help), modules));
    }
}

fn machines(modules: &[&Module], expected: u16, report: &mut Report) {
    let other = group(modules, |module| module.elf.filter(|elf| elf.machine != expected).map(|elf| elf.machine));
    for (machine, modules) in other {
        let (name, expected) = (machine::name(machine), machine::name(expected));
        let message = format!("{} built for {name}, the kernel is for {expected}", are(&modules));
        let help = format!("take the extension or modules for {expected}");
        report.push(owned(finding(rules::MOD_MACHINE, message).help(help), &modules));
    }
}

fn compressions(modules: &[&Module], taken: &[Compression], report: &mut Report) {
    let other = group(modules, |module| Some(module.compression).filter(|compression| !taken.contains(compression)));
    let names: Vec<_> = taken.iter().map(|compression| compression.name()).collect();
    for (compression, modules) in other {
        let message = format!(
            "{} compressed with {compression}, which the kernel's loader does not unpack; it takes: {}",
            are(&modules),
            names.join(", ")
        );
        let help =
            "install them uncompressed, or set CONFIG_MODULE_COMPRESS and CONFIG_MODULE_DECOMPRESS in the kernel";
        report.push(owned(finding(rules::MOD_COMPRESSION, message).help(help), &modules));
    }
}

fn unsigned(modules: &[&Module], signatures: Signatures, report: &mut Report) {
    let pkcs7 = |module: &Module| module.signature.as_ref().is_some_and(|signature| signature.id_type == IdType::Pkcs7);
    let unsigned: Vec<&Module> = modules.iter().copied().filter(|module| !pkcs7(module)).collect();
    if signatures == Signatures::Optional || unsigned.is_empty() {
        return;
    }
    let message = if unsigned.len() == modules.len() {
        let some = some(&unsigned);
        format!("no module is signed, and the kernel loads signed ones only (module.sig_enforce=1): {some}")
    } else {
        let who = are(&unsigned);
        format!("{who} not signed, and the kernel loads signed ones only (module.sig_enforce=1)")
    };
    let help = "sign them with the key of the kernel's build (`scripts/sign-file sha512 certs/signing_key.pem \
                certs/signing_key.x509 MODULE`), take modules that were built with the kernel, or remove \
                module.sig_enforce=1 from the kernel's arguments";
    report.push(owned(finding(rules::MOD_UNSIGNED, message).help(help), &unsigned));
}

/// One build signs with one key.
fn signers(modules: &[&Module], signatures: Signatures, report: &mut Report) {
    // A kernel that loads anything loads these too.
    if signatures == Signatures::Optional {
        return;
    }
    let signers = group(modules, |module| module.signature.as_ref().map(|signature| &signature.signer));
    let Some((usual, most)) = signers.iter().max_by_key(|(_, modules)| modules.len()) else { return };
    for (signer, modules) in signers.iter().filter(|(signer, _)| signer != &usual) {
        let message = format!(
            "{} signed by {signer}, {} other modules by {usual}; a kernel takes signatures of keys only that it holds",
            are(modules),
            most.len()
        );
        let help = "take modules signed with the key of this kernel, or a kernel built with both certificates";
        report.push(owned(finding(rules::MOD_SIGNER, message).help(help), modules));
    }
}

/// A module that the kernel has built in is refused: the name is taken.
fn built_in(modules: &Modules, known: &[&Module], report: &mut Report) {
    let Some(list) = &modules.builtin else { return };
    let names: std::collections::BTreeSet<String> = builtin::names(list).collect();
    let both: Vec<&Module> = known.iter().copied().filter(|module| names.contains(&module.name)).collect();
    if !both.is_empty() {
        let message = format!("{} built into the kernel too, which refuses to load it again", are(&both));
        let help = "leave the module out, or build the kernel with it as a module";
        report.push(owned(finding(rules::MOD_BUILT_IN, message).help(help), &both));
    }
}

impl Modules {
    /// Everyone who signed modules, with how many.
    pub fn signers(&self) -> Vec<(&Signer, usize)> {
        let modules: Vec<&Module> = self.modules.iter().collect();
        let signers = group(&modules, |module| module.signature.as_ref().map(|signature| &signature.signer));
        signers.into_iter().map(|(signer, modules)| (signer, modules.len())).collect()
    }
}

fn sibling(folder: &str, release: &str) -> String {
    folder.rsplit_once('/').map_or_else(|| release.to_owned(), |(root, _)| format!("{root}/{release}"))
}
