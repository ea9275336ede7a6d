//! Archives that want to leave their folder, collide, or never end: refused by name, in little memory.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test stops where its helpers do")]

mod common;

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Output},
    time::{Duration, Instant},
};

use common::transfers::{board, damaged_blobs, entry, files, said, special, xtask};
use flate2::{Compression, write::GzEncoder};
use fs_err as fs;
use testkit::faulty::{At, Faulty, Setup};

const WANTED: &str = "boot/u-boot.itb";

/// One entry of the archive: kind, name, target of a link.
type Row = (u8, String, &'static str);

/// A hostile archive: what it is called, its entries, and a part of the name that the message must hold.
fn table() -> Vec<(&'static str, Vec<Row>, &'static str)> {
    let file = |name: &str| (b'0', name.to_owned(), "");
    let link = |kind: u8, name: &str, target: &'static str| (kind, name.to_owned(), target);
    vec![
        ("an absolute path", vec![file("/etc/talos-rk-evil")], "/etc/talos-rk-evil"),
        ("a path that climbs", vec![file("../../talos-rk-evil")], "talos-rk-evil"),
        ("a path that climbs in the middle", vec![file("boot/../../talos-rk-evil")], "talos-rk-evil"),
        ("a link, then a file through it", vec![link(b'2', "boot", "/tmp"), file("boot/talos-rk-evil")], "boot"),
        ("a link out, then a file through it", vec![link(b'2', "x", "../.."), file("x/talos-rk-evil")], "x"),
        ("a hard link out", vec![link(b'1', "talos-rk-evil", "../../etc/passwd")], "talos-rk-evil"),
        ("a hard link to an absolute path", vec![link(b'1', "talos-rk-evil", "/etc/passwd")], "talos-rk-evil"),
        ("a name of 5000 bytes", vec![file(&format!("evil{}", "/deep".repeat(1000)))], "evil"),
        ("a name with a backslash", vec![file("boot\\..\\..\\talos-rk-evil")], "talos-rk-evil"),
        ("a drive of Windows", vec![file("C:/talos-rk-evil")], "talos-rk-evil"),
        ("the wanted file twice", vec![file(WANTED), file(WANTED)], "u-boot.itb"),
    ]
}

/// What another file system would not keep apart, and Linux packages hold (`xt_MARK.h` and `xt_mark.h`, `aux.c`): nothing is
/// unpacked, so the wanted file is found and is the right one.
fn harmless() -> Vec<(&'static str, Vec<Row>)> {
    let file = |name: &str| (b'0', name.to_owned(), "");
    vec![
        ("two names but for case", vec![file("boot/U-Boot.itb")]),
        ("two names but for Unicode's form", vec![file("boot/\u{e9}vil"), file("boot/e\u{301}vil")]),
        ("devices of Windows", vec![file("boot/CON"), file("boot/aux.c")]),
    ]
}

fn tar(rows: &[Row]) -> Vec<u8> {
    let mut tar = Vec::new();
    for (kind, name, target) in rows {
        tar.extend(special(*kind, name, target, if *kind == b'0' { b"evil" } else { b"" }));
    }
    if !rows.iter().any(|(_, name, _)| name == WANTED) {
        tar.extend(entry(WANTED, b"good"));
    }
    tar.extend([0; 1024]);
    tar
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut out = GzEncoder::new(Vec::new(), Compression::fast());
    out.write_all(bytes).unwrap();
    out.finish().unwrap()
}

/// A Debian package around a `data.tar.gz` (deb(5)).
fn deb(data: &[u8]) -> Vec<u8> {
    let mut out = b"!<arch>\n".to_vec();
    for (name, bytes) in
        [("debian-binary", b"2.0\n".to_vec()), ("control.tar.gz", gzip(&[0; 1024])), ("data.tar.gz", gzip(data))]
    {
        out.extend(format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, bytes.len()).as_bytes());
        out.extend(&bytes);
        if bytes.len() % 2 == 1 {
            out.push(b'\n');
        }
    }
    out
}

