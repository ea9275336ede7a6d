//! Modules of our own and damaged ones: what is found in them, with bounded time and memory.

#![allow(clippy::unwrap_used, clippy::type_complexity, reason = "a test stops where its helpers do")]

use std::io::Read as _;

use imgcore::{Blob, ReadAt, Report, Severity};
use initramfs::{
    Node, RULES, Tree,
    kmod::{
        Compression, Expect, IdType, Index, Kernel, Limits, Module, Modules, Sample, SampleSignature, Search,
        Signatures, check, machine,
    },
};
use testkit::{Rng, mutants};

const VERMAGIC: &str = "6.18.2 SMP mod_unload aarch64";
const FOLDER: &str = "usr/lib/modules/6.18.2";

fn sample(name: &str) -> Sample<'_> {
    Sample { name, vermagic: VERMAGIC, ..Sample::default() }
}

fn signed<'a>(name: &'a str, serial: &'a [u8]) -> Sample<'a> {
    Sample { signature: Some(SampleSignature { name: "build key", serial }), ..sample(name) }
}

fn tree(files: &[(&str, Vec<u8>)]) -> Tree {
    let mut tree = Tree::new();
    for (path, bytes) in files {
        let file = Node::file(0o644, Blob::from_bytes(*path, bytes.clone()));
        tree.insert(format!("{FOLDER}/{path}"), file).unwrap();
    }
    tree
}

fn codes(report: &Report) -> Vec<&'static str> {
    let mut codes: Vec<_> = report.iter().map(|finding| finding.code).collect();
    codes.sort_unstable();
    codes.dedup();
    for finding in report {
        let usual = RULES.iter().find(|(code, ..)| *code == finding.code).map(|(_, severity, _)| *severity);
        assert_eq!(Some(finding.severity), usual, "{finding}");
        assert!(finding.owner.is_some() && finding.code == "MOD004" || finding.help.is_some(), "{finding}");
    }
    codes
}

/// Findings of reading a tree and planning its index.
fn indexed(tree: &Tree) -> (Modules, Option<Index>, Report) {
    let (modules, mut report) = Modules::read(tree, FOLDER);
    let (index, findings) = Index::plan(&modules, &Search::parse("extras built-in"));
    report.extend(findings);
    (modules, index, report)
}

#[test]
fn a_module_says_what_it_is() {
    let sample = Sample {
        info: &["alias=of:N*T*Cvendor,nic", "softdep=pre: phy", "intree=Y", "firmware=a.bin", "firmware=b.bin"],
        exports: &["one", "two"],
        needs: &["printk", "phy_connect"],
        crc: Some(0xdead_beef),
        ..signed("nic_driver", &[0x11; 20])
    };
    let bytes = sample.build();
    let (module, report) = Module::parse("kernel/drivers/net/nic-driver.ko", &bytes);
    let module = module.unwrap();
    assert!(report.is_empty());
    assert_eq!((module.name.as_str(), module.path.as_str()), ("nic_driver", "kernel/drivers/net/nic-driver.ko"));
    assert_eq!(module.compression, Compression::None);
    assert_eq!(module.elf.map(|elf| (elf.machine, elf.is_64, elf.big_endian)), Some((machine::AARCH64, true, false)));
    let magic = module.vermagic().unwrap();
    assert_eq!((magic.release, magic.flags, magic.has_modversions()), ("6.18.2", "SMP mod_unload aarch64", false));
    assert_eq!(module.values("firmware").collect::<Vec<_>>(), ["a.bin", "b.bin"]);
    assert!(module.is_in_tree());
    let exports: Vec<_> = module.exports.iter().map(|export| (export.name.as_str(), export.crc)).collect();
    assert_eq!(exports, [("one", Some(0xdead_beef)), ("two", Some(0xdead_beef))]);
    let needs: Vec<_> = module.needs.iter().map(|need| (need.name.as_str(), need.crc, need.weak)).collect();
    assert_eq!(needs, [("printk", Some(0xdead_beef), false), ("phy_connect", Some(0xdead_beef), false)]);
    let signature = module.signature.unwrap();
    assert_eq!((signature.id_type, signature.hash), (IdType::Pkcs7, Some("sha512")));
    assert_eq!(signature.signer.name.as_deref(), Some("build key"));
    assert_eq!(signature.signer.serial, [0x11; 20]);
    assert_eq!(signature.signer.certificate_text().unwrap()[..3], [2, 20, 0x11]);
    assert!(signature.signer.to_string().starts_with("build key (11:11:"), "{}", signature.signer);
}

