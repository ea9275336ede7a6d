//! Files that users take for boot files, so that the message can say what they have in hand.

use imgcore::Finding;

use crate::{
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
