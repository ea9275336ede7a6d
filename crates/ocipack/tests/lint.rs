//! Each rule of `lint` with an image that breaks it and nothing else, and good images of others that break none.

mod common;

use std::{path::Path, process::Command, sync::Arc};

use common::{Crafted, EPOCH, bytes, overlay, save, shared};
use imgcore::{Blob, Report};
use ocipack::{Config, Entry, Image, Platform, archive, layer, layers, lint, media, read};
use serde_json::{Value, json};
use testkit::{run, tool};

/// An ELF header of a program for a machine.
fn elf(machine: u16) -> Vec<u8> {
    let mut header = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x02\0".to_vec();
    header.extend_from_slice(&machine.to_le_bytes());
    header.resize(64, 0);
    header
}

fn program(path: &str, mode: u32, machine: u16) -> Entry {
    Entry::file(path, mode, Blob::from_bytes(path, elf(machine)))
}

fn text(path: &str, text: &str) -> Entry {
    Entry::file(path, 0o644, Blob::from_bytes(path, text))
}

fn image(arch: &str, entries: &[Entry], config: Config) -> Image {
    let layer = layer::build(entries, EPOCH).expect("valid");
    Image { config, ..Image::new(Platform::new("linux", arch), vec![layer], EPOCH) }
}

fn written(images: &[Image]) -> Vec<u8> {
    bytes(&archive::plan(images, &archive::Options::default()).expect("valid"))
}

fn starts(words: &[&str]) -> Config {
    Config { entrypoint: words.iter().map(|word| (*word).to_owned()).collect(), ..Config::default() }
}

/// An image whose configuration is changed behind the writer's back.
fn altered(change: impl Fn(&mut Value)) -> Vec<u8> {
    let tar = common::tar(&[common::file("a", "1")]);
    let mut config = json!({
        "architecture": "arm64", "os": "linux", "config": {}, "created": "2023-11-14T22:13:20Z",
        "rootfs": { "type": "layers", "diff_ids": [imgcore::Digest::of(&tar).to_string()] }
    });
    change(&mut config);
    let mut crafted = Crafted::default();
    let config = crafted.json(media::CONFIG, &config);
    let layer = crafted.descriptor(media::LAYER, tar);
    let manifest = json!({ "schemaVersion": 2, "mediaType": media::MANIFEST, "config": config, "layers": [layer] });
    let manifest = crafted.json(media::MANIFEST, &manifest);
    crafted.archive(&[manifest])
}

fn checked(bytes: &[u8]) -> Report {
    lint::lint(shared(bytes), &lint::Options::default()).1
}

fn codes(report: &Report) -> Vec<&'static str> {
    report.iter().map(|finding| finding.code).collect()
}

