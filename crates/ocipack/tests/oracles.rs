//! Programs that are not ours read what we write.

mod common;

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use common::{EPOCH, bytes, entries, image, options, overlay, save};
use imgcore::{Blob, Digest, ReadAt as _};
use ocipack::{Entry, Kind, archive, layer};
use testkit::{run, tool};

fn skopeo(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.arg("--insecure-policy");
    command
}

fn written(folder: &Path) -> PathBuf {
    let file = folder.join("overlay.tar");
    save(&file, &bytes(&overlay()));
    file
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).expect("JSON")
}

#[test]
fn skopeo_sees_the_index_and_both_platforms() {
    let Some(program) = tool("skopeo") else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = written(folder.path());
    let archive = overlay();

    let source = format!("oci-archive:{}", file.display());
    let raw = run(skopeo(&program).args(["inspect", "--raw", &source]));
    assert_eq!(Digest::of(raw.as_bytes()), archive.root().digest);
    let index = json(&raw);
    assert_eq!(index["mediaType"], "application/vnd.oci.image.index.v1+json");
    let platforms: Vec<_> =
        index["manifests"].as_array().expect("a list").iter().map(|m| m["platform"].to_string()).collect();
    assert_eq!(platforms, [r#"{"architecture":"amd64","os":"linux"}"#, r#"{"architecture":"arm64","os":"linux"}"#]);

    for (arch, planned) in ["amd64", "arm64"].iter().zip(archive.images()) {
        for source in [source.clone(), format!("{source}:v1.10.6")] {
            let seen = json(&run(skopeo(&program).args([
                "--override-arch",
                arch,
                "--override-os",
                "linux",
                "inspect",
                &source,
            ])));
            assert_eq!(seen["Architecture"], *arch);
            assert_eq!(seen["Os"], "linux");
            assert_eq!(seen["Created"], "2023-11-14T22:13:20Z");
            assert_eq!(seen["Labels"]["org.opencontainers.image.title"], "overlay");
            let layers: Vec<_> = planned.layers.iter().map(|layer| layer.digest.to_string()).collect();
            assert_eq!(seen["Layers"], serde_json::json!(layers));
        }
    }

    let source = format!("docker-archive:{}", file.display());
    let seen = json(&run(skopeo(&program).args(["inspect", &source])));
    assert_eq!((&seen["Architecture"], &seen["Os"]), (&"arm64".into(), &"linux".into()));
    let seen = json(&run(skopeo(&program).args(["inspect", &format!("{source}:talos-rk/overlay:v1.10.6")])));
    assert_eq!(seen["Architecture"], "arm64");
}

#[test]
fn skopeo_copies_all_and_keeps_every_byte() {
    let Some(program) = tool("skopeo") else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = written(folder.path());
    let (target, archive) = (folder.path().join("dir"), overlay());
    run(skopeo(&program)
        .args(["copy", "--all", "--preserve-digests"])
        .arg(format!("oci-archive:{}", file.display()))
        .arg(format!("dir:{}", target.display())));
    for (digest, blob) in archive.blobs() {
        let candidates = [digest.hex(), format!("{}.manifest.json", digest.hex()), "manifest.json".to_owned()];
        let found = candidates
            .iter()
            .map(|name| target.join(name))
            .filter(|path| path.exists())
            .any(|path| Digest::of(&testkit::read(path)) == *digest);
        assert!(found, "{digest} of {} bytes", blob.size());
    }
    // Uncompressed and compressed again by its reader of Docker's format: the layers are what the configuration says.
    run(skopeo(&program)
        .arg("copy")
        .arg(format!("docker-archive:{}", file.display()))
        .arg(format!("dir:{}", folder.path().join("docker").display())));
}

#[test]
fn umoci_unpacks_what_went_in() {
    let (Some(skopeo_program), Some(umoci)) = (tool("skopeo"), tool("umoci")) else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = written(folder.path());
    for arch in ["arm64", "amd64"] {
        let (layout, bundle) = (folder.path().join(arch), folder.path().join(format!("{arch}-bundle")));
        run(skopeo(&skopeo_program)
            .args(["--override-arch", arch, "--override-os", "linux", "copy"])
            .arg(format!("oci-archive:{}", file.display()))
            .arg(format!("oci:{}:one", layout.display())));
        run(Command::new(&umoci)
            .args(["unpack", "--rootless", "--image", &format!("{}:one", layout.display())])
            .arg(&bundle));
        compare(&bundle.join("rootfs"), arch);
    }
}

/// Everything that went in is there with its bytes and mode, and nothing else.
fn compare(root: &Path, arch: &str) {
    let mut expected: Vec<String> = ["artifacts/overlay.json"].map(str::to_owned).to_vec();
    let plan = layer::plan(&entries(arch), EPOCH).expect("valid");
    for entry in plan.entries() {
        let path = root.join(&entry.path);
        let metadata = std::fs::symlink_metadata(&path).unwrap_or_else(|error| panic!("{}: {error}", entry.path));
        match &entry.kind {
            Kind::File(data) => {
                assert_eq!(testkit::read(&path), data.read_all(1 << 20).expect("memory"), "{}", entry.path);
                assert_eq!(metadata.permissions().mode() & 0o7777, entry.mode, "{}", entry.path);
            }
            Kind::Dir => assert_eq!(metadata.permissions().mode() & 0o7777, entry.mode, "{}", entry.path),
            Kind::Symlink(target) => {
                assert_eq!(std::fs::read_link(&path).expect("a link").to_str(), Some(target.as_str()));
            }
        }
        let modified = metadata.modified().expect("a time").duration_since(std::time::UNIX_EPOCH).expect("after 1970");
        // The second layer touches the folder that both have.
        assert!(modified.as_secs() == EPOCH.0, "{}: {}", entry.path, modified.as_secs());
        expected.push(entry.path.clone());
    }
    expected.sort();
    let mut found = Vec::new();
    walk(root, root, &mut found);
    found.sort();
    assert_eq!(found, expected);
}

fn walk(root: &Path, folder: &Path, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("an entry");
        let path = entry.path();
        found.push(path.strip_prefix(root).expect("below").to_str().expect("UTF-8").to_owned());
        if entry.file_type().expect("a type").is_dir() {
            walk(root, &path, found);
        }
    }
}

#[test]
fn umoci_lists_the_unpacked_layout() {
    let (Some(umoci), Some(tar)) = (tool("umoci"), tool("tar")) else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = written(folder.path());
    let layout = folder.path().join("layout");
    std::fs::create_dir(&layout).expect("a temporary folder takes folders");
    run(Command::new(&tar).arg("xf").arg(&file).arg("-C").arg(&layout));
    assert_eq!(run(Command::new(&umoci).arg("list").arg("--layout").arg(&layout)).trim(), "v1.10.6");

    // One platform as a plain image: umoci takes it without help.
    let options = archive::Options { shape: archive::Shape::Manifests, ..options() };
    let mut image = image("arm64");
    image.history = vec!["what all boards share".to_owned(), "the board".to_owned()];
    let plain = archive::plan(&[image], &options).expect("valid");
    let (file, layout) = (folder.path().join("plain.tar"), folder.path().join("plain"));
    save(&file, &bytes(&plain));
    std::fs::create_dir(&layout).expect("a temporary folder takes folders");
    run(Command::new(&tar).arg("xf").arg(&file).arg("-C").arg(&layout));
    let bundle = folder.path().join("bundle");
    let image = format!("{}:v1.10.6", layout.display());
    let stat = json(&run(Command::new(&umoci).args(["stat", "--json", "--image", &image])));
    assert_eq!(stat["history"].as_array().map(Vec::len), Some(2), "{stat}");
    run(Command::new(&umoci).args(["unpack", "--rootless", "--image", &image]).arg(&bundle));
    compare(&bundle.join("rootfs"), "arm64");
}

#[test]
fn tar_lists_owner_mode_and_time() {
    let Some(tar) = tool("tar") else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut stream = Vec::new();
    layer::plan(&entries("arm64"), EPOCH).expect("valid").write_tar(&mut stream).expect("memory");
    let file = folder.path().join("layer.tar");
    save(&file, &stream);
    let list = run(Command::new(&tar).env("TZ", "UTC").env("LC_ALL", "C.UTF-8").args(["tvf"]).arg(&file));
    let long = "n".repeat(200);
    let expected = [
        "drwxr-xr-x 0/0               0 2023-11-14 22:13 artifacts/".to_owned(),
        "drwxr-xr-x 0/0               0 2023-11-14 22:13 artifacts/arm64/".to_owned(),
        "drwxr-xr-x 0/0               0 2023-11-14 22:13 artifacts/arm64/u-boot/".to_owned(),
        "-rw-r--r-- 0/0          200000 2023-11-14 22:13 artifacts/arm64/u-boot/uboot.img".to_owned(),
        format!("drwxr-xr-x 0/0               0 2023-11-14 22:13 artifacts/{}/", "directory-".repeat(9)),
        format!("-r--r--r-- 0/0              12 2023-11-14 22:13 {}", common::long_path()),
        "drwx------ 0/0               0 2023-11-14 22:13 artifacts/empty/".to_owned(),
        format!("lrwxrwxrwx 0/0               0 2023-11-14 22:13 artifacts/far -> {}x", "a/".repeat(80)),
        "-rw-r--r-- 0/0              32 2023-11-14 22:13 artifacts/größe.txt".to_owned(),
        format!("-rw-r----- 0/0              19 2023-11-14 22:13 artifacts/{long}"),
        "-rw------- 0/0               0 2023-11-14 22:13 artifacts/nothing".to_owned(),
        "drwxr-xr-x 0/0               0 2023-11-14 22:13 installers/".to_owned(),
        "lrwxrwxrwx 0/0               0 2023-11-14 22:13 installers/default -> rk3588".to_owned(),
        "-rwxr-xr-x 0/0               5 2023-11-14 22:13 installers/rk3588".to_owned(),
        "drwxr-xr-x 0/0               0 2023-11-14 22:13 profiles/".to_owned(),
        "-rw-r--r-- 0/0              12 2023-11-14 22:13 profiles/nanopi-m6.yaml".to_owned(),
    ];
    let lines: Vec<_> = list.lines().map(|line| line.replace("\\303\\266\\303\\237", "öß")).collect();
    assert_eq!(lines, expected);
}

#[test]
fn gzip_takes_the_layer() {
    let Some(gzip) = tool("gzip") else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    // The second is cut into cells: some shrink, some are stored.
    let mut state = 1_u32;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    });
    let noise: Vec<u8> = noise.take(2_000_000).collect();
    let large = [vec![0x5a; 1_500_000], noise, b"kernel ".repeat(100_000)].concat();
    let large = vec![Entry::file("vmlinuz.efi", 0o644, Blob::from_bytes("kernel", large))];
    for entries in [entries("arm64"), large] {
        let mut stream = Vec::new();
        let info = layer::write(&entries, EPOCH, &mut stream).expect("memory");
        assert_eq!((info.digest, info.size), (Digest::of(&stream), stream.len() as u64));
        let file = folder.path().join("layer.tar.gz");
        save(&file, &stream);
        run(Command::new(&gzip).arg("-t").arg(&file));
        let tar = Command::new(&gzip).arg("-dc").arg(&file).output().expect("gzip runs").stdout;
        assert_eq!((info.diff_id, info.tar_size), (Digest::of(&tar), tar.len() as u64));
        let mut again = Vec::new();
        let workers = std::num::NonZeroUsize::new(2).expect("not zero");
        let parallel = layer::plan(&entries, EPOCH).expect("valid").write_with(workers, &mut again).expect("memory");
        assert!(parallel == info && again == stream);
    }
}
