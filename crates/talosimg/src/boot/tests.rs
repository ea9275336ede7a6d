use std::path::Path;

use imgcore::{ReadAt, Report};

use super::*;
use crate::{cmdline, release};

fn blob(label: &str, bytes: &[u8]) -> Blob {
    Blob::from_bytes(label, bytes)
}

fn sample() -> Assets {
    Assets {
        kernel: blob("kernel", &crate::kernel::sample_image("6.12.40-talos")),
        initramfs: blob("initramfs", &[9; 700]),
        stub: blob("stub", &uki::sample_stub()),
        sd_boot: blob("sd-boot", &uki::sample_stub()),
        splash: None,
        uname: Some("6.12.40-talos".to_owned()),
    }
}

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

fn names(image: &uki::Uki) -> Vec<&str> {
    image.sections.iter().map(|section| section.name.as_str()).collect()
}

#[test]
fn an_image_has_two_profiles_and_a_uki_alone_one() {
    let version = version("v1.10.6-nanopi-m6");
    let row = release::find(&version).unwrap();
    let line = cmdline::build(row, &[], &[]);
    let (found, report) = uki::read(&uki(row, &version, &sample(), &line, Epoch(7)).unwrap());
    assert_eq!(report, Report::new());
    let found = found.unwrap();
    let head =
        [".text", ".sbat", ".sdmagic", ".osrel", ".cmdline", ".uname", ".splash", ".linux", ".initrd", ".profile"];
    assert_eq!(names(&found), [head.as_slice(), &[".profile", ".cmdline"]].concat());
    let line = line.to_string();
    let wipe = format!("{line} talos.experimental.wipe=system:EPHEMERAL,STATE");
    assert_eq!(
        found.profiles().iter().map(|profile| (profile.id, profile.title, profile.cmdline)).collect::<Vec<_>>(),
        [
            (Some("main"), None, Some(line.as_str())),
            (Some("reset-maintenance"), Some("Reset to maintenance mode"), Some(wipe.as_str())),
        ]
    );
    assert_eq!(found.text(".uname"), Some("6.12.40-talos"));
    let osrel = found.text(".osrel").unwrap();
    assert!(osrel.contains("\nVERSION_ID=v1.10.6-nanopi-m6\nPRETTY_NAME=\"Talos (v1.10.6-nanopi-m6)\"\n"), "{osrel}");

    let assets = Assets { uname: None, splash: Some(blob("splash", b"BM")), ..sample() };
    let (found, _) = uki::read(&plain_uki(&version, &assets, &Cmdline::parse("a"), Epoch(7)).unwrap());
    let found = found.unwrap();
    assert_eq!(names(&found), head.iter().copied().filter(|name| *name != ".uname").collect::<Vec<_>>());
    assert_eq!(found.section(".splash").unwrap().virtual_size, 2);
}

#[test]
fn large_inputs_are_referred_to() {
    let version = version("v1.13.9");
    let row = release::find(&version).unwrap();
    let image = uki(row, &version, &sample(), &Cmdline::parse("a"), Epoch(7)).unwrap();
    let blobs: Vec<_> = image
        .leaves()
        .filter_map(|leaf| if let Content::Blob(blob) = &leaf.content { Some(blob.label().to_owned()) } else { None })
        .collect();
    assert_eq!(blobs, ["kernel", "initramfs"]);
}

