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

/// One entry of a tar as anybody could write it.
#[derive(Debug, Clone)]
pub struct Raw<'a> {
    pub kind: u8,
    pub name: &'a [u8],
    pub target: &'a [u8],
    pub data: &'a [u8],
}

pub fn file<'a>(name: &'a str, data: &'a str) -> Raw<'a> {
    Raw { kind: b'0', name: name.as_bytes(), target: b"", data: data.as_bytes() }
}

pub fn dir(name: &str) -> Raw<'_> {
    Raw { kind: b'5', name: name.as_bytes(), target: b"", data: b"" }
}

pub fn link<'a>(kind: u8, name: &'a str, target: &'a str) -> Raw<'a> {
    Raw { kind, name: name.as_bytes(), target: target.as_bytes(), data: b"" }
}

/// A tar of them, in GNU's format, so that no name is too long or too bad.
pub fn tar(entries: &[Raw<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for entry in entries {
        for (kind, text) in [(b'L', entry.name), (b'K', entry.target)] {
            if text.len() > 100 {
                block(&mut bytes, kind, b"././@LongLink", b"", text);
            }
        }
        block(&mut bytes, entry.kind, entry.name, entry.target, entry.data);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

fn block(bytes: &mut Vec<u8>, kind: u8, name: &[u8], target: &[u8], data: &[u8]) {
    let mut header = tar::Header::new_gnu();
    let old = header.as_gnu_mut().expect("GNU");
    old.name.iter_mut().zip(name).for_each(|(to, from)| *to = *from);
    old.linkname.iter_mut().zip(target).for_each(|(to, from)| *to = *from);
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1);
    header.set_size(data.len() as u64);
    header.set_entry_type(tar::EntryType::new(kind));
    header.set_cksum();
    bytes.extend_from_slice(header.as_bytes());
    bytes.extend_from_slice(data);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(9));
    std::io::Write::write_all(&mut encoder, bytes).expect("memory");
    encoder.finish().expect("memory")
}

/// An image of anybody: blobs by digest, and the digest that is on top.
#[derive(Debug, Default, Clone)]
pub struct Crafted {
    pub blobs: BTreeMap<String, Vec<u8>>,
}

impl Crafted {
    pub fn blob(&mut self, bytes: Vec<u8>) -> String {
        let digest = imgcore::Digest::of(&bytes).to_string();
        self.blobs.insert(digest.clone(), bytes);
        digest
    }

    pub fn descriptor(&mut self, media_type: &str, bytes: Vec<u8>) -> serde_json::Value {
        let size = bytes.len();
        serde_json::json!({ "mediaType": media_type, "size": size, "digest": self.blob(bytes) })
    }

    pub fn json(&mut self, media_type: &str, value: &serde_json::Value) -> serde_json::Value {
        self.descriptor(media_type, value.to_string().into_bytes())
    }

    /// A manifest over layers: media type, stored bytes, tar inside.
    pub fn image(&mut self, arch: &str, layers: &[(&str, Vec<u8>, &[u8])]) -> serde_json::Value {
        let diff_ids: Vec<_> = layers.iter().map(|(.., tar)| imgcore::Digest::of(tar).to_string()).collect();
        let config = serde_json::json!({
            "architecture": arch, "os": "linux", "config": {}, "rootfs": { "type": "layers", "diff_ids": diff_ids }
        });
        let config = self.json(ocipack::media::CONFIG, &config);
        let layers: Vec<_> = layers.iter().map(|(kind, bytes, _)| self.descriptor(kind, bytes.clone())).collect();
        let manifest = serde_json::json!({
            "schemaVersion": 2, "mediaType": ocipack::media::MANIFEST, "config": config, "layers": layers
        });
        self.json(ocipack::media::MANIFEST, &manifest)
    }

    /// An archive with these manifests in its `index.json`.
    pub fn archive(&self, manifests: &[serde_json::Value]) -> Vec<u8> {
        let index = serde_json::json!({ "schemaVersion": 2, "manifests": manifests }).to_string();
        self.archive_with(&[("index.json", index.as_bytes()), ("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)])
    }

    pub fn archive_with(&self, members: &[(&str, &[u8])]) -> Vec<u8> {
        let names: Vec<_> = self.blobs.keys().map(|digest| format!("blobs/{}", digest.replace(':', "/"))).collect();
        let blobs = names.iter().zip(self.blobs.values()).map(|(name, bytes)| (name.as_str(), bytes.as_slice()));
        let entries: Vec<_> = members
            .iter()
            .copied()
            .chain(blobs)
            .map(|(name, data)| Raw { kind: b'0', name: name.as_bytes(), target: b"", data })
            .collect();
        tar(&entries)
    }
}

/// An archive of one image with one layer of these entries.
pub fn one_layer(entries: &[Raw<'_>]) -> Vec<u8> {
    layers(&[entries])
}

pub fn layers(all: &[&[Raw<'_>]]) -> Vec<u8> {
    let mut crafted = Crafted::default();
    let tars: Vec<_> = all.iter().map(|entries| tar(entries)).collect();
    let layers: Vec<_> = tars.iter().map(|tar| (ocipack::media::LAYER, tar.clone(), tar.as_slice())).collect();
    let image = crafted.image("arm64", &layers);
    crafted.archive(&[image])
}

/// Everything that is said about an archive, its layers included: code and message.
pub fn findings(bytes: &[u8]) -> Vec<(&'static str, String)> {
    let (view, report) = ocipack::read::open(shared(bytes));
    let more = view.map(|view| view.verify()).unwrap_or_default();
    for finding in report.iter().chain(more.iter()) {
        assert!(ocipack::RULES.iter().any(|(code, ..)| *code == finding.code), "{finding}");
    }
    report.iter().chain(more.iter()).map(|finding| (finding.code, finding.message.clone())).collect()
}
