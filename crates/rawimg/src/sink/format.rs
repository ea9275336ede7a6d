//! The forms that an image can be written in.

use std::{fmt, str::FromStr};

use crate::{Error, ErrorKind};

/// The form of an output file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// The bytes as they are.
    Raw,
    /// `.xz`: small, read everywhere.
    Xz,
    /// `.zst`: the fastest to write and to read.
    Zst,
    /// `.gz`: for tools that know nothing else.
    Gz,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Raw, Self::Xz, Self::Zst, Self::Gz];

    /// What is put behind the name of the raw file: nothing, `.xz`, `.zst`, `.gz`.
    ///
    /// ```
    /// use rawimg::sink::Format;
    /// assert_eq!(format!("metal-arm64.raw{}", Format::Xz.extension()), "metal-arm64.raw.xz");
    /// ```
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Raw => "",
            Self::Xz => ".xz",
            Self::Zst => ".zst",
            Self::Gz => ".gz",
        }
    }

    /// The word on the command line: `raw`, `raw.xz`, `raw.zst`, `raw.gz`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Raw => "raw",
            Self::Xz => "raw.xz",
            Self::Zst => "raw.zst",
            Self::Gz => "raw.gz",
        }
    }

    #[cfg_attr(all(feature = "xz", feature = "zst", feature = "gz"), expect(dead_code, reason = "all are built in"))]
    pub(crate) fn not_built(self) -> Error {
        let (format, feature) = match self {
            Self::Raw => ("raw", ""),
            Self::Xz => ("xz", "xz"),
            Self::Zst => ("zstd", "zst"),
            Self::Gz => ("gzip", "gz"),
        };
        ErrorKind::Unsupported { format, problem: format!("rawimg was built without its feature {feature:?}") }.into()
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Format {
    type Err = Error;

    /// Reads the word of the command line; the short forms `xz`, `zst`, `gz` mean the same.
    fn from_str(word: &str) -> Result<Self, Error> {
        let found = Self::ALL.into_iter().find(|format| {
            word == format.name() || format.extension().strip_prefix('.').is_some_and(|short| short == word)
        });
        found.ok_or_else(|| {
            ErrorKind::UnknownFormat {
                word: word.chars().take(80).collect(),
                known: "raw, raw.xz, raw.zst, raw.gz",
                nearest: imgcore::nearest(word, Self::ALL.map(Self::name)),
            }
            .into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_name_formats_and_typing_errors_get_help() {
        for format in Format::ALL {
            assert_eq!(format.to_string().parse::<Format>().ok(), Some(format));
        }
        assert_eq!("zst".parse::<Format>().ok(), Some(Format::Zst));
        for (word, wanted) in [("raw.zx", "did you mean \"raw.xz\"?"), ("qcow2", "use one of raw, raw.xz")] {
            let error = word.parse::<Format>().expect_err(word).to_string();
            assert!(error.contains(wanted), "{error}");
        }
    }
}
