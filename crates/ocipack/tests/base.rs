//! Images on bases of anybody: what is kept, what is replaced, what is refused.

mod common;

use common::{Crafted, EPOCH, Raw, bytes, dir, file, gzip, link, shared, tar};
use imgcore::{Blob, Digest, Epoch};
use ocipack::{Base, Entry, Error, Image, Layer, Platform, archive, layer, media, read};
use proptest::prelude::*;
use serde_json::{Value, json};

fn arm64() -> Platform {
    Platform::new("linux", "arm64")
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::encode_all(bytes, 3).expect("memory")
}

/// An image of one platform: its configuration as text, its layers as media type and stored bytes.
fn archive_of(config: &str, layers: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut crafted = Crafted::default();
    let config = crafted.descriptor(media::DOCKER_CONFIG, config.as_bytes().to_vec());
    let layers: Vec<_> = layers.iter().map(|(kind, bytes)| crafted.descriptor(kind, bytes.clone())).collect();
    let manifest = json!({
        "schemaVersion": 2, "mediaType": media::DOCKER_MANIFEST, "config": config, "layers": layers,
        "annotations": { "org.opencontainers.image.revision": "the base's own" }
    });
    let manifest = crafted.json(media::DOCKER_MANIFEST, &manifest);
    crafted.archive(&[manifest])
}

fn open(bytes: &[u8]) -> read::ImageView {
    let (view, report) = read::open(shared(bytes));
    assert!(!report.has_errors(), "{report:?}");
    view.expect("an archive").images.remove(0)
}

fn base(config: &str, layers: &[(&str, Vec<u8>)]) -> Result<Base, Error> {
    Base::of(&open(&archive_of(config, layers)))
}

fn diff_ids(tars: &[&[u8]]) -> String {
    json!(tars.iter().map(|tar| Digest::of(tar).to_string()).collect::<Vec<_>>()).to_string()
}

fn on_top(path: &str) -> Layer {
    layer::build(&[Entry::file(path, 0o644, Blob::from_bytes(path, path))], EPOCH).expect("valid")
}

fn written(image: Image) -> Vec<u8> {
    let options = archive::Options { shape: archive::Shape::Manifests, ..common::options() };
    bytes(&archive::plan(&[image], &options).expect("valid"))
}

/// The configuration of the image in an archive that has nothing wrong with it.
fn config(bytes: &[u8]) -> (read::ImageView, String) {
    let (view, report) = read::verify(shared(bytes));
    assert!(report.is_empty(), "{report:?}");
    let view = view.expect("an archive");
    let image = view.images().next().expect("an image").clone();
    let text = String::from_utf8(image.config.as_ref().expect("a configuration").bytes.clone()).expect("UTF-8");
    (image, text)
}

