//! Changes to a tree, as data: set, delete, switch on or off, give a network address.
//!
//! ```
//! use dtbtool::{Edit, edit, model::{DeviceTree, Node, Property}};
//!
//! let mut tree = DeviceTree::new();
//! tree.root_mut().children.push(Node::new("serial@feb50000").with(Property::string("status", "disabled")));
//! tree.root_mut().children.push(Node::new("chosen"));
//! let edits = ["enable /serial@feb50000", r#"set /chosen stdout-path "serial2:1500000n8""#];
//! let edits = edits.into_iter().map(Edit::parse).collect::<Result<Vec<_>, _>>()?;
//! let remarks = edit::apply(&mut tree, &edits)?;
//! assert!(remarks.is_empty());
//! assert_eq!(tree.find("/serial@feb50000").unwrap().property("status"), Some(&b"okay\0"[..]));
//! # Ok::<(), dtbtool::Error>(())
//! ```

#![deny(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

mod parse;
mod place;

use imgcore::{Finding, Report};

use crate::{
    error::{Error, ErrorKind},
    model::{DeviceTree, Node, Property},
    rules,
    tree::shorten,
};
pub use parse::parse_mac;

/// One change. A node is named by its absolute path, by a label (`&uart2`, looked up in `/__symbols__`), or by a path
/// that begins with an alias (`serial2`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// Gives a property a value; adds it as the node's last one if it is not there.
    Set {
        /// The node.
        node: String,
        /// The property's name.
        property: String,
        /// Its value.
        value: Value,
    },
    /// Removes a property, or without one a node with all that is in it.
    Delete {
        /// The node.
        node: String,
        /// The property's name.
        property: Option<String>,
    },
    /// Sets `status = "okay"`.
    Enable {
        /// The node.
        node: String,
    },
    /// Sets `status = "disabled"`.
    Disable {
        /// The node.
        node: String,
    },
    /// Sets `local-mac-address`.
    LocalMacAddress {
        /// The node of the network device.
        node: String,
        /// The address: neither zero nor of a group.
        address: [u8; 6],
    },
}

/// A property's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// None: the property says yes by being there.
    Empty,
    /// Strings, each stored with a NUL.
    Strings(Vec<String>),
    /// Cells of 32 bits.
    Cells(Vec<Cell>),
    /// Bytes.
    Bytes(Vec<u8>),
}

/// A cell of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cell {
    /// A number.
    Number(u32),
    /// The phandle of a node, which gets one if it has none. Named as in [`Edit`].
    Node(String),
}

fn refuse<T>(what: impl Into<String>, problem: impl Into<String>) -> Result<T, Error> {
    Err(ErrorKind::Edit { what: what.into(), problem: problem.into() }.into())
}

/// Makes all changes in order, or none. The order of nodes and properties stays, reservations and the boot processor as
/// well. The report says what the changes do not reach (codes DTB231 to DTB234).
///
/// # Errors
/// [`ErrorKind::Edit`] when a node, label, alias or property is not there, with the nearest name, or when a name or an
/// address is none.
pub fn apply(tree: &mut DeviceTree, edits: &[Edit]) -> Result<Report, Error> {
    let mut changed = tree.clone();
    let mut report = Report::new();
    for edit in edits {
        one(&mut changed, edit, &mut report)?;
    }
    *tree = changed;
    Ok(report)
}

fn one(tree: &mut DeviceTree, edit: &Edit, report: &mut Report) -> Result<(), Error> {
    match edit {
        Edit::Set { node, property, value } => {
            let at = place::find(tree, node)?;
            check_name(property)?;
            let value = bytes(tree, value)?;
            set(tree, &at, Property::new(property.as_str(), value), report);
        }
        Edit::Delete { node, property: Some(property) } => {
            let at = place::find(tree, node)?;
            let Some(target) = place::node_mut(tree, &at) else { return Ok(()) };
            let before = target.properties.len();
            target.properties.retain(|known| known.name != *property);
            if target.properties.len() == before {
                let names = target.properties.iter().map(|known| known.name.as_str());
                let problem = match imgcore::nearest(property, names) {
                    Some(near) => format!("no such property; did you mean {}?", shorten(near)),
                    None => "no such property".to_owned(),
                };
                return refuse(format!("delete {} {}", shorten(node), shorten(property)), problem);
            }
        }
        Edit::Delete { node, property: None } => {
            let at = place::find(tree, node)?;
            let Some((last, parent)) = at.split_last() else {
                return refuse(format!("delete {}", shorten(node)), "the root cannot be deleted");
            };
            let path = place::path(tree, &at);
            if let Some(parent) = place::node_mut(tree, parent)
                && *last < parent.children.len()
            {
                let gone = parent.children.remove(*last);
                left_behind(tree, &path, &gone, report);
            }
        }
        Edit::Enable { node } => {
            let at = place::find(tree, node)?;
            set(tree, &at, Property::string("status", "okay"), report);
            still_off(tree, &at, report);
        }
        Edit::Disable { node } => {
            let at = place::find(tree, node)?;
            set(tree, &at, Property::string("status", "disabled"), report);
        }
        Edit::LocalMacAddress { node, address } => {
            let at = place::find(tree, node)?;
            parse::check_mac(*address)?;
            set(tree, &at, Property::new("local-mac-address", *address), report);
            if place::node(tree, &at).is_some_and(|node| node.property("mac-address").is_some()) {
                let path = place::path(tree, &at);
                let message =
                    format!("{path} has a mac-address as well, which the kernel takes before local-mac-address");
                let finding = Finding::warning(rules::EDIT_MAC_LOSES, message);
                report.push(finding.help(format!("delete {path} mac-address")));
            }
        }
    }
    Ok(())
}