#[test]
fn each_rule_is_broken_alone() {
    let one = |entries: &[Entry], config: Config| written(&[image("arm64", entries, config)]);
    let installer = || program("bin/installer", 0o755, 183);
    let user = |user: &str| Config { user: user.to_owned(), ..Config::default() };
    let both = |arm64: u16, amd64: u16| {
        written(&[
            image("arm64", &[program("bin/x", 0o755, arm64)], Config::default()),
            image("amd64", &[program("bin/x", 0o755, amd64)], Config::default()),
        ])
    };
    for (code, bytes, message) in [
        (
            "OCI044",
            altered(|config| config["history"] = json!([{}, { "empty_layer": true }, {}])),
            "the history tells of 2 layers, there are 1",
        ),
        ("OCI045", altered(|config| config["created"] = json!("yesterday")), "created is \"yesterday\""),
        (
            "OCI046",
            altered(|config| config["architecture"] = json!("aarch64")),
            "the architecture is aarch64, clients look for arm64",
        ),
        (
            "OCI048",
            one(&[installer()], Config { env: vec!["PATH=/bin".into(), "DEBUG".into()], ..Config::default() }),
            "the environment holds \"DEBUG\", expected NAME=value",
        ),
        ("OCI049", one(&[installer()], user("app")), "user \"app\" is not in etc/passwd"),
        (
            "OCI049",
            one(&[text("etc/passwd", "root:x:0:0::/:\napp:x:1:1::/:\n")], user("app:staff")),
            "group \"staff\" is not in etc/group",
        ),
        (
            "OCI050",
            one(&[installer()], starts(&["/bin/instaler"])),
            "the image starts \"/bin/instaler\", but \"bin/instaler\" is not in the image; the nearest name is \"bin/installer\"",
        ),
        ("OCI050", one(&[installer()], starts(&["sh", "-c"])), "but no folder of PATH holds it"),
        ("OCI050", one(&[installer()], starts(&["/bin"])), "\"bin\" is a folder"),
        ("OCI050", one(&[installer()], starts(&[""])), "that is no name"),
        (
            "OCI051",
            one(&[program("bin/installer", 0o644, 183)], starts(&["installer"])),
            "the image starts \"installer\", and \"bin/installer\" has mode 0644",
        ),
        (
            "OCI052",
            one(&[program("bin/installer", 0o755, 62)], starts(&["bin/installer"])),
            "the image starts \"bin/installer\", which is for amd64",
        ),
        ("OCI053", both(183, 183), "every program is for the machines of linux/arm64: \"bin/x\" is for arm64"),
        (
            "OCI054",
            one(&[Entry::dir("etc", 0o600), text("etc/motd", "x")], Config::default()),
            "folder \"etc\" has mode 0600, expected x for its owner",
        ),
        ("OCI055", one(&[Entry::dir("work", 0o777)], Config::default()), "folder \"work\" has mode 0777"),
        ("OCI056", one(&[program("bin/x", 0o777, 183)], Config::default()), "program \"bin/x\" has mode 0777"),
        ("OCI057", one(&[program("bin/su", 0o4777, 183)], Config::default()), "program \"bin/su\" has mode 4777"),
    ] {
        let report = checked(&bytes);
        assert_eq!(codes(&report), [code], "{report:?}");
        let finding = report.iter().next().expect("one");
        assert!(finding.message.contains(message), "{finding}");
        assert!(lint::cure(finding).is_some_and(|cure| !cure.is_empty()), "{code}");
        let (_, severity, _) = ocipack::RULES.iter().find(|(known, ..)| *known == code).expect("a rule");
        assert_eq!(finding.severity, *severity, "{code}");
    }
    let options = lint::Options { require: vec![Platform::new("linux", "amd64")], ..lint::Options::default() };
    let (_, report) = lint::lint(shared(&one(&[installer()], Config::default())), &options);
    assert_eq!(codes(&report), ["OCI047"]);
    assert!(
        report.iter().all(|finding| finding.message == "there is no image for linux/amd64; there are: linux/arm64")
    );
}

#[test]
fn what_nobody_can_be_certain_of_is_not_said() {
    let installer = || program("bin/installer", 0o755, 183);
    let with = |change: &dyn Fn(&mut Config)| {
        let mut config = starts(&["installer"]);
        change(&mut config);
        written(&[image("arm64", &[installer(), Entry::dir("tmp", 0o1777), Entry::dir("root", 0o700)], config)])
    };
    for bytes in [
        with(&|_| {}),
        with(&|config| config.env = vec!["PATH=bin".to_owned()]),
        with(&|config| config.entrypoint = vec!["/proc/self/exe".to_owned()]),
        with(&|config| (config.working_dir, config.entrypoint) = ("/bin".to_owned(), vec!["./installer".to_owned()])),
        with(&|config| config.user = "1000:1000".to_owned()),
        written(&[image("arm64", &[Entry::symlink("sbin", "bin"), installer()], starts(&["/sbin/installer"]))]),
        written(&[image("arm64", &[Entry::symlink("usr/x", "/bin/installer"), installer()], starts(&["/usr/x"]))]),
        // An overlay: programs for both, and firmware of a third.
        written(&[
            image("arm64", &[installer(), program("artifacts/bl31.elf", 0o755, 40)], Config::default()),
            image(
                "amd64",
                &[program("bin/installer", 0o755, 62), program("artifacts/u-boot", 0o755, 183)],
                Config::default(),
            ),
        ]),
        // Whoever runs it mounts the program.
        altered(|config| config["config"] = json!({ "Entrypoint": ["/app/run"], "Volumes": { "/app": {} } })),
        altered(|config| {
            config["os"] = json!("windows");
            config["config"] = json!({ "Entrypoint": ["c:\\run.exe"] });
        }),
    ] {
        let report = checked(&bytes);
        assert!(report.is_empty(), "{report:?}");
    }
}

