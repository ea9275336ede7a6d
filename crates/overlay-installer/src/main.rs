//! The executable inside a Talos overlay image: `get-options` and `install` (`talos-image.md` §2.3).
//!
//! It holds no board data. `../artifacts/overlay.json`, seen from the executable's own place, describes every board of
//! the overlay, so one file serves all boards and all overlays, as `installers/<name>` and as `installers/default`.
//!
//! `install` first reads and proves everything: each artifact against its digest, each byte range that it will write
//! against the partition table on the disk. Only then it writes, the ESP first and the bare disk last; the module
//! `boot` says what an interruption leaves behind.

use std::process::ExitCode;

#[cfg(unix)]
mod installer;

#[cfg(unix)]
fn main() -> ExitCode {
    installer::main()
}

/// The workspace compiles everywhere; overlay images are executed on Linux.
#[cfg(not(unix))]
fn main() -> ExitCode {
    ExitCode::FAILURE
}
