//! From a board file to images: inputs, proofs, plan, build, record, verification.
//!
//! ```
//! use boardbuild::board::Board;
//!
//! let text = "name = \"b\"\n[boot.a]\nfiles = [{ source = \"idbloader\", at-sector = 64 }]";
//! let board = Board::parse("b.toml", "b", std::path::Path::new("."), text)?;
//! assert_eq!(board.scenario(None)?.map(|(name, _)| name), Some("a"));
//! # Ok::<(), boardbuild::Error>(())
//! ```
//!
//! # Guarantees
//!
//! - Outputs are a function of the plan and the version of this workspace: no clock, no randomness, no host paths.
//! - Everything that would refuse an image is found before a byte is written.
//! - A file appears complete under its final name or not at all.

mod allow;
mod apt;
mod archive;
mod base;
pub mod board;
mod body;
mod build;
mod draw;
mod error;
mod extension_source;
mod fetch;
mod files;
mod front;
mod home;
mod image;
mod image_source;
mod incoming;
mod initrd;
mod inputs;
mod inspect;
mod installer_base;
pub mod installer_bin;
mod installer_image;
mod installers;
mod lock;
mod member;
mod modules;
mod modules_source;
mod net;
mod origin;
mod overlay_image;
mod pages;
mod partial;
pub mod proof;
mod pull;
mod push;
mod record;
mod relock;
mod request;
mod rootfs;
pub mod rules;
mod schema;
mod show;
mod spi;
mod store;
mod supply;
mod toml_text;
mod tree;
mod verify;
mod whole;

pub use build::{ARCH, Built, Context, SHA256SUMS, image, installer, overlay};
pub use draw::draw;
pub use error::{Error, Exit, Result};
pub use fetch::{Expected, UNLOCKED_LIMIT};
pub use files::{FileSource, Outputs, Stamp, open_blob};
pub use home::Home;
pub use imgcore::{ByteSize, Digest, Epoch, Fact, Finding, NoProgress, Progress, Report, Severity};
pub use incoming::Incoming;
pub use inspect::{Inspected, inspect};
pub use lock::changes::{Change, Kind as ChangeKind, Side};
pub use lock::{Container, Defaults, Lock, Locked, LockedImage, Unresolved};
pub use member::take_part as take;
pub use net::{Network, NetworkOptions, auth_files, failed};
pub use pages::{index, pages};
pub use partial::Partial;
pub use pull::{PullRequest, pull};
pub use push::{PushRequest, Transferred, push};
pub use rawimg::sink::Format;
pub use record::{BUILD_JSON, Record, redact};
pub use relock::{LockRequest, Relocked, Write as LockWrite, lock};
pub use request::{Omni, Request};
pub use schema::schemas;
pub use show::{Shown, show};
pub use store::{Stats, Store, canonical_json};
pub use supply::{Fetched, Supplied, SupplyRequest, Vendored, fetch, vendor};
pub use talosimg::Bootloader;
pub use transfer::Secret;
pub use verify::{Verified, VerifyRequest, verify};

/// Reads a META value as the command line writes it: `0x0a=text`.
///
/// # Errors
/// [`Exit::Usage`] when it is none.
pub fn parse_meta(text: &str) -> Result<(u8, String)> {
    talosimg::meta::parse_key(text).map_err(|error| Error::usage(format!("--meta: {error}")))
}
