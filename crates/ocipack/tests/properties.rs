//! What is written comes back, and nothing that anybody writes makes the reader panic.

mod common;

use std::{collections::BTreeMap, process::Command};

use common::{Crafted, EPOCH, bytes, dir, file, findings, gzip, link, options, overlay, save, shared, tar};
use imgcore::{Blob, Epoch};
use ocipack::{Entry, Image, Kind, Platform, archive, layer, media, read};
use proptest::prelude::*;

/// What the tree must hold: mode and kind with content.
type Expected = BTreeMap<String, (u32, Kind)>;

fn name() -> impl Strategy<Value = String> {
    // Long ones reach the prefix and PAX; `é` and `ß` are not ASCII.
    prop_oneof![
        8 => "[a-z0-9][a-zéß0-9._-]{0,11}[a-z0-9]",
        1 => "[a-z0-9]{90,130}",
        1 => "[a-zé]{60,100}",
    ]
}

fn kind() -> impl Strategy<Value = Kind> {
    prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..2000).prop_map(|data| Kind::File(Blob::from_bytes("data", data))),
        1 => Just(Kind::Dir),
        1 => "[a-z/]{1,150}".prop_map(Kind::Symlink),
    ]
}

fn entries() -> impl Strategy<Value = Vec<Entry>> {
    let path = prop::collection::vec(name(), 1..5).prop_map(|names| names.join("/"));
    prop::collection::vec((path, 0_u32..0o10000, kind()), 0..20).prop_map(|all| {
        all.into_iter()
            .map(|(path, mode, kind)| match kind {
                Kind::Symlink(_) => Entry { path, mode: 0o777, kind },
                _ => Entry { path, mode, kind },
            })
            .collect()
    })
}

fn expected(entries: &[Entry]) -> Option<Expected> {
    let plan = layer::plan(entries, EPOCH).ok()?;
    Some(plan.entries().iter().map(|entry| (entry.path.clone(), (entry.mode, entry.kind.clone()))).collect())
}

