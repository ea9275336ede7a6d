//! Does this second stage start what a boot partition carries?
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use dtbtool::Fdt;
use imgcore::{ByteSize, Finding, Report};

use super::{Abilities, Answer, EfiVariables, FirmwareKind, FirstStage, Medium};
use crate::{Soc, rules, util::quote};

/// What mainline U-Boot loads as a device tree at most (`EFI_DTB_SIZE`… 4 MiB, `rockchip-boot.md` §6.3).
pub const DTB_LIMIT: u64 = 4 * 1024 * 1024;

/// A device tree on the boot partition.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CarriedTree {
    /// Path from the root of the partition: `/dtb/rockchip/rk3588s-nanopi-m6.dtb`.
    pub path: String,
    /// Size in bytes, if known.
    pub size: Option<u64>,
    /// The root's `compatible`, empty if not known.
    pub compatible: Vec<String>,
    /// The root's `model`.
    pub model: Option<String>,
}

impl CarriedTree {
    /// With what the tree's bytes say.
    pub fn new(path: impl Into<String>, bytes: &[u8]) -> Self {
        let mut tree = Self { path: path.into(), size: Some(bytes.len() as u64), ..Self::default() };
        if let Ok(fdt) = Fdt::parse(bytes) {
            tree.compatible = fdt.root().compatible().take(16).map(quote).collect();
            tree.model = fdt.root().property("model").and_then(|model| model.as_str()).map(quote);
        }
        tree
    }

    /// With its path alone.
    pub fn named(path: impl Into<String>) -> Self {
        Self { path: path.into(), ..Self::default() }
    }
}

/// What is on the boot partition of an image.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Carried {
    /// `EFI/BOOT/BOOTAA64.EFI` is there.
    pub efi_fallback_loader: bool,
    /// `extlinux/extlinux.conf` is there.
    pub extlinux: bool,
    /// `boot.scr` or `boot.scr.uimg` is there.
    pub boot_script: bool,
    /// There is an Android boot partition.
    pub android: bool,
    /// What is started has to find EFI variables again that the running system has set: a boot loader that is told by
    /// them which of several systems to start.
    pub needs_efi_variables: bool,
    /// The device trees on the partition.
    pub trees: Vec<CarriedTree>,
}

