//! The program: output, exit codes.
#![cfg(feature = "cli")]

mod common;

use std::process::{Command, Output};

use common::{bytes, file, one_layer, overlay, save};

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