fn compare(image: &read::ImageView, expected: &Expected) {
    let (tree, report) = image.tree();
    assert!(report.is_empty(), "{report:?}");
    assert_eq!(tree.iter().map(|(path, _)| path).collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    let mut files = Vec::new();
    for (path, node) in tree.iter() {
        let (mode, kind) = &expected[path];
        assert_eq!((node.mode, node.mtime), (*mode, EPOCH.0), "{path}");
        match (&node.kind, kind) {
            (read::NodeKind::File { .. }, Kind::File(_)) => files.push(path),
            (read::NodeKind::Dir, Kind::Dir) => {}
            (read::NodeKind::Symlink { target }, Kind::Symlink(wanted)) => assert_eq!(target, wanted),
            (found, wanted) => panic!("{path}: {found:?} for {wanted:?}"),
        }
    }
    let mut seen = 0;
    let all = image.extract(&tree, &files, &mut |path, _, data| {
        let mut found = Vec::new();
        data.read_to_end(&mut found)?;
        let Kind::File(wanted) = &expected[path].1 else { panic!("{path}") };
        assert_eq!(found, wanted.read_all(1 << 20)?);
        seen += 1;
        Ok(())
    });
    all.expect("readable");
    assert_eq!(seen, files.len());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_packed_is_read(low in entries(), high in entries(), turn in any::<prop::sample::Index>()) {
        let (Some(low_tree), Some(high_tree)) = (expected(&low), expected(&high)) else { return Ok(()) };
        let layer = |entries: &[Entry]| layer::build(entries, EPOCH).expect("valid");
        let image = |arch, layers| Image::new(Platform::new("linux", arch), layers, EPOCH);
        let images = [image("arm64", vec![layer(&low)]), image("amd64", vec![layer(&high)])];
        let archive = archive::plan(&images, &options()).expect("valid");
        let stream = bytes(&archive);
        prop_assert_eq!(stream.len() as u64, archive.size());

        // The order of what is given changes nothing.
        let mut turned = low.clone();
        turned.rotate_left(if low.is_empty() { 0 } else { turn.index(low.len()) });
        prop_assert_eq!(layer(&turned).digest, layer(&low).digest);

        let (view, report) = read::open(shared(&stream));
        prop_assert!(report.is_empty(), "{:?}", report);
        let view = view.expect("an archive");
        for (arch, tree) in [("arm64", low_tree), ("amd64", high_tree)] {
            compare(view.image(&Platform::new("linux", arch)).expect("an image"), &tree);
        }
    }

    /// The `tar` crate sees the same entries as our reader: one is the writer's model, the other its oracle.
    #[test]
    fn the_tar_crate_agrees(entries in entries()) {
        let Ok(plan) = layer::plan(&entries, EPOCH) else { return Ok(()) };
        let mut stream = Vec::new();
        plan.write_tar(&mut stream).expect("memory");
        prop_assert_eq!(stream.len() as u64, plan.tar_size());
        let mut archive = tar::Archive::new(stream.as_slice());
        let mut found = Vec::new();
        for entry in archive.entries().expect("readable") {
            let mut entry = entry.expect("readable");
            let path = String::from_utf8_lossy(&entry.path_bytes()).trim_end_matches('/').to_owned();
            let header = entry.header().clone();
            prop_assert_eq!((header.uid().expect("a number"), header.gid().expect("a number")), (0, 0));
            prop_assert_eq!((header.username_bytes(), header.groupname_bytes()), (Some(&b""[..]), Some(&b""[..])));
            let target = entry.link_name_bytes().map(|target| String::from_utf8(target.to_vec()).expect("UTF-8"));
            let mut data = Vec::new();
            std::io::copy(&mut entry, &mut data).expect("readable");
            found.push((path, header.mode().expect("a number"), header.mtime().expect("a number"), target, data));
        }
        let wanted: Vec<_> = plan.entries().iter().map(|entry| {
            let (target, data) = match &entry.kind {
                Kind::File(data) => (None, data.read_all(4000).expect("memory")),
                Kind::Dir => (None, Vec::new()),
                Kind::Symlink(target) => (Some(target.clone()), Vec::new()),
            };
            (entry.path.clone(), entry.mode, EPOCH.0, target, data)
        }).collect();
        prop_assert_eq!(found, wanted);
    }

    /// Whatever stands in a tar, the tree stays inside the image and consistent.
    #[test]
    fn any_tree_is_consistent(layers in prop::collection::vec(prop::collection::vec(hostile(), 0..12), 1..4)) {
        let layers: Vec<Vec<_>> = layers
            .iter()
            .map(|layer| {
                layer.iter().map(|(kind, name, target)| match kind {
                    0 => file(name, target),
                    1 => dir(name),
                    2 => link(b'1', name, target),
                    _ => link(b'2', name, target),
                }).collect()
            })
            .collect();
        let layers: Vec<&[_]> = layers.iter().map(Vec::as_slice).collect();
        let (view, _) = read::open(shared(&common::layers(&layers)));
        let view = view.expect("an archive");
        let image = view.images().next().expect("an image");
        let (tree, _) = image.tree();
        for (path, node) in tree.iter() {
            prop_assert!(!path.starts_with('/') && path.split('/').all(|name| !matches!(name, "" | "." | "..")), "{}", path);
            prop_assert!(!path.split('/').any(|name| name.starts_with(".wh.")), "{}", path);
            if let Some((parent, _)) = path.rsplit_once('/') {
                prop_assert_eq!(&tree.get(parent).expect("a folder").kind, &read::NodeKind::Dir, "{}", path);
            }
            if let read::NodeKind::File { size, .. } = node.kind {
                prop_assert_eq!(image.read_file(&tree, path, 100).expect("readable").len() as u64, size);
            }
            let _ = tree.resolve(path);
        }
    }
}

/// Names from a small set, so that they meet each other.
fn hostile() -> impl Strategy<Value = (u8, String, String)> {
    let name = prop::collection::vec(
        prop::sample::select(vec!["a", "b", "c", ".wh.a", ".wh.b", ".wh..wh..opq", "..", ".", ""]),
        1..4,
    )
    .prop_map(|names| names.join("/"));
    let target = prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "..", "."]), 1..4)
        .prop_map(|names| names.join("/"));
    (0_u8..4, name, target)
}

/// Everything that reads foreign bytes, in one call.
fn read_all(bytes: &[u8]) {
    let (summary, _) = ocipack::inspect(shared(bytes));
    if let Some(summary) = summary {
        let _ = (summary.to_string(), summary.facts());
    }
}

#[test]
fn mutants_of_an_archive_do_not_panic() {
    // Small, so that damage hits what matters: two images, PAX, gzip, whiteouts, Docker's file.
    let small = |arch: &str| {
        let long = format!("a/{}é", "n".repeat(110));
        let entries = [
            Entry::file("a/b", 0o644, Blob::from_bytes("b", *b"text")),
            Entry::symlink("l", "a/b"),
            Entry::file(long, 0o644, Blob::from_bytes("b", *b"")),
        ];
        Image::new(Platform::new("linux", arch), vec![layer::build(&entries, Epoch(1)).expect("valid")], Epoch(1))
    };
    let archive = archive::plan(&[small("arm64"), small("amd64")], &options()).expect("valid");
    testkit::mutants(1, 6000, &bytes(&archive), read_all);
}

