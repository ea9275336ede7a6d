//! What an upgrade through Omni does with a node that runs an image of ours.
//!
//! Omni asks the Image Factory for the installer of the node's schematic, which it reads from the extension of that
//! name. What the Image Factory does not know, it cannot build: it takes overlays and extensions of Sidero Labs alone
//! (image-factory#177; other catalogs are of its Enterprise edition, #395 and #491). A node with extensions and without
//! a schematic counts as invalid (omni#2488, #3398).

use std::fmt;

use imgcore::Finding;
use serde::{Deserialize, Serialize};

use crate::schematic::{Schematic, official_name};

/// What an upgrade through Omni does, for programs; [`Report`] has the sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Upgrade {
    /// Omni takes the node for a plain one and installs Talos without the overlay: the board may stay dark.
    LosesOverlay,
    /// Omni cannot tell what the image is made of, and does not manage the node's Talos; older ones install a plain one.
    InvalidSchematic,
    /// The Image Factory refuses the schematic: nothing is installed, the node goes on as it is.
    Refused,
    /// It works, with the Image Factory's own build of everything.
    FactoryBuild,
}

/// What is known of an image.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Image<'a> {
    /// The schematic that the image records, if it records one.
    pub schematic: Option<&'a Schematic>,
    /// Whether the image has an overlay.
    pub overlay: bool,
    /// Names of extensions in the image that its schematic does not name, or all where it records none.
    pub other_extensions: &'a [String],
    /// Whether the kernel is another one than the release's.
    pub other_kernel: bool,
}

/// An outcome and its reasons.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// What happens.
    pub outcome: Upgrade,
    /// In words, with what to do.
    pub sentence: String,
}

/// What an upgrade through Omni does with a node that runs this image.
pub fn upgrade(image: &Image<'_>) -> Report {
    let own = "upgrade with `talosctl upgrade --image` and the installer image of this build";
    let Some(schematic) = image.schematic else {
        if !image.other_extensions.is_empty() {
            return Report {
                outcome: Upgrade::InvalidSchematic,
                sentence: format!(
                    "the image has extensions ({}) and records no schematic: Omni calls the node's schematic invalid, and \
                     older versions of it install Talos without {} when they upgrade; record the schematic in the image, or {own}",
                    image.other_extensions.join(", "),
                    if image.overlay { "the overlay and the extensions" } else { "the extensions" },
                ),
            };
        }
        return if image.overlay {
            Report {
                outcome: Upgrade::LosesOverlay,
                sentence: format!(
                    "the image records no schematic, so Omni takes the node for a plain one: an upgrade through Omni installs Talos \
                     without the overlay, and the board may not start again; record the schematic in the image, or {own}"
                ),
            }
        } else {
            Report {
                outcome: Upgrade::FactoryBuild,
                sentence: format!(
                    "Omni upgrades the node with the Image Factory's plain installer{}",
                    losses(image, own)
                ),
            }
        };
    };
    let overlay = &schematic.overlay;
    let mut unknown = Vec::new();
    if !overlay.image.is_empty() && !official_overlay(&overlay.image) {
        unknown.push(format!("the overlay {} ({})", overlay.name, overlay.image));
    }
    let extensions = schematic.customization.official_extensions.iter();
    unknown
        .extend(extensions.filter(|name| !name.starts_with("siderolabs/")).map(|name| format!("the extension {name}")));
    if !unknown.is_empty() {
        return Report {
            outcome: Upgrade::Refused,
            sentence: format!(
                "the public Image Factory does not have {}: it takes the schematic, but refuses to build an installer of it, so an \
                 upgrade through Omni fails and the node goes on as it is; {own}",
                unknown.join(" and "),
            ),
        };
    }
    if image.overlay && overlay.image.is_empty() {
        return Report {
            outcome: Upgrade::LosesOverlay,
            sentence: format!(
                "the schematic of the image names no overlay, and the image has one: an upgrade through Omni installs Talos without \
                 it, and the board may not start again; name the overlay in the schematic, or {own}"
            ),
        };
    }
    let what = if overlay.image.is_empty() {
        "an installer of this schematic".to_owned()
    } else {
        format!(
            "an installer of this schematic, with its own build of {} for the release that is installed",
            overlay.image
        )
    };
    Report {
        outcome: Upgrade::FactoryBuild,
        sentence: format!("Omni upgrades the node with the Image Factory's build of {what}{}", losses(image, own)),
    }
}

/// What the Image Factory's build does not have.
fn losses(image: &Image<'_>, own: &str) -> String {
    let mut lost = image.other_extensions.to_vec();
    if image.other_kernel {
        lost.push("the kernel of this build".to_owned());
    }
    if lost.is_empty() { String::new() } else { format!(", which is without {}; to keep that, {own}", lost.join(", ")) }
}

/// Overlays of Sidero Labs, with or without the registry and a tag.
fn official_overlay(image: &str) -> bool {
    let name = official_name(image).unwrap_or_else(|| image.to_owned());
    name.strip_prefix("siderolabs/sbc-").is_some_and(|rest| !rest.contains('/'))
}

impl Report {
    /// A warning (`OMN001`) where a node is lost, an information (`OMN002`) where an upgrade fails or changes something.
    pub fn finding(&self) -> Finding {
        match self.outcome {
            Upgrade::LosesOverlay | Upgrade::InvalidSchematic => Finding::warning("OMN001", self.sentence.clone()),
            Upgrade::Refused | Upgrade::FactoryBuild => Finding::info("OMN002", self.sentence.clone()),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sentence)
    }
}
