//! The record beside an extracted file: where its bytes come from.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::fmt::Write as _;

use imgcore::Digest;

use super::Piece;

/// What the pieces were taken out of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Name of the file or device, without its folder.
    pub name: String,
    /// The whole input as it was given, compressed or not. `None` for a device, whose other bytes do not matter.
    pub whole: Option<Whole>,
    /// Bytes of the disk, unpacked.
    pub disk_size: u64,
}

/// A whole input file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whole {
    /// Bytes of the file.
    pub size: u64,
    /// Its SHA-256.
    pub digest: Digest,
}

impl Piece {
    /// The record as TOML: no folder, no date, the same for the same input.
    ///
    /// ```
    /// # use rkboot::{Soc, extract::{self, Source}, idblock};
    /// # let block = idblock::build(&idblock::Parts { soc: Soc::Rk3588, init: b"ddr", boot: None })?;
    /// let (pieces, _) = extract::plan(block.as_slice(), &[]);
    /// let source = Source { name: "card.img".to_owned(), whole: None, disk_size: block.len() as u64 };
    /// let text = pieces[0].origin(&source);
    /// assert!(text.contains("\n[source]\nname = \"card.img\"\n") && text.contains("\noffset = 0\n"));
    /// assert!(text.contains("\nwrite-at-sector = 64\n"));
    /// # Ok::<(), rkboot::Error>(())
    /// ```
    pub fn origin(&self, source: &Source) -> String {
        let mut text = String::from("# where this file comes from; made by `rkboot extract`\nschema = 1\n");
        let mut line = |key: &str, value: &str| {
            let _ = writeln!(text, "{key} = {value}");
        };
        line("name", &string(self.name));
        line("role", &string(self.role.name()));
        line("kind", &string(self.kind));
        line("size", &self.bytes.len().to_string());
        line("sha256", &string(&self.digest.hex()));
        let versions: Vec<_> = self.versions.iter().map(|version| string(version)).collect();
        line("versions", &format!("[{}]", versions.join(", ")));
        if let Some(sector) = self.sector() {
            line("write-at-sector", &sector.to_string());
        }
        if let Some(trimmed) = &self.trimmed {
            line("trimmed", &string(trimmed));
        }
        let _ = writeln!(text, "\n[source]");
        let mut line = |key: &str, value: &str| {
            let _ = writeln!(text, "{key} = {value}");
        };
        line("name", &string(&source.name));
        if let Some(whole) = &source.whole {
            line("size", &whole.size.to_string());
            line("sha256", &string(&whole.digest.hex()));
        }
        line("disk-size", &source.disk_size.to_string());
        if let Some(offset) = self.offset {
            line("offset", &offset.to_string());
            line("length", &self.bytes.len().to_string());
        }
        if let Some(partition) = &self.partition {
            line("partition", &string(partition));
        }
        text
    }
}

/// A basic string of TOML.
fn string(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped() {
        assert_eq!(string("a\"b\\c\n\u{7f}é"), "\"a\\\"b\\\\c\\u000a\\u007fé\"");
    }
}
