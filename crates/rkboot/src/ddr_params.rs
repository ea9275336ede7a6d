//! The parameters inside Rockchip's DDR init code: which UART it prints to, at which speed, and what is set for each kind
//! of memory.
//!
//! A tag (0x12345678) is followed by a version, an index of pairs (offset, size) in words, and the sections that it names;
//! offsets count from the version and from 1. The first word of the section `global` is the UART. rkbin's own editor
//! stamps the current time into the code with every change; [`set_uart`] changes that one word and nothing else.
//!
//! ```
//! use rkboot::{ddr_params, idblock::Uart};
//!
//! // Tag, version 4, an index with `global` at word 4, the section.
//! let mut blob = [0x1234_5678_u32, 4, 0x0104_0000, 0, 0x2016_e360].map(u32::to_le_bytes).concat();
//! let (found, report) = ddr_params::parse(&blob);
//! assert!(report.is_empty());
//! assert_eq!(found.unwrap().uart, Some(Uart { id: 2, iomux: 0, baud: 1_500_000 }));
//!
//! ddr_params::set_uart(&mut blob, Uart { id: 9, iomux: 0, baud: 115_200 })?;
//! assert_eq!(blob[16..], 0x9001_c200_u32.to_le_bytes());
//! # Ok::<(), rkboot::Error>(())
//! ```
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::ops::Range;

use imgcore::{Finding, Report};

use crate::{
    Error, ErrorKind, fit,
    idblock::{self, Uart},
    rules,
    util::slice,
};

const TAG: u32 = 0x1234_5678;

/// Versions whose index is known. Version 0 (RK3399) has none.
const READ: std::ops::RangeInclusive<u32> = 1..=5;

/// Versions that are changed: those of blobs that were compared with a published product.
const WRITTEN: std::ops::RangeInclusive<u32> = 4..=5;

/// Names of the pairs in the index.
const NAMES: [&str; 15] = [
    "cpu_gen", "global", "ddr2", "ddr3", "ddr4", "ddr5", "lpddr2", "lpddr3", "lpddr4", "lpddr5", "skew", "dq_map",
    "lpddr4x", "hash", "hash",
];

/// The parameters of a DDR init blob.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DdrParams {
    /// Where the tag is, in bytes of the blob.
    pub offset: u64,
    /// Version of the layout.
    pub version: u32,
    /// The sections of the index that are there, in its order.
    pub sections: Vec<Section>,
    /// Where it prints.
    pub uart: Option<Uart>,
    /// Where the word with the UART is.
    pub uart_offset: Option<u64>,
}

/// A section of the parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Section {
    /// `global`, `lpddr4`, …; `hash`; `other` for those that are not known here.
    pub name: &'static str,
    /// Its bytes in the blob.
    pub range: Range<u64>,
    /// Its words.
    pub words: Vec<u32>,
}

fn word(bytes: &[u8], at: u64) -> Option<u32> {
    Some(u32::from_le_bytes(slice(bytes, &(at..at.saturating_add(4))).try_into().ok()?))
}

/// Reads the parameters of DDR init code. `None` when there are none, or none that are known.
pub fn parse(bytes: &[u8]) -> (Option<DdrParams>, Report) {
    const MAX_ATTEMPTS: usize = 64;
    let mut report = Report::new();
    let tags = || bytes.chunks_exact(4).zip(0_u64..).filter(|(chunk, _)| **chunk == TAG.to_le_bytes());
    let Some(first) = tags().next().map(|(_, index)| index.saturating_mul(4)) else {
        report.push(
            Finding::error(
                rules::IDB_NO_PARAMETERS,
                "no DDR parameters: the tag 0x12345678 is nowhere at a multiple of 4",
            )
            .help("give DDR init code of rkbin (rkXXXX_ddr_*.bin); U-Boot's own TPL has no such parameters"),
        );
        return (None, report);
    };
    // Code may hold the number as well: the first tag with an index that makes sense is the one.
    let mut places = tags().take(MAX_ATTEMPTS).map(|(_, index)| index.saturating_mul(4));
    if let Some(found) = places.find_map(|at| read(bytes, at)) {
        let end = found.sections.iter().map(|section| section.range.end).max().unwrap_or(0);
        if end > bytes.len() as u64 {
            report.push(
                Finding::error(
                    rules::IDB_PARAMETERS_CUT,
                    format!("a section of the DDR parameters ends at byte {end}, behind the end of the file"),
                )
                .at(found.offset..end)
                .help("the file is cut; fetch it again"),
            );
        }
        if let (Some(uart), Some(at)) = (found.uart, found.uart_offset)
            && !is_usual(uart)
        {
            report.push(
                Finding::warning(
                    rules::IDB_ODD_UART,
                    format!("the DDR init code prints to {uart}, which no board does"),
                )
                .at(at..at.saturating_add(4))
                .help("set it with `rkboot ddr FILE --uart N --iomux N --baud N -o OUT`"),
            );
        }
        return (Some(found), report);
    }
    let version = word(bytes, first.saturating_add(4)).unwrap_or(0);
    report.push(
        Finding::info(
            rules::IDB_PARAMETER_VERSION,
            format!("DDR parameters of version {version}: their layout is not known here, versions 1 to 5 are"),
        )
        .at(first..first.saturating_add(8))
        .help("use rkbin's ddrbin_tool for this blob"),
    );
    (None, report)
}

