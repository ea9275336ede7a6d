//! Compiling `overlay-installer` for one architecture.

use std::{
    ffi::OsString,
    io::Read as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use imgcore::Progress;

use super::{
    Arch, Lack, Provided, Request, elf, read,
    stamp::{self, Record},
    toolchain::{self, Toolchain},
};
use crate::{
    error::{Error, Result},
    files::Stamp,
};

/// Name of package and executable.
const PACKAGE: &str = "overlay-installer";

/// Changes when what is done with the same inputs changes.
const RECIPE: &str = "recipe 1";

/// Small rather than fast: it reads a few megabytes once. Everything here overrides the workspace's own profile.
const PROFILE: [&str; 8] = [
    "opt-level=\"s\"",
    "lto=\"fat\"",
    "codegen-units=1",
    "panic=\"abort\"",
    "strip=\"symbols\"",
    "debug=false",
    "incremental=false",
    "overflow-checks=true",
];

/// Variables of cargo's own that are the user's setup and do not reach the bytes.
const KEPT: [&str; 6] = ["HOME", "NET_", "HTTP_", "REGISTRY_", "REGISTRIES_", "TERM_"];

pub(super) fn provide(
    arch: Arch,
    request: &Request,
    progress: &dyn Progress,
) -> Result<std::result::Result<Provided, Lack>> {
    let root = &request.workspace;
    if !root.join("crates").join(PACKAGE).join("Cargo.toml").is_file() {
        let why = format!("its sources are not in {}", root.display());
        return Ok(Err(Lack { arch, why, command: format!("cargo xtask image BOARD --installer-bin {arch}=FILE") }));
    }
    let toolchain = match toolchain::find(arch, request) {
        Ok(toolchain) => toolchain,
        Err(lack) => return Ok(Err(lack)),
    };
    let flags = flags(&toolchain, request);
    let output = request.target_dir.join(&toolchain.target).join("release").join(PACKAGE);
    let record = request.target_dir.join(format!("{}.json", toolchain.target));
    let inputs = inputs(&toolchain, request, &flags)?;

    let fresh = stamp::load::<Record>(&record)
        .is_some_and(|record| record.inputs == inputs && Stamp::of(&output).is_ok_and(|stamp| stamp == record.output));
    if !fresh {
        let task = format!("compiling the installer executable for {arch}");
        progress.start(&task, None);
        let compiled = compile(&toolchain, request, &flags, progress);
        progress.finish(&task);
        if let Err(problem) = compiled {
            if progress.cancelled() {
                return Err(Error::cancelled());
            }
            let why = format!("compiling it for {} failed: {problem}", toolchain.target);
            return Ok(Err(Lack { arch, why, command: by_hand(&toolchain, request) }));
        }
    }
    let unusable = |problem: String| Lack {
        arch,
        why: format!("{}: {problem}", output.display()),
        command: by_hand(&toolchain, request),
    };
    let blob = match read(arch, &output) {
        Ok(blob) => blob,
        Err(error) => return Ok(Err(unusable(error.to_string()))),
    };
    if let Err(problem) = elf::check(&blob.read_all(super::SIZE_LIMIT)?, arch) {
        return Ok(Err(unusable(problem)));
    }
    if !fresh && let Ok(output) = Stamp::of(&output) {
        stamp::store(&record, &Record { inputs, output });
    }
    Ok(Ok(Provided {
        arch,
        blob,
        origin: format!("{PACKAGE} {}, compiled for {}", env!("CARGO_PKG_VERSION"), toolchain.target),
    }))
}

fn inputs(toolchain: &Toolchain, request: &Request, flags: &[OsString]) -> Result<imgcore::Digest> {
    let compiler = &toolchain.compiler;
    let mut others = vec![compiler.rustc.clone(), toolchain.cargo.clone(), compiler.sysroot.join("lib/rustlib")];
    others.extend(compiler.library(&toolchain.target));
    others.extend(toolchain.linker.clone());
    others.extend(["rust-toolchain.toml", "rust-toolchain"].map(|name| request.workspace.join(name)));
    let mut words = vec![RECIPE.to_owned(), toolchain.target.clone(), compiler.commit.clone()];
    words.extend(PROFILE.map(str::to_owned));
    words.extend(flags.iter().map(|flag| flag.to_string_lossy().into_owned()));
    stamp::inputs(&request.workspace, &others, &words).map_err(Error::from)
}

/// Flags for the target's code alone. Paths of this machine are replaced; of several prefixes that match, the compiler
/// takes the last.
fn flags(toolchain: &Toolchain, request: &Request) -> Vec<OsString> {
    let compiler = &toolchain.compiler;
    let mut flags: Vec<OsString> =
        ["-Ctarget-feature=+crt-static", "-Crelocation-model=static"].map(OsString::from).to_vec();
    if let Some(linker) = &toolchain.linker {
        flags.push(joined("-Clinker=", linker, ""));
    }
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(std::env::home_dir()?.join(".cargo"))).unwrap_or_else(|| PathBuf::from(".cargo"));
    let mut remap = |from: &Path, to: &str| flags.push(joined("--remap-path-prefix=", from, to));
    remap(&home, "=/cargo");
    // The folder of a registry has a hash of its address in its name, which differs behind a mirror.
    let registries = fs_err::read_dir(home.join("registry/src")).into_iter().flatten().flatten();
    let mut registries: Vec<_> = registries.map(|entry| entry.path()).collect();
    registries.sort();
    for registry in registries {
        remap(&registry, "=/cargo/registry");
    }
    remap(&compiler.sysroot, "=/rust");
    remap(&compiler.sysroot.join("lib/rustlib/src/rust"), &format!("=/rustc/{}", compiler.commit));
    remap(&request.workspace, "=/talos-rk");
    remap(&request.target_dir, "=/target");
    flags
}

