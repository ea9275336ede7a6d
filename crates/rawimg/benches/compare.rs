//! Measures the sinks and the check against the programs that people use, on the same image in the same run, and
//! prints the table of `docs/performance.md`.
//!
//! `cargo bench -p rawimg --bench compare [-- ROUNDS]` for the usual image, `… -- ROUNDS others` for other inputs. Each measurement is a process of its own, so that its peak
//! memory can be told; rounds are interleaved, so that a busy machine disturbs all alike.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "a measuring program: it prints, and stops at any error"
)]

mod common;

use std::{
    fs::File,
    io::{self, BufWriter, Write as _},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::Instant,
};

use imgcore::{NoProgress, ReadAt};
use rawimg::{
    sink::{self, Format, Options},
    source,
};

struct OnDisk(File, u64);

impl OnDisk {
    fn open(path: &Path) -> Arc<dyn ReadAt> {
        let file = File::open(path).unwrap();
        let size = file.metadata().unwrap().len();
        Arc::new(Self(file, size))
    }
}

impl ReadAt for OnDisk {
    fn size(&self) -> u64 {
        self.1
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        #[cfg(unix)]
        return std::os::unix::fs::FileExt::read_at(&self.0, buffer, offset);
        #[cfg(windows)]
        return std::os::windows::fs::FileExt::seek_read(&self.0, buffer, offset);
    }
}

/// One measured run.
#[derive(Clone, Copy)]
struct Row {
    /// Seconds of wall time.
    wall: f64,
    /// Seconds of processor time, all threads.
    cpu: f64,
    /// Peak memory in MiB.
    peak: f64,
    /// Bytes of output.
    size: u64,
}

/// The part that runs in a process of its own: writes, or writes and checks, and prints a row.
fn job(image: &str, name: &str, folder: &Path) {
    let image = common::image_of(image, &OnDisk::open(&folder.join("payload")));
    let options = Options { workers: std::thread::available_parallelism().map_or(1, usize::from), hash_raw: false };
    let (kind, task) = name.split_once(' ').unwrap();
    let format: Format = kind.parse().unwrap();
    let path = folder.join(format!("ours{}", format.extension()));
    let start = Instant::now();
    if task == "read" {
        let disk = source::open(OnDisk::open(&path)).unwrap();
        let mut buffer = vec![0; 1 << 20];
        for at in (0..disk.size()).step_by(1 << 20) {
            let count = buffer.len().min(usize::try_from(disk.size() - at).unwrap());
            disk.read_exact_at(at, &mut buffer[..count]).unwrap();
        }
    } else {
        let options = Options { hash_raw: task == "write+hash", ..options };
        let mut out = BufWriter::with_capacity(1 << 18, File::create(&path).unwrap());
        let written = if format == Format::Raw {
            sink::write_raw_sparse(&image, &options, &mut out, &NoProgress)
        } else {
            sink::write(&image, format, &options, &mut out, &NoProgress)
        };
        let written = written.unwrap();
        out.flush().unwrap();
        drop(out);
        if task == "write+check" {
            sink::check(OnDisk::open(&path), format, &written, &options, &NoProgress).unwrap();
        }
    }
    println!("{} {} {}", start.elapsed().as_secs_f64(), peak(), path.metadata().unwrap().len());
}

/// Peak resident memory of this process in MiB.
fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1024.0
}

/// Processor time of the children that have ended, in seconds (Linux: hundredths).
fn cpu_of_children() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(13).take(2);
    fields.filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn ours(image: &str, name: &str, folder: &Path) -> Row {
    let before = cpu_of_children();
    let me = std::env::current_exe().unwrap();
    let output = Command::new(me).args(["--job", image, name]).arg(folder).stderr(Stdio::inherit()).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut words = text.split_whitespace();
    let mut number = || words.next().and_then(|word| word.parse().ok()).unwrap_or(f64::NAN);
    let (wall, peak) = (number(), number());
    let size = words.next().and_then(|word| word.parse().ok()).unwrap_or_default();
    Row { wall, cpu: cpu_of_children() - before, peak, size }
}

