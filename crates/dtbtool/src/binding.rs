//! Whose clock and reset numbers a tree uses, and the signs that tell.
//!
//! ```
//! use dtbtool::{BindingGeneration, Fdt, WriteOptions, binding, model::{DeviceTree, Node, Property}};
//!
//! let mut tree = DeviceTree::new();
//! let root = tree.root_mut();
//! root.children.push(Node::new("clock-controller@fd7c0000").with(Property::string("compatible", "rockchip,rk3588-cru")));
//! root.children.push(Node::new("fiq-debugger").with(Property::string("compatible", "rockchip,fiq-debugger")));
//! let bytes = tree.to_bytes(&WriteOptions::default())?;
//! let fdt = Fdt::parse(&bytes)?;
//! assert_eq!(binding::binding_generation(&fdt), Some(BindingGeneration::Vendor));
//! let report = binding::check(&fdt, BindingGeneration::Mainline);
//! assert_eq!(report.iter().next().unwrap().code, "DTB210");
//! # Ok::<(), dtbtool::Error>(())
//! ```

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::fmt;

use imgcore::{Finding, Report};

use crate::{
    rules,
    tree::shorten,
    view::{Fdt, Node},
};

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

/// A sign of a generation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// What it speaks for.
    pub generation: BindingGeneration,
    /// Whether it is a clock or reset number, which decides, or a node that only one side has.
    pub kind: EvidenceKind,
    /// What was seen, with the node's path.
    pub what: String,
    /// Offset of the node in the tree.
    pub offset: usize,
}

/// How much a sign weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EvidenceKind {
    /// A kernel's tree without anything that only vendor trees have: counts when there is nothing else.
    Absence,
    /// A node or string that only one side has: counts when no number can be compared.
    Node,
    /// A clock or reset number of a known device.
    Number,
}

/// A clock or reset of a known device: path, list of references, list of their names, name, number in the vendor's
/// kernel, number in mainline. Measured in the vendor 6.1 tree of the NanoPi M6 and in Debian's 6.12 trees. Other
/// chips than the RK3588 have the same numbers on both sides.
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

/// `compatible` strings that only vendor trees have, of any chip.
const VENDOR_ONLY: &[&str] = &[
    "rockchip,cpuinfo",
    "rockchip,cspmu",
    "rockchip,drm-logo",
    "rockchip,dwcmshc-sdhci",
    "rockchip,fiq-debugger",
    "rockchip,iep-v2",
    "rockchip,minidump",
    "rockchip,mpp-service",
    "rockchip,ram-vendor-storage",
    "rockchip,rk-ahci",
    "rockchip,rk3568-dmc",
    "rockchip,rk3588-dmc",
    "rockchip,rk3588-rkisp-unite",
    "rockchip,rkisp-vir",
    "rockchip,system-monitor",
    "rockchip,vendor-storage-rm",
    "rockchip,video-tunnel",
];
/// Endings of `compatible` strings of the maker that only vendor trees have.
const VENDOR_ENDINGS: &[&str] = &["-rknpu", "-rkisp", "-rkispp", "-pvtm", "-dmcdbg"];
/// Names of nodes that only vendor trees have, in front of any unit address.
const VENDOR_NAMES: &[&str] = &["fiq-debugger", "rk806single", "rk806master", "rkisp-unite", "rknpu", "vendor-storage"];
const MAINLINE_ONLY: &[&str] = &[
    "rockchip,rk3588-av1-vpu",
    "rockchip,rk3588-dwc-ahci",
    "rockchip,rk3588-pcie3-phy-grf",
    "rockchip,rk3588-rknn-core",
    "rockchip,rk3588-vepu121",
    "rockchip,rk3588-wdt",
];

/// A tree of so many nodes is a kernel's; those in boot programs are stripped.
const KERNEL_NODES: usize = 200;
/// Signs that are listed.
const LISTED: usize = 64;

/// The binding generation of a tree for a chip of Rockchip; `None` for another chip, or when the signs contradict
/// each other. Clock and reset numbers decide where they differ (RK3588 family); else nodes that only one side has;
/// else a kernel's tree that has nothing of a vendor's is mainline's.
pub fn binding_generation(fdt: &Fdt<'_>) -> Option<BindingGeneration> {
    decide(&evidence(fdt))
}

fn decide(signs: &[Evidence]) -> Option<BindingGeneration> {
    let best = signs.iter().map(|sign| sign.kind).max()?;
    let count = |generation| signs.iter().filter(|sign| sign.kind == best && sign.generation == generation).count();
    let (vendor, mainline) = (count(BindingGeneration::Vendor), count(BindingGeneration::Mainline));
    match vendor.cmp(&mainline) {
        std::cmp::Ordering::Greater => Some(BindingGeneration::Vendor),
        std::cmp::Ordering::Less => Some(BindingGeneration::Mainline),
        std::cmp::Ordering::Equal => None,
    }
}

