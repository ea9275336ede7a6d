//! Whole images to and from a real registry, held against skopeo.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test stops where its helpers do")]

mod common;

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use common::{Inputs, World, result, xtask};
use serde_json::Value;
use testkit::{
    registry::{Door, Registry},
    run, tool,
};

/// A registry, a store, the demo's overlay image, and skopeo.
struct Bench {
    world: World,
    registry: Registry,
    skopeo: PathBuf,
}

impl Bench {
    fn new() -> Option<Self> {
        let (skopeo, registry) = (tool("skopeo")?, Registry::start(Door::Plain)?);
        let bench = Self { world: World::new(Inputs::demo()), registry, skopeo };
        let mut command = xtask();
        command.args(["overlay", "demo", "--json"]);
        command.arg("-o").arg(bench.world.path("out")).arg("--cache-dir").arg(bench.cache());
        bench.world.stand_ins(&mut command);
        run(&mut command);
        Some(bench)
    }

    fn cache(&self) -> PathBuf {
        self.world.path("cache")
    }

    fn overlay(&self) -> PathBuf {
        self.world.path("out/overlay.tar")
    }

    fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.registry.host())
    }

    fn command(&self, cache: &Path, words: &[&str]) -> Command {
        let mut command = xtask();
        command.args(words).args(["--plain-http", &self.registry.host()]).arg("--cache-dir").arg(cache);
        command.env_remove("CI").env("DOCKER_CONFIG", self.world.path("no-config"));
        command.current_dir(self.world.path(""));
        command
    }

    fn push_from(&self, cache: &Path, what: &Path, name: &str, more: &[&str]) -> Command {
        let mut words = vec!["push", what.to_str().unwrap()];
        let reference = self.reference(name);
        words.push(&reference);
        words.extend(more);
        self.command(cache, &words)
    }

    fn push(&self, what: &Path, name: &str) -> Value {
        result(&mut self.push_from(&self.cache(), what, name, &["--json"]))
    }

    fn skopeo(&self, words: &[&str]) -> String {
        run(Command::new(&self.skopeo).arg("--insecure-policy").args(words))
    }

    fn raw(&self, name: &str) -> String {
        self.skopeo(&["inspect", "--tls-verify=false", "--raw", &format!("docker://{}", self.reference(name))])
    }

    /// Another image: the overlay of the same board with other words in it.
    fn other(&self, number: usize) -> PathBuf {
        let folder = self.world.path(&format!("other-{number}"));
        let text = String::from_utf8(testkit::read(testkit::workspace().join("boards/demo.toml"))).unwrap();
        let fixtures = testkit::workspace().join("fixtures/demo");
        let text = text.replace("../fixtures/demo", fixtures.to_str().unwrap()).replace("dir:../", "dir:");
        let argument = format!("kernel-args = [\"talos.number={number}\", ");
        let text = text.replacen("kernel-args = [", &argument, 1);
        assert!(text.contains("talos.number"), "{text}");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("demo.toml"), text).unwrap();
        let mut command = xtask();
        command.arg("overlay").arg(folder.join("demo.toml")).arg("--json");
        command.arg("-o").arg(&folder).arg("--cache-dir").arg(self.cache());
        self.world.stand_ins(&mut command);
        run(&mut command);
        folder.join("overlay.tar")
    }
}

fn platforms(index: &str) -> Vec<String> {
    let index: Value = serde_json::from_str(index).unwrap();
    assert_eq!(index["mediaType"], "application/vnd.oci.image.index.v1+json");
    let text = |platform: &Value, key: &str| platform[key].as_str().unwrap_or_default().to_owned();
    let platforms = index["manifests"].as_array().unwrap().iter().map(|entry| &entry["platform"]);
    platforms.map(|platform| format!("{}/{}", text(platform, "os"), text(platform, "architecture"))).collect()
}

#[track_caller]
fn refused(output: &Output, code: i32, words: &[&str]) {
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{text}");
    for word in words {
        assert!(text.contains(word), "{word:?} is not in {text}");
    }
}

/// Names and bytes of all blobs of an OCI layout.
fn blobs(layout: &Path) -> Vec<(String, Vec<u8>)> {
    let folder = layout.join("blobs/sha256");
    let mut blobs: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), testkit::read(&path)))
        .collect();
    blobs.sort();
    blobs
}

