//! Does what the kernel is told about its console go with the tree?
//!
//! ```
//! use dtbtool::{Fdt, WriteOptions, console, model::{DeviceTree, Node, Property}};
//!
//! let mut tree = DeviceTree::new();
//! let root = tree.root_mut();
//! root.children.push(Node::new("aliases").with(Property::string("serial2", "/serial@feb50000")));
//! root.children.push(Node::new("serial@feb50000").with(Property::string("status", "disabled")));
//! let bytes = tree.to_bytes(&WriteOptions::default())?;
//! let report = console::check(&Fdt::parse(&bytes)?, &["console=ttyS2,1500000n8"], None);
//! let codes: Vec<_> = report.iter().map(|finding| finding.code).collect();
//! assert_eq!(codes, ["DTB201", "DTB205"]); // the port is off, and there is no other console
//! # Ok::<(), dtbtool::Error>(())
//! ```

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use imgcore::{Finding, Report};

use crate::{
    binding::BindingGeneration,
    board::index::{Entry, Index},
    rules,
    tree::shorten,
    view::{Fdt, Node},
};

/// Compares kernel arguments with the tree: every serial console must have an alias, a port that is on, and the baud
/// rate that the boot program uses; `ttyFIQ0` needs the vendor's debugger in tree and kernel; `earlycon` needs a port
/// at its address; an argument that looks like a console without `console=` is none. Screens (`tty0`, `tty1`) are not
/// looked at. `kernel`: whose kernel it is, if that is known.
pub fn check(fdt: &Fdt<'_>, arguments: &[&str], kernel: Option<BindingGeneration>) -> Report {
    let index = Index::new(fdt);
    let look = Look { fdt, index: &index, stdout: Stdout::read(fdt), kernel };
    let mut report = Report::new();
    let (mut asked, mut works) = (0_usize, 0_usize);
    for argument in arguments.iter().flat_map(|argument| argument.split_whitespace()) {
        if let Some(console) = argument.strip_prefix("console=") {
            if let Some(good) = look.console(console, &mut report) {
                asked = asked.saturating_add(1);
                works = works.saturating_add(usize::from(good));
            }
        } else if let Some(earlycon) = argument.strip_prefix("earlycon=") {
            look.earlycon(earlycon, &mut report);
        } else if argument == "earlycon" && look.stdout.is_none() {
            let message = "earlycon without an address takes /chosen stdout-path, which the tree does not have";
            let help = "name the port: earlycon=uart8250,mmio32,0x…, or set /chosen stdout-path";
            report.push(Finding::warning(rules::EARLYCON, message).help(help));
        } else if is_bare(argument) {
            let message = format!("{} is no argument of the kernel: it is passed on to init", shorten(argument));
            let finding = Finding::warning(rules::CONSOLE_BARE, message);
            report.push(finding.help(format!("write console={}", shorten(argument))));
        }
    }
    if asked > 0 && works == 0 {
        let message = "no serial console of the kernel's arguments gives anything with this tree";
        report.push(Finding::error(rules::CONSOLE_NONE, message).help(look.suggestion()));
    }
    report
}

/// `ttyS2,115200n8` and the like, which somebody meant as a console.
fn is_bare(argument: &str) -> bool {
    let (name, options) = argument.split_once(',').unwrap_or((argument, ""));
    let number = ["ttyS", "ttyFIQ", "ttyAMA"].iter().find_map(|kind| name.strip_prefix(kind));
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit()))
        && (options.is_empty() || baud(options).is_some())
}

/// The digits that options such as `1500000n8` begin with.
pub(crate) fn baud(options: &str) -> Option<u32> {
    let end = options.find(|c: char| !c.is_ascii_digit()).unwrap_or(options.len());
    options.get(..end)?.parse().ok()
}

/// `/chosen stdout-path`, taken apart.
pub(crate) struct Stdout<'a> {
    pub(crate) text: &'a str,
    /// A path or an alias.
    pub(crate) place: &'a str,
    pub(crate) options: &'a str,
    pub(crate) node: Option<Node<'a>>,
}

impl<'a> Stdout<'a> {
    pub(crate) fn read(fdt: &Fdt<'a>) -> Option<Self> {
        let chosen = fdt.find("/chosen")?;
        let property = chosen.property("stdout-path").or_else(|| chosen.property("linux,stdout-path"))?;
        let text = property.as_str()?;
        let (place, options) = text.split_once(':').unwrap_or((text, ""));
        Some(Self { text, place, options, node: fdt.find(place) })
    }
}

