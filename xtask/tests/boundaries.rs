//! What an extension, a kernel, modules, a configuration, a base or an address may be that it must not be: exit code, code and
//! words of the finding.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test stops where its helpers do")]

mod common;

use std::ffi::OsString;

use common::{
    additions::{
        self, Bench, Made, Outcome, archive, best, extension, gzip, judge, layout, manifest, module, option, tar,
    },
    prefixed,
    transfers::{entry, special},
};
use fs_err as fs;
use initramfs::kmod::Sample;

/// An ELF header of a program for another machine.
fn elf(machine: u16) -> Vec<u8> {
    let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
    bytes.resize(16, 0);
    bytes.extend([3, 0]);
    bytes.extend(machine.to_le_bytes());
    bytes.resize(64, 0);
    bytes
}

#[test]
fn extensions() {
    let bench = Bench::new();
    let good: &[(&str, &[u8])] = &[("usr/lib/firmware/a.fw", b"firmware")];
    let whole = extension("a", good);
    let manifest_of = |text: &str| tar(&[("manifest.yaml", text.as_bytes()), ("rootfs/", b"")]);
    let image = |architecture| Made::new(architecture, vec![whole.clone()]);
    let other = Made::new("amd64", vec![extension("a", &[("usr/local/lib/b.so", &elf(62))])]);
    let folder = bench.world.path("layout");
    for (path, bytes) in layout(&[image("arm64")]) {
        bench.file(&format!("layout/{path}"), &bytes);
    }
    let mut climbing = tar(&[("manifest.yaml", manifest("a", ">= v1.0.0").as_bytes())]);
    climbing.truncate(climbing.len() - 1024);
    let after = |more: Vec<u8>| {
        let mut tar = climbing.clone();
        tar.extend(more);
        tar.extend([0; 1024]);
        tar
    };
    let mut damaged = gzip(&whole);
    let middle = damaged.len() / 2;
    damaged[middle] ^= 0xff;
    let text = |name: &str, value: &str| vec![OsString::from(name), OsString::from(value)];
    let ext = |name: &str, bytes: &[u8]| bench.extension(name, bytes);
    judge(
        &bench,
        vec![
            ("a plain tar", ext("a.tar", &whole), 0, "", ""),
            ("a tar.gz", ext("a.tar.gz", &gzip(&whole)), 0, "", ""),
            ("an archive", ext("image.tar", &archive(&[image("arm64")])), 0, "", ""),
            ("two platforms", ext("two.tar", &archive(&[other, image("arm64")])), 0, "", ""),
            ("a layout", vec!["--extension".into(), prefixed("oci:", &folder)], 0, "", ""),
            ("twice", [ext("a.tar", &whole), ext("b.tar", &whole)].concat(), 0, "EXT011", ""),
            ("amd64 alone", ext("amd64.tar", &archive(&[image("amd64")])), 3, "SRC020", "it has: linux/amd64"),
            (
                "a library for amd64",
                ext("elf.tar", &extension("a", &[("usr/local/lib/b.so", &elf(62))])),
                1,
                "EXT008",
                "x86-64 (amd64)",
            ),
            ("no manifest", ext("none.tar", &tar(&[("rootfs/", b"")])), 1, "EXT001", "manifest.yaml is missing"),
            ("nothing", ext("empty.tar", &tar(&[])), 1, "EXT001", "manifest.yaml is missing"),
            ("another root", ext("root.tar", &tar(&[("usr/a", b"a")])), 1, "EXT001", "usr"),
            ("for 1.14", ext("new.tar", &manifest_of(&manifest("a", ">= v1.14.0"))), 1, "EXT007", "v1.13.9"),
            ("no range", ext("range.tar", &manifest_of(&manifest("a", "newest"))), 1, "EXT006", "newest"),
            ("another form", ext("form.tar", &manifest_of("version: v2\nmetadata: {name: a}\n")), 1, "EXT004", "v2"),
            ("no YAML", ext("yaml.tar", &manifest_of("a: b: c\n")), 1, "EXT003", "manifest"),
            ("climbs", ext("climb.tar", &after(entry("rootfs/../../evil", b"x"))), 1, "OCI", "evil"),
            (
                "a link out, then a file through it",
                ext("link.tar", &after([special(b'2', "rootfs", "/tmp", b""), entry("rootfs/evil", b"x")].concat())),
                1,
                "OCI034",
                "lies below \"rootfs\"",
            ),
            ("a device", ext("device.tar", &after(special(b'4', "rootfs/sda", "", b""))), 1, "OCI", "sda"),
            ("cut", ext("cut.tar", &whole[..1700]), 1, "OCI", ""),
            ("a damaged stream", ext("damaged.tar.gz", &damaged), 3, "SRC", ""),
            ("no tar", ext("text.tar", &b"no tar at all\n".repeat(100)), 1, "", "no"),
            ("an empty file", ext("zero.tar", b""), 1, "", "x"),
            ("no such file", text("--extension", "/nowhere/a.tar"), 3, "SRC001", "/nowhere/a.tar"),
            ("a folder", text("--extension", "dir:/tmp"), 2, "USE001", "modes and owners"),
            ("no reference", text("--extension", "no such"), 2, "USE001", "--extension"),
            ("offline", text("--extension", "ghcr.io/siderolabs/realtek-firmware:1"), 3, "NET007", "realtek"),
        ],
        |arguments| bench.dry("v1.13.9", arguments),
    );
}

