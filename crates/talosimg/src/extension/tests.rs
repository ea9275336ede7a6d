use imgcore::{Blob, Report};
use initramfs::{Node, Tree};

use proptest::prelude::*;

use super::*;
use crate::{Version, release};

/// What the imager's own validation says (`tests/data/semver_ranges_oracle.go`).
const RANGES: &str = include_str!("../../tests/data/semver_ranges.tsv");

#[test]
fn ranges_are_read_as_the_imager_reads_them() {
    let mut lines = RANGES.lines();
    let releases: Vec<Version> = lines.next().unwrap().split('\t').skip(1).map(|text| text.parse().unwrap()).collect();
    let mut wrong = Vec::new();
    for line in lines {
        let fields: Vec<&str> = line.split('\t').collect();
        let text: String = serde_json::from_str(fields[0]).unwrap();
        let found: Vec<&str> = releases
            .iter()
            .map(|release| match Range::parse(&text) {
                Err(_) => "error",
                Ok(range) if range.matches(release) => "yes",
                Ok(_) => "no",
            })
            .collect();
        if found != fields[1..] {
            wrong.push(format!("{text:?}: {found:?}, expected {:?}", &fields[1..]));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(Range::parse(&">=1.0.0 ".repeat(1000)).is_err());
    // A call of nothing in the original.
    assert!(Range::parse("1.10.6 || || 1.13.9").is_err());
}

const MANIFEST_TEXT: &str = "version: v1alpha1\nmetadata:\n  name: realtek-firmware\n  version: \"20250708\"\n  author: Sidero \
                             Labs\n  description: |\n    Stand-in for the firmware extension: two files of pseudo-random bytes.\n  \
                             compatibility:\n    talos:\n      version: \">= v1.0.0\"\n";

/// What the imager wrote for it (reference cases `v1.10.6-extension` and `v1.13.9-extension`).
const EXTENSIONS_YAML: &str = "layers:
    - image: 0.sqsh
      metadata:
        name: realtek-firmware
        version: \"20250708\"
        author: Sidero Labs
        description: |
            Stand-in for the firmware extension: two files of pseudo-random bytes.
        compatibility:
            talos:
                version: '>= v1.0.0'
";

fn file(mode: u32, bytes: &[u8]) -> Node {
    Node::file(mode, Blob::from_bytes("file", bytes))
}

/// An ELF header of a machine, little- or big-endian.
fn elf(machine: u16, big: bool) -> Vec<u8> {
    let mut header = vec![0; 64];
    header[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, if big { 2 } else { 1 }]);
    header[18..20].copy_from_slice(&if big { machine.to_be_bytes() } else { machine.to_le_bytes() });
    header
}

fn tree(entries: &[(&str, Node)]) -> Tree {
    let mut tree = Tree::new();
    for (path, node) in entries {
        tree.insert(*path, node.clone()).unwrap();
    }
    tree
}

fn named(name: &str, rootfs: &[(&str, Node)]) -> Extension {
    let metadata = Metadata { name: name.to_owned(), ..Metadata::default() };
    let manifest = Manifest { version: API_VERSION.to_owned(), metadata };
    Extension { label: format!("{name}.tar"), manifest, rootfs: tree(rootfs) }
}

fn codes(report: &Report) -> Vec<&'static str> {
    report.iter().map(|finding| finding.code).collect()
}

fn paths(tree: &Tree) -> Vec<&str> {
    tree.iter().map(|(path, _)| path).collect()
}

fn bytes(tree: &Tree, path: &str) -> Vec<u8> {
    tree.get(path).and_then(Node::data).unwrap().read_all(1 << 20).unwrap()
}

fn row(text: &str) -> &'static release::Release {
    release::find(&text.parse().unwrap()).unwrap()
}

