//! What Talos' imager looks for in an overlay image.

use imgcore::Finding;
use talosimg::overlay::OverlayJson;

use super::{Judge, Subject, ends, shelf};
use crate::error::Result;

/// Profiles that are looked into: Talos' own overlays have about a dozen.
const PROFILES: usize = 64;

/// What an overlay says of itself.
const DESCRIPTION: &str = "artifacts/overlay.json";

impl Judge {
    /// What the imager looks for in an overlay.
    pub(super) fn overlay(&mut self, subject: Subject<'_>) -> Result<()> {
        let Subject { image, tree, name, .. } = subject;
        let installers: Vec<_> = tree
            .iter()
            .filter(|(path, _)| path.strip_prefix("installers/").is_some_and(|rest| !rest.contains('/')))
            .filter(|(_, node)| node.kind.name() != "folder")
            .map(|(path, node)| (path.to_owned(), node.clone()))
            .collect();
        if installers.is_empty() {
            let help = "the imager starts installers/NAME, where NAME is the overlay's name; put the executable there";
            self.sayings.say(
                name,
                Finding::error("OVL110", "the overlay has no installer: installers/ is empty or missing").help(help),
            );
        }
        for (path, node) in &installers {
            let executable = node.mode & 0o111 != 0 || node.kind.name() != "file";
            if !executable {
                let message = format!("{path} has mode {:04o}: the imager cannot execute it", node.mode);
                self.sayings
                    .say(name, Finding::error("OVL111", message).help("give it mode 0755 when the layer is packed"));
            }
        }
        for (path, node) in tree.iter().filter(|(path, _)| path.starts_with("artifacts/")) {
            if node.kind.name() == "folder" && node.mode & 0o700 != 0o700 {
                let message = format!("{path} has mode {:04o}: an imager that is not root cannot enter it", node.mode);
                self.sayings.say(
                    name,
                    Finding::warning("OVL115", message).help("give folders mode 0755 when the layer is packed"),
                );
            }
        }
        let profiles: Vec<&str> = tree
            .iter()
            .map(|(path, _)| path)
            .filter(|path| path.starts_with("profiles/") && ends(path, "yaml"))
            .collect();
        if profiles.len() > PROFILES {
            self.lines.push(format!("{} profiles: the first {PROFILES} were looked into", profiles.len()));
        }
        let mut paths: Vec<&str> = profiles.into_iter().take(PROFILES).collect();
        paths.push(DESCRIPTION);
        let mut texts = shelf::texts(image, tree, &paths)?;
        let json = texts.remove(DESCRIPTION);
        for (path, text) in &texts {
            self.profile(path, text, name);
        }
        match json.as_deref().map(OverlayJson::parse) {
            Some(Ok(json)) => self.described(subject, &json),
            Some(Err(error)) => {
                let finding = Finding::error("OVL112", error.to_string()).help("build the overlay again");
                self.sayings.say(name, finding);
                Ok(())
            }
            None => self.artefacts(subject),
        }
    }

    /// Profiles name the boot program, or leave it to the imager, which takes one that loses the board at an upgrade.
    fn profile(&mut self, path: &str, text: &str, name: &str) {
        match talosimg::yaml::from_str::<ProfileHead>(path, text) {
            Ok(profile) if profile.bootloader().is_none() => {
                let message = format!("{path} names no boot program: for arm64 the imager then takes systemd-boot");
                let help = "boards without persistent EFI variables cannot be upgraded with it: write `bootloader: grub` under \
                            output.imageOptions";
                self.sayings.say(name, Finding::warning("OVL113", message).help(help));
            }
            Ok(_) => {}
            Err(error) => {
                let finding = Finding::error("OVL112", format!("{path}: {error}"));
                self.sayings.say(name, finding.help("the imager refuses a profile that it cannot read"));
            }
        }
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
