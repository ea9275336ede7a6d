//! JSON documents of an image: canonical when we write them, known by their bytes always.

use std::collections::BTreeMap;

use imgcore::{Blob, Digest};
use serde::Serialize;

use crate::{Error, ErrorKind, Platform, media};

/// A document and the bytes that it is known by. A digest is of these bytes, never of a serialisation made later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Media type.
    pub media_type: String,
    /// SHA-256 of `bytes`.
    pub digest: Digest,
    /// The document as stored.
    pub bytes: Vec<u8>,
}

impl Document {
    /// Serialises a value as canonical JSON: sorted keys, no white space, no floating point.
    pub(crate) fn canonical(media_type: &str, value: &impl Serialize) -> Result<Self, Error> {
        let bytes = canonical(media_type, value)?;
        Ok(Self { media_type: media_type.to_owned(), digest: Digest::of(&bytes), bytes })
    }

    pub(crate) fn descriptor(&self) -> Descriptor {
        Descriptor::new(&self.media_type, self.digest, self.bytes.len() as u64)
    }

    /// The bytes as a blob.
    pub fn blob(&self) -> Blob {
        Blob::new(self.digest.to_string(), std::sync::Arc::new(self.bytes.clone()), Some(self.digest))
    }
}

/// Canonical JSON by `olpc-cjson`. It writes control characters raw, which is no JSON: callers refuse them before.
pub(crate) fn canonical(what: &str, value: &impl Serialize) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    let formatter = olpc_cjson::CanonicalFormatter::new();
    let mut serializer = serde_json::Serializer::with_formatter(&mut bytes, formatter);
    value.serialize(&mut serializer).map_err(|source| ErrorKind::Json { what: what.to_owned(), source })?;
    Ok(bytes)
}

/// Refuses a text that would not survive canonical JSON.
pub(crate) fn check_text(field: &str, text: &str) -> Result<(), Error> {
    if text.chars().any(|c| c.is_ascii_control()) {
        return Err(ErrorKind::ControlCharacter { field: field.to_owned() }.into());
    }
    Ok(())
}

/// Refuses keys and values that would not survive canonical JSON.
pub(crate) fn check_map(what: &str, map: &BTreeMap<String, String>) -> Result<(), Error> {
    for (key, value) in map {
        check_text(&format!("a key of the {what}s"), key)?;
        check_text(&format!("{what} {key}"), value)?;
    }
    Ok(())
}

/// A reference to a document or a layer: media type, digest, size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Media type of the target.
    pub media_type: String,
    /// SHA-256 of the target's bytes.
    pub digest: Digest,
    /// Count of the target's bytes.
    pub size: u64,
    /// For which machines the target is, in an index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Free text by key.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Descriptor {
    /// A reference without platform and annotations.
    pub fn new(media_type: &str, digest: Digest, size: u64) -> Self {
        Self { media_type: media_type.to_owned(), digest, size, platform: None, annotations: BTreeMap::new() }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Index<'a> {
    pub(crate) schema_version: u32,
    pub(crate) media_type: &'a str,
    pub(crate) manifests: &'a [Descriptor],
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

impl<'a> Index<'a> {
    pub(crate) fn of(manifests: &'a [Descriptor], annotations: BTreeMap<String, String>) -> Self {
        Self { schema_version: 2, media_type: media::INDEX, manifests, annotations }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest<'a> {
    pub(crate) schema_version: u32,
    pub(crate) media_type: &'a str,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
pub(crate) struct Config<'a> {
    pub(crate) architecture: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) variant: Option<&'a str>,
    pub(crate) os: &'a str,
    pub(crate) created: String,
    /// Docker's loader and others expect the object, also when nothing is in it.
    #[serde(rename = "config")]
    pub(crate) run: RunConfig<'a>,
    pub(crate) rootfs: RootFs,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) history: Vec<History<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RunConfig<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) user: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(crate) env: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(crate) entrypoint: &'a [String],
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub(crate) cmd: &'a [String],
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) working_dir: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) labels: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
pub(crate) struct RootFs {
    #[serde(rename = "type")]
    pub(crate) kind: &'static str,
    pub(crate) diff_ids: Vec<Digest>,
}

#[derive(Serialize)]
pub(crate) struct History<'a> {
    pub(crate) created: String,
    pub(crate) created_by: &'a str,
}

/// One image of Docker's own archive format.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DockerImage {
    pub(crate) config: String,
    pub(crate) repo_tags: Vec<String>,
    pub(crate) layers: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_canonical_whatever_the_field_order() {
        let index =
            Index::of(&[], BTreeMap::from([("b".to_owned(), "\"\\é".to_owned()), ("a".to_owned(), String::new())]));
        let document = Document::canonical(media::INDEX, &index).expect("serialises");
        assert_eq!(
            String::from_utf8(document.bytes).expect("text"),
            r#"{"annotations":{"a":"","b":"\"\\é"},"manifests":[],"mediaType":"application/vnd.oci.image.index.v1+json","schemaVersion":2}"#
        );
    }

    #[test]
    fn a_text_with_control_characters_is_refused_by_its_field() {
        let map = BTreeMap::from([("maintainer".to_owned(), "a\nb".to_owned())]);
        let error = check_map("label", &map).expect_err("refused");
        assert!(error.to_string().starts_with("label maintainer holds a control character"), "{error}");
    }
}
