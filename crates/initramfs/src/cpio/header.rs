//! The header of an entry.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::borrow::Cow;

/// Bytes of a header: a magic of 6 and 13 fields of 8 hex digits.
pub(crate) const HEADER: usize = 110;
/// The name that ends an archive.
const TRAILER: &[u8] = b"TRAILER!!!";
/// The bits of a mode that say what an entry is.
pub(crate) const MODE_MASK: u32 = 0o170_000;
/// A folder.
pub(crate) const MODE_DIR: u32 = 0o040_000;
/// A regular file.
pub(crate) const MODE_FILE: u32 = 0o100_000;
/// A symbolic link, whose target is its data.
pub(crate) const MODE_LINK: u32 = 0o120_000;

/// The variant of the format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Magic {
    /// `070701`, `newc`.
    #[default]
    Newc,
    /// `070702`, `newc` with a sum of the data.
    Crc,
}

/// What stands in front of an entry's data. Numbers are as they stand in the file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Header {
    /// The variant.
    pub magic: Magic,
    /// Name without the NUL at its end; see [`path`](Self::path).
    pub name: Vec<u8>,
    /// Inode number. Files with several links share it, and one of them carries the data.
    pub ino: u32,
    /// Kind and permissions as in `st_mode`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Count of links.
    pub nlink: u32,
    /// Seconds since 1970.
    pub mtime: u32,
    /// Bytes of data.
    pub size: u32,
    /// Major and minor number of the file system's device.
    pub dev: (u32, u32),
    /// Major and minor number of the device that this is.
    pub rdev: (u32, u32),
    /// Sum of the data's bytes, where the variant has one.
    pub check: u32,
}

impl Header {
    /// The name as text, without `./` or `/` in front; what is not UTF-8 is replaced.
    pub fn path(&self) -> Cow<'_, str> {
        let mut name = self.name.as_slice();
        while let Some(rest) = name.strip_prefix(b"./").or(name.strip_prefix(b"/")) {
            name = rest;
        }
        String::from_utf8_lossy(name)
    }

    /// Whether it is a regular file.
    pub fn is_file(&self) -> bool {
        self.mode & MODE_MASK == MODE_FILE
    }

    /// Whether it is a folder.
    pub fn is_dir(&self) -> bool {
        self.mode & MODE_MASK == MODE_DIR
    }

    /// Whether it is a symbolic link, whose data is its target.
    pub fn is_symlink(&self) -> bool {
        self.mode & MODE_MASK == MODE_LINK
    }

    pub(crate) fn is_trailer(&self) -> bool {
        self.name == TRAILER
    }

    pub(crate) fn trailer() -> Self {
        Self { name: TRAILER.to_vec(), nlink: 1, ..Self::default() }
    }

    /// Bytes of header, name and data with the padding behind name and data.
    pub(crate) fn padded_size(&self) -> u64 {
        let head = (HEADER as u64).saturating_add(self.name.len() as u64).saturating_add(1).next_multiple_of(4);
        head.saturating_add(u64::from(self.size).next_multiple_of(4))
    }

    /// Header and name with its NUL and padding.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let magic: &[u8] = match self.magic {
            Magic::Newc => b"070701",
            Magic::Crc => b"070702",
        };
        let name_size = u32::try_from(self.name.len()).unwrap_or(u32::MAX).saturating_add(1);
        let fields = [
            self.ino,
            self.mode,
            self.uid,
            self.gid,
            self.nlink,
            self.mtime,
            self.size,
            self.dev.0,
            self.dev.1,
            self.rdev.0,
            self.rdev.1,
            name_size,
            self.check,
        ];
        let mut bytes = magic.to_vec();
        for field in fields {
            bytes.extend_from_slice(format!("{field:08X}").as_bytes());
        }
        bytes.extend_from_slice(&self.name);
        bytes.push(0);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    /// The fields, and how many bytes the name has with its NUL; the name itself comes behind.
    pub(crate) fn decode(bytes: &[u8; HEADER]) -> Result<(Self, u32), &'static str> {
        let (magic, fields) = bytes.split_first_chunk::<6>().ok_or("it is cut off")?;
        let magic = match magic {
            b"070701" => Magic::Newc,
            b"070702" => Magic::Crc,
            b"070707" => return Err("it is of the old portable format; the kernel reads newc (`cpio -H newc`)"),
            _ => return Err("its first bytes are not 070701"),
        };
        let (fields, _) = fields.as_chunks::<8>();
        let mut numbers = [0; 13];
        for (number, digits) in numbers.iter_mut().zip(fields) {
            // `from_str_radix` takes a sign, the kernel does not.
            let text = std::str::from_utf8(digits).ok().filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit()));
            *number = text.and_then(|text| u32::from_str_radix(text, 16).ok()).ok_or("a number in it is not hex")?;
        }
        let [ino, mode, uid, gid, nlink, mtime, size, major, minor, rmajor, rminor, name_size, check] = numbers;
        let (dev, rdev) = ((major, minor), (rmajor, rminor));
        Ok((Self { magic, name: Vec::new(), ino, mode, uid, gid, nlink, mtime, size, dev, rdev, check }, name_size))
    }
}
