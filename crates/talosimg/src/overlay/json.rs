//! `artifacts/overlay.json`: every board of an overlay image, as data for the one executable.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use imgcore::{Digest, Layout};
use serde::{Deserialize, Serialize};

use super::refuse;
use crate::error::Result;

/// The only schema there is.
pub const SCHEMA: u32 = 1;

/// The whole file. Fields stand in the order of their names, because canonical JSON sorts its keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct OverlayJson {
    /// The boards, in the order of the board files.
    pub boards: Vec<Board>,
    /// The overlay's name: the executable is `installers/<name>`.
    pub name: String,
    /// [`SCHEMA`].
    pub schema: u32,
}

/// One board of an overlay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Board {
    /// Files for the ESP.
    pub esp: Vec<EspFile>,
    /// Files in front of the partitions.
    pub files: Vec<BootFile>,
    /// Kernel arguments in their order.
    pub kernel_args: Vec<String>,
    /// The board's name, which selects it where `options` has no `board`.
    pub name: String,
    /// The overlay options that this board accepts, each with the one value that it has.
    pub options: BTreeMap<String, String>,
    /// Count of LBAs between GPT header and entry array.
    pub partition_offset: u64,
    /// The boot image for the board's SPI flash, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spi: Option<SpiFile>,
}

/// An image for SPI flash. `install` never writes it: it lies among the artifacts for those who put it into the flash.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SpiFile {
    /// SHA-256 of the artifact.
    pub digest: Digest,
    /// Name of the option that is `true` where the board starts from SPI flash: `install` then leaves the room in front
    /// of the partitions alone.
    pub option: String,
    /// The artifact, relative to the folder `artifacts`.
    pub path: String,
    /// Size of the artifact in bytes.
    pub size: u64,
}

/// A file that is written to the bare disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct BootFile {
    /// SHA-256 of the whole artifact.
    pub digest: Digest,
    /// How many bytes of the artifact are written, from its beginning: less than `size` where copies are cut off.
    pub length: u64,
    /// Byte offset on the disk, whatever its sector size.
    pub offset: u64,
    /// The artifact, relative to the folder `artifacts`, with `/` between its parts.
    pub path: String,
    /// Size of the whole artifact in bytes.
    pub size: u64,
}

/// A file that is copied to the ESP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct EspFile {
    /// Where it goes, relative to the root of the ESP.
    pub destination: String,
    /// SHA-256 of the artifact.
    pub digest: Digest,
    /// The artifact, relative to the folder `artifacts`.
    pub path: String,
    /// Size of the artifact in bytes.
    pub size: u64,
}

impl OverlayJson {
    /// Reads and checks the file.
    pub fn parse(text: &str) -> Result<Self> {
        let overlay: Self =
            serde_json::from_str(text).map_err(|error| refuse(format!("overlay.json cannot be read: {error}")))?;
        overlay.check()?;
        Ok(overlay)
    }

    /// The file as canonical JSON: sorted keys, no white space.
    pub fn to_json(&self) -> Result<String> {
        self.check()?;
        serde_json::to_string(self).map_err(|error| refuse(format!("overlay.json cannot be written: {error}")))
    }

    /// Whether an executable can follow it: known schema, distinct boards, paths that stay inside their folders,
    /// boot files that do not overlap.
    pub fn check(&self) -> Result<()> {
        if self.schema != SCHEMA {
            return Err(refuse(format!(
                "overlay.json has schema {}, expected {SCHEMA}: take executable and overlay.json from one build",
                self.schema
            )));
        }
        if self.boards.is_empty() {
            return Err(refuse(format!("overlay {} has no boards", self.name)));
        }
        let mut seen = BTreeSet::new();
        for board in &self.boards {
            if !seen.insert(board.called()) {
                return Err(refuse(format!("overlay {} has two boards called {}", self.name, board.called())));
            }
            board.check().map_err(|problem| refuse(format!("board {}: {problem}", board.name)))?;
        }
        Ok(())
    }
}

