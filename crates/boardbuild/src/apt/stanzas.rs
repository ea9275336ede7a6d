//! Control files (deb822): fields of stanzas, as they stream by.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
};

use imgcore::Digest;

use super::version;

/// A line of an index; descriptions and lists of dependencies stay far below.
const LINE_LIMIT: usize = 1 << 20;
/// Names that are remembered to say which is nearest.
const NAMES: usize = 2000;

/// A package of an index.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Package {
    pub(super) version: String,
    pub(super) filename: String,
    pub(super) sha256: String,
    pub(super) size: String,
}

/// Looks for the newest version of one package while an index is written to it.
#[derive(Debug)]
pub(super) struct Index<'a> {
    package: &'a str,
    arch: &'a str,
    line: Vec<u8>,
    fields: BTreeMap<&'static str, String>,
    pub(super) best: Option<Package>,
    /// Names that begin like the wanted one.
    pub(super) names: BTreeSet<String>,
}

const FIELDS: [&str; 6] = ["Package", "Architecture", "Version", "Filename", "SHA256", "Size"];

impl<'a> Index<'a> {
    pub(super) fn new(package: &'a str, arch: &'a str) -> Self {
        let (line, fields, names) = (Vec::new(), BTreeMap::new(), BTreeSet::new());
        Self { package, arch, line, fields, best: None, names }
    }

    /// The end of the index, where the last stanza may have no empty line.
    pub(super) fn end(&mut self) {
        let line = std::mem::take(&mut self.line);
        self.take(&line);
        self.take(b"");
    }

    fn take(&mut self, line: &[u8]) {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.trim_ascii().is_empty() {
            return self.stanza();
        }
        if line.first().is_some_and(u8::is_ascii_whitespace) {
            return;
        }
        let Some((name, value)) = field(line) else { return };
        if let Some(known) = FIELDS.iter().find(|known| known.eq_ignore_ascii_case(&name)) {
            self.fields.entry(known).or_insert(value);
        }
    }

    fn stanza(&mut self) {
        let mut fields = std::mem::take(&mut self.fields);
        let name = fields.remove("Package").unwrap_or_default();
        if name != self.package {
            if self.names.len() < NAMES && name.get(..3).is_some_and(|start| self.package.starts_with(start)) {
                self.names.insert(name);
            }
            return;
        }
        if fields.get("Architecture").is_some_and(|arch| arch != self.arch && arch != "all") {
            return;
        }
        let mut field = |name| fields.remove(name).unwrap_or_default();
        let found = Package {
            version: field("Version"),
            filename: field("Filename"),
            sha256: field("SHA256"),
            size: field("Size"),
        };
        if self.best.as_ref().is_none_or(|best| version::compare(&best.version, &found.version).is_lt()) {
            self.best = Some(found);
        }
    }
}

impl Write for Index<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            match part.strip_suffix(b"\n") {
                Some(end) => {
                    let mut line = std::mem::take(&mut self.line);
                    line.extend_from_slice(end);
                    self.take(&line);
                }
                None => self.line.extend_from_slice(part),
            }
            if self.line.len() > LINE_LIMIT {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a line of more than 1 MiB: no package index"));
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn field(line: &[u8]) -> Option<(String, String)> {
    let text = String::from_utf8_lossy(line);
    let (name, value) = text.split_once(':')?;
    Some((name.to_owned(), value.trim().to_owned()))
}

/// What a `Release` file says of one index: its digest and size by path, and whether it lies under its digest as well.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Release {
    pub(super) indexes: BTreeMap<String, (Digest, u64)>,
    pub(super) by_hash: bool,
}

/// Reads `Release`, or `InRelease`, whose signature is around the same text. Only paths that begin with `start` are kept.
pub(super) fn release(text: &str, start: &str) -> Release {
    let mut release = Release::default();
    let mut sums = false;
    for line in body(text) {
        let line = line.trim_end();
        if !line.starts_with([' ', '\t']) {
            let (name, value) = line.split_once(':').unwrap_or((line, ""));
            sums = name.eq_ignore_ascii_case("SHA256");
            if name.eq_ignore_ascii_case("Acquire-By-Hash") {
                release.by_hash = value.trim().eq_ignore_ascii_case("yes");
            }
            continue;
        }
        let mut words = line.split_ascii_whitespace();
        if let (true, Some(digest), Some(size), Some(path)) = (sums, words.next(), words.next(), words.next())
            && path.starts_with(start)
            && let (Ok(digest), Ok(size)) = (digest.parse(), size.parse())
        {
            release.indexes.insert(path.to_owned(), (digest, size));
        }
    }
    release
}

/// The lines between the parts of a clear-signed message (RFC 9580, 7), or all lines.
fn body(text: &str) -> impl Iterator<Item = &str> {
    let signed = text.trim_start().starts_with("-----BEGIN PGP SIGNED MESSAGE-----");
    let lines = text.trim_start().lines();
    let lines = lines.skip_while(move |line| signed && !line.trim().is_empty());
    let lines = lines.take_while(move |line| !(signed && line.starts_with("-----BEGIN PGP SIGNATURE-----")));
    lines.map(move |line| if signed { line.strip_prefix("- ").unwrap_or(line) } else { line })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_version_for_the_architecture_is_found() {
        let text = "Package: linux-u-boot\r\nVersion: 9\nArchitecture: armhf\nFilename: pool/x\n\n\
                    package: linux-u-boot\nVersion: 1.9\nArchitecture: arm64\nDescription: a\n b: c\n Version: 77\n\
                    Filename: pool/old\nSHA256: aa\nSize: 1\n\n\nPackage: linux-image\n\n\
                    Package: linux-u-boot\nVersion: 1.10\nArchitecture: all\nFilename: pool/new\nSHA256: bb\nSize: 2";
        for step in [1, 7, 4096] {
            let mut index = Index::new("linux-u-boot", "arm64");
            for part in text.as_bytes().chunks(step) {
                index.write_all(part).unwrap();
            }
            index.end();
            let best = index.best.unwrap();
            assert_eq!((best.version.as_str(), best.filename.as_str(), best.size.as_str()), ("1.10", "pool/new", "2"));
            assert_eq!(index.names.into_iter().collect::<Vec<_>>(), ["linux-image"]);
        }
        assert!(Index::new("a", "b").write_all(&vec![b'x'; 2 << 20]).is_err());
    }

    #[test]
    fn digests_of_indexes_are_read_signed_or_not() {
        let digest = Digest::of(b"x");
        let plain = format!(
            "Origin: o\nAcquire-By-Hash: yes\nMD5Sum:\n 00 1 main/binary-arm64/Packages\nSHA256:\n {0} 12 main/binary-arm64/Packages.xz\n \
             {0} 13 main/binary-amd64/Packages.xz\n zz 14 main/binary-arm64/Packages.gz\n",
            digest.hex()
        );
        let signed = format!(
            "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n{plain}-----BEGIN PGP SIGNATURE-----\nSHA256:\n {} 9 \
             main/binary-arm64/Packages\n-----END PGP SIGNATURE-----\n",
            digest.hex()
        );
        for text in [plain, signed] {
            let found = release(&text, "main/binary-arm64/");
            assert!(found.by_hash);
            assert_eq!(
                found.indexes.into_iter().collect::<Vec<_>>(),
                [("main/binary-arm64/Packages.xz".to_owned(), (digest, 12))]
            );
        }
    }
}