#[test]
fn an_extension_of_the_reference_becomes_what_the_imager_made_of_it() {
    for version in ["v1.10.6", "v1.13.9"] {
        let root = tree(&[
            ("manifest.yaml", file(0o644, MANIFEST_TEXT.as_bytes())),
            ("rootfs/usr/lib/firmware/rtl_nic/rtl8125b-2.fw", file(0o644, b"a")),
            ("rootfs/usr/lib/firmware/rtl_nic/rtl8168h-2.fw", file(0o644, b"b")),
        ]);
        let (extension, report) = open("realtek-firmware.tar", root);
        assert!(report.is_empty(), "{report:?}");
        let extension = extension.unwrap();
        assert!(check(&extension, row(version), &version.parse().unwrap()).is_empty());
        let (merged, report) = merge(row(version), vec![extension]).unwrap();
        assert!(report.is_empty() && merged.microcode.is_none() && merged.modules().is_empty());
        assert_eq!(paths(&merged.layers[0].tree), ["usr", "usr/lib"]);
        assert_eq!(merged.extensions_yaml(), EXTENSIONS_YAML);
        let archive = merged.archive(vec![Blob::from_bytes("image", *b"hsqs")]).unwrap();
        assert_eq!(
            paths(&archive),
            [
                "0.sqsh",
                "extensions.yaml",
                "usr",
                "usr/lib",
                "usr/lib/firmware",
                "usr/lib/firmware/rtl_nic",
                "usr/lib/firmware/rtl_nic/rtl8125b-2.fw",
                "usr/lib/firmware/rtl_nic/rtl8168h-2.fw",
            ]
        );
        assert!(merged.archive(vec![]).is_err());
    }
}

#[test]
fn manifests_are_read_as_go_reads_them() {
    // Scalars of any type are texts, null is the empty one, of several documents the first counts.
    let text = "# c\n---\nversion: v1alpha1\nmetadata:\n  name: 1.10\n  version: 20250708\n  author: ~\n  description: true\n  \
                compatibility:\n    talos:\n  extraInfo: |\n    a\n---\nother: document\n";
    let (manifest, report) = Manifest::parse(text.as_bytes());
    assert!(report.is_empty(), "{report:?}");
    let metadata = manifest.unwrap().metadata;
    assert_eq!(
        [metadata.name, metadata.version, metadata.author, metadata.description, metadata.talos, metadata.extra_info],
        ["1.10", "20250708", "", "true", "", "a\n"]
    );
    for (text, expected, word) in [
        ("version: v1alpha1\nmetadata: {name: a}\n", &[][..], ""),
        (
            "version: v1alpha1\nmetadata: {name: a, versoin: b, compatibility: {linux: {version: c}}}\n",
            &["EXT016"],
            "metadata.versoin",
        ),
        ("version: v1\nmetadata: {name: a}\n", &["EXT004"], "\"v1\""),
        ("metadata: {name: a}\n", &["EXT004"], "has no version"),
        ("", &["EXT004", "EXT005"], "has no version"),
        ("version: v1alpha1\n", &["EXT005"], "metadata.name is empty"),
        ("version: [v1alpha1]\n", &["EXT003"], "cannot be read"),
        ("version: v1alpha1\nversion: v1alpha1\n", &["EXT003"], "cannot be read"),
        ("- a\n", &["EXT003"], "cannot be read"),
        ("a: b: c\n", &["EXT003"], "cannot be read"),
    ] {
        let (_, report) = Manifest::parse(text.as_bytes());
        assert_eq!(codes(&report), expected, "{text}: {report:?}");
        assert!(report.iter().next().is_none_or(|finding| finding.message.contains(word)), "{report:?}");
    }
    assert_eq!(codes(&Manifest::parse(b"version: \xff\n").1), ["EXT003"]);
    let manifest = named("a: b", &[]).manifest;
    assert_eq!(Manifest::parse(manifest.to_yaml().as_bytes()).0, Some(manifest));
}

#[test]
fn what_is_no_extension_says_what_is_missing() {
    let manifest = || file(0o644, MANIFEST_TEXT.as_bytes());
    for (entries, expected, word) in [
        (vec![], &["EXT001", "EXT001"][..], "manifest.yaml is missing"),
        (vec![("rootfs/a", file(0o644, b""))], &["EXT001"], "manifest.yaml is missing"),
        (vec![("manifest.yaml", manifest())], &["EXT001"], "rootfs is missing"),
        (vec![("manifest.yaml", manifest()), ("rootfs", file(0o644, b""))], &["EXT001"], "rootfs is missing"),
        (
            vec![("manifest.yaml", Node::symlink("a")), ("rootfs", Node::dir(0o755))],
            &["EXT001"],
            "manifest.yaml is missing",
        ),
        (vec![("usr/bin/a", file(0o755, b"")), ("manifest.yaml", manifest())], &["EXT001"], "found \"usr\""),
        (
            vec![("manifest.yaml", manifest()), ("rootfs", Node::dir(0o755)), ("vmlinuz", file(0o644, b""))],
            &["EXT002"],
            "\"vmlinuz\"",
        ),
        (
            vec![("manifest.yaml", file(0o644, &vec![b'#'; 2 << 20])), ("rootfs", Node::dir(0o755))],
            &["EXT003"],
            "at most",
        ),
    ] {
        let (extension, report) = open("x.tar", tree(&entries));
        assert_eq!(codes(&report), expected, "{report:?}");
        let first = report.iter().next().unwrap();
        assert!(first.message.contains(word) && first.owner.is_some(), "{report:?}");
        assert_eq!(extension.is_some(), expected == ["EXT002"]);
    }
    let (extension, _) = open("x.tar", tree(&[("manifest.yaml", manifest()), ("rootfs/a", Node::dir(0o7055))]));
    assert_eq!(extension.unwrap().rootfs.get("a").unwrap().mode, 0o755);
}

