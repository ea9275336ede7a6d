use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use imgcore::{Blob, Epoch, ReadAt, Report};
use object::{Object as _, ObjectSection as _};
use proptest::prelude::*;
use rawimg::Extents;

use super::*;

fn bytes(extents: &Extents) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(extents.len()).unwrap()];
    extents.read_exact_at(0, &mut bytes).unwrap();
    bytes
}

fn codes(report: &Report) -> Vec<&str> {
    report.iter().map(|finding| finding.code).collect()
}

fn sample() -> Vec<u8> {
    let sections = [
        Section::new(".osrel", b"ID=sample\n".to_vec()),
        Section::new(".cmdline", b"console=ttyS2".to_vec()),
        Section::new(".uname", b"6.12.0".to_vec()),
        Section::new(".linux", vec![7; 1000]),
        Section::new(".initrd", vec![8; 513]),
        Section::new(".profile", b"ID=main".to_vec()),
        Section::new(".profile", b"ID=reset\nTITLE=Reset it".to_vec()),
        Section::new(".cmdline", b"console=ttyS2 wipe".to_vec()),
    ];
    bytes(&plan(&sample_stub(), &sections, Epoch(1_700_000_000)).unwrap())
}

#[test]
fn sections_are_where_the_headers_say_and_others_read_them() {
    let uki = sample();
    let (found, report) = read(&uki);
    assert!(report.is_empty(), "{report:?}");
    let found = found.unwrap();
    assert_eq!((found.pe_offset, found.checksum, found.linker), (0x80, 0, (0, 0)));
    assert_eq!(found.time, Epoch(1_700_000_000));
    let theirs = object::File::parse(&*uki).unwrap();
    assert_eq!(theirs.sections().count(), found.sections.len());
    for (section, other) in found.sections.iter().zip(theirs.sections()) {
        assert_eq!(other.name().unwrap(), section.name);
        assert_eq!(other.address(), found.image_base + u64::from(section.virtual_address));
        let range = section.content();
        let ours = &uki[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()];
        assert_eq!(&other.data().unwrap()[..ours.len()], ours);
    }
    let mut offset = found.size_of_headers;
    for section in &found.sections {
        assert_eq!((section.raw_offset, section.raw_offset % 512, section.virtual_address % 4096), (offset, 0, 0));
        offset += section.raw_size;
    }
    assert_eq!(u64::from(offset), uki.len() as u64);
    let profiles = found.profiles();
    assert_eq!(
        profiles,
        [
            UkiProfile { id: Some("main"), title: None, cmdline: Some("console=ttyS2") },
            UkiProfile { id: Some("reset"), title: Some("Reset it"), cmdline: Some("console=ttyS2 wipe") },
        ]
    );
}

/// The upstream image of a reference case and what the imager made it from.
fn reference(case: &str) -> Option<(PathBuf, Vec<u8>, PathBuf)> {
    let root = testkit::reference()?;
    let path = root.join("shared").join(case).join("metal-arm64-uki.efi");
    let bytes = testkit::read(&path);
    Some((path, bytes, root.join("in")))
}

fn file(path: &Path) -> Blob {
    Blob::from_bytes(path.file_name().unwrap().to_string_lossy(), testkit::read(path))
}

