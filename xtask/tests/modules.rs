//! Kernel modules of extensions beside those of the base: the index in the image resolves every module as `depmod`'s does,
//! and many extensions keep their order.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test stops where its helpers do")]

mod common;

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use common::{
    additions::{
        Bench, Made, Outcome, RELEASE, appended, archive, extension, initramfs, module, option, uki_of_installer,
        unsquashed,
    },
    prefixed, result,
};
use fs_err as fs;
use initramfs::kmod::{Sample, SampleSignature};

const TALOS: &str = "v1.11.5";

/// What `modprobe` would load for these names.
fn shown(modprobe: &Path, root: &Path, names: &[&str]) -> String {
    let mut text = Vec::new();
    for name in names {
        let mut command = Command::new(modprobe);
        command.args(["-C", "/dev/null", "-d"]).arg(root).args(["-S", RELEASE, "--show-depends", name]);
        let output = command.output().unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let said = said.replace(&root.display().to_string(), "ROOT");
        text.push(format!("{name}: {}\n{said}", output.status.success()));
    }
    text.concat()
}

/// A tree as a node sees it: `usr/lib/modules` of each layer over the one before, where `modprobe` looks for it.
fn stack(bench: &Bench, name: &str, layers: &[PathBuf]) -> PathBuf {
    let root = bench.world.path(name);
    for layer in layers {
        let from = layer.join("usr/lib/modules");
        let mut open = vec![from.clone()];
        while let Some(folder) = open.pop() {
            let Ok(entries) = fs::read_dir(&folder) else { continue };
            for entry in entries {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    open.push(path);
                } else {
                    let to = root.join("lib/modules").join(path.strip_prefix(&from).unwrap());
                    fs::create_dir_all(to.parent().unwrap()).unwrap();
                    fs::copy(&path, &to).unwrap();
                }
            }
        }
    }
    root
}

/// File and name of each extension, in the order of the nodes' list.
fn listed(folder: &Path) -> Vec<(String, String)> {
    let text = fs::read_to_string(folder.join("extensions.yaml")).unwrap();
    let values = |key: &str| -> Vec<String> {
        text.lines().filter_map(|line| line.trim().strip_prefix(key)).map(str::to_owned).collect()
    };
    values("- image: ").into_iter().zip(values("name: ")).collect()
}

/// Files of a release's folder without those that `depmod` makes.
fn bare(root: &Path) {
    let folder = root.join("lib/modules").join(RELEASE);
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if name.starts_with("modules.") && !["modules.order", "modules.builtin"].contains(&name.as_str()) {
            fs::remove_file(path).unwrap();
        }
    }
}

