//! What a kernel file is and which release it holds: raw arm64 `Image`, EFI zboot, or either of them compressed.
//!
//! ```
//! use talosimg::kernel::{self, Format};
//!
//! let image = kernel::sample_image("6.12.40-talos");
//! let (info, report) = kernel::release(&image);
//! let info = info.expect("it is a kernel");
//! assert_eq!((info.release.as_str(), info.format), ("6.12.40-talos", Format::Image));
//! assert!(report.is_empty());
//!
//! let (info, report) = kernel::release(&b"\x7fELF, an executable".repeat(10));
//! assert!(info.is_none() && report.has_errors());
//! ```

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::{
    fmt,
    io::{self, Read},
    ops::Range,
};

use imgcore::{ByteSize, Finding, ReadAt, ReadAtCursor, Report};

mod sample;

pub use sample::sample_image;

/// The most that is searched, in bytes of the decompressed kernel. Debian's has 31 MB, a kernel with everything 100.
const SEARCH_LIMIT: u64 = 512 * ByteSize::MIB;
/// Memory that a decoder may take for its window: `zstd -22 --ultra --long` and `xz -9` stay below it.
const WINDOW_LOG: u32 = 27;
const XZ_MEMORY: u64 = 256 * ByteSize::MIB;
/// Bytes that are read at a time.
const CHUNK: usize = 128 << 10;
/// `linux_banner` begins with this in every kernel (`init/version.c`).
const BANNER: &[u8] = b"Linux version ";
/// Longest banner that is kept, in bytes.
const BANNER_LIMIT: usize = 512;
/// Longest release: `__NEW_UTS_LEN` of the kernel.
const RELEASE_LIMIT: usize = 64;
/// Header of an arm64 `Image` (`Documentation/arch/arm64/booting.rst`).
const IMAGE_HEADER: usize = 64;

/// What a kernel file turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelInfo {
    /// How the kernel is packed.
    pub format: Format,
    /// `uname -r` of the kernel.
    pub release: String,
    /// The whole banner, with compiler and build date, cut at 512 bytes.
    pub banner: String,
    /// Which of the texts that were asked for are in the kernel, in their order; see [`look`].
    pub has: Vec<bool>,
}

/// How a kernel is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The raw `Image`.
    Image,
    /// An EFI program that unpacks the `Image` (`vmlinuz.efi`, `CONFIG_EFI_ZBOOT`).
    Zboot(Compression),
    /// An `Image` that somebody compressed; no boot program for EFI starts it.
    Compressed(Compression),
}

/// How the kernel inside is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
    /// xz.
    Xz,
    /// The format before xz, `.lzma`.
    Lzma,
    /// LZ4, not unpacked here.
    Lz4,
    /// LZO, not unpacked here.
    Lzo,
}

impl Compression {
    const ALL: [Self; 6] = [Self::Gzip, Self::Zstd, Self::Xz, Self::Lzma, Self::Lz4, Self::Lzo];

    /// The usual name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Xz => "xz",
            Self::Lzma => "lzma",
            Self::Lz4 => "lz4",
            Self::Lzo => "lzo",
        }
    }

    /// The name in a zboot header (`drivers/firmware/efi/libstub/Makefile.zboot`).
    const fn zboot_name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd22",
            Self::Xz => "xzkern",
            other => other.name(),
        }
    }

    /// By the first bytes of a stream. A `.lzma` has no magic: its properties and a dictionary size are tried.
    fn sniff(head: &[u8]) -> Option<Self> {
        const MAGICS: [(&[u8], Compression); 7] = [
            (b"\x1f\x8b\x08", Compression::Gzip),
            (b"\x28\xb5\x2f\xfd", Compression::Zstd),
            (b"\xfd7zXZ\0", Compression::Xz),
            (b"\x5d\0\0", Compression::Lzma),
            (b"\x02\x21\x4c\x18", Compression::Lz4),
            (b"\x04\x22\x4d\x18", Compression::Lz4),
            (b"\x89LZO\0\r\n\x1a\n", Compression::Lzo),
        ];
        MAGICS.into_iter().find(|(magic, _)| head.starts_with(magic)).map(|(_, compression)| compression)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image => f.write_str("raw Image"),
            Self::Zboot(compression) => write!(f, "EFI zboot ({})", compression.name()),
            Self::Compressed(compression) => write!(f, "compressed Image ({})", compression.name()),
        }
    }
}

/// Recognises a kernel for arm64 and finds its release, in one forward pass with bounded memory.
///
/// What is no kernel gives `None` and an error that says what it is instead; a kernel whose release cannot be found
/// gives `None` and a warning.
pub fn release(kernel: &dyn ReadAt) -> (Option<KernelInfo>, Report) {
    look(kernel, &[])
}

