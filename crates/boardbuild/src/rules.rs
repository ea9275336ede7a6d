//! Every finding code that a command can report: those of the libraries and our own.

use imgcore::Severity;

/// A rule and its stable code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Three capitals and three digits, never reused.
    pub code: &'static str,
    /// How bad a finding is unless the place says otherwise.
    pub severity: Severity,
    /// What it means.
    pub meaning: &'static str,
    /// What to do about it.
    pub cure: &'static str,
    /// Whether `--allow` may turn an error into a warning.
    pub allowable: bool,
    /// Crate that reports it.
    pub owner: &'static str,
}

/// Rules of this crate.
pub const RULES: &[(&str, Severity, &str, bool)] = &[
    ("BRD001", Severity::Error, "a board file is not valid", false),
    ("BRD002", Severity::Warning, "a board file is not named after its board", false),
    ("BRD003", Severity::Error, "a board file was refused; the findings before it say why", false),
    ("BRD004", Severity::Error, "no board of this name", false),
    ("BRD005", Severity::Error, "sources.lock or defaults.toml is not valid", false),
    ("BRD010", Severity::Warning, "the board file corrects a fault of the overlay that it was taken from", false),
    ("INS001", Severity::Error, "the base of an installer image holds no installer program", false),
    ("INS002", Severity::Error, "nothing can be built on the base of an installer image", false),
    ("INS010", Severity::Error, "an installer image lacks what it is to install", false),
    ("INS011", Severity::Error, "an installer image has an overlay that nodes cannot run", false),
    ("INS012", Severity::Error, "the overlay of an installer image gets no options that it understands", false),
    ("INS003", Severity::Error, "there is no base for an installer image", false),
    ("INS004", Severity::Warning, "a layer of a two-layer base is left out, and holds more than boot assets", true),
    ("IOE001", Severity::Error, "reading or writing failed: full disk, permission, medium, network", false),
    ("LAY001", Severity::Error, "something would overwrite the partition table", false),
    ("LAY002", Severity::Error, "something would overwrite a partition", false),
    ("LAY003", Severity::Error, "two boot files or reserved areas claim the same bytes", false),
    ("LAY004", Severity::Error, "the image is too small for its partitions", false),
    ("LAY005", Severity::Error, "copies cannot be trimmed: they differ, or the content reaches into the second", false),
    (
        "LAY006",
        Severity::Warning,
        "no boot file lies in front of the partitions: the board needs one from elsewhere",
        false,
    ),
    ("LAY010", Severity::Error, "the image for SPI flash is larger than the flash", false),
    ("LAY011", Severity::Error, "the image for SPI flash has no idblock where the BootROM looks for it", false),
    ("LAY013", Severity::Warning, "no image for SPI flash could be made of the boot files", false),
    ("NET001", Severity::Error, "a server cannot be reached, or the connection breaks again and again", false),
    ("NET002", Severity::Error, "a server refuses access", false),
    ("NET003", Severity::Error, "a server does not have what was asked for", false),
    ("NET004", Severity::Error, "a server answers no more requests for a while", false),
    ("NET005", Severity::Error, "a server fails or does not keep to its protocol", false),
    ("NET006", Severity::Error, "a server is not trusted: no TLS, or a certificate of an unknown authority", false),
    ("NET007", Severity::Error, "something is not in the store, and --offline forbids to fetch it", false),
    ("NET008", Severity::Error, "credentials or certificates could not be read", false),
    ("OVL101", Severity::Warning, "the overlay image lacks the installer executable of an architecture", false),
    ("OVL102", Severity::Error, "an architecture that --require-arch names is missing in the overlay image", false),
    ("OVL110", Severity::Error, "an overlay image has no installer", false),
    ("OVL111", Severity::Error, "an installer of an overlay image cannot be executed", false),
    ("OVL112", Severity::Error, "an overlay image says something else than it holds", false),
    ("OVL113", Severity::Warning, "a profile of an overlay names no boot program", false),
    ("OVL114", Severity::Warning, "an overlay image is not there for every host of the imager", false),
    ("OVL115", Severity::Warning, "a folder of an overlay image cannot be entered", false),
    ("OVL116", Severity::Warning, "an overlay image has no artefacts", false),
    ("OVL103", Severity::Warning, "no overlay image: no installer executable could be built or was given", false),
    ("REG001", Severity::Error, "the tag names another image, and a tag that others may rely on is not moved", false),
    ("REG002", Severity::Error, "another push took the tag while this one went on", false),
    (
        "REG003",
        Severity::Error,
        "the image cannot be pushed or pulled: damaged, incomplete, or not the only one",
        false,
    ),
    ("REG004", Severity::Warning, "a job of continuous integration pulls from Docker Hub without an account", false),
    ("REG005", Severity::Warning, "few requests are left of what the registry allows", false),
    ("REG006", Severity::Error, "the reference names another digest than the image has", false),
    ("REG007", Severity::Error, "the image is not there for this platform", false),
    ("REG008", Severity::Error, "the digest to push is neither in the store nor of a file that was seen", false),
    ("REG009", Severity::Error, "the image to push holds secrets: a join token or an embedded configuration", true),
    ("SRC001", Severity::Error, "an input is missing", false),
    ("SRC002", Severity::Error, "an input's bytes are not the locked ones", false),
    ("SRC003", Severity::Error, "an input has not been fetched", false),
    ("SRC004", Severity::Error, "an input has no lock entry, and --locked forbids to make one", false),
    ("SRC005", Severity::Error, "an input is empty", false),
    ("SRC006", Severity::Error, "an archive does not hold exactly one regular file of the wanted name", false),
    ("SRC007", Severity::Error, "an archive holds an entry that no honest archive holds", false),
    ("SRC008", Severity::Error, "far too much comes out of a compressed file", false),
    ("SRC009", Severity::Error, "a download is larger than is taken without a lock entry", false),
    ("SRC010", Severity::Error, "an archive or a compressed file is damaged, or of a form that is not read", false),
    ("SRC011", Severity::Error, "a range lies behind the end of what it is taken from", false),
    ("SRC020", Severity::Error, "an image is not for the platform that is needed", false),
    ("SRC021", Severity::Error, "an image does not hold a file that is needed", false),
    ("SRC022", Severity::Error, "a layout or an archive holds several images, or none of the tag that is named", false),
    ("SRC023", Severity::Error, "an image is damaged or hostile; the findings before it say where", false),
    ("SRC024", Severity::Error, "a Debian archive does not hold a package", false),
    (
        "SRC025",
        Severity::Error,
        "the index of a Debian archive is damaged, or is not the one that its release names",
        false,
    ),
    ("SRC027", Severity::Error, "a folder holds no OCI layout", false),
    ("SRC030", Severity::Error, "an origin gives other bytes than the locked ones", false),
    ("SRC031", Severity::Warning, "an input has no digest yet, because its origin did not answer", false),
    ("SRC032", Severity::Error, "the lock entry of an input is for another origin than the board file names", false),
    ("USE001", Severity::Error, "usage: an option, a value or a file's kind is not understood", false),
    ("USE002", Severity::Error, "the user stopped the command", false),
    ("USE003", Severity::Warning, "an allowed code was not needed", false),
    ("VER001", Severity::Error, "the Talos release is outside the range that was tested", true),
    (
        "VER003",
        Severity::Error,
        "an input is of another kind than its role: no kernel, no initramfs, no EFI program",
        true,
    ),
    ("VER006", Severity::Error, "kernel and kernel modules are of different releases", true),
    ("VER007", Severity::Error, "there are kernel modules, and the kernel does not say its release", true),
    ("VER008", Severity::Error, "a system extension has kernel modules for another kernel", true),
    ("VER005", Severity::Error, "the device tree cannot be changed as the board file says", false),
    ("VFY001", Severity::Error, "a written output does not read back as planned", false),
    ("VFY002", Severity::Error, "the image does not hold what the board file says", true),
    ("VFY003", Severity::Error, "an input recorded in build.json is not in the image", false),
    ("VFY004", Severity::Warning, "something lies in front of the partitions that is no known boot file", true),
    ("VFY006", Severity::Warning, "the build record beside a file is of another build", true),
    ("VFY005", Severity::Error, "the image carries no boot loader that UEFI firmware would start", true),
];

