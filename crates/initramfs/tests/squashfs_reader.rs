//! What mksquashfs writes, read by us.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::items_after_statements,
    clippy::print_stderr,
    clippy::cast_possible_truncation,
    reason = "a test may fail by panic, use std::fs and name a type where it needs one"
)]

use std::{
    io::Cursor,
    os::unix::fs::{MetadataExt as _, PermissionsExt},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use imgcore::ReadAt as _;
use initramfs::{
    Kind,
    packed::{self, Compression},
    squashfs::{self, EntryKind, Image, Limits},
};
use testkit::Rng;

mod common;

use common::text;

fn open(bytes: Vec<u8>) -> Image {
    let (image, report) = squashfs::read(Arc::new(bytes), &Limits::default());
    assert!(report.is_empty(), "{report:?}");
    image.expect("an image")
}

/// A folder with everything that a file system can hold without root's rights.
fn source(folder: &Path) -> PathBuf {
    let root = folder.join("source");
    let mut rng = Rng::new(7);
    let block = 128 << 10;
    let write = |path: &str, bytes: &[u8]| {
        let path = root.join(path);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, bytes).unwrap();
    };
    write("empty", &[]);
    write("one", &[1]);
    write("text", &text(3 * block + 1000));
    write("whole", &text(2 * block));
    write("noise", &rng.bytes(block + 5000));
    write("usr/lib/modules/6.12.40-demo/kernel/a.ko", &text(50_000));
    write("usr/lib/modules/6.12.40-demo/kernel/b.ko", &text(50_000));
    write("usr/lib/modules-load.d/x", b"x");
    for index in 0..1500 {
        write(&format!("large/{index:04}-{}", "n".repeat(index % 120)), &rng.bytes(index % 50));
    }
    let sparse = fs_err::File::create(root.join("sparse")).unwrap();
    sparse.set_len(7 * block as u64 + 13).unwrap();
    fs_err::hard_link(root.join("text"), root.join("hard")).unwrap();
    fs_err::os::unix::fs::symlink("../one", root.join("usr/link")).unwrap();
    testkit::run(Command::new("mkfifo").arg(root.join("fifo")));
    fs_err::set_permissions(root.join("one"), PermissionsExt::from_mode(0o4711)).unwrap();
    fs_err::set_permissions(root.join("usr"), PermissionsExt::from_mode(0o1750)).unwrap();
    root
}

/// Asserts that the image holds what is in the folder.
#[track_caller]
fn assert_holds(what: &str, image: &Image, root: &Path) {
    let mut wanted: Vec<PathBuf> = Vec::new();
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs_err::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if fs_err::symlink_metadata(&path).unwrap().is_dir() {
                open.push(path.clone());
            }
            wanted.push(path.strip_prefix(root).unwrap().to_owned());
        }
    }
    // Paths compare by their components, which is the order of a walk.
    wanted.sort();
    let found: Vec<PathBuf> = image.entries().iter().map(|entry| PathBuf::from(&entry.path)).collect();
    assert_eq!(found, wanted, "{what}");
    for entry in image.entries() {
        let path = root.join(&entry.path);
        let (meta, shown) = (fs_err::symlink_metadata(&path).unwrap(), format!("{what}: {}", entry.path));
        assert_eq!(entry.mode, meta.mode() & 0o7777, "{shown}");
        assert_eq!(i64::from(entry.mtime), meta.mtime(), "{shown}");
        assert_eq!(image.get(&entry.path), Some(entry), "{shown}");
        match &entry.kind {
            EntryKind::Dir => assert!(meta.is_dir(), "{shown}"),
            EntryKind::File { size } => {
                assert_eq!(*size, meta.len(), "{shown}");
                let bytes = image.file(&entry.path).unwrap().read_all(u64::MAX).unwrap();
                assert!(bytes == testkit::read(&path), "{shown}: other bytes");
            }
            EntryKind::Symlink { target } => {
                assert_eq!(Path::new(target), fs_err::read_link(&path).unwrap(), "{shown}");
            }
            EntryKind::Fifo => assert_eq!(meta.mode() & 0o170_000, 0o010_000, "{shown}"),
            other => panic!("{shown}: {other:?}"),
        }
    }
}

