//! What we write, read by squashfs-tools and by the kernel.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::items_after_statements,
    clippy::cast_possible_truncation,
    reason = "a test may fail by panic, use std::fs and name a type where it needs one"
)]

use std::{collections::BTreeMap, io::Cursor, path::Path, process::Command};

use imgcore::{Blob, Epoch};
use initramfs::{Node, Tree, squashfs};
use testkit::Rng;

mod common;

use common::{assert_same, text};

const EPOCH: Epoch = Epoch(1_735_689_600);

fn options() -> squashfs::Options {
    squashfs::Options { epoch: EPOCH, level: 3, ..squashfs::Options::default() }
}

fn bytes(tree: &Tree, options: &squashfs::Options) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    let written = squashfs::plan(tree, options).unwrap().write_to(&mut out).unwrap();
    let bytes = out.into_inner();
    assert_eq!(written.size, bytes.len() as u64);
    assert!(bytes.len().is_multiple_of(4096));
    bytes
}

fn file(mode: u32, data: impl Into<Vec<u8>>) -> Node {
    Node::file(mode, Blob::from_bytes("test", data))
}

fn labelled(mut node: Node, attributes: &[(&str, &[u8])]) -> Node {
    node.xattrs = attributes.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec())).collect();
    node
}

/// Every case that has a form of its own in the format.
fn trees() -> Vec<(&'static str, Tree)> {
    let mut rng = Rng::new(1);
    let tree = |nodes: Vec<(String, Node)>| {
        let mut tree = Tree::new();
        for (path, node) in nodes {
            tree.insert(path, node).unwrap();
        }
        tree
    };
    let one = |path: &str, node: Node| vec![(path.to_owned(), node)];
    let label = [("security.selinux", &b"system_u:object_r:etc_t:s0\0"[..])];
    let block = 128 << 10;
    vec![
        ("nothing", Tree::new()),
        ("an empty file", tree(one("a", file(0o644, [])))),
        ("a file of one byte", tree(one("a", file(0o644, [1])))),
        ("a whole block", tree(one("a", file(0o600, text(block))))),
        ("a block and a byte", tree(one("a", file(0o600, text(block + 1))))),
        ("bytes that do not shrink", tree(one("a", file(0o600, rng.bytes(3 * block + 77))))),
        ("zeros", tree(one("a", file(0o600, vec![0; 5 * block + 5])))),
        ("a hole in the middle", tree(one("a", file(0o600, [text(block), vec![0; 2 * block], text(100)].concat())))),
        ("links and modes", {
            tree(vec![
                ("bin/su".to_owned(), file(0o4755, text(10))),
                ("bin/sh".to_owned(), Node::symlink("su")),
                ("tmp".to_owned(), Node::dir(0o1777)),
                ("long".to_owned(), Node::symlink("x/".repeat(2000))),
            ])
        }),
        ("one file thrice", {
            let data = text(block * 2 + 10);
            tree((0..3).map(|index| (format!("f{index}"), file(0o644, data.clone()))).collect())
        }),
        ("many small files", {
            tree((0..700).map(|index| (format!("d/{index:04}"), file(0o644, rng.bytes(index % 977)))).collect())
        }),
        ("a large folder", {
            let name = |index: usize| format!("etc/{index:05}-{}", "n".repeat(index % 200));
            tree((0..3000).map(|index| (name(index), file(0o644, [index as u8]))).collect())
        }),
        ("many folders", tree((0..600).map(|index| (format!("{index}/x/y"), Node::dir(0o700))).collect())),
        ("deep", tree(one(&vec!["d"; 120].join("/"), file(0o644, [1])))),
        ("names", {
            let names = ["ü", "a b", "-", "a\nb", "A", "~", "\u{1f4a9}", &"n".repeat(255)].map(String::from);
            tree(names.into_iter().map(|name| (name, file(0o644, [1]))).collect())
        }),
        ("attributes on everything", {
            tree(vec![
                ("d".to_owned(), labelled(Node::dir(0o755), &label)),
                ("d/f".to_owned(), labelled(file(0o644, text(200_000)), &label)),
                ("d/g".to_owned(), labelled(file(0o644, text(2)), &[("user.a", b""), ("user.b", &[0, 255])])),
                ("d/l".to_owned(), labelled(Node::symlink("f"), &label)),
                ("e".to_owned(), labelled(Node::dir(0o755), &[("trusted.overlay.opaque", b"y"), label[0]])),
            ])
        }),
        ("many different attributes", {
            let node = |index: usize| labelled(file(0o644, [1]), &[("user.n", &text(index)[..])]);
            tree((0..600).map(|index| (format!("{index}"), node(index))).collect())
        }),
    ]
}

#[test]
fn unsquashfs_finds_what_was_put_in() {
    let Some(unsquashfs) = testkit::tool("unsquashfs") else { return };
    for (what, tree) in trees() {
        for fragments in [squashfs::Fragments::Small, squashfs::Fragments::All, squashfs::Fragments::None] {
            // Thousands of files take their time, and have no end that could be packed otherwise.
            if tree.len() > 1000 && fragments != squashfs::Fragments::Small {
                continue;
            }
            let folder = tempfile::tempdir().unwrap();
            let image = folder.path().join("image.sqsh");
            fs_err::write(&image, bytes(&tree, &squashfs::Options { fragments, ..options() })).unwrap();
            let root = folder.path().join("root");
            let mut command = Command::new(&unsquashfs);
            testkit::run(command.arg("-strict-errors").arg("-d").arg(&root).arg(&image));
            assert_same(&format!("{what}, {fragments:?}"), &tree, &root, Some(EPOCH));
        }
    }
}