/// Library codes whose errors are the board's or the user's to judge: nothing is damaged.
const ALLOWABLE: &[&str] = &[
    "CFG001", "CFG004", "DTB080", "DTB081", "DTB082", "DTB087", "DTB088", "EXT007", "EXT008", "FIT050", "FLW001",
    "FLW008", "FLW014", "FLW015", "FLW017", "FLW018", "IDB012", "IDB019", "IDB024", "MOD023", "MOD030", "MOD040",
    "MOD042", "MOD044", "MOD045", "MOD049",
];

/// What to do about a code.
pub const CURES: Cures = &[
    ("BRD001", "correct the place that the caret shows; docs/boards.md lists every key"),
    ("BRD002", "name the file after the board, so that it is found by its name"),
    ("BRD003", "mend what the findings before it name"),
    ("BRD004", "`boards` lists all; a path to a board file works as well"),
    ("BRD005", "restore the file from version control, or correct the place that is shown"),
    ("BRD010", "nothing, unless the board depends on the fault; `[[corrects]]` in the board file says what and why"),
    (
        "INS001",
        "name an image that runs Talos' installer with --installer-base: ghcr.io/siderolabs/installer-base of the release",
    ),
    ("INS002", "fetch the image again, or name another one with --installer-base"),
    ("INS010", "build the installer image on an installer-base, with `cargo xtask installer BOARD`"),
    ("INS011", "build the image again with the overlay's installer for arm64, mode 0755"),
    ("INS012", "write the options that the overlay knows; `cargo xtask boards show BOARD` lists them"),
    ("INS003", "name one with --installer-base, or leave --offline out"),
    ("INS004", "give the base one layer or three, or put into its second one nothing but usr/install/…"),
    ("IOE001", "make room, mend the permission or the medium, and run the command again: nothing is half-written"),
    (
        "LAY001",
        "move table and partitions behind the file with a larger partition-offset, or write only the first copy with trim-copies",
    ),
    ("LAY002", "use a larger partition-offset, or write only the first copy with trim-copies"),
    ("LAY003", "move one of the two: at-sector in the board file says where it is written"),
    ("LAY004", "give a larger --size, or leave it out"),
    ("LAY005", "take trim-copies away and use a larger partition-offset, or use a sound file"),
    ("LAY006", "start the board from SPI flash or eMMC, or add boot files to the board file"),
    ("LAY010", "take the image that was built for the flash, or correct spi.size in the board file"),
    ("LAY011", "take u-boot-rockchip-spi.bin of the board, not the file for SD cards"),
    ("LAY013", "give the image that U-Boot's build makes: --source spi=FILE"),
    (
        "NET001",
        "run the command again: what arrived is kept; name a proxy with HTTPS_PROXY or a mirror with --mirror FROM=TO",
    ),
    ("NET002", "log in with `docker login HOST`, give GITHUB_TOKEN for ghcr.io, or use an account that has the right"),
    ("NET003", "correct the address or the reference; what is private looks absent without a login"),
    ("NET004", "wait as long as the finding says, log in for a larger share, or name a mirror with --mirror FROM=TO"),
    ("NET005", "run the command again later, or name a mirror with --mirror FROM=TO"),
    ("NET006", "give --ca-file FILE for an authority of your own, or --plain-http HOST where no TLS is meant"),
    ("NET007", "leave --offline out, or run `cargo xtask fetch` first"),
    ("NET008", "mend the file or the credential helper that the finding names"),
    ("OVL101", "add the compile target that the finding names, or give --installer-bin ARCH=FILE"),
    ("OVL102", "add the compile target that the finding names, or give --installer-bin ARCH=FILE"),
    ("OVL110", "put the executable at installers/NAME"),
    ("OVL111", "give it mode 0755 when the layer is packed"),
    ("OVL112", "build the overlay again"),
    ("OVL113", "write `bootloader: grub` under output.imageOptions of the profile"),
    ("OVL114", "add an image with the installer for the other architecture"),
    ("OVL115", "give folders mode 0755 when the layer is packed"),
    ("OVL116", "put boot files and device trees below artifacts/arm64"),
    ("OVL103", "add a compile target, or give --installer-bin ARCH=FILE"),
    ("REG001", "push under another tag, or move this one on purpose with --force"),
    ("REG002", "decide which image is meant, and push that one with --force"),
    ("REG003", "build or copy the archive again; an archive of several images needs one whose tag is the reference's"),
    ("REG004", "log in (`docker login`), name a mirror with --mirror docker.io=MIRROR, or keep the store between jobs"),
    ("REG005", "log in for a larger share, wait, or name a mirror with --mirror FROM=TO"),
    ("REG006", "leave the digest out of the reference, or push the image that has it"),
    ("REG007", "name one of the platforms that are there, or none for all"),
    ("REG008", "pull it first, or give the path of the archive"),
    ("REG009", "push it to a registry that only your nodes can read, with --allow REG009"),
    ("SRC001", "give the file: --source ROLE=FILE"),
    ("SRC002", "restore the locked bytes, or give other ones on purpose with --source ROLE=FILE"),
    ("SRC003", "run `cargo xtask fetch BOARD`, or give the file as --source ROLE=FILE"),
    ("SRC004", "build once without --locked, look at the change of sources.lock, and commit it"),
    ("SRC005", "fetch the file again"),
    (
        "SRC006",
        "correct `member` in the board file: the nearest names are listed; one `*` per part of the path is allowed",
    ),
    (
        "SRC007",
        "do not use the archive; if its publisher is trusted, unpack it by hand and give the file with --source ROLE=FILE",
    ),
    ("SRC008", "do not use the file; if it is meant to be so large, lock what it unpacks to in `from.unpacked`"),
    ("SRC009", "lock the input with its size (`cargo xtask lock`), or give a file with --source ROLE=FILE"),
    ("SRC010", "fetch the file again; if it stays so, unpack it by hand and give the file with --source ROLE=FILE"),
    ("SRC011", "correct `range` in the board file: it counts bytes of the decompressed image"),
    ("SRC020", "name an image for the board's platform, linux/arm64 as a rule"),
    ("SRC021", "name the image that holds it, or give the file with --source ROLE=FILE"),
    ("SRC022", "put the tag of the image that is meant behind the path: oci:DIR:TAG"),
    ("SRC023", "make or download the image again; do not unpack one that is hostile"),
    ("SRC024", "correct suite, component, architecture or name of the package in the board file"),
    ("SRC025", "run the command again later, as archives change; or name another mirror"),
    ("SRC027", "make a layout with `skopeo copy docker://REFERENCE oci:DIR`, or name an unpacked image with dir:DIR"),
    ("SRC030", "find out why they changed; `cargo xtask lock --update NAME` takes the other bytes on purpose"),
    ("SRC031", "run `cargo xtask lock` where there is a network, or build once: the first use resolves it"),
    ("SRC032", "run `cargo xtask lock --update BOARD/ROLE` and look at the change"),
    ("USE001", "see --help of the command; the nearest known word is offered"),
    ("USE002", "run the command again: nothing is half-written"),
    ("USE003", "leave the --allow out"),
    ("VER001", "use a release of the range, or allow the code to build by the nearest rules"),
    ("VER003", "give the file that the role asks for"),
    ("VER006", "give kernel, initramfs and modules of one build: --kernel with --modules, or none of them"),
    ("VER007", "give a kernel whose release can be read"),
    ("VER008", "take the extension that was built for this release of Talos"),
    ("VER005", "correct overlays or edits under [dtb] in the board file, or use the tree that they were made for"),
    ("VFY001", "look at the medium and the memory of the machine; nothing was published"),
    ("VFY002", "build the image again, or name the board that it was built for"),
    ("VFY003", "the image was changed after it was built: build it again, or find the record that belongs to it"),
    ("VFY004", "find out what it is with `inspect`: the board tries to start it"),
    ("VFY005", "build the image again; a board with this one stays dark"),
    ("VFY006", "name the record of this file with --build"),
];

