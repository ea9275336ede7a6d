//! `build.json`: what went into an image, where it is, and what came out. The same build writes the same bytes: no
//! times, no host paths, no secrets.

use imgcore::{Digest, Layout, Report};
use serde::{Deserialize, Serialize};
use talosimg::{omni, schematic::Schematic};

use crate::{
    body::{Place, Plan},
    initrd::LayerRecord,
};

/// Name of the record among the outputs.
pub const BUILD_JSON: &str = "build.json";

/// The record of one build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Record {
    /// Shape of this record: 1.
    pub schema: u32,
    /// Program and version that wrote it.
    pub generator: String,
    /// Board, by the name in its file.
    pub board: String,
    /// SHA-256 of the board file.
    pub board_file: Digest,
    /// Boot scenario.
    pub boot: Option<String>,
    /// Talos release.
    pub talos: String,
    /// Boot loader of the image.
    pub bootloader: String,
    /// Architecture of the image.
    pub arch: String,
    /// The instant that reached bytes, in seconds since 1970.
    pub epoch: u64,
    /// Kernel command line; `jointoken=` is there by digest only.
    pub command_line: Option<String>,
    /// Release that the kernel says it has.
    pub kernel_release: Option<String>,
    /// META values: key and SHA-256 of the value.
    pub meta: Vec<MetaRecord>,
    /// Size of the raw image in bytes.
    pub size: Option<u64>,
    /// SHA-256 over what the raw image is made of.
    pub plan: Option<Digest>,
    /// Who owns which bytes of the raw image.
    pub layout: Vec<RangeRecord>,
    /// Everything that went in.
    pub inputs: Vec<InputRecord>,
    /// System extensions in the initramfs, in the order of the nodes' list.
    #[serde(default)]
    pub extensions: Vec<LayerRecord>,
    /// What the image is made of, in the words of the Image Factory.
    #[serde(default)]
    pub schematic: SchematicRecord,
    /// What an upgrade through Omni does with the node.
    #[serde(default = "unknown_upgrade")]
    pub omni_upgrade: omni::Report,
    /// The overlay image, if one was built.
    pub overlay: Option<OutputRecord>,
    /// The raw images by format.
    pub images: Vec<OutputRecord>,
    /// The installer image, if one was built.
    pub installer: Option<OutputRecord>,
    /// The image for SPI flash, if the board has such flash.
    #[serde(default)]
    pub spi: Option<OutputRecord>,
    /// The stages that start the image, as far as they are known.
    #[serde(default)]
    pub boot_flow: serde_json::Value,
    /// Codes that `--allow` named.
    pub allowed: Vec<String>,
    /// Codes of all warnings, sorted, without repeats.
    pub warnings: Vec<String>,
}

fn unknown_upgrade() -> omni::Report {
    omni::upgrade(&omni::Image { overlay: true, ..omni::Image::default() })
}

/// A schematic of the Image Factory.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SchematicRecord {
    /// Its identifier, of the whole text.
    pub id: String,
    /// Its text; join tokens, META values and an embedded configuration are there by digest only.
    pub text: String,
    /// Whether the image carries it.
    pub recorded: bool,
}

impl SchematicRecord {
    /// The record of a schematic.
    pub(crate) fn of(schematic: &Schematic, recorded: bool) -> Self {
        let digest = |text: &str| Digest::of(text.as_bytes()).to_string();
        let mut shown = schematic.clone();
        let customization = &mut shown.customization;
        for argument in &mut customization.extra_kernel_args {
            *argument = redact(argument);
        }
        for (_, value) in &mut customization.meta {
            *value = digest(value);
        }
        if !customization.embedded_machine_configuration.is_empty() {
            customization.embedded_machine_configuration = digest(&customization.embedded_machine_configuration);
        }
        Self { id: schematic.id(), text: shown.to_yaml(), recorded }
    }
}

