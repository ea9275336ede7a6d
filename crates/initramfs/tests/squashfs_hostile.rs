//! SquashFS files that are damaged or made to hurt.
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::items_after_statements,
    clippy::type_complexity,
    clippy::cast_possible_truncation,
    reason = "a test may fail by panic, use std::fs and name a type where it needs one"
)]

use std::{io::Cursor, process::Command, sync::Arc, time::Instant};

use imgcore::{Blob, Epoch};
use initramfs::{
    Node, Tree,
    squashfs::{self, Image, Limits},
};
use testkit::Rng;

mod common;

use common::text;

fn limits() -> Limits {
    Limits { entries: 1000, bytes: 8 << 20, metadata: 4 << 20 }
}

fn file(data: impl Into<Vec<u8>>) -> Node {
    Node::file(0o644, Blob::from_bytes("test", data))
}

fn labelled(mut node: Node) -> Node {
    node.xattrs.insert("security.selinux".to_owned(), b"label".to_vec());
    node
}

fn bytes(nodes: Vec<(&str, Node)>) -> Vec<u8> {
    let mut tree = Tree::new();
    for (path, node) in nodes {
        tree.insert(path, node).unwrap();
    }
    let mut out = Cursor::new(Vec::new());
    let options = squashfs::Options { level: 1, epoch: Epoch(1), ..Default::default() };
    squashfs::plan(&tree, &options).unwrap().write_to(&mut out).unwrap();
    out.into_inner()
}

fn sample() -> Vec<u8> {
    bytes(vec![
        ("etc/a", labelled(file(text(300_000)))),
        ("etc/b", file(Rng::new(1).bytes(1000))),
        ("etc/c", labelled(Node::symlink("a"))),
        ("usr/lib/z", file(vec![0; 500_000])),
    ])
}

fn read(bytes: &[u8], limits: &Limits) -> (Option<Image>, Vec<&'static str>, String) {
    let (image, report) = squashfs::read(Arc::new(bytes.to_vec()), limits);
    let text = report.iter().map(|finding| finding.message.clone()).collect::<Vec<_>>().join("; ");
    (image, report.iter().map(|finding| finding.code).collect(), text)
}

/// Reads all that an image gives.
fn drain(image: &Image) -> (usize, u64) {
    let (tree, _) = image.subtree("");
    let (mut failed, mut read) = (0, 0);
    for (_, node) in tree.iter() {
        if let Some(data) = node.data() {
            match data.read_all(16 << 20) {
                Ok(bytes) => read += bytes.len() as u64,
                Err(_) => failed += 1,
            }
        }
    }
    (failed, read)
}

fn put(bytes: &mut [u8], at: usize, with: &[u8]) {
    bytes[at..at + with.len()].copy_from_slice(with);
}

fn word(bytes: &[u8], at: usize) -> usize {
    usize::try_from(u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())).unwrap()
}

/// An image with metadata that is not compressed, in which every structure can be changed: the offsets of inodes and
/// folders.
fn open_image(root: &std::path::Path) -> Option<(Vec<u8>, usize, usize)> {
    let mksquashfs = testkit::tool("mksquashfs")?;
    let image = root.with_extension("sqsh");
    testkit::run(
        Command::new(mksquashfs)
            .args([root, &image])
            .args(["-noappend", "-quiet", "-no-progress", "-noI", "-noX"])
            .args(["-noD", "-no-fragments", "-all-root", "-comp", "zstd"]),
    );
    let bytes = testkit::read(image);
    // Behind the two bytes of the first block's length.
    let (inodes, folders) = (word(&bytes, 64) + 2, word(&bytes, 72) + 2);
    Some((bytes, inodes, folders))
}

