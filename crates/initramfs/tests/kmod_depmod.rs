//! The index of kernel modules beside depmod's, on real modules and on our own.

#![allow(clippy::unwrap_used, clippy::type_complexity, reason = "a test stops where its helpers do")]

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write as _},
    os::unix::fs::FileExt as _,
    path::Path,
    process::Command,
    sync::Arc,
};

use imgcore::{Blob, ReadAt, ReadAtCursor, Report};
use initramfs::{
    Kind, Node, Tree,
    kmod::{Compression, Expect, Index, Kernel, Limits, Module, Modules, Sample, SampleSignature, Search, Signatures},
};
use testkit::{run, tool};

mod common;

/// A file on the disk.
struct OnDisk(fs_err::File, u64);

impl ReadAt for OnDisk {
    fn size(&self) -> u64 {
        self.1
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.file().read_at(buffer, offset)
    }
}

fn blob(path: &Path) -> Blob {
    let file = fs_err::File::open(path).unwrap();
    let size = file.metadata().unwrap().len();
    Blob::new(path.display().to_string(), Arc::new(OnDisk(file, size)), None)
}

/// Everything below a folder, at `to`.
fn load(tree: &mut Tree, from: &Path, to: &str) {
    for entry in fs_err::read_dir(from).unwrap() {
        let (path, name) = (entry.as_ref().unwrap().path(), entry.unwrap().file_name().into_string().unwrap());
        let at = format!("{to}/{name}");
        if path.is_dir() {
            load(tree, &path, &at);
        } else {
            tree.insert(at, Node::file(0o644, blob(&path))).unwrap();
        }
    }
}

/// Writes a tree to the disk.
fn plant(tree: &Tree, root: &Path) {
    for (path, node) in tree.iter() {
        let at = root.join(path);
        match &node.kind {
            Kind::Dir => fs_err::create_dir_all(at).unwrap(),
            Kind::Symlink(target) => std::os::unix::fs::symlink(target, at).unwrap(),
            Kind::File(data) => {
                let mut file = fs_err::File::create(at).unwrap();
                io::copy(&mut ReadAtCursor::new(data), &mut file).unwrap();
            }
        }
    }
}

/// The real modules of the distribution's kernel at a place, and the release.
fn real(root: &str) -> Option<(Tree, String)> {
    let folder = testkit::kernel_package()?.join("lib/modules");
    let release = fs_err::read_dir(&folder).unwrap().next().unwrap().unwrap();
    let name = release.file_name().into_string().unwrap();
    let mut tree = Tree::new();
    load(&mut tree, &release.path(), &format!("{root}/{name}"));
    Some((tree, name))
}

/// depmod's version, and whether it reads gzip.
fn version(depmod: &Path) -> (u32, bool) {
    let text = run(Command::new(depmod).arg("--version"));
    let number = text.split_whitespace().nth(2).unwrap().split('.').next().unwrap();
    (number.parse().unwrap(), text.contains("+ZLIB"))
}

/// What depmod writes for a tree, by name; and the folder in which it did.
struct Theirs {
    files: BTreeMap<String, Vec<u8>>,
    version: u32,
    folder: tempfile::TempDir,
}

/// Runs depmod over `folder` of a tree, with the words of `search`.
fn depmod(tree: &Tree, folder: &str, search: Option<&str>) -> Option<Theirs> {
    let depmod = tool("depmod")?;
    let work = tempfile::tempdir().unwrap();
    plant(tree, &work.path().join("root"));
    let config = work.path().join("depmod.conf");
    fs_err::write(&config, search.map(|words| format!("search {words}\n")).unwrap_or_default()).unwrap();
    let (base, release) = folder.split_once("lib/modules/").unwrap();
    let base = work.path().join("root").join(base);
    run(Command::new(&depmod).arg("-a").arg("-b").arg(&base).arg("-C").arg(&config).arg(release));
    let made = work.path().join("root").join(folder);
    let mut files = BTreeMap::new();
    for entry in fs_err::read_dir(&made).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let given = ["modules.order", "modules.builtin", "modules.builtin.modinfo"].contains(&name.as_str());
        if name.starts_with("modules.") && !given {
            files.insert(name.clone(), testkit::read(made.join(&name)));
        }
    }
    Some(Theirs { files, version: version(&depmod).0, folder: work })
}

