//! Boot files and device trees of an overlay: what they are, and where they are written.

use imgcore::{Digest, Finding, Sectors};
use ocipack::read::NodeKind;
use talosimg::{disk, overlay::OverlayJson, release};

use super::{
    Asked, Judge, Subject, ends,
    shelf::{self, Role},
};
use crate::{
    error::Result,
    front::check_dtb,
    installer_image::failed,
    proof::layout::{self, Placement},
};

/// Boards of one overlay that are looked into: each is proved with the partitions of every release.
const BOARDS: usize = 32;
/// Files of one board that are looked into.
const FILES: usize = 32;

impl Judge {
    /// An overlay that says itself what it writes where.
    pub(super) fn described(&mut self, subject: Subject<'_>, json: &OverlayJson) -> Result<()> {
        let Subject { image, tree, root, .. } = subject;
        if json.boards.len() > BOARDS {
            self.lines.push(format!("{} boards: the first {BOARDS} were looked into", json.boards.len()));
        }
        let at = |path: &str| format!("{root}/{path}");
        let boards = || json.boards.iter().take(BOARDS);
        let boot = boards().flat_map(|board| board.files.iter().take(FILES)).map(|file| (at(&file.path), Role::Boot));
        let trees = boards().flat_map(|board| board.esp.iter().take(FILES)).map(|file| (at(&file.path), Role::Tree));
        let wanted: Vec<_> = boot.chain(trees).collect();
        self.shelf.look(image, tree, &wanted)?;
        for board in boards() {
            if board.files.len() > FILES || board.esp.len() > FILES {
                self.lines.push(format!("board {}: the first {FILES} files were looked into", board.name));
            }
            self.lines.push(format!(
                "board {}: options {}, partition offset {}",
                board.name,
                board.options.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>().join(" "),
                board.partition_offset
            ));
            let mut placements = Vec::new();
            for artefact in board.files.iter().take(FILES) {
                let path = at(&artefact.path);
                if !self.same(subject, &path, artefact.digest) {
                    continue;
                }
                let found = self.shelf.told(artefact.digest, Role::Boot);
                self.sayings.extend(found, &path);
                let seen = self.shelf.get(artefact.digest, Role::Boot).and_then(|seen| seen.boot.as_ref());
                placements.extend(seen.map(|boot| Placement {
                    name: artefact.path.clone(),
                    file: boot.clone(),
                    start: artefact.offset,
                    written: artefact.length,
                    trimmed: artefact.length < artefact.size,
                }));
            }
            self.prove(board.partition_offset, &placements, &board.name);
            for artefact in board.esp.iter().take(FILES) {
                let path = at(&artefact.path);
                if self.same(subject, &path, artefact.digest) {
                    let found = self.shelf.told(artefact.digest, Role::Tree);
                    self.sayings.extend(found, &path);
                }
            }
            if let Some(spi) = &board.spi {
                self.same(subject, &at(&spi.path), spi.digest);
            }
        }
        Ok(())
    }

