//! One release in every form that `--base` takes: the same image, to the byte.

#![allow(clippy::unwrap_used, reason = "a test stops where its helpers do")]

mod common;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use common::{Inputs, World, prefixed, result, xtask};
use fs_err as fs;

/// An image of the base's files, a layer each, made by umoci; and what skopeo makes of it.
fn images(world: &World, base: &Path) -> Option<Vec<(&'static str, PathBuf)>> {
    let (umoci, skopeo) = (testkit::tool("umoci")?, testkit::tool("skopeo")?);
    let layout = world.path("layout");
    let image = prefixed("", &layout).into_string().unwrap() + ":v1.13.9";
    let umoci = |args: &[&str]| testkit::run(Command::new(&umoci).args(args));
    umoci(&["init", "--layout", layout.to_str().unwrap()]);
    umoci(&["new", "--image", &image]);
    umoci(&["config", "--image", &image, "--os", "linux", "--architecture", "arm64"]);
    for entry in fs::read_dir(base.join("usr/install/arm64")).unwrap() {
        let path = fs::canonicalize(entry.unwrap().path()).unwrap();
        let target = format!("/usr/install/arm64/{}", path.file_name().unwrap().to_str().unwrap());
        umoci(&["insert", "--rootless", "--image", &image, path.to_str().unwrap(), &target]);
    }
    let mut forms = vec![("oci:", layout)];
    for (form, name) in [("oci-archive:", "oci.tar"), ("docker-archive:", "docker.tar")] {
        let path = world.path(name);
        let to = format!("{form}{}:imager:v1.13.9", path.display());
        testkit::run(Command::new(&skopeo).args(["--insecure-policy", "copy", &format!("oci:{image}"), &to]));
        forms.push((form, path));
    }
    testkit::run(Command::new(testkit::tool("gzip")?).args(["-1", "-k"]).arg(world.path("docker.tar")));
    forms.push(("docker-archive:", world.path("docker.tar.gz")));
    Some(forms)
}

/// The sums of everything that a build wrote, `build.json` among it.
fn sums(world: &World, board: &Path, base: &std::ffi::OsStr, out: &str) -> String {
    let mut command = world.image(board, "v1.13.9", out);
    command.args(["--offline", "--format", "raw", "--base"]).arg(base);
    result(&mut command);
    fs::read_to_string(world.path(out).join("SHA256SUMS")).unwrap()
}

fn compare(world: &World) {
    let base = world.base("base", None);
    let board = world.plain_board("plain");
    let Some(forms) = images(world, &base) else { return };
    let expected = sums(world, &board, &prefixed("dir:", &base), "out-dir");
    for (number, (form, path)) in forms.iter().enumerate() {
        let found = sums(world, &board, &prefixed(form, path), &format!("out-{number}"));
        assert_eq!(found, expected, "{form}{}", path.display());
    }
    // A second build reads no layer: none is there any more.
    let (_, layout) = &forms[0];
    for entry in fs::read_dir(layout.join("blobs/sha256")).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    assert_eq!(sums(world, &board, &prefixed("oci:", layout), "out-again"), expected);
}

#[test]
fn every_form_of_a_base_gives_the_same_image() {
    compare(&World::new(Inputs::demo()));
}

#[test]
fn every_form_of_the_reference_inputs_gives_the_same_image() {
    if let Some(inputs) = Inputs::reference() {
        compare(&World::new(inputs));
    }
}

#[test]
fn what_is_wrong_with_a_base_is_said_with_its_code() {
    let world = World::new(Inputs::demo());
    let board = world.plain_board("plain");
    let base = world.base("base", None);
    let Some(forms) = images(&world, &base) else { return };
    let (_, layout) = &forms[0];
    let image = format!("{}:v1.13.9", layout.display());
    let umoci = testkit::tool("umoci").unwrap();
    let other = format!("{}:other", layout.display());
    testkit::run(Command::new(&umoci).args(["tag", "--image", &image, "other"]));
    testkit::run(Command::new(&umoci).args(["config", "--image", &other, "--config.user", "1"]));
    let wrong = world.path("wrong");
    let wrong_image = format!("{}:v1", wrong.display());
    testkit::run(Command::new(&umoci).arg("init").arg("--layout").arg(&wrong));
    testkit::run(Command::new(&umoci).args(["new", "--image", &wrong_image]));
    testkit::run(Command::new(&umoci).args([
        "config",
        "--image",
        &wrong_image,
        "--os",
        "linux",
        "--architecture",
        "amd64",
    ]));
    let empty = world.path("empty");
    let empty_image = format!("{}:v1", empty.display());
    testkit::run(Command::new(&umoci).arg("init").arg("--layout").arg(&empty));
    testkit::run(Command::new(&umoci).args(["new", "--image", &empty_image]));
    testkit::run(Command::new(&umoci).args([
        "config",
        "--image",
        &empty_image,
        "--os",
        "linux",
        "--architecture",
        "arm64",
    ]));
    let cut = world.path("cut.tar");
    let bytes = testkit::read(world.path("oci.tar"));
    fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    for (base, code, exit, text) in [
        (prefixed("oci:", layout), "SRC022", 3, "other"),
        (prefixed("oci:", &wrong), "SRC020", 3, "linux/amd64"),
        (prefixed("oci:", &empty), "SRC021", 3, "usr/install/arm64/vmlinuz"),
        (prefixed("oci-archive:", &cut), "SRC023", 1, "cut.tar"),
        (prefixed("oci:", &world.path("base")), "SRC027", 3, "index.json"),
        (prefixed("oci:", &world.path("none")), "SRC001", 3, "no folder"),
        ("127.0.0.1:1/siderolabs/imager:v1".into(), "NET007", 3, "--base dir:DIR"),
        ("docker://a/b:c".into(), "USE001", 2, "has no scheme"),
    ] {
        let mut command = xtask();
        command.arg("image").arg(&board).args(["--offline", "--talos", "v1.13.9", "-o"]).arg(world.path("out"));
        command.arg("--cache-dir").arg(world.path("cache")).arg("--base").arg(&base);
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(exit), "{}: {said}", base.display());
        assert!(said.contains(code) && said.contains(text), "{}: {said}", base.display());
    }
}
