//! Progress on standard error: bars on a terminal, plain lines elsewhere, silence with `--json`.

use std::{
    collections::BTreeMap,
    io::{IsTerminal as _, Write as _},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use boardbuild::{ByteSize, Progress};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// Where progress goes.
pub(crate) struct Reporter {
    stop: Arc<AtomicBool>,
    sink: Sink,
}

enum Sink {
    Nowhere,
    Lines(Mutex<BTreeMap<String, Line>>),
    Bars(MultiProgress, Mutex<BTreeMap<String, ProgressBar>>),
}

/// How often a log hears of a task that goes on.
const EVERY: Duration = Duration::from_secs(10);

/// A task in a log.
struct Line {
    total: Option<u64>,
    done: u64,
    said: Instant,
}

impl Reporter {
    /// A reporter that also hears Ctrl-C: the first asks the running step to stop and clean up, the second ends the
    /// process at once.
    pub(crate) fn new(quiet: bool) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        // Without a handler Ctrl-C still ends the process; only the cleaning up is lost, and the next run does that.
        let _ = ctrlc::set_handler(move || {
            if flag.swap(true, Ordering::SeqCst) {
                #[allow(clippy::exit)]
                std::process::exit(130);
            }
        });
        let sink = if quiet {
            Sink::Nowhere
        } else if std::io::stderr().is_terminal() {
            Sink::Bars(MultiProgress::new(), Mutex::default())
        } else {
            Sink::Lines(Mutex::default())
        };
        Self { stop, sink }
    }

    /// Whether Ctrl-C was pressed, for other threads.
    pub(crate) fn stopper(&self) -> impl Fn() -> bool + Send + Sync + 'static {
        let stop = Arc::clone(&self.stop);
        move || stop.load(Ordering::SeqCst)
    }

    /// Tells why something has to wait, and how long.
    pub(crate) fn teller(&self) -> impl Fn(&str, Duration) + Send + Sync + 'static {
        let bars = match &self.sink {
            Sink::Nowhere => None,
            Sink::Lines(_) => Some(None),
            Sink::Bars(all, _) => Some(Some(all.clone())),
        };
        move |why, time| {
            let text = format!("{why}: waiting {:.1} s", time.as_secs_f64());
            match &bars {
                None => {}
                Some(None) => drop(writeln!(std::io::stderr(), "{text}")),
                Some(Some(all)) => drop(all.println(text)),
            }
        }
    }
}

impl Line {
    fn text(&self) -> String {
        let done = ByteSize(self.done);
        match self.total {
            Some(total) if total > 0 => {
                format!("{done} of {}, {} %", ByteSize(total), self.done.saturating_mul(100) / total)
            }
            _ => done.to_string(),
        }
    }
}

impl Progress for Reporter {
    fn start(&self, task: &str, total: Option<u64>) {
        match &self.sink {
            Sink::Nowhere => {}
            Sink::Lines(lines) => {
                let _ = writeln!(std::io::stderr(), "{task}");
                if let Ok(mut lines) = lines.lock() {
                    lines.insert(task.to_owned(), Line { total, done: 0, said: Instant::now() });
                }
            }
            Sink::Bars(all, bars) => {
                let bar = all.add(total.map_or_else(ProgressBar::new_spinner, ProgressBar::new));
                let style = if total.is_some() {
                    "{msg:40} [{bar:30}] {bytes:>12} of {total_bytes} {bytes_per_sec}, {eta} left"
                } else {
                    "{msg:40} {spinner} {bytes}"
                };
                if let Ok(style) = ProgressStyle::with_template(style) {
                    bar.set_style(style.progress_chars("=> "));
                }
                bar.set_message(task.to_owned());
                if let Ok(mut bars) = bars.lock() {
                    bars.insert(task.to_owned(), bar);
                }
            }
        }
    }

    fn advance(&self, task: &str, bytes: u64) {
        match &self.sink {
            Sink::Nowhere => {}
            Sink::Lines(lines) => {
                if let Ok(mut lines) = lines.lock()
                    && let Some(line) = lines.get_mut(task)
                {
                    line.done += bytes;
                    if line.said.elapsed() >= EVERY {
                        line.said = Instant::now();
                        let _ = writeln!(std::io::stderr(), "{task}: {}", line.text());
                    }
                }
            }
            Sink::Bars(_, bars) => {
                if let Ok(bars) = bars.lock()
                    && let Some(bar) = bars.get(task)
                {
                    bar.inc(bytes);
                }
            }
        }
    }

    fn finish(&self, task: &str) {
        match &self.sink {
            Sink::Nowhere => {}
            Sink::Lines(lines) => {
                if let Ok(mut lines) = lines.lock() {
                    lines.remove(task);
                }
            }
            Sink::Bars(all, bars) => {
                if let Ok(mut bars) = bars.lock()
                    && let Some(bar) = bars.remove(task)
                {
                    bar.finish_and_clear();
                    all.remove(&bar);
                }
            }
        }
    }

    fn cancelled(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }
}
