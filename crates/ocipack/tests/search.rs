//! A search from the top finds what the whole tree holds, and reads no layer that decides nothing.

mod common;

use std::collections::BTreeMap;

use common::{Raw, dir, file, layers, link, shared};
use imgcore::{NoProgress, Severity};
use ocipack::read::{self, Found, ImageView, Limits, NodeKind, Search};
use proptest::prelude::*;

fn image(archive: &[u8], limits: Limits) -> ImageView {
    let (view, _) = read::open_with(shared(archive), read::Options { limits, ..read::Options::default() });
    view.expect("an archive").images().next().expect("an image").clone()
}

type Bytes = BTreeMap<usize, Vec<u8>>;

struct Looked {
    found: Vec<Found>,
    bytes: Bytes,
    read: usize,
    codes: Vec<(Severity, &'static str, String)>,
}

fn look(image: &ImageView, paths: &[&str]) -> Looked {
    let mut search = Search::new(image, paths);
    let mut bytes = Bytes::new();
    while let Some(index) = search.needs() {
        let sink = &mut |numbers: &[usize], size, data: &mut dyn std::io::Read| {
            let mut found = Vec::new();
            data.read_to_end(&mut found)?;
            assert_eq!(found.len() as u64, size);
            bytes.extend(numbers.iter().map(|number| (*number, found.clone())));
            Ok(())
        };
        search.read(&image.layers[index], &NoProgress, sink).expect("memory");
    }
    let read = search.layers_read();
    let (found, report) = search.finish();
    let codes = report.iter().map(|finding| (finding.severity, finding.code, finding.message.clone())).collect();
    Looked { found, bytes, read, codes }
}

/// What is there: its bytes, or why not.
fn text(looked: &Looked, index: usize) -> String {
    match &looked.found[index] {
        Found::File { .. } => String::from_utf8_lossy(&looked.bytes[&index]).into_owned(),
        Found::Other(what) => (*what).to_owned(),
        Found::Missing { .. } => "-".to_owned(),
    }
}

#[test]
fn only_layers_that_decide_are_read() {
    let low = [dir("d"), file("d/a", "low a"), file("d/b", "low b"), file("e", "low e")];
    let top: [Raw<'_>; 1] = [file("other", "x")];
    for (above, path, expected, read) in [
        (vec![file("d/a", "high a")], "d/a", "high a", 2),
        (vec![file("d/a", "high a")], "d/b", "low b", 3),
        (vec![file("d/.wh.a", "")], "d/a", "-", 2),
        (vec![file(".wh.d", "")], "d/a", "-", 2),
        (vec![file("d/.wh..wh..opq", "")], "d/b", "-", 2),
        (vec![file("d/.wh..wh..opq", ""), file("d/b", "again")], "d/b", "again", 2),
        (vec![file(".wh..wh..opq", "")], "e", "-", 2),
        (vec![dir("d"), file(".wh.d", ""), file("d/b", "again")], "d/b", "again", 2),
        (vec![file("d", "now a file")], "d/a", "-", 2),
        (vec![dir("e")], "e", "folder", 2),
        // Links are followed from the top again.
        (vec![link(b'2', "l", "d/a")], "l", "low a", 3),
        (vec![link(b'2', "f", "d")], "f/b", "low b", 3),
        (vec![link(b'2', "f", "/d"), file("d/b", "high b")], "f/b", "high b", 2),
        (vec![link(b'1', "h", "d/a")], "h", "low a", 3),
        (vec![file("t", "tool"), link(b'1', "h", "t")], "h", "tool", 2),
        (vec![link(b'2', "round", "round")], "round", "-", 2),
        (vec![link(b'2', "out", "../../x")], "out", "-", 2),
        (vec![], "nothing", "-", 3),
    ] {
        let looked = look(&image(&layers(&[&low, &above, &top]), Limits::default()), &[path]);
        assert_eq!((text(&looked, 0).as_str(), looked.read), (expected, read), "{above:?}");
        assert!(looked.codes.iter().all(|(severity, ..)| *severity < Severity::Error), "{:?}", looked.codes);
    }
}

#[test]
fn a_hard_link_means_what_its_layer_saw() {
    let (low, middle, top) = ([file("a", "old")], [link(b'1', "h", "a")], [file("a", "new")]);
    let looked = look(&image(&layers(&[&low, &middle, &top]), Limits::default()), &["h", "a", "/a"]);
    assert_eq!([0, 1, 2].map(|index| text(&looked, index)), ["old", "new", "new"]);
}

#[test]
fn what_is_missing_is_said_with_the_nearest_name() {
    let archive = layers(&[&[file("usr/install/arm64/vmlinux", "k"), file("usr/install/arm64/x", "")]]);
    let looked = look(&image(&archive, Limits::default()), &["usr/install/arm64/vmlinuz"]);
    assert_eq!(looked.found, [Found::Missing { nearest: Some("usr/install/arm64/vmlinux".to_owned()) }]);
}

#[test]
fn hostile_entries_stop_the_search_and_harmless_ones_do_not() {
    let (long, wide) = (format!("{}x", "d/".repeat(2100)), "n".repeat(300));
    let device = |kind| Raw { kind, name: b"dev/x", target: b"", data: b"" };
    let bytes = |name: &'static [u8]| Raw { kind: b'0', name, target: b"", data: b"" };
    for (entries, worst, code, text) in [
        (vec![file("/etc/passwd", "x")], Severity::Error, "OCI030", "\"/etc/passwd\" is absolute"),
        (vec![file("a/../../x", "x")], Severity::Error, "OCI030", "holds `..`"),
        (
            vec![link(b'2', "l", "/etc"), file("l/passwd", "x")],
            Severity::Error,
            "OCI034",
            "\"l/passwd\" lies below \"l\"",
        ),
        (vec![link(b'1', "h", "../../etc/shadow")], Severity::Error, "OCI035", "hard link \"h\""),
        (vec![link(b'1', "h", "/etc/shadow")], Severity::Error, "OCI035", "is absolute"),
        (vec![file(&long, "x")], Severity::Error, "OCI031", "longer than 4095"),
        (vec![file(&wide, "x")], Severity::Error, "OCI031", "longer than 255"),
        (vec![file("w", "1"), file("w", "2")], Severity::Error, "OCI033", "twice"),
        (vec![file("w", "1"), file("W", "2")], Severity::Error, "OCI038", "\"W\" and \"w\""),
        (vec![device(b'3')], Severity::Warning, "OCI036", "character device"),
        (vec![bytes(b"latin\xe9")], Severity::Warning, "OCI030", "not UTF-8"),
        (vec![link(b'2', "deep", "../../../x")], Severity::Warning, "OCI037", "leads out"),
    ] {
        let looked = look(&image(&layers(&[&entries]), Limits::default()), &["w"]);
        let found = looked.codes.iter().find(|found| found.1 == code).unwrap_or_else(|| panic!("{entries:?}"));
        assert!(found.0 == worst && found.2.contains(text), "{found:?}");
    }
    // Two names that only case tells apart are real (iptables), and none of them is wanted.
    let archive = layers(&[&[file("lib/libip6t_HL.so", "1"), file("lib/libip6t_hl.so", "2"), file("w", "3")]]);
    let looked = look(&image(&archive, Limits::default()), &["w"]);
    assert_eq!((text(&looked, 0).as_str(), looked.codes.len()), ("3", 0));
}

#[test]
fn limits_stop_the_search() {
    let names: Vec<String> = (0..100).map(|number| format!("n{number}")).collect();
    let many: Vec<Raw<'_>> = names.iter().map(|name| file(name, "")).collect();
    let zeros = "0".repeat(1 << 20);
    for (entries, limits, code) in [
        (many, Limits { entries: 50, ..Limits::default() }, "OCI032"),
        (vec![file("big", &zeros)], Limits { unpacked: 100_000, ..Limits::default() }, "OCI027"),
    ] {
        let looked = look(&image(&layers(&[&entries]), limits), &["w"]);
        assert_eq!(looked.codes.iter().map(|found| found.1).collect::<Vec<_>>(), [code]);
    }
}

#[test]
fn layers_may_be_elsewhere_until_they_are_needed() {
    let archive = layers(&[&[file("a", "low")], &[file("a", "high")]]);
    let options = read::Options { defer_layers: true, ..read::Options::default() };
    let (view, report) = read::open_with(shared(&archive), options);
    assert!(report.is_empty(), "{report:?}");
    let view = view.expect("an archive");
    let image = view.images().next().expect("an image");
    assert!(image.layers.iter().all(|layer| layer.data.is_none()));
    let mut search = Search::new(image, &["a"]);
    assert_eq!(search.needs(), Some(1));
    let layer = &image.layers[1];
    let place = view.place(&layer.digest).expect("in the archive");
    let data = imgcore::Blob::new("layer", shared(&archive), None).slice(place);
    assert_eq!(layer.with_data(data.slice(0..5)).expect_err("short").code, "OCI017");
    let other = imgcore::Blob::from_bytes("other", vec![0; usize::try_from(layer.size).expect("small")]);
    assert_eq!(layer.with_data(other).expect_err("other bytes").code, "OCI016");
    let mut text = String::new();
    let whole = layer.with_data(data).expect("the bytes");
    search.read(&whole, &NoProgress, &mut |_, _, data| data.read_to_string(&mut text).map(drop)).expect("memory");
    assert_eq!((search.needs(), text.as_str()), (None, "high"));
}

#[test]
fn one_of_several_images_is_chosen_by_its_tag() {
    let mut crafted = common::Crafted::default();
    let mut manifests = Vec::new();
    for (tag, text) in [("v1", "one"), ("host/repo:v2", "two"), ("2", "three")] {
        let tar = common::tar(&[file("f", text)]);
        let mut image = crafted.image("arm64", &[(ocipack::media::LAYER, tar.clone(), &tar)]);
        image["annotations"] = serde_json::json!({ "org.opencontainers.image.ref.name": tag });
        manifests.push(image);
    }
    let archive = crafted.archive(&manifests);
    for (tag, expected) in [("v1", "one"), ("v2", "two"), ("repo:v2", "two"), ("2", "three"), ("1", ""), ("o:v2", "")] {
        let options = read::Options { tag: Some(tag.to_owned()), ..read::Options::default() };
        let (view, report) = read::open_with(shared(&archive), options);
        assert!(report.is_empty(), "{report:?}");
        let view = view.expect("an archive");
        let found: Vec<_> = view.images().map(|image| text(&look(image, &["f"]), 0)).collect();
        assert_eq!(found.concat(), expected, "{tag}");
        assert_eq!(view.tags, ["2", "host/repo:v2", "v1"]);
    }
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec(
        prop_oneof![4 => "[abc]", 1 => Just(".wh.a".to_owned()), 1 => Just(".wh..wh..opq".to_owned())],
        1..4,
    )
    .prop_map(|names| names.join("/"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    /// The whole tree, which is built from the bottom, is the oracle wherever it has nothing to complain about.
    #[test]
    fn the_tree_agrees(all in prop::collection::vec(prop::collection::vec((0..6_u8, path(), "[abc](/[abc])?"), 0..8), 1..5)) {
        let named: Vec<Vec<_>> = all
            .iter()
            .map(|layer| layer.iter().map(|(kind, name, target)| match kind {
                0 | 1 => dir(name),
                2 => link(b'2', name, target),
                3 => link(b'1', name, target),
                _ => file(name, target),
            }).collect())
            .collect();
        let named: Vec<&[_]> = named.iter().map(Vec::as_slice).collect();
        let image = image(&layers(&named), Limits::default());
        let (tree, report) = image.tree();
        if !report.is_empty() {
            return Ok(());
        }
        let paths = ["a", "b", "c", "a/a", "a/b", "b/a", "b/c", "c/a/b", "a/b/c", "b/b/a", "c/c/c"];
        let looked = look(&image, &paths);
        prop_assert!(looked.codes.iter().all(|found| found.0 < Severity::Error), "{:?}", looked.codes);
        for (index, path) in paths.iter().enumerate() {
            let expected = match tree.resolve(path) {
                Ok((_, node)) if matches!(node.kind, NodeKind::File { .. }) => {
                    String::from_utf8(image.read_file(&tree, path, 100).expect("there")).expect("text")
                }
                Ok((_, node)) => node.kind.name().to_owned(),
                Err(_) => "-".to_owned(),
            };
            // A folder that no layer names is none to a search, and no file either.
            let found = text(&looked, index);
            if !(expected == "folder" && found == "-") {
                prop_assert_eq!(found, expected, "{}", path);
            }
        }
    }
}
