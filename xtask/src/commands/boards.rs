//! `boards` and `boards show`.

use std::fmt::Write as _;

use boardbuild::{Error, board};
use serde_json::json;

use crate::{
    args::{BoardsArgs, BoardsCommand},
    commands::home,
    render::Outcome,
};

/// Lists boards or shows one.
pub(crate) fn run(args: BoardsArgs) -> Result<Outcome, Error> {
    match args.command {
        None => list(),
        Some(BoardsCommand::Show { board, talos, boot }) => show(&board, talos.as_deref(), boot.as_deref()),
    }
}

fn list() -> Result<Outcome, Error> {
    let home = home()?;
    let mut text = String::new();
    let mut rows = Vec::new();
    let mut line = |columns: [&str; 6]| {
        let [name, soc, vendor, title, spi, scenarios] = columns;
        let _ = writeln!(text, "{name:24}  {soc:8}  {vendor:16}  {title:34}  {spi:3}  {scenarios}");
    };
    line(["name", "SoC", "vendor", "board", "SPI", "scenarios"]);
    for name in board::names(&home.boards)? {
        let board = board::find(&home.boards, &name)?;
        let scenarios = board.boot.keys().cloned().collect::<Vec<_>>();
        line([
            &name,
            board.soc.as_deref().unwrap_or("-"),
            board.vendor.as_deref().unwrap_or("-"),
            board.title.as_deref().unwrap_or_default(),
            if board.spi.is_some() { "yes" } else { "-" },
            &scenarios.join(", "),
        ]);
        rows.push(json!({
            "name": name, "soc": board.soc, "title": board.title, "vendor": board.vendor, "boot": scenarios,
            "spi": board.spi.as_ref().map(|spi| &spi.option), "upstream": board.upstream,
        }));
    }
    Ok(Outcome { result: json!({ "boards": rows }), text, ..Outcome::default() })
}

fn show(name: &str, talos: Option<&str>, boot: Option<&str>) -> Result<Outcome, Error> {
    let home = home()?;
    let shown = boardbuild::show(&home, name, talos, boot)?;
    Ok(Outcome { result: shown.data, text: shown.text, report: shown.report, exit: 0 })
}
