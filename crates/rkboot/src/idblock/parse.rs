//! The reader. Sizes and offsets are 16-bit block counts, so no entry reaches beyond 64 MiB, and every byte is
//! hashed at most once per entry.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::ops::Range;

use imgcore::{Finding, Report};
use sha2::{Sha256, Sha512};
use zerocopy::FromBytes as _;

use super::{
    BlockCopy, Check, HashKind, IdBlock, Image, MAX_SPL,
    copies::{self, Form, Probe},
    is_v1, is_v2,
    raw::{
        DEFAULT_LOAD, HASH_OFFSET, HEADER_SIZE, Header, MAGIC_SIGNED, RK3576_ALIGN, RK3576_BOOST_LOAD, RK3576_DDR_LOAD,
        RK3576_PARAM,
    },
    spread,
};
use crate::{
    HeaderVersion, Soc, rules,
    util::{hex, is_fill, list_ranges, slice},
};

/// Reads an idblock v2 at the start of `bytes`, with its copies, and checks all that a board would stumble over.
///
/// `None` when there is no idblock v2. Data behind the last copy is a warning: for a file that goes on with a FIT
/// use [`crate::examine`].
pub fn parse(bytes: &[u8]) -> (Option<IdBlock>, Report) {
    parse_for(bytes, None)
}

/// Zeros that may be missing at the end of a file: packers leave out some hundred bytes, and no block is longer than the
/// way to its copy. A header can claim 32 MiB, and hashing those would take its time.
const MOST_MISSING: u64 = super::COPY_STRIDE;

/// [`parse`], checking the limits of a SoC too.
pub fn parse_for(bytes: &[u8], soc: Option<Soc>) -> (Option<IdBlock>, Report) {
    let (block, mut report) = parse_block(bytes, soc);
    let Some(mut block) = block else { return (None, report) };
    report.extend(find_copies(bytes, &mut block));
    name_sound_copy(bytes, &block, &mut report);
    copies::check_foreign(bytes, &block.copies, &mut report);
    (Some(block), report)
}

/// Says in the findings about a damaged copy 1 which copy is sound: the BootROM goes on to that.
pub(crate) fn name_sound_copy(bytes: &[u8], block: &IdBlock, report: &mut Report) {
    let is_damage = |code: &str| [rules::IDB_IMAGE_HASH, rules::IDB_HEADER_HASH].contains(&code);
    if !report.iter().any(|finding| is_damage(finding.code)) {
        return;
    }
    let is_sound = |copy: &BlockCopy| {
        let (block, report) = parse_flat(slice(bytes, &copy.range), None);
        block.is_some() && !report.has_errors()
    };
    let sound = block.copies.iter().zip(1_usize..).skip(1).find(|(copy, _)| !copy.identical && is_sound(copy));
    let Some((copy, number)) = sound else { return };
    for finding in report.iter_mut().filter(|finding| is_damage(finding.code)) {
        finding.help = Some(format!(
            "copy {number} at byte {} is sound, and the BootROM goes on to it; write that one at sector 64 (`rkboot \
             extract` takes it), or fetch the file again",
            copy.range.start
        ));
    }
}

/// One block, flat or spread, without looking for copies.
pub(crate) fn parse_block(bytes: &[u8], soc: Option<Soc>) -> (Option<IdBlock>, Report) {
    let (flat, report) = parse_flat(bytes, soc);
    // The header is the same in both forms; the images are in one place or the other.
    let (Some(block), true) = (&flat, may_be_spread(bytes)) else { return (flat, report) };
    let is_there = |block: &IdBlock| {
        let mut images = block.images.iter().filter(|image| !image.range.is_empty());
        images.any(|image| matches!(image.check, Check::Valid | Check::ValidIfPadded))
    };
    if is_there(block) {
        return (flat, report);
    }
    let by_shape = spread::looks_spread(bytes, block.length);
    let (unspread, mut its_report) = parse_flat(&spread::unspread_prefix(bytes, block.length), soc);
    match unspread.filter(|unspread| by_shape || is_there(unspread)) {
        None => (flat, report),
        Some(mut block) => {
            block.spread = true;
            block.copies = vec![BlockCopy { range: 0..spread::on_medium(block.length), identical: true }];
            its_report = spread::placed(its_report);
            spread::check_gaps(bytes, block.length, &mut its_report);
            (Some(block), its_report)
        }
    }
}

/// Whether there is nothing where the flat form has its first image.
fn may_be_spread(bytes: &[u8]) -> bool {
    let gap = slice(bytes, &(0x800..0x1000));
    bytes.len() > 0x1000 && is_fill(gap)
}

