//! Rockchip parameter files (`parameter.txt`): the vendor's partition table as text.
//!
//! Lines of `KEY: value`; the partitions are in `CMDLINE` in the kernel's `mtdparts` syntax, counted in sectors of 512
//! bytes: `mtdparts=rk29xxnand:0x2000@0x4000(uboot),-@0x46000(rootfs:grow)`. With `TYPE: GPT` the flashing tool makes a
//! GPT of them. Vendor SPLs look for partitions called `uboot` and `trust` first, so such a file decides what starts.
//!
//! ```
//! let text = "FIRMWARE_VER: 1.0\nTYPE: GPT\n\
//!     CMDLINE: mtdparts=rk29xxnand:0x2000@0x4000(uboot),0x8000@0x8000(boot),-@0x10000(rootfs:grow)\n";
//! let (found, report) = rkboot::parameter::parse(text.as_bytes());
//! let found = found.expect("a parameter file");
//! assert!(report.is_empty());
//! assert_eq!(found.partitions[0].range(u64::MAX), 8 << 20..12 << 20);
//! assert_eq!(found.layout(64 << 20).sorted()[2].owner, "partition rootfs");
//! ```
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::ops::Range;

use imgcore::{Finding, Layout, Report};

use crate::{
    rules,
    util::{SECTOR, quote},
};

/// Larger than any such file; the flashing tool reads 64 KiB.
const MAX_SIZE: usize = 64 * 1024;

/// More than any table of the vendor has (about 15).
const MAX_PARTITIONS: usize = 256;

/// The keys of Rockchip's own files (rkbin, rkdeveloptool's documentation).
const KEYS: &[&str] = &[
    "FIRMWARE_VER",
    "MACHINE_MODEL",
    "MACHINE_ID",
    "MANUFACTURER",
    "MAGIC",
    "ATAG",
    "MACHINE",
    "CHECK_MASK",
    "PWR_HLD",
    "TYPE",
    "GROW_ALIGN",
    "CMDLINE",
    "KERNEL_IMG",
    "BOOT_IMG",
    "RECOVERY_IMG",
    "RECOVER_KEY",
    "FDT_NAME",
    "UUID",
];

/// First sectors behind a GPT whose entries are in the usual place, idblocks, the FIT: names of partitions that may lie
/// there.
const BOOT_AREAS: &[(Range<u64>, &str, &[&str])] = &[
    (0..64, "the partition table", &[]),
    (64..0x2000, "the idblocks", &["idblock", "idbloader", "loader1", "preloader", "reserved", "security", "vnvm"]),
    (0x4000..0x4001, "U-Boot", &["uboot", "u-boot", "loader2", "fit", "bootloader"]),
];

/// Whether `bytes` are a text with the keys of a parameter file.
pub fn is_parameter(bytes: &[u8]) -> bool {
    let Some(text) = (bytes.len() <= MAX_SIZE).then(|| std::str::from_utf8(bytes).ok()).flatten() else { return false };
    if text.contains('\0') {
        return false;
    }
    let has = |key: &str| lines(text).any(|(line, _)| key_value(line).is_some_and(|(found, _)| found == key));
    has("CMDLINE") && (has("FIRMWARE_VER") || text.contains("mtdparts="))
}

/// A parameter file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Parameter {
    /// Every key with its value, in the order of the file, unknown ones too.
    pub keys: Vec<(String, String)>,
    /// The device name in front of the partitions, `rk29xxnand`.
    pub device: String,
    /// The partitions in the order of the file.
    pub partitions: Vec<Partition>,
}

/// A partition. Numbers are sectors of 512 bytes from the start of the medium.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Partition {
    /// Its name without flags.
    pub name: String,
    /// What follows the name after a colon, `grow` or `bootable`.
    pub flags: Vec<String>,
    /// First sector.
    pub start: u64,
    /// Count of sectors; `None` for all that is left.
    pub size: Option<u64>,
    /// The GUID that a line `uuid:NAME=…` gives it.
    pub uuid: Option<String>,
    /// Where it stands in the text.
    pub text: Range<u64>,
}

impl Partition {
    /// Its bytes on a medium of `size` bytes. A partition that takes all that is left ends there.
    pub fn range(&self, size: u64) -> Range<u64> {
        let start = self.start.saturating_mul(SECTOR);
        let end = self.size.map_or(size, |sectors| self.start.saturating_add(sectors).saturating_mul(SECTOR));
        start..end.max(start)
    }
}

impl Parameter {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.keys.iter().find(|(found, _)| found == key).map(|(_, value)| value.as_str())
    }

    /// Who owns which bytes of a medium of `size` bytes.
    pub fn layout(&self, size: u64) -> Layout {
        let mut layout = Layout::new();
        for partition in &self.partitions {
            layout.add(format!("partition {}", partition.name), partition.range(size));
        }
        layout
    }
}

