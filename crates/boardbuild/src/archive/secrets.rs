//! What an installer image holds that nobody else may have.

use std::{collections::BTreeSet, sync::Arc};

use imgcore::{Blob, Digest, Finding, Report, Severity};
use ocipack::read::{ImageView, NodeKind, Tree};
use talosimg::uki::{self, Uki};

use crate::{
    error::Result,
    files::FileSource,
    installer_image::{SECRETS_ANNOTATION, failed},
    record,
};

/// The largest unified kernel image that is looked into.
const UKI: u64 = 1 << 30;

/// What an image's annotation and a kernel command line tell.
pub(super) fn of(image: &ImageView, command_line: Option<&str>) -> BTreeSet<&'static str> {
    let annotation = image.annotations.get(SECRETS_ANNOTATION).map(String::as_str).unwrap_or_default();
    let words = annotation.split(',').map(str::trim).filter(|word| !word.is_empty());
    let mut secrets: BTreeSet<_> = words
        .map(|word| match word {
            "join-token" => "a join token",
            "embedded-config" => "an embedded configuration with secrets",
            _ => "what its annotation calls secret",
        })
        .collect();
    if command_line.is_some_and(record::has_secrets) {
        secrets.insert("a kernel command line with secrets");
    }
    secrets
}

/// That there are secrets.
pub(crate) fn finding(secrets: &BTreeSet<&'static str>, severity: Severity) -> Option<Finding> {
    let list = secrets.iter().copied().collect::<Vec<_>>().join(", ");
    let message = format!("the image holds secrets: {list}; who can pull it has them");
    let help =
        "push it to a registry that only your nodes can read, and say so with --allow REG009; or build it without them";
    (!secrets.is_empty()).then(|| Finding::new(severity, "REG009", message).help(help))
}

/// The secrets of any image, unified kernel images of all architectures looked into. `known` are those that were, by
/// layer and offset.
pub(crate) fn look(
    image: &ImageView,
    tree: &Tree,
    known: &mut BTreeSet<(Digest, u64)>,
) -> Result<BTreeSet<&'static str>> {
    let mut secrets = of(image, None);
    let kernel = |path: &str| path.starts_with("usr/install/") && path.ends_with("/vmlinuz.efi");
    // One for each architecture that Talos has, and as many again.
    for path in tree.iter().map(|(path, _)| path).filter(|path| kernel(path)).take(4) {
        let Ok((_, node)) = tree.resolve(path) else { continue };
        let NodeKind::File { offset, source, .. } = node.kind else { continue };
        let layer = image.layers.get(source).map(|layer| layer.digest);
        if layer.is_none_or(|layer| known.insert((layer, offset))) {
            let found = kernel_line(image, tree, path)?;
            secrets.extend(of(image, found.as_deref()));
        }
    }
    Ok(secrets)
}

fn kernel_line(image: &ImageView, tree: &Tree, path: &str) -> Result<Option<String>> {
    let uki = kernel(image, tree, path)?.and_then(|(uki, _)| uki);
    Ok(uki.and_then(|uki| uki.text(".cmdline").map(str::to_owned)))
}

/// A unified kernel image, unless it is larger than any is.
pub(super) fn kernel(image: &ImageView, tree: &Tree, path: &str) -> Result<Option<(Option<Uki>, Report)>> {
    let small = tree.resolve(path).is_ok_and(|(_, node)| match node.kind {
        NodeKind::File { size, .. } => size <= UKI,
        _ => false,
    });
    if !small {
        return Ok(None);
    }
    // As large as a kernel and an initramfs: it goes through a file.
    let mut spool = tempfile::NamedTempFile::new()?;
    let taken = image.extract(tree, &[path], &mut |_, _, data| std::io::copy(data, &mut spool).map(drop));
    taken.map_err(|error| failed(&error))?;
    let file = Blob::new(path, Arc::new(FileSource::open(spool.path())?), None);
    Ok(Some(uki::read(&file)))
}