#[test]
fn an_extension_that_does_not_fit_is_named_with_its_reason() {
    let for_talos = |range: &str| {
        let mut extension = named("gvisor", &[]);
        extension.manifest.metadata.talos = range.to_owned();
        extension
    };
    let labelled = || {
        let mut node = file(0o644, b"");
        node.xattrs.insert("security.selinux".to_owned(), b"a".to_vec());
        node
    };
    for (extension, version, expected, words) in [
        (for_talos(">= v1.11.0"), "v1.10.6", &["EXT007"][..], &["for Talos >= v1.11.0", "for Talos v1.10.6"][..]),
        (for_talos("< v1.13.0"), "v1.13.9-nanopi-m6", &["EXT007"], &["for Talos < v1.13.0"]),
        (for_talos(">= v1.13.9"), "v1.13.9-beta.0", &[], &[]),
        (for_talos("^1.10"), "v1.10.6", &["EXT006"], &["\"^1.10\"", "no operator"]),
        (for_talos("1.10"), "v1.10.6", &["EXT006"], &["three numbers"]),
        (for_talos("latest"), "v1.10.6", &["EXT006"], &["no version"]),
        (for_talos("~> 1.10.0"), "v1.10.6", &["EXT006"], &["no operator"]),
        (
            named("a", &[("usr/local/bin/a", file(0o755, &elf(62, false)))]),
            "v1.13.9",
            &["EXT008"],
            &["x86-64", "usr/local/bin/a"],
        ),
        (
            named(
                "a",
                &[
                    ("usr/local/bin/a", file(0o755, &elf(183, false))),
                    ("usr/local/bin/b", file(0o755, &elf(183, true))),
                    ("usr/local/bin/c", file(0o755, b"#!/bin/sh\n")),
                    ("usr/local/lib/d.so.1", file(0o644, &elf(62, false))),
                    ("usr/local/lib/e.so", file(0o644, &elf(62, false))),
                    ("usr/local/share/f", file(0o644, &elf(62, false))),
                    ("usr/lib/firmware/g.elf", file(0o755, &elf(40, false))),
                    ("usr/lib/modules/6.1/h.ko", file(0o644, &elf(22, true))),
                ],
            ),
            "v1.13.9",
            &["EXT008", "EXT008"],
            &["1 file is for s390", "usr/lib/modules/6.1/h.ko"],
        ),
        (
            named(
                "a",
                &[("usr/bin/nvme", file(0o755, b"")), ("boot/a", file(0o644, b"")), ("boot/b", Node::symlink("a"))],
            ),
            "v1.10.6",
            &["EXT009"],
            &["\"boot/a\", \"boot/b\", \"usr/bin/nvme\""],
        ),
        (named("a", &[("usr/bin/nvme", file(0o755, b""))]), "v1.13.9", &[], &[]),
        (
            named(
                "a",
                &[
                    ("usr/local/a", file(0o666, b"")),
                    ("usr/local/b", Node::symlink("a")),
                    ("usr/local/c", Node::dir(0o777)),
                ],
            ),
            "v1.13.9",
            &["EXT017"],
            &["\"usr/local/a\", \"usr/local/c\""],
        ),
        (named("a", &[("lib/firmware/a", file(0o644, b""))]), "v1.10.6", &["EXT009", "EXT012"], &["lib/firmware/a"]),
        (named("a", &[("usr/lib/firmware", Node::symlink("../../lib"))]), "v1.10.6", &["EXT012"], &["symbolic link"]),
        (named("a", &[("usr/local/a", labelled())]), "v1.10.6", &["EXT015"], &["left out"]),
        (named("a", &[("usr/local/a", labelled())]), "v1.12.0", &[], &[]),
    ] {
        let report = check(&extension, row(version), &version.parse().unwrap());
        assert_eq!(codes(&report), expected, "{report:?}");
        for word in words {
            let first = report.iter().next().unwrap();
            assert!(first.message.contains(word), "{first}");
            assert!(first.help.is_some() && first.owner.as_deref() == Some(extension.label.as_str()), "{first}");
        }
    }
}

