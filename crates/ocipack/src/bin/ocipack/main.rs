//! `ocipack`: looks into images of anybody, and with the feature `registry` moves them.

mod build;
#[cfg(feature = "registry")]
mod registry;

use std::{
    fmt::{self, Display},
    fs::File,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, Mutex},
};

use clap::{Args, Parser, Subcommand};
use imgcore::{Blob, Digest, Fact, Finding, ReadAt, Report, Severity};
use ocipack::{
    BlobSource, Platform, Summary, layers, lint,
    read::{self, ArchiveView},
};
use serde::Serialize;

macro_rules! exit_codes {
    () => {
        "Exit codes: 0 nothing wrong, 1 findings at error level, 2 usage, 3 no such file, 4 reading failed"
    };
}

#[derive(Parser)]
#[command(
    name = "ocipack",
    version,
    about = "Look into OCI and Docker images without unpacking them, check them, and move them"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check an image archive or an OCI layout and list what is in it
    #[command(after_help = concat!(
        "Examples:\n  ocipack inspect overlay.tar\n  ocipack inspect --tsv overlay.tar | grep path\n  ",
        "ocipack inspect --json layout-folder/\n\n",
        exit_codes!()
    ))]
    Inspect(Look),
    /// Show what each layer adds, replaces and hides, and which history made it
    #[command(after_help = concat!(
        "Examples:\n  ocipack layers installer.tar\n  ocipack layers --tsv installer.tar | grep delete\n  ",
        "ocipack layers --json layout-folder/\n\nSigns: + added, ~ replaced, - deleted by a whiteout\n\n",
        exit_codes!()
    ))]
    Layers(Look),
    /// Say what is wrong with an image, whoever made it, and what to do about it
    #[command(after_help = concat!(
        "Examples:\n  ocipack lint overlay.tar\n  ocipack lint --require linux/arm64 --require linux/amd64 overlay.tar\n  ",
        "ocipack lint --strict --allow OCI055 layout-folder/\n\n",
        exit_codes!()
    ))]
    Lint(Lint),
    /// Build an image out of folders, alone or on top of another image
    #[command(after_help = concat!(
        "Examples:\n  ocipack build -o overlay.tar --layer linux/arm64=arm64 --layer linux/amd64=amd64 --name me/overlay:v1\n  ",
        "ocipack build -o derived.tar --base base.tar --platform linux/arm64 --layer files --epoch 1700000000\n\n",
        "The same folders give the same bytes: modes are 0755 and 0644, owners 0, all times the epoch.\n\n",
        "Exit codes: 0 done, 1 refused, 2 usage, 3 an input is missing, 4 reading or writing failed"
    ))]
    Build(build::Build),
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
struct Look {
    /// A file of `skopeo copy … oci-archive:`, `docker save`, `cargo xtask overlay`; or the folder of an OCI layout
    file: PathBuf,
    /// Print one JSON object
    #[arg(long, conflicts_with = "tsv")]
    json: bool,
    /// Print one fact a line: kind, offset, field, value
    #[arg(long)]
    tsv: bool,
}

#[derive(Args)]
struct Lint {
    #[command(flatten)]
    look: Look,
    /// Expect an image for this platform; repeatable
    #[arg(long, value_name = "OS/ARCH")]
    require: Vec<Platform>,
    /// Take findings of this code for warnings; repeatable
    #[arg(long, value_name = "CODE", value_parser = code_of)]
    allow: Vec<&'static str>,
    /// Exit with 1 on warnings that are not allowed, too
    #[arg(long)]
    strict: bool,
    /// Take names that only Linux can tell apart or keep for errors
    #[arg(long)]
    portable: bool,
}

fn code_of(text: &str) -> Result<&'static str, String> {
    let known = ocipack::RULES.iter().map(|(code, ..)| *code);
    let nearest = imgcore::nearest(text, known.clone());
    let hint = nearest.map_or_else(String::new, |near| format!(", the nearest is {near}"));
    known.into_iter().find(|code| *code == text).ok_or_else(|| format!("no rule has this code{hint}"))
}

fn main() -> ExitCode {
    let (look, command, outcome) = match Arguments::parse().command {
        Command::Inspect(look) => {
            let outcome = look.open(read::Options::default()).map(|opened| opened.then(Summary::of));
            (look, "inspect", outcome.map(Shown::new))
        }
        Command::Layers(look) => {
            let outcome = look.open(read::Options::default()).map(|opened| opened.then(layers::of));
            (look, "layers", outcome.map(Shown::new))
        }
        Command::Build(arguments) => {
            return arguments.run().map_or_else(|failure| ExitCode::from(failure.report()), |()| ExitCode::SUCCESS);
        }
        Command::Lint(arguments) => {
            let outcome = arguments.run();
            (arguments.look, "lint", outcome.map(Shown::new))
        }
        #[cfg(feature = "registry")]
        Command::Pull(arguments) => return ended(registry::pull(&arguments)),
        #[cfg(feature = "registry")]
        Command::Push(arguments) => return ended(registry::push(&arguments)),
    };
    match look.print(command, &outcome) {
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

/// What was opened, and what was found in doing so.
struct Opened {
    view: Option<ArchiveView>,
    report: Report,
}

impl Opened {
    fn then<T>(mut self, look: impl FnOnce(&ArchiveView) -> (T, Report)) -> (Option<T>, Report) {
        let found = self.view.as_ref().map(|view| {
            let (found, more) = look(view);
            self.report.extend(more);
            found
        });
        (found, self.report)
    }
}

/// A result in the three forms that it can be printed in.
struct Shown {
    text: String,
    facts: Vec<Fact>,
    json: serde_json::Value,
    report: Report,
    failed: bool,
}

trait Show: Display + Serialize {
    fn facts(&self) -> Vec<Fact>;
}

impl Show for Summary {
    fn facts(&self) -> Vec<Fact> {
        self.facts()
    }
}

impl Show for layers::Layers {
    fn facts(&self) -> Vec<Fact> {
        self.facts()
    }
}

impl Shown {
    fn new((found, report): (Option<impl Show>, Report)) -> Self {
        let failed = report.has_errors();
        match found {
            Some(found) => Self {
                text: found.to_string(),
                facts: found.facts(),
                json: serde_json::to_value(&found).unwrap_or_default(),
                report,
                failed,
            },
            None => Self { text: String::new(), facts: Vec::new(), json: serde_json::Value::Null, report, failed },
        }
    }
}

/// What a check of an image comes to.
#[derive(Serialize)]
struct Verdict {
    /// The images that were checked.
    images: Vec<String>,
    errors: usize,
    warnings: usize,
    #[serde(skip)]
    facts: Vec<Fact>,
}

impl Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { images, errors, warnings, .. } = self;
        let count = |count: &usize, word: &str| format!("{count} {word}{}", if *count == 1 { "" } else { "s" });
        writeln!(f, "{}: {}, {}", images.join(", "), count(errors, "error"), count(warnings, "warning"))
    }
}

