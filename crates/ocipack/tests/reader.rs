//! What the reader says of archives that nobody should trust.

mod common;

use std::sync::Arc;

use common::{Crafted, Raw, bytes, dir, file, findings, gzip, layers, link, one_layer, overlay, shared, tar};
use imgcore::{Digest, ReadAt};
use ocipack::{ErrorKind, Platform, media, read};
use serde_json::json;

type Change = Box<dyn Fn(&mut Crafted, serde_json::Value) -> Vec<serde_json::Value>>;

fn arm64() -> Platform {
    Platform::new("linux", "arm64")
}

fn listing(archive: &[u8]) -> Vec<String> {
    let (view, _) = read::open(shared(archive));
    let view = view.expect("an archive");
    let (tree, _) = view.images().next().expect("an image").tree();
    tree.iter().map(|(path, _)| path.to_owned()).collect()
}

#[test]
fn our_own_overlay_has_no_findings_and_reads_back() {
    let archive = overlay();
    let (view, report) = read::open(shared(&bytes(&archive)));
    assert!(report.is_empty(), "{report:?}");
    let view = view.expect("an archive");
    assert!(view.verify().is_empty());
    assert_eq!(view.tags, ["talos-rk/overlay:v1.10.6", "v1.10.6"]);
    assert_eq!(view.root.as_ref().map(|root| root.digest), Some(archive.root().digest));
    for (image, planned) in view.images.iter().zip(archive.images()) {
        assert_eq!(image.platform.as_ref(), Some(&planned.platform));
        assert_eq!(image.manifest.as_ref().map(|manifest| manifest.digest), Some(planned.manifest.digest));
        assert_eq!(image.run.labels["org.opencontainers.image.title"], "overlay");
        assert_eq!(image.annotations["org.opencontainers.image.version"], "v1.10.6");
        assert_eq!(image.docker, planned.platform == arm64());
        let (tree, _) = image.tree_with_digests();
        let arch = &planned.platform.architecture;
        assert_eq!(image.read_file(&tree, "installers/default", 100).expect("there"), arch.as_bytes());
        let uboot = image.read_file(&tree, "artifacts/arm64/u-boot/uboot.img", 1 << 20).expect("there");
        assert_eq!(uboot, vec![0x5a; 200_000]);
        let node = tree.get("artifacts/arm64/u-boot/uboot.img").expect("there");
        assert!(
            matches!(&node.kind, read::NodeKind::File { digest: Some(digest), .. } if *digest == Digest::of(&uboot))
        );
        assert_eq!((node.mode, node.mtime), (0o644, 1_700_000_000));
    }
    // The same without a file: the plan is a source of blobs, as a folder would be.
    let index = serde_json::to_vec(&json!({ "schemaVersion": 2, "manifests": [archive.root()] })).expect("JSON");
    let (view, report) = read::open_layout(index, &archive, read::Options::default());
    assert!(report.is_empty(), "{report:?}");
    assert_eq!(view.map(|view| view.images.len()), Some(2));
}

#[test]
fn a_few_files_leave_in_one_pass() {
    let (view, _) = read::open(shared(&bytes(&overlay())));
    let view = view.expect("an archive");
    let image = view.image(&arm64()).expect("an image");
    let (tree, _) = image.tree();
    let wanted = ["profiles/nanopi-m6.yaml", "artifacts/overlay.json", "installers/rk3588", "installers/default"];
    let mut found = Vec::new();
    image
        .extract(&tree, &wanted, &mut |path, size, data| {
            let mut text = String::new();
            data.read_to_string(&mut text)?;
            assert_eq!(text.len() as u64, size);
            found.push(format!("{path}: {text}"));
            Ok(())
        })
        .expect("readable");
    found.sort();
    assert_eq!(
        found,
        [
            "artifacts/overlay.json: {}",
            "installers/default: arm64",
            "installers/rk3588: arm64",
            "profiles/nanopi-m6.yaml: arch: arm64\n"
        ]
    );
    let refusal = |path: &str| image.read_file(&tree, path, 100).expect_err("refused").to_string();
    assert_eq!(
        refusal("profiles/nanopi-m5.yaml"),
        "\"profiles/nanopi-m5.yaml\" is not in the image; the nearest name is \"profiles/nanopi-m6.yaml\""
    );
    assert_eq!(refusal("artifacts"), "\"artifacts\" is a folder, expected a file");
    assert!(refusal("artifacts/arm64/u-boot/uboot.img").contains("200000 bytes, at most 100"));
    let full = image.extract(&tree, &["installers/rk3588"], &mut |_, _, _| Err(std::io::ErrorKind::StorageFull.into()));
    let full = full.expect_err("no room");
    assert_eq!(full.io().map(std::io::Error::kind), Some(std::io::ErrorKind::StorageFull));
}

