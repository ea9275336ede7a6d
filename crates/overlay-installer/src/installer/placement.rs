//! What must not be overwritten: the partition table and the partitions, wherever they are on this disk.
//!
//! The original NanoPi M6 overlay writes 4 MiB at sector 16384 over the entry array at sector 20482 and the first
//! mebibyte of the ESP (`rockchip-boot.md` §3.3), and does so again at every upgrade.

use std::ops::Range;

use anyhow::{Result, bail};
use imgcore::{Labelled, Layout, ReadAt, Report, SectorSize};
use rawimg::gpt::{self, TableCopy};
use talosimg::overlay::Board;

use super::disk::Disk;

/// Bytes of an entry array of 128 entries, which is what Talos writes.
const ARRAY_BYTES: u64 = 16_384;
/// Partitions begin at multiples of this.
const ALIGNMENT: u64 = 1 << 20;

/// Refuses a board whose files would touch anything but the free room in front of the partitions.
pub(crate) fn check(board: &Board, disk: &Disk) -> Result<()> {
    let occupied = occupied(board, disk, disk.sector())?;
    collide(board, &occupied, disk.size())
}

/// What is on a disk, or will be.
struct Occupied {
    layout: Layout,
    sector: SectorSize,
    /// First byte of the primary entry array.
    array: u64,
    /// Whether the table is there, and not to come.
    found: bool,
}

fn occupied(board: &Board, disk: &dyn ReadAt, sector: SectorSize) -> Result<Occupied> {
    let (table, report) = gpt::read(disk);
    if let Some(unreadable) = report.iter().find(|finding| finding.code == "GPT020") {
        bail!("the partition table cannot be read: {}", unreadable.message);
    }
    let Some(table) = table else {
        if report.iter().any(|finding| finding.code != "GPT001") {
            bail!(
                "the disk has the remains of a GUID partition table, so it is not known what may be overwritten: {}; \
                 repair it (sgdisk --verify) or erase the disk",
                messages(&report)
            );
        }
        return to_come(board, disk, sector);
    };
    let damaged = match table.copy {
        TableCopy::Primary => "GPT006",
        TableCopy::Backup => "GPT007",
    };
    if report.iter().any(|finding| finding.code == damaged) {
        bail!(
            "both copies of the partition table are damaged, so it is not known what may be overwritten: {}; repair \
             the table (sgdisk --verify) or flash the disk again",
            messages(&report)
        );
    }
    let mut layout = table.layout();
    let array = if let Some(header) = &table.primary {
        header.array_range(table.sector)
    } else {
        // The header that says where the array is, is lost: it will be written again where the overlay wants it.
        let range = array_to_come(board, table.sector);
        layout.add("GPT entry array", range.clone());
        range
    };
    Ok(Occupied { layout, sector: table.sector, array: array.start, found: true })
}

/// Imager 1.13 with GRUB runs `install` on the empty raw image, before it writes the table.
fn to_come(board: &Board, disk: &dyn ReadAt, sector: SectorSize) -> Result<Occupied> {
    let mut layout = Layout::new();
    let mut mbr = [0; 512];
    if disk.size() >= 512 {
        disk.read_exact_at(0, &mut mbr)?;
    }
    for (number, range) in mbr_partitions(&mbr, sector) {
        layout.add(format!("MBR partition {number}"), range);
    }
    let array = array_to_come(board, sector);
    layout.add("protective MBR", 0..512);
    layout.add("GPT header", sector.bytes()..sector.bytes() * 2);
    layout.add("GPT entry array", array.clone());
    let first = array.end.checked_next_multiple_of(ALIGNMENT).unwrap_or(u64::MAX);
    layout.add("room for partitions", first..disk.size().max(first));
    Ok(Occupied { layout, sector, array: array.start, found: false })
}

fn array_to_come(board: &Board, sector: SectorSize) -> Range<u64> {
    let start = board.partition_offset.saturating_add(2).saturating_mul(sector.bytes());
    start..start.saturating_add(ARRAY_BYTES)
}