/// An initramfs with a root file system that has these modules.
fn initramfs(bench: &Bench, modules: &[(&str, Vec<u8>)]) -> Option<Vec<u8>> {
    additions::initramfs(&bench.world, modules)
}

#[test]
fn kernels_and_modules() {
    let scratch = Bench::new();
    let own = [("kernel/a.ko", module("a").build()), ("modules.builtin", b"kernel/b.ko\n".to_vec())];
    let Some(initramfs) = initramfs(&scratch, &own) else { return };
    let bench = Bench::with(Some(&initramfs));
    let other = bench.file("other", &talosimg::kernel::sample_image("6.1.0-other"));
    let same = bench.file("same", &talosimg::kernel::sample_image(additions::RELEASE));
    let text = bench.file("text", &b"no kernel\n".repeat(1000));
    let x86 = bench.file("x86", &elf(62));

    // One set of modules in every form that it may have.
    let signature = initramfs::kmod::SampleSignature { name: "Build time key", serial: &[1, 2, 3, 4, 5, 6, 7, 8, 9] };
    let fresh = module("fresh").build();
    let alien = Sample { vermagic: "6.1.0-other SMP mod_unload aarch64", ..module("fresh") }.build();
    let amd64 = Sample { machine: 62, ..module("fresh") }.build();
    let signed = Sample { signature: Some(signature), ..module("fresh") }.build();
    let installed = |root: &str, release: &str, bytes: &[u8]| {
        bench.file(&format!("{root}/lib/modules/{release}/kernel/fresh.ko"), bytes);
        bench.file(&format!("{root}/lib/modules/{release}/modules.order"), b"kernel/fresh.ko\n");
        bench.world.path(root)
    };
    let root = installed("root", additions::RELEASE, &fresh);
    let packed = tar(&[("lib/modules/6.18.2-talos/kernel/fresh.ko", &fresh), ("lib/modules/6.18.2-talos/build", b"")]);
    let packed = bench.file("modules.tar.gz", &gzip(&packed));
    let bare = bench.file("bare/6.18.2-talos/kernel/fresh.ko", &fresh);
    let alien_root = installed("alien", additions::RELEASE, &alien);
    let amd64_root = installed("amd64", additions::RELEASE, &amd64);
    let signed_root = installed("signed", additions::RELEASE, &signed);
    let older = installed("older", "6.1.0-other", &alien);
    installed("both", additions::RELEASE, &fresh);
    let both = installed("both", "6.1.0-other", &alien);
    fs::create_dir(bench.world.path("none")).unwrap();
    let none = bench.world.path("none");

    let kernel = |path: &std::path::Path| option("--kernel", path);
    let modules = |path: &std::path::Path| option("--modules", path);
    let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
    let folder =
        |release: &str, bytes: &[u8]| extension("a", &[(&format!("usr/lib/modules/{release}/extras/fresh.ko"), bytes)]);
    let ext = |name: &str, bytes: &[u8]| bench.extension(name, bytes);
    let loose = words(&["--kernel-arg=-module.sig_enforce"]);
    judge(
        &bench,
        vec![
            ("as they are", vec![], 0, "", ""),
            ("no kernel", kernel(&text), 1, "TAL040", "no kernel for arm64"),
            ("a program", kernel(&x86), 1, "TAL040", "no kernel for arm64"),
            ("no such kernel", kernel(std::path::Path::new("/nowhere/Image")), 3, "SRC001", "/nowhere/Image"),
            ("another kernel", kernel(&other), 1, "VER006", "the initramfs has modules for 6.18.2-talos"),
            ("a kernel that calls itself the same", kernel(&same), 1, "MOD042", "a.ko"),
            ("the same, not enforced", [kernel(&same), loose.clone()].concat(), 0, "", ""),
            (
                "a kernel that says nothing",
                [kernel(&text), modules(&root), words(&["--allow", "VER003"])].concat(),
                1,
                "VER007",
                "which release",
            ),
            ("modules of another release", modules(&older), 1, "VER006", "holds those of 6.1.0-other"),
            ("both of another release", [kernel(&other), modules(&older), loose.clone()].concat(), 0, "", ""),
            ("built for another kernel", [modules(&alien_root), loose.clone()].concat(), 1, "MOD040", "6.1.0-other"),
            ("for another processor", [modules(&amd64_root), loose.clone()].concat(), 1, "MOD043", "fresh.ko"),
            ("unsigned", modules(&root), 1, "MOD042", "fresh.ko"),
            (
                "unsigned, with --allow",
                [modules(&root), words(&["--allow", "MOD042"])].concat(),
                0,
                "MOD042",
                "fresh.ko",
            ),
            ("unsigned, not enforced", [modules(&root), loose.clone()].concat(), 0, "", ""),
            ("a key of somebody", modules(&signed_root), 1, "MOD049", "Build time key"),
            (
                "a folder of a release",
                [modules(&root.join("lib/modules/6.18.2-talos")), loose.clone()].concat(),
                0,
                "",
                "",
            ),
            (
                "a folder of a release alone",
                [modules(bare.parent().unwrap().parent().unwrap()), loose.clone()].concat(),
                0,
                "",
                "",
            ),
            ("a tar.gz", [modules(&packed), loose.clone()].concat(), 0, "", ""),
            ("two releases", modules(&both), 3, "SRC012", "6.1.0-other"),
            ("an empty folder", modules(&none), 3, "SRC012", "no kernel modules"),
            ("no modules", modules(std::path::Path::new("/nowhere")), 3, "SRC001", "/nowhere"),
            ("a file that is no tar", modules(&text), 1, "OCI040", "no tar header"),
            ("an extension's", [ext("a.tar", &folder(additions::RELEASE, &fresh)), loose.clone()].concat(), 0, "", ""),
            ("an extension's, unsigned", ext("a.tar", &folder(additions::RELEASE, &fresh)), 1, "MOD042", "fresh.ko"),
            (
                "an extension's for another kernel",
                ext("b.tar", &folder("6.1.0-other", &alien)),
                1,
                "VER008",
                "a v1 has kernel modules for 6.1.0-other",
            ),
            (
                "an extension's in the wrong folder",
                [ext("c.tar", &folder(additions::RELEASE, &alien)), loose].concat(),
                1,
                "MOD040",
                "6.1.0-other",
            ),
            (
                "an extension's for amd64",
                ext("d.tar", &folder(additions::RELEASE, &amd64)),
                1,
                "EXT008",
                "x86-64 (amd64)",
            ),
            (
                "an extension's without a release",
                ext("e.tar", &extension("a", &[("usr/lib/modules/fresh.ko", &fresh)])),
                1,
                "VER008",
                "no folder of a release",
            ),
        ],
        |arguments| bench.dry("v1.13.9", arguments),
    );
    // Before 1.12 no release asks for signatures.
    judge(
        &bench,
        vec![
            ("unsigned on 1.11", modules(&root), 0, "", ""),
            (
                "unsigned on 1.11, enforced by hand",
                [modules(&root), words(&["--kernel-arg", "module.sig_enforce=1"])].concat(),
                1,
                "MOD042",
                "fresh.ko",
            ),
        ],
        |arguments| bench.dry("v1.11.5", arguments),
    );
}

