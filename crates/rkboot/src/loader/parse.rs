//! The reader. There are at most 3 × 255 entries; every byte is scrambled and hashed a bounded number of times,
//! whatever they claim.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::ops::Range;

use imgcore::{Finding, Report, Severity};
use zerocopy::FromBytes as _;

use super::{
    BuildTime, Entry, Form, Loader, Scrambling, Use,
    raw::{ENTRY_SIZE, HEADER_SIZE, Header, Record, SIGNED, TAG_LDR},
};
use crate::{
    HeaderVersion, IdBlock,
    coding::crc32_rk,
    idblock::{self, Check},
    identity::{Known, lookup},
    rules,
    util::{data_ranges, hex, is_fill, list_ranges, quote, slice, tail},
};

/// How many findings about the shape of entries are worth reading.
const MAX_FINDINGS: usize = 32;

/// Reads a loader file and checks all that a host program or the BootROM would stumble over: checksum, tables, entries,
/// and the idblocks inside. `None` when it is no loader file.
pub fn parse(bytes: &[u8]) -> (Option<Loader>, Report) {
    let mut report = Report::new();
    let Some((header, form)) = read_header(bytes, &mut report) else { return (None, report) };
    let (mut entries, tables_end) = read_entries(bytes, header, form, &mut report);
    check_places(bytes, &entries, tables_end, &mut report);
    for entry in &mut entries {
        entry.scrambling = scrambling(form, entry, slice(bytes, &entry.range), &mut report);
    }
    let data_end = entries.iter().map(|entry| entry.range.end).fold(tables_end, u64::max);
    let (crc, crc_check, end) = check_crc(bytes, data_end, &mut report);
    let [month, day, hour, minute, second] = header.time;
    let mut loader = Loader {
        form,
        header_size: header.size.get(),
        version: header.version.get(),
        merger_version: header.merger_version.get(),
        time: BuildTime { year: header.year.get(), month, day, hour, minute, second },
        chip: chip(header.chip),
        sign_flag: header.sign_flag,
        rc4_flag: header.rc4_flag,
        entries,
        crc,
        crc_check,
        end,
        flash: None,
        usb: None,
    };
    check_meaning(&loader, &mut report);
    loader.flash = inside(
        &loader,
        &["FlashHead", "FlashBoost", "FlashData", "FlashBoot"],
        loader.idblock(bytes),
        rules::LDR_FLASH,
        "what is written to flash",
        &mut report,
    );
    check_blobs(&loader, bytes, &mut report);
    loader.usb =
        inside(&loader, &["UsbHead"], loader.usb_block(bytes), rules::LDR_USB, "what goes over USB", &mut report);
    (Some(loader), report)
}

fn read_header<'a>(bytes: &'a [u8], report: &mut Report) -> Option<(&'a Header, Form)> {
    if !super::is_loader(bytes) {
        report.push(
            Finding::error(
                rules::LDR_NO_LOADER,
                format!(
                    "no loader file: it starts with {}, expected 4c4452206600 (LDR) or 424f4f546600 (BOOT)",
                    hex(slice(bytes, &(0..6)))
                ),
            )
            .at(0..6)
            .help("loader files are called MiniLoaderAll.bin or *_loader_*.bin; fetch the file again"),
        );
        return None;
    }
    let Ok((header, _)) = Header::ref_from_prefix(bytes) else {
        report.push(
            Finding::error(
                rules::LDR_NO_LOADER,
                format!("the file ends inside the header: {} bytes, expected {HEADER_SIZE}", bytes.len()),
            )
            .at(0..bytes.len() as u64)
            .help("the download broke off; fetch the file again"),
        );
        return None;
    };
    Some((header, if header.tag == TAG_LDR { Form::Ldr } else { Form::Boot }))
}

