//! `rkboot extract`.

use std::{
    fmt::Write as _,
    fs::File,
    io::{self, Seek as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::{Args, ValueEnum};
use imgcore::{Hasher, ReadAt, Report};
use rawimg::{gpt, source};
use rkboot::extract::{Partition, Piece, Role, Source, Whole, plan};
use serde_json::json;

use crate::{Failure, Outcome, files::replace};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  rkboot extract armbian.img.xz -o boot/
  rkboot extract /dev/sdX -o boot/ --what idbloader
  rkboot extract spi-dump.bin -o boot/

Each file gets a record beside it, NAME.source.toml: where its bytes come from. Write it to the sector that is named:
  dd if=boot/idbloader.img of=/dev/sdX seek=64 conv=notrunc
  dd if=boot/u-boot.itb of=/dev/sdX seek=16384 conv=notrunc

Exit codes: 0 done, 1 no boot file or a damaged one, 2 usage, 3 input missing, 4 input or output failed")]
pub(crate) struct Extract {
    /// Image of a whole disk (raw, .xz, .gz, .zst), a device, a dump of SPI flash, or a combined boot file
    image: PathBuf,
    /// Folder for the files; it is made if it is missing
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Which boot files
    #[arg(long, default_value = "all")]
    what: What,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Everything that is found
    All,
    /// What the BootROM loads: DDR init and SPL
    Idbloader,
    /// The same, by its other name
    Idblock,
    /// What the SPL loads: U-Boot and TF-A
    Uboot,
}

impl What {
    fn takes(self, role: Role) -> bool {
        match self {
            Self::All => true,
            Self::Idbloader | Self::Idblock => role == Role::Idbloader,
            Self::Uboot => role != Role::Idbloader,
        }
    }
}

/// A file or device, read at offsets.
struct FileAt {
    file: File,
    size: u64,
}

impl ReadAt for FileAt {
    fn size(&self) -> u64 {
        self.size
    }

    #[cfg(unix)]
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        std::os::unix::fs::FileExt::read_at(&self.file, buffer, offset)
    }

    #[cfg(windows)]
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        std::os::windows::fs::FileExt::seek_read(&self.file, buffer, offset)
    }
}

pub(crate) fn run(arguments: &Extract) -> Result<Outcome, Failure> {
    let (disk, origin) = open(&arguments.image)?;
    let (pieces, report) = plan(&*disk, &partitions(&*disk));
    let pieces: Vec<_> = pieces.into_iter().filter(|piece| arguments.what.takes(piece.role)).collect();
    let mut text = String::new();
    let mut result = Vec::new();
    if pieces.is_empty() && !report.has_errors() {
        let error = anyhow::anyhow!("{}: other boot files are there, but none of these", arguments.image.display());
        return Err(Failure { code: 1, error });
    }
    if !pieces.is_empty() {
        fs_err::create_dir_all(&arguments.output).map_err(|error| Failure { code: 4, error: error.into() })?;
    }
    for piece in &pieces {
        let path = arguments.output.join(piece.name);
        let record = arguments.output.join(format!("{}.source.toml", piece.name));
        let write = |path: &Path, bytes: &[u8]| replace(path, bytes).map_err(|error| Failure { code: 4, error });
        write(&path, &piece.bytes)?;
        write(&record, piece.origin(&origin).as_bytes())?;
        describe(piece, &path, &mut text);
        result.push(json!({
            "name": piece.name,
            "role": piece.role.name(),
            "kind": piece.kind,
            "offset": piece.offset,
            "sector": piece.sector(),
            "partition": piece.partition,
            "length": piece.bytes.len(),
            "digest": piece.digest,
            "versions": piece.versions,
            "trimmed": piece.trimmed,
        }));
    }
    for finding in &report {
        let _ = writeln!(text, "{finding}");
    }
    Ok(Outcome { text, report, result: json!({ "files": result }) })
}

fn describe(piece: &Piece, path: &Path, text: &mut String) {
    let place = match piece.offset {
        Some(offset) => format!("byte {offset}"),
        None => "its parts".to_owned(),
    };
    let _ = writeln!(
        text,
        "{}: {}, {} bytes from {place}, {}",
        path.display(),
        piece.kind,
        piece.bytes.len(),
        piece.digest
    );
    if let Some(sector) = piece.sector() {
        let partition = piece.partition.as_ref().map_or_else(String::new, |name| format!(", partition {name}"));
        let _ = writeln!(text, "  belongs at sector {sector}{partition}");
    }
    for version in &piece.versions {
        let _ = writeln!(text, "  {version}");
    }
    if let Some(trimmed) = &piece.trimmed {
        let left = if trimmed.starts_with("copy") { "taken" } else { "left out" };
        let _ = writeln!(text, "  {left}: {trimmed}");
    }
}

/// The unpacked disk and what it came from.
fn open(path: &Path) -> Result<(Arc<dyn ReadAt>, Source), Failure> {
    let failed = |error: io::Error| {
        let code = if error.kind() == io::ErrorKind::NotFound { 3 } else { 4 };
        Failure { code, error: error.into() }
    };
    let is_file = fs_err::metadata(path).map_err(failed)?.is_file();
    let mut file = fs_err::File::open(path).map_err(failed)?;
    // A device tells its size only by its end.
    let size = file.seek(io::SeekFrom::End(0)).map_err(failed)?;
    let packed = Arc::new(FileAt { file: file.into_parts().0, size });
    let whole = if is_file { Some(digest(&*packed).map_err(failed)?) } else { None };
    let disk = source::open(packed).map_err(|error| {
        // A damaged or foreign archive is refused; reading may fail too.
        let code = if matches!(error.kind(), rawimg::ErrorKind::Io { .. }) { 4 } else { 1 };
        Failure { code, error: anyhow::Error::from(error).context(path.display().to_string()) }
    })?;
    let name = path.file_name().map_or_else(String::new, |name| name.display().to_string());
    let origin = Source { name, whole, disk_size: disk.size() };
    Ok((disk, origin))
}

fn digest(file: &dyn ReadAt) -> io::Result<Whole> {
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; 1 << 20];
    let mut at = 0_u64;
    loop {
        match file.read_at(at, &mut buffer) {
            Ok(0) => return Ok(Whole { size: at, digest: hasher.finish() }),
            Ok(count) => {
                hasher.update(&buffer[..count]);
                at += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The partitions, if there is a table that can be read; boot files and dumps of flash have none.
fn partitions(disk: &dyn ReadAt) -> Vec<Partition> {
    let (table, _): (_, Report) = gpt::read(disk);
    let table = table.map(|table| table.partitions).unwrap_or_default();
    table.into_iter().map(|found| Partition { range: found.range(), name: found.name }).collect()
}