fn parse_flat(bytes: &[u8], soc: Option<Soc>) -> (Option<IdBlock>, Report) {
    let mut report = Report::new();
    if !is_v2(bytes) {
        report.push(not_a_block(bytes));
        return (None, report);
    }
    let Ok((header, _)) = Header::ref_from_prefix(bytes) else {
        report.push(
            Finding::error(
                rules::IDB_NO_BLOCK,
                format!("the file ends inside the idblock's header: {} bytes, expected {HEADER_SIZE}", bytes.len()),
            )
            .at(0..bytes.len() as u64)
            .help("the board does not start from this; fetch the file again"),
        );
        return (None, report);
    };
    let kind = HashKind::from_raw(header.boot_flag.get().to_le_bytes()[0] & 0xf);
    let signed = header.magic == MAGIC_SIGNED;
    let header_check = check_header(bytes, header, kind, signed, &mut report);
    let images = read_images(bytes, header, kind, &mut report);
    let length = images.iter().map(|image| image.range.end).fold(HEADER_SIZE, u64::max);
    let stored = |hash: &[u8]| hash.get(..kind.size()).unwrap_or_default().to_vec();
    let block = IdBlock {
        signed,
        spread: false,
        n_images: header.image_count(),
        hash_offset: header.hash_offset(),
        hash_kind: kind,
        header_hash: stored(&header.hash),
        header_check,
        length,
        bytes_missing: length.saturating_sub(bytes.len() as u64),
        copies: vec![BlockCopy { range: 0..length, identical: true }],
        images,
    };
    check_shape(&block, header, &mut report);
    if let Some(soc) = soc {
        check_soc(&block, bytes, soc, &mut report);
    }
    (Some(block), report)
}

fn not_a_block(bytes: &[u8]) -> Finding {
    if is_v1(bytes) {
        return Finding::info(rules::IDB_V1, "an idblock v1 (RK3036 to RK3399, PX30, RV11xx), no v2")
            .at(0..16)
            .help("RK35xx do not start from it");
    }
    let found = hex(slice(bytes, &(0..4)));
    Finding::error(rules::IDB_NO_BLOCK, format!("no idblock: the file starts with {found}, expected 524b4e53 (RKNS)"))
        .at(0..4)
        .help("the BootROM skips this; write the board's idbloader.img at sector 64")
}

fn check_header(bytes: &[u8], header: &Header, kind: HashKind, signed: bool, report: &mut Report) -> Check {
    let count = header.image_count();
    if !(1..=4).contains(&count) {
        report.push(
            Finding::error(rules::IDB_IMAGE_COUNT, format!("the header claims {count} images, expected 1 to 4"))
                .at(8..12)
                .help("the BootROM refuses this header; the file is damaged, fetch it again"),
        );
    }
    match kind {
        HashKind::Unknown(raw) => report.push(
            Finding::error(rules::IDB_HASH_KIND, format!("unknown hash kind: {raw}, expected 0, 1 or 2"))
                .at(12..16)
                .help("the BootROM refuses this header; the file is damaged, fetch it again"),
        ),
        HashKind::None => report.push(
            Finding::info(rules::IDB_NO_HASH, "the idblock carries no hashes: neither the board nor we see damage")
                .at(12..16),
        ),
        HashKind::Sha256 | HashKind::Sha512 => {}
    }
    let at = header.hash_offset();
    if at != HASH_OFFSET {
        report.push(
            Finding::error(
                rules::IDB_HASH_OFFSET,
                format!("the header hash is said to be at byte {at:#x}, expected {HASH_OFFSET:#x}"),
            )
            .at(8..12)
            .help("the BootROM refuses this header; the file is damaged, fetch it again"),
        );
        return Check::Unchecked;
    }
    if signed {
        report.push(
            Finding::info(
                rules::IDB_SIGNED,
                "the idblock is signed (RKSS): the signature is not checked, only the hashes of the images are",
            )
            .at(0..4),
        );
        return Check::Unchecked;
    }
    let range = HASH_OFFSET..HASH_OFFSET.saturating_add(kind.size() as u64);
    let Some(computed) = hash(kind, slice(bytes, &(0..HASH_OFFSET)), 0) else { return Check::Unchecked };
    if computed == slice(bytes, &range) {
        return Check::Valid;
    }
    report.push(
        Finding::error(rules::IDB_HEADER_HASH, "the header hash is wrong: the header is not the one that was hashed")
            .at(range)
            .help("the BootROM skips this copy and the board stays dark without another; fetch the file again"),
    );
    Check::Wrong
}

