//! Kernel modules: what is in a `.ko`, the dependency index that `depmod` writes, and whether modules fit a kernel.
//!
//! The index is that of kmod 30 (Debian 12), byte for byte, with `modules.weakdep` of kmod 33 beside it, which older
//! programs leave alone. Where depmod's order hangs on the order in which a file system lists a folder (two modules of
//! one name that no `search` tells apart), the first in walk order wins, and a finding says so.
//!
//! ```
//! use imgcore::Blob;
//! use initramfs::{
//!     Node, Tree,
//!     kmod::{Expect, Index, Modules, Sample, Search, Signatures, machine},
//! };
//!
//! let release = "6.18.2";
//! let phy = Sample { name: "realtek", vermagic: "6.18.2 SMP mod_unload aarch64", exports: &["rtl_phy"], ..Sample::default() };
//! let nic = Sample { name: "r8125", needs: &["rtl_phy"], info: &["alias=pci:v000010ECd00008125*"], ..phy.clone() };
//! let mut tree = Tree::new();
//! for (path, sample) in [("kernel/realtek.ko", &phy), ("extras/r8125.ko", &Sample { exports: &[], ..nic })] {
//!     let file = Node::file(0o644, Blob::from_bytes(path, sample.build()));
//!     tree.insert(format!("usr/lib/modules/{release}/{path}"), file)?;
//! }
//!
//! let (modules, report) = Modules::read(&tree, "usr/lib/modules/6.18.2");
//! assert!(!report.has_errors());
//! let (index, _) = Index::plan(&modules, &Search::parse("extras built-in"));
//! let index = index.expect("no cycle");
//! assert_eq!(index.text("modules.dep"), Some("kernel/realtek.ko:\nextras/r8125.ko: kernel/realtek.ko\n"));
//!
//! let expect = Expect { release: release.to_owned(), signatures: Signatures::Enforced, ..Expect::default() };
//! let report = initramfs::kmod::check(&modules, &expect);
//! assert_eq!(report.iter().map(|finding| finding.code).collect::<Vec<_>>(), ["MOD042"]);
//! # assert_eq!(expect.machine, machine::AARCH64);
//! # Ok::<(), initramfs::Error>(())
//! ```

mod builtin;
mod check;
mod choose;
mod der;
mod elf;
mod graph;
mod hash;
mod index;
mod kernel;
mod module;
mod modules;
mod sample;
mod signature;
mod symbols;
mod trie;
mod unpack;

pub use check::{Expect, Signatures, check};
pub use choose::{Place, Search};
pub use elf::machine;
pub use index::{File, Index};
pub use kernel::Kernel;
pub use module::{Elf, Export, Module, Need, Vermagic};
pub use modules::Modules;
pub use sample::{Sample, SampleSignature};
pub use signature::{IdType, Signature, Signer};
pub use unpack::Compression;

use imgcore::ByteSize;

/// How much a foreign module may cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one unpacked module. The largest in use have about 100 MiB.
    pub unpacked: u64,
    /// Bytes of the sections of one module that are read: symbols, strings, `.modinfo`.
    pub sections: u64,
    /// Bytes of all names, aliases and texts that are kept of one tree of modules.
    pub kept: u64,
    /// Bytes of one file of the index.
    pub index: u64,
}

impl Default for Limits {
    /// 512 MiB unpacked, of which 32 MiB are looked at; 128 MiB of names; 64 MiB for each file of the index.
    fn default() -> Self {
        Self {
            unpacked: 512 * ByteSize::MIB,
            sections: 32 * ByteSize::MIB,
            kept: 128 * ByteSize::MIB,
            index: 64 * ByteSize::MIB,
        }
    }
}

/// The refusal of one input, as a finding. Boxed, for a finding has more than a hundred bytes.
type Step<T> = Result<T, Box<imgcore::Finding>>;
