//! The overlay protocol: what an installer executable is asked, what it answers, and `artifacts/overlay.json`, the
//! file from which ours knows its boards.
//!
//! The imager and the installer on a node run the executable twice or more (`talos-image.md` §2.3): `get-options` with
//! a YAML map of the user's overlay options on standard input answers [`Options`]; `install` with [`InstallOptions`]
//! writes the boot files and the device tree. Everything here is a pure function; the files are the executable's.
//!
//! ```
//! use talosimg::overlay::{Board, ExtraOptions, OverlayJson, get_options, select};
//!
//! let board = |name: &str| Board {
//!     name: name.to_owned(),
//!     options: [("board".to_owned(), name.to_owned())].into(),
//!     kernel_args: vec!["console=ttyS2,1500000n8".to_owned()],
//!     partition_offset: 20_480,
//!     files: vec![],
//!     esp: vec![],
//!     spi: None,
//! };
//! let overlay = OverlayJson { name: "rk3588".to_owned(), schema: 1, boards: vec![board("rock-5a"), board("rock-5b")] };
//!
//! let extra = ExtraOptions::parse("board: rock-5b\n")?;
//! let answer = get_options(select(&overlay, &extra)?);
//! assert_eq!((answer.name.as_str(), answer.partition_options.offset), ("rock-5b", 20_480));
//! assert!(answer.to_yaml()?.starts_with("name: rock-5b\n"));
//!
//! let error = select(&overlay, &ExtraOptions::parse("bord: rock-5b\n")?).unwrap_err();
//! assert!(error.to_string().contains("did you mean `board`"));
//! # Ok::<(), talosimg::Error>(())
//! ```

mod json;
mod protocol;
mod select;

pub use json::{Board, BootFile, EspFile, OverlayJson, SCHEMA, SpiFile};
pub use protocol::{ExtraOptions, InstallOptions, OptionValue, Options, PartitionOptions};
pub use select::{boots_from_spi, get_options, select};

use crate::error::{Error, ErrorKind};

fn refuse(message: impl Into<String>) -> Error {
    ErrorKind::Overlay(message.into()).into()
}
