//! One board for people: its data and its layout drawn to scale.

use std::fmt::Write as _;

use imgcore::{ByteSize, Layout, Report};
use rawimg::gpt;

use crate::{
    board::{self, Board, Origin, SECTOR, Scenario},
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
    line("revisions", &board.revisions.iter().map(|revision| revision.name.as_str()).collect::<Vec<_>>().join(", "));
    line("SoC", board.soc.as_deref().unwrap_or_default());
    line("vendor", board.vendor.as_deref().unwrap_or_default());
    line("taken from", board.upstream.as_deref().unwrap_or_default());
    line("U-Boot", board.defconfig.as_deref().unwrap_or_default());
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
    if let Some(spi) = &board.spi {
        let size = spi.size.map(|size| format!(", {}", ByteSize(size))).unwrap_or_default();
        line(
            "SPI flash",
            &format!("input {}{size}; --option {}=true leaves the boot files out", spi.source, spi.option),
        );
    }
    line("Talos", target.version.as_str());
    line("boot loader", target.bootloader.name());
    line("image size", &format!("{} bytes", target.size));

    let inputs = inputs(&board, &lock);
    if !inputs.is_empty() {
        let _ = writeln!(text, "\ninputs:");
        for Source { role, place, bytes } in &inputs {
            let _ = writeln!(text, "  {role:19}{bytes}\n  {:19}{place}", "");
        }
    }
    if let Some((name, _)) = scenario {
        let _ = writeln!(text, "\nlayout of scenario {name}:");
    } else {
        let _ = writeln!(text, "\nlayout:");
    }
    let drawing = Drawing::of(&board, &lock, &target, scenario.map(|(_, scenario)| scenario));
    text.push_str(&drawing.text);
    if let Some(notice) = &board.notice {
        let _ = writeln!(text, "\n{notice}");
    }
    let data = serde_json::json!({
        "board": board,
        "talos": target.version.as_str(),
        "bootloader": target.bootloader.name(),
        "size": target.size,
        "scenario": scenario.map(|(name, _)| name),
        "layout": record::ranges(&drawing.layout),
        "inputs": inputs,
        "installer": installer(&board, scenario.map(|(_, scenario)| scenario)),
    });
    Ok(Shown { text, data, report })
}

/// An input and what is known about its bytes.
#[derive(Debug, serde::Serialize)]
struct Source {
    role: String,
    /// Where it comes from; empty when nobody publishes it.
    place: String,
    /// Size and digest, or why they are not known.
    bytes: String,
}

fn inputs(board: &Board, lock: &Lock) -> Vec<Source> {
    let source = |(role, origin): (&String, &Origin)| {
        let bytes = match (lock.find(&board.name, role), lock.find_unresolved(&board.name, role)) {
            (Some(locked), _) => format!("{} bytes, {}", locked.size, locked.sha256),
            (None, Some(open)) => format!("not resolved yet: {}", open.why),
            (None, None) if origin.is_published() => "not resolved yet: no build has used it".to_owned(),
            (None, None) => "published nowhere: give it as --source".to_owned(),
        };
        let place = origin.place();
        let place = if place.is_empty() { origin.note.clone().unwrap_or_default() } else { place };
        Source { role: role.clone(), place, bytes }
    };
    board.sources.iter().map(source).collect()
}

/// What the installer of this board's overlay answers and writes, the shape in which overlays are compared.
fn installer(board: &Board, scenario: Option<&Scenario>) -> serde_json::Value {
    let Some(overlay) = &board.overlay else { return serde_json::Value::Null };
    let writes = scenario.into_iter().flat_map(|scenario| &scenario.files);
    // Where the recorded overlay has the file, below its folder `artifacts`.
    let artifact = |role: &str| {
        let file = board.sources.get(role).and_then(|origin| origin.file.as_deref())?;
        Some(file.strip_prefix("artifacts/").unwrap_or(file).to_owned())
    };
    let artifacts: Vec<_> = scenario
        .into_iter()
        .flat_map(|scenario| &scenario.files)
        .map(|file| file.source.as_str())
        .chain(board.dtb.iter().map(|dtb| dtb.source.as_str()))
        .filter_map(|role| Some((role.to_owned(), artifact(role)?)))
        .collect();
    serde_json::json!({
        "artifacts": artifacts.into_iter().collect::<std::collections::BTreeMap<_, _>>(),
        "options": overlay.options,
        "spiOption": board.spi.as_ref().map(|spi| &spi.option),
        "name": overlay.name,
        "kernelArgs": overlay.kernel_args,
        "partitionOffset": overlay.partition_offset,
        "esp": board.dtb.iter().map(|dtb| format!("dtb/{}", dtb.path)).collect::<Vec<_>>(),
        "writes": writes.map(|file| serde_json::json!([file.at_sector, file.source])).collect::<Vec<_>>(),
    })
}

/// The layout of a scenario, as far as the sizes of its files are known.
#[derive(Debug)]
pub(crate) struct Drawing {
    /// Every range of the medium.
    pub(crate) layout: Layout,
    /// The picture, the legend of its marks included.
    pub(crate) text: String,
}

impl Drawing {
    /// Draws a scenario on the medium of an image.
    pub(crate) fn of(board: &Board, lock: &Lock, target: &Target, scenario: Option<&Scenario>) -> Self {
        let table = gpt::plan(&target.table(board.partition_offset()));
        let mut layout = table.map(|table| table.layout()).unwrap_or_default();
        let (mut measured, mut unknown) = (false, false);
        for file in scenario.into_iter().flat_map(|scenario| &scenario.files) {
            let start = file.at_sector.saturating_mul(SECTOR);
            let locked = lock.find(&board.name, &file.source).map(|locked| locked.size);
            let known = board.sources.get(&file.source).and_then(|origin| origin.size);
            let (mark, size) = match (locked, known) {
                (Some(size), _) => ("", size),
                (None, Some(size)) => (" ~", size),
                (None, None) => (" *", SECTOR),
            };
            measured |= mark == " ~";
            unknown |= mark == " *";
            layout.add(format!("{}{mark}", file.source), start..start.saturating_add(size));
        }
        for area in &board.reserved {
            layout.add(&area.name, area.range());
        }
        let mut text = draw(&layout, target.size);
        if measured {
            text.push_str("~ size of a file that was measured once; yours decides\n");
        }
        if unknown {
            text.push_str("* size known once the file is there; drawn as one sector\n");
        }
        Self { layout, text }
    }
}
