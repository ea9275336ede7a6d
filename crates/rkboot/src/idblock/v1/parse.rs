//! The reader. All sizes are 16-bit block counts, so no block is longer than 64 MiB.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::borrow::Cow;

use imgcore::{Finding, Report};
use zerocopy::FromBytes as _;

use super::{
    IdBlockV1, is_v1,
    raw::{CHIP_TAG, HEADER_SIZE, Header, OPEN_BOOT, SCRAMBLED, SIGNED_TAG},
};
use crate::{
    HeaderVersion, Soc, coding,
    idblock::{
        BlockCopy, MAX_SPL,
        copies::{self, Form, Probe, SMALLEST_STRIDE},
        raw::{BLOCK, IMAGE_ALIGN},
        spread,
    },
    rules,
    util::{data_ranges, hex, is_fill, slice, tail},
};

/// What Rockchip's own tree gives the PX30, as both give the RK3326, which is the same die. mkimage of U-Boot stays below.
const PX30_VENDOR_LIMIT: u32 = 0x3000;

/// Reads an idblock v1 at the start of `bytes`, flat or spread, with its copies, and checks all that a board would
/// stumble over.
///
/// `None` when there is no idblock v1. Data behind the last copy is a warning: for a file that goes on with a FIT use
/// [`crate::examine`].
pub fn parse(bytes: &[u8]) -> (Option<IdBlockV1>, Report) {
    parse_for(bytes, None)
}

/// [`parse`], checking what the BootROM of a SoC takes too.
pub fn parse_for(bytes: &[u8], soc: Option<Soc>) -> (Option<IdBlockV1>, Report) {
    let (block, mut report) = parse_block(bytes, soc);
    let Some(mut block) = block else { return (None, report) };
    report.extend(find_copies(bytes, &mut block));
    copies::check_foreign(bytes, &block.copies, &mut report);
    (Some(block), report)
}

/// One block, without looking for copies.
pub(crate) fn parse_block(bytes: &[u8], soc: Option<Soc>) -> (Option<IdBlockV1>, Report) {
    let Some(header) = decode(bytes) else { return (None, Report::from_iter([not_a_block(bytes)])) };
    let in_bytes = |blocks: u16| u64::from(blocks).saturating_mul(BLOCK);
    let start = in_bytes(header.init_offset.get());
    let init_end = start.saturating_add(in_bytes(header.init_size.get()));
    let length = start.saturating_add(in_bytes(header.init_boot_size.get())).max(init_end);
    let open_ended = header.init_size.get().checked_add(OPEN_BOOT) == Some(header.init_boot_size.get());
    // What an open-ended block leaves room for may be anything.
    let certain = if open_ended { init_end } else { length };
    let is_spread = spread::looks_spread(bytes, certain);
    let flat = if is_spread {
        let extent = if open_ended { length.min(spread::extent(bytes).max(init_end)) } else { length };
        Cow::Owned(spread::unspread_prefix(bytes, extent))
    } else {
        Cow::Borrowed(bytes)
    };
    let available = flat.len() as u64;

    let mut head = slice(&flat, &(start..start.saturating_add(BLOCK))).to_vec();
    if header.disable_rc4.get() == 0 {
        coding::rc4_blocks(&mut head);
    }
    let tag = head.first_chunk().copied().unwrap_or_default();
    let block = IdBlockV1 {
        spread: is_spread,
        disable_rc4: header.disable_rc4.get(),
        init: start..init_end,
        boot: init_end..length,
        tag,
        length,
        bytes_missing: length.saturating_sub(available),
        open_ended,
        content_length: content_length(&flat, init_end, length, open_ended, is_spread),
        flashed: !is_fill(slice(&flat, &(SCRAMBLED..HEADER_SIZE))),
        copies: Vec::new(),
    };
    let mut report = Report::new();
    check_header(&header, &block, available, &mut report);
    check_boot(&block, available, &mut report);
    check_sectors(&flat, &block, &mut report);
    match soc {
        Some(soc) => check_soc(&block, bytes, soc, &mut report),
        None => check_tag(&block, available, &mut report),
    }
    report.push(
        Finding::info(
            rules::IDB_V1,
            "an idblock v1: the format has no hashes, so that damage to its code is seen by nobody",
        )
        .at(0..SCRAMBLED),
    );
    if is_spread {
        report = spread::placed(report);
        spread::check_gaps(bytes, block.content_length, &mut report);
    }
    let mut block = block;
    block.copies = vec![BlockCopy { range: 0..block.content_end(), identical: true }];
    (Some(block), report)
}

