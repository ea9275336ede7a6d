//! `edit`: changes a tree.

use std::{io::Write as _, path::PathBuf};

use clap::Args;
use dtbtool::{
    Edit as Change, WriteOptions,
    edit::{self, Value as PropertyValue, parse_mac},
    model::DeviceTree,
};
use serde_json::{Value, json};

use crate::{Input, Outcome, Usage, files, output};

#[derive(Args)]
pub(crate) struct Edit {
    #[command(flatten)]
    pub(crate) input: Input,
    /// Give a property a value: "text", <1 0x20 &label>, [00 1f], a bare word, or "" for none
    #[arg(long, num_args = 3, value_names = ["NODE", "PROPERTY", "VALUE"], action = clap::ArgAction::Append, allow_hyphen_values = true)]
    set: Vec<String>,
    /// Remove a node, or "NODE PROPERTY" in one word to remove a property
    #[arg(long, value_name = "NODE[ PROPERTY]")]
    delete: Vec<String>,
    /// Set a node's status to okay
    #[arg(long, value_name = "NODE")]
    enable: Vec<String>,
    /// Set a node's status to disabled
    #[arg(long, value_name = "NODE")]
    disable: Vec<String>,
    /// Give a network device its address, such as 02:1a:2b:3c:4d:5e
    #[arg(long, num_args = 2, value_names = ["NODE", "ADDRESS"], action = clap::ArgAction::Append)]
    mac: Vec<String>,
    /// An edit as text: set NODE PROPERTY VALUE, delete NODE [PROPERTY], enable NODE, disable NODE, local-mac-address NODE ADDRESS
    #[arg(long = "edit", value_name = "TEXT", value_parser = |text: &str| Change::parse(text).map_err(|error| error.to_string()))]
    edits: Vec<Change>,
    /// The file to write; it appears complete or not at all, and may be the one that is read
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

pub(crate) fn run(arguments: &Edit) -> anyhow::Result<Outcome> {
    let changes = changes(arguments).map_err(|error| error.context(Usage))?;
    let bytes = files::read(&arguments.input.file)?;
    let mut tree = DeviceTree::from(files::parse(&arguments.input.file, &bytes)?);
    let mut report = edit::apply(&mut tree, &changes)?;
    let written = tree.to_bytes(&WriteOptions::default())?;
    let (found, new) = output::brought(&bytes, &written);
    if !new.is_empty() {
        report.extend(new);
        let report = report.owned_by(&arguments.output.display().to_string(), 0);
        let mut text = Vec::new();
        output::findings(&report, &mut text)?;
        writeln!(text, "{}: the edits would do this to the tree: nothing is written", arguments.output.display())?;
        return Ok(Outcome { ok: false, text, report, result: Value::Null });
    }
    report.extend(found);
    files::replace(&arguments.output, &written)?;
    let report = report.owned_by(&arguments.output.display().to_string(), 0);
    let mut text = Vec::new();
    let count = changes.len();
    let edits = if count == 1 { "edit" } else { "edits" };
    writeln!(text, "{}: {} bytes, {count} {edits}", arguments.output.display(), written.len())?;
    output::findings(&report, &mut text)?;
    let result = json!({ "output": arguments.output.display().to_string(), "bytes": written.len(), "edits": count });
    Ok(Outcome { ok: true, text, report, result })
}

/// All that is asked for: deletions, values, switches, addresses, then edits given as text.
fn changes(arguments: &Edit) -> anyhow::Result<Vec<Change>> {
    let mut changes = Vec::new();
    for text in &arguments.delete {
        let (node, property) = text
            .split_once(char::is_whitespace)
            .map_or((text.as_str(), None), |(node, property)| (node, Some(property.trim().to_owned())));
        changes.push(Change::Delete { node: node.to_owned(), property });
    }
    for words in arguments.set.chunks_exact(3) {
        if let [node, property, value] = words {
            changes.push(Change::Set {
                node: node.clone(),
                property: property.clone(),
                value: PropertyValue::parse(value)?,
            });
        }
    }
    changes.extend(arguments.enable.iter().map(|node| Change::Enable { node: node.clone() }));
    changes.extend(arguments.disable.iter().map(|node| Change::Disable { node: node.clone() }));
    for words in arguments.mac.chunks_exact(2) {
        if let [node, address] = words {
            changes.push(Change::LocalMacAddress { node: node.clone(), address: parse_mac(address)? });
        }
    }
    changes.extend(arguments.edits.iter().cloned());
    anyhow::ensure!(!changes.is_empty(), "no edit is given: use --set, --delete, --enable, --disable, --mac or --edit");
    Ok(changes)
}