type Cures = &'static [(&'static str, &'static str)];

fn cure(cures: Cures, code: &str) -> &'static str {
    cures.iter().find(|(known, _)| *known == code).map_or("", |(_, cure)| cure)
}

/// All rules, sorted by code.
pub fn all() -> impl Iterator<Item = Rule> + Clone {
    let own = RULES.iter().map(|&(code, severity, meaning, allowable)| Rule {
        code,
        severity,
        meaning,
        cure: cure(CURES, code),
        allowable,
        owner: "boardbuild",
    });
    let library = |owner: &'static str, rules: &'static [(&'static str, Severity, &'static str)], cures: Cures| {
        rules.iter().map(move |&(code, severity, meaning)| Rule {
            code,
            severity,
            meaning,
            cure: cure(cures, code),
            allowable: ALLOWABLE.contains(&code),
            owner,
        })
    };
    let mut rules: Vec<Rule> = own
        .chain(library("dtbtool", dtbtool::RULES, dtbtool::rules::CURES))
        .chain(library("rkboot", rkboot::RULES, rkboot::rules::CURES))
        .chain(library("rawimg", rawimg::rules::RULES, rawimg::rules::CURES))
        .chain(library("talosimg", talosimg::rules::RULES, talosimg::rules::CURES))
        .chain(library("initramfs", initramfs::rules::RULES, initramfs::rules::CURES))
        .chain(library("ocipack", ocipack::rules::RULES, ocipack::rules::CURES))
        .collect();
    rules.sort_by_key(|rule| rule.code);
    rules.into_iter()
}

