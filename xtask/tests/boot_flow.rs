//! What the original overlay's author found in none of six hardware tests: every reason at once, before anything is
//! written. And the way out of each.

#![allow(clippy::unwrap_used, reason = "a test stops where its helpers do")]
#![allow(clippy::disallowed_methods, reason = "tests write into their own temporary folders")]

mod common;

use std::{collections::BTreeMap, path::PathBuf, process::Command};

use common::{Inputs, World, prefixed, raw, result};
use fs_err as fs;
use serde_json::Value;

/// The original overlay's board, word for word: no copy is cut off, and nothing but the vendor's boot loader.
const ORIGINAL: &str = r#"name = "original"
soc = "rk3588s"
[dtb]
path = "rockchip/rk3588s-nanopi-m6.dtb"
compatible = ["friendlyarm,nanopi-m6", "friendlyelec,nanopi-m6"]
require = ["ethernet", "sd", "nvme", "usb"]
[boot.vendor]
files = [{ source = "idbloader", at-sector = 64 }, { source = "u-boot", at-sector = 16384 }]
[overlay]
name = "rk3588"
options = { board = "nanopi-m6", chipset = "rk3588s" }
partition-offset = 20480
kernel-args = ["console=ttyFIQ0,1500000n8", "console=ttyS2,1500000n8", "console=tty1"]
bootloader = "sd-boot"
"#;

/// The reference's inputs with the files of the original overlay. Its `uboot.img` is published nowhere; the vendor
/// U-Boot of the NanoPC-T6, twice in 2 MiB, has its form.
fn original(world: &World) -> Option<Vec<(&'static str, PathBuf)>> {
    let vendor = testkit::shared("testdata/ophub/nanopc-t6-rk3588-vendor-u-boot.itb")?;
    let mut slot = fs::read(vendor).unwrap();
    slot.resize(2 << 20, 0);
    let u_boot = world.path("uboot.img");
    fs::write(&u_boot, [slot.as_slice(), slot.as_slice()].concat()).unwrap();
    let idbloader = testkit::shared("testdata/seed-nanopi-m6/idbloader.img")?;
    Some(vec![("idbloader", idbloader), ("u-boot", u_boot), ("dtb", world.inputs.dtb.clone())])
}

/// Findings by code, with message and help.
fn findings(object: &Value) -> BTreeMap<String, String> {
    let list = object["findings"].as_array().unwrap();
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    list.iter()
        .map(|finding| {
            let words = format!("{} {} {}", text(finding, "severity"), text(finding, "message"), text(finding, "help"));
            (text(finding, "code"), words)
        })
        .collect()
}

