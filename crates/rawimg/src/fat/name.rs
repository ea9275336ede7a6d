//! Names: what FAT allows, and the short name that stands behind every long one (Microsoft FAT specification 1.03,
//! pages 27 to 33).

use std::collections::{BTreeMap, BTreeSet};

use crate::{Error, ErrorKind};

/// An 8.3 name: base and extension, both padded with spaces.
pub(super) type ShortName = [u8; 11];

/// A path into its components.
pub(super) fn components(path: &str) -> Result<Vec<&str>, Error> {
    let bad = |problem: String| ErrorKind::FatPath { path: path.to_owned(), problem }.into();
    let parts: Vec<&str> = path.strip_prefix('/').unwrap_or(path).split('/').collect();
    if parts.len() > 60 {
        return Err(bad(format!("{} levels deep, at most 60 are written", parts.len())));
    }
    for part in &parts {
        if let Some(problem) = problem(part) {
            return Err(bad(problem));
        }
    }
    Ok(parts)
}

fn problem(name: &str) -> Option<String> {
    if name.is_empty() {
        return Some("a component is empty".to_owned());
    }
    if name.ends_with(['.', ' ']) {
        return Some(format!("{name:?} ends with a dot or a space, which FAT drops"));
    }
    if let Some(bad) = name.chars().find(|c| u32::from(*c) < 0x20 || "\"*/:<>?\\|\u{7f}".contains(*c)) {
        return Some(format!("{name:?} contains {bad:?}, which FAT forbids"));
    }
    let units = name.encode_utf16().count();
    (units > 255).then(|| format!("a component has {units} UTF-16 units, at most 255 fit"))
}

/// The name as readers compare it: without regard to case, unit by unit.
pub(super) fn fold(name: &str) -> String {
    name.chars()
        .map(|c| {
            let mut upper = c.to_uppercase();
            // One that becomes several (ß) is itself on FAT.
            match (upper.next(), upper.next()) {
                (Some(one), None) => one,
                _ => c,
            }
        })
        .collect()
}

/// Short names for all names of a directory, in their order: exact where the name is one but for case, else with a
/// numeric tail that depends on nothing but the names and their order.
pub(super) fn short_names<'a>(names: impl Iterator<Item = &'a str> + Clone) -> Vec<ShortName> {
    let bases: Vec<Basis> = names.map(Basis::of).collect();
    // Exact names first, so that no tail takes one that comes later in the directory.
    let mut used: BTreeSet<ShortName> =
        bases.iter().filter(|basis| !basis.lossy).map(|basis| pad(&basis.base, &basis.extension)).collect();
    let mut next: BTreeMap<ShortName, u32> = BTreeMap::new();
    bases
        .into_iter()
        .map(|basis| {
            let plain = pad(&basis.base, &basis.extension);
            if !basis.lossy {
                return plain;
            }
            let counter = next.entry(plain).or_insert(0);
            loop {
                *counter += 1;
                let tail = format!("~{counter}");
                let keep = basis.base.len().min(8_usize.saturating_sub(tail.len()));
                let candidate = pad(&[&basis.base[..keep], tail.as_bytes()].concat(), &basis.extension);
                if used.insert(candidate) {
                    return candidate;
                }
            }
        })
        .collect()
}

/// Whether the name needs long entries beside its short one: anything but an upper-case 8.3 name. The case bits that
/// Windows NT keeps in the short entry are not used: some firmware ignores them, and case must survive.
pub(super) fn needs_long(name: &str, short: &ShortName) -> bool {
    display(short) != name
}

/// `BASE.EXT`.
fn display(short: &ShortName) -> String {
    let text = |bytes: &[u8]| bytes.iter().map(|byte| char::from(*byte)).collect::<String>().trim_end().to_owned();
    let (base, extension) = (text(&short[..8]), text(&short[8..]));
    if extension.is_empty() { base } else { format!("{base}.{extension}") }
}

