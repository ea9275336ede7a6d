//! Whole initramfs files: ours read by GNU cpio and zstd, those of other programs read by us, and damaged ones.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::items_after_statements,
    clippy::type_complexity,
    clippy::cast_possible_truncation,
    reason = "a test may fail by panic, use std::fs and name a type where it needs one"
)]

use std::{
    io::{self, Write as _},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use imgcore::{Blob, Epoch};
use initramfs::{
    Node, Tree, cpio,
    packed::{self, Compression, Limits, Summary},
};
use testkit::Rng;

mod common;

use common::{assert_same, text};

const EPOCH: Epoch = Epoch(1_735_689_600);

fn file(mode: u32, data: impl Into<Vec<u8>>) -> Node {
    Node::file(mode, Blob::from_bytes("test", data))
}

fn sample() -> Tree {
    let mut tree = Tree::new();
    for (path, node) in [
        ("0.sqsh", file(0o644, Rng::new(3).bytes(700_001))),
        ("extensions.yaml", file(0o600, text(333))),
        ("usr/lib/firmware/a/b.fw", file(0o644, text(3_000_000))),
        ("usr/lib/firmware/empty", file(0o444, [])),
        ("usr/lib/link", Node::symlink("firmware/a")),
        ("tmp", Node::dir(0o1777)),
        ("ü b", file(0o4755, [1])),
        (&"n".repeat(255), file(0o644, [1, 2, 3])),
    ] {
        tree.insert(path, node).unwrap();
    }
    tree
}

fn archive(tree: &Tree) -> Vec<u8> {
    let archive = cpio::plan(tree, EPOCH).unwrap();
    let mut bytes = Vec::new();
    archive.write_to(&mut bytes).unwrap();
    assert_eq!(bytes.len() as u64, archive.size());
    bytes
}

/// Path, mode and size of an entry.
type Seen = (String, u32, usize);
type Codes = Vec<&'static str>;

/// What is in a file, its parts, and the codes that were found.
fn read(bytes: &[u8], limits: &Limits) -> (Vec<Seen>, Summary, Codes) {
    let mut seen = Vec::new();
    let (summary, report) = packed::read(Arc::new(bytes.to_vec()), limits, &mut |header, data| {
        let mut bytes = Vec::new();
        data.read_to_end(&mut bytes)?;
        seen.push((header.path().into_owned(), header.mode, bytes.len()));
        Ok(())
    });
    (seen, summary, report.iter().map(|finding| finding.code).collect())
}

fn paths(bytes: &[u8]) -> (Vec<String>, Vec<Compression>, Codes) {
    let (seen, summary, codes) = read(bytes, &Limits::default());
    let kinds = summary.segments.iter().map(|segment| segment.compression).collect();
    (seen.into_iter().map(|(path, ..)| path).collect(), kinds, codes)
}

/// Runs a program that reads standard input.
fn filter(program: &Path, arguments: &[&str], folder: &Path, input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input).and_then(|()| stdin.flush()).map(|()| drop(stdin)));
        child.wait_with_output().unwrap()
    });
    assert!(output.status.success(), "{} {arguments:?}: {}", program.display(), output.status);
    output.stdout
}

#[test]
fn gnu_cpio_unpacks_the_tree() {
    let Some(gnu) = testkit::tool("cpio") else { return };
    let (tree, folder) = (sample(), tempfile::tempdir().unwrap());
    let bytes = archive(&tree);
    let listed = filter(&gnu, &["-t", "--quiet"], folder.path(), &bytes);
    let listed = String::from_utf8_lossy(&listed).replace("\\303\\274", "ü");
    assert_eq!(listed.lines().collect::<Vec<_>>(), tree.iter().map(|(path, _)| path).collect::<Vec<_>>());
    filter(&gnu, &["-i", "-m", "--quiet", "--no-absolute-filenames"], folder.path(), &bytes);
    // cpio sets the times of folders before it fills them.
    assert_same("cpio", &tree, folder.path(), None);
}

