//! The pages of `docs/boards/`: one a board, made of its file, with the notes that people wrote.

mod inputs;

use std::{fmt::Write as _, path::PathBuf};

use fs_err as fs;
use imgcore::{ByteSize, Finding};

use crate::{
    board::{self, Board, SECTOR, Scenario},
    body::Target,
    error::{Error, Exit, Result},
    home::Home,
    lock::{Defaults, Lock},
    request::Request,
    show::Drawing,
};

/// The folder of the pages, below the workspace's root.
const FOLDER: &str = "docs/boards";

/// Path below the workspace's root and text of every board's page.
///
/// # Errors
/// [`Exit::Usage`] for a board file that is not valid, [`Exit::Input`] for a note that is not there.
pub fn pages(home: &Home) -> Result<Vec<(PathBuf, String)>> {
    let lock = Lock::read(&home.boards)?;
    let defaults = Defaults::read(&home.boards)?;
    let mut pages = Vec::new();
    for name in board::names(&home.boards)? {
        let board = board::find(&home.boards, &name)?;
        let (target, _) = Target::decide(&Request::new(&name), &board, &defaults.talos)?;
        let path = PathBuf::from(FOLDER).join(format!("{name}.md"));
        pages.push((path, page(&board, &lock, &target) + &notes(home, &board)?));
    }
    Ok(pages)
}

/// The table of all boards, for the page about board files.
///
/// # Errors
/// [`Exit::Usage`] for a board file that is not valid.
pub fn index(home: &Home) -> Result<String> {
    let mut text =
        String::from("| Board | Name | SoC | Vendor | Scenarios | SPI | Taken from |\n|---|---|---|---|---|---|---|\n");
    for name in board::names(&home.boards)? {
        let board = board::find(&home.boards, &name)?;
        let scenarios: Vec<_> = board.boot.keys().map(String::as_str).collect();
        let _ = writeln!(
            text,
            "| [{}](boards/{name}.md) | `{name}` | {} | {} | {} | {} | {} |",
            board.title.as_deref().unwrap_or(&name),
            board.soc.as_deref().unwrap_or("–"),
            board.vendor.as_deref().unwrap_or("–"),
            scenarios.join(", "),
            if board.spi.is_some() { "yes" } else { "–" },
            board.upstream.as_deref().unwrap_or("–"),
        );
    }
    Ok(text)
}

fn page(board: &Board, lock: &Lock, target: &Target) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "# {}\n\n<!-- Made of boards/{}.toml and docs/boards/notes/ by `cargo xtask docs`; edit those. -->\n",
        board.title.as_deref().unwrap_or(&board.name),
        board.name
    );
    identity(&mut text, board);
    inputs::write(&mut text, board, lock);
    let _ = writeln!(text, "## Boot chain\n");
    let default = board.scenario(None).ok().flatten().map(|(name, _)| name);
    let mut scenarios: Vec<_> = board.boot.iter().collect();
    scenarios.sort_by_key(|(name, _)| Some(name.as_str()) != default);
    for (name, scenario) in scenarios {
        chain(&mut text, board, name, scenario);
        let drawing = Drawing::of(board, lock, target, Some(scenario));
        let _ = writeln!(text, "```text\n{}```\n", drawing.text);
    }
    device_tree(&mut text, board);
    kernel_arguments(&mut text, board);
    spi(&mut text, board);
    corrections(&mut text, board);
    text
}

