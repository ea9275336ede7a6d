//! The executable is static and small because of what it does not link.
#![allow(clippy::expect_used, clippy::print_stderr, reason = "a test may stop")]

use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

/// What cargo answers, `None` when it would have to download packages of another platform first.
fn cargo(arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let output =
        command.args(arguments).arg("--offline").current_dir(env!("CARGO_MANIFEST_DIR")).output().expect("cargo");
    let stderr = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() && stderr.contains("--offline") {
        eprintln!("skipped: {arguments:?} needs packages that are not downloaded; `cargo fetch` brings them");
        return None;
    }
    assert!(output.status.success(), "{command:?}: {stderr}");
    Some(String::from_utf8(output.stdout).expect("UTF-8"))
}

fn metadata() -> Option<Vec<serde_json::Value>> {
    let version = testkit::run(Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())).arg("-vV"));
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).expect("a host");
    let text = cargo(&["metadata", "--format-version", "1", "--filter-platform", host])?;
    let metadata: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    metadata["packages"].as_array().cloned()
}

/// `name version` of every package that the executable links for `target`.
fn linked(target: &str) -> Option<BTreeSet<(String, String)>> {
    let tree = cargo(&[
        "tree",
        "-p",
        "overlay-installer",
        "-e",
        "normal",
        "--target",
        target,
        "--prefix",
        "none",
        "-f",
        "{p}",
    ])?;
    let package = |line: &str| {
        let mut words = line.split(' ');
        Some((words.next()?.to_owned(), words.next()?.trim_start_matches('v').to_owned()))
    };
    Some(tree.lines().filter_map(package).collect())
}

fn text(value: &serde_json::Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[test]
fn nothing_below_links_a_native_library() {
    let Some(packages) = metadata() else { return };
    let links: BTreeMap<_, _> = packages
        .iter()
        .map(|package| ((text(&package["name"]), text(&package["version"])), !package["links"].is_null()))
        .collect();
    assert!(links.iter().any(|((name, _), links)| name == "zstd-sys" && *links), "the workspace has codecs: {links:?}");

    for target in ["x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl", "aarch64-unknown-linux-gnu"] {
        let Some(linked) = linked(target) else { continue };
        assert!(linked.iter().any(|(name, _)| name == "talosimg"), "{linked:?}");
        for package in &linked {
            assert!(links.contains_key(package), "{package:?} is linked for {target} and not known: {links:?}");
            let native = links[package] && package.0 != "linux-raw-sys";
            assert!(!native, "{} {} is native code: {target}", package.0, package.1);
        }
    }
}

#[test]
fn of_this_workspace_only_the_protocol_and_the_reader_are_below() {
    let (Some(packages), Some(linked)) = (metadata(), linked("x86_64-unknown-linux-musl")) else { return };
    let ours: BTreeSet<_> =
        packages.iter().filter(|package| package["source"].is_null()).map(|package| text(&package["name"])).collect();
    let below: BTreeSet<_> = linked.into_iter().map(|(name, _)| name).filter(|name| ours.contains(name)).collect();
    assert_eq!(below.into_iter().collect::<Vec<_>>(), ["imgcore", "overlay-installer", "rawimg", "talosimg"]);
}
