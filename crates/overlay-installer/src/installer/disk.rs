//! The disk: a block device or a raw image file.

use std::{
    fs::{File, OpenOptions},
    io::{self, Seek as _},
    os::unix::fs::{FileExt as _, FileTypeExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use imgcore::{ReadAt, SectorSize};

/// An open disk of known size.
pub(crate) struct Disk {
    path: PathBuf,
    file: File,
    size: u64,
    sector: SectorSize,
}

impl Disk {
    /// Opens an existing disk for reading and writing.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let name = path.display();
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .with_context(|| format!("cannot open the disk {name} for writing"))?;
        let metadata = file.metadata().with_context(|| format!("cannot examine the disk {name}"))?;
        let kind = metadata.file_type();
        let mut sector = SectorSize::B512;
        if kind.is_block_device() {
            let device = Device::new(metadata.rdev());
            if device.is_partition() {
                bail!("{name} is a partition, expected a whole disk: boot files have fixed places on the disk");
            }
            sector = device.sector();
        } else if !kind.is_file() {
            bail!("{name} is no disk, expected a block device or a raw image file");
        }
        // The length of a block device is not in its metadata.
        let size = file.seek(io::SeekFrom::End(0)).with_context(|| format!("cannot find the size of {name}"))?;
        Ok(Self { path: path.to_owned(), file, size, sector })
    }

    /// The path, for messages.
    pub(crate) fn name(&self) -> std::path::Display<'_> {
        self.path.display()
    }

    /// The sector size in which a partition table will be written, where there is none to tell.
    pub(crate) fn sector(&self) -> SectorSize {
        self.sector
    }

    /// Writes all of `bytes`; the error names the byte on the disk at which it stopped.
    pub(crate) fn write_all_at(&self, mut bytes: &[u8], mut offset: u64) -> Result<()> {
        while !bytes.is_empty() {
            let failed = || format!("cannot write to {} at byte {offset}", self.name());
            match self.file.write_at(bytes, offset) {
                Ok(0) => bail!("{}: the disk takes no more", failed()),
                Ok(count) => {
                    bytes = bytes.get(count..).unwrap_or_default();
                    offset += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error).with_context(failed),
            }
        }
        Ok(())
    }

    /// Waits until everything is on the medium.
    pub(crate) fn sync(&self) -> Result<()> {
        self.file.sync_all().with_context(|| format!("{} did not take what was written (fsync)", self.name()))
    }
}

impl ReadAt for Disk {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }
}

/// What Linux says about a block device in `/sys`, which needs no ioctl.
struct Device(PathBuf);

impl Device {
    fn new(number: u64) -> Self {
        let (major, minor) = numbers(number);
        Self(PathBuf::from(format!("/sys/dev/block/{major}:{minor}")))
    }

    fn is_partition(&self) -> bool {
        self.0.join("partition").exists()
    }

    fn sector(&self) -> SectorSize {
        let text = std::fs::read_to_string(self.0.join("queue/logical_block_size")).unwrap_or_default();
        if text.trim() == "4096" { SectorSize::B4096 } else { SectorSize::B512 }
    }
}

/// Major and minor number as Linux packs them into `st_rdev`.
fn numbers(device: u64) -> (u64, u64) {
    let major = ((device >> 8) & 0xfff) | ((device >> 32) & 0xffff_f000);
    let minor = (device & 0xff) | ((device >> 12) & 0xffff_ff00);
    (major, minor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers_are_unpacked() {
        // As os.makedev of Python packs them.
        for (packed, unpacked) in
            [(0x700, (7, 0)), (0x801, (8, 1)), (0x1_0300, (259, 0)), (0x0001_2000_6783_459a, (0x12345, 0x6789a))]
        {
            assert_eq!(numbers(packed), unpacked, "{packed:#x}");
        }
    }
}
