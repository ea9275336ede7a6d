//! What a user asks for.

use std::{collections::BTreeMap, fmt, path::PathBuf};

use imgcore::Epoch;

use talosimg::{Bootloader, omni::Token};

use crate::error::{Error, Result};

/// How a node joins Omni. It prints without the join token.
#[derive(Clone)]
pub struct Omni {
    /// Kernel arguments, the join token in them.
    arguments: Vec<String>,
}

impl fmt::Debug for Omni {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Omni").finish_non_exhaustive()
    }
}

impl Omni {
    /// Takes Omni's address and the content of a token file.
    ///
    /// # Errors
    /// [`Exit::Usage`](crate::Exit::Usage) for an address or a token that is none; the message holds no part of the token.
    pub fn new(url: &str, token: &str) -> Result<Self> {
        let wrong = |option: &str, error: &talosimg::Error| Error::usage(format!("{option}: {error}"));
        let token = Token::parse(token).map_err(|error| wrong("--join-token-file", &error))?;
        let arguments = talosimg::omni::arguments(url, &token).map_err(|error| wrong("--omni", &error))?;
        Ok(Self { arguments })
    }
}

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
    /// System extensions: references, layouts, archives, tars.
    pub extensions: Vec<String>,
    /// Folder or tar with the modules of the kernel that `sources` names.
    pub modules: Option<PathBuf>,
    /// Machine configuration that the image carries.
    pub embed_config: Option<PathBuf>,
    /// Where the node joins Omni.
    pub omni: Option<Omni>,
    /// Whether the image says what it is made of, as those of the Image Factory do.
    pub schematic: bool,
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
    /// The kernel arguments behind all others, with those of Omni.
    pub(crate) fn all_kernel_args(&self) -> Vec<String> {
        self.kernel_args.iter().chain(self.omni.iter().flat_map(|omni| &omni.arguments)).cloned().collect()
    }

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
            extensions: Vec::new(),
            modules: None,
            embed_config: None,
            omni: None,
            schematic: false,
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
