//! `verify` of an archive: its structure, its images, and whether it is what the record beside it says.

use std::{fmt::Write as _, path::Path, sync::Arc};

use fs_err as fs;
use imgcore::{Finding, ReadAt, Report};
use serde_json::json;

use super::{Asked, judge};
use crate::{
    allow::Allowed,
    error::Result,
    installer_image::INSTALLER_TAR,
    overlay_image::OVERLAY_TAR,
    record::{BUILD_JSON, Record},
    verify::{Verified, digest_of, verdict},
};

/// Verifies an archive.
///
/// # Errors
/// The medium; a scenario that the board does not have.
pub(crate) fn verify(
    path: &Path,
    file: Arc<dyn ReadAt>,
    asked: Option<Asked<'_>>,
    allowed: &Allowed,
) -> Result<Verified> {
    let (summary, mut report) = ocipack::inspect(Arc::clone(&file));
    recorded(path, file.as_ref(), &mut report)?;
    let (view, _) = ocipack::read::open(file);
    let judged = view.map(|view| judge(&view, asked)).transpose()?;
    let mut text = summary.as_ref().map(ToString::to_string).unwrap_or_default();
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    for line in judged.iter().flat_map(|judged| &judged.lines) {
        let _ = writeln!(text, "{line}");
    }
    let kind = judged.as_ref().map(|judged| judged.kind.name());
    report.extend(judged.map(|judged| judged.report).unwrap_or_default());
    let report = allowed.apply(report.owned_by(&path.display().to_string(), 0));
    let _ = writeln!(text, "{}", verdict(&report));
    let facts = summary.map(|summary| summary.facts());
    Ok(Verified { result: json!({ "kind": "oci", "image": kind, "facts": facts }), text, report })
}

/// What the record beside an output says of it.
fn recorded(path: &Path, file: &dyn ReadAt, report: &mut Report) -> Result<()> {
    let record_path = path.with_file_name(BUILD_JSON);
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    if !record_path.is_file() || !(name == OVERLAY_TAR || name == INSTALLER_TAR) {
        return Ok(());
    }
    // It may be somebody else's: then it says nothing of this file.
    let Ok(record) = serde_json::from_slice::<Record>(&fs::read(&record_path)?) else { return Ok(()) };
    let Some(output) = [record.overlay, record.installer].into_iter().flatten().find(|output| output.name == name)
    else {
        report.push(
            Finding::warning("VFY006", format!("{} lists no {name}", record_path.display()))
                .help("the file is of another build than the record beside it"),
        );
        return Ok(());
    };
    let found = digest_of(file, 0..file.size())?;
    if found != output.sha256 {
        report
            .push(Finding::error("VFY003", format!("{name} has {found}, build.json says {}", output.sha256)).help(
                "the archive was changed after it was built, or is of another build: build all of them together",
            ));
    }
    Ok(())
}
