//! Every finding of the build and of `verify`, made on purpose: its code, and what the program exits with.

#![allow(clippy::unwrap_used, reason = "a test stops where its helpers do")]
#![allow(clippy::disallowed_methods, reason = "tests write into their own temporary folders")]

mod common;

use std::{os::unix::fs::FileExt as _, path::Path, process::Command};

use common::{Inputs, World, prefixed, result, xtask};
use fs_err as fs;
use serde_json::Value;

/// Exit code and codes of all findings.
fn outcome(command: &mut Command) -> (i32, Vec<String>) {
    let output = command.output().unwrap();
    let object: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)));
    let codes =
        object["findings"].as_array().unwrap().iter().map(|finding| finding["code"].as_str().unwrap().to_owned());
    (output.status.code().unwrap(), codes.collect())
}

#[track_caller]
fn expect(what: &str, command: &mut Command, exit: i32, code: &str) {
    let (found, codes) = outcome(command);
    assert!(codes.iter().any(|found| found == code), "{what}: {code} is not among {codes:?}");
    assert_eq!(found, exit, "{what}: {codes:?}");
}

/// The demo's board with other text, built without writing anything.
struct Bench {
    world: World,
    base: std::path::PathBuf,
}

impl Bench {
    fn new() -> Self {
        let world = World::new(Inputs::demo());
        let base = world.base("base", None);
        Self { world, base }
    }

    fn text(&self) -> String {
        fs::read_to_string(self.world.overlay_board("board", 20_480)).unwrap()
    }

    /// `image` of a board file of this text, with all sources.
    fn image(&self, text: &str) -> Command {
        self.image_with(text, "", Path::new(""))
    }

    /// The same with another file for one role.
    fn image_with(&self, text: &str, other: &str, path: &Path) -> Command {
        let mut command = self.bare(text);
        command.arg("--base").arg(prefixed("dir:", &self.base));
        for (role, own) in self.world.sources().iter().filter(|(role, _)| *role != other) {
            command.arg("--source").arg(prefixed(&format!("{role}="), own));
        }
        if !other.is_empty() {
            command.arg("--source").arg(prefixed(&format!("{other}="), path));
        }
        command
    }

    fn bare(&self, text: &str) -> Command {
        let board = self.world.board("board", text);
        let mut command = self.world.image(&board, "v1.10.6", "out");
        command.arg("--dry-run");
        command
    }

    fn file(&self, name: &str, bytes: &[u8]) -> std::path::PathBuf {
        let path = self.world.path(name);
        fs::write(&path, bytes).unwrap();
        path
    }
}

#[test]
fn board_files_and_usage() {
    let bench = Bench::new();
    let good = bench.text();
    expect("unknown key", &mut bench.image(&format!("colour = 1\n{good}")), 2, "BRD001");
    expect("another name", &mut bench.image(&good.replace("name = \"board\"", "name = \"another\"")), 0, "BRD002");
    let empty = good.replace("board = \"nanopi-m6\"", "board = \"nanopi-m6\", chipset = \"\"");
    let command = bench.image(&empty);
    let mut real = Command::new(command.get_program());
    real.args(command.get_args().filter(|word| *word != "--dry-run"));
    expect("an option without a value", &mut real, 1, "BRD003");
    expect("no such board", xtask().args(["image", "no-such-board", "--json"]), 2, "BRD004");
    expect("size", bench.image(&good).args(["--size", "3"]), 2, "USE001");
    expect("unused", bench.image(&good).args(["--allow", "VER001"]), 0, "USE003");
    bench.file("sources.lock", b"version = \"one\"\n");
    expect("lock", &mut bench.image(&good), 2, "BRD005");
}

