//! `build`: images out of folders, alone or on a base.

use std::{
    fs::File,
    io::{self, Write as _},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use clap::Args;
use imgcore::{Blob, Epoch, ReadAt, Severity};
use ocipack::{
    Base, Entry, Error, Image, Layer, Platform, archive, layer, media,
    read::{self, ArchiveView},
};

use crate::{FileAt, Look};

#[derive(Args)]
pub(crate) struct Build {
    /// The archive that is written
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// A folder that becomes a layer, for all platforms or for one; repeatable, the lowest first
    #[arg(long = "layer", value_name = "[OS/ARCH=]DIR", required = true)]
    layers: Vec<LayerOf>,
    /// For which machines; repeatable [default: those that --layer names]
    #[arg(long = "platform", value_name = "OS/ARCH")]
    platforms: Vec<Platform>,
    /// Build on this image: an archive, or the folder of an OCI layout
    #[arg(long, value_name = "FILE|DIR")]
    base: Option<PathBuf>,
    /// What to call it: REPOSITORY:TAG, or a tag alone
    #[arg(long, value_name = "NAME", default_value = "latest")]
    name: String,
    /// What the image starts, a word each time [default: the base's]
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    entrypoint: Vec<String>,
    /// A label of the image; repeatable
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = crate::pair)]
    labels: Vec<(String, String)>,
    /// The time of everything, in seconds since 1970 [default: SOURCE_DATE_EPOCH, else 0]
    #[arg(long, value_name = "SECONDS")]
    epoch: Option<u64>,
}

#[derive(Debug, Clone)]
struct LayerOf {
    platform: Option<Platform>,
    folder: PathBuf,
}

impl From<String> for LayerOf {
    fn from(text: String) -> Self {
        let parsed = text.split_once('=').map(|(platform, folder)| (platform.parse::<Platform>(), folder));
        match parsed {
            Some((Ok(platform), folder)) => Self { platform: Some(platform), folder: folder.into() },
            _ => Self { platform: None, folder: text.into() },
        }
    }
}

/// Why nothing was built, and with which exit code.
pub(crate) struct Failure {
    text: String,
    code: u8,
}

impl Failure {
    fn new(code: u8, text: impl Into<String>) -> Self {
        Self { text: text.into(), code }
    }

    pub(crate) fn report(&self) -> u8 {
        let _ = writeln!(io::stderr(), "error: {}", self.text);
        self.code
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let mut text = error.to_string();
        let mut source = std::error::Error::source(&error);
        while let Some(inner) = source {
            text = format!("{text}: {inner}");
            source = inner.source();
        }
        Self { code: if error.io().is_some() { 4 } else { 1 }, text }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::new(if error.kind() == io::ErrorKind::NotFound { 3 } else { 4 }, error.to_string())
    }
}

impl Build {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let epoch = Epoch(self.seconds()?);
        let view = self.base.as_deref().map(open).transpose()?;
        // Layers are packed into files: their digests come before their bytes in no archive.
        let parts = PathBuf::from(format!("{}.parts", self.output.display()));
        fs_err::create_dir_all(&parts)?;
        let built = self.build(epoch, view.as_ref(), &parts);
        fs_err::remove_dir_all(&parts)?;
        built
    }

    fn seconds(&self) -> Result<u64, Failure> {
        let variable = || std::env::var("SOURCE_DATE_EPOCH").ok().filter(|text| !text.is_empty());
        match (self.epoch, variable()) {
            (Some(seconds), _) => Ok(seconds),
            (None, None) => Ok(0),
            (None, Some(text)) => text
                .parse()
                .map_err(|_| Failure::new(2, format!("SOURCE_DATE_EPOCH is {text:?}, expected seconds since 1970"))),
        }
    }

    fn build(&self, epoch: Epoch, base: Option<&ArchiveView>, parts: &Path) -> Result<(), Failure> {
        let platforms = self.platforms(base)?;
        let mut packed = Vec::new();
        for (index, layer) in self.layers.iter().enumerate() {
            packed.push((layer, pack(&layer.folder, epoch, &parts.join(index.to_string()))?));
        }
        let mut images = Vec::new();
        for platform in &platforms {
            let fits = |layer: &LayerOf| layer.platform.as_ref().is_none_or(|only| only == platform);
            let own: Vec<_> = packed.iter().filter(|(layer, _)| fits(layer)).collect();
            let layers = own.iter().map(|(_, packed)| packed.clone()).collect();
            let mut image = match base {
                Some(view) => {
                    let names = || view.images().filter_map(|image| image.platform.as_ref()).map(ToString::to_string);
                    let found = view.image(platform).ok_or_else(|| {
                        let there: Vec<_> = names().collect();
                        Failure::new(
                            1,
                            format!("the base has no image for {platform}, there are: {}", there.join(", ")),
                        )
                    })?;
                    let base = Base::of(found)?;
                    // Its contents, too: nobody should be handed an image that leaves its folder.
                    let (_, report) = found.tree();
                    if report.has_errors() {
                        let found: Vec<_> = report.iter().map(ToString::to_string).collect();
                        return Err(Failure::new(1, format!("the base is damaged\n{}", found.join("\n"))));
                    }
                    Image::on(&base, platform, layers, epoch)?
                }
                None => Image::new(platform.clone(), layers, epoch),
            };
            image.history = own.iter().map(|_| "ocipack build".to_owned()).collect();
            if !self.entrypoint.is_empty() {
                image.config.entrypoint.clone_from(&self.entrypoint);
            }
            image.config.labels.extend(self.labels.iter().cloned());
            images.push(image);
        }
        let (repository, tag) = match self.name.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => (Some(repository.to_owned()), tag.to_owned()),
            _ => (None, self.name.clone()),
        };
        let shape = if images.len() == 1 { archive::Shape::Manifests } else { archive::Shape::Index };
        let options = archive::Options { repository, tag, shape, ..archive::Options::default() };
        let archive = archive::plan(&images, &options)?;
        let part = parts.join("archive");
        let mut file = io::BufWriter::new(fs_err::File::create(&part)?);
        archive.write_to(&mut file)?;
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        fs_err::rename(&part, &self.output)?;
        write!(io::stdout(), "{archive}")?;
        Ok(())
    }

    fn platforms(&self, base: Option<&ArchiveView>) -> Result<Vec<Platform>, Failure> {
        let named = self.layers.iter().filter_map(|layer| layer.platform.clone());
        let mut platforms: Vec<_> = self.platforms.iter().cloned().chain(named).collect();
        // A base for one platform says which.
        if let (true, Some(view)) = (platforms.is_empty(), base) {
            let mut images = view.images();
            if let (Some(only), None) = (images.next(), images.next()) {
                platforms.extend(only.platform.clone());
            }
        }
        platforms.sort();
        platforms.dedup();
        if platforms.is_empty() {
            return Err(Failure::new(2, "no platform: give --platform linux/arm64, or --layer linux/arm64=DIR"));
        }
        Ok(platforms)
    }
}

