//! Containers that other programs made, and containers that no honest program makes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    reason = "a test stops where its helpers do, and writes into its own temporary folder"
)]

use std::{fmt::Write as _, fs, path::Path, process::Command, time::Instant};

use imgcore::NoProgress;

use super::*;

fn want(member: &str) -> Want<'_> {
    Want { member: Some(member), range: None, unpacked: None }
}

fn taken(bytes: &[u8], want: &Want<'_>) -> Result<(Vec<u8>, Taken), String> {
    let mut out = Vec::new();
    let container = Blob::from_bytes("container", bytes);
    match take(&container, want, &mut out, &NoProgress) {
        Ok(taken) => Ok((out, taken)),
        Err(fault) => Err(fault.into_error("role", "place").to_string()),
    }
}

#[track_caller]
fn refused(bytes: &[u8], want: &Want<'_>, code: &str, text: &str) {
    let error = taken(bytes, want).map(|(_, taken)| taken).expect_err("an error");
    assert!(error.contains(&format!("error[{code}]")) && error.contains(text), "expected {code} {text}: {error}");
}

/// A folder with a few files and links, `pkg/` below it.
fn tree() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let lib = home.path().join("pkg/usr/lib/u-boot-1.0");
    fs::create_dir_all(&lib).unwrap();
    fs::write(lib.join("idbloader.img"), vec![7; 70_000]).unwrap();
    fs::write(lib.join("u-boot.itb"), b"itb").unwrap();
    fs::hard_link(lib.join("u-boot.itb"), lib.join("hard.itb")).unwrap();
    std::os::unix::fs::symlink("u-boot.itb", lib.join("soft.itb")).unwrap();
    std::os::unix::fs::symlink("../usr/lib/u-boot-1.0", home.path().join("pkg/usr/latest")).unwrap();
    fs::create_dir_all(home.path().join("pkg/DEBIAN")).unwrap();
    fs::write(
        home.path().join("pkg/DEBIAN/control"),
        "Package: p\nVersion: 1\nArchitecture: all\nMaintainer: n <n@example.org>\nDescription: d\n",
    )
    .unwrap();
    home
}

fn shell(folder: &Path, script: &str) {
    testkit::run(Command::new("sh").arg("-ec").arg(script).current_dir(folder));
}