fn identity(text: &mut String, board: &Board) {
    let _ = writeln!(text, "| | |\n|---|---|");
    let mut row = |key: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(text, "| {key} | {value} |");
        }
    };
    row("Board file", &format!("[`{0}`](../../boards/{0}.toml)", board.name));
    row("SoC", board.soc.as_deref().unwrap_or_default());
    row("Vendor", board.vendor.as_deref().unwrap_or_default());
    row("Taken from", board.upstream.as_deref().unwrap_or_default());
    row("U-Boot configuration", &board.defconfig.as_deref().map(code).unwrap_or_default());
    if let Some(overlay) = &board.overlay {
        row("Overlay", &code(&overlay.name));
        let options: Vec<_> = overlay.options.iter().map(|(key, value)| code(&format!("{key}={value}"))).collect();
        row("Overlay options", &options.join(" "));
        row("Partition offset", &format!("{} LBAs", overlay.partition_offset));
        row("Boot loader", overlay.bootloader.map(talosimg::Bootloader::name).unwrap_or_default());
    }
    for revision in &board.revisions {
        let strings: Vec<_> = revision.compatible.iter().map(|text| code(text)).collect();
        let parts = [strings.join(" "), revision.note.clone().unwrap_or_default()];
        let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        let said = if parts.is_empty() { "no tree tells it apart".to_owned() } else { parts.join("; ") };
        row(&format!("Revision {}", revision.name), &said);
    }
    text.push('\n');
    if let Some(notice) = &board.notice {
        let _ = writeln!(text, "**{notice}**\n");
    }
}

fn chain(text: &mut String, board: &Board, name: &str, scenario: &Scenario) {
    let default = board.scenario(None).ok().flatten().is_some_and(|(default, _)| default == name);
    let _ = writeln!(text, "### {name}{}\n", if default { " (default)" } else { "" });
    if scenario.files.is_empty() {
        let _ = writeln!(text, "Nothing is written in front of the partitions.\n");
        return;
    }
    let _ = writeln!(text, "| File | Sector | Byte | |\n|---|---:|---:|---|");
    for file in &scenario.files {
        let said = match file.at_sector {
            64 if scenario.files.len() == 1 => {
                "where the boot ROM looks; U-Boot's FIT lies in the same file, at sector 16384"
            }
            64 => "where the boot ROM looks",
            16384 if file.trim_copies => "where the SPL looks; only the first of its equal copies is written",
            16384 => "where the SPL looks",
            _ => "",
        };
        let byte = file.at_sector.saturating_mul(SECTOR);
        let _ = writeln!(text, "| `{}` | {} | {byte} | {said} |", file.source, file.at_sector);
    }
    for area in &board.reserved {
        let range = area.range();
        let within = area.within.as_ref().map_or_else(
            || "kept free".to_owned(),
            |file| format!("inside the padding of `{file}`: what is stored there is lost at every install and upgrade"),
        );
        let size = ByteSize(range.end.saturating_sub(range.start));
        let _ = writeln!(text, "| {} | {} | {} | {size}, {within} |", area.name, area.at_sector, range.start);
    }
    text.push('\n');
}

fn device_tree(text: &mut String, board: &Board) {
    let Some(dtb) = &board.dtb else { return };
    let codes = |words: &[String]| words.iter().map(|word| code(word)).collect::<Vec<_>>().join(", ");
    let _ = writeln!(text, "## Device tree\n\n| | |\n|---|---|\n| On the ESP | `dtb/{}` |", dtb.path);
    if !dtb.compatible.is_empty() {
        let _ = writeln!(text, "| `compatible`, one of | {} |", codes(&dtb.compatible));
    }
    if !dtb.require.is_empty() {
        let _ = writeln!(text, "| Must be enabled | {} |", codes(&dtb.require));
    }
    if !dtb.overlays.is_empty() {
        let _ = writeln!(text, "| Overlays, in this order | {} |", codes(&dtb.overlays));
    }
    if !dtb.edits.is_empty() {
        let _ = writeln!(text, "| Changes | {} |", codes(&dtb.edits));
    }
    text.push('\n');
}

fn kernel_arguments(text: &mut String, board: &Board) {
    let Some(overlay) = board.overlay.as_ref().filter(|overlay| !overlay.kernel_args.is_empty()) else { return };
    let _ =
        writeln!(text, "## Kernel arguments\n\nIn this order:\n\n```text\n{}\n```\n", overlay.kernel_args.join("\n"));
    let consoles: Vec<_> =
        overlay.kernel_args.iter().filter_map(|argument| argument.strip_prefix("console=")).collect();
    for console in &consoles {
        let _ = writeln!(text, "- `{console}`: {}", explain_console(console));
    }
    if let Some(last) = consoles.last() {
        let _ = writeln!(text, "- `/dev/console` is the last of them: `{last}`");
        text.push('\n');
    }
}