fn plan(tree: &Tree, folder: &str, search: Option<&str>) -> (Modules, Option<Index>, Report) {
    let (modules, mut report) = Modules::read(tree, folder);
    let search = search.map(Search::parse).unwrap_or_default();
    let (index, findings) = Index::plan(&modules, &search);
    report.extend(findings);
    (modules, index, report)
}

/// Every file equal to depmod's. Versions behind 31 may list symbols in another order, which means nothing.
#[track_caller]
fn assert_same(ours: &Index, theirs: &Theirs) {
    let lines =
        |bytes: &[u8]| -> BTreeSet<Vec<u8>> { bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect() };
    let names = |file: &initramfs::kmod::File| file.name.to_owned();
    let ours_too: BTreeSet<String> =
        ours.files.iter().map(names).filter(|name| theirs.version >= 33 || name != "modules.weakdep").collect();
    assert_eq!(ours_too, theirs.files.keys().cloned().collect());
    for (name, expected) in &theirs.files {
        let bytes = ours.file(name).unwrap();
        if theirs.version > 31 && name == "modules.symbols" {
            assert_eq!(lines(bytes), lines(expected), "{name}");
            continue;
        }
        if bytes != expected {
            let at = bytes.iter().zip(expected).position(|(a, b)| a != b).unwrap_or(bytes.len().min(expected.len()));
            let around = |bytes: &[u8]| {
                let end = bytes.len().min(at + 80);
                String::from_utf8_lossy(&bytes[at.saturating_sub(80).min(end)..end]).into_owned()
            };
            panic!(
                "{name} differs at byte {at} ({} and {} bytes):\n{}\n-- depmod:\n{}",
                bytes.len(),
                expected.len(),
                around(bytes),
                around(expected)
            );
        }
    }
}

fn codes(report: &Report) -> BTreeSet<&'static str> {
    report.iter().map(|finding| finding.code).collect()
}

fn insert(tree: &mut Tree, path: &str, bytes: Vec<u8>) {
    let _ = tree.take(path);
    tree.insert(path, Node::file(0o644, Blob::from_bytes(path, bytes))).unwrap();
}

#[test]
fn real_modules_give_the_index_of_depmod() {
    for (root, search) in [("usr/lib/modules", Some("extras built-in")), ("lib/modules", None)] {
        let Some((tree, release)) = real(root) else { return };
        let folder = format!("{root}/{release}");
        assert_eq!(Modules::folders(&tree), std::slice::from_ref(&folder));
        let (modules, index, report) = plan(&tree, &folder, search);
        assert!(report.is_empty(), "{:?}", report.iter().take(5).collect::<Vec<_>>());
        assert!(modules.modules.len() > 900);
        let Some(theirs) = depmod(&tree, &folder, search) else { return };
        assert_same(&index.unwrap(), &theirs);
    }
}

