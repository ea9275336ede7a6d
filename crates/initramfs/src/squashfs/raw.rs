//! The structures as they lie in the file (`fs/squashfs/squashfs_fs.h`), little-endian.

use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{I16, U16, U32, U64},
};

/// `hsqs`.
pub(super) const MAGIC: u32 = 0x7371_7368;
/// Bytes of a metadata block before compression.
pub(super) const METADATA: usize = 8192;
/// Set in the length of a metadata block that is stored.
pub(super) const METADATA_STORED: u16 = 1 << 15;
/// Set in the length of a data block or fragment that is stored.
pub(super) const DATA_STORED: u32 = 1 << 24;
/// "There is none" as a table's place, a fragment's number, an attribute's number.
pub(super) const NO_TABLE: u64 = u64::MAX;
pub(super) const NONE: u32 = u32::MAX;
/// Data begins behind the superblock.
pub(super) const SUPERBLOCK: usize = size_of::<Superblock>();

/// What `flags` says.
pub(super) mod flag {
    pub(in super::super) const NO_FRAGMENTS: u16 = 1 << 4;
    pub(in super::super) const ALWAYS_FRAGMENTS: u16 = 1 << 5;
    pub(in super::super) const DUPLICATES: u16 = 1 << 6;
    pub(in super::super) const EXPORTABLE: u16 = 1 << 7;
    pub(in super::super) const NO_XATTRS: u16 = 1 << 9;
    pub(in super::super) const COMPRESSOR_OPTIONS: u16 = 1 << 10;
}

/// Kinds of inodes; those with long fields have 7 more.
pub(super) mod kind {
    pub(in super::super) const DIR: u16 = 1;
    pub(in super::super) const FILE: u16 = 2;
    pub(in super::super) const SYMLINK: u16 = 3;
    pub(in super::super) const BLOCK: u16 = 4;
    pub(in super::super) const CHAR: u16 = 5;
    pub(in super::super) const FIFO: u16 = 6;
    pub(in super::super) const SOCKET: u16 = 7;
    pub(in super::super) const LONG: u16 = 7;
}

/// `struct squashfs_super_block`.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Superblock {
    pub magic: U32,
    pub inodes: U32,
    pub time: U32,
    pub block_size: U32,
    pub fragments: U32,
    pub compression: U16,
    pub block_log: U16,
    pub flags: U16,
    pub ids: U16,
    pub major: U16,
    pub minor: U16,
    pub root: U64,
    pub bytes_used: U64,
    pub id_table: U64,
    pub xattr_table: U64,
    pub inode_table: U64,
    pub directory_table: U64,
    pub fragment_table: U64,
    pub export_table: U64,
}

/// `struct squashfs_base_inode`, in front of every inode.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Inode {
    pub kind: U16,
    pub mode: U16,
    pub uid: U16,
    pub gid: U16,
    pub time: U32,
    pub number: U32,
}

/// `struct squashfs_dir_inode` behind [`Inode`].
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Dir {
    pub block: U32,
    pub links: U32,
    pub size: U16,
    pub offset: U16,
    pub parent: U32,
}

/// `struct squashfs_ldir_inode` behind [`Inode`].
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct LongDir {
    pub links: U32,
    pub size: U32,
    pub block: U32,
    pub parent: U32,
    pub indexes: U16,
    pub offset: U16,
    pub xattr: U32,
}

/// `struct squashfs_dir_index`; the name comes behind.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct DirIndex {
    pub at: U32,
    pub block: U32,
    /// Bytes of the name less one.
    pub name: U32,
}

/// `struct squashfs_reg_inode` behind [`Inode`]; the lengths of the blocks come behind.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct File {
    pub start: U32,
    pub fragment: U32,
    pub offset: U32,
    pub size: U32,
}

/// `struct squashfs_lreg_inode` behind [`Inode`]; the lengths of the blocks come behind.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct LongFile {
    pub start: U64,
    pub size: U64,
    pub sparse: U64,
    pub links: U32,
    pub fragment: U32,
    pub offset: U32,
    pub xattr: U32,
}

/// `struct squashfs_symlink_inode` behind [`Inode`]; the target comes behind, and then in the long form the number of the
/// attributes.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Symlink {
    pub links: U32,
    pub size: U32,
}

/// `struct squashfs_dir_header`; `count` + 1 entries come behind.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct DirHeader {
    pub count: U32,
    pub block: U32,
    pub number: U32,
}

/// `struct squashfs_dir_entry`; the name comes behind.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct DirEntry {
    pub offset: U16,
    pub number: I16,
    pub kind: U16,
    /// Bytes of the name less one.
    pub name: U16,
}

/// `struct squashfs_fragment_entry`.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct Fragment {
    pub start: U64,
    pub size: U32,
    pub unused: U32,
}

/// `struct squashfs_xattr_id`.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct XattrId {
    pub place: U64,
    pub count: U32,
    pub size: U32,
}

/// `struct squashfs_xattr_id_table`; the places of its blocks come behind.
#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub(super) struct XattrTable {
    pub values: U64,
    pub ids: U32,
    pub unused: U32,
}
