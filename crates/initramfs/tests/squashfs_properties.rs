//! Any tree, written by us, is what squashfs-tools, the kernel and our own reader find.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test may fail by panic")]

use std::{collections::BTreeMap, io::Cursor, path::Path, process::Command, sync::Arc};

use imgcore::{Blob, Epoch};
use initramfs::{
    Kind, Node, Tree,
    squashfs::{self, EntryKind, Fragments, Limits, Options},
};
use proptest::prelude::*;

mod common;

use common::text;

fn name() -> impl Strategy<Value = String> {
    let plain = "[a-z]{1,3}";
    let odd = "[ -.0-~ä-ö\u{1f600}-\u{1f640}]{1,40}".prop_filter("a name", |name| !matches!(&name[..], "." | ".."));
    prop_oneof![6 => plain, 2 => odd, 1 => (200_usize..=255).prop_map(|count| "n".repeat(count))]
}

/// Sizes around the borders of a block of 4 KiB, and data of every kind: text, noise, zeros, repeated.
fn data() -> impl Strategy<Value = Vec<u8>> {
    let size = prop_oneof![4 => 0_usize..100, 2 => 4094_usize..4099, 2 => 8190_usize..8195, 1 => 0_usize..60_000];
    (size, 0..5, 0_u64..4).prop_map(|(size, kind, seed)| match kind {
        0 => text(size),
        1 | 2 => testkit::Rng::new(seed).bytes(size),
        3 => vec![0; size],
        _ => [text(size / 3), vec![0; size / 3], testkit::Rng::new(seed).bytes(size / 3)].concat(),
    })
}

fn attributes() -> impl Strategy<Value = BTreeMap<String, Vec<u8>>> {
    let name = prop_oneof!["user\\.[a-z]{1,9}", "trusted\\.[a-z.]{1,9}", Just("security.selinux".to_owned())];
    let value = proptest::collection::vec(any::<u8>(), 0..60);
    prop_oneof![5 => Just(BTreeMap::new()), 2 => proptest::collection::btree_map(name, value, 1..4)]
}

fn node() -> impl Strategy<Value = Node> {
    let kind = prop_oneof![
        6 => data().prop_map(|bytes| Kind::File(Blob::from_bytes("test", bytes))),
        2 => Just(Kind::Dir),
        1 => "[a-z/.]{1,300}".prop_map(Kind::Symlink),
    ];
    (kind, 0_u32..0o10_000, attributes()).prop_map(|(kind, mode, mut xattrs)| {
        let link = matches!(kind, Kind::Symlink(_));
        if link {
            // No file system that a test can unpack to takes these on links.
            xattrs.retain(|name, _| !name.starts_with("user."));
        }
        Node { kind, mode: if link { 0o777 } else { mode }, xattrs }
    })
}

fn tree() -> impl Strategy<Value = Tree> {
    let path = proptest::collection::vec(name(), 1..6).prop_map(|names| names.join("/"));
    let scattered = proptest::collection::vec((path, node()), 0..40);
    let crowd = (name(), 0_usize..2000, node());
    (scattered, prop_oneof![3 => Just(None), 1 => crowd.prop_map(Some)]).prop_map(|(nodes, crowd)| {
        let mut tree = Tree::new();
        // What lies below a file, or is there already, is left out.
        for (path, node) in nodes {
            let _ = tree.insert(path, node);
        }
        if let Some((folder, count, node)) = crowd {
            for index in 0..count {
                let _ = tree.insert(format!("{folder}/{index:x}-{}", "c".repeat(index % 60)), node.clone());
            }
        }
        tree
    })
}

fn options() -> impl Strategy<Value = Options> {
    let fragments = prop_oneof![Just(Fragments::None), Just(Fragments::Small), Just(Fragments::All)];
    let block = prop_oneof![3 => Just(4096_u32), 1 => Just(8192), 1 => Just(128 << 10), 1 => Just(1 << 20)];
    (fragments, block, 1..6, 1_usize..4).prop_map(|(fragments, block_size, level, workers)| Options {
        epoch: Epoch(1_735_689_600),
        level,
        block_size,
        fragments,
        root: Node::dir(0o755),
        workers,
    })
}

fn write(tree: &Tree, options: &Options) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    squashfs::plan(tree, options).unwrap().write_to(&mut out).unwrap();
    out.into_inner()
}

fn cases(count: u32) -> ProptestConfig {
    ProptestConfig { cases: count, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn our_reader_finds_the_tree(tree in tree(), options in options()) {
        let (image, report) = squashfs::read(Arc::new(write(&tree, &options)), &Limits::default());
        prop_assert!(report.is_empty(), "{:?}", report);
        let image = image.unwrap();
        prop_assert_eq!(image.superblock().inodes as usize, tree.len() + 1);
        let (found, report) = image.subtree("");
        prop_assert!(report.is_empty());
        prop_assert_eq!(found.len(), tree.len());
        for ((path, found), (wanted, node)) in found.iter().zip(tree.iter()) {
            prop_assert_eq!(path, wanted);
            prop_assert_eq!((found.mode, &found.xattrs), (node.mode, &node.xattrs), "{}", path);
            match (&found.kind, &node.kind) {
                (Kind::File(found), Kind::File(wanted)) => {
                    let bytes = |blob: &Blob| blob.read_all(u64::MAX).unwrap();
                    prop_assert!(bytes(found) == bytes(wanted), "{}", path);
                }
                (Kind::Symlink(found), Kind::Symlink(wanted)) => prop_assert_eq!(found, wanted),
                (found, wanted) => prop_assert!(matches!((found, wanted), (Kind::Dir, Kind::Dir))),
            }
        }
        for entry in image.entries() {
            prop_assert_eq!(image.get(&entry.path), Some(entry));
            if entry.kind == EntryKind::Dir {
                let inside = tree.below(&entry.path).filter(|(path, _)| !path[entry.path.len() + 1..].contains('/'));
                prop_assert_eq!(image.list(&entry.path).count(), inside.count(), "{}", entry.path);
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(24))]

    #[test]
    fn squashfs_tools_and_the_kernel_find_the_tree(tree in tree(), options in options()) {
        let Some(unsquashfs) = testkit::tool("unsquashfs") else { return Ok(()) };
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join("image.sqsh");
        fs_err::write(&image, write(&tree, &options)).unwrap();
        let listed = testkit::run(Command::new(&unsquashfs).args([Path::new("-lln"), &image]));
        let zero = listed.lines().filter(|line| line.contains(" 0/0 ")).count();
        prop_assert_eq!(zero, tree.len() + 1);
        if !common::may_mount() {
            return Ok(());
        }
        // Root unpacks folders without rights to them, and sets attributes of every kind.
        let root = folder.path().join("root");
        testkit::run(Command::new(&unsquashfs).args(["-strict-errors", "-d"]).args([&root, &image]));
        common::assert_same("unsquashfs", &tree, &root, Some(options.epoch));
        // Pages are at least as large as blocks may be here: the kernel takes no smaller ones.
        let mounted = folder.path().join("mounted");
        fs_err::create_dir(&mounted).unwrap();
        let mounted = common::Mounted::new(&image, &mounted);
        common::assert_same("the kernel", &tree, mounted.path(), Some(options.epoch));
    }
}
