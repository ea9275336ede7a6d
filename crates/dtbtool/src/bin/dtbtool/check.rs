//! `check`: whether a tree is sound and fits a board.

use std::io::Write as _;

use clap::Args;
use dtbtool::{Expectations, Fdt, REQUIRE_WORDS, check_board, scan};
use imgcore::nearest;
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
    let Check { input, compatible, require, name } = arguments;
    let bytes = files::read(&input.file)?;
    let mut report = scan(&bytes).1;
    if let Ok(fdt) = Fdt::parse(&bytes) {
        let expectations =
            Expectations { compatible: compatible.clone(), require: require.clone(), file_name: name.clone() };
        report.extend(check_board(&fdt, &expectations));
    }
    let ok = !report.has_errors();
    let report = report.owned_by(&input.file.display().to_string(), 0);
    let mut text = Vec::new();
    if report.is_empty() {
        writeln!(text, "{}: nothing to complain about", input.file.display())?;
    } else {
        output::findings(&report, &mut text)?;
    }
    Ok(Outcome { ok, text, report, result: Value::Null })
}
