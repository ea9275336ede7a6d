//! What a foreign path means inside an image, if it means anything.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use crate::rules;

/// PATH_MAX of Linux with its NUL.
const PATH_LIMIT: usize = 4095;
/// NAME_MAX of Linux.
const NAME_LIMIT: usize = 255;
/// Deeper than any real tree; keeps work per entry small.
const DEPTH_LIMIT: usize = 128;

/// A broken rule: its code and what is wrong.
pub(crate) type Problem = (&'static str, &'static str);

/// The path with `.` and empty names taken out; empty for the root itself.
pub(crate) fn clean(raw: &[u8]) -> Result<String, Problem> {
    let text = std::str::from_utf8(raw).map_err(|_| (rules::ENTRY_PATH, "is not UTF-8"))?;
    if text.is_empty() {
        return Err((rules::ENTRY_PATH, "is empty"));
    }
    if text.starts_with('/') {
        return Err((rules::ENTRY_PATH, "is absolute"));
    }
    if text.contains('\0') {
        return Err((rules::ENTRY_PATH, "holds a NUL"));
    }
    if text.len() > PATH_LIMIT {
        return Err((rules::ENTRY_LENGTH, "is longer than 4095 bytes"));
    }
    let mut names = Vec::new();
    for name in text.split('/') {
        match name {
            "" | "." => {}
            ".." => return Err((rules::ENTRY_PATH, "holds `..`, which leaves the folder it is in")),
            _ if name.len() > NAME_LIMIT => return Err((rules::ENTRY_LENGTH, "holds a name longer than 255 bytes")),
            _ => names.push(name),
        }
    }
    if names.len() > DEPTH_LIMIT {
        return Err((rules::ENTRY_LENGTH, "is more than 128 levels deep"));
    }
    Ok(names.join("/"))
}

/// Where a symbolic link at `path` leads: the path inside the image. An absolute target starts at the image's root.
/// `None` if it climbs above the root.
pub(crate) fn follow(path: &str, target: &str) -> Option<String> {
    let mut names: Vec<&str> = if target.starts_with('/') { Vec::new() } else { path.split('/').collect() };
    names.pop();
    for name in target.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()?),
            _ => names.push(name),
        }
    }
    Some(names.join("/"))
}

/// Folder and last name.
pub(crate) fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn harmless_spellings_are_cleaned_and_others_refused() {
        for (raw, expected) in [
            ("a/b", Ok("a/b")),
            ("./a//b/", Ok("a/b")),
            ("./", Ok("")),
            (".", Ok("")),
            ("a/./b", Ok("a/b")),
            ("", Err("empty")),
            ("/a", Err("absolute")),
            ("a/../b", Err("`..`")),
            ("..", Err("`..`")),
            ("a\0b", Err("NUL")),
        ] {
            match (clean(raw.as_bytes()), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{raw:?}"),
                (Err((_, found)), Err(expected)) => assert!(found.contains(expected), "{raw:?}: {found}"),
                (found, _) => panic!("{raw:?}: {found:?}"),
            }
        }
        assert!(clean(b"\xff").is_err() && clean(&[b'a'; 256]).is_err());
        assert!(clean("a/".repeat(129).as_bytes()).is_err() && clean("ab/".repeat(1400).as_bytes()).is_err());
    }

    #[test]
    fn links_stay_inside() {
        for (path, target, expected) in [
            ("a/b", "c", Some("a/c")),
            ("a/b", "../c", Some("c")),
            ("a/b", "../../c", None),
            ("a/b", "/c/./d", Some("c/d")),
            ("a", "..", None),
            ("a", "/..", None),
            ("a/b", "..", Some("")),
        ] {
            assert_eq!(follow(path, target).as_deref(), expected, "{path} -> {target}");
        }
    }
}
