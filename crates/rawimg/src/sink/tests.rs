//! Round trips through decoders that we did not write, and the promises of the module.

use std::{
    io::{Cursor, Read},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use imgcore::{Blob, Digest, NoProgress, ReadAt as _};
use proptest::prelude::*;

use super::*;
use crate::ErrorKind;

const MIB: usize = 1 << 20;

/// Random numbers of our own: digests depend on them.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

/// Bytes that do not shrink.
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut numbers = Numbers(seed);
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend(numbers.next().to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Bytes that shrink much as a program does: words of a small vocabulary with noise between.
fn code(len: usize, seed: u64) -> Vec<u8> {
    let mut rng = Numbers(seed);
    let words: Vec<Vec<u8>> = (0..200).map(|n| noise(2 + n % 13, seed ^ n as u64)).collect();
    let mut bytes = Vec::with_capacity(len + 32);
    while bytes.len() < len {
        let roll = rng.next();
        // The minimum of two rolls: some words are frequent.
        let word = (roll % 200).min((roll >> 20) % 200) as usize;
        bytes.extend_from_slice(&words[word]);
        if roll >> 40 & 3 == 0 {
            bytes.push((roll >> 50) as u8 & 0x3F);
        }
    }
    bytes.truncate(len);
    bytes
}

fn image(len: u64, parts: &[(u64, Vec<u8>)]) -> Extents {
    let mut extents = Extents::new(len);
    for (number, (offset, bytes)) in parts.iter().enumerate() {
        extents.insert(*offset, &format!("part {number}"), bytes.clone().into()).expect("no overlap");
    }
    extents
}

fn bytes_of(image: &Extents) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(image.len()).unwrap()];
    image.read_exact_at(0, &mut bytes).expect("memory");
    bytes
}

fn write_to_vec(image: &Extents, format: Format, workers: usize) -> (Vec<u8>, Written) {
    let mut out = Vec::new();
    let written = write(image, format, &Options { workers, hash_raw: true }, &mut out, &NoProgress).expect("memory");
    (out, written)
}

/// Decodes with libraries that are not ours.
fn decode(format: Format, file: &[u8]) -> Vec<u8> {
    let mut raw = Vec::new();
    match format {
        Format::Raw => raw.extend_from_slice(file),
        Format::Xz => {
            liblzma::read::XzDecoder::new(file).read_to_end(&mut raw).expect("xz");
        }
        Format::Zst => {
            zstd::stream::read::Decoder::new(file).and_then(|mut d| d.read_to_end(&mut raw)).expect("zstd");
        }
        Format::Gz => {
            flate2::read::GzDecoder::new(file).read_to_end(&mut raw).expect("gzip");
        }
    }
    raw
}

/// A mixed image of a few MiB with every kind of unit and cell, edges that lie on nothing, and an odd size.
fn mixed() -> Extents {
    let mib = MIB as u64;
    let mut half = noise(MIB, 1);
    half[300_000..500_000].copy_from_slice(&code(200_000, 2));
    half[700_000..900_000].fill(0);
    image(
        23 * mib + 12_345,
        &[
            (0, code(70_001, 3)),
            (200_003, noise(100, 4)),
            (3 * mib - 7, code(2 * MIB + 20, 5)),
            (6 * mib, noise(2 * MIB, 6)),
            (9 * mib, half),
            (12 * mib, vec![0; 3 * MIB]),
            (20 * mib + 5, [noise(4096, 7), vec![0xFF; MIB], code(300_000, 8)].concat()),
            (23 * mib + 12_000, vec![1; 345]),
        ],
    )
}

#[test]
fn every_decoder_gives_the_image_back() {
    let image = mixed();
    let raw = bytes_of(&image);
    for format in Format::ALL {
        let (file, written) = write_to_vec(&image, format, 2);
        assert_eq!(decode(format, &file), raw, "{format}");
        assert_eq!((written.size, written.digest), (file.len() as u64, Digest::of(&file)), "{format}");
        assert_eq!((written.raw_size, written.raw_digest), (raw.len() as u64, Some(Digest::of(&raw))), "{format}");
        assert!(file.len() < 6 * MIB || format == Format::Raw, "{format}: {}", file.len());
        let mut end = 0;
        for unit in &written.units {
            let bytes = &raw[usize::try_from(unit.range.start).unwrap()..usize::try_from(unit.range.end).unwrap()];
            assert_eq!(unit.range.start, end);
            assert_eq!((unit.crc64, unit.zero), (checksum::crc64(bytes), is_zero(bytes)), "{:?}", unit.range);
            end = unit.range.end;
        }
        assert_eq!(end, image.len());
        check(Arc::new(file), format, &written, &Options::default(), &NoProgress).expect("sound");
    }
}

