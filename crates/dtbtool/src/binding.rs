//! Whose clock and reset numbers a tree uses.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::fmt;

use crate::view::{Fdt, Node};

/// The generation of device tree bindings. Names are the same in both, clock and reset numbers are not: a kernel
/// given the other generation's tree switches the wrong clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BindingGeneration {
    /// The chip maker's kernels (5.10, 6.1) and those made from them.
    Vendor,
    /// Linux from kernel.org, and distributions that follow it.
    Mainline,
}

impl fmt::Display for BindingGeneration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Vendor => "vendor",
            Self::Mainline => "mainline",
        })
    }
}

/// A clock or reset of a known device: path, list of references, list of their names, name, number in the vendor's
/// kernel, number in mainline. Measured in the vendor 6.1 tree of the NanoPi M6 and in Debian's 6.12 trees.
type Number = (&'static str, &'static str, &'static str, &'static str, u32, u32);
const NUMBERS: &[Number] = &[
    ("/ethernet@fe1c0000", "clocks", "clock-names", "stmmaceth", 324, 310),
    ("/ethernet@fe1c0000", "clocks", "clock-names", "pclk_mac", 360, 345),
    ("/ethernet@fe1c0000", "resets", "reset-names", "stmmaceth", 523, 292),
    ("/serial@feb50000", "clocks", "clock-names", "baudclk", 187, 175),
    ("/mmc@fe2e0000", "clocks", "clock-names", "core", 314, 300),
    ("/mmc@fe2e0000", "resets", "reset-names", "core", 502, 280),
    ("/tsadc@fec00000", "clocks", "clock-names", "tsadc", 170, 158),
    ("/tsadc@fec00000", "resets", "reset-names", "tsadc-apb", 192, 86),
];

/// `compatible` strings that only one generation has.
const VENDOR_ONLY: &[&str] = &[
    "rockchip,dwcmshc-sdhci",
    "rockchip,fiq-debugger",
    "rockchip,mpp-service",
    "rockchip,rk-ahci",
    "rockchip,rk3588-dmc",
    "rockchip,rk3588-rknpu",
    "rockchip,rkisp-vir",
];
const MAINLINE_ONLY: &[&str] = &["rockchip,rk3588-dwc-ahci", "rockchip,rk3588-rknn-core", "rockchip,rk3588-wdt"];

/// The binding generation of a tree for the RK3588 family; `None` for another chip, or when the signs contradict
/// each other. The numbers decide; nodes that only one side has are asked when no number can be compared.
pub fn binding_generation(fdt: &Fdt<'_>) -> Option<BindingGeneration> {
    let (_, cru) = fdt.walk().find(|(_, node)| node.is_compatible("rockchip,rk3588-cru"))?;
    let cru = cru.phandle();
    let numbers = NUMBERS.iter().filter_map(|(path, list, names, name, vendor, mainline)| {
        let number = number(fdt.find(path)?, list, names, name, cru?)?;
        if number == *vendor {
            Some(BindingGeneration::Vendor)
        } else {
            (number == *mainline).then_some(BindingGeneration::Mainline)
        }
    });
    let signs = || {
        fdt.walk().filter_map(|(_, node)| {
            if node.compatible().any(|text| VENDOR_ONLY.contains(&text)) || node.name() == "rk806single@0" {
                Some(BindingGeneration::Vendor)
            } else {
                let mainline = node.compatible().any(|text| MAINLINE_ONLY.contains(&text))
                    || (node.name() == "pmic@0" && node.is_compatible("rockchip,rk806"));
                mainline.then_some(BindingGeneration::Mainline)
            }
        })
    };
    let (vendor, mainline) = count(numbers);
    if vendor == 0 && mainline == 0 { decide(count(signs())) } else { decide((vendor, mainline)) }
}

fn count(votes: impl Iterator<Item = BindingGeneration>) -> (usize, usize) {
    votes.fold((0, 0), |(vendor, mainline), vote| match vote {
        BindingGeneration::Vendor => (vendor.saturating_add(1), mainline),
        BindingGeneration::Mainline => (vendor, mainline.saturating_add(1)),
    })
}

fn decide((vendor, mainline): (usize, usize)) -> Option<BindingGeneration> {
    match vendor.cmp(&mainline) {
        std::cmp::Ordering::Greater => Some(BindingGeneration::Vendor),
        std::cmp::Ordering::Less => Some(BindingGeneration::Mainline),
        std::cmp::Ordering::Equal => None,
    }
}

/// The number that belongs to `name`, if it is one of the clock and reset unit `cru`, whose references are one
/// phandle and one number each.
fn number(node: Node<'_>, list: &str, names: &str, name: &str, cru: u32) -> Option<u32> {
    let index = node.property(names)?.as_str_list()?.position(|known| known == name)?;
    let mut cells = node.property(list)?.as_u32_list()?.skip(index.saturating_mul(2));
    let owner = cells.next()?;
    cells.next().filter(|_| owner == cru)
}
