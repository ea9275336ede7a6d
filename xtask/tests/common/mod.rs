//! What the tests of the program share: inputs, board files, runs of the program, foreign readers of what it wrote.
#![allow(dead_code, unreachable_pub, reason = "each test program uses its part of this module")]
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "helpers of tests")]

pub mod additions;
pub mod image;
pub mod raw;
pub mod transfers;
pub mod web;

use std::{
    ffi::OsString,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use fs_err as fs;
use serde_json::Value;
use tempfile::TempDir;

/// Kernel arguments of the stand-in overlay that the reference images were made with
/// (`reference.tar.zst`, `in/overlay-installer/nanopi-m6`).
pub const OVERLAY_ARGS: [&str; 5] = [
    "console=tty0",
    "sysctl.kernel.kexec_load_disabled=1",
    "talos.dashboard.disabled=1",
    "console=ttyS2,1500000n8",
    "consoleblank=0",
];

/// Files that a board needs, by role.
pub type Sources = Vec<(&'static str, PathBuf)>;

/// A set of inputs: those of the reference images, or our own of the demo board.
#[derive(Clone)]
pub struct Inputs {
    pub kernel: PathBuf,
    pub initramfs: PathBuf,
    pub sd_boot: PathBuf,
    pub stub: PathBuf,
    pub idbloader: PathBuf,
    pub u_boot: PathBuf,
    pub dtb: PathBuf,
    /// File name of the device tree on the ESP.
    pub dtb_name: &'static str,
    /// What the root of the device tree is compatible with.
    pub compatible: &'static str,
}

impl Inputs {
    /// Our own bytes, valid in format only.
    pub fn demo() -> Self {
        let folder = testkit::workspace().join("fixtures/demo");
        let base = folder.join("base/usr/install/arm64");
        Self {
            kernel: base.join("vmlinuz"),
            initramfs: base.join("initramfs.xz"),
            sd_boot: base.join("systemd-boot.efi"),
            stub: base.join("systemd-stub.efi"),
            idbloader: folder.join("idbloader.img"),
            u_boot: folder.join("u-boot.itb"),
            dtb: folder.join("rk3588s-demo.dtb"),
            dtb_name: "rk3588s-demo.dtb",
            compatible: "talos-rk,demo",
        }
    }

    /// What the upstream imager was given.
    pub fn reference() -> Option<Self> {
        let folder = testkit::reference()?.join("in");
        Some(Self {
            kernel: folder.join("vmlinuz"),
            initramfs: folder.join("initramfs.xz"),
            sd_boot: folder.join("systemd-boot.efi"),
            stub: folder.join("systemd-stub.efi"),
            idbloader: testkit::shared("testdata/ophub/easepi-r2-rk3588-idbloader.img")?,
            u_boot: testkit::shared("testdata/ophub/easepi-r2-rk3588-u-boot.itb")?,
            dtb: testkit::shared("testdata/seed-nanopi-m6/rk3588s-nanopi-m6.dtb")?,
            dtb_name: "rk3588s-nanopi-m6.dtb",
            compatible: "friendlyelec,nanopi-m6",
        })
    }
}

/// A folder with a base, board files and outputs, gone when the test ends.
pub struct World {
    folder: TempDir,
    pub inputs: Inputs,
}

impl World {
    pub fn new(inputs: Inputs) -> Self {
        Self { folder: tempfile::tempdir().unwrap(), inputs }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A folder that looks like the root of Talos' imager image, with a boot picture if one is given.
    pub fn base(&self, name: &str, splash: Option<&[u8]>) -> PathBuf {
        let base = self.path(name);
        let folder = base.join("usr/install/arm64");
        fs::create_dir_all(&folder).unwrap();
        for (file, input) in [
            ("vmlinuz", &self.inputs.kernel),
            ("initramfs.xz", &self.inputs.initramfs),
            ("systemd-boot.efi", &self.inputs.sd_boot),
            ("systemd-stub.efi", &self.inputs.stub),
        ] {
            symlink(fs::canonicalize(input).unwrap(), folder.join(file)).unwrap();
        }
        if let Some(splash) = splash {
            fs::write(folder.join("splash.bmp"), splash).unwrap();
        }
        base
    }

    /// A board with the stand-in overlay's offset and arguments. Boot files stand at sectors 64 and 16384.
    pub fn overlay_board(&self, name: &str, offset: u64) -> PathBuf {
        let args = OVERLAY_ARGS.map(|arg| format!("{arg:?}")).join(", ");
        let Inputs { dtb_name, compatible, .. } = &self.inputs;
        let text = format!(
            r#"name = "{name}"
soc = "rk3588"
[dtb]
path = "rockchip/{dtb_name}"
compatible = ["{compatible}"]
[boot.mainline]
files = [{{ source = "idbloader", at-sector = 64 }}, {{ source = "u-boot", at-sector = 16384 }}]
[overlay]
name = "nanopi-m6"
options = {{ board = "nanopi-m6" }}
partition-offset = {offset}
kernel-args = [{args}]
bootloader = "sd-boot"
"#
        );
        self.board(name, &text)
    }

    /// A board of which nothing is in the image: the imager's `metal` profile as it is.
    pub fn plain_board(&self, name: &str) -> PathBuf {
        self.board(name, &format!("name = \"{name}\"\n"))
    }

    pub fn board(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(&format!("{name}.toml"));
        fs::write(&path, text).unwrap();
        path
    }

    pub fn sources(&self) -> Sources {
        let Inputs { idbloader, u_boot, dtb, .. } = &self.inputs;
        vec![("idbloader", idbloader.clone()), ("u-boot", u_boot.clone()), ("dtb", dtb.clone())]
    }

    /// `image BOARD --talos VERSION`, with sd-boot and static stand-ins for the installer executables, so that nothing is
    /// compiled while a test runs.
    pub fn image(&self, board: &Path, talos: &str, out: &str) -> Command {
        let mut command = xtask();
        command.arg("image").arg(board).args(["--talos", talos, "--bootloader", "sd-boot", "--json"]);
        command.arg("-o").arg(self.path(out)).arg("--cache-dir").arg(self.path("cache"));
        if fs::read_to_string(board).unwrap().contains("[overlay]") {
            self.stand_ins(&mut command);
        }
        command
    }

    /// Gives the command an installer executable of each architecture.
    pub fn stand_ins(&self, command: &mut Command) {
        for (arch, machine) in [("arm64", 183_u16), ("amd64", 62)] {
            let path = self.path(&format!("installer-{arch}"));
            if !path.exists() {
                fs::write(&path, static_elf(machine)).unwrap();
            }
            command.arg("--installer-bin").arg(prefixed(&format!("{arch}="), &path));
        }
    }

    /// Adds `--source` for every file of the board.
    pub fn add_sources(&self, command: &mut Command) {
        for (role, path) in self.sources() {
            command.arg("--source").arg(prefixed(&format!("{role}="), &path));
        }
    }
}

/// `prefix` and a path, which need not be UTF-8.
pub fn prefixed(prefix: &str, path: &Path) -> OsString {
    let mut text = OsString::from(prefix);
    text.push(path);
    text
}

/// The smallest file that passes for a static executable: an ELF header, one loadable segment, `nop`s.
fn static_elf(machine: u16) -> Vec<u8> {
    let mut bytes = b"\x7fELF\x02\x01\x01".to_vec();
    bytes.resize(16, 0);
    bytes.extend_from_slice(&2_u16.to_le_bytes());
    bytes.extend_from_slice(&machine.to_le_bytes());
    bytes.extend_from_slice(&1_u32.to_le_bytes());
    bytes.extend_from_slice(&0x40_0078_u64.to_le_bytes());
    bytes.extend_from_slice(&64_u64.to_le_bytes());
    bytes.resize(52, 0);
    for half in [64_u16, 56, 1, 0, 0, 0] {
        bytes.extend_from_slice(&half.to_le_bytes());
    }
    bytes.extend_from_slice(&1_u32.to_le_bytes());
    bytes.extend_from_slice(&5_u32.to_le_bytes());
    for word in [0_u64, 0x40_0000, 0x40_0000, 136, 136, 0x1000] {
        bytes.extend_from_slice(&word.to_le_bytes());
    }
    bytes.resize(136, 0);
    bytes
}

/// The program under test, free of what the developer's environment says about builds.
pub fn xtask() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    for name in ["TALOS_VERSION", "SOURCE_DATE_EPOCH", "TALOS_RK_CACHE"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// Runs a command with `--json` and returns `result`.
#[track_caller]
pub fn result(command: &mut Command) -> Value {
    let text = testkit::run(command);
    let mut object: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    assert_eq!(object["ok"], true, "{text}");
    object["result"].take()
}

/// The independent reader of the reference images.
#[derive(Clone)]
pub struct Describe {
    python: PathBuf,
    script: PathBuf,
}

impl Describe {
    pub fn find() -> Option<Self> {
        Some(Self { python: testkit::tool("python3")?, script: testkit::shared("reference/describe.py")? })
    }

    /// What it says about a disk image.
    #[track_caller]
    pub fn image(&self, path: &Path) -> Value {
        serde_json::from_str(&testkit::run(Command::new(&self.python).arg(&self.script).arg(path))).unwrap()
    }

    /// What it says about a unified kernel image.
    #[track_caller]
    pub fn uki(&self, path: &Path) -> Value {
        serde_json::from_str(&testkit::run(Command::new(&self.python).arg(&self.script).arg("--uki").arg(path)))
            .unwrap()
    }

    /// Where two descriptions differ: path, first value, second value, as `describe.py --diff` prints them.
    pub fn diff(&self, first: &Path, second: &Path) -> Vec<Difference> {
        let output =
            Command::new(&self.python).arg(&self.script).arg("--diff").arg(first).arg(second).output().unwrap();
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(output.status.success(), lines.is_empty(), "{text}");
        let difference = |three: &[&str]| {
            let value = |line: &str, sign: &str| line.strip_prefix(sign).unwrap_or_else(|| panic!("{text}")).to_owned();
            Difference { path: three[0].to_owned(), theirs: value(three[1], "  - "), ours: value(three[2], "  + ") }
        };
        lines.chunks(3).map(difference).collect()
    }
}

/// One difference between two descriptions.
#[derive(Debug, PartialEq, Eq)]
pub struct Difference {
    pub path: String,
    pub theirs: String,
    pub ours: String,
}

/// A section's bytes of a PE file, by hand: `e_lfanew` at 0x3c, section table behind the optional header.
pub fn pe_section(file: &[u8], name: &str) -> Option<Vec<u8>> {
    let pe = raw::Pe::parse(file);
    let found = pe.sections.iter().find(|section| section.name == name)?;
    Some(found.content(file).to_vec())
}

/// What `/dev/zero` would give, in pieces of a mebibyte: the chunks of a file that hold anything.
pub fn copy_sparse(from: &fs::File, start: u64, length: u64, to: &Path) {
    let out = fs::File::create(to).unwrap();
    out.set_len(length).unwrap();
    let zeros = vec![0; 1 << 20];
    let mut chunk = vec![0; 1 << 20];
    let mut at = 0;
    while at < length {
        let count = usize::try_from((length - at).min(1 << 20)).unwrap();
        raw::read_at(from, start + at, &mut chunk[..count]);
        if chunk[..count] != zeros[..count] {
            std::os::unix::fs::FileExt::write_all_at(out.file(), &chunk[..count], at).unwrap();
        }
        at += count as u64;
    }
}
