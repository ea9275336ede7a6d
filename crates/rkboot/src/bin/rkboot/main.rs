//! `rkboot`: look into Rockchip boot files, and make idblocks.

mod build;
mod build_fit;
mod ddr;
mod explain;
mod extract;
mod files;
mod flow;
mod inspect;
mod json;
mod json_other;
mod text;
mod text_other;
mod verify;

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use imgcore::Report;
use serde_json::{Value, json};

/// Look into Rockchip boot files, and make them
#[derive(Debug, Parser)]
#[command(
    name = "rkboot",
    version,
    after_help = "Examples:
  rkboot inspect idbloader.img
  rkboot inspect u-boot-rockchip.bin --soc rk3588s --json
  rkboot verify u-boot.itb
  rkboot flow idbloader.img u-boot.itb --carries efi
  rkboot extract armbian.img.xz -o boot/
  rkboot build idbloader --soc rk3588 --ddr rk3588_ddr_v1.18.bin --spl u-boot-spl.bin -o idbloader.img
  rkboot build fit --soc rk3588 --u-boot u-boot-nodtb.bin --dtb board.dtb --bl31 bl31.elf -o u-boot.itb

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
    Inspect(inspect::Inspect),
    /// Check a boot file: one line if it is sound, else what is wrong
    Verify(verify::Verify),
    /// Tell what a boot chain starts: EFI, extlinux, scripts, Android, from which media, with which device tree
    Flow(flow::Flow),
    /// Show the parameters of DDR init code, and set the UART that it prints to
    Ddr(ddr::Ddr),
    /// Take the boot files out of an image of a whole disk, out of a device, or out of a dump of SPI flash
    Extract(extract::Extract),
    /// Make a boot file
    Build {
        #[command(subcommand)]
        what: build::Build,
    },
}

/// What a run gives: text or JSON, and whether a board would stumble.
pub(crate) struct Outcome {
    pub(crate) text: String,
    pub(crate) report: Report,
    pub(crate) result: Value,
}

/// An error and the exit code it gives.
pub(crate) struct Failure {
    pub(crate) code: u8,
    pub(crate) error: anyhow::Error,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let name = match &cli.command {
        Command::Inspect(_) => "inspect",
        Command::Verify(_) => "verify",
        Command::Flow(_) => "flow",
        Command::Ddr(_) => "ddr",
        Command::Extract(_) => "extract",
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
        Command::Inspect(arguments) => inspect::run(arguments),
        Command::Verify(arguments) => verify::run(arguments),
        Command::Flow(arguments) => flow::run(arguments),
        Command::Ddr(arguments) => ddr::run(arguments),
        Command::Extract(arguments) => extract::run(arguments),
        Command::Build { what } => build::run(what),
    }
}
