//! The YAML on both sides of the executable. Upstream emits and reads YAML only, never JSON.

use std::{collections::BTreeMap, fmt};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use crate::{error::Result, yaml};

/// The answer to `get-options` (`pkg/machinery/overlay/overlay.go`).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Options {
    /// The name that the overlay gives itself: the board's.
    pub name: String,
    /// Kernel arguments in the order in which they reach the command line.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kernel_args: Vec<String>,
    /// Where the partitions begin.
    #[serde(default, skip_serializing_if = "PartitionOptions::is_empty")]
    pub partition_options: PartitionOptions,
}

/// What an overlay wants of the partition table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PartitionOptions {
    /// Count of LBAs that are skipped between GPT header and entry array: the array begins at LBA 2 + `offset`.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub offset: u64,
}

impl PartitionOptions {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn is_empty(&self) -> bool {
        self.offset == 0
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(offset: &u64) -> bool {
    *offset == 0
}

impl Options {
    /// The text for standard output.
    pub fn to_yaml(&self) -> Result<String> {
        yaml::to_string("answer to get-options", self)
    }

    /// Reads an answer, ours or another overlay's.
    pub fn parse(text: &str) -> Result<Self> {
        yaml::from_str("answer to get-options", text)
    }
}

/// What `install` is asked. Keys that are not listed are ignored, because upstream may add some.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InstallOptions {
    /// The disk: a block device, or the raw image file itself (imager 1.13 with GRUB).
    pub install_disk: String,
    /// What stands before `/boot/EFI`; empty on a node.
    #[serde(default)]
    pub mount_prefix: String,
    /// The folder `artifacts` of the unpacked overlay image.
    pub artifacts_path: String,
    /// The user's overlay options.
    #[serde(default)]
    pub extra_options: ExtraOptions,
}

impl InstallOptions {
    /// Reads the request from standard input's text.
    pub fn parse(text: &str) -> Result<Self> {
        yaml::from_str("request of install", text)
    }
}

/// The user's overlay options: a YAML map. Nothing, `null` and `{}` are all the empty map.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct ExtraOptions(pub BTreeMap<String, OptionValue>);

impl ExtraOptions {
    /// Reads the request of `get-options` from standard input's text.
    pub fn parse(text: &str) -> Result<Self> {
        // An empty document is no value for the parser, but the protocol's way to say "no options".
        if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
            return Ok(Self::default());
        }
        yaml::from_str("overlay options", text)
    }
}

impl<'de> Deserialize<'de> for ExtraOptions {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        Ok(Self(Option::deserialize(deserializer)?.unwrap_or_default()))
    }
}

/// The value of an overlay option, as far as options are compared: scalars by their text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OptionValue {
    /// A string, number or boolean, as text.
    Scalar(String),
    /// `null`.
    Null,
    /// A map.
    Map,
    /// A list.
    List,
}

impl From<&str> for OptionValue {
    fn from(text: &str) -> Self {
        Self::Scalar(text.to_owned())
    }
}

impl fmt::Display for OptionValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Scalar(text) => write!(f, "{text:?}"),
            Self::Null => f.write_str("null"),
            Self::Map => f.write_str("a map"),
            Self::List => f.write_str("a list"),
        }
    }
}

impl Serialize for OptionValue {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            Self::Scalar(text) => serializer.serialize_str(text),
            Self::Null => serializer.serialize_unit(),
            Self::Map => BTreeMap::<(), ()>::new().serialize(serializer),
            Self::List => [(); 0].serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for OptionValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct AnyValue;
        impl<'de> Visitor<'de> for AnyValue {
            type Value = OptionValue;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_bool<E>(self, value: bool) -> std::result::Result<OptionValue, E> {
                Ok(OptionValue::Scalar(value.to_string()))
            }

            fn visit_i64<E>(self, value: i64) -> std::result::Result<OptionValue, E> {
                Ok(OptionValue::Scalar(value.to_string()))
            }

            fn visit_u64<E>(self, value: u64) -> std::result::Result<OptionValue, E> {
                Ok(OptionValue::Scalar(value.to_string()))
            }

