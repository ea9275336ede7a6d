use std::io::{Read as _, Write as _};

use imgcore::{Blob, Severity};
use proptest::prelude::*;

use super::*;

const RELEASE: &str = "6.12.40-talos";

fn codes(report: &Report) -> Vec<&str> {
    report.iter().map(|finding| finding.code).collect()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = Vec::new();
    flate2::bufread::GzEncoder::new(bytes, flate2::Compression::fast()).read_to_end(&mut packed).unwrap();
    packed
}

fn xz(bytes: &[u8], stream: liblzma::stream::Stream) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn pack(compression: Compression, bytes: &[u8]) -> Vec<u8> {
    use liblzma::stream::{Check, LzmaOptions, Stream};
    match compression {
        Compression::Gzip => gzip(bytes),
        Compression::Zstd => zstd::encode_all(bytes, 19).unwrap(),
        Compression::Xz => xz(bytes, Stream::new_easy_encoder(6, Check::Crc32).unwrap()),
        Compression::Lzma => xz(bytes, Stream::new_lzma_encoder(&LzmaOptions::new_preset(6).unwrap()).unwrap()),
        Compression::Lz4 => b"\x02\x21\x4c\x18 not really".to_vec(),
        Compression::Lzo => b"\x89LZO\0\r\n\x1a\n not really".to_vec(),
    }
}

/// An EFI zboot program, as `zboot-header.S` lays it out.
fn zboot_of(name: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = b"MZ\0\0zimg".to_vec();
    bytes.extend(4096_u32.to_le_bytes());
    bytes.extend(u32::try_from(payload.len()).unwrap().to_le_bytes());
    bytes.extend([0; 8]);
    bytes.extend(name.as_bytes());
    bytes.resize(0x3c, 0);
    bytes.extend(0x40_u32.to_le_bytes());
    bytes.extend(b"PE\0\0\x64\xaa");
    bytes.resize(4096, 0);
    bytes.extend(payload);
    // All compressions but gzip are followed by the size of what they unpack to.
    bytes.extend([0; 516]);
    bytes
}

#[test]
fn texts_behind_the_banner_are_found_in_any_packing() {
    let mut image = sample_image(RELEASE);
    // Across the border of two windows, and at the very end.
    image.resize(CHUNK + BANNER_LIMIT - 7, 0);
    image.extend(b"rockchip,fiq-debugger\0");
    image.resize(3 * CHUNK, 0);
    image.extend(b"last");
    let texts: [&[u8]; 4] = [b"rockchip,fiq-debugger", b"last", b"absent", b"Linux version"];
    for bytes in [image.clone(), pack(Compression::Zstd, &image), zboot_of("gzip", &gzip(&image))] {
        let (info, _) = look(&Blob::from_bytes("kernel", bytes), &texts);
        let info = info.unwrap();
        assert_eq!((info.release.as_str(), info.has), (RELEASE, vec![true, true, false, true]));
    }
}

#[test]
fn every_packing_gives_the_release() {
    let image = sample_image(RELEASE);
    let mut cases = vec![(Format::Image, image.clone(), "")];
    for compression in [Compression::Gzip, Compression::Zstd, Compression::Xz, Compression::Lzma] {
        let payload = pack(compression, &image);
        cases.push((Format::Zboot(compression), zboot_of(compression.zboot_name(), &payload), ""));
        cases.push((Format::Compressed(compression), payload, "TAL045"));
    }
    for (format, file, expected) in cases {
        let (info, report) = release(&file);
        let info = info.unwrap();
        assert_eq!((info.format, info.release.as_str()), (format, RELEASE), "{format}");
        assert_eq!(codes(&report).join(" "), expected, "{format}");
        assert_eq!(info.banner, "Linux version 6.12.40-talos (talos-rk) (no compiler) #1 sample");
    }
    for compression in [Compression::Lz4, Compression::Lzo] {
        let (info, report) = release(&zboot_of(compression.name(), &pack(compression, &image)));
        assert_eq!((info, codes(&report).join(" ").as_str()), (None, "TAL042"));
        assert_eq!(codes(&release(&pack(compression, &image)).1), ["TAL042"]);
    }
}