const PACKINGS: [&[&str]; 10] = [
    &["-comp", "gzip"],
    &["-comp", "xz"],
    &["-comp", "zstd", "-Xcompression-level", "18"],
    &["-comp", "xz", "-Xbcj", "arm", "-Xdict-size", "50%"],
    &["-comp", "lzma"],
    &["-noI", "-noD", "-noF", "-noX"],
    &["-no-fragments", "-b", "4096", "-comp", "zstd"],
    &["-tailends", "-b", "1M", "-comp", "zstd"],
    &["-no-duplicates", "-no-exports", "-no-sparse"],
    &["-comp", "zstd", "-no-hardlinks"],
];

fn pack(mksquashfs: &Path, root: &Path, folder: &Path, more: &[&str]) -> Option<Vec<u8>> {
    let image = folder.join("image.sqsh");
    let mut command = Command::new(mksquashfs);
    command.args([root, &image]).args(["-noappend", "-no-progress", "-quiet"]).args(more);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    if said.contains("Compressor \"lzma\" is not supported") || said.contains("Invalid compressor") {
        eprintln!("skipped: this mksquashfs knows no {more:?}");
        return None;
    }
    assert!(output.status.success(), "{command:?}: {said}");
    Some(testkit::read(image))
}

#[test]
fn every_packing_of_mksquashfs_is_read() {
    let Some(mksquashfs) = testkit::tool("mksquashfs") else { return };
    let folder = tempfile::tempdir().unwrap();
    let root = source(folder.path());
    for packing in PACKINGS {
        if let Some(bytes) = pack(&mksquashfs, &root, folder.path(), packing) {
            let image = open(bytes);
            assert_holds(&packing.join(" "), &image, &root);
            let one_file = image.get("text").unwrap().inode == image.get("hard").unwrap().inode;
            assert_eq!(one_file, !packing.contains(&"-no-hardlinks"), "{packing:?}");
        }
    }
}

#[test]
fn pseudo_devices_and_attributes_are_read() {
    let Some(mksquashfs) = testkit::tool("mksquashfs") else { return };
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("source");
    fs_err::create_dir(&root).unwrap();
    fs_err::write(root.join("f"), b"f").unwrap();
    let large = format!("f x user.large={}", "v".repeat(9000));
    let pseudo = [
        "-p",
        "tty c 666 5 7 4 1",
        "-p",
        "sda b 660 0 6 8 0",
        "-p",
        "pipe i 600 1 2 f",
        "-p",
        "sock i 600 1 2 s",
        "-p",
        "f x security.selinux=system_u:object_r:lib_t:s0",
        "-p",
        "f x trusted.t=0sAAEC",
        "-p",
        "tty x security.on=device",
        "-p",
        "/ x user.on=root",
        "-p",
        &large,
        "-p",
        "pipe x security.on=device",
    ];
    let image = open(pack(&mksquashfs, &root, folder.path(), &pseudo).unwrap());
    let entry = |path: &str| image.get(path).unwrap_or_else(|| panic!("{path}"));
    // `new_encode_dev` of the kernel: the minor's low byte, the major from bit 8.
    assert_eq!(entry("tty").kind, EntryKind::CharDevice(4 << 8 | 1));
    assert_eq!(entry("sda").kind, EntryKind::BlockDevice(8 << 8));
    assert_eq!((entry("pipe").kind.clone(), entry("sock").kind.clone()), (EntryKind::Fifo, EntryKind::Socket));
    assert_eq!((entry("tty").uid, entry("tty").gid, entry("tty").mode), (5, 7, 0o666));
    let attribute = |path: &str, name: &str| entry(path).xattrs.get(name).map(|value| value.escape_ascii().to_string());
    assert_eq!(attribute("f", "security.selinux").as_deref(), Some("system_u:object_r:lib_t:s0"));
    assert_eq!(attribute("f", "trusted.t").as_deref(), Some("\\x00\\x01\\x02"));
    assert_eq!(attribute("f", "user.large").map(|value| value.len()), Some(9000));
    assert_eq!(attribute("tty", "security.on").as_deref(), Some("device"));
    assert_eq!(image.root().xattrs.get("user.on").map(Vec::as_slice), Some(&b"root"[..]));
    let (tree, report) = image.subtree("");
    assert_eq!(tree.iter().map(|(path, _)| path).collect::<Vec<_>>(), ["f"]);
    assert_eq!(report.iter().map(|finding| finding.code).collect::<Vec<_>>(), ["SQF013"; 4]);
}