fn open(path: &Path) -> Result<ArchiveView, Failure> {
    let look = Look::at(path);
    // Who builds for Linux needs no names that Windows can keep.
    let options = read::Options { portability: Severity::Warning, ..read::Options::default() };
    let opened = look.open(options)?;
    let found: Vec<_> = opened.report.iter().map(ToString::to_string).collect();
    match opened.view.filter(|_| !opened.report.has_errors()) {
        Some(view) => Ok(view),
        None => Err(Failure::new(1, format!("{}: no image to build on\n{}", path.display(), found.join("\n")))),
    }
}

/// Packs a folder into a file.
fn pack(folder: &Path, epoch: Epoch, target: &Path) -> Result<Layer, Failure> {
    let mut entries = Vec::new();
    walk(folder, "", &mut entries)?;
    let plan = layer::plan(&entries, epoch)?;
    let workers = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    let mut file = io::BufWriter::new(fs_err::File::create(target)?);
    let info = plan.write_with(workers, &mut file)?;
    file.into_inner().map_err(io::IntoInnerError::into_error)?;
    let data = Blob::new(format!("layer of {}", folder.display()), Arc::new(FileAt::open(target)?), Some(info.digest));
    Ok(Layer::new(media::LAYER_GZIP, info, data))
}

/// Modes are 0755 and 0644: whose umask it was does not matter.
fn walk(folder: &Path, below: &str, entries: &mut Vec<Entry>) -> Result<(), Failure> {
    for entry in fs_err::read_dir(folder)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        let name = entry.file_name();
        let name = name.to_str().ok_or_else(|| Failure::new(1, format!("{}: the name is no UTF-8", path.display())))?;
        let inside = if below.is_empty() { name.to_owned() } else { format!("{below}/{name}") };
        if kind.is_dir() {
            entries.push(Entry::dir(&inside, 0o755));
            walk(&path, &inside, entries)?;
        } else if kind.is_symlink() {
            let target = fs_err::read_link(&path)?;
            let target = target
                .to_str()
                .ok_or_else(|| Failure::new(1, format!("{}: the target is no UTF-8", path.display())))?;
            entries.push(Entry::symlink(inside, target));
        } else if kind.is_file() {
            let metadata = entry.metadata()?;
            let data = LazyFile { path: path.clone(), size: metadata.len(), file: Mutex::new(None) };
            let mode = if executable(&metadata) { 0o755 } else { 0o644 };
            entries.push(Entry::file(inside, mode, Blob::new(path.display().to_string(), Arc::new(data), None)));
        } else {
            return Err(Failure::new(1, format!("{} is no file, folder or link", path.display())));
        }
    }
    Ok(())
}

#[cfg(unix)]
fn executable(metadata: &std::fs::Metadata) -> bool {
    std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o111 != 0
}

#[cfg(not(unix))]
fn executable(_: &std::fs::Metadata) -> bool {
    false
}

/// A file that is open while it is read only: a folder may hold more than a process may open.
struct LazyFile {
    path: PathBuf,
    size: u64,
    file: Mutex<Option<File>>,
}

impl ReadAt for LazyFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        use io::{Read as _, Seek as _};
        let mut slot = self.file.lock().map_err(|_| io::Error::other("another reader failed"))?;
        let mut file = match slot.take() {
            Some(file) => file,
            None => fs_err::File::open(&self.path)?.into_file(),
        };
        file.seek(io::SeekFrom::Start(offset))?;
        let count = file.read(buffer)?;
        if offset.saturating_add(count as u64) < self.size {
            *slot = Some(file);
        }
        Ok(count)
    }
}
