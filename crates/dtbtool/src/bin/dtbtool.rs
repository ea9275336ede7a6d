//! `dtbtool`: look into a device tree and judge it.

use std::{
    io::{self, ErrorKind, Read as _, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use dtbtool::{Expectations, Fdt, REQUIRE_WORDS, binding_generation, check_board, devices, facts, scan, to_dts};
use imgcore::{ByteSize, Report, nearest};
use serde_json::{Value, json};

/// Look into a device tree and judge it.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:\n  dtbtool inspect rk3588s-nanopi-m6.dtb\n  dtbtool check rk3588s-nanopi-m6.dtb --require \
                  ethernet --require nvme\n  dtbtool dts rk3588s-nanopi-m6.dtb > nanopi-m6.dts\n\nExit codes: 0 done, \
                  1 errors found, 2 usage, 3 no such file, 4 reading or writing failed"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Say what a tree is: board, blocks, devices, findings
    #[command(after_help = "Examples:\n  dtbtool inspect board.dtb\n  dtbtool inspect --tsv board.dtb | cut -f3,4")]
    Inspect {
        #[command(flatten)]
        input: Input,
        /// One fact a line: kind, offset, field, value, separated by tabs
        #[arg(long, conflicts_with = "json")]
        tsv: bool,
    },
    /// Judge a tree, and compare it with what a board needs
    #[command(
        after_help = "Examples:\n  dtbtool check board.dtb\n  dtbtool check board.dtb --compatible radxa,rock-5a \
                      --require ethernet --require /mmc@fe2e0000\n  dtbtool check --json board.dtb | jq .findings"
    )]
    Check {
        #[command(flatten)]
        input: Input,
        /// A string that the tree must be compatible with; of several, any one
        #[arg(long, value_name = "STRING")]
        compatible: Vec<String>,
        #[arg(long, value_name = "WORD|PATH", help = require_help(), value_parser = require_word)]
        require: Vec<String>,
        /// The name under which a boot program asks for the tree, such as rockchip/rk3588s-nanopi-m6.dtb
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
    },
    /// Print a tree as source text that dtc compiles back to the same tree
    #[command(after_help = "Examples:\n  dtbtool dts board.dtb > board.dts\n  dtbtool dts a.dtb | diff - other.dts")]
    Dts {
        /// The tree
        file: PathBuf,
    },
}

#[derive(Args)]
struct Input {
    /// The tree; data behind it is ignored, so a FIT image works as well
    file: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

fn require_help() -> String {
    let words: Vec<&str> = REQUIRE_WORDS.iter().map(|known| known.word).collect();
    format!("A device that must be there and on: a path, or one of {}", words.join(", "))
}

fn require_word(text: &str) -> Result<String, String> {
    let words = || REQUIRE_WORDS.iter().map(|known| known.word);
    if text.starts_with('/') || words().any(|word| word == text) {
        return Ok(text.to_owned());
    }
    Err(match nearest(text, words()) {
        Some(near) => format!("did you mean {near:?}?"),
        None => format!("known are {}, and absolute paths", words().collect::<Vec<_>>().join(", ")),
    })
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let (name, json) = match &cli.command {
        Command::Inspect { input, .. } => ("inspect", input.json),
        Command::Check { input, .. } => ("check", input.json),
        Command::Dts { .. } => ("dts", false),
    };
    let mut out = Vec::new();
    let outcome = run(cli.command, &mut out).and_then(|sound| {
        io::stdout().lock().write_all(&out).context("cannot write to standard output")?;
        Ok(sound)
    });
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            let kind = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
            if kind == Some(ErrorKind::BrokenPipe) {
                return ExitCode::SUCCESS;
            }
            if json {
                let object = envelope(name, false, &Report::new(), &Value::Null, Some(&format!("{error:#}")));
                let _ = writeln!(io::stdout(), "{object}");
            }
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::from(match kind {
                Some(ErrorKind::NotFound) => 3,
                Some(_) => 4,
                None => 1,
            })
        }
    }
}

/// Nothing that holds a device tree of use is larger, and a disk image given by mistake must not fill the memory.
const LIMIT: u64 = 256 * ByteSize::MIB;

fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    let mut opened = fs_err::File::open(file)?;
    let size = opened.metadata()?.len();
    anyhow::ensure!(size <= LIMIT, "{}: {} is too large for a device tree", file.display(), ByteSize(size));
    let mut bytes = Vec::new();
    opened.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whether the tree has no errors.
