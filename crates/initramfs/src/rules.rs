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
    MOD_NONE "MOD001" Error "this is no kernel module, or its ELF tables are damaged" "fetch it again: it is cut off, damaged or something else"
    MOD_PACKED "MOD002" Error "a compressed kernel module cannot be unpacked" "fetch it again: it is cut off or damaged"
    MOD_BOMB "MOD003" Error "a kernel module, or all of them, hold more than the limits allow" "strip it of debug information (`strip --strip-debug`), or do not use it"
    MOD_MEDIUM "MOD004" Error "a kernel module or a list beside the modules cannot be read" "look at the medium and the permissions"
    MOD_VERMAGIC "MOD005" Warning "a kernel module does not say which kernel it is built for" "build it with `make modules`; no kernel loads it"
    MOD_SYMBOLS "MOD006" Warning "a kernel module has no table of symbols that can be read, so what it needs is unknown" "strip it with --strip-debug, not --strip-all"
    MOD_SIGNATURE "MOD007" Warning "the signature behind a kernel module is damaged" "sign it again with the kernel's `scripts/sign-file`"
    MOD_SUFFIX "MOD008" Warning "a kernel module is compressed in another way than its name says" "rename it: .ko, .ko.gz, .ko.xz or .ko.zst"
    MOD_INFO "MOD009" Warning "a kernel module says more of itself than is read" "look where it comes from: no real module says so much"
    MOD_CYCLE "MOD020" Error "kernel modules need each other in a cycle; no index can be written and none of them loads" "leave one of them out, or the extension that brings it"
    MOD_TWICE "MOD021" Warning "two kernel modules have one name, and no search rule tells which one counts" "remove one of them"
    MOD_REPLACED "MOD022" Info "a kernel module replaces another one of its name" "nothing, if it is meant to"
    MOD_VERSION "MOD023" Error "a kernel module needs a symbol in another version than the module that exports it" "build both from one kernel tree"
    MOD_EXPORTED_TWICE "MOD024" Warning "two kernel modules export one symbol; only one of them loads" "leave one of them out"
    MOD_ALIAS "MOD025" Warning "an alias of a kernel module cannot be looked up" "mend it in the module's source: brackets must match, only ASCII is taken"
    MOD_NO_BUILTIN "MOD026" Info "modules.builtin is missing: loaders cannot tell what is built into the kernel" "install it with the kernel's modules (`make modules_install`)"
    MOD_ORDER "MOD027" Warning "modules.order is damaged; its order is not taken" "install the modules of the kernel again"
    MOD_LINK "MOD028" Warning "a link among the kernel modules is not followed" "put the modules where the link stands"
    MOD_INDEX "MOD029" Error "the index of the kernel modules is larger than its files can be" "look where so many modules and aliases come from"
    MOD_MISSING "MOD030" Error "a kernel module needs a symbol that neither a module nor the kernel has" "take the module built for this kernel, or add the module that exports it"
    MOD_RELEASE "MOD040" Error "a kernel module is built for another kernel" "take the modules built for this kernel, or the kernel that they are built for"
    MOD_RELEASE_VERSIONED "MOD041" Warning "a kernel module is built for another kernel and loads only if all symbol versions agree" "take the modules built for this kernel"
    MOD_UNSIGNED "MOD042" Error "a kernel module is not signed, and the kernel loads signed ones only" "sign it with the kernel's key, or remove module.sig_enforce=1"
    MOD_MACHINE "MOD043" Error "a kernel module is for another processor" "take the modules for this processor"
    MOD_COMPRESSION "MOD044" Error "a kernel module is compressed in a way that the loader does not unpack" "install it uncompressed"
    MOD_FLAGS "MOD045" Error "a kernel module is built with other flags than the others; a kernel loads only those with its own" "build all modules with the kernel's configuration"
    MOD_FOLDER "MOD046" Error "the kernel modules lie in the folder of another release, where the kernel does not look" "take the modules that were built with the kernel"
    MOD_SIGNER "MOD047" Warning "kernel modules are signed with different keys; the kernel may not hold them all" "take modules signed with the key of this kernel"
    MOD_BUILT_IN "MOD048" Warning "a kernel module is built into the kernel too, which refuses to load it again" "leave the module out"
    MOD_UNKNOWN_SIGNER "MOD049" Error "a kernel module is signed with a key whose certificate the kernel does not hold" "take modules and kernel of one build"
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
