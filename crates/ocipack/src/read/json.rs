//! The documents of an image as they come: every field may be missing or strange.
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, IgnoredAny, SeqAccess, Visitor},
};

/// Descriptors of one list. Each takes ten times the memory of the least text that makes one.
const DESCRIPTOR_LIMIT: usize = 65_536;

pub(crate) type Texts = BTreeMap<String, String>;

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) digest: String,
    pub(crate) size: u64,
    pub(crate) platform: Option<Platform>,
    pub(crate) annotations: Option<Texts>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Platform {
    #[serde(default)]
    pub(crate) os: String,
    #[serde(default)]
    pub(crate) architecture: String,
    pub(crate) variant: Option<String>,
}

/// An index or a manifest: one type, so that a document that is both is seen.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Document {
    pub(crate) schema_version: Option<u64>,
    pub(crate) media_type: Option<String>,
    pub(crate) artifact_type: Option<String>,
    #[serde(default, deserialize_with = "descriptors")]
    pub(crate) manifests: Option<Vec<Descriptor>>,
    pub(crate) config: Option<Descriptor>,
    #[serde(default, deserialize_with = "descriptors")]
    pub(crate) layers: Option<Vec<Descriptor>>,
    /// Docker's schema 1.
    pub(crate) fs_layers: Option<IgnoredAny>,
    pub(crate) annotations: Option<Texts>,
}

/// A list or null, given up as soon as it is too long.
fn descriptors<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<Descriptor>>, D::Error> {
    struct Counted;

    impl<'de> Visitor<'de> for Counted {
        type Value = Option<Vec<Descriptor>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "at most {DESCRIPTOR_LIMIT} descriptors")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut read = Vec::new();
            while let Some(descriptor) = list.next_element()? {
                if read.len() >= DESCRIPTOR_LIMIT {
                    return Err(A::Error::invalid_length(read.len().saturating_add(1), &self));
                }
                read.push(descriptor);
            }
            Ok(Some(read))
        }
    }

    deserializer.deserialize_any(Counted)
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Config {
    #[serde(default)]
    pub(crate) os: String,
    #[serde(default)]
    pub(crate) architecture: String,
    pub(crate) variant: Option<String>,
    pub(crate) created: Option<String>,
    #[serde(rename = "config")]
    pub(crate) run: Option<Run>,
    pub(crate) rootfs: Option<RootFs>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Run {
    pub(crate) user: Option<String>,
    pub(crate) env: Option<Vec<String>>,
    pub(crate) entrypoint: Option<Vec<String>>,
    pub(crate) cmd: Option<Vec<String>>,
    pub(crate) working_dir: Option<String>,
    pub(crate) labels: Option<Texts>,
}

#[derive(Debug, Clone, Deserialize)]
pub(crate) struct RootFs {
    pub(crate) diff_ids: Option<Vec<String>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Layout {
    pub(crate) image_layout_version: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DockerImage {
    pub(crate) config: String,
    pub(crate) repo_tags: Option<Vec<String>>,
    pub(crate) layers: Vec<String>,
}

/// The digest, if it is written as the specification says.
pub(crate) fn digest(text: &str) -> Option<imgcore::Digest> {
    text.parse::<imgcore::Digest>().ok().filter(|digest| digest.to_string() == text)
}
