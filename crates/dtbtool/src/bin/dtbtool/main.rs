//! `dtbtool`: look into device trees, judge, compare and change them.

mod check;
mod diff;
mod dts;
mod edit;
mod files;
mod inspect;
mod output;
mod overlay;

use std::{
    io::{self, ErrorKind, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use imgcore::{Finding, Report};
use serde_json::{Value, json};

/// Look into device trees, judge, compare and change them.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:\n  dtbtool inspect rk3588s-nanopi-m6.dtb\n  dtbtool check rk3588s-nanopi-m6.dtb --require \
                  ethernet --require nvme\n  dtbtool dts rk3588s-nanopi-m6.dtb > nanopi-m6.dts\n  dtbtool diff old.dtb new.dtb\n  \
                  dtbtool overlay apply base.dtb camera.dtbo -o board.dtb\n  dtbtool edit board.dtb --enable serial2 -o \
                  board.dtb\n\nExit codes: 0 done, 1 errors found or trees differ, 2 usage, 3 no such file, 4 reading or writing failed"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Say what a tree is: board, blocks, devices, findings
    #[command(after_help = "Examples:\n  dtbtool inspect board.dtb\n  dtbtool inspect --tsv board.dtb | cut -f3,4")]
    Inspect(inspect::Inspect),
    /// Judge a tree, and compare it with what a board needs
    #[command(
        after_help = "Examples:\n  dtbtool check board.dtb\n  dtbtool check board.dtb --compatible radxa,rock-5a \
                      --require ethernet --require /mmc@fe2e0000\n  dtbtool check --json board.dtb | jq .findings\n  dtbtool check board.dtb \
                      --kernel mainline --kernel-arg console=ttyS2,1500000n8 --requested rockchip/rk3588s-nanopi-m6.dtb\n  dtbtool check --format dtc \
                      board.dtb\n  dtbtool check -W no-unique_unit_address -v board.dtb\n\nExit codes: 0 no errors, 1 \
                      errors found, 2 usage, 3 no such file, 4 reading failed"
    )]
    Check(check::Check),
    /// Print a tree as source text that dtc compiles back to the same tree
    #[command(after_help = "Examples:\n  dtbtool dts board.dtb > board.dts\n  dtbtool dts a.dtb | diff - other.dts")]
    Dts(dts::Dts),
    /// Say what differs between two trees: order and phandle numbers do not count, targets of references do
    #[command(
        after_help = "Examples:\n  dtbtool diff vendor.dtb mainline.dtb\n  dtbtool diff --json a.dtb b.dtb | jq \
                      .result.summary\n\nExit codes: 0 equal, 1 different, 2 usage, 3 no such file, 4 reading failed"
    )]
    Diff(diff::Diff),
    /// Change a tree: set, delete, enable, disable, network address
    #[command(
        after_help = "A NODE is an absolute path, &label (if the tree has /__symbols__) or an alias. Order: deletions, \
                      values, switches, addresses, then --edit.\n\nExamples:\n  dtbtool edit board.dtb --enable serial2 \
                      -o board.dtb\n  dtbtool edit board.dtb --set /chosen stdout-path '\"serial2:1500000n8\"' --delete \
                      '/chosen bootargs' -o new.dtb\n  dtbtool edit board.dtb --mac ethernet0 02:1a:2b:3c:4d:5e -o \
                      new.dtb\n  dtbtool edit board.dtb --edit 'set /soc/uart clocks <&clk 3>' -o new.dtb\n\nExit codes: \
                      0 done, 1 an edit cannot be made (nothing is written), 2 usage, 3 no such file, 4 reading or \
                      writing failed"
    )]
    Edit(edit::Edit),
    /// Overlays: apply them, or say whether they can be applied
    #[command(subcommand)]
    Overlay(overlay::Overlay),
}

#[derive(Args)]
pub(crate) struct Input {
    /// The tree; data behind it is ignored, so a FIT image works as well
    pub(crate) file: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

/// What a run gives: text or JSON, and whether there is nothing to object to.
pub(crate) struct Outcome {
    pub(crate) ok: bool,
    pub(crate) text: Vec<u8>,
    pub(crate) report: Report,
    pub(crate) result: Value,
}

/// Marks a mistake on the command line that is seen only when its parts are put together.
#[derive(Debug)]
pub(crate) struct Usage;

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("usage")
    }
}

fn main() -> ExitCode {
    let json = std::env::args_os().skip(1).take_while(|argument| argument != "--").any(|argument| argument == "--json");
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return complain(&error, json),
    };
    let (name, json) = match &cli.command {
        Command::Inspect(arguments) => ("inspect", arguments.input.json),
        Command::Check(arguments) => ("check", arguments.input.json),
        Command::Dts(_) => ("dts", false),
        Command::Diff(arguments) => ("diff", arguments.json),
        Command::Edit(arguments) => ("edit", arguments.input.json),
        Command::Overlay(command) => (command.name(), command.json()),
    };
    let outcome = run(&cli.command).and_then(|Outcome { ok, mut text, report, result }| {
        if json {
            text = format!("{}\n", output::envelope(name, ok, &report, &result)).into_bytes();
        }
        io::stdout().lock().write_all(&text).context("cannot write to standard output")?;
        Ok(ok)
    });
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            let kind = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
            if kind == Some(ErrorKind::BrokenPipe) {
                return ExitCode::SUCCESS;
            }
            let code = match kind {
                Some(ErrorKind::NotFound) => 3,
                Some(_) => 4,
                None if error.is::<Usage>() => 2,
                None => 1,
            };
            if json {
                let object = failed(name, code, &format!("{error:#}"));
                let _ = writeln!(io::stdout(), "{object}");
            }
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::from(code)
        }
    }
}

/// The object of a run that stopped. Its code is that of the whole project where it has one.
fn failed(command: &str, exit: u8, message: &str) -> Value {
    let code = match exit {
        2 => "USE001",
        3 => "SRC001",
        4 => "IOE001",
        _ => "DTB239",
    };
    output::envelope(command, false, &Report::from_iter([Finding::error(code, message)]), &json!({}))
}

/// Usage errors, `--help` and `--version`.
fn complain(error: &clap::Error, json: bool) -> ExitCode {
    if json && error.use_stderr() {
        let text = error.to_string();
        let _ = writeln!(io::stdout(), "{}", failed("", 2, text.trim_start_matches("error: ").trim_end()));
    }
    let _ = error.print();
    ExitCode::from(if error.use_stderr() { 2 } else { 0 })
}

fn run(command: &Command) -> anyhow::Result<Outcome> {
    match command {
        Command::Inspect(arguments) => inspect::run(arguments),
        Command::Check(arguments) => check::run(arguments),
        Command::Dts(arguments) => dts::run(arguments),
        Command::Diff(arguments) => diff::run(arguments),
        Command::Edit(arguments) => edit::run(arguments),
        Command::Overlay(command) => overlay::run(command),
    }
}