#[test]
fn a_folder_is_taken_over_into_another_image() {
    let Some(mksquashfs) = testkit::tool("mksquashfs") else { return };
    let folder = tempfile::tempdir().unwrap();
    let root = source(folder.path());
    let image = open(pack(&mksquashfs, &root, folder.path(), &["-comp", "xz"]).unwrap());
    let (tree, report) = image.subtree("usr/lib/modules");
    assert!(report.is_empty());
    let mut copy = Cursor::new(Vec::new());
    let written = squashfs::plan(&tree, &squashfs::Options::default()).unwrap().write_to(&mut copy).unwrap();
    assert_eq!(written.duplicates, 1);
    let copy = open(copy.into_inner());
    let paths: Vec<_> = copy.entries().iter().map(|entry| entry.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "usr",
            "usr/lib",
            "usr/lib/modules",
            "usr/lib/modules/6.12.40-demo",
            "usr/lib/modules/6.12.40-demo/kernel",
            "usr/lib/modules/6.12.40-demo/kernel/a.ko",
            "usr/lib/modules/6.12.40-demo/kernel/b.ko",
        ]
    );
    assert_eq!(copy.list("usr/lib").map(|entry| entry.path.as_str()).collect::<Vec<_>>(), ["usr/lib/modules"]);
    assert_eq!(copy.file("usr/lib/modules/6.12.40-demo/kernel/b.ko").unwrap().read_all(50_000).unwrap(), text(50_000));
    assert!(copy.file("usr").is_none() && copy.get("usr/li").is_none() && image.subtree("none").0.is_empty());
}

/// Files are read in any order, in pieces of any size, by several threads.
#[test]
fn files_are_read_at_any_offset() {
    let Some(mksquashfs) = testkit::tool("mksquashfs") else { return };
    let folder = tempfile::tempdir().unwrap();
    let root = source(folder.path());
    let image = open(pack(&mksquashfs, &root, folder.path(), &["-comp", "zstd", "-tailends"]).unwrap());
    std::thread::scope(|scope| {
        for (seed, path) in [(1, "text"), (2, "noise"), (3, "sparse"), (4, "text")] {
            let (image, root) = (&image, &root);
            scope.spawn(move || {
                let (blob, wanted) = (image.file(path).unwrap(), testkit::read(root.join(path)));
                let mut rng = Rng::new(seed);
                for _ in 0..300 {
                    let from = rng.below(wanted.len());
                    let to = (from + rng.below(200_000)).min(wanted.len());
                    let mut bytes = vec![0xaa; to - from];
                    blob.read_exact_at(from as u64, &mut bytes).unwrap();
                    assert!(bytes == wanted[from..to], "{path} {from}..{to}");
                }
            });
        }
    });
}

