//! `check`: whether a tree is sound and fits a board.

use std::{
    cmp::Reverse,
    io::{self, IsTerminal as _, Write as _},
    ops::Range,
    path::PathBuf,
};

use clap::{Args, ValueEnum};
use dtbtool::{
    BindingGeneration, Expectations, Fdt, REQUIRE_WORDS,
    check::{self, CHECKS, Change},
    check_board,
    profile::{self, Profile},
    scan,
};
use imgcore::{Finding, Report, nearest};
use serde_json::Value;

use crate::{Input, Outcome, files, output};

#[derive(Args)]
pub(crate) struct Check {
    #[command(flatten)]
    pub(crate) input: Input,
    /// A string that the tree must be compatible with; of several, any one
    #[arg(long, value_name = "STRING")]
    compatible: Vec<String>,
    #[arg(long, value_name = "WORD|PATH", help = require_help(), value_parser = require_word)]
    require: Vec<String>,
    /// The name under which a boot program asks for the tree, such as rockchip/rk3588s-nanopi-m6.dtb
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The name that U-Boot asks for (its fdtfile); compared with --name, the tree's board and its revision
    #[arg(long, value_name = "NAME")]
    requested: Option<String>,
    /// An argument, or several with blanks between them, that the kernel will get: consoles are compared with the tree
    #[arg(long, value_name = "ARG", allow_hyphen_values = true)]
    kernel_arg: Vec<String>,
    /// Whose kernel it is: decides about clock numbers and about ttyFIQ0
    #[arg(long, value_enum)]
    kernel: Option<Kernel>,
    /// The console that /chosen stdout-path must name, such as serial2:1500000n8
    #[arg(long, value_name = "ALIAS[:RATE]")]
    stdout: Option<String>,
    /// Overlays will be applied, so the tree needs /__symbols__
    #[arg(long)]
    overlays: bool,
    /// Addresses in use while the board boots, such as kernel=0x2000000..0x6000000
    #[arg(long, value_name = "NAME=START..END", value_parser = boot_memory)]
    boot_memory: Vec<(String, Range<u64>)>,
    /// The tree inside the boot program: is it of the same board?
    #[arg(long, value_name = "FILE")]
    boot_tree: Option<PathBuf>,
    /// For people, or the words of dtc 1.8.1 (`dtc -I dtb -O dts`), line by line in its order
    #[arg(long, value_enum, default_value_t, conflicts_with = "json")]
    format: Format,
    /// Switch warnings of a check of dtc on, or off with no-NAME; all that it needs goes with it
    #[arg(short = 'W', long = "warn", value_name = "[no-]NAME", value_parser = warning)]
    warn: Vec<(String, Change)>,
    /// Switch errors of a check of dtc on, or off with no-NAME
    #[arg(short = 'E', long = "error", value_name = "[no-]NAME", value_parser = error)]
    error: Vec<(String, Change)>,
    /// Leave a check of dtc out, and those that need it
    #[arg(long, value_name = "NAME", value_parser = known)]
    no: Vec<String>,
    /// List what no kernel minds as well, instead of counting it
    #[arg(short, long)]
    verbose: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    #[default]
    Text,
    Dtc,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Kernel {
    /// Linux from kernel.org, and distributions that follow it
    Mainline,
    /// The chip maker's, and those made from it
    Vendor,
}

fn boot_memory(text: &str) -> Result<(String, Range<u64>), String> {
    let number = |word: &str| match word.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => word.parse().ok(),
    };
    let parsed = text.split_once('=').and_then(|(name, range)| {
        let (start, end) = range.split_once("..")?;
        Some((name.to_owned(), number(start)?..number(end)?))
    });
    parsed
        .filter(|(_, range)| range.start < range.end)
        .ok_or_else(|| "expected a name and two addresses, such as kernel=0x2000000..0x6000000".to_owned())
}

fn warning(word: &str) -> Result<(String, Change), String> {
    check::change(word, false).map_err(|name| unknown(&name))
}

fn error(word: &str) -> Result<(String, Change), String> {
    check::change(word, true).map_err(|name| unknown(&name))
}

fn known(word: &str) -> Result<String, String> {
    if CHECKS.iter().any(|check| check.name == word) { Ok(word.to_owned()) } else { Err(unknown(word)) }
}

