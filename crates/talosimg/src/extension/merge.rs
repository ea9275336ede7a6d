//! What a node finds in its initramfs: one SquashFS for each extension, the firmware beside them, and `extensions.yaml`.

use imgcore::{Blob, Finding, ReadAt as _, Report};
use initramfs::{Kind, Node, Tree};

use super::{Extension, FIRMWARE, KERNEL_MODULES, Metadata, synthetic::SELINUX};
use crate::{
    error::{ErrorKind, Result},
    goyaml::{self, Value},
    release::Release,
};

/// Name of the list of layers in the root of the initramfs.
pub const CONFIG: &str = "extensions.yaml";

/// Extensions as they go into an initramfs.
#[derive(Debug, Clone)]
pub struct Merged {
    /// One file system image each, in the order of `extensions.yaml`. A node stacks the first on top.
    pub layers: Vec<Layer>,
    /// What lies in the initramfs itself: firmware, which the kernel loads before any file system is mounted.
    pub outside: Tree,
    /// Microcode for x86, which stands uncompressed in front of everything else. Nothing on arm64 reads it.
    pub microcode: Option<Tree>,
}

/// One extension of [`Merged`].
#[derive(Debug, Clone)]
pub struct Layer {
    /// What the user calls the extension.
    pub label: String,
    /// Name of the image in the initramfs: `0.sqsh`.
    pub image: String,
    /// The manifest's metadata.
    pub metadata: Metadata,
    /// What becomes the SquashFS.
    pub tree: Tree,
}

/// Kernel modules that an extension brings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Modules {
    /// Index of the layer.
    pub layer: usize,
    /// Names of the folders in `usr/lib/modules`: kernel releases. The imager fails unless the base's is among them.
    pub releases: Vec<String>,
}

/// Puts extensions in order: images numbered by position, then sorted by name (`10` stands before `2`); firmware moved
/// out; `security.selinux` kept where the release keeps it, other attributes left out.
///
/// Where two extensions bring the same firmware file, the later one's is taken. The imager writes it over the start of
/// the earlier one's.
///
/// # Errors
/// A folder of one extension's firmware is a file in another's.
pub fn merge(row: &Release, extensions: Vec<Extension>) -> Result<(Merged, Report)> {
    let mut report = Report::new();
    let mut numbered: Vec<(String, Extension)> =
        extensions.into_iter().enumerate().map(|(index, extension)| (index.to_string(), extension)).collect();
    numbered.sort_by(|(a, _), (b, _)| a.cmp(b));
    same_names(&numbered, &mut report);

    let mut merged = Merged { layers: Vec::new(), outside: Tree::new(), microcode: None };
    let mut blobs: [Vec<Blob>; 2] = [Vec::new(), Vec::new()];
    for (number, extension) in numbered {
        let Extension { label, manifest, mut rootfs } = extension;
        for (kind, found) in MICROCODE.iter().zip(&mut blobs) {
            kind.take(&mut rootfs, found);
        }
        if rootfs.get(FIRMWARE).is_some_and(|node| matches!(node.kind, Kind::Dir)) {
            let firmware = rootfs.take(FIRMWARE);
            move_out(&mut merged.outside, &firmware, &label, &mut report)?;
        }
        let tree = with_labels(row, &rootfs)?;
        merged.layers.push(Layer { label, image: format!("{number}.sqsh"), metadata: manifest.metadata, tree });
    }
    for (kind, blobs) in MICROCODE.iter().zip(blobs) {
        if blobs.is_empty() {
            continue;
        }
        report.push(
            Finding::info("EXT014", format!("microcode for x86 goes into {}; this board does not read it", kind.path))
                .help("leave the extension out"),
        );
        let data = Blob::joined(kind.path, blobs);
        merged.microcode.get_or_insert_default().insert(kind.path, Node::file(0o644, data))?;
    }
    Ok((merged, report))
}

fn same_names(numbered: &[(String, Extension)], report: &mut Report) {
    for (index, (_, extension)) in numbered.iter().enumerate() {
        let name = &extension.manifest.metadata.name;
        let earlier = numbered.iter().take(index).find(|(_, other)| other.manifest.metadata.name == *name);
        if let Some((_, other)) = earlier.filter(|_| !name.is_empty()) {
            report.push(
                Finding::warning("EXT011", format!("{name} is there twice: {} and {}", other.label, extension.label))
                    .of(extension.label.clone())
                    .help("give it once"),
            );
        }
    }
}

fn with_labels(row: &Release, tree: &Tree) -> Result<Tree> {
    let mut out = Tree::new();
    for (path, node) in tree.iter() {
        let mut node = node.clone();
        node.xattrs.retain(|name, _| row.extensions.selinux_labels && name == SELINUX);
        out.insert(path, node)?;
    }
    Ok(out)
}