/// A file of which something is changed.
fn patched(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = sample("m").build();
    file[at..at + bytes.len()].copy_from_slice(bytes);
    file
}

/// Where a section's header lies, by its number: .modinfo, __ksymtab_strings, __versions, .symtab, .strtab, .shstrtab.
fn header(number: usize) -> usize {
    let file = sample("m").build();
    usize::try_from(u64::from_le_bytes(file[40..48].try_into().unwrap())).unwrap() + number * 64
}

#[test]
fn damage_is_named_and_what_can_be_read_stays() {
    let whole = sample("m").build();
    let huge = u64::MAX.to_le_bytes();
    let strings_end = {
        let at = header(6);
        let field = |at: usize| usize::try_from(u64::from_le_bytes(whole[at..at + 8].try_into().unwrap())).unwrap();
        field(at + 24) + field(at + 32) - 1
    };
    let mut block = whole.clone();
    block.extend_from_slice(&[0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]);
    block.extend_from_slice(b"~Module signature appended~\n");
    let cases: Vec<(&str, Vec<u8>, &[&str], bool)> = vec![
        ("nothing", vec![], &["MOD001"], false),
        ("one byte", vec![0x7f], &["MOD001"], false),
        ("a script", b"#!/bin/sh\n".to_vec(), &["MOD001"], false),
        ("a cut header", whole[..40].to_vec(), &["MOD001"], false),
        ("half of it", whole[..whole.len() / 2].to_vec(), &["MOD001"], false),
        ("an unknown class", patched(4, &[3]), &["MOD001"], false),
        ("an unknown byte order", patched(5, &[0]), &["MOD001"], false),
        ("another byte order", patched(5, &[2]), &["MOD001"], false),
        ("a program", patched(16, &[2]), &["MOD001"], false),
        ("headers of another size", patched(58, &[63]), &["MOD001"], false),
        ("65535 sections", patched(60, &[0xff; 2]), &["MOD001"], false),
        ("no section", patched(60, &[0; 2]), &["MOD001"], false),
        ("names in no section", patched(62, &[0xff; 2]), &["MOD001"], false),
        ("headers far away", patched(40, &huge), &["MOD001"], false),
        ("names without NUL", patched(strings_end, b"x"), &["MOD001"], false),
        ("names that are huge", patched(header(6) + 32, &huge), &["MOD001"], false),
        (".modinfo that is huge", patched(header(1) + 32, &huge), &["MOD005"], true),
        (".modinfo far away", patched(header(1) + 24, &huge), &["MOD005"], true),
        ("a name far away", patched(header(1), &[0xff; 4]), &["MOD005"], true),
        (".symtab that is no table", patched(header(4) + 32, &[25]), &["MOD006"], true),
        (".symtab that is huge", patched(header(4) + 32, &huge), &["MOD006"], true),
        (".strtab that is gone", patched(header(5), &[0; 4]), &["MOD006"], true),
        ("a signature longer than the file", block, &["MOD007"], true),
        ("half a gzip stream", vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1], &["MOD002"], false),
        ("a gzip magic", vec![0x1f, 0x8b], &["MOD002"], false),
        ("an xz magic", b"\xfd7zXZ\0".to_vec(), &["MOD002"], false),
        ("a zstd magic", b"\x28\xb5\x2f\xfd".to_vec(), &["MOD002"], false),
    ];
    for (what, bytes, expected, stays) in cases {
        let (module, report) = Module::parse("m.ko", &bytes);
        let mut codes = codes(&report);
        codes.retain(|code| *code != "MOD008");
        assert_eq!((codes.as_slice(), module.is_some()), (expected, stays), "{what}: {report:?}");
        assert!(report.iter().all(|finding| finding.owner.as_deref() == Some("m.ko")), "{what}");
    }
}

