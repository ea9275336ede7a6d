//! The program, as a user runs it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::disallowed_methods, reason = "tests write into their own temporary folders")]

use std::process::{Command, Output};

fn rkboot(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_rkboot")).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn builds_and_inspects_an_idbloader() {
    let Some(root) = testkit::shared("testdata/rkbin/bin/rk35") else { return };
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("idbloader.img").display().to_string();
    let ddr = root.join("rk3588_ddr_lp4_2112MHz_lp5_2400MHz_v1.18.bin").display().to_string();
    let spl = root.join("rk3588_spl_v1.13.bin").display().to_string();
    let made = rkboot(&["build", "idbloader", "--soc", "rk3588s", "--ddr", &ddr, "--spl", &spl, "-o", &out]);
    assert!(made.status.success(), "{made:?}");
    assert!(text(&made.stdout).contains("sha256:c50ed48f2cb3278ea17776f90620310962f6ab9794b032ba9098a84ba792702d"));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no stray file");

    let seen = rkboot(&["inspect", &out]);
    assert_eq!(seen.status.code(), Some(0));
    let seen = text(&seen.stdout);
    assert!(seen.starts_with("idbloader.img: idblock v2, 317440 bytes\n"), "{seen}");
    assert!(seen.contains("DDR init: DDR 9fa84341ce typ 24/09/06-09:51:11,fwver: v1.18, rk3588_ddr_"), "{seen}");

    let facts = text(&rkboot(&["inspect", "--tsv", &out]).stdout);
    assert!(facts.starts_with("idb-v2\t0\tn_images\t2\n"), "{facts}");

    // For another SoC it is refused, and the JSON says why.
    let wrong = rkboot(&["inspect", &out, "--soc", "rk3568", "--json"]);
    assert_eq!(wrong.status.code(), Some(1));
    let value: serde_json::Value = serde_json::from_slice(&wrong.stdout).unwrap();
    assert_eq!((&value["schema"], &value["ok"]), (&1.into(), &false.into()));
    assert_eq!(value["findings"][0]["code"], "IDB012");
    assert_eq!(value["findings"][0]["owner"], "idbloader.img");
    assert_eq!(value["result"]["idblock"]["ddr"]["version"], "v1.18");

    let refused = rkboot(&["build", "idbloader", "--soc", "rk3568", "--ddr", &ddr, "-o", &out]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("0x12800 bytes after padding, at most 0xf000"), "{refused:?}");
}

