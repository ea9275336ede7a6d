//! A whole image: the partition table and the file systems in it.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use imgcore::{Fact, Finding, ReadAt, Report};

use crate::{Window, fat, gpt};

/// File systems examined in one image: a hostile table can name the same one thousands of times.
const VOLUME_LIMIT: usize = 16;

/// A disk image, or the image of a file system alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// Bytes.
    pub size: u64,
    /// The partition table.
    pub disk: Option<gpt::Disk>,
    /// FAT32 file systems, by place.
    pub volumes: Vec<Located>,
}

/// A file system with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// The partition number, `None` where the image is the file system.
    pub partition: Option<u32>,
    /// First byte in the image.
    pub offset: u64,
    /// Bytes of the partition or image.
    pub size: u64,
    /// The file system.
    pub volume: fat::Volume,
}

/// Examines an image of either kind. Findings about a file system name their partition, and their bytes count from its
/// start.
///
/// ```
/// let (image, report) = rawimg::examine(&vec![0_u8; 4096]);
/// assert!(image.is_none());
/// assert_eq!(report.iter().next().unwrap().code, "IMG001");
/// ```
pub fn examine(image: &dyn ReadAt) -> (Option<Image>, Report) {
    let size = image.size();
    let (disk, mut report) = gpt::read(image);
    let Some(disk) = disk else {
        // A lone file system has no partition table, so its lack is no finding.
        if report.iter().any(|finding| finding.code == "GPT001") && fat::is_fat(image) {
            let (volume, report) = fat::read(image);
            let located = volume.map(|volume| Located { partition: None, offset: 0, size, volume });
            return (located.map(|located| Image { size, disk: None, volumes: vec![located] }), report);
        }
        if report.iter().any(|finding| finding.code == "GPT001") {
            let message = "neither a GUID partition table nor a FAT file system";
            report = Report::from_iter([Finding::error("IMG001", message).at(0..size.min(8192))]);
        }
        return (None, report);
    };
    let mut volumes = Vec::new();
    let mut examined = 0_usize;
    for partition in &disk.partitions {
        let window = Window::new(image, partition.range());
        let is_fat = fat::is_fat(&window);
        let is_esp = partition.type_guid == gpt::EFI_SYSTEM;
        if !is_fat && !is_esp {
            continue;
        }
        if examined >= VOLUME_LIMIT {
            let message = format!("more than {VOLUME_LIMIT} file systems: the others are not examined");
            report.push(Finding::warning("IMG003", message));
            break;
        }
        examined = examined.saturating_add(1);
        let (volume, findings) = fat::read(&window);
        report.extend(findings.owned_by(&partition.label(), 0));
        if is_esp && volume.is_none() {
            let message = "an EFI system partition without a readable FAT32: firmware finds nothing to start";
            report.push(Finding::error("IMG002", message).of(partition.label()).at(0..512));
        }
        volumes.extend(volume.map(|volume| Located {
            partition: Some(partition.number),
            offset: partition.offset,
            size: partition.size,
            volume,
        }));
    }
    (Some(Image { size, disk: Some(disk), volumes }), report)
}

/// One fact a line for [`examine`]: kind `gpt` at byte 0, kind `fat` at the start of each file system. Field names are
/// those of the on-disk fields; partitions and files are `partition.NUMBER.FIELD` and `file.PATH`.
pub fn facts(image: &dyn ReadAt) -> Vec<Fact> {
    let (Some(image), _) = examine(image) else { return Vec::new() };
    let mut facts = Vec::new();
    if let Some(disk) = &image.disk {
        disk_facts(disk, &mut facts);
    }
    for located in &image.volumes {
        volume_facts(located, &mut facts);
    }
    facts
}

fn disk_facts(disk: &gpt::Disk, facts: &mut Vec<Fact>) {
    let mut add = |field: &str, value: String| facts.push(Fact::new("gpt", 0, field, value));
    add("size", disk.size.to_string());
    add("sector_size", disk.sector.bytes().to_string());
    for (prefix, header) in [("", &disk.primary), ("backup.", &disk.backup)] {
        let Some(header) = header else {
            add(&format!("{prefix}header_ok"), "False".to_owned());
            continue;
        };
        add(&format!("{prefix}header_ok"), "True".to_owned());
        add(&format!("{prefix}my_lba"), header.lba.to_string());
        add(&format!("{prefix}alternate_lba"), header.alternate.to_string());
        add(&format!("{prefix}first_usable_lba"), header.first_usable.to_string());
        add(&format!("{prefix}last_usable_lba"), header.last_usable.to_string());
        add(&format!("{prefix}disk_guid"), header.disk_guid.to_string());
        add(&format!("{prefix}entries_lba"), header.entries.to_string());
        add(&format!("{prefix}entries"), header.entry_count.to_string());
        add(&format!("{prefix}entry_size"), header.entry_size.to_string());
    }
    for partition in &disk.partitions {
        let mut add = |field: &str, value: String| add(&format!("partition.{}.{field}", partition.number), value);
        add("name", partition.name.clone());
        add("type", partition.type_guid.to_string());
        add("guid", partition.guid.to_string());
        add("start_lba", partition.first.to_string());
        add("end_lba", partition.last.to_string());
        add("attributes", format!("{:#x}", partition.attributes));
    }
}

fn volume_facts(located: &Located, facts: &mut Vec<Fact>) {
    let volume = &located.volume;
    let p = &volume.parameters;
    let mut add = |field: &str, value: String| facts.push(Fact::new("fat", located.offset, field, value));
    add("oem", p.oem.clone());
    add("bytes_per_sector", p.sector.bytes().to_string());
    add("sectors_per_cluster", p.sectors_per_cluster.to_string());
    add("reserved", p.reserved_sectors.to_string());
    add("fats", p.fats.to_string());
    add("media", format!("{:#x}", p.media));
    add("sectors_per_track", p.sectors_per_track.to_string());
    add("heads", p.heads.to_string());
    add("hidden", p.hidden_sectors.to_string());
    add("total_sectors", p.total_sectors.to_string());
    add("fat_sectors", p.fat_sectors.to_string());
    add("root_cluster", p.root_cluster.to_string());
    add("fsinfo_sector", p.info_sector.to_string());
    add("backup_boot", p.backup_sector.to_string());
    add("volume_id", format!("{:08x}", p.volume_id));
    add("label", p.boot_label.clone());
    add("fs_type", p.kind.clone());
    add("root_label", volume.label.clone());
    add("clusters", p.clusters.to_string());
    add("free_clusters", volume.free_clusters.to_string());
    add("fragmented_files", volume.fragmented.to_string());
    for entry in volume.files() {
        let value = if entry.is_dir { "directory".to_owned() } else { entry.size.to_string() };
        add(&format!("file.{}", entry.path), value);
    }
}