#[test]
fn links_are_followed_inside_the_image() {
    let archive = one_layer(&[
        dir("usr/lib"),
        file("usr/lib/libc.so.6", "elf"),
        link(b'2', "lib", "usr/lib"),
        link(b'2', "usr/lib/libc.so", "/lib/libc.so.6"),
        link(b'1', "usr/hard", "usr/lib/libc.so.6"),
        link(b'2', "a", "b"),
        link(b'2', "b", "a"),
    ]);
    let (view, _) = read::open(shared(&archive));
    let view = view.expect("an archive");
    let image = view.image(&arm64()).expect("an image");
    let (tree, report) = image.tree();
    assert!(report.is_empty(), "{report:?}");
    for path in ["usr/lib/libc.so.6", "lib/libc.so", "lib/libc.so.6", "/usr/lib/libc.so", "usr/hard"] {
        assert_eq!(image.read_file(&tree, path, 10).expect(path), b"elf", "{path}");
        assert_eq!(image.file_blob(&tree, path).expect(path).read_all(10).expect("memory"), b"elf", "{path}");
    }
    let mut seen = 0;
    image
        .extract(&tree, &["usr/hard", "lib/libc.so"], &mut |_, _, _| {
            seen += 1;
            Ok(())
        })
        .expect("readable");
    assert_eq!(seen, 2);
    assert!(matches!(tree.resolve("a").expect_err("a circle").kind(), ErrorKind::LinkLoop { .. }));
    assert!(matches!(tree.resolve("a/x").expect_err("a circle").kind(), ErrorKind::LinkLoop { .. }));
    assert!(tree.resolve("usr/hard/x").is_err() && tree.resolve("").is_err());
}

#[test]
fn whiteouts_hide_what_lower_layers_hold() {
    let below = [
        dir("d"),
        file("d/a", "1"),
        file("d/b", "1"),
        file("d/sub/c", "1"),
        dir("o"),
        file("o/x", "1"),
        file("o/deep/y", "1"),
        file("top", "1"),
        file("was-file", "1"),
        file("was-dir/z", "1"),
    ];
    for (above, expected) in [
        (vec![file("d/.wh.a", "")], "d d/b d/sub d/sub/c o o/deep o/deep/y o/x top was-dir was-dir/z was-file"),
        (vec![file(".wh.d", "")], "o o/deep o/deep/y o/x top was-dir was-dir/z was-file"),
        (vec![file("o/.wh..wh..opq", "")], "d d/a d/b d/sub d/sub/c o top was-dir was-dir/z was-file"),
        // An opaque folder keeps what its own layer puts in, before and after the mark.
        (
            vec![file("o/n1", "2"), file("o/.wh..wh..opq", ""), file("o/n2", "2")],
            "d d/a d/b d/sub d/sub/c o o/n1 o/n2 top was-dir was-dir/z was-file",
        ),
        (vec![file(".wh..wh..opq", "")], ""),
        // Deleted and made again, in either order.
        (
            vec![file(".wh.o", ""), dir("o"), file("o/n", "2")],
            "d d/a d/b d/sub d/sub/c o o/n top was-dir was-dir/z was-file",
        ),
        (
            vec![dir("o"), file("o/n", "2"), file(".wh.o", "")],
            "d d/a d/b d/sub d/sub/c o o/n top was-dir was-dir/z was-file",
        ),
        // Kinds change.
        (
            vec![file("was-dir", "2"), dir("was-file"), file("was-file/n", "2")],
            "d d/a d/b d/sub d/sub/c o o/deep o/deep/y o/x top was-dir was-file was-file/n",
        ),
        (vec![file(".wh.nothing", "")], "d d/a d/b d/sub d/sub/c o o/deep o/deep/y o/x top was-dir was-dir/z was-file"),
        (
            vec![file(".wh..wh.plnk", "")],
            "d d/a d/b d/sub d/sub/c o o/deep o/deep/y o/x top was-dir was-dir/z was-file",
        ),
    ] {
        let archive = layers(&[&below, &above]);
        assert_eq!(listing(&archive).join(" "), expected, "{above:?}");
        assert_eq!(findings(&archive), []);
    }
}

#[test]
fn the_upper_layer_wins_and_its_bytes_are_read() {
    let archive = layers(&[&[file("a", "low"), file("b", "low")], &[file("a", "high")], &[link(b'1', "c", "a")]]);
    let (view, _) = read::open(shared(&archive));
    let view = view.expect("an archive");
    let image = view.image(&arm64()).expect("an image");
    let (tree, report) = image.tree();
    assert!(report.is_empty(), "{report:?}");
    for (path, text) in [("a", "high"), ("b", "low"), ("c", "high")] {
        assert_eq!(image.read_file(&tree, path, 10).expect(path), text.as_bytes());
    }
}