#[test]
fn a_real_kernel_says_its_release() {
    let Some(root) = testkit::reference() else { return };
    let kernel = testkit::read(root.join("in/vmlinuz"));
    let (info, report) = release(&kernel);
    assert_eq!(info.unwrap().release, "6.12.107+deb13-cloud-arm64");
    assert!(report.is_empty());
    // The same kernel as EFI zboot, which is what Talos ships.
    let payload = zstd::encode_all(&kernel[..], 1).unwrap();
    let (info, _) = release(&zboot_of("zstd22", &payload));
    let info = info.unwrap();
    assert_eq!(info.format, Format::Zboot(Compression::Zstd));
    assert_eq!(info.release, "6.12.107+deb13-cloud-arm64");
    for other in ["in/initramfs.xz", "in/systemd-boot.efi", "shared/v1.13.9-uki/metal-arm64-uki.efi"] {
        let (info, report) = release(&testkit::read(root.join(other)));
        assert!(info.is_none() && report.has_errors(), "{other}");
    }
}

#[test]
fn a_banner_is_found_wherever_it_stands() {
    let banner = b"Linux version 1.2.3 (a) #1\n";
    for at in [64, CHUNK - 30, CHUNK - 5, CHUNK + 1, CHUNK + BANNER_LIMIT - 5, CHUNK + BANNER_LIMIT, 3 * CHUNK + 777] {
        let mut image = sample_image("x");
        image.truncate(64);
        image.resize(at, b'L');
        image.extend_from_slice(banner);
        for tail in [0, 1000, 2 * CHUNK] {
            image.resize(at + banner.len() + tail, 0);
            assert_eq!(release(&image).0.unwrap().release, "1.2.3", "{at} {tail}");
        }
    }
}

#[test]
fn texts_that_only_look_like_a_banner_are_passed_over() {
    for text in [
        "Linux version %s (%s)",
        "Linux version 6.1",
        "Linux version 6.1 without",
        "Linux version  (x)",
        "Linux version x6.1 (x)",
        "Linux version 6.1\0 (x)",
    ] {
        let mut image = sample_image("x");
        image.truncate(64);
        image.extend_from_slice(text.as_bytes());
        image.push(0);
        let (info, report) = release(&image);
        assert_eq!((info, codes(&report).join(" ").as_str()), (None, "TAL043"), "{text}");
        image.extend_from_slice(b"Linux version 6.1.2-x (y)");
        assert_eq!(release(&image).0.unwrap().release, "6.1.2-x", "{text}");
    }
}

#[test]
fn what_is_no_kernel_is_named() {
    let at = |offset: usize, magic: &[u8]| {
        let mut file = vec![0; 1024];
        file[offset..offset + magic.len()].copy_from_slice(magic);
        file
    };
    for (file, expected) in [
        (vec![], "it is empty"),
        (at(0x202, b"HdrS"), "bzImage for x86"),
        (at(56, b"RSC\x05"), "RISC-V"),
        (at(0, b"\x7fELF"), "ELF file"),
        (at(0, b"MZ"), "EFI program"),
        (at(0, b"\x27\x05\x19\x56"), "uImage"),
        (at(0, b"\xd0\x0d\xfe\xed"), "device tree"),
        (at(0, b"070701"), "cpio archive"),
        (at(0, b"hello"), "first bytes are unknown"),
        (gzip(&at(0, b"070701")), "inside the gzip payload: this is no kernel for arm64: it is a cpio archive"),
    ] {
        let (info, report) = release(&file);
        assert!(info.is_none());
        let finding = report.iter().next().unwrap();
        assert_eq!((finding.code, finding.severity), ("TAL040", Severity::Error));
        assert!(finding.message.contains(expected), "{finding}");
    }
}

