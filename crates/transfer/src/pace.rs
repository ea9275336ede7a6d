//! Time and chance, from outside, so that tests are exact.

use std::{
    collections::hash_map::RandomState,
    fmt,
    hash::BuildHasher as _,
    sync::Arc,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use crate::{Error, ErrorKind};

/// What waits, and how long.
pub trait Pace: Send + Sync {
    /// Time since an arbitrary start; never goes back.
    fn now(&self) -> Duration;

    /// Seconds since 1970, for `Retry-After` and `Expires` that give a date.
    fn unix_time(&self) -> u64;

    /// Waits, telling the user why.
    ///
    /// # Errors
    /// [`ErrorKind::Cancelled`](crate::ErrorKind::Cancelled) when the user stops.
    fn sleep(&self, time: Duration, why: &str) -> Result<(), Error>;

    /// A random time from zero to `most`.
    fn jitter(&self, most: Duration) -> Duration;
}

/// Whether the user asked to stop; asked several times a second from any thread.
pub type Cancel = Arc<dyn Fn() -> bool + Send + Sync>;

/// The clock of this machine.
///
/// ```
/// use std::{sync::Arc, time::Duration};
/// use transfer::{Pace as _, RealPace};
///
/// let pace = RealPace::new(Arc::new(|| false), Arc::new(|why, time| eprintln!("{why}, in {time:.1?}")));
/// pace.sleep(Duration::from_millis(5), "registry.example: status 503")?;
/// assert!(pace.now() >= Duration::from_millis(5));
/// # Ok::<(), transfer::Error>(())
/// ```
pub struct RealPace {
    start: Instant,
    cancel: Cancel,
    tell: Tell,
}

type Tell = Arc<dyn Fn(&str, Duration) + Send + Sync>;

/// The longest time in which nobody asks whether the user wants to stop.
pub(crate) const SLICE: Duration = Duration::from_millis(100);

impl RealPace {
    /// `cancel` is asked at least each 100 ms while it waits; `tell` hears why and how long, before it waits.
    pub fn new(cancel: Cancel, tell: Tell) -> Self {
        Self { start: Instant::now(), cancel, tell }
    }

    /// Cannot be stopped, tells nobody.
    pub fn quiet() -> Self {
        Self::new(Arc::new(|| false), Arc::new(|_, _| {}))
    }
}

impl Pace for RealPace {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    // Time that reaches no byte of any output: it is compared with `Retry-After` and with the life of a token.
    #[allow(clippy::disallowed_methods)]
    fn unix_time(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
    }

    fn sleep(&self, time: Duration, why: &str) -> Result<(), Error> {
        if !time.is_zero() {
            (self.tell)(why, time);
        }
        let start = Instant::now();
        loop {
            if (self.cancel)() {
                return Err(ErrorKind::Cancelled.into());
            }
            let left = time.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Ok(());
            }
            thread::sleep(left.min(SLICE));
        }
    }

    fn jitter(&self, most: Duration) -> Duration {
        // Each RandomState is keyed anew by the system's randomness; nobody's secret hangs on it.
        let random = RandomState::new().hash_one(self.now());
        let part = f64::from(u32::try_from(random >> 32).unwrap_or_default()) / f64::from(u32::MAX);
        most.mul_f64(part)
    }
}

impl fmt::Debug for RealPace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RealPace").field("now", &self.now()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn a_pause_ends_soon_after_the_user_stops() {
        let asked = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&asked);
        let pace = RealPace::new(Arc::new(move || count.fetch_add(1, Ordering::Relaxed) == 2), Arc::new(|_, _| {}));
        assert!(pace.sleep(Duration::from_mins(10), "a test").unwrap_err().is_cancelled());
        assert!(pace.now() < Duration::from_secs(5));
    }

    #[test]
    fn jitter_stays_below_its_bound_and_differs() {
        let pace = RealPace::quiet();
        let most = Duration::from_secs(1);
        let times: Vec<_> = (0..50).map(|_| pace.jitter(most)).collect();
        assert!(times.iter().all(|time| *time <= most));
        assert!(times.iter().any(|time| *time != times[0]));
        assert_eq!(pace.jitter(Duration::ZERO), Duration::ZERO);
    }
}
