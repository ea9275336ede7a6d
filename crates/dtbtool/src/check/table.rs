//! The checks as data, in the order in which dtc runs them.
//!
//! The names, what each needs and what is on by default are dtc 1.8.1's; the words are this crate's.

use imgcore::Severity;

use super::{bus, cells, chosen, graph, interrupts, names, provider, run::Run, types, unit};

/// One check of dtc.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Check {
    /// The code under which its findings are listed, `DTB100` and up.
    pub code: &'static str,
    /// dtc's name for it, as in `-W NAME`.
    pub name: &'static str,
    /// How its failures are reported unless options say otherwise.
    pub level: Level,
    /// Checks that must have passed on the whole tree before this one is asked.
    pub needs: &'static [&'static str],
    /// What a failure means for a board.
    pub weight: Weight,
    /// What is wrong when it fails.
    pub meaning: &'static str,
    /// What to do then.
    pub cure: &'static str,
    pub(super) test: Test,
}

/// How a check reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Not at all; it does not run.
    Off,
    /// As dtc's `Warning`.
    Warning,
    /// As dtc's `ERROR`: dtc makes no output then, and asks no further check.
    Error,
}

/// What a failed check means for a board that boots with the tree (the author's measure, not dtc's).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// The tree breaks a rule that its readers rely on.
    Structure,
    /// A driver can be given wrong data: a device does not work, or works wrongly.
    Device,
    /// Style: kernels do not care. Vendor trees have dozens.
    Style,
}

impl Check {
    /// What a failure means for a board, in one clause.
    pub fn why(&self) -> &'static str {
        match (self.name, self.weight) {
            ("reg_format", _) => "the driver sees other addresses, or none",
            ("ranges_format" | "dma_ranges_format", _) => "addresses behind this node are translated wrongly",
            ("avoid_default_addr_size" | "address_cells_is_cell" | "size_cells_is_cell" | "addr_size_cells", _) => {
                "kernels and boot programs differ in what they take for it"
            }
            ("compatible_is_string_list", _) => "no driver is found for the device",
            ("status_is_string", _) => "the device counts as switched off",
            ("names_is_string_list", _) => "the driver does not find the entries by name",
            ("simple_bus_reg" | "i2c_bus_reg" | "spi_bus_reg" | "pci_device_reg" | "pci_device_bus_num", _) => {
                "the name misleads, or the device is looked for elsewhere on its bus"
            }
            ("simple_bus_bridge" | "i2c_bus_bridge" | "spi_bus_bridge" | "pci_bridge", _) => {
                "devices on this bus may not be found"
            }
            ("interrupts_property" | "interrupt_provider" | "interrupt_map", _) => {
                "a device may get no interrupt, or another's"
            }
            ("alias_paths", _) => "Linux drops aliases that lead nowhere, and takes names of any spelling",
            ("chosen_node_is_root" | "chosen_node_bootargs", _) => "the kernel does not see its command line",
            ("chosen_node_stdout_path", _) => "the first console may stay dark",
            ("unique_unit_address", _) => "harmless if one of them is off",
            ("graph_nodes" | "graph_port" | "graph_endpoint", _) => {
                "parts of a display or camera may not find each other"
            }
            (_, Weight::Structure) => "programs that read or edit trees rely on this",
            (_, Weight::Device) => "a driver may be given wrong data",
            (_, Weight::Style) => "no kernel minds",
        }
    }
}

