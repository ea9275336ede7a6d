//! The outputs, one by one.

use std::{io::Write as _, path::Path, sync::Arc};

use imgcore::{Digest, Finding, Report};
use rawimg::sink::{self, Format};
use serde::{Deserialize, Serialize};

use super::{ARCH, Context, start::Start};
use crate::{
    board,
    body::Plan,
    error::{Error, Exit, Result},
    files::{FileSource, Outputs},
    front::Front,
    installer_base::InstallerBase,
    installer_image::{self, INSTALLER_TAR},
    overlay_image::{self, OVERLAY_TAR},
    record::OutputRecord,
    request::Request,
    spi::{SPI_BIN, SpiImage},
};

pub(super) fn spi(image: &SpiImage, outputs: &mut Outputs) -> Result<OutputRecord> {
    let sha256 = outputs.write(SPI_BIN, &image.bytes)?;
    Ok(OutputRecord { name: SPI_BIN.to_owned(), sha256, size: image.bytes.len() as u64 })
}

#[derive(Serialize, Deserialize)]
struct Packed {
    sha256: Digest,
    size: u64,
}

pub(super) fn overlay(
    overlay: &board::Overlay,
    start: &Start,
    front: &Front,
    context: &Context<'_>,
    outputs: &mut Outputs,
) -> Result<(OutputRecord, String)> {
    let action = format!("overlay-archive-{}", env!("CARGO_PKG_VERSION"));
    let key = overlay_image::key(&start.board, overlay, front, &start.installers, start.epoch)?;
    let name = OVERLAY_TAR;
    let path = outputs.folder().join(name);
    let mut file = outputs.temporary()?;
    if let Some(packed) = context.store.action::<Packed>(&action, key)
        && let Some(blob) = context.store.blob(name, packed.sha256)?
    {
        std::io::copy(&mut imgcore::ReadAtCursor::new(&blob), &mut file).map_err(|error| Error::io(&path, &error))?;
        check_overlay(&file, packed.sha256)?;
        outputs.finish(file, name)?;
        let output = OutputRecord { name: name.to_owned(), sha256: packed.sha256, size: packed.size };
        return Ok((output, format!("{name}: hit: taken from the store")));
    }
    let task = format!("packing {name}");
    context.progress.start(&task, None);
    let archive = overlay_image::plan(&start.board, overlay, front, &start.installers, start.epoch)?;
    let mut bytes = Vec::new();
    archive.write_to(&mut bytes).map_err(|error| Error::new(Exit::Io, Finding::error("IOE001", error.to_string())))?;
    file.write_all(&bytes).map_err(|error| Error::io(&path, &error))?;
    let sha256 = Digest::of(&bytes);
    check_overlay(&file, sha256)?;
    outputs.finish(file, name)?;
    context.store.put(&bytes)?;
    let size = bytes.len() as u64;
    context.store.record(&action, key, &Packed { sha256, size })?;
    context.progress.finish(&task);
    Ok((OutputRecord { name: name.to_owned(), sha256, size }, format!("{name}: miss: packed")))
}

/// Writes the installer image and reads it again.
pub(super) fn installer(
    base: &InstallerBase,
    contents: &installer_image::Contents<'_>,
    context: &Context<'_>,
    outputs: &mut Outputs,
    report: &mut Report,
) -> Result<(OutputRecord, String)> {
    let (base, found) = base.image(context)?;
    report.extend(found);
    let plan = contents.plan(base, context)?;
    let path = outputs.folder().join(INSTALLER_TAR);
    let mut file = outputs.temporary()?;
    let task = format!("writing {INSTALLER_TAR}");
    context.progress.start(&task, Some(plan.archive.size()));
    let mut out = Watched { out: std::io::BufWriter::with_capacity(1 << 17, file.as_file_mut()), task: &task, context };
    let written = plan.archive.write_to(&mut out).map_err(|error| {
        if context.progress.cancelled() { Error::cancelled() } else { installer_image::failed(&error) }
    })?;
    out.flush().map_err(|error| Error::io(&path, &error))?;
    drop(out);
    context.progress.finish(&task);
    let source: Arc<dyn imgcore::ReadAt> = Arc::new(FileSource::open(file.path())?);
    installer_image::check(source, contents, &plan)?;
    outputs.finish(file, INSTALLER_TAR)?;
    let output = OutputRecord { name: INSTALLER_TAR.to_owned(), sha256: written.digest, size: written.size };
    Ok((output, format!("{INSTALLER_TAR}: {}", plan.how)))
}