#[test]
fn twelve_extensions_are_ordered_as_the_imager_orders_them() {
    let extensions = (0..12).map(|index| named(&format!("e{index}"), &[])).collect();
    let (merged, report) = merge(row("v1.13.9"), extensions).unwrap();
    assert!(report.is_empty());
    let images: Vec<&str> = merged.layers.iter().map(|layer| layer.image.as_str()).collect();
    assert_eq!(
        images,
        [
            "0.sqsh", "1.sqsh", "10.sqsh", "11.sqsh", "2.sqsh", "3.sqsh", "4.sqsh", "5.sqsh", "6.sqsh", "7.sqsh",
            "8.sqsh", "9.sqsh"
        ]
    );
    assert_eq!(merged.layers[2].metadata.name, "e10");
}

#[test]
fn firmware_of_several_extensions_goes_into_one_folder() {
    let labelled = |label: &[u8]| {
        let mut node = file(0o4755, b"x");
        node.xattrs.insert("security.selinux".to_owned(), label.to_vec());
        node.xattrs.insert("user.a".to_owned(), b"b".to_vec());
        node
    };
    let first = || {
        named(
            "a",
            &[
                ("usr/lib/firmware", Node::dir(0o700)),
                ("usr/lib/firmware/a", file(0o4644, b"long content")),
                ("usr/lib/firmware/b", file(0o644, b"same")),
                ("usr/lib/firmware/c", Node::symlink("a")),
                ("usr/local/a", labelled(b"l")),
            ],
        )
    };
    let second = named(
        "a",
        &[
            ("usr/lib/firmware", Node::dir(0o755)),
            ("usr/lib/firmware/a", file(0o600, b"short")),
            ("usr/lib/firmware/b", file(0o644, b"same")),
            ("usr/lib/firmware/c", Node::symlink("a")),
            ("usr/lib/firmware/intel-ucode/06-01", file(0o644, b"i1")),
            ("usr/lib/firmware/intel-ucode/06-02", file(0o644, b"i2")),
            ("usr/lib/firmware/amd-ucode/microcode_amd.bin", file(0o644, b"m1")),
            ("usr/lib/firmware/amd-ucode/microcode_amd_fam15h.bin", file(0o644, b"m2")),
            ("usr/lib/firmware/amd-ucode/microcode_amd.bin.asc", file(0o644, b"s")),
        ],
    );
    let (merged, report) = merge(row("v1.13.9"), vec![first(), second.clone()]).unwrap();
    assert_eq!(codes(&report), ["EXT011", "EXT010", "EXT014", "EXT014"], "{report:?}");
    assert_eq!(bytes(&merged.outside, "usr/lib/firmware/a"), b"short");
    assert_eq!(merged.outside.get("usr/lib/firmware").unwrap().mode, 0o700);
    assert_eq!(
        paths(&merged.outside)[2..],
        [
            "usr/lib/firmware",
            "usr/lib/firmware/a",
            "usr/lib/firmware/amd-ucode",
            "usr/lib/firmware/amd-ucode/microcode_amd.bin.asc",
            "usr/lib/firmware/b",
            "usr/lib/firmware/c",
            "usr/lib/firmware/intel-ucode",
        ]
    );
    let microcode = merged.microcode.as_ref().unwrap();
    assert_eq!(bytes(microcode, "kernel/x86/microcode/GenuineIntel.bin"), b"i1i2");
    assert_eq!(bytes(microcode, "kernel/x86/microcode/AuthenticAMD.bin"), b"m1m2");
    let kept = merged.layers[0].tree.get("usr/local/a").unwrap();
    assert_eq!((kept.mode, kept.xattrs.len(), &kept.xattrs["security.selinux"][..]), (0o4755, 1, &b"l"[..]));
    let (merged, _) = merge(row("v1.10.6"), vec![first()]).unwrap();
    assert!(merged.layers[0].tree.get("usr/local/a").unwrap().xattrs.is_empty());

    let folder = named("b", &[("usr/lib/firmware/a/b", file(0o644, b""))]);
    for pair in [vec![first(), folder.clone()], vec![folder, first()]] {
        let error = merge(row("v1.13.9"), pair).unwrap_err().to_string();
        assert!(error.contains("usr/lib/firmware/a is a f"), "{error}");
    }
}

