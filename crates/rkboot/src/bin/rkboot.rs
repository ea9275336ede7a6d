//! `rkboot`: look into Rockchip boot files, and make idblocks.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use imgcore::Report;
use rkboot::{BootFile, BootFileKind, Fit, IdBlock, Soc, examine, facts, fit::Image, idblock, trim};
use serde_json::{Value, json};

/// The largest known boot file has 10 MB; more is a disk image.
const MAX_FILE: u64 = 256 * 1024 * 1024;

/// Look into Rockchip boot files, and make idblocks
#[derive(Debug, Parser)]
#[command(
    name = "rkboot",
    version,
    after_help = "Examples:
  rkboot inspect idbloader.img
  rkboot inspect u-boot-rockchip.bin --soc rk3588s --json
  rkboot build idbloader --soc rk3588 --ddr rk3588_ddr_v1.18.bin --spl u-boot-spl.bin -o idbloader.img

Exit codes: 0 done, 1 damaged or refused, 2 usage, 3 input missing, 4 input or output failed"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// One JSON object on standard output, on errors too
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Recognise a boot file, check it and say what it holds
    Inspect(Inspect),
    /// Make a boot file
    Build {
        #[command(subcommand)]
        what: Build,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rkboot inspect idbloader.img
  rkboot inspect uboot.img --tsv

Exit code 1 says that there is a finding at error level: a board would not start from the file.")]
struct Inspect {
    /// idbloader.img, u-boot.itb, uboot.img, u-boot-rockchip.bin
    file: PathBuf,
    /// Also check what the BootROM of this SoC takes
    #[arg(long)]
    soc: Option<String>,
    /// One measured fact a line: kind, offset, field, value
    #[arg(long, conflicts_with = "json")]
    tsv: bool,
}

#[derive(Debug, Subcommand)]
enum Build {
    /// An idblock v2 for SD card and eMMC, byte for byte as `mkimage -T rksd`
    #[command(after_help = "Example:
  rkboot build idbloader --soc rk3588 --ddr rk3588_ddr_v1.18.bin --spl u-boot-spl.bin -o idbloader.img

Write the result at sector 64:
  dd if=idbloader.img of=/dev/sdX seek=64 conv=notrunc")]
    Idbloader {
        /// SoC as mkimage names it; rk3588s is taken as rk3588
        #[arg(long)]
        soc: String,
        /// DDR blob of rkbin, or U-Boot's TPL
        #[arg(long)]
        ddr: PathBuf,
        /// U-Boot's SPL; without it the block holds init code only
        #[arg(long)]
        spl: Option<PathBuf>,
        /// Where the idblock goes
        #[arg(short, long)]
        output: PathBuf,
    },
}

/// What a run gives: text or JSON, and whether a board would stumble.
struct Outcome {
    text: String,
    report: Report,
    result: Value,
}

/// An error and the exit code it gives.
struct Failure {
    code: u8,
    error: anyhow::Error,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let name = match &cli.command {
        Command::Inspect(_) => "inspect",
        Command::Build { .. } => "build",
    };
    let (code, out, complaint) = match run(&cli.command) {
        Ok(outcome) => {
            let ok = !outcome.report.has_errors();
            let object = json!({
                "schema": 1, "command": name, "ok": ok, "findings": outcome.report, "result": outcome.result,
            });
            (u8::from(!ok), if cli.json { format!("{object:#}\n") } else { outcome.text }, None)
        }
        Err(Failure { code, error }) => {
            let message = format!("{error:#}");
            let object = json!({
                "schema": 1, "command": name, "ok": false, "findings": [], "result": null, "error": message,
            });
            (code, if cli.json { format!("{object:#}\n") } else { String::new() }, Some(message))
        }
    };
    if let Some(message) = complaint {
        let _ = writeln!(io::stderr(), "error: {message}");
    }
    match io::stdout().lock().write_all(out.as_bytes()) {
        // The reader of a pipe has seen enough.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => ExitCode::from(4),
        _ => ExitCode::from(code),
    }
}

fn run(command: &Command) -> Result<Outcome, Failure> {
    match command {
        Command::Inspect(arguments) => inspect(arguments),
        Command::Build { what: Build::Idbloader { soc, ddr, spl, output } } => {
            let soc = parse_soc(soc)?;
            let init = read(ddr)?;
            let boot = spl.as_deref().map(read).transpose()?;
            let parts = idblock::Parts { soc, init: &init, boot: boot.as_deref() };
            let bytes = idblock::build(&parts).map_err(|error| Failure { code: 1, error: error.into() })?;
            replace(output, &bytes).map_err(|error| Failure { code: 4, error })?;
            let digest = imgcore::Digest::of(&bytes);
            let text = format!("{}: idblock v2 for {soc}, {} bytes, {digest}\n", output.display(), bytes.len());
            let result = json!({ "soc": soc.name(), "size": bytes.len(), "digest": digest });
            Ok(Outcome { text, report: Report::new(), result })
        }
    }
}

fn parse_soc(name: &str) -> Result<Soc, Failure> {
    name.parse().map_err(|error: rkboot::Error| Failure { code: 2, error: error.into() })
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let failure = |error: io::Error| {
        let code = if error.kind() == io::ErrorKind::NotFound { 3 } else { 4 };
        Failure { code, error: error.into() }
    };
    let size = fs_err::metadata(path).map_err(failure)?.len();
    if size > MAX_FILE {
        let error = anyhow::anyhow!("{}: {size} bytes, boot files have at most {MAX_FILE}", path.display());
        return Err(Failure { code: 1, error });
    }
    fs_err::read(path).map_err(failure)
}

/// The file appears complete under its name or not at all.
fn replace(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let name = path.file_name().with_context(|| format!("{}: no file name", path.display()))?;
    let temporary = path.with_file_name(format!(".{}.{}", name.display(), std::process::id()));
    let written = (|| {
        let mut file = fs_err::File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs_err::rename(&temporary, path)
    })();
    if written.is_err() {
        let _ = fs_err::remove_file(&temporary);
    }
    Ok(written?)
}

fn inspect(arguments: &Inspect) -> Result<Outcome, Failure> {
    let soc = arguments.soc.as_deref().map(parse_soc).transpose()?;
    let bytes = read(&arguments.file)?;
    let name = arguments.file.file_name().map_or_else(String::new, |name| name.display().to_string());
    let (file, report) = examine(&bytes, soc);
    let report = report.owned_by(&name, 0);
    let text = if arguments.tsv {
        facts(&bytes).iter().fold(String::new(), |text, fact| text + &format!("{fact}\n"))
    } else {
        render(&name, &file, &bytes, &report)
    };
    Ok(Outcome { text, result: result(&file, &bytes), report })
}

fn render(name: &str, file: &BootFile, bytes: &[u8], report: &Report) -> String {
    let mut text = format!("{name}: {}, {} bytes\n", file.kind.describe(), file.length);
    if let [_, _, ..] = file.copies.as_slice() {
        let equal = if file.copies_equal { "equal" } else { "different" };
        let places: Vec<_> = file.copies.iter().map(|copy| format!("{}..{}", copy.start, copy.end)).collect();
        let _ = writeln!(text, "  copies ({equal}): {}", places.join(", "));
    }
    match &file.kind {
        BootFileKind::IdBlock(block) => render_idblock(block, start(file), bytes, &mut text),
        BootFileKind::Fit(fit) => render_fit(fit, 0, &mut text),
        BootFileKind::Combined { idblock, idblock_range, fit, fit_range } => {
            if let Some(block) = idblock {
                render_idblock(block, idblock_range.start, bytes, &mut text);
            }
            render_fit(fit, fit_range.start, &mut text);
        }
        _ => {}
    }
    if let Ok(length) = trim(file)
        && length < file.length
    {
        let _ = writeln!(text, "  copy 1 alone: the first {length} bytes");
    }
    for finding in report {
        let _ = writeln!(text, "{finding}");
    }
    text
}

fn start(file: &BootFile) -> u64 {
    file.copies.first().map_or(0, |copy| copy.start)
}

fn tail(bytes: &[u8], at: u64) -> &[u8] {
    usize::try_from(at).ok().and_then(|at| bytes.get(at..)).unwrap_or_default()
}

fn render_idblock(block: &IdBlock, at: u64, bytes: &[u8], text: &mut String) {
    let _ = writeln!(text, "  idblock at {at}: {} bytes, {}", block.length, block.hash_kind.name());
    for (image, number) in block.images.iter().zip(1..) {
        let load = if image.load == u32::MAX { "BootROM's choice".to_owned() } else { format!("{:#x}", image.load) };
        let size = image.range.end - image.range.start;
        let _ = writeln!(
            text,
            "    image {number}: {size} bytes at {}, load {load}, hash {}",
            image.range.start,
            check(image.check)
        );
    }
    if let Some(ddr) = block.ddr(tail(bytes, at)) {
        let _ = writeln!(text, "    DDR init: {ddr}");
    }
}

fn check(check: idblock::Check) -> &'static str {
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
    let _ = writeln!(text, "  FIT at {at}: {} bytes, {valid} of {all} hashes valid, {description}", fit.end());
    for image in &fit.images {
        let size = image.data.as_ref().map_or(0, |(_, range)| range.end - range.start);
        let load = image.load.map_or_else(String::new, |load| format!(", load {load:#x}"));
        let kind = image.kind.as_deref().unwrap_or("no type");
        let _ = writeln!(text, "    image {}: {kind}, {size} bytes{load}{}", image.name, hashes(image));
    }
    for configuration in &fit.configurations {
        let default = if fit.default.as_ref() == Some(&configuration.name) { " (default)" } else { "" };
        let firmware = configuration.firmware.as_deref().unwrap_or("-");
        let _ = writeln!(
            text,
            "    configuration {}{default}: firmware {firmware}, loadables {}, fdt {}",
            configuration.name,
            configuration.loadables.join(" "),
            configuration.fdt.join(" ")
        );
    }
}