/// Reads a parameter file. `None` when it is none.
pub fn parse(bytes: &[u8]) -> (Option<Parameter>, Report) {
    let mut report = Report::new();
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    if !is_parameter(bytes) {
        report.push(
            Finding::error(
                rules::LEG_NO_PARAMETER,
                "no parameter file: expected text with lines FIRMWARE_VER: and CMDLINE: mtdparts=",
            )
            .at(0..bytes.len() as u64)
            .help("take the parameter.txt of the vendor's package"),
        );
        return (None, report);
    }
    let mut parameter = Parameter { keys: Vec::new(), device: String::new(), partitions: Vec::new() };
    let mut uuids = Vec::new();
    for (line, at) in lines(text) {
        let range = at..at.saturating_add(line.len() as u64);
        let trimmed = line.trim();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        let Some((key, value)) = key_value(line) else {
            report.push(
                Finding::warning(rules::LEG_PARAMETER_LINE, format!("a line without a key: {}", quote(trimmed)))
                    .at(range)
                    .help("the flashing tool skips it; write KEY: value, or # in front of a remark"),
            );
            continue;
        };
        if key.eq_ignore_ascii_case("uuid") {
            uuids.push((value.to_owned(), range.clone()));
        } else if !KEYS.contains(&key) {
            report.push(
                Finding::info(rules::LEG_PARAMETER_KEY, format!("a key that is not known here: {}", quote(key)))
                    .at(range.clone())
                    .help("it is kept; the vendor's tools may know it"),
            );
        }
        if key == "CMDLINE" && parameter.get("CMDLINE").is_none() {
            let offset = (line.len() as u64).saturating_sub(value.len() as u64);
            read_partitions(value, at.saturating_add(offset), &mut parameter, &mut report);
        }
        parameter.keys.push((key.to_owned(), value.to_owned()));
    }
    if parameter.partitions.is_empty() {
        report.push(
            Finding::error(
                rules::LEG_NO_PARTITIONS,
                "CMDLINE holds no partition: expected mtdparts=DEVICE:SIZE@START(NAME),…",
            )
            .at(0..bytes.len() as u64)
            .help("without partitions the flashing tool writes nothing but the loader"),
        );
    }
    for (value, range) in uuids {
        let named = value.split_once('=').and_then(|(name, uuid)| {
            let name = name.trim();
            parameter.partitions.iter_mut().find(|partition| partition.name == name).map(|found| (found, uuid))
        });
        match named {
            Some((partition, uuid)) => partition.uuid = Some(uuid.trim().to_owned()),
            None => report.push(
                Finding::warning(
                    rules::LEG_PARAMETER_UUID,
                    format!("a uuid for a partition that is not there: {}", quote(&value)),
                )
                .at(range)
                .help("write uuid:NAME=GUID with a name that CMDLINE has"),
            ),
        }
    }
    check_partitions(&parameter, &mut report);
    (Some(parameter), report)
}

/// Lines without their ends, and where they start.
fn lines(text: &str) -> impl Iterator<Item = (&str, u64)> {
    let mut at = 0_u64;
    text.split_inclusive('\n').map(move |line| {
        let start = at;
        at = at.saturating_add(line.len() as u64);
        (line.trim_end_matches(['\n', '\r']), start)
    })
}

fn key_value(line: &str) -> Option<(&str, &str)> {
    let (key, value) = line.split_once(':')?;
    let key = key.trim();
    let is_key = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (!key.is_empty() && key.bytes().all(is_key)).then_some((key, value.trim_start()))
}

/// Decimal, hexadecimal with `0x`, octal with a leading zero, as the kernel reads `mtdparts`. A `K`, `M` or `G` at the end
/// counts bytes there and is no use of Rockchip's; it is refused.
fn number(text: &str) -> Option<u64> {
    let text = text.trim();
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return u64::from_str_radix(hex, 16).ok();
    }
    if text.starts_with('0') && text.len() > 1 {
        return u64::from_str_radix(text, 8).ok();
    }
    text.parse().ok()
}

fn read_partitions(value: &str, value_at: u64, parameter: &mut Parameter, report: &mut Report) {
    const KEY: &str = "mtdparts=";
    let Some(at) = value.find(KEY).map(|at| at.saturating_add(KEY.len())) else { return };
    let list = value.get(at..).unwrap_or_default();
    // Other arguments of the kernel may follow, unless a placeholder holds the space.
    let list = list.split_whitespace().next().unwrap_or_default();
    let Some((device, list)) = list.split_once(':') else { return };
    device.clone_into(&mut parameter.device);
    let mut start = value_at.saturating_add(at as u64).saturating_add(device.len() as u64).saturating_add(1);
    let mut next = 0_u64;
    for item in split_items(list) {
        let range = start..start.saturating_add(item.len() as u64);
        start = range.end.saturating_add(1);
        if parameter.partitions.len() >= MAX_PARTITIONS {
            report.push(
                Finding::warning(
                    rules::LEG_PARTITION_LIMIT,
                    format!("more than {MAX_PARTITIONS} partitions, the rest is not read"),
                )
                .at(range)
                .help("a GPT of the vendor's tool holds 128"),
            );
            break;
        }
        match partition(item, next, range.clone()) {
            Ok(partition) => {
                next = partition.start.saturating_add(partition.size.unwrap_or(0));
                parameter.partitions.push(partition);
            }
            Err(why) => {
                let template = item.contains('<');
                let help = if template {
                    "this is a template: the vendor's script fills the numbers in; take the file that it makes"
                } else {
                    "write SIZE@START(NAME) in sectors of 512 bytes, such as 0x2000@0x4000(uboot)"
                };
                report.push(
                    Finding::error(
                        rules::LEG_PARTITION_SYNTAX,
                        format!("a partition that cannot be read: {}: {why}", quote(item)),
                    )
                    .at(range)
                    .help(help),
                );
            }
        }
    }
}