/// 0xF is how blobs say that they print nothing.
fn is_usual(uart: Uart) -> bool {
    uart.id == 0xf || (uart.id <= 12 && (300..=4_000_000).contains(&uart.baud))
}

fn read(bytes: &[u8], offset: u64) -> Option<DdrParams> {
    let base = offset.checked_add(4)?;
    let version = word(bytes, base)?;
    if !READ.contains(&version) {
        return None;
    }
    let place = |pair: u64| -> Option<(u64, u64)> {
        let at = base.checked_add(4)?.checked_add(pair.checked_mul(2)?)?;
        match slice(bytes, &(at..at.saturating_add(2))) {
            [offset, size] => Some((u64::from(*offset), u64::from(*size))),
            _ => None,
        }
    };
    // The index ends where the first section begins, which is `global` or stands behind it.
    let (global, _) = place(1).filter(|(offset, size)| *offset >= 4 && *size > 0)?;
    let pairs = (0..128_u64).take_while(|pair| {
        let end = pair.saturating_mul(2).saturating_add(6);
        end <= global.saturating_sub(1).saturating_mul(4)
    });
    let mut sections = Vec::new();
    let mut first = u64::MAX;
    for pair in pairs {
        if pair.saturating_mul(2).saturating_add(6) > first.saturating_sub(1).saturating_mul(4) {
            break;
        }
        let Some((start, size)) = place(pair).filter(|(start, size)| *start > 0 && *size > 0) else { continue };
        first = first.min(start);
        let name = usize::try_from(pair).ok().and_then(|pair| NAMES.get(pair)).copied().unwrap_or("other");
        let from = base.saturating_add(start.saturating_sub(1).saturating_mul(4));
        let range = from..from.saturating_add(size.saturating_mul(4));
        let words = (0..size).map_while(|index| word(bytes, from.saturating_add(index.saturating_mul(4)))).collect();
        sections.push(Section { name, range, words });
    }
    let at = base.checked_add(global.checked_sub(1)?.checked_mul(4)?)?;
    let value = word(bytes, at)?;
    let [b0, b1, b2, high] = value.to_le_bytes();
    let uart = Uart { id: high >> 4, iomux: high & 0xf, baud: u32::from_le_bytes([b0, b1, b2, 0]) };
    Some(DdrParams { offset, version, sections, uart: Some(uart), uart_offset: Some(at) })
}