/// The imager's own image from the same inputs, byte for byte.
#[test]
fn the_bytes_equal_the_imagers() {
    for case in ["v1.10.6-uki", "v1.13.9-uki"] {
        let Some((_, theirs, inputs)) = reference(case) else { return };
        let (found, report) = read(&theirs);
        let found = found.unwrap();
        assert!(report.is_empty(), "{report:?}");
        let stub = testkit::read(inputs.join("systemd-stub.efi"));
        let all = Blob::new("upstream", Arc::new(theirs.clone()), None);
        let sections: Vec<_> = found
            .sections
            .iter()
            .skip(6)
            .map(|section| match section.name.as_str() {
                ".linux" => Section::new(".linux", file(&inputs.join("vmlinuz"))),
                ".initrd" => Section::new(".initrd", file(&inputs.join("initramfs.xz"))),
                name => Section::new(name, all.slice(section.content())),
            })
            .collect();
        let names: Vec<_> = sections.iter().map(|section| section.name.as_str()).collect();
        assert_eq!(names, [".osrel", ".cmdline", ".uname", ".splash", ".linux", ".initrd", ".profile"]);
        let ours = plan(&stub, &sections, found.time).unwrap();
        assert!(bytes(&ours) == theirs, "{case}");
        // Kernel and initramfs are referred to, not held.
        assert!(
            ours.leaves().all(|leaf| matches!(leaf.content, rawimg::Content::Blob(_)) || leaf.content.len() < 100_000)
        );
    }
}

/// `describe.py` of the reference reads ours as we do.
#[test]
fn an_independent_reader_agrees() {
    let (Some(script), Some(python)) = (testkit::shared("reference/describe.py"), testkit::tool("python3")) else {
        return;
    };
    let uki = sample();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sample.efi");
    std::fs::File::options().write(true).create_new(true).open(&path).unwrap();
    std::io::Write::write_all(&mut std::fs::File::options().write(true).open(&path).unwrap(), &uki).unwrap();
    let json = testkit::run(Command::new(python).arg(script).arg("--uki").arg(&path));
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let found = read(&uki).0.unwrap();
    assert_eq!(json["machine"], "0xaa64");
    assert_eq!(json["subsystem"], 10);
    assert_eq!(json["checksum"], 0);
    assert_eq!(json["size_of_image"], found.size_of_image);
    assert_eq!(json["size_of_headers"], found.size_of_headers);
    let sections = json["sections"].as_array().unwrap();
    assert_eq!(sections.len(), found.sections.len());
    for (theirs, ours) in sections.iter().zip(&found.sections) {
        assert_eq!(theirs["name"], ours.name);
        assert_eq!(theirs["virtual_size"], ours.virtual_size);
        assert_eq!(theirs["virtual_address"], ours.virtual_address);
        assert_eq!(theirs["raw_size"], ours.raw_size);
        assert_eq!(theirs["raw_offset"], ours.raw_offset);
        assert_eq!(theirs["flags"], format!("{:#x}", ours.characteristics));
        if let Some(text) = &ours.text {
            assert_eq!(theirs["text"], *text);
        }
    }
}

#[test]
fn stubs_that_cannot_hold_sections_are_refused() {
    let one = [Section::new(".linux", vec![1])];
    let coff = 0x44;
    let optional = coff + 20;
    for (name, change, message) in [
        ("empty", &(|b: &mut Vec<u8>| b.clear()) as &dyn Fn(&mut Vec<u8>), "cut off"),
        ("no MZ", &|b| b[0] = 0, "no PE program"),
        ("no PE", &|b| b[0x40] = 0, "no PE program"),
        ("far PE", &|b| b[0x3f] = 0xff, "no PE program"),
        ("cut headers", &|b| b.truncate(0x100), "cut off"),
        ("amd64", &|b| b[coff..coff + 2].copy_from_slice(&[0x64, 0x86]), "machine 0x8664, expected 0xaa64"),
        ("PE32", &|b| b[optional] = 0x0b - 1, "PE32+"),
        ("symbols", &|b| b[coff + 8] = 1, "COFF symbols"),
        ("symbol count", &|b| b[coff + 12] = 1, "COFF symbols"),
        ("optional size", &|b| b[coff + 16] = 224, "optional header of 224 bytes"),
        ("directories", &|b| b[optional + 108] = 15, "15 data directories"),
        ("signed", &|b| b[optional + 112 + 4 * 8 + 4] = 1, "signed"),
        ("no sections", &|b| b[coff + 2] = 0, "no sections"),
        ("many sections", &|b| b[coff + 3] = 0xff, "cut off"),
        ("section outside", &|b| b[optional + 240 + 23] = 0x70, "has 2048 bytes, but its section .text is at"),
        ("section size", &|b| b[optional + 240 + 16] = 1, "does not keep the file alignment"),
        ("overlap", &|b| b[optional + 240 + 10] = 0xff, "overlap in memory"),
        ("alignment", &|b| b[optional + 32] = 3, "section alignment of 4099"),
        ("file alignment", &|b| b[optional + 36] = 3, "file alignment of 515"),
        ("no room", &|b| b[optional + 240 + 13] = 0, "leaves 0 bytes in front of its first section"),
    ] {
        let mut stub = sample_stub();
        change(&mut stub);
        let error = plan(&stub, &one, Epoch(0)).unwrap_err().to_string();
        assert!(error.starts_with("the stub ") && error.contains(message), "{name}: {error}");
    }
}

