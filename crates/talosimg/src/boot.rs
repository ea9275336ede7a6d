//! What is on the ESP of an sd-boot image: systemd-boot, its configuration, and the unified kernel image
//! (`spec/talos-image.md` §6.1, §7).

use imgcore::{Blob, Epoch, ReadAt as _};
use rawimg::{Content, Extents, fat};

use crate::{
    Version,
    cmdline::Cmdline,
    error::{Error, ErrorKind, Result},
    release::{Release, Reset},
    splash,
    uki::{self, Section},
};

/// Where firmware finds systemd-boot. Nodes look for this path with this case.
pub const SD_BOOT_PATH: &str = "EFI/boot/BOOTAA64.efi";
/// Where systemd-boot finds its configuration.
pub const LOADER_CONF_PATH: &str = "loader/loader.conf";
/// The directory of device trees, which U-Boot looks through on its own.
pub const DTB_DIR: &str = "dtb";
/// Stubs are about 100 KB; what is larger than this is something else.
const STUB_LIMIT: u64 = 16 << 20;

/// What a unified kernel image is made from.
#[derive(Debug, Clone)]
pub struct Assets {
    /// The kernel, an EFI program.
    pub kernel: Blob,
    /// The initramfs.
    pub initramfs: Blob,
    /// systemd's stub for arm64.
    pub stub: Blob,
    /// systemd-boot for arm64.
    pub sd_boot: Blob,
    /// The boot picture (BMP); without one, a small picture of ours.
    pub splash: Option<Blob>,
    /// The release of the kernel; see [`kernel::release`](crate::kernel::release).
    pub uname: Option<String>,
}

/// Path of the unified kernel image on the ESP. The version is used verbatim; nodes look for `Talos-*.efi`.
pub fn uki_path(version: &Version) -> String {
    format!("EFI/Linux/Talos-{version}.efi")
}

/// The unified kernel image of a disk or installer image: it offers to start the node and to reset it.
pub fn uki(release: &Release, version: &Version, assets: &Assets, line: &Cmdline, time: Epoch) -> Result<Extents> {
    assemble(assets, &sections(version, assets, line, Some(release.reset)), time)
}

/// The unified kernel image as a product of its own (the imager's output kind `uki`): it offers to start the node only.
pub fn plain_uki(version: &Version, assets: &Assets, line: &Cmdline, time: Epoch) -> Result<Extents> {
    assemble(assets, &sections(version, assets, line, None), time)
}

fn assemble(assets: &Assets, sections: &[Section], time: Epoch) -> Result<Extents> {
    let stub = assets.stub.read_all(STUB_LIMIT).map_err(|source| {
        let problem = format!("cannot be read ({} bytes): {source}", assets.stub.size());
        Error::from(ErrorKind::Stub { problem })
    })?;
    uki::plan(&stub, sections, time)
}

/// The sections behind those of the stub, in the imager's order.
fn sections(version: &Version, assets: &Assets, line: &Cmdline, reset: Option<&Reset>) -> Vec<Section> {
    let text = |name: &str, text: String| Section::new(name, text.into_bytes());
    let splash = assets.splash.clone().map_or_else(|| Content::from(splash::picture()), Content::from);
    let mut sections = vec![text(".osrel", os_release(version)), text(".cmdline", line.to_string())];
    sections.extend(assets.uname.clone().map(|uname| text(".uname", uname)));
    sections.extend([
        Section::new(".splash", splash),
        Section::new(".linux", assets.kernel.clone()),
        Section::new(".initrd", assets.initramfs.clone()),
        text(".profile", "ID=main".to_owned()),
    ]);
    if let Some(reset) = reset {
        sections.push(text(".profile", format!("ID={}\nTITLE={}", reset.id, reset.title)));
        sections.push(text(".cmdline", line.followed_by(reset.argument)));
    }
    sections
}

/// The os-release text by which systemd-boot names and sorts its entries.
pub fn os_release(version: &Version) -> String {
    format!(
        "NAME=\"Talos\"\n\
         ID=talos\n\
         VERSION_ID={version}\n\
         PRETTY_NAME=\"Talos ({version})\"\n\
         HOME_URL=\"https://www.talos.dev/\"\n\
         BUG_REPORT_URL=\"https://github.com/siderolabs/talos/issues\"\n\
         VENDOR_NAME=\"Sidero Labs\"\n\
         VENDOR_URL=\"https://www.siderolabs.com/\"\n"
    )
}

/// The tree of the ESP. `extra` are more files with their paths from the root of the ESP, such as
/// `dtb/rockchip/rk3588s-nanopi-m6.dtb`.
///
/// # Errors
/// A path of `extra` that is taken, or that a FAT cannot hold.
pub fn esp(
    release: &Release,
    version: &Version,
    uki: Extents,
    sd_boot: Blob,
    extra: &[(String, Blob)],
) -> Result<fat::Tree> {
    let mut tree = fat::Tree::new();
    tree.add_file(&uki_path(version), uki.into())?;
    tree.add_file(SD_BOOT_PATH, sd_boot.into())?;
    tree.add_file(LOADER_CONF_PATH, release.loader_conf.as_bytes().into())?;
    for (path, blob) in extra {
        tree.add_file(path, blob.clone().into())?;
    }
    Ok(tree)
}

#[cfg(test)]
mod tests;
