//! Examining foreign FAT32 file systems within fixed limits.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

mod list;
mod names;
mod raw;
mod table;
mod volume;

pub use volume::{Entry, File, Parameters, Volume};

use std::{io, ops::Range};

use imgcore::{Finding, ReadAt, Report, SectorSize};
use zerocopy::FromBytes as _;

use list::Lister;
use raw::{RawBoot, RawCommon, RawFat32, RawInfo};
use table::Table;

/// Below this many clusters a file system is FAT16 by definition (Microsoft FAT specification 1.03, page 14).
const FAT32_CLUSTERS: u32 = 65_525;
/// Findings about files: more than this say nothing new.
const FINDING_LIMIT: usize = 500;

/// Reads a FAT32 file system and says all that is wrong with it.
///
/// Memory is bounded by the count of files and fragments, which is limited; time by the size of the tables.
pub fn read(part: &dyn ReadAt) -> (Option<Volume>, Report) {
    let mut report = Report::new();
    let mut reader = Reader { part, report: &mut report };
    let volume = reader.volume();
    (volume, report)
}

/// Whether this looks like a FAT file system of any kind, without examining it.
pub(crate) fn is_fat(part: &dyn ReadAt) -> bool {
    let mut sector = [0; 512];
    part.read_exact_at(0, &mut sector).is_ok()
        && RawBoot::ref_from_bytes(&sector).is_ok_and(|boot| {
            boot.signature == [0x55, 0xaa]
                && matches!(boot.jump, [0xeb, _, 0x90] | [0xe9, ..])
                && matches!(boot.common.bytes_per_sector.get(), 512 | 1024 | 2048 | 4096)
                && boot.common.sectors_per_cluster.is_power_of_two()
                && (1..=4).contains(&boot.common.fats)
        })
}

struct Reader<'a> {
    part: &'a dyn ReadAt,
    report: &'a mut Report,
}

