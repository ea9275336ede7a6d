//! Extensions that nobody publishes: they are made while an image is built.

use std::collections::BTreeMap;

use imgcore::{Blob, Digest};
use initramfs::{Kind, Node, Tree};

use super::{Extension, KERNEL_MODULES, Manifest, Metadata, manifest::API_VERSION};
use crate::error::{ErrorKind, Result};

/// Name of the extended attribute of SELinux labels.
pub const SELINUX: &str = "security.selinux";

/// Where a node looks for a configuration that its image carries (`constants.EmbeddedConfigDirectory`).
pub const EMBEDDED_CONFIG: &str = "usr/local/etc/talos/config.yaml";
/// SELinux label of that file: the one of the STATE partition, where configurations lie otherwise.
pub const EMBEDDED_LABEL: &str = "system_u:object_r:system_state_t:s0";

/// Name of the extension that carries the dependency list of all kernel modules.
pub const MODULES_DEP: &str = "modules.dep";

/// The extension that carries a machine configuration. The imager puts it behind all others that are given; a release
/// whose row says no to `embedded_config` ignores it.
///
/// # Errors
/// None that a valid path has.
pub fn embedded_config(config: impl Into<Vec<u8>>) -> Result<Extension> {
    let config = config.into();
    let version = Digest::of(&config).hex();
    // 1.12 writes mode 0000 and 1.13 mode 0400: root reads both.
    let mut file = Node::file(0o400, Blob::from_bytes("embedded configuration", config));
    file.xattrs.insert(SELINUX.to_owned(), EMBEDDED_LABEL.as_bytes().to_vec());
    let mut rootfs = Tree::new();
    rootfs.insert(EMBEDDED_CONFIG, file)?;
    let metadata = Metadata {
        name: "embedded-config".to_owned(),
        version,
        author: "Imager".to_owned(),
        description: "Virtual extension which embeds the machine configuration.".to_owned(),
        talos: ">= 1.0.0".to_owned(),
        extra_info: String::new(),
    };
    let manifest = Manifest { version: API_VERSION.to_owned(), metadata };
    Ok(Extension { label: "embedded configuration".to_owned(), manifest, rootfs })
}

/// The extension that carries the dependency list of all kernel modules, of the base's and of the extensions'. `files`
/// are `modules.dep`, `modules.alias` and so on by name. [`Merged::push`](super::Merged::push) adds it last under the
/// name [`MODULES_DEP`].
///
/// # Errors
/// A release or name that is no file name.
pub fn modules_dep(release: &str, files: impl IntoIterator<Item = (String, Blob)>) -> Result<Extension> {
    let mut rootfs = Tree::new();
    for (name, data) in files {
        if name.contains('/') || !name.starts_with("modules.") {
            return Err(ErrorKind::Extension(format!("{name:?} is no file of a dependency list: modules.*")).into());
        }
        let file = Node { kind: Kind::File(data), mode: 0o644, xattrs: BTreeMap::new() };
        rootfs.insert(format!("{KERNEL_MODULES}/{release}/{name}"), file)?;
    }
    let metadata = Metadata {
        name: MODULES_DEP.to_owned(),
        version: release.to_owned(),
        author: "Talos Machinery".to_owned(),
        description: "Combined modules.dep for all extensions".to_owned(),
        ..Metadata::default()
    };
    // The imager's own has the kernel release here; nothing reads it.
    let manifest = Manifest { version: release.to_owned(), metadata };
    Ok(Extension { label: MODULES_DEP.to_owned(), manifest, rootfs })
}