#[test]
fn workers_and_cuts_change_nothing() {
    let image = mixed();
    let raw = bytes_of(&image);
    // The same bytes, cut into pieces of odd sizes, some of them zero, held and referred to.
    let mut cut = Extents::new(image.len());
    let (mut at, mut rng) = (0, Numbers(9));
    while at < raw.len() {
        let len = (rng.next() % 700_000) as usize + 1;
        let piece = &raw[at..raw.len().min(at + len)];
        let blob = Blob::from_bytes("piece", piece);
        cut.insert(at as u64, "piece", if len % 2 == 0 { blob.into() } else { piece.into() }).expect("no overlap");
        at += len;
    }
    for format in Format::ALL {
        let (_, one) = write_to_vec(&image, format, 1);
        for workers in [2, 3, 8] {
            assert_eq!(write_to_vec(&image, format, workers).1, one, "{format} {workers}");
        }
        assert_eq!(write_to_vec(&cut, format, 3).1, one, "{format} cut");
    }
}

/// The bytes are part of the contract: whoever changes them changes every published digest. `.zst` depends on the
/// version of libzstd, `.gz` on that of zlib-rs; a new digest after their update is no error, but is said in the
/// change log.
#[test]
fn the_bytes_stay_what_they_are() {
    let image = mixed();
    for (format, size, digest) in
        [(Format::Raw, 24_129_593, "0"), (Format::Xz, 0, "0"), (Format::Zst, 0, "0"), (Format::Gz, 0, "0")]
    {
        let (_, written) = write_to_vec(&image, format, 2);
        assert_eq!((written.size, written.digest.hex().as_str()), (size, digest), "{format}");
    }
}

#[test]
fn the_sparse_writer_makes_the_same_file_and_skips_zeros() {
    struct Counting<W>(W, u64);
    impl<W: Write> Write for Counting<W> {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.1 += bytes.len() as u64;
            self.0.write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            self.0.flush()
        }
    }
    impl<W: Seek> Seek for Counting<W> {
        fn seek(&mut self, to: std::io::SeekFrom) -> std::io::Result<u64> {
            self.0.seek(to)
        }
    }
    for image in [mixed(), image(5 << 20, &[(9, vec![1])]), image(3, &[]), image(0, &[])] {
        let raw = bytes_of(&image);
        let mut out = Counting(Cursor::new(Vec::new()), 0);
        let written = write_raw_sparse(&image, &Options::default(), &mut out, &NoProgress).expect("memory");
        assert!(*out.0.get_ref() == raw);
        assert_eq!((written.digest, written.size), (Digest::of(&raw), raw.len() as u64));
        assert!(out.1 <= 8 * MIB as u64, "{} bytes written", out.1);
    }
}