/// A secret of the configurations and tokens here.
const CANARY: &str = "c4n4ry-0f-s3cr3ts";

#[test]
fn configurations() {
    let bench = Bench::new();
    let config = |name: &str, text: &str| option("--embed-config", &bench.file(name, text.as_bytes()));
    let good = config("good.yaml", "version: v1alpha1\nmachine:\n  type: worker\n  sysctls: {a: \"1\"}\n");
    let secret = config("secret.yaml", &format!("version: v1alpha1\nmachine:\n  token: {CANARY}\n"));
    let allow = |mut arguments: Vec<OsString>| {
        arguments.extend(["--allow".into(), "CFG001".into()]);
        arguments
    };
    for (talos, rows) in [
        ("v1.10.6", vec![("1.10", good.clone(), 1, "CFG004", "Talos 1.10")]),
        ("v1.11.5", vec![("1.11", good.clone(), 1, "CFG004", "Talos 1.11")]),
        ("v1.12.0", vec![("1.12", good.clone(), 0, "", "")]),
        (
            "v1.13.9",
            vec![
                ("1.13", good.clone(), 0, "", ""),
                ("a secret", secret.clone(), 1, "CFG001", "machine.token"),
                ("a secret that is meant", allow(secret.clone()), 0, "CFG001", "machine.token"),
                ("a text", config("text.yaml", CANARY), 1, "CFG002", "no map"),
                ("nothing", config("empty.yaml", ""), 1, "CFG002", "nothing"),
                ("a talosconfig", config("talosconfig", "context: a\ncontexts: {}\n"), 1, "CFG002", "context"),
                (
                    "an unknown kind",
                    config("kind.yaml", "apiVersion: v1alpha1\nkind: WatchdogTimerConfi\n"),
                    0,
                    "CFG003",
                    "WatchdogTimerConfi",
                ),
                (
                    "no such file",
                    option("--embed-config", std::path::Path::new("/nowhere/c.yaml")),
                    3,
                    "SRC001",
                    "/nowhere/c.yaml",
                ),
                ("too much", config("large.yaml", &" ".repeat(5 << 20)), 1, "CFG002", "at most 4"),
            ],
        ),
    ] {
        judge(&bench, rows, |arguments| bench.dry(talos, arguments));
    }
    for arguments in [secret.clone(), allow(secret)] {
        let output = bench.dry("v1.13.9", &arguments).output().unwrap();
        assert!(!format!("{output:?}").contains(CANARY), "{output:?}");
    }
}

