//! SquashFS: every table, every file, and writing again what was read.
#![no_main]

use std::{io::Cursor, sync::Arc};

use imgcore::ReadAt as _;
use initramfs::squashfs::{self, Limits, Options};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { entries: 1000, bytes: 4 << 20, metadata: 4 << 20 };
    let (Some(image), _) = squashfs::read(Arc::new(bytes.to_vec()), &limits) else { return };
    let (tree, _) = image.subtree("");
    let readable = tree.iter().filter_map(|(_, node)| node.data()).all(|data| {
        let mut page = [0; 5000];
        let mut at = 0;
        while at < data.size() {
            match data.read_at(at, &mut page) {
                Ok(count) if count > 0 => at += count as u64,
                _ => return false,
            }
        }
        true
    });
    // What the reader gives whole, the writer takes, and the reader finds again.
    if !readable {
        return;
    }
    let options = Options { level: 1, ..Options::default() };
    let Ok(plan) = squashfs::plan(&tree, &options) else { return };
    let mut out = Cursor::new(Vec::new());
    plan.write_to(&mut out).expect("memory takes it");
    let (again, report) = squashfs::read(Arc::new(out.into_inner()), &Limits::default());
    assert!(report.is_empty(), "{report:?}");
    assert_eq!(again.map(|image| image.entries().len()), Some(tree.len()));
});