/// Data that cannot be read.
struct Broken;

impl ReadAt for Broken {
    fn size(&self) -> u64 {
        4096
    }

    fn read_at(&self, _: u64, _: &mut [u8]) -> std::io::Result<usize> {
        Err(std::io::Error::other("the medium is gone"))
    }
}

#[test]
fn a_medium_that_fails_is_named() {
    let (module, report) = Module::parse("m.ko", &Broken);
    assert!(module.is_none());
    assert_eq!(codes(&report), ["MOD004"]);
    assert!(report.iter().next().unwrap().message.contains("the medium is gone"));
}

#[test]
fn what_is_wrong_among_modules_is_found() {
    let good = || sample("good").build();
    let exporting = |name: &'static str, symbol: &'static [&'static str], crc| {
        Sample { exports: symbol, crc, ..sample(name) }.build()
    };
    let needing = |name: &'static str, symbol: &'static [&'static str], crc| {
        Sample { needs: symbol, crc, ..sample(name) }.build()
    };
    let lists = || vec![("modules.builtin", b"kernel/fs/ext4/ext4.ko\n".to_vec())];
    let cases: Vec<(&str, Vec<(&str, Vec<u8>)>, &[&str], &str)> = vec![
        ("all is well", vec![("kernel/good.ko", good())], &[], ""),
        (
            "an object file",
            vec![("kernel/m.ko", Sample { vermagic: "", ..sample("m") }.build())],
            &["MOD005"],
            "kernel/m.ko",
        ),
        (
            "a name that lies",
            vec![("kernel/m.ko.xz", zstd::encode_all(good().as_slice(), 1).unwrap())],
            &["MOD008"],
            "ends with .ko.zst",
        ),
        (
            "a cycle",
            vec![
                ("kernel/a.ko", Sample { exports: &["a"], ..Sample { needs: &["b"], ..sample("a") } }.build()),
                ("kernel/b.ko", Sample { exports: &["b"], ..Sample { needs: &["a"], ..sample("b") } }.build()),
            ],
            &["MOD020"],
            "2 modules need each other in a cycle: ",
        ),
        (
            "a module that needs itself",
            vec![("kernel/a.ko", Sample { exports: &["a"], needs: &["a"], ..sample("a") }.build())],
            &["MOD020"],
            "a → a",
        ),
        (
            "two of one name",
            vec![("kernel/x/my-mod.ko", good()), ("kernel/y/my_mod.ko", good())],
            &["MOD021"],
            "kernel/x/my-mod.ko and kernel/y/my_mod.ko are both the module my_mod",
        ),
        (
            "two of one name in extras",
            vec![("extras/x/m.ko", good()), ("extras/y/m.ko.xz", good())],
            &["MOD008", "MOD021"],
            "extras/x/m.ko and extras/y/m.ko.xz",
        ),
        (
            "an extra one",
            vec![("extras/m.ko", good()), ("kernel/m.ko", good())],
            &["MOD022"],
            "extras/m.ko replaces kernel/m.ko",
        ),
        (
            "versions that differ",
            vec![("kernel/a.ko", exporting("a", &["sym"], Some(1))), ("kernel/b.ko", needing("b", &["sym"], Some(2)))],
            &["MOD023"],
            "kernel/b.ko needs the symbol sym in version 0x00000002, kernel/a.ko exports version 0x00000001",
        ),
        (
            "one symbol twice",
            vec![("kernel/a.ko", exporting("a", &["sym"], None)), ("kernel/b.ko", exporting("b", &["sym"], None))],
            &["MOD024"],
            "both export the symbol sym",
        ),
        (
            "an alias with half a bracket",
            vec![("kernel/a.ko", Sample { info: &["alias=pci:[v"], ..sample("a") }.build())],
            &["MOD025"],
            "\"pci:[v\"",
        ),
        (
            "an alias that is not ASCII",
            vec![("kernel/a.ko", Sample { info: &["alias=grün"], ..sample("a") }.build())],
            &["MOD025"],
            "grün",
        ),
        (
            "a device without number",
            vec![("kernel/a.ko", Sample { info: &["alias=devname:tun"], ..sample("a") }.build())],
            &["MOD025"],
            "devname:tun says no device number",
        ),
        (
            "an order without end",
            vec![("kernel/a.ko", good()), ("modules.order", b"kernel/a.ko".to_vec())],
            &["MOD027"],
            "modules.order",
        ),
    ];
    for (what, mut files, expected, text) in cases {
        files.extend(lists());
        let (_, index, report) = indexed(&tree(&files));
        assert_eq!(codes(&report), expected, "{what}: {report:?}");
        assert_eq!(index.is_none(), expected.contains(&"MOD020"), "{what}");
        let said: Vec<String> = report.iter().map(ToString::to_string).collect();
        assert!(text.is_empty() || said.iter().any(|said| said.contains(text)), "{what}: {said:?}");
    }
    let (_, _, report) = indexed(&tree(&[("kernel/good.ko", good())]));
    assert_eq!(codes(&report), ["MOD026"]);
}

