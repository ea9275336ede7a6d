//! Do the parts that go into a boot file look like what they are given as, and for the SoC they are given for?
//!
//! Nothing is refused here: a part that nobody has published may be right, and test vectors mix parts of several SoCs.
//!
//! ```
//! use rkboot::{Soc, idblock, check_idblock_parts};
//!
//! let parts = idblock::Parts { soc: Soc::Rk3588, init: b"\x7fELF", boot: Some(b"spl") };
//! let report = check_idblock_parts(&parts);
//! assert_eq!(report.iter().next().unwrap().code, "IDB041");
//! ```
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use imgcore::{Finding, Report, Severity};

use crate::{
    Soc,
    bootfile::soc::{is_family, list, tree_socs},
    dtbo_table, fit,
    fit::build,
    idblock,
    identity::{BlobKind, Identified, identify},
    loader, rules,
    util::quote,
};

/// What a file is that is no plain program.
fn container(bytes: &[u8]) -> Option<&'static str> {
    if bytes.starts_with(b"\x7fELF") {
        Some("an ELF program")
    } else if fit::is_fit(bytes) {
        Some("a FIT")
    } else if fit::is_tree(bytes) {
        Some("a device tree")
    } else if idblock::is_v1(bytes) || idblock::is_v2(bytes) {
        Some("an idblock")
    } else if loader::is_loader(bytes) {
        Some("a loader file")
    } else if dtbo_table::is_dtbo_table(bytes) {
        Some("a table of device trees")
    } else if bytes.starts_with(b"\x1f\x8b")
        || bytes.starts_with(b"\xfd7zXZ\0")
        || bytes.starts_with(b"\x28\xb5\x2f\xfd")
    {
        Some("a compressed file")
    } else if bytes.starts_with(b"<") {
        Some("a web page or other markup")
    } else {
        None
    }
}

/// What a part is, where that is neither of `kinds` nor U-Boot's TPL in the place of DDR init code.
fn other_kind(bytes: &[u8], kinds: &[BlobKind]) -> Option<String> {
    if let Some(what) = container(bytes) {
        return Some(what.to_owned());
    }
    let blob = identify(bytes).into_iter().find(|blob| blob.kind != BlobKind::Other)?;
    let is_tpl = blob.text.as_ref().is_some_and(|text| text.starts_with("U-Boot TPL "));
    let fits = kinds.contains(&blob.kind) || (is_tpl && kinds.contains(&BlobKind::Ddr));
    (!fits).then(|| blob.to_string())
}

/// Whether a blob was published, and for other SoCs only.
fn foreign(blob: &Identified, soc: Soc) -> bool {
    blob.socs().next().is_some() && !blob.socs().any(|found| is_family(found, soc))
}

/// Looks at the parts of an idblock: an ELF program, a device tree or an archive where a plain program belongs, an SPL where
/// DDR init code belongs, blobs that were published for other SoCs. Warnings only; ranges are bytes of the part.
pub fn check_idblock_parts(parts: &idblock::Parts<'_>) -> Report {
    let mut report = Report::new();
    let rows = [
        ("the init code", Some(parts.init), &[BlobKind::Ddr][..], "--ddr takes a DDR blob of rkbin or u-boot-tpl.bin"),
        (
            "the boot code",
            parts.boot,
            &[BlobKind::Spl, BlobKind::Miniloader],
            "--spl takes u-boot-spl.bin or an SPL of rkbin",
        ),
    ];
    for (what, bytes, kinds, help) in rows {
        let Some(bytes) = bytes else { continue };
        let end = bytes.len() as u64;
        if let Some(found) = other_kind(bytes, kinds) {
            report.push(
                Finding::warning(rules::IDB_PART_KIND, format!("{what} is {found}, expected {}", kinds_of(kinds)))
                    .at(0..end)
                    .help(format!("the board would not start from this; {help}")),
            );
        } else if let Some(blob) = identify(bytes).into_iter().find(|blob| foreign(blob, parts.soc)) {
            report.push(
                Finding::new(
                    Severity::Warning,
                    rules::IDB_OTHER_SOC,
                    format!("{what} is {blob}, expected code for {}", parts.soc),
                )
                .at(0..end)
                .help("take the blob of the board's SoC, or correct --soc"),
            );
        }
    }
    report
}

fn kinds_of(kinds: &[BlobKind]) -> String {
    kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(" or ")
}

/// Looks at the parts of a FIT: device trees that name another SoC, TF-A or OP-TEE that was published for another one, files
/// of another kind. Warnings only; ranges are bytes of the part.
pub fn check_fit_parts(parts: &build::Parts<'_>) -> Report {
    let mut report = Report::new();
    let soc = parts.soc;
    for tree in &parts.device_trees {
        let found = tree_socs(tree.bytes);
        if !found.is_empty() && !found.iter().any(|found| is_family(*found, soc)) {
            report.push(
                Finding::warning(
                    rules::FIT_TREE_SOC,
                    format!("device tree {} is for {}, expected one for {soc}", quote(tree.name), list(&found)),
                )
                .at(0..tree.bytes.len() as u64)
                .help("give the U-Boot device tree of the board, or correct --soc"),
            );
        }
    }
    let rows = [
        ("BL31", parts.bl31, &[BlobKind::Bl31, BlobKind::Other][..]),
        ("OP-TEE", parts.tee.as_ref().map(|tee| tee.bytes), &[BlobKind::Bl32, BlobKind::Other]),
        ("U-Boot", Some(parts.u_boot), &[BlobKind::UBoot, BlobKind::Other]),
    ];
    for (what, bytes, kinds) in rows {
        let Some(bytes) = bytes else { continue };
        // BL31 and OP-TEE come as ELF programs; what else they cannot be is refused when the FIT is planned.
        for blob in identify(bytes).into_iter().take(1) {
            let problem = if foreign(&blob, soc) {
                format!("expected one for {soc}")
            } else if kinds.contains(&blob.kind) {
                continue;
            } else {
                format!("expected {what}")
            };
            report.push(
                Finding::warning(rules::FIT_BLOB_SOC, format!("the file given as {what} is {blob}, {problem}"))
                    .at(0..bytes.len() as u64)
                    .help("give the file of the board's SoC: rkbin has rkXXXX_bl31_*.elf and rkXXXX_bl32_*.bin"),
            );
        }
    }
    report
}