#[test]
fn tiny_and_empty_images_are_files_too() {
    for len in [0, 1, 2, 31, 32, 33, 34, 65_536, 65_537, MIB as u64 - 1, MIB as u64, MIB as u64 + 1] {
        for image in [image(len, &[]), image(len, &[(len / 2, vec![7; usize::from(len > 0)])])] {
            let raw = bytes_of(&image);
            for format in Format::ALL {
                let (file, written) = write_to_vec(&image, format, 3);
                assert!(decode(format, &file) == raw, "{format} {len}");
                check(Arc::new(file), format, &written, &Options::default(), &NoProgress).expect("sound");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn any_small_image_comes_back(
        len in prop_oneof![1_usize..70_000, 1_usize..6 * MIB],
        parts in prop::collection::vec((any::<u32>(), 0_u8..5, 1_usize..400_000, any::<u64>()), 0..6),
    ) {
        let mut raw = vec![0; len];
        for (at, kind, size, seed) in parts {
            let at = at as usize % len;
            let size = size.min(len - at);
            let bytes = match kind {
                0 => vec![0; size],
                1 => noise(size, seed),
                2 => noise(4096, seed).into_iter().cycle().take(size).collect(),
                3 => (0..size).map(|n| if n / 512 % 2 == 0 { 0 } else { ((n as u64).wrapping_mul(seed) >> 30) as u8 }).collect(),
                _ => code(size, seed),
            };
            raw[at..at + size].copy_from_slice(&bytes);
        }
        let image = image(len as u64, &[(0, raw.clone())]);
        for format in Format::ALL {
            let (file, written) = write_to_vec(&image, format, 2);
            prop_assert!(decode(format, &file) == raw, "{}", format);
            check(Arc::new(file), format, &written, &Options::default(), &NoProgress).expect("sound");
        }
    }
}

/// Runs a program over `file` on its standard input and gives back its standard output.
fn pipe(program: &std::path::Path, arguments: &[&str], file: &[u8]) -> Vec<u8> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let mut input = child.stdin.take().expect("piped");
    let file = file.to_vec();
    let writer = std::thread::spawn(move || {
        let _ = input.write_all(&file);
    });
    let mut out = Vec::new();
    child.stdout.take().expect("piped").read_to_end(&mut out).expect("a pipe");
    writer.join().expect("no panic");
    assert!(child.wait().expect("a child").success(), "{} {arguments:?}", program.display());
    out
}

#[test]
fn the_programs_of_others_read_every_format() {
    let image = mixed();
    let raw = bytes_of(&image);
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (format, tool, ways) in [
        (Format::Xz, "xz", &[&["-dc", "-T1"][..], &["-dc", "-T0"]][..]),
        (Format::Zst, "zstd", &[&["-dc"]]),
        (Format::Gz, "gzip", &[&["-dc"]]),
    ] {
        let Some(program) = testkit::tool(tool) else { continue };
        let (file, _) = write_to_vec(&image, format, 2);
        for way in ways {
            assert!(pipe(&program, way, &file) == raw, "{tool} {way:?}");
        }
        let path = folder.path().join(format!("image{}", format.extension()));
        std::fs::write(&path, &file).expect("a file");
        testkit::run(Command::new(&program).arg("-t").arg(&path));
        if format == Format::Xz {
            let list = testkit::run(Command::new(&program).args(["--robot", "-lvv"]).arg(&path));
            let blocks: Vec<_> = list.lines().filter(|line| line.starts_with("block")).collect();
            assert!(blocks.iter().all(|line| line.contains("\tCRC64\t") && line.contains("\tcu\t")), "{list}");
            // Thirteen units of data; nine MiB of zeros in five runs make six blocks.
            assert!(list.lines().any(|line| line.starts_with("file\t1\t")), "{list}");
        }
    }
}

#[test]
fn a_progress_that_cancels_stops_the_write() {
    struct After(AtomicU64);
    impl Progress for After {
        fn start(&self, _task: &str, _total: Option<u64>) {}
        fn advance(&self, _task: &str, bytes: u64) {
            self.0.fetch_add(bytes, Ordering::Relaxed);
        }
        fn finish(&self, task: &str) {
            panic!("{task} must not finish");
        }
        fn cancelled(&self) -> bool {
            self.0.load(Ordering::Relaxed) > 4 << 20
        }
    }
    let image = mixed();
    for format in Format::ALL {
        let options = Options { workers: 3, hash_raw: true };
        let error =
            write(&image, format, &options, &mut std::io::sink(), &After(AtomicU64::new(0))).expect_err("stopped");
        assert!(matches!(error.kind(), ErrorKind::Cancelled), "{format} {error}");
    }
}

#[test]
fn errors_of_either_end_come_out() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _bytes: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    struct Broken;
    impl imgcore::ReadAt for Broken {
        fn size(&self) -> u64 {
            3 << 20
        }
        fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<usize> {
            buffer.fill(1);
            if offset >= 2 << 20 { Err(std::io::Error::other("bad sector")) } else { Ok(buffer.len()) }
        }
    }
    let good = mixed();
    let mut broken = Extents::new(9 << 20);
    broken.insert(5 << 20, "card", Blob::new("card", Arc::new(Broken), None).into()).expect("fits");
    for format in Format::ALL {
        let options = Options { workers: 3, hash_raw: true };
        let error = write(&good, format, &options, &mut Full, &NoProgress).expect_err("full");
        assert!(
            matches!(error.kind(), ErrorKind::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull)
        );
        let error = write(&broken, format, &options, &mut Vec::new(), &NoProgress).expect_err("broken");
        assert_eq!(error.to_string(), "reading bytes 7340032..8388608 of the image: bad sector");
    }
}
