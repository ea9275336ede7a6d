//! Kernel modules of an image: those of the base's root file system, of a kernel of the user's own, of extensions. All that
//! one kernel can load has one index, as `depmod` writes it (`spec/talos-image.md` §9).

use std::{io::Write as _, sync::Arc};

use imgcore::{Digest, Finding, Report};
use initramfs::{
    Tree,
    kmod::{self, Index, Modules, Search},
    packed, squashfs,
};
use serde::{Deserialize, Serialize};
use talosimg::{
    extension::{self, Extension, Manifest, Merged, Metadata},
    kernel as kernel_image,
};

use crate::{
    build::{Context, finished::SavedFinding},
    error::{Error, Result},
    files::{self, FileSource},
    initrd::{Setting, fault, wrong},
    inputs::Input,
    modules_source::ModulesSource,
    store::canonical_json,
};

/// The root file system of a node, in the initramfs of every release.
const ROOTFS: &str = "rootfs.sqsh";
/// Where it has its modules.
const FOLDER: &str = "usr/lib/modules";
/// Where depmod looks, as the imager tells it (`/etc/modules.d/10-extra-modules.conf`).
const SEARCH: &str = "extras built-in";
/// Name of the layer with the modules of the user's kernel.
const OWN: &str = "kernel-modules";
/// What a root file system and its modules may unpack to.
const UNPACKED: u64 = 4 << 30;

/// Which kernels a base's initramfs has modules for.
#[derive(Debug, Serialize, Deserialize)]
struct Inventory {
    /// Whether there is a root file system that could be read.
    rootfs: bool,
    /// Folders in [`FOLDER`].
    releases: Vec<String>,
    findings: Vec<SavedFinding>,
}

const ACTION: &str = "initramfs-modules-1";

/// Holds the base's modules against the kernel. An initramfs without a root file system of Talos' says nothing.
///
/// # Errors
/// The store, the medium.
pub(crate) fn check_base(base: &Input, setting: &Setting<'_>, context: &Context<'_>) -> Result<Report> {
    let key = Digest::of(&canonical_json(&(ACTION, base.sha256)));
    let inventory = if let Some(inventory) = context.store.action::<Inventory>(ACTION, key) {
        inventory
    } else {
        let (root, found) = RootFs::open(base, context)?;
        let releases = root.as_ref().map(RootFs::releases).unwrap_or_default();
        let findings = found.iter().map(SavedFinding::of).collect();
        let inventory = Inventory { rootfs: root.is_some(), releases, findings };
        context.store.record(ACTION, key, &inventory)?;
        inventory
    };
    let mut report: Report = inventory.findings.into_iter().filter_map(SavedFinding::restore).collect();
    if inventory.rootfs {
        report.extend(other_kernel(&inventory.releases, setting));
    }
    Ok(report)
}

fn other_kernel(releases: &[String], setting: &Setting<'_>) -> Option<Finding> {
    let kernel = setting.kernel_release?;
    if releases.is_empty() || releases.iter().any(|release| release == kernel) {
        return None;
    }
    let message = format!("the kernel is {kernel}, the initramfs has modules for {}", releases.join(", "));
    let help = "the node would start without network and disks: give the modules of this kernel with --modules, or kernel and \
                initramfs of one release";
    Some(Finding::error("VER006", message).of("initramfs").help(help))
}

/// The root file system of an initramfs, in a file beside the store's blobs.
struct RootFs {
    image: squashfs::Image,
    _file: tempfile::TempPath,
}