#[test]
fn layouts() {
    let bench = Bench::new();
    let good = bench.text();
    expect("one sector", &mut bench.image(&good.replace("at-sector = 16384", "at-sector = 65")), 1, "LAY003");
    expect("small", bench.image(&good).args(["--size", "1048576"]), 1, "LAY004");
    expect("table", &mut bench.image(&good.replace("at-sector = 16384", "at-sector = 20482")), 1, "LAY001");
    expect("partition", &mut bench.image(&good.replace("at-sector = 16384", "at-sector = 22528")), 1, "LAY002");

    // Two copies of the idblock, the second with another byte.
    let block = fs::read(&bench.world.inputs.idbloader).unwrap();
    let mut twice = vec![0; (512 << 10) + block.len()];
    twice[..block.len()].copy_from_slice(&block);
    twice[512 << 10..].copy_from_slice(&block);
    *twice.last_mut().unwrap() ^= 1;
    let twice = bench.file("twice.img", &twice);
    let trimmed = good.replace("at-sector = 64 }", "at-sector = 64, trim-copies = true }");
    expect("copies", &mut bench.image_with(&trimmed, "idbloader", &twice), 1, "LAY005");

    let start = good.find("[boot.mainline]").unwrap();
    let end = good.find("[overlay]").unwrap();
    let bare = format!("{}{}", &good[..start], &good[end..]);
    let mut command = bench.bare(&bare);
    command.arg("--base").arg(prefixed("dir:", &bench.base));
    command.arg("--source").arg(prefixed("dtb=", &bench.world.inputs.dtb));
    expect("no boot file", &mut command, 0, "LAY006");

    let flash = good.replace("[overlay]", "[spi]\nsource = \"spi\"\nsize = 1048576\n[overlay]");
    let large = bench.file("spi.bin", &vec![0xff; (1 << 20) + 512]);
    expect("flash", &mut bench.image_with(&flash, "spi", &large), 1, "LAY010");
    expect("no idblock", &mut bench.image_with(&flash, "spi", &large), 1, "LAY011");
    expect("no place", &mut bench.image(&flash.replace("\"rk3588\"", "\"rk3308\"")), 1, "LAY013");
}

#[test]
fn inputs_and_versions() {
    let bench = Bench::new();
    let good = bench.text();
    let source = |role: &str, path: &Path| bench.image_with(&good, role, path);
    expect("no file", &mut source("u-boot", Path::new("/no/such/file")), 3, "SRC001");
    expect("empty", &mut source("u-boot", &bench.file("empty", b"")), 1, "SRC005");
    let older = |word: &std::ffi::OsStr| if word == "v1.10.6" { "v1.2.0".into() } else { word.to_owned() };
    let known = bench.image(&good);
    let mut release = Command::new(known.get_program());
    release.args(known.get_args().map(older));
    expect("release", &mut release, 1, "VER001");
    expect("initramfs", &mut source("initramfs", &bench.file("text", b"no initramfs")), 1, "VER003");
    let edited = good.replace("[boot.mainline]", "edits = [\"enable /no-such-node\"]\n[boot.mainline]");
    expect("edit", &mut bench.image(&edited), 1, "VER005");

    // Inputs that the board file names itself: another digest than the locked one, none at all, on the network.
    let own = |origin: &str| format!("{good}[sources.u-boot]\n{origin}\n");
    let without = |text: &str| {
        let mut command = bench.bare(text);
        command.arg("--base").arg(prefixed("dir:", &bench.base));
        for (role, path) in bench.world.sources().iter().filter(|(role, _)| *role != "u-boot") {
            command.arg("--source").arg(prefixed(&format!("{role}="), path));
        }
        command
    };
    bench.file("u-boot.itb", &fs::read(&bench.world.inputs.u_boot).unwrap());
    expect("locked", without(&own("path = \"u-boot.itb\"")).arg("--locked"), 3, "SRC004");
    let far = "url = \"https://example.org/u-boot.itb\"";
    expect("network", without(&own(far)).arg("--offline"), 3, "SRC003");
    expect("not locked", without(&own(far)).args(["--locked", "--offline"]), 3, "SRC004");
    let lock = "version = 1\nepoch = 1\n[[source]]\nboard = \"board\"\nname = \"u-boot\"\norigin = \"u-boot.itb\"\nsha256 = \
                \"sha256:0000000000000000000000000000000000000000000000000000000000000000\"\nsize = 1\n";
    bench.file("sources.lock", lock.as_bytes());
    expect("digest", &mut without(&own("path = \"u-boot.itb\"")), 3, "SRC002");
}