fn read_images(bytes: &[u8], header: &Header, kind: HashKind, report: &mut Report) -> Vec<Image> {
    let count = usize::try_from(header.image_count()).unwrap_or(usize::MAX);
    let size = bytes.len() as u64;
    let entries = || header.images.iter().take(count).zip(1_u32..);
    let last_end = entries().map(|(entry, _)| entry.offset().saturating_add(entry.size())).max().unwrap_or(0);
    let mut images: Vec<Image> = Vec::new();
    for (entry, number) in entries() {
        let range = entry.offset()..entry.offset().saturating_add(entry.size());
        let stored = entry.hash.get(..kind.size()).unwrap_or_default();
        if entry.offset() < HEADER_SIZE {
            report.push(
                Finding::error(
                    rules::IDB_INSIDE_HEADER,
                    format!(
                        "image {number} starts at byte {}, inside the header; expected {HEADER_SIZE} or more",
                        range.start
                    ),
                )
                .at(range.clone())
                .help("the file is damaged, fetch it again"),
            );
        }
        for (other, earlier) in images.iter().zip(1_u32..) {
            let shared = range.start.max(other.range.start)..range.end.min(other.range.end);
            if !shared.is_empty() {
                report.push(
                    Finding::error(rules::IDB_OVERLAP, format!("image {number} overlaps image {earlier}"))
                        .at(shared)
                        .help("one of them is not what was packed; the file is damaged, fetch it again"),
                );
            }
        }
        let short = range.end.saturating_sub(size);
        let is_last = range.end == last_end;
        let check = if entry.size() == 0 {
            check_empty(kind, stored)
        } else if short == 0 {
            match hash(kind, slice(bytes, &range), 0) {
                None => Check::Unchecked,
                Some(computed) if computed == stored => Check::Valid,
                Some(_) => Check::Wrong,
            }
        } else if is_last && range.start < size && short <= MOST_MISSING {
            match hash(kind, slice(bytes, &range), short) {
                Some(computed) if computed == stored => Check::ValidIfPadded,
                _ => Check::Wrong,
            }
        } else {
            Check::Wrong
        };
        report_image(number, &range, short, entry.size(), check, report);
        images.push(Image {
            range,
            load: entry.address.get(),
            flag: entry.flag.get(),
            counter: entry.counter.get(),
            hash: stored.to_vec(),
            check,
        });
    }
    images
}

/// mkimage stores the hash of nothing for an image that is not there; others may leave zeros.
fn check_empty(kind: HashKind, stored: &[u8]) -> Check {
    match hash(kind, &[], 0) {
        Some(computed) if computed == stored => Check::Valid,
        Some(_) if stored.iter().any(|byte| *byte != 0) => Check::Wrong,
        _ => Check::Unchecked,
    }
}

fn report_image(number: u32, range: &Range<u64>, short: u64, size: u64, check: Check, report: &mut Report) {
    let finding = if size > 0 && short > 0 && check == Check::ValidIfPadded {
        Finding::warning(
            rules::IDB_TRUNCATED,
            format!("the file is truncated: the last {short} bytes of image {number} are missing, and all were zeros"),
        )
        .help(format!("the board starts only where zeros follow on the card; append {short} zero bytes to the file"))
    } else if size > 0 && short > 0 {
        Finding::error(
            rules::IDB_BEYOND_END,
            format!("image {number} ends at byte {}, {short} bytes behind the end of the file", range.end),
        )
        .help("the board stays dark: the image is incomplete; fetch the file again")
    } else if check == Check::Wrong {
        Finding::error(rules::IDB_IMAGE_HASH, format!("the hash of image {number} is wrong: its bytes are damaged"))
            .help("the BootROM refuses the image and the board stays dark; fetch the file again")
    } else {
        return;
    };
    report.push(finding.at(range.clone()));
}