/// The same bytes as GNU cpio's own with the imager's options, but for links of folders, which depend on the file system.
#[test]
fn gnu_cpio_writes_the_same_bytes() {
    let (Some(gnu), Some(touch)) = (testkit::tool("cpio"), testkit::tool("touch")) else { return };
    let (tree, folder) = (sample(), tempfile::tempdir().unwrap());
    let ours = archive(&tree);
    filter(&gnu, &["-i", "--quiet"], folder.path(), &ours);
    for (path, _) in tree.iter().collect::<Vec<_>>().into_iter().rev() {
        testkit::run(Command::new(&touch).current_dir(folder.path()).args(["-h", "-d", "@1735689600", path]));
    }
    let names = tree.iter().flat_map(|(path, _)| [path, "\n"]).collect::<String>();
    let arguments = ["-o", "-H", "newc", "--reproducible", "--quiet", "-R", "+0:+0"];
    let theirs = filter(&gnu, &arguments, folder.path(), names.as_bytes());
    let headers = |bytes: &[u8]| {
        let mut headers = Vec::new();
        let (summary, report) = packed::read(Arc::new(bytes.to_vec()), &Limits::default(), &mut |header, data| {
            let mut bytes = Vec::new();
            data.read_to_end(&mut bytes)?;
            let nlink = if header.is_dir() { 0 } else { header.nlink };
            // GNU cpio counts inodes as it meets them.
            headers.push((cpio::Header { nlink, ino: 0, ..header.clone() }, bytes));
            Ok(())
        });
        assert!(report.is_empty(), "{report:?}");
        (headers, summary)
    };
    assert_eq!(theirs.len(), ours.len());
    assert_eq!(headers(&theirs), headers(&ours));
}

#[test]
fn zstd_takes_what_is_appended_for_one_frame() {
    let Some(zstd) = testkit::tool("zstd") else { return };
    let (tree, folder) = (sample(), tempfile::tempdir().unwrap());
    let mut bytes = Vec::new();
    let size = packed::zstd(&cpio::plan(&tree, EPOCH).unwrap(), &mut bytes).unwrap();
    assert_eq!(size, bytes.len() as u64);
    let path = folder.path().join("frame.zst");
    fs_err::write(&path, &bytes).unwrap();
    let told = testkit::run(Command::new(&zstd).arg("-lv").arg(&path));
    assert!(told.contains("# Zstandard Frames: 1\n") && told.contains("Check: XXH64"), "{told}");
    assert!(told.contains("Window Size: 2.00 MiB"), "{told}");
    assert!(filter(&zstd, &["-dc"], folder.path(), &bytes) == archive(&tree));
    // The bytes are the archive's, however its reader hands them out.
    let mut again = Vec::new();
    packed::zstd(&cpio::plan(&tree, EPOCH).unwrap(), &mut again).unwrap();
    assert!(bytes == again);
}

/// Every compression, alone and one behind the other, as the kernel reads them.
#[test]
fn parts_of_every_compression_are_read() {
    let (tree, folder) = (sample(), tempfile::tempdir().unwrap());
    let plain = archive(&tree);
    let wanted: Vec<String> = tree.iter().map(|(path, _)| path.to_owned()).collect();
    let mut parts = vec![(Compression::None, plain.clone())];
    for (compression, program, arguments) in [
        (Compression::Gzip, "gzip", &["-c"][..]),
        (Compression::Xz, "xz", &["-c", "--check=crc32"]),
        (Compression::Xz, "xz", &["-c", "--check=none", "-9"]),
        (Compression::Lzma, "xz", &["-c", "--format=lzma"]),
        (Compression::Zstd, "zstd", &["-c"]),
        (Compression::Zstd, "zstd", &["-c", "--ultra", "-20", "--long=27"]),
    ] {
        let Some(program) = testkit::tool(program) else { return };
        parts.push((compression, filter(&program, arguments, folder.path(), &plain)));
    }
    for (compression, bytes) in &parts {
        assert_eq!(paths(bytes), (wanted.clone(), vec![*compression], vec![]));
    }
    // A plain archive begins at a multiple of 4, whatever is in front of it; zeros may be anywhere between.
    let (mut all, mut kinds) = (Vec::new(), Vec::new());
    for (index, (compression, bytes)) in parts.iter().chain(&parts).enumerate() {
        all.resize(
            if *compression == Compression::None { all.len().next_multiple_of(4) } else { all.len() + index % 3 },
            0,
        );
        all.extend_from_slice(bytes);
        kinds.push(*compression);
    }
    let (found, summary, codes) = read(&all, &Limits::default());
    assert_eq!((found.len(), codes), (tree.len() * kinds.len(), vec![]));
    assert_eq!(summary.segments.iter().map(|segment| segment.compression).collect::<Vec<_>>(), kinds);
    for segment in &summary.segments {
        assert_eq!(segment.entries, tree.len() as u64, "{segment:?}");
        // The padding behind a plain archive is nobody's.
        assert!((plain.len() as u64 - 512..=plain.len() as u64).contains(&segment.unpacked), "{segment:?}");
    }
    // Two archives in one stream are one part; so are two with zeros between that are no multiple of 512.
    let twice = [&plain[..], &[0; 24], &plain].concat();
    let zstd = filter(&testkit::tool("zstd").unwrap(), &["-c"], folder.path(), &twice);
    assert_eq!(paths(&zstd), ([&wanted[..], &wanted].concat(), vec![Compression::Zstd], vec![]));
}

