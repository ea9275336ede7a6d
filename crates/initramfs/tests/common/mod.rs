//! What the tests of this crate share.
#![allow(dead_code, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test may fail by panic and says what it skips")]

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::Command,
};

use imgcore::{Blob, Epoch};
use initramfs::{Kind, Node, Tree};

/// Text that shrinks, of this many bytes.
pub(crate) fn text(size: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(size + 32);
    let mut line = 0_u64;
    while text.len() < size {
        text.extend_from_slice(format!("line {line} of {}\n", line.wrapping_mul(2_654_435_761) % 997).as_bytes());
        line += 1;
    }
    text.truncate(size);
    text
}

/// Whether this process may mount, and the kernel knows SquashFS: only in `.ci/run` and the like.
pub(crate) fn may_mount() -> bool {
    let root = fs_err::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    let known = fs_err::read_to_string("/proc/filesystems").is_ok_and(|list| list.contains("squashfs"));
    let able = root && known && Command::new("losetup").arg("-f").output().is_ok_and(|done| done.status.success());
    if !able {
        eprintln!("skipped: no right to mount, no loop device, or no squashfs in the kernel");
    }
    able
}

/// A mounted image.
pub(crate) struct Mounted(PathBuf);

impl Mounted {
    pub(crate) fn new(image: &Path, at: &Path) -> Self {
        testkit::run(Command::new("mount").args(["-t", "squashfs", "-o", "loop,ro"]).args([image, at]));
        Self(at.to_owned())
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// A folder of this machine as a tree.
pub(crate) fn tree_of(root: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut open = vec![(root.to_owned(), String::new())];
    while let Some((folder, prefix)) = open.pop() {
        for entry in fs_err::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().and_then(OsStr::to_str).unwrap();
            let inside = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
            let meta = fs_err::symlink_metadata(&path).unwrap();
            let mode = meta.permissions().mode() & 0o7777;
            let node = if meta.is_dir() {
                open.push((path, inside.clone()));
                Node::dir(mode)
            } else if meta.is_symlink() {
                Node::symlink(fs_err::read_link(&path).unwrap().to_str().unwrap())
            } else {
                Node::file(mode, Blob::from_bytes(inside.as_str(), testkit::read(&path)))
            };
            tree.insert(inside, node).unwrap();
        }
    }
    tree
}

/// The attributes of everything below a folder.
fn attributes(root: &Path) -> Option<BTreeMap<String, BTreeMap<String, Vec<u8>>>> {
    const SCRIPT: &str = "
import os, sys
for folder, folders, files in os.walk(sys.argv[1]):
    for path in (os.path.join(folder, name) for name in folders + files):
        for name in os.listxattr(path, follow_symlinks=False):
            value = os.getxattr(path, name, follow_symlinks=False)
            print(os.path.relpath(path, sys.argv[1]), name, value.hex(), sep='\\t')
";
    let told = testkit::run(Command::new(testkit::tool("python3")?).args(["-c", SCRIPT]).arg(root));
    let mut all: BTreeMap<String, BTreeMap<String, Vec<u8>>> = BTreeMap::new();
    for line in told.lines() {
        let [path, name, value] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let digits = value.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
        let value = digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect();
        all.entry(path.to_owned()).or_default().insert(name.to_owned(), value);
    }
    Some(all)
}

/// Asserts that a folder holds the tree and nothing else: names, kinds, modes, bytes, links, times, attributes.
#[track_caller]
pub(crate) fn assert_same(what: &str, tree: &Tree, root: &Path, epoch: Option<Epoch>) {
    let found = tree_of(root);
    let paths = |tree: &Tree| tree.iter().map(|(path, _)| path.to_owned()).collect::<Vec<_>>();
    assert_eq!(paths(&found), paths(tree), "{what}");
    for ((path, found), (_, wanted)) in found.iter().zip(tree.iter()) {
        let shown = format!("{what}: {path}");
        assert_eq!(found.kind_name(), wanted.kind_name(), "{shown}");
        assert_eq!(format!("{:o}", found.mode), format!("{:o}", wanted.mode), "{shown}");
        match (&found.kind, &wanted.kind) {
            (Kind::File(found), Kind::File(wanted)) => {
                let bytes = |blob: &Blob| blob.read_all(u64::MAX).unwrap();
                assert!(bytes(found) == bytes(wanted), "{shown}: other bytes");
            }
            (Kind::Symlink(found), Kind::Symlink(wanted)) => assert_eq!(found, wanted, "{shown}"),
            _ => {}
        }
        if let Some(Epoch(epoch)) = epoch {
            let meta = fs_err::symlink_metadata(root.join(path)).unwrap();
            assert_eq!(u64::try_from(meta.mtime()), Ok(epoch), "{shown}");
        }
    }
    let user = fs_err::metadata("/proc/self").is_ok_and(|process| process.uid() == 0);
    if tree.iter().all(|(_, node)| node.xattrs.is_empty()) || !user {
        return;
    }
    if let Some(all) = attributes(root) {
        for (path, node) in tree.iter() {
            assert_eq!(all.get(path).cloned().unwrap_or_default(), node.xattrs, "{what}: {path}");
        }
    }
}
