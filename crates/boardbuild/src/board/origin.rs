//! Where an input comes from: `[sources.ROLE]` of a board file.
//!
//! One place (`path`, `url`, `image` or `apt`), then what is taken out of it: a `member` of an archive, then a `range` of
//! bytes. A table with only a `note` is a file that nobody publishes.

use ocipack::Platform;
use serde::{Deserialize, Serialize};

/// Where an input comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Origin {
    /// A local file, relative to the board file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// A file on the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Other addresses of the same bytes, asked in this order when `url` fails.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mirrors: Vec<String>,
    /// An OCI image that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// Path of the file inside the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// Which image of an index holds it, `linux/arm64` if missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    /// A package of a Debian archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apt: Option<Apt>,
    /// Path of the file inside the archive or package that the keys above name. A `*` stands for any characters of one
    /// segment, once in each; exactly one member must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
    /// The bytes that are meant, of the decompressed file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub range: Option<ByteRange>,
    /// Licence, as an SPDX expression or a few words; the lock keeps it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
    /// Size in bytes to draw it with, as it was measured once; the lock knows the size of what is used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// What a person should know about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A package of an archive in Debian's layout: `dists/SUITE/Release` and what it names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Apt {
    /// Where `dists/` and `pool/` are.
    pub url: String,
    /// `trixie`.
    pub suite: String,
    /// `main`.
    #[serde(default = "component")]
    pub component: String,
    /// `arm64`.
    #[serde(default = "arch")]
    pub arch: String,
    /// Name of the package; the newest version of it is taken.
    pub package: String,
}

fn component() -> String {
    "main".to_owned()
}

fn arch() -> String {
    "arm64".to_owned()
}

/// A run of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ByteRange {
    /// First byte.
    pub offset: u64,
    /// Count of bytes; to the end of the file if missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<u64>,
}

impl ByteRange {
    /// The bytes that are meant of a file of `size` bytes; `None` if the file is too short to have them all, or any.
    pub fn within(&self, size: u64) -> Option<std::ops::Range<u64>> {
        let end = self.length.map_or(Some(size), |length| self.offset.checked_add(length))?;
        (self.offset < end && end <= size).then_some(self.offset..end)
    }
}

impl Origin {
    /// Where the file is, in words that the lock keeps: a path, an address, a file of an image, a member of a package.
    /// Two origins with the same words give the same bytes. Empty when nobody publishes it.
    ///
    /// ```
    /// let board = "name = \"b\"\n[sources.x]\nurl = \"https://h/a.deb\"\nmember = \"usr/lib/x.img\"\n";
    /// let board = boardbuild::board::Board::parse("b.toml", "b", std::path::Path::new("."), board)?;
    /// assert_eq!(board.sources["x"].place(), "usr/lib/x.img of https://h/a.deb");
    /// # Ok::<(), boardbuild::Error>(())
    /// ```
    pub fn place(&self) -> String {
        let mut place = self.container();
        if let Some(member) = self.member.as_ref().filter(|_| !place.is_empty()) {
            place = format!("{member} of {place}");
        }
        if let Some(ByteRange { offset, length }) = self.range.filter(|_| !place.is_empty()) {
            place = match length {
                Some(length) => format!("{length} bytes at {offset} of {place}"),
                None => format!("the bytes from {offset} of {place}"),
            };
        }
        place
    }

    /// The place without `member` and `range`.
    pub fn container(&self) -> String {
        match (&self.path, &self.url, &self.image, &self.apt) {
            (Some(place), ..) | (None, Some(place), ..) => place.clone(),
            (None, None, Some(image), _) => {
                let file = self.file.as_deref().unwrap_or_default();
                let platform = self.platform.as_ref().map(|platform| format!(" for {platform}"));
                format!("{file} of {image}{}", platform.unwrap_or_default())
            }
            (None, None, None, Some(Apt { url, suite, component, arch, package })) => {
                format!("package {package} ({arch}) of {} {suite} {component}", url.trim_end_matches('/'))
            }
            (None, None, None, None) => String::new(),
        }
    }

    /// Whether anybody publishes the file: it can be fetched, or is beside the board file.
    pub fn is_published(&self) -> bool {
        self.path.is_some() || self.url.is_some() || self.image.is_some() || self.apt.is_some()
    }

    /// The file's own name, `FILE` when nobody publishes it as a file.
    pub fn file_name(&self) -> &str {
        if self.range.is_some() {
            return "FILE";
        }
        let path = self.member.as_ref().or(self.path.as_ref()).or(self.url.as_ref()).or(self.file.as_ref());
        path.and_then(|path| path.rsplit('/').next()).filter(|name| !name.is_empty()).unwrap_or("FILE")
    }

    /// Which image of an index is meant.
    pub fn wanted_platform(&self) -> Platform {
        let named = self.platform.as_deref().and_then(|platform| platform.parse().ok());
        named.unwrap_or_else(|| Platform::new("linux", "arm64"))
    }

    /// What is wrong with it, and what to do.
    pub(crate) fn wrong(&self) -> Option<(String, &'static str)> {
        const FORMS: &str = "docs/sources.md shows each form";
        let places = [self.path.is_some(), self.url.is_some(), self.image.is_some(), self.apt.is_some()];
        let places = places.into_iter().filter(|there| *there).count();
        let parts = [
            ("file", self.file.is_some(), self.image.is_some(), "image"),
            ("platform", self.platform.is_some(), self.image.is_some(), "image"),
            ("mirrors", !self.mirrors.is_empty(), self.url.is_some(), "url"),
            ("member", self.member.is_some(), places == 1, "path`, `url`, `image` or `apt"),
            ("range", self.range.is_some(), places == 1, "path`, `url`, `image` or `apt"),
        ];
        if places > 1 {
            return Some(("needs one of `path`, `url`, `image`, `apt`, not several".to_owned(), FORMS));
        }
        if self.image.is_some() != self.file.is_some() {
            return Some(("needs `image` and `file` together".to_owned(), FORMS));
        }
        for (key, given, fits, whose) in parts {
            if given && !fits {
                return Some((format!("has `{key}` without `{whose}`"), FORMS));
            }
        }
        if places == 0 && self.note.is_none() {
            let wrong = "needs one of `path`, `url`, `image`, `apt`, or a `note` that says what to give";
            return Some((wrong.to_owned(), FORMS));
        }
        self.wrong_values()
    }