/// The entries, and where the last table ends.
fn read_entries(bytes: &[u8], header: &Header, form: Form, report: &mut Report) -> (Vec<Entry>, u64) {
    let mut entries = Vec::new();
    let mut tables_end = u64::from(HEADER_SIZE);
    for (table, used) in header.tables.iter().zip([Use::Code471, Use::Code472, Use::Flash]) {
        let (count, size) = (u64::from(table.count), u64::from(table.entry_size));
        let start = u64::from(table.offset.get());
        let range = start..start.saturating_add(count.saturating_mul(size));
        if count > 0 && size < u64::from(ENTRY_SIZE) {
            report.push(
                Finding::error(
                    rules::LDR_RECORD_SIZE,
                    format!("entries {} have {size} bytes each, expected {ENTRY_SIZE}", used.describe()),
                )
                .at(0..u64::from(HEADER_SIZE))
                .help("host programs cannot read the table; the file is damaged, fetch it again"),
            );
            continue;
        }
        if range.end > bytes.len() as u64 {
            report.push(
                Finding::error(
                    rules::LDR_TABLE,
                    format!(
                        "the table of {count} entries {} ends at byte {}, behind the end of the file at {}",
                        used.describe(),
                        range.end,
                        bytes.len()
                    ),
                )
                .at(range.clone())
                .help("the file is damaged or cut, fetch it again"),
            );
        }
        if range.end <= bytes.len() as u64 {
            tables_end = tables_end.max(range.end);
        }
        let mut at = start;
        for _ in 0..count {
            let Ok((record, _)) = Record::ref_from_prefix(tail(bytes, at)) else { break };
            at = at.saturating_add(size);
            let data = u64::from(record.data_offset.get());
            let units = record.name.iter().map(|unit| unit.get()).take_while(|unit| *unit != 0);
            entries.push(Entry {
                used,
                kind: record.kind.get(),
                name: char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect(),
                range: data..data.saturating_add(u64::from(record.data_size.get())),
                delay_ms: record.delay_ms.get(),
                scrambling: usual(form, used),
            });
        }
    }
    (entries, tables_end)
}

/// Entries inside the file, behind the tables, next to each other.
fn check_places(bytes: &[u8], entries: &[Entry], tables_end: u64, report: &mut Report) {
    let length = bytes.len() as u64;
    let mut told = 0_usize;
    let mut push = |finding: Finding, report: &mut Report| {
        told = told.saturating_add(1);
        if told <= MAX_FINDINGS {
            report.push(finding);
        }
    };
    for (entry, number) in entries.iter().zip(0_usize..) {
        let name = quote(&entry.name);
        if entry.range.end > length {
            push(
                Finding::error(
                    rules::LDR_BEYOND_END,
                    format!(
                        "entry {number} ({name}) ends at byte {}, behind the end of the file at {length}",
                        entry.range.end
                    ),
                )
                .at(entry.range.clone())
                .help("the download broke off or the table is damaged; fetch the file again"),
                report,
            );
        }
        if entry.kind != entry.used.raw() {
            push(
                Finding::warning(
                    rules::LDR_TYPE,
                    format!(
                        "entry {number} ({name}) has type {}, expected {} in the table of entries {}",
                        entry.kind,
                        entry.used.raw(),
                        entry.used.describe()
                    ),
                )
                .at(entry.range.clone())
                .help("host programs go by the table or by the type and so may not send it; fetch the file again"),
                report,
            );
        }
    }
    let mut placed: Vec<(&Range<u64>, usize)> =
        entries.iter().map(|entry| &entry.range).zip(0..).filter(|(range, _)| !range.is_empty()).collect();
    placed.sort_by_key(|(range, _)| (range.start, range.end));
    let mut foreign = Vec::new();
    let mut at = tables_end;
    let mut before: Option<usize> = None;
    for (range, number) in placed {
        if range.start < at {
            let name = |number: usize| entries.get(number).map_or_else(String::new, |entry| quote(&entry.name));
            let other = before
                .map_or_else(|| "header and tables".to_owned(), |other| format!("entry {other} ({})", name(other)));
            push(
                Finding::error(rules::LDR_OVERLAP, format!("entry {number} ({}) overlaps {other}", name(number)))
                    .at(range.start..at.min(range.end))
                    .help("one of them is not what was packed; the file is damaged, fetch it again"),
                report,
            );
        }
        foreign.extend(data_ranges(bytes, at..range.start.min(length)));
        if range.end > at {
            at = range.end;
            before = Some(number);
        }
    }
    if let (Some(first), Some(last)) = (foreign.first(), foreign.last()) {
        report.push(
            Finding::warning(
                rules::LDR_FOREIGN_DATA,
                format!("data between the entries that belongs to none: bytes {}", list_ranges(&foreign)),
            )
            .at(first.start..last.end)
            .help("no program reads it; if you did not put it there, fetch the file again"),
        );
    }
}

/// How entries of a table are stored by the tool that makes such files.
fn usual(form: Form, used: Use) -> Scrambling {
    match (form, used) {
        (_, Use::Flash) => Scrambling::Blocks,
        (Form::Boot, _) => Scrambling::Stream,
        (Form::Ldr, _) => Scrambling::Plain,
    }
}

