//! The installer image beside the one that the upstream imager made of the same inputs (`reference/*-installer`), and what
//! `image` and `installer` do when there is nothing to build it on.

#![allow(clippy::unwrap_used, reason = "a test stops where its helpers do")]

mod common;

use std::path::{Path, PathBuf};

use common::{Describe, Inputs, World, image, prefixed, result, xtask};
use fs_err as fs;
use serde_json::Value;

/// `installer BOARD` on a base of the reference.
fn installer(world: &World, board: &Path, talos: &str, base: &str, out: &str) -> std::process::Command {
    let mut command = xtask();
    command.arg("installer").arg(board).args(["--talos", talos, "--json", "--offline"]);
    command.arg("--installer-base").arg(prefixed("oci:", &testkit::reference().unwrap().join("in").join(base)));
    command.arg("-o").arg(world.path(out)).arg("--cache-dir").arg(world.path("cache"));
    world.stand_ins(&mut command);
    world.add_sources(&mut command);
    command
}

fn uki_sections(world: &World, describe: &Describe, bytes: &[u8], name: &str) -> Vec<Value> {
    let path = world.path(name);
    fs::write(&path, bytes).unwrap();
    describe.uki(&path)["sections"].as_array().unwrap().clone()
}

/// The imager's layers as `reference/*/unpacked` has them, in the shape of ours.
fn theirs(case: &str) -> Value {
    let path = testkit::reference().unwrap().join("shared").join(case).join("description.json");
    serde_json::from_slice(&testkit::read(path)).unwrap()
}

/// The imager's unified kernel image, out of `unpacked/layer-1.tar`.
fn their_uki(case: &str, tar: &Path) -> Vec<u8> {
    let layer = testkit::reference().unwrap().join("shared").join(case).join("unpacked/layer-1.tar");
    let output = std::process::Command::new(tar)
        .args(["-xOf".as_ref(), layer.as_os_str(), "usr/install/arm64/vmlinuz.efi".as_ref()])
        .output()
        .unwrap();
    assert!(output.status.success());
    output.stdout
}

fn digests(layer: &Value) -> Vec<(String, String)> {
    let entries = layer["entries"].as_array().unwrap().iter();
    entries
        .filter_map(|entry| Some((entry["name"].as_str()?.to_owned(), entry["sha256"].as_str()?.to_owned())))
        .collect()
}

#[test]
fn its_layers_hold_what_the_imagers_hold() {
    let (Some(inputs), Some(describe), Some(tar)) = (Inputs::reference(), Describe::find(), testkit::tool("tar"))
    else {
        return;
    };
    let world = World::new(inputs);
    let base = world.base("base", None);
    let board = world.overlay_board("nanopi-m6", 20_480);
    for talos in ["v1.10.6", "v1.13.9"] {
        let case = format!("{talos}-installer");
        let theirs = theirs(&case);
        // The imager keeps one layer of a base that has two.
        for stand_in in ["base-installer", "base-installer-2"] {
            let out = format!("{talos}-{stand_in}");
            result(installer(&world, &board, talos, stand_in, &out).arg("--base").arg(prefixed("dir:", &base)));
            let archive = world.path(&out).join("installer-arm64.tar");
            let Some(ours) = image::read(&archive) else { return };
            let layers = ours["layers"].as_array().unwrap();
            assert_eq!(layers.len(), 3, "{out}");
            // The base's layer has its bytes, the configuration everything that the base's says.
            assert_eq!(ours["config"]["rootfs"]["diff_ids"][0], theirs["config"]["rootfs"]["diff_ids"][0], "{out}");
            for key in ["config", "os", "architecture"] {
                assert_eq!(ours["config"][key], theirs["config"][key], "{out} {key}");
            }
            for (layer, diff_id) in layers.iter().zip(ours["config"]["rootfs"]["diff_ids"].as_array().unwrap()) {
                assert_eq!(layer["diff_id"], *diff_id, "{out}");
            }
            // The boot programs have the imager's names; systemd-boot its bytes.
            let (programs, expected) = (image::files(&layers[1]), digests(&theirs["layers"][1]));
            assert_eq!(programs.keys().collect::<Vec<_>>(), expected.iter().map(|(path, _)| path).collect::<Vec<_>>());
            assert_eq!(programs["usr/install/arm64/systemd-boot.efi"], expected[0].1, "{out}");
            // Everything of the overlay is there by its bytes, but the executable, which is another overlay's.
            let overlay = image::files(&layers[2]);
            for (path, digest) in digests(&theirs["layers"][2]) {
                if path == "overlay/installers/default" {
                    assert!(overlay.contains_key(&path));
                } else {
                    assert!(overlay.values().any(|ours| *ours == digest), "{out}: {path}");
                }
            }
            assert_eq!(image::file(&archive, "overlay/extra-options").unwrap(), b"board: nanopi-m6\n");
            assert_eq!(layers[2]["entries"]["overlay/installers/default"]["mode"], 0o755);
            // The unified kernel image section by section; `.uname` and `.splash` are the imager's own (docs/parity.md).
            let uki = image::file(&archive, "usr/install/arm64/vmlinuz.efi").unwrap();
            let ours = uki_sections(&world, &describe, &uki, "ours.efi");
            let theirs = uki_sections(&world, &describe, &their_uki(&case, &tar), "theirs.efi");
            let names = |sections: &[Value]| sections.iter().map(|section| section["name"].clone()).collect::<Vec<_>>();
            assert_eq!(names(&ours), names(&theirs), "{out}");
            for (ours, theirs) in ours.iter().zip(&theirs) {
                if ![".uname", ".splash"].contains(&ours["name"].as_str().unwrap()) {
                    assert_eq!(ours["sha256"], theirs["sha256"], "{out} {}", ours["name"]);
                }
            }
        }
    }
}

