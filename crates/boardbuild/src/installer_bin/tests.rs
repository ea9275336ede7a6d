use std::{path::Path, sync::Mutex, time::Instant};

use imgcore::{NoProgress, ReadAt as _};

use super::*;

/// Keeps the names of the tasks that were started.
#[derive(Default)]
struct Tasks(Mutex<Vec<String>>);

impl Progress for Tasks {
    fn start(&self, task: &str, _total: Option<u64>) {
        self.0.lock().unwrap().push(task.to_owned());
    }

    fn advance(&self, _task: &str, _bytes: u64) {}

    fn finish(&self, _task: &str) {}
}

fn here() -> Option<Arch> {
    Arch::ALL.into_iter().find(|arch| arch.machine() == std::env::consts::ARCH && cfg!(target_os = "linux"))
}

fn request(workspace: &Path, target_dir: &Path) -> Request {
    Request { workspace: workspace.to_path_buf(), target_dir: target_dir.to_path_buf(), ..Request::new() }
}

#[test]
fn architectures_have_two_names() {
    for (text, arch) in
        [("arm64", Arch::Aarch64), ("aarch64", Arch::Aarch64), ("amd64", Arch::X86_64), ("x86_64", Arch::X86_64)]
    {
        assert_eq!(text.parse::<Arch>().unwrap(), arch);
    }
    let error = "arm46".parse::<Arch>().unwrap_err();
    assert!(error.to_string().contains("did you mean arm64?"), "{error}");
    assert_eq!(error.exit(), Exit::Usage);
}

#[test]
fn a_given_file_must_be_what_it_is_given_for() {
    let folder = tempfile::tempdir().unwrap();
    let script = folder.path().join("script");
    fs_err::write(&script, "#!/bin/sh\n").unwrap();
    // A program of the machine, as nearly all are: linked dynamically.
    let dynamic = testkit::tool("sh").unwrap();
    for (path, code, expected) in [
        (folder.path().join("none"), "SRC001", "none"),
        (folder.path().to_path_buf(), "SRC001", "is a folder"),
        (script, "VER003", "is no ELF file"),
        (dynamic, "VER003", "expected a static"),
    ] {
        if code == "VER003" && !cfg!(target_os = "linux") {
            continue;
        }
        let mut request = request(folder.path(), folder.path());
        request.given.insert(Arch::X86_64, path);
        let error = provide(&request, &NoProgress).unwrap_err();
        assert_eq!(error.exit(), Exit::Input);
        assert!(error.to_string().contains(expected) && error.to_string().contains(code), "{error}");
        assert!(error.to_string().contains("--installer-bin amd64=FILE"), "{error}");
    }
}

#[test]
fn without_sources_there_is_a_lack_for_each_architecture() {
    let folder = tempfile::tempdir().unwrap();
    let outcome = provide(&request(folder.path(), folder.path()), &NoProgress).unwrap();
    assert!(outcome.provided.is_empty());
    assert_eq!(outcome.lacks.iter().map(|lack| lack.arch).collect::<Vec<_>>(), Arch::ALL);
    for lack in outcome.lacks {
        assert!(lack.why.contains("its sources are not in"), "{}", lack.why);
        assert!(lack.command.contains(&format!("--installer-bin {}=FILE", lack.arch)), "{}", lack.command);
    }
}

