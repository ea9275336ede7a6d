//! Measured facts about loader files, the vendor's older formats, tables and partition lists.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use imgcore::{Digest, Fact};

use super::check;
use crate::{
    dtbo_table::{self, Compression, DtboTable},
    legacy::{
        loader_image::{self, LoaderImage},
        trust::{self, Trust},
    },
    loader::{self, Loader},
    parameter::{self, Parameter},
    util::{hex, slice},
};

/// Each byte is hashed at most this many times, however many entries claim it.
const MAX_PASSES: u64 = 4;

/// The facts, if the file is one of these.
pub(super) fn facts(bytes: &[u8]) -> Option<Vec<Fact>> {
    if loader::is_loader(bytes) {
        return loader::parse(bytes).0.map(|found| loader_facts(&found, bytes));
    }
    if loader_image::is_loader_image(bytes) {
        return loader_image::parse(bytes).0.map(|found| image_facts(&found));
    }
    if trust::is_trust(bytes) {
        return trust::parse(bytes).0.map(|found| trust_facts(&found));
    }
    if dtbo_table::is_dtbo_table(bytes) {
        return dtbo_table::parse(bytes).0.map(|found| table_facts(&found, bytes));
    }
    if parameter::is_parameter(bytes) {
        return parameter::parse(bytes).0.map(|found| parameter_facts(&found));
    }
    None
}

/// The digest of a part, as long as the parts together stay within a few passes over the file.
struct Budget<'a> {
    bytes: &'a [u8],
    left: u64,
}

impl<'a> Budget<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, left: (bytes.len() as u64).saturating_mul(MAX_PASSES) }
    }

    fn digest(&mut self, range: &std::ops::Range<u64>) -> String {
        let size = range.end.saturating_sub(range.start);
        if range.end > self.bytes.len() as u64 || size > self.left {
            return "None".to_owned();
        }
        self.left = self.left.saturating_sub(size);
        Digest::of(slice(self.bytes, range)).hex()
    }
}

fn loader_facts(loader: &Loader, bytes: &[u8]) -> Vec<Fact> {
    let mut facts = vec![Fact::new(
        "loader",
        0,
        "header",
        format!(
            "tag='{}' header_size={} version={:#x} merger={:#x} time={} chip={} sign={} rc4_flag={}",
            loader.form.tag(),
            loader.header_size,
            loader.version,
            loader.merger_version,
            loader.time,
            loader.chip,
            loader.sign_flag,
            loader.rc4_flag
        ),
    )];
    let mut budget = Budget::new(bytes);
    for (entry, index) in loader.entries.iter().zip(0_usize..) {
        let value = format!(
            "type={} name={} offset={} size={} delay_ms={} sha256_raw={}",
            entry.kind,
            entry.name,
            entry.range.start,
            entry.range.end.saturating_sub(entry.range.start),
            entry.delay_ms,
            budget.digest(&entry.range)
        );
        facts.push(Fact::new("loader", 0, format!("entry{index}"), value));
    }
    facts.push(Fact::new("loader", 0, "crc32", format!("{:#x} ok={}", loader.crc, check(loader.crc_check))));
    facts
}

fn image_facts(image: &LoaderImage) -> Vec<Fact> {
    let mut facts = vec![
        Fact::new(
            "loader-image",
            0,
            "header",
            format!(
                "magic='{}' version={:#x} load={:#x} size={} hash_length={}",
                image.kind.magic(),
                image.version,
                image.load,
                image.size,
                image.hash.len()
            ),
        ),
        Fact::new("loader-image", 0, "crc32", format!("{:#x} ok={}", image.crc, check(image.crc_check))),
        Fact::new("loader-image", 0, "hash", format!("{} ok={}", hex(&image.hash), check(image.hash_check))),
        Fact::new("loader-image", 0, "js_hash", format!("{:#x} ok={}", image.js_hash, check(image.js_check))),
    ];
    for slot in image.slots.iter().skip(1) {
        facts.push(Fact::new("loader-image", slot.range.start, "copy", python_bool(slot.identical)));
    }
    facts
}

fn trust_facts(trust: &Trust) -> Vec<Fact> {
    let mut facts = vec![Fact::new(
        "trust",
        0,
        "header",
        format!(
            "version={:#x} flags={:#x} components={} sign_offset={}",
            trust.version, trust.flags, trust.count, trust.sign_offset
        ),
    )];
    for (component, index) in trust.components.iter().zip(0_usize..) {
        let value = format!(
            "id={} storage_block={} image_blocks={} load={:#x} load_size={:#x} sha256={} ok={}",
            component.id,
            component.block,
            component.blocks,
            component.load,
            component.load_size,
            hex(&component.hash),
            check(component.check)
        );
        facts.push(Fact::new("trust", 0, format!("component{index}"), value));
    }
    for slot in trust.slots.iter().skip(1) {
        facts.push(Fact::new("trust", slot.range.start, "copy", python_bool(slot.identical)));
    }
    facts
}

fn table_facts(table: &DtboTable, bytes: &[u8]) -> Vec<Fact> {
    let mut facts = vec![Fact::new(
        "dtbo-table",
        0,
        "header",
        format!(
            "total={} header_size={} entry_size={} entries={} entries_offset={} page_size={} version={}",
            table.total_size,
            table.header_size,
            table.entry_size,
            table.entry_count,
            table.entries_offset,
            table.page_size,
            table.version
        ),
    )];
    let mut budget = Budget::new(bytes);
    for (entry, index) in table.entries.iter().zip(0_usize..) {
        let size = entry.range.end.saturating_sub(entry.range.start);
        let value = format!("offset={} size={size} sha256={}", entry.range.start, budget.digest(&entry.range));
        facts.push(Fact::new("dtbo-table", 0, format!("entry{index}"), value));
    }
    let mut seen = std::collections::BTreeSet::new();
    for entry in &table.entries {
        if entry.compression == Compression::None && seen.insert(entry.range.start) {
            facts.extend(dtbtool::facts(entry.data(bytes), entry.range.start));
        }
    }
    facts
}

fn parameter_facts(parameter: &Parameter) -> Vec<Fact> {
    let mut facts = Vec::new();
    for (key, value) in parameter.keys.iter().filter(|(key, _)| key != "CMDLINE") {
        facts.push(Fact::new("parameter", 0, format!("key {key}"), value.as_str()));
    }
    for partition in &parameter.partitions {
        let value = format!(
            "start={} size={} flags={} uuid={}",
            partition.start,
            partition.size.map_or_else(|| "rest".to_owned(), |size| size.to_string()),
            if partition.flags.is_empty() { "-".to_owned() } else { partition.flags.join(",") },
            partition.uuid.as_deref().unwrap_or("None")
        );
        facts.push(Fact::new("parameter", 0, format!("partition {}", partition.name), value));
    }
    facts
}

/// As the tables of measured facts write it.
fn python_bool(value: bool) -> &'static str {
    if value { "True" } else { "False" }
}
