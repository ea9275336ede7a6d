//! Kernel modules of an image: those of the base's root file system, of a kernel of the user's own, of extensions. All that
//! one kernel can load has one index, as `depmod` writes it (`spec/talos-image.md` §9).
//!
//! A node stacks the layers of `extensions.yaml` with the first on top and its root file system at the bottom. The layers
//! of extensions come first, then the user's modules (`kernel-modules.sqsh`), then the index (`modules.dep.sqsh`). Of two
//! files with one path the upper one is seen, so that one is indexed; and an index in an extension would hide ours, so
//! none is left there.

use std::collections::BTreeMap;

use imgcore::{Digest, Finding, Report};
use initramfs::{
    Kind, Node, Tree,
    kmod::{self, Index, Modules, Search},
};
use serde::{Deserialize, Serialize};
use talosimg::{
    extension::{self, Extension, Layer, Manifest, Merged, Metadata},
    kernel as kernel_image,
};

use crate::{
    build::{Context, finished::SavedFinding, program},
    error::Result,
    initrd::{Setting, fault, wrong},
    inputs::Input,
    modules_source::ModulesSource,
    rootfs::{FOLDER, RootFs},
    store::canonical_json,
};

/// Where depmod looks, as the imager tells it (`/etc/modules.d/10-extra-modules.conf`).
const SEARCH: &str = "extras built-in";
/// Name of the layer with the modules of the user's kernel.
const OWN: &str = "kernel-modules";

/// Which kernels a base's initramfs has modules for.
#[derive(Debug, Serialize, Deserialize)]
struct Inventory {
    /// Whether there is a root file system that could be read.
    rootfs: bool,
    /// Folders in [`FOLDER`].
    releases: Vec<String>,
    findings: Vec<SavedFinding>,
}

const ACTION: &str = "initramfs-modules";
/// What says that a medium failed: the next attempt may find it well.
const UNREAD: &str = "MOD004";

/// Holds the base's modules against the kernel. An initramfs without a root file system of Talos' says nothing.
///
/// The base's own kernel was built with them. Another one may call itself the same and still take none of them: each build
/// signs with a key of its own.
///
/// # Errors
/// The store, the medium.
pub(crate) fn check_base(base: &Input, setting: &Setting<'_>, context: &Context<'_>) -> Result<Report> {
    let release = setting.kernel_release.filter(|_| setting.other_kernel);
    let kernel = match release {
        Some(release) => Some((release, setting.kernel.compute_digest()?, setting.enforced)),
        None => None,
    };
    let key = Digest::of(&canonical_json(&(ACTION, program(), base.sha256, &kernel)));
    let inventory = if let Some(inventory) = context.store.action::<Inventory>(ACTION, key) {
        inventory
    } else {
        let (root, mut found) = RootFs::open(base, context)?;
        let releases = root.as_ref().map(RootFs::releases).unwrap_or_default();
        if let (Some(root), Some(release)) = (&root, release)
            && releases.iter().any(|name| name == release)
        {
            let folder = format!("{FOLDER}/{release}");
            let (tree, report) = root.subtree(&folder)?;
            found.extend(report);
            let (modules, report) = Modules::read(&tree, &folder);
            found.extend(report);
            found.extend(fits(&modules, release, setting)?);
        }
        let unread = found.iter().any(|finding| finding.code == UNREAD);
        let findings = found.iter().map(SavedFinding::of).collect();
        let inventory = Inventory { rootfs: root.is_some(), releases, findings };
        if !unread {
            context.store.record(ACTION, key, &inventory)?;
        }
        inventory
    };
    let mut report: Report = inventory.findings.into_iter().filter_map(SavedFinding::restore).collect();
    if inventory.rootfs {
        report.extend(other_release(&inventory.releases, setting));
    }
    Ok(report)
}

fn other_release(releases: &[String], setting: &Setting<'_>) -> Option<Finding> {
    let kernel = setting.kernel_release?;
    if releases.is_empty() || releases.iter().any(|release| release == kernel) {
        return None;
    }
    let message = format!("the kernel is {kernel}, the initramfs has modules for {}", releases.join(", "));
    let help = "the node would start without network and disks: give the modules of this kernel with --modules, or kernel and \
                initramfs of one release";
    Some(Finding::error("VER006", message).of("initramfs").help(help))
}