    fn wrong_values(&self) -> Option<(String, &'static str)> {
        if self.path.as_ref().is_some_and(|path| path.trim().is_empty()) {
            return Some(("has an empty `path`".to_owned(), "write the path of the file, relative to the board file"));
        }
        for url in self.url.iter().chain(&self.mirrors).chain(self.apt.iter().map(|apt| &apt.url)) {
            if let Some(wrong) = wrong_url(url) {
                return Some((format!("has an address that {wrong}: {url:?}"), "write `https://HOST/PATH`"));
            }
        }
        if let Some(image) = &self.image {
            if image.contains("://") {
                let help = "leave the scheme away: `ghcr.io/siderolabs/sbc-rockchip:v0.2.0`";
                return Some((format!("has an `image` with a scheme: {image:?}"), help));
            }
            if image.is_empty() || !image.chars().all(|c| c.is_ascii_graphic()) {
                let help = "`ghcr.io/siderolabs/sbc-rockchip:v0.2.0`, say";
                return Some((format!("has an `image` that is no reference: {image:?}"), help));
            }
        }
        let paths = [("file", &self.file), ("member", &self.member)];
        for (key, path) in paths.into_iter().filter_map(|(key, path)| path.as_ref().map(|path| (key, path))) {
            if let Some(wrong) = wrong_inner_path(path) {
                let help =
                    "write it as the archive lists it, without `./` and `/` in front: `usr/lib/u-boot/idbloader.img`";
                return Some((format!("has a `{key}` that {wrong}: {path:?}"), help));
            }
        }
        if self.file.as_ref().is_some_and(|file| file.contains('*')) {
            return Some((
                "has a `*` in `file`".to_owned(),
                "only `member` takes one: name the file of the image whole",
            ));
        }
        if let Some(member) = &self.member
            && member.split('/').any(|segment| segment.matches('*').count() > 1)
        {
            let wrong = format!("has two `*` in one segment of `member`: {member:?}");
            return Some((
                wrong,
                "one `*` stands for any characters of a segment: `usr/lib/linux-u-boot-*/idbloader.img`",
            ));
        }
        if let Some(platform) = &self.platform
            && platform.parse::<Platform>().is_err()
        {
            return Some((format!("has no platform: {platform:?}"), "write `linux/arm64`, or leave it out"));
        }
        if let Some(range) = &self.range
            && let Some(length) = range.length
            && (length == 0 || range.offset.checked_add(length).is_none())
        {
            let wrong = format!("has a range of no bytes: offset {}, length {length}", range.offset);
            let help = "`range = { offset = 32768, length = 4161536 }`, in bytes; without `length` to the end";
            return Some((wrong, help));
        }
        if self.size == Some(0) {
            return Some(("has the size 0".to_owned(), "give the size in bytes, or leave it out"));
        }
        if self.licence.as_ref().is_some_and(|licence| licence.trim().is_empty()) {
            return Some(("has an empty `licence`".to_owned(), "name it, or leave it out"));
        }
        self.apt.as_ref().and_then(|apt| wrong_apt(apt, self.member.is_some()))
    }
}

fn wrong_apt(apt: &Apt, member: bool) -> Option<(String, &'static str)> {
    // Debian policy 5.6.1: names of packages.
    let package = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.".contains(c);
    if apt.package.is_empty() || !apt.package.chars().all(package) {
        let help = "one name without version: `linux-u-boot-nanopi-m6-current`";
        return Some((format!("has `apt.package` that is no name: {:?}", apt.package), help));
    }
    let words = [("suite", &apt.suite), ("component", &apt.component), ("arch", &apt.arch)];
    for (key, word) in words {
        let fine = |c: char| c.is_ascii_alphanumeric() || "+-._/".contains(c);
        let dots = word.split('/').any(|part| part.is_empty() || part.starts_with('.'));
        if dots || !word.chars().all(fine) || (key == "arch" && word.contains('/')) {
            return Some((
                format!("has `apt.{key}` that is no name: {word:?}"),
                "as the archive's Release file has it",
            ));
        }
    }
    let help = "name the file: `member = \"usr/lib/…\"`; `dpkg -c PACKAGE.deb` lists them";
    (!member).then(|| ("has `apt` without `member`".to_owned(), help))
}

/// What is wrong with an address. Plain `http` is judged where it is used: `--plain-http` may allow it.
fn wrong_url(text: &str) -> Option<&'static str> {
    let Ok(url) = transfer::Url::parse(text) else { return Some("cannot be read") };
    if !matches!(url.scheme(), "https" | "http") {
        return Some("is neither https nor http");
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Some("names no host");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Some("holds credentials");
    }
    if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Some("holds white space");
    }
    url.fragment().is_some().then_some("holds a fragment")
}

fn wrong_inner_path(path: &str) -> Option<&'static str> {
    if path.is_empty() || path.starts_with('/') || path.ends_with('/') {
        return Some("is not the relative path of a file");
    }
    if path.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
        return Some("holds empty parts, `.` or `..`");
    }
    path.chars().any(char::is_control).then_some("holds control characters")
}
