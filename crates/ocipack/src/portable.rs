//! Names that are two files on Linux and one file, or no file, elsewhere.

use unicode_normalization::UnicodeNormalization as _;

/// The form in which a file system that ignores case and Unicode form (APFS, NTFS, HFS+) compares names.
pub(crate) fn fold(path: &str) -> String {
    if path.is_ascii() {
        return path.to_ascii_lowercase();
    }
    // Upper case first, so that `ß` meets `ss` and `ſ` meets `s`.
    path.nfd().flat_map(char::to_uppercase).flat_map(char::to_lowercase).nfc().collect()
}

/// What keeps a path from existing on Windows, or makes it another path there.
pub(crate) fn problem(path: &str) -> Option<&'static str> {
    if path.contains('\\') {
        return Some("holds a backslash, which separates folders on Windows");
    }
    path.split('/').find_map(component_problem)
}

/// Whether Windows takes a name for a device.
pub(crate) fn is_device(name: &str) -> bool {
    // Win32 drops trailing dots and spaces, and knows devices with any extension: `nul.txt` is the null device.
    let stem = name.split('.').next().unwrap_or(name).trim_end_matches(' ');
    match stem.to_ascii_lowercase().as_str() {
        "con" | "prn" | "aux" | "nul" | "conin$" | "conout$" => true,
        lower => ["com", "lpt"].iter().any(|port| {
            lower.strip_prefix(port).is_some_and(|number| {
                let mut digits = number.chars();
                matches!((digits.next(), digits.next()), (Some('0'..='9' | '¹' | '²' | '³'), None))
            })
        }),
    }
}

fn component_problem(name: &str) -> Option<&'static str> {
    if is_device(name) {
        return Some("has the name of a Windows device");
    }
    if name.ends_with(['.', ' ']) {
        return Some("ends in a dot or a space, which Windows drops");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_names_are_known_in_every_spelling() {
        for bad in ["nul", "a/CON", "aux.c", "x/Com1.dtb/y", "LPT9", "com¹", "nul .txt", "a.", "dir /x", "a\\b"] {
            assert!(problem(bad).is_some(), "{bad}");
        }
        for good in ["null", "a/console", "com", "com10", "lpt", ".hidden", "a.b", "auxiliary/x", "rk3588.dtb"] {
            assert_eq!(problem(good), None, "{good}");
        }
    }

    #[test]
    fn folding_ignores_case_and_unicode_form() {
        for (a, b) in [("A/b", "a/B"), ("é", "e\u{301}"), ("É", "e\u{301}"), ("straße", "STRASSE"), ("K", "k")] {
            assert_eq!(fold(a), fold(b), "{a} {b}");
        }
        assert_ne!(fold("a"), fold("b"));
    }
}
