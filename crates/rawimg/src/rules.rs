//! The finding codes of this crate. A code, once published, keeps its meaning for ever.

use imgcore::Severity::{self, Error, Info, Warning};

/// Every code, its severity and what it means.
pub const RULES: &[(&str, Severity, &str)] = &[
    ("GPT001", Error, "there is no GUID partition table"),
    ("GPT002", Error, "the primary GPT header is damaged: signature, size, checksum or own address"),
    ("GPT003", Error, "the backup GPT header is missing or damaged"),
    ("GPT004", Warning, "the backup table is not at the end of the disk"),
    ("GPT005", Error, "primary and backup GPT header disagree"),
    ("GPT006", Error, "the primary entry array does not have its checksum"),
    ("GPT007", Error, "the backup entry array does not have its checksum"),
    ("GPT008", Error, "the usable range lies outside the disk or covers the table itself"),
    ("GPT009", Error, "the entry array is outside the disk or the limits of the reader"),
    ("GPT010", Warning, "the partitions were read from the backup table"),
    ("GPT011", Error, "the protective MBR is missing"),
    ("GPT012", Warning, "the protective MBR does not cover the disk"),
    ("GPT013", Warning, "the MBR is a hybrid with entries of its own"),
    ("GPT014", Warning, "the GPT header has an unusual revision, size or reserved bytes"),
    ("GPT015", Error, "two partitions have the same GUID"),
    ("GPT016", Error, "a partition lies outside the usable range or ends before it begins"),
    ("GPT017", Error, "two partitions overlap"),
    ("GPT018", Warning, "a partition name is not valid UTF-16"),
    ("GPT019", Info, "a partition does not begin at a multiple of 1 MiB"),
    ("GPT020", Error, "the medium cannot be read"),
    ("FAT001", Error, "there is no FAT32 file system"),
    (
        "FAT002",
        Error,
        "a field of the boot sector or of the first FAT entries makes no sense; a warning where it does no harm",
    ),
    ("FAT003", Error, "the file system is larger than its partition"),
    ("FAT004", Error, "too few clusters: readers take the file system for FAT16"),
    ("FAT005", Error, "the FAT is too short for the clusters"),
    ("FAT006", Error, "the backup boot sector differs or lies outside; a warning where there is none"),
    ("FAT007", Error, "the file system information sector is damaged"),
    ("FAT008", Error, "the count of free clusters is wrong; a warning for a wrong search hint"),
    ("FAT009", Error, "the FATs differ"),
    ("FAT010", Error, "a cluster chain is a loop"),
    ("FAT011", Error, "a cluster belongs to two files"),
    ("FAT012", Error, "a cluster chain breaks off"),
    ("FAT013", Error, "the size of a file does not fit its cluster chain"),
    ("FAT014", Warning, "clusters are marked as used but belong to no file"),
    ("FAT015", Warning, "a long name is incomplete or belongs to another file"),
    ("FAT016", Error, "a directory entry is damaged; a warning for a second label"),
    ("FAT017", Error, "a name is there twice in one directory"),
    ("FAT018", Warning, "the labels of boot sector and root directory differ"),
    ("FAT019", Error, "the file system is beyond the limits of the reader"),
    ("FAT020", Error, "the medium cannot be read"),
    ("FAT021", Warning, "the file system was not unmounted properly"),
    ("FAT022", Info, "clusters are marked as bad"),
    ("IMG001", Error, "the image has neither a GUID partition table nor a FAT file system"),
    ("IMG002", Error, "an EFI system partition has no readable FAT32"),
    ("IMG003", Warning, "there are more file systems than are examined"),
];