#[test]
fn what_is_wrong_with_a_file_has_its_code() {
    let good = sample();
    let edit = |at: usize, with: &[u8]| {
        let mut bytes = good.clone();
        put(&mut bytes, at, with);
        bytes
    };
    let inodes = word(&good, 64);
    for (what, bytes, is_read, code, says) in [
        ("nothing", vec![], false, "SQF002", "0 bytes"),
        ("text", text(5000), false, "SQF002", "expected \"hsqs\""),
        ("big-endian", edit(0, b"sqsh"), false, "SQF002", "big-endian"),
        ("version 3", edit(28, &[3]), false, "SQF002", "SquashFS 3.0"),
        ("odd blocks", edit(12, &[1]), false, "SQF003", "power of two"),
        ("other logarithm", edit(22, &[16]), false, "SQF003", "logarithm 16"),
        ("logarithm of no number", edit(22, &[200]), false, "SQF003", "logarithm 200"),
        ("cut", good[..4096].to_vec(), false, "SQF003", "not copied completely"),
        ("tables in the wrong order", edit(72, &inodes.to_le_bytes()), false, "SQF003", "cannot be"),
        ("owners behind the end", edit(48, &[0xff; 7]), false, "SQF003", "behind the end"),
        ("lzo", edit(20, &[3]), false, "SQF004", "LZO"),
        ("lz4", edit(20, &[5]), false, "SQF004", "LZ4"),
        ("another compression", edit(20, &[77]), false, "SQF004", "something unknown"),
        ("wrong compression", edit(20, &[1]), false, "SQF006", "cannot be unpacked"),
        ("no owners", edit(word(&good, 48), &[0xff; 7]), true, "SQF005", "lies behind the end"),
        ("no such root", edit(32, &[0xff, 0x1f]), false, "SQF006", "the inode of /"),
        ("damaged inodes", edit(inodes + 6, &[0xff; 30]), false, "SQF006", "the inode of /"),
        ("damaged folders", edit(word(&good, 72) + 2, &[0; 20]), true, "SQF007", "the folder /"),
        ("no table of attributes", edit(56, &[0xff; 8]), true, "SQF012", "no table"),
        ("no shared block", edit(16, &[0; 4]), true, "SQF014", "there are 0"),
    ] {
        let (image, codes, told) = read(&bytes, &limits());
        assert_eq!(image.is_some(), is_read, "{what}: {told}");
        assert!(codes.contains(&code) && told.contains(says), "{what}: {codes:?} {told}");
        if let Some(image) = image {
            drain(&image);
        }
    }
    struct Broken;
    impl imgcore::ReadAt for Broken {
        fn size(&self) -> u64 {
            4096
        }
        fn read_at(&self, _: u64, _: &mut [u8]) -> std::io::Result<usize> {
            Err(std::io::Error::other("broken"))
        }
    }
    let (image, report) = squashfs::read(Arc::new(Broken), &limits());
    assert!(image.is_none() && report.iter().all(|finding| finding.code == "SQF001") && report.len() == 1);
}

#[test]
fn every_structure_can_lie() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    fs_err::create_dir_all(root.join("aa/bb")).unwrap();
    fs_err::write(root.join("aa/f0"), text(300_000)).unwrap();
    fs_err::write(root.join("aa/f1"), text(200_000)).unwrap();
    fs_err::os::unix::fs::symlink("f0", root.join("aa/l0")).unwrap();
    let Some((good, inodes, folders)) = open_image(&root) else { return };
    assert_eq!(read(&good, &limits()).1, [""; 0]);
    let find = |name: &[u8]| good[folders..].windows(name.len()).position(|at| at == name).unwrap() + folders;
    // The listing of `aa`: header of 12 bytes, then 8 bytes and the name for each entry.
    let (bb, f0, f1, l0) = (find(b"bb"), find(b"f0"), find(b"f1"), find(b"l0"));
    let header = bb - 8 - 12;
    // Inodes: the offset that the entry in front of the name states.
    let inode = |name: usize| inodes + usize::from(u16::from_le_bytes([good[name - 8], good[name - 7]]));
    let root_inode = inodes + word(&good, 32);
    let aa_inode = inode(find(b"aa"));
    let offset = |at: usize| u16::try_from(at - inodes).unwrap().to_le_bytes();
    let cases: [(&str, Vec<(usize, Vec<u8>)>, &str, &str); 21] = [
        ("a name with a slash", vec![(f0, b"/0".to_vec())], "SQF010", "holds the name"),
        ("the folder above", vec![(f0, b"..".to_vec())], "SQF010", "holds the name"),
        ("a NUL", vec![(f0, b"f\0".to_vec())], "SQF010", "holds the name"),
        ("no UTF-8", vec![(l0, b"l\xff".to_vec())], "SQF011", "l\\xff"),
        ("a name twice", vec![(f1, b"f0".to_vec())], "SQF007", "there twice"),
        ("not sorted", vec![(f0, b"zz".to_vec())], "SQF007", "not sorted"),
        ("a header of 257", vec![(header, 256_u32.to_le_bytes().to_vec())], "SQF007", "257 entries"),
        ("a header of too many", vec![(header, 200_u32.to_le_bytes().to_vec())], "SQF007", "ends inside an entry"),
        ("a name that is too long", vec![(l0 - 2, vec![0xff, 0])], "SQF007", "ends inside an entry"),
        ("a name of 64 KiB", vec![(bb - 2, vec![0xff, 0xff])], "SQF007", "65536 bytes"),
        ("a folder in itself", vec![(bb - 8, offset(aa_inode).to_vec())], "SQF008", "another path"),
        ("the root below itself", vec![(bb - 8, offset(root_inode).to_vec())], "SQF008", "another path"),
        ("a file for a folder", vec![(bb - 8, offset(inode(f0)).to_vec())], "SQF006", "another kind"),
        ("an inode nowhere", vec![(bb - 8, vec![0xff, 0x1f])], "SQF006", "referred to"),
        ("a kind of 99", vec![(inode(f0), vec![99])], "SQF006", "kind is"),
        ("an owner that is none", vec![(inode(f0) + 4, vec![9])], "SQF006", "the owner 9"),
        ("a link of 4 GiB", vec![(inode(l0) + 20, vec![0xff; 4])], "SQF006", "4294967295 bytes"),
        ("a link of nothing", vec![(inode(l0) + 20, vec![0; 4])], "SQF006", "target of 0 bytes"),
        ("a file that lies behind", vec![(inode(f0) + 16, vec![0xff, 0xff, 0xff, 0x7f])], "SQF014", "lies in bytes"),
        ("a file of 4 GiB", vec![(inode(f0) + 28, vec![0xff; 4])], "SQF009", "all files together"),
        ("a block of 16 MiB", vec![(inode(f0) + 32, vec![0xff, 0xff, 0xff, 0])], "SQF014", "more than 131072"),
    ];
    for (what, edits, code, says) in cases {
        let mut bytes = good.clone();
        for (at, with) in edits {
            put(&mut bytes, at, &with);
        }
        let (image, codes, told) = read(&bytes, &limits());
        assert!(codes.contains(&code) && told.contains(says), "{what}: {codes:?} {told}");
        drain(&image.unwrap());
    }
    // A block that unpacks to less than the file's size needs: told when it is read.
    let mut bytes = good.clone();
    put(&mut bytes, inode(f0) + 28, &250_000_u32.to_le_bytes());
    let (image, codes, told) = read(&bytes, &limits());
    assert_eq!(codes, [""; 0], "{told}");
    let error = image.unwrap().file("aa/f0").unwrap().read_all(1 << 20).unwrap_err();
    assert!(error.to_string().starts_with("/aa/f0 of the SquashFS: the block at byte"), "{error}");
}

