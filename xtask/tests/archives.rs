//! `verify` of overlay and installer images: our own are clean, also held against the board, and each thing that the imager
//! or a node would stumble over is told once.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test stops where its helpers do")]

mod common;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use common::{
    additions::{Bench, Outcome},
    prefixed, result, xtask,
};
use fs_err as fs;
use imgcore::{Blob, Epoch};
use ocipack::{Entry, Image, Platform, archive, layer, read};

type Entries = Vec<Entry>;

/// All files of the image for arm64 of an archive.
fn entries(path: &Path) -> Entries {
    let data = Blob::from_bytes("archive", fs::read(path).unwrap());
    let (view, report) = read::open(Arc::new(data));
    assert!(!report.has_errors(), "{report:?}");
    let view = view.unwrap();
    let image = view.image(&Platform::new("linux", "arm64")).unwrap();
    let (tree, _) = image.tree();
    let files = tree.iter().filter(|(_, node)| node.kind.name() == "file");
    files
        .map(|(path, node)| {
            let bytes = image.read_file(&tree, path, 1 << 30).unwrap();
            Entry::file(path, node.mode, Blob::from_bytes(path, bytes))
        })
        .collect()
}

fn pack(path: &Path, architectures: &[&str], entries: &[Entry]) {
    let image = |architecture: &&str| {
        let layer = layer::build(entries, Epoch(0)).unwrap();
        let mut image = Image::new(Platform::new("linux", *architecture), vec![layer], Epoch(0));
        image.config.entrypoint = vec!["/usr/bin/installer".to_owned()];
        image
    };
    let images: Vec<_> = architectures.iter().map(image).collect();
    let mut bytes = Vec::new();
    archive::plan(&images, &archive::Options::default()).unwrap().write_to(&mut bytes).unwrap();
    fs::write(path, bytes).unwrap();
}

fn text(path: &str, mode: u32, bytes: &[u8]) -> Entry {
    Entry::file(path, mode, Blob::from_bytes("text", bytes.to_vec()))
}

/// The entries without those whose path begins so.
fn without(entries: &Entries, start: &str) -> Entries {
    entries.iter().filter(|entry| !entry.path.starts_with(start)).cloned().collect()
}

/// The entries with another one in place of that of its path.
fn with(entries: &Entries, entry: Entry) -> Entries {
    let mut entries: Entries = entries.iter().filter(|known| known.path != entry.path).cloned().collect();
    entries.push(entry);
    entries
}

fn mode(entries: &Entries, start: &str, mode: u32) -> Entries {
    let change = |entry: &Entry| {
        if entry.path.starts_with(start) { Entry { mode, ..entry.clone() } } else { entry.clone() }
    };
    entries.iter().map(change).collect()
}

fn verify(path: &Path, board: Option<&Path>) -> Outcome {
    let mut command = xtask();
    command.arg("verify").arg(path).arg("--json");
    if let Some(board) = board {
        command.arg("--board").arg(board);
    }
    Outcome::of(&mut command)
}

struct Built {
    bench: Bench,
    overlay: PathBuf,
    installer: PathBuf,
}

fn built() -> Built {
    let bench = Bench::new();
    let base = prefixed("oci-archive:", &testkit::workspace().join("fixtures/demo/installer-base.tar"));
    result(&mut bench.installer("v1.13.9", "out", base));
    let mut command = xtask();
    command.arg("overlay").arg(&bench.board).args(["--talos", "v1.13.9", "--json", "--offline"]);
    command.arg("-o").arg(bench.world.path("out")).arg("--cache-dir").arg(bench.world.path("cache"));
    bench.world.stand_ins(&mut command);
    bench.world.add_sources(&mut command);
    result(&mut command);
    let [overlay, installer] = ["overlay.tar", "installer-arm64.tar"].map(|name| bench.world.path("out").join(name));
    Built { bench, overlay, installer }
}

