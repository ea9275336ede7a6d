//! An unpacked overlay image with the executable under test, and one way to call it.
#![allow(dead_code, unreachable_pub, reason = "each test program uses its part of this module")]

use std::{
    fs,
    io::{ErrorKind, Write as _},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use imgcore::Digest;
use talosimg::overlay::{Board, BootFile, EspFile, OverlayJson, SCHEMA};

/// An executable under test, with the emulator that runs it on this machine.
#[derive(Clone)]
pub struct Program {
    pub name: &'static str,
    pub path: PathBuf,
    pub emulator: Option<PathBuf>,
}

/// The one that cargo built, and the static ones that `.ci/run` built, if it names them.
pub fn programs() -> Vec<Program> {
    let own = Program { name: "host", path: env!("CARGO_BIN_EXE_overlay-installer").into(), emulator: None };
    let mut programs = vec![own];
    for (name, variable, emulator) in [
        ("x86_64", "TALOS_RK_INSTALLER_X86_64", None),
        ("aarch64", "TALOS_RK_INSTALLER_AARCH64", Some("qemu-aarch64-static")),
    ] {
        let Some(path) = std::env::var_os(variable).map(PathBuf::from) else {
            eprintln!("skipped: {variable} names no static {name} executable");
            continue;
        };
        assert!(path.is_file(), "{variable}={}: no such file", path.display());
        let emulator = match emulator.map(testkit::tool) {
            Some(None) => continue,
            Some(found) => found,
            None => None,
        };
        programs.push(Program { name, path, emulator });
    }
    programs
}

/// A temporary folder with `overlay/installers/NAME` and `overlay/artifacts`; calls are made with it as working
/// directory.
pub struct Overlay {
    pub folder: tempfile::TempDir,
    program: Program,
    installed: PathBuf,
}

impl Overlay {
    pub fn new(program: &Program, name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let installers = folder.path().join("overlay/installers");
        fs::create_dir_all(&installers).unwrap();
        fs::create_dir_all(folder.path().join("overlay/artifacts")).unwrap();
        let installed = installers.join(name);
        // A link is never "busy"; a fresh copy is, while another thread forks.
        if fs::hard_link(&program.path, &installed).is_err() {
            fs::copy(&program.path, &installed).unwrap();
        }
        Self { folder, program: program.clone(), installed }
    }

    pub fn path(&self, relative: &str) -> PathBuf {
        self.folder.path().join(relative)
    }

    pub fn write(&self, relative: &str, bytes: &[u8]) {
        let path = self.path(relative);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Writes `overlay.json`.
    pub fn describe(&self, name: &str, boards: Vec<Board>) {
        let json = OverlayJson { name: name.to_owned(), schema: SCHEMA, boards }.to_json().unwrap();
        self.write("overlay/artifacts/overlay.json", json.as_bytes());
    }

    /// An artifact that is written to the disk.
    pub fn boot_file(&self, path: &str, bytes: &[u8], offset: u64) -> BootFile {
        self.write(&format!("overlay/artifacts/{path}"), bytes);
        let size = bytes.len() as u64;
        BootFile { path: path.to_owned(), size, length: size, offset, digest: Digest::of(bytes) }
    }

    /// An artifact that goes to the ESP.
    pub fn esp_file(&self, path: &str, bytes: &[u8], destination: &str) -> EspFile {
        self.write(&format!("overlay/artifacts/{path}"), bytes);
        let destination = destination.to_owned();
        EspFile { path: path.to_owned(), destination, size: bytes.len() as u64, digest: Digest::of(bytes) }
    }

    /// The command without arguments, in this folder.
    pub fn command(&self) -> Command {
        let mut command = match &self.program.emulator {
            Some(emulator) => {
                let mut command = Command::new(emulator);
                command.arg(&self.installed);
                command
            }
            None => Command::new(&self.installed),
        };
        command.current_dir(self.folder.path());
        command
    }

    pub fn call(&self, arguments: &[&str], stdin: &str) -> Output {
        feed(self.command().args(arguments), stdin)
    }

    /// The same through a shell that does `before` first.
    pub fn call_after(&self, before: &str, arguments: &[&str], stdin: &str) -> Output {
        let command = self.command();
        let script = format!("{before}\nexec \"$0\" \"$@\"");
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(script).arg(command.get_program()).args(command.get_args()).args(arguments);
        feed(shell.current_dir(self.folder.path()), stdin)
    }
}

fn feed(command: &mut Command, stdin: &str) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = loop {
        match command.spawn() {
            Err(error) if error.kind() == ErrorKind::ExecutableFileBusy => std::thread::yield_now(),
            other => break other.unwrap(),
        }
    };
    // The program may end without reading.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    child.wait_with_output().unwrap()
}

/// Standard output of a call that must succeed.
#[track_caller]
pub fn answer(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {stderr}", output.status);
    assert_eq!(stderr, "", "success is silent on standard error");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Standard error of a call that must fail as the protocol says.
#[track_caller]
pub fn refusal(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert_eq!(output.stdout, b"", "{stderr}");
    assert!(stderr.starts_with("error: ") && stderr.ends_with('\n'), "{stderr}");
    stderr
}

/// Every file and folder below `root` with its mode and contents.
pub fn tree(root: &Path) -> Vec<(String, u32, Vec<u8>)> {
    use std::os::unix::fs::PermissionsExt as _;
    let mut found = Vec::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(folder) = open.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let contents = if metadata.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
            let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            found.push((name, metadata.permissions().mode() & 0o7777, contents));
            if metadata.is_dir() {
                open.push(path);
            }
        }
    }
    found.sort();
    found
}
