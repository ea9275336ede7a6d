//! A run that is killed at any point leaves nothing unverified under a final name, and the next run goes on where it was.
//!
//! `TALOS_RK_KILLS=1000` kills that often; otherwise a hundred times.
#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test stops where its helpers do")]

mod common;

use std::{
    path::Path,
    process::Command,
    sync::{
        Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use common::transfers::{Image, board, damaged_blobs, files, killed_after, lock, well, xtask};
use fs_err as fs;
use testkit::faulty::{At, Faulty, Setup, digest};

/// Bytes that each run moves, and how many a second the server lets through.
const SIZE: usize = 24 << 20;
const RATE: u64 = 64 << 20;
/// Bytes that may come twice: of a block that was on its way.
const SLACK: u64 = 6 << 20;
/// Bytes that the system's sockets hold at most, of which a killed reader knows nothing.
const SOCKETS: u64 = 16 << 20;
/// Kills at a time.
const TOGETHER: usize = 4;

/// One kind of run.
struct Kind {
    name: &'static str,
    /// Prepares a home and a server.
    prepare: fn(&Path, &Faulty),
    command: fn(&Path, &Faulty) -> Command,
    /// Bytes of bodies that the server counted in the direction of the transfer.
    moved: fn(&Faulty) -> u64,
    /// What is wrong after a run that ended well.
    check: fn(&Path, &Faulty) -> Vec<String>,
}

fn image() -> &'static Image {
    static IMAGE: std::sync::LazyLock<Image> = std::sync::LazyLock::new(|| Image::random(1, 2, SIZE / 4));
    &IMAGE
}

fn file() -> &'static [u8] {
    static FILE: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| testkit::Rng::new(2).bytes(SIZE));
    &FILE
}

const KINDS: [Kind; 3] = [
    Kind {
        name: "fetch",
        prepare: |home, server| {
            server.add_file("u-boot.itb", file());
            let host = server.host(At::Registry);
            let url = format!("http://{host}/files/u-boot.itb");
            board(home, "kills", &format!("url = \"{url}\""));
            lock(home, "kills", &url, file());
        },
        command: |home, server| {
            let mut command = xtask(home);
            command.arg("fetch").arg(home.join("kills.toml")).args(["--plain-http", &server.host(At::Registry)]);
            command
        },
        moved: Faulty::sent,
        check: |home, _| {
            let hex = digest(file()).replace("sha256:", "");
            let path = home.join("cache/v1/blobs/sha256").join(&hex[..2]).join(&hex);
            if path.is_file() { Vec::new() } else { vec![format!("no {}", path.display())] }
        },
    },
    Kind {
        name: "pull",
        prepare: |_, server| image().fill(server, "demo/image", "latest"),
        command: |home, server| {
            let host = server.host(At::Registry);
            let mut command = xtask(home);
            command.arg("pull").arg(format!("{host}/demo/image:latest")).arg("-o").arg(home.join("out.tar"));
            command.args(["--plain-http", &host]);
            command
        },
        moved: Faulty::sent,
        check: |home, _| {
            let out = home.join("out.tar");
            let complete = fs::metadata(&out).is_ok_and(|data| data.len() > image().size());
            if complete { Vec::new() } else { vec!["no archive".to_owned()] }
        },
    },
    Kind {
        name: "push",
        prepare: |home, _| image().archive(&home.join("image.tar"), "latest"),
        command: |home, server| {
            let host = server.host(At::Registry);
            let mut command = xtask(home);
            command.arg("push").arg(home.join("image.tar")).arg(format!("{host}/demo/image:latest"));
            command.args(["--plain-http", &host]);
            command
        },
        moved: Faulty::received,
        check: |_, server| image().missing(server, "demo/image", "latest"),
    },
];

/// What many kills came to.
#[derive(Default)]
struct Sum {
    kills: AtomicUsize,
    ended: AtomicUsize,
    /// Of bytes: moved before the kill, moved by the run after it.
    before: AtomicU64,
    after: AtomicU64,
    problems: Mutex<Vec<String>>,
}