#[cfg(unix)]
#[test]
fn a_missing_target_comes_with_the_command_that_adds_it() {
    use std::os::unix::fs::PermissionsExt as _;

    let folder = tempfile::tempdir().unwrap();
    let rustc = folder.path().join("rustc");
    let sysroot = folder.path().join("sysroot");
    fs_err::create_dir_all(sysroot.join("lib/rustlib")).unwrap();
    let script = format!(
        "#!/bin/sh\ncase $1 in -vV) echo 'host: riscv64gc-unknown-linux-gnu';; *) echo '{}';; esac\n",
        sysroot.display()
    );
    fs_err::write(&rustc, script).unwrap();
    fs_err::set_permissions(&rustc, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut request = request(&testkit::workspace(), &folder.path().join("target"));
    for arch in Arch::ALL {
        request.tools.rustc.insert(arch, rustc.clone());
    }
    let outcome = provide(&request, &NoProgress).unwrap();
    let lacks: Vec<_> = outcome.lacks.iter().map(|lack| (lack.arch, lack.command.as_str())).collect();
    assert_eq!(
        lacks,
        [
            (Arch::Aarch64, "rustup target add aarch64-unknown-linux-musl"),
            (Arch::X86_64, "rustup target add x86_64-unknown-linux-musl"),
        ]
    );
    assert!(
        outcome.lacks[0].why.contains("(or aarch64-unknown-linux-gnu) is not installed"),
        "{}",
        outcome.lacks[0].why
    );
}

/// Compiles for every architecture that this machine can compile for, the first time in a minute, then from the stamps.
#[test]
fn what_is_compiled_is_static_silent_about_this_machine_and_not_compiled_twice() {
    let request = Request { workspace: testkit::workspace(), ..Request::new() };
    let outcome = provide(&request, &NoProgress).unwrap();
    for lack in &outcome.lacks {
        let required = std::env::var_os("TALOS_RK_REQUIRE").is_some_and(|value| value == "1");
        assert!(!required, "{}: {} ({})", lack.arch, lack.why, lack.command);
        eprintln!("skipped: no installer executable for {}: {} ({})", lack.arch, lack.why, lack.command);
    }
    let tasks = Tasks::default();
    let begin = Instant::now();
    let again = provide(&request, &tasks).unwrap();
    eprintln!("nothing to do: {:?}", begin.elapsed());
    // A compile that failed is tried again, because what made it fail may be outside of what is watched.
    assert!(tasks.0.lock().unwrap().len() <= outcome.lacks.len());

    let home = std::env::home_dir().unwrap();
    for (provided, again) in outcome.provided.iter().zip(&again.provided) {
        assert_eq!(provided.blob.digest(), again.blob.digest());
        assert!(!provided.origin.contains('/'), "{}", provided.origin);
        let bytes = provided.blob.read_all(SIZE_LIMIT).unwrap();
        eprintln!("{}: {} bytes, {}", provided.arch, bytes.len(), provided.origin);
        assert!(bytes.len() < 3 << 20, "{} bytes", bytes.len());
        for private in [&home, &request.workspace, &request.target_dir] {
            let private = private.to_string_lossy();
            let found = bytes.windows(private.len()).any(|window| window == private.as_bytes());
            assert!(!found || private.len() < 3, "{}: {private} is in the executable", provided.arch);
        }
    }

    let Some(own) = outcome.provided.iter().find(|provided| Some(provided.arch) == here()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("installer");
    fs_err::write(&path, own.blob.read_all(SIZE_LIMIT).unwrap()).unwrap();
    let mut given = request.clone();
    given.given.insert(own.arch, path.clone());
    let given = provide(&given, &NoProgress).unwrap();
    assert!(given.provided.iter().any(|provided| provided.blob.digest() == own.blob.digest()));
    assert_eq!(own.blob.size(), fs_err::metadata(&path).unwrap().len());
}

fn copy(from: &Path, to: &Path) {
    if !from.is_dir() {
        fs_err::copy(from, to).unwrap();
        return;
    }
    fs_err::create_dir_all(to).unwrap();
    for entry in fs_err::read_dir(from).unwrap() {
        let name = entry.unwrap().file_name();
        if name != "target" {
            copy(&from.join(&name), &to.join(&name));
        }
    }
}

#[test]
#[ignore = "compiles the installer once more from nothing, which takes a minute"]
fn two_folders_give_the_same_bytes() {
    let Some(arch) = here() else { return };
    let first = Request { workspace: testkit::workspace(), wanted: vec![arch], ..Request::new() };
    let folder = tempfile::tempdir().unwrap();
    let second = Request {
        workspace: folder.path().join("a longer path/workspace"),
        target_dir: folder.path().join("elsewhere"),
        ..first.clone()
    };
    for name in ["Cargo.toml", "Cargo.lock", "crates", "xtask"] {
        fs_err::create_dir_all(&second.workspace).unwrap();
        copy(&first.workspace.join(name), &second.workspace.join(name));
    }
    let digest = |request: &Request| {
        let outcome = provide(request, &NoProgress).unwrap();
        assert_eq!(outcome.lacks, []);
        outcome.provided[0].blob.digest()
    };
    assert_eq!(digest(&first), digest(&second));
}
