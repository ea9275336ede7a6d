//! From the same inputs, our image beside the one that the upstream imager wrote, both described by a reader that is
//! neither's (`reference/describe.py`). What differs must stand in [`DIFFERENCES`]; `docs/parity.md` shows that table.

#![allow(clippy::unwrap_used, reason = "a test stops where its helpers do")]

mod common;

use std::{fmt::Write as _, path::PathBuf};

use common::{Describe, Difference, Inputs, World, pe_section, prefixed, raw, result};
use fs_err as fs;
use imgcore::{Blob, Epoch, ReadAt as _};
use serde_json::Value;
use talosimg::{Version, boot, cmdline, release};

/// A difference that is meant.
struct Row {
    /// Name of the reason, a heading in the document.
    key: &'static str,
    /// In which cases; `*` stands for any text.
    cases: &'static [&'static str],
    /// At which paths of the description; `*` stands for any text.
    paths: &'static [&'static str],
    /// What ours is there, as JSON; any value if missing.
    ours: Option<&'static str>,
    /// Why.
    reason: &'static str,
}

const DIFFERENCES: &[Row] = &[
    Row {
        key: "derived GUIDs",
        cases: &["v1.10.6-sd-boot*", "v1.10.6-no-overlay"],
        paths: &[".gpt.disk_guid", ".backup_gpt.disk_guid", ".partitions[*].guid"],
        ours: None,
        reason: "v1.10 draws them at random. Ours are those that v1.13 derives from the labels, in every release, \
                 because the same input must give the same bytes.",
    },
    Row {
        key: "fixed volume id",
        cases: &["v1.10.6-sd-boot*", "v1.10.6-no-overlay"],
        paths: &[".contents.EFI.volume_id"],
        ours: Some("\"1234abcd\""),
        reason: "v1.10 lets mkfs.fat take it from the clock. Ours is the one that v1.13 fixes (`--invariant`).",
    },
    Row {
        key: "times of files",
        cases: &["v1.10.6-sd-boot*", "v1.10.6-no-overlay"],
        paths: &[".contents.EFI.mtimes*"],
        ours: None,
        reason: "v1.10 leaves the clock's time even when SOURCE_DATE_EPOCH is set. Ours is SOURCE_DATE_EPOCH, else the \
                 epoch of boards/sources.lock.",
    },
    Row {
        key: "release of the kernel",
        cases: &["*"],
        paths: &["*.sections[8].text", "*.sections[8].sha256", "*.sections[8].virtual_size"],
        ours: None,
        reason: "The imager writes its own built-in kernel release into `.uname`, whatever kernel it was given. Ours is \
                 read from the kernel that is in the image, so that boot menus tell the truth about it.",
    },
    Row {
        key: "digest of the UKI",
        cases: &["*-sd-boot", "*-sd-boot-consoles", "*-no-overlay"],
        paths: &[".contents.EFI.tree./EFI/Linux/Talos-*.efi.sha256"],
        ours: None,
        reason: "Follows from `.uname` and, for v1.10.6, from the time in the COFF header. Every section is compared on \
                 its own, and with the imager's `.uname` and time the whole file has the imager's bytes.",
    },
    Row {
        key: "boot files and device tree",
        cases: &["v1.13.9-sd-boot", "v1.13.9-sd-boot-consoles"],
        paths: &[
            ".before_first_partition",
            ".contents.EFI.tree./dtb/",
            ".contents.EFI.tree./dtb/rockchip/",
            ".contents.EFI.tree./dtb/rockchip/rk3588s-nanopi-m6.dtb",
        ],
        ours: None,
        reason: "v1.13 never calls the overlay's `install` when the boot loader is sd-boot: its image has no boot loader \
                 in front of the partitions and no device tree, and starts no Rockchip board. Ours has both, at the places \
                 where v1.10 to v1.12 put them.",
    },
];

