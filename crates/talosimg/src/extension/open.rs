//! From the root of an extension image to an extension.

use imgcore::{Finding, Report};
use initramfs::{Kind, Node, Tree};

use super::{
    Extension,
    manifest::{MANIFEST, Manifest, ROOTFS},
};

/// Larger manifests are no manifests.
const MANIFEST_LIMIT: u64 = 1 << 20;

/// Takes the root of an extension image apart. `label` is what the user calls the image.
///
/// Modes become what the imager's extraction makes of them: a folder can be entered and changed by its owner. Nothing
/// is returned when it is no extension.
#[expect(clippy::needless_pass_by_value, reason = "the tree is taken apart, and nobody needs it behind that")]
pub fn open(label: &str, root: Tree) -> (Option<Extension>, Report) {
    let (extension, report) = take_apart(label, &root);
    (extension, report.owned_by(label, 0))
}

fn take_apart(label: &str, root: &Tree) -> (Option<Extension>, Report) {
    let mut report = Report::new();
    let others: Vec<&str> = root
        .iter()
        .map(|(path, _)| path)
        .filter(|path| !path.contains('/') && ![MANIFEST, ROOTFS].contains(path))
        .collect();
    let missing = |what: &str| {
        let found = if others.is_empty() { String::new() } else { format!("; found {}", some_of(&others)) };
        Finding::error("EXT001", format!("this is no system extension: {what} is missing{found}"))
            .help("give an extension image (ghcr.io/siderolabs/…) or a tar of its content: manifest.yaml and rootfs/ at its root")
    };
    let manifest = match root.get(MANIFEST).map(|node| &node.kind) {
        Some(Kind::File(data)) => Some(data.clone()),
        _ => None,
    };
    let has_rootfs = root.get(ROOTFS).is_some_and(|node| matches!(node.kind, Kind::Dir));
    let (Some(manifest), true) = (&manifest, has_rootfs) else {
        if manifest.is_none() {
            report.push(missing(MANIFEST));
        }
        if !has_rootfs {
            report.push(missing(ROOTFS));
        }
        return (None, report);
    };
    if !others.is_empty() {
        report.push(
            Finding::error(
                "EXT002",
                format!("beside {MANIFEST} and {ROOTFS}, at the root of an extension: {}", some_of(&others)),
            )
            .help("build the extension image without them; the imager refuses it as well"),
        );
    }
    let text = match manifest.read_all(MANIFEST_LIMIT) {
        Ok(text) => text,
        Err(error) => {
            report.push(Finding::error("EXT003", format!("the manifest cannot be read: {error}")).of(MANIFEST));
            return (None, report);
        }
    };
    let (manifest, findings) = Manifest::parse(&text);
    report.extend(findings);
    let Some(manifest) = manifest else { return (None, report) };
    let mut rootfs = Tree::new();
    let inside = format!("{ROOTFS}/");
    for (path, node) in root.below(ROOTFS) {
        let Some(path) = path.strip_prefix(&inside) else { continue };
        let mode = match node.kind {
            Kind::Dir => node.mode & 0o777 | 0o700,
            Kind::File(_) | Kind::Symlink(_) => node.mode,
        };
        let node = Node { kind: node.kind.clone(), mode, xattrs: node.xattrs.clone() };
        if let Err(error) = rootfs.insert(path, node) {
            report.push(Finding::error("EXT002", format!("{ROOTFS} cannot be taken over: {error}")));
            return (None, report);
        }
    }
    (Some(Extension { label: label.to_owned(), manifest, rootfs }), report)
}

/// The first few of a list, and how many more there are.
pub(super) fn some_of<T: AsRef<str>>(all: &[T]) -> String {
    const SHOWN: usize = 4;
    let first: Vec<_> = all.iter().take(SHOWN).map(|text| format!("{:?}", text.as_ref())).collect();
    match all.len().saturating_sub(first.len()) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}
