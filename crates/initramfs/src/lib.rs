//! What a Linux initramfs is made of: cpio archives, SquashFS file systems, kernel modules and their dependency index.
//!
//! ```
//! use imgcore::Blob;
//! use initramfs::{Node, Tree};
//!
//! let mut tree = Tree::new();
//! tree.insert("usr/lib/firmware/rtl_nic/rtl8125b-2.fw", Node::file(0o644, Blob::from_bytes("firmware", *b"\x01\x02")))?;
//! assert_eq!(tree.iter().map(|(path, _)| path).collect::<Vec<_>>(), [
//!     "usr",
//!     "usr/lib",
//!     "usr/lib/firmware",
//!     "usr/lib/firmware/rtl_nic",
//!     "usr/lib/firmware/rtl_nic/rtl8125b-2.fw",
//! ]);
//! # Ok::<(), initramfs::Error>(())
//! ```
//!
//! # Guarantees
//!
//! - No file system, network, clock, environment, randomness, process, printing, async.
//! - No panic on any input, and bounded memory whatever a file claims.
//! - The same tree gives the same bytes: entries are sorted, owners are 0, times are the given epoch.
//! - `unsafe` is forbidden.

pub mod cpio;
mod error;
pub mod kmod;
pub mod packed;
pub mod rules;
pub mod squashfs;
mod tree;

pub use error::{Error, ErrorKind, Result};
pub use rules::RULES;
pub use tree::{Kind, Node, Tree};

/// A mode as `ls -l` writes it.
pub(crate) fn mode_text(mode: u32) -> String {
    let kind = match mode & cpio::MODE_MASK {
        0o010_000 => 'p',
        0o020_000 => 'c',
        cpio::MODE_DIR => 'd',
        0o060_000 => 'b',
        cpio::MODE_LINK => 'l',
        0o140_000 => 's',
        _ => '-',
    };
    let special = [(0o4000, 0o100, 's', 'S'), (0o2000, 0o010, 's', 'S'), (0o1000, 0o001, 't', 'T')];
    let mut text: Vec<char> = vec![kind];
    for (place, (set, execute, both, alone)) in [6, 3, 0].into_iter().zip(special) {
        let bits = mode >> place;
        text.push(if bits & 4 == 0 { '-' } else { 'r' });
        text.push(if bits & 2 == 0 { '-' } else { 'w' });
        text.push(match (mode & set != 0, mode & execute != 0) {
            (true, true) => both,
            (true, false) => alone,
            (false, true) => 'x',
            (false, false) => '-',
        });
    }
    text.into_iter().collect()
}