#[test]
fn paths_that_leave_or_confuse_are_named() {
    let long = format!("{}x", "d/".repeat(2100));
    let wide = "n".repeat(300);
    let deep = format!("{}x", "d/".repeat(200));
    for (entries, code, text) in [
        (vec![file("/etc/passwd", "x")], "OCI030", "path \"/etc/passwd\" is absolute"),
        (vec![file("../x", "x")], "OCI030", "path \"../x\" holds `..`"),
        (vec![file("a/../../x", "x")], "OCI030", "path \"a/../../x\" holds `..`"),
        (vec![Raw { name: b"\xff\xfe", ..file("", "x") }], "OCI030", "is not UTF-8"),
        (vec![file("", "x")], "OCI030", "path \"\" is empty"),
        (vec![file(&long, "x")], "OCI031", "(4201 bytes) is longer than 4095 bytes"),
        (vec![file(&wide, "x")], "OCI031", "holds a name longer than 255 bytes"),
        (vec![file(&deep, "x")], "OCI031", "is more than 128 levels deep"),
        (vec![file("a", "1"), file("./a", "2")], "OCI033", "\"./a\" is in the layer twice"),
        (vec![file("a", "1"), dir("a")], "OCI033", "\"a\" is in the layer twice"),
        (
            vec![link(b'2', "a", "/etc"), file("a/passwd", "x")],
            "OCI034",
            "\"a/passwd\" lies below \"a\", which is no folder",
        ),
        (vec![file("a", ""), dir("a/b/c")], "OCI034", "\"a/b/c\" lies below \"a\""),
        (vec![link(b'1', "a", "../../etc/shadow")], "OCI035", "its target \"../../etc/shadow\" holds `..`"),
        (vec![link(b'1', "a", "/etc/shadow")], "OCI035", "is absolute"),
        (vec![link(b'1', "a", "b")], "OCI035", "its target \"b\" is not there"),
        (vec![dir("b"), link(b'1', "a", "b")], "OCI035", "its target \"b\" is a folder"),
        (vec![link(b'3', "dev/null", "")], "OCI036", "\"dev/null\" is a character device"),
        (vec![link(b'4', "dev/sda", "")], "OCI036", "\"dev/sda\" is a block device"),
        (vec![link(b'6', "pipe", "")], "OCI036", "\"pipe\" is a pipe"),
        (vec![link(b'Z', "odd", "")], "OCI036", "\"odd\" is of an unknown kind"),
        (vec![link(b'2', "a/b", "../../etc")], "OCI037", "link \"a/b\" to \"../../etc\" leads out of the image"),
        (vec![file("x/A", ""), file("x/a", "")], "OCI038", "\"x/A\" and \"x/a\" are one file"),
        (vec![file("é", ""), file("e\u{301}", "")], "OCI038", "are one file"),
        (vec![dir("Lib"), file("lib/x", "")], "OCI038", "\"Lib\" and \"lib\" are one file"),
        (vec![file("a/aux.dtb", "")], "OCI039", "path \"a/aux.dtb\" has the name of a Windows device"),
        (vec![file("a\\b", "")], "OCI039", "holds a backslash"),
        (vec![file(".wh.", "")], "OCI042", "whiteout \".wh.\" names nothing"),
        (vec![file(".wh.a/b", "")], "OCI042", "\".wh.a/b\" lies below a whiteout"),
        (vec![file(".wh...", "")], "OCI042", "whiteout \".wh...\" names nothing"),
    ] {
        let found = findings(&one_layer(&entries));
        assert!(
            matches!(found.as_slice(), [(found, message)] if *found == code && message.contains(text)),
            "{code} {text}: {found:?}"
        );
    }
}

#[test]
fn a_million_entries_stop_at_the_limit() {
    assert!(read::Limits::default().entries < 1_000_000);
    let names: Vec<_> = (0..3000).map(|at| format!("folder/f{at}")).collect();
    let entries: Vec<_> = names.iter().map(|name| file(name, "")).collect();
    for (limits, first) in [
        (read::Limits { entries: 1000, ..read::Limits::default() }, "\"folder/f1000\" is behind the 1000 entries"),
        (read::Limits { path_bytes: 100, ..read::Limits::default() }, "\"folder/f11\" is behind"),
    ] {
        let options = read::Options { limits, ..read::Options::default() };
        let (view, report) = read::open_with(shared(&one_layer(&entries)), options);
        assert!(report.is_empty(), "{report:?}");
        let found = view.expect("an archive").verify();
        let found: Vec<_> = found.iter().map(|finding| (finding.code, finding.message.as_str())).collect();
        assert!(matches!(found.as_slice(), [("OCI032", message)] if message.starts_with(first)), "{found:?}");
    }
    let limits = read::Limits { members: 2, ..read::Limits::default() };
    let options = read::Options { limits, ..read::Options::default() };
    let (_, report) = read::open_with(shared(&one_layer(&entries)), options);
    assert!(report.iter().any(|finding| finding.code == "OCI009"), "{report:?}");
}