fn joined(before: &str, path: &Path, after: &str) -> OsString {
    let mut text = OsString::from(before);
    text.push(path);
    text.push(after);
    text
}

fn compile(
    toolchain: &Toolchain,
    request: &Request,
    flags: &[OsString],
    progress: &dyn Progress,
) -> std::result::Result<(), String> {
    let mut command = Command::new(&toolchain.cargo);
    command.args(["build", "--package", PACKAGE, "--release", "--locked", "--target", &toolchain.target]);
    command.arg("--target-dir").arg(&request.target_dir);
    if request.offline {
        command.arg("--offline");
    }
    for setting in PROFILE {
        command.arg("--config").arg(format!("profile.release.{setting}"));
    }
    // What cargo and the user set for the program that is running must not reach the one that is compiled.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let cargo = text.strip_prefix("CARGO").is_some_and(|rest| {
            rest.is_empty()
                || rest.strip_prefix('_').is_some_and(|rest| !KEPT.iter().any(|kept| rest.starts_with(kept)))
        });
        if cargo || (text.starts_with("RUSTC") || text.starts_with("RUSTDOC") || text == "RUSTFLAGS") {
            command.env_remove(&name);
        }
    }
    command.env("RUSTC", &toolchain.compiler.rustc);
    command.env("CARGO_ENCODED_RUSTFLAGS", flags.join(&OsString::from("\u{1f}")));
    command.current_dir(&request.workspace).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let failed = |error: std::io::Error| format!("{}: {error}", toolchain.cargo.display());
    let mut child = command.spawn().map_err(failed)?;
    let stderr = child.stderr.take();
    let reader = std::thread::spawn(move || {
        let mut text = Vec::new();
        if let Some(mut stderr) = stderr {
            // A broken pipe ends the text; the exit status tells the rest.
            let _ = stderr.read_to_end(&mut text);
        }
        String::from_utf8_lossy(&text).into_owned()
    });
    let status = wait(&mut child, progress).map_err(failed)?;
    let text = reader.join().unwrap_or_default();
    if status.success() { Ok(()) } else { Err(summary(&text).unwrap_or_else(|| status.to_string())) }
}

fn wait(child: &mut Child, progress: &dyn Progress) -> std::io::Result<std::process::ExitStatus> {
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if progress.cancelled() {
            child.kill()?;
            return child.wait();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The first error that cargo or the compiler told, and what a linker said of it.
fn summary(text: &str) -> Option<String> {
    let mut lines = text.lines().skip_while(|line| !line.starts_with("error"));
    let first = lines.next()?.to_owned();
    let note =
        lines.find(|line| line.contains("cannot find") || line.contains("undefined") || line.contains("No such"));
    Some(note.map_or_else(|| first.clone(), |note| format!("{first} ({})", note.trim())))
}

fn by_hand(toolchain: &Toolchain, request: &Request) -> String {
    format!("cd {} && cargo build -p {PACKAGE} --release --target {}", request.workspace.display(), toolchain.target)
}
