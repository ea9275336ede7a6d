//! YAML as Go's `gopkg.in/yaml.v3` writes it, byte for byte: the imager's `extensions.yaml` and the text of which a
//! schematic's id is the digest.
//!
//! ```
//! use talosimg::goyaml::{Value, to_string};
//!
//! let value = Value::map([("version", Value::from("20250708")), ("description", Value::from("two\nlines\n"))]);
//! assert_eq!(to_string(&value), "version: \"20250708\"\ndescription: |\n    two\n    lines\n");
//! ```
#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

mod order;
mod resolve;
mod scalar;

#[cfg(test)]
mod tests;

use crate::yaml::{self, NodeKind};

/// A value of a document. Maps keep the order that they are given in; [`sorted`](Self::sorted) is that of a Go map.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number without a fraction.
    Int(i64),
    /// A number above the range of [`Value::Int`].
    Uint(u64),
    /// A number with a fraction or an exponent.
    Float(f64),
    /// A text.
    Str(String),
    /// A list.
    List(Vec<Value>),
    /// A map.
    Map(Vec<(String, Value)>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Str(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Str(text)
    }
}

impl Value {
    /// A map in the given order.
    pub fn map<'a>(entries: impl IntoIterator<Item = (&'a str, Self)>) -> Self {
        Self::Map(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
    }

    /// A map in the order of a Go map's keys: letters by code point, numbers inside them by value.
    pub fn sorted(entries: impl IntoIterator<Item = (String, Self)>) -> Self {
        let mut entries: Vec<_> = entries.into_iter().collect();
        entries.sort_by(|(a, _), (b, _)| order::compare(a, b));
        Self::Map(entries)
    }

    /// A list of texts.
    pub fn texts<'a>(texts: impl IntoIterator<Item = &'a String>) -> Self {
        Self::List(texts.into_iter().map(|text| Self::Str(text.clone())).collect())
    }
}

/// A node of a text as Go reads it where any value is wanted: map keys sorted, unquoted numbers, booleans and `null`
/// as such.
///
/// # Errors
/// An unquoted date, or a key that Go would write on several lines. The message says where.
pub fn read(node: &yaml::Node) -> Result<Value, String> {
    let place = |problem: &str| format!("line {}: {problem}", node.line);
    Ok(match &node.kind {
        NodeKind::Scalar(text, true) => resolve::value(text).map_err(place)?,
        NodeKind::Scalar(text, false) => Value::Str(text.clone()),
        NodeKind::List(items) => Value::List(items.iter().map(read).collect::<Result<_, _>>()?),
        NodeKind::Map(entries) => {
            if entries
                .iter()
                .any(|(key, _)| key.len() > KEY_LIMIT || key.contains(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']))
            {
                return Err(place("a key has more than 120 bytes, or a line break"));
            }
            let entries = entries.iter().map(|(key, node)| Ok((key.clone(), read(node)?)));
            Value::sorted(entries.collect::<Result<Vec<_>, String>>()?)
        }
    })
}

/// Go writes longer keys in another form.
const KEY_LIMIT: usize = 120;

/// Spaces of one level.
const INDENT: usize = 4;

/// The document with its final line break.
pub fn to_string(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Map(entries) if !entries.is_empty() => map(&mut out, entries, 0, true),
        Value::List(items) if !items.is_empty() => list(&mut out, items, 0, true),
        value => {
            inline(&mut out, value, INDENT, 0);
        }
    }
    if !out.ends_with('\n') {
        out.push('\n');
    }
    out
}

/// Where the children of a node at `indent` stand: two further behind a dash, else at the next multiple of four.
const fn child(indent: usize, in_list: bool) -> usize {
    if in_list {
        indent.saturating_add(2)
    } else {
        indent.saturating_div(INDENT).saturating_add(1).saturating_mul(INDENT)
    }
}

fn start_line(out: &mut String, indent: usize) {
    if !out.is_empty() && !out.ends_with('\n') {
        out.push('\n');
    }
    out.extend(std::iter::repeat_n(' ', indent));
}

/// `first_line`: whether the first key stands at the start of a line of its own, not behind a dash.
fn map(out: &mut String, entries: &[(String, Value)], indent: usize, first_line: bool) {
    for (index, (key, value)) in entries.iter().enumerate() {
        if index > 0 || first_line {
            start_line(out, indent);
        }
        out.push_str(&scalar::key(key));
        out.push(':');
        node(out, value, indent, false);
    }
}

fn list(out: &mut String, items: &[Value], indent: usize, first_line: bool) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 || first_line {
            start_line(out, indent);
        }
        out.push('-');
        node(out, item, indent, true);
    }
}

fn node(out: &mut String, value: &Value, indent: usize, in_list: bool) {
    let inner = child(indent, in_list);
    match value {
        Value::Map(entries) if !entries.is_empty() => {
            if in_list {
                out.push(' ');
            }
            map(out, entries, inner, !in_list);
        }
        Value::List(items) if !items.is_empty() => {
            if in_list {
                out.push(' ');
            }
            list(out, items, inner, !in_list);
        }
        value => {
            out.push(' ');
            inline(out, value, inner, inner);
        }
    }
}

/// A scalar or an empty collection; `indent` is where the lines of a block scalar begin.
fn inline(out: &mut String, value: &Value, indent: usize, column: usize) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Int(value) => out.push_str(&value.to_string()),
        Value::Uint(value) => out.push_str(&value.to_string()),
        Value::Float(value) => out.push_str(&scalar::float(*value)),
        Value::Str(text) => scalar::text(out, text, indent, column),
        Value::List(_) => out.push_str("[]"),
        Value::Map(_) => out.push_str("{}"),
    }
}