/// Digest and size are right, so the damage is only seen behind them.
#[test]
fn documents_that_lie_are_told_from_those_that_are_damaged() {
    let layer = tar(&[file("a", "b")]);
    let good = |crafted: &mut Crafted| crafted.image("arm64", &[(media::LAYER, layer.clone(), &layer)]);
    let keep = |change: fn(&mut Crafted, &mut serde_json::Value)| -> Change {
        Box::new(move |crafted, mut image| {
            change(crafted, &mut image);
            vec![image]
        })
    };
    let rewrite = |change: fn(&mut serde_json::Value)| -> Change {
        Box::new(move |crafted, image| {
            let old = image["digest"].as_str().expect("text").to_owned();
            let mut manifest: serde_json::Value = serde_json::from_slice(&crafted.blobs[&old]).expect("JSON");
            crafted.blobs.remove(&old);
            change(&mut manifest);
            vec![crafted.json(media::MANIFEST, &manifest)]
        })
    };
    let cases: Vec<(Change, &[&str], &str)> = vec![
        (keep(|_, _| {}), &[], ""),
        (keep(|_, image| image["size"] = json!(1)), &["OCI017"], "bytes, index.json says 1"),
        (
            keep(|_, image| image["digest"] = json!("sha512:00")),
            &["OCI014", "OCI023", "OCI023", "OCI023"],
            "\"sha512:00\"",
        ),
        (
            keep(|_, image| image["digest"] = json!(image["digest"].as_str().expect("text").to_uppercase())),
            &["OCI014", "OCI023", "OCI023", "OCI023"],
            "lower-case hex digits",
        ),
        (
            keep(|crafted, image| drop(crafted.blobs.remove(image["digest"].as_str().expect("text")))),
            &["OCI015", "OCI023", "OCI023"],
            "which is not there",
        ),
        (
            keep(|crafted, image| {
                let bytes = crafted.blobs.get_mut(image["digest"].as_str().expect("text")).expect("there");
                bytes.push(b' ');
            }),
            &["OCI016", "OCI017"],
            "its bytes were changed",
        ),
        (
            keep(|_, image| image["platform"] = json!({"os": "linux", "architecture": "amd64"})),
            &["OCI020"],
            "linux/amd64",
        ),
        (keep(|_, image| image["mediaType"] = json!("text/html")), &["OCI019", "OCI019"], "text/html"),
        (
            rewrite(|manifest| manifest["manifests"] = json!([])),
            &["OCI018", "OCI023", "OCI023"],
            "both manifests and layers",
        ),
        (rewrite(|manifest| manifest["config"] = json!(null)), &["OCI012", "OCI023", "OCI023"], "no configuration"),
        (rewrite(|manifest| manifest["layers"] = json!("x")), &["OCI012", "OCI023", "OCI023"], "no index or manifest"),
        (rewrite(|manifest| manifest["fsLayers"] = json!([])), &["OCI012", "OCI023", "OCI023"], "schema 1"),
        (rewrite(|manifest| manifest["mediaType"] = json!(media::INDEX)), &["OCI019"], "calls itself"),
        (
            rewrite(|manifest| manifest["layers"] = json!([])),
            &["OCI024", "OCI023"],
            "1 diff_ids, its manifest 0 layers",
        ),
        (
            rewrite(|manifest| manifest["layers"][0]["mediaType"] = json!(media::LAYER_GZIP)),
            &["OCI028"],
            "is tar, its media type",
        ),
        (rewrite(|manifest| manifest["layers"][0]["mediaType"] = json!("x/y")), &["OCI019"], "\"x/y\""),
        (rewrite(|manifest| manifest["layers"][0]["size"] = json!(7)), &["OCI017"], "says 7"),
        (
            Box::new(|crafted, image| {
                let nest = |crafted: &mut Crafted, inner: serde_json::Value| {
                    crafted.json(media::INDEX, &json!({ "schemaVersion": 2, "manifests": [inner] }))
                };
                vec![(0..6).fold(image, |inner, _| nest(crafted, inner))]
            }),
            &["OCI022", "OCI023", "OCI023", "OCI023", "OCI023"],
            "lies 5 indexes deep",
        ),
        (Box::new(|_, image| vec![image; 300]), &["OCI022"], "more than 256 images"),
        (
            Box::new(|_, mut image| {
                image["platform"] = json!({"os": "linux", "architecture": "arm64"});
                vec![image.clone(), image]
            }),
            &["OCI021"],
            "two images for linux/arm64",
        ),
    ];
    for (change, codes, text) in cases {
        let mut crafted = Crafted::default();
        let image = good(&mut crafted);
        let manifests = change(&mut crafted, image);
        let found = findings(&crafted.archive(&manifests));
        assert_eq!(found.iter().map(|(code, _)| *code).collect::<Vec<_>>(), codes, "{found:?}");
        assert!(codes.is_empty() || found.iter().any(|(_, message)| message.contains(text)), "{text}: {found:?}");
    }
}

