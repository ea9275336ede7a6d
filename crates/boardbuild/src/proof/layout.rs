//! The layout proof: nobody writes where somebody else's bytes are, in the image, at install and at upgrade.
//!
//! The partition entry array lies behind the boot files (LBA 2 + offset), so a boot file that is a little too long does
//! not merely grow into a partition: it destroys the table. This is the fault that this project began with.

use imgcore::{ByteSize, Finding, Labelled, Layout, Overlap, Report, SectorSize};
use rawimg::gpt;

use crate::board::{Reserved, SECTOR};

/// A boot file where it is to be written.
#[derive(Debug, Clone)]
pub struct Placement {
    /// Role, the name in findings.
    pub name: String,
    /// What the file is.
    pub file: rkboot::BootFile,
    /// First byte on the medium.
    pub start: u64,
    /// Count of bytes that are written, from the file's start.
    pub written: u64,
    /// Whether the file is already cut after its first copy.
    pub trimmed: bool,
}

/// When somebody writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Situation {
    /// The raw image.
    Image,
    /// `talosctl` or the first boot installs to a disk: the partitions of the image plus those made on a node.
    Install,
    /// An upgrade: boot files are written again in front of a table that stays.
    Upgrade,
}

impl Situation {
    const ALL: [Self; 3] = [Self::Image, Self::Install, Self::Upgrade];

    fn words(self) -> &'static str {
        match self {
            Self::Image => "in the image",
            Self::Install => "at install",
            Self::Upgrade => "at upgrade",
        }
    }
}

/// Sector sizes of the media that a node is installed to: SD cards, eMMC and most NVMe disks have 512 bytes, some NVMe
/// disks 4096. A raw image has 512 always. SPI flash holds no partitions: its image is proved by itself.
const SECTORS: [SectorSize; 2] = [SectorSize::B512, SectorSize::B4096];

/// A node's disk is at least this large; where it ends does not matter for what lies in front.
const NODE_DISK: u64 = 16 << 30;

/// Partitions that a node adds behind those of the image, with the smallest sizes it gives them (`talos-image.md` §5.2).
const NODE_PARTITIONS: [(&str, u64); 2] = [("STATE", 100 << 20), ("EPHEMERAL", 2 << 30)];

/// The map of one situation.
///
/// # Errors
/// When the partitions do not fit the disk.
pub fn map(
    situation: Situation,
    sector: SectorSize,
    spec: &gpt::Spec,
    placements: &[Placement],
    reserved: &[Reserved],
) -> Result<Layout, rawimg::Error> {
    let mut layout = match situation {
        Situation::Image => gpt::plan(spec)?.layout(),
        Situation::Install | Situation::Upgrade => {
            let mut node = spec.clone();
            // The offset counts LBAs, so with larger sectors the table moves; boot files stay at their bytes.
            node.sector = sector;
            let partitions: u64 = node.partitions.iter().map(|partition| partition.size).sum();
            let front = spec.skip.0.saturating_mul(sector.bytes());
            let least = NODE_DISK.max(partitions.saturating_mul(2)).max(spec.disk_size);
            node.disk_size = least.saturating_add(front) / ByteSize::MIB * ByteSize::MIB;
            for (name, size) in NODE_PARTITIONS {
                node.partitions.push(gpt::PartitionSpec {
                    name: name.to_owned(),
                    type_guid: gpt::LINUX_FILESYSTEM,
                    guid: talosimg::disk::guid_from_label(name),
                    size,
                    attributes: 0,
                });
            }
            let table = gpt::plan(&node)?;
            let mut layout = Layout::new();
            // Where a node's disk ends is not known, so neither is its backup table; everything behind the start of
            // EPHEMERAL belongs to it.
            for labelled in table.layout().sorted() {
                if labelled.owner.starts_with("backup") {
                    continue;
                }
                let grown = labelled.owner.contains("(EPHEMERAL)");
                let end = if grown { u64::MAX } else { labelled.range.end };
                layout.add(&labelled.owner, labelled.range.start..end);
            }
            layout
        }
    };
    for placement in placements {
        let ranges = rkboot::ranges(&placement.name, &placement.file, placement.start, placement.written);
        layout.join(without_known(ranges, placement, reserved));
        // A file whose end is cut off starts only while zeros follow it.
        if !placement.trimmed && placement.file.claimed_end > placement.written {
            let owner = format!("{} (zeros that must follow)", placement.name);
            let end = placement.start.saturating_add(placement.file.claimed_end);
            layout.add(owner, placement.start.saturating_add(placement.written)..end);
        }
    }
    for area in reserved {
        layout.add(&area.name, area.range());
    }
    Ok(layout)
}

