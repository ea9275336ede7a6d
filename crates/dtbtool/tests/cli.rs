//! The program: what it prints and how it exits.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic")]

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
        (&["check", "/nonexistent", "--json"], 3, "\"SRC001\""),
        (&["check", "--json"], 2, "\"USE001\""),
        (&["check", tree, "--require", "satta", "--json"], 2, "\"USE001\""),
        (&["edit", cut, "--enable", "/x", "-o", cut, "--json"], 1, "\"DTB239\""),
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

#[test]
fn trees_are_changed_and_compared() {
    use dtbtool::{
        WriteOptions,
        model::{DeviceTree, Node, Property},
    };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (base, overlay, bad, out) = (path("base.dtb"), path("o.dtbo"), path("bad.dtbo"), path("out.dtb"));
    let small = common::small_bytes();
    std::fs::write(&base, &small).unwrap();
    let fragment = |target: &str| {
        let mut tree = DeviceTree::new();
        tree.root_mut().children.push(
            Node::new("fragment@0")
                .with(Property::string("target-path", target))
                .with_child(Node::new("__overlay__").with(Property::string("status", "okay"))),
        );
        tree.to_bytes(&WriteOptions::default()).unwrap()
    };
    std::fs::write(&overlay, fragment("/serial@feb50000")).unwrap();
    std::fs::write(&bad, fragment("/serial@feb50001")).unwrap();
    for (arguments, code, words) in [
        (&["diff", &base, &base][..], 0, "no differences"),
        (&["diff", &base, &base, "--json"], 0, "\"equal\":true"),
        (&["overlay", "check", &base, &overlay], 0, "can be applied"),
        (&["overlay", "check", &base, &bad], 1, "did you mean /serial@feb50000?"),
        (&["overlay", "check", "--json", &base, &bad], 1, "\"DTB223\""),
        (&["overlay", "apply", &base, &bad, "-o", &out], 1, "FDT_ERR_NOTFOUND"),
        (&["overlay", "apply", &base, &bad, "-o", &out, "--json"], 1, "\"command\":\"overlay apply\""),
        (&["diff", &base, &out], 3, "out.dtb"),
        (&["overlay", "apply", &base, &overlay, "-o", &out], 0, "1 overlay applied"),
        (&["diff", &base, &out], 1, "/serial@feb50000: + status: \"okay\"\n1 property added"),
        (&["edit", &out, "-o", &out], 2, "no edit is given"),
        (&["edit", &out, "--edit", "sett / a b", "-o", &out], 2, "did you mean set?"),
        (
            &[
                "edit",
                &out,
                "--set",
                "/",
                "model",
                "\"Other\"",
                "--delete",
                "/serial@feb50000 status",
                "--json",
                "-o",
                &out,
            ],
            0,
            "\"edits\":2",
        ),
        (&["diff", &base, &out], 1, "/: model: \"ACME Board\" -> \"Other\"\n1 property changed"),
        (&["edit", &out, "--mac", "/serial@feb50000", "01:00:00:00:00:00", "-o", &out], 2, "group"),
        (&["edit", &out, "--set", "/", "a", "<1", "-o", &out], 2, "usage"),
        (&["overlay", "apply", &base, &base, "-o", &out], 1, "DTB227"),
        (&["overlay", "check", &base, &base], 1, "DTB227"),
        (&["overlay", "check", &base, &format!("{overlay}#1")], 2, "no table of overlays"),
        (&["edit", &out, "--edit", "set /serial@feb50000 phandle <1>", "-o", &out], 1, "nothing is written"),
        (&["edit", &out, "--enable", "/nobody", "-o", "/nonexistent/x"], 1, "has no node"),
        (
            &["edit", &out, "--enable", "/serial@feb50000", "-o", "/nonexistent/x"],
            4,
            "/nonexistent/x: cannot be written",
        ),
        (&["check", &base, "--kernel", "mainline", "--kernel-arg", "console=ttyFIQ0"], 1, "error[DTB204]"),
        (
            &["check", &base, "--requested", "rockchip/rk3588-board.dtb", "--name", "rk3588-other.dtb"],
            1,
            "error[DTB217]",
        ),
        (&["check", &base, "--boot-memory", "kernel=2..1"], 2, "two addresses"),
        (&["check", &base, "--boot-memory", "kernel=0x1000..0x1001"], 1, "error[DTB098]"),
        (&["check", &base, "--boot-tree", &base, "--overlays"], 1, "error[DTB097]"),
        (&["edit", "--help"], 0, "Examples:"),
        (&["overlay", "apply", "--help"], 0, "Examples:"),
    ] {
        let (found, out, errors) = dtbtool(arguments);
        assert_eq!(found, Some(code), "{arguments:?}: {out}{errors}");
        assert!(out.contains(words) || errors.contains(words), "{arguments:?}: {out}{errors}");
        if arguments.contains(&"--json") {
            assert!(serde_json::from_str::<serde_json::Value>(&out).unwrap()["schema"] == 1, "{out}");
        }
    }
    assert_eq!(std::fs::read(&base).unwrap(), small);
    let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 4, "{names:?}");
}

