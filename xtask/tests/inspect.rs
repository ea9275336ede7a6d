//! `inspect --tsv` says of real files what other programs measured.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test stops where its helpers do")]

use std::{collections::BTreeMap, process::Command};

#[test]
fn every_measured_row_is_reproduced() {
    let Some(folder) = testkit::shared("testdata") else { return };
    let table = String::from_utf8(testkit::read(folder.join("expected/parse.tsv"))).unwrap();
    let mut expected: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for row in table.lines().skip(1) {
        let (file, rest) = row.split_once('\t').unwrap();
        let kind = rest.split('\t').next().unwrap();
        if ["idb-v2", "fit", "fdt"].contains(&kind) {
            expected.entry(file).or_default().push(rest);
        }
    }
    assert!(expected.len() > 10);
    for (file, rows) in expected {
        let output =
            Command::new(env!("CARGO_BIN_EXE_xtask")).args(["inspect", "--tsv"]).arg(folder.join(file)).output();
        let output = output.unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let kinds = ["idb-v2\t", "fit\t", "fdt\t"];
        let found: Vec<_> = text.lines().filter(|row| kinds.iter().any(|kind| row.starts_with(kind))).collect();
        assert_eq!(found, rows, "{file}\n{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn a_file_of_no_known_kind_is_a_usage_error() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("text");
    std::fs::write(&file, "hello").unwrap();
    let run = |path: &std::path::Path| {
        Command::new(env!("CARGO_BIN_EXE_xtask")).arg("inspect").arg(path).output().unwrap().status.code()
    };
    assert_eq!(run(&file), Some(2));
    assert_eq!(run(&home.path().join("none")), Some(3));
}