fn run(command: Command, out: &mut Vec<u8>) -> anyhow::Result<bool> {
    match command {
        Command::Inspect { input, tsv } => {
            let bytes = read(&input.file)?;
            let report = scan(&bytes).1;
            if tsv {
                for fact in facts(&bytes, 0) {
                    writeln!(out, "{fact}")?;
                }
            } else if input.json {
                let result = describe(&bytes);
                writeln!(out, "{}", envelope("inspect", !report.has_errors(), &report, &result, None))?;
            } else {
                draw(&input.file, &bytes, out)?;
                print_findings(&report, out)?;
            }
            Ok(!report.has_errors())
        }
        Command::Check { input, compatible, require, name } => {
            let bytes = read(&input.file)?;
            let mut report = scan(&bytes).1;
            if let Ok(fdt) = Fdt::parse(&bytes) {
                report.extend(check_board(&fdt, &Expectations { compatible, require, file_name: name }));
            }
            let sound = !report.has_errors();
            let report = report.owned_by(&input.file.display().to_string(), 0);
            if input.json {
                writeln!(out, "{}", envelope("check", sound, &report, &Value::Null, None))?;
            } else if report.is_empty() {
                writeln!(out, "{}: nothing to complain about", input.file.display())?;
            } else {
                print_findings(&report, out)?;
            }
            Ok(sound)
        }
        Command::Dts { file } => {
            let bytes = read(&file)?;
            let fdt = Fdt::parse(&bytes).with_context(|| {
                format!("{} cannot be read as a device tree; `dtbtool check` says all that is wrong", file.display())
            })?;
            out.extend_from_slice(to_dts(&fdt).as_bytes());
            Ok(true)
        }
    }
}

fn envelope(command: &str, ok: bool, report: &Report, result: &Value, error: Option<&str>) -> Value {
    let mut object = json!({ "schema": 1, "command": command, "ok": ok, "findings": report.iter().collect::<Vec<_>>(), "result": result });
    if let (Some(error), Some(object)) = (error, object.as_object_mut()) {
        object.insert("error".to_owned(), error.into());
    }
    object
}

fn print_findings(report: &Report, out: &mut Vec<u8>) -> io::Result<()> {
    report.iter().try_for_each(|finding| writeln!(out, "{finding}"))
}

fn describe(bytes: &[u8]) -> Value {
    let (Some(tree), _) = scan(bytes) else { return Value::Null };
    let header = tree.header();
    let root = tree.root();
    let text = |name: &str| root.and_then(|root| root.property(name)).and_then(|property| property.as_str());
    let compatible = root.and_then(|root| root.property("compatible")).and_then(|property| property.as_str_list());
    let strict = Fdt::parse(bytes).ok();
    let devices = strict.map(|fdt| {
        let kinds = REQUIRE_WORDS.iter().map(|known| {
            let found = devices(&fdt, known.word).into_iter();
            (
                known.word.to_owned(),
                found.map(|device| json!({ "path": device.path, "enabled": device.enabled })).collect(),
            )
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

fn draw(file: &Path, bytes: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let Some(tree) = scan(bytes).0 else { return writeln!(out, "{}: no device tree", file.display()) };
    let header = tree.header();
    let root = tree.root();
    let line = |out: &mut Vec<u8>, name: &str, value: &str| writeln!(out, "  {name:<13}{}", clean(value));
    writeln!(out, "{}: device tree of {}", file.display(), ByteSize(u64::from(header.totalsize)))?;
    let property = |path: &str, name: &str| tree.find(path).and_then(|node| node.property(name));
    let text = |path: &str, name: &str| property(path, name).and_then(|property| property.as_str());
    line(out, "model", text("/", "model").unwrap_or("-"))?;
    let compatible = root.and_then(|root| root.property("compatible")).and_then(|property| property.as_str_list());
    line(out, "compatible", &compatible.map_or_else(|| "-".to_owned(), |list| list.collect::<Vec<_>>().join(", ")))?;
    let symbols = if tree.find("/__symbols__").is_some() { ", labels for overlays" } else { "" };
    let (nodes, properties) = (tree.nodes().len(), tree.property_count());
    line(out, "contents", &format!("{nodes} nodes, {properties} properties{symbols}"))?;
    line(out, "version", &format!("{}, readable as {}", header.version, header.last_comp_version))?;
    line(out, "console", text("/chosen", "stdout-path").unwrap_or("not said (no /chosen stdout-path)"))?;
    if let Ok(fdt) = Fdt::parse(bytes)
        && let Some(generation) = binding_generation(&fdt)
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
    if let Ok(fdt) = Fdt::parse(bytes) {
        writeln!(out, "  devices")?;
        for known in REQUIRE_WORDS {
            let found = devices(&fdt, known.word);
            let (on, off): (Vec<_>, Vec<_>) = found.into_iter().partition(|device| device.enabled);
            let paths = |devices: Vec<dtbtool::Device>| {
                devices.into_iter().map(|device| device.path).collect::<Vec<_>>().join(" ")
            };
            let (on, off) = (paths(on), paths(off));
            let text = match (on.as_str(), off.as_str()) {
                ("", "") => continue,
                (on, "") => on.to_owned(),
                ("", off) => format!("(off: {off})"),
                (on, off) => format!("{on} (off: {off})"),
            };
            writeln!(out, "    {:<13}{}", known.word, clean(&text))?;
        }
    }
    Ok(())
}

/// Foreign text must not drive the terminal.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