#[test]
fn links_are_followed_to_files_only() {
    let mut files = tree(&[("kernel/a.ko", sample("a").build()), ("modules.builtin", vec![])]);
    let links = [
        ("weak-updates/near.ko", "../kernel/a.ko"),
        ("weak-updates/far.ko", "/usr/lib/modules/6.18.2/weak-updates/near.ko"),
        ("weak-updates/nowhere.ko", "../../b.ko"),
        ("weak-updates/loop.ko", "loop.ko"),
        ("weak-updates/folder", "../kernel"),
        ("weak-updates/text", "nowhere"),
        ("build", "/usr/src/linux"),
        ("source", "/usr/src/linux"),
    ];
    for (path, target) in links {
        files.insert(format!("{FOLDER}/{path}"), Node::symlink(target)).unwrap();
    }
    let (modules, index, report) = indexed(&files);
    assert_eq!(modules.modules.iter().map(|module| module.name.as_str()).collect::<Vec<_>>(), ["a", "far", "near"]);
    assert_eq!(codes(&report), ["MOD028"]);
    assert_eq!(report.len(), 3);
    assert!(index.is_some());
}

#[test]
fn what_does_not_fit_the_kernel_is_found() {
    let serial: &[u8] = &[9; 16];
    let base = || ("kernel/base.ko", signed("base", serial).build());
    let other = |name: &'static str, vermagic: &'static str| Sample { vermagic, ..signed(name, serial) }.build();
    let optional = || Expect { release: "6.18.2".to_owned(), ..Expect::default() };
    let enforced = || Expect { signatures: Signatures::Enforced, ..optional() };
    let cases: Vec<(&str, Vec<(&str, Vec<u8>)>, Expect, &[&str], &[&str])> = vec![
        ("all is well", vec![base()], enforced(), &[], &[]),
        (
            "another release",
            vec![base(), ("extras/m.ko", other("m", "6.12.4 SMP mod_unload aarch64"))],
            enforced(),
            &["MOD040"],
            &[
                "extras/m.ko is built for the kernel 6.12.4, not for 6.18.2",
                "take the extension or modules built for 6.18.2",
            ],
        ),
        (
            "another release with versions",
            vec![base(), ("extras/m.ko", other("m", "6.12.4 SMP mod_unload modversions aarch64"))],
            enforced(),
            &["MOD041"],
            &["only if every version agrees"],
        ),
        (
            "unsigned",
            vec![base(), ("extras/m.ko", sample("m").build())],
            enforced(),
            &["MOD042"],
            &["extras/m.ko is not signed", "module.sig_enforce=1", "scripts/sign-file"],
        ),
        ("unsigned where that is no matter", vec![base(), ("extras/m.ko", sample("m").build())], optional(), &[], &[]),
        (
            "none signed",
            vec![("kernel/a.ko", sample("a").build()), ("kernel/b.ko", sample("b").build())],
            enforced(),
            &["MOD042"],
            &["no module is signed", "kernel/a.ko, kernel/b.ko"],
        ),
        (
            "another processor",
            vec![base(), ("extras/m.ko", Sample { machine: machine::X86_64, ..signed("m", serial) }.build())],
            enforced(),
            &["MOD043"],
            &["extras/m.ko is built for x86-64, the kernel is for arm64"],
        ),
        (
            "compressed",
            vec![base(), ("extras/m.ko.zst", zstd::encode_all(signed("m", serial).build().as_slice(), 1).unwrap())],
            Expect { compressions: vec![Compression::None, Compression::Xz], ..enforced() },
            &["MOD044"],
            &["compressed with zstd", "none, xz"],
        ),
        (
            "other flags",
            vec![
                base(),
                ("kernel/b.ko", signed("b", serial).build()),
                ("extras/m.ko", other("m", "6.18.2 SMP preempt aarch64")),
            ],
            enforced(),
            &["MOD045"],
            &["extras/m.ko is built with the flags \"SMP preempt aarch64\", 2 other modules"],
        ),
        (
            "another folder",
            vec![base()],
            Expect { release: "6.18.3".to_owned(), ..optional() },
            &["MOD040", "MOD046"],
            &["the modules lie in usr/lib/modules/6.18.2, the kernel looks in usr/lib/modules/6.18.3"],
        ),
        (
            "another signer",
            vec![base(), ("kernel/b.ko", signed("b", serial).build()), ("extras/m.ko", signed("m", &[8; 16]).build())],
            enforced(),
            &["MOD047"],
            &["extras/m.ko is signed by build key (08:08"],
        ),
        (
            "built in too",
            vec![base(), ("modules.builtin", b"kernel/drivers/base.ko\n".to_vec())],
            enforced(),
            &["MOD048"],
            &["kernel/base.ko is built into the kernel too"],
        ),
    ];
    for (what, files, expect, expected, texts) in cases {
        let (modules, _) = Modules::read(&tree(&files), FOLDER);
        let report = check(&modules, &expect);
        assert_eq!(codes(&report), expected, "{what}: {report:?}");
        let said: String = report.iter().map(ToString::to_string).collect();
        for text in texts {
            assert!(said.contains(text), "{what}: {said}");
        }
    }
}

