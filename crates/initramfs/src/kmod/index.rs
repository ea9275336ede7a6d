//! The files that depmod writes beside the modules of a release.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::fmt::Write as _;

use imgcore::{Blob, Finding, Report};

use crate::rules::{self, finding};

use super::{Limits, Module, Modules, Search, builtin, choose::choose, graph::Graph, hash, trie::Trie};
use crate::{Kind, Node, Result, Tree};

/// Names of a few, and how many more there are.
const SHOWN: usize = 5;

/// The index of the modules of one release: what a loader needs to find a module by name or alias, with all that it
/// needs in turn.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Index {
    /// The folder of the modules, `usr/lib/modules/6.18.2` say.
    pub folder: String,
    /// The files, in the order in which depmod writes them.
    pub files: Vec<File>,
}

/// One file of an [`Index`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its name: `modules.dep`, `modules.dep.bin`, `modules.alias`, …
    pub name: &'static str,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl Index {
    /// Computes the index of the modules that count, one of each name.
    ///
    /// `None` with a finding where depmod writes none either: modules that need each other in a cycle, an index that no
    /// file holds. What depmod keeps silent about is found too: two modules that export one symbol, versions of symbols
    /// that differ, aliases that no lookup finds.
    pub fn plan(modules: &Modules, search: &Search) -> (Option<Self>, Report) {
        Self::plan_within(modules, search, &Limits::default())
    }

    /// As [`plan`](Self::plan), with other limits.
    pub fn plan_within(modules: &Modules, search: &Search, limits: &Limits) -> (Option<Self>, Report) {
        let mut report = Report::new();
        let chosen = choose(&modules.modules, modules.order.as_deref(), search, &mut report);
        let graph = Graph::new(&chosen);
        symbols_agree(&graph, &mut report);
        match graph.ranks() {
            Err(cycle) => {
                report.push(cyclic(&graph, &cycle));
                (None, report)
            }
            Ok(ranks) => {
                let mut draft =
                    Draft { modules, graph: &graph, ranks: &ranks, limit: limits.index, report: &mut report };
                let files = draft.files().map_err(|name| report.push(too_large(name, limits.index)));
                (files.ok().map(|files| Self { folder: modules.folder.clone(), files }), report)
            }
        }
    }

    /// The bytes of a file.
    pub fn file(&self, name: &str) -> Option<&[u8]> {
        self.files.iter().find(|file| file.name == name).map(|file| file.bytes.as_slice())
    }

    /// A file as text; `None` for those that are none.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.file(name).and_then(|bytes| std::str::from_utf8(bytes).ok())
    }

    /// Puts the files into a tree, in place of those that are there.
    ///
    /// # Errors
    /// A folder that cannot be made in the tree.
    pub fn write_into(&self, tree: &mut Tree) -> Result<()> {
        for file in &self.files {
            let path = format!("{}/{}", self.folder, file.name);
            let _ = tree.take(&path);
            tree.insert(path, Node::file(0o644, Blob::from_bytes(file.name, file.bytes.clone())))?;
        }
        Ok(())
    }

    /// A tree of nothing but the `modules.*` files of the folder: those of the index, and from `tree` the others that
    /// stand beside the modules, such as `modules.order` and `modules.builtin`.
    ///
    /// # Errors
    /// A folder that cannot be made.
    pub fn tree(&self, tree: &Tree) -> Result<Tree> {
        let mut files = Tree::new();
        for (path, node) in tree.below(&self.folder) {
            let name =
                path.strip_prefix(self.folder.as_str()).and_then(|path| path.strip_prefix('/')).unwrap_or_default();
            if name.starts_with("modules.") && !name.contains('/') && matches!(node.kind, Kind::File(_)) {
                files.insert(path, node.clone())?;
            }
        }
        self.write_into(&mut files)?;
        Ok(files)
    }
}

/// Two modules that export one symbol, and versions that differ between who exports and who needs.
fn symbols_agree(graph: &Graph<'_>, report: &mut Report) {
    let module = |index: usize| graph.modules.get(index).copied();
    for (symbol, earlier) in graph.shadowed.iter().take(SHOWN) {
        let owner = graph.owners.get(symbol).and_then(|owner| module(*owner));
        let (Some(owner), Some(earlier)) = (owner, module(*earlier)) else { continue };
        let message = format!(
            "{} and {} both export the symbol {symbol}; the second one loaded is refused by the kernel",
            earlier.path, owner.path
        );
        report.push(
            finding(rules::MOD_EXPORTED_TWICE, message).of(owner.path.clone()).help("leave one of the two modules out"),
        );
    }
    for needing in graph.modules {
        let differs = needing.needs.iter().find_map(|need| {
            let owner = graph.owners.get(super::graph::bare(&need.name)).and_then(|owner| module(*owner))?;
            let exported = owner.exports.iter().rev().find(|export| export.name == need.name)?;
            let (needed, exported) = (need.crc?, exported.crc?);
            (needed != exported).then_some((&need.name, owner, needed, exported))
        });
        if let Some((symbol, owner, needed, exported)) = differs {
            let message = format!(
                "{} needs the symbol {symbol} in version {needed:#010x}, {} exports version {exported:#010x}; the kernel \
                 refuses to load it",
                needing.path, owner.path
            );
            let help = format!("build both from one kernel tree, with the Module.symvers of {}", owner.name);
            report.push(finding(rules::MOD_VERSION, message).of(needing.path.clone()).help(help));
        }
    }
}