/// A zip with stored files (APPNOTE 6.3, sections 4.3.7, 4.3.12, 4.3.16); a link is a file whose bytes are its target.
fn zip(rows: &[Row]) -> Vec<u8> {
    let (mut out, mut central) = (Vec::new(), Vec::new());
    let mut rows: Vec<_> = rows.to_vec();
    if !rows.iter().any(|(_, name, _)| name == WANTED) {
        rows.push((b'0', WANTED.to_owned(), ""));
    }
    for (kind, name, target) in &rows {
        let data: &[u8] = match kind {
            b'0' if name == WANTED => b"good",
            b'0' => b"evil",
            _ => target.as_bytes(),
        };
        let mut crc = flate2::Crc::new();
        crc.update(data);
        let (size, at) = (u32::try_from(data.len()).unwrap(), u32::try_from(out.len()).unwrap());
        let mut common = vec![20, 0, 0, 8, 0, 0, 0, 0, 0x21, 0];
        common.extend(crc.sum().to_le_bytes());
        common.extend([size.to_le_bytes(), size.to_le_bytes()].concat());
        common.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
        common.extend([0, 0]);
        out.extend(b"PK\x03\x04");
        out.extend(&common);
        out.extend(name.as_bytes());
        out.extend(data);
        central.extend(b"PK\x01\x02\x14\x03");
        central.extend(&common);
        let mode: u32 = if *kind == b'2' { 0o120_777 } else { 0o100_644 };
        central.extend([0; 6]);
        central.extend((mode << 16).to_le_bytes());
        central.extend(at.to_le_bytes());
        central.extend(name.as_bytes());
    }
    let count = u16::try_from(rows.len()).unwrap().to_le_bytes();
    let (size, at) = (u32::try_from(central.len()).unwrap(), u32::try_from(out.len()).unwrap());
    out.extend(central);
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend([count, count].concat());
    out.extend([size.to_le_bytes(), at.to_le_bytes()].concat());
    out.extend([0, 0]);
    out
}

/// Fetches the wanted file of an archive; the outcome and the KiB of memory it took.
fn fetch(home: &Path, server: &Faulty, name: &str, more: &str) -> (Output, u64) {
    let host = server.host(At::Registry);
    let board = board(home, "hostile", &format!("url = \"http://{host}/files/{name}\", {more}"));
    let mut inner = xtask(home);
    inner.arg("fetch").arg(&board).args(["--plain-http", &host]);
    let mut command = Command::new(testkit::tool("time").unwrap_or_else(|| "env".into()));
    if testkit::tool("time").is_some() {
        command.args(["-f", "%M", "-o"]).arg(home.join("memory"));
    }
    command.arg(inner.get_program()).args(inner.get_args());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let output = command.output().unwrap();
    let memory = fs::read_to_string(home.join("memory")).unwrap_or_default();
    // After a failure a line of words comes before the number.
    (output, memory.lines().last().and_then(|line| line.trim().parse().ok()).unwrap_or(0))
}