#[test]
fn exit_codes_say_whose_fault_it_is() {
    let missing = rkboot(&["inspect", "/nonexistent/idbloader.img", "--json"]);
    assert_eq!(missing.status.code(), Some(3));
    let value: serde_json::Value = serde_json::from_slice(&missing.stdout).unwrap();
    assert_eq!(value["ok"], false);
    assert!(value["error"].as_str().unwrap().contains("/nonexistent/idbloader.img"));

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ddr").display().to_string();
    std::fs::write(&file, b"ddr").unwrap();
    let empty = folder.path().join("empty").display().to_string();
    std::fs::write(&empty, b"").unwrap();
    for (arguments, code, words) in [
        (&["build", "idbloader", "--soc", "rk3587", "--ddr", &file, "-o", "x"][..], 2, "did you mean rk3588?"),
        (&["build", "idbloader", "--soc", "rk3588", "--ddr", &file, "-o", "/nonexistent/x"], 4, "/nonexistent"),
        (&["build", "idbloader", "--soc", "rk3588", "--ddr", &file, "--copies", "17", "-o", "x"], 1, "1 to 16"),
        (&["build", "idbloader", "--soc", "rk3588", "--ddr", &file, "--copies", "0", "-o", "x"], 1, "1 to 16"),
        (
            &["build", "idbloader", "--soc", "rk3399", "--media", "spi", "--ddr", &file, "--copies", "2", "-o", "x"],
            2,
            "--media sd",
        ),
        (
            &["build", "idbloader", "--soc", "rk3588", "--ddr", &file, "--spl", &file, "--boost", &file, "-o", "x"],
            2,
            "only rk3576",
        ),
        (&["build", "idbloader", "--soc", "rk3576", "--ddr", &file, "--boost", &file, "-o", "x"], 2, "--spl"),
        (
            &[
                "build",
                "idbloader",
                "--soc",
                "rk3576",
                "--media",
                "spi",
                "--ddr",
                &file,
                "--spl",
                &file,
                "--boost",
                &file,
                "-o",
                "x",
            ],
            2,
            "not spread",
        ),
        (&["build", "idbloader", "--soc", "rk3588", "--media", "nand", "--ddr", &file, "-o", "x"], 2, "sd, spi"),
        (
            &["build", "idbloader", "--soc", "rk3588", "--ddr", &file, "--spl", &empty, "-o", "x"],
            1,
            "boot image is empty",
        ),
        (&["inspect"], 2, "Usage"),
        (&["inspect", &file, "--tsv", "--json"], 2, "cannot be used with"),
    ] {
        let output = rkboot(arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
        assert!(text(&output.stderr).contains(words), "{output:?}");
    }
    let help = text(&rkboot(&["--help"]).stdout);
    assert!(help.contains("Examples:") && help.contains("Exit codes:"));
}

#[test]
fn builds_every_form_of_idblock() {
    let Some(root) = testkit::shared("testdata") else { return };
    let path = |name: &str| root.join(name).display().to_string();
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out").display().to_string();
    let debian = "debian-u-boot-rockchip-2025.01-3.2/rockpro64-rk3399";
    let (tpl, spl) = (path(&format!("{debian}/u-boot-tpl.bin")), path(&format!("{debian}/u-boot-spl.bin")));
    let rkbin = "rkbin/bin/rk35";
    let (boost, ddr) = (
        path(&format!("{rkbin}/rk3576_boost_v1.03.bin")),
        path(&format!("{rkbin}/rk3576_ddr_lp4_2112MHz_lp5_2736MHz_v1.09.bin")),
    );
    for (arguments, kind, words) in [
        (
            &["--soc", "rk3399", "--media", "sd", "--ddr", &tpl, "--spl", &spl][..],
            "idblock v1",
            "v1 for rk3399, 190464 bytes, sha256:29b98e34728567d5c4811eb42e83d916716387527e2f14062d9c48f0ba9868c4",
        ),
        (
            &["--soc", "rk3399", "--media", "spi", "--ddr", &tpl, "--spl", &spl],
            "idblock v1",
            "spread for SPI flash, 380928 bytes, sha256:b9e741b72375cc824a5f6d4b731cf33dbe4e9d628f76330c1110f8c2eeddf540",
        ),
        (&["--soc", "rk3399", "--ddr", &tpl, "--spl", &spl, "--copies", "5"], "idblock v1", "5 copies, 2287616 bytes"),
        (&["--soc", "rk3576", "--ddr", &ddr, "--spl", &spl], "idblock v2", "v2 for rk3576, 200704 bytes"),
        (
            &["--soc", "rk3576", "--ddr", &ddr, "--media", "spi"],
            "idblock v2",
            "note: rk3576 reads the form of --media sd",
        ),
        (
            &["--soc", "rk3576", "--ddr", &ddr, "--spl", &spl, "--boost", &boost, "--copies", "2"],
            "idblock v2",
            "v2 for rk3576, 2 copies",
        ),
    ] {
        let made = rkboot(&[&["build", "idbloader", "-o", &out], arguments].concat());
        assert!(made.status.success(), "{made:?}");
        assert!(text(&made.stdout).contains(words), "{}", text(&made.stdout));
        let seen = rkboot(&["inspect", &out, "--soc", arguments[1], "--json"]);
        assert_eq!(seen.status.code(), Some(0), "{seen:?}");
        let value: serde_json::Value = serde_json::from_slice(&seen.stdout).unwrap();
        assert_eq!(value["result"]["kind"], kind, "{arguments:?}");
    }
    let help = text(&rkboot(&["build", "idbloader", "--help"]).stdout);
    assert!(help.contains("Examples:") && help.contains("Exit codes:"));
}