/// A kernel's bytes with these texts, each with its NUL, on both sides of every border of a window.
fn image(texts: &[&[u8]]) -> Vec<u8> {
    let mut image = b"Linux version 6.18.2 (builder@host) #1 SMP\n\0".to_vec();
    for (number, text) in texts.iter().enumerate() {
        image.resize((128 << 10) * (number + 1) + 256 - text.len() / 2, 0xcc);
        image.push(0);
        image.extend_from_slice(text);
        image.push(0);
    }
    image
}

#[test]
fn a_kernel_is_asked_for_flags_symbols_and_certificates() {
    let serial: &[u8] = &[9; 16];
    let needs: &[&str] = &["printk", "register_netdev", "missing_one", ".dotted"];
    let files = tree(&[
        ("kernel/a.ko", Sample { needs, ..signed("a", serial) }.build()),
        ("kernel/b.ko", Sample { needs: &["missing_one", "own"], exports: &["own"], ..signed("b", serial) }.build()),
    ]);
    let (modules, _) = Modules::read(&files, FOLDER);
    let look = |texts: &[&[u8]]| Kernel::look(&mut image(texts).as_slice(), "6.18.2", &modules).unwrap();
    let certificate = [&[2, 16][..], serial].concat();
    let magic = b"6.18.2 SMP mod_unload aarch64 ".as_slice();
    // `printk` is the end of `_printk`.
    let whole = look(&[b"_printk", b"register_netdev", b"dotted", b"missing_one", magic, &certificate]);
    assert_eq!(whole.vermagic.as_deref(), Some(VERMAGIC));
    assert!(whole.missing.is_empty() && whole.unknown_signers.is_empty(), "{whole:?}");
    let expect = |kernel: Kernel| Expect {
        release: "6.18.2".to_owned(),
        signatures: Signatures::Enforced,
        kernel: Some(kernel),
        ..Expect::default()
    };
    assert!(check(&modules, &expect(whole)).is_empty());

    let other =
        look(&[b"_printk", b"register_netdevice", b"dotted", b"missing_one_more", b"6.18.2 SMP preempt aarch64"]);
    assert_eq!(other.missing.keys().collect::<Vec<_>>(), ["missing_one", "register_netdev"]);
    let report = check(&modules, &expect(other));
    assert_eq!(codes(&report), ["MOD030", "MOD045", "MOD049"]);
    let said: String = report.iter().map(ToString::to_string).collect();
    for text in [
        "kernel/a.ko needs missing_one, register_netdev, which no module exports",
        "kernel/b.ko needs missing_one, which",
        "kernel/a.ko, kernel/b.ko are built with the flags \"SMP mod_unload aarch64\", the kernel with \"SMP preempt aarch64\"",
        "signed by build key (09:09",
    ] {
        assert!(said.contains(text), "{said}");
    }
    assert_eq!(look(&[]).vermagic, None);
}