fn kill_once(kind: &Kind, number: usize, delay: Duration, sum: &Sum) {
    let home = tempfile::tempdir().unwrap();
    let server = Faulty::start(Setup { bytes_per_second: Some(RATE), ..Setup::default() });
    (kind.prepare)(home.path(), &server);
    let tell =
        |problem: String| sum.problems.lock().unwrap().push(format!("{} {number} {delay:?}: {problem}", kind.name));
    let ended = killed_after(&mut (kind.command)(home.path(), &server), delay);
    server.settle();
    let before = (kind.moved)(&server);
    for path in damaged_blobs(&home.path().join("cache")) {
        tell(format!("{} is not what its name says", path.display()));
    }
    let out = home.path().join("out.tar");
    if !ended && out.exists() && !(kind.check)(home.path(), &server).is_empty() {
        tell("an unfinished archive under its final name".to_owned());
    }
    // What came: in the store, or at the server.
    let kept = if kind.name == "push" {
        before
    } else {
        let store = home.path().join("cache/v1");
        let found = ["blobs", "partial"].map(|folder| files(&store.join(folder)));
        found.iter().flat_map(|files| files.values()).map(|bytes| bytes.len() as u64).sum()
    };
    server.forget();
    let output = (kind.command)(home.path(), &server).output().unwrap();
    let after = (kind.moved)(&server);
    if !output.status.success() {
        tell(format!("the next run: {}", common::transfers::said(&output)));
    }
    for problem in (kind.check)(home.path(), &server) {
        tell(problem);
    }
    for path in damaged_blobs(&home.path().join("cache")) {
        tell(format!("after the next run {} is not what its name says", path.display()));
    }
    let size = SIZE as u64;
    if after + kept > size + SLACK {
        tell(format!("{kept} bytes were there, yet {after} were moved again"));
    }
    if before > SOCKETS && kept == 0 {
        tell(format!("{before} bytes were moved and none was kept"));
    }
    sum.kills.fetch_add(1, Ordering::SeqCst);
    sum.ended.fetch_add(usize::from(ended), Ordering::SeqCst);
    sum.before.fetch_add(before, Ordering::SeqCst);
    sum.after.fetch_add(after, Ordering::SeqCst);
}

#[test]
fn the_next_run_goes_on_and_nothing_unverified_has_a_name() {
    let count = std::env::var("TALOS_RK_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(100_usize);
    for (index, kind) in KINDS.iter().enumerate() {
        // How long a whole run takes beside the others.
        let start = Instant::now();
        let home = tempfile::tempdir().unwrap();
        let server = Faulty::start(Setup { bytes_per_second: Some(RATE), ..Setup::default() });
        (kind.prepare)(home.path(), &server);
        well(&mut (kind.command)(home.path(), &server));
        assert_eq!((kind.check)(home.path(), &server), Vec::<String>::new(), "{}", kind.name);
        let whole = start.elapsed();
        let share = count / KINDS.len() + usize::from(index < count % KINDS.len());
        let (next, sum) = (AtomicUsize::new(0), Sum::default());
        std::thread::scope(|scope| {
            for _ in 0..TOGETHER {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::SeqCst);
                        if number >= share {
                            return;
                        }
                        // One point in each of as many equal parts of the run as there are kills.
                        let jitter = testkit::Rng::new(2 * number as u64).below(1000);
                        let thousandths = u32::try_from(number * 1000 + jitter).unwrap();
                        let delay = whole * thousandths / u32::try_from(share * 1000).unwrap();
                        kill_once(kind, number, delay, &sum);
                    }
                });
            }
        });
        let problems = sum.problems.into_inner().unwrap();
        assert!(problems.is_empty(), "{} of {share}\n{}", problems.len(), problems.join("\n"));
        let mebibytes = |bytes: &AtomicU64| bytes.load(Ordering::SeqCst) >> 20;
        println!(
            "{}: {} kills over {whole:.1?}, {} after the end; {} MiB moved before, {} MiB by the next runs, {} MiB without resuming",
            kind.name,
            sum.kills.load(Ordering::SeqCst),
            sum.ended.load(Ordering::SeqCst),
            mebibytes(&sum.before),
            mebibytes(&sum.after),
            (share * SIZE) >> 20,
        );
    }
}