#[test]
fn it_is_the_same_twice_and_in_another_folder() {
    let world = World::new(Inputs::demo());
    let base = world.base("base", None);
    let board = world.overlay_board("demo", 20_480);
    let build = |out: &str, cache: &str| {
        let mut command = xtask();
        command.arg("installer").arg(&board).args(["--json", "--offline", "--talos", "v1.13.9"]);
        command.arg("--base").arg(prefixed("dir:", &base)).arg("-o").arg(world.path(out));
        command.arg("--installer-base").arg(prefixed("oci-archive:", &installer_base()));
        command.arg("--cache-dir").arg(world.path(cache));
        world.stand_ins(&mut command);
        world.add_sources(&mut command);
        result(&mut command);
        fs::read(world.path(out).join("installer-arm64.tar")).unwrap()
    };
    let first = build("a", "cache");
    assert!(first == build("a", "cache"), "nothing to do");
    assert!(first == build("b", "cache"), "layers from the store");
    assert!(first == build("c", "other"), "an empty store");
}

/// The demo's own base.
fn installer_base() -> PathBuf {
    testkit::workspace().join("fixtures/demo/installer-base.tar")
}

#[test]
fn strangers_read_it() {
    let world = World::new(Inputs::demo());
    let base = world.base("base", None);
    let board = world.overlay_board("demo", 20_480);
    let mut command = xtask();
    command.arg("installer").arg(&board).args(["--json", "--offline"]).arg("--base").arg(prefixed("dir:", &base));
    command.arg("--installer-base").arg(prefixed("oci-archive:", &installer_base()));
    command.arg("-o").arg(world.path("out")).arg("--cache-dir").arg(world.path("cache"));
    world.stand_ins(&mut command);
    world.add_sources(&mut command);
    result(&mut command);
    let archive = world.path("out/installer-arm64.tar");
    if let Some(skopeo) = testkit::tool("skopeo") {
        for form in ["oci-archive:", "docker-archive:"] {
            let mut inspect = std::process::Command::new(&skopeo);
            inspect.args(["--override-arch", "arm64", "--override-os", "linux", "inspect", "--config"]);
            let config: Value = serde_json::from_str(&testkit::run(inspect.arg(prefixed(form, &archive)))).unwrap();
            assert_eq!(config["config"]["Entrypoint"][0], "/usr/bin/installer", "{form}");
        }
        let layout = world.path("layout");
        let mut copy = std::process::Command::new(&skopeo);
        copy.args(["copy", "-q"]).arg(prefixed("oci-archive:", &archive)).arg(format!("oci:{}:x", layout.display()));
        testkit::run(&mut copy);
        if let Some(umoci) = testkit::tool("umoci") {
            let mut unpack = std::process::Command::new(umoci);
            let image = layout.display().to_string() + ":x";
            unpack.args(["unpack", "--rootless", "--image", &image]).arg(world.path("bundle"));
            testkit::run(&mut unpack);
            let root = world.path("bundle/rootfs");
            assert!(root.join("usr/install/arm64/vmlinuz.efi").is_file());
            assert!(root.join("overlay/artifacts/overlay.json").is_file());
        }
    }
    let verified = result(xtask().args(["verify", "--json"]).arg(&archive));
    assert_eq!(verified["image"], "installer image");
}