/// The checksum that ties long entries to their short one.
pub(super) fn checksum(short: &ShortName) -> u8 {
    short.iter().fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte))
}

struct Basis {
    base: Vec<u8>,
    extension: Vec<u8>,
    lossy: bool,
}

impl Basis {
    fn of(name: &str) -> Self {
        let trimmed = name.trim_start_matches('.');
        let (base, extension) = trimmed.rsplit_once('.').unwrap_or((trimmed, ""));
        let mut lossy = trimmed.len() != name.len();
        let mut convert = |text: &str, limit: usize| {
            let mut bytes: Vec<u8> = Vec::new();
            for c in text.chars() {
                match c {
                    ' ' | '.' => lossy = true,
                    'a'..='z' | 'A'..='Z' | '0'..='9' => bytes.push(ascii(c.to_ascii_uppercase())),
                    _ if "!#$%&'()-@^_`{}~".contains(c) => bytes.push(ascii(c)),
                    _ => {
                        lossy = true;
                        bytes.push(b'_');
                    }
                }
            }
            if bytes.len() > limit {
                lossy = true;
                bytes.truncate(limit);
            }
            bytes
        };
        let (base, extension) = (convert(base, 8), convert(extension, 3));
        if base.is_empty() {
            return Self { base: b"_".to_vec(), extension, lossy: true };
        }
        Self { base, extension, lossy }
    }
}

fn ascii(c: char) -> u8 {
    u8::try_from(c).unwrap_or(b'_')
}

fn pad(base: &[u8], extension: &[u8]) -> ShortName {
    let mut short = [b' '; 11];
    for (to, from) in short[..8].iter_mut().zip(base) {
        *to = *from;
    }
    for (to, from) in short[8..].iter_mut().zip(extension) {
        *to = *from;
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_exact_or_numbered() {
        let names = [
            "BOOTAA64.efi",
            "LONGNA~1.TXT",
            "README",
            "Talos-v1.10.6.efi",
            "a+b.c",
            "longname one.txt",
            "longname two.text",
            ".config",
            "é",
            "rk3588s-nanopi-m6.dtb",
            "file.",
            "...x",
        ];
        let shorts: Vec<String> = short_names(names.iter().copied()).iter().map(display).collect();
        assert_eq!(
            shorts,
            [
                "BOOTAA64.EFI",
                "LONGNA~1.TXT",
                "README",
                "TALOS-~1.EFI",
                "A_B~1.C",
                "LONGNA~2.TXT",
                "LONGNA~1.TEX",
                "CONFIG~1",
                "_~1",
                "RK3588~1.DTB",
                "FILE",
                "X~1",
            ]
        );
        let many: Vec<String> = (0..2000).map(|i| format!("very long name {i}")).collect();
        let shorts: BTreeSet<_> = short_names(many.iter().map(String::as_str)).into_iter().collect();
        assert_eq!(shorts.len(), 2000);
    }

    #[test]
    fn names_that_fat_cannot_hold_are_refused() {
        for bad in ["", "a//b", "a/", "a.", "a ", "..", ".", "a/../b", "a:b", "a*", "\u{1}", "a\\b", &"x".repeat(256)] {
            assert!(components(bad).is_err(), "{bad:?}");
        }
        for good in ["/a/b", "a", "ß", ".a", "+,;=[]", &"x".repeat(255), "😀"] {
            assert!(components(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn the_checksum_of_the_specification() {
        // As the reference code on page 28 has it.
        let reference = |name: &ShortName| {
            name.iter().fold(0_u8, |sum, byte| {
                (if sum & 1 == 1 { 0x80_u8 } else { 0 }).wrapping_add(sum >> 1).wrapping_add(*byte)
            })
        };
        for name in [b"           ", b"RK3588~1DTB", b"\xff\x01\xfe~~~~~~~~"] {
            assert_eq!(checksum(name), reference(name));
        }
    }
}