impl Board {
    /// What selects this board and what it answers as its name: the value of its option `board`, else its name. Real
    /// overlays do the same: `installers/rk3588` answers `rock-5a`.
    pub fn called(&self) -> &str {
        self.options.get("board").unwrap_or(&self.name)
    }

    /// The byte ranges that `install` writes, labelled with the artifacts' paths.
    pub fn layout(&self) -> Layout {
        let mut layout = Layout::new();
        for file in &self.files {
            layout.add(&file.path, file.range());
        }
        layout
    }

    fn check(&self) -> std::result::Result<(), String> {
        if let Some(spi) = &self.spi {
            check_path(&spi.path)?;
            if spi.option.is_empty() || self.options.contains_key(&spi.option) {
                return Err(format!(
                    "the option {:?} of the SPI image is empty or has another meaning too",
                    spi.option
                ));
            }
        }
        for (key, value) in &self.options {
            if key.is_empty() || value.is_empty() {
                return Err(format!("option {key:?} = {value:?}: neither may be empty"));
            }
        }
        if let Some(bad) = self.kernel_args.iter().find(|arg| arg.is_empty() || arg.chars().any(char::is_control)) {
            return Err(format!("kernel argument {bad:?}: empty or with a control character"));
        }
        for file in &self.files {
            check_path(&file.path)?;
            if file.length == 0 || file.length > file.size {
                return Err(format!("{}: {} of {} bytes are to be written", file.path, file.length, file.size));
            }
            if file.offset.checked_add(file.length).is_none() {
                return Err(format!("{}: byte {} + {} is behind any disk", file.path, file.offset, file.length));
            }
        }
        if let Some(overlap) = self.layout().overlaps().first() {
            return Err(overlap.to_string());
        }
        let mut destinations = BTreeSet::new();
        for file in &self.esp {
            check_path(&file.path)?;
            check_path(&file.destination)?;
            // FAT finds names without regard to case.
            if !destinations.insert(file.destination.to_lowercase()) {
                return Err(format!("two files go to {} on the ESP", file.destination));
            }
        }
        Ok(())
    }
}

impl BootFile {
    /// The byte range on the disk.
    pub fn range(&self) -> Range<u64> {
        self.offset..self.offset.saturating_add(self.length)
    }
}