/// Whether `text` is of the form `pattern`, in which `*` stands for any text.
fn fits(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(tail) = text.strip_prefix(head) else { return false };
    (0..=tail.len()).any(|at| tail.is_char_boundary(at) && fits(rest, &tail[at..]))
}

/// The row that explains a difference.
fn row(case: &str, difference: &Difference) -> Option<&'static str> {
    let explains = |row: &&Row| {
        row.cases.iter().any(|pattern| fits(pattern, case))
            && row.paths.iter().any(|pattern| fits(pattern, &difference.path))
            && row.ours.is_none_or(|ours| ours == difference.ours)
    };
    DIFFERENCES.iter().find(explains).map(|row| row.key)
}

/// The rows that must show up in a case, and no other may.
fn expected(case: &str) -> Vec<&'static str> {
    DIFFERENCES.iter().filter(|row| row.cases.iter().any(|pattern| fits(pattern, case))).map(|row| row.key).collect()
}

/// The instant that the references of v1.13.9 were built with.
const EPOCH: &str = "1700000000";

struct Case {
    /// Folder of the reference.
    name: &'static str,
    /// Whether there is an overlay.
    overlay: bool,
    /// More arguments.
    args: &'static [&'static str],
}

const CASES: [Case; 3] = [
    Case { name: "sd-boot", overlay: true, args: &["--kernel-arg", "console=ttyAMA0"] },
    Case { name: "sd-boot-consoles", overlay: true, args: &[] },
    Case { name: "no-overlay", overlay: false, args: &[] },
];

struct Reference {
    describe: Describe,
    cases: PathBuf,
    inputs: Inputs,
}

fn reference() -> Option<Reference> {
    let describe = Describe::find()?;
    Some(Reference { describe, cases: testkit::reference()?.join("shared"), inputs: Inputs::reference()? })
}

impl Reference {
    /// The imager's unified kernel image of a release, as a file of its own.
    fn uki(&self, talos: &str) -> Vec<u8> {
        testkit::read(self.cases.join(format!("{talos}-uki/metal-arm64-uki.efi")))
    }

    fn description(&self, case: &str) -> PathBuf {
        self.cases.join(case).join("description.json")
    }

    /// A world whose base has the boot picture of a release of the imager, so that offsets in the UKI can be compared.
    fn world(&self, talos: &str) -> (World, PathBuf) {
        let world = World::new(self.inputs.clone());
        let splash = pe_section(&self.uki(talos), ".splash").unwrap();
        let base = world.base("base", Some(&splash));
        (world, base)
    }
}

/// Everything that differs in `found` must be explained, and every explanation needed.
fn judge(case: &str, found: &[Difference]) {
    let mut seen = Vec::new();
    let mut unexplained = Vec::new();
    for difference in found {
        match row(case, difference) {
            Some(key) => seen.push(key),
            None => unexplained.push(difference),
        }
    }
    assert!(unexplained.is_empty(), "{case}: not in the table of differences: {unexplained:#?}");
    for key in expected(case) {
        assert!(seen.contains(&key), "{case}: {key:?} stands in the table but nothing differs");
    }
}

fn raw_images(talos: &str) {
    let Some(reference) = reference() else { return };
    let (world, base) = reference.world(talos);
    for Case { name, overlay, args } in CASES {
        let board = if overlay {
            world.overlay_board("nanopi-m6-reference", 20480)
        } else {
            world.plain_board("plain-reference")
        };
        let mut command = world.image(&board, talos, name);
        command.arg("--base").arg(prefixed("dir:", &base)).args(["--format", "raw"]).args(args);
        command.env("SOURCE_DATE_EPOCH", EPOCH);
        if overlay {
            world.add_sources(&mut command);
        }
        result(&mut command);
        let ours = world.path(name).join("metal-arm64.raw");
        let description = reference.describe.image(&ours);
        fs::remove_file(&ours).unwrap();
        let case = format!("{talos}-{name}");
        let written = world.path(&format!("{name}.json"));
        fs::write(&written, description.to_string()).unwrap();
        judge(&case, &reference.describe.diff(&reference.description(&case), &written));
        if overlay {
            assert_boot_files(&description, &reference.inputs);
        }
    }
}