#[test]
fn a_stub_that_is_none_is_refused() {
    let version = version("v1.13.9");
    let row = release::find(&version).unwrap();
    let huge = Blob::from_bytes("stub", vec![0; usize::try_from(STUB_LIMIT).unwrap() + 1]);
    for (stub, message) in [(huge, "cannot be read (16777217 bytes)"), (blob("stub", b""), "cut off")] {
        let assets = Assets { stub, ..sample() };
        let error = uki(row, &version, &assets, &Cmdline::parse("a"), Epoch(0)).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
    let assets = Assets { initramfs: blob("initramfs", b""), ..sample() };
    let error = uki(row, &version, &assets, &Cmdline::parse("a"), Epoch(0)).unwrap_err().to_string();
    assert_eq!(error, "section \".initrd\" is empty");
}

/// Every section that the imager writes, from the same inputs, for all cases with a UKI.
#[test]
fn sections_equal_the_imagers() {
    let Some(root) = testkit::reference() else { return };
    let input = |name: &str| blob(name, &testkit::read(root.join("in").join(name)));
    let assets = Assets {
        kernel: input("vmlinuz"),
        initramfs: input("initramfs.xz"),
        stub: input("systemd-stub.efi"),
        sd_boot: input("systemd-boot.efi"),
        splash: None,
        uname: crate::kernel::release(&input("vmlinuz")).0.map(|info| info.release),
    };
    let overlay: Vec<_> = [
        "console=tty0",
        "console=ttyS2,1500000n8",
        "sysctl.kernel.kexec_load_disabled=1",
        "talos.dashboard.disabled=1",
        "consoleblank=0",
    ]
    .map(str::to_owned)
    .into();
    let console = ["console=ttyAMA0".to_owned()];
    for text in ["v1.10.6", "v1.13.9"] {
        let version = version(text);
        let row = release::find(&version).unwrap();
        for (case, overlay, extra) in [
            ("sd-boot", overlay.as_slice(), console.as_slice()),
            ("sd-boot-consoles", overlay.as_slice(), &[]),
            ("no-overlay", &[], &[]),
            ("uki", overlay.as_slice(), &[]),
        ] {
            let path = root.join(format!("shared/{text}-{case}/description.json"));
            let json: serde_json::Value = serde_json::from_slice(&testkit::read(&path)).unwrap();
            let line = cmdline::build(row, overlay, extra);
            let (ours, theirs) = if case == "uki" {
                (plain_uki(&version, &assets, &line, Epoch(1)), &json)
            } else {
                let tree = &json["contents"]["EFI"]["tree"];
                (uki(row, &version, &assets, &line, Epoch(1)), &tree[format!("/{}", uki_path(&version))]["uki"])
            };
            let ours = ours.unwrap();
            let (found, report) = uki::read(&ours);
            assert_eq!(report, Report::new());
            compare(&ours, &found.unwrap(), theirs, &path);
        }
    }
}

fn compare(image: &Extents, ours: &uki::Uki, theirs: &serde_json::Value, path: &Path) {
    assert_eq!(theirs["size_of_headers"], ours.size_of_headers);
    let sections = theirs["sections"].as_array().unwrap();
    assert_eq!(sections.len(), ours.sections.len(), "{}", path.display());
    for (theirs, ours) in sections.iter().zip(&ours.sections) {
        assert_eq!(theirs["name"], ours.name);
        assert_eq!(theirs["flags"], format!("{:#x}", ours.characteristics));
        // The imager has a picture of its own, and names its own kernel whatever kernel it was given.
        if ![".splash", ".uname"].contains(&ours.name.as_str()) {
            let range = ours.content();
            let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap()];
            image.read_exact_at(range.start, &mut bytes).unwrap();
            assert_eq!(theirs["sha256"], imgcore::Digest::of(&bytes).hex(), "{} of {}", ours.name, path.display());
            assert_eq!(theirs["virtual_size"], ours.virtual_size);
        }
    }
}

#[test]
fn the_tree_has_the_imagers_paths_and_ours() {
    let version = version("v1.10.6");
    let row = release::find(&version).unwrap();
    let image = uki(row, &version, &sample(), &Cmdline::parse("a"), Epoch(7)).unwrap();
    let dtb = ("dtb/rockchip/rk3588s-nanopi-m6.dtb".to_owned(), blob("dtb", b"tree"));
    let tree = esp(row, &version, image.clone(), sample().sd_boot, std::slice::from_ref(&dtb)).unwrap();
    let mut files: Vec<_> = tree.files().into_iter().map(|(path, content)| (path, content.len())).collect();
    files.sort();
    assert_eq!(
        files,
        [
            ("EFI/Linux/Talos-v1.10.6.efi".to_owned(), image.len()),
            ("EFI/boot/BOOTAA64.efi".to_owned(), sample().sd_boot.size()),
            (dtb.0.clone(), 4),
            ("loader/loader.conf".to_owned(), 41),
        ]
    );
    let taken = [("loader/loader.conf".to_owned(), dtb.1)];
    assert!(esp(row, &version, image, sample().sd_boot, &taken).is_err());
}