#[test]
fn addresses_and_tokens_of_omni() {
    let bench = Bench::new();
    let token = |name: &str, text: &[u8]| bench.file(name, text);
    let good = token("token", format!("{CANARY}\n").as_bytes());
    let omni = |url: &str, path: &std::path::Path| {
        vec!["--omni".into(), url.into(), "--join-token-file".into(), OsString::from(path)]
    };
    let url = "https://omni.example:8090";
    let mut rows = vec![
        ("https", omni(url, &good), 0, "", ""),
        ("grpc", omni("grpc://omni.example:8090", &good), 0, "", ""),
        ("a tunnel", omni("https://omni.example?grpc_tunnel=true", &good), 0, "", ""),
        ("no file", omni(url, std::path::Path::new("/nowhere/token")), 3, "SRC001", "/nowhere/token"),
        ("a folder", omni(url, bench.world.path("base").as_path()), 4, "IOE001", "base"),
    ];
    let urls = [
        ("http", "http://omni.example", "its scheme is http"),
        ("no scheme", "omni.example:8090", "no scheme"),
        ("no port", "grpc://omni.example", "needs a port"),
        ("no host", "https://:8090", "no host"),
        ("a user", "https://me:c4n4ry-0f-s3cr3ts@omni.example", "a user name"),
        ("a path", "https://omni.example/path", "has a path"),
        ("a token", "https://omni.example?jointoken=c4n4ry-0f-s3cr3ts", "given as a file"),
        ("another query", "https://omni.example?key=c4n4ry-0f-s3cr3ts", "something else"),
        ("a fragment", "https://omni.example#c4n4ry-0f-s3cr3ts", "fragment"),
        ("white space", "https://omni.example /", "--omni"),
        ("nothing", "", "no scheme"),
    ];
    rows.extend(urls.map(|(what, url, words)| (what, omni(url, &good), 2, "USE001", words)));
    let tokens: [(&str, &[u8], &str); 6] = [
        ("an empty file", b"", "it is empty"),
        ("a line break", b"\n", "it is empty"),
        ("white space inside", b"c4n4ry-0f-s3cr3ts more", "white space"),
        ("two lines", b"c4n4ry-0f-s3cr3ts\nmore\n", "several lines"),
        ("a whole argument", b"siderolink.api=https://o?jointoken=c4n4ry-0f-s3cr3ts", "whole kernel argument"),
        ("too long", &[b'a'; 5000], "more than a kernel's command line"),
    ];
    rows.extend(
        tokens.map(|(what, text, words)| (what, omni(url, &token(&what.replace(' ', "-"), text)), 2, "USE001", words)),
    );
    rows.push(("bytes", omni(url, &token("bytes", b"c4n4ry-0f-s3cr3ts\xff\xfe")), 2, "USE001", "token"));
    let all: Vec<_> = rows.iter().map(|(_, arguments, ..)| arguments.clone()).collect();
    judge(&bench, rows, |arguments| bench.dry("v1.13.9", arguments));
    for arguments in all.iter().skip(3) {
        let output = bench.dry("v1.13.9", arguments).arg("-v").output().unwrap();
        assert!(!format!("{output:?}").contains(CANARY), "{arguments:?}: {output:?}");
    }
}

