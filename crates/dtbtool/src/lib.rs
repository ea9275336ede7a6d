//! Device trees (flattened device tree, `.dtb`): a lenient scan with findings, a strict view, an owned tree with a
//! writer, source text, the checks of dtc, and the question whether a tree fits a board.
//!
//! ```
//! use dtbtool::{Expectations, Fdt, WriteOptions, check_board, model::{DeviceTree, Node, Property}, scan};
//!
//! let mut tree = DeviceTree::new();
//! tree.root_mut().set(Property::strings("compatible", ["acme,board", "rockchip,rk3588"]));
//! tree.root_mut().children.push(Node::new("mmc@fe2c0000").with(Property::string("compatible", "snps,dw-mshc")));
//! let bytes = tree.to_bytes(&WriteOptions::default())?;
//!
//! let (scanned, report) = scan(&bytes); // for files of any origin
//! assert!(scanned.is_some() && report.is_empty());
//!
//! let fdt = Fdt::parse(&bytes)?; // for reading: checked once, borrowed
//! assert!(fdt.find("/mmc@fe2c0000").is_some_and(|slot| slot.is_enabled()));
//!
//! let expected = Expectations { require: vec!["sd".into(), "sata".into()], ..Expectations::default() };
//! let codes: Vec<_> = check_board(&fdt, &expected).iter().map(|finding| finding.code).collect();
//! assert_eq!(codes, ["DTB081"]); // no such device: sata
//! # Ok::<(), dtbtool::Error>(())
//! ```
//!
//! # Guarantees
//!
//! - No panic on any input; time is linear in the input's size, memory a small multiple of it. Nesting is followed
//!   [`MAX_DEPTH`] levels deep, without recursion.
//! - [`Fdt::parse`] refuses a tree exactly when [`scan`] has an error with a code below DTB050; after it nothing can
//!   fail. Reading what was written gives an equal tree.
//! - No file system, network, clock, environment, randomness, process, printing, async. `unsafe` is forbidden.
//! - Findings carry stable codes, all listed in [`RULES`].
//!
//! # Features
//!
//! - `cli` (off): the program `dtbtool`.

pub mod binding;
mod board;
pub mod check;
pub mod console;
pub mod diff;
mod dts;
pub mod edit;
mod error;
mod facts;
mod header;
pub mod model;
pub mod overlay;
pub mod profile;
mod property;
mod reference;
pub mod rules;
mod scan;
mod token;
mod tree;
mod view;
mod walk;
mod write;

pub use binding::{BindingGeneration, binding_generation};
pub use board::{Device, Expectations, REQUIRE_WORDS, RequireWord, all_devices, check_board, devices};
pub use dts::to_dts;
pub use edit::Edit;
pub use error::{Block, Error, ErrorKind};
pub use facts::facts;
pub use header::{Header, MAGIC, MemoryReservation};
pub use property::{Property, StrList};
pub use rules::RULES;
pub use scan::scan;
pub use tree::{Tree, TreeNode};
pub use view::{Children, Fdt, Node, Properties, Walk};
pub use walk::MAX_DEPTH;
pub use write::WriteOptions;