#[test]
fn the_kernel_mounts_it() {
    if !common::may_mount() {
        return;
    }
    for (what, tree) in trees() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("image.sqsh");
        fs_err::write(&image, bytes(&tree, &options())).unwrap();
        let root = folder.path().join("root");
        fs_err::create_dir(&root).unwrap();
        let mounted = common::Mounted::new(&image, &root);
        assert_same(what, &tree, mounted.path(), Some(EPOCH));
    }
}

#[test]
fn the_bytes_depend_on_nothing_but_the_tree_and_the_options() {
    for (what, tree) in trees() {
        let one = bytes(&tree, &options());
        let many = bytes(&tree, &squashfs::Options { workers: 5, ..options() });
        assert!(one == many, "{what}");
    }
}

#[test]
fn what_the_format_cannot_hold_is_refused() {
    let with = |node: Node| {
        let mut tree = Tree::new();
        tree.insert("a", node).unwrap();
        tree
    };
    let plain = || with(file(0o644, [1]));
    let attribute = |name: &str, size: usize| {
        let mut node = file(0o644, [1]);
        node.xattrs = BTreeMap::from([(name.to_owned(), vec![0; size])]);
        with(node)
    };
    let options = squashfs::Options::default;
    for (tree, options, word) in [
        (plain(), squashfs::Options { epoch: Epoch(1 << 32), ..options() }, "more than the format holds"),
        (plain(), squashfs::Options { level: 0, ..options() }, "expected 1 to 22"),
        (plain(), squashfs::Options { block_size: 5000, ..options() }, "power of two"),
        (plain(), squashfs::Options { block_size: 2 << 20, ..options() }, "power of two"),
        (plain(), squashfs::Options { root: Node::symlink("x"), ..options() }, "expected a folder"),
        (with(file(0o100_644, [1])), options(), "the mode of a"),
        (with(Node::symlink("")), options(), "has a target"),
        (attribute("system.posix_acl_access", 1), options(), "expected user., trusted. or security."),
        (attribute("user.", 1), options(), "expected user., trusted. or security."),
        (attribute(&format!("user.{}", "n".repeat(251)), 1), options(), "at most 255 bytes"),
        (attribute("user.n", 65_537), options(), "at most 65536 bytes"),
    ] {
        let error = squashfs::plan(&tree, &options).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
}

/// A file of more than 4 GiB, nearly all of it zeros, which only the long inode can state.
#[test]
fn files_above_4_gib_are_written() {
    struct Huge(u64);
    impl imgcore::ReadAt for Huge {
        fn size(&self) -> u64 {
            self.0
        }
        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<usize> {
            let count = usize::try_from(self.0.saturating_sub(offset)).unwrap().min(buffer.len());
            buffer[..count].fill(0);
            // The very last byte is a one.
            if count > 0 && offset + count as u64 == self.0 {
                buffer[count - 1] = 1;
            }
            Ok(count)
        }
    }
    let Some(unsquashfs) = testkit::tool("unsquashfs") else { return };
    let size = (4 << 30) + 77_777;
    let mut tree = Tree::new();
    tree.insert("huge", Node::file(0o644, Blob::new("huge", std::sync::Arc::new(Huge(size)), None))).unwrap();
    let image = bytes(&tree, &squashfs::Options { block_size: 1 << 20, ..options() });
    assert!(image.len() <= 64 << 10);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("image.sqsh");
    fs_err::write(&path, &image).unwrap();
    let listed = testkit::run(Command::new(unsquashfs).args([Path::new("-lln"), &path]));
    assert!(listed.lines().any(|line| line.contains("4295045073") && line.ends_with("huge")), "{listed}");
    let (image, report) = squashfs::read(std::sync::Arc::new(image), &squashfs::Limits::default());
    assert!(report.is_empty());
    let file = image.unwrap().file("huge").unwrap();
    assert_eq!(file.slice(size - 3..size).read_all(3).unwrap(), [0, 0, 1]);
    if common::may_mount() {
        let root = folder.path().join("root");
        fs_err::create_dir(&root).unwrap();
        let mounted = common::Mounted::new(&path, &root);
        let mut file = fs_err::File::open(mounted.path().join("huge")).unwrap();
        std::io::Seek::seek(&mut file, std::io::SeekFrom::End(-3)).unwrap();
        let mut end = Vec::new();
        std::io::Read::read_to_end(&mut file, &mut end).unwrap();
        assert_eq!((file.metadata().unwrap().len(), end), (size, vec![0, 0, 1]));
    }
}

/// Against mksquashfs on one real tree: the sources of the standard library, or what else is large and at hand.
#[test]
fn the_size_is_near_that_of_mksquashfs() {
    let Some(mksquashfs) = testkit::tool("mksquashfs") else { return };
    let folder = tempfile::tempdir().unwrap();
    let source = testkit::workspace().join("crates");
    let tree = common::tree_of(&source);
    let ours = bytes(&tree, &squashfs::Options::default()).len();
    let theirs = folder.path().join("theirs.sqsh");
    testkit::run(Command::new(mksquashfs).args([&source, Path::new(&theirs)]).args([
        "-all-root",
        "-noappend",
        "-no-progress",
        "-comp",
        "zstd",
        "-Xcompression-level",
        "18",
    ]));
    let theirs = usize::try_from(fs_err::metadata(theirs).unwrap().len()).unwrap();
    assert!(ours.abs_diff(theirs) * 50 < theirs, "ours {ours}, theirs {theirs}");
}