#[test]
fn damage_is_said_once() {
    // The layer of the program is damaged: that the program is missing follows.
    let good = written(&[image("arm64", &[program("bin/x", 0o755, 183)], starts(&["/bin/x"]))]);
    let (view, _) = read::open(shared(&good));
    let view = view.expect("an archive");
    let layer = view.images().next().expect("an image").layers[0].digest;
    let range = view.place(&layer).expect("in the archive");
    let mut bad = good.clone();
    let middle = usize::try_from(range.start + 20).expect("small");
    bad[middle] ^= 0xff;
    let report = checked(&bad);
    assert!(codes(&report).iter().all(|code| ["OCI016", "OCI025", "OCI026", "OCI040"].contains(code)), "{report:?}");
    assert!(report.has_errors());
}

#[test]
fn our_own_images_are_clean() {
    let report = checked(&bytes(&overlay()));
    assert!(report.is_empty(), "{report:?}");
}

fn layout(folder: &Path) -> Report {
    struct Folder(std::path::PathBuf);
    impl ocipack::BlobSource for Folder {
        fn blob(&self, digest: &imgcore::Digest) -> std::io::Result<Option<Blob>> {
            let bytes = testkit::read(self.0.join("blobs/sha256").join(digest.hex()));
            Ok(Some(Blob::new(digest.to_string(), Arc::new(bytes), None)))
        }
    }
    let options = lint::Options::default();
    let index = testkit::read(folder.join("index.json"));
    let (view, mut report) = read::open_layout(index, &Folder(folder.to_owned()), options.reader());
    report.extend(lint::check(&view.expect("a layout"), &[]));
    report
}