fn explain_console(console: &str) -> String {
    let (device, mode) = console.split_once(',').unwrap_or((console, ""));
    let digits = mode.len().saturating_sub(mode.trim_start_matches(|c: char| c.is_ascii_digit()).len());
    let speed = mode.get(..digits).filter(|speed| !speed.is_empty());
    let speed = speed.map(|speed| format!(" at {speed} baud")).unwrap_or_default();
    if let Some(number) = device.strip_prefix("ttyS") {
        return format!("UART {number}{speed}");
    }
    if device.starts_with("ttyFIQ") {
        return format!("the FIQ debugger of a vendor kernel{speed}; mainline kernels have none and skip it");
    }
    match device {
        "tty0" => "the screen, the virtual console in front".to_owned(),
        _ if device.starts_with("tty") && device.len() > 3 => "the screen, one virtual console".to_owned(),
        _ => "a device of the kernel".to_owned(),
    }
}

fn spi(text: &mut String, board: &Board) {
    let Some(spi) = &board.spi else { return };
    let size = spi.size.map(|size| format!(" The flash has {}.", ByteSize(size))).unwrap_or_default();
    let _ = writeln!(
        text,
        "## SPI flash\n\nU-Boot can start from SPI flash, which the boot ROM asks before eMMC and SD. A build makes `spi.bin` of the boot files, or \
         of\n`--source {}=FILE`; the installer's option `{}` leaves the boot files in front of the partitions out.{size}\n",
        spi.source, spi.option
    );
}

fn corrections(text: &mut String, board: &Board) {
    if board.corrects.is_empty() {
        return;
    }
    let upstream = board.upstream.as_deref().unwrap_or("upstream");
    let _ = writeln!(text, "## Corrections\n\nEach build reports these (`BRD010`).\n");
    let _ = writeln!(text, "| What | {upstream} | Here | Why |\n|---|---|---|---|");
    for correction in &board.corrects {
        let _ = writeln!(
            text,
            "| `{}` | `{}` | `{}` | {} |",
            correction.what.key(),
            correction.upstream,
            correction.here,
            correction.why
        );
    }
    text.push('\n');
}

/// The board's own notes, if it has any, and the shared ones it names, as they are.
fn notes(home: &Home, board: &Board) -> Result<String> {
    let folder = home.root.join(FOLDER).join("notes");
    let mut text = String::new();
    let own = folder.join(format!("{}.md", board.name));
    if own.is_file() {
        text.push_str(&fs::read_to_string(own)?);
    }
    for name in &board.notes {
        let path = folder.join(format!("{name}.md"));
        if !path.is_file() {
            let finding = Finding::error("SRC001", format!("{}: no note {name}: {}", board.name, path.display()))
                .help("write the note, or take its name out of `notes` in the board file");
            return Err(Error::new(Exit::Input, finding));
        }
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str(&fs::read_to_string(path)?);
    }
    Ok(text)
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consoles_are_explained() {
        for (console, expected) in [
            ("ttyS2,1500000n8", "UART 2 at 1500000 baud"),
            ("ttyS9,115200", "UART 9 at 115200 baud"),
            ("ttyS2", "UART 2"),
            ("tty0", "the screen, the virtual console in front"),
            ("tty1", "the screen, one virtual console"),
            ("hvc0", "a device of the kernel"),
        ] {
            assert_eq!(explain_console(console), expected);
        }
        assert!(explain_console("ttyFIQ0,1500000n8").starts_with("the FIQ debugger"));
    }

    #[test]
    fn a_note_that_is_not_there_is_named() {
        let root = tempfile::tempdir().unwrap();
        let home = Home { root: root.path().to_path_buf(), boards: root.path().join("boards") };
        let text = "name = \"b\"\nnotes = [\"soc/rk3588\"]";
        let board = Board::parse("b.toml", "b", root.path(), text).unwrap();
        let error = notes(&home, &board).unwrap_err();
        assert_eq!(error.exit_code(), 3);
        assert!(error.to_string().contains("no note soc/rk3588"), "{error}");
    }
}