/// A reader of a given size that holds nothing.
struct Huge(u64);

impl ReadAt for Huge {
    fn size(&self) -> u64 {
        self.0
    }

    fn read_at(&self, _: u64, buffer: &mut [u8]) -> std::io::Result<usize> {
        buffer.fill(0);
        Ok(buffer.len())
    }
}

#[test]
fn sections_that_do_not_fit_are_refused() {
    let huge = |size| Blob::new("huge", Arc::new(Huge(size)), None);
    let name = |name: &str| vec![Section::new(name, vec![1])];
    for (sections, message) in [
        (name(""), "section \"\" has a name"),
        (name(".toolong1"), "section \".toolong1\" has a name"),
        (name(".ü"), "visible ASCII"),
        (vec![Section::new(".linux", vec![])], "section \".linux\" is empty"),
        (vec![Section::new(".linux", huge(1 << 32))], "section \".linux\" is larger than 4 GiB"),
        (vec![Section::new(".linux", huge(u64::MAX))], "section \".linux\" is larger than 4 GiB"),
        (
            vec![Section::new(".linux", huge(3 << 30)), Section::new(".initrd", huge(2 << 30))],
            "section \".initrd\" ends above 4 GiB",
        ),
        (vec![Section::new(".profile", vec![1]); 95], "the headers of 98 sections need 4608"),
        (vec![Section::new(".profile", vec![1]); 70_000], "more sections than a PE program can have"),
    ] {
        let error = plan(&sample_stub(), &sections, Epoch(0)).unwrap_err().to_string();
        assert!(error.contains(message), "{message}: {error}");
    }
    assert!(plan(&sample_stub(), &[Section::new(".linux", huge(3 << 30))], Epoch(u64::MAX)).is_ok());
}

