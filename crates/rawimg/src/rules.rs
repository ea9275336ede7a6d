//! The finding codes of this crate. A code, once published, keeps its meaning for ever.

use imgcore::Severity::{self, Error, Info, Warning};

/// Every code, its severity and what it means.
pub const RULES: &[(&str, Severity, &str)] = &[
    ("GPT001", Error, "there is no GUID partition table"),
    ("GPT002", Error, "the primary GPT header is damaged: signature, size, checksum or own address"),
    ("GPT003", Error, "the backup GPT header is missing or damaged"),
    ("GPT004", Warning, "the backup table is not at the end of the disk"),
    ("GPT005", Error, "primary and backup GPT header disagree"),
    ("GPT006", Error, "the primary entry array does not have its checksum"),
    ("GPT007", Error, "the backup entry array does not have its checksum"),
    ("GPT008", Error, "the usable range lies outside the disk or covers the table itself"),
    ("GPT009", Error, "the entry array is outside the disk or the limits of the reader"),
    ("GPT010", Warning, "the partitions were read from the backup table"),
    ("GPT011", Error, "the protective MBR is missing"),
    ("GPT012", Warning, "the protective MBR does not cover the disk"),
    ("GPT013", Warning, "the MBR is a hybrid with entries of its own"),
    ("GPT014", Warning, "the GPT header has an unusual revision, size or reserved bytes"),
    ("GPT015", Error, "two partitions have the same GUID"),
    ("GPT016", Error, "a partition lies outside the usable range or ends before it begins"),
    ("GPT017", Error, "two partitions overlap"),
    ("GPT018", Warning, "a partition name is not valid UTF-16"),
    ("GPT019", Info, "a partition does not begin at a multiple of 1 MiB"),
    ("GPT020", Error, "the medium cannot be read"),
];
