//! Overlay and installer images of anybody, held against what only Talos' imager and nodes know: the tree that they look
//! for, the options, the artefacts and where they are written.

use std::{collections::BTreeSet, path::Path, sync::Arc};

use imgcore::{Blob, Digest, Finding, ReadAt as _, Report, Sectors};
use ocipack::{
    Platform,
    read::{ArchiveView, ImageView, Node, NodeKind, Tree},
};
use talosimg::{
    disk, installer,
    overlay::{self, ExtraOptions, OverlayJson},
    release, uki,
};

use crate::{
    board::Board,
    build::ARCH,
    error::Result,
    files::FileSource,
    front::check_dtb,
    proof::layout::{self, Placement},
};

/// What the whole of an overlay's artefacts may have: U-Boots, device trees, a few DSP firmwares.
const ARTEFACTS: u64 = 512 << 20;
/// The largest artefact that is looked into.
const ARTEFACT: u64 = 64 << 20;
/// The largest unified kernel image that is looked into.
const UKI: u64 = 1 << 30;
/// Texts: options, profiles, descriptions.
const TEXT: u64 = 1 << 20;

/// What an image is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An overlay image.
    Overlay,
    /// An installer image.
    Installer,
    /// Something else.
    Other,
}

impl Kind {
    /// In a word.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Overlay => "overlay image",
            Self::Installer => "installer image",
            Self::Other => "image",
        }
    }

    fn of(tree: &Tree) -> Self {
        let below = |folder: &str| {
            tree.iter().any(|(path, _)| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/')))
        };
        if below("usr/install") || below("overlay") {
            Self::Installer
        } else if below("installers") || below("artifacts") || below("profiles") {
            Self::Overlay
        } else {
            Self::Other
        }
    }
}

/// What was found out about an archive.
#[derive(Debug)]
pub(crate) struct Judged {
    /// What it is for.
    pub kind: Kind,
    /// What was found.
    pub report: Report,
    /// What is in it, in a line each.
    pub lines: Vec<String>,
}

/// Judges the images of an archive whose structure was checked. `board` is the board that the overlay is for.
///
/// # Errors
/// The medium.
pub(crate) fn judge(view: &ArchiveView, board: Option<&Board>) -> Result<Judged> {
    let mut judged = Judged { kind: Kind::Other, report: Report::new(), lines: Vec::new() };
    let mut platforms = BTreeSet::new();
    let mut seen = BTreeSet::new();
    for image in view.images() {
        let (tree, _) = image.tree_with_digests();
        let kind = Kind::of(&tree);
        if judged.kind == Kind::Other {
            judged.kind = kind;
        }
        let name = image.platform.as_ref().map_or_else(|| "an image without platform".to_owned(), ToString::to_string);
        if let Some(platform) = &image.platform {
            platforms.insert(platform.architecture.clone());
        }
        match kind {
            Kind::Overlay => judged.overlay(image, &tree, &name, board, &mut seen)?,
            Kind::Installer => judged.installer(image, &tree, &name, board)?,
            Kind::Other => {}
        }
    }
    if judged.kind == Kind::Overlay {
        for arch in ["amd64", ARCH].into_iter().filter(|arch| !platforms.contains(*arch)) {
            judged.report.push(Finding::warning("OVL114", format!("the overlay has no image for linux/{arch}")).help(
                "the imager runs the overlay's installer on its own host: add the executable for that architecture",
            ));
        }
    }
    if let (Some(board), Kind::Other) = (board, judged.kind) {
        let message =
            format!("--board {} asks about an overlay or installer image, this is neither of them", board.name);
        judged.report.push(Finding::error("VFY002", message));
    }
    Ok(judged)
}

/// A file of an image.
fn file(image: &ImageView, tree: &Tree, path: &str, limit: u64) -> Result<Option<Vec<u8>>> {
    let is_file =
        tree.resolve(path).is_ok_and(|(_, node)| matches!(&node.kind, NodeKind::File { size, .. } if *size <= limit));
    if !is_file {
        return Ok(None);
    }
    image.read_file(tree, path, limit).map(Some).map_err(|error| crate::installer_image::failed(&error))
}

