//! The same input gives the same bytes, whoever builds, where, when, and with how many threads; and what is published
//! says nothing about the machine or a secret.

#![allow(clippy::unwrap_used, reason = "a test stops where its helpers do")]

mod common;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use common::{Inputs, World, prefixed, raw, result, xtask};
use fs_err as fs;
use imgcore::Digest;
use serde_json::Value;

/// A user at a machine.
struct Machine {
    /// Where everything of this build lies, from the world's folder.
    place: &'static str,
    umask: &'static str,
    threads: &'static str,
    environment: &'static [(&'static str, &'static str)],
}

const MACHINES: [Machine; 2] = [
    Machine {
        place: "a",
        umask: "022",
        threads: "1",
        environment: &[
            ("TZ", "UTC"),
            ("LANG", "C"),
            ("LC_ALL", "C"),
            ("USER", "alice-the-builder"),
            ("LOGNAME", "alice-the-builder"),
            ("HOSTNAME", "alices-workshop"),
        ],
    },
    Machine {
        place: "a/much/longer/path of another machine/with-ü-and spaces",
        umask: "077",
        threads: "3",
        environment: &[
            ("TZ", "Asia/Kathmandu"),
            ("LANG", "tr_TR.UTF-8"),
            ("LC_ALL", "tr_TR.UTF-8"),
            ("USER", "bob-the-builder"),
            ("LOGNAME", "bob-the-builder"),
            ("HOSTNAME", "bobs-workshop"),
        ],
    },
];

/// Words that belong to a machine and must not be in any output.
const PRIVATE: [&str; 4] = ["alice-the-builder", "bob-the-builder", "alices-workshop", "bobs-workshop"];

/// What is built.
enum Subject {
    Demo,
    Reference(Inputs),
}

/// Runs a build as a user at a machine would; the outputs are in `PLACE/out`.
fn build(world: &World, machine: &Machine, subject: &Subject, more: &[&str]) -> (PathBuf, Value) {
    let place = world.path(machine.place);
    let folder = |name: &str| {
        let folder = place.join(name);
        fs::create_dir_all(&folder).unwrap();
        folder
    };
    let (home, temporary, here) = (folder("home"), folder("tmp"), folder("here"));
    // umask is the shell's to set.
    let program = xtask().get_program().to_owned();
    let mut command = Command::new("sh");
    command.args(["-c", "umask \"$1\"; shift; exec \"$@\"", "sh", machine.umask]).arg(program).arg("image");
    match subject {
        Subject::Demo => {
            command.arg("demo");
        }
        Subject::Reference(inputs) => {
            // Copies, so that times, inodes and paths of the inputs are the machine's own.
            let own = folder("inputs");
            let copy = |from: &Path| {
                let to = own.join(from.file_name().unwrap());
                if !to.exists() {
                    fs::copy(from, &to).unwrap();
                }
                to
            };
            let base = own.join("base");
            let install = base.join("usr/install/arm64");
            fs::create_dir_all(&install).unwrap();
            for (name, from) in [
                ("vmlinuz", &inputs.kernel),
                ("initramfs.xz", &inputs.initramfs),
                ("systemd-boot.efi", &inputs.sd_boot),
                ("systemd-stub.efi", &inputs.stub),
            ] {
                if !install.join(name).exists() {
                    fs::copy(from, install.join(name)).unwrap();
                }
            }
            let board = own.join("nanopi-m6-reference.toml");
            fs::copy(world.overlay_board("nanopi-m6-reference", 20480), &board).unwrap();
            command.arg(&board).arg("--base").arg(prefixed("dir:", &base));
            for (role, from) in world.sources() {
                command.arg("--source").arg(prefixed(&format!("{role}="), &copy(&from)));
            }
        }
    }
    world.stand_ins(&mut command);
    command.args(["--json", "--threads", machine.threads]).args(more);
    // A relative path for one, an absolute one for the other.
    let out = if machine.threads == "1" { PathBuf::from("../out") } else { place.join("out") };
    command.arg("-o").arg(out).arg("--cache-dir").arg(folder("cache"));
    command.current_dir(here).envs(machine.environment.iter().copied());
    command.env("HOME", &home).env("TMPDIR", &temporary).env("XDG_CACHE_HOME", home.join("cache"));
    for name in ["TALOS_VERSION", "TALOS_RK_CACHE", "SOURCE_DATE_EPOCH"] {
        command.env_remove(name);
    }
    let result = result(command.stdin(Stdio::null()));
    // Nothing is left lying about.
    assert_eq!(fs::read_dir(temporary).unwrap().count(), 0, "temporary files are left");
    (place.join("out"), result)
}