/// The ranges of a file without the padding that a reserved area is known to lie in. What the file means there stays
/// an overlap.
fn without_known(ranges: Layout, placement: &Placement, reserved: &[Reserved]) -> Layout {
    let known: Vec<_> = reserved.iter().filter(|area| area.within.as_ref() == Some(&placement.name)).collect();
    if known.is_empty() {
        return ranges;
    }
    let mut left = Layout::new();
    for labelled in ranges.sorted() {
        let mut at = labelled.range.start;
        if labelled.owner.ends_with("(padding)") {
            let mut holes: Vec<_> = known.iter().map(|area| area.range()).collect();
            holes.sort_by_key(|hole| hole.start);
            for hole in holes.iter().filter(|hole| hole.start < labelled.range.end && labelled.range.start < hole.end) {
                if at < hole.start {
                    left.add(&labelled.owner, at..hole.start);
                }
                at = at.max(hole.end);
            }
        }
        if at < labelled.range.end {
            left.add(&labelled.owner, at..labelled.range.end);
        }
    }
    left
}

/// Proves the layout in every situation. Gives the image's map and what was found.
///
/// # Errors
/// When the partitions do not fit the image.
pub fn prove(
    spec: &gpt::Spec,
    placements: &[Placement],
    reserved: &[Reserved],
) -> Result<(Layout, Report), rawimg::Error> {
    let mut report = Report::new();
    let mut seen: Vec<Overlap> = Vec::new();
    for sector in SECTORS {
        let mut found: Vec<(Overlap, Vec<Situation>)> = Vec::new();
        for situation in Situation::ALL {
            if situation == Situation::Image && sector != SectorSize::B512 {
                continue;
            }
            for overlap in map(situation, sector, spec, placements, reserved)?.overlaps() {
                match found.iter_mut().find(|(known, _)| *known == overlap) {
                    Some((_, situations)) => situations.push(situation),
                    None => found.push((overlap, vec![situation])),
                }
            }
        }
        // Two boot files collide on every medium; that is said once.
        found.retain(|(overlap, _)| !seen.contains(overlap));
        for (overlap, situations) in &found {
            report.push(finding(overlap, situations, sector, spec, placements));
        }
        seen.extend(found.into_iter().map(|(overlap, _)| overlap));
    }
    Ok((map(Situation::Image, SectorSize::B512, spec, placements, reserved)?, report))
}

fn finding(
    overlap: &Overlap,
    situations: &[Situation],
    sector: SectorSize,
    spec: &gpt::Spec,
    placements: &[Placement],
) -> Finding {
    let (ours, theirs) = if is_table(&overlap.first) || is_partition(&overlap.first) {
        (&overlap.second, &overlap.first)
    } else {
        (&overlap.first, &overlap.second)
    };
    let code = match theirs {
        labelled if is_table(labelled) => "LAY001",
        labelled if is_partition(labelled) => "LAY002",
        _ => "LAY003",
    };
    let words: Vec<_> = situations.iter().map(|situation| situation.words()).collect();
    let medium = if sector == SectorSize::B512 { "" } else { ", on a disk with 4096-byte sectors" };
    let (ours_at, theirs_at) = (place(ours, sector), place(theirs, sector));
    let message = format!("{ours_at} would overwrite {theirs_at} {}{medium}", join(&words));
    let placement = placements.iter().find(|placement| {
        placement.start <= ours.range.start && ours.range.end <= placement.start.saturating_add(placement.written)
    });
    let mut finding = Finding::error(code, message).at(overlap.shared()).of(ours.owner.clone());
    finding.help = Some(match placement {
        Some(placement) if code != "LAY003" => remedies(placement, sector, spec),
        _ => "move one of the two: at-sector in the board file says where a boot file is written".to_owned(),
    });
    finding
}

/// An overlap that is already on a disk.
pub fn finding_on_disk(overlap: &Overlap) -> Finding {
    let code = match overlap {
        Overlap { first, second } if is_table(first) || is_table(second) => "LAY001",
        Overlap { first, second } if is_partition(first) || is_partition(second) => "LAY002",
        _ => "LAY003",
    };
    let message = format!(
        "{} and {} claim the same bytes",
        place(&overlap.first, SectorSize::B512),
        place(&overlap.second, SectorSize::B512)
    );
    Finding::error(code, message).at(overlap.shared()).of(overlap.first.owner.clone()).help(
        "one has overwritten the other; build the image again with a larger partition-offset or with trimmed copies",
    )
}

fn is_table(labelled: &Labelled) -> bool {
    labelled.owner.contains("GPT") || labelled.owner == "protective MBR"
}

fn is_partition(labelled: &Labelled) -> bool {
    labelled.owner.starts_with("partition ")
}

fn place(labelled: &Labelled, sector: SectorSize) -> String {
    let (range, sector) = (&labelled.range, sector.bytes());
    format!(
        "{} (LBA {}-{}, bytes {}..{})",
        labelled.owner,
        range.start / sector,
        range.end.saturating_sub(1) / sector,
        range.start,
        range.end
    )
}

