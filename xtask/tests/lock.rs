//! `cargo xtask lock` against a server whose files change.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test")]

mod common;

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use boardbuild::{Digest, Lock};
use common::{Inputs, World, web::Web, xtask};
use fs_err as fs;
use serde_json::Value;

/// A board in a folder of its own, a server, a store.
struct Bench {
    world: World,
    web: Web,
}

impl Bench {
    fn new() -> Self {
        Self { world: World::new(Inputs::demo()), web: Web::start() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.world.path(name)
    }

    fn board(&self, sources: &str) -> PathBuf {
        let path = self.path("b.toml");
        fs::write(&path, format!("name = \"b\"\n{sources}")).unwrap();
        path
    }

    /// `[sources.x]` and `[sources.y]` with two files of the server.
    fn two(&self) -> PathBuf {
        self.web.put("x", "one");
        self.web.put("y", "two");
        let (x, y) = (self.web.url("x"), self.web.url("y"));
        self.board(&format!("[sources.x]\nurl = \"{x}\"\nlicence = \"MIT\"\n[sources.y]\nurl = \"{y}\"\n"))
    }

    fn lock(&self, board: &Path, args: &[&str]) -> (i32, Value) {
        let mut command = xtask();
        command.arg("lock").arg(board).args(args).arg("--json");
        command.arg("--plain-http").arg(self.web.host()).arg("--cache-dir").arg(self.path("cache"));
        run(&mut command)
    }

    /// Builds the image of a board; nothing is compiled.
    fn image(&self, board: &Path, args: &[&str]) -> (i32, Value) {
        let mut command = xtask();
        command.arg("image").arg(board).args(args).arg("--json").arg("-o").arg(self.path("out"));
        command.arg("--plain-http").arg(self.web.host()).arg("--cache-dir").arg(self.path("cache"));
        self.world.stand_ins(&mut command);
        run(&mut command)
    }

    /// The demo with its inputs on the server.
    fn demo(&self) -> PathBuf {
        let demo = testkit::workspace().join("boards/demo.toml");
        let (text, _) =
            fs::read_to_string(demo).unwrap().split_once("[sources]").map(|(a, b)| (a.to_owned(), b.len())).unwrap();
        let base = testkit::workspace().join("fixtures/demo/base");
        let mut text = text.replace("name = \"demo\"\ntitle", "name = \"b\"\ntitle");
        text = text.replace("dir:../fixtures/demo/base", &format!("dir:{}", base.display()));
        let installer_base = base.with_file_name("installer-base.tar");
        text = text.replace("../fixtures/demo/installer-base.tar", &installer_base.display().to_string());
        text.push_str("[sources]\n");
        let files = [("idbloader", "idbloader.img"), ("u-boot", "u-boot.itb"), ("dtb", "rk3588s-demo.dtb")];
        for (role, file) in files {
            self.web.put(file, fs::read(testkit::workspace().join("fixtures/demo").join(file)).unwrap());
            let line = format!("{role} = {{ url = \"{}\" }}\n", self.web.url(file));
            text.push_str(&line);
        }
        let path = self.path("b.toml");
        fs::write(&path, text).unwrap();
        path
    }

    fn file(&self) -> Lock {
        Lock::read(&self.world.path("")).unwrap()
    }

    fn text(&self) -> String {
        fs::read_to_string(self.path("sources.lock")).unwrap()
    }
}

fn run(command: &mut Command) -> (i32, Value) {
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    (output.status.code().unwrap(), value)
}

fn kinds(answer: &Value) -> Vec<(String, String)> {
    let changes = answer["result"]["changes"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    changes.iter().map(|change| (text(&change["name"]), text(&change["kind"]))).collect()
}

fn expect(answer: &Value, expected: &[(&str, &str)]) {
    let expected: Vec<_> = expected.iter().map(|(name, kind)| ((*name).to_owned(), (*kind).to_owned())).collect();
    assert_eq!(kinds(answer), expected, "{answer:#}");
}

#[test]
fn what_is_locked_stays_until_a_person_moves_it() {
    let bench = Bench::new();
    let board = bench.two();
    let (exit, answer) = bench.lock(&board, &[]);
    assert_eq!(exit, 0, "{answer:#}");
    expect(&answer, &[("b/x", "added"), ("b/y", "added")]);
    let first = bench.file();
    assert_eq!(first.find("b", "x").unwrap().sha256, Digest::of(b"one"));
    assert_eq!(first.find("b", "x").unwrap().licence.as_deref(), Some("MIT"));
    assert!(first.epoch.is_some());

    let text = bench.text();
    bench.web.asked();
    let (exit, answer) = bench.lock(&board, &["--locked"]);
    assert_eq!(exit, 0, "{answer:#}");
    expect(&answer, &[("b/x", "unchanged"), ("b/y", "unchanged")]);
    assert_eq!(answer["result"]["written"].as_array().unwrap().len(), 0);
    assert_eq!(bench.web.asked(), ["/x", "/y"], "the origins were not asked");

    // Both move; nobody asked for it.
    bench.web.put("x", "other");
    bench.web.put("y", "others");
    let (exit, answer) = bench.lock(&board, &[]);
    assert_eq!(exit, 1, "{answer:#}");
    expect(&answer, &[("b/x", "refused"), ("b/y", "refused")]);
    let findings = answer["findings"].as_array().unwrap();
    let refused: Vec<_> = findings.iter().filter(|finding| finding["code"] == "SRC030").collect();
    assert_eq!(refused.len(), 2);
    let message = refused[0]["message"].as_str().unwrap();
    assert!(message.contains(&Digest::of(b"one").to_string()), "{message}");
    assert!(message.contains(&Digest::of(b"other").to_string()), "{message}");
    assert!(refused[0]["help"].as_str().unwrap().contains("--update b/x"));
    assert_eq!(bench.text(), text);

    let (exit, answer) = bench.lock(&board, &["--update", "x", "--dry-run"]);
    assert_eq!(exit, 0, "{answer:#}");
    expect(&answer, &[("b/x", "moved")]);
    assert_eq!(bench.text(), text);
    let (exit, answer) = bench.lock(&board, &["--update", "b/x"]);
    assert_eq!(exit, 0, "{answer:#}");
    expect(&answer, &[("b/x", "moved")]);
    let moved = bench.file();
    assert_eq!(moved.find("b", "x").unwrap().sha256, Digest::of(b"other"));
    assert_eq!(moved.find("b", "x").unwrap().licence.as_deref(), Some("MIT"));
    assert_eq!(moved.find("b", "y"), first.find("b", "y"));
    assert_eq!(moved.epoch, first.epoch);
}

#[test]
fn a_lock_that_would_change_is_refused_where_it_must_not() {
    let bench = Bench::new();
    let board = bench.two();
    let (exit, answer) = bench.lock(&board, &["--locked"]);
    assert_eq!((exit, &answer["findings"][0]["code"]), (3, &Value::from("SRC004")), "{answer:#}");
    assert!(!bench.path("sources.lock").exists());
    let (exit, answer) = bench.lock(&board, &["--check"]);
    assert_eq!(exit, 0, "{answer:#}");
    expect(&answer, &[("b/x", "added"), ("b/y", "added")]);
    assert!(!bench.path("sources.lock").exists());
}

#[test]
fn what_nobody_answers_is_unresolved_and_what_was_locked_is_kept() {
    let bench = Bench::new();
    let board = bench.two();
    bench.web.remove("y");
    let (exit, answer) = bench.lock(&board, &[]);
    assert_eq!(exit, 3, "{answer:#}");
    expect(&answer, &[("b/x", "added"), ("b/y", "unresolved")]);
    assert!(answer["findings"].as_array().unwrap().iter().any(|finding| finding["code"] == "SRC031"), "{answer:#}");
    let lock = bench.file();
    assert_eq!(lock.find_unresolved("b", "y").unwrap().origin, bench.web.url("y"));
    // Locked from here on: --offline asks nobody and is content, but for what has no digest.
    bench.web.asked();
    let (exit, answer) = bench.lock(&board, &["--offline"]);
    assert_eq!(exit, 3, "{answer:#}");
    expect(&answer, &[("b/x", "unchecked"), ("b/y", "unresolved")]);
    assert!(bench.web.asked().is_empty());
    assert_eq!(bench.file(), lock);
    bench.web.put("y", "two");
    let (exit, answer) = bench.lock(&board, &[]);
    assert_eq!(exit, 0, "{answer:#}");
    expect(&answer, &[("b/x", "unchanged"), ("b/y", "resolved")]);
    assert!(bench.file().unresolved.is_empty());
    let (exit, answer) = bench.lock(&board, &["--offline"]);
    assert_eq!(exit, 0, "{answer:#}");
}

/// One file of a tar archive (POSIX.1-1988, ustar).
fn ustar(name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut block = [0_u8; 512];
    let mut put = |at: usize, text: &str| block[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{:011o}\0", bytes.len()));
    put(136, "00000000000\0");
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\u{0}00");
    let sum: u32 = block.iter().copied().map(u32::from).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut out = block.to_vec();
    out.extend(bytes);
    out.resize(out.len().next_multiple_of(512), 0);
    out
}

#[test]
fn an_archive_is_fetched_once_for_all_its_members() {
    let bench = Bench::new();
    let mut tar = Vec::new();
    for (name, bytes) in [("d/a", "first"), ("d/b", "second")] {
        tar.extend(ustar(name, bytes.as_bytes()));
    }
    tar.extend([0; 1024]);
    bench.web.put("t.tar", tar.clone());
    let url = bench.web.url("t.tar");
    let board = bench.board(&format!(
        "[sources]\na = {{ url = \"{url}\", member = \"d/a\" }}\nb = {{ url = \"{url}\", member = \"*/b\", range = {{ offset = 3 }} }}\n"
    ));
    let (exit, answer) = bench.lock(&board, &[]);
    assert_eq!(exit, 0, "{answer:#}");
    assert_eq!(bench.web.asked(), ["/t.tar"]);
    let lock = bench.file();
    assert_eq!(lock.find("b", "a").unwrap().sha256, Digest::of(b"first"));
    let b = lock.find("b", "b").unwrap();
    assert_eq!((b.sha256, b.size), (Digest::of(b"ond"), 3));
    assert_eq!(b.from.as_ref().map(|from| from.sha256), Some(Digest::of(&tar)));
    let (exit, answer) = bench.lock(&board, &["--locked"]);
    assert_eq!(exit, 0, "{answer:#}");
}

#[test]
fn an_origin_that_answers_with_something_else_is_an_error() {
    let bench = Bench::new();
    let mut tar = ustar("d/a", b"first");
    tar.extend([0; 1024]);
    bench.web.put("t.tar", tar);
    bench.web.put("x", "one");
    let (url, x) = (bench.web.url("t.tar"), bench.web.url("x"));
    let board =
        bench.board(&format!("[sources]\na = {{ url = \"{url}\", member = \"d/a\" }}\nx = {{ url = \"{x}\" }}\n"));
    assert_eq!(bench.lock(&board, &[]).0, 0);
    let text = bench.text();
    let mut other = ustar("d/b", b"first");
    other.extend([0; 1024]);
    for (bytes, code) in [(other, "SRC006"), (Vec::new(), "SRC0"), (b"no archive".to_vec(), "SRC010")] {
        bench.web.put("t.tar", bytes);
        let (exit, answer) = bench.lock(&board, &[]);
        assert_eq!(exit, 1, "{answer:#}");
        let finding = &answer["findings"][0];
        assert!(finding["code"].as_str().unwrap().starts_with(code), "{answer:#}");
        assert_eq!(finding["severity"], "error", "{answer:#}");
        expect(&answer, &[("b/a", "unchecked"), ("b/x", "unchanged")]);
        assert_eq!(bench.text(), text);
    }
    bench.web.remove("t.tar");
    let (exit, answer) = bench.lock(&board, &[]);
    assert_eq!((exit, &answer["findings"][0]["code"]), (1, &Value::from("NET003")), "{answer:#}");
}

#[test]
fn an_input_of_no_bytes_is_not_learned() {
    let bench = Bench::new();
    let board = bench.two();
    bench.web.put("x", "");
    let (exit, answer) = bench.lock(&board, &[]);
    assert_eq!((exit, &answer["findings"][0]["code"]), (3, &Value::from("SRC005")), "{answer:#}");
    expect(&answer, &[("b/x", "unresolved"), ("b/y", "added")]);
    assert!(bench.file().find("b", "x").is_none());
}

#[test]
fn gone_sources_and_unknown_names() {
    let bench = Bench::new();
    let board = bench.two();
    assert_eq!(bench.lock(&board, &[]).0, 0);
    let x = bench.web.url("x");
    let board = bench.board(&format!("[sources.x]\nurl = \"{x}\"\n"));
    let (exit, answer) = bench.lock(&board, &[]);
    assert_eq!(exit, 0, "{answer:#}");
    expect(&answer, &[("b/x", "unchanged"), ("b/y", "gone")]);
    assert_eq!(bench.file().sources.len(), 1);
    // The licence that the board file no longer says stays in the lock.
    assert_eq!(bench.file().sources[0].licence.as_deref(), Some("MIT"));
    for (args, expected) in [(["--update", "xx"], "did you mean x?"), (["--update", "b/z"], "did you mean b/x?")] {
        let (exit, answer) = bench.lock(&board, &args);
        assert_eq!(exit, 2, "{answer:#}");
        assert!(answer["findings"][0]["help"].as_str().unwrap().contains(expected), "{answer:#}");
    }
}

#[test]
fn another_origin_is_asked_for_by_name() {
    let bench = Bench::new();
    let board = bench.two();
    assert_eq!(bench.lock(&board, &[]).0, 0);
    bench.web.put("z", "one");
    bench.web.put("w", "three");
    let at = |path: &str| bench.board(&format!("[sources.x]\nurl = \"{}\"\n", bench.web.url(path)));
    // The same bytes from elsewhere are no move.
    let (exit, answer) = bench.lock(&at("z"), &[]);
    assert_eq!(exit, 0, "{answer:#}");
    assert_eq!(kinds(&answer)[0].1, "amended");
    let (exit, answer) = bench.lock(&at("w"), &[]);
    assert_eq!(exit, 1, "{answer:#}");
    assert!(answer["findings"][0]["help"].as_str().unwrap().contains("locked from"), "{answer:#}");
}

#[test]
fn a_lock_without_epoch_gets_one_and_keeps_it() {
    let bench = Bench::new();
    let board = bench.two();
    fs::write(bench.path("sources.lock"), "version = 1\n").unwrap();
    let mut command = xtask();
    command.env("SOURCE_DATE_EPOCH", "77").arg("lock").arg(&board).arg("--json");
    command.arg("--plain-http").arg(bench.web.host()).arg("--cache-dir").arg(bench.path("cache"));
    let (exit, answer) = run(&mut command);
    assert_eq!((exit, bench.file().epoch), (0, Some(77)), "{answer:#}");
    assert_eq!(bench.lock(&board, &[]).0, 0);
    assert_eq!(bench.file().epoch, Some(77));
}

#[test]
fn the_first_build_resolves_what_nobody_resolved() {
    let bench = Bench::new();
    let board = bench.demo();
    let mut lock = Lock::new(boardbuild::Epoch(1_763_769_600));
    for (role, file) in [("idbloader", "idbloader.img"), ("u-boot", "u-boot.itb"), ("dtb", "rk3588s-demo.dtb")] {
        let mut open = boardbuild::Unresolved::new("b", role, bench.web.url(file), "no network");
        open.licence = Some("MIT".to_owned());
        lock.set_unresolved(open);
    }
    lock.write(&bench.path("")).unwrap();
    let (exit, answer) = bench.image(&board, &["--locked"]);
    assert_eq!((exit, &answer["findings"][0]["code"]), (3, &Value::from("SRC004")), "{answer:#}");
    assert_eq!(bench.file(), lock);
    let (exit, answer) = bench.image(&board, &[]);
    assert_eq!(exit, 0, "{answer:#}");
    let learned = bench.file();
    assert_eq!((learned.sources.len(), learned.unresolved.len()), (3, 0));
    assert_eq!(learned.epoch, lock.epoch);
    assert_eq!(learned.sources[0].licence.as_deref(), Some("MIT"), "the licence of the entry was lost");
    let (exit, answer) = bench.image(&board, &["--locked", "--offline"]);
    assert_eq!(exit, 0, "{answer:#}");
}

#[test]
fn a_lock_entry_of_another_origin_is_not_used() {
    let bench = Bench::new();
    let board = bench.demo();
    assert_eq!(bench.lock(&board, &[]).0, 0);
    let text = fs::read_to_string(&board).unwrap().replace("/u-boot.itb", "/other.itb");
    fs::write(&board, text).unwrap();
    let (exit, answer) = bench.image(&board, &[]);
    assert_eq!((exit, &answer["findings"][0]["code"]), (3, &Value::from("SRC032")), "{answer:#}");
    assert!(answer["findings"][0]["help"].as_str().unwrap().contains("b.toml --update b/u-boot"), "{answer:#}");
}
