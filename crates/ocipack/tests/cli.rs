//! The program: output, exit codes.
#![cfg(feature = "cli")]

mod common;

use std::process::{Command, Output};

use common::{bytes, dir, file, layers, one_layer, overlay, save};

fn ocipack(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ocipack")).args(arguments).output().expect("it starts")
}

#[test]
fn inspect_prints_and_its_exit_code_tells() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let (good, bad) = (path("overlay.tar"), path("bad.tar"));
    save(good.as_ref(), &bytes(&overlay()));
    save(bad.as_ref(), &one_layer(&[file("../etc/passwd", "x")]));
    for (arguments, code, out, err) in [
        (vec!["inspect", &good], 0, "linux/arm64, created 2023-11-14T22:13:20Z, for docker load", ""),
        (vec!["inspect", "--tsv", &good], 0, "linux/amd64.path.installers/default\t0777 symbolic link rk3588", ""),
        (vec!["inspect", "--json", &good], 0, r#""command":"inspect","error":null,"findings":[],"ok":true"#, ""),
        (vec!["inspect", &bad], 1, "linux/arm64", "error[OCI030]: path \"../etc/passwd\" holds `..`"),
        (vec!["inspect", "--json", &bad], 1, r#""code":"OCI030""#, ""),
        (vec!["inspect", &path("nothing.tar")], 3, "", "nothing.tar"),
        (vec!["inspect", "--json", &path("nothing.tar")], 3, r#""ok":false"#, ""),
        (vec!["inspect", &path("")], 3, "", "index.json"),
        (vec!["inspect"], 2, "", "Usage"),
        (vec!["inspect", "--json", "--tsv", &good], 2, "", "cannot be used with"),
        (vec!["unpack", &good], 2, "", "unrecognized subcommand"),
        (vec!["inspect", "--help"], 0, "Exit codes", ""),
    ] {
        let output = ocipack(&arguments);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stdout}{stderr}");
        assert!(stdout.contains(out) && stderr.contains(err), "{arguments:?}: {stdout}{stderr}");
        assert_eq!(stderr.is_empty(), err.is_empty(), "{stderr}");
    }
}

#[test]
fn layers_and_lint_print_and_their_exit_codes_tell() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    let (good, two, packed) = (path("overlay.tar"), path("two.tar"), path("overlay.tar.gz"));
    save(good.as_ref(), &bytes(&overlay()));
    save(packed.as_ref(), &common::gzip(&bytes(&overlay())));
    let upper = [file("etc/.wh.a", ""), file("etc/b", "bb"), file("etc/c", "c")];
    save(two.as_ref(), &layers(&[&[dir("etc"), file("etc/a", "a"), file("etc/b", "b")], &upper]));
    for (arguments, code, out, err) in [
        (vec!["layers", &good], 0, "adds 1 file (2 B)", ""),
        (vec!["layers", &two], 0, "~ 0644         2 B  etc/b  over layer 0\n", ""),
        (vec!["layers", &two], 0, "adds 1 file (1 B), replaces 1 file (2 B), hides 2 files (2 B) of lower layers", ""),
        (vec!["layers", "--tsv", &two], 0, "linux/arm64.1.delete.etc/a\t0644 file 1 layer 0\n", ""),
        (vec!["layers", "--json", &two], 0, r#""below":0,"change":"delete","kind":"file""#, ""),
        (vec!["layers", &packed], 1, "", "help: unpack it: gzip -d"),
        (vec!["layers", "--help"], 0, "Signs: + added", ""),
        (vec!["inspect", &two], 0, "    0644         2 B   1  etc/b\n", ""),
        (vec!["inspect", &good], 0, "\nNot the same for all platforms\n  installers/rk3588: other bytes or mode\n", ""),
        (vec!["lint", &good], 0, "linux/amd64, linux/arm64: 0 errors, 0 warnings\n", ""),
        (vec!["lint", "--require", "linux/riscv64", &good], 1, "1 error,", "error[OCI047]: there is no image"),
        (vec!["lint", "--require", "linux/riscv64", "--allow", "OCI047", &good], 0, "1 warning", "warning[OCI047]"),
        (vec!["lint", "--allow", "OCI999", &good], 2, "", "no rule has this code"),
        (vec!["lint", "--require", "arm64", &good], 2, "", "expected os/architecture"),
        (vec!["lint", "--tsv", "--require", "linux/s390x", &good], 1, "lint\t0\tOCI047\terror: there is no", "OCI047"),
        (vec!["lint", "--json", &good], 0, r#""result":{"errors":0,"images":["linux/amd64","linux/arm64"]"#, ""),
        (vec!["lint", &packed], 1, "", "error[OCI004]"),
        (vec!["lint", &path("nothing.tar")], 3, "", "nothing.tar"),
        (vec!["lint", "--help"], 0, "Exit codes", ""),
    ] {
        let output = ocipack(&arguments);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stdout}{stderr}");
        assert!(stdout.contains(out) && stderr.contains(err), "{arguments:?}: {stdout}{stderr}");
        assert_eq!(stderr.is_empty(), err.is_empty(), "{arguments:?}: {stderr}");
    }
    // A name that only Linux can keep.
    let aux = path("aux.tar");
    save(aux.as_ref(), &one_layer(&[file("a", "x"), file("A", "y")]));
    for (arguments, code) in
        [(vec!["lint", &aux], 0), (vec!["lint", "--strict", &aux], 1), (vec!["lint", "--portable", &aux], 1)]
    {
        let output = ocipack(&arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("OCI038"), "{output:?}");
    }
}

#[test]
fn a_layout_folder_is_inspected_as_its_archive() {
    let Some(tar) = testkit::tool("tar") else { return };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let archive = folder.path().join("overlay.tar");
    let layout = folder.path().join("layout");
    save(&archive, &bytes(&overlay()));
    std::fs::create_dir(&layout).expect("a temporary folder takes folders");
    testkit::run(Command::new(tar).arg("xf").arg(&archive).arg("-C").arg(&layout));
    let output = ocipack(&["inspect", layout.to_str().expect("UTF-8")]);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(text.contains("OCI layout, v1.10.6\n") && text.contains("installers/default -> rk3588"), "{text}");
}

/// What `build` writes is read by others, is the same twice, and lies on its base.
#[test]
fn folders_become_images_alone_and_on_a_base() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    for (name, text) in
        [("shared/etc/motd", "hello"), ("arm64/bin/run", "arm64"), ("amd64/bin/run", "amd64"), ("top/etc/motd", "top")]
    {
        let file = folder.path().join(name);
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("a temporary folder takes folders");
        save(&file, text.as_bytes());
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let permissions = std::fs::Permissions::from_mode(0o700);
        std::fs::set_permissions(folder.path().join("arm64/bin/run"), permissions).expect("ours");
        std::os::unix::fs::symlink("run", folder.path().join("arm64/bin/start")).expect("a link");
    }
    let (arm64, amd64) = (format!("linux/arm64={}", path("arm64")), format!("linux/amd64={}", path("amd64")));
    let (shared, top) = (path("shared"), path("top"));
    let build = |target: &str, more: &[&str]| {
        let mut arguments = vec!["build", "-o", target, "--epoch", "1700000000", "--name", "me/overlay:v1"];
        arguments.extend(more);
        let output = ocipack(&arguments);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (one, two, derived) = (path("one.tar"), path("two.tar"), path("derived.tar"));
    let layers =
        ["--layer", &shared, "--layer", &arm64, "--layer", &amd64, "--entrypoint", "/bin/run", "--label", "a=b"];
    assert_eq!(build(&one, &layers), (Some(0), String::new()));
    assert_eq!(build(&two, &layers), (Some(0), String::new()));
    assert!(testkit::read(&one) == testkit::read(&two));
    assert!(!std::path::Path::new(&path("one.tar.parts")).exists());
    let output = ocipack(&["inspect", &one]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("0755         5 B   1  bin/run\n") && text.contains("bin/start -> run"), "{text}");
    assert!(text.contains("bin/start: not in linux/amd64"), "{text}");
    // On amd64 nobody may execute the program.
    let output = ocipack(&["lint", &one]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        output.status.code() == Some(1)
            && text.contains("error[OCI051]")
            && text.contains("help: give the file mode 0755"),
        "{text}"
    );

    assert_eq!(
        build(&derived, &["--base", &one, "--platform", "linux/arm64", "--layer", &top]),
        (Some(0), String::new())
    );
    let text = String::from_utf8_lossy(&ocipack(&["layers", &derived]).stdout).into_owned();
    assert!(text.contains("~ 0644         3 B  etc/motd  over layer 0"), "{text}");
    assert_eq!(ocipack(&["lint", "--strict", &derived]).status.code(), Some(0));
    let (hostile, damaged) = (path("hostile.tar"), path("damaged.tar"));
    save(hostile.as_ref(), &one_layer(&[file("../etc/passwd", "x")]));
    let mut bytes = testkit::read(&one);
    let config = bytes.windows(14).position(|text| text == b"\"architecture\"").expect("a configuration");
    bytes[config] = b'!';
    save(damaged.as_ref(), &bytes);
    for (more, code, word) in [
        (vec!["--layer", &top], 2, "no platform: give"),
        (vec!["--base", &hostile, "--layer", &top], 1, "the base is damaged\nerror[OCI030]: path \"../etc/passwd\""),
        (
            vec!["--base", &damaged, "--platform", "linux/amd64", "--layer", &top],
            1,
            "no image to build on\nerror[OCI016]",
        ),
        (
            vec!["--base", &one, "--platform", "linux/riscv64", "--layer", &top],
            1,
            "the base has no image for linux/riscv64, there are: linux/amd64, linux/arm64",
        ),
        (vec!["--platform", "linux/arm64", "--layer", "/no/such/folder"], 3, "/no/such/folder"),
        (vec!["--base", &top, "--layer", &top], 3, "index.json"),
        (vec![], 2, "--layer"),
    ] {
        let (found, text) = build(&path("refused.tar"), &more);
        assert!(found == Some(code) && text.contains(word), "{more:?}: {found:?} {text}");
        assert!(!std::path::Path::new(&path("refused.tar")).exists());
    }
}