#[test]
fn without_a_base_image_builds_the_rest_and_installer_says_what_it_needs() {
    let world = World::new(Inputs::demo());
    let base = world.base("base", None);
    let board = world.overlay_board("demo", 20_480);
    let run = |name: &str, out: &str, more: &[&str]| {
        let mut command = xtask();
        command.arg(name).arg(&board).args(["--offline", "--talos", "v1.13.9", "--bootloader", "sd-boot"]).args(more);
        command.arg("--base").arg(prefixed("dir:", &base)).arg("-o").arg(world.path(out));
        command.arg("--cache-dir").arg(world.path("cache"));
        world.stand_ins(&mut command);
        world.add_sources(&mut command);
        command.output().unwrap()
    };
    let output = run("image", "out", &[]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    let lines: Vec<&str> = said.lines().filter(|line| line.starts_with("no installer image")).collect();
    assert_eq!(
        lines,
        ["no installer image: ghcr.io/siderolabs/installer-base:v1.13.9 is not in the store, and --offline is given; \
          name the image that it stands on: --installer-base REFERENCE, oci:DIR or oci-archive:FILE"]
    );
    let record: Value = serde_json::from_slice(&fs::read(world.path("out/build.json")).unwrap()).unwrap();
    assert!(record["installer"].is_null());
    assert!(!world.path("out/installer-arm64.tar").exists());

    for (more, code, word) in [
        (&[][..], 3, "INS003"),
        (&["--installer-base", "oci:/nowhere"], 3, "no folder at this path"),
        (&["--installer-base", "nonsense"], 2, "neither a reference nor a known form"),
        (&["--installer-base", "dir:."], 2, "stands on an image, not on a folder"),
    ] {
        let output = run("installer", "none", more);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{more:?}: {said}");
        assert!(said.contains(word), "{more:?}: {said}");
        assert!(!world.path("none/installer-arm64.tar").exists());
    }
}

#[test]
fn the_installer_image_of_another_build_does_not_stay_beside_a_disk_image() {
    let world = World::new(Inputs::demo());
    let base = world.base("base", None);
    let board = world.overlay_board("demo", 20_480);
    let build = |more: &[&str]| {
        let mut command = xtask();
        command.arg("image").arg(&board).args(["--offline", "--explain", "--talos", "v1.13.9"]).args(more);
        command.arg("--base").arg(prefixed("dir:", &base)).arg("-o").arg(world.path("out"));
        command.arg("--cache-dir").arg(world.path("cache"));
        world.stand_ins(&mut command);
        world.add_sources(&mut command);
        testkit::run(&mut command)
    };
    let installer_base = format!("oci-archive:{}", installer_base().display());
    build(&["--installer-base", &installer_base]);
    let archive = world.path("out/installer-arm64.tar");
    assert!(archive.is_file());
    let said = build(&["--kernel-arg", "a=b"]);
    assert!(said.contains("installer-arm64.tar: removed"), "{said}");
    assert!(!archive.exists());
    // What this program did not write is left alone.
    fs::write(&archive, "mine").unwrap();
    build(&["--kernel-arg", "a=c"]);
    assert_eq!(fs::read(&archive).unwrap(), b"mine");
}

#[test]
fn a_configuration_that_is_refused_does_not_enter_the_store() {
    let world = World::new(Inputs::demo());
    let base = world.base("base", None);
    let board = world.overlay_board("demo", 20_480);
    let config = world.path("machine.yaml");
    fs::write(&config, "version: v1alpha1\nmachine:\n  type: worker\n  token: canary.0123456789abcdef\n").unwrap();
    for more in [&["--dry-run"][..], &[], &["--allow", "CFG001"]] {
        let mut command = world.image(&board, "v1.13.9", "out");
        command.args(["--offline", "--embed-config"]).arg(&config).args(more);
        command.arg("--base").arg(prefixed("dir:", &base));
        world.add_sources(&mut command);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let allowed = more.contains(&"--allow");
        assert_eq!(output.status.code(), Some(i32::from(!allowed)), "{said}");
        assert!(said.contains("machine.token") && !said.contains("canary"), "{said}");
        // Not the configuration, and nothing that was made of it, allowed or not.
        let actions = fs::read_dir(world.path("cache/v1/actions")).unwrap();
        let names: Vec<_> = actions.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        assert!(!names.iter().any(|name| name == "initramfs" || name.starts_with("initramfs-0")), "{names:?}");
    }
    let mut meta = xtask();
    let output = meta.arg("installer").arg(&board).args(["--meta", "0x0a=x", "--offline"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "an installer image takes no META values");
}