fn move_out(outside: &mut Tree, firmware: &Tree, label: &str, report: &mut Report) -> Result<()> {
    for (path, node) in firmware.iter() {
        let kind = node.kind.clone();
        let moved = Node { kind, mode: node.mode & 0o777, xattrs: std::collections::BTreeMap::new() };
        match (outside.get(path), &node.kind) {
            (Some(there), Kind::Dir) if matches!(there.kind, Kind::Dir) => continue,
            (Some(there), _) if !matches!((&there.kind, &node.kind), (Kind::Dir, _) | (_, Kind::Dir)) => {
                if !same(there, node) {
                    report.push(
                        Finding::warning(
                            "EXT010",
                            format!("{path} is there already with other content; this one's is taken"),
                        )
                        .of(label)
                        .help("give only one of the two extensions, or put the one whose file is wanted last"),
                    );
                }
                let _ = outside.take(path);
            }
            (Some(there), _) => {
                let problem = format!(
                    "{label}: {path} is a {}, and in an earlier extension a {}",
                    node.kind_name(),
                    there.kind_name()
                );
                return Err(ErrorKind::Extension(problem).into());
            }
            (None, _) => {}
        }
        outside.insert(path, moved)?;
    }
    Ok(())
}

fn same(a: &Node, b: &Node) -> bool {
    match (&a.kind, &b.kind) {
        (Kind::Symlink(a), Kind::Symlink(b)) => a == b,
        (Kind::File(a), Kind::File(b)) => {
            a.size() == b.size() && a.compute_digest().is_ok_and(|digest| b.compute_digest().is_ok_and(|b| b == digest))
        }
        _ => false,
    }
}

impl Merged {
    /// Layers with `usr/lib/modules`. Where there are any, the modules of all and of the base's root file system need one
    /// dependency list: see [`modules_dep`](super::modules_dep).
    pub fn modules(&self) -> Vec<Modules> {
        let folder = format!("{KERNEL_MODULES}/");
        self.layers
            .iter()
            .enumerate()
            .filter(|(_, layer)| layer.tree.get(KERNEL_MODULES).is_some())
            .map(|(index, layer)| {
                let releases = layer
                    .tree
                    .below(KERNEL_MODULES)
                    .filter(|(_, node)| matches!(node.kind, Kind::Dir))
                    .filter_map(|(path, _)| path.strip_prefix(&folder))
                    .filter(|name| !name.contains('/'))
                    .map(str::to_owned)
                    .collect();
                Modules { layer: index, releases }
            })
            .collect()
    }

    /// Adds an extension behind all others under a name of its own: `modules.dep` becomes `modules.dep.sqsh`.
    pub fn push(&mut self, name: &str, extension: Extension) {
        let Extension { label, manifest, rootfs } = extension;
        self.layers.push(Layer { label, image: format!("{name}.sqsh"), metadata: manifest.metadata, tree: rootfs });
    }

    /// The text of `extensions.yaml`.
    pub fn extensions_yaml(&self) -> String {
        let layers = self.layers.iter().map(|layer| {
            Value::map([("image", Value::from(layer.image.as_str())), ("metadata", layer.metadata.to_value())])
        });
        goyaml::to_string(&Value::map([("layers", Value::List(layers.collect()))]))
    }

    /// What is appended to the initramfs, from the SquashFS image of each layer in order.
    ///
    /// # Errors
    /// Another count of images than of layers, or firmware in the way of one.
    pub fn archive(&self, images: Vec<Blob>) -> Result<Tree> {
        if images.len() != self.layers.len() {
            let problem = format!("{} images for {} layers", images.len(), self.layers.len());
            return Err(ErrorKind::Extension(problem).into());
        }
        let mut tree = self.outside.clone();
        for (layer, image) in self.layers.iter().zip(images) {
            tree.insert(layer.image.as_str(), Node::file(0o644, image))?;
        }
        tree.insert(CONFIG, Node::file(0o644, Blob::from_bytes(CONFIG, self.extensions_yaml())))?;
        Ok(tree)
    }
}

struct Microcode {
    folder: &'static str,
    prefix: &'static str,
    suffix: &'static str,
    path: &'static str,
}

/// `internal/pkg/extensions/compress.go`, `earlyCPUUcode`.
const MICROCODE: [Microcode; 2] = [
    Microcode {
        folder: "usr/lib/firmware/intel-ucode",
        prefix: "",
        suffix: "",
        path: "kernel/x86/microcode/GenuineIntel.bin",
    },
    Microcode {
        folder: "usr/lib/firmware/amd-ucode",
        prefix: "microcode_amd",
        suffix: ".bin",
        path: "kernel/x86/microcode/AuthenticAMD.bin",
    },
];

impl Microcode {
    fn take(&self, rootfs: &mut Tree, found: &mut Vec<Blob>) {
        let folder = format!("{}/", self.folder);
        let files: Vec<(String, Blob)> = rootfs
            .below(self.folder)
            .filter_map(|(path, node)| Some((path, node.data()?)))
            .filter(|(path, _)| {
                path.strip_prefix(&folder).is_some_and(|name| {
                    !name.contains('/')
                        && name.strip_prefix(self.prefix).is_some_and(|rest| rest.ends_with(self.suffix))
                })
            })
            .map(|(path, data)| (path.to_owned(), data.clone()))
            .collect();
        for (path, data) in files {
            let _ = rootfs.take(&path);
            found.push(data);
        }
    }
}