/// As [`release`], and whether the kernel holds certain texts, of up to 256 bytes each: the `compatible` string of a
/// driver tells whose kernel it is. The whole kernel is read for that, unless there are no texts.
pub fn look(kernel: &dyn ReadAt, texts: &[&[u8]]) -> (Option<KernelInfo>, Report) {
    let mut report = Report::new();
    let info = examine(kernel, texts, &mut report).unwrap_or_else(|finding| {
        report.push(*finding);
        None
    });
    (info, report)
}

/// The bytes of the `Image`, unpacked, up to 512 MiB of them: what else a kernel holds can be looked for there.
///
/// `None` with a finding for what is no kernel, or is packed in a way that is not read.
pub fn image(kernel: &dyn ReadAt) -> (Option<Box<dyn Read + '_>>, Report) {
    let mut report = Report::new();
    let opened = open(kernel, &mut report).unwrap_or_else(|finding| {
        report.push(*finding);
        None
    });
    let image = opened.map(|opened| -> Box<dyn Read + '_> {
        match opened.packed {
            Some(_) => Box::new(io::Cursor::new(opened.head).chain(opened.plain).take(SEARCH_LIMIT)),
            None => Box::new(opened.plain.take(SEARCH_LIMIT)),
        }
    });
    (image, report)
}

type Step<T> = Result<T, Box<Finding>>;

/// A kernel that is about to be read.
struct Opened<'a> {
    format: Format,
    /// Its first bytes, the header among them.
    head: Vec<u8>,
    /// Where it lies in the file and how it is packed, if it is.
    packed: Option<(Compression, Range<u64>)>,
    /// The unpacked bytes: all of them, or if it is packed those behind the head.
    plain: Box<dyn Read + 'a>,
}

fn examine(kernel: &dyn ReadAt, texts: &[&[u8]], report: &mut Report) -> Step<Option<KernelInfo>> {
    let Some(mut opened) = open(kernel, report)? else { return Ok(None) };
    let found = find_texts(&mut opened.plain, SEARCH_LIMIT, texts).map_err(|error| match &opened.packed {
        Some((compression, range)) => damaged(*compression, range, &error),
        None => unreadable(&error),
    })?;
    Ok(finish(opened.format, &opened.head, found, report))
}

fn open<'a>(kernel: &'a dyn ReadAt, report: &mut Report) -> Step<Option<Opened<'a>>> {
    let mut head = [0; 4096];
    let head = {
        let count = fill(&mut ReadAtCursor::new(kernel), &mut head).map_err(|error| unreadable(&error))?;
        head.get(..count).unwrap_or_default()
    };
    if is_image(head) {
        let plain = Box::new(ReadAtCursor::new(kernel));
        return Ok(Some(Opened { format: Format::Image, head: head.to_vec(), packed: None, plain }));
    }
    if head.get(4..8) == Some(b"zimg".as_slice()) {
        return zboot(kernel, head, report);
    }
    if let Some(compression) = Compression::sniff(head) {
        let format = Format::Compressed(compression);
        return unpack(&Packed { kernel, range: 0..kernel.size(), format }, compression, report);
    }
    Err(Box::new(not_a_kernel(head)))
}

/// Reads the header of an EFI zboot program (`drivers/firmware/efi/libstub/zboot-header.S`): at 8 the payload's offset,
/// at 12 its size, at 24 the name of its compression.
fn zboot<'a>(kernel: &'a dyn ReadAt, head: &[u8], report: &mut Report) -> Step<Option<Opened<'a>>> {
    let word = |at: usize| head.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |bytes| u32::from_le_bytes(*bytes));
    let (start, size) = (u64::from(word(8)), u64::from(word(12)));
    let name: String =
        head.get(24..56).unwrap_or_default().iter().take_while(|byte| **byte != 0).map(|b| char::from(*b)).collect();
    let machine = word(0x3c);
    let machine =
        usize::try_from(machine).ok().and_then(|at| head.get(at.checked_add(4)?..)).and_then(<[u8]>::first_chunk);
    if machine.is_some_and(|bytes| u16::from_le_bytes(*bytes) != 0xaa64) {
        let finding = Finding::error("TAL040", "this is an EFI zboot kernel for another machine than arm64");
        return Err(Box::new(finding.help("take the kernel for arm64")));
    }
    let Some(compression) =
        Compression::ALL.into_iter().find(|known| known.zboot_name() == name || known.name() == name)
    else {
        let message = format!("the EFI zboot header names the compression {name:?}, which is none that is known");
        return Err(Box::new(Finding::error("TAL041", message).at(24..56)));
    };
    if start == 0 || start.saturating_add(size) > kernel.size() {
        let message = format!(
            "the EFI zboot payload should be at byte {start} with {size} bytes, but the file has {}",
            kernel.size()
        );
        return Err(Box::new(Finding::error("TAL041", message).at(8..16).help("the file is cut off: fetch it again")));
    }
    let range = start..start.saturating_add(size);
    unpack(&Packed { kernel, range, format: Format::Zboot(compression) }, compression, report)
}

