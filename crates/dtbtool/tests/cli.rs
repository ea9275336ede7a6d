//! The program: what it prints and how it exits.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::{io::Write as _, process::Command};

fn dtbtool(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_dtbtool")).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn the_program_exits_as_promised() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(&common::small_bytes()).unwrap();
    let tree = file.path().to_str().unwrap();
    let mut damaged = tempfile::NamedTempFile::new().unwrap();
    damaged.write_all(&common::small_bytes()[..100]).unwrap();
    let cut = damaged.path().to_str().unwrap();
    let mut clean = tempfile::NamedTempFile::new().unwrap();
    clean.write_all(&dtbtool::model::DeviceTree::new().to_bytes(&dtbtool::WriteOptions::default()).unwrap()).unwrap();
    let sound = clean.path().to_str().unwrap();
    for (arguments, code, words) in [
        (&["inspect", tree][..], 0, "ACME Board"),
        (&["inspect", tree, "--tsv"], 0, "fdt\t0\tcompatible\tacme,board|rockchip,rk3588\n"),
        (&["inspect", tree, "--json"], 0, "\"schema\":1"),
        (&["inspect", cut], 1, "error[DTB004]"),
        (&["check", sound], 0, "nothing to complain about"),
        (&["check", tree], 0, "warning[DTB125]: /cpus/cpu@0 reg"),
        (&["check", tree, "--format", "dtc"], 0, "Warning (reg_format): /cpus/cpu@0:reg: property has invalid length"),
        (&["check", tree, "--format", "dtc", "-E", "reg_format"], 1, "\nERROR: Input tree has errors, aborting"),
        (&["check", tree, "--format", "dtc", "-W", "always_fail"], 0, "Warning (always_fail): /: always_fail check\n"),
        (&["check", tree, "--no", "reg_format", "-W", "no-avoid_default_addr_size"], 0, "info[DTB128]"),
        (&["check", tree, "-W", "reg_formal"], 2, "did you mean \"reg_format\""),
        (&["check", tree, "-E", "reg_format"], 1, "error[DTB125]"),
        (&["check", tree, "--compatible", "acme,other"], 1, "error[DTB080]"),
        (&["check", tree, "--require", "sata", "--json"], 1, "\"DTB081\""),
        (&["check", tree, "--require", "satta"], 2, "did you mean \"sata\""),
        (&["check", cut, "--json"], 1, "\"ok\":false"),
        (&["dts", tree], 0, "serial@feb50000 {"),
        (&["dts", cut], 1, "dtbtool check"),
        (&["dts", "/nonexistent"], 3, "/nonexistent"),
        (&["check", "/nonexistent", "--json"], 3, "\"error\":"),
        (&["inspect", "/"], 4, "error"),
        (&["check"], 2, "FILE"),
        (&["--help"], 0, "Examples:"),
    ] {
        let (found, out, errors) = dtbtool(arguments);
        assert_eq!(found, Some(code), "{arguments:?}: {out}{errors}");
        assert!(out.contains(words) || errors.contains(words), "{arguments:?}: {out}{errors}");
        if arguments.contains(&"--json") {
            assert_eq!(out.lines().count(), 1, "{out}");
            assert!(serde_json::from_str::<serde_json::Value>(&out).unwrap()["findings"].is_array());
        }
    }
}
