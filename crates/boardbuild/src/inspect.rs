//! Recognising a file and saying what is in it.

use std::{fmt::Write as _, path::Path};

use imgcore::{ByteSize, Fact, ReadAt, Report};

use crate::{
    error::{Error, Result},
    verify,
};

/// What a file is.
#[derive(Debug)]
pub struct Inspected {
    /// Its kind in a word: `disk`, `idb-v1`, `idb-v2`, `fit`, `loader`, `trust`, `fdt`, `dtbo-table`, `uki`, `oci`, and
    /// the further ones of [`rkboot::facts`].
    pub kind: &'static str,
    /// Size in bytes, after decompression.
    pub size: u64,
    /// Measured facts.
    pub facts: Vec<Fact>,
    /// What was found on the way.
    pub report: Report,
    /// The facts for people.
    pub text: String,
}

/// Boot files, trees and kernels are read whole up to this size.
const LIMIT: u64 = 128 << 20;

/// Recognises a file by its bytes, never by its name.
///
/// # Errors
/// [`Exit::Input`](crate::Exit::Input) for a missing file, [`Exit::Usage`](crate::Exit::Usage) for one of no known
/// kind, [`Exit::Io`](crate::Exit::Io) when it cannot be read.
pub fn inspect(path: &Path) -> Result<Inspected> {
    let file = verify::open(path)?;
    let name = path.display().to_string();
    if verify::is_tar(file.as_ref())? {
        let size = file.size();
        let (summary, report) = ocipack::inspect(file);
        let facts = summary.as_ref().map(ocipack::Summary::facts).unwrap_or_default();
        return Ok(finish("oci", size, facts, report.owned_by(&name, 0), summary.map(|summary| summary.to_string())));
    }
    let data = verify::open_image(path, file)?;
    let size = data.size();
    let mut head = vec![0; usize::try_from(size.min(16 << 10)).unwrap_or(0)];
    data.read_exact_at(0, &mut head)?;
    let starts = |at: usize, magic: &[u8]| head.get(at..).is_some_and(|rest| rest.starts_with(magic));
    if starts(512, b"EFI PART")
        || starts(4096, b"EFI PART")
        || (starts(510, &[0x55, 0xaa]) && head.get(450) == Some(&0xee))
        || has_boot_area(data.as_ref())?
    {
        let examined = verify::examine(data.as_ref(), None)?;
        let mut facts = rawimg::facts(data.as_ref());
        for (start, file) in &examined.boot_files {
            let end = file.copies.iter().map(|copy| copy.end).max().unwrap_or(file.content_end).max(file.content_end);
            let mut bytes = vec![0; usize::try_from(end.min(size.saturating_sub(*start))).unwrap_or(0)];
            data.read_exact_at(*start, &mut bytes)?;
            facts.extend(
                rkboot::facts(&bytes)
                    .into_iter()
                    .map(|fact| Fact { offset: fact.offset.saturating_add(*start), ..fact }),
            );
        }
        for (path, size) in &examined.esp {
            facts.push(Fact::new("esp", 0, path.as_str(), size.to_string()));
        }
        for (field, value) in [("talos", &examined.version), ("command-line", &examined.command_line)] {
            if let Some(value) = value {
                facts.push(Fact::new("uki", 0, field, value.as_str()));
            }
        }
        for (tag, value) in &examined.meta {
            facts.push(Fact::new("meta", 0, format!("{tag:#04x}"), format!("{} bytes", value.len())));
        }
        let text = verify::describe(&examined, size);
        return Ok(finish("disk", size, facts, examined.report, Some(text)));
    }
    if starts(0, b"MZ") {
        let (image, report) = talosimg::uki::read(&data);
        let facts = image.as_ref().map(uki_facts).unwrap_or_default();
        return Ok(finish("uki", size, facts, report.owned_by(&name, 0), None));
    }
    if size > LIMIT {
        return Err(unknown(&name));
    }
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
    data.read_exact_at(0, &mut bytes)?;
    let boot = rkboot::facts(&bytes);
    if let Some(first) = boot.first() {
        let kind = first.kind;
        let (_, report) = rkboot::examine(&bytes, None);
        return Ok(finish(kind, size, boot, report.owned_by(&name, 0), None));
    }
    if starts(0, &0xd00d_feed_u32.to_be_bytes()) {
        let (_, report) = dtbtool::scan(&bytes);
        return Ok(finish("fdt", size, dtbtool::facts(&bytes, 0), report.owned_by(&name, 0), None));
    }
    Err(unknown(&name))
}

/// Whether an idblock lies where a BootROM looks for it: a disk that has lost its table, or has another. What is not
/// larger than SPI flash is a boot file.
fn has_boot_area(disk: &dyn ReadAt) -> Result<bool> {
    let mut head = [0; 512];
    if disk.size() <= LIMIT {
        return Ok(false);
    }
    disk.read_exact_at(rkboot::IDBLOCK_OFFSET, &mut head)?;
    Ok(rkboot::idblock::is_v2(&head) || rkboot::idblock::is_v1(&head))
}

fn uki_facts(image: &talosimg::uki::Uki) -> Vec<Fact> {
    let mut facts = vec![
        Fact::new("uki", 0, "machine", format!("{:#06x}", image.machine)),
        Fact::new("uki", 0, "size_of_image", image.size_of_image.to_string()),
    ];
    for section in &image.sections {
        let place = format!("{}+{}", section.raw_offset, section.virtual_size);
        let value = section
            .text
            .as_ref()
            .map_or(place.clone(), |text| format!("{place} {}", crate::record::redact(text).replace('\n', "|")));
        facts.push(Fact::new("uki", 0, format!("section {}", section.name), value));
    }
    facts
}

fn unknown(name: &str) -> Error {
    Error::usage(format!("{name}: of no kind that is known here"))
        .or_help(
        "known: disk image, idblock, FIT, loader file, LOADER and BL3X images, device tree, table of overlays, EFI program, \
         overlay archive; raw, .xz, .zst or .gz",
    )
}

fn finish(kind: &'static str, size: u64, facts: Vec<Fact>, report: Report, text: Option<String>) -> Inspected {
    let text = text.unwrap_or_else(|| {
        let mut text = format!("{kind}, {} ({size} bytes)\n", ByteSize(size));
        let width = facts.iter().map(|fact| fact.field.chars().count()).max().unwrap_or(0).min(28);
        let mut offset = None;
        for fact in &facts {
            if offset != Some((fact.kind, fact.offset)) {
                offset = Some((fact.kind, fact.offset));
                let _ = writeln!(text, "{} at byte {}", fact.kind, fact.offset);
            }
            let _ = writeln!(text, "  {:width$}  {}", clean(&fact.field), clean(&fact.value));
        }
        text
    });
    Inspected { kind, size, facts, report, text }
}

/// Foreign text must not steer the terminal.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
