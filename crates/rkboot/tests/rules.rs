//! Every finding has a test that makes it, as far as the names of the codes in the tests tell.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test reads the sources of the tests")]

use std::path::Path;

/// The text of all tests: `tests/*.rs`, and what stands behind `#[cfg(test)]` in the sources.
fn tests(folder: &Path, all: bool, text: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests(&path, all, text);
        } else if path.extension().is_some_and(|ending| ending == "rs" || (all && ending == "txt")) {
            let source = std::fs::read_to_string(&path).unwrap();
            let from = if all { Some(0) } else { source.find("#[cfg(test)]") };
            text.push_str(from.and_then(|from| source.get(from..)).unwrap_or_default());
        }
    }
}

#[test]
fn every_code_occurs_in_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut text = String::new();
    tests(&root.join("tests"), true, &mut text);
    tests(&root.join("src"), false, &mut text);
    let missing: Vec<_> = rkboot::RULES.iter().map(|(code, ..)| *code).filter(|code| !text.contains(code)).collect();
    assert!(missing.is_empty(), "no test makes {missing:?}");
}