fn refused(command: &mut Command) -> Value {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_original_overlay_is_refused_with_every_reason_at_once() {
    let Some(world) = Inputs::reference().map(World::new) else { return };
    let Some(sources) = original(&world) else { return };
    let board = world.board("original", ORIGINAL);
    let base = world.base("base", None);
    let mut command = world.image(&board, "v1.10.6", "out");
    command.arg("--base").arg(prefixed("dir:", &base));
    for (role, path) in &sources {
        command.arg("--source").arg(prefixed(&format!("{role}="), path));
    }
    let found = findings(&refused(&mut command));
    for (code, words) in [
        ("LAY001", &["GPT entry array (LBA 20482-20513", "partition-offset = 24576", "trim-copies = true"][..]),
        ("LAY002", &["partition 1 (EFI)", "LBA 20480-24575", "trim-copies = true"]),
        ("FLW001", &["U-Boot 2017.09", "CONFIG_EFI_LOADER is off", "systemd-boot", "`mainline`"]),
    ] {
        let text = found.get(code).unwrap_or_else(|| panic!("{code} is not among {found:#?}"));
        assert!(text.starts_with("error "), "{code}: {text}");
        for word in words {
            assert!(text.contains(word), "{code}: {word:?} is not in: {text}");
        }
    }
    assert!(!world.path("out").exists(), "something was written");
}

#[test]
fn with_its_copies_cut_and_a_u_boot_with_efi_the_same_board_is_built() {
    let Some(world) = Inputs::reference().map(World::new) else { return };
    let Some(mut sources) = original(&world) else { return };
    let base = world.base("base", None);
    // The layout mended, the boot loader not: one reason is left, and the board's other scenario is named.
    let text = ORIGINAL.replace("at-sector = 16384", "at-sector = 16384, trim-copies = true").replace(
        "[overlay]",
        "[boot.mainline]\nfiles = [{ source = \"idbloader\", at-sector = 64 }, { source = \"new\", at-sector = 16384 }]\n\
         [overlay]",
    );
    let text = format!("default-boot = \"vendor\"\n{text}");
    let board = world.board("original", &text);
    sources.push(("new", world.inputs.u_boot.clone()));
    let command = |out: &str| {
        let mut command = world.image(&board, "v1.13.9", out);
        command.arg("--base").arg(prefixed("dir:", &base));
        for (role, path) in &sources {
            command.arg("--source").arg(prefixed(&format!("{role}="), path));
        }
        command
    };
    let object = refused(&mut command("out"));
    let errors: Vec<_> = findings(&object).into_iter().filter(|(_, text)| text.starts_with("error")).collect();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].0 == "FLW001" && errors[0].1.contains("--boot mainline"), "{errors:?}");

    let built = result(command("out").args(["--boot", "mainline", "--format", "raw"]));
    let flow = &built["build"]["bootFlow"];
    assert_eq!(flow["scenario"], "vendor-spl-hybrid", "{flow}");
    assert_eq!(flow["firstStage"]["kind"], "vendor");
    assert_eq!((&flow["secondStage"]["kind"], &flow["secondStage"]["efi"]), (&"u-boot-mainline".into(), &"yes".into()));

    // The finished image is read by `verify`, which knows nothing of the board, to the same end; with the boot loader of
    // the original overlay written over it, it is refused.
    let image = world.path("out/metal-arm64.raw");
    let verified = result(common::xtask().arg("verify").arg(&image).arg("--json"));
    assert_eq!(verified["bootFlow"], *flow);
    let mut bytes = fs::read(&sources[1].1).unwrap();
    bytes.truncate(2 << 20);
    let disk = fs::OpenOptions::new().write(true).open(&image).unwrap();
    std::os::unix::fs::FileExt::write_all_at(disk.file(), &bytes, 8 << 20).unwrap();
    drop(disk);
    let damaged = findings(&refused(common::xtask().arg("verify").arg(&image).arg("--json")));
    assert!(damaged["FLW001"].contains("CONFIG_EFI_LOADER is off"), "{damaged:?}");
}

#[test]
fn a_board_with_spi_flash_gets_an_image_for_it() {
    let Some(world) = Inputs::reference().map(World::new) else { return };
    let board = world.overlay_board("spi-board", 20_480);
    let text = fs::read_to_string(&board).unwrap().replace("[overlay]", "[spi]\nsource = \"spi\"\n[overlay]");
    let board = world.board("spi-board", &text);
    let base = world.base("base", None);
    let command = |out: &str| {
        let mut command = world.image(&board, "v1.13.9", out);
        command.args(["--format", "raw"]).arg("--base").arg(prefixed("dir:", &base));
        world.add_sources(&mut command);
        command
    };
    let built = result(&mut command("out"));
    let names: Vec<_> = built["outputs"].as_array().unwrap().iter().map(|output| output["name"].clone()).collect();
    assert!(names.contains(&"spi.bin".into()), "{names:?}");
    let sums = fs::read_to_string(world.path("out/SHA256SUMS")).unwrap();
    assert!(sums.contains("  spi.bin\n"), "{sums}");

    // U-Boot's build: ones up to 0x8000, the idblock, ones up to 0x60000, the FIT.
    let spi = fs::read(world.path("out/spi.bin")).unwrap();
    let (idblock, fit) = (fs::read(&world.inputs.idbloader).unwrap(), fs::read(&world.inputs.u_boot).unwrap());
    let mut expected = vec![0xff; 0x6_0000];
    expected[0x8000..0x8000 + idblock.len()].copy_from_slice(&idblock);
    expected.extend_from_slice(&fit);
    let end = spi.len().min(expected.len());
    assert!(spi[..end] == expected[..end] && end + 512 > expected.len(), "{} of {}", spi.len(), expected.len());

    // With the option the image starts from the flash and carries no boot loader of its own.
    result(command("bare").args(["--option", "spi_boot=true"]));
    let disk = fs::File::open(world.path("bare/metal-arm64.raw")).unwrap();
    let mut sector = [0; 512];
    for at in [64 * 512, 16_384 * 512] {
        raw::read_at(&disk, at, &mut sector);
        assert!(sector.iter().all(|byte| *byte == 0), "byte {at}");
    }
    let wrong = command("wrong").args(["--option", "spi_boot=maybe"]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(2), "{wrong:?}");

    // The file for cards is no file for flash.
    let mut command = command("card");
    command.arg("--source").arg(prefixed("spi=", &world.inputs.idbloader));
    assert!(findings(&refused(&mut command))["LAY011"].contains("0x8000"));
}