#[test]
fn missing_lists_give_the_index_of_depmod() {
    let Some((tree, release)) = real("usr/lib/modules") else { return };
    let folder = format!("usr/lib/modules/{release}");
    // A few modules do: what needs others outside of them does not name them then.
    let mut part = Tree::new();
    for (path, node) in tree.iter().filter(|(path, _)| {
        ["kernel/net", "kernel/drivers/net", "kernel/crypto", "kernel/lib", "modules."]
            .iter()
            .any(|kept| path.contains(kept))
    }) {
        part.insert(path, node.clone()).unwrap();
    }
    let cut = |text: &[u8]| text[..text.len() - 1].to_vec();
    let order = part.get(&format!("{folder}/modules.order")).unwrap().data().unwrap().read_all(1 << 24).unwrap();
    let cases: [(&str, Option<Vec<u8>>, &[&str]); 4] = [
        ("modules.order", None, &[]),
        ("modules.order", Some(cut(&order)), &["MOD027"]),
        ("modules.builtin", None, &["MOD026"]),
        ("modules.builtin.modinfo", None, &[]),
    ];
    for (name, bytes, findings) in cases {
        let mut tree = part.clone();
        let path = format!("{folder}/{name}");
        let _ = tree.take(&path);
        if let Some(bytes) = bytes {
            insert(&mut tree, &path, bytes);
        }
        let (_, index, report) = plan(&tree, &folder, Some("extras built-in"));
        assert_eq!(codes(&report).into_iter().collect::<Vec<_>>(), findings, "{name}");
        let Some(theirs) = depmod(&tree, &folder, Some("extras built-in")) else { return };
        assert_same(&index.unwrap(), &theirs);
    }
}