fn join(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// Both ways out of an overlap with the table or a partition.
fn remedies(placement: &Placement, sector: SectorSize, spec: &gpt::Spec) -> String {
    let end = placement.start.saturating_add(placement.written);
    let offset = offset_behind(end);
    let limit = spec.skip.0.saturating_add(2).saturating_mul(sector.bytes());
    let room = limit.saturating_sub(placement.start);
    let table = format!(
        "either move the table and the partitions behind the file: partition-offset = {offset} or larger in [overlay] \
         (it is {}; the entry array then begins at LBA {})",
        spec.skip,
        offset.saturating_add(2)
    );
    let trim = match rkboot::trim(&placement.file) {
        _ if placement.trimmed => format!(
            "or use a smaller file: {} is written from byte {} already cut after its first copy, and {room} bytes fit there",
            placement.name, placement.start
        ),
        Ok(length) if length < placement.written && length <= room => format!(
            "or write only the first of its {} equal copies: trim-copies = true at {} in the board file ({length} bytes, \
             up to LBA {})",
            placement.file.copies.len(),
            placement.name,
            placement.start.saturating_add(length).saturating_sub(1) / SECTOR
        ),
        _ if room == 0 => format!("trimming copies does not help: nothing fits at sector {}", placement.start / SECTOR),
        Ok(length) => format!(
            "trimming copies does not help: the first copy alone has {length} bytes, and {room} fit at sector {}",
            placement.start / SECTOR
        ),
        Err(error) => format!(
            "trimming copies is not possible here: {error}; {room} bytes fit at sector {}",
            placement.start / SECTOR
        ),
    };
    format!("{table}\n{trim}")
}

/// The smallest offset, a multiple of 1 MiB as in every overlay, whose entry array lies behind `end`.
fn offset_behind(end: u64) -> u64 {
    const ALIGNMENT: u64 = ByteSize::MIB / SECTOR;
    end.div_ceil(SECTOR).saturating_sub(2).next_multiple_of(ALIGNMENT)
}

#[cfg(test)]
mod tests {
    use imgcore::Sectors;
    use talosimg::{Bootloader, Version, disk, release};

    use super::*;

    #[test]
    fn larger_sectors_move_the_table_onto_what_is_placed_by_bytes() {
        let version = Version::parse("v1.13.9").unwrap();
        let spec = disk::table(release::find(&version).unwrap(), Bootloader::SdBoot, 4 << 30, Sectors(20_480));
        let area = |at_sector| Reserved { name: "environment".to_owned(), at_sector, sectors: 8, within: None };
        for (at_sector, expected) in [
            (64, &[][..]),
            (8, &["LBA 1-1, bytes 4096..8192) at install and at upgrade, on a disk with 4096-byte sectors"]),
            (
                20_482,
                &[
                    "GPT entry array (LBA 20482-20513, bytes 10486784..10503168) in the image, at install and at upgrade",
                ],
            ),
        ] {
            let (_, report) = prove(&spec, &[], &[area(at_sector)]).unwrap();
            assert_eq!(report.iter().count(), expected.len(), "{at_sector}: {report:?}");
            for (finding, words) in report.iter().zip(expected) {
                assert!(finding.code == "LAY001" && finding.message.ends_with(words), "{finding}");
            }
        }
    }

    #[test]
    fn an_area_in_the_padding_of_a_file_is_known_and_one_in_its_content_is_an_overlap() {
        let fixtures = testkit::workspace().join("fixtures/demo");
        let mut bytes = testkit::read(fixtures.join("idbloader.img"));
        bytes.resize((16_384 - 64) * 512, 0xff);
        bytes.extend(testkit::read(fixtures.join("u-boot.itb")));
        let written = bytes.len() as u64;
        let (file, _) = rkboot::examine(&bytes, None);
        let placement = Placement { name: "u-boot".to_owned(), file, start: 64 * SECTOR, written, trimmed: false };
        let version = Version::parse("v1.13.9").unwrap();
        let spec = disk::table(release::find(&version).unwrap(), Bootloader::SdBoot, 4 << 30, Sectors(20_480));
        let area = |at_sector, within: Option<&str>| Reserved {
            name: "environment".to_owned(),
            at_sector,
            sectors: 64,
            within: within.map(str::to_owned),
        };
        for (areas, expected) in [
            (vec![area(8_128, Some("u-boot"))], 0),
            (vec![area(8_128, Some("u-boot")), area(9_000, Some("u-boot"))], 0),
            (vec![area(8_128, None)], 1),
            (vec![area(8_128, Some("other"))], 1),
            (vec![area(64, Some("u-boot"))], 1),
            (vec![area(16_384, Some("u-boot"))], 1),
        ] {
            let (layout, report) = prove(&spec, std::slice::from_ref(&placement), &areas).unwrap();
            let codes: Vec<_> = report.iter().map(|finding| finding.code).collect();
            assert_eq!(codes, vec!["LAY003"; expected], "{areas:?}: {report:?}");
            assert!(layout.sorted().iter().any(|labelled| labelled.owner == "u-boot (padding)"));
        }
    }

    #[test]
    fn the_offset_behind_the_seed_file_is_the_documented_one() {
        assert_eq!(offset_behind(12_582_912), 24_576);
        assert_eq!(offset_behind(10_486_784), 20_480);
        assert_eq!(offset_behind(10_486_785), 22_528);
    }
}