    fn same(&mut self, subject: Subject<'_>, path: &str, expected: Digest) -> bool {
        let found = shelf::file(subject.tree, path).map(|(digest, _)| digest);
        if found == Some(expected) {
            return true;
        }
        let message = found.map_or_else(
            || format!("{path} is missing, overlay.json names it"),
            |found| format!("{path} has {found}, overlay.json says {expected}"),
        );
        let finding = Finding::error("OVL112", message);
        self.sayings.say(subject.name, finding.help("the installer refuses to write it: build the overlay again"));
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
                self.sayings.say(board, finding);
            }
        }
    }

    /// An overlay that says nothing of itself: what is known by its bytes is looked at.
    pub(super) fn artefacts(&mut self, subject: Subject<'_>) -> Result<()> {
        let Subject { image, tree, name, root } = subject;
        let inside = |path: &str| path.strip_prefix(root).is_some_and(|rest| rest.starts_with('/'));
        let role = |path: &str| if ends(path, "dtb") { Role::Tree } else { Role::Boot };
        let wanted: Vec<(String, Role)> = tree
            .iter()
            .filter(|(path, node)| inside(path) && matches!(node.kind, NodeKind::File { .. }))
            .map(|(path, _)| (path.to_owned(), role(path)))
            .collect();
        if wanted.is_empty() {
            let help = "an overlay carries boot files and device trees below artifacts/; without them the installer has nothing to write";
            self.sayings.say(name, Finding::warning("OVL116", "the overlay has no artefacts").help(help));
        }
        self.shelf.look(image, tree, &wanted)?;
        for (path, role) in wanted {
            let Some((digest, _)) = shelf::file(tree, &path) else { continue };
            let Some(seen) = self.shelf.get(digest, role).filter(|seen| seen.known) else { continue };
            let line = seen.boot.as_ref().map(|boot| format!("{path}: {}", boot.kind.describe()));
            self.lines.extend(line.filter(|_| self.named.insert(digest)));
            let found = self.shelf.told(digest, role);
            self.sayings.extend(found, &path);
        }
        Ok(())
    }

    /// What a board file says of the overlay's artefacts: which are written where, and the device tree.
    pub(super) fn for_board(&mut self, subject: Subject<'_>, asked: Asked<'_>) -> Result<()> {
        let Subject { image, tree, name, root } = subject;
        let Asked { board, boot } = asked;
        let what = if root == "artifacts" { "overlay" } else { "installer image" };
        let mut files = Vec::new();
        for boot in board.scenario(boot)?.iter().flat_map(|(_, scenario)| &scenario.files) {
            let known = board.sources.get(&boot.source);
            let named = known.and_then(|origin| origin.file.as_deref().or(origin.member.as_deref()));
            // What a board file takes out of an overlay has the overlay's path.
            let named = named.map(|path| match path.strip_prefix("artifacts/") {
                Some(rest) => format!("{root}/{rest}"),
                None => path.to_owned(),
            });
            let own = format!("{root}/arm64/u-boot/{}/{}.img", board.name, boot.source);
            let path = named.iter().chain([&own]).find(|path| tree.resolve(path).is_ok()).cloned();
            let Some(path) = path else {
                let message = format!(
                    "the {what} has no {}, which the board file puts at sector {}",
                    boot.source, boot.at_sector
                );
                let looked = format!("looked for {}", named.unwrap_or(own));
                self.sayings.say(name, Finding::error("VFY002", message).help(looked));
                continue;
            };
            files.push((boot, path));
        }
        let wanted: Vec<_> = files.iter().map(|(_, path)| (path.clone(), Role::Boot)).collect();
        self.shelf.look(image, tree, &wanted)?;
        let mut placements = Vec::new();
        for (boot, path) in files {
            let Some((digest, size)) = shelf::file(tree, &path) else { continue };
            let Some(file) = self.shelf.get(digest, Role::Boot).and_then(|seen| seen.boot.as_ref()) else { continue };
            let cut = if boot.trim_copies { rkboot::trim(file).unwrap_or(size) } else { size };
            placements.push(Placement {
                name: boot.source.clone(),
                file: file.clone(),
                start: boot.at_sector.saturating_mul(crate::board::SECTOR),
                written: cut.min(size),
                trimmed: cut < size,
            });
        }
        self.prove(board.partition_offset(), &placements, &board.name);
        if let Some(dtb) = &board.dtb {
            let path = format!("{root}/arm64/dtb/{}", dtb.path);
            if shelf::file(tree, &path).is_some_and(|(_, size)| size <= shelf::ARTEFACT) {
                let bytes = image.read_file(tree, &path, shelf::ARTEFACT).map_err(|error| failed(&error))?;
                self.sayings.extend(check_dtb(&bytes, dtb), &path);
            } else {
                let message = format!("the {what} has no {path}, the device tree that the board's U-Boot asks for");
                self.sayings.say(name, Finding::error("VFY002", message));
            }
        }
        Ok(())
    }
}