fn decode(bytes: &[u8]) -> Option<Header> {
    if !is_v1(bytes) || (bytes.len() as u64) < HEADER_SIZE {
        return None;
    }
    let mut head = slice(bytes, &(0..SCRAMBLED)).to_vec();
    coding::rc4_blocks(&mut head);
    Header::read_from_bytes(&head).ok()
}

fn not_a_block(bytes: &[u8]) -> Finding {
    if is_v1(bytes) {
        return Finding::error(
            rules::IDB_NO_BLOCK,
            format!("the file ends inside the idblock's header: {} bytes, expected {HEADER_SIZE}", bytes.len()),
        )
        .at(0..bytes.len() as u64)
        .help("the board does not start from this; fetch the file again");
    }
    let found = hex(slice(bytes, &(0..4)));
    Finding::error(rules::IDB_NO_BLOCK, format!("no idblock v1: the file starts with {found}, expected 3b8cdcfc"))
        .at(0..4)
        .help("the BootROM skips this; write the board's idbloader.img at sector 64")
}

/// Where what is there ends. A block that leaves 512 KiB for its boot code ends with its last data.
fn content_length(flat: &[u8], init_end: u64, length: u64, open_ended: bool, is_spread: bool) -> u64 {
    let mut available = flat.len() as u64;
    if open_ended && !is_spread {
        // Room for 512 KiB of boot code reaches beyond the place of a copy, in flash as on a card.
        let copy = (1..=length.div_euclid(SMALLEST_STRIDE))
            .map(|index| index.saturating_mul(SMALLEST_STRIDE))
            .find(|at| *at >= init_end && is_v1(tail(flat, *at)));
        available = copy.unwrap_or(available).min(available);
    }
    if !open_ended {
        return length.min(available);
    }
    available = available.min(length);
    let last = data_ranges(flat, init_end..available).last().map_or(init_end, |range| range.end);
    // Packers pad to this, and it is no more than they do.
    last.checked_next_multiple_of(IMAGE_ALIGN).unwrap_or(last).min(available)
}

fn check_header(header: &Header, block: &IdBlockV1, available: u64, report: &mut Report) {
    if block.init.start < HEADER_SIZE {
        report.push(
            Finding::error(
                rules::IDB_INSIDE_HEADER,
                format!("the init code starts at byte {}, inside the header; expected {HEADER_SIZE}", block.init.start),
            )
            .at(block.init.clone())
            .help("the file is damaged, fetch it again"),
        );
    } else if block.init.start > HEADER_SIZE {
        report.push(
            Finding::warning(
                rules::IDB_V1_OFFSET,
                format!("the init code starts at byte {}, all known files have it at {HEADER_SIZE}", block.init.start),
            )
            .at(0..SCRAMBLED)
            .help("keep to a file that is known to start the board"),
        );
    }
    let (init, both) = (header.init_size.get(), header.init_boot_size.get());
    if init == 0 || both < init {
        report.push(
            Finding::error(
                rules::IDB_V1_SIZES,
                format!("the header claims {init} blocks of init code and {both} of init and boot code together"),
            )
            .at(0..SCRAMBLED)
            .help("the BootROM has nothing sensible to load; the file is damaged, fetch it again"),
        );
    }
    if header.disable_rc4.get() > 1 {
        report.push(
            Finding::warning(
                rules::IDB_V1_SCRAMBLING,
                format!("the flag for a plain payload is {:#x}, expected 0 or 1", header.disable_rc4.get()),
            )
            .at(0..SCRAMBLED)
            .help("the header may be damaged; fetch the file again"),
        );
    }
    let short = block.init.end.saturating_sub(available);
    if short > 0 {
        report.push(
            Finding::error(
                rules::IDB_BEYOND_END,
                format!("the init code ends at byte {}, {short} bytes behind the end of the file", block.init.end),
            )
            .at(block.init.clone())
            .help("the board stays dark: the code is incomplete; fetch the file again"),
        );
    }
}

