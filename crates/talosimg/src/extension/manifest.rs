//! `manifest.yaml`.

use std::fmt;

use imgcore::{Finding, Report};
use serde::{Deserialize, Deserializer};

use crate::{
    goyaml::{self, Value},
    yaml,
};

/// Name of the manifest in the root of an extension image.
pub const MANIFEST: &str = "manifest.yaml";
/// Name of the folder beside it.
pub const ROOTFS: &str = "rootfs";
/// The one version of the manifest's form.
pub const API_VERSION: &str = "v1alpha1";

/// `manifest.yaml` of a system extension (`pkg/machinery/extensions/metadata.go`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Manifest {
    /// The form of the manifest, [`API_VERSION`].
    pub version: String,
    /// What it says about the extension.
    pub metadata: Metadata,
}

/// What a manifest says about its extension. A node shows it (`talosctl get extensions`).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Metadata {
    /// Name, `realtek-firmware` say.
    pub name: String,
    /// Version of the extension.
    pub version: String,
    /// Who made it.
    pub author: String,
    /// What it is for.
    pub description: String,
    /// The Talos releases that it is for, a [`Range`](super::Range); empty is every release.
    pub talos: String,
    /// Further facts; the schematic in the Image Factory's own extension.
    pub extra_info: String,
}

impl Metadata {
    pub(super) fn to_value(&self) -> Value {
        let text = |text: &String| Value::Str(text.clone());
        let mut entries = vec![
            ("name", text(&self.name)),
            ("version", text(&self.version)),
            ("author", text(&self.author)),
            ("description", text(&self.description)),
            ("compatibility", Value::map([("talos", Value::map([("version", text(&self.talos))]))])),
        ];
        if !self.extra_info.is_empty() {
            entries.push(("extraInfo", text(&self.extra_info)));
        }
        Value::map(entries)
    }
}

impl Manifest {
    /// The text as the imager and the Image Factory write it.
    pub fn to_yaml(&self) -> String {
        let version = Value::from(self.version.as_str());
        goyaml::to_string(&Value::map([("version", version), ("metadata", self.metadata.to_value())]))
    }

    /// Reads a manifest. Scalars of any type are texts, `null` is the empty one, keys that the imager does not know are
    /// ignored as it does and named in a warning.
    pub fn parse(text: &[u8]) -> (Option<Self>, Report) {
        let mut report = Report::new();
        let fail = |mut report: Report, message: String| {
            report.push(
                Finding::error("EXT003", message).of(MANIFEST).help("write it as the extensions of Talos have theirs"),
            );
            (None, report)
        };
        let Ok(text) = std::str::from_utf8(text) else { return fail(report, "the manifest is not UTF-8".to_owned()) };
        // The imager reads the first document only.
        let first = yaml::first_document(text);
        let raw: RawManifest = match yaml::from_str(MANIFEST, first) {
            Ok(raw) => raw,
            Err(error) => return fail(report, format!("the manifest cannot be read: {error}")),
        };
        let mut unknown: Vec<String> = Vec::new();
        let mut names = |place: &str, other: &Other| unknown.extend(other.keys().map(|key| format!("{place}{key}")));
        names("", &raw.other);
        names("metadata.", &raw.metadata.other);
        names("metadata.compatibility.", &raw.metadata.compatibility.other);
        names("metadata.compatibility.talos.", &raw.metadata.compatibility.talos.other);
        if !unknown.is_empty() {
            report.push(
                Finding::warning("EXT016", format!("keys that Talos does not know: {}", unknown.join(", ")))
                    .of(MANIFEST)
                    .help("take them out, or correct their names: nothing reads them"),
            );
        }
        let metadata = raw.metadata;
        let manifest = Self {
            version: raw.version.0,
            metadata: Metadata {
                name: metadata.name.0,
                version: metadata.version.0,
                author: metadata.author.0,
                description: metadata.description.0,
                talos: metadata.compatibility.talos.version.0,
                extra_info: metadata.extra_info.0,
            },
        };
        if manifest.version != API_VERSION {
            let found = if manifest.version.is_empty() {
                "the manifest has no version".to_owned()
            } else {
                format!("the manifest's version is {:?}", manifest.version)
            };
            report.push(Finding::error("EXT004", format!("{found}, expected {API_VERSION}")).of(MANIFEST).help(
                format!(
                    "write `version: {API_VERSION}` as its first line; the extension's own version is metadata.version"
                ),
            ));
        }
        if manifest.metadata.name.trim().is_empty() {
            report.push(
                Finding::warning("EXT005", "the manifest names no extension: metadata.name is empty")
                    .of(MANIFEST)
                    .help("give it a name: `talosctl get extensions` shows it"),
            );
        }
        (Some(manifest), report)
    }
}

impl fmt::Display for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.metadata.name, self.metadata.version)
    }
}

type Other = serde_json::Map<String, serde_json::Value>;

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawManifest {
    version: Text,
    #[serde(deserialize_with = "or_default")]
    metadata: RawMetadata,
    #[serde(flatten)]
    other: Other,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct RawMetadata {
    name: Text,
    version: Text,
    author: Text,
    description: Text,
    #[serde(deserialize_with = "or_default")]
    compatibility: RawCompatibility,
    extra_info: Text,
    #[serde(flatten)]
    other: Other,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawCompatibility {
    #[serde(deserialize_with = "or_default")]
    talos: RawConstraint,
    #[serde(flatten)]
    other: Other,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct RawConstraint {
    version: Text,
    #[serde(flatten)]
    other: Other,
}

fn or_default<'de, T: Deserialize<'de> + Default, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Any scalar as its text, `null` as the empty one.
#[derive(Default)]
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Option::<String>::deserialize(deserializer)?.unwrap_or_default()))
    }
}