/// Commas in names do not exist; one in parentheses belongs to the name and is reported there.
fn split_items(list: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_i32;
    list.split(move |c: char| {
        match c {
            '(' => depth = 1,
            ')' => depth = 0,
            _ => {}
        }
        c == ',' && depth == 0
    })
}

/// `SIZE@START(NAME:FLAG…)`; without `@START` it follows the one before.
fn partition(item: &str, next: u64, text: Range<u64>) -> Result<Partition, String> {
    let (place, name) = item.split_once('(').ok_or("expected (NAME)")?;
    let name = name.strip_suffix(')').ok_or("expected ) at the end")?;
    let (size, start) = match place.split_once('@') {
        Some((size, start)) => (size, Some(start)),
        None => (place, None),
    };
    let read = |text: &str| number(text).ok_or_else(|| format!("{} is no number", quote(text)));
    let size = if size.trim() == "-" { None } else { Some(read(size)?) };
    let start = start.map_or(Ok(next), read)?;
    let mut words = name.split(':').map(|word| word.trim().to_owned());
    let name = words.next().filter(|name| !name.is_empty()).ok_or("the name is empty")?;
    if size == Some(0) {
        return Err("it has no sectors".to_owned());
    }
    if start.checked_add(size.unwrap_or(0)).and_then(|end| end.checked_mul(SECTOR)).is_none() {
        return Err("it ends behind any medium".to_owned());
    }
    Ok(Partition { name, flags: words.collect(), start, size, uuid: None, text })
}

fn check_partitions(parameter: &Parameter, report: &mut Report) {
    let partitions = &parameter.partitions;
    let mut names = std::collections::BTreeSet::new();
    for partition in partitions {
        if !names.insert(partition.name.as_str()) {
            report.push(
                Finding::warning(
                    rules::LEG_PARTITION_NAME,
                    format!("a second partition is called {}", quote(&partition.name)),
                )
                .at(partition.text.clone())
                .help("boot loaders take the first of that name; give each its own"),
            );
        }
        for (area, what, allowed) in BOOT_AREAS {
            let end = partition.size.map_or(u64::MAX, |size| partition.start.saturating_add(size));
            let name = partition.name.to_ascii_lowercase();
            let belongs = allowed.iter().any(|allowed| name.starts_with(allowed));
            if !belongs && partition.start < area.end && area.start < end {
                report.push(
                    Finding::warning(
                        rules::LEG_PARTITION_BOOT,
                        format!(
                            "partition {} (sectors {} to {}) lies where the board expects {what}",
                            quote(&partition.name),
                            partition.start,
                            partition.size.map_or_else(|| "the end".to_owned(), |_| end.saturating_sub(1).to_string())
                        ),
                    )
                    .at(partition.text.clone())
                    .help("writing the partition destroys what the board starts from; let it start at sector 0x8000 or later"),
                );
            }
        }
    }
    let mut sorted: Vec<&Partition> = partitions.iter().collect();
    sorted.sort_by_key(|partition| partition.start);
    let mut last: Option<&Partition> = None;
    for partition in sorted {
        if let Some(before) = last {
            let end = before.size.map_or(u64::MAX, |size| before.start.saturating_add(size));
            if partition.start < end {
                let until = before.size.map_or_else(
                    || "takes all that is left".to_owned(),
                    |_| format!("goes on to sector {}", end.saturating_sub(1)),
                );
                report.push(
                    Finding::error(
                        rules::LEG_PARTITION_OVERLAP,
                        format!(
                            "partition {} starts at sector {}, but partition {} {until}",
                            quote(&partition.name),
                            partition.start,
                            quote(&before.name)
                        ),
                    )
                    .at(partition.text.clone())
                    .help("let it start behind the other, or make the other smaller"),
                );
            }
        }
        let reach =
            |partition: &Partition| partition.size.map_or(u64::MAX, |size| partition.start.saturating_add(size));
        if last.is_none_or(|before| reach(partition) > reach(before)) {
            last = Some(partition);
        }
    }
}