fn unknown(name: &str) -> String {
    match nearest(name, CHECKS.iter().map(|check| check.name)) {
        Some(near) => format!("dtc has no check {name:?}; did you mean {near:?}?"),
        None => format!("dtc has no check {name:?}"),
    }
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

pub(crate) fn run(arguments: &Check) -> anyhow::Result<Outcome> {
    let Check { input, compatible, require, name, .. } = arguments;
    let bytes = files::read(&input.file)?;
    let options = options(arguments);
    if arguments.format == Format::Dtc {
        let (ok, mut text) = match check::read_as_dtc(&bytes) {
            Ok(tree) => {
                let checked = check::run(&tree, &options);
                (!checked.failed, check::format_dtc_bytes(&checked))
            }
            Err(refused) => (false, refused),
        };
        // Foreign text must not drive a terminal; a file gets dtc's bytes.
        if io::stdout().is_terminal() {
            text = output::clean_lines(&text);
        }
        return Ok(Outcome { ok, text, report: Report::new(), result: Value::Null });
    }
    let (tree, mut report) = scan(&bytes);
    let checked = tree.map(|tree| check::run(&tree, &options));
    if let Ok(fdt) = Fdt::parse(&bytes) {
        let expectations =
            Expectations { compatible: compatible.clone(), require: require.clone(), file_name: name.clone() };
        report.extend(judge(&fdt, arguments, expectations)?);
    }
    if let Some(mut checked) = checked {
        check::without_scanned(&mut checked, &report);
        let verbose = arguments.verbose || input.json;
        report.extend(if verbose { check::to_report(&checked) } else { check::to_summary(&checked) });
    }
    let ok = !report.has_errors();
    let mut findings: Vec<Finding> = report.owned_by(&input.file.display().to_string(), 0).into_iter().collect();
    // What keeps the board from working comes first.
    findings.sort_by_key(|finding| Reverse(finding.severity));
    let report: Report = findings.into_iter().collect();
    let mut text = Vec::new();
    if report.is_empty() {
        writeln!(text, "{}: nothing to complain about", input.file.display())?;
    } else {
        output::findings(&report, &mut text)?;
    }
    Ok(Outcome { ok, text, report, result: Value::Null })
}

/// The whole profile for what a kernel gets, or where something is said about the board.
fn judge(fdt: &Fdt<'_>, arguments: &Check, expectations: Expectations) -> anyhow::Result<Report> {
    /// A tree with so many nodes and processors is a kernel's; those in boot programs are stripped.
    const KERNEL_NODES: usize = 200;
    let is_kernels = fdt.find("/cpus").is_some() && fdt.walk().nth(KERNEL_NODES).is_some();
    let profile = Profile {
        requested: arguments.requested.clone(),
        stdout: arguments.stdout.clone(),
        overlays: arguments.overlays,
        boot_memory: arguments.boot_memory.clone(),
        kernel: arguments.kernel.map(|kernel| match kernel {
            Kernel::Mainline => BindingGeneration::Mainline,
            Kernel::Vendor => BindingGeneration::Vendor,
        }),
        kernel_arguments: arguments.kernel_arg.clone(),
        ..Profile::default()
    };
    let mut report = if is_kernels || profile != Profile::default() {
        profile::check(fdt, &Profile { expectations, ..profile })
    } else {
        check_board(fdt, &expectations)
    };
    if let Some(path) = &arguments.boot_tree {
        let bytes = files::read(path)?;
        report.extend(profile::compare_with_boot_program(&files::parse(path, &bytes)?, fdt));
    }
    Ok(report)
}

/// dtc stops at an error; a person wants to know the rest.
fn options(arguments: &Check) -> check::Options {
    let off = |error| Change { error, on: false };
    let left_out = arguments.no.iter().flat_map(|name| [(name.clone(), off(false)), (name.clone(), off(true))]);
    let changes = arguments.warn.iter().chain(&arguments.error).cloned().chain(left_out).collect();
    let keep_going = arguments.format == Format::Text;
    let standard = check::Options::default();
    // dtc knows no limit; the memory of the machine does.
    let limit = if keep_going { standard.limit } else { 256 << 20 };
    check::Options { changes, keep_going, limit }
}