impl RootFs {
    fn open(base: &Input, context: &Context<'_>) -> Result<(Option<Self>, Report)> {
        let folder = context.store.partial_path("");
        fs_err::create_dir_all(&folder)?;
        let mut file: Option<tempfile::NamedTempFile> = None;
        let limits = packed::Limits { unpacked: UNPACKED, ..packed::Limits::default() };
        let (_, report) = packed::read(Arc::new(base.blob.clone()), &limits, &mut |header, data| {
            if header.path() != ROOTFS || file.is_some() {
                return Ok(());
            }
            if context.progress.cancelled() {
                return Err(std::io::Error::other("cancelled"));
            }
            let mut out = std::io::BufWriter::with_capacity(1 << 17, files::temporary_in(&folder)?);
            std::io::copy(data, &mut out)?;
            out.flush()?;
            file = Some(out.into_inner().map_err(std::io::IntoInnerError::into_error)?);
            Ok(())
        });
        if context.progress.cancelled() {
            return Err(Error::cancelled());
        }
        let mut report = report.owned_by("initramfs", 0);
        let Some(file) = file else { return Ok((None, report)) };
        let file = file.into_temp_path();
        let source = FileSource::open(&file)?;
        let (image, found) = squashfs::read(Arc::new(source), &squashfs::Limits::default());
        report.extend(found.owned_by(ROOTFS, 0));
        Ok((image.map(|image| Self { image, _file: file }), report))
    }

    fn releases(&self) -> Vec<String> {
        self.image
            .list(FOLDER)
            .filter(|entry| matches!(entry.kind, squashfs::EntryKind::Dir))
            .filter_map(|entry| name(&entry.path))
            .collect()
    }
}

fn name(path: &str) -> Option<String> {
    path.rsplit('/').next().map(str::to_owned)
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
        let (tree, found) = root.image.subtree(&folder);
        report.extend(found.owned_by(ROOTFS, 0));
        all = tree;
        if own.is_none() {
            report.extend(other_kernel(&root.releases(), setting));
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
    for modules in &brought {
        let Some(layer) = merged.layers.get(modules.layer) else { continue };
        if !modules.releases.iter().any(|release| release == kernel) {
            let message = format!(
                "{} {} has kernel modules for {}, the kernel is {kernel}",
                layer.metadata.name,
                layer.metadata.version,
                modules.releases.join(", ")
            );
            let help = "take the extension that was built for this release of Talos: its tag or digest is in the release's list of extensions";
            report.push(Finding::error("VER008", message).of(layer.label.clone()).help(help));
            continue;
        }
        for (path, node) in layer.tree.below(&folder).filter(|(path, _)| !is_index(path, &folder)) {
            put(&mut all, path, node)?;
        }
    }
    let (modules, found) = Modules::read(&all, &folder);
    report.extend(found);
    let (index, found) = Index::plan(&modules, &Search::parse(SEARCH));
    report.extend(found);
    let signatures = if setting.enforced { kmod::Signatures::Enforced } else { kmod::Signatures::Optional };
    // What is wrong with the kernel itself was said when it was looked at first.
    let image = kernel_image::image(setting.kernel).0;
    let look = |mut image: Box<dyn std::io::Read + '_>| kmod::Kernel::look(&mut image, kernel, &modules);
    let image = image.map(look).transpose()?;
    let expect = kmod::Expect { release: kernel.to_owned(), signatures, kernel: image, ..kmod::Expect::default() };
    report.extend(kmod::check(&modules, &expect));
    drop(files);
    let Some(index) = index else { return Ok(()) };
    let tree = index.tree(&all).map_err(|error| wrong(&error))?;
    let files = tree.below(&folder).filter_map(|(path, node)| Some((name(path)?, node.data()?.clone())));
    let extension = extension::modules_dep(kernel, files).map_err(|error| fault(&error))?;
    merged.push(extension::MODULES_DEP, extension);
    Ok(())
}

/// Adds an entry; what is there gives way, as in the stack that a node mounts.
fn put(all: &mut Tree, path: &str, node: &initramfs::Node) -> Result<()> {
    if node.data().is_some() {
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

/// The layer of the user's modules.
fn own_extension(tree: &Tree, folder: &str, release: &str) -> Result<Extension> {
    let mut rootfs = Tree::new();
    for (path, node) in tree.below(folder).filter(|(path, _)| !is_index(path, folder)) {
        rootfs.insert(path, node.clone()).map_err(|error| wrong(&error))?;
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