/// A META value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetaRecord {
    /// Tag.
    pub key: u8,
    /// SHA-256 of the value.
    pub sha256: Digest,
}

/// A range of the raw image, half-open, in bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RangeRecord {
    /// Whose it is.
    pub owner: String,
    /// First byte.
    pub start: u64,
    /// Byte after the last.
    pub end: u64,
}

/// Something that went in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct InputRecord {
    /// Role.
    pub name: String,
    /// SHA-256 of the input.
    pub sha256: Digest,
    /// Size of the input in bytes.
    pub size: u64,
    /// Origin without host paths.
    pub origin: String,
    /// Licence, if the lock knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
    /// SHA-256 of its bytes in the image; another than `sha256` if it was cut.
    pub written: Digest,
    /// Where those bytes are.
    pub place: Place,
}

/// An output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputRecord {
    /// File name.
    pub name: String,
    /// SHA-256 of the file.
    pub sha256: Digest,
    /// Size in bytes.
    pub size: u64,
}

/// The ranges of a layout.
pub(crate) fn ranges(layout: &Layout) -> Vec<RangeRecord> {
    let row = |labelled: &imgcore::Labelled| RangeRecord {
        owner: labelled.owner.clone(),
        start: labelled.range.start,
        end: labelled.range.end,
    };
    layout.sorted().into_iter().map(row).collect()
}

/// Inputs of a plan.
pub(crate) fn inputs(plan: &Plan) -> Vec<InputRecord> {
    use imgcore::ReadAt as _;
    let row = |(input, written, place): &(crate::inputs::Input, Digest, Place)| InputRecord {
        name: input.name.clone(),
        sha256: input.sha256,
        size: input.blob.size(),
        origin: input.origin.clone(),
        licence: input.licence.clone(),
        written: *written,
        place: place.clone(),
    };
    plan.inputs.iter().map(row).collect()
}

/// Codes of warnings, sorted, without repeats.
pub(crate) fn warnings(report: &Report) -> Vec<String> {
    let warnings = report.iter().filter(|finding| finding.severity == imgcore::Severity::Warning);
    warnings.map(|finding| finding.code.to_owned()).collect::<std::collections::BTreeSet<_>>().into_iter().collect()
}

/// Keys whose values are secrets, and whether `&` ends them as white space does: the join token is part of a URL, an
/// embedded configuration is base64.
const SECRETS: [(&str, bool); 3] =
    [("jointoken=", true), ("talos.config.inline=", false), ("talos.config.early=", false)];

/// Whether a command line has a value that [`redact`] replaces.
pub(crate) fn has_secrets(command_line: &str) -> bool {
    redact(command_line) != command_line
}

/// Replaces the value of every secret by its digest: what is recorded and shown may be published.
pub fn redact(command_line: &str) -> String {
    let mut text = String::with_capacity(command_line.len());
    let mut rest = command_line;
    loop {
        let next = SECRETS.iter().filter_map(|(key, url)| rest.find(key).map(|at| (at, key.len(), *url))).min();
        let Some((at, length, url)) = next else { break };
        let (before, value) = rest.split_at(at + length);
        let end = value.find(|c: char| c.is_whitespace() || (url && c == '&')).unwrap_or(value.len());
        let (secret, after) = value.split_at(end);
        text.push_str(before);
        text.push_str(&Digest::of(secret.as_bytes()).to_string());
        rest = after;
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn join_tokens_are_recorded_by_digest() {
        let digest = Digest::of(b"s3cret").to_string();
        assert_eq!(
            redact("a=b siderolink.api=https://h?grpc_tunnel=true&jointoken=s3cret c=d jointoken=s3cret"),
            format!("a=b siderolink.api=https://h?grpc_tunnel=true&jointoken={digest} c=d jointoken={digest}")
        );
        assert_eq!(redact("talos.config.inline=s3cret a=b"), format!("talos.config.inline={digest} a=b"));
        assert_eq!(redact("a=b"), "a=b");
    }
}
