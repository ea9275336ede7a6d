//! For which machines an image is.

use std::{fmt, str::FromStr};

use crate::{Error, ErrorKind};

/// Operating system and architecture in Go's words, as the OCI image specification has them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct Platform {
    /// `linux`.
    pub os: String,
    /// `arm64`, `amd64`.
    pub architecture: String,
    /// `v7` of `arm`; `arm64` needs none, and most images for it name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub variant: Option<String>,
}

impl Platform {
    /// A platform without variant.
    pub fn new(os: impl Into<String>, architecture: impl Into<String>) -> Self {
        Self { os: os.into(), architecture: architecture.into(), variant: None }
    }

    /// Whether an image for `self` runs where `wanted` is asked for: system and architecture are equal, and so is the
    /// variant, if `wanted` names one. `v8` is the variant of `arm64` that nobody needs to name.
    pub fn serves(&self, wanted: &Self) -> bool {
        let variant = |platform: &Self| match (platform.architecture.as_str(), platform.variant.as_deref()) {
            ("arm64", Some("v8")) => None,
            (_, variant) => variant.map(str::to_owned),
        };
        self.os == wanted.os
            && self.architecture == wanted.architecture
            && variant(wanted).is_none_or(|wanted| variant(self) == Some(wanted))
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        self.variant.as_ref().map_or(Ok(()), |variant| write!(f, "/{variant}"))
    }
}

impl FromStr for Platform {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split('/');
        let (os, architecture, variant) = (parts.next(), parts.next(), parts.next());
        let word = |word: &str| {
            !word.is_empty()
                && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
        };
        match (os, architecture) {
            (Some(os), Some(architecture))
                if word(os) && word(architecture) && variant.is_none_or(word) && parts.next().is_none() =>
            {
                Ok(Self { variant: variant.map(str::to_owned), ..Self::new(os, architecture) })
            }
            _ => Err(ErrorKind::Platform { text: text.to_owned() }.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_round_trip_and_nonsense_is_refused() {
        for text in ["linux/arm64", "linux/arm/v7", "windows/amd64"] {
            assert_eq!(text.parse::<Platform>().expect(text).to_string(), text);
        }
        for text in ["", "linux", "linux/", "/arm64", "linux/arm/v7/x", "linux/arm 64", "linux/arm/"] {
            assert!(text.parse::<Platform>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_image_serves_what_it_names() {
        for (image, wanted, expected) in [
            ("linux/arm64", "linux/arm64", true),
            ("linux/arm64/v8", "linux/arm64", true),
            ("linux/arm64", "linux/arm64/v8", true),
            ("linux/arm/v7", "linux/arm", true),
            ("linux/arm/v6", "linux/arm/v7", false),
            ("linux/amd64", "linux/arm64", false),
        ] {
            let parse = |text: &str| text.parse::<Platform>().expect("valid");
            assert_eq!(parse(image).serves(&parse(wanted)), expected, "{image} for {wanted}");
        }
    }
}
