//! What `verify` and `push` say of archives: the board, the scenario, the record beside them, secrets, and archives that are made
//! to take long.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test stops where its helpers do")]

mod common;

use std::{ffi::OsString, path::Path};

use boardbuild::Digest;
use common::{
    additions::{Bench, Made, Outcome, archive, tar},
    prefixed, xtask,
};
use fs_err as fs;
use serde_json::{Value, json};

/// A base whose program can be executed, with these further layers.
fn base(bench: &Bench, name: &str, more: Vec<Vec<u8>>) -> OsString {
    let mut program = tar(&[("usr/bin/installer", b"#!/bin/sh\n")]);
    executable(&mut program);
    let layers = std::iter::once(program).chain(more).collect();
    prefixed("oci-archive:", &bench.file(name, &archive(&[Made::new("arm64", layers)])))
}

/// Gives the first file of a tar mode 0755.
fn executable(tar: &mut [u8]) {
    tar[100..108].copy_from_slice(b"0000755\0");
    tar[148..156].copy_from_slice(b"        ");
    let sum: u32 = tar[..512].iter().map(|byte| u32::from(*byte)).sum();
    tar[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

fn verify(path: &Path, more: &[&str]) -> Outcome {
    Outcome::of(xtask().arg("verify").arg(path).arg("--json").args(more))
}

#[test]
fn a_layer_of_a_base_is_not_lost_in_silence() {
    let bench = Bench::new();
    let assets = tar(&[("usr/", b""), ("usr/install/", b""), ("usr/install/arm64/vmlinuz.efi", b"x")]);
    let more = tar(&[("usr/install/arm64/vmlinuz.efi", b"x"), ("etc/certificates", b"x")]);
    let digest = Digest::of(&common::additions::gzip(&more)).to_string();
    for (name, layers, words) in [
        ("assets", vec![assets.clone()], None),
        ("more", vec![more.clone()], Some(["etc/certificates", digest.as_str()])),
        // As from the store as read.
        ("more", vec![more.clone()], Some(["etc/certificates", digest.as_str()])),
        ("three", vec![more, assets], None),
    ] {
        let base = base(&bench, &format!("{name}.tar"), layers);
        let mut command = bench.installer("v1.13.9", name, base);
        let outcome = Outcome::of(command.arg("--kernel-arg=a=b"));
        assert_eq!(outcome.exit, 0, "{name}: {:?}", outcome.findings);
        assert_eq!(outcome.has("INS004", ""), words.is_some(), "{name}: {:?}", outcome.findings);
        for word in words.into_iter().flatten() {
            assert!(outcome.has("INS004", word), "{name}: {word}: {:?}", outcome.findings);
        }
    }
}

#[test]
fn a_program_that_is_not_there() {
    let bench = Bench::new();
    let kernel = ("usr/install/arm64/systemd-boot.efi", &b"x"[..]);
    for (name, path, mode, words) in [
        ("good", "usr/bin/installer", true, None),
        ("mode", "usr/bin/installer", false, Some("cannot be executed")),
        ("none", "usr/bin/other", true, Some("runs /usr/bin/installer, which it does not have")),
    ] {
        let mut layer = tar(&[(path, b"#!/bin/sh\n"), kernel]);
        if mode {
            executable(&mut layer);
        }
        let path = bench.file(name, &archive(&[Made::new("arm64", vec![layer])]));
        let outcome = verify(&path, &[]);
        let found = outcome.has("INS010", words.unwrap_or("the installer image runs"));
        assert_eq!(found, words.is_some(), "{name}: {:?}", outcome.findings);
    }
}

#[test]
fn archives_of_a_build() {
    let bench = Bench::new();
    let token = bench.file("token", b"t0ken");
    let mut arguments: Vec<OsString> = vec!["--installer-base".into(), base(&bench, "base.tar", Vec::new())];
    arguments.extend(["--omni".into(), "https://omni.example:8090".into(), "--join-token-file".into(), token.into()]);
    let built = Outcome::of(&mut bench.image("v1.13.9", "out", &arguments));
    assert_eq!(built.exit, 0, "{:?}", built.findings);
    let (installer, overlay) = (bench.world.path("out/installer-arm64.tar"), bench.world.path("out/overlay.tar"));
    let board = bench.board.to_str().unwrap();

    // The board, and a scenario of it.
    for path in [&installer, &overlay] {
        let right = verify(path, &["--board", board, "--boot", "mainline"]);
        assert_eq!((right.exit, right.errors().len()), (0, 0), "{:?}", right.findings);
        let unknown = verify(path, &["--board", board, "--boot", "minline"]);
        assert_eq!(unknown.exit, 2);
        assert!(unknown.has("USE001", "no boot scenario"), "{:?}", unknown.findings);
        let another = fs::read_to_string(&bench.board).unwrap().replace("source = \"idbloader\"", "source = \"spl\"");
        let another = bench.file("another/demo.toml", another.as_bytes());
        let wrong = verify(path, &["--board", another.to_str().unwrap()]);
        assert_eq!(wrong.exit, 1, "{:?}", wrong.findings);
        assert!(wrong.has("VFY002", "has no spl"), "{:?}", wrong.findings);
    }

    // The record beside them.
    let record_path = bench.world.path("out/build.json");
    let record: Value = serde_json::from_slice(&fs::read(&record_path).unwrap()).unwrap();
    let with = |key: &str, value: Value| {
        let mut record = record.clone();
        record[key] = value;
        fs::write(&record_path, record.to_string()).unwrap();
    };
    for (key, path) in [("installer", &installer), ("overlay", &overlay)] {
        let mut other = record[key].clone();
        other["sha256"] = json!(Digest::of(b"other"));
        with(key, other);
        let outcome = verify(path, &[]);
        assert!(outcome.exit == 1 && outcome.has("VFY003", "build.json says"), "{key}: {:?}", outcome.findings);
        with(key, Value::Null);
        let outcome = verify(path, &[]);
        assert!(outcome.exit == 0 && outcome.has("VFY006", "lists no"), "{key}: {:?}", outcome.findings);
    }
    fs::remove_file(&record_path).unwrap();

    // Its secrets.
    assert!(verify(&installer, &[]).has("REG009", "a join token, a kernel command line with secrets"));
    let push = |path: &Path, more: &[&str]| {
        let mut command = xtask();
        command.arg("push").arg(path).args(["127.0.0.1:1/x:v1", "--offline", "--json"]).args(more);
        Outcome::of(command.arg("--cache-dir").arg(bench.world.path("cache")))
    };
    let refused = push(&installer, &[]);
    assert_eq!(refused.exit, 1, "{:?}", refused.findings);
    assert!(refused.has("REG009", "a join token"), "{:?}", refused.findings);
    for outcome in [push(&overlay, &[]), push(&installer, &["--allow", "REG009"])] {
        assert!(outcome.exit != 1 && !outcome.errors().contains(&"REG009"), "{:?}", outcome.findings);
    }
    assert_eq!(push(&installer, &["--allow", "REG001"]).exit, 2);
}

#[test]
fn an_archive_that_is_made_to_take_long() {
    let bench = Bench::new();
    let artefact = vec![0; 8 << 20];
    let file =
        json!({ "digest": Digest::of(&artefact), "length": 512, "offset": 32_768, "path": "u", "size": 8 << 20 });
    let boards: Vec<_> = (0..2000)
        .map(|number| {
            json!({ "esp": [], "files": [file], "kernelArgs": [], "name": format!("b{number}"), "options": {}, "partitionOffset": 4 })
        })
        .collect();
    let description = json!({ "boards": boards, "name": "o", "schema": 1 }).to_string();
    let profiles: Vec<_> = (0..2000).map(|number| format!("profiles/{number}.yaml")).collect();
    let mut files: Vec<(&str, &[u8])> = vec![("installers/o", b"x"), ("artifacts/u", &artefact)];
    files.push(("artifacts/overlay.json", description.as_bytes()));
    files.extend(profiles.iter().map(|path| (path.as_str(), path.as_bytes())));
    let path = bench.file("long.tar", &archive(&[Made::new("arm64", vec![tar(&files)])]));
    let text = xtask().arg("verify").arg(&path).output().unwrap();
    let text = String::from_utf8_lossy(&text.stdout).into_owned();
    for line in ["2000 profiles: the first 64 were looked into", "2000 boards: the first 32 were looked into"] {
        assert!(text.contains(line), "{line}: {text}");
    }
}
