//! What the tests of extensions, kernels, modules and installer bases are made of: tars, images, initramfs by hand, and the
//! outcome of a run as a table has it.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use boardbuild::Digest;
use flate2::{Compression, write::GzEncoder};
use fs_err as fs;
use initramfs::kmod::Sample;
use serde_json::Value;

use super::{
    Inputs, World, prefixed,
    transfers::{INDEX, MANIFEST, entry, special},
    xtask,
};

/// Release of the kernel of every test here.
pub const RELEASE: &str = "6.18.2-talos";

/// What a run with `--json` came to.
pub struct Outcome {
    pub exit: i32,
    /// Code, severity and message of each finding.
    pub findings: Vec<(String, String, String)>,
    pub output: Output,
}

impl Outcome {
    pub fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap();
        let object: Value = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let findings = object["findings"].as_array().unwrap().iter().map(|finding| {
            let message = format!("{}: {}", text(&finding["owner"]), text(&finding["message"]));
            (text(&finding["code"]), text(&finding["severity"]), message)
        });
        Self { exit: output.status.code().unwrap_or(-1), findings: findings.collect(), output }
    }

    /// Whether there is a finding whose code begins so and that says these words.
    pub fn has(&self, code: &str, words: &str) -> bool {
        self.findings.iter().any(|(found, _, message)| found.starts_with(code) && message.contains(words))
    }

    /// Codes of errors.
    pub fn errors(&self) -> Vec<&str> {
        self.findings.iter().filter(|(_, severity, _)| severity == "error").map(|(code, ..)| code.as_str()).collect()
    }
}

/// A row of a table: what is given, the arguments, the exit code, the finding's code and words of its message.
pub type Row<'a> = (&'a str, Vec<OsString>, i32, &'a str, &'a str);

/// Runs every row and names all that came to something else. An exit code other than 0 leaves no output behind.
#[track_caller]
pub fn judge(bench: &Bench, rows: Vec<Row<'_>>, command: impl Fn(&[OsString]) -> Command) {
    let mut wrong = Vec::new();
    for (what, arguments, exit, code, words) in rows {
        let outcome = Outcome::of(&mut command(&arguments));
        let found =
            if code.is_empty() && words.is_empty() { outcome.errors().is_empty() } else { outcome.has(code, words) };
        if outcome.exit != exit || !found {
            let found: Vec<_> = outcome.findings.iter().map(|(code, _, message)| format!("{code} {message}")).collect();
            wrong.push(format!(
                "{what}: expected {exit} {code} {words:?}, found {} {}",
                outcome.exit,
                found.join("\n    ")
            ));
        }
        let out = bench.world.path("out");
        if exit != 0 && out.exists() && fs::read_dir(&out).unwrap().count() > 0 {
            wrong.push(format!("{what}: left files behind"));
        }
    }
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.join("\n"));
}

/// The demo's board whose kernel and initramfs are made here.
pub struct Bench {
    pub world: World,
    pub board: PathBuf,
    pub base: PathBuf,
}

impl Bench {
    /// With a kernel of [`RELEASE`] and the demo's initramfs.
    pub fn new() -> Self {
        Self::with(None)
    }

    /// With another initramfs.
    pub fn with(initramfs: Option<&[u8]>) -> Self {
        let mut world = World::new(Inputs::demo());
        world.inputs.kernel = world.file("vmlinuz", &talosimg::kernel::sample_image(RELEASE));
        if let Some(bytes) = initramfs {
            world.inputs.initramfs = world.file("initramfs.xz", bytes);
        }
        let base = world.base("base", None);
        let board = world.overlay_board("demo", 20_480);
        Self { world, board, base }
    }

    /// `image` for a release, without writing anything.
    pub fn dry(&self, talos: &str, arguments: &[OsString]) -> Command {
        let mut command = self.image(talos, "out", arguments);
        command.arg("--dry-run");
        command
    }

    /// `image` for a release.
    pub fn image(&self, talos: &str, out: &str, arguments: &[OsString]) -> Command {
        let mut command = self.world.image(&self.board, talos, out);
        command.args(["--offline", "--format", "raw"]).arg("--base").arg(prefixed("dir:", &self.base));
        self.world.add_sources(&mut command);
        command.args(arguments);
        command
    }

    /// `installer` for a release on the demo's base: all of the initramfs, and no disk image is written.
    pub fn upgrade(&self, talos: &str, out: &str, arguments: &[OsString]) -> Command {
        let base = testkit::workspace().join("fixtures/demo/installer-base.tar");
        let mut command = self.installer(talos, out, prefixed("oci-archive:", &base));
        command.args(["--bootloader", "sd-boot"]).args(arguments);
        command
    }