#[test]
fn installer_executables() {
    let bench = Bench::new();
    let board = bench.world.overlay_board("board", 20_480);
    let command = |subcommand: &str, given: &[&str]| {
        let mut stand_in = Command::new("true");
        bench.world.stand_ins(&mut stand_in);
        let mut command = xtask();
        command.arg(subcommand).arg(&board).args(["--talos", "v1.10.6", "--json", "--dry-run", "-o"]);
        command.arg(bench.world.path("out")).arg("--cache-dir").arg(bench.world.path("cache"));
        // No compiler is found, so what is not given is not there.
        command.env("PATH", "/nonexistent").env("RUSTC", "/nonexistent/rustc").env("CARGO", "/nonexistent/cargo");
        for arch in given {
            command.arg("--installer-bin");
            command.arg(prefixed(&format!("{arch}="), &bench.world.path(&format!("installer-{arch}"))));
        }
        if subcommand == "image" {
            command.arg("--base").arg(prefixed("dir:", &bench.base));
        }
        bench.world.add_sources(&mut command);
        command
    };
    expect("one lacks", &mut command("image", &["arm64"]), 0, "OVL101");
    expect("both lack", &mut command("image", &[]), 0, "OVL103");
    expect("required", command("image", &["arm64"]).args(["--require-arch", "amd64"]), 3, "OVL102");
    expect("overlay alone", &mut command("overlay", &[]), 3, "OVL102");
}

#[test]
fn finished_images() {
    let bench = Bench::new();
    let board = bench.world.overlay_board("board", 20_480);
    let mut command = bench.world.image(&board, "v1.10.6", "out");
    command.args(["--format", "raw"]).arg("--base").arg(prefixed("dir:", &bench.base));
    bench.world.add_sources(&mut command);
    result(&mut command);
    let image = bench.world.path("out/metal-arm64.raw");
    let verify = |image: &Path| {
        let mut command = xtask();
        command.arg("verify").arg(image).arg("--json");
        command
    };
    // Each damage is done and undone: the first bytes of a range are replaced.
    let damaged = |what: &str, at: u64, bytes: &[u8], exit: i32, code: &str, board: Option<&Path>| {
        let file = fs::OpenOptions::new().read(true).write(true).open(&image).unwrap();
        let mut before = vec![0; bytes.len()];
        file.file().read_exact_at(&mut before, at).unwrap();
        file.file().write_all_at(bytes, at).unwrap();
        let mut command = verify(&image);
        if let Some(board) = board {
            command.arg("--board").arg(board);
        }
        expect(what, &mut command, exit, code);
        file.file().write_all_at(&before, at).unwrap();
    };
    assert_eq!(outcome(&mut verify(&image)).0, 0);
    damaged("a boot file", (64 + 20) * 512, &[0xa5; 64], 1, "VFY003", None);
    damaged("rubbish in front", 64 * 512, &[0x5a; 512], 1, "VFY004", None);
    damaged("the ESP", 11_534_336, &[0; 512], 1, "FAT001", None);
    let moved = bench.world.overlay_board("moved", 24_576);
    damaged("another board", 0, &[], 1, "VFY002", Some(&moved));

    let cut = bench.world.path("cut.raw.xz");
    fs::write(&cut, b"\xfd7zXZ\0\0\x04").unwrap();
    expect("a cut file", &mut verify(&cut), 1, "VFY001");
    let alone = bench.world.path("out/renamed.raw");
    fs::rename(&image, &alone).unwrap();
    expect("another record", &mut verify(&alone), 0, "VFY006");
    // A partition called EFI without a boot program.
    let file = fs::OpenOptions::new().read(true).write(true).open(&alone).unwrap();
    let mut sector = vec![0; 1 << 20];
    file.file().read_exact_at(&mut sector, 11_534_336).unwrap();
    let reserved = u64::from(u16::from_le_bytes([sector[14], sector[15]]));
    let fat = u64::from(u32::from_le_bytes([sector[36], sector[37], sector[38], sector[39]]));
    let root = 11_534_336 + (reserved + 2 * fat) * 512;
    file.file().write_all_at(&[0; 512], root).unwrap();
    expect("an empty ESP", &mut verify(&alone), 1, "VFY005");
}