/// Whether a file is of this kind by its name, as who looks for it writes it.
fn ends(path: &str, ending: &str) -> bool {
    Path::new(path).extension().is_some_and(|found| found == ending)
}

fn digest(tree: &Tree, path: &str) -> Option<Digest> {
    match tree.resolve(path).ok()?.1.kind {
        NodeKind::File { digest, .. } => digest,
        _ => None,
    }
}

impl Judged {
    fn say(&mut self, image: &str, finding: Finding) {
        // What both platforms have in common is said once.
        if !self.report.iter().any(|known| known.code == finding.code && known.message == finding.message) {
            self.report.push(if finding.owner.is_some() { finding } else { finding.of(image) });
        }
    }

    fn overlay(
        &mut self,
        image: &ImageView,
        tree: &Tree,
        name: &str,
        board: Option<&Board>,
        seen: &mut BTreeSet<Digest>,
    ) -> Result<()> {
        let installers: Vec<_> = tree
            .iter()
            .filter(|(path, _)| path.strip_prefix("installers/").is_some_and(|rest| !rest.contains('/')))
            .filter(|(_, node)| node.kind.name() != "folder")
            .map(|(path, node)| (path.to_owned(), node.clone()))
            .collect();
        if installers.is_empty() {
            let help = "the imager starts installers/NAME, where NAME is the overlay's name; put the executable there";
            self.say(
                name,
                Finding::error("OVL110", "the overlay has no installer: installers/ is empty or missing").help(help),
            );
        }
        for (path, node) in &installers {
            let executable = node.mode & 0o111 != 0 || node.kind.name() != "file";
            if !executable {
                let message = format!("{path} has mode {:04o}: the imager cannot execute it", node.mode);
                self.say(name, Finding::error("OVL111", message).help("give it mode 0755 when the layer is packed"));
            }
        }
        for (path, node) in tree.iter().filter(|(path, _)| path.starts_with("artifacts/")) {
            if node.kind.name() == "folder" && node.mode & 0o700 != 0o700 {
                let message = format!("{path} has mode {:04o}: an imager that is not root cannot enter it", node.mode);
                self.say(
                    name,
                    Finding::warning("OVL115", message).help("give folders mode 0755 when the layer is packed"),
                );
            }
        }
        self.profiles(image, tree, name)?;
        match file(image, tree, "artifacts/overlay.json", TEXT)? {
            Some(text) => match OverlayJson::parse(&String::from_utf8_lossy(&text)) {
                Ok(json) => self.described(image, tree, &json, "artifacts", name, seen)?,
                Err(error) => {
                    self.say(name, Finding::error("OVL112", error.to_string()).help("build the overlay again"));
                }
            },
            None => self.artefacts(image, tree, name, seen)?,
        }
        if let Some(board) = board {
            self.for_board(image, tree, board, "", name)?;
        }
        Ok(())
    }

    /// Profiles name the boot program, or leave it to the imager, which takes one that loses the board at an upgrade.
    fn profiles(&mut self, image: &ImageView, tree: &Tree, name: &str) -> Result<()> {
        let paths: Vec<String> = tree
            .iter()
            .map(|(path, _)| path)
            .filter(|path| path.starts_with("profiles/") && ends(path, "yaml"))
            .map(str::to_owned)
            .collect();
        for path in paths {
            let Some(text) = file(image, tree, &path, TEXT)? else { continue };
            let text = String::from_utf8_lossy(&text).into_owned();
            match talosimg::yaml::from_str::<ProfileHead>(&path, &text) {
                Ok(profile) if profile.bootloader().is_none() => {
                    let message = format!("{path} names no boot program: for arm64 the imager then takes systemd-boot");
                    let help = "boards without persistent EFI variables cannot be upgraded with it: write `bootloader: grub` under \
                                output.imageOptions";
                    self.say(name, Finding::warning("OVL113", message).help(help));
                }
                Ok(_) => {}
                Err(error) => self.say(
                    name,
                    Finding::error("OVL112", format!("{path}: {error}"))
                        .help("the imager refuses a profile that it cannot read"),
                ),
            }
        }
        Ok(())
    }