#[test]
fn damaged_payloads_are_findings() {
    let image = sample_image(RELEASE);
    for compression in [Compression::Gzip, Compression::Zstd, Compression::Xz, Compression::Lzma] {
        let payload = pack(compression, &image);
        let cut = zboot_of(compression.zboot_name(), &payload[..payload.len() / 2]);
        assert_eq!(codes(&release(&cut).1), ["TAL041"], "{compression:?}");
        let mut garbage = zboot_of(compression.zboot_name(), &payload);
        garbage[4096..4110].fill(0xaa);
        assert_eq!(codes(&release(&garbage).1), ["TAL041"], "{compression:?}");
    }
    let good = zboot_of("gzip", &gzip(&image));
    for (name, change) in [
        ("offset", &(|b: &mut Vec<u8>| b[11] = 0xff) as &dyn Fn(&mut Vec<u8>)),
        ("no offset", &|b| b[9] = 0),
        ("size", &|b| b[15] = 0xff),
        ("name", &|b| b[24] = b'x'),
        ("cut", &|b| b.truncate(4100)),
    ] {
        let mut bytes = good.clone();
        change(&mut bytes);
        assert_eq!(codes(&release(&bytes).1), ["TAL041"], "{name}");
    }
    let mut other = good;
    other[0x44..0x46].copy_from_slice(&[0x64, 0x86]);
    assert!(release(&other).1.iter().any(|finding| finding.message.contains("another machine")));
}

/// A reader that fails, after `good` bytes of a kernel.
struct Failing(usize);

impl ReadAt for Failing {
    fn size(&self) -> u64 {
        1 << 30
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if offset < self.0 as u64 { sample_image("x").read_at(offset, buffer) } else { Err(io::Error::other("gone")) }
    }
}

#[test]
fn a_reader_that_fails_is_a_finding() {
    for good in [0, 100] {
        assert_eq!(codes(&release(&Failing(good)).1), ["TAL044"]);
    }
}

#[test]
fn an_endless_kernel_ends() {
    assert_eq!(find_texts(&mut io::repeat(b'L'), 1 << 20, &[]).unwrap().banner, None);
}

#[test]
fn no_mutant_panics() {
    let image = sample_image(RELEASE);
    let mut seen = std::collections::BTreeSet::new();
    let mut check = |bytes: &[u8]| seen.extend(release(&bytes).1.iter().map(|finding| finding.code));
    testkit::mutants(1, 4000, &image, &mut check);
    for (seed, compression) in
        [(2, Compression::Gzip), (3, Compression::Zstd), (4, Compression::Xz), (5, Compression::Lzma)]
    {
        let mut file = zboot_of(compression.zboot_name(), &pack(compression, &image));
        file.drain(1024..4096);
        file[9] = 4;
        testkit::mutants(seed, 1500, &file, &mut check);
    }
    assert!(seen.len() >= 4, "{seen:?}");
    assert!(seen.iter().all(|code| crate::rules::RULES.iter().any(|(rule, ..)| rule == code)), "{seen:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_release_is_found_in_any_packing(text in "[0-9][a-z0-9.+~_-]{0,60}", which in 0_usize..4) {
        let compression = Compression::ALL[which];
        let file = zboot_of(compression.zboot_name(), &pack(compression, &sample_image(&text)));
        let blob = Blob::from_bytes("vmlinuz", file);
        prop_assert_eq!(release(&blob).0.unwrap().release, text);
    }
}

#[test]
fn the_image_is_unpacked_whole_or_not_at_all() {
    let mut plain = sample_image(RELEASE);
    plain.extend(vec![7; 3 * CHUNK]);
    let bytes = |kernel: &[u8]| {
        let (image, report) = image(&kernel);
        let read = image.map(|mut image| {
            let mut bytes = Vec::new();
            image.read_to_end(&mut bytes).map(|_| bytes)
        });
        (read, codes(&report).iter().map(|code| (*code).to_owned()).collect::<Vec<_>>())
    };
    let whole = |kernel: &[u8]| bytes(kernel).0.unwrap().unwrap();
    assert_eq!(whole(&plain), plain);
    for compression in [Compression::Gzip, Compression::Zstd, Compression::Xz, Compression::Lzma] {
        let packed = pack(compression, &plain);
        assert_eq!(whole(&packed), plain, "{}", compression.name());
        assert_eq!(whole(&zboot_of(compression.zboot_name(), &packed)), plain, "zboot {}", compression.name());
    }
    let cut = pack(Compression::Gzip, &plain);
    assert!(bytes(&cut[..cut.len() / 2]).0.is_none_or(|read| read.is_err()));
    assert!(matches!(bytes(&pack(Compression::Lz4, &plain)), (None, found) if found == ["TAL042"]));
    assert!(matches!(bytes(b"no kernel at all"), (None, found) if found == ["TAL040"]));
}
