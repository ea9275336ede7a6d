//! What a user asks for.

use std::{collections::BTreeMap, path::PathBuf};

use imgcore::Epoch;

use talosimg::Bootloader;

/// Everything that the command line, the environment and the defaults decide about one build.
#[derive(Debug, Clone)]
pub struct Request {
    /// Name or path of the board.
    pub board: String,
    /// Talos release; the default of `boards/defaults.toml` if missing.
    pub talos: Option<String>,
    /// Boot loader; the board's, then the release's if missing.
    pub bootloader: Option<Bootloader>,
    /// Boot scenario; the board's default if missing.
    pub boot: Option<String>,
    /// Formats of the raw image, without repeats; the default of `boards/defaults.toml` if empty.
    pub formats: Vec<rawimg::sink::Format>,
    /// Where kernel, initramfs and boot programs come from.
    pub base: Option<String>,
    /// What the installer image stands on.
    pub installer_base: Option<String>,
    /// Inputs replaced by local files.
    pub sources: BTreeMap<String, PathBuf>,
    /// Size of the finished image in bytes.
    pub size: Option<u64>,
    /// Additional kernel arguments.
    pub kernel_args: Vec<String>,
    /// META values.
    pub meta: Vec<(u8, String)>,
    /// Overlay options.
    pub options: BTreeMap<String, String>,
    /// Findings that do not stop this build.
    pub allow: Vec<String>,
    /// Architectures whose installer executable must be in the overlay.
    pub require_arch: Vec<String>,
    /// Installer executables built elsewhere.
    pub installer_bin: BTreeMap<String, PathBuf>,
    /// Whether an input without lock entry is refused.
    pub locked: bool,
    /// Whether nothing is written.
    pub dry_run: bool,
    /// Folder of the outputs; `_out/BOARD` if missing.
    pub out: Option<PathBuf>,
    /// `SOURCE_DATE_EPOCH`.
    pub epoch: Option<Epoch>,
    /// Count of worker threads; as many as the machine has if missing.
    pub workers: Option<usize>,
}

impl Request {
    /// A request for a board that leaves everything else to the defaults.
    pub fn new(board: impl Into<String>) -> Self {
        Self {
            board: board.into(),
            talos: None,
            bootloader: None,
            boot: None,
            formats: Vec::new(),
            base: None,
            installer_base: None,
            sources: BTreeMap::new(),
            size: None,
            kernel_args: Vec::new(),
            meta: Vec::new(),
            options: BTreeMap::new(),
            allow: Vec::new(),
            require_arch: Vec::new(),
            installer_bin: BTreeMap::new(),
            locked: false,
            dry_run: false,
            out: None,
            epoch: None,
            workers: None,
        }
    }
}
