//! Blobs that Rockchip has published, by size and the first eight bytes of their SHA-256.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::collections::BTreeMap;

use imgcore::Digest;

use super::BlobKind;
use crate::{Soc, util::is_fill};

/// The whole history of rkbin up to f43a462e7a14 for RK3328, RK3399, RK3528, RK356x, RK3576 and RK3588. One line a name,
/// with `@` for the version, then `version:size:digest` of each content that it has had.
const RKBIN: &str = include_str!("rkbin.txt");

/// Contents that are known from elsewhere: armbian/rkbin ce50c0d1ad1d, and the first segment of a BL31 as a FIT holds it.
const EXTRAS: &str = include_str!("extras.txt");

/// Images are padded to 2 KiB by mkimage, to 4 KiB by the vendor for the RK3576.
const MAX_PADDING: usize = 4096;

/// A published blob.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Known {
    /// What it is.
    pub kind: BlobKind,
    /// Path in rkbin: `rk35/rk3588_bl31_v1.48.elf`; those of armbian/rkbin begin with `armbian/`.
    pub path: String,
    /// `v1.48`.
    pub version: &'static str,
    /// Its size in bytes.
    pub size: u64,
}

impl Known {
    /// The file's name without its folder.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// The SoC that its name tells.
    pub fn soc(&self) -> Option<Soc> {
        soc_of(self.name())
    }
}

/// The SoC that the name of a blob tells.
pub(crate) fn soc_of(name: &str) -> Option<Soc> {
    // Names of SoC families that mkimage does not have.
    if name.starts_with("rk322xh") {
        return Some(Soc::Rk3328);
    }
    if name.starts_with("rk356x") {
        return Some(Soc::Rk3568);
    }
    Soc::from_name(name)
}

/// A row of the tables.
struct Row {
    template: &'static str,
    version: &'static str,
    size: usize,
    digest: &'static str,
}

fn rows() -> impl Iterator<Item = Row> {
    RKBIN.lines().chain(EXTRAS.lines()).flat_map(|line| {
        let mut words = line.split(' ');
        let template = words.next().unwrap_or_default();
        words.filter_map(move |word| {
            let mut parts = word.split(':');
            let (version, size, digest) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?);
            Some(Row { template, version, size, digest })
        })
    })
}

/// The blobs that fill `bytes` but for zeros at the end, less than 4 KiB of them. One content has had several names.
///
/// ```
/// assert!(rkboot::identity::lookup(b"no blob").is_empty());
/// ```
pub fn lookup(bytes: &[u8]) -> Vec<Known> {
    // Each size is hashed once; few sizes are as near to a given one as padding goes.
    let mut digests: BTreeMap<usize, Option<String>> = BTreeMap::new();
    let mut found: Vec<Known> = Vec::new();
    for row in rows() {
        let digest = digests.entry(row.size).or_insert_with(|| {
            let (blob, padding) = (bytes.get(..row.size)?, bytes.get(row.size..)?);
            let is_padding =
                padding.len() < MAX_PADDING && is_fill(padding) && padding.first().is_none_or(|byte| *byte == 0);
            is_padding.then(|| Digest::of(blob).hex())
        });
        if digest.as_ref().is_some_and(|digest| digest.starts_with(row.digest)) {
            found.push(Known {
                kind: BlobKind::of_name(row.template),
                path: row.template.replace('@', row.version),
                version: row.version,
                size: row.size as u64,
            });
        }
    }
    found
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing, clippy::unwrap_used)]
    use std::{
        collections::{BTreeMap, BTreeSet},
        fmt::Write as _,
    };

    use super::*;

    #[test]
    fn the_table_is_that_of_the_inventory() {
        let Some(path) = testkit::shared("testdata/expected/rkbin-inventory.tsv") else { return };
        let inventory = String::from_utf8(testkit::read(path)).unwrap();
        let mut lines: BTreeMap<String, BTreeSet<(String, u32, String)>> = BTreeMap::new();
        for line in inventory.lines().skip(1) {
            let columns: Vec<_> = line.split('\t').collect();
            let (stem, ending) = columns[0].strip_prefix("bin/").unwrap().rsplit_once('.').unwrap();
            let (stem, version) = stem.rsplit_once('_').unwrap();
            lines.entry(format!("{stem}_@.{ending}")).or_default().insert((
                version.to_owned(),
                columns[3].parse().unwrap(),
                columns[4][..16].to_owned(),
            ));
        }
        let mut table = String::new();
        for (template, contents) in lines {
            table += &template;
            for (version, size, digest) in contents {
                let _ = write!(table, " {version}:{size}:{digest}");
            }
            table.push('\n');
        }
        assert!(RKBIN == table, "src/identity/rkbin.txt is not what the inventory says");
        assert!(rows().all(|row| row.digest.len() == 16 && row.size > 1000), "a row is malformed");
        assert!(rows().all(|row| BlobKind::of_name(row.template) != BlobKind::Other));
    }
}