/// A file that tells how far it is, and stops when the user does.
struct Watched<'a, W> {
    out: W,
    task: &'a str,
    context: &'a Context<'a>,
}

impl<W: std::io::Write> std::io::Write for Watched<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.context.progress.cancelled() {
            return Err(std::io::Error::other("cancelled"));
        }
        let count = self.out.write(bytes)?;
        self.context.progress.advance(self.task, count as u64);
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

/// Reads a written overlay archive again, to the last file of its last layer.
fn check_overlay(file: &tempfile::NamedTempFile, sha256: Digest) -> Result<()> {
    let source: Arc<dyn imgcore::ReadAt> = Arc::new(FileSource::open(file.path())?);
    let found = imgcore::Blob::new(OVERLAY_TAR, Arc::clone(&source), None).compute_digest()?;
    let (_, report) = ocipack::inspect(source);
    if found == sha256 && !report.has_errors() {
        return Ok(());
    }
    let finding =
        Finding::error("VFY001", format!("{OVERLAY_TAR} does not read back as packed: {found}, expected {sha256}"))
            .help("the medium or the memory of this machine is at fault, or this program; nothing was published");
    Err(Error::refused(std::iter::once(finding).collect()).after(report))
}

/// File name of the raw image in a format, as the imager's.
fn image_name(format: Format) -> String {
    format!("metal-{ARCH}.{}", format.name())
}

pub(super) fn image(
    plan: &Plan,
    format: Format,
    request: &Request,
    context: &Context<'_>,
    outputs: &mut Outputs,
) -> Result<OutputRecord> {
    let name = image_name(format);
    let path = outputs.folder().join(&name);
    let workers = request.workers.or_else(|| std::thread::available_parallelism().ok().map(usize::from)).unwrap_or(1);
    let options = sink::Options { workers, hash_raw: false };
    let mut file = outputs.temporary()?;
    let failed = |error: rawimg::Error| sink_error(&path, &error);
    let written = if format == Format::Raw {
        sink::write_raw_sparse(&plan.disk, &options, file.as_file_mut(), context.progress).map_err(failed)?
    } else {
        sink::write(&plan.disk, format, &options, file.as_file_mut(), context.progress).map_err(failed)?
    };
    let source: Arc<dyn imgcore::ReadAt> = Arc::new(FileSource::open(file.path())?);
    let stopped = |error: &rawimg::Error| matches!(error.kind(), rawimg::ErrorKind::Cancelled);
    sink::check(source, format, &written, &options, context.progress).map_err(|error| match io_source(&error) {
        Some(_) => sink_error(&path, &error),
        None if stopped(&error) => Error::cancelled(),
        None => Error::refused(
            std::iter::once(
                Finding::error("VFY001", format!("{name} does not read back as planned: {error}")).help(
                    "the medium or the memory of this machine is at fault, or this program; nothing was published",
                ),
            )
            .collect(),
        ),
    })?;
    outputs.finish(file, &name)?;
    Ok(OutputRecord { name, sha256: written.digest, size: written.size })
}

pub(crate) fn io_source(error: &rawimg::Error) -> Option<&std::io::Error> {
    let mut source = std::error::Error::source(error);
    while let Some(current) = source {
        if let Some(io) = current.downcast_ref::<std::io::Error>() {
            return Some(io);
        }
        source = current.source();
    }
    None
}

fn sink_error(path: &Path, error: &rawimg::Error) -> Error {
    if let rawimg::ErrorKind::Cancelled = error.kind() {
        return Error::cancelled();
    }
    match io_source(error) {
        Some(io) => Error::io(path, io),
        None => Error::new(Exit::Io, Finding::error("IOE001", format!("{}: {error}", path.display()))),
    }
}
