//! Whether an extension fits a release.

use std::collections::BTreeMap;

use imgcore::{Blob, Finding, ReadAt as _, Report};
use initramfs::Kind;

use super::{Extension, FIRMWARE, Range, open::some_of};
use crate::{Version, release::Release};

/// Checks an extension for a release on arm64.
///
/// The imager refuses for the version range alone; what else is an error here would fail on the node.
pub fn check(extension: &Extension, row: &Release, version: &Version) -> Report {
    let mut report = Report::new();
    constraint(extension, version, &mut report);
    machines(extension, &mut report);
    paths(extension, row, &mut report);
    old_places(extension, &mut report);
    labels(extension, row, &mut report);
    report.owned_by(&extension.label, 0)
}

fn constraint(extension: &Extension, version: &Version, report: &mut Report) {
    let metadata = &extension.manifest.metadata;
    if metadata.talos.is_empty() {
        return;
    }
    match Range::parse(&metadata.talos) {
        Err(error) => report.push(
            Finding::error("EXT006", format!("the version range {:?} cannot be read: {error}", metadata.talos))
                .help("correct metadata.compatibility.talos.version in its manifest: `>= v1.10.0`, or `>= 1.12.0 < 1.14.x`"),
        ),
        Ok(range) if range.matches(version) => {}
        Ok(range) => report.push(
            Finding::error(
                "EXT007",
                format!("{} is for Talos {range}, and the image is for Talos {version}", extension.manifest),
            )
            .help(format!(
                "give the build of the extension for Talos {version} (its tag or digest for that release), or build for a \
                 release that it is for with --talos"
            )),
        ),
    }
}

/// `EM_AARCH64`.
const ARM64: u16 = 183;

fn machine_name(machine: u16) -> String {
    match machine {
        3 => "x86 (32-bit)".to_owned(),
        20 | 21 => "PowerPC".to_owned(),
        22 => "s390".to_owned(),
        40 => "arm (32-bit)".to_owned(),
        62 => "x86-64 (amd64)".to_owned(),
        ARM64 => "arm64".to_owned(),
        243 => "RISC-V".to_owned(),
        258 => "LoongArch".to_owned(),
        other => format!("machine {other}"),
    }
}

/// The ELF header's `e_machine`, if it is an ELF file.
fn machine(data: &Blob) -> Option<u16> {
    let mut header = [0; 20];
    data.read_exact_at(0, &mut header).ok()?;
    let [0x7f, b'E', b'L', b'F', _, order, .., low, high] = header else { return None };
    // EI_DATA 2 is big-endian.
    Some(if order == 2 { u16::from_be_bytes([low, high]) } else { u16::from_le_bytes([low, high]) })
}

/// Programs, libraries and modules for another architecture. Firmware is left out: it is for other processors.
fn machines(extension: &Extension, report: &mut Report) {
    let mut foreign: BTreeMap<u16, Vec<&str>> = BTreeMap::new();
    for (path, node) in extension.rootfs.iter() {
        let Kind::File(data) = &node.kind else { continue };
        let name = path.rsplit('/').next().unwrap_or(path);
        // libc.so, libc.so.6, nvme.ko: whoever loads them goes by the name as it stands.
        let loads = node.mode & 0o111 != 0 || name.split('.').skip(1).any(|part| part == "ko" || part == "so");
        let firmware = path.strip_prefix(FIRMWARE).is_some_and(|rest| rest.starts_with('/'));
        if loads
            && !firmware
            && let Some(machine) = machine(data).filter(|&machine| machine != ARM64)
        {
            foreign.entry(machine).or_default().push(path);
        }
    }
    for (machine, paths) in foreign {
        let (count, name) = (paths.len(), machine_name(machine));
        let files = if count == 1 { "1 file is".to_owned() } else { format!("{count} files are") };
        report.push(
            Finding::error("EXT008", format!("{files} for {name}, and the board is arm64: {}", some_of(&paths)))
                .help("give the extension for linux/arm64: its index names one image for each architecture"),
        );
    }
}

/// What Talos' own content validation refuses. The imager does not ask for it.
fn paths(extension: &Extension, row: &Release, report: &mut Report) {
    let (mut outside, mut open) = (Vec::new(), Vec::new());
    for (path, node) in extension.rootfs.iter() {
        let folder = matches!(node.kind, Kind::Dir);
        if !folder && !row.extensions.allowed_paths.iter().any(|allowed| path.starts_with(allowed)) {
            outside.push(path);
        }
        if !matches!(node.kind, Kind::Symlink(_)) && node.mode & 0o002 != 0 {
            open.push(path);
        }
    }
    if !outside.is_empty() {
        report.push(
            Finding::warning(
                "EXT009",
                format!("outside of the paths that Talos gives to extensions: {}", some_of(&outside)),
            )
            .help("programs and data of extensions belong below usr/local; firmware and modules below usr/lib"),
        );
    }
    if !open.is_empty() {
        report.push(
            Finding::warning("EXT017", format!("everybody on the node may write to {}", some_of(&open)))
                .help("build the extension with modes 0755 and 0644"),
        );
    }
}

/// Places of releases in front of 1.10, where nothing looks any more.
fn old_places(extension: &Extension, report: &mut Report) {
    for (old, place) in [("lib/firmware", "usr/lib/firmware"), ("lib/modules", "usr/lib/modules")] {
        if extension.rootfs.get(old).is_some() {
            report.push(
                Finding::warning("EXT012", format!("{old} is where Talos looked before 1.10; nothing there is loaded"))
                    .help(format!("give a build of the extension for Talos 1.10 or later, which has {place}")),
            );
        }
    }
    if let Some(node) = extension.rootfs.get(FIRMWARE).filter(|node| !matches!(node.kind, Kind::Dir)) {
        report.push(
            Finding::warning(
                "EXT012",
                format!("{FIRMWARE} is a {}: its firmware does not reach the kernel", node.kind_name()),
            )
            .help(format!("build the extension with a folder {FIRMWARE}")),
        );
    }
}

fn labels(extension: &Extension, row: &Release, report: &mut Report) {
    let labelled: Vec<&str> =
        extension.rootfs.iter().filter(|(_, node)| !node.xattrs.is_empty()).map(|(path, _)| path).collect();
    if !row.extensions.selinux_labels && !labelled.is_empty() {
        report.push(
            Finding::info(
                "EXT015",
                format!("extended attributes are left out, as in this release's own images: {}", some_of(&labelled)),
            )
            .help("nothing; SELinux labels of extensions are kept from Talos 1.12 on"),
        );
    }
}
