//! What `inspect` says to people.

use std::fmt::Write as _;

use imgcore::Report;
use rkboot::{AnyBlock, BootFile, BootFileKind, Fit, IdBlock, IdBlockV1, draw, fit::Image, idblock, parts, trim};

use crate::{contains, explain, text_other};

pub(crate) fn render(name: &str, file: &BootFile, bytes: &[u8], report: &Report) -> String {
    let mut text = format!("{name}: {}, {} bytes\n", file.kind.describe(), file.length);
    for (label, sentence) in explain::sentences(name, file, report) {
        let _ = writeln!(text, "  {:7}{sentence}", format!("{label}:"));
    }
    let layout = parts(file);
    if !layout.sorted().is_empty() {
        let _ = write!(text, "\n{}\n", draw(&layout, file.drawn_size()));
    }
    if let [_, _, ..] = file.copies.as_slice() {
        let equal = if file.copies_equal { "equal" } else { "different" };
        let places: Vec<_> = file.copies.iter().map(|copy| format!("{}..{}", copy.start, copy.end)).collect();
        let _ = writeln!(text, "copies ({equal}): {}", places.join(", "));
    }
    match &file.kind {
        BootFileKind::IdBlock(block) => render_idblock(block, start(file), bytes, &mut text),
        BootFileKind::IdBlockV1(block) => render_v1(block, start(file), bytes, &mut text),
        BootFileKind::Fit(fit) => render_fit(fit, 0, &mut text),
        BootFileKind::Combined { idblock, idblock_range, fit, fit_range } => {
            match idblock {
                AnyBlock::V1(block) => render_v1(block, idblock_range.start, bytes, &mut text),
                AnyBlock::V2(block) => render_idblock(block, idblock_range.start, bytes, &mut text),
                _ => {}
            }
            render_fit(fit, fit_range.start, &mut text);
        }
        other => text_other::render(other, bytes, &mut text),
    }
    contains::render(&contains::programs(file, bytes), &mut text);
    if let Ok(length) = trim(file)
        && length < file.length
    {
        let _ = writeln!(text, "copy 1 alone: the first {length} bytes");
    }
    if !report.is_empty() {
        text.push('\n');
    }
    for finding in report {
        let _ = writeln!(text, "{finding}");
    }
    text
}

pub(crate) fn start(file: &BootFile) -> u64 {
    file.copies.first().map_or(0, |copy| copy.start)
}

pub(crate) fn tail(bytes: &[u8], at: u64) -> &[u8] {
    usize::try_from(at).ok().and_then(|at| bytes.get(at..)).unwrap_or_default()
}

fn render_idblock(block: &IdBlock, at: u64, bytes: &[u8], text: &mut String) {
    let form = if block.spread { ", spread (rkspi)" } else { "" };
    let _ = writeln!(text, "idblock at {at}: {} bytes, {}{form}", block.length, block.hash_kind.name());
    for (image, number) in block.images.iter().zip(1..) {
        let load = if image.load == u32::MAX { "BootROM's choice".to_owned() } else { format!("{:#x}", image.load) };
        let size = image.range.end - image.range.start;
        let _ = writeln!(
            text,
            "  image {number}: {size} bytes at {}, load {load}, hash {}",
            image.range.start,
            check(image.check)
        );
    }
    if let Some(ddr) = block.ddr(tail(bytes, at)) {
        let _ = writeln!(text, "  DDR init: {ddr}");
    }
}

fn render_v1(block: &IdBlockV1, at: u64, bytes: &[u8], text: &mut String) {
    let form = if block.spread { ", spread (rkspi)" } else { "" };
    let payload = if block.disable_rc4 == 0 { "scrambled" } else { "plain" };
    let tag = String::from_utf8_lossy(&block.tag);
    let length = block.content_length;
    let _ = writeln!(text, "idblock at {at}: {length} bytes, tag {}, payload {payload}{form}", tag.escape_default());
    let size = block.init.end - block.init.start;
    let _ = writeln!(text, "  init: {size} bytes at {}", block.init.start);
    if block.has_boot() {
        let size = block.boot.end.min(length) - block.boot.start;
        let open = if block.open_ended { ", its length is not in the header" } else { "" };
        let _ = writeln!(text, "  boot: {size} bytes at {}{open}", block.boot.start);
    }
    if let Some(ddr) = block.ddr(tail(bytes, at)) {
        let _ = writeln!(text, "  DDR init: {ddr}");
    }
}

pub(crate) fn check(check: idblock::Check) -> &'static str {
    match check {
        idblock::Check::Valid => "valid",
        idblock::Check::ValidIfPadded => "valid if zeros follow",
        idblock::Check::Wrong => "wrong",
        _ => "not checked",
    }
}

fn render_fit(fit: &Fit, at: u64, text: &mut String) {
    let (valid, all) = fit.hashes();
    let description = fit.description.as_deref().unwrap_or("no description");
    let _ = writeln!(text, "FIT at {at}: {} bytes, {valid} of {all} hashes valid, {description}", fit.end());
    for image in &fit.images {
        let size = image.data.as_ref().map_or(0, |(_, range)| range.end - range.start);
        let load = image.load.map_or_else(String::new, |load| format!(", load {load:#x}"));
        let kind = image.kind.as_deref().unwrap_or("no type");
        let _ = writeln!(text, "  image {}: {kind}, {size} bytes{load}{}", image.name, hashes(image));
    }
    for configuration in &fit.configurations {
        let default = if fit.default.as_ref() == Some(&configuration.name) { " (default)" } else { "" };
        let firmware = configuration.firmware.as_deref().unwrap_or("-");
        let _ = writeln!(
            text,
            "  configuration {}{default}: firmware {firmware}, loadables {}, fdt {}",
            configuration.name,
            configuration.loadables.join(" "),
            configuration.fdt.join(" ")
        );
    }
}

fn hashes(image: &Image) -> String {
    let mut text = String::new();
    for hash in &image.hashes {
        let _ = write!(text, ", {} {}", hash.algorithm, hash.status.name());
    }
    if let Some(size) = image.unpacked_size {
        let _ = write!(text, ", unpacks to {size} bytes");
    }
    for digest in &image.digests {
        let _ = write!(text, ", {} of that {}", digest.algorithm, digest.status.name());
    }
    for signature in &image.signatures {
        let _ = write!(text, ", {}", if signature.is_signed { "signed" } else { "not signed" });
    }
    text
}
