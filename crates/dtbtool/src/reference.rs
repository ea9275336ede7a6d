//! Which properties refer to other nodes, and with how many arguments.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

/// How the references of a property are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arguments {
    /// Phandles alone.
    None,
    /// Each phandle is followed by as many cells as the target's property of this name says.
    Cells(&'static str),
    /// The same, and none when the target has no such property.
    Optional(&'static str),
}

/// Properties by name (dtc's checks.c, and the kernel's bindings for those that it does not know).
const NAMES: &[(&str, Arguments)] = &[
    ("assigned-clock-parents", Arguments::Cells("#clock-cells")),
    ("assigned-clocks", Arguments::Cells("#clock-cells")),
    ("clocks", Arguments::Cells("#clock-cells")),
    ("cooling-device", Arguments::Cells("#cooling-cells")),
    ("cpu-idle-states", Arguments::None),
    ("dmas", Arguments::Cells("#dma-cells")),
    ("ethernet-phy", Arguments::None),
    ("hwlocks", Arguments::Cells("#hwlock-cells")),
    ("interconnects", Arguments::Cells("#interconnect-cells")),
    ("interrupt-affinity", Arguments::None),
    ("interrupt-parent", Arguments::None),
    ("interrupts-extended", Arguments::Cells("#interrupt-cells")),
    ("io-channels", Arguments::Cells("#io-channel-cells")),
    ("iommus", Arguments::Cells("#iommu-cells")),
    ("mboxes", Arguments::Cells("#mbox-cells")),
    ("memory-region", Arguments::None),
    ("mmc-pwrseq", Arguments::None),
    ("msi-parent", Arguments::Optional("#msi-cells")),
    ("mux-controls", Arguments::Cells("#mux-control-cells")),
    ("next-level-cache", Arguments::None),
    ("nvmem", Arguments::None),
    ("nvmem-cells", Arguments::Optional("#nvmem-cell-cells")),
    ("operating-points-v2", Arguments::None),
    ("phy-handle", Arguments::None),
    ("phys", Arguments::Cells("#phy-cells")),
    ("power-domains", Arguments::Cells("#power-domain-cells")),
    ("pwms", Arguments::Cells("#pwm-cells")),
    ("remote-endpoint", Arguments::None),
    ("resets", Arguments::Cells("#reset-cells")),
    ("sound-dai", Arguments::Cells("#sound-dai-cells")),
    ("thermal-sensors", Arguments::Cells("#thermal-sensor-cells")),
    ("trip", Arguments::None),
];

/// How a property refers to other nodes; `None` when its name does not say that it does.
pub(crate) fn arguments(property: &str) -> Option<Arguments> {
    if let Some((_, arguments)) = NAMES.iter().find(|(name, _)| *name == property) {
        return Some(*arguments);
    }
    let state = property.strip_prefix("pinctrl-");
    if state.is_some_and(|state| !state.is_empty() && state.bytes().all(|digit| digit.is_ascii_digit()))
        || property.ends_with("-supply")
    {
        return Some(Arguments::None);
    }
    // `gpio` alone and `nr-gpios` are numbers (dtc's gpios_property knows the second one too).
    let gpios = property.ends_with("-gpios") || property.ends_with("-gpio") || property == "gpios";
    (gpios && !property.ends_with("nr-gpios")).then_some(Arguments::Cells("#gpio-cells"))
}

/// Whether a property begins with a phandle.
pub(crate) fn is_reference(property: &str) -> bool {
    arguments(property).is_some()
}
