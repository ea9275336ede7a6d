//! The real lock file: it knows every origin of every board file, and the bytes of every public file of the test data.
#![allow(clippy::unwrap_used, reason = "a test")]

use std::collections::{BTreeMap, BTreeSet};

use boardbuild::{Digest, Lock, board};

/// One row of `testdata/MANIFEST.md`: origin, commit or version, path at the origin, size, SHA-256.
struct Row {
    file: String,
    origin: String,
    version: String,
    path: String,
    size: u64,
    sha256: Digest,
}

fn rows(manifest: &str) -> Vec<Row> {
    let cells = |line: &str| -> Vec<String> {
        line.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect()
    };
    manifest
        .lines()
        .filter(|line| line.starts_with('|'))
        .map(cells)
        .filter(|cells| cells.len() == 7 && cells[6].len() == 64)
        .map(|cells| Row {
            file: cells[0].clone(),
            origin: cells[1].clone(),
            version: cells[2].clone(),
            path: cells[3].clone(),
            size: cells[5].parse().unwrap(),
            sha256: cells[6].parse().unwrap(),
        })
        .collect()
}

#[test]
fn every_public_file_of_the_test_data_is_locked_by_its_origin() {
    let Some(manifest) = testkit::shared("testdata/MANIFEST.md") else { return };
    let lock = Lock::read(&testkit::workspace().join("boards")).unwrap();
    let rows = rows(&fs_err::read_to_string(manifest).unwrap());
    assert!(rows.len() >= 44, "{} rows", rows.len());
    for Row { file, origin, version, path, size, sha256 } in rows {
        let found: Vec<_> = lock.sources.iter().filter(|locked| locked.sha256 == sha256).collect();
        let [locked] = found[..] else { panic!("{file}: locked {} times", found.len()) };
        assert_eq!(locked.size, size, "{file}");
        assert!(locked.licence.is_some(), "{file}");
        if let Some(package) = origin.strip_prefix("Debian package ") {
            // The address of the package is its SHA-1; what it is called is not in it.
            assert!(locked.origin.starts_with(&format!("{path} of https://snapshot.debian.org/file/")), "{file}");
            assert!(locked.from.as_ref().unwrap().unpacked.is_some(), "{file} of {package}");
        } else {
            let url = format!("https://raw.githubusercontent.com/{origin}/{version}/{path}");
            assert_eq!(locked.origin, url, "{file}");
            assert_eq!(version.len(), 40, "{file}: no commit");
        }
    }
}

/// What the board files name and the lock file knows are the same inputs from the same places.
#[test]
fn every_origin_of_every_board_is_locked_or_said_to_be_unresolved() {
    let boards = testkit::workspace().join("boards");
    let lock = Lock::read(&boards).unwrap();
    let mut named = BTreeMap::new();
    let all = board::names(&boards).unwrap().into_iter().map(|name| board::find(&boards, &name).unwrap());
    for board in all.chain(board::files(&boards).unwrap()) {
        for (role, origin) in board.sources.iter().filter(|(_, origin)| origin.is_published()) {
            named.insert((board.name.clone(), role.clone()), (origin.place(), origin.licence.clone()));
        }
    }
    let known: BTreeMap<_, _> = lock
        .sources
        .iter()
        .map(|locked| (&locked.board, &locked.name, &locked.origin, &locked.licence))
        .chain(lock.unresolved.iter().map(|open| (&open.board, &open.name, &open.origin, &open.licence)))
        .map(|(board, name, origin, licence)| ((board.clone(), name.clone()), (origin.clone(), licence.clone())))
        .collect();
    assert_eq!(named, known);
    assert!(lock.epoch.is_some());
}

#[test]
fn the_file_is_written_as_it_would_be_written_again() {
    let boards = testkit::workspace().join("boards");
    let text = fs_err::read_to_string(boards.join(Lock::FILE)).unwrap();
    assert_eq!(Lock::parse(Lock::FILE, &text).unwrap().to_text(), text);
}

#[test]
fn what_belongs_to_no_board_is_no_board() {
    let boards = testkit::workspace().join("boards");
    assert!(!board::names(&boards).unwrap().iter().any(|name| name == board::FILES));
    let error = board::find(&boards, board::FILES).unwrap_err();
    assert!(error.to_string().contains("files of no board"), "{error}");
    let files = board::files(&boards).unwrap().unwrap();
    assert!(files.boot.is_empty() && files.dtb.is_none());
    let places: BTreeSet<_> = files.sources.values().map(board::Origin::place).collect();
    assert_eq!(places.len(), files.sources.len(), "one file under two names");
}