/// Relative, with `/`, and without a part that leaves the folder or means another thing to another system.
fn check_path(path: &str) -> std::result::Result<(), String> {
    let bad = |part: &str| part.is_empty() || part == "." || part == "..";
    if path.split('/').any(bad) || path.chars().any(|letter| letter.is_control() || "\\:".contains(letter)) {
        return Err(format!("{path:?} is no relative path, expected parts with / between them, without . and .."));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board() -> Board {
        let digest = Digest::of(b"");
        Board {
            name: "nanopi-m6".to_owned(),
            options: [("board", "nanopi-m6"), ("chipset", "rk3588s")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            kernel_args: vec!["console=tty0".to_owned()],
            partition_offset: 20_480,
            spi: None,
            files: vec![
                BootFile { path: "arm64/a.img".to_owned(), size: 9, length: 9, offset: 32_768, digest },
                BootFile { path: "arm64/b.itb".to_owned(), size: 20, length: 10, offset: 8_388_608, digest },
            ],
            esp: vec![EspFile {
                path: "arm64/dtb/m6.dtb".to_owned(),
                destination: "dtb/rockchip/m6.dtb".to_owned(),
                size: 5,
                digest,
            }],
        }
    }

    fn overlay(change: impl FnOnce(&mut Board)) -> OverlayJson {
        let mut board = board();
        change(&mut board);
        OverlayJson { name: "rk3588".to_owned(), schema: SCHEMA, boards: vec![board] }
    }

    // The oracle: serde_json's own map may keep the order of its keys, so each is sorted anew.
    fn sorted(value: &serde_json::Value) -> String {
        match value {
            serde_json::Value::Object(map) => {
                let map: BTreeMap<_, _> = map.iter().collect();
                let inner: Vec<_> = map.iter().map(|(k, v)| format!("\"{k}\":{}", sorted(v))).collect();
                format!("{{{}}}", inner.join(","))
            }
            serde_json::Value::Array(list) => {
                format!("[{}]", list.iter().map(sorted).collect::<Vec<_>>().join(","))
            }
            other => other.to_string(),
        }
    }

    #[test]
    fn the_text_is_canonical_and_round_trips() {
        let overlay = overlay(|_| ());
        let text = overlay.to_json().unwrap();
        assert_eq!(OverlayJson::parse(&text).unwrap(), overlay);
        assert_eq!(sorted(&serde_json::from_str(&text).unwrap()), text);
        assert_eq!(
            text.get(..130).unwrap(),
            "{\"boards\":[{\"esp\":[{\"destination\":\"dtb/rockchip/m6.dtb\",\"digest\":\"sha256:\
             e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7"
        );
    }

    #[test]
    fn what_no_executable_could_follow_is_refused() {
        type Change = fn(&mut Board);
        let table: &[(Change, &str)] = &[
            (|board| board.files[0].path = "/etc/passwd".to_owned(), "no relative path"),
            (|board| board.files[0].path = "a/../../b".to_owned(), "no relative path"),
            (|board| board.files[0].path = "a//b".to_owned(), "no relative path"),
            (|board| board.files[0].path = String::new(), "no relative path"),
            (|board| board.esp[0].destination = "dtb\\x".to_owned(), "no relative path"),
            (|board| board.esp[0].destination = "a\nb".to_owned(), "no relative path"),
            (|board| board.files[1].length = 21, "21 of 20 bytes"),
            (|board| board.files[1].length = 0, "0 of 20 bytes"),
            (|board| board.files[1].offset = u64::MAX, "behind any disk"),
            (|board| board.files[1].offset = 32_770, "overlaps"),
            (|board| board.kernel_args[0] = "a\nb".to_owned(), "control character"),
            (|board| board.options.insert("x".to_owned(), String::new()).map_or((), drop), "empty"),
            (
                |board| {
                    let mut second = board.esp[0].clone();
                    second.destination = "DTB/rockchip/M6.dtb".to_owned();
                    board.esp.push(second);
                },
                "two files",
            ),
        ];
        for (change, expected) in table {
            let error = overlay(change).to_json().unwrap_err().to_string();
            assert!(error.starts_with("board nanopi-m6: ") && error.contains(expected), "{expected}: {error}");
        }
        let mut twice = overlay(|_| ());
        twice.boards.push(board());
        assert!(twice.check().unwrap_err().to_string().contains("two boards called nanopi-m6"));
        let other = OverlayJson { schema: 2, ..overlay(|_| ()) };
        assert!(other.check().unwrap_err().to_string().contains("schema 2, expected 1"));
        let none = OverlayJson { boards: vec![], ..overlay(|_| ()) };
        assert!(none.check().unwrap_err().to_string().contains("no boards"));
    }

    #[test]
    fn unknown_fields_and_damage_are_refused() {
        let text = overlay(|_| ()).to_json().unwrap();
        for damaged in [
            text.replace("\"schema\":1", "\"schema\":1,\"more\":2"),
            text.replace("\"length\":9", "\"length\":9,\"more\":2"),
            text.replace("\"schema\":1", "\"schema\":\"1\""),
            text.replace("sha256:", "sha512:"),
            text.get(..text.len() - 1).unwrap().to_owned(),
            String::new(),
        ] {
            let error = OverlayJson::parse(&damaged).unwrap_err().to_string();
            assert!(error.starts_with("overlay.json cannot be read: "), "{error}");
        }
    }
}
