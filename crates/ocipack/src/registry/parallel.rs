//! A few transfers at a time; the first that fails stops the others.

use std::sync::{
    Mutex,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};

use imgcore::Progress;

use crate::Error;

/// How many blobs travel at a time. Each holds one buffer; more connections make no registry faster.
pub(super) const AT_ONCE: usize = 3;

/// Passes progress on, and says `cancelled` to everybody as soon as one transfer has failed.
struct Stoppable<'a> {
    inner: &'a dyn Progress,
    stop: &'a AtomicBool,
}

impl Progress for Stoppable<'_> {
    fn start(&self, task: &str, total: Option<u64>) {
        self.inner.start(task, total);
    }

    fn advance(&self, task: &str, bytes: u64) {
        self.inner.advance(task, bytes);
    }

    fn finish(&self, task: &str) {
        self.inner.finish(task);
    }

    fn cancelled(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.inner.cancelled()
    }
}

/// Does `work` for every item, [`AT_ONCE`] at a time, in their order. Gives the first error: what it stopped is no error of
/// its own.
pub(super) fn each<T: Sync>(
    items: &[T],
    progress: &dyn Progress,
    work: &(dyn Fn(&T, &dyn Progress) -> Result<(), Error> + Sync),
) -> Result<(), Error> {
    let (next, stop, failure) = (AtomicUsize::new(0), AtomicBool::new(false), Mutex::new(None));
    let run = || {
        let progress = Stoppable { inner: progress, stop: &stop };
        while !stop.load(Ordering::Relaxed) {
            let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) else { return };
            if let Err(error) = work(item, &progress) {
                // Only the first to stop writes; the others were stopped by it.
                if !stop.swap(true, Ordering::SeqCst)
                    && let Ok(mut slot) = failure.lock()
                {
                    *slot = Some(error);
                }
                return;
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..AT_ONCE.min(items.len()) {
            scope.spawn(run);
        }
        run();
    });
    match failure.into_inner() {
        Ok(Some(error)) => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use imgcore::NoProgress;

    use super::*;
    use crate::ErrorKind;

    #[test]
    fn the_first_failure_is_given_back_and_stops_the_rest() {
        let done = AtomicUsize::new(0);
        let items: Vec<usize> = (0..1000).collect();
        let outcome = each(&items, &NoProgress, &|item, progress| {
            if *item == 5 {
                return Err(ErrorKind::NoImages.into());
            }
            if progress.cancelled() {
                return Err(ErrorKind::Platform { text: "a late one".to_owned() }.into());
            }
            done.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(std::time::Duration::from_millis(1));
            Ok(())
        });
        assert!(matches!(outcome.expect_err("item 5").kind(), ErrorKind::NoImages));
        assert!(done.load(Ordering::Relaxed) < 20);
        assert!(each(&items, &NoProgress, &|_, _| Ok(())).is_ok());
    }
}