/// Names, sizes and digests of all files of a folder.
fn digests(folder: &Path) -> BTreeMap<String, (u64, String)> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap());
    entries
        .map(|entry| {
            let file = fs::File::open(entry.path()).unwrap();
            let size = file.metadata().unwrap().len();
            let mut hasher = imgcore::Hasher::new();
            let mut at = 0;
            while at < size {
                let count = (size - at).min(1 << 20);
                hasher.update(&raw::bytes(&file, at, count));
                at += count;
            }
            (entry.file_name().into_string().unwrap(), (size, hasher.finish().hex()))
        })
        .collect()
}

/// Every output of two machines is the same, and none speaks of them.
fn same_bytes(subject: &Subject, world: &World, more: &[&str], expected: &[&str]) {
    let [first, second] = MACHINES.map(|machine| build(world, &machine, subject, more));
    let (ours, theirs) = (digests(&first.0), digests(&second.0));
    assert_eq!(ours, theirs);
    for name in expected {
        assert!(ours.contains_key(*name), "{name} is not among {:?}", ours.keys());
    }
    assert_eq!(first.1["build"], second.1["build"]);
    let place = world.path("");
    let place = place.to_str().unwrap().trim_end_matches('/');
    let workspace = testkit::workspace();
    let mut private = PRIVATE.to_vec();
    private.extend([place, workspace.to_str().unwrap()]);
    for name in ours.keys() {
        let file = first.0.join(name);
        assert_silent(&file, name, &private);
    }
    if ours.contains_key("overlay.tar") {
        for (name, bytes) in layers(&first.0.join("overlay.tar")) {
            assert_nothing_of(&bytes, &name, &private);
        }
    }
}

/// None of `words` is in a file; zeros are passed over quickly.
fn assert_silent(path: &Path, name: &str, words: &[&str]) {
    let file = fs::File::open(path).unwrap();
    let size = file.metadata().unwrap().len();
    let overlap = words.iter().map(|word| word.len()).max().unwrap_or(0) as u64;
    let zeros = vec![0; 1 << 20];
    let mut at = 0;
    while at < size {
        let chunk = raw::bytes(&file, at, (size - at).min((1 << 20) + overlap));
        if chunk.len() < zeros.len() || chunk[..zeros.len()] != zeros[..] {
            assert_nothing_of(&chunk, name, words);
        }
        at += 1 << 20;
    }
}

fn assert_nothing_of(bytes: &[u8], name: &str, words: &[&str]) {
    for word in words.iter().filter(|word| !word.is_empty()) {
        let word_bytes = word.as_bytes();
        let mut rest = bytes;
        // The first byte filters; a search of every window would take long in 30 MB of kernel.
        while let Some(at) = rest.iter().position(|byte| *byte == word_bytes[0]) {
            rest = &rest[at..];
            assert!(!rest.starts_with(word_bytes), "{name} holds {word:?}");
            rest = &rest[1..];
        }
    }
}

/// The layers of an OCI archive, unpacked by tar and gzip; empty if those are absent.
fn layers(archive: &Path) -> Vec<(String, Vec<u8>)> {
    let (Some(tar), Some(gzip)) = (testkit::tool("tar"), testkit::tool("gzip")) else { return Vec::new() };
    let names = testkit::run(Command::new(&tar).arg("-tf").arg(archive));
    let blobs = names.lines().filter(|name| name.contains("blobs/sha256/") && !name.ends_with('/'));
    blobs
        .filter_map(|name| {
            let member = Command::new(&tar).arg("-xOf").arg(archive).arg(name).output().unwrap().stdout;
            if !member.starts_with(&[0x1f, 0x8b]) {
                return None;
            }
            let mut packed = tempfile::tempfile().unwrap();
            std::io::Write::write_all(&mut packed, &member).unwrap();
            std::io::Seek::rewind(&mut packed).unwrap();
            let output = Command::new(&gzip).arg("-dc").stdin(packed).output().unwrap();
            assert!(output.status.success(), "{name}");
            Some((name.to_owned(), output.stdout))
        })
        .collect()
}

const ALL_FORMATS: [&str; 8] = ["--format", "raw", "--format", "raw.xz", "--format", "raw.zst", "--format", "raw.gz"];