#[test]
fn what_the_base_says_is_kept_as_it_was_written() {
    let (one, two) = (tar(&[file("a", "1")]), tar(&[file("b", "2")]));
    let text = format!(
        r#"{{ "os": "linux", "architecture": "arm64", "variant": "v8", "created": "2020-01-01T00:00:00Z",
        "moby.unknown": [ 1e400, 0.10, 12345678901234567890123, "a \" b\u0001 {{ }}" ],
        "docker_version": "24.0", "author": "",
        "config": {{ "Entrypoint": ["/bin/installer"], "Env": ["PATH=/bin", "EMPTY="],
            "Labels": {{ "line": "one\ntwo\u0007", "e\u0301": "\u00e9", "lone": "x" }},
            "ArgsEscaped": true, "Healthcheck": {{ "Interval": 3.0e10 }}, "OnBuild": null }},
        "rootfs": {{ "type": "", "diff_ids": {}, "base_layer": "x" }},
        "history": [ {{ "created": "2019-01-01T00:00:00Z", "created_by": "ADD a\u0000", "extra": 1.0 }},
            {{ "created_by": "ENTRYPOINT", "empty_layer": true }}, {{ "comment": "two" }} ] }}"#,
        diff_ids(&[&one, &two])
    );
    let stored = [(media::DOCKER_LAYER_GZIP, gzip(&one)), (media::DOCKER_LAYER_ZSTD, zstd(&two))];
    let base = base(&text, &stored).expect("a base");
    assert!(base.verify().is_empty());
    let top = on_top("etc/motd");
    let mut image = Image::on(&base, &arm64(), vec![top.clone()], EPOCH).expect("for arm64");
    image.history = vec!["a greeting".to_owned()];
    let (view, text) = config(&written(image));
    let expected = format!(
        concat!(
            r#"{{"architecture":"arm64","author":"","config":{{"ArgsEscaped":true,"Entrypoint":["/bin/installer"],"#,
            r#""Env":["PATH=/bin","EMPTY="],"Healthcheck":{{"Interval":3.0e10}},"Labels":{{"line":"one\ntwo\u0007","#,
            r#""e\u0301":"\u00e9","lone":"x"}},"OnBuild":null}},"created":"2023-11-14T22:13:20Z","docker_version":"24.0","#,
            r#""history":[{{"created":"2019-01-01T00:00:00Z","created_by":"ADD a\u0000","extra":1.0}},"#,
            r#"{{"created_by":"ENTRYPOINT","empty_layer":true}},{{"comment":"two"}},"#,
            r#"{{"created":"2023-11-14T22:13:20Z","created_by":"a greeting"}}],"#,
            r#""moby.unknown":[1e400,0.10,12345678901234567890123,"a \" b\u0001 {{ }}"],"os":"linux","#,
            r#""rootfs":{{"base_layer":"x","diff_ids":{},"type":"layers"}},"variant":"v8"}}"#
        ),
        json!([Digest::of(&one).to_string(), Digest::of(&two).to_string(), top.diff_id.to_string()])
    );
    assert_eq!(text, expected);
    // Docker's media types have become the specification's, the bytes are the same.
    let found: Vec<_> = view.layers.iter().map(|layer| (layer.media_type.as_str(), layer.digest)).collect();
    let [(_, one), (_, two)] = &stored;
    assert_eq!(
        found,
        [(media::LAYER_GZIP, Digest::of(one)), (media::LAYER_ZSTD, Digest::of(two)), (media::LAYER_GZIP, top.digest)]
    );
    assert!(view.annotations.is_empty());
    assert_eq!(view.run.labels.get("line").map(String::as_str), Some("one\ntwo\u{7}"));
}

#[test]
fn what_is_changed_is_changed_and_nothing_else() {
    let one = tar(&[file("a", "1")]);
    let text = format!(
        r#"{{"os":"linux","architecture":"arm64","config":{{"Cmd":["a"],"User":"1","cmd":["b"],"Labels":{{"a":"b"}}}},
        "rootfs":{{"diff_ids":{}}}}}"#,
        diff_ids(&[&one])
    );
    let base = base(&text, &[(media::LAYER, one.clone())]).expect("a base");
    let mut image = Image::on(&base, &arm64(), vec![], Epoch(0)).expect("for arm64");
    image.config.cmd.clear();
    image.config.labels.insert("line".to_owned(), "one\ntwo".to_owned());
    let (_, text) = config(&written(image));
    let text: Value = serde_json::from_str(&text).expect("JSON");
    assert_eq!(text["config"], json!({ "User": "1", "Labels": { "a": "b", "line": "one\ntwo" } }));
    assert_eq!(text.get("history"), None);
}

