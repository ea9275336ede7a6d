//! Images that join Omni: the kernel arguments of its own images to the letter, the schematic beside them, and a token that
//! nothing shows or records.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test stops where its helpers do")]

mod common;

use std::ffi::OsString;

use common::{
    additions::{Bench, appended, uki, uki_of_installer, unsquashed},
    pe_section, prefixed, result,
    transfers::holding,
};
use fs_err as fs;
use serde_json::Value;

const TOKEN: &str = "v2:c4n4ry/t0ken=";
const ESCAPED: &str = "v2%3Ac4n4ry%2Ft0ken%3D";
/// What must stand nowhere: of either form.
const CANARY: &str = "c4n4ry";

fn arguments(bench: &Bench, url: &str) -> Vec<OsString> {
    let token = bench.file("token", format!("{TOKEN}\n").as_bytes());
    vec!["--omni".into(), url.into(), "--join-token-file".into(), token.into()]
}

fn cmdline(uki: &[u8]) -> String {
    String::from_utf8(pe_section(uki, ".cmdline").unwrap()).unwrap()
}

#[test]
fn the_command_line_is_omnis() {
    for (talos, url, api) in [
        ("v1.10.6", "https://omni.example:8090", "https://omni.example:8090?jointoken="),
        (
            "v1.13.9",
            "grpc://omni.example:8090?grpc_tunnel=true",
            "grpc://omni.example:8090?grpc_tunnel=true&jointoken=",
        ),
    ] {
        let bench = Bench::new();
        result(&mut bench.upgrade(talos, "plain", &[]));
        let built = result(&mut bench.image(talos, "out", &arguments(&bench, url)));
        let Some(plain) = uki_of_installer(&bench.world, "plain") else { return };
        let Some(uki) = uki(&bench.world, "out", talos) else { return };
        let expected = format!(
            "{} siderolink.api={api}{ESCAPED} talos.events.sink=[fdae:41e4:649b:9303::1]:8091 \
             talos.logging.kernel=tcp://[fdae:41e4:649b:9303::1]:8092",
            cmdline(&plain)
        );
        assert_eq!(cmdline(&uki), expected, "{talos}");
        // What is recorded has a digest where the token stands.
        let line = built["build"]["commandLine"].as_str().unwrap();
        let start = format!("{} siderolink.api={api}sha256:", cmdline(&plain));
        assert!(line.starts_with(&start), "{line}");

        // The schematic is the last extension, its record with the arguments as they are.
        let extensions = built["build"]["extensions"].as_array().unwrap();
        assert_eq!(extensions.len(), 1);
        assert_eq!(extensions[0]["name"], "schematic");
        let id = extensions[0]["version"].as_str().unwrap();
        let Some(folder) = appended(&bench.world, "out", &uki) else { return };
        let Some(layer) = unsquashed(&folder, "0") else { return };
        assert!(layer.join("usr/local/share/schematic").join(id).is_file());
        let list = fs::read_to_string(folder.join("extensions.yaml")).unwrap();
        assert!(list.contains(&format!("version: {id}")) && list.contains("siderolink.api="), "{list}");
        assert!(list.contains(ESCAPED), "{list}");
        let record: Value = serde_json::from_slice(&fs::read(bench.world.path("out/build.json")).unwrap()).unwrap();
        assert!(record["omniUpgrade"]["sentence"].as_str().is_some_and(|text| text.len() > 20), "{record}");
    }
}

#[test]
fn the_token_is_shown_and_recorded_nowhere() {
    let bench = Bench::new();
    let omni = arguments(&bench, "https://omni.example:8090");
    let base = prefixed("oci-archive:", &testkit::workspace().join("fixtures/demo/installer-base.tar"));
    let config = bench.file("config.yaml", format!("version: v1alpha1\nmachine: {{token: {CANARY}}}\n").as_bytes());
    let more = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
    let embed = vec!["--embed-config".into(), config.into(), "--allow".into(), "CFG001".into()];
    let mut wrong = Vec::new();
    for (what, extra, ok) in [
        ("nothing more", vec![], true),
        ("nothing to do", vec![], true),
        ("--explain", more(&["--explain", "-v"]), true),
        ("--dry-run", more(&["--dry-run", "--explain", "-v"]), true),
        ("GRUB", more(&["--bootloader", "grub", "--dry-run"]), true),
        ("a configuration with secrets", embed, true),
        ("too small", more(&["--size", "1048576"]), false),
        ("an unknown option of the overlay", more(&["--option", "a=b", "--explain"]), false),
        ("no base", more(&["--extension", "/nowhere.tar"]), false),
    ] {
        for json in [true, false] {
            // Words for people once are enough where nothing new is built.
            if !json && ok && !["--explain", "--dry-run"].contains(&what) {
                continue;
            }
            let mut command = bench.image("v1.13.9", "out", &omni);
            if what == "GRUB" || !json {
                // Later options of one name are refused, so the words are taken over but for those.
                let words: Vec<OsString> = command.get_args().map(OsString::from).collect();
                command = common::xtask();
                let mut words = words.into_iter().peekable();
                while let Some(word) = words.next() {
                    if what == "GRUB" && word == "--bootloader" {
                        words.next();
                    } else if json || word != "--json" {
                        command.arg(word);
                    }
                }
            }
            command.arg("--installer-base").arg(&base).args(&extra);
            let output = command.output().unwrap();
            let said =
                format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
            if said.contains(CANARY) {
                wrong.push(format!("{what}: shown:\n{said}"));
            }
            if output.status.success() != ok && !(what.starts_with("an unknown") || what == "GRUB") {
                wrong.push(format!("{what}: {}\n{said}", output.status));
            }
            // What is published beside the images, and what the store tells of them.
            for name in ["build.json", "SHA256SUMS"] {
                let text = fs::read_to_string(bench.world.path("out").join(name)).unwrap();
                if text.contains(CANARY) {
                    wrong.push(format!("{what}: {name}"));
                }
            }
            for path in holding(&bench.world.path("cache/v1/actions"), CANARY) {
                wrong.push(format!("{what}: {}", path.display()));
            }
        }
    }
    assert!(bench.world.path("cache/v1/actions").is_dir());
    for (name, file) in [("inspect", "metal-arm64.raw"), ("verify", "installer-arm64.tar")] {
        let mut command = common::xtask();
        command.arg(name).arg(bench.world.path("out").join(file)).arg("-v");
        let output = command.output().unwrap();
        if format!("{output:?}").contains(CANARY) {
            wrong.push(format!("{name} {file}: {}", String::from_utf8_lossy(&output.stdout)));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