#[test]
fn bases_of_installer_images() {
    let bench = Bench::new();
    let program = || tar(&[("usr/bin/installer", b"#!/bin/sh\n")]);
    let file = |number: usize| tar(&[(&format!("etc/{number}"), b"x"), ("etc/same", number.to_string().as_bytes())]);
    let twelve = |last: Vec<u8>| {
        let mut layers = vec![program()];
        layers.extend((0..10).map(|number| {
            let white = format!("etc/.wh.{}", number.max(1) - 1);
            let mut layer = file(number);
            layer.truncate(layer.len() - 1024);
            layer.extend(tar(&[(&white, b"")]));
            layer
        }));
        layers.push(last);
        layers
    };
    let arm64 = |layers: Vec<Vec<u8>>| Made::new("arm64", layers);
    let opaque = tar(&[("etc/.wh..wh..opq", b""), ("etc/new", b"x")]);
    let lie = Made { diff_ids: Some(vec![format!("sha256:{}", "0".repeat(64))]), ..arm64(vec![program()]) };
    let few = Made { diff_ids: Some(vec![]), ..arm64(vec![program()]) };
    let nothing = Made { entrypoint: "/usr/bin/other", ..arm64(vec![program()]) };
    let mut bomb = special(b'0', "zeros", "", b"");
    bomb[124..136].copy_from_slice(b"17777777777\0");
    bomb[148..156].copy_from_slice(b"        ");
    let sum: u32 = bomb.iter().map(|byte| u32::from(*byte)).sum();
    bomb[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    bomb.resize(600 << 20, 0);
    let table = [
        ("one layer", archive(&[arm64(vec![program()])]), 0, "", ""),
        ("12 layers with whiteouts", archive(&[arm64(twelve(opaque))]), 0, "", ""),
        (
            "12 layers, the program removed",
            archive(&[arm64(twelve(tar(&[("usr/bin/.wh.installer", b"")])))]),
            1,
            "INS001",
            "/usr/bin/installer",
        ),
        ("two platforms", archive(&[Made::new("amd64", vec![tar(&[("a", b"a")])]), arm64(vec![program()])]), 0, "", ""),
        ("amd64 alone", archive(&[Made::new("amd64", vec![program()])]), 3, "SRC020", "it has: linux/amd64"),
        ("diff ids that lie", archive(&[lie]), 1, "INS002", "no installer image stands"),
        ("fewer diff ids than layers", archive(&[few]), 1, "OCI014", ""),
        ("another program", archive(&[nothing]), 1, "INS001", "/usr/bin/other"),
        (
            "the program in the layer that is replaced",
            archive(&[arm64(vec![file(1), program()])]),
            1,
            "INS001",
            "/usr/bin/installer",
        ),
        (
            "a layer that climbs",
            archive(&[arm64(vec![[entry("../../evil", b"x"), program()].concat()])]),
            1,
            "INS002",
            "",
        ),
        ("a bomb", archive(&[arm64(vec![program(), bomb])]), 1, "INS002", ""),
        ("no image", b"no image\n".repeat(100), 1, "SRC023", ""),
    ];
    let mut wrong = Vec::new();
    for (number, (what, bytes, exit, code, words)) in table.into_iter().enumerate() {
        let path = bench.file(&format!("base-{number}.tar"), &bytes);
        let out = format!("out-{number}");
        let outcome = Outcome::of(&mut bench.installer("v1.13.9", &out, prefixed("oci-archive:", &path)));
        let found = code.is_empty() && outcome.errors().is_empty() || !code.is_empty() && outcome.has(code, words);
        let made = bench.world.path(&out).join("installer-arm64.tar").exists();
        if outcome.exit != exit || !found || made != (exit == 0) {
            wrong.push(format!(
                "{what}: expected {exit} {code} {words:?}, found {} {:?}",
                outcome.exit, outcome.findings
            ));
        }
    }
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.join("\n"));
}

