//! Everything that a board's author can say about a tree, and everything that goes wrong without being said.
//!
//! ```
//! use dtbtool::{Fdt, WriteOptions, model::{DeviceTree, Node, Property}, profile::{self, Profile}};
//!
//! let mut tree = DeviceTree::new();
//! tree.root_mut().children.push(Node::new("chosen").with(Property::string("bootargs", "root=/dev/mmcblk2p8")));
//! let bytes = tree.to_bytes(&WriteOptions::default())?;
//! let report = profile::check(&Fdt::parse(&bytes)?, &Profile::default());
//! assert!(report.iter().any(|finding| finding.code == "DTB093"));
//! # Ok::<(), dtbtool::Error>(())
//! ```

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

mod name;

use std::ops::Range;

use imgcore::{ByteSize, Finding, Report};

use crate::{
    binding::{self, BindingGeneration},
    board::{
        self, Expectations,
        index::{Entry, Index},
    },
    console::{self, Stdout},
    property::Property,
    rules,
    scan::UBOOT_LIMIT,
    tree::shorten,
    view::{Fdt, Node},
};

/// What is known about the board and the system that the tree is for. What is empty or `None` is not compared.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Profile {
    /// Compatible strings, devices, file name: see [`check_board`](crate::check_board).
    pub expectations: Expectations,
    /// The name that the boot program asks for, `rockchip/rk3588s-nanopi-m6.dtb` (U-Boot's fdtfile).
    pub requested: Option<String>,
    /// The console that `/chosen stdout-path` must name, by alias and with the rate: `serial2:1500000n8`.
    pub stdout: Option<String>,
    /// Whether overlays will be applied to the tree.
    pub overlays: bool,
    /// Addresses that are in use while the board boots, each with a name: kernel, initramfs, tree.
    pub boot_memory: Vec<(String, Range<u64>)>,
    /// Whose kernel it is.
    pub kernel: Option<BindingGeneration>,
    /// The kernel's arguments.
    pub kernel_arguments: Vec<String>,
}

/// Compares a tree with a profile. Ranges are bytes from the start of the tree.
///
/// Meant for trees that a kernel gets. Those inside boot programs lack most of what is looked for here.
pub fn check(fdt: &Fdt<'_>, profile: &Profile) -> Report {
    let index = Index::new(fdt);
    let mut report = board::check_indexed(fdt, &index, &profile.expectations);
    let total = u64::from(fdt.totalsize());
    if total > UBOOT_LIMIT {
        let message = format!("the tree has {}, U-Boot passes at most 4 MiB on to an EFI program", ByteSize(total));
        report.push(
            Finding::error(rules::BOARD_SIZE_EFI, message).at(4..8).help("leave out what the board does not need"),
        );
    }
    name::check(fdt, profile, &mut report);
    stdout(fdt, &index, profile, &mut report);
    chosen(fdt, profile.kernel, &mut report);
    statuses(&index, &mut report);
    ethernet(fdt, &index, &mut report);
    memory(fdt, profile, &mut report);
    if profile.overlays && fdt.find("/__symbols__").is_none() {
        let message = "overlays are planned, but the tree has no /__symbols__: labels cannot be resolved";
        let help =
            "rebuild the tree with dtc -@ (in a kernel tree: make DTC_FLAGS=-@), or use overlays with target-path";
        report.push(Finding::error(rules::NO_SYMBOLS, message).at(node_range(fdt.root())).help(help));
    }
    presence(fdt, &index, &mut report);
    if let Some(kernel) = profile.kernel {
        report.extend(binding::check(fdt, kernel));
    }
    if !profile.kernel_arguments.is_empty() {
        let arguments: Vec<&str> = profile.kernel_arguments.iter().map(String::as_str).collect();
        report.extend(console::check(fdt, &arguments, profile.kernel));
    }
    report
}

