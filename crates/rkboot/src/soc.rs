//! Which SoCs there are, and what their BootROM takes.

use std::{fmt, str::FromStr};

use crate::{Error, ErrorKind};

/// Which form of idblock a BootROM reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum HeaderVersion {
    /// RC4-scrambled 512-byte header without hashes: RK3036 … RK3399, PX30, RK3308, RV11xx.
    V1,
    /// `RKNS` header of 2 KiB with SHA-256 hashes: RK35xx.
    V2,
}

impl fmt::Display for HeaderVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
        })
    }
}

macro_rules! socs {
    ($($variant:ident $name:literal $tag:literal $max:literal $rc4:ident $version:ident $doc:literal;)*) => {
        /// A Rockchip SoC family as `mkimage -n` names it.
        ///
        /// The table is `tools/rkcommon.c` of U-Boot (v2026.10-rc2, 6073c36b2c8d) with px3se, rk3326, rk1808 and
        /// rk3562 of Rockchip's v2017.09 tree.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Soc {
            $(#[doc = $doc] $variant,)*
        }

        const TABLE: &[(Soc, Row)] = &[
            $((Soc::$variant, Row {
                name: $name,
                tag: $tag,
                max_init: $max,
                payload_rc4: $rc4,
                version: HeaderVersion::$version,
            }),)*
        ];
    };
}

#[derive(Debug)]
struct Row {
    name: &'static str,
    tag: &'static str,
    max_init: u32,
    payload_rc4: bool,
    version: HeaderVersion,
}

// Upper limits are of the padded init image: the SRAM that the BootROM has left for it.
socs! {
    Px30   "px30"   "RK33" 0x2800   false V1 "PX30.";
    Px3se  "px3se"  "RK31" 0x1800   false V1 "PX3SE (vendor tree only).";
    Rk1808 "rk1808" "RK18" 0x1f_e000 false V1 "RK1808 (vendor tree only).";
    Rk3036 "rk3036" "RK30" 0x1000   false V1 "RK3036.";
    Rk3066 "rk3066" "RK30" 0x7800   true  V1 "RK3066.";
    Rk3128 "rk3128" "RK31" 0x1800   false V1 "RK3128.";
    Rk3188 "rk3188" "RK31" 0x7800   true  V1 "RK3188.";
    Rk322x "rk322x" "RK32" 0x7000   false V1 "RK3228, RK3229.";
    Rk3288 "rk3288" "RK32" 0x8000   false V1 "RK3288.";
    Rk3308 "rk3308" "RK33" 0x3_f000 false V1 "RK3308.";
    Rk3326 "rk3326" "RK33" 0x3000   false V1 "RK3326 (vendor tree only).";
    Rk3328 "rk3328" "RK32" 0x7800   false V1 "RK3328.";
    Rk3368 "rk3368" "RK33" 0x7000   false V1 "RK3368.";
    Rk3399 "rk3399" "RK33" 0x2_e000 false V1 "RK3399.";
    Rk3506 "rk3506" "RK35" 0xb000   false V2 "RK3506.";
    Rk3528 "rk3528" "RK35" 0xf000   false V2 "RK3528.";
    Rk3562 "rk3562" "RK35" 0xf000   false V2 "RK3562 (vendor tree only).";
    Rk3568 "rk3568" "RK35" 0xf000   false V2 "RK3568, RK3566.";
    Rk3576 "rk3576" "RK35" 0x7_f000 false V2 "RK3576.";
    Rk3588 "rk3588" "RK35" 0xf_f000 false V2 "RK3588, RK3588S.";
    Rv1108 "rv1108" "RK11" 0x1800   false V1 "RV1108.";
    Rv1126 "rv1126" "110B" 0xf000   false V1 "RV1126.";
}

/// mkimage knows the RK3566 as `rk3568` only: one die, one BootROM. Board files name the chip that is on the board.
const ALIASES: &[(&str, Soc)] = &[("rk3566", Soc::Rk3568)];

/// mkimage compares this many characters, so that `rk3588s` finds `rk3588`.
const COMPARED: usize = 6;