    /// `installer` for a release on a base.
    pub fn installer(&self, talos: &str, out: &str, base: impl Into<OsString>) -> Command {
        let mut command = xtask();
        command.arg("installer").arg(&self.board).args(["--talos", talos, "--json", "--offline"]);
        command.arg("--base").arg(prefixed("dir:", &self.base)).arg("--installer-base").arg(base.into());
        command.arg("-o").arg(self.world.path(out)).arg("--cache-dir").arg(self.world.path("cache"));
        self.world.stand_ins(&mut command);
        self.world.add_sources(&mut command);
        command
    }

    pub fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        self.world.file(name, bytes)
    }

    /// `--extension FILE` of these bytes.
    pub fn extension(&self, name: &str, bytes: &[u8]) -> Vec<OsString> {
        vec!["--extension".into(), self.file(name, bytes).into()]
    }
}

impl World {
    pub fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }
}

/// An option and the path of its file.
pub fn option(name: &str, path: &Path) -> Vec<OsString> {
    vec![name.into(), path.into()]
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    packed(bytes, Compression::fast())
}

/// As small as gzip makes it.
pub fn best(bytes: &[u8]) -> Vec<u8> {
    packed(bytes, Compression::best())
}

fn packed(bytes: &[u8], level: Compression) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), level);
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

/// A manifest of this name, for the releases that the range names.
pub fn manifest(name: &str, range: &str) -> String {
    format!(
        "version: v1alpha1\nmetadata:\n  name: {name}\n  version: v1\n  author: me\n  description: d\n  compatibility:\n    talos:\n      \
         version: \"{range}\"\n"
    )
}

/// A plain tar of files; a path that ends with a slash is a folder.
pub fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = Vec::new();
    for (path, bytes) in files {
        tar.extend(if path.ends_with('/') { special(b'5', path, "", b"") } else { entry(path, bytes) });
    }
    tar.extend([0; 1024]);
    tar
}

/// The tar of an extension with these files below `rootfs`.
pub fn extension(name: &str, files: &[(&str, &[u8])]) -> Vec<u8> {
    let manifest = manifest(name, ">= v1.0.0");
    let paths: Vec<String> = files.iter().map(|(path, _)| format!("rootfs/{path}")).collect();
    let mut all: Vec<(&str, &[u8])> = vec![("manifest.yaml", manifest.as_bytes()), ("rootfs/", b"")];
    all.extend(paths.iter().map(String::as_str).zip(files.iter().map(|(_, bytes)| *bytes)));
    tar(&all)
}

/// A module of the kernel of the tests.
pub fn module(name: &str) -> Sample<'_> {
    Sample { name, vermagic: "6.18.2-talos SMP preempt mod_unload aarch64", ..Sample::default() }
}

/// One image of an archive.
pub struct Made {
    pub architecture: &'static str,
    /// Tars, the lowest first, with the media type that they have.
    pub layers: Vec<Vec<u8>>,
    pub entrypoint: &'static str,
    /// What the configuration says of the layers where it lies.
    pub diff_ids: Option<Vec<String>>,
}

impl Made {
    pub fn new(architecture: &'static str, layers: Vec<Vec<u8>>) -> Self {
        Self { architecture, layers, entrypoint: "/usr/bin/installer", diff_ids: None }
    }
}

