//! A boot file in sentences: what it is, where it goes, what is wrong with it, what to do.

use imgcore::{Report, Severity};
use rkboot::{BootFile, BootFileKind, HeaderVersion, IDBLOCK_OFFSET, identity::BlobKind, legacy::loader_image, trim};

use crate::text::start;

/// `What: …` and so on, one line each. Nothing for files that are not known: the finding says all there is.
pub(crate) fn sentences(name: &str, file: &BootFile, report: &Report) -> Vec<(&'static str, String)> {
    if matches!(file.kind, BootFileKind::Unknown) {
        return Vec::new();
    }
    let mut lines = vec![("what", what(file).to_owned()), ("where", place(name, file)), ("state", state(report))];
    lines.extend(advice(name, file, report).map(|advice| ("do", advice)));
    lines
}

/// A loader file and the like on their own are what they should be, though a board does not start from them: that is no
/// warning before somebody writes them in front of the partitions.
pub(crate) fn settle(file: &BootFile, report: &mut Report) {
    for finding in report {
        if finding.code == "BOT002" && file.kind.is_for_elsewhere() {
            finding.severity = Severity::Info;
        }
    }
}

fn what(file: &BootFile) -> &'static str {
    match &file.kind {
        BootFileKind::IdBlock(_) => {
            "what the BootROM of an RK35xx starts: code that sets up the memory, then an SPL that loads U-Boot"
        }
        BootFileKind::IdBlockV1(_) => {
            "what the BootROM of an RK3399 or older starts: code that sets up the memory, then an SPL or miniloader"
        }
        BootFileKind::Fit(_) => "the second stage: the SPL loads TF-A, U-Boot and a device tree from it",
        BootFileKind::Combined { .. } => "first and second stage in one file: idblock and FIT",
        BootFileKind::Loader(_) => {
            "for a board in maskrom mode: a host program sends it over USB, and it can write an idblock to flash"
        }
        BootFileKind::LoaderImage(image) if image.kind == loader_image::Kind::Trust => {
            "OP-TEE for the vendor's miniloader; mainline U-Boot's SPL does not read it"
        }
        BootFileKind::LoaderImage(_) => "U-Boot for the vendor's miniloader; mainline U-Boot's SPL does not read it",
        BootFileKind::Trust(_) => {
            "TF-A (and OP-TEE) for the vendor's miniloader; mainline U-Boot has them in its FIT instead"
        }
        BootFileKind::DtboTable(_) => "device-tree overlays for Android boot loaders, which take one by its number",
        BootFileKind::Parameter(_) => "the vendor's list of partitions; the flashing tool makes a GPT from it",
        BootFileKind::Blob(blob) => blob_sentence(blob.kind),
        _ => "a boot file",
    }
}

fn blob_sentence(kind: BlobKind) -> &'static str {
    match kind {
        BlobKind::Ddr => "code that sets up the memory: the first image of an idblock",
        BlobKind::Spl => "an SPL (or TPL), which loads U-Boot: the last image of an idblock",
        BlobKind::Miniloader => {
            "the vendor's miniloader, which loads U-Boot on older SoCs: the last image of an idblock"
        }
        BlobKind::Boost => "what runs in front of the DDR init code on the RK3576: the first image of its idblock",
        BlobKind::Bl31 => "TF-A, which stays in memory under the system: part of a FIT or of a trust image",
        BlobKind::Bl32 => "OP-TEE, the trusted system: part of a FIT or of a trust image",
        BlobKind::UsbPlug => "the program that writes flash over USB in maskrom mode: part of a loader file",
        BlobKind::UBoot => "U-Boot itself: part of a FIT",
        _ => "part of a boot chain",
    }
}

