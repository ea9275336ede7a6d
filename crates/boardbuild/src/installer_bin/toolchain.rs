//! Which compiler, which target, which linker.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use serde::{Deserialize, Serialize};

use super::{Arch, Lack, Request, stamp};
use crate::files::Stamp;

/// A compiler and where its libraries are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Compiler {
    /// What is run.
    pub(super) rustc: PathBuf,
    /// Where `lib/rustlib` is.
    pub(super) sysroot: PathBuf,
    /// The triple of this machine.
    pub(super) host: String,
    /// Commit of the compiler, which names the folder of the standard library's sources in its own paths.
    pub(super) commit: String,
}

/// Everything that is needed for compiling.
#[derive(Debug)]
pub(super) struct Toolchain {
    pub(super) cargo: PathBuf,
    pub(super) compiler: Compiler,
    pub(super) target: String,
    /// `None` is the target's usual C compiler driver.
    pub(super) linker: Option<PathBuf>,
}

impl Compiler {
    fn rustlib(&self) -> PathBuf {
        self.sysroot.join("lib/rustlib")
    }

    /// The folder with the standard library for `target`, if it is installed. This is what
    /// `rustc --print target-libdir` names.
    pub(super) fn library(&self, target: &str) -> Option<PathBuf> {
        let folder = self.rustlib().join(target).join("lib");
        let mut names = fs_err::read_dir(&folder).ok()?.flatten().map(|entry| entry.file_name());
        names.any(|name| name.to_string_lossy().starts_with("libstd-")).then_some(folder)
    }

    /// The linker that comes with the compiler.
    fn lld(&self) -> Option<PathBuf> {
        let name = format!("rust-lld{}", std::env::consts::EXE_SUFFIX);
        Some(self.rustlib().join(&self.host).join("bin").join(name)).filter(|path| path.is_file())
    }
}

/// The toolchain for an architecture, or what is missing for it.
pub(super) fn find(arch: Arch, request: &Request) -> Result<Toolchain, Lack> {
    let lack = |why: String, command: String| Lack { arch, why, command };
    let target = |system: &str| format!("{}-unknown-linux-{system}", arch.machine());
    let add = format!("rustup target add {}", target("musl"));

    let cargo = program("CARGO", "cargo");
    let rustc = request.tools.rustc.get(&arch).cloned().unwrap_or_else(|| rustc(&cargo));
    let compiler = compiler(&rustc, request)
        .map_err(|why| lack(format!("the Rust compiler {} does not answer: {why}", rustc.display()), add.clone()))?;

    let mut without_linker = None;
    for target in [target("musl"), target("gnu")] {
        if compiler.library(&target).is_none() {
            continue;
        }
        match linker(arch, &target, &compiler, request) {
            Ok(linker) => return Ok(Toolchain { cargo, compiler, target, linker }),
            Err(program) => without_linker = Some((target, program)),
        }
    }
    Err(match without_linker {
        Some((target, program)) => lack(
            format!("the compile target {target} is installed, but no linker for it: {program}"),
            format!("apt-get install gcc-{}-linux-gnu", arch.machine().replace('_', "-")),
        ),
        None => lack(format!("the compile target {} (or {}) is not installed", target("musl"), target("gnu")), add),
    })
}

/// A linker, `None` for the usual one, or the name of the program that was looked for in vain.
fn linker(arch: Arch, target: &str, compiler: &Compiler, request: &Request) -> Result<Option<PathBuf>, String> {
    if let Some(linker) = request.tools.linker.get(&arch) {
        return Ok(Some(linker.clone()));
    }
    // Rust brings the C library's files for musl, and LLD links them on any system.
    if target.ends_with("-musl")
        && let Some(lld) = compiler.lld()
    {
        return Ok(Some(lld));
    }
    if compiler.host.starts_with(arch.machine()) && compiler.host.contains("-linux-") {
        return Ok(None);
    }
    let gnu = format!("{}-linux-gnu-gcc", arch.machine());
    in_path(&gnu).map(Some).ok_or(gnu)
}

/// The compiler that belongs to `cargo`: beside it in its toolchain, else the one of the search path.
fn rustc(cargo: &Path) -> PathBuf {
    let name = format!("rustc{}", std::env::consts::EXE_SUFFIX);
    let beside = cargo.with_file_name(&name);
    let own = cargo.is_absolute() && beside.is_file() && toolchain_of(&beside).is_some();
    if own { beside } else { program("RUSTC", "rustc") }
}

/// `bin/..`, if that is where a toolchain's libraries are.
fn toolchain_of(rustc: &Path) -> Option<PathBuf> {
    let root = rustc.parent()?.parent()?;
    root.join("lib/rustlib").is_dir().then(|| root.to_path_buf())
}

fn program(variable: &str, name: &str) -> PathBuf {
    let named = std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute() && path.is_file());
    named.or_else(|| in_path(name)).unwrap_or_else(|| PathBuf::from(name))
}

fn in_path(name: &str) -> Option<PathBuf> {
    let name = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    let folders = std::env::var_os("PATH")?;
    std::env::split_paths(&folders).map(|folder| folder.join(&name)).find(|path| path.is_absolute() && path.is_file())
}

/// What a compiler says of itself, kept because asking takes longer than everything else here: rustup's stand-in
/// programs first find out which toolchain is meant.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    asked: Vec<Option<Stamp>>,
    toolchain: Option<String>,
    compiler: Compiler,
}

fn compiler(rustc: &Path, request: &Request) -> Result<Compiler, String> {
    let rustup = std::env::var_os("RUSTUP_HOME").map(PathBuf::from);
    let rustup = rustup.or_else(|| Some(std::env::home_dir()?.join(".rustup"))).unwrap_or_default();
    let files = [
        rustc.to_path_buf(),
        rustup.join("settings.toml"),
        request.workspace.join("rust-toolchain.toml"),
        request.workspace.join("rust-toolchain"),
    ];
    let asked: Vec<_> = files.iter().map(|path| Stamp::of(path).ok()).collect();
    let toolchain = std::env::var("RUSTUP_TOOLCHAIN").ok();

    let name = format!("compiler-{:016x}.json", stamp::short_hash(&rustc.display().to_string()));
    let record = request.target_dir.join(name);
    let known = stamp::load::<Known>(&record).filter(|known| {
        known.asked == asked
            && known.toolchain == toolchain
            && known.compiler.rustc == rustc
            && known.compiler.sysroot.join("lib/rustlib").is_dir()
    });
    if let Some(known) = known {
        return Ok(known.compiler);
    }
    let version = ask(rustc, &["-vV"], request)?;
    let line = |key: &str| version.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default().to_owned();
    let sysroot = PathBuf::from(ask(rustc, &["--print", "sysroot"], request)?.trim_end());
    let compiler =
        Compiler { rustc: rustc.to_path_buf(), sysroot, host: line("host: "), commit: line("commit-hash: ") };
    stamp::store(&record, &Known { asked, toolchain, compiler: compiler.clone() });
    Ok(compiler)
}

fn ask(rustc: &Path, arguments: &[&str], request: &Request) -> Result<String, String> {
    let mut command = Command::new(rustc);
    command.args(arguments).stdin(Stdio::null());
    if request.workspace.is_dir() {
        command.current_dir(&request.workspace);
    }
    let output = command.output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{}: {}", output.status, text.lines().next().unwrap_or_default()));
    }
    String::from_utf8(output.stdout).map_err(|error| error.to_string())
}
