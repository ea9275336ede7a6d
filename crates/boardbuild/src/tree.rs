//! The board's device tree as it goes onto the ESP: the input, with the overlays and edits of the board file.

use std::collections::BTreeMap;

use dtbtool::{BindingGeneration, Edit, Fdt, WriteOptions, model::DeviceTree};
use imgcore::{Blob, Digest, Finding, Report, Severity};

use crate::{
    board::Dtb,
    error::Result,
    front::{check_dtb, read},
    inputs::Input,
};

/// U-Boot refuses device trees over 4 MiB; a larger file is read only to say so.
const LIMIT: u64 = 16 << 20;

/// A device tree for the ESP.
#[derive(Debug)]
pub(crate) struct BoardTree {
    /// Path on the ESP.
    pub path: String,
    /// The tree as it came.
    pub input: Input,
    /// What was applied to it, in order.
    pub overlays: Vec<Input>,
    /// The tree as it is written.
    pub blob: Blob,
    /// SHA-256 of the tree as it is written.
    pub digest: Digest,
    /// The bytes as they are written.
    pub bytes: Vec<u8>,
}

impl BoardTree {
    /// Reads, changes and checks the tree. `None` when its input is not there.
    ///
    /// # Errors
    /// When an input cannot be read; what is wrong inside is in the report.
    pub(crate) fn read(wanted: &Dtb, inputs: &BTreeMap<String, Input>, report: &mut Report) -> Result<Option<Self>> {
        let Some(input) = inputs.get(&wanted.source) else { return Ok(None) };
        let mut bytes = read(input, LIMIT)?;
        let mut overlays = Vec::new();
        let mut changed = false;
        for role in &wanted.overlays {
            let Some(overlay) = inputs.get(role) else { continue };
            let overlay_bytes = read(overlay, LIMIT)?;
            if let Some(applied) = apply(&bytes, &overlay_bytes, role, report) {
                bytes = applied;
                changed = true;
            }
            overlays.push(overlay.clone());
        }
        if !wanted.edits.is_empty()
            && let Some(edited) = edit(&bytes, wanted, report)
        {
            bytes = edited;
            changed = true;
        }
        report.extend(check_dtb(&bytes, wanted).owned_by(&wanted.source, 0));
        let (blob, digest) = if changed {
            (Blob::from_bytes(wanted.source.as_str(), bytes.clone()), Digest::of(&bytes))
        } else {
            (input.blob.clone(), input.sha256)
        };
        let path = format!("dtb/{}", wanted.path);
        Ok(Some(Self { path, input: input.clone(), overlays, blob, digest, bytes }))
    }
}

/// Findings about what the board file does not state: the image is built with them. Whether a board is of use without
/// its serial console, or a device without its clock, is for its user to judge.
const JUDGED: std::ops::RangeInclusive<&str> = "DTB089"..="DTB219";

impl BoardTree {
    /// Compares the tree with the kernel that will read it, its arguments, and where U-Boot loads what.
    pub(crate) fn prove(
        &self,
        arguments: &[&str],
        kernel: Option<BindingGeneration>,
        abilities: Option<&rkboot::flow::Abilities>,
    ) -> Report {
        let Ok(tree) = Fdt::parse(&self.bytes) else { return Report::new() };
        let addresses = abilities.map(|abilities| abilities.addresses).unwrap_or_default();
        let size = self.bytes.len() as u64;
        let loaded = [
            ("the device tree that U-Boot loads", addresses.fdt, size),
            ("the boot program", addresses.kernel, 1 << 20),
        ];
        let profile = dtbtool::profile::Profile {
            boot_memory: loaded
                .into_iter()
                .filter_map(|(name, start, size)| Some((name.to_owned(), start?..start?.saturating_add(size))))
                .collect(),
            kernel,
            kernel_arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
            ..dtbtool::profile::Profile::default()
        };
        let mut report = dtbtool::profile::check(&tree, &profile);
        for finding in &mut report {
            if JUDGED.contains(&finding.code) {
                finding.severity = finding.severity.min(Severity::Warning);
            }
        }
        report.owned_by(&self.input.name, 0)
    }
}

/// An overlay applied, if it can be. Every label that it needs and the tree lacks is named before.
fn apply(base: &[u8], overlay: &[u8], role: &str, report: &mut Report) -> Option<Vec<u8>> {
    // A damaged base is reported with all the others of its findings.
    let base = Fdt::parse(base).ok()?;
    let (_, scanned) = dtbtool::scan(overlay);
    let damaged = scanned.has_errors();
    report.extend(scanned.owned_by(role, 0));
    let overlay = Fdt::parse(overlay).ok().filter(|_| !damaged)?;
    let (_, found) = dtbtool::overlay::resolve(&base, &overlay);
    let refused = found.has_errors();
    report.extend(found.owned_by(role, 0));
    match dtbtool::overlay::apply(&base, &[overlay]) {
        Ok(applied) => Some(applied),
        Err(_) if refused => None,
        Err(error) => {
            report.push(cannot_change(error.to_string(), role));
            None
        }
    }
}

fn edit(bytes: &[u8], wanted: &Dtb, report: &mut Report) -> Option<Vec<u8>> {
    let mut tree = DeviceTree::from(Fdt::parse(bytes).ok()?);
    let edits: std::result::Result<Vec<_>, _> = wanted.edits.iter().map(|text| Edit::parse(text)).collect();
    let edited = edits.and_then(|edits| {
        let remarks = dtbtool::edit::apply(&mut tree, &edits)?;
        Ok((remarks, tree.to_bytes(&WriteOptions::default())?))
    });
    match edited {
        Ok((remarks, bytes)) => {
            report.extend(remarks.owned_by(&wanted.source, 0));
            Some(bytes)
        }
        Err(error) => {
            report.push(cannot_change(error.to_string(), &wanted.source));
            None
        }
    }
}

fn cannot_change(message: String, owner: &str) -> Finding {
    Finding::error("VER005", message)
        .of(owner.to_owned())
        .help("correct `overlays` or `edits` under [dtb] in the board file, or use the tree that they were made for")
}
