//! Buses and the addresses on them.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use super::{
    cells::{address_cells, size_cells},
    run::Run,
    view::Bus,
};

pub(super) fn pci_bridge(run: &mut Run<'_>, node: usize) {
    if run.view.value(node, "device_type").is_none_or(|kind| kind.c_string() != b"pci") {
        return;
    }
    run.view.set_bus(node, Bus::Pci);
    if !matches!(run.view.node(node).base, "pci" | "pcie") {
        run.fail(node, format_args!("node name is not \"pci\" or \"pcie\""));
    }
    if !run.view.has(node, "ranges") {
        run.fail(node, format_args!("missing ranges for PCI bridge (or not a bridge)"));
    }
    if address_cells(&run.view, node) != 3 {
        run.fail(node, format_args!("incorrect #address-cells for PCI bridge"));
    }
    if size_cells(&run.view, node) != 2 {
        run.fail(node, format_args!("incorrect #size-cells for PCI bridge"));
    }
    let Some(property) = run.view.find(node, "bus-range") else { return };
    let numbers = run.view.property(property);
    let (Some(first), Some(last), 8) = (numbers.cell(0), numbers.cell(1), numbers.value.len()) else {
        return run.fail_at(node, Some(property), format_args!("value must be 2 cells"));
    };
    if first > last {
        run.fail_at(node, Some(property), format_args!("1st cell must be less than or equal to 2nd cell"));
    }
    if last > 0xff {
        run.fail_at(node, Some(property), format_args!("maximum bus number must be less than 256"));
    }
}

pub(super) fn pci_number(run: &mut Run<'_>, node: usize) {
    if run.view.parent_bus(node) != Some(Bus::Pci) {
        return;
    }
    let Some(first) = run.view.value(node, "reg").and_then(|reg| reg.cell(0)) else { return };
    let number = (first >> 16) & 0xff;
    let range = run.view.node(node).parent.and_then(|host| run.view.find(host, "bus-range"));
    let (min, max) = range.map_or((0, 0), |range| {
        let range = run.view.property(range);
        (range.cell(0).unwrap_or(0), range.cell(1).unwrap_or(0))
    });
    if number < min || number > max {
        let (min, max) = (min.cast_signed(), max.cast_signed());
        run.fail_at(node, range, format_args!("PCI bus number {number} out of range, expected ({min} - {max})"));
    }
}

pub(super) fn pci_device(run: &mut Run<'_>, node: usize) {
    if run.view.parent_bus(node) != Some(Bus::Pci) {
        return;
    }
    let Some(property) = run.view.find(node, "reg") else { return };
    let reg = run.view.property(property);
    let word = |index: usize| reg.cell(index).unwrap_or(0);
    let (first, rest) = (word(0), word(1) | word(2));
    if rest != 0 {
        run.fail_at(node, Some(property), format_args!("PCI reg config space address cells 2 and 3 must be 0"));
    }
    if first & 0xff00_0000 != 0 {
        run.fail_at(node, Some(property), format_args!("PCI reg address is not configuration space"));
    }
    if first & 0xff != 0 {
        run.fail_at(node, Some(property), format_args!("PCI reg config space address register number must be 0"));
    }
    let (device, function) = ((first >> 11) & 0x1f, (first >> 8) & 7);
    let unit = run.view.node(node).unit;
    if function == 0 && unit == format!("{device:x}") {
        return;
    }
    // dtc keeps four characters, which is enough for these numbers.
    let expected = format!("{device:x},{function:x}");
    if unit != expected {
        run.fail(node, format_args!("PCI unit address format error, expected \"{expected}\""));
    }
}

pub(super) fn simple_bridge(run: &mut Run<'_>, node: usize) {
    let simple = |property: &super::view::Property<'_>| {
        property.value.split(|byte| *byte == 0).any(|string| string == b"simple-bus")
    };
    if run.view.value(node, "compatible").is_some_and(simple) {
        run.view.set_bus(node, Bus::Simple);
    }
}

pub(super) fn simple_device(run: &mut Run<'_>, node: usize) {
    let Some(parent) = run.view.node(node).parent.filter(|_| run.view.parent_bus(node) == Some(Bus::Simple)) else {
        return;
    };
    let ranges = || {
        let ranges = run.view.value(node, "ranges").filter(|ranges| !ranges.value.is_empty())?;
        // In front of the parent's address stands the child's.
        Some((ranges, usize::try_from(address_cells(&run.view, node)).unwrap_or(0)))
    };
    let Some((property, skip)) = run.view.value(node, "reg").map(|reg| (reg, 0)).or_else(ranges) else {
        if run.view.node(parent).parent.is_some() && run.view.node(node).bus != Some(Bus::Simple) {
            run.fail(node, format_args!("missing or empty reg/ranges property"));
        }
        return;
    };
    let count = usize::try_from(address_cells(&run.view, parent)).unwrap_or(0);
    let address = property.value.as_chunks::<4>().0.iter().skip(skip).take(count);
    let address = address.fold(0_u64, |address, cell| (address << 32) | u64::from(u32::from_be_bytes(*cell)));
    let expected = format!("{address:x}");
    if run.view.node(node).unit != expected {
        run.fail(node, format_args!("simple-bus unit address format error, expected \"{expected}\""));
    }
}