/// The header does not say reliably how an entry is stored: `rc4_flag` speaks about the flash, and the option
/// `471_RC4_OFF` leaves no trace. Code holds zeros and a cipher stream hardly any, so the data itself decides where it
/// contradicts the usual form.
fn scrambling(form: Form, entry: &Entry, data: &[u8], report: &mut Report) -> Scrambling {
    const LOOKED_AT: usize = 4096;
    let head = data.get(..LOOKED_AT.min(data.len())).unwrap_or_default();
    let zeros = |scrambling: Scrambling| {
        let plain = scrambling.undo(head.to_vec());
        plain.into_iter().filter(|byte| matches!(byte, 0)).count()
    };
    let usual = usual(form, entry.used);
    let other = match usual {
        Scrambling::Plain => Scrambling::Stream,
        Scrambling::Stream | Scrambling::Blocks => Scrambling::Plain,
    };
    // A stream has one zero in 256 bytes.
    let expected = head.len().div_euclid(64);
    if zeros(usual) > expected || zeros(other) <= expected.saturating_mul(4) {
        return usual;
    }
    report.push(
        Finding::info(
            rules::LDR_SCRAMBLING,
            format!(
                "the data of {} is stored {}, usual in {}files is {}",
                quote(&entry.name),
                other.name(),
                form.tag(),
                usual.name()
            ),
        )
        .at(entry.range.clone())
        .help("it is read as it is stored; other programs may not do so"),
    );
    other
}

/// The checksum, whether it is right, and where it ends. It follows the last entry; host programs look for it in the
/// last four bytes of the file.
fn check_crc(bytes: &[u8], data_end: u64, report: &mut Report) -> (u32, Check, u64) {
    let length = bytes.len() as u64;
    let read = |at: u64| -> Option<u32> {
        let stored = slice(bytes, &(at..at.saturating_add(4)));
        Some(u32::from_le_bytes(stored.try_into().ok()?))
    };
    let is_right = |at: u64| read(at).is_some_and(|stored| stored == crc32_rk(slice(bytes, &(0..at))));
    let end = data_end.saturating_add(4);
    let last = length.saturating_sub(4);
    let right = is_right(data_end);
    if !right && last != data_end && last >= u64::from(HEADER_SIZE) && is_right(last) {
        // Something lies between the last entry and the checksum, or an entry claims too much; the file is as it was
        // made.
        return (read(last).unwrap_or(0), Check::Valid, length);
    }
    let Some(stored) = read(data_end) else {
        report.push(
            Finding::error(rules::LDR_CRC, format!("there is no checksum: expected 4 bytes at byte {data_end}"))
                .at(data_end.min(length)..length)
                .help("the download broke off; fetch the file again"),
        );
        return (0, Check::Unchecked, length);
    };
    if !right {
        report.push(
            Finding::error(
                rules::LDR_CRC,
                format!("the checksum {stored:#010x} is not that of the {data_end} bytes in front of it"),
            )
            .at(data_end..end)
            .help("the file is damaged and rkdeveloptool refuses it; fetch it again"),
        );
    }
    if length > end {
        let what = if is_fill(tail(bytes, end)) { "bytes of fill" } else { "bytes of data" };
        report.push(
            Finding::error(
                rules::LDR_TRAILING,
                format!("{} {what} follow the checksum, expected nothing", length.saturating_sub(end)),
            )
            .at(end..length)
            .help(format!(
                "rkdeveloptool looks for the checksum in the last 4 bytes and refuses the file; `truncate -s {end}` cuts it"
            )),
        );
    }
    (stored, if right { Check::Valid } else { Check::Wrong }, end)
}

/// The name's characters stand in the file last one first; old files have numbers instead.
fn chip(mut raw: [u8; 4]) -> String {
    raw.reverse();
    if raw.iter().all(u8::is_ascii_alphanumeric) {
        raw.iter().map(|byte| char::from(*byte)).collect()
    } else {
        format!("{:#x}", u32::from_be_bytes(raw))
    }
}

