//! The house keeps its shape: who may depend on whom (docs/architecture.md).

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test stops where its helpers do")]

use std::collections::{BTreeMap, BTreeSet};

/// Normal dependencies inside the workspace, read from the manifests.
fn edges() -> BTreeMap<String, BTreeSet<String>> {
    let root = testkit::workspace();
    let mut edges = BTreeMap::new();
    let mut manifests: Vec<_> =
        std::fs::read_dir(root.join("crates")).unwrap().map(|entry| entry.unwrap().path().join("Cargo.toml")).collect();
    manifests.push(root.join("xtask/Cargo.toml"));
    for manifest in manifests.iter().filter(|manifest| manifest.is_file()) {
        let text = String::from_utf8(testkit::read(manifest)).unwrap();
        let (mut section, mut name, mut uses) = (String::new(), String::new(), BTreeSet::new());
        for line in text.lines().map(str::trim) {
            if let Some(header) = line.strip_prefix('[') {
                header.trim_end_matches(']').clone_into(&mut section);
            } else if let Some((key, value)) = line.split_once('=') {
                let key = key.trim().trim_end_matches(".workspace");
                if section == "package" && key == "name" {
                    value.trim().trim_matches('"').clone_into(&mut name);
                } else if section == "dependencies" {
                    uses.insert(key.to_owned());
                }
            }
        }
        assert!(!name.is_empty(), "{}", manifest.display());
        edges.insert(name, uses);
    }
    let members: BTreeSet<String> = edges.keys().cloned().collect();
    for uses in edges.values_mut() {
        uses.retain(|name| members.contains(name));
    }
    edges
}

#[test]
fn dependencies_point_down() {
    let allowed: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("imgcore", &[] as &[&str]),
        ("dtbtool", &["imgcore"]),
        ("initramfs", &["imgcore"]),
        ("rawimg", &["imgcore"]),
        ("transfer", &["imgcore"]),
        ("ocipack", &["imgcore", "transfer"]),
        ("rkboot", &["imgcore", "dtbtool", "rawimg"]),
        ("talosimg", &["imgcore", "initramfs", "rawimg"]),
        ("overlay-installer", &["imgcore", "rawimg", "talosimg"]),
        ("boardbuild", &["imgcore", "initramfs", "dtbtool", "rkboot", "rawimg", "ocipack", "talosimg", "transfer"]),
        ("xtask", &["imgcore", "dtbtool", "ocipack", "rkboot", "rawimg", "boardbuild"]),
        ("testkit", &[]),
    ]);
    for (name, uses) in edges() {
        let may = allowed.get(name.as_str()).unwrap_or_else(|| panic!("{name} is not in docs/architecture.md's house"));
        for used in uses {
            assert!(may.contains(&used.as_str()), "{name} must not depend on {used}");
        }
    }
}

#[test]
fn every_dependency_has_a_line_in_its_page() {
    let root = testkit::workspace();
    let manifest = String::from_utf8(testkit::read(root.join("Cargo.toml"))).unwrap();
    let page = String::from_utf8(testkit::read(root.join("docs/dependencies.md"))).unwrap();
    let section = manifest.split("[workspace.dependencies]").nth(1).and_then(|rest| rest.split("\n[").next()).unwrap();
    let names = section.lines().filter(|line| !line.contains("path =")).filter_map(|line| line.split_once(" = "));
    for (name, _) in names {
        assert!(page.contains(&format!("`{name}`")), "docs/dependencies.md has no line for {name}");
    }
}

/// Lines of Rust code outside comments and tests.
fn code_of(name: &str) -> Vec<(String, String)> {
    let (mut open, mut lines) = (vec![testkit::workspace().join("crates").join(name).join("src")], Vec::new());
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = String::from_utf8(testkit::read(&path)).unwrap();
                // Tests stand at the end of a file.
                let code = text.lines().map(str::trim).take_while(|line| *line != "mod tests {");
                for line in code.filter(|line| !line.starts_with("//")) {
                    lines.push((path.display().to_string(), line.to_owned()));
                }
            }
        }
    }
    lines
}

#[test]
fn libraries_know_nothing_of_talos() {
    for name in ["imgcore", "initramfs", "dtbtool", "rkboot", "rawimg", "ocipack"] {
        for (path, line) in code_of(name) {
            let code = line.split("//").next().unwrap_or_default().to_lowercase().replace("talos-rk", "");
            assert!(!code.contains("talos"), "{path}: {line}");
        }
    }
}

#[test]
fn libraries_touch_no_files_clock_or_environment() {
    let forbidden = [
        "std::fs",
        "fs_err",
        "std::env",
        "std::net",
        "std::process",
        "SystemTime",
        "Instant::now",
        "println!",
        "eprintln!",
    ];
    for name in ["imgcore", "initramfs", "dtbtool", "rkboot", "rawimg", "ocipack", "talosimg"] {
        for (path, line) in code_of(name) {
            // The thin programs behind the feature `cli` and tests may.
            if path.contains("/bin/") || path.contains("tests") {
                continue;
            }
            for word in forbidden {
                assert!(!line.contains(word), "{path}: {line}");
            }
        }
    }
}
