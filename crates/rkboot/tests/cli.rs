//! The program, as a user runs it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::disallowed_methods, reason = "tests write into their own temporary folders")]

mod common;

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
    assert_eq!((&value["findings"][0]["code"], &value["error"]), (&"SRC001".into(), &serde_json::Value::Null));
    assert!(value["findings"][0]["message"].as_str().unwrap().contains("/nonexistent/idbloader.img"));

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
            "idb-v1",
            "v1 for rk3399, 190464 bytes, sha256:29b98e34728567d5c4811eb42e83d916716387527e2f14062d9c48f0ba9868c4",
        ),
        (
            &["--soc", "rk3399", "--media", "spi", "--ddr", &tpl, "--spl", &spl],
            "idb-v1",
            "spread for SPI flash, 380928 bytes, sha256:b9e741b72375cc824a5f6d4b731cf33dbe4e9d628f76330c1110f8c2eeddf540",
        ),
        (&["--soc", "rk3399", "--ddr", &tpl, "--spl", &spl, "--copies", "5"], "idb-v1", "5 copies, 2287616 bytes"),
        (&["--soc", "rk3576", "--ddr", &ddr, "--spl", &spl], "idb-v2", "v2 for rk3576, 200704 bytes"),
        (&["--soc", "rk3576", "--ddr", &ddr, "--media", "spi"], "idb-v2", "note: rk3576 reads the form of --media sd"),
        (
            &["--soc", "rk3576", "--ddr", &ddr, "--spl", &spl, "--boost", &boost, "--copies", "2"],
            "idb-v2",
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

/// Parts of a FIT in a folder: u-boot, bl31, rockchip/board.dtb, tee.
fn fit_parts(folder: &std::path::Path) {
    let bl31 = common::elf::build(183, 0x4_0000, &[(0x4_0000, b"atf", 0x1000), (0xff10_0000, b"sram", 16)]);
    let mut tree = dtbtool::model::DeviceTree::new();
    tree.root_mut().set(dtbtool::model::Property::strings("compatible", ["acme,board", "rockchip,rk3588"]));
    let tree = tree.to_bytes(&dtbtool::WriteOptions::default()).unwrap();
    std::fs::create_dir(folder.join("rockchip")).unwrap();
    for (name, bytes) in [
        ("u-boot", b"u-boot".as_slice()),
        ("bl31", &bl31),
        ("rockchip/board.dtb", &tree),
        ("b.dtb", &tree),
        ("tee", b"tee"),
    ] {
        std::fs::write(folder.join(name), bytes).unwrap();
    }
}

fn rkboot_in(folder: &std::path::Path, arguments: &str) -> Output {
    let arguments: Vec<_> = arguments.split_whitespace().collect();
    let mut command = Command::new(env!("CARGO_BIN_EXE_rkboot"));
    command.env_remove("SOURCE_DATE_EPOCH").current_dir(folder).args(arguments).output().unwrap()
}

#[test]
fn builds_a_fit_and_files_of_both_stages() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fit_parts(folder);
    let parts = "build fit --soc rk3588s --u-boot u-boot --dtb rockchip/board.dtb --bl31 bl31";
    let made = rkboot_in(folder, &format!("{parts} -o u-boot.itb"));
    assert_eq!(made.status.code(), Some(0), "{made:?}");
    let shown = text(&made.stdout);
    assert!(shown.starts_with("u-boot.itb: FIT for rk3588, U-Boot at 0x800000, "), "{shown}");
    assert!(shown.contains("  atf-2\n") && shown.contains("  fdt-1\n"), "{shown}");
    let fit = std::fs::read(folder.join("u-boot.itb")).unwrap();
    let found = rkboot::fit::parse(&fit).0.unwrap();
    assert_eq!((found.hashes(), found.timestamp), ((4, 4), Some(0)));
    assert_eq!(found.configurations[0].description.as_deref(), Some("rockchip/board.dtb"));

    let made = rkboot_in(
        folder,
        &format!(
            "{parts} --dtb b.dtb --tee tee --tee-load 0x9000000 --hash crc32 --load 0xa00000 --timestamp 7 -o two.itb --json"
        ),
    );
    let value: serde_json::Value = serde_json::from_slice(&made.stdout).unwrap();
    assert_eq!(
        (&value["ok"], &value["command"], &value["result"]["load"]),
        (&true.into(), &"build".into(), &0xa0_0000.into())
    );
    assert_eq!(value["result"]["parts"][1]["name"], "u-boot");
    let found = rkboot::fit::parse(&std::fs::read(folder.join("two.itb")).unwrap()).0.unwrap();
    assert_eq!((found.configurations.len(), found.timestamp), (2, Some(7)));
    assert_eq!(found.image("tee-1").unwrap().load, Some(0x900_0000));
    assert!(found.images.iter().all(|image| image.hashes[0].algorithm == "crc32"));

    let made = rkboot_in(folder, &format!("{parts} --form vendor --hash none --copies 2 -o uboot.img"));
    assert_eq!(made.status.code(), Some(0), "{made:?}");
    assert_eq!(std::fs::metadata(folder.join("uboot.img")).unwrap().len(), 4_194_304);

    let block = rkboot::idblock::Parts { soc: rkboot::Soc::Rk3588, init: b"ddr", boot: Some(b"spl") };
    std::fs::write(folder.join("idbloader.img"), rkboot::idblock::build(&block).unwrap()).unwrap();
    let made = rkboot_in(folder, "build combined --idbloader idbloader.img --fit u-boot.itb -o card.bin");
    assert_eq!(made.status.code(), Some(0), "{made:?}");
    assert!(text(&made.stdout).contains("0x7f8000"), "{made:?}");
    assert_eq!(std::fs::metadata(folder.join("card.bin")).unwrap().len(), 0x7f_8000 + fit.len() as u64);
    let made = rkboot_in(
        folder,
        "build spi --soc rk3588 --idbloader idbloader.img --fit u-boot.itb --fit-offset 0x100000 -o spi.bin",
    );
    assert_eq!(made.status.code(), Some(0), "{made:?}");
    assert_eq!(std::fs::read(folder.join("spi.bin")).unwrap()[0x10_0000..], fit);
    for name in ["u-boot.itb", "two.itb", "uboot.img", "card.bin", "spi.bin"] {
        let seen = rkboot_in(folder, &format!("inspect {name}"));
        assert_eq!(seen.status.code(), Some(0), "{seen:?}");
    }

    let before = std::fs::read_dir(folder).unwrap().count();
    for (arguments, code, words) in [
        ("build fit --soc rk3588 --u-boot u-boot --bl31 bl31 -o x".to_owned(), 2, "--dtb"),
        ("build fit --soc rk3587 --u-boot u-boot --dtb b.dtb -o x".to_owned(), 2, "did you mean rk3588?"),
        ("build fit --soc rk3588 --u-boot u-boot --dtb b.dtb -o x".to_owned(), 1, "BL31 is missing"),
        ("build fit --soc rk3588 --u-boot none --dtb b.dtb -o x".to_owned(), 3, "none"),
        (format!("{parts} --load 0x40000 -o x"), 1, "would overwrite each other in memory"),
        (format!("{parts} --load zero -o x"), 2, "write 8388608 or 0x800000"),
        (format!("{parts} --load 0x100000000 -o x"), 2, "above 4 GiB"),
        (format!("{parts} --copies 2 -o x"), 2, "--form vendor"),
        (format!("{parts} --tee-load 1 -o x"), 2, "--tee"),
        (format!("{parts} -o none/x"), 4, "none"),
        ("build combined --idbloader u-boot --fit u-boot.itb -o x".to_owned(), 1, "it is no idblock"),
        (
            "build combined --idbloader idbloader.img --fit u-boot.itb --pad-to 4096 -o x".to_owned(),
            1,
            "the FIT starts at 0x1000",
        ),
        (
            "build combined --idbloader idbloader.img --fit u-boot.itb --limit 8000000 -o x".to_owned(),
            1,
            "at most 8000000 fit",
        ),
        ("build spi --soc rk3399 --idbloader idbloader.img --fit u-boot.itb -o x".to_owned(), 1, "v1"),
        (
            "build spi --soc rk3588 --idbloader idbloader.img --fit u-boot.itb --flash-size 0x60000 -o x".to_owned(),
            1,
            "fit",
        ),
    ] {
        let output = rkboot_in(folder, &arguments);
        assert_eq!(output.status.code(), Some(code), "{arguments}: {output:?}");
        assert!(text(&output.stderr).contains(words), "{arguments}: {output:?}");
    }
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), before, "nothing is left of what was refused");
    for what in ["fit", "combined", "spi"] {
        let help = text(&rkboot_in(folder, &format!("build {what} --help")).stdout);
        assert!(help.contains("Example") && help.contains("Exit codes:"), "{help}");
    }
}