fn hashes(image: &Image) -> String {
    image.hashes.iter().fold(String::new(), |mut text, hash| {
        let _ = write!(text, ", {} {}", hash.algorithm, hash.status.name());
        text
    })
}

fn result(file: &BootFile, bytes: &[u8]) -> Value {
    let mut value = json!({
        "kind": file.kind.describe(),
        "length": file.length,
        "content_end": file.content_end,
        "copies": file.copies.iter().map(|copy| json!({ "start": copy.start, "end": copy.end })).collect::<Vec<_>>(),
        "copies_equal": file.copies_equal,
        "trimmed_length": trim(file).ok(),
    });
    match &file.kind {
        BootFileKind::IdBlock(block) => value["idblock"] = idblock_value(block, start(file), bytes),
        BootFileKind::Fit(fit) => value["fit"] = fit_value(fit, 0),
        BootFileKind::Combined { idblock, idblock_range, fit, fit_range } => {
            if let Some(block) = idblock {
                value["idblock"] = idblock_value(block, idblock_range.start, bytes);
            }
            value["fit"] = fit_value(fit, fit_range.start);
        }
        _ => {}
    }
    value
}

fn idblock_value(block: &IdBlock, at: u64, bytes: &[u8]) -> Value {
    let images = block.images.iter().map(|image| {
        json!({
            "offset": image.range.start,
            "size": image.range.end - image.range.start,
            "load": image.load,
            "hash": check(image.check),
        })
    });
    json!({
        "offset": at,
        "length": block.length,
        "bytes_missing": block.bytes_missing,
        "hash_kind": block.hash_kind.name(),
        "header_hash": check(block.header_check),
        "images": images.collect::<Vec<_>>(),
        "ddr": block.ddr(tail(bytes, at)).map(|ddr| json!({
            "version": ddr.version,
            "text": ddr.text,
            "files": ddr.files,
            "uart": ddr.uart.map(|uart| json!({ "id": uart.id, "iomux": uart.iomux, "baud": uart.baud })),
        })),
    })
}

fn fit_value(fit: &Fit, at: u64) -> Value {
    let images = fit.images.iter().map(|image| {
        json!({
            "name": image.name,
            "type": image.kind,
            "os": image.os,
            "compression": image.compression,
            "load": image.load,
            "entry": image.entry,
            "offset": image.data.as_ref().map(|(_, range)| range.start),
            "size": image.data.as_ref().map(|(_, range)| range.end - range.start),
            "hashes": image.hashes.iter().map(|hash| json!({ "algorithm": hash.algorithm, "state": hash.status.name() }))
                .collect::<Vec<_>>(),
        })
    });
    let configurations = fit.configurations.iter().map(|configuration| {
        json!({
            "name": configuration.name,
            "description": configuration.description,
            "firmware": configuration.firmware,
            "loadables": configuration.loadables,
            "kernel": configuration.kernel,
            "fdt": configuration.fdt,
            "dangling": configuration.dangling,
        })
    });
    json!({
        "offset": at,
        "end": fit.end(),
        "external_base": fit.external_base,
        "default": fit.default,
        "images": images.collect::<Vec<_>>(),
        "configurations": configurations.collect::<Vec<_>>(),
    })
}
