//! `rawimg`: look into a disk image and judge it.

use std::{
    fmt::Write as _,
    fs::File,
    io::{self, ErrorKind, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use imgcore::{ByteSize, ReadAt, Report};
use rawimg::{Image, Located, examine, facts, gpt, source};
use serde_json::{Value, json};

/// Look into a disk image and judge it.
#[derive(Parser)]
#[command(
    version,
    after_help = "Examples:\n  rawimg inspect metal-arm64.raw.xz\n  rawimg inspect --tsv disk.raw | grep partition\n  \
                  rawimg verify metal-arm64.raw.zst\n\nExit codes: 0 done, 1 errors found, 2 usage, 3 no such file, 4 \
                  reading or writing failed"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Say what an image is: partition table, partitions, FAT32 file systems and their files, findings
    #[command(
        after_help = "Examples:\n  rawimg inspect disk.raw\n  rawimg inspect --json disk.raw.xz | jq .result.partitions"
    )]
    Inspect {
        #[command(flatten)]
        input: Input,
        /// One fact a line: kind, offset, field, value, separated by tabs
        #[arg(long, conflicts_with = "json")]
        tsv: bool,
    },
    /// Judge an image: tables and their checksums, both FATs, every cluster chain and every name
    #[command(after_help = "Examples:\n  rawimg verify disk.raw.xz\n  rawimg verify --json disk.raw | jq .findings")]
    Verify {
        #[command(flatten)]
        input: Input,
    },
}

#[derive(Args)]
struct Input {
    /// The image: raw, .xz, .zst or .gz; of a whole disk or of one FAT32 file system
    file: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let (name, json) = match &cli.command {
        Command::Inspect { input, .. } => ("inspect", input.json),
        Command::Verify { input } => ("verify", input.json),
    };
    let mut out = String::new();
    let outcome = run(cli.command, &mut out).and_then(|sound| {
        io::stdout().lock().write_all(out.as_bytes()).context("cannot write to standard output")?;
        Ok(sound)
    });
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            let kind = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
            if kind == Some(ErrorKind::BrokenPipe) {
                return ExitCode::SUCCESS;
            }
            if json {
                let object = envelope(name, false, &Report::new(), &Value::Null, Some(&format!("{error:#}")));
                let _ = writeln!(io::stdout(), "{object}");
            }
            let _ = writeln!(io::stderr(), "error: {}", clean(&format!("{error:#}")));
            ExitCode::from(match kind {
                Some(ErrorKind::NotFound) => 3,
                Some(_) => 4,
                None => 1,
            })
        }
    }
}

/// Whether the image has no errors.
fn run(command: Command, out: &mut String) -> anyhow::Result<bool> {
    match command {
        Command::Inspect { input, tsv } => {
            let image = open(&input.file)?;
            if tsv {
                for fact in facts(&*image) {
                    writeln!(out, "{fact}")?;
                }
            }
            let (found, report) = examine(&*image);
            let sound = !report.has_errors();
            if input.json {
                let result = found.as_ref().map_or(Value::Null, describe);
                writeln!(out, "{}", envelope("inspect", sound, &report, &result, None))?;
            } else if !tsv {
                match &found {
                    Some(found) => draw(&input.file, found, out)?,
                    None => writeln!(out, "{}: not recognised", input.file.display())?,
                }
                print_findings(&report, out)?;
            }
            Ok(sound)
        }
        Command::Verify { input } => {
            let image = open(&input.file)?;
            let report = examine(&*image).1.owned_by(&input.file.display().to_string(), 0);
            let sound = !report.has_errors();
            if input.json {
                writeln!(out, "{}", envelope("verify", sound, &report, &Value::Null, None))?;
            } else if report.is_empty() {
                writeln!(out, "{}: nothing to complain about", input.file.display())?;
            } else {
                print_findings(&report, out)?;
            }
            Ok(sound)
        }
    }
}

/// A file, read at offsets.
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

fn open(path: &Path) -> anyhow::Result<Arc<dyn ReadAt>> {
    let mut file = fs_err::File::open(path)?;
    // A device tells its size only by its end.
    let size = io::Seek::seek(&mut file, io::SeekFrom::End(0))?;
    let file = FileAt { file: file.into_parts().0, size };
    source::open(Arc::new(file)).with_context(|| path.display().to_string())
}

fn envelope(command: &str, ok: bool, report: &Report, result: &Value, error: Option<&str>) -> Value {
    let mut object = json!({ "schema": 1, "command": command, "ok": ok, "findings": report, "result": result });
    if let (Some(error), Some(object)) = (error, object.as_object_mut()) {
        object.insert("error".to_owned(), error.into());
    }
    object
}