impl Soc {
    /// Every SoC, by name.
    pub fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|(soc, _)| *soc)
    }

    /// Looks a name up as `mkimage -n` does: by its first six characters. `rk3566` is taken as `rk3568`.
    ///
    /// ```
    /// use rkboot::Soc;
    ///
    /// assert_eq!(Soc::from_name("rk3588s"), Some(Soc::Rk3588));
    /// assert_eq!(Soc::from_name("px30"), Some(Soc::Px30));
    /// assert_eq!(Soc::from_name("px30x"), None);
    /// ```
    pub fn from_name(name: &str) -> Option<Self> {
        fn head(name: &str) -> impl Iterator<Item = u8> {
            name.bytes().take(COMPARED)
        }
        let table = TABLE.iter().map(|(soc, row)| (row.name, *soc));
        table.chain(ALIASES.iter().copied()).find(|(known, _)| head(known).eq(head(name))).map(|(_, soc)| soc)
    }

    fn row(self) -> &'static Row {
        const UNKNOWN: Row = Row { name: "?", tag: "", max_init: 0, payload_rc4: false, version: HeaderVersion::V2 };
        TABLE.iter().find(|(soc, _)| *soc == self).map_or(&UNKNOWN, |(_, row)| row)
    }

    /// The name in mkimage's table.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The four characters at the start of the init code of a v1 idblock. v2 blocks do not hold it.
    pub fn tag(self) -> &'static str {
        self.row().tag
    }

    /// The largest init image in bytes, padding to 2 KiB included.
    pub fn max_init(self) -> u32 {
        self.row().max_init
    }

    /// Whether the BootROM expects a scrambled payload (v1 only).
    pub fn payload_rc4(self) -> bool {
        self.row().payload_rc4
    }

    /// Which idblock the BootROM reads.
    pub fn header_version(self) -> HeaderVersion {
        self.row().version
    }
}

impl fmt::Display for Soc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Soc {
    type Err = Error;

    /// [`Soc::from_name`] with an error that offers the nearest known name.
    fn from_str(name: &str) -> Result<Self, Error> {
        Self::from_name(name).ok_or_else(|| {
            let known = TABLE.iter().map(|(_, row)| row.name).chain(ALIASES.iter().map(|(known, _)| *known));
            let name: String = name.chars().take(64).collect();
            ErrorKind::UnknownSoc { nearest: imgcore::nearest(&name, known), name }.into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_looked_up_as_mkimage_does() {
        for (name, expected) in [
            ("rk3588", Some(Soc::Rk3588)),
            ("rk3588s", Some(Soc::Rk3588)),
            ("rk3588-evb", Some(Soc::Rk3588)),
            ("rk3566", Some(Soc::Rk3568)),
            ("rk3562", Some(Soc::Rk3562)),
            ("rk322x", Some(Soc::Rk322x)),
            ("px30", Some(Soc::Px30)),
            ("px3se", Some(Soc::Px3se)),
            ("px30x", None),
            ("px3", None),
            ("rk35", None),
            ("RK3588", None),
            ("", None),
            ("rk9999", None),
        ] {
            assert_eq!(Soc::from_name(name), expected, "{name}");
        }
    }

    #[test]
    fn every_soc_finds_itself_and_the_table_is_sorted() {
        let names: Vec<_> = Soc::all().map(Soc::name).collect();
        assert!(names.is_sorted() && names.len() == 22, "{names:?}");
        for soc in Soc::all() {
            assert_eq!(Soc::from_name(soc.name()), Some(soc));
            assert_eq!(soc.max_init() % 2048, 0, "{soc}");
            assert_eq!(soc.tag().len(), 4);
            assert_eq!(soc.header_version() == HeaderVersion::V2, soc.tag() == "RK35");
        }
    }

    #[test]
    fn an_unknown_name_gets_the_nearest() {
        let message = |name: &str| name.parse::<Soc>().map_err(|error| error.to_string()).unwrap_err();
        assert!(message("rk3587").starts_with("unknown SoC: rk3587 (did you mean rk3588?); known are px30,"));
        assert!(!message("allwinner").contains("did you mean"));
    }
}