fn descriptor(media: &str, bytes: &[u8], more: &str) -> String {
    format!(r#"{{"mediaType":"{media}","digest":"{}","size":{}{more}}}"#, Digest::of(bytes), bytes.len())
}

/// Files of an OCI layout with an index of these images.
pub fn layout(images: &[Made]) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut add = |bytes: Vec<u8>| drop(files.insert(format!("blobs/sha256/{}", Digest::of(&bytes).hex()), bytes));
    let mut children = Vec::new();
    for image in images {
        let (mut rows, mut ids) = (Vec::new(), Vec::new());
        for layer in &image.layers {
            let packed = gzip(layer);
            rows.push(descriptor("application/vnd.oci.image.layer.v1.tar+gzip", &packed, ""));
            ids.push(Digest::of(layer).to_string());
            add(packed);
        }
        let ids = image.diff_ids.as_ref().unwrap_or(&ids).join("\",\"");
        let config = format!(
            r#"{{"architecture":"{}","os":"linux","config":{{"Entrypoint":["{}"]}},"rootfs":{{"type":"layers","diff_ids":["{ids}"]}}}}"#,
            image.architecture, image.entrypoint
        );
        let manifest = format!(
            r#"{{"schemaVersion":2,"mediaType":"{MANIFEST}","config":{},"layers":[{}]}}"#,
            descriptor("application/vnd.oci.image.config.v1+json", config.as_bytes(), ""),
            rows.join(",")
        );
        let platform = format!(r#","platform":{{"architecture":"{}","os":"linux"}}"#, image.architecture);
        children.push(descriptor(MANIFEST, manifest.as_bytes(), &platform));
        add(config.into_bytes());
        add(manifest.into_bytes());
    }
    let index = format!(r#"{{"schemaVersion":2,"mediaType":"{INDEX}","manifests":[{}]}}"#, children.join(","));
    files.insert("index.json".to_owned(), index.into_bytes());
    files.insert("oci-layout".to_owned(), br#"{"imageLayoutVersion":"1.0.0"}"#.to_vec());
    files
}

/// The archive of these images.
pub fn archive(images: &[Made]) -> Vec<u8> {
    let files = layout(images);
    tar(&files.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice())).collect::<Vec<_>>())
}

/// A file of the `newc` format by hand (`Documentation/driver-api/early-userspace/buffer-format.rst`).
pub fn cpio(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    let trailer = [("TRAILER!!!", &b""[..])];
    for (number, (path, bytes)) in files.iter().chain(&trailer).enumerate() {
        let fields = [number + 1, 0o100_755, 0, 0, 1, 0, bytes.len(), 0, 0, 0, 0, path.len() + 1, 0];
        out.extend(b"070701");
        out.extend(fields.map(|field| format!("{field:08x}")).concat().as_bytes());
        out.extend(path.as_bytes());
        out.push(0);
        out.resize(out.len().next_multiple_of(4), 0);
        out.extend(*bytes);
        out.resize(out.len().next_multiple_of(4), 0);
    }
    out
}

/// An initramfs with a root file system that has these files in the modules' folder of [`RELEASE`]. `None` without
/// `mksquashfs`.
pub fn initramfs(world: &World, modules: &[(&str, Vec<u8>)]) -> Option<Vec<u8>> {
    let mksquashfs = testkit::tool("mksquashfs")?;
    for (path, bytes) in modules {
        world.file(&format!("rootfs/usr/lib/modules/{RELEASE}/{path}"), bytes);
    }
    let image = world.path("rootfs.sqsh");
    let mut command = Command::new(mksquashfs);
    command.arg(world.path("rootfs")).arg(&image);
    testkit::run(command.args(["-quiet", "-no-progress", "-noappend", "-all-root", "-comp", "zstd"]));
    Some(cpio(&[("init", b"init"), ("rootfs.sqsh", &fs::read(image).unwrap())]))
}

/// The unified kernel image on the ESP of a raw image, by `mcopy`.
pub fn uki(world: &World, out: &str, talos: &str) -> Option<Vec<u8>> {
    let mcopy = testkit::tool("mcopy")?;
    let uki = world.path(&format!("{out}.efi"));
    let mut command = Command::new(mcopy);
    command.arg("-n").arg("-i").arg(prefixed("", &world.path(&format!("{out}/metal-arm64.raw@@11534336"))));
    command.arg(format!("::/EFI/Linux/Talos-{talos}.efi")).arg(&uki);
    testkit::run(&mut command);
    Some(fs::read(uki).unwrap())
}

/// The unified kernel image of an installer image, by python.
pub fn uki_of_installer(world: &World, out: &str) -> Option<Vec<u8>> {
    super::image::file(&world.path(out).join("installer-arm64.tar"), "usr/install/arm64/vmlinuz.efi")
}

/// What stands behind the base's initramfs in a unified kernel image, unpacked by `zstd` and `cpio` into a folder.
pub fn appended(world: &World, out: &str, uki: &[u8]) -> Option<PathBuf> {
    let (zstd, cpio) = (testkit::tool("zstd")?, testkit::tool("cpio")?);
    let initrd = super::pe_section(uki, ".initrd").unwrap();
    let original = fs::read(&world.inputs.initramfs).unwrap();
    assert!(initrd.starts_with(&original));
    let (frame, archive) = (world.path(&format!("{out}.zst")), world.path(&format!("{out}.cpio")));
    fs::write(&frame, &initrd[original.len()..]).unwrap();
    testkit::run(Command::new(zstd).args(["-q", "-d"]).arg(&frame).arg("-o").arg(&archive));
    let folder = world.path(&format!("{out}-appended"));
    fs::create_dir(&folder).unwrap();
    let mut extract = Command::new(cpio);
    extract.args(["-idm", "--quiet"]).current_dir(&folder);
    extract.stdin(std::process::Stdio::from(fs::File::open(&archive).unwrap().into_file()));
    testkit::run(&mut extract);
    Some(folder)
}

/// A SquashFS of the appended archive, unpacked by `unsquashfs`.
pub fn unsquashed(folder: &Path, name: &str) -> Option<PathBuf> {
    let unsquashfs = testkit::tool("unsquashfs")?;
    let to = folder.join(format!("{name}-files"));
    let mut command = Command::new(unsquashfs);
    command.args(["-quiet", "-no-progress", "-no-xattrs", "-d"]).arg(&to).arg(folder.join(format!("{name}.sqsh")));
    testkit::run(&mut command);
    Some(to)
}
