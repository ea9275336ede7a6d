//! Files of others, damaged files, files that claim too much.
#![cfg(all(feature = "xz", feature = "zst", feature = "gz"))]
#![allow(clippy::disallowed_methods, clippy::cast_possible_truncation, reason = "tests of small things")]

use std::{
    io::{Read as _, Write as _},
    process::Command,
};

use imgcore::NoProgress;
use liblzma::stream::{Check, MtStreamBuilder, Stream};

use super::*;
use crate::{ErrorKind, Extents, sink};

const MIB: usize = 1 << 20;

/// A few MiB with text, noise, zeros and one other value.
fn raw() -> Vec<u8> {
    let text = b"a partition table, a loader, a kernel; ".repeat(9000);
    let mut state = 5_u64;
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as u8
    })
    .take(300_000)
    .collect();
    [&text[..], &vec![0; 3 * MIB], &noise, &vec![0xFF; MIB], &vec![0; MIB + 77], b"end"].concat()
}

fn xz(raw: &[u8], block: u64) -> Vec<u8> {
    let stream = MtStreamBuilder::new().preset(0).threads(1).block_size(block).check(Check::Crc32).encoder().unwrap();
    let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
    encoder.write_all(raw).unwrap();
    encoder.finish().unwrap()
}

fn one_block_xz(raw: &[u8], check: Check) -> Vec<u8> {
    let stream = Stream::new_easy_encoder(0, check).unwrap();
    let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
    encoder.write_all(raw).unwrap();
    encoder.finish().unwrap()
}

fn zst(raw: &[u8]) -> Vec<u8> {
    zstd::stream::encode_all(raw, 1).unwrap()
}

fn gz(raw: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(1));
    encoder.write_all(raw).unwrap();
    encoder.finish().unwrap()
}

fn opened(file: Vec<u8>) -> Arc<dyn ReadAt> {
    open(Arc::new(file)).unwrap_or_else(|error| panic!("{error}"))
}

fn all(disk: &dyn ReadAt) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    imgcore::ReadAtCursor::new(disk).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Files as other programs make them, by what is special about them.
fn files() -> Vec<(&'static str, Vec<u8>)> {
    let raw = raw();
    let (a, b) = raw.split_at(2 * MIB + 5);
    let (many, padded) = (
        [xz(a, 1 << 20), xz(b, 300_000)].concat(),
        [xz(a, 1 << 20), vec![0; 400], xz(b, 1 << 20), vec![0; 4]].concat(),
    );
    let skippable =
        [&[0x5A, 0x2A, 0x4D, 0x18, 3, 0, 0, 0, 1, 2, 3][..], &zst(a), &[0x50, 0x2A, 0x4D, 0x18, 0, 0, 0, 0], &zst(b)];
    vec![
        ("raw", raw.clone()),
        ("xz, blocks", xz(&raw, 1 << 20)),
        ("xz, one block with CRC64", one_block_xz(&raw, Check::Crc64)),
        ("xz, SHA-256", one_block_xz(&raw, Check::Sha256)),
        ("xz, no check", one_block_xz(&raw, Check::None)),
        ("xz, streams", many),
        ("xz, streams with padding", padded),
        ("xz, much padding", [xz(a, 1 << 20), vec![0; 40_000], xz(b, 1 << 20), vec![0; 8192]].concat()),
        ("xz, an empty stream first", [xz(&[], 1 << 20), xz(&raw, 1 << 20)].concat()),
        ("zstd", zst(&raw)),
        ("zstd, frames", [zst(a), zst(b)].concat()),
        ("zstd, skippable frames", skippable.concat()),
        ("gzip", gz(&raw)),
        ("gzip, members", [gz(a), gz(b)].concat()),
        ("gzip, padded", [gz(&raw), vec![0; 700_000]].concat()),
    ]
}

#[test]
fn files_of_others_read_as_what_they_hold() {
    let raw = raw();
    for (what, file) in files() {
        let disk = opened(file);
        assert_eq!(disk.size(), raw.len() as u64, "{what}");
        assert!(all(&*disk).unwrap() == raw, "{what}");
        // Backwards, over cell and block borders, and behind the end.
        let mut buffer = vec![0; 70_001];
        for at in (0..raw.len()).step_by(65_000).rev() {
            let count = buffer.len().min(raw.len() - at);
            disk.read_exact_at(at as u64, &mut buffer[..count]).unwrap();
            assert!(buffer[..count] == raw[at..at + count], "{what} {at}");
        }
        assert_eq!(disk.read_at(raw.len() as u64, &mut buffer).ok(), Some(0), "{what}");
        assert_eq!(disk.read_at(u64::MAX, &mut buffer).ok(), Some(0), "{what}");
        assert_eq!(disk.read_at(0, &mut []).ok(), Some(0), "{what}");
    }
}