/// How a check looks at a node.
#[derive(Clone, Copy)]
pub(super) enum Test {
    /// The property, if there, is one cell.
    Cell(&'static str),
    /// The property, if there, is one string.
    Text(&'static str),
    /// The property, if there, is a list of strings.
    Texts(&'static str),
    /// The property, if there, holds whole entries of addresses and sizes.
    Ranges(&'static str),
    /// The property, if there, names nodes, each followed by as many cells as that node's property says.
    Provider(Provider),
    /// Anything else.
    Node(fn(&mut Run<'_>, usize)),
}

impl std::fmt::Debug for Test {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Test")
    }
}

/// A property that names nodes with arguments.
#[derive(Debug, Clone, Copy)]
pub(super) struct Provider {
    pub(super) property: &'static str,
    pub(super) cells: &'static str,
    /// Without the property for the count, there are no arguments.
    pub(super) optional: bool,
}

impl Test {
    pub(super) fn run(self, run: &mut Run<'_>, node: usize) {
        match self {
            Self::Cell(name) => types::cell(run, node, name),
            Self::Text(name) => types::text(run, node, name),
            Self::Texts(name) => types::texts(run, node, name),
            Self::Ranges(name) => cells::ranges(run, node, name),
            Self::Provider(provider) => provider::named(run, node, provider),
            Self::Node(test) => test(run, node),
        }
    }
}

/// A row: code, name, level, needs; then weight, test, meaning, cure.
macro_rules! check {
    ($code:literal $name:literal $level:ident $needs:tt $weight:ident $test:expr, $meaning:literal => $cure:literal) => {
        Check {
            code: $code,
            name: $name,
            level: Level::$level,
            needs: &$needs,
            weight: Weight::$weight,
            meaning: $meaning,
            cure: $cure,
            test: $test,
        }
    };
}

/// The two rows of a property that names nodes with arguments.
macro_rules! references {
    ($code:literal $name:literal $cell_code:literal $cell_name:literal $property:literal $cells:literal $optional:literal) => {
        [
            Check {
                code: $code,
                name: $name,
                level: Level::Warning,
                needs: &[$cell_name, "phandle_references"],
                weight: Weight::Device,
                meaning: concat!("`", $property, "` does not hold whole entries of a node and as many cells as its `", $cells, "` says"),
                cure: concat!("give each entry of `", $property, "` as many cells as the `", $cells, "` of the node that it names"),
                test: Test::Provider(Provider { property: $property, cells: $cells, optional: $optional }),
            },
            check!($cell_code $cell_name Warning [] Device Test::Cell($cells), "a count of cells in references is not one cell"
                => "write the count as one number, such as <1>"),
        ]
    };
}

/// The rows before and behind the pairs of [`references!`].
const FRONT: [Check; 47] = [
    check!("DTB100" "duplicate_node_names" Error [] Structure Test::Node(names::duplicate_nodes), "two nodes of one parent have the same name"
        => "rename or merge one of them: readers see only the first"),
    check!("DTB101" "duplicate_property_names" Error [] Structure Test::Node(names::duplicate_properties), "a node has two properties of the same name"
        => "remove one of them: readers see only the first"),
    check!("DTB102" "node_name_chars" Error [] Structure Test::Node(names::node_chars), "a node name has a character that is not allowed"
        => "use letters, digits and , . _ + - in names"),
    check!("DTB103" "node_name_format" Error ["node_name_chars"] Structure Test::Node(names::node_format), "a node name has more than one @"
        => "keep one @, in front of the unit address"),
    check!("DTB104" "node_name_not_empty" Error ["node_name_chars"] Structure Test::Node(names::node_empty), "a node has no name in front of its unit address"
        => "name the node; the templates of U-Boot's binman in its own tree are harmless"),
    check!("DTB105" "property_name_chars" Error [] Structure Test::Node(names::property_chars), "a property name has a character that is not allowed"
        => "use letters, digits and , . _ + * # ? - in names"),
    check!("DTB106" "name_is_string" Error [] Structure Test::Text("name"), "`name` is not a string"
        => "remove the property `name`: nodes have their names anyway"),
    check!("DTB107" "name_properties" Error ["name_is_string"] Structure Test::Node(names::name_property), "`name` is not the node's name without unit address"
        => "remove the property `name`: nodes have their names anyway"),
    check!("DTB108" "node_name_vs_property_name" Warning ["node_name_chars"] Device Test::Node(names::node_or_property), "a node has the name of a property of its parent"
        => "rename one of the two: readers that ask by name may get the other"),
    check!("DTB109" "duplicate_label" Error [] Structure Test::Node(nothing), "one label stands on two places (source text only: a binary tree has no labels)"
        => "rename one label"),
    check!("DTB110" "explicit_phandles" Error [] Structure Test::Node(provider::phandles), "a phandle is not one cell, is 0 or 0xffffffff, or two nodes have the same"
        => "let dtc number the nodes: remove `phandle` from the source"),
    check!("DTB111" "phandle_references" Error ["duplicate_node_names", "explicit_phandles"] Structure Test::Node(nothing), "a reference to a label that no node has (source text only)"
        => "add the label, or correct the reference"),
    check!("DTB112" "path_references" Error ["duplicate_node_names"] Structure Test::Node(nothing), "a path reference to a label that no node has (source text only)"
        => "add the label, or correct the reference"),
    check!("DTB113" "omit_unused_nodes" Error ["phandle_references", "path_references"] Structure Test::Node(nothing), "nodes marked to be left out when unused could not be decided on (source text only)"
        => "mend the references first"),
    check!("DTB114" "address_cells_is_cell" Warning [] Device Test::Cell("#address-cells"), "`#address-cells` is not one cell"
        => "write it as one number, such as <2>"),
    check!("DTB115" "size_cells_is_cell" Warning [] Device Test::Cell("#size-cells"), "`#size-cells` is not one cell"
        => "write it as one number, such as <1>"),
    check!("DTB116" "device_type_is_string" Warning [] Device Test::Text("device_type"), "`device_type` is not a string"
        => "write it as one string"),
    check!("DTB117" "model_is_string" Warning [] Device Test::Text("model"), "`model` is not a string"
        => "write it as one string"),
    check!("DTB118" "status_is_string" Warning [] Device Test::Text("status"), "`status` is not a string"
        => "write \"okay\" or \"disabled\": anything else switches the device off"),
    check!("DTB119" "label_is_string" Warning [] Device Test::Text("label"), "`label` is not a string"
        => "write it as one string"),
    check!("DTB120" "compatible_is_string_list" Warning [] Device Test::Texts("compatible"), "`compatible` is not a list of strings"
        => "write it as strings: without it no driver is found"),
    check!("DTB121" "names_is_string_list" Warning [] Device Test::Node(types::names), "a property that ends with `-names` is not a list of strings"
        => "write it as strings, one for each entry that it names"),
    check!("DTB122" "property_name_chars_strict" Off [] Style Test::Node(names::property_strict), "a property name has a character that is allowed, but not recommended"
        => "use small letters, digits and -"),
    check!("DTB123" "node_name_chars_strict" Off [] Style Test::Node(names::node_strict), "a node name has a character that is allowed, but not recommended"
        => "use letters, digits and -"),
    check!("DTB124" "addr_size_cells" Warning ["address_cells_is_cell", "size_cells_is_cell"] Device Test::Node(cells::read), "the counts of address and size cells cannot be read"
        => "mend `#address-cells` and `#size-cells` first"),
    check!("DTB125" "reg_format" Warning ["addr_size_cells"] Device Test::Node(cells::reg), "`reg` does not hold whole entries of the parent's address and size cells"
        => "give `reg` as many cells as the parent's `#address-cells` and `#size-cells` ask for"),
    check!("DTB126" "ranges_format" Warning ["addr_size_cells"] Device Test::Ranges("ranges"), "`ranges` does not hold whole entries of child address, parent address and size"
        => "count the cells: child `#address-cells`, parent `#address-cells`, child `#size-cells`"),
    check!("DTB127" "dma_ranges_format" Warning ["addr_size_cells"] Device Test::Ranges("dma-ranges"), "`dma-ranges` does not hold whole entries of child address, parent address and size"
        => "count the cells: child `#address-cells`, parent `#address-cells`, child `#size-cells`"),
    check!("DTB128" "unit_address_vs_reg" Warning [] Style Test::Node(unit::against_reg), "a node has a unit address but no `reg` or `ranges`, or the other way round"
        => "let the unit address be the first address of `reg`, and leave it out without `reg`"),
    check!("DTB129" "unit_address_format" Warning ["node_name_format", "pci_bridge", "simple_bus_bridge"] Style Test::Node(unit::format), "a unit address begins with 0x or with zeros"
        => "write the unit address in hexadecimal without 0x and leading zeros"),
    check!("DTB130" "pci_bridge" Warning ["device_type_is_string", "addr_size_cells"] Device Test::Node(bus::pci_bridge), "a PCI host lacks what a PCI host has: its name, `ranges`, cells 3 and 2, a sound `bus-range`"
        => "compare the node with the binding of the PCI host"),
    check!("DTB131" "pci_device_reg" Warning ["reg_format", "pci_bridge"] Device Test::Node(bus::pci_device), "the address of a PCI device is not one in configuration space, or not its unit address"
        => "write device and function in the first cell of `reg`, zeros in the rest, and the same as unit address"),
    check!("DTB132" "pci_device_bus_num" Warning ["reg_format", "pci_bridge"] Device Test::Node(bus::pci_number), "a PCI device is on a bus that its host does not have"
        => "correct `reg` of the device or `bus-range` of the host"),
    check!("DTB133" "simple_bus_bridge" Warning ["addr_size_cells", "compatible_is_string_list"] Device Test::Node(bus::simple_bridge), "simple buses could not be told apart"
        => "mend cells and `compatible` first"),
    check!("DTB134" "simple_bus_reg" Warning ["reg_format", "simple_bus_bridge"] Device Test::Node(bus::simple_device), "a node on a simple bus has no address, or not its own as unit address"
        => "give it `reg` and the first address as unit address, or move it to the root"),
    check!("DTB135" "i2c_bus_bridge" Warning ["addr_size_cells"] Device Test::Node(bus::i2c_bridge), "an I2C bus does not have cells 1 and 0"
        => "set `#address-cells = <1>` and `#size-cells = <0>`"),
    check!("DTB136" "i2c_bus_reg" Warning ["reg_format", "i2c_bus_bridge"] Device Test::Node(bus::i2c_device), "a device on an I2C bus has no address, one that I2C does not have, or not its own as unit address"
        => "write the 7-bit address in `reg` and as unit address"),
    check!("DTB137" "spi_bus_bridge" Warning ["addr_size_cells"] Device Test::Node(bus::spi_bridge), "an SPI bus does not have cells 1 and 0, or is not named spi"
        => "set `#address-cells = <1>` and `#size-cells = <0>`"),
    check!("DTB138" "spi_bus_reg" Warning ["reg_format", "spi_bus_bridge"] Device Test::Node(bus::spi_device), "a device on an SPI bus has no chip select, or not its own as unit address"
        => "write the chip select in `reg` and as unit address"),
    check!("DTB139" "avoid_default_addr_size" Warning ["addr_size_cells"] Device Test::Node(cells::defaults), "addresses are read with counts of cells that no one wrote down: readers differ in what they take then"
        => "write `#address-cells` and `#size-cells` in the parent"),
    check!("DTB140" "avoid_unnecessary_addr_size" Warning ["avoid_default_addr_size"] Style Test::Node(cells::unnecessary), "counts of cells without addresses that need them"
        => "remove `#address-cells` and `#size-cells`"),
    check!("DTB141" "unique_unit_address" Warning ["avoid_default_addr_size"] Style Test::Node(unit::unique), "two nodes of one parent have the same unit address"
        => "often two drivers for one device, of which one is off: see that not both are on"),
    check!("DTB142" "unique_unit_address_if_enabled" Off ["avoid_default_addr_size"] Device Test::Node(unit::unique_enabled), "two nodes of one parent that are on have the same unit address"
        => "switch one of them off"),
    check!("DTB143" "obsolete_chosen_interrupt_controller" Warning [] Device Test::Node(interrupts::chosen), "/chosen has `interrupt-controller`, which no kernel reads"
        => "remove it"),
    check!("DTB144" "chosen_node_is_root" Warning [] Device Test::Node(chosen::place), "a node named chosen is not at the top: kernels do not read it"
        => "move it to /chosen"),
    check!("DTB145" "chosen_node_bootargs" Warning [] Device Test::Node(chosen::bootargs), "`bootargs` is not a string"
        => "write the command line as one string"),
    check!("DTB146" "chosen_node_stdout_path" Warning [] Device Test::Node(chosen::stdout), "the console is not a string, or stands in `linux,stdout-path`"
        => "write the console as `stdout-path`, a string such as \"serial2:1500000n8\""),
];

const REFERENCES: [[Check; 2]; 16] = [
    references!("DTB147" "clocks_property" "DTB148" "clocks_is_cell" "clocks" "#clock-cells" false),
    references!("DTB149" "cooling_device_property" "DTB150" "cooling_device_is_cell" "cooling-device" "#cooling-cells" false),
    references!("DTB151" "dmas_property" "DTB152" "dmas_is_cell" "dmas" "#dma-cells" false),
    references!("DTB153" "hwlocks_property" "DTB154" "hwlocks_is_cell" "hwlocks" "#hwlock-cells" false),
    references!("DTB155" "interrupts_extended_property" "DTB156" "interrupts_extended_is_cell" "interrupts-extended" "#interrupt-cells" false),
    references!("DTB157" "io_channels_property" "DTB158" "io_channels_is_cell" "io-channels" "#io-channel-cells" false),
    references!("DTB159" "iommus_property" "DTB160" "iommus_is_cell" "iommus" "#iommu-cells" false),
    references!("DTB161" "mboxes_property" "DTB162" "mboxes_is_cell" "mboxes" "#mbox-cells" false),
    references!("DTB163" "msi_parent_property" "DTB164" "msi_parent_is_cell" "msi-parent" "#msi-cells" true),
    references!("DTB165" "mux_controls_property" "DTB166" "mux_controls_is_cell" "mux-controls" "#mux-control-cells" false),
    references!("DTB167" "phys_property" "DTB168" "phys_is_cell" "phys" "#phy-cells" false),
    references!("DTB169" "power_domains_property" "DTB170" "power_domains_is_cell" "power-domains" "#power-domain-cells" false),
    references!("DTB171" "pwms_property" "DTB172" "pwms_is_cell" "pwms" "#pwm-cells" false),
    references!("DTB173" "resets_property" "DTB174" "resets_is_cell" "resets" "#reset-cells" false),
    references!("DTB175" "sound_dai_property" "DTB176" "sound_dai_is_cell" "sound-dai" "#sound-dai-cells" false),
    references!("DTB177" "thermal_sensors_property" "DTB178" "thermal_sensors_is_cell" "thermal-sensors" "#thermal-sensor-cells" false),
];

const BACK: [Check; 10] = [
    check!("DTB179" "deprecated_gpio_property" Off [] Style Test::Node(provider::gpio_spelling), "a property of GPIOs ends with gpio instead of gpios"
        => "rename it, if the driver knows the newer name"),
    check!("DTB180" "gpios_property" Warning ["phandle_references"] Device Test::Node(provider::gpios), "a property of GPIOs does not hold whole entries of a controller and as many cells as its `#gpio-cells` says"
        => "give each entry as many cells as the `#gpio-cells` of the controller that it names"),
    check!("DTB181" "interrupts_property" Warning ["phandle_references"] Device Test::Node(interrupts::property), "`interrupts` has no controller, or not whole entries for it"
        => "name the controller in `interrupt-parent` and give each entry as many cells as its `#interrupt-cells`"),
    check!("DTB182" "interrupt_provider" Warning ["interrupts_extended_is_cell"] Device Test::Node(interrupts::provider), "a node has `#interrupt-cells` but is no interrupt controller, or the other way round"
        => "add `interrupt-controller` or `#interrupt-cells`"),
    check!("DTB183" "interrupt_map" Warning ["phandle_references", "addr_size_cells", "interrupt_provider"] Device Test::Node(interrupts::map), "`interrupt-map` does not hold whole entries"
        => "count the cells of each entry: own address and interrupt, controller, its address and interrupt"),
    check!("DTB184" "alias_paths" Warning [] Device Test::Node(chosen::aliases), "an alias is no path of a node, or its name has other characters than small letters, digits and -"
        => "let the alias name a node that exists; names with _ work in Linux"),
    check!("DTB185" "graph_nodes" Warning [] Style Test::Node(graph::nodes), "an endpoint stands right below the root"
        => "move the endpoint into a port of its device"),
    check!("DTB186" "graph_port" Warning ["graph_nodes"] Style Test::Node(graph::port), "a port of a device graph is not named port, or its address is not its unit address"
        => "name it port, or port@N with `reg = <N>`"),
    check!("DTB187" "graph_endpoint" Warning ["graph_nodes"] Style Test::Node(graph::endpoint), "an endpoint of a device graph is not named endpoint, or is not named back by the one that it names"
        => "let both endpoints name each other in `remote-endpoint`"),
    check!("DTB188" "always_fail" Off [] Style Test::Node(always_fail), "the check that always fails, for trying out options"
        => "do not switch it on"),
];

/// All of them, in dtc's order.
pub const CHECKS: &[Check; COUNT] = &join();

pub(super) const COUNT: usize = FRONT.len() + 2 * REFERENCES.len() + BACK.len();

#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "runs in the compiler")]
const fn join() -> [Check; COUNT] {
    let mut all = [FRONT[0]; COUNT];
    let mut at = 0;
    while at < COUNT {
        all[at] = if at < FRONT.len() {
            FRONT[at]
        } else if at < FRONT.len() + 2 * REFERENCES.len() {
            REFERENCES[(at - FRONT.len()) / 2][(at - FRONT.len()) % 2]
        } else {
            BACK[at - FRONT.len() - 2 * REFERENCES.len()]
        };
        at += 1;
    }
    all
}

/// The rows of [`RULES`](crate::RULES) for these checks.
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "runs in the compiler")]
pub(crate) const fn rules() -> [(&'static str, Severity, &'static str); COUNT] {
    let mut rows = [("", Severity::Info, ""); COUNT];
    let mut at = 0;
    while at < COUNT {
        let check = CHECKS[at];
        rows[at] = (check.code, check.severity(check.level), check.meaning);
        at += 1;
    }
    rows
}

/// The rows of [`CURES`](crate::rules::CURES) for these checks.
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "runs in the compiler")]
pub(crate) const fn cures() -> [(&'static str, &'static str); COUNT] {
    let mut rows = [("", ""); COUNT];
    let mut at = 0;
    while at < COUNT {
        rows[at] = (CHECKS[at].code, CHECKS[at].cure);
        at += 1;
    }
    rows
}

impl Check {
    /// How bad a failure is for a board.
    pub const fn severity(&self, level: Level) -> Severity {
        match (level, self.weight) {
            (Level::Error, _) => Severity::Error,
            (_, Weight::Style) => Severity::Info,
            _ => Severity::Warning,
        }
    }
}

/// What only source text can fail: labels and references are gone in a binary tree.
fn nothing(_: &mut Run<'_>, _: usize) {}

fn always_fail(run: &mut Run<'_>, node: usize) {
    run.fail(node, format_args!("always_fail check"));
}