fn place(name: &str, file: &BootFile) -> String {
    const CARD: &str = "sector 64 (byte 32768) of SD card or eMMC";
    const FLASH: &str = "the start of an SPI flash";
    match &file.kind {
        BootFileKind::IdBlock(block) if block.spread => FLASH.to_owned(),
        BootFileKind::IdBlockV1(block) if block.spread => FLASH.to_owned(),
        BootFileKind::IdBlock(_) | BootFileKind::IdBlockV1(_) if start(file) > 0 => FLASH.to_owned(),
        BootFileKind::IdBlock(_) => format!("{CARD}; byte 0x8000 of SPI flash"),
        // One tag for several SoCs: RK3328, PX30, RK3326 read the flat form from flash, RK3288, RK3368, RK3399 the other.
        BootFileKind::IdBlockV1(block) if block.tag == *b"RK32" => {
            format!("{CARD}; byte 0x8000 of SPI flash on RK3328")
        }
        BootFileKind::IdBlockV1(block) if block.tag == *b"RK33" => {
            format!("{CARD}; byte 0x10000 of SPI flash on PX30 and RK3326")
        }
        BootFileKind::IdBlockV1(_) => CARD.to_owned(),
        BootFileKind::Fit(_) => "sector 16384 (byte 8388608) of SD card or eMMC".to_owned(),
        BootFileKind::Combined { idblock, idblock_range, fit_range, .. } => {
            let flash = idblock.is_spread() || idblock_range.start > 0;
            if flash {
                FLASH.to_owned()
            } else if fit_range.start + IDBLOCK_OFFSET == rkboot::FIT_OFFSET {
                CARD.to_owned()
            } else {
                format!("{CARD}, if its SPL looks for the FIT at byte {:#x}", fit_range.start + IDBLOCK_OFFSET)
            }
        }
        BootFileKind::Loader(_) => format!("not on a card; `rkdeveloptool db {name}` starts a board with it"),
        BootFileKind::LoaderImage(image) if image.kind == loader_image::Kind::UBoot => {
            "sector 16384 (byte 8388608), or a partition called uboot".to_owned()
        }
        BootFileKind::LoaderImage(_) | BootFileKind::Trust(_) => {
            "sector 24576 (byte 12582912), or a partition called trust".to_owned()
        }
        BootFileKind::DtboTable(_) => "a partition called dtbo".to_owned(),
        BootFileKind::Parameter(_) => "nowhere; the flashing tool reads it".to_owned(),
        BootFileKind::Blob(_) => "nowhere by itself".to_owned(),
        _ => "nowhere".to_owned(),
    }
}

pub(crate) fn state(report: &Report) -> String {
    let count = |severity: Severity| report.iter().filter(|finding| finding.severity == severity).count();
    let plural = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    match (count(Severity::Error), count(Severity::Warning)) {
        (0, 0) => "sound".to_owned(),
        (0, warnings) => format!("readable, {}", plural(warnings, "warning")),
        (errors, 0) => format!("damaged or wrong, {}", plural(errors, "error")),
        (errors, warnings) => {
            format!("damaged or wrong, {} and {}", plural(errors, "error"), plural(warnings, "warning"))
        }
    }
}

fn advice(name: &str, file: &BootFile, report: &Report) -> Option<String> {
    if report.has_errors() {
        let raw = trim(file).is_ok() || file.copies.len() > 1;
        let what = if raw { "do not write it; " } else { "" };
        return Some(format!("{what}the findings below say what is wrong and what to do about each"));
    }
    let sector = match &file.kind {
        BootFileKind::IdBlock(block) if !block.spread => 64,
        BootFileKind::IdBlockV1(block) if !block.spread => 64,
        BootFileKind::Combined { idblock, idblock_range, .. } if !idblock.is_spread() && idblock_range.start == 0 => 64,
        BootFileKind::Fit(_) => 16_384,
        BootFileKind::LoaderImage(image) if image.kind == loader_image::Kind::UBoot => 16_384,
        BootFileKind::LoaderImage(_) | BootFileKind::Trust(_) => 24_576,
        BootFileKind::Loader(loader) => return loader_advice(loader),
        _ => return None,
    };
    // A finding says what to do about copies that differ.
    if start(file) > 0 || !file.copies_equal {
        return None;
    }
    let length = trim(file).ok().filter(|length| *length < file.length);
    let count = length.map_or_else(String::new, |length| format!(" count={}", length.div_ceil(512)));
    let part = if length.is_some() { " (copy 1 alone)" } else { "" };
    Some(format!("dd if={name} of=/dev/sdX bs=512 seek={sector}{count} conv=notrunc,fsync{part}"))
}

fn loader_advice(loader: &rkboot::Loader) -> Option<String> {
    let soc = loader.soc()?;
    Some(match (soc.header_version(), &loader.flash) {
        (HeaderVersion::V2, Some(block)) => {
            format!("for a card take an idbloader.img; the idblock inside ({} bytes) is one for {soc}", block.length)
        }
        _ => format!("for a card of {soc} take an idbloader.img"),
    })
}
