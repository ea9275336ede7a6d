//! Kernel modules: two of them and the lists beside them, their index, and what does not fit a kernel.
#![no_main]

use imgcore::Blob;
use initramfs::{
    Node, Tree,
    kmod::{Expect, Index, Kernel, Modules, Search, Signatures, check},
};

const FOLDER: &str = "usr/lib/modules/6.18.2";

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // A line of `-` stands between the parts.
    let mut parts: Vec<&[u8]> = Vec::new();
    let mut rest = bytes;
    while let Some(at) = rest.windows(4).position(|window| window == b"\n--\n") {
        parts.push(&rest[..at]);
        rest = &rest[at + 4..];
    }
    parts.push(rest);
    let names = ["kernel/a.ko", "extras/b.ko.zst", "modules.order", "modules.builtin", "modules.builtin.modinfo"];
    let mut tree = Tree::new();
    for (name, part) in names.iter().zip(&parts) {
        let file = Node::file(0o644, Blob::from_bytes(*name, *part));
        tree.insert(format!("{FOLDER}/{name}"), file).unwrap();
    }
    let (modules, _) = Modules::read(&tree, FOLDER);
    let (index, report) = Index::plan(&modules, &Search::parse("extras built-in"));
    assert!(index.is_some() || report.has_errors());
    let kernel = Kernel::look(&mut rest, "6.18.2", &modules).unwrap();
    for kernel in [None, Some(kernel)] {
        let signatures = Signatures::Enforced;
        let _ = check(&modules, &Expect { release: "6.18.2".to_owned(), signatures, kernel, ..Expect::default() });
    }
});