impl Reader<'_> {
    fn volume(&mut self) -> Option<Volume> {
        let mut sector = [0; 512];
        self.read("boot sector", 0, &mut sector)?;
        let boot = RawBoot::ref_from_bytes(&sector).ok()?;
        let parameters = self.parameters(boot)?;
        self.backup(boot, &parameters);
        let (active, readable) = self.tables(boot, &parameters)?;

        let mut table = Table::new(self.part, &parameters, active, readable);
        self.check_marks(&mut table, &parameters);
        let mut lister = Lister::new(&parameters, self.part, &mut table);
        let listed = lister.walk();
        let (entries, root_label, findings, complete) = match listed {
            Ok(()) => lister.finish(),
            Err(error) => {
                let (entries, label, findings, _) = lister.finish();
                self.unreadable("directories", parameters.data_offset()..self.part.size(), &error);
                (entries, label, findings, false)
            }
        };
        let more = findings.len().saturating_sub(FINDING_LIMIT);
        self.report.extend(findings.into_iter().take(FINDING_LIMIT));
        if more > 0 {
            self.push(Finding::error("FAT019", format!("{more} more findings about files are not shown")));
        }
        let free = self.count(&table, &parameters, complete);
        let label = self.label(root_label.as_deref(), &parameters);
        let fragmented = entries.iter().filter(|entry| !entry.is_dir && entry.extents.len() > 1).count();
        Some(Volume { parameters, label, free_clusters: free, fragmented, entries })
    }

    fn push(&mut self, finding: Finding) {
        self.report.push(finding);
    }

    fn unreadable(&mut self, what: &str, range: Range<u64>, error: &io::Error) {
        self.push(Finding::error("FAT020", format!("cannot read the {what}: {error}")).at(range));
    }

    fn read(&mut self, what: &str, offset: u64, buffer: &mut [u8]) -> Option<()> {
        match self.part.read_exact_at(offset, buffer) {
            Ok(()) => Some(()),
            Err(error) => {
                self.unreadable(what, offset..offset.saturating_add(buffer.len() as u64), &error);
                None
            }
        }
    }

    /// The parameter block, if it can be worked with.
    fn parameters(&mut self, boot: &RawBoot) -> Option<Parameters> {
        if boot.signature != [0x55, 0xaa] {
            let [a, b] = boot.signature;
            let message = format!("no FAT boot sector: it ends with {a:02x} {b:02x}, expected 55 aa");
            self.push(Finding::error("FAT001", message).at(510..512));
            return None;
        }
        let RawBoot { common, fat32, .. } = boot;
        let sector = match common.bytes_per_sector.get() {
            512 => SectorSize::B512,
            4096 => SectorSize::B4096,
            other => {
                let message = format!("{other} bytes per sector; this reader takes 512 and 4096");
                self.push(Finding::error("FAT002", message).at(11..13));
                return None;
            }
        };
        if common.fat_sectors_16.get() != 0 || common.root_entries.get() != 0 {
            let message =
                "FAT12 or FAT16 by its 16-bit sizes, expected FAT32: UEFI firmware wants FAT32 on a fixed disk";
            self.push(Finding::error("FAT001", message).at(17..24));
            return None;
        }
        // FAT32 has no use for the 16-bit count, but mkfs.fat fills it in for small file systems.
        let total = match common.sectors_16.get() {
            0 => common.sectors_32.get(),
            small => u32::from(small),
        };
        let fields = format!(
            "{} sectors per cluster, {} reserved, {} FATs of {} sectors, {} sectors in all",
            common.sectors_per_cluster, common.reserved, common.fats, fat32.fat_sectors, total
        );
        let system = u64::from(fat32.fat_sectors.get())
            .saturating_mul(u64::from(common.fats))
            .saturating_add(u64::from(common.reserved.get()));
        let data = u64::from(total).checked_sub(system);
        let clusters = data.and_then(|data| data.checked_div(u64::from(common.sectors_per_cluster)));
        let sane = common.sectors_per_cluster.is_power_of_two()
            && common.reserved.get() >= 2
            && (1..=4).contains(&common.fats)
            && fat32.fat_sectors.get() != 0;
        let Some(clusters) = clusters.filter(|_| sane).and_then(|clusters| u32::try_from(clusters).ok()) else {
            let message = format!("the sizes make no file system: {fields}");
            self.push(Finding::error("FAT002", message).at(11..48));
            return None;
        };
        let parameters = gather(boot, common, fat32, sector, (total, clusters));
        self.check_sizes(&parameters);
        Some(parameters)
    }

    fn check_sizes(&mut self, p: &Parameters) {
        let bytes = u64::from(p.total_sectors).saturating_mul(p.sector.bytes());
        if bytes > self.part.size() {
            let message = format!("the file system has {bytes} bytes, the partition only {}", self.part.size());
            self.push(Finding::error("FAT003", message).at(32..36));
        }
        if p.clusters < FAT32_CLUSTERS {
            let message = format!("{} clusters: below 65525 readers take it for FAT16", p.clusters);
            self.push(Finding::error("FAT004", message).at(32..40).help("make the file system larger"));
        }
        let entries = p.fat_bytes() / 4;
        if entries < u64::from(p.clusters).saturating_add(2) {
            let message = format!("a FAT has room for {entries} entries, but there are {} clusters", p.clusters);
            self.push(Finding::error("FAT005", message).at(36..40));
        }
        if p.media < 0xf8 && p.media != 0xf0 {
            let message = format!("media byte {:02x}, expected f8", p.media);
            self.push(Finding::warning("FAT002", message).at(21..22));
        }
        if p.kind != "FAT32" {
            let message = format!("the boot sector calls the type {:?}, expected \"FAT32\"", p.kind);
            self.push(Finding::warning("FAT002", message).at(82..90));
        }
    }

    fn backup(&mut self, boot: &RawBoot, p: &Parameters) {
        let sector = u64::from(p.backup_sector);
        // 0 and ffff mean that there is none.
        if matches!(p.backup_sector, 0 | 0xffff) {
            let message = "there is no backup boot sector: a damaged boot sector loses the file system";
            self.push(Finding::warning("FAT006", message).at(50..52));
            return;
        }
        let offset = sector.saturating_mul(p.sector.bytes());
        let place = offset..offset.saturating_add(512);
        if sector >= u64::from(p.reserved_sectors) {
            let message = format!("the backup boot sector {sector} lies behind the {} reserved", p.reserved_sectors);
            self.push(Finding::error("FAT006", message).at(50..52));
            return;
        }
        let mut first = [0; 512];
        let mut copy = [0; 512];
        if self.read("boot sector", 0, &mut first).is_none()
            || self.read("backup boot sector", offset, &mut copy).is_none()
        {
            return;
        }
        // Linux notes in the first one alone that it has the file system mounted.
        for sector in [&mut first, &mut copy] {
            if let Ok((boot, _)) = RawBoot::mut_from_prefix(sector.as_mut_slice()) {
                boot.fat32.state = 0;
            }
        }
        if let Some(at) = first.iter().zip(&copy).position(|(a, b)| a != b) {
            let message = format!("the backup boot sector {sector} differs from the boot sector, first at byte {at}");
            self.push(Finding::error("FAT006", message).at(place));
        }
        if boot.fat32.state & 3 != 0 {
            let message = "the file system was not unmounted properly";
            self.push(Finding::warning("FAT021", message).at(65..66));
        }
    }

    /// Which FAT counts, and one behind the highest cluster number that can be worked with.
    fn tables(&mut self, boot: &RawBoot, p: &Parameters) -> Option<(u8, u32)> {
        let flags = boot.fat32.flags.get();
        let mirrored = flags & 0x80 == 0;
        let active = if mirrored { 0 } else { u8::try_from(flags & 0x0f).unwrap_or(0) };
        if active >= p.fats {
            let message = format!("FAT {} is the active one of {}", active, p.fats);
            self.push(Finding::error("FAT002", message).at(40..42));
            return None;
        }
        if p.data_offset() > self.part.size() {
            let message = "the FATs do not lie inside the partition";
            self.push(Finding::error("FAT003", message).at(p.fat_offset()..p.data_offset()));
            return None;
        }
        if mirrored {
            for copy in 1..p.fats {
                let other = p.fat_offset().saturating_add(p.fat_bytes().saturating_mul(u64::from(copy)));
                match table::first_difference(self.part, p.fat_offset(), other, p.fat_bytes()) {
                    Ok(None) => {}
                    Ok(Some(at)) => {
                        let message = format!(
                            "FAT {} differs from FAT 1, first in the entry of cluster {}",
                            u16::from(copy).saturating_add(1),
                            at / 4
                        );
                        let place = other.saturating_add(at & !3);
                        self.push(Finding::error("FAT009", message).at(place..place.saturating_add(4)));
                    }
                    Err(error) => self.unreadable("FATs", other..other.saturating_add(p.fat_bytes()), &error),
                }
            }
        }
        // Clusters that have an entry in the table and their bytes in the partition.
        let data = self.part.size().saturating_sub(p.data_offset());
        let inside = data.checked_div(p.cluster_bytes()).unwrap_or(0);
        let usable = u64::from(p.clusters).min(inside).min((p.fat_bytes() / 4).saturating_sub(2));
        let end = u32::try_from(usable.saturating_add(2)).unwrap_or(u32::MAX).min(0x0fff_fff7);
        Some((active, end))
    }

    /// Entries 0 and 1: the media byte and the marks of a proper unmount.
    fn check_marks(&mut self, table: &mut Table<'_>, p: &Parameters) {
        match (table.raw(0), table.raw(1)) {
            (Ok(first), Ok(second)) => {
                if first & 0x0fff_ffff != 0x0fff_ff00 | u32::from(p.media) {
                    let message = format!("FAT entry 0 is {first:08x}, expected 0fffff{:02x}", p.media);
                    self.push(Finding::warning("FAT002", message).at(table.place(0)));
                }
                if second & 0x0c00_0000 != 0x0c00_0000 {
                    let message =
                        format!("FAT entry 1 is {second:08x}: not unmounted properly, or a disk error was met");
                    self.push(Finding::warning("FAT021", message).at(table.place(1)));
                }
            }
            (Err(error), _) | (_, Err(error)) => self.unreadable("FAT", table.place(0), &error),
        }
    }

    /// Free clusters, against the information sector and what the chains claimed.
    fn count(&mut self, table: &Table<'_>, p: &Parameters, complete: bool) -> u32 {
        let counts = match table.count() {
            Ok(counts) => counts,
            Err(error) => {
                self.unreadable("FAT", p.fat_offset()..p.data_offset(), &error);
                return 0;
            }
        };
        let lost = counts.used.saturating_sub(table.claimed_clusters());
        if complete && lost > 0 {
            let message = format!("{lost} clusters are marked as used but belong to no file");
            self.push(Finding::warning("FAT014", message).at(p.fat_offset()..p.data_offset()));
        }
        if counts.bad > 0 {
            let message = format!("{} clusters are marked as bad", counts.bad);
            self.push(Finding::info("FAT022", message).at(p.fat_offset()..p.data_offset()));
        }
        let free = u32::try_from(counts.free).unwrap_or(u32::MAX);
        self.check_info(p, free);
        free
    }

    fn check_info(&mut self, p: &Parameters, free: u32) {
        if matches!(p.info_sector, 0 | 0xffff) {
            return;
        }
        let offset = u64::from(p.info_sector).saturating_mul(p.sector.bytes());
        let place = offset..offset.saturating_add(512);
        let mut sector = [0; 512];
        if self.read("file system information", offset, &mut sector).is_none() {
            return;
        }
        let Ok(info) = RawInfo::ref_from_bytes(&sector) else { return };
        if info.lead != *b"RRaA" || info.signature != *b"rrAa" || info.trail != [0, 0, 0x55, 0xaa] {
            let message = format!("sector {} is not a file system information sector", p.info_sector);
            self.push(Finding::error("FAT007", message).at(place));
            return;
        }
        if info.free.get() != free && info.free.get() != u32::MAX {
            let message = format!("{} clusters are said to be free, but {free} are", info.free);
            self.push(Finding::error("FAT008", message).at(place.clone()));
        }
        let next = info.next.get();
        if next != u32::MAX && !(2..p.clusters.saturating_add(2)).contains(&next) {
            let message = format!("the search for free clusters is to begin at {next}, which does not exist");
            self.push(Finding::warning("FAT008", message).at(place));
        }
    }

    fn label(&mut self, root: Option<&str>, p: &Parameters) -> String {
        let boot = if p.boot_label == "NO NAME" { "" } else { &p.boot_label };
        let label = root.unwrap_or(boot);
        if label != boot {
            let message = format!("the root directory has the label {label:?}, the boot sector {boot:?}");
            self.push(Finding::warning("FAT018", message).at(71..82));
        }
        label.to_owned()
    }
}

fn gather(
    boot: &RawBoot,
    common: &RawCommon,
    fat32: &RawFat32,
    sector: SectorSize,
    (total_sectors, clusters): (u32, u32),
) -> Parameters {
    Parameters {
        oem: text(&boot.oem),
        sector,
        sectors_per_cluster: common.sectors_per_cluster,
        reserved_sectors: common.reserved.get(),
        fats: common.fats,
        media: common.media,
        sectors_per_track: common.track.get(),
        heads: common.heads.get(),
        hidden_sectors: common.hidden.get(),
        total_sectors,
        fat_sectors: fat32.fat_sectors.get(),
        root_cluster: fat32.root.get(),
        info_sector: fat32.info.get(),
        backup_sector: fat32.backup.get(),
        volume_id: fat32.volume_id.get(),
        boot_label: text(&fat32.label),
        kind: text(&fat32.kind),
        clusters,
    }
}

/// Padded bytes as text.
fn text(bytes: &[u8]) -> String {
    let shown = |byte: &u8| match byte {
        b' '..=b'~' => char::from(*byte),
        _ => char::REPLACEMENT_CHARACTER,
    };
    bytes.iter().map(shown).collect::<String>().trim_end().to_owned()
}