/// Whether the tree inside the boot program and the one for the kernel are of one board (pitfall T9).
pub fn compare_with_boot_program(boot_program: &Fdt<'_>, kernel: &Fdt<'_>) -> Report {
    let mut report = Report::new();
    let list = |fdt: &Fdt<'_>| fdt.root().compatible().map(str::to_owned).collect::<Vec<_>>();
    let is_chip = |text: &String| {
        text.strip_prefix("rockchip,").is_some_and(|rest| rest.starts_with("rk") || rest.starts_with("px"))
    };
    let (ours, theirs) = (list(boot_program), list(kernel));
    let boards = |list: &[String]| list.iter().filter(|text| !is_chip(text)).cloned().collect::<Vec<_>>();
    let (first, second) = (boards(&ours), boards(&theirs));
    if !first.is_empty() && !second.is_empty() && !first.iter().any(|text| second.contains(text)) {
        let message = format!(
            "the boot program is built for {}, the kernel's tree is of {}",
            shorten(&first.join(", ")),
            shorten(&second.join(", "))
        );
        let help = "is this the right tree, and the right boot program? makers spell one board differently; then it is no matter";
        report.push(Finding::warning(rules::OTHER_BOARD, message).at(node_range(kernel.root())).help(help));
    }
    report
}

/// Nodes that are on and that no driver of a set takes (pitfall T16): path and first `compatible` string.
/// `has_driver` says whether the kernel, built in or as module, knows a string.
pub fn without_driver(fdt: &Fdt<'_>, has_driver: impl Fn(&str) -> bool) -> Vec<(String, String)> {
    let index = Index::new(fdt);
    let mut found = Vec::new();
    // The root's strings name the board.
    for entry in index.entries().skip(1) {
        let mut strings = entry.node.compatible().peekable();
        let Some(first) = strings.peek().copied() else { continue };
        if index.off(entry).is_none() && !strings.any(&has_driver) {
            found.push((index.path(entry), shorten(first)));
        }
    }
    found
}

fn stdout(fdt: &Fdt<'_>, index: &Index<'_>, profile: &Profile, report: &mut Report) {
    let Some(stdout) = Stdout::read(fdt) else {
        let message = "the tree has no /chosen stdout-path: without console= the kernel says nothing on a serial port";
        let help = match &profile.stdout {
            Some(wanted) => format!("set /chosen stdout-path \"{}\"", shorten(wanted)),
            None => "give the kernel console=, or set /chosen stdout-path".to_owned(),
        };
        report.push(Finding::warning(rules::NO_STDOUT, message).at(node_range(fdt.root())).help(help));
        return;
    };
    let text = shorten(stdout.text);
    let property = fdt
        .find("/chosen")
        .and_then(|chosen| chosen.property("stdout-path").or_else(|| chosen.property("linux,stdout-path")));
    let at = property.map_or_else(|| node_range(fdt.root()), |property| value_range(&property));
    let Some(node) = stdout.node else {
        let message = format!("/chosen stdout-path is {text:?}, which the tree does not have");
        let help = "name a serial port by its alias or path, such as serial2:1500000n8";
        report.push(Finding::error(rules::STDOUT_NOWHERE, message).at(at).help(help));
        return;
    };
    let entry = index.entries().find(|entry| entry.node == node);
    if let Some(entry) = entry
        && let Some(off) = index.off(entry)
    {
        let message = format!("/chosen stdout-path is {text:?}, but {} is off", index.path(off));
        let help = format!("set status = \"okay\" in {}, or name another port", index.path(off));
        report.push(Finding::error(rules::STDOUT_OFF, message).at(at.clone()).help(help));
    }
    if !console::is_port(node) && !node.is_compatible("rockchip,fiq-debugger") {
        let message = format!("/chosen stdout-path is {text:?}, which is {} and no serial port", shorten(node.name()));
        report.push(
            Finding::warning(rules::STDOUT_OTHER, message).at(at.clone()).help("name a serial port by its alias"),
        );
    }
    if let Some(wanted) = &profile.stdout {
        let (place, options) = wanted.split_once(':').unwrap_or((wanted, ""));
        let other_rate = console::baud(options).is_some_and(|rate| console::baud(stdout.options) != Some(rate));
        if fdt.find(place) != Some(node) || other_rate {
            let message =
                format!("/chosen stdout-path is {text:?} ({}), expected {:?}", shorten(stdout.place), shorten(wanted));
            let help = format!("set /chosen stdout-path \"{}\"", shorten(wanted));
            report.push(Finding::warning(rules::STDOUT_OTHER, message).at(at).help(help));
        }
    }
}