#[test]
fn the_registry_holds_an_index_of_both_platforms() {
    let Some(bench) = Bench::new() else { return };
    let both = ["linux/amd64", "linux/arm64"];
    let pushed = bench.push(&bench.overlay(), "overlay:v1");
    assert_eq!(pushed["reference"], bench.reference(&format!("overlay@{}", pushed["digest"].as_str().unwrap())));
    assert_eq!((&pushed["manifests"]["uploaded"], &pushed["machineInstallImage"]), (&3.into(), &Value::Null));
    assert!(pushed["blobs"]["uploaded"].as_u64() > Some(2) && pushed["bytes"].as_u64() > Some(0));
    let ours = bench.raw("overlay:v1");
    assert_eq!(platforms(&ours), both);
    assert_eq!(pushed["digest"], boardbuild::Digest::of(ours.as_bytes()).to_string());
    // The bytes are those of the archive.
    let archive = format!("oci-archive:{}", bench.overlay().display());
    assert_eq!(bench.skopeo(&["inspect", "--raw", &archive]), ours);

    let target = format!("docker://{}", bench.reference("by-skopeo:v1"));
    bench.skopeo(&["copy", "--all", "--dest-tls-verify=false", &archive, &target]);
    assert_eq!(platforms(&bench.raw("by-skopeo:v1")), both);
    assert_eq!(bench.raw("by-skopeo:v1"), ours);

    // A second push finds everything, and sends nothing.
    let before = bench.registry.log();
    let again = bench.push(&bench.overlay(), "overlay:v1");
    assert_eq!(again["nothingToDo"], true);
    assert_eq!((&again["blobs"]["uploaded"], &again["bytes"]), (&0.into(), &0.into()));
    let log = bench.registry.log();
    let later = log.strip_prefix(&before).unwrap();
    for method in ["POST", "PUT", "PATCH", "GET"] {
        assert!(!later.contains(&format!("http.request.method={method}")), "{later}");
    }
    // Into another repository blobs are mounted.
    let mounted = bench.push(&bench.overlay(), "elsewhere:v1");
    assert_eq!(mounted["blobs"]["uploaded"], 0, "{mounted}");
    assert!(mounted["blobs"]["mounted"].as_u64() > Some(2), "{mounted}");
}

#[test]
fn what_skopeo_gives_and_what_we_give_is_the_same_digest_for_digest() {
    let Some(bench) = Bench::new() else { return };
    bench.push(&bench.overlay(), "overlay:v1");
    let layout = bench.world.path("theirs");
    let source = format!("docker://{}", bench.reference("overlay:v1"));
    bench.skopeo(&["copy", "--all", "--src-tls-verify=false", &source, &format!("oci:{}:v1", layout.display())]);

    let fresh = bench.world.path("fresh");
    let reference = bench.reference("overlay:v1");
    let pulled = result(&mut bench.command(&fresh, &["pull", &reference, "--json"]));
    let file = bench.world.path("overlay-v1.tar");
    assert_eq!(pulled["file"]["path"], "overlay-v1.tar");
    let unpacked = bench.world.path("ours");
    std::fs::create_dir_all(&unpacked).unwrap();
    run(Command::new("tar").arg("-xf").arg(&file).arg("-C").arg(&unpacked));
    let (ours, theirs) = (blobs(&unpacked), blobs(&layout));
    assert_eq!(ours, theirs);
    for (name, bytes) in &ours {
        assert_eq!(boardbuild::Digest::of(bytes).hex(), *name);
    }
    // skopeo, and Docker's form of it, read our archive.
    let archive = format!("oci-archive:{}", file.display());
    assert_eq!(bench.skopeo(&["inspect", "--raw", &archive]), bench.raw("overlay:v1"));
    bench.skopeo(&["inspect", &format!("docker-archive:{}", file.display())]);
    // Our archive pushes what was pulled.
    let pushed = bench.push(&file, "round:v1");
    assert_eq!(pushed["digest"], pulled["digest"]);

    // By digest everything is there: no registry is needed.
    let by_digest = pulled["reference"].as_str().unwrap();
    let offline = result(&mut bench.command(&fresh, &["pull", by_digest, "--offline", "--json", "-o", "again.tar"]));
    assert_eq!((&offline["blobs"]["downloaded"], &offline["bytes"]), (&0.into(), &0.into()));
    // One platform alone.
    let words = ["pull", by_digest, "--platform", "linux/arm64", "--json", "-o", "arm64.tar"];
    let one = result(&mut bench.command(&fresh, &words));
    assert_eq!(one["platforms"], serde_json::json!(["linux/arm64"]));
    let seen = bench.skopeo(&["inspect", &format!("oci-archive:{}", bench.world.path("arm64.tar").display())]);
    assert_eq!(serde_json::from_str::<Value>(&seen).unwrap()["Architecture"], "arm64");
    let words = ["pull", by_digest, "--platform", "linux/riscv64"];
    refused(&bench.command(&fresh, &words).output().unwrap(), 3, &["REG007", "linux/amd64, linux/arm64"]);
    let words = ["pull", &bench.reference("overlay:v9")];
    refused(&bench.command(&fresh, &words).output().unwrap(), 3, &["NET003"]);

    // What is in the store goes out by digest: the index, a manifest, and the archive by its own.
    let digest = pulled["digest"].as_str().unwrap();
    assert_eq!(
        result(&mut bench.push_from(&fresh, Path::new(digest), "by-digest:v1", &["--json"]))["digest"],
        pulled["digest"]
    );
    let archive = boardbuild::Digest::of(&testkit::read(&file)).to_string();
    bench.push(&file, "twice:v1");
    let pushed = bench.push(Path::new(&archive), "twice:v2");
    assert_eq!(pushed["digest"], pulled["digest"]);
    let nowhere = boardbuild::Digest::of(b"nothing").to_string();
    let output = bench.push_from(&fresh, Path::new(&nowhere), "x:v1", &[]).output().unwrap();
    refused(&output, 3, &["REG008"]);
    // And the layout of skopeo.
    let layout = format!("oci:{}", layout.display());
    assert_eq!(bench.push(Path::new(&layout), "layout:v1")["digest"], pulled["digest"]);
}