#[test]
fn archives_of_other_programs_are_read() {
    for program in ["dpkg-deb", "tar", "xz", "zstd", "gzip", "bzip2", "python3"] {
        if testkit::tool(program).is_none() {
            return;
        }
    }
    let home = tree();
    let python = "import os, zipfile\n\
        for name, method in (('stored.zip', 0), ('deflated.zip', 8)):\n\
        \x20   with zipfile.ZipFile(name, 'w', method) as z:\n\
        \x20       for folder, _, names in sorted(os.walk('pkg')):\n\
        \x20           for name in sorted(names):\n\
        \x20               path = os.path.join(folder, name)\n\
        \x20               inside = path[4:]\n\
        \x20               if os.path.islink(path):\n\
        \x20                   info = zipfile.ZipInfo(inside)\n\
        \x20                   info.create_system, info.external_attr = 3, 0o120777 << 16\n\
        \x20                   z.writestr(info, os.readlink(path))\n\
        \x20               else:\n\
        \x20                   z.write(path, inside)\n\
        \x20           for name in _:\n\
        \x20               path = os.path.join(folder, name)\n\
        \x20               if os.path.islink(path):\n\
        \x20                   info = zipfile.ZipInfo(path[4:])\n\
        \x20                   info.create_system, info.external_attr = 3, 0o120777 << 16\n\
        \x20                   z.writestr(info, os.readlink(path))\n";
    fs::write(home.path().join("make.py"), python).unwrap();
    shell(
        home.path(),
        "for c in xz gzip zstd none; do dpkg-deb --root-owner-group -Z$c --build pkg $c.deb 2>/dev/null || rm -f $c.deb; done\n\
         for format in gnu pax ustar v7; do tar --format=$format -C pkg -cf $format.tar usr; done\n\
         tar -C pkg -cf dot.tar .\n\
         for p in xz zstd gzip bzip2; do $p -k -c gnu.tar > gnu.tar.$p; done\n\
         cat gnu.tar.gzip > padded.tar.gzip; head -c 2000 /dev/zero >> padded.tar.gzip\n\
         python3 make.py",
    );
    let mut seen = 0;
    for entry in fs::read_dir(home.path()).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() || name == "make.py" {
            continue;
        }
        seen += 1;
        let bytes = fs::read(&path).unwrap();
        let itb = b"itb".to_vec();
        for (member, expected, found) in [
            ("usr/lib/u-boot-1.0/idbloader.img", vec![7; 70_000], "usr/lib/u-boot-1.0/idbloader.img"),
            // Of two names of one file the first in the archive is the file, the other a link.
            ("usr/lib/u-boot-*/u-boot.itb", itb.clone(), ""),
            ("usr/*/*/idb*.img", vec![7; 70_000], "usr/lib/u-boot-1.0/idbloader.img"),
            ("usr/lib/u-boot-1.0/soft.itb", itb.clone(), ""),
            ("usr/lib/u-boot-1.0/hard.itb", itb.clone(), ""),
            ("usr/latest/idbloader.img", vec![7; 70_000], "usr/lib/u-boot-1.0/idbloader.img"),
        ] {
            let (out, got) = taken(&bytes, &want(member)).unwrap_or_else(|error| panic!("{name}: {member}: {error}"));
            assert_eq!((got.size, out == expected), (expected.len() as u64, true), "{name}: {member}");
            if !found.is_empty() {
                assert_eq!(got.path.as_deref(), Some(found), "{name}: {member}");
            }
            // The count that a lock keeps is enough for the next time, and one byte less is not.
            if got.unpacked > 0 {
                let exact = Want { unpacked: Some(got.unpacked), ..want(member) };
                assert!(taken(&bytes, &exact).is_ok(), "{name}: {member}");
                let less = Want { unpacked: Some(got.unpacked - 1), ..want(member) };
                refused(&bytes, &less, "SRC008", "as the lock says");
            }
        }
        refused(&bytes, &want("usr/lib/u-boot-2.0/u-boot.itb"), "SRC006", "usr/lib/u-boot-1.0/u-boot.itb");
        refused(&bytes, &want("usr/lib/u-boot-1.0/*.i*"), "SRC006", "more than one");
        if !name.contains("zip") {
            refused(&bytes, &want("usr/lib/u-boot-1.0"), "SRC006", "is a folder");
        }
        // Whatever is cut off the end of a compressed file is missed.
        if name.starts_with("padded") {
            continue;
        }
        let cut = &bytes[..bytes.len() - bytes.len() / 4];
        let error = taken(cut, &want("usr/lib/u-boot-1.0/u-boot.itb")).expect_err("cut");
        assert!(error.contains("SRC010") || error.contains("SRC006"), "{name}: {error}");
    }
    assert!(seen >= 13, "{seen} archives");
}