/// A compressed stream inside a file.
struct Packed<'a> {
    kernel: &'a dyn ReadAt,
    range: Range<u64>,
    format: Format,
}

// Boxed like every refusal here.
#[allow(clippy::unnecessary_box_returns)]
fn damaged(compression: Compression, range: &Range<u64>, error: &io::Error) -> Box<Finding> {
    let message = format!("the {} payload of the kernel cannot be unpacked: {error}", compression.name());
    Box::new(Finding::error("TAL041", message).at(range.clone()).help("the file is damaged: fetch it again"))
}

fn unpack<'a>(packed: &Packed<'a>, compression: Compression, report: &mut Report) -> Step<Option<Opened<'a>>> {
    let mut cursor = ReadAtCursor::new(packed.kernel);
    io::Seek::seek(&mut cursor, io::SeekFrom::Start(packed.range.start)).map_err(|error| unreadable(&error))?;
    let input = io::BufReader::with_capacity(CHUNK, cursor.take(packed.range.end.saturating_sub(packed.range.start)));
    let damaged = |error: &io::Error| damaged(compression, &packed.range, error);
    let xz = |stream: Result<liblzma::stream::Stream, liblzma::stream::Error>| {
        stream.map_err(|error| damaged(&error.into()))
    };
    let mut plain: Box<dyn Read + 'a> = match compression {
        Compression::Gzip => Box::new(flate2::bufread::GzDecoder::new(input)),
        Compression::Zstd => {
            let mut decoder =
                zstd::stream::read::Decoder::with_buffer(input).map_err(|error| damaged(&error))?.single_frame();
            decoder.window_log_max(WINDOW_LOG).map_err(|error| damaged(&error))?;
            Box::new(decoder)
        }
        Compression::Xz => {
            let stream = xz(liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, 0))?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(input, stream))
        }
        Compression::Lzma => {
            let stream = xz(liblzma::stream::Stream::new_lzma_decoder(XZ_MEMORY))?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(input, stream))
        }
        Compression::Lz4 | Compression::Lzo => {
            let message = format!(
                "the kernel is compressed with {}, which is not unpacked here; its release is unknown",
                compression.name()
            );
            report.push(Finding::warning("TAL042", message).help("gzip, zstd, xz and lzma are unpacked"));
            return Ok(None);
        }
    };
    let mut head = [0; IMAGE_HEADER];
    let count = fill(&mut plain, &mut head).map_err(|error| damaged(&error))?;
    let head = head.get(..count).unwrap_or_default();
    if !is_image(head) {
        let mut finding = not_a_kernel(head);
        finding.message = format!("inside the {} payload: {}", compression.name(), finding.message);
        return Err(Box::new(finding));
    }
    let (head, packed_as) = (head.to_vec(), Some((compression, packed.range.clone())));
    Ok(Some(Opened { format: packed.format, head, packed: packed_as, plain }))
}

fn finish(format: Format, image_head: &[u8], found: Found, report: &mut Report) -> Option<KernelInfo> {
    let Found { banner, has } = found;
    let started_by_efi = match format {
        Format::Image => image_head.starts_with(b"MZ"),
        Format::Zboot(_) => true,
        Format::Compressed(_) => false,
    };
    if !started_by_efi {
        let message = format!(
            "the kernel is a {format} that is no EFI program, so systemd-boot and the UKI stub cannot start it"
        );
        let help = "build it with CONFIG_EFI_STUB and take arch/arm64/boot/Image or vmlinuz.efi";
        report.push(Finding::warning("TAL045", message).help(help));
    }
    let release = banner.as_deref().and_then(|banner| banner.split(' ').nth(2)).map(str::to_owned);
    if release.is_none() {
        let message = "no text \"Linux version …\" is in the kernel, so its release is unknown";
        report.push(Finding::warning("TAL043", message));
    }
    Some(KernelInfo { format, release: release?, banner: banner?, has })
}

fn is_image(head: &[u8]) -> bool {
    head.get(56..60) == Some(b"ARM\x64".as_slice())
}