#[test]
fn a_tag_is_not_moved_by_accident() {
    let Some(bench) = Bench::new() else { return };
    let first = bench.push(&bench.overlay(), "overlay:v1");
    let other = bench.other(1);
    let output = bench.push_from(&bench.cache(), &other, "overlay:v1", &[]).output().unwrap();
    refused(&output, 1, &["REG001", first["digest"].as_str().unwrap(), "--force"]);
    assert!(!bench.registry.log().contains("talos.number"));
    assert_eq!(boardbuild::Digest::of(bench.raw("overlay:v1").as_bytes()).to_string(), first["digest"]);
    let forced = result(&mut bench.push_from(&bench.cache(), &other, "overlay:v1", &["--force", "--json"]));
    assert_eq!(forced["before"], first["digest"]);
    assert_eq!(boardbuild::Digest::of(bench.raw("overlay:v1").as_bytes()).to_string(), forced["digest"]);

    // By digest alone nothing can be moved, and the digest must be the image's.
    let by_digest = format!("overlay@{}", first["digest"].as_str().unwrap());
    assert_eq!(bench.push(&bench.overlay(), &by_digest)["nothingToDo"], false);
    refused(&bench.push_from(&bench.cache(), &other, &by_digest, &[]).output().unwrap(), 3, &["REG006"]);

    for (name, word) in [("overlay", "no tag and no digest"), ("over lay:v1", "no reference")] {
        let output = bench.push_from(&bench.cache(), &bench.overlay(), name, &[]).output().unwrap();
        refused(&output, 2, &[word]);
    }
    let scheme = format!("http://{}", bench.reference("overlay:v1"));
    let words = ["push", bench.world.path("out/overlay.tar").to_str().unwrap(), &scheme].map(str::to_owned);
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    refused(&bench.command(&bench.cache(), &words).output().unwrap(), 2, &["scheme"]);
}