#[test]
fn verify_is_one_line_for_a_sound_file_and_the_findings_for_others() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("idbloader.img").display().to_string();
    let parts = rkboot::idblock::Parts { soc: rkboot::Soc::Rk3588, init: &[1; 3000], boot: Some(&[2; 3000]) };
    let mut block = rkboot::idblock::build(&parts).unwrap();
    std::fs::write(&file, &block).unwrap();
    let sound = rkboot(&["verify", &file]);
    assert_eq!(
        (sound.status.code(), text(&sound.stdout).as_str()),
        (Some(0), "idbloader.img: idblock v2, sound\n"),
        "{sound:?}"
    );
    assert_eq!(rkboot(&["verify", &file, "--soc", "rk3399"]).status.code(), Some(1));

    block[2048] ^= 1;
    std::fs::write(&file, &block).unwrap();
    let damaged = rkboot(&["verify", &file]);
    assert_eq!(damaged.status.code(), Some(1));
    assert!(text(&damaged.stdout).starts_with("error[IDB009]"), "{damaged:?}");
    let value: serde_json::Value = serde_json::from_slice(&rkboot(&["verify", &file, "--json"]).stdout).unwrap();
    assert_eq!((&value["command"], &value["ok"]), (&"verify".into(), &false.into()));
    assert_eq!(value["result"]["parts"][1]["name"], "image 1 (DDR init)");
    assert_eq!(rkboot(&["verify", "/nonexistent"]).status.code(), Some(3));

    // A loader file is sound, and still nothing for a card.
    let loader = rkboot::loader::sample(&rkboot::idblock::build(&parts).unwrap());
    std::fs::write(&file, &loader).unwrap();
    let seen = rkboot(&["verify", &file]);
    assert_eq!(seen.status.code(), Some(0));
    assert!(text(&seen.stdout).ends_with(": loader file, sound\n"), "{seen:?}");
    let value: serde_json::Value = serde_json::from_slice(&rkboot(&["inspect", &file, "--json"]).stdout).unwrap();
    assert_eq!(value["result"]["loader"]["soc"], "rk3588");
    assert_eq!(value["result"]["loader"]["flash_idblock"]["header_hash"], "valid");
}