/// What is odd about a block whatever SoC it is for.
fn check_shape(block: &IdBlock, header: &Header, report: &mut Report) {
    let used = usize::try_from(block.n_images).unwrap_or(usize::MAX);
    for (entry, index) in header.images.iter().zip(0_u64..).skip(used) {
        use zerocopy::IntoBytes as _;
        if entry.as_bytes().iter().any(|byte| *byte != 0) {
            let start = index.saturating_mul(88).saturating_add(0x78);
            report.push(
                Finding::info(
                    rules::IDB_UNUSED_ENTRY,
                    format!("entry {} is not used and not zero", index.saturating_add(1)),
                )
                .at(start..start.saturating_add(88)),
            );
        }
    }
    // A damaged header has been said to be one.
    if block.header_check != Check::Wrong {
        check_reserved(block, header, report);
    }
    for (image, number) in block.images.iter().zip(1_u32..) {
        if !image.range.is_empty() && ![DEFAULT_LOAD, RK3576_BOOST_LOAD, RK3576_DDR_LOAD].contains(&image.load) {
            let at = u64::from(number).saturating_sub(1).saturating_mul(88).saturating_add(0x7c);
            report.push(
                Finding::warning(
                    rules::IDB_LOAD,
                    format!(
                        "image {number} is to be loaded to {:#x}; expected 0xffffffff, which leaves it to the BootROM, or \
                         {RK3576_BOOST_LOAD:#x} and {RK3576_DDR_LOAD:#x} as for the RK3576",
                        image.load
                    ),
                )
                .at(at..at.saturating_add(4))
                .help("a BootROM may load it over something else; fetch the file again"),
            );
        }
        if image.counter != number {
            report.push(
                Finding::info(
                    rules::IDB_COUNTER,
                    format!("image {number} has counter {}, expected {number}", image.counter),
                )
                .at(image.range.clone()),
            );
        }
    }
    let Some(boot) = block.images.last().filter(|_| block.images.len() > 1) else { return };
    let size = boot.range.end.saturating_sub(boot.range.start);
    if size == 0 {
        report.push(
            Finding::info(
                rules::IDB_NO_BOOT,
                "the last image is empty: the BootROM runs the init code and has nothing to go on with",
            )
            .at(boot.range.clone())
            .help("right for an init image that loads the next stage itself; else add the SPL"),
        );
    } else if size > MAX_SPL {
        report.push(
            Finding::warning(
                rules::IDB_LARGE_SPL,
                format!(
                    "the last image (SPL) has {size} bytes, more than the {MAX_SPL} that a BootROM is known to load"
                ),
            )
            .at(boot.range.clone()),
        );
    }
}

/// Fields that known files leave zero, in one finding.
fn check_reserved(block: &IdBlock, header: &Header, report: &mut Report) {
    let is_set = |bytes: &[u8]| bytes.iter().any(|byte| *byte != 0);
    let mut found: Vec<Range<u64>> = Vec::new();
    let mut note = |at: u64, size: u64, is_set: bool| {
        if is_set {
            found.push(at..at.saturating_add(size));
        }
    };
    note(0x4, 4, is_set(&header.reserved0));
    note(0xc, 4, header.boot_flag.get() & !0xf != 0);
    note(0x10, 72, is_set(&header.reserved1));
    for (word, index) in header.params.iter().zip(0_u64..) {
        // Vendor files for the RK3576 have one.
        let is_known = index == 2 && word.get() == RK3576_PARAM;
        note(index.saturating_mul(4).saturating_add(0x58), 4, word.get() != 0 && !is_known);
    }
    for (entry, index) in header.images.iter().zip(0_u64..).take(block.images.len()) {
        let at = index.saturating_mul(88).saturating_add(0x78);
        note(at.saturating_add(8), 4, entry.flag.get() != 0);
        note(at.saturating_add(16), 8, is_set(&entry.reserved));
    }
    note(0x1d8, 1064, is_set(&header.reserved2));
    if !block.signed && matches!(block.hash_kind, HashKind::Sha256 | HashKind::Sha512) {
        let used = block.hash_kind.size();
        let at = HASH_OFFSET.saturating_add(used as u64);
        note(at, HEADER_SIZE.saturating_sub(at), is_set(header.hash.get(used..).unwrap_or_default()));
    }
    if let (Some(first), Some(last)) = (found.first(), found.last()) {
        report.push(
            Finding::info(
                rules::IDB_RESERVED,
                format!("reserved fields or flags of the header are not zero: bytes {}", list_ranges(&found)),
            )
            .at(first.start..last.end),
        );
    }
}