#[test]
fn nothing_is_sent_of_what_is_damaged_or_incomplete() {
    let Some(bench) = Bench::new() else { return };
    let good = testkit::read(bench.overlay());
    let middle = good.len() / 2;
    let mut flipped = good.clone();
    flipped[middle] ^= 1;
    let damaged = bench.world.path("damaged.tar");
    for (name, bytes) in [("flipped", flipped), ("cut", good[..middle].to_vec()), ("empty", Vec::new())] {
        std::fs::write(&damaged, bytes).unwrap();
        let output = bench.push_from(&bench.cache(), &damaged, "bad:v1", &[]).output().unwrap();
        refused(&output, 3, &["REG003"]);
        assert!(!bench.registry.log().contains("/v2/bad/"), "{name}");
    }
    let output = bench.push_from(&bench.cache(), &bench.world.path("absent.tar"), "bad:v1", &[]).output().unwrap();
    refused(&output, 3, &["SRC001"]);
    let mut command = bench.command(&bench.cache(), &["push", bench.overlay().to_str().unwrap(), "127.0.0.1:1/a:v1"]);
    command.args(["--plain-http", "127.0.0.1:1"]);
    refused(&command.output().unwrap(), 4, &["NET001"]);
}

#[test]
fn an_image_that_docker_saved_can_be_pushed() {
    let Some(bench) = Bench::new() else { return };
    let saved = bench.world.path("saved.tar");
    bench.skopeo(&[
        "--override-arch",
        "arm64",
        "copy",
        &format!("oci-archive:{}", bench.overlay().display()),
        &format!("docker-archive:{}:demo/overlay:v1", saved.display()),
    ]);
    let pushed = bench.push(&saved, "saved:v1");
    assert_eq!(pushed["mediaType"], "application/vnd.docker.distribution.manifest.v2+json");
    let seen: Value = serde_json::from_str(&bench.skopeo(&[
        "inspect",
        "--tls-verify=false",
        &format!("docker://{}", bench.reference("saved:v1")),
    ]))
    .unwrap();
    assert_eq!(seen["Architecture"], "arm64");
    bench.skopeo(&[
        "copy",
        "--src-tls-verify=false",
        &format!("docker://{}", bench.reference("saved:v1")),
        &format!("oci:{}:v1", bench.world.path("back").display()),
    ]);
    assert_eq!(bench.push(&saved, "saved:v1")["nothingToDo"], true);
}

#[test]
fn an_installer_image_gets_its_line_for_the_machine_configuration() {
    let (Some(bench), Some(umoci)) = (Bench::new(), tool("umoci")) else { return };
    let layout = format!("{}:v1", bench.world.path("installer").display());
    let source = format!("oci-archive:{}", bench.overlay().display());
    bench.skopeo(&["--override-arch", "arm64", "copy", &source, &format!("oci:{layout}")]);
    run(Command::new(umoci).args(["config", "--image", &layout, "--config.entrypoint", "/bin/installer"]));
    let what = PathBuf::from(format!("oci:{layout}"));
    let pushed = bench.push(&what, "installer:v1");
    assert_eq!(pushed["machineInstallImage"], pushed["reference"]);
    let text = run(&mut bench.push_from(&bench.cache(), &what, "installer:v1", &[]));
    let line = format!("machine.install.image: {}\n", pushed["reference"].as_str().unwrap());
    assert!(text.ends_with(&line), "{text}");
}

#[test]
fn eight_pushes_of_one_tag_at_once() {
    let Some(bench) = Bench::new() else { return };
    let spawn = |what: &Path, name: &str| {
        let mut command = bench.push_from(&bench.cache(), what, name, &["--json"]);
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
        command.spawn().unwrap()
    };
    let same: Vec<_> = (0..8).map(|_| spawn(&bench.overlay(), "same:v1")).collect();
    let mut uploads = 0;
    for child in same {
        let output = child.wait_with_output().unwrap();
        let object: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(0), "{object}");
        uploads += object["result"]["blobs"]["uploaded"].as_u64().unwrap();
    }
    // Each blob travelled once.
    assert_eq!(uploads, bench.push(&bench.overlay(), "same:v1")["blobs"]["skipped"].as_u64().unwrap());

    let others: Vec<_> = (0..8).map(|number| bench.other(number)).collect();
    let children: Vec<_> = others.iter().map(|other| spawn(other, "one:v1")).collect();
    let mut winners = Vec::new();
    for child in children {
        let output = child.wait_with_output().unwrap();
        let object: Value = serde_json::from_slice(&output.stdout).unwrap();
        if output.status.success() {
            winners.push(object["result"]["digest"].as_str().unwrap().to_owned());
        } else {
            assert_eq!((output.status.code(), &object["findings"][0]["code"]), (Some(1), &"REG001".into()), "{object}");
        }
    }
    assert_eq!(winners, [boardbuild::Digest::of(bench.raw("one:v1").as_bytes()).to_string()]);
}