/// Every sign of either generation, each `compatible` string and name once.
pub fn evidence(fdt: &Fdt<'_>) -> Vec<Evidence> {
    let is_cru = |text: &str| text.starts_with("rockchip,") && text.ends_with("-cru");
    let Some((_, cru)) = fdt.walk().find(|(_, node)| node.compatible().any(is_cru)) else { return Vec::new() };
    let mut signs = Vec::new();
    if cru.is_compatible("rockchip,rk3588-cru")
        && let Some(cru) = cru.phandle()
    {
        for (path, list, names, name, vendor, mainline) in NUMBERS {
            let Some(node) = fdt.find(path) else { continue };
            let Some(number) = number(node, list, names, name, cru) else { continue };
            let generation = match number {
                number if number == *vendor => BindingGeneration::Vendor,
                number if number == *mainline => BindingGeneration::Mainline,
                _ => continue,
            };
            let what = format!("{path} {list} {name} is {number} (vendor {vendor}, mainline {mainline})");
            signs.push(Evidence { generation, kind: EvidenceKind::Number, what, offset: node.offset() });
        }
    }
    let mut nodes = 0_usize;
    let mut seen = std::collections::BTreeSet::new();
    for (_, node) in fdt.walk() {
        nodes = nodes.saturating_add(1);
        if signs.len() < LISTED
            && let Some((generation, what)) = sign(node)
        {
            // One sign of a kind is as good as many.
            if !seen.insert(what.clone()) {
                continue;
            }
            let what = format!("{}: {what}", shorten(node.name()));
            signs.push(Evidence { generation, kind: EvidenceKind::Node, what, offset: node.offset() });
        }
    }
    if signs.is_empty() && nodes >= KERNEL_NODES {
        let what = format!("none of {nodes} nodes is one that only vendor trees have");
        let (generation, kind) = (BindingGeneration::Mainline, EvidenceKind::Absence);
        signs.push(Evidence { generation, kind, what, offset: fdt.root().offset() });
    }
    signs
}

fn sign(node: Node<'_>) -> Option<(BindingGeneration, String)> {
    let vendor = |text: &&str| {
        VENDOR_ONLY.contains(text)
            || text.strip_prefix("rockchip,").is_some_and(|rest| VENDOR_ENDINGS.iter().any(|end| rest.ends_with(end)))
    };
    let base_name = node.base_name();
    let compatible = node.property("compatible").and_then(|property| property.as_str_list());
    let strings = || compatible.clone().into_iter().flatten();
    if let Some(text) = strings().find(vendor) {
        return Some((BindingGeneration::Vendor, format!("{} is a vendor string", shorten(text))));
    }
    if VENDOR_NAMES.contains(&base_name) {
        return Some((BindingGeneration::Vendor, format!("{base_name} is a vendor name")));
    }
    if let Some(text) = strings().find(|text| MAINLINE_ONLY.contains(text)) {
        return Some((BindingGeneration::Mainline, format!("{} is a mainline string", shorten(text))));
    }
    let pmic = base_name == "pmic" && strings().any(|text| text == "rockchip,rk806");
    pmic.then(|| (BindingGeneration::Mainline, "mainline's name of the power controller".to_owned()))
}

/// The number that belongs to `name`, if it is one of the clock and reset unit `cru`, whose references are one
/// phandle and one number each.
fn number(node: Node<'_>, list: &str, names: &str, name: &str, cru: u32) -> Option<u32> {
    let index = node.property(names)?.as_str_list()?.position(|known| known == name)?;
    let mut cells = node.property(list)?.as_u32_list()?.skip(index.saturating_mul(2));
    let owner = cells.next()?;
    cells.next().filter(|_| owner == cru)
}

/// Whether a kernel of this generation can use the tree.
pub fn check(fdt: &Fdt<'_>, kernel: BindingGeneration) -> Report {
    let mut report = Report::new();
    let signs = evidence(fdt);
    let found = decide(&signs);
    let shown = |generation: Option<BindingGeneration>| {
        let best = signs.iter().map(|sign| sign.kind).max();
        let fitting = signs
            .iter()
            .filter(|sign| Some(sign.kind) == best && generation.is_none_or(|wanted| sign.generation == wanted));
        fitting.take(3).map(|sign| sign.what.clone()).collect::<Vec<_>>().join("; ")
    };
    match found {
        Some(found) if found != kernel => {
            let message = format!("the tree is for {found} kernels, the kernel is {kernel}: {}", shown(Some(found)));
            let start = signs.iter().find(|sign| sign.generation == found).map_or(0, |sign| sign.offset) as u64;
            let help = match kernel {
                BindingGeneration::Mainline => {
                    "use the board's tree from the kernel's own sources; a vendor tree makes a mainline kernel switch \
                     the wrong clocks and resets"
                }
                BindingGeneration::Vendor => "use the tree that came with the vendor's kernel",
            };
            report.push(Finding::error(rules::BINDING, message).at(start..start.saturating_add(4)).help(help));
        }
        Some(_) => {}
        None => {
            let message = if signs.is_empty() {
                "nothing tells whether the tree is for vendor or mainline kernels".to_owned()
            } else {
                format!("the tree's signs contradict each other: {}", shown(None))
            };
            report.push(Finding::info(rules::BINDING_UNKNOWN, message));
        }
    }
    report
}
