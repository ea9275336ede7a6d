//! `rkboot`: look into Rockchip boot files, and make idblocks.

mod build;
mod build_fit;
mod build_other;
mod compare;
mod contains;
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
use imgcore::{Finding, Report};
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
    let json = std::env::args_os().skip(1).take_while(|argument| argument != "--").any(|argument| argument == "--json");
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return complain(&error, json),
    };
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
            let object = envelope(name, ok, &outcome.report, &outcome.result);
            if matches!(cli.command, Command::Build { .. }) && !cli.json {
                // The file was made; what is odd about it must not hide in what scripts read.
                for finding in &outcome.report {
                    let _ = writeln!(io::stderr(), "{finding}");
                }
            }
            (u8::from(!ok), if cli.json { format!("{object:#}\n") } else { outcome.text }, None)
        }
        Err(Failure { code, error }) => {
            let message = format!("{error:#}");
            let object =
                envelope(name, false, &Report::from_iter([Finding::error(code_of(code), &*message)]), &json!({}));
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

/// The one JSON object of a run.
fn envelope(command: &str, ok: bool, report: &Report, result: &Value) -> Value {
    json!({ "schema": 1, "command": command, "ok": ok, "findings": report, "result": result })
}

/// The code of a failure without findings of its own; those of the whole project where it has one.
const fn code_of(exit: u8) -> &'static str {
    match exit {
        2 => "USE001",
        3 => "SRC001",
        4 => "IOE001",
        _ => "RKB001",
    }
}

/// Usage errors, `--help` and `--version`.
fn complain(error: &clap::Error, json: bool) -> ExitCode {
    if json && error.use_stderr() {
        let text = error.to_string();
        let message = text.trim_start_matches("error: ").trim_end();
        let object = envelope("", false, &Report::from_iter([Finding::error(code_of(2), message)]), &json!({}));
        let _ = writeln!(io::stdout(), "{object:#}");
    }
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { 2 } else { 0 })
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