/// The first file of the reference images, which the upstream imager took.
#[test]
fn a_real_initramfs_is_read() {
    let Some(reference) = testkit::reference() else { return };
    let bytes = testkit::read(reference.join("in/initramfs.xz"));
    let (seen, summary, codes) = read(&bytes, &Limits::default());
    assert!(codes.is_empty(), "{codes:?}");
    assert!(seen.iter().any(|(path, ..)| path == "init") && !summary.segments.is_empty());
}

#[test]
fn what_is_wrong_with_a_file_has_its_code() {
    let folder = tempfile::tempdir().unwrap();
    let mut tree = Tree::new();
    tree.insert("a", file(0o644, text(100))).unwrap();
    tree.insert("b", file(0o644, text(100))).unwrap();
    let plain = archive(&tree);
    let edit = |at: usize, with: &[u8]| {
        let mut bytes = plain.clone();
        bytes[at..at + with.len()].copy_from_slice(with);
        bytes
    };
    let pipe = |program: &str, arguments: &[&str], bytes: &[u8]| {
        filter(&testkit::tool(program).unwrap(), arguments, folder.path(), bytes)
    };
    if testkit::tool("zstd").is_none() || testkit::tool("xz").is_none() {
        return;
    }
    let zstd = pipe("zstd", &["-c"], &plain);
    let cases: [(&str, Vec<u8>, &[&str], &[&str]); 20] = [
        ("nothing", vec![], &[], &["INI011"]),
        ("zeros", vec![0; 999], &[], &["INI011"]),
        ("text", b"no archive".to_vec(), &[], &["INI002"]),
        ("behind an archive", [&plain[..], b"text"].concat(), &["a", "b"], &["INI002"]),
        ("at an odd offset", [&[0], &plain[..]].concat(), &[], &["INI002"]),
        ("in a stream", pipe("zstd", &["-c"], &[&plain[..], b"text"].concat()), &["a", "b"], &["INI002"]),
        ("no archive in a stream", pipe("zstd", &["-c"], b"text"), &[], &["INI002"]),
        ("a damaged stream", [&zstd[..zstd.len() / 2], &[0xff; 40]].concat(), &[], &["INI003"]),
        ("a cut stream", zstd[..zstd.len() - 2].to_vec(), &["a", "b"], &["INI003"]),
        ("lz4", [&plain[..], b"\x02\x21\x4c\x18"].concat(), &["a", "b"], &["INI004"]),
        ("the old format", edit(0, b"070707"), &[], &["INI005"]),
        ("no hex", edit(20, b"+1"), &[], &["INI005"]),
        ("cut in data", plain[..200].to_vec(), &[], &["INI006"]),
        ("cut in a header", plain[..300].to_vec(), &["a"], &["INI006"]),
        ("cut in a stream", pipe("zstd", &["-c"], &plain[..300]), &["a"], &["INI006"]),
        ("no NUL", edit(111, b"x"), &[], &["INI008"]),
        ("no name", edit(94, b"00000000"), &[], &["INI008"]),
        ("a long name", edit(94, b"FFFFFFFF"), &[], &["INI008"]),
        ("a wrong sum", edit(5, b"2"), &["a"], &["INI009"]),
        ("a check of 64 bits", pipe("xz", &["-c", "--check=crc64"], &plain), &["a", "b"], &["INI012"]),
    ];
    for (what, bytes, entries, codes) in cases {
        let (found, _, said) = paths(&bytes);
        assert_eq!((found, said), (entries.iter().map(ToString::to_string).collect(), codes.to_vec()), "{what}");
    }
    let limited = |limits: Limits| read(&[&plain[..], &plain, &zstd].concat(), &limits).2;
    let limits = Limits::default;
    assert_eq!(limited(limits()), [""; 0]);
    assert_eq!(limited(Limits { unpacked: 1500, ..limits() }), ["INI007"]);
    assert_eq!(limited(Limits { entries: 5, ..limits() }), ["INI007"]);
    assert_eq!(limited(Limits { segments: 2, ..limits() }), ["INI007"]);
    assert_eq!(limited(Limits { name: 1, ..limits() }), ["INI008"]);
    // A receiver that is full.
    let (_, report) = packed::read(Arc::new(plain), &limits(), &mut |_, _| Err(io::Error::other("enough")));
    assert_eq!(
        report.iter().map(|finding| (finding.code, finding.message.as_str())).collect::<Vec<_>>(),
        [("INI010", "enough")]
    );
    // A medium that fails.
    struct Broken;
    impl imgcore::ReadAt for Broken {
        fn size(&self) -> u64 {
            512
        }
        fn read_at(&self, _: u64, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("broken"))
        }
    }
    let (_, report) = packed::read(Arc::new(Broken), &limits(), &mut |_, _| Ok(()));
    assert_eq!(report.iter().map(|finding| finding.code).collect::<Vec<_>>(), ["INI001"]);
}

