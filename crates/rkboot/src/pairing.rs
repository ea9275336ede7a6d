//! Does this DDR init code go with that BL31?
//!
//! Both drive the DRAM controller: one at start, the other when the system changes frequencies or sleeps. Rockchip's notes
//! name the least version of BL31 for some versions of the code for RK3588, and BL31 itself names the least version of the
//! code. What happens with another pair is not documented.
//!
//! ```
//! use rkboot::pairing;
//!
//! let ddr = b"\0DDR 9fa84341ce typ 24/09/06-09:51:11,fwver: v1.18\0";
//! let bl31 = b"\0v2.3():v2.3-682-g4ca8a8422:derrick.huang, fwver: v1.45\0";
//! let report = pairing::check_blobs(ddr, bl31, Some(rkboot::Soc::Rk3588));
//! assert_eq!(report.iter().next().unwrap().code, "IDB050");
//! ```
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use imgcore::{Finding, Report};

use crate::{
    Soc, flow,
    identity::{BlobKind, Identified, identify},
    rules,
    util::slice,
};

/// For RK3588: from this version of the DDR code on, at least that version of BL31 (notes in rkbin's `doc/release`).
const RK3588: [((u32, u32), (u32, u32)); 3] = [((1, 18), (1, 47)), ((1, 13), (1, 41)), ((1, 11), (1, 38))];

/// What BL31 says about the DDR code.
const WANTS: &str = "need match with loader ddr bin ";

/// Compares the DDR init code in a first stage (an idblock, or a file with one) with the BL31 in a second stage (a FIT, or
/// a file with one). A combined file is both. Ranges are bytes of `first`.
pub fn check(first: &[u8], second: &[u8]) -> Report {
    let find = |bytes: &[u8], kind: BlobKind| identify(bytes).into_iter().find(|blob| blob.kind == kind);
    let (Some(ddr), Some(bl31)) = (find(first, BlobKind::Ddr), find(second, BlobKind::Bl31)) else {
        // U-Boot's own TPL and the trust image of older SoCs follow other rules.
        return Report::new();
    };
    let tree = flow::abilities(second).0.and_then(|found| found.tree);
    let mut told = tree.iter().flat_map(|tree| &tree.compatible);
    let soc = told.find_map(|text| Soc::from_name(text.strip_prefix("rockchip,")?));
    judge(&ddr, &bl31, slice(second, &bl31.range), soc)
}

/// [`check`] for the two blobs as such. `soc` is asked for only when the DDR code is not one that was published.
pub fn check_blobs(ddr: &[u8], bl31: &[u8], soc: Option<Soc>) -> Report {
    let of_kind = |bytes: &[u8], kind: BlobKind| identify(bytes).into_iter().find(|blob| blob.kind == kind);
    match (of_kind(ddr, BlobKind::Ddr), of_kind(bl31, BlobKind::Bl31)) {
        (Some(code), Some(tfa)) => judge(&code, &tfa, bl31, soc),
        _ => Report::new(),
    }
}

