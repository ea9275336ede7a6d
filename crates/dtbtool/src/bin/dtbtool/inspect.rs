//! `inspect`: what a tree is.

use std::{
    io::{self, Write},
    path::Path,
};

use clap::Args;
use dtbtool::{Fdt, Tree, all_devices, binding_generation, facts, scan};
use imgcore::ByteSize;
use serde_json::{Value, json};

use crate::{Input, Outcome, files, output};

#[derive(Args)]
pub(crate) struct Inspect {
    #[command(flatten)]
    pub(crate) input: Input,
    /// One fact a line: kind, offset, field, value, separated by tabs
    #[arg(long, conflicts_with = "json")]
    tsv: bool,
}

pub(crate) fn run(arguments: &Inspect) -> anyhow::Result<Outcome> {
    let Inspect { input, tsv } = arguments;
    let bytes = files::read(&input.file)?;
    let (tree, report) = scan(&bytes);
    let report = report.owned_by(&input.file.display().to_string(), 0);
    let mut text = Vec::new();
    if *tsv {
        for fact in facts(&bytes, 0) {
            writeln!(text, "{fact}")?;
        }
        // Facts say nothing of what is no tree.
        if tree.is_none() {
            output::findings(&report, &mut io::stderr().lock())?;
        }
    } else if !input.json {
        draw(&input.file, &bytes, tree.as_ref(), &mut text)?;
        output::findings(&report, &mut text)?;
    }
    let result = if input.json { describe(&bytes, tree.as_ref()) } else { Value::Null };
    Ok(Outcome { ok: !report.has_errors(), text, report, result })
}

fn describe(bytes: &[u8], tree: Option<&Tree>) -> Value {
    let Some(tree) = tree else { return Value::Null };
    let header = tree.header();
    let root = tree.root();
    let text = |name: &str| root.and_then(|root| root.property(name)).and_then(|property| property.as_str());
    let compatible = root.and_then(|root| root.property("compatible")).and_then(|property| property.as_str_list());
    let strict = Fdt::parse(bytes).ok();
    let devices = strict.map(|fdt| {
        let kinds = all_devices(&fdt).into_iter().map(|(word, found)| {
            let found = found.into_iter();
            let found = found.map(|device| json!({ "path": device.path, "enabled": device.enabled })).collect();
            (word.to_owned(), found)
        });
        Value::Object(kinds.collect())
    });
    let reservations = tree.memory_reservations().iter();
    json!({
        "kind": "fdt",
        "header": {
            "totalsize": header.totalsize,
            "off_dt_struct": header.off_dt_struct,
            "off_dt_strings": header.off_dt_strings,
            "off_mem_rsvmap": header.off_mem_rsvmap,
            "version": header.version,
            "last_comp_version": header.last_comp_version,
            "boot_cpuid_phys": header.boot_cpuid_phys,
            "size_dt_strings": header.size_dt_strings,
            "size_dt_struct": header.size_dt_struct,
        },
        "memory_reservations": reservations.map(|pair| json!({ "address": pair.address, "size": pair.size })).collect::<Vec<_>>(),
        "nodes": tree.nodes().len(),
        "properties": tree.property_count(),
        "model": text("model"),
        "compatible": compatible.map(Iterator::collect::<Vec<_>>),
        "symbols": tree.find("/__symbols__").is_some(),
        "binding_generation": strict.and_then(|fdt| binding_generation(&fdt)).map(|generation| generation.to_string()),
        "devices": devices,
    })
}

/// Strings of a long list that are shown, and characters of one value.
const SHOWN: (usize, usize) = (8, 300);

/// The start of a value that is too long to be read.
fn brief(text: &str) -> String {
    match text.char_indices().nth(SHOWN.1) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or("")),
        None => text.to_owned(),
    }
}

fn brief_list<'t>(mut list: impl Iterator<Item = &'t str>) -> String {
    let shown: Vec<String> = list.by_ref().take(SHOWN.0).map(brief).collect();
    let more = list.count();
    let shown = shown.join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

fn draw(file: &Path, bytes: &[u8], tree: Option<&Tree>, out: &mut Vec<u8>) -> io::Result<()> {
    let Some(tree) = tree else { return writeln!(out, "{}: no device tree", file.display()) };
    let header = tree.header();
    let root = tree.root();
    let fdt = Fdt::parse(bytes).ok();
    let line = |out: &mut Vec<u8>, name: &str, value: &str| writeln!(out, "  {name:<13}{}", output::clean(value));
    writeln!(out, "{}: device tree of {}", file.display(), ByteSize(u64::from(header.totalsize)))?;
    let property = |path: &str, name: &str| tree.find(path).and_then(|node| node.property(name));
    let text = |path: &str, name: &str| property(path, name).and_then(|property| property.as_str());
    line(out, "model", &brief(text("/", "model").unwrap_or("-")))?;
    let compatible = root.and_then(|root| root.property("compatible")).and_then(|property| property.as_str_list());
    line(out, "compatible", &compatible.map_or_else(|| "-".to_owned(), brief_list))?;
    let symbols = if tree.find("/__symbols__").is_some() { ", labels for overlays" } else { "" };
    let (nodes, properties) = (tree.nodes().len(), tree.property_count());
    line(out, "contents", &format!("{nodes} nodes, {properties} properties{symbols}"))?;
    line(out, "version", &format!("{}, readable as {}", header.version, header.last_comp_version))?;
    line(out, "console", &brief(text("/chosen", "stdout-path").unwrap_or("not said (no /chosen stdout-path)")))?;
    if let Some(fdt) = &fdt
        && let Some(generation) = binding_generation(fdt)
    {
        line(out, "bindings", &format!("of {generation} kernels"))?;
    }
    writeln!(out, "  blocks")?;
    let reservations = tree.memory_reservations();
    let rsv_start = u64::from(header.off_mem_rsvmap);
    let blocks = [
        ("header", 0..u64::from(header.size())),
        ("reservations", rsv_start..rsv_start + (reservations.len() as u64 + 1) * 16),
        ("structure", header.structure()),
        ("strings", header.strings()),
    ];
    for (name, range) in blocks {
        writeln!(out, "    {name:<13}{:>8} .. {:<8}", range.start, range.end)?;
    }
    for pair in reservations {
        writeln!(out, "    reserved     0x{:x}, {}", pair.address, ByteSize(pair.size))?;
    }
    if let Some(fdt) = &fdt {
        writeln!(out, "  devices")?;
        for (word, found) in all_devices(fdt) {
            let (on, off): (Vec<_>, Vec<_>) = found.into_iter().partition(|device| device.enabled);
            let paths = |devices: Vec<dtbtool::Device>| {
                let more = devices.len().saturating_sub(SHOWN.0 * 4);
                let mut paths: Vec<String> = devices.into_iter().take(SHOWN.0 * 4).map(|device| device.path).collect();
                if more > 0 {
                    paths.push(format!("and {more} more"));
                }
                paths.join(" ")
            };
            let (on, off) = (paths(on), paths(off));
            let text = match (on.as_str(), off.as_str()) {
                ("", "") => continue,
                (on, "") => on.to_owned(),
                ("", off) => format!("(off: {off})"),
                (on, off) => format!("{on} (off: {off})"),
            };
            writeln!(out, "    {word:<13}{}", output::clean(&text))?;
        }
    }
    Ok(())
}