fn set(tree: &mut DeviceTree, at: &[usize], property: Property, report: &mut Report) {
    let same =
        place::node(tree, at).is_some_and(|node| node.property(&property.name) == Some(property.value.as_slice()));
    if same {
        let path = place::path(tree, at);
        let message = format!("{path} {} has this value already", shorten(&property.name));
        report.push(Finding::info(rules::EDIT_NO_CHANGE, message));
    } else if let Some(node) = place::node_mut(tree, at) {
        node.set(property);
    }
}

fn check_name(property: &str) -> Result<(), Error> {
    let fits = |c: char| c.is_ascii_alphanumeric() || ",._+?#-*".contains(c);
    if property.is_empty() || !property.chars().all(fits) {
        return refuse(
            format!("property {:?}", shorten(property)),
            "a name has letters, digits and , . _ + ? # - *, at least one",
        );
    }
    Ok(())
}

fn bytes(tree: &mut DeviceTree, value: &Value) -> Result<Vec<u8>, Error> {
    Ok(match value {
        Value::Empty => Vec::new(),
        Value::Bytes(bytes) => bytes.clone(),
        Value::Strings(strings) => {
            if let Some(odd) = strings.iter().find(|text| text.contains('\0')) {
                return refuse(format!("string {:?}", shorten(odd)), "holds a NUL, which ends strings");
            }
            strings.iter().flat_map(|text| text.bytes().chain([0])).collect()
        }
        Value::Cells(cells) => {
            let mut bytes = Vec::new();
            for cell in cells {
                let number = match cell {
                    Cell::Number(number) => *number,
                    Cell::Node(node) => {
                        let at = place::find(tree, node)?;
                        place::phandle(tree, &at)?
                    }
                };
                bytes.extend_from_slice(&number.to_be_bytes());
            }
            bytes
        }
    })
}

/// A node that is switched on below one that is off stays off.
fn still_off(tree: &DeviceTree, at: &[usize], report: &mut Report) {
    for length in 0..at.len() {
        let around = at.get(..length).unwrap_or_default();
        let status = place::node(tree, around).and_then(|node| node.property("status"));
        if status.is_some_and(|status| !matches!(status, b"okay\0" | b"ok\0")) {
            let (path, above) = (place::path(tree, at), place::path(tree, around));
            let message = format!("{path} is switched on, but {above} around it is off");
            report.push(Finding::warning(rules::EDIT_STILL_OFF, message).help(format!("enable {above}")));
            return;
        }
    }
}

/// Who still names a node that was deleted.
fn left_behind(tree: &DeviceTree, path: &str, gone: &Node, report: &mut Report) {
    let inside = |value: &[u8]| {
        let text = value.split(|byte| *byte == 0).next().unwrap_or_default();
        text.strip_prefix(path.as_bytes()).is_some_and(|rest| matches!(rest.first(), None | Some(b'/' | b':')))
    };
    let mut names = Vec::new();
    for (list, prefix) in [("aliases", "alias "), ("__symbols__", "label ")] {
        let properties = tree.root().child(list).map(|node| node.properties.as_slice()).unwrap_or_default();
        let found = properties.iter().filter(|property| inside(&property.value));
        names.extend(found.map(|property| format!("{prefix}{}", shorten(&property.name))));
    }
    let phandles = place::phandles(gone);
    let mut count = 0_usize;
    if !phandles.is_empty() {
        place::each(tree.root(), |node| {
            for property in node.properties.iter().filter(|property| crate::reference::is_reference(&property.name)) {
                let cells = property.value.as_chunks::<4>().0;
                let first = cells.first().map(|raw| u32::from_be_bytes(*raw));
                count = count.saturating_add(usize::from(first.is_some_and(|first| phandles.contains(&first))));
            }
        });
    }
    if count > 0 {
        names.push(format!("{count} references by phandle"));
    }
    if !names.is_empty() {
        let shown: Vec<String> = names.iter().take(6).cloned().collect();
        let message = format!("{} is deleted, but still named by {}", shorten(path), shown.join(", "));
        let help = "delete those as well, or disable the node instead of deleting it";
        report.push(Finding::warning(rules::EDIT_LEFT_BEHIND, message).help(help));
    }
}