fn print_findings(report: &Report, out: &mut String) -> std::fmt::Result {
    report.iter().try_for_each(|finding| writeln!(out, "{}", clean(&finding.to_string())))
}

/// Foreign text must not drive the terminal.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '?' } else { c }).collect()
}

fn describe(image: &Image) -> Value {
    let header = |header: &Option<gpt::Header>| {
        header.as_ref().map(|header| {
            json!({
                "lba": header.lba.0,
                "alternate_lba": header.alternate.0,
                "first_usable_lba": header.first_usable.0,
                "last_usable_lba": header.last_usable.0,
                "disk_guid": header.disk_guid.to_string(),
                "entries_lba": header.entries.0,
                "entries": header.entry_count,
                "entry_size": header.entry_size,
            })
        })
    };
    let partition = |partition: &gpt::Partition| {
        json!({
            "number": partition.number,
            "name": partition.name,
            "type": partition.type_guid.to_string(),
            "guid": partition.guid.to_string(),
            "start_lba": partition.first.0,
            "end_lba": partition.last.0,
            "attributes": format!("{:#x}", partition.attributes),
        })
    };
    let volume = |located: &Located| {
        let p = &located.volume.parameters;
        let files = located.volume.files().iter().map(
            |entry| json!({ "path": entry.path, "size": (!entry.is_dir).then_some(entry.size), "extents": entry.extents }),
        );
        json!({
            "partition": located.partition,
            "offset": located.offset,
            "size": located.size,
            "kind": "fat",
            "oem": p.oem,
            "bytes_per_sector": p.sector.bytes(),
            "sectors_per_cluster": p.sectors_per_cluster,
            "reserved": p.reserved_sectors,
            "fats": p.fats,
            "sectors_per_track": p.sectors_per_track,
            "heads": p.heads,
            "hidden": p.hidden_sectors,
            "total_sectors": p.total_sectors,
            "fat_sectors": p.fat_sectors,
            "volume_id": format!("{:08x}", p.volume_id),
            "label": located.volume.label,
            "clusters": p.clusters,
            "free_clusters": located.volume.free_clusters,
            "files": files.collect::<Vec<_>>(),
        })
    };
    json!({
        "kind": if image.disk.is_some() { "disk" } else { "fat" },
        "size": image.size,
        "sector_size": image.disk.as_ref().map(|disk| disk.sector.bytes()),
        "primary": image.disk.as_ref().and_then(|disk| header(&disk.primary)),
        "backup": image.disk.as_ref().and_then(|disk| header(&disk.backup)),
        "partitions": image.disk.iter().flat_map(|disk| &disk.partitions).map(partition).collect::<Vec<_>>(),
        "volumes": image.volumes.iter().map(volume).collect::<Vec<_>>(),
    })
}

fn draw(file: &Path, image: &Image, out: &mut String) -> std::fmt::Result {
    let size = ByteSize(image.size);
    if let Some(disk) = &image.disk {
        let sector = disk.sector.bytes();
        let guid = disk.header().map(|header| header.disk_guid.to_string()).unwrap_or_default();
        writeln!(out, "{}: disk of {size}, {sector}-byte sectors, GPT {guid}", file.display())?;
        for labelled in disk.layout().sorted() {
            let (first, last) = (labelled.range.start / sector, labelled.range.end.saturating_sub(1) / sector);
            let size = ByteSize(labelled.range.end.saturating_sub(labelled.range.start));
            writeln!(out, "  {first:>10}..{last:<10} {:<24} {size}", clean(&labelled.owner))?;
        }
    } else {
        writeln!(out, "{}: file system of {size}", file.display())?;
    }
    for Located { partition, volume, .. } in &image.volumes {
        let p = &volume.parameters;
        let place = partition.map_or(String::new(), |number| format!("partition {number}: "));
        let free = ByteSize(u64::from(volume.free_clusters) * p.cluster_bytes());
        let total = ByteSize(u64::from(p.total_sectors) * p.sector.bytes());
        let cluster = ByteSize(p.cluster_bytes());
        writeln!(out, "{place}FAT32 {:?}, {total} in clusters of {cluster}, {free} free", volume.label)?;
        for entry in volume.files() {
            let size = if entry.is_dir { String::new() } else { ByteSize(entry.size).to_string() };
            writeln!(out, "  {size:>10}  {}{}", clean(&entry.path), if entry.is_dir { "/" } else { "" })?;
        }
    }
    Ok(())
}