/// Sets where DDR init code prints, and changes nothing else: setting it back gives the bytes that were there. Returns
/// what was set before.
///
/// With `uart9 m0 115200` rkbin's v1.16 for RK3588 becomes, byte for byte, the file of that name in armbian/rkbin.
///
/// # Errors
/// [`ErrorKind::NotDdrInit`] for anything but a plain blob with known parameters, [`ErrorKind::DdrLayout`] for a layout
/// that is read but not changed, [`ErrorKind::UartRange`] for values that the word cannot hold.
pub fn set_uart(bytes: &mut [u8], uart: Uart) -> Result<Uart, Error> {
    let refuse = |what: &str| Err(ErrorKind::NotDdrInit { what: what.to_owned() }.into());
    if idblock::is_v2(bytes) || idblock::is_v1(bytes) {
        return refuse(
            "an idblock, whose hashes cover the code inside it; change the plain blob and make the idblock anew",
        );
    }
    if bytes.starts_with(b"LDR ") || bytes.starts_with(b"BOOT") {
        return refuse(
            "a loader file, whose checksum covers the code inside it; change the plain blob and pack it anew",
        );
    }
    if fit::is_tree(bytes) {
        return refuse("a FIT or a device tree");
    }
    if uart.id > 0xf || uart.iomux > 0xf || uart.baud > 0xff_ffff || uart.baud == 0 {
        return Err(ErrorKind::UartRange { uart }.into());
    }
    let (found, report) = parse(bytes);
    let Some(found) = found else {
        let why = report.iter().next().map_or("no DDR parameters", |finding| finding.message.as_str());
        return refuse(why);
    };
    if !WRITTEN.contains(&found.version) {
        return Err(ErrorKind::DdrLayout { version: found.version }.into());
    }
    let (Some(before), Some(at)) = (found.uart, found.uart_offset) else { return refuse("no section `global`") };
    let [b0, b1, b2, _] = uart.baud.to_le_bytes();
    let high = uart.id.wrapping_shl(4) | uart.iomux;
    let place = usize::try_from(at).ok().and_then(|at| bytes.get_mut(at..at.checked_add(4)?));
    let Some(place) = place else { return refuse("no section `global`") };
    place.copy_from_slice(&[b0, b1, b2, high]);
    Ok(before)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, clippy::unwrap_used, clippy::arithmetic_side_effects)]
    use super::*;

    fn blob(path: &str) -> Option<Vec<u8>> {
        testkit::shared(&format!("testdata/rkbin/bin/{path}")).map(testkit::read)
    }

    fn codes(report: &Report) -> Vec<&'static str> {
        report.iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn parameters_of_published_blobs() {
        for (path, offset, version, global, names) in [
            (
                "rk35/rk3588_ddr_lp4_2112MHz_lp5_2400MHz_v1.18.bin",
                0x115d0,
                5,
                0x34,
                "global lpddr4 lpddr5 lpddr4x hash hash",
            ),
            (
                "rk35/rk3588_ddr_lp4_2112MHz_lp5_2400MHz_v1.16.bin",
                0x11770,
                4,
                0x34,
                "global lpddr4 lpddr5 lpddr4x hash hash",
            ),
            (
                "rk35/rk3576_ddr_lp4_2112MHz_lp5_2736MHz_v1.09.bin",
                0x10de0,
                5,
                0x3c,
                "global lpddr4 lpddr5 lpddr4x hash hash other",
            ),
            ("rk35/rk3568_ddr_1560MHz_v1.23.bin", 0xdff8, 5, 0x24, "global ddr3 ddr4 lpddr3 lpddr4 dq_map lpddr4x"),
        ] {
            let Some(bytes) = blob(path) else { return };
            let (found, report) = parse(&bytes);
            let found = found.unwrap();
            assert!(report.is_empty(), "{report:?}");
            assert_eq!(
                (found.offset, found.version, found.uart_offset),
                (offset, version, Some(offset + global)),
                "{path}"
            );
            let listed: Vec<_> = found.sections.iter().map(|section| section.name).collect();
            assert_eq!(listed.join(" "), names, "{path}");
        }
        let Some(old) = blob("rk33/rk3399_ddr_800MHz_v1.30.bin") else { return };
        let (found, report) = parse(&old);
        assert_eq!((found, codes(&report)), (None, vec!["IDB062"]));
    }

    #[test]
    fn the_uart_is_set_as_a_published_product_has_it_and_back() {
        let Some(original) = blob("rk35/rk3588_ddr_lp4_2112MHz_lp5_2400MHz_v1.16.bin") else { return };
        let mut bytes = original.clone();
        let before = set_uart(&mut bytes, Uart { id: 9, iomux: 0, baud: 115_200 }).unwrap();
        assert_eq!(before, Uart { id: 2, iomux: 0, baud: 1_500_000 });
        assert!(imgcore::Digest::of(&bytes).hex().starts_with("b2be6f4060281a3a"));
        set_uart(&mut bytes, before).unwrap();
        assert!(bytes == original);
    }

    #[test]
    fn only_plain_blobs_are_changed() {
        let uart = Uart { id: 2, iomux: 0, baud: 115_200 };
        let sample = |version: u32| [TAG, version, 0x0104_0000, 0, 0x2016_e360].map(u32::to_le_bytes).concat();
        for (mut bytes, uart, part) in [
            (b"RKNS".to_vec(), uart, "an idblock"),
            (b"LDR f".to_vec(), uart, "a loader file"),
            (vec![0xd0, 0x0d, 0xfe, 0xed], uart, "a FIT"),
            (b"nothing".to_vec(), uart, "0x12345678"),
            (sample(3), uart, "version 3"),
            (sample(6), uart, "version 6"),
            (sample(4), Uart { baud: 0x100_0000, ..uart }, "16777216"),
        ] {
            let before = bytes.clone();
            let message = set_uart(&mut bytes, uart).unwrap_err().to_string();
            assert!(message.contains(part), "{message}");
            assert_eq!(bytes, before);
        }
    }

    #[test]
    fn damage_is_said() {
        let cut = [TAG, 4, 0x0904_0000, 0, 0x2016_e360].map(u32::to_le_bytes).concat();
        assert_eq!(codes(&parse(&cut).1), ["IDB061"]);
        let odd = [TAG, 4, 0x0104_0000, 0, 0xe000_0001].map(u32::to_le_bytes).concat();
        assert_eq!(codes(&parse(&odd).1), ["IDB063"]);
        assert_eq!(codes(&parse(&[]).1), ["IDB060"]);
        assert_eq!(codes(&parse(&TAG.to_le_bytes()).1), ["IDB062"]);
    }
}