/// The vendor's debugger that is on, if there is one.
pub(crate) fn debugger<'i, 'a>(index: &'i Index<'a>) -> Option<&'i Entry<'a>> {
    let is_debugger = |entry: &&Entry<'a>| entry.node.is_compatible("rockchip,fiq-debugger");
    index.entries().filter(is_debugger).find(|entry| index.off(entry).is_none())
}

struct Look<'l, 'a> {
    fdt: &'l Fdt<'a>,
    index: &'l Index<'a>,
    stdout: Option<Stdout<'a>>,
    kernel: Option<BindingGeneration>,
}

impl Look<'_, '_> {
    /// Whether a serial console works; `None` for another one.
    fn console(&self, value: &str, report: &mut Report) -> Option<bool> {
        let (name, options) = value.split_once(',').unwrap_or((value, ""));
        if name.starts_with("ttyFIQ") {
            return Some(self.debugger(name, options, report));
        }
        let number = name.strip_prefix("ttyS")?;
        let shown = shorten(name);
        if number.is_empty() || !number.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        let alias = format!("serial{}", number.trim_start_matches('0'));
        let alias = if alias == "serial" { "serial0".to_owned() } else { alias };
        let Some(path) = self.fdt.alias(&alias) else {
            let message =
                format!("console={shown}: the tree has no alias {alias}, so the port's number is left to chance");
            let finding = Finding::warning(rules::CONSOLE_ALIAS, message).at(node_range(self.fdt.root()));
            report.push(finding.help(self.suggestion()));
            return Some(false);
        };
        let entry = match self.index.find(path) {
            (Some(entry), None) if path.starts_with('/') => entry,
            _ => {
                let message =
                    format!("console={shown}: alias {alias} is {}, which the tree does not have", shorten(path));
                let finding = Finding::warning(rules::CONSOLE_ALIAS, message).at(node_range(self.fdt.root()));
                report.push(finding.help(self.suggestion()));
                return Some(false);
            }
        };
        if let Some(off) = self.index.off(entry) {
            let owner = debugger(self.index).filter(|debugger| {
                debugger.node.property("rockchip,serial-id").and_then(|id| id.as_u32()) == number.parse().ok()
            });
            let (what, help) = match owner {
                Some(owner) => (
                    format!(", because {} owns it", self.index.path(owner)),
                    format!(
                        "with a vendor kernel use console=ttyFIQ0; with a mainline kernel use a mainline tree, or switch {} \
                         off and {} on",
                        self.index.path(owner),
                        self.index.path(entry)
                    ),
                ),
                None => (
                    String::new(),
                    format!("set status = \"okay\" in {}, or {}", self.index.path(off), self.suggestion()),
                ),
            };
            let message =
                format!("console={shown} gives nothing with this tree: {} is off{what}", self.index.path(entry));
            report.push(Finding::warning(rules::CONSOLE_OFF, message).at(node_range(off.node)).help(help));
            return Some(false);
        }
        if let Some(stdout) = &self.stdout
            && stdout.node == Some(entry.node)
        {
            compare_baud(name, options, baud(stdout.options), "/chosen stdout-path", entry.node, report);
        }
        Some(true)
    }

    fn debugger(&self, name: &str, options: &str, report: &mut Report) -> bool {
        let shown = shorten(name);
        let found = debugger(self.index);
        if found.is_none() {
            let message = format!("console={shown} gives nothing with this tree: it has no fiq-debugger that is on");
            let finding = Finding::error(rules::CONSOLE_FIQ_NODE, message).at(node_range(self.fdt.root()));
            report.push(finding.help(self.suggestion()));
        }
        let at = found.map_or_else(|| node_range(self.fdt.root()), |entry| node_range(entry.node));
        match self.kernel {
            Some(BindingGeneration::Mainline) => {
                let message = format!("console={shown} is the vendor kernel's debugger, a mainline kernel has none");
                let id = found.and_then(|found| found.node.property("rockchip,serial-id")).and_then(|id| id.as_u32());
                let help = match id {
                    Some(id) if id < 32 => {
                        let rate = if options.is_empty() { String::new() } else { format!(",{}", shorten(options)) };
                        format!("take a mainline tree of the board: there the same port is console=ttyS{id}{rate}")
                    }
                    _ => self.suggestion(),
                };
                report.push(Finding::error(rules::CONSOLE_FIQ_KERNEL, message).at(at).help(help));
                return false;
            }
            None => {
                let message = format!("console={shown} needs a vendor kernel; a mainline kernel has no such console");
                let help = "with a mainline kernel name the port itself, such as console=ttyS2,1500000n8";
                report.push(Finding::info(rules::CONSOLE_FIQ_MAYBE, message).at(at).help(help));
            }
            Some(BindingGeneration::Vendor) => {}
        }
        if let Some(found) = found {
            let rate = found.node.property("rockchip,baudrate").and_then(|rate| rate.as_u32());
            if !options.is_empty() {
                compare_baud(name, options, rate, &self.index.path(found), found.node, report);
            }
        }
        found.is_some()
    }

