//! Which program starts the kernel.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind};

/// The boot program of a disk image for arm64 (`spec/talos-image.md` §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Bootloader {
    /// GRUB on the ESP, kernel and initramfs on a partition of their own.
    Grub,
    /// systemd-boot and one UKI, both on the ESP.
    SdBoot,
}

impl Bootloader {
    /// Every boot program there is.
    pub const ALL: [Self; 2] = [Self::Grub, Self::SdBoot];

    /// The name in profiles, board files and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Grub => "grub",
            Self::SdBoot => "sd-boot",
        }
    }
}

impl FromStr for Bootloader {
    type Err = Error;

    fn from_str(word: &str) -> Result<Self, Error> {
        Self::ALL.into_iter().find(|known| known.name() == word).ok_or_else(|| {
            let nearest = imgcore::nearest(word, Self::ALL.map(Self::name));
            ErrorKind::Bootloader { word: word.to_owned(), nearest }.into()
        })
    }
}

impl fmt::Display for Bootloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_imager() {
        for bootloader in Bootloader::ALL {
            assert_eq!(bootloader.to_string().parse::<Bootloader>().unwrap(), bootloader);
            assert_eq!(serde_json::to_value(bootloader).unwrap(), bootloader.name());
        }
        let error = "sdboot".parse::<Bootloader>().unwrap_err().to_string();
        assert!(error.contains("did you mean \"sd-boot\"?"), "{error}");
        assert!(!"dual-boot-now".parse::<Bootloader>().unwrap_err().to_string().contains("did you"));
    }
}
