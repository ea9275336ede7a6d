//! Bytes, sectors and sector addresses are different things.

use std::fmt;

/// The size of a logical sector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum SectorSize {
    /// 512 bytes: SD cards, eMMC, most NVMe namespaces.
    #[default]
    B512,
    /// 4096 bytes: UFS, some NVMe namespaces.
    B4096,
}

impl SectorSize {
    /// The size in bytes.
    pub const fn bytes(self) -> u64 {
        match self {
            Self::B512 => 512,
            Self::B4096 => 4096,
        }
    }
}

/// The address of a sector: a count of sectors from the start of the medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Lba(pub u64);

impl Lba {
    /// The byte offset, `None` when it does not fit 64 bits.
    pub const fn byte_offset(self, sector: SectorSize) -> Option<u64> {
        self.0.checked_mul(sector.bytes())
    }
}

impl fmt::Display for Lba {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A count of sectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Sectors(pub u64);

impl Sectors {
    /// The count of bytes, `None` when it does not fit 64 bits.
    pub const fn bytes(self, sector: SectorSize) -> Option<u64> {
        self.0.checked_mul(sector.bytes())
    }
}

impl fmt::Display for Sectors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A count of bytes. Displays in binary units, exact when it is a whole number of them.
///
/// ```
/// assert_eq!(imgcore::ByteSize(1_306_525_696).to_string(), "1246 MiB");
/// assert_eq!(imgcore::ByteSize(331_776).to_string(), "324 KiB");
/// assert_eq!(imgcore::ByteSize(80_402_804).to_string(), "76.7 MiB");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// 1024 bytes.
    pub const KIB: u64 = 1024;
    /// 1024² bytes.
    pub const MIB: u64 = 1024 * 1024;
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, name) = match self.0 {
            0..Self::KIB => return write!(f, "{} B", self.0),
            Self::KIB..Self::MIB => (Self::KIB, "KiB"),
            _ => (Self::MIB, "MiB"),
        };
        let tenths = (u128::from(self.0) * 10 + u128::from(unit) / 2) / u128::from(unit);
        if tenths % 10 == 0 {
            write!(f, "{} {name}", tenths / 10)
        } else {
            write!(f, "{}.{} {name}", tenths / 10, tenths % 10)
        }
    }
}