            fn visit_f64<E>(self, value: f64) -> std::result::Result<OptionValue, E> {
                Ok(OptionValue::Scalar(value.to_string()))
            }

            fn visit_str<E>(self, value: &str) -> std::result::Result<OptionValue, E> {
                Ok(OptionValue::Scalar(value.to_owned()))
            }

            fn visit_unit<E>(self) -> std::result::Result<OptionValue, E> {
                Ok(OptionValue::Null)
            }

            fn visit_none<E>(self) -> std::result::Result<OptionValue, E> {
                Ok(OptionValue::Null)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<OptionValue, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(OptionValue::Map)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<OptionValue, A::Error> {
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(OptionValue::List)
            }
        }
        deserializer.deserialize_any(AnyValue)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn extra(pairs: &[(&str, OptionValue)]) -> ExtraOptions {
        ExtraOptions(pairs.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect())
    }

    #[test]
    fn no_options_are_said_in_several_ways() {
        for text in ["", "\n", "{}\n", "null\n", "~", "---\n{}\n", "# nothing\n"] {
            assert_eq!(ExtraOptions::parse(text).unwrap(), ExtraOptions::default(), "{text:?}");
        }
    }

    #[test]
    fn scalars_are_text_whatever_yaml_takes_them_for() {
        for (text, value) in [
            ("a: nanopi-m6", "nanopi-m6".into()),
            ("a: \"5\"", "5".into()),
            ("a: 5", "5".into()),
            ("a: -5", "-5".into()),
            ("a: true", "true".into()),
            ("a: \"true\"", "true".into()),
            ("a: 1.5", "1.5".into()),
            ("a: ''", "".into()),
            ("a:", OptionValue::Null),
            ("a: {b: [1, {c: d}]}", OptionValue::Map),
            ("a: [1, 2]", OptionValue::List),
            ("'a': é", "é".into()),
            ("{\"a\": \"json\"}", "json".into()),
        ] {
            assert_eq!(ExtraOptions::parse(text).unwrap(), extra(&[("a", value)]), "{text}");
        }
    }

    #[test]
    fn what_is_no_map_is_refused_with_its_place() {
        for text in ["- a", "text", "a: 1\na: 2", "a: [", "a: b: c"] {
            let error = ExtraOptions::parse(text).unwrap_err().to_string();
            assert!(error.starts_with("overlay options: "), "{text}: {error}");
        }
    }

    #[test]
    fn requests_are_read_with_and_without_options_and_with_keys_to_come() {
        let text = "installDisk: /dev/loop0\nmountPrefix: image\nartifactsPath: overlay/artifacts\n\
                    extraOptions:\n    board: nanopi-m6\nfutureKey: {a: b}\n";
        let read = InstallOptions::parse(text).unwrap();
        assert_eq!(
            (read.install_disk.as_str(), read.mount_prefix.as_str(), read.artifacts_path.as_str(), read.extra_options),
            ("/dev/loop0", "image", "overlay/artifacts", extra(&[("board", "nanopi-m6".into())]))
        );
        let node = InstallOptions::parse("installDisk: /dev/sda\nmountPrefix: \"\"\nartifactsPath: /a\n").unwrap();
        assert_eq!((node.mount_prefix.as_str(), node.extra_options), ("", ExtraOptions::default()));
        let error = InstallOptions::parse("mountPrefix: image\nartifactsPath: a\n").unwrap_err().to_string();
        assert!(error.contains("installDisk"), "{error}");
    }

    #[test]
    fn answers_round_trip_and_leave_out_what_is_empty() {
        let full = Options {
            name: "no".to_owned(),
            kernel_args: vec!["a=\"b c\"".to_owned(), "- x".to_owned(), "#".to_owned(), "é: y".to_owned()],
            partition_options: PartitionOptions { offset: 20_480 },
        };
        assert_eq!(Options::parse(&full.to_yaml().unwrap()).unwrap(), full);
        let bare = Options { name: "m6".to_owned(), ..Options::default() };
        assert_eq!(bare.to_yaml().unwrap(), "name: m6\n");
        assert_eq!(Options::parse("name: m6\n").unwrap(), bare);
    }
}