    /// `uart8250,mmio32,0xfeb50000`: a port must be there.
    fn earlycon(&self, value: &str, report: &mut Report) {
        let hex = |word: &str| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok();
        let Some(address) = value.split(',').find_map(hex) else { return };
        let ports = || self.index.entries().filter(|entry| is_port(entry.node));
        let unit = |node: Node<'_>| node.unit_address().and_then(|unit| u64::from_str_radix(unit, 16).ok());
        if ports().any(|entry| unit(entry.node) == Some(address)) {
            return;
        }
        let known: Vec<String> = ports()
            .filter(|entry| self.index.off(entry).is_none())
            .take(4)
            .map(|entry| self.index.path(entry))
            .collect();
        let message = format!("earlycon names address 0x{address:x}, where the tree has no serial port");
        let help = match known.as_slice() {
            [] => "no serial port of the tree is on".to_owned(),
            known => format!("ports that are on: {}", known.join(", ")),
        };
        report.push(Finding::warning(rules::EARLYCON, message).at(node_range(self.fdt.root())).help(help));
    }

    /// What to write instead.
    fn suggestion(&self) -> String {
        let number = |path: &str| {
            let aliases = self.fdt.find("/aliases")?;
            let alias = aliases
                .properties()
                .find(|alias| alias.name().starts_with("serial") && alias.as_str() == Some(path))?;
            alias.name().strip_prefix("serial").map(str::to_owned)
        };
        if let Some(stdout) = &self.stdout
            && let Some(node) = stdout.node
            && let Some(number) = number(&self.fdt.path(node))
        {
            let rate = baud(stdout.options).map(|rate| format!(",{rate}n8")).unwrap_or_default();
            return format!("the tree's own console is console=ttyS{number}{rate}");
        }
        if let Some(debugger) = debugger(self.index)
            && self.kernel != Some(BindingGeneration::Mainline)
        {
            return format!("with a vendor kernel {} gives console=ttyFIQ0", self.index.path(debugger));
        }
        // More ports than any chip has are not worth the search.
        let on = self.index.entries().filter(|entry| is_port(entry.node) && self.index.off(entry).is_none()).take(32);
        let known: Vec<String> = on
            .filter_map(|entry| number(&self.index.path(entry)))
            .take(4)
            .map(|number| format!("ttyS{number}"))
            .collect();
        if known.is_empty() {
            "switch a serial port on in the tree".to_owned()
        } else {
            format!("ports that are on: {}", known.join(", "))
        }
    }
}

fn compare_baud(name: &str, options: &str, known: Option<u32>, what: &str, node: Node<'_>, report: &mut Report) {
    // A port without a rate is left as the boot program set it, or at 9600.
    let Some(known) = known else { return };
    let asked = baud(options);
    if asked == Some(known) {
        return;
    }
    let shown = asked.map_or_else(|| "no baud rate".to_owned(), |asked| format!("{asked} baud"));
    let message = format!("console={} has {shown}, {what} says {known}", shorten(name));
    let help = format!("write console={},{known}n8: with another rate the terminal shows noise", shorten(name));
    report.push(Finding::warning(rules::CONSOLE_BAUD, message).at(node_range(node)).help(help));
}

/// Whether a node is a serial port.
pub(crate) fn is_port(node: Node<'_>) -> bool {
    matches!(node.base_name(), "serial" | "uart") && node.unit_address().is_some()
}

fn node_range(node: Node<'_>) -> std::ops::Range<u64> {
    let start = node.offset() as u64;
    start..start.saturating_add(4)
}