#[test]
fn several_threads_read_at_once() {
    let raw = raw();
    for (what, file) in files() {
        let disk = opened(file);
        std::thread::scope(|scope| {
            for thread in 0..4_usize {
                let (disk, raw) = (&disk, &raw);
                scope.spawn(move || {
                    let mut buffer = vec![0; 100_000];
                    for step in 0..60 {
                        let at = (step * 7 + thread * 13) * 104_729 % (raw.len() - buffer.len());
                        disk.read_exact_at(at as u64, &mut buffer).unwrap();
                        assert!(buffer == raw[at..at + buffer.len()], "{what}");
                    }
                });
            }
        });
    }
}

#[test]
fn what_our_sinks_write_reads_back() {
    let raw = raw();
    let mut image = Extents::new(raw.len() as u64);
    image.insert(0, "all", raw.clone().into()).unwrap();
    for format in sink::Format::ALL {
        let mut file = Vec::new();
        sink::write(&image, format, &sink::Options::default(), &mut file, &NoProgress).unwrap();
        assert!(all(&*opened(file)).unwrap() == raw, "{format}");
    }
}

#[test]
fn a_missing_end_is_called_truncated() {
    // Of padding nobody can know how much there was.
    for (what, file) in files().into_iter().filter(|(what, _)| *what != "raw" && *what != "gzip, padded") {
        for cut in [file.len() / 2, file.len() - 5] {
            let error = open(Arc::new(file[..cut].to_vec())).err().unwrap_or_else(|| panic!("{what} {cut} opened"));
            assert!(matches!(error.kind(), ErrorKind::Damaged { .. }), "{what} {cut}: {error}");
            assert!(error.to_string().contains("truncated"), "{what} {cut}: {error}");
        }
    }
}

#[test]
fn damage_in_an_xz_block_shows_when_it_is_read() {
    let raw = raw();
    let mut file = xz(&raw, 1 << 20);
    file[40] ^= 1;
    let disk = opened(file);
    let mut buffer = [0; 10];
    let error = disk.read_exact_at(3, &mut buffer).expect_err("damaged");
    assert!(error.to_string().contains("xz data is damaged at byte 12"), "{error}");
    disk.read_exact_at(2 << 20, &mut buffer).expect("another block");
}

#[test]
fn files_beyond_the_limits_are_refused_with_the_way_out() {
    let raw = raw();
    let small = Limits { image: 1 << 20, ..Limits::default() };
    let little = Limits { kept: 100_000, ..Limits::default() };
    for (what, file) in files().into_iter().filter(|(what, _)| *what != "raw") {
        let error = open_with(Arc::new(file.clone()), small).err().unwrap_or_else(|| panic!("{what} opened"));
        assert!(matches!(error.kind(), ErrorKind::Unsupported { .. }), "{what}: {error}");
        assert!(error.to_string().contains("decompress it first"), "{what}: {error}");
        // Only what must be kept in memory counts against the other limit.
        match open_with(Arc::new(file), little) {
            Ok(disk) => assert!(what.starts_with("xz") && all(&*disk).unwrap() == raw, "{what}"),
            Err(error) => {
                assert!(!what.starts_with("xz"), "{what}: {error}");
                assert!(error.to_string().contains("decompress it first"), "{what}: {error}");
            }
        }
    }
}

#[test]
fn an_xz_of_one_giant_block_is_decoded_forward() {
    let raw = [vec![0; 70 * MIB], b"here".to_vec(), vec![0; MIB]].concat();
    for (what, file) in [
        ("one", one_block_xz(&raw, Check::Crc64)),
        ("with a second stream", [one_block_xz(&raw, Check::Crc64), vec![0; 8], xz(b"more", 1 << 20)].concat()),
    ] {
        let disk = opened(file.clone());
        let mut four = [0; 4];
        disk.read_exact_at(70 << 20, &mut four).unwrap();
        assert_eq!(&four, b"here", "{what}");
        let size = raw.len() as u64 + if what == "one" { 0 } else { 4 };
        assert_eq!(disk.size(), size, "{what}");
        let error = open_with(Arc::new(file), Limits { kept: 1000, ..Limits::default() }).err().expect(what);
        assert!(error.to_string().contains("decompress it first"), "{error}");
    }
}