pub(super) fn i2c_bridge(run: &mut Run<'_>, node: usize) {
    let view = &run.view;
    let muxed = || view.children(node).iter().any(|child| view.node(*child).base == "i2c-bus");
    match view.node(node).base {
        "i2c-bus" | "i2c-arb" => {}
        "i2c" if !muxed() => {}
        _ => return,
    }
    run.view.set_bus(node, Bus::I2c);
    if run.view.children(node).is_empty() {
        return;
    }
    if address_cells(&run.view, node) != 1 {
        run.fail(node, format_args!("incorrect #address-cells for I2C bus"));
    }
    if size_cells(&run.view, node) != 0 {
        run.fail(node, format_args!("incorrect #size-cells for I2C bus"));
    }
}

/// Bits that say something else than the address (`dt-bindings/i2c/i2c.h`).
const OWN_ADDRESS: u32 = 1 << 30;
const TEN_BITS: u32 = 1 << 31;

pub(super) fn i2c_device(run: &mut Run<'_>, node: usize) {
    if run.view.parent_bus(node) != Some(Bus::I2c) {
        return;
    }
    let Some(property) = run.view.find(node, "reg").filter(|reg| !run.view.property(*reg).value.is_empty()) else {
        return run.fail(node, format_args!("missing or empty reg property"));
    };
    let (addresses, _) = run.view.property(property).value.as_chunks::<4>();
    let mut addresses = addresses.iter().map(|cell| u32::from_be_bytes(*cell) & !OWN_ADDRESS).peekable();
    let expected = format!("{:x}", addresses.peek().copied().unwrap_or(0));
    if run.view.node(node).unit != expected {
        run.fail(node, format_args!("I2C bus unit address format error, expected \"{expected}\""));
    }
    for address in addresses {
        if address & TEN_BITS != 0 {
            if address & !TEN_BITS > 0x3ff {
                let message = format_args!("I2C address must be less than 10-bits, got \"0x{address:x}\"");
                run.fail_at(node, Some(property), message);
            }
        } else if address > 0x7f {
            let message = format_args!(
                "I2C address must be less than 7-bits, got \"0x{address:x}\". Set I2C_TEN_BIT_ADDRESS for 10 bit \
                 addresses or fix the property"
            );
            run.fail_at(node, Some(property), message);
        }
    }
}

pub(super) fn spi_bridge(run: &mut Run<'_>, node: usize) {
    if run.view.node(node).base == "spi" {
        run.view.set_bus(node, Bus::Spi);
    } else {
        // A bus by another name: its devices have properties for SPI.
        if address_cells(&run.view, node) != 1 || size_cells(&run.view, node) != 0 {
            return;
        }
        let view = &run.view;
        let speaks =
            |child: &usize| view.properties(*child).any(|property| view.property(property).name.starts_with("spi-"));
        if view.children(node).iter().any(speaks) {
            run.view.set_bus(node, Bus::Spi);
        }
        if run.view.node(node).bus == Some(Bus::Spi) && run.view.has(node, "reg") {
            run.fail(node, format_args!("node name for SPI buses should be 'spi'"));
        }
    }
    if run.view.node(node).bus != Some(Bus::Spi) || run.view.children(node).is_empty() {
        return;
    }
    let count = i32::from(!run.view.has(node, "spi-slave"));
    if address_cells(&run.view, node) != count {
        run.fail(node, format_args!("incorrect #address-cells for SPI bus"));
    }
    if size_cells(&run.view, node) != 0 {
        run.fail(node, format_args!("incorrect #size-cells for SPI bus"));
    }
}

pub(super) fn spi_device(run: &mut Run<'_>, node: usize) {
    let on_bus = run.view.parent_bus(node) == Some(Bus::Spi);
    // The other end of the wire: there are no chip selects.
    let slave = run.view.node(node).parent.is_some_and(|bus| run.view.has(bus, "spi-slave"));
    if !on_bus || slave {
        return;
    }
    let Some(select) = run.view.value(node, "reg").and_then(|reg| reg.cell(0)) else {
        return run.fail(node, format_args!("missing or empty reg property"));
    };
    let expected = format!("{select:x}");
    if run.view.node(node).unit != expected {
        run.fail(node, format_args!("SPI bus unit address format error, expected \"{expected}\""));
    }
}
