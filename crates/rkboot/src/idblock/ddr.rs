//! What Rockchip's DDR init code says about itself: version text and the console it prints to.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::fmt;

use crate::{
    Soc, ddr_params,
    identity::{BlobKind, lookup, soc_of},
};

/// The largest known DDR init image has 146 KiB; nothing behind this is searched.
const SEARCHED: usize = 1024 * 1024;

/// The identity of DDR init code of Rockchip's rkbin.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DdrInfo {
    /// `v1.18`.
    pub version: String,
    /// The whole line, such as `DDR 9fa84341ce typ 24/09/06-09:51:11,fwver: v1.18`; a remark for code without one.
    pub text: String,
    /// Where it prints, if the parameter section has a known form.
    pub uart: Option<Uart>,
    /// Names under which rkbin has carried exactly these bytes, empty for others. One content has had several names.
    pub files: Vec<String>,
}

impl DdrInfo {
    /// The SoCs that rkbin has these bytes for.
    pub fn socs(&self) -> impl Iterator<Item = Soc> {
        self.files.iter().filter_map(|file| soc_of(file))
    }

    /// The name of the blob if it is known and runs on other SoCs only.
    pub(super) fn foreign_to(&self, soc: Soc) -> Option<&str> {
        let file = self.files.first()?;
        // A name that tells no SoC accuses nobody.
        (self.socs().next().is_some() && self.socs().all(|other| other != soc)).then_some(file)
    }
}

impl fmt::Display for DdrInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        if let Some(file) = self.files.first() {
            write!(f, ", {file}")?;
        }
        if let Some(uart) = self.uart {
            write!(f, ", {uart}")?;
        }
        Ok(())
    }
}

/// A serial console in the parameters of DDR init code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Uart {
    /// Number of the UART.
    pub id: u8,
    /// Which of its pin groups.
    pub iomux: u8,
    /// Bits per second.
    pub baud: u32,
}

impl fmt::Display for Uart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "uart{} m{} {} baud", self.id, self.iomux, self.baud)
    }
}

/// Finds the version line of DDR init code. U-Boot's TPL has none, and neither have rkbin's blobs for the RK3399, which
/// are known by their digest.
pub(super) fn identify(image: &[u8]) -> Option<DdrInfo> {
    let image = image.get(..SEARCHED.min(image.len()))?;
    said(image).or_else(|| {
        let files = published(image);
        // `rk3399_ddr_800MHz_v1.30.bin`
        let version = files.first()?.strip_suffix(".bin")?.rsplit_once("_v")?.1;
        Some(DdrInfo {
            version: format!("v{version}"),
            text: "DDR code that does not tell its version".to_owned(),
            uart: ddr_params::parse(image).0.and_then(|found| found.uart),
            files,
        })
    })
}

fn said(image: &[u8]) -> Option<DdrInfo> {
    // Newer blobs end the line with "fwver: v1.18", older ones begin it with "DDR Version V1.08".
    let (at, version) = ["fwver: ", "DDR Version "].iter().find_map(|key| {
        let at = image.windows(key.len()).position(|window| window == key.as_bytes())?;
        let version = printable(image.get(at.checked_add(key.len())?..)?);
        let version = version.split(|c: char| c != '.' && !c.is_ascii_alphanumeric()).next()?.to_ascii_lowercase();
        (version.starts_with('v') && version.len() > 1).then_some((at, version))
    })?;
    let before = image.get(..at)?.iter().rev().take(120).take_while(|byte| is_text(**byte)).count();
    let text = printable(image.get(at.saturating_sub(before)..)?);
    Some(DdrInfo {
        version,
        text: text.trim().to_owned(),
        uart: ddr_params::parse(image).0.and_then(|found| found.uart),
        files: published(image),
    })
}

fn published(image: &[u8]) -> Vec<String> {
    let known = lookup(image).into_iter().filter(|known| known.kind == BlobKind::Ddr);
    known.map(|known| known.name().to_owned()).collect()
}

fn is_text(byte: u8) -> bool {
    (0x20..0x7f).contains(&byte)
}

fn printable(bytes: &[u8]) -> String {
    bytes.iter().take(160).take_while(|byte| is_text(**byte)).map(|byte| char::from(*byte)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::format_collect)]
    use super::*;

    #[test]
    fn blobs_of_rkbin_are_recognised() {
        for (path, version, uart) in [
            ("rk35/rk3588_ddr_lp4_2112MHz_lp5_2400MHz_v1.18.bin", "v1.18", Some((2, 0, 1_500_000))),
            ("rk35/rk3588_ddr_lp4_2112MHz_lp5_2400MHz_v1.16.bin", "v1.16", Some((2, 0, 1_500_000))),
            ("rk35/rk3568_ddr_1560MHz_v1.23.bin", "v1.23", Some((2, 0, 1_500_000))),
            ("rk35/rk3576_ddr_lp4_2112MHz_lp5_2736MHz_v1.09.bin", "v1.09", Some((0, 0, 1_500_000))),
        ] {
            let Some(path) = testkit::shared(&format!("testdata/rkbin/bin/{path}")) else { return };
            let mut blob = testkit::read(&path);
            blob.resize(blob.len().next_multiple_of(2048), 0);
            let info = identify(&blob).unwrap();
            assert!(path.ends_with(info.files.last().unwrap()), "{:?}", info.files);
            assert!(info.socs().any(|soc| path.to_string_lossy().contains(soc.name())));
            assert_eq!(info.version, version);
            assert!(info.text.starts_with("DDR ") && info.text.ends_with(version), "{}", info.text);
            assert_eq!(info.uart.map(|uart| (uart.id, uart.iomux, uart.baud)), uart);
        }
    }

    #[test]
    fn other_code_is_not() {
        assert_eq!(identify(b""), None);
        assert_eq!(identify(b"fwver: "), None);
        assert_eq!(identify(b"U-Boot TPL 2025.10"), None);
        let old = identify(b"\x00DDR Version V1.08 20220617\n").unwrap();
        assert_eq!((old.version.as_str(), old.text.as_str(), old.uart), ("v1.08", "DDR Version V1.08 20220617", None));
    }
}