#[test]
fn limits_hold() {
    let many =
        |what: &str, count: usize| -> Vec<String> { (0..count).map(|number| format!("{what}{number}")).collect() };
    let bytes = sample("m").build();
    let parse = |bytes: &Vec<u8>, limits: Limits| {
        let (module, report) = Module::parse_within("m.ko", bytes, &limits);
        (module.is_some(), codes(&report))
    };
    assert_eq!(parse(&bytes, Limits { unpacked: 100, ..Limits::default() }), (false, vec!["MOD003"]));
    assert_eq!(parse(&bytes, Limits { sections: 50, ..Limits::default() }), (false, vec!["MOD003"]));
    // 64 MiB of zeros in a few KiB, and a window that nobody needs.
    let bomb = zstd::encode_all(std::io::repeat(0).take(64 << 20), 1).unwrap();
    assert_eq!(parse(&bomb, Limits { unpacked: 1 << 20, ..Limits::default() }).1, ["MOD003", "MOD008"][..1]);
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(27).unwrap();
    encoder.include_contentsize(false).unwrap();
    std::io::Write::write_all(&mut encoder, &bytes).unwrap();
    assert_eq!(parse(&encoder.finish().unwrap(), Limits::default()), (false, vec!["MOD002"]));

    // Half a million symbols that share one long name.
    let names = many("symbol_with_a_long_name_", 400_000);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let large = Sample { needs: &names, ..sample("m") }.build();
    assert_eq!(parse(&large, Limits::default()), (false, vec!["MOD003"]));

    // .modinfo is cut behind its first MiB.
    let info = many("alias=pci:v0000", 80_000);
    let info: Vec<&str> = info.iter().map(String::as_str).collect();
    assert_eq!(parse(&Sample { info: &info, ..sample("m") }.build(), Limits::default()).1, ["MOD005", "MOD009"]);

    // A tree with more names than are kept, and an index that becomes too large.
    let files = tree(&[("kernel/a.ko", bytes.clone()), ("kernel/b.ko", bytes.clone()), ("kernel/c.ko", bytes)]);
    let (modules, report) = Modules::read_within(&files, FOLDER, &Limits { kept: 200, ..Limits::default() });
    assert_eq!((modules.modules.len(), codes(&report)), (2, vec!["MOD003"]));
    let (modules, _) = Modules::read(&files, FOLDER);
    let limits = Limits { index: 40, ..Limits::default() };
    let (index, report) = Index::plan_within(&modules, &Search::default(), &limits);
    assert!(index.is_none() && codes(&report).contains(&"MOD029"));
}