#[test]
fn the_index_resolves_as_depmods_does() {
    let [Some(depmod), Some(modprobe)] = ["depmod", "modprobe"].map(testkit::tool) else { return };
    let scratch = Bench::new();
    let base = [
        ("kernel/core.ko", Sample { exports: &["core"], ..module("core") }.build()),
        ("kernel/net/card.ko", Sample { needs: &["core"], info: &["alias=pci:v0001d*"], ..module("card") }.build()),
        ("kernel/net/replaced.ko", Sample { needs: &["core"], ..module("replaced") }.build()),
        ("modules.order", b"kernel/core.ko\nkernel/net/card.ko\nkernel/net/replaced.ko\n".to_vec()),
        ("modules.builtin", b"kernel/fs/fat.ko\n".to_vec()),
        // What the release brings is stale as soon as an extension adds to it.
        ("modules.dep", b"kernel/core.ko:\n".to_vec()),
    ];
    let Some(bytes) = initramfs(&scratch.world, &base) else { return };
    let bench = Bench::with(Some(&bytes));
    let folder = format!("usr/lib/modules/{RELEASE}");
    let first =
        Sample { needs: &["core"], exports: &["first"], info: &["softdep=pre: card"], ..module("first") }.build();
    let replaced = Sample { info: &["alias=pci:v0002d*"], ..module("replaced") }.build();
    let second =
        Sample { needs: &["first", "core"], info: &["alias=of:N*T*Cvendor,board"], ..module("second") }.build();
    let upper = Sample { info: &["alias=pci:v0003d*"], ..module("same") }.build();
    let lower = Sample { info: &["alias=pci:v0004d*"], ..module("same") }.build();
    let one = extension(
        "one",
        &[
            (&format!("{folder}/extras/first.ko"), &first),
            (&format!("{folder}/extras/replaced.ko"), &replaced),
            (&format!("{folder}/extras/same.ko"), &upper),
        ],
    );
    let two = extension(
        "two",
        // Index files of an extension say nothing of the others' modules.
        &[
            (&format!("{folder}/extras/second.ko"), &second),
            (&format!("{folder}/extras/same.ko"), &lower),
            (&format!("{folder}/modules.dep"), b"extras/second.ko:\n"),
        ],
    );
    let arguments = [bench.extension("one.tar", &one), bench.extension("two.tar", &two)].concat();
    result(&mut bench.upgrade(TALOS, "out", &arguments));
    let Some(uki) = uki_of_installer(&bench.world, "out") else { return };
    let Some(folder) = appended(&bench.world, "out", &uki) else { return };
    let expected = [("0.sqsh", "one"), ("1.sqsh", "two"), ("modules.dep.sqsh", "modules.dep")];
    assert_eq!(listed(&folder), expected.map(|(image, name)| (image.to_owned(), name.to_owned())));
    // A node has the first layer on top.
    let mut layers = vec![scratch.world.path("rootfs")];
    for number in ["1", "0"] {
        let Some(layer) = unsquashed(&folder, number) else { return };
        layers.push(layer);
    }
    let theirs = stack(&bench, "theirs", &layers);
    bare(&theirs);
    let config = bench.file("depmod.d/search.conf", b"search extras built-in\n");
    testkit::run(Command::new(depmod).arg("-b").arg(&theirs).arg("-C").arg(config).arg(RELEASE));
    let Some(index) = unsquashed(&folder, "modules.dep") else { return };
    layers.insert(1, index);
    let ours = stack(&bench, "ours", &layers);
    let words = [
        "core",
        "card",
        "replaced",
        "first",
        "second",
        "fat",
        "pci:v0001d5",
        "pci:v0002d5",
        "pci:v0003d5",
        "pci:v0004d5",
        "of:NxTyCvendor,board",
        "no-such-module",
    ];
    let (ours, theirs) = (shown(&modprobe, &ours, &words), shown(&modprobe, &theirs, &words));
    assert_eq!(ours, theirs);
    // Not two failures that are alike.
    assert!(ours.contains("second: true\ninsmod ROOT/lib/modules/6.18.2-talos/kernel/core.ko"), "{ours}");
    assert!(ours.contains("pci:v0003d5: true") && ours.contains("pci:v0004d5: false"), "{ours}");
    assert!(ours.contains("extras/replaced.ko") && !ours.contains("kernel/net/replaced.ko"), "{ours}");
}

#[test]
fn a_kernel_of_the_same_release_is_held_against_the_bases_modules() {
    let scratch = Bench::new();
    let signature = SampleSignature { name: "Build time key", serial: &[1, 2, 3, 4, 5, 6, 7, 8, 9] };
    let card = Sample { signature: Some(signature), ..module("card") }.build();
    let Some(bytes) = initramfs(&scratch.world, &[("kernel/card.ko", card)]) else { return };
    let bench = Bench::with(Some(&bytes));
    let rebuilt = option("--kernel", &bench.file("Image", &talosimg::kernel::sample_image(RELEASE)));
    let loose = [rebuilt.clone(), vec!["--kernel-arg=-module.sig_enforce".into()]].concat();
    // Nobody holds a release against itself.
    assert!(Outcome::of(&mut bench.dry("v1.13.9", &[])).errors().is_empty());
    for _ in 0..2 {
        let refused = Outcome::of(&mut bench.dry("v1.13.9", &rebuilt));
        assert_eq!((refused.exit, refused.errors()), (1, vec!["MOD049"]), "{:?}", refused.findings);
        assert!(refused.has("MOD049", "Build time key"), "{:?}", refused.findings);
    }
    assert_eq!(Outcome::of(&mut bench.dry("v1.13.9", &loose)).errors(), [""; 0]);
}

