//! Board files: what one board needs in front of and inside its image. A new board is a new file, never new code.

mod correction;
mod folder;
mod origin;

pub use correction::{Corrected, Correction};
pub use folder::{FILES, files, find, names};
pub use origin::{Apt, ByteRange, Origin};

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use fs_err as fs;
use imgcore::{Digest, Report, nearest};
use serde::{Deserialize, Serialize};
use talosimg::Bootloader;
use toml::Spanned;

use crate::{
    error::{Error, Exit, Result},
    toml_text::Source as Text,
};

/// Sector size that `at-sector` and `partition-offset` count in.
pub const SECTOR: u64 = 512;

/// SPI flashes of boards have 4 to 32 MiB; a size outside of this is a mistake in the unit.
const SPI_SMALLEST: u64 = 1 << 20;
const SPI_LARGEST: u64 = 256 << 20;

/// A board file, checked.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Board {
    /// Name: that of the file without `.toml`.
    pub name: String,
    /// What people call the board.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// System on chip, `rk3588s`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub soc: Option<String>,
    /// Who makes the board.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vendor: Option<String>,
    /// Whose overlay these facts are, as that overlay has them unless [`Self::corrects`] says otherwise:
    /// `siderolabs/sbc-rockchip v0.2.0`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// U-Boot's configuration for the board: `rock5b-rk3588_defconfig`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub defconfig: Option<String>,
    /// Shared notes of the board's page, `soc/rk3588` for `docs/boards/notes/soc/rk3588.md`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// Hardware revisions that the file is for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub revisions: Vec<Revision>,
    /// What a user must know before using the image; printed with every build.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub notice: Option<String>,
    /// Where kernel, initramfs and boot programs come from unless `--base` says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// What the installer image stands on unless `--installer-base` says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub installer_base: Option<String>,
    /// The scenario that is built unless `--boot` says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_boot: Option<String>,
    /// The device tree.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dtb: Option<Dtb>,
    /// Boot scenarios by name.
    pub boot: BTreeMap<String, Scenario>,
    /// Areas in front of the partitions that belong to somebody else.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reserved: Vec<Reserved>,
    /// The SPI flash that the board can start from instead of its boot files.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spi: Option<Spi>,
    /// The overlay image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlay: Option<Overlay>,
    /// Where this file differs from its upstream on purpose.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub corrects: Vec<Correction>,
    /// Where inputs come from, by role.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sources: BTreeMap<String, Origin>,
    /// Folder of the board file: relative paths start here.
    #[serde(skip)]
    pub folder: PathBuf,
    /// SHA-256 of the board file.
    #[serde(skip)]
    pub digest: Digest,
    /// What is odd about the file.
    #[serde(skip)]
    pub report: Report,
}

/// The device tree of a board.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Dtb {
    /// Path on the ESP under `dtb/`, the name that U-Boot asks for.
    pub path: String,
    /// Role of the input.
    #[serde(default = "dtb_role")]
    pub source: String,
    /// The root's `compatible` must hold one of these.
    #[serde(default)]
    pub compatible: Vec<String>,
    /// Devices that must be enabled, as words or node paths.
    #[serde(default)]
    pub require: Vec<String>,
    /// Roles of overlays (`.dtbo`), applied in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overlays: Vec<String>,
    /// Changes made after the overlays, in the words of `dtbtool edit`: `enable /serial@feb50000`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edits: Vec<String>,
}

impl Dtb {
    /// Every role of an input.
    pub(crate) fn roles(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.source.as_str()).chain(self.overlays.iter().map(String::as_str))
    }
}

fn dtb_role() -> String {
    "dtb".to_owned()
}

/// One way to start the board.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Scenario {
    /// Boot files and where they are written.
    #[serde(default)]
    pub files: Vec<BootFile>,
}

/// A file in front of the partitions.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct BootFile {
    /// Role of the input.
    pub source: String,
    /// Where it is written, in sectors of 512 bytes.
    pub at_sector: u64,
    /// Whether only the first of several equal copies is written.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub trim_copies: bool,
}

/// An area that belongs to somebody else: the U-Boot environment, say.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Reserved {
    /// Whose it is.
    pub name: String,
    /// First sector of 512 bytes.
    pub at_sector: u64,
    /// Count of sectors of 512 bytes.
    pub sectors: u64,
    /// The boot file in whose padding the area lies: writing the file erases the area, and that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<String>,
}

impl Reserved {
    /// Its bytes on the medium.
    pub fn range(&self) -> std::ops::Range<u64> {
        let start = self.at_sector.saturating_mul(SECTOR);
        start..start.saturating_add(self.sectors.saturating_mul(SECTOR))
    }
}

