//! An overlay image as a board would have it, in small.
#![allow(dead_code, unreachable_pub, missing_docs)]

use std::{collections::BTreeMap, path::Path, sync::Arc};

use imgcore::{Blob, Epoch};
use ocipack::{Archive, Entry, Image, Platform, archive, layer};

pub const EPOCH: Epoch = Epoch(1_700_000_000);

/// 200 bytes: needs the ustar prefix. With `é` or longer names it needs PAX.
pub fn long_path() -> String {
    format!("artifacts/{}/{}.dtb", "directory-".repeat(9), "device-tree-".repeat(8))
}

pub fn entries(arch: &str) -> Vec<Entry> {
    let text = |path: &str, mode, text: &str| Entry::file(path, mode, Blob::from_bytes(path, text));
    vec![
        text("installers/rk3588", 0o755, arch),
        Entry::symlink("installers/default", "rk3588"),
        text("profiles/nanopi-m6.yaml", 0o644, "arch: arm64\n"),
        Entry::file("artifacts/arm64/u-boot/uboot.img", 0o644, Blob::from_bytes("uboot.img", vec![0x5a; 200_000])),
        Entry::dir("artifacts/empty", 0o700),
        text("artifacts/nothing", 0o600, ""),
        text("artifacts/größe.txt", 0o644, "PAX for a name that is not ASCII"),
        text(&long_path(), 0o444, "ustar prefix"),
        text(&format!("artifacts/{}", "n".repeat(200)), 0o640, "PAX for a long name"),
        Entry::symlink("artifacts/far", format!("{}x", "a/".repeat(80))),
    ]
}

pub fn image(arch: &str) -> Image {
    let shared = layer::build(&[Entry::file("artifacts/overlay.json", 0o644, Blob::from_bytes("json", *b"{}"))], EPOCH);
    let own = layer::build(&entries(arch), EPOCH);
    let layers = vec![shared.expect("valid"), own.expect("valid")];
    let mut image = Image::new(Platform::new("linux", arch), layers, EPOCH);
    image.config.labels = BTreeMap::from([("org.opencontainers.image.title".to_owned(), "overlay".to_owned())]);
    image.annotations = BTreeMap::from([("org.opencontainers.image.version".to_owned(), "v1.10.6".to_owned())]);
    image
}

pub fn options() -> archive::Options {
    archive::Options {
        repository: Some("talos-rk/overlay".to_owned()),
        tag: "v1.10.6".to_owned(),
        ..archive::Options::default()
    }
}

pub fn overlay() -> Archive {
    archive::plan(&[image("arm64"), image("amd64")], &options()).expect("valid")
}

pub fn bytes(archive: &Archive) -> Vec<u8> {
    let mut bytes = Vec::new();
    archive.write_to(&mut bytes).expect("memory");
    bytes
}

pub fn shared(bytes: &[u8]) -> Arc<dyn imgcore::ReadAt> {
    Arc::new(bytes.to_vec())
}

#[allow(clippy::disallowed_methods)]
pub fn save(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).expect("a temporary folder takes files");
}