#[test]
fn the_record_has_no_paths_of_the_machine() {
    let bench = Bench::new();
    let own = bench.file("own.tar", &archive(&[Made::new("arm64", vec![extension("own", &[("usr/local/a", b"a")])])]));
    for place in [own.as_os_str().to_owned(), prefixed("oci-archive:", &own)] {
        let built = result(&mut bench.dry(TALOS, &["--extension".into(), place]));
        let record = built.to_string();
        assert!(record.contains("own.tar") && !record.contains(own.to_str().unwrap()), "{record}");
    }
}

#[test]
fn the_users_modules_are_a_layer_of_their_own() {
    let scratch = Bench::new();
    let Some(bytes) = initramfs(&scratch.world, &[("kernel/old.ko", module("old").build())]) else { return };
    let bench = Bench::with(Some(&bytes));
    let release = "6.12.0-mine";
    let kernel = bench.file("Image", &talosimg::kernel::sample_image(release));
    let sample = Sample { vermagic: "6.12.0-mine SMP mod_unload aarch64", ..module("mine") }.build();
    bench.file(&format!("root/lib/modules/{release}/kernel/mine.ko"), &sample);
    bench.file(&format!("root/lib/modules/{release}/modules.builtin"), b"kernel/fs/fat.ko\n");
    bench.file(&format!("root/lib/modules/{release}/modules.dep"), b"stale\n");
    let arguments = [option("--kernel", &kernel), option("--modules", &bench.world.path("root"))].concat();
    result(&mut bench.upgrade(TALOS, "out", &arguments));
    let Some(uki) = uki_of_installer(&bench.world, "out") else { return };
    let Some(folder) = appended(&bench.world, "out", &uki) else { return };
    let Some(layer) = unsquashed(&folder, "kernel-modules") else { return };
    let modules = layer.join("usr/lib/modules").join(release);
    assert_eq!(fs::read(modules.join("kernel/mine.ko")).unwrap(), sample);
    assert!(!modules.join("modules.dep").exists());
    let Some(index) = unsquashed(&folder, "modules.dep") else { return };
    let index = fs::read_to_string(index.join("usr/lib/modules").join(release).join("modules.dep")).unwrap();
    assert_eq!(index, "kernel/mine.ko:\n");
}

#[test]
fn twelve_extensions_keep_their_order() {
    let bench = Bench::new();
    let mut arguments: Vec<OsString> = Vec::new();
    for number in 0..12 {
        let name = format!("ext-{number}");
        let own = format!("usr/lib/firmware/vendor/{number}.fw");
        let mut files: Vec<(&str, &[u8])> = vec![("usr/local/share/which", name.as_bytes()), (&own, name.as_bytes())];
        if number >= 10 {
            files.push(("usr/lib/firmware/vendor/same.fw", name.as_bytes()));
        }
        arguments.extend(bench.extension(&format!("{name}.tar"), &extension(&name, &files)));
    }
    let outcome = Outcome::of(&mut bench.upgrade(TALOS, "out", &arguments));
    assert_eq!(outcome.exit, 0, "{:?}", outcome.findings);
    let Some(uki) = uki_of_installer(&bench.world, "out") else { return };
    let Some(folder) = appended(&bench.world, "out", &uki) else { return };
    // The list is in the order of file names, as the imager's: 0, 1, 10, 11, 2.
    let order = ["0", "1", "10", "11", "2", "3", "4", "5", "6", "7", "8", "9"];
    let expected = order.map(|number| (format!("{number}.sqsh"), format!("ext-{number}")));
    assert_eq!(listed(&folder), expected);
    for number in [0, 2, 10, 11] {
        let Some(layer) = unsquashed(&folder, &number.to_string()) else { return };
        let name = format!("ext-{number}");
        assert_eq!(fs::read_to_string(layer.join("usr/local/share/which")).unwrap(), name);
        assert!(!layer.join("usr/lib/firmware").exists(), "moved out");
        assert_eq!(fs::read_to_string(folder.join(format!("usr/lib/firmware/vendor/{number}.fw"))).unwrap(), name);
    }
    // Of two extensions with one file the later one's is there, and the difference is told.
    assert_eq!(fs::read_to_string(folder.join("usr/lib/firmware/vendor/same.fw")).unwrap(), "ext-11");
    assert!(outcome.has("EXT010", "same.fw"), "{:?}", outcome.findings);
}
