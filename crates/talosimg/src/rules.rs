//! The finding codes of this crate. A code, once published, keeps its meaning for ever.

use imgcore::Severity::{self, Error, Info, Warning};

/// Every code, its severity and what it means.
pub const RULES: &[(&str, Severity, &str)] = &[
    ("CFG001", Error, "there is a secret in the machine configuration that an image is to carry"),
    ("CFG002", Error, "a file is no machine configuration"),
    ("CFG003", Warning, "a document of a machine configuration is of a kind that is not known here"),
    ("CFG004", Error, "the release looks for no machine configuration in its image"),
    ("EXT001", Error, "an image is no system extension: manifest.yaml or rootfs is missing"),
    ("EXT002", Error, "something stands beside manifest.yaml and rootfs in an extension"),
    ("EXT003", Error, "the manifest of an extension cannot be read"),
    ("EXT004", Error, "the manifest of an extension is of another form than v1alpha1"),
    ("EXT005", Warning, "the manifest of an extension names none"),
    ("EXT006", Error, "the range of Talos versions of an extension cannot be read"),
    ("EXT007", Error, "an extension is not for this Talos version"),
    ("EXT008", Error, "an extension holds programs for another architecture"),
    ("EXT009", Warning, "an extension has files outside of the paths that Talos gives to extensions"),
    ("EXT010", Warning, "two extensions bring the same firmware file with different content"),
    ("EXT011", Warning, "an extension is there twice"),
    ("EXT012", Warning, "an extension has files where nothing looks for them"),
    ("EXT014", Info, "an extension brings microcode for x86"),
    ("EXT015", Info, "extended attributes of an extension are left out"),
    ("EXT016", Warning, "the manifest of an extension has keys that nothing reads"),
    ("EXT017", Warning, "everybody may write to files of an extension"),
    ("OMN001", Warning, "an upgrade through Omni would leave out what the board needs"),
    ("OMN002", Info, "what an upgrade through Omni will do"),
    ("TAL001", Error, "META has another size than 1 MiB; nodes do not take it for META"),
    ("TAL002", Warning, "one copy of META is damaged; nodes take the other"),
    ("TAL003", Error, "both copies of META are damaged; nodes ignore it"),
    ("TAL004", Warning, "the two copies of META are valid but differ"),
    ("TAL005", Info, "META holds bytes outside its two copies"),
    ("TAL006", Error, "a META value goes beyond its copy"),
    ("TAL007", Warning, "a META key is there twice"),
    ("TAL008", Error, "a META key is above 255"),
    ("TAL020", Error, "the kernel command line holds a control character"),
    ("TAL021", Error, "the kernel command line is longer than a kernel for arm64 keeps"),
    ("TAL040", Error, "this is no kernel for arm64"),
    ("TAL041", Error, "the kernel's compressed payload is damaged or lies outside the file"),
    ("TAL042", Warning, "the kernel is compressed in a way that is not read here, so its release is unknown"),
    ("TAL043", Warning, "the kernel does not say its release"),
    ("TAL044", Error, "the kernel cannot be read"),
    ("TAL045", Warning, "the kernel has no EFI stub, so no EFI boot program can start it"),
    ("UKI001", Error, "this is no PE program"),
    ("UKI002", Error, "the PE program is not 64-bit (PE32+)"),
    ("UKI003", Warning, "the PE program is for another machine than arm64"),
    ("UKI004", Error, "a header or section lies outside the file"),
    ("UKI005", Error, "two sections overlap in memory or in the file"),
    ("UKI006", Warning, "the PE program has no .linux section: it is no unified kernel image"),
    ("UKI007", Warning, "a text section is too long or not UTF-8, or a line holds NUL or a line break"),
    ("UKI008", Error, "an alignment is no power of two, or a section does not keep it"),
    ("UKI009", Info, "the PE program is signed"),
    ("UKI010", Warning, "the PE program has COFF symbols"),
    ("UKI011", Error, "the image in memory is smaller than its sections"),
    ("UKI012", Warning, "a section that may be there once is there twice in one profile"),
    ("UKI013", Warning, "a profile has no ID, or one that another profile has"),
    ("UKI014", Error, "the file cannot be read"),
];