fn theirs(program: &Path, arguments: &[&str], folder: &Path) -> Row {
    let out = folder.join("theirs");
    let file = File::create(&out).unwrap();
    let (start, before) = (Instant::now(), cpu_of_children());
    let status = Command::new(program).args(arguments).arg(folder.join("raw")).stdout(file).status().unwrap();
    let wall = start.elapsed().as_secs_f64();
    assert!(status.success());
    Row { wall, cpu: cpu_of_children() - before, peak: f64::NAN, size: out.metadata().unwrap().len() }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    if let [flag, image, name, folder] = &arguments[..]
        && flag == "--job"
    {
        return job(image, name, Path::new(folder));
    }
    let rounds = arguments.first().and_then(|word| word.parse().ok()).unwrap_or(3_usize);
    if arguments.get(1).is_some_and(|word| word == "others") {
        for image in common::OTHERS {
            // Nobody waits for xz over 16 GiB.
            let jobs = if image.contains("GiB") { &OTHER_JOBS[1..] } else { &OTHER_JOBS[..] };
            measure(image, jobs, rounds);
        }
    } else {
        measure("usual", &JOBS, rounds);
    }
}

type Job = (&'static str, &'static [&'static str]);

const OTHER_JOBS: [Job; 5] = [
    ("xz", &["-0", "-T0", "-c"]),
    ("raw.xz write", &[]),
    ("raw.xz write+check", &[]),
    ("raw.zst write", &[]),
    ("raw.gz write", &[]),
];

const JOBS: [Job; 15] = [
    ("xz", &["-0", "-T0", "-c"]),
    ("raw.xz write", &[]),
    ("raw.xz write+check", &[]),
    ("raw.xz write+hash", &[]),
    ("raw.xz read", &[]),
    ("zstd", &["-T0", "-3", "-c", "-q"]),
    ("raw.zst write", &[]),
    ("raw.zst write+check", &[]),
    ("raw.zst read", &[]),
    ("gzip", &["-6", "-c"]),
    ("raw.gz write", &[]),
    ("raw.gz write+check", &[]),
    ("raw.gz read", &[]),
    ("raw write", &[]),
    ("raw write+check", &[]),
];

fn measure(image: &str, jobs: &[Job], rounds: usize) {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("payload"), common::payload(image)).unwrap();
    if jobs.iter().any(|(_, arguments)| !arguments.is_empty()) {
        let extents = common::image_of(image, &OnDisk::open(&folder.join("payload")));
        let mut raw = File::create(folder.join("raw")).unwrap();
        sink::write_raw_sparse(&extents, &Options::default(), &mut raw, &NoProgress).unwrap();
    }
    let mut rows: Vec<Vec<Row>> = vec![Vec::new(); jobs.len()];
    for round in 0..rounds {
        for ((name, arguments), rows) in jobs.iter().zip(&mut rows) {
            if arguments.is_empty() {
                rows.push(ours(image, name, folder));
            } else if let Some(program) = testkit::tool(name) {
                // The slow programs once: they are long enough to be steady.
                if round == 0 || *name == "zstd" || *name == "xz" {
                    rows.push(theirs(&program, arguments, folder));
                }
            }
        }
    }
    println!("\n{image}\n");
    println!("| what | wall s | × | CPU s | × | peak MiB | bytes | more |");
    println!("|---|---|---|---|---|---|---|---|");
    let mut reference: Option<Row> = None;
    for ((name, arguments), rows) in jobs.iter().zip(&mut rows) {
        rows.sort_by(|a, b| a.wall.total_cmp(&b.wall));
        let Some(row) = rows.get(rows.len() / 2).copied() else { continue };
        let Row { wall, cpu, peak, size } = row;
        let name = format!("{name} {}", arguments.join(" "));
        if !arguments.is_empty() {
            reference = Some(row);
            println!("| `{}` | {wall:.2} | 1 | {cpu:.2} | 1 | | {size} | |", name.trim());
        } else if let Some(them) = reference.filter(|_| !name.starts_with("raw ")) {
            let (wall_ratio, cpu_ratio) = (them.wall / wall, them.cpu / cpu);
            let more = (size as f64 / them.size as f64 - 1.0) * 100.0;
            println!(
                "| {} | {wall:.2} | 1/{wall_ratio:.1} | {cpu:.2} | 1/{cpu_ratio:.1} | {peak:.0} | {size} | {more:+.2} % |",
                name.trim()
            );
        } else {
            println!("| {} | {wall:.2} | | {cpu:.2} | | {peak:.0} | {size} | |", name.trim());
        }
    }
}