#[test]
fn ranges_come_out_of_images_in_any_packing() {
    for program in ["xz", "zstd", "gzip", "bzip2", "python3"] {
        if testkit::tool(program).is_none() {
            return;
        }
    }
    let home = tempfile::tempdir().unwrap();
    let mut image = vec![0; 3 << 20];
    for (at, byte) in image.iter_mut().enumerate().skip(32_768).take(100_000) {
        *byte = (at % 251) as u8;
    }
    fs::write(home.path().join("disk.img"), &image).unwrap();
    shell(
        home.path(),
        "for p in xz zstd gzip bzip2; do $p -k -c disk.img > disk.img.$p; done\n\
         python3 -c \"import zipfile; z = zipfile.ZipFile('disk.img.zip', 'w', 8); z.write('disk.img'); z.close()\"\n\
         tar -cf disk.tar disk.img.xz",
    );
    let size = image.len() as u64;
    for (name, member) in [
        ("disk.img", None),
        ("disk.img.xz", None),
        ("disk.img.zstd", None),
        ("disk.img.gzip", None),
        ("disk.img.bzip2", None),
        ("disk.img.zip", None),
        ("disk.img.zip", Some("disk.img")),
        ("disk.tar", Some("*.img.xz")),
    ] {
        let bytes = fs::read(home.path().join(name)).unwrap();
        let range = |offset, length| Want { member, range: Some((offset, Some(length))), unpacked: None };
        let (out, first) = taken(&bytes, &range(40_000, 50_000)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(out == image[40_000..90_000], "{name}");
        // Near the start means: most of it is not decoded.
        assert!(name == "disk.tar" || first.unpacked < size / 2, "{name}: {first:?}");
        assert!(taken(&bytes, &range(size - 1, 1)).is_ok(), "{name}");
        refused(&bytes, &range(size - 1, 2), "SRC011", "3145728");
        let rest = |offset| Want { member, range: Some((offset, None)), unpacked: None };
        assert!(taken(&bytes, &rest(size - 5)).unwrap().0 == [0; 5], "{name}");
        refused(&bytes, &rest(size), "SRC011", "nothing at byte");
        refused(&bytes, &range(u64::MAX, u64::MAX), "SRC011", "no 18446744073709551615 bytes");
    }
}

/// A tar of entries: type, name, target, data.
fn tarball(entries: &[(u8, &str, &str, &[u8])]) -> Vec<u8> {
    [blocks(entries), vec![0; 1024]].concat()
}

/// The entries alone, without the end mark.
fn blocks(entries: &[(u8, &str, &str, &[u8])]) -> Vec<u8> {
    let mut out = Vec::new();
    for (kind, name, target, data) in entries {
        let mut block = [0_u8; 512];
        let mut put = |at: usize, text: &[u8]| block[at..at + text.len()].copy_from_slice(text);
        if name.len() > 100 {
            let record = format!("path={name}\n");
            // The length counts its own digits.
            let total = record.len() + 1 + (record.len() + 5).to_string().len();
            out.extend(blocks(&[(b'x', "pax", "", format!("{total} {record}").as_bytes())]));
        }
        put(0, &name.as_bytes()[..name.len().min(100)]);
        put(100, b"0000644\0");
        put(124, format!("{:011o}\0", data.len()).as_bytes());
        put(136, b"00000000000\0");
        put(156, &[*kind]);
        put(157, target.as_bytes());
        put(257, b"ustar\x0000");
        put(148, b"        ");
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        out.extend_from_slice(&block);
        out.extend_from_slice(data);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out
}

#[test]
fn hostile_archives_are_refused_by_the_entry() {
    let good = (b'0', "dir/file", "", &b"good"[..]);
    let long = "l/".repeat(2100) + "x";
    let deep = "d/".repeat(200) + "x";
    let file = |name| (b'0', name, "", &b"bad"[..]);
    let cases: &[(&[_], &str, &str)] = &[
        (&[good, file("/etc/passwd")], "SRC007", "/etc/passwd has an absolute name"),
        (&[file("a/../../x"), good], "SRC007", "a/../../x leaves"),
        (&[file("..\\x"), good], "SRC007", "leaves"),
        (&[good, file("C:\\x")], "SRC007", "absolute"),
        (&[(b'2', "lib", "/tmp", b""), file("lib/x"), good], "SRC007", "lib/x lies behind a symbolic link"),
        (&[good, (b'2', "dir", "/tmp", b"")], "SRC007", "dir/file lies behind"),
        (&[good, file(&long)], "SRC007", "more than 4095 bytes"),
        (&[good, file(&deep)], "SRC007", "128 levels"),
        (&[good, good], "SRC007", "dir/file is there twice"),
        (&[good, file("./dir//file")], "SRC007", "dir/file is there twice"),
        (&[good, (b'5', "dir/file", "", b"")], "SRC007", "twice"),
        (&[good, (b'1', "h", "../out", b"")], "SRC007", "h is a hard link that leaves"),
        (&[(b'2', "dir/file", "../../out", b"")], "SRC007", "leads out of the archive"),
        (&[(b'2', "dir/file", "loop", b""), (b'2', "dir/loop", "file", b"")], "SRC007", "more than 8 links"),
        (&[(b'2', "dir/file", "nowhere", b"")], "SRC006", "no member dir/nowhere"),
        (&[(b'3', "dir/file", "", b"")], "SRC006", "a device"),
        (&[(b'S', "x", "", b""), good], "SRC010", "sparse"),
        (&[(b'x', "p", "", b"12 size=100\n"), good], "SRC010", "two different sizes"),
        (&[(b'x', "p", "", b"99 path=x\n"), good], "SRC010", "header extension"),
    ];
    for (entries, code, text) in cases {
        refused(&tarball(entries), &want("dir/file"), code, text);
    }
    refused(&blocks(&[good]), &want("dir/file"), "SRC010", "without its end mark");
    // Names that only a file system could stumble over do not matter: nothing is unpacked.
    for name in ["nul", "dir/FILE", "a\\b", "com1.txt", "e\u{301}", "\u{e9}"] {
        let (out, _) = taken(&tarball(&[file(name), good]), &want("dir/file")).unwrap();
        assert_eq!(out, b"good");
    }
    let (out, _) =
        taken(&tarball(&[(b'0', "d/t", "", b"t"), (b'2', "dir/file", "/d/t", b"")]), &want("dir/file")).unwrap();
    assert_eq!(out, b"t");
}

#[test]
fn a_million_entries_are_enough() {
    let mut names = String::new();
    let mut bytes = Vec::new();
    // Headers of empty files, all of one name, compress to nothing.
    let block = blocks(&[(b'0', "x", "", b"")]);
    let mut packed = zstd::stream::write::Encoder::new(&mut bytes, 1).unwrap();
    for _ in 0..=1_000_000 {
        packed.write_all(&block).unwrap();
    }
    packed.finish().unwrap();
    write!(names, "{}", bytes.len()).unwrap();
    let all = Want { unpacked: Some(1 << 30), ..want("y") };
    refused(&bytes, &all, "SRC007", "a million");
}

#[test]
fn bombs_stop_early() {
    let zeros = vec![0; 12 << 20];
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
    for _ in 0..16 {
        gzip.write_all(&zeros).unwrap();
        xz.write_all(&zeros).unwrap();
    }
    let (gzip, xz) = (gzip.finish().unwrap(), xz.finish().unwrap());
    let mut twice = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    twice.write_all(&tarball(&[(b'0', "inner", "", &gzip)])).unwrap();
    let twice = twice.finish().unwrap();
    for (bytes, member) in [(&gzip, None), (&xz, None), (&twice, Some("inner"))] {
        let start = Instant::now();
        let range = Want { member, range: Some((190 << 20, Some(1))), unpacked: None };
        refused(bytes, &range, "SRC008", "the most that is taken");
        let limit = if cfg!(debug_assertions) { 5 } else { 1 };
        assert!(start.elapsed().as_secs() < limit, "{:?}", start.elapsed());
        // A lock that knows better lets it pass.
        assert!(taken(bytes, &Want { range: Some((150 << 20, Some(1))), unpacked: Some(2 << 30), member }).is_ok());
    }
}

#[test]
fn what_is_said_to_be_too_large_is_not_unpacked() {
    // A sound tar but for the size of an entry that is passed by.
    let mut tar = tarball(&[(b'0', "large", "", b""), (b'0', "inner", "", b"x")]);
    let header = &mut tar[..512];
    header[124..136].copy_from_slice(b"77777777777\0");
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&tar).unwrap();
    refused(&gzip.finish().unwrap(), &want("inner"), "SRC008", "the most that is taken");
    refused(&tar, &want("inner"), "SRC010", "truncated");

    // A bomb in front of many honest bytes, which would allow it if they were counted first.
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
    for _ in 0..8 {
        xz.write_all(&vec![0; 12 << 20]).unwrap();
    }
    let mut bytes = xz.finish().unwrap();
    bytes.resize(bytes.len() + (2 << 20), 7);
    let range = Want { member: None, range: Some((90 << 20, Some(1))), unpacked: None };
    refused(&bytes, &range, "SRC008", "the most that is taken");
}

#[test]
fn hostile_zips_are_refused() {
    if testkit::tool("python3").is_none() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let script = "import warnings, zipfile\n\
        warnings.simplefilter('ignore')\n\
        def make(path, *entries):\n\
        \x20   with zipfile.ZipFile(path, 'w', 8) as z:\n\
        \x20       for name, text, mode in entries:\n\
        \x20           info = zipfile.ZipInfo(name); info.filename = name\n\
        \x20           info.create_system, info.external_attr, info.compress_type = 3, mode << 16, 8\n\
        \x20           z.writestr(info, text)\n\
        f = ('dir/file', 'good' * 100, 0o100644)\n\
        make('good.zip', f)\n\
        make('absolute.zip', f, ('/etc/passwd', 'x', 0o100644))\n\
        make('dots.zip', f, ('../x', 'x', 0o100644))\n\
        make('twice.zip', f, f)\n\
        make('behind.zip', ('lib', '/tmp', 0o120777), ('lib/x', 'x', 0o100644), f)\n\
        make('loop.zip', ('dir/file', 'loop', 0o120777), ('dir/loop', 'file', 0o120777))\n\
        make('device.zip', ('dir/file', '', 0o020644))\n";
    fs::write(home.path().join("make.py"), script).unwrap();
    shell(home.path(), "python3 make.py");
    let zip = |name: &str| fs::read(home.path().join(name)).unwrap();
    assert_eq!(taken(&zip("good.zip"), &want("dir/file")).unwrap().0, "good".repeat(100).as_bytes());
    for (name, code, text) in [
        ("absolute.zip", "SRC007", "/etc/passwd has an absolute name"),
        ("dots.zip", "SRC007", "leaves"),
        ("twice.zip", "SRC007", "dir/file is there twice"),
        ("behind.zip", "SRC007", "lib/x lies behind"),
        ("loop.zip", "SRC007", "8 links"),
        ("device.zip", "SRC006", "device"),
    ] {
        refused(&zip(name), &want("dir/file"), code, text);
    }
    // Damage, byte by byte: the directory and the file disagree, the checksum is wrong, a flag says encrypted.
    let good = zip("good.zip");
    let central = good.windows(4).position(|bytes| bytes == b"PK\x01\x02").unwrap();
    let change = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    for (bytes, text) in [
        (change(30, b'x'), "another name"),
        (change(central + 16, good[central + 16] ^ 1), "checksum"),
        (change(central + 8, 1), "encrypted"),
        (change(central + 10, 99), "method 99"),
        (change(central + 24, 3), "more bytes come out"),
        (change(central + 20, 0xff), "behind the files"),
        (good[..good.len() - 3].to_vec(), "end record"),
    ] {
        let error = taken(&bytes, &want("dir/file")).map(drop).expect_err(text);
        assert!(error.contains(text), "{text}: {error}");
    }
    // A comment, and bytes in front of the archive, are allowed.
    let mut front = b"#!/bin/sh\n".to_vec();
    front.extend_from_slice(&good);
    assert_eq!(
        zip::Archive::open(&Blob::from_bytes("z", front))
            .unwrap()
            .find(None, &Meter::new(1, None, 1 << 30))
            .unwrap()
            .name,
        b"dir/file"
    );
}

#[test]
fn damage_never_panics_and_never_runs_away() {
    let tar = tarball(&[(b'5', "dir", "", b""), (b'2', "dir/l", "file", b""), (b'0', "dir/file", "", &[9; 900])]);
    let member = |name: &str, data: &[u8]| {
        let mut bytes = format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, 100_644, data.len()).into_bytes();
        bytes.extend_from_slice(data);
        bytes.resize(bytes.len().next_multiple_of(2), b'\n');
        bytes
    };
    let deb = [
        b"!<arch>\n".to_vec(),
        member("debian-binary", b"2.0\n"),
        member("control.tar", &tar),
        member("data.tar", &tar),
    ]
    .concat();
    let mut zip = Vec::new();
    let (mut hasher, data) = (crc32fast::Hasher::new(), [9; 900]);
    hasher.update(&data);
    let crc = hasher.finalize().to_le_bytes();
    let sizes = [900_u32.to_le_bytes(), 900_u32.to_le_bytes()].concat();
    zip.extend([b"PK\x03\x04\x14\0\0\0\0\0\0\0\0\0", &crc[..], &sizes, b"\x08\0\0\0dir/file", &data].concat());
    let central = zip.len() as u32;
    zip.extend(
        [b"PK\x01\x02\x14\x03\x14\0\0\0\0\0\0\0\0\0", &crc[..], &sizes, b"\x08\0", &[0; 16], b"dir/file"].concat(),
    );
    let length = (zip.len() as u32 - central).to_le_bytes();
    zip.extend([b"PK\x05\x06\0\0\0\0\x01\0\x01\0", &length[..], &central.to_le_bytes(), b"\0\0"].concat());
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&tar).unwrap();
    let gzip = gzip.finish().unwrap();
    let bzip2 = {
        let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        bzip2.write_all(&tar).unwrap();
        bzip2.finish().unwrap()
    };
    for (seed, original) in [&tar, &deb, &zip, &gzip, &bzip2].into_iter().enumerate() {
        let count = if seed < 3 { 10_000 } else { 1_000 };
        assert_eq!(taken(original, &want("dir/file")).unwrap().0, data, "{seed}");
        testkit::mutants(seed as u64, count, original, |mutant| {
            let _ = taken(mutant, &want("dir/*"));
            let _ = taken(mutant, &Want { member: None, range: Some((100, Some(1000))), unpacked: Some(1 << 20) });
        });
    }
}