/// A hardware revision of a board.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Revision {
    /// What is printed on the board: `V1`.
    pub name: String,
    /// The root's `compatible` of trees for this revision alone; empty when trees do not tell revisions apart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compatible: Vec<String>,
    /// What is different about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// The SPI flash of a board, which the boot ROM asks before eMMC and SD.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Spi {
    /// Role of the input that is written to the flash: `u-boot-rockchip-spi.bin`.
    pub source: String,
    /// Size of the flash in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Where the SPL looks for the second stage in the flash, in bytes, if not where boards of the SoC have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fit_offset: Option<u64>,
    /// The installer's option that leaves the boot files out because U-Boot starts from the flash.
    #[serde(default = "spi_option")]
    pub option: String,
}

fn spi_option() -> String {
    "spi_boot".to_owned()
}

/// The overlay image of a board.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Overlay {
    /// `installers/NAME` and `profiles/NAME.yaml`.
    pub name: String,
    /// Options that the installer accepts, with this board's values.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
    /// LBAs that the partition entry array is moved by.
    #[serde(default)]
    pub partition_offset: u64,
    /// Kernel arguments, in order.
    #[serde(default)]
    pub kernel_args: Vec<String>,
    /// `grub` or `sd-boot`; the Talos release decides if it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bootloader: Option<Bootloader>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct BoardToml {
    name: Spanned<String>,
    title: Option<String>,
    soc: Option<Spanned<String>>,
    vendor: Option<String>,
    upstream: Option<String>,
    defconfig: Option<String>,
    #[serde(default)]
    notes: Vec<Spanned<String>>,
    #[serde(default)]
    revisions: Vec<Spanned<Revision>>,
    notice: Option<String>,
    base: Option<String>,
    installer_base: Option<String>,
    default_boot: Option<Spanned<String>>,
    dtb: Option<Spanned<Dtb>>,
    #[serde(default)]
    boot: BTreeMap<String, Scenario>,
    #[serde(default)]
    reserved: Vec<Spanned<Reserved>>,
    spi: Option<Spanned<Spi>>,
    overlay: Option<Spanned<Overlay>>,
    #[serde(default)]
    corrects: Vec<Spanned<Correction>>,
    #[serde(default)]
    sources: BTreeMap<String, Spanned<Origin>>,
}

