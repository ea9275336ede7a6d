//! The part of a board's page that says how to build and where each input comes from.

use std::fmt::Write as _;

use imgcore::ByteSize;

use super::code;
use crate::{
    board::{Apt, Board, Origin},
    lock::Lock,
};

/// The command that builds the default scenario, and where its inputs are.
pub(super) fn write(text: &mut String, board: &Board, lock: &Lock) {
    let scenario = board.scenario(None).ok().flatten();
    let mut roles: Vec<&str> = Vec::new();
    for file in scenario.iter().flat_map(|(_, scenario)| &scenario.files) {
        roles.push(&file.source);
    }
    roles.extend(board.dtb.iter().flat_map(crate::board::Dtb::roles));
    let published = |role: &str| board.sources.get(role).is_some_and(Origin::is_published);
    let (fetched, given): (Vec<&str>, Vec<&str>) = roles.iter().partition(|role| published(role));
    let _ = writeln!(text, "## Build\n\n```sh\n{}\n```\n", command(board, &given));
    if board.sources.is_empty() {
        return;
    }
    let open: Vec<&str> =
        fetched.into_iter().filter(|role| lock.find_unresolved(&board.name, role).is_some()).collect();
    if !open.is_empty() {
        let names: Vec<_> = open.iter().map(|role| code(role)).collect();
        let _ = writeln!(
            text,
            "Nobody has seen the bytes of {} yet: the first build with a network fetches {} and writes the digest to \
             [`boards/sources.lock`](../../boards/sources.lock); see [sources](../sources.md). With files of your own:\n\n```sh\n{}\n```\n",
            names.join(", "),
            if open.len() == 1 { "it" } else { "them" },
            command(board, &roles)
        );
    }
    let _ = writeln!(text, "| Input | Where it is | Bytes |\n|---|---|---|");
    for (role, origin) in &board.sources {
        let parts = [place(origin), origin.note.clone().unwrap_or_default()];
        let parts: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        let _ = writeln!(text, "| `{role}` | {} | {} |", parts.join(". "), bytes(board, lock, role, origin));
    }
    text.push('\n');
}

fn command(board: &Board, given: &[&str]) -> String {
    let mut command = format!("cargo xtask image {}", board.name);
    for role in given {
        let file = board.sources.get(*role).map_or("FILE", Origin::file_name);
        let _ = write!(command, " \\\n    --source {role}={file}");
    }
    command
}

fn bytes(board: &Board, lock: &Lock, role: &str, origin: &Origin) -> String {
    if let Some(locked) = lock.find(&board.name, role) {
        let digest: String = locked.sha256.hex().chars().take(12).collect();
        return format!("{}, sha256 {digest}…", ByteSize(locked.size));
    }
    if origin.is_published() { "not resolved yet" } else { "yours" }.to_owned()
}

fn place(origin: &Origin) -> String {
    let place = match (&origin.path, &origin.url, &origin.image, &origin.apt) {
        (Some(path), ..) => code(path),
        (None, Some(url), ..) => format!("<{url}>"),
        (None, None, Some(image), _) => {
            format!("{} of the image {}", code(origin.file.as_deref().unwrap_or_default()), code(image))
        }
        (None, None, None, Some(Apt { url, suite, component, package, .. })) => {
            format!("the package {} of <{url}> {suite} {component}", code(package))
        }
        (None, None, None, None) => return String::new(),
    };
    let place = origin.member.as_ref().map_or(place.clone(), |member| format!("{} of {place}", code(member)));
    match origin.range {
        Some(range) => match range.length {
            Some(length) => format!("{length} bytes at {} of {place}", range.offset),
            None => format!("the bytes from {} of {place}", range.offset),
        },
        None => place,
    }
}