#[test]
fn hostile_paths_are_refused_by_name() {
    let server = Faulty::start(Setup::default());
    let mut wrong = Vec::new();
    for (what, rows, named) in table() {
        let tar = tar(&rows);
        let mut forms = vec![("tar", tar.clone()), ("tar.gz", gzip(&tar)), ("deb", deb(&tar))];
        // A zip has no hard links.
        if rows.iter().all(|(kind, ..)| *kind != b'1') {
            forms.push(("zip", zip(&rows)));
        }
        for (ending, bytes) in forms {
            let home = tempfile::tempdir().unwrap();
            let name = format!("evil.{ending}");
            server.add_file(&name, &bytes);
            let (output, _) = fetch(home.path(), &server, &name, &format!("member = \"{WANTED}\""));
            let text = said(&output);
            if output.status.success() || !text.contains(named) {
                wrong.push(format!("{what}, {ending}: {}, expected {named:?} in\n{text}", output.status));
            }
            let escaped = files(home.path()).into_keys().any(|path| path.to_string_lossy().contains("talos-rk-evil"));
            assert!(!escaped && !Path::new("/tmp/talos-rk-evil").exists(), "{what}, {ending}");
            assert_eq!(damaged_blobs(&home.path().join("cache")).len(), 0, "{what}, {ending}");
        }
    }
    assert!(wrong.is_empty(), "{} wrong\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn names_that_only_collide_elsewhere_do_no_harm() {
    let server = Faulty::start(Setup::default());
    for (what, rows) in harmless() {
        let tar = tar(&rows);
        for (ending, bytes) in [("tar.gz", gzip(&tar)), ("deb", deb(&tar)), ("zip", zip(&rows))] {
            let home = tempfile::tempdir().unwrap();
            let name = format!("names.{ending}");
            server.add_file(&name, &bytes);
            let (output, _) = fetch(home.path(), &server, &name, &format!("member = \"{WANTED}\""));
            assert!(output.status.success(), "{what}, {ending}: {}", said(&output));
            let blobs = files(&home.path().join("cache/v1/blobs"));
            assert!(blobs.values().any(|bytes| bytes == b"good"), "{what}, {ending}");
            assert!(!blobs.values().any(|bytes| bytes == b"evil"), "{what}, {ending}");
        }
    }
}

/// 8 GiB of zeros in 8 MiB: one compressed piece, repeated.
fn bomb(before: &[u8]) -> Vec<u8> {
    let mut bytes = gzip(before);
    let mut piece = GzEncoder::new(Vec::new(), Compression::best());
    piece.write_all(&vec![0; 64 << 20]).unwrap();
    let piece = piece.finish().unwrap();
    for _ in 0..128 {
        bytes.extend(&piece);
    }
    bytes
}

#[test]
fn what_never_ends_is_stopped_in_little_memory() {
    let server = Faulty::start(Setup::default());
    let mut header = entry(WANTED, b"");
    // A file of 8 GiB less a bit, as an octal number of eleven digits.
    header[124..136].copy_from_slice(b"77777777777\0");
    header[148..156].copy_from_slice(b"        ");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let many: Vec<u8> = (0..2048).flat_map(|number| entry(&format!("many/{number}"), b"")).collect();
    let crowd: Vec<u8> = gzip(&many).repeat(1024);
    let member = format!("member = \"{WANTED}\"");
    let table = [
        ("a wanted file without end", "bomb.tar.gz", bomb(&header), member.clone()),
        (
            "a file without end before the wanted one",
            "other.tar.gz",
            bomb(&{
                let mut other = header.clone();
                other[0] = b'c';
                other[148..156].copy_from_slice(format!("{:06o}\0 ", sum + 1).as_bytes());
                other
            }),
            member.clone(),
        ),
        ("a bomb in a bomb", "nested.tar.gz", gzip(&bomb(&header)), member.clone()),
        (
            "a disk image without end",
            "image.img.gz",
            bomb(b"image"),
            "range = { offset = 8000000000, length = 4096 }".to_owned(),
        ),
        ("two million entries", "many.tar.gz", crowd, member),
    ];
    let mut wrong = Vec::new();
    for (what, name, bytes, more) in table {
        let home = tempfile::tempdir().unwrap();
        server.add_file(name, &bytes);
        let start = Instant::now();
        let (output, memory) = fetch(home.path(), &server, name, &more);
        let (time, text) = (start.elapsed(), said(&output));
        println!("{what}: {time:.1?}, {} MiB: {text}", memory >> 10);
        if output.status.success() {
            wrong.push(format!("{what}: taken"));
        }
        if !text.contains("error[SRC") {
            wrong.push(format!("{what}: expected a finding of the source in\n{text}"));
        }
        if memory >= 64 << 10 {
            wrong.push(format!("{what}: {memory} KiB"));
        }
        // A fence against hours, not a measurement.
        if time > Duration::from_secs(30) {
            wrong.push(format!("{what}: {time:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
