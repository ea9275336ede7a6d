//! The modules of one release in a tree of files.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use imgcore::{Blob, ReadAt as _, Report};

use crate::rules::{self, finding};

use super::{Compression, Limits, Module};
use crate::{Kind, Node, Tree};

/// Bytes of `modules.order`, `modules.builtin` or `modules.builtin.modinfo` that are read; a distribution's have 2 MiB.
const LIST: u64 = 32 << 20;
/// Modules of one release; depmod counts them with 16 bits.
const MODULES: usize = 0xfffe;
/// Links on the way to a file.
const LINKS: usize = 40;
/// Where folders of modules lie.
const ROOTS: [&str; 2] = ["usr/lib/modules", "lib/modules"];

/// All modules of one release, with the lists that the kernel's build writes beside them.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Modules {
    /// The folder, `usr/lib/modules/6.18.2` say.
    pub folder: String,
    /// Its name, which is `uname -r` of the kernel.
    pub release: String,
    /// Every module file below it in walk order, with paths relative to the folder. What cannot be read is there too.
    pub modules: Vec<Module>,
    /// `modules.order`.
    pub order: Option<String>,
    /// `modules.builtin`.
    pub builtin: Option<String>,
    /// `modules.builtin.modinfo`.
    pub builtin_modinfo: Option<Vec<u8>>,
}

impl Modules {
    /// Folders of modules in a tree, `usr/lib/modules/6.18.2` say, in walk order. `lib/modules` counts where `lib` is a
    /// folder of its own.
    pub fn folders(tree: &Tree) -> Vec<String> {
        let children = |root: &'static str| {
            let below = tree.below(root).filter(|(_, node)| matches!(node.kind, Kind::Dir)).map(|(path, _)| path);
            below.filter(move |path| path.strip_prefix(root).is_some_and(|rest| rest.rfind('/') == Some(0)))
        };
        ROOTS.into_iter().flat_map(children).map(str::to_owned).collect()
    }

    /// Reads every module below a folder, one after the other.
    ///
    /// Links to files of the tree are followed, as depmod does; links to folders are not. `build` and `source` are left
    /// out, they lead to the kernel's sources.
    pub fn read(tree: &Tree, folder: &str) -> (Self, Report) {
        Self::read_within(tree, folder, &Limits::default())
    }

    /// As [`read`](Self::read), with other limits.
    pub fn read_within(tree: &Tree, folder: &str, limits: &Limits) -> (Self, Report) {
        let (mut report, mut kept) = (Report::new(), 0_u64);
        let release = folder.rsplit('/').next().unwrap_or(folder);
        let mut modules = Self { folder: folder.to_owned(), release: release.to_owned(), ..Self::default() };
        for (path, node) in tree.below(folder) {
            let relative = path.strip_prefix(folder).and_then(|path| path.strip_prefix('/')).unwrap_or(path);
            if relative.split('/').any(|name| matches!(name, "build" | "source")) {
                continue;
            }
            let Some(data) = module_file(tree, path, relative, node, &mut report) else { continue };
            if modules.modules.len() >= MODULES || kept > limits.kept {
                let message = format!(
                    "the folder has more modules than are read: {MODULES}, with {} bytes of names",
                    limits.kept
                );
                report.push(
                    finding(rules::MOD_BOMB, message)
                        .of(relative)
                        .help("no kernel has so many; look where they come from"),
                );
                break;
            }
            let (module, findings) = Module::parse_within(relative, data, limits);
            report.extend(findings);
            let module = module.unwrap_or_else(|| Module::unknown(relative, data.size()));
            kept = kept.saturating_add(module.kept());
            modules.modules.push(module);
        }
        let mut list = |name: &str| list(tree, folder, name, &mut report);
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        modules.order = list("modules.order").map(text);
        modules.builtin = list("modules.builtin").map(text);
        modules.builtin_modinfo = list("modules.builtin.modinfo");
        (modules, report)
    }
}

/// The bytes of a module at a path; `None` if it is none.
fn module_file<'a>(
    tree: &'a Tree,
    path: &str,
    relative: &str,
    node: &'a Node,
    report: &mut Report,
) -> Option<&'a Blob> {
    let is_module = Compression::of_name(relative).is_some();
    match &node.kind {
        Kind::Dir => None,
        Kind::File(data) => is_module.then_some(data),
        Kind::Symlink(target) => {
            let found = resolve(tree, path, target);
            if is_module && let Some(data) = found.and_then(Node::data) {
                return Some(data);
            }
            if is_module || found.is_some_and(|node| matches!(node.kind, Kind::Dir)) {
                let message = format!(
                    "{relative} is a link to {target:?}, which leads to no file of the tree and is not followed"
                );
                let help = "put the modules where the link stands";
                report.push(finding(rules::MOD_LINK, message).of(relative).help(help));
            }
            None
        }
    }
}

/// What a link leads to, in a tree whose root is `/`.
fn resolve<'a>(tree: &'a Tree, path: &str, target: &str) -> Option<&'a Node> {
    let (mut at, mut target) = (path.to_owned(), target.to_owned());
    for _ in 0..LINKS {
        let mut names: Vec<&str> = if target.starts_with('/') { Vec::new() } else { at.split('/').collect() };
        names.pop();
        for name in target.split('/') {
            match name {
                "" | "." => {}
                ".." => {
                    names.pop();
                }
                name => names.push(name),
            }
        }
        let next = names.join("/");
        let node = tree.get(&next)?;
        let Kind::Symlink(further) = &node.kind else { return Some(node) };
        (target, at) = (further.clone(), next);
    }
    None
}

/// One of the lists beside the modules.
fn list(tree: &Tree, folder: &str, name: &str, report: &mut Report) -> Option<Vec<u8>> {
    let path = format!("{folder}/{name}");
    let bytes = match tree.get(&path).map(|node| &node.kind) {
        Some(Kind::File(data)) => data.read_all(LIST),
        Some(Kind::Symlink(target)) => resolve(tree, &path, target).and_then(Node::data)?.read_all(LIST),
        Some(Kind::Dir) | None => return None,
    };
    bytes
        .map_err(|error| report.push(finding(rules::MOD_MEDIUM, format!("{name} cannot be read: {error}")).of(path)))
        .ok()
}