fn check_boot(block: &IdBlockV1, available: u64, report: &mut Report) {
    let size = block.boot.end.saturating_sub(block.boot.start);
    let missing = block.bytes_missing;
    if available < block.init.end {
        return;
    }
    if size == 0 || (block.open_ended && !block.has_boot()) {
        report.push(
            Finding::info(
                rules::IDB_NO_BOOT,
                "there is no boot code: the BootROM runs the init code and has nothing to go on with",
            )
            .at(block.init.clone())
            .help("right for an init image that loads the next stage itself; else add the SPL"),
        );
    } else if block.open_ended {
        report.push(
            Finding::info(
                rules::IDB_V1_OPEN,
                format!(
                    "the header leaves 512 KiB for the boot code, and {} bytes follow: it was appended by hand",
                    block.content_length.saturating_sub(block.init.end)
                ),
            )
            .at(block.init.end..block.content_length),
        );
    } else if missing >= IMAGE_ALIGN {
        report.push(
            Finding::error(
                rules::IDB_BEYOND_END,
                format!("the boot code ends at byte {}, {missing} bytes behind the end of the file", block.length),
            )
            .at(block.boot.clone())
            .help("the board stays dark: the code is incomplete; fetch the file again"),
        );
    } else if missing > 0 {
        report.push(
            Finding::warning(
                rules::IDB_V1_SHORT,
                format!("the last {missing} bytes of the boot code are missing, perhaps nothing but padding"),
            )
            .at(block.boot.clone())
            .help(format!("if they were padding, append {missing} zero bytes to the file; else fetch it again")),
        );
    }
    if !block.open_ended && size > MAX_SPL {
        report.push(
            Finding::warning(
                rules::IDB_LARGE_SPL,
                format!("the boot code has {size} bytes, more than the {MAX_SPL} that a BootROM is known to load"),
            )
            .at(block.boot.clone()),
        );
    }
}

/// Sectors 1 to 3 are empty in mkimage's files.
fn check_sectors(flat: &[u8], block: &IdBlockV1, report: &mut Report) {
    if !block.flashed {
        return;
    }
    let sector = slice(flat, &(SCRAMBLED..SCRAMBLED.saturating_mul(2)));
    let has_tag = sector.windows(CHIP_TAG.len()).take(64).any(|window| window == CHIP_TAG);
    let message = if has_tag {
        "sectors 1 to 3 hold what Rockchip's flashing tools write: the block was read back from a medium"
    } else {
        "sectors 1 to 3 are not empty: Rockchip's flashing tools or another packer wrote there"
    };
    report.push(Finding::info(rules::IDB_V1_FLASHED, message).at(SCRAMBLED..HEADER_SIZE));
}