/// Small files that claim to be huge: sparse blocks, one block a thousand times, folders without end.
#[test]
fn bombs_stop_at_the_limits() {
    let start = Instant::now();
    let zeros = bytes(vec![("a", file(vec![0; 9 << 20]))]);
    let (image, codes, _) = read(&zeros, &limits());
    assert_eq!((codes, image.map(|image| image.entries().len())), (vec!["SQF009"], Some(0)));
    // A thousand names of one file.
    let data = Blob::from_bytes("same", Rng::new(1).bytes(10_000));
    let names: Vec<String> = (0..1000).map(|index| format!("{index:04}")).collect();
    let shared = bytes(names.iter().map(|name| (name.as_str(), Node::file(0o644, data.clone()))).collect());
    assert!(shared.len() < 40_000);
    let (image, codes, _) = read(&shared, &limits());
    assert!(codes.iter().all(|code| *code == "SQF009") && codes.len() <= 64 && !codes.is_empty());
    assert!(drain(&image.unwrap()).1 <= limits().bytes);
    let (_, codes, _) = read(&shared, &Limits { entries: 999, ..Limits::default() });
    assert_eq!(codes, ["SQF009"]);
    let (_, codes, told) = read(&shared, &Limits { metadata: 10_000, ..Limits::default() });
    assert!(codes.contains(&"SQF009"), "{codes:?} {told}");
    let (image, codes, _) = read(&shared, &Limits::default());
    assert_eq!((codes, image.unwrap().entries().len()), (vec![], 1000));
    // Folders in folders, 1900 deep, and files at the bottom: each has a path of 3.8 KB.
    let deep = vec!["d"; 1900].join("/");
    let names: Vec<String> = (0..300).map(|index| format!("{deep}/{index}")).collect();
    let deep = bytes(names.iter().map(|name| (name.as_str(), file([1]))).collect());
    let (image, codes, told) = read(&deep, &Limits { entries: 5000, ..limits() });
    assert!(codes.contains(&"SQF009") && told.contains("all paths together"), "{codes:?} {told}");
    drain(&image.unwrap());
    let (image, codes, _) = read(&deep, &Limits::default());
    assert_eq!((codes, drain(&image.unwrap())), (vec![], (0, 300)));
    assert!(start.elapsed().as_secs() < 60);
}

#[test]
fn damage_never_panics_and_never_takes_long() {
    let good = sample();
    testkit::mutants(1, 2000, &good, |bytes| {
        if let (Some(image), ..) = read(bytes, &limits()) {
            let (_, read) = drain(&image);
            assert!(read <= limits().bytes);
        }
    });
    // Damage behind compression goes deeper.
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("root");
    fs_err::create_dir_all(root.join("d/e")).unwrap();
    fs_err::write(root.join("d/f"), text(300_000)).unwrap();
    fs_err::os::unix::fs::symlink("f", root.join("d/l")).unwrap();
    let Some((good, inodes, _)) = open_image(&root) else { return };
    let (head, tail) = (good[..96].to_vec(), &good[inodes - 2..]);
    // Only superblock and tables are hit: the data between says nothing about the reader.
    let data = &good[96..inodes - 2];
    testkit::mutants(2, 4000, &[&head[..], tail].concat(), |bytes| {
        let (head, tail) = bytes.split_at(bytes.len().min(96));
        if let (Some(image), ..) = read(&[head, data, tail].concat(), &limits()) {
            drain(&image);
        }
    });
}