#[test]
fn kernel_modules_ask_for_a_list_of_all() {
    let module = named(
        "drm",
        &[
            ("usr/lib/modules/6.18.44-talos/extras/a.ko", file(0o644, &elf(183, false))),
            ("usr/lib/modules/6.12.40-talos/b.ko", file(0o644, &elf(183, false))),
            ("usr/lib/modules/README", file(0o644, b"")),
        ],
    );
    let (mut merged, _) = merge(row("v1.13.9"), vec![named("a", &[]), module]).unwrap();
    let releases = vec!["6.12.40-talos".to_owned(), "6.18.44-talos".to_owned()];
    assert_eq!(merged.modules(), [Modules { layer: 1, releases }]);
    let files = [("modules.dep".to_owned(), Blob::from_bytes("dep", *b"extras/a.ko:\n"))];
    merged.push(MODULES_DEP, modules_dep("6.18.44-talos", files).unwrap());
    let last = merged.layers.last().unwrap();
    assert_eq!((last.image.as_str(), last.label.as_str()), ("modules.dep.sqsh", "modules.dep"));
    assert!(last.tree.get("usr/lib/modules/6.18.44-talos/modules.dep").is_some());
    assert!(merged.extensions_yaml().ends_with(
        "    - image: modules.dep.sqsh\n      metadata:\n        name: modules.dep\n        version: 6.18.44-talos\n        author: \
         Talos Machinery\n        description: Combined modules.dep for all extensions\n        compatibility:\n            \
         talos:\n                version: \"\"\n"
    ));
    for name in ["a.ko", "modules.dep/a"] {
        assert!(modules_dep("6.1", [(name.to_owned(), Blob::from_bytes("x", *b""))]).is_err());
    }
}

#[test]
fn an_embedded_configuration_is_readable_by_root_alone() {
    let extension = embedded_config(*b"test").unwrap();
    assert_eq!(
        extension.manifest.to_yaml(),
        "version: v1alpha1\nmetadata:\n    name: embedded-config\n    version: \
         9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08\n    author: Imager\n    description: Virtual extension \
         which embeds the machine configuration.\n    compatibility:\n        talos:\n            version: '>= 1.0.0'\n"
    );
    let node = extension.rootfs.get("usr/local/etc/talos/config.yaml").unwrap();
    assert_eq!((node.mode, bytes(&extension.rootfs, EMBEDDED_CONFIG)), (0o400, b"test".to_vec()));
    assert_eq!(node.xattrs["security.selinux"], b"system_u:object_r:system_state_t:s0");
    assert_eq!(paths(&extension.rootfs).len(), 5);
    assert_eq!(
        release::all().iter().map(|row| row.extensions.embedded_config).collect::<Vec<_>>(),
        [false, false, true, true]
    );
}

proptest! {
    #[test]
    fn no_manifest_and_no_range_ends_the_program(text in "\\PC{0,80}", range in "[<>=!v.x|0-9 \\-+a]{0,24}") {
        let _ = Manifest::parse(text.as_bytes());
        if let Ok(range) = Range::parse(&range) {
            let _ = range.matches(&"v1.10.6".parse().unwrap());
        }
    }

    #[test]
    fn a_manifest_reads_back_as_it_was_written(name in "[^\\n\u{85}\u{2028}\u{2029}\u{feff}]{0,20}", description in "[a-z:# \\-']{0,9}(\n[a-z:# \\-']{1,9}){0,3}") {
        // Two things that YAML and Go's emitter do not keep: a line that begins with a space at the start of a block
        // of a list, and carriage returns.
        let metadata = Metadata { name, description, ..Metadata::default() };
        let manifest = Manifest { version: API_VERSION.to_owned(), metadata };
        prop_assume!(!manifest.metadata.name.chars().any(char::is_control));
        prop_assume!(!manifest.metadata.description.starts_with('\n'));
        let text = manifest.to_yaml();
        prop_assert_eq!(Manifest::parse(text.as_bytes()).0, Some(manifest), "{}", text);
    }
}
