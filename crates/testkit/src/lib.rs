//! What the tests of this workspace share: oracle programs, real input files, deterministic damage.
//!
//! On a developer's laptop an absent oracle or file skips the test and says so; with `TALOS_RK_REQUIRE=1`, which
//! `.ci/run` sets, it fails. `CI_SHARED=absent` says that this checkout has no `../shared`, and then only the files
//! from there may be missing.

// Tests name the path in their own messages.
#![allow(clippy::disallowed_methods)]

use std::{
    path::{Path, PathBuf},
    process::Command,
};

pub mod faulty;
mod mutate;
pub mod registry;

pub use mutate::{Rng, mutants};

fn required() -> bool {
    std::env::var_os("TALOS_RK_REQUIRE").is_some_and(|value| value == "1")
}

fn skipped(what: &str) {
    eprintln!("skipped: {what}");
}

/// The root of the workspace.
pub fn workspace() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    root.map(Path::to_path_buf).unwrap_or_default()
}

/// The path of an oracle program: in the folder that `TALOS_RK_TOOLS` names, else in `PATH`.
///
/// # Panics
/// When the program is absent and `TALOS_RK_REQUIRE=1`.
pub fn tool(name: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("TALOS_RK_TOOLS").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    let found = folders
        .into_iter()
        .chain(std::env::split_paths(&path))
        .chain(system)
        .map(|folder| folder.join(name))
        .find(|candidate| candidate.is_file());
    if found.is_none() {
        assert!(!required(), "the oracle program {name} is missing; .ci/run installs it");
        skipped(&format!("no {name}"));
    }
    found
}

/// A file or folder of `../shared` beside the workspace, or of the folder that `TALOS_RK_SHARED` names.
///
/// # Panics
/// When it is absent, `TALOS_RK_REQUIRE=1` and `CI_SHARED` is not `absent`.
pub fn shared(path: &str) -> Option<PathBuf> {
    let root = std::env::var_os("TALOS_RK_SHARED").map_or_else(|| workspace().join("../shared"), PathBuf::from);
    let found = root.join(path);
    if found.exists() {
        return Some(found);
    }
    let outsider = std::env::var_os("CI_SHARED").is_some_and(|value| value == "absent");
    assert!(!required() || outsider, "{} is missing; CI_SHARED=absent says that it may be", found.display());
    skipped(&format!("no shared/{path}"));
    None
}

/// The folder with the unpacked reference images (`in/` and `shared/`): the one that `TALOS_RK_REFERENCE` names, else
/// unpacked once into the system's temporary folder.
///
/// # Panics
/// When `../shared/reference` is there and cannot be unpacked, or as [`shared`].
pub fn reference() -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os("TALOS_RK_REFERENCE") {
        return Some(PathBuf::from(folder));
    }
    let script = shared("reference/unpack.sh")?;
    tool("zstd")?;
    let target = std::env::temp_dir().join("talos-rk-reference");
    if !target.join("in").exists() {
        let fresh = tempfile::tempdir_in(std::env::temp_dir()).expect("a temporary folder");
        let unpacked = fresh.path().join("reference");
        run(Command::new("sh").arg(script).arg(&unpacked));
        // Another test may have been faster; its copy is as good.
        if std::fs::rename(&unpacked, &target).is_err() {
            assert!(target.join("in").exists(), "{} could not be made", target.display());
        }
    }
    Some(target)
}

/// The unpacked kernel package of a distribution, with `boot/vmlinuz-…` and `lib/modules/…`: the folder that
/// `TALOS_RK_MODULES` names.
///
/// # Panics
/// When it is absent, `TALOS_RK_REQUIRE=1` and `CI_SHARED` is not `absent`.
pub fn kernel_package() -> Option<PathBuf> {
    let folder = std::env::var_os("TALOS_RK_MODULES").map(PathBuf::from).filter(|folder| folder.is_dir());
    if folder.is_none() {
        let outsider = std::env::var_os("CI_SHARED").is_some_and(|value| value == "absent");
        assert!(!required() || outsider, "TALOS_RK_MODULES names no folder; .ci/run fetches the package");
        skipped("no unpacked kernel package (TALOS_RK_MODULES)");
    }
    folder
}

/// Runs a program and returns what it printed on standard output.
///
/// # Panics
/// When it cannot be started or fails; the message holds the command and all it printed.
#[track_caller]
pub fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Reads a file.
///
/// # Panics
/// When it cannot be read; the message names it.
#[track_caller]
pub fn read(path: impl AsRef<Path>) -> Vec<u8> {
    let path = path.as_ref();
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
