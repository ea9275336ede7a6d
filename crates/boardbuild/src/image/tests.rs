//! Images of foreign tools and of our own, sound and hostile.
#![allow(clippy::disallowed_methods, reason = "tests make folders of their own")]

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::Command,
};

use imgcore::{Digest, NoProgress};
use ocipack::{Platform, media};
use serde_json::{Value, json};

use testkit::registry::{Door, Registry};

use super::{
    Opened, Place, Resolved, Taken, files, identity, limits, open_local, open_reference, reference_identity, resolve,
};
use crate::{
    Context, Error, Exit, Home, Lock, LockedImage, Network, NetworkOptions, Store,
    error::Result,
    image_source::{self, Ask},
};

const KERNEL: &str = "usr/install/arm64/vmlinuz";

/// A store and a folder for images.
struct Bench {
    home: tempfile::TempDir,
    store: Store,
    place: Home,
    network: Network,
}

impl Bench {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(&home.path().join("store")).unwrap();
        let place = Home { root: home.path().to_path_buf(), boards: home.path().join("boards") };
        Self {
            home,
            store,
            place,
            network: Network::new(NetworkOptions { offline: true, ..NetworkOptions::default() }),
        }
    }

    /// May speak to one registry.
    fn online(registry: &Registry) -> Self {
        let plain_http = vec![registry.host()];
        let network = Network::new(NetworkOptions { plain_http, ..NetworkOptions::default() });
        Self { network, ..Self::new() }
    }

    fn offline(self) -> Self {
        Self { network: Network::new(NetworkOptions { offline: true, ..NetworkOptions::default() }), ..self }
    }

    fn context(&self) -> Context<'_> {
        Context { home: &self.place, store: &self.store, network: &self.network, progress: &NoProgress }
    }

    fn resolve(&self, reference: &str, lock: &Lock, locked: bool) -> Result<Resolved> {
        resolve(&self.context(), reference, &Platform::new("linux", "arm64"), lock, locked)
    }

    fn pull(&self, reference: &str, lock: &Lock, paths: &[&str]) -> Result<Vec<String>> {
        let (context, platform) = (self.context(), Platform::new("linux", "arm64"));
        let resolved = self.resolve(reference, lock, false)?;
        let open = || open_reference(&context, reference, &resolved, &platform, &limits(None));
        let taken = files(&context, &reference_identity(&resolved), &platform, paths, open)?;
        Ok(taken.iter().map(text).collect())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn take_from(&self, place: &str, paths: &[&str]) -> Result<Vec<Taken>> {
        let context = self.context();
        let platform = Platform::new("linux", "arm64");
        let (path, tag) = match Place::parse("--base", place, Some(self.home.path()))? {
            Place::Layout { folder, tag } => (folder, tag),
            Place::Archive { file, tag } => (file, tag),
            other => panic!("{other}"),
        };
        let identity = identity(&path, tag.as_deref(), &context)?;
        let open = || -> Result<Opened> { open_local(&path, tag.as_deref(), &platform, &limits(None), &context) };
        files(&context, &identity, &platform, paths, open)
    }

    fn texts(&self, place: &str, paths: &[&str]) -> Vec<String> {
        self.take_from(place, paths).unwrap_or_else(|error| panic!("{place}: {error}")).iter().map(text).collect()
    }

    fn refusal(&self, place: &str, paths: &[&str]) -> Error {
        self.take_from(place, paths).map(|taken| panic!("{place}: {taken:?}")).unwrap_err()
    }

    fn blobs(&self) -> u64 {
        self.store.stats().unwrap().blobs
    }
}

fn text(taken: &Taken) -> String {
    match taken {
        Taken::File(blob) => String::from_utf8_lossy(&blob.read_all(1 << 20).unwrap()).into_owned(),
        Taken::Other(what) => format!("({what})"),
        Taken::Missing(near) => format!("-{}", near.as_deref().unwrap_or_default()),
    }
}