/// What another system or another boot left behind.
fn chosen(fdt: &Fdt<'_>, kernel: Option<BindingGeneration>, report: &mut Report) {
    let Some(chosen) = fdt.find("/chosen") else { return };
    for property in chosen.properties() {
        let name = property.name();
        let at = value_range(&property);
        match name {
            "bootargs" | "bootargs_ext" | "bootargs-ext" => {
                let text = property.as_str().unwrap_or("");
                let foreign: Vec<String> =
                    text.split_whitespace().filter(|word| is_foreign(word, kernel)).take(6).map(shorten).collect();
                if !foreign.is_empty() {
                    let message = format!("/chosen {name} is another system's: {}", foreign.join(" "));
                    let help = format!("delete /chosen {name}: a boot program may add it to the kernel's arguments");
                    report.push(Finding::warning(rules::CHOSEN_ROOT, message).at(at).help(help));
                } else if name != "bootargs" {
                    let message = format!(
                        "/chosen {name} is the maker's: their boot program appends it to the kernel's arguments"
                    );
                    report.push(
                        Finding::warning(rules::CHOSEN_LEFT, message).at(at).help(format!("delete /chosen {name}")),
                    );
                }
            }
            "linux,initrd-start"
            | "linux,initrd-end"
            | "linux,uefi-system-table"
            | "linux,uefi-mmap-start"
            | "kaslr-seed"
            | "rng-seed"
            | "linux,usable-memory-range"
            | "linux,elfcorehdr" => {
                let message = format!("/chosen {name} is of one boot: the tree was taken from a running system");
                let help = format!("delete /chosen {name}; use the tree as it was built");
                report.push(Finding::warning(rules::CHOSEN_LEFT, message).at(at).help(help));
            }
            _ => {}
        }
    }
}

/// Arguments that only the system which they were written for can mean.
fn is_foreign(word: &str, kernel: Option<BindingGeneration>) -> bool {
    ["root=", "rootfstype=", "rootflags=", "init=", "storagemedia=", "androidboot.", "ubi.mtd="]
        .iter()
        .any(|start| word.starts_with(start))
        || (word.starts_with("console=ttyFIQ") && kernel == Some(BindingGeneration::Mainline))
}

/// Findings of one code, above which no more are made.
const LIMIT: usize = 32;

fn statuses(index: &Index<'_>, report: &mut Report) {
    let legal = |text: &str| {
        matches!(text, "okay" | "ok" | "disabled" | "reserved" | "fail")
            || text.strip_prefix("fail-").is_some_and(|rest| !rest.is_empty())
    };
    let odd = index.entries().filter_map(|entry| {
        let property = entry.node.property("status")?;
        (!property.as_str().is_some_and(legal)).then_some((entry, property))
    });
    for (entry, property) in odd.take(LIMIT) {
        let shown = property.as_str().map_or_else(|| "no string".to_owned(), |text| format!("{:?}", shorten(text)));
        let message = format!("{}: status is {shown}, which kernels take for off", index.path(entry));
        let help = "legal are okay, disabled, reserved, fail and fail-…";
        report.push(Finding::warning(rules::STATUS, message).at(value_range(&property)).help(help));
    }
}

fn ethernet(fdt: &Fdt<'_>, index: &Index<'_>, report: &mut Report) {
    let is_mac = |entry: &Entry<'_>| {
        entry.base_name == "ethernet" && entry.compatible().any(|text| text.contains("mac") || text.contains("eqos"))
    };
    let aliases: Vec<&str> = fdt.find("/aliases").map_or_else(Vec::new, |aliases| {
        aliases
            .properties()
            .filter(|alias| alias.name().starts_with("ethernet"))
            .filter_map(|alias| alias.as_str())
            .collect()
    });
    for entry in index.entries().filter(|entry| is_mac(entry) && index.off(entry).is_none()).take(LIMIT) {
        let path = index.path(entry);
        if let Some(property) = entry.node.property("phy-handle") {
            let target = property
                .as_phandle()
                .and_then(|phandle| index.entries().find(|other| other.node.phandle() == Some(phandle)));
            let problem = match target {
                None => Some("names no node".to_owned()),
                Some(target) => {
                    index.off(target).map(|off| format!("names {}, but {} is off", index.path(target), index.path(off)))
                }
            };
            if let Some(problem) = problem {
                let message = format!("{path} is on, but its phy-handle {problem}: the port stays dead");
                let help = "point it at the ethernet-phy node below the port's mdio node";
                report.push(Finding::error(rules::PHY, message).at(value_range(&property)).help(help));
            }
        }
        let has_address =
            ["local-mac-address", "mac-address", "nvmem-cells"].iter().any(|name| entry.node.property(name).is_some());
        if !has_address && !aliases.contains(&path.as_str()) {
            let message = format!(
                "{path} has no alias ethernetN: U-Boot cannot give it the board's address, it gets another one at every start"
            );
            let help = format!("add alias ethernet0 = \"{path}\", or set its local-mac-address");
            report.push(Finding::warning(rules::NO_MAC, message).at(node_range(entry.node)).help(help));
        }
    }
}

