//! One kernel module.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::fmt;

use imgcore::{ReadAt, Report};

use crate::rules::{self, finding};

use super::{
    Compression, Limits, Step,
    elf::{self, Sections},
    signature::{self, Signature},
    symbols::{self, Tables},
    unpack::Unpacked,
};

/// Bytes of `.modinfo` that are read; the modules with the most aliases have some ten thousand.
const MODINFO: u64 = 1 << 20;

/// What a kernel module says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Module {
    /// Its path, as given: in an index relative to the folder of its release.
    pub path: String,
    /// Its name as `lsmod` shows it: the file's name up to the first dot, with `_` for `-`.
    pub name: String,
    /// How its bytes are compressed, whatever the name says.
    pub compression: Compression,
    /// Bytes of the file, and of the module in it; the second is 0 if it cannot be unpacked.
    pub size: (u64, u64),
    /// What it is built for; `None` for what is no module at all, which depmod lists too.
    pub elf: Option<Elf>,
    /// Keys and values of `.modinfo` in their order; bytes that are no UTF-8 are replaced.
    pub info: Vec<(String, String)>,
    /// Symbols that other modules may use, in the order of the file.
    pub exports: Vec<Export>,
    /// Symbols that others must export, the kernel or modules, in the order of the file.
    pub needs: Vec<Need>,
    /// The signature behind it.
    pub signature: Option<Signature>,
}

/// Which processor a module is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Elf {
    /// `e_machine`, see [`machine`](super::machine).
    pub machine: u16,
    /// Whether it is a 64-bit file.
    pub is_64: bool,
    /// Whether its most significant bytes come first.
    pub big_endian: bool,
}

/// An exported symbol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// Its name.
    pub name: String,
    /// The CRC of its type, from a kernel with CONFIG_MODVERSIONS.
    pub crc: Option<u32>,
}

/// A symbol that a module needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    /// Its name.
    pub name: String,
    /// The CRC that it had when the module was built, with CONFIG_MODVERSIONS.
    pub crc: Option<u32>,
    /// Whether the module loads without it.
    pub weak: bool,
}

/// `vermagic` (`include/linux/vermagic.h`): the release and flags that a kernel compares with its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Vermagic<'a> {
    /// `uname -r` of the kernel that it is built for.
    pub release: &'a str,
    /// `SMP preempt mod_unload modversions aarch64`.
    pub flags: &'a str,
}

impl Vermagic<'_> {
    /// Whether symbols have versions, so that the kernel compares those instead of the release.
    pub fn has_modversions(&self) -> bool {
        self.flags.split(' ').any(|flag| flag == "modversions")
    }
}

impl fmt::Display for Vermagic<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.release, self.flags)
    }
}

impl Module {
    /// Reads a module: `.ko`, `.ko.gz`, `.ko.xz` or `.ko.zst`, told apart by their first bytes.
    ///
    /// `None` for what is no module, cannot be unpacked or read. Findings name the path.
    pub fn parse(path: &str, data: &dyn ReadAt) -> (Option<Self>, Report) {
        Self::parse_within(path, data, &Limits::default())
    }

    /// As [`parse`](Self::parse), with other limits.
    pub fn parse_within(path: &str, data: &dyn ReadAt, limits: &Limits) -> (Option<Self>, Report) {
        let mut report = Report::new();
        let module = read(path, data, limits, &mut report).map_err(|finding| report.push(*finding)).ok();
        (module, report.owned_by(path, 0))
    }

    /// A module of which nothing but its path is known.
    pub(super) fn unknown(path: &str, size: u64) -> Self {
        Self {
            path: path.to_owned(),
            name: module_name(path),
            compression: Compression::of_name(path).unwrap_or(Compression::None),
            size: (size, 0),
            elf: None,
            info: Vec::new(),
            exports: Vec::new(),
            needs: Vec::new(),
            signature: None,
        }
    }