/// Where v1.13.9 writes nothing, ours is what v1.10.6 writes: the files at their sectors.
fn assert_boot_files(description: &Value, inputs: &Inputs) {
    let areas = description["before_first_partition"].as_array().unwrap();
    let expected = [(64, &inputs.idbloader), (16384, &inputs.u_boot)];
    assert_eq!(areas.len(), expected.len(), "{areas:?}");
    for (area, (lba, file)) in areas.iter().zip(expected) {
        let length = testkit::read(file).len() as u64;
        assert_eq!(area["lba"], lba);
        // The reader counts sectors that hold anything; a file may end in zeros.
        assert!(area["sectors"].as_u64().unwrap() <= length.div_ceil(raw::SECTOR), "{area}");
    }
    let tree = &description["contents"]["EFI"]["tree"];
    assert_eq!(tree["/dtb/rockchip/rk3588s-nanopi-m6.dtb"]["size"], testkit::read(&inputs.dtb).len());
}

#[test]
fn raw_images_of_v1_10_6_differ_only_as_documented() {
    raw_images("v1.10.6");
}

#[test]
fn raw_images_of_v1_13_9_differ_only_as_documented() {
    raw_images("v1.13.9");
}

#[test]
fn boot_files_of_v1_10_6_are_where_the_imager_put_them() {
    let Some(reference) = reference() else { return };
    let text = testkit::read(reference.description("v1.10.6-sd-boot"));
    assert_boot_files(&serde_json::from_slice(&text).unwrap(), &reference.inputs);
}

#[test]
fn unified_kernel_images_have_the_imagers_bytes() {
    let Some(reference) = reference() else { return };
    for talos in ["v1.10.6", "v1.13.9"] {
        let theirs = reference.uki(talos);
        let pe = raw::Pe::parse(&theirs);
        let time = Epoch(raw::u32_at(&theirs, pe.header + 8));
        let blob = |path: &PathBuf| Blob::from_bytes("input", testkit::read(path));
        let section = |name: &str| pe_section(&theirs, name).unwrap();
        let version: Version = talos.parse().unwrap();
        let line = cmdline::build(release::find(&version).unwrap(), &common::OVERLAY_ARGS.map(str::to_owned), &[]);
        let plain = |uname: &str| {
            let assets = boot::Assets {
                kernel: blob(&reference.inputs.kernel),
                initramfs: blob(&reference.inputs.initramfs),
                stub: blob(&reference.inputs.stub),
                sd_boot: blob(&reference.inputs.sd_boot),
                splash: Some(Blob::from_bytes("splash", section(".splash"))),
                uname: Some(uname.to_owned()),
            };
            let uki = boot::plain_uki(&version, &assets, &line, time).unwrap();
            let mut bytes = vec![0; usize::try_from(uki.len()).unwrap()];
            uki.read_exact_at(0, &mut bytes).unwrap();
            bytes
        };
        let own = plain("6.12.107+deb13-cloud-arm64");
        let folder = tempfile::tempdir().unwrap();
        let (file, json) = (folder.path().join("uki.efi"), folder.path().join("uki.json"));
        fs::write(&file, own).unwrap();
        fs::write(&json, reference.describe.uki(&file).to_string()).unwrap();
        let case = format!("{talos}-uki");
        judge(&case, &reference.describe.diff(&reference.description(&case), &json));

        let with_their_uname = plain(&String::from_utf8(section(".uname")).unwrap());
        assert!(with_their_uname == theirs, "{talos}: with the imager's .uname and time, the bytes are the imager's");
    }
}