impl Carried {
    fn ways(&self) -> [(&'static str, bool); 4] {
        [
            ("EFI (EFI/BOOT/BOOTAA64.EFI)", self.efi_fallback_loader),
            ("extlinux/extlinux.conf", self.extlinux),
            ("boot.scr", self.boot_script),
            ("an Android boot image", self.android),
        ]
    }
}

/// What is wrong with boot files that hold no second stage, when an image carries something to be started: nobody starts
/// it. For files that are all there is in front of the image; `first` is the first stage in them, if there is one.
///
/// ```
/// use rkboot::flow::{self, Carried};
///
/// let carried = Carried { efi_fallback_loader: true, ..Carried::default() };
/// assert_eq!(flow::check_missing(None, &carried).iter().next().unwrap().code, "FLW017");
/// assert!(flow::check_missing(None, &Carried::default()).is_empty());
/// ```
pub fn check_missing(first: Option<&FirstStage>, carried: &Carried) -> Report {
    let there: Vec<_> = carried.ways().iter().filter(|(_, there)| *there).map(|(name, _)| *name).collect();
    if there.is_empty() {
        return Report::new();
    }
    let what = match first {
        Some(first) => {
            let version = first.version.as_deref().map_or_else(String::new, |text| format!(", {}", quote(text)));
            format!("there is a first stage ({}{version}) and", first.kind.describe())
        }
        None => "these boot files hold neither a first nor".to_owned(),
    };
    let none = if first.is_some() { "no second stage" } else { "a second stage" };
    let finding = Finding::error(
        rules::FLW_NO_SECOND,
        format!("{what} {none}: nothing starts what the image carries ({})", there.join(", ")),
    )
    .help("add what the SPL starts: u-boot.itb or uboot.img with U-Boot or EDK2, at sector 16384");
    Report::from_iter([finding])
}

/// Compares what a second stage can start with what is there to be started.
pub fn check(abilities: &Abilities, carried: &Carried) -> Report {
    let mut report = Report::new();
    if abilities.kind == FirmwareKind::Unknown {
        report.push(
            Finding::warning(
                rules::FLW_UNKNOWN,
                "the second stage is not known: nothing tells whether it starts what the image carries",
            )
            .help("look at the board's serial console, or take a U-Boot whose version text can be read"),
        );
        return report;
    }
    let by_efi = check_way(abilities, carried, &mut report);
    // Whoever takes another second stage because of the first reason should know of the second.
    check_variables(abilities, carried, &mut report);
    if by_efi {
        check_tree_name(abilities, carried, &mut report);
    }
    check_built_in(abilities, carried, &mut report);
    if abilities.kind == FirmwareKind::UBootMainline && abilities.stable_mac == Answer::Unknown {
        report.push(
            Finding::info(
                rules::FLW_RANDOM_MAC,
                "no sign that this U-Boot derives an Ethernet address from the chip: it may be another after every start",
            )
            .help("set `local-mac-address` in the device tree, or give the address in the network configuration"),
        );
    }
    report
}

/// The part of [`check`] that is about device trees alone: their names, sizes, and which board they are for.
pub fn check_trees(abilities: &Abilities, carried: &Carried) -> Report {
    let mut report = Report::new();
    if abilities.efi != Answer::No {
        check_tree_name(abilities, carried, &mut report);
    }
    check_built_in(abilities, carried, &mut report);
    report
}

/// Whether the image starts, and by EFI.
fn check_way(abilities: &Abilities, carried: &Carried, report: &mut Report) -> bool {
    let able = [abilities.efi, abilities.extlinux, abilities.boot_scripts, abilities.android];
    let ways = carried.ways();
    let common: Vec<_> = ways
        .iter()
        .zip(able)
        .filter(|((_, there), able)| *there && *able != Answer::No)
        .map(|(way, _)| way.0)
        .collect();
    if common.is_empty() {
        let there: Vec<_> = ways.iter().filter(|(_, there)| *there).map(|(name, _)| *name).collect();
        let there = if there.is_empty() { "nothing to start from".to_owned() } else { there.join(", ") };
        let version = abilities.version.as_deref().unwrap_or(abilities.kind.describe());
        let cause = match (abilities.kind, abilities.efi, carried.efi_fallback_loader) {
            (FirmwareKind::UBootVendor, Answer::No, true) => {
                ": it was built without EFI (CONFIG_EFI_LOADER is off), so it runs neither GRUB, nor systemd-boot, nor a \
                 unified kernel image"
            }
            _ => "",
        };
        let help = if carried.efi_fallback_loader {
            "use a mainline U-Boot or EDK2 for this board (scenario `mainline`, `vendor-spl-hybrid` or `edk2`): these \
             start EFI programs"
        } else if abilities.efi == Answer::Yes {
            "put a boot loader at EFI/BOOT/BOOTAA64.EFI of the EFI system partition"
        } else {
            "put what it starts onto a partition that it can read"
        };
        report.push(
            Finding::error(
                rules::FLW_NO_WAY,
                format!(
                    "no common way to start: {} starts {}, and the image carries {there}{cause}",
                    quote(version),
                    abilities.starts()
                ),
            )
            .help(help),
        );
        return false;
    }
    // extlinux and scripts come before EFI on each partition, in both families.
    let efi = carried.efi_fallback_loader && abilities.efi != Answer::No;
    let earlier: Vec<_> = [
        (carried.extlinux, abilities.extlinux, "extlinux/extlinux.conf"),
        (carried.boot_script, abilities.boot_scripts, "boot.scr"),
    ]
    .iter()
    .filter(|(there, able, _)| *there && *able == Answer::Yes)
    .map(|(.., name)| *name)
    .collect();
    if efi && !earlier.is_empty() {
        report.push(
            Finding::warning(
                rules::FLW_SEVERAL_WAYS,
                format!(
                    "{} is there besides EFI/BOOT/BOOTAA64.EFI, and U-Boot may take it first",
                    earlier.join(" and ")
                ),
            )
            .help("leave one way to start on the boot partition"),
        );
    }
    efi && earlier.is_empty()
}

/// `a, b, c, d and 3 more`.
fn few(names: &[String]) -> String {
    const SHOWN: usize = 4;
    let shown: Vec<_> = names.iter().take(SHOWN).map(|name| quote(name)).collect();
    let more = names.len().saturating_sub(SHOWN);
    if more > 0 { format!("{} and {more} more", shown.join(", ")) } else { shown.join(", ") }
}

fn check_variables(abilities: &Abilities, carried: &Carried, report: &mut Report) {
    if !carried.needs_efi_variables {
        return;
    }
    let edk2 = abilities.kind == FirmwareKind::Edk2;
    let has_no_efi = abilities.efi == Answer::No && abilities.efi_boot_manager == Answer::No;
    let why = match abilities.efi_variables {
        EfiVariables::Store => return,
        EfiVariables::File => "keeps them in `ubootefi.var`, which a running system does not write",
        EfiVariables::None if has_no_efi => "has no EFI, and so no EFI variables",
        EfiVariables::None if edk2 => {
            "finds its store only where its FIT begins at byte 0x100000 of the medium, which it does not"
        }
        EfiVariables::None => "keeps them in memory only",
        EfiVariables::Unknown if edk2 => "finds its store only where its FIT begins at byte 0x100000 of the medium",
        EfiVariables::Unknown => "does not show where it keeps them",
    };
    report.push(
        Finding::warning(
            rules::FLW_VARIABLES,
            format!(
                "the boot loader needs EFI variables that the running system sets, and this {} {why}",
                abilities.kind.describe()
            ),
        )
        .help("upgrades that choose the new system by an EFI variable fail; GRUB keeps its choice in a file"),
    );
}

fn check_tree_name(abilities: &Abilities, carried: &Carried, report: &mut Report) {
    if matches!(abilities.kind, FirmwareKind::Edk2 | FirmwareKind::Unknown) || carried.trees.is_empty() {
        return;
    }
    let there = |wanted: &str| {
        let plain = |path: &str| path.trim_start_matches('/').to_ascii_lowercase();
        carried.trees.iter().any(|tree| plain(&tree.path) == plain(wanted))
    };
    let listed = || few(&carried.trees.iter().map(|tree| tree.path.clone()).collect::<Vec<_>>());
    let Some(name) = &abilities.fdtfile else {
        let others = if abilities.other_fdtfiles.is_empty() {
            String::new()
        } else {
            format!(" among {}", few(&abilities.other_fdtfiles))
        };
        report.push(
            Finding::info(
                rules::FLW_RUNTIME_NAME,
                format!(
                    "U-Boot chooses the name of the device tree at run time{others}; the image carries {}",
                    listed()
                ),
            )
            .help("carry the tree under every name that the board's variants ask for"),
        );
        return;
    };
    let paths = abilities.dtb_paths();
    if paths.is_empty() || paths.iter().any(|path| there(path)) {
        return;
    }
    // Boards that tell variants apart at run time replace the default.
    let variant = abilities
        .other_fdtfiles
        .iter()
        .find(|other| abilities.dtb_prefixes.iter().any(|prefix| there(&format!("{prefix}{other}"))));
    if let Some(variant) = variant {
        report.push(
            Finding::info(
                rules::FLW_RUNTIME_NAME,
                format!("U-Boot asks for {name} unless it finds the variant whose tree is carried: {variant}"),
            )
            .help("if the board is not that variant, U-Boot takes its built-in tree"),
        );
        return;
    }
    report.push(
        Finding::warning(
            rules::FLW_TREE_NAME,
            format!(
                "U-Boot asks for {}, and the image carries {}: it goes on with its built-in tree without a word",
                few(&paths),
                listed()
            ),
        )
        .help(format!("carry the tree as {}", paths.first().cloned().unwrap_or_default())),
    );
}

fn check_built_in(abilities: &Abilities, carried: &Carried, report: &mut Report) {
    for tree in &carried.trees {
        if let Some(size) = tree.size.filter(|size| *size > DTB_LIMIT) {
            report.push(
                Finding::error(
                    rules::FLW_TREE_SIZE,
                    format!("{} has {}, and U-Boot loads at most 4 MiB", quote(&tree.path), ByteSize(size)),
                )
                .help("leave out what the board does not need"),
            );
        }
    }
    let Some(own) = &abilities.tree else { return };
    let known: Vec<_> = carried.trees.iter().filter(|tree| !tree.compatible.is_empty()).collect();
    let Some(first) = known.first() else { return };
    if own.compatible.is_empty() || abilities.kind == FirmwareKind::Edk2 {
        return;
    }
    let soc = |list: &[String]| list.iter().rev().find_map(|text| Soc::from_name(text.strip_prefix("rockchip,")?));
    if let Some(ours) = abilities.soc
        && let Some(other) = known.iter().find_map(|tree| soc(&tree.compatible).filter(|theirs| *theirs != ours))
        && !known.iter().any(|tree| soc(&tree.compatible) == Some(ours))
    {
        report.push(
            Finding::error(
                rules::FLW_OTHER_SOC,
                format!(
                    "U-Boot is built for {ours} ({}), and the image's device tree is for {other} ({})",
                    few(&own.compatible),
                    few(&first.compatible)
                ),
            )
            .at(own.offset..own.offset.saturating_add(8))
            .help("one of them is another board's file"),
        );
        return;
    }
    // Makers write `friendlyarm` and `friendlyelec`: the part behind the comma is the board.
    let board =
        |text: &String| text.split_once(',').filter(|(maker, _)| *maker != "rockchip").map(|(_, name)| name.to_owned());
    let boards: Vec<_> = own.compatible.iter().filter_map(board).collect();
    let agrees = |tree: &&&CarriedTree| tree.compatible.iter().filter_map(board).any(|name| boards.contains(&name));
    if !boards.is_empty() && !known.iter().any(|tree| agrees(&tree)) {
        report.push(
            Finding::warning(
                rules::FLW_OTHER_BOARD,
                format!(
                    "U-Boot's built-in tree is {} ({}), the image's is {} ({})",
                    own.model.as_deref().unwrap_or("nameless"),
                    few(&own.compatible),
                    first.model.as_deref().unwrap_or("nameless"),
                    few(&first.compatible)
                ),
            )
            .at(own.offset..own.offset.saturating_add(8))
            .help("if U-Boot is a related board's, see that its name for the tree is carried, for its own tree does not fit"),
        );
    }
}

/// Which of the media with a boot loader wins when the image is on `medium`, for people.
///
/// The BootROM looks at SPI NOR, SPI NAND, NAND, eMMC and SD card, in this order (`rockchip-boot.md` §1.1).
pub fn check_media(abilities: Option<&Abilities>, medium: Medium) -> Report {
    let mut report = Report::new();
    let before = match medium {
        Medium::Sd => "a boot loader in SPI flash or on the eMMC",
        Medium::Emmc => "a boot loader in SPI flash",
        Medium::Spi => return report,
        _ => {
            report.push(
                Finding::info(
                    rules::FLW_MEDIA,
                    format!("the BootROM does not start from {}: the boot loader has to be in SPI flash, on eMMC or SD card", medium.name()),
                )
                .help("write the boot loader to one of those; U-Boot finds the system on this medium then"),
            );
            return report;
        }
    };
    let order = abilities.map(|found| {
        found
            .targets
            .iter()
            .map(|target| match target.medium {
                Some(medium) if target.name.starts_with("mmc") => format!("{} ({})", target.name, medium.name()),
                _ => target.name.clone(),
            })
            .take(12)
            .collect::<Vec<_>>()
            .join(", ")
    });
    let order = order.filter(|order| !order.is_empty()).map(|order| format!("; U-Boot then looks at {order}"));
    report.push(
        Finding::info(
            rules::FLW_MEDIA,
            format!(
                "{before} starts before the one on this {}: the BootROM takes SPI flash, then eMMC, then SD card{}",
                if medium == Medium::Sd { "SD card" } else { "eMMC" },
                order.unwrap_or_default()
            ),
        )
        .help("erase or update what comes first if another system starts"),
    );
    report
}