    /// All values of a key of `.modinfo`.
    pub fn values<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.info.iter().filter(move |(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    /// The first value of a key of `.modinfo`.
    pub fn value<'a>(&'a self, key: &'a str) -> Option<&'a str> {
        self.values(key).next()
    }

    /// Release and flags of the kernel that it is built for.
    pub fn vermagic(&self) -> Option<Vermagic<'_>> {
        let text = self.value("vermagic")?.trim_end();
        let (release, flags) = text.split_once(' ').unwrap_or((text, ""));
        Some(Vermagic { release, flags })
    }

    /// Whether it comes from the kernel's own sources.
    pub fn is_in_tree(&self) -> bool {
        self.value("intree") == Some("Y")
    }

    /// Bytes that it takes in memory, about.
    pub(super) fn kept(&self) -> u64 {
        const EACH: usize = 48;
        let texts = self.info.iter().map(|(key, value)| key.len().saturating_add(value.len()));
        let names = self.exports.iter().map(|export| export.name.len());
        let needs = self.needs.iter().map(|need| need.name.len());
        let sum =
            texts.chain(names).chain(needs).fold(0_usize, |sum, size| sum.saturating_add(size.saturating_add(EACH)));
        sum as u64
    }
}

/// The name of the module in a file: of its name what is in front of the first dot, `-` as `_`.
pub(super) fn module_name(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split('.').next().unwrap_or(file).replace('-', "_")
}

fn read(path: &str, data: &dyn ReadAt, limits: &Limits, report: &mut Report) -> Step<Module> {
    let data_size = data.size();
    let data = Unpacked::open(data, limits)?;
    let sections = Sections::read(&data)?;
    let range = |name: &str| sections.find(name);
    let info = range(".modinfo").inspect(|range| {
        if range.end.saturating_sub(range.start) > MODINFO {
            let message = format!("of .modinfo {MODINFO} bytes are read; what lies behind them is left out");
            report.push(
                finding(rules::MOD_INFO, message)
                    .at(range.clone())
                    .help("no real module says so much; look where it comes from"),
            );
        }
    });
    let info = info.map(|range| range.start..range.end.min(range.start.saturating_add(MODINFO)));
    let (symbols, strings) = (range(".symtab"), range(".strtab"));
    let wanted = [info.clone(), symbols.clone(), strings.clone(), range("__versions"), range("__ksymtab_strings")];
    let mut parts = elf::gather(&data, &wanted, limits)?.into_iter();
    let mut part = || parts.next().unwrap_or_default();
    let pairs = pairs(&part());
    let tables = Tables {
        symbols: Some(part()).filter(|_| symbols.is_some()),
        strings: Some(part()).filter(|_| strings.is_some()),
        versions: part(),
        exported: part(),
    };
    let symbols = symbols::read(&sections, &data, &tables, limits, report)?;
    let module = Module {
        compression: data.compression,
        size: (data_size, data.size),
        elf: Some(Elf {
            machine: sections.machine,
            is_64: sections.layout.is_64,
            big_endian: sections.layout.big_endian,
        }),
        info: pairs,
        exports: symbols.exports,
        needs: symbols.needs,
        signature: signature::read(&data, report)?,
        ..Module::unknown(path, data_size)
    };
    if module.vermagic().is_none() {
        let message =
            if info.is_some() { "the module's .modinfo has no vermagic" } else { "the module has no .modinfo" };
        let help = "no kernel loads it; it is an object file that `make modules` has not linked to a module";
        report.push(finding(rules::MOD_VERMAGIC, format!("{message}, so its release is unknown")).help(help));
    }
    if let Some(named) = Compression::of_name(path).filter(|named| *named != data.compression) {
        let message =
            format!("the file is named as {named} (…{}), but its content is {}", named.suffix(), data.compression);
        let help =
            format!("rename it so that it ends with {}; loaders that go by the name fail", data.compression.suffix());
        report.push(finding(rules::MOD_SUFFIX, message).help(help));
    }
    Ok(module)
}

/// `key=value` texts with NULs between them; a key without `=` has no value.
fn pairs(bytes: &[u8]) -> Vec<(String, String)> {
    let texts = bytes.split(|byte| *byte == 0).filter(|text| !text.is_empty());
    let pair = |text: &[u8]| {
        let text = String::from_utf8_lossy(text);
        let (key, value) = text.split_once('=').unwrap_or((&text, ""));
        (key.to_owned(), value.to_owned())
    };
    texts.map(pair).collect()
}