/// Modules beside the kernel's: in `extras`, where they replace others, in `updates`, and new ones.
fn with_extras(tree: &mut Tree, folder: &str, vermagic: &str) {
    let extra = Sample { vermagic, ..Sample::default() };
    let modules: [(&str, Sample<'_>); 9] = [
        ("extras/af_key.ko", Sample { name: "af_key", info: &["alias=net-pf-15", "alias=other-af"], ..extra.clone() }),
        ("updates/deep/er/tls.ko", Sample { name: "tls", exports: &["tls_new"], ..extra.clone() }),
        ("extras/lonely.ko", Sample { name: "lonely", needs: &["nobody_exports_this"], ..extra.clone() }),
        (
            "extras/user-of-it.ko",
            Sample { name: "user_of_it", needs: &["brought", "xfrm_probe_algs", "brought"], ..extra.clone() },
        ),
        (
            "extras/brings.ko",
            Sample { name: "brings", exports: &["brought", "brought_too"], needs: &["tls_new"], ..extra.clone() },
        ),
        (
            "extras/dir-with-dash/soft-one.ko",
            Sample {
                name: "soft_one",
                info: &["softdep=pre: af_key post: brings", "weakdep=tls", "softdep=pre: xfrm_algo"],
                ..extra.clone()
            },
        ),
        (
            "extras/node.ko",
            Sample { name: "node", info: &["alias=devname:vhost/none", "alias=char-major-10-241"], ..extra.clone() },
        ),
        (
            "extras/block.ko",
            Sample {
                name: "block",
                info: &["alias=block-major-44-*", "alias=block-major-44-7x", "alias=devname:blk"],
                ..extra.clone()
            },
        ),
        (
            "extras/odd.name.ko",
            Sample {
                name: "odd",
                info: &[
                    "alias=acpi*:[A-Z-a]-b-c:*",
                    "alias=twice-a",
                    "alias=twice_a",
                    "alias",
                    "empty=",
                    "parm=x:y",
                    "alias=",
                ],
                exports: &["odd_a", "odd", "o"],
                ..extra
            },
        ),
    ];
    for (path, sample) in modules {
        insert(tree, &format!("{folder}/{path}"), sample.build());
    }
}

#[test]
fn extra_modules_give_the_index_of_depmod() {
    for search in
        [Some("extras built-in"), Some("built-in extras"), Some("updates extras built-in"), Some("extras"), None]
    {
        let Some((mut tree, release)) = real("usr/lib/modules") else { return };
        let folder = format!("usr/lib/modules/{release}");
        with_extras(&mut tree, &folder, &format!("{release} SMP mod_unload modversions aarch64"));
        let (_, index, report) = plan(&tree, &folder, search);
        let index = index.unwrap();
        let replaced = report.iter().filter(|finding| finding.code == "MOD022").count();
        assert!(replaced > 0, "{:?}", codes(&report));
        let Some(theirs) = depmod(&tree, &folder, search) else { return };
        assert_same(&index, &theirs);
    }
}

#[test]
fn compressed_modules_give_the_index_of_depmod() {
    let Some((tree, release)) = real("usr/lib/modules") else { return };
    let folder = format!("usr/lib/modules/{release}");
    let gzip_too = tool("depmod").is_some_and(|depmod| version(&depmod).1);
    let mut packed = Tree::new();
    for (number, (path, node)) in tree.iter().enumerate() {
        let Some(data) = node.data().filter(|_| Compression::of_name(path).is_some()) else {
            packed.insert(path, node.clone()).unwrap();
            continue;
        };
        let bytes = data.read_all(1 << 30).unwrap();
        let kinds = if gzip_too { 4 } else { 3 };
        let (suffix, bytes) = match number % kinds {
            0 => ("", bytes),
            1 => (".zst", zstd::encode_all(bytes.as_slice(), 1).unwrap()),
            2 => (".xz", xz(&bytes)),
            _ => (".gz", gzip(&bytes)),
        };
        insert(&mut packed, &format!("{path}{suffix}"), bytes);
    }
    let (modules, index, report) = plan(&packed, &folder, None);
    assert!(report.is_empty(), "{:?}", report.iter().take(5).collect::<Vec<_>>());
    let (plain, _) = Modules::read(&tree, &folder);
    for (ours, plain) in modules.modules.iter().zip(&plain.modules) {
        assert_eq!(Compression::of_name(&ours.path), Some(ours.compression));
        assert_eq!(
            (&ours.info, &ours.needs, &ours.exports, &ours.signature),
            (&plain.info, &plain.needs, &plain.exports, &plain.signature)
        );
    }
    let Some(theirs) = depmod(&packed, &folder, None) else { return };
    assert_same(&index.unwrap(), &theirs);
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 0);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The smallest modules that show each rule of depmod.
fn synthetic() -> Tree {
    let mut tree = Tree::new();
    let folder = "usr/lib/modules/6.18.2-test";
    with_extras(&mut tree, folder, "6.18.2-test SMP mod_unload aarch64");
    let versioned = Sample { name: "a", crc: Some(0x1234_5678), exports: &["va", "vb"], ..Sample::default() };
    insert(&mut tree, &format!("{folder}/kernel/versioned.ko"), versioned.build());
    let user = Sample {
        name: "b",
        crc: Some(0x1234_5678),
        needs: &["vb", "module_layout", "printk", "va"],
        ..Sample::default()
    };
    insert(&mut tree, &format!("{folder}/kernel/z/user.ko"), user.build());
    let second = Sample { name: "second", exports: &["brought_too", "own"], needs: &[".vb"], ..Sample::default() };
    insert(&mut tree, &format!("{folder}/kernel/second.ko"), second.build());
    for index in 0..40 {
        let names =
            [format!("chain_{index}"), format!("chain_{}", index / 3), format!("chain_{}", (index * 7) % (index + 1))];
        let [own, first, second] = [names[0].as_str(), names[1].as_str(), names[2].as_str()];
        let needs: Vec<&str> = [second, first].into_iter().filter(|name| *name != own).collect();
        let sample = Sample { name: own, exports: &[own], needs: &needs, ..Sample::default() };
        insert(&mut tree, &format!("{folder}/kernel/chain/{own}.ko"), sample.build());
    }
    for (path, bytes) in
        [("build/hidden.ko", Sample::default().build()), ("kernel/no.ko.bak", vec![1]), ("kernel/.ko", vec![2])]
    {
        insert(&mut tree, &format!("{folder}/{path}"), bytes);
    }
    let aliases = ["alias=devname:lost", "alias=a[b", "alias=a]b", "alias=[-]-", "alias=good-one"];
    let nameless = Sample { name: "aliases", info: &aliases, ..Sample::default() };
    insert(&mut tree, &format!("{folder}/kernel/aliases.ko"), nameless.build());
    // What is no module is listed all the same.
    insert(&mut tree, &format!("{folder}/kernel/junk.ko"), b"no module".to_vec());
    tree.insert(format!("{folder}/kernel/linked.ko"), Node::symlink("../extras/node.ko")).unwrap();
    let order = "kernel/z/user.ko\nkernel/none.ko\n\nkernel/chain/chain_7.ko\nextras/odd.na\nkernel/chain/chain_3.ko\nkernel/chain/chain_7.ko\n";
    insert(&mut tree, &format!("{folder}/modules.order"), order.as_bytes().to_vec());
    let builtin = "kernel/fs/ext4/ext4.ko\nkernel/lib/crc-t10dif.ko\nkernel/fs/ext4/ext4.ko\n";
    insert(&mut tree, &format!("{folder}/modules.builtin"), builtin.as_bytes().to_vec());
    let modinfo = "ext4.alias=fs-ext4\0ext4.license=GPL\0crc_t10dif.alias=crypto-crc[t-x]10-dif\0x.alias\0lost.alias=never\0\
                   y.alias=brack]et\0\0.alias=nameless\0nodot\0z.alias=\0z.alias=last-one\0w.alias=cut";
    insert(&mut tree, &format!("{folder}/modules.builtin.modinfo"), modinfo.as_bytes().to_vec());
    tree
}

#[test]
fn every_rule_of_depmod_is_kept() {
    let (tree, folder) = (synthetic(), "usr/lib/modules/6.18.2-test");
    let (modules, index, report) = plan(&tree, folder, Some("extras built-in"));
    let index = index.unwrap();
    assert_eq!(
        codes(&report).into_iter().collect::<Vec<_>>(),
        ["MOD001", "MOD005", "MOD024", "MOD025"],
        "{:#?}",
        report.iter().collect::<Vec<_>>()
    );
    assert!(modules.modules.iter().any(|module| module.name == "linked" && module.elf.is_some()));
    assert!(modules.modules.iter().any(|module| module.name == "junk" && module.elf.is_none()));
    let Some(theirs) = depmod(&tree, folder, Some("extras built-in")) else { return };
    assert_same(&index, &theirs);

    // The tree that goes into an extension has the kernel's lists too.
    let files = index.tree(&tree).unwrap();
    assert_eq!(files.below(folder).count(), index.files.len() + 3);
}

#[test]
fn a_cycle_has_no_index_as_with_depmod() {
    let folder = "lib/modules/6.18.2";
    let mut tree = Tree::new();
    for (name, exports, needs) in [
        ("a", "ea", &["eb"][..]),
        ("b", "eb", &["ec", "ed"]),
        ("c", "ec", &["ea"]),
        ("d", "ed", &[]),
        ("e", "ee", &["ea"]),
    ] {
        let sample = Sample { name, exports: &[exports], needs, vermagic: "6.18.2 SMP", ..Sample::default() };
        insert(&mut tree, &format!("{folder}/kernel/{name}.ko"), sample.build());
    }
    let (_, index, report) = plan(&tree, folder, None);
    assert!(index.is_none());
    let cycle = report.iter().find(|finding| finding.code == "MOD020").unwrap();
    assert!(
        ["a → b → c → a", "b → c → a → b", "c → a → b → c"].iter().any(|path| cycle.message.contains(path)),
        "{}",
        cycle.message
    );
    let Some(depmod) = tool("depmod") else { return };
    let work = tempfile::tempdir().unwrap();
    plant(&tree, work.path());
    let done = Command::new(depmod).arg("-a").arg("-b").arg(work.path()).arg("6.18.2").output().unwrap();
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(!done.status.success() && said.contains("ycle"), "{said}");
}

/// What `modprobe` would load, for names and aliases, a few of them each time.
fn shown(modprobe: &Path, root: &Path, release: &str, names: &[String]) -> String {
    let mut text = String::new();
    for names in names.chunks(20) {
        let done = Command::new(modprobe)
            .args(["-C", "/dev/null", "-d"])
            .arg(root)
            .args(["-S", release, "--show-depends", "-a"])
            .args(names)
            .output()
            .unwrap();
        let (out, errors) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
        text.extend([&format!("{names:?}: {}\n", done.status.success()), &*out, &*errors]);
    }
    text
}

#[test]
fn modprobe_finds_with_our_index_what_it_finds_with_depmods() {
    let Some((mut tree, release)) = real("lib/modules") else { return };
    let folder = format!("lib/modules/{release}");
    with_extras(&mut tree, &folder, &format!("{release} SMP mod_unload modversions aarch64"));
    let (modules, index, _) = plan(&tree, &folder, Some("extras built-in"));
    let (Some(theirs), Some(modprobe)) = (depmod(&tree, &folder, Some("extras built-in")), tool("modprobe")) else {
        return;
    };
    let mut names: Vec<String> = modules.modules.iter().map(|module| module.name.clone()).collect();
    // Of each module one alias, with something for every star.
    names
        .extend(modules.modules.iter().filter_map(|module| module.value("alias")).map(|alias| alias.replace('*', "x")));
    names.extend(["symbol:brought", "ext4", "no-such-module"].map(str::to_owned));
    let root = theirs.folder.path().join("root");
    let expected = shown(&modprobe, &root, &release, &names);
    let mut ours = Tree::new();
    index.unwrap().write_into(&mut ours).unwrap();
    for name in theirs.files.keys() {
        fs_err::remove_file(root.join(&folder).join(name)).unwrap();
    }
    plant(&ours, &root);
    let found = shown(&modprobe, &root, &release, &names);
    assert!(expected.lines().count() > names.len());
    assert_eq!(found, expected);
}

/// Keys and values that `modinfo` prints for a file.
fn modinfo(modinfo: &Path, path: &Path) -> Vec<(String, String)> {
    let text = run(Command::new(modinfo).arg("-0").arg(path));
    let pairs = text.split('\0').filter_map(|line| line.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

#[test]
fn real_modules_say_what_modinfo_says() {
    let (Some((tree, release)), Some(program)) = (real("lib/modules"), tool("modinfo")) else { return };
    let package = testkit::kernel_package().unwrap();
    let (modules, _) = Modules::read(&tree, &format!("lib/modules/{release}"));
    for module in modules.modules.iter().step_by(5) {
        let theirs = modinfo(&program, &package.join("lib/modules").join(&release).join(&module.path));
        let theirs = |key: &str| -> Vec<String> {
            theirs.iter().filter(|(known, _)| known == key).map(|(_, value)| value.clone()).collect()
        };
        for key in [
            "name",
            "vermagic",
            "depends",
            "alias",
            "softdep",
            "firmware",
            "license",
            "intree",
            "description",
            "author",
        ] {
            assert_eq!(module.values(key).collect::<Vec<_>>(), theirs(key), "{} {key}", module.path);
        }
        let signature = module.signature.as_ref().unwrap();
        let hex: Vec<String> = signature.signer.serial.iter().map(|byte| format!("{byte:02X}")).collect();
        assert_eq!(theirs("sig_key"), [hex.join(":")], "{}", module.path);
        assert_eq!(theirs("signer"), [signature.signer.name.clone().unwrap()]);
        assert_eq!(theirs("sig_hashalgo"), [signature.hash.unwrap()]);
    }
}

#[test]
fn real_modules_fit_their_kernel_and_no_other() {
    let Some((mut tree, release)) = real("lib/modules") else { return };
    let folder = format!("lib/modules/{release}");
    let (modules, _) = Modules::read(&tree, &folder);
    let kernel = blob(&testkit::kernel_package().unwrap().join(format!("boot/vmlinuz-{release}")));
    let expect = Expect { release: release.clone(), signatures: Signatures::Enforced, ..Expect::default() };
    assert!(initramfs::kmod::check(&modules, &expect).is_empty());

    // The kernel holds the certificate, and every symbol that it must export.
    let signers = modules.signers();
    let [(signer, count)] = signers.as_slice() else { panic!("{signers:?}") };
    assert_eq!(*count, modules.modules.len());
    let text = signer.certificate_text().unwrap();
    let bytes = kernel.read_all(1 << 30).unwrap();
    assert!(bytes.windows(text.len()).any(|window| window == text));
    let look = |modules: &Modules| Kernel::look(&mut ReadAtCursor::new(&kernel), &release, modules).unwrap();
    let found = look(&modules);
    assert_eq!((&found.missing, &found.unknown_signers), (&BTreeMap::new(), &Vec::new()));
    assert_eq!(found.vermagic.unwrap(), modules.modules[0].vermagic().unwrap().to_string());

    // What does not fit is named.
    with_extras(&mut tree, &folder, "6.12.0-other SMP preempt mod_unload aarch64");
    let (modules, _) = Modules::read(&tree, &folder);
    let report = initramfs::kmod::check(&modules, &expect);
    assert_eq!(codes(&report).into_iter().collect::<Vec<_>>(), ["MOD040", "MOD042"]);
    let found: Vec<String> = report.iter().map(ToString::to_string).collect();
    assert!(found[0].contains("6.12.0-other") && found[0].contains(&release), "{}", found[0]);
    assert!(found[1].contains("extras/af_key.ko") && found[1].contains("and 6 more"), "{}", found[1]);
    let foreign = Sample {
        name: "foreign",
        vermagic: &format!("{release} SMP preempt mod_unload modversions aarch64"),
        signature: Some(SampleSignature { name: "somebody else", serial: &[7; 20] }),
        ..Sample::default()
    };
    insert(&mut tree, &format!("{folder}/extras/foreign.ko"), foreign.build());
    let (modules, _) = Modules::read(&tree, &folder);
    let expect = Expect { kernel: Some(look(&modules)), ..expect };
    let report = initramfs::kmod::check(&modules, &expect);
    let found: Vec<String> = report.iter().map(ToString::to_string).collect();
    assert_eq!(codes(&report).into_iter().collect::<Vec<_>>(), ["MOD030", "MOD040", "MOD042", "MOD045", "MOD049"]);
    let named = |text: &str| assert!(found.iter().any(|found| found.contains(text)), "{found:#?}");
    named("extras/lonely.ko needs nobody_exports_this, which no module exports");
    named("extras/foreign.ko is built with the flags \"SMP preempt mod_unload modversions aarch64\"");
    named("extras/foreign.ko is signed by somebody else (07:07:");
}

#[test]
fn large_modules_are_read_without_being_held() {
    // Above what is held, and compressed to next to nothing.
    let mut bytes = Sample { name: "large", exports: &["a"], needs: &["b"], ..Sample::default() }.build();
    let (table, tail) = (bytes.len() - 7 * 64, 40 << 20);
    let headers = bytes.split_off(table);
    bytes.resize(tail, 0);
    bytes[40..48].copy_from_slice(&(tail as u64).to_le_bytes());
    bytes.extend_from_slice(&headers);
    let small = zstd::encode_all(bytes.as_slice(), 1).unwrap();
    let (plain, _) = Module::parse("large.ko", &bytes);
    let (packed, report) = Module::parse("large.ko.zst", &small);
    let (plain, packed) = (plain.unwrap(), packed.unwrap());
    assert_eq!((&plain.info, &plain.needs, &plain.exports), (&packed.info, &packed.needs, &packed.exports));
    assert_eq!(packed.size, (small.len() as u64, bytes.len() as u64));
    assert_eq!(codes(&report).into_iter().collect::<Vec<_>>(), ["MOD005"]);
    let limits = Limits { unpacked: 30 << 20, ..Limits::default() };
    let (none, report) = Module::parse_within("large.ko.zst", &small, &limits);
    assert!(none.is_none() && codes(&report).contains("MOD003"));
}