fn check_soc(block: &IdBlockV1, bytes: &[u8], soc: Soc, report: &mut Report) {
    if soc.header_version() != HeaderVersion::V1 {
        report.push(
            Finding::error(
                rules::IDB_WRONG_VERSION,
                format!("this is an idblock v1 (RK3399 and older), but the BootROM of {soc} reads v2"),
            )
            .at(0..SCRAMBLED)
            .help(format!("the board stays dark; use an idbloader.img made for {soc}")),
        );
        return;
    }
    let size = block.init.end.saturating_sub(block.init.start);
    let limit = if soc == Soc::Px30 { PX30_VENDOR_LIMIT } else { soc.max_init() };
    if size > u64::from(limit) {
        report.push(
            Finding::error(
                rules::IDB_INIT_TOO_LARGE,
                format!("the init image has {size:#x} bytes, {soc} takes at most {limit:#x}"),
            )
            .at(block.init.clone())
            .help("it does not fit the SoC's SRAM; is it the file of another board?"),
        );
    }
    let start = block.init.start..block.init.start.saturating_add(4);
    if block.tag != soc.tag().as_bytes() && block.tag != SIGNED_TAG && start.end <= block.content_length {
        report.push(
            Finding::error(
                rules::IDB_V1_TAG,
                format!("the init code begins with {}, {soc} has the tag {}", shown(block.tag), soc.tag()),
            )
            .at(start)
            .help(format!("the BootROM does not run it; use an idbloader.img made for {soc}")),
        );
    }
    let plain = u32::from(!soc.payload_rc4());
    if block.disable_rc4 <= 1 && block.disable_rc4 != plain {
        let found = if plain == 1 { "scrambled" } else { "plain" };
        report.push(
            Finding::warning(
                rules::IDB_V1_SCRAMBLING,
                format!("the payload is {found}, which mkimage does not write for {soc}"),
            )
            .at(0..SCRAMBLED)
            .help("is it the file of another board?"),
        );
    }
    if let Some(ddr) = block.ddr(bytes)
        && let Some(file) = ddr.foreign_to(soc)
    {
        report.push(
            Finding::error(
                rules::IDB_OTHER_SOC,
                format!("the DDR init code is rkbin's {file}, which does not run on {soc}"),
            )
            .at(block.init.clone())
            .help("the DRAM stays off and the board dark; use an idbloader.img made for this SoC"),
        );
    }
}

/// Without a SoC, the tag must be that of some.
fn check_tag(block: &IdBlockV1, available: u64, report: &mut Report) {
    let range = block.init.start..block.init.start.saturating_add(4);
    let known =
        Soc::all().filter(|soc| soc.header_version() == HeaderVersion::V1).any(|soc| soc.tag().as_bytes() == block.tag);
    if !known && block.tag != SIGNED_TAG && range.end <= available {
        report.push(
            Finding::warning(
                rules::IDB_V1_UNKNOWN_TAG,
                format!("the init code begins with {}, which is the tag of no known SoC", shown(block.tag)),
            )
            .at(range)
            .help("the BootROM looks for its tag there; fetch the file again or take one made for the board"),
        );
    }
}

/// `52 4b 33 33 (RK33)`, or the bytes alone.
fn shown(tag: [u8; 4]) -> String {
    match std::str::from_utf8(&tag) {
        Ok(text) if text.bytes().all(|byte| byte.is_ascii_graphic()) => format!("{} ({text})", hex(&tag)),
        _ => hex(&tag),
    }
}

/// Looks for copies, adds them to the block and says which differ. A spread block has none: nobody packs them.
pub(crate) fn find_copies(bytes: &[u8], block: &mut IdBlockV1) -> Report {
    const FORM: Form = Form {
        header: HEADER_SIZE,
        is_block: is_v1,
        probe: |bytes| {
            let (block, report) = parse_block(bytes, None);
            block.map(|block| Probe {
                length: block.content_length,
                is_certain: block.disable_rc4 <= 1 && block.init.start == HEADER_SIZE && !block.init.is_empty(),
                is_damaged: report.has_errors() || (block.bytes_missing > 0 && !block.open_ended),
            })
        },
    };
    if block.spread {
        return Report::new();
    }
    let (found, report) = copies::find(bytes, block.content_length, &FORM);
    block.copies = found;
    report
}