#[test]
fn images_of_umoci_and_skopeo_are_clean() {
    let (Some(umoci), Some(skopeo)) = (tool("umoci"), tool("skopeo")) else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name);
    let (made, tree) = (path("made"), path("tree"));
    std::fs::create_dir_all(tree.join("bin")).expect("a temporary folder takes folders");
    save(&tree.join("bin/hello"), b"#!/bin/sh\n");
    run(Command::new("chmod").arg("755").arg(tree.join("bin/hello")));
    let named = format!("{}:v1", made.display());
    run(Command::new(&umoci).arg("init").arg("--layout").arg(&made));
    run(Command::new(&umoci).args(["new", "--image", &named]));
    run(Command::new(&umoci).args(["insert", "--rootless", "--image", &named]).arg(tree.join("bin")).arg("/bin"));
    run(Command::new(&umoci).args(["insert", "--rootless", "--image", &named]).arg(tree.join("bin")).arg("/usr/bin"));
    run(Command::new(&umoci).args(["insert", "--rootless", "--image", &named, "--whiteout", "/usr/bin/hello"]));
    run(Command::new(&umoci).args(["config", "--image", &named, "--config.entrypoint", "/bin/hello"]));
    let report = layout(&made);
    assert!(
        !report.iter().any(|finding| finding.severity >= imgcore::Severity::Warning && finding.code != "OCI041"),
        "{report:?}"
    );

    // What deletes what is told by the layers.
    let oci = path("umoci.tar");
    let copy = |from: &str, to: &str| run(Command::new(&skopeo).args(["--insecure-policy", "copy", from, to]));
    copy(&format!("oci:{named}"), &format!("oci-archive:{}:v1", oci.display()));
    copy(&format!("oci:{named}"), &format!("docker-archive:{}:a/b:v1", path("docker.tar").display()));
    for file in [oci, path("docker.tar")] {
        let data: Arc<dyn imgcore::ReadAt> = Arc::new(testkit::read(&file));
        let (view, report) = lint::lint(data, &lint::Options::default());
        let wrong: Vec<_> = report.iter().filter(|finding| !["OCI041", "OCI023"].contains(&finding.code)).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
        let (layers, _) = layers::of(&view.expect("an archive"));
        let shown = layers.to_string();
        assert!(shown.contains("- 0755        10 B  usr/bin/hello  of layer 1"), "{shown}");
        assert!(shown.contains("hides 1 file (10 B) of lower layers"), "{shown}");
    }

    // An image on this base is one to them.
    let base = read::open(Arc::new(testkit::read(path("docker.tar")))).0.expect("an archive");
    let base = ocipack::Base::of(&base.images[0]).expect("a base");
    let top = layer::build(&[text("etc/motd", "hello")], EPOCH).expect("valid");
    let platform = base.platform().expect("named");
    let derived = Image::on(&base, &platform, vec![top], EPOCH).expect("for its own platform");
    let options = archive::Options { shape: archive::Shape::Manifests, ..common::options() };
    let file = path("derived.tar");
    save(&file, &bytes(&archive::plan(&[derived], &options).expect("valid")));
    let report = checked(&testkit::read(&file));
    assert!(!report.iter().any(|finding| finding.code != "OCI041"), "{report:?}");
    let unpacked = path("derived");
    copy(&format!("oci-archive:{}", file.display()), &format!("oci:{}:v1", unpacked.display()));
    let bundle = path("bundle");
    let image = format!("{}:v1", unpacked.display());
    run(Command::new(&umoci).args(["unpack", "--rootless", "--image", &image]).arg(&bundle));
    assert_eq!(testkit::read(bundle.join("rootfs/etc/motd")), b"hello");
    assert_eq!(testkit::read(bundle.join("rootfs/bin/hello")), b"#!/bin/sh\n");
    assert!(!bundle.join("rootfs/usr/bin/hello").exists());
    let stat: Value =
        serde_json::from_str(&run(Command::new(&umoci).args(["stat", "--json", "--image", &image]))).expect("JSON");
    let lines = stat["history"].as_array().expect("a list");
    assert_eq!(lines.iter().filter(|line| line["empty_layer"] != json!(true)).count(), 4, "{stat}");
    copy(&format!("docker-archive:{}", file.display()), &format!("dir:{}", path("loaded").display()));

    // Through a registry and back, in the specification's words and in Docker's.
    let Some(registry) = testkit::registry::Registry::start(testkit::registry::Door::Plain) else { return };
    for format in ["oci", "v2s2"] {
        let (there, back) = (format!("docker://{}/a/b:{format}", registry.host()), path(&format!("{format}.tar")));
        let tls = ["--src-tls-verify=false", "--dest-tls-verify=false", "--insecure-policy"];
        let copy =
            |arguments: [&str; 3]| run(Command::new(&skopeo).arg(tls[2]).arg("copy").args(&tls[..2]).args(arguments));
        copy([&format!("--format={format}"), &format!("oci-archive:{}", file.display()), &there]);
        copy(["--preserve-digests", &there, &format!("dir:{}", path(&format!("{format}-dir")).display())]);
        copy(["--quiet", &there, &format!("oci-archive:{}:v1", back.display())]);
        let report = checked(&testkit::read(&back));
        assert!(!report.iter().any(|finding| finding.code != "OCI041"), "{format}: {report:?}");
    }
}