fn cyclic(graph: &Graph<'_>, cycle: &[usize]) -> Finding {
    let members: Vec<&Module> = cycle.iter().filter_map(|index| graph.modules.get(*index).copied()).collect();
    let names = members.iter().chain(members.first()).take(SHOWN.saturating_mul(2)).map(|module| module.name.as_str());
    let names: Vec<_> = names.collect();
    let more = if cycle.len() >= SHOWN.saturating_mul(2) { " → …" } else { "" };
    let message = format!(
        "{} modules need each other in a cycle: {}{more}; no kernel can load them, and depmod writes no index",
        cycle.len(),
        names.join(" → ")
    );
    let finding = finding(rules::MOD_CYCLE, message).help("leave one of them out, or the extension that brings it");
    match members.first() {
        Some(module) => finding.of(module.path.clone()),
        None => finding,
    }
}

fn too_large(name: &'static str, limit: u64) -> Finding {
    finding(rules::MOD_INDEX, format!("{name} would have more than {limit} bytes"))
        .of(name)
        .help("no kernel has so many modules and aliases; look where they come from")
}

/// All that the files are made of.
struct Draft<'a> {
    modules: &'a Modules,
    graph: &'a Graph<'a>,
    ranks: &'a [usize],
    limit: u64,
    report: &'a mut Report,
}

/// A file, or its name if it became too large.
type Made<T> = std::result::Result<T, &'static str>;