#[test]
fn damage_is_found() {
    let good = sample();
    let found = read(&good).0.unwrap();
    let table = 0x84 + 20 + 240;
    let at = |name: &str| table + 40 * found.sections.iter().position(|section| section.name == name).unwrap();
    let content = |name: &str| usize::try_from(found.section(name).unwrap().content().start).unwrap();
    for (name, change, expected) in [
        ("short", &(|b: &mut Vec<u8>| b.truncate(63)) as &dyn Fn(&mut Vec<u8>), "UKI001"),
        ("no MZ", &|b| b[0] = 0, "UKI001"),
        ("no PE", &|b| b[0x80] = 0, "UKI001"),
        ("PE outside", &|b| b[0x3f] = 0xff, "UKI001"),
        ("PE32", &|b| b[0x98] = 0x0c, "UKI002"),
        ("machine", &|b| b[0x84] = 0, "UKI003"),
        ("cut", &|b| b.truncate(b.len() - 1), "UKI004"),
        ("section count", &|b| b[0x87] = 0x10, "UKI004"),
        ("memory overlap", &|b| b[at(".initrd") + 13] -= 0x10, "UKI005"),
        ("file overlap", &|b| b[at(".initrd") + 21] -= 2, "UKI005"),
        ("no kernel", &|b| b[at(".linux") + 1] = b'L', "UKI006"),
        ("newline", &|b| b[content(".cmdline")] = b'\n', "UKI007"),
        ("not UTF-8", &|b| b[content(".osrel")] = 0xff, "UKI007"),
        ("alignment", &|b| b[0x98 + 32] = 1, "UKI008"),
        ("misaligned", &|b| b[at(".initrd") + 20] = 4, "UKI008"),
        ("signed", &|b| b[0x98 + 112 + 36] = 8, "UKI009"),
        ("signed, cut", &|b| b[0x98 + 112 + 35] = 0xff, ""),
        ("symbols", &|b| b[0x84 + 8] = 1, "UKI010"),
        ("image size", &|b| b[0x98 + 56 + 1] = 0, "UKI011"),
        ("two kernels", &|b| b[at(".initrd")..at(".initrd") + 8].copy_from_slice(b".linux\0\0"), "UKI012"),
        ("no id", &|b| b[content(".profile")] = b'X', "UKI013"),
    ] {
        let mut bytes = good.clone();
        change(&mut bytes);
        let (_, report) = read(&bytes);
        assert_eq!(codes(&report).first().copied().unwrap_or(""), expected, "{name}: {report:?}");
        for finding in report {
            let rule = crate::rules::RULES.iter().find(|(code, ..)| *code == finding.code);
            assert!(rule.is_some_and(|rule| rule.1 == finding.severity), "{finding}");
        }
    }
}

#[test]
fn a_bare_stub_is_no_unified_kernel_image() {
    let (found, report) = read(&sample_stub());
    assert_eq!(codes(&report), ["UKI006"]);
    assert_eq!(found.unwrap().profiles(), [UkiProfile::default()]);
    if let Some(root) = testkit::reference() {
        for name in ["systemd-stub.efi", "systemd-boot.efi"] {
            let (_, report) = read(&testkit::read(root.join("in").join(name)));
            assert_eq!(codes(&report), ["UKI006"], "{name}");
        }
    }
}

#[test]
fn no_mutant_panics() {
    let mut codes = std::collections::BTreeSet::new();
    let mut seen = |bytes: &[u8]| {
        let (uki, report) = read(&bytes);
        if let Some(uki) = uki {
            uki.profiles();
        }
        codes.extend(report.iter().map(|finding| finding.code));
    };
    testkit::mutants(1, 8000, &sample(), &mut seen);
    if let Some((_, theirs, _)) = reference("v1.13.9-uki") {
        // The headers and the small sections; kernel and initramfs are cut off, which is damage as well.
        testkit::mutants(2, 2000, &theirs[..100_000], &mut seen);
    }
    testkit::mutants(3, 10_000, &sample_stub(), |stub| {
        let _ = plan(stub, &[Section::new(".linux", vec![1; 600])], Epoch(1));
    });
    assert!(codes.len() > 10, "{codes:?}");
    assert!(codes.iter().all(|code| crate::rules::RULES.iter().any(|(rule, ..)| rule == code)), "{codes:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_is_assembled_reads_back(
        contents in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..2000), 1..40),
        time in any::<u32>(),
    ) {
        let sections: Vec<_> =
            contents.iter().enumerate().map(|(at, content)| Section::new(format!(".s{at}"), content.clone())).collect();
        let uki = bytes(&plan(&sample_stub(), &sections, Epoch(time.into())).unwrap());
        let (found, report) = read(&uki);
        prop_assert_eq!(codes(&report), ["UKI006"]);
        let found = found.unwrap();
        prop_assert_eq!(found.time, Epoch(time.into()));
        prop_assert_eq!(found.sections.len(), sections.len() + 3);
        for (section, content) in found.sections.iter().skip(3).zip(&contents) {
            let range = section.content();
            prop_assert_eq!(&uki[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()], content);
        }
        // What was assembled is a stub again.
        prop_assert!(plan(&uki, &[Section::new(".more", vec![1])], Epoch(0)).is_ok());
    }
}