#[test]
fn layers_that_are_damaged_inside_are_named() {
    let layer = tar(&[file("a", "some text"), file("b", "x")]);
    let packed = gzip(&layer);
    let zstd = zstd::encode_all(layer.as_slice(), 3).expect("memory");
    let flipped = |bytes: &[u8], at: usize| {
        let mut bytes = bytes.to_vec();
        bytes[at] ^= 0x55;
        bytes
    };
    for (kind, stored, inside, code, text) in [
        (media::LAYER_GZIP, packed[..packed.len() - 4].to_vec(), layer.clone(), "OCI026", "gzip data is damaged"),
        (media::LAYER_GZIP, flipped(&packed, packed.len() - 6), layer.clone(), "OCI026", "gzip data is damaged"),
        (
            media::LAYER_GZIP,
            [packed.clone(), b"garbage".to_vec()].concat(),
            layer.clone(),
            "OCI026",
            "gzip data is damaged",
        ),
        (media::LAYER_ZSTD, zstd[..zstd.len() - 4].to_vec(), layer.clone(), "OCI026", "zstd data is damaged"),
        (media::LAYER_ZSTD, flipped(&zstd, 8), layer.clone(), "OCI026", "zstd data is damaged"),
        (media::LAYER_GZIP, packed.clone(), b"other".to_vec(), "OCI025", "the configuration says"),
        (media::LAYER, flipped(&layer, 5), layer.clone(), "OCI040", "checksum"),
        (media::LAYER, layer[..600].to_vec(), layer[..600].to_vec(), "OCI040", "ends inside an entry"),
        (media::LAYER, layer[..1024].to_vec(), layer[..1024].to_vec(), "OCI041", "no end mark"),
        (
            media::LAYER,
            [layer.clone(), vec![1]].concat(),
            [layer.clone(), vec![1]].concat(),
            "OCI041",
            "or data behind it",
        ),
        (media::LAYER, b"no tar at all".to_vec(), b"no tar at all".to_vec(), "OCI040", "ends inside an entry"),
    ] {
        let mut crafted = Crafted::default();
        let image = crafted.image("arm64", &[(kind, stored, &inside)]);
        let found = findings(&crafted.archive(&[image]));
        assert!(
            matches!(found.as_slice(), [(found, message)] if *found == code && message.contains(text)),
            "{code} {text}: {found:?}"
        );
    }
    // Intact ones in every packing, of several members too.
    let halves = [gzip(&layer[..700]), gzip(&layer[700..])].concat();
    for (kind, stored) in [
        (media::LAYER, layer.clone()),
        (media::LAYER_GZIP, packed),
        (media::LAYER_GZIP, halves),
        (media::LAYER_ZSTD, zstd),
    ] {
        let mut crafted = Crafted::default();
        let image = crafted.image("arm64", &[(kind, stored, &layer)]);
        let archive = crafted.archive(&[image]);
        assert_eq!(findings(&archive), []);
        assert_eq!(listing(&archive), ["a", "b"]);
    }
}

/// A gibibyte of zeros in a megabyte of gzip, and in a few kilobytes of zstd.
#[test]
fn bombs_stop_early() {
    let zeros = std::io::Read::take(std::io::repeat(0), 1 << 30);
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("memory");
    std::io::copy(&mut { zeros }, &mut encoder).expect("memory");
    let zstd = encoder.finish().expect("memory");
    let megabyte = gzip(&vec![0; 1 << 20]);
    // A gzip stream of many members is as good a bomb as one of one.
    let gzip = megabyte.repeat(1024);
    for (kind, stored) in [(media::LAYER_ZSTD, zstd), (media::LAYER_GZIP, gzip)] {
        // The zeros are the data of one large file, so that the tar goes on.
        let mut header = tar::Header::new_gnu();
        header.set_path("big").expect("short");
        header.set_size(1 << 30);
        header.set_cksum();
        let head = match kind {
            media::LAYER_ZSTD => zstd::encode_all(header.as_bytes().as_slice(), 1).expect("memory"),
            _ => common::gzip(header.as_bytes()),
        };
        let mut crafted = Crafted::default();
        let image = crafted.image("arm64", &[(kind, [head, stored].concat(), b"")]);
        let found = findings(&crafted.archive(&[image]));
        assert!(
            matches!(found.as_slice(), [("OCI027", message)] if message.contains("unpack to more than 1342")),
            "{found:?}"
        );
    }
}

#[test]
fn the_limit_of_unpacked_bytes_holds_over_all_layers() {
    let layer = tar(&[file("a", &"x".repeat(100_000))]);
    let mut crafted = Crafted::default();
    let other = tar(&[file("b", &"x".repeat(100_000))]);
    let image =
        crafted.image("arm64", &[(media::LAYER_GZIP, gzip(&layer), &layer), (media::LAYER_GZIP, gzip(&other), &other)]);
    let limits = read::Limits { unpacked: 150_000, ..read::Limits::default() };
    let options = read::Options { limits, ..read::Options::default() };
    let (view, report) = read::open_with(shared(&crafted.archive(&[image])), options);
    assert!(report.is_empty(), "{report:?}");
    let found = view.expect("an archive").verify();
    assert_eq!(found.iter().map(|finding| finding.code).collect::<Vec<_>>(), ["OCI027"]);
    let layer = found.iter().next().and_then(|finding| finding.owner.clone());
    assert_eq!(layer, Some(format!("layer {}", Digest::of(&gzip(&other)))));
}