impl Draft<'_> {
    fn files(&mut self) -> Made<Vec<File>> {
        let (dep, dep_bin) = self.dependencies()?;
        let (alias, alias_bin) = self.aliases()?;
        let (symbols, symbols_bin) = self.symbols()?;
        let mut files = vec![
            ("modules.dep", dep.into_bytes()),
            ("modules.dep.bin", dep_bin),
            ("modules.alias", alias.into_bytes()),
            ("modules.alias.bin", alias_bin),
            (
                "modules.softdep",
                self.hints("softdep", "# Soft dependencies extracted from modules themselves.\n").into_bytes(),
            ),
            (
                "modules.weakdep",
                self.hints("weakdep", "# Weak dependencies extracted from modules themselves.\n").into_bytes(),
            ),
            ("modules.symbols", symbols.into_bytes()),
            ("modules.symbols.bin", symbols_bin),
            ("modules.builtin.bin", self.builtin()?),
            ("modules.builtin.alias.bin", self.builtin_aliases()?),
            ("modules.devname", self.device_nodes().into_bytes()),
        ];
        if let Some((name, _)) = files.iter().find(|(_, bytes)| bytes.len() as u64 > self.limit) {
            return Err(name);
        }
        Ok(files.drain(..).map(|(name, bytes)| File { name, bytes }).collect())
    }

    /// `path: path path`, and the same by the module's name.
    fn dependencies(&mut self) -> Made<(String, Vec<u8>)> {
        const NAMES: [&str; 2] = ["modules.dep", "modules.dep.bin"];
        let (mut text, mut trie) = (String::new(), Trie::new());
        for (index, module) in self.graph.modules.iter().enumerate() {
            let mut line = format!("{}:", module.path);
            for needed in self.graph.all_needs(index, self.ranks) {
                if let Some(needed) = self.graph.modules.get(needed) {
                    line.push(' ');
                    line.push_str(&needed.path);
                }
            }
            if !trie.insert(&module.name, &line, priority(index)) {
                self.report.push(unfit(module, "its path", &module.path));
            }
            text.push_str(&line);
            text.push('\n');
            if text.len() as u64 > self.limit {
                return Err(NAMES[0]);
            }
        }
        Ok((text, trie.write(self.limit).ok_or(NAMES[1])?))
    }

    fn aliases(&mut self) -> Made<(String, Vec<u8>)> {
        let mut text = "# Aliases extracted from modules themselves.\n".to_owned();
        let mut trie = Trie::new();
        for (index, module) in self.graph.modules.iter().enumerate() {
            for alias in module.values("alias") {
                let _ = writeln!(text, "alias {alias} {}", module.name);
                let fits =
                    builtin::normalized(alias).is_some_and(|key| trie.insert(&key, &module.name, priority(index)));
                if !fits {
                    self.report.push(unfit(module, "its alias", alias));
                }
            }
        }
        Ok((text, trie.write(self.limit).ok_or("modules.alias.bin")?))
    }

    /// Lines of `softdep` or `weakdep`.
    fn hints(&self, key: &str, head: &str) -> String {
        let mut text = head.to_owned();
        for module in self.graph.modules {
            for value in module.values(key) {
                let _ = writeln!(text, "{key} {} {value}", module.name);
            }
        }
        text
    }

    /// Which module exports a symbol, in the order of libkmod's hash table.
    fn symbols(&mut self) -> Made<(String, Vec<u8>)> {
        let mut text = "# Aliases for symbols, used by symbol_request().\n".to_owned();
        let mut trie = Trie::new();
        let mut owners: Vec<(&str, usize)> =
            self.graph.owners.iter().map(|(symbol, owner)| (*symbol, *owner)).collect();
        owners.sort_by_cached_key(|(symbol, _)| hash::place(symbol, hash::SYMBOLS));
        for (symbol, owner) in owners {
            let Some(module) = self.graph.modules.get(owner) else { continue };
            let _ = writeln!(text, "alias symbol:{symbol} {}", module.name);
            if !trie.insert(&format!("symbol:{symbol}"), &module.name, priority(owner)) {
                self.report.push(unfit(module, "its symbol", symbol));
            }
        }
        Ok((text, trie.write(self.limit).ok_or("modules.symbols.bin")?))
    }

    /// An empty file where the list is missing, as depmod makes it.
    fn builtin(&mut self) -> Made<Vec<u8>> {
        let Some(list) = &self.modules.builtin else {
            let message = "modules.builtin is missing: loaders cannot tell what is built into the kernel";
            let help = "install it with the kernel's modules (`make modules_install`)";
            self.report.push(finding(rules::MOD_NO_BUILTIN, message).of("modules.builtin").help(help));
            return Ok(Vec::new());
        };
        let mut trie = Trie::new();
        for name in builtin::names(list) {
            trie.insert(&name, "", 0);
        }
        trie.write(self.limit).ok_or("modules.builtin.bin")
    }

    fn builtin_aliases(&self) -> Made<Vec<u8>> {
        let Some(list) = &self.modules.builtin_modinfo else { return Ok(Vec::new()) };
        let mut trie = Trie::new();
        for (name, alias) in builtin::aliases(list) {
            if let Some(key) = builtin::normalized(&alias) {
                trie.insert(&key, &name, 0);
            }
        }
        trie.write(self.limit).ok_or("modules.builtin.alias.bin")
    }

    /// Device nodes that load a module when opened, from the aliases `devname:` and `char-major-…`.
    fn device_nodes(&mut self) -> String {
        let mut text = String::new();
        for module in self.graph.modules {
            let (mut name, mut node) = (None, None);
            for alias in module.values("alias") {
                let number = |prefix: &str| major_minor(alias.strip_prefix(prefix)?);
                if let Some(device) = alias.strip_prefix("devname:") {
                    name = Some(device);
                } else if let Some((major, minor)) = number("char-major-") {
                    node = Some(('c', major, minor));
                } else if let Some((major, minor)) = number("block-major-") {
                    node = Some(('b', major, minor));
                }
                if name.is_some() && node.is_some() {
                    break;
                }
            }
            match (name, node) {
                (Some(name), Some((kind, major, minor))) => {
                    if text.is_empty() {
                        text.push_str("# Device nodes to trigger on-demand module loading.\n");
                    }
                    let _ = writeln!(text, "{} {name} {kind}{major}:{minor}", module.name);
                }
                (Some(name), None) => {
                    let message = format!("the alias devname:{name} says no device number, so no node is made for it");
                    let help = "add MODULE_ALIAS_CHARDEV or MODULE_ALIAS_BLOCKDEV to the module";
                    self.report.push(finding(rules::MOD_ALIAS, message).of(module.path.clone()).help(help));
                }
                (None, _) => {}
            }
        }
        text
    }
}

/// `10-229`, with anything behind it.
fn major_minor(text: &str) -> Option<(u32, u32)> {
    let (major, rest) = text.split_once('-')?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    Some((major.parse().ok()?, rest.get(..digits)?.parse().ok()?))
}

/// The first of equal keys counts, so each module has its own priority.
fn priority(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}

fn unfit(module: &Module, what: &str, text: &str) -> Finding {
    let text: String = text.chars().take(80).collect();
    let message = format!("{what} {text:?} is in no binary index: brackets must match, and only ASCII is taken");
    finding(rules::MOD_ALIAS, message)
        .of(module.path.clone())
        .help("nothing finds the module by it; mend it in the module's source")
}
