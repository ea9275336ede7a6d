//! Release names.

use std::{fmt, str::FromStr};

use crate::error::{Error, ErrorKind, Result};

/// A Talos release: the text as it was given, used verbatim in names, and its numbers, used by rules.
///
/// Pre-release and build parts never change a rule (`spec/talos-image.md` §4).
///
/// ```
/// let version: talosimg::Version = "v1.10.6-nanopi-m6".parse()?;
/// assert_eq!((version.as_str(), version.minor()), ("v1.10.6-nanopi-m6", (1, 10)));
/// # Ok::<(), talosimg::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    text: String,
    numbers: [u64; 3],
}

impl Version {
    /// Reads a semantic version with or without a leading `v`.
    pub fn parse(text: &str) -> Result<Self> {
        let refuse = |reason| Error::from(ErrorKind::Version { text: text.to_owned(), reason });
        // The text becomes part of file names on a FAT file system and of a tag.
        if text.len() > 128 {
            return Err(refuse("more than 128 characters"));
        }
        let rest = text.strip_prefix('v').unwrap_or(text);
        let (rest, build) = rest.split_once('+').map_or((rest, None), |(rest, build)| (rest, Some(build)));
        let (core, pre) = rest.split_once('-').map_or((rest, None), |(core, pre)| (core, Some(pre)));
        let mut numbers = core.split('.').map(|part| {
            let plain = part.bytes().all(|byte| byte.is_ascii_digit()) && (part == "0" || !part.starts_with('0'));
            if plain { part.parse::<u64>().ok() } else { None }
        });
        let (Some(Some(major)), Some(Some(minor)), Some(Some(patch)), None) =
            (numbers.next(), numbers.next(), numbers.next(), numbers.next())
        else {
            return Err(refuse("the part before any '-' or '+' is not three plain numbers"));
        };
        for part in pre.into_iter().chain(build).flat_map(|text| text.split('.')) {
            if part.is_empty() || !part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
                return Err(refuse(
                    "pre-release and build parts are letters, digits and '-', separated by single dots",
                ));
            }
        }
        Ok(Self { text: text.to_owned(), numbers: [major, minor, patch] })
    }

    /// The text as it was given.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Major and minor number.
    pub fn minor(&self) -> (u64, u64) {
        let [major, minor, _] = self.numbers;
        (major, minor)
    }

    /// Major, minor and patch number.
    pub fn numbers(&self) -> [u64; 3] {
        self.numbers
    }
}

impl FromStr for Version {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_stays_and_the_numbers_rule() {
        for (text, numbers) in [
            ("v1.10.6", [1, 10, 6]),
            ("1.10.6", [1, 10, 6]),
            ("v1.10.6-nanopi-m6", [1, 10, 6]),
            ("v1.14.0-rc.1", [1, 14, 0]),
            ("v1.13.9-1-gabc+dirty.2", [1, 13, 9]),
            ("v1.13.9+a-b", [1, 13, 9]),
        ] {
            let version = Version::parse(text).unwrap();
            assert_eq!((version.as_str(), version.numbers()), (text, numbers));
        }
    }

    #[test]
    fn what_is_no_version_is_refused() {
        for text in [
            "",
            "v",
            "v1",
            "v1.10",
            "v1.10.6.1",
            "v01.10.6",
            "v1.1 0.6",
            "latest",
            "v1.10.x",
            "v1.10.6-",
            "v1.10.6+",
            "v1.10.6-a..b",
            "v1.10.6-a/b",
            "v1.10.6-ü",
            "vv1.10.6",
            "v1.10.-6",
            "v1.10.99999999999999999999",
            "v1.10.+6",
        ] {
            let error = Version::parse(text).unwrap_err().to_string();
            assert!(error.contains("v1.10.6-nanopi-m6"), "{text}: {error}");
        }
        assert!(Version::parse(&format!("v1.10.6-{}", "a".repeat(200))).is_err());
    }
}