/// The tree as the oracle prints it, sorted.
fn sorted(dtc: &std::path::Path, tree: &std::path::Path) -> String {
    testkit::run(Command::new(dtc).args(["-q", "-s", "-I", "dtb", "-O", "dts"]).arg(tree))
}

#[test]
fn overlays_and_edits_of_the_board_file_are_in_the_image() {
    let Some(world) = Inputs::reference().map(World::new) else { return };
    let (Some(dtc), Some(fdtoverlay), Some(fdtput), Some(mcopy)) =
        (testkit::tool("dtc"), testkit::tool("fdtoverlay"), testkit::tool("fdtput"), testkit::tool("mcopy"))
    else {
        return;
    };
    let source = world.path("extra.dts");
    fs::write(
        &source,
        "/dts-v1/;\n/plugin/;\n&chosen { extra = \"one\"; };\n&{/} { added { reference = <&chosen>; }; };\n",
    )
    .unwrap();
    let extra = world.path("extra.dtbo");
    testkit::run(Command::new(&dtc).args(["-q", "-@", "-I", "dts", "-O", "dtb", "-o"]).arg(&extra).arg(&source));
    let text = fs::read_to_string(world.overlay_board("edited", 20_480)).unwrap().replace(
        "[boot.mainline]",
        "overlays = [\"extra\"]\nedits = [\"enable /serial@feb50000\", \"delete /chosen bootargs_ext\", \
         \"set /chosen stdout-path \\\"serial2:1500000n8\\\"\"]\n[boot.mainline]",
    );
    let board = world.board("edited", &text);
    let base = world.base("base", None);
    let mut command = world.image(&board, "v1.13.9", "out");
    command.args(["--format", "raw"]).arg("--base").arg(prefixed("dir:", &base));
    world.add_sources(&mut command);
    command.arg("--source").arg(prefixed("extra=", &extra));
    let built = result(&mut command);
    let inputs = built["build"]["inputs"].as_array().unwrap();
    let dtb = inputs.iter().find(|input| input["name"] == "dtb").unwrap();
    assert_ne!(dtb["sha256"], dtb["written"]);
    assert!(inputs.iter().any(|input| input["name"] == "extra" && input["place"]["in"] == "tree"));

    // What the tools of dtc make of the same.
    let expected = world.path("expected.dtb");
    testkit::run(Command::new(fdtoverlay).arg("-i").arg(&world.inputs.dtb).arg("-o").arg(&expected).arg(&extra));
    for words in [
        &["-t", "s", "F", "/serial@feb50000", "status", "okay"][..],
        &["-t", "s", "F", "/chosen", "stdout-path", "serial2:1500000n8"],
        &["-d", "F", "/chosen", "bootargs_ext"],
    ] {
        let mut command = Command::new(&fdtput);
        for word in words {
            if *word == "F" {
                command.arg(&expected)
            } else {
                command.arg(word)
            };
        }
        testkit::run(&mut command);
    }
    let found = world.path("found.dtb");
    let image = prefixed("", &world.path("out/metal-arm64.raw"));
    let mut place = image;
    place.push("@@11534336");
    let path = format!("::dtb/rockchip/{}", world.inputs.dtb_name);
    testkit::run(Command::new(mcopy).arg("-i").arg(place).arg(path).arg(&found));
    assert_eq!(sorted(&dtc, &found), sorted(&dtc, &expected));

    // A tree that lacks a label is named before anything is written.
    let missing = text.replace("delete /chosen bootargs_ext", "delete /chosen bootargs_extra");
    let board = world.board("edited", &missing);
    let mut command = world.image(&board, "v1.13.9", "none");
    command.arg("--base").arg(prefixed("dir:", &base));
    world.add_sources(&mut command);
    fs::write(&source, "/dts-v1/;\n/plugin/;\n&no_such_label { x; };\n").unwrap();
    testkit::run(Command::new(&dtc).args(["-q", "-@", "-I", "dts", "-O", "dtb", "-o"]).arg(&extra).arg(&source));
    command.arg("--source").arg(prefixed("extra=", &extra));
    let object = refused(&mut command);
    let messages = object["findings"].to_string();
    assert!(messages.contains("no_such_label"), "{messages}");
    assert!(findings(&object)["VER005"].contains("bootargs_ext"), "{messages}");
    assert!(!world.path("none").exists());
}