/// Says what a file is instead of a kernel for arm64.
fn not_a_kernel(head: &[u8]) -> Finding {
    let at = |offset: usize, magic: &[u8]| head.get(offset..).is_some_and(|rest| rest.starts_with(magic));
    let what = if head.is_empty() {
        "it is empty"
    } else if at(0x202, b"HdrS") {
        "it is a bzImage for x86"
    } else if at(56, b"RSC\x05") || at(48, b"RISCV") {
        "it is an Image for RISC-V"
    } else if at(0, b"\x7fELF") {
        "it is an ELF file (vmlinux?); take arch/arm64/boot/Image"
    } else if at(0, b"MZ") {
        "it is an EFI program without the header of a kernel; a unified kernel image has the kernel in its section .linux"
    } else if at(0, b"\x27\x05\x19\x56") {
        "it is a U-Boot legacy image (uImage)"
    } else if at(0, b"\xd0\x0d\xfe\xed") {
        "it is a device tree or a FIT"
    } else if at(0, b"070701") {
        "it is a cpio archive, perhaps the initramfs"
    } else {
        "its first bytes are unknown"
    };
    Finding::error("TAL040", format!("this is no kernel for arm64: {what}"))
        .at(0..(head.len() as u64).min(IMAGE_HEADER as u64))
        .help("expected an arm64 Image or vmlinuz.efi (EFI zboot)")
}

// Boxed like every refusal here: a finding has more than a hundred bytes.
#[allow(clippy::unnecessary_box_returns)]
fn unreadable(error: &io::Error) -> Box<Finding> {
    Box::new(Finding::error("TAL044", format!("the kernel cannot be read: {error}")))
}

/// What the search found.
struct Found {
    banner: Option<String>,
    has: Vec<bool>,
}

/// The first banner with a release and which of the texts are there, up to the end of the data or the search.
fn find_texts(kernel: &mut dyn Read, limit: u64, texts: &[&[u8]]) -> io::Result<Found> {
    let mut found = Found { banner: None, has: vec![false; texts.len()] };
    // The end of each window is kept, so that a text across two windows is seen whole.
    let mut window = vec![0; CHUNK.saturating_add(BANNER_LIMIT)];
    let (mut kept, mut total) = (0_usize, 0_u64);
    loop {
        let count = fill(kernel, window.get_mut(kept..).unwrap_or_default())?;
        total = total.saturating_add(count as u64);
        let filled = kept.saturating_add(count);
        let last = filled < window.len() || total > limit;
        let bytes = window.get(..filled).unwrap_or_default();
        let searched = if last { filled } else { filled.saturating_sub(BANNER_LIMIT) };
        if found.banner.is_none() {
            found.banner = find_banner(bytes, searched);
        }
        for (text, has) in texts.iter().zip(&mut found.has) {
            *has = *has || find(bytes, text).is_some();
        }
        if last || (found.banner.is_some() && found.has.iter().all(|has| *has)) {
            return Ok(found);
        }
        window.copy_within(searched..filled, 0);
        kept = filled.saturating_sub(searched);
    }
}

/// The first banner with a release that starts among the first `searched` bytes.
fn find_banner(bytes: &[u8], searched: usize) -> Option<String> {
    let mut from = 0_usize;
    loop {
        let at = find(bytes.get(from..)?, BANNER)?.checked_add(from)?;
        if at >= searched {
            return None;
        }
        if let Some(banner) = banner_at(bytes.get(at..)?) {
            return Some(banner);
        }
        from = at.checked_add(1)?;
    }
}

/// The banner at the start of `bytes`, if a release and a parenthesis follow, as in `Linux version 6.12.40-talos (root@…`.
fn banner_at(bytes: &[u8]) -> Option<String> {
    let bytes = bytes.get(..BANNER_LIMIT).unwrap_or(bytes);
    let end = bytes.iter().position(|byte| !(b' '..=b'~').contains(byte)).unwrap_or(bytes.len());
    let text = std::str::from_utf8(bytes.get(..end)?).ok()?;
    let (release, rest) = text.strip_prefix("Linux version ")?.split_once(' ')?;
    let plain = release.starts_with(|c: char| c.is_ascii_digit()) && release.len() <= RELEASE_LIMIT;
    (plain && rest.starts_with('(')).then(|| text.to_owned())
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let mut from = 0_usize;
    loop {
        let at = haystack.get(from..)?.iter().position(|byte| *byte == first)?.checked_add(from)?;
        if haystack.get(at..)?.starts_with(needle) {
            return Some(at);
        }
        from = at.checked_add(1)?;
    }
}

/// Reads until the buffer is full or the data ends.
fn fill(from: &mut (impl Read + ?Sized), buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0_usize;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        match from.read(rest) {
            Ok(0) => break,
            Ok(count) => filled = filled.saturating_add(count),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects)]
mod tests;
