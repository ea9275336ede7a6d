fn write_spi(image: &SpiImage, outputs: &mut Outputs) -> Result<OutputRecord> {
    let sha256 = outputs.write(SPI_BIN, &image.bytes)?;
    Ok(OutputRecord { name: SPI_BIN.to_owned(), sha256, size: image.bytes.len() as u64 })
}

#[derive(Serialize, Deserialize)]
struct Packed {
    sha256: Digest,
    size: u64,
}

fn write_overlay(
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

fn write_image(
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

