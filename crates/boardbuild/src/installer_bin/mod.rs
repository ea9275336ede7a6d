//! The installer executables of an overlay image: given by the user, or compiled from `crates/overlay-installer`.
//!
//! One static executable serves every board, so a build needs one for each architecture and nothing of the board.
//! [`provide`] gives what this machine can give, and for the rest says why not and which command would change that.
//!
//! What is compiled does not depend on where: paths of the machine are remapped, the caller's `RUSTFLAGS`, profiles and
//! wrappers are kept out, and the flags come from here alone. A compile that would change nothing is not started; that
//! is decided from the stamps of the sources and of the compiler, in a few milliseconds.
//!
//! # Environment
//!
//! | Variable | Meaning |
//! |---|---|
//! | `TALOS_RK_RUSTC_AARCH64`, `TALOS_RK_RUSTC_X86_64` | a compiler, or a script that calls one, whose standard library for Linux on that architecture is used instead of rustup's |
//! | `TALOS_RK_LINKER_AARCH64`, `TALOS_RK_LINKER_X86_64` | the linker for it, a C compiler driver or an LLD |

mod compile;
mod elf;
mod stamp;
mod toolchain;

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use imgcore::{Blob, Finding, Progress};

use crate::error::{Error, Exit, Result};

/// Far above the one or two mebibytes of a static installer.
const SIZE_LIMIT: u64 = 64 << 20;

/// An architecture that overlay images have an executable for. The imager runs on either; the board is an Arm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Arch {
    /// 64-bit Arm, `arm64` in the words of the OCI specification.
    Aarch64,
    /// x86-64, `amd64` in the words of the OCI specification.
    X86_64,
}

impl Arch {
    /// Both, in the order in which they stand in an index.
    pub const ALL: [Self; 2] = [Self::Aarch64, Self::X86_64];

    /// `arm64` or `amd64`: OCI images, the command line, messages.
    pub const fn oci(self) -> &'static str {
        match self {
            Self::Aarch64 => "arm64",
            Self::X86_64 => "amd64",
        }
    }

    /// `aarch64` or `x86_64`: compile targets.
    pub const fn machine(self) -> &'static str {
        match self {
            Self::Aarch64 => "aarch64",
            Self::X86_64 => "x86_64",
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.oci())
    }
}

impl FromStr for Arch {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|arch| text == arch.oci() || text == arch.machine()).ok_or_else(|| {
            let near = imgcore::nearest(text, ["arm64", "amd64", "aarch64", "x86_64"]);
            let hint = near.map(|near| format!(": did you mean {near}?")).unwrap_or_default();
            Error::usage(format!("unknown architecture {text:?}{hint}, expected arm64 or amd64"))
        })
    }
}

/// What is wanted and with which means.
#[derive(Debug, Clone)]
pub struct Request {
    /// Which executables; both by default.
    pub wanted: Vec<Arch>,
    /// Executables built elsewhere (`--installer-bin ARCH=FILE`), used as they are.
    pub given: BTreeMap<Arch, PathBuf>,
    /// Whether cargo must not use the network.
    pub offline: bool,
    /// Root of the workspace whose `overlay-installer` is compiled: the one that this crate was compiled in.
    pub workspace: PathBuf,
    /// Where compiled files and stamps are kept.
    pub target_dir: PathBuf,
    /// Compilers and linkers in place of the default ones.
    pub tools: Tools,
}

impl Request {
    /// Both architectures, compiled from the workspace of this crate, with the tools that the environment names.
    pub fn new() -> Self {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap_or(Path::new("")).to_path_buf();
        // A relative folder would move with the working directory.
        let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from).filter(|folder| folder.is_absolute());
        let target_dir = target.unwrap_or_else(|| workspace.join("target")).join("installer");
        Self {
            wanted: Arch::ALL.to_vec(),
            given: BTreeMap::new(),
            offline: false,
            workspace,
            target_dir,
            tools: Tools::from_environment(),
        }
    }
}

impl Default for Request {
    fn default() -> Self {
        Self::new()
    }
}

/// Compilers and linkers to be used in place of the default ones.
#[derive(Debug, Clone, Default)]
pub struct Tools {
    /// A `rustc` for one architecture, with standard libraries for it and for this machine.
    pub rustc: BTreeMap<Arch, PathBuf>,
    /// A linker for one architecture.
    pub linker: BTreeMap<Arch, PathBuf>,
}

impl Tools {
    /// What the environment names; see the [module](self).
    pub fn from_environment() -> Self {
        let named = |tool: &str| {
            let variable = |arch: Arch| format!("TALOS_RK_{tool}_{}", arch.machine().to_uppercase());
            let value = |arch: Arch| std::env::var_os(variable(arch)).filter(|value| !value.is_empty());
            Arch::ALL.into_iter().filter_map(|arch| Some((arch, PathBuf::from(value(arch)?)))).collect()
        };
        Self { rustc: named("RUSTC"), linker: named("LINKER") }
    }
}

/// An executable, checked to be static and for the right machine.
#[derive(Debug, Clone)]
pub struct Provided {
    /// What it runs on.
    pub arch: Arch,
    /// Its bytes, with their digest.
    pub blob: Blob,
    /// Where it comes from, without a path of this machine.
    pub origin: String,
}

/// An architecture without an executable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    /// Which one.
    pub arch: Arch,
    /// Why there is none.
    pub why: String,
    /// The one command that mends it.
    pub command: String,
}

/// What [`provide`] found.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// At most one for each architecture, in the order of [`Arch`].
    pub provided: Vec<Provided>,
    /// The rest of what was wanted.
    pub lacks: Vec<Lack>,
}

/// Takes what was given and compiles the rest, as far as this machine can.
///
/// # Errors
/// [`Exit::Input`] for a given file that is missing or no static executable of its architecture, [`Exit::Cancelled`].
/// A machine that cannot compile is no error but a [`Lack`].
pub fn provide(request: &Request, progress: &dyn Progress) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let mut wanted = request.wanted.clone();
    wanted.sort_unstable();
    wanted.dedup();
    for arch in wanted {
        let provided = match request.given.get(&arch) {
            Some(path) => Ok(given(arch, path)?),
            None => compile::provide(arch, request, progress)?,
        };
        match provided {
            Ok(provided) => outcome.provided.push(provided),
            Err(lack) => outcome.lacks.push(lack),
        }
    }
    Ok(outcome)
}

fn given(arch: Arch, path: &Path) -> Result<Provided> {
    let name = format!("installer executable for {arch}, {}", path.display());
    let refuse = |code, message: String| {
        let finding = Finding::error(code, message).help(format!(
            "give a static executable of this version with --installer-bin {arch}=FILE, or leave that out"
        ));
        Error::new(Exit::Input, finding)
    };
    let blob = read(arch, path).map_err(|error| refuse("SRC001", format!("{name}: {error}")))?;
    let bytes = blob.read_all(SIZE_LIMIT)?;
    elf::check(&bytes, arch).map_err(|problem| refuse("VER003", format!("{name}: {problem}")))?;
    Ok(Provided { arch, blob, origin: "given with --installer-bin".to_owned() })
}

/// The file in memory, so that nobody changes it between check and use.
fn read(arch: Arch, path: &Path) -> std::io::Result<Blob> {
    let label = format!("installer executable for {arch}");
    let bytes = crate::files::open_blob(&label, path, None)?.read_all(SIZE_LIMIT)?;
    Ok(Blob::from_bytes(label, bytes))
}

#[cfg(test)]
mod tests;