/// Holds modules against the bytes of the kernel.
fn fits(modules: &Modules, release: &str, setting: &Setting<'_>) -> Result<Report> {
    let signatures = if setting.enforced { kmod::Signatures::Enforced } else { kmod::Signatures::Optional };
    // What is wrong with the kernel itself was said when it was looked at first.
    let image = kernel_image::image(setting.kernel).0;
    let look = |mut image: Box<dyn std::io::Read + '_>| kmod::Kernel::look(&mut image, release, modules);
    let kernel = image.map(look).transpose()?;
    let expect = kmod::Expect { release: release.to_owned(), signatures, kernel, ..kmod::Expect::default() };
    Ok(kmod::check(modules, &expect))
}

/// Adds the user's modules, and the index of all modules if extensions or the user bring any.
///
/// # Errors
/// The store, the medium. What does not fit is in the report.
pub(crate) fn add(
    merged: &mut Merged,
    base: &Input,
    own: Option<&ModulesSource>,
    setting: &Setting<'_>,
    context: &Context<'_>,
    report: &mut Report,
) -> Result<()> {
    let brought = merged.modules();
    if brought.is_empty() && own.is_none() {
        report.extend(check_base(base, setting, context)?);
        return Ok(());
    }
    let Some(kernel) = setting.kernel_release else {
        report.push(
            Finding::error("VER007", "there are kernel modules, and the kernel does not say which release it is")
                .of("kernel")
                .help("give a kernel whose release can be read: Image or vmlinuz.efi for arm64"),
        );
        return Ok(());
    };
    let folder = format!("{FOLDER}/{kernel}");
    let (root, found) = RootFs::open(base, context)?;
    report.extend(found);
    let mut all = Tree::new();
    if let Some(root) = &root {
        let (tree, found) = root.subtree(&folder)?;
        report.extend(found);
        all = tree;
        if own.is_none() {
            report.extend(other_release(&root.releases(), setting));
        }
    }
    let mut files = None;
    if let Some(own) = own {
        let found = own.files(context)?;
        report.extend(found.report.clone());
        if found.release == kernel {
            for (path, node) in found.tree.below(&folder).filter(|(path, _)| !is_index(path, &folder)) {
                put(&mut all, path, node)?;
            }
            merged.push(OWN, own_extension(&found.tree, &folder, kernel)?);
        } else {
            report.push(
                Finding::error("VER006", format!("the kernel is {kernel}, --modules holds those of {}", found.release))
                    .of("modules")
                    .help("give the modules that were built with this kernel, or their kernel with --kernel"),
            );
        }
        files = Some(found);
    }
    // The upper layers last, so that theirs is taken.
    for modules in brought.iter().rev() {
        let Some(layer) = merged.layers.get_mut(modules.layer) else { continue };
        if !modules.releases.iter().any(|release| release == kernel) {
            report.push(for_another(layer, &modules.releases, kernel, setting));
            continue;
        }
        report.extend(without_index(layer, &folder));
        for (path, node) in layer.tree.below(&folder) {
            put(&mut all, path, node)?;
        }
    }
    let (modules, found) = Modules::read(&all, &folder);
    report.extend(found);
    let (index, found) = Index::plan(&modules, &Search::parse(SEARCH));
    report.extend(found);
    report.extend(fits(&modules, kernel, setting)?);
    drop(files);
    let Some(index) = index else { return Ok(()) };
    let tree = index.tree(&all).map_err(|error| wrong(&error))?;
    let files = tree.below(&folder).filter_map(|(path, node)| Some((name(path)?.to_owned(), node.data()?.clone())));
    let extension = extension::modules_dep(kernel, files).map_err(|error| fault(&error))?;
    merged.push(extension::MODULES_DEP, extension);
    Ok(())
}

/// An extension whose modules the kernel does not look at.
fn for_another(layer: &Layer, releases: &[String], kernel: &str, setting: &Setting<'_>) -> Finding {
    let Metadata { name, version, .. } = &layer.metadata;
    let message = if releases.is_empty() {
        format!(
            "{name} {version} has {FOLDER}, but no folder of a release in it; the kernel {kernel} looks in {FOLDER}/{kernel}"
        )
    } else {
        format!("{name} {version} has kernel modules for {}, the kernel is {kernel}", releases.join(", "))
    };
    let help = if setting.other_kernel {
        "build the modules of the extension with the sources and the key of your kernel, or leave the extension out"
    } else {
        "take the extension that was built for this release of Talos: its tag or digest is in the release's list of extensions"
    };
    Finding::error("VER008", message).of(layer.label.clone()).help(help)
}