/// Packs each row and expects one finding of the code and no other of overlays and installers.
#[track_caller]
fn judge(built: &Built, rows: Vec<(&str, Entries, i32, &str, &str)>) {
    let mut wrong = Vec::new();
    for (number, (what, entries, exit, code, words)) in rows.into_iter().enumerate() {
        let path = built.bench.world.path(&format!("{code}-{number}.tar"));
        pack(&path, if code == "OVL114" { &["arm64"] } else { &["arm64", "amd64"] }, &entries);
        let outcome = verify(&path, None);
        let known: Vec<_> = outcome
            .findings
            .iter()
            .filter(|(found, ..)| ["OVL", "INS", "VFY"].iter().any(|start| found.starts_with(start)))
            .collect();
        let one = known.len() == 1 && known[0].0 == code && known[0].2.contains(words);
        if outcome.exit != exit || !one {
            wrong.push(format!(
                "{what}: expected {exit} {code} {words:?}, found {} {:?}",
                outcome.exit, outcome.findings
            ));
        }
    }
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn our_own_are_clean() {
    let built = built();
    for path in [&built.overlay, &built.installer] {
        for board in [None, Some(built.bench.board.as_path())] {
            let outcome = verify(path, board);
            let loud: Vec<_> = outcome.findings.iter().filter(|(_, severity, _)| severity != "info").collect();
            let ours: Vec<_> = loud.iter().filter(|(code, ..)| !code.starts_with("FLW")).collect();
            assert!(outcome.exit == 0 && ours.is_empty(), "{path:?} {board:?}: {} {loud:?}", outcome.exit);
        }
    }
    // Another board's files are not these.
    let other = built.bench.world.overlay_board("other", 20_480);
    for path in [&built.overlay, &built.installer] {
        let outcome = verify(path, Some(&other));
        assert!(outcome.exit == 1 && outcome.has("VFY002", "puts at sector 64"), "{:?}", outcome.findings);
    }
    let plain = testkit::workspace().join("fixtures/demo/installer-base.tar");
    let outcome = verify(&plain, Some(&other));
    assert!(outcome.exit == 1 && outcome.has("VFY002", "--board other"), "{:?}", outcome.findings);
}

#[test]
fn overlays() {
    let built = built();
    let good = entries(&built.overlay);
    let profile = "output:\n  imageOptions:\n    diskSize: 1306525696\n";
    let name = |start: &str| good.iter().find(|entry| entry.path.starts_with(start)).unwrap().path.clone();
    let (artefact, yaml) = (name("artifacts/arm64/u-boot"), name("profiles/"));
    let folder = [good.clone(), vec![Entry::dir("installers/nanopi-m6", 0o755)]].concat();
    let closed = [good.clone(), vec![Entry::dir("artifacts/arm64", 0o600)]].concat();
    judge(
        &built,
        vec![
            ("no installer", without(&good, "installers/"), 1, "OVL110", "has no installer"),
            ("a folder for it", without(&folder, "installers/nanopi-m6"), 1, "OVL110", "has no installer"),
            ("not executable", mode(&good, "installers/", 0o644), 1, "OVL111", "mode 0644"),
            ("another artefact", with(&good, text(&artefact, 0o644, b"other")), 1, "OVL112", &artefact),
            ("a missing artefact", without(&good, &artefact), 1, "OVL112", "is missing"),
            ("no JSON", with(&good, text("artifacts/overlay.json", 0o644, b"{")), 1, "OVL112", "overlay.json"),
            ("no YAML", with(&good, text(&yaml, 0o644, b"a: b: c\n")), 1, "OVL112", &yaml),
            (
                "no boot program",
                with(&good, text(&yaml, 0o644, profile.as_bytes())),
                0,
                "OVL113",
                "names no boot program",
            ),
            ("one platform", good.clone(), 0, "OVL114", "linux/amd64"),
            ("a closed folder", closed, 0, "OVL115", "mode 0600"),
            ("no artefacts", without(&good, "artifacts/"), 0, "OVL116", "no artefacts"),
        ],
    );
}

#[test]
fn installers() {
    let built = built();
    let good = entries(&built.installer);
    let stub = fs::read(&built.bench.world.inputs.stub).unwrap();
    let uki = "usr/install/arm64/vmlinuz.efi";
    let rows = vec![
        ("no kernel", without(&good, uki), 1, "INS010", uki),
        ("no systemd-boot", without(&good, "usr/install/arm64/systemd-boot.efi"), 1, "INS010", "systemd-boot.efi"),
        ("not executable", mode(&good, "overlay/installers/", 0o644), 1, "INS011", "mode 0644"),
        (
            "an overlay without its installer",
            without(&good, "overlay/installers/"),
            1,
            "INS011",
            "overlay/installers/default",
        ),
        ("no options", without(&good, "overlay/extra-options"), 1, "INS012", "is missing"),
        ("no YAML", with(&good, text("overlay/extra-options", 0o644, b"a: b: c\n")), 1, "INS012", "extra-options"),
        (
            "no board",
            with(&good, text("overlay/extra-options", 0o644, b"board: other\n")),
            1,
            "INS012",
            "choose no board",
        ),
        (
            "another artefact",
            with(&good, text("overlay/artifacts/arm64/u-boot/demo/u-boot.img", 0o644, b"other")),
            1,
            "OVL112",
            "u-boot.img",
        ),
    ];
    let mut wrong = Vec::new();
    for (number, (what, entries, exit, code, words)) in rows.into_iter().enumerate() {
        let path = built.bench.world.path(&format!("installer-{number}.tar"));
        pack(&path, &["arm64"], &entries);
        let outcome = verify(&path, None);
        let count = outcome.findings.iter().filter(|(found, ..)| found == code).count();
        if outcome.exit != exit || count != 1 || !outcome.has(code, words) {
            wrong.push(format!(
                "{what}: expected {exit} {code} {words:?}, found {} {:?}",
                outcome.exit, outcome.findings
            ));
        }
    }
    // A stub alone starts nothing: each section that is missing is named.
    let path = built.bench.world.path("stub.tar");
    pack(&path, &["arm64"], &with(&good, text(uki, 0o644, &stub)));
    let outcome = verify(&path, None);
    for section in [".linux", ".initrd", ".cmdline", ".osrel"] {
        if outcome.exit != 1 || !outcome.has("INS010", &format!("no section {section}")) {
            wrong.push(format!("{section}: {:?}", outcome.findings));
        }
    }
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.join("\n"));
}