fn check_meaning(loader: &Loader, report: &mut Report) {
    for (used, consequence) in [
        (Use::Code471, "the BootROM gets nothing to start the memory with"),
        (Use::Code472, "there is no program that writes to flash"),
    ] {
        if !loader.entries.iter().any(|entry| entry.used == used) {
            report.push(
                Finding::warning(rules::LDR_NO_USB, format!("no entry {}: {consequence}", used.describe()))
                    .at(0..u64::from(HEADER_SIZE))
                    .help("`rkdeveloptool db` needs both; take a complete loader file of the board"),
            );
        }
    }
    let missing: Vec<_> =
        ["FlashData", "FlashBoot"].into_iter().filter(|name| loader.entry(Use::Flash, name).is_none()).collect();
    if !missing.is_empty() {
        report.push(
            Finding::warning(
                rules::LDR_NO_FLASH,
                format!("no entry {}: the file starts a board over USB, but cannot be written", missing.join(" and ")),
            )
            .at(0..u64::from(HEADER_SIZE))
            .help("`rkdeveloptool ul` needs both; `rkdeveloptool db` works"),
        );
    }
    if loader.sign_flag == SIGNED {
        report.push(Finding::info(rules::LDR_SIGNED, "the file is signed; the signature is not checked").at(43..44));
    }
    if !loader.time.is_plausible() {
        report.push(
            Finding::warning(rules::LDR_TIME, format!("the build time is none: {}", loader.time))
                .at(14..21)
                .help("no program reads it; if the checksum is right, whoever packed the file left it so"),
        );
    }
    if loader.soc().is_none() {
        report.push(
            Finding::info(rules::LDR_CHIP, format!("the chip is not known here: {}", quote(&loader.chip))).at(21..25),
        );
    }
}

/// The host sends the file to the chip that it names, whatever is inside. Published blobs tell what they are for.
fn check_blobs(loader: &Loader, bytes: &[u8], report: &mut Report) {
    /// Real files have up to seven entries.
    const LOOKED_AT: usize = 16;
    let Some(soc) = loader.soc() else { return };
    for entry in loader.entries.iter().take(LOOKED_AT) {
        let Some(data) = loader.entry_data(bytes, entry) else { continue };
        let known = lookup(&data);
        let socs = || known.iter().filter_map(Known::soc);
        if let Some(blob) = known.first()
            && let Some(other) = socs().next()
            && socs().all(|other| other != soc)
        {
            report.push(
                Finding::error(
                    rules::LDR_FOREIGN_BLOB,
                    format!(
                        "the file is for {soc}, and its entry {} is {}, which was published for {other}",
                        quote(&entry.name),
                        blob.path
                    ),
                )
                .at(entry.range.clone())
                .help("the board does not start from it; take the loader file of this board"),
            );
        }
    }
    if soc.header_version() == HeaderVersion::V1
        && let Some(head) = loader.entry(Use::Flash, "FlashHead")
    {
        report.push(
            Finding::error(
                rules::LDR_FOREIGN_BLOB,
                format!("the file is for {soc}, whose BootROM reads idblocks v1, and it carries one of version 2"),
            )
            .at(head.range.clone())
            .help("the board does not start from it; take the loader file of this board"),
        );
    }
}

/// Reads an idblock that entries make up together. Its own findings become one, because its bytes are nowhere in the
/// file.
fn inside(
    loader: &Loader,
    names: &[&str],
    block: Option<Vec<u8>>,
    code: &'static str,
    what: &str,
    report: &mut Report,
) -> Option<Box<IdBlock>> {
    let parts = || loader.entries.iter().filter(|entry| names.contains(&entry.name.as_str()));
    let first = parts().find(|entry| names.first() == Some(&entry.name.as_str()))?;
    let range =
        parts().fold(first.range.clone(), |all, entry| all.start.min(entry.range.start)..all.end.max(entry.range.end));
    let broken = |why: String| {
        Finding::error(code, format!("{what} is no sound idblock: {why}"))
            .at(range.clone())
            .help("the board does not start from it; fetch the file again")
    };
    let Some(block) = block else {
        // Without FlashData or FlashBoot that has been said; an entry behind the end too.
        if loader.entries.iter().all(|entry| entry.range.end <= loader.end) && loader.crc_check == Check::Valid {
            report.push(broken("parts are missing".to_owned()));
        }
        return None;
    };
    let (found, inner) = idblock::parse(&block);
    // An unusual load address is no damage.
    let is_damage = |finding: &&Finding| finding.severity >= Severity::Warning && finding.code != rules::IDB_LOAD;
    if let Some(first) = inner.iter().find(is_damage) {
        let more = inner.iter().filter(is_damage).count().saturating_sub(1);
        let more = if more == 0 { String::new() } else { format!(" (and {more} more)") };
        report.push(broken(format!("{}: {}{more}", first.code, first.message)));
    }
    found.map(Box::new)
}