impl Board {
    /// Reads a board file.
    ///
    /// # Errors
    /// [`Exit::Usage`] with place and cure when the file is not valid, [`Exit::Io`] when it cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::InvalidData => {
                let finding = imgcore::Finding::error("BRD001", format!("{}: not UTF-8 text", path.display()));
                Error::new(Exit::Usage, finding)
            }
            _ => Error::from(error),
        })?;
        let name = path.display().to_string();
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Self::parse(&name, &stem, folder, &text)
    }

    /// Checks the text of a board file. `name` is what errors call it, `stem` its name without `.toml`.
    ///
    /// # Errors
    /// [`Exit::Usage`] with place and cure.
    pub fn parse(name: &str, stem: &str, folder: &Path, text: &str) -> Result<Self> {
        let source = Text { name, text, code: "BRD001" };
        let toml: BoardToml = source.parse()?;
        let mut errors = Report::new();
        let mut warnings = Report::new();
        let mut fail = |span: Option<std::ops::Range<usize>>, message: &str, help: &str| {
            errors.push(source.error(span, message).help(help));
        };

        let board = toml.name.get_ref();
        if !is_name(board) {
            fail(
                Some(toml.name.span()),
                "a board's name is 1 to 63 of the characters a-z 0-9 . _ - and begins with a letter or digit",
                "it becomes part of file names: `nanopi-m6`, say",
            );
        } else if board != stem {
            let mut finding = source
                .error(Some(toml.name.span()), &format!("the board is called {board} but its file {stem}.toml"))
                .help(format!("name the file {board}.toml, so that it is found by its name"));
            finding.severity = imgcore::Severity::Warning;
            finding.code = "BRD002";
            warnings.push(finding);
        }
        if let Some(soc) = &toml.soc
            && rkboot::Soc::from_name(soc.get_ref()).is_none()
        {
            let known: Vec<_> = rkboot::Soc::all().map(rkboot::Soc::name).collect();
            let help = nearest(soc.get_ref(), known.iter().copied())
                .map_or_else(|| format!("known: {}", known.join(", ")), |near| format!("did you mean `{near}`?"));
            fail(Some(soc.span()), &format!("unknown SoC: {}", soc.get_ref()), &help);
        }
        if let Some(default) = &toml.default_boot
            && !toml.boot.contains_key(default.get_ref())
        {
            let known = toml.boot.keys().map(String::as_str);
            let help = nearest(default.get_ref(), known.clone()).map_or_else(
                || format!("scenarios of this file: {}", known.collect::<Vec<_>>().join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            fail(Some(default.span()), &format!("no scenario of this name: {}", default.get_ref()), &help);
        }
        if toml.default_boot.is_none() && toml.boot.len() > 1 {
            fail(
                Some(toml.name.span()),
                &format!("{} boot scenarios but no default-boot", toml.boot.len()),
                "add `default-boot = \"…\"` at the top",
            );
        }
        if let Some(dtb) = &toml.dtb
            && let Some(wrong) = wrong_path(&dtb.get_ref().path)
        {
            fail(Some(dtb.span()), &format!("dtb.path {wrong}: {}", dtb.get_ref().path), "write `rockchip/NAME.dtb`");
        }
        if let Some(dtb) = &toml.dtb {
            for text in &dtb.get_ref().edits {
                if let Err(error) = dtbtool::Edit::parse(text) {
                    let help = "write `enable NODE`, `disable NODE`, `delete NODE [PROPERTY]`, `set NODE PROPERTY VALUE` or \
                                `local-mac-address NODE ADDRESS`; a node is a path, &label or an alias";
                    fail(Some(dtb.span()), &format!("dtb.edits: {error}"), help);
                }
            }
        }
        if let Some(overlay) = &toml.overlay
            && !is_name(&overlay.get_ref().name)
        {
            fail(Some(overlay.span()), "overlay.name must be a plain file name", "`rk3588`, say");
        }
        if let Some(spi) = &toml.spi {
            for (wrong, help) in wrong_spi(spi.get_ref(), &toml.boot) {
                fail(Some(spi.span()), &wrong, help);
            }
        }
        for (role, origin) in &toml.sources {
            if !is_name(role) {
                fail(Some(origin.span()), &format!("no name of an input: {role:?}"), "a-z 0-9 . _ -: `idbloader`, say");
            }
            if let Some((wrong, help)) = origin.get_ref().wrong() {
                fail(Some(origin.span()), &format!("source {role} {wrong}"), help);
            }
        }
        for note in &toml.notes {
            if note.get_ref().split('/').any(|part| !is_name(part)) {
                let message = format!("no name of a note: {:?}", note.get_ref());
                fail(Some(note.span()), &message, "`soc/rk3588` is the file docs/boards/notes/soc/rk3588.md");
            }
        }
        let mut revisions = std::collections::BTreeSet::new();
        for revision in &toml.revisions {
            let name = &revision.get_ref().name;
            if name.trim().is_empty() || !revisions.insert(name) {
                let message = format!("a revision's name is empty or there twice: {name:?}");
                fail(Some(revision.span()), &message, "write what is printed on the board: `V1`");
            }
        }
        for area in &toml.reserved {
            let Some(file) = &area.get_ref().within else { continue };
            if !toml.boot.values().flat_map(|scenario| &scenario.files).any(|known| known.source == *file) {
                let message =
                    format!("reserved area {} is within {file}, which no scenario writes", area.get_ref().name);
                fail(Some(area.span()), &message, "`within` takes the role of a boot file");
            }
        }
        let (dtb, overlay) = (toml.dtb.as_ref().map(Spanned::get_ref), toml.overlay.as_ref().map(Spanned::get_ref));
        for correction in &toml.corrects {
            if let Some((wrong, help)) = correction.get_ref().wrong(dtb, overlay) {
                fail(Some(correction.span()), &wrong, &help);
            }
            warnings.push(correction.get_ref().finding(board, toml.upstream.as_deref()));
        }
        let last = u64::MAX / SECTOR / 2;
        let files = toml.boot.values().flat_map(|scenario| &scenario.files).map(|file| (&file.source, file.at_sector));
        let areas = toml.reserved.iter().map(Spanned::get_ref);
        let areas = areas.map(|area| (&area.name, area.at_sector.saturating_add(area.sectors)));
        for (name, sector) in files.chain(areas) {
            if sector > last {
                errors.push(source.error(None, &format!("{name}: sector {sector} lies behind any disk")));
            }
        }
        for (scenario, Scenario { files }) in &toml.boot {
            let mut seen = std::collections::BTreeSet::new();
            for file in files.iter().filter(|file| !seen.insert(&file.source)) {
                let message = format!("scenario {scenario} writes {} twice", file.source);
                errors.push(source.error(None, &message).help("give the second place a role of its own"));
            }
        }
        if !errors.is_empty() {
            let mut report = warnings;
            report.extend(errors);
            return Err(Error::new(
                Exit::Usage,
                imgcore::Finding::error("BRD003", format!("{name}: not a valid board file")),
            )
            .after(report));
        }
        Ok(Self {
            name: toml.name.into_inner(),
            title: toml.title,
            soc: toml.soc.map(Spanned::into_inner),
            vendor: toml.vendor,
            upstream: toml.upstream,
            defconfig: toml.defconfig,
            notes: toml.notes.into_iter().map(Spanned::into_inner).collect(),
            revisions: toml.revisions.into_iter().map(Spanned::into_inner).collect(),
            notice: toml.notice,
            base: toml.base,
            installer_base: toml.installer_base,
            default_boot: toml.default_boot.map(Spanned::into_inner),
            dtb: toml.dtb.map(Spanned::into_inner),
            boot: toml.boot,
            reserved: toml.reserved.into_iter().map(Spanned::into_inner).collect(),
            spi: toml.spi.map(Spanned::into_inner),
            overlay: toml.overlay.map(Spanned::into_inner),
            corrects: toml.corrects.into_iter().map(Spanned::into_inner).collect(),
            sources: toml.sources.into_iter().map(|(role, origin)| (role, origin.into_inner())).collect(),
            folder: folder.to_path_buf(),
            digest: Digest::of(text.as_bytes()),
            report: warnings,
        })
    }

    /// The scenario to build: `wanted`, else the default, else the only one. `None` for a board without boot files.
    ///
    /// # Errors
    /// [`Exit::Usage`] when there is no scenario of that name.
    pub fn scenario(&self, wanted: Option<&str>) -> Result<Option<(&str, &Scenario)>> {
        let name = wanted.or(self.default_boot.as_deref()).or_else(|| self.boot.keys().next().map(String::as_str));
        let Some(name) = name else { return Ok(None) };
        if let Some((name, scenario)) = self.boot.get_key_value(name) {
            return Ok(Some((name, scenario)));
        }
        let known: Vec<_> = self.boot.keys().map(String::as_str).collect();
        let help = nearest(name, known.iter().copied())
            .map_or_else(|| format!("it has: {}", known.join(", ")), |near| format!("did you mean {near}?"));
        Err(Error::usage(format!("{} has no boot scenario of this name: {name}", self.name)).or_help(&help))
    }

    /// Every role that some scenario, the device tree or the SPI flash names.
    pub fn roles(&self) -> std::collections::BTreeSet<&str> {
        let files = self.boot.values().flat_map(|scenario| &scenario.files).map(|file| file.source.as_str());
        let dtb = self.dtb.iter().flat_map(Dtb::roles);
        files.chain(dtb).chain(self.spi.iter().map(|spi| spi.source.as_str())).collect()
    }

    /// LBAs that the partition entry array is moved by.
    pub fn partition_offset(&self) -> u64 {
        self.overlay.as_ref().map_or(0, |overlay| overlay.partition_offset)
    }
}

/// Whether a text may name a board, an input, a file: 1 to 63 of a-z 0-9 . _ - beginning with a letter or digit.
pub(crate) fn is_name(text: &str) -> bool {
    let first = text.chars().next().is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let rest = text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c));
    first && rest && text.len() <= 63
}

