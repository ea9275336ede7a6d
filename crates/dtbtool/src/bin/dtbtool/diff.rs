//! `diff`: what differs between two trees, by meaning.

use std::{io::Write as _, path::PathBuf};

use clap::Args;
use dtbtool::diff::{Diff as Difference, diff};
use imgcore::Report;
use serde_json::{Value, json};

use crate::{Outcome, files, output};

#[derive(Args)]
pub(crate) struct Diff {
    /// The first tree
    first: PathBuf,
    /// The second tree
    second: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) fn run(arguments: &Diff) -> anyhow::Result<Outcome> {
    let (first, second) = (files::read(&arguments.first)?, files::read(&arguments.second)?);
    let difference = diff(&files::parse(&arguments.first, &first)?, &files::parse(&arguments.second, &second)?);
    let mut text = Vec::new();
    for change in &difference.changes {
        writeln!(text, "{}", output::clean(&change.to_string()))?;
    }
    writeln!(text, "{}", difference.summary)?;
    let result = if arguments.json { describe(&difference) } else { Value::Null };
    Ok(Outcome { ok: difference.is_empty(), text, report: Report::new(), result })
}

fn describe(difference: &Difference) -> Value {
    let changes = difference.changes.iter().map(|change| {
        json!({ "path": change.path, "property": change.property, "before": change.before, "after": change.after })
    });
    let summary = &difference.summary;
    json!({
        "equal": difference.is_empty(),
        "changes": changes.collect::<Vec<_>>(),
        "summary": {
            "nodes_added": summary.nodes_added,
            "nodes_removed": summary.nodes_removed,
            "properties_added": summary.properties_added,
            "properties_removed": summary.properties_removed,
            "properties_changed": summary.properties_changed,
            "header": summary.header,
        },
    })
}