/// What to do about a code.
pub const CURES: &[(&str, &str)] = &[
    ("CFG001", "give it later with talosctl apply-config, or allow the code where nobody else gets the image"),
    ("CFG002", "give a machine configuration as `talosctl apply-config --file` takes it"),
    ("CFG003", "make sure that the release has it: a node refuses a kind that it does not know"),
    ("CFG004", "build for Talos 1.12 or later, or give the configuration with talosctl apply-config"),
    ("EXT001", "give an extension image, or a tar of its content: manifest.yaml and rootfs/ at its root"),
    ("EXT002", "build the extension image without it"),
    (
        "EXT003",
        "correct the place that is shown: `version: v1alpha1`, then `metadata` with name, version, compatibility",
    ),
    ("EXT004", "write `version: v1alpha1` as the first line; the extension's own version is metadata.version"),
    ("EXT005", "give it a name: `talosctl get extensions` shows it"),
    ("EXT006", "correct metadata.compatibility.talos.version: `>= v1.10.0`, or `>= 1.12.0 < 1.14.x`"),
    ("EXT007", "give the build of the extension for this Talos version, or build for another one with --talos"),
    ("EXT008", "give the extension for linux/arm64"),
    ("EXT009", "nothing, if the files are meant to be there; programs and data belong below usr/local"),
    ("EXT010", "give only one of the two extensions, or put the one whose file is wanted last"),
    ("EXT011", "give it once"),
    ("EXT012", "give a build of the extension for Talos 1.10 or later, with usr/lib/firmware and usr/lib/modules"),
    ("EXT014", "leave the extension out"),
    ("EXT015", "nothing; SELinux labels of extensions are kept from Talos 1.12 on"),
    ("EXT016", "take them out, or correct their names"),
    ("EXT017", "build the extension with modes 0755 and 0644"),
    (
        "OMN001",
        "record the schematic in the image, or upgrade with `talosctl upgrade --image` and the build's own installer",
    ),
    ("OMN002", "nothing; upgrade with `talosctl upgrade --image` and the build's own installer to keep everything"),
    ("TAL001", "write META with this program; it is 1 MiB"),
    ("TAL002", "nothing; the node mends it at the next write"),
    ("TAL003", "build the image again, or write META from the node"),
    ("TAL004", "nothing; the node takes the newer one"),
    ("TAL005", "nothing; something else wrote there"),
    ("TAL006", "leave values out: each copy holds 256 KiB"),
    ("TAL007", "give each key once"),
    ("TAL008", "use a key of 0x00 to 0xff"),
    ("TAL020", "take the character out of the argument"),
    ("TAL021", "leave arguments out: the kernel cuts the line at 2047 bytes"),
    ("TAL040", "give the kernel for arm64 of the Talos release"),
    ("TAL041", "the file is cut off or damaged: fetch it again"),
    ("TAL042", "nothing; checks against the kernel's release are left out"),
    ("TAL043", "nothing; checks against the kernel's release are left out"),
    ("TAL044", "look at the medium and the permissions"),
    ("TAL045", "build the kernel with CONFIG_EFI_STUB"),
    ("UKI001", "give an EFI program"),
    ("UKI002", "give the program for arm64"),
    ("UKI003", "give the program for arm64"),
    ("UKI004", "build the image again; firmware refuses this program or starts it wrongly"),
    ("UKI005", "build the image again; firmware refuses this program or starts it wrongly"),
    ("UKI006", "nothing, if it is another EFI program"),
    ("UKI007", "build the image again; firmware refuses this program or starts it wrongly"),
    ("UKI008", "build the image again; firmware refuses this program or starts it wrongly"),
    ("UKI009", "nothing; the signature is not checked here"),
    ("UKI010", "nothing; some signing tools refuse it"),
    ("UKI011", "build the image again; firmware refuses this program or starts it wrongly"),
    ("UKI012", "build the image again; firmware refuses this program or starts it wrongly"),
    ("UKI013", "give each profile its own ID"),
    ("UKI014", "look at the medium and the permissions"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_sorted_and_well_formed() {
        assert!(RULES.windows(2).all(|pair| pair[0].0 < pair[1].0));
        for (code, _, meaning) in RULES {
            let (prefix, number) = code.split_at(3);
            assert!(["CFG", "EXT", "OMN", "TAL", "UKI"].contains(&prefix), "{code}");
            assert!(number.len() == 3 && number.bytes().all(|byte| byte.is_ascii_digit()), "{code}");
            assert!(!meaning.is_empty() && !meaning.ends_with('.'), "{code}");
        }
    }
}