/// Bases and installer images of the upstream imager, which are described by their layers and their configuration.
#[test]
fn the_reference_images_are_clean_and_can_be_built_on() {
    let Some(reference) = testkit::reference() else { return };
    let found = std::fs::read_dir(reference.join("in")).expect("a folder").flatten().map(|entry| entry.path());
    let bases: Vec<_> = found.filter(|path| path.join("index.json").exists()).collect();
    assert!(bases.len() >= 2, "{bases:?}");
    for base in &bases {
        let report = layout(base);
        assert!(report.is_empty(), "{}: {report:?}", base.display());
    }
    let cases = std::fs::read_dir(reference.join("shared")).expect("a folder").flatten().map(|entry| entry.path());
    let mut count = 0;
    for case in cases.filter(|path| path.join("unpacked/layer-0.tar").exists()) {
        let description: Value =
            serde_json::from_slice(&testkit::read(case.join("description.json"))).expect("a description");
        let mut crafted = Crafted::default();
        let config = crafted.json(media::DOCKER_CONFIG, &description["config"]);
        let layers: Vec<_> = (0..description["layers"].as_array().map_or(0, Vec::len))
            .map(|index| testkit::read(case.join(format!("unpacked/layer-{index}.tar"))))
            .map(|tar| crafted.descriptor(media::DOCKER_LAYER, tar))
            .collect();
        let manifest =
            json!({ "schemaVersion": 2, "mediaType": media::DOCKER_MANIFEST, "config": config, "layers": layers });
        let manifest = crafted.json(media::DOCKER_MANIFEST, &manifest);
        let archive = crafted.archive(&[manifest]);
        let report = checked(&archive);
        assert!(report.is_empty(), "{}: {report:?}", case.display());
        let (view, _) = read::open(shared(&archive));
        let base = ocipack::Base::of(&view.expect("an archive").images[0]).expect("a base");
        assert!(base.verify().is_empty(), "{}", case.display());
        count += 1;
    }
    assert!(count >= 2, "{count}");
}

/// What a registry has taken in and handed out again says the same.
#[test]
fn what_docker_save_writes_of_an_old_age_is_clean() {
    let tars = [
        common::tar(&[common::dir("etc/"), common::file("etc/motd", "1")]),
        common::tar(&[common::file("etc/.wh.motd", "")]),
    ];
    let ids: Vec<_> = tars.iter().map(|tar| imgcore::Digest::of(tar).to_string()).collect();
    let config = json!({
        "architecture": "amd64", "os": "linux", "created": "2016-01-02T03:04:05.678901234Z", "docker_version": "1.10.3",
        "container": "f00", "container_config": { "Hostname": "f00", "Cmd": ["/bin/sh"] }, "parent": "sha256:00",
        "config": { "Hostname": "", "Cmd": null, "Volumes": null, "Labels": null, "Env": ["PATH=/bin"], "User": "" },
        "rootfs": { "type": "layers", "diff_ids": ids }, "history": [{ "created_by": "a" }, { "created_by": "b" }]
    })
    .to_string();
    let name = format!("{}.json", imgcore::Digest::of(config.as_bytes()).hex());
    let manifest =
        json!([{ "Config": name, "RepoTags": ["a/b:v1"], "Layers": ["1/layer.tar", "2/layer.tar"] }]).to_string();
    let members: [(&str, &[u8]); 6] = [
        (&name, config.as_bytes()),
        ("1/VERSION", b"1.0"),
        ("1/layer.tar", &tars[0]),
        ("2/layer.tar", &tars[1]),
        ("repositories", b"{}"),
        ("manifest.json", manifest.as_bytes()),
    ];
    let archive = Crafted::default().archive_with(&members);
    let report = checked(&archive);
    assert!(report.is_empty(), "{report:?}");
    let (view, _) = read::open(shared(&archive));
    let base = ocipack::Base::of(&view.expect("an archive").images[0]).expect("a base");
    let amd64 = Platform::new("linux", "amd64");
    let top = layer::build(&[text("etc/issue", "hello")], EPOCH).expect("valid");
    let derived = written(&[Image::on(&base, &amd64, vec![top], EPOCH).expect("for amd64")]);
    let report = checked(&derived);
    assert!(report.is_empty(), "{report:?}");
}
