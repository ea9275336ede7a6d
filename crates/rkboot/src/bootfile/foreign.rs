//! Files that users take for boot files, so that the message can say what they have in hand.

use imgcore::Finding;

use crate::{
    identity::{self, BlobKind, Identified},
    parameter::is_parameter,
    rules,
    util::{hex, is_fill, slice},
};

/// Where the magic is, the magic, what it is, what to do.
type Sniff = (u64, &'static [u8], &'static str, &'static str);

/// Formats that a board does not start from when they are written raw.
const NOT_RAW: &[Sniff] = &[
    (0, b"LDR \x66\0", LOADER, LOADER_HELP),
    (0, b"BOOT\x66\0", LOADER, LOADER_HELP),
    (0, b"RKFW", "a Rockchip update image", "unpack it with a tool for update images"),
    (0, b"RKAF", "a Rockchip update image", "unpack it with a tool for update images"),
    (512, b"EFI PART", "a whole disk image with a partition table", "take its boot files out, or flash it as it is"),
    (0, b"\xfd7zXZ\0", "an xz-compressed file", "unpack it with `xz -d`"),
    (0, b"\x28\xb5\x2f\xfd", "a zstd-compressed file", "unpack it with `zstd -d`"),
    (0, b"\x1f\x8b", "a gzip-compressed file", "unpack it with `gzip -d`"),
    (0, b"PK\x03\x04", "a zip archive", "unpack it"),
    (257, b"ustar", "a tar archive", "unpack it"),
    (0, b"!<arch>", "a Debian package or archive", "unpack it"),
    (0, b"\x7fELF", "an ELF program", "BL31 and the like go into a FIT, not onto the card"),
    (0, b"ANDROID!", "an Android boot image", "it belongs into a partition"),
    (0, b"\xd7\xb7\xab\x1e", "an Android table of device-tree overlays", "it belongs into the partition dtbo (or dtb)"),
    (0, b"MZ", "an EFI program or a kernel", "it belongs onto the boot partition"),
    (0, b"<!DOCTYPE", HTML, HTML_HELP),
    (0, b"<!doctype", HTML, HTML_HELP),
    (0, b"<html", HTML, HTML_HELP),
    (0, b"version https://git-lfs", "a pointer of Git LFS, not the file itself", "fetch the file with `git lfs pull`"),
];

const PARAMETER: Sniff =
    (0, b"", "a parameter file, the vendor's list of partitions", "the flashing tool reads it, a board does not");
const LOADER: &str = "a loader file for maskrom mode (MiniLoaderAll.bin, *_spl_loader_*.bin)";
const LOADER_HELP: &str = "it goes over USB with `rkdeveloptool db`; for the card take idbloader.img";
const HTML: &str = "a web page";
const HTML_HELP: &str = "the download went wrong; fetch the file again";

/// The finding about a file of a known format that a board does not start from.
pub(super) fn not_raw(bytes: &[u8]) -> Option<Finding> {
    let found = |(at, magic, ..): &&Sniff| slice(bytes, &(*at..at.saturating_add(magic.len() as u64))) == *magic;
    let parameter = is_parameter(bytes).then_some(&PARAMETER);
    let (_, _, what, help) = NOT_RAW.iter().find(found).or(parameter)?;
    Some(Finding::warning(rules::BOT_NOT_RAW, format!("no boot file for a card: this is {what}")).help(*help))
}

/// Larger programs are not looked through for texts; the largest known blob has 3 MiB.
const MAX_BLOB: usize = 8 * 1024 * 1024;

/// A part of a boot chain, and the finding that a board does not start from it alone.
pub(super) fn blob(bytes: &[u8]) -> Option<(Identified, Finding)> {
    // A web page or an archive may speak of U-Boot as well.
    let is_program = bytes.starts_with(b"\x7fELF") || not_raw(bytes).is_none();
    if !is_program || bytes.len() > MAX_BLOB {
        return None;
    }
    let blob = identity::identify(bytes).into_iter().find(|blob| blob.kind != BlobKind::Other)?;
    let help = match blob.kind {
        BlobKind::Ddr => "it goes into an idblock: `rkboot build idbloader --ddr FILE`",
        BlobKind::Spl | BlobKind::Miniloader => "it goes into an idblock: `rkboot build idbloader --spl FILE`",
        BlobKind::Boost => "it goes into an idblock of the RK3576: `rkboot build idbloader --boost FILE`",
        BlobKind::Bl31 => "it goes into a FIT: `rkboot build fit --bl31 FILE`",
        BlobKind::Bl32 => "it goes into a FIT: `rkboot build fit --tee FILE`",
        BlobKind::UBoot => "it goes into a FIT: `rkboot build fit --u-boot FILE`",
        _ => "it is part of a loader file for maskrom mode",
    };
    let message = format!("no boot file for a card: this is {blob}");
    Some((blob, Finding::warning(rules::BOT_NOT_RAW, message).help(help)))
}

/// The finding about a file that begins as none of our formats.
pub(super) fn unknown(bytes: &[u8]) -> Finding {
    if let Some(finding) = not_raw(bytes) {
        return finding;
    }
    let message = if is_fill(bytes) {
        format!("unknown boot file: {} bytes of nothing but fill", bytes.len())
    } else {
        format!(
            "unknown boot file: it starts with {}, expected an idblock (52 4b 4e 53 or 3b 8c dc fc) or a FIT (d0 0d fe ed)",
            hex(slice(bytes, &(0..8)))
        )
    };
    Finding::warning(rules::BOT_UNKNOWN, message)
        .help("a board starts from nothing else; check where the file comes from")
}
