//! Which programs a boot file holds: TF-A, OP-TEE, U-Boot, SPL, DDR init code, with their versions.

use std::{fmt::Write as _, ops::Range};

use rkboot::{
    BootFile, BootFileKind,
    flow::{self, FirmwareKind},
    identity::{self, BlobKind, Identified},
};
use serde_json::{Value, json};

use crate::text::tail;

/// A program in a boot file.
pub(crate) struct Program {
    word: &'static str,
    name: String,
    version: Option<String>,
    text: Option<String>,
    /// `None` where the bytes are spread over the file.
    range: Option<Range<u64>>,
    files: Vec<String>,
}

/// The programs of a file in stored order, as far as they are known.
pub(crate) fn programs(file: &BootFile, bytes: &[u8]) -> Vec<Program> {
    let part = |range: &Range<u64>| {
        let size = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let rest = tail(bytes, range.start);
        let mut found = identity::identify(rest.get(..size.min(rest.len())).unwrap_or_default());
        for one in &mut found {
            one.range = one.range.start + range.start..one.range.end + range.start;
        }
        found
    };
    let found: Vec<Identified> = match &file.kind {
        BootFileKind::Trust(trust) => trust.components.iter().flat_map(|component| part(&component.range)).collect(),
        BootFileKind::LoaderImage(image) => part(&image.data),
        BootFileKind::Blob(blob) => vec![(**blob).clone()],
        BootFileKind::Unknown | BootFileKind::Parameter(_) | BootFileKind::DtboTable(_) => Vec::new(),
        _ => identity::identify(bytes),
    };
    let spread = match &file.kind {
        BootFileKind::IdBlock(block) => block.spread,
        BootFileKind::IdBlockV1(block) => block.spread,
        BootFileKind::Combined { idblock, .. } => idblock.is_spread(),
        _ => false,
    };
    let in_block =
        |kind: BlobKind| matches!(kind, BlobKind::Ddr | BlobKind::Spl | BlobKind::Miniloader | BlobKind::Boost);
    let mut programs: Vec<Program> = Vec::new();
    for one in found {
        // The segments of one TF-A or OP-TEE are several images.
        let known = programs.iter().any(|known| known.text.is_some() && known.text == one.text);
        if !known {
            let range = (!(spread && in_block(one.kind))).then(|| one.range.clone());
            programs.push(program(&one, range));
        }
    }
    let has_second = programs.iter().any(|program| program.word == "u-boot");
    let is_second =
        matches!(file.kind, BootFileKind::Fit(_) | BootFileKind::Combined { .. } | BootFileKind::LoaderImage(_));
    if is_second
        && !has_second
        && let Some(found) = flow::abilities(bytes).0
    {
        let (word, name) = match found.kind {
            FirmwareKind::Edk2 => ("edk2", "EDK2"),
            FirmwareKind::UBootMainline | FirmwareKind::UBootVendor => ("u-boot", "U-Boot"),
            _ => return programs,
        };
        programs.push(Program {
            word,
            name: name.to_owned(),
            version: found.version.as_deref().and_then(release),
            text: found.version,
            range: None,
            files: Vec::new(),
        });
    }
    programs
}

fn program(one: &Identified, range: Option<Range<u64>>) -> Program {
    let word = match one.kind {
        BlobKind::Ddr => "ddr",
        BlobKind::Spl => "spl",
        BlobKind::Miniloader => "miniloader",
        BlobKind::Boost => "boost",
        BlobKind::Bl31 => "bl31",
        BlobKind::Bl32 => "bl32",
        BlobKind::UsbPlug => "usbplug",
        BlobKind::UBoot => "u-boot",
        _ => "other",
    };
    let is_tpl = one.text.as_ref().is_some_and(|text| text.starts_with("U-Boot TPL "));
    let name = match one.kind {
        BlobKind::Bl31 => "BL31 (TF-A)",
        BlobKind::Bl32 => "BL32 (OP-TEE)",
        BlobKind::Spl if is_tpl => "TPL",
        kind => kind.name(),
    };
    Program {
        word: if is_tpl { "tpl" } else { word },
        name: name.to_owned(),
        version: one.version.clone().or_else(|| one.text.as_deref().and_then(release)),
        text: one.text.clone(),
        range,
        files: one.known.iter().map(|known| known.path.clone()).collect(),
    }
}

/// `2026.01-rc1` of `U-Boot SPL 2026.01-rc1 (Jan …`.
fn release(text: &str) -> Option<String> {
    let rest = text.get(text.find("U-Boot")?..)?;
    rest.split(' ').find(|word| word.starts_with("20") && word.contains('.')).map(str::to_owned)
}

/// The section of `inspect` for people, empty without programs.
pub(crate) fn render(programs: &[Program], text: &mut String) {
    if !programs.is_empty() {
        let _ = writeln!(text, "contains:");
    }
    for Program { name, version, text: said, range, files, .. } in programs {
        let version =
            version.as_ref().map_or_else(|| ", version not known".to_owned(), |version| format!(" {version}"));
        let place = range
            .as_ref()
            .map_or_else(String::new, |range| format!(", {} bytes at {}", range.end - range.start, range.start));
        let _ = writeln!(text, "  {name}{version}{place}");
        if !files.is_empty() {
            let _ = writeln!(text, "    published as {}", files.join(", "));
        }
        if let Some(said) = said {
            let _ = writeln!(text, "    says: {said}");
        }
    }
}

pub(crate) fn value(programs: &[Program]) -> Value {
    let rows = programs.iter().map(|program| {
        json!({
            "kind": program.word,
            "version": program.version,
            "text": program.text,
            "offset": program.range.as_ref().map(|range| range.start),
            "size": program.range.as_ref().map(|range| range.end - range.start),
            "published_as": program.files,
        })
    });
    Value::Array(rows.collect())
}