/// What a run needs at most, in KiB, and in seconds: a fence, not a measurement.
const MEMORY: u64 = 400 << 10;

#[test]
fn bombs_stop_in_little_memory() {
    let Some(time) = testkit::tool("time") else { return };
    let scratch = Bench::new();
    let small = module("a").build();
    let mut large = small.clone();
    large.resize(700 << 20, 0);
    let Some(initramfs) = initramfs(&scratch, &[("kernel/large.ko", large), ("kernel/a.ko", small)]) else {
        return;
    };
    let bench = Bench::with(Some(&initramfs));
    let mut zeros = special(b'0', "rootfs/usr/lib/firmware/zeros", "", b"");
    zeros[124..136].copy_from_slice(b"77777777777\0");
    zeros[148..156].copy_from_slice(b"        ");
    let sum: u32 = zeros.iter().map(|byte| u32::from(*byte)).sum();
    zeros[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut head = tar(&[("manifest.yaml", manifest("a", ">= v1.0.0").as_bytes())]);
    head.truncate(head.len() - 1024);
    head.extend(zeros);
    let mut bomb = gzip(&head);
    let piece = best(&vec![0; 64 << 20]);
    for _ in 0..24 {
        bomb.extend(&piece);
    }
    let own = extension("m", &[("usr/lib/modules/6.18.2-talos/extras/m.ko", &module("m").build())]);
    let mut wrong = Vec::new();
    for (what, arguments, exit, code) in [
        ("a root file system with 700 MiB of zeros", bench.extension("m.tar", &own), 1, "MOD003"),
        ("1.5 GiB of zeros as an extension", bench.extension("bomb.tar.gz", &bomb), 3, "SRC008"),
    ] {
        let inner = bench.dry("v1.11.5", &arguments);
        let mut command = std::process::Command::new(&time);
        command
            .args(["-f", "%M", "-o"])
            .arg(bench.world.path("memory"))
            .arg(inner.get_program())
            .args(inner.get_args());
        let start = std::time::Instant::now();
        let outcome = Outcome::of(&mut command);
        let took = start.elapsed();
        let memory = fs::read_to_string(bench.world.path("memory")).unwrap();
        let memory: u64 = memory.lines().last().unwrap().trim().parse().unwrap();
        println!("{what}: {took:.1?}, {} MiB, {:?}", memory >> 10, outcome.findings);
        if outcome.exit != exit || !outcome.has(code, "") || memory > MEMORY || took.as_secs() > 60 {
            wrong.push(format!("{what}: {} {:?}, {memory} KiB, {took:.1?}", outcome.exit, outcome.findings));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