#[test]
fn mutants_of_a_layer_do_not_panic() {
    let layer = tar(&[
        file("a", "text"),
        dir("d"),
        file(&"n".repeat(120), "x"),
        link(b'2', "l", &"a/".repeat(70)),
        link(b'1', "h", "a"),
        file(".wh.a", ""),
        file("d/.wh..wh..opq", ""),
    ]);
    let check = |layer: &[u8], kind: &str| {
        let mut crafted = Crafted::default();
        let image = crafted.image("arm64", &[(kind, layer.to_vec(), layer)]);
        read_all(&crafted.archive(&[image]));
    };
    testkit::mutants(2, 1500, &layer, |mutant| check(mutant, media::LAYER));
    // With its checksums put right, so that damage behind them is seen.
    testkit::mutants(3, 3000, &layer, |mutant| {
        let mut mutant = mutant.to_vec();
        for block in mutant.chunks_exact_mut(512).filter(|block| block.get(257..262) == Some(b"ustar")) {
            block[148..156].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
        check(&mutant, media::LAYER);
    });
    testkit::mutants(4, 1000, &gzip(&layer), |mutant| check(mutant, media::LAYER_GZIP));
    let zstd = zstd::encode_all(layer.as_slice(), 3).expect("memory");
    testkit::mutants(5, 1000, &zstd, |mutant| check(mutant, media::LAYER_ZSTD));
}

#[test]
fn mutants_of_documents_do_not_panic() {
    let layer = tar(&[file("a", "text")]);
    let mut crafted = Crafted::default();
    let image = crafted.image("arm64", &[(media::LAYER, layer.clone(), &layer)]);
    let manifest = crafted.blobs[image["digest"].as_str().expect("text")].clone();
    let index = serde_json::json!({ "schemaVersion": 2, "manifests": [image] }).to_string();
    testkit::mutants(6, 1500, index.as_bytes(), |mutant| {
        read_all(&crafted.archive_with(&[("index.json", mutant)]));
    });
    testkit::mutants(7, 1500, &manifest, |mutant| {
        let mut crafted = crafted.clone();
        let image = crafted.descriptor(media::MANIFEST, mutant.to_vec());
        read_all(&crafted.archive(&[image]));
    });
    let docker = br#"[{"Config":"blobs/sha256/00","RepoTags":["a:b"],"Layers":["x","index.json"]}]"#;
    testkit::mutants(8, 1000, docker, |mutant| {
        read_all(&crafted.archive_with(&[("manifest.json", mutant)]));
    });
}

/// Archives of another program, made of ours: skopeo packs layers, manifests and tar in its own way.
#[test]
fn what_skopeo_writes_is_read_without_findings() {
    let Some(program) = testkit::tool("skopeo") else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let source = folder.path().join("overlay.tar");
    save(&source, &bytes(&overlay()));
    let wanted = expected(&common::entries("arm64")).expect("valid");
    let arm64 = ["--override-arch", "arm64"];
    for (format, global, local) in [
        ("oci-archive", &[][..], &["--all"][..]),
        ("oci-archive", &arm64, &[]),
        ("oci-archive", &arm64, &["--dest-compress-format", "zstd"]),
        ("docker-archive", &arm64, &[]),
    ] {
        let target = folder.path().join(format!("{format}{}.tar", local.join("")));
        testkit::run(
            Command::new(&program)
                .arg("--insecure-policy")
                .args(global)
                .arg("copy")
                .args(local)
                .arg(format!("oci-archive:{}", source.display()))
                .arg(format!("{format}:{}:x/y:1", target.display())),
        );
        let archive = testkit::read(&target);
        assert_eq!(findings(&archive), [], "{format} {local:?}");
        let (view, _) = read::open(shared(&archive));
        let view = view.expect("an archive");
        let image = view.image(&Platform::new("linux", "arm64")).expect("an image");
        let mut wanted = wanted.clone();
        wanted.insert("artifacts/overlay.json".to_owned(), (0o644, Kind::File(Blob::from_bytes("json", *b"{}"))));
        compare(image, &wanted);
    }
}

/// The stand-in base images of the reference: layouts in folders, made by Google's library.
#[test]
fn base_images_of_the_reference_are_read() {
    struct Folder(std::path::PathBuf);
    impl ocipack::BlobSource for Folder {
        fn blob(&self, digest: &imgcore::Digest) -> std::io::Result<Option<Blob>> {
            Ok(Some(Blob::from_bytes("blob", testkit::read(self.0.join("blobs/sha256").join(digest.hex())))))
        }
    }
    let Some(reference) = testkit::reference() else { return };
    for (name, layers) in [("base-installer", 1), ("base-installer-2", 2)] {
        let folder = reference.join("in").join(name);
        let index = testkit::read(folder.join("index.json"));
        let (view, report) = read::open_layout(index, &Folder(folder), read::Options::default());
        assert!(report.is_empty(), "{report:?}");
        let view = view.expect("a layout");
        assert!(view.verify().is_empty());
        let image = view.images().next().expect("an image");
        assert_eq!(image.layers.len(), layers);
        let (tree, _) = image.tree();
        assert!(tree.get("usr/bin/installer").is_some(), "{:?}", tree.iter().map(|(path, _)| path).collect::<Vec<_>>());
    }
}

#[test]
fn a_full_medium_is_an_io_error() {
    struct Full(usize);
    impl std::io::Write for Full {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 = self.0.checked_sub(bytes.len()).ok_or(std::io::ErrorKind::StorageFull)?;
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let archive = overlay();
    for room in [0, 600, 5000] {
        let error = archive.write_to(&mut Full(room)).expect_err("full");
        assert_eq!(error.io().map(std::io::Error::kind), Some(std::io::ErrorKind::StorageFull));
    }
    let error = layer::write(&common::entries("arm64"), EPOCH, &mut Full(20)).expect_err("full");
    assert_eq!(error.io().map(std::io::Error::kind), Some(std::io::ErrorKind::StorageFull));
}