#[cfg(unix)]
#[test]
fn an_output_keeps_what_it_is() {
    use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _, symlink};
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (tree, link, dangling) = (path("tree.dtb"), path("link.dtb"), path("dangling.dtb"));
    std::fs::write(&tree, common::small_bytes()).unwrap();
    std::fs::set_permissions(&tree, std::fs::Permissions::from_mode(0o640)).unwrap();
    symlink("tree.dtb", &link).unwrap();
    symlink("new.dtb", &dangling).unwrap();
    for (input, output) in [(&link, &link), (&tree, &dangling), (&tree, &"/dev/null".to_owned())] {
        let (code, out, errors) = dtbtool(&["edit", input, "--disable", "/serial@feb50000", "-o", output]);
        assert_eq!(code, Some(0), "{output}: {out}{errors}");
    }
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_ne!(std::fs::read(&tree).unwrap(), common::small_bytes());
    assert_eq!(std::fs::metadata(&tree).unwrap().permissions().mode() & 0o777, 0o640);
    assert!(std::fs::symlink_metadata(&dangling).unwrap().is_symlink());
    assert_eq!(std::fs::read(path("new.dtb")).unwrap(), std::fs::read(&tree).unwrap());
    assert!(std::fs::metadata("/dev/null").unwrap().file_type().is_char_device());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 4);
    let (code, _, errors) =
        dtbtool(&["edit", &tree, "--disable", "/serial@feb50000", "-o", folder.path().to_str().unwrap()]);
    assert_eq!(code, Some(4), "{errors}");
}

#[cfg(unix)]
#[test]
fn reading_a_device_ends_at_the_limit() {
    let (code, _, errors) = dtbtool(&["inspect", "/dev/zero"]);
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("too large"), "{errors}");
}

#[test]
fn names_that_source_text_cannot_say_are_an_error_of_dts() {
    use dtbtool::{
        Fdt, WriteOptions,
        model::{DeviceTree, Property},
    };
    let mut tree = common::small();
    tree.root_mut().properties.push(Property::u32("marker-name", 1));
    let mut bytes = tree.to_bytes(&WriteOptions::default()).unwrap();
    assert!(DeviceTree::from(Fdt::parse(&bytes).unwrap()).root().property("marker-name").is_some());
    let at = bytes.windows(12).position(|window| window == b"marker-name\0").unwrap();
    bytes[at + 6] = b'!';
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("odd.dtb");
    std::fs::write(&path, &bytes).unwrap();
    let (code, out, errors) = dtbtool(&["dts", path.to_str().unwrap()]);
    assert_eq!(code, Some(1), "{errors}");
    assert!(errors.contains("DTB053") && out.starts_with("/dts-v1/;"), "{out}{errors}");
}

#[test]
fn inspect_is_brief_and_says_whose_its_findings_are() {
    use dtbtool::{WriteOptions, model::Property};
    let mut tree = common::small();
    let strings: Vec<String> = (0..5000).map(|number| format!("acme,board-{number}")).collect();
    tree.root_mut().set(Property::strings("compatible", strings.iter().map(String::as_str)));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long.dtb");
    let bytes = tree.to_bytes(&WriteOptions::default()).unwrap();
    std::fs::write(&path, &bytes).unwrap();
    let (code, out, errors) = dtbtool(&["inspect", path.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{errors}");
    assert!(out.contains("and 4992 more") && out.len() < 3000, "{}", out.len());
    std::fs::write(&path, b"no tree at all").unwrap();
    let (code, out, _) = dtbtool(&["inspect", "--json", path.to_str().unwrap()]);
    assert_eq!(code, Some(1));
    let object: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(object["findings"][0]["owner"], path.to_str().unwrap());
    let (code, out, errors) = dtbtool(&["inspect", "--tsv", path.to_str().unwrap()]);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(errors.contains("DTB001") || errors.contains("DTB00"), "{errors}");
}