#[test]
fn other_packings_are_named() {
    for (start, name) in [(&b"BZh91AY"[..], "bzip2"), (b"PK\x03\x04\x14\0", "zip"), (b"\x04\x22\x4D\x18\x64", "lz4")] {
        let error = open(Arc::new(start.to_vec())).err().expect(name);
        assert_eq!(
            error.to_string(),
            format!("{name} data cannot be read here: decompress it first; xz, zstd and gzip are read as they are")
        );
    }
    for raw in [&b""[..], b"\x1F", b"\xFD7zXZ"] {
        assert!(all(&*opened(raw.to_vec())).unwrap() == raw);
    }
}

/// Whatever the file says: an image, or an error, soon.
#[test]
fn mutants_give_an_image_or_an_error() {
    let raw = [vec![0; 200_000], b"some text, some text, some words".repeat(300), vec![0; 100_000]].concat();
    let (a, b) = raw.split_at(150_000);
    for (seed, file) in [
        xz(&raw, 1 << 16),
        one_block_xz(&raw, Check::Crc64),
        [xz(a, 1 << 16), vec![0; 8], xz(b, 1 << 20)].concat(),
        zst(&raw),
        [zst(a), zst(b)].concat(),
        gz(&raw),
        [gz(a), gz(b)].concat(),
    ]
    .into_iter()
    .enumerate()
    {
        let limits = Limits { image: 16 << 20, kept: 16 << 20 };
        testkit::mutants(seed as u64, 1500, &file, |mutant| {
            if let Ok(disk) = open_with(Arc::new(mutant.to_vec()), limits) {
                assert!(disk.size() <= limits.image);
                let _ = all(&*disk);
            }
        });
    }
}

/// The index of an `.xz` file is reached behind two checksums, so it is damaged with them put right.
#[test]
fn indexes_that_lie_give_errors() {
    let file = xz(&raw(), 1 << 20);
    let index = xz_index::read_index(&file, 1 << 30).unwrap();
    let blocks = index.blocks.last().map(|block| usize::try_from(block.offset + block.padded()).unwrap()).unwrap();
    let end = file.len();
    let rebuild = |index: &[u8]| {
        let mut bytes = file[..blocks].to_vec();
        bytes.extend_from_slice(index);
        bytes.extend(crc32fast::hash(index).to_le_bytes());
        let mut fields = u32::try_from((index.len() + 4) / 4 - 1).unwrap().to_le_bytes().to_vec();
        fields.extend(&file[6..8]);
        bytes.extend(crc32fast::hash(&fields).to_le_bytes());
        bytes.extend(fields);
        bytes.extend(b"YZ");
        bytes
    };
    let original = &file[blocks..end - 16];
    assert!(rebuild(original) == file);
    let mut opened = 0;
    testkit::mutants(3, 4000, original, |mutant| {
        let mut mutant = mutant.to_vec();
        mutant.resize(mutant.len().next_multiple_of(4), 0);
        let limits = Limits { image: 64 << 20, kept: 64 << 20 };
        if let Ok(disk) = open_with(Arc::new(rebuild(&mutant)), limits) {
            opened += 1;
            let _ = all(&*disk);
        }
    });
    assert!(opened < 4000);
}

#[test]
fn files_of_the_programs_read_as_what_they_hold() {
    let raw = raw();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("image");
    std::fs::write(&path, &raw).expect("a file");
    for (tool, arguments) in [
        ("xz", &["-0", "-T1", "-c"][..]),
        ("xz", &["-1", "-T2", "--block-size=1MiB", "-C", "sha256", "-c"]),
        ("xz", &["--arm64", "--lzma2=preset=0", "-c"]),
        ("xz", &["-0", "--block-list=1MiB,10KiB,0", "-c"]),
        ("zstd", &["-1", "-T2", "-c", "-q"]),
        ("zstd", &["-3", "--no-check", "-c", "-q"]),
        ("gzip", &["-1", "-c"]),
    ] {
        let Some(program) = testkit::tool(tool) else { continue };
        let output = Command::new(program).args(arguments).arg(&path).output().expect("it runs");
        assert!(output.status.success(), "{tool} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        assert!(all(&*opened(output.stdout)).unwrap() == raw, "{tool} {arguments:?}");
    }
}