/// One entry of a tar: kind, name, link target, data.
type Entry<'a> = (u8, &'a str, &'a str, &'a [u8]);

fn file<'a>(name: &'a str, data: &'a str) -> Entry<'a> {
    (b'0', name, "", data.as_bytes())
}

fn dir(name: &str) -> Entry<'_> {
    (b'5', name, "", b"")
}

/// A tar as anybody could write it.
fn tar(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (kind, name, target, data) in entries {
        if name.len() > 100 {
            block(&mut bytes, b'L', "././@LongLink", "", name.as_bytes());
        }
        block(&mut bytes, *kind, name, target, data);
    }
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

fn block(bytes: &mut Vec<u8>, kind: u8, name: &str, target: &str, data: &[u8]) {
    let mut header = [0; 512];
    let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
    put(0, &name.as_bytes()[..name.len().min(100)]);
    put(100, if kind == b'5' { b"0000755\0" } else { b"0000644\0" });
    put(108, b"0000000\0");
    put(116, b"0000000\0");
    put(124, format!("{:011o}\0", data.len()).as_bytes());
    put(136, b"00000000001\0");
    put(148, b"        ");
    put(156, &[kind]);
    put(157, target.as_bytes());
    put(257, b"ustar  \0");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    bytes.extend_from_slice(&header);
    bytes.extend_from_slice(data);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// An OCI layout in a folder, written by hand.
struct Layout {
    folder: PathBuf,
    manifests: Vec<Value>,
}

impl Layout {
    fn new(folder: PathBuf) -> Self {
        std::fs::create_dir_all(folder.join("blobs/sha256")).unwrap();
        std::fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
        Self { folder, manifests: Vec::new() }
    }

    fn blob(&self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = Digest::of(bytes);
        std::fs::write(self.blob_path(&digest.to_string()), bytes).unwrap();
        json!({ "mediaType": media_type, "digest": digest.to_string(), "size": bytes.len() })
    }

    fn blob_path(&self, digest: &str) -> PathBuf {
        self.folder.join("blobs/sha256").join(digest.trim_start_matches("sha256:"))
    }

    /// Adds an image of these tars; the paths of its layers.
    fn image(&mut self, arch: &str, tag: Option<&str>, platform: bool, tars: &[Vec<u8>]) -> Vec<PathBuf> {
        let diff_ids: Vec<_> = tars.iter().map(|tar| Digest::of(tar).to_string()).collect();
        let config = json!({ "architecture": arch, "os": "linux", "config": {},
            "rootfs": { "type": "layers", "diff_ids": diff_ids } });
        let config = self.blob(media::CONFIG, config.to_string().as_bytes());
        let layers: Vec<_> = tars.iter().map(|tar| self.blob(media::LAYER_GZIP, &gzip(tar))).collect();
        let paths = layers.iter().map(|layer| self.blob_path(layer["digest"].as_str().unwrap())).collect();
        let manifest = json!({ "schemaVersion": 2, "mediaType": media::MANIFEST, "config": config, "layers": layers });
        let mut descriptor = self.blob(media::MANIFEST, manifest.to_string().as_bytes());
        if platform {
            descriptor["platform"] = json!({ "os": "linux", "architecture": arch });
        }
        if let Some(tag) = tag {
            descriptor["annotations"] = json!({ "org.opencontainers.image.ref.name": tag });
        }
        self.manifests.push(descriptor);
        let index = json!({ "schemaVersion": 2, "manifests": self.manifests });
        std::fs::write(self.folder.join("index.json"), index.to_string()).unwrap();
        paths
    }
}

/// Twelve layers: files come, go, come again, folders are emptied.
fn twelve() -> Vec<Vec<u8>> {
    let base = "usr/install/arm64";
    let name = |file: &str| format!("{base}/{file}");
    let (k, i, b, s, splash) =
        (name("vmlinuz"), name("initramfs.xz"), name("systemd-boot.efi"), name("systemd-stub.efi"), name("splash.bmp"));
    let (gone, opaque) = (name(".wh.initramfs.xz"), name(".wh..wh..opq"));
    let folders = [dir("usr"), dir("usr/install"), dir(base)];
    let with = |more: &[Entry<'_>]| tar(&[&folders[..], more].concat());
    vec![
        with(&[file(&k, "kernel 0"), file(&i, "initramfs 0"), file(&b, "boot 0"), file(&splash, "splash 0")]),
        with(&[file(&s, "stub 1")]),
        with(&[file(&gone, "")]),
        tar(&[dir("lib"), file("lib/libip6t_HL.so", "1"), file("lib/libip6t_hl.so", "2")]),
        with(&[file(&opaque, ""), file(&k, "kernel 4"), file(&i, "initramfs 4")]),
        with(&[file(&s, "stub 5")]),
        tar(&[file(".wh.lib", "")]),
        with(&[file(&b, "boot 7")]),
        with(&[file(&k, "kernel 8")]),
        tar(&[dir("etc"), file("etc/os-release", "x")]),
        with(&[(b'1', &s, &k, b"")]),
        tar(&[dir("tmp")]),
    ]
}

const WANTED: [&str; 5] = [
    KERNEL,
    "usr/install/arm64/initramfs.xz",
    "usr/install/arm64/systemd-boot.efi",
    "usr/install/arm64/systemd-stub.efi",
    "usr/install/arm64/splash.bmp",
];

fn skopeo(from: &str, to: &str) -> Option<()> {
    let mut command = Command::new(testkit::tool("skopeo")?);
    testkit::run(command.args(["--insecure-policy", "copy", from, to]));
    Some(())
}

#[test]
fn twelve_layers_give_what_umoci_unpacks_in_every_form() {
    let bench = Bench::new();
    let folder = bench.path("layout");
    let layers = Layout::new(folder.clone()).image("arm64", Some("v1"), true, &twelve());
    let expected = ["kernel 8", "initramfs 4", "boot 7", "kernel 8", "-usr/install/arm64/vmlinuz"];
    let found = bench.texts("oci:layout", &WANTED);
    assert_eq!(found[..4], expected[..4]);
    assert!(found[4].starts_with('-'), "{found:?}");

    if let Some(umoci) = testkit::tool("umoci") {
        let bundle = bench.path("bundle");
        let image = format!("{}:v1", folder.display());
        testkit::run(Command::new(umoci).args(["unpack", "--rootless", "--image", &image]).arg(&bundle));
        for (path, expected) in WANTED.iter().zip(&expected).take(4) {
            assert_eq!(testkit::read(bundle.join("rootfs").join(path)), expected.as_bytes(), "{path}");
        }
        assert!(!bundle.join("rootfs").join(WANTED[4]).exists());
    }

    // What other programs make of it, packed once more.
    let source = format!("oci:{}:v1", folder.display());
    let archive = |form: &str, name: &str| format!("{form}:{}:imager:v1", bench.path(name).display());
    if skopeo(&source, &archive("oci-archive", "oci.tar")).is_some() {
        skopeo(&source, &archive("docker-archive", "docker.tar"));
        let docker = testkit::read(bench.path("docker.tar"));
        std::fs::write(bench.path("docker.tar.gz"), gzip(&docker)).unwrap();
        for place in [
            "oci-archive:oci.tar",
            "docker-archive:docker.tar",
            "docker-archive:docker.tar:imager:v1",
            "docker-archive:docker.tar.gz",
        ] {
            assert_eq!(bench.texts(place, &WANTED)[..4], expected[..4], "{place}");
        }
        let partial = bench.path("store/v1/partial");
        assert_eq!(std::fs::read_dir(partial).unwrap().count(), 0);
        let error = bench.refusal("docker-archive:docker.tar:v2", &WANTED).to_string();
        assert!(error.contains("SRC022") && error.contains("imager:v1"), "{error}");
    }

    // A second build reads no layer.
    for layer in layers {
        std::fs::remove_file(layer).unwrap();
    }
    assert_eq!(bench.texts("oci:layout", &WANTED)[..4], expected[..4]);
    // But another wish does.
    assert!(bench.refusal("oci:layout", &["etc/other"]).to_string().contains("is not there"));
}

#[test]
fn layers_that_decide_nothing_are_not_read() {
    let bench = Bench::new();
    let mut layout = Layout::new(bench.path("layout"));
    let layers = layout.image("arm64", None, true, &[tar(&[file("a", "low")]), tar(&[file(KERNEL, "kernel")])]);
    std::fs::remove_file(&layers[0]).unwrap();
    assert_eq!(bench.texts("oci:layout", &[KERNEL]), ["kernel"]);
    assert_eq!(bench.blobs(), 1);
}

#[test]
fn the_image_for_the_platform_is_taken_and_no_other() {
    let bench = Bench::new();
    let one = |text: &str| vec![tar(&[file(KERNEL, text)])];
    let mut both = Layout::new(bench.path("both"));
    both.image("amd64", Some("v1"), true, &one("amd64"));
    both.image("arm64", Some("v1"), true, &one("arm64"));
    assert_eq!(bench.texts("oci:both", &[KERNEL]), ["arm64"]);
    assert_eq!(bench.texts("oci:both:v1", &[KERNEL]), ["arm64"]);

    // Without a platform in the index, the configuration says it.
    let mut silent = Layout::new(bench.path("silent"));
    silent.image("arm64", None, false, &one("silent"));
    assert_eq!(bench.texts("oci:silent", &[KERNEL]), ["silent"]);

    for (name, platform) in [("wrong", true), ("wrong-silent", false)] {
        let mut wrong = Layout::new(bench.path(name));
        wrong.image("amd64", None, platform, &one("amd64"));
        let error = bench.refusal(&format!("oci:{name}"), &[KERNEL]);
        assert_eq!(error.exit(), Exit::Input);
        let text = error.to_string();
        assert!(text.contains("SRC020") && text.contains("linux/arm64; it has: linux/amd64"), "{text}");
    }

    let mut several = Layout::new(bench.path("several"));
    several.image("arm64", Some("v1"), true, &one("one"));
    several.image("arm64", Some("v2"), true, &one("two"));
    let text = bench.refusal("oci:several", &[KERNEL]).to_string();
    assert!(text.contains("SRC022") && text.contains("the tags v1, v2"), "{text}");
    assert_eq!(bench.texts("oci:several:v2", &[KERNEL]), ["two"]);
    let text = bench.refusal("oci:several:v3", &[KERNEL]).to_string();
    assert!(text.contains("SRC022") && text.contains("no image v3; it has: v1, v2"), "{text}");

    std::fs::create_dir(bench.path("nothing")).unwrap();
    assert!(bench.refusal("oci:nothing", &[KERNEL]).to_string().contains("SRC027"));
}

#[test]
fn what_is_missing_is_named_with_what_is_near() {
    let bench = Bench::new();
    let entries = [dir("usr"), file("usr/install/arm64/vmlinux", "x"), dir("usr/install/arm64/initramfs.xz")];
    Layout::new(bench.path("l")).image("arm64", None, true, &[tar(&entries)]);
    assert_eq!(
        bench.texts("oci:l", &[KERNEL, "usr/install/arm64/initramfs.xz"]),
        ["-usr/install/arm64/vmlinux", "(folder)"]
    );
}

/// Damages a layer's file.
type Change = fn(&Path);

#[test]
fn damage_and_lies_are_refused() {
    let zeros = vec![0; 300 << 20];
    let layer = tar(&[file(KERNEL, "kernel")]);
    let cut: Change = |path| {
        let bytes = testkit::read(path);
        std::fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
    };
    let lie: Change = |path| {
        let mut bytes = testkit::read(path);
        *bytes.last_mut().unwrap() ^= 1;
        std::fs::write(path, bytes).unwrap();
    };
    let none: Change = |_| {};
    let bomb = tar(&[file(KERNEL, "kernel"), (b'0', "zeros", "", &zeros)]);
    let cut_tar = layer[..600].to_vec();
    for (name, tar, change, code, exit) in [
        ("cut", &layer, cut, "OCI017", Exit::Input),
        ("lie", &layer, lie, "OCI016", Exit::Input),
        ("gone", &layer, (|path| std::fs::remove_file(path).unwrap()) as Change, "OCI015", Exit::Input),
        ("bomb", &bomb, none, "OCI027", Exit::Refused),
        ("cut-tar", &cut_tar, none, "OCI040", Exit::Refused),
    ] {
        let bench = Bench::new();
        let layers = Layout::new(bench.path(name)).image("arm64", None, true, std::slice::from_ref(tar));
        change(&layers[0]);
        let error = bench.refusal(&format!("oci:{name}"), &[KERNEL]);
        let text = error.to_string();
        assert!(text.contains(code) && text.contains("SRC023"), "{name}: {text}");
        assert_eq!(error.exit(), exit, "{name}: {text}");
    }
}

#[test]
fn hostile_entries_are_refused_by_name() {
    let long = format!("{}x", "d/".repeat(2100));
    let names: Vec<String> = (0..270_000).map(|number| format!("n{number}")).collect();
    let many: Vec<Entry<'_>> = names.iter().map(|name| file(name, "")).collect();
    for (entries, code, text) in [
        (vec![file("/etc/passwd", "x")], "OCI030", "/etc/passwd"),
        (vec![file("a/../../x", "x")], "OCI030", "a/../../x"),
        (vec![(b'2', "l", "/etc", &b""[..]), file("l/passwd", "x")], "OCI034", "l/passwd"),
        (vec![(b'1', "h", "../../etc/shadow", &b""[..])], "OCI035", "../../etc/shadow"),
        (vec![file(&long, "x")], "OCI031", "d/d/d"),
        (vec![file("USR/install/arm64/vmlinuz", "x"), file("Usr", "x")], "OCI038", "Usr"),
        (many, "OCI032", "n262144"),
    ] {
        let bench = Bench::new();
        Layout::new(bench.path("l")).image("arm64", None, true, &[tar(&entries)]);
        let error = bench.refusal("oci:l", &[KERNEL]);
        let found = error.to_string();
        assert!(found.contains(code) && found.contains(text) && found.contains("SRC023"), "{found}");
        assert_eq!((error.exit(), bench.blobs()), (Exit::Refused, 0));
    }
    // Devices and names that only case tells apart are in honest images.
    let bench = Bench::new();
    let honest = [(b'3', "dev/null", "", &b""[..]), file("a/X", "1"), file("a/x", "2"), file(KERNEL, "kernel")];
    Layout::new(bench.path("l")).image("arm64", None, true, &[tar(&honest)]);
    assert_eq!(bench.texts("oci:l", &[KERNEL]), ["kernel"]);
}

/// Sends what a layout's tag, or its whole index, names.
fn push(layout: &Path, tag: &str, to: &str, all: bool) -> Option<()> {
    let mut command = Command::new(testkit::tool("skopeo")?);
    command.args(["--insecure-policy", "copy", "--dest-tls-verify=false"]);
    if all {
        command.arg("--all");
    }
    testkit::run(command.arg(format!("oci:{}{tag}", layout.display())).arg(format!("docker://{to}")));
    Some(())
}

#[test]
fn a_registry_gives_the_locked_digest_and_only_the_layers_that_decide() {
    let Some(registry) = Registry::start(Door::Plain) else { return };
    let bench = Bench::online(&registry);
    let folder = bench.path("layout");
    let mut layout = Layout::new(folder.clone());
    layout.image("arm64", Some("v1"), true, &twelve());
    let manifest = layout.manifests[0]["digest"].as_str().unwrap().to_owned();
    let reference = format!("{}/siderolabs/imager:v1", registry.host());
    if push(&folder, ":v1", &reference, false).is_none() {
        return;
    }

    // Learned at first use; what is on top needs nothing below.
    assert!(bench.resolve(&reference, &Lock::default(), true).unwrap_err().to_string().contains("SRC004"));
    let resolved = bench.resolve(&reference, &Lock::default(), false).unwrap();
    let learned: LockedImage = resolved.learned.unwrap();
    assert_eq!((learned.digest.to_string(), learned.platform.as_str()), (manifest.clone(), "linux/arm64"));
    let mut lock = Lock::default();
    lock.set_image(learned.clone());
    assert_eq!(bench.pull(&reference, &lock, &["tmp"]).unwrap(), ["(folder)"]);
    let documents = 2;
    assert_eq!(bench.blobs(), documents + 1, "one layer was fetched");
    assert_eq!(bench.pull(&reference, &lock, &WANTED).unwrap()[..4], ["kernel 8", "initramfs 4", "boot 7", "kernel 8"]);

    // The tag moves, the lock does not.
    let other = bench.path("other");
    Layout::new(other.clone()).image("arm64", Some("v1"), true, &[tar(&[file(KERNEL, "moved")])]);
    push(&other, ":v1", &reference, false).unwrap();
    let fresh = Bench::online(&registry);
    assert_eq!(fresh.pull(&reference, &lock, &[KERNEL]).unwrap(), ["kernel 8"]);
    assert_eq!(fresh.pull(&reference, &Lock::default(), &[KERNEL]).unwrap(), ["moved"]);
    let by_digest = format!("{}/siderolabs/imager@{manifest}", registry.host());
    assert_eq!(fresh.pull(&by_digest, &Lock::default(), &[KERNEL]).unwrap(), ["kernel 8"]);

    // What is in the store needs no network; what is not is said.
    let fresh = fresh.offline();
    assert_eq!(fresh.pull(&reference, &lock, &[KERNEL]).unwrap(), ["kernel 8"]);
    assert!(
        fresh.pull(&reference, &lock, &["usr/install/arm64/splash.bmp"]).unwrap_err().to_string().contains("NET007")
    );
    assert!(fresh.pull(&reference, &Lock::default(), &[KERNEL]).unwrap_err().to_string().contains("NET007"));

    let small = LockedImage { size: learned.size - 1, ..learned.clone() };
    let mut lock = Lock::default();
    lock.set_image(small);
    let other = Bench::online(&registry);
    assert!(other.pull(&reference, &lock, &[KERNEL]).unwrap_err().to_string().contains("SRC002"));

    // A locked digest that is gone is never replaced by what the tag names.
    let mut gone = Lock::default();
    gone.set_image(LockedImage { digest: Digest::of(b"gone"), ..learned });
    let error = bench.pull(&reference, &gone, &[KERNEL]).unwrap_err();
    let help: String = error.report().iter().filter_map(|finding| finding.help.clone()).collect();
    assert!(error.to_string().contains("NET003") && help.contains("which is locked"), "{error} {help}");
    assert_eq!(error.exit(), Exit::Input);
}

#[test]
fn a_registry_gives_the_image_for_the_platform() {
    let Some(registry) = Registry::start(Door::Plain) else { return };
    let bench = Bench::online(&registry);
    let one = |text: &str| vec![tar(&[file(KERNEL, text)])];
    let both = bench.path("both");
    let mut layout = Layout::new(both.clone());
    layout.image("amd64", None, true, &one("amd64"));
    layout.image("arm64", None, true, &one("arm64"));
    // One index on top, as `skopeo copy --all` wants it.
    let index = json!({ "schemaVersion": 2, "mediaType": media::INDEX, "manifests": layout.manifests });
    let index = layout.blob(media::INDEX, index.to_string().as_bytes());
    std::fs::write(both.join("index.json"), json!({ "schemaVersion": 2, "manifests": [index] }).to_string()).unwrap();
    let reference = format!("{}/imager:v1", registry.host());
    if push(&both, "", &reference, true).is_none() {
        return;
    }
    assert_eq!(bench.pull(&reference, &Lock::default(), &[KERNEL]).unwrap(), ["arm64"]);
    // By the index's digest, without a lock entry, and without the network when it is in the store.
    let by_index = format!("{}/imager@{}", registry.host(), index["digest"].as_str().unwrap());
    assert_eq!(bench.pull(&by_index, &Lock::default(), &[KERNEL]).unwrap(), ["arm64"]);
    assert_eq!(bench.offline().pull(&by_index, &Lock::default(), &[KERNEL]).unwrap(), ["arm64"]);

    let bench = Bench::online(&registry);
    let wrong = bench.path("wrong");
    Layout::new(wrong.clone()).image("amd64", None, true, &one("amd64"));
    let reference = format!("{}/imager:wrong", registry.host());
    push(&wrong, "", &reference, false).unwrap();
    let text = bench.pull(&reference, &Lock::default(), &[KERNEL]).unwrap_err().to_string();
    assert!(text.contains("SRC020") && text.contains("linux/arm64; it has: linux/amd64"), "{text}");
}

fn ask<'a>(reference: &'a str, file: &'a str, frozen: bool) -> Ask<'a> {
    Ask { role: "u-boot", reference, file, platform: None, frozen }
}

#[test]
fn one_file_of_an_image_is_a_source() {
    let Some(registry) = Registry::start(Door::Plain) else { return };
    let bench = Bench::online(&registry);
    let folder = bench.path("layout");
    let path = "artifacts/arm64/u-boot/rock-5b/u-boot-rockchip.bin";
    Layout::new(folder.clone()).image("arm64", None, true, &[tar(&[file(path, "u-boot")])]);
    let reference = format!("{}/sbc-rockchip:v0.2.0", registry.host());
    if push(&folder, "", &reference, false).is_none() {
        return;
    }
    let take = |file: &str, locked| image_source::take(&bench.context(), &ask(&reference, file, false), locked);
    let found = take(path, None).unwrap();
    assert_eq!(found.blob.compute_digest().unwrap(), Digest::of(b"u-boot"));
    let from = found.from.unwrap();
    assert!(from.size > 0 && from.unpacked.is_none());
    assert_eq!(take(path, Some(&from)).unwrap().from.as_ref(), Some(&from));
    let text = take("artifacts/arm64/u-boot/rock-5b/u-boot.bin", None).unwrap_err().to_string();
    assert!(text.contains("SRC021") && text.contains("u-boot-rockchip.bin"), "{text}");

    // The tag moves: in one run it means one manifest, with --locked nothing is asked, and the lock's is taken.
    let moved = bench.path("moved");
    let entries = [file(path, "moved"), file("dtb", "moved")];
    Layout::new(moved.clone()).image("arm64", None, true, &[tar(&entries)]);
    push(&moved, "", &reference, false).unwrap();
    assert!(take("dtb", None).unwrap_err().to_string().contains("SRC021"));
    let fresh = Bench::online(&registry);
    assert_eq!(
        image_source::take(&fresh.context(), &ask(&reference, path, true), None)
            .unwrap_err()
            .report()
            .iter()
            .next()
            .unwrap()
            .code,
        "SRC004"
    );
    assert_eq!(
        image_source::take(&fresh.context(), &ask(&reference, path, true), Some(&from))
            .unwrap()
            .blob
            .compute_digest()
            .unwrap(),
        Digest::of(b"u-boot")
    );
    // Without the network its layers are enough, even for another file of them.
    let offline = fresh.offline();
    let text =
        image_source::take(&offline.context(), &ask(&reference, "dtb", true), Some(&from)).unwrap_err().to_string();
    assert!(text.contains("SRC021"), "{text}");
}