/// Reserved memory against what is in use while the board boots.
fn memory(fdt: &Fdt<'_>, profile: &Profile, report: &mut Report) {
    let mut regions: Vec<(String, Range<u64>, Range<u64>)> = Vec::new();
    if let Some(reserved) = fdt.find("/reserved-memory") {
        let cells = |name: &str| reserved.property(name).and_then(|count| count.as_u32()).unwrap_or(2);
        let (address_cells, size_cells) = (cells("#address-cells"), cells("#size-cells"));
        for node in reserved.children().filter(Node::is_enabled) {
            let Some(property) = node.property("reg") else { continue };
            let words: Vec<u32> = property.as_u32_list().into_iter().flatten().collect();
            let take = |from: usize, count: u32| -> Option<u64> {
                let count = usize::try_from(count).ok().filter(|count| (1..=2).contains(count))?;
                let words = words.get(from..from.checked_add(count)?)?;
                Some(words.iter().fold(0, |value, word| (value << 32) | u64::from(*word)))
            };
            let stride = usize::try_from(address_cells.saturating_add(size_cells)).unwrap_or(4).max(1);
            for from in (0..words.len()).step_by(stride).take(LIMIT) {
                let behind = from.saturating_add(usize::try_from(address_cells).unwrap_or(0));
                let (Some(start), Some(size)) = (take(from, address_cells), take(behind, size_cells)) else { break };
                let name = format!("/reserved-memory/{}", shorten(node.name()));
                regions.push((name, start..start.saturating_add(size), value_range(&property)));
            }
        }
    }
    for pair in fdt.memory_reservations().take(LIMIT) {
        regions.push(("a memory reservation".to_owned(), pair.address..pair.address.saturating_add(pair.size), 16..20));
    }
    for (name, used) in &profile.boot_memory {
        for (region, range, at) in
            regions.iter().filter(|(_, range, _)| range.start < used.end && used.start < range.end)
        {
            let message = format!(
                "{region} [0x{:x}..0x{:x}) overlaps {} [0x{:x}..0x{:x})",
                range.start,
                range.end,
                shorten(name),
                used.start,
                used.end
            );
            let help = "move one of them: what is loaded there is overwritten, or the load is refused";
            report.push(Finding::error(rules::BOOT_MEMORY, message).at(at.clone()).help(help));
        }
    }
    if let Some(node) = fdt.root().children().find(|node| node.base_name() == "memory") {
        let message = format!(
            "/{} says how much memory there is; the boot program overwrites it, other amounts boot as well",
            shorten(node.name())
        );
        report.push(Finding::info(rules::MEMORY, message).at(node_range(node)));
    }
}

/// What boards of these chips have, and what is missed late.
fn presence(fdt: &Fdt<'_>, index: &Index<'_>, report: &mut Report) {
    let is_rockchip = fdt.root().compatible().any(|text| text.starts_with("rockchip,"));
    if !is_rockchip {
        return;
    }
    for (word, code, missing) in [
        ("pmic", rules::NO_PMIC, "no power controller that is known: regulators stay as the boot program left them"),
        ("watchdog", rules::NO_WATCHDOG, "no watchdog that is on: a board that hangs stays so"),
        ("thermal", rules::NO_THERMAL, "no temperature sensor that is on: nothing slows a hot chip down"),
    ] {
        if !board::has_device(index, word) {
            report.push(Finding::info(code, format!("the tree has {missing}")).at(node_range(fdt.root())));
        }
    }
}

fn value_range(property: &Property<'_>) -> Range<u64> {
    let range = property.value_range();
    range.start as u64..range.end as u64
}

fn node_range(node: Node<'_>) -> Range<u64> {
    let start = node.offset() as u64;
    start..start.saturating_add(4)
}
