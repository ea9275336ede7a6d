//! The two commands.

#![allow(clippy::disallowed_methods, reason = "each error here names the path and what it means to the user")]

mod artifacts;
mod boot;
mod catalog;
mod disk;
mod esp;
mod placement;

use std::{
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result, bail};
use talosimg::overlay::{self, ExtraOptions, InstallOptions};

const USAGE: &str = "\
The installer of a Talos overlay image. Talos' imager and installer call it; it reads ../artifacts/overlay.json
beside itself and the request from standard input.

Usage: COMMAND < REQUEST

  get-options   overlay options in (YAML map, may be empty), the board's options out (YAML)
  install       installDisk, mountPrefix, artifactsPath, extraOptions in (YAML); writes boot files and device trees
  --version     print the version
  --help        print this text
";

/// Requests have a few hundred bytes.
const REQUEST_LIMIT: u64 = 1 << 20;

/// Does what the arguments say; the protocol knows success and failure only, so 2 is for people.
pub(crate) fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["get-options"] => get_options(),
        ["install"] => install(),
        ["--version" | "-V"] => print(concat!("overlay-installer ", env!("CARGO_PKG_VERSION"), "\n")),
        ["--help" | "-h"] => print(USAGE),
        words => return usage(words),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("error: {error:#}\n"));
            ExitCode::from(1)
        }
    }
}

fn usage(words: &[&str]) -> ExitCode {
    let problem = match words {
        [] => "no command".to_owned(),
        [command @ ("get-options" | "install"), ..] => format!("{command} takes no arguments, only standard input"),
        [stranger, ..] => {
            let near = imgcore::nearest(stranger, ["get-options", "install", "--version", "--help"]);
            let hint = near.map(|near| format!(": did you mean `{near}`?")).unwrap_or_default();
            format!("unknown command `{}`{hint}", stranger.escape_debug())
        }
    };
    complain(&format!("error: {problem}\n\n{USAGE}"));
    ExitCode::from(2)
}

fn get_options() -> Result<()> {
    let extra = ExtraOptions::parse(&request()?)?;
    let overlay = catalog::read()?;
    let board = overlay::select(&overlay, &extra)?;
    print(&overlay::get_options(board).to_yaml()?)
}

fn install() -> Result<()> {
    let request = InstallOptions::parse(&request()?)?;
    let overlay = catalog::read()?;
    let mut board = overlay::select(&overlay, &request.extra_options)?.clone();
    if overlay::boots_from_spi(&board, &request.extra_options) {
        // The boot loader in SPI flash starts the board; whatever lies in front of the partitions stays.
        board.files.clear();
    }
    let board = &board;

    let artifacts = artifacts::load(Path::new(&request.artifacts_path), board)?;
    let disk = if board.files.is_empty() {
        None
    } else {
        let disk = disk::Disk::open(Path::new(&request.install_disk))?;
        placement::check(board, &disk).with_context(|| format!("nothing was written to {}", disk.name()))?;
        Some(disk)
    };

    let root = esp_root(&request.mount_prefix);
    for (file, bytes) in board.esp.iter().zip(&artifacts.esp) {
        esp::place(&root, &file.destination, bytes)?;
    }
    if let Some(disk) = disk {
        boot::write(&disk, &board.files, &artifacts.boot)?;
    }
    Ok(())
}

/// Where the ESP is seen: mounted, or in imager 1.13 a plain folder that is copied into it afterwards.
fn esp_root(mount_prefix: &str) -> PathBuf {
    // On a node the prefix is empty and the path absolute.
    PathBuf::from(format!("{mount_prefix}/boot/EFI"))
}

fn request() -> Result<String> {
    let mut text = String::new();
    io::stdin().lock().take(REQUEST_LIMIT + 1).read_to_string(&mut text).context("cannot read standard input")?;
    if text.len() as u64 > REQUEST_LIMIT {
        bail!("the request on standard input has more than {REQUEST_LIMIT} bytes, expected a few hundred");
    }
    Ok(text)
}

fn print(text: &str) -> Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("cannot write to standard output")
}

fn complain(text: &str) {
    // Nobody is left to tell when standard error is closed.
    let _ = io::stderr().lock().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_esp_is_below_the_prefix_or_at_the_root() {
        for (prefix, root) in [
            ("", "/boot/EFI"),
            ("image", "image/boot/EFI"),
            ("/tmp/a/image", "/tmp/a/image/boot/EFI"),
            ("/", "/boot/EFI"),
        ] {
            assert_eq!(esp_root(prefix), Path::new(root), "{prefix}");
        }
    }
}
