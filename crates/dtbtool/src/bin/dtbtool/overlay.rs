//! `overlay`: applies overlays, or says whether they can be applied.

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use clap::{Args, Subcommand};
use dtbtool::{
    Fdt,
    overlay::{self, Resolution},
    scan,
};
use imgcore::Report;
use serde_json::{Value, json};

use crate::{Outcome, files, output};

#[derive(Subcommand)]
pub(crate) enum Overlay {
    /// Write the base with the overlays applied in order, as fdtoverlay does
    #[command(
        after_help = "Examples:\n  dtbtool overlay apply base.dtb camera.dtbo -o board.dtb\n  dtbtool overlay apply \
                            base.dtb dtbo.img#1 more.dtbo -o board.dtb\n\nExit codes: 0 done, 1 an overlay cannot be \
                            applied (nothing is written), 2 usage, 3 no such file, 4 reading or writing failed"
    )]
    Apply(Apply),
    /// Say label by label what the overlays need and whether the base has it
    #[command(after_help = "Examples:\n  dtbtool overlay check base.dtb camera.dtbo\n  dtbtool overlay check --json \
                            base.dtb a.dtbo b.dtbo | jq .result\n\nExit codes: 0 all can be applied, 1 not all, 2 \
                            usage, 3 no such file, 4 reading failed")]
    Check(Check),
}

#[derive(Args)]
pub(crate) struct Apply {
    #[command(flatten)]
    input: Inputs,
    /// The file to write; it appears complete or not at all
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

#[derive(Args)]
pub(crate) struct Check {
    #[command(flatten)]
    input: Inputs,
}

#[derive(Args)]
struct Inputs {
    /// The tree to change, compiled with dtc -@ if the overlays use labels
    base: PathBuf,
    /// Overlays; FILE#N is entry N of an Android table of overlays (dtbo.img), counted from 0
    #[arg(required = true)]
    overlays: Vec<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Overlay {
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Apply(_) => "overlay apply",
            Self::Check(_) => "overlay check",
        }
    }

    pub(crate) fn json(&self) -> bool {
        self.inputs().json
    }

    fn inputs(&self) -> &Inputs {
        match self {
            Self::Apply(arguments) => &arguments.input,
            Self::Check(arguments) => &arguments.input,
        }
    }
}

pub(crate) fn run(command: &Overlay) -> anyhow::Result<Outcome> {
    let Inputs { base, overlays, .. } = command.inputs();
    let mut tree = files::read(base)?;
    files::parse(base, &tree)?;
    let sources = overlays.iter().map(|path| files::read_overlay(path)).collect::<anyhow::Result<Vec<_>>>()?;
    let parsed = overlays.iter().zip(&sources).map(|(path, bytes)| files::parse(path, bytes));
    let parsed: Vec<Fdt<'_>> = parsed.collect::<anyhow::Result<_>>()?;
    let (mut report, mut text, mut results, mut ok) = (Report::new(), Vec::new(), Vec::new(), true);
    let checking = matches!(command, Overlay::Check(_));
    for (path, fdt) in overlays.iter().zip(&parsed) {
        let before = Fdt::parse(&tree)?;
        let (resolution, mut found) = overlay::resolve(&before, fdt);
        // The next one sees what this one did.
        let changed = overlay::apply(&before, std::slice::from_ref(fdt));
        if let Ok(changed) = &changed {
            found.extend(output::brought(&tree, changed).1);
        }
        // A file that changes nothing is a file taken for another one.
        let applies = !found.has_errors() && resolution.applies && !resolution.fragments.is_empty();
        ok &= applies;
        if checking || !applies {
            let verdict = if applies { "can be applied" } else { "cannot be applied" };
            writeln!(text, "{}: {verdict}", path.display())?;
        }
        if checking {
            draw(&resolution, &mut text)?;
        }
        let found = found.owned_by(&path.display().to_string(), 0);
        output::findings(&found, &mut text)?;
        if let (Err(error), false) = (&changed, checking) {
            writeln!(text, "error: {}: {error}", path.display())?;
        }
        report.extend(found);
        results.push(json!({
            "file": path.display().to_string(),
            "applies": applies,
            "fragments": resolution.fragments.iter()
                .map(|fragment| json!({ "name": fragment.name, "target": fragment.target })).collect::<Vec<_>>(),
            "labels": resolution.labels.iter()
                .map(|label| json!({ "name": label.name, "path": label.path, "uses": label.uses })).collect::<Vec<_>>(),
        }));
        if let Ok(changed) = changed {
            tree = changed;
        }
    }
    let Overlay::Apply(arguments) = command else {
        return Ok(Outcome { ok, text, report, result: Value::Array(results) });
    };
    let output = arguments.output.display().to_string();
    if !ok {
        writeln!(text, "{output}: nothing is written")?;
        return Ok(Outcome { ok, text, report, result: Value::Null });
    }
    files::replace(&arguments.output, &tree)?;
    let result_findings = scan(&tree).1.owned_by(&output, 0);
    writeln!(text, "{output}: {} bytes, {} applied", tree.len(), plural(parsed.len()))?;
    output::findings(&result_findings, &mut text)?;
    report.extend(result_findings);
    let result = json!({ "output": output, "bytes": tree.len() });
    Ok(Outcome { ok, text, report, result })
}

/// What an overlay asks of the base, label by label.
fn draw(resolution: &Resolution, text: &mut Vec<u8>) -> io::Result<()> {
    for fragment in &resolution.fragments {
        writeln!(text, "  {:<16}changes {}", output::clean(&fragment.name), output::clean(&fragment.target))?;
    }
    for label in &resolution.labels {
        let found =
            label.path.as_deref().map_or_else(|| "is missing in the base".to_owned(), |path| format!("is {path}"));
        writeln!(text, "  &{:<15}{}", output::clean(&label.name), output::clean(&found))?;
    }
    Ok(())
}

fn plural(count: usize) -> String {
    if count == 1 { "1 overlay".to_owned() } else { format!("{count} overlays") }
}
