//! What a node looks for in an installer image.

use imgcore::{Finding, Severity};
use talosimg::{
    installer,
    overlay::{self, ExtraOptions, OverlayJson},
};

use super::{Judge, Subject, secrets, shelf};
use crate::{build::ARCH, error::Result};

/// What the overlay says of itself.
const DESCRIPTION: &str = "overlay/artifacts/overlay.json";

const PROGRAM: &str =
    "an upgrade with it does nothing: build it on an installer-base whose kept layers have the program";

/// Where a program without a folder is looked for.
const SEARCHED: [&str; 6] = ["usr/local/sbin/", "usr/local/bin/", "usr/sbin/", "usr/bin/", "sbin/", "bin/"];

impl Judge {
    /// What a node looks for when it installs or upgrades.
    pub(super) fn installer(&mut self, subject: Subject<'_>) -> Result<()> {
        let Subject { image, tree, name, .. } = subject;
        let arch = image.platform.as_ref().map_or(ARCH, |platform| platform.architecture.as_str()).to_owned();
        for path in [installer::UKI, installer::SD_BOOT] {
            let path = path.replace(ARCH, &arch);
            if tree.resolve(&path).is_err() {
                let message = format!("the installer image has no {path}, which it installs");
                self.sayings.say(
                    name,
                    Finding::error("INS010", message)
                        .help("an installer-base alone installs nothing: build an installer image on it"),
                );
            }
        }
        self.program(subject);
        let line = if arch == ARCH { self.unified_kernel(subject)? } else { None };
        let secrets = secrets::of(image, line.as_deref());
        if let Some(finding) = secrets::finding(&secrets, Severity::Warning) {
            self.sayings.say(name, finding);
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
                self.sayings
                    .say(name, Finding::error("INS011", message).help("give it mode 0755 when the layer is packed"));
            }
            None if overlay => {
                let message = format!(
                    "there are files of an overlay, and no {}: the node does not run it",
                    installer::OVERLAY_INSTALLER
                );
                self.sayings.say(
                    name,
                    Finding::error("INS011", message)
                        .help("an upgrade would leave the board without its boot loader: build the image again"),
                );
            }
            None => self
                .lines
                .push("no overlay: an upgrade with this image writes no boot loader and no device tree".to_owned()),
        }
        if !overlay {
            return Ok(());
        }
        let mut texts = shelf::texts(image, tree, &[installer::EXTRA_OPTIONS, DESCRIPTION])?;
        let Some(options) = texts.remove(installer::EXTRA_OPTIONS).map(|text| ExtraOptions::parse(&text)) else {
            let message = format!("{} is missing: the overlay gets no options", installer::EXTRA_OPTIONS);
            self.sayings.say(name, Finding::error("INS012", message).help("build the image again"));
            return Ok(());
        };
        let json = texts.remove(DESCRIPTION).and_then(|text| OverlayJson::parse(&text).ok());
        let problem = match (&options, &json) {
            (Err(error), _) => Some(format!("{}: {error}", installer::EXTRA_OPTIONS)),
            (Ok(options), Some(json)) => overlay::select(json, options)
                .err()
                .map(|error| format!("{} choose no board of the overlay: {error}", installer::EXTRA_OPTIONS)),
            (Ok(_), None) => None,
        };
        if let Some(problem) = problem {
            self.sayings.say(name, Finding::error("INS012", problem));
        }
        json.map_or(Ok(()), |json| self.described(subject, &json))
    }

    /// The image is run: a node starts what its configuration names.
    fn program(&mut self, subject: Subject<'_>) {
        let Subject { image, tree, name, .. } = subject;
        let Some(program) = image.run.entrypoint.first().or(image.run.cmd.first()) else {
            let message = "the installer image names no program that a node would run";
            self.sayings.say(name, Finding::error("INS010", message).help(PROGRAM));
            return;
        };
        // A name without a folder is looked up as a shell does.
        let folders: &[&str] = if program.contains('/') { &[""] } else { &SEARCHED };
        let found = folders.iter().find_map(|folder| tree.resolve(&format!("{folder}{program}")).ok());
        let problem = match found.map(|(_, node)| (node.kind.name(), node.mode)) {
            Some(("file", mode)) if mode & 0o111 != 0 => return,
            Some((kind, mode)) => format!("a {kind} with mode {mode:04o}, which cannot be executed"),
            None => "which it does not have".to_owned(),
        };
        let message = format!("the installer image runs {program}, {problem}");
        self.sayings.say(name, Finding::error("INS010", message).help(PROGRAM));
    }

    /// What is wrong with the unified kernel image, and its command line.
    fn unified_kernel(&mut self, subject: Subject<'_>) -> Result<Option<String>> {
        let Subject { image, tree, name, .. } = subject;
        let Some((digest, size)) = shelf::file(tree, installer::UKI) else { return Ok(None) };
        if !self.kernels.insert(digest) {
            return Ok(None);
        }
        let Some((found, report)) = secrets::kernel(image, tree, installer::UKI)? else { return Ok(None) };
        self.sayings.extend(report, installer::UKI);
        let Some(found) = found else { return Ok(None) };
        let line = found.text(".cmdline").map(str::to_owned);
        if let Some(line) = &line {
            self.lines.push(format!("kernel command line: {}", crate::record::redact(line)));
        }
        for section in [".linux", ".initrd", ".cmdline", ".osrel"] {
            if found.section(section).is_none() {
                let message = format!("{} has no section {section}", installer::UKI);
                self.sayings.say(name, Finding::error("INS010", message).help("build the image again"));
            }
        }
        self.lines.push(format!("{}: {}", installer::UKI, imgcore::ByteSize(size)));
        Ok(line)
    }
}