fn judge(ddr: &Identified, bl31: &Identified, bl31_bytes: &[u8], soc: Option<Soc>) -> Report {
    let mut report = Report::new();
    if !bl31.is_rockchip_bl31() {
        // TF-A of the TF-A project counts its versions otherwise, and its SoC code does not rely on this pair.
        return report;
    }
    let place = ddr.range.clone();
    let name = |blob: &Identified| {
        format!("{} {}", blob.kind.name(), blob.version.as_deref().unwrap_or("of no known version"))
    };
    let (Some(code), Some(tfa)) = (number(ddr), number(bl31)) else {
        report.push(
            Finding::info(
                rules::IDB_PAIR_UNKNOWN,
                format!("whether {} goes with {} is not known", name(ddr), name(bl31)),
            )
            .at(place)
            .help("take both from one commit of rkbin"),
        );
        return report;
    };
    let soc = ddr.socs().next().or(bl31.socs().next()).or(soc);
    let needed = match soc {
        Some(Soc::Rk3588) => RK3588.iter().find(|(from, _)| code >= *from).map(|(_, least)| *least),
        _ => None,
    };
    if let Some((major, minor)) = needed.filter(|least| tfa < *least) {
        report.push(
            Finding::warning(
                rules::IDB_OLD_BL31,
                format!(
                    "{} needs BL31 v{major}.{minor:02} or newer, and the second stage has {}",
                    name(ddr),
                    name(bl31)
                ),
            )
            .at(place.clone())
            .help("build the FIT with a newer BL31 of rkbin, or take older DDR init code"),
        );
    }
    let wanted = flow::texts(bl31_bytes).find_map(|(_, text)| version(text.split_once(WANTS)?.1));
    if let Some((major, minor)) = wanted.filter(|least| code < *least) {
        report.push(
            Finding::warning(
                rules::IDB_OLD_DDR,
                format!(
                    "{} says that it needs DDR init code v{major}.{minor:02} or newer, and the idblock has {}",
                    name(bl31),
                    name(ddr)
                ),
            )
            .at(place.clone())
            .help("take newer DDR init code of rkbin, or build the FIT with an older BL31"),
        );
    }
    if report.is_empty() && needed.is_none() && wanted.is_none() {
        report.push(
            Finding::info(rules::IDB_PAIR_UNKNOWN, format!("no rule is known for {} with {}", name(ddr), name(bl31)))
                .at(place)
                .help("take both from one commit of rkbin"),
        );
    }
    report
}

fn number(blob: &Identified) -> Option<(u32, u32)> {
    version(blob.version.as_deref()?)
}

/// `v1.18`, `V1.13 or newer`.
fn version(text: &str) -> Option<(u32, u32)> {
    let rest = text.strip_prefix(['v', 'V'])?;
    let (major, rest) = rest.split_once('.')?;
    let minor = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(ddr: &str, bl31: &str, soc: Option<Soc>) -> Vec<&'static str> {
        let ddr = format!("\0DDR 9fa84341ce typ 24/09/06-09:51:11,fwver: {ddr}\0");
        let bl31 = format!(
            "\0v2.3():v2.3-868-g0:x, fwver: {bl31}\0current trust bl31 need match with loader ddr bin V1.13 or newer\0"
        );
        check_blobs(ddr.as_bytes(), bl31.as_bytes(), soc).iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn pairs_are_judged_by_both_rules() {
        let rk3588 = Some(Soc::Rk3588);
        for (ddr, bl31, soc, expected) in [
            ("v1.18", "v1.47", rk3588, &[][..]),
            ("v1.18", "v1.46", rk3588, &["IDB050"]),
            ("v1.22", "v1.48", rk3588, &[]),
            ("v1.16", "v1.45", rk3588, &[]),
            ("v1.13", "v1.40", rk3588, &["IDB050"]),
            ("v1.11", "v1.38", rk3588, &["IDB051"]),
            ("v1.11", "v1.37", rk3588, &["IDB050", "IDB051"]),
            ("v1.23", "v1.44", Some(Soc::Rk3568), &[]),
            ("vX", "v1.44", rk3588, &["IDB052"]),
        ] {
            assert_eq!(codes(ddr, bl31, soc), expected, "{ddr} {bl31}");
        }
        let ddr = b"\0DDR a b 24/09/06-09:51:11,fwver: v1.23\0";
        let unruled = check_blobs(ddr, b"\0v2.3():x, fwver: v1.44\0", Some(Soc::Rk3568));
        assert_eq!(unruled.iter().map(|finding| finding.code).collect::<Vec<_>>(), ["IDB052"]);
        // TF-A of the TF-A project.
        assert!(check_blobs(ddr, b"\0v2.12.1(release):v2.12.1\0", rk3588).is_empty());
    }
}