#[test]
fn the_demo_board_gives_the_same_bytes_everywhere() {
    let world = World::new(Inputs::demo());
    let expected = [
        "SHA256SUMS",
        "build.json",
        "metal-arm64.raw",
        "metal-arm64.raw.gz",
        "metal-arm64.raw.xz",
        "metal-arm64.raw.zst",
        "overlay.tar",
    ];
    let more: Vec<_> = ALL_FORMATS.into_iter().chain(["--talos", "v1.10.6"]).collect();
    same_bytes(&Subject::Demo, &world, &more, &expected);
}

#[test]
fn a_board_file_of_somebody_gives_the_same_bytes_everywhere() {
    let Some(inputs) = Inputs::reference() else { return };
    let world = World::new(inputs.clone());
    let more =
        ["--talos", "v1.13.9", "--meta", "0xc=two", "--kernel-arg", "a=b", "--format", "raw.xz", "--format", "raw.zst"];
    let expected = ["SHA256SUMS", "build.json", "metal-arm64.raw.xz", "metal-arm64.raw.zst", "overlay.tar"];
    same_bytes(&Subject::Reference(inputs), &world, &more, &expected);
}

/// A build of the demo board with an instant.
fn at(world: &World, name: &str, epoch: Option<&str>, more: &[&str]) -> (PathBuf, Value) {
    let mut command = xtask();
    let out = world.path(name);
    command.args(["image", "demo", "--json", "--talos", "v1.13.9"]).args(more);
    command.arg("-o").arg(&out).arg("--cache-dir").arg(world.path("cache"));
    world.stand_ins(&mut command);
    if let Some(epoch) = epoch {
        command.env("SOURCE_DATE_EPOCH", epoch);
    }
    let result = result(&mut command);
    (out, result)
}

#[test]
fn the_instant_reaches_the_bytes_and_nothing_else_does() {
    let world = World::new(Inputs::demo());
    let built = |name: &str, epoch: Option<&str>| {
        let (out, result) = at(&world, name, epoch, &["--format", "raw.zst"]);
        assert_eq!(result["upToDate"], false, "{name}");
        (digests(&out), result["build"].clone())
    };
    let (of_lock, record) = built("lock", None);
    let epoch = record["epoch"].as_u64().unwrap();
    let lock = fs::read_to_string(testkit::workspace().join("boards/sources.lock")).unwrap();
    assert!(lock.lines().any(|line| line == format!("epoch = {epoch}")), "{epoch}");

    // The instant of the lock, given by hand, changes nothing; an empty variable is none.
    assert_eq!(built("same", Some(&epoch.to_string())).0, of_lock);
    assert_eq!(built("empty", Some("")).0, of_lock);

    let (other, other_record) = built("other", Some("86400"));
    assert_eq!(other_record["epoch"], 86400);
    assert_ne!(other_record["plan"], record["plan"]);
    for (name, digest) in &of_lock {
        assert_ne!(&other[name], digest, "{name} does not know the instant");
    }
    // All that the record says otherwise follows from it.
    for key in ["board", "boardFile", "commandLine", "inputs", "layout", "size", "talos", "meta", "kernelRelease"] {
        assert_eq!(other_record[key], record[key], "{key}");
    }
}

#[test]
fn secrets_are_recorded_by_digest() {
    const TOKEN: &str = "s3cr3t-T0ken_of-the-cluster";
    let world = World::new(Inputs::demo());
    let line = format!("siderolink.api=grpc://omni.example:8090?grpc_tunnel=true&jointoken={TOKEN}");
    let value = "a value that nobody else should read";
    let (out, result) =
        at(&world, "out", None, &["--format", "raw.zst", "--kernel-arg", &line, "--meta", &format!("0xa={value}")]);
    let record = fs::read_to_string(out.join("build.json")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&record).unwrap(), result["build"]);
    for secret in [TOKEN, value] {
        assert!(!record.contains(secret), "{record}");
        assert!(!result.to_string().contains(secret), "{result}");
        let sums = fs::read_to_string(out.join("SHA256SUMS")).unwrap();
        assert!(!sums.contains(secret));
    }
    assert!(record.contains(&format!("jointoken={}", Digest::of(TOKEN.as_bytes()))), "{record}");
    let meta = &result["build"]["meta"][0];
    assert_eq!((&meta["key"], meta["sha256"].as_str()), (&10.into(), Some(&*Digest::of(value.as_bytes()).to_string())));
}
