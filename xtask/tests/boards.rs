//! The boards of this repository as the program shows them, and what it says when their files are not at hand.

#![allow(clippy::unwrap_used, reason = "a test stops where its helpers do")]

mod common;

use std::{collections::BTreeMap, path::Path, process::Command};

use common::{prefixed, result, xtask};
use fs_err as fs;
use serde_json::Value;

fn show(name: &str) -> Value {
    result(xtask().args(["boards", "show", name, "--json"]))
}

fn build(folder: &Path, name: &str) -> Command {
    let mut command = xtask();
    command.args(["image", name, "--dry-run", "--json"]);
    command.arg("--base").arg(prefixed("dir:", &testkit::workspace().join("fixtures/demo/base")));
    command.arg("--cache-dir").arg(folder.join("cache")).arg("-o").arg(folder.join("out"));
    command
}

#[test]
fn what_overlays_answer_and_write_is_given_back() {
    let Some(path) = testkit::shared("reference/overlays.json") else { return };
    let records: BTreeMap<String, Value> = serde_json::from_slice(&testkit::read(path)).unwrap();
    for (record, recorded) in &records {
        let name = record.trim_start_matches("seed/").replace('/', "-");
        let shown = show(&name);
        let mut answer = recorded["get_options"].as_str().unwrap().to_owned();
        let mut esp = recorded["tree"][0][0].as_str().unwrap().replace("boot/EFI/", "");
        for correction in shown["board"]["corrects"].as_array().into_iter().flatten() {
            let [faulty, here] = ["upstream", "here"].map(|key| correction[key].as_str().unwrap());
            answer = answer.replace(&format!("    - {faulty}\n"), &format!("    - {here}\n"));
            esp = esp.replace(faulty, here);
        }
        let installer = &shown["installer"];
        let arguments: Vec<_> = answer.lines().filter_map(|line| line.strip_prefix("    - ")).collect();
        assert_eq!(installer["kernelArgs"], Value::from(arguments), "{record}");
        assert_eq!(installer["partitionOffset"], 20_480, "{record}");
        assert!(answer.contains("    offset: 20480\n"), "{record}");
        assert_eq!(installer["esp"], Value::from(vec![esp]), "{record}");
        assert_eq!(installer["writes"][0][0], recorded["writes"][0][0], "{record}");
        if record.starts_with("seed/") {
            let vendor = result(xtask().args(["boards", "show", &name, "--boot", "vendor", "--json"]));
            assert_eq!(vendor["installer"]["writes"].as_array().unwrap().len(), 2);
            assert_eq!(vendor["installer"]["writes"][1][0], recorded["writes"][1][0]);
        }
    }
}

#[test]
fn boards_are_listed_for_people_and_for_programs() {
    let text = testkit::run(xtask().arg("boards"));
    let line = text.lines().find(|line| line.starts_with("rock5b ")).unwrap();
    for word in ["rk3588", "Radxa", "Radxa ROCK 5B", "yes", "mainline"] {
        assert!(line.contains(word), "{line}");
    }
    let list = result(xtask().args(["boards", "--json"]));
    let with_spi = list["boards"].as_array().unwrap().iter().filter(|board| board["spi"] == "spi_boot");
    let names: Vec<_> = with_spi.map(|board| board["name"].as_str().unwrap()).collect();
    let expected = ["orangepi-5", "orangepi-5-max", "orangepi-5-plus", "rock5b", "rock5b-plus", "rock5t", "turingrk1"];
    assert_eq!(names, expected);
    let m6 = show("nanopi-m6");
    let revisions: Vec<_> = m6["board"]["revisions"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(revisions, ["V1", "V2"]);
    let scenarios: Vec<_> = m6["board"]["boot"].as_object().unwrap().keys().collect();
    assert_eq!(scenarios, ["edk2", "mainline", "vendor", "vendor-spl-hybrid"]);
}

#[test]
fn files_that_are_not_at_hand_are_all_named_with_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let output = build(folder.path(), "rock5b").arg("--offline").output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let object: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = object["findings"].to_string();
    for words in [
        "--source u-boot=u-boot-rockchip.bin",
        "artifacts/arm64/u-boot/rock5b/u-boot-rockchip.bin of ghcr.io/siderolabs/sbc-rockchip:v0.2.0",
        "--source dtb=rk3588-rock-5b.dtb",
    ] {
        assert!(text.contains(words), "{text}");
    }
    let output = build(folder.path(), "nanopi-r6s").arg("--offline").output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("nanopi-r6s-rk3588s_defconfig") && text.contains("--source u-boot=FILE"), "{text}");
}

#[test]
fn a_corrected_fault_is_reported_on_show_and_on_builds() {
    let output = xtask().args(["boards", "show", "rock64"]).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("warning[BRD010]") && text.contains("has ttyS2,115200n8"), "{text}");

    let Some(debian) = testkit::shared("testdata/debian-u-boot-rockchip-2025.01-3.2/rock64-rk3328") else { return };
    let Some(dtb) = testkit::shared("testdata/dtb-debian-6.12.107/rk3328-rock64.dtb") else { return };
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = testkit::read(debian.join("idbloader.img"));
    bytes.resize((16_384 - 64) * 512, 0xff);
    bytes.extend(testkit::read(debian.join("u-boot.itb")));
    let u_boot = folder.path().join("u-boot-rockchip.bin");
    fs::write(&u_boot, bytes).unwrap();
    let mut command = build(folder.path(), "rock64");
    command.arg("--source").arg(prefixed("u-boot=", &u_boot)).arg("--source").arg(prefixed("dtb=", &dtb));
    let output = command.output().unwrap();
    let object: Value = serde_json::from_slice(&output.stdout).unwrap();
    let codes: Vec<_> = object["findings"].as_array().unwrap().iter().map(|finding| &finding["code"]).collect();
    assert!(codes.contains(&&Value::from("BRD010")), "{object}");
    assert!(!codes.iter().any(|code| code.as_str().is_some_and(|code| code.starts_with("LAY"))), "{object}");
}