/// What is wrong with a relative path inside an image.
fn wrong_path(path: &str) -> Option<&'static str> {
    if path.is_empty() || path.starts_with('/') || path.ends_with('/') {
        return Some("must be the relative path of a file");
    }
    if path.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
        return Some("must not hold empty parts, `.` or `..`");
    }
    let fine = |c: char| c.is_ascii_graphic() && !r#"\:*?"<>|"#.contains(c);
    (!path.chars().all(fine)).then_some("holds characters that a FAT file name cannot have")
}

/// What is wrong with an SPI flash, and what to do.
fn wrong_spi(spi: &Spi, boot: &BTreeMap<String, Scenario>) -> Vec<(String, &'static str)> {
    let mut wrong = Vec::new();
    if !is_name(&spi.source) {
        wrong.push((format!("spi.source is no role: {:?}", spi.source), "`spi`, say"));
    }
    if boot.values().flat_map(|scenario| &scenario.files).any(|file| file.source == spi.source) {
        let message = format!("{} is written to the medium and to the SPI flash", spi.source);
        wrong.push((message, "the two images differ: give the one for the flash a role of its own, `spi`, say"));
    }
    if spi.size.is_some_and(|size| !(SPI_SMALLEST..=SPI_LARGEST).contains(&size) || !size.is_power_of_two()) {
        let message = format!("spi.size is not the size of a flash: {}", spi.size.unwrap_or_default());
        wrong.push((message, "bytes, a power of two from 1 MiB to 256 MiB: `size = 16777216` for 16 MiB"));
    }
    let is_option = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if spi.option.is_empty() || !spi.option.chars().all(is_option) || spi.option == "board" {
        let message = format!("spi.option cannot be the name of an installer's option: {:?}", spi.option);
        wrong.push((message, "leave it out for `spi_boot`, which the overlays of sbc-rockchip take"));
    }
    wrong
}

#[cfg(test)]
mod real;
#[cfg(test)]
mod tests;