/// What to do about a code.
pub const CURES: &[(&str, &str)] = &[
    ("FAT001", "format the partition, or name the right one"),
    ("FAT002", "build the image again; to save its files, copy them off first"),
    ("FAT003", "build the image again; to save its files, copy them off first"),
    ("FAT004", "format with `mkfs.fat -F 32` on a larger partition"),
    ("FAT005", "build the image again; to save its files, copy them off first"),
    ("FAT006", "build the image again; to save its files, copy them off first"),
    ("FAT007", "`fsck.fat` writes it anew"),
    ("FAT008", "`fsck.fat` counts anew"),
    ("FAT009", "build the image again; to save its files, copy them off first"),
    ("FAT010", "build the image again; to save its files, copy them off first"),
    ("FAT011", "build the image again; to save its files, copy them off first"),
    ("FAT012", "build the image again; to save its files, copy them off first"),
    ("FAT013", "build the image again; to save its files, copy them off first"),
    ("FAT014", "`fsck.fat` frees them"),
    ("FAT015", "build the image again; to save its files, copy them off first"),
    ("FAT016", "build the image again; to save its files, copy them off first"),
    ("FAT017", "build the image again; to save its files, copy them off first"),
    ("FAT018", "`fatlabel` sets both"),
    ("FAT019", "no boot partition needs that much: the image is damaged or hostile"),
    ("FAT020", "read the medium in another reader, or take another copy"),
    ("FAT021", "run `fsck.fat`, and unmount before the medium is taken out"),
    ("FAT022", "replace the medium: it loses data"),
    ("GPT001", "is this a disk image? a boot file alone has no table"),
    ("GPT002", "write the image again; `sgdisk --verify` shows the same, and can mend one copy from the other"),
    ("GPT003", "write the image again; `sgdisk --verify` shows the same, and can mend one copy from the other"),
    (
        "GPT004",
        "nothing before the first boot: an image is smaller than its disk; `sgdisk -e` moves the backup to the end",
    ),
    ("GPT005", "write the image again; `sgdisk --verify` shows the same, and can mend one copy from the other"),
    ("GPT006", "write the image again; `sgdisk --verify` shows the same, and can mend one copy from the other"),
    ("GPT007", "write the image again; `sgdisk --verify` shows the same, and can mend one copy from the other"),
    ("GPT008", "write the image again; `sgdisk --verify` shows the same, and can mend one copy from the other"),
    ("GPT009", "write the image again; `sgdisk --verify` shows the same, and can mend one copy from the other"),
    ("GPT010", "mend the primary table with `sgdisk`, before something else is written"),
    ("GPT011", "`sgdisk` writes it anew"),
    ("GPT012", "nothing; `sgdisk -e` corrects it"),
    ("GPT013", "give up one of the two tables: firmware and kernel may follow different ones"),
    ("GPT014", "nothing; another program wrote this table"),
    ("GPT015", "give one of them another GUID: systems mount the wrong one"),
    ("GPT016", "write the image again; `sgdisk --verify` shows the same, and can mend one copy from the other"),
    ("GPT017", "do not start from this disk; write the image again"),
    ("GPT018", "rename the partition"),
    ("GPT019", "nothing; writing to it is slower"),
    ("GPT020", "read the medium in another reader, or take another copy"),
    ("IMG001", "is this the right file? `inspect` says what it looks like"),
    ("IMG002", "build the image again: firmware finds nothing to start"),
    ("IMG003", "nothing; the first ones were examined"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_well_formed_sorted_and_unique() {
        for (code, _, meaning) in RULES {
            let (letters, digits) = code.split_at(3);
            assert!(["GPT", "FAT", "IMG"].contains(&letters) && digits.len() == 3, "{code}");
            assert!(digits.bytes().all(|byte| byte.is_ascii_digit()), "{code}");
            assert!(!meaning.is_empty() && !meaning.ends_with('.'), "{code}");
        }
        let mut codes: Vec<_> = RULES.iter().map(|(code, ..)| code).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), RULES.len());
    }

    #[test]
    fn sources_use_listed_codes_and_all_of_them() {
        let sources = [
            include_str!("gpt/read.rs"),
            include_str!("fat/read/mod.rs"),
            include_str!("fat/read/list.rs"),
            include_str!("image.rs"),
        ];
        let mut used = std::collections::BTreeSet::new();
        for source in sources {
            for piece in source.split('"').filter(|piece| piece.len() == 6 && piece.is_ascii()) {
                let (letters, digits) = piece.split_at(3);
                if ["GPT", "FAT", "IMG"].contains(&letters) && digits.bytes().all(|byte| byte.is_ascii_digit()) {
                    used.insert(piece);
                }
            }
        }
        let listed: std::collections::BTreeSet<_> = RULES.iter().map(|(code, ..)| *code).collect();
        assert_eq!(used, listed);
    }
}
