//! One board for people: its data and its layout drawn to scale.

use std::fmt::Write as _;

use imgcore::Report;
use rawimg::gpt;

use crate::{
    board::{self, SECTOR},
    body::Target,
    draw::draw,
    error::Result,
    home::Home,
    lock::{Defaults, Lock},
    record,
    request::Request,
};

/// A board as text and as data.
#[derive(Debug)]
pub struct Shown {
    /// For people.
    pub text: String,
    /// For programs.
    pub data: serde_json::Value,
    /// What is odd about the board file.
    pub report: Report,
}

/// Shows a board.
///
/// # Errors
/// As [`board::find`]; [`Exit::Usage`](crate::Exit::Usage) for a release or scenario that is none.
pub fn show(home: &Home, name: &str, talos: Option<&str>, boot: Option<&str>) -> Result<Shown> {
    let board = board::find(&home.boards, name)?;
    let defaults = Defaults::read(&home.boards)?;
    let lock = Lock::read(if board.folder.join("sources.lock").is_file() { &board.folder } else { &home.boards })?;
    let mut request = Request::new(name);
    request.talos = talos.map(str::to_owned);
    let (target, mut report) = Target::decide(&request, &board, &defaults.talos)?;
    report.extend(board.report.clone());
    let scenario = board.scenario(boot)?;
    let mut text = String::new();
    let title = board.title.as_deref().unwrap_or(&board.name);
    let _ = writeln!(text, "{title}");
    let mut line = |key: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(text, "  {key:19}{value}");
        }
    };
    line("name", &board.name);
    line("SoC", board.soc.as_deref().unwrap_or_default());
    line("vendor", board.vendor.as_deref().unwrap_or_default());
    line("scenarios", &board.boot.keys().cloned().collect::<Vec<_>>().join(", "));
    if let Some(dtb) = &board.dtb {
        line("device tree", &format!("dtb/{}", dtb.path));
        line("  compatible", &dtb.compatible.join(" or "));
        line("  must be enabled", &dtb.require.join(", "));
        line("  overlays", &dtb.overlays.join(", "));
        line("  edits", &dtb.edits.join("; "));
    }
    if let Some(overlay) = &board.overlay {
        line("overlay", &overlay.name);
        line(
            "  options",
            &overlay.options.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" "),
        );
        line("  offset", &format!("{} LBAs", overlay.partition_offset));
        line("  kernel arguments", &overlay.kernel_args.join(" "));
    }
    line("Talos", target.version.as_str());
    line("boot loader", target.bootloader.name());
    line("image size", &format!("{} bytes", target.size));

    let mut layout = gpt::plan(&target.table(board.partition_offset())).map(|table| table.layout()).unwrap_or_default();
    let mut unknown = false;
    for file in scenario.iter().flat_map(|(_, scenario)| &scenario.files) {
        let start = file.at_sector.saturating_mul(SECTOR);
        let size = lock.find(&board.name, &file.source).map(|locked| locked.size);
        unknown |= size.is_none();
        let owner = if size.is_some() { file.source.clone() } else { format!("{} *", file.source) };
        layout.add(owner, start..start.saturating_add(size.unwrap_or(SECTOR)));
    }
    for area in &board.reserved {
        let start = area.at_sector.saturating_mul(SECTOR);
        layout.add(&area.name, start..start.saturating_add(area.sectors.saturating_mul(SECTOR)));
    }
    if let Some((name, _)) = scenario {
        let _ = writeln!(text, "\nlayout of scenario {name}:");
    } else {
        let _ = writeln!(text, "\nlayout:");
    }
    let _ = write!(text, "{}", draw(&layout, target.size));
    if unknown {
        let _ = writeln!(text, "* size known once the file is there; drawn as one sector");
    }
    if let Some(notice) = &board.notice {
        let _ = writeln!(text, "\n{notice}");
    }
    let data = serde_json::json!({
        "board": board,
        "talos": target.version.as_str(),
        "bootloader": target.bootloader.name(),
        "size": target.size,
        "scenario": scenario.map(|(name, _)| name),
        "layout": record::ranges(&layout),
    });
    Ok(Shown { text, data, report })
}