/// The partitions of a table from before GPT. Boot code in the place of the records has other status bytes.
fn mbr_partitions(sector0: &[u8; 512], sector: SectorSize) -> Vec<(usize, Range<u64>)> {
    let records: Vec<&[u8]> = sector0.get(446..510).unwrap_or_default().chunks_exact(16).collect();
    let plausible = sector0.ends_with(&[0x55, 0xaa]) && records.iter().all(|record| matches!(record, [0 | 0x80, ..]));
    let mut partitions = Vec::new();
    for (number, record) in (1..).zip(records).filter(|_| plausible) {
        let number_at = |at: Range<usize>| {
            let bytes: Option<[u8; 4]> = record.get(at).and_then(|bytes| bytes.try_into().ok());
            u64::from(u32::from_le_bytes(bytes.unwrap_or_default())) * sector.bytes()
        };
        let (kind, start, length) = (record.get(4).copied().unwrap_or_default(), number_at(8..12), number_at(12..16));
        if kind != 0 && kind != 0xee && length != 0 {
            partitions.push((number, start..start + length));
        }
    }
    partitions
}

fn collide(board: &Board, occupied: &Occupied, size: u64) -> Result<()> {
    let ours = board.layout();
    let mut problems = Vec::new();
    for file in ours.sorted() {
        for owner in occupied.layout.sorted() {
            if file.range.start < owner.range.end && owner.range.start < file.range.end {
                let verb = if occupied.found { "would overwrite" } else { "would be where this will be:" };
                problems.push(format!("{} {verb} {}", place(file, occupied.sector), place(owner, occupied.sector)));
            }
        }
        if file.range.end > size {
            problems.push(format!(
                "{} does not fit: the disk has {size} bytes, needed are {}",
                place(file, occupied.sector),
                file.range.end
            ));
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    let end = ours.sorted().iter().map(|file| file.range.end).max().unwrap_or_default();
    bail!("{}; {}", problems.join("; "), remedy(board, occupied, end))
}

fn remedy(board: &Board, occupied: &Occupied, end: u64) -> String {
    let sector = occupied.sector.bytes();
    let wanted = (board.partition_offset.saturating_add(2)).saturating_mul(sector);
    if occupied.found && occupied.array != wanted && end <= wanted {
        return format!(
            "the disk was partitioned with its entry array at LBA {}, this overlay needs LBA {}: partitions cannot be \
             moved by an upgrade, flash an image that was built with this overlay",
            occupied.array / sector,
            wanted / sector
        );
    }
    format!(
        "build the overlay with a shorter file (`trim-copies = true` in the board file writes one copy only) or with \
         `partition-offset` at least {}, and flash an image that was built with it",
        end.div_ceil(sector).saturating_sub(2)
    )
}

fn place(labelled: &Labelled, sector: SectorSize) -> String {
    let (start, end, size) = (labelled.range.start, labelled.range.end, sector.bytes());
    let last = end.div_ceil(size).saturating_sub(1);
    format!("{} (LBA {}..{last}, bytes {start}..{end})", labelled.owner, start / size)
}

fn messages(report: &Report) -> String {
    let errors = report.iter().filter(|finding| finding.severity == imgcore::Severity::Error);
    errors.map(|finding| finding.message.as_str()).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use imgcore::{Digest, Sectors};
    use rawimg::{Extents, Guid};
    use talosimg::overlay::BootFile;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn board(files: &[(&str, u64, u64)], partition_offset: u64) -> Board {
        let digest = Digest::of(b"");
        let file = |(path, offset, length): &(&str, u64, u64)| BootFile {
            path: (*path).to_owned(),
            offset: *offset,
            length: *length,
            size: *length,
            digest,
        };
        Board {
            name: "m6".to_owned(),
            options: [].into(),
            kernel_args: vec![],
            partition_offset,
            spi: None,
            files: files.iter().map(file).collect(),
            esp: vec![],
        }
    }

    fn disk(skip: u64, sector: SectorSize) -> Vec<u8> {
        let guid = |text: &str| text.parse::<Guid>().unwrap();
        let mut spec = gpt::Spec::new(128 * MIB, guid("d92d45b3-cde9-8760-be9f-a2a71fac8d11"));
        spec.skip = Sectors(skip);
        spec.sector = sector;
        for (name, id) in
            [("EFI", "bca5174b-0118-8a6a-af0b-2c6e1585acae"), ("META", "cf04f137-101e-8ec6-9627-fa3f51cdabb8")]
        {
            spec.partitions.push(gpt::PartitionSpec {
                name: name.to_owned(),
                type_guid: gpt::EFI_SYSTEM,
                guid: guid(id),
                size: 40 * MIB,
                attributes: 0,
            });
        }
        let mut extents = Extents::new(spec.disk_size);
        gpt::plan(&spec).unwrap().insert_into(&mut extents).unwrap();
        let mut bytes = vec![0; usize::try_from(spec.disk_size).unwrap()];
        extents.read_exact_at(0, &mut bytes).unwrap();
        bytes
    }

    fn verdict(board: &Board, disk: &[u8]) -> Result<(), String> {
        let occupied = occupied(board, &disk, SectorSize::B512).map_err(|error| error.to_string())?;
        collide(board, &occupied, disk.size()).map_err(|error| error.to_string())
    }

    #[test]
    fn files_stay_in_front_of_the_partitions_that_are_there() {
        const LOADER: (&str, u64, u64) = ("idbloader.img", 32_768, 331_776);
        let table: &[(&str, Vec<u8>, Board, &[&str])] = &[
            (
                "the reference layout",
                disk(20_480, SectorSize::B512),
                board(&[LOADER, ("u-boot.itb", 8 * MIB, MIB)], 20_480),
                &[],
            ),
            (
                "up to the last free byte",
                disk(20_480, SectorSize::B512),
                board(&[("u-boot.itb", 8 * MIB, 2_098_176)], 20_480),
                &[],
            ),
            (
                "one byte more",
                disk(20_480, SectorSize::B512),
                board(&[("u-boot.itb", 8 * MIB, 2_098_177)], 20_480),
                &[
                    "u-boot.itb (LBA 16384..20482, bytes 8388608..10486785) would overwrite GPT entry array (LBA \
                     20482..20513, bytes 10486784..10503168)",
                    "`partition-offset` at least 20481",
                ],
            ),
            (
                "the original overlay",
                disk(20_480, SectorSize::B512),
                board(&[LOADER, ("uboot.img", 8 * MIB, 4 * MIB)], 20_480),
                &[
                    "uboot.img (LBA 16384..24575, bytes 8388608..12582912) would overwrite GPT entry array (LBA \
                     20482..20513, bytes 10486784..10503168)",
                    "would overwrite partition 1 (EFI) (LBA 22528..104447, bytes 11534336..53477376)",
                    "trim-copies = true",
                    "`partition-offset` at least 24574",
                ],
            ),
            (
                "the same with the larger offset",
                disk(24_574, SectorSize::B512),
                board(&[LOADER, ("uboot.img", 8 * MIB, 4 * MIB)], 24_574),
                &[],
            ),
            (
                "a disk that another overlay partitioned",
                disk(0, SectorSize::B512),
                board(&[("u-boot.itb", 8 * MIB, MIB)], 20_480),
                &[
                    "partition 1 (EFI) (LBA 2048..",
                    "entry array at LBA 2, this overlay needs LBA 20482",
                    "flash an image",
                ],
            ),
            (
                "4096-byte sectors",
                disk(2_560, SectorSize::B4096),
                board(&[("uboot.img", 8 * MIB, 4 * MIB)], 2_560),
                &["LBA 2048..3071, bytes 8388608..12582912", "GPT entry array (LBA 2562..2565,", "at least 3070"],
            ),
            (
                "the header",
                disk(0, SectorSize::B512),
                board(&[("x", 0, 1024)], 0),
                &["protective MBR", "GPT header (LBA 1..1"],
            ),
            (
                "the backup",
                disk(20_480, SectorSize::B512),
                board(&[("x", 128 * MIB - 1024, 1024)], 20_480),
                &["backup GPT entry array", "backup GPT header"],
            ),
            (
                "behind the disk",
                disk(20_480, SectorSize::B512),
                board(&[("x", 128 * MIB, 1)], 20_480),
                &["does not fit"],
            ),
        ];
        for (name, disk, board, expected) in table {
            match verdict(board, disk) {
                Ok(()) => assert!(expected.is_empty(), "{name}: nothing was refused"),
                Err(error) => {
                    assert!(!expected.is_empty(), "{name}: {error}");
                    for part in *expected {
                        assert!(error.contains(part), "{name}: {part} is not in: {error}");
                    }
                }
            }
        }
    }

    #[test]
    fn an_empty_disk_is_kept_free_for_the_table_that_comes() {
        let empty = vec![0; usize::try_from(64 * MIB).unwrap()];
        assert_eq!(verdict(&board(&[("a", 32_768, MIB), ("b", 8 * MIB, 2_098_176)], 20_480), &empty), Ok(()));
        assert_eq!(verdict(&board(&[("idbloader.img", 32_768, 200 * 1024)], 0), &empty), Ok(()));
        for (files, offset, expected) in [
            (("b", 8 * MIB, 2_098_177), 20_480, "GPT entry array (LBA 20482..20513"),
            (("b", 12 * MIB, MIB), 20_480, "room for partitions (LBA 22528..131071"),
            (("b", 512, 512), 20_480, "GPT header"),
            (("b", 32_768, MIB), 0, "room for partitions (LBA 2048.."),
            (("b", 63 * MIB, 2 * MIB), u64::MAX, "does not fit"),
        ] {
            let error = verdict(&board(&[files], offset), &empty).unwrap_err();
            assert!(error.contains(expected), "{expected}: {error}");
        }
        let mut mbr = empty;
        mbr[446..462].copy_from_slice(&[0x80, 0, 0, 0, 0x83, 0, 0, 0, 0, 0x40, 0, 0, 0, 0x10, 0, 0]);
        mbr[510..512].copy_from_slice(&[0x55, 0xaa]);
        let error = verdict(&board(&[("b", 8 * MIB, MIB)], 20_480), &mbr).unwrap_err();
        assert!(error.contains("MBR partition 1 (LBA 16384..20479"), "{error}");
        assert_eq!(verdict(&board(&[("a", 32_768, MIB)], 20_480), &mbr), Ok(()));
    }

    #[test]
    fn a_damaged_table_is_used_only_as_far_as_it_can_be_trusted() {
        let good = board(&[("u-boot.itb", 8 * MIB, MIB)], 20_480);
        let bad = board(&[("uboot.img", 8 * MIB, 4 * MIB)], 20_480);
        let whole = disk(20_480, SectorSize::B512);
        let (array, backup_array) = (10_486_784, whole.len() - 33 * 512);
        let header = 512;

        let damage = |places: &[usize]| {
            let mut disk = whole.clone();
            for place in places {
                disk[*place + 20] ^= 1;
            }
            disk
        };
        for (name, places) in [
            ("array", vec![array]),
            ("header", vec![header]),
            ("backup", vec![backup_array]),
            ("both", vec![array, header]),
        ] {
            let disk = damage(&places);
            assert_eq!(verdict(&good, &disk), Ok(()), "{name}");
            let error = verdict(&bad, &disk).unwrap_err();
            assert!(error.contains("GPT entry array") && error.contains("partition 1 (EFI)"), "{name}: {error}");
        }
        for (name, places) in [
            ("arrays", vec![array, backup_array]),
            ("headers", vec![header, whole.len() - 512]),
            ("one of each", vec![header, backup_array]),
        ] {
            let error = verdict(&good, &damage(&places)).unwrap_err();
            assert!(error.contains("not known what may be overwritten"), "{name}: {error}");
        }
    }

    #[test]
    fn no_damage_to_a_disk_stops_the_check() {
        // Only the places with meaning are mutated: MBR, headers, arrays.
        let whole = disk(20_480, SectorSize::B512);
        let mut small = whole[..2048].to_vec();
        small.extend_from_slice(&whole[whole.len() - 33 * 512..]);
        let board = board(&[("u-boot.itb", 8 * MIB, MIB)], 20_480);
        testkit::mutants(9, 5_000, &small, |bytes| {
            let _ = verdict(&board, bytes);
        });
    }
}
