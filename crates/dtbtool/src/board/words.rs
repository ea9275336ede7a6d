//! The vocabulary of required devices and how each is found in vendor and mainline trees.

use super::index::Entry;
use crate::view::Node;

/// A kind of device that a board can require.
#[derive(Debug, Clone, Copy)]
pub struct RequireWord {
    /// The word.
    pub word: &'static str,
    /// What satisfies it.
    pub meaning: &'static str,
    /// Any of these.
    pub(super) finders: &'static [Finder],
    /// Hosts that may carry the device without a node of its own.
    pub(super) bridges: &'static [Finder],
}

/// Which nodes are devices of a kind. All conditions must hold; empty ones do.
#[derive(Debug, Clone, Copy)]
pub(super) struct Finder {
    /// `compatible` has one of these.
    compatible: &'static [Pattern],
    /// Properties that must be there.
    with: &'static [&'static str],
    /// Properties that must not be there.
    without: &'static [&'static str],
    /// Name in front of the `@`, empty for any.
    name: &'static str,
    /// Below a PCI host or bridge.
    below_pci: bool,
    /// Properties that a board adds and a chip's own description lacks, alternatives of sets: with one whole set the
    /// device is wired up.
    wired: &'static [&'static [&'static str]],
}

#[derive(Debug, Clone, Copy)]
enum Pattern {
    Is(&'static str),
    Begins(&'static str),
    Ends(&'static str),
}
use Pattern::{Begins, Ends, Is};

impl Pattern {
    fn fits(self, text: &str) -> bool {
        match self {
            Is(whole) => text == whole,
            Begins(start) => text.starts_with(start),
            Ends(end) => text.ends_with(end),
        }
    }
}

impl Finder {
    const ANY: Self = Self { compatible: &[], with: &[], without: &[], name: "", below_pci: false, wired: &[] };

    /// `None` when the node is no such device, else whether the board has wired it up.
    pub(super) fn matches(&self, entry: &Entry<'_>) -> Option<bool> {
        if !entry.known {
            return None;
        }
        let node = entry.node;
        let has = |name: &&str| node.property(name).is_some();
        let fits = (self.compatible.is_empty()
            || entry.compatible().any(|text| self.compatible.iter().any(|pattern| pattern.fits(text))))
            && (self.name.is_empty() || entry.base_name == self.name)
            && (!self.below_pci || entry.below_pci)
            && self.with.iter().all(has)
            && !self.without.iter().any(has)
            && !is_gadget(node);
        fits.then(|| self.wired.iter().any(|set| set.iter().all(has)))
    }
}

/// Whether any word looks for nodes of this name, or with one of these strings.
pub(super) fn is_known<'a>(base_name: &str, compatible: impl Iterator<Item = &'a str>) -> bool {
    let finders = || REQUIRE_WORDS.iter().flat_map(|word| word.finders.iter().chain(word.bridges));
    finders().any(|finder| !finder.name.is_empty() && finder.name == base_name)
        || compatible
            .into_iter()
            .any(|text| finders().any(|finder| finder.compatible.iter().any(|pattern| pattern.fits(text))))
}

/// A USB controller that is a device towards another host carries none itself.
fn is_gadget(node: Node<'_>) -> bool {
    node.property("dr_mode").and_then(|mode| mode.as_str()) == Some("peripheral")
}

const PCIE_HOST: Finder = Finder {
    compatible: &[Ends("-pcie"), Is("pci-host-ecam-generic")],
    with: &["device_type"],
    wired: &[&["reset-gpios"], &["ep-gpios"]],
    ..Finder::ANY
};

const USB3: Finder = Finder { compatible: &[Is("snps,dwc3"), Is("generic-xhci"), Is("xhci-platform")], ..Finder::ANY };

/// A memory card slot is what is neither soldered nor for radio chips.
const NOT_A_SLOT: &[&str] = &["no-sd", "non-removable", "cap-sdio-irq", "mmc-pwrseq", "supports-sdio", "supports-emmc"];

/// The words that [`Expectations::require`](crate::Expectations::require) takes besides paths.
pub const REQUIRE_WORDS: &[RequireWord] = &[
    RequireWord {
        word: "ethernet",
        meaning: "a GMAC, or a network chip on PCIe; a chip without a node counts as there when no GMAC is wired up \
                  and a PCIe host is on",
        finders: &[
            Finder {
                compatible: &[
                    Ends("-gmac"),
                    Ends("-emac"),
                    Is("snps,dwmac"),
                    Is("snps,dwmac-4.20a"),
                    Is("snps,dwmac-5.10a"),
                ],
                // The vendor's user space driver points with it at the real device.
                without: &["rockchip,ethernet"],
                wired: &[&["phy-handle", "pinctrl-0"]],
                ..Finder::ANY
            },
            Finder {
                compatible: &[Begins("pci10ec,81"), Begins("pci8086,15"), Begins("pci8086,12"), Begins("pci1fc9,")],
                ..Finder::ANY
            },
            Finder { name: "ethernet", below_pci: true, ..Finder::ANY },
        ],
        bridges: &[PCIE_HOST],
    },
    RequireWord {
        word: "sd",
        meaning: "a memory card slot: an MMC host that takes SD and is neither soldered nor for radio chips",
        finders: &[Finder {
            compatible: &[Ends("-dw-mshc"), Is("snps,dw-mshc")],
            without: NOT_A_SLOT,
            wired: &[&["cap-sd-highspeed"], &["supports-sd"]],
            ..Finder::ANY
        }],
        bridges: &[],
    },
    RequireWord {
        word: "emmc",
        meaning: "soldered or plugged eMMC: an SDHCI host, or an MMC host marked as not removable",
        finders: &[
            Finder {
                compatible: &[
                    Ends("-dwcmshc"),
                    Is("rockchip,dwcmshc-sdhci"),
                    Is("arasan,sdhci-5.1"),
                    Ends("-sdhci-5.1"),
                ],
                without: &["no-mmc", "cap-sdio-irq"],
                wired: &[&["non-removable"], &["supports-emmc"]],
                ..Finder::ANY
            },
            Finder {
                compatible: &[Ends("-dw-mshc"), Is("snps,dw-mshc")],
                with: &["non-removable"],
                without: &["no-mmc", "cap-sdio-irq", "mmc-pwrseq", "supports-sdio"],
                wired: &[&["non-removable"]],
                ..Finder::ANY
            },
        ],
        bridges: &[],
    },
    RequireWord {
        word: "sdio",
        meaning: "an MMC host for a radio chip",
        finders: &[
            Finder {
                compatible: &[Ends("-mshc")],
                with: &["cap-sdio-irq"],
                wired: &[&["cap-sdio-irq"]],
                ..Finder::ANY
            },
            Finder {
                compatible: &[Ends("-mshc")],
                with: &["supports-sdio"],
                wired: &[&["supports-sdio"]],
                ..Finder::ANY
            },
        ],
        bridges: &[],
    },
    RequireWord {
        word: "nvme",
        meaning: "a PCIe host, which is where an NVMe drive is",
        finders: &[PCIE_HOST],
        bridges: &[],
    },
    RequireWord { word: "pcie", meaning: "a PCIe host", finders: &[PCIE_HOST], bridges: &[] },
    RequireWord {
        word: "sata",
        meaning: "an AHCI controller",
        finders: &[Finder { compatible: &[Ends("-ahci")], ..Finder::ANY }],
        bridges: &[],
    },
    RequireWord {
        word: "usb",
        meaning: "a USB host of any speed: EHCI, OHCI, XHCI, DWC2, DWC3",
        finders: &[
            USB3,
            Finder { compatible: &[Is("generic-ehci"), Is("generic-ohci"), Is("snps,dwc2")], ..Finder::ANY },
        ],
        bridges: &[],
    },
    RequireWord { word: "usb3", meaning: "a USB 3 host: XHCI, DWC3", finders: &[USB3], bridges: &[] },
    RequireWord {
        word: "hdmi",
        meaning: "an HDMI output",
        finders: &[Finder { compatible: &[Ends("-dw-hdmi"), Ends("-dw-hdmi-qp"), Ends("-inno-hdmi")], ..Finder::ANY }],
        bridges: &[],
    },
    RequireWord {
        word: "serial",
        meaning: "a serial port, or the vendor's debug console on one",
        finders: &[Finder {
            compatible: &[Is("snps,dw-apb-uart"), Is("ns16550a"), Is("arm,pl011"), Is("rockchip,fiq-debugger")],
            ..Finder::ANY
        }],
        bridges: &[],
    },
    RequireWord {
        word: "watchdog",
        meaning: "a hardware watchdog",
        finders: &[Finder { compatible: &[Ends("-wdt"), Is("linux,wdt-gpio")], ..Finder::ANY }],
        bridges: &[],
    },
    RequireWord {
        word: "rtc",
        meaning: "a clock that runs without power: a chip of its own, or in the power controller",
        finders: &[
            Finder { name: "rtc", ..Finder::ANY },
            Finder {
                compatible: &[
                    Ends(",hym8563"),
                    Ends(",pcf8563"),
                    Is("rockchip,rk805"),
                    Is("rockchip,rk808"),
                    Is("rockchip,rk809"),
                    Is("rockchip,rk817"),
                    Is("rockchip,rk818"),
                ],
                ..Finder::ANY
            },
        ],
        bridges: &[],
    },
    RequireWord {
        word: "thermal",
        meaning: "a temperature sensor of the chip",
        finders: &[Finder { compatible: &[Ends("-tsadc")], ..Finder::ANY }],
        bridges: &[],
    },
    RequireWord {
        word: "pmic",
        meaning: "the power controller",
        finders: &[Finder {
            compatible: &[
                Is("rockchip,rk805"),
                Is("rockchip,rk806"),
                Is("rockchip,rk808"),
                Is("rockchip,rk809"),
                Is("rockchip,rk816"),
                Is("rockchip,rk817"),
                Is("rockchip,rk818"),
            ],
            ..Finder::ANY
        }],
        bridges: &[],
    },
    RequireWord {
        word: "spi-flash",
        meaning: "a flash chip on SPI, with its controller",
        finders: &[Finder { compatible: &[Is("jedec,spi-nor"), Is("spi-nand")], ..Finder::ANY }],
        bridges: &[],
    },
    RequireWord {
        word: "leds",
        meaning: "lights",
        finders: &[Finder { compatible: &[Is("gpio-leds"), Is("pwm-leds")], ..Finder::ANY }],
        bridges: &[],
    },
    RequireWord {
        word: "gpu",
        meaning: "the graphics processor",
        finders: &[Finder { compatible: &[Begins("arm,mali")], ..Finder::ANY }],
        bridges: &[],
    },
];
