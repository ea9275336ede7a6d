//! Round trips through decoders that we did not write, and the promises of the module.
#![cfg(all(feature = "xz", feature = "zst", feature = "gz"))]
#![allow(clippy::disallowed_methods, clippy::cast_possible_truncation, reason = "tests of small things")]

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
        if (roll >> 40).is_multiple_of(4) {
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
        cut.insert(at as u64, "piece", if len.is_multiple_of(2) { blob.into() } else { piece.into() })
            .expect("no overlap");
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
    for (format, size, digest) in [
        (Format::Raw, 24_129_593, "863d11821c3f6618e369f0b1889815c60e32d879131bbfc7abf69b7f651f57b6"),
        (Format::Xz, 3_506_812, "42087ed37883fa8984892655b8ac460a0aea81c4eac4d6dc5731b49107e09617"),
        (Format::Zst, 3_524_697, "bc38dc58122f8ed036b1aa092630823d97506425e33ae976b7fe05274af0c8cf"),
        (Format::Gz, 3_531_444, "57c826638cb23628271854a251e5e47e9603d372df4a733dd7b4a1673962de3a"),
    ] {
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

/// The repeated offsets that one row of data leaves must not reach the next (`sinks.md` §6).
#[test]
fn stitched_rows_of_zstd_blocks_do_not_see_each_other() {
    let mib = MIB as u64;
    let parts: Vec<_> = (0..8).map(|n| (n * 3 * mib, code(2 * MIB, 40 + n))).collect();
    let image = image(24 * mib, &parts);
    let (file, written) = write_to_vec(&image, Format::Zst, 2);
    assert!(decode(Format::Zst, &file) == bytes_of(&image));
    // One frame only: a decoder that stops after the first has everything.
    let mut single = zstd::stream::read::Decoder::new(&file[..]).expect("zstd").single_frame();
    assert_eq!(std::io::copy(&mut single, &mut std::io::sink()).ok(), Some(24 * mib));
    assert!(single.finish().buffer().is_empty());
    check(Arc::new(file), Format::Zst, &written, &Options::default(), &NoProgress).expect("sound");
}

/// Units that do not shrink leave libzstd and come back to it in the middle of a row: what comes after must not use
/// what the decoder does not have.
#[test]
fn a_row_of_changing_units_decodes_to_itself() {
    // c: shrinks, s: does not, h: half and half, 0: zeros.
    for (seed, pattern) in
        ["cssscssssc", "sssscsc", "cs", "csss0cccsss", "ssss", "0ssssc", "chsssshsssshcs", "csscsscsssscsssscssss"]
            .into_iter()
            .enumerate()
    {
        let mut raw = Vec::new();
        for (number, kind) in pattern.bytes().enumerate() {
            let seed = (seed * 100 + number) as u64;
            match kind {
                b'c' => raw.extend(code(MIB, 80)[..].iter().rev().take(MIB - number).chain(&code(number, seed))),
                b's' => raw.extend(noise(MIB, seed)),
                b'h' => raw.extend([noise(MIB / 2, seed), code(MIB / 2, 80)].concat()),
                _ => raw.resize(raw.len() + MIB, 0),
            }
        }
        for cut in [0, 5, 700_000] {
            let raw = &raw[..raw.len() - cut];
            let image = image(raw.len() as u64, &[(0, raw.to_vec())]);
            let (file, written) = write_to_vec(&image, Format::Zst, 2);
            assert!(decode(Format::Zst, &file) == raw, "{pattern} {cut}");
            assert_eq!(write_to_vec(&image, Format::Zst, 7).1, written, "{pattern} {cut}");
        }
    }
}

#[test]
fn zeros_cost_next_to_nothing() {
    let image = image(4 << 30, &[(1 << 30, vec![1; 512])]);
    for (format, most) in [(Format::Xz, 760_000), (Format::Zst, 132_000), (Format::Gz, 4_170_000)] {
        let mut out = Vec::new();
        let options = Options { workers: 2, hash_raw: false };
        let written = write(&image, format, &options, &mut out, &NoProgress).expect("memory");
        assert!(written.size < most, "{format}: {}", written.size);
        if format == Format::Xz {
            // The equal blocks are decoded once.
            check(Arc::new(out), format, &written, &options, &NoProgress).expect("sound");
        }
    }
}

/// A file that holds other bytes than were planned is refused, with the place.
#[test]
fn the_check_finds_what_the_plan_does_not_say() {
    let good = mixed();
    let mut raw = bytes_of(&good);
    for format in Format::ALL {
        let (_, planned) = write_to_vec(&good, format, 2);
        // One bit in the middle of data, one in the middle of zeros.
        for place in [4 * MIB + 17, 10 * MIB + MIB / 2] {
            raw[place] ^= 4;
            let other = image(raw.len() as u64, &[(0, raw.clone())]);
            raw[place] ^= 4;
            let (file, found) = write_to_vec(&other, format, 2);
            // A writer that lies about the file itself but not about the plan.
            let written = Written { size: found.size, digest: found.digest, ..planned.clone() };
            let error = check(Arc::new(file), format, &written, &Options { workers: 3, hash_raw: false }, &NoProgress)
                .expect_err("another image");
            let ErrorKind::Mismatch { range, .. } = error.kind() else { panic!("{format}: {error}") };
            assert!(range.contains(&(place as u64)) && range.end - range.start <= 4 << 20, "{format}: {error}");
        }
        let (file, found) = write_to_vec(&image(20 << 20, &[]), format, 1);
        let written = Written { size: found.size, digest: found.digest, ..planned.clone() };
        check(Arc::new(file), format, &written, &Options::default(), &NoProgress).expect_err("too short");
    }
}

/// Damage of any kind in a finished file is found, and nothing panics.
#[test]
fn the_check_finds_any_damage() {
    let mib = MIB as u64;
    let image = image(3 * mib + 100, &[(10, code(50_000, 60)), (2 * mib, noise(10_000, 61))]);
    for format in Format::ALL {
        let (file, written) = write_to_vec(&image, format, 1);
        let mut bad = 0;
        testkit::mutants(7, 400, &file, |mutant| {
            let file: Arc<dyn imgcore::ReadAt> = Arc::new(mutant.to_vec());
            let found = check(file, format, &written, &Options { workers: 2, hash_raw: false }, &NoProgress);
            assert_eq!(found.is_ok(), Digest::of(mutant) == written.digest, "{format}");
            bad += usize::from(found.is_err());
        });
        assert!(bad > 300, "{format}: {bad}");
    }
}

#[test]
fn the_holes_of_a_raw_file_need_not_be_read() {
    let image = image(40 << 20, &[(5 << 20, code(3000, 70)), (30 << 20, noise(100, 71))]);
    let (file, written) = write_to_vec(&image, Format::Raw, 1);
    let data = [5 << 20..(5 << 20) + 4096, 30 << 20..(30 << 20) + 4096, (40 << 20) - 4096..40 << 20];
    let options = Options { workers: 2, hash_raw: false };
    let check = |file: &[u8]| check_raw_sparse(Arc::new(file.to_vec()), &data, &written, &options, &NoProgress);
    check(&file).expect("sound");
    for place in [(5 << 20) + 10, (5 << 20) + 4000, (30 << 20) + 5, (40 << 20) - 1] {
        let mut file = file.clone();
        file[place] ^= 1;
        let error = check(&file).expect_err("damaged");
        assert!(
            matches!(error.kind(), ErrorKind::Mismatch { range, .. } if range.contains(&(place as u64))),
            "{error}"
        );
    }
}
