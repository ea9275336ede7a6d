//! What `inspect` says to people about files that are neither idblock nor FIT.

use std::fmt::Write as _;

use rkboot::{
    BootFileKind, IdBlock,
    dtbo_table::DtboTable,
    legacy::{loader_image::LoaderImage, trust::Trust},
    loader::Loader,
    parameter::Parameter,
};

use crate::text::check;

pub(crate) fn render(kind: &BootFileKind, bytes: &[u8], text: &mut String) {
    match kind {
        BootFileKind::Loader(found) => loader(found, bytes, text),
        BootFileKind::LoaderImage(found) => image(found, text),
        BootFileKind::Trust(found) => trust(found, text),
        BootFileKind::DtboTable(found) => table(found, bytes, text),
        BootFileKind::Parameter(found) => parameter(found, text),
        _ => {}
    }
}

/// Names come out of the file and must not steer the terminal.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn loader(loader: &Loader, bytes: &[u8], text: &mut String) {
    let soc = loader.soc().map_or_else(|| "not known here".to_owned(), |soc| soc.to_string());
    let _ = writeln!(
        text,
        "{}file for chip {} ({soc}), version {:#x}, made {}, checksum {:#010x} {}",
        loader.form.tag(),
        clean(&loader.chip),
        loader.version,
        loader.time,
        loader.crc,
        check(loader.crc_check)
    );
    for (entry, number) in loader.entries.iter().zip(0..) {
        let delay =
            if entry.delay_ms == 0 { String::new() } else { format!(", then {} ms of waiting", entry.delay_ms) };
        let size = entry.range.end - entry.range.start;
        let _ = writeln!(
            text,
            "  entry {number} {}: {}, {size} bytes at {}, {}{delay}",
            clean(&entry.name),
            entry.used.describe(),
            entry.range.start,
            entry.scrambling.name()
        );
    }
    let blocks =
        [("for flash", &loader.flash, loader.idblock(bytes)), ("over USB", &loader.usb, loader.usb_block(bytes))];
    for (what, block, data) in blocks {
        if let Some(block) = block {
            inner(what, block, &data.unwrap_or_default(), text);
        }
    }
}

fn inner(what: &str, block: &IdBlock, data: &[u8], text: &mut String) {
    let digest = imgcore::Digest::of(data);
    let _ = writeln!(text, "  idblock {what}: {} images, {} bytes, {digest}", block.images.len(), data.len());
    if let Some(ddr) = block.ddr(data) {
        let _ = writeln!(text, "    DDR init: {ddr}");
    }
}

fn image(image: &LoaderImage, text: &mut String) {
    let _ = writeln!(
        text,
        "{}: {} bytes for address {:#x}, version {}",
        image.kind.magic().trim_end(),
        image.size,
        image.load,
        image.version
    );
    let hash = match image.hash.len() {
        0 => "no hash".to_owned(),
        20 => format!("SHA-1 {}", check(image.hash_check)),
        _ => format!("SHA-256 {}", check(image.hash_check)),
    };
    let js = if image.js_hash == 0 { String::new() } else { format!(", old hash {}", check(image.js_check)) };
    let _ = writeln!(text, "  checksum {}, {hash}{js}", check(image.crc_check));
}

fn trust(trust: &Trust, text: &mut String) {
    let signed = if trust.signed { "signed" } else { "not signed" };
    let _ = writeln!(
        text,
        "BL3X version {:#x}, hash {}, prepared for {}, {signed}",
        trust.version,
        trust.hash_kind.name(),
        trust.rsa()
    );
    for (component, number) in trust.components.iter().zip(0..) {
        let size = component.range.end - component.range.start;
        let _ = writeln!(
            text,
            "  component {number} {}: {size} bytes at {}, load {:#x}, hash {}",
            clean(&component.id),
            component.range.start,
            component.load,
            check(component.check)
        );
    }
}

fn table(table: &DtboTable, bytes: &[u8], text: &mut String) {
    let _ = writeln!(
        text,
        "{} device trees, version {}, pages of {} bytes",
        table.entries.len(),
        table.version,
        table.page_size
    );
    for (entry, number) in table.entries.iter().zip(0..) {
        let size = entry.range.end - entry.range.start;
        let targets = targets(entry.data(bytes));
        let _ = writeln!(
            text,
            "  tree {number}: {size} bytes at {}, id {:#x}, revision {:#x}{targets}",
            entry.range.start, entry.id, entry.rev
        );
    }
}

/// Which labels of the base tree an overlay asks for.
fn targets(tree: &[u8]) -> String {
    let Ok(tree) = dtbtool::Fdt::parse(tree) else { return String::new() };
    let Some(fixups) = tree.find("/__fixups__") else { return String::new() };
    let labels: Vec<_> = fixups.properties().take(16).map(|property| clean(property.name())).collect();
    if labels.is_empty() { String::new() } else { format!(", changes {}", labels.join(", ")) }
}

fn parameter(parameter: &Parameter, text: &mut String) {
    for (key, value) in parameter.keys.iter().filter(|(key, _)| key != "CMDLINE") {
        let _ = writeln!(text, "{}: {}", clean(key), clean(value));
    }
    let _ = writeln!(text, "partitions in sectors of 512 bytes:");
    for partition in &parameter.partitions {
        let size = partition.size.map_or_else(|| "all that is left".to_owned(), |size| format!("{size} sectors"));
        let flags =
            if partition.flags.is_empty() { String::new() } else { format!(", {}", partition.flags.join(", ")) };
        let _ = writeln!(text, "  {}: {size} from {}{}", clean(&partition.name), partition.start, clean(&flags));
    }
}