#[test]
fn long_chains_take_no_stack_and_aliases_no_time() {
    let names: Vec<String> = (0..3000).map(|number| format!("chain_{number:04}")).collect();
    let files: Vec<(String, Vec<u8>)> = names
        .iter()
        .enumerate()
        .map(|(number, name)| {
            let next = names.get(number + 1).map(String::as_str);
            let needs: Vec<&str> = next.into_iter().collect();
            (format!("kernel/{name}.ko"), Sample { exports: &[name], needs: &needs, ..sample(name) }.build())
        })
        .collect();
    let files: Vec<(&str, Vec<u8>)> = files.iter().map(|(path, bytes)| (path.as_str(), bytes.clone())).collect();
    // All of them need all behind them: 4.5 million paths.
    let (_, index, report) = indexed(&tree(&files));
    assert!(index.is_none() && codes(&report).contains(&"MOD029"), "{:?}", codes(&report));
    let (_, index, _) = indexed(&tree(&files[2500..]));
    assert!(index.unwrap().text("modules.dep").unwrap().lines().any(|line| line.split(' ').count() == 500));

    // Each alias is the beginning of the next one: a trie as deep as the longest.
    let aliases: Vec<String> = (1..1300).map(|length| format!("alias={}", "a".repeat(length))).collect();
    let aliases: Vec<&str> = aliases.iter().map(String::as_str).collect();
    let module = Sample { info: &aliases, ..sample("m") }.build();
    let (_, index, _) = indexed(&tree(&[("kernel/m.ko", module)]));
    assert!(index.unwrap().file("modules.alias.bin").unwrap().len() > 1300);
}

#[test]
fn damaged_modules_never_panic() {
    let sample = Sample {
        info: &["alias=of:N*T*Cvendor,nic", "softdep=pre: phy", "alias=char-major-10-1", "alias=devname:x"],
        exports: &["one", "two"],
        needs: &["printk", "phy_connect"],
        crc: Some(1),
        ..signed("nic", &[0x11; 20])
    };
    let bytes = sample.build();
    let lists = b"nic.alias=a[b]-c\0nic.license=GPL\0ext4.alias=fs-ext4\0";
    let mut rng = Rng::new(3);
    mutants(7, 4000, &bytes, |mutant| {
        let files = tree(&[("kernel/nic.ko", mutant.to_vec()), ("extras/other.ko", bytes.clone())]);
        let (modules, index, _) = indexed(&files);
        let _ = check(&modules, &Expect::default());
        assert!(index.is_none_or(|index| index.files.len() == 11));
        let _ = Kernel::look(&mut &rng.bytes(300)[..], "6.18.2", &modules).unwrap();
    });
    for (seed, packed) in [zstd::encode_all(bytes.as_slice(), 3).unwrap(), {
        let mut encoder = liblzma::read::XzEncoder::new(bytes.as_slice(), 1);
        let mut out = Vec::new();
        encoder.read_to_end(&mut out).unwrap();
        out
    }]
    .iter()
    .enumerate()
    {
        mutants(seed as u64, 500, packed, |mutant| {
            let (module, report) = Module::parse("nic.ko.zst", &mutant.to_vec());
            assert!(module.is_some() || report.has_errors());
        });
    }
    mutants(9, 500, lists, |mutant| {
        let files = tree(&[
            ("kernel/nic.ko", bytes.clone()),
            ("modules.builtin.modinfo", mutant.to_vec()),
            ("modules.order", mutant.to_vec()),
            ("modules.builtin", mutant.to_vec()),
        ]);
        let (_, index, report) = indexed(&files);
        assert!(index.is_some() && report.worst() < Some(Severity::Error));
    });
}