/// Takes an index out of a layer that brings modules.
fn without_index(layer: &mut Layer, folder: &str) -> Option<Finding> {
    let index: Vec<String> = layer
        .tree
        .below(folder)
        .map(|(path, _)| path)
        .filter(|path| is_index(path, folder))
        .map(str::to_owned)
        .collect();
    let names: Vec<&str> = index.iter().filter_map(|path| name(path)).collect();
    if names.is_empty() {
        return None;
    }
    let message =
        format!("{} in {folder} left out: on a node it would hide the index of all modules", names.join(", "));
    let finding = Finding::info("EXT012", message).of(layer.label.clone());
    for path in &index {
        drop(layer.tree.take(path));
    }
    Some(finding.help("nothing; the image has an index of the base's modules and of every extension's"))
}

fn name(path: &str) -> Option<&str> {
    path.rsplit('/').next()
}

/// Adds an entry of a layer above; what is there gives way, unless both are folders.
fn put(all: &mut Tree, path: &str, node: &Node) -> Result<()> {
    let folder = |node: &Node| matches!(node.kind, Kind::Dir);
    if all.get(path).is_some_and(|there| !folder(there) || !folder(node)) {
        drop(all.take(path));
    }
    all.insert(path, node.clone()).map_err(|error| wrong(&error))
}

/// Whether a path is part of an index that a new one takes the place of.
fn is_index(path: &str, folder: &str) -> bool {
    const KEPT: [&str; 3] = ["modules.order", "modules.builtin", "modules.builtin.modinfo"];
    let name = path.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/')).unwrap_or_default();
    name.starts_with("modules.") && !name.contains('/') && !KEPT.contains(&name)
}

/// The layer of the user's modules. Attributes are those of the machine where they were packed.
fn own_extension(tree: &Tree, folder: &str, release: &str) -> Result<Extension> {
    let mut rootfs = Tree::new();
    for (path, node) in tree.below(folder).filter(|(path, _)| !is_index(path, folder)) {
        let node = Node { xattrs: BTreeMap::new(), ..node.clone() };
        rootfs.insert(path, node).map_err(|error| wrong(&error))?;
    }
    let metadata = Metadata {
        name: OWN.to_owned(),
        version: release.to_owned(),
        author: "talos-rk".to_owned(),
        description: "Modules of the kernel that this image was built with.".to_owned(),
        ..Metadata::default()
    };
    Ok(Extension {
        label: "--modules".to_owned(),
        manifest: Manifest { version: "v1alpha1".to_owned(), metadata },
        rootfs,
    })
}

#[cfg(test)]
mod tests {
    use imgcore::Blob;

    use super::*;

    fn file(text: &'static str) -> Node {
        Node::file(0o644, Blob::from_bytes("file", text))
    }

    #[test]
    fn the_users_modules_have_no_attributes_of_their_machine() {
        let mut node = file("module");
        node.xattrs.insert("security.capability".into(), vec![1]);
        let mut tree = Tree::new();
        tree.insert("usr/lib/modules/6/kernel/a.ko", node).unwrap();
        let own = own_extension(&tree, "usr/lib/modules/6", "6").unwrap();
        assert!(own.rootfs.get("usr/lib/modules/6/kernel/a.ko").unwrap().xattrs.is_empty());
    }

    #[test]
    fn the_upper_layer_is_seen_whatever_lies_below() {
        let mut tree = Tree::new();
        tree.insert("m/a/b", file("lower")).unwrap();
        tree.insert("m/c", file("lower")).unwrap();
        tree.insert("m/d", Node::symlink("c")).unwrap();
        for (path, node) in [("m/a", file("upper")), ("m/c", Node::symlink("a")), ("m/d", Node::dir(0o755))] {
            put(&mut tree, path, &node).unwrap();
        }
        put(&mut tree, "m", &Node::dir(0o700)).unwrap();
        let kinds: Vec<_> = tree.iter().map(|(path, node)| (path, node.kind_name())).collect();
        assert_eq!(kinds.iter().map(|(path, _)| *path).collect::<Vec<_>>(), ["m", "m/a", "m/c", "m/d"]);
        assert!(tree.get("m/a").unwrap().data().is_some());
    }
}