#[test]
fn history_tells_of_each_layer_once() {
    let (one, two) = (tar(&[file("a", "1")]), tar(&[file("b", "2")]));
    let stored = [(media::LAYER, one.clone()), (media::LAYER, two.clone())];
    let made = r#"{"created":"1970-01-01T00:00:00Z","created_by":"a layer of the base image"}"#;
    let top = r#"{"created":"1970-01-01T00:00:00Z","created_by":"top"}"#;
    let bare = r#"{"created":"1970-01-01T00:00:00Z"}"#;
    let told = r#"{"created_by":"1"},{"empty_layer":true},{"created_by":"2"}"#;
    for (history, keep, lines, expected) in [
        ("", 2, vec![], None),
        ("", 2, vec!["top"], Some(format!("{made},{made},{top}"))),
        (r#","history":null"#, 2, vec!["top"], Some(format!("{made},{made},{top}"))),
        (&format!(r#","history":[{told}]"#), 2, vec!["top"], Some(format!("{told},{top}"))),
        (&format!(r#","history":[{told}]"#), 2, vec![], Some(format!("{told},{bare}"))),
        (&format!(r#","history":[{told},{{}}]"#), 2, vec![], Some(format!("{made},{made},{bare}"))),
        (
            &format!(r#","history":[{told},{{"empty_layer":true,"x":1}}]"#),
            1,
            vec!["top"],
            Some(format!(r#"{{"created_by":"1"}},{{"empty_layer":true}},{{"empty_layer":true,"x":1}},{top}"#)),
        ),
    ] {
        let text = format!(
            r#"{{"os":"linux","architecture":"arm64","rootfs":{{"diff_ids":{}}}{history}}}"#,
            diff_ids(&[&one, &two])
        );
        let mut base = base(&text, &stored).expect("a base");
        base.truncate(keep);
        let mut image = Image::on(&base, &arm64(), vec![on_top("top")], Epoch(0)).expect("for arm64");
        image.history = lines.iter().map(|line| (*line).to_owned()).collect();
        let (view, text) = config(&written(image));
        assert_eq!(view.layers.len(), keep + 1);
        let start = r#""history":["#;
        let found = text.split_once(start).and_then(|(_, rest)| Some(rest.split_once("],\"os\"")?.0.to_owned()));
        assert_eq!(found, expected, "{history}");
    }
}

#[test]
fn what_cannot_be_built_on_is_refused_with_what_to_do() {
    let one = tar(&[file("a", "1")]);
    let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    let old = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip";
    let text = |rest: &str| {
        let ids = diff_ids(&[&one]);
        format!(r#"{{"os":"linux","architecture":"arm64","rootfs":{{"diff_ids":{ids}}}{rest}}}"#)
    };
    for (rest, kind, word) in [
        ("", foreign, "which must not be distributed: build on an image without such layers"),
        ("", old, "which must not be distributed"),
        (
            "",
            "application/vnd.oci.image.layer.v1.tar+lz4",
            "expected a tar, in gzip or zstd or not compressed: convert",
        ),
        (r#","history":{}"#, media::LAYER, "configuration that is damaged"),
        (r#","history":[1]"#, media::LAYER, "configuration that is damaged"),
    ] {
        let refused = base(&text(rest), &[(kind, one.clone())]).expect_err(word).to_string();
        assert!(refused.starts_with("the base image has") && refused.contains(word), "{refused}");
    }
    // Configurations that the reader complains about as well.
    for text in ["{", r#"{"rootfs":{"diff_ids":[]}}"#, r#"{"config":[]}"#, "[]"] {
        let (view, _) = read::open(shared(&archive_of(text, &[(media::LAYER, one.clone())])));
        let refused = view.expect("an archive").images.first().map(Base::of);
        assert!(matches!(refused, Some(Err(_))), "{text}: {refused:?}");
    }
    let base = base(&text(""), &[(media::LAYER, one.clone())]).expect("a base");
    let refused = Image::on(&base, &Platform::new("linux", "amd64"), vec![], EPOCH).expect_err("another").to_string();
    assert_eq!(
        refused,
        "the base image is for linux/arm64, expected one for linux/amd64: give the base's image for that platform"
    );
}

#[test]
fn a_base_that_names_no_platform_takes_the_images() {
    let one = tar(&[file("a", "1")]);
    let text = format!(r#"{{"Architecture":"x","rootfs":{{"diff_ids":{}}}}}"#, diff_ids(&[&one]));
    let base = base(&text, &[(media::LAYER, one)]).expect("a base");
    assert_eq!(base.platform(), None);
    let platform: Platform = "linux/arm/v7".parse().expect("valid");
    let (view, text) = config(&written(Image::on(&base, &platform, vec![], EPOCH).expect("any")));
    assert_eq!(view.platform, Some(platform));
    assert!(!text.contains("Architecture"), "{text}");
}

#[test]
fn diff_ids_that_lie_are_found_out() {
    let (one, two) = (tar(&[file("a", "1")]), tar(&[file("b", "2")]));
    let text =
        |tar: &[u8]| format!(r#"{{"os":"linux","architecture":"arm64","rootfs":{{"diff_ids":{}}}}}"#, diff_ids(&[tar]));
    let codes = |config: &str, stored: Vec<u8>| -> Vec<_> {
        let base = base(config, &[(media::LAYER_GZIP, stored)]).expect("a base");
        base.verify().iter().map(|finding| finding.code).collect()
    };
    assert_eq!(codes(&text(&two), gzip(&one)), ["OCI025"]);
    assert_eq!(codes(&text(&one), gzip(&one)[..40].to_vec()), ["OCI026"]);
    let bomb = vec![0; 200 << 20];
    assert_eq!(codes(&text(&bomb), gzip(&bomb)), ["OCI027"]);
}

#[test]
fn a_base_whose_bytes_change_is_noticed_when_it_is_written() {
    let one = tar(&[file("a", "1")]);
    let text = format!(r#"{{"os":"linux","architecture":"arm64","rootfs":{{"diff_ids":{}}}}}"#, diff_ids(&[&one]));
    let mut view = open(&archive_of(&text, &[(media::LAYER, one.clone())]));
    let other = tar(&[file("a", "2")]);
    view.layers[0].data = Some(Blob::from_bytes("changed", other));
    let image = Image::on(&Base::of(&view).expect("a base"), &arm64(), vec![], EPOCH).expect("for arm64");
    let archive = archive::plan(&[image], &common::options()).expect("valid");
    let refused = archive.write_to(&mut Vec::new()).expect_err("changed").to_string();
    assert!(refused.contains("expected sha256:"), "{refused}");
}

/// Twelve layers: whiteouts, an opaque folder, a folder that becomes a file, hard links between layers.
fn twelve() -> Vec<Vec<u8>> {
    let hard = |name, target| link(b'1', name, target);
    let entries: Vec<Vec<Raw<'_>>> = vec![
        vec![dir("usr"), dir("usr/lib"), file("usr/lib/a", "a"), file("usr/lib/b", "b"), file("etc/x", "x")],
        vec![file("usr/lib/.wh.a", "")],
        vec![dir("opt"), file("opt/one", "1"), file("opt/two", "2")],
        vec![dir("opt"), file("opt/.wh..wh..opq", ""), file("opt/three", "3")],
        vec![file("etc/.wh.x", ""), file("etc/y", "y")],
        vec![hard("usr/bin/c", "usr/lib/b")],
        vec![file("usr/lib/.wh.b", "")],
        vec![link(b'2', "bin", "usr/bin")],
        vec![file(".wh.opt", "")],
        vec![file("opt", "a file where a folder was")],
        vec![dir("empty/")],
        vec![file("usr/lib/a", "a again")],
    ];
    entries.iter().map(|entries| tar(entries)).collect()
}

#[test]
fn twelve_layers_with_whiteouts_stay_what_they_are() {
    let tars = twelve();
    let ids: Vec<&[u8]> = tars.iter().map(Vec::as_slice).collect();
    let text = format!(r#"{{"os":"linux","architecture":"arm64","rootfs":{{"diff_ids":{}}}}}"#, diff_ids(&ids));
    let kinds = [media::LAYER, media::DOCKER_LAYER_GZIP, media::LAYER_ZSTD];
    let stored: Vec<_> = tars
        .iter()
        .zip(kinds.iter().cycle())
        .map(|(tar, kind)| match *kind {
            media::LAYER => (*kind, tar.clone()),
            media::LAYER_ZSTD => (*kind, zstd(tar)),
            _ => (*kind, gzip(tar)),
        })
        .collect();
    let below = base(&text, &stored).expect("a base");
    assert!(below.verify().is_empty());
    let files = [
        Entry::file("opt/four", 0o644, Blob::from_bytes("four", "4")),
        Entry::file("usr/lib/z", 0o755, Blob::from_bytes("z", "z")),
    ];
    let refused = layer::build(&files, EPOCH).map(|top| Image::on(&below, &arm64(), vec![top], EPOCH));
    let bytes = written(refused.expect("valid").expect("for arm64"));
    let (view, _) = read::open(shared(&bytes));
    let image = view.expect("an archive").images.remove(0);
    assert_eq!(image.layers.len(), 13);
    for (layer, (_, stored)) in image.layers.iter().zip(&stored) {
        assert_eq!(layer.data.as_ref().expect("there").read_all(1 << 20).expect("memory"), *stored);
    }
    let (tree, report) = image.tree();
    assert!(report.is_empty(), "{report:?}");
    let paths: Vec<_> = tree.iter().map(|(path, node)| (path, node.layer)).collect();
    let expected = [
        ("bin", 7),
        ("empty", 10),
        ("etc", 0),
        ("etc/y", 4),
        ("opt", 12),
        ("opt/four", 12),
        ("usr", 12),
        ("usr/bin", 5),
        ("usr/bin/c", 5),
        ("usr/lib", 12),
        ("usr/lib/a", 11),
        ("usr/lib/z", 12),
    ];
    assert_eq!(paths, expected);
    assert_eq!(image.read_file(&tree, "bin/c", 10).expect("a hard link of a file that is gone"), b"b");
}

#[test]
fn each_platform_has_its_own_base() {
    let mut crafted = Crafted::default();
    let manifests: Vec<_> = ["arm64", "amd64"]
        .iter()
        .map(|arch| {
            let tar = tar(&[file("bin/installer", arch)]);
            let mut manifest = crafted.image(arch, &[(media::LAYER, tar.clone(), &tar)]);
            manifest["platform"] = json!({ "os": "linux", "architecture": arch });
            manifest
        })
        .collect();
    let (view, report) = read::verify(shared(&crafted.archive(&manifests)));
    assert!(report.is_empty(), "{report:?}");
    let view = view.expect("an archive");
    let images: Vec<_> = ["arm64", "amd64"]
        .iter()
        .map(|arch| {
            let platform = Platform::new("linux", *arch);
            let base = Base::of(view.image(&platform).expect("there")).expect("a base");
            Image::on(&base, &platform, vec![on_top("overlay")], EPOCH).expect("its own")
        })
        .collect();
    let bytes = bytes(&archive::plan(&images, &common::options()).expect("valid"));
    let (view, report) = read::verify(shared(&bytes));
    assert!(report.is_empty(), "{report:?}");
    for image in view.expect("an archive").images() {
        let (tree, _) = image.tree();
        let arch = image.platform.as_ref().map(|platform| platform.architecture.clone()).unwrap_or_default();
        assert_eq!(image.read_file(&tree, "bin/installer", 10).expect("there"), arch.as_bytes());
    }
}

/// Any JSON: texts with every character, numbers, lists, objects.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[\\x00-\\x1f\\x7f\"\\\\é]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(any::<String>(), inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a base says of itself is what the image on it says, white space or not.
    #[test]
    fn nothing_of_a_configuration_is_lost(
        keys in prop::collection::btree_map("x[a-z\\x00-\\x1f]{0,6}", value(), 0..5),
        labels in prop::collection::btree_map(any::<String>(), any::<String>(), 0..4),
        more in prop::collection::btree_map("X[A-Za-z]{0,5}", value(), 0..3),
        pretty in any::<bool>(),
    ) {
        let one = tar(&[file("a", "1")]);
        let mut run = json!({ "Labels": labels, "Entrypoint": ["/a", "\u{1}\n"] });
        run.as_object_mut().expect("an object").extend(more);
        let mut config = json!({
            "os": "linux", "architecture": "arm64", "created": "2020-01-01T00:00:00Z", "config": run,
            "rootfs": { "type": "layers", "diff_ids": [Digest::of(&one).to_string()] }
        });
        config.as_object_mut().expect("an object").extend(keys);
        let text = if pretty { serde_json::to_string_pretty(&config) } else { serde_json::to_string(&config) };
        let text = text.expect("JSON");
        let base = base(&text, &[(media::LAYER, one)]).expect("a base");
        // Numbers as this reader takes them: to some of all digits it gives the neighbour.
        let mut config: Value = serde_json::from_str(&text).expect("JSON");
        let (_, text) = self::config(&written(Image::on(&base, &arm64(), vec![], EPOCH).expect("for arm64")));
        config["created"] = json!("2023-11-14T22:13:20Z");
        let found: Value = serde_json::from_str(&text).expect("JSON");
        prop_assert_eq!(found, config);
        prop_assert!(!text.chars().any(|c| c < ' '));
    }
}