#[test]
fn archives_that_are_none_or_odd_say_what_they_are() {
    let layer = tar(&[file("a", "b")]);
    let mut crafted = Crafted::default();
    let image = crafted.image("arm64", &[(media::LAYER, layer.clone(), &layer)]);
    let good = crafted.archive(std::slice::from_ref(&image));
    assert_eq!(findings(&good), []);
    let index = json!({ "schemaVersion": 2, "manifests": [image] }).to_string();
    let with = |members: &[(&str, &[u8])]| crafted.archive_with(members);
    let layout: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;
    let odd = |entry: Raw<'_>| {
        let mut bytes = good[..good.len() - 1024].to_vec();
        bytes.extend_from_slice(&tar(&[entry]));
        bytes
    };
    let long = "x".repeat(5 << 20);
    for (bytes, codes, text) in [
        (vec![], &["OCI010"][..], "neither index.json nor manifest.json"),
        (b"hello".to_vec(), &["OCI003"], "ends at byte 5"),
        (vec![7; 2048], &["OCI002"], "no tar header"),
        (gzip(&good), &["OCI004"], "compressed with gzip"),
        (zstd::encode_all(good.as_slice(), 1).expect("memory"), &["OCI004"], "compressed with zstd"),
        (b"\xfd7zXZ\0...".to_vec(), &["OCI004"], "compressed with xz"),
        (tar(&[file("hello", "world")]), &["OCI010"], "it is no image"),
        (good[..good.len() - 1024].to_vec(), &["OCI005"], "no end mark"),
        (with(&[("index.json", index.as_bytes())]), &["OCI011"], "oci-layout is missing"),
        (with(&[("index.json", index.as_bytes()), ("oci-layout", b"{}")]), &["OCI011"], "no JSON"),
        (
            with(&[("index.json", index.as_bytes()), ("oci-layout", br#"{"imageLayoutVersion":"2"}"#)]),
            &["OCI011"],
            "names version \"2\"",
        ),
        (with(&[("index.json", b"{"), ("oci-layout", layout)]), &["OCI012", "OCI023", "OCI023", "OCI023"], "no index"),
        (
            with(&[("index.json", long.as_bytes()), ("oci-layout", layout)]),
            &["OCI013", "OCI023", "OCI023", "OCI023"],
            "index.json",
        ),
        (odd(file("../x", "")), &["OCI006"], "member \"../x\""),
        (odd(file("/x", "")), &["OCI006"], "is absolute"),
        (odd(file("index.json", "{}")), &["OCI007"], "\"index.json\" is there twice"),
        (odd(link(b'3', "dev", "")), &["OCI008"], "has type '3'"),
        (odd(link(b'2', "x", "/etc/passwd")), &["OCI008"], "outside the archive"),
        (odd(link(b'2', "x", "../etc")), &["OCI008"], "outside the archive"),
        (odd(link(b'1', "x", "../etc")), &["OCI008"], "outside the archive"),
        (odd(Raw { name: "blobs/sha256/".as_bytes(), ..dir("") }), &[], ""),
        (odd(file(&format!("blobs/sha256/{}", "0".repeat(64)), "")), &["OCI023"], "nothing refers"),
    ] {
        let found = findings(&bytes);
        assert_eq!(found.iter().map(|(code, _)| *code).collect::<Vec<_>>(), codes, "{found:?}");
        assert!(codes.is_empty() || found.iter().any(|(_, message)| message.contains(text)), "{text}: {found:?}");
    }
    // Cut anywhere, it says so or lacks something; it never passes.
    for end in (0..good.len() - 1024).step_by(97) {
        let found = findings(&good[..end]);
        assert!(!found.is_empty(), "{end}");
    }
    assert!(read::recognise(shared(&good)) && !read::recognise(shared(&layer)) && !read::recognise(shared(&[0; 4096])));
}

#[test]
fn archives_of_docker_save_are_read() {
    let layer = tar(&[file("a", "b")]);
    let config = |tar: &[u8]| {
        json!({ "architecture": "arm64", "os": "linux", "rootfs": { "diff_ids": [Digest::of(tar).to_string()] } })
            .to_string()
    };
    let text = config(&layer);
    let hex = Digest::of(text.as_bytes()).hex();
    let manifest = |config: &str, layers: &[&str]| {
        json!([{ "Config": config, "RepoTags": ["x/y:1"], "Layers": layers }]).to_string()
    };
    let packed = gzip(&layer);
    let member = |name, data| Raw { name, data, ..file("", "") };
    let json_name = format!("{hex}.json");
    let old = manifest(&json_name, &["1234/layer.tar"]);
    let linked = manifest(&json_name, &["5678/layer.tar"]);
    // As go-containerregistry writes it, and with it the upstream imager.
    let colon = format!("sha256:{hex}");
    let gz = format!("{}.tar.gz", Digest::of(&packed).hex());
    let crane = manifest(&colon, &[&gz]);
    let wrong_gz = format!("{}.tar.gz", "0".repeat(64));
    let wrong = manifest(&colon, &[&wrong_gz]);
    let missing = manifest(&json_name, &["nothing.tar"]);
    let climbing = manifest(&json_name, &["../../etc/shadow"]);
    let bare = manifest("nothing.json", &[]);
    for (members, codes, text) in [
        (
            vec![
                member(json_name.as_bytes(), text.as_bytes()),
                member(b"1234/layer.tar", &layer),
                member(b"manifest.json", old.as_bytes()),
            ],
            &[][..],
            "",
        ),
        (
            vec![
                member(json_name.as_bytes(), text.as_bytes()),
                member(b"1234/layer.tar", &layer),
                link(b'2', "5678/layer.tar", "../1234/layer.tar"),
                member(b"manifest.json", linked.as_bytes()),
            ],
            &[],
            "",
        ),
        (
            vec![
                member(colon.as_bytes(), text.as_bytes()),
                member(gz.as_bytes(), &packed),
                member(b"manifest.json", crane.as_bytes()),
            ],
            &[],
            "",
        ),
        (
            vec![
                member(colon.as_bytes(), text.as_bytes()),
                member(wrong_gz.as_bytes(), &packed),
                member(b"manifest.json", wrong.as_bytes()),
            ],
            &["OCI016"],
            "its name says sha256:000",
        ),
        (
            vec![member(json_name.as_bytes(), text.as_bytes()), member(b"manifest.json", missing.as_bytes())],
            &["OCI015"],
            "\"nothing.tar\", which is not there",
        ),
        (
            vec![member(json_name.as_bytes(), text.as_bytes()), member(b"manifest.json", climbing.as_bytes())],
            &["OCI015"],
            "etc/shadow",
        ),
        (vec![member(b"manifest.json", bare.as_bytes())], &["OCI015"], "nothing.json"),
        (vec![member(b"manifest.json", b"{}")], &["OCI012"], "no list of images"),
    ] {
        let archive = tar(&members);
        let found = findings(&archive);
        assert_eq!(found.iter().map(|(code, _)| *code).collect::<Vec<_>>(), codes, "{found:?}");
        assert!(codes.is_empty() || found[0].1.contains(text), "{text}: {found:?}");
        if codes.is_empty() {
            let (view, _) = read::open(shared(&archive));
            let view = view.expect("an archive");
            assert_eq!((view.format, view.tags.as_slice()), (read::Format::Docker, &["x/y:1".to_owned()][..]));
            assert!(view.image(&arm64()).is_some_and(|image| image.docker));
            assert_eq!(listing(&archive), ["a"]);
        }
    }
}

#[test]
fn a_manifest_json_that_contradicts_the_index_is_named() {
    let (low, high) = (tar(&[file("a", "b")]), tar(&[file("c", "d")]));
    let mut crafted = Crafted::default();
    let image = crafted.image("arm64", &[(media::LAYER, low.clone(), &low)]);
    let path = |digest: &str| format!("blobs/{}", digest.replace(':', "/"));
    let manifest: serde_json::Value =
        serde_json::from_slice(&crafted.blobs[image["digest"].as_str().unwrap()]).unwrap();
    let config = manifest["config"]["digest"].as_str().unwrap().to_owned();
    let other = crafted.blob(high);
    let stranger = crafted
        .blob(json!({ "architecture": "arm64", "os": "linux", "rootfs": { "diff_ids": [] } }).to_string().into());
    let index = json!({ "schemaVersion": 2, "manifests": [image] }).to_string();
    for (config, layers, text) in [
        (&config, vec![path(&other)], "other layers than the index"),
        (&stranger, vec![], "which the index does not hold"),
    ] {
        let docker = json!([{ "Config": path(config), "RepoTags": null, "Layers": layers }]).to_string();
        let found = findings(&crafted.archive_with(&[
            ("index.json", index.as_bytes()),
            ("manifest.json", docker.as_bytes()),
            ("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#),
        ]));
        assert!(found.iter().any(|(code, message)| *code == "OCI029" && message.contains(text)), "{found:?}");
    }
}

/// As `docker save` of one platform of an index writes it: the other manifests are listed and not there.
#[test]
fn other_platforms_may_be_absent_when_one_is_asked_for() {
    let layer = tar(&[file("a", "b")]);
    let mut crafted = Crafted::default();
    let mut images = Vec::new();
    for arch in ["amd64", "arm64"] {
        let mut image = crafted.image(arch, &[(media::LAYER, layer.clone(), &layer)]);
        image["platform"] = json!({ "os": "linux", "architecture": arch });
        images.push(image);
    }
    crafted.blobs.remove(images[0]["digest"].as_str().expect("text"));
    let archive = crafted.archive(&images);
    assert_eq!(findings(&archive)[0].0, "OCI015");
    let options = read::Options { platforms: vec![arm64()], ..read::Options::default() };
    let (view, report) = read::open_with(shared(&archive), options);
    assert!(report.is_empty(), "{report:?}");
    assert!(view.expect("an archive").image(&arm64()).is_some());
}

#[test]
fn attestations_are_no_images() {
    let layer = tar(&[file("a", "b")]);
    let mut crafted = Crafted::default();
    let image = crafted.image("arm64", &[(media::LAYER, layer.clone(), &layer)]);
    let mut attestation = crafted.image("unknown", &[("application/vnd.in-toto+json", b"{}".to_vec(), b"")]);
    attestation["platform"] = json!({ "os": "unknown", "architecture": "unknown" });
    attestation["annotations"] = json!({ "vnd.docker.reference.type": "attestation-manifest" });
    let archive = crafted.archive(&[image, attestation]);
    assert_eq!(findings(&archive), []);
    let (view, _) = read::open(shared(&archive));
    let roles: Vec<_> = view.expect("an archive").images.iter().map(|image| image.role).collect();
    assert_eq!(roles, [read::Role::Image, read::Role::Attestation]);
}

/// A medium that fails is told from data that is wrong.
#[test]
fn a_failing_medium_is_named() {
    struct Broken(Vec<u8>, u64);
    impl ReadAt for Broken {
        fn size(&self) -> u64 {
            self.0.len() as u64
        }
        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<usize> {
            if offset >= self.1 { Err(std::io::Error::other("bad sector")) } else { self.0.read_at(offset, buffer) }
        }
    }
    let archive = bytes(&overlay());
    for limit in (0..archive.len() as u64 - 1024).step_by(1531) {
        let (_, report) = read::open(Arc::new(Broken(archive.clone(), limit)));
        assert!(report.iter().any(|finding| finding.message.contains("bad sector")), "{limit}: {report:?}");
    }
}

#[test]
fn the_summary_reads_well() {
    let archive = layers(&[&[dir("d"), file("d/f", "text"), link(b'2', "l", "d/f")]]);
    let (summary, report) = ocipack::inspect(shared(&archive));
    assert!(report.is_empty(), "{report:?}");
    let summary = summary.expect("an archive");
    let golden = "\
OCI layout

linux/arm64
  manifest sha256:MANIFEST
  config   sha256:CONFIG
  layer    sha256:LAYER 3 KiB, tar
    0644              d/
    0644         4 B  d/f
    0644              l -> d/f
";
    let image = &summary.images[0];
    let hide = |text: String| {
        let names = [("MANIFEST", image.manifest), ("CONFIG", image.config), ("LAYER", Some(image.layers[0].digest))];
        names.iter().fold(text, |text, (name, digest)| text.replace(&digest.expect("there").hex(), name))
    };
    assert_eq!(hide(summary.to_string()), golden);
    let facts: Vec<_> = summary.facts().iter().map(|fact| hide(fact.to_string())).collect();
    assert_eq!(
        facts,
        [
            "oci\t0\tformat\toci",
            "oci\t7168\tlinux/arm64.role\timage",
            "oci\t7168\tlinux/arm64.manifest\tsha256:MANIFEST",
            "oci\t7168\tlinux/arm64.config\tsha256:CONFIG",
            "oci\t7168\tlinux/arm64.docker\tfalse",
            "oci\t2560\tlinux/arm64.layer.0.digest\tsha256:LAYER",
            "oci\t2560\tlinux/arm64.layer.0.size\t3072",
            "oci\t2560\tlinux/arm64.layer.0.compression\ttar",
            "oci\t2560\tlinux/arm64.layer.0.diff-id\tsha256:LAYER",
            "oci\t2560\tlinux/arm64.path.d\t0644 folder",
            "oci\t2560\tlinux/arm64.path.d/f\t0644 file 4 sha256:982d9e3eb996f559e633f4d194def3761d909f5a3b647d1a851fead67c32c9d1",
            "oci\t2560\tlinux/arm64.path.l\t0644 symbolic link d/f",
        ]
    );
}

/// Costs nothing to write and must cost nothing to read.
#[test]
fn many_names_for_one_thing_are_read_once() {
    let zeros = tar(&[Raw { data: &vec![0; 8 << 20], ..file("zeros", "") }]);
    let packed = gzip(&zeros);
    let layer = (media::LAYER_GZIP, packed.clone(), zeros.as_slice());
    let mut crafted = Crafted::default();
    let image = crafted.image("arm64", &vec![layer; 100]);
    let found = findings(&crafted.archive(&vec![image; 100]));
    assert!(found.iter().all(|(code, _)| matches!(*code, "OCI021" | "OCI027" | "OCI043")), "{found:?}");
    assert!(found.iter().any(|(_, message)| message.contains("unpack to more than")), "{found:?}");

    let text = json!({ "architecture": "arm64", "os": "linux", "rootfs": { "diff_ids": [] } }).to_string();
    let images = vec![json!({ "Config": "c.json", "Layers": vec!["big"; 200] }); 200];
    let manifest = serde_json::Value::from(images).to_string();
    let big = vec![0; 4 << 20];
    let archive = tar(&[
        Raw { data: text.as_bytes(), ..file("c.json", "") },
        Raw { data: &big, ..file("big", "") },
        Raw { data: manifest.as_bytes(), ..file("manifest.json", "") },
    ]);
    let (view, _) = read::open(shared(&archive));
    assert_eq!(view.map(|view| view.images.len()), Some(1));

    // Whiteouts look at everything below, again and again.
    let names: Vec<_> = (0..20_000).map(|at| format!("d/f{at}")).collect();
    let files: Vec<_> = names.iter().map(|name| file(name, "")).collect();
    let upper: Vec<_> = files.iter().cloned().chain(vec![file("d/.wh..wh..opq", ""); 20_000]).collect();
    assert_eq!(findings(&layers(&[&files, &upper])), []);
}