/// What we write we read, attributes and all.
#[test]
fn our_own_images_are_read() {
    let mut tree = common::tree_of(&testkit::workspace().join("crates/initramfs"));
    let mut node = initramfs::Node::symlink("there");
    node.xattrs = std::collections::BTreeMap::from([("security.selinux".to_owned(), b"label".to_vec())]);
    tree.insert("link", node).unwrap();
    let mut out = Cursor::new(Vec::new());
    squashfs::plan(&tree, &squashfs::Options { level: 1, ..Default::default() }).unwrap().write_to(&mut out).unwrap();
    let (read, report) = open(out.into_inner()).subtree("");
    assert!(report.is_empty());
    assert_eq!(read.len(), tree.len());
    for ((path, ours), (wanted, theirs)) in read.iter().zip(tree.iter()) {
        assert_eq!((path, ours.mode, &ours.xattrs), (wanted, theirs.mode, &theirs.xattrs));
        match (&ours.kind, &theirs.kind) {
            (Kind::File(ours), Kind::File(theirs)) => {
                assert_eq!(ours.compute_digest().unwrap(), theirs.compute_digest().unwrap(), "{path}");
            }
            (Kind::Symlink(ours), Kind::Symlink(theirs)) => assert_eq!(ours, theirs),
            (ours, theirs) => assert!(matches!((ours, theirs), (Kind::Dir, Kind::Dir))),
        }
    }
}

/// A part of a file.
struct Part(std::sync::Mutex<fs_err::File>, u64, u64);

impl imgcore::ReadAt for Part {
    fn size(&self) -> u64 {
        self.2
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<usize> {
        use std::io::{Read as _, Seek as _};
        let count = usize::try_from(self.2.saturating_sub(offset)).unwrap().min(buffer.len());
        let mut file = self.0.lock().unwrap();
        file.seek(std::io::SeekFrom::Start(self.1 + offset))?;
        file.read(&mut buffer[..count])
    }
}

/// What the upstream imager made of an extension: the original initramfs, one zstd frame behind it, and in that the
/// extension's SquashFS. Its unified kernel image lies in one piece on the ESP.
#[test]
fn extensions_of_the_upstream_imager_are_read() {
    let Some(reference) = testkit::reference() else { return };
    let original = testkit::read(reference.join("in/initramfs.xz"));
    let (_, before) = original.split_at(original.len() - 64);
    for case in ["v1.10.6-extension", "v1.13.9-extension"] {
        let path = reference.join("shared").join(case).join("metal-arm64.raw");
        let mut file = fs_err::File::open(&path).unwrap();
        let end = {
            use std::io::Read as _;
            // The last bytes of each window are kept in front of the next; `at` is the offset behind them.
            let (mut window, mut at) = (vec![0; 4 << 20], 0_u64);
            loop {
                let count = file.read(&mut window[64..]).unwrap();
                assert!(count > 0, "{case}: no initramfs");
                if let Some(found) = window[..64 + count].windows(64).position(|bytes| bytes == before) {
                    break at + found as u64;
                }
                window.copy_within(count..count + 64, 0);
                at += count as u64;
            }
        };
        let start = end - original.len() as u64;
        let size = file.metadata().unwrap().len() - start;
        let data = Arc::new(Part(std::sync::Mutex::new(file), start, size.min(64 << 20)));
        let (mut names, mut images) = (Vec::new(), Vec::new());
        let (summary, _) = packed::read(data, &packed::Limits::default(), &mut |header, data| {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(data, &mut bytes)?;
            names.push(header.path().into_owned());
            if header.path().ends_with(".sqsh") {
                images.push(bytes);
            }
            Ok(())
        });
        let kinds: Vec<_> = summary.segments.iter().take(2).map(|segment| segment.compression).collect();
        assert_eq!(kinds, [Compression::Xz, Compression::Zstd], "{case}");
        let added = usize::try_from(summary.segments[0].entries).unwrap();
        let firmware = ["usr", "usr/lib", "usr/lib/firmware", "usr/lib/firmware/rtl_nic"];
        assert_eq!(names[added..][..6], [&["0.sqsh", "extensions.yaml"][..], &firmware].concat(), "{case}");
        let image = open(images.pop().unwrap());
        assert_eq!(image.superblock().compression, squashfs::Compression::Zstd);
        let entries: Vec<_> =
            image.entries().iter().map(|entry| (entry.path.as_str(), entry.mode, entry.mtime)).collect();
        assert_eq!(entries, [("usr", 0o755, 1_700_000_000), ("usr/lib", 0o755, 1_700_000_000)], "{case}");
    }
}
