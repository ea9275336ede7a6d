//! Every rule that a foreign file can break, by its code. `docs/findings.md` is made of this list.

use imgcore::{Finding, Severity};

macro_rules! rules {
    ($($name:ident $code:literal $severity:ident $meaning:literal $cure:literal)*) => {
        $(pub(crate) const $name: &str = $code;)*

        /// Code, usual severity and meaning of every finding of this crate.
        pub const RULES: &[(&str, Severity, &str)] = &[$(($code, Severity::$severity, $meaning)),*];

        /// What to do about a code.
        pub const CURES: &[(&str, &str)] = &[$(($code, $cure)),*];
    };
}

rules! {
    INI_MEDIUM "INI001" Error "the initramfs cannot be read" "look at the medium and the permissions"
    INI_JUNK "INI002" Error "bytes in the initramfs begin neither a cpio archive nor anything compressed" "build or fetch the initramfs again"
    INI_DAMAGED "INI003" Error "a compressed part of the initramfs is damaged or cut off" "fetch the initramfs again"
    INI_UNREAD "INI004" Warning "a part of the initramfs is compressed in a way that is not read here; what follows is unseen" "nothing; gzip, xz, lzma and zstd are read"
    INI_HEADER "INI005" Error "a header in a cpio archive of the initramfs is damaged or of another format" "make the archive with `cpio -H newc`"
    INI_CUT "INI006" Error "a cpio archive of the initramfs ends inside an entry" "fetch the initramfs again"
    INI_BOMB "INI007" Error "the initramfs unpacks to more than the limits allow" "do not use the file, unless it is meant to be so large"
    INI_NAME "INI008" Error "an entry of the initramfs has a name that the kernel does not take" "make the archive with `cpio -H newc`"
    INI_SUM "INI009" Error "a file in the initramfs differs from its checksum" "fetch the initramfs again"
    INI_STOPPED "INI010" Error "what the initramfs holds was not wanted any more, or could not be taken" "mend what the message names"
    INI_EMPTY "INI011" Warning "the initramfs holds nothing" "give the initramfs that was meant"
    INI_XZ_CHECK "INI012" Warning "a part of the initramfs is an .xz whose check the kernel does not know" "compress it with `xz --check=crc32`"
    SQF_MEDIUM "SQF001" Error "the SquashFS cannot be read" "look at the medium and the permissions"
    SQF_NONE "SQF002" Error "this is no SquashFS 4.0" "give a file that mksquashfs 4 wrote"
    SQF_SUPER "SQF003" Error "the superblock of the SquashFS contradicts itself or the file" "fetch the file again: it is cut off or damaged"
    SQF_COMPRESSION "SQF004" Error "the SquashFS is compressed in a way that is not read here" "pack it with `-comp zstd`, xz or gzip"
    SQF_METADATA "SQF005" Error "a table of the SquashFS is damaged" "fetch the file again"
    SQF_INODE "SQF006" Error "an inode of the SquashFS is damaged" "fetch the file again"
    SQF_DIRECTORY "SQF007" Error "a folder of the SquashFS is damaged" "fetch the file again"
    SQF_LOOP "SQF008" Error "a folder of the SquashFS is there twice, or contains itself" "do not use the file: it is hostile or damaged"
    SQF_BOMB "SQF009" Error "the SquashFS holds more than the limits allow" "do not use the file, unless it is meant to be so large"
    SQF_NAME "SQF010" Error "an entry of the SquashFS has a name that no folder can hold" "do not use the file: it is hostile or damaged"
    SQF_TEXT "SQF011" Warning "an entry of the SquashFS has a name that is not UTF-8; it is left out" "rename it where the file was made"
    SQF_XATTR "SQF012" Warning "an extended attribute of the SquashFS is damaged or of an unknown kind" "fetch the file again, or pack it with a current mksquashfs"
    SQF_SPECIAL "SQF013" Warning "the SquashFS holds a device, a pipe or a socket, which is not taken over" "leave it out where the file is made; device nodes come from devtmpfs"
    SQF_DATA "SQF014" Error "the bytes of a file in the SquashFS lie outside of it" "fetch the file again: it is cut off or damaged"
}

/// A finding with the usual severity of its rule.
pub(crate) fn finding(code: &'static str, message: impl Into<String>) -> Finding {
    let severity =
        RULES.iter().find(|(known, ..)| *known == code).map_or(Severity::Error, |(_, severity, _)| *severity);
    Finding::new(severity, code, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_well_formed_sorted_and_said_once() {
        for pair in RULES.windows(2) {
            assert!(pair[0].0 < pair[1].0, "{} {}", pair[0].0, pair[1].0);
        }
        for ((code, _, meaning), (_, cure)) in RULES.iter().zip(CURES) {
            assert!(code.len() == 6 && ["INI", "MOD", "SQF"].contains(&&code[..3]), "{code}");
            assert!(code[3..].bytes().all(|byte| byte.is_ascii_digit()), "{code}");
            assert!(!meaning.is_empty() && !meaning.ends_with('.') && !cure.is_empty(), "{code}");
        }
        assert_eq!(finding(SQF_SPECIAL, "x").severity, Severity::Warning);
    }
}