fn check_soc(block: &IdBlock, bytes: &[u8], soc: Soc, report: &mut Report) {
    if soc.header_version() == HeaderVersion::V1 {
        report.push(
            Finding::error(
                rules::IDB_WRONG_VERSION,
                format!("this is an idblock v2 (RK35xx), but the BootROM of {soc} reads v1"),
            )
            .at(0..HEADER_SIZE)
            .help(format!("the board stays dark; use an idbloader.img made for {soc}")),
        );
        return;
    }
    // The init image is the last but one: RK3576 files of the vendor have "FlashBoost" before it.
    let init = block.images.iter().rev().nth(1).or(block.images.first());
    if let Some(init) = init {
        let size = init.range.end.saturating_sub(init.range.start);
        if size > u64::from(soc.max_init()) {
            report.push(
                Finding::error(
                    rules::IDB_INIT_TOO_LARGE,
                    format!("the init image has {size:#x} bytes, {soc} takes at most {:#x}", soc.max_init()),
                )
                .at(init.range.clone())
                .help("it does not fit the SoC's SRAM; is it the file of another board?"),
            );
        }
    }
    // The header does not name a SoC, but rkbin's blobs are known by their digest.
    if let Some(ddr) = block.ddr(bytes)
        && let Some(file) = ddr.foreign_to(soc)
    {
        report.push(
            Finding::error(
                rules::IDB_OTHER_SOC,
                format!("the DDR init code is rkbin's {file}, which does not run on {soc}"),
            )
            .at(init.map_or(0..HEADER_SIZE, |init| init.range.clone()))
            .help("the DRAM stays off and the board dark; use an idbloader.img made for this SoC"),
        );
    }
    if soc == Soc::Rk3576 {
        let load = |index: usize| block.images.get(index).map(|image| image.load);
        let mut missing = Vec::new();
        if load(0) != Some(RK3576_BOOST_LOAD) {
            missing.push("load the first image, boost, to 0x3ffc0000");
        }
        if load(1) != Some(RK3576_DDR_LOAD) {
            missing.push("load the second, DDR init, to 0x3ff81000");
        }
        if block.images.iter().any(|image| image.range.start % RK3576_ALIGN != 0) {
            missing.push("start all images at multiples of 4 KiB");
        }
        if slice(bytes, &(0x60..0x64)) != RK3576_PARAM.to_le_bytes() {
            missing.push("have 0x100 at byte 0x60");
        }
        if block.images.len() > 2 && !missing.is_empty() {
            report.push(
                Finding::warning(
                    rules::IDB_RK3576,
                    format!(
                        "vendor files of three images for the RK3576 {}; this one does not",
                        missing.join(", and they ")
                    ),
                )
                .at(0..HEADER_SIZE)
                .help(
                    "make it with `rkboot build idbloader --soc rk3576 --boost FILE`, or fetch the vendor's file again",
                ),
            );
        } else if block.images.len() <= 2 {
            report.push(
                Finding::warning(
                    rules::IDB_RK3576,
                    "vendor files for the RK3576 begin with a boost image loaded to 0x3ffc0000; this one has none, as \
                     mkimage makes it",
                )
                .at(0..HEADER_SIZE)
                .help("fine for U-Boot builds that are tested on this board"),
            );
        }
    }
}

/// Looks for copies, adds them to the block and says which differ. A spread block has none: nobody packs them.
pub(crate) fn find_copies(bytes: &[u8], block: &mut IdBlock) -> Report {
    const FORM: Form = Form {
        header: HEADER_SIZE,
        is_block: is_v2,
        probe: |bytes| {
            let (block, report) = parse_flat(bytes, None);
            let is_certain = |block: &IdBlock| block.header_check == Check::Valid;
            block.map(|block| Probe {
                length: block.length,
                is_certain: is_certain(&block),
                is_damaged: report.has_errors() || block.bytes_missing > 0,
            })
        },
    };
    if block.spread {
        return Report::new();
    }
    let (copies, report) = copies::find(bytes, block.length, &FORM);
    block.copies = copies;
    report
}

/// The hash of `bytes` and `zeros` zero bytes behind them.
fn hash(kind: HashKind, bytes: &[u8], zeros: u64) -> Option<Vec<u8>> {
    fn run<H: sha2::Digest>(bytes: &[u8], zeros: u64) -> Vec<u8> {
        const ZEROS: [u8; 4096] = [0; 4096];
        let mut hasher = H::new();
        hasher.update(bytes);
        let mut left = zeros;
        while left > 0 {
            let step = slice(&ZEROS, &(0..left));
            hasher.update(step);
            left = left.saturating_sub(step.len() as u64);
        }
        hasher.finalize().to_vec()
    }
    match kind {
        HashKind::Sha256 => Some(run::<Sha256>(bytes, zeros)),
        HashKind::Sha512 => Some(run::<Sha512>(bytes, zeros)),
        HashKind::None | HashKind::Unknown(_) => None,
    }
}