#[test]
fn meta_is_what_the_imager_writes() {
    let Some(reference) = reference() else { return };
    for talos in ["v1.10.6", "v1.13.9"] {
        let (world, base) = reference.world(talos);
        let mut command = world.image(&world.plain_board("plain-reference"), talos, "out");
        command.arg("--base").arg(prefixed("dir:", &base)).args(["--format", "raw"]);
        command.args(["--meta", "0xa=addresses: []", "--meta", "12=two"]);
        result(&mut command);
        let ours = reference.describe.image(&world.path("out/metal-arm64.raw"));
        let text = testkit::read(reference.description(&format!("{talos}-grub-meta")));
        let theirs: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(ours["contents"]["META"], theirs["contents"]["META"], "{talos}");
    }
}

#[test]
fn extra_arguments_give_the_imagers_command_line() {
    let Some(reference) = reference() else { return };
    for talos in ["v1.10.6", "v1.13.9"] {
        let log = String::from_utf8(testkit::read(reference.cases.join(format!("{talos}-grub-meta/log")))).unwrap();
        let theirs = log.lines().find_map(|line| line.strip_prefix("kernel command line: ")).unwrap();
        let (world, base) = reference.world(talos);
        let board = world.overlay_board("nanopi-m6-reference", 20480);
        let mut command = world.image(&board, talos, "out");
        command.arg("--base").arg(prefixed("dir:", &base)).arg("--dry-run");
        command.args(["--kernel-arg", "net.ifnames=0", "--kernel-arg", "-consoleblank"]);
        command.args(["--kernel-arg", "talos.config=https://example.org/c?a=1&b=2"]);
        world.add_sources(&mut command);
        assert_eq!(result(&mut command)["build"]["commandLine"], theirs, "{talos}");
        assert!(!world.path("out").exists(), "a dry run writes nothing");
    }
}

/// The table of the document, as this file has it.
fn rendered() -> String {
    let mut text = String::from("| Difference | Cases | In the description | Why |\n|---|---|---|---|\n");
    for Row { key, cases, paths, reason, .. } in DIFFERENCES {
        let code = |list: &[&str]| list.iter().map(|one| format!("`{one}`")).collect::<Vec<_>>().join(", ");
        let _ = writeln!(text, "| {key} | {} | {} | {reason} |", code(cases), code(paths));
    }
    text
}

/// `TALOS_RK_BLESS=1` rewrites the table in the document.
#[test]
fn the_document_has_this_table() {
    const MARKS: [&str; 2] = ["<!-- table of xtask/tests/parity.rs -->\n", "<!-- end of table -->\n"];
    let path = testkit::workspace().join("docs/parity.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(MARKS[0]).unwrap();
    let (table, after) = rest.split_once(MARKS[1]).unwrap();
    if std::env::var_os("TALOS_RK_BLESS").is_some_and(|value| value == "1") {
        fs::write(&path, format!("{before}{}{}{}{after}", MARKS[0], rendered(), MARKS[1])).unwrap();
        return;
    }
    assert_eq!(table, rendered(), "run `TALOS_RK_BLESS=1 cargo test -p xtask --test parity` and look at the change");
}

#[test]
fn patterns_are_read_from_both_ends() {
    for (pattern, text, expected) in [
        ("a", "a", true),
        ("a", "ab", false),
        ("*", "", true),
        (".partitions[*].guid", ".partitions[1].guid", true),
        (".partitions[*].guid", ".partitions[1].type", false),
        ("*.sections[8].text", ".contents.EFI.tree./x.efi.uki.sections[8].text", true),
        ("v1.13.9-sd-boot", "v1.13.9-sd-boot-consoles", false),
    ] {
        assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
    }
}

/// The stored description is what the reader says about the imager's image: the oracle has not changed under us.
#[test]
fn the_stored_descriptions_are_the_readers() {
    let Some(reference) = reference() else { return };
    let case = "v1.13.9-uki";
    let fresh = reference.describe.uki(&reference.cases.join(case).join("metal-arm64-uki.efi"));
    let stored: Value = serde_json::from_slice(&testkit::read(reference.description(case))).unwrap();
    assert_eq!(fresh, stored);
}
