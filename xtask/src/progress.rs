//! Progress on standard error: bars on a terminal, plain lines elsewhere, silence with `--json`.

use std::{
    collections::BTreeMap,
    io::{IsTerminal as _, Write as _},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use boardbuild::Progress;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// Where progress goes.
pub(crate) struct Reporter {
    stop: Arc<AtomicBool>,
    sink: Sink,
}

enum Sink {
    Nowhere,
    Lines,
    Bars(MultiProgress, Mutex<BTreeMap<String, ProgressBar>>),
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
            Sink::Lines
        };
        Self { stop, sink }
    }
}

impl Progress for Reporter {
    fn start(&self, task: &str, total: Option<u64>) {
        match &self.sink {
            Sink::Nowhere => {}
            Sink::Lines => {
                let _ = writeln!(std::io::stderr(), "{task}");
            }
            Sink::Bars(all, bars) => {
                let bar = all.add(total.map_or_else(ProgressBar::new_spinner, ProgressBar::new));
                let style = if total.is_some() {
                    "{msg:40} [{bar:30}] {bytes:>12} of {total_bytes} {bytes_per_sec}"
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
        if let Sink::Bars(_, bars) = &self.sink
            && let Ok(bars) = bars.lock()
            && let Some(bar) = bars.get(task)
        {
            bar.inc(bytes);
        }
    }

    fn finish(&self, task: &str) {
        if let Sink::Bars(all, bars) = &self.sink
            && let Ok(mut bars) = bars.lock()
            && let Some(bar) = bars.remove(task)
        {
            bar.finish_and_clear();
            all.remove(&bar);
        }
    }

    fn cancelled(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }
}