    /// An overlay that says itself what it writes where.
    fn described(
        &mut self,
        image: &ImageView,
        tree: &Tree,
        json: &OverlayJson,
        root: &str,
        name: &str,
        seen: &mut BTreeSet<Digest>,
    ) -> Result<()> {
        for board in &json.boards {
            self.lines.push(format!(
                "board {}: options {}, partition offset {}",
                board.name,
                board.options.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" "),
                board.partition_offset
            ));
            let mut placements = Vec::new();
            for artefact in &board.files {
                let path = format!("{root}/{}", artefact.path);
                if !self.same(tree, &path, artefact.digest, name) {
                    continue;
                }
                let Some(bytes) = file(image, tree, &path, ARTEFACT)? else { continue };
                let (examined, found) = rkboot::examine(&bytes, None);
                if seen.insert(artefact.digest) {
                    self.report.extend(found.owned_by(&path, 0));
                }
                placements.push(Placement {
                    name: artefact.path.clone(),
                    file: examined,
                    start: artefact.offset,
                    written: artefact.length,
                    trimmed: artefact.length < artefact.size,
                });
            }
            self.prove(board.partition_offset, &placements, &board.name);
            for artefact in &board.esp {
                let path = format!("{root}/{}", artefact.path);
                if self.same(tree, &path, artefact.digest, name) && seen.insert(artefact.digest) {
                    self.device_tree(image, tree, &path)?;
                }
            }
            if let Some(spi) = &board.spi {
                self.same(tree, &format!("{root}/{}", spi.path), spi.digest, name);
            }
        }
        Ok(())
    }

    fn same(&mut self, tree: &Tree, path: &str, expected: Digest, name: &str) -> bool {
        let found = digest(tree, path);
        if found == Some(expected) {
            return true;
        }
        let message = found.map_or_else(
            || format!("{path} is missing, overlay.json names it"),
            |found| format!("{path} has {found}, overlay.json says {expected}"),
        );
        self.say(
            name,
            Finding::error("OVL112", message).help("the installer refuses to write it: build the overlay again"),
        );
        false
    }

    /// Nobody writes over the table or a partition, with the partitions of any release.
    fn prove(&mut self, offset: u64, placements: &[Placement], board: &str) {
        for row in release::all() {
            let spec = disk::table(row, row.bootloader, row.disk_size, Sectors(offset));
            let found = match layout::prove(&spec, placements, &[]) {
                Ok((_, found)) => found,
                Err(error) => std::iter::once(Finding::error("LAY004", error.to_string())).collect(),
            };
            for finding in found {
                self.say(board, finding);
            }
        }
    }

    fn device_tree(&mut self, image: &ImageView, tree: &Tree, path: &str) -> Result<()> {
        if let Some(bytes) = file(image, tree, path, ARTEFACT)? {
            let (scan, found) = dtbtool::scan(&bytes);
            self.report.extend(found.owned_by(path, 0));
            drop(scan);
            if let Ok(fdt) = dtbtool::Fdt::parse(&bytes) {
                let expectations =
                    dtbtool::Expectations { file_name: Some(path.to_owned()), ..dtbtool::Expectations::default() };
                self.report.extend(dtbtool::check_board(&fdt, &expectations).owned_by(path, 0));
            }
        }
        Ok(())
    }

    /// An overlay that says nothing of itself: what is known by its bytes is looked at.
    fn artefacts(&mut self, image: &ImageView, tree: &Tree, name: &str, seen: &mut BTreeSet<Digest>) -> Result<()> {
        let mut left = ARTEFACTS;
        let paths: Vec<(String, u64)> = tree
            .iter()
            .filter(|(path, _)| path.starts_with("artifacts/"))
            .filter_map(|(path, node)| match node.kind {
                NodeKind::File { size, .. } => Some((path.to_owned(), size)),
                _ => None,
            })
            .collect();
        if paths.is_empty() {
            let help = "an overlay carries boot files and device trees below artifacts/; without them the installer has nothing to write";
            self.say(name, Finding::warning("OVL116", "the overlay has no artefacts").help(help));
        }
        for (path, size) in paths {
            if size > ARTEFACT || size > left || !digest(tree, &path).is_none_or(|digest| seen.insert(digest)) {
                continue;
            }
            left = left.saturating_sub(size);
            if ends(&path, "dtb") {
                self.device_tree(image, tree, &path)?;
                continue;
            }
            let Some(bytes) = file(image, tree, &path, ARTEFACT)? else { continue };
            let (examined, found) = rkboot::examine(&bytes, None);
            if rkboot::idblock::is_v2(&bytes) || rkboot::idblock::is_v1(&bytes) || rkboot::fit::is_tree(&bytes) {
                self.lines.push(format!("{path}: {}", examined.kind.describe()));
                self.report.extend(found.owned_by(&path, 0));
            }
        }
        Ok(())
    }

    /// What a board file says of the overlay's artefacts: which are written where, and the device tree. `folder` is where
    /// the overlay lies in the image, with a slash behind it.
    fn for_board(&mut self, image: &ImageView, tree: &Tree, board: &Board, folder: &str, name: &str) -> Result<()> {
        let mut placements = Vec::new();
        for boot in board.scenario(None)?.iter().flat_map(|(_, scenario)| &scenario.files) {
            let known = board.sources.get(&boot.source);
            let named = known.and_then(|origin| origin.file.as_deref().or(origin.member.as_deref()));
            let own = format!("artifacts/arm64/u-boot/{}/{}.img", board.name, boot.source);
            let paths = named.into_iter().chain([own.as_str()]).map(|path| format!("{folder}{path}"));
            let Some(path) = paths.into_iter().find(|path| tree.resolve(path).is_ok()) else {
                let message = format!(
                    "the overlay has no {}, which the board file puts at sector {}",
                    boot.source, boot.at_sector
                );
                self.say(name, Finding::error("VFY002", message).help(format!("looked for {}", named.unwrap_or(&own))));
                continue;
            };
            let Some(bytes) = file(image, tree, &path, ARTEFACT)? else { continue };
            let (examined, _) = rkboot::examine(&bytes, None);
            let size = bytes.len() as u64;
            let cut = if boot.trim_copies { rkboot::trim(&examined).unwrap_or(size) } else { size };
            placements.push(Placement {
                name: boot.source.clone(),
                file: examined,
                start: boot.at_sector.saturating_mul(crate::board::SECTOR),
                written: cut.min(size),
                trimmed: cut < size,
            });
        }
        self.prove(board.partition_offset(), &placements, &board.name);
        if let Some(dtb) = &board.dtb {
            let path = format!("{folder}artifacts/arm64/dtb/{}", dtb.path);
            match file(image, tree, &path, ARTEFACT)? {
                Some(bytes) => self.report.extend(check_dtb(&bytes, dtb).owned_by(&path, 0)),
                None => self.say(
                    name,
                    Finding::error(
                        "VFY002",
                        format!("the overlay has no {path}, the device tree that the board's U-Boot asks for"),
                    ),
                ),
            }
        }
        Ok(())
    }

    /// What a node looks for when it installs or upgrades.
    fn installer(&mut self, image: &ImageView, tree: &Tree, name: &str, board: Option<&Board>) -> Result<()> {
        let arch = image.platform.as_ref().map_or(ARCH, |platform| platform.architecture.as_str()).to_owned();
        for path in [installer::UKI, installer::SD_BOOT] {
            let path = path.replace(ARCH, &arch);
            if tree.resolve(&path).is_err() {
                let message = format!("the installer image has no {path}, which it installs");
                self.say(
                    name,
                    Finding::error("INS010", message)
                        .help("an installer-base alone installs nothing: build an installer image on it"),
                );
            }
        }
        if Platform::new("linux", ARCH).serves(&Platform::new("linux", &arch)) || arch == ARCH {
            self.unified_kernel(image, tree, name)?;
        }
        let overlay = tree.iter().any(|(path, _)| path.starts_with("overlay/"));
        let runs = tree.resolve(installer::OVERLAY_INSTALLER).ok().map(|(_, node)| (node.mode, node.kind.name()));
        match runs {
            Some((mode, "file")) if mode & 0o111 != 0 => {}
            Some((mode, kind)) => {
                let message = format!(
                    "{} is a {kind} with mode {mode:04o}: the node cannot execute it",
                    installer::OVERLAY_INSTALLER
                );
                self.say(name, Finding::error("INS011", message).help("give it mode 0755 when the layer is packed"));
            }
            None if overlay => {
                let message = format!(
                    "there are files of an overlay, and no {}: the node does not run it",
                    installer::OVERLAY_INSTALLER
                );
                self.say(
                    name,
                    Finding::error("INS011", message)
                        .help("an upgrade would leave the board without its boot loader: build the image again"),
                );
            }
            None => self
                .lines
                .push("no overlay: an upgrade with this image writes no boot loader and no device tree".to_owned()),
        }
        match board {
            Some(board) if overlay => self.for_board(image, tree, board, "overlay/", name)?,
            Some(board) if board.overlay.is_some() => {
                let message = format!("the installer image has no overlay, and {} needs its own", board.name);
                self.say(name, Finding::error("VFY002", message).help("build the installer image of this board"));
            }
            _ => {}
        }
        if !overlay {
            return Ok(());
        }
        let options = file(image, tree, installer::EXTRA_OPTIONS, TEXT)?;
        let text = options.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        let Some(options) = text.map(|text| ExtraOptions::parse(&text)) else {
            let message = format!("{} is missing: the overlay gets no options", installer::EXTRA_OPTIONS);
            self.say(name, Finding::error("INS012", message).help("build the image again"));
            return Ok(());
        };
        let json = file(image, tree, "overlay/artifacts/overlay.json", TEXT)?;
        let json = json.and_then(|text| OverlayJson::parse(&String::from_utf8_lossy(&text)).ok());
        match (&options, &json) {
            (Err(error), _) => {
                self.say(name, Finding::error("INS012", format!("{}: {error}", installer::EXTRA_OPTIONS)));
            }
            (Ok(options), Some(json)) => {
                if let Err(error) = overlay::select(json, options) {
                    self.say(
                        name,
                        Finding::error(
                            "INS012",
                            format!("{} choose no board of the overlay: {error}", installer::EXTRA_OPTIONS),
                        ),
                    );
                }
            }
            (Ok(_), None) => {}
        }
        if let Some(json) = json {
            let mut seen = BTreeSet::new();
            self.described(image, tree, &json, "overlay/artifacts", name, &mut seen)?;
        }
        Ok(())
    }

    fn unified_kernel(&mut self, image: &ImageView, tree: &Tree, name: &str) -> Result<()> {
        let small = |node: &Node| matches!(node.kind, NodeKind::File { size, .. } if size <= UKI);
        if !tree.resolve(installer::UKI).is_ok_and(|(_, node)| small(node)) {
            return Ok(());
        }
        // As large as a kernel and an initramfs: it goes through a file.
        let mut spool = tempfile::NamedTempFile::new()?;
        let taken = image.extract(tree, &[installer::UKI], &mut |_, _, data| std::io::copy(data, &mut spool).map(drop));
        taken.map_err(|error| crate::installer_image::failed(&error))?;
        let file = Blob::new(installer::UKI, Arc::new(FileSource::open(spool.path())?), None);
        let (found, report) = uki::read(&file);
        self.report.extend(report.owned_by(installer::UKI, 0));
        let Some(found) = found else { return Ok(()) };
        if let Some(line) = found.text(".cmdline") {
            self.lines.push(format!("kernel command line: {}", crate::record::redact(line)));
        }
        for section in [".linux", ".initrd", ".cmdline", ".osrel"] {
            if found.section(section).is_none() {
                let message = format!("{} has no section {section}", installer::UKI);
                self.say(name, Finding::error("INS010", message).help("build the image again"));
            }
        }
        self.lines.push(format!("{}: {}", installer::UKI, imgcore::ByteSize(file.size())));
        Ok(())
    }
}

/// As much of a profile as is looked at.
#[derive(Debug, serde::Deserialize)]
struct ProfileHead {
    output: Option<OutputHead>,
}

#[derive(Debug, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct OutputHead {
    image_options: Option<OptionsHead>,
}

#[derive(Debug, serde::Deserialize)]
struct OptionsHead {
    bootloader: Option<String>,
}

impl ProfileHead {
    fn bootloader(&self) -> Option<&str> {
        self.output.as_ref()?.image_options.as_ref()?.bootloader.as_deref()
    }
}
