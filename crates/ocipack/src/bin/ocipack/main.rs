//! `ocipack`: looks into images of anybody, and with the feature `registry` moves them.

#[cfg(feature = "registry")]
mod registry;

use std::{
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, Mutex},
};

use clap::{Args, Parser, Subcommand};
use imgcore::{Blob, Digest, ReadAt, Report};
use ocipack::{BlobSource, Summary, read};

#[derive(Parser)]
#[command(name = "ocipack", version, about = "Look into OCI and Docker images without unpacking them, and move them")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check an image archive or an OCI layout and list what is in it
    #[command(
        after_help = "Examples:\n  ocipack inspect overlay.tar\n  ocipack inspect --tsv overlay.tar | grep path\n  \
                            ocipack inspect --json layout-folder/\n\nExit codes: 0 nothing wrong, 1 findings at error \
                            level, 2 usage, 3 no such file, 4 reading failed"
    )]
    Inspect(Inspect),
    /// Fetch an image with every byte as it is; what was cut goes on
    #[cfg(feature = "registry")]
    #[command(after_help = "Exit codes: 0 done, 2 usage, 3 no such image, 4 network or access")]
    Pull(registry::Pull),
    /// Check an image and publish it: blobs, manifests, index, tag
    #[cfg(feature = "registry")]
    #[command(
        after_help = "Exit codes: 0 done, 1 the tag names another image, 2 usage, 3 damaged or incomplete, 4 network or access"
    )]
    Push(registry::Push),
}

#[derive(Args)]
struct Inspect {
    /// A file of `skopeo copy … oci-archive:`, `docker save`, `cargo xtask overlay`; or the folder of an OCI layout
    file: PathBuf,
    /// Print one JSON object
    #[arg(long, conflicts_with = "tsv")]
    json: bool,
    /// Print one fact a line: kind, offset, field, value
    #[arg(long)]
    tsv: bool,
}

fn main() -> ExitCode {
    let arguments = match Arguments::parse().command {
        Command::Inspect(arguments) => arguments,
        #[cfg(feature = "registry")]
        Command::Pull(arguments) => return ended(registry::pull(&arguments)),
        #[cfg(feature = "registry")]
        Command::Push(arguments) => return ended(registry::push(&arguments)),
    };
    let outcome = inspect(&arguments.file);
    match print(&arguments, &outcome) {
        Ok(()) => ExitCode::from(code(&outcome)),
        // A reader that has seen enough, as `head`, is no failure.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(_) => ExitCode::from(4),
    }
}

#[cfg(feature = "registry")]
fn ended(outcome: Result<(), registry::Failure>) -> ExitCode {
    let Err(registry::Failure { text, code }) = outcome else { return ExitCode::SUCCESS };
    let _ = writeln!(io::stderr(), "error: {text}");
    ExitCode::from(code)
}

type Outcome = io::Result<(Option<Summary>, Report)>;

fn inspect(path: &Path) -> Outcome {
    if path.is_dir() {
        let index = fs_err::read(path.join("index.json"))?;
        let (view, mut report) = read::open_layout(index, &Folder(path.to_owned()), read::Options::default());
        let summary = view.map(|view| {
            let (summary, more) = Summary::of(&view);
            report.extend(more);
            summary
        });
        return Ok((summary, report));
    }
    let file = fs_err::File::open(path)?;
    let size = file.metadata()?.len();
    Ok(ocipack::inspect(Arc::new(FileAt { file: Mutex::new(file.into_file()), size })))
}

fn code(outcome: &Outcome) -> u8 {
    match outcome {
        Ok((_, report)) => u8::from(report.has_errors()),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound => 3,
            _ => 4,
        },
    }
}

fn print(arguments: &Inspect, outcome: &Outcome) -> io::Result<()> {
    let (mut out, mut err) = (io::stdout().lock(), io::stderr().lock());
    if arguments.json {
        let error = outcome.as_ref().err().map(ToString::to_string);
        let empty = Report::new();
        let (summary, report) = outcome.as_ref().map_or((None, &empty), |(summary, report)| (summary.as_ref(), report));
        let object = serde_json::json!({
            "schema": 1,
            "command": "inspect",
            "ok": code(outcome) == 0,
            "findings": report,
            "error": error,
            "result": summary,
        });
        return writeln!(out, "{object}");
    }
    match outcome {
        Ok((summary, report)) => {
            match summary {
                Some(summary) if arguments.tsv => {
                    summary.facts().iter().try_for_each(|fact| writeln!(out, "{fact}"))?;
                }
                Some(summary) => write!(out, "{summary}")?,
                None => {}
            }
            out.flush()?;
            let owned = report.clone().owned_by(&arguments.file.display().to_string(), 0);
            owned.iter().try_for_each(|finding| writeln!(err, "{finding}"))
        }
        Err(error) => writeln!(err, "error: {error}"),
    }
}

/// A file as a read-at source on every system.
struct FileAt {
    file: Mutex<File>,
    size: u64,
}

impl ReadAt for FileAt {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        use io::{Read as _, Seek as _};
        let mut file = self.file.lock().map_err(|_| io::Error::other("another reader failed"))?;
        file.seek(io::SeekFrom::Start(offset))?;
        file.read(buffer)
    }
}

/// The folder of an OCI layout.
struct Folder(PathBuf);

impl BlobSource for Folder {
    fn blob(&self, digest: &Digest) -> io::Result<Option<Blob>> {
        let file = match fs_err::File::open(self.0.join("blobs/sha256").join(digest.hex())) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let size = file.metadata()?.len();
        let data = FileAt { file: Mutex::new(file.into_file()), size };
        Ok(Some(Blob::new(digest.to_string(), Arc::new(data), None)))
    }
}
