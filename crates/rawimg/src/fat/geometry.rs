//! The numbers that `mkfs.fat -F 32` of dosfstools 4.2 chooses for a size, by its rules (talos-image.md 5.5 has
//! samples; the oracle test compares hundreds of sizes with the program itself).

use imgcore::SectorSize;

/// Below this many clusters readers take a file system for FAT16, whatever its boot sector says (Microsoft FAT
/// specification 1.03, page 14).
pub(super) const CLUSTERS_MIN: u32 = 65_525;
/// The highest 16 values of a 28-bit entry are special.
const CLUSTERS_MAX: u64 = (1 << 28) - 16;
/// `mkfs.fat` reserves 32 sectors for FAT32, rounded up to whole clusters.
const RESERVED: u64 = 32;
/// Two file allocation tables.
pub(super) const FATS: u32 = 2;

/// The shape of a FAT32 file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Logical sector size.
    pub sector: SectorSize,
    /// Sectors of a cluster, a power of two.
    pub sectors_per_cluster: u8,
    /// Sectors in front of the first FAT.
    pub reserved_sectors: u16,
    /// Sectors of one FAT.
    pub fat_sectors: u32,
    /// Sectors of the file system, a multiple of the track.
    pub total_sectors: u32,
    /// Sectors of a track, of meaning to BIOS code only.
    pub sectors_per_track: u16,
    /// Heads, of meaning to BIOS code only.
    pub heads: u16,
    /// Data clusters.
    pub clusters: u32,
}

impl Geometry {
    /// What `mkfs.fat -F 32` takes for a file or device of `size` bytes, `None` when it cannot be made FAT32 at all.
    ///
    /// Tracks and heads follow from the size of the device, `geometry_of`, because the program asks the kernel for it:
    /// the whole disk when it formats a partition, the file itself (here also 0) when it formats a file.
    pub fn of(size: u64, sector: SectorSize, geometry_of: u64) -> Option<Self> {
        let bytes = sector.bytes();
        let sectors = size / bytes;
        let device = if geometry_of == 0 { sectors } else { geometry_of / bytes };
        let (heads, sectors_per_track) = tracks(device);
        let track = u64::from(sectors_per_track);
        let total = sectors.min(u64::from(u32::MAX)) / track * track;

        let mut sectors_per_cluster = first_cluster_size(sectors);
        while sectors_per_cluster <= 128 {
            let per_cluster = u64::from(sectors_per_cluster);
            let reserved = RESERVED.next_multiple_of(per_cluster);
            let data = total.checked_sub(reserved)?;
            // Clusters and their FAT entries share the space; the 8 bytes a FAT are entries 0 and 1.
            let fats = u64::from(FATS);
            let guess = (data * bytes + fats * 8) / (per_cluster * bytes + fats * 4);
            let fat = ((guess + 2) * 4).div_ceil(bytes).next_multiple_of(per_cluster);
            let clusters = data.checked_sub(fats * fat)? / per_cluster;
            if clusters <= CLUSTERS_MAX.min(fat * bytes / 4) {
                return Some(Self {
                    sector,
                    sectors_per_cluster,
                    reserved_sectors: u16::try_from(reserved).ok()?,
                    fat_sectors: u32::try_from(fat).ok()?,
                    total_sectors: u32::try_from(total).ok()?,
                    sectors_per_track,
                    heads,
                    clusters: u32::try_from(clusters).ok()?,
                });
            }
            sectors_per_cluster = sectors_per_cluster.checked_mul(2)?;
        }
        None
    }

    /// Bytes of a cluster.
    pub fn cluster_bytes(&self) -> u64 {
        u64::from(self.sectors_per_cluster) * self.sector.bytes()
    }

    /// Byte offset of the first FAT.
    pub fn fat_offset(&self) -> u64 {
        u64::from(self.reserved_sectors) * self.sector.bytes()
    }

    /// Bytes of one FAT.
    pub fn fat_bytes(&self) -> u64 {
        u64::from(self.fat_sectors) * self.sector.bytes()
    }

    /// Byte offset of the first cluster, which has number 2.
    pub fn data_offset(&self) -> u64 {
        self.fat_offset() + u64::from(FATS) * self.fat_bytes()
    }
}

/// Heads and sectors per track: up to 2¹⁹ sectors as the SD card file system specification recommends, above by LBA
/// assisted translation. All of it in sectors, so a disk with 4096-byte sectors moves up later.
fn tracks(sectors: u64) -> (u16, u16) {
    const LBA_ASSIST: u64 = 63 * 1024;
    match sectors {
        0..=4096 => (2, 16),
        4097..=32_768 => (2, 32),
        32_769..=65_536 => (4, 32),
        65_537..=262_144 => (8, 32),
        262_145..=524_288 => (16, 32),
        _ if sectors <= 16 * LBA_ASSIST => (16, 63),
        _ if sectors <= 32 * LBA_ASSIST => (32, 63),
        _ if sectors <= 64 * LBA_ASSIST => (64, 63),
        _ if sectors <= 128 * LBA_ASSIST => (128, 63),
        _ => (255, 63),
    }
}

/// Sectors of a cluster as Microsoft's format command starts with, by count of sectors: 1 up to 260 MiB of 512-byte
/// sectors, 8 up to 8 GiB, then doubling.
fn first_cluster_size(sectors: u64) -> u8 {
    const GIB: u64 = 1024 * 1024 * 2;
    match sectors {
        0..=532_480 => 1,
        _ if sectors <= 8 * GIB => 8,
        _ if sectors <= 16 * GIB => 16,
        _ if sectors <= 32 * GIB => 32,
        _ => 64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_samples_of_the_specification() {
        const MIB: u64 = 1 << 20;
        for (size, device, expected) in [
            (100, 0, (1, 1576, 204_800, 32, 8)),
            (1101, 0, (8, 2200, 2_254_833, 63, 64)),
            (2101, 0, (8, 4200, 4_302_837, 63, 128)),
            (100, 1246, (1, 1575, 204_750, 63, 64)),
            (1101, 1246, (8, 2200, 2_254_833, 63, 64)),
            (100, 2246, (1, 1575, 204_750, 63, 128)),
        ] {
            let g = Geometry::of(size * MIB, SectorSize::B512, device * MIB).unwrap();
            let found = (g.sectors_per_cluster, g.fat_sectors, g.total_sectors, g.sectors_per_track, g.heads);
            assert_eq!(found, expected, "{size} of {device}");
        }
    }

    #[test]
    fn no_size_panics() {
        for shift in 0..64 {
            for size in [(1_u64 << shift) - 1, 1 << shift] {
                for sector in [SectorSize::B512, SectorSize::B4096] {
                    for device in [0, 1, u64::MAX] {
                        if let Some(g) = Geometry::of(size, sector, device) {
                            let end = g.data_offset() + u64::from(g.clusters) * g.cluster_bytes();
                            assert!(end <= size, "{size}");
                            assert!((u64::from(g.clusters) + 2) * 4 <= g.fat_bytes(), "{size}");
                        }
                    }
                }
            }
        }
    }
}