/// A thousandfold expansion stops at the limit, not at the end of memory.
#[test]
fn bombs_stop_at_the_limit() {
    let Some(zstd) = testkit::tool("zstd") else { return };
    let folder = tempfile::tempdir().unwrap();
    let zeros = filter(&zstd, &["-c", "-19"], folder.path(), &vec![0; 64 << 20]);
    let limits = Limits { unpacked: 1 << 20, ..Limits::default() };
    assert_eq!(read(&zeros, &limits).2, ["INI007"]);
    // A header that promises 4 GiB in a file of a few bytes.
    let mut tree = Tree::new();
    tree.insert("a", file(0o644, [1])).unwrap();
    let mut bytes = archive(&tree);
    bytes[54..62].copy_from_slice(b"FFFFFFFF");
    assert_eq!(read(&bytes, &limits).2, ["INI006"]);
}

#[test]
fn damage_never_panics() {
    let mut tree = Tree::new();
    tree.insert("etc/a", file(0o644, text(1000))).unwrap();
    tree.insert("etc/b", Node::symlink("a")).unwrap();
    let plain = archive(&tree);
    let mut both = plain.clone();
    packed::zstd(&cpio::plan(&tree, EPOCH).unwrap(), &mut both).unwrap();
    let limits = Limits { unpacked: 1 << 20, entries: 100, ..Limits::default() };
    testkit::mutants(1, 3000, &both, |bytes| drop(read(bytes, &limits)));
}

#[test]
fn what_the_format_cannot_hold_is_refused() {
    let with = |node: Node| {
        let mut tree = Tree::new();
        tree.insert("a", node).unwrap();
        tree
    };
    struct Large;
    impl imgcore::ReadAt for Large {
        fn size(&self) -> u64 {
            1 << 32
        }
        fn read_at(&self, _: u64, _: &mut [u8]) -> io::Result<usize> {
            Ok(0)
        }
    }
    let large = Node::file(0o644, Blob::new("large", Arc::new(Large), None));
    for (tree, epoch, word) in [
        (with(large), Epoch(0), "a: 4294967296 is more than the format holds"),
        (with(file(0o644, [1])), Epoch(1 << 32), "the time of the archive"),
        (with(file(0o10_000, [1])), Epoch(0), "the mode of a"),
        (with(Node::symlink("")), Epoch(0), "has a target"),
        (with(Node::symlink("a\0")), Epoch(0), "no NUL"),
    ] {
        let error = cpio::plan(&tree, epoch).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
    // A file that became shorter.
    let short = Node::file(0o644, Blob::new("short", Arc::new(Large), None).slice(0..10));
    let error = cpio::plan(&with(short), Epoch(0)).unwrap().write_to(&mut Vec::new()).unwrap_err();
    assert!(error.io().is_some() && error.to_string().starts_with("a cannot be read"), "{error}");
}
