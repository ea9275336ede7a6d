//! Text that dtc compiles back to the same tree.

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::fmt::Write as _;

use crate::{property::Property, view::Fdt};

/// The tree as device tree source.
///
/// Values have no types in a binary tree, so they are guessed as dtc guesses them: text as strings, else whole
/// words as cells, else bytes. The guess never changes the bytes. What source text cannot say is lost: names with
/// characters that dtc's grammar lacks, and the difference between one node and two of the same name.
///
/// ```
/// use dtbtool::{Fdt, WriteOptions, model::{DeviceTree, Property}};
///
/// let mut tree = DeviceTree::new();
/// tree.root_mut().properties.push(Property::cells("reg", [0, 0xfe1c_0000]));
/// let bytes = tree.to_bytes(&WriteOptions::default())?;
/// assert_eq!(dtbtool::to_dts(&Fdt::parse(&bytes)?), "/dts-v1/;\n\n/ {\n\treg = <0x00 0xfe1c0000>;\n};\n");
/// # Ok::<(), dtbtool::Error>(())
/// ```
pub fn to_dts(fdt: &Fdt<'_>) -> String {
    let mut text = String::from("/dts-v1/;\n\n");
    for reservation in fdt.memory_reservations() {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "/memreserve/\t0x{:016x} 0x{:016x};", reservation.address, reservation.size);
    }
    let mut open = 0_usize;
    for (depth, node) in fdt.walk() {
        close(&mut text, &mut open, depth);
        if depth > 0 {
            text.push('\n');
        }
        indent(&mut text, depth);
        text.push_str(if depth == 0 { "/" } else { node.name() });
        text.push_str(" {\n");
        open = depth.saturating_add(1);
        for property in node.properties() {
            indent(&mut text, open);
            text.push_str(property.name());
            write_value(&mut text, &property);
            text.push_str(";\n");
        }
    }
    close(&mut text, &mut open, 0);
    text
}

fn indent(text: &mut String, depth: usize) {
    text.extend(std::iter::repeat_n('\t', depth));
}

fn close(text: &mut String, open: &mut usize, depth: usize) {
    while *open > depth {
        *open = open.saturating_sub(1);
        indent(text, *open);
        text.push_str("};\n");
    }
}

fn write_value(text: &mut String, property: &Property<'_>) {
    if !property.value().is_empty() {
        text.push_str(" = ");
        guess(text, property.value());
    }
}

/// A value alone, as source text.
pub(crate) fn value_text(value: &[u8]) -> String {
    let mut text = String::new();
    if !value.is_empty() {
        guess(&mut text, value);
    }
    text
}

fn guess(text: &mut String, value: &[u8]) {
    if let Some(strings) = as_text(value) {
        for (index, string) in strings.enumerate() {
            text.push_str(if index == 0 { "\"" } else { ", \"" });
            for byte in string {
                escape(text, *byte);
            }
            text.push('"');
        }
    } else if let (cells, []) = value.as_chunks::<4>() {
        for (index, cell) in cells.iter().enumerate() {
            text.push(if index == 0 { '<' } else { ' ' });
            let _ = write!(text, "0x{:02x}", u32::from_be_bytes(*cell));
        }
        text.push('>');
    } else {
        for (index, byte) in value.iter().enumerate() {
            text.push(if index == 0 { '[' } else { ' ' });
            let _ = write!(text, "{byte:02x}");
        }
        text.push(']');
    }
}

/// The strings of a value that dtc takes for text: printable, ends with a NUL, more letters than NULs.
fn as_text(value: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
    let (last, text) = value.split_last()?;
    let letters = value.iter().filter(|byte| **byte != 0).count();
    let printable = |byte: &u8| matches!(*byte, 0 | 0x07..=0x0d) || byte.is_ascii_graphic() || *byte == b' ';
    (*last == 0 && letters > value.len().saturating_sub(letters) && value.iter().all(printable))
        .then(|| text.split(|byte| *byte == 0))
}

fn escape(text: &mut String, byte: u8) {
    match byte {
        b'"' => text.push_str("\\\""),
        b'\\' => text.push_str("\\\\"),
        0x07 => text.push_str("\\a"),
        0x08 => text.push_str("\\b"),
        b'\t' => text.push_str("\\t"),
        b'\n' => text.push_str("\\n"),
        0x0b => text.push_str("\\v"),
        0x0c => text.push_str("\\f"),
        b'\r' => text.push_str("\\r"),
        other => text.push(char::from(other)),
    }
}