impl Show for Verdict {
    fn facts(&self) -> Vec<Fact> {
        self.facts.clone()
    }
}

impl Lint {
    fn run(&self) -> io::Result<(Option<Verdict>, Report)> {
        let portability = if self.portable { Severity::Error } else { Severity::Warning };
        let options = lint::Options { require: self.require.clone(), portability, ..lint::Options::default() };
        let Opened { view, report } = self.look.open(options.reader())?;
        let more = view.as_ref().map(|view| lint::check(view, &options.require)).unwrap_or_default();
        let severity = |finding: &Finding| match finding.severity {
            _ if self.allow.contains(&finding.code) => finding.severity.min(Severity::Warning),
            Severity::Warning if self.strict => Severity::Error,
            severity => severity,
        };
        let report: Report = report
            .iter()
            .chain(more.iter())
            .map(|finding| Finding { severity: severity(finding), ..finding.clone() })
            .collect();
        let count = |severity| report.iter().filter(|finding| finding.severity == severity).count();
        let facts = report.iter().map(|finding| {
            let offset = finding.range.as_ref().map_or(0, |range| range.start);
            Fact::new("lint", offset, finding.code, format!("{}: {}", finding.severity, finding.message))
        });
        let verdict = view.map(|view| Verdict {
            images: view
                .images()
                .map(|image| {
                    image.platform.as_ref().map_or_else(|| "an image without platform".to_owned(), ToString::to_string)
                })
                .collect(),
            errors: count(Severity::Error),
            warnings: count(Severity::Warning),
            facts: facts.collect(),
        });
        Ok((verdict, report))
    }
}

type Outcome = io::Result<Shown>;

fn code(outcome: &Outcome) -> u8 {
    match outcome {
        Ok(shown) => u8::from(shown.failed),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound => 3,
            _ => 4,
        },
    }
}

/// `KEY=VALUE`, as `--label` and `--mirror` take it.
fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() && !value.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("expected two parts with = between them: {text}")),
    }
}

impl Look {
    fn at(file: &Path) -> Self {
        Self { file: file.to_owned(), json: false, tsv: false }
    }

    fn open(&self, options: read::Options) -> io::Result<Opened> {
        let (view, report) = if self.file.is_dir() {
            let index = fs_err::read(self.file.join("index.json"))?;
            read::open_layout(index, &Folder(self.file.clone()), options)
        } else {
            read::open_with(Arc::new(FileAt::open(&self.file)?), options)
        };
        Ok(Opened { view, report })
    }

    fn print(&self, command: &str, outcome: &Outcome) -> io::Result<()> {
        let (mut out, mut err) = (io::stdout().lock(), io::stderr().lock());
        // Each finding says what to do.
        let cured = |finding: &Finding| Finding { help: lint::cure(finding).map(str::to_owned), ..finding.clone() };
        if self.json {
            let (error, report, result) = match outcome {
                Ok(shown) => (None, shown.report.iter().map(cured).collect(), Some(&shown.json)),
                Err(error) => (Some(error.to_string()), Report::new(), None),
            };
            let object = serde_json::json!({
                "schema": 1,
                "command": command,
                "ok": code(outcome) == 0,
                "findings": report,
                "error": error,
                "result": result,
            });
            return writeln!(out, "{object}");
        }
        match outcome {
            Ok(shown) => {
                if self.tsv {
                    shown.facts.iter().try_for_each(|fact| writeln!(out, "{fact}"))?;
                } else {
                    write!(out, "{}", shown.text)?;
                }
                out.flush()?;
                let owned = shown.report.iter().map(cured).collect::<Report>();
                let owned = owned.owned_by(&self.file.display().to_string(), 0);
                owned.iter().try_for_each(|finding| writeln!(err, "{finding}"))
            }
            Err(error) => writeln!(err, "error: {error}"),
        }
    }
}

/// A file as a read-at source on every system.
struct FileAt {
    file: Mutex<File>,
    size: u64,
}

impl FileAt {
    fn open(path: &Path) -> io::Result<Self> {
        let file = fs_err::File::open(path)?;
        let size = file.metadata()?.len();
        Ok(Self { file: Mutex::new(file.into_file()), size })
    }
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
        let file = match FileAt::open(&self.0.join("blobs/sha256").join(digest.hex())) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        Ok(Some(Blob::new(digest.to_string(), Arc::new(file), None)))
    }
}