/// The rule of a code.
pub fn find(code: &str) -> Option<Rule> {
    all().find(|rule| rule.code == code)
}

/// `docs/findings.md`.
pub fn reference() -> String {
    use std::fmt::Write as _;
    let mut text = String::from(
        "# Findings\n\nEvery statement that the tools make about data has a code that never changes its meaning. This page \
         is generated from\nthe rules in the crates (`cargo xtask docs`); a test keeps it in step.\n\n`--allow CODE` turns \
         the errors of one code into warnings for one run, where the column says so. Damage of an input and\noverlaps on \
         the medium cannot be allowed.\n\n| Code | Usual level | Meaning | What to do | `--allow` | Reported by |\n|---|---|---|---|---|---|\n",
    );
    for rule in all() {
        let allow = if rule.allowable { "yes" } else { "–" };
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} | {allow} | {} |",
            rule.code, rule.severity, rule.meaning, rule.cure, rule.owner
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_well_formed() {
        let codes: Vec<_> = all().map(|rule| rule.code).collect();
        for pair in codes.windows(2) {
            assert_ne!(pair[0], pair[1]);
        }
        for code in codes {
            let (letters, digits) = code.split_at(3);
            assert!(letters.chars().all(|c| c.is_ascii_uppercase()) && digits.len() == 3, "{code}");
            assert!(digits.chars().all(|c| c.is_ascii_digit()), "{code}");
        }
        let without: Vec<_> = all().filter(|rule| rule.cure.is_empty()).map(|rule| rule.code).collect();
        assert!(without.is_empty(), "no cure: {without:?}");
        let cures = [CURES, dtbtool::rules::CURES, rkboot::rules::CURES, rawimg::rules::CURES, talosimg::rules::CURES];
        for (code, _) in cures.into_iter().flatten().chain(ocipack::rules::CURES).chain(initramfs::rules::CURES) {
            assert!(find(code).is_some(), "a cure for nothing: {code}");
        }
        for code in ALLOWABLE {
            assert!(find(code).is_some(), "{code}");
        }
    }
}
