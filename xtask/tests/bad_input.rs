//! What a user gets who gives the wrong thing: a code, a reason, a cure, the documented exit code, and no file under a
//! final name.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test stops where its helpers do")]

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

struct Place {
    home: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { home: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(arguments).args(["--cache-dir".as_ref(), self.path("cache").as_os_str()]);
        command.current_dir(self.home.path()).env_remove("TALOS_VERSION").env_remove("SOURCE_DATE_EPOCH");
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs and expects an exit code and words on standard error.
    #[track_caller]
    fn refused(&self, arguments: &[&str], exit: i32, words: &[&str]) {
        let output = self.run(arguments);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(exit), "{arguments:?}\n{text}");
        for word in words {
            assert!(text.contains(word), "{arguments:?}: expected {word:?} in\n{text}");
        }
        let out = self.path("out");
        assert!(!out.exists() || names(&out).is_empty(), "{arguments:?}: {:?}", names(&out));
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(folder)
        .map(|entries| entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect())
        .unwrap_or_default();
    names.sort();
    names
}

/// The demo without an overlay, so that no installer executable has to be compiled. Without one the table lies at LBA 2
/// and the first partition at 1 MiB, so U-Boot moves up.
fn bare_demo(place: &Place, change: impl Fn(String) -> String) -> String {
    let root = testkit::workspace();
    let text = String::from_utf8(testkit::read(root.join("boards/demo.toml"))).unwrap();
    let fixtures = root.join("fixtures/demo");
    let fixtures = fixtures.to_str().unwrap();
    let text = text.replace("../fixtures/demo", fixtures).replace("dir:../", "dir:");
    let before = text.split("[overlay]").next().unwrap().to_owned();
    let after = text.split("[sources]").nth(1).unwrap();
    let text = format!("{before}[sources]{after}").replace("at-sector = 16384", "at-sector = 256");
    let path = place.path("demo.toml");
    std::fs::write(&path, change(text)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn unknown_words_get_the_nearest_known_one() {
    let place = Place::new();
    place.refused(&["image", "dmo", "-o", "out"], 2, &["BRD004", "did you mean demo?"]);
    place.refused(&["image", "nope.toml", "-o", "out"], 2, &["no board file at this path"]);
    place.refused(&["imag", "demo"], 2, &["'image'"]);
    place.refused(&["image", "demo", "--fromat", "raw"], 2, &["--format"]);
    place.refused(&["image", "demo", "--format", "raw.zx", "-o", "out"], 2, &["raw.xz"]);
    place.refused(&["image", "demo", "--boot", "mainlin", "-o", "out"], 2, &["did you mean mainline?"]);
    place.refused(&["image", "demo", "--source", "dbt=x", "-o", "out"], 2, &["did you mean dtb?"]);
    place.refused(&["image", "demo", "--option", "chipest=x", "-o", "out"], 2, &["did you mean chipset?"]);
    place.refused(&["image", "demo", "--allow", "VER01", "-o", "out"], 2, &["did you mean VER001?"]);
    place.refused(&["image", "demo", "--allow", "LAY001", "-o", "out"], 2, &["cannot be allowed"]);
    place.refused(&["image", "demo", "--installer-bin", "amd46=x", "-o", "out"], 2, &["amd64"]);
    place.refused(&["image", "demo", "--meta", "x=y", "-o", "out"], 2, &["--meta"]);
    place.refused(&["image", "demo", "--bootloader", "grub", "-o", "out"], 2, &["sd-boot"]);
    let board = bare_demo(&place, |text| text.replace("compatible =", "compatibel ="));
    place.refused(&["image", &board, "-o", "out"], 2, &["demo.toml:", "^^^", "did you mean `compatible`?"]);
}

#[test]
fn versions_outside_the_table_name_the_range() {
    let place = Place::new();
    let board = bare_demo(&place, |text| text);
    place.refused(&["image", &board, "--talos", "v1.9.4", "-o", "out"], 1, &["VER001", "v1.10", "v1.13"]);
    place.refused(&["image", &board, "--talos", "v1.14.0", "-o", "out"], 1, &["VER001", "v1.10", "v1.13"]);
    place.refused(&["image", &board, "--talos", "latest", "-o", "out"], 2, &["vMAJOR.MINOR.PATCH"]);
    let output = place.run(&["image", &board, "--talos", "v1.14.0", "--allow", "VER001", "-o", "out"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stderr).contains("warning[VER001]"));
}

#[test]
fn missing_and_wrong_inputs_are_named_with_digests() {
    let place = Place::new();
    place.refused(
        &["image", "nanopi-m6", "--offline", "-o", "out"],
        3,
        &["idbloader", "u-boot", "dtb", "--source idbloader=FILE", "imager:v", "--base dir:DIR"],
    );
    place.refused(
        &["image", "nanopi-m6", "--boot", "vendor", "--offline", "-o", "out"],
        3,
        &["sha256:0691a16eaba10bc6b236", "4161536"],
    );
    let board = bare_demo(&place, |text| text);
    place.refused(&["image", &board, "--source", "dtb=/no/such", "-o", "out"], 3, &["dtb: /no/such does not exist"]);
    place.refused(&["image", &board, "--base", "dir:/no/such", "-o", "out"], 3, &["no folder at this path"]);
    place.refused(&["image", &board, "--base", "ghcr.io/a/b:c", "--offline", "-o", "out"], 3, &["--base dir:DIR"]);
    place.refused(
        &["image", &board, "--base", "nonsense", "-o", "out"],
        2,
        &["--base: neither a reference", "write dir:DIR"],
    );

    // Locked by the first build, changed after it.
    let own = place.path("own.dtb");
    std::fs::copy(testkit::workspace().join("fixtures/demo/rk3588s-demo.dtb"), &own).unwrap();
    let fixture = testkit::workspace().join("fixtures/demo/rk3588s-demo.dtb");
    let board = bare_demo(&place, |text| text.replace(fixture.to_str().unwrap(), "own.dtb"));
    assert_eq!(place.run(&["image", &board, "-o", "first", "--locked"]).status.code(), Some(3));
    assert_eq!(place.run(&["image", &board, "-o", "first"]).status.code(), Some(0));
    assert_eq!(place.run(&["image", &board, "-o", "first", "--locked"]).status.code(), Some(0));
    let mut bytes = testkit::read(&own);
    bytes.push(0);
    std::fs::write(&own, bytes).unwrap();
    place.refused(
        &["image", &board, "-o", "out"],
        3,
        &["SRC002", "expected sha256:", "found sha256:", "origin: own.dtb"],
    );
}

#[test]
fn damaged_inputs_are_refused_with_offset_and_meaning() {
    let place = Place::new();
    let board = bare_demo(&place, |text| text);
    for (name, role, at, code) in [
        ("idbloader.img", "idbloader", 0x10, "IDB005"),
        ("idbloader.img", "idbloader", 0x900, "IDB009"),
        ("u-boot.itb", "u-boot", 5000, "FIT008"),
        ("rk3588s-demo.dtb", "dtb", 0, "DTB0"),
    ] {
        let mut bytes = testkit::read(testkit::workspace().join("fixtures/demo").join(name));
        bytes[at] ^= 0x40;
        let path = place.path("damaged");
        std::fs::write(&path, bytes).unwrap();
        let source = format!("{role}={}", path.display());
        place.refused(&["image", &board, "--source", &source, "-o", "out"], 1, &[code, role, "bytes "]);
        place.refused(
            &["image", &board, "--source", &source, "--allow", "FIT008", "-o", "out"],
            2,
            &["cannot be allowed"],
        );
    }
    std::fs::write(place.path("text"), "no kernel").unwrap();
    for role in ["kernel", "initramfs", "systemd-boot", "systemd-stub"] {
        let source = format!("{role}={}", place.path("text").display());
        place.refused(&["image", &board, "--source", &source, "-o", "out"], 1, &[role, "help:"]);
    }
}

#[test]
fn too_small_an_image_says_what_needs_how_much() {
    let place = Place::new();
    let board = bare_demo(&place, |text| text);
    place.refused(
        &["image", &board, "--size", "104857600", "-o", "out"],
        1,
        &["LAY004", "104857600", "partition 1 (EFI) 2101 MiB", "partition 2 (META) 1 MiB"],
    );
    place.refused(&["image", &board, "--size", "1000", "-o", "out"], 2, &["multiple of 512"]);
    place.refused(&["image", &board, "--size", "18446744073709551104", "-o", "out"], 2, &["--size"]);
}

#[test]
fn json_is_one_object_on_errors_too() {
    let place = Place::new();
    for (arguments, exit) in [
        (vec!["image", "dmo", "--json"], 2),
        (vec!["image", "--json"], 2),
        (vec!["verify", "/no/such", "--json"], 3),
        (vec!["boards", "--json"], 0),
        (vec!["boards", "show", "nanopi-m6", "--json"], 0),
        (vec!["cache", "stats", "--json"], 0),
    ] {
        let output = place.run(&arguments);
        assert_eq!(output.status.code(), Some(exit), "{arguments:?}");
        let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(value["schema"], 1);
        assert_eq!(value["ok"], exit == 0);
        assert!(value["findings"].is_array() && value["result"].is_object(), "{value}");
        if exit != 0 {
            assert_eq!(value["findings"][0]["severity"], "error", "{value}");
            assert!(value["findings"][0]["code"].is_string());
        }
    }
}

#[test]
fn nothing_to_do_does_nothing_and_a_change_is_explained() {
    let place = Place::new();
    let board = bare_demo(&place, |text| text);
    let text = |output: Output| {
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let first = text(place.run(&["image", &board, "-o", "out", "--explain"]));
    assert!(first.contains("miss: nothing was built"), "{first}");
    let stamp = || std::fs::metadata(place.path("out/metal-arm64.raw.xz")).unwrap().modified().unwrap();
    let written = stamp();
    let second = text(place.run(&["image", &board, "-o", "out", "--explain"]));
    assert!(second.contains("hit: no input changed") && second.contains("nothing to do"), "{second}");
    assert_eq!(stamp(), written);
    let third = text(place.run(&["image", &board, "-o", "out", "--explain", "--kernel-arg", "a=b"]));
    assert!(third.contains("miss: parameters.kernelArgs changed"), "{third}");
    std::fs::write(place.path("out/build.json"), "{}").unwrap();
    let fourth = text(place.run(&["image", &board, "-o", "out", "--explain", "--kernel-arg", "a=b"]));
    assert!(fourth.contains("build.json is not as it was written"), "{fourth}");
    assert_eq!(names(&place.path("out")), ["SHA256SUMS", "build.json", "installer-arm64.tar", "metal-arm64.raw.xz"]);
}

#[test]
fn an_older_file_beside_a_newer_record_is_named() {
    let place = Place::new();
    let board = bare_demo(&place, |text| text);
    for (talos, format) in [("v1.10.6", "raw.zst"), ("v1.13.9", "raw.xz")] {
        let output = place.run(&["image", &board, "-o", "out", "--talos", talos, "--format", format]);
        assert_eq!(output.status.code(), Some(0));
    }
    for (name, warned) in [("out/metal-arm64.raw.zst", true), ("out/metal-arm64.raw.xz", false)] {
        let output = place.run(&["verify", name]);
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(String::from_utf8_lossy(&output.stderr).contains("warning[VFY006]"), warned, "{name}");
    }
}

#[test]
fn join_tokens_reach_no_file() {
    let place = Place::new();
    let board = bare_demo(&place, |text| text);
    let argument = "--kernel-arg=siderolink.api=grpc://h?jointoken=S3CRETWORD";
    assert_eq!(place.run(&["image", &board, "-o", "out", "--format", "raw.xz", argument]).status.code(), Some(0));
    let mut open = vec![place.path("cache"), place.path("out")];
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_none_or(|extension| extension != "xz") {
                let bytes = testkit::read(&path);
                assert!(!bytes.windows(10).any(|part| part == b"S3CRETWORD"), "{}", path.display());
            }
        }
    }
}

#[test]
fn a_dry_run_writes_nothing() {
    let place = Place::new();
    let board = bare_demo(&place, |text| text);
    let output = place.run(&["image", &board, "-o", "out", "--dry-run"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stdout).contains("partition 1 (EFI)"));
    assert!(!place.path("out").exists());
    assert!(!place.path("sources.lock").exists());
}

#[test]
fn ctrl_c_leaves_nothing_behind() {
    let place = Place::new();
    let board = bare_demo(&place, |text| text);
    let mut stopped = 0;
    // The moment is chosen by what the program says: it has begun to write.
    for _ in 0..20 {
        let mut child = place
            .command(&["image", &board, "-o", "out", "--format", "raw.gz", "--format", "raw.zst", "--format", "raw"])
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let mut seen = Vec::new();
        let mut byte = [0];
        while std::io::Read::read(&mut stderr, &mut byte).unwrap() == 1 {
            seen.push(byte[0]);
            if seen.ends_with(b"write gz\n") {
                testkit::run(Command::new("kill").args(["-INT", &child.id().to_string()]));
                break;
            }
        }
        std::io::Read::read_to_end(&mut stderr, &mut seen).unwrap();
        let status = child.wait().unwrap();
        if status.code() == Some(130) {
            stopped += 1;
            assert!(String::from_utf8_lossy(&seen).contains("stopped by Ctrl-C"));
            assert_eq!(names(&place.path("out")), Vec::<String>::new());
            break;
        }
        // It was faster than the signal.
        assert_eq!(status.code(), Some(0));
        std::fs::remove_dir_all(place.path("out")).unwrap();
    }
    assert_eq!(stopped, 1, "twenty builds were faster than a signal");
}

#[test]
fn folders_that_cannot_be_written_are_exit_4() {
    let place = Place::new();
    let board = bare_demo(&place, |text| text);
    std::fs::write(place.path("file"), "x").unwrap();
    let output = place.run(&["image", &board, "-o", "file/out"]);
    assert_eq!(output.status.code(), Some(4), "{}", String::from_utf8_lossy(&output.stderr));
    let output = place.run(&["image", &board, "-o", "/proc/out"]);
    assert_eq!(output.status.code(), Some(4), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A limit on the size of files ends a write in the middle, as a full disk does. The signal that comes with it is ignored
/// by the shell, so the program sees the error.
#[test]
fn a_write_that_fails_in_the_middle_is_exit_4_and_leaves_nothing() {
    let place = Place::new();
    let board = bare_demo(&place, |text| text);
    for (format, blocks) in [("raw.xz", 40), ("raw.zst", 20), ("raw", 100)] {
        let program = env!("CARGO_BIN_EXE_xtask");
        let cache = place.path("cache");
        let script = format!(
            "trap '' XFSZ; ulimit -f {blocks}; exec '{program}' image '{board}' -o out --format {format} --cache-dir '{}'",
            cache.display()
        );
        let output = Command::new("bash").args(["-c", &script]).current_dir(place.home.path()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(4), "{format}: {text}");
        assert!(text.contains("error[IOE001]") && text.contains(&format!("metal-arm64.{format}")), "{text}");
        assert!(!place.path("out").exists(), "{:?}", names(&place.path("out")));
    }
}

#[test]
fn standard_output_that_cannot_be_written_is_exit_4() {
    let place = Place::new();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let status = place.command(&["boards"]).stdout(full).stderr(Stdio::null()).status().unwrap();
    assert_eq!(status.code(), Some(4));
}
